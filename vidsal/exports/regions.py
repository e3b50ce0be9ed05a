"""Rows of the table in, the boxes of its regions out, gathered to tracks: one for each id of a shot.

A box is there from the frame in which its region is reported to the last one before it is not. Between, programs that
annotate video take a box to move evenly from one key frame to the next. So only those frames are key frames where it
does not.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from vidsal.decode.ordinals import Ordinal, ordinal_at
from vidsal.exports.contract import Columns, Export, Fact, Footage
from vidsal.exports.timeline import FrameGrid, shown_rate
from vidsal.tracks import BOX_COLUMNS
from vidsal.words import in_utf8

__all__ = [
    "LABEL",
    "REGION_SOURCES",
    "Clock",
    "Ids",
    "RegionsExport",
    "Tracks",
    "boxes_of",
    "key_frames",
    "made_on",
    "plain_name",
]

_Integers = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]

LABEL = "salient region"
"""What the regions are called in the programs of others."""

_PLACES = (1, 2, 3)
REGION_SOURCES = (
    *("index", "pts_seconds", "shot"),
    *(f"region{place}_{name}" for place in _PLACES for name in ("id", "mass")),
    *BOX_COLUMNS,
)
"""The columns of the table that are read."""

_BOXES = np.dtype(
    [
        *((name, np.int32) for name in ("row", "track", "left", "top", "width", "height")),
        ("mass", np.float64),
    ]
)
"""A region in a frame: the row of the table, its track, its box in pixels, its share of the density."""


class Ids:
    """Numbers tracks from 1 in the order in which they appear: one for each id of a shot."""

    def __init__(self) -> None:
        self._shot: int | None = None
        self._of_shot: dict[int, int] = {}
        self.shots: list[int] = []
        self.ids: list[int] = []

    def __call__(self, shot: int, id: int) -> int:
        if shot != self._shot:
            self._shot, self._of_shot = shot, {}
        if id not in self._of_shot:
            self.shots.append(shot)
            self.ids.append(id)
            self._of_shot[id] = len(self.ids)
        return self._of_shot[id]


def boxes_of(columns: Columns, ids: Ids, *, first: int = 0) -> npt.NDArray[np.void]:
    """The regions of the next rows, frame by frame and there by mass: (N,) of row, track, box and mass.

    Args:
        columns: at least `REGION_SOURCES` but pts_seconds.
        ids: numbers the tracks.
        first: number of the first of these rows.
    """
    region = np.stack([np.asarray(columns[f"region{place}_id"], np.float64) for place in _PLACES], axis=1)
    row, place = np.nonzero(np.isfinite(region))
    made = np.empty(len(row), _BOXES)
    made["row"] = first + row
    shots = np.asarray(columns["shot"], np.int64)
    pairs = zip(shots[row].tolist(), region[row, place].astype(np.int64).tolist(), strict=True)
    made["track"] = [ids(*pair) for pair in pairs]
    for name in ("left", "top", "width", "height", "mass"):
        values = np.stack([np.asarray(columns[f"region{each}_{name}"], np.float64) for each in _PLACES], axis=1)
        chosen = values[row, place]
        if not np.isfinite(chosen).all():
            at = int(row[~np.isfinite(chosen)][0])
            raise ValueError(f"a region of frame {columns['index'][at]} has no {name}")
        made[name] = chosen
    return made


@dataclass(frozen=True, eq=False)
class Tracks:
    """All regions of a table, track by track; memory is about 100 bytes for each region of a frame while it is made."""

    index: _Integers
    """(F,) index of every frame, as in the table."""
    seconds: _Floats
    """(F,) its presentation time."""
    shots: _Integers
    """(T,) the shot of every track."""
    ids: _Integers
    """(T,) its id in that shot."""
    boxes: npt.NDArray[np.void]
    """(N,) regions, by track and there by row."""

    def each(self) -> Iterator[tuple[int, npt.NDArray[np.void]]]:
        """Every track: its number from 1, and its boxes, by row."""
        edges = np.flatnonzero(np.diff(self.boxes["track"])) + 1
        for part in np.split(self.boxes, edges) if len(self.boxes) else ():
            yield int(part["track"][0]), part

    @staticmethod
    def stretches(boxes: npt.NDArray[np.void]) -> list[npt.NDArray[np.void]]:
        """The boxes of a track, cut where it is missing from a frame; none of no boxes."""
        return [] if not len(boxes) else np.split(boxes, np.flatnonzero(np.diff(boxes["row"]) != 1) + 1)


def key_frames(boxes: npt.NDArray[np.void], frames: _Integers) -> npt.NDArray[np.bool_]:
    """Which boxes have to be said, so that those between them come out by even motion.

    Args:
        boxes: (N,) of one stretch.
        frames: (N,) number of each one's frame where it is said, rising.

    Returns:
        (N,) True for the first, the last, and wherever the motion changes.
    """
    keys = np.ones(len(boxes), np.bool_)
    steps = np.diff(frames)
    same = np.ones(max(len(boxes) - 2, 0), np.bool_)
    for name in ("left", "top", "width", "height"):
        change = np.diff(boxes[name].astype(np.int64))
        same &= change[:-1] * steps[1:] == change[1:] * steps[:-1]
    keys[1:-1] = ~same
    return keys


class Clock:
    """Numbers the frames of a source as programs do that count them as they are decoded, the first one 0.

    Args:
        footage: the source; its file is read once more where the table does not begin with it.
    """

    def __init__(self, footage: Footage) -> None:
        self._footage = footage
        self._grid = FrameGrid(footage.rate)
        self._first: tuple[int, float] | None = None
        self._ordinal: Ordinal | None = None
        self._is_counted = False

    def update(self, columns: Columns) -> None:
        """Takes the next rows."""
        seconds = np.asarray(columns["pts_seconds"], np.float64)
        self._grid.update(seconds)
        if self._first is None and len(seconds):
            self._first = int(columns["index"][0]), float(seconds[0])

    def settle(self, messages: list[str]) -> tuple[Fraction, bool]:
        """The rate, and whether it varies; says where the rate is not what the source says."""
        (rate, said), varies = self._grid.settle(), self._grid.varies
        if said is not None and not varies:
            messages.append(said)
        return rate, varies

    def frames_before(self, messages: list[str]) -> int:
        """How many frames of the source lie before the table's first one; says what was assumed."""
        rate, varies = self.settle(messages)
        if varies:
            messages.append("the frame rate varies: frames are numbered as they are decoded, whatever their times")
        index, seconds = self._first or (0, 0.0)
        if seconds > 0 and (counted := self._counted()) is not None:
            return max(counted.before - index, 0)
        before = max(round(seconds * float(rate)) - index, 0)
        if before:
            name = self._footage.name
            where = (
                f"the packets of {name} do not tell"
                if self._is_counted
                else f"{name} is not at hand (vidsal convert --source names it)"
            )
            messages.append(
                f"the table begins {seconds:.6g} s after the source: its first frame is taken as frame {before}, by "
                f"{'the mean' if varies else 'a'} rate of {shown_rate(rate)} frames a second; that is a guess, since "
                f"{where}: check it against the picture"
            )
        return before

    def source_frames(self) -> int | None:
        """How many frames the whole source has, by its file; None where that is not at hand or does not tell."""
        counted = self._counted()
        return None if counted is None else counted.frames

    def _counted(self) -> Ordinal | None:
        """Where the table's first frame lies in the file of the source; None where that is not known."""
        path, seconds = self._footage.path, 0.0 if self._first is None else self._first[1]
        if not self._is_counted and path is not None and self._footage.kind == "video":
            self._is_counted = path.is_file()
            found = ordinal_at(path, seconds) if self._is_counted else None
            self._ordinal = found if found is not None and found.is_exact else None
        return self._ordinal


class RegionsExport(Export):
    """What exports have in common that are made from the tracks of all regions."""

    sources = REGION_SOURCES
    needs: ClassVar[frozenset[Fact]] = frozenset({"size", "time"})

    def __init__(self, footage: Footage) -> None:
        super().__init__(footage)
        self.clock = Clock(footage)
        self._ids = Ids()
        self._parts: list[npt.NDArray[np.void]] = []
        self._frames: list[tuple[_Integers, _Floats]] = []
        self._rows = 0

    def update(self, columns: Columns) -> bytes:
        """Takes the next rows; the file is made at the end."""
        self.clock.update(columns)
        self._parts.append(boxes_of(columns, self._ids, first=self._rows))
        index, seconds = np.asarray(columns["index"], np.int64), np.asarray(columns["pts_seconds"], np.float64)
        self._frames.append((index, seconds))
        self._rows += len(index)
        return b""

    def flush(self) -> bytes:
        """The file."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The file in pieces."""
        boxes = np.concatenate(self._parts)
        self._parts.clear()
        boxes = boxes[np.lexsort((boxes["row"], boxes["track"]))]
        index, seconds = (np.concatenate(part) for part in zip(*self._frames, strict=True))
        ids = self._ids
        yield from self._made(Tracks(index, seconds, np.array(ids.shots, np.int64), np.array(ids.ids, np.int64), boxes))

    @abstractmethod
    def _made(self, tracks: Tracks) -> Iterator[bytes]:
        """The file of all tracks, of one frame at least."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""
        return self.footage.width or 0, self.footage.height or 0


def plain_name(text: str) -> str:
    """A name as text of any format: without what is not UTF-8, and without control characters.

    Example:
        >>> plain_name("a\\udcff\\x01.mp4")
        'a?_.mp4'
    """
    return "".join(character if character.isprintable() else "_" for character in in_utf8(text))


def made_on(footage: Footage) -> datetime:
    """The date of files that need one: that of the source, so that one table always gives the same file.

    Returns:
        When the source was last changed, in UTC; the beginning of 1970 where that is not known.
    """
    return footage.modified or datetime.fromtimestamp(0, UTC)
