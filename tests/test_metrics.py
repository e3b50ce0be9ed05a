"""The metrics against a NumPy reference, hand-computed tables and the properties that their definitions promise."""

from __future__ import annotations

import math
from collections.abc import Callable

import metrics_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsal import metrics

Pair = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

BY_FIXATIONS: tuple[Pair, ...] = (metrics.nss, metrics.auc_judd)
BY_DENSITY: tuple[Pair, ...] = (metrics.cc, metrics.sim, metrics.kl)
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


@pytest.mark.gpu
def test_scores_on_a_gpu_equal_those_on_the_cpu() -> None:
    pictures = [picture(seed, levels=4) for seed in range(3)]
    maps, truth, counts = (batch(*column) for column in zip(*pictures, strict=True))
    for metric, target in [(metric, truth) for metric in BY_DENSITY] + [(metric, counts) for metric in BY_FIXATIONS]:
        torch.testing.assert_close(metric(maps.cuda(), target.cuda()).cpu(), metric(maps, target))
