"""What every engine promises: it takes works, and gives the events of each until its end.

And `QueueEngine`, what those have in common that keep works until a worker is free.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from vidsal.batch.work import Died, Ended, Event, Work

__all__ = ["Engine", "QueueEngine", "not_begun"]


class Engine(ABC):
    """Does the works of a batch; a context manager that ends all its workers when it is left.

    Every work that is submitted ends in exactly one `Ended`, or is named in one `Died`. No method waits for a worker,
    but for `events` and leaving. Nothing of an engine touches the job's database.
    """

    @abstractmethod
    def room(self) -> int:
        """How many more works may be submitted now."""

    @abstractmethod
    def submit(self, work: Work) -> None:
        """Begin a work as soon as a worker is free.

        It may wait a moment: that keeps workers busy, and bounds what sits in memory.
        """

    @abstractmethod
    def events(self, seconds: float) -> list[Event]:
        """What happened since the last call; waits up to `seconds` for something to happen."""

    @abstractmethod
    def kill(self, id: int) -> None:
        """End the work on an input at once, whatever it is at; a `Died` that names it as `killed` follows."""

    @abstractmethod
    def stop(self) -> None:
        """Let nothing new begin, and have what is under way closed; each ends as `interrupted`."""

    @abstractmethod
    def close(self) -> None:
        """End all workers at once."""

    @abstractmethod
    def describe(self) -> str:
        """Who does the work, for people: "2 processes on the CPU"."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class QueueEngine(Engine):
    """An engine that keeps works until a worker has room for them."""

    def __init__(self) -> None:
        self._queue: deque[Work] = deque()
        """Works that no worker has yet."""
        self._told: deque[Event] = deque()
        """What the next call of `events` gives."""
        self._stopping = False

    def submit(self, work: Work) -> None:
        self._queue.append(work)

    def kill(self, id: int) -> None:
        if self._kill_given(id):
            return
        for work in list(self._queue):
            if work.id == id:
                self._queue.remove(work)
                self._told.append(Died((id,), "it was not begun", id))

    @abstractmethod
    def _kill_given(self, id: int) -> bool:
        """End the worker that has a work; False where none has it."""

    def stop(self) -> None:
        self._stopping = True
        self._told.extend(map(not_begun, self._queue))
        self._queue.clear()
        self._stop_workers()

    @abstractmethod
    def _stop_workers(self) -> None:
        """Tell them to close what is under way."""

    def _put_back(self, works: Iterable[Work]) -> None:
        """Works that a worker had and did not begin come next, unless nothing is begun any more."""
        if self._stopping:
            self._told.extend(map(not_begun, works))
        else:
            self._queue.extendleft(reversed(list(works)))

    def _take_told(self) -> list[Event]:
        told = list(self._told)
        self._told.clear()
        return told


def not_begun(work: Work) -> Ended:
    """The end of a work that was not begun, and costs its input nothing."""
    return Ended(work.id, "interrupted", message="not begun", free_of_charge=True)
