"""A path, an address or a camera number in, a `Reader` of `FrameBatch`es out: `open_video`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from vidsal.decode.contract import DecodeOptions, DecodeReport, Reader, SizeRequest, VideoInfo
from vidsal.errors import ConfigError, DecodeError

__all__ = ["DecodeOptions", "DecodeReport", "Reader", "VideoInfo", "open_video"]

LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp"})
"""Addresses that do not wait for a slow reader."""

SCHEMES = LIVE_SCHEMES | {"http", "https", "tcp"}
"""Addresses that can be opened."""


def open_video(
    source: str | Path | int,
    *,
    options: DecodeOptions | None = None,
    size: SizeRequest = None,
    keep_pictures: bool = False,
) -> Reader:
    """Opens anything that shows pictures, and decodes its first frame.

    Args:
        source: a video file; an image (PNG, JPEG, WebP, BMP, TIFF); a folder of images, shown at 25 a
            second; a camera number (0, or "0"); an address (http, https, tcp, rtsp, rtmp, rtp, srt, udp);
            "-" for standard input.
        options: how to read; None: the defaults.
        size: (height, width) of `FrameBatch.frames`, or a function that makes it from the upright
            (height, width); None: full size.
        keep_pictures: True gives `FrameBatch.pictures` for drawing on the full picture.

    Returns:
        A context manager that yields `FrameBatch`es when iterated, with `info` and `report`.

    Raises:
        DecodeError: there is no such source, it may not be read, or it holds no picture.
        ConfigError: the decoder cannot read this kind of source, or is not installed.

    Example:
        with open_video("clip.mp4", size=(240, 320)) as reader:
            for batch in reader:
                print(batch.pts_seconds, batch.frames.shape)
    """
    options = options or DecodeOptions()
    wanted: dict[str, Any] = {"options": options, "size": size, "keep_pictures": keep_pictures}
    if isinstance(source, int) or (isinstance(source, str) and source.isdecimal()):
        return _open_camera(int(source), wanted)
    if source == "-":
        return _open_stdin(options, wanted)
    scheme = _scheme(source) if isinstance(source, str) else None
    if scheme == "file":
        return _open_path(Path(unquote(urlsplit(str(source)).path)), options, wanted)
    if scheme is not None:
        return _open_address(str(source), scheme, options, wanted)
    return _open_path(Path(source), options, wanted)


def _scheme(source: str) -> str | None:
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", source)
    return match[1].lower() if match else None


# The backends are imported where they are used: each brings a heavy library.


def _open_camera(number: int, wanted: dict[str, Any]) -> Reader:
    from vidsal.decode.opencv import open_opencv

    return open_opencv(number, source=f"camera {number}", path=None, kind="camera", live=True, **wanted)


def _open_stdin(options: DecodeOptions, wanted: dict[str, Any]) -> Reader:
    from vidsal.decode.pyav import open_pyav

    if options.decoder != "pyav":
        raise ConfigError(f"standard input needs the pyav decoder, got {options.decoder}")
    if sys.stdin.isatty():
        raise DecodeError("standard input is a terminal; pipe a video into it, or name a file")
    return open_pyav(
        cast(BinaryIO, _Pipe(sys.stdin.buffer)), source="standard input", path=None, kind="stream", live=False, **wanted
    )


class _Pipe:
    """Shows FFmpeg only how to read on: a pipe cannot go back, and closing it is not the reader's business."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size)


def _open_address(address: str, scheme: str, options: DecodeOptions, wanted: dict[str, Any]) -> Reader:
    if scheme not in SCHEMES:
        raise DecodeError(
            f"{address}: addresses of the kind {scheme}:// cannot be read, only {', '.join(sorted(SCHEMES))}"
        )
    live = scheme in LIVE_SCHEMES
    shown = re.sub(r"//[^/@]*@", "//", address)  # a password must not reach messages and reports
    if options.decoder == "pyav":
        from vidsal.decode.pyav import open_pyav

        return open_pyav(address, source=shown, path=None, kind="stream", live=live, **wanted)
    if options.decoder == "opencv":
        from vidsal.decode.opencv import open_opencv

        return open_opencv(address, source=shown, path=None, kind="stream", live=live, **wanted)
    raise ConfigError("addresses need the pyav or the opencv decoder, got decord")


def _open_path(path: Path, options: DecodeOptions, wanted: dict[str, Any]) -> Reader:
    from vidsal.decode.images import IMAGE_SUFFIXES, open_images

    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise DecodeError(f"there is no file or folder {path}; check the path") from error
    except (OSError, ValueError) as error:
        raise DecodeError(f"{path} cannot be opened: {error}; check the path and its permissions") from error
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return open_images(path, **wanted)
    if path.is_file():
        if found.st_size == 0:
            raise DecodeError(f"{path} is empty; expected a video or an image")
        try:
            path.open("rb").close()
        except OSError as error:
            raise DecodeError(f"{path} may not be read: {error.strerror}; change its permissions") from error
    if options.decoder == "decord":
        from vidsal.decode.decord import open_decord

        return open_decord(path, **wanted)
    if options.decoder == "opencv":
        from vidsal.decode.opencv import open_opencv

        return open_opencv(str(path), source=str(path), path=path, kind="video", live=False, **wanted)
    from vidsal.decode.pyav import open_pyav

    # The prefix keeps FFmpeg from taking "a:b.mp4" or "concat:x" for an address.
    return open_pyav(f"file:{path}", source=str(path), path=path, kind="video", live=False, **wanted)
