"""A path in; the file whole under its name or not there at all, and locks that keep two processes off the same file."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vidsal.errors import EncodeError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["put_in_place", "replacing", "sha256_of", "try_to_lock", "writing"]

_ELSEWHERE = "choose another folder"
_FULL_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@contextmanager
def writing(path: Path, *, remedy: str | None = _ELSEWHERE, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn what the system raises while a file is written into an error that says what to do.

    Args:
        path: the file, for the message.
        remedy: what to do, apart from freeing space on a full disk; None where it is unknown.
        also: what a library raises in place of an `OSError`.

    Raises:
        EncodeError: instead of these.
    """
    raised: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except raised as error:
        # A library may raise its own error over the system's, which says more.
        below = error.__context__
        cause = below if isinstance(below, OSError) and not isinstance(error, OSError) else error
        number = getattr(cause, "errno", None)
        reason = getattr(cause, "strerror", None) or str(cause)
        if number in _FULL_DISK:
            reason = f"the disk is full ({os.strerror(number)}); free some space or {remedy or _ELSEWHERE}"
        elif remedy is not None:
            reason += f"; {remedy}"
        raise EncodeError(f"cannot write {path}: {reason}") from error


@contextmanager
def replacing(
    path: Path,
    *,
    remedy: str = _ELSEWHERE,
    also: tuple[type[Exception], ...] = (),
    make_folder: bool = False,
    durable: bool = False,
) -> Iterator[Path]:
    """Write a file beside its target, and rename it once it is whole.

    Any number of processes may write the same target at once: each has a file of its own, and the last to end wins.
    Who reads the target meanwhile sees the old file or the new one. After an error, an interrupt included, the target
    is what it was and nothing is left beside it; only a killed process leaves its `NAME.TOKEN.partial`.

    A link stays, and what it points to is replaced. A device or a pipe cannot be replaced: it is written to directly.
    The mode of a file that is replaced is kept; a new one gets the mode that files get here.

    Args:
        path: the target.
        remedy: as for `writing`.
        also: as for `writing`.
        make_folder: makes the folder of the target where it is missing.
        durable: waits until the content is on the disk, for what took hours: it then outlives a loss of power too.

    Yields:
        The path to write to, an empty file, to be closed at the end of the block.

    Raises:
        EncodeError: the target is a folder, or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = Path(folder) / "scores.txt"
        ...     with replacing(target) as partial:
        ...         _ = partial.write_text("whole")
        ...         before = target.exists()
        ...     before, target.read_text()
        (False, 'whole')
    """
    with writing(path, remedy=remedy, also=also):
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise EncodeError(f"cannot write {path}: it is a folder; choose another name")
        if target.exists() and not target.is_file():
            yield target
            return
        if make_folder:
            target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
        partial.touch(exist_ok=False)
        try:
            mode = partial.stat().st_mode
            yield partial
            # Some libraries make files that only their owner may read.
            _give_mode(partial, mode)
            if durable:
                with partial.open("r+b") as file:
                    os.fsync(file.fileno())
            put_in_place(partial, target)
        finally:
            with suppress(OSError):
                partial.unlink()


def put_in_place(partial: Path, target: Path) -> None:
    """Rename a file that is whole and closed to its target beside it; a target that is there is replaced.

    The mode of a file that is replaced is kept. On Windows, a target that is open in a program cannot be replaced.

    Raises:
        OSError: it cannot be renamed; both files are what they were.
    """
    with suppress(FileNotFoundError):
        _give_mode(partial, target.stat().st_mode)
    partial.replace(target)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _give_mode(path: Path, mode: int) -> None:
    if path.stat().st_mode != mode:
        # Some shares have no modes.
        with suppress(PermissionError):
            path.chmod(stat.S_IMODE(mode))
