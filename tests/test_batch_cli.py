"""`vidsal batch` as a user meets it: what it prints, what it leaves on the disk, and its exit status."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from batches import FRAMES, InlineEngine, InlineHelper, batch, change, states, work_here

from vidsal import console
from vidsal.batch import dry_run
from vidsal.batch.work import Ended, Reason, Work
from vidsal.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def finished(archive: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the archive; for tests that change nothing."""
    output = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        assert batch(archive, "--output", output, "-m", model, "--no-dataset", "-q") == 3
    return output


def content(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# A run.


def test_a_batch_says_what_it_left_out_what_failed_and_how_to_go_on(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = work_here(monkeypatch)
    assert batch(archive, "--output", tmp_path / "out", "-m", model, "--no-video", "--no-dataset") == 3
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "out" / name) for name in ("batch.csv", "batch.json")]
    assert "4 inputs, 0 done or failed earlier" in err and "2 of other kinds (2 .txt" in err and "1 hidden" in err
    assert "vidsal: this process\n" in err
    broken = archive / "tue" / "broken.mp4"
    assert f"vidsal: failed (not decodable): {broken} is not a video" in err
    # Once more at the end: what came before may have scrolled away.
    end = err.splitlines()[-3:]
    assert end[0].startswith("vidsal: 4 inputs: 3 done, 1 failed; ")
    assert end[1].startswith(f"  failed  not decodable  1  {broken}")
    assert end[2] == f"vidsal: to try what failed again: vidsal batch retry {tmp_path / 'out'}"
    assert (tmp_path / "out" / "mon" / "a.vidsal.csv").is_file() and (
        tmp_path / "out" / "tue" / "a.vidsal.csv"
    ).is_file()
    with (tmp_path / "out" / "batch.csv").open(newline="") as file:
        assert {row["place"]: row["state"] for row in csv.DictReader(file)} == states(tmp_path / "out")

    # The same command goes on, here with nothing.
    assert len(engine.given) == 4
    again = work_here(monkeypatch)
    assert batch(archive, "--output", tmp_path / "out", "-m", model, "--no-video", "--no-dataset", "--json", "-q") == 3
    out, err = capsys.readouterr()
    assert again.given == [] and err == ""
    summary = json.loads(out)
    assert summary["counts"] == {"done": 3, "failed": 1} and summary["outcome"] == "complete"
    assert summary["reasons"][0]["reason"] == "not decodable" and not summary["is_all_done"]
    assert summary["search"]["other_kinds"] == {".txt": 2}


def test_the_account_says_what_is_no_longer_listed_and_is_easy_to_read(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(work: Work) -> Ended:
        return Ended(work.id, "done", video_seconds=40 / 3, seconds=2 / 3, frames=7)

    work_here(monkeypatch, InlineEngine(end))
    listed = tmp_path / "list.csv"
    listed.write_text(f'path,tags\n{archive / "mon" / "a.mp4"},"news; week=48"\n{archive / "mon" / "b.mp4"},\n')
    more = ["-o", tmp_path / "out", "-m", model, "--no-dataset", "-q"]
    assert batch("--list", listed, *more) == 0
    listed.write_text(f"path\n{archive / 'mon' / 'a.mp4'}\n")
    assert batch("--list", listed, *more) == 0
    with (tmp_path / "out" / "batch.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["place"], first["state"], first["listed"]) == ("a", "done", "true")
    assert (second["place"], second["state"], second["listed"]) == ("b", "done", "false")
    assert (first["video_seconds"], first["seconds"]) == ("13.333", "0.667")
    summary = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert (summary["inputs"], summary["all_inputs"]) == ({"done": 1}, {"done": 2})
    assert (summary["video_seconds"], summary["seconds"]) == (26.667, 1.333)
    listed.write_text(f'path,tags\n{archive / "mon" / "a.mp4"},"news; week=48"\n')
    assert batch("--list", listed, *more) == 0
    with (tmp_path / "out" / "batch.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["tags"] == "news, week=48"


def test_quiet_leaves_the_failures(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work_here(monkeypatch, InlineEngine(lambda work: Ended(work.id, "failed", "not decodable", "it is none")))
    assert batch(archive / "mon", "-o", tmp_path / "out", "-m", model, "-q") == 3
    names = [archive / "mon" / name for name in ("a.mp4", "b.mp4")]
    assert capsys.readouterr().err.splitlines() == [
        f"vidsal: failed (not decodable): {name}: it is none" for name in names
    ]


def test_all_done_is_exit_status_0_and_damage_is_3(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work_here(monkeypatch, InlineEngine(lambda work: Ended(work.id, "done")))
    assert batch(archive / "mon", "-o", tmp_path / "whole", "-m", model, "--no-dataset") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "vidsal: nothing is left to do"
    work_here(monkeypatch, InlineEngine(lambda work: Ended(work.id, "damaged", "damaged", "3 packets are lost")))
    assert batch(archive / "mon", "-o", tmp_path / "damaged", "-m", model, "--no-dataset") == 3
    assert f"vidsal: damaged: {archive / 'mon' / 'a.mp4'}: 3 packets are lost" in capsys.readouterr().err


def test_fail_fast_ends_at_the_first_failure(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = work_here(monkeypatch, InlineEngine(lambda work: Ended(work.id, "failed", "not decodable", "none")))
    assert batch(archive, "-o", tmp_path / "out", "-m", model, "--fail-fast") == 3
    assert len(engine.given) < 4 and "--fail-fast" in capsys.readouterr().err


def test_a_folder_that_cannot_be_searched_is_told_and_counts(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work_here(monkeypatch, InlineEngine(lambda work: Ended(work.id, "done")))
    scan = os.scandir

    def refuse(folder: str | int) -> Iterator[os.DirEntry[str]]:
        if str(folder).endswith("/tue"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr("vidsal.batch.inputs.os.scandir", refuse)
    assert batch(archive, "-o", tmp_path / "out", "-m", model, "--no-dataset") == 3
    assert f"{archive / 'tue'} cannot be searched: Permission denied" in capsys.readouterr().err


def test_a_folder_that_is_called_like_an_action_is_an_input(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = work_here(monkeypatch, InlineEngine(lambda work: Ended(work.id, "done")))
    (tmp_path / "status").mkdir()
    shutil.copyfile(archive / "mon" / "a.mp4", tmp_path / "status" / "a.mp4")
    monkeypatch.chdir(tmp_path)
    assert batch("./status", "-o", "out", "-m", model, "--no-dataset") == 0
    assert engine.given == ["a.mp4"]
    assert batch("status", "out") == 0 and "1 input: 1 done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "{out}"], "no input given"),
        (["{archive}", "-o", "{out}", "--shard", "4/3"], "--shard must be I/N"),
        (["{archive}"], "--output is missing"),
        (["{archive}", "-o", "{out}/a.mp4"], "a batch needs a folder"),
        (["{archive}/nothing", "-o", "{out}"], "there is no file or folder"),
        (["{archive}", "-o", "{out}", "--no-record"], "the records say what is done"),
        (["{archive}", "-o", "{out}", "--list", "{archive}/none.csv"], "--list {archive}/none.csv cannot be read"),
        (["--list", "{lists}/unknown.csv", "-o", "{out}"], "column 2: unknown option 'opactiy'; did you mean opacity?"),
        (["--list", "{lists}/bad.jsonl", "-o", "{out}"], "line 2, b.mp4: --opacity must be from 0 to 1"),
        (["statsu", "{out}"], "did you mean status?"),
        *([[action], f"vidsal batch {action} DIR"] for action in ("status", "retry", "verify", "clean", "merge")),
        (["{archive}", "-o", "{out}", "--keep-fre", "2"], "did you mean --keep-free?"),
        (["{archive}", "-o", "{out}", "--encoder", "nope"], "the encoder 'nope' is not in this build of FFmpeg"),
        (["{archive}", "-o", "{out}", "--encoder", "nope", "--dry-run"], "use --encoder libx264"),
        (["{archive}", "-o", "{out}", "--encoder", "prores_ks"], "take --container mov"),
        (["{archive}", "-o", "{out}", "--steps", "99"], "the number of steps this model was trained with"),
        (["{archive}", "-o", "{out}", "--no-video", "--table", "none", "--no-shot-lists"], "nothing to write"),
        (["--list", "{lists}/encoder.csv", "-o", "{out}"], "line 3, b.mp4: the encoder 'nope'"),
    ],
)
def test_bad_usage_is_status_2_and_makes_nothing(
    arguments: list[str], says: str, archive: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"archive": archive, "out": tmp_path / "out", "lists": tmp_path}
    (tmp_path / "unknown.csv").write_text("path,opactiy\na.mp4,0.5\n")
    (tmp_path / "encoder.csv").write_text("path,encoder,start\na.mp4,,1\nb.mp4,nope,\n")
    (tmp_path / "bad.jsonl").write_text('{"path": "a.mp4", "opacity": 0.5}\n{"path": "b.mp4", "opacity": 7}\n')
    more = ["-m", model] if "-o" in arguments else []
    assert batch(*[argument.format(**names) for argument in arguments], *more) == 2
    assert says.format(**names) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# Stops.


@pytest.mark.parametrize(
    ("number", "status", "told"),
    [(signal.SIGINT, 130, "; Ctrl-C again to stop at once"), (signal.SIGTERM, 143, ""), (signal.SIGHUP, 129, "")],
)
def test_a_signal_begins_nothing_more_and_says_how_far_it_got(
    number: signal.Signals,
    status: int,
    told: str,
    archive: Path,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(work: Work) -> Ended:
        if len(engine.given) == 1:
            return Ended(work.id, "done")
        signal.raise_signal(number)
        return Ended(work.id, "interrupted", message="stopped", free_of_charge=True)

    engine = work_here(monkeypatch, InlineEngine(interrupt))
    log = tmp_path / "log.jsonl"
    assert batch(archive, "-o", tmp_path / "out", "-m", model, "--no-video", "--log", log) == status
    err = capsys.readouterr().err
    assert f"stopping: what is under way is left off and waits again{told}\n" in err
    assert f"vidsal: stopped by {number.name}; the same command goes on" in err
    found = states(tmp_path / "out")
    assert list(found.values()) == ["done", "waiting", "waiting", "waiting"] and len(engine.given) == 2
    assert "stopping" in [json.loads(line)["event"] for line in log.read_text().splitlines()]


def test_a_second_ctrl_c_ends_at_once(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(work: Work) -> Ended | None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one raises")

    work_here(monkeypatch, InlineEngine(interrupt))
    assert batch(archive, "-o", tmp_path / "out", "-m", model) == 130
    assert "stopped by SIGINT; the same command goes on" in capsys.readouterr().err
    assert set(states(tmp_path / "out").values()) == {"waiting"}


def test_a_stop_while_folders_are_searched_changes_nothing(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = work_here(monkeypatch)
    scan = os.scandir

    def interrupt(folder: str | int) -> Iterator[os.DirEntry[str]]:
        if str(folder).endswith("/mon"):
            signal.raise_signal(signal.SIGTERM)
        return scan(folder)

    monkeypatch.setattr("vidsal.batch.inputs.os.scandir", interrupt)
    assert batch(archive, "-o", tmp_path / "out", "-m", model, "-q") == 143
    assert states(tmp_path / "out") == {} and engine.given == []


def test_a_terminal_that_goes_is_no_end(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    work_here(monkeypatch, InlineEngine(lambda work: Ended(work.id, "failed", "not decodable", "none")))
    monkeypatch.setattr("sys.stderr", Gone())
    monkeypatch.setattr(console, "LOG_EVERY_SECONDS", 0.0)
    assert batch(archive / "mon", "-o", tmp_path / "out", "-m", model) == 3


# The log.


def test_the_log_has_a_line_an_event(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_here(monkeypatch)
    log = tmp_path / "log.jsonl"
    log.write_text("kept\n")
    assert batch(archive / "tue", "-o", tmp_path / "out", "-m", model, "-q", "--log", log, "--no-dataset") == 3
    kept, *lines = log.read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert kept == "kept"
    assert [event["event"] for event in events] == ["begin", "begun", "ended", "begun", "ended", "end"]
    first, failed = events[2], events[4]
    assert first["path"] == str(archive / "tue" / "a.mp4") and first["state"] == "done" and first["frames"] == FRAMES
    assert [made["stage"] for made in first["files"]] == ["video", "table", "shots", "record"]
    assert len(first["files"][0]["sha256"]) == 64
    assert failed["state"] == "failed" and failed["reason"] == "not decodable" and failed["attempts"] == 1
    assert events[-1]["counts"] == {"done": 1, "failed": 1}
    assert all(event["time"].endswith("+00:00") for event in events)


def test_a_log_that_cannot_be_written_is_told_before_anything_is_made(
    archive: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(archive, "-o", tmp_path / "out", "-m", model, "--log", tmp_path / "none" / "log") == 1
    assert "choose another --log" in capsys.readouterr().err and not (tmp_path / "out").exists()


# A dry run.


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run needs no process of its own."""
    monkeypatch.setattr(dry_run, "_Helper", InlineHelper)


def test_a_file_that_ends_the_process_that_opens_it_is_one_of_those_that_cannot_be_read(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with dry_run._Helper(threads=1) as helper:
        assert helper.ask(abs, -3) == 3 and helper.start_seconds > 0
        with pytest.raises(dry_run._NoAnswer, match=r"ended with signal 6 \(SIGABRT\)"):
            helper.ask(os.abort)
        assert helper.ask(abs, -4) == 4
        monkeypatch.setattr(dry_run, "_ANSWER_SECONDS", 0.0)
        with pytest.raises(dry_run._NoAnswer, match="takes more than 0 s"):
            helper.ask(time.sleep, 60)

    class Crashing(InlineHelper):
        def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
            if str(arguments[0]).endswith("b.mp4"):
                raise dry_run._NoAnswer("it ended with signal 11")
            return function(*arguments)

    monkeypatch.setattr(dry_run, "_Helper", Crashing)
    assert batch(archive / "mon", "-o", tmp_path / "out", "-m", model, "--dry-run", "--json", "-q") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["unreadable"] == {"worker died": 1} and plan["frames"] == FRAMES
    assert plan["examples"]["worker died"] == [str(archive / "mon" / "b.mp4"), "it ended with signal 11"]


def test_a_dry_run_tells_of_uploads_and_of_the_time_to_start(
    archive: Path, model: str, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("fsspec")
    wanted = ["-o", tmp_path / "out", "-m", model, "--dry-run", "--upload", "memory://mia:s3cr3t@place/x"]
    assert batch(archive / "mon", *wanted, "--json", "-q") == 0
    plan = json.loads(capsys.readouterr().out)
    (sample,) = plan["samples"]
    assert (
        0 < plan["bytes_here"] < plan["bytes"] == 2 * sample["bytes"] and plan["bytes_here"] == 2 * sample["bytes_here"]
    )
    assert plan["start_seconds"] >= InlineHelper.start_seconds
    assert plan["seconds"] > plan["start_seconds"]
    assert batch(archive / "mon", *wanted, "-q") == 0
    out = capsys.readouterr().out
    assert " s of it to start, without the time that uploading takes" in out and "s3cr3t" not in out
    assert "upload: about " in out and "place/x" in out and "results that stay here: about " in out


def test_a_dry_run_counts_measures_and_changes_nothing(
    archive: Path,
    model: str,
    tmp_path: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = ["-o", tmp_path / "out", "-m", model, "--dry-run", "--workers", "2"]
    assert batch(archive, *wanted, "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["inputs"], plan["waiting"], plan["opened"], plan["done"]) == (4, 4, 4, 0)
    assert plan["frames"] == 3 * FRAMES and plan["video_seconds"] == pytest.approx(3 * FRAMES / 25)
    assert plan["unreadable"] == {"not decodable": 1} and "broken.mp4" in plan["examples"]["not decodable"][0]
    assert plan["search"]["other_kinds"] == {".txt": 2} and plan["search"]["hidden"] == 1
    (sample,) = plan["samples"]
    assert (sample["width"], sample["height"], sample["frames"]) == (32, 32, FRAMES)
    # Three alike of the one that was measured.
    assert plan["bytes"] == 3 * sample["bytes"] and plan["workers"] == 2
    assert plan["seconds"] >= 3 * sample["seconds"] / 2 * 0.99
    assert not (tmp_path / "out").exists()

    monkeypatch.setattr(dry_run.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, 10**9))
    assert batch(archive, *wanted, "--keep-free", "3") == 0
    out = capsys.readouterr().out
    assert "4 inputs: 0 done already, 4 to run; left out 2 of other kinds (2 .txt" in out
    assert "not decodable: 1, such as" in out and "time: about" in out and "NOT ENOUGH" in out


def test_a_dry_run_knows_what_is_done(
    archive: Path, model: str, done: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(done)
    assert batch(archive, "-o", done, "-m", model, "--no-dataset", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "4 inputs: 3 done already, 0 to run, 1 failed or damaged earlier (vidsal batch retry)" in out
    assert batch(archive, "-o", done, "-m", model, "--no-dataset", "--opacity", ".3", "--dry-run", "--json", "-q") == 0
    assert json.loads(capsys.readouterr().out)["waiting"] == 4
    assert content(done) == before


def test_a_large_archive_is_opened_in_parts_and_estimated(
    archive: Path,
    model: str,
    tmp_path: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(dry_run, "_MOST_OPENED", 1)
    assert batch(archive / "mon", "-o", tmp_path / "out", "-m", model, "--dry-run", "--json", "-q") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["opened"] == 1 and plan["frames"] == 2 * FRAMES


# Status.


def test_status_shows_what_is_under_way_and_what_went_wrong(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text and JSON count alike; what a worker has in hand and has not begun still waits."""
    shown: list[list[str]] = []

    def look(work: Work) -> Ended:
        capsys.readouterr()
        assert batch("status", tmp_path / "out", "--json") == 0
        assert batch("status", tmp_path / "out") == 0
        shown.append(capsys.readouterr().out.splitlines())
        return Ended(work.id, "failed", "not decodable", "it is none", seconds=1.0)

    engine = InlineEngine(look)
    monkeypatch.setattr(engine, "room", lambda: 2)
    work_here(monkeypatch, engine)
    assert batch(archive / "mon", "-o", tmp_path / "out", "-m", model, "-q") == 3
    before = json.loads(shown[0][0])
    assert before["inputs"] == {"running": 1, "waiting": 1} and shown[0][1] == "2 inputs: 1 running, 1 waiting"
    first, *lines = shown[1]
    status = json.loads(first)
    assert status["running"] and status["inputs"] == {"failed": 1, "running": 1}
    assert lines[0] == "2 inputs: 1 failed, 1 running"
    (part,) = status["parts"]
    assert part["state"] == "running" and part["pid"] == os.getpid()
    assert [(one["path"], one["frames"], one["total"]) for one in part["under_way"]] == [
        (str(archive / "mon" / "b.mp4"), 1, 4)
    ]
    # Nothing is done, but a frame of it at 0.25 s.
    assert (status["frames"], status["video_seconds"], part["video_seconds"]) == (1, 0.25, 0.25)
    assert status["times_real_time"] == pytest.approx(0.25 / part["seconds"])
    assert part["seconds_left"] == pytest.approx(part["seconds"] * 3)
    assert any(line.startswith("running since ") and f"process {os.getpid()} on " in line for line in lines)
    assert any(line.split() == [str(archive / "mon" / "b.mp4"), "1/4", "frames", "25", "%"] for line in lines)
    assert lines[-1] == f"  failed  not decodable  1  {archive / 'mon' / 'a.mp4'}: it is none"


def test_status_does_not_name_what_is_only_opened_for_later(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def look(work: Work) -> Ended:
        change(output, "INSERT OR REPLACE INTO live SELECT id, 0, NULL, 0, 0 FROM inputs WHERE place='b'")
        capsys.readouterr()
        assert batch("status", output, "--json") == 0
        shown.append(json.loads(capsys.readouterr().out))
        return Ended(work.id, "failed", "not decodable", "it is none", seconds=1.0)

    shown: list[Any] = []
    output = tmp_path / "out"
    work_here(monkeypatch, InlineEngine(look))
    assert batch(archive / "mon", "-o", output, "-m", model, "-q", "--fail-fast") == 3
    (status,) = shown
    (one,) = status["parts"][0]["under_way"]
    assert Path(one["path"]).name == "a.mp4" and status["inputs"] == {"running": 1, "waiting": 1}


def test_status_knows_a_batch_that_was_killed(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(done)
    assert batch("status", done, "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert not status["running"] and status["parts"][0]["state"] == "complete"
    assert status["inputs"] == {"done": 3, "failed": 1} and status["frames"] == 3 * FRAMES
    assert status["bytes_written"] > 0 and status["reasons"][0]["inputs"] == 1
    assert content(done) == before
    change(done, "UPDATE runs SET ended=NULL, outcome=NULL, beat=?", 1e9)
    change(done, "UPDATE inputs SET state='running' WHERE place='mon/a'")
    assert batch("status", done) == 0
    out = capsys.readouterr().out
    assert "was killed; the same command goes on" in out and "4 inputs: 2 done, 1 failed, 1 waiting" in out


def test_status_of_a_batch_elsewhere_goes_by_its_last_word(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for beat, state in ((time.time() - 5, "running"), (time.time() - 500, "killed")):
        change(done, "UPDATE runs SET ended=NULL, outcome=NULL, host='another', beat=?, note='paused'", beat)
        assert batch("status", done, "--json") == 0
        assert json.loads(capsys.readouterr().out)["parts"][0]["state"] == state


def test_status_does_not_wait_for_torch() -> None:
    modules = "sorted({'torch', 'cv2', 'av'} & sys.modules.keys())"
    code = f"import sys, vidsal.batch.clean, vidsal.batch.status; print({modules})"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize("action", ["status", "retry", "verify", "clean", "merge"])
def test_a_folder_without_a_batch_is_told(action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch(action, tmp_path) == 1
    assert f"{tmp_path} holds no batch" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# The page about it.

PAGE = (ROOT / "docs" / "guide" / "archive.md").read_text(encoding="utf-8")


def test_the_page_names_every_column_reason_and_action(finished: Path) -> None:
    with (finished / "batch.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    part = PAGE.split("### batch.csv")[1].split("### batch.json")[0]
    named = [name for row in part.splitlines() if row.startswith("| `") for name in row.split("|")[1].split(",")]
    assert [name.strip(" `") for name in named] == columns
    assert not [reason for reason in get_args(Reason) if f"`{reason}`" not in part]
    summary = json.loads((finished / "batch.json").read_text())
    assert not [key for key in summary if f"`{key}`" not in PAGE and key != "format"]
    assert not [action for action in COMMANDS["batch"].actions if f"vidsal batch {action} /results" not in PAGE]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("status", "ends"), [(0, 0), (3, 0), (143, 0), (1, 1)])
def test_the_example_for_slurm_runs_a_shard_and_begins_again_when_its_time_is_over(
    status: int, ends: int, tmp_path: Path
) -> None:
    """The script with stand-ins for SLURM's commands, which note what they were given."""
    for name in ("srun", "scontrol"):
        (tmp_path / name).write_text(f'#!/bin/bash\nprintf "%s\\n" {name} "$@" >> "$NOTES"\nexit {status}\n')
        (tmp_path / name).chmod(0o755)
    notes = tmp_path / "notes"
    given = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16", "SLURM_CPUS_PER_TASK": "8"}
    ended = subprocess.run(
        ["bash", str(ROOT / "examples" / "batch_array.sbatch"), "/in", str(tmp_path / "out")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "NOTES": str(notes), "SLURM_ARRAY_JOB_ID": "77", **given},
        capture_output=True,
        text=True,
        check=False,
    )
    srun, vidsal, *words = notes.read_text().splitlines()
    assert (ended.returncode, ended.stderr, srun, vidsal, words[0]) == (ends, "", "srun", "vidsal", "batch")
    if status == 143:
        *words, scontrol, requeue, task = words
        assert (scontrol, requeue, task) == ("scontrol", "requeue", "77_3")
    parsed, options = COMMANDS["batch"].parser("vidsal batch").read(words[1:])
    assert parsed.shard == "3/16" and parsed.inputs == ["/in"] and options.batch.workers == 8
    assert parsed.log.parent.is_dir()
