"""Known gaze in, the files that eye trackers' programs export of it out, written from the makers' documentation."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SIZE = 160, 90
"""(width, height) of the video."""
SCREEN = 320, 200
"""(width, height) of the screen; the video stands on it at 0,10, twice as large."""
BOX = 0.0, 10.0, 320.0, 180.0


@dataclass(frozen=True)
class Truth:
    """What somebody looked at, in pixels of the video from its upper left corner."""

    seconds: npt.NDArray[np.float64]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]

    @classmethod
    def make(cls, count: int = 60, *, rate: float = 60.0, seed: int = 0) -> Truth:
        rng = np.random.default_rng(seed)
        return cls(np.arange(count) / rate, rng.uniform(20, 140, count), rng.uniform(10, 80, count))

    @property
    def on_screen(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Pixels of the screen."""
        return BOX[0] + self.x * BOX[2] / SIZE[0], BOX[1] + self.y * BOX[3] / SIZE[1]


def write_table(path: Path, names: list[str], rows: list[list[Any]], *, delimiter: str = ",", **how: Any) -> Path:
    """One table of text."""
    with path.open("w", newline="", encoding=how.pop("encoding", "utf-8")) as file:
        csv.writer(file, delimiter=delimiter, **how).writerows([names, *rows])
    return path


def tobii(path: Path, truth: Truth, *, names: dict[str, str] | None = None, people: tuple[str, ...] = ("P01",)) -> Path:
    """Pro Lab: a .tsv with a lead of another stimulus, the screen's pixels, and lost rows left empty."""
    names = {"time": "Recording timestamp [μs]", "x": "Gaze point X [DACS px]", "y": "Gaze point Y [DACS px]"} | (
        names or {}
    )
    head = [
        *("Project name", "Participant name", "Recording name", names["time"], names["x"], names["y"]),
        *("Pupil diameter left [mm]", "Pupil diameter right [mm]", "Validity left", "Validity right"),
        *("Presented Stimulus name", "Recording resolution height [px]", "Recording resolution width [px]"),
        *("Presented Media position X [DACS px]", "Presented Media position Y [DACS px]"),
        *("Presented Media width [px]", "Presented Media height [px]"),
    ]
    across, down = truth.on_screen
    where = [SCREEN[1], SCREEN[0], BOX[0], BOX[1], BOX[2], BOX[3]]
    rows: list[list[Any]] = []
    for person in people:
        start = ["study", person, f"{person} one"]
        for number in range(10):
            rows.append(
                [*start, number * 16667, 1, 1, 3.0, 3.2, "Valid", "Valid", "Instruction", *where[:2], "", "", "", ""]
            )
        begin = 10 * 16667
        for t, x, y in zip(truth.seconds, across, down, strict=True):
            rows.append(
                [*start, begin + round(t * 1e6), f"{x:.3f}", f"{y:.3f}", 3.0, 3.2, "Valid", "Valid", "clip.mp4", *where]
            )
        rows[-1][4:10] = ["", "", "", "", "Invalid", "Invalid"]
    return write_table(path, head, rows, delimiter="\t", encoding="utf-16")


def tobii_studio(path: Path, truth: Truth) -> Path:
    """Studio: milliseconds, pixels of the media, decimal commas."""
    head = [
        "ParticipantName",
        "RecordingName",
        "MediaName",
        "RecordingTimestamp",
        "GazePointX (MCSpx)",
        "GazePointY (MCSpx)",
    ]
    rows = [
        [
            "Ann",
            "Rec 01",
            "clip.mp4",
            str(500 + round(t * 1000)),
            f"{x:.2f}".replace(".", ","),
            f"{y:.2f}".replace(".", ","),
        ]
        for t, x, y in zip(truth.seconds, truth.x, truth.y, strict=True)
    ]
    return write_table(path, head, rows, delimiter="\t", encoding="utf-8-sig")


WORLD = 1_234.5
"""Pupil's clock at the first frame of the scene camera."""


def pupil(folder: Path, truth: Truth) -> Path:
    """Pupil Player: shares from the lower left corner, seconds of Pupil's clock; low confidence at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    head = ["gaze_timestamp", "world_index", "confidence", "norm_pos_x", "norm_pos_y", "base_data"]
    rows = [
        [WORLD + t, 0, 0.98, x / SIZE[0], 1 - y / SIZE[1], "1-0"]
        for t, x, y in zip(truth.seconds, truth.x, truth.y, strict=True)
    ]
    rows[-1][2] = 0.1
    world = [[WORLD + number / 30, number] for number in range(30)]
    write_table(folder / "world_timestamps.csv", ["# timestamps [seconds]", "pts"], world)
    return write_table(folder / "gaze_positions.csv", head, rows)


def pupil_fixations(folder: Path, truth: Truth) -> Path:
    head = [
        "id",
        "start_timestamp",
        "duration",
        "start_frame_index",
        "end_frame_index",
        "norm_pos_x",
        "norm_pos_y",
        "confidence",
    ]
    rows = [
        [number, WORLD + t * 20, 250.0, 0, 0, x / SIZE[0], 1 - y / SIZE[1], 0.9]
        for number, (t, x, y) in enumerate(zip(truth.seconds, truth.x, truth.y, strict=True))
    ]
    pupil(folder, truth)
    return write_table(folder / "fixations.csv", head, rows)


def neon(folder: Path, truth: Truth) -> Path:
    """Pupil Cloud: nanoseconds, pixels of the scene camera."""
    folder.mkdir(parents=True, exist_ok=True)
    begin = 1_700_000_000_123_456_789
    head = [
        "section id",
        "recording id",
        "timestamp [ns]",
        "gaze x [px]",
        "gaze y [px]",
        "worn",
        "fixation id",
        "blink id",
    ]
    rows = [
        ["s", "r-1", begin + round(t * 1e9), f"{x:.3f}", f"{y:.3f}", 1, "", ""]
        for t, x, y in zip(truth.seconds, truth.x, truth.y, strict=True)
    ]
    rows[-1][5] = 0
    world = [["s", "r-1", begin + round(number / 30 * 1e9)] for number in range(30)]
    write_table(folder / "world_timestamps.csv", ["section id", "recording id", "timestamp [ns]"], world)
    return write_table(folder / "gaze.csv", head, rows)


def gazepoint(path: Path, truth: Truth) -> Path:
    """Gazepoint Analysis, all gaze: shares of the screen, seconds."""
    head = [
        "MEDIA_ID",
        "MEDIA_NAME",
        "CNT",
        "TIME(2026/01/02 10:00:00.000)",
        "TIMETICK(f=10000000)",
        "FPOGX",
        "FPOGY",
        "FPOGS",
    ]
    head += ["FPOGD", "FPOGID", "FPOGV", "BPOGX", "BPOGY", "BPOGV", "LPMM", "RPMM"]
    across, down = truth.on_screen
    rows: list[list[Any]] = [[0, "text.png", 0, "0.5", 1, 0.5, 0.5, 0, 0, 0, 1, 0.5, 0.5, 1, 3, 3]]
    for number, (t, x, y) in enumerate(zip(truth.seconds, across, down, strict=True)):
        share = [f"{x / SCREEN[0]:.5f}", f"{y / SCREEN[1]:.5f}"]
        held, since = divmod(number, 10)
        begin = 2 + truth.seconds[held * 10]
        fixed = [f"{begin:.4f}", f"{2 + t - begin:.4f}", held + 1, 1]
        rows.append([1, "clip", number, f"{2 + t:.5f}", 1, *share, *fixed, *share, 1, 3.0, 4.0])
        assert since < 10
    rows[-1][13] = 0
    return write_table(path, head, rows)


def eyelink(path: Path, truth: Truth, *, trials: int = 1) -> Path:
    """edf2asc: one eye, 1000 Hz clock, a blink at the end."""
    across, down = truth.on_screen
    lines = [
        "** CONVERTED FROM a.edf using edfapi 4.2.1",
        "** DATE: Wed Mar  8 09:25:20 2023",
        "** VERSION: EYELINK II 1",
        "** SOURCE: EYELINK CL",
        "**",
        "",
        f"MSG\t1000 DISPLAY_COORDS 0 0 {SCREEN[0] - 1} {SCREEN[1] - 1}",
    ]
    at = 2000
    for trial in range(trials):
        lines += [f"MSG\t{at} TRIALID film{trial + 1}", f"START\t{at + 1}\tLEFT\tSAMPLES\tEVENTS"]
        lines += [
            "PRESCALER\t1",
            "SAMPLES\tGAZE\tLEFT\tRATE\t1000.00\tTRACKING\tCR\tFILTER\t2",
            f"{at + 5}\t  1.0\t  1.0\t  700.0\t...",
        ]
        start = at + 10
        lines.append(f"MSG\t{start} SYNCTIME")
        for t, x, y in zip(truth.seconds, across, down, strict=True):
            lines.append(f"{start + round(t * 1000)}\t  {x:.2f}\t  {y:.2f}\t  784.0\t...")
        last = start + round(truth.seconds[-1] * 1000)
        lines += [f"{last + 1}\t   .\t   .\t    0.0\t...", f"END\t{last + 2}\tSAMPLES\tEVENTS\tRES\t  38.54\t  31.12"]
        at = last + 100
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def plain(path: Path, truth: Truth, *, names: list[str] | None = None, **columns: Any) -> Path:
    """A table of one's own."""
    head = names or ["participant", "time_ms", "x_px", "y_px"]
    made = {"who": ["ann"] * len(truth.x), "t": truth.seconds * 1000, "x": truth.x, "y": truth.y} | columns
    rows = [list(row) for row in zip(*made.values(), strict=True)]
    return write_table(path, head, rows)
