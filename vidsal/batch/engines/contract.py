"""What every engine promises: it takes works, and gives the events of each until its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from vidsal.batch.work import Event, Work

__all__ = ["Engine"]


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
