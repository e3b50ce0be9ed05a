"""What participants did in each viewing in, the same over all, by participant, by trial and by condition out."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidsal.gaze.measures import AoiVisits
from vidsal.tracks import column_field

__all__ = ["ALL", "AoiGroup", "group_visits"]

_Floats = npt.NDArray[np.float64]

ALL = "all"
"""What the group of all viewings is by."""


@dataclass(frozen=True, kw_only=True)
class AoiGroup:
    """One area in one group of viewings."""

    by: str = column_field("", "What the viewings are grouped by: all, participant, trial, or a column of the trials.")
    """A name."""
    value: str = column_field("", "Which group: a participant, a trial, a condition; empty for all.")
    """Any text."""
    aoi: str = column_field("", "Name of the area.")
    """Not empty."""
    participants: int = column_field("", "How many have gaze while the area was there.")
    """1 or more."""
    viewings: int = column_field("", "How many viewings they have.")
    """1 or more."""
    dwell_share: float = column_field(
        "share", "Mean over participants of the mean dwell share of their viewings; of one, the mean over viewings."
    )
    """0 to 1."""
    low: float | None = column_field(
        "share", "Lower end of its 95 % interval over participants; of one participant, over viewings."
    )
    """0 to dwell_share; None with fewer than two."""
    high: float | None = column_field("share", "Its upper end.")
    """dwell_share to 1; None with fewer than two."""
    looked_share: float = column_field("share", "Share of the viewings in which the area was looked at.")
    """0 to 1."""
    first_seconds: float | None = column_field("s", "Median time to the first look, over the viewings that have one.")
    """0 or more, or None."""
    mean_visits: float = column_field("", "Mean number of visits of a viewing.")
    """0 or more."""


def group_visits(
    visits: Sequence[AoiVisits], further: Mapping[str, Mapping[str, str]], *, draws: int = 2000
) -> list[AoiGroup]:
    """Adds up viewings.

    Participants count alike, whatever the number of their viewings. Intervals are percentiles of resamples of the
    participants (bootstrap), or of the viewings where the group is one participant; they say how far the mean would go
    with other people (or clips) of the same kind.

    Args:
        visits: a row a participant, trial and area.
        further: columns of the list of trials, by trial; empty without one.
        draws: resamples.
    """
    areas = list(dict.fromkeys(row.aoi for row in visits))
    names = list(next(iter(further.values()), {}))
    made = []
    for by in (ALL, "participant", "trial", *names):

        def value_of(row: AoiVisits, by: str = by) -> str:
            if by == ALL:
                return ""
            return str(getattr(row, by)) if by in ("participant", "trial") else further[row.trial][by]

        for value in dict.fromkeys(map(value_of, visits)):
            for aoi in areas:
                rows = [row for row in visits if row.aoi == aoi and value_of(row) == value]
                if (group := _group(by, value, aoi, rows, draws)) is not None:
                    made.append(group)
    return made


def _group(by: str, value: str, aoi: str, rows: Sequence[AoiVisits], draws: int) -> AoiGroup | None:
    rows = [row for row in rows if row.dwell_share is not None]
    if not rows:
        return None
    people: dict[str, list[float]] = {}
    for row in rows:
        people.setdefault(row.participant, []).append(row.dwell_share or 0.0)
    units = next(iter(people.values())) if len(people) == 1 else [float(np.mean(shares)) for shares in people.values()]
    # The same whatever else is in the table.
    seed = zlib.crc32("\0".join((by, value, aoi)).encode())
    low, high = _interval(np.array(units), draws, seed)
    firsts = [row.first_seconds for row in rows if row.first_seconds is not None]
    return AoiGroup(
        by=by,
        value=value,
        aoi=aoi,
        participants=len(people),
        viewings=len(rows),
        dwell_share=float(np.mean(units)),
        low=low,
        high=high,
        looked_share=float(np.mean([row.visits > 0 for row in rows])),
        first_seconds=float(np.median(firsts)) if firsts else None,
        mean_visits=float(np.mean([row.visits for row in rows])),
    )


def _interval(units: _Floats, draws: int, seed: int) -> tuple[float | None, float | None]:
    if len(units) < 2:
        return None, None
    drawn = np.random.default_rng(seed).integers(len(units), size=(draws, len(units)))
    low, high = np.quantile(units[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)
