"""Densities with known courses in time come in; the averages must be those of the definition."""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made import make_model

from vidsal.errors import ConfigError
from vidsal.frames import FrameBatch, Picture, SaliencyBatch
from vidsal.pipe.options import RecurrenceOptions
from vidsal.pipe.predict import predict
from vidsal.shots import CutOptions
from vidsal.smooth.exponential import first_order_hold
from vidsal.smooth.options import SmoothOptions

KINDS = ("exponential", "motion", "gaussian")


def make(
    density: npt.ArrayLike, times: Sequence[float], cuts: Sequence[int] = (), *, first: int = 0, pictures: bool = False
) -> SaliencyBatch:
    maps = torch.tensor(np.asarray(density, np.float64)).float()
    count = len(times)
    cut = np.isin(np.arange(count), cuts)
    return SaliencyBatch(
        index=np.arange(first, first + count),
        pts_seconds=np.asarray(times, np.float64),
        shot=np.cumsum(cut),
        cut=cut,
        log_density=maps.log(),
        height=20,
        width=40,
        pictures=tuple(Picture(rgb=lambda: np.zeros((20, 40, 3), np.uint8), pts=i) for i in range(count))
        if pictures
        else (),
    )


def texture(height: int, width: int, seed: int = 4) -> npt.NDArray[np.uint8]:
    """Something to see everywhere, in colour."""
    noise = np.random.default_rng(seed).random((height, width, 3), np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2) * 0.7 + cv2.GaussianBlur(noise, (0, 0), 7) * 1.5
    low, high = np.percentile(soft, (1, 99))
    return np.clip((soft - low) / (high - low) * 255, 0, 255).astype(np.uint8)


STILL = texture(60, 80)


def shown(batch: SaliencyBatch, frames: npt.NDArray[np.uint8] | None = None) -> FrameBatch:
    """The frames behind a batch; one picture that stands still unless given."""
    if frames is None:
        frames = np.repeat(STILL[None], len(batch), axis=0)
    return FrameBatch(batch.index, batch.pts_seconds, frames, batch.height, batch.width)


def smooth(
    kind: str, *batches: SaliencyBatch, tau: float = 0.15, frames: npt.NDArray[np.uint8] | None = None
) -> SaliencyBatch:
    """All frames that come out, joined."""
    smoother = SmoothOptions(smoothing=kind, time_constant_seconds=tau).make()  # type: ignore[arg-type]
    out: list[SaliencyBatch] = []
    for batch in batches:
        first = int(batch.index[0] - batches[0].index[0])
        smoother.watch(shown(batch, None if frames is None else frames[first : first + len(batch)]))
        out += smoother.update(batch)
    out += smoother.flush()
    return SaliencyBatch.join(out)


def two_cells(share: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A 1x2 map whose left cell holds `share`: one number over time."""
    left = np.asarray(share, np.float64)
    return np.stack([left, 1 - left], axis=-1)[:, None, :]


def left(batch: SaliencyBatch) -> npt.NDArray[np.float64]:
    return batch.density[:, 0, 0].double().numpy()


def wave(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 0.5 + 0.3 * np.sin(2 * np.pi * times / 0.9) + 0.1 * np.sin(2 * np.pi * times / 0.4 + 1)


def random_maps(count: int, seed: int = 0) -> npt.NDArray[np.float64]:
    maps = np.random.default_rng(seed).random((count, 3, 5)) ** 3
    return maps / maps.sum(axis=(1, 2), keepdims=True)


def by_definition(
    kind: str, signal: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], end: float, at: float, tau: float
) -> float:
    """The filter of a continuous signal on [0, end] by brute force: 200,000 steps of the midpoint rule."""
    low, high = (max(0.0, at - 3 * tau), min(end, at + 3 * tau)) if kind == "gaussian" else (0.0, at)
    step = (high - low) / 200_000
    middle = low + (np.arange(200_000) + 0.5) * step
    values = signal(middle)
    if kind != "gaussian":
        weights = np.exp(-(at - middle) / tau) / tau * step
        return float((weights * values).sum() + math.exp(-at / tau) * signal(np.zeros(1))[0])
    weights = np.exp(-(((middle - at) / tau) ** 2) / 2)
    return float((weights * values).sum() / weights.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_the_average_is_the_continuous_filter_of_the_line_through_the_frames(kind: str) -> None:
    rng = np.random.default_rng(1)
    times = np.concatenate([[0.0], np.cumsum(rng.uniform(0.005, 0.2, 19))])  # variable frame rate
    values = rng.uniform(0.1, 0.9, 20)
    answer = left(smooth(kind, make(two_cells(values), times.tolist())))
    for i in (1, 7, 12, 19):
        expected = by_definition(kind, lambda t: np.interp(t, times, values), times[-1], times[i], 0.15)
        assert answer[i] == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_25_and_50_frames_a_second_agree_at_the_same_instants(kind: str) -> None:
    slow, fast = np.arange(50) / 25, np.arange(99) / 50
    one = left(smooth(kind, make(two_cells(wave(slow)), slow.tolist())))
    two = left(smooth(kind, make(two_cells(wave(fast)), fast.tolist())))
    assert np.abs(one - two[::2]).max() < 5e-3
    # The waves themselves are smoothed by far more than that, and counting frames would not pass.
    assert np.abs(one - wave(slow)).max() > 0.05
    miscounted = left(smooth(kind, make(two_cells(wave(fast)), (fast * 2).tolist())))
    assert np.abs(one - miscounted[::2]).max() > 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_course_of_straight_lines_25_and_50_agree_to_rounding(kind: str) -> None:
    slow, fast = np.arange(40) / 25, np.arange(79) / 50
    course = np.random.default_rng(2).uniform(0.1, 0.9, 40)
    one = left(smooth(kind, make(two_cells(course), slow.tolist())))
    two = left(smooth(kind, make(two_cells(np.interp(fast, slow, course)), fast.tolist())))
    assert np.abs(one - two[::2]).max() < 2e-6


def test_a_step_is_followed_with_the_time_constant() -> None:
    times = np.array([0.0, 1e-9, 0.15, 0.30, 0.45])  # the step happens between the first two frames
    answer = left(smooth("exponential", make(two_cells([0.0001, 0.9, 0.9, 0.9, 0.9]), times.tolist())))
    expected = 0.9 - (0.9 - 0.0001) * np.exp(-times / 0.15)
    assert answer == pytest.approx(expected, abs=1e-5)


def test_densities_are_averaged_and_not_their_logs() -> None:
    answer = left(smooth("gaussian", make(two_cells([0.9999, 0.0001]), [0.0, 0.0001])))
    assert answer == pytest.approx([0.5, 0.5], abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_that_stands_still_stays_as_it_is(kind: str) -> None:
    maps = np.repeat(random_maps(1), 12, axis=0)
    answer = smooth(kind, make(maps, (np.arange(12) ** 1.5 / 25).tolist()))
    assert answer.density.numpy() == pytest.approx(maps, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_reaches_over_a_cut(kind: str) -> None:
    values = np.array([0.1] * 10 + [0.9] * 10)
    times = (np.arange(20) / 25).tolist()
    assert left(smooth(kind, make(two_cells(values), times, cuts=[10]))) == pytest.approx(values, abs=1e-6)
    uncut = left(smooth(kind, make(two_cells(values), times)))
    assert np.abs(uncut - values).max() > 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_shot_number_without_a_mark_begins_afresh_too(kind: str) -> None:
    values = np.array([0.1] * 5 + [0.9] * 5)
    batch = make(two_cells(values), (np.arange(10) / 25).tolist())
    batch.shot[5:] = 1
    assert left(smooth(kind, batch)) == pytest.approx(values, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_grouping_into_batches_changes_nothing(kind: str, sizes: list[int]) -> None:
    times = np.cumsum(np.random.default_rng(3).choice([0.0, 0.01, 0.04, 0.3], 40)).tolist()
    whole = make(random_maps(40), times, cuts=[17, 18, 30])
    pieces, start = [], 0
    for size in [*sizes, 40]:
        if start < 40:
            pieces.append(whole[start : start + size])
        start += size
    one, many = smooth(kind, whole), smooth(kind, *pieces)
    assert torch.equal(one.log_density, many.log_density)
    assert many.index.tolist() == list(range(40))


@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_every_frame_comes_out_once_in_order_with_its_own_time_and_picture(kind: str) -> None:
    times = [0.0, 0.04, 0.08, 0.5, 0.5, 0.52, 3.0, 3.04]
    batch = make(random_maps(8), times, cuts=[5], first=30, pictures=True)
    answer = smooth(kind, batch[0:3], batch[3:8])
    assert answer.index.tolist() == list(range(30, 38))
    assert answer.pts_seconds.tolist() == times
    assert answer.shot.tolist() == batch.shot.tolist()
    assert answer.cut.tolist() == batch.cut.tolist()
    assert [picture.pts for picture in answer.pictures] == list(range(8))
    assert answer.log_density.dtype == torch.float32
    assert answer.density.sum(dim=(1, 2)).numpy() == pytest.approx(np.ones(8), abs=1e-6)


def test_none_hands_the_batch_through() -> None:
    batch = make(random_maps(2), [0.0, 0.04])
    assert SmoothOptions(smoothing="none").make().update(batch)[0] is batch


@pytest.mark.parametrize("kind", KINDS)
def test_the_input_is_left_as_it_was(kind: str) -> None:
    batch = make(random_maps(6), (np.arange(6) / 25).tolist())
    before = batch.log_density.clone()
    smooth(kind, batch)
    assert torch.equal(batch.log_density, before)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_timestamps_and_steps_back_do_no_harm(kind: str) -> None:
    for times in ([0.0] * 6, [0.0, 0.04, 0.04, 0.02, 0.08, 0.08]):
        answer = smooth(kind, make(random_maps(6), times))
        assert bool(torch.isfinite(answer.log_density).all())
        assert answer.density.sum(dim=(1, 2)).numpy() == pytest.approx(np.ones(6), abs=1e-6)
        assert answer.pts_seconds.tolist() == times


def test_cells_without_mass_stay_finite() -> None:
    maps = np.zeros((3, 2, 2))
    maps[:, 0, 0] = 1
    answer = smooth("exponential", make(maps, [0.0, 0.04, 0.08]))
    assert bool(torch.isfinite(answer.log_density).all())
    assert answer.density[:, 0, 0].tolist() == pytest.approx([1.0] * 3)


def test_the_exponential_holds_nothing_back_and_the_gaussian_three_standard_deviations() -> None:
    batch = make(random_maps(50), (np.arange(50) / 25).tolist())
    exponential = SmoothOptions(smoothing="exponential").make()
    assert [len(each) for each in exponential.update(batch)] == [50]
    assert exponential.flush() == []
    gaussian = SmoothOptions(smoothing="gaussian", time_constant_seconds=0.1).make()
    ready = sum(len(each) for each in gaussian.update(batch))
    assert ready == 50 - 8  # 0.3 s are 7.5 frames
    assert sum(len(each) for each in gaussian.flush()) == 8
    assert gaussian.flush() == []


def test_a_cut_releases_what_is_held_of_the_shot_before() -> None:
    smoother = SmoothOptions(smoothing="gaussian", time_constant_seconds=10.0).make()
    batch = make(random_maps(6), (np.arange(6) / 25).tolist(), cuts=[4])
    assert [each.index.tolist() for each in smoother.update(batch)] == [[0, 1, 2, 3]]


def test_the_gaussian_holds_a_bounded_number_even_where_time_stands_still() -> None:
    smoother = SmoothOptions(smoothing="gaussian").make()
    maps, held = random_maps(50), 0
    for i in range(40):
        out = smoother.update(make(maps, [0.0] * 50, first=50 * i))
        held += 50 - sum(len(each) for each in out)
        assert held <= 600


def test_reset_forgets_the_past_and_what_is_held() -> None:
    for kind in KINDS:
        smoother = SmoothOptions(smoothing=kind).make()  # type: ignore[arg-type]
        before, after = make(two_cells([0.1] * 5), (np.arange(5) / 25).tolist()), make(two_cells([0.9]), [0.2])
        smoother.watch(shown(before))
        smoother.update(before)
        smoother.reset()
        smoother.watch(shown(after))
        out = smoother.update(after) + smoother.flush()
        assert [len(each) for each in out] == [1]
        assert left(out[0]) == pytest.approx([0.9], abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_size_within_a_shot_is_refused_and_at_a_cut_taken(kind: str) -> None:
    first, other = make(random_maps(2), [0.0, 0.04]), np.full((2, 4, 4), 1 / 16)
    with pytest.raises(ValueError, match="within a shot"):
        smooth(kind, first, make(other, [0.08, 0.12], first=2))
    smoother = SmoothOptions(smoothing=kind).make()  # type: ignore[arg-type]
    second = make(other, [0.08, 0.12], cuts=[0], first=2)
    smoother.watch(shown(first))
    smoother.watch(shown(second))
    out = smoother.update(first) + smoother.update(second) + smoother.flush()
    assert sum(len(each) for each in out) == 4


@pytest.mark.parametrize("value", [0.0, -0.1, float("nan"), float("inf")])
def test_a_time_constant_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"above 0.*, or smoothing=none"):
        SmoothOptions(time_constant_seconds=value)


def test_an_unknown_smoothing_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="none, exponential, motion, gaussian"):
        SmoothOptions(smoothing="median")  # type: ignore[arg-type]


def test_the_weights_of_a_step_are_those_of_the_definition() -> None:
    # y' = x - y from 0 with x = s: after one time constant y = exp(-1); the weight of x1 is that y.
    keep, before, now = first_order_hold(1.0)
    assert (keep, now) == pytest.approx((math.exp(-1), math.exp(-1)))
    assert keep + before + now == pytest.approx(1)


# Motion: frames of a textured scene, and maps that move with it.

ROWS, COLUMNS = 90, 120  # of the maps; frames are twice that


def blob(x: float, y: float, sigma: float = 8.0) -> npt.NDArray[np.float64]:
    """A Gaussian around a point in cells, the centre of the first at 0."""
    column, row = np.arange(COLUMNS), np.arange(ROWS)[:, None]
    density = np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2)) + 1e-6
    return np.asarray(density / density.sum())


def centre_x(batch: SaliencyBatch) -> npt.NDArray[np.float64]:
    return (batch.density.double().sum(1) * torch.arange(COLUMNS)).sum(1).numpy()


def pan(times: npt.NDArray[np.float64], speed: float) -> npt.NDArray[np.uint8]:
    """The scene runs to the right by `speed` cells a second."""
    scene = texture(2 * ROWS, 2 * COLUMNS + 400)
    frames = []
    for time in times:
        shift = np.array([[1, 0, -400 + 2 * speed * time], [0, 1, 0]])
        frames.append(cv2.warpAffine(scene, shift, (2 * COLUMNS, 2 * ROWS), flags=cv2.INTER_LINEAR))
    return np.stack(frames)


def test_the_past_is_moved_along_with_the_camera() -> None:
    times = np.arange(26) / 25
    batch = make(np.stack([blob(30 + 50 * t, 45) for t in times]), times.tolist())
    frames = pan(times, 50)
    trailing, moved = smooth("exponential", batch), smooth("motion", batch, frames=frames)
    lag = [(centre_x(batch) - centre_x(each))[-1] for each in (trailing, moved)]
    assert lag[0] == pytest.approx(50 * 0.15, rel=0.05)  # speed times time constant
    assert abs(lag[1]) < 0.05 * lag[0]
    # It does average: a map that jitters about the moving place is steadied as well as one at rest.
    jitter = np.random.default_rng(1).normal(0, 2, 26)
    shaken = make(np.stack([blob(30 + 50 * t + j, 45) for t, j in zip(times, jitter, strict=True)]), times.tolist())
    left_over = centre_x(smooth("motion", shaken, frames=frames)) - (30 + 50 * times)
    assert left_over[6:].std() < 0.5 * jitter[6:].std()
    # Shown a picture that stands still, it has nothing to go by.
    blind = smooth("motion", batch)
    assert (centre_x(batch) - centre_x(blind))[-1] == pytest.approx(lag[0], rel=0.01)


def test_a_thing_that_moves_over_a_still_background_takes_its_past_along() -> None:
    times = np.arange(20) / 25
    scene, thing = texture(2 * ROWS, 2 * COLUMNS), texture(56, 56, seed=9)
    frames = np.repeat(scene[None], 20, axis=0)
    for frame, time in zip(frames, times, strict=True):
        left = round(2 * (30 + 60 * time)) - 28
        frame[62:118, left : left + 56] = thing
    batch = make(np.stack([blob(30 + 60 * t, 45, 5) for t in times]), times.tolist())
    trailing, moved = smooth("exponential", batch), smooth("motion", batch, frames=frames)
    lag = [(centre_x(batch) - centre_x(each))[-1] for each in (trailing, moved)]
    assert abs(lag[1]) < 0.3 * lag[0]


def test_motion_at_25_and_50_frames_a_second_agrees_at_the_same_instants() -> None:
    def answer(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        share = wave(times)  # between two places that move with the scene
        maps = [s * blob(25 + 40 * t, 45) + (1 - s) * blob(65 + 40 * t, 45) for s, t in zip(share, times, strict=True)]
        out = smooth("motion", make(np.stack(maps), times.tolist()), frames=pan(times, 40))
        ways = [abs(np.arange(COLUMNS) - 25 - 40 * t) < 20 for t in times]
        return np.array([float(d.sum(0)[torch.from_numpy(w)].sum()) for d, w in zip(out.density, ways, strict=True)])

    slow, fast = np.arange(20) / 25, np.arange(39) / 50
    one, two = answer(slow), answer(fast)
    assert np.abs(one - two[::2]).max() < 0.012
    assert np.abs(one - wave(slow)).max() > 0.04


@pytest.mark.parametrize("light", [1.0, 0.25, 0.12])
def test_where_the_pictures_do_not_match_the_past_is_not_believed(light: float) -> None:
    frames = np.concatenate([np.repeat(texture(60, 80, seed)[None], 6, axis=0) for seed in (1, 2)])
    frames = (frames * light).astype(np.uint8)
    values = np.array([0.1] * 6 + [0.9] * 6)  # a cut that nobody marked
    batch = make(two_cells(values), (np.arange(12) / 25).tolist())
    assert left(smooth("motion", batch, frames=frames)) == pytest.approx(values, abs=0.05)
    assert abs(left(smooth("exponential", batch)) - values).max() > 0.5
    # Another light is no other picture.
    lit = np.concatenate([frames[:6], np.clip(frames[:6] * 0.8, 0, 255).astype(np.uint8)])
    assert left(smooth("motion", batch, frames=lit)) == pytest.approx(left(smooth("exponential", batch)), abs=0.05)


def test_what_leaves_the_picture_is_gone_and_the_mass_stays_1() -> None:
    times = np.arange(30) / 25
    calm = np.exp(-np.hypot(np.arange(COLUMNS) - 40, np.arange(ROWS)[:, None] - 20) / 4)
    maps = np.stack([calm + 5 * np.exp(-(((np.arange(COLUMNS) - 90 - 60 * t) / 5) ** 2)) for t in times]) + 1e-6
    maps /= maps.sum(axis=(1, 2), keepdims=True)
    out = smooth("motion", make(maps, times.tolist()), frames=pan(times, 60))
    assert out.density.double().sum(dim=(1, 2)).numpy() == pytest.approx(np.ones(30), abs=1e-6)
    assert bool(torch.isfinite(out.log_density).all())
    assert float(out.density[-1, :, 100:].sum()) < 0.05


def test_motion_does_not_depend_on_batches_and_refuses_frames_it_was_not_shown() -> None:
    times = np.arange(14) / 25
    batch = make(np.stack([blob(30 + 50 * t, 45) for t in times]), times.tolist(), cuts=[9])
    frames = pan(times, 50)
    whole = smooth("motion", batch, frames=frames)
    pieces = smooth("motion", *(batch[a:b] for a, b in ((0, 1), (1, 8), (8, 14))), frames=frames)
    assert torch.equal(whole.log_density, pieces.log_density)
    smoother = SmoothOptions(smoothing="motion").make()
    smoother.watch(shown(batch[0:2]))
    with pytest.raises(ValueError, match="frame 2 was not shown"):
        smoother.update(batch[0:3])


@pytest.mark.parametrize("size", [(4, 6), (1, 1), (240, 3), (30, 500)])
def test_frames_of_any_size_are_taken(size: tuple[int, int]) -> None:
    batch = make(random_maps(4), (np.arange(4) / 25).tolist())
    frames = np.random.default_rng(0).integers(0, 256, (4, *size, 3), np.uint8)
    answer = smooth("motion", batch, frames=frames)
    assert answer.density.sum(dim=(1, 2)).numpy() == pytest.approx(np.ones(4), abs=1e-6)


def test_the_pipe_shows_the_smoother_every_frame_however_few_the_model_sees() -> None:
    model, frames = make_model(), pan(np.arange(12) / 25, 50)
    results = []
    for sizes in ([12], [1] * 12, [5, 7]):
        ends = np.cumsum(sizes)
        batches = [
            FrameBatch(np.arange(e - n, e), np.arange(e - n, e) / 25, frames[e - n : e], 180, 240)
            for n, e in zip(sizes, ends, strict=True)
        ]
        out = predict(
            batches,
            model,
            recurrence=RecurrenceOptions(every=3),
            smooth=SmoothOptions(smoothing="motion"),
            cuts=CutOptions(detect_cuts=False),
        )
        results.append(torch.cat([each.density for each in out]))
    assert len(results[0]) == 12
    for other in results[1:]:
        assert torch.allclose(results[0], other, rtol=1e-3, atol=1e-7)
