"""`SaliencyBatch`es in, the shot list out: a .csv with one row a shot."""

from __future__ import annotations

from pathlib import Path

from vidsal.exports.shots import SHOT_COLUMNS, ShotList, ShotNumbers
from vidsal.frames import SaliencyBatch
from vidsal.sinks.contract import FileSink
from vidsal.sinks.tables import TextTable
from vidsal.tracks import ColumnSource, Tracker, column_types

__all__ = ["ShotsSink"]


class ShotsSink(FileSink):
    """Writes one row a shot; the columns are those of `vidsal.exports.shots.ShotNumbers`.

    A row is written as soon as its shot has ended. Where a run ends early, the last row of the partial file is that of
    the frames until then.

    Args:
        target: .csv.
        tracker: makes the numbers of the frames, of `vidsal.tracks.FrameNumbers`; None makes a new one.
        overwrite: replaces a target that exists.

    Raises:
        ConfigError: the target's ending is another one.
        EncodeError: the target exists or cannot be written.
    """

    suffixes = (".csv",)
    stage = "shots"

    def __init__(self, target: str | Path, tracker: ColumnSource | None = None, *, overwrite: bool = False) -> None:
        super().__init__(target, overwrite=overwrite)
        self._tracker = tracker or Tracker()
        self._shots: ShotList | None = None
        self._table = TextTable(self.partial_path, column_types(ShotNumbers))

    def _write(self, batch: SaliencyBatch) -> None:
        if self._shots is None:
            self._shots = ShotList(height=batch.height, width=batch.width)
        self._put(self._shots.update(self._tracker.update(batch)))
        self._frames += len(batch)

    def _close(self, *, complete: bool) -> None:
        with self._telling():
            try:
                if self._shots is not None:
                    self._put(self._shots.flush())
            finally:
                self._table.close()

    def _put(self, shots: list[ShotNumbers]) -> None:
        with self._telling():
            self._table.write([[getattr(shot, name) for name in SHOT_COLUMNS] for shot in shots])
