"""A finished table comes in, its rows go out in pieces: .csv, .jsonl or .parquet, read with pyarrow."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from vidsal.errors import DatasetError, EncodeError
from vidsal.tracks import FrameNumbers, column_types

__all__ = ["arrow_schema", "load_pyarrow", "read_table"]


def load_pyarrow(purpose: str) -> Any:
    """The package pyarrow, with its readers and writers.

    Args:
        purpose: what needs it, the beginning of the message.

    Raises:
        EncodeError: it is not installed.
    """
    try:
        for name in ("compute", "csv", "ipc", "json", "parquet"):
            importlib.import_module(f"pyarrow.{name}")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise EncodeError(f"{purpose} needs pyarrow: pip install 'vidsal[parquet]'") from error


def arrow_schema(row: type[Any]) -> Any:
    """The columns of a dataclass as Arrow's schema; those that may be None are nullable.

    Raises:
        EncodeError: as `load_pyarrow`.
        TypeError: as `vidsal.tracks.column_types`.
    """
    return _schema_of(row)  # type: ignore[arg-type]  # every class has a hash


@functools.cache
def _schema_of(row: type[Any]) -> Any:
    arrow = load_pyarrow("a schema")
    kinds = {bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    types, hints = column_types(row), get_type_hints(row)
    return arrow.schema(
        [
            arrow.field(each.name, kinds[types[each.name]], nullable=NoneType in get_args(hints[each.name]))
            for each in fields(row)
        ]
    )


def read_table(path: Path, row: type[Any] = FrameNumbers, *, rows: int = 65536) -> Iterator[Any]:
    """The rows of a table that `vidsal.sinks.TableSink` wrote, in order.

    Args:
        path: .csv, .jsonl or .parquet.
        row: a dataclass, whose columns are read; others are left out.
        rows: most rows a piece; pieces of text files have fewer.

    Yields:
        `pyarrow.RecordBatch`es of `arrow_schema(row)`, none of them empty.

    Raises:
        DatasetError: it cannot be read, lacks a column, or holds a value that the column does not allow.
        EncodeError: as `load_pyarrow`.
    """
    arrow = load_pyarrow("reading a table")
    schema = arrow_schema(row)
    readers = {".csv": _read_csv, ".jsonl": _read_lines, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DatasetError(f"{path} must end in one of {', '.join(readers)}")
    try:
        # Opened here: pyarrow takes no name that is not UTF-8.
        with path.open("rb") as file:
            for batch in reader(file, schema, rows):
                lacking = [
                    field.name
                    for field, column in zip(schema, batch.columns, strict=True)
                    if not field.nullable and column.null_count
                ]
                if lacking:
                    raise DatasetError(f"{path} is no whole table: a row has no {', '.join(lacking)}")
                if batch.num_rows:
                    yield batch.cast(schema)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    except (arrow.ArrowException, ValueError) as error:
        raise DatasetError(f"{path} is no whole table: {' '.join(str(error).split())}") from error


_BLOCK = 2**22
"""Bytes of text that are parsed at once."""


def _read_csv(file: Any, schema: Any, rows: int) -> Iterator[Any]:
    import pyarrow
    from pyarrow import csv

    convert = csv.ConvertOptions(
        column_types=schema,
        include_columns=schema.names,
        null_values=[""],
        true_values=["true"],
        false_values=["false"],
    )
    # Threads would take turns with those of whoever reads many.
    read = csv.ReadOptions(block_size=_BLOCK, use_threads=False)
    head = file.read(_BLOCK + 1)
    if len(head) <= _BLOCK:
        # A small file needs none of what a long one does.
        table = csv.read_csv(pyarrow.BufferReader(head), read_options=read, convert_options=convert)
        yield from table.to_batches(max_chunksize=rows)
        return
    file.seek(0)
    with csv.open_csv(file, read_options=read, convert_options=convert) as reader:
        yield from reader


def _read_lines(file: Any, schema: Any, rows: int) -> Iterator[Any]:
    import pyarrow
    from pyarrow import json

    parse = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    while block := file.read(_BLOCK):
        table = json.read_json(pyarrow.BufferReader(block + file.readline()), parse_options=parse)
        yield from table.select(schema.names).to_batches(max_chunksize=rows)


def _read_parquet(file: Any, schema: Any, rows: int) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as reader:
        if lacking := set(schema.names) - set(reader.schema_arrow.names):
            raise ValueError(f"it has no column {', '.join(sorted(lacking))}")
        for batch in reader.iter_batches(rows, columns=schema.names):
            yield batch.select(schema.names)
