"""What a run finds where its results go, looked at without a run: files and records made by hand."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from media import make_video

from vidsal.batch.options import ArchiveOptions, BatchOptions
from vidsal.decode import DecodeOptions
from vidsal.errors import ExistsError
from vidsal.model.checkpoint import ModelCard, SaliencyModel
from vidsal.pipe import record as record_module
from vidsal.pipe.options import ModelOptions, OutputOptions, RunOptions
from vidsal.pipe.places import places_of, planned_outputs
from vidsal.pipe.record import (
    InputRecord,
    ModelRecord,
    Provenance,
    ResultRecord,
    RunRecord,
    Standing,
    decisive_options,
    is_result,
    look_around,
    plain_options,
    read_records,
    write_record,
)
from vidsal.sinks import VideoOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import CutOptions, RenderOptions, TrackOptions

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="no such names or files there")

MODEL = cast(
    "SaliencyModel",
    SimpleNamespace(card=ModelCard(name="tiny"), sha256="ab", precision="fp32", device="cpu", task="free-viewing"),
)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(100))
    return path


def wanted(existing: str = "skip", **stages: Any) -> RunOptions:
    """A table and maps, unless said otherwise."""
    output = {"video": False, "maps": "npz", "existing": existing, **stages.pop("output", {})}
    return RunOptions(output=OutputOptions(**output), **stages)


def made(clip: Path, *stages: str, status: Any = "done", kind: str = "video", **changed: Any) -> RunRecord:
    """Results of ten bytes each, and the record that a run with `wanted` makes of them; not the file of it."""
    options = wanted(output={"video": True}, **changed)
    (place,) = places_of([clip], options.output)
    planned = planned_outputs(place, options.output, still=kind == "image")
    for stage in stages:
        planned[stage].write_bytes(bytes(10))
    results = tuple(ResultRecord(stage, planned[stage].name, 10) for stage in stages)
    provenance = Provenance.of(InputRecord.of("", clip, kind=kind), options, MODEL)
    return RunRecord(status, provenance, results, {"frames": 3}, ("a word",))


def reported(clip: Path, *records: RunRecord) -> None:
    write_record(clip.with_name("clip.vidsal.json"), records[0], earlier=records[1:])


def look(clip: Path, options: RunOptions, path: Path | None = None) -> Standing:
    (place,) = places_of([clip], options.output)
    return look_around(place, options, MODEL, path or clip)


# Where results are there.


def test_where_nothing_is_there_is_nothing_to_regard(clip: Path) -> None:
    assert look(clip, wanted()) == look(clip, wanted("refuse")) == Standing()


def test_results_count_as_done_only_where_skipping_is_asked_for_and_the_input_is_a_file_that_is_there(
    clip: Path,
) -> None:
    record = made(clip, "table", "maps")
    reported(clip, record)
    assert look(clip, wanted()) == Standing(done=record, records=(record,))
    not_known = Standing(records=(record,))
    assert look(clip, wanted("refuse")) == look(clip, wanted("overwrite")) == not_known
    assert look(clip, wanted(), clip.with_name("gone.mp4")) == not_known
    (place,) = places_of([clip], wanted().output)
    assert look_around(place, wanted(), MODEL, None) == not_known
    # A part of what was made, and nothing at all.
    assert look(clip, wanted(output={"maps": None})).done == record
    assert look(clip, wanted(output={"table": "none", "maps": "none"})).done is None


@pytest.mark.parametrize("missing", ["video", "table", "maps"])
def test_where_a_result_is_missing_the_others_are_made_again_with_it(clip: Path, missing: str) -> None:
    record = made(clip, "video", "table", "maps")
    reported(clip, record)
    paths = record.paths(clip.parent)
    paths[missing].unlink()
    again = look(clip, wanted(output={"video": True}))
    assert (again.done, again.replaceable) == (None, {*paths.values()} - {paths[missing]})


@pytest.mark.parametrize("theirs", ["table", "maps"])
def test_a_file_that_no_record_names_is_not_replaced(clip: Path, theirs: str) -> None:
    record = made(clip, "table", "maps")
    reported(clip, dataclasses.replace(record, results=tuple(one for one in record.results if one.stage != theirs)))
    with pytest.raises(ExistsError, match=f"{record.paths(clip.parent)[theirs]} exists already, and no record says"):
        look(clip, wanted())
    paths = record.paths(clip.parent)
    paths.pop(theirs).unlink()
    assert look(clip, wanted()).replaceable == {*paths.values()}


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_what_was_written_in_place_of_an_mp4_counts_as_it_and_other_maps_do_not(clip: Path, suffix: str) -> None:
    record = made(clip, "video", "maps")
    instead = clip.with_name(f"clip.vidsal.{suffix}")
    clip.with_name("clip.vidsal.mp4").rename(instead)
    clip.with_name("m.mkv").write_bytes(bytes(10))
    files = zip(record.results, (instead.name, "m.mkv"), strict=True)
    reported(
        clip, dataclasses.replace(record, results=tuple(dataclasses.replace(one, file=name) for one, name in files))
    )
    none = {"table": "none", "maps": None}
    assert look(clip, wanted(output=none | {"video": True})).done is not None
    assert look(clip, wanted(output=none | {"maps": "m.mkv"})).done is not None
    assert look(clip, wanted(output=none | {"maps": "m.npz"})).done is None


def test_what_a_killed_run_left_may_be_replaced_as_long_as_nobody_has_changed_it(clip: Path) -> None:
    record = made(clip, "table", "maps", status="unfinished")
    reported(clip, record)
    paths = record.paths(clip.parent)
    for existing in ("refuse", "skip"):
        assert look(clip, wanted(existing)) == Standing(replaceable=frozenset(paths.values()), records=(record,))
    paths["maps"].write_bytes(bytes(11))
    assert look(clip, wanted()).replaceable == {paths["table"]}
    # What an earlier run has finished may be made again with it.
    paths["table"].unlink()
    finished, unfinished = made(clip, "table"), made(clip, "maps", status="unfinished")
    reported(clip, unfinished, finished)
    assert look(clip, wanted()).replaceable == {*paths.values()}


def test_a_result_of_another_size_is_kept(clip: Path) -> None:
    record = made(clip, "table", "maps")
    reported(clip, record)
    record.paths(clip.parent)["maps"].write_bytes(bytes(11))
    with pytest.raises(
        ExistsError, match=r"maps\.npz has been changed since it was made; use existing=overwrite to .* another output$"
    ):
        look(clip, wanted())


def test_a_result_that_was_made_otherwise_is_kept(clip: Path) -> None:
    reported(clip, made(clip, "table", "maps"))
    with pytest.raises(ExistsError, match=r"csv was made otherwise: tracks\.region_reach was 0\.1, is now 0\.5; use"):
        look(clip, wanted(tracks=TrackOptions(region_reach=0.5)))


def test_a_record_of_other_people_is_replaced_only_where_that_is_asked_for(clip: Path) -> None:
    clip.with_name("clip.vidsal.json").write_text("{}")
    for existing in ("skip", "refuse"):
        with pytest.raises(ExistsError, match=r"clip\.vidsal\.json exists already, and is no record"):
            look(clip, wanted(existing))
    assert look(clip, wanted("overwrite")) == Standing()
    assert look(clip, wanted("refuse", output={"record": False})) == Standing()


def test_the_input_is_read_only_where_its_size_or_time_is_another(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, maps = made(clip, "table"), made(clip, "maps")
    earlier = InputRecord.of("", clip, kind="video")
    os.utime(clip, (1, 1))
    moved = dataclasses.replace(maps, provenance=dataclasses.replace(maps.provenance, input=earlier))
    reported(
        clip, moved, dataclasses.replace(table, provenance=Provenance.of(InputRecord.of("", clip), wanted(), MODEL))
    )
    assert look(clip, wanted()).done is not None, "copied: another time, the same content"
    reported(clip, made(clip, "table", "maps"))
    monkeypatch.setattr(record_module, "_sample_of", lambda _: pytest.fail("nothing has to be read"))
    assert look(clip, wanted()).done is not None


def test_a_picture_is_looked_for_where_the_input_was_one(clip: Path) -> None:
    record = made(clip, "image", kind="image")
    assert [one.file for one in record.results] == ["clip.vidsal.png"]
    reported(clip, record)
    assert look(clip, wanted(output={"video": True, "table": "none", "maps": None})).done == record


def test_records_stay_whose_results_are_there_whole_and_are_not_written_again(clip: Path) -> None:
    done, unfinished = made(clip, "table", "maps"), made(clip, "video", status="unfinished")
    paths = done.paths(clip.parent) | unfinished.paths(clip.parent)
    standing = Standing(records=(done, unfinished))
    assert standing.staying(clip.parent, []) == [done]
    assert standing.staying(clip.parent, [paths["maps"]]) == [dataclasses.replace(done, results=(done.results[0],))]
    assert standing.staying(clip.parent, [paths["table"], paths["maps"]]) == []
    paths["table"].write_bytes(bytes(11))
    assert standing.staying(clip.parent, []) == [dataclasses.replace(done, results=(done.results[1],))]


# What makes a difference.

ALL = {"video", "image", "table", "maps", "shots"}


@pytest.mark.parametrize(
    ("changed", "stages"),
    [
        ({"smooth": SmoothOptions(smoothing="none")}, ALL),
        ({"cuts": CutOptions(detect_cuts=False)}, ALL),
        ({"decode": DecodeOptions(start_seconds=1)}, ALL),
        ({"render": RenderOptions(opacity=0.1)}, {"video", "image"}),
        ({"video": VideoOptions(crf=7)}, {"video"}),
        ({"tracks": TrackOptions(region_reach=0.5)}, {"table", "shots"}),
        ({"decode": DecodeOptions(batch_size=1, threads=1, strict=True, max_pixels=9, allow_playlists=True)}, set()),
        ({"video": VideoOptions(encoder_threads=3)}, set()),
    ],
)
def test_options_matter_to_the_results_that_depend_on_them(
    clip: Path, changed: dict[str, Any], stages: set[str]
) -> None:
    source = InputRecord.of("", clip)
    then, now = Provenance.of(source, RunOptions(), MODEL), Provenance.of(source, RunOptions(**changed), MODEL)
    assert {stage for stage in ALL if then.differences(now, stage)} == stages


@pytest.mark.parametrize("style", ["boxes", "peak"])
def test_how_regions_are_found_matters_to_a_video_that_shows_them(clip: Path, style: Any) -> None:
    source, render = InputRecord.of("", clip), RenderOptions(style=("heat", style))
    then, now = (
        Provenance.of(source, RunOptions(render=render, tracks=tracks), MODEL)
        for tracks in (TrackOptions(), TrackOptions(region_reach=0.5))
    )
    assert {stage for stage in ALL if then.differences(now, stage)} == {"video", "image", "table", "shots"}
    assert not {stage for stage in ALL if then.differences(then, stage)}
    # As it is read again from a report.
    again = dataclasses.replace(then, options=json.loads(then.as_text())["options"])
    assert not {stage for stage in ALL if again.differences(then, stage)}


def test_the_version_and_the_model_matter_and_where_it_ran_does_not(clip: Path) -> None:
    then = Provenance.of(InputRecord.of("", clip), RunOptions(), MODEL)
    other = dataclasses.replace(then, vidsal="0", commit="0", model=ModelRecord("other", "cd", "fp16", "cuda"))
    assert then.differences(other, "table") == [
        f"vidsal was {then.vidsal}, is now 0",
        "model.name was tiny, is now other",
        "model.sha256 was ab, is now cd",
        "model.precision was fp32, is now fp16",
    ]
    # Another input is named first; what is no stage was not written by vidsal.
    another = dataclasses.replace(other, input=InputRecord("b.mp4", "video", 7, "then"), options={"odd": 1})
    first, *rest = dataclasses.replace(then, options={}).differences(another, "table")
    assert first.startswith("the input was another one (clip.mp4, 100 bytes, of ") and "now b.mp4, 7 bytes, " in first
    assert len(rest) == 4


def test_options_are_recorded_as_plain_values_without_the_model_and_the_places(clip: Path) -> None:
    options = RunOptions(output=OutputOptions(output=Path("out")))
    plain = plain_options(options)
    assert (plain["output"]["output"], plain["output"]["video"]) == ("out", True)
    assert Provenance.of(InputRecord("", ""), options, MODEL).options == {
        stage: values for stage, values in plain.items() if stage not in ("model", "output")
    }
    # Two runs whose decisive options are the same write the same, wherever it goes and whatever is there.
    elsewhere = OutputOptions(output=Path("other"), record=False, overwrite=True)
    same = RunOptions(output=elsewhere, decode=DecodeOptions(batch_size=1), model=ModelOptions(device="cuda"))
    assert decisive_options(options) == decisive_options(same)
    many = ArchiveOptions(output=OutputOptions(output=Path("out")), batch=BatchOptions(lanes=3))
    assert decisive_options(many) == decisive_options(ArchiveOptions(output=OutputOptions(output=Path("out"))))
    assert "batch" not in decisive_options(many) and decisive_options(options)["output"]["maps"] is None
    for other in (OutputOptions(maps="npz"), OutputOptions(video=False), OutputOptions(container="mkv")):
        assert decisive_options(RunOptions(output=other)) != decisive_options(options)
    assert decisive_options(RunOptions(tracks=TrackOptions(region_reach=0.5))) != decisive_options(options)


# The input.


def test_what_is_no_file_has_only_its_name_and_kind(tmp_path: Path) -> None:
    stream = InputRecord.of("rtsp://host/x", None, kind="stream")
    assert (
        stream
        == InputRecord("rtsp://host/x", "stream")
        == InputRecord.of("rtsp://host/x", tmp_path / "x", kind="stream")
    )
    assert stream.describe() == "rtsp://host/x"
    assert not stream.is_content_of(stream), "it may send anything"
    assert InputRecord.of("x", None).kind == ""


def test_the_sample_of_a_file_is_what_the_record_says(clip: Path) -> None:
    content = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(256)) * 250  # 2 000 kB
    clip.write_bytes(content)
    digest = hashlib.sha256(f"{len(content)} ".encode())
    for n in range(16):
        start = (len(content) - 65536) * n // 15
        digest.update(content[start : start + 65536])
    os.utime(clip, (0, 1.5))
    assert InputRecord.of("", clip, kind="video") == InputRecord(
        "clip.mp4", "video", len(content), "1970-01-01T00:00:01.500000+00:00", digest.hexdigest()
    )
    assert InputRecord.of("", clip, sampled=False).sample_sha256 is None
    clip.write_bytes(b"short")
    assert InputRecord.of("", clip).sample_sha256 == hashlib.sha256(b"5 short").hexdigest()


def test_the_record_of_a_folder_is_of_its_pictures_in_order_and_of_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    assert InputRecord.of("", folder) == InputRecord(
        "frames", "", 0, "1970-01-01T00:00:00.000000+00:00", hashlib.sha256().hexdigest()
    )
    (folder / "below.png").mkdir()
    for name, size, time in (("b.PNG", 5000, 3), ("a.jpg", 10, 2), ("c.txt", 7, 4), ("a.vidsal.png", 7, 4)):
        (folder / name).write_bytes(b"x" * size)
        os.utime(folder / name, (0, time))
    assert InputRecord.of("", folder) == InputRecord(
        "frames",
        "",
        5010,
        "1970-01-01T00:00:03.000000+00:00",
        hashlib.sha256(b"a.jpg 10 " + b"x" * 10 + b"b.PNG 5000 " + b"x" * 4096).hexdigest(),
    )
    monkeypatch.chdir(folder / "below.png")
    Path("link").symlink_to(folder)
    assert [InputRecord.of("", Path(name)).name for name in (".", "..", "link")] == ["below.png", "frames", "link"]


@needs_posix
def test_a_picture_whose_name_is_no_text_is_sampled_by_its_bytes(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only text")
    assert InputRecord.of("", tmp_path).sample_sha256 == hashlib.sha256(b"\xff.png 1 x").hexdigest()


def test_two_inputs_are_one_where_size_and_sample_or_size_name_and_time_are(clip: Path) -> None:
    one = InputRecord("a", "", 7, "then", "sample")
    unread = dataclasses.replace(one, sample_sha256=None)
    assert one.is_content_of(InputRecord("b", "", 7, "now", "sample"))
    assert one.is_content_of(unread) and unread.is_content_of(one) and unread.is_content_of(unread)
    assert not one.is_content_of(dataclasses.replace(one, bytes=8))
    for changed in ({"name": "b"}, {"modified": "now"}):
        other: Mapping[str, Any] = {"sample_sha256": None, **changed}
        assert not one.is_content_of(dataclasses.replace(one, **other))
        assert not unread.is_content_of(dataclasses.replace(one, **other))
        assert not one.is_unchanged(dataclasses.replace(one, **changed))
    assert one.describe() == "a, 7 bytes, of then"


# The record.


def test_a_record_is_read_as_it_was_written_and_by_people_too(clip: Path) -> None:
    record, earlier = made(clip, "table"), made(clip, "maps", status="unfinished")
    reported(clip, record, earlier)
    path = clip.with_name("clip.vidsal.json")
    assert read_records(path) == [record, earlier]
    text = path.read_text()
    assert text.startswith('{\n "format": "vidsal-run-1",\n "status": "done",\n "vidsal": ') and text.endswith("]\n}\n")
    # What a later version adds is left out, and what an earlier one did not have is not known.
    values = json.loads(text)
    for part in (values, values["model"], values["input"], values["results"][0]):
        part["more"] = 1
    del values["input"]["sample_sha256"]
    path.write_text(json.dumps(values))
    again, _ = read_records(path)
    assert again.provenance.input == dataclasses.replace(record.provenance.input, sample_sha256=None)
    assert again.results == record.results


@pytest.mark.parametrize(
    "change", [{"format": "vidsal-run-2"}, {"status": "begun"}, {"results": 1}, {"model": {}}, {"earlier": [1]}]
)
def test_what_is_no_record_of_this_version_is_none(clip: Path, change: dict[str, Any]) -> None:
    reported(clip, made(clip, "table"))
    path = clip.with_name("clip.vidsal.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert read_records(path) == []


def test_only_a_file_is_read_as_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A pipe would never end.
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: pytest.fail("it is opened"))
    assert read_records(tmp_path) == read_records(tmp_path / "missing") == []


# Whose file it is.


@pytest.mark.parametrize(
    ("name", "content", "result"),
    [
        ("a.vidsal.csv", b"", True),
        ("a.vidsal.NPZ", b"", True),
        ("a.vidsal.json", b"", True),
        ("a.vidsal.mp4.lock", b"", True),
        ("a.vidsal.partial.mp4", b"", True),
        ("a.csv", b"", False),
        ("a.partial.csv", b"", False),
        ("a.vidsal.mkv", b"", False),
        ("a.vidsal.png", b"", False),
        ("a.vidsal.png", b"..vidsal_run..", True),
        ("a.vidsal.mkv", b"..VIDSAL_RUN..", True),
        ("a.partial.mp4", b"..vidsal_run..", True),
        ("a.vidsal.png", bytes(2**17 - 9) + b"vidsal_run", False),
        ("a.vidsal.png", bytes(2**17 - 10) + b"vidsal_run", True),
        ("a.mp4", b"..vidsal_run..", False),
    ],
)
def test_a_result_is_known_by_its_name_or_by_what_is_in_it(
    tmp_path: Path, name: str, content: bytes, result: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    assert is_result(tmp_path / name) is result


def test_a_result_is_known_by_the_record_beside_it(clip: Path) -> None:
    named, own, other = (clip.with_name(name) for name in ("out.mp4", "out.vidsal.mkv", "out.mkv"))
    record = made(clip)
    results = tuple(ResultRecord("video", path.name, 0) for path in (named, own))
    write_record(clip.with_name("out.vidsal.json"), dataclasses.replace(record, results=results))
    for path in (named, own, other):
        path.touch()
    assert [is_result(path) for path in (named, own, other)] == [True, True, False]


def test_what_is_no_file_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "a.vidsal.csv").mkdir()
    for name in ("a.vidsal.csv", "missing.vidsal.csv", f"{'n' * 300}.vidsal.csv", "a\0.vidsal.csv"):
        assert not is_result(tmp_path / name)


@pytest.mark.parametrize(("key", "result"), [("VIDSAL_RUN", True), ("OTHER", False)])
def test_the_record_behind_the_head_of_a_video_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, result: bool
) -> None:
    monkeypatch.setattr(record_module, "_HEAD_BYTES", 8)
    path = make_video(tmp_path / "a.vidsal.mkv", frames=1, metadata={key: "{}", "title": "x"})
    assert is_result(path) is result
