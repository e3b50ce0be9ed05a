"""`SaliencyBatch`es in, one export out: the file of another program, see `vidsal.exports`."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from vidsal.exports.contract import Footage, columns_of
from vidsal.exports.options import EXPORTS, ExportName
from vidsal.frames import SaliencyBatch
from vidsal.sinks.contract import FileSink
from vidsal.tracks import ColumnSource, Tracker

__all__ = ["ExportSink"]


class ExportSink(FileSink):
    """Feeds an export while frames flow, and writes what it makes as soon as it does.

    Where a run ends early, the partial file is about the frames until then.

    Args:
        target: its ending is that of the export's files.
        kind: name of the export.
        footage: the source.
        tracker: makes the numbers of the frames, of `vidsal.tracks.FrameNumbers`; None makes a new one.
        overwrite: replaces a target that exists.

    Raises:
        ConfigError: the target's ending is another one.
        EncodeError: the target exists or cannot be written, or a library that the export needs is missing.
    """

    def __init__(
        self,
        target: str | Path,
        kind: ExportName,
        footage: Footage,
        tracker: ColumnSource | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        self.suffixes = (EXPORTS[kind].suffix,)
        self.stage = kind
        super().__init__(target, overwrite=overwrite, source=footage.path)
        self._export = EXPORTS[kind].load()(footage)
        self._tracker = tracker or Tracker()
        self._file: BinaryIO | None = None

    def _write(self, batch: SaliencyBatch) -> None:
        made = self._export.update(columns_of(self._tracker.update(batch), self._export.sources))
        with self._telling():
            self._put(made)
        self._frames += len(batch)

    def _put(self, made: bytes) -> None:
        self._file = self._file or self.partial_path.open("wb")
        self._file.write(made)
        self._file.flush()

    def _close(self, *, complete: bool) -> None:
        file = self._file
        if file is None:
            return
        try:
            with self._telling():
                if not file.closed and not self._broken:
                    self._put(self._export.flush())
                    self.messages += self._export.messages
        finally:
            file.close()
            self._file = None
