"""`SaliencyBatch`es in, the predicted share of each area of interest out: a row a frame and area, or a row an area."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path

from vidsal.aois import AoiFrame, AoiSum, AoiSums, AoiTracker
from vidsal.exports.contract import Footage
from vidsal.frames import SaliencyBatch
from vidsal.sinks.contract import FileSink
from vidsal.sinks.tables import TextTable
from vidsal.tracks import ColumnSource, Tracker, column_types

__all__ = ["AoiSink", "AoiSumSink", "SharedAois"]


class SharedAois:
    """What several sinks ask of the same areas, measured once a batch.

    Args:
        areas: measures them.
        tracker: makes the numbers of the frames, of `vidsal.tracks.FrameNumbers`; None makes a new one.
        messages: sentences for a person about what was assumed of them.
        footage: what is known of the source; None: nothing is.
    """

    def __init__(
        self,
        areas: AoiTracker,
        tracker: ColumnSource | None = None,
        *,
        messages: Sequence[str] = (),
        footage: Footage | None = None,
    ) -> None:
        self.messages = tuple(messages)
        self.footage = footage
        self.areas = areas
        self._tracker = tracker or Tracker()
        self._rows: list[list[AoiFrame]] = []
        self._batch: weakref.ref[SaliencyBatch] | None = None

    def update(self, batch: SaliencyBatch) -> list[list[AoiFrame]]:
        """For each frame a row for each area."""
        if self._batch is None or self._batch() is not batch:
            self._rows = self.areas.update(batch, self._tracker.update(batch))
            self._batch = weakref.ref(batch)
        return self._rows


class AoiSink(FileSink):
    """Writes one row a frame and area; the columns are those of `vidsal.aois.AoiFrame`.

    Args:
        target: .csv.
        aois: what measures.
        overwrite: replaces a target that exists.

    Raises:
        ConfigError: the target's ending is another one.
        EncodeError: the target exists or cannot be written.
    """

    suffixes = (".csv",)
    stage = "aois"

    def __init__(self, target: str | Path, aois: SharedAois, *, overwrite: bool = False) -> None:
        super().__init__(target, overwrite=overwrite)
        self._aois = aois
        self.messages += aois.messages
        self._types = column_types(AoiFrame)
        self._table = TextTable(self.partial_path, self._types)

    def _write(self, batch: SaliencyBatch) -> None:
        made = self._aois.update(batch)
        with self._telling():
            self._table.write([[getattr(row, name) for name in self._types] for rows in made for row in rows])
        self._frames += len(batch)

    def _close(self, *, complete: bool) -> None:
        with self._telling():
            self._table.close()


class AoiSumSink(FileSink):
    """Writes one row an area at the end; the columns are those of `vidsal.aois.AoiSum`. As `AoiSink` otherwise."""

    suffixes = (".csv",)
    stage = "aois-summary"

    def __init__(self, target: str | Path, aois: SharedAois, *, overwrite: bool = False) -> None:
        super().__init__(target, overwrite=overwrite)
        self._aois = aois
        self._sums = AoiSums(aois.areas.aois.names, footage=aois.footage)
        self._types = column_types(AoiSum)
        self._table = TextTable(self.partial_path, self._types)

    def _write(self, batch: SaliencyBatch) -> None:
        self._sums.update(self._aois.update(batch))
        self._frames += len(batch)

    def _close(self, *, complete: bool) -> None:
        with self._telling():
            try:
                if self._frames:
                    self._table.write([[getattr(row, name) for name in self._types] for row in self._sums.flush()])
            finally:
                self._table.close()
