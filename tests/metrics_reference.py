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


def stretched(values: Map) -> Map:
    return (values - values.min()) / (values.max() - values.min())


def sim_minmax(saliency: Map, density: Map) -> float:
    return sim(stretched(saliency), stretched(density))


def kl_dreyeve(saliency: Map, density: Map) -> float:
    epsilon = np.finfo(np.float32).eps
    predicted, truth = saliency.astype(np.float32), density.astype(np.float32)
    predicted, truth = predicted / (epsilon + predicted.sum()), truth / (epsilon + truth.sum())
    return sum(
        float(q) * math.log(epsilon + q / (epsilon + p)) for p, q in zip(predicted.flat, truth.flat, strict=True)
    )


def kl_pysaliency(saliency: Map, density: Map, minimum: float = 1e-20) -> float:
    predicted, truth = saliency + minimum, density + minimum
    predicted, truth = predicted / predicted.sum(), truth / truth.sum()
    return sum(q * (math.log(q) - math.log(p)) for p, q in zip(predicted.flat, truth.flat, strict=True))


def information_gain_mit(saliency: Map, baseline: Map, counts: npt.NDArray[np.int64]) -> float:
    epsilon = 2.0**-52
    predicted, reference = stretched(saliency), stretched(baseline)
    predicted, reference = predicted / predicted.sum(), reference / reference.sum()
    cells = [(int(row), int(column)) for row, column in np.argwhere(counts)]
    return float(np.mean([math.log2(epsilon + predicted[at]) - math.log2(epsilon + reference[at]) for at in cells]))


def auc_judd_mit(saliency: Map, counts: npt.NDArray[np.int64]) -> float:
    """The MATLAB code without its noise: a threshold at every fixated cell, unfixated cells as negatives."""
    values = sorted(saliency[counts > 0], reverse=True)
    true_rates, false_rates = [0.0], [0.0]
    for i, threshold in enumerate(values, start=1):
        above = int(np.sum(saliency >= threshold))
        true_rates.append(i / len(values))
        false_rates.append((above - i) / (saliency.size - len(values)))
    return float(np.trapezoid([*true_rates, 1.0], [*false_rates, 1.0]))


def auc_by_steps(positives: npt.ArrayLike, negatives: npt.ArrayLike, step: float = 0.1) -> float:
    """The area of the MATLAB codes for AUC-Borji and shuffled AUC: a threshold every `step` from 1 down to 0."""
    positives, negatives = np.asarray(positives), np.asarray(negatives)
    true_rates, false_rates = [0.0], [0.0]
    for i in range(round(1 / step), -1, -1):
        threshold = round(i * step, 12)
        true_rates.append(float(np.mean(positives >= threshold)))
        false_rates.append(float(np.mean(negatives >= threshold)))
    return float(np.trapezoid([*true_rates, 1.0], [*false_rates, 1.0]))


def shuffled_auc(saliency: Map, counts: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> float:
    here, elsewhere = fixation_list(counts), fixation_list(others)
    won = [
        1.0 if saliency[a] > saliency[b] else 0.5 if saliency[a] == saliency[b] else 0.0
        for a in here
        for b in elsewhere
    ]
    return float(np.mean(won))
