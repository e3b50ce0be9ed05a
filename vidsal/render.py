"""Picture and density in, picture with the heat drawn over it out. Pure drawing: no input is ever written into.

A map is shown on a *display scale*: its density relative to a uniform one (density times number of
cells), where `scale` is the hottest colour. A scale chosen anew for every frame would flicker and
make a vague map look as sure as a sharp one, so `ScalePerShot` holds one for a whole shot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.errors import ConfigError
from vidsal.frames import SaliencyBatch

__all__ = ["Colormap", "RenderOptions", "ScalePerShot", "colorize", "draw", "overlay", "side_by_side"]

Colormap = Literal["turbo", "inferno", "magma", "plasma", "viridis", "cividis", "hot", "jet"]
"""Names of the colour maps, as OpenCV and Matplotlib have them."""

LEAST_SCALE = 6.0
"""Display scale, in multiples of uniform, below which `ScalePerShot` never goes: a flat map stays cool."""

RAMP = 0.3
"""Share of the display scale over which the heat fades in above the threshold."""

_RGB = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """How a density is drawn over a picture."""

    opacity: float = 0.6
    """Opacity of the hottest places, 0 (nothing drawn) to 1 (the picture is hidden there)."""
    colormap: Colormap = "turbo"
    """Colours from cold to hot: turbo, inferno, magma, plasma, viridis, cividis, hot or jet. turbo differs from
    most of what is filmed and is still ordered in brightness at its lower end."""
    threshold: float = 0.05
    """Share of the display scale, 0 to below 1, under which nothing is drawn; above it the heat fades in."""
    scale: float | None = None
    """Display scale: density relative to uniform (density times cells) shown as the hottest colour; None chooses it
    once per shot, from the shot's first map."""
    side_by_side: bool = False
    """Puts the untouched picture left of the drawn one, at twice the width."""

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise ConfigError(f"opacity must be from 0 to 1, got {self.opacity}")
        if self.colormap not in get_args(Colormap):
            raise ConfigError(f"colormap must be one of {', '.join(get_args(Colormap))}, got {self.colormap!r}")
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"threshold must be from 0 to below 1, got {self.threshold}")
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0):
            raise ConfigError(f"scale must be above 0, or None to choose it per shot, got {self.scale}")


class ScalePerShot:
    """Chooses the display scale at the first frame of each shot and holds it to the shot's end.

    Args:
        fixed: the scale of every frame; None chooses: the peak of the shot's first relative
            density (density times cells), at least `LEAST_SCALE`.
    """

    def __init__(self, fixed: float | None = None) -> None:
        self._fixed = fixed
        self._shot: int | None = None
        self._scale = LEAST_SCALE

    def reset(self) -> None:
        """Forgets the shot; the next frame chooses anew."""
        self._shot = None

    def update(self, batch: SaliencyBatch) -> npt.NDArray[np.float64]:
        """Gives the display scale of each frame, (B,) float64; how frames are grouped changes nothing."""
        if self._fixed is not None:
            return np.full(len(batch), self._fixed)
        cells = batch.log_density.shape[1] * batch.log_density.shape[2]
        scales = np.empty(len(batch))
        for i, shot in enumerate(batch.shot.tolist()):
            if shot != self._shot:
                self._shot = shot
                peak = math.exp(float(batch.log_density[i].max())) * cells
                self._scale = max(LEAST_SCALE, peak)
            scales[i] = self._scale
        return scales


def colorize(density: _Floats, *, scale: float, colormap: Colormap = "turbo") -> _RGB:
    """Gives each cell of a density its colour, at the density's own size.

    Args:
        density: (h, w) float32, sums to 1.
        scale: relative density (density times cells) of the hottest colour; above it nothing gets hotter.
        colormap: colours from cold to hot.

    Returns:
        A new (h, w, 3) uint8 RGB array.
    """
    return _paint(_heat(density, scale), colormap)


def overlay(picture: _RGB, density: _Floats, *, scale: float, options: RenderOptions | None = None) -> _RGB:
    """Draws a density over a picture; cells that are cold on the display scale leave the picture as it is.

    The cells cover the picture evenly, as `SaliencyBatch` says. Colours and opacity are found at the
    density's size and interpolated to the picture's, which costs a fraction of the reverse order.

    Args:
        picture: (H, W, 3) uint8 RGB; not changed.
        density: (h, w) float32, sums to 1; any size.
        scale: relative density (density times cells) of the hottest colour.
        options: opacity, colour map and threshold; None takes the defaults. Its `scale` and `side_by_side`
            are not looked at.

    Returns:
        A new (H, W, 3) uint8 RGB array.

    Raises:
        ValueError: a shape or dtype is not as above.
    """
    options = options or RenderOptions()
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"picture must be (H, W, 3) uint8, got {picture.shape} {picture.dtype}")
    if density.ndim != 2:
        raise ValueError(f"density must be (h, w), got {density.shape}")
    heat = _heat(density, scale)
    ramp = np.clip((heat - options.threshold) / min(RAMP, 1 - options.threshold), 0, 1)
    # A smooth step: the edge of the heat shows no line.
    alpha = (options.opacity * ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    size = (picture.shape[1], picture.shape[0])
    # OpenCV's linear interpolation puts cell centres where SaliencyBatch has them (half-pixel centres).
    colors = cv2.resize(_paint(heat, options.colormap), size, interpolation=cv2.INTER_LINEAR)
    alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.blendLinear(np.ascontiguousarray(picture), colors, 1 - alpha, alpha), np.uint8)


def side_by_side(left: _RGB, right: _RGB) -> _RGB:
    """Puts two (H, W, 3) uint8 pictures of one size beside each other: a new (H, 2W, 3) array."""
    if left.shape != right.shape:
        raise ValueError(f"pictures side by side must be of one size, got {left.shape} and {right.shape}")
    return np.concatenate([left, right], axis=1)


def draw(picture: _RGB, density: _Floats, *, scale: float, options: RenderOptions) -> _RGB:
    """Draws what the options ask for: `overlay`, with the untouched picture to its left if `side_by_side`.

    Returns:
        A new (H, W, 3) uint8 array, or (H, 2W, 3) side by side.
    """
    drawn = overlay(picture, density, scale=scale, options=options)
    return side_by_side(picture, drawn) if options.side_by_side else drawn


def _heat(density: _Floats, scale: float) -> _Floats:
    """The density on the display scale, 0 to 1."""
    heat: _Floats = np.clip(density * np.float32(density.size / scale), 0, 1)
    return heat


def _paint(heat: _Floats, colormap: str) -> _RGB:
    """(h, w) heat to (h, w, 3) RGB."""
    level = np.rint(heat * 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(level, _palette(colormap)), np.uint8)


@cache
def _palette(name: str) -> _RGB:
    """(256, 1, 3) RGB, cold to hot, as `cv2.applyColorMap` wants one's own colours."""
    code = getattr(cv2, f"COLORMAP_{name.upper()}")
    # Two dimensions: OpenCV 5 takes one-dimensional arrays for rows, OpenCV 4 for columns.
    levels = np.arange(256, dtype=np.uint8).reshape(256, 1)
    palette = np.ascontiguousarray(np.asarray(cv2.applyColorMap(levels, code), np.uint8)[..., ::-1])
    palette.flags.writeable = False
    return palette
