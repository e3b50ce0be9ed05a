"""A density in, the heat as a layer out."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.render.layer import Layer
from vidsal.render.palette import palette
from vidsal.stages import RenderOptions

__all__ = ["RAMP", "heat_layer"]

RAMP = 0.3
"""Share of the display scale over which the heat fades in above the threshold."""


def heat_layer(
    density: npt.NDArray[np.float32],
    *,
    height: int,
    width: int,
    scale: float,
    options: RenderOptions,
    deep: bool = False,
) -> Layer:
    """Colours and opacity are found at the density's size and interpolated to the picture's.

    That costs a fraction of the reverse order.

    Args:
        density: (h, w) float32, sums to 1; any size. Its cells cover the picture evenly, as `SaliencyBatch` says.
        height: rows of the picture.
        width: columns of it.
        scale: relative density (density times cells) of the hottest colour.
        options: opacity, colour map and threshold.
        deep: gives colours of 16 bits, which lie between those of the map, so that none shows a step.
    """
    heat = np.clip(density * np.float32(density.size / scale), 0, 1)  # on the display scale
    ramp = np.clip((heat - options.threshold) / min(RAMP, 1 - options.threshold), 0, 1)
    # A smooth step: the edge of the heat shows no line.
    alpha = (options.opacity * ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    colors = palette(options.colormap)
    if deep:
        levels, wide = np.arange(256, dtype=np.float32), colors.reshape(256, 3).astype(np.float32) * 257
        painted = np.stack([np.interp(heat * 255, levels, wide[:, channel]) for channel in range(3)], axis=2)
        painted = np.rint(painted).astype(np.uint16)
    else:
        painted = np.asarray(cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), colors), np.uint8)
    # OpenCV's linear interpolation puts cell centres where SaliencyBatch has them (half-pixel centres).
    large = [cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR) for each in (painted, alpha)]
    return Layer(np.asarray(large[0], painted.dtype), np.asarray(large[1], np.float32))
