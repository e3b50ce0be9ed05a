"""Densities and the fixations on them in, out: does a place that is given a chance of p get a share p of the fixations?

A model can rank places well and still be too sure, or too vague; NSS and AUC do not show it, this does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vidsal.data.layouts import Fixations

__all__ = ["EDGES", "Reliability"]

EDGES: npt.NDArray[np.float64] = 2.0 ** np.arange(-8, 8.5, 0.5)
"""Where one bin ends and the next begins, in multiples of a uniform density; what lies beyond has a bin at each end."""


class Reliability:
    """Adds up predicted and found shares of the fixations, over bins of the predicted density.

    Cells are sorted into bins by their density relative to a uniform one. Every frame counts by its fixations: with n
    of them, a bin that holds the mass p is expected to get n p.

    Example:
        >>> counts = Reliability()
        >>> seen = Fixations.on_picture([[0.5, 0.5], [1.5, 0.5], [0.5, 0.5], [0.5, 0.5]], height=1, width=2)
        >>> counts.update(np.array([[0.75, 0.25]], np.float32), seen)
        >>> counts.fixations, counts.gap
        (4, 0.0)
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        bins = len(EDGES) + 1
        self.frames = 0
        """Frames with at least one fixation."""
        self.expected = np.zeros(bins)
        """(bins,) float64, fixations that the predicted mass stands for."""
        self.observed = np.zeros(bins)
        """(bins,) float64, fixations that fell there."""
        self.by_chance = np.zeros(bins)
        """(bins,) float64, fixations that a uniform density would expect: the bins' shares of the picture."""

    def update(self, density: npt.NDArray[np.floating], fixations: Fixations) -> None:
        """Adds a frame.

        Args:
            density: (h, w), non-negative, of any scale, over the whole picture.
            fixations: where people looked; frames without any are left out.
        """
        count = len(fixations.points)
        total = float(density.sum(dtype=np.float64))
        if not count or total <= 0:
            return
        share = density.astype(np.float64) / total
        height, width = share.shape
        bins = np.searchsorted(EDGES, share * share.size, side="right")
        found = fixations.counts(height=height, width=width)
        self.frames += 1
        self.expected += count * self._sums(bins, share)
        self.observed += self._sums(bins, found.astype(np.float64))
        self.by_chance += count * self._sums(bins, np.full(share.shape, 1 / share.size))

    @property
    def fixations(self) -> int:
        """Points added."""
        return round(float(self.observed.sum()))

    @property
    def gap(self) -> float:
        """Share of the fixations that fell into another bin than expected, 0 to 1; NaN without fixations."""
        if not self.fixations:
            return float("nan")
        return float(np.abs(self.expected - self.observed).sum() / 2 / self.observed.sum())

    @staticmethod
    def _sums(bins: npt.NDArray[np.intp], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(np.bincount(bins.ravel(), weights=values.ravel(), minlength=len(EDGES) + 1), np.float64)
