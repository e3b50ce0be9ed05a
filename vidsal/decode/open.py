"""A path, an address or a camera number in, a `Reader` of `FrameBatch`es out: `open_video`."""

from __future__ import annotations

import os
import select
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from vidsal.decode.contract import Reader, Request, SizeRequest
from vidsal.decode.options import DecodeOptions
from vidsal.decode.source import source_of
from vidsal.errors import ConfigError, DecodeError

if TYPE_CHECKING:
    from vidsal.decode.pyav import PyavReader

__all__ = ["open_video"]

PIPE_TIMEOUT_SECONDS = 30.0
"""Longest wait for the first bytes of a pipe with a name."""


def open_video(
    source: str | Path | int,
    *,
    options: DecodeOptions | None = None,
    size: SizeRequest = None,
    keep_pictures: bool = False,
) -> Reader:
    """Opens anything that shows pictures, and decodes its first frame.

    Args:
        source: a video file; an image (PNG, JPEG, WebP, AVIF, HEIC, BMP, TIFF), which is a video if it is
            animated or has several pages; a folder of images, shown at 25 a second; a camera number (0, or
            "0" or "camera:0"); an address (http, https, tcp, rtsp, rtmp, rtp, srt, udp); "-" for standard
            input. Of a text, a file or folder that is there comes first.
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
    reader = _open(source, partial(Request, options=options, size=size, keep_pictures=keep_pictures))
    if reader.info.kind in ("image", "images", "camera"):
        for name, idle in (("hwaccel", "none"), ("deinterlace", "auto"), ("video_stream", None)):
            if (value := getattr(options, name)) != idle:
                reader.report.say(f"{name}={value} does nothing here: it is for videos and addresses")
    return reader


# The backends are imported where they are used: each brings a heavy library.


def _open(given: str | Path | int, request: Callable[..., Request]) -> Reader:
    source = source_of(given)
    asked = partial(request, source=source.name, live=source.live)
    if source.camera is not None:
        from vidsal.decode.opencv import OpencvReader

        return OpencvReader(source.camera, asked(kind="camera"))
    if source.address is not None:
        return _open_as_asked(source.address, asked(kind="stream"))
    if source.path is not None:
        return _open_path(source.path, asked)
    return _open_stdin(asked(kind="stream"))


def _open_stdin(request: Request) -> Reader:
    if sys.stdin is None:
        raise DecodeError("standard input is closed; pipe a video into it, or name a file")
    if sys.stdin.isatty():
        raise DecodeError("standard input is a terminal; pipe a video into it, or name a file")
    return _open_pipe(sys.stdin.buffer, request)


def _open_named_pipe(path: Path, request: Request) -> Reader:
    """A pipe is read once, so nothing else of the run may open it by its name."""
    # Opened as usual it would wait, without a word, for somebody to write into it.
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise DecodeError(f"{path} cannot be read: {error.strerror}; change its permissions") from error
    file = os.fdopen(number, "rb")
    try:
        if not select.select([file], [], [], PIPE_TIMEOUT_SECONDS)[0]:
            raise DecodeError(
                f"nothing has come through the pipe {path} for {PIPE_TIMEOUT_SECONDS:g} seconds; start what writes "
                "into it first"
            )
        os.set_blocking(number, True)
        reader = _open_pipe(file, request)
    except BaseException:
        file.close()
        raise
    reader.held.append(file)
    return reader


def _open_pipe(file: BinaryIO, request: Request) -> PyavReader:
    from vidsal.decode.pyav import open_pyav

    if request.options.decoder != "pyav":
        raise ConfigError(f"{request.source} needs the pyav decoder, got {request.options.decoder}")
    head = file.read(_HEAD_BYTES)
    if not _index_is_last(head):
        return open_pyav(cast(BinaryIO, _Pipe(head, file)), request)
    # FFmpeg would have to go back in the pipe: keep its content in a file.
    spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (lives as long as the reader)
    try:
        spool.write(head)
        shutil.copyfileobj(file, spool)
        spool.seek(0)
        reader = open_pyav(spool, request)
    except OSError as error:
        spool.close()
        raise DecodeError(f"{request.source} cannot be kept in a temporary file: {error.strerror}") from error
    except BaseException:
        spool.close()
        raise
    reader.held.append(spool)
    return reader


_HEAD_BYTES = 65536


def _index_is_last(head: bytes) -> bool:
    """Whether this is the beginning of an mp4 or mov whose pictures come before the index ("moov") to them."""
    position = 0
    while position + 16 <= len(head):
        size, kind = int.from_bytes(head[position : position + 4], "big"), head[position + 4 : position + 8]
        if position == 0 and kind not in (b"ftyp", b"wide", b"free", b"mdat"):
            return False
        if kind in (b"moov", b"mdat"):
            return kind == b"mdat"
        if size == 1:
            size = int.from_bytes(head[position + 8 : position + 16], "big")
        if size < 8:
            return False
        position += size
    return False


class _Pipe:
    """Shows FFmpeg only how to read on: a pipe cannot go back, and closing it is not the reader's business."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def read(self, size: int) -> bytes:
        if self._head:
            part, self._head = self._head[:size], self._head[size:]
            return part
        return self._file.read(size)


def _open_path(path: Path, request: Callable[..., Request]) -> Reader:
    from vidsal.decode.images import PICTURE_SUFFIXES, open_images

    try:
        mode = (found := path.stat()).st_mode
    except FileNotFoundError as error:
        raise DecodeError(f"there is no file or folder {path}; check the path") from error
    except (OSError, ValueError) as error:
        raise DecodeError(f"{path} cannot be opened: {error}; check the path and its permissions") from error
    if stat.S_ISFIFO(mode):
        return _open_named_pipe(path, request(kind="stream"))
    asked = partial(request, path=path)
    if stat.S_ISDIR(mode):
        return open_images(path, asked(kind="images"))
    if not stat.S_ISREG(mode):
        raise DecodeError(
            f"{path} is a device or a socket; name a file, a folder, a pipe, or a camera by its number (0 or camera:0)"
        )
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return _open_picture(path, asked)
    if found.st_size == 0:
        raise DecodeError(f"{path} is empty; expected a video or an image")
    try:
        path.open("rb").close()
    except OSError as error:
        raise DecodeError(f"{path} cannot be read: {error.strerror}; change its permissions") from error
    return _open_as_asked(path, asked(kind="video"))


def _open_picture(path: Path, asked: Callable[..., Request]) -> Reader:
    """An image file: one picture, several pages, or an animation."""
    from vidsal.decode.headers import read_header
    from vidsal.decode.images import open_images

    header = read_header(path)
    if header is None or len(header.pictures) == 1:
        return open_images(path, asked(kind="image"), pages=header.pictures if header is not None else (0,))
    if header.format == "TIFF":
        reader = open_images(path, asked(kind="images"), pages=header.pictures)
        reader.report.say(f"the {len(header.pictures)} pages are read as pictures, 25 a second")
        return reader
    if header.format == "WEBP":
        from vidsal.decode.webp import WebpReader

        return WebpReader(path, header, asked(kind="animation"))
    from vidsal.decode.pyav import open_pyav

    return open_pyav(path, asked(kind="animation"))


def _open_as_asked(file: str | Path, request: Request) -> Reader:
    """A file or an address, by the decoder that was chosen."""
    if request.options.decoder == "decord":
        if request.path is None:
            raise ConfigError("addresses need the pyav or the opencv decoder, got decord")
        from vidsal.decode.decord import DecordReader

        return DecordReader(request.path, request)
    if request.options.decoder == "opencv":
        from vidsal.decode.opencv import OpencvReader

        return OpencvReader(file, request)
    from vidsal.decode.pyav import open_pyav

    return open_pyav(file, request)
