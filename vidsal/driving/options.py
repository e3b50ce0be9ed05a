"""How drives are reported: `DrivingOptions`, and which files that makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from vidsal.options import Checked, Range

__all__ = ["DRIVING_FILES", "MAY_BE_EMPTY", "DrivingOptions"]

DRIVING_FILES: Mapping[str, str] = MappingProxyType(
    {
        "driving": ".csv",
        "driving-summary": ".csv",
        "driving-moments": ".csv",
        "driving-points": ".csv",
        "driving-areas": ".json",
    }
)
"""The results that report a drive, by stage, with their endings."""

MAY_BE_EMPTY = frozenset({"driving-moments"})
"""Those of them that may have no row: a drive may have no moment to look at."""


@dataclass(frozen=True)
class DrivingOptions(Checked):
    """Which areas the report of a drive has, beside those that the vanishing point gives."""

    camera_template: Path | None = None
    """Areas in the car's frame as the camera sees them, such as mirrors and dashboard (.json, as for --aois; they hold
    for all videos of this camera). They lie over all others, and no vanishing point is looked for in them."""
    road_users: Path | None = None
    """Boxes of other road users (.json, or .xml of CVAT for video): an area for each label, over the road."""
    road_half_width: Annotated[float, Range(above=0, at_most=0.5)] = 0.08
    """Half the width of the road ahead at the vanishing point, as a share of the picture's width; below it, the area
    widens on each side by as much as it goes down."""
