"""An .asc of edf2asc in, read by pymovements, a `Recording` out.

Times are milliseconds of the tracker's clock. A message marks the first frame of the video; each such message begins a
trial, which TRIALID names. Positions are pixels of the screen (DISPLAY_COORDS) from its upper left corner.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.errors import DatasetError, EncodeError, Setting
from vidsal.gaze.makers.contract import Recording
from vidsal.gaze.options import GazeOptions

__all__ = ["read"]

_STARTS = (r"SYNCTIME\b", r"DISPLAY[ _]?ON\b", r"!V VFRAME 1\b")
"""Messages that mark the first frame; SR Research's examples and programs write them."""


def read(path: Path, options: GazeOptions, video: str) -> Recording:
    """Reads one file, see `vidsal.gaze.makers.contract.Reader`."""
    gaze = _parsed(path)
    samples, found = gaze.samples, gaze.messages
    stamps = samples["time"].to_numpy().astype(np.float64)
    if not len(stamps):
        raise DatasetError(f"{path}: no sample is in it")
    pixel = np.array([[np.nan if one is None else one for one in each] for each in samples["pixel"].to_list()], float)
    eyes = np.isfinite(pixel).reshape(len(pixel), -1, 2).all(axis=2)
    x, y = (_mean(pixel[:, axis::2], eyes) for axis in (0, 1))
    texts = [] if found is None else found["content"].to_list()
    times = np.array([] if found is None else found["time"].to_list(), np.float64)
    starts, note = _starts(texts, times, stamps, options, path)
    trial_of = np.searchsorted(starts, stamps, side="right") - 1
    names = _names(texts, times, starts)
    kept = np.flatnonzero(trial_of >= 0)
    notes = [note]
    if options.take == "fixations":
        kept, stamps, duration, x, y, trial_of, eye = _fixations(gaze, stamps, x, y, starts)
        pupil, line = np.full(len(stamps), np.nan), _event_lines(path, stamps, eye)
        whose = f" of the {eye} eye, at the mean of the samples of both" if eye else ", at the mean of their samples"
        notes.append(f"fixations are those of the tracker (EFIX){whose}")
    else:
        lines = _sample_lines(path)
        line = lines if len(lines) == len(stamps) else np.zeros(len(stamps), np.int64)
        pupil, duration = _pupil(samples), np.full(len(stamps), np.nan)
    return Recording(
        path=path,
        maker="eyelink",
        kind="fixations" if options.take == "fixations" else "samples",
        line=line[kept],
        columns={"time": "time", "x": "x", "y": "y"},
        seconds=(stamps - starts[trial_of])[kept] * 1e-3,
        duration=duration[kept],
        x=x[kept],
        y=y[kept],
        valid=(np.isfinite(x) & np.isfinite(y))[kept],
        pupil=pupil[kept],
        trial=None if names is None else np.array([names[number] for number in trial_of[kept]], object),
        unit="pixel",
        space="screen",
        size=_size(texts),
        zero="video",
        notes=notes,
    )


def _parsed(path: Path) -> Any:
    try:
        import pymovements
    except ImportError as error:
        raise EncodeError("reading an .asc needs pymovements: pip install 'vidsal[gaze]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pymovements.gaze.from_asc(path, events=True, messages=True, encoding="utf-8")
    except UnicodeDecodeError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pymovements.gaze.from_asc(path, events=True, messages=True, encoding="cp1252")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a library makes of a file that is none
        raise DatasetError(f"{path} is no .asc of edf2asc: {' '.join(str(error).split())}") from error


def _mean(values: npt.NDArray[np.float64], there: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    count = there.sum(axis=1)
    total = np.where(there, values, 0.0).sum(axis=1)
    made: npt.NDArray[np.float64] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return made


def _pupil(samples: Any) -> npt.NDArray[np.float64]:
    names = [name for name in samples.columns if name.startswith("pupil")]
    # Of both eyes, a column holds a pair in each row.
    columns = [np.array(samples[name].to_list(), np.float64).reshape(len(samples), -1) for name in names]
    values = np.concatenate(columns, axis=1) if columns else np.full((len(samples), 1), np.nan)
    return _mean(values, np.isfinite(values) & (values > 0))


def _starts(
    texts: list[str], times: npt.NDArray[np.float64], stamps: npt.NDArray[np.float64], options: GazeOptions, path: Path
) -> tuple[npt.NDArray[np.float64], str]:
    """(trials,) the tracker's times of first frames, and what marks them."""
    wanted = (re.escape(options.start_message),) if options.start_message is not None else _STARTS
    for pattern in wanted:
        found = [at for at, text in enumerate(texts) if re.search(pattern, text)]
        if found:
            # What comes before a number in a message is an offset in milliseconds: "-12 SYNCTIME".
            shift = [float(match[1]) if (match := re.match(r"(-?\d+) ", texts[at])) else 0.0 for at in found]
            word = texts[found[0]].strip()
            return np.sort(times[found] - shift), f"the message {word!r} is taken as the video's first frame"
    if options.start_message is not None:
        shown = ", ".join(repr(text.strip()) for text in texts[:20])
        raise DatasetError(f"{path}: no message has {options.start_message!r}; it has {shown}")
    first = np.array([stamps[0]])
    return first, "no message marks the video's first frame: the first sample is taken for it"


def _names(texts: list[str], times: npt.NDArray[np.float64], starts: npt.NDArray[np.float64]) -> list[str] | None:
    """The names of the trials: what the last TRIALID before the start says; None without any."""
    ids = [
        (time, text.split("TRIALID", 1)[1].strip())
        for time, text in zip(times, texts, strict=True)
        if "TRIALID" in text
    ]
    if not ids:
        return None if len(starts) == 1 else [f"trial {number + 1}" for number in range(len(starts))]
    names = []
    for number, start in enumerate(starts):
        before = [name for time, name in ids if time <= start and name]
        names.append(before[-1] if before else f"trial {number + 1}")
    return [
        name if names.count(name) == 1 else f"{name} #{names[:at].count(name) + 1}" for at, name in enumerate(names)
    ]


def _size(texts: list[str]) -> tuple[int, int] | None:
    for text in texts:
        match = re.search(r"(?:DISPLAY|GAZE)_COORDS\s+([\d.-]+)[\s,]+([\d.-]+)[\s,]+([\d.-]+)[\s,]+([\d.-]+)", text)
        if match:
            left, top, right, bottom = (float(part) for part in match.groups())
            return round(right - left) + 1, round(bottom - top) + 1
    return None


def _sample_lines(path: Path) -> npt.NDArray[np.int64]:
    with path.open("rb") as file:
        return np.array([number for number, line in enumerate(file, 1) if line[:1].isdigit()], np.int64)


def _fixations(
    gaze: Any,
    stamps: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    starts: npt.NDArray[np.float64],
) -> tuple[Any, ...]:
    """Places, times, durations, positions and trials of the tracker's fixations, and whose they are of two eyes."""
    table = gaze.events.frame if hasattr(gaze.events, "frame") else gaze.events
    rows = [row for row in table.to_dicts() if row["name"].startswith("fixation") and row["onset"] >= starts[0]]
    if not rows:
        raise DatasetError("no fixation (EFIX) is in the file; take ", Setting("take", "samples"))
    # Both eyes fixate the same, begun and ended some samples apart: the fixations of one are taken.
    eyes = [str(row.get("eye") or "") for row in rows]
    eye = max(("right", "left"), key=eyes.count) if {"right", "left"} <= set(eyes) else ""
    rows = [row for row, whose in zip(rows, eyes, strict=True) if eye in ("", whose)]
    onset = np.array([row["onset"] for row in rows], np.float64)
    offset = np.array([row["offset"] for row in rows], np.float64)
    order = np.argsort(onset, kind="stable")
    onset, offset = onset[order], offset[order]
    step = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 1.0
    places = [(stamps >= begin) & (stamps <= end) & np.isfinite(x) for begin, end in zip(onset, offset, strict=True)]
    across, down = (
        np.array([values[there].mean() if there.any() else np.nan for there in places], np.float64) for values in (x, y)
    )
    trial = np.searchsorted(starts, onset, side="right") - 1
    return np.arange(len(onset)), onset, (offset - onset + step) * 1e-3, across, down, trial, eye


def _event_lines(path: Path, onset: npt.NDArray[np.float64], eye: str) -> npt.NDArray[np.int64]:
    """(fixations,) the lines of the file in which they end; 0 where that is not found."""
    found: dict[float, int] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            match = re.match(rb"EFIX\s+([LR])\s+(\d+(?:\.\d+)?)", line)
            if match and eye[:1].upper() in ("", match[1].decode()):
                found[float(match[2])] = number
    return np.array([found.get(one, 0) for one in onset.tolist()], np.int64)
