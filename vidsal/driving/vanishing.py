"""The frames of a drive in, the vanishing point of the road in each shot out, with a confidence; or that there is none.

Lines that run along the road (its markings and edges, kerbs, rails, rows of houses) meet in one point of the picture,
and in a car that goes straight on, everything that stands still moves away from the same point. A shot is looked at
every so often. Each look votes with both: every line for the places that it leads to, every moved corner for those
that it moves away from. The point is where most votes of all looks meet. It is one for the whole shot, since the camera
is fixed to the car; and it is given only where most looks alone would have said the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.aois.areas import Aois, Moment, load_shapely
from vidsal.decode import DecodeOptions, open_video
from vidsal.exports.contract import Footage
from vidsal.frames import FrameBatch
from vidsal.shots import CutDetector
from vidsal.stages import CutOptions
from vidsal.tracks import column_field, column_meanings

__all__ = ["VANISHING_COLUMNS", "VanishingFinder", "VanishingPoint", "find_vanishing_points"]

_Grey = npt.NDArray[np.uint8]
_Votes = npt.NDArray[np.float32]
_Floats = npt.NDArray[np.float64]

# Pictures are looked at with this longer side, in pixels; votes are counted every so many of these.
_SIDE, _STEP = 480, 4
# Where the point may lie, in shares of the picture's sides: no camera that is meant to show the road has it elsewhere.
# It is looked for in the whole picture, so that one beside that is seen for what it is.
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.12, 0.88, 0.2, 0.85
# A look is a pair of frames this far apart at least, in seconds; the next one follows after as much again.
_PAIR_SECONDS, _EVERY_SECONDS = 0.04, 0.2
# A shot has at most so many looks: then every other one is given up, and the next ones come half as often.
_LOOKS = 200
# Lines: shortest, as a share of the longer side; degrees from level and upright that say nothing of a road ahead;
# the length from which longer ones count no more; how many of them, the longest, vote.
_SHORTEST, _LEVEL, _UPRIGHT, _COUNTS_UP_TO, _LINES = 1 / 24, 8.0, 80.0, 1 / 8, 150
# By how much a line may miss a place, in degrees (at least), and how exact its ends are, in pixels; so of corners.
_LINE_DEGREES, _LINE_PIXELS, _FLOW_DEGREES, _FLOW_PIXELS = 1.2, 0.8, 2.0, 0.4
# Corners: how many, the least motion in pixels, the largest as a share of the longer side.
_CORNERS, _LEAST_MOTION, _LARGEST_MOTION = 150, 1.0, 1 / 6
# Fewer lines or corners than this do not vote.
_FEWEST = 4
# Two points are the same when they are no farther apart than this share of the picture's width.
_SAME = 0.05
# What it takes to be found: looks; the share of them that agree; lines of a look that lead there, and their share of
# all lines; or else the share of the moved corners, beyond what the middle place of the picture has, that come from it.
_LEAST_LOOKS, _LEAST_AGREEMENT, _LEAST_LINES, _LEAST_LINE_SHARE = 5, 0.6, 3.0, 0.2
_LEAST_CORNERS, _LEAST_FLOW_SHARE = 15.0, 0.2
# Where fewer corners than this move, many looks are one: lines alone would agree with themselves.
_LEAST_MOVED = 10.0

NOTE = (
    "an estimate from lines and motion in the picture, not from a calibrated camera; one point stands for the whole "
    "shot, so bends, hills and turns are not followed"
)
"""What a reader of the point has to know."""


@dataclass(frozen=True, kw_only=True)
class VanishingPoint:
    """Where the road of one shot vanishes: one row of the table of vanishing points."""

    shot: int = column_field("shots", "Ordinal of the shot, from 0.")
    """0 or more."""
    start_seconds: float = column_field("s", "Presentation time of the shot's first frame.")
    """As in the table of a run."""
    end_seconds: float = column_field("s", "When the shot ends, as in the list of shots: not included.")
    """start_seconds or more."""
    found: bool = column_field("", "Whether a point was found; where it was not, none is guessed.")
    """True or False."""
    x: float | None = column_field("px", "Column of the point, from the picture's left edge.")
    """0 to the picture's width; None where it was not found."""
    y: float | None = column_field("px", "Row of the point, from the picture's upper edge.")
    """0 to the picture's height; None where it was not found."""
    confidence: float = column_field(
        "share",
        "Share of the looks whose own point lies within 5 % of the picture's width of the shot's; found from 0.6.",
    )
    """0 to 1."""
    spread: float | None = column_field("px", "Median distance of these looks' own points from the shot's.")
    """0 or more; None where no look agrees."""
    looks: int = column_field("", "How often the shot was looked at, with lines or motion to see.")
    """0 or more."""
    line_share: float = column_field("share", "Mean share of a look's lines, by length, that lead to the point.")
    """0 to 1."""
    flow_share: float = column_field("share", "Mean share of a look's moved corners that move away from the point.")
    """0 to 1."""
    reason: str = column_field("", "What the point rests on, or why there is none.")
    """Not empty."""
    note: str = column_field("", "What the number is not.")
    """Not empty."""


VANISHING_COLUMNS = column_meanings(VanishingPoint)
"""Unit and meaning of every column of the table of vanishing points."""


@dataclass
class _Glance:
    lines: _Votes | None
    flow: _Votes | None
    line_count: int
    corner_count: int

    @property
    def votes(self) -> _Votes | None:
        parts = [part for part in (self.lines, self.flow) if part is not None]
        return None if not parts else parts[0] if len(parts) == 1 else parts[0] + parts[1]


@dataclass
class _Watched:
    ordinal: int
    start: float
    every: float = _EVERY_SECONDS
    looks: list[_Glance] = field(default_factory=list)
    """At most `_LOOKS`."""


class VanishingFinder:
    """Looks at the frames of a video, and says where the road of each shot vanishes.

    Args:
        outside: areas of the car itself, in which nothing is looked at; None: none.

    Example:
        >>> road = np.full((2, 270, 480, 3), 90, np.uint8)
        >>> finder = VanishingFinder()
        >>> finder.update(FrameBatch(np.arange(2), np.arange(2) / 25, road, 270, 480), np.zeros(2, np.int64))
        >>> [(point.found, point.reason) for point in finder.flush()]
        [(False, 'not found: too few looks with lines or motion in them (0, at least 5)')]
    """

    def __init__(self, outside: Aois | None = None) -> None:
        self._outside = outside
        self._detector: Any = cv2.createLineSegmentDetector()
        self.reset()

    def reset(self) -> None:
        """Forgets the video."""
        self._shot: _Watched | None = None
        self._found: list[VanishingPoint] = []
        self._begin = self._last = 0.0
        self._frames = 0
        self._first: tuple[float, _Grey] | None = None
        self._next = -math.inf
        self._size = (0, 0)
        self._grid: tuple[_Votes, _Votes] | None = None
        self._masks: dict[tuple[int, int], _Grey] = {}

    def update(self, batch: FrameBatch, shot: npt.NDArray[np.int64]) -> None:
        """Shows the next frames; the full pictures are looked at where the batch has them, else `frames`.

        Args:
            batch: the frames.
            shot: (B,) ordinal of the shot of each.
        """
        self._size = (batch.height, batch.width)
        for row, (seconds, ordinal) in enumerate(zip(batch.pts_seconds.tolist(), shot.tolist(), strict=True)):
            if self._shot is None or ordinal != self._shot.ordinal:
                self._end_shot(seconds)
                self._shot = _Watched(ordinal, seconds)
                self._first, self._next = None, -math.inf
            if not self._frames:
                self._begin = seconds
            self._last, self._frames = seconds, self._frames + 1
            if self._first is None:
                if seconds >= self._next:
                    self._first = seconds, self._picture(batch, row)
                    self._next = seconds + self._shot.every
            elif seconds - self._first[0] >= _PAIR_SECONDS - 1e-6:
                self._look(self._first[1], self._picture(batch, row))
                self._first = None

    def flush(self, footage: Footage | None = None) -> list[VanishingPoint]:
        """Ends the video: what was found, a point for each shot, in order.

        Args:
            footage: what is known of the video; None: nothing is.
        """
        known = footage or Footage(name="")
        self._end_shot(self._last + known.last_frame_lasts(self._begin, self._last, steps=self._frames - 1))
        found, self._found, self._frames = self._found, [], 0
        return found

    def _picture(self, batch: FrameBatch, row: int) -> _Grey:
        frame = batch.pictures[row].rgb() if batch.pictures else batch.frames[row]
        # The picture's own shape, whatever that of the small frames is.
        scale = _SIDE / max(batch.height, batch.width)
        size = max(16, round(batch.width * scale)), max(16, round(batch.height * scale))
        shrinks = frame.shape[0] * frame.shape[1] > size[0] * size[1]
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))

    def _look(self, before: _Grey, after: _Grey) -> None:
        shot = self._shot
        if shot is None:
            return
        rows, columns = after.shape
        if self._grid is None:
            across, down = (np.arange(0, side, _STEP).astype(np.float32) for side in (columns, rows))
            self._grid = across, down
        seen = self._seen(rows, columns)
        lines = self._kept(_lines(self._detector, after), seen)
        corners = self._kept(_flow(before, after, seen), seen)
        look = _Glance(None, None, len(lines), len(corners))
        if len(lines) >= _FEWEST:
            weights = np.minimum(lines[:, 4], _COUNTS_UP_TO * _SIDE)
            look.lines = _votes(lines, weights, self._grid, away=False)
        if len(corners) >= _FEWEST:
            look.flow = _votes(corners, np.ones(len(corners)), self._grid, away=True)
        if look.votes is None:
            return
        shot.looks.append(look)
        if len(shot.looks) > _LOOKS:
            del shot.looks[1::2]
            shot.every *= 2

    def _seen(self, rows: int, columns: int) -> _Grey:
        """255 where the world is seen, 0 in the areas of the car."""
        mask = self._masks.get((rows, columns))
        if mask is None:
            mask = np.full((rows, columns), 255, np.uint8)
            if self._outside is not None:
                shapely = load_shapely()
                scale = np.array([columns / self._size[1], rows / self._size[0]])
                for shape in self._outside.shapes(Moment(seconds=0.0, frame=0)).values():
                    for part in shapely.get_parts(shape):
                        if shapely.get_dimensions(part) == 2:
                            points = np.asarray(part.exterior.coords)[:, :2] * scale
                            cv2.fillPoly(mask, [np.round(points).astype(np.int32)], (0,))
                # A frame of a mirror is a line of its own.
                mask = np.asarray(cv2.erode(mask, np.ones((9, 9), np.uint8)))
            self._masks[(rows, columns)] = mask
        return mask

    def _kept(self, found: _Floats, seen: _Grey) -> _Floats:
        column = np.clip(found[:, 0].astype(int), 0, seen.shape[1] - 1)
        row = np.clip(found[:, 1].astype(int), 0, seen.shape[0] - 1)
        kept: _Floats = found[seen[row, column] > 0]
        return kept

    def _end_shot(self, seconds: float) -> None:
        if self._shot is not None:
            self._found.append(self._concluded(self._shot, seconds))
            self._shot = None

    def _concluded(self, shot: _Watched, end: float) -> VanishingPoint:
        looks = [(look, votes) for look in shot.looks if (votes := look.votes) is not None]
        known: dict[str, Any] = {
            "shot": shot.ordinal,
            "start_seconds": shot.start,
            "end_seconds": end,
            "looks": len(looks),
        }
        nothing: dict[str, Any] = {"found": False, "x": None, "y": None, "note": NOTE}
        if len(looks) < _LEAST_LOOKS or self._grid is None:
            reason = f"not found: too few looks with lines or motion in them ({len(looks)}, at least {_LEAST_LOOKS})"
            zero: dict[str, Any] = {"confidence": 0.0, "spread": None, "line_share": 0.0, "flow_share": 0.0}
            return VanishingPoint(**known, **nothing, **zero, reason=reason)
        joint = sum((votes for _, votes in looks[1:]), looks[0][1])
        place = np.unravel_index(int(joint.argmax()), joint.shape)
        x, y = _between(joint, self._grid)
        own = np.array([_between(votes, self._grid) for _, votes in looks])
        apart = np.hypot(*(own - (x, y)).T)
        width = self._size[1] * _SIDE / max(self._size)
        agree = apart <= _SAME * width
        line_share, lines = _share(looks, "lines", place), float(np.mean([look.line_count for look, _ in looks]))
        flow_share, corners = _share(looks, "flow", place), float(np.mean([look.corner_count for look, _ in looks]))
        middle = float(np.mean([0.0 if look.flow is None else np.median(look.flow) for look, _ in looks]))
        by_lines = line_share >= _LEAST_LINE_SHARE and line_share * lines >= _LEAST_LINES
        by_flow = flow_share - middle >= _LEAST_FLOW_SHARE and corners >= _LEAST_CORNERS
        rows, columns = (side * _SIDE / max(self._size) for side in self._size)
        is_inside = _LEFT <= x / columns <= _RIGHT and _TOP <= y / rows <= _BOTTOM
        confidence = float(agree.mean())
        if corners < _LEAST_MOVED:
            reason = "not found: hardly anything moves, so the looks are no more than one"
        elif not is_inside:
            reason = "not found: lines and motion lead out of the part of the picture where a road can vanish"
        elif not (by_lines or by_flow):
            reason = "not found: too few lines lead to one point, and too little moves away from one"
        elif confidence < _LEAST_AGREEMENT:
            reason = f"not found: the looks disagree ({agree.sum()} of {len(looks)} agree, at least 60 %)"
        else:
            rests = " and ".join(
                name for name, rests in (("lines of the road", by_lines), ("motion away from it", by_flow)) if rests
            )
            scale = max(self._size) / _SIDE
            # Pictures are looked at by the centres of their pixels.
            nothing |= {"found": True, "x": (x + 0.5) * scale, "y": (y + 0.5) * scale}
            reason = f"found by {rests}"
        return VanishingPoint(
            **known,
            **nothing,
            confidence=confidence,
            spread=float(np.median(apart[agree])) * max(self._size) / _SIDE if agree.any() else None,
            line_share=line_share,
            flow_share=flow_share,
            reason=reason,
        )


def _share(looks: Sequence[tuple[_Glance, _Votes]], kind: str, place: tuple[Any, ...]) -> float:
    """The mean over all looks of the votes of a kind that a place of the grid has."""
    parts = [getattr(look, kind) for look, _ in looks]
    return float(np.mean([0.0 if part is None else part[place] for part in parts]))


def _between(votes: _Votes, grid: tuple[_Votes, _Votes]) -> tuple[float, float]:
    """The place of the most votes, between those of the grid by a parabola along each side."""
    row, column = (int(each) for each in np.unravel_index(int(votes.argmax()), votes.shape))

    def shifted(values: _Votes, place: int) -> float:
        if not 0 < place < len(values) - 1:
            return 0.0
        before, here, after = (float(value) for value in values[place - 1 : place + 2])
        bend = before - 2 * here + after
        return 0.0 if bend >= 0 else 0.5 * (before - after) / bend

    across, down = grid
    return (
        float(across[column]) + _STEP * shifted(votes[row], column),
        float(down[row]) + _STEP * shifted(votes[:, column], row),
    )


def _lines(detector: Any, picture: _Grey) -> _Floats:
    """(n, 5) middle x and y, direction x and y, length, in pixels, of lines that may run along a road."""
    found = detector.detect(picture)[0]
    if found is None:
        return np.zeros((0, 5))
    ends = np.asarray(found, np.float64).reshape(-1, 4)
    across = ends[:, 2:] - ends[:, :2]
    length = np.hypot(across[:, 0], across[:, 1])
    slant = np.degrees(np.arctan2(np.abs(across[:, 1]), np.abs(across[:, 0])))
    kept = (length > _SHORTEST * _SIDE) & (slant > _LEVEL) & (slant < _UPRIGHT)
    ends, across, length = ends[kept], across[kept], length[kept]
    made = np.column_stack([(ends[:, :2] + ends[:, 2:]) / 2, across / length[:, None], length])
    return made[np.argsort(-length, kind="stable")[:_LINES]]


def _flow(before: _Grey, after: _Grey, seen: _Grey) -> _Floats:
    """(n, 5) as `_lines`, of corners that moved: where they are in between, where to, and how far."""
    start = cv2.goodFeaturesToTrack(before, _CORNERS, 0.01, 8, mask=seen)
    if start is None:
        return np.zeros((0, 5))
    window: dict[str, Any] = {"winSize": (21, 21), "maxLevel": 3}
    end, there, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, **window)
    back, again, _ = cv2.calcOpticalFlowPyrLK(after, before, end, None, **window)
    start, end, back = (each.reshape(-1, 2).astype(np.float64) for each in (start, end, back))
    moved = end - start
    length = np.hypot(moved[:, 0], moved[:, 1])
    # Followed back, a corner comes out where it began.
    kept = (there.ravel() > 0) & (again.ravel() > 0) & (np.hypot(*(back - start).T) < 0.5)
    kept &= (length > _LEAST_MOTION) & (length < _LARGEST_MOTION * _SIDE)
    start, end, moved, length = start[kept], end[kept], moved[kept], length[kept]
    return np.column_stack([(start + end) / 2, moved / length[:, None], length])


def _votes(found: _Floats, weights: _Floats, grid: tuple[_Votes, _Votes], *, away: bool) -> _Votes:
    """(rows, columns) of the grid: the share by weight of what was found that leads there, or moves away from there."""
    across, down = grid
    total: _Votes = np.zeros((len(down), len(across)), np.float32)
    degrees, pixels = (_FLOW_DEGREES, _FLOW_PIXELS) if away else (_LINE_DEGREES, _LINE_PIXELS)
    for (x, y, along, below, length), weight in zip(found.astype(np.float32), weights.tolist(), strict=True):
        to_x, to_y = across[None, :] - x, down[:, None] - y
        distance = np.hypot(to_x, to_y) + np.float32(1e-6)
        sine = (to_x * below - to_y * along) / distance
        width = max(math.radians(degrees), math.atan(pixels / float(length)))
        vote = np.exp(np.square(sine) * np.float32(-0.5 / width**2))
        if away:
            vote *= to_x * along + to_y * below < 0
        else:
            # A line leads to what lies beyond its ends.
            vote *= distance > 0.6 * length
        total += np.float32(weight) * vote
    return total / np.float32(weights.sum())


def find_vanishing_points(
    video: str | Path,
    *,
    decode: DecodeOptions | None = None,
    cuts: CutOptions | None = None,
    outside: Aois | None = None,
) -> list[VanishingPoint]:
    """Reads a video once, and says where the road of each of its shots vanishes.

    Args:
        video: a file.
        decode: how it is read; None: the defaults.
        cuts: how cuts are found.
        outside: areas of the car itself, such as mirrors; nothing is looked at there.

    Returns:
        A point for each shot, in order.

    Raises:
        DecodeError: the video cannot be read.
        EncodeError: `outside` is given, and shapely is not installed.
    """
    finder, detector, shot = VanishingFinder(outside), CutDetector(cuts), 0
    with open_video(video, options=decode, size=_small, keep_pictures=True) as reader:
        for batch in reader:
            shots = shot + np.cumsum(detector.update(batch.frames, batch.pts_seconds), dtype=np.int64)
            shot = int(shots[-1])
            finder.update(batch, shots)
        footage = Footage.of(reader.info, end_seconds=None if decode is None else decode.end_seconds)
    return finder.flush(footage)


def _small(height: int, width: int) -> tuple[int, int]:
    """The size at which cuts are looked for."""
    share = min(1.0, 320 / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))
