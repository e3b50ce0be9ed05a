"""The data set of a batch: what is in it, that it is brought up to date, and that a kill spoils nothing."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from made import make_model
from media import make_video
from test_exports_shots import frame, rows_in

from vidsal.batch import dataset as dataset_module
from vidsal.batch.dataset import DatasetProgress, DatasetReport, Finished, write_dataset
from vidsal.errors import DatasetError, EncodeError
from vidsal.exports import tables
from vidsal.exports.shots import ShotList
from vidsal.exports.tables import plain_text
from vidsal.files import claim, release
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.record import InputRecord, ModelRecord, Provenance, ResultRecord, RunRecord, write_record
from vidsal.pipe.run import run
from vidsal.sinks.tables import TextTable
from vidsal.tracks import BOX_COLUMNS, FrameNumbers, column_types

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
duckdb = pytest.importorskip("duckdb")

NAMES = FrameNumbers.columns()
Rows = list[dict[str, Any]]


@cache
def numbers(count: int, shift: float = 0.0) -> tuple[FrameNumbers, ...]:
    """Rows of a table with a cut after every fourth frame; three of them have a third region."""
    rows = [frame(n, n / 25, n // 4, coverage=0.01 * (n % 9 + 1) + shift) for n in range(count)]
    return tuple(dataclasses.replace(row, region3_id=3 if row.index < 3 else None) for row in rows)


def make_results(
    folder: Path,
    place: str,
    rows: Sequence[FrameNumbers],
    *,
    modified: str | None,
    suffix: str = "csv",
    tags: dict[str, str] | None = None,
    **changes: Any,
) -> Finished:
    """The results of an input, as a run leaves them."""
    table, report = folder / f"{place}.vidsal.{suffix}", folder / f"{place}.vidsal.json"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_bytes(content(tuple(rows), suffix))
    made_from = InputRecord("a.mp4", "video", 1000, modified, "ab", 200, 400)
    model = ModelRecord("tiny", "f00d", "fp32", "cpu")
    made_by = Provenance("0.1.0", "", model, made_from, {"smooth": {"smoothing": "none"}, "decode": {"strict": False}})
    results = (ResultRecord("table", table.name, table.stat().st_size),)
    record = RunRecord("done", made_by, results, {"frames": len(rows)}, ())
    write_record(report, dataclasses.replace(record, **changes))
    return Finished(f"/films/{place}.mp4", place, table, report, tags or {})


@cache
def content(rows: tuple[FrameNumbers, ...], suffix: str, without: tuple[str, ...] = ()) -> bytes:
    """What the file of a table holds."""
    types = {name: kind for name, kind in column_types(FrameNumbers).items() if name not in without}
    values = [[getattr(row, name) for name in types] for row in rows]
    if suffix == "parquet":
        buffer = io.BytesIO()
        columns = [list(column) for column in zip(*values, strict=True)]
        schema = pyarrow.schema([field for field in tables.arrow_schema(FrameNumbers) if field.name in types])
        parquet.write_table(pyarrow.table(columns, schema=schema), buffer)
        return buffer.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        table = TextTable(Path(folder, f"made.{suffix}"), types)
        table.write(values)
        table.close()
        return Path(folder, f"made.{suffix}").read_bytes()


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Finished]:
    """Makes the results of an input of ten frames, changed on a day at half past eleven in the evening."""

    def make(
        place: str, *, frames: int = 10, date: str | None = "2026-11-20", shift: float = 0.0, **more: Any
    ) -> Finished:
        modified = None if date is None else f"{date}T23:30:00.000000+00:00"
        return make_results(tmp_path, place, numbers(frames, shift), modified=modified, **more)

    return make


def rows_of(folder: Path, kind: str) -> Rows:
    """All rows, in the order of their inputs; each with the folder in which it lies."""
    rows: Rows = []
    for path in sorted(folder.glob(f"{kind}/*/*.parquet")):
        rows += [row | {"in": path.parent.name} for row in parquet.ParquetFile(path).read().to_pylist()]
    return sorted(rows, key=lambda row: (row["place"], row["shot"], row.get("index", 0)))


def contents(folder: Path) -> tuple[Rows, Rows]:
    return rows_of(folder, "frames"), rows_of(folder, "shots")


def near(values: dict[str, Any]) -> dict[str, Any]:
    """The same to the digits of a table of text."""
    return {n: pytest.approx(value, rel=1e-8) if type(value) is float else value for n, value in values.items()}


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Which file is the same one as before."""
    paths = [path for path in folder.rglob("part-*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def fresh(folder: Path, finished: Iterable[Finished]) -> tuple[Rows, Rows]:
    """What a data set holds that is made in one go."""
    write_dataset(folder, finished)
    return contents(folder)


def small_parts(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Parts, groups and pieces of so few rows that all ways are gone with little."""
    monkeypatch.setattr(dataset_module, "_ROWS_IN_A_PART", rows)
    monkeypatch.setattr(dataset_module, "_ROWS_IN_A_GROUP", 25)
    monkeypatch.setattr(dataset_module, "_PIECES", 3)


# What is in it.


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_rows_of_a_table_and_its_shots_are_there_with_where_they_come_from(
    archive: Callable[..., Finished], tmp_path: Path, suffix: str
) -> None:
    one = archive("mon/a", suffix=suffix, tags={"show": "news", "channel": "2"})
    report = write_dataset(tmp_path / "dataset", [one])
    assert (report.inputs, report.frames, report.shots, report.written, report.parts_written) == (1, 10, 3, 1, 1)
    frames, shots = contents(tmp_path / "dataset")
    for row, expected in zip(frames, numbers(10), strict=True):
        assert {name: row[name] for name in NAMES} == near(expected.as_row())
    made = ShotList(height=200, width=400)
    expected_shots = [*made.update(numbers(10)), *made.flush()]
    for row, shot in zip(shots, expected_shots, strict=True):
        assert {name: row[name] for name in shot.as_row()} == near(shot.as_row())
    for row in (*frames, *shots):
        assert (row["input"], row["place"], row["in"]) == ("/films/mon/a.mp4", "mon/a", "input_date=2026-11-20")
        assert row["input_modified"].isoformat() == "2026-11-20T23:30:00+00:00"
        assert json.loads(row["tags"]) == {"show": "news", "channel": "2"}
        made_by = row["vidsal"], row["model"], row["model_sha256"], row["precision"]
        assert made_by == ("0.1.0", "tiny", "f00d", "fp32")
        assert json.loads(row["options"])["smooth"] == {"smoothing": "none"}


def test_the_columns_have_their_types_and_duckdb_and_pandas_read_them(
    archive: Callable[..., Finished], tmp_path: Path
) -> None:
    write_dataset(tmp_path / "dataset", [archive("a"), archive("b", date=None, tags={"x": "1"})])
    found = duckdb.sql(f"SELECT * FROM '{tmp_path}/dataset/frames/**/*.parquet'")
    types = dict(zip(found.columns, map(str, found.types), strict=True))
    plain = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", str: "VARCHAR"}
    assert {name: types[name] for name in NAMES} == {
        name: plain[kind] for name, kind in column_types(FrameNumbers).items()
    }
    assert (types["input_modified"], types["input_date"]) == ("TIMESTAMP WITH TIME ZONE", "DATE")
    dates = duckdb.sql(f"SELECT input_date, count(*) FROM '{tmp_path}/dataset/shots/**/*.parquet' GROUP BY ALL")
    assert {(str(date), count) for date, count in dates.fetchall()} == {("2026-11-20", 3), ("None", 3)}
    later = f"SELECT count(*) FROM '{tmp_path}/dataset/frames/**/*.parquet' WHERE input_date >= DATE '2026-01-01'"
    assert duckdb.sql(later).fetchall() == [(10,)]
    # As pandas reads it: whole, or by dates.
    assert parquet.read_table(tmp_path / "dataset" / "frames").num_rows == 20
    for date, expected in (("2026-11-20", 10), ("2026-11-21", 0)):
        filters = [("input_date", ">=", date), ("coverage", "<", 1.0)]
        assert parquet.read_table(tmp_path / "dataset" / "frames", filters=filters).num_rows == expected


def test_the_shots_are_those_that_a_run_writes(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=6)
    options = RunOptions(output=OutputOptions(video=False, table="parquet", export=("shots",)))
    run(clip, options=options, model=make_model())
    one = Finished(str(clip), "clip", tmp_path / "clip.vidsal.parquet", tmp_path / "clip.vidsal.json")
    report = write_dataset(tmp_path / "dataset", [one])
    assert not report.failures
    written = rows_in(tmp_path / "clip.vidsal.shots.csv")
    for row, text in zip(rows_of(tmp_path / "dataset", "shots"), written, strict=True):
        assert {name: plain_text(row[name]) for name in text} == text
        assert row["box_width"] > 0 and row["tags"] is None


def timed_results(folder: Path, suffix: Any) -> list[Finished]:
    """The results of a tape with time codes and of a clip without."""
    made = []
    for name, tags in (("tape.mov", {"timecode": "10:00:00:23"}), ("clip.mp4", {})):
        video = make_video(folder / name, frames=4, metadata=tags)
        run(
            video,
            options=RunOptions(output=OutputOptions(video=False, table=suffix, overwrite=True)),
            model=make_model(),
        )
        stem = video.stem
        made.append(Finished(str(video), stem, folder / f"{stem}.vidsal.{suffix}", folder / f"{stem}.vidsal.json"))
    return made


CODES = ["10:00:00:23", "10:00:00:24", "10:00:01:00", "10:00:01:01"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_frames_have_their_time_codes_where_a_source_has_them(tmp_path: Path, suffix: Any) -> None:
    report = write_dataset(tmp_path / "dataset", timed_results(tmp_path, suffix))
    assert not report.failures
    codes = {(row["place"], row["index"]): row["timecode"] for row in rows_of(tmp_path / "dataset", "frames")}
    assert [codes["tape", n] for n in range(4)] == CODES
    assert [codes["clip", n] for n in range(4)] == [None] * 4
    (shot,) = [row for row in rows_of(tmp_path / "dataset", "shots") if row["place"] == "tape"]
    assert (shot["start_timecode"], shot["end_timecode"]) == (CODES[0], "10:00:01:02")


def test_a_data_set_of_an_earlier_version_gets_time_codes_and_can_be_read_beside_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = timed_results(tmp_path, "parquet")
    with monkeypatch.context() as patch:
        patch.setattr(dataset_module, "_FrameRow", FrameNumbers)
        patch.setitem(dataset_module._ROWS, "frames", FrameNumbers)
        write_dataset(tmp_path / "old", inputs)
    assert "timecode" not in rows_of(tmp_path / "old", "frames")[0]
    write_dataset(tmp_path / "new", inputs)
    both = [str(path) for name in ("old", "new") for path in sorted(tmp_path.glob(f"{name}/frames/*/*.parquet"))]
    query = "SELECT timecode FROM read_parquet($files, union_by_name = true) ORDER BY timecode NULLS LAST"
    assert [code for (code,) in duckdb.execute(query, {"files": both}).fetchall()] == CODES + [None] * 12
    # What is resumed is made again as a whole, with them.
    assert write_dataset(tmp_path / "old", inputs).written == 2
    assert contents(tmp_path / "old") == contents(tmp_path / "new")
    assert write_dataset(tmp_path / "old", inputs).written == 0


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_of_an_earlier_version_is_taken_in_without_boxes(
    archive: Callable[..., Finished], tmp_path: Path, suffix: str
) -> None:
    one = archive("a", suffix=suffix)
    assert one.table is not None
    one.table.write_bytes(content(numbers(10), suffix, without=BOX_COLUMNS))
    report = write_dataset(tmp_path / "dataset", [archive_with_size(one)])
    assert (report.frames, report.failed) == (10, 0)
    for row, expected in zip(rows_of(tmp_path / "dataset", "frames"), numbers(10), strict=True):
        assert expected.region1_width and expected.region2_id is None
        assert {name: row[name] for name in NAMES} == near(expected.as_row() | dict.fromkeys(BOX_COLUMNS))
    # A column that has always been there must be there.
    one.table.write_bytes(content(numbers(10), suffix, without=("region1_left", "coverage", "peak_x")))
    report = write_dataset(tmp_path / "dataset", [archive_with_size(one)])
    assert report.failed == 1 and re.search("is no whole table: .*coverage", report.failures[0].reason)


def many(archive: Callable[..., Finished], count: int, **more: Any) -> list[Finished]:
    dates = ["2026-11-18", "2026-11-19", "2026-11-20", None]
    formats = ["csv", "jsonl", "parquet"]
    return [
        archive(f"d{n % 7}/{n:03d}", date=dates[n % 4], suffix=formats[n % 3], frames=5, **more) for n in range(count)
    ]


def test_three_hundred_inputs_lie_in_few_files_by_their_dates_each_once(
    archive: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch, 200)
    folder, inputs = tmp_path / "dataset", many(archive, 300)
    report = write_dataset(folder, iter(inputs))
    assert (report.inputs, report.frames, report.shots, report.failed) == (300, 1500, 600, 0)
    frames, shots = contents(folder)
    assert [(row["place"], row["index"]) for row in frames] == sorted(
        (one.place, index) for one in inputs for index in range(5)
    )
    assert [(row["place"], row["shot"]) for row in shots] == sorted((one.place, n) for one in inputs for n in (0, 1))
    by_date = {row["place"]: row["in"] for row in frames}
    assert by_date == {row["place"]: row["in"] for row in shots}
    assert by_date["d0/000"] == "input_date=2026-11-18" and by_date["d3/003"].endswith("__HIVE_DEFAULT_PARTITION__")
    # 75 inputs of five frames a date, 40 a part.
    assert report.parts_written == 8 and len(files_of(folder)) == 16
    # Again: nothing is written.
    before = files_of(folder)
    again = write_dataset(folder, reversed(inputs))
    assert (again.inputs, again.written, again.removed, again.parts_written) == (300, 0, 0, 0)
    assert files_of(folder) == before
    assert not [path for path in folder.rglob("*") if "partial" in path.name or "lock" in path.name]


def test_only_the_parts_of_what_changed_or_went_are_written_again(
    archive: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch, 50)
    folder, inputs = tmp_path / "dataset", many(archive, 60)
    write_dataset(folder, inputs)
    before = files_of(folder)
    inputs[0] = archive("d0/000", date="2026-11-18", frames=7, shift=0.1)  # changed
    gone = inputs.pop(8)  # of the same date
    inputs[1] = archive("d1/001", date="2026-11-25", frames=5)  # another day
    inputs[2] = dataclasses.replace(inputs[2], tags={"show": "news"})
    report = write_dataset(folder, inputs)
    assert (report.inputs, report.written, report.removed) == (59, 3, 1)
    assert contents(folder) == fresh(tmp_path / "other", inputs)
    assert gone.place not in {row["place"] for row in rows_of(folder, "frames")}
    # Of two parts a date, one each.
    changed = {name for name, state in files_of(folder).items() if before.get(name) != state}
    assert {Path(name).parent.name for name in changed} == {f"input_date=2026-11-{day}" for day in (18, 19, 20, 25)}
    assert len(changed) == 2 * report.parts_written == 8 and before.keys() <= files_of(folder).keys()


def test_an_input_goes_into_another_part_only_when_it_is_out_of_its_own(
    archive: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch, 20)
    old = [archive(f"a{n}") for n in range(4)]
    write_dataset(tmp_path / "dataset", old)
    # There is room in the first part now, and one of the second has changed.
    inputs = [*old[1:3], archive("a3", shift=0.1)]
    report = write_dataset(tmp_path / "dataset", inputs)
    assert (report.inputs, report.written, report.removed, report.parts_written) == (3, 1, 1, 2)
    assert contents(tmp_path / "dataset") == fresh(tmp_path / "other", inputs)


def test_what_comes_later_goes_into_a_part_that_is_small_and_an_empty_one_goes(
    archive: Callable[..., Finished], tmp_path: Path
) -> None:
    folder = tmp_path / "dataset"
    inputs = [archive(f"a{n}") for n in range(4)]
    for count in (1, 2, 4):
        assert write_dataset(folder, inputs[:count]).parts_written == 1
        assert len(files_of(folder)) == 2
    assert contents(folder) == fresh(tmp_path / "other", inputs)
    report = write_dataset(folder, [])
    assert (report.inputs, report.removed, report.frames) == (0, 4, 0)
    assert not list(folder.glob("*/*"))


def test_a_long_input_waits_on_the_disk_and_comes_out_the_same(
    archive: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [archive("long", frames=300, suffix="parquet"), archive("short")]
    expected = fresh(tmp_path / "other", inputs)
    monkeypatch.setattr(dataset_module, "_ROWS_IN_MEMORY", 40)
    monkeypatch.setattr(dataset_module, "read_table", lambda *given, **more: tables.read_table(*given, rows=15, **more))
    assert fresh(tmp_path / "dataset", inputs) == expected
    assert sorted(path.name for path in (tmp_path / "dataset").iterdir()) == ["_index.sqlite", "frames", "shots"]


# What cannot be taken in.


def spoil(archive: Callable[..., Finished], how: str) -> Finished:
    one = archive("bad", tags={"how": how})
    assert one.table is not None
    text = one.table.read_text()
    match how:
        case "no table":
            return dataclasses.replace(one, table=None)
        case "missing":
            one.table.unlink()
        case "record":
            one.record.write_text("{}")
        case "no record":
            one.record.unlink()
        case "unfinished":
            return archive("bad", status="unfinished")
        case "other":
            return archive("bad", results=(ResultRecord("maps", "bad.vidsal.maps.npz", 1),))
        case "cut":
            one.table.write_text(text[:-30])
        case "frames":
            return archive("bad", counts={"frames": 11})
        case "time":
            bad = InputRecord("a.mp4", "video", 1000, "yesterday", "ab", 200, 400)
            made_by = Provenance("0.1.0", "", ModelRecord("tiny", "f00d", "fp32", "cpu"), bad, {})
            return archive("bad", provenance=made_by)
        case _:
            lines = text.splitlines()
            match how:
                case "order":
                    lines[3], lines[4] = lines[4], lines[3]
                case "words":
                    lines[5] = lines[5].replace("false", "maybe")
                case "empty":
                    lines[5] = ",".join(["", *lines[5].split(",")[1:]])
                case "nan":
                    lines[5] = lines[5].replace("0.25", "nan").replace("0.05", "nan")
                case "column":
                    lines[0] = lines[0].replace("coverage", "covering")
            one.table.write_text("\n".join(lines) + "\n")
            return archive_with_size(one)
    return one


def archive_with_size(one: Finished) -> Finished:
    """The record tells of the table as it is."""
    assert one.table is not None
    values = json.loads(one.record.read_text())
    values["results"][0]["bytes"] = one.table.stat().st_size
    one.record.write_text(json.dumps(values))
    return one


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no table", "no table was written"),
        ("missing", "bad.vidsal.csv cannot be read: No such file"),
        ("record", "is no record of this version"),
        ("no record", "bad.vidsal.json cannot be read"),
        ("unfinished", "says that the run was not ended"),
        ("other", "tells of no table bad.vidsal.csv"),
        ("cut", "bytes, but its record tells of"),
        ("frames", "has 10 rows, but its record tells of 11 frames"),
        ("time", "which is no time"),
        ("order", "frame 2 comes out of order"),
        ("words", "is no whole table"),
        ("empty", "a row has no index"),
        ("nan", "coverage of frame 4 must be a finite number"),
        ("column", "is no whole table: .*coverage"),
    ],
)
def test_an_input_that_is_not_what_its_record_tells_of_fails_alone(
    archive: Callable[..., Finished], tmp_path: Path, how: str, says: str
) -> None:
    good = [archive("a"), archive("z")]
    bad = spoil(archive, how)
    report = write_dataset(tmp_path / "dataset", [good[0], bad, good[1]])
    assert (report.inputs, report.failed, report.written) == (2, 1, 2)
    (failure,) = report.failures
    assert failure.input == "/films/bad.mp4"
    assert re.search(says, failure.reason) and "\n" not in failure.reason, failure.reason
    assert {row["place"] for kind in contents(tmp_path / "dataset") for row in kind} == {"a", "z"}


def test_an_input_whose_table_got_lost_is_no_longer_there_until_it_is_back(
    archive: Callable[..., Finished], tmp_path: Path
) -> None:
    inputs = [archive("a"), archive("b")]
    write_dataset(tmp_path / "dataset", inputs)
    assert inputs[0].table is not None
    inputs[0].table.unlink()
    report = write_dataset(tmp_path / "dataset", inputs)
    assert (report.inputs, report.failed, report.removed) == (1, 1, 1)
    report = write_dataset(tmp_path / "dataset", [archive("a"), inputs[1]])
    assert (report.inputs, report.failed, report.written) == (2, 0, 1)


def test_two_inputs_with_one_place_are_not_mixed(archive: Callable[..., Finished], tmp_path: Path) -> None:
    one = archive("a")
    report = write_dataset(tmp_path / "dataset", [one, dataclasses.replace(one, input="/else/a.mov")])
    assert (report.inputs, report.failed) == (1, 1) and report.failures[0].input == "/else/a.mov"
    assert {row["input"] for row in rows_of(tmp_path / "dataset", "frames")} == {"/films/a.mp4"}


def test_the_number_of_failures_that_are_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "_FAILURES", 3)
    report = write_dataset(tmp_path, [Finished(f"{n}", f"{n}", None, tmp_path / "a") for n in range(9)])
    assert report.failed == 9 and [one.input for one in report.failures] == ["0", "1", "2"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="no such names there")
def test_names_that_are_not_utf_8_are_written_in_other_words(archive: Callable[..., Finished], tmp_path: Path) -> None:
    inputs = [archive(os.fsdecode(b"caf\xe9")), archive(os.fsdecode(b"caf\xe8"))]
    report = write_dataset(tmp_path / "dataset", inputs)
    assert report.inputs == 2 and write_dataset(tmp_path / "dataset", inputs).parts_written == 0
    assert {row["place"] for row in rows_of(tmp_path / "dataset", "shots")} == {r"caf\udce9", r"caf\udce8"}


# Kills, losses, and others.


class Killed(BaseException):
    """Ends everything, as a signal would."""


def kill_at(monkeypatch: pytest.MonkeyPatch, point: str, number: int) -> None:
    """End the update at the n-th passage of a point, and leave the disk as it is then."""
    passed = {"count": 0}

    def passes() -> None:
        passed["count"] += 1
        if passed["count"] == number:
            # What cleans up does not run in a process that was killed.
            monkeypatch.setattr(dataset_module, "clear", lambda path: None)
            raise Killed

    if point == "row":
        add = dataset_module._PartFile.add
        monkeypatch.setattr(dataset_module._PartFile, "add", lambda self, *given: (passes(), add(self, *given))[1])
    elif point == "finish":
        finish = dataset_module._PartFile.finish

        def finished(self: Any) -> int:
            size = finish(self)
            passes()
            return size

        monkeypatch.setattr(dataset_module._PartFile, "finish", finished)
    else:
        put = dataset_module.put_all_in_place

        def named(pairs: Sequence[tuple[Path, Path]]) -> None:
            if point == "before naming" and pairs:
                passes()
            for pair in pairs:
                put([pair])
                if point == "between names":
                    passes()

        monkeypatch.setattr(dataset_module, "put_all_in_place", named)


def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files have one size, so that it tells nothing of what is in them."""
    finish = dataset_module._PartFile.finish
    monkeypatch.setattr(dataset_module._PartFile, "finish", lambda self: (finish(self), 1)[1])
    monkeypatch.setattr(dataset_module, "_size", lambda path: 1 if path.exists() else None)


@pytest.mark.parametrize("sizes", ["own", "alike"])
@pytest.mark.parametrize(
    ("point", "number"),
    [
        *(("row", 1), ("row", 3), ("finish", 1), ("finish", 2), ("finish", 3)),
        *(("before naming", 1), ("before naming", 2), ("between names", 1), ("between names", 3)),
    ],
)
def test_a_killed_update_leaves_a_data_set_that_can_be_read_and_the_next_one_repairs_it(
    archive: Callable[..., Finished],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    number: int,
    sizes: str,
) -> None:
    small_parts(monkeypatch, 30)
    if sizes == "alike":
        alike(monkeypatch)
    folder = tmp_path / "dataset"
    old = [archive(f"a{n}", frames=5, date=f"2026-11-1{n % 2}") for n in range(10)]
    old_rows = fresh(folder, old)
    # Some change, one moves, one goes, three are new.
    changed = [
        archive(f"a{n}", frames=5, date="2026-11-11" if n == 2 else f"2026-11-1{n % 2}", shift=0.05) for n in range(4)
    ]
    added = [archive(f"a{n}", frames=5, date=f"2026-11-1{n % 2}") for n in (10, 11, 12)]
    new = [*changed, *old[4:7], *old[8:], *added]
    new_rows = fresh(tmp_path / "new", new)
    with monkeypatch.context() as patch:
        kill_at(patch, point, number)
        with pytest.raises(Killed):
            write_dataset(folder, new)
    allowed = [
        {tuple(sorted((name, str(value)) for name, value in row.items())) for row in (*before, *after)}
        for before, after in zip(old_rows, new_rows, strict=True)
    ]
    for rows, known in zip(contents(folder), allowed, strict=True):
        keys = [(row["place"], row["shot"], row.get("index")) for row in rows]
        assert len(keys) == len(set(keys)), "nothing is there twice"
        assert {tuple(sorted((name, str(value)) for name, value in row.items())) for row in rows} <= known
    report = write_dataset(folder, new)
    assert contents(folder) == new_rows and report.inputs == 12
    if "nam" in point:
        # What the killed update had finished is not made again: of seven, those of the parts before and of this one.
        assert report.written < 7
    assert not [path for path in folder.rglob("*") if "partial" in path.name]
    assert write_dataset(folder, new).parts_written == 0


@pytest.mark.parametrize("sizes", ["own", "alike"])
def test_a_part_that_could_not_get_its_name_gets_it_next_time(
    archive: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: str
) -> None:
    if sizes == "alike":
        alike(monkeypatch)
    folder, inputs = tmp_path / "dataset", [archive("a"), archive("b", shift=0.1)]
    old = fresh(folder, inputs[:1])

    def refused(pairs: Sequence[tuple[Path, Path]]) -> None:
        if pairs:
            raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(dataset_module, "put_all_in_place", refused)
        with pytest.raises(EncodeError, match="Permission denied"):
            write_dataset(folder, inputs)
    assert contents(folder) == old
    assert write_dataset(folder, inputs).written == 0
    assert contents(folder) == fresh(tmp_path / "other", inputs)


@pytest.mark.parametrize("loss", ["index", "noise", "part", "cut", "stray", "columns"])
def test_what_got_lost_or_was_spoilt_is_made_again(
    archive: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    folder, inputs = tmp_path / "dataset", [archive("a"), archive("b", date="2026-11-21")]
    expected = fresh(folder, inputs)
    part = next(iter(folder.glob("shots/*/*.parquet")))
    match loss:
        case "index":
            (folder / "_index.sqlite").unlink()
        case "noise":
            (folder / "_index.sqlite").write_bytes(b"noise" * 1000)
        case "part":
            part.unlink()
        case "cut":
            part.write_bytes(part.read_bytes()[:-9])
        case "stray":
            part.with_name("part-000077.parquet").write_bytes(part.read_bytes())
        case "columns":
            monkeypatch.setattr(dataset_module, "_FORMAT", 99)
    report = write_dataset(folder, inputs)
    assert contents(folder) == expected
    assert report.written == {"index": 2, "noise": 2, "columns": 2, "stray": 0}.get(loss, 1)


def test_a_part_that_is_damaged_in_the_middle_is_named(archive: Callable[..., Finished], tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    write_dataset(folder, [archive("a")])
    (part,) = folder.glob("frames/*/*.parquet")
    part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(DatasetError, match=r"part-000001\.parquet is damaged: remove it"):
        write_dataset(folder, [archive("a"), archive("b")])
    part.unlink()
    assert write_dataset(folder, [archive("a"), archive("b")]).written == 2


def test_files_of_others_are_left_alone(archive: Callable[..., Finished], tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    write_dataset(folder, [archive("a")])
    for name in ("notes.txt", "frames/mine.parquet", "frames/input_date=2026-11-20/mine.parquet"):
        (folder / name).write_text("mine")
    write_dataset(folder, [])
    assert (folder / "frames/input_date=2026-11-20/mine.parquet").read_text() == "mine"
    assert (folder / "notes.txt").exists() and (folder / "frames/mine.parquet").exists()


def test_only_one_process_writes_a_data_set(archive: Callable[..., Finished], tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    lock = claim(tmp_path / "dataset" / "_index.sqlite")
    assert lock is not None
    with pytest.raises(EncodeError, match="another process is writing this data set"):
        write_dataset(tmp_path / "dataset", [archive("a")])
    release(tmp_path / "dataset" / "_index.sqlite", lock)
    assert write_dataset(tmp_path / "dataset", [archive("a")]).inputs == 1


def test_progress_is_told_and_an_update_that_is_stopped_keeps_what_it_has(
    archive: Callable[..., Finished], tmp_path: Path
) -> None:
    inputs, told = [archive(f"a{n}") for n in range(6)], list[DatasetProgress]()

    def update(stop_at: int) -> DatasetReport:
        told.clear()
        return write_dataset(
            tmp_path / "dataset", inputs, on_progress=told.append, should_stop=lambda: len(told) >= stop_at
        )

    report = update(2)
    assert report.stopped and report.inputs == 2
    assert told == [DatasetProgress(1, 6, 10), DatasetProgress(2, 6, 20)]
    report = update(0)
    assert report.stopped and (report.inputs, report.written, report.removed) == (2, 0, 0)
    report = update(99)
    assert not report.stopped and (report.inputs, report.written) == (6, 4)
    assert told[-1] == DatasetProgress(4, 4, 40)


def test_an_error_of_the_caller_stays_what_it_is(archive: Callable[..., Finished], tmp_path: Path) -> None:
    def broken() -> Iterable[Finished]:
        yield archive("a")
        raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        write_dataset(tmp_path / "dataset", broken())
    assert write_dataset(tmp_path / "dataset", [archive("a")]).inputs == 1


def test_a_full_disk_is_said_and_leaves_what_was_there(
    archive: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dataset"
    expected = fresh(folder, [archive("a")])

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(dataset_module.os, "fsync", full)
        with pytest.raises(EncodeError, match="the disk is full"):
            write_dataset(folder, [archive("a"), archive("b")])
    assert contents(folder) == expected and not [path for path in folder.rglob("*") if "partial" in path.name]
    assert write_dataset(folder, [archive("a"), archive("b")]).inputs == 2


def test_without_pyarrow_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(EncodeError, match=r"the data set needs pyarrow: pip install 'vidsal\[parquet\]'"):
        write_dataset(tmp_path / "dataset", [])
    assert not (tmp_path / "dataset").exists()


def test_memory_is_bounded_by_the_pieces_that_are_held(
    archive: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch, 10_000)
    held = []
    files = list[Any]()
    create = dataset_module._PartFile.__init__
    monkeypatch.setattr(
        dataset_module._PartFile, "__init__", lambda self, *given: (files.append(self), create(self, *given))[1]
    )

    def look(progress: DatasetProgress) -> None:
        held.append(max(len(file._pieces) + sum(table.num_rows for table in file._tables) for file in files))

    write_dataset(tmp_path / "dataset", many(archive, 40), on_progress=look)
    assert len(held) == 40 and max(held) <= 25 + 3
