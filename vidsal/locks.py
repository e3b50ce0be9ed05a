"""An open file in, whether it is locked for this process out: how two processes keep off the same target."""

from __future__ import annotations

import errno
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["try_to_lock"]


def try_to_lock(file: int) -> bool:
    """Lock an open file for as long as it is open or the process lives.

    Args:
        file: its descriptor, open for writing.

    Returns:
        False where another holds the lock; True also on a file system that has no locks.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Any other error is a file system without locks: one process at a time works there as well.
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
    return True
