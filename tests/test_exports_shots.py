"""Rows of the table with known numbers come in; the shot list has to give what was worked out by hand."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from made import make_model
from media import make_video
from test_tracks import CELLS, HEIGHT, ROWS, WIDTH, blob, make

from vidsal.decode import DecodeOptions
from vidsal.errors import ConfigError, EncodeError
from vidsal.exports import shots as shots_module
from vidsal.exports.contract import Footage
from vidsal.exports.shots import SHOT_COLUMNS, SHOT_SOURCES, ShotList, ShotNumbers
from vidsal.frames import SaliencyBatch
from vidsal.pipe.convert import convert
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.record import is_result, read_records
from vidsal.pipe.reports import finished_runs, write_report
from vidsal.pipe.run import run
from vidsal.report import read_summary
from vidsal.sinks import ExportSink, TableSink, VideoOptions
from vidsal.stages import TrackOptions
from vidsal.tracks import FrameNumbers, Shared, Tracker

FRAME: FrameNumbers = Tracker().update(make([blob(320, 180)]))[0]
SIZE = {"height": 200, "width": 400}


def frame(index: int, seconds: float, shot: int = 0, **numbers: float) -> FrameNumbers:
    """A row of the table; what is not given is the same in all of them."""
    # 8 cells, so that a flat map has 3 bits.
    given: dict[str, Any] = {
        "peak_density": 2.0,
        "centroid_x": 100.0,
        "centroid_y": 50.0,
        "spread_x": 10.0,
        "spread_y": 5.0,
        "entropy_bits": 1.5,
        "entropy_share": 0.5,
        "coverage": 0.25,
        **numbers,
    }
    return dataclasses.replace(FRAME, index=index, pts_seconds=seconds, shot=shot, cut=False, **given)


def shots_of(frames: Sequence[FrameNumbers], *, groups: int = 1000, **size: int) -> list[ShotNumbers]:
    made = ShotList(**(size or SIZE))
    ended = [shot for at in range(0, len(frames), groups) for shot in made.update(frames[at : at + groups])]
    return [*ended, *made.flush()]


def test_two_shots_of_a_variable_rate_have_the_numbers_worked_out_by_hand() -> None:
    first, second = shots_of(
        [
            # Shown for 1, 3, 2 and, as long as these on average, 2 seconds.
            frame(0, 0.0, peak_density=2.0, coverage=0.5, entropy_share=0.5, entropy_bits=1.5, centroid_x=100.0),
            frame(1, 1.0, peak_density=6.0, coverage=0.1, entropy_share=0.25, entropy_bits=0.75, centroid_x=140.0),
            frame(2, 4.0, 1, peak_density=3.0, centroid_y=20.0, spread_x=6.0, spread_y=0.0),
            frame(3, 6.0, 1, peak_density=5.0, centroid_y=20.0, spread_x=8.0, spread_y=0.0),
        ]
    )
    assert (first.shot, first.first_index, first.last_index, first.frames) == (0, 0, 1, 2)
    assert (first.start_seconds, first.end_seconds, first.length_seconds) == (0.0, 4.0, 4.0)
    assert first.mean_peak_density == pytest.approx((1 * 2 + 3 * 6) / 4)
    assert first.max_peak_density == 6.0
    assert first.coverage == pytest.approx((1 * 0.5 + 3 * 0.1) / 4)
    assert first.entropy_share == pytest.approx((1 * 0.5 + 3 * 0.25) / 4)
    # 3 - 1.5 bits for a second, 3 - 0.75 bits for three.
    assert first.attention_strength == pytest.approx((1 * 1.5 + 3 * 2.25) / 4)
    assert (first.centroid_x, first.centroid_y) == pytest.approx((130.0, 50.0))
    # The variance of the mean map is the mean of 10^2 and that of the centroids, (1 * 30^2 + 3 * 10^2) / 4 = 300: 20.
    # Pixels of 110 to 150 and of 45 to 55.
    assert (first.box_x, first.box_width, first.box_y, first.box_height) == (110, 41, 45, 11)
    # Of four seconds three show it.
    assert (first.key_index, first.key_seconds) == (1, 1.0)
    assert (second.shot, second.first_index, second.last_index, second.frames) == (1, 2, 3, 2)
    assert (second.start_seconds, second.end_seconds, second.length_seconds) == (4.0, 8.0, 4.0)
    assert second.mean_peak_density == pytest.approx(4.0)
    # sqrt((6^2 + 8^2) / 2) = 7.07: pixels of 92.9 to 107.1, and one row.
    assert (second.box_x, second.box_width, second.box_y, second.box_height) == (93, 15, 20, 1)
    # The lower median of 6 and 8 for two seconds each.
    assert second.key_index == 2


def test_a_box_ends_at_the_border_of_the_picture() -> None:
    (shot,) = shots_of(
        [frame(0, 0.0, centroid_x=2.0, centroid_y=197.0), frame(1, 1.0, centroid_x=2.0, centroid_y=197.0)]
    )
    assert (shot.box_x, shot.box_width) == (0, 13)
    assert (shot.box_y, shot.box_height) == (192, 8)


def test_without_the_size_of_the_picture_there_is_no_box() -> None:
    (shot,) = ShotList().update([frame(0, 0.0), frame(1, 1.0, 1)])
    assert (shot.box_x, shot.box_y, shot.box_width, shot.box_height) == (None,) * 4
    assert shot.centroid_x == 100.0


def test_a_single_frame_has_no_length_and_its_own_numbers() -> None:
    (shot,) = shots_of([frame(0, 2.5, peak_density=7.0, coverage=0.3)])
    assert (shot.start_seconds, shot.end_seconds, shot.length_seconds, shot.frames) == (2.5, 2.5, 0.0, 1)
    assert (shot.mean_peak_density, shot.coverage, shot.key_index) == (7.0, pytest.approx(0.3), 0)
    assert ShotList().flush() == [] and ShotList().update([]) == []


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_the_last_frame_lasts_as_long_as_the_others_on_average(groups: int) -> None:
    *_, last = shots_of([frame(0, 2.0), frame(1, 2.5), frame(2, 3.5, 1)], groups=groups)
    assert (last.start_seconds, last.end_seconds) == (3.5, 4.25)
    backwards = [frame(0, 5.0, 0), frame(1, 4.0, 1)]
    assert [(shot.end_seconds, shot.length_seconds) for shot in shots_of(backwards)] == [(4.0, 0.0), (4.0, 0.0)]


VARIED = [0, 40, 80, 120, 240, 360, 480, 600, 720, 840, 960]
"""Times in milliseconds, whose mean step is 96 ms; the next frame comes 40 ms after the last one."""


def test_a_lone_frame_lasts_as_long_as_its_rate_says(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=1, rate=10)
    options = RunOptions(output=OutputOptions(export=("shots",)), video=VideoOptions(chapters=True))
    assert run(clip, options=options, model=make_model()).video_seconds == pytest.approx(0.1)
    assert [float(row["length_seconds"]) for row in rows_in(tmp_path / "clip.vidsal.shots.csv")] == [0.1]
    with av.open(str(tmp_path / "clip.vidsal.mp4")) as written:
        (chapter,) = written.chapters()
        assert (chapter["end"] - chapter["start"]) * chapter["time_base"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("pts", "decode", "length"),
    [
        (VARIED, {}, 1.0),
        ([0], {}, 0.04),
        (list(range(0, 1000, 40)), {"start_seconds": 0.2, "end_seconds": 0.57}, 0.37),
        (list(range(0, 1000, 40)), {"start_seconds": 0.2, "end_seconds": 0.24}, 0.04),
        (list(range(0, 1000, 40)), {"start_seconds": 0.2, "end_seconds": 5.0}, 0.8),
    ],
    ids=["variable rate", "one frame", "part", "one frame of a part", "end beyond the source's"],
)
def test_one_rule_says_how_long_the_last_frame_lasts_whoever_asks(
    tmp_path: Path, pts: list[int], decode: dict[str, float], length: float
) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=len(pts), pts=pts, time_base=Fraction(1, 1000))
    kinds = ("shots", "chapters", "vtt", "edl")
    output = OutputOptions(export=kinds, report=True)
    options = RunOptions(output=output, decode=DecodeOptions(**decode), video=VideoOptions(chapters=True))
    report = run(clip, options=options, model=make_model())
    assert report.video_seconds == pytest.approx(length)
    begin = decode.get("start_seconds", 0.0)
    (row,) = rows_in(tmp_path / "clip.vidsal.shots.csv")
    assert float(row["length_seconds"]) == pytest.approx(length)
    assert float(row["end_seconds"]) == pytest.approx(begin + length)
    assert f"END={round((begin + length) * 1e6)}\n" in (tmp_path / "clip.vidsal.chapters.txt").read_text()
    assert f"--> 00:00:0{begin + length:.3f}\n" in (tmp_path / "clip.vidsal.vtt").read_text()
    with av.open(str(tmp_path / "clip.vidsal.mp4")) as written:
        (chapter,) = written.chapters()
        assert (chapter["end"] - chapter["start"]) * chapter["time_base"] == pytest.approx(length)
    assert read_summary(tmp_path / "clip.vidsal.html").length_seconds == pytest.approx(length)  # type: ignore[union-attr]
    # Made of the table and its record it is the same; so is the report.
    convert(tmp_path / "clip.vidsal.csv", kinds, output=tmp_path / "again")
    for kind in ("shots.csv", "chapters.txt", "vtt", "edl"):
        one, other = (folder / f"clip.vidsal.{kind}" for folder in (tmp_path, tmp_path / "again"))
        assert one.read_bytes() == other.read_bytes()
    write_report(finished_runs(tmp_path / "clip.vidsal.json")[0], overwrite=True)
    assert read_summary(tmp_path / "clip.vidsal.html").length_seconds == pytest.approx(length)  # type: ignore[union-attr]


def test_time_that_steps_back_counts_as_none() -> None:
    frames = [frame(0, 5.0, coverage=0.1), frame(1, 4.0, coverage=0.2), frame(2, 5.0, coverage=0.4), frame(3, 4.5, 1)]
    (shot, _) = shots_of(frames)
    assert shot.coverage == pytest.approx(0.2) and shot.length_seconds == 0.0


@pytest.mark.parametrize("cells", [1, 8, 64])
def test_the_strength_counts_the_halvings_of_the_picture(cells: int) -> None:
    flat = np.zeros((16, 32))
    flat.flat[:cells] = 1
    rows = Tracker().update(make([flat, flat, flat], height=16, width=32))
    (shot,) = shots_of(rows, height=16, width=32)
    assert shot.attention_strength == pytest.approx(math.log2(512 / cells), abs=1e-5)


def test_a_flat_map_has_no_strength_and_of_one_cell_neither() -> None:
    for size in ((16, 32), (1, 1)):
        rows = Tracker().update(make([np.ones(size)], height=16, width=32))
        assert shots_of(rows, height=16, width=32)[0].attention_strength == pytest.approx(0.0, abs=1e-5)


def test_length_and_rate_change_no_mean() -> None:
    one = [
        frame(n, n / 10, coverage=0.1 + 0.02 * n, entropy_bits=0.3 * n, entropy_share=0.1 * n + 0.01) for n in range(9)
    ]
    # Every frame five times as often, in three times the time.
    other = [
        dataclasses.replace(row, index=5 * n + m, pts_seconds=3 * (n + m / 5) / 10)
        for n, row in enumerate(one)
        for m in range(5)
    ]
    (short,), (long,) = shots_of(one), shots_of(other)
    for name in ("attention_strength", "coverage", "entropy_share", "mean_peak_density", "centroid_x"):
        assert getattr(short, name) == pytest.approx(getattr(long, name)), name
    assert long.frames == 5 * short.frames


def test_the_box_is_that_of_the_mean_of_the_maps_over_time() -> None:
    maps = np.stack([blob(150, 90), blob(420, 200, 60, 20), blob(300, 120, 20)])
    maps /= maps.sum(axis=(1, 2), keepdims=True)
    times = [0.0, 0.5, 2.0]  # shown for 0.5, 1.5 and 1 seconds
    (shot,) = shots_of(Tracker().update(make(maps, times)), height=HEIGHT, width=WIDTH)
    mean = np.average(maps, axis=0, weights=[0.5, 1.5, 1.0])
    for size, cells, axis, centre, first, count in (
        (WIDTH, CELLS, 0, shot.centroid_x, shot.box_x, shot.box_width),
        (HEIGHT, ROWS, 1, shot.centroid_y, shot.box_y, shot.box_height),
    ):
        at, share = (np.arange(cells) + 0.5) * size / cells - 0.5, mean.sum(axis=axis)
        middle = float(at @ share)
        spread = math.sqrt(float((at - middle) ** 2 @ share))
        assert centre == pytest.approx(middle, abs=1e-3)
        assert first is not None and count is not None
        assert first == math.floor(middle - spread + 0.5)
        assert first + count - 1 == math.floor(middle + spread + 0.5)


@pytest.mark.parametrize("groups", [1, 2, 7, 50])
def test_groups_of_frames_change_nothing(groups: int) -> None:
    random = np.random.default_rng(5)
    numbers = random.uniform(0.01, 0.5, (100, 5))
    frames = [
        frame(
            n,
            float(np.cumsum(random.uniform(0, 0.1, 100))[n]),
            n // 17,
            coverage=row[0],
            centroid_x=400 * row[1],
            spread_x=100 * row[2],
            peak_density=1 + row[3],
            entropy_share=row[4],
        )
        for n, row in enumerate(numbers)
    ]
    assert shots_of(frames, groups=groups) == shots_of(frames)
    assert len(shots_of(frames)) == 6


def test_columns_give_what_rows_give() -> None:
    frames = [frame(n, n / 25, n // 4, centroid_x=float(n)) for n in range(10)]
    columns = {name: np.array([getattr(row, name) for row in frames]) for name in SHOT_SOURCES}
    made = ShotList(**SIZE)
    assert [*made.update(columns), *made.flush()] == shots_of(frames)
    assert set(SHOT_SOURCES) <= set(FrameNumbers.columns())


def test_a_number_that_is_none_is_refused_with_its_name() -> None:
    with pytest.raises(ValueError, match=r"^coverage of frame 1 must be a finite number"):
        ShotList().update([frame(0, 0.0), frame(1, 1.0, coverage=math.nan)])


# The key frame.


def key_of(positions: Sequence[float], times: Sequence[float] | None = None, *, spreads: Sequence[float] = ()) -> int:
    times = times or [n / 10 for n in range(len(positions))]
    (shot,) = shots_of(
        [
            frame(n, time, centroid_x=x, spread_x=spreads[n] if spreads else 10.0)
            for n, (x, time) in enumerate(zip(positions, times, strict=True))
        ]
    )
    return shot.key_index


def test_the_key_frame_is_the_one_nearest_to_the_medians() -> None:
    assert key_of([0, 10, 300, 20, 31]) == 3  # the median is 20
    # Where attention rests for most of the time.
    assert key_of([0, 10, 300, 20, 31], [0, 1, 2, 20, 21]) == 2
    # By the centroid alone it would be the first.
    assert key_of([100, 104, 96], spreads=[40, 11, 10]) == 1


def test_of_equal_frames_the_middle_one_is_the_key_frame() -> None:
    assert key_of([100.0] * 9) == 4
    # What a CSV rounds away does not decide.
    assert key_of([*[100.0] * 4, 100.0004, *[100.0] * 4]) == 4


def test_where_no_time_passes_frames_count_alike() -> None:
    assert key_of([0, 100, 200], [1, 1, 1]) == 1
    assert key_of([0, 100, 200, 300], [1, 1, 1, 3]) == 2  # shown for 0, 0, 2 and 2/3 seconds
    (shot,) = shots_of([frame(n, 1.0, coverage=n / 10) for n in (1, 2, 6)])
    assert shot.coverage == pytest.approx(0.3)


@pytest.mark.parametrize("count", [16, 17, 33, 200])
def test_some_of_the_frames_are_the_same_ones_in_whatever_groups_they_come(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shots_module, "_KEPT", 16)
    stride = {16: 1, 17: 2, 33: 4, 200: 16}[count]
    random = np.random.default_rng(count)
    for place in range(0, count, stride):
        # Those that are looked at lie at both sides, but one of them in the middle, as are all others.
        x = np.where(np.arange(count) % stride, 100.0, random.permutation(count) % 2 * 200.0)
        x[0], x[place] = (0.0, 100.0) if place else (100.0, 100.0)
        frames = [frame(n, float(n), centroid_x=float(value)) for n, value in enumerate(x)]
        made = {shots_of(frames, groups=groups)[0] for groups in (1, 3, 5, 16, 1000)}
        assert len(made) == 1
        looked_at = x[::stride]
        median = np.sort(looked_at)[(len(looked_at) - 1) // 2]
        nearest = [n for n in range(0, count, stride) if abs(x[n] - median) == np.abs(looked_at - median).min()]
        assert abs(made.pop().key_index - count / 2) == min(abs(n - count / 2) for n in nearest)


def test_in_a_long_shot_the_key_frame_is_looked_for_among_some_of_the_frames() -> None:
    count = 20_000
    made = ShotList(**SIZE)
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.full(count, float(getattr(frame(0, 0.0), name))) for name in SHOT_SOURCES
    }
    columns["index"], columns["pts_seconds"] = np.arange(count), np.arange(count) / 25
    # Of every fourth frame the median is 100. Of all frames it would be another one.
    columns["centroid_x"] = np.where(columns["index"] < count / 2, 50.0, 150.0)
    columns["centroid_x"][1::2] = 300.0
    columns["centroid_x"][[9_996, 10_000]] = 100.0
    whole = [*made.update(columns), *made.flush()]
    groups = [
        made.update({name: values[at : at + 37] for name, values in columns.items()}) for at in range(0, count, 37)
    ]
    assert not any(groups)
    assert made._open is not None and sum(map(len, made._open._kept)) <= 8192
    assert made.flush() == whole
    (shot,) = whole
    assert shot.frames == count and shot.last_index == count - 1
    assert shot.key_index == 10_000


# The file.


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def shots_sink(path: Path, tracker: Any = None) -> ExportSink:
    return ExportSink(path, "shots", Footage(name="a.mp4", height=HEIGHT, width=WIDTH), tracker)


def made_maps(count: int, cuts: Sequence[int] = ()) -> SaliencyBatch:
    return make([blob(100 + 20 * n, 150) for n in range(count)], cuts=cuts)


def test_the_file_has_a_row_a_shot_as_soon_as_it_has_ended(tmp_path: Path) -> None:
    batch = made_maps(6, cuts=[2, 4])
    with shots_sink(tmp_path / "a.csv") as sink:
        sink.write(batch[:3])
        assert len(rows_in(sink.partial_path)) == 1
        sink.write(batch[3:])
        assert len(rows_in(sink.partial_path)) == 2 and not sink.path.exists()
    rows = rows_in(tmp_path / "a.csv")
    assert tuple(rows[0]) == ShotNumbers.columns() == tuple(SHOT_COLUMNS)
    expected = shots_of(Tracker().update(batch), height=HEIGHT, width=WIDTH)
    for row, shot in zip(rows, expected, strict=True):
        assert row.pop("start_timecode") == row.pop("end_timecode") == ""
        numbers = {name: value for name, value in shot.as_row().items() if not name.endswith("timecode")}
        assert {name: float(value) for name, value in row.items()} == pytest.approx(numbers, rel=1e-8)
    assert row["box_x"].isdigit() and row["frames"] == "2"


def test_a_run_that_ends_early_leaves_the_frames_until_then_in_the_partial_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), shots_sink(tmp_path / "a.csv") as sink:
        sink.write(made_maps(4, cuts=[3]))
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.partial.csv"]
    assert [row["frames"] for row in rows_in(tmp_path / "a.partial.csv")] == ["3", "1"]


def test_another_ending_and_a_file_that_is_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in one of \.csv"):
        shots_sink(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("precious")
    with pytest.raises(EncodeError, match="exists already"):
        shots_sink(tmp_path / "a.csv")


class Counting:
    """A tracker that counts what it measures."""

    row = FrameNumbers

    def __init__(self) -> None:
        self.tracker, self.measured = Tracker(), 0

    def update(self, batch: SaliencyBatch) -> list[FrameNumbers]:
        self.measured += len(batch)
        return self.tracker.update(batch)


def test_sinks_that_share_a_tracker_measure_each_frame_once(tmp_path: Path) -> None:
    counting, batch = Counting(), made_maps(6, cuts=[3])
    shared = Shared(counting)
    with TableSink(tmp_path / "t.csv", shared) as table, shots_sink(tmp_path / "s.csv", shared) as shots:
        for piece in (batch[:2], batch[2:]):
            table.write(piece)
            shots.write(piece)
    assert counting.measured == 6
    with TableSink(tmp_path / "own.csv") as table, shots_sink(tmp_path / "own_s.csv") as shots:
        table.write(batch)
        shots.write(batch)
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "own.csv").read_bytes()
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "own_s.csv").read_bytes()


def test_what_is_shared_is_asked_again_after_an_error() -> None:
    counting, batch = Counting(), made_maps(2)
    shared = Shared(counting)
    tracker, counting.tracker = counting.tracker, None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        shared.update(batch)
    counting.tracker = tracker
    assert len(shared.update(batch)) == 2 and counting.measured == 4


# A run.


def go(clip: Path, **output: Any) -> Any:
    wanted = {"video": False, "export": ("shots",), **output}
    tracks = wanted.pop("tracks", TrackOptions())
    return run(clip, options=RunOptions(output=OutputOptions(**wanted), tracks=tracks), model=make_model())


def test_a_run_writes_the_shots_of_its_table_and_says_so_in_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=6)
    measured = []
    update = Tracker.update
    monkeypatch.setattr(Tracker, "update", lambda self, batch: measured.append(len(batch)) or update(self, batch))
    report = go(clip, table="jsonl")
    assert [path.name for path in report.files] == ["clip.vidsal.jsonl", "clip.vidsal.shots.csv"]
    assert sum(measured) == 6
    assert "shots" in report.stage_frames_per_second
    (record,) = read_records(tmp_path / "clip.vidsal.json")
    assert [result.stage for result in record.results] == ["table", "shots"]
    assert (record.provenance.input.height, record.provenance.input.width) == (48, 64)
    shots = tmp_path / "clip.vidsal.shots.csv"
    assert is_result(shots)
    rows = rows_in(shots)
    assert [int(row["shot"]) for row in rows] == list(range(report.cuts + 1))
    assert sum(int(row["frames"]) for row in rows) == 6
    assert float(rows[-1]["end_seconds"]) == pytest.approx(6 / 25)
    assert sum(float(row["length_seconds"]) for row in rows) == pytest.approx(report.video_seconds)
    # Done already; but not with tables made otherwise.
    assert go(clip, table="jsonl", existing="skip").status == "skipped"
    with pytest.raises(EncodeError, match=r"tracks\.peak_filter was none, is now one-euro"):
        go(clip, table="none", existing="skip", tracks=TrackOptions(peak_filter="one-euro"))
    shots.unlink()
    assert go(clip, table="jsonl", existing="skip").status == "done" and shots.exists()


def test_shots_may_be_all_that_is_written(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=2)
    assert [path.name for path in go(clip, table="none", record=False).files] == ["clip.vidsal.shots.csv"]
    with pytest.raises(ConfigError, match=r"^table=.*clip\.vidsal\.shots\.csv"):
        go(clip, table="clip.vidsal.shots.csv", overwrite=True)
