"""How results came about: in every file, in the record beside them, and compared by the next run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import processes
import pytest
from made import make_checkpoint, make_model, make_network
from media import make_video
from test_cli import rows_of, status_of

import vidsal
from vidsal.decode import DecodeOptions
from vidsal.errors import EncodeError, ExistsError
from vidsal.files import claim, release, sha256_of
from vidsal.model.checkpoint import SaliencyModel, load_model, weights_sha256
from vidsal.pipe import run as run_module
from vidsal.pipe.many import run_many
from vidsal.pipe.options import ModelOptions, OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.run import RunReport, run
from vidsal.provenance import differences
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import TrackOptions

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="no such names or files there")


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", frames=6)


def go(clip: Path, model: SaliencyModel, existing: str = "skip", **stages: Any) -> RunReport:
    """A run without a video unless it is asked for."""
    wanted = {"video": False, "existing": existing, **stages.pop("output", {})}
    return run(clip, options=RunOptions(output=OutputOptions(**wanted), **stages), model=model)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if ".vidsal." in path.name}


def record_of(clip: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(clip.with_name(f"{clip.stem}.vidsal.json").read_text(encoding="utf-8"))
    return values


# What is written.


def test_the_record_says_what_was_made_from_what_by_what(clip: Path, model: SaliencyModel) -> None:
    report = go(clip, model, output={"video": True, "maps": "npz"}, recurrence=RecurrenceOptions(state="reset"))
    made = record_of(clip)
    assert report.status == "done" and report.record_file == clip.with_name("clip.vidsal.json")
    assert report.record_file not in report.files
    assert (made["format"], made["status"], made["earlier"]) == ("vidsal-run-1", "done", [])
    assert made["vidsal"] == vidsal.__version__ and isinstance(made["commit"], str)
    assert made["model"] == {
        "name": "tiny",
        "sha256": model.sha256,
        "precision": "fp32",
        "device": "cpu",
        "task": "free-viewing",
        "ensemble": None,
    }
    assert made["input"]["name"] == "clip.mp4" and made["input"]["kind"] == "video"
    assert made["input"]["bytes"] == clip.stat().st_size
    assert made["options"]["recurrence"]["state"] == "reset"
    assert not {"model", "output"} & made["options"].keys()
    assert made["results"] == [
        {"stage": stage, "file": name, "bytes": clip.with_name(name).stat().st_size}
        for stage, name in (
            ("video", "clip.vidsal.mp4"),
            ("table", "clip.vidsal.csv"),
            ("maps", "clip.vidsal.maps.npz"),
        )
    ]
    assert made["counts"]["frames"] == 6 and made["counts"]["seconds"] == report.seconds
    assert tuple(made["messages"]) == report.messages
    # Nothing tells where on this machine it was made.
    assert str(clip.parent) not in json.dumps(made)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_every_result_carries_how_it_came_about(clip: Path, model: SaliencyModel, suffix: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = "parquet" if suffix == "mp4" else "jsonl"
    maps = "npz" if suffix == "mp4" else "mkv"
    go(clip, model, output={"video": True, "container": suffix, "maps": maps, "table": table})
    made, folder = record_of(clip), clip.parent
    with av.open(str(folder / f"clip.vidsal.{suffix}")) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    texts = [tags["vidsal_run"]]
    if maps == "mkv":
        with av.open(str(folder / "clip.vidsal.maps.mkv")) as container:
            texts.append({key.lower(): value for key, value in container.metadata.items()}["vidsal_run"])
    else:
        with np.load(folder / "clip.vidsal.maps.npz") as arrays:
            texts.append(str(arrays["vidsal_run"]))
    if table == "parquet":
        texts.append(parquet.read_metadata(str(folder / "clip.vidsal.parquet")).metadata[b"vidsal_run"].decode())
    for text in texts:
        assert json.loads(text) == {name: made[name] for name in ("vidsal", "commit", "model", "input", "options")}


@pytest.mark.parametrize("name", ["out.png", "out.jpg"])
def test_a_picture_carries_it_where_no_viewer_shows_it(tmp_path: Path, model: SaliencyModel, name: str) -> None:
    picture = tmp_path / "in.bmp"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    go(picture, model, output={"video": True, "table": "none", "output": tmp_path / name})
    content = (tmp_path / name).read_bytes()
    made = json.loads((tmp_path / "out.vidsal.json").read_text())
    with av.open(str(tmp_path / name)) as container:  # a second reader takes it for a whole picture
        (frame,) = container.decode(video=0)
        assert (frame.width, frame.height) == (64, 48)
        text = frame.metadata.get("vidsal_run") if hasattr(frame, "metadata") else None
    start = content.index(b"vidsal_run") + len(b"vidsal_run") + (5 if name.endswith("png") else 1)
    found, _ = json.JSONDecoder().raw_decode(content[start:].decode("utf-8", "ignore"))
    assert found["input"] == made["input"] and found["model"]["sha256"] == model.sha256
    assert text is None or json.loads(text) == found


def test_a_result_that_is_an_input_again_does_not_carry_the_first_run_on(
    clip: Path, model: SaliencyModel, tmp_path: Path
) -> None:
    go(clip, model, output={"video": True, "table": "none"}, smooth=SmoothOptions(smoothing="none"))
    first = clip.with_name("clip.vidsal.mp4")
    for name in ("again.mp4", "again.mkv"):
        run(first, model=model, options=RunOptions(output=OutputOptions(output=tmp_path / name, table="none")))
        with av.open(str(tmp_path / name)) as container:
            (text,) = (value for key, value in container.metadata.items() if key.lower() == "vidsal_run")
        made = json.loads(text)
        assert made["input"]["name"] == "clip.vidsal.mp4" and made["options"]["smooth"]["smoothing"] == "exponential"


def test_a_table_of_text_is_the_same_with_a_record_and_without(clip: Path, model: SaliencyModel) -> None:
    go(clip, model, output={"table": "csv", "output": clip.parent / "with"})
    go(clip, model, "refuse", output={"table": "csv", "output": clip.parent / "without", "record": False})
    assert [path.name for path in (clip.parent / "without").iterdir()] == ["clip.vidsal.csv"]
    one, other = ((clip.parent / name / "clip.vidsal.csv").read_bytes() for name in ("with", "without"))
    assert one == other and one.startswith(b"index,")


def test_a_model_knows_the_sha256_of_its_file_or_of_its_weights(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "tiny.safetensors")
    assert load_model(path, device="cpu").sha256 == sha256_of(path)
    one, other = make_model(), make_model(1)
    assert one.sha256 == make_model().sha256 != other.sha256
    assert len(one.sha256) == 64


# What the next run makes of it.


def test_what_is_done_is_skipped_and_nothing_is_touched(
    clip: Path, model: SaliencyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = go(clip, model, output={"video": True})
    before = contents(clip.parent)
    monkeypatch.setattr(run_module, "open_video", lambda *_, **__: pytest.fail("nothing has to be opened"))
    again = go(clip, model, output={"video": True}, decode=DecodeOptions(batch_size=3, threads=1, strict=True))
    assert again.status == "skipped" and not again.interrupted
    assert {*again.files} == {*first.files} and again.frames == 6 and again.seconds == 0
    assert contents(clip.parent) == before
    assert json.loads(json.dumps(again.as_dict()))["status"] == "skipped"
    # A part of what is there is there, too.
    assert go(clip, model, output={"video": False}).status == "skipped"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"smooth": SmoothOptions(smoothing="none")}, "smooth.smoothing was exponential, is now none"),
        ({"tracks": TrackOptions(region_reach=0.5)}, "tracks.region_reach was 0.1, is now 0.5"),
    ],
)
def test_what_was_made_otherwise_is_refused_with_what_differs(
    clip: Path, model: SaliencyModel, changed: dict[str, Any], says: str
) -> None:
    go(clip, model)
    before = contents(clip.parent)
    with pytest.raises(ExistsError, match=r"clip\.vidsal\.csv was made otherwise: .*use existing=overwrite") as error:
        go(clip, model, **changed)
    assert says in str(error.value)
    assert contents(clip.parent) == before
    assert go(clip, model, "overwrite", **changed).status == "done"
    assert go(clip, model, **changed).status == "skipped"


def test_an_input_of_the_same_name_that_is_another_is_not_taken_for_the_first(clip: Path, model: SaliencyModel) -> None:
    go(clip, model)
    status = clip.stat()
    # Copied: another time, the same content.
    os.utime(clip, (status.st_atime, status.st_mtime + 100))
    assert go(clip, model).status == "skipped"
    content = bytearray(clip.read_bytes())
    content[len(content) // 2] ^= 1
    clip.write_bytes(content)
    with pytest.raises(ExistsError, match=r"the input was another one \(clip\.mp4, \d+ bytes, of \d{4}-"):
        go(clip, model)


@pytest.mark.parametrize("existing", ["skip", "refuse"])
def test_files_of_other_people_are_never_replaced_nor_taken_for_results(
    clip: Path, model: SaliencyModel, existing: str
) -> None:
    table = clip.with_name("clip.vidsal.csv")
    table.write_text("mine")
    with pytest.raises(ExistsError, match=r"clip\.vidsal\.csv exists already"):
        go(clip, model, existing)
    table.unlink()
    clip.with_name("clip.vidsal.json").write_text('{"my": "notes"}')
    with pytest.raises(ExistsError, match=r"clip\.vidsal\.json exists already, and is no record"):
        go(clip, model, existing)
    assert contents(clip.parent) == {"clip.vidsal.json": b'{"my": "notes"}'}


def test_a_result_that_is_missing_is_made_with_the_rest(clip: Path, model: SaliencyModel) -> None:
    go(clip, model, output={"maps": "npz"})
    table = clip.with_name("clip.vidsal.csv")
    rows = table.read_bytes()
    table.unlink()
    assert go(clip, model, output={"maps": "npz"}).status == "done"
    assert table.read_bytes() == rows
    assert go(clip, model, output={"maps": "npz"}).status == "skipped"


def test_results_of_two_runs_over_one_input_have_one_record(clip: Path, model: SaliencyModel) -> None:
    go(clip, model, "refuse")
    other = {"table": "none", "maps": "npz"}
    go(clip, model, "refuse", output=other, smooth=SmoothOptions(smoothing="none"))
    made = record_of(clip)
    assert [one["stage"] for one in made["results"]] == ["maps"]
    assert [[one["stage"] for one in run["results"]] for run in made["earlier"]] == [["table"]]
    assert go(clip, model).status == "skipped"
    assert go(clip, model, output=other, smooth=SmoothOptions(smoothing="none")).status == "skipped"
    with pytest.raises(ExistsError, match="made otherwise"):
        go(clip, model, smooth=SmoothOptions(smoothing="none"))


def test_a_folder_of_pictures_is_known_again_by_what_is_in_it(tmp_path: Path, model: SaliencyModel) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for n in range(3):
        cv2.imwrite(str(folder / f"{n}.png"), np.full((48, 64, 3), 40 * n, np.uint8))
    assert go(folder, model).status == "done"
    made = json.loads((tmp_path / "frames.vidsal.json").read_text())
    assert made["input"]["kind"] == "images"
    assert made["input"]["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert go(folder, model).status == "skipped"
    cv2.imwrite(str(folder / "3.png"), np.full((48, 64, 3), 200, np.uint8))
    with pytest.raises(ExistsError, match="the input was another one"):
        go(folder, model)


def test_differences_are_named_by_their_way_there() -> None:
    assert differences({"a": {"b": 1, "c": [1]}, "gone": 1}, {"a": {"b": 2, "c": (1,)}, "new": None}) == [
        "a.b was 1, is now 2",
        "gone was 1, is now none",
    ]
    (long,) = differences({"a": "x" * 99}, {"a": 1})
    assert len(long) < 90


# Runs that were killed.

KILLED = """
import os, signal, sys
from made import make_model
from vidsal import files
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.run import run

left, real = int(sys.argv[2]), files.put_in_place

def killed(partial, target):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    real(partial, target)

files.put_in_place = killed
options = RunOptions(output=OutputOptions(video=False, maps="npz", existing=sys.argv[3]))
run(sys.argv[1], options=options, model=make_model())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.parametrize("before", range(4))
def test_a_run_that_is_killed_while_files_get_their_names_is_known_for_it(
    clip: Path, model: SaliencyModel, before: int
) -> None:
    """Killed before the unfinished record, the table, the maps, or the finished record gets its name."""
    assert processes.run(KILLED, clip, str(before), "refuse").returncode == -signal.SIGKILL
    there = {name for name in contents(clip.parent) if ".partial" not in name and not name.endswith(".lock")}
    named = ["clip.vidsal.json", "clip.vidsal.csv", "clip.vidsal.maps.npz"]
    assert there == {*named[:before]}
    if before:
        assert record_of(clip)["status"] == "unfinished"
    # The same command is not kept from working by what nobody was told of, whichever way it goes.
    existing = "skip" if before % 2 else "refuse"
    report = go(clip, model, existing, output={"maps": "npz"})
    assert report.status == "done" and len(report.files) == 2
    assert record_of(clip)["status"] == "done" and len(rows_of(clip.with_name("clip.vidsal.csv"))) == 6
    assert go(clip, model, output={"maps": "npz"}).status == "skipped"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_what_a_killed_run_left_goes_also_where_the_next_run_does_not_want_it(clip: Path, model: SaliencyModel) -> None:
    assert processes.run(KILLED, clip, "0", "refuse").returncode == -signal.SIGKILL
    left = {"clip.vidsal.maps.partial.npz", "clip.vidsal.maps.partial.npz.lock"}
    assert left <= contents(clip.parent).keys()
    # What a stopped run left has no lock; and one may be at work.
    clip.with_name("clip.vidsal.partial.html").write_text("of a run that was stopped")
    held = clip.with_name("clip.vidsal.shots.partial.csv")
    held.write_text("of a run that goes on")
    lock = claim(held)
    assert lock is not None
    try:
        assert go(clip, model).status == "done"
    finally:
        release(held, lock)
    there = {name for name in contents(clip.parent) if "partial" in name}
    assert there == {"clip.vidsal.partial.html", held.name}


def test_a_record_that_cannot_be_written_leaves_a_set_that_the_next_run_makes_again(
    clip: Path, model: SaliencyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = run_module.write_record

    def failing(path: Path, record: Any, **more: Any) -> None:
        if record.status == "done":
            raise EncodeError("no more room")
        write(path, record, **more)

    monkeypatch.setattr(run_module, "write_record", failing)
    with pytest.raises(EncodeError, match="no more room"):
        go(clip, model, "refuse")
    monkeypatch.undo()
    assert go(clip, model, "refuse").status == "done"


# Several at once, and the command.


def test_outcomes_of_many_say_which_were_skipped_refused_or_failed(tmp_path: Path, model: SaliencyModel) -> None:
    clips = [make_video(tmp_path / f"{name}.mp4", frames=3) for name in "abc"]
    go(clips[0], model)
    (tmp_path / "b.vidsal.csv").write_text("mine")
    options = RunOptions(output=OutputOptions(video=False, existing="skip"))
    outcomes = run_many([*clips, tmp_path / "nowhere.mp4"], options=options, model=model, streams=2)
    assert {Path(str(one.source)).stem: one.status for one in outcomes} == {
        "a": "skipped",
        "b": "refused",
        "c": "done",
        "nowhere": "failed",
    }


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.mark.parametrize("streams", ["1", "2"])
def test_a_batch_is_gone_on_with_by_the_same_command(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], streams: str
) -> None:
    clips = [make_video(tmp_path / f"{name}.mp4", frames=3) for name in "ab"]
    command = ["run", *clips, "-m", checkpoint, "--no-video", "--streams", streams]
    assert status_of("run", clips[0], "-m", checkpoint, "--no-video") == 0
    capsys.readouterr()
    assert status_of(*command) == 3
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "b.vidsal.csv")]
    assert f"1 of 2 inputs have results already: {clips[0]}" in err and "inputs failed" not in err
    assert "vidsal: 2 inputs: 1 done, 1 refused (results are there), 0 failed\n" in err
    assert status_of(*command, "--existing", "skip") == 0
    out, err = capsys.readouterr()
    assert out == "" and "vidsal: 2 inputs: 0 done, 2 skipped (done already), 0 failed\n" in err
    assert f"a.mp4: skipped, done already: {tmp_path / 'a.vidsal.csv'}\n" in err
    assert status_of(*command, tmp_path / "nowhere.mp4", "--json") == 1, "a failure counts more than a refusal"
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(one["outcome"] for one in reports) == ["failed", "refused", "refused"]
    assert status_of(*command, "--existing", "overwrite", "--json") == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["status"] for one in reports] == ["done", "done"]
    assert all(Path(one["record_file"]).is_file() for one in reports)


def test_inputs_of_one_name_and_inputs_given_twice_do_not_end_the_run(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mon", "tue"):
        (tmp_path / name).mkdir()
    inputs = [make_video(tmp_path / name, frames=2) for name in ("mon/a.mp4", "mon/a.mkv", "tue/a.mp4")]
    again = f"{tmp_path}/mon/../mon/a.mp4"
    out = tmp_path / "out"
    assert status_of("run", *inputs, again, "-m", checkpoint, "--no-video", "-o", out) == 0
    captured = capsys.readouterr()
    assert f"given more than once, run once: {inputs[0]}" in captured.err
    tables = [out / name for name in ("mon/a.mp4.vidsal.csv", "mon/a.mkv.vidsal.csv", "tue/a.vidsal.csv")]
    assert captured.out.splitlines() == [str(table) for table in tables]
    assert all(len(rows_of(table)) == 2 for table in tables)


def test_a_video_is_named_as_other_tools_name_it_and_is_known_for_a_result(
    checkpoint: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status_of("run", "clip.mp4", "-m", checkpoint, "-o", "out.mp4") == 0
    assert capsys.readouterr().out.splitlines() == ["out.mp4", "out.vidsal.csv"]
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "out.mp4", "out.vidsal.csv", "out.vidsal.json"}
    assert (tmp_path / "out.mp4").is_file()
    assert status_of("run", "clip.mp4", "-m", checkpoint, "-o", "out.mp4", "--existing", "skip") == 0
    capsys.readouterr()
    assert status_of("run", "clip.mp4", "out.mp4", "-m", checkpoint, "--no-video") == 0
    assert "left out, results of an earlier run: out.mp4" in capsys.readouterr().err
    assert status_of("run", "clip.mp4", "-m", checkpoint, "-o", "clip.mp4", "--overwrite") == 1
    assert "is the source itself" in capsys.readouterr().err


def test_the_exit_statuses_stand_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("run", "--help") == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {status:<5}" in shown for status in (0, 1, 2, 3, 130))


def test_the_default_options_name_a_model_whose_sha256_is_that_of_its_file(clip: Path) -> None:
    report = run(clip, options=RunOptions(model=ModelOptions(device="cpu"), output=OutputOptions(video=False)))
    assert report.status == "done"
    embedded = Path(vidsal.__file__).parent / "model" / "weights" / "sam-lite.safetensors"
    assert record_of(clip)["model"] == {
        "name": "sam-lite",
        "sha256": sha256_of(embedded),
        "precision": "fp32",
        "device": "cpu",
        "task": "free-viewing",
        "ensemble": None,
    }


def test_the_weights_have_a_sha256_before_they_are_rewritten_for_prediction() -> None:
    assert make_model().sha256 == weights_sha256(make_network())


@needs_posix
@pytest.mark.parametrize("streams", ["1", "2"])
def test_an_input_with_an_odd_name_fails_alone(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], streams: str
) -> None:
    (tmp_path / "empty" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "empty" / "below")
    (tmp_path / "loop").symlink_to("loop")
    good = make_video(tmp_path / "good.mp4", frames=2)
    deep = tmp_path / "deep.mp4"
    deep.write_bytes(b"no video")
    (tmp_path / "deep.vidsal.json").write_text("[" * 100_000)
    odd = [
        "",
        ".",
        "..",
        "/",
        "a\0.mp4",
        "a\0/..",
        "n" * 300,
        f"{'n' * 300}/a.mp4",
        f"{'n' * 300}.vidsal.mp4",
        "\ud800.mp4",
    ]
    odd += [
        str(tmp_path / "loop"),
        f"{tmp_path}/loop/..",
        str(deep),
        "nowhere.vidsal.mp4",
        "x" * 5000,
        "ftp://a/b",
        "camera:",
    ]
    command = ["run", *odd, good, "-m", checkpoint, "--no-video", "--json", "--existing", "skip", "--streams", streams]
    assert status_of(*command) == 1
    out, err = capsys.readouterr()
    reports = {line["source"]: line for line in map(json.loads, out.splitlines())}
    assert {source: line["outcome"] for source, line in reports.items()} == dict.fromkeys(odd, "failed") | {
        str(good): "done",
        # Nobody knows what that record is.
        str(deep): "refused",
    }
    assert all(line["status"] == line["outcome"] for line in reports.values())
    assert "unexpected" not in err


def test_pictures_of_the_folder_that_one_is_in_are_run(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", np.zeros((48, 64, 3), np.uint8))
    for name in (".", "./"):
        assert status_of("run", name, "-m", checkpoint, "-o", tmp_path / "out", "--no-video", "--overwrite") == 0
        assert capsys.readouterr().out == f"{tmp_path / 'out' / tmp_path.name}.vidsal.csv\n"


def test_only_what_is_known_for_a_result_is_left_out_and_that_is_told(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, plain = tmp_path / "made", tmp_path / "plain"
    made.mkdir()
    plain.mkdir()
    clip = make_video(made / "a.mp4", frames=2)
    cv2.imwrite(str(made / "p.png"), np.zeros((48, 64, 3), np.uint8))
    command = ["run", "-m", checkpoint, "-q", "--json"]
    assert status_of(*command, clip, made / "p.png", "--maps", "mkv") == 0
    assert status_of(*command, clip, "--container", "mkv", "--no-record", "-o", tmp_path / "unrecorded") == 0
    # Without their records.
    moved = [shutil.copy(made / name, plain) for name in ("a.vidsal.mp4", "a.vidsal.maps.mkv", "p.vidsal.png")]
    moved.append(tmp_path / "unrecorded" / "a.vidsal.mkv")
    partial = shutil.copy(clip, plain / "c.vidsal.partial.mp4")
    reported = [made / name for name in ("a.vidsal.mp4", "a.vidsal.csv", "a.vidsal.json")]
    own = [Path(shutil.copy(clip, plain / name)) for name in ("b.vidsal.mp4", "d.partial.mp4")]
    frames = plain / "e.vidsal.frames"
    frames.mkdir()
    shutil.copy(made / "p.png", frames)
    capsys.readouterr()
    results = [*moved, partial, *reported]
    assert status_of("run", "-m", checkpoint, "--json", "--no-video", *results, *own, frames) == 0
    out, err = capsys.readouterr()
    outcomes = {Path(line["source"]): line["outcome"] for line in map(json.loads, out.splitlines())}
    assert outcomes == dict.fromkeys(map(Path, results), "left out") | dict.fromkeys([*own, frames], "done")
    assert "vidsal: 11 inputs: 3 done, 0 failed, 8 left out (results of an earlier run)\n" in err


@pytest.mark.parametrize("streams", ["1", "2"])
def test_what_is_done_under_the_name_of_a_smaller_batch_is_not_made_again(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], streams: str
) -> None:
    for name in ("mon", "tue"):
        (tmp_path / name).mkdir()
    a, b, c, d = (
        make_video(tmp_path / name, frames=2) for name in ("mon/a.mp4", "tue/a.mp4", "tue/b.mp4", "tue/b.mkv")
    )
    b.write_bytes(a.read_bytes())
    os.utime(b, (1, 1))
    out = tmp_path / "out"

    def outcomes(*inputs: Path, folder: Path | None = out) -> list[tuple[str, list[str]]]:
        more = ["-m", checkpoint, "--no-video", "--json", "--existing", "skip", "--streams", streams]
        assert status_of("run", *inputs, *more, *([] if folder is None else ["-o", folder])) == 0
        lines = {line["source"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
        below = folder or tmp_path
        return [
            (
                lines[str(one)]["outcome"],
                [Path(file).relative_to(below).as_posix() for file in lines[str(one)]["files"]],
            )
            for one in inputs
        ]

    # Folders: more of them, fewer of them.
    assert outcomes(a) == [("done", ["a.vidsal.csv"])]
    assert outcomes(a, c) == [("skipped", ["a.vidsal.csv"]), ("done", ["tue/b.vidsal.csv"])]
    assert outcomes(c) == [("skipped", ["tue/b.vidsal.csv"])]
    # Endings.
    assert outcomes(c, folder=None) == [("done", ["tue/b.vidsal.csv"])]
    assert outcomes(c, d, folder=None) == [("skipped", ["tue/b.vidsal.csv"]), ("done", ["tue/b.mkv.vidsal.csv"])]
    assert outcomes(d, folder=None) == [("skipped", ["tue/b.mkv.vidsal.csv"])]
    # What has the name but is of another input, or was made otherwise, is no reason to skip, nor to refuse.
    other = make_video(tmp_path / "tue/a.mkv", frames=3)
    (tmp_path / "tue/a.mp4").unlink()
    assert outcomes(other, a)[0] == ("done", ["tue/a.vidsal.csv"])
    assert (
        status_of("run", a, c, "-m", checkpoint, "--no-video", "--existing", "skip", "-o", out, "--smoothing=none") == 3
    )
    assert (out / "mon/a.vidsal.csv").exists(), "a new set under the new name"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["-o", "x.mkv", "--maps", "x.mkv"], ["--output x.mkv", "--maps x.mkv"]),
        (["--container", "mkv", "--maps", "clip.vidsal.mkv"], ["--maps clip.vidsal.mkv", "file of the video"]),
    ],
)
def test_two_results_of_one_input_with_one_name_are_wrong_usage(
    checkpoint: str,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    named: list[str],
) -> None:
    monkeypatch.chdir(clip.parent)
    before = contents(clip.parent)
    assert status_of("run", "clip.mp4", "-m", checkpoint, *options) == 2
    err = capsys.readouterr().err
    assert all(part in err for part in named) and contents(clip.parent) == before


def test_inputs_whose_files_are_called_alike_are_told_apart_in_messages(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mon", "tue"):
        (tmp_path / name).mkdir()
    inputs = [make_video(tmp_path / name, frames=2) for name in ("mon/s.mp4", "tue/s.mp4", "tue/t.mp4")]
    assert status_of("run", *inputs, "-m", checkpoint, "--no-video") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if " 2 frames in " in line]
    assert [line.split(": 2 frames")[0] for line in lines] == [str(inputs[0]), str(inputs[1]), "t.mp4"]


def test_a_folder_of_videos_says_how_to_run_them(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_video(tmp_path / "a.mp4", frames=2)
    assert status_of("run", tmp_path, "-m", checkpoint) == 1
    assert f"for its videos, name them, such as {tmp_path / '*.mp4'}" in capsys.readouterr().err


def test_the_help_says_how_times_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("run", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in ("--start", "--end"):
        assert "(90, 1:30 or 00:01:30.5)" in text.split(f" {option} X")[1].split(" --")[1]
