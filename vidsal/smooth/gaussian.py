"""Densities in, their averages over past and future out, weighed by a Gaussian of the time between."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections import deque
from typing import NamedTuple

import numpy as np
import torch

from vidsal.frames import SaliencyBatch
from vidsal.smooth.contract import ShotFollower, Smoother

__all__ = ["Gaussian"]

# The Gaussian ends this many standard deviations to either side; 0.3 % of it lies beyond.
_GAUSSIAN_REACH = 3.0
# Segments shorter than this, in standard deviations, are split evenly: the closed form would cancel.
_SHORT_SEGMENT = 1e-5
# Held frames are released beyond this count, so that timestamps that stand still cannot fill the memory.
_HELD_LIMIT = 512


class _Instant(NamedTuple):
    """The density at a time."""

    seconds: float
    density: torch.Tensor  # (h, w)


class Gaussian(Smoother):
    """The mean under a Gaussian of standard deviation T, cut off at three T and at the ends of the shot.

    Its weight is brought back to 1. Frames are held until 3 T of later ones have come, `flush` releases the rest; their
    `pictures` are held with them, so the memory is that of about 3 T of video.

    Example:
        >>> log_density = torch.log_softmax(torch.zeros(2, 3 * 4), dim=1).reshape(2, 3, 4)
        >>> batch = SaliencyBatch(
        ...     index=np.array([0, 1]), pts_seconds=np.array([0.0, 0.04]), shot=np.zeros(2, np.int64),
        ...     cut=np.zeros(2, np.bool_), log_density=log_density, height=30, width=40,
        ... )
        >>> smoother = Gaussian(0.15)
        >>> smoother.update(batch), [len(late) for late in smoother.flush()]
        ([], [2])
    """

    looks_ahead = True

    def __init__(self, time_constant_seconds: float) -> None:
        super().__init__(time_constant_seconds)
        self._shots = ShotFollower()
        # The shot's densities that later answers may need, oldest first.
        self._window: deque[_Instant] = deque(maxlen=2 * _HELD_LIMIT)
        self._held: deque[tuple[SaliencyBatch, _Instant]] = deque()  # frames not answered yet, the newest of the window

    def reset(self) -> None:
        self._shots.reset()
        self._window.clear()
        self._held.clear()

    def update(self, batch: SaliencyBatch) -> list[SaliencyBatch]:
        done = []
        for frame, seconds, begins in self._shots.follow(batch):
            if begins:
                done += self._release(everything=True)
                self._window.clear()
            instant = _Instant(seconds, frame.density[0])
            self._window.append(instant)
            self._held.append((frame, instant))
            done += self._release(everything=False)
        return _joined(done)

    def flush(self) -> list[SaliencyBatch]:
        done = self._release(everything=True)
        self.reset()
        return _joined(done)

    def _release(self, *, everything: bool) -> list[tuple[SaliencyBatch, torch.Tensor]]:
        """Answer the held frames whose future is known."""
        done = []
        reach = _GAUSSIAN_REACH * self.time_constant_seconds
        while self._held:
            middle = self._held[0][1].seconds
            if not everything and self._window[-1].seconds < middle + reach and len(self._held) <= _HELD_LIMIT:
                break
            # The segment that spans the start of the reach is needed whole; what lies before it is not.
            for _ in range(bisect_right(self._window, middle - reach, key=lambda each: each.seconds) - 1):
                self._window.popleft()
            frame, (_, density) = self._held.popleft()
            seconds = np.array([other.seconds for other in self._window])
            weights = _gaussian_weights((seconds - middle) / self.time_constant_seconds)
            if weights is not None:
                density = torch.zeros_like(density)
                for other, weight in zip(self._window, weights, strict=True):
                    density.add_(other.density, alpha=weight)
            done.append((frame, density))
        return done


def _joined(done: list[tuple[SaliencyBatch, torch.Tensor]]) -> list[SaliencyBatch]:
    """Batches of the frames, a new one where maps or pictures change their size."""
    batches = []
    for _, alike in itertools.groupby(done, key=lambda each: (each[1].shape, each[0].height, each[0].width)):
        frames, densities = zip(*alike, strict=True)
        batches.append(SaliencyBatch.join(frames).with_density(torch.stack(densities)))
    return batches


def _gaussian_weights(offsets: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float] | None:
    """Integral of the cut-off unit Gaussian times each frame's hat function, for (n,) increasing offsets; sum 1.

    None where no time lies under the Gaussian: a lone frame, or all at one instant.
    """
    weights = np.zeros(len(offsets))
    for i, (left, right) in enumerate(itertools.pairwise(offsets.tolist())):
        low, high = max(left, -_GAUSSIAN_REACH), min(right, _GAUSSIAN_REACH)
        if low >= high:
            continue
        area = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
        moment = (math.exp(-(low**2) / 2) - math.exp(-(high**2) / 2)) / math.sqrt(2 * math.pi)
        length = right - left
        to_right = (moment - left * area) / length if length > _SHORT_SEGMENT else area / 2
        to_right = min(max(to_right, 0.0), area)
        weights[i] += area - to_right
        weights[i + 1] += to_right
    total = float(weights.sum())
    return [float(weight) / total for weight in weights] if total > 0 else None
