"""Areas of interest: where each of them lies at a moment, with those above it taken off.

Positions are pixels of the upright picture at full size, from its left and upper edge: a box of the whole picture is
0, 0, width, height.
"""

from __future__ import annotations

import bisect
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vidsal.errors import EncodeError

__all__ = ["Aoi", "Aois", "Key", "Moment", "Part", "load_shapely"]

_Points = npt.NDArray[np.float64]


def load_shapely() -> Any:
    """The package shapely.

    Raises:
        EncodeError: it is not installed.
    """
    try:
        return importlib.import_module("shapely")
    except ImportError as error:
        raise EncodeError("areas of interest need shapely: pip install 'vidsal[aois]'") from error


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A frame, or a moment between two."""

    seconds: float
    """After the source's first frame."""
    frame: float
    """Its number in the source, from 0; between two frames a fraction."""
    shot: int = 0
    """Ordinal of its shot."""


@dataclass(frozen=True, eq=False)
class Key:
    """Where a part lies from one moment on."""

    at: float
    """Seconds, or the number of the frame."""
    points: _Points | None
    """(n, 2) corners, n from 3; None: it is not there from here on."""
    holds: bool = False
    """It stays as it is until the next key, instead of moving there."""


@dataclass(frozen=True, eq=False)
class Part:
    """One polygon, which may move."""

    clock: Literal["seconds", "frames"]
    """What `Key.at` counts."""
    keys: tuple[Key, ...]
    """In order, at least one. Between two keys with as many corners each corner moves in a straight line; a single key
    stands for all times."""

    def at(self, moment: Moment) -> _Points | None:
        """(n, 2) its corners; None where it is not there.

        Example:
            >>> box = np.array([[0.0, 0], [4, 0], [4, 2], [0, 2]])
            >>> part = Part("seconds", (Key(1.0, box), Key(3.0, box + 10)))
            >>> part.at(Moment(seconds=2.0, frame=0))[0].tolist(), part.at(Moment(seconds=0.5, frame=0))
            ([5.0, 5.0], None)
        """
        if len(self.keys) == 1:
            return self.keys[0].points
        now = moment.seconds if self.clock == "seconds" else moment.frame
        after = bisect.bisect_right([key.at for key in self.keys], now)
        if not after:
            return None
        before = self.keys[after - 1]
        if before.points is None or after == len(self.keys) or before.holds:
            return before.points
        following = self.keys[after]
        if following.points is None or following.points.shape != before.points.shape:
            return before.points
        share = (now - before.at) / (following.at - before.at)
        moved: _Points = before.points + share * (following.points - before.points)
        return moved


@dataclass(frozen=True, eq=False)
class Aoi:
    """An area of interest: one or more parts under one name."""

    name: str
    """Not empty."""
    parts: tuple[Part, ...]
    """At least one."""
    priority: float = 0.0
    """Where two areas overlap, the place belongs to the one of the higher priority, else to the first."""
    start_seconds: float | None = None
    """It is there from then on; None: from the start."""
    end_seconds: float | None = None
    """Until then, not included; None: to the end."""
    shots: frozenset[int] | None = None
    """Only in these; None: in all."""

    def is_there(self, moment: Moment) -> bool:
        """Whether its time range and its shots hold a moment."""
        return (
            (self.start_seconds is None or moment.seconds >= self.start_seconds)
            and (self.end_seconds is None or moment.seconds < self.end_seconds)
            and (self.shots is None or moment.shot in self.shots)
        )

    def corners(self, moment: Moment) -> list[_Points]:
        """(n, 2) corners of each part that is there; what lies above it does not count. Empty: it is not there."""
        if not self.is_there(moment):
            return []
        return [points for part in self.parts if (points := part.at(moment)) is not None]


@dataclass(frozen=True, eq=False)
class Aois:
    """All areas of a video.

    Example:
        >>> box = lambda x, y, w, h: np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], float)
        >>> road = Aoi("road", (Part("seconds", (Key(0, box(0, 0, 10, 4)),)),))
        >>> sign = Aoi("sign", (Part("seconds", (Key(0, box(0, 0, 2, 4)),)),), priority=1)
        >>> {name: shape.area for name, shape in Aois((road, sign)).shapes(Moment(seconds=0, frame=0)).items()}
        {'road': 32.0, 'sign': 8.0}
    """

    aois: tuple[Aoi, ...]
    """In the order of the file; no two of one name."""

    @property
    def names(self) -> list[str]:
        """Of the areas, in order."""
        return [aoi.name for aoi in self.aois]

    def outside(self, *, height: int, width: int) -> list[str]:
        """A sentence for a person about areas that never lie in the picture; none where all do.

        Args:
            height: rows of the picture.
            width: columns of it.

        Example:
            >>> far = Aois((Aoi("far", (Part("seconds", (Key(0, np.array([[9.0, 0], [12, 0], [12, 2]])),)),)),))
            >>> far.outside(height=4, width=8), far.outside(height=4, width=10)
            (['the area far lies outside the picture (8x4 pixels) at all times: is it that of another size?'], [])
        """
        names = [aoi.name for aoi in self.aois if not any(_touches(part, height, width) for part in aoi.parts)]
        if not names:
            return []
        what, lies, them = ("area", "lies", "is it that") if len(names) == 1 else ("areas", "lie", "are they those")
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return [
            f"the {what} {listed} {lies} outside the picture ({width}x{height} pixels) at all times: {them} of another "
            "size?"
        ]

    def state_at(self, moment: Moment) -> Any:
        """What the shapes of a moment depend on: where it is equal, `shapes` are equal. It can be a key.

        Example:
            >>> still = Aoi("a", (Part("seconds", (Key(0, np.eye(3, 2)),)),), end_seconds=1.0)
            >>> first, second, third = (Aois((still,)).state_at(Moment(seconds=s, frame=0)) for s in (0.2, 0.4, 1.4))
            >>> first == second, first == third
            (True, False)
        """
        there = tuple(aoi.is_there(moment) for aoi in self.aois)
        moves = any(
            is_there and any(len(part.keys) > 1 for part in aoi.parts)
            for aoi, is_there in zip(self.aois, there, strict=True)
        )
        return there, (moment.seconds, moment.frame) if moves else None

    def shapes(self, moment: Moment) -> dict[str, Any]:
        """The area of each that is there, as a shapely geometry, without what belongs to another.

        Raises:
            EncodeError: shapely is not installed.
        """
        shapely = load_shapely()
        whole: dict[str, Any] = {}
        for aoi in self.aois:
            if corners := aoi.corners(moment):
                whole[aoi.name] = _union(shapely, corners)
        if len(whole) < 2:
            return whole
        order = sorted(
            (aoi for aoi in self.aois if aoi.name in whole), key=lambda aoi: -aoi.priority
        )  # stable: the first of equals stays first
        taken: Any = None
        own: dict[str, Any] = {}
        for aoi in order:
            shape = whole[aoi.name]
            own[aoi.name] = shape if taken is None else shapely.difference(shape, taken)
            taken = shape if taken is None else shapely.union(taken, shape)
        return {name: own[name] for name in whole}


def _touches(part: Part, height: int, width: int) -> bool:
    """Whether a part may lie in the picture: those that move may cross it between two keys."""
    corners = [key.points for key in part.keys if key.points is not None]
    if not corners:
        return True
    points = np.concatenate(corners)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return bool(left < width and top < height and right > 0 and bottom > 0)


def _union(shapely: Any, corners: Sequence[_Points]) -> Any:
    shapes = [shapely.polygons(points) for points in corners]
    # A polygon that crosses itself, as one may between two keys, becomes the parts that it encloses.
    shapes = [shape if shapely.is_valid(shape) else shapely.make_valid(shape) for shape in shapes]
    return shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)
