"""A data export of Tobii Pro Lab or Tobii Studio in, a `Recording` out.

Columns as in Tobii's manuals ("Data export" of Pro Lab, "Data export" of Studio): a row a sample, named with or without
their units, such as `Recording timestamp [ms]`, `Gaze point X [DACS px]` or `GazePointX (MCSpx)`. DACS and ADCS are
pixels of the screen, MCS pixels of what is shown, both from the upper left corner; MCS norm are shares of it. Glasses
have pixels of the scene camera as MCS.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidsal.errors import DatasetError, Setting
from vidsal.gaze.makers.contract import Box, Recording, Sheet, mean_of_eyes, open_sheet, seconds_of_unit
from vidsal.gaze.makers.shown import find_viewings, steps_in_seconds
from vidsal.gaze.options import GazeOptions

__all__ = ["SIGNS", "read"]

SIGNS = (r"recording ?timestamp.*", r"gaze ?point ?x.*|fixation ?point ?x.*")
"""Columns that only such a file has."""

_Space = Literal["video", "screen"]
_UNIT = r"\s*[\[(]\s*([^\])]*?)\s*[\])]"


def read(path: Path, options: GazeOptions, video: str) -> Recording:
    """Reads one file, see `vidsal.gaze.makers.contract.Reader`."""
    sheet = open_sheet(path)
    notes: list[str] = []
    if (sensor := sheet.find("sensor")) is not None:
        # Glasses have rows of their gyroscope and accelerometer among those of the eyes.
        sheet = sheet.only(np.array([value.lower() in ("", "eye tracker") for value in sheet.text(sensor)], bool))
    timed = sheet.need("the time", rf"recording ?timestamp(?:{_UNIT})?")
    shown = sheet.find(r"presented ?(stimulus|media) ?name", r"media ?name")
    sheet = sheet.only(~_only_events(sheet, shown))
    clock = sheet.numbers(timed)
    scale = _scale(sheet, timed, clock, notes)
    fixations = options.take == "fixations"
    what = "fixation" if fixations else "gaze"
    x_name, y_name, unit, space = _position(sheet, what)
    if space == "screen" and options.screen is None and sheet.find(r"recording ?resolution.*", r".*DACS ?px.*") is None:
        space = "video"
        notes.append("the file speaks of no screen: positions are taken for pixels of the scene camera's picture")
    who, which = sheet.find(r"participant ?name"), sheet.find(r"recording ?name")
    none = np.full(len(sheet.rows), "", object)
    within = [none if name is None else sheet.text(name) for name in (who, which)]
    viewings = find_viewings(sheet, clock * scale, shown=shown, within=within, wanted=options.stimulus, video=video)
    notes.append(viewings.note)
    rows = viewings.row
    x, y = (sheet.numbers(name)[rows] for name in (x_name, y_name))
    seconds = clock[rows] * scale - viewings.since
    pupil = _pupil(sheet)[rows]
    valid = np.isfinite(x) & np.isfinite(y) & _valid(sheet)[rows]
    duration = np.full(len(rows), np.nan)
    columns = {"time": timed, "x": x_name, "y": y_name}
    participant = None if who is None else within[0][rows]
    trial = viewings.trial
    if fixations:
        kept, duration, columns["duration"] = _fixations(sheet, rows, clock * scale, within)
        x, y, seconds, pupil = (each[kept] for each in (x, y, seconds, pupil))
        valid, trial = valid[kept], trial[kept]
        participant = None if participant is None else participant[kept]
        rows = rows[kept]
    size, box = _screen(sheet, rows) if space == "screen" else (None, None)
    return Recording(
        path=path,
        maker="tobii",
        kind="fixations" if fixations else "samples",
        line=sheet.line[rows],
        columns=columns,
        seconds=seconds,
        duration=duration,
        x=x,
        y=y,
        valid=valid,
        pupil=pupil,
        participant=participant,
        trial=trial,
        unit=unit,
        space=space,
        size=_media(sheet, rows) if space == "video" else size,
        box=box,
        zero="video",
        notes=notes,
    )


def _scale(sheet: Sheet, name: str, clock: npt.NDArray[np.float64], notes: list[str]) -> float:
    named = re.search(_UNIT, name)
    scale = None if named is None else seconds_of_unit(named[1])
    if scale is None:
        scale = steps_in_seconds(clock)
        if scale is None:
            raise DatasetError(
                f"{sheet.path}: the unit of {name!r} is not named, and its steps fit no eye tracker in s, ms, us or "
                "ns; export it with units"
            )
        unit = {1.0: "seconds", 1e-3: "milliseconds", 1e-6: "microseconds", 1e-9: "nanoseconds"}[scale]
        notes.append(f"{name!r} names no unit; by its steps it counts {unit}")
    return scale


def _position(sheet: Sheet, what: str) -> tuple[str, str, Literal["pixel", "share"], _Space]:
    """The columns of positions, their unit and what they refer to; those on the media come first."""
    forms: tuple[tuple[str, Literal["pixel", "share"], _Space], ...] = (
        (r"\s*[\[(]\s*MCS ?px\s*[\])]", "pixel", "video"),
        (r"\s*[\[(]\s*MCS ?norm\s*[\])]", "share", "video"),
        (r"(\s*[\[(]\s*A?DACS ?px\s*[\])]|\s*[\[(]\s*ADCS ?px\s*[\])])", "pixel", "screen"),
        (r"", "pixel", "screen"),
    )
    for form, unit, space in forms:
        x, y = (sheet.find(rf"{what} ?point ?{axis}{form}") for axis in "XY")
        if x is not None and y is not None and any(np.isfinite(sheet.numbers(x))):
            return x, y, unit, space
    x, y = (sheet.need(f"the {what} point", rf"{what} ?point ?{axis}.*") for axis in "XY")
    return x, y, "pixel", "screen"


def _pupil(sheet: Sheet) -> npt.NDArray[np.float64]:
    eyes = [sheet.find(rf"pupil (diameter )?{eye}.*", rf"pupil{eye}.*") for eye in ("left", "right")]
    found = [sheet.numbers(name) for name in eyes if name is not None]
    return mean_of_eyes(*(np.where(each > 0, each, np.nan) for each in found)) if found else _unknown(sheet)


def _valid(sheet: Sheet) -> npt.NDArray[np.bool_]:
    """Valid by either eye: the word Valid, or a code of 0 (certain) or 1 (probably this eye)."""
    eyes = [sheet.find(rf"validity ?{eye}.*") for eye in ("left", "right")]
    good = [
        np.array([value.lower() == "valid" or value in ("0", "1") for value in sheet.text(name)], bool)
        for name in eyes
        if name is not None and any(sheet.text(name))
    ]
    made: npt.NDArray[np.bool_] = np.logical_or.reduce(good) if good else np.ones(len(sheet.rows), bool)
    return made


def _only_events(sheet: Sheet, shown: str | None) -> npt.NDArray[np.bool_]:
    """Rows of a key, a mouse and the like among those of the eyes; one that begins to show something stays."""
    of_events = re.compile(r"(studio|key ?press|mouse)? ?event", re.IGNORECASE)
    of_eyes = re.compile(r"(gaze|fixation) ?point|(eye ?movement|gaze ?event) ?type", re.IGNORECASE)
    made = np.zeros(len(sheet.rows), bool)
    for name in filter(of_events.fullmatch, sheet.names):
        made |= sheet.text(name) != ""
    # There are few: only they are looked at for eyes.
    at = np.flatnonzero(made)
    alone = sheet.only(made)
    for name in filter(of_eyes.match, sheet.names):
        made[at] &= alone.text(name) == ""
    if shown is not None:
        names = sheet.text(shown)
        made &= (names == "") | np.append(False, names[1:] == names[:-1])
    return made


def _fixations(
    sheet: Sheet, rows: npt.NDArray[np.int64], seconds: npt.NDArray[np.float64], within: list[npt.NDArray[np.object_]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], str]:
    """Which of the rows begin a fixation, and how long each goes on from there in seconds.

    One that was under way before its first row among these, when something else was shown, lasts as long as is left.
    """
    kind = sheet.need("the kind of event", r"eye ?movement ?type", r"gaze ?event ?type")
    number = sheet.need("the number of the event", r"eye ?movement ?type ?index", r"fixation ?index")
    lasting = sheet.need("the duration of the event", rf"gaze ?event ?duration(?:{_UNIT})?")
    named = re.search(_UNIT, lasting)
    scale = (None if named is None else seconds_of_unit(named[1])) or 1e-3
    durations = sheet.numbers(lasting) * scale
    is_fixation = np.array([value.lower() == "fixation" for value in sheet.text(kind)], bool)
    goes_on = np.zeros(len(is_fixation), bool)
    goes_on[1:] = is_fixation[1:] & is_fixation[:-1]
    for names in (sheet.text(number), *within):
        goes_on[1:] &= names[1:] == names[:-1]
    begin = np.maximum.accumulate(np.where(goes_on, 0, np.arange(len(is_fixation))))
    same = np.append(False, begin[rows[1:]] == begin[rows[:-1]]) if len(rows) else np.zeros(0, bool)
    kept = np.flatnonzero(is_fixation[rows] & ~same)
    if not len(kept):
        raise DatasetError(f"{sheet.path}: no fixation is in it; take ", Setting("take", "samples"))
    left = durations[rows[kept]] - (seconds[rows[kept]] - seconds[begin[rows[kept]]])
    return kept, np.maximum(left, 0.0), lasting


def _screen(sheet: Sheet, rows: npt.NDArray[np.int64]) -> tuple[tuple[int, int] | None, Box | None]:
    size = None
    if (whole := sheet.find(r"recording ?resolution")) is not None:
        found = [re.fullmatch(r"(\d+)\s*x\s*(\d+)", value) for value in dict.fromkeys(sheet.text(whole)[rows]) if value]
        size = (int(found[0][1]), int(found[0][2])) if found and found[0] else None
    sides = [sheet.find(rf"recording ?resolution ?{side}.*") for side in ("width", "height")]
    if sides[0] is not None and sides[1] is not None:
        values = [_one(sheet, name, rows) for name in sides if name is not None]
        size = None if None in values else (round(values[0] or 0), round(values[1] or 0))
    names = [sheet.find(rf"(presented ?)?media ?(pos|position) ?{axis}.*") for axis in "XY"] + [
        sheet.find(rf"(presented ?)?media ?{side}.*") for side in ("width", "height")
    ]
    values = [None if name is None else _one(sheet, name, rows) for name in names]
    if any(value is None for value in values):
        return size, None
    x, y, width, height = (float(value or 0) for value in values)
    return size, (x, y, width, height) if width > 0 and height > 0 else None


def _media(sheet: Sheet, rows: npt.NDArray[np.int64]) -> tuple[int, int] | None:
    """Size of what is shown, as it was shown."""
    names = [sheet.find(rf"(presented ?)?media ?{side}.*") for side in ("width", "height")]
    values = [None if name is None else _one(sheet, name, rows) for name in names]
    return None if None in values else (round(values[0] or 0), round(values[1] or 0))


def _one(sheet: Sheet, name: str, rows: npt.NDArray[np.int64]) -> float | None:
    """The value that a column has in all rows.

    Raises:
        DatasetError: it has several.
    """
    values = sheet.numbers(name)[rows]
    known = np.unique(values[np.isfinite(values)])
    if len(known) > 1:
        raise DatasetError(f"{sheet.path}: {name!r} changes within the recording: {known[0]:g}, {known[1]:g}, ...")
    return float(known[0]) if len(known) else None


def _unknown(sheet: Sheet) -> npt.NDArray[np.float64]:
    return np.full(len(sheet.rows), np.nan)
