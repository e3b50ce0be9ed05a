"""A density in, where it stands on the display scale out.

A map is shown on a *display scale*: its density relative to a uniform one (density times number of
cells), where `scale` is the hottest colour. A scale chosen anew for every frame would flicker and
make a vague map look as sure as a sharp one, so `ScalePerShot` holds one for a whole shot.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidsal.frames import SaliencyBatch

__all__ = ["LEAST_SCALE", "ScalePerShot"]

LEAST_SCALE = 6.0
"""Display scale, in multiples of uniform, below which `ScalePerShot` never goes: a flat map stays cool."""


class ScalePerShot:
    """Chooses the display scale at the first frame of each shot and holds it to the shot's end.

    Args:
        fixed: the scale of every frame; None chooses: the peak of the shot's first relative
            density (density times cells), at least `LEAST_SCALE`.
    """

    def __init__(self, fixed: float | None = None) -> None:
        self._fixed = fixed
        self._shot: int | None = None
        self._scale: float | Tensor = LEAST_SCALE

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
                self._scale = max(LEAST_SCALE, math.exp(float(batch.log_density[i].max())) * cells)
            scales[i] = float(self._scale)
        return scales

    def update_on_device(self, batch: SaliencyBatch) -> Tensor:
        """As `update`, without waiting for the device: (B,) float64 (float32 on MPS), where `batch.log_density` is."""
        log_density = batch.log_density
        device = log_density.device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        if self._fixed is not None:
            return torch.full((len(batch),), self._fixed, dtype=dtype, device=device)
        cells = log_density.shape[1] * log_density.shape[2]
        peaks = (log_density.amax(dim=(1, 2)).to(dtype).exp() * cells).clamp_min(LEAST_SCALE)
        # Where each frame's scale stands: 0 is the scale held so far, row + 1 the peak of a row of this batch.
        places, place = [], 0
        for row, shot in enumerate(batch.shot.tolist()):
            if shot != self._shot:
                self._shot, place = shot, row + 1
            places.append(place)
        held = torch.as_tensor(self._scale, dtype=dtype).to(device, non_blocking=True).reshape(1)
        scales = torch.cat([held, peaks])[torch.tensor(places).to(device, non_blocking=True)]
        self._scale = scales[-1]
        return scales
