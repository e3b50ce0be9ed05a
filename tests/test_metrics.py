"""The metrics against a NumPy reference, hand-computed tables and the properties that their definitions promise."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import math
import re
import sys
import warnings
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import metrics_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsal import metrics
from vidsal.errors import ConfigError
from vidsal.metrics import inputs

Pair = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

BY_FIXATIONS: tuple[Pair, ...] = (metrics.nss, metrics.auc_judd, metrics.auc_judd_mit, metrics.auc_borji)
BY_DENSITY: tuple[Pair, ...] = (
    metrics.cc,
    metrics.sim,
    metrics.sim_minmax,
    metrics.kl,
    metrics.kl_dreyeve,
    metrics.kl_pysaliency,
)
few_examples = settings(max_examples=40, deadline=None, derandomize=True)


def picture(seed: int, *, levels: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A map, a density and fixation counts of 6 x 9 cells; `levels` makes the map tie."""
    rng = np.random.default_rng(seed)
    saliency = rng.random((6, 9)) if levels is None else rng.integers(0, levels, (6, 9)) / levels
    saliency[0, :2] = 0.0, 1.0  # never constant
    counts = rng.multinomial(7, rng.dirichlet(np.full(54, 0.2))).reshape(6, 9)
    return saliency, rng.random((6, 9)) ** 3, counts


def batch(*arrays: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays))


def log_density(values: torch.Tensor) -> torch.Tensor:
    raised = values + 0.1
    return (raised / raised.sum((1, 2), keepdim=True)).log()


seeds = st.integers(0, 2**32 - 1)


# The definitions.


@given(seeds, st.sampled_from([None, 2, 4, 256]))
@few_examples
def test_every_score_equals_the_reference(seed: int, levels: int | None) -> None:
    saliency, density, counts = picture(seed, levels=levels)
    maps, truth, fixations = batch(saliency), batch(density), batch(counts)
    assert metrics.nss(maps, fixations).item() == pytest.approx(reference.nss(saliency, counts), abs=1e-12)
    assert metrics.cc(maps, truth).item() == pytest.approx(reference.cc(saliency, density), abs=1e-12)
    assert metrics.sim(maps, truth).item() == pytest.approx(reference.sim(saliency, density), abs=1e-12)
    assert metrics.kl(maps, truth).item() == pytest.approx(reference.kl(saliency, density), abs=1e-12)
    area = metrics.auc_judd(maps, fixations).item()
    assert area == pytest.approx(reference.auc_by_pairs(saliency, counts), abs=1e-12)
    assert area == pytest.approx(reference.auc_by_curve(saliency, counts), abs=1e-12)


@given(seeds)
@few_examples
def test_information_gain_equals_the_reference(seed: int) -> None:
    first, second, counts = picture(seed)
    density, baseline = (first + 0.1) / (first + 0.1).sum(), (second + 0.1) / (second + 0.1).sum()
    gain = metrics.information_gain(batch(density).log(), batch(baseline).log(), batch(counts)).item()
    assert gain == pytest.approx(reference.information_gain(density, baseline, counts), abs=1e-12)
    gain = metrics.information_gain_of_maps(batch(7 * density), batch(baseline / 9), batch(counts)).item()
    assert gain == pytest.approx(reference.information_gain(density, baseline, counts), abs=1e-12)


def test_scores_of_a_3x3_picture_equal_those_worked_out_by_hand() -> None:
    saliency = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 4.0, 2.0], [0.0, 2.0, 1.0]]])  # sum 9, mean 1, squares 25
    density = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 0.0]]])  # sum 3
    counts = torch.tensor([[[0, 0, 0], [0, 2, 1], [0, 0, 0]]])
    deviation = math.sqrt(25 / 9 - 1)  # of the map: 4/3
    assert deviation == pytest.approx(4 / 3)
    assert metrics.nss(saliency, counts).item() == pytest.approx((3 + 3 + 1) / 3 / (4 / 3))  # 1.75
    # Covariance 8/9 - 1/3, deviation of the density sqrt(1/3 - 1/9).
    assert metrics.cc(saliency, density).item() == pytest.approx((8 / 9 - 1 / 3) / (4 / 3 * math.sqrt(2 / 9)))
    assert metrics.sim(saliency, density).item() == pytest.approx(1 / 3 + 2 / 9 + 2 / 9)
    expected = (math.log(3 / 4) + math.log(3 / 2) + math.log(3 / 2)) / 3
    assert metrics.kl(saliency, density).item() == pytest.approx(expected)
    # Against 1/9 everywhere: gains of 4, 4 and 2.
    uniform = torch.full((1, 3, 3), 0.25)
    assert metrics.information_gain_of_maps(saliency, uniform, counts).item() == pytest.approx((2 + 2 + 1) / 3)
    gain = metrics.information_gain((saliency / 9).log(), (uniform / 2.25).log(), counts).item()
    assert gain == pytest.approx((2 + 2 + 1) / 3)
    assert metrics.zeros_under_gaze(saliency, counts).item() == 0
    # The 4 beats 8 cells and ties with itself (twice looked at); the 2 beats 6 and ties with two.
    assert metrics.auc_judd(saliency, counts).item() == pytest.approx((8.5 + 8.5 + 7) / 9 / 3)


def test_a_wrong_map_scores_worse_on_every_metric() -> None:
    _, density, _ = picture(3)
    right, wrong = batch(density), batch(density[::-1, ::-1].copy())
    counts = (right > right.flatten().quantile(0.9)).int()
    for metric in BY_FIXATIONS:
        assert metric(right, counts) > metric(wrong, counts)
    assert metrics.cc(right, right) > metrics.cc(wrong, right)
    assert metrics.sim(right, right) > metrics.sim(wrong, right)
    assert metrics.kl(right, right) < metrics.kl(wrong, right)


# The properties.


@given(seeds, st.floats(0.01, 100), st.floats(-100, 100))
@few_examples
def test_nss_and_cc_do_not_see_the_scale_and_the_offset_of_a_map(seed: int, scale: float, offset: float) -> None:
    saliency, density, counts = picture(seed)
    for metric, truth in ((metrics.nss, counts), (metrics.cc, density)):
        before, after = metric(batch(saliency), batch(truth)), metric(batch(scale * saliency + offset), batch(truth))
        torch.testing.assert_close(after, before, rtol=0, atol=1e-8)


@given(seeds, st.floats(0.01, 100))
@few_examples
def test_sim_and_kl_see_the_offset_of_a_map_but_not_its_scale(seed: int, scale: float) -> None:
    saliency, density, _ = picture(seed)
    for metric in (metrics.sim, metrics.kl):
        before = metric(batch(saliency + 0.01), batch(density))
        torch.testing.assert_close(metric(batch(scale * (saliency + 0.01)), batch(density)), before)
        assert (metric(batch(saliency + 1.01), batch(density)) - before).abs() > 1e-4


@given(seeds, st.sampled_from([None, 3]))
@few_examples
def test_auc_sees_only_the_order_of_the_values(seed: int, levels: int | None) -> None:
    saliency, _, counts = picture(seed, levels=levels)
    before = metrics.auc_judd(batch(saliency), batch(counts))
    for monotone in (np.exp(3 * saliency), np.log(saliency + 1e-6), saliency**3 - 5):
        assert torch.equal(metrics.auc_judd(batch(monotone), batch(counts)), before)
    torch.testing.assert_close(metrics.auc_judd(batch(-saliency), batch(counts)), 1 - before)
    with np.errstate(divide="ignore"):
        assert torch.equal(metrics.auc_judd(batch(np.log(saliency)), batch(counts)), before)  # -inf orders as the 0


@given(seeds)
@few_examples
def test_a_density_is_a_perfect_match_of_itself_and_of_nothing_else(seed: int) -> None:
    first, second, _ = picture(seed)
    same, other = batch(first), batch(second)
    assert metrics.kl(same, same).item() == pytest.approx(0, abs=1e-12)
    assert metrics.sim(same, same).item() == pytest.approx(1, abs=1e-12)
    assert metrics.cc(same, same).item() == pytest.approx(1, abs=1e-12)
    assert metrics.kl(same, other) > 1e-3
    assert metrics.sim(same, other) < 0.999
    assert metrics.cc(same, other) < 0.999
    assert metrics.kl(same, other) >= 0


@given(seeds)
@few_examples
def test_cc_and_sim_do_not_care_which_map_comes_first_but_kl_does(seed: int) -> None:
    first, second, _ = picture(seed)
    first, second = first + 0.1, second + 0.1
    assert metrics.cc(batch(first), batch(second)).item() == pytest.approx(
        metrics.cc(batch(second), batch(first)).item()
    )
    assert torch.equal(metrics.sim(batch(first), batch(second)), metrics.sim(batch(second), batch(first)))
    assert metrics.kl(batch(first), batch(second)) != metrics.kl(batch(second), batch(first))


def test_fixations_on_one_cell_count_each() -> None:
    saliency = batch(picture(0)[0])
    once = torch.zeros_like(saliency)
    once[0, 0, 1] = once[0, 3, 3] = 1
    twice = once.clone()
    twice[0, 0, 1] = 2
    for metric in BY_FIXATIONS:
        torch.testing.assert_close(metric(saliency, 2 * once), metric(saliency, once))
        if metric in (metrics.auc_judd_mit, metrics.auc_borji):  # a cell was looked at or not
            assert metric(saliency, twice) == metric(saliency, once)
        else:
            assert metric(saliency, twice) > metric(saliency, once)  # (0, 1) is the highest cell


def test_a_batch_scores_as_its_pictures_alone() -> None:
    pictures = [picture(seed, levels=4) for seed in range(5)]
    pictures[2][2][:] = 0  # no fixations in the middle of the batch
    maps, truth, counts = (batch(*column) for column in zip(*pictures, strict=True))
    for metric, target in [(metric, truth) for metric in BY_DENSITY] + [(metric, counts) for metric in BY_FIXATIONS]:
        together = metric(maps, target)
        alone = torch.cat([metric(maps[i : i + 1], target[i : i + 1]) for i in range(5)])
        assert together.shape == (5,)
        assert together.dtype == torch.float64
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_float32_maps_score_as_float64_ones() -> None:
    pictures = [picture(seed) for seed in range(4)]
    maps, truth, counts = (batch(*column) for column in zip(*pictures, strict=True))
    for metric, target in [(metric, truth) for metric in BY_DENSITY] + [(metric, counts) for metric in BY_FIXATIONS]:
        torch.testing.assert_close(metric(maps.float(), target), metric(maps, target), rtol=0, atol=1e-5)


def test_the_dtype_of_the_counts_does_not_matter() -> None:
    saliency, _, counts = picture(1)
    counts = np.minimum(counts, 1)
    for metric in BY_FIXATIONS:
        expected = metric(batch(saliency), batch(counts))
        for dtype in (torch.bool, torch.uint8, torch.int32, torch.float32, torch.float64):
            assert torch.equal(metric(batch(saliency), batch(counts).to(dtype)), expected)


def test_the_inputs_are_left_as_they_were() -> None:
    maps, truth, counts = (batch(array) for array in picture(2))
    before = [values.clone() for values in (maps, truth, counts)]
    metrics.ScoreMeter().update(maps, truth, counts)
    assert all(torch.equal(after, kept) for after, kept in zip((maps, truth, counts), before, strict=True))


# The answers at the edge.


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_map_scores_as_chance(value: float, dtype: torch.dtype) -> None:
    _, density, counts = picture(5)
    constant = torch.full((1, 6, 9), value, dtype=dtype)
    assert metrics.nss(constant, batch(counts)).item() == 0
    assert metrics.auc_judd(constant, batch(counts)).item() == 0.5
    assert metrics.cc(constant, batch(density)).item() == 0
    truth = density / density.sum()
    assert metrics.sim(constant, batch(density)).item() == pytest.approx(np.minimum(truth, 1 / 54).sum())
    assert metrics.kl(constant, batch(density)).item() == pytest.approx(math.log(54) + (truth * np.log(truth)).sum())


def test_a_map_of_tiny_values_is_not_taken_for_a_constant_one() -> None:
    saliency, density, counts = picture(6)
    tiny = batch(saliency * 1e-200)
    torch.testing.assert_close(metrics.nss(tiny, batch(counts)), metrics.nss(batch(saliency), batch(counts)))
    torch.testing.assert_close(metrics.cc(tiny, batch(density)), metrics.cc(batch(saliency), batch(density)))


def test_an_all_zero_map_scores_badly_instead_of_dropping_out() -> None:
    density = torch.tensor([[[0.5, 0.5], [0.0, 0.0]]])
    zero = torch.zeros_like(density)
    assert metrics.sim(zero, density).item() == 0
    assert metrics.kl(zero, density).item() == pytest.approx(math.log(0.5 / 2.0**-52))


def test_a_ground_truth_that_says_nothing_scores_nan() -> None:
    saliency = batch(picture(7)[0])
    nothing = torch.zeros_like(saliency)
    for metric in (*BY_DENSITY, *BY_FIXATIONS):
        assert metric(saliency, nothing).isnan().all()
    assert metrics.information_gain(saliency.log(), saliency.log(), nothing).isnan().all()
    assert metrics.cc(saliency, nothing + 0.25).isnan().all()


def test_a_map_holding_nan_scores_nan_and_leaves_its_neighbours_alone() -> None:
    saliency, density, counts = picture(8)
    broken = saliency.copy()
    broken[5, 8] = np.nan
    for metric, truth in [(m, density) for m in BY_DENSITY] + [(m, counts) for m in BY_FIXATIONS]:
        scores = metric(batch(broken, saliency), batch(truth, truth))
        assert scores.isnan().tolist() == [True, False]


def test_information_gain_is_minus_infinity_where_the_density_rules_out_a_fixation() -> None:
    density, baseline = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.5, 0.5]]])
    assert metrics.information_gain(density.log(), baseline.log(), torch.tensor([[[1, 1]]])).item() == -math.inf
    assert metrics.information_gain(density.log(), baseline.log(), torch.tensor([[[1, 0]]])).item() == pytest.approx(1)


# What is refused.


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.bfloat16])
def test_maps_whose_values_tie_are_refused(dtype: torch.dtype) -> None:
    coarse, fine = torch.ones(1, 4, 4).to(dtype), torch.ones(1, 4, 4)
    for metric in (*BY_DENSITY, *BY_FIXATIONS):
        with pytest.raises(TypeError, match=f"saliency must be float32 or float64, got {dtype}"):
            metric(coarse, fine)
    for metric in BY_DENSITY:
        with pytest.raises(TypeError, match="density must be float32"):
            metric(fine, coarse)


def test_maps_of_another_size_are_refused() -> None:
    for metric in (*BY_DENSITY, *BY_FIXATIONS):
        with pytest.raises(ValueError, match=r"\(1, 4, 5\).*\(1, 4, 4\)"):
            metric(torch.ones(1, 4, 4), torch.ones(1, 4, 5))
        with pytest.raises(ValueError, match=r"\(1, 5, 4\).*\(1, 4, 5\)"):
            metric(torch.ones(1, 4, 5), torch.ones(1, 5, 4))  # as many cells
        with pytest.raises(ValueError, match=r"must be \(B, H, W\)"):
            metric(torch.ones(4, 4), torch.ones(4, 4))


def test_a_log_density_given_for_a_density_is_refused() -> None:
    density = torch.full((1, 4, 4), 1 / 16)
    for metric in (metrics.sim, metrics.kl):
        with pytest.raises(ValueError, match=r"saliency must not be negative.*exp"):
            metric(density.log(), density)
        with pytest.raises(ValueError, match=r"density must not be negative.*exp"):
            metric(density, density.log())


def test_negative_counts_are_refused() -> None:
    for metric in BY_FIXATIONS:
        with pytest.raises(ValueError, match="fixation_counts must not be negative"):
            metric(torch.ones(1, 4, 4), -torch.ones(1, 4, 4))


# The other forms in use.


@given(seeds, st.sampled_from([None, 2, 4, 256]))
@few_examples
def test_every_other_form_equals_the_reference(seed: int, levels: int | None) -> None:
    saliency, density, counts = picture(seed, levels=levels)
    other, _, others = picture(seed + 1)
    maps, truth, fixations = batch(saliency), batch(density), batch(counts)
    expected = reference.sim_minmax(saliency, density)
    assert metrics.sim_minmax(maps, truth).item() == pytest.approx(expected, abs=1e-12)
    expected = reference.kl_pysaliency(saliency, density)
    assert metrics.kl_pysaliency(maps, truth).item() == pytest.approx(expected, abs=1e-11)
    for minimum in (metrics.KL_EPSILON, metrics.DREYEVE_EPSILON, 1e-3):
        score = metrics.kl_pysaliency(maps, truth, minimum=minimum).item()
        assert score == pytest.approx(reference.kl_pysaliency(saliency, density, minimum), abs=1e-11)
    expected = reference.kl_dreyeve(saliency, density)
    assert metrics.kl_dreyeve(maps, truth).item() == pytest.approx(expected, abs=2e-6)  # it is float32 by definition
    expected = reference.information_gain_mit(saliency, other, counts)
    assert metrics.information_gain_mit(maps, batch(other), fixations).item() == pytest.approx(expected, abs=1e-12)
    expected = reference.auc_judd_mit(saliency, counts)
    assert metrics.auc_judd_mit(maps, fixations, jitter=0).item() == pytest.approx(expected, abs=1e-12)
    expected = reference.shuffled_auc(saliency, counts, others)
    assert metrics.shuffled_auc(maps, fixations, batch(others)).item() == pytest.approx(expected, abs=1e-12)


def test_the_forms_on_a_3x3_picture_equal_those_worked_out_by_hand() -> None:
    saliency = torch.tensor(
        [[[1.0, 1.0, 1.0], [1.0, 5.0, 3.0], [1.0, 3.0, 2.0]]]
    )  # stretched: 4, 2, 2, 1 quarters of 9
    density = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 2.0, 2.0], [0.0, 2.0, 0.0]]])
    counts = torch.tensor([[[0, 0, 0], [0, 2, 1], [0, 0, 0]]])
    others = torch.tensor([[[0, 0, 3], [0, 0, 1], [0, 0, 0]]])
    assert metrics.sim_minmax(saliency, density).item() == pytest.approx(1 / 3 + 2 / 9 + 2 / 9)
    assert metrics.sim(saliency, density).item() == pytest.approx(5 / 18 + 3 / 18 + 3 / 18)
    expected = math.log(18 / 3) - (math.log(5) + 2 * math.log(3)) / 3
    assert metrics.kl_pysaliency(saliency, density).item() == pytest.approx(expected, abs=1e-6)
    assert metrics.kl_dreyeve(saliency, density).item() == pytest.approx(expected, abs=1e-5)
    # Two cells, 4/9 and 2/9; the baseline gives 1/3 to both.
    expected = (math.log2(4 / 3) + math.log2(2 / 3)) / 2
    assert metrics.information_gain_mit(saliency, density, counts).item() == pytest.approx(expected)
    # Without noise: (0, 1/2), then the second 3 is a false alarm: (1/7, 1), (1, 1).
    assert metrics.auc_judd_mit(saliency, counts, jitter=0).item() == pytest.approx(3 / 4 / 7 + 6 / 7)
    # The 5 twice above a 1 three times and a 3; the 3 once above the 1s and level with the 3.
    assert metrics.shuffled_auc(saliency, counts, others).item() == pytest.approx((4 + 4 + 3.5) / 12)
    # Each cell once: two of two drawn in each split; 1 above 0 and .5, .5 above 0 and level.
    assert metrics.shuffled_auc_mit(saliency, counts, others).item() == pytest.approx(3.5 / 4)


@given(seeds)
@few_examples
def test_noise_does_not_matter_where_nothing_ties(seed: int) -> None:
    saliency, _, counts = picture(seed)
    expected = reference.auc_judd_mit(saliency, counts)
    for scale in (1.0, 1e-6, 255.0):  # a density of tiny values does not drown
        maps = batch(saliency * scale)
        assert metrics.auc_judd_mit(maps, batch(counts), seed=seed).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("spread", [0.0, 6e-8])
def test_noise_breaks_ties_and_near_ties_as_noise_on_every_cell_does(spread: float) -> None:
    saliency, _, counts = picture(4, levels=2)
    saliency = saliency + spread * np.random.default_rng(1).random((6, 9))  # cells closer than the noise reaches
    many = 1500
    maps, fixations = batch(saliency).repeat(many, 1, 1), batch(counts).repeat(many, 1, 1)
    scores = metrics.auc_judd_mit(maps, fixations, seed=range(many))
    assert scores.unique().numel() > 100
    rng = np.random.default_rng(0)
    noisy = [reference.auc_judd_mit(saliency + 1e-7 * rng.random((6, 9)), counts) for _ in range(many)]
    expected = float(np.mean(noisy))
    assert scores.mean().item() == pytest.approx(expected, abs=5 * float(np.std(noisy)) / math.sqrt(many))
    assert scores.std().item() == pytest.approx(float(np.std(noisy)), rel=0.1)
    if not spread:  # without noise ties count against the map
        assert metrics.auc_judd_mit(maps[:1], fixations[:1], jitter=0).item() < expected - 0.05


@given(seeds, st.sampled_from([0.1, 0.25, 0.01]), st.sampled_from([None, 256]))
@few_examples
def test_areas_by_steps_equal_the_reference_where_all_others_are_drawn(
    seed: int, step: float, levels: int | None
) -> None:
    saliency, _, counts = picture(seed, levels=levels)
    others = np.zeros_like(counts)
    others[3, :2] = 1, 5  # two cells; counts has more in nearly all pictures
    counts[0, :2] = 1
    unit = reference.stretched(saliency)
    expected = reference.auc_by_steps(unit[counts > 0], unit[others > 0], step)
    score = metrics.shuffled_auc_mit(batch(saliency), batch(counts), batch(others), step=step, seed=seed)
    assert score.item() == pytest.approx(expected, abs=1e-12)


def test_a_value_on_a_threshold_reaches_it() -> None:
    saliency = torch.arange(11, dtype=torch.float64).reshape(1, 1, 11) / 10  # every cell lies on a threshold
    for cell in range(1, 11):
        here, below = torch.zeros(2, 1, 1, 11)
        here[..., cell], below[..., cell - 1] = 1, 1
        assert metrics.shuffled_auc_mit(saliency, here, below).item() == 1.0
        assert metrics.shuffled_auc_mit(saliency - 1e-9 * (saliency == cell / 10), here, below).item() == (
            1.0 if cell == 10 else 0.5  # stretching brings the highest value back to 1
        )


def test_sampling_comes_near_the_area_against_all() -> None:
    saliency, _, counts = picture(9)
    _, _, others = picture(10)
    counts = np.minimum(counts, 1)
    others[1:3] = 2  # more of them than fixations
    unit = reference.stretched(saliency)
    expected = reference.auc_by_steps(unit[counts > 0], unit.ravel())
    many = metrics.auc_borji(batch(saliency), batch(counts), splits=20_000)
    assert many.item() == pytest.approx(expected, abs=5e-3)
    expected = reference.auc_by_steps(unit[counts > 0], unit[others > 0])
    many = metrics.shuffled_auc_mit(batch(saliency), batch(counts), batch(others), splits=20_000)
    assert many.item() == pytest.approx(expected, abs=5e-3)
    few = metrics.shuffled_auc_mit(batch(saliency), batch(counts), batch(others), splits=10)
    assert few.item() != pytest.approx(expected, abs=1e-6)


def test_a_split_of_shuffled_auc_draws_no_cell_twice_but_one_of_auc_borji_may() -> None:
    saliency = torch.tensor([[[0.05, 0.35, 0.65, 1.0]]])
    here, others = torch.tensor([[[0, 1, 1, 0]]]), torch.tensor([[[1, 0, 1, 1]]])
    won = {
        0: 1.0,
        1: 0.75,
        2: 0.25,
        3: 0.0,
    }  # by the cell drawn: the share of the two fixations above it, ties one half
    drawn = {
        round(metrics.shuffled_auc_mit(saliency, here, others, splits=1, seed=seed).item(), 6) for seed in range(60)
    }
    assert drawn == {(won[a] + won[b]) / 2 for a, b in ((0, 2), (0, 3), (2, 3))}
    drawn = {round(metrics.auc_borji(saliency, here, splits=1, seed=seed).item(), 6) for seed in range(300)}
    assert drawn == {(won[a] + won[b]) / 2 for a in range(4) for b in range(4)}


def test_a_seed_decides_the_sample() -> None:
    saliency, _, counts = picture(11, levels=4)
    _, _, others = picture(12)
    others[1:4] = 1
    maps, fixations, negatives = batch(saliency, saliency), batch(counts, counts), batch(others, others)
    sampled: list[Callable[..., torch.Tensor]] = [
        lambda seed: metrics.auc_judd_mit(maps, fixations, seed=seed),
        lambda seed: metrics.auc_borji(maps, fixations, seed=seed),
        lambda seed: metrics.shuffled_auc_mit(maps, fixations, negatives, seed=seed),
    ]
    for metric in sampled:
        shared = metric(3)
        assert shared[0] == shared[1]
        first, second = metric([3, 4])
        assert first == shared[0]  # the place in the batch does not matter
        assert second == metric(4)[0]
        assert first != second
        with pytest.raises(ValueError, match="one for each of the 2 pictures, got 3"):
            metric([1, 2, 3])


@given(seeds)
@few_examples
def test_exact_areas_see_only_the_order_of_the_values(seed: int) -> None:
    saliency, _, counts = picture(seed)
    _, _, others = picture(seed + 1)
    for score in (
        lambda values: metrics.shuffled_auc(batch(values), batch(counts), batch(others)),
        lambda values: metrics.auc_judd_mit(batch(values), batch(counts), jitter=0),
    ):
        for monotone in (np.exp(3 * saliency), np.log(saliency + 1e-6), saliency**3 - 5):
            torch.testing.assert_close(score(monotone), score(saliency), rtol=0, atol=1e-12)
    turned = metrics.shuffled_auc(batch(-saliency), batch(counts), batch(others))
    torch.testing.assert_close(turned, 1 - metrics.shuffled_auc(batch(saliency), batch(counts), batch(others)))
    back = metrics.shuffled_auc(batch(saliency), batch(others), batch(counts))
    torch.testing.assert_close(turned, back)


@given(seeds, st.floats(0.01, 100), st.floats(-100, 100))
@few_examples
def test_stretched_forms_do_not_see_the_scale_and_the_offset_of_a_map(seed: int, scale: float, offset: float) -> None:
    saliency, density, counts = picture(seed)
    _, _, others = picture(seed + 1)
    moved = batch(scale * saliency + offset)
    for metric, truth in (
        (metrics.sim_minmax, (density,)),
        (metrics.information_gain_mit, (density, counts)),
        (metrics.auc_judd_mit, (counts,)),
    ):
        before = metric(batch(saliency), *map(batch, truth))
        torch.testing.assert_close(metric(moved, *map(batch, truth)), before, rtol=0, atol=1e-6)
    # A value may round across a threshold, so these move by one cell's share at most.
    for score in (metrics.auc_borji, lambda maps, here: metrics.shuffled_auc_mit(maps, here, batch(others))):
        assert (score(moved, batch(counts)) - score(batch(saliency), batch(counts))).abs() < 0.3


@given(seeds)
@few_examples
def test_every_area_of_a_random_map_is_near_one_half(seed: int) -> None:
    rng = np.random.default_rng(seed)
    many = 60
    maps = torch.from_numpy(rng.random((many, 12, 16)))
    counts, others = (
        torch.from_numpy(rng.multinomial(10, np.full(192, 1 / 192), many).reshape(many, 12, 16)) for _ in "ab"
    )
    cells = (counts > 0).sum((1, 2))
    for scores, chance in (
        (metrics.auc_judd(maps, counts), 0.5),
        (metrics.auc_judd_mit(maps, counts), (0.5 + 1 / (2 * cells + 2)).mean().item()),
        (metrics.auc_borji(maps, counts), 0.5),
        (metrics.shuffled_auc(maps, counts, others), 0.5),
        (metrics.shuffled_auc_mit(maps, counts, others), 0.5),
    ):
        assert abs(scores.mean().item() - chance) < 4.5 * scores.std().item() / math.sqrt(many)
        assert scores.std() > 0.02


@given(seeds)
@few_examples
def test_kl_is_never_negative_save_in_the_form_of_dreyeve(seed: int) -> None:
    first, second, _ = picture(seed)
    for one, other in ((first, second), (second, first), (first, first)):
        assert metrics.kl(batch(one), batch(other)) >= 0
        assert metrics.kl_pysaliency(batch(one), batch(other)) >= 0
    assert metrics.kl_dreyeve(batch(first), batch(first)) < 0
    assert metrics.kl_pysaliency(batch(first), batch(first)).item() == pytest.approx(0, abs=1e-12)


def test_the_three_forms_of_kl_part_where_the_map_is_zero_under_gaze() -> None:
    near, far = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    near[0, 0, :2] = 0.5
    far[0, 3, 3] = 1.0
    # log(1 / eps) for each: 36.04, 15.94; and -log(1e-20) = 46.05.
    assert metrics.kl(near, far).item() == pytest.approx(52 * math.log(2))
    assert metrics.kl_dreyeve(near, far).item() == pytest.approx(23 * math.log(2), abs=1e-5)
    assert metrics.kl_pysaliency(near, far).item() == pytest.approx(20 * math.log(10))
    overlapping = near + 0.01
    scores = [metric(overlapping, far).item() for metric in (metrics.kl, metrics.kl_dreyeve, metrics.kl_pysaliency)]
    assert scores == pytest.approx([math.log(1.16 / 0.01)] * 3, abs=2e-5)


def test_a_zero_under_gaze_is_told_and_no_other_zero() -> None:
    saliency = torch.tensor([[[0.0, 1e-30], [2.0, 3.0]]]).repeat(5, 1, 1)
    saliency[3] = 0
    # The last has fewer cells looked at than the first, and none of them is the first cell, which is 0.
    counts = torch.tensor([[[0, 1], [1, 5]], [[1, 0], [0, 9]], [[0, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 0], [0, 1]]])
    score = metrics.zeros_under_gaze(saliency, counts)
    assert score[[0, 1, 3, 4]].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert score[2].isnan()  # nobody looked anywhere
    constant, broken = torch.full((1, 2, 2), 0.25), torch.tensor([[[math.nan, 0.0], [0.0, 0.0]]])
    assert metrics.zeros_under_gaze(constant, counts[:1]).item() == 0
    assert metrics.zeros_under_gaze(broken, counts[:1]).isnan().all()
    with pytest.raises(ValueError, match="must not be negative"):
        metrics.zeros_under_gaze(-saliency, counts)


def test_a_frame_of_full_size_scores_the_same_in_float32_and_float64() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:90, :160]
    smooth = [np.exp(-((x - a) ** 2 + (y - b) ** 2) / 600) + 1e-4 for a, b in ((70, 40), (90, 50))]
    saliency, density = (batch(each / each.sum()).float() for each in smooth)
    counts, others = (
        torch.from_numpy(rng.multinomial(20, (each / each.sum()).ravel()).reshape(1, 90, 160)) for each in smooth
    )
    for score in (
        *(lambda maps, metric=metric: metric(maps, density.to(maps.dtype)) for metric in BY_DENSITY),
        *(lambda maps, metric=metric: metric(maps, counts) for metric in BY_FIXATIONS),
        lambda maps: metrics.information_gain_mit(maps, density.to(maps.dtype), counts),
        lambda maps: metrics.shuffled_auc(maps, counts, others),
        lambda maps: metrics.shuffled_auc_mit(maps, counts, others),
    ):
        assert score(saliency).item() == pytest.approx(score(saliency.double()).item(), abs=1e-6)


def test_a_float32_map_far_from_zero_loses_nothing_but_what_its_values_lack() -> None:
    saliency, density, counts = picture(15)
    maps = (batch(saliency) + 1000).float()
    exact = maps[0].double().numpy()
    truth = batch(density).float() + 100
    expected = reference.sim_minmax(exact, truth[0].double().numpy())
    assert metrics.sim_minmax(maps, truth).item() == pytest.approx(expected, abs=1e-6)
    assert metrics.nss(maps, batch(counts)).item() == pytest.approx(reference.nss(exact, counts), abs=1e-6)
    assert metrics.cc(maps, truth).item() == pytest.approx(reference.cc(exact, truth[0].double().numpy()), abs=1e-6)


@pytest.mark.parametrize("scale", [1e-40, 3e37])
def test_a_float32_map_whose_sum_leaves_float32_is_worked_out_in_float64(scale: float) -> None:
    saliency, density, counts = picture(13)
    maps = (batch(saliency) * scale).float()
    close = 1e-3 if scale < 1 else 1e-5  # the smallest float32 values have few digits
    truth = batch(density).float()
    assert metrics.sim(maps, truth).item() == pytest.approx(reference.sim(saliency, density), abs=close)
    assert metrics.sim_minmax(maps, truth).item() == pytest.approx(reference.sim_minmax(saliency, density), abs=close)
    assert metrics.nss(maps, batch(counts)).item() == pytest.approx(reference.nss(saliency, counts), abs=close)
    assert metrics.cc(maps, truth).item() == pytest.approx(reference.cc(saliency, density), abs=close)


def test_answers_at_the_edge_of_the_other_forms() -> None:
    saliency, density, counts = picture(5)
    _, _, others = picture(6)
    constant, nothing, once = torch.full((1, 6, 9), 0.25), torch.zeros(1, 6, 9), torch.zeros(1, 6, 9)
    once[0, 2, 2] = 9
    maps, truth, here, elsewhere = batch(saliency), batch(density), batch(counts), batch(others)
    # Constant maps: chance, or what a map without mass gets.
    assert metrics.sim_minmax(constant, truth).item() == 0
    for score in (
        metrics.auc_borji(constant, here),
        metrics.shuffled_auc(constant, here, elsewhere),
        metrics.shuffled_auc_mit(constant, here, elsewhere),
    ):
        assert score.item() == 0.5
    noise = metrics.auc_judd_mit(constant.repeat(900, 1, 1), here.repeat(900, 1, 1), seed=range(900))
    assert noise.mean().item() == pytest.approx(0.5 + 1 / (2 * np.count_nonzero(counts) + 2), abs=0.03)
    uniform = reference.kl(np.ones((6, 9)), density)
    assert metrics.kl_pysaliency(constant, truth).item() == pytest.approx(uniform)
    assert metrics.kl_pysaliency(nothing, truth).item() == pytest.approx(uniform)
    assert metrics.kl_dreyeve(nothing, truth) > 10
    gain = metrics.information_gain_mit(constant, truth, here).item()
    assert gain == pytest.approx(metrics.information_gain_mit(nothing, truth, here).item())
    assert gain < -40
    # Ground truth that says nothing.
    for score in (
        metrics.sim_minmax(maps, constant),
        metrics.kl_dreyeve(maps, nothing),
        metrics.kl_pysaliency(maps, nothing),
        metrics.information_gain_mit(maps, truth, nothing),
        metrics.information_gain_mit(maps, constant, here),
        metrics.auc_judd_mit(maps, nothing),
        metrics.auc_judd_mit(maps, nothing + 1),  # no cell is left that nobody looked at
        metrics.auc_borji(maps, nothing),
        metrics.auc_borji(maps, once),  # the MATLAB code asks for two cells
        metrics.shuffled_auc(maps, nothing, elsewhere),
        metrics.shuffled_auc(maps, here, nothing),
        metrics.shuffled_auc_mit(maps, nothing, elsewhere),
        metrics.shuffled_auc_mit(maps, here, nothing),
    ):
        assert score.isnan().all()
    assert not metrics.shuffled_auc_mit(maps, once, elsewhere).isnan()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_map_scores_nan_in_every_form_and_leaves_its_neighbours_alone(value: float) -> None:
    saliency, density, counts = picture(8)
    _, _, others = picture(9)
    counts[5, 8] = others[5, 8] = 0
    broken = saliency.copy()
    broken[5, 8] = value  # nobody looked there
    maps, truth, here, elsewhere = batch(broken, saliency), *(batch(each, each) for each in (density, counts, others))
    scores = [
        *(metric(maps, truth) for metric in BY_DENSITY),
        metrics.nss(maps, here),
        metrics.auc_judd_mit(maps, here),
        metrics.auc_borji(maps, here),
        metrics.shuffled_auc_mit(maps, here, elsewhere),
        metrics.information_gain_mit(maps, truth, here),
    ]
    if math.isnan(value):  # infinity has its place in an order, and in a log density
        scores += [metrics.shuffled_auc(maps, here, elsewhere), metrics.information_gain(maps, truth, here)]
    for score in scores:
        assert score.isnan().tolist() == [True, False]


def test_options_out_of_range_are_refused() -> None:
    maps, counts = torch.rand(1, 4, 4), torch.ones(1, 4, 4)
    with pytest.raises(ValueError, match="jitter must not be negative, got -1"):
        metrics.auc_judd_mit(maps, counts, jitter=-1)
    for step in (0, 1.5, -0.1):
        with pytest.raises(ValueError, match="step must be above 0 and at most 1"):
            metrics.auc_borji(maps, counts, step=step)
    with pytest.raises(ValueError, match="splits must be at least 1, got 0"):
        metrics.shuffled_auc_mit(maps, counts, counts, splits=0)
    for minimum in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="minimum must be at least 1e-30 and finite"):
            metrics.kl_pysaliency(maps, maps, minimum=minimum)
    with pytest.raises(ValueError, match="other_counts must not be negative"):
        metrics.shuffled_auc(maps, counts, -counts)
    with pytest.raises(ValueError, match=r"other_counts is \(1, 4, 5\)"):
        metrics.shuffled_auc(maps, counts, torch.ones(1, 4, 5))
    with pytest.raises(TypeError, match=r"baseline must be float32 or float64, got torch\.uint8"):
        metrics.information_gain_mit(maps, counts.byte(), counts)


def test_a_batch_of_no_pictures_has_no_scores() -> None:
    nothing = torch.zeros(0, 4, 5)
    for metric in (*BY_DENSITY, *BY_FIXATIONS):
        assert metric(nothing, nothing).shape == (0,)
    assert metrics.shuffled_auc_mit(nothing, nothing, nothing).shape == (0,)


# The earth mover's distance.


@pytest.fixture
def transport() -> None:
    pytest.importorskip("ot", reason="POT is not installed (the extra emd)")


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("seed", range(4))
def test_emd_is_the_optimum_of_the_linear_programme(seed: int) -> None:
    from scipy.optimize import linprog

    saliency, density, _ = picture(seed)
    saliency, density = saliency[:3, :4], density[:3, :4]
    cells = [(row, column) for row in range(3) for column in range(4)]
    work = [math.dist(a, b) for a in cells for b in cells]
    leaving, arriving = np.kron(np.eye(12), np.ones(12)), np.kron(np.ones(12), np.eye(12))
    masses = np.concatenate([saliency.ravel() / saliency.sum(), density.ravel() / density.sum()])
    expected = linprog(work, A_eq=np.vstack([leaving, arriving]), b_eq=masses).fun
    assert metrics.emd(batch(saliency), batch(density), cell=1).item() == pytest.approx(expected, abs=1e-8)


@pytest.mark.usefixtures("transport")
def test_emd_of_a_3x3_picture_equals_that_worked_out_by_hand() -> None:
    saliency = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    density = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]])
    # A quarter moves from (0, 0) to (0, 1), one from (2, 2) to (2, 0).
    assert metrics.emd(saliency, density, cell=1).item() == pytest.approx((1 + 2) / 4)


@pytest.mark.usefixtures("transport")
def test_emd_is_how_far_the_mass_moves() -> None:
    here, there = torch.zeros(2, 1, 96, 160)
    here[0, 16, 16] = there[0, 80, 112] = 3.0
    assert metrics.emd(here, there).item() == pytest.approx(math.hypot(2, 3))  # squares of 32 pixels
    assert metrics.emd(here, there, cell=16).item() == pytest.approx(math.hypot(4, 6))
    assert metrics.emd(here, here).item() == 0
    both = (here + there) / 2
    assert metrics.emd(both, there).item() == pytest.approx(math.hypot(2, 3) / 2)
    assert metrics.emd(5 * here, there).item() == pytest.approx(metrics.emd(here, there).item())
    # 100 columns: the last square holds 4 of them, its middle lies at 98 / 32.
    cut, end = torch.zeros(2, 1, 32, 100)
    cut[0, 0, 0] = end[0, 0, 99] = 1.0
    assert metrics.emd(cut, end).item() == pytest.approx((98 - 16) / 32)


@pytest.mark.usefixtures("transport")
def test_emd_at_the_edge() -> None:
    _, density, _ = picture(3)
    truth, nothing = batch(density), torch.zeros(1, 6, 9, dtype=torch.float64)
    worst = max(
        sum(q * math.dist(at, cell) for cell, q in np.ndenumerate(density / density.sum())) for at in np.ndindex(6, 9)
    )
    assert metrics.emd(nothing, truth, cell=1).item() == pytest.approx(worst)
    assert metrics.emd(truth, nothing, cell=1).isnan().all()
    broken = truth.clone()
    broken[0, 1, 1] = math.nan
    assert metrics.emd(torch.cat([broken, truth]), truth.repeat(2, 1, 1), cell=1).isnan().tolist() == [True, False]
    with pytest.raises(ValueError, match="cell=1 makes 100 x 100 squares"):
        metrics.emd(torch.ones(1, 100, 100), torch.ones(1, 100, 100), cell=1)
    with pytest.raises(ValueError, match="cell must be at least 1 pixel, got 0"):
        metrics.emd(truth, truth, cell=0)


def test_emd_without_pot_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ConfigError, match=r"pip install 'vidsal\[emd\]'"):
        metrics.emd(torch.ones(1, 4, 4), torch.ones(1, 4, 4))


# Against pysaliency, where it defines the same thing.


@pytest.fixture(scope="module")
def pysaliency() -> ModuleType:
    if importlib.util.find_spec("pysaliency") is None:
        pytest.skip("pysaliency is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("pysaliency")


@pytest.mark.parametrize("levels", [None, 6])
def test_scores_equal_those_of_pysaliency(pysaliency: ModuleType, levels: int | None) -> None:
    from pysaliency import metrics as theirs

    for seed in range(5):
        saliency, density, counts = picture(seed, levels=levels)
        maps, truth, fixations = batch(saliency), batch(density), batch(counts)
        rows, columns = np.array(reference.fixation_list(counts)).T
        close = partial(pytest.approx, abs=1e-6)
        assert metrics.nss(maps, fixations).item() == close(theirs.NSS(saliency, columns, rows).mean())
        assert metrics.cc(maps, truth).item() == close(theirs.CC(saliency, density))
        assert metrics.sim(maps, truth).item() == close(theirs.SIM(saliency, density))
        assert metrics.kl(maps + 0.01, truth).item() == close(theirs.MIT_KLDiv(saliency + 0.01, density))
        exact = {"log_regularization": metrics.KL_EPSILON, "quotient_regularization": metrics.KL_EPSILON}
        with np.errstate(divide="ignore"):  # they take the log of the map's zeros, and round epsilon by default
            expected = theirs.image_based_kl_divergence(saliency, density, minimum_value=0, **exact)
        assert metrics.kl(maps, truth).item() == close(expected)
        assert metrics.kl_pysaliency(maps, truth).item() == close(theirs.image_based_kl_divergence(saliency, density))


def test_areas_and_gains_equal_those_of_pysaliency_models(pysaliency: ModuleType) -> None:
    pictures = [picture(seed) for seed in range(4)]
    stimuli = pysaliency.Stimuli([np.full((6, 9, 3), i, np.uint8) for i in range(4)])
    places = [np.array(reference.fixation_list(counts)).T for _, _, counts in pictures]
    fixations = pysaliency.FixationTrains.from_fixation_trains(
        xs=[columns + 0.5 for _, columns in places],
        ys=[rows + 0.5 for rows, _ in places],
        ts=[np.arange(7.0)] * 4,
        ns=range(4),
        subjects=[0] * 4,
    )

    class Maps(pysaliency.SaliencyMapModel):
        def _saliency_map(self, stimulus: np.ndarray) -> np.ndarray:
            return pictures[stimulus[0, 0, 0]][0]

    class Densities(pysaliency.Model):
        def __init__(self, column: int) -> None:
            super().__init__()
            self.column = column

        def _log_density(self, stimulus: np.ndarray) -> np.ndarray:
            values = pictures[stimulus[0, 0, 0]][self.column] + 0.1
            return np.log(values / values.sum())

    maps, baselines, counts = (batch(*column) for column in zip(*pictures, strict=True))
    others = counts.sum(0) - counts
    gains = Densities(0).information_gains(stimuli, fixations, Densities(1))
    ours_and_theirs = (
        (metrics.auc_judd(maps, counts), Maps().AUCs(stimuli, fixations)),
        (metrics.shuffled_auc(maps, counts, others), Maps().AUCs(stimuli, fixations, nonfixations="shuffled")),
        (metrics.nss(maps, counts), Maps().NSSs(stimuli, fixations)),
        (metrics.information_gain(*(log_density(values) for values in (maps, baselines)), counts), gains),
    )
    for ours, theirs in ours_and_theirs:
        expected = [theirs[fixations.n == n].mean() for n in range(4)]
        assert ours.tolist() == pytest.approx(expected, abs=1e-6)


# What is shared between metrics.


def test_metrics_score_prepared_maps_as_they_do_tensors() -> None:
    pictures = [picture(seed, levels=5) for seed in range(3)]
    maps, truth, counts = (batch(*column) for column in zip(*pictures, strict=True))
    others = batch(*(picture(seed)[2] for seed in (7, 8, 9)))
    prepared, target = metrics.Maps(maps), metrics.Maps(truth, name="density")
    fixated, negatives = metrics.FixatedCells.from_counts(counts), metrics.FixatedCells.from_counts(others)
    for _ in range(2):  # the second time from what was kept
        for metric in BY_DENSITY:
            assert torch.equal(metric(prepared, target), metric(maps, truth))
        for metric in BY_FIXATIONS:
            assert torch.equal(metric(prepared, fixated), metric(maps, counts))
        for shuffled in (metrics.shuffled_auc, metrics.shuffled_auc_mit):
            assert torch.equal(shuffled(prepared, fixated, negatives), shuffled(maps, counts, others))
        gain = metrics.information_gain_mit(prepared, target, fixated)
        assert torch.equal(gain, metrics.information_gain_mit(maps, truth, counts))
    with pytest.raises(ValueError, match=r"fixation_counts is \(3, 6, 9\), the map \(1, 6, 9\)"):
        metrics.nss(maps[:1], fixated)
    with pytest.raises(TypeError, match="got ndarray; NumPy arrays need"):
        metrics.nss(maps.numpy(), counts)
    assert repr(prepared) == "Maps((3, 6, 9), torch.float64)"
    assert repr(fixated).startswith("FixatedCells((3, 6, 9), at most ")


def test_sums_are_kept_as_long_as_the_pair_and_no_maps_longer_than_themselves() -> None:
    maps, truth = (metrics.Maps(batch(array)) for array in picture(0)[:2])
    pair = inputs.Pair.of(maps, truth)
    assert inputs.Pair.of(maps, truth) is pair
    assert inputs.Pair.of(maps, metrics.Maps(truth.values)) is not pair
    gc.disable()
    try:
        gone = weakref.ref(maps)
        metrics.cc(maps, truth)
        del maps, pair
        assert gone() is None
    finally:
        gc.enable()


def test_a_picture_of_many_bands_scores_as_one_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, truth, _ = (batch(array) for array in picture(14))
    expected = [metric(maps, truth) for metric in BY_DENSITY]
    monkeypatch.setattr(inputs, "_BAND", 20)  # two rows of nine
    for metric, score in zip(BY_DENSITY, expected, strict=True):
        exact = 1e-6 if metric is metrics.kl_dreyeve else 1e-12
        torch.testing.assert_close(metric(maps, truth), score, rtol=0, atol=exact)


def test_the_ways_of_other_devices_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(seed, levels=5) for seed in range(4)]
    maps, truth, counts = (batch(*column) for column in zip(*pictures, strict=True))
    others = batch(*(picture(seed)[2] for seed in (7, 8, 9, 10)))

    def scores() -> list[torch.Tensor]:
        return [
            *(metric(maps, truth) for metric in BY_DENSITY),
            *(metric(maps, counts) for metric in BY_FIXATIONS),
            metrics.information_gain_mit(maps - 3, truth, counts),
            metrics.shuffled_auc(maps, counts, others),
            metrics.shuffled_auc_mit(maps, counts, others),
        ]

    here = scores()
    monkeypatch.setattr(inputs, "on_cpu", lambda values: False)
    for there, score in zip(scores(), here, strict=True):
        torch.testing.assert_close(there, score, rtol=0, atol=1e-6)  # one form is float32 by definition


# The fixations of others.


def pool_of_videos() -> metrics.NegativePool:
    """Video a has pictures 0 to 3, b 4 to 23, c 24; picture i looks at both rows of column i of 2 x 25 pixels."""
    points = [np.array([[i + 0.5, 0.5], [i + 0.5, 1.5]], np.float32) for i in range(25)]
    return metrics.NegativePool(points, [(2, 25)] * 25, ["a"] * 4 + ["b"] * 20 + ["c"])


def lenders(drawn: metrics.FixatedCells) -> set[int]:
    ((first, second),) = drawn.counts().tolist()
    assert first == second
    return set(np.flatnonzero(first).tolist())


def test_all_other_videos_lend_all_their_fixations() -> None:
    pool = pool_of_videos()
    assert len(pool) == 25
    for index, own in ((0, range(4)), (1, range(4)), (10, range(4, 24)), (24, [24]), (2, range(4))):
        assert lenders(pool.draw([index], form="all")) == set(range(25)) - set(own)
    assert lenders(pool.draw([0], form="all", own_video=True)) == set(range(25))
    together = pool.draw([0, 10, 24], form="all").counts()
    for row, index in enumerate((0, 10, 24)):
        assert torch.equal(together[row : row + 1], pool.draw([index], form="all").counts())


def test_drawn_pictures_are_of_other_videos() -> None:
    pool = pool_of_videos()
    for seed in range(30):
        one_of_each = lenders(pool.draw([24], form="mit", seed=seed))
        assert len(one_of_each) == 2
        assert min(one_of_each) < 4 <= max(one_of_each) < 24
        from_all = lenders(pool.draw([0], form="dhf1k", seed=seed))
        assert len(from_all) == 10
        assert not from_all & set(range(4))
    assert len(lenders(pool.draw([0], form="dhf1k", pictures=50))) == 21
    with_own = [lenders(pool.draw([5], form="dhf1k", pictures=20, own_video=True, seed=seed)) for seed in range(20)]
    assert any(5 in drawn for drawn in with_own)


def test_a_draw_is_decided_by_the_seed_and_the_picture() -> None:
    pool = pool_of_videos()
    for form in ("mit", "dhf1k"):
        first = lenders(pool.draw([24], form=form, seed=1, pictures=1))
        assert first == lenders(pool_of_videos().draw([24], form=form, seed=1, pictures=1))
        assert len({min(lenders(pool.draw([24], form=form, seed=seed, pictures=1))) for seed in range(40)}) > 10
        assert len({min(lenders(pool.draw([index], form=form, pictures=2))) for index in range(4, 24)}) > 2
        both = pool.draw([24, 3], form=form, seed=1, pictures=1)
        assert torch.equal(both.counts()[:1], pool.draw([24], form=form, seed=1, pictures=1).counts())


def test_long_videos_lend_more_only_where_pictures_are_drawn_from_the_list_of_all() -> None:
    pool = pool_of_videos()
    of_b = {
        form: np.mean([min(lenders(pool.draw([24], form=form, pictures=1, seed=seed))) >= 4 for seed in range(400)])
        for form in ("mit", "dhf1k")
    }
    assert of_b["mit"] == pytest.approx(1 / 2, abs=0.1)
    assert of_b["dhf1k"] == pytest.approx(20 / 24, abs=0.08)


def test_points_are_brought_to_the_size_of_the_picture() -> None:
    seen = np.array([[0.0, 0.0], [99.99, 49.99], [50.0, 25.0], [50.0, 24.9], [100.0, 10.0], [-0.1, 3.0]])
    pool = metrics.NegativePool([np.zeros((0, 2)), seen], [(4, 8), (50, 100)], ["a", "b"])
    expected = torch.zeros(1, 4, 8, dtype=torch.float64)
    expected[0, (0, 3, 2, 1), (0, 7, 4, 4)] = 1  # two points lie beside the picture
    assert torch.equal(pool.draw([0], form="all").counts(), expected)
    assert pool.draw([0], form="mit", height=1, width=2).counts().tolist() == [[[1, 3]]]
    assert pool.draw([1], form="dhf1k").shape == (1, 50, 100)
    assert not pool.draw([1], form="all").weights.any()  # nobody else was looked at


def test_cells_of_points_are_those_of_their_counts() -> None:
    rng = np.random.default_rng(0)
    points = [rng.uniform(-1, 8, (n, 2)) for n in (30, 0, 1)]
    dense = np.zeros((3, 6, 7))
    for picture_counts, each in zip(dense, points, strict=True):
        for x, y in each:
            if 0 <= x < 7 and 0 <= y < 6:
                picture_counts[int(y), int(x)] += 1
    found, expected = (
        metrics.FixatedCells.from_points(points, height=6, width=7),
        metrics.FixatedCells.from_counts(batch(*dense)),
    )
    assert torch.equal(found.cells, expected.cells)
    assert torch.equal(found.weights, expected.weights)
    assert torch.equal(found.counts(), batch(*dense))
    assert found.to("cpu").shape == (3, 6, 7)


def test_a_pool_refuses_what_it_cannot_place() -> None:
    points = [np.zeros((1, 2))]
    with pytest.raises(ValueError, match="one entry a picture, got 1, 2, 1"):
        metrics.NegativePool(points, [(4, 4)] * 2, ["a"])
    with pytest.raises(ValueError, match=r"points\[0\] must be \(n, 2\), got \(3,\)"):
        metrics.NegativePool([np.zeros(3)], [(4, 4)], ["a"])
    pool = metrics.NegativePool(points, [(4, 4)], ["a"])
    with pytest.raises(IndexError, match="picture 1 of 1"):
        pool.draw([1], form="all")
    with pytest.raises(ValueError, match="form must be all, mit or dhf1k, got 'some'"):
        pool.draw([0], form="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pictures must be at least 1"):
        pool.draw([0], form="mit", pictures=0)


# The meter.


def test_the_meter_gives_the_mean_over_pictures_however_they_are_grouped() -> None:
    pictures = [picture(seed) for seed in range(7)]
    maps, truth, counts = (batch(*column) for column in zip(*pictures, strict=True))
    whole, ones = metrics.ScoreMeter(), metrics.ScoreMeter()
    whole.update(maps, truth, counts)
    for i in reversed(range(7)):
        ones.update(maps[i : i + 1], truth[i : i + 1], counts[i : i + 1])
    assert whole.mean() == pytest.approx(ones.mean(), abs=1e-14)
    assert len(whole) == len(ones) == 7
    expected = {
        "nss": np.mean([reference.nss(s, c) for s, _, c in pictures]),
        "cc": np.mean([reference.cc(s, d) for s, d, _ in pictures]),
        "sim": np.mean([reference.sim(s, d) for s, d, _ in pictures]),
        "kl": np.mean([reference.kl(s, d) for s, d, _ in pictures]),
        "auc_judd": np.mean([reference.auc_by_pairs(s, c) for s, _, c in pictures]),
    }
    assert whole.mean() == pytest.approx(expected, abs=1e-12)
    assert whole.scores()["nss"] == pytest.approx([reference.nss(s, c) for s, _, c in pictures], abs=1e-12)


def test_the_meter_counts_the_pictures_behind_each_mean() -> None:
    (first, density, counts), (second, _, _) = picture(0), picture(1)
    meter = metrics.ScoreMeter()
    meter.update(batch(first, second), batch(density, density), batch(counts, np.zeros_like(counts)))
    assert meter.counts() == {"nss": 1, "cc": 2, "sim": 2, "kl": 2, "auc_judd": 1}
    assert meter.mean()["nss"] == pytest.approx(reference.nss(first, counts), abs=1e-12)


def test_an_empty_meter_has_no_mean() -> None:
    meter = metrics.ScoreMeter()
    meter.update(*(batch(array) for array in picture(0)))
    meter.reset()
    assert len(meter) == 0
    assert all(math.isnan(value) for value in meter.mean().values())
    assert set(meter.counts().values()) == {0}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_meter_refuses_a_broken_map_and_adds_nothing(value: float) -> None:
    maps, truth, counts = (batch(array) for array in picture(0))
    broken = maps.clone()
    broken[0, 0, 0] = value
    meter = metrics.ScoreMeter()
    with pytest.raises(ValueError, match="saliency holds NaN or infinity"):
        meter.update(broken, truth, counts)
    with pytest.raises(ValueError, match="must not be negative"):
        meter.update(maps, truth, -counts)
    assert len(meter) == 0


def test_the_meter_scores_by_every_metric_it_knows(transport: None) -> None:
    everything = [picture(seed) for seed in range(3)]
    maps, truth, counts = (batch(*column) for column in zip(*everything, strict=True))
    baseline = batch(*(picture(seed)[1] for seed in (4, 5, 6)))
    forms: tuple[metrics.NegativeForm, ...] = ("all", "mit", "dhf1k")
    negatives = {form: batch(*(picture(10 * i + n)[2] for n in (2, 3, 4))) for i, form in enumerate(forms)}
    meter = metrics.ScoreMeter(list(metrics.METRICS))
    meter.update(maps, truth, counts, baseline=baseline, negatives=negatives, seed=[5, 6, 7])
    expected = {
        "kl_pysaliency": metrics.kl_pysaliency(maps, truth),
        "auc_borji": metrics.auc_borji(maps, counts, seed=[5, 6, 7]),
        "shuffled_auc": metrics.shuffled_auc(maps, counts, negatives["all"]),
        "shuffled_auc_mit": metrics.shuffled_auc_mit(maps, counts, negatives["mit"], seed=[5, 6, 7]),
        "shuffled_auc_dhf1k": metrics.shuffled_auc_mit(maps, counts, negatives["dhf1k"], seed=[5, 6, 7]),
        "information_gain_mit": metrics.information_gain_mit(maps, baseline, counts),
        "emd": metrics.emd(maps, truth),
    }
    for name, scores in expected.items():
        assert meter.scores()[name] == pytest.approx(scores.tolist(), abs=1e-12)
    densities = [(s / s.sum(), b / b.sum()) for s, b in zip(maps.numpy(), baseline.numpy(), strict=True)]
    gains = [
        -math.inf if (density[c > 0] == 0).any() else reference.information_gain(density, base, c)
        for (density, base), (_, _, c) in zip(densities, everything, strict=True)
    ]
    assert meter.scores()["information_gain"] == pytest.approx(gains, abs=1e-12)
    assert set(meter.counts().values()) == {3}


def test_the_meter_asks_for_what_its_metrics_need() -> None:
    maps, truth, counts = (batch(array) for array in picture(0))
    with pytest.raises(ConfigError, match="there is no metric 'auc'; known are nss, cc, "):
        metrics.ScoreMeter(["nss", "auc"])
    for names, missing in (
        (["cc"], "cc needs density"),
        (["information_gain"], "information_gain needs baseline"),
        (["nss", "shuffled_auc_dhf1k"], "shuffled_auc_dhf1k needs negatives dhf1k"),
    ):
        meter = metrics.ScoreMeter(names)
        with pytest.raises(ConfigError, match=missing):
            meter.update(maps, None, counts, negatives={"mit": counts})
        assert len(meter) == 0
    meter = metrics.ScoreMeter(["auc_judd"])
    meter.update(maps, fixation_counts=counts)
    assert len(meter) == 1
    meter = metrics.ScoreMeter(["cc"])
    meter.update(maps, truth)
    assert meter.names == ("cc",)


# The page.


def test_the_numbers_of_the_page_are_those_the_benchmark_wrote() -> None:
    root = Path(__file__).parents[1]
    module = importlib.import_module("bench_metrics")
    report = json.loads((root / "docs" / "reference" / "metrics.json").read_text(encoding="utf-8"))
    page = (root / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert module.with_tables(page, report) == page
    report["speed"]["meter_ms"] = 1234.0
    assert "1234.0" in module.with_tables(page, report)
    assert module.failures(report) == []


def test_the_page_lists_every_metric() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", page.split("## Edge cases")[0], re.MULTILINE)
    assert listed == list(metrics.METRICS)


@pytest.mark.gpu
def test_scores_on_a_gpu_equal_those_on_the_cpu() -> None:
    pictures = [picture(seed, levels=4) for seed in range(3)]
    columns = [batch(*column) for column in zip(*pictures, strict=True)]
    others = batch(*(picture(seed)[2] for seed in (7, 8, 9)))
    scores = []
    for device in ("cpu", "cuda"):
        maps, truth, counts, negatives = (values.to(device) for values in (*columns, others))
        scores.append(
            [
                *(metric(maps, truth) for metric in BY_DENSITY),
                *(
                    metric(maps, counts, **seeds)
                    for metric, seeds in zip(BY_FIXATIONS, ({}, {}, {"seed": [1, 2, 3]}, {"seed": 4}), strict=True)
                ),
                metrics.information_gain(log_density(maps), log_density(truth), counts),
                metrics.information_gain_mit(maps, truth, counts),
                metrics.shuffled_auc(maps, counts, negatives),
                metrics.shuffled_auc_mit(maps, counts, negatives),
            ]
        )
    for here, there in zip(*scores, strict=True):
        assert there.device.type == "cuda"
        torch.testing.assert_close(there.cpu(), here, rtol=0, atol=2e-6)  # one form is float32 by definition


@given(seeds, st.sampled_from([None, 3]), st.sampled_from([1, 5, inputs.COUNTED, inputs.COUNTED + 1]))
@few_examples
def test_cells_below_few_values_are_counted_as_in_the_order_of_all(seed: int, levels: int | None, many: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.random((2, 9, 13)) if levels is None else rng.integers(levels, size=(2, 9, 13)).astype(float)
    values = torch.from_numpy(drawn).float()
    maps = inputs.Maps(values, name="saliency")
    wanted = maps.at(torch.from_numpy(rng.integers(maps.cells, size=(2, many))))
    below, not_above = maps.count_below(wanted)
    assert ("ordered" in maps.__dict__) == (many > inputs.COUNTED)
    flat = values.flatten(1)[:, None]
    assert torch.equal(below, (flat < wanted[:, :, None]).sum(2))
    assert torch.equal(not_above, (flat <= wanted[:, :, None]).sum(2))


@given(
    seeds,
    st.sampled_from([None, 3]),
    st.sampled_from([1, 3, 4, 20, inputs.COUNTED + 1]),
    st.sampled_from([0.0, 0.01, 0.6]),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([0.0, -0.5]),
)
@few_examples
def test_cells_in_ranges_of_values_are_those_of_the_whole_order(
    seed: int, levels: int | None, many: int, reach: float, dtype: torch.dtype, lowest: float
) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.random((2, 9, 13)) if levels is None else rng.integers(levels, size=(2, 9, 13)) / levels
    maps = inputs.Maps(torch.from_numpy(drawn + lowest).to(dtype))
    for picture in range(2):
        cells = maps.values[picture].flatten().numpy()
        middle = np.sort(rng.choice(cells, many))
        low, high = np.maximum(middle - reach, cells.min()).astype(cells.dtype), (middle + reach).astype(cells.dtype)
        below, near = maps.near(picture, low, high)
        assert below.tolist() == [int((cells < one).sum()) for one in low]
        inside = ((cells[:, None] >= low) & (cells[:, None] <= high)).any(1)
        assert near.tolist() == np.sort(cells[inside]).tolist()
    assert ("ordered" in maps.__dict__) == (many > inputs.COUNTED)


def test_the_noise_is_drawn_alike_whether_a_map_is_sorted_or_not() -> None:
    rng = np.random.default_rng(5)
    soft = np.maximum(rng.random((90, 160)) - 0.5, 0).astype(np.float32) + 1e-6  # half a plateau
    values = torch.from_numpy(soft)[None]
    for points in (1, 12):
        fixated = inputs.FixatedCells.from_points([rng.uniform((0, 0), (160, 90), (points, 2))], height=90, width=160)
        plain, sorted_before = inputs.Maps(values), inputs.Maps(values)
        assert len(sorted_before.ordered)
        for jitter in (0.0, 1e-7, 0.01):
            one, other = (metrics.auc_judd_mit(each, fixated, jitter=jitter, seed=3) for each in (plain, sorted_before))
            assert torch.equal(one, other)
        assert "ordered" not in plain.__dict__


def test_means_over_fixations_are_the_means_of_what_the_meter_keeps_of_each() -> None:
    pictures = [picture(seed) for seed in (1, 2)]
    maps, truth, counts = (batch(*column) for column in zip(*pictures, strict=True))
    fixated = inputs.FixatedCells.from_counts(counts)
    meter = metrics.ScoreMeter([name for name, metric in metrics.METRICS.items() if metric.at_fixations])
    assert meter.names == ("nss", "auc_judd", "shuffled_auc", "information_gain")
    meter.update(maps, None, fixated, baseline=truth, negatives={"all": batch(*(picture(s)[2] for s in (7, 8)))})
    for name, values in meter.at_fixations().items():
        for own, weights, score in zip(values, fixated.weights.numpy(), meter.scores()[name], strict=True):
            assert np.average(own[weights > 0], weights=weights[weights > 0]) == pytest.approx(score, rel=1e-9)
            assert own[weights > 0].std() > 0
