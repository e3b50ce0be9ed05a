"""What happens in a batch in, a line of JSON for each of it out, at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from vidsal.addresses import hide_secrets
from vidsal.batch.database import Row, State
from vidsal.batch.inputs import Search
from vidsal.batch.schedule import BatchProgress
from vidsal.batch.work import Ended
from vidsal.errors import EncodeError

__all__ = ["EventLog"]


class EventLog:
    """Writes events to the end of a file; a context manager.

    Events: begin, begun (an input), ended (an input), pause, resume, stopping, end.

    Args:
        path: the file; None: nothing is written.
        on_trouble: told once when it cannot be written any more; the batch goes on.

    Raises:
        EncodeError: it cannot be opened.
    """

    def __init__(self, path: Path | None, *, on_trouble: Callable[[str], None]) -> None:
        self._path = path
        self._on_trouble = on_trouble
        self._begun: set[int] = set()
        self._pause = False
        self._file: IO[str] | None = None
        if path is not None:
            try:
                self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
            except OSError as error:
                raise EncodeError(f"cannot write {path}: {error.strerror}; choose another --log") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def begin(self, progress: BatchProgress, search: Search, who: str) -> None:
        """A run begins."""
        counts = dict(progress.counts)
        self.write("begin", inputs=progress.inputs, counts=counts, engine=who, left_out=search.as_dict())

    def show(self, progress: BatchProgress) -> None:
        """See what has begun since it was last called, and whether there is a pause."""
        for id, lane in progress.lanes.items():
            if lane.begun is not None and id not in self._begun:
                self._begun.add(id)
                self.write("begun", id=id, path=hide_secrets(lane.path))
        if bool(progress.pause) != self._pause:
            self._pause = bool(progress.pause)
            self.write("pause" if self._pause else "resume", message=progress.pause)

    def end(self, end: Ended, row: Row, state: State) -> None:
        """An attempt has ended."""
        if end.id not in self._begun and end.outcome != "interrupted":
            self.write("begun", id=end.id, path=hide_secrets(row.path))
        self._begun.discard(end.id)
        values = dataclasses.asdict(end)
        attempts = row.attempts + (not end.free_of_charge)
        self.write("ended", path=hide_secrets(row.path), place=row.place, state=state, attempts=attempts, **values)

    def write(self, event: str, **values: Any) -> None:
        """Write an event."""
        if self._file is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self._file.write(json.dumps({"time": now, "event": event, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            self._on_trouble(f"{self._path} cannot be written any more: {error.strerror}; the batch goes on without it")
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                return
