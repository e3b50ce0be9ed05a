"""The tables of a study of recorded gaze in, what people did with the areas of a video beside what is predicted out.

`vidsal aoi measure` writes them; `study.json` beside them says of which video they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsal.errors import DatasetError
from vidsal.exports.tables import read_table
from vidsal.tracks import column_field

__all__ = ["STUDY_NAME", "AoiAgreement", "AoiSecond", "Measured", "find_measured"]

STUDY_NAME = "study.json"
"""What says of which video the tables beside it are."""


@dataclass(frozen=True, kw_only=True)
class AoiSecond:
    """One area in one second: one row of the comparison."""

    aoi: str = column_field("", "Name of the area.")
    """Not empty."""
    start_seconds: float = column_field("s", "Start of the second, after the video's first frame.")
    """0 or more."""
    predicted_share: float | None = column_field(
        "share", "Mean predicted share in it; empty where no frame lies in it."
    )
    """0 to 1, or None."""
    dwell_share: float | None = column_field("share", "Mean over participants of the share of their gaze in the area.")
    """0 to 1; None where nobody's gaze is valid."""
    low: float | None = column_field("share", "Lower end of the 95 % interval over participants.")
    """0 to dwell_share; None with fewer than two participants."""
    high: float | None = column_field("share", "Its upper end.")
    """dwell_share to 1; None with fewer than two participants."""
    participants: int = column_field("", "How many have valid gaze in it.")
    """0 or more."""
    off: bool = column_field("", "Whether the predicted share lies outside the interval.")
    """False without an interval."""


@dataclass(frozen=True, kw_only=True)
class AoiAgreement:
    """One area over all seconds."""

    aoi: str = column_field("", "Name of the area.")
    """Not empty."""
    seconds: int = column_field("", "How many have both a predicted and a dwell share.")
    """0 or more."""
    predicted_share: float | None = column_field("share", "Mean of the predicted shares.")
    """0 to 1, or None."""
    dwell_share: float | None = column_field("share", "Mean of the dwell shares.")
    """0 to 1, or None."""
    correlation: float | None = column_field(
        "", "Pearson's over seconds; empty with fewer than three, or if one is flat."
    )
    """-1 to 1, or None."""
    off_share: float | None = column_field("share", "Share of seconds in which the predicted share is off.")
    """0 to 1, or None."""


@dataclass(frozen=True)
class Measured:
    """What people did with the areas of one video."""

    participants: int
    """How many."""
    seconds: Mapping[str, Sequence[AoiSecond]]
    """By area, in order."""
    agreement: Mapping[str, AoiAgreement]
    """By area."""


def find_measured(folder: Path, *, video: str, names: Sequence[str]) -> tuple[Measured | None, str]:
    """Looks for a study of a video in a folder.

    Args:
        folder: where the tables may lie.
        video: name of the video's file.
        names: of its areas.

    Returns:
        The study, and a sentence on why one that is there is not taken; None and "" where there is none.
    """
    about = folder / STUDY_NAME
    if not about.is_file():
        return None, ""
    try:
        facts = json.loads(about.read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or facts.get("video") != video:
            return None, ""
        if facts.get("areas") != list(names):
            return None, f"{about} is a study of {video} with other areas: what was measured is not shown"
        found = {name: _rows(folder, name, row) for name, row in (("seconds", AoiSecond), ("agreement", AoiAgreement))}
    except (OSError, ValueError, DatasetError) as error:
        return None, f"what was measured is not shown: {error}"
    if not found["seconds"]:
        return None, ""
    seconds: dict[str, list[AoiSecond]] = {name: [] for name in names}
    for row in found["seconds"]:
        seconds[row.aoi].append(row)
    agreement = {row.aoi: row for row in found["agreement"]}
    return Measured(int(facts.get("participants") or 0), seconds, agreement), ""


def _rows(folder: Path, name: str, row: type[Any]) -> list[Any]:
    path = next((path for ending in ("csv", "parquet") if (path := folder / f"{name}.{ending}").is_file()), None)
    if path is None:
        return []
    return [row(**values) for batch in read_table(path, row) for values in batch.to_pylist()]
