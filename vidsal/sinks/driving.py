"""`SaliencyBatch`es in, the report of a drive out: predicted shares, sums, vanishing points, moments, and areas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsal.aois import AoiSums
from vidsal.aois.write import aois_as_json
from vidsal.driving.moments import Candidate, CandidateFinder
from vidsal.driving.report import DrivingSum, about_areas, driving_sums
from vidsal.driving.vanishing import VanishingPoint
from vidsal.frames import SaliencyBatch
from vidsal.sinks.aois import AoiSink, SharedAois
from vidsal.sinks.contract import FileSink
from vidsal.sinks.tables import TextTable
from vidsal.tracks import ColumnSource, column_types

__all__ = ["Drive", "DrivingSink", "driving_sink"]


@dataclass(frozen=True)
class Drive:
    """What the sinks of a drive share."""

    aois: SharedAois
    """Measures its areas."""
    tracker: ColumnSource
    """Makes the numbers of the frames, of `vidsal.tracks.FrameNumbers`."""
    points: Sequence[VanishingPoint]
    """One for each shot."""
    half_width: float
    """As `DrivingOptions.road_half_width`."""


class DrivingSink(AoiSink):
    """Writes one row a frame and area of a drive; the columns are those of `vidsal.aois.AoiFrame`. As `AoiSink`."""

    stage = "driving"


class _AtTheEnd(FileSink):
    """Writes its file when all frames have come."""

    def __init__(self, target: str | Path, drive: Drive, *, overwrite: bool = False) -> None:
        super().__init__(target, overwrite=overwrite)
        self._drive = drive

    def _write(self, batch: SaliencyBatch) -> None:
        self._take(batch)
        self._frames += len(batch)

    def _close(self, *, complete: bool) -> None:
        with self._telling():
            if self._frames:
                self._put()

    def _take(self, batch: SaliencyBatch) -> None:
        """Looks at the next frames."""

    def _put(self) -> None:
        """Writes the file."""
        raise NotImplementedError

    def _put_rows(self, kind: type[Any], rows: Sequence[Any]) -> None:
        types = column_types(kind)
        table = TextTable(self.partial_path, types)
        try:
            table.write([[getattr(row, name) for name in types] for row in rows])
        finally:
            table.close()


class _DrivingSums(_AtTheEnd):
    suffixes = (".csv",)
    stage = "driving-summary"

    def __init__(self, target: str | Path, drive: Drive, *, overwrite: bool = False) -> None:
        super().__init__(target, drive, overwrite=overwrite)
        self._sums = AoiSums(drive.aois.areas.aois.names, footage=drive.aois.footage)

    def _take(self, batch: SaliencyBatch) -> None:
        self._sums.update(self._drive.aois.update(batch))

    def _put(self) -> None:
        self._put_rows(DrivingSum, driving_sums(self._sums.flush(), self._drive.points))


class _DrivingMoments(_AtTheEnd):
    suffixes = (".csv",)
    stage = "driving-moments"

    def __init__(self, target: str | Path, drive: Drive, *, overwrite: bool = False) -> None:
        super().__init__(target, drive, overwrite=overwrite)
        self._finder = CandidateFinder()

    def _take(self, batch: SaliencyBatch) -> None:
        self._finder.update(batch, self._drive.tracker.update(batch))

    def _put(self) -> None:
        self._put_rows(Candidate, self._finder.flush())


class _DrivingPoints(_AtTheEnd):
    suffixes = (".csv",)
    stage = "driving-points"

    def _put(self) -> None:
        self._put_rows(VanishingPoint, self._drive.points)


class _DrivingAreas(_AtTheEnd):
    suffixes = (".json",)
    stage = "driving-areas"

    def _take(self, batch: SaliencyBatch) -> None:
        self._size = batch.height, batch.width

    def _put(self) -> None:
        height, width = self._size
        about = about_areas(self._drive.points, half_width=self._drive.half_width)
        text = aois_as_json(self._drive.aois.areas.aois, height=height, width=width, about=about)
        self.partial_path.write_text(text + "\n", encoding="utf-8")


_AT_THE_END = (_DrivingSums, _DrivingMoments, _DrivingPoints, _DrivingAreas)


def driving_sink(stage: str, target: Path, drive: Drive, *, overwrite: bool) -> FileSink:
    """The sink of a stage of `vidsal.driving.options.DRIVING_FILES`.

    Raises:
        EncodeError: the target exists or cannot be written.
    """
    if stage == DrivingSink.stage:
        return DrivingSink(target, drive.aois, overwrite=overwrite)
    return next(sink for sink in _AT_THE_END if sink.stage == stage)(target, drive, overwrite=overwrite)
