"""The page on a driver study runs as it stands, on made drives."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import make_checkpoint
from media import make_video
from roads import road_picture

from vidsal import read_table
from vidsal.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "how-to" / "driver-study.md"
AHEAD = (150, 85)
BESIDE = (270, 100)
HEAD = [
    "Participant name",
    "Recording name",
    "Recording timestamp [ms]",
    "Gaze point X [MCS px]",
    "Gaze point Y [MCS px]",
]


def steps() -> list[tuple[str, str]]:
    """What the page has its reader do, in order: commands of vidsal, and snippets of Python."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"```python\n(.*?)```|^    (vidsal [^\n]*)$", text, re.DOTALL | re.MULTILINE)
    return [("python", snippet) if snippet else ("vidsal", command) for snippet, command in found]


def indented(after: str) -> str:
    """The block that follows some words of the page."""
    lines = PAGE.read_text(encoding="utf-8").split(after, 1)[1].split("\n\n", 2)[1].splitlines()
    return "\n".join(line.removeprefix("    ") for line in lines) + "\n"


def make_study(folder: Path) -> None:
    """Two drives, four viewers each: in the rain more of them look to the right."""
    rng = np.random.default_rng(0)
    for drive, share in (("drive1", 0.7), ("drive2", 0.1)):
        (folder / "exports" / drive).mkdir(parents=True)
        (folder / "videos").mkdir(exist_ok=True)
        (folder / "gaze").mkdir(exist_ok=True)
        size: dict[str, Any] = {"frames": 20, "width": 320, "height": 180, "rate": 10}
        make_video(folder / "videos" / f"{drive}.mp4", picture=road_picture(320, 180, vanishing=AHEAD), **size)
        for person in ("P01", "P02", "P03", "P04"):
            rows = []
            for start in np.arange(0, 1.95, 0.15):
                x, y = rng.normal(BESIDE if rng.random() < share else AHEAD, 6)
                for time in np.arange(start, start + 0.14, 1 / 120):
                    shaken = rng.normal((x, y), 0.5).round(2).tolist()
                    rows.append([person, drive, round(1000 * time), *shaken])
            with (folder / "exports" / drive / f"{person}.tsv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, delimiter="\t").writerows([HEAD, *rows])
    (folder / "trials.csv").write_text(indented("`trials.csv` has a row"))
    (folder / "camera.json").write_text(indented("`camera.json` is a"))


def words_of(command: str) -> list[str]:
    """As a shell hands them on."""
    words = shlex.split(command)
    return [word for text in words for word in (sorted(map(str, Path().glob(text))) if "*" in text else [text])]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_page_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("matplotlib", "pandas", "pyarrow", "pymovements", "shapely"):
        pytest.importorskip(package, reason=f"the study needs {package}")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    for folder in ("configs", "vidsal"):
        Path(folder).symlink_to(ROOT / folder)
    make_study(Path("study"))
    tiny = make_checkpoint(tmp_path / "tiny.safetensors")
    # The training of the page takes minutes: a tiny network, and few steps of it, take the same data.
    short = f"--start-from {tiny} --passes 1 --windows-per-sequence 1 --window-frames 2 --frames-per-step 2".split()
    short += ["--device", "cpu", "--precision", "fp32", "--validation-frames", "2"]
    done = []
    for kind, step in steps():
        if kind == "python":
            exec(compile(step, str(PAGE), "exec"), {"__name__": "snippet"})
            continue
        words = words_of(step)[1:]
        assert main([*words, *(short if words[0] == "train" else [])]) == 0, (step, capsys.readouterr().err)
        done.append(words[0])
    assert done == ["gaze", "gaze", "gaze", "run", "aoi", "aoi", "aoi", "eval", "figure", "figure", "train"]

    drawn = sorted(map(str, Path("figures").rglob("*.pdf")))
    assert len(drawn) > 1
    for name in ("dwell.pdf", "road-ahead.pdf", *drawn):
        assert Path(name).read_bytes().startswith(b"%PDF")
    assert Path("runs/own-drives/sam-lite-own-drives.safetensors").is_file()
    point = read_table("results/drive1.vidsal.driving-points.csv").iloc[0]
    assert (point["x"], point["y"]) == pytest.approx(AHEAD, abs=3.2)
    # What was put into the recordings comes out of them, by the weather.
    right = {}
    for drive, weather in (("drive1", "rain"), ("drive2", "sun")):
        visits = read_table(f"measured/{drive}/visits.csv").query("aoi == 'right'")
        assert visits["weather"].unique().tolist() == [weather] and len(visits) == 4
        right[weather] = visits["dwell_share"].mean()
    assert right["rain"] > 0.5 and right["sun"] < 0.3
    scenarios = read_table("scores/scenarios.csv")
    assert {"rain", "sun"} <= set(scenarios["value"])
