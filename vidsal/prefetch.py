"""An iterable in, the same values out, made ahead of time by one thread: the only file that starts one."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

__all__ = ["Prefetched", "limit_arenas", "prefetch", "usable_cores"]

T = TypeVar("T")
_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


class Prefetched(Iterator[T], Generic[T]):
    """What `prefetch` yields: the values in order; an error of the source appears where they are read."""

    def __init__(self, iterable: Iterable[T], *, depth: int, drop_oldest: bool, name: str) -> None:
        self._iterable = iterable
        self._depth = depth
        self._drop_oldest = drop_oldest
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._ended = False
        self._error: BaseException | None = None
        self._close_error: BaseException | None = None
        self._thread = threading.Thread(target=self._produce, name=name, daemon=True)
        self.busy_seconds = 0.0
        """Seconds the source has spent making values so far; waiting for the reader is not counted."""
        self.dropped = 0
        """Values thrown away so far because the reader was slow; 0 unless `drop_oldest`."""

    @property
    def ready(self) -> int:
        """Values that can be read now without waiting."""
        with self._changed:
            return len(self._waiting)

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended or self._stopped)
            if self._waiting:
                value = self._waiting.popleft()
                self._changed.notify_all()
                return value
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def _produce(self) -> None:
        source: Iterator[T] | None = None
        try:
            source = iter(self._iterable)
            while not self._stopped:
                started = time.perf_counter()
                try:
                    value = next(source)
                except StopIteration:
                    break
                finally:
                    self.busy_seconds += time.perf_counter() - started
                if not self._append(value):
                    break
        except BaseException as error:  # noqa: BLE001 - raised again where the values are read
            self._error = error
        finally:
            # A generator must be closed by the thread that runs it.
            try:
                getattr(source, "close", lambda: None)()
            except BaseException as error:  # noqa: BLE001 - raised again when the block is left
                self._close_error = error
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _append(self, value: T) -> bool:
        """Waits for room, unless the oldest may be dropped; False where the values are no longer wanted."""
        with self._changed:
            if self._drop_oldest and len(self._waiting) >= self._depth:
                self._waiting.popleft()
                self.dropped += 1
            self._changed.wait_for(lambda: len(self._waiting) < self._depth or self._stopped)
            if self._stopped:
                return False
            self._waiting.append(value)
            self._changed.notify_all()
            return True

    def _stop(self) -> BaseException | None:
        """Ends the thread and returns what closing the source raised."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join()
        return self._close_error


@contextmanager
def prefetch(
    iterable: Iterable[T], *, depth: int = 2, drop_oldest: bool = False, name: str = "vidsal-prefetch"
) -> Iterator[Prefetched[T]]:
    """Makes the values of `iterable` ahead of time in a thread of its own.

    Leaving the block, in whatever way, stops the thread and joins it, also while it waits for room; a generator is
    closed in the thread that ran it. The thread ends after the current step of the source, so a source that may block
    forever needs a timeout of its own.

    Args:
        iterable: the source; it is iterated in the new thread only.
        depth: values that may wait unread, at least 1.
        drop_oldest: with `depth` values waiting, True throws the oldest away to make room (live sources), False lets
            the source wait.
        name: name of the thread, for debuggers.

    Yields:
        An iterator over the values. What the source raises is raised by `next`, with its traceback, after the values
        that were made before.

    Raises:
        ValueError: `depth` is below 1.

    Example:
        >>> with prefetch(range(3)) as numbers:
        ...     list(numbers)
        [0, 1, 2]
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    values: Prefetched[T] = Prefetched(iterable, depth=depth, drop_oldest=drop_oldest, name=name)
    values._thread.start()
    try:
        yield values
    except BaseException:
        values._stop()
        raise
    close_error = values._stop()
    if close_error is not None:
        raise close_error


def usable_cores() -> int:
    """Cores this process may use: its affinity where the system can say so, else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_arenas() -> None:
    """On glibc, let threads share as many heaps as there are cores, and not eight times as many.

    Each keeps what its threads have freed: with frames going from thread to thread, 5 % of a run's memory. It counts
    for threads that start later. What the user set by `MALLOC_ARENA_MAX` stays.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        # Other C libraries have no such function, or do without arenas.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, max(2, usable_cores()))
