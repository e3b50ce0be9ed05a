"""Densities and frames in, averages over the past out, the past moved along with the picture.

An average over time lags what moves. Optical flow between small grey copies of the frames says where each
place of this frame was in the frame before. Where the two pictures do not match there (a thing uncovered what was
hidden, a cut went unnoticed), the past is not trusted.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from vidsal.flow import BackwardFlow
from vidsal.frames import FrameBatch
from vidsal.smooth.exponential import Exponential

__all__ = ["Motion"]

_Grey = npt.NDArray[np.uint8]

# Flow is found between grey pictures of this longer side, in pixels; no side is shorter than the second, since DIS
# breaks down on pictures that are far longer than high.
_FLOW_SIDE, _FLOW_LEAST = 128, 64
# Grey levels by which two pictures may differ along the flow, and from which the past is not believed at all; in
# between it is in part. Noise and compression reach 2 to 11 (median and 99 %), unrelated pictures 41 in the median.
# Pictures with less contrast than the third, as at night, differ by less: so does what is believed, but noise stays
# noise, whose share is the fourth.
_MATCH, _MISMATCH = 8.0, 24.0
_LOW_CONTRAST, _LEAST_SHARE = 40.0, 0.15
# Far below any density, far above 0: the past of a frame of which nothing was to be seen before is the frame itself.
_HARDLY = 1e-12


class Motion(Exponential):
    """The exponential along the paths of what is seen, so that what moves is followed without a lag.

    From frame to frame y and x are moved by the optical flow (DIS, Kroeger et al. 2016) and brought back to weight 1;
    cells whose past lay outside the picture, or does not match this frame, take this frame's x for their past. Needs
    the frames: `watch`.
    """

    def __init__(self, time_constant_seconds: float) -> None:
        super().__init__(time_constant_seconds)
        self._backward = BackwardFlow()
        self._watched: deque[tuple[int, _Grey]] = deque()  # index and picture of frames whose maps have not come yet
        self._before: _Grey | None = None
        self._now: _Grey | None = None

    def reset(self) -> None:
        super().reset()
        self._watched.clear()

    def watch(self, frames: FrameBatch) -> None:
        """Show the frames, see `Smoother`; small grey copies are kept until their densities have come."""
        self._watched.extend((int(i), _grey(frame)) for i, frame in zip(frames.index, frames.frames, strict=True))

    def _step(self, index: int, density: torch.Tensor, seconds: float | None) -> torch.Tensor:
        self._before, self._now = self._now, self._seen(index)
        return super()._step(index, density, seconds)

    def _seen(self, index: int) -> _Grey:
        """The grey picture of the frame with this index."""
        while self._watched and self._watched[0][0] < index:
            self._watched.popleft()
        if not self._watched or self._watched[0][0] != index:
            raise ValueError(f"frame {index} was not shown; with smoothing=motion call watch(frames) before update")
        return self._watched.popleft()[1]

    def _moved(self, past: torch.Tensor, density: torch.Tensor, *, share: float) -> torch.Tensor:
        if self._before is None or self._now is None or share <= 0:
            return past
        moved = _moved(past / share, density, self._flow(self._before, self._now))
        return moved * (share / moved.sum())

    def _flow(self, before: _Grey, after: _Grey) -> npt.NDArray[np.float32]:
        """(rows, columns, 3): shift in x and y, as shares of half the picture's sides, and trust in it, 0 to 1."""
        rows, columns = after.shape
        if before.shape != after.shape:
            return np.zeros((rows, columns, 3), np.float32)
        shift = self._backward(before, after)  # (rows, columns, 2) pixels, from this frame back
        x = shift[..., 0] + np.arange(columns, dtype=np.float32)
        y = shift[..., 1] + np.arange(rows, dtype=np.float32)[:, None]
        there = cv2.remap(before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        difference = after.astype(np.float32) - there
        # A change of the light says nothing of the things; single pixels differ by noise.
        difference = cv2.blur(np.abs(difference - np.median(difference)), (5, 5))
        # A flow can bend one picture into another here and there, but not everywhere: after a cut nothing is believed.
        contrast = max(float(before.std()), float(after.std()))
        difference /= min(max(contrast / _LOW_CONTRAST, _LEAST_SHARE), 1.0)
        trust = _belief(difference) * _belief(difference.mean())
        trust[(x < -0.5) | (x > columns - 0.5) | (y < -0.5) | (y > rows - 0.5)] = 0
        return np.stack([shift[..., 0] * (2 / columns), shift[..., 1] * (2 / rows), trust], axis=-1)


def _belief(difference: npt.NDArray[np.float32] | np.floating[Any]) -> npt.NDArray[np.float32]:
    return np.asarray(np.clip((_MISMATCH - difference) / (_MISMATCH - _MATCH), 0, 1), np.float32)


def _grey(frame: npt.NDArray[np.uint8]) -> _Grey:
    """(h, w, 3) -> a small grey picture."""
    height, width = frame.shape[:2]
    share = min(1.0, _FLOW_SIDE / max(height, width))
    size = max(_FLOW_LEAST, round(width * share)), max(_FLOW_LEAST, round(height * share))
    return np.asarray(cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA))


def _moved(past: torch.Tensor, now: torch.Tensor, flow: npt.NDArray[np.float32]) -> torch.Tensor:
    """(h, w) twice and a flow -> the past where it is now, `now` where there is none; its mass is about 1."""
    height, width = past.shape
    # OpenCV is ten times as quick at this as torch is on a CPU.
    host = torch.from_numpy(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR))
    if past.device.type == "cuda":  # page-locked, so that nothing waits for the device
        host = host.pin_memory()
    field = host.to(past.device, non_blocking=True)  # (h, w, 3)
    # Cell centres from -1 to 1 over the picture, as `grid_sample` counts.
    field[..., 0] += (torch.arange(width, device=past.device) * 2 + 1) / width - 1
    field[..., 1] += ((torch.arange(height, device=past.device) * 2 + 1) / height - 1)[:, None]
    there = F.grid_sample(past[None, None], field[None, ..., :2], padding_mode="border", align_corners=False)[0, 0]
    return torch.lerp(now, there, field[..., 2]).add_(now, alpha=_HARDLY)
