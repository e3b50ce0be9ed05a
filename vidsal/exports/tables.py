"""A finished table comes in, its rows go out in pieces: .csv, .jsonl or .parquet, read with pyarrow."""

from __future__ import annotations

import csv
import functools
import importlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

from vidsal.errors import DatasetError, EncodeError
from vidsal.exports.contract import Columns, nine_digits
from vidsal.tracks import BOX_COLUMNS, FrameNumbers, column_types

__all__ = ["arrow_schema", "load_pyarrow", "plain_text", "read_columns", "read_table", "values_of"]


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


def read_table(
    path: Path,
    row: type[Any] = FrameNumbers,
    *,
    names: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    rows: int = 65536,
) -> Iterator[Any]:
    """The rows of a table that `vidsal.sinks.TableSink` wrote, in order.

    Args:
        path: .csv, .jsonl or .parquet.
        row: a dataclass, whose columns are read; others are left out.
        names: those of them that are read, and must be there; None: all, of which `BOX_COLUMNS` are null where a table
            of an earlier version lacks them.
        optional: further columns that are null where a table lacks them, if all are read.
        rows: most rows a piece; pieces of text files have fewer.

    Yields:
        `pyarrow.RecordBatch`es of `arrow_schema(row)`, or of these columns of it, none of them empty.

    Raises:
        DatasetError: it cannot be read, lacks a column, or holds a value that the column does not allow.
        EncodeError: as `load_pyarrow`.
    """
    arrow = load_pyarrow("reading a table")
    schema = arrow_schema(row)
    needed = set(names or schema.names) - set(() if names else (*BOX_COLUMNS, *optional))
    if names is not None:
        schema = arrow.schema([schema.field(name) for name in names])
    readers = {".csv": _read_csv, ".jsonl": _read_lines, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DatasetError(f"{path} must end in one of {', '.join(readers)}")
    try:
        # Opened here: pyarrow takes no name that is not UTF-8.
        with path.open("rb") as file:
            for batch in reader(file, schema, needed, rows):
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


def read_columns(path: Path, names: Sequence[str]) -> Iterator[Columns]:
    """The rows of a finished table as columns that exports take, the same as `columns_of` gave while it was written.

    Args:
        path: .csv, .jsonl or .parquet.
        names: columns of `vidsal.tracks.FrameNumbers`.

    Raises:
        DatasetError: as `read_table`; or the rows do not come in the order of their index.
        EncodeError: as `load_pyarrow`.
    """
    last = -1
    for batch in read_table(path, names=list(dict.fromkeys(["index", *names]))):
        columns = {name: values_of(batch.column(name)) for name in batch.schema.names}
        steps = np.diff(columns["index"], prepend=last)
        if not (steps > 0).all():
            raise DatasetError(f"{path} is no whole table: frame {columns['index'][steps <= 0][0]} comes out of order")
        last = int(columns["index"][-1])
        yield columns


def values_of(column: Any) -> npt.NDArray[Any]:
    """A column of pyarrow's as exports take it."""
    kind = str(column.type)
    if kind == "string":
        return np.array(column.to_pylist(), object)
    values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    is_float = kind == "double" or column.null_count
    return nine_digits(values) if is_float else values


def plain_text(value: Any) -> str:
    """A value as a .csv has it: nothing for None, true or false, nine digits of a number with a fraction."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    # Nine digits: microseconds after an hour, far below a thousandth of a pixel.
    return format(value, ".9g") if isinstance(value, float) else str(value)


_BLOCK = 2**22
"""Bytes of text that are parsed at once."""


def _read_csv(file: Any, schema: Any, needed: set[str], rows: int) -> Iterator[Any]:
    import pyarrow
    from pyarrow import csv as arrow_csv

    # pyarrow, which takes the columns of boxes for optional, would take any other one for so.
    try:
        names = next(csv.reader([file.readline().decode("utf-8-sig", errors="replace")]))
    except csv.Error as error:
        raise ValueError(error) from error
    _check_columns(needed, names)
    file.seek(0)
    convert = arrow_csv.ConvertOptions(
        column_types=schema,
        include_columns=schema.names,
        include_missing_columns=True,
        null_values=[""],
        true_values=["true"],
        false_values=["false"],
    )
    # Threads would take turns with those of whoever reads many.
    read = arrow_csv.ReadOptions(block_size=_BLOCK, use_threads=False)
    head = file.read(_BLOCK + 1)
    if len(head) <= _BLOCK:
        # A small file needs none of what a long one does.
        table = arrow_csv.read_csv(pyarrow.BufferReader(head), read_options=read, convert_options=convert)
        yield from table.to_batches(max_chunksize=rows)
        return
    file.seek(0)
    with arrow_csv.open_csv(file, read_options=read, convert_options=convert) as reader:
        yield from reader


def _read_lines(file: Any, schema: Any, needed: set[str], rows: int) -> Iterator[Any]:
    import pyarrow
    from pyarrow import json as arrow_json

    if first := file.readline():
        values = json.loads(first)
        _check_columns(needed, values if isinstance(values, dict) else {})
        file.seek(0)
    parse = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    while block := file.read(_BLOCK):
        table = arrow_json.read_json(pyarrow.BufferReader(block + file.readline()), parse_options=parse)
        yield from table.select(schema.names).to_batches(max_chunksize=rows)


def _read_parquet(file: Any, schema: Any, needed: set[str], rows: int) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    with parquet.ParquetFile(file) as reader:
        there = set(reader.schema_arrow.names)
        _check_columns(needed, there)
        for batch in reader.iter_batches(rows, columns=[name for name in schema.names if name in there]):
            columns = [
                batch.column(field.name) if field.name in there else pyarrow.nulls(batch.num_rows, field.type)
                for field in schema
            ]
            yield pyarrow.record_batch(columns, schema.names)


def _check_columns(needed: set[str], there: Iterable[str]) -> None:
    lacking = needed - {*there}
    if lacking and lacking <= {*BOX_COLUMNS}:
        raise ValueError("an earlier version wrote it, without the boxes of regions: run the video again")
    if lacking:
        raise ValueError(f"it has no column {', '.join(sorted(lacking))}")
