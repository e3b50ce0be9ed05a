"""What is done with the job of a batch later: retry, verify, clean, merge; and what its progress looks like."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batches import FRAMES, InlineEngine, batch, change, states, work_here
from test_console import lines_seen, on_terminal

from vidsal import console
from vidsal.batch.accounts import read_accounts
from vidsal.batch.inputs import Shard
from vidsal.batch.schedule import BatchProgress, LaneProgress
from vidsal.batch.work import Ended, Work
from vidsal.console import make_batch_display
from vidsal.errors import TransferError
from vidsal.files import claim, is_claimed, release
from vidsal.index import INDEX_NAME, THUMBNAILS


@pytest.fixture(scope="module")
def finished(archive: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of mon/a.mp4 and mon/b.mp4, all of them done."""
    output = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        assert batch(archive, "--exclude", "tue", "-o", output, "-m", model, "--maps", "npz", "--no-dataset", "-q") == 0
    return output


def failing(work: Work) -> Ended | None:
    return (
        Ended(work.id, "failed", "not decodable", "none") if work.source.endswith("a.mp4") else Ended(work.id, "done")
    )


# Retry.


def test_retry_goes_on_with_what_failed_from_anywhere(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(archive)
    work_here(monkeypatch, InlineEngine(failing))
    output = tmp_path / "out"
    options = ["-m", os.path.relpath(model), "--exclude", "broken*", "--no-video", "--no-dataset", "--opacity", ".3"]
    assert batch("mon", "tue", "-o", output, *options, "-q") == 3
    assert states(output) == {"mon/a": "failed", "mon/b": "done", "tue/a": "failed"}

    monkeypatch.chdir(tmp_path)
    engine = work_here(monkeypatch)
    assert batch("retry", "out", "--mark") == 0
    assert "2 inputs to be run again" in capsys.readouterr().err and engine.given == []
    assert list(states(output).values()).count("waiting") == 2
    seen: list[float] = []

    def note(work: Work) -> None:
        seen.append(work.options.render.opacity)

    engine = work_here(monkeypatch, InlineEngine(note))
    assert batch("retry", "out", "-q", "--json", "--log", "log.jsonl") == 0
    assert engine.given == ["a.mp4", "a.mp4"] and set(seen) == {0.3}
    assert json.loads(capsys.readouterr().out)["counts"] == {"done": 3}
    assert (output / "mon" / "a.vidsal.csv").is_file() and not (output / "mon" / "a.vidsal.mp4").exists()
    assert (tmp_path / "log.jsonl").is_file()


def test_retry_counts_what_waits_already_with_what_failed(
    done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change(done, "UPDATE inputs SET state='failed', reason='too slow' WHERE place='mon/a'")
    (done / "mon/b.vidsal.csv").unlink()
    assert batch("verify", done, "--redo", "-q") == 3
    capsys.readouterr()
    engine = work_here(monkeypatch)
    assert batch("retry", done) == 0 and sorted(engine.given) == ["a.mp4", "b.mp4"]
    assert "vidsal: 2 inputs to be run: 1 that failed, 1 that waited already\n" in capsys.readouterr().err


def test_retry_runs_damaged_inputs_again_only_when_it_is_told_to(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(done, "UPDATE inputs SET state='damaged', reason='damaged' WHERE place='mon/a'")
    engine = work_here(monkeypatch, InlineEngine(lambda work: Ended(work.id, "done")))
    assert batch("retry", done, "-q") == 3 and engine.given == []
    assert batch("retry", done, "-q", "--damaged") == 0 and engine.given == ["a.mp4"]


@pytest.mark.parametrize("name", ["list.csv", "-"])
def test_retry_knows_the_list(
    name: str, archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [archive / "mon" / one for one in ("a.mp4", "b.mp4")]
    Path("list.csv").write_text("path,opacity,tags\n" + "".join(f"{path},0.25,week=48\n" for path in paths))
    Path("paths").write_text("".join(f"{path}\n" for path in paths))
    work_here(monkeypatch, InlineEngine(failing))
    with Path("paths").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert batch("--list", name, "-o", "out", "-m", model, "--no-dataset", "-q") == 3
    seen: list[float] = []
    engine = work_here(monkeypatch, InlineEngine(lambda work: seen.append(work.options.render.opacity)))
    assert batch("retry", "out", "-q") == 0
    assert engine.given == ["a.mp4"] and (seen == [0.25]) == (name != "-")


def test_retry_of_a_list_from_a_pipe_names_what_the_last_one_named(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for names in ("ab", "a"):
        Path("paths").write_text("".join(f"{archive / 'mon' / name}.mp4\n" for name in names))
        work_here(monkeypatch, InlineEngine(failing))
        with Path("paths").open() as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            assert batch("--list", "-", "-o", "out", "-m", model, "--no-dataset", "-q") == 3
    work_here(monkeypatch, InlineEngine(lambda work: Ended(work.id, "done")))
    capsys.readouterr()
    assert batch("retry", "out", "-q", "--json") == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"done": 1}


def test_a_batch_at_work_is_left_alone(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = done / ".vidsal-batch" / "job.sqlite"
    lock = claim(database)
    assert lock is not None
    try:
        for action in (["retry", done], ["verify", done, "--redo"]):
            assert batch(*action) == 1
            assert "another vidsal batch is at work" in capsys.readouterr().err
        assert batch("verify", done, "-q") == 0
    finally:
        release(database, lock)
    assert is_claimed(database) is False


def test_the_account_for_the_page_over_all_reports_does_not_say_damaged_twice(done: Path) -> None:
    cut = "the file is cut short"
    change(done, "UPDATE inputs SET state='damaged', reason='damaged', message=? WHERE place='mon/a'", cut)
    change(done, "UPDATE inputs SET state='failed', reason='too slow', message='for 9 s' WHERE place='mon/b'")
    notes = {place: account.note for place, account in read_accounts(done).items()}
    assert notes == {"mon/a": cut, "mon/b": "too slow: for 9 s"}


# Verify.


def swap_a_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("harm", "file", "problem"),
    [
        (Path.unlink, "mon/a.vidsal.mp4", "missing"),
        (swap_a_byte, "mon/a.vidsal.mp4", "changed"),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "mon/b.vidsal.csv", "changed"),
        (Path.unlink, "mon/b.vidsal.json", "missing"),
    ],
)
def test_verify_finds_what_is_not_as_it_was_written_and_redo_makes_it_again(
    harm: Callable[[Path], Any],
    file: str,
    problem: str,
    done: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {path.name: path.read_bytes() for path in (done / "mon").iterdir()}
    assert batch("verify", done) == 0
    assert "10 results of 2 inputs: 0 findings" in capsys.readouterr().err
    harm(done / file)
    assert batch("verify", done, "--json", "-q") == 3
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["problem"], finding["file"]) == (problem, file)
    assert Path(finding["path"]).name == f"{Path(file).name[0]}.mp4"
    assert batch("verify", done, "--redo") == 3
    out, err = capsys.readouterr()
    assert out.split("\t")[:2] == [problem, file] and f"1 input to be run again: vidsal batch retry {done}" in err
    engine = work_here(monkeypatch)
    assert batch("retry", done, "-q") == 0 and engine.given == [Path(finding["path"]).name]
    assert batch("verify", done, "-q") == 0
    # The record holds when it was made.
    now = {path.name: path.read_bytes() for path in (done / "mon").iterdir()}
    assert now.keys() == before.keys()
    assert now[Path(file).name] == before[Path(file).name] or file.endswith(".json")


@pytest.mark.parametrize(
    ("file", "garbage", "says"),
    [
        ("mon/a.vidsal.mp4", b"no video" * 50, ""),
        ("mon/a.vidsal.csv", b"frame,x\n0,1\n", "it holds 1 rows, not 4"),
        ("mon/a.vidsal.csv", b"frame,x\n0\n", "row 1 has 1 columns, not 2"),
        ("mon/a.vidsal.shots.csv", b"shot\n", "it holds no row"),
        ("mon/a.vidsal.maps.npz", b"no archive" * 50, "zip"),
        ("mon/a.vidsal.json", b"{}", "no record"),
    ],
)
def test_verify_opens_what_is_as_it_was_written(
    file: str, garbage: bytes, says: str, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (done / file).write_bytes(garbage)
    digest = hashlib.sha256(garbage).hexdigest()
    change(done, "UPDATE files SET bytes=?, sha256=? WHERE file=?", len(garbage), digest, file)
    assert batch("verify", done, "-q") == 3
    problem, found, path, message = capsys.readouterr().out.rstrip("\n").split("\t")
    assert (problem, found, Path(path).name) == ("unreadable", file, "a.mp4") and says in message


def test_verify_counts_the_frames_of_a_video(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(done, "UPDATE inputs SET frames=? WHERE place='mon/a'", FRAMES + 1)
    assert batch("verify", done, "-q") == 3
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {file: message for _, file, _, message in lines} == {
        "mon/a.vidsal.mp4": "it holds 4 frames, not 5",
        "mon/a.vidsal.csv": "it holds 4 rows, not 5",
        "mon/a.vidsal.maps.npz": "it holds 4 maps, not 5",
    }


def test_verify_names_files_of_nothing_in_the_batch_which_harm_no_result(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mon/a.vidsal.jsonl", "gone.vidsal.mp4", "mon/notes.csv", "mon/a.vidsal.partial.mp4"):
        (done / name).write_bytes(b"x")
    assert batch("verify", done) == 0
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]
    assert sorted(line[:2] for line in lines) == [["surplus", "gone.vidsal.mp4"], ["surplus", "mon/a.vidsal.jsonl"]]
    assert "can be removed" in lines[0][3]
    assert err.endswith("vidsal: 10 results of 2 inputs: 0 findings; 2 files surplus\n")
    # Nobody knows them for the batch's own.
    assert batch("clean", done, "--surplus") == 0
    assert capsys.readouterr().out.splitlines() == [str(done / "mon/a.vidsal.partial.mp4")]


def test_what_earlier_options_asked_for_is_named_and_can_be_removed(
    archive: Path, model: str, done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether the results are made again or only fewer are wanted; and then asked for once more."""
    command = (archive, "--exclude", "tue", "-o", done, "-m", model, "--no-dataset")
    left = ["mon/a.vidsal.maps.npz", "mon/a.vidsal.mp4", "mon/b.vidsal.maps.npz", "mon/b.vidsal.mp4"]
    engine = work_here(monkeypatch)
    assert batch(*command, "--no-video") == 0 and engine.given == ["a.mp4", "b.mp4"]
    told = f"4 results of earlier options may still be there, such as {left[0]}; to remove what is: vidsal batch clean"
    assert told in capsys.readouterr().err
    assert batch(*command, "--no-video") == 0 and "earlier options" not in capsys.readouterr().err
    assert batch("verify", done) == 0
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]
    assert [line[:2] for line in lines] == [["surplus", name] for name in left]
    assert lines[0][2] == str(archive / "mon" / "a.mp4") and f"vidsal batch clean {done} --surplus" in lines[0][3]
    assert "6 results of 2 inputs: 0 findings; 4 files surplus" in err

    # They may be replaced when they are wanted again, in another way.
    work_here(monkeypatch)
    assert batch(archive / "mon" / "a.mp4", "-o", done, "-m", model, "--no-dataset", "--opacity", ".3", "-q") == 0
    assert states(done)["mon/a"] == "done" and (done / "mon/a.vidsal.mp4").is_file()
    left.remove("mon/a.vidsal.mp4")
    (done / "mon/b.vidsal.mp4").write_bytes(b"mine")
    assert batch("clean", done) == 0 and "3 results of earlier options kept (--surplus" in capsys.readouterr().err
    assert batch("clean", done, "--surplus", "--dry-run") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(done / name) for name in left if "mp4" not in name] and "would be removed" in err
    assert all((done / name).is_file() for name in left)
    assert batch("clean", done, "--surplus") == 0
    assert f"kept, as it is not what was written: {done}/mon/b.vidsal.mp4" in capsys.readouterr().err
    assert [name for name in left if (done / name).exists()] == ["mon/b.vidsal.mp4"]
    assert batch("clean", done, "--surplus") == 0 and capsys.readouterr().out == ""
    assert batch("verify", done, "-q") == 0 and capsys.readouterr().out.startswith("surplus\tmon/b.vidsal.mp4\t\t")


def test_no_page_over_all_reports_links_one_that_was_removed(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    output = tmp_path / "out"
    index = output / INDEX_NAME
    command = ("-o", output, "-m", model, "--no-dataset", "-q")
    work_here(monkeypatch)
    assert batch(archive / "mon", *command, "--report") == 0
    thumbnails = sorted((output / THUMBNAILS).iterdir())
    assert len(thumbnails) == 2 and "a.vidsal.html" in index.read_text()
    # One report is not wanted any more.
    assert batch(archive / "mon" / "a.mp4", *command) == 0
    assert batch("clean", output, "--surplus", "--dry-run", "-q") == 0 and "a.vidsal.html" in index.read_text()
    assert batch("clean", output, "--surplus", "-q") == 0
    assert "a.vidsal.html" not in index.read_text() and "b.vidsal.html" in index.read_text()
    assert not (output / "a.vidsal.html").exists() and len([*(output / THUMBNAILS).iterdir()]) == 1
    # Nor is the other one: then the page over them goes as well.
    assert batch(archive / "mon", *command) == 0
    capsys.readouterr()
    assert batch("clean", output, "--surplus", "--dry-run", "-q") == 0
    told = capsys.readouterr().out.splitlines()
    assert str(index) in told and str(output / "b.vidsal.html") in told and index.is_file()
    assert batch("clean", output, "--surplus", "-q") == 0 and capsys.readouterr().out.splitlines() == told
    assert not index.exists() and not (output / THUMBNAILS).exists() and (output / "b.vidsal.csv").is_file()


def test_results_are_not_removed_while_a_batch_is_at_work(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = done / ".vidsal-batch" / "job.sqlite"
    lock = claim(database)
    assert lock is not None
    try:
        assert batch("clean", done, "--surplus") == 1 and "is at work" in capsys.readouterr().err
    finally:
        release(database, lock)


@pytest.fixture
def uploaded(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, Any, Callable[..., int]]]:
    """The account of mon/a.mp4, whose results lie in the memory of this process, and the command that made them."""
    files = pytest.importorskip("fsspec").filesystem("memory")
    command = [archive / "mon" / "a.mp4", "-o", tmp_path / "out", "-m", model, "--upload", "memory://results/x"]
    run = functools.partial(batch, *command, "--no-dataset", "-q")
    work_here(monkeypatch)
    assert run() == 0
    yield tmp_path / "out", files, run
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def test_verify_looks_at_what_was_uploaded_also_where_a_copy_stayed_here(
    uploaded: tuple[Path, Any, Callable[..., int]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, files, _ = uploaded
    assert sorted(path.name for path in output.glob("a.*")) == ["a.vidsal.csv", "a.vidsal.json", "a.vidsal.shots.csv"]
    assert batch("verify", output, "-q") == 0 and capsys.readouterr().out == ""
    whole = {name: files.cat(f"/results/x/{name}") for name in ("a.vidsal.mp4", "a.vidsal.csv")}
    files.pipe("/results/x/a.vidsal.csv", whole["a.vidsal.csv"][:-1] + b"x")
    files.pipe("/results/x/a.vidsal.mp4", whole["a.vidsal.mp4"][:-1])
    files.rm("/results/x/a.vidsal.shots.csv")
    assert batch("verify", output, "-q") == 3
    found = {line.split("\t")[1]: line.split("\t")[::3] for line in capsys.readouterr().out.splitlines()}
    assert found == {
        "memory://results/x/a.vidsal.csv": ["changed", "it has its size and another content"],
        "memory://results/x/a.vidsal.mp4": [
            "changed", f"it has {len(whole['a.vidsal.mp4']) - 1} bytes and had {len(whole['a.vidsal.mp4'])}"
        ],
        "memory://results/x/a.vidsal.shots.csv": ["missing", "it is not there"],
    }  # fmt: skip
    # What is there as it was written is opened, too.
    garbage = b"no video" * 50
    files.pipe("/results/x/a.vidsal.mp4", garbage)
    digest = hashlib.sha256(garbage).hexdigest()
    change(output, "UPDATE files SET bytes=?, sha256=? WHERE stage='video'", len(garbage), digest)
    assert batch("verify", output, "-q") == 3
    assert "unreadable\tmemory://results/x/a.vidsal.mp4" in capsys.readouterr().out

    # Nobody knows how it is there: nothing is made again for that.
    def broken(address: str, **_: Any) -> bool:
        raise TransferError(f"{address}: the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr("vidsal.batch.verify.exists", broken)
        assert batch("verify", output, "--redo") == 3
    out, err = capsys.readouterr()
    assert {line.split("\t")[0] for line in out.splitlines()} == {"unreached"} and "0 inputs to be run again" in err
    assert batch("verify", output, "--redo", "-q") == 3
    work_here(monkeypatch)
    assert batch("retry", output, "-q") == 0 and batch("verify", output, "-q") == 0


def test_what_earlier_options_uploaded_is_named_and_can_be_removed(
    uploaded: tuple[Path, Any, Callable[..., int]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, files, run = uploaded
    work_here(monkeypatch)
    assert run("--no-video", "--table", "jsonl") == 0
    capsys.readouterr()
    old = ["memory://results/x/a.vidsal.csv", "memory://results/x/a.vidsal.mp4"]
    assert batch("verify", output, "-q") == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [["surplus", name] for name in ("a.vidsal.csv", *old)]
    assert batch("clean", output, "--surplus", "-q") == 0
    assert capsys.readouterr().out.splitlines() == [str(output / "a.vidsal.csv"), *old]
    names = sorted(path.rpartition("/")[2] for path in files.find("/results"))
    assert names == ["a.vidsal.json", "a.vidsal.jsonl", "a.vidsal.shots.csv"]
    assert batch("verify", output, "-q") == 0 and capsys.readouterr().out == ""


# Clean.

LEFT = (
    *("mon/a.vidsal.partial.mp4", "mon/a.vidsal.partial.mp4.lock", "mon/a.vidsal.partial.2.mp4"),
    *("mon/a.vidsal.maps.partial.npz.lock", "mon/a.vidsal.maps.partial.raw", "mon/b.vidsal.shots.partial.csv"),
    *("mon/b.vidsal.json.partial", "mon/b.vidsal.json.partial.lock", "batch.csv.partial", "batch.csv.partial.lock"),
    *(".vidsal-batch/job.sqlite.lock", "mon/b.vidsal.json.0123abcd.partial"),
)
FOREIGN = (
    *("mon/a.partial.mp4", "other.vidsal.partial.mp4", "mon/a.vidsal.partial", "mon/a.mp4.lock", "notes.partial.csv"),
    *("mon/c.vidsal.json.partial", "mon/batch.csv.partial", "mon/b.vidsal.json.89abcdef.partial"),
)


def test_clean_removes_what_dead_runs_left_and_nothing_else(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = {path for path in done.rglob("*") if path.is_file()}
    for name in (*LEFT, *FOREIGN):
        (done / name).write_bytes(b"x")
    old = time.time() - 7200
    os.utime(done / "mon/b.vidsal.json.0123abcd.partial", (old, old))
    assert batch("clean", done, "--dry-run") == 0
    out, err = capsys.readouterr()
    assert {Path(line) for line in out.splitlines()} == {done / name for name in LEFT}
    assert f"{len(LEFT)} files would be removed" in err and all((done / name).exists() for name in LEFT)
    assert batch("clean", done) == 0
    assert {Path(line) for line in capsys.readouterr().out.splitlines()} == {done / name for name in LEFT}
    assert {path for path in done.rglob("*") if path.is_file()} == whole | {done / name for name in FOREIGN}


def test_clean_leaves_what_a_living_run_holds(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = {name: claim(done / name) for name in ("mon/a.vidsal.partial.mp4", ".vidsal-batch/job.sqlite")}
    for name in ("mon/a.vidsal.partial.mp4", "mon/a.vidsal.partial.2.mp4", "mon/b.vidsal.partial.mp4"):
        (done / name).write_bytes(b"x")
    (done / "mon/a.vidsal.partial.csv").write_bytes(b"x")
    try:
        # What is under way is not touched, whether a lock is there yet or not.
        change(done, "UPDATE inputs SET state='running' WHERE place='mon/b'")
        assert batch("clean", done) == 0
        out, err = capsys.readouterr()
        assert out.splitlines() == [str(done / "mon/a.vidsal.partial.csv")]
        assert "in use kept" in err and (done / "mon/b.vidsal.partial.mp4").exists()
        assert (done / "mon/a.vidsal.partial.mp4").exists() and (done / "mon/a.vidsal.partial.2.mp4").exists()
        assert all(is_claimed(done / name) for name in held)
    finally:
        for name, lock in held.items():
            assert lock is not None
            release(done / name, lock)


# Merge.


def tables(output: Path) -> dict[str, list[Any]]:
    opened = sqlite3.connect(output / ".vidsal-batch" / "job.sqlite")
    found = {
        name: opened.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall()
        for name in ("inputs", "files", "attempts")
    }
    found["runs"] = opened.execute("SELECT id, outcome, given FROM runs ORDER BY id").fetchall()
    opened.close()
    return found


@pytest.fixture
def sharded(archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a shard of the archive; which is whose does not hang on where the test lies."""
    monkeypatch.setattr(Shard, "has", lambda self, path: ("/mon/" in path) == (self.number == 1))

    def run(output: Path, shard: str, before: Callable[[Work], Ended | None]) -> None:
        work_here(monkeypatch, InlineEngine(before))
        batch(archive, "-o", output, "-m", model, "--exclude", "broken*", "--shard", shard, "-q")

    return run


def ended(outcome: Any) -> Callable[[Work], Ended]:
    reason = None if outcome == "done" else "not decodable"
    return lambda work: Ended(work.id, outcome, reason, "none" if reason else "", frames=7, video_seconds=2.0)


def test_shards_become_one_job_that_goes_on(
    archive: Path,
    model: str,
    sharded: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    sharded(here, "1/2", ended("done"))
    sharded(there, "2/2", ended("failed"))
    parts = states(here, "shard-1-of-2"), states(there, "shard-2-of-2")
    assert (len(parts[0]), len(parts[1])) == (2, 1)
    # The shards of one folder are looked at together.
    shutil.copyfile(there / ".vidsal-batch/shard-2-of-2.sqlite", here / ".vidsal-batch/shard-2-of-2.sqlite")
    capsys.readouterr()
    assert batch("status", here) == 0
    assert "3 inputs: " in (shown := capsys.readouterr().out) and "shard-2-of-2 (" in shown
    assert batch("retry", here) == 1 and "vidsal batch merge" in capsys.readouterr().err
    (here / ".vidsal-batch/shard-2-of-2.sqlite").unlink()

    assert batch("merge", here, there, "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["inputs"] == {"done": len(parts[0]), "failed": len(parts[1])}
    assert "2 jobs merged, 3 inputs new or changed" in err
    assert states(here) == dict(sorted((parts[0] | parts[1]).items()))
    before = tables(here)
    assert [one[1] for one in before["runs"]].count("merged") == 1 and len(before["attempts"]) == 3
    assert batch("merge", here, there) == 0
    assert "0 inputs new or changed" in capsys.readouterr().err and tables(here) == before
    assert len((here / "batch.csv").read_text().splitlines()) == 4

    # What was done stays done, whoever did it; a better word replaces one that is worse.
    engine = work_here(monkeypatch)
    assert batch(archive, "-o", here, "-m", model, "--exclude", "broken*", "--no-dataset", "-q") == 3
    assert engine.given == []
    engine = work_here(monkeypatch, InlineEngine(ended("done")))
    assert batch("retry", here, "-q") == 0 and len(engine.given) == len(parts[1])
    assert batch("merge", here, there, "-q") == 0
    assert set(states(here).values()) == {"done"}


def test_a_shard_at_work_is_not_merged(
    sharded: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sharded(tmp_path, "1/1", ended("done"))
    database = tmp_path / ".vidsal-batch" / "shard-1-of-1.sqlite"
    lock = claim(database)
    assert lock is not None
    try:
        assert batch("merge", tmp_path) == 1 and "is at work" in capsys.readouterr().err
    finally:
        release(database, lock)
    assert not (tmp_path / ".vidsal-batch" / "job.sqlite").exists()


def test_jobs_that_are_no_parts_of_one_batch_are_not_merged(
    archive: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work_here(monkeypatch, InlineEngine(ended("done")))
    copied = Path(shutil.copytree(archive, tmp_path / "copied"))
    assert batch(archive / "mon", "-o", tmp_path / "one", "-m", model, "--no-dataset", "-q") == 0
    assert batch(copied / "mon", "-o", tmp_path / "other", "-m", model, "--no-dataset", "-q") == 0
    before = tables(tmp_path / "one")
    assert batch("merge", tmp_path / "one", tmp_path / "other") == 1
    assert "no parts of one batch" in capsys.readouterr().err and tables(tmp_path / "one") == before
    assert batch("merge", tmp_path / "one") == 1 and "there is nothing to merge" in capsys.readouterr().err


# Progress.


def lane(path: str, frames: int, total: int | None, size: int = 100) -> LaneProgress:
    return LaneProgress(path, 0.0, 1.0, frames, total, frames / 25, None if total is None else total / 25, size)


def progress(**changes: Any) -> BatchProgress:
    values: dict[str, Any] = {
        "counts": {"done": 10, "failed": 2, "waiting": 28},
        "ended": 12,
        "video_seconds": 7200.0,
        "seconds": 1200.0,
        "bytes_left": 2800,
        "bytes_worked": 1000,
        "lanes": {
            1: lane("/archive/tapes/monday/a_long_name_of_a_recording_of_last_week_by_the_river.mp4", 500, 1000),
            2: lane("/in/b\x1b[2J.mp4", 7, None),
            3: LaneProgress("/in/waits.mp4", 0.0),
        },
    }
    return BatchProgress(40, **values | changes)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_live_display_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "24")
    with make_batch_display() as display:
        display.update(progress(pause="only 1.2 GB are free"))
        display.complain("vidsal: failed (not decodable): /in/c\x1b[2J.mp4")
    lines = lines_seen(terminal)
    assert max(map(len, lines)) <= columns - 4
    # 2,750 of bytes are left at 1,050 in 1,200 seconds.
    assert any("12/40 files" in line and "2 failed" in line and "6.0x real time" in line for line in lines)
    assert any("0:52:23 left" in line or "52:23 left" in line for line in lines) or columns == 80
    first = next(line for line in lines if "500/1000 frames" in line)
    assert "river.mp4" in first and first.rstrip().endswith("50 %")
    assert any("b\\x1b[2J.mp4" in line and "7 frames" in line for line in lines)
    assert not any("waits.mp4" in line for line in lines)
    assert any("paused: only 1.2 GB are free" in line for line in lines)
    assert "c\\x1b[2J.mp4" in terminal.getvalue()


def test_what_is_only_opened_for_later_is_not_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = {n: LaneProgress(f"/in/opened{n}.mp4", 0.0, 1.0) for n in (3, 4)}
    at_work = {n: lane(f"/in/at{n}.mp4", 50, 100) for n in (1, 2)}
    monkeypatch.setattr(console, "LOG_EVERY_SECONDS", 0.0)
    with make_batch_display() as display:
        display.update(progress(lanes=at_work | opened))
    err = capsys.readouterr().err
    assert err.rstrip().endswith("at /in/at1.mp4 50 %, /in/at2.mp4 50 %")
    # At first there is nothing else to name.
    assert [one.path for one in progress(lanes=opened).at_work] == ["/in/opened3.mp4", "/in/opened4.mp4"]
    terminal = on_terminal(monkeypatch)
    with make_batch_display() as display:
        display.update(progress(lanes=at_work | opened))
    assert "at2.mp4" in terminal.getvalue() and "opened" not in terminal.getvalue()


def test_many_workers_do_not_fill_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("LINES", "10")
    with make_batch_display() as display:
        display.update(progress(lanes={n: lane(f"/in/{n}.mp4", n, 100) for n in range(30)}))
    lines = lines_seen(terminal)
    assert any("and 26 more" in line for line in lines) and sum(" frames " in line for line in {*lines}) == 4


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with make_batch_display() as display:
        for second in range(25):
            now = 100.0 + second
            display.update(progress(pause="only 1 GB is free" if 3 <= second < 6 else ""))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["paused: only 1 GB is free", "it goes on"] and len(lines) == 4
    assert lines[2].startswith("12/40 files, 2 failed, 2:00:20 of video, 6.0x real time, ")
    assert lines[2].endswith("by_the_river.mp4 50 %, /in/b\\x1b[2J.mp4")


def test_the_time_left_goes_by_bytes_and_what_is_under_way() -> None:
    assert progress(lanes={}).seconds_left == pytest.approx(1200 * 2800 / 1000)
    assert progress().seconds_left == pytest.approx(1200 * 2750 / 1050)
    assert progress(lanes={}, begun_seconds=200.0).seconds_left == pytest.approx(1000 * 2800 / 1000)
    assert progress(bytes_worked=0, lanes={}).seconds_left is None


def test_long_times_and_large_sizes_are_told_in_days_and_gigabytes() -> None:
    assert console._long(4 * 86400 + 7200) == "4 d 2 h" and console._long(90) == "1:30"
    assert console.format_size(3_200_000_000_000) == "3.2 TB"
