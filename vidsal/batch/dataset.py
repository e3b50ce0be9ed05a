"""The finished inputs of a batch come in, one data set of all their frames and shots goes out, and is kept up to date.

    frames/input_date=2026-11-20/part-000001.parquet    rows of the tables
    shots/input_date=2026-11-20/part-000001.parquet     the shots of the same inputs
    _index.sqlite                                       which input lies in which part, and what it was made of

A part is a pair of files, whole under their names or not there. A new one grows beside its name. Then the index is
told what it holds, and then it gets its name; where an update was killed in between, the next one does that. So a
killed update leaves what was there, and the parts that it had finished. An input that is replaced is taken out before
it is put in again, so that it is never there twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vidsal.errors import DatasetError, EncodeError
from vidsal.exports.shots import SHOT_SOURCES, ShotList, ShotNumbers, shot_list
from vidsal.exports.tables import arrow_schema, load_pyarrow, read_table, values_of
from vidsal.files import claim, clear, fresh, put_all_in_place, release, writing
from vidsal.pipe.record import ResultRecord, RunRecord, read_records
from vidsal.sinks.timecodes import TIMECODE_COLUMNS
from vidsal.tracks import FrameNumbers

__all__ = ["DatasetFailure", "DatasetProgress", "DatasetReport", "Finished", "write_dataset"]

_FORMAT = 1
_ROWS_IN_A_PART = 1_000_000
"""Frames after which a part takes no further input; one of less than half of them takes in what comes later."""
_ROWS_IN_A_GROUP = 131_072
_PIECES = 256
"""Pieces of rows that are held before they become one: tiny ones take more memory than their rows."""
_ROWS_IN_MEMORY = 262_144
"""Of one input; the rows of a longer one wait on the disk until all of them are known to be good."""
_FAILURES = 1000
_NO_DATE = "__HIVE_DEFAULT_PARTITION__"
"""What those who read hive partitions take for null."""
_PART = re.compile(r"part-\d{6,}\.parquet(\.\d+\.partial)?")


@dataclass(frozen=True)
class Finished:
    """An input whose results are there."""

    input: str
    """Its path or address as it was given, without secrets."""
    place: str
    """Where its results lie: the beginning of their names, below the folder of the batch, such as "mon/a"."""
    table: Path | None
    """Its table; None where none was written."""
    record: Path
    """Its record, NAME.vidsal.json."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """What else is known of it, by name."""


@dataclass(frozen=True)
class DatasetProgress:
    """How far an update got."""

    inputs: int
    """Inputs whose rows have been written, or that failed."""
    total: int
    """Inputs whose rows have to be written."""
    frames: int
    """Frames written."""


@dataclass(frozen=True)
class DatasetFailure:
    """An input that is not in the data set."""

    input: str
    """As in `Finished`."""
    reason: str
    """One sentence."""


@dataclass(frozen=True)
class DatasetReport:
    """What an update did."""

    inputs: int
    """Inputs in the data set now."""
    frames: int
    """Frames in it."""
    shots: int
    """Shots in it."""
    written: int
    """Inputs whose rows were written, because they are new or have changed."""
    removed: int
    """Inputs that were in it, and are no more."""
    parts_written: int
    """Parts that were made or made again: a file of frames and one of shots each."""
    failed: int
    """Inputs that could not be taken in."""
    failures: tuple[DatasetFailure, ...]
    """The first 1000 of them."""
    stopped: bool
    """Whether `should_stop` ended it early: then the inputs that were left are missing."""


def write_dataset(
    folder: Path,
    finished: Iterable[Finished],
    *,
    on_progress: Callable[[DatasetProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> DatasetReport:
    """Make a data set of these inputs, or bring it up to date with them.

    An input that is in the data set with the same table, record and tags is left as it is (sizes and times of the files
    tell); one that has changed is replaced, and one that is not among them any more is removed. Only the parts that are
    concerned are written. Memory grows neither with the number of inputs nor with their length. Both kinds of rows have
    the columns `input`, `place`, `input_modified`, `tags` (JSON), `vidsal`, `model`, `model_sha256`, `precision` and
    `options` (JSON) besides their numbers, and lie in folders by the day on which the input was last changed, in UTC
    (`input_date`, null where it is no file). The shots are made from the table.

    Args:
        folder: where the data set lies; it is made where it is missing.
        finished: all inputs that are to be in it; gone through once.
        on_progress: called after every input that is written or fails.
        should_stop: asked after every input; True ends the update with what it has.

    Returns:
        What was done. Inputs whose table is missing, damaged or not the one that the record tells of fail alone.

    Raises:
        EncodeError: pyarrow is missing, the data set cannot be written, or another process is writing it.
        DatasetError: a part of it cannot be read any more.
    """
    load_pyarrow("the data set")
    index = folder / "_index.sqlite"
    with writing(index):
        folder.mkdir(parents=True, exist_ok=True)
        lock = claim(index)
    if lock is None:
        raise EncodeError(f"cannot write {folder}: another process is writing this data set; wait until it has ended")
    try:
        with contextlib.closing(_Update(folder, _Index(index), on_progress, should_stop)) as update:
            update.repair()
            update.plan(finished)
            update.write()
            return update.report()
    finally:
        release(index, lock)


# What goes into it.


@dataclass(frozen=True, kw_only=True)
class _FrameRow(FrameNumbers):
    """The numbers of a frame, and what a table has besides where the source has it."""

    timecode: str | None = None


_ROWS = {"frames": _FrameRow, "shots": ShotNumbers}
"""What the rows of each kind are."""


@dataclass(frozen=True)
class _RowOrigin:
    """Where rows come from: their columns beside the numbers."""

    input: str
    place: str
    input_modified: datetime | None
    tags: str | None
    vidsal: str
    model: str
    model_sha256: str
    precision: str
    options: str


_ORIGIN = tuple(_RowOrigin.__dataclass_fields__)


@dataclass(frozen=True)
class _Entry:
    """An input that is to be written."""

    input: str
    place: str
    table: Path
    record: Path
    tags: str | None
    signature: str

    @classmethod
    def of(cls, one: Finished) -> _Entry:
        """Raises DatasetError: its files are not there."""
        if one.table is None:
            raise DatasetError("no table was written: run it with a table")
        tags = json.dumps(dict(sorted(one.tags.items()))) if one.tags else None
        entry = cls(_text(one.input), _text(one.place), one.table, one.record, tags, "")
        return replace(entry, signature=entry.signed())

    def as_row(self) -> tuple[str | bytes | None, ...]:
        """The values of its fields as SQLite takes them."""
        paths = os.fsencode(self.table), os.fsencode(self.record)
        return self.input, self.place, *paths, self.tags, self.signature

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> _Entry:
        """That of which `as_row` gave these."""
        name, place, table, record, *rest = row
        return cls(name, place, Path(os.fsdecode(table)), Path(os.fsdecode(record)), *rest)

    def signed(self) -> str:
        """The digest of what it is made of, as its files are now."""
        seen: list[Any] = [self.input, self.tags]
        for path in (self.table, self.record):
            try:
                status = path.stat()
            except OSError as error:
                raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
            seen += [path.name, status.st_size, status.st_mtime_ns]
        return hashlib.sha256(json.dumps(seen).encode()).hexdigest()

    def made(self) -> tuple[RunRecord, ResultRecord]:
        """The record of the run that wrote the table, and what it says of it."""
        records = read_records(self.record)
        if not records:
            raise DatasetError(f"{self.record} is no record of this version of vidsal")
        table = self.table.absolute()
        for record in records:
            for result in record.results:
                if result.stage == "table" and (self.record.parent / result.file).absolute() == table:
                    if record.status != "done":
                        raise DatasetError(f"{self.record} says that the run was not ended")
                    return record, result
        raise DatasetError(f"{self.record} tells of no table {table.name}")


def _text(name: str) -> str:
    """A name that is not UTF-8, in a form that is."""
    return name.encode("utf-8", "backslashreplace").decode()


def _modified(record: RunRecord) -> datetime | None:
    text = record.provenance.input.modified
    try:
        return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        raise DatasetError(f"its record says that the input is of {text}, which is no time") from error


def _date(record: RunRecord) -> str:
    modified = _modified(record)
    return _NO_DATE if modified is None else modified.date().isoformat()


class _InputRows:
    """The rows of one input, all of them good, in memory or in a nameless file."""

    def __init__(self, entry: _Entry, folder: Path) -> None:
        """Reads and checks all of it. Raises DatasetError: it is not what the record tells of."""
        record, result = entry.made()
        if entry.signed() != entry.signature:
            raise DatasetError(f"{entry.table} was changed while the data set was written: do that again")
        size, made_by = entry.table.stat().st_size, record.provenance
        if size != result.bytes:
            raise DatasetError(f"{entry.table} has {size} bytes, but its record tells of {result.bytes}")
        self.origin = _RowOrigin(
            input=entry.input,
            place=entry.place,
            input_modified=_modified(record),
            tags=entry.tags,
            vidsal=made_by.vidsal,
            model=made_by.model.name,
            model_sha256=made_by.model.sha256,
            precision=made_by.model.precision,
            options=json.dumps(made_by.options, sort_keys=True),
        )
        self._arrow = load_pyarrow("the data set")
        self._schema = arrow_schema(_FrameRow)
        self._batches: list[Any] = []
        self._held = 0
        self._file: Any = None
        self._spool: Any = None
        self.frames = 0
        try:
            self.shots = self._read(entry.table, shot_list(made_by.footage(None)), folder)
            if self.frames != record.counts.get("frames", self.frames):
                told = record.counts["frames"]
                raise DatasetError(f"{entry.table} has {self.frames} rows, but its record tells of {told} frames")
        except BaseException:
            self.close()
            raise

    def _read(self, table: Path, shots: ShotList, folder: Path) -> list[ShotNumbers]:
        made, last = list[ShotNumbers](), -1.0
        for batch in read_table(table, _FrameRow, optional=tuple(TIMECODE_COLUMNS)):
            columns = {name: values_of(batch.column(name)) for name in SHOT_SOURCES}
            steps = np.diff(columns["index"], prepend=last)
            if not (steps > 0).all():
                raise DatasetError(
                    f"{table} is no whole table: frame {columns['index'][steps <= 0][0]} comes out of order"
                )
            last = columns["index"][-1]
            try:
                made += shots.update(columns)
            except ValueError as error:
                raise DatasetError(f"{table} is no whole table: {error}") from error
            self._hold(batch, folder)
        return [*made, *shots.flush()]

    def _hold(self, batch: Any, folder: Path) -> None:
        self.frames += batch.num_rows
        self._held += batch.num_rows
        self._batches.append(batch)
        if self._held > _ROWS_IN_MEMORY:
            with writing(folder, also=(self._arrow.ArrowException,)):
                if self._file is None:
                    self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `close`)
                    self._spool = self._arrow.ipc.new_stream(self._file, self._schema)
                for one in self._batches:
                    self._spool.write_batch(one)
            self._batches, self._held = [], 0

    def batches(self) -> Iterator[Any]:
        """All rows, once."""
        if self._spool is not None:
            self._spool.close()
            self._file.seek(0)
            with self._arrow.ipc.open_stream(self._file) as stream:
                yield from stream
        yield from self._batches

    def shot_batches(self) -> Iterator[Any]:
        """The shots."""
        schema = arrow_schema(ShotNumbers)
        for at in range(0, len(self.shots), 4096):
            some = self.shots[at : at + 4096]
            columns = [
                self._arrow.array([getattr(shot, name) for shot in some], kind)
                for name, kind in zip(schema.names, schema.types, strict=True)
            ]
            yield self._arrow.record_batch(columns, schema=schema)

    def close(self) -> None:
        """Lets go of its file."""
        if self._file is not None:
            self._file.close()


# The files.


class _PartFile:
    """One Parquet file of many inputs, that grows beside its name."""

    def __init__(self, path: Path, row: type[Any], generation: int) -> None:
        self._arrow = load_pyarrow("the data set")
        self.path = path
        self.partial = _partial(path, generation)
        self.rows = 0
        self.is_wanted = False
        """Whether the partial file stays until it has its name."""
        self._numbers = arrow_schema(row)
        texts = self._arrow.dictionary(self._arrow.int32(), self._arrow.string())
        types = dict.fromkeys(_ORIGIN, texts) | {"input_modified": self._arrow.timestamp("us", tz="UTC")}
        names = ["input", "place", *self._numbers.names, *_ORIGIN[2:]]
        self._schema = self._arrow.schema(
            [self._numbers.field(name) if name in self._numbers.names else (name, types[name]) for name in names],
            metadata={"vidsal_dataset": str(_FORMAT)},
        )
        self._pieces: list[tuple[Any, _RowOrigin]] = []
        self._tables: list[Any] = []
        self._held = 0
        texts_only = [name for name in _ORIGIN if name != "input_modified"]
        with self._telling():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh(self.partial)
            self._file = self.partial.open("r+b")
            self._writer = self._arrow.parquet.ParquetWriter(
                self._file, self._schema, compression="zstd", use_dictionary=texts_only
            )

    def _telling(self) -> contextlib.AbstractContextManager[None]:
        return writing(self.partial, also=(self._arrow.ArrowException,))

    def add(self, batches: Iterable[Any], origin: _RowOrigin) -> None:
        """Adds the rows of an input."""
        with self._telling():
            for batch in batches:
                self._pieces.append((batch, origin))
                if len(self._pieces) >= _PIECES:
                    self._join()
                self._count(batch.num_rows)

    def copy(self, dropped: Any) -> None:
        """Adds the rows of the file that has the name now, but for those of some inputs.

        Args:
            dropped: an array of their places.
        """
        try:
            # Read by name: a file that is replaced stays as it is for who has it open.
            with self.path.open("rb") as file, self._arrow.parquet.ParquetFile(file) as reader:
                for batch in reader.iter_batches(65536):
                    table = self._arrow.table(batch).select(self._schema.names)
                    places = table["place"].cast(self._arrow.string())
                    kept = table.filter(self._arrow.compute.invert(self._arrow.compute.is_in(places, dropped)))
                    self._tables.append(kept.replace_schema_metadata().cast(self._schema))
                    self._count(kept.num_rows)
        except (self._arrow.ArrowException, KeyError, ValueError) as error:
            raise DatasetError(
                f"{self.path} is damaged: remove it and do the same again to have it made anew"
            ) from error

    def finish(self) -> int:
        """Ends the file under its partial name, on the disk; its size."""
        with self._telling():
            self._flush()
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            return self.partial.stat().st_size

    def close(self) -> None:
        """Lets go of the file, and removes what there is of it unless it is wanted."""
        with contextlib.suppress(OSError, ValueError, self._arrow.ArrowException):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
        if not self.is_wanted:
            _remove(self.partial)

    def _count(self, rows: int) -> None:
        self.rows += rows
        self._held += rows
        if self._held >= _ROWS_IN_A_GROUP:
            self._flush()

    def _join(self) -> None:
        """Makes one table of the pieces."""
        if not self._pieces:
            return
        pieces, self._pieces = self._pieces, []
        batches = [batch for batch, _ in pieces]
        table = self._arrow.Table.from_batches(batches, schema=self._numbers).combine_chunks()
        counts = [batch.num_rows for batch in batches]
        columns = {name: table[name] for name in self._numbers.names}
        for name in _ORIGIN:
            columns[name] = self._repeated([getattr(origin, name) for _, origin in pieces], counts, name)
        self._tables.append(self._arrow.table([columns[name] for name in self._schema.names], schema=self._schema))

    def _repeated(self, values: list[Any], counts: list[int], name: str) -> Any:
        """A column in which each value stands so many times."""
        codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
        indices = np.repeat(np.array([codes[value] for value in values], np.int32), counts)
        kind = self._schema.field(name).type
        if name == "input_modified":
            return self._arrow.array(list(codes), kind).take(self._arrow.array(indices))
        missing = indices == codes[None] if None in codes else None
        texts = self._arrow.array(["" if value is None else value for value in codes], self._arrow.string())
        return self._arrow.DictionaryArray.from_arrays(self._arrow.array(indices, mask=missing), texts)

    def _flush(self) -> None:
        self._join()
        tables, self._tables, self._held = self._tables, [], 0
        if tables:
            table = self._arrow.concat_tables(tables).unify_dictionaries()
            self._writer.write_table(table.combine_chunks(), row_group_size=2 * _ROWS_IN_A_GROUP)


# The update.

_TABLES = """
CREATE TABLE IF NOT EXISTS made(columns TEXT);
CREATE TABLE IF NOT EXISTS parts(
    id INTEGER PRIMARY KEY, date TEXT NOT NULL, frames INTEGER NOT NULL, shots INTEGER NOT NULL,
    generation INTEGER NOT NULL, frames_bytes INTEGER NOT NULL, shots_bytes INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS parts_by_date ON parts(date);
CREATE TABLE IF NOT EXISTS inputs(place TEXT PRIMARY KEY, signature TEXT NOT NULL, part INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS inputs_by_part ON inputs(part);
CREATE TEMP TABLE seen(place TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE todo(
    date TEXT, input TEXT, place TEXT, table_path BLOB, record BLOB, tags TEXT, signature TEXT, known INTEGER,
    PRIMARY KEY(date, place)
) WITHOUT ROWID;
CREATE TEMP TABLE dropped(part INTEGER, place TEXT, PRIMARY KEY(part, place)) WITHOUT ROWID;
CREATE TEMP TABLE added(place TEXT PRIMARY KEY, signature TEXT) WITHOUT ROWID;
"""
"""What is there, and what an update is about to do."""


class _Index:
    """The parts and their inputs, in SQLite."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise EncodeError(f"cannot write {path}: {error}; choose another folder") from error
            # Damaged: what it told of is made again.
            self._database.close()
            with writing(path):
                _remove(path)
                self._open()

    def _open(self) -> None:
        self._database = sqlite3.connect(self._path, isolation_level=None)
        self._database.executescript(_TABLES)
        columns = repr((_FORMAT, _ORIGIN, *(str(arrow_schema(row)) for row in _ROWS.values())))
        with self.transaction():
            if self._database.execute("SELECT columns FROM made").fetchall() != [(columns,)]:
                # Of another version: all is made again.
                for table in ("made", "parts", "inputs"):
                    self._database.execute(f"DELETE FROM {table}")
                self._database.execute("INSERT INTO made VALUES (?)", (columns,))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block, or nothing."""
        self("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.rollback()
            raise
        with self._telling():
            self._database.commit()

    def __call__(self, query: str, *values: Any) -> sqlite3.Cursor:
        """Executes a statement."""
        with self._telling():
            return self._database.execute(query, values)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._telling():
            return self._database.execute(query, values).fetchall()

    def one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a query."""
        with self._telling():
            found: tuple[Any, ...] | None = self._database.execute(query, values).fetchone()
            return found

    def number(self, query: str, *values: Any) -> int:
        """The whole number that a query gives."""
        found = self.one(query, *values)
        return int(found[0]) if found else 0

    def close(self) -> None:
        """Ends the access."""
        self._database.close()

    def _telling(self) -> contextlib.AbstractContextManager[None]:
        return writing(self._path, also=(sqlite3.Error,))


class _Update:
    """One update."""

    def __init__(
        self,
        folder: Path,
        index: _Index,
        on_progress: Callable[[DatasetProgress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._arrow = load_pyarrow("the data set")
        self._folder = folder
        self._index = index
        self._on_progress, self._should_stop = on_progress, should_stop
        self._failures: list[DatasetFailure] = []
        self._failed = self._written = self._removed = self._parts = 0
        self._handled = self._total = self._frames = 0
        self._stopped = False

    def close(self) -> None:
        """Lets go of the index."""
        self._index.close()

    def _paths(self, number: int, date: str) -> dict[str, Path]:
        name = f"part-{number:06d}.parquet"
        return {kind: self._folder / kind / f"input_date={date}" / name for kind in _ROWS}

    # What a killed update, or somebody else, has left.

    def repair(self) -> None:
        """Give names to the parts that the index tells of, forget those that are not there, remove what is no part."""
        known = set[Path]()
        query = "SELECT id, date, generation, frames_bytes, shots_bytes FROM parts"
        for number, date, generation, *sizes in self._index.rows(query):
            paths = list(self._paths(number, date).values())
            unnamed = [(_partial(path, generation), path) for path in paths if _partial(path, generation).exists()]
            with writing(self._folder):
                put_all_in_place(unnamed)
            if [_size(path) for path in paths] == sizes:
                known.update(paths)
                continue
            with self._index.transaction():
                self._index("DELETE FROM inputs WHERE part = ?", number)
                self._index("DELETE FROM parts WHERE id = ?", number)
        for kind in _ROWS:
            for path in self._folder.glob(f"{kind}/input_date=*/part-*.parquet*"):
                if _PART.fullmatch(path.name) and path not in known:
                    _remove(path)

    # What there is to do.

    def plan(self, finished: Iterable[Finished]) -> None:
        """Compare the inputs with the index."""
        with self._index.transaction():
            for one in finished:
                if self._stop():
                    return
                self._plan_one(one)
            self._index(
                "INSERT OR IGNORE INTO dropped SELECT part, place FROM inputs "
                "WHERE NOT EXISTS (SELECT 1 FROM seen WHERE seen.place = inputs.place)"
            )
        self._total = self._index.number("SELECT count(*) FROM todo")

    def _plan_one(self, one: Finished) -> None:
        place = _text(one.place)
        if not self._index("INSERT OR IGNORE INTO seen VALUES (?)", place).rowcount:
            self._fail(one.input, f"its results lie where those of another input lie: {place}")
            return
        known = self._index.one("SELECT signature, part FROM inputs WHERE place = ?", place)
        try:
            entry = _Entry.of(one)
            if known is not None and known[0] == entry.signature:
                return
            date = _date(entry.made()[0])
            values = (date, *entry.as_row(), known is not None)
            self._index("INSERT INTO todo VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values)
        except DatasetError as error:
            self._fail(one.input, str(error))
        if known is not None:
            self._index("INSERT INTO dropped VALUES (?, ?)", known[1], place)

    def _fail(self, name: str, reason: str) -> None:
        self._failed += 1
        if len(self._failures) < _FAILURES:
            self._failures.append(DatasetFailure(_text(name), reason))

    # Doing it.

    def write(self) -> None:
        """Write all parts that are concerned."""
        # First out, then in: nothing is there twice.
        query = "SELECT id, date FROM parts WHERE id IN (SELECT part FROM dropped) ORDER BY id"
        for number, date in self._index.rows(query):
            if self._stop():
                return
            self._write_part(number, date)
        while not self._stop() and (row := self._index.one("SELECT date FROM todo LIMIT 1")):
            small = self._index.one(
                "SELECT id FROM parts WHERE date = ? AND frames < ? ORDER BY frames DESC LIMIT 1",
                *(row[0], _ROWS_IN_A_PART // 2),
            )
            self._write_part(small[0] if small else None, row[0])

    def _write_part(self, number: int | None, date: str) -> None:
        """Make a part, or make it again: without the inputs that are dropped, with as many of those to do as fit."""
        is_new = number is None
        if number is None:
            number = self._index.number("SELECT coalesce(max(id), 0) + 1 FROM parts")
        generation = self._index.number("SELECT coalesce(max(generation), 0) + 1 FROM parts")
        paths = self._paths(number, date)
        dropped = [place for (place,) in self._index.rows("SELECT place FROM dropped WHERE part = ?", number)]
        self._index("DELETE FROM added")
        with contextlib.ExitStack() as opened:
            files: dict[str, _PartFile] = {}
            for kind, row in _ROWS.items():
                files[kind] = opened.enter_context(contextlib.closing(_PartFile(paths[kind], row, generation)))
                if not is_new:
                    files[kind].copy(self._arrow.array(dropped, self._arrow.string()))
            added, again = self._fill(files, number, date)
            if not added and not dropped:
                return
            is_empty = files["frames"].rows == 0
            sizes = [] if is_empty else [file.finish() for file in files.values()]
            with self._index.transaction():
                self._index(
                    "DELETE FROM inputs WHERE part = ? AND place IN (SELECT place FROM dropped WHERE part = ?)",
                    *(number, number),
                )
                self._index("DELETE FROM dropped WHERE part = ?", number)
                self._index("INSERT INTO inputs SELECT place, signature, ? FROM added", number)
                if is_empty:
                    self._index("DELETE FROM parts WHERE id = ?", number)
                else:
                    values = (number, date, *(file.rows for file in files.values()), generation, *sizes)
                    self._index("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)", *values)
                for file in files.values():
                    file.is_wanted = not is_empty
            if is_empty:
                for path in paths.values():
                    _remove(path)
            else:
                with writing(self._folder):
                    put_all_in_place([(file.partial, file.path) for file in files.values()])
                self._parts += 1
            self._written += added
            self._removed += len(dropped) - again

    def _fill(self, files: Mapping[str, _PartFile], number: int, date: str) -> tuple[int, int]:
        """Put inputs of a date into a part until it is full; how many, and how many of them were known before."""
        added = again = 0
        last = ""
        while files["frames"].rows < _ROWS_IN_A_PART and not self._stopped:
            # Those that still lie in another part have to wait until they are out of it.
            row = self._index.one(
                "SELECT input, place, table_path, record, tags, signature, known FROM todo "
                "WHERE date = ? AND place > ? AND NOT EXISTS "
                "(SELECT 1 FROM inputs WHERE inputs.place = todo.place AND part <> ?) ORDER BY place LIMIT 1",
                *(date, last, number),
            )
            if row is None:
                break
            entry, known = _Entry.from_row(row[:-1]), row[-1]
            last = entry.place
            self._index("DELETE FROM todo WHERE date = ? AND place = ?", date, last)
            try:
                with contextlib.closing(_InputRows(entry, self._folder)) as rows:
                    files["frames"].add(rows.batches(), rows.origin)
                    files["shots"].add(rows.shot_batches(), rows.origin)
                    self._frames += rows.frames
                self._index("INSERT INTO added VALUES (?, ?)", last, entry.signature)
                added += 1
                again += known
            except DatasetError as error:
                self._fail(entry.input, str(error))
            self._handled += 1
            if self._on_progress:
                self._on_progress(DatasetProgress(self._handled, self._total, self._frames))
            self._stop()
        return added, again

    def _stop(self) -> bool:
        self._stopped = self._stopped or (self._should_stop is not None and self._should_stop())
        return self._stopped

    def report(self) -> DatasetReport:
        """What was done."""
        frames, shots = (self._index.number(f"SELECT coalesce(sum({kind}), 0) FROM parts") for kind in _ROWS)
        return DatasetReport(
            inputs=self._index.number("SELECT count(*) FROM inputs"),
            frames=frames,
            shots=shots,
            written=self._written,
            removed=self._removed,
            parts_written=self._parts,
            failed=self._failed,
            failures=tuple(self._failures),
            stopped=self._stopped,
        )


def _partial(path: Path, generation: int) -> Path:
    """The name under which a file of a part grows; the index knows the generation of each part that is whole."""
    return path.with_name(f"{path.name}.{generation}.partial")


def _size(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return None


def _remove(path: Path) -> None:
    """Removes a file, and its folder if it was the last one there."""
    with writing(path, remedy="remove it"):
        clear(path)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
