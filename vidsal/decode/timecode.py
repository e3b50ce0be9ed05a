"""An open container in, the time code of its first picture out, and what its sound is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Sound", "sound_of", "timecode_of"]


class Sound(NamedTuple):
    """The first sound track."""

    channels: int
    """0 without sound."""
    rate: int | None
    """Samples a second; None without sound."""


def timecode_of(container: Any, video: Any) -> str | None:
    """Time code of the first picture, HH:MM:SS:FF; None without one.

    It stands at the video stream (.mov, .mp4), at a time code track or another data stream, or at the file (.mxf,
    .mkv).

    Args:
        container: an open one, PyAV's.
        video: the stream that is read; None where there is none.
    """
    tracks = [stream.metadata for stream in container.streams if stream.type == "data"]
    places = [{} if video is None else video.metadata, *tracks, container.metadata]
    return next((found for tags in places if (found := _tag(tags, "timecode"))), None)


def sound_of(container: Any) -> Sound:
    """What the first sound track of an open container is."""
    for stream in container.streams.audio:
        context = stream.codec_context
        if context is not None and context.channels and context.sample_rate:
            return Sound(context.channels, context.sample_rate)
    return Sound(0, None)


def _tag(tags: Mapping[str, str], name: str) -> str | None:
    """A tag, whatever its upper and lower case."""
    return next((value for key, value in tags.items() if key.lower() == name), None)
