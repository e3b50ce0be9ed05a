"""A density in, the heat as a layer out."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidsal.render.layer import Layer, Part, SoftLayer
from vidsal.render.palette import device_palette, palette
from vidsal.render.scale import place_on_scale, place_on_scale_batch, smooth_step
from vidsal.stages import RenderOptions

__all__ = ["RAMP", "heat_layers", "heat_layers_batch", "opacity_of", "soft_heat"]

RAMP = 0.3
"""Share of the display scale over which the heat fades in above the threshold."""

CLEARING = 0.5
"""Share of the opacity that is taken off again at the top of the scale, so that what is looked at stays visible."""


def heat_layers(
    density: npt.NDArray[np.float32],
    *,
    height: int,
    width: int,
    scale: float,
    options: RenderOptions,
    deep: bool = False,
) -> list[Layer]:
    """`soft_heat`, enlarged; nothing where it is None."""
    soft = soft_heat(density, height=height, width=width, scale=scale, options=options, deep=deep)
    return [] if soft is None else [soft.enlarged()]


def soft_heat(
    density: npt.NDArray[np.float32],
    *,
    height: int,
    width: int,
    scale: float,
    options: RenderOptions,
    deep: bool = False,
) -> SoftLayer | None:
    """Colours and opacity are found at the density's size, where there are any, and interpolated to the picture's.

    That costs a fraction of the reverse order.

    Args:
        density: (h, w) float32, sums to 1; any size. Its cells cover the picture evenly, as `SaliencyBatch` says.
        height: rows of the picture.
        width: columns of it.
        scale: density of the hottest colour, in multiples of uniform.
        options: opacity, colour map and threshold.
        deep: gives colours of 16 bits, which lie between those of the map, so that none shows a step.

    Returns:
        The layer; None where nothing is drawn.
    """
    relative = density * np.float32(density.size)
    part = Part.around(relative > scale**options.threshold, height=height, width=width)
    if part is None or not options.opacity:
        return None
    heat = place_on_scale(relative[part.cells], scale)
    colors = palette(options.colormap)
    if deep:
        levels, wide = np.arange(256, dtype=np.float32), colors.reshape(256, 3).astype(np.float32) * 257
        shown = np.stack([np.interp(heat * 255, levels, wide[:, channel]) for channel in range(3)], axis=2)
        shown = np.rint(shown).astype(np.uint16)
    else:
        shown = np.asarray(cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), colors), np.uint8)
    return SoftLayer(part, shown, np.asarray(opacity_of(heat, options), np.float32))


def heat_layers_batch(density: Tensor, *, scale: Tensor, options: RenderOptions) -> Tensor:
    """(B, h, w) densities -> (B, 4, h, w) float32: colours from 0 to 255 and alpha, before they are enlarged."""
    heat = place_on_scale_batch(density, scale)
    colors = device_palette(options.colormap, density.device)[(heat * 255).round().long()]  # (B, h, w, 3)
    alpha = opacity_of(heat, options)
    return torch.cat([colors, alpha[..., None]], dim=3).permute(0, 3, 1, 2)


def opacity_of(heat: Any, options: RenderOptions) -> Any:
    """Opacity at places on the display scale, an array or a tensor: it fades in above the threshold, and out again.

    Example:
        >>> opacity_of(np.array([0.2, 0.5, 1.0]), RenderOptions(threshold=0.2, opacity=0.8)).tolist()
        [0.0, 0.8, 0.4]
    """
    ramp = smooth_step((heat - options.threshold) / min(RAMP, 1 - options.threshold))
    full = min(options.threshold + RAMP, 1.0)
    clearing = smooth_step((heat - full) / (1 - full)) if full < 1 else 0
    return options.opacity * ramp * (1 - CLEARING * clearing)
