"""The name of a model in, its weight file in the user's cache out: where it lies, its record, how it gets there.

Beside NAME.safetensors lies NAME.json, its record: the file's sha256, which is checked whenever it is used, and where
it came from. While a download grows it is NAME.download, with NAME.download.json beside it, so that it can go on later.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import http.client
import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote_to_bytes, urlsplit

import platformdirs

from vidsal.addresses import hide_secrets
from vidsal.errors import CheckpointError
from vidsal.files import replacing, sha256_of, try_to_lock, writing
from vidsal.provenance import package_version

__all__ = [
    "CACHE_VARIABLE",
    "Expected",
    "Record",
    "cache_folder",
    "cached_path",
    "claim",
    "discard_download",
    "download",
    "keep",
    "read_record",
    "verified_path",
]

CACHE_VARIABLE = "VIDSAL_CACHE"
"""The environment variable that names another folder than the platform's own."""

_REMEDY = f"choose another folder ({CACHE_VARIABLE} names the cache's)"
_CHUNK_BYTES = 1 << 18
_BEGIN_BYTES = 512
_HTTP_REDIRECTS = range(300, 400)
_HTTP_PARTIAL, _HTTP_RANGE_NOT_SATISFIABLE = 206, 416
_SCHEMES = ("http", "https", "file")


@dataclass(frozen=True)
class Record:
    """What is known of a weight file in the cache."""

    sha256: str
    """Of the file, in hexadecimal."""
    bytes: int
    """Size of the file."""
    source: str
    """The file or the address it was made from, without passwords."""
    source_sha256: str
    """Of that file, in hexadecimal."""
    date: str
    """When it was made, ISO 8601, UTC."""
    vidsal: str
    """Version of vidsal that made it."""
    replaces: str | None = None
    """While the file is being replaced, the sha256 of the one before it, which is as good; else None."""

    @property
    def fetched(self) -> bool:
        """Whether the source is an address."""
        return "://" in self.source


@dataclass(frozen=True)
class Expected:
    """What a file that is fetched has to be."""

    most_bytes: int
    """No more of it is taken."""
    size: int | None = None
    """Its bytes; None where unknown."""
    sha256: str | None = None
    """In hexadecimal; None where unknown."""
    refuses: Callable[[bytes], str | None] = lambda begin: None
    """What is wrong with a file by its first bytes, in words; None for nothing."""

    @property
    def limit(self) -> int:
        """Bytes there may be."""
        return self.most_bytes if self.size is None else self.size


def cache_folder() -> Path:
    """The folder of cached weights: `VIDSAL_CACHE`, or the platform's own for vidsal. It need not exist."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("vidsal")


def cached_path(name: str) -> Path:
    """Where the weights of a model lie in the cache, whether or not they are there."""
    return cache_folder() / f"{name}.safetensors"


def read_record(name: str) -> Record | None:
    """The record of a cached file; None where there is none.

    Raises:
        CheckpointError: it cannot be read.
    """
    path = cached_path(name).with_suffix(".json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Record(**content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: the record of {name} cannot be read ({error}); {_again(name)}") from error


def verified_path(name: str) -> Path:
    """The cached weights of a model, once their sha256 is that of their record.

    Raises:
        CheckpointError: they are not there, have no record, or differ from it.
    """
    path = cached_path(name)
    if not path.is_file():
        raise CheckpointError(
            f"{name} has no weights here: get the published ones with `vidsal weights fetch {name}`, or with "
            "`vidsal weights import FILE` from a file you have; or give the path of a checkpoint as the model"
        )
    record = read_record(name)
    while True:
        if record is None:
            raise CheckpointError(f"{path} has no record beside it that says what it should be; {_again(name)}")
        try:
            found = sha256_of(path)
        except OSError as error:
            raise CheckpointError(f"{path}: {error.strerror}") from error
        if found in (record.sha256, record.replaces):
            return path
        # Another process may have replaced both meanwhile.
        before, record = record, read_record(name)
        if record == before:
            raise CheckpointError(
                f"{path} is not the file that was put there: its sha256 is {found[:12]}…, its record says "
                f"{record.sha256[:12]}…; {_again(name)}"
            )


@contextmanager
def claim(name: str) -> Iterator[None]:
    """Keep other processes from writing the same weights, until left.

    Raises:
        CheckpointError: another process is writing them.
        EncodeError: the cache cannot be written to.
    """
    path = cache_folder() / f"{name}.lock"
    with writing(path, remedy=_REMEDY):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not try_to_lock(lock):
            raise CheckpointError(f"another process is writing the weights of {name}: wait until it has ended")
        yield
    finally:
        os.close(lock)


def keep(name: str, write: Callable[[Path], None], *, source: str, source_sha256: str) -> Path:
    """Put weights into the cache, whole or not at all, with their record. Call it under `claim(name)`.

    Args:
        name: of the model.
        write: writes the checkpoint to the path it is given.
        source: the file or the address it is made from.
        source_sha256: of that file.

    Raises:
        EncodeError: the cache cannot be written to.
    """
    path = cached_path(name)
    with replacing(path, remedy=_REMEDY, make_folder=True) as partial:
        write(partial)
        record = Record(
            sha256=sha256_of(partial),
            bytes=partial.stat().st_size,
            source=source,
            source_sha256=source_sha256,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            vidsal=package_version(),
        )
        before = None
        with suppress(CheckpointError):
            # Where it cannot be read, what it was the record of could not be used either.
            before = read_record(name)
        # Two files cannot be replaced at once: for a moment the record allows for either checkpoint.
        _write_record(name, dataclasses.replace(record, replaces=before.sha256 if before else None))
    _write_record(name, record)
    return path


def download(
    name: str,
    url: str,
    *,
    expected: Expected,
    on_progress: Callable[[int, int | None], None] | None = None,
    timeout_seconds: float = 30.0,
) -> Path:
    """Fetch a file into the cache, going on from where an earlier try broke off. Call it under `claim(name)`.

    What an earlier try left is only built upon if the server says that the file is still the same.

    Args:
        name: of the model; the file is called after it.
        url: http, https or file; an https address is not followed to anything but https.
        expected: what it has to be.
        on_progress: called with the bytes there are and the bytes in all, None where unknown.
        timeout_seconds: how long to wait for the server to go on.

    Returns:
        The whole file, as it came. `discard_download` removes it.

    Raises:
        CheckpointError: the address is of another kind, does not answer, has no such file, or the file broke off;
            what has come is kept for the next try. Or it is not the file that is expected: nothing is kept.
        EncodeError: the cache cannot be written to.
    """
    if urlsplit(url).scheme not in _SCHEMES:
        raise CheckpointError(
            f"cannot fetch {hide_secrets(url)}: use an address that begins with http://, https:// or file://"
        )
    transfer = _Transfer(name, url, expected, on_progress or (lambda done, total: None), timeout_seconds)
    try:
        transfer.run()
        transfer.check()
    except _Unexpected as error:
        discard_download(name)
        raise CheckpointError(transfer.complaint(str(error))) from error
    except HTTPError as error:
        error.close()
        answer = f"the server answered {error.code} {http.client.responses.get(error.code, '')}".rstrip()
        if error.code in _HTTP_REDIRECTS:
            # Its own reason would quote the address.
            answer = "it is redirected to an address that is not safe to follow"
        raise CheckpointError(transfer.complaint(answer)) from error
    except (OSError, http.client.HTTPException) as error:
        raise CheckpointError(transfer.complaint(_reason(error, timeout_seconds))) from error
    return transfer.path


def discard_download(name: str) -> None:
    """Remove what `download` left."""
    for path in _download_paths(name):
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Origin:
    """What a partial download is part of."""

    address: str
    """The sha256 of its address, which may hold a password."""
    total: int | None
    validator: str | None
    """ETag or Last-Modified: what has to be the same when it goes on."""

    @classmethod
    def of(cls, url: str, headers: Message, total: int | None) -> _Origin:
        tag = headers.get("ETag")
        # A weak tag does not promise the same bytes.
        return cls(_fingerprint(url), total, tag if tag and not tag.startswith("W/") else headers.get("Last-Modified"))


class _Unexpected(Exception):  # noqa: N818 (`download` says it as a `CheckpointError`)
    """What comes is not the file that is expected; says why."""


class _Transfer:
    """One download: network errors come out as they are, for `download` to report."""

    def __init__(
        self,
        name: str,
        url: str,
        expected: Expected,
        report: Callable[[int, int | None], None],
        timeout_seconds: float,
    ) -> None:
        self._expected = expected
        self.path, self._note = _download_paths(name)
        self._name, self._url, self._report, self._timeout = name, url, report, timeout_seconds
        self._opener = urllib.request.build_opener(_SafeRedirects)

    def run(self) -> None:
        origin, done = self._left_over()
        if origin is not None and done == origin.total:
            self._report(done, done)
            return
        try:
            response = self._ask(origin, done)
        except HTTPError as error:
            if error.code != _HTTP_RANGE_NOT_SATISFIABLE or not done:
                raise
            error.close()
            origin, done = None, 0
            response = self._ask(None, 0)
        if done and not self._goes_on(response, origin, done):
            done = 0
            if response.status == _HTTP_PARTIAL:
                # The end of another file: all of it is needed.
                response.close()
                response = self._ask(None, 0)
        with response:
            self._receive(response, origin if done else None, done)

    def check(self) -> None:
        """See that the whole file is the one that is expected.

        Raises:
            _Unexpected: it is not.
        """
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            self._check_begin(file.read(_BEGIN_BYTES))
        if self._expected.size not in (None, size):
            raise _Unexpected(f"it has {size} bytes, but the published file has {self._expected.size}")
        if self._expected.sha256 is not None and (found := sha256_of(self.path)) != self._expected.sha256:
            raise _Unexpected(
                f"its sha256 is {found[:12]}…, but that of the published file is {self._expected.sha256[:12]}…"
            )

    def _check_begin(self, begin: bytes) -> None:
        fault = self._expected.refuses(begin)
        if fault is not None:
            raise _Unexpected(f"what comes is no weight file: {fault}")

    def _check_size(self, size: int) -> None:
        if size > self._expected.limit:
            raise _Unexpected(f"it has more than the {self._expected.limit} bytes that the published file may have")

    def complaint(self, reason: str) -> str:
        kept = ""
        with suppress(OSError):
            size = self.path.stat().st_size
            kept = f"{size} bytes are kept in {self.path}, the same command goes on from there; " if size else ""
        return (
            f"cannot fetch {hide_secrets(self._url)}: {reason}; {kept}or get the file another way and run: "
            f"vidsal weights import FILE --as {self._name}"
        )

    def _left_over(self) -> tuple[_Origin | None, int]:
        """What an earlier try left of the same address, and how many bytes; (None, 0) where nothing can be used."""
        try:
            origin = _Origin(**json.loads(self._note.read_text(encoding="utf-8")))
            return (origin, self.path.stat().st_size) if origin.address == _fingerprint(self._url) else (None, 0)
        except (OSError, ValueError, TypeError):
            return None, 0

    def _ask(self, origin: _Origin | None, done: int) -> Any:
        headers = {"User-Agent": f"vidsal/{package_version()}", "Accept-Encoding": "identity"}
        if origin is not None and done:
            headers["Range"] = f"bytes={done}-"
            if origin.validator:
                headers["If-Range"] = origin.validator
        parts = urlsplit(self._url)
        login, _, host = parts.netloc.rpartition("@")
        request = urllib.request.Request(parts._replace(netloc=host).geturl(), headers=headers)
        if login:
            # For this server only: a redirect may lead to another.
            token = base64.b64encode(unquote_to_bytes(login)).decode()
            request.add_unredirected_header("Authorization", f"Basic {token}")
        return self._opener.open(request, timeout=self._timeout)

    def _goes_on(self, response: Any, origin: _Origin | None, done: int) -> bool:
        """Whether the answer is the rest of what is there. A server may ignore the range, or the conditions on it."""
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if origin is None or response.status != _HTTP_PARTIAL or found is None:
            return False
        start, total = int(found[1]), int(found[2])
        same = _Origin.of(self._url, response.headers, total)
        return start == done and total == origin.total and origin.validator in (None, same.validator)

    def _receive(self, response: Any, origin: _Origin | None, done: int) -> None:
        begin = b""
        if origin is None:
            length = response.headers.get("Content-Length", "")
            origin = _Origin.of(self._url, response.headers, int(length) if length.isdecimal() else None)
            self._check_size(origin.total or 0)
            with writing(self.path, remedy=_REMEDY):
                # Without its note a partial file counts for nothing, so the old one goes first.
                self._note.unlink(missing_ok=True)
                self.path.write_bytes(b"")
                _write_json(self._note, dataclasses.asdict(origin))
        with writing(self.path, remedy=_REMEDY):
            file = self.path.open("ab")
        with file:
            self._report(done, origin.total)
            while chunk := response.read(_CHUNK_BYTES):
                if done == len(begin) < _BEGIN_BYTES:
                    # Rather now than after hundreds of megabytes.
                    begin += chunk
                    self._check_begin(begin)
                self._check_size(done + len(chunk))
                with writing(self.path, remedy=_REMEDY):
                    file.write(chunk)
                done += len(chunk)
                self._report(done, origin.total)
            with writing(self.path, remedy=_REMEDY):
                file.flush()
        if origin.total is not None and done != origin.total:
            raise http.client.HTTPException(f"it broke off after {done} of {origin.total} bytes")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and from https only to https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        allowed = ("https",) if urlsplit(req.full_url).scheme == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            fp.close()
            raise URLError(f"it is redirected to {hide_secrets(newurl)}, which is not safe to follow")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fingerprint(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _reason(error: BaseException, timeout_seconds: float) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout_seconds:g} s"
    if isinstance(cause, http.client.IncompleteRead):
        return "the connection broke off"
    text = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
    return " ".join(text.split())


def _write_record(name: str, record: Record) -> None:
    with replacing(cached_path(name).with_suffix(".json"), remedy=_REMEDY) as partial:
        _write_json(partial, dataclasses.asdict(record))


def _download_paths(name: str) -> tuple[Path, Path]:
    return cache_folder() / f"{name}.download", cache_folder() / f"{name}.download.json"


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _again(name: str) -> str:
    return (
        f"put it there again with `vidsal weights fetch {name} --overwrite` or `vidsal weights import FILE --overwrite`"
    )
