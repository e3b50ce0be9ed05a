"""The report of a drive: where the road vanishes, what share is ahead, and which moments are worth a look."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import layout_fixtures as fixtures
import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import make_checkpoint
from media import make_video
from roads import road_picture

from vidsal.aois import AoiTracker, Moment, read_aois
from vidsal.aois.write import aois_as_json
from vidsal.batch.verify import _fault
from vidsal.cli import main
from vidsal.data.drives import write_drives
from vidsal.data.layouts import open_dataset
from vidsal.decode import DecodeOptions, VideoInfo
from vidsal.driving.areas import road_areas
from vidsal.driving.moments import CandidateFinder
from vidsal.driving.options import DrivingOptions
from vidsal.driving.vanishing import VanishingFinder, VanishingPoint, find_vanishing_points
from vidsal.errors import ConfigError, DatasetError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.outputs import make_sinks
from vidsal.tracks import Tracker

shapely = pytest.importorskip("shapely", reason="areas of interest need shapely")

RGB = npt.NDArray[np.uint8]
WIDTH, HEIGHT, RATE = 320, 180, 12.5


def found_in(
    frames: list[RGB], shots: list[int] | None = None, *, at_once: int = 1000, **more: Any
) -> list[VanishingPoint]:
    finder = VanishingFinder(**more)
    count = len(frames)
    batch = FrameBatch(np.arange(count), np.arange(count) / RATE, np.stack(frames), *frames[0].shape[:2])
    for begin in range(0, count, at_once):
        part = batch[begin : begin + at_once]
        finder.update(part, np.array(shots or [0] * count)[begin : begin + len(part)])
    return finder.flush()


def road(count: int, at: tuple[float, float], *, size: tuple[int, int] = (WIDTH, HEIGHT), **more: Any) -> list[RGB]:
    picture = road_picture(*size, vanishing=at, **more)
    return [picture(i) for i in range(count)]


# Where the road vanishes.


@pytest.mark.parametrize(
    ("size", "at"),
    [((320, 180), (160, 90)), ((320, 180), (110, 110)), ((640, 360), (450, 160)), ((180, 240), (100, 110))],
)
def test_the_point_is_found_within_a_hundredth_of_the_picture(size: tuple[int, int], at: tuple[float, float]) -> None:
    (point,) = found_in(road(20, at, size=size))
    assert point.found and point.x is not None and point.y is not None
    assert np.hypot(point.x - at[0], point.y - at[1]) < 0.01 * max(size)
    assert point.confidence > 0.9 and point.reason == "found by lines of the road and motion away from it"


def test_a_shaking_camera_moves_the_point_little_and_is_said_by_its_spread() -> None:
    rng = np.random.default_rng(1)
    shaken = [np.roll(one, tuple(rng.integers(-3, 4, 2)), (0, 1)) for one in road(40, (170, 95))]
    (steady,), (point,) = found_in(road(40, (170, 95))), found_in(shaken)
    assert point.found and point.x is not None and point.y is not None
    assert np.hypot(point.x - 170, point.y - 95) < 0.02 * WIDTH
    assert point.spread is not None and steady.spread is not None and point.spread > steady.spread


def test_each_shot_has_its_own_point_and_its_times() -> None:
    frames = [*road(20, (120, 100)), *road(20, (210, 80), seed=3)]
    first, second = found_in(frames, [0] * 20 + [1] * 20)
    assert (first.shot, first.start_seconds, first.end_seconds) == (0, 0, 20 / RATE)
    assert (second.shot, second.start_seconds) == (1, 20 / RATE) and second.end_seconds == pytest.approx(40 / RATE)
    assert first.x == pytest.approx(120, abs=3.2) and second.x == pytest.approx(210, abs=3.2)


def test_how_the_frames_are_cut_into_batches_changes_nothing() -> None:
    frames = [*road(16, (120, 100)), *road(16, (210, 80))]
    shots = [0] * 16 + [1] * 16
    assert found_in(frames, shots, at_once=5) == found_in(frames, shots)


def noise(count: int) -> list[RGB]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(count)]


def passing(count: int) -> list[RGB]:
    """What a camera sees that looks out of the side window: everything moves to the left."""
    rng = np.random.default_rng(0)
    wide = np.full((HEIGHT, WIDTH + 6 * count, 3), 120, np.uint8)
    for x, y, shade in zip(
        rng.integers(0, wide.shape[1], 300), rng.integers(0, HEIGHT, 300), rng.integers(0, 255, 300), strict=True
    ):
        cv2.rectangle(wide, (int(x), int(y)), (int(x) + 14, int(y) + 9), (int(shade),) * 3, -1)
    return [wide[:, 6 * i : 6 * i + WIDTH].copy() for i in range(count)]


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ([np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 20, "too few looks"),
        (road(1, (160, 90)) * 20, "hardly anything moves"),
        (noise(20), "hardly anything moves|disagree|too few lines|lead out"),
        (passing(20), "disagree|too few lines|lead out"),
        (road(4, (160, 90)), "too few looks"),
        (road(20, (8, 90)), "disagree|lead out"),
    ],
    ids=["grey", "standing", "noise", "sideways", "short", "at-the-edge"],
)
def test_where_no_road_vanishes_none_is_guessed(frames: list[RGB], why: str) -> None:
    (point,) = found_in(frames)
    assert not point.found and point.x is None and point.y is None
    assert point.reason.startswith("not found: ")
    assert any(part in point.reason for part in why.split("|")), point.reason


def test_nothing_is_looked_at_in_the_areas_of_the_car(tmp_path: Path) -> None:
    """Stripes on the bonnet lead to another place than the road."""
    frames = road(20, (150, 80))
    for frame in frames:
        for x in range(0, 320, 20):
            cv2.line(frame, (x, 179), (round(x + (250 - x) * 0.8), 120), (255, 255, 255), 2, cv2.LINE_AA)
    template = tmp_path / "camera.json"
    area = {"name": "bonnet", "box": [0, 115, 320, 65]}
    template.write_text(json.dumps({"format": "vidsal-aois-1", "size": [320, 180], "aois": [area]}))
    (seen,), (hidden,) = found_in(frames), found_in(frames, outside=read_aois(template, height=180, width=320))
    assert hidden.found and hidden.x == pytest.approx(150, abs=3.2) and hidden.y == pytest.approx(80, abs=3.2)
    assert not seen.found or seen.line_share < hidden.line_share


def test_a_video_is_read_from_its_file_and_in_the_range_that_was_asked_for(tmp_path: Path) -> None:
    first, second = (road_picture(WIDTH, HEIGHT, vanishing=at) for at in ((120, 100), (200, 80)))
    houses = np.random.default_rng(0).integers(0, 255, (4, 10), dtype=np.uint8)

    def picture(i: int) -> RGB:
        """In the second half along another road, on whose horizon stand tall houses."""
        if i < 25:
            return first(i)
        made = second(i)
        made[:72] = np.repeat(np.repeat(houses, 18, axis=0), 32, axis=1)[..., None]
        return made

    video = make_video(tmp_path / "drive.mp4", frames=50, width=WIDTH, height=HEIGHT, rate=25, picture=picture)
    points = find_vanishing_points(video)
    assert [point.start_seconds for point in points] == [0.0, 1.0]
    assert [point.end_seconds for point in points] == [1.0, 2.0]
    assert [point.x for point in points] == pytest.approx([120, 200], abs=4)
    (late,) = find_vanishing_points(video, decode=DecodeOptions(start_seconds=1.0))
    assert (late.start_seconds, late.end_seconds) == (1.0, 2.0) and late.x == pytest.approx(200, abs=4)


# The areas.


def point_at(x: float | None, y: float | None, *, shot: int = 0, start: float = 0.0) -> VanishingPoint:
    return VanishingPoint(
        shot=shot,
        start_seconds=start,
        end_seconds=start + 1,
        found=x is not None,
        x=x,
        y=y,
        confidence=1.0,
        spread=0.0,
        looks=9,
        line_share=1.0,
        flow_share=1.0,
        reason="made",
        note="made",
    )


def maps(density: npt.NDArray[np.float64], *, rate: float = 10.0) -> SaliencyBatch:
    """(n, rows, columns) as densities of a picture of 100x50."""
    count = len(density)
    made = torch.from_numpy(density.astype(np.float32))
    zero = np.zeros(count, np.int64)
    batch = SaliencyBatch(
        np.arange(count), np.arange(count) / rate, zero, zero > 0, torch.zeros_like(made), height=50, width=100
    )
    return batch.with_density(made)


def shares(areas: Any, density: npt.NDArray[np.float64]) -> dict[str, float]:
    batch = maps(density[None])
    (rows,) = AoiTracker(areas).update(batch, Tracker().update(batch))
    return {row.aoi: row.predicted_share for row in rows}


def test_the_road_ahead_of_a_flat_map_is_the_area_worked_out_by_hand() -> None:
    # A box of 20 x 10 above the point's row, and a trapezium that widens from 20 to 80 over the 30 rows below it.
    areas = road_areas([point_at(60, 20)], height=50, width=100, half_width=0.1)
    found = shares(areas, np.ones((10, 20)))
    ahead = 20 * 10 + (20 + 80) / 2 * 30
    assert found["road ahead"] == pytest.approx(ahead / 5000, abs=1e-6)
    # Left of column 60, without the half of the road that is there; the road ends with the picture on neither side.
    assert found["left"] == pytest.approx((60 * 50 - ahead / 2) / 5000, abs=1e-6)
    assert sum(found.values()) == pytest.approx(1, abs=1e-6)


def test_attention_goes_to_the_area_that_it_lies_in() -> None:
    areas = road_areas([point_at(50, 20)], height=50, width=100, half_width=0.08)
    for place, name in (((4, 10), "road ahead"), ((1, 2), "left"), ((5, 18), "right"), ((0, 11), "right")):
        density = np.full((10, 20), 1e-9)
        density[place] = 1
        found = shares(areas, density)
        assert max(found, key=lambda each: found[each]) == name and found[name] > 0.99


def aois_of(tmp_path: Path, name: str, *areas: dict[str, Any]) -> Any:
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps({"format": "vidsal-aois-1", "size": [100, 50], "aois": list(areas)}))
    return read_aois(path, height=50, width=100)


def test_a_mirror_hides_a_car_and_a_car_hides_the_road(tmp_path: Path) -> None:
    camera = aois_of(tmp_path, "camera", {"name": "mirror", "box": [40, 10, 20, 10]})
    # Its own priority is that among road users.
    users = aois_of(tmp_path, "users", {"name": "car", "box": [30, 10, 40, 20], "priority": 7})
    areas = road_areas([point_at(50, 20)], height=50, width=100, half_width=0.1, camera=camera, users=users)
    shapes = areas.shapes(Moment(seconds=0, frame=0))
    assert (shapes["mirror"].area, shapes["car"].area) == (200, 40 * 20 - 200)
    assert shapely.area(shapely.intersection(shapes["road ahead"], shapes["car"])) == pytest.approx(0, abs=1e-9)
    assert sum(shape.area for shape in shapes.values()) == pytest.approx(5000)


def test_in_a_shot_without_a_point_there_is_no_road_and_nothing_left_or_right(tmp_path: Path) -> None:
    camera = aois_of(tmp_path, "camera", {"name": "mirror", "box": [40, 0, 20, 10]})
    points = [point_at(50, 20), point_at(None, None, shot=1, start=1.5), point_at(20, 30, shot=2, start=2.5)]
    areas = road_areas(points, height=50, width=100, half_width=0.1, camera=camera)
    there = [set(areas.shapes(Moment(seconds=seconds, frame=0))) for seconds in (1.49, 1.5, 2.49, 2.5)]
    assert there[1] == there[2] == {"mirror"} and there[0] == there[3] == {"mirror", "road ahead", "left", "right"}
    right = areas.shapes(Moment(seconds=9, frame=0))["right"]
    assert shapely.bounds(right)[0] >= 20


def test_two_areas_of_one_name_are_refused(tmp_path: Path) -> None:
    camera = aois_of(tmp_path, "camera", {"name": "left", "box": [0, 0, 20, 10]})
    with pytest.raises(DatasetError, match="two areas of the drive are called 'left'"):
        road_areas([point_at(50, 20)], height=50, width=100, half_width=0.1, camera=camera)


def test_the_areas_that_are_written_are_those_that_are_read(tmp_path: Path) -> None:
    moving = {"name": "car", "keyframes": [{"frame": 3, "box": [1, 2, 9, 8]}, {"frame": 9, "absent": True}]}
    users = aois_of(tmp_path, "users", {**moving, "priority": 2, "start_seconds": 0.5, "shots": [0, 2]})
    points = [point_at(50, 20), point_at(None, None, shot=1, start=1.5)]
    areas = road_areas(points, height=50, width=100, half_width=0.1, users=users)
    path = tmp_path / "areas.json"
    path.write_text(aois_as_json(areas, height=50, width=100, about={"limits": "stated"}))
    again = read_aois(path, height=50, width=100)
    for seconds, frame, shot in ((0.0, 0, 0), (0.7, 5, 0), (0.7, 5, 1), (1.6, 16, 0), (1.4, 9, 2)):
        moment = Moment(seconds=seconds, frame=frame, shot=shot)
        one, other = areas.shapes(moment), again.shapes(moment)
        assert one.keys() == other.keys()
        assert all(shapely.equals(one[name], other[name]) for name in one)


# Moments to look at.


def spot(x: float, y: float, sigma: float = 2.0) -> npt.NDArray[np.float64]:
    rows, columns = np.mgrid[:16, :32]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


def candidates(density: list[npt.NDArray[np.float64]], shots: list[int] | None = None) -> list[Any]:
    batch = maps(np.stack(density))
    if shots is not None:
        shot = np.array(shots)
        kept = {"shot": shot, "cut": np.diff(shot, prepend=shot[0]) > 0, "log_density": batch.log_density}
        batch = SaliencyBatch(batch.index, batch.pts_seconds, height=50, width=100, **kept)
    finder = CandidateFinder()
    tracker = Tracker()
    for begin in range(0, len(batch), 7):
        part = batch[begin : begin + 7]
        finder.update(part, tracker.update(part))
    return finder.flush()


def test_a_map_that_spreads_and_one_that_jumps_are_found_where_they_are() -> None:
    still, wide, away = spot(16, 8), spot(16, 8, 6), spot(26, 4)
    found = candidates([still] * 40 + [wide] * 8 + [still] * 30 + [away] * 22)
    by_kind = {kind: [one for one in found if one.kind == kind] for kind in ("spread", "jump")}
    (spread,) = by_kind["spread"]
    assert (spread.start_seconds, spread.end_seconds) == pytest.approx((4.0, 4.7))
    assert spread.value > spread.threshold > spread.usual
    # Widening and narrowing change the map too, within half a second; then all of it goes elsewhere.
    last = by_kind["jump"][-1]
    assert (last.start_seconds, last.end_seconds) == pytest.approx((7.8, 8.2))
    # By hand: what the two maps have in common.
    common = np.minimum(still / still.sum(), away / away.sum()).sum()
    assert last.value == pytest.approx(1 - common, abs=1e-4)
    assert all("candidate to look at" in one.note and "nothing about safety" in one.note for one in found)


def test_a_cut_is_no_jump_and_a_steady_map_has_no_moment() -> None:
    one, other = [spot(6, 8)] * 30, [spot(26, 8)] * 30
    assert candidates(one + other, [0] * 30 + [1] * 30) == []
    assert {each.kind for each in candidates(one + other)} == {"jump"}
    assert candidates(one) == []


# From file to tables.


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_reports_a_drive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_video(
        tmp_path / "drive.mp4",
        frames=30,
        width=WIDTH,
        height=HEIGHT,
        rate=25,
        picture=road_picture(WIDTH, HEIGHT, vanishing=(140, 95)),
    )
    area = {"name": "mirror", "box": [120, 0, 60, 25]}
    (tmp_path / "camera.json").write_text(json.dumps({"format": "vidsal-aois-1", "size": [320, 180], "aois": [area]}))
    (tmp_path / "cars.xml").write_text(
        "<annotations><track id='0' label='car'><box frame='5' xtl='20' ytl='90' xbr='60' ybr='120' outside='0'/>"
        "<box frame='15' xtl='20' ytl='90' xbr='60' ybr='120' outside='1'/></track></annotations>"
    )
    model = make_checkpoint(tmp_path / "tiny.safetensors")
    wanted = ["run", str(tmp_path / "drive.mp4"), "--model", str(model), "--device", "cpu", "--no-video", "-q"]
    wanted += ["--report-driving", "--camera-template", str(tmp_path / "camera.json")]
    wanted += ["--road-users", str(tmp_path / "cars.xml"), "--export", "shots"]
    assert main(wanted) == 0
    made = {Path(line).name for line in capsys.readouterr().out.splitlines()}
    assert {f"drive.vidsal.driving{part}.csv" for part in ("", "-summary", "-moments", "-points")} <= made

    (point,) = rows_of(tmp_path / "drive.vidsal.driving-points.csv")
    (shot,) = rows_of(tmp_path / "drive.vidsal.shots.csv")
    assert (point["start_seconds"], point["end_seconds"]) == (shot["start_seconds"], shot["end_seconds"])
    assert point["found"] == "true" and float(point["confidence"]) > 0.9
    assert (float(point["x"]), float(point["y"])) == pytest.approx((140, 95), abs=3.2)
    assert "not from a calibrated camera" in point["note"]
    rows = rows_of(tmp_path / "drive.vidsal.driving.csv")
    assert [row["aoi"] for row in rows[:5]] == ["mirror", "car", "road ahead", "left", "right"]
    for first in range(0, len(rows), 5):
        frame = rows[first : first + 5]
        assert sum(float(row["predicted_share"]) for row in frame) == pytest.approx(1, abs=1e-5)
        assert (float(frame[1]["area_share"]) > 0) is (5 <= int(frame[1]["index"]) < 15)
    summary = rows_of(tmp_path / "drive.vidsal.driving-summary.csv")
    assert all(
        "no measurement of any driver" in row["note"] and "nothing about safety" in row["note"] for row in summary
    )
    assert not [name for row in summary for name in row if "dwell" in name]

    areas = tmp_path / "drive.vidsal.driving-areas.json"
    assert "nothing about safety" in json.loads(areas.read_text())["about"]["limits"]
    # The same areas measure the same.
    again = [*wanted[:7], "--aois", str(areas), "--output", str(tmp_path / "again"), "--table", "none", "-q"]
    assert main(again) == 0
    assert rows_of(tmp_path / "again" / "drive.vidsal.aois.csv") == rows

    skip = [*wanted, "--existing", "skip"]
    capsys.readouterr()
    assert main([*skip, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "skipped"
    # Another template makes another report.
    (tmp_path / "camera.json").write_text((tmp_path / "camera.json").read_text().replace("120", "100"))
    assert main(skip) == 3


def test_a_drive_without_a_moment_is_a_whole_result_of_a_batch(tmp_path: Path) -> None:
    """Of all tables only that one may have no row."""
    path = tmp_path / "a.vidsal.driving-moments.csv"
    path.write_text("kind,shot\n")
    row: Any = None
    assert _fault(path, "driving-moments", row) == "" and _fault(path, "driving", row) == "it holds no row"
    path.write_text("")
    assert _fault(path, "driving-moments", row) == "it is empty"


def test_a_drive_without_a_point_says_so_and_the_page_shows_its_areas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = make_video(
        tmp_path / "still.mp4", frames=8, width=WIDTH, height=HEIGHT, picture=lambda _: road(1, (99, 80))[0]
    )
    area = {"name": "mirror", "box": [120, 0, 60, 25]}
    template = tmp_path / "camera.json"
    template.write_text(json.dumps({"format": "vidsal-aois-1", "size": [320, 180], "aois": [area]}))
    model = make_checkpoint(tmp_path / "tiny.safetensors")
    wanted = ["run", str(video), "--model", str(model), "--device", "cpu", "--no-video", "--report", "--report-driving"]
    assert main([*wanted, "--camera-template", str(template)]) == 0
    assert "no vanishing point in 1 of 1 shots, so nothing is said of the road ahead" in capsys.readouterr().err
    summary = {row["aoi"]: row for row in rows_of(tmp_path / "still.vidsal.driving-summary.csv")}
    assert summary["road ahead"]["predicted_share"] == "" and float(summary["mirror"]["predicted_share"]) > 0
    page = tmp_path / "still.vidsal.html"
    shown = page.read_text()
    assert "mirror" in shown and "no measurement of any person" in shown and "no vanishing point" in shown
    assert "nothing here is about safety" in shown
    # As the run wrote it, so it comes out of the finished tables.
    page.unlink()
    assert main(["report", str(tmp_path / "still.vidsal.csv"), "-q"]) == 0
    assert "mirror" in page.read_text() and "no measurement of any person" in page.read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--camera-template", "nowhere.json"],
            "--camera-template nowhere.json is for the report of a drive: add --report-driving",
        ),
        (["--report-driving", "--road-users", "nowhere.xml"], "nowhere.xml cannot be read"),
        (["--report-driving", "--road-half-width", "0.8"], "at most 0.5"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = make_video(tmp_path / "drive.mp4", frames=3, width=64, height=48)
    model = make_checkpoint(tmp_path / "tiny.safetensors")
    assert main(["run", str(video), "--model", str(model), "--device", "cpu", "-q", *more]) in (1, 2)
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


def test_what_can_be_read_once_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    info = VideoInfo(source="-", kind="stream", height=48, width=64)
    options = RunOptions(output=OutputOptions(report_driving=True, video=False))
    with pytest.raises(ConfigError, match="reads the input twice"):
        make_sinks(info, options, torch.device("cpu"), side_by_side=1)


# What was recorded.


@pytest.mark.parametrize("layout", ["dreyeve", "bdd-a"])
def test_recorded_drives_get_the_same_tables(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    made = fixtures.make_dreyeve(root) if layout == "dreyeve" else fixtures.make_bdda(root)
    dataset = open_dataset(layout, made)
    report = write_drives(dataset, tmp_path / "out", options=DrivingOptions())
    assert [path.name for path in report.paths] == [
        f"driving{part}.csv" for part in ("", "-summary", "-moments", "-points")
    ]
    rows = rows_of(report.paths[0])
    assert {"sequence", "index", "pts_seconds", "aoi", "recorded_share"} <= rows[0].keys()
    assert not [name for name in rows[0] if "predicted" in name]
    bad = sum(frame.bad or frame.density() is None for one in dataset for frame in one.read())
    assert report.unrecorded == bad and report.frames == len(rows) / 3
    points = rows_of(report.paths[3])
    assert {row["sequence"] for row in points} == {one.name for one in dataset}
    # Their pictures show no road.
    assert {row["found"] for row in points} == {"false"} and report.found == 0
    summary = rows_of(report.paths[1])
    assert ("weather" in summary[0]) is (layout == "dreyeve")
    assert all("no dwell" in row["note"] for row in summary)


def test_the_share_that_was_recorded_of_a_made_drive_is_found(tmp_path: Path) -> None:
    """The gaze lies on the road ahead in one half of the drive, and right of it in the other."""
    root = tmp_path / "set"
    (root / "01").mkdir(parents=True)
    (root / "dr(eye)ve_design.txt").write_text(fixtures.DESIGN)
    (root / "subsequences.txt").write_text("")
    (root / "missing_gt.txt").write_text("")
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]

    def gaze(i: int) -> RGB:
        x = 140 if i < 20 else 290
        grey = 255 * np.exp(-((columns - x) ** 2 + (rows - 100) ** 2) / (2 * 5.0**2))
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)

    size: dict[str, Any] = {"frames": 40, "width": WIDTH, "height": HEIGHT, "rate": 25, "codec": "mpeg4"}
    make_video(root / "01" / "video_garmin.avi", picture=road_picture(WIDTH, HEIGHT, vanishing=(140, 95)), **size)
    make_video(root / "01" / "video_saliency.avi", picture=gaze, **size)
    dataset = open_dataset("dreyeve", root, validation="none")
    report = write_drives(dataset, tmp_path / "out")
    assert (report.found, report.shots, report.frames) == (1, 1, 40)
    shares = [float(row["recorded_share"]) for row in rows_of(report.paths[0]) if row["aoi"] == "road ahead"]
    assert min(shares[:20]) > 0.8 and max(shares[20:]) < 0.2
    (summed,) = [row for row in rows_of(report.paths[1]) if row["aoi"] == "right"]
    assert 0.4 < float(summed["recorded_share"]) < 0.6 and summed["weather"]
    assert {row["kind"] for row in rows_of(report.paths[2])} <= {"jump", "spread"}


def test_the_command_measures_a_data_set_and_keeps_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = fixtures.make_dreyeve(tmp_path / "set", runs=(1,))
    wanted = ["data", "drives", "dreyeve", str(root), "--out", str(tmp_path / "out"), "-q"]
    assert main(wanted) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    before = (tmp_path / "out" / "driving.csv").read_bytes()
    assert main(wanted) != 0
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "driving.csv").read_bytes() == before
    assert main([*wanted, "--road-half-width", "0"]) == 2
