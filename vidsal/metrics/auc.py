"""Maps and fixations in, one area under the ROC curve a picture out: AUC-Judd, AUC-Borji and shuffled AUC.

All of them ask how well a map's value tells fixations from other places; they differ in what the other places are, in
ties and in sampling. The exact forms see only the order of the values; those with steps cut [0, 1] after stretching.
What maps, counts and answers look like, and what all metrics raise, is said in `functional`.

Where numbers are drawn, they come from `seed`, one for all pictures or one for each: the score of a picture depends on
its own seed alone, not on the batch. With one seed all pictures see the same noise, which does not average out over a
video; give each picture its own there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from vidsal.metrics import inputs
from vidsal.metrics.inputs import FixatedCells, Maps, generators

__all__ = [
    "auc_borji",
    "auc_judd",
    "auc_judd_at",
    "auc_judd_mit",
    "shuffled_auc",
    "shuffled_auc_at",
    "shuffled_auc_mit",
]


def auc_judd(saliency: torch.Tensor | Maps, fixation_counts: torch.Tensor | FixatedCells) -> torch.Tensor:
    """Area under the ROC curve of "fixation or not" by the map's value. Higher is better, from 0 to 1, chance is .5.

    The exact area in the form of the Tübingen benchmark: every fixation is a positive, those on one cell counted each;
    every cell is a negative, fixated or not; ties count one half. It is the chance that a fixation lies on a higher
    value than a cell drawn at random: AUC = (1/n) sum_i (#{S < S(x_i)} + #{S = S(x_i)} / 2) / N.
    A fixated cell ties with itself, so the highest possible value lies just below 1. The MATLAB code counts only
    unfixated cells as negatives and breaks ties by noise, which gives slightly higher values: `auc_judd_mit`.

    Args:
        saliency: (B, H, W) maps; any strictly increasing function of the values (their log, say) gives the same answer.
        fixation_counts: (B, H, W) fixations a cell.

    Returns:
        (B,) float64. A constant map: .5. No fixations: NaN. A map holding NaN: NaN.

    Source: Judd et al. 2009; `AUC` of https://github.com/matthias-k/pysaliency with uniform non-fixations.

    Example:
        >>> saliency = torch.tensor([[[0.1, 0.2], [0.2, 0.9]]])
        >>> counts = torch.tensor([[[0, 1], [0, 1]]])
        >>> auc_judd(saliency, counts)  # ((1 + 2/2) / 4 + (3 + 1/2) / 4) / 2
        tensor([0.6875], dtype=torch.float64)
    """
    maps, fixated = Maps.of("saliency", saliency), FixatedCells.of(fixation_counts, saliency)
    return fixated.mean_of(auc_judd_at(maps, fixated))


def auc_judd_at(maps: Maps, fixated: FixatedCells) -> torch.Tensor:
    """What `auc_judd` is the mean of: (B, K) float64, the share of the cells that each cell looked at lies above."""
    below, not_above = maps.count_below(maps.at(fixated.cells))
    return ((below + not_above).double() / (2 * maps.cells)).masked_fill(maps.high.isnan()[:, None], torch.nan)


def auc_judd_mit(
    saliency: torch.Tensor | Maps,
    fixation_counts: torch.Tensor | FixatedCells,
    *,
    jitter: float = 1e-7,
    seed: int | Sequence[int] = 0,
) -> torch.Tensor:
    """AUC-Judd in the MIT form: thresholds at the fixated cells, unfixated cells as negatives, ties broken by noise.

    With t_1 >= ... >= t_n the values at the n fixated cells (each once), the curve joins (0, 0), the points
    tp_i = i / n, fp_i = (#{S >= t_i} - i) / (N - n), and (1, 1) by straight lines. Higher is better. The lines cut the
    corners of the true curve, so chance is not .5 but .5 + 1 / (2 n + 2), and a picture with few fixations scores high.
    S is stretched to [0, 1], then `jitter` times a uniform number from [0, 1) is added to every cell in float64. The
    MATLAB code adds before it stretches, so that the noise drowns a density, whose values are below 1e-5; for maps that
    span 0 to 1 the two are the same. The noise reverses cells that differ by less than `jitter`.

    Args:
        saliency: (B, H, W) maps of any scale.
        fixation_counts: (B, H, W) fixations a cell.
        jitter: the height of the noise, as a share of the map's span; 0 counts ties against the map.
        seed: of the noise; one for all pictures, or one for each.

    Returns:
        (B,) float64. A constant map: chance, but for the noise (near 0 without). No fixations, or no unfixated cell:
        NaN. A map holding NaN or infinity: NaN.

    Raises:
        ValueError: The jitter is negative, or there are too few or too many seeds.

    Source: AUC_Judd.m of https://github.com/cvzoya/saliency.

    Example:
        >>> saliency = torch.tensor([[[0.1, 0.2], [0.3, 0.9]]])
        >>> counts = torch.tensor([[[0, 1], [0, 1]]])
        >>> auc_judd_mit(saliency, counts)  # points (0, 0), (0, 1/2), (1/2, 1), (1, 1)
        tensor([0.8750], dtype=torch.float64)
    """
    maps, fixated = Maps.of("saliency", saliency), FixatedCells.of(fixation_counts, saliency)
    if jitter < 0:
        raise ValueError(f"jitter must not be negative, got {jitter}")
    above = torch.zeros(fixated.weights.shape, dtype=torch.float64)
    found = fixated.found.masked_fill(maps.broken, 0.0).long().tolist()
    values = maps.at(fixated.cells).cpu().numpy()
    for picture, (rng, n) in enumerate(zip(generators(seed, len(found)), found, strict=True)):
        if n:
            counted = _not_below_with_noise(maps, picture, values[picture, :n], jitter, rng)
            above[picture, :n] = torch.from_numpy(counted)
    above = above.to(maps.device)
    total = fixated.found[:, None]
    # Places filled up become the corner (1, 1), which adds nothing to the area.
    place = torch.arange(1, above.shape[1] + 1, device=above.device, dtype=torch.float64)
    filled = place > total
    hits = (place / total).masked_fill(filled, 1.0)
    false_alarms = ((above - place) / (maps.cells - total)).masked_fill(filled, 1.0)
    first, last = hits.new_zeros(len(hits), 1), hits.new_ones(len(hits), 1)
    score = torch.trapezoid(torch.cat([first, hits, last], 1), torch.cat([first, false_alarms, last], 1), dim=1)
    return score.masked_fill(maps.broken | (fixated.found == 0) | (fixated.found == maps.cells), torch.nan)


def auc_borji(
    saliency: torch.Tensor | Maps,
    fixation_counts: torch.Tensor | FixatedCells,
    *,
    splits: int = 100,
    step: float = 0.1,
    seed: int | Sequence[int] = 0,
) -> torch.Tensor:
    """AUC-Borji: fixated cells against as many cells drawn from the whole picture, over and over. Higher is better.

    S is stretched to [0, 1]; a split draws as many cells as are fixated, with replacement, from all; the curve has
    points only at the thresholds 0, step, 2 step, ..., straight lines between. The score is the mean area over the
    splits, from 0 to 1, chance is .5. Steps tie: a map whose fixations all lie below `step` scores .5 at most.

    Args:
        saliency: (B, H, W) maps of any scale.
        fixation_counts: (B, H, W) fixations a cell; a cell counts once however often it was looked at.
        splits: how many times cells are drawn.
        step: between the thresholds, as a share of the map's span; above 0, at most 1.
        seed: of the draws; one for all pictures, or one for each.

    Returns:
        (B,) float64. A constant map: .5 (the MATLAB code: NaN). Fewer than two fixated cells: NaN.
        A map holding NaN or infinity: NaN.

    Raises:
        ValueError: There are too few or too many seeds, or an option is out of range.

    Source: AUC_Borji.m of https://github.com/cvzoya/saliency; Borji et al. 2013.

    Example:
        >>> saliency = torch.tensor([[[0.0, 0.1], [0.9, 1.0]]])
        >>> auc_borji(saliency, torch.tensor([[[0, 0], [1, 1]]]), splits=4000).item() > 0.7  # 3/4
        True
    """
    maps, fixated = Maps.of("saliency", saliency), FixatedCells.of(fixation_counts, saliency)
    _check_sampling(splits, step)
    wanted = [n if n > 1 else 0 for n in fixated.found.long().tolist()]  # of one alone there is no score
    drawn = torch.zeros(len(wanted), splits * max([1, *wanted]), dtype=torch.int64)
    weights = torch.zeros(drawn.shape, dtype=torch.float64)
    for picture, (rng, n) in enumerate(zip(generators(seed, len(wanted)), wanted, strict=True)):
        drawn[picture, : splits * n] = torch.from_numpy(rng.integers(maps.cells, size=splits * n))
        weights[picture, : splits * n] = 1.0
    score = _stepped_area(maps, fixated, drawn.to(maps.device), weights.to(maps.device), step)
    return score.masked_fill(fixated.found < 2, torch.nan)


def shuffled_auc(
    saliency: torch.Tensor | Maps,
    fixation_counts: torch.Tensor | FixatedCells,
    other_counts: torch.Tensor | FixatedCells,
) -> torch.Tensor:
    """Shuffled AUC, exact: fixations of this picture against those of others. Higher is better, chance is .5.

    The chance that a fixation lies on a higher value than a fixation of another picture, put on this one, does; ties
    count one half, fixations on one cell count each, nothing is sampled: the form of the Tübingen benchmark. People
    look at the centre of every picture: a map that shows only this scores about .5, and no map comes near 1.

    Args:
        saliency: (B, H, W) maps; any strictly increasing function of the values gives the same answer.
        fixation_counts: (B, H, W) fixations a cell.
        other_counts: (B, H, W) fixations of other pictures a cell (`NegativePool.draw` with form "all").

    Returns:
        (B,) float64. A constant map: .5. No fixations, here or elsewhere: NaN. A map holding NaN: NaN.

    Source: `AUC` of https://github.com/matthias-k/pysaliency with shuffled non-fixations; Tatler et al. 2005.

    Example:
        >>> saliency = torch.tensor([[[0.1, 0.2], [0.2, 0.9]]])
        >>> here, elsewhere = torch.tensor([[[0, 1], [0, 1]]]), torch.tensor([[[3, 0], [1, 0]]])
        >>> shuffled_auc(saliency, here, elsewhere)  # ((3 + 1/2) / 4 + 4/4) / 2
        tensor([0.9375], dtype=torch.float64)
    """
    maps, fixated = Maps.of("saliency", saliency), FixatedCells.of(fixation_counts, saliency)
    others = FixatedCells.of(other_counts, saliency, name="other_counts")
    return fixated.mean_of(shuffled_auc_at(maps, fixated, others))


def shuffled_auc_at(maps: Maps, fixated: FixatedCells, others: FixatedCells) -> torch.Tensor:
    """What `shuffled_auc` is the mean of: (B, K) float64, the share of the others' fixations that each lies above."""
    positive = maps.at(fixated.cells)
    negative, order = _sorted_with_order(maps.at(others.cells))
    weights = others.weights.gather(1, order)
    up_to = torch.cat([weights.new_zeros(len(weights), 1), weights.cumsum(1)], 1)
    below, not_above = (torch.searchsorted(negative, positive, right=right) for right in (False, True))
    rank = up_to.gather(1, below) + up_to.gather(1, not_above)
    return (rank / (2 * others.total)[:, None]).masked_fill(maps.high.isnan()[:, None], torch.nan)


def shuffled_auc_mit(
    saliency: torch.Tensor | Maps,
    fixation_counts: torch.Tensor | FixatedCells,
    other_counts: torch.Tensor | FixatedCells,
    *,
    splits: int = 100,
    step: float = 0.1,
    seed: int | Sequence[int] = 0,
) -> torch.Tensor:
    """Shuffled AUC in the MIT form, sampled and with steps; DHF1K's code is the same. Higher is better, chance is .5.

    S is stretched to [0, 1]; a split draws min(n, m) of the m cells that are fixated in other pictures, without
    replacement, for the n fixated cells of this one; the curve has points only at the thresholds 0, step, 2 step, ....
    The score is the mean area over the splits. MIT's and DHF1K's numbers differ by where the other fixations come from:
    see `NegativePool.draw`.

    Args:
        saliency: (B, H, W) maps of any scale.
        fixation_counts: (B, H, W) fixations a cell; a cell counts once however often it was looked at.
        other_counts: (B, H, W) fixations of other pictures a cell; a cell counts once.
        splits: how many times cells are drawn.
        step: between the thresholds, as a share of the map's span; above 0, at most 1.
        seed: of the draws; one for all pictures, or one for each.

    Returns:
        (B,) float64. A constant map: .5 (the MATLAB code: NaN). No fixations, here or elsewhere: NaN.
        A map holding NaN or infinity: NaN.

    Raises:
        ValueError: There are too few or too many seeds, or an option is out of range.

    Source: AUC_shuffled.m of https://github.com/cvzoya/saliency, and of https://github.com/wenguanwang/DHF1K.

    Example:
        >>> saliency = torch.tensor([[[0.0, 0.5], [0.5, 1.0]]])
        >>> here, elsewhere = torch.tensor([[[0, 1], [0, 1]]]), torch.tensor([[[1, 0], [1, 0]]])
        >>> shuffled_auc_mit(saliency, here, elsewhere)  # two of two drawn: ((1 + 1/2) + 2) / 4
        tensor([0.8750], dtype=torch.float64)
    """
    maps, fixated = Maps.of("saliency", saliency), FixatedCells.of(fixation_counts, saliency)
    others = FixatedCells.of(other_counts, saliency, name="other_counts")
    _check_sampling(splits, step)
    times = torch.zeros(others.weights.shape, dtype=torch.float64)
    numbers = zip(fixated.found.long().tolist(), others.found.long().tolist(), strict=True)
    for picture, (rng, (n, m)) in enumerate(zip(generators(seed, len(times)), numbers, strict=True)):
        times[picture, :m] = torch.from_numpy(_times_drawn(rng, splits, n, m))
    return _stepped_area(maps, fixated, others.cells, times.to(maps.device), step)


def _sorted_with_order(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if not inputs.on_cpu(values):
        return values.sort(1)
    order = torch.from_numpy(values.numpy().argsort(1))  # vectorised, unlike torch's
    return values.gather(1, order), order


def _not_below_with_noise(
    maps: Maps, picture: int, values: npt.NDArray[np.floating], jitter: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """How many of the N stretched and jittered cells are not below each of n of them, highest of these first."""
    # Noise decides only between cells closer than `jitter`, so it is drawn for the neighbours of the n cells alone.
    # A cell is known by its place in the order: which of several equal ones is which does not matter.
    least, most = (ends[picture].cpu().numpy() for ends in (maps.low, maps.high))
    low, span = float(least), float(most) - float(least) or 1.0
    values = np.sort(values)
    # Borders a little further out than the noise reaches, since stretching rounds. No cell lies between a border and
    # the number of the map's type that it is rounded to.
    reach = jitter * span * (1 + 1e-6) + 4 * np.spacing(np.abs([least, most]).max().astype(np.float64))
    exact = values.astype(np.float64)
    lower, upper = ((exact + sign * reach).astype(values.dtype) for sign in (-1, 1))
    below, near = maps.near(picture, np.maximum(lower, least), upper)
    noisy = (near.astype(np.float64) - low) / span + jitter * rng.random(len(near))
    # The n cells themselves: the first of the cells equal to each, the next for another of the same value.
    index = np.searchsorted(near, values) + np.arange(len(values)) - np.searchsorted(values, values)
    place = below + index - np.searchsorted(near, np.maximum(lower, least))
    thresholds = noisy[index]
    # Cells that were not drawn lie on the same side of a cell with noise and without.
    if len(thresholds) <= inputs.COUNTED:
        higher = np.array([np.count_nonzero(noisy < one) for one in thresholds], np.int64)
    else:
        higher = np.searchsorted(np.sort(noisy), thresholds)
    not_below = maps.cells - place + index - higher
    return np.asarray(not_below[np.argsort(-thresholds)], np.int64)


def _check_sampling(splits: int, step: float) -> None:
    if splits < 1:
        raise ValueError(f"splits must be at least 1, got {splits}")
    if not 0 < step <= 1:
        raise ValueError(f"step must be above 0 and at most 1, got {step}")


def _times_drawn(rng: np.random.Generator, splits: int, wanted: int, available: int) -> npt.NDArray[np.float64]:
    """(available,) float64: how often each of the places was drawn over all splits, without replacement within one."""
    if wanted >= available:
        return np.full(available, float(splits))
    if wanted == 0:
        return np.zeros(available)
    # The lowest of random keys that carry the place in their low bits: faster than an argument partition.
    low_bits = np.uint64((1 << (available - 1).bit_length()) - 1)
    keys = np.asarray(rng.bit_generator.random_raw(splits * available), np.uint64).reshape(splits, available)
    keys = (keys & ~low_bits) | np.arange(available, dtype=np.uint64)
    drawn = np.partition(keys, wanted - 1, axis=1)[:, :wanted] & low_bits
    return np.bincount(drawn.ravel().astype(np.int64), minlength=available).astype(np.float64)


def _stepped_area(
    maps: Maps, fixated: FixatedCells, negatives: torch.Tensor, weights: torch.Tensor, step: float
) -> torch.Tensor:
    """The area under the curve with thresholds at the multiples of `step`, for (B, R) weighed negative cells."""
    # Straight lines between the points of a curve make values between two thresholds tie, and ties count one half: so
    # the area is the mean, over the negatives, of the share of positives in a higher bin and half of that in the same
    # one. The mean over splits of equal size is then the mean over all negatives that were ever drawn.
    # Rounded, so that .3 is .3 and not 3 x .1, which lies above it.
    thresholds = torch.tensor(np.round(np.arange(0, 1 + step / 2, step), 12), device=maps.device)
    positive, negative = (
        torch.bucketize(maps.unit_at(cells), thresholds, right=True) for cells in (fixated.cells, negatives)
    )
    share = weights.new_zeros(len(weights), len(thresholds) + 1)
    share.scatter_add_(1, positive, fixated.once / fixated.found[:, None])
    won = share.flip(1).cumsum(1).flip(1) - share / 2
    score = (won.gather(1, negative) * weights).sum(1) / weights.sum(1)
    return score.masked_fill(maps.broken, torch.nan)
