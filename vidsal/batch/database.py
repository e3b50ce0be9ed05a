"""The job: every input of a batch with what became of it, in an SQLite database that outlives any kill.

Only one process writes: the one that runs the batch. Any number may read meanwhile (WAL).
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vidsal.addresses import hide_secrets
from vidsal.batch.work import Ended, Made
from vidsal.errors import ConfigError, EncodeError

__all__ = ["JobDatabase", "Listed", "Row", "State", "Trouble"]

State = Literal["waiting", "running", "done", "damaged", "failed", "skipped"]
"""skipped: not among the inputs of the last command."""

_VERSION = 1
_BUSY_SECONDS = 60.0
_MOST_WAL_BYTES = 64 << 20
_CACHE_KIB = 64 << 10
_TEXT = "CAST(? AS TEXT)"
"""A name, given as bytes: SQLite's TEXT holds any, Python's binding takes only what is UTF-8."""
_BETWEEN = "//"
"""Stands in no name."""
_ELSEWHERE = "(instr({path},'://')>1 AND {path} NOT LIKE '/%')"
"""Whether a path is an address. A list may name one whose size and time are known only once it was fetched."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS inputs (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    place TEXT NOT NULL,
    place_key TEXT NOT NULL UNIQUE,      -- without case: some file systems take no account of it
    bytes INTEGER, modified TEXT,        -- as listed
    sample_sha256 TEXT,                  -- as read, with its size
    overrides TEXT NOT NULL DEFAULT '{}',
    tags TEXT NOT NULL DEFAULT '{}',
    plan TEXT NOT NULL,                  -- hash of options and model
    state TEXT NOT NULL DEFAULT 'waiting',
    attempts INTEGER NOT NULL DEFAULT 0, -- that count
    deaths INTEGER NOT NULL DEFAULT 0,   -- of workers
    not_before REAL NOT NULL DEFAULT 0,  -- Unix time
    reason TEXT, message TEXT,
    frames INTEGER, cuts INTEGER, video_seconds REAL, seconds REAL,
    started REAL, ended REAL,            -- Unix time, of the last attempt
    messages TEXT NOT NULL DEFAULT '[]',
    listed INTEGER NOT NULL DEFAULT 1    -- whether the last command names it
);
CREATE INDEX IF NOT EXISTS by_state ON inputs (state, not_before, id) WHERE listed;
CREATE TABLE IF NOT EXISTS files (
    input INTEGER NOT NULL REFERENCES inputs (id), stage TEXT NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL, address TEXT, PRIMARY KEY (input, file)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS former ( -- results that earlier options asked for, and that may be there still
    input INTEGER NOT NULL REFERENCES inputs (id), stage TEXT NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL, address TEXT NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (input, file, address)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
    input INTEGER NOT NULL, run INTEGER NOT NULL, started REAL, ended REAL, outcome TEXT NOT NULL, reason TEXT,
    message TEXT, seconds REAL, found INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_input ON attempts (input);
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL, host TEXT, pid INTEGER, version TEXT, given TEXT,
    options TEXT, models TEXT, outcome TEXT, beat REAL, note TEXT
);
CREATE TABLE IF NOT EXISTS live (input INTEGER PRIMARY KEY, frames INTEGER, total INTEGER, pts_seconds REAL, beat REAL);
"""


@dataclass(frozen=True)
class Listed:
    """An input as it was found."""

    path: str
    """Absolute path, or address."""
    places: tuple[str, ...]
    """What its results may be called below the folder of all results, the best first."""
    bytes: int | None
    """Its size; None for what is no file, or is not there."""
    modified: str | None
    """When it was last changed, in UTC."""
    plan: str
    """Hash of its options and its model."""
    overrides: Mapping[str, Any]
    """Options of its own."""
    tags: Mapping[str, str]
    """What its list says of it besides."""


@dataclass(frozen=True)
class Row:
    """An input of the job."""

    id: int
    """Its number."""
    path: str
    """Absolute path, or address."""
    place: str
    """What its results are called, without an ending, below the folder of all results."""
    overrides: Mapping[str, Any]
    """Options of its own."""
    tags: Mapping[str, str]
    """What its list says of it besides."""
    state: State
    """What has become of it."""
    attempts: int
    """Attempts that count."""
    deaths: int
    """Workers that ended over it."""
    bytes: int | None
    """Its size as listed; None for what is no file."""
    modified: str | None
    """When it was last changed, in UTC, as listed."""
    sample_sha256: str | None
    """As `InputRecord.sample_sha256`, as it was read."""
    plan: str
    """Hash of its options and its model."""
    reason: str | None
    """Why it is not simply done."""
    message: str | None
    """The same in a sentence."""
    frames: int | None
    """Frames written."""
    cuts: int | None
    """Cuts found."""
    video_seconds: float | None
    """Its length."""
    seconds: float | None
    """What the last attempt took."""
    started: float | None
    """When the last attempt began, as Unix time."""
    ended: float | None
    """When it ended."""
    messages: Sequence[str]
    """What a user should know about it."""
    listed: bool
    """Whether the last command names it."""


_INPUT_NAMES = (
    *("path", "place", "place_key", "bytes", "modified", "sample_sha256", "overrides", "tags", "plan", "state"),
    *("attempts", "deaths", "not_before", "reason", "message", "frames", "cuts", "video_seconds", "seconds"),
    *("started", "ended", "messages"),
)
_INPUT = ", ".join(_INPUT_NAMES)
_ODD = ("path", "place", "place_key")
"""What need not be text."""
_INPUT_MARKS = ",".join(_TEXT if name in _ODD else "?" for name in _INPUT_NAMES)
_ATTEMPT = "started, ended, outcome, reason, message, seconds, found"
_RUN = "started, host, pid, ended, version, given, options, models, outcome, beat, note"
_WORTH: Mapping[str, int] = {"done": 4, "damaged": 3, "failed": 2, "waiting": 1, "running": 1, "skipped": 0}

_NAMES = tuple(each.name for each in fields(Row))
_COLUMNS = ", ".join(_NAMES)
_AS_JSON = tuple((name, _NAMES.index(name)) for name in ("overrides", "tags", "messages"))


class Trouble(NamedTuple):
    """Inputs that are not simply done, for one reason."""

    state: str
    """Theirs."""
    reason: str
    """Why, in a word or two."""
    inputs: int
    """How many there are."""
    example: str
    """One of them."""
    message: str
    """What was said of one of them."""


class JobDatabase:
    """The database of one job; a context manager.

    Args:
        path: its file; made where it is missing, unless it is only read.
        read_only: for whoever only looks; a job that is being worked on may be looked at.

    Raises:
        EncodeError: the file cannot be made or read, or is none of this version's.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        try:
            if read_only:
                self._db = _open_to_read(path)
            else:
                self._db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.text_factory = os.fsdecode  # the name of a file need not be text
            self._db.execute("PRAGMA temp_store=FILE")
            self._db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            self._db.execute(f"PRAGMA journal_size_limit={_MOST_WAL_BYTES}")
            self._db.execute(f"PRAGMA query_only={int(read_only)}")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise EncodeError(f"{path} was made by another version of vidsal: choose another folder")
            if not read_only:
                self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
        except sqlite3.Error as error:
            raise EncodeError(f"the job database {path} cannot be opened: {error}") from error

    def __enter__(self) -> JobDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All that is asked in the block is answered as of one moment."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """All that is changed in the block is changed at once, or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            # After some errors, such as a full disk, SQLite has done that itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise EncodeError(f"the job database {self.path} cannot be written: {error}") from error
            raise

    # Runs.

    def begin_run(self, *, given: str, options: str, models: str, version: str, host: str) -> int:
        """Note that a command goes to work on the job; returns the number of its run."""
        found = self._db.execute(
            "INSERT INTO runs (started, host, pid, version, given, options, models, beat) VALUES (?,?,?,?,?,?,?,?) "
            "RETURNING id",
            (time.time(), host, os.getpid(), version, given, options, models, time.time()),
        ).fetchone()
        return int(found[0])

    def end_run(self, run: int, outcome: str) -> None:
        """Note how it ended."""
        with self.changing():
            self._db.execute("UPDATE runs SET ended=?, outcome=? WHERE id=?", (time.time(), outcome, run))
            self._db.execute("DELETE FROM live")

    def last_run(self) -> dict[str, Any] | None:
        """The last command that worked on the job."""
        cursor = self._db.execute("SELECT * FROM runs ORDER BY id DESC LIMIT 1")
        row = cursor.fetchone()
        return None if row is None else dict(zip([each[0] for each in cursor.description], row, strict=True))

    def run_of(self, id: int) -> dict[str, Any] | None:
        """Number and options of the command that the results of an input come from, or found them whole."""
        found = self._db.execute(
            "SELECT r.id, r.options FROM attempts a JOIN runs r ON r.id=a.run "
            "WHERE a.input=? AND a.outcome IN ('done','damaged') ORDER BY a.rowid DESC LIMIT 1",
            (id,),
        ).fetchone()
        return None if found is None else {"id": int(found[0]), "options": found[1]}

    # Inputs.

    def list_inputs(self, listed: Iterable[Listed], *, mine: Callable[[str], bool] | None = None) -> dict[str, int]:
        """Take over the inputs that a command names: new ones, changed ones, and those that are done.

        What is done with the same input, options and model stays done. What a killed run was at waits again, and costs
        no attempt. What failed stays failed until `retry`, unless it changed, or was gone and is back.

        Args:
            listed: the inputs.
            mine: which of them, by their paths, are this job's; None: all. The others count for names only: the parts
                of a batch give the same names without knowing of each other.

        Returns:
            How many there are, by state, among those named; changed ones under "changed", new ones under "new".

        Raises:
            ConfigError: there is none, or one is named twice with different options; nothing is changed then.
        """
        self._db.execute("DROP TABLE IF EXISTS temp.named")
        self._db.execute(
            "CREATE TEMP TABLE named (path TEXT PRIMARY KEY, places TEXT, key TEXT, key2 TEXT, bytes INTEGER, "
            "modified TEXT, plan TEXT, overrides TEXT, tags TEXT, mine INTEGER, differs INTEGER NOT NULL DEFAULT 0)"
        )
        counts: dict[str, int] = {}
        with self.changing():
            self._db.executemany(
                f"INSERT INTO temp.named VALUES ({_TEXT},{_TEXT},{_TEXT},{_TEXT},?,?,?,?,?,?,0) ON CONFLICT (path) "
                "DO UPDATE SET differs=differs OR plan!=excluded.plan OR tags!=excluded.tags",
                (
                    (
                        _raw(one.path), _raw(_BETWEEN.join(one.places)), *_keys(one.places),
                        one.bytes, one.modified, one.plan, _json(one.overrides), _json(one.tags),
                        mine is None or mine(one.path),
                    )
                    for one in listed
                ),
            )  # fmt: skip
            self._check_named()
            # Only what differs is written: most of a million inputs are as they were.
            self._db.execute("UPDATE inputs SET state='waiting' WHERE state='running'")
            self._db.execute(
                "UPDATE inputs SET listed=0 WHERE listed AND NOT EXISTS "
                "(SELECT 1 FROM temp.named n WHERE n.path=inputs.path AND mine)"
            )
            self._db.execute(
                "UPDATE inputs SET listed=1 WHERE NOT listed AND path IN (SELECT path FROM temp.named WHERE mine)"
            )
            self._db.execute("UPDATE inputs SET not_before=0 WHERE state='waiting' AND not_before>0")
            self._db.execute("UPDATE inputs SET state='waiting' WHERE state='skipped' AND listed")
            self._db.execute(
                "UPDATE inputs SET tags=n.tags FROM temp.named n WHERE n.path=inputs.path AND n.tags!=inputs.tags"
            )
            counts["changed"] = self._db.execute(
                "UPDATE inputs SET bytes=n.bytes, modified=n.modified, plan=n.plan, overrides=n.overrides, "
                "state='waiting', attempts=0, deaths=0, not_before=0, reason=NULL, message=NULL "
                "FROM temp.named n WHERE n.path=inputs.path AND mine AND (n.plan!=inputs.plan "
                "OR ((n.bytes IS NOT inputs.bytes OR n.modified IS NOT inputs.modified) AND NOT "
                f"(n.bytes IS NULL AND n.modified IS NULL AND {_ELSEWHERE.format(path='n.path')})))",
            ).rowcount
            self._db.execute(
                "UPDATE inputs SET state='waiting' WHERE state='failed' AND reason='gone' AND path IN "
                "(SELECT path FROM temp.named WHERE mine AND modified IS NOT NULL)"
            )
            self._db.execute(
                "UPDATE inputs SET state='skipped', reason='not listed' WHERE state='waiting' AND NOT listed"
            )
            counts["new"] = self._insert_new()
        self._db.execute("DROP TABLE temp.named")
        return counts | self.counts(listed=True)

    def _check_named(self) -> None:
        if self._db.execute("SELECT 1 FROM temp.named LIMIT 1").fetchone() is None:
            raise ConfigError("no video is among what was given")
        for (path,) in self._db.execute("SELECT path FROM temp.named WHERE differs LIMIT 1"):
            what = (
                "is given twice with different options or tags: a batch makes one set of results of each input. For "
                "several parts of one file give each part a link to it with a name of its own"
            )
            raise ConfigError(f"{hide_secrets(path)} {what}")

    def forget_run(self, run: int) -> None:
        """Take back that a command was at work: it was refused before it did anything."""
        with self.changing():
            self._db.execute("DELETE FROM runs WHERE id=?", (run,))

    def _insert_new(self) -> int:
        """New inputs, each with the first of its names that no other might have: shards do not ask each other."""
        new = "mine AND NOT EXISTS (SELECT 1 FROM inputs i WHERE i.path=n.path)"
        if self._db.execute(f"SELECT 1 FROM temp.named n WHERE {new} LIMIT 1").fetchone() is None:
            return 0
        self._db.execute("DROP TABLE IF EXISTS temp.alike")
        self._db.execute(
            "CREATE TEMP TABLE alike AS SELECT key FROM "
            "(SELECT key FROM temp.named UNION ALL SELECT key2 FROM temp.named WHERE key2 IS NOT NULL) "
            "GROUP BY key HAVING count(*) > 1"
        )
        self._db.execute("CREATE UNIQUE INDEX temp.alike_key ON alike (key)")
        found = self._db.execute(
            "SELECT path, places, (key IN (SELECT key FROM temp.alike)) + "
            "(key IN (SELECT key FROM temp.alike) AND coalesce(key2 IN (SELECT key FROM temp.alike), 0)), "
            f"bytes, modified, plan, overrides, tags FROM temp.named n WHERE {new} ORDER BY rowid"
        )
        count = 0
        for path, places, taken, *rest in found:
            names = places.split(_BETWEEN)
            # Whatever else is taken is so by an input of an earlier command.
            for name in (*names[taken:], *names):
                added = self._db.execute(
                    "INSERT INTO inputs (path, place, place_key, bytes, modified, plan, overrides, tags) VALUES "
                    f"({_TEXT},{_TEXT},{_TEXT},?,?,?,?,?) ON CONFLICT DO NOTHING",
                    (_raw(path), _raw(name), _key(name), *rest),
                ).rowcount
                if added:
                    break
            else:
                raise EncodeError(f"no name is left for the results of {path}: rename it")
            count += 1
        self._db.execute("DROP TABLE temp.alike")
        return count

    def waiting(self, *, limit: int, now: float) -> list[Row]:
        """Some of the inputs that may be begun, in their order."""
        return self._rows(
            "WHERE state='waiting' AND not_before<=? AND listed ORDER BY not_before, id LIMIT ?", (now, limit)
        )

    def next_time(self) -> float | None:
        """When the next of the inputs that wait may be begun, as Unix time; None where none waits."""
        found = self._db.execute(
            "SELECT not_before FROM inputs WHERE state='waiting' AND listed ORDER BY not_before, id LIMIT 1"
        )
        row = found.fetchone()
        return None if row is None else float(row[0])

    def start(self, ids: Sequence[int]) -> None:
        """Note that attempts begin."""
        now = time.time()
        with self.changing():
            self._db.executemany("UPDATE inputs SET state='running', started=? WHERE id=?", [(now, id) for id in ids])

    def files_of(self, id: int) -> list[Made]:
        """What was written for an input."""
        found = self._db.execute("SELECT stage, file, bytes, sha256, address FROM files WHERE input=?", (id,))
        return [Made(*row) for row in found]

    def former_of(self, id: int) -> list[Made]:
        """What was written for an input with earlier options, is not wanted any more, and may be there still."""
        if not self._has_former():
            return []
        found = self._db.execute("SELECT stage, file, bytes, sha256, address FROM former WHERE input=?", (id,))
        return [_former(*values) for values in found]

    def former(self, *, run: int | None = None) -> Iterator[tuple[int, str, Made]]:
        """Number and path of the input, and the file, of each such result: of all, or of what a run made such."""
        if not self._has_former():
            return
        where = "" if run is None else " WHERE run=?"
        found = self._db.execute(
            "SELECT i.id, path, stage, file, f.bytes, sha256, address FROM former f JOIN inputs i ON i.id=f.input"
            f"{where} ORDER BY i.id, file",
            () if run is None else (run,),
        )
        for id, path, *values in found.fetchall():
            yield id, path, _former(*values)

    def _has_former(self) -> bool:
        # A job of an earlier version that is only read may have no such table.
        return self._db.execute("SELECT 1 FROM sqlite_schema WHERE name='former'").fetchone() is not None

    def settle(
        self,
        run: int,
        ends: Iterable[tuple[Ended, State, float]],
        beats: Mapping[int, Sequence[Any]] = {},
        note: str = "",
    ) -> None:
        """Note the ends of attempts, all at once.

        Args:
            run: the number of the run.
            ends: of each the end, the state of its input now, and when it may be begun again, as Unix time.
            beats: input to frames, total and pts_seconds of attempts that go on.
            note: why nothing is begun at the moment.
        """
        now = time.time()
        with self.changing():
            for end, state, not_before in ends:
                sample = None if end.input is None else end.input.sample_sha256
                charged = not end.free_of_charge
                self._db.execute(
                    "INSERT INTO attempts SELECT id, ?, started, ?, ?, ?, ?, ?, ? FROM inputs WHERE id=?",
                    (run, now, end.outcome, end.reason, _clean(end.message), end.seconds, end.found, end.id),
                )
                self._db.execute(
                    "UPDATE inputs SET state=?, attempts=attempts+?, deaths=deaths+?, not_before=?, reason=?, "
                    "message=?, frames=?, cuts=?, video_seconds=?, seconds=?, ended=?, messages=?, "
                    "sample_sha256=coalesce(?, sample_sha256) WHERE id=?",
                    (
                        state, charged, charged and end.reason == "worker died", not_before, end.reason,
                        _clean(end.message) or None, end.frames, end.cuts, end.video_seconds, end.seconds, now,
                        _json([_clean(text) for text in end.messages]), sample, end.id,
                    ),
                )  # fmt: skip
                if end.input is not None:
                    self._db.execute(
                        "UPDATE inputs SET bytes=?, modified=? WHERE id=? AND bytes IS NULL AND modified IS NULL AND "
                        f"{_ELSEWHERE.format(path='path')}",
                        (end.input.bytes, end.input.modified, end.id),
                    )
                self._db.execute("DELETE FROM live WHERE input=?", (end.id,))
                if end.files:
                    self._note_former(run, end)
                    self._db.execute("DELETE FROM files WHERE input=?", (end.id,))
                    self._db.executemany(
                        f"INSERT OR REPLACE INTO files VALUES (?,?,{_TEXT},?,?,?)",
                        [(end.id, one.stage, _raw(one.file), one.bytes, one.sha256, one.address) for one in end.files],
                    )
            self._db.executemany(
                "INSERT OR REPLACE INTO live VALUES (?,?,?,?,?)", [(id, *beat, now) for id, beat in beats.items()]
            )
            self._db.execute("UPDATE runs SET beat=?, note=? WHERE id=?", (now, note, run))

    def _note_former(self, run: int, end: Ended) -> None:
        """What an input had and is not among its results any more is still to be known."""
        now = {(one.file, one.address or "") for one in end.files}
        before = [one for one in self.files_of(end.id) if (one.file, one.address or "") not in now]
        if before or self.former_of(end.id):
            self._db.executemany(
                f"DELETE FROM former WHERE input=? AND file={_TEXT} AND address=?",
                [(end.id, _raw(file), address) for file, address in now],
            )
            self._insert_former(end.id, run, before)

    def _insert_former(self, id: int, run: int, files: Iterable[Made]) -> None:
        self._db.executemany(
            f"INSERT OR REPLACE INTO former VALUES (?,?,{_TEXT},?,?,?,?)",
            [(id, one.stage, _raw(one.file), one.bytes, one.sha256, one.address or "", run) for one in files],
        )

    def forget_former(self, id: int, files: Iterable[Made]) -> None:
        """Note that former results of an input are gone."""
        with self.changing():
            self._db.executemany(
                f"DELETE FROM former WHERE input=? AND file={_TEXT} AND address=?",
                [(id, _raw(one.file), one.address or "") for one in files],
            )

    def put_back(self, ids: Sequence[int]) -> None:
        """Inputs that were to be begun, and were not, wait again."""
        with self.changing():
            self._db.executemany(
                "UPDATE inputs SET state='waiting' WHERE id=? AND state='running'", [(i,) for i in ids]
            )
            self._db.executemany("DELETE FROM live WHERE input=?", [(i,) for i in ids])

    def retry(self, states: Sequence[State], ids: Sequence[int] = ()) -> int:
        """Let inputs of some states, or those named, be tried again; returns how many."""
        marks = ",".join("?" * len(states))
        where = f"state IN ({marks})" if states else f"id IN ({','.join('?' * len(ids))})"
        with self.changing():
            return self._db.execute(
                "UPDATE inputs SET state='waiting', attempts=0, deaths=0, not_before=0, reason=NULL, message=NULL "
                f"WHERE {where}",
                (*states, *ids),
            ).rowcount

    def own(self, id: int, sizes: Mapping[str, int]) -> None:
        """Take the results of an input as they are now for the batch's own, which it may replace.

        Args:
            id: of the input.
            sizes: of its results, by their names below the folder of all results.
        """
        with self.changing():
            self._db.executemany(
                f"UPDATE files SET bytes=? WHERE input=? AND file={_TEXT}",
                [(size, id, _raw(file)) for file, size in sizes.items()],
            )

    def absorb(self, others: Sequence[JobDatabase]) -> int:
        """Take over what other databases know; of an input that several know, what the best of them says.

        A run of its own then stands for the newest of their commands, without its shard.

        Returns:
            How many inputs are new or say something else now.

        Raises:
            EncodeError: two inputs have results of one name. Nothing is changed then.
        """
        before = self.last_run()
        lasts = [run for run in (before, *(one.last_run() for one in others)) if run is not None]
        # What was merged before stands for others.
        newest = max([run for run in lasts if run["outcome"] != "merged"] or lasts, key=lambda run: run["started"])
        changed = 0
        with self.changing():
            self._note_merge(before, newest)
            for other in others:
                try:
                    changed += self._absorb_one(other)
                except sqlite3.IntegrityError as error:
                    raise EncodeError(
                        f"{other.path} cannot be merged: results of an input in it have the name of those of another "
                        "one; they are no parts of one batch"
                    ) from error
        return changed

    def _note_merge(self, before: Mapping[str, Any] | None, newest: Mapping[str, Any]) -> None:
        given = _json(json.loads(newest["given"] or "{}") | {"shard": None})
        values = {name: newest[name] for name in ("host", "pid", "version", "options", "models")} | {"given": given}
        values |= {"started": newest["started"], "ended": time.time(), "outcome": "merged", "beat": time.time()}
        if before is not None and before["outcome"] == "merged":
            sets = ", ".join(f"{name}=?" for name in values)
            self._db.execute(f"UPDATE runs SET {sets} WHERE id=?", (*values.values(), before["id"]))
            return
        marks = ",".join("?" * len(values))
        self._db.execute(f"INSERT INTO runs ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))

    def _absorb_one(self, other: JobDatabase) -> int:
        told = other.query(f"SELECT id, {_RUN} FROM runs WHERE outcome IS NOT 'merged'")
        runs = {int(id): self._absorb_run(rest) for id, *rest in told}
        changed = 0
        for id, listed, *values in other.query(f"SELECT id, listed, {_INPUT} FROM inputs"):
            theirs = dict(zip(_INPUT_NAMES, values, strict=True))
            theirs["state"] = "waiting" if theirs["state"] == "running" else theirs["state"]
            stored = [_raw(value) if name in _ODD else value for name, value in theirs.items()]
            mine = self._db.execute(f"SELECT id, state, ended FROM inputs WHERE path={_TEXT}", stored[:1]).fetchone()
            if mine is None:
                found = self._db.execute(
                    f"INSERT INTO inputs (listed, {_INPUT}) VALUES (?,{_INPUT_MARKS}) RETURNING id", (listed, *stored)
                )
                own = int(found.fetchone()[0])
            else:
                own = int(mine[0])
            better = mine is None or _worth(theirs["state"], theirs["ended"]) > _worth(*mine[1:])
            if better and mine is not None:
                self._db.execute(f"UPDATE inputs SET ({_INPUT}) = ({_INPUT_MARKS}) WHERE id=?", (*stored, own))
            if better:
                changed += 1
                self._db.execute("DELETE FROM files WHERE input=?", (own,))
                self._db.executemany(
                    f"INSERT INTO files VALUES (?,?,{_TEXT},?,?,?)",
                    [
                        (own, one.stage, _raw(one.file), one.bytes, one.sha256, one.address)
                        for one in other.files_of(id)
                    ],
                )
            kept = {(one.file, one.address) for one in self.files_of(own)}
            known = [one for one in other.former_of(id) if (one.file, one.address) not in kept]
            self._insert_former(own, 0, known)
            for their_run, *attempt in other._db.execute(f"SELECT run, {_ATTEMPT} FROM attempts WHERE input=?", (id,)):
                same = self._db.execute(
                    f"SELECT 1 FROM attempts WHERE input=? AND ({_ATTEMPT}) IS (?,?,?,?,?,?,?)", (own, *attempt)
                )
                if same.fetchone() is None:
                    self._db.execute(
                        f"INSERT INTO attempts (input, run, {_ATTEMPT}) VALUES (?,?,?,?,?,?,?,?,?)",
                        (own, runs.get(their_run, 0), *attempt),
                    )
            if listed:
                self._db.execute("UPDATE inputs SET listed=1 WHERE id=? AND NOT listed", (own,))
        return changed

    def _absorb_run(self, values: Sequence[Any]) -> int:
        """The number here of a run of another database."""
        found = self._db.execute(
            "SELECT id FROM runs WHERE started IS ? AND host IS ? AND pid IS ? AND outcome IS NOT 'merged'", values[:3]
        ).fetchone()
        if found is None:
            # Before all others: the last one is that of the merge.
            number = self._db.execute("SELECT min(0, min(id)) - 1 FROM runs").fetchone()[0]
            marks = ",".join("?" * (len(values) + 1))
            self._db.execute(f"INSERT INTO runs (id, {_RUN}) VALUES ({marks})", (number, *values))
            return int(number)
        return int(found[0])

    # Questions.

    def counts(self, *, listed: bool = False) -> dict[str, int]:
        """How many inputs are in which state, of all or of those that the last command names."""
        where = " WHERE listed" if listed else ""
        return dict(self._db.execute(f"SELECT state, count(*) FROM inputs{where} GROUP BY state").fetchall())

    def bytes_left(self) -> int:
        """Size of the inputs that wait or are under way."""
        found = self._db.execute(
            "SELECT coalesce(sum(bytes),0) FROM inputs WHERE listed AND state IN ('waiting','running')"
        )
        return int(found.fetchone()[0])

    def worked(self, run: int) -> tuple[int, int, float, int]:
        """How many inputs a run has made the results of, their bytes, seconds of video and frames."""
        found = self._db.execute(
            "SELECT count(*), coalesce(sum(i.bytes),0), coalesce(sum(i.video_seconds),0), coalesce(sum(i.frames),0) "
            "FROM attempts a JOIN inputs i ON i.id=a.input "
            "WHERE a.run=? AND a.outcome IN ('done','damaged') AND NOT a.found",
            (run,),
        )
        count, size, video_seconds, frames = found.fetchone()
        return count, size, video_seconds, frames

    def standing(self, one: Listed) -> State | None:
        """The state of an input if it is as it was; None where it is another one now, or there is none."""
        found = self._db.execute(
            f"SELECT state FROM inputs WHERE path={_TEXT} AND plan=? AND ((bytes IS ? AND modified IS ?) OR "
            f"(? AND {_ELSEWHERE.format(path='path')}))",
            (_raw(one.path), one.plan, one.bytes, one.modified, one.bytes is None and one.modified is None),
        )
        row = found.fetchone()
        return None if row is None else row[0]

    def at(self, place: str) -> tuple[int, State] | None:
        """Number and state of the input whose results are called so; None where there is none."""
        found = self._db.execute(f"SELECT id, state FROM inputs WHERE place_key={_TEXT}", (_raw(place.casefold()),))
        row = found.fetchone()
        return None if row is None else tuple(row)

    def sums(self) -> dict[str, float]:
        """Frames, seconds of video, seconds of work and bytes written of what is done."""
        frames, video, seconds = self._db.execute(
            "SELECT coalesce(sum(frames),0), coalesce(sum(video_seconds),0), coalesce(sum(seconds),0) FROM inputs "
            "WHERE state IN ('done','damaged')"
        ).fetchone()
        (written,) = self._db.execute("SELECT coalesce(sum(bytes),0) FROM files").fetchone()
        return {"frames": frames, "video_seconds": video, "seconds": seconds, "bytes": written}

    def reasons(self, *, listed: bool = False) -> list[Trouble]:
        """What is not simply done, by state and reason."""
        where = " AND listed" if listed else ""
        return [
            Trouble(state, reason, count, hide_secrets(path), message or "")
            for state, reason, count, path, message in self._db.execute(
                "SELECT state, coalesce(reason,''), count(*), min(path), message FROM inputs "
                f"WHERE state IN ('failed','damaged'){where} GROUP BY state, reason ORDER BY state DESC, 3 DESC"
            )
        ]

    def live(self) -> list[tuple[str, int, int | None, float, float, int]]:
        """Path, frames, total, seconds of video, time of the last word, and size of the input, of what is under way."""
        found = self._db.execute(
            "SELECT path, l.frames, total, pts_seconds, beat, coalesce(bytes,0) FROM live l "
            "JOIN inputs ON inputs.id=l.input ORDER BY path"
        )
        return [(hide_secrets(path), *rest) for path, *rest in found.fetchall()]

    def rows(self, states: Sequence[State] = ()) -> Iterator[Row]:
        """All inputs in their order, or those of some states; a few at a time."""
        marks = f" AND state IN ({','.join('?' * len(states))})" if states else ""
        last = 0
        while chunk := self._rows(f"WHERE id>?{marks} ORDER BY id LIMIT 1000", (last, *states)):
            yield from chunk
            last = chunk[-1].id

    def attempts_of(self, id: int) -> int:
        """How often an input was tried, those attempts included that do not count."""
        return int(self._db.execute("SELECT count(*) FROM attempts WHERE input=?", (id,)).fetchone()[0])

    def lines(self) -> Iterator[tuple[Row, str]]:
        """All inputs in their order, each with the names of its files, with "; " between them."""
        files = "(SELECT group_concat(file, '; ') FROM files WHERE input=inputs.id)"
        found = self._db.execute(f"SELECT {_COLUMNS}, coalesce({files}, '') FROM inputs ORDER BY id")
        for *row, names in found:
            yield _row(row), names

    def finished(self) -> Iterator[tuple[str, str, dict[str, str], str | None, str | None]]:
        """Path, place, tags, and the names of table and record, of what is done, whole or damaged."""
        files = ", ".join(
            f"(SELECT file FROM files WHERE input=id AND stage='{stage}')" for stage in ("table", "record")
        )
        found = self._db.execute(
            f"SELECT path, place, tags, {files} FROM inputs WHERE listed AND state IN ('done','damaged') ORDER BY id"
        )
        for path, place, tags, table, record in found:
            yield path, place, json.loads(tags), table, record

    def query(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """The answer to any question in SQL, for reports and tests."""
        yield from self._db.execute(sql)

    def _rows(self, rest: str, values: Sequence[Any]) -> list[Row]:
        found = self._db.execute(f"SELECT {_COLUMNS} FROM inputs {rest}", values)
        return [_row(row) for row in found.fetchall()]


def _former(stage: str, file: str, size: int, sha256: str, address: str) -> Made:
    return Made(stage, file, size, sha256, address or None)


def _row(values: Sequence[Any]) -> Row:
    named = dict(zip(_NAMES, values, strict=True))
    return Row(**named | {"listed": bool(named["listed"])} | {name: json.loads(values[n]) for name, n in _AS_JSON})


def _worth(state: str, ended: float | None) -> tuple[int, float]:
    """What is to be preferred of two words on one input: the better state, then the later one."""
    return _WORTH[state], ended or 0.0


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open a database that is there, also where nothing may be written."""
    if not path.is_file():
        raise EncodeError(f"{path.parent.parent} holds no batch: there is no {path}")
    # Who may write takes away what SQLite puts beside the file. Where there is nothing beside it, nobody is at work.
    ways = ["mode=rw", "mode=ro", *([] if path.with_name(f"{path.name}-wal").exists() else ["immutable=1"])]
    for way in ways:
        try:
            database = sqlite3.connect(
                f"{path.absolute().as_uri()}?{way}", uri=True, isolation_level=None, timeout=_BUSY_SECONDS
            )
            database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            if way == ways[-1]:
                raise
        else:
            return database
    raise RuntimeError("there is a last way")


def _raw(text: str) -> bytes:
    return os.fsencode(text)


def _key(name: str) -> bytes:
    """The same for names that some file systems take for one."""
    return _raw(name.casefold())


def _keys(names: Sequence[str]) -> tuple[bytes, bytes | None]:
    """Those of the first two names; the further ones are nobody else's."""
    return _key(names[0]), _key(names[1]) if len(names) > 1 else None


def _clean(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _json(value: Any) -> str:
    return json.dumps(value) if value else "[]" if isinstance(value, list) else "{}"
