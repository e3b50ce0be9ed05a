"""How a run ends: one input's failure is its own, signals and closed streams end all, kills leave nothing false."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from made import LIGHT, make_checkpoint
from media import make_video
from test_cli import REPOSITORY, send, status_of

from vidsal import console
from vidsal.cli import dispatch
from vidsal.cli.process import Stop, Terminated, terminating
from vidsal.files import replacing
from vidsal.frames import SaliencyBatch
from vidsal.sinks import TableSink

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="other signals and descriptors there")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that a new process knows, too."""
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "light.safetensors", config=LIGHT))


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    first = make_video(tmp_path / "a.mp4", frames=4)
    return [
        first,
        *((tmp_path / f"{name}.mp4") for name in "bc" if (tmp_path / f"{name}.mp4").write_bytes(first.read_bytes())),
    ]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# One input's failure.


@pytest.mark.parametrize("streams", ["1", "2"])
@pytest.mark.parametrize(
    "error", [IndexError("list index out of range"), ValueError("odd"), cv2.error("resize"), UnicodeError("name")]
)
def test_a_failure_of_any_kind_ends_its_own_input_and_is_told_with_the_way_to_its_traceback(
    model: str,
    clips: list[Path],
    error: Exception,
    streams: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = TableSink._write

    def failing(sink: TableSink, batch: SaliencyBatch) -> None:
        if sink.path.name.startswith("b."):
            raise error
        write(sink, batch)

    monkeypatch.setattr(TableSink, "_write", failing)
    assert status_of("run", *clips, "-m", model, "--no-video", "--json", "--streams", streams) == 1
    out, err = capsys.readouterr()
    outcomes = {Path(line["source"]).name: line["outcome"] for line in map(json.loads, out.splitlines())}
    assert outcomes == {"a.mp4": "done", "b.mp4": "failed", "c.mp4": "done"}
    assert names_in(clips[0].parent) == {
        "a.mp4",
        "b.mp4",
        "c.mp4",
        "a.vidsal.csv",
        "a.vidsal.json",
        "c.vidsal.csv",
        "c.vidsal.json",
    }
    (told,) = [line for line in err.splitlines() if line.startswith("vidsal: error: ")]
    assert f"{clips[1]}: unexpected {type(error).__name__}: " in told and "VIDSAL_DEBUG=1" in told
    assert "vidsal: 3 inputs: 2 done, 1 failed\nvidsal: 1 of 3 inputs failed:\n" in err


@pytest.mark.parametrize("streams", ["1", "2"])
def test_an_error_of_the_model_side_by_side_is_everybodys_and_in_turn_each_ones(
    model: str, clips: list[Path], streams: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr("vidsal.model.checkpoint.SaliencyModel.__call__", failing)
    assert status_of("run", *clips, "-m", model, "--json", "--streams", streams) == 1
    out, _ = capsys.readouterr()
    assert [json.loads(line)["outcome"] for line in out.splitlines()] == ["failed"] * 3
    assert names_in(clips[0].parent) == {"a.mp4", "b.mp4", "c.mp4"}


# Signals.


def test_a_terminal_that_is_closed_ends_the_run_like_sigterm_and_says_what_was_not_begun(
    model: str, clips: list[Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    send(monkeypatch, signal.SIGHUP)
    before = signal.getsignal(signal.SIGHUP)
    assert status_of("run", *clips, "-m", model, "--no-video", "--batch-size", "2", "--json") == 129
    assert signal.getsignal(signal.SIGHUP) == before
    outcomes = [json.loads(line)["outcome"] for line in capfd.readouterr().out.splitlines()]
    assert outcomes == ["interrupted", "not begun", "not begun"]
    assert names_in(clips[0].parent) == {"a.mp4", "b.mp4", "c.mp4", "a.vidsal.partial.csv"}


def test_under_nohup_a_terminal_that_is_closed_ends_nothing(
    model: str, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        send(monkeypatch, signal.SIGHUP)
        assert status_of("run", clips[0], "-m", model, "--no-video", "--batch-size", "2") == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_kill_of_any_command_leaves_no_half_file(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def writes(_: list[str]) -> int:
        with replacing(tmp_path / "out.json") as partial:
            partial.write_text("half")
            signal.raise_signal(number)
        return 0

    before = signal.getsignal(number)
    monkeypatch.setattr(dispatch, "_dispatch", writes)
    assert status_of("compare") == 128 + number
    assert names_in(tmp_path) == set() and signal.getsignal(number) == before
    assert capsys.readouterr().err == f"vidsal: error: ended by {number.name}\n"


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with terminating():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    with pytest.raises(Terminated), terminating():
        signal.raise_signal(signal.SIGTERM)


# Streams that are closed or that nobody reads.


@pytest.fixture
def deaf() -> Iterator[Any]:
    """A stream whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    yield stream
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def test_a_reader_of_the_paths_that_leaves_ends_all_cleanly(
    model: str, clips: list[Path], deaf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for streams in ("1", "2"):
        monkeypatch.setattr(sys, "stdout", deaf)
        assert status_of("run", *clips, "-m", model, "--no-video", "--overwrite", "--streams", streams) == 141
        monkeypatch.undo()
        left = names_in(clips[0].parent)
        assert not [name for name in left if name.endswith(".lock")]
        if streams == "1":
            assert left == {"a.mp4", "b.mp4", "c.mp4", "a.vidsal.csv", "a.vidsal.json"}
        # The stream itself was put onto the null device.
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, deaf.fileno())
        os.close(writing)


@pytest.mark.parametrize("terminal", [False, True])
def test_that_nobody_reads_the_messages_is_no_reason_to_stop(
    model: str,
    clips: list[Path],
    deaf: Any,
    terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inputs = [clips[0], clips[0].with_name("nowhere.mp4"), clips[1]]
    monkeypatch.setattr(console, "LOG_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(console, "_REDRAW_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", deaf)
    if terminal:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(deaf, "isatty", lambda: True, raising=False)
    assert status_of("run", *inputs, "-m", model, "--no-video") == 1
    monkeypatch.undo()
    assert capsys.readouterr().out.splitlines() == [str(clip.with_suffix(".vidsal.csv")) for clip in clips[:2]]


def test_a_signal_while_the_terminal_is_gone_is_still_heard(deaf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = os.dup(2)
    try:
        os.dup2(deaf.fileno(), 2)
        with Stop(quiet=False) as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_streams_that_are_closed_from_the_start_get_into_no_file(light: str, clips: list[Path]) -> None:
    command = [sys.executable, "-m", "vidsal", "run", str(clips[0]), "-m", light, "--device", "cpu"]
    closed = 'exec "$@" <&- 2>&-'
    ended = subprocess.run(
        ["sh", "-c", closed, "sh", *command], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False
    )
    video, table = clips[0].with_name("a.vidsal.mp4"), clips[0].with_name("a.vidsal.csv")
    assert (ended.returncode, ended.stdout.splitlines()) == (0, [str(video), str(table)])
    assert table.read_text().count("\n") == 5 and b"vidsal: " not in video.read_bytes()


# Kills.


def test_kills_at_random_moments_leave_nothing_false_and_the_next_run_is_right(light: str) -> None:
    """The short form of tools/kill_runs.py, as a process of its own: it forks, which threads do not bear."""
    command = [sys.executable, "tools/kill_runs.py", "--kills", "2", "--seconds", "0.3", "--model", light]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = [line.split() for line in ended.stdout.splitlines()[-4:]]
    assert [(row[0], row[1], row[-1]) for row in rows] == [(name, "2", "0") for name in ("KILL", "TERM", "HUP", "INT")]


@pytest.mark.parametrize("fault", ["video", "table", "lock", "left"])
def test_the_judge_of_kills_sees_what_is_wrong(
    model: str, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("kill_runs", REPOSITORY / "tools" / "kill_runs.py")
    assert spec is not None and spec.loader is not None
    monkeypatch.setattr(os, "environ", dict(os.environ))
    tool: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    threads = cv2.getNumThreads()

    def runs(arguments: list[str], log: Path) -> int:
        """Instead of a fork: a run in this process, whose results are then spoilt."""
        log.touch()
        assert status_of(*arguments) == 0
        made.append(1)
        if len(made) == 3:
            table, video = tmp_path / "clip.vidsal.csv", tmp_path / "clip.vidsal.mp4"
            if fault == "video":
                video.write_bytes(video.read_bytes()[:-2000])
            elif fault == "table":
                table.write_text(table.read_text()[:-5])
            else:
                (tmp_path / {"lock": "clip.vidsal.partial.csv.lock", "left": "clip.vidsal.partial.mp4"}[fault]).touch()
        return 0

    made: list[int] = []
    monkeypatch.setattr(tool, "start", runs)
    monkeypatch.setattr(tool, "wait", lambda child: child)
    monkeypatch.setattr(tool.os, "kill", lambda *_: None)
    trial = tool.Trial(tmp_path, model, 0.2)
    doing, faults = trial.kill("TERM", 0)
    assert doing == "done" and faults
    cv2.setNumThreads(threads)
    assert trial.kill("TERM", 0) == ("done", [])
