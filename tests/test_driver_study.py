"""The page on a driver study runs as it stands, on made drives."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any, Literal, get_args

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
    "Presented Stimulus name",
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


Recordings = Literal["each", "both", "all"]
"""A file and a recording for each drive and person; one of both drives for each person; one file of all persons."""

PEOPLE = ("P01", "P02", "P03", "P04")


def looks(rng: np.random.Generator, share: float) -> list[tuple[float, float, float]]:
    """(seconds, x, y) of two seconds; the share of the looks goes to the right."""
    rows = []
    for start in np.arange(0, 1.95, 0.15):
        x, y = rng.normal(BESIDE if rng.random() < share else AHEAD, 6)
        for time in np.arange(start, start + 0.14, 1 / 120):
            rows.append((time, *rng.normal((x, y), 0.5).round(2).tolist()))
    return rows


def make_exports(folder: Path, recordings: Recordings) -> None:
    """In the rain more of the looks go to the right; recordings have the names that Tobii Pro Lab gives."""
    rng = np.random.default_rng(0)
    seen = {(drive, who): looks(rng, share) for drive, share in (("drive1", 0.7), ("drive2", 0.1)) for who in PEOPLE}
    files: dict[str, list[list[Any]]] = {}
    for number, who in enumerate(PEOPLE):
        for place, drive in enumerate(("drive1", "drive2")):
            begin = 3.0 * place if recordings != "each" else 0.0
            recording = f"Rec{number + 1}" if recordings == "all" else "Rec1"
            rows = [[who, recording, round(1000 * (begin + t)), x, y, drive] for t, x, y in seen[drive, who]]
            for folder_of in (drive,) if recordings == "each" else ("drive1", "drive2"):
                files.setdefault(f"{folder_of}/{'all' if recordings == 'all' else who}.tsv", []).extend(rows)
    for name, rows in files.items():
        path = folder / "exports" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter="\t").writerows([HEAD, *rows])


def make_study(folder: Path, recordings: Recordings = "each") -> None:
    """Two drives, four viewers each."""
    for name in ("videos", "gaze"):
        (folder / name).mkdir(parents=True)
    size: dict[str, Any] = {"frames": 20, "width": 320, "height": 180, "rate": 10}
    for drive in ("drive1", "drive2"):
        make_video(folder / "videos" / f"{drive}.mp4", picture=road_picture(320, 180, vanishing=AHEAD), **size)
    make_exports(folder, recordings)
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


@pytest.mark.parametrize("recordings", get_args(Recordings))
def test_gaze_of_ordinary_exports_is_measured_drive_by_drive_and_pooled(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("pyarrow", "pymovements", "shapely"):
        pytest.importorskip(package, reason=f"the study needs {package}")
    monkeypatch.chdir(tmp_path)
    make_study(Path("study"), recordings)
    imports = [words_of(step)[1:] for _, step in steps() if step.startswith("vidsal gaze import")]
    right = {"format": "vidsal-aois-1", "aois": [{"name": "right", "box": [210, 0, 110, 180]}]}
    Path("right.json").write_text(json.dumps(right))
    for words, drive in zip(imports, ("drive1", "drive2"), strict=True):
        assert main(words) == 0, capsys.readouterr().err
        call = ["aoi", "measure", f"study/gaze/{drive}.parquet", "--aois", "right.json"]
        call += ["--video", f"study/videos/{drive}.mp4", "--trials", "study/trials.csv", "--out", f"measured/{drive}"]
        assert main(call) == 0, capsys.readouterr().err
    pooled = ["aoi", "pool", "measured/drive1", "measured/drive2", "--trials", "study/trials.csv", "--out", "all"]
    assert main(pooled) == 0, capsys.readouterr().err
    with Path("all/groups.csv").open() as file:
        rows = {(row["by"], row["value"]): row for row in csv.DictReader(file)}
    assert float(rows["weather", "rain"]["dwell_share"]) > 0.5 and float(rows["weather", "sun"]["dwell_share"]) < 0.3
    assert rows["all", ""]["participants"] == "4" and rows["all", ""]["viewings"] == "8"


def test_trials_that_are_called_like_recordings_are_met_with_the_option_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("pyarrow", "shapely"):
        pytest.importorskip(package, reason=f"the study needs {package}")
    monkeypatch.chdir(tmp_path)
    make_study(Path("study"))
    for drive in ("drive1", "drive2"):
        video = f"study/videos/{drive}.mp4"
        assert main(["gaze", "import", f"study/exports/{drive}/P01.tsv", "--video", video, "--to", f"{drive}.csv"]) == 0
        call = ["aoi", "measure", f"{drive}.csv", "--aois", "study/camera.json", "--video", video]
        assert main([*call, "--trials", "study/trials.csv", "--out", drive]) == 1
        said = capsys.readouterr().err
        assert "no row for the trial 'Rec1'; it has 'drive1', 'drive2'" in said and "--trial NAME" in said
        assert main([*call, "--out", drive]) == 0
    assert main(["aoi", "pool", "drive1", "drive2", "--out", "all"]) == 1
    assert "--trial NAME" in capsys.readouterr().err
