"""Batches of maps with their ground truth in, mean scores over all pictures out; it only adds up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from vidsal.errors import ConfigError
from vidsal.metrics.catalogue import METRICS, Metric
from vidsal.metrics.inputs import FixatedCells, Maps, Pair
from vidsal.metrics.negatives import NegativeForm

__all__ = ["ScoreMeter"]


class ScoreMeter:
    """Scores every picture and gives the mean of each metric over the pictures, each with the same weight.

    A picture whose ground truth says nothing (see `functional`) is left out of that metric's mean;
    `counts` says over how many pictures each mean was taken. How the pictures are grouped into batches and
    in which order they come changes nothing, but for the eighth digit of scores of float32 maps. What several metrics
    need of a batch is worked out once.

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
    """The metrics, in the order in which they are reported; these unless others are asked for."""

    def __init__(self, names: Sequence[str] | None = None) -> None:
        """Starts with no pictures.

        Args:
            names: of the metrics, as `METRICS` has them; None means the usual five.

        Raises:
            ConfigError: A name is unknown.
        """
        if names is not None:
            unknown = [name for name in names if name not in METRICS]
            if unknown:
                raise ConfigError(f"there is no metric {unknown[0]!r}; known are {', '.join(METRICS)}")
            self.names = tuple(dict.fromkeys(names))
        self._scores: dict[str, list[float]] = {}
        self._at_fixations: dict[str, list[npt.NDArray[np.float64]]] = {}
        self.reset()

    def reset(self) -> None:
        """Forgets all pictures."""
        self._scores = {name: [] for name in self.names}
        self._at_fixations = {name: [] for name in self.names if METRICS[name].at_fixations}

    def update(
        self,
        saliency: torch.Tensor | Maps,
        density: torch.Tensor | Maps | None = None,
        fixation_counts: torch.Tensor | FixatedCells | None = None,
        *,
        baseline: torch.Tensor | Maps | None = None,
        negatives: Mapping[NegativeForm, torch.Tensor | FixatedCells] | None = None,
        seed: int | Sequence[int] = 0,
    ) -> None:
        """Adds B pictures.

        Args:
            saliency: (B, H, W) float32 or float64, non-negative maps of any scale.
            density: (B, H, W) ground truth of any scale, for CC, SIM, KL and EMD.
            fixation_counts: (B, H, W) fixations a cell, for NSS, AUC and information gain.
            baseline: (B, H, W) non-negative maps that information gain is measured over; as `Maps` where many batches
                share them.
            negatives: (B, H, W) fixations of other pictures a cell, for each form of shuffled AUC that is asked for.
            seed: of the draws, one for all pictures or one for each; see `auc`.

        Raises:
            ConfigError: A metric that was asked for lacks what it needs.
            TypeError: A map is not float32 or float64.
            ValueError: The shapes differ, a value is negative, or a map holds NaN or infinity. Nothing is added then.
        """
        maps = Maps.of("saliency", saliency)
        shared: dict[str, Maps | FixatedCells] = {}
        for name, values in (("density", density), ("baseline", baseline)):
            if values is not None:
                shared[name] = Maps.of(name, values, like=saliency)
        if fixation_counts is not None:
            shared["fixations"] = FixatedCells.of(fixation_counts, saliency)
        for form, counts in (negatives or {}).items():
            shared[f"negatives {form}"] = FixatedCells.of(counts, saliency, name=f"negatives {form}")
        for name, given in {"saliency": maps, **shared}.items():
            # Left in, it would come out as NaN and drop out of the mean as a picture without ground truth does.
            broken = given.broken if isinstance(given, Maps) else ~given.total.isfinite()
            if bool(broken.any()):
                raise ValueError(f"{name} holds NaN or infinity; a mean over the other pictures would hide it")
        truth = shared.get("density")
        if isinstance(truth, Maps):
            pair = Pair.of(maps, truth)  # held until all have scored
            pair.prepare([each for name in self.names for each in METRICS[name].sums])
        added = {name: _score(name, METRICS[name], maps, shared, seed) for name in self.names}
        for name, (scores, at_fixations) in added.items():
            self._scores[name].extend(scores)
            if at_fixations is not None:
                self._at_fixations[name].extend(at_fixations)

    def scores(self) -> dict[str, list[float]]:
        """Returns the score of each picture in the order they came, a list for each metric; NaN where undefined."""
        return {name: list(scores) for name, scores in self._scores.items()}

    def at_fixations(self) -> dict[str, list[npt.NDArray[np.float64]]]:
        """Returns for each metric that is a mean over fixations what it is the mean of: (K,) for each picture, a value
        for each of its `FixatedCells.cells`; of places that were filled up the values mean nothing."""
        return {name: list(values) for name, values in self._at_fixations.items()}

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
        return len(self._scores[self.names[0]]) if self.names else 0

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4f}" for name, value in self.mean().items())
        return f"ScoreMeter({len(self)} pictures: {shown})"


def _score(
    name: str, metric: Metric, maps: Maps, shared: Mapping[str, Maps | FixatedCells], seed: int | Sequence[int]
) -> tuple[list[float], list[npt.NDArray[np.float64]] | None]:
    """The score of each picture, and where it is a mean over fixations what it is the mean of."""
    needed = [f"negatives {metric.negatives}" if need == "negatives" else need for need in metric.needs]
    missing = [need for need in needed if need not in shared]
    if missing:
        raise ConfigError(f"{name} needs {missing[0]}, which was not given; pass it to update, or leave {name} out")
    arguments: list[Maps | FixatedCells] = [maps, *(shared[need] for need in needed)]
    fixated = shared.get("fixations")
    if metric.at_fixations is not None and isinstance(fixated, FixatedCells):
        values = metric.at_fixations(*arguments)
        return fixated.mean_of(values).tolist(), list(values.cpu().numpy())
    scores: list[float] = metric.function(*arguments, **({"seed": seed} if metric.seeded else {})).tolist()
    return scores, None
