"""`SaliencyBatch`es and areas in, the share of predicted attention in each area out: by frame, and in sum.

A *predicted share* is what a model expects of many viewers; it is not dwell, which is recorded time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidsal.aois.areas import Aois, Moment, load_shapely
from vidsal.aois.coverage import Coverage
from vidsal.exports.contract import Footage
from vidsal.frames import SaliencyBatch
from vidsal.tracks import FrameNumbers, column_field, column_meanings

__all__ = ["AOI_COLUMNS", "AOI_SUMMARY_COLUMNS", "AoiFrame", "AoiSum", "AoiSums", "AoiTracker"]


@dataclass(frozen=True, kw_only=True)
class AoiFrame:
    """One area in one frame: one row of the table of areas."""

    index: int = column_field("frames", "Ordinal of the frame, as in the table.")
    """0 or more."""
    pts_seconds: float = column_field("s", "Presentation time; the first frame of the source is 0.")
    """0 or more but for a source that steps back in time."""
    shot: int = column_field("shots", "Ordinal of the shot, from 0.")
    """0 or more."""
    aoi: str = column_field("", "Name of the area.")
    """Not empty."""
    predicted_share: float = column_field("share", "Integral of the predicted density over the area.")
    """0 to 1."""
    area_share: float = column_field(
        "share", "How much of the picture the area is: the share that a flat map would give it."
    )
    """0 to 1; 0 where it is not there."""
    holds_peak: bool = column_field("", "Whether the map's highest place lies in it.")
    """False where it is not there."""


@dataclass(frozen=True, kw_only=True)
class AoiSum:
    """One area over the whole source: one row of the summary of areas."""

    aoi: str = column_field("", "Name of the area.")
    """Not empty."""
    present_seconds: float = column_field("s", "How long it is there.")
    """0 or more."""
    predicted_share: float | None = column_field("share", "Mean of the predicted share over the time that it is there.")
    """0 to 1; None where it is never there."""
    area_share: float | None = column_field("share", "Mean of its share of the picture over that time.")
    """0 to 1; None where it is never there."""
    peak_seconds: float = column_field("s", "How long the map's highest place lies in it.")
    """0 to present_seconds."""
    first_peak_seconds: float | None = column_field("s", "When the map's highest place lies in it for the first time.")
    """None where it never does."""
    order: int | None = column_field("", "Rank of that time among all areas, from 1; equal times share a rank.")
    """1 or more, or None."""
    longest_absence_seconds: float = column_field(
        "s", "Longest time without a break in which it is there and the map's highest place lies elsewhere."
    )
    """0 to present_seconds."""


AOI_COLUMNS = column_meanings(AoiFrame)
"""Unit and meaning of every column of the table of areas."""
AOI_SUMMARY_COLUMNS = column_meanings(AoiSum)
"""Unit and meaning of every column of the summary."""


class AoiTracker:
    """Measures the areas of each frame.

    Args:
        aois: the areas.
        before: frames of the source before the first one that is measured, for areas that go by their numbers.
        rate: frames a second, by which they are numbered where `before` is not known; None: by `before`.
    """

    def __init__(self, aois: Aois, *, before: int = 0, rate: float | None = None) -> None:
        self.aois = aois
        self._before = before
        self._rate = rate
        self._coverage: Coverage | None = None

    def update(self, batch: SaliencyBatch, numbers: Sequence[FrameNumbers]) -> list[list[AoiFrame]]:
        """Measures the next frames.

        Args:
            batch: the frames.
            numbers: what `vidsal.tracks.Tracker` says of them, for the peak.

        Returns:
            For each frame a row for each area, in the areas' order.
        """
        shapely = load_shapely()
        density: npt.NDArray[np.float64] = np.exp(batch.log_density.detach().cpu().numpy().astype(np.float64))
        if self._coverage is None:
            self._coverage = Coverage(height=batch.height, width=batch.width, cells=density.shape[1:])
        made = []
        for number, (row, cells) in enumerate(zip(numbers, density, strict=True)):
            seconds = row.pts_seconds
            frame = float(self._before + row.index) if self._rate is None else round(seconds * self._rate)
            shapes = self.aois.shapes(Moment(seconds=seconds, frame=frame, shot=int(batch.shot[number])))
            # The table counts from the centre of the first pixel, areas from the picture's edge.
            peak = shapely.points(row.peak_x + 0.5, row.peak_y + 0.5)
            rows = []
            for name in self.aois.names:
                shape = shapes.get(name)
                share = area = 0.0
                if shape is not None:
                    shares = self._coverage.shares(shape)
                    share, area = float((shares * cells).sum()), float(shares.mean())
                rows.append(
                    AoiFrame(
                        index=row.index,
                        pts_seconds=seconds,
                        shot=row.shot,
                        aoi=name,
                        predicted_share=min(max(share, 0.0), 1.0),
                        area_share=area,
                        holds_peak=shape is not None and bool(shapely.intersects(shape, peak)),
                    )
                )
            made.append(rows)
        return made


class AoiSums:
    """Adds up the frames of each area; memory does not grow with their number.

    A frame counts for as long as it is shown: until the next one; the last as `vidsal.shots.last_frame_lasts` says.

    Args:
        names: of the areas.
        footage: what is known of the source; None: nothing is.
    """

    def __init__(self, names: Sequence[str], *, footage: Footage | None = None) -> None:
        self._footage = footage or Footage(name="")
        self._sums = {name: _Sum() for name in names}
        self._held: list[AoiFrame] | None = None
        self._first = 0.0
        self._steps = 0

    def update(self, frames: Sequence[Sequence[AoiFrame]]) -> None:
        """Takes the next frames, each a row for each area."""
        for rows in frames:
            if self._held is None:
                self._first = rows[0].pts_seconds
            else:
                self._add(self._held, max(rows[0].pts_seconds - self._held[0].pts_seconds, 0.0))
                self._steps += 1
            self._held = list(rows)

    def flush(self) -> list[AoiSum]:
        """Ends the source: a row for each area, in order."""
        if self._held is not None:
            last = self._held[0].pts_seconds
            self._add(self._held, self._footage.last_frame_lasts(self._first, last, steps=self._steps))
            self._held = None
        firsts = sorted({one.first for one in self._sums.values() if one.first is not None})
        return [
            AoiSum(
                aoi=name,
                present_seconds=one.present,
                predicted_share=one.share / one.weight if one.weight else None,
                area_share=one.area / one.weight if one.weight else None,
                peak_seconds=one.peak,
                first_peak_seconds=one.first,
                order=None if one.first is None else 1 + firsts.index(one.first),
                longest_absence_seconds=one.longest,
            )
            for name, one in self._sums.items()
        ]

    def _add(self, rows: Sequence[AoiFrame], duration: float) -> None:
        for row in rows:
            self._sums[row.aoi].add(row, duration)


@dataclass
class _Sum:
    present: float = 0.0
    weight: float = 0.0
    share: float = 0.0
    area: float = 0.0
    peak: float = 0.0
    first: float | None = None
    longest: float = 0.0
    absent: float = 0.0

    def add(self, row: AoiFrame, duration: float) -> None:
        if row.area_share <= 0:
            self.absent = 0.0
            return
        # A single picture lasts no time, and counts all the same.
        weight = duration if duration > 0 else math.ulp(1.0)
        self.present += duration
        self.weight += weight
        self.share += weight * row.predicted_share
        self.area += weight * row.area_share
        if row.holds_peak:
            self.peak += duration
            self.first = row.pts_seconds if self.first is None else self.first
            self.absent = 0.0
        else:
            self.absent += duration
            self.longest = max(self.longest, self.absent)
