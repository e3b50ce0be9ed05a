"""Maps and ground truth in, one score a picture out: NSS, CC, SIM, KL, information gain, EMD; `auc` has the rest.

Pure functions on batches. Each metric exists in the form of the present MIT/Tübingen benchmark
(https://saliency.tuebingen.ai/evaluation.html: no min-max step, no noise, no sampling), and under names of their own
in the other forms that published numbers are made with.

What all of them share:

- Maps are float32 or float64 (B, H, W) on any device, compared cell by cell with a ground truth of the same size.
  Integer maps are refused: 8 bits tie values and move every score. So are half-precision ones.
- Each cell is worked out in the precision of its map, sums over a picture in float64: scores of float32 maps differ
  from those of the same maps in float64 by less than 1e-6.
- Whoever scores one batch by several metrics passes `Maps` and `FixatedCells` (see `inputs`) in place of the tensors.
- `fixation_counts` (B, H, W), bool, integer or float, says how many fixations fell on each cell; fractions are weights.
- The answer is (B,) float64 on the map's device (on the CPU for MPS, which has no float64), without a gradient.
- All raise `TypeError` for a map that is not float32 or float64, and `ValueError` for shapes that differ, a negative
  count, or a negative value where maps have to be non-negative (a log density, say).
- A ground truth that says nothing (no fixations, an empty density) scores NaN: there is nothing to compare with.
  A map that says nothing never does, since a model could then raise its mean by giving up on hard pictures:
  a constant map scores as chance, an all-zero one as bad as the formula allows. A map holding NaN scores NaN.
"""

from __future__ import annotations

import importlib
import math
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vidsal.errors import ConfigError
from vidsal.metrics.inputs import SQUARES_OF_MAP, SQUARES_OF_TRUTH, CellSum, FixatedCells, Maps, Pair, summed

__all__ = [
    "DREYEVE_EPSILON",
    "EMD_CELLS",
    "KL_DREYEVE_SUM",
    "KL_EPSILON",
    "KL_PYSALIENCY_SUM",
    "KL_SUM",
    "PRODUCT",
    "PYSALIENCY_MINIMUM",
    "SHARED_MASS",
    "SHARED_MASS_ABOVE",
    "cc",
    "emd",
    "information_gain",
    "information_gain_at",
    "information_gain_mit",
    "information_gain_of_maps",
    "kl",
    "kl_dreyeve",
    "kl_pysaliency",
    "nss",
    "nss_at",
    "sim",
    "sim_minmax",
    "zeros_under_gaze",
]

KL_EPSILON = 2.220446049250313e-16
"""MATLAB's `eps` (float64), the constant inside the MIT forms of the KL divergence and of the information gain."""

DREYEVE_EPSILON = 1.1920928955078125e-07
"""`np.finfo(np.float32).eps`, the constant inside the DR(eye)VE form of the KL divergence."""

PYSALIENCY_MINIMUM = 1e-20
"""What pysaliency adds to every value of both maps before its KL divergence."""

EMD_CELLS = 4096
"""The finest grid that `emd` compares on, in cells; the cost matrix has the square of that."""


_EMD_ITERATIONS = 10_000_000
"""POT stops with a warning at this; its own limit of 100,000 is reached on fine grids."""


def nss(saliency: torch.Tensor | Maps, fixation_counts: torch.Tensor | FixatedCells) -> torch.Tensor:
    """Normalised scanpath saliency: the mean of the standardised map over the fixations. Higher is better, chance is 0.

    NSS = (1/n) sum_i (S(x_i) - mean S) / std S over the n fixations, those on one cell counted each.
    The standard deviation divides by the number of cells N, as pysaliency does; MATLAB's `std` divides by N - 1,
    which lowers NSS by a factor of 1 - 1/(2N).

    Args:
        saliency: (B, H, W) maps of any scale; adding a constant or scaling up changes nothing.
        fixation_counts: (B, H, W) fixations a cell.

    Returns:
        (B,) float64. A constant map: 0. No fixations: NaN. A map holding NaN or infinity: NaN.

    Source: Peters et al. 2005; Bylinskii et al. 2016, https://arxiv.org/abs/1604.03605.

    Example:
        >>> saliency = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
        >>> counts = torch.tensor([[[0, 0], [0, 2]]])
        >>> nss(saliency, counts)  # (1 - 1/4) / sqrt(3/16)
        tensor([1.7321], dtype=torch.float64)
    """
    maps, fixated = Maps.of("saliency", saliency), FixatedCells.of(fixation_counts, saliency)
    return fixated.mean_of(nss_at(maps, fixated))


def nss_at(maps: Maps, fixated: FixatedCells) -> torch.Tensor:
    """What `nss` is the mean of: (B, K) float64, the standardised map at each cell looked at."""
    deviations = (maps.at(fixated.cells).double() - maps.mean[:, None]) / (maps.span * maps.deviation)[:, None]
    # By hand for constant maps, whose mean may round to another value; a broken map has no mean.
    return deviations.masked_fill(maps.constant[:, None], 0.0).masked_fill(maps.broken[:, None], torch.nan)


def cc(saliency: torch.Tensor | Maps, density: torch.Tensor | Maps) -> torch.Tensor:
    """Pearson's correlation of the map with the density over the cells. Higher is better, from -1 to 1, chance is 0.

    CC = mean of z(S) z(D), with z(X) = (X - mean X) / std X.

    Args:
        saliency: (B, H, W) maps of any scale; adding a constant or scaling up changes nothing.
        density: (B, H, W) ground truth of any scale.

    Returns:
        (B,) float64. A constant map: 0. A constant or empty density: NaN. A map holding NaN or infinity: NaN.

    Source: Bylinskii et al. 2016, https://arxiv.org/abs/1604.03605.

    Example:
        >>> saliency = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> round(cc(saliency, 5.0 - 2.0 * saliency).item(), 6)
        -1.0
    """
    pair = Pair.of(saliency, density)
    maps, truth = pair.maps, pair.truth
    if maps.squares_are_safe and truth.squares_are_safe:
        pair.prepare([PRODUCT, SQUARES_OF_MAP, SQUARES_OF_TRUTH])
        covariance = pair.sum(PRODUCT) / (maps.span * truth.span)
    else:
        numbers = [maps.mean, truth.mean, 1 / maps.span, 1 / truth.span]
        (covariance,) = summed([(_product_of_units, numbers)], [maps.values, truth.values])
    score = (covariance / (maps.cells * maps.deviation * truth.deviation)).clamp(-1.0, 1.0)
    return score.masked_fill(maps.constant, 0.0).masked_fill(pair.broken | truth.constant, torch.nan)


def sim(saliency: torch.Tensor | Maps, density: torch.Tensor | Maps) -> torch.Tensor:
    """Similarity, or histogram intersection: the mass both share. Higher is better, from 0 to 1.

    SIM = sum of min(P, Q), with P = S / sum S and Q = D / sum D. The MATLAB code stretches each map to [0, 1] before
    that; the benchmark dropped the step, and a density must not be changed by its metric. The two forms differ widely;
    `sim_minmax` is the other one.

    Args:
        saliency: (B, H, W) non-negative maps of any scale.
        density: (B, H, W) non-negative ground truth of any scale.

    Returns:
        (B,) float64. A constant map: the mass it shares with Q, sum of min(1/N, Q). An all-zero map: 0.
        An empty density: NaN. A map holding NaN or infinity: NaN.

    Source: Judd et al. 2012; Bylinskii et al. 2016, https://arxiv.org/abs/1604.03605.

    Example:
        >>> saliency, density = torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[1.0, 1.0]]])
        >>> sim(saliency, density)
        tensor([0.7500], dtype=torch.float64)
    """
    pair = Pair.of(saliency, density).non_negative()
    return pair.sum(SHARED_MASS).masked_fill(pair.broken | (pair.truth.total == 0), torch.nan)


def sim_minmax(saliency: torch.Tensor | Maps, density: torch.Tensor | Maps) -> torch.Tensor:
    """Similarity in the MIT form: each map is stretched to [0, 1] before it is made to sum to 1. From 0 to 1.

    P = S' / sum S', with S' = (S - min S) / (max S - min S), Q the same of D, SIM = sum of min(P, Q). Higher is better.
    The step takes away whatever a model gives to every cell, so a cautious density gains by it.

    Args:
        saliency: (B, H, W) maps of any scale; adding a constant or scaling up changes nothing.
        density: (B, H, W) ground truth of any scale.

    Returns:
        (B,) float64. A constant map keeps no mass: 0 (the MATLAB code: NaN). A constant or empty density: NaN.
        A map holding NaN or infinity: NaN.

    Source: similarity.m of https://github.com/cvzoya/saliency.

    Example:
        >>> saliency, density = torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[0.0, 1.0, 1.0]]])
        >>> sim_minmax(saliency, density)  # 0 1/4 3/4 against 0 1/2 1/2
        tensor([0.7500], dtype=torch.float64)
    """
    pair = Pair.of(saliency, density)
    return pair.sum(SHARED_MASS_ABOVE).masked_fill(pair.broken | pair.truth.constant, torch.nan)


def kl(saliency: torch.Tensor | Maps, density: torch.Tensor | Maps) -> torch.Tensor:
    """Kullback-Leibler divergence of the map from the density, in nats. Lower is better, 0 is perfect.

    KL = sum of Q log(eps + Q / (P + eps)), with P = S / sum S, Q = D / sum D and eps = `KL_EPSILON`: the MIT form.
    Where a map is zero under the ground truth the answer is set by eps, so it depends on how the map was stored;
    score float maps. What falls below 0 by rounding (about N eps) is 0, as in the benchmark. (pysaliency's `MIT_KLDiv`
    writes eps as 2.2204e-16, which moves the score of such a map by up to 2e-5.)

    Args:
        saliency: (B, H, W) non-negative maps of any scale.
        density: (B, H, W) non-negative ground truth of any scale.

    Returns:
        (B,) float64. A constant map: the divergence from the uniform density, log N - H(Q).
        An all-zero map: sum of Q log(eps + Q / eps), about 36 - H(Q). An empty density: NaN.
        A map holding NaN or infinity: NaN.

    Source: KLdiv.m of https://github.com/cvzoya/saliency; Bylinskii et al. 2016, https://arxiv.org/abs/1604.03605.

    Example:
        >>> saliency, density = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]])
        >>> kl(saliency, density)  # log 2
        tensor([0.6931], dtype=torch.float64)
    """
    pair = Pair.of(saliency, density).non_negative()
    return pair.sum(KL_SUM).clamp(min=0.0).masked_fill(pair.broken | (pair.truth.total == 0), torch.nan)


def kl_dreyeve(saliency: torch.Tensor | Maps, density: torch.Tensor | Maps) -> torch.Tensor:
    """KL divergence in the DR(eye)VE form: in float32, with the epsilon of float32. In nats, lower is better.

    KL = sum of Q log(eps + Q / (P + eps)), with P = S / (eps + sum S), Q = D / (eps + sum D), eps = `DREYEVE_EPSILON`.
    On a large picture eps is as high as a typical density, so the numbers are far below those of `kl`, and a map that
    equals the ground truth scores below 0. Nothing is clamped: the published numbers were not.

    Args:
        saliency: (B, H, W) non-negative maps; scale them to a sum well above eps.
        density: (B, H, W) non-negative ground truth, likewise.

    Returns:
        (B,) float64. A constant map: an ordinary answer, about log N - H(Q). An all-zero map: about 16 - H(Q).
        An empty density: NaN. A map holding NaN or infinity: NaN.

    Source: `kld_numeric` of https://github.com/ndrplz/dreyeve, experiments/metrics/metrics.py.

    Example:
        >>> saliency, density = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]])
        >>> round(kl_dreyeve(saliency, density).item(), 4)  # about log 2
        0.6931
        >>> kl_dreyeve(saliency, saliency).item() < 0
        True
    """
    pair = Pair.of(saliency, density).non_negative()
    return pair.sum(KL_DREYEVE_SUM).masked_fill(pair.broken | (pair.truth.total == 0), torch.nan)


def kl_pysaliency(
    saliency: torch.Tensor | Maps, density: torch.Tensor | Maps, *, minimum: float = PYSALIENCY_MINIMUM
) -> torch.Tensor:
    """KL divergence in pysaliency's own form: a tiny value added to both raw maps, no other constant. In nats.

    KL = sum of Q (log Q - log P), with P = (S + m) / sum (S + m), Q the same of D, m = `minimum`. Lower is better, 0 is
    perfect. A zero of the map under the ground truth costs up to 46 nats with the usual m, and how many depends on the
    scale the map comes in. With m = `KL_EPSILON` or `DREYEVE_EPSILON` it is the form of Fahimi and Bruce, which SCOUT's
    numbers are made with: there say the scale too.

    Args:
        saliency: (B, H, W) non-negative maps.
        density: (B, H, W) non-negative ground truth.
        minimum: what is added to every value of both maps; at least 1e-30.

    Returns:
        (B,) float64. A constant map, and an all-zero one too: the divergence from the uniform density, log N - H(Q).
        An empty density: NaN (pysaliency takes it as uniform). A map holding NaN or infinity: NaN.

    Raises:
        ValueError: A value is negative (pysaliency shifts such maps), or `minimum` is out of range.

    Source: `image_based_kl_divergence` of https://github.com/matthias-k/pysaliency with its defaults.

    Example:
        >>> saliency, density = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 1.0]]])
        >>> kl_pysaliency(saliency, density)  # (log 1/2 + log 1/2e-20) / 2
        tensor([22.3327], dtype=torch.float64)
    """
    if not 1e-30 <= minimum < math.inf:  # less leaves float32
        raise ValueError(f"minimum must be at least 1e-30 and finite, got {minimum}")
    pair = Pair.of(saliency, density).non_negative()
    return pair.sum(_plain_kl_sum(minimum)).clamp(min=0.0).masked_fill(pair.broken | (pair.truth.total == 0), torch.nan)


def zeros_under_gaze(saliency: torch.Tensor | Maps, fixation_counts: torch.Tensor | FixatedCells) -> torch.Tensor:
    """Whether the map gives nothing to a cell that somebody looked at: 1 or 0. Lower is better.

    1 if S(x_i) = 0 for any fixation x_i, else 0. It belongs beside every KL and every information gain: for such a
    picture their answer is set by an epsilon, not by the model, so the mean, the share of such pictures, says how far
    they can be compared. Maps stored in 8 bits have many zeros that their model did not give.

    Args:
        saliency: (B, H, W) non-negative maps of any scale.
        fixation_counts: (B, H, W) fixations a cell.

    Returns:
        (B,) float64. A constant map: 0. An all-zero map: 1. No fixations: NaN. A map holding NaN or infinity: NaN.

    Example:
        >>> saliency = torch.tensor([[[0.0, 0.1], [0.2, 0.7]]])
        >>> zeros_under_gaze(saliency, torch.tensor([[[1, 0], [0, 9]]])).item()
        1.0
    """
    maps, fixated = Maps.of("saliency", saliency).non_negative(), FixatedCells.of(fixation_counts, saliency)
    found = ((maps.at(fixated.cells) == 0) & (fixated.weights > 0)).any(1).double()
    return found.masked_fill(maps.broken | (fixated.total == 0), torch.nan)


def information_gain(
    log_density: torch.Tensor | Maps,
    baseline_log_density: torch.Tensor | Maps,
    fixation_counts: torch.Tensor | FixatedCells,
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
        -inf where the density rules out a cell somebody looked at. No fixations: NaN. A map holding NaN: NaN.

    Source: Kümmerer et al. 2015, https://doi.org/10.1073/pnas.1510393112.

    Example:
        >>> density, baseline = torch.tensor([[[0.5, 0.5, 0, 0]]]), torch.full((1, 1, 4), 0.25)
        >>> round(information_gain(density.log(), baseline.log(), torch.tensor([[[3, 1, 0, 0]]])).item(), 6)
        1.0
    """
    maps = Maps.of("log_density", log_density)
    baseline = Maps.of("baseline_log_density", baseline_log_density, like=log_density)
    fixated = FixatedCells.of(fixation_counts, log_density)
    gain = (maps.at(fixated.cells).double() - baseline.at(fixated.cells).double()) / math.log(2.0)
    return fixated.mean_of(gain).masked_fill(maps.high.isnan() | baseline.high.isnan(), torch.nan)


def information_gain_of_maps(
    saliency: torch.Tensor | Maps, baseline: torch.Tensor | Maps, fixation_counts: torch.Tensor | FixatedCells
) -> torch.Tensor:
    """`information_gain` for densities that are not logarithms, of any scale. In bits a fixation, higher is better.

    IG = (1/n) sum_i (log2 P(x_i) - log2 B(x_i)), with P = S / sum S and B the same of the baseline. Nothing else is
    done to the maps, so it means something only for maps that were made as densities.

    Args:
        saliency: (B, H, W) non-negative maps of any scale.
        baseline: (B, H, W) non-negative maps of the baseline, say the mean density of the training pictures.
        fixation_counts: (B, H, W) fixations a cell.

    Returns:
        (B,) float64; 0 means no better than the baseline. A constant map: the gain of the uniform density. -inf where
        the map is 0 and somebody looked, everywhere for an all-zero map. No fixations, or an empty baseline: NaN.
        A map holding NaN or infinity: NaN.

    Source: Kümmerer et al. 2015, https://doi.org/10.1073/pnas.1510393112.

    Example:
        >>> saliency, baseline = torch.tensor([[[2.0, 2, 0, 0]]]), torch.ones(1, 1, 4)
        >>> information_gain_of_maps(saliency, baseline, torch.tensor([[[3, 1, 0, 0]]])).item()
        1.0
    """
    maps = Maps.of("saliency", saliency)
    reference = Maps.of("baseline", baseline, like=saliency)
    fixated = FixatedCells.of(fixation_counts, saliency)
    return fixated.mean_of(information_gain_at(maps, reference, fixated))


def information_gain_at(maps: Maps, baseline: Maps, fixated: FixatedCells) -> torch.Tensor:
    """What `information_gain_of_maps` is the mean of: (B, K) float64, the gain in bits at each cell looked at."""
    bits, least = (
        torch.log2(each.non_negative().at(fixated.cells).double() * _inverse(each.total)[:, None])
        for each in (maps, baseline)
    )
    broken = maps.broken | baseline.broken | (baseline.total == 0)
    return (bits - least).masked_fill(broken[:, None], torch.nan)


def information_gain_mit(
    saliency: torch.Tensor | Maps, baseline: torch.Tensor | Maps, fixation_counts: torch.Tensor | FixatedCells
) -> torch.Tensor:
    """Information gain in the MIT form, for maps that are no densities: stretched, then regularised. In bits a cell.

    IG = mean over the cells looked at of log2(eps + P) - log2(eps + B), with P = S' / sum S', S' = S stretched to
    [0, 1], B the same of the baseline, eps = `KL_EPSILON`. Higher is better. A cell counts once however often it was
    looked at. The lowest value of each map becomes 0 and a fixation there costs up to 52 bits.

    Args:
        saliency: (B, H, W) maps of any scale; adding a constant or scaling up changes nothing.
        baseline: (B, H, W) maps of the baseline, say the mean density of the training pictures.
        fixation_counts: (B, H, W) fixations a cell.

    Returns:
        (B,) float64; 0 means no better than the baseline. A constant map keeps no mass and scores as an all-zero one,
        log2(eps) at every fixation (the MATLAB code: NaN). No fixations, or a constant baseline: NaN.
        A map holding NaN or infinity: NaN.

    Source: InfoGain.m of https://github.com/cvzoya/saliency.

    Example:
        >>> saliency, baseline = torch.tensor([[[0.0, 1.0, 1.0]]]), torch.tensor([[[0.0, 3.0, 1.0]]])
        >>> round(information_gain_mit(saliency, baseline, torch.tensor([[[0, 0, 5]]])).item(), 6)  # log2(1/2 / 1/4)
        1.0
    """
    maps, reference = Maps.of("saliency", saliency), Maps.of("baseline", baseline, like=saliency)
    fixated = FixatedCells.of(fixation_counts, saliency)
    gain = _regularised_bits(maps, fixated) - _regularised_bits(reference, fixated)
    score = (gain * fixated.once).sum(1) / fixated.found
    return score.masked_fill(maps.broken | reference.broken | reference.constant, torch.nan)


def emd(saliency: torch.Tensor | Maps, density: torch.Tensor | Maps, *, cell: int = 32) -> torch.Tensor:
    """Earth mover's distance: the least work that turns one map into the other. Lower is better, 0 is perfect.

    EMD = min over flows f >= 0, with sum_j f_ij = P_i and sum_i f_ij = Q_j, of sum f_ij |x_i - x_j|, with P = S / sum S
    and Q = D / sum D, both summed over squares of `cell` pixels; distances are Euclidean between the middles of the
    squares, in units of `cell`. Solved exactly (network simplex of POT) on the CPU, one picture after the other, in
    float64: milliseconds for 12 x 20 squares, about a tenth of a second for 24 x 32. OpenCV's `EMD` stops short of the
    optimum on the larger grid. The MATLAB code matches the histogram of the map to that of the ground truth before;
    that is left out here, since it replaces the prediction.

    Args:
        saliency: (B, H, W) non-negative maps of any scale.
        density: (B, H, W) non-negative ground truth of any scale.
        cell: side of a square of the grid, in pixels; squares at the right and lower edge may be smaller.

    Returns:
        (B,) float64. A constant map: the work from the uniform density. An all-zero map: the most work any map can
        cost, all mass in the square worst placed. An empty density: NaN. A map holding NaN or infinity: NaN.

    Raises:
        ConfigError: POT is not installed.
        ValueError: The grid has more than `EMD_CELLS` squares.

    Source: Rubner et al. 2000; EMD.m of https://github.com/cvzoya/saliency; https://pythonot.github.io (POT).
    """
    pair = Pair.of(saliency, density).non_negative()
    maps, truth = pair.maps, pair.truth
    _, height, width = maps.shape
    if cell < 1:
        raise ValueError(f"cell must be at least 1 pixel, got {cell}")
    rows, columns = -(-height // cell), -(-width // cell)
    if rows * columns > EMD_CELLS:
        raise ValueError(f"cell={cell} makes {rows} x {columns} squares of this map, at most {EMD_CELLS} are allowed")
    costs = _distances(_middles(height, cell), _middles(width, cell))
    work = _transport()
    sources, targets = (_summed_over_squares(each.values, cell).cpu().numpy() for each in (maps, truth))
    scores = [_least_work(work, source, target, costs) for source, target in zip(sources, targets, strict=True)]
    return torch.tensor(scores, dtype=torch.float64, device=maps.device)


def _inverse(total: torch.Tensor) -> torch.Tensor:
    """1 / total, 0 for a map without mass."""
    return torch.where(total == 0, 0.0, 1 / total)


# What is summed over the cells of a picture: S, D and numbers of the picture in, a new tensor out.


def _product_of_units(
    s: torch.Tensor, d: torch.Tensor, mean_s: torch.Tensor, mean_d: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> torch.Tensor:
    return s.sub(mean_s).mul_(a).mul_(d.sub(mean_d).mul_(b))


def _kl(s: torch.Tensor, d: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, epsilon: float) -> torch.Tensor:
    """Q log(eps + Q / (P + eps))."""
    p, q = s.mul(a).add_(epsilon), d.mul(b)
    return torch.div(q, p, out=p).add_(epsilon).log_().mul_(q)


def _kl_dreyeve(s: torch.Tensor, d: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return _kl(*(each.float() for each in (s, d, a, b)), epsilon=DREYEVE_EPSILON)


def _plain_kl(s: torch.Tensor, d: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, minimum: float) -> torch.Tensor:
    p, q = s.add(minimum).mul_(a), d.add(minimum).mul_(b)
    return torch.div(q, p, out=p).log_().mul_(q)


def _inverse_totals(maps: Maps, truth: Maps) -> list[torch.Tensor]:
    return [_inverse(maps.total), _inverse(truth.total)]


PRODUCT = CellSum(
    lambda s, d, mean_s, mean_d: s.sub(mean_s).mul_(d.sub(mean_d)), lambda maps, truth: [maps.mean, truth.mean]
)
"""What CC sums, along with the squares."""

SHARED_MASS = CellSum(lambda s, d, a, b: torch.minimum(s.mul(a), d.mul(b)), _inverse_totals)
"""What SIM sums."""

SHARED_MASS_ABOVE = CellSum(
    lambda s, d, a, b, low_s, low_d: torch.minimum(s.sub(low_s).mul_(a), d.sub(low_d).mul_(b)),
    lambda maps, truth: [_inverse(maps.total_above_low), _inverse(truth.total_above_low), maps.low, truth.low],
)
"""What SIM sums in the MIT form."""

KL_SUM = CellSum(partial(_kl, epsilon=KL_EPSILON), _inverse_totals)
"""What KL sums in the MIT form."""

KL_DREYEVE_SUM = CellSum(
    _kl_dreyeve, lambda maps, truth: [1 / (DREYEVE_EPSILON + maps.total), 1 / (DREYEVE_EPSILON + truth.total)]
)
"""What KL sums in the DR(eye)VE form."""


@lru_cache(maxsize=8)
def _plain_kl_sum(minimum: float) -> CellSum:
    return CellSum(
        partial(_plain_kl, minimum=minimum),
        lambda maps, truth: [1 / (each.total + minimum * each.cells) for each in (maps, truth)],
    )


KL_PYSALIENCY_SUM = _plain_kl_sum(PYSALIENCY_MINIMUM)
"""What KL sums in pysaliency's form."""


def _regularised_bits(maps: Maps, fixated: FixatedCells) -> torch.Tensor:
    """(B, K) log2(eps + P) at the cells, P the map stretched to [0, 1] and made to sum to 1."""
    above = maps.at(fixated.cells).double() - maps.low.double()[:, None]
    return torch.log2(KL_EPSILON + above * _inverse(maps.total_above_low)[:, None])


def _transport() -> Any:
    try:
        return importlib.import_module("ot").lp.emd2
    except ImportError as error:
        raise ConfigError("emd needs POT, which is not installed: pip install 'vidsal[emd]'") from error


def _middles(size: int, cell: int) -> npt.NDArray[np.float64]:
    """The middles of the squares along one side, in units of `cell`; the last square may be cut off."""
    edges = np.append(np.arange(0, size, cell), size) / cell
    return (edges[:-1] + edges[1:]) / 2


def _distances(rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(R * C, R * C) Euclidean distances between all squares."""
    y, x = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    return np.hypot(y[:, None] - y, x[:, None] - x)


def _summed_over_squares(maps: torch.Tensor, cell: int) -> torch.Tensor:
    """(B, R * C) float64."""
    height, width = maps.shape[1:]
    padded = torch.nn.functional.pad(maps, (0, -width % cell, 0, -height % cell)).double()
    rows, columns = padded.shape[1] // cell, padded.shape[2] // cell
    return padded.reshape(-1, rows, cell, columns, cell).sum((2, 4)).flatten(1)


def _least_work(
    work: Any,
    source: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    costs: npt.NDArray[np.float64],
) -> float:
    if not np.isfinite(source.sum() + target.sum()) or not target.any():
        return math.nan
    if not source.any():
        return float((costs @ target).max() / target.sum())
    return float(work(source / source.sum(), target / target.sum(), costs, numItermax=_EMD_ITERATIONS))
