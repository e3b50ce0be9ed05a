"""Addresses of files elsewhere in; the files found, described, read, put there whole and verified, or removed, out.

What fails for a reason that may pass is tried again after a pause. Nothing is kept here between two calls.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from vidsal.batch.address import S3_SCHEMES, Address, Found, parse
from vidsal.batch.stores import (
    FileStore,
    Passing,
    Reader,
    S3Store,
    Store,
    Stored,
    connect,
    disconnect,
    is_about_login,
    translated,
)
from vidsal.errors import ConfigError, DecodeError, EncodeError, Stopped, TransferError, VidsalError

__all__ = [
    "Logins",
    "Progress",
    "ShouldStop",
    "Tries",
    "describe",
    "download",
    "exists",
    "find",
    "pause",
    "put",
    "remove",
    "sha256",
]

ShouldStop = Callable[[], bool]
"""Asked between pieces and while waiting; True ends with `Stopped`."""

Progress = Callable[[int, int], None]
"""Called with the bytes so far and those of the whole file."""

_PIECE_BYTES = 4 << 20
_POLL_SECONDS = 0.1
_T = TypeVar("_T")


@dataclass(frozen=True)
class Tries:
    """How often what may pass is tried again: a connection that broke, a server that is busy."""

    retries: int = 4
    """After how many further tries in a row it is given up; of a file that is read, without a byte in between."""
    pause_seconds: float = 1.0
    """The pause before the first of them, in seconds; each one after it is twice as long."""


_TRIES = Tries()


def find(address: str, *, should_stop: ShouldStop | None = None, tries: Tries = _TRIES) -> Iterator[Found]:
    """All files below a folder, at any depth, or the one file, in the order of their names.

    From S3 they come page by page, from other places folder by folder, so that millions of them are never all in
    memory. Links to files are followed; links to folders, pipes and devices are left out.

    Raises:
        DecodeError: nothing is there, or it may not be read.
        TransferError: it may go well later: a connection breaks again and again, or a server is busy.
        ConfigError: the address is wrong, or a package is missing.
        Stopped: `should_stop` asked for it.
    """
    at = parse(address)
    watch = _Watch(DecodeError, should_stop, tries)
    found = watch.look(at)
    if found is not None:
        yield found
        return
    yield from (_objects if at.scheme in S3_SCHEMES else _files)(at.path.rstrip("/"), partial(watch.ask, at))


def _objects(folder: str, ask: Callable[[Callable[[Any], Any]], Any]) -> Iterator[Found]:
    """What a bucket lists below a folder, a page at a time."""
    token: str | None = None
    while True:
        found, token = ask(partial(S3Store.page, folder=folder, token=token))
        yield from found
        if token is None:
            return


def _files(folder: str, ask: Callable[[Callable[[Any], Any]], Any]) -> Iterator[Found]:
    """What a server lists below a folder, a folder at a time."""
    waiting: list[Found | str] = [folder]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Found):
            yield one
            continue
        files, folders = ask(partial(FileStore.folder, path=one))
        # By whole names, as S3 has them: the same order however a server lists them.
        both = [(parse(file.path).path, file) for file in files] + [(f"{path}/", path) for path in folders]
        waiting += [value for _, value in sorted(both, key=lambda pair: os.fsencode(pair[0]), reverse=True)]


def describe(address: str, *, should_stop: ShouldStop | None = None, tries: Tries = _TRIES) -> Found:
    """A file as it is now.

    Raises:
        DecodeError: there is no such file, or it may not be looked at.
        TransferError: it may go well later: a connection breaks again and again, or a server is busy.
        ConfigError: the address is wrong, or a package is missing.
        Stopped: `should_stop` asked for it.
    """
    at = parse(address)
    found = _Watch(DecodeError, should_stop, tries).look(at)
    if found is None:
        if not at.path or at.path.endswith("/"):
            raise DecodeError(f"{at.shown} is the address of a folder; name a file")
        hint = " (in an address, %XX is the code of a character; %25 is a percent sign)" if "%" in address else ""
        raise DecodeError(f"{at.shown}: there is no such file{hint}") from FileNotFoundError(at.shown)
    return found


def exists(address: str, *, should_stop: ShouldStop | None = None, tries: Tries = _TRIES) -> bool:
    """Whether a file is there; a folder is none.

    Raises:
        DecodeError: it may not be looked at.
        TransferError: it may go well later: a connection breaks again and again, or a server is busy.
        ConfigError: the address is wrong, or a package is missing.
        Stopped: `should_stop` asked for it.
    """
    return _Watch(DecodeError, should_stop, tries).look(parse(address)) is not None


class Logins:
    """Sees that places elsewhere let this user in, each of them once, before hours are spent."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def check(self, address: str) -> None:
        """Ask a place for a file; what is wrong with that file alone, or may pass, is left for later.

        Raises:
            DecodeError: it does not know this user, or is not known itself.
            ConfigError: the address is wrong, or a package is missing.
        """
        top = "/".join(address.split("/", 3)[:3])
        if top in self._known:
            return
        self._known.add(top)
        try:
            # Of a whole bucket nobody would be asked.
            exists(address if parse(address).path.rstrip("/") else f"{top}/.vidsal", tries=Tries(retries=0))
        except TransferError:
            return
        except DecodeError as error:
            if is_about_login(error):
                raise


def remove(address: str, *, should_stop: ShouldStop | None = None, tries: Tries = _TRIES) -> None:
    """Remove a file; one that is missing is no error.

    Raises:
        EncodeError: it may not be removed.
        TransferError: it may go well later: a connection breaks again and again, or a server is busy.
        ConfigError: the address is wrong, or a package is missing.
        Stopped: `should_stop` asked for it.
    """
    at = parse(address)
    _Watch(EncodeError, should_stop, tries).ask(at, lambda store: store.remove(at.path))


def sha256(
    address: str,
    *,
    progress: Progress | None = None,
    should_stop: ShouldStop | None = None,
    tries: Tries = _TRIES,
) -> str:
    """The sha256 of a file's content, in hexadecimal, which reads all of it.

    Raises:
        DecodeError: there is no such file, or it may not be read.
        TransferError: it may go well later: a connection breaks again and again, or the file changes meanwhile.
        ConfigError: the address is wrong, or a package is missing.
        Stopped: `should_stop` asked for it.
    """
    digest = hashlib.sha256()
    found = describe(address, should_stop=should_stop, tries=tries)
    download(found, digest.update, progress=progress, should_stop=should_stop, tries=tries)
    return digest.hexdigest()


def download(
    found: Found,
    take: Callable[[bytes], object],
    *,
    progress: Progress | None = None,
    should_stop: ShouldStop | None = None,
    tries: Tries = _TRIES,
) -> None:
    """Read a file whole, in pieces of some MiB; after an error that may pass it goes on where it was.

    Args:
        found: the file, as it still has to be.
        take: gets each piece, in order.
        progress: called after each piece.
        should_stop: asked before each piece.
        tries: how often a piece is tried again.

    Raises:
        DecodeError: it is no longer there, or may not be read.
        TransferError: it is no longer what was found, and what was taken is worthless; or a connection breaks again
            and again.
        ConfigError: a package is missing.
        Stopped: `should_stop` asked for it.
    """
    watch = _Watch(DecodeError, should_stop, tries, progress)
    watch.check_unchanged(found)
    try:
        watch.read(found, take)
    except DecodeError:
        # It may be that it cannot be read because it is another one now, or none.
        watch.check_unchanged(found)
        raise
    watch.check_unchanged(found)


def put(
    path: Path,
    address: str,
    *,
    progress: Progress | None = None,
    should_stop: ShouldStop | None = None,
    tries: Tries = _TRIES,
) -> Stored:
    """Copy a file of this machine elsewhere: it has its name there once it is whole, and replaces what had it before.

    On S3 a file appears when its last part has arrived; after an error its parts are thrown away. Elsewhere it grows as
    NAME.<token>.partial beside its target and is renamed. Where a server cannot replace a file by renaming, the name is
    missing for a moment.

    What arrived is verified: its size, and its content by the md5 that S3 says where it says one, else by reading it
    back. What arrived otherwise is removed, and tried again.

    Args:
        path: the file.
        address: what it is to be there; folders are made.
        progress: called after each piece.
        should_stop: asked before each piece.
        tries: how often it is tried again.

    Raises:
        EncodeError: it may not be put there, or cannot be read here.
        TransferError: it may go well later: a connection breaks again and again, or it does not arrive as it is.
        ConfigError: the address is wrong, or a package is missing.
        Stopped: `should_stop` asked for it; nothing of it is left there.
    """
    at = parse(address)
    if not at.path or at.path.endswith("/"):
        raise ConfigError(f"{at.shown} is the address of a folder; name the file too")
    watch, token = _Watch(EncodeError, should_stop, tries, progress), secrets.token_hex(4)
    with _reading(path):
        size = path.stat().st_size
    try:
        return watch.ask(at, lambda store: store.put(path, size, at.path, token, watch))
    except BaseException:
        # Over a connection that may be new: what failed may be the one before.
        with suppress(VidsalError):
            _Watch(EncodeError, None, Tries(retries=0)).ask(at, lambda store: store.discard(at.path, token))
        raise


def pause(seconds: float, should_stop: ShouldStop | None) -> None:
    """Wait, and ask now and then whether to stop.

    Raises:
        Stopped: `should_stop` asked for it.
    """
    until = time.monotonic() + seconds
    while True:
        _end_if_asked(should_stop)
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _POLL_SECONDS))


def _end_if_asked(should_stop: ShouldStop | None) -> None:
    if should_stop and should_stop():
        raise Stopped


@dataclass(frozen=True)
class _Watch:
    """How a place is asked: again after what may pass, with somebody who looks on and may stop it."""

    failure: type[VidsalError]
    should_stop: ShouldStop | None
    tries: Tries
    progress: Progress | None = None

    def ask(self, at: Address, question: Callable[[Store], _T]) -> _T:
        """The answer of a place."""
        failures = 0
        while True:
            _end_if_asked(self.should_stop)
            try:
                with translated(at, self.failure):
                    return question(connect(at))
            except Passing as error:
                failures += 1
                self.rest(at, error, failures)

    def rest(self, at: Address, error: Passing, failures: int) -> None:
        """Pause after a failure; after the last one, give up."""
        if failures > self.tries.retries:
            times = f"; tried {failures} times" if failures > 1 else ""
            raise TransferError(f"{at.shown}: {error}{times}") from error.__cause__ or error
        disconnect(at)
        pause(self.tries.pause_seconds * 2 ** (failures - 1), self.should_stop)

    def look(self, at: Address) -> Found | None:
        """A file as it is now; None where there is none."""
        return self.ask(at, lambda store: store.look(at.path))

    def check_unchanged(self, found: Found) -> None:
        """Refuse a file that is no longer what was found."""
        at = parse(found.path)
        now = self.look(at)
        if now is None:
            raise DecodeError(f"{at.shown} was removed after it was found")
        if not now.is_unchanged(found):
            raise TransferError(
                f"{at.shown} changed after it was found (from {found.describe()} to {now.describe()}); run it again"
            )

    def read(self, found: Found, take: Callable[[bytes], object]) -> None:
        """Read a file whole."""
        at = parse(found.path)
        done = failures = 0
        reader: Reader | None = None
        try:
            while done < found.bytes:
                _end_if_asked(self.should_stop)
                try:
                    with translated(at, self.failure):
                        reader = reader or connect(at).open(found, done)
                        piece = reader.read(min(_PIECE_BYTES, found.bytes - done))
                        if not piece:
                            raise Passing(f"it ended after {done} of {found.bytes} bytes")
                except Passing as error:
                    _close(reader)
                    reader = None
                    failures += 1
                    self.rest(at, error, failures)
                    continue
                failures = 0
                take(piece)
                done += len(piece)
                if self.progress:
                    self.progress(done, found.bytes)
        finally:
            _close(reader)

    def pieces(self, path: Path, size: int, piece_bytes: int) -> Iterator[bytes]:
        """The content of a file of this machine, at least one piece; each counts once the next one is asked for."""
        done = 0
        with _reading(path):
            file = path.open("rb")
        with file:
            while True:
                _end_if_asked(self.should_stop)
                with _reading(path):
                    piece = file.read(min(piece_bytes, size - done))
                if not piece and done < size:
                    raise EncodeError(f"{path} became shorter while it was copied")
                yield piece
                done += len(piece)
                if self.progress:
                    self.progress(done, size)
                if done == size:
                    return

    def has(self, found: Found, sha256_hex: str) -> bool:
        """Whether a file elsewhere has this content, by reading all of it."""
        digest = hashlib.sha256()
        try:
            download(found, digest.update, should_stop=self.should_stop, tries=self.tries)
        except DecodeError as error:
            raise EncodeError(f"what was written there cannot be read back to verify it: {error}") from error
        return digest.hexdigest() == sha256_hex


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Of a file of this machine it is not the server that fails."""
    try:
        yield
    except OSError as error:
        raise EncodeError(f"cannot read {path} to copy it: {error.strerror}") from error


def _close(reader: Reader | None) -> None:
    # What is read is read, or read again.
    with suppress(Exception):
        if reader is not None:
            reader.close()
