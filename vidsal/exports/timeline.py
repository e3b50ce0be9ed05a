"""Rows of the table in, its shots as whole frames of one rate out: for formats that count frames, not seconds.

A frame's number is its time times the rate, rounded; the source's first frame is 0. Where the frames lie on a grid,
as at every constant rate, that is exact, whatever a container has rounded times to. Whether they do is seen from their
times, not from what the file says.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vidsal.decode.images import PICTURE_SUFFIXES
from vidsal.exports.contract import Columns, Export, Fact, Footage
from vidsal.exports.shots import SHOT_SOURCES, ShotNumbers, shot_list
from vidsal.timecode import STANDARD_RATES, Timecodes, timecode_rate
from vidsal.words import in_utf8

__all__ = [
    "FrameGrid",
    "GridShot",
    "ShotsOf",
    "Timeline",
    "TimelineExport",
    "exact",
    "numbers_of",
    "readable",
    "shown_rate",
    "title_of",
]

_FALLBACK_RATE = Fraction(25)


@dataclass(frozen=True)
class GridShot:
    """A shot in whole frames, counted from the source's first."""

    shot: ShotNumbers
    """Its numbers."""
    first: int
    """Its first frame."""
    end: int
    """The frame after its last one: the first of the next shot."""
    key: int
    """Its key frame, first or later and before end."""


@dataclass(frozen=True)
class Timeline:
    """All shots of a source in whole frames."""

    shots: tuple[GridShot, ...]
    """In order, each at least a frame long; each begins where the one before ends."""
    rate: Fraction
    """Frames a second."""
    timecodes: Timecodes
    """The source's, or those that begin at 0 where it has none."""
    source_frames: int
    """How long the source is, in frames; at least until the last shot ends."""

    def seconds(self, frame: int) -> Fraction:
        """Time of a frame's time code after 00:00:00:00 on the source's clock: frames over the rate.

        Args:
            frame: counted from the source's first.
        """
        return (self.timecodes.first + frame) / self.rate


class FrameGrid:
    """Sees on which grid the frames of a source lie, of those that its rate and the standard rates make.

    Args:
        rate: frames a second that the source is said to have; None where nothing is said.

    Example:
        >>> grid = FrameGrid(Fraction(25))
        >>> grid.update(np.arange(100) * 1001 / 30000)
        >>> found, message = grid.settle()
        >>> found, message
        (Fraction(30000, 1001), 'the source says 25 frames a second, and its frames lie at 29.97 a second: \
those are counted')
    """

    def __init__(self, rate: Fraction | None) -> None:
        self._said = rate if rate is not None and rate > 0 else None
        said = [] if self._said is None else [self._said]
        self._rates = list(dict.fromkeys([*said, *_GUESSED_RATES]))
        self._per_second = np.array([float(rate) for rate in self._rates])[:, None]
        self._farthest: npt.NDArray[np.float64] = np.zeros(len(self._rates))
        self._closest: npt.NDArray[np.float64] = np.full(len(self._rates), np.inf)
        self._last: float | None = None
        self._first = 0.0
        self._frames = 0

    def update(self, seconds: npt.NDArray[np.float64]) -> None:
        """Takes the times of the next frames."""
        if not len(seconds):
            return
        if self._last is None:
            self._first = float(seconds[0])
        before = [] if self._last is None else [self._last]
        places = np.concatenate([before, seconds]) * self._per_second  # (rates, N)
        numbers = np.rint(places)
        self._farthest = np.maximum(self._farthest, np.abs(places - numbers).max(axis=1))
        if places.shape[1] > 1:
            self._closest = np.minimum(self._closest, np.diff(numbers, axis=1).min(axis=1))
        self._last = float(seconds[-1])
        self._frames += len(seconds)

    @property
    def varies(self) -> bool:
        """Whether the frames until now lie on no grid."""
        return self._frames > 1 and not self._fits()

    def _fits(self) -> list[tuple[float, Fraction]]:
        """The rates on whose grids all frames lie, each with the share of a step by which one lies beside it."""
        return [
            (round(float(far), 2), rate)
            for far, near, rate in zip(self._farthest, self._closest, self._rates, strict=True)
            if near >= 1 and far <= _OFF_THE_GRID
        ]

    def settle(self) -> tuple[Fraction, str | None]:
        """The rate that frames are counted by, and what is to be said about it.

        It is the one that the source says, where each frame lies on its grid and no two on one place; else the lowest
        standard rate of which that holds, with gaps or not; else the rate of time codes next to the mean one: then the
        rate varies, and a frame's number is that of the nearest place.
        """
        fits, said = self._fits(), self._said
        if any(rate == said for _, rate in fits) or (self._frames == 1 and said is not None):
            return said or _FALLBACK_RATE, None
        if self._frames < 2:
            return _FALLBACK_RATE, f"the source has no frame rate: {_FALLBACK_RATE} frames a second are assumed"
        if fits:
            _, rate = min(fits)
            if said is None:
                return rate, None
            how = (
                f"the source says {shown_rate(said)} frames a second, and its frames lie at {shown_rate(rate)} a second"
            )
            return rate, f"{how}: those are counted"
        passed = (self._last or 0.0) - self._first
        mean = float(said) if said is not None else (self._frames - 1) / passed if passed > 0 else 25.0
        rate = timecode_rate(Fraction(mean).limit_denominator(1000))
        return rate, (
            f"the frame rate varies: cuts lie at the nearest frame of {shown_rate(rate)} a second, at most "
            f"{500 / float(rate):.0f} ms from their times"
        )

    def settle_on_timecodes(self) -> tuple[Fraction, list[str]]:
        """The rate of time codes that frames are counted by, and what is to be said about it."""
        own, message = self.settle()
        messages = [] if message is None else [message]
        rate = timecode_rate(own)
        if rate != own:
            how, counts = f"{shown_rate(own)} frames a second are no rate of time codes", rate / own
            messages.append(
                f"{how}: each counts as {counts} at {shown_rate(rate)} a second"
                if counts.denominator == 1
                else f"{how}: cuts lie at the nearest frame of {shown_rate(rate)} a second"
            )
        return rate, messages


_GUESSED_RATES = tuple(rate for rate in STANDARD_RATES if rate <= 60)
"""On the grids of higher ones lies nearly anything."""

_OFF_THE_GRID = 0.15
"""Share of the time between frames by which one may lie beside its place: a millisecond at 150 frames a second."""


class ShotsOf(Export):
    """What exports have in common that are made from the whole list of shots."""

    sources = SHOT_SOURCES

    def __init__(self, footage: Footage) -> None:
        super().__init__(footage)
        self._list = shot_list(footage)
        self._shots: list[ShotNumbers] = []

    def update(self, columns: Columns) -> bytes:
        """Takes the next rows; the file is made at the end."""
        self._shots += self._list.update(columns)
        return b""

    def flush(self) -> bytes:
        """The file."""
        return self._made([*self._shots, *self._list.flush()])

    @abstractmethod
    def _made(self, shots: list[ShotNumbers]) -> bytes:
        """The file of all shots, of one at least."""


class TimelineExport(ShotsOf):
    """What exports have in common that give shots as whole frames."""

    needs: ClassVar[frozenset[Fact]] = frozenset({"time"})

    def __init__(self, footage: Footage) -> None:
        super().__init__(footage)
        self._grid = FrameGrid(footage.rate)

    def update(self, columns: Columns) -> bytes:
        """Takes the next rows; the file is made at the end."""
        self._grid.update(columns["pts_seconds"])
        return super().update(columns)

    def _made(self, shots: list[ShotNumbers]) -> bytes:
        return self._written(self._timeline(shots))

    @abstractmethod
    def _written(self, timeline: Timeline) -> bytes:
        """The file of a timeline with at least one shot."""

    def _timeline(self, shots: list[ShotNumbers]) -> Timeline:
        rate, messages = self._grid.settle_on_timecodes()
        self.messages += messages
        timecodes = self._timecodes(rate)
        number = functools.partial(_number, rate=rate)
        placed = []
        # A shot that is shorter than half a frame of a slower grid may lie between two of them.
        for i, shot in enumerate(shots):
            first, end = number(shot.start_seconds), number(shot.end_seconds)
            if i == len(shots) - 1:
                end = max(end, first + 1)
            if end > first:
                placed.append(GridShot(shot, first, end, min(max(number(shot.key_seconds), first), end - 1)))
        if lost := len(shots) - len(placed):
            what = "1 shot is" if lost == 1 else f"{lost} shots are"
            self.messages.append(f"{what} shorter than a frame at {shown_rate(rate)} a second, and left out")
        said = number(self.footage.duration_seconds or 0.0)
        return Timeline(tuple(placed), rate, timecodes, max(said, placed[-1].end))

    @property
    def _is_media(self) -> bool:
        """Whether the source is something that editing programs open; several pictures are not."""
        return self.footage.kind != "images"

    @property
    def _pictures(self) -> str:
        """Several pictures in words: a folder of them, or one file."""
        path, name = self.footage.path, Path(self.footage.name)
        is_file = name.suffix.lower() in PICTURE_SUFFIXES if path is None or not path.exists() else path.is_file()
        return "file of several pictures" if is_file else "folder of pictures"

    def _say_no_media(self, instead: str) -> None:
        self.messages.append(
            f"{readable(self.footage.name)} is a {self._pictures}, which these programs open as no media: {instead}; "
            "make a video of it to cut it"
        )

    def _source_url(self) -> str:
        """Where the source lies, as a URL; its name alone where that is not known, which is said."""
        if self.footage.path is None and not self.footage.is_address:
            self.messages.append(f"where {self.footage.name} lies is not known: it is named by its name alone")
        return self.footage.url

    def _timecodes(self, rate: Fraction) -> Timecodes:
        timecode = self.footage.timecode
        if timecode is None:
            self.messages.append("the source has no time code: its first frame is taken as 00:00:00:00")
            return Timecodes.of(None, rate)
        try:
            return Timecodes.of(timecode, rate)
        except ValueError as error:
            self.messages.append(f"{error}: the source's first frame is taken as 00:00:00:00")
            return Timecodes.of(None, rate)


def _number(seconds: float, *, rate: Fraction) -> int:
    return round(exact(seconds) * rate)


def exact(seconds: float) -> Fraction:
    """The time that a number of the table stands for: the decimal number that a .csv has.

    Example:
        >>> exact(0.1)
        Fraction(1, 10)
    """
    return Fraction(format(seconds, ".9g"))


def shown_rate(rate: Fraction) -> str:
    """A rate in words.

    Example:
        >>> shown_rate(Fraction(30000, 1001)), shown_rate(Fraction(25))
        ('29.97', '25')
    """
    return f"{float(rate):.5g}"


def numbers_of(shot: ShotNumbers) -> dict[str, Any]:
    """The numbers of a shot as plain values, with the nine digits of the shot list; empty ones left out."""
    return {
        name: float(format(value, ".9g")) if isinstance(value, float) else value
        for name, value in shot.as_row().items()
        if value is not None
    }


def readable(text: str) -> str:
    """A text in one line, of characters that UTF-8 and XML have a place for.

    Example:
        >>> readable("a\\n b\\udce9")
        'a  b?'
    """
    kept = "".join(c if c >= " " and c not in "\ufffe\uffff" else " " for c in text)
    return in_utf8(kept)


def title_of(shot: ShotNumbers) -> str:
    """What a shot is called: its number in the table, and its attention strength."""
    return f"Shot {shot.shot} ({shot.attention_strength:.2f} bit)"
