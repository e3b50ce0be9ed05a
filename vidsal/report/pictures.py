"""A video and times in, small JPEGs of the frames at these times out; and where its frames lie on a player's clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
from av.error import FFmpegError

from vidsal.decode import DecodeOptions, Reader, open_video
from vidsal.decode.local import open_file
from vidsal.errors import DecodeError

__all__ = ["PICTURE_SIDE", "PlayerFacts", "player_facts", "small_pictures"]

PICTURE_SIDE = 240
"""Longer side of a picture in a report, in pixels."""
_QUALITY = 76
_NEAR_SECONDS = 0.002
"""Containers that count milliseconds, and the microseconds of a table."""


def small_pictures(
    path: Path, seconds: Iterable[float], *, decode: DecodeOptions | None = None
) -> Iterator[bytes | None]:
    """The frames at some times, as small JPEGs of the shape in which they are shown.

    Args:
        path: a video, an image, or a folder of images.
        seconds: presentation times of frames; the first frame of the source is 0.
        decode: how the source is read, apart from where it begins and ends.

    Yields:
        One JPEG a time, in their order; None where that frame cannot be read.
    """
    asked = decode or DecodeOptions()
    for time in seconds:
        options = DecodeOptions(
            batch_size=1,
            start_seconds=max(0.0, time - _NEAR_SECONDS),
            video_stream=asked.video_stream,
            deinterlace=asked.deinterlace,
            max_pixels=asked.max_pixels,
            threads=asked.threads,
        )
        try:
            with open_video(path, options=options, size=_small) as reader:
                yield _first(reader, time)
        except (DecodeError, FFmpegError, OSError):
            yield None


def _small(height: int, width: int) -> tuple[int, int]:
    share = min(1.0, PICTURE_SIDE / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))


def _first(reader: Reader, time: float) -> bytes | None:
    batch = next(iter(reader), None)
    if batch is None or abs(float(batch.pts_seconds[0]) - time) > _NEAR_SECONDS:
        return None
    picture = cv2.cvtColor(batch.frames[0], cv2.COLOR_RGB2BGR)
    height, width = picture.shape[:2]
    shape = float(reader.info.sample_aspect_ratio)
    if shape != 1.0 and math.isfinite(shape) and 0.1 < shape < 10:
        # Pixels that are not square: as much taller or wider, and no larger.
        size = (width, max(1, round(height / shape))) if shape > 1 else (max(1, round(width * shape)), height)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    done, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(coded.tobytes()) if done else None


@dataclass(frozen=True)
class PlayerFacts:
    """How a browser's player counts a video."""

    offset_seconds: float = 0.0
    """The time at which it shows the first picture: a file keeps it where sound begins earlier, or a part was cut."""
    sound: bool = False
    """Whether there is any."""


def player_facts(path: Path, *, stream: int | None = None) -> PlayerFacts:
    """What a page has to know to show a frame of a video; the defaults where the file cannot be opened.

    Args:
        path: the video.
        stream: number of the video stream that counts, among those of the file; None: the first one.
    """
    try:
        with open_file(path) as container:
            videos, sound = container.streams.video, bool(container.streams.audio)
            found = videos[stream or 0]
            begin = 0.0 if found.start_time is None or not found.time_base else found.start_time * found.time_base
            return PlayerFacts(max(0.0, float(begin)), sound)
    except (DecodeError, FFmpegError, OSError, IndexError):
        return PlayerFacts()
