"""What every export promises: the facts of the footage and rows of the table in, the bytes of a file out.

An export is made from rows of the table alone, so that it can be made while frames flow and from a finished table by
the same code, and comes out the same, byte for byte. A .csv keeps nine digits of a number. So whoever feeds an export
(`columns_of`, `vidsal.exports.tables.read_columns`) gives it nine, wherever the rows come from.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from vidsal.decode.contract import VideoInfo
from vidsal.shots import last_frame_lasts
from vidsal.tracks import FrameNumbers, column_types

__all__ = ["Columns", "Export", "Fact", "Footage", "columns_of", "nine_digits", "whole_path"]

Columns = Mapping[str, npt.NDArray[Any]]
"""Rows of the table as columns by name, (N,) each: float64 for numbers that may be missing (NaN) or have a fraction,
int64, bool, and object for text (None where there is none)."""

Fact = Literal["size", "time"]
"""What an export may need to know of the footage: height and width; or rate, time code and pixel shape, of which each
may be known not to be there."""


@dataclass(frozen=True, kw_only=True)
class Footage:
    """What is known of the source that a table is about."""

    name: str
    """Name of its file or folder; else what it is called."""
    path: Path | None = None
    """Where it lies; None where that is not known, or it is no file."""
    kind: str = "video"
    """As `VideoInfo.kind` has it."""
    height: int | None = None
    """Rows of the upright picture as it is stored, in pixels; None where not known."""
    width: int | None = None
    """Columns of it."""
    sample_aspect_ratio: Fraction = Fraction(1)
    """Width of a pixel of the upright picture over its height."""
    rate: Fraction | None = None
    """Frames a second that the source is said to have, see `VideoInfo.nominal_rate`; None where nothing is said."""
    timecode: str | None = None
    """Time code of the source's first frame, see `VideoInfo.timecode`; None without one."""
    duration_seconds: float | None = None
    """How long the source says it is; None where it does not say."""
    end_seconds: float | None = None
    """Where the part of it ends that is read; None: at its own end."""
    audio_channels: int | None = None
    """Channels of its first sound track; 0 without sound, None where not known."""
    audio_rate: int | None = None
    """Samples a second of that track."""
    modified: datetime | None = None
    """When its file was last changed, in UTC; None for several pictures, for what is no file, and where not known."""
    known: frozenset[Fact] = frozenset({"size", "time"})
    """Which facts are known; of others, the fields above say nothing."""

    @classmethod
    def of(cls, info: VideoInfo, *, end_seconds: float | None = None) -> Footage:
        """That of an open source, of which the part is read that ends there; None: all of it."""
        name = info.source if info.path is None else whole_path(info.path).name
        modified = None
        with contextlib.suppress(OSError):
            if info.path is not None and info.kind != "images":
                modified = datetime.fromtimestamp(info.path.stat().st_mtime, UTC)
        return cls(
            name=name,
            path=None if info.path is None else whole_path(info.path),
            kind=info.kind,
            height=info.height,
            width=info.width,
            sample_aspect_ratio=info.sample_aspect_ratio,
            rate=info.nominal_rate,
            timecode=info.timecode,
            duration_seconds=info.duration_seconds,
            end_seconds=end_seconds,
            audio_channels=info.audio_channels,
            audio_rate=info.audio_rate,
            modified=modified,
        )

    @property
    def shown_rate(self) -> Fraction | None:
        """Frames a second by which a single frame is shown; None where nothing is said, and of a picture."""
        return None if self.kind == "image" else self.rate

    def last_frame_lasts(self, first_seconds: float, last_seconds: float, *, steps: int) -> float:
        """Seconds that its last frame is shown, see `vidsal.shots.last_frame_lasts`."""
        return last_frame_lasts(
            first_seconds,
            last_seconds,
            steps=steps,
            duration_seconds=self.duration_seconds,
            rate=self.shown_rate,
            end_seconds=self.end_seconds,
        )

    @property
    def stem(self) -> str:
        """Its name without the ending.

        Example:
            >>> Footage(name="A001_C002.mov").stem
            'A001_C002'
        """
        return Path(self.name).stem or self.name

    @property
    def is_address(self) -> bool:
        """Whether its name is an address, not that of a file."""
        return self.path is None and "://" in self.name

    @property
    def url(self) -> str:
        """Where it lies, as a file URL or its address; the name alone, a relative URL, where that is not known.

        Example:
            >>> Footage(name="a b.mov", path=Path("/in/a b.mov")).url, Footage(name="a b.mov").url
            ('file:///in/a%20b.mov', 'a%20b.mov')
            >>> Footage(name="rtsp://host/door", kind="stream").url
            'rtsp://host/door'
        """
        if self.is_address:
            return self.name
        return self.path.as_uri() if self.path is not None else quote(os.fsencode(self.name))


def whole_path(path: Path) -> Path:
    """A path from the root on, the same for all ways to write it; a link stays one."""
    whole = path.absolute()
    return whole.parent.resolve() / whole.name if whole.name not in ("", "..") else whole.resolve()


class Export(ABC):
    """Makes one file from the rows of a table; memory grows little a frame, if at all.

    Another export sets `sources` and gives what `update` and `flush` say. It is one row of
    `vidsal.exports.options.EXPORTS`; the rest (the option, the name, `vidsal convert`) follows from there. What comes
    out never depends on how the rows are grouped.

    Args:
        footage: the source that the table is about.

    Raises:
        EncodeError: a library that it needs is not installed.
    """

    sources: ClassVar[tuple[str, ...]]
    """The columns of `vidsal.tracks.FrameNumbers` that are read."""
    needs: ClassVar[frozenset[Fact]] = frozenset()
    """What must be known of the footage."""
    messages: list[str]
    """Sentences for a person about what was changed, rounded, assumed or left out; complete after `flush`."""
    target: Path | None = None
    """Where its file will lie, for what names files beside it; set before the first row. None: not known."""

    def __init__(self, footage: Footage) -> None:
        self.footage = footage
        self.messages = []

    @abstractmethod
    def update(self, columns: Columns) -> bytes:
        """Takes the next rows.

        Args:
            columns: at least `sources` of them, in order; (N,) each.

        Returns:
            What can be written of the file already; may be empty.

        Raises:
            ValueError: a number is not finite, or a row comes out of order.
        """

    @abstractmethod
    def flush(self) -> bytes:
        """Ends the file: returns what is left of it. Called once, after the last row."""

    def pieces(self) -> Iterator[bytes]:
        """What `flush` returns, in pieces, so that a long rest need not be held as a whole. Called instead of it."""
        yield self.flush()


def columns_of(rows: Sequence[Any], names: Sequence[str], row: type[Any] = FrameNumbers) -> dict[str, npt.NDArray[Any]]:
    """Rows as the columns that an export takes.

    Args:
        rows: instances of `row`, in order.
        names: fields of it.
        row: a dataclass, as `vidsal.tracks.FrameNumbers`.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Row:
        ...     index: int
        ...     x: float | None
        >>> columns_of([Row(0, 1 / 3), Row(1, None)], ["index", "x"], Row)
        {'index': array([0, 1]), 'x': array([0.33333333,        nan])}
    """
    types = _types_of(row)  # type: ignore[arg-type]  # every class has a hash
    return {name: _as_column([getattr(each, name) for each in rows], *types[name]) for name in names}


def _as_column(values: Sequence[Any], kind: type, optional: bool) -> npt.NDArray[Any]:
    if kind is str:
        return np.array(values, object)
    if kind is float or (optional and kind is int):
        return nine_digits([math.nan if value is None else value for value in values])
    return np.array(values, np.int64 if kind is int else np.bool_)


def nine_digits(values: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Numbers with the nine digits that a .csv keeps of them.

    Example:
        >>> nine_digits([1001 / 30000 * 3000]).item()
        100.1
    """
    given = np.asarray(values, np.float64)
    if len(given) < 32:
        return _as_formatted(given)
    with np.errstate(all="ignore"):
        shift = 8 - np.floor(np.log10(np.abs(given)))
        power = 10.0 ** np.clip(np.nan_to_num(shift), 0, 22)  # exact
        scaled = given * power
        whole = np.rint(scaled)
        made: npt.NDArray[np.float64] = whole / power
        is_sure = (shift >= 0) & (shift <= 22) & (np.abs(whole) >= 1e8) & (np.abs(whole) < 1e9)
        # Where the product may have been rounded over the half.
        is_sure &= np.abs(np.abs(scaled - whole) - 0.5) > 1e-6
    made[~is_sure] = _as_formatted(given[~is_sure])
    return made


def _as_formatted(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.array([float(format(value, ".9g")) for value in values.tolist()], np.float64)


@functools.cache
def _types_of(row: type[Any]) -> dict[str, tuple[type, bool]]:
    hints = typing.get_type_hints(row)
    return {name: (kind, NoneType in typing.get_args(hints[name])) for name, kind in column_types(row).items()}
