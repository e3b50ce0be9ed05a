"""Several videos side by side give what each gives alone, and none can harm another."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import CANVAS, make_checkpoint, make_model
from media import make_audio, make_video
from test_cli import Stopper, rows_of, status_of
from test_pipe import NO_CUTS, RAW, joined, parts, raw

from vidsal import console
from vidsal.errors import ConfigError, DecodeError, EncodeError, ExistsError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.model.recurrent import SAMState
from vidsal.pipe import predict as predict_module
from vidsal.pipe.downloads import Downloads
from vidsal.pipe.many import ManyProgress, RunOutcome, StreamBatch, StreamEnd, predict_streams, run_many
from vidsal.pipe.options import OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.predict import StageClock, predict
from vidsal.pipe.run import run
from vidsal.sinks import TableSink
from vidsal.smooth.options import SmoothOptions


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


def made_clip(seed: int, count: int, *, size: tuple[int, int], cut_at: int | None, rate: float) -> FrameBatch:
    """A bright square that wanders over noise of its own; at the cut the picture turns into another one."""
    random = np.random.default_rng(seed)
    height, width = size
    pictures = random.integers(0, 120, (2, height // 8 + 1, width // 8 + 1, 3), np.uint8)
    pictures = pictures.repeat(8, 1).repeat(8, 2)[:, :height, :width]
    frames = np.stack([pictures[int(cut_at is not None and n >= cut_at)] for n in range(count)])
    for n, frame in enumerate(frames):
        left = (7 * seed + 2 * n) % (width - 8)
        frame[10:18, left : left + 8] = 250
    return FrameBatch(np.arange(count), np.arange(count) / rate, frames, height=10 * height, width=10 * width)


def three_clips() -> list[list[FrameBatch]]:
    """Of different length, size, rate and cuts, each in its own pieces: their rounds never fit together."""
    return [
        list(parts(made_clip(1, 23, size=(48, 64), cut_at=11, rate=25), [8, 8, 7])),
        list(parts(made_clip(2, 5, size=(40, 80), cut_at=None, rate=30), [3, 2])),
        list(parts(made_clip(4, 17, size=(64, 48), cut_at=6, rate=50), [1, 8, 8])),
    ]


def by_stream(results: Iterator[StreamBatch | StreamEnd], count: int) -> list[list[SaliencyBatch]]:
    """The batches of each stream; each ends once, and nothing comes after."""
    batches: list[list[SaliencyBatch]] = [[] for _ in range(count)]
    ended: set[int] = set()
    for result in results:
        assert result.stream not in ended
        if isinstance(result, StreamEnd):
            assert result.error is None
            ended.add(result.stream)
        else:
            batches[result.stream].append(result.batch)
    assert ended == set(range(count))
    return batches


SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "carry": RAW,
    "carry, two steps": raw(steps=2),
    "reset": raw(state="reset"),
    "reset, three steps": raw(state="reset", steps=3),
    "every third": {"recurrence": RecurrenceOptions(every=3)},
    "looking ahead": {"smooth": SmoothOptions(smoothing="gaussian", time_constant_seconds=0.08)},
}


@pytest.mark.parametrize("side_by_side", [2, 8])
@pytest.mark.parametrize("name", SETTINGS)
def test_streams_side_by_side_give_the_maps_of_each_alone(model: SaliencyModel, name: str, side_by_side: int) -> None:
    clips = three_clips()
    results = by_stream(predict_streams(clips, model, side_by_side=side_by_side, **SETTINGS[name]), 3)
    for clip, batches in zip(clips, results, strict=True):
        alone = joined(predict(clip, model, **SETTINGS[name]))
        together = joined(batches)
        for key in ("index", "pts_seconds", "cut", "shot"):
            assert np.array_equal(getattr(together, key), getattr(alone, key))
        torch.testing.assert_close(together.density, alone.density, atol=1e-6, rtol=1e-3)
        assert {(batch.height, batch.width) for batch in batches} == {(clip[0].height, clip[0].width)}


@pytest.mark.parametrize("side_by_side", [2, 8])
def test_streams_on_canvases_of_their_own_shapes_give_the_maps_of_each_alone(side_by_side: int) -> None:
    model = make_model(canvas=dataclasses.replace(CANVAS, fit="shape", cells=16))
    clips = three_clips()
    seen = [model.preprocessor(clip[0].frames).shape[2:] for clip in clips]
    assert len(set(seen)) == 3
    results = by_stream(predict_streams(clips, model, side_by_side=side_by_side), 3)
    for clip, batches in zip(clips, results, strict=True):
        alone = joined(predict(clip, model))
        torch.testing.assert_close(joined(batches).density, alone.density, atol=1e-6, rtol=1e-3)


def test_the_clips_of_the_comparison_have_cuts_and_maps_that_differ(model: SaliencyModel) -> None:
    """What the test above could not tell apart it could not judge."""
    alone = [joined(predict(clip, model, **RAW)) for clip in three_clips()]
    assert [int(one.cut.sum()) for one in alone] == [1, 0, 1]
    frames = [made_clip(seed, 8, size=(48, 64), cut_at=None, rate=25).frames for seed in (1, 2)]
    one, other = (
        joined(predict([FrameBatch(np.arange(8), np.arange(8) / 25, own, 48, 64)], model, **RAW)).density
        for own in frames
    )
    assert ((one - other).abs().sum((1, 2)) > 0.05).all()


@pytest.mark.parametrize("sabotage", ["swapped", "forgotten"])
def test_states_that_are_swapped_or_forgotten_would_be_noticed(
    model: SaliencyModel, monkeypatch: pytest.MonkeyPatch, sabotage: str
) -> None:
    clips = [list(parts(made_clip(seed, 12, size=(48, 64), cut_at=None, rate=25), [4, 4, 4])) for seed in (1, 2)]
    wanted = [joined(predict(clip, model, **RAW, cuts=NO_CUTS)).density for clip in clips]
    real = predict_module._joined_states

    def broken(states: list[SAMState | None]) -> SAMState | None:
        return real(states[::-1]) if sabotage == "swapped" else real([None] * len(states))

    monkeypatch.setattr(predict_module, "_joined_states", broken)
    got = by_stream(predict_streams(clips, model, side_by_side=2, **RAW, cuts=NO_CUTS), 2)
    for batches, alone in zip(got, wanted, strict=True):
        maps = joined(batches).density
        torch.testing.assert_close(maps[:4], alone[:4], atol=1e-6, rtol=1e-3)
        assert (maps[4:] - alone[4:]).abs().max() > 1e-4


def test_streams_share_each_call_of_the_model_and_the_next_takes_the_place_of_one_that_ended(
    model: SaliencyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, ...]] = []
    real = SaliencyModel.__call__

    def counting(self: SaliencyModel, frames: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        calls.append(options["unroll"].lengths)
        return real(self, frames, *arguments, **options)

    monkeypatch.setattr(SaliencyModel, "__call__", counting)
    begun: list[int] = []

    def clips() -> Iterator[list[FrameBatch]]:
        for number, clip in enumerate(three_clips()):
            begun.append(number)
            yield clip

    results = predict_streams(clips(), model, side_by_side=2, **RAW)
    assert next(results).stream == 0
    assert begun == [0, 1], "a stream is only asked for when there is a place"
    list(results)
    assert calls == [(8, 3), (8, 2), (7, 1), (8,), (8,)]


def test_a_reader_that_fails_ends_its_own_stream_only(model: SaliencyModel) -> None:
    first, _, third = three_clips()

    def broken() -> Iterator[FrameBatch]:
        yield first[0]
        raise DecodeError("broken at frame 8")

    class Closed:
        def __iter__(self) -> Iterator[FrameBatch]:
            raise DecodeError("cannot be opened")

    results = list(predict_streams([broken(), Closed(), first, third], model, side_by_side=2, **RAW))
    ends = {end.stream: str(end.error or "") for end in results if isinstance(end, StreamEnd)}
    assert ends == {0: "broken at frame 8", 1: "cannot be opened", 2: "", 3: ""}
    for number, clip in ((2, first), (3, third)):
        own = [r.batch for r in results if isinstance(r, StreamBatch) and r.stream == number]
        alone = joined(predict(clip, model, **RAW))
        torch.testing.assert_close(joined(own).density, alone.density, atol=1e-6, rtol=1e-3)


def test_an_error_of_the_model_is_everybodys(model: SaliencyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(SaliencyModel, "__call__", failing)
    with pytest.raises(ZeroDivisionError):
        list(predict_streams(three_clips(), model, side_by_side=2, **RAW))


def test_each_stream_has_a_clock_of_its_own_where_one_is_asked_for(model: SaliencyModel) -> None:
    clocks = [StageClock() for _ in range(3)]
    list(predict_streams(three_clips(), model, clock=clocks.__getitem__))
    assert all({"cuts", "preprocess", "model", "smooth"} <= set(clock.seconds) for clock in clocks)
    # Seconds are shared by frames: the longer a stream, the more of them are its own.
    model_seconds = [clock.seconds["model"] for clock in clocks]
    assert model_seconds[0] > model_seconds[1]


# What waits for a device.


class SlowDevice:
    """Copies that are filled only when somebody waits for them, as a busy device's are at the latest."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def begin_copy(self, source: torch.Tensor) -> tuple[torch.Tensor, Any]:
        number = sum(entry.startswith("begin") for entry in self.log)
        target = torch.full_like(source, math.nan)
        self.log.append(f"begin {number}")

        def wait() -> None:
            self.log.append(f"wait {number}")
            target.copy_(source)

        return target, wait


def saliency(number: int) -> SaliencyBatch:
    return SaliencyBatch(
        index=np.array([number]),
        pts_seconds=np.array([number / 25]),
        shot=np.zeros(1, np.int64),
        cut=np.zeros(1, np.bool_),
        log_density=torch.full((1, 2, 3), -float(number)),
        height=2,
        width=3,
    )


def test_a_batch_from_a_device_is_handed_out_once_the_next_is_queued() -> None:
    device = SlowDevice()
    downloads = Downloads(torch.device("cpu"), begin_copy=device.begin_copy)
    given = [saliency(n) for n in range(4)]
    out = [downloads.update(given[:1]), downloads.update(given[1:3]), downloads.update([]), downloads.update(given[3:])]
    assert [[int(b.index[0]) for b in batches] for batches in out] == [[], [0], [1, 2], []]
    out.append(downloads.flush())
    got = [batch for batches in out for batch in batches]
    assert device.log == ["begin 0", "begin 1", "begin 2", "wait 0", "wait 1", "wait 2", "begin 3", "wait 3"]
    for before, after in zip(given, got, strict=True):
        assert torch.equal(after.log_density, before.log_density)
        assert after.log_density is not before.log_density
    assert downloads.flush() == []


def test_nothing_is_copied_or_held_back_on_the_cpu() -> None:
    downloads, batch = Downloads(torch.device("cpu")), saliency(0)
    assert downloads.update([batch]) == [batch]
    assert downloads.flush() == []


@pytest.mark.parametrize("name", SETTINGS)
def test_holding_back_changes_neither_maps_nor_order(
    model: SaliencyModel, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clips = three_clips()
    wanted = [joined(predict(clip, model, **SETTINGS[name])) for clip in clips]
    device = SlowDevice()
    monkeypatch.setattr(predict_module, "Downloads", lambda where: Downloads(where, begin_copy=device.begin_copy))
    for clip, alone in zip(clips, wanted, strict=True):
        held = joined(predict(clip, model, **SETTINGS[name]))
        assert np.array_equal(held.index, alone.index) and torch.equal(held.density, alone.density)
    together = by_stream(predict_streams(clips, model, side_by_side=2, **SETTINGS[name]), 3)
    for batches, alone in zip(together, wanted, strict=True):
        torch.testing.assert_close(joined(batches).density, alone.density, atol=1e-6, rtol=1e-3)
    # In the loop nobody waits for what was only just queued.
    assert all(a.split()[1] != b.split()[1] for a, b in zip(device.log[:2], device.log[1:3], strict=True))


# Files.


def videos(folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    sizes = [(96, 64, 30), (64, 64, 9), (64, 96, 21)]
    return [
        make_video(folder / f"{name}.mp4", frames=frames, width=width, height=height, audio_tracks=int(name == "a"))
        for name, (width, height, frames) in zip("abc", sizes, strict=True)
    ]


def options(**output: Any) -> RunOptions:
    return RunOptions(output=OutputOptions(**output))


@pytest.mark.parametrize("streams", [1, 2, 8])
def test_files_made_side_by_side_are_those_of_separate_runs(model: SaliencyModel, tmp_path: Path, streams: int) -> None:
    sources = videos(tmp_path / "in")
    before = threading.active_count()
    outcomes = list(run_many(sources, model=model, options=options(output=tmp_path / "many"), streams=streams))
    assert threading.active_count() == before
    assert sorted(outcome.number for outcome in outcomes) == [0, 1, 2]
    for outcome in outcomes:
        alone = run(sources[outcome.number], model=model, options=options(output=tmp_path / "alone"))
        report = outcome.report
        assert outcome.error is None
        assert report is not None and outcome.source == sources[outcome.number]
        assert [path.name for path in report.files] == [path.name for path in alone.files]
        assert (report.frames, report.cuts, report.messages) == (alone.frames, alone.cuts, alone.messages)
        assert outcome.progress is not None and outcome.progress.frames == report.frames
        assert set(report.stage_frames_per_second) == set(alone.stage_frames_per_second)
        ours, theirs = (rows_of(next(p for p in r.files if p.suffix == ".csv")) for r in (report, alone))
        for mine, yours in zip(ours, theirs, strict=True):
            assert mine.keys() == yours.keys()
            for name in mine:
                if name in ("index", "pts_seconds", "shot", "cut"):
                    assert mine[name] == yours[name]
                elif mine[name] and yours[name]:
                    assert float(mine[name]) == pytest.approx(float(yours[name]), rel=1e-3, abs=1e-3)
                else:
                    assert mine[name] == yours[name]


def test_one_bad_source_keeps_no_other_from_being_done(model: SaliencyModel, tmp_path: Path) -> None:
    good = videos(tmp_path)
    sound = make_audio(tmp_path / "sound.mp4")
    (tmp_path / "b.vidsal.csv").write_text("mine")
    sources = [tmp_path / "nowhere.mp4", good[0], sound, good[1], good[2]]
    outcomes = {o.number: o for o in run_many(sources, model=model, options=options(video=False), streams=2)}
    assert sorted(outcomes) == [0, 1, 2, 3, 4]
    failed = {number: type(o.error) for number, o in outcomes.items() if o.error}
    assert failed == {0: DecodeError, 2: DecodeError, 3: ExistsError}
    assert all((o.report is None) == (o.error is not None) for o in outcomes.values())
    assert len(rows_of(tmp_path / "a.vidsal.csv")) == 30 and len(rows_of(tmp_path / "c.vidsal.csv")) == 21
    assert (tmp_path / "b.vidsal.csv").read_text() == "mine"
    assert not list(tmp_path.glob("*.partial.*"))


def test_a_sink_that_fails_ends_its_own_run_only(
    model: SaliencyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, write = videos(tmp_path), TableSink.write

    def failing(sink: TableSink, batch: SaliencyBatch) -> None:
        if sink.path.name == "a.vidsal.csv" and batch.index[0] > 0:
            raise EncodeError("no more room")
        write(sink, batch)

    monkeypatch.setattr(TableSink, "write", failing)
    before = threading.active_count()
    outcomes = {o.number: o for o in run_many(sources, model=model, streams=2)}
    assert threading.active_count() == before
    assert str(outcomes[0].error) == "no more room" and outcomes[0].report is None
    # The eighth frame waited for the ninth, which the model sees next.
    assert outcomes[0].progress is not None and outcomes[0].progress.frames == 7
    assert all(outcomes[number].report for number in (1, 2))
    names = {path.name for path in tmp_path.iterdir()}
    assert {"a.vidsal.partial.mp4", "a.vidsal.partial.csv", "b.vidsal.mp4", "c.vidsal.mp4"} <= names
    assert not {"a.vidsal.mp4", "a.vidsal.csv"} & names


def stopped(sources: list[Path], model: SaliencyModel, *, after: int) -> list[RunOutcome]:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    return list(run_many(sources, model=model, streams=2, should_stop=should_stop))


def test_runs_that_are_stopped_keep_what_they_wrote_under_partial_names(model: SaliencyModel, tmp_path: Path) -> None:
    sources = videos(tmp_path)
    before = threading.active_count()
    outcomes = stopped(sources, model, after=1)
    assert threading.active_count() == before
    assert [outcome.number for outcome in outcomes] == [0, 1], "the third was not begun"
    for outcome in outcomes:
        assert outcome.report is not None and outcome.report.interrupted and outcome.report.frames == 7
        assert all(".partial." in path.name and path.exists() for path in outcome.report.files)
    assert not [path for path in tmp_path.iterdir() if ".vidsal." in path.name and ".partial." not in path.name]


def test_ctrl_c_while_waiting_for_frames_does_the_same(model: SaliencyModel, tmp_path: Path) -> None:
    def interrupt(progress: ManyProgress) -> None:
        if progress.frames >= 14:
            raise KeyboardInterrupt

    outcomes = list(run_many(videos(tmp_path), model=model, streams=2, on_progress=interrupt))
    assert [o.report.interrupted for o in outcomes if o.report] == [True, True]


@pytest.mark.parametrize("how", ["closed", "failed"])
def test_runs_that_are_abandoned_leave_neither_threads_nor_files_that_look_whole(
    model: SaliencyModel, tmp_path: Path, how: str
) -> None:
    sources = videos(tmp_path)
    before = threading.active_count()

    def fail(progress: ManyProgress) -> None:
        if progress.ended and how == "failed":
            raise ZeroDivisionError

    outcomes = run_many(sources, model=model, streams=2, on_progress=fail)
    assert next(outcomes).number == 1
    if how == "closed":
        outcomes.close()
    else:
        with pytest.raises(ZeroDivisionError):
            next(outcomes)
    assert threading.active_count() == before
    whole = {path.name for path in tmp_path.iterdir() if ".vidsal." in path.name and ".partial." not in path.name}
    assert whole == {"b.vidsal.mp4", "b.vidsal.csv", "b.vidsal.json"}
    assert not list(tmp_path.glob("*.lock"))


def test_the_progress_of_many_runs_is_their_sum(model: SaliencyModel, tmp_path: Path) -> None:
    seen: list[ManyProgress] = []
    sources = videos(tmp_path)
    list(run_many(sources, model=model, options=options(video=False), streams=2, on_progress=seen.append))
    assert seen[-1].frames == seen[-1].total == 60 and seen[-1].ended == 3 and seen[-1].under_way == ()
    assert [p.frames for p in seen] == sorted(p.frames for p in seen)
    assert seen[0].total is None, "the third is not open yet"
    assert seen[0].under_way == tuple(map(str, sources[:2]))


def test_more_steps_than_the_model_has_are_refused_before_anything_is_opened(
    model: SaliencyModel, tmp_path: Path
) -> None:
    wrong = RunOptions(recurrence=RecurrenceOptions(steps=3))
    with pytest.raises(ConfigError, match=r"^steps is 3; with state=carry it must be from 1 to 2"):
        list(run_many(videos(tmp_path), model=model, options=wrong))
    assert not list(tmp_path.glob("*.vidsal.*"))


# The command.


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


def test_the_command_lists_inputs_as_they_get_done_and_counts_what_failed(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = videos(tmp_path)
    inputs = [clips[0], tmp_path / "nowhere.mp4", *clips[1:]]
    assert status_of("run", *inputs, "-m", checkpoint, "--no-video", "--streams", "2", "--json") == 1
    out, err = capsys.readouterr()
    reports = [json.loads(line) for line in out.splitlines()]
    assert [Path(report["source"]).name for report in reports] == ["nowhere.mp4", "b.mp4", "a.mp4", "c.mp4"]
    assert ["error" in report for report in reports] == [True, False, False, False]
    head, reason = err.splitlines()[-2:]
    assert head == "vidsal: 1 of 4 inputs failed:" and str(inputs[1]) in reason
    assert all(f"{name}.mp4: " in err for name in "abc")


def test_the_command_writes_side_by_side_what_it_writes_in_turn(checkpoint: str, tmp_path: Path) -> None:
    clips = videos(tmp_path)
    for streams in ("1", "3"):
        folder = tmp_path / streams
        assert status_of("run", *clips, "-m", checkpoint, "-o", folder, "--maps", "npz", "--streams", streams) == 0
    names = {path.name for path in (tmp_path / "1").iterdir()}
    assert names == {path.name for path in (tmp_path / "3").iterdir()} and len(names) == 12
    for name in "abc":
        one, other = (np.load(tmp_path / streams / f"{name}.vidsal.maps.npz") for streams in ("1", "3"))
        with one, other:
            for key in ("index", "pts_seconds", "shot"):
                np.testing.assert_array_equal(one[key], other[key])
            maps = (np.exp(arrays["log_density"].astype(np.float64)) for arrays in (one, other))
            np.testing.assert_allclose(*maps, rtol=0.01, atol=1e-6)


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5"])
def test_a_number_of_streams_below_one_is_bad_usage(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("run", "a.mp4", f"--streams={given}") == 2
    assert f"must be a whole number from 1 up, got '{given}'" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_closes_all_that_is_under_way_and_says_what_was_not_begun(
    number: int,
    status: int,
    checkpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    clips = videos(tmp_path)

    stopper = Stopper(number)
    monkeypatch.setattr(console, "make_display", lambda *_, **__: stopper)
    assert status_of("run", *clips, "-m", checkpoint, "--streams", "2") == status
    out, err = capfd.readouterr()
    assert out == "" and err.count("vidsal: stopped at frame ") == 2
    assert "stopped at frame 7 of 30" in err and f"not begun: {clips[2]}" in err
    names = {path.name for path in tmp_path.iterdir()} - {clip.name for clip in clips}
    # Nothing had been written of the second.
    assert names == {"a.vidsal.partial.mp4", "a.vidsal.partial.csv"}


def test_running_out_of_memory_fails_all_that_is_left_and_no_more(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clips, real = videos(tmp_path), SaliencyModel.__call__
    calls = 0

    def failing(self: SaliencyModel, *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:  # the second clip, of nine frames, has come to its end
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, *arguments, **options)

    monkeypatch.setattr(SaliencyModel, "__call__", failing)
    before = threading.active_count()
    assert status_of("run", *clips, "-m", checkpoint, "--streams", "2") == 1
    assert threading.active_count() == before
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "b.vidsal.mp4"), str(tmp_path / "b.vidsal.csv")]
    errors = [line for line in err.splitlines() if line.startswith("vidsal: error: ")]
    assert len(errors) == 2 and all("out of memory" in line for line in errors) and "2 of 3 inputs failed" in err
    assert "a.mp4: " in errors[0] and "c.mp4: " in errors[1]
    assert not (tmp_path / "a.vidsal.mp4").exists()


def test_the_live_line_shows_the_sum_and_the_names() -> None:
    shown: list[dict[str, Any]] = []

    class Display(contextlib.nullcontext[None]):
        def update(self, **state: Any) -> None:
            shown.append(state)

    clock = console.ManyClock(Display())  # type: ignore[arg-type]
    clock(ManyProgress(frames=7, total=None, seconds=2.0, under_way=("/x/a.mp4", "0", "/x/c.mp4"), ended=1))
    assert shown == [{"done": 7, "total": None, "seconds": 2.0, "detail": "a.mp4 0 +1"}]


def test_the_examples_on_the_page_of_streams_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "state-and-lanes.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(snippets) == 2
    for name, frames in (("a", 5), ("b", 3)):
        make_video(tmp_path / f"{name}.mp4", frames=frames)
    monkeypatch.chdir(tmp_path)
    for snippet in snippets:
        exec(snippet, {})
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines[:2]) == ["a.mp4 5", "b.mp4 3"]
    assert [line[:2] for line in lines[2:]] == ["0 ", "1 ", "0 ", "1 "] and lines[-1].startswith("1 has ended")
