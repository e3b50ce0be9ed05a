"""The databases of shards in, one database of the whole job out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vidsal.batch.folder import database_path, databases, job_folder, working_on
from vidsal.batch.job import gather
from vidsal.batch.retry import stored_options
from vidsal.batch.summary import write_summary
from vidsal.errors import EncodeError

__all__ = ["MergeReport", "merge_jobs"]


@dataclass(frozen=True)
class MergeReport:
    """What was merged."""

    databases: tuple[Path, ...]
    """From where."""
    changed: int
    """Inputs that the job did not have, or had in another state."""
    counts: dict[str, int]
    """How many inputs of the job are in which state now."""
    files: tuple[Path, ...]
    """batch.csv and batch.json of the whole."""
    notes: tuple[str, ...]
    """What a user should know."""


def merge_jobs(output: Path, others: Sequence[Path] = ()) -> MergeReport:
    """Put what shards did into one job, which then goes on as any other; merging once more changes nothing.

    Of an input that several know, the best counts: done over damaged over failed over waiting.

    Args:
        output: the folder of all results, with the databases of shards in it.
        others: further folders, whose results were copied into the first one.

    Raises:
        EncodeError: there is nothing to merge, a shard or the job is at work, a database cannot be read, or two inputs
            have results of one name; the job is what it was then.
    """
    target = database_path(output)
    found = [path for folder in (output, *others) for path in _databases_in(folder) if path != target]
    if not found:
        raise EncodeError(
            f"there is nothing to merge in {job_folder(output)}: run the shards with --output {output}, or name the "
            "folders of their results too"
        )
    with ExitStack() as stack:
        # None of them may change meanwhile.
        held = [stack.enter_context(working_on(path)) for path in found]
        job = stack.enter_context(working_on(target))
        changed = job.absorb(held)
        files = write_summary(output, job)
        run = job.last_run()
        wanted = run is not None and run["options"] and stored_options(run, output).batch.dataset
        notes = gather(output, job)[1] if wanted else ()
        return MergeReport(tuple(found), changed, job.counts(listed=True), files, notes)


def _databases_in(folder: Path) -> list[Path]:
    found = databases(folder)
    if not found:
        raise EncodeError(f"{folder} holds no batch: name folders that were the --output of one")
    return found
