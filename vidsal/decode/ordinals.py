"""A video file in, the times and ordinals of its frames out: packets are counted, not decoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from vidsal.decode.local import open_file
from vidsal.decode.streams import is_hidden
from vidsal.errors import DecodeError

__all__ = ["Ordinal", "digits_of", "frame_times", "ordinal_at"]


@dataclass(frozen=True)
class Ordinal:
    """Where a moment lies among the frames of a file."""

    before: int
    """How many frames are shown before it."""
    frames: int
    """How many there are in all."""
    is_exact: bool
    """Whether a frame is first shown at that moment, to the digits of a table."""


def ordinal_at(path: Path, seconds: float) -> Ordinal | None:
    """Count the frames of a video file before a moment.

    Takes as long as reading the file: nothing is decoded.

    Args:
        path: the file.
        seconds: the moment, after the first frame is shown, as in the table.

    Returns:
        None where counting packets does not tell, as in `frame_times`.
    """
    times = frame_times(path)
    if times is None:
        return None
    near = digits_of(seconds)
    return Ordinal(
        before=int((times < seconds - near).sum()),
        frames=len(times),
        is_exact=int((np.abs(times - seconds) <= near).sum()) == 1,
    )


def digits_of(seconds: float) -> float:
    """By how much a time of a table may differ from the one that it stands for: it keeps nine digits."""
    return 1e-6 + 1e-8 * abs(seconds)


def frame_times(path: Path) -> npt.NDArray[np.float64] | None:
    """The times at which the frames of a video file are shown, by its packets; nothing is decoded.

    Args:
        path: the file.

    Returns:
        (N,) seconds after the first one, rising; None where packets do not tell: the file cannot be read, they have no
        times or share one, or come before the first key frame, or several video streams differ.
    """
    try:
        with open_file(path) as container:
            streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
            if not streams or any(not one.time_base for one in streams):
                return None
            ticks = _ticks_of(container, streams)
    except (DecodeError, FFmpegError, OSError, ValueError):
        return None
    found = [_seconds(*each) for each in zip(ticks, (stream.time_base for stream in streams), strict=True)]
    first = found[0]
    if first is None or any(other is None or not np.array_equal(first, other) for other in found[1:]):
        return None
    return first


def _ticks_of(container: InputContainer, streams: list[VideoStream]) -> list[list[int] | None]:
    """For each stream the times of the packets that become frames; None where they do not tell."""
    ticks: dict[int, list[int] | None] = {stream.index: [] for stream in streams}
    for packet in container.demux(streams):
        known = ticks[packet.stream_index]
        if known is None or packet.size == 0 or packet.is_discard:
            continue
        stream = packet.stream
        if isinstance(stream, VideoStream) and is_hidden(packet, stream):
            continue
        if not known and not packet.is_keyframe:
            continue
        if packet.pts is None or packet.is_corrupt:
            ticks[packet.stream_index] = None
        else:
            known.append(packet.pts)
    return [ticks[stream.index] for stream in streams]


def _seconds(ticks: list[int] | None, base: Fraction | None) -> npt.NDArray[np.float64] | None:
    # Pictures that are shown before the first key frame need one that is not there.
    if not ticks or base is None or min(ticks) != ticks[0] or len(set(ticks)) != len(ticks):
        return None
    return ((np.sort(np.array(ticks, np.int64)) - ticks[0]) * float(base)).astype(np.float64)
