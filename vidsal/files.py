"""A path in; the file whole under its name or not there at all, and locks that keep two processes off the same file."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from vidsal.errors import EncodeError, ExistsError, Setting

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = [
    "called_alike",
    "check_free",
    "claim",
    "clear",
    "fresh",
    "is_claimed",
    "is_folder",
    "local_name",
    "making_folder",
    "note_other_video",
    "put_all_in_place",
    "put_in_place",
    "release",
    "replacing",
    "sha256_of",
    "short_name",
    "try_to_lock",
    "writing",
]

_ELSEWHERE = "choose another folder"
_FULL_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_LONGEST_NAME = 255
"""Bytes of a file's name on the usual file systems."""
_HASH_DIGITS = 8


def local_name(path: str | Path) -> str:
    """The name by which FFmpeg opens a local file: never an address, whatever stands in it.

    Example:
        >>> local_name("2024-05-01T12:30:45.mp4")
        'file:2024-05-01T12:30:45.mp4'
    """
    return f"file:{os.fspath(path)}"


def is_folder(path: Path) -> bool:
    """Whether a folder is there; False, too, where the path is too long or may not be looked at."""
    with suppress(OSError, ValueError):
        return path.is_dir()
    return False


def called_alike(name: str, video: str) -> bool:
    """Whether a name, with any folder and any ending or none, is that of a video.

    Example:
        >>> called_alike("drives/Drive1.avi", "drive1.mp4"), called_alike("drive2", "drive1.mp4")
        (True, False)
    """
    ours, theirs = PurePath(video), PurePath(name.replace("\\", "/"))
    whole = {one.casefold() for one in (ours.name, ours.stem)}
    return theirs.name.casefold() in whole or theirs.stem.casefold() == ours.stem.casefold()


def note_other_video(path: Path, video: str) -> list[str]:
    """A sentence for a person where a result is called after another video than the one it is used for, or nothing.

    Example:
        >>> note_other_video(Path("out/drive2.vidsal.aois.csv"), "in/drive1.mp4")
        ['out/drive2.vidsal.aois.csv is called like a result of drive2, not of drive1.mp4: is it of this video?']
        >>> note_other_video(Path("out/drive1.vidsal.aois.csv"), "in/drive1.mp4")
        []
    """
    stem, found, _ = path.name.partition(".vidsal.")
    if not found or called_alike(stem, video):
        return []
    return [f"{path} is called like a result of {stem}, not of {PurePath(video).name}: is it of this video?"]


def short_name(stem: str, folder: Path, *, room: int) -> str:
    """A stem to which so much can be added that the name still fits the file system.

    One that is too long is cut, and ends in a part of its hash, so that two of them stay different and each is the same
    in every run.

    Args:
        stem: the beginning of a file's name.
        folder: where the file is to be; it may be missing.
        room: bytes to keep free behind it.

    Example:
        >>> short_name("clip", Path("."), room=40), len(short_name("n" * 251, Path("."), room=55))
        ('clip', 200)
    """
    longest = _LONGEST_NAME
    place = next((place for place in (folder, *folder.absolute().parents) if is_folder(place)), None)
    if place is not None and hasattr(os, "pathconf"):
        with suppress(OSError, ValueError):
            longest = os.pathconf(place, "PC_NAME_MAX")
    coded = os.fsencode(stem)
    if len(coded) + room <= longest:
        return stem
    mark = f"-{hashlib.sha256(coded).hexdigest()[:_HASH_DIGITS]}"
    kept = coded[: max(1, longest - room - len(mark))]
    # Not in the middle of a character.
    while kept and (coded[len(kept)] & 0xC0) == 0x80:
        kept = kept[:-1]
    return os.fsdecode(kept) + mark


def check_free(path: Path, *, overwrite: bool, instead: str = "") -> None:
    """Refuse to replace a result that is there, unless that is asked for.

    Args:
        path: where the result goes.
        overwrite: lets it be replaced.
        instead: what else may be done, in words that follow "to replace it".

    Raises:
        ExistsError: it is there, and may not be replaced.
    """
    if path.exists() and not overwrite:
        raise ExistsError(f"{path} exists already; use ", Setting("overwrite", True), f" to replace it{instead}")


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
    is what it was and nothing is left beside it; only a killed process leaves its `NAME.partial`, with a lock that no
    longer holds, and the next one to write the target takes them over.

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
        partial = target.with_name(f"{target.name}.partial")
        lock = claim(partial, sure=True)
        if lock is None:
            partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
        try:
            # A name with a token in it is nobody's yet.
            fresh(partial, replace=lock is not None)
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
        finally:
            if lock is not None:
                release(partial, lock)


@contextmanager
def making_folder(folder: Path) -> Iterator[None]:
    """Make a folder for results, and those above it; with an error in the block, what was made for it goes again.

    Raises:
        EncodeError: it cannot be made, or not be written into.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    # Tried first and asked about afterwards: another run may make it meanwhile.
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise EncodeError(f"{folder} is a file, expected a folder for the results") from error
    except OSError as error:
        raise EncodeError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise EncodeError(
            f"cannot write into {folder}: no permission, or a read-only disk; choose another folder with ",
            Setting("output"),
        )
    try:
        yield
    except BaseException:
        for one in made:
            with suppress(OSError):  # another run's results may lie there by now
                one.rmdir()
        raise


def fresh(path: Path, *, replace: bool = True) -> None:
    """Make an empty file under a name of vidsal's own, in place of what a killed process left there.

    A link under this name is removed and never followed: where others may write too, it may point to anything.

    Args:
        path: the file.
        replace: False refuses whatever is there.

    Raises:
        OSError: a folder, a pipe or a device has the name, or the file cannot be made.
    """
    if replace:
        clear(path)
    path.touch(exist_ok=False)


def clear(path: Path) -> None:
    """Remove what a killed process left under a name of vidsal's own: a file or a link.

    Raises:
        OSError: a folder, a pipe or a device has the name, or the file cannot be removed.
    """
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            raise _in_the_way(path, mode)
        path.unlink()


def claim(path: Path, *, sure: bool = False) -> int | None:
    """Claim a file for one writer, by a lock on `PATH.lock`; the lock of a killed process does not hold.

    Args:
        path: what is to be written.
        sure: None, too, on a file system without locks, unless nobody can have claimed it.

    Returns:
        What `release` takes; None where another has claimed it.

    Raises:
        OSError: the lock cannot be made.
    """
    # A file of its own: the file itself is replaced at times, and on some shares a lock bars all writing.
    lock_path = _lock_of(path)
    while True:
        try:
            file, made = _open_lock(lock_path)
        except FileNotFoundError:
            if lock_path.parent.is_dir():
                continue  # removed by its holder at this moment
            raise
        try:
            mode = os.fstat(file).st_mode
            if not stat.S_ISREG(mode):
                raise _in_the_way(lock_path, mode)
            locked = _lock(file)
            if locked is False or (locked is None and sure and not made):
                return None
            # Its holder may have removed the file between our opening and our locking it.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), lock_path.stat()):
                    held, file = file, -1
                    return held
        finally:
            if file >= 0:
                os.close(file)


def release(path: Path, claimed: int) -> None:
    """Give up what `claim` returned, and remove its lock."""
    lock_path = _lock_of(path)
    if sys.platform == "win32":
        # An open file cannot be removed there: neither ours, nor that of a process that follows at once.
        os.close(claimed)
        with suppress(OSError):
            lock_path.unlink()
    else:
        with suppress(OSError):
            lock_path.unlink()
        os.close(claimed)


def is_claimed(path: Path) -> bool | None:
    """Whether a living process holds the claim to a file; None on a file system without locks.

    Nothing is made or changed. A `claim` at the same moment may be refused.
    """
    try:
        file = os.open(_lock_of(path), os.O_RDWR if sys.platform == "win32" else os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        free = _lock(file, shared=True)
        return None if free is None else not free
    finally:
        os.close(file)


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _open_lock(path: Path) -> tuple[int, bool]:
    """Open the file of a lock; whether it was made new comes with it."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        if path.is_symlink():
            path.unlink()
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        return os.open(path, flags), False


def _in_the_way(path: Path, mode: int) -> OSError:
    what = "folder" if stat.S_ISDIR(mode) else "pipe" if stat.S_ISFIFO(mode) else "device or a socket"
    return FileExistsError(errno.EEXIST, f"{path} is a {what}; remove it")


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


def put_all_in_place(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Rename several files that belong together, as `put_in_place` does one; after an error none has its target's name.

    No file system does that in one step. A process that is killed in between leaves some of them renamed. After an
    error, a target that was there before and was replaced already stays replaced.

    Args:
        pairs: partial file and target of each.

    Raises:
        OSError: one cannot be renamed.
    """
    renamed: list[tuple[Path, Path]] = []
    try:
        for partial, target in pairs:
            is_new = not target.exists()
            put_in_place(partial, target)
            if is_new:
                renamed.append((partial, target))
    except OSError:
        for partial, target in renamed:
            with suppress(OSError):
                target.replace(partial)
        raise


def try_to_lock(file: int) -> bool:
    """Lock an open file for as long as it is open or the process lives.

    Args:
        file: its descriptor, open for writing.

    Returns:
        False where another holds the lock; True also on a file system that has no locks.
    """
    return _lock(file) is not False


def _lock(file: int, *, shared: bool = False) -> bool | None:
    """As `try_to_lock`; None where there are no locks."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        # Any other error is a file system without locks: one process at a time works there as well.
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK) else None
    return True


def _give_mode(path: Path, mode: int) -> None:
    if path.stat().st_mode != mode:
        # Some shares have no modes.
        with suppress(PermissionError):
            path.chmod(stat.S_IMODE(mode))
