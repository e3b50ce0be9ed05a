"""`SaliencyBatch`es in, a table with one row a frame out: CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import IO, Any

from vidsal.errors import EncodeError
from vidsal.frames import SaliencyBatch
from vidsal.sinks.contract import FileSink
from vidsal.tracks import FrameNumbers, Tracker

__all__ = ["TableSink"]


class TableSink(FileSink):
    """Writes one row a frame; the columns are those of `vidsal.tracks.FrameNumbers`.

    `.csv` and `.jsonl` are written out after every batch, `.parquet` (needs pyarrow) in groups of rows.
    What is not there (a third region) is an empty field, null in .jsonl and .parquet.

    Args:
        target: .csv, .jsonl or .parquet.
        tracker: makes the numbers; None makes a new one.
        overwrite: replaces a target that exists.

    Raises:
        ConfigError: the target's ending is none of these.
        EncodeError: the target exists or cannot be written, or pyarrow is missing.
    """

    suffixes = (".csv", ".jsonl", ".parquet")

    def __init__(self, target: str | Path, tracker: Tracker | None = None, *, overwrite: bool = False) -> None:
        super().__init__(target, overwrite=overwrite)
        self.messages = []
        self._tracker = tracker or Tracker()
        writers: dict[str, type[_CsvTable | _JsonTable | _ParquetTable]]
        writers = {".csv": _CsvTable, ".jsonl": _JsonTable, ".parquet": _ParquetTable}
        self._table = writers[self._target.suffix.lower()](self.partial_path)

    def _write(self, batch: SaliencyBatch) -> None:
        rows = [numbers.as_row() for numbers in self._tracker.update(batch)]
        with self._telling():
            self._table.write(rows)
            self._frames += len(rows)

    def _close(self, *, complete: bool) -> None:
        with self._telling():
            self._table.close()


_Row = dict[str, Any]


class _CsvTable:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._writer: Any = None

    def write(self, rows: list[_Row]) -> None:
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._file, lineterminator="\n")
            self._writer.writerow(FrameNumbers.columns())
        self._writer.writerows([_plain(row[name]) for name in FrameNumbers.columns()] for row in rows)
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    # Nine digits: microseconds after an hour, far below a thousandth of a pixel.
    return format(value, ".9g") if isinstance(value, float) else str(value)


class _JsonTable:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def write(self, rows: list[_Row]) -> None:
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8")
        for row in rows:
            values = {name: row[name] for name in FrameNumbers.columns()}
            self._file.write(json.dumps(values, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class _ParquetTable:
    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise EncodeError(
                "a .parquet table needs pyarrow: pip install 'vidsal[parquet]', or write .csv or .jsonl"
            ) from error
        self._pyarrow: Any = pyarrow
        self._path = path
        self._writer: Any = None
        self._schema: Any = None
        self._rows: list[_Row] = []

    def write(self, rows: list[_Row]) -> None:
        if self._writer is None:
            self._schema = self._pyarrow.schema([(name, self._type(name)) for name in FrameNumbers.columns()])
            self._writer = self._pyarrow.parquet.ParquetWriter(str(self._path), self._schema)
        self._rows += rows
        if len(self._rows) >= _ROWS_IN_A_GROUP:
            self._flush()

    def close(self) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            self._flush(writer)
        finally:
            writer.close()

    def _flush(self, writer: Any = None) -> None:
        rows, self._rows = self._rows, []
        if rows:
            (writer or self._writer).write_table(self._pyarrow.Table.from_pylist(rows, schema=self._schema))

    def _type(self, name: str) -> Any:
        if name == "cut":
            return self._pyarrow.bool_()
        whole = name in ("index", "shot") or name.endswith("_id")
        return self._pyarrow.int64() if whole else self._pyarrow.float64()


_ROWS_IN_A_GROUP = 5000
