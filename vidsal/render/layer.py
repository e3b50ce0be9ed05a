"""Layers in, the picture with them over it out; or what they hide of any picture, as one layer.

Every style draws `Layer`s: it never sees the picture, so that the same layers go over one, or stand alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Layer", "Part", "SoftLayer", "compose", "flatten", "painted"]

_Pixels = TypeVar("_Pixels", np.uint8, np.uint16)
_Floats = npt.NDArray[np.float32]

_BAND = 2**16
"""Pixels that are blended at once, so that what lies between the steps stays in the processor's cache."""


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
    drawn: npt.NDArray[Any] = np.array(picture, order="C")
    for layer in layers:
        _check_inside(layer, picture.shape[:2])
        blend: Any = _blend if drawn.dtype == np.uint8 else _blend_deep
        below = drawn[layer.place]
        rows = max(1, _BAND // max(1, below.shape[1]))
        for first in range(0, len(below), rows):
            part = slice(first, first + rows)
            if layer.alpha[part].any():
                blend(below[part], layer.colors[part], layer.alpha[part])
    return drawn


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
        whole = layer.alpha + alpha[layer.place] * (1 - layer.alpha)
        # The share of what is seen that this layer has; none where nothing is seen.
        share = np.divide(layer.alpha, whole, out=np.zeros_like(whole), where=whole > 0)[..., None]
        above = layer.colors * np.float32(most / np.iinfo(layer.colors.dtype).max)
        colors[layer.place] += (above - colors[layer.place]) * share
        alpha[layer.place] = whole
    flat: npt.NDArray[Any] = np.empty((height, width, 4), np.uint16 if deep else np.uint8)
    flat[..., 3] = np.rint(alpha * np.float32(most))
    flat[..., :3] = np.rint(colors, out=colors)
    flat[flat[..., 3] == 0] = 0
    return flat


def painted(cover: npt.NDArray[np.uint8], colors: npt.NDArray[np.uint8], *, top: int = 0, left: int = 0) -> Layer:
    """A layer of (h, w) coverage, 255 where it is opaque."""
    return Layer(colors, cover.astype(np.float32) / np.float32(255), top, left)


class Part(NamedTuple):
    """A rectangle of a map, and the same place in the picture, in whole cells and whole pixels."""

    cells: tuple[slice, slice]
    """Rows and columns of the map."""
    pixels: tuple[slice, slice]
    """Rows and columns of the picture."""

    @classmethod
    def around(cls, drawn: npt.NDArray[np.bool_], *, height: int, width: int) -> Part | None:
        """The smallest part that holds some cells and their neighbours; None where there are no such cells.

        Args:
            drawn: (h, w), which cells; all of them cover the picture evenly.
            height: rows of the picture.
            width: columns of it.
        """
        cells, pixels = [], []
        for axis, size in ((1, height), (0, width)):
            found, count = np.flatnonzero(drawn.any(axis=axis)), drawn.shape[1 - axis]
            if not len(found):
                return None
            step = count // math.gcd(count, size)  # cells that end on a whole pixel
            first = max(0, int(found[0]) - 1) // step * step
            end = min(count, -(-(int(found[-1]) + 2) // step) * step)
            cells.append(slice(first, end))
            pixels.append(slice(first * size // count, end * size // count))
        return cls((cells[0], cells[1]), (pixels[0], pixels[1]))


class SoftLayer(NamedTuple):
    """A layer before it is enlarged to the size of the picture. It is the whole map's, where no other cell is drawn."""

    part: Part
    """Where it lies."""
    colors: npt.NDArray[Any]
    """(h, w, 3) RGB of the part's cells, as those of `Layer`."""
    alpha: npt.NDArray[np.float32]
    """(h, w) of the part's cells, as those of `Layer`."""

    def enlarged(self) -> Layer:
        """The layer in the picture."""
        (rows, columns), size = self.part.pixels, tuple(side.stop - side.start for side in self.part.pixels[::-1])
        # OpenCV's linear interpolation puts cell centres where SaliencyBatch has them (half-pixel centres).
        large, share = (cv2.resize(each, size, interpolation=cv2.INTER_LINEAR) for each in (self.colors, self.alpha))
        return Layer(np.asarray(large, self.colors.dtype), np.asarray(share, np.float32), rows.start, columns.start)


def _blend(below: npt.NDArray[np.uint8], colors: npt.NDArray[Any], alpha: _Floats) -> None:
    """Writes colours over 8-bit ones, to half a level."""
    change = cv2.subtract(_as_depth(colors, below.dtype), below, dtype=cv2.CV_32F)
    cv2.multiply(change, cv2.merge([alpha] * 3), dst=change)
    cv2.add(below, change, dst=below, dtype=cv2.CV_8U)


def _blend_deep(below: npt.NDArray[np.uint16], colors: npt.NDArray[Any], alpha: _Floats) -> None:
    """Writes colours over 16-bit ones."""
    blended = _as_depth(colors, below.dtype).astype(np.float32)
    blended -= below
    blended *= alpha[..., None]
    blended += below
    below[...] = np.rint(blended, out=blended)


def _as_depth(colors: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Colours of 8 or 16 bits as such of the other."""
    if colors.dtype == dtype:
        return colors
    return (
        colors.astype(np.uint16) * 257
        if dtype == np.uint16
        else ((colors.astype(np.uint32) + 128) // 257).astype(np.uint8)
    )


def _check_inside(layer: Layer, size: tuple[int, ...]) -> None:
    rows, columns = layer.place
    if layer.top < 0 or layer.left < 0 or rows.stop > size[0] or columns.stop > size[1]:
        raise ValueError(f"a layer at rows {rows}, columns {columns} reaches beyond a picture of {size[1]}x{size[0]}")
