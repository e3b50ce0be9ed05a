"""What every maker's reader gives, and what they share: tables of text whose errors name line and column."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidsal.errors import DatasetError
from vidsal.gaze.options import GazeOptions
from vidsal.gaze.table import GazeKind

__all__ = ["Box", "Reader", "Recording", "Sheet", "Zero", "open_sheet", "seconds_of_unit"]

_Floats = npt.NDArray[np.float64]
_Names = npt.NDArray[np.object_]

Box = tuple[float, float, float, float]
"""(x, y, width, height) of the video on the screen, in its pixels."""

Zero = Literal["video", "world", "unknown"]
"""What a recording's times count from: the video's first frame; a clock that the scene camera's frames have times of;
or something that has to be told."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """The rows of one file in the maker's own units; N of them."""

    path: Path
    """The file."""
    maker: str
    """Whose format it is."""
    kind: GazeKind
    """What a row is."""
    line: npt.NDArray[np.int64]
    """(N,) lines of the file, from 1."""
    columns: dict[str, str]
    """What the file calls "time", "x", "y", "duration"."""
    seconds: _Floats
    """(N,) on the recording's clock; of fixations the start."""
    duration: _Floats
    """(N,) seconds; NaN for samples."""
    x: _Floats
    """(N,); NaN where lost."""
    y: _Floats
    """(N,); NaN where lost."""
    valid: npt.NDArray[np.bool_]
    """(N,)"""
    pupil: _Floats
    """(N,); NaN where not known."""
    participant: _Names | None = None
    """(N,) names; None where the file names none."""
    trial: _Names | None = None
    """(N,) names; None where the file names none."""
    unit: Literal["pixel", "share"]
    """Pixels, or shares from 0 to 1."""
    origin: Literal["top", "bottom"] = "top"
    """Where y is 0."""
    space: Literal["video", "screen"]
    """What positions refer to: the video's picture, or the screen it was shown on."""
    size: tuple[int, int] | None = None
    """(width, height) in pixels of what they refer to, where the file says it."""
    box: Box | None = None
    """Where the video stood on the screen, where the file says it."""
    zero: Zero
    """What times count from."""
    notes: list[str] = field(default_factory=list)
    """Sentences on what the file says and what was assumed."""


Reader = Callable[[Path, GazeOptions, str], Recording]
"""The reader of a maker: a file, the options and the video's name in."""

_LOST = {"", ".", "-", "na", "n/a", "nan", "none", "null"}


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table of text: names of columns, and for each row its line and values."""

    path: Path
    """The file."""
    names: list[str]
    """Of its columns."""
    rows: list[list[str]]
    """Their values, as many as there are names."""
    line: npt.NDArray[np.int64]
    """(rows,) the line that each begins on, from 1."""
    comma: bool
    """Whether decimals are written with a comma."""

    def find(self, *patterns: str) -> str | None:
        """The first column whose whole name one of some patterns matches, without regard to case."""
        for pattern in patterns:
            for name in self.names:
                if re.fullmatch(pattern, name.strip(), re.IGNORECASE):
                    return name
        return None

    def need(self, what: str, *patterns: str) -> str:
        """As `find`.

        Raises:
            DatasetError: there is none; the message lists the columns.
        """
        name = self.find(*patterns)
        if name is None:
            shown = ", ".join(self.names[:30]) + (", ..." if len(self.names) > 30 else "")
            raise DatasetError(f"{self.path}: no column for {what}; its columns are {shown}")
        return name

    def text(self, name: str) -> _Names:
        """(N,) the values of a column."""
        place = self.names.index(name)
        return np.array([row[place].strip() for row in self.rows] or [], object)

    def numbers(self, name: str) -> _Floats:
        """(N,) the values of a column; NaN where it is empty or says that nothing is known.

        Raises:
            DatasetError: a value is no number; the message names line and column.
        """
        found = self.text(name)
        if self.comma:
            found = np.array([value.replace(",", ".") for value in found], object)
        made = np.full(len(found), np.nan)
        for row, value in enumerate(found):
            try:
                made[row] = float(value)
            except ValueError:
                if value.lower() not in _LOST:
                    raise self.wrong(row, name, f"{value!r} is not a number") from None
        return made

    def wrong(self, row: int, name: str, why: str) -> DatasetError:
        """The error for a value."""
        return DatasetError(f"{self.path}, line {self.line[row]}, column {name!r}: {why}")

    def only(self, chosen: npt.NDArray[np.bool_]) -> Sheet:
        """Some of the rows."""
        kept = np.flatnonzero(chosen)
        return Sheet(self.path, self.names, [self.rows[row] for row in kept], self.line[kept], self.comma)


def open_sheet(path: Path, *, rows: int | None = None) -> Sheet:
    """Reads a table of text: tabs, semicolons or commas; UTF-8, UTF-16 or Windows' Western code.

    Args:
        path: the file.
        rows: no more than the first so many, to look at the names; then only the beginning of the file is read.

    Raises:
        DatasetError: it cannot be read, or is no table.
    """
    try:
        with path.open("rb") as file:
            content = file.read(-1 if rows is None else _BEGINNING)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    if rows is not None and len(content) == _BEGINNING:
        # Not in the middle of a line, nor of a character.
        content = content[: content.rfind(b"\n") + 1] or content
    text = _decoded(content)
    if "\0" in text[:4096]:
        raise DatasetError(f"{path} is no table of text; export it from the maker's program as .csv or .tsv")
    head = text.lstrip("\n\r").split("\n", 1)[0]
    if head.startswith("##"):
        raise DatasetError(
            f"{path} begins like a text of SMI's programs ({head[:40].strip()!r}), which is not read: save its samples "
            "or events as a table that begins with the names of its columns: participant, time_ms, x_px, y_px, ..."
        )
    delimiter = max("\t;,", key=head.count)
    if not head.count(delimiter):
        delimiter = ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    names: list[str] | None = None
    found: list[list[str]] = []
    lines: list[int] = []
    before = 0
    try:
        for row in reader:
            line, before = before + 1, reader.line_num
            if not row or not any(value.strip() for value in row):
                continue
            if names is None:
                names = [value.strip() for value in row]
                continue
            if len(row) < len(names):
                row = [*row, *[""] * (len(names) - len(row))]
            elif len(row) > len(names):
                if any(value.strip() for value in row[len(names) :]):
                    raise DatasetError(
                        f"{path}, line {line}: {len(row)} values, but the first line names {len(names)} columns"
                    )
                row = row[: len(names)]
            found.append(row)
            lines.append(line)
            if rows is not None and len(found) >= rows:
                break
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num}: {error}") from error
    if names is None:
        raise DatasetError(f"{path} is empty")
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        raise DatasetError(f"{path}: two columns are called {twice[0]!r}")
    comma = delimiter != "," and _COMMA.search(text) is not None
    return Sheet(path, names, found, np.array(lines, np.int64), comma)


_BEGINNING = 2**20
"""Bytes that surely hold the names of the columns and a row."""
_COMMA = re.compile(r"(?:^|[\t;\n\"]) *-?\d+,\d+ *(?:[\t;\r\n\"]|$)")
"""A value, one of those that tabs or semicolons part."""


def _decoded(content: bytes) -> str:
    for mark, coding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if content.startswith(mark):
            return content.decode(coding, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


_UNITS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}


def seconds_of_unit(unit: str) -> float | None:
    """Seconds of a unit of time by its name; None for another word.

    Example:
        >>> seconds_of_unit("ms"), seconds_of_unit("µs"), seconds_of_unit("px")
        (0.001, 1e-06, None)
    """
    return _UNITS.get(unit.strip().lower())


def mean_of_eyes(*eyes: _Floats) -> _Floats:
    """(N,) the mean of those that are there."""
    values = np.stack(eyes) if eyes else np.empty((0, 0))
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), math.nan)
