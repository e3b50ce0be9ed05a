"""Addresses of inputs elsewhere in, files in a scratch folder out; and the way back for results, whole and verified.

All that the rest of `vidsal batch` needs of files elsewhere is here: the names of `address` and `remote`, and what
several processes of one machine share, the scratch folder. See docs/how-to/remote-files.md for what a user sees.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from vidsal.addresses import hide_secrets
from vidsal.batch.address import Found, is_remote, join, names_below
from vidsal.batch.remote import (
    Logins,
    Progress,
    ShouldStop,
    Tries,
    describe,
    download,
    exists,
    find,
    pause,
    put,
    remove,
    sha256,
)
from vidsal.batch.stores import Stored
from vidsal.errors import EncodeError
from vidsal.files import claim, release, writing

__all__ = [
    "Found",
    "Logins",
    "NoRoom",
    "Progress",
    "Scratch",
    "ShouldStop",
    "Stored",
    "Tries",
    "describe",
    "download",
    "exists",
    "find",
    "is_remote",
    "join",
    "names_below",
    "put",
    "remove",
    "sha256",
]

_TRIES = Tries()
_REPORT = ".vidsal.json"
_REMEDY = "choose another scratch folder"
_POLL_SECONDS = 0.2
_OWN_NAME = re.compile(r"(?P<kind>wait|fetch)-(?P<number>[0-9]+)-[0-9a-f]+")


class NoRoom(Exception):  # noqa: N818 (no error: there may be room in a moment)
    """The scratch folder has no room for a file now, and its caller does not wait."""


@dataclass(frozen=True)
class Scratch:
    """A folder for copies of files elsewhere, which several processes of one machine share.

    Whoever wants to fetch a file waits, in order, until there is room for it; then room is taken for all of it. What
    killed processes left is cleared by the next one that comes. Where the file system has no locks, it is left, and
    counts.
    """

    folder: Path
    """It is made; other files in it are left alone."""
    limit_bytes: int | None = None
    """What all fetched files and results in it may take together; None for as much as the disk has."""
    spare_bytes: int = 256 << 20
    """What is left free on its disk."""

    @contextmanager
    def fetched(
        self,
        address: str,
        found: Found | None = None,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        should_stop: ShouldStop | None = None,
        tries: Tries = _TRIES,
    ) -> Iterator[Path]:
        """A whole copy of a file elsewhere, of its name and time, for as long as the block lasts.

        Args:
            address: of the file.
            found: what it still has to be; None for whatever it is now.
            wait: waits for room. Who holds a copy already has to pass False: it would wait for itself.
            progress: called after each piece.
            should_stop: asked before each piece, and while there is no room.
            tries: how often what may pass is tried again.

        Yields:
            The copy, alone in a folder of its own.

        Raises:
            DecodeError: there is no such file, or it may not be read.
            TransferError: it is not what was found, or changes meanwhile; or a connection breaks again and again.
            EncodeError: it is larger than the limit or the disk, or cannot be written.
            ConfigError: the address is wrong, or a package is missing.
            NoRoom: there is no room now, and `wait` is False.
            Stopped: `should_stop` asked for it.
        """
        if found is None:
            found = describe(address, should_stop=should_stop, tries=tries)
        with self._room_for(found, should_stop, wait=wait) as folder:
            path = folder / found.name
            with writing(path, remedy=_REMEDY), path.open("xb") as file:
                download(found, file.write, progress=progress, should_stop=should_stop, tries=tries)
            with suppress(OSError, ValueError):
                moment = datetime.fromisoformat(found.modified or "").timestamp()
                os.utime(path, (moment, moment))
            yield path

    @contextmanager
    def _room_for(self, found: Found, should_stop: ShouldStop | None, *, wait: bool) -> Iterator[Path]:
        """A folder of its own, once the scratch folder has room for a file."""
        if self.limit_bytes is not None and found.bytes > self.limit_bytes:
            raise EncodeError(
                f"{hide_secrets(found.path)} has {found.bytes} bytes, and the scratch folder {self.folder} may hold "
                f"{self.limit_bytes}; raise its limit"
            )
        with self._own("wait", time.time_ns()) as ticket:
            while (own := self._admitted(found, ticket.path, should_stop)) is None:
                if not wait:
                    raise NoRoom
                pause(_POLL_SECONDS, should_stop)
        try:
            yield own.path
        finally:
            own.clear()

    def _admitted(self, found: Found, ticket: Path, should_stop: ShouldStop | None) -> _Own | None:
        """A folder of its own, if it is its turn and there is room; else None."""
        with self._alone(should_stop):
            others = [one for one in self._held() if one.path != ticket]
            if any(one.kind == "wait" and one.path.name < ticket.name for one in others):
                return None
            used = sum(one.taken for one in others)
            if self.limit_bytes is not None and used and used + found.bytes > self.limit_bytes:
                return None
            to_come = sum(one.taken - one.written for one in others)
            free = shutil.disk_usage(self.folder).free - to_come - self.spare_bytes
            if found.bytes > free:
                if used:
                    return None
                raise EncodeError(
                    f"{hide_secrets(found.path)} has {found.bytes} bytes, and the disk of the scratch folder "
                    f"{self.folder} has room for {max(free, 0)}; free some space or {_REMEDY}"
                )
            return self._make("fetch", found.bytes)

    @contextmanager
    def _alone(self, should_stop: ShouldStop | None) -> Iterator[None]:
        """No other process gives out room meanwhile."""
        path = self.folder / "room"
        with writing(path, remedy=_REMEDY):
            while (lock := claim(path)) is None:
                pause(_POLL_SECONDS / 10, should_stop)
        try:
            yield
        finally:
            release(path, lock)

    def _held(self) -> list[_Held]:
        """What living processes have here; what others left is removed."""
        found = []
        for name in sorted({path.name.removesuffix(".lock") for path in self.folder.iterdir()}):
            match = _OWN_NAME.fullmatch(name)
            if match is None:
                continue
            path = self.folder / name
            lock = claim(path, sure=True)
            if lock is None:
                written = _size_of(path)
                reserved = int(match["number"]) if match["kind"] == "fetch" else 0
                found.append(_Held(path, match["kind"], max(written, reserved), written))
            else:
                _Own(path, lock).clear()
        return found

    @contextmanager
    def _own(self, kind: str, number: int) -> Iterator[_Own]:
        own = self._make(kind, number)
        try:
            yield own
        finally:
            own.clear()

    def _make(self, kind: str, number: int) -> _Own:
        """A folder of a new name, claimed."""
        with writing(self.folder, remedy=_REMEDY):
            self.folder.mkdir(parents=True, exist_ok=True)
            while True:
                path = self.folder / f"{kind}-{number:020d}-{secrets.token_hex(4)}"
                lock = claim(path)
                # One that clears may have locked it first, for a moment.
                if lock is not None:
                    path.mkdir()
                    return _Own(path, lock)


@dataclass(frozen=True)
class _Held:
    """What a process has in the scratch folder."""

    path: Path
    kind: str
    taken: int
    """Bytes that count: those there are, and those it has room for."""
    written: int


@dataclass(frozen=True)
class _Own:
    """A folder that this process has claimed."""

    path: Path
    lock: int

    def clear(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        release(self.path, self.lock)


def _size_of(folder: Path) -> int:
    """Bytes of all files below a folder, which its owner may be removing."""
    total = 0
    for above, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(above, name).lstat().st_size
    return total
