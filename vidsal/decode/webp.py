"""An animated WebP file in, `FrameBatch`es out, by Pillow: FFmpeg before 8.2 does not decode these."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidsal.decode.contract import DecodedFrame, DecodeReport, Reader, Request, VideoInfo, check_pixels
from vidsal.decode.headers import FAULTS, ImageHeader, open_with_pillow
from vidsal.decode.images import full_size, resize
from vidsal.decode.transparency import pillow_rgb
from vidsal.errors import DecodeError
from vidsal.frames import Picture
from vidsal.timecode import nominal_rate

__all__ = ["WebpReader"]

_SHORTEST, _INSTEAD = 10, 100
"""A picture of at most 10 ms lasts 100 ms, as in web browsers."""


class WebpReader(Reader):
    """Reads the pictures of an animation with their own times, in milliseconds, on white where they are transparent.

    Raises:
        DecodeError: it has more than `max_pixels`, or its first picture cannot be decoded.
    """

    def __init__(self, path: Path, header: ImageHeader, request: Request) -> None:
        check_pixels(request.source, header.width, header.height, request.options.max_pixels)
        self._path = path
        self.report = report = DecodeReport()
        durations = _durations(path)[: len(header.pictures)]
        if any(duration <= _SHORTEST for duration in durations):
            report.say(f"pictures of at most {_SHORTEST} ms last {_INSTEAD} ms, as in web browsers")
        durations = [duration if duration > _SHORTEST else _INSTEAD for duration in durations]
        self._begins = [0, *itertools.accumulate(durations)]
        total = self._begins[-1]
        rate = Fraction(1000 * len(durations), total) if total else None
        info = VideoInfo(
            source=request.source,
            path=path,
            kind=request.kind,
            height=header.height,
            width=header.width,
            frame_count=len(durations),
            duration_seconds=total / 1000,
            rate=rate,
            nominal_rate=nominal_rate(rate),
            time_base=Fraction(1, 1000),
            color_range=2,
            colorspace=0,
            pix_fmt="rgb24",
        )
        self._image = open_with_pillow(path)
        super().__init__(info, request, report)

    def _release(self) -> None:
        self._image.close()

    def _frames(self) -> Iterator[DecodedFrame]:
        for place, begin in enumerate(self._begins[:-1]):
            try:
                self._image.seek(place)
                rgb: npt.NDArray[np.uint8] = pillow_rgb(self._image)
            except FAULTS as error:
                # Each picture is drawn over the one before.
                if place == 0:
                    raise DecodeError(f"{self._source}: not one picture can be decoded; copy it again") from error
                lost = self.info.frame_count or place
                self.report.say(f"the last {lost - place} of {lost} pictures cannot be decoded")
                self.report.truncated = True
                self.report.missing_seconds = (self._begins[-1] - begin) / 1000
                return
            full = full_size(rgb, (self.info.height, self.info.width))
            picture = Picture(rgb=full, pts=begin, time_base=self.info.time_base)
            yield DecodedFrame(begin / 1000, partial(resize, rgb, self.size), picture)


def _durations(path: Path) -> list[int]:
    """Milliseconds of each picture: Pillow tells them only with the pixels."""
    found = []
    with path.open("rb") as file:
        file.seek(12)  # RIFF, size, WEBP
        while len(head := file.read(8)) == 8:
            kind, size = struct.unpack("<4sI", head)
            skip = size + size % 2
            if kind == b"ANMF":
                frame = file.read(16)
                if len(frame) < 16:
                    break
                found.append(int.from_bytes(frame[12:15], "little"))
                skip -= 16
            file.seek(skip, 1)
    return found
