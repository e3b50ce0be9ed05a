"""Densities in, their averages over the past out, weighed by an exponential of the time gone by."""

from __future__ import annotations

import math

import torch

from vidsal.frames import SaliencyBatch
from vidsal.smooth.contract import ShotFollower, Smoother

__all__ = ["Exponential", "first_order_hold"]


class Exponential(Smoother):
    """y' = (x - y) / T from y = x on the first frame of a shot, for densities x that are linear between frames.

    The exact first-order-hold solution. It answers at once; a lasting change is followed with a lag of T.
    """

    def __init__(self, time_constant_seconds: float) -> None:
        super().__init__(time_constant_seconds)
        self._shots = ShotFollower()
        self._average: torch.Tensor | None = None  # (h, w) y at the last frame
        self._density: torch.Tensor | None = None  # (h, w) x at the last frame
        self._seconds = 0.0

    def reset(self) -> None:
        self._shots.reset()
        self._average = self._density = None

    def update(self, batch: SaliencyBatch) -> list[SaliencyBatch]:
        averages = []
        for frame, seconds, begins in self._shots.follow(batch):
            density = frame.density[0]
            averages.append(self._step(int(frame.index[0]), density, None if begins else seconds - self._seconds))
            self._density, self._seconds = density, seconds
        return [batch.with_density(torch.stack(averages))]

    def _step(self, index: int, density: torch.Tensor, seconds: float | None) -> torch.Tensor:
        """The average at the next frame, so many seconds after the last; None where a shot begins."""
        if seconds is None or self._average is None or self._density is None:
            self._average = density
        else:
            keep, before, now = first_order_hold(seconds / self.time_constant_seconds)
            past = self._average * keep  # a new tensor: the old one has been returned
            past.add_(self._density, alpha=before)
            self._average = self._moved(past, density, share=1 - now).add_(density, alpha=now)
        return self._average

    def _moved(self, past: torch.Tensor, density: torch.Tensor, *, share: float) -> torch.Tensor:
        """The past, of mass `share`, where it is now; here it stays in its place."""
        return past


def first_order_hold(step: float) -> tuple[float, float, float]:
    """Weights with which an exponential goes on over one step, for an input that changes linearly on it.

    From y' = x - y with x = x0 + (x1 - x0) s / step, integrated over 0 <= s <= step.

    Args:
        step: length of the step in time constants, 0 or more.

    Returns:
        Weights of y0, x0 and x1 in y1; each from 0 to 1, together 1.

    Example:
        >>> first_order_hold(0.0)
        (1.0, 0.0, 0.0)
    """
    gone = -math.expm1(-step)
    hold = gone / step if step > 0 else 1.0  # mean of exp(-s) over the step
    return 1.0 - gone, max(hold - (1.0 - gone), 0.0), max(1.0 - hold, 0.0)
