"""The address of a file elsewhere, taken apart and put together: what is one, what it names, how it is shown.

An address is a URL: in its path %23 stands for #, %3F for ?, %25 for a percent sign. Whatever is no such code stands
for itself, so that most names may be written as they are. `join` and `find` write the codes.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote

from vidsal.addresses import hide_secrets
from vidsal.decode.source import SCHEMES
from vidsal.errors import ConfigError, DecodeError

__all__ = ["S3_SCHEMES", "SSH_SCHEMES", "Address", "Found", "is_remote", "join", "names_below", "parse"]

S3_SCHEMES = ("s3", "s3a")
"""Buckets of S3, Amazon's or another's."""

SSH_SCHEMES = ("sftp", "ssh")
"""Servers that are reached by SFTP."""

_NOT_ELSEWHERE = frozenset(
    {"arrow_hdfs", "async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "data", "dir", "file"}
    | {"filecache", "generic", "git", "libarchive", "local", "memory", "pyscript", "reference", "simplecache"}
    | {"tar", "zip"}
)
"""What fsspec serves, too: files of this machine, and what wraps another file system."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://([^/]*)/?(.*)", re.DOTALL)
_TO_QUOTE = re.compile("[\x00-\x20%#?\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Found:
    """A file elsewhere, as it was when it was looked at."""

    path: str
    """Its address, odd characters as codes; with the user and the password of the address that led to it."""
    bytes: int
    """Its size."""
    modified: str | None
    """When it was last changed, in UTC, as `InputRecord.modified` has it; None where the server does not say."""
    tag: str | None
    """What changes with its content (S3's ETag); None where the server has no such thing."""

    @property
    def name(self) -> str:
        """Its name without its folder, as a file of this machine is called."""
        return parse(self.path).path.rpartition("/")[2]

    def is_unchanged(self, other: Found) -> bool:
        """Whether two looks saw one content: of the same tag where both have one, else of the same size and time."""
        if self.bytes != other.bytes:
            return False
        if self.tag is not None and other.tag is not None:
            return self.tag == other.tag
        return self.modified == other.modified

    def describe(self) -> str:
        """Size, time and tag in words."""
        known = [f"{self.bytes} bytes", self.modified and f"of {self.modified}", self.tag and f"tag {self.tag}"]
        return ", ".join(filter(None, known))


def is_remote(text: str) -> bool:
    """Whether a text is the address of files elsewhere, which have to be fetched before FFmpeg can read them.

    What is here under this name comes first, as everywhere. Cameras, http and other addresses that FFmpeg reads itself
    are none; nor is file://.

    Example:
        >>> is_remote("s3://bucket/clip.mp4"), is_remote("https://host/clip.mp4"), is_remote("clips/clip.mp4")
        (True, False, False)
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or os.path.lexists(text):
        return False
    scheme = match[1].lower()
    if scheme in SCHEMES or scheme in _NOT_ELSEWHERE:
        return False
    import fsspec

    return scheme in fsspec.available_protocols()


def join(address: str, *names: str) -> str:
    """The address of what is called so below a folder; odd characters of the names become codes.

    Args:
        address: of the folder.
        names: of folders and, last, of a file or folder, each as a file of this machine is called.

    Raises:
        ConfigError: a name is none: empty, ".", "..", or with a slash or a NUL in it.

    Example:
        >>> join("s3://bucket/out/", "take 2", "clip #1?.mp4")
        's3://bucket/out/take%202/clip%20%231%3F.mp4'
    """
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ConfigError(f"{hide_secrets(address)}: {name!r} cannot be the name of a file or folder there")
    return "/".join([address.rstrip("/"), *map(_quoted, names)])


def names_below(address: str, folder: str) -> tuple[str, ...]:
    """The names that lead from a folder to a file in it, as `join` takes them; of the folder itself its last name.

    Raises:
        DecodeError: the file is not below the folder, or a part of its name can be no name here.

    Example:
        >>> names_below("s3://bucket/in/mon/a%231.mp4", "s3://bucket/in")
        ('mon', 'a#1.mp4')
    """
    path, above = parse(address).path, parse(folder).path.rstrip("/")
    if path == above:
        below = path.rpartition("/")[2]
    elif above and not path.startswith(f"{above}/"):
        raise DecodeError(f"{hide_secrets(address)} is not below {hide_secrets(folder)}")
    else:
        below = path.removeprefix(above).removeprefix("/")
    names = tuple(below.split("/"))
    if any(name in ("", ".", "..") or "\0" in name for name in names):
        raise DecodeError(
            f"{hide_secrets(address)}: a part of this name is empty, a dot or two; there is no such file on a disk. "
            "Rename it"
        )
    return names


@dataclass(frozen=True)
class Address:
    """An address in its parts."""

    scheme: str
    """In small letters."""
    authority: str
    """Host or bucket, with user, password and port as they are written."""
    path: str
    """Decoded, without the slash before it."""

    def at(self, path: str) -> str:
        """The address of another path there."""
        return f"{self.scheme}://{self.authority}/{_quoted(path)}"

    @property
    def shown(self) -> str:
        """For messages."""
        return hide_secrets(self.at(self.path))

    def without_secrets(self, text: str) -> str:
        """What a library says, without the user and the password of this address."""
        user, _, password = self.authority.rpartition("@")[0].partition(":")
        for secret in sorted(filter(None, {user, password, unquote(user), unquote(password)}), key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "…", text)
        return text


def parse(address: str) -> Address:
    """The parts of an address.

    Raises:
        ConfigError: it is none, or names no bucket or host, or holds keys.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"{hide_secrets(address)} is not an address; write SCHEME://HOST-OR-BUCKET/PATH")
    scheme, authority, path = match[1].lower(), match[2], unquote(match[3], errors="surrogateescape")
    if scheme in S3_SCHEMES:
        if not authority:
            raise ConfigError(f"{scheme}:///{match[3]} names no bucket; write {scheme}://BUCKET/PATH")
        if "@" in authority:
            raise ConfigError(
                f"{scheme}://{authority.rpartition('@')[2]}: keys do not go into the address; "
                "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if re.search("[\ud800-\udfff]", path):
            raise ConfigError(f"{hide_secrets(address)}: names there are UTF-8, and this one is not; rename the file")
    elif scheme in SSH_SCHEMES and not authority:
        raise ConfigError(f"{scheme}:///{match[3]} names no host; write {scheme}://HOST/PATH")
    return Address(scheme, authority, path)


def _quoted(path: str) -> str:
    return _TO_QUOTE.sub(lambda odd: "".join(f"%{byte:02X}" for byte in os.fsencode(odd[0])), path)
