"""Vanishing points, a template of the camera and boxes of road users in, the areas of a drive out, as `Aois`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vidsal.aois.areas import Aoi, Aois, Key, Part
from vidsal.driving.vanishing import VanishingPoint
from vidsal.errors import DatasetError

__all__ = ["LEFT", "RIGHT", "ROAD_AHEAD", "road_areas"]

ROAD_AHEAD, LEFT, RIGHT = "road ahead", "left", "right"
"""Names of the areas that the vanishing point gives. Together they are the whole picture."""

_CAMERA, _USERS, _ROAD = 3.0, 2.0, 1.0
"""Priorities: a mirror hides a car, a car hides the road. An area's own one, brought below 1, is added."""


def road_areas(
    points: Sequence[VanishingPoint],
    *,
    height: int,
    width: int,
    half_width: float,
    camera: Aois | None = None,
    users: Aois | None = None,
) -> Aois:
    """The areas of a drive: the road ahead, what is left and right of it, and those that are given.

    The road ahead is what lies below a level `half_width` above the vanishing point, and no farther to its side than
    `half_width` at its height and above, and as much more below as one goes down: about the own lane of a camera 1.3 m
    above the road. What is left of the point's column otherwise is left, and so on; in a shot without a point none of
    the three is there.

    Args:
        points: one for each shot, in order; at least one.
        height: rows of the picture.
        width: columns of it.
        half_width: a share of the picture's width.
        camera: areas of the car itself, above all others.
        users: areas of other road users, above the road.

    Raises:
        DatasetError: two areas have one name.
    """
    reach = half_width * width
    shapes = [None if point.x is None or point.y is None else (point.x, point.y) for point in points]
    starts = [point.start_seconds for point in points]
    made = [
        *_above(camera, _CAMERA),
        *_above(users, _USERS),
        Aoi(ROAD_AHEAD, (_part(starts, [_ahead(at, reach, height, width) for at in shapes]),), priority=_ROAD),
        Aoi(LEFT, (_part(starts, [None if at is None else _box(0, at[0], height) for at in shapes]),)),
        Aoi(RIGHT, (_part(starts, [None if at is None else _box(at[0], width, height) for at in shapes]),)),
    ]
    names = [aoi.name for aoi in made]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(
            f"two areas of the drive are called {twice!r}: the names of the camera's template, of road users and "
            f"{ROAD_AHEAD!r}, {LEFT!r} and {RIGHT!r} must differ; give one another name"
        )
    return Aois(tuple(made))


def _above(aois: Aois | None, level: float) -> list[Aoi]:
    """The areas with priorities in their own order, from the level to below the next one."""
    if aois is None:
        return []
    ranks = sorted({aoi.priority for aoi in aois.aois})
    return [dataclasses.replace(aoi, priority=level + ranks.index(aoi.priority) / len(ranks)) for aoi in aois.aois]


def _part(starts: Sequence[float], shapes: Sequence[npt.NDArray[np.float64] | None]) -> Part:
    """Each shape from its shot's first frame on."""
    return Part("seconds", tuple(Key(at, shape, holds=True) for at, shape in zip(starts, shapes, strict=True)))


def _box(left: float, right: float, height: float) -> npt.NDArray[np.float64]:
    return np.array([[left, 0], [right, 0], [right, height], [left, height]], np.float64)


def _ahead(at: tuple[float, float] | None, reach: float, height: int, width: int) -> npt.NDArray[np.float64] | None:
    """The corners, within the picture but for its sides."""
    if at is None:
        return None
    x, y = at
    top, below = max(y - reach, 0.0), height - y
    return np.array(
        [
            [x - reach, top],
            [x + reach, top],
            [x + reach, y],
            [x + reach + below, height],
            [x - reach - below, height],
            [x - reach, y],
        ],
        np.float64,
    )
