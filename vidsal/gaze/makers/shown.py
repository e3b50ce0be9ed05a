"""Rows of a file in which several things were shown: those of one of them, each viewing from its own start."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.errors import DatasetError, Setting
from vidsal.files import called_alike
from vidsal.gaze.makers.contract import Sheet

__all__ = ["Viewings", "find_viewings", "steps_in_seconds"]

_Names = npt.NDArray[np.object_]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Viewings:
    """The rows that count."""

    row: npt.NDArray[np.int64]
    """(N,) their places in the sheet, in order."""
    since: _Floats
    """(N,) what their viewing's first row has on the recording's clock."""
    trial: _Names
    """(N,) the viewing."""
    note: str
    """What was taken as the start."""


def find_viewings(
    sheet: Sheet, clock: _Floats, *, shown: str | None, within: list[_Names], wanted: str | None, video: str
) -> Viewings:
    """Finds the rows that were recorded while one stimulus was shown.

    Args:
        sheet: the file.
        clock: (rows,) times; where they are not finite, a row is left out.
        shown: the column that names what was shown; None where there is none.
        within: (rows,) names that tell recordings apart.
        wanted: the stimulus; None: the one that is called like the video.
        video: the video's name.

    Raises:
        DatasetError: the stimulus is not in the file, or none is asked for and none is called like the video.
    """
    timed = np.flatnonzero(np.isfinite(clock))
    names = None if shown is None else sheet.text(shown)
    there = [] if names is None else [name for name in dict.fromkeys(names[timed].tolist()) if name]
    if wanted is not None and wanted not in there:
        listed = ", ".join(map(repr, there[:10])) or "nothing that is shown"
        raise DatasetError(f"{sheet.path}: ", Setting("stimulus", wanted), f" is not in it; it has {listed}")
    if wanted is None and there:
        alike = [name for name in there if called_alike(name, video)]
        if not alike and len(there) == 1:
            raise DatasetError(
                f"{sheet.path}: what was shown is called {there[0]!r}, not {video}; if it is that video, give it with ",
                Setting("stimulus", repr(there[0])),
            )
        if not alike:
            more = ", ..." if len(there) > 10 else ""
            raise DatasetError(
                f"{sheet.path}: several stimuli were shown, none of them called {video}: "
                f"{', '.join(map(repr, there[:10]))}{more}; name one with ",
                Setting("stimulus"),
            )
        wanted = alike[0]
    keys = [tuple(each[row] for each in within) for row in timed]
    rows: list[npt.NDArray[Any]] = []
    trials: list[str] = []
    counts: dict[tuple[Any, ...], int] = {}
    shows = [True] * len(timed) if names is None or wanted is None else [names[row] == wanted for row in timed]
    for (key, is_shown), group in itertools.groupby(range(len(timed)), lambda at: (keys[at], shows[at])):
        if not is_shown:
            continue
        counts[key] = counts.get(key, 0) + 1
        base = str(key[-1]) if len(key) > 1 and key[-1] else wanted or PurePath(video).stem
        rows.append(timed[list(group)])
        trials.append(base if counts[key] == 1 else f"{base} #{counts[key]}")
    if not rows:
        raise DatasetError(f"{sheet.path}: no row has a time")
    since = np.concatenate([np.full(len(each), clock[each].min()) for each in rows])
    trial = np.concatenate([np.full(len(each), name, object) for each, name in zip(rows, trials, strict=True)])
    note = (
        "the first row of each recording is taken as the video's first frame, as the file does not say what was shown"
        if wanted is None
        else f"the first row in which {wanted!r} is shown is taken as the video's first frame"
    )
    return Viewings(np.concatenate(rows), since, trial, note)


def steps_in_seconds(clock: _Floats) -> float | None:
    """Seconds of the unit in which samples of an eye tracker (20 to 3000 a second) are counted, from their steps.

    Returns:
        1, 1e-3, 1e-6 or 1e-9; None where the steps fit none of them.

    Example:
        >>> steps_in_seconds(np.arange(100) * 16.7), steps_in_seconds(np.arange(100) * 4000.0)
        (0.001, 1e-06)
    """
    steps = np.diff(clock[np.isfinite(clock)])
    steps = steps[steps > 0]
    if not len(steps):
        return None
    step = float(np.median(steps))
    # A thousand apart, they overlap nowhere: 20 Hz is 50 ms, 3000 Hz a third of one.
    return next((unit for unit in (1.0, 1e-3, 1e-6, 1e-9) if 1 / 3000 <= step * unit <= 1 / 20), None)
