"""Any other table in, a `Recording` out: columns for x, y and a time, whose names may say their units.

Understood are, among others, `pts_seconds`, `start_seconds`, `time_ms`, `timestamp [us]`; `x`, `x_px`, `x_norm`;
`duration_ms` or `end_ms`, which make a row a fixation; `participant`, `subject`, `viewer`; `trial`; `valid`; `pupil`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np

from vidsal.errors import ConfigError, DatasetError, Setting
from vidsal.gaze.makers.contract import Recording, Sheet, mean_of_eyes, open_sheet, seconds_of_unit
from vidsal.gaze.options import GazeOptions

__all__ = ["read"]

_TIMES = r"(?:pts|start|onset|time|timestamp|t|start_time|starttime|gaze_time|video_time)"
_ENDS = r"(?:end|offset|stop|end_time|endtime)"
_UNIT = r"(?:[ _]?[\[(]?(s|sec|seconds|ms|us|µs|μs|ns)[\])]?)"
_PIXEL, _SHARE = r"[ _]?[\[(]?(?:px|pixels?)[\])]?", r"[ _]?[\[(]?(?:norm|normalised|normalized|share|rel)[\])]?"
_NAME = r"(?:[ _-]?(?:id|name|nr|no|num|number|code|key|label|index|idx))?"
"""What may follow on participant or trial; other words say something about them, such as an age or a condition."""
_PUPIL = r"(?:[ _]?(?:size|diameter|area|width))?(?:[ _]?[\[(]?(?:mm|px|pixels?|au|a\.u\.)[\])]?)?"
_WORDS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}


def read(path: Path, options: GazeOptions, video: str) -> Recording:
    """Reads one file, see `vidsal.gaze.makers.contract.Reader`."""
    sheet = open_sheet(path)
    timed = sheet.need("the time", rf"{_TIMES}{_UNIT}?", rf"{_TIMES}[ _]?({'|'.join(_WORDS)})")
    seconds = sheet.numbers(timed) * _scale(sheet, timed, options.time_unit)
    unit, x_name, y_name = _position(sheet, options.units)
    x, y = sheet.numbers(x_name), sheet.numbers(y_name)
    words = "|".join(_WORDS)
    lasting = sheet.find(rf"duration{_UNIT}?", rf"duration[ _]?({words})")
    ends = None if lasting is not None else sheet.find(rf"{_ENDS}{_UNIT}?", rf"{_ENDS}[ _]?({words})")
    duration = np.full(len(seconds), np.nan)
    if lasting is not None:
        duration = sheet.numbers(lasting) * _scale(sheet, lasting, options.time_unit)
    elif ends is not None:
        lasting, duration = ends, sheet.numbers(ends) * _scale(sheet, ends, options.time_unit) - seconds
    valid = np.isfinite(x) & np.isfinite(y)
    if options.zero_is_lost:
        valid &= (x != 0) | (y != 0)
    if (good := sheet.find("valid", "validity")) is not None:
        said = np.array([_says_yes(value.lower()) for value in sheet.text(good)], bool)
        if len(said) and not said.any():
            raise DatasetError(f"{path}: {good!r} calls no row valid: true, yes, valid or 1 does")
        valid &= said
    who = sheet.find(*(f"{word}{_NAME}" for word in ("participant", "subject", "viewer", "observer")))
    which = sheet.find(f"trial{_NAME}")
    pupils = [sheet.find(rf"pupil{_PUPIL}")]
    if pupils == [None]:
        pupils = [sheet.find(rf"pupil[ _]?{eye}{_PUPIL}", rf"{eye}[ _]?pupil{_PUPIL}") for eye in ("left", "right")]
    sizes = [sheet.numbers(name) for name in pupils if name is not None]
    notes = [f"{name!r} names the {what}" for what, name in (("participants", who), ("trials", which)) if name]
    if options.world_timestamps is None:
        notes.insert(0, f"{timed!r} is taken to count from the video's first frame")
    columns = {"time": timed, "x": x_name, "y": y_name} | ({} if lasting is None else {"duration": lasting})
    return Recording(
        path=path,
        maker="csv",
        kind="samples" if lasting is None else "fixations",
        line=sheet.line,
        columns=columns,
        seconds=seconds,
        duration=duration,
        x=x,
        y=y,
        valid=valid,
        pupil=mean_of_eyes(*sizes) if sizes else np.full(len(seconds), np.nan),
        participant=None if who is None else sheet.text(who),
        trial=None if which is None else sheet.text(which),
        unit=unit,
        origin="bottom" if options.origin == "bottom" else "top",
        space="screen" if options.space == "screen" else "video",
        zero="world" if options.world_timestamps is not None else "video",
        notes=notes,
    )


def _says_yes(value: str) -> bool:
    """A word for it, or 1, which columns of numbers write as 1.0."""
    try:
        return float(value) == 1
    except ValueError:
        return value in ("true", "yes", "valid")


def _scale(sheet: Sheet, name: str, asked: str) -> float:
    """Seconds of the unit in which a column counts."""
    match = re.fullmatch(rf".*?{_UNIT}", name.strip(), re.IGNORECASE)
    word = next((short for long, short in _WORDS.items() if name.lower().endswith(long)), None)
    named = word or (match[1].lower() if match and name.lower() not in ("t", "ts") else None)
    if named is not None and re.fullmatch(rf"{_TIMES}|{_ENDS}|duration", name.strip(), re.IGNORECASE):
        named = None  # the end of a word such as "timestamps"
    scale = None if named is None else seconds_of_unit(named)
    chosen = None if asked == "auto" else seconds_of_unit(asked)
    if scale is None and chosen is None:
        raise ConfigError(
            f"{sheet.path}: the column {name!r} does not say its unit; give it with ", Setting("time_unit")
        )
    return (chosen if scale is None else scale) or 1.0


def _position(sheet: Sheet, asked: str) -> tuple[Literal["pixel", "share"], str, str]:
    kinds: tuple[tuple[Literal["pixel", "share"], str], ...] = (("pixel", _PIXEL), ("share", _SHARE))
    words = ("", r"(?:gaze|fixation|pos|norm_pos)[ _]?")
    for unit, form in kinds:
        for word in words:
            x, y = (sheet.find(f"{word}{axis}{form}") for axis in "xy")
            if x is not None and y is not None:
                return unit, x, y
    x, y = (sheet.need(f"the gaze's {axis}", axis, f"(?:gaze|fixation|pos)[ _]?{axis}") for axis in "xy")
    if asked == "auto":
        text = f"{sheet.path}: {x!r} and {y!r} do not say whether they are pixels or shares from 0 to 1; give "
        raise ConfigError(text, Setting("units", "pixel"), " or ", Setting("units", "share"))
    return ("share" if asked == "share" else "pixel"), x, y
