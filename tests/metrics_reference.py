"""The metrics written a second time from their definitions, one picture at a time: (H, W) arrays in, a number out.

Plain NumPy and loops, nothing shared with the package: a mistake in one is unlikely to be the same in the other.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float64]


def fixation_list(counts: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """(row, column) of every fixation, one entry each."""
    return [(int(row), int(column)) for row, column in np.argwhere(counts) for _ in range(counts[row, column])]


def nss(saliency: Map, counts: npt.NDArray[np.int64]) -> float:
    fixations = fixation_list(counts)
    if not fixations:
        return math.nan
    mean, deviation = saliency.mean(), saliency.std()
    return float(np.mean([(saliency[at] - mean) / deviation for at in fixations]))


def cc(saliency: Map, density: Map) -> float:
    return float(np.corrcoef(saliency.ravel(), density.ravel())[0, 1])


def sim(saliency: Map, density: Map) -> float:
    predicted, truth = saliency / saliency.sum(), density / density.sum()
    return float(sum(min(p, q) for p, q in zip(predicted.flat, truth.flat, strict=True)))


def kl(saliency: Map, density: Map) -> float:
    epsilon = 2.0**-52
    predicted, truth = saliency / saliency.sum(), density / density.sum()
    return sum(
        q * math.log(epsilon + q / (p + epsilon)) for p, q in zip(predicted.flat, truth.flat, strict=True) if q > 0
    )


def auc_by_pairs(saliency: Map, counts: npt.NDArray[np.int64]) -> float:
    """The chance that a fixation lies higher than a random cell, counted pair by pair."""
    fixations = fixation_list(counts)
    if not fixations:
        return math.nan
    won = 0.0
    for at in fixations:
        won += np.sum(saliency[at] > saliency) + 0.5 * np.sum(saliency[at] == saliency)
    return float(won / (len(fixations) * saliency.size))


def auc_by_curve(saliency: Map, counts: npt.NDArray[np.int64]) -> float:
    """The area under the curve itself: a threshold at every value, trapezia between the points."""
    true_rates, false_rates = [0.0], [0.0]
    for threshold in np.unique(saliency)[::-1]:
        true_rates.append(counts[saliency >= threshold].sum() / counts.sum())
        false_rates.append(np.mean(saliency >= threshold))
    return float(np.trapezoid(true_rates, false_rates))


def information_gain(density: Map, baseline: Map, counts: npt.NDArray[np.int64]) -> float:
    gains = [math.log2(density[at]) - math.log2(baseline[at]) for at in fixation_list(counts)]
    return math.fsum(gains) / len(gains) if gains else math.nan
