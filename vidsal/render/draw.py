"""Picture and density in, picture with what is asked for drawn over it out; on the processor, one picture at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vidsal.frames import Planes
from vidsal.render.boxes import boxes_layers
from vidsal.render.contour import contour_layers
from vidsal.render.heat import soft_heat
from vidsal.render.layer import Layer, SoftLayer, compose, flatten
from vidsal.render.legend import legend_layers
from vidsal.render.peak import peak_layers
from vidsal.render.planar import compose_planes
from vidsal.render.spotlight import soft_spotlight
from vidsal.stages import RenderOptions
from vidsal.tracks import FrameNumbers

__all__ = ["draw", "draw_alone", "draw_planes", "layers_of", "marks_of", "overlay", "side_by_side"]

_Pixels = TypeVar("_Pixels", np.uint8, np.uint16)


def layers_of(
    density: npt.NDArray[np.float32],
    *,
    height: int,
    width: int,
    scale: float | None = None,
    options: RenderOptions | None = None,
    recent: Sequence[FrameNumbers] = (),
    deep: bool = False,
) -> list[Layer]:
    """What is drawn over one picture, the lowest layer first: for `compose` over it, or for `flatten` without it.

    The cells cover the picture evenly, as `SaliencyBatch` says. The order of the styles in the options does not matter.

    Args:
        density: (h, w) float32, sums to 1; any size.
        height: rows of the picture.
        width: columns of it.
        scale: density of the hottest colour, in multiples of uniform, as `DisplayScale` gives it; None takes the
            options'.
        options: how; None takes the defaults. Its `scale_per_shot` and `side_by_side` are not looked at.
        recent: rows of the shot, the oldest first, the frame's own last, as `Recent` gives them; wanted only where
            `options.is_tracked`.
        deep: for a picture of 16 bits.

    Raises:
        ValueError: the shape is not as above, or rows are wanted and there are none.
    """
    found = _layers_of(density, height=height, width=width, scale=scale, options=options, recent=recent, deep=deep)
    return [layer.enlarged() if isinstance(layer, SoftLayer) else layer for layer in found]


def _layers_of(
    density: npt.NDArray[np.float32],
    *,
    height: int,
    width: int,
    scale: float | None,
    options: RenderOptions | None,
    recent: Sequence[FrameNumbers],
    deep: bool,
) -> list[Layer | SoftLayer]:
    """As `layers_of`, with those that are soft not enlarged yet."""
    if density.ndim != 2:
        raise ValueError(f"density must be (h, w), got {density.shape}")
    options = options or RenderOptions()
    top = options.scale if scale is None else scale
    layers: list[Layer | SoftLayer | None] = []
    if "spotlight" in options.style:
        layers.append(soft_spotlight(density, height=height, width=width, options=options))
    if "heat" in options.style:
        layers.append(soft_heat(density, height=height, width=width, scale=top, options=options, deep=deep))
    if "contour" in options.style:
        layers += contour_layers(density, height=height, width=width)
    layers += marks_of(recent, height=height, width=width, scale=top, options=options)
    return [layer for layer in layers if layer is not None]


def marks_of(
    recent: Sequence[FrameNumbers], *, height: int, width: int, scale: float, options: RenderOptions
) -> list[Layer]:
    """The upper layers, which are small and need no density: boxes, the peak, the legend; arguments as `layers_of`."""
    if options.is_tracked and not recent:
        raise ValueError(f"the styles {', '.join(options.style)} need the tracker's rows, as Recent gives them")
    layers: list[Layer] = []
    if "boxes" in options.style:
        layers += boxes_layers(recent[-1], height=height, width=width)
    if "peak" in options.style:
        layers += peak_layers(recent, height=height, width=width)
    if options.legend == "on":
        layers += legend_layers(height, width, scale=scale, options=options)
    return layers


def overlay(
    picture: npt.NDArray[_Pixels],
    density: npt.NDArray[np.float32],
    *,
    scale: float | None = None,
    options: RenderOptions | None = None,
    recent: Sequence[FrameNumbers] = (),
) -> npt.NDArray[_Pixels]:
    """Draws `layers_of` a density over a picture.

    Args:
        picture: (H, W, 3) uint8 or uint16 RGB, white 255 or 65535; not changed.
        density: as for `layers_of`.
        scale: as for `layers_of`.
        options: as for `layers_of`.
        recent: as for `layers_of`.

    Returns:
        A new (H, W, 3) RGB array of the picture's type. In one of 16 bits the colours are not rounded to 8.

    Raises:
        ValueError: a shape or dtype is not as above.
    """
    height, width = picture.shape[:2]
    deep = picture.dtype == np.uint16
    layers = layers_of(density, height=height, width=width, scale=scale, options=options, recent=recent, deep=deep)
    return compose(picture, layers)


def draw_alone(
    density: npt.NDArray[np.float32],
    *,
    height: int,
    width: int,
    scale: float | None = None,
    options: RenderOptions | None = None,
    recent: Sequence[FrameNumbers] = (),
    deep: bool = False,
) -> npt.NDArray[Any]:
    """Draws `layers_of` a density without a picture; the arguments are those of `layers_of`.

    Returns:
        (height, width, 4) RGBA as `vidsal.render.flatten` gives it.
    """
    layers = layers_of(density, height=height, width=width, scale=scale, options=options, recent=recent, deep=deep)
    return flatten(layers, height=height, width=width, deep=deep)


def side_by_side(left: npt.NDArray[_Pixels], right: npt.NDArray[_Pixels]) -> npt.NDArray[_Pixels]:
    """Puts two (H, W, 3) pictures of one size beside each other: a new (H, 2W, 3) array."""
    if left.shape != right.shape:
        raise ValueError(f"pictures side by side must be of one size, got {left.shape} and {right.shape}")
    return np.concatenate([left, right], axis=1)


def draw(
    picture: npt.NDArray[_Pixels],
    density: npt.NDArray[np.float32],
    *,
    scale: float | None = None,
    options: RenderOptions,
    recent: Sequence[FrameNumbers] = (),
) -> npt.NDArray[_Pixels]:
    """Draws what the options ask for: `overlay`, with the untouched picture to its left if `side_by_side`.

    Returns:
        A new (H, W, 3) array of the picture's type, or (H, 2W, 3) side by side.
    """
    drawn = overlay(picture, density, scale=scale, options=options, recent=recent)
    return side_by_side(picture, drawn) if options.side_by_side else drawn


def draw_planes(
    picture: Planes,
    density: npt.NDArray[np.float32],
    *,
    scale: float | None = None,
    options: RenderOptions,
    recent: Sequence[FrameNumbers] = (),
) -> npt.NDArray[np.uint8]:
    """`draw` on a picture that stays in YUV, for an encoder of the same: a fraction of the time, and nothing is lost.

    Returns:
        As `compose_planes` gives it.
    """
    height, width = picture.planes[0].shape
    layers = _layers_of(density, height=height, width=width, scale=scale, options=options, recent=recent, deep=False)
    return compose_planes(picture, layers, side_by_side=options.side_by_side)
