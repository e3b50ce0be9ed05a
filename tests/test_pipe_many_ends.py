"""How several runs begin, wait and end: what one leaves behind, and what the others have of it."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import make_model
from media import make_video
from test_pipe import RAW, joined, parts
from test_pipe_many import made_clip, three_clips

from vidsal.decode import DecodeOptions
from vidsal.errors import ConfigError, DecodeError, EncodeError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe import many as many_module
from vidsal.pipe.many import ManyProgress, RunOutcome, StreamBatch, StreamEnd, predict_streams, run_jobs, run_many
from vidsal.pipe.options import ModelOptions, OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.predict import StageClock, VideoPredictor, predict
from vidsal.pipe.run import Job
from vidsal.sinks import TableSink
from vidsal.smooth.options import SmoothOptions

TABLES = RunOptions(recurrence=RecurrenceOptions(every=1), output=OutputOptions(video=False))


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


def clips(folder: Path, *frames: int) -> list[Path]:
    return [
        make_video(folder / f"{name}.mp4", frames=count, width=64, height=48)
        for name, count in zip("abcd", frames, strict=False)
    ]


def names(folder: Path) -> set[str]:
    """Of the tables that runs have made there, and of locks."""
    return {path.name for path in folder.iterdir() if path.suffix in (".csv", ".lock")}


def test_the_model_is_the_default_one_unless_named_or_given(
    model: SaliencyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(many_module, "load_model", lambda name: asked.append(name) or model)
    list(predict_streams([]))
    list(predict_streams([], "other"))
    list(predict_streams([], Path("a.safetensors")))
    list(predict_streams([], model))
    assert asked == ["sam-lite", "other", Path("a.safetensors")]


def test_several_runs_take_the_model_of_their_options_unless_it_is_given(
    model: SaliencyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, loaded = clips(tmp_path, 1), []
    monkeypatch.setattr(ModelOptions, "load", lambda options: loaded.append(options.model) or model)
    for given in ({}, {"model": model}):
        (outcome,) = run_many(sources, options=RunOptions(output=OutputOptions(video=False, overwrite=True)), **given)
        assert outcome.status == "done" and loaded == ["sam-lite"]


def test_eight_videos_run_side_by_side_unless_told_otherwise(
    model: SaliencyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def twelve() -> Iterator[list[FrameBatch]]:
        for number in range(12):
            begun.append(number)
            yield [made_clip(1, 1, size=(48, 64), cut_at=None, rate=25)]

    results = predict_streams(twelve(), model, **RAW)
    next(results)
    assert len(begun) == 8
    results.close()  # type: ignore[attr-defined]
    asked: list[int] = []
    monkeypatch.setattr(many_module, "predict_streams", lambda *_, side_by_side, **__: asked.append(side_by_side) or ())
    assert list(run_many([f"{number}.mp4" for number in range(12)], model=model)) == [] and asked == [8]


@pytest.mark.parametrize(("streams", "count", "ahead"), [(1, 1, 2), (2, 1, 2), (3, 3, 3), (8, 3, 3), (2, 3, 2)])
def test_predictions_run_ahead_of_the_files_by_a_round_and_at_least_by_two(
    model: SaliencyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: int, count: int, ahead: int
) -> None:
    real, depths = many_module.prefetch, []

    def watching(items: Any, **settings: Any) -> Any:
        if settings["name"] == "vidsal-predict":
            depths.append(settings["depth"])
        return real(items, **settings)

    lanes, asked = many_module.predict_streams, []

    def asking(*arguments: Any, **settings: Any) -> Any:
        asked.append(settings["side_by_side"])
        return lanes(*arguments, **settings)

    monkeypatch.setattr(many_module, "prefetch", watching)
    monkeypatch.setattr(many_module, "predict_streams", asking)
    sources = clips(tmp_path, *[1] * count)
    outcomes = list(run_many(sources, model=model, options=TABLES, streams=streams))
    assert all(outcome.error is None for outcome in outcomes) and len(outcomes) == count
    assert depths == [ahead] and asked == [min(streams, count)]


def test_one_clock_counts_the_seconds_of_all_streams(model: SaliencyModel) -> None:
    clock = StageClock()
    two = [list(parts(made_clip(seed, 3, size=(48, 64), cut_at=None, rate=25), [2, 1])) for seed in (1, 2)]
    list(predict_streams(two, model, clock=clock, **RAW))
    assert {"cuts", "preprocess", "model"} <= set(clock.seconds)


def test_what_a_stream_that_fails_had_held_back_is_lost_and_its_error_told_once(model: SaliencyModel) -> None:
    def broken() -> Iterator[FrameBatch]:
        yield made_clip(1, 2, size=(48, 64), cut_at=None, rate=25)
        raise DecodeError("broken")

    whole = [made_clip(2, 2, size=(48, 64), cut_at=None, rate=25)]
    ahead = SmoothOptions(smoothing="gaussian", time_constant_seconds=0.08)
    results = list(predict_streams([broken(), whole], model, smooth=ahead, side_by_side=2))
    ends = [(each.stream, str(each.error or "")) for each in results if isinstance(each, StreamEnd)]
    assert sorted(ends) == [(0, "broken"), (1, "")]
    frames = {n: sum(len(r.batch) for r in results if isinstance(r, StreamBatch) and r.stream == n) for n in (0, 1)}
    assert frames == {0: 0, 1: 2}


def ends_with_table(folder: Path, name: str, rows: int) -> bool:
    text = (folder / f"{name}.vidsal.csv").read_text().splitlines()
    return len(text) == rows + 1


def failing_at(name: str, frame: int) -> Callable[[TableSink, SaliencyBatch], None]:
    write = TableSink.write

    def failing(sink: TableSink, batch: SaliencyBatch) -> None:
        if sink.path.name.startswith(name) and batch.index[-1] >= frame:
            raise EncodeError("no more room")
        write(sink, batch)

    return failing


def test_a_run_whose_files_fail_is_told_of_once_and_counts_the_frames_it_wrote(
    model: SaliencyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, seen, begin = clips(tmp_path, 40, 20), list[ManyProgress](), time.perf_counter()
    monkeypatch.setattr(TableSink, "write", failing_at("a", 8))
    outcomes = list(run_many(sources, model=model, options=TABLES, streams=2, on_progress=seen.append))
    assert sorted((each.number, str(each.error or "")) for each in outcomes) == [(0, "no more room"), (1, "")]
    failed = next(each for each in outcomes if each.number == 0)
    assert failed.source == sources[0] and failed.report is None
    assert failed.progress is not None and failed.progress.frames == 8
    assert ends_with_table(tmp_path, "b", 20)
    # The frames of a run that failed are those it wrote, and no more are expected of it.
    assert (seen[-1].frames, seen[-1].total, seen[-1].ended, seen[-1].under_way) == (28, 28, 2, ())
    # It is not written to again, and nobody hears of it any more.
    assert [each.ended for each in seen] == sorted(each.ended for each in seen)
    assert all(each.under_way == (str(sources[1]),) for each in seen if each.ended == 1)
    assert all(0 < each.seconds < time.perf_counter() - begin for each in seen)
    assert seen[0].frames > 0 and [each.frames for each in seen] == sorted(each.frames for each in seen)
    assert {each.total for each in seen} <= {None, 60, 28}


def test_of_a_job_that_has_ended_nothing_more_is_told(
    model: SaliencyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = clips(tmp_path, 40, 20, 3)
    monkeypatch.setattr(TableSink, "write", failing_at("a", 8))
    told: list[tuple[int, int]] = []
    runs = run_jobs(
        (Job(source, options=TABLES, model=model) for source in sources),
        model,
        TABLES.prediction,
        streams=2,
        on_batch=lambda number, progress: told.append((number, progress.frames if progress else 0)),
    )
    ended = {outcome.number: (outcome.status, len(told)) for outcome in runs}
    assert {number: status for number, (status, _) in ended.items()} == {0: "failed", 1: "done", 2: "done"}
    for number, frames in enumerate(([8], [8, 16, 20], [3])):
        # The last word comes with the end.
        assert [far for one, far in told if one == number] == [*frames, frames[-1]]
        assert [one for one, _ in told[ended[number][1] :]].count(number) <= 1


def test_jobs_that_come_later_are_run_while_others_are_under_way(model: SaliencyModel, tmp_path: Path) -> None:
    sources = clips(tmp_path, 20, 3, 2)

    class Later:
        """Has none at every second look."""

        def __init__(self) -> None:
            self.looks = 0

        def __iter__(self) -> Later:
            return self

        def __next__(self) -> Job:
            self.looks += 1
            if self.looks % 2 == 0 or not sources:
                raise StopIteration
            return Job(sources.pop(0), options=TABLES, model=model)

    runs = run_jobs(Later(), model, TABLES.prediction, streams=2)
    assert {outcome.number: outcome.status for outcome in runs} == dict.fromkeys(range(3), "done")


def test_of_jobs_that_come_one_after_another_those_that_have_ended_are_let_go(model: SaliencyModel) -> None:
    begun = many_module._Begun(Job(name, options=TABLES, model=model) for name in "abc")
    first, second = next(begun), next(begun)
    assert begun.runs == {0: first, 1: second}
    first.finish(DecodeError("broken"))
    third = next(begun)
    assert begun.runs == {1: second, 2: third}


def test_a_run_that_is_told_to_stop_at_once_leaves_nothing_but_what_it_wrote(
    model: SaliencyModel, tmp_path: Path
) -> None:
    before, seen = threading.active_count(), list[ManyProgress]()
    stopping = {"on_progress": seen.append, "should_stop": lambda: True}
    outcomes: list[RunOutcome] = list(
        run_many(clips(tmp_path, 40, 40, 8), model=model, options=TABLES, streams=2, **stopping)  # type: ignore[arg-type]
    )
    assert threading.active_count() == before
    assert all(each.report is not None and each.report.interrupted for each in outcomes)
    assert {each.total for each in seen} == {None}, "of the third nothing is known"
    assert next(each.report.frames for each in outcomes if each.report) == 8
    # The second has not been written to; the third was not begun.
    assert names(tmp_path) == {"a.vidsal.partial.csv"}


@pytest.mark.parametrize("taken", [0, 1])
def test_runs_that_are_closed_early_end_their_threads_and_give_up_their_locks(
    model: SaliencyModel, tmp_path: Path, taken: int
) -> None:
    before = threading.active_count()
    outcomes = run_many(clips(tmp_path, 40, 8), model=model, options=TABLES, streams=2)
    for _ in range(taken):
        assert next(outcomes).number == 1
    outcomes.close()
    assert threading.active_count() == before
    assert names(tmp_path) <= {"a.vidsal.partial.csv", "b.vidsal.csv", "b.vidsal.json"}
    assert ("b.vidsal.csv" in names(tmp_path)) == bool(taken)
    # Whoever comes next may write them.
    (again,) = run_many([tmp_path / "a.mp4"], model=model, options=TABLES)
    assert again.report is not None and ends_with_table(tmp_path, "a", 40)
    assert again.report.stage_frames_per_second["decode"] > 0


def test_each_run_reports_the_time_of_its_own_reader(model: SaliencyModel, tmp_path: Path) -> None:
    outcomes = list(run_many(clips(tmp_path, 8, 16), model=model, options=TABLES, streams=2))
    for outcome in outcomes:
        assert outcome.report is not None
        rates = outcome.report.stage_frames_per_second
        assert {"decode", "model", "table"} <= set(rates) and all(np.isfinite(list(rates.values())))


def test_each_run_says_how_it_ended_and_what_is_done_is_not_read_again(
    model: SaliencyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [*clips(tmp_path, 3, 2), tmp_path / "nowhere.mp4"]

    def status(**output: Any) -> dict[int, str]:
        settings = RunOptions(output=OutputOptions(video=False, **output))
        return {each.number: each.status for each in run_many(sources, model=model, options=settings, streams=3)}

    assert status() == {0: "done", 1: "done", 2: "failed"}
    assert status() == {0: "refused", 1: "refused", 2: "failed"}
    real, opened = Job.opened, []

    def watched(job: Job) -> Any:
        opened.append(job.source)
        return real(job)

    monkeypatch.setattr(Job, "opened", watched)
    assert status(existing="skip") == {0: "skipped", 1: "skipped", 2: "failed"}
    assert opened == [sources[2]]


def test_an_error_that_is_kept_holds_nothing_of_what_was_at_work(
    model: SaliencyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[np.ndarray[Any, Any]]] = []

    def library() -> None:
        large = np.zeros(10)
        held.append(weakref.ref(large))
        raise KeyError("of a library")

    def failing(sink: TableSink, batch: SaliencyBatch) -> None:
        try:
            library()
        except KeyError:
            raise EncodeError("no more room")  # noqa: B904 - as where nobody thought of it

    monkeypatch.setattr(TableSink, "write", failing)
    (outcome,) = run_many(clips(tmp_path, 3), model=model, options=TABLES)
    assert str(outcome.error) == "no more room"
    assert isinstance(outcome.error, EncodeError) and isinstance(outcome.error.__context__, KeyError)
    assert [reference() for reference in held] == [None]


@pytest.mark.parametrize("stage", ["open", "read", "prepare", "finish", "flush"])
def test_an_error_nobody_foresaw_ends_its_own_stream_only_wherever_it_arises(
    model: SaliencyModel, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    first, second, _ = three_clips()

    class Broken:
        def __iter__(self) -> Iterator[FrameBatch]:
            if stage == "open":
                raise ZeroDivisionError
            return iter([second[0], second[1]] if stage != "read" else self.cut_short())

        def cut_short(self) -> Iterator[FrameBatch]:
            yield second[0]
            raise ZeroDivisionError

    if stage in ("prepare", "finish", "flush"):
        real = getattr(VideoPredictor, stage)
        made: list[VideoPredictor] = []

        def failing(self: VideoPredictor, *arguments: Any) -> Any:
            if self not in made:
                made.append(self)
            if self is made[0]:
                raise ZeroDivisionError
            return real(self, *arguments)

        monkeypatch.setattr(VideoPredictor, stage, failing)
    results = list(predict_streams([Broken(), first], model, side_by_side=2, **RAW))
    ends = {end.stream: type(end.error) for end in results if isinstance(end, StreamEnd)}
    assert ends == {0: ZeroDivisionError, 1: type(None)}
    own = joined(r.batch for r in results if isinstance(r, StreamBatch) and r.stream == 1)
    monkeypatch.undo()
    torch.testing.assert_close(own.density, joined(predict(first, model, **RAW)).density, atol=1e-6, rtol=1e-3)


def test_no_streams_give_nothing_and_a_number_below_one_is_refused(model: SaliencyModel) -> None:
    assert list(predict_streams([], model)) == []
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        list(predict_streams([], model, side_by_side=0))
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        list(run_many([], model=model, streams=0))


def test_what_a_run_held_is_let_go_as_it_ends(
    model: SaliencyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: dict[str, list[weakref.ref[Any]]] = {}
    init, opened = Job.__init__, Job.opened

    def watched(job: Job, source: Any, **settings: Any) -> None:
        init(job, source, **settings)
        held[Path(source).name] = [weakref.ref(job)]

    @contextlib.contextmanager
    def watching(job: Job) -> Iterator[Any]:
        with opened(job) as reader:
            held[Path(str(job.source)).name] += map(weakref.ref, [reader, *job._own])
            yield reader

    monkeypatch.setattr(Job, "__init__", watched)
    monkeypatch.setattr(Job, "opened", watching)
    clips = [make_video(tmp_path / f"{n}.mp4", frames=3) for n in range(4)]
    (tmp_path / "cut.mkv").write_bytes(make_video(tmp_path / "whole.mkv", frames=30).read_bytes()[:3000])
    strict = RunOptions(decode=DecodeOptions(strict=True), output=OutputOptions(output=tmp_path / "out"))
    outcomes, alive = [], []
    # The last ones are under way: what they hold is theirs.
    for outcome in run_many([tmp_path / "cut.mkv", *clips], model=model, options=strict, streams=1):
        outcomes.append(outcome)
        gc.collect()
        name = Path(str(outcome.source)).name
        alive.append((name, [ref() for ref in held[name] if ref() is not None]))
    assert [outcome.error is None for outcome in outcomes] == [False, True, True, True, True]
    assert all(len(refs) == 4 for name, refs in held.items() if name != "cut.mkv"), "a job, a reader and two sinks"
    assert [left for _, left in alive] == [[]] * 5
    # The error of one that failed still says where it came from.
    assert outcomes[0].error is not None and outcomes[0].error.__traceback__ is not None
