"""One run step by step: what it counts, what it reports, and how it ends."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import make_checkpoint, make_model
from media import make_video
from test_sinks import made_info, names_in, random_batch

from vidsal.decode import DecodeOptions, DecodeReport, VideoInfo
from vidsal.errors import ConfigError, DecodeError, EncodeError, ExistsError, Stopped
from vidsal.frames import SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe import record as record_module
from vidsal.pipe import run as run_module
from vidsal.pipe.options import ModelOptions, OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.places import Place
from vidsal.pipe.record import InputRecord, RunRecord, read_records, write_record
from vidsal.pipe.run import Job, Progress, RunReport, run
from vidsal.sinks import Sink, TableSink
from vidsal.smooth.options import SmoothOptions


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


class Keeping:
    """A sink of nobody's making that keeps what it is given, and how it was left."""

    path = Path("nowhere")

    def __init__(self) -> None:
        self.indices: list[int] = []
        self.left: list[type[BaseException] | None] = []

    def __enter__(self) -> Keeping:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.left.append(kind)

    def write(self, batch: SaliencyBatch) -> None:
        self.indices += batch.index.tolist()


@dataclasses.dataclass
class Opened:
    """What `open_video` is asked, and what it gives."""

    info: VideoInfo
    report: DecodeReport = dataclasses.field(default_factory=DecodeReport)
    asked: dict[str, Any] = dataclasses.field(default_factory=dict)
    arrivals: tuple[tuple[int, float], ...] = ()


def job_of(monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, opened: Opened, *sinks: Sink, **stages: Any) -> Job:
    @contextmanager
    def open_made(source: object, **asked: Any) -> Iterator[Opened]:
        opened.asked = {"source": source, **asked}
        yield opened

    monkeypatch.setattr(run_module, "open_video", open_made)
    return Job(opened.info.path or "made", options=RunOptions(**stages), model=model, sinks=sinks)


NOTHING = OutputOptions(video=False, table="none")


def seconds_that_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock comes one second after the last one."""
    seconds = itertools.count(100.0)
    monkeypatch.setattr(run_module.time, "perf_counter", lambda: next(seconds))


def test_progress_counts_frames_cuts_and_seconds_from_the_first_frame_asked_for(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel
) -> None:
    sink, opened = Keeping(), Opened(made_info(frame_count=12))
    seconds_that_tick(monkeypatch)
    job = job_of(monkeypatch, model, opened, sink, output=NOTHING)
    assert (job.is_open, job.total, job.info) == (False, None, None)
    run_module.time.perf_counter()  # what passes before the source is opened does not count
    job.clock.add("idle", 0.0)
    with job.opened(), job.writing():
        assert (job.is_open, job.total, job.info) == (True, 12, opened.info)
        first, second = job.write(random_batch(7)), job.write(random_batch(5, first=7))
    # A cut every five frames: 5; 10.
    assert (first.frames, first.cuts, first.total) == (7, 1, 12)
    assert (second.frames, second.cuts, second.total) == (12, 2, 12)
    assert first.pts_seconds == pytest.approx(6 * 0.0417083)
    # The sink's stage begins and ends, then the look for the progress; and the same again.
    assert (first.seconds, second.seconds) == (3, 6)
    assert sink.indices == list(range(12)) and sink.left == [None]
    report = job.report()
    assert (report.frames, report.cuts, report.interrupted, report.files) == (12, 2, False, ())
    assert (report.seconds, report.frames_per_second) == (7, pytest.approx(12 / 7))
    assert report.video_seconds == pytest.approx(12 * 0.0417083)
    assert report.stage_frames_per_second == {"keeping": 12 / 2}


def test_more_frames_than_a_source_tells_of_are_never_above_the_total(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel
) -> None:
    job = job_of(monkeypatch, model, Opened(made_info(frame_count=6)), Keeping(), output=NOTHING)
    with job.opened(), job.writing():
        progress = [job.write(random_batch(5, first=first)) for first in (0, 5)]
    assert [(one.frames, one.total) for one in progress] == [(5, 6), (10, 10)]


def test_the_source_is_opened_at_the_size_that_the_model_wants_and_with_pictures_for_a_video(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path
) -> None:
    for wanted in (False, True):
        opened = Opened(made_info())
        output = dataclasses.replace(NOTHING, video=wanted, output=tmp_path)
        job = job_of(monkeypatch, model, opened, Keeping(), output=output, decode=DecodeOptions(batch_size=3))
        with pytest.raises(RuntimeError, match="enough"), job.opened(), job.writing():
            raise RuntimeError("enough")
        assert opened.asked["keep_pictures"] is wanted
        assert opened.asked["options"].batch_size == 3
        assert opened.asked["size"](96, 128) == (48, 64)
    assert names_in(tmp_path) == []


def test_the_delay_is_counted_from_when_a_frame_came(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_module.time, "monotonic", lambda: 100.0)
    opened = Opened(made_info(), arrivals=((2, 1.0), (3, 98.5), (4, 99.5), (5, 50.0)))
    output = OutputOptions(video=False, table="none", maps="mkv", output=tmp_path)
    job = job_of(monkeypatch, model, opened, output=output)
    with job.opened(), job.writing():
        job.write(random_batch(2, first=3))
    report = job.report()
    assert (report.mean_delay_seconds, report.longest_delay_seconds) == (1.0, 1.5)


def test_the_report_hands_on_what_the_reader_the_model_and_the_sinks_say(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path
) -> None:
    said = DecodeReport(
        skipped_corrupt=1,
        concealed=2,
        deinterlaced=6,
        mended_times=3,
        dropped_live=4,
        truncated=True,
        missing_seconds=5.0,
        lost_frames=6,
        damaged_packets=7,
        structure_faults=8,
        skipped_at_start=9,
    )
    said.say("something of the source")
    opened = Opened(made_info(), said)
    monkeypatch.setattr(SaliencyModel, "notes", property(lambda _: ("something of the model",)))
    output = OutputOptions(video=False, table="none", maps="mkv", output=tmp_path)
    job = job_of(monkeypatch, model, opened, output=output)
    with job.opened(), job.writing():
        job.write(random_batch(2, first=3, sharpness=2000.0))  # some cells lie above the scale
    report = job.report()
    assert report.video_seconds == pytest.approx(2 * 0.0417083)
    numbers = (report.skipped_corrupt, report.concealed, report.mended_times, report.dropped_live)
    assert (*numbers, report.truncated, report.missing_seconds) == (1, 2, 3, 4, True, 5.0)
    further = (report.lost_frames, report.damaged_packets, report.structure_faults, report.skipped_at_start)
    assert further == (6, 7, 8, 9)
    left_out = "4 frames of the live source left out, to keep up with it"
    assert report.messages[:3] == ("something of the source", left_out, "something of the model")
    assert report.mean_delay_seconds == report.longest_delay_seconds == 0.0  # it is no live source that has arrivals
    assert "were clipped" in report.messages[3] and len(report.messages) == 4
    assert report.deinterlaced == 6
    assert report.files == (tmp_path / "made.vidsal.maps.mkv",)
    assert report.stage_frames_per_second.keys() == {"maps"}
    assert (report.source, report.model, report.precision, report.device) == ("made", "tiny", "fp32", "cpu")
    assert report.steps == (2, 1)
    plain = report.as_dict()
    assert plain["files"] == [str(tmp_path / "made.vidsal.maps.mkv")]
    assert plain["options"]["output"]["output"] == str(tmp_path)
    assert plain["options"]["recurrence"] == {"state": "carry", "steps": None, "every": None}
    json.dumps(plain)


@pytest.mark.parametrize("kind", ["stream", "video"])
@pytest.mark.parametrize("video", [True, False])
def test_of_an_address_it_is_said_that_sound_is_not_copied_where_there_is_a_video(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, kind: str, video: bool
) -> None:
    output = OutputOptions(video=video, table="csv", output=tmp_path)
    job = job_of(monkeypatch, model, Opened(made_info(kind=kind)), output=output)
    batch = random_batch(1)
    with pytest.raises(RuntimeError), job.opened(), job.writing():
        job._sinks = ()  # nothing is drawn here
        job.write(batch)
        raise RuntimeError
    said = any("not copied" in message for message in job.report().messages)
    assert said == (kind == "stream" and video)


@pytest.mark.parametrize("stop", [Stopped, KeyboardInterrupt])
def test_stopping_is_no_error_and_leaves_partial_files(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, stop: type[BaseException]
) -> None:
    sink, output = Keeping(), OutputOptions(video=False, table="jsonl", output=tmp_path)
    job = job_of(monkeypatch, model, Opened(made_info()), sink, output=output)
    with job.opened(), job.writing():
        job.write(random_batch(2))
        raise stop
    assert job.interrupted and sink.left == [stop]
    assert names_in(tmp_path) == ["made.vidsal.partial.jsonl"]
    report = job.report()
    assert report.interrupted and report.files == (tmp_path / "made.vidsal.partial.jsonl",)


@pytest.mark.parametrize("frames", [0, 2])
def test_a_live_source_ends_by_being_stopped_once_there_are_frames(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, frames: int
) -> None:
    sink, output = Keeping(), OutputOptions(video=False, table="jsonl", output=tmp_path)
    job = job_of(monkeypatch, model, Opened(made_info(live=True)), sink, output=output)
    with job.opened(), job.writing():
        if frames:
            job.write(random_batch(frames))
        raise Stopped
    assert job.interrupted == (not frames)
    assert sink.left == [None if frames else Stopped]
    assert names_in(tmp_path) == (["made.vidsal.json", "made.vidsal.jsonl"] if frames else [])
    report = job.report()
    assert report.frames == frames
    assert report.files == ((tmp_path / "made.vidsal.jsonl",) if frames else ())


def test_a_source_without_a_frame_is_an_error_and_one_that_was_stopped_is_not(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel
) -> None:
    job = job_of(monkeypatch, model, Opened(made_info()), Keeping(), output=NOTHING)
    with pytest.raises(DecodeError, match="made: not one frame"):
        job.report()
    with job.opened(), job.writing():
        pass
    with pytest.raises(DecodeError, match="made: not one frame"):
        job.report()


def test_without_any_file_there_is_nothing_to_do_unless_a_sink_is_given(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel
) -> None:
    job = job_of(monkeypatch, model, Opened(made_info()), output=NOTHING)
    with pytest.raises(ConfigError, match="nothing to write"), job.opened():
        pass
    assert not job.is_open


def test_a_sink_that_cannot_be_entered_leaves_those_before_it(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel
) -> None:
    class Refusing(Keeping):
        def __enter__(self) -> Keeping:
            raise EncodeError("no room")

    first, second = Keeping(), Refusing()
    job = job_of(monkeypatch, model, Opened(made_info()), first, second, output=NOTHING)
    with pytest.raises(EncodeError, match="no room"), job.opened():
        pass
    assert first.left == [EncodeError] and second.left == []
    assert not job.is_open


def test_too_many_steps_are_refused_before_anything_is_opened(model: SaliencyModel) -> None:
    with pytest.raises(ConfigError, match="steps"):
        Job("made", options=RunOptions(recurrence=RecurrenceOptions(steps=9)), model=model)


@pytest.mark.parametrize(
    ("start", "end", "known", "expected"),
    [
        (0.0, None, {"frame_count": 77}, 77),
        (0.0, None, {"rate": Fraction(25), "duration_seconds": 4.0}, None),
        (1.0, None, {"rate": Fraction(25), "duration_seconds": 4.0, "frame_count": 77}, 75),
        (0.0, 2.0, {"rate": Fraction(25), "duration_seconds": 4.0, "frame_count": 77}, 50),
        (1.0, 2.0, {"rate": Fraction(30), "duration_seconds": 4.0}, 30),
        (1.0, 9.0, {"rate": Fraction(25), "duration_seconds": 4.0}, 75),
        (3.99, None, {"rate": Fraction(25), "duration_seconds": 4.0}, 1),
        (1.0, None, {"rate": Fraction(25), "frame_count": 77}, None),
        (1.0, None, {"duration_seconds": 4.0, "frame_count": 77}, None),
    ],
)
def test_the_frames_to_come_are_those_of_the_part_that_is_read(
    monkeypatch: pytest.MonkeyPatch,
    model: SaliencyModel,
    start: float,
    end: float | None,
    known: dict[str, Any],
    expected: int | None,
) -> None:
    decode = DecodeOptions(start_seconds=start, end_seconds=end)
    job = job_of(monkeypatch, model, Opened(made_info(**known)), Keeping(), output=NOTHING, decode=decode)
    with job.opened(), job.writing():
        assert job.total == expected
        job.write(random_batch(1))
    assert np.isfinite(job.report().seconds)


def test_a_run_reads_and_predicts_in_threads_of_their_own_and_tells_how_far_it_is(
    model: SaliencyModel, tmp_path: Path
) -> None:
    source, threads, seen = make_video(tmp_path / "in.mp4", frames=12), set(), []

    def look(progress: Progress) -> None:
        threads.update(thread.name for thread in threading.enumerate())
        seen.append(progress.frames)

    options = RunOptions(output=NOTHING, decode=DecodeOptions(batch_size=4))
    report = run(source, options=options, model=model, sinks=[sink := Keeping()], on_progress=look)  # type: ignore[list-item]
    # The last frame of each batch waits for the next one that the model sees.
    assert seen == [3, 7, 11, 12] and sink.indices == list(range(12)) and sink.left == [None]
    assert {name for name in threads if name.startswith("vidsal")} <= {"vidsal-decode", "vidsal-predict"}
    assert report.stage_frames_per_second.keys() == {"decode", "cuts", "preprocess", "model", "smooth", "keeping"}
    quiet = run(source, options=options, model=model, sinks=[Keeping()], should_stop=lambda: True)  # type: ignore[list-item]
    assert quiet.interrupted and quiet.frames == 3


def test_a_run_loads_the_model_of_its_options_unless_it_is_given_one(tmp_path: Path) -> None:
    source, checkpoint = make_video(tmp_path / "in.mp4", frames=2), make_checkpoint(tmp_path / "mine.safetensors")
    wanted = ModelOptions(model=str(checkpoint), device="cpu", precision="fp32")
    report = run(source, options=RunOptions(model=wanted, output=NOTHING), sinks=[Keeping()])  # type: ignore[list-item]
    assert report.model == "tiny"


def test_a_run_without_options_takes_the_defaults(model: SaliencyModel, tmp_path: Path) -> None:
    report = run(make_video(tmp_path / "in.mp4", frames=2), model=model)
    assert names_in(tmp_path) == ["in.mp4", "in.vidsal.csv", "in.vidsal.json", "in.vidsal.mp4"]
    assert report.options["smooth"]["smoothing"] == "exponential"


def test_a_run_has_the_machine_to_itself_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(run_module, "make_sinks", lambda *_, side_by_side, **__: asked.append(side_by_side) or [])
    for shared in ({}, {"side_by_side": 3}):
        job_of(monkeypatch, model, Opened(made_info()))  # for the source
        job = Job("made", options=RunOptions(), model=model, sinks=[Keeping()], **shared)  # type: ignore[list-item]
        with job.opened(), job.writing():
            job.write(random_batch(1))
    assert asked == [1, 3]


# The results of one run belong together.

BOTH = {"video": False, "table": "jsonl", "maps": "npz"}


@pytest.mark.parametrize("fails", ["table", "maps"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_where_one_result_cannot_be_ended_none_gets_its_name_and_the_next_run_is_not_kept_from_working(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, fails: str, overwrite: bool
) -> None:
    output = OutputOptions(output=tmp_path, overwrite=overwrite, **BOTH)  # type: ignore[arg-type]
    names = {"made.vidsal.jsonl", "made.vidsal.maps.npz"}
    if overwrite:
        for name in names:
            (tmp_path / name).write_text("of an earlier run")
    job = job_of(monkeypatch, model, Opened(made_info()), output=output)

    with pytest.raises(EncodeError, match="no more room"), job.opened(), job.writing():
        job.write(random_batch(2))
        failing = next(sink for sink in job._own if sink.stage == fails)
        close = failing._close

        def broken(*, complete: bool) -> None:
            close(complete=complete)
            raise EncodeError("no more room")

        monkeypatch.setattr(failing, "_close", broken)
    assert {name for name in names_in(tmp_path) if ".partial." not in name} == (names if overwrite else set())
    assert all((tmp_path / name).read_text() == "of an earlier run" for name in names if overwrite)
    assert not [name for name in names_in(tmp_path) if name.endswith(".lock")]
    again = job_of(monkeypatch, model, Opened(made_info()), output=output)
    with again.opened(), again.writing():
        again.write(random_batch(2))
    assert names <= set(names_in(tmp_path)) and not [name for name in names_in(tmp_path) if ".partial." in name]
    assert {path.name for path in again.report().files} == names


def test_a_sink_of_another_kind_that_fails_at_its_end_keeps_the_files_from_their_names(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path
) -> None:
    class Failing(Keeping):
        def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
            raise EncodeError("it could not be sent")

    job = job_of(monkeypatch, model, Opened(made_info()), Failing(), output=OutputOptions(output=tmp_path, **BOTH))  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match="could not be sent"), job.opened(), job.writing():
        job.write(random_batch(2))
    assert names_in(tmp_path) == ["made.vidsal.maps.partial.npz", "made.vidsal.partial.jsonl"]


def test_a_file_that_appears_under_one_final_name_keeps_all_results_partial(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path
) -> None:
    job = job_of(monkeypatch, model, Opened(made_info()), output=OutputOptions(output=tmp_path, **BOTH))  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match="has appeared"), job.opened(), job.writing():
        job.write(random_batch(2))
        (tmp_path / "made.vidsal.maps.npz").write_text("mine")
    assert (tmp_path / "made.vidsal.maps.npz").read_text() == "mine"
    assert not (tmp_path / "made.vidsal.jsonl").exists() and (tmp_path / "made.vidsal.partial.jsonl").exists()


# The record, and what earlier runs left.


@pytest.fixture
def source(tmp_path: Path) -> Opened:
    """A file that is never read."""
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.mp4"
    path.write_bytes(bytes(100))
    return Opened(made_info(source=str(path), path=path, kind="video"))


def done(job: Job, frames: int = 2) -> RunReport:
    with job.opened(), job.writing():
        job.write(random_batch(frames))
    return job.report()


def in_out(tmp_path: Path, existing: Any = "skip", **output: Any) -> OutputOptions:
    return OutputOptions(
        **{"output": tmp_path / "out", "video": False, "table": "jsonl", "existing": existing} | output
    )


def test_the_record_is_unfinished_before_the_files_get_their_names_and_says_in_the_end_what_the_run_says(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, source: Opened
) -> None:
    folder, written = tmp_path / "out", []

    def write(path: Path, record: RunRecord, **more: Any) -> None:
        written.append((record.status, names_in(folder)))
        write_record(path, record, **more)

    monkeypatch.setattr(run_module, "write_record", write)
    job = job_of(monkeypatch, model, source, output=in_out(tmp_path, maps=str(tmp_path / "m.npz")))
    provenance = []
    with job.opened(), job.writing():
        provenance = [sink.provenance for sink in job._own]
        job.write(random_batch(2))
        source.report.say("a word")
    report = job.report()
    partial = ["a.vidsal.jsonl", "a.vidsal.json"]
    assert [status for status, _ in written] == ["unfinished", "done"]
    assert not {*partial} & {*written[0][1]} and {*partial} <= {*written[1][1]}
    (record,) = read_records(folder / "a.vidsal.json")
    assert (report.status, report.record_file) == ("done", folder / "a.vidsal.json")
    assert [(one.stage, one.file) for one in record.results] == [
        ("table", "a.vidsal.jsonl"),
        ("maps", str(tmp_path / "m.npz")),
    ]
    assert record.counts == {name: getattr(report, name) for name in record.counts} and record.counts["frames"] == 2
    assert record.messages == report.messages and "a word" in report.messages
    assert provenance == [record.provenance.as_text()] * 2
    read = InputRecord.of("", source.info.path, kind="video")
    assert record.provenance.input == dataclasses.replace(read, height=48, width=64, sample_aspect_ratio="1")
    plain = report.as_dict()
    assert (plain["status"], plain["interrupted"], plain["record_file"]) == ("done", False, str(report.record_file))


def test_without_a_record_the_one_that_is_there_vouches_only_for_what_stays(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, source: Opened
) -> None:
    report = tmp_path / "out" / "a.vidsal.json"

    def go(existing: str = "overwrite", **output: Any) -> RunReport:
        job = job_of(monkeypatch, model, source, output=in_out(tmp_path, existing, **output))
        assert not job.is_done()
        return done(job)

    def vouches() -> list[str]:
        return [one.file for record in read_records(report) for one in record.results]

    quiet = go("refuse", record=False)
    assert quiet.record_file is quiet.as_dict()["record_file"] is None and not report.exists()
    report.write_text("{}")
    go(record=False)
    assert report.read_text() == "{}", "it is somebody else's"
    for made in ({}, {"table": "none", "maps": "npz"}, {"table": "none", "maps": "m.npz"}):
        go(**made)
    names = ["m.npz", "a.vidsal.maps.npz", "a.vidsal.jsonl"]
    assert vouches() == names
    for again in ({"table": "none", "maps": "m.npz"}, {"table": "none", "maps": "npz"}):
        go(record=False, **again)
        names.pop(0)
        assert vouches() == names
    go(record=False)
    assert not report.exists()
    # Somebody removes it while the run goes on.
    go()
    job = job_of(monkeypatch, model, source, output=in_out(tmp_path, "overwrite", record=False))
    assert not job.is_done()
    report.unlink()
    assert done(job).record_file is None


def test_a_sink_of_ones_own_leaves_no_record(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, source: Opened
) -> None:
    sink = TableSink(tmp_path / "mine.csv")
    report = done(job_of(monkeypatch, model, source, sink, output=NOTHING))
    assert report.record_file is None and names_in(tmp_path / "in") == ["a.mp4"]
    assert (tmp_path / "mine.csv").exists() and not report.files


def test_what_is_done_is_reported_as_the_run_that_made_it_counted(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, source: Opened
) -> None:
    first = job_of(monkeypatch, model, source, output=in_out(tmp_path))
    assert not first.is_done()
    source.report.concealed, source.report.truncated = 3, True
    source.report.say("the file is cut off")
    made = done(first)
    job = job_of(monkeypatch, model, source, output=in_out(tmp_path))
    assert job.is_done() and not job.is_open
    with job.writing():
        pass
    report = job.report()
    assert report == dataclasses.replace(
        made, status="skipped", seconds=0.0, frames_per_second=0.0, stage_frames_per_second={}
    )
    assert (report.frames, report.concealed, report.truncated, report.cuts) == (2, 3, True, 0)
    assert report.messages == ("the file is cut off",)
    again = run(source.info.path or "", options=RunOptions(output=in_out(tmp_path)), model=model)
    assert again == report
    # An earlier version counted fewer things.
    (record,) = read_records(made.record_file or tmp_path)
    write_record(made.record_file or tmp_path, dataclasses.replace(record, counts={"frames": 2, "more": 1}))
    job = job_of(monkeypatch, model, source, output=in_out(tmp_path))
    assert job.is_done()
    assert (job.report().frames, job.report().concealed, job.report().truncated) == (2, 0, False)


def test_with_a_sink_of_ones_own_what_is_done_is_made_again(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, source: Opened
) -> None:
    done(job_of(monkeypatch, model, source, output=in_out(tmp_path)))
    job = job_of(monkeypatch, model, source, sink := Keeping(), output=in_out(tmp_path))
    assert not job.is_done()
    assert done(job).status == "done" and sink.indices == [0, 1]


def test_what_is_done_under_another_name_is_found_where_skipping_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, source: Opened
) -> None:
    made = done(job_of(monkeypatch, model, source, output=in_out(tmp_path)))
    below = Place(tmp_path / "out" / "in", "a")

    def elsewhere(existing: str = "skip", *sinks: Keeping, **stages: Any) -> Job:
        job = job_of(monkeypatch, model, source, *sinks, output=in_out(tmp_path, existing), **stages)
        job.place = below
        return job

    assert not elsewhere(smooth=SmoothOptions(smoothing="none")).is_done()
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "other_places", lambda *_: pytest.fail("it is looked for"))
        assert not elsewhere("refuse").is_done() and not elsewhere("skip", Keeping()).is_done()
    job = elsewhere()
    assert job.is_done() and job.place == Place(tmp_path / "out", "a") and job.report().files == made.files
    # Also where a file of somebody else has the name now.
    below.folder.mkdir()
    (below.folder / "a.vidsal.json").write_text("{}")
    assert elsewhere().is_done()
    for other in (elsewhere("refuse"), elsewhere(smooth=SmoothOptions(smoothing="none"))):
        with pytest.raises(ExistsError, match=r"in.a\.vidsal\.json exists already"):
            other.is_done()
    # Nor where a part of it is missing; a place without a record costs no more than that look.
    (below.folder / "a.vidsal.json").unlink()
    made.files[0].unlink()
    looked, look_around = [], run_module.look_around
    monkeypatch.setattr(
        run_module, "look_around", lambda place, *more: looked.append(place) or look_around(place, *more)
    )
    job = elsewhere()
    assert not job.is_done() and job.place == below and looked == [below, Place(tmp_path / "out", "a")]


def test_what_another_run_has_made_meanwhile_is_kept(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, source: Opened
) -> None:
    report = done(job_of(monkeypatch, model, source, output=in_out(tmp_path))).record_file or tmp_path
    (record,) = read_records(report)
    write_record(report, dataclasses.replace(record, status="unfinished"))
    first, second = (job_of(monkeypatch, model, source, output=in_out(tmp_path, "refuse")) for _ in range(2))
    assert not first.is_done() and not second.is_done()
    assert done(second).status == "done"
    with pytest.raises(ExistsError, match="another run has just made these results"), first.opened():
        pass
    assert read_records(report)[0].status == "done"


@pytest.mark.parametrize("change", ["none", "longer", "gone", "afterwards"])
def test_an_input_that_changes_while_it_is_read_is_told_without_reading_it_again(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, source: Opened, change: str
) -> None:
    path = source.info.path or tmp_path
    job = job_of(monkeypatch, model, source, output=in_out(tmp_path))
    with job.opened(), job.writing():
        monkeypatch.setattr(record_module, "_sample_of", lambda _: pytest.fail("it is read again"))
        job.write(random_batch(1))
        if change == "longer":
            path.write_bytes(bytes(101))
        if change == "gone":
            path.unlink()
    if change == "afterwards":
        path.write_bytes(bytes(101))
    assert job.report().video_seconds == 0, "of one frame"
    messages = job.report().messages
    assert len(messages) == (change == "longer")
    assert all("was changed while it was read: it had been a.mp4, 100 bytes, of " in text for text in messages)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            PermissionError(13, "Permission denied"),
            r"a\.mp4 cannot be read: Permission denied; change its permissions$",
        ),
        (OSError(5, "Input/output error"), r"a\.mp4 cannot be read: Input/output error$"),
    ],
)
def test_an_input_that_cannot_be_read_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel, tmp_path: Path, source: Opened, error: OSError, says: str
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    job = job_of(monkeypatch, model, source, output=in_out(tmp_path))
    monkeypatch.setattr(run_module, "look_around", failing)
    with pytest.raises(DecodeError, match=says):
        job.is_done()
    monkeypatch.setattr(run_module.InputRecord, "of", failing)
    with pytest.raises(DecodeError, match=says), job.opened():
        pass
