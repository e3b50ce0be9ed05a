"""A job in, where the results of each of its inputs lie elsewhere out, also of those that were kept here as well."""

from __future__ import annotations

import yaml

from vidsal.batch.database import JobDatabase
from vidsal.batch.work import Made

__all__ = ["Uploads"]


class Uploads:
    """Where results were uploaded to, as the commands say that made them.

    Args:
        database: the job.
    """

    def __init__(self, database: JobDatabase) -> None:
        self._database = database
        self._folders: dict[int, str | None] = {}

    def address(self, id: int, made: Made) -> str | None:
        """Where a result of an input lies elsewhere, or would; None where it was not uploaded."""
        if made.address is not None:
            return made.address
        run = self._database.run_of(id)
        if run is None:
            return None
        if run["id"] not in self._folders:
            options = yaml.safe_load(run["options"] or "{}") or {}
            self._folders[run["id"]] = options.get("batch", {}).get("upload")
        folder = self._folders[run["id"]]
        if folder is None:
            return None
        # Here, and not above: it takes what most batches do not need.
        from vidsal.batch.storage import join

        return join(folder, *made.file.split("/"))
