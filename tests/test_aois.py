"""Areas of interest: where they lie, what share of a density is in them, and what participants did with them."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made import make_model
from media import make_video

from vidsal.aois import Aoi, Aois, AoiSums, AoiTracker, Coverage, Key, Moment, Part, read_aois
from vidsal.aois.predicted import AoiFrame
from vidsal.aois.preview import draw_aois, write_preview
from vidsal.cli import main
from vidsal.decode import DecodeOptions
from vidsal.errors import DatasetError
from vidsal.frames import SaliencyBatch
from vidsal.gaze import Gaze, write_gaze
from vidsal.gaze.compare import PredictedShares, compare_shares
from vidsal.gaze.groups import group_visits
from vidsal.gaze.measures import measure_aois, transitions
from vidsal.gaze.study import measure_study
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.run import run
from vidsal.tracks import Tracker

shapely = pytest.importorskip("shapely", reason="areas of interest need shapely")

few_examples = settings(max_examples=40)


def box(x: float, y: float, width: float, height: float) -> npt.NDArray[np.float64]:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float64)


def still(name: str, points: npt.NDArray[np.float64], **more: Any) -> Aoi:
    return Aoi(name, (Part("seconds", (Key(0.0, points),)),), **more)


AT_0 = Moment(seconds=0.0, frame=0)


# Shares.


def clipped_area(points: npt.NDArray[np.float64], left: float, top: float, right: float, bottom: float) -> float:
    """The area of a polygon within a rectangle, by Sutherland and Hodgman, and the shoelace formula."""
    corners = [tuple(point) for point in points]
    for axis, limit, sign in ((0, left, 1), (0, right, -1), (1, top, 1), (1, bottom, -1)):
        made = []
        for before, after in zip(corners[-1:] + corners[:-1], corners, strict=True):
            inside = [sign * (one[axis] - limit) >= 0 for one in (before, after)]
            if inside[0] != inside[1]:
                share = (limit - before[axis]) / (after[axis] - before[axis])
                made.append(tuple(b + share * (a - b) for b, a in zip(before, after, strict=True)))
            if inside[1]:
                made.append(after)
        corners = made
        if not corners:
            return 0.0
    x, y = np.array(corners).T
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2


@given(st.integers(0, 10_000))
@few_examples
def test_the_share_of_every_cell_is_the_exact_area_within_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # A star: its corners lie around a centre in order, so that no two sides cross.
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    if np.diff(np.append(angles, angles[0] + 2 * np.pi)).max() >= np.pi:
        return
    centre, radius = rng.uniform(5, 35, 2), rng.uniform(2, 20, 7)
    points = centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shares = Coverage(height=30, width=40, cells=(5, 8)).shares(shapely.polygons(points))
    expected = [
        [clipped_area(points, 5.0 * column, 6.0 * row, 5.0 * column + 5, 6.0 * row + 6) / 30 for column in range(8)]
        for row in range(5)
    ]
    np.testing.assert_allclose(shares, expected, atol=1e-9)


def test_the_parts_of_a_picture_share_all_of_its_density() -> None:
    rng = np.random.default_rng(0)
    density = rng.random((1, 9, 11))
    batch = batch_of(density, height=50, width=70)
    slanted = np.array([[0, 0], [33.3, 0], [12.1, 50], [0, 50]], np.float64)
    areas = Aois((still("left", slanted), still("all", box(0, 0, 70, 50))))
    (rows,) = AoiTracker(areas).update(batch, Tracker().update(batch))
    left, rest = rows
    assert left.predicted_share + rest.predicted_share == pytest.approx(1, abs=1e-6)
    assert left.area_share == pytest.approx((33.3 + 12.1) / 2 / 70)
    assert 0.2 < left.predicted_share < 0.5 and {left.holds_peak, rest.holds_peak} == {True, False}


def batch_of(
    density: npt.NDArray[np.float64], *, height: int, width: int, step: float = 1.0, shot: int = 0
) -> SaliencyBatch:
    count = len(density)
    total = density.sum(axis=(1, 2), keepdims=True)
    return SaliencyBatch(
        index=np.arange(count),
        pts_seconds=np.arange(count) * step,
        shot=np.full(count, shot),
        cut=np.zeros(count, bool),
        log_density=torch.from_numpy(np.log(density / total)).float(),
        height=height,
        width=width,
    )


def test_a_place_that_two_areas_cover_belongs_to_the_higher_one() -> None:
    low, high = still("road", box(0, 0, 10, 10)), still("sign", box(5, 5, 10, 10), priority=1)
    first, second = still("a", box(0, 0, 4, 4)), still("b", box(2, 0, 4, 4))
    areas = {name: shape.area for name, shape in Aois((low, high)).shapes(AT_0).items()}
    assert areas == {"road": 75.0, "sign": 100.0}
    assert {name: shape.area for name, shape in Aois((first, second)).shapes(AT_0).items()} == {"a": 16.0, "b": 8.0}


def test_an_area_is_there_in_its_time_and_its_shots_only() -> None:
    timed = still("a", box(0, 0, 1, 1), start_seconds=1.0, end_seconds=2.0, shots=frozenset({3}))
    there = [
        (seconds, shot)
        for seconds, shot in itertools.product((0.99, 1.0, 1.99, 2.0), (2, 3))
        if Aois((timed,)).shapes(Moment(seconds=seconds, frame=0, shot=shot))
    ]
    assert there == [(1.0, 3), (1.99, 3)]


def test_a_part_moves_between_keys_holds_where_asked_and_ends() -> None:
    keys = (Key(10, box(0, 0, 2, 2)), Key(20, box(10, 0, 2, 2), holds=True), Key(30, box(20, 0, 2, 2)), Key(40, None))
    part = Part("frames", keys)
    lefts = {frame: part.at(Moment(seconds=0, frame=frame)) for frame in (9, 10, 15, 20, 29, 30, 39.5, 40, 99)}
    assert {frame: None if points is None else points[0, 0] for frame, points in lefts.items()} == {
        9: None,
        10: 0,
        15: 5,
        20: 10,
        29: 10,
        30: 20,
        39.5: 20,
        40: None,
        99: None,
    }


# Sums.


def test_the_sum_of_an_area_is_over_the_time_that_it_is_there() -> None:
    def row(seconds: float, name: str, share: float, area: float, peak: bool) -> AoiFrame:
        return AoiFrame(
            index=0, pts_seconds=seconds, shot=0, aoi=name, predicted_share=share, area_share=area, holds_peak=peak
        )

    sums = AoiSums(["a", "b"])
    a = [(0.0, 0.2, 0.1, False), (1.0, 0.4, 0.1, False), (3.0, 0.6, 0.3, True), (4.0, 0.0, 0.0, False)]
    for seconds, share, area, peak in a:
        sums.update([[row(seconds, "a", share, area, peak), row(seconds, "b", 0.0, 0.0, False)]])
    first, second = sums.flush()
    # Frames last 1, 2, 1 and, as the mean, 4/3 seconds; in the last one the area is gone.
    assert (first.present_seconds, first.peak_seconds, first.first_peak_seconds, first.order) == (4.0, 1.0, 3.0, 1)
    assert first.predicted_share == pytest.approx((0.2 + 2 * 0.4 + 0.6) / 4)
    assert first.area_share == pytest.approx((0.1 + 2 * 0.1 + 0.3) / 4)
    assert first.longest_absence_seconds == 3.0
    assert second.predicted_share is None and second.order is None and second.present_seconds == 0


# Files.


def written(folder: Path, content: Any, name: str = "aois.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


OWN = {
    "format": "vidsal-aois-1",
    "size": [200, 100],
    "aois": [
        {"name": "mirror", "box": [0, 0, 20, 10], "priority": 2},
        {
            "name": "car",
            "keyframes": [
                {"seconds": 1, "polygon": [[40, 20], [50, 20], [50, 30]]},
                {"seconds": 2, "polygon": [[60, 20], [70, 20], [70, 30]]},
                {"seconds": 3, "absent": True},
            ],
        },
        {"name": "signs", "parts": [{"box": [0, 50, 10, 10]}, {"box": [50, 50, 10, 10]}]},
    ],
}


def test_the_own_form_is_read_and_scaled_to_the_video(tmp_path: Path) -> None:
    areas = read_aois(written(tmp_path, OWN), height=50, width=100)
    assert areas.names == ["mirror", "car", "signs"]
    shapes = areas.shapes(Moment(seconds=1.5, frame=0))
    assert shapes["mirror"].bounds == (0, 0, 10, 5) and shapes["car"].bounds == (25, 10, 30, 15)
    assert shapes["signs"].area == pytest.approx(50)
    assert "car" not in areas.shapes(Moment(seconds=3.0, frame=0))
    shared = {"format": "vidsal-aois-1", "units": "share", "aois": [{"name": "a", "box": [0.5, 0, 0.5, 1]}]}
    assert read_aois(written(tmp_path, shared), height=50, width=100).shapes(AT_0)["a"].bounds == (50, 0, 100, 50)


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><original_size><width>200</width><height>100</height></original_size></task></meta>
<track id="0" label="car" source="manual">
 <box frame="0" outside="0" occluded="0" keyframe="1" xtl="0" ytl="0" xbr="20" ybr="10" z_order="3"/>
 <box frame="10" outside="0" occluded="0" keyframe="1" xtl="40" ytl="0" xbr="60" ybr="10" z_order="3"/>
 <box frame="11" outside="1" occluded="0" keyframe="1" xtl="40" ytl="0" xbr="60" ybr="10" z_order="3"/>
</track>
<track id="1" label="car">
 <polygon frame="5" outside="0" keyframe="1" points="100,50;120,50;120,60" z_order="0"/>
</track>
</annotations>"""


def test_tracks_of_cvat_are_read_frame_by_frame_and_those_of_one_label_are_one_area(tmp_path: Path) -> None:
    areas = read_aois(written(tmp_path, CVAT, "a.xml"), height=50, width=100)
    assert areas.names == ["car"] and areas.aois[0].priority == 3
    sizes = {
        frame: round(shapes["car"].area, 6) if (shapes := areas.shapes(Moment(seconds=0, frame=frame))) else 0
        for frame in (0, 5, 6, 10, 11)
    }
    # A box of 10x5; in frame 5 a triangle of 25 too.
    assert sizes == {0: 50, 5: 75, 6: 50, 10: 50, 11: 0}
    assert areas.shapes(Moment(seconds=0, frame=6))["car"].bounds == (12, 0, 22, 5)


def test_rectangles_of_label_studio_are_read_from_percent_and_frames_from_one(tmp_path: Path) -> None:
    sequence = [
        {"frame": 1, "enabled": True, "rotation": 0, "x": 10, "y": 20, "width": 30, "height": 40, "time": 0.04},
        {"frame": 11, "enabled": False, "rotation": 0, "x": 30, "y": 20, "width": 30, "height": 40, "time": 0.44},
    ]
    result = {
        "id": "x",
        "type": "videorectangle",
        "value": {"framesCount": 20, "sequence": sequence, "labels": ["sign"]},
    }
    areas = read_aois(written(tmp_path, [{"annotations": [{"result": [result]}]}]), height=50, width=100)
    assert areas.shapes(Moment(seconds=0, frame=0))["sign"].bounds == (10, 10, 40, 30)
    assert areas.shapes(Moment(seconds=0, frame=5))["sign"].bounds == (20, 10, 50, 30)
    assert not areas.shapes(Moment(seconds=0, frame=11))


def changed(**aoi: Any) -> dict[str, Any]:
    return {"format": "vidsal-aois-1", "aois": [{"name": "a", "box": [0, 0, 1, 1], **aoi}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON"),
        ("[1]", "neither areas of vidsal"),
        ({"format": "vidsal-aois-1", "aois": []}, "no area"),
        (changed(name=""), "area 1 has no name"),
        (changed(colour="red"), "area 'a' has 'colour'; known are name"),
        (changed(box=[0, 0, 0, 1]), r"the box of area 'a' must be \[x, y, width, height\]"),
        (changed(polygon=[[0, 0], [1, 1], [0, 1]]), "a polygon or a box"),
        (changed(box=None, polygon=[[0, 0], [1, 1]]), "at least 3 points"),
        (changed(box=None, polygon=[[0, 0], [2, 2], [2, 0], [0, 2.5]]), "crosses itself"),
        (changed(box=None, polygon=[[0, 0], [1, 1], [2, 2]]), "no area"),
        (changed(start_seconds=2, end_seconds=1), "ends before it starts"),
        (
            changed(keyframes=[{"seconds": 1, "box": [0, 0, 1, 1]}, {"frame": 2, "box": [0, 0, 1, 1]}]),
            "must have seconds",
        ),
        (changed(keyframes=[{"seconds": 1, "box": [0, 0, 1, 1]}] * 2), "two keyframes at 1"),
        ({"format": "vidsal-aois-1", "aois": changed()["aois"] * 2}, "two areas are called 'a'"),
        ("<annotations></annotations>", "no tracks of CVAT"),
        ("<!DOCTYPE a><annotations/>", "document type"),
        (CVAT.replace("<box", "<points").replace("/>", "/>"), "is a points"),
        (CVAT.replace('xtl="0"', 'xtl="zero"'), "no corners that are numbers"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        read_aois(written(tmp_path, content), height=10, width=10)


# What participants did.


LEFT, RIGHT = still("left", box(0, 0, 50, 50)), still("right", box(50, 0, 50, 50))
HALVES = Aois((LEFT, RIGHT))


def fixations(places: list[tuple[float, float, float]], **more: Any) -> Gaze:
    """(start, duration, x) each, in the middle of the height."""
    start, lasting, x = zip(*places, strict=True)
    return Gaze.of(
        participant="a", trial="t", pts_seconds=start, duration_seconds=lasting, x=x, y=25.0, kind="fixations", **more
    )


def in_shot_0(seconds: float) -> tuple[float, int]:
    return seconds * 25, 0


def test_visits_dwell_and_first_fixations_are_as_worked_out_by_hand() -> None:
    gaze = fixations([(0.0, 0.2, 75), (0.3, 0.3, 25), (0.7, 0.1, 30), (0.9, 0.4, 80), (1.4, 0.2, 25), (1.7, 0.1, 120)])
    left, right = measure_aois(gaze, HALVES, in_shot_0)
    assert (left.fixation_count, left.visits, left.returns) == (3, 2, 1)
    assert left.total_dwell_seconds == pytest.approx(0.6) and left.tracked_seconds == pytest.approx(1.3)
    assert left.dwell_share == pytest.approx(0.6 / 1.3) and left.first_seconds == pytest.approx(0.3)
    assert left.mean_visit_seconds == pytest.approx(0.3) and left.mean_fixation_seconds == pytest.approx(0.2)
    assert (right.fixation_count, right.visits, right.returns, right.first_seconds) == (2, 2, 1, 0.0)


def test_transitions_and_their_entropies_are_as_worked_out_by_hand() -> None:
    # right, left, left, right, left, elsewhere
    gaze = fixations([(0.0, 0.2, 75), (0.3, 0.3, 25), (0.7, 0.1, 30), (0.9, 0.4, 80), (1.4, 0.2, 25), (1.7, 0.1, 120)])
    moves, (entropy,) = transitions(gaze, HALVES, in_shot_0)
    found = {(one.source, one.target): (one.count, one.share) for one in moves}
    assert found == {("right", "left"): (2, 1.0), ("left", "right"): (1, 0.5), ("left", ""): (1, 0.5)}
    # Two out of right, always to left: 0 bits; two out of left, one each: 1 bit.
    assert entropy.transitions == 4
    assert entropy.transition_entropy_bits == pytest.approx(0.5) and entropy.stationary_entropy_bits == pytest.approx(1)


def test_samples_count_for_the_time_to_the_next_and_one_lost_in_between_ends_no_visit() -> None:
    x = [25.0] * 10 + [120.0] + [25.0] * 9 + [75.0] * 20
    valid = np.ones(40, bool)
    valid[5] = False
    gaze = Gaze.of(participant="a", trial="t", pts_seconds=np.arange(40) / 50, x=x, y=25.0, valid=valid)
    left, right = measure_aois(gaze, HALVES, in_shot_0)
    assert (left.visits, right.visits, left.fixation_count) == (1, 1, None)
    assert left.total_dwell_seconds == pytest.approx(19 / 50) and right.total_dwell_seconds == pytest.approx(20 / 50)
    assert left.tracked_seconds == pytest.approx(39 / 50)


def test_the_time_to_the_first_fixation_counts_from_when_the_area_appears() -> None:
    late = replace(LEFT, start_seconds=1.0)
    gaze = fixations([(0.0, 0.2, 25), (1.0, 0.2, 75), (1.4, 0.2, 25)])
    (row,) = measure_aois(gaze, Aois((late,)), in_shot_0)
    assert row.first_seconds == pytest.approx(0.4) and row.fixation_count == 1
    assert row.tracked_seconds == pytest.approx(0.4)


def test_without_a_row_when_the_area_appeared_the_time_still_counts_from_then() -> None:
    # Nothing is known of the viewing before its first fixation: it began with the video.
    (row,) = measure_aois(fixations([(1.15, 0.3, 25), (2.0, 0.2, 75)]), Aois((LEFT,)), in_shot_0)
    assert row.first_seconds == pytest.approx(1.15)
    late = replace(LEFT, start_seconds=2.0)
    (row,) = measure_aois(fixations([(0.0, 0.4, 75), (2.7, 0.25, 25)]), Aois((late,)), in_shot_0)
    assert row.first_seconds == pytest.approx(0.7)
    # One that was under way when the area came.
    (row,) = measure_aois(fixations([(1.9, 0.4, 25)]), Aois((late,)), in_shot_0)
    assert row.first_seconds == 0
    # Samples tell when a viewing began.
    seconds = 5 + np.arange(100) / 50
    x = np.where(np.arange(100) < 60, 75.0, 25.0)
    gaze = Gaze.of(participant="a", trial="t", pts_seconds=seconds, x=x, y=25.0)
    (row,) = measure_aois(gaze, Aois((LEFT,)), in_shot_0)
    assert row.first_seconds == pytest.approx(1.2)
    by_frames = replace(LEFT, parts=(Part("frames", (Key(0, None), Key(50, LEFT.parts[0].keys[0].points))),))
    (row,) = measure_aois(fixations([(0.0, 0.4, 75), (2.7, 0.25, 25)]), Aois((by_frames,)), in_shot_0)
    assert row.first_seconds == pytest.approx(0.7)


def made_study(shares: npt.NDArray[np.float64], effect: npt.NDArray[np.float64], *, seed: int) -> Gaze:
    """12 participants, 6 clips of 20 s: gaze is left with the clip's share and the participant's effect on its odds."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {
        name: [] for name in ("participant", "trial", "pts_seconds", "duration_seconds", "x")
    }
    for person, clip in itertools.product(range(12), range(6)):
        odds = shares[clip] / (1 - shares[clip]) * np.exp(effect[person])
        for number in range(60):
            columns["participant"].append(f"P{person:02}")
            columns["trial"].append(f"clip{clip}")
            columns["pts_seconds"].append(number / 3)
            columns["duration_seconds"].append(0.3)
            columns["x"].append(25.0 if rng.random() < odds / (1 + odds) else 75.0)
    return Gaze.of(**columns, y=25.0, kind="fixations")


def test_a_made_study_gives_back_its_shares_and_its_participants() -> None:
    shares = np.array([0.2, 0.35, 0.5, 0.65, 0.8, 0.5])
    effect = np.linspace(-0.8, 0.8, 12)
    gaze = made_study(shares, effect, seed=3)
    rows = [row for row in measure_aois(gaze, HALVES, in_shot_0) if row.aoi == "left"]
    assert len(rows) == 72
    dwell = np.array([row.dwell_share for row in rows]).reshape(12, 6)
    odds = shares / (1 - shares) * np.exp(effect)[:, None]
    true = odds / (1 + odds)
    # 60 looks each: two standard errors are at most .13, and one in twenty lies beyond.
    error = np.sqrt(true * (1 - true) / 60)
    assert np.mean(np.abs(dwell - true) < 2 * error) > 0.88
    people = np.log(dwell / (1 - dwell)).mean(axis=1)
    assert np.corrcoef(people, effect)[0, 1] > 0.95
    # The interval over participants holds the true share of all second by second, in about 19 of 20 seconds.
    one = gaze.rows(gaze.trial == "clip2")
    seconds = np.arange(0, 20, 0.04)
    predicted = PredictedShares(seconds, {"left": np.full(500, true[:, 2].mean()), "right": np.full(500, 0.02)})
    table, (left, right) = compare_shares(one, HALVES, in_shot_0, predicted, draws=500)
    held = [row for row in table if row.aoi == "left"]
    assert all(row.participants == 12 and row.low <= row.dwell_share <= row.high for row in held)  # type: ignore[operator]
    assert left.off_share is not None and left.off_share <= 0.25
    assert right.off_share is not None and right.off_share > 0.9
    assert left.dwell_share == pytest.approx(true[:, 2].mean(), abs=0.08) and left.correlation is None


def test_a_study_of_several_clips_gives_back_shares_by_clip_condition_and_participant() -> None:
    shares = np.array([0.2, 0.35, 0.5, 0.65, 0.8, 0.5])
    effect = np.linspace(-0.8, 0.8, 12)
    visits = measure_aois(made_study(shares, effect, seed=11), HALVES, in_shot_0)
    weather = {f"clip{clip}": {"weather": "rain" if clip in (0, 1) else "sun"} for clip in range(6)}
    groups = [group for group in group_visits(visits, weather) if group.aoi == "left"]
    odds = shares / (1 - shares) * np.exp(effect)[:, None]
    true = odds / (1 + odds)
    expected = {
        ("all", ""): true.mean(),
        ("weather", "rain"): true[:, :2].mean(),
        ("weather", "sun"): true[:, 2:].mean(),
    }
    expected |= {("trial", f"clip{clip}"): true[:, clip].mean() for clip in range(6)}
    expected |= {("participant", f"P{person:02}"): true[person].mean() for person in range(12)}
    assert {(group.by, group.value) for group in groups} == set(expected)
    held = wrong = 0
    for group in groups:
        value = expected[group.by, group.value]
        assert group.low is not None and group.high is not None
        assert group.dwell_share == pytest.approx(value, abs=0.06)
        held += group.low <= value <= group.high
        wrong += group.low <= value + 0.3 <= group.high or group.low <= value - 0.3 <= group.high
        people = 1 if group.by == "participant" else 12
        clips = {"all": 6, "participant": 6, "trial": 1}.get(group.by, 2 if group.value == "rain" else 4)
        assert (group.participants, group.viewings) == (people, people * clips)
    # Of twenty-one intervals of 95 %, one or two may miss.
    assert held >= 19 and wrong == 0
    people = [group.dwell_share for group in groups if group.by == "participant"]
    assert np.corrcoef(people, effect)[0, 1] > 0.97


def test_people_with_many_viewings_count_no_more_than_others() -> None:
    gaze = Gaze.of(
        participant=["a", "a", "a", "b"],
        trial=["1", "2", "3", "1"],
        pts_seconds=[0.0] * 4,
        duration_seconds=0.3,
        x=[25.0, 25.0, 25.0, 75.0],
        y=25.0,
        kind="fixations",
    )
    groups = group_visits(measure_aois(gaze, HALVES, in_shot_0), {}, draws=400)
    (whole,) = [group for group in groups if group.by == "all" and group.aoi == "left"]
    assert whole.dwell_share == 0.5 and (whole.low, whole.high) == (0.0, 1.0) and whole.looked_share == 0.75
    (one,) = [group for group in groups if (group.by, group.value, group.aoi) == ("trial", "3", "left")]
    assert one.dwell_share == 1.0 and one.low is None and one.first_seconds == 0.0


def test_a_prediction_that_follows_the_gaze_correlates_with_it() -> None:
    rng = np.random.default_rng(5)
    course = 0.5 + 0.4 * np.sin(np.arange(20))
    rows = [
        (f"P{person}", second + part / 3, 25.0 if rng.random() < course[second] else 75.0)
        for person in range(10)
        for second in range(20)
        for part in range(3)
    ]
    who, when, x = zip(*rows, strict=True)
    gaze = Gaze.of(participant=who, trial="t", pts_seconds=when, duration_seconds=0.3, x=x, y=25.0, kind="fixations")
    predicted = PredictedShares(np.arange(20.0), {"left": course, "right": 1 - course})
    _, (left, _) = compare_shares(gaze, HALVES, in_shot_0, predicted, draws=100)
    assert left.correlation is not None and left.correlation > 0.9 and left.seconds == 20


# The commands.


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_areas_that_go_by_frames_lie_where_those_frames_are_in_a_part_of_a_variable_rate(tmp_path: Path) -> None:
    places = [n for n in range(124) if n % 4 or n < 6]
    clip = make_video(tmp_path / "clip.mp4", frames=len(places), pts=[3000 * n for n in places], rate=30)
    keys = [{"frame": n, "box": [0, 0, n - 40, 48]} for n in (45, 95)]
    aois = written(tmp_path, {"format": "vidsal-aois-1", "aois": [{"name": "a", "keyframes": keys}]})
    options = RunOptions(
        decode=DecodeOptions(start_seconds=2.0, end_seconds=2.5),
        output=OutputOptions(output=tmp_path / "out", video=False, aois=aois),
    )
    run(clip, options=options, model=make_model())
    table = rows_of(tmp_path / "out" / "clip.vidsal.aois.csv")
    seconds = [round(30 * float(row["pts_seconds"])) for row in table]
    assert [places[47 + n] for n in range(len(table))] == seconds and len(table) > 8
    assert [float(row["area_share"]) * 64 for row in table] == pytest.approx([7 + n for n in range(len(table))])


@pytest.mark.parametrize("pts", [[0, 40, 80, 200, 320, 440], [0]], ids=["variable rate", "one frame"])
def test_an_area_is_present_for_as_long_as_the_run_says_that_the_video_lasts(tmp_path: Path, pts: list[int]) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=len(pts), pts=pts, time_base=Fraction(1, 1000))
    aois = written(tmp_path, {"format": "vidsal-aois-1", "aois": [{"name": "a", "box": [0, 0, 9, 9]}]})
    output = OutputOptions(output=tmp_path / "out", video=False, aois=aois, report=True)
    report = run(clip, options=RunOptions(output=output), model=make_model())
    (row,) = rows_of(tmp_path / "out" / "clip.vidsal.aois-summary.csv")
    assert float(row["present_seconds"]) == pytest.approx(report.video_seconds) == pytest.approx((pts[-1] + 40) / 1000)


def test_areas_that_never_lie_in_the_picture_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=3)
    crosses = [{"seconds": n, "box": [x, 0, 10, 10]} for n, x in ((0, -20), (1, 70))]
    listed = [
        {"name": "in", "box": [60, 40, 90, 90]},
        {"name": "right", "box": [64, 0, 10, 10]},
        {"name": "crosses", "keyframes": crosses},
        {"name": "above", "box": [0, -10, 10, 10]},
    ]
    aois = written(tmp_path, {"format": "vidsal-aois-1", "aois": listed})
    said = "the areas right, above lie outside the picture (64x48 pixels) at all times"
    assert main(["run", str(clip), "--no-video", "--aois", str(aois), "--every", "3"]) == 0
    assert capsys.readouterr().err.count(said) == 1
    assert main(["aoi", "preview", str(clip), "--aois", str(aois), "--to", str(tmp_path / "a.png")]) == 0
    assert said in capsys.readouterr().err
    gaze = Gaze.of(participant="a", trial="t", pts_seconds=[0.0], x=[3.0], y=[3.0])
    assert said in "".join(measure_study(gaze, aois, clip).messages)


def test_a_run_names_areas_that_are_called_after_another_video(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=3)
    areas = {"format": "vidsal-aois-1", "aois": [{"name": "in", "box": [0, 0, 9, 9]}]}
    for name, count in (("drive2.vidsal.driving-areas.json", 1), ("clip.vidsal.driving-areas.json", 0)):
        aois = written(tmp_path, areas, name)
        words = [
            "run",
            str(clip),
            "--no-video",
            "--aois",
            str(aois),
            "--every",
            "3",
            "--output",
            str(tmp_path / name[:5]),
        ]
        assert main(words) == 0
        assert capsys.readouterr().err.count("is called like a result of") == count


def test_gaze_is_measured_by_the_frames_of_a_variable_rate(tmp_path: Path) -> None:
    places = [n for n in range(124) if n % 4 or n < 6]
    clip = make_video(tmp_path / "clip.mp4", frames=len(places), pts=[3000 * n for n in places], rate=30)
    keys = [
        {"frame": 0, "absent": True},
        {"frame": 50, "box": [0, 0, 64, 48], "hold": True},
        {"frame": 60, "absent": True},
    ]
    aois = written(tmp_path, {"format": "vidsal-aois-1", "aois": [{"name": "a", "keyframes": keys}]})
    seconds = np.arange(400) / 100
    gaze = Gaze.of(participant="a", trial="t", pts_seconds=seconds, x=1.0, y=1.0)
    study = measure_study(gaze, aois, clip)
    (visit,) = study.tables["visits"]
    assert visit.total_dwell_seconds == pytest.approx((places[60] - places[50]) / 30, abs=0.021)
    assert not any("as the header says" in said for said in study.messages)


def test_the_commands_measure_a_run_and_recorded_gaze(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "clip.mp4"
    make_video(clip, frames=30, width=100, height=50, rate=10)
    halves = {
        "format": "vidsal-aois-1",
        "aois": [{"name": "left", "box": [0, 0, 50, 50]}, {"name": "right", "box": [50, 0, 50, 50]}],
    }
    aois = written(tmp_path, halves)
    words = ["run", str(clip), "--no-video", "--aois", str(aois), "--every", "30", "-q"]
    assert main(words) == 0
    table = rows_of(tmp_path / "clip.vidsal.aois.csv")
    assert [(row["index"], row["aoi"]) for row in table[:3]] == [("0", "left"), ("0", "right"), ("1", "left")]
    totals = [
        float(a["predicted_share"]) + float(b["predicted_share"]) for a, b in zip(table[::2], table[1::2], strict=True)
    ]
    np.testing.assert_allclose(totals, 1, atol=1e-5)
    summary = rows_of(tmp_path / "clip.vidsal.aois-summary.csv")
    assert [row["aoi"] for row in summary] == ["left", "right"] and float(summary[0]["present_seconds"]) == 3.0
    assert main([*words, "--existing", "skip"]) == 0
    halves["aois"][0]["box"] = [0, 0, 40, 50]
    written(tmp_path, halves)
    assert main([*words, "--existing", "skip"]) == 3
    halves["aois"][0]["box"] = [0, 0, 50, 50]
    written(tmp_path, halves)

    gaze = Gaze.of(
        participant=["a"] * 6 + ["b"] * 6,
        trial="clip",
        pts_seconds=[0, 0.5, 1, 1.5, 2, 2.5] * 2,
        duration_seconds=0.4,
        x=[25, 75, 25, 25, 25, 75, 25, 25, 25, 25, 25, 25],
        y=25.0,
        kind="fixations",
    )
    write_gaze(gaze, tmp_path / "gaze.csv")
    trials = tmp_path / "trials.csv"
    trials.write_text("trial,weather\nclip,rain\n")
    out = tmp_path / "study"
    more = ["--aois", str(aois), "--video", str(clip), "--out", str(out)]
    predicted = ["--predicted", str(tmp_path / "clip.vidsal.aois.csv"), "--trials", str(trials)]
    assert main(["aoi", "measure", str(tmp_path / "gaze.csv"), *more, *predicted]) == 0
    made = capsys.readouterr().out.split()
    assert [Path(path).name for path in made[-7:]] == [
        *(f"{name}.csv" for name in ("visits", "transitions", "entropies", "groups", "seconds", "agreement")),
        "study.json",
    ]
    about = json.loads((out / "study.json").read_text())
    assert (about["video"], about["areas"], about["participants"]) == ("clip.mp4", ["left", "right"], 2)
    visits = rows_of(out / "visits.csv")
    assert [(row["participant"], row["aoi"], row["visits"], row["weather"]) for row in visits] == [
        ("a", "left", "2", "rain"),
        ("a", "right", "2", "rain"),
        ("b", "left", "1", "rain"),
        ("b", "right", "0", "rain"),
    ]
    seconds = rows_of(out / "seconds.csv")
    assert len(seconds) == 6 and all(row["predicted_share"] for row in seconds)
    groups = {(row["by"], row["value"]) for row in rows_of(out / "groups.csv")}
    assert groups == {("all", ""), ("participant", "a"), ("participant", "b"), ("trial", "clip"), ("weather", "rain")}
    assert main(["aoi", "measure", str(tmp_path / "gaze.csv"), *more]) == 3
    assert main(["aoi", "measure", str(tmp_path / "gaze.csv"), *more, "--overwrite", "--format", "parquet"]) == 0


def test_the_preview_shows_the_outlines_where_the_areas_lie(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    make_video(clip, frames=4, width=160, height=80, rate=10)
    aois = written(tmp_path, {"format": "vidsal-aois-1", "aois": [{"name": "a", "box": [40, 20, 80, 40]}]})
    sheet = tmp_path / "sheet.png"
    assert main(["aoi", "preview", str(clip), "--aois", str(aois), "--to", str(sheet), "--frames", "1"]) == 0
    drawn = cv2.cvtColor(cv2.imread(str(sheet)), cv2.COLOR_BGR2RGB).astype(int)
    orange = np.abs(drawn - (230, 159, 0)).sum(axis=2) < 90
    rows, columns = np.nonzero(orange)
    assert abs(columns.min() - 39.5) <= 1 and abs(columns.max() - 119.5) <= 1 and abs(rows.max() - 59.5) <= 1
    assert main(["aoi", "preview", str(clip), "--aois", str(aois), "--to", str(sheet)]) == 3
    assert main(["aoi", "preview", str(clip), "--aois", str(aois), "--to", str(tmp_path / "a.gif")]) == 1


LABELLED = {
    "triangle": [[[100.0, 190], [300, 10], [300, 190]]],
    "L": [[[10.0, 10], [40, 10], [40, 150], [200, 150], [200, 190], [10, 190]]],
    "ring around another": [[[20.0, 20], [380, 20], [380, 180], [20, 180]]],
    "two parts": [[[10.0, 10], [16, 10], [16, 16], [10, 16]], [[300, 100], [390, 100], [390, 190], [300, 190]]],
    "partly outside": [[[-300.0, 150], [80, 150], [80, 400], [-300, 400]]],
}


@pytest.mark.parametrize("name", LABELLED)
def test_the_name_of_an_area_stands_within_it(name: str) -> None:
    picture = np.full((200, 400, 3), 90, np.uint8)
    parts = tuple(Part("seconds", (Key(0.0, np.array(points)),)) for points in LABELLED[name])
    other = still("", box(150, 60, 100, 80), priority=1)
    drawn = [draw_aois(picture, Aois((Aoi(text, parts), other)), AT_0) for text in ("m", "w")]
    rows, columns = np.nonzero((drawn[0] != drawn[1]).any(axis=2))
    shape = Aois((Aoi("a", parts), other)).shapes(AT_0)["a"]
    assert len(rows) > 10 and shapely.intersects_xy(shape, columns + 0.5, rows + 0.5).all()


def test_a_name_that_is_longer_than_its_area_stays_in_the_picture_and_frames_are_named_below_them(
    tmp_path: Path,
) -> None:
    picture = np.full((200, 400, 3), 90, np.uint8)
    corners = [box(x, y, 8, 8) for x in (0, 392) for y in (0, 192)]
    for points in corners:
        bare, named = (draw_aois(picture, Aois((still(text, points),)), AT_0) for text in ("", "a long name"))
        rows, columns = np.nonzero((bare != named).any(axis=2))
        assert np.ptp(columns) > 40 and columns.min() > 0 and columns.max() < 399
        assert np.ptp(rows) > 5 and rows.min() >= 0 and rows.max() < 200
    clip = make_video(
        tmp_path / "clip.mp4", frames=2, width=160, height=80, rate=10, picture=lambda _: picture[:80, :160]
    )
    aois = written(tmp_path, {"format": "vidsal-aois-1", "aois": [{"name": "a", "box": [80, 0, 80, 40]}]})
    write_preview(clip, aois, tmp_path / "sheet.png", frames=1)
    sheet = cv2.imread(str(tmp_path / "sheet.png")).astype(int)
    assert np.abs(sheet[45:80, :160] - 90).max() < 8 and sheet[82:100, :160].max() > 200


def test_gaze_before_and_after_the_video_counts_nowhere_and_is_said(tmp_path: Path) -> None:
    aois = written(tmp_path, {"format": "vidsal-aois-1", "aois": [{"name": "left", "box": [0, 0, 50, 50]}]})
    clip = make_video(tmp_path / "clip.mp4", frames=20, width=100, height=50, rate=10)
    seconds = np.arange(-1.0, 5.0, 0.5)
    gaze = Gaze.of(
        participant="a", trial="t", pts_seconds=seconds, duration_seconds=0.4, x=25.0, y=9.0, kind="fixations"
    )
    study = measure_study(gaze, aois, clip)
    (row,) = study.tables["visits"]
    assert row.tracked_seconds == pytest.approx(4 * 0.4) and row.fixation_count == 4
    assert any("8 rows of gaze before the first frame or after" in message for message in study.messages)
    with pytest.raises(DatasetError, match="no row of the gaze lies in the time"):
        measure_study(gaze.rows(seconds > 3), aois, clip)


def test_of_a_fixation_that_reaches_beyond_the_video_the_part_within_counts(tmp_path: Path) -> None:
    aois = written(tmp_path, {"format": "vidsal-aois-1", "aois": [{"name": "left", "box": [0, 0, 50, 50]}]})
    clip = make_video(tmp_path / "clip.mp4", frames=40, width=100, height=50, rate=10)
    # In 4 s: 0.1 s of the first, 3.8 of the second, all of the third, 0.1 of the fourth, nothing of the others.
    start = [-0.3, 0.2, 3.7, 3.9, -1.0, -1.0, 4.0]
    lasting = [0.4, 7.5, 0.3, 0.6, 1.0, 0.2, 0.5]
    who = [f"P{number}" for number in range(7)]
    gaze = Gaze.of(
        participant=who, trial="t", pts_seconds=start, duration_seconds=lasting, x=25.0, y=9.0, kind="fixations"
    )
    study = measure_study(gaze, aois, clip)
    dwell = {row.participant: row.total_dwell_seconds for row in study.tables["visits"]}
    assert dwell == pytest.approx({"P0": 0.1, "P1": 3.8, "P2": 0.3, "P3": 0.1})
    assert [row.tracked_seconds for row in study.tables["visits"]] == pytest.approx(list(dwell.values()))
    (message,) = [said for said in study.messages if "rows of gaze" in said]
    assert "3 rows of gaze before the first frame" in message and "of 3 fixations only the part" in message


def test_a_sample_stands_for_no_time_after_the_video(tmp_path: Path) -> None:
    aois = written(tmp_path, {"format": "vidsal-aois-1", "aois": [{"name": "left", "box": [0, 0, 50, 50]}]})
    clip = make_video(tmp_path / "clip.mp4", frames=10, width=100, height=50, rate=10)
    # The last one in the video is at 0.95 s, and 0.1 s before the next.
    gaze = Gaze.of(participant="a", trial="t", pts_seconds=np.arange(0.05, 2, 0.1), x=25.0, y=9.0)
    (row,) = measure_study(gaze, aois, clip).tables["visits"]
    assert (row.tracked_seconds, row.total_dwell_seconds) == pytest.approx((0.95, 0.95))


def test_what_seems_to_be_of_another_video_is_named_and_what_cannot_be_of_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    halves = {"format": "vidsal-aois-1", "aois": [{"name": "left", "box": [0, 0, 50, 50]}]}
    mine, other = (written(tmp_path, halves, f"drive{number}.vidsal.driving-areas.json") for number in (1, 2))
    size: dict[str, Any] = {"width": 100, "height": 50, "rate": 10}
    clip = make_video(tmp_path / "drive1.mp4", frames=30, **size)

    def predicted(drive: str, frames: int) -> Path:
        rows = [f"{frame},{frame / 10},0,left,0.5,0.5,true\n" for frame in range(frames)]
        path = tmp_path / f"{drive}.vidsal.aois.csv"
        path.write_text("index,pts_seconds,shot,aoi,predicted_share,area_share,holds_peak\n" + "".join(rows))
        return path

    def gaze(video: str, lasts: float) -> Gaze:
        facts = {"video": {"name": video, "height": 50, "width": 100, "duration_seconds": lasts}}
        places = [(0.0, 0.4, 25.0), (0.5, 0.4, 25.0)]
        return fixations(places, facts=facts)

    def said(gaze: Gaze, aois: Path = mine, **more: Any) -> str:
        return " ".join(measure_study(gaze, aois, clip, **more).messages)

    right = gaze("drive1.mp4", 3.0)
    assert not said(right, predicted=predicted("drive1", 30)) and not said(gaze("Drive1.avi", 3.04))
    assert not said(right, written(tmp_path, halves, "camera.json"))
    assert "the gaze was imported with drive2.mp4, not with drive1.mp4" in said(gaze("drive2.mp4", 3.0))
    assert "lasts 9 s" in said(gaze("drive1.mp4", 9.0))
    assert f"{other} is called like a result of drive2, not of drive1.mp4" in said(right, other)
    assert "drive2.vidsal.aois.csv is called like a result of drive2" in said(right, predicted=predicted("drive2", 30))
    assert "ends at 1 s" in said(right, predicted=predicted("drive1", 10))
    with pytest.raises(DatasetError, match=r"imported with drive2\.mp4, which lasts 9 s, .* lasts 3 s"):
        said(gaze("drive2.mp4", 9.0))
    for drive, frames in (("drive1", 60), ("drive2", 10)):
        with pytest.raises(DatasetError, match=rf"{drive}\S* ends at {frames / 10:g} s, .*it is of another video"):
            said(right, predicted=predicted(drive, frames))

    write_gaze(gaze("drive2.mp4", 3.0), tmp_path / "gaze.parquet")
    words = ["aoi", "measure", str(tmp_path / "gaze.parquet"), "--aois", str(mine), "--video", str(clip)]
    assert main([*words, "--out", str(tmp_path / "study")]) == 0
    assert "vidsal: warning: the gaze was imported with drive2.mp4" in capsys.readouterr().err
    assert main(["aoi", "preview", str(clip), "--aois", str(other), "--to", str(tmp_path / "a.png")]) == 0
    assert f"vidsal: warning: {other} is called like a result of drive2" in capsys.readouterr().err


def test_studies_of_several_videos_are_brought_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halves = {
        "format": "vidsal-aois-1",
        "aois": [{"name": "left", "box": [0, 0, 50, 50]}, {"name": "right", "box": [50, 0, 50, 50]}],
    }
    aois = written(tmp_path, halves)
    clip = make_video(tmp_path / "clip.mp4", frames=5, width=100, height=50, rate=10)
    for trial, x in (("one", 25.0), ("two", 75.0)):
        gaze = Gaze.of(
            participant=["a", "b"],
            trial=trial,
            pts_seconds=[0.0, 0.0],
            duration_seconds=0.3,
            x=x,
            y=9.0,
            kind="fixations",
        )
        write_gaze(gaze, tmp_path / f"{trial}.csv")
        words = ["aoi", "measure", str(tmp_path / f"{trial}.csv"), "--aois", str(aois), "--video", str(clip)]
        assert main([*words, "--out", str(tmp_path / trial), "--format", "parquet" if trial == "two" else "csv"]) == 0
    trials = tmp_path / "trials.csv"
    trials.write_text("trial,light\none,day\ntwo,night\n")
    call = ["aoi", "pool", str(tmp_path / "one"), str(tmp_path / "two"), "--trials", str(trials)]
    assert main([*call, "--out", str(tmp_path / "all")]) == 0
    left = {
        (row["by"], row["value"]): float(row["dwell_share"])
        for row in rows_of(tmp_path / "all" / "groups.csv")
        if row["aoi"] == "left"
    }
    assert left[("all", "")] == 0.5 and left[("light", "day")] == 1.0 and left[("light", "night")] == 0.0
    assert left[("participant", "a")] == 0.5 and len(rows_of(tmp_path / "all" / "visits.csv")) == 8
    assert json.loads((tmp_path / "all" / "study.json").read_text())["viewings"] == 4
    capsys.readouterr()
    twice = ["aoi", "pool", str(tmp_path / "one"), str(tmp_path / "one")]
    assert main([*twice, "--out", str(tmp_path / "more")]) == 1
    assert "both have participant 'a', trial 'one'" in capsys.readouterr().err
    assert main(["aoi", "pool", str(tmp_path), "--out", str(tmp_path / "more")]) == 1
    assert "holds no study" in capsys.readouterr().err and not (tmp_path / "more").exists()
