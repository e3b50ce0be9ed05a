"""A folder of results in, what the batch that made them says of every input out: for its index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vidsal.addresses import hide_secrets
from vidsal.batch.database import JobDatabase
from vidsal.batch.folder import current_databases, databases
from vidsal.index import Account

__all__ = ["accounts_in", "read_accounts"]


def read_accounts(output: Path) -> dict[str, Account]:
    """What a batch says of its inputs, by what their results are called; empty where no batch wrote into the folder.

    The batch may be at work meanwhile.

    Raises:
        EncodeError: its database cannot be read.
    """
    found: dict[str, Account] = {}
    for path in current_databases(output) if databases(output) else ():
        with JobDatabase(path, read_only=True) as database:
            found |= accounts_in(database)
    return found


def accounts_in(database: JobDatabase) -> Iterator[tuple[str, Account]]:
    """The same of one database."""
    for row, _ in database.lines():
        shown = hide_secrets(row.path)
        name = shown.replace("\\", "/").rstrip("/").rpartition("/")[2] or shown
        # The state is shown beside it.
        note = ": ".join(part for part in (row.reason, row.message) if part and part != row.state)
        known = bool(row.frames)
        yield (
            row.place,
            Account(
                name=name,
                state=row.state,
                # Where it lies is nothing for those who look at its results from elsewhere.
                note=note.replace(row.path, name).replace(shown, name),
                seconds=row.video_seconds if known else None,
                frames=row.frames if known else None,
                tags=row.tags,
                listed=row.listed,
            ),
        )
