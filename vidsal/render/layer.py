"""Layers in, the picture with them over it out; or what they hide of any picture, as one layer.

Every style draws a `Layer`: it never sees the picture, so that the same layers go over one, or stand alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Layer", "compose", "flatten"]

_Pixels = TypeVar("_Pixels", np.uint8, np.uint16)


@dataclass(frozen=True, eq=False)
class Layer:
    """Colours, and how far they hide what lies under them, for a rectangle of the picture.

    Alpha is straight: the colours are not multiplied by it, and those where it is 0 mean nothing.
    """

    colors: npt.NDArray[Any]
    """(h, w, 3) RGB, uint8, or uint16 with white at 65535."""
    alpha: npt.NDArray[np.float32]
    """(h, w) float32, 0 (nothing is drawn) to 1 (what lies under it is hidden)."""
    top: int = 0
    """Row of the picture where the layer begins; all of it lies inside the picture."""
    left: int = 0
    """Column of the picture where the layer begins."""

    def __post_init__(self) -> None:
        if self.colors.ndim != 3 or self.colors.shape[2] != 3 or self.colors.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"colors must be (h, w, 3) uint8 or uint16, got {self.colors.shape} {self.colors.dtype}")
        if self.alpha.shape != self.colors.shape[:2] or self.alpha.dtype != np.float32:
            raise ValueError(
                f"alpha must be {self.colors.shape[:2]} float32, got {self.alpha.shape} {self.alpha.dtype}"
            )

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the picture that the layer covers."""
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def compose(picture: npt.NDArray[_Pixels], layers: Iterable[Layer]) -> npt.NDArray[_Pixels]:
    """Lays layers over a picture, the first at the bottom.

    Args:
        picture: (H, W, 3) uint8 or uint16 RGB, white 255 or 65535; not changed.
        layers: inside the picture; colours of either depth.

    Returns:
        A new (H, W, 3) RGB array of the picture's type.

    Raises:
        ValueError: a shape or dtype is not as above, or a layer reaches beyond the picture.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"picture must be (H, W, 3) uint8 or uint16, got {picture.shape} {picture.dtype}")
    below: npt.NDArray[Any] = picture
    for layer in layers:
        _check_inside(layer, picture.shape[:2])
        blended = _over(below[layer.place], layer)
        if blended.shape == below.shape:
            below = blended
        else:
            below = below.copy() if below is picture else below
            below[layer.place] = blended
    return below.copy() if below is picture else below


def flatten(layers: Iterable[Layer], *, height: int, width: int, deep: bool = False) -> npt.NDArray[Any]:
    """What layers draw over any picture, as one picture with transparency: `compose` without the picture.

    Args:
        layers: the first at the bottom; inside the picture.
        height: rows of the picture.
        width: columns of it.
        deep: gives 16 bits a channel instead of 8.

    Returns:
        (height, width, 4) uint8 or uint16 RGBA with straight alpha, 255 or 65535 opaque. Where alpha is 0, so are the
        colours. Laid over a picture (colours times alpha plus the picture times the rest) it gives what `compose` gives
        but for rounding.

    Raises:
        ValueError: a layer reaches beyond the picture.
    """
    most = 65535 if deep else 255
    colors = np.zeros((height, width, 3), np.float32)
    alpha = np.zeros((height, width), np.float32)
    for layer in layers:
        _check_inside(layer, (height, width))
        above = layer.alpha
        under = alpha[layer.place] * (1 - above)
        whole = above + under
        # The share of what is seen that this layer has; anything where nothing is seen.
        share = np.divide(above, whole, out=np.zeros_like(whole), where=whole > 0)[..., None]
        scaled = layer.colors * np.float32(most / np.iinfo(layer.colors.dtype).max)
        colors[layer.place] += (scaled - colors[layer.place]) * share
        alpha[layer.place] = whole
    rgba = np.concatenate([np.where(alpha[..., None] > 0, colors, 0), alpha[..., None] * most], axis=2)
    rounded: npt.NDArray[Any] = np.rint(rgba, out=rgba).astype(np.uint16 if deep else np.uint8)
    return rounded


def _over(below: npt.NDArray[Any], layer: Layer) -> npt.NDArray[Any]:
    """A new array: the layer over the part of the picture that it covers."""
    colors, alpha = layer.colors, layer.alpha
    if below.dtype == np.uint8:
        colors = colors if colors.dtype == np.uint8 else (colors // 257).astype(np.uint8)
        return np.asarray(cv2.blendLinear(np.ascontiguousarray(below), colors, 1 - alpha, alpha), np.uint8)
    blended: npt.NDArray[Any] = colors.astype(np.float32)
    if colors.dtype == np.uint8:
        blended *= 257
    blended -= below
    blended *= alpha[..., None]
    blended += below
    drawn: npt.NDArray[Any] = np.rint(blended, out=blended).astype(np.uint16)
    return drawn


def _check_inside(layer: Layer, size: tuple[int, ...]) -> None:
    rows, columns = layer.place
    if layer.top < 0 or layer.left < 0 or rows.stop > size[0] or columns.stop > size[1]:
        raise ValueError(f"a layer at rows {rows}, columns {columns} reaches beyond a picture of {size[1]}x{size[0]}")
