"""Maps and fixations in, one area under the ROC curve a picture out: AUC-Judd, AUC-Borji and shuffled AUC.

All of them ask how well a map's value tells fixations from other places; they differ in what the other places are, in
ties and in sampling. The exact forms see only the order of the values; those with steps cut [0, 1] after stretching.
What maps, counts, answers and the answers at the edge look like is said in `functional`.

Where numbers are drawn, they come from `seed`, one for all pictures or one for each: the score of a picture depends on
its own seed alone, not on the batch. With one seed all pictures see the same noise, which does not average out over a
video; give each picture its own there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from vidsal.metrics.inputs import Fixated, checked_map, extremes, fixated_cells, generators

__all__ = ["auc_borji", "auc_judd", "auc_judd_mit", "shuffled_auc", "shuffled_auc_mit"]


def auc_judd(saliency: torch.Tensor, fixation_counts: torch.Tensor) -> torch.Tensor:
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

    Raises:
        TypeError: A map is not float32 or float64 (integers are never cast in silence).
        ValueError: The shapes differ, or a count is negative.

    Source: Judd et al. 2009; `AUC` of https://github.com/matthias-k/pysaliency with uniform non-fixations.

    Example:
        >>> saliency = torch.tensor([[[0.1, 0.2], [0.2, 0.9]]])
        >>> counts = torch.tensor([[[0, 1], [0, 1]]])
        >>> auc_judd(saliency, counts)  # ((1 + 2/2) / 4 + (3 + 1/2) / 4) / 2
        tensor([0.6875], dtype=torch.float64)
    """
    maps = checked_map("saliency", saliency)
    fixated = fixated_cells(fixation_counts, saliency)
    flat = maps.flatten(1)
    ordered = _sorted(flat)
    values = flat.gather(1, fixated.cells)
    rank = _below(ordered, values) + _not_above(ordered, values)
    score = (rank.double() * fixated.weights).sum(1) / (fixated.weights.sum(1) * 2 * flat.shape[1])
    return score.masked_fill(ordered[:, -1].isnan(), torch.nan)  # NaN sorts last


def auc_judd_mit(
    saliency: torch.Tensor,
    fixation_counts: torch.Tensor,
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
        TypeError: A map is not float32 or float64 (the MATLAB code takes 8-bit maps and scores their rounding).
        ValueError: The shapes differ, a count or the jitter is negative, or there are too few or too many seeds.

    Source: AUC_Judd.m of https://github.com/cvzoya/saliency.

    Example:
        >>> saliency = torch.tensor([[[0.1, 0.2], [0.3, 0.9]]])
        >>> counts = torch.tensor([[[0, 1], [0, 1]]])
        >>> auc_judd_mit(saliency, counts)  # points (0, 0), (0, 1/2), (1/2, 1), (1, 1)
        tensor([0.8750], dtype=torch.float64)
    """
    maps = checked_map("saliency", saliency)
    fixated = fixated_cells(fixation_counts, saliency)
    if jitter < 0:
        raise ValueError(f"jitter must not be negative, got {jitter}")
    low, high = (value.double() for value in extremes(maps))
    span = torch.where(high == low, 1.0, high - low)
    unit = maps.to(torch.float64, copy=True).sub_(low).div_(span).flatten(1)
    if jitter:
        unit += _noise(seed, *unit.shape).to(unit.device).mul_(jitter)
    once = fixated.once()
    found, cells = once.sum(1, keepdim=True), unit.shape[1]
    # Filled places sort behind all others and become the corner (1, 1), which adds nothing to the area.
    values = torch.where(once > 0, unit.gather(1, fixated.cells), -torch.inf).sort(1, descending=True).values
    above = cells - _below(_sorted(unit), values)
    place = torch.arange(1, values.shape[1] + 1, device=unit.device, dtype=torch.float64)
    filled = place > found
    hits = (place / found).masked_fill(filled, 1.0)
    false_alarms = ((above - place) / (cells - found)).masked_fill(filled, 1.0)
    corners = (hits.new_zeros(len(hits), 1), hits.new_ones(len(hits), 1))
    curve = [torch.cat([corners[0], points, corners[1]], 1) for points in (hits, false_alarms)]
    score = torch.trapezoid(*curve, dim=1)
    return score.masked_fill(((found == 0) | (found == cells))[:, 0] | _broken(low, high), torch.nan)


def auc_borji(
    saliency: torch.Tensor,
    fixation_counts: torch.Tensor,
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
        TypeError: A map is not float32 or float64 (integers are never cast in silence).
        ValueError: The shapes differ, a count is negative, there are too few or too many seeds, or an option is out of
            range.

    Source: AUC_Borji.m of https://github.com/cvzoya/saliency; Borji et al. 2013.

    Example:
        >>> saliency = torch.tensor([[[0.0, 0.1], [0.9, 1.0]]])
        >>> auc_borji(saliency, torch.tensor([[[0, 0], [1, 1]]]), splits=4000).item() > 0.7  # 3/4
        True
    """
    maps = checked_map("saliency", saliency)
    fixated = fixated_cells(fixation_counts, saliency)
    _check_sampling(splits, step)
    size = maps.shape[1] * maps.shape[2]
    found = fixated.once().sum(1).long().tolist()
    draws = [rng.integers(size, size=splits * n) for rng, n in zip(generators(seed, len(maps)), found, strict=True)]
    drawn = _padded(draws, [np.ones(len(each)) for each in draws], maps.device)
    score = _stepped_area(maps, fixated, drawn, step)
    return score.masked_fill(fixated.once().sum(1) < 2, torch.nan)


def shuffled_auc(saliency: torch.Tensor, fixation_counts: torch.Tensor, other_counts: torch.Tensor) -> torch.Tensor:
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

    Raises:
        TypeError: A map is not float32 or float64 (integers are never cast in silence).
        ValueError: The shapes differ, or a count is negative.

    Source: `AUC` of https://github.com/matthias-k/pysaliency with shuffled non-fixations; Tatler et al. 2005.

    Example:
        >>> saliency = torch.tensor([[[0.1, 0.2], [0.2, 0.9]]])
        >>> here, elsewhere = torch.tensor([[[0, 1], [0, 1]]]), torch.tensor([[[3, 0], [1, 0]]])
        >>> shuffled_auc(saliency, here, elsewhere)  # ((3 + 1/2) / 4 + 4/4) / 2
        tensor([0.9375], dtype=torch.float64)
    """
    maps = checked_map("saliency", saliency)
    fixated = fixated_cells(fixation_counts, saliency)
    others = fixated_cells(other_counts, saliency, name="other_counts")
    flat = maps.flatten(1)
    positive = flat.gather(1, fixated.cells)
    negative, order = flat.gather(1, others.cells).sort(1)
    weights = others.weights.gather(1, order)
    up_to = torch.cat([weights.new_zeros(len(weights), 1), weights.cumsum(1)], 1)
    rank = up_to.gather(1, _below(negative, positive)) + up_to.gather(1, _not_above(negative, positive))
    score = (rank * fixated.weights).sum(1) / (2 * fixated.weights.sum(1) * weights.sum(1))
    return score.masked_fill(maps.amax((1, 2)).isnan(), torch.nan)


def shuffled_auc_mit(
    saliency: torch.Tensor,
    fixation_counts: torch.Tensor,
    other_counts: torch.Tensor,
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
        TypeError: A map is not float32 or float64 (integers are never cast in silence).
        ValueError: The shapes differ, a count is negative, there are too few or too many seeds, or an option is out of
            range.

    Source: AUC_shuffled.m of https://github.com/cvzoya/saliency, and of https://github.com/wenguanwang/DHF1K.

    Example:
        >>> saliency = torch.tensor([[[0.0, 0.5], [0.5, 1.0]]])
        >>> here, elsewhere = torch.tensor([[[0, 1], [0, 1]]]), torch.tensor([[[1, 0], [1, 0]]])
        >>> shuffled_auc_mit(saliency, here, elsewhere)  # two of two drawn: ((1 + 1/2) + 2) / 4
        tensor([0.8750], dtype=torch.float64)
    """
    maps = checked_map("saliency", saliency)
    fixated = fixated_cells(fixation_counts, saliency)
    others = fixated_cells(other_counts, saliency, name="other_counts")
    _check_sampling(splits, step)
    found = fixated.once().sum(1).long().tolist()
    available = others.once().sum(1).long().tolist()
    times = [
        _times_drawn(rng, splits, n, m) for rng, n, m in zip(generators(seed, len(maps)), found, available, strict=True)
    ]
    weights = torch.zeros_like(others.weights)
    for row, each in enumerate(times):
        weights[row, : len(each)] = torch.from_numpy(each)
    return _stepped_area(maps, fixated, Fixated(others.cells, weights), step)


def _sorted(flat: torch.Tensor) -> torch.Tensor:
    # NumPy's vectorised sort is 20 times as fast as torch's on a CPU.
    return torch.from_numpy(np.sort(flat.numpy(), axis=1)) if flat.device.type == "cpu" else flat.sort(1).values


def _below(ordered: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.searchsorted(ordered, values.contiguous())


def _not_above(ordered: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.searchsorted(ordered, values.contiguous(), right=True)


def _broken(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """(B,) bool, True where the map holds NaN or infinity."""
    return ~((high - low).isfinite() & high.isfinite())[:, 0, 0]


def _noise(seed: int | Sequence[int], pictures: int, cells: int) -> torch.Tensor:
    """(B, N) float64, or (1, N) where all pictures share a seed."""
    shared = isinstance(seed, (int, np.integer))
    return torch.from_numpy(np.stack([rng.random(cells) for rng in generators(seed, 1 if shared else pictures)]))


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
    drawn = rng.random((splits, available)).argpartition(wanted - 1, axis=1)[:, :wanted]
    return np.bincount(drawn.ravel(), minlength=available).astype(np.float64)


def _padded(
    cells: Sequence[npt.NDArray[np.int64]], weights: Sequence[npt.NDArray[np.float64]], device: torch.device
) -> Fixated:
    longest = max([1, *(len(each) for each in cells)])
    places = np.zeros((len(cells), longest), np.int64)
    filled = np.zeros((len(cells), longest))
    for row, (place, weight) in enumerate(zip(cells, weights, strict=True)):
        places[row, : len(place)], filled[row, : len(place)] = place, weight
    return Fixated(torch.from_numpy(places).to(device), torch.from_numpy(filled).to(device))


def _stepped_area(maps: torch.Tensor, fixated: Fixated, negatives: Fixated, step: float) -> torch.Tensor:
    """The area under the curve with thresholds at the multiples of `step`, fixated cells once, negatives by weight.

    Straight lines between the points of a curve make values between two thresholds tie, and ties count one half: so the
    area is the mean, over the negatives, of the share of positives in a higher bin and half of that in the same one.
    The mean over splits of equal size is then the mean over all negatives that were ever drawn.
    """
    low, high = (value[:, :, 0].double() for value in extremes(maps))
    span = torch.where(high == low, 1.0, high - low)
    # Rounded, so that .3 is .3 and not 3 x .1, which lies above it.
    thresholds = torch.tensor(np.round(np.arange(0, 1 + step / 2, step), 12), device=maps.device)
    positive, negative = (
        torch.bucketize((cells.of(maps) - low) / span, thresholds, right=True) for cells in (fixated, negatives)
    )
    once = fixated.once()
    share = once.new_zeros(len(once), len(thresholds) + 1).scatter_add_(1, positive, once / once.sum(1, keepdim=True))
    won = share.flip(1).cumsum(1).flip(1) - share / 2
    score = (won.gather(1, negative) * negatives.weights).sum(1) / negatives.weights.sum(1)
    return score.masked_fill(_broken(low[..., None], high[..., None]), torch.nan)
