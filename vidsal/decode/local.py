"""A local file or an address in, an open container of FFmpeg's out: the only way in which inputs are opened.

A playlist or a script is a file that names others: opened blindly, a file from anywhere could have any file of this
machine read, or any address called. So neither the formats that open others nor any way to reach something but this one
file are allowed, unless they are asked for; and what an address gives never reaches a file of this machine.
"""

from __future__ import annotations

import functools
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.container import InputContainer
from av.error import FFmpegError

from vidsal.errors import DecodeError, Setting
from vidsal.files import local_name

__all__ = ["open_address", "open_file", "open_stream", "refuse_odd_name"]

_SCRIPTS = frozenset({"avisynth", "concat", "imf", "lavfi", "sdp", "vapoursynth", "vobsub"})
"""FFmpeg's names of formats that name local files or run programs: from an address they are never read."""

_PLAYLISTS = _SCRIPTS | {"applehttp", "dash", "hls", "rtp", "rtsp", "sap", "webm_dash_manifest"}
"""FFmpeg's names of formats that open what they name."""

_NETWORK = "http,https,httpproxy,tls,tcp,udp,udplite,rtp,srtp,rtsp,rtmp,rtmpe,rtmps,rtmpt,rtmpte,rtmpts,srt,crypto,data"
"""Ways on for what comes from an address."""

_HEADS = (
    ("#EXTM3U", "an HLS playlist"),
    ("ffconcat version", "a script that joins files (ffconcat)"),
    ("<MPD", "a DASH manifest"),
    ("v=0", "a session description (SDP)"),
    ("CompositionPlaylist", "an IMF playlist"),
)
"""How such files begin, and what they are."""

_HEAD_BYTES = 4096


def open_file(path: Path, *, allow_playlists: bool = False, **settings: Any) -> InputContainer:
    """Open a local file, whatever its name looks like: one file, and no other.

    Args:
        path: the file.
        allow_playlists: whether it may be a playlist or a script, and open what it names, addresses too.
        settings: as for `av.open`.

    Raises:
        DecodeError: it is a playlist or a script and none is allowed.
        FFmpegError, OSError: it cannot be opened.
    """
    # seq%03d.tga is the name of one file.
    options = {"pattern_type": "none"}
    if allow_playlists:
        options |= {"protocol_whitelist": f"file,{_NETWORK}", "safe": "0"}
    else:
        options |= {"protocol_whitelist": "file", "format_whitelist": _all_formats_but(_PLAYLISTS)}
    open_with = functools.partial(av.open, local_name(path), "r", options=options, **settings)
    try:
        container: InputContainer
        try:
            container = open_with()
        except UnicodeDecodeError:
            # Tags of old AVI and MP3 files: what is not UTF-8 was written on Windows.
            container = open_with(metadata_encoding="cp1252", metadata_errors="replace")
        return container
    except FFmpegError as error:
        what = None if allow_playlists else _playlist_in(path)
        if what is None:
            raise
        raise DecodeError(
            f"{path} is {what}, which opens other files or addresses; if you trust it, allow that by ",
            Setting("allow_playlists", True),
        ) from error


def open_address(address: str, **settings: Any) -> InputContainer:
    """Open an address. A playlist there may name other addresses, but no file of this machine.

    Args:
        address: its scheme is one of those that can be read.
        settings: as for `av.open`.

    Raises:
        FFmpegError, OSError: it cannot be opened.
    """
    options = {"protocol_whitelist": _NETWORK, "format_whitelist": _all_formats_but(_SCRIPTS)}
    container: InputContainer = av.open(address, "r", options=options, metadata_errors="replace", **settings)
    return container


def open_stream(file: BinaryIO, **settings: Any) -> InputContainer:
    """Open what a binary file object gives, and nothing that it names.

    Args:
        file: read from where it stands.
        settings: as for `av.open`.

    Raises:
        FFmpegError, OSError: it cannot be opened.
    """
    options = {"protocol_whitelist": "data", "format_whitelist": _all_formats_but(_PLAYLISTS), "pattern_type": "none"}
    container: InputContainer = av.open(file, "r", options=options, metadata_errors="replace", **settings)
    return container


def refuse_odd_name(path: Path, decoder: str) -> None:
    """Refuse a file whose name the other decoders take for a pattern of many, or cannot take at all.

    Raises:
        DecodeError: it has such a name.
    """
    name = str(path)
    if re.search(r"%\d*d", name) or name.encode(errors="replace").decode() != name:
        raise DecodeError(f"{path}: the {decoder} decoder cannot open a file of this name; use the pyav decoder")


@functools.cache
def _all_formats_but(refused: frozenset[str]) -> str:
    # FFmpeg knows no list of what is refused.
    names = {name for names in av.formats_available for name in names.split(",")}
    return ",".join(sorted(names - refused))


def _playlist_in(path: Path) -> str | None:
    """What kind of playlist a file is that could not be opened; None for others."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace").lstrip()
    except OSError:
        return None
    if head.startswith("<"):
        return next((what for mark, what in _HEADS if mark[0] in "<C" and mark in head), None)
    return next((what for mark, what in _HEADS if head.startswith(mark)), None)
