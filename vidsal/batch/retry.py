"""A job in, the command that worked on it last out, with what failed waiting again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsal.batch.database import JobDatabase
from vidsal.batch.folder import database_path, databases, working_on
from vidsal.batch.inputs import Given, ListedInputs, Shard
from vidsal.batch.options import ArchiveOptions
from vidsal.config import from_yaml, resolve
from vidsal.errors import EncodeError

__all__ = ["LastCommand", "retry_job", "stored_options"]


@dataclass(frozen=True)
class LastCommand:
    """What it takes to go on with a batch."""

    given: Given
    """What the command named."""
    options: ArchiveOptions
    """Its options."""
    folder: Path
    """The working folder that its paths are relative to."""
    again: int
    """How many inputs wait again."""
    waiting: int
    """How many waited already."""


def retry_job(output: Path, *, damaged: bool = False, shard: Shard | None = None) -> LastCommand:
    """Let the inputs of a job that failed wait again.

    Args:
        output: the folder of all results.
        damaged: those that are damaged, too.
        shard: the part of the batch that it is about; None: the whole.

    Raises:
        EncodeError: there is no such job, or a batch is at work on it.
        ConfigError: the options of the last command are none of this version's.
    """
    path = database_path(output, shard)
    found = databases(output)
    if path not in found:
        if not found:
            raise EncodeError(f"{output} holds no batch: name the folder that was its --output")
        names = ", ".join(one.stem for one in found)
        raise EncodeError(
            f"there is no {path}, only {names}: name one part (--shard I/N), or make one job of them "
            f"(vidsal batch merge {output})"
        )
    with working_on(path) as database:
        run = database.last_run()
        if run is None or not run["options"]:
            raise EncodeError(f"{path} holds no command yet: give the whole command")
        told = json.loads(run["given"] or "{}")
        options = stored_options(run, output)
        given = Given(
            inputs=tuple(told.get("inputs", ())),
            listed=_listed(told, database),
            include=tuple(told.get("include", ())),
            exclude=tuple(told.get("exclude", ())),
            output=str(output),
            list_name=told.get("list_name", ""),
            null=bool(told.get("null")),
        )
        before = database.counts(listed=True).get("waiting", 0)
        database.retry(("failed", "damaged") if damaged else ("failed",))
        again = database.counts(listed=True).get("waiting", 0) - before
        return LastCommand(given, options, Path(told.get("folder") or "."), again, before)


def stored_options(run: Mapping[str, Any], output: Path) -> ArchiveOptions:
    """The options of a run of a job.

    Args:
        run: as `JobDatabase.last_run` gives it.
        output: the folder of all results, which may have been moved.

    Raises:
        ConfigError: they are none of this version's.
    """
    return resolve(ArchiveOptions, from_yaml(run["options"], ArchiveOptions) | {"output": output})


def _listed(told: Mapping[str, Any], database: JobDatabase) -> Iterable[Mapping[str, Any]]:
    name = told.get("list_name")
    if not name:
        return ()
    if name != "-":
        return ListedInputs(name, zero=bool(told.get("null")))
    # What came through a pipe is known from the database alone.
    rows = (row for row in database.rows() if row.listed)
    return [{"path": row.path, "tags": dict(row.tags), **row.overrides} for row in rows]
