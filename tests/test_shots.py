"""Made footage with known cuts comes in; the detector must mark those frames and no others."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsal.errors import ConfigError
from vidsal.shots import CutDetector, CutOptions

Frames = npt.NDArray[np.uint8]


def picture(seed: int, height: int = 240, width: int = 420) -> Frames:
    """A made scene: soft background, hard-edged things of random colour and place."""
    rng = np.random.default_rng(seed)
    scene = cv2.resize(
        rng.uniform(40, 215, (4, 6, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    for _ in range(25):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        axes = (int(rng.integers(8, 60)), int(rng.integers(8, 60)))
        colour = [float(value) for value in rng.uniform(0, 255, 3)]
        cv2.ellipse(scene, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
    return np.clip(scene, 0, 255).astype(np.uint8)


def pan(scene: Frames, count: int, step: float = 2.0, noise: float = 2.0, seed: int = 0) -> Frames:
    """`count` views of 180x320 that move over the scene by `step` pixels a frame, with sensor noise."""
    rng = np.random.default_rng(seed)
    views = []
    for i in range(count):
        left, top = round(abs((i * step + 50) % 200 - 100)), 20 + round(10 * np.sin(i / 3))
        view = scene[top : top + 180, left : left + 320] + rng.normal(0, noise, (180, 320, 3))
        views.append(np.clip(view, 0, 255).astype(np.uint8))
    return np.stack(views)


def cuts(frames: Frames, options: CutOptions | None = None, rate: float = 25.0) -> list[int]:
    marks = CutDetector(options).update(frames, np.arange(len(frames)) / rate)
    return np.flatnonzero(marks).tolist()


def test_cuts_between_scenes_are_found_on_their_first_frame_and_nothing_else_is() -> None:
    lengths, frames, truth = [9, 14, 5, 20, 11, 8], [], []
    for i, length in enumerate(lengths):
        frames.append(pan(picture(i), length, seed=i))
        truth.append(sum(lengths[:i]))
    assert cuts(np.concatenate(frames)) == truth[1:]


def test_nearly_all_of_many_cuts_are_found() -> None:
    found = sum(cuts(np.concatenate([pan(picture(2 * i), 4), pan(picture(2 * i + 1), 4)])) == [4] for i in range(40))
    assert found >= 38


def test_a_cut_to_the_same_colours_upside_down_is_found() -> None:
    scene = picture(1)
    frames = np.concatenate([pan(scene, 6), pan(scene[::-1], 6)])
    assert cuts(frames) == [6]


def test_the_first_frame_is_never_a_cut_and_reset_makes_the_next_one_first() -> None:
    detector = CutDetector()
    one, other = pan(picture(0), 1), pan(picture(1), 1)
    assert not detector.update(one, np.zeros(1)).any()
    detector.reset()
    assert not detector.update(other, np.zeros(1)).any()
    assert detector.update(one, np.zeros(1)).all()


@pytest.mark.parametrize("step", [0.0, 6.0, 16.0, 28.0])
def test_pans_make_no_cut(step: float) -> None:
    assert cuts(pan(picture(3), 24, step=step)) == []


def whip(seed: int) -> Frames:
    """A pan that sets off slowly and gets so fast that its views have little in common."""
    scene = picture(seed, width=1600)
    lefts = np.cumsum([50, 0, 20, 35, 45, 55, 65, 70, 75, 80, 80, 80, 80])
    return np.stack([scene[20:200, left : left + 320] for left in lefts])


@pytest.mark.parametrize("seed", [20, 21, 22, 23])
def test_motion_that_has_been_fast_stays_motion(seed: int) -> None:
    views = whip(seed)
    assert cuts(views) == []
    # Two of its views alone are a cut: it is what came before that makes them motion.
    assert [1] in [cuts(views[i : i + 2]) for i in range(7, 12)]


def test_reset_forgets_how_fast_the_motion_was() -> None:
    views, detector = whip(21), CutDetector()
    detector.update(views[:7], np.arange(7.0))
    detector.reset()
    assert detector.update(views[7:9], np.arange(2.0)).tolist() == [False, True]


def test_a_picture_that_comes_back_at_once_is_no_new_shot() -> None:
    one, other = pan(picture(0), 1), pan(picture(1), 1)
    assert cuts(np.concatenate([one, other, one])) == [1]


def measured_change(*frames: Frames) -> float:
    """The highest threshold at which the last frame still is a cut."""
    low, high = 0.0, 1.0
    for _ in range(10):
        middle = (low + high) / 2
        found = len(frames) - 1 in cuts(np.stack(frames), CutOptions(cut_threshold=middle))
        low, high = (middle, high) if found else (low, middle)
    return (low + high) / 2


def defined_change(before: Frames, after: Frames) -> float:
    """The same in plain loops, from what the module says: even out, look for each block nearby, both ways."""
    planes, contrasts = [], []
    for frame in (before, after):
        red, green, blue = np.moveaxis(cv2.resize(frame, (32, 20), interpolation=cv2.INTER_AREA).astype(float), 2, 0)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
        planes.append(np.stack([luma - luma.mean(), 0.564 * (blue - luma), 0.713 * (red - luma)]))
        contrasts.append(np.sqrt((planes[-1] ** 2).sum(0).mean()))
    added = 12 * min(max(contrasts) / 24, 1)
    evened = [plane / max(contrast + added, 8) for plane, contrast in zip(planes, contrasts, strict=True)]

    def unexplained(source: npt.NDArray[np.float64], target: npt.NDArray[np.float64], top: int, left: int) -> float:
        wide = np.pad(source, ((0, 0), (3, 3), (3, 3)), mode="edge")
        block = target[:, top : top + 4, left : left + 4]
        shifts = [wide[:, top + y : top + y + 4, left + x : left + x + 4] for y in range(7) for x in range(7)]
        return min(float(((shift - block) ** 2).sum(0).mean()) for shift in shifts)

    one, two = evened
    places = [(top, left) for top in range(0, 20, 4) for left in range(0, 32, 4)]
    residual = sorted((unexplained(one, two, *place) + unexplained(two, one, *place)) / 2 for place in places)
    return float(np.mean(np.sqrt([np.mean(residual), residual[10], residual[20]])))  # of 40 blocks


@pytest.mark.parametrize(
    ("seed", "lights", "colour"),
    [(0, (1, 1), 1), (4, (1, 1), 1), (4, (0.2, 0.2), 1), (4, (0.05, 0.05), 1), (4, (0.3, 0.06), 1), (8, (1, 1), 0)],
)
def test_the_change_between_two_frames_is_that_of_its_definition(
    seed: int, lights: tuple[float, float], colour: float
) -> None:
    frames = np.concatenate([pan(picture(seed), 1, noise=0), pan(picture(seed + 1), 1, noise=0)]).astype(float)
    grey = frames.mean(3, keepdims=True)
    light = np.reshape(lights, (2, 1, 1, 1))
    one, two = ((grey + colour * (frames - grey)) * light).astype(np.uint8)
    expected = defined_change(one, two)
    assert 0.1 < expected < 1
    assert measured_change(one, two) == pytest.approx(expected, abs=2e-3)
    assert measured_change(two, one) == pytest.approx(expected, abs=2e-3)


def mosaic(seed: int) -> Frames:
    """Squares of random light: two of them have next to nothing in common."""
    squares = np.random.default_rng(seed).choice([0, 255], (20, 32, 1)).astype(np.uint8)
    return np.repeat(squares.repeat(9, 0).repeat(10, 1), 3, 2)


def test_the_largest_recent_change_counts_against_a_cut_and_fades() -> None:
    one, two, three = (pan(picture(seed), 1, noise=0)[0] for seed in (0, 1, 2))
    first, second = measured_change(one, two), measured_change(two, three)
    assert measured_change(one, two, three) == pytest.approx(second - 0.3 * first, abs=3e-3)
    assert measured_change(one, two, two, two, three) == pytest.approx(second - 0.3 * 0.8**2 * first, abs=3e-3)
    # But no more than 0.8 of it.
    wild, other = mosaic(0), mosaic(1)
    assert measured_change(wild, other) > 0.84
    assert measured_change(wild, other, one) == pytest.approx(defined_change(other, one) - 0.3 * 0.8, abs=3e-3)


def test_a_picture_that_was_there_four_frames_ago_is_no_new_shot_and_one_of_five_frames_ago_is() -> None:
    pictures = [mosaic(seed) for seed in range(5)]
    assert 4 not in cuts(np.stack([*pictures[:4], pictures[0]]))
    assert 5 in cuts(np.stack([*pictures, pictures[0]]))


def test_a_zoom_makes_no_cut() -> None:
    scene = picture(4)
    views = [
        cv2.resize(scene[i * 3 : 240 - i * 3, i * 5 : 420 - i * 5], (320, 180), interpolation=cv2.INTER_AREA)
        for i in range(25)
    ]
    assert cuts(np.stack(views)) == []


def test_a_large_thing_that_rushes_through_makes_no_cut() -> None:
    frames, thing = pan(picture(5), 24, step=0), picture(6)[:150, :120]
    for i in range(24):
        left = 40 * (i - 6)
        if 0 <= left <= 200:
            frames[i, 20:170, left : left + 120] = thing
    assert cuts(frames) == []


def test_footage_at_one_frame_a_second_keeps_to_its_cuts() -> None:
    frames = np.concatenate([pan(picture(7), 8, step=24, noise=6), pan(picture(8), 8, step=24, noise=6)])
    assert cuts(frames, rate=1.0) == [8]


def test_a_fade_to_black_and_back_makes_no_cut() -> None:
    frames = pan(picture(9), 41)
    gain = np.abs(np.linspace(-1, 1, 41))[:, None, None, None]
    assert cuts((frames * gain).astype(np.uint8)) == []


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("strength", [1.3, 1.8, 2.5])
def test_a_flash_makes_no_cut(seed: int, strength: float) -> None:
    frames = pan(picture(seed), 12)
    frames[6] = np.clip(frames[6] * strength + 20.0, 0, 255).astype(np.uint8)
    assert cuts(frames) == []


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_few_empty_frames_make_at_most_one_cut(level: int, length: int) -> None:
    frames = pan(picture(10), 16)
    frames[8 : 8 + length] = level
    assert len(cuts(frames)) <= 1


def test_a_cut_right_after_a_flash_is_found() -> None:
    frames = np.concatenate([pan(picture(11), 8), pan(picture(12), 8)])
    frames[7] = np.clip(frames[7] * 1.8 + 20.0, 0, 255).astype(np.uint8)
    assert cuts(frames) == [8]


def test_grey_footage_has_its_cuts_too() -> None:
    frames = np.concatenate([pan(picture(i), 7) for i in range(4)])
    grey = np.repeat(frames[..., 1:2], 3, axis=3)
    assert cuts(grey) == [7, 14, 21]


def test_low_contrast_footage_has_its_cuts_too() -> None:
    frames = np.concatenate([pan(picture(i), 7, noise=0) for i in range(3)])
    assert cuts((frames * 0.3 + 90).astype(np.uint8)) == [7, 14]


@pytest.mark.parametrize("light", [0.25, 0.15, 0.1])
def test_dark_footage_has_its_cuts_too_and_no_others(light: float) -> None:
    rng = np.random.default_rng(0)
    bright = np.concatenate([pan(picture(i), 9, noise=0) for i in range(6)])
    night = np.clip(bright * light + rng.normal(0, 2, bright.shape), 0, 255).astype(np.uint8)
    assert cuts(night) == [9, 18, 27, 36, 45]


def test_noise_on_black_makes_no_cut() -> None:
    noise = np.random.default_rng(0).integers(0, 12, (20, 180, 320, 3)).astype(np.uint8)
    assert cuts(noise) == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_grouping_into_batches_changes_nothing(sizes: list[int]) -> None:
    frames = np.concatenate([pan(picture(i), length) for i, length in enumerate([5, 3, 9, 6])])
    times = np.arange(len(frames)) / 25
    detector, marks, start = CutDetector(), [], 0
    for size in [*sizes, len(frames)]:
        marks.append(detector.update(frames[start : start + size], times[start : start + size]))
        start += size
    assert np.concatenate(marks).tolist() == CutDetector().update(frames, times).tolist()


def test_a_change_of_size_is_not_a_cut_and_one_of_scene_is() -> None:
    frames = pan(picture(13), 8)
    small = np.stack([cv2.resize(frame, (160, 90), interpolation=cv2.INTER_AREA) for frame in frames])
    detector = CutDetector()
    assert not detector.update(frames, np.arange(8) / 25).any()
    assert not detector.update(small, np.arange(8, 16) / 25).any()
    assert detector.update(pan(picture(14), 1), np.array([1.0])).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (17, 3), (16, 16), (400, 100)])
def test_any_size_of_frame_is_taken(shape: tuple[int, int]) -> None:
    black, white = np.zeros((3, *shape, 3), np.uint8), np.full((3, *shape, 3), 200, np.uint8)
    assert CutDetector().update(np.concatenate([black, white]), np.arange(6.0)).shape == (6,)


def test_an_empty_batch_gives_an_empty_answer() -> None:
    assert CutDetector().update(np.zeros((0, 9, 16, 3), np.uint8), np.zeros(0)).shape == (0,)


def test_off_finds_none_and_a_higher_threshold_never_finds_more() -> None:
    frames = np.concatenate([pan(picture(i), 5) for i in range(6)])
    assert cuts(frames, CutOptions(detect_cuts=False)) == []
    counts = [len(cuts(frames, CutOptions(cut_threshold=value))) for value in (0.2, 0.38, 0.7, 1.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[1] == 5
    assert counts[-1] < 5


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_a_threshold_out_of_range_is_refused_with_the_range(threshold: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        CutOptions(cut_threshold=threshold)


def test_arrays_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        CutDetector().update(np.zeros((1, 9, 16, 3), np.float32), np.zeros(1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pts_seconds"):
        CutDetector().update(np.zeros((2, 9, 16, 3), np.uint8), np.zeros(1))
