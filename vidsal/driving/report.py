"""The areas of a drive, and what was found, in; what its tables have beyond those of any areas, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vidsal.aois.predicted import AoiSum
from vidsal.driving.vanishing import VanishingPoint
from vidsal.tracks import column_field, column_meanings

__all__ = ["DRIVING_SUMMARY_COLUMNS", "LIMITS", "DrivingSum", "about_areas", "driving_sums", "not_found"]

LIMITS = (
    "predicted share: what a model expects of many viewers of the picture; no measurement of any driver, no dwell, and "
    "nothing about safety"
)
"""What a reader of the numbers has to know; it stands beside them."""


@dataclass(frozen=True, kw_only=True)
class DrivingSum(AoiSum):
    """One area of a drive over the whole video: one row of the summary."""

    note: str = column_field("", "What the number is not.")
    """Not empty."""


DRIVING_SUMMARY_COLUMNS = column_meanings(DrivingSum)
"""Unit and meaning of every column of the summary."""


def driving_sums(sums: Sequence[AoiSum], points: Sequence[VanishingPoint]) -> list[DrivingSum]:
    """The rows of the summary, with the limits and how many shots have a vanishing point."""
    found = sum(point.found for point in points)
    note = f"{LIMITS}; vanishing point found in {found} of {len(points)} shots"
    return [DrivingSum(**dataclasses.asdict(one), note=note) for one in sums]


def not_found(points: Sequence[VanishingPoint]) -> list[str]:
    """What a user should know of the shots without a vanishing point; nothing where all have one.

    Example:
        >>> not_found([])
        []
    """
    without = [point for point in points if not point.found]
    if not without:
        return []
    named = "; ".join(f"shot {point.shot}: {point.reason}" for point in without[:_NAMED])
    more = f"; and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
    return [
        f"no vanishing point in {len(without)} of {len(points)} shots, so nothing is said of the road ahead, left and "
        f"right there ({named}{more})"
    ]


_NAMED = 3
"""Shots that a message names."""


def about_areas(points: Sequence[VanishingPoint], *, half_width: float) -> dict[str, Any]:
    """What the file of the areas says of them."""
    return {
        "made_by": "vidsal run --report-driving",
        "limits": LIMITS,
        "road_half_width": half_width,
        "vanishing_points": [dataclasses.asdict(point) for point in points],
    }
