"""The scripts in examples/ run as their first lines say, and do what they say."""

from __future__ import annotations

import runpy
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import make_checkpoint
from media import make_video
from test_batch_dataset import make_results
from test_exports_shots import frame

from vidsal import load_model, open_video, predict
from vidsal.batch.dataset import write_dataset

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


def run_example(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_every_example_is_short_and_tested_here() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [script.name for script in scripts] == [
        "own_sink.py",
        "query_dataset.py",
        "score_a_picture.py",
        "stream_a_file.py",
    ]
    assert all(len(script.read_text().splitlines()) <= 40 for script in scripts)


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda script: script.stem)
def test_an_example_without_its_arguments_tells_its_usage(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as caught:
        run_example(script.name, monkeypatch)
    # The line of its docstring that says how it is run.
    assert caught.value.code == f"usage: {script.read_text().splitlines()[2]}"


def test_streaming_prints_a_line_a_frame_with_its_time_and_a_point_in_the_picture(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=20, width=96, height=64)
    run_example("stream_a_file.py", monkeypatch, video, checkpoint)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [float(row[0]) for row in rows] == pytest.approx(np.arange(20) / 25, abs=1e-3)
    assert all(-0.5 <= float(row[5]) <= 95.5 and -0.5 <= float(row[7]) <= 63.5 for row in rows)


def test_an_own_sink_gets_every_frame_of_the_run(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=11)
    run_example("own_sink.py", monkeypatch, video, tmp_path, checkpoint)
    assert capsys.readouterr().out.startswith("11 frames, 0 cuts")
    with np.load(tmp_path / "shots.npz") as shots:
        assert list(shots) == ["shot0"]
        # A mean of densities is one.
        assert shots["shot0"].sum() == pytest.approx(1.0, abs=1e-4)
        model = load_model(checkpoint)
        with open_video(video, size=model.preprocessor.frame_size) as reader:
            maps = np.concatenate([batch.density.numpy() for batch in predict(reader, model)])
        np.testing.assert_allclose(shots["shot0"], maps.mean(axis=0), atol=1e-6)
    assert len((tmp_path / "clip.vidsal.csv").read_text().splitlines()) == 12


def test_the_query_finds_the_narrow_shots_of_the_last_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    rows = {"today": (0.03, 1.5), "wide": (0.05, 3.0), "old": (0.01, 2.0), "undated": (0.02, 2.0), "best": (0.04, 2.5)}
    inputs = []
    for name, (coverage, bits) in rows.items():
        modified = None if name == "undated" else (now - timedelta(days=30 if name == "old" else 1)).isoformat()
        frames = [
            frame(n, n / 25, coverage=coverage, entropy_bits=3 - bits, entropy_share=1 - bits / 3) for n in (0, 1)
        ]
        inputs.append(make_results(tmp_path, name, frames, modified=modified))
    write_dataset(tmp_path / "dataset", inputs)
    run_example("query_dataset.py", monkeypatch, tmp_path / "dataset")
    assert capsys.readouterr().out.splitlines() == [
        "/films/best.mp4  0.00-0.08 s  key 0.04 s  coverage 0.040  strength 2.50 bit",
        "/films/today.mp4  0.00-0.08 s  key 0.04 s  coverage 0.030  strength 1.50 bit",
        "2 shots",
    ]
    # The folder of the batch does as well.
    run_example("query_dataset.py", monkeypatch, tmp_path, 60)
    assert "/films/old.mp4" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="holds no data set of a batch: name the folder dataset"):
        run_example("query_dataset.py", monkeypatch, tmp_path / "nowhere")


def test_scoring_prefers_fixations_where_the_model_expects_them(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(3)
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), random.integers(0, 255, (48, 64, 3), np.uint8))
    with open_video(picture) as reader:
        (batch,) = predict(reader, checkpoint)
    scores = {}
    for name, cell in {"hot": batch.density[0].argmax(), "cold": batch.density[0].argmin()}.items():
        row, column = divmod(int(cell), batch.density.shape[2])
        x, y = (column + 0.5) * 64 / batch.density.shape[2] - 0.5, (row + 0.5) * 48 / batch.density.shape[1] - 0.5
        (tmp_path / "fixations.csv").write_text(f"x,y\n{x:.1f},{y:.1f}\n")
        run_example("score_a_picture.py", monkeypatch, picture, tmp_path / "fixations.csv", checkpoint)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 5 and all("centre prior" in line for line in lines)
        scores[name] = {line.split()[0]: float(line.split()[1]) for line in lines}
    assert scores["hot"]["nss"] > 1 > 0 > scores["cold"]["nss"]
