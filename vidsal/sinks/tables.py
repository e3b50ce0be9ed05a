"""`SaliencyBatch`es in, a table with one row a frame out: CSV, JSON lines or Parquet."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from vidsal.errors import ConfigError, EncodeError
from vidsal.exports.tables import plain_text
from vidsal.files import replacing
from vidsal.frames import SaliencyBatch
from vidsal.sinks.contract import PROVENANCE_KEY, FileSink
from vidsal.tracks import ColumnSource, Tracker, column_types

__all__ = ["TableSink", "TextTable", "write_rows"]


class TableSink(FileSink):
    """Writes one row a frame; the columns are those of `vidsal.tracks.FrameNumbers`, and any others that are asked for.

    `.csv` and `.jsonl` are written out after every batch, `.parquet` (needs pyarrow) in groups of rows, each column of
    the type its field is annotated with. What is not there (a third region) is an empty field, null in .jsonl and
    .parquet. A .parquet holds the provenance in its metadata, under `vidsal_run`.

    Args:
        target: .csv, .jsonl or .parquet.
        tracker: makes the numbers; None makes a new one.
        further: make more columns, to the right of the tracker's.
        overwrite: replaces a target that exists.

    Raises:
        ConfigError: the target's ending is none of these, or two columns have one name.
        EncodeError: the target exists or cannot be written, or pyarrow is missing.
        TypeError: as `vidsal.tracks.column_types`.
    """

    suffixes = (".csv", ".jsonl", ".parquet")
    stage = "table"

    def __init__(
        self,
        target: str | Path,
        tracker: ColumnSource | None = None,
        *,
        further: Sequence[ColumnSource] = (),
        overwrite: bool = False,
    ) -> None:
        super().__init__(target, overwrite=overwrite)
        self._sources = [tracker or Tracker(), *further]
        self._names = [tuple(column_types(source.row)) for source in self._sources]
        types: dict[str, type] = {}
        for source in self._sources:
            for name, kind in column_types(source.row).items():
                if name in types:
                    raise ConfigError(f"two columns of {target} are called {name}; give one of them another name")
                types[name] = kind
        kind_of_table = _ParquetTable if self._target.suffix.lower() == ".parquet" else TextTable
        self._table = kind_of_table(self.partial_path, types)

    def _write(self, batch: SaliencyBatch) -> None:
        made = [source.update(batch) for source in self._sources]
        rows = [
            [_of_python(getattr(part, name)) for part, names in zip(parts, self._names, strict=True) for name in names]
            for _, *parts in zip(batch.index, *made, strict=True)
        ]
        with self._telling():
            self._table.write(rows, provenance=self.provenance)
            self._frames += len(rows)

    def _close(self, *, complete: bool) -> None:
        with self._telling():
            self._table.close()


_Rows = list[list[Any]]


def _of_python(value: Any) -> Any:
    """NumPy's numbers look like Python's, but are written in other words or not at all."""
    return value.item() if isinstance(value, np.generic) else value


class TextTable:
    """The .csv, which begins with the names of the columns, or the .jsonl; the file is written out after every call.

    Args:
        path: .csv or .jsonl.
        types: names of the columns to the types of their values.
        suffix: .csv or .jsonl; None: the path's.
    """

    def __init__(self, path: Path, types: Mapping[str, type], *, suffix: str | None = None) -> None:
        self._path = path
        self._suffix = (suffix or path.suffix).lower()
        self._names = list(types)
        self._file: IO[str] | None = None

    def write(self, rows: _Rows, *, provenance: str = "") -> None:
        """Adds rows; the first call makes the file, without rows too. The provenance has no place in it."""
        head = [self._names] if self._file is None else []
        self._file = self._file or self._path.open("w", encoding="utf-8", newline="")
        if self._suffix == ".csv":
            texts = [[plain_text(value) for value in row] for row in rows]
            csv.writer(self._file, lineterminator="\n").writerows(head + texts)
        else:
            named = (dict(zip(self._names, row, strict=True)) for row in rows)
            self._file.writelines(json.dumps(values, allow_nan=False) + "\n" for values in named)
        self._file.flush()

    def close(self) -> None:
        """Ends the file."""
        if self._file is not None:
            self._file.close()


class _ParquetTable:
    def __init__(self, path: Path, types: Mapping[str, type]) -> None:
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
        self._file: IO[bytes] | None = None
        kinds = {bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
        self._schema: Any = pyarrow.schema([(name, kinds[kind]) for name, kind in types.items()])
        self._rows: _Rows = []

    def write(self, rows: _Rows, *, provenance: str) -> None:
        if self._writer is None:
            if provenance:
                self._schema = self._schema.with_metadata({PROVENANCE_KEY: provenance})
            # Opened here: pyarrow takes no name that is not UTF-8.
            self._file = self._path.open("wb")
            self._writer = self._pyarrow.parquet.ParquetWriter(self._file, self._schema)
        self._rows += rows
        if len(self._rows) >= _ROWS_IN_A_GROUP:
            self._flush(self._writer)

    def close(self) -> None:
        with contextlib.ExitStack() as closing:
            if self._file is not None:
                closing.enter_context(self._file)
            if self._writer is not None:
                writer, self._writer = self._writer, None
                closing.callback(writer.close)
                self._flush(writer)

    def _flush(self, writer: Any) -> None:
        rows, self._rows = self._rows, []
        if rows:
            columns = [list(values) for values in zip(*rows, strict=True)]
            writer.write_table(self._pyarrow.table(columns, schema=self._schema))


_ROWS_IN_A_GROUP = 5000


def write_rows(
    path: Path, types: Mapping[str, type], rows: Sequence[Sequence[Any]], *, make_folder: bool = False
) -> None:
    """Writes a table whose rows are all known.

    Args:
        path: .csv, .jsonl or .parquet; a file that is there is replaced.
        types: names of the columns to the types of their values.
        rows: values in the order of the names; None where there is none.
        make_folder: makes the folder where it is missing.

    Raises:
        EncodeError: it cannot be written, or pyarrow is missing.
    """
    suffix = path.suffix.lower()
    with replacing(path, make_folder=make_folder) as partial:
        table = _ParquetTable(partial, types) if suffix == ".parquet" else TextTable(partial, types, suffix=suffix)
        with contextlib.closing(table):
            table.write([list(row) for row in rows], provenance="")
