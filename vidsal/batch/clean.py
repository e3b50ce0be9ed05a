"""A folder of results in, without what killed runs left in it out: partial files, and locks that nobody holds."""

from __future__ import annotations

import os
import re
import stat
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from vidsal.batch.database import JobDatabase
from vidsal.batch.folder import databases, job_folder
from vidsal.errors import EncodeError
from vidsal.files import claim, is_claimed, release

__all__ = ["CleanReport", "clean"]

_PARTIAL = re.compile(
    r"(?P<target>(?P<stem>.+)\.vidsal\.(?:[^/]*\.)?partial\.(?!lock)\w+|(?P<record>.+)\.vidsal\.json\.partial)"
    r"(?P<lock>\.lock)?"
)
"""What a sink writes to, or the record; and its lock."""
_BESIDE = re.compile(r"(?P<stem>.+)\.vidsal\.(?:[^/]*\.)?partial\.(?:2\.\w+|raw)")
"""What some sinks have beside it."""
_SUMMARY = re.compile(r"batch(?:\.shard-\d+-of-\d+)?\.(?:csv|json)\.partial(?P<lock>\.lock)?")
_TOKEN = re.compile(r"(?:(?P<stem>.+)\.vidsal\.json|batch(?:\.shard-\d+-of-\d+)?\.(?:csv|json))\.[0-9a-f]{8}\.partial")
"""Where another process had claimed the usual name: nobody claims these."""
_OLD_SECONDS = 3600.0


@dataclass(frozen=True)
class CleanReport:
    """What was removed, or would be."""

    removed: tuple[Path, ...]
    """The files."""
    bytes: int
    """Their size."""
    kept: tuple[Path, ...]
    """Partial files and locks that a living process holds."""


def clean(output: Path, *, dry_run: bool = False) -> CleanReport:
    """Remove the partial files and the locks that killed runs of a batch left; a batch may be at work meanwhile.

    Only what is called after the results of an input of the batch is touched. Each file is claimed before it is
    removed, so that nothing goes that a living process writes.

    Args:
        output: the folder of all results.
        dry_run: only say what would be removed.

    Raises:
        EncodeError: there is no job, or a file cannot be removed.
    """
    found = databases(output)
    if not found:
        raise EncodeError(f"{output} holds no batch: name the folder that was its --output")
    removed: list[Path] = []
    kept: list[Path] = []
    size = 0
    with ExitStack() as stack:
        opened = [stack.enter_context(JobDatabase(path, read_only=True)) for path in found]
        for owner, files in _left_behind(output, opened):
            lock = None
            # Asked first: a dry run claims nothing.
            if owner is not None and (
                is_claimed(owner) is not False or (not dry_run and (lock := _claimed(owner)) is None)
            ):
                kept += files
                continue
            try:
                for path in files:
                    size += path.lstat().st_size
                    if not dry_run and path.suffix != ".lock":
                        path.unlink(missing_ok=True)
                    removed.append(path)
            except OSError as error:
                raise EncodeError(f"cannot remove {path}: {error.strerror}") from error
            finally:
                if owner is not None and lock is not None:
                    release(owner, lock)
    return CleanReport(tuple(removed), size, tuple(kept))


def _claimed(path: Path) -> int | None:
    with suppress(OSError):
        return claim(path, sure=True)
    return None


def _left_behind(output: Path, opened: list[JobDatabase]) -> Iterator[tuple[Path | None, list[Path]]]:
    """What may be removed: what is claimed before, and the files; None where nothing can be claimed."""
    alive = any(is_claimed(database.path) is not False for database in opened)
    for folder, inside, names in os.walk(output):
        here = Path(folder)
        inside.sort()
        if here == job_folder(output):
            inside.clear()
            locks = [here / name for name in sorted(names) if name.endswith(".sqlite.lock")]
            yield from ((lock.with_suffix(""), [lock]) for lock in locks)
            continue
        below = os.path.relpath(folder, output)
        below = "" if below == "." else below.replace(os.sep, "/") + "/"
        groups: dict[Path, list[Path]] = defaultdict(list)
        for name in sorted(names):
            path = here / name
            if not _is_plain(path):
                continue
            if found := _BESIDE.fullmatch(name):
                owner = _owner_of(path, names)
                if _is_of_this(below + found["stem"], opened, alive=alive):
                    groups[owner].append(path)
            elif found := _PARTIAL.fullmatch(name):
                if _is_of_this(below + (found["stem"] or found["record"]), opened, alive=alive):
                    groups[here / found["target"]].append(path)
            elif not below and (found := _SUMMARY.fullmatch(name)):
                groups[here / name.removesuffix(".lock")].append(path)
            elif (
                (found := _TOKEN.fullmatch(name))
                and not alive
                and _is_old(path)
                and (found["stem"] is None or _is_of_this(below + found["stem"], opened, alive=alive))
            ):
                yield None, [path]
        yield from groups.items()


def _owner_of(path: Path, names: list[str]) -> Path:
    """The partial file that another one lies beside, which is what is claimed."""
    base = path.name[: path.name.rindex(".partial.") + len(".partial.")]
    alike = [name for name in names if name.startswith(base) and _PARTIAL.fullmatch(name)]
    alike = [name for name in alike if not _BESIDE.fullmatch(name)]
    return path.with_name(alike[0].removesuffix(".lock") if alike else f"{base}npz")


def _is_of_this(place: str, opened: list[JobDatabase], *, alive: bool) -> bool:
    """Whether results called so are of an input of the batch that is not under way."""
    found = [one for database in opened if (one := database.at(place)) is not None]
    return bool(found) and not (alive and any(state == "running" for _, state in found))


def _is_plain(path: Path) -> bool:
    with suppress(OSError):
        mode = path.lstat().st_mode
        return stat.S_ISREG(mode) or stat.S_ISLNK(mode)
    return False


def _is_old(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > _OLD_SECONDS
    return False
