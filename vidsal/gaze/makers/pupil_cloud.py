"""Gaze or fixations of Pupil Invisible and Neon in, as Pupil Cloud and Neon Player export them, a `Recording` out.

Columns as in Pupil Labs' documentation: gaze.csv (`timestamp [ns]`, `gaze x [px]`, `gaze y [px]`, `worn`, `blink id`)
and fixations.csv (`start timestamp [ns]`, `duration [ms]`, `fixation x [px]`, `fixation y [px]`). Times are nanoseconds
in UTC, which the frames of the scene camera have too (world_timestamps.csv). Positions are pixels of the scene camera's
picture from its upper left corner.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidsal.gaze.makers.contract import Recording, open_sheet
from vidsal.gaze.options import GazeOptions

__all__ = ["SIGNS", "read"]

SIGNS = (r"(start )?timestamp \[ns\]", r"(gaze|fixation) x \[px\]")
"""Columns that only such a file has."""


def read(path: Path, options: GazeOptions, video: str) -> Recording:
    """Reads one file, see `vidsal.gaze.makers.contract.Reader`."""
    sheet = open_sheet(path)
    x_name = sheet.need("the gaze", r"gaze x \[px\]", r"fixation x \[px\]")
    y_name = sheet.need("the gaze", r"gaze y \[px\]", r"fixation y \[px\]")
    fixations = x_name.lower().startswith("fixation")
    timed = sheet.need("the time", r"start timestamp \[ns\]" if fixations else r"timestamp \[ns\]")
    seconds, x, y = sheet.numbers(timed) * 1e-9, sheet.numbers(x_name), sheet.numbers(y_name)
    valid = np.isfinite(x) & np.isfinite(y)
    if (worn := sheet.find("worn")) is not None:
        # 0 is not worn; newer files leave it empty where nobody looked.
        valid &= ~(sheet.numbers(worn) <= 0)
    if not fixations and (blink := sheet.find("blink id")) is not None:
        # Behind closed lids there is no gaze, though the file has positions.
        valid &= np.array([value == "" for value in sheet.text(blink)], bool)
    unknown = np.full(len(seconds), np.nan)
    columns = {"time": timed, "x": x_name, "y": y_name}
    duration = unknown
    if fixations:
        columns["duration"] = sheet.need("the duration", r"duration \[ms\]")
        duration = sheet.numbers(columns["duration"]) * 1e-3
    recording = sheet.find("recording id")
    return Recording(
        path=path,
        maker="pupil-cloud",
        kind="fixations" if fixations else "samples",
        line=sheet.line,
        columns=columns,
        seconds=seconds,
        duration=duration,
        x=x,
        y=y,
        valid=valid,
        pupil=unknown,
        trial=None if recording is None else sheet.text(recording),
        unit="pixel",
        space="video",
        zero="world",
    )
