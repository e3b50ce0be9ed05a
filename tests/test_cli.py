"""The commands as a user meets them: what lands on stdout, on stderr and on disk, and the exit status."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
import pytest
import torch
from made import LIGHT, make_checkpoint, make_stills
from media import make_audio, make_video

from vidsal import console
from vidsal.cli import main
from vidsal.cli.commands import COMMANDS
from vidsal.cli.process import share_cores
from vidsal.config import read_file, resolve
from vidsal.model.baselines import BASELINES
from vidsal.model.checkpoint import PRESETS, read_checkpoint
from vidsal.model.networks.catalogue import NETWORKS
from vidsal.pipe import run as pipe_run
from vidsal.pipe.options import RunOptions

REPOSITORY = Path(__file__).resolve().parents[1]
FRAMES = 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that a new process knows, too."""
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "light.safetensors", config=LIGHT))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", frames=FRAMES)


def status_of(*arguments: str | Path) -> int:
    """Runs a command in this process; bad usage and --help end it with SystemExit, as in a process of its own."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


def in_a_process(code: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False, **settings
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


# What comes out.


def test_a_video_becomes_a_video_and_a_table_whose_paths_are_all_that_stdout_holds(
    model: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("run", clip, "--model", model) == 0
    out, err = capsys.readouterr()
    video, table = clip.with_name("clip.vidsal.mp4"), clip.with_name("clip.vidsal.csv")
    assert out.splitlines() == [str(video), str(table)]
    assert frames_of(video) == FRAMES
    assert len(rows_of(table)) == FRAMES
    assert f"clip.mp4: {FRAMES} frames in" in err


def test_json_gives_one_report_and_nothing_else_on_stdout(
    model: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("run", "--json", clip, "-m", model, "--device=cpu", "--no-video", "--batch_size", "3") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["files"] == [str(clip.with_name("clip.vidsal.csv"))]
    assert report["frames"] == FRAMES and report["device"] == "cpu" and report["model"] == "tiny"
    assert report["options"]["decode"]["batch_size"] == 3 and not report["options"]["output"]["video"]
    assert {"decode", "model"} <= report["stage_frames_per_second"].keys()
    assert {"cuts", "skipped_corrupt", "seconds", "frames_per_second"} <= report.keys()


def test_quiet_leaves_stderr_empty_and_stdout_as_it_was(
    model: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("run", clip, "-q", "-m", model, "--no-video") == 0
    out, err = capsys.readouterr()
    assert err == "" and out == f"{clip.with_name('clip.vidsal.csv')}\n"


def test_one_bad_input_does_not_keep_the_others_from_being_done(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = make_audio(tmp_path / "sound.mp4")
    clips = [make_video(tmp_path / f"{name}.mp4", frames=5) for name in "ab"]
    inputs = [clips[0], tmp_path / "nowhere.mp4", sound, clips[1]]
    assert status_of("run", *inputs, "-m", model, "--no-video", "--json") == 1
    out, err = capsys.readouterr()
    reports = [json.loads(line) for line in out.splitlines()]
    assert [report["source"] for report in reports] == [str(path) for path in inputs]
    assert ["error" in report for report in reports] == [False, True, True, False]
    errors = [line for line in err.splitlines() if line.startswith("vidsal: error: ")]
    assert len(errors) == 2 and "nowhere.mp4" in errors[0] and "sound.mp4" in errors[1]
    assert [report["outcome"] for report in reports] == ["done", "failed", "failed", "done"]
    # The end says it all once more: what came before may have scrolled away.
    head, *reasons = err.splitlines()[-3:]
    assert head == "vidsal: 2 of 4 inputs failed:" and "vidsal: 4 inputs: 2 done, 2 failed\n" in err
    assert str(inputs[1]) in reasons[0] and str(inputs[2]) in reasons[1]
    assert (tmp_path / "b.vidsal.csv").exists()


def test_a_second_run_over_all_files_of_a_folder_does_not_eat_the_results_of_the_first(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.mp4", "b.mp4"):
        make_video(tmp_path / name, frames=3)
    assert status_of("run", *tmp_path.glob("*.mp4"), "-m", model) == 0
    before = set(tmp_path.iterdir())
    capsys.readouterr()
    assert status_of("run", *sorted(tmp_path.glob("*.mp4")), "-m", model, "--overwrite") == 0
    notices = [line for line in capsys.readouterr().err.splitlines() if "left out, results" in line]
    assert len(notices) == 1 and notices[0].endswith(f"{tmp_path / 'a.vidsal.mp4'}, {tmp_path / 'b.vidsal.mp4'}")
    assert set(tmp_path.iterdir()) == before
    # Named alone, it is meant.
    assert status_of("run", tmp_path / "a.vidsal.mp4", "-m", model, "--no-video") == 0
    assert (tmp_path / "a.vidsal.vidsal.csv").exists()
    assert "left out" not in capsys.readouterr().err


def test_results_go_to_the_folder_that_is_asked_for(model: str, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert status_of("run", clip, "-m", model, "-o", folder, "--maps=npz", "--table=jsonl", "--container=mkv") == 0
    assert {path.name for path in folder.iterdir()} == {
        "clip.vidsal.json",
        "clip.vidsal.mkv",
        "clip.vidsal.jsonl",
        "clip.vidsal.maps.npz",
    }


def test_results_that_are_there_are_refused_by_name_unless_they_may_be_replaced(
    model: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = clip.with_name("clip.vidsal.csv")
    table.write_text("precious")
    assert status_of("run", clip, "-m", model, "--no-video") == 3
    out, err = capsys.readouterr()
    assert str(table) in err and "--overwrite" in err and out == ""
    assert table.read_text() == "precious"
    assert status_of("run", clip, "-m", model, "--no-video", "--overwrite") == 0
    assert table.read_text() != "precious"


def test_a_file_cut_short_is_done_with_a_warning_and_refused_when_strict(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_video(tmp_path / "whole.mkv", frames=60)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert status_of("run", cut, "-m", model, "--no-video") == 0
    out, err = capsys.readouterr()
    assert "vidsal: warning: cut.mkv: " in err and out
    assert status_of("run", cut, "-m", model, "--no-video", "--overwrite", "--strict", "-o", tmp_path / "strict") == 1
    assert "leave out --strict" in capsys.readouterr().err
    assert not list((tmp_path / "strict").glob("cut.vidsal.csv"))


# Options.


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(
    model: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(f"model: {model}\noutput: {{video: false}}\nopacity: 0.3\nthreshold: 0.2\n")
    assert status_of("run", clip, "--config", file, "--opacity", "0.5", "--json") == 0
    options = json.loads(capsys.readouterr().out)["options"]
    assert options["render"]["opacity"] == 0.5
    assert options["render"]["threshold"] == 0.2
    assert options["smooth"]["smoothing"] == RunOptions().smooth.smoothing
    # The options in a report are a config file themselves.
    file.write_text(json.dumps(options))
    assert resolve(RunOptions, read_file(file, RunOptions)).render.opacity == 0.5


def test_printed_options_read_back_as_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("run", "--print_config", "--smoothing", "none", "--end", "3", "--no-detect-cuts") == 0
    file = tmp_path / "options.yaml"
    file.write_text(capsys.readouterr().out)
    options = resolve(RunOptions, read_file(file, RunOptions))
    assert options.smooth.smoothing == "none" and options.decode.end_seconds == 3.0
    assert not options.cuts.detect_cuts and options.output == RunOptions().output


CONFIGURABLE = {
    "run": ["--opacity=0.5", "--start=1:30"],
    "train": ["--output=x", "--schedule.passes=3", "--videos=[{layout: dhf1k, root: y}]"],
    "bench": ["--clip-seconds=0:05", "--threads=1"],
    "export": ["--state=reset", "--no-check"],
    "data clips": ["--kind=camera"],
    "data density": ["--sigma=20px"],
    "data submission": ["--model=sam-vgg"],
    "eval": ["--protocol=dhf1k", "--limit_frames", "5", "--smoothing=none"],
}


@pytest.mark.parametrize("command", CONFIGURABLE)
def test_every_command_with_options_prints_them_as_a_file_that_it_reads(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "unnamed.yaml"
    assert status_of(*command.split(), *CONFIGURABLE[command], "--print-config") == 0
    printed = capsys.readouterr().out
    file.write_text(printed)
    assert status_of(*command.split(), "--config", file, "--print_config") == 0
    assert capsys.readouterr().out == printed
    file.write_text("suger: 1")
    assert status_of(*command.split(), "--config", file, "--print-config") == 1
    assert "unknown key 'suger'; known are" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("1:30", 90.0), ("01:30", 90.0), ("00:01:30.5", 90.5), ("90:00", 5400.0)]
)
def test_times_may_be_written_as_a_clock_shows_them(
    text: str, seconds: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "options.yaml"
    # YAML itself takes some of these for numbers to the base of 60.
    file.write_text(f"decode: {{end_seconds: {text}}}\n")
    for given in (["--end", text], ["--end-seconds", text], ["--config", file]):
        assert status_of("run", *given, "--print-config") == 0
        assert f"end_seconds: {seconds}\n" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["1:75", "01:75", "1:60:00", "soon", "-1:30"])
def test_a_time_that_no_clock_shows_is_refused_and_what_is_allowed_said(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    allowed = f"must be a number of seconds or a time such as 90, 1:30 or 00:01:30.5, got '{text}'"
    assert status_of("run", "x.mp4", f"--end={text}") == 2
    assert f"error: --end {allowed}" in capsys.readouterr().err
    file = tmp_path / "options.yaml"
    file.write_text(f"end_seconds: '{text}'\n")
    assert status_of("run", "x.mp4", "--config", file) == 1
    assert f"options.yaml: end_seconds {allowed}" in capsys.readouterr().err


def test_without_a_command_the_help_is_shown_and_the_status_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of() == 2
    out, err = capsys.readouterr()
    assert out == "" and all(f"  {name} " in err for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["runn"], "no command 'runn'; did you mean run?"),
        (["mdoels"], "did you mean models?"),
        (["walk"], "choose from run, reframe, batch, serve, convert, report"),
        (["my bikes.mp4", "-m", "x"], "did you mean: vidsal run 'my bikes.mp4'"),
        (["tests"], "did you mean: vidsal run tests"),
        (["run"], "no input given"),
        (["run", "x.mp4", "--opactiy", "1"], "unknown option --opactiy; did you mean --opacity?"),
        (["run", "x.mp4", "--opacity=2"], "error: --opacity must be from 0 to 1, got 2.0"),
        (["run", "x.mp4", "--opac=1"], "unknown option --opac"),
        (["run", "x.mp4", "--state", "keep"], "--state must be one of carry, reset; got 'keep'"),
        (["run", "x.mp4", "--steps", "many"], "--steps must be a whole number, got 'many'"),
        (["run", "x.mp4", "--start", "5", "--end", "3"], "error: --end must be greater than --start (5.0), got 3.0"),
        (["run", "x.mp4", "--batch-size", "0"], "error: --batch-size must be at least 1"),
        (["run", "x.mp4", "--cut-threshold", "2"], "--no-detect-cuts"),
        (["run", "x.mp4", "--cut-threshold", "-1"], "or --no-detect-cuts to find none"),
        (["run", "x.mp4", "--scale", "-1"], "--scale must be above 1, got -1.0"),
        (
            ["run", "a/x.mp4", "b/x.mkv", "--output", "out.mp4"],
            "--output out.mp4 names the video of one input, and there are 2: ",
        ),
        (["run", "x.mp4", "y.mp4", "--table", "both.csv"], "both.csv: give --table a format such as csv"),
        (["run", "x.mp4", "-o", "out.csv"], "--output out.csv must be a folder or name the video; for this file "),
        (["run", "x.mp4", "--existing", "skip", "--overwrite"], "--existing skip and --overwrite exclude each other"),
        (["run", "x.mp4", "--existing", "skip", "--no-record"], "leave out --no-record"),
        (["train", "--seed=x"], "seed"),
        (["train"], "no configuration given: vidsal train CONFIG"),
        (["train", "--output=x", "--seed=-1"], "error: --seed must be at least 0, got -1"),
        (["models", "--all"], "unknown option --all"),
        (
            ["models", "nope"],
            "no model 'nope': use one of sam-lite, sam-lite-fast, sam-lite-driver, sam-resnet, sam-resnet-2017, sam-",
        ),
        (["run", "x.mp4", "--model", "sam-light"], "did you mean sam-lite?"),
        (["run", "x.mp4", "--model", "gbv"], "did you mean gbvs?"),
        (["run", "x.mp4", "--model", "deep-gaze-2"], "did you mean deepgaze-2?"),
        (["run", "x.mp4", "--device", "gpu"], "unknown device 'gpu'"),
        (
            ["run", "x.mp4", "--decoder=opencv", "--hwaccel=cuda"],
            "--hwaccel cuda needs the pyav decoder, got --decoder ",
        ),
        (["run", "x.mp4", "--threads", "-1"], "error: --threads must be from 0 to 64, got -1"),
        (["run", "x.mp4", "--threads", "99999"], "error: --threads must be from 0 to 64, got 99999"),
        (["train", "--output=x", "--passes=0"], "error: --passes must be at least 1, got 0"),
        (["train", "--output=x", "--videos=[{{layout: x, root: y}}]"], "--videos[0]: layout must be one of dhf1k, "),
        (["train", "x.yaml", "--config", "y.yaml"], "two config files, y.yaml and x.yaml: give one"),
        (["train", "--passes=1"], "error: --output is missing"),
        (["eval", "dhf1k"], "the following arguments are required: ROOT"),
        (["data", "density", "dhf1k", "x", "--out=y"], "error: --sigma is missing"),
        (["bench", "--state=keep"], "error: --state must be one of carry, reset; got 'keep'"),
        (["export", "sam-lite", "-o", "x.onnx", "--opset=3"], "error: --opset must be from 18 to 23, got 3"),
        (["run", "x.mp4", "--table", "xls"], "error: --table must be csv, parquet, jsonl, a path ending in one of"),
        (["run", "x.mp4", "--maps", "png"], "error: --maps must be "),
        (["run", "{clip}", "--model", "{model}", "-o", "out.png"], "--output out.png names a picture, but the input"),
        (["run", "{clip}", "--model", "{model}", "--no-video", "--table", "none"], "nothing to write"),
        (["run", "{clip}", "--model", "{model}", "--encoder", "nope"], "the encoder 'nope' is not in this build"),
        (
            ["run", "{clip}", "x.mp4", "--model", "{model}", "--encoder", "nope"],
            "the encoder 'nope' is not in this build",
        ),
        (["run", "x.mp4", "--output", ""], "error: --output must not be empty: give a path"),
        (["run", "x.mp4", "--config", ""], "must not be empty: give a path"),
        (["eval", "dhf1k", ""], "must not be empty: give a path"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    arguments: list[str], says: str, model: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*[argument.format(clip=clip, model=model) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err and "error: " in err
    assert len([line for line in err.splitlines() if not line.startswith("usage:")]) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "x.mp4", "--config", "{folder}/unknown.yaml"], "unknown key 'opactiy'; did you mean opacity?"),
        (["run", "x.mp4", "--config", "{folder}/bad.yaml"], "bad.yaml: opacity must be from 0 to 1"),
        (["run", "x.mp4", "--config", "{folder}/none.yaml"], "cannot read the config file"),
        (["run", "x.mp4", "--model", "sam-vgg"], "sam-vgg has no weights here: "),
        (["run", "x.mp4", "--model", "{folder}/none.safetensors"], "none.safetensors"),
        (["run", "{folder}/nowhere.mp4", "--model", "{model}"], "nowhere.mp4"),
        (["run", "{folder}/text.mp4", "--model", "{model}"], "text.mp4"),
        (["run", "{folder}", "--model", "{model}"], "{folder}"),
        (["train", "{folder}/unknown.yaml"], "unknown key 'opactiy'; known are "),
        (["train", "{folder}/none.yaml"], "cannot read the config file"),
        (["models", "{folder}/sam-huge"], "sam-huge': give a name that vidsal models lists"),
    ],
)
def test_a_files_fault_is_one_line_and_status_1(
    arguments: list[str], says: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unknown.yaml").write_text("opactiy: 1")
    (tmp_path / "bad.yaml").write_text("opacity: 2")
    (tmp_path / "text.mp4").write_text("no video at all")
    before = set(tmp_path.iterdir())
    given = [argument.format(folder=tmp_path, model=model) for argument in arguments]
    assert status_of(*given) == 1
    out, err = capsys.readouterr()
    assert out == "" and says.format(folder=tmp_path) in err
    assert len(err.splitlines()) == 1 and err.startswith("vidsal: error: ")
    assert set(tmp_path.iterdir()) == before


def test_a_debug_variable_adds_the_traceback(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VIDSAL_DEBUG", "1")
    assert status_of("run", tmp_path / "nowhere.mp4", "-m", model) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "DecodeError" in err and err.splitlines()[-1].startswith("vidsal: error: ")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_is_told_with_what_helps(
    error: Exception, model: str, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(pipe_run, "run", fails)
    assert status_of("run", clip, "-m", model) == 1
    assert capsys.readouterr().err == (
        "vidsal: error: out of memory: try a smaller --batch-size, or --device cpu if it was the GPU's\n"
    )


def test_an_error_nobody_foresaw_asks_for_a_report_and_says_how_to_make_one(
    model: str, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("the tensors are sad")

    monkeypatch.setattr(pipe_run, "run", fails)
    assert status_of("run", clip, "-m", model) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "RuntimeError: the tensors are sad" in line and "report" in line and "VIDSAL_DEBUG=1" in line
    monkeypatch.setenv("VIDSAL_DEBUG", "1")
    assert status_of("run", clip, "-m", model) == 1
    assert "Traceback" in capsys.readouterr().err


# Being stopped.


class Stopper:
    """A display that sends this process a signal at each of its first updates."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, **_: Any) -> None:
        if self.numbers:
            signal.raise_signal(self.numbers.pop(0))

    def say(self, text: str) -> None:
        pass


def send(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    stopper = Stopper(*numbers)
    monkeypatch.setattr(console, "make_display", lambda *_, **__: stopper)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_after_the_batch_and_tells_how_far_it_got(
    number: int,
    status: int,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=60)
    other = make_video(tmp_path / "other.mp4", frames=5)
    send(monkeypatch, number)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert status_of("run", clip, other, "-m", model, "--batch-size", "10") == status
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    out, err = capfd.readouterr()
    assert "vidsal: stopping after this batch" in err
    assert "vidsal: stopped at frame 9 of 60" in err and f"not begun: {other}" in err
    # Nothing under a final name; what there is under the partial names can be read.
    assert out == ""
    partial = {path.name for path in tmp_path.iterdir()} - {clip.name, other.name}
    assert partial == {"clip.vidsal.partial.mp4", "clip.vidsal.partial.csv"}
    assert all(name in err for name in partial)
    # The tenth frame waits for the next one that the model sees.
    assert frames_of(tmp_path / "clip.vidsal.partial.mp4") == 9


def test_a_second_ctrl_c_does_not_wait(
    model: str, clip: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def never_stops(*_: Any, on_progress: Callable[..., None], **__: Any) -> None:
        for _ in range(3):
            on_progress(pipe_run.Progress(frames=1, total=None, pts_seconds=0.0, seconds=1.0, cuts=0))
        pytest.fail("the second Ctrl-C went unheard")

    monkeypatch.setattr(pipe_run, "run", never_stops)
    send(monkeypatch, signal.SIGINT, signal.SIGINT)
    assert status_of("run", clip, "-m", model) == 130
    assert "interrupted" in capfd.readouterr().err


def test_a_stopped_run_reports_so_in_json(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=60)
    send(monkeypatch, signal.SIGINT)
    assert status_of("run", clip, "-m", model, "--batch-size=10", "--json", "--no-video", "-q") == 130
    out, err = capfd.readouterr()
    report = json.loads(out)
    assert report["interrupted"] and report["frames"] == 9
    assert report["files"] == [str(tmp_path / "clip.vidsal.partial.csv")]
    # How far it got is told even so.
    assert err.startswith("vidsal: stopped at frame 9 ") and len(err.splitlines()) == 1


def test_a_reader_of_stdout_that_leaves_ends_the_command_without_a_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "vidsal", "--version"],
        cwd=REPOSITORY,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert ended.stderr == b"" and ended.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["--version", "--help", "run --print-config", "run CLIP -q --no-video -m MODEL"])
def test_a_full_disk_behind_stdout_is_told_in_one_line(command: str, clip: Path, light: str) -> None:
    words = [{"CLIP": str(clip), "MODEL": light}.get(word, word) for word in command.split()]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "vidsal", *words],
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.stderr == "vidsal: error: cannot write to standard output: No space left on device\n"
    assert ended.returncode == 1


# Starting quickly.


HELPS = [
    *(f"{name} --help" for name, command in COMMANDS.items() if not command.actions),
    *(f"{name} {action} --help" for name, command in COMMANDS.items() for action in ["", *command.actions]),
]


def imported_by(*words: str) -> set[str]:
    """What a command imports, in a process of its own."""
    code = (
        "import sys\n"
        "from vidsal.cli import main\n"
        f"try: main({list(words)!r})\n"
        "except SystemExit: pass\n"
        "print(*sys.modules)"
    )
    return set(in_a_process(code).stdout.splitlines()[-1].split())


QUICK = ["", "--help", "--version", "walk", "run --print-config", "run --steps x", *HELPS]
# torch alone takes more than a second; the options of all commands are declared beside it, not in it.
HEAVY = {"torch", "cv2", "av", "rich", "numpy", "scipy"}


@pytest.fixture(scope="module")
def imported_after() -> dict[str, list[str]]:
    """What is imported after each quick command, all of them in one process, one after the other."""
    code = (
        "import contextlib, json, sys\n"
        "from vidsal.cli import main\n"
        "found = {}\n"
        f"for command in {QUICK!r}:\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr): main(command.split())\n"
        f"    found[command] = sorted({HEAVY!r} & sys.modules.keys())\n"
        "print(json.dumps(found))"
    )
    found: dict[str, list[str]] = json.loads(in_a_process(code).stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("command", QUICK)
def test_help_and_mistakes_import_nothing_heavy(command: str, imported_after: dict[str, list[str]]) -> None:
    assert imported_after[command] == []


def test_a_run_imports_the_stages_that_it_goes_through_and_no_other(light: str, clip: Path) -> None:
    # Beside what the command line itself needs: the options of every stage, which are light.
    loaded = imported_by("run", str(clip), "--model", light, "--quiet") - imported_by("--help")
    stages = {name.split(".")[1] for name in loaded if name.startswith("vidsal.")}
    assert stages == {
        *("console", "decode", "exports", "flow", "frames", "model", "pipe", "prefetch", "preprocess", "provenance"),
        *("render", "shots", "sinks", "smooth", "timecode", "tracks", "urgency", "viewers"),
    }
    # Of what is installed, neither what trains and scores, nor what only an option asks for.
    assert not loaded & {"torchvision", "scipy", "pyarrow", "decord", "h5py", "onnx", "matplotlib", "shtab", "kornia"}
    # Nor torch's compiler, which many a function of torch imports by itself and which takes as long as torch.
    assert not loaded & {"torch._dynamo", "torch._inductor", "sympy"}


def test_the_package_is_imported_without_torch_and_still_has_all_its_names() -> None:
    code = (
        "import os, sys\nos.environ.pop('GOMP_SPINCOUNT', None)\nimport vidsal\n"
        "print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT'])\n"
        "print(all(getattr(vidsal, name) is not None for name in vidsal.__all__), 'torch' in sys.modules)\n"
        "print(vidsal.__all__ == sorted(vidsal.__all__), set(vidsal.__all__) <= set(dir(vidsal)))"
    )
    assert in_a_process(code).stdout.split() == ["False", "1000", "True", "True", "True", "True"]


def test_the_package_shows_its_public_names_and_no_other() -> None:
    import vidsal

    assert sorted(dir(vidsal)) == sorted(vidsal.__all__)
    assert not [name for name in dir(vidsal.decode) if name not in vidsal.decode.__all__]


def test_a_spin_count_of_the_users_own_is_left_alone() -> None:
    code = "import vidsal, os; print(os.environ['GOMP_SPINCOUNT'])"
    assert in_a_process(code, env={**os.environ, "GOMP_SPINCOUNT": "77"}).stdout == "77\n"


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import vidsal

    with pytest.raises(AttributeError, match="predictt"):
        _ = vidsal.predictt
    assert vidsal.run is pipe_run.run


def test_one_core_is_left_to_decoding_unless_the_user_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    share_cores()
    assert chosen == []
    monkeypatch.delenv("OMP_NUM_THREADS")
    share_cores()
    assert chosen == [3]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    share_cores()
    assert chosen == [3, 1]


# The other commands.


def test_the_models_are_listed_with_whether_they_have_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("models") == 0
    # What is set in belongs to the line above.
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in lines] == [*PRESETS, *NETWORKS, *BASELINES]
    absent = [line.split()[0] for line in lines if "no weights here" in line]
    assert absent == [*(name for name, preset in PRESETS.items() if preset.weights is None), *NETWORKS]
    assert [line.split()[0] for line in lines if "without weights" in line] == list(BASELINES)


def test_a_model_without_weights_runs_through_the_pipe_and_says_what_it_is(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("models", "bms") == 0
    assert "BMS" in capsys.readouterr().out
    assert status_of("run", str(clip), "--model", "bms", "--output", str(tmp_path), "--quiet", "--json") == 0
    assert json.loads(capsys.readouterr().out)["model"] == "bms"
    record = json.loads(next(tmp_path.glob("*.vidsal.json")).read_text())
    assert record["model"]["name"] == "bms" and len(record["model"]["sha256"]) == 64
    assert status_of("export", "bms", "--output", str(tmp_path / "bms.onnx")) == 1
    assert "model without weights" in capsys.readouterr().err


def test_a_card_is_shown_for_a_checkpoint_and_for_an_architecture(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("models", model) == 0
    assert "MIT" in capsys.readouterr().out
    assert status_of("models", "sam-resnet") == 0
    shown = capsys.readouterr().out
    assert "resnet50" in shown and "no weights here" in shown


def training(folder: Path) -> list[str]:
    file = folder / "train.yaml"
    file.write_text(
        f"datasets: [{make_stills(folder / 'mine')}]\noutput: {folder / 'run'}\n"
        "model: {recurrent_channels: 8, priors: 2, steps: 2}\npreprocess: {height: 48, width: 64}\n"
        "schedule: {passes: 5, frames_per_step: 4, clip_lengths: {1: 1.0}}\ncard: {name: mine}\n"
    )
    return ["train", str(file), "--schedule.passes=1", "--card.licence", "MIT", "--device", "cpu"]


def test_training_writes_a_checkpoint_prints_its_path_and_that_path_runs(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*training(tmp_path)) == 0
    out, err = capsys.readouterr()
    path = tmp_path / "run" / "mine.safetensors"
    assert out == f"{path}\n" and "pass 1 of 1" in err and "nss" in err
    assert read_checkpoint(path)[2].licence == "MIT"
    assert status_of("run", clip, "-m", path, "--no-video") == 0


def test_a_model_without_a_name_is_called_after_its_config_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "birds.v2.yaml"
    file.write_text("datasets: [x]\noutput: y\ncard: {licence: MIT}\n")
    for flags, name in ([], "birds.v2"), (["--card.name=owls"], "owls"):
        assert status_of("train", file, *flags, "--print-config") == 0
        assert f"name: {name}\n" in capsys.readouterr().out


def test_the_help_of_training_does_not_speak_of_null_for_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("train", "--help") == 0
    words = capsys.readouterr().out.split("positional arguments:")[1].split("options:")[0].split()
    assert words[0] == "CONFIG" and words[-2:] == ["over", "it"]


def test_training_that_is_stopped_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupter(Stopper):
        def say(self, text: str) -> None:
            print(text, file=sys.stderr)

    monkeypatch.setattr(console, "make_display", lambda *_, **__: Interrupter(signal.SIGINT))
    # A shell without job control starts what runs in the background with SIGINT ignored, these tests too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert status_of(*training(tmp_path)) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    out, err = capsys.readouterr()
    assert out == "" and "stopped at step 1 of" in err and "the same command begins again" in err


def test_options_that_contradict_the_data_are_bad_usage_where_there_are_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.yaml").write_text(f"output: {tmp_path / 'run'}\n")
    for flags, status in ([], 1), (["--device=cpu"], 2):
        assert status_of("train", tmp_path / "empty.yaml", *flags) == status
        assert "datasets is empty" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_training_that_is_stopped_before_a_state_is_saved_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vidsal.train.train", stopped)
    command = training(tmp_path)
    assert status_of(*command) == 130
    assert "stopped at the start; no state had been saved yet" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt").touch()
    assert status_of(*command) == 130
    assert "goes on from the state last saved in" in capsys.readouterr().err


# With the embedded default.


def test_the_default_model_needs_no_option_and_shows_its_card(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("run", clip) == 0
    rows = rows_of(clip.with_name("clip.vidsal.csv"))
    assert len(rows) == FRAMES
    assert np.isfinite([float(row["entropy_bits"]) for row in rows]).all()
    capsys.readouterr()
    assert status_of("models", "sam-lite") == 0
    card = capsys.readouterr().out
    assert "licence" in card and "limits" in card and "nss" in card


def test_imports_that_take_long_are_not_searched_for_garbage(tmp_path: Path) -> None:
    """Neither meanwhile nor at exit; the search goes on for all that comes later."""
    for name in ("torch", "cv2"):
        (tmp_path / f"{name}.py").write_text("import gc\nassert not gc.isenabled()\nring = []\nring.append(ring)\n")
    code = """
import gc, sys
from vidsal.cli.process import import_heavy
assert gc.isenabled() and not gc.get_freeze_count()
import_heavy()
assert "torch" in sys.modules and gc.isenabled()
frozen = gc.get_freeze_count()
assert frozen > 1000
kept = [[] for _ in range(500)]
import_heavy()
assert gc.get_freeze_count() <= frozen
import atexit
atexit._run_exitfuncs()
assert gc.get_freeze_count() > frozen
print("as it should be")
"""
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[1]}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "as it should be\n", done.stderr
