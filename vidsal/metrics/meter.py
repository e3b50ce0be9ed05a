"""Batches of maps with their ground truth in, mean scores over all pictures out; it only adds up."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from vidsal.metrics import auc, functional

__all__ = ["ScoreMeter"]

_BY_DENSITY: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cc": functional.cc,
    "sim": functional.sim,
    "kl": functional.kl,
}
_BY_FIXATIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "nss": functional.nss,
    "auc_judd": auc.auc_judd,
}


class ScoreMeter:
    """Scores every picture and gives the mean of each metric over the pictures, each with the same weight.

    A picture whose ground truth says nothing (see `functional`) is left out of that metric's mean;
    `counts` tells over how many pictures each mean was taken. How the pictures are grouped into batches changes
    nothing, nor does their order.

    Example:
        >>> meter = ScoreMeter()
        >>> density = torch.tensor([[[0.1, 0.2], [0.3, 0.4]]])
        >>> meter.update(density, density, torch.tensor([[[0, 0], [0, 1]]]))
        >>> {name: round(value, 3) for name, value in meter.mean().items()}
        {'nss': 1.342, 'cc': 1.0, 'sim': 1.0, 'kl': 0.0, 'auc_judd': 0.875}
        >>> meter.counts()
        {'nss': 1, 'cc': 1, 'sim': 1, 'kl': 1, 'auc_judd': 1}
    """

    names: tuple[str, ...] = ("nss", "cc", "sim", "kl", "auc_judd")
    """The metrics, in the order in which they are reported."""

    def __init__(self) -> None:
        self._scores: dict[str, list[float]] = {}
        self.reset()

    def reset(self) -> None:
        """Forgets all pictures."""
        self._scores = {name: [] for name in self.names}

    def update(self, saliency: torch.Tensor, density: torch.Tensor, fixation_counts: torch.Tensor) -> None:
        """Adds B pictures.

        Args:
            saliency: (B, H, W) float32 or float64, non-negative maps of any scale.
            density: (B, H, W) ground truth of any scale, for CC, SIM and KL.
            fixation_counts: (B, H, W) fixations a cell, for NSS and AUC.

        Raises:
            TypeError: A map is not float32 or float64.
            ValueError: The shapes differ, a value is negative, or a map holds NaN or infinity. Nothing is added then.
        """
        for name, values in (("saliency", saliency), ("density", density), ("fixation_counts", fixation_counts)):
            # Left in, it would come out as NaN and drop out of the mean as a picture without ground truth does.
            if not bool(values.isfinite().all()):
                raise ValueError(f"{name} holds NaN or infinity; a mean over the other pictures would hide it")
        added = {name: metric(saliency, density) for name, metric in _BY_DENSITY.items()}
        added |= {name: metric(saliency, fixation_counts) for name, metric in _BY_FIXATIONS.items()}
        for name, scores in added.items():
            self._scores[name].extend(scores.tolist())

    def scores(self) -> dict[str, list[float]]:
        """Returns the score of each picture in the order they came, a list for each metric; NaN where undefined."""
        return {name: list(scores) for name, scores in self._scores.items()}

    def mean(self) -> dict[str, float]:
        """Returns the mean of each metric over the pictures where it is defined; NaN where that is none."""
        means = {}
        for name, scores in self._scores.items():
            defined = [score for score in scores if not math.isnan(score)]
            # fsum rounds once, so neither the order of the pictures nor their number costs digits.
            means[name] = math.fsum(defined) / len(defined) if defined else math.nan
        return means

    def counts(self) -> dict[str, int]:
        """Returns over how many pictures the mean of each metric was taken."""
        return {name: sum(not math.isnan(score) for score in scores) for name, scores in self._scores.items()}

    def __len__(self) -> int:
        """The number of pictures added, with or without ground truth."""
        return len(self._scores[self.names[0]])

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4f}" for name, value in self.mean().items())
        return f"ScoreMeter({len(self)} pictures: {shown})"
