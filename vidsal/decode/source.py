"""What a person or a program names as an input, in; what it is, out: `source_of`, the one place that decides."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from vidsal.addresses import hide_secrets
from vidsal.errors import DecodeError

__all__ = ["LIVE_SCHEMES", "SCHEMES", "Source", "source_of"]

LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp"})
"""Addresses that do not wait for a slow reader."""

SCHEMES = LIVE_SCHEMES | {"http", "https", "tcp"}
"""Addresses that can be opened."""

_CAMERA = re.compile(r"(?:camera:)?(0|[1-9][0-9]{0,3})")
"""No leading zeros: 0001 is how folders of frames are called. OpenCV counts in hundreds for its backends."""


@dataclass(frozen=True)
class Source:
    """An input, as it is to be opened."""

    kind: Literal["path", "camera", "address", "stdin"]
    """path: a file or a folder, which may be missing; stdin: standard input."""
    name: str
    """What messages and reports call it; without the password of an address."""
    path: Path | None = None
    """The file or folder."""
    camera: int | None = None
    """The number of the camera."""
    address: str | None = None
    """The address."""

    @property
    def live(self) -> bool:
        """Whether it does not wait for a slow reader."""
        return self.kind == "camera" or (self.address or "").split(":")[0].lower() in LIVE_SCHEMES


def source_of(given: str | Path | int) -> Source:
    """What an input is.

    A `Path` is a file or a folder, a whole number a camera. Of a text, what is there under this name comes first: a
    folder called 7 is a folder, and a file called rtsp:x a file. Else "-" is standard input, 7 and camera:7 are
    cameras, what begins with a scheme and "://" is an address, and all else a file or a folder that is missing.

    Raises:
        DecodeError: the text is empty, or an address of a kind that cannot be read.

    Example:
        >>> source_of("clip.mp4").kind, source_of("0").camera, source_of("0001").kind, source_of("-").kind
        ('path', 0, 'path', 'stdin')
        >>> source_of("rtsp://me:secret@host/door").name
        'rtsp://host/door'
    """
    if isinstance(given, int):
        return _camera(given)
    if isinstance(given, os.PathLike):
        return _path(Path(given))
    if given == "-":
        return Source("stdin", "standard input")
    if not given:
        raise DecodeError("an input has an empty name; name a video, an image, a folder, a camera, an address, or -")
    if os.path.lexists(given):
        return _path(Path(given))
    if match := _CAMERA.fullmatch(given):
        return _camera(int(match[1]))
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", given)
    if match is None:
        return _path(Path(given))
    scheme = match[1].lower()
    if scheme == "file":
        return _path(Path(unquote(urlsplit(given).path)))
    name = hide_secrets(given)
    if scheme not in SCHEMES:
        raise DecodeError(
            f"{name}: addresses of the kind {scheme}:// cannot be read, only {', '.join(sorted(SCHEMES))}"
        )
    return Source("address", name, address=given)


def _path(path: Path) -> Source:
    return Source("path", str(path), path=path)


def _camera(number: int) -> Source:
    return Source("camera", f"camera {number}", camera=number)
