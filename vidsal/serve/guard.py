"""What a request says of itself in, whether it is let through and to which file out; nothing here knows a server."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from vidsal.files import short_name

__all__ = ["confined", "free_stem", "host_of", "is_allowed_host", "is_foreign", "is_token", "safe_name"]

_ROOM = 60
"""Bytes that may follow the stem of an upload: a number, and the longest ending of a result."""
_WINDOWS_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


def is_token(given: str | None, token: str) -> bool:
    """Whether it is the token; how long that takes does not depend on where they differ."""
    return given is not None and hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode())


def host_of(header: str | None) -> str | None:
    """The name in a Host header, without its port and in lower case; None where there is none.

    Example:
        >>> host_of("LOCALHOST:8765"), host_of("[::1]:8765"), host_of("a@b"), host_of(None)
        ('localhost', '::1', None, None)
    """
    if header is None or not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?", header, re.ASCII):
        return None
    return urlsplit(f"//{header}").hostname


def is_allowed_host(header: str | None, *, local: bool, names: Collection[str]) -> bool:
    """Whether a browser may have called the server by this name.

    A page elsewhere can have its own name lead here (DNS rebinding): the browser then takes both for one. What is no
    name cannot be led anywhere.

    Args:
        header: the Host header.
        local: whether only this machine can reach the server.
        names: further names that are the server's.

    Example:
        >>> hosts = "127.0.0.1:8765", "localhost", "10.0.0.7:8765", "evil.org"
        >>> [is_allowed_host(host, local=True, names=()) for host in hosts]
        [True, True, False, False]
        >>> [is_allowed_host(host, local=False, names=["box.lan"]) for host in ("10.0.0.7", "box.lan:80", "evil.org")]
        [True, True, False]
    """
    host = host_of(header)
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost") or host in {name.lower() for name in names}:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or not local


def is_foreign(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a page of another site has made a browser send a request.

    Opening a page from anywhere is no such: nothing of it can be read there, and nothing is changed.

    Args:
        method: GET, POST, ...
        headers: of the request.
    """
    site = headers.get("Sec-Fetch-Site", "none")
    origin = headers.get("Origin")
    if method in ("GET", "HEAD"):
        return site not in ("none", "same-origin") and headers.get("Sec-Fetch-Mode") != "navigate"
    if origin is None:
        return site not in ("none", "same-origin")
    parts = urlsplit(origin)
    return parts.scheme not in ("http", "https") or parts.netloc.lower() != headers.get("Host", "").lower()


def confined(folder: Path, path: str) -> Path | None:
    """The file or folder below a folder that a path names; None for what is hidden, outside of it, or not there.

    Args:
        folder: what must not be left, also not by links.
        path: names with "/" between, as they come out of an address.
    """
    parts = path.split("/") if path else []
    if any(part.startswith(".") or not part or re.search(r"[\\\0]|^\w:", part) for part in parts):
        return None
    try:
        root = Path(os.path.realpath(folder))
        found = Path(os.path.realpath(root.joinpath(*parts), strict=True))
    except (OSError, ValueError):
        return None
    # A link may lead to what is hidden.
    inside = found.is_relative_to(root) and not any(part.startswith(".") for part in found.relative_to(root).parts)
    return found if inside else None


def safe_name(given: str) -> str:
    """What a file that is sent may be called: its last part, without what file systems or results take for their own.

    Example:
        >>> safe_name("../../etc/Caf\\u0065\\u0301 1.MP4"), safe_name("C:\\\\a\\\\b.mov"), safe_name(".vidsal.mp4")
        ('Café 1.MP4', 'b.mov', 'vidsal.mp4')
        >>> safe_name("a.vidsal.mp4"), safe_name("con.mp4"), safe_name("")
        ('a-vidsal.mp4', '_con.mp4', 'video')
    """
    text = unicodedata.normalize("NFC", given.encode(errors="ignore").decode()).replace("\\", "/").rpartition("/")[2]
    # Control characters, and those that turn the direction of a text around.
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
    text = re.sub(r'[<>:"|?*%#]+', "-", text)
    name = PurePosixPath(text.strip(" ."))
    stem, suffix = name.stem.strip(" ."), name.suffix
    for word in ("vidsal", "partial"):
        stem = re.sub(rf"\.(?={word}(\.|$))", "-", stem, flags=re.IGNORECASE)
    stem = stem or "video"
    return f"{'_' if _WINDOWS_NAMES.fullmatch(stem.split('.')[0]) else ''}{stem}{suffix}"


def free_stem(folder: Path, stem: str, taken: Collection[str]) -> str:
    """A stem under which nothing lies in a folder: neither a file nor results of one.

    Args:
        folder: it may be missing.
        stem: what is wanted; a number is added where it has to be.
        taken: stems that are spoken for, in lower case.
    """
    there = [path.name.lower() for path in folder.iterdir()] if folder.is_dir() else []
    wanted = short_name(stem, folder, room=_ROOM)
    for number in range(1, 1_000_000):
        name = wanted if number == 1 else f"{wanted}-{number}"
        if name.lower() not in taken and not any(f"{other}.".startswith(f"{name.lower()}.") for other in there):
            return name
    raise ValueError(f"all names are taken: {stem}")
