"""A folder of results in, without what killed runs left in it out: partial files, and locks that nobody holds.

On demand also without results that earlier options asked for, and that nobody asks for any more.
"""

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

from vidsal.addresses import hide_secrets
from vidsal.batch.database import JobDatabase
from vidsal.batch.folder import databases, job_folder, working_on
from vidsal.batch.uploads import Uploads
from vidsal.batch.work import Made
from vidsal.errors import EncodeError
from vidsal.files import claim, is_claimed, release, sha256_of

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

    removed: tuple[Path | str, ...]
    """The files; addresses of those elsewhere."""
    bytes: int
    """Their size."""
    kept: tuple[Path, ...]
    """Partial files and locks that a living process holds."""
    surplus: int = 0
    """Results of earlier options that stay, as nobody asked for them to be removed."""
    changed: tuple[str, ...] = ()
    """Those that stay as they are not what the batch wrote any more."""


def clean(output: Path, *, surplus: bool = False, dry_run: bool = False) -> CleanReport:
    """Remove the partial files and the locks that killed runs of a batch left; a batch may be at work meanwhile.

    Only what is called after the results of an input of the batch is touched. Each file is claimed before it is
    removed, so that nothing goes that a living process writes.

    Args:
        output: the folder of all results.
        surplus: also remove whole results of the batch that earlier options asked for and the last ones did not: the
            video of what was then run without one, a table of another kind. They go if they are what was written. No
            batch may be at work meanwhile. The page over all reports is brought up to date; it goes with the last one.
        dry_run: only say what would be removed.

    Raises:
        EncodeError: there is no job, or a file cannot be removed; or, with `surplus`, a batch is at work.
        TransferError, ConfigError: a result elsewhere cannot be looked at or removed.
    """
    found = databases(output)
    if not found:
        raise EncodeError(f"{output} holds no batch: name the folder that was its --output")
    removed: list[Path | str] = []
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
        if not surplus:
            former = [made for database in opened for _, _, made in database.former()]
            left = sum(made.address is not None or (output / made.file).is_file() for made in former)
            return CleanReport(tuple(removed), size, tuple(kept), surplus=left)
    changed: list[str] = []
    for path in found:
        with JobDatabase(path, read_only=True) if dry_run else working_on(path) as database:
            uploads = Uploads(database)
            for id, _, made in list(database.former()):
                address = uploads.address(id, made)
                places = [*([output / made.file] if made.address is None else ()), *([address] if address else ())]
                for place in places:
                    gone = _remove_former(place, made, dry_run=dry_run)
                    if gone:
                        size += made.bytes
                        removed.append(hide_secrets(place) if isinstance(place, str) else place)
                    elif gone is False:
                        changed.append(hide_secrets(place))
                if not dry_run:
                    database.forget_former(id, [made])
    gone_pages = {path.absolute() for path in removed if isinstance(path, Path) and path.suffix == ".html"}
    if gone_pages:
        # Here, and not above: it takes what most batches do not need.
        from vidsal.batch.accounts import read_accounts
        from vidsal.index import without_reports

        pages = without_reports(output, gone_pages, accounts=read_accounts(output), dry_run=dry_run)
        removed += pages
        size += sum(pages.values())
    return CleanReport(tuple(removed), size, tuple(kept), changed=tuple(changed))


def _remove_former(place: Path | str, made: Made, *, dry_run: bool) -> bool | None:
    """Remove a result, here or at an address, if it is what was written; None where it is not there, else False."""
    if isinstance(place, str):
        # Here, and not above: it takes what most batches do not need.
        from vidsal.batch.storage import describe, exists, remove

        if not exists(place):
            return None
        if describe(place).bytes != made.bytes:
            return False
        if not dry_run:
            remove(place)
        return True
    try:
        if not place.is_file():
            return None
        if place.stat().st_size != made.bytes or sha256_of(place) != made.sha256:
            return False
        if not dry_run:
            place.unlink()
    except OSError as error:
        raise EncodeError(f"cannot remove {place}: {error.strerror}") from error
    return True


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
