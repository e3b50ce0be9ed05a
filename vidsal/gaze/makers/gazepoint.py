"""An export of Gazepoint Analysis in, a `Recording` out.

Columns as in Gazepoint's manual and its Open Gaze API: MEDIA_ID, MEDIA_NAME, TIME in seconds; FPOGX, FPOGY shares of
the screen from its upper left corner; FPOGS and FPOGD start and length of the fixation in seconds, FPOGID its number,
FPOGV 1 where it is valid; BPOGX, BPOGY, BPOGV the best point of gaze; LPMM, RPMM the pupils' diameters in
millimetres.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidsal.errors import DatasetError, Setting
from vidsal.gaze.makers.contract import Recording, mean_of_eyes, open_sheet
from vidsal.gaze.makers.shown import find_viewings
from vidsal.gaze.options import GazeOptions

__all__ = ["SIGNS", "read"]

SIGNS = ("fpogx", r"time(\(.*\)|tick.*)?|time.*")
"""Columns that only such a file has."""


def read(path: Path, options: GazeOptions, video: str) -> Recording:
    """Reads one file, see `vidsal.gaze.makers.contract.Reader`."""
    sheet = open_sheet(path)
    timed = sheet.need("the time", r"time(\(.*\))?")
    clock = sheet.numbers(timed)
    shown = sheet.find("media_name", "media_id")
    participant = sheet.find("user", "user_name", "participant")
    who = np.full(len(sheet.rows), "", object) if participant is None else sheet.text(participant)
    viewings = find_viewings(sheet, clock, shown=shown, within=[who], wanted=options.stimulus, video=video)
    rows = viewings.row
    fixations = options.take == "fixations"
    best = not fixations and sheet.find("bpogx") is not None
    letter = "B" if best else "F"
    x_name, y_name, good_name = (sheet.need("the gaze", f"{letter}POG{end}") for end in "XYV")
    x, y, good = (sheet.numbers(name)[rows] for name in (x_name, y_name, good_name))
    sizes = [sheet.find(name) for name in ("lpmm", "rpmm")]
    known = [sheet.numbers(name) for name in sizes if name is not None]
    pupil = (
        mean_of_eyes(*(np.where(each > 0, each, np.nan) for each in known)) if known else np.full(len(clock), np.nan)
    )
    seconds, duration = clock[rows] - viewings.since, np.full(len(rows), np.nan)
    columns = {"time": timed, "x": x_name, "y": y_name}
    kept = np.arange(len(rows))
    if fixations:
        begins, lasts, numbered = (sheet.need("the fixation", name) for name in ("FPOGS", "FPOGD", "FPOGID"))
        # A row says how long the fixation lasts so far: the last valid one of each tells the whole.
        keys = zip(who[rows], viewings.trial, sheet.text(numbered)[rows], strict=True)
        last = {key: at for at, (key, is_good) in enumerate(zip(keys, good, strict=True)) if is_good > 0}
        kept = np.array(sorted(last.values()), np.int64)
        if not len(kept):
            raise DatasetError(f"{path}: no valid fixation is in it; take ", Setting("take", "samples"))
        seconds = sheet.numbers(begins)[rows] - viewings.since
        duration = sheet.numbers(lasts)[rows]
        columns = {"time": begins, "x": x_name, "y": y_name, "duration": lasts}
    return Recording(
        path=path,
        maker="gazepoint",
        kind="fixations" if fixations else "samples",
        line=sheet.line[rows][kept],
        columns=columns,
        seconds=seconds[kept],
        duration=duration[kept],
        x=x[kept],
        y=y[kept],
        valid=((good > 0) & np.isfinite(x) & np.isfinite(y))[kept],
        pupil=pupil[rows][kept],
        participant=None if participant is None else who[rows][kept],
        trial=viewings.trial[kept],
        unit="share",
        space="screen",
        zero="video",
        notes=[viewings.note],
    )
