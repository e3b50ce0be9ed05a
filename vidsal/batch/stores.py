"""A server or a service that keeps files, in; what is asked of it out, once: S3, SFTP, and what else fsspec speaks.

What the libraries raise comes out as `Passing`, where another try may go well, or as an error that says what to do.
fsspec and what it needs are imported on first use. It keeps one connection a process and server, and no other here.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import posixpath
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from vidsal.batch.address import S3_SCHEMES, SSH_SCHEMES, Address, Found, parse
from vidsal.errors import ConfigError, Stopped, VidsalError
from vidsal.files import short_name

__all__ = [
    "Copying",
    "FileStore",
    "Passing",
    "Reader",
    "S3Store",
    "Store",
    "Stored",
    "connect",
    "disconnect",
    "is_about_login",
    "translated",
]

_INSTALL = "pip install 'vidsal[storage]'"
_PIECE_BYTES = 4 << 20
_PART_BYTES = 64 << 20
"""What is put to S3 in one request, and lies in memory for it."""
_MOST_PARTS = 10_000
_SSH_DEFAULTS = {
    # The user's known hosts, and what ~/.ssh/config says of them. sshfs alone would trust any server.
    "known_hosts": (),
    "connect_timeout": 30,
    # A connection that was cut without a word is noticed after a minute.
    "keepalive_interval": 15,
}
_ODD_NAMES = {"path_errors": "surrogateescape"}


@dataclass(frozen=True)
class Stored:
    """A file that was put elsewhere and verified."""

    bytes: int
    """Its size."""
    sha256: str
    """Of its content, in hexadecimal."""


class Passing(Exception):  # noqa: N818 (not the end of it)
    """What failed may go well in a moment."""


class Copying(Protocol):
    """Who hands out the content of a file that is put somewhere, and checks what arrived."""

    def pieces(self, path: Path, size: int, piece_bytes: int) -> Iterator[bytes]:
        """The content of a file of this machine, at least one piece."""
        ...

    def has(self, found: Found, sha256_hex: str) -> bool:
        """Whether a file elsewhere has this content, by reading all of it."""
        ...


class Reader(Protocol):
    """A file elsewhere, open at some byte."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Store(Protocol):
    """A server, or a service. Paths are decoded and have no slash before them."""

    def look(self, path: str) -> Found | None:
        """A file as it is now; None where there is none of this name."""
        ...

    def open(self, found: Found, offset: int) -> Reader:
        """Read a file from a byte on."""
        ...

    def put(self, local: Path, size: int, path: str, token: str, copying: Copying) -> Stored:
        """Copy a file of this machine to a path, whole and verified; the token makes a partial name its own.

        After an error the path has what it had, or nothing; what is partial may be there.
        """
        ...

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        ...

    def discard(self, path: str, token: str) -> None:
        """Remove what a `put` that failed may have left."""
        ...


_HAVE_NO_KEYS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoAuthTokenError")
_NEVER_PASS = (
    "ConfigParseError",
    "FileExpired",
    "HostKeyNotVerifiable",
    "InvalidRegionError",
    "KeyEncryptionError",
    "KeyImportError",
    "ParamValidationError",
    "PermissionDenied",
    "SFTPFileIsADirectory",
    "SFTPInvalidFilename",
    "SFTPNoSpaceOnFilesystem",
    "SFTPNoSuchFile",
    "SFTPNoSuchPath",
    "SFTPNotADirectory",
    "SFTPOpUnsupported",
    "SFTPPermissionDenied",
    "SFTPQuotaExceeded",
    "SFTPWriteProtect",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
    *_HAVE_NO_KEYS,
)
"""Errors of asyncssh, botocore and s3fs by name: none of them is imported for this."""

_NEVER_PASS_NUMBERS = {
    getattr(errno, name, -1)
    for name in ("EACCES", "EINVAL", "EISDIR", "EMSGSIZE", "ENAMETOOLONG", "ENOSPC", "ENOSYS", "ENOTDIR", "EPERM")
} | {getattr(errno, name, -1) for name in ("EREMCHG", "EROFS")}
_DAMAGED_ON_THE_WAY = ("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch")


@contextmanager
def translated(at: Address, failure: type[VidsalError]) -> Iterator[None]:
    """Turn what the libraries raise into `Passing`, or into an error that says what to do."""
    try:
        yield
    except (VidsalError, Stopped, Passing):
        raise
    except Exception as error:
        own_fault = not isinstance(error, OSError | EOFError | ValueError) and type(error).__module__ == "builtins"
        if own_fault:
            raise
        said = str(getattr(error, "strerror", None) or error).strip().partition("\n")[0]
        if isinstance(error, FileNotFoundError) and at.path and said.strip("/").endswith(at.path.strip("/")):
            said = "no such file or folder"
        said = at.without_secrets(said) or type(error).__name__
        advice, passes = _judged(error)
        if passes:
            raise Passing(said) from error
        raise failure(f"{at.shown}: {said}{advice}") from error


def _judged(error: Exception) -> tuple[str, bool]:
    """What to do about an error of a library, and whether it may pass by itself."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    response = getattr(error.__cause__, "response", None) or getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    if isinstance(error, FileNotFoundError):
        return "", False
    if "HostKeyNotVerifiable" in kinds:
        return "; connect once by ssh and compare its fingerprint, so that it is in your known_hosts", False
    if kinds & set(_HAVE_NO_KEYS):
        return _where_keys_are(), False
    if _is_login_refused(error):
        return _where_ssh_keys_are(), False
    if isinstance(error, PermissionError) or {"PermissionDenied", "SFTPPermissionDenied"} & kinds:
        return "; check who you log in as, and what that account may do there", False
    if code in _DAMAGED_ON_THE_WAY:
        return "", True
    never = bool(kinds & set(_NEVER_PASS)) or isinstance(error, ValueError | FileExistsError)
    return "", not never and getattr(error, "errno", None) not in _NEVER_PASS_NUMBERS


def _is_login_refused(error: BaseException) -> bool:
    """Whether an SSH server lets nobody in; what it says of a file is another matter."""
    causes = (error, error.__cause__, error.__context__)
    return any(kind.__name__ == "PermissionDenied" for one in causes if one is not None for kind in type(one).__mro__)


_WRONG_KEYS = ("ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch")
"""What S3 says where a key is known to nobody, has run out or is mistyped."""


def is_about_login(error: VidsalError) -> bool:
    """Whether an error that came of `translated` says that a place does not know this user, or is not known itself."""
    cause = error.__cause__
    if cause is None:
        return False
    kinds = {kind.__name__ for kind in type(cause).__mro__}
    response = getattr(cause.__cause__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    unknown = kinds & {*_HAVE_NO_KEYS, "HostKeyNotVerifiable", "KeyEncryptionError", "KeyImportError"}
    return bool(unknown) or code in _WRONG_KEYS or _is_login_refused(cause)


def _where_keys_are() -> str:
    profile = os.environ.get("AWS_PROFILE")
    files = [
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    ]
    return (
        "; looked for: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile "
        f"{profile if profile else 'default'} ({'' if profile else 'AWS_PROFILE names another; '}"
        f"in {files[0]} and {files[1]}), and a role of this machine. Set one of them, on every machine that works"
    )


def _where_ssh_keys_are() -> str:
    agent = "an SSH agent" if os.environ.get("SSH_AUTH_SOCK") else "an SSH agent (none: SSH_AUTH_SOCK is not set)"
    return (
        "; check who you log in as. Looked for: keys in ~/.ssh (id_ed25519, id_ecdsa, id_rsa), "
        f"{agent}, what ~/.ssh/config says of this host, and a password in the address or in fsspec's configuration "
        "(FSSPEC_SFTP). Set one of them, on every machine that works"
    )


def _class_of(at: Address) -> Any:
    import fsspec

    try:
        kind = fsspec.get_filesystem_class(at.scheme)
    except ValueError as error:
        raise ConfigError(f"{at.shown}: fsspec knows no {at.scheme}://") from error
    except ImportError as error:
        needed = _INSTALL if at.scheme in (*S3_SCHEMES, *SSH_SCHEMES) else str(error)
        raise ConfigError(f"{at.shown}: a package for {at.scheme}:// is missing: {needed}") from error
    if at.scheme in SSH_SCHEMES and kind.__module__.partition(".")[0] != "sshfs":
        # fsspec's own, on paramiko, trusts any server.
        raise ConfigError(f"{at.shown}: a package for {at.scheme}:// is missing: {_INSTALL}")
    return kind


def connect(at: Address) -> Store:
    """The place of an address, connected; fsspec gives the same connection each time."""
    from fsspec.config import conf

    kind = _class_of(at)
    configured = {name: _as_the_libraries_want(name, value) for name, value in conf.get(at.scheme, {}).items()}
    try:
        if at.scheme in S3_SCHEMES:
            return S3Store(at, at.authority, kind(**{"use_listings_cache": False, **configured}))
        if at.scheme in SSH_SCHEMES:
            # Names that are no UTF-8 are kept as they are.
            names = {**_ODD_NAMES, **configured.pop("sftp_client_kwargs", {})}
            options = {**_SSH_DEFAULTS, **configured, **_login(at), "sftp_client_kwargs": names}
            return FileStore(at, kind(**options), "/")
        top = f"{at.scheme}://{at.authority}/"
        named = {name: _decoded(value) for name, value in kind._get_kwargs_from_urls(top).items()}
        options = {"use_listings_cache": False, **configured, **named}
        return FileStore(at, kind(**options), f"{str(kind._strip_protocol(top)).rstrip('/')}/")
    except TypeError as error:
        raise ConfigError(f"fsspec's configuration of {at.scheme} has an option that is wrong: {error}") from error


def disconnect(at: Address) -> None:
    """Let go of the connections of this kind, for one that broke stays broken; the next question makes a new one."""
    if at.scheme not in S3_SCHEMES:
        _class_of(at).clear_instance_cache()


def _login(at: Address) -> dict[str, Any]:
    """Host, port, user and password of an address, as far as it names them."""
    parts = urlsplit(f"//{at.authority}")
    try:
        named = {"host": parts.hostname, "port": parts.port, "username": parts.username, "password": parts.password}
    except ValueError:
        # What was taken for a port may be half a password.
        what = "its port is no number; write odd characters of a user or a password as codes (%2F for a slash)"
        raise ConfigError(f"{at.shown}: {what}") from None
    return {name: _decoded(value) for name, value in named.items() if value}


def _decoded(value: Any) -> Any:
    return unquote(value) if isinstance(value, str) else value


def _as_the_libraries_want(name: str, value: Any) -> Any:
    """An option out of a file or the environment: fsspec leaves all text as it is, or takes all text for JSON."""
    if name == "port":
        return int(value)
    return str(value) if name in ("username", "password", "passphrase", "key", "secret") and value else value


@dataclass(frozen=True)
class S3Store:
    """A bucket. Its calls are those of the service, so that no key is taken apart on the way."""

    at: Address
    """Where it is."""
    bucket: str
    """Its name."""
    files: Any
    """As fsspec has it."""

    def look(self, path: str) -> Found | None:
        if not path or path.endswith("/"):
            return None
        try:
            head = self.files.call_s3("head_object", Bucket=self.bucket, Key=path)
        except FileNotFoundError:
            self._check_bucket()
            return None
        return self._found(path, head["ContentLength"], head)

    def _check_bucket(self) -> None:
        """Of a key in a bucket that is missing, a service says no more than that it is missing."""
        try:
            with suppress(PermissionError):
                self.files.call_s3("head_bucket", Bucket=self.bucket)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"there is no bucket called {self.bucket}") from error

    def _found(self, path: str, size: int, said: Any) -> Found:
        # A list has parts of a second, a look at one object has none.
        moment = said["LastModified"].astimezone(UTC).replace(microsecond=0)
        tag = said.get("ETag", "").strip('"') or None
        return Found(self.at.at(path), size, moment.isoformat(timespec="microseconds"), tag)

    def page(self, folder: str, token: str | None) -> tuple[list[Found], str | None]:
        further = {} if token is None else {"ContinuationToken": token}
        prefix = f"{folder}/" if folder else ""
        page = self.files.call_s3("list_objects_v2", Bucket=self.bucket, Prefix=prefix, **further)
        listed = page.get("Contents", [])
        if not listed and folder and token is None:
            raise FileNotFoundError("nothing is there")
        # What ends in a slash is how some programs mark a folder.
        found = [self._found(one["Key"], one["Size"], one) for one in listed if not one["Key"].endswith("/")]
        return found, page["NextContinuationToken"] if page.get("IsTruncated") else None

    def open(self, found: Found, offset: int) -> Reader:
        key = parse(found.path).path
        answer = self.files.call_s3("get_object", Bucket=self.bucket, Key=key, Range=f"bytes={offset}-")
        return _S3Reader(self.files.loop, answer["Body"])

    def put(self, local: Path, size: int, path: str, token: str, copying: Copying) -> Stored:
        stored, md5 = (
            self._put_at_once(local, path, size, copying)
            if size <= _PART_BYTES
            else self._put_in_parts(local, path, size, copying)
        )
        found = self.look(path)
        if found is None:
            raise Passing("it was put there, and is not there")
        if found.bytes != size or (found.tag != md5 and not copying.has(found, stored.sha256)):
            self.remove(path)
            raise Passing(f"what arrived there is not what was sent ({found.bytes} bytes of {size})")
        return stored

    def _put_at_once(self, local: Path, path: str, size: int, copying: Copying) -> tuple[Stored, str]:
        for content in copying.pieces(local, size, _PART_BYTES):
            md5 = hashlib.md5(content, usedforsecurity=False)
            self._send("put_object", path, content, md5.digest())
        return Stored(size, hashlib.sha256(content).hexdigest()), md5.hexdigest()

    def _put_in_parts(self, local: Path, path: str, size: int, copying: Copying) -> tuple[Stored, str]:
        part_bytes = max(_PART_BYTES, -(-size // _MOST_PARTS))
        digest, digests = hashlib.sha256(), b""
        begun = self.files.call_s3("create_multipart_upload", Bucket=self.bucket, Key=path)["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            for number, content in enumerate(copying.pieces(local, size, part_bytes), 1):
                md5 = hashlib.md5(content, usedforsecurity=False).digest()
                answer = self._send("upload_part", path, content, md5, UploadId=begun, PartNumber=number)
                sums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
                parts.append({"PartNumber": number, "ETag": answer["ETag"], **sums})
                digest.update(content)
                digests += md5
            self.files.call_s3(
                "complete_multipart_upload",
                Bucket=self.bucket,
                Key=path,
                UploadId=begun,
                MultipartUpload={"Parts": parts},
            )
        except BaseException:
            # Parts of what never became a file cost money, and no list shows them.
            with suppress(Exception):
                self.files.call_s3("abort_multipart_upload", Bucket=self.bucket, Key=path, UploadId=begun)
            raise
        md5_of_all = hashlib.md5(digests, usedforsecurity=False).hexdigest()
        return Stored(size, digest.hexdigest()), f"{md5_of_all}-{len(parts)}"

    def _send(self, call: str, path: str, content: bytes, md5: bytes, **further: Any) -> Any:
        """Send bytes with their md5, by which the service refuses what arrives otherwise."""
        checked = base64.b64encode(md5).decode()
        return self.files.call_s3(call, Bucket=self.bucket, Key=path, Body=content, ContentMD5=checked, **further)

    def remove(self, path: str) -> None:
        self.files.call_s3("delete_object", Bucket=self.bucket, Key=path)

    def discard(self, path: str, token: str) -> None:
        """Nothing is left: a file appears whole, and its parts are thrown away."""


@dataclass(frozen=True)
class _S3Reader:
    """The body of an answer."""

    loop: Any
    body: Any

    def read(self, size: int, /) -> bytes:
        from fsspec.asyn import sync

        content: bytes = sync(self.loop, self.body.read, size)
        return content

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.body.close)


@dataclass(frozen=True)
class FileStore:
    """A server with folders and files in them, by SFTP or whatever else fsspec speaks."""

    at: Address
    """Where it is."""
    files: Any
    """As fsspec has it."""
    root: str
    """What stands before each path there."""

    def look(self, path: str) -> Found | None:
        if not path or path.endswith("/"):
            return None
        try:
            info = self.files.info(self.root + path)
        except FileNotFoundError:
            return None
        return self._found(path, info) if info["type"] == "file" else None

    def _found(self, path: str, info: Any) -> Found:
        modified = (info.get(name) for name in ("mtime", "LastModified", "last_modified", "updated", "created"))
        tags = (info.get(name) for name in ("ETag", "etag", "md5Hash", "content_md5", "generation"))
        tag = next(filter(None, tags), None)
        moment = _moment(next((value for value in modified if value is not None), None))
        return Found(self.at.at(path), info["size"], moment, tag and str(tag).strip('"'))

    def folder(self, path: str) -> tuple[list[Found], list[str]]:
        files: list[Found] = []
        folders: list[str] = []
        for info in self.files.ls(self.root + path, detail=True):
            below = posixpath.join(path, info["name"].rstrip("/").rpartition("/")[2])
            if info["type"] == "directory":
                folders.append(below)
            elif info["type"] == "file":
                files.append(self._found(below, info))
            elif info["type"] == "link" and not self.files.isdir(self.root + below):
                # One that leads nowhere is an input that fails, not one that nobody mentions.
                files.append(self.look(below) or self._found(below, info))
        return files, folders

    def open(self, found: Found, offset: int) -> Reader:
        file: Any = self.files.open(self.root + parse(found.path).path, "rb")
        file.seek(offset)
        reader: Reader = file
        return reader

    def put(self, local: Path, size: int, path: str, token: str, copying: Copying) -> Stored:
        partial = self._partial(path, token)
        self.files.makedirs(self.root + path.rpartition("/")[0], exist_ok=True)
        digest = hashlib.sha256()
        with closing(self.files.open(self.root + partial, "wb")) as file:
            for piece in copying.pieces(local, size, _PIECE_BYTES):
                file.write(piece)
                digest.update(piece)
        stored = Stored(size, digest.hexdigest())
        found = self.look(partial)
        if found is None or found.bytes != size or not copying.has(found, stored.sha256):
            there = found.bytes if found else 0
            raise Passing(f"what arrived there is not what was sent ({there} bytes of {size})")
        self._rename(partial, path)
        arrived = self.look(path)
        if arrived is None or arrived.bytes != size:
            raise Passing("it was renamed there, and is not there")
        return stored

    def _partial(self, path: str, token: str) -> str:
        above, _, name = path.rpartition("/")
        end = f".{token}.partial"
        return posixpath.join(above, short_name(name, Path.cwd(), room=len(end)) + end)

    def _rename(self, partial: str, path: str) -> None:
        if self.at.scheme in SSH_SCHEMES:
            from fsspec.asyn import sync

            sync(self.files.loop, _replace_by_sftp, self.files.client, self.root + partial, self.root + path)
            return
        from fsspec import AbstractFileSystem

        if type(self.files).mv is AbstractFileSystem.mv:
            # It has no such call, as services that keep objects have none: there a copy appears whole. What fsspec has
            # for all takes a name for a pattern.
            self.files.cp_file(self.root + partial, self.root + path)
            self.files.rm_file(self.root + partial)
            return
        if self.files.exists(self.root + path):
            self.files.rm_file(self.root + path)
        self.files.mv(self.root + partial, self.root + path)

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self.files.rm_file(self.root + path)

    def discard(self, path: str, token: str) -> None:
        self.remove(self._partial(path, token))


async def _replace_by_sftp(client: Any, partial: str, path: str) -> None:
    """Rename a file to one that may be there; sshfs would copy it under that name where the server has no such call."""
    import asyncssh

    async with client.start_sftp_client(**_ODD_NAMES) as sftp:
        try:
            await sftp.posix_rename(partial, path)
        except asyncssh.SFTPOpUnsupported:
            with suppress(asyncssh.SFTPNoSuchFile):
                await sftp.remove(path)
            await sftp.rename(partial, path)


def _moment(value: Any) -> str | None:
    """A time, as `InputRecord.modified` has it."""
    if isinstance(value, int | float):
        value = datetime.fromtimestamp(value, UTC)
    if isinstance(value, datetime):
        known = value if value.tzinfo else value.replace(tzinfo=UTC)
        return known.astimezone(UTC).isoformat(timespec="microseconds")
    return None if value is None else str(value)
