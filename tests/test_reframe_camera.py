"""The path of a camera: judged by sums over the densities, by trying all ways, and by the laws of motion."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from vidsal.frames import SaliencyBatch
from vidsal.reframe import camera
from vidsal.reframe.camera import best_place, durations_of, plan
from vidsal.reframe.marginals import MOST_CELLS, MarginalCollector, kept_share
from vidsal.reframe.options import CameraOptions

Floats = npt.NDArray[np.float64]
PIXELS, WINDOW, CELLS = 320, 100, 64


def densities_at(centres: Floats, *, width: float = 0.05, second: Floats | None = None) -> Floats:
    """(N, cells) a hill at each centre, a share of the side, over a flat ground; and maybe a second one."""
    x = (np.arange(CELLS) + 0.5) / CELLS
    hills = np.exp(-(((x - centres[:, None]) / width) ** 2) / 2)
    if second is not None:
        hills += np.exp(-(((x - second[:, None]) / width) ** 2) / 2)
    hills += 0.02
    return hills / hills.sum(axis=1, keepdims=True)


def steps_of(densities: Floats) -> npt.NDArray[np.uint16]:
    whole = np.concatenate([np.zeros((len(densities), 1)), np.cumsum(densities, axis=1)], axis=1)
    return np.rint(whole * 65535).astype(np.uint16)


def planned(centres: Floats, seconds: Floats, **options: Any) -> Floats:
    return plan(
        steps_of(densities_at(centres)), seconds, pixels=PIXELS, window=WINDOW, options=CameraOptions(**options)
    )[0]


def share_inside(density: Floats, start: float, length: float) -> float:
    """The share of one density between two pixels, cell by cell."""
    cell = PIXELS / CELLS
    edges = np.arange(CELLS) * cell
    inside = np.clip(np.minimum(edges + cell, start + length) - np.maximum(edges, start), 0, cell) / cell
    return float(density @ inside)


def kept_by(centres: Floats, path: Floats) -> float:
    return float(np.mean([share_inside(d, x, WINDOW) for d, x in zip(densities_at(centres), path, strict=True)]))


def speeds(path: Floats, seconds: Floats) -> tuple[Floats, Floats]:
    """Divided differences: mean speed between frames, and mean acceleration around each, in widths."""
    places = path / PIXELS
    speed = np.diff(places) / np.diff(seconds)
    return speed, 2 * np.diff(speed) / (seconds[2:] - seconds[:-2])


def test_a_marginal_keeps_the_share_of_every_window_of_every_map() -> None:
    random = np.random.default_rng(3)
    maps = random.gamma(0.3, size=(5, 7, 23)) + 1e-6
    batch = SaliencyBatch(
        np.arange(5), np.arange(5) / 25, np.zeros(5, np.int64), np.zeros(5, np.bool_), torch.zeros(5, 7, 23), 70, 230
    ).with_density(torch.from_numpy(maps).float())
    collector = MarginalCollector(["x", "y"])
    for part in batch:
        collector.update(part)
    found = collector.marginals()
    density = maps / maps.sum(axis=(1, 2), keepdims=True)
    large = density.repeat(10, axis=1).repeat(10, axis=2) / 100  # ten pixels a cell
    for start, length in ((0, 230), (0, 57), (31, 100), (130, 100)):
        judged = large[:, :, start : start + length].sum(axis=(1, 2))
        assert kept_share(found.cumulative["x"], start / 230, length / 230) == pytest.approx(judged, abs=4e-5)
    judged = large[:, 12:55].sum(axis=(1, 2))
    assert kept_share(found.cumulative["y"], 12 / 70, 43 / 70) == pytest.approx(judged, abs=4e-5)
    assert found.shots() == [slice(0, 5)]


def test_a_map_of_more_cells_than_are_kept_is_brought_down_without_losing_mass() -> None:
    density = np.zeros((1, 1, 4 * MOST_CELLS), np.float32)
    density[0, 0, MOST_CELLS : 2 * MOST_CELLS] = 1.0  # the second quarter
    start = np.zeros(1, np.int64)
    batch = SaliencyBatch(start, np.zeros(1), start, np.zeros(1, np.bool_), torch.zeros(1, 1, 4 * MOST_CELLS), 9, 16)
    collector = MarginalCollector(["x"])
    collector.update(batch.with_density(torch.from_numpy(density)))
    steps = collector.marginals().cumulative["x"]
    assert steps.shape == (1, MOST_CELLS + 1)
    assert kept_share(steps, 0.25, 0.125)[0] == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_a_camera_that_stands_is_at_the_best_of_all_whole_pixels(seed: int) -> None:
    random = np.random.default_rng(seed)
    densities = densities_at(random.uniform(0, 1, 9), second=random.uniform(0, 1, 9))
    weights = random.uniform(0.02, 0.1, 9)
    weights /= weights.sum()
    place = best_place(steps_of(densities), weights, pixels=PIXELS, window=WINDOW, within=(0, PIXELS - WINDOW))
    every = [
        sum(w * share_inside(d, x, WINDOW) for w, d in zip(weights, densities, strict=True))
        for x in range(PIXELS - WINDOW + 1)
    ]
    assert every[place] == pytest.approx(max(every), abs=1.5e-4)
    # The judge tells places apart: most are clearly worse.
    assert np.mean(np.array(every) < 0.97 * max(every)) > 0.5
    within = (11, 30)
    held = best_place(steps_of(densities), weights, pixels=PIXELS, window=WINDOW, within=within)
    assert every[held] == pytest.approx(max(every[11:31]), abs=1.5e-4) and 11 <= held <= 30


def test_of_equal_places_the_middle_is_taken() -> None:
    density = np.zeros((1, CELLS))
    density[0, 30] = 1.0  # pixels 150 to 155: a window of 100 may begin from 55 to 150
    place = best_place(steps_of(density), np.ones(1), pixels=PIXELS, window=WINDOW, within=(0, PIXELS - WINDOW))
    assert place in (102, 103)


def test_stay_keeps_still_where_the_camera_would_move() -> None:
    seconds = np.arange(120) / 25
    centres = np.where(seconds < 2.4, 0.2, 0.8)
    still, moving = planned(centres, seconds, stay=True), planned(centres, seconds)
    assert np.ptp(still) == 0 and still[0] == int(still[0])
    assert np.ptp(moving) > 100
    assert kept_by(centres, moving) > kept_by(centres, still) + 0.2


def test_a_camera_stands_for_what_shakes_and_for_what_gains_little() -> None:
    seconds = np.arange(100) / 25
    shaking = 0.5 + 0.03 * np.random.default_rng(0).normal(size=100)
    assert np.ptp(planned(shaking, seconds)) == 0
    drifting = 0.5 + 0.02 * seconds
    assert np.ptp(planned(drifting, seconds, least_gain=0.2)) == 0


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize(("speed", "acceleration"), [(0.25, 0.5), (0.15, 0.3), (3.0, 20.0)])
def test_speed_and_acceleration_never_exceed_their_bounds(uneven: bool, speed: float, acceleration: float) -> None:
    steps = np.random.default_rng(1).uniform(0.005, 0.2, 149) if uneven else np.full(149, 1001 / 30000)
    seconds = np.concatenate([[0.0], np.cumsum(steps)])
    centres = 0.5 + 0.4 * np.sin(1.2 * seconds)
    prices = {"move_price": 0.01, "turn_price": 0.0, "jerk_price": 0.001, "least_gain": 0.0}
    path = planned(centres, seconds, max_speed=speed, max_acceleration=acceleration, **prices)
    assert path.min() >= 0 and path.max() <= PIXELS - WINDOW
    found, bent = speeds(path, seconds)
    assert np.abs(found).max() <= speed * (1 + 1e-9)
    assert np.abs(bent).max() <= acceleration * (1 + 1e-7)
    if speed < 3:
        # And the bounds are what holds it: what it looks at moves faster.
        assert max(np.abs(found).max() / speed, np.abs(bent).max() / acceleration) > 0.95


def test_a_camera_follows_what_moves_evenly_and_stands_before_and_after() -> None:
    seconds = np.arange(250) / 25
    centres = np.interp(seconds, [3, 6], [0.25, 0.75])
    path = planned(centres, seconds)
    speed, _ = speeds(path, seconds)
    assert kept_by(centres, path) > 0.97 * kept_by(centres, PIXELS * centres - WINDOW / 2)
    assert np.abs(speed[:25]).max() < 1e-4 and np.abs(speed[-25:]).max() < 1e-4
    assert (speed > -1e-6).all()


def test_a_camera_does_not_end_between_two_things() -> None:
    seconds = np.arange(100) / 25
    densities = densities_at(np.full(100, 0.15), second=np.full(100, 0.85))
    path, _ = plan(steps_of(densities), seconds, pixels=PIXELS, window=WINDOW, options=CameraOptions())
    assert np.mean([share_inside(d, x, WINDOW) for d, x in zip(densities, path, strict=True)]) > 0.4


def test_places_come_from_trying_all_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "_PLACES", 4)
    options = CameraOptions(max_speed=2.0, move_price=0.3)
    random = np.random.default_rng(5)
    for _ in range(5):
        seconds = np.arange(5) * camera.KNOT_SECONDS * 1.0
        densities = densities_at(random.uniform(0, 1, 5), width=0.1)
        knots = camera._Knots(seconds)
        assert knots.spans == 4
        gain = camera._Gain.of(knots, steps_of(densities), durations_of(seconds), WINDOW / PIXELS)
        room = 1 - WINDOW / PIXELS
        found = camera._where_to_be(gain, knots, options, np.zeros(7), np.full(7, room))
        places = np.linspace(0, room, 5)
        reach = 2.0 * knots.step

        def worth(way: tuple[float, ...], gain: Any = gain) -> float:
            return float(gain.at(np.array(way)).sum()) - 0.3 * float(np.abs(np.diff(way)).sum())

        ways = [
            way for way in itertools.product(places, repeat=4) if max(np.abs(np.diff(np.array(way)))) <= reach + 1e-9
        ]
        assert worth(tuple(found)) == pytest.approx(max(map(worth, ways)), abs=1e-9)


def test_no_path_near_the_one_found_is_better() -> None:
    """The linear program is solved to its end: changes of the coefficients within the bounds only lose."""
    seconds = np.arange(60) / 25
    centres = np.interp(seconds, [0, 2.4], [0.3, 0.7])
    # Wide hills: what is kept is concave around the best place, so that a local best is the best.
    densities = densities_at(centres, width=0.25)
    options = CameraOptions(max_speed=0.3, max_acceleration=0.4)
    knots = camera._Knots(seconds)
    share = WINDOW / PIXELS
    gain = camera._Gain.of(knots, steps_of(densities), durations_of(seconds), share)
    low, high = np.zeros(knots.coefficients), np.full(knots.coefficients, 1 - share)
    around = np.full(knots.spans, 0.3)
    for reach in (0.4, 0.2, 0.1):
        coefficients, missed = camera._how_to_get_there(gain, knots, options, low, high, around, reach)
        around = knots.at_middles(coefficients)
    assert missed == pytest.approx(0.0, abs=1e-7)
    best = camera._worth(gain, knots, coefficients, options)
    random = np.random.default_rng(2)
    tried = 0
    for size in (0.1, 0.03, 0.01, 0.003):
        for _ in range(400):
            other = coefficients + size * random.normal() * np.interp(
                np.arange(len(coefficients)), np.sort(random.uniform(0, len(coefficients), 4)), random.normal(size=4)
            )
            kept = np.abs(np.diff(other)).max() <= options.max_speed * knots.step
            kept &= np.abs(np.diff(other, 2)).max() <= options.max_acceleration * knots.step**2
            if kept and other.min() >= 0 and other.max() <= 1 - share:
                tried += 1
                assert camera._worth(gain, knots, other, options) <= best + 2e-3
    assert tried > 100
    # A judge that sees: a path half as far is clearly worse.
    assert camera._worth(gain, knots, 0.5 * coefficients, options) < best - 0.02


def test_bounds_of_place_hold_at_every_frame_and_what_cannot_be_held_is_told() -> None:
    seconds = np.arange(100) / 25
    centres = np.full(100, 0.2)
    low, high = np.zeros(100), np.full(100, float(PIXELS - WINDOW))
    low[60:80], high[60:80] = 180, 200  # far from what is looked at
    steps = steps_of(densities_at(centres))
    options = CameraOptions(max_speed=0.5, max_acceleration=1.0)
    path, missed = plan(steps, seconds, pixels=PIXELS, window=WINDOW, options=options, low=low, high=high)
    assert missed <= 1e-4
    assert (path >= low - 1e-4).all() and (path <= high + 1e-4).all()
    assert path[0] < 100
    slow = CameraOptions(max_speed=0.01)
    low[:10], high[:10] = 0, 10
    _, missed = plan(steps, seconds, pixels=PIXELS, window=WINDOW, options=slow, low=low, high=high)
    assert missed > 50


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shots_of_few_frames_have_a_path_too(count: int) -> None:
    path = planned(np.full(count, 0.7), np.arange(count) / 25)
    assert path == pytest.approx(np.full(count, path[0]), abs=1e-6)
    assert abs(path[0] + WINDOW / 2 - 0.7 * PIXELS) < 8


def test_a_window_as_long_as_the_side_stands() -> None:
    path, missed = plan(
        steps_of(densities_at(np.full(5, 0.9))),
        np.arange(5) / 25,
        pixels=PIXELS,
        window=PIXELS,
        options=CameraOptions(),
    )
    assert path.tolist() == [0] * 5 and missed == 0


def test_frames_count_for_as_long_as_they_are_shown() -> None:
    assert durations_of(np.array([0.0, 0.5, 0.6, 0.7])) == pytest.approx([0.5, 0.1, 0.1, 0.1])
    assert durations_of(np.array([3.0])).tolist() == [1.0]
    seconds = np.array([0.0, 4.0, 4.04, 4.08, 4.12])
    path = planned(np.array([0.2, 0.8, 0.8, 0.8, 0.8]), seconds, stay=True)
    assert path[0] < 60  # the first frame is shown for 4 of 4.2 seconds


@pytest.mark.slow
def test_an_hour_in_one_shot_is_planned_in_bounded_time() -> None:
    seconds = np.arange(100_000) / 25
    centres = 0.5 + 0.4 * np.sin(0.5 * seconds) * np.cos(0.07 * seconds)
    path = planned(centres, seconds)
    speed, bent = speeds(path, seconds)
    assert np.abs(speed).max() <= 0.25 * (1 + 1e-9) and np.abs(bent).max() <= 0.5 * (1 + 1e-7)
    assert kept_by(centres[::100], path[::100]) > 0.8
