"""`SaliencyBatch`es in, one export out: the file of another program, see `vidsal.exports`."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from vidsal.exports.contract import Footage, columns_of, whole_path
from vidsal.exports.options import EXPORT_FILES
from vidsal.frames import SaliencyBatch
from vidsal.sinks.contract import FileSink
from vidsal.tracks import ColumnSource, Tracker

__all__ = ["ExportSink"]


class ExportSink(FileSink):
    """Feeds an export while frames flow, and writes what it makes as soon as it does.

    Where a run ends early, the partial file is about the frames until then.

    Args:
        target: its ending is that of the export's files.
        kind: name of the export, or of a file that belongs to one: of `vidsal.exports.options.EXPORT_FILES`.
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
        kind: str,
        footage: Footage,
        tracker: ColumnSource | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        self.suffixes = (EXPORT_FILES[kind].suffix,)
        self.stage = kind
        super().__init__(target, overwrite=overwrite, source=footage.path)
        self._export = EXPORT_FILES[kind].load()(footage)
        self._export.target = whole_path(self.path)
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
                    for piece in self._export.pieces():
                        self._put(piece)
                    self.messages += self._export.messages
        finally:
            file.close()
            self._file = None
