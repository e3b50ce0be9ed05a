"""Maps and ground truth in, one score a picture out: NSS, CC, SIM, KL, AUC-Judd and information gain.

Pure functions on batches. They follow the present rules of the MIT/Tübingen benchmark
(https://saliency.tuebingen.ai/evaluation.html): no min-max step, no noise, no sampling.

What all of them share:

- Maps are float32 or float64 (B, H, W) on any device, compared cell by cell with a ground truth of the same size;
  sums run in float64. Integer maps are refused: 8 bits tie values and move every score. So are half-precision ones.
- `fixation_counts` (B, H, W), bool, integer or float, says how many fixations fell on each cell; fractions are weights.
- The answer is (B,) float64 on the map's device (on the CPU for MPS, which has no float64).
- A ground truth that says nothing (no fixations, an empty density) scores NaN: there is nothing to compare with.
  A map that says nothing never does, since a model could then raise its mean by giving up on hard pictures:
  a constant map scores as chance, an all-zero one as bad as the formula allows. A map holding NaN scores NaN.
"""

from __future__ import annotations

import math

import torch

__all__ = ["KL_EPSILON", "auc_judd", "cc", "information_gain", "kl", "nss", "sim"]

KL_EPSILON = 2.220446049250313e-16
"""MATLAB's `eps` (float64), the constant inside the MIT form of the KL divergence."""


def nss(saliency: torch.Tensor, fixation_counts: torch.Tensor) -> torch.Tensor:
    """Normalised scanpath saliency: the mean of the standardised map over the fixations. Higher is better, chance is 0.

    NSS = (1/n) sum_i (S(x_i) - mean S) / std S over the n fixations, those on one cell counted each.
    The standard deviation divides by the number of cells N, as pysaliency does; MATLAB's `std` divides by N - 1,
    which lowers NSS by a factor of 1 - 1/(2N).

    Args:
        saliency: (B, H, W) maps of any scale; adding a constant or scaling up changes nothing.
        fixation_counts: (B, H, W) fixations a cell.

    Returns:
        (B,) float64. A constant map: 0. No fixations: NaN.

    Raises:
        TypeError: A map is not float32 or float64.
        ValueError: The shapes differ, or a count is negative.

    Source: Peters et al. 2005; Bylinskii et al. 2016, https://arxiv.org/abs/1604.03605.

    Example:
        >>> saliency = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
        >>> counts = torch.tensor([[[0, 0], [0, 2]]])
        >>> nss(saliency, counts)  # (1 - 1/4) / sqrt(3/16)
        tensor([1.7321], dtype=torch.float64)
    """
    maps, counts = _flat_map("saliency", saliency), _flat_counts(fixation_counts, saliency)
    standardised = _standardised(maps)
    return (standardised * counts).sum(1) / counts.sum(1)


def cc(saliency: torch.Tensor, density: torch.Tensor) -> torch.Tensor:
    """Pearson's correlation of the map with the density over the cells. Higher is better, from -1 to 1, chance is 0.

    CC = mean of z(S) z(D), with z(X) = (X - mean X) / std X.

    Args:
        saliency: (B, H, W) maps of any scale; adding a constant or scaling up changes nothing.
        density: (B, H, W) ground truth of any scale.

    Returns:
        (B,) float64. A constant map: 0. A constant or empty density: NaN.

    Raises:
        TypeError: A map is not float32 or float64.
        ValueError: The shapes differ.

    Source: Bylinskii et al. 2016, https://arxiv.org/abs/1604.03605.

    Example:
        >>> saliency = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> round(cc(saliency, 5.0 - 2.0 * saliency).item(), 6)
        -1.0
    """
    maps, truth = _flat_map("saliency", saliency), _flat_truth(density, saliency)
    score = (_standardised(maps) * _standardised(truth)).mean(1)
    return score.masked_fill(_constant(truth), torch.nan)


def sim(saliency: torch.Tensor, density: torch.Tensor) -> torch.Tensor:
    """Similarity, or histogram intersection: the mass both share. Higher is better, from 0 to 1.

    SIM = sum of min(P, Q), with P = S / sum S and Q = D / sum D. The MATLAB code stretches each map to [0, 1] before
    that; the benchmark dropped the step, and a density must not be changed by its metric. The two forms differ widely.

    Args:
        saliency: (B, H, W) non-negative maps of any scale.
        density: (B, H, W) non-negative ground truth of any scale.

    Returns:
        (B,) float64. A constant map: the mass it shares with Q, sum of min(1/N, Q). An all-zero map: 0.
        An empty density: NaN.

    Raises:
        TypeError: A map is not float32 or float64.
        ValueError: The shapes differ, or a value is negative (a log density, say).

    Source: Judd et al. 2012; Bylinskii et al. 2016, https://arxiv.org/abs/1604.03605.

    Example:
        >>> saliency, density = torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[1.0, 1.0]]])
        >>> sim(saliency, density)
        tensor([0.7500], dtype=torch.float64)
    """
    predicted = _to_sum_one(_flat_map("saliency", saliency, non_negative=True))
    truth, empty = _truth_to_sum_one(density, saliency)
    return torch.minimum(predicted, truth).sum(1).masked_fill(empty, torch.nan)


def kl(saliency: torch.Tensor, density: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of the map from the density, in nats. Lower is better, 0 is perfect.

    KL = sum of Q log(eps + Q / (P + eps)), with P = S / sum S, Q = D / sum D and eps = `KL_EPSILON`: the MIT form.
    Where a map is zero under the ground truth the answer is set by eps, so it depends on how the map was stored;
    score float maps. What falls below 0 by rounding (about N eps) is 0, as in the benchmark.

    Args:
        saliency: (B, H, W) non-negative maps of any scale.
        density: (B, H, W) non-negative ground truth of any scale.

    Returns:
        (B,) float64. A constant map: the divergence from the uniform density, log N - H(Q).
        An all-zero map: sum of Q log(eps + Q / eps), about 36 - H(Q). An empty density: NaN.

    Raises:
        TypeError: A map is not float32 or float64.
        ValueError: The shapes differ, or a value is negative (a log density, say).

    Source: KLdiv.m of https://github.com/cvzoya/saliency; Bylinskii et al. 2016, https://arxiv.org/abs/1604.03605.

    Example:
        >>> saliency, density = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]])
        >>> kl(saliency, density)  # log 2
        tensor([0.6931], dtype=torch.float64)
    """
    predicted = _to_sum_one(_flat_map("saliency", saliency, non_negative=True))
    truth, empty = _truth_to_sum_one(density, saliency)
    score = (truth * torch.log(KL_EPSILON + truth / (predicted + KL_EPSILON))).sum(1).clamp(min=0.0)
    return score.masked_fill(empty, torch.nan)


def auc_judd(saliency: torch.Tensor, fixation_counts: torch.Tensor) -> torch.Tensor:
    """Area under the ROC curve of "fixation or not" by the map's value. Higher is better, from 0 to 1, chance is .5.

    The exact area in the form of the Tübingen benchmark: every fixation is a positive, those on one cell counted each;
    every cell is a negative, fixated or not; ties count one half. It is the chance that a fixation lies on a higher
    value than a cell drawn at random: AUC = (1/n) sum_i (#{S < S(x_i)} + #{S = S(x_i)} / 2) / N.
    A fixated cell ties with itself, so the highest possible value lies just below 1. The MATLAB code counts only
    unfixated cells as negatives and breaks ties by noise, which gives slightly higher values.

    Args:
        saliency: (B, H, W) maps; any strictly increasing function of the values (their log, say) gives the same answer.
        fixation_counts: (B, H, W) fixations a cell.

    Returns:
        (B,) float64. A constant map: .5. No fixations: NaN.

    Raises:
        TypeError: A map is not float32 or float64.
        ValueError: The shapes differ, or a count is negative.

    Source: Judd et al. 2009; `AUC` of https://github.com/matthias-k/pysaliency with uniform non-fixations.

    Example:
        >>> saliency = torch.tensor([[[0.1, 0.2], [0.2, 0.9]]])
        >>> counts = torch.tensor([[[0, 1], [0, 1]]])
        >>> auc_judd(saliency, counts)  # ((1 + 2/2) / 4 + (3 + 1/2) / 4) / 2
        tensor([0.6875], dtype=torch.float64)
    """
    counts = _flat_counts(fixation_counts, saliency)
    maps = _checked_map("saliency", saliency).flatten(1)
    maps = maps.to(counts.device)
    ordered = maps.sort(1).values
    # Only the fixated cells are looked up; pictures with fewer of them than the fullest are filled with weight 0.
    fixated_cells = max(1, int((counts > 0).sum(1).max()))
    weights, cells = counts.topk(fixated_cells, 1, sorted=False)
    values = maps.gather(1, cells)  # (B, K)
    below = torch.searchsorted(ordered, values)
    not_above = torch.searchsorted(ordered, values, right=True)
    rank = (below + not_above).double() / (2 * maps.shape[1])
    score = (rank * weights).sum(1) / weights.sum(1)
    return score.masked_fill(maps.isnan().any(1), torch.nan)


def information_gain(
    log_density: torch.Tensor, baseline_log_density: torch.Tensor, fixation_counts: torch.Tensor
) -> torch.Tensor:
    """How much better the model tells where people look than a baseline does, in bits a fixation. Higher is better.

    IG = (1/n) sum_i (log2 P(x_i) - log2 B(x_i)). Both are true densities, so nothing is normalised or regularised here;
    a baseline that knows the centre bias of the data set gives the usual meaning.

    Args:
        log_density: (B, H, W) natural log of a density that sums to 1.
        baseline_log_density: (B, H, W), the same of the baseline.
        fixation_counts: (B, H, W) fixations a cell.

    Returns:
        (B,) float64; 0 means no better than the baseline. A constant map has an ordinary answer, as any density has.
        -inf where the density rules out a cell somebody looked at. No fixations: NaN.

    Raises:
        TypeError: A map is not float32 or float64.
        ValueError: The shapes differ, or a count is negative.

    Source: Kümmerer et al. 2015, https://doi.org/10.1073/pnas.1510393112.

    Example:
        >>> density, baseline = torch.tensor([[[0.5, 0.5, 0, 0]]]), torch.full((1, 1, 4), 0.25)
        >>> round(information_gain(density.log(), baseline.log(), torch.tensor([[[3, 1, 0, 0]]])).item(), 6)
        1.0
    """
    gain = _flat_map("log_density", log_density) - _flat_truth(
        baseline_log_density, log_density, name="baseline_log_density"
    )
    counts = _flat_counts(fixation_counts, log_density)
    # -inf where nobody looked is no loss, but 0 times it would be NaN.
    bits = (gain * counts).where(counts > 0, 0.0).sum(1) / math.log(2.0)
    return bits / counts.sum(1)


def _checked_map(name: str, values: torch.Tensor) -> torch.Tensor:
    if values.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{name} must be float32 or float64, got {values.dtype}: coarse values tie and change the score; "
            "keep maps in float, or convert with .float() if they were stored that way"
        )
    if values.ndim != 3 or values.shape[1] * values.shape[2] == 0:
        raise ValueError(f"{name} must be (B, H, W) with H and W at least 1, got {tuple(values.shape)}")
    return values


def _flat_map(name: str, values: torch.Tensor, *, non_negative: bool = False) -> torch.Tensor:
    """(B, N) float64."""
    flat = _double(_checked_map(name, values)).flatten(1)
    if non_negative and bool((flat < 0).any()):
        raise ValueError(f"{name} must not be negative, lowest value is {flat.min():.4g}; a log density needs .exp()")
    return flat


def _flat_truth(
    values: torch.Tensor, saliency: torch.Tensor, *, name: str = "density", non_negative: bool = False
) -> torch.Tensor:
    _check_same_shape(name, values, saliency)
    return _flat_map(name, values, non_negative=non_negative)


def _flat_counts(counts: torch.Tensor, saliency: torch.Tensor) -> torch.Tensor:
    _check_same_shape("fixation_counts", counts, saliency)
    flat = _double(counts).flatten(1)
    if bool((flat < 0).any()):
        raise ValueError(f"fixation_counts must not be negative, lowest value is {flat.min():.4g}")
    return flat


def _check_same_shape(name: str, values: torch.Tensor, saliency: torch.Tensor) -> None:
    if values.shape != saliency.shape:
        raise ValueError(
            f"{name} is {tuple(values.shape)}, the map {tuple(saliency.shape)}: they must be equal; "
            "bring the map to the size of the ground truth first"
        )


def _double(values: torch.Tensor) -> torch.Tensor:
    return (values.cpu() if values.device.type == "mps" else values).double()


def _constant(flat: torch.Tensor) -> torch.Tensor:
    """(B,) bool; by the values, since the deviation of a constant map may round to something above 0."""
    return flat.amax(1) == flat.amin(1)


def _standardised(flat: torch.Tensor) -> torch.Tensor:
    """(B, N) with mean 0 and standard deviation 1; all 0 for a constant map."""
    # Brought to a span of 1 first: squares of a float64 density of tiny values would underflow.
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    constant = high == low
    unit = (flat - low) / torch.where(constant, 1.0, high - low)
    centred = unit - unit.mean(1, keepdim=True)
    deviation = centred.square().mean(1, keepdim=True).sqrt()
    return centred / torch.where(constant, 1.0, deviation)


def _to_sum_one(flat: torch.Tensor) -> torch.Tensor:
    """(B, N) that sums to 1; an all-zero map stays as it is."""
    total = flat.sum(1, keepdim=True)
    return flat / torch.where(total == 0, 1.0, total)


def _truth_to_sum_one(density: torch.Tensor, saliency: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The density as (B, N) that sums to 1, and (B,) bool: True where it is empty."""
    truth = _flat_truth(density, saliency, non_negative=True)
    return _to_sum_one(truth), truth.sum(1) == 0
