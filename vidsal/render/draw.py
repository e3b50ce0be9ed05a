"""Picture and density in, picture with what is asked for drawn over it out; on the processor, one picture at a time."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vidsal.render.heat import heat_layer
from vidsal.render.layer import Layer, compose
from vidsal.stages import RenderOptions

__all__ = ["draw", "layers_of", "overlay", "side_by_side"]

_Pixels = TypeVar("_Pixels", np.uint8, np.uint16)


def layers_of(
    density: npt.NDArray[np.float32],
    *,
    height: int,
    width: int,
    scale: float,
    options: RenderOptions | None = None,
    deep: bool = False,
) -> list[Layer]:
    """What is drawn over one picture, the lowest layer first: for `compose` over it, or for `flatten` without it.

    The cells cover the picture evenly, as `SaliencyBatch` says.

    Args:
        density: (h, w) float32, sums to 1; any size.
        height: rows of the picture.
        width: columns of it.
        scale: relative density (density times cells) of the hottest colour.
        options: how; None takes the defaults. Its `scale` and `side_by_side` are not looked at.
        deep: for a picture of 16 bits.

    Raises:
        ValueError: the shape is not as above.
    """
    if density.ndim != 2:
        raise ValueError(f"density must be (h, w), got {density.shape}")
    options = options or RenderOptions()
    return [heat_layer(density, height=height, width=width, scale=scale, options=options, deep=deep)]


def overlay(
    picture: npt.NDArray[_Pixels],
    density: npt.NDArray[np.float32],
    *,
    scale: float,
    options: RenderOptions | None = None,
) -> npt.NDArray[_Pixels]:
    """Draws a density over a picture; cells that are cold on the display scale leave the picture as it is.

    Args:
        picture: (H, W, 3) uint8 or uint16 RGB, white 255 or 65535; not changed.
        density: as for `layers_of`.
        scale: as for `layers_of`.
        options: as for `layers_of`.

    Returns:
        A new (H, W, 3) RGB array of the picture's type. In one of 16 bits the colours are not rounded to 8.

    Raises:
        ValueError: a shape or dtype is not as above.
    """
    height, width = picture.shape[:2]
    deep = picture.dtype == np.uint16
    return compose(picture, layers_of(density, height=height, width=width, scale=scale, options=options, deep=deep))


def side_by_side(left: npt.NDArray[_Pixels], right: npt.NDArray[_Pixels]) -> npt.NDArray[_Pixels]:
    """Puts two (H, W, 3) pictures of one size beside each other: a new (H, 2W, 3) array."""
    if left.shape != right.shape:
        raise ValueError(f"pictures side by side must be of one size, got {left.shape} and {right.shape}")
    return np.concatenate([left, right], axis=1)


def draw(
    picture: npt.NDArray[_Pixels], density: npt.NDArray[np.float32], *, scale: float, options: RenderOptions
) -> npt.NDArray[_Pixels]:
    """Draws what the options ask for: `overlay`, with the untouched picture to its left if `side_by_side`.

    Returns:
        A new (H, W, 3) array of the picture's type, or (H, 2W, 3) side by side.
    """
    drawn = overlay(picture, density, scale=scale, options=options)
    return side_by_side(picture, drawn) if options.side_by_side else drawn
