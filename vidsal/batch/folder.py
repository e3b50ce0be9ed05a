"""The folder of all results in, the databases of the job in it out, open for the one process that may change one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vidsal.batch.database import JobDatabase
from vidsal.errors import EncodeError
from vidsal.files import claim, release

if TYPE_CHECKING:
    from vidsal.batch.inputs import Shard

__all__ = ["current_databases", "database_path", "databases", "job_folder", "working_on"]

_JOB_FOLDER = ".vidsal-batch"
_MOMENT_SECONDS = 0.2


def job_folder(output: Path) -> Path:
    """Where a job keeps what it knows."""
    return output / _JOB_FOLDER


def database_path(output: Path, shard: Shard | None = None) -> Path:
    """The database of a job, or of one shard of it."""
    return job_folder(output) / f"{'job' if shard is None else shard.name}.sqlite"


def databases(output: Path) -> list[Path]:
    """All databases that lie in a folder of results: of the job, and of shards."""
    job = database_path(output)
    return [path for path in (job, *sorted(job_folder(output).glob("shard-*-of-*.sqlite"))) if path.is_file()]


def current_databases(output: Path) -> list[Path]:
    """Those of them that tell how things are: shards, or the job that they were merged into or that ran after them.

    Raises:
        EncodeError: there is none, or one cannot be read.
    """
    found = databases(output)
    if not found:
        raise EncodeError(f"{output} holds no batch: name the folder that was its --output")
    latest: dict[Path, float] = {}
    for path in found:
        with JobDatabase(path, read_only=True) as database:
            run = database.last_run()
        latest[path] = 0.0 if run is None else float(run["ended"] or run["beat"] or run["started"])
    job = database_path(output)
    newest = max(found, key=latest.__getitem__)
    return [path for path in found if (path == job) == (newest == job)]


@contextmanager
def working_on(path: Path) -> Iterator[JobDatabase]:
    """Hold the database of a job open for the one process that may change it.

    Raises:
        EncodeError: another process is at work on it, or it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = claim(path)
        if lock is None:
            # Who asks whether it is held holds it for a moment.
            time.sleep(_MOMENT_SECONDS)
            lock = claim(path)
    except OSError as error:
        raise EncodeError(f"cannot write into {path.parent}: {error.strerror}") from error
    if lock is None:
        output = path.parent.parent
        raise EncodeError(
            f"another vidsal batch is at work on {output}: wait for its end, or see how far it is with: vidsal batch "
            f"status {output}"
        )
    try:
        with JobDatabase(path) as database:
            yield database
    finally:
        release(path, lock)
