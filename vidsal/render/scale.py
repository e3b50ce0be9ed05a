"""A density in, where it stands on the display scale out.

A map is shown on a *display scale*, which is logarithmic in the density relative to a uniform one (density times
number of cells): 0 where it is uniform or lower, 1 at the scale's top. One top for all frames, shots and files needs no
look ahead, does not flicker, and lets colours be compared.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidsal.frames import SaliencyBatch
from vidsal.stages import RenderOptions

__all__ = ["LEAST_SCALE", "DisplayScale", "place_on_scale", "place_on_scale_batch", "smooth_step"]

LEAST_SCALE = 6.0
"""Top in multiples of uniform below which none is chosen for a shot: a flat map stays cool."""


class DisplayScale:
    """Gives the top of each frame's display scale.

    It is that of the options, or with `scale_per_shot` chosen at the first frame of each shot and held to its end.

    Args:
        options: its `scale` and `scale_per_shot`; None takes the defaults.
    """

    def __init__(self, options: RenderOptions | None = None) -> None:
        options = options or RenderOptions()
        self._fixed = None if options.scale_per_shot else options.scale
        self._shot: int | None = None
        self._scale = LEAST_SCALE

    def reset(self) -> None:
        """Forgets the shot; the next frame chooses anew."""
        self._shot = None

    def update(self, batch: SaliencyBatch) -> npt.NDArray[np.float64]:
        """Gives the top of each frame's scale, (B,) float64; how frames are grouped changes nothing.

        Maps on a device are waited for only where a shot's own scale is to be chosen.
        """
        if self._fixed is not None:
            return np.full(len(batch), self._fixed)
        cells = batch.log_density.shape[1] * batch.log_density.shape[2]
        scales = np.empty(len(batch))
        for i, shot in enumerate(batch.shot.tolist()):
            if shot != self._shot:
                self._shot = shot
                self._scale = max(LEAST_SCALE, math.exp(float(batch.log_density[i].max())) * cells)
            scales[i] = self._scale
        return scales


def place_on_scale(relative: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.float32]:
    """Where densities stand on the display scale.

    Args:
        relative: densities in multiples of the uniform one, of any shape.
        scale: the top, in the same, above 1.

    Returns:
        float32 of the same shape, from 0 for a uniform density and below to 1 at the top and beyond.

    Example:
        >>> place_on_scale(np.array([0.5, 1, 10, 100, 200], np.float32), scale=100.0).tolist()
        [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    return np.asarray(np.log(np.maximum(relative, 1)) / math.log(scale), np.float32).clip(0, 1)


def place_on_scale_batch(density: Tensor, scale: Tensor) -> Tensor:
    """`place_on_scale` for (B, h, w) densities, each of sum 1, and their (B,) scales, on the densities' device."""
    top = scale.to(torch.float32).to(density.device, non_blocking=True)[:, None, None]
    relative = (density * density[0].numel()).clamp_min(1).minimum(top)
    return (relative.log() / top.log()).clamp_max(1)


def smooth_step(place: Any) -> Any:
    """0 up to 0, 1 from 1 on, and between them a curve without a kink, for an array or a tensor.

    Example:
        >>> smooth_step(np.array([-1.0, 0.25, 0.5, 2.0])).tolist()
        [0.0, 0.15625, 0.5, 1.0]
    """
    inside = place.clip(0, 1)
    return inside * inside * (3 - 2 * inside)
