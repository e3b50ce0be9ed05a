"""How urgent the threads of this process are, kept as it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["kept_urgency"]


@contextmanager
def kept_urgency() -> Iterator[None]:
    """Whatever is done inside leaves every thread of this process as urgent as it was; new ones are as the caller.

    An encoder (libsvtav1, if root opens it on Linux) makes all of them real-time, for good, and so every process that
    is started afterwards: as long as they compute, nothing else on the machine gets a core.
    """
    if sys.platform != "linux":
        yield
        return
    own, before = (os.sched_getscheduler(0), os.sched_getparam(0)), _urgencies()
    try:
        yield
    finally:
        for thread, found in _urgencies().items():
            if found != (wanted := before.get(thread, own)):
                # Threads end meanwhile. To become less urgent nobody needs a right.
                with suppress(OSError):
                    os.sched_setscheduler(thread, *wanted)


def _urgencies() -> dict[int, tuple[int, os.sched_param]]:
    """Of each thread of this process."""
    found = {}
    for thread in Path("/proc/self/task").iterdir():
        number = int(thread.name)
        with suppress(OSError):
            found[number] = (os.sched_getscheduler(number), os.sched_getparam(number))
    return found
