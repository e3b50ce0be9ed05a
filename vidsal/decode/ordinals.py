"""A video file and a moment in, the ordinal of the frame that is shown then out: packets are counted, not decoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from vidsal.decode.local import open_file
from vidsal.decode.streams import is_hidden
from vidsal.errors import DecodeError

__all__ = ["Ordinal", "ordinal_at"]


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
        None where counting packets does not tell: the file cannot be read, packets have no times or share one, come
        before the first key frame, or several video streams differ.
    """
    try:
        with open_file(path) as container:
            streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
            if not streams or any(not one.time_base for one in streams):
                return None
            times = _times_of(container, streams)
    except (DecodeError, FFmpegError, OSError, ValueError):
        return None
    found = {
        _ordinal(ticks, Fraction(stream.time_base or 1), seconds) for stream, ticks in zip(streams, times, strict=True)
    }
    return found.pop() if len(found) == 1 else None


def _times_of(container: InputContainer, streams: list[VideoStream]) -> list[list[int] | None]:
    """For each stream the times of the packets that become frames; None where they do not tell."""
    times: dict[int, list[int] | None] = {stream.index: [] for stream in streams}
    for packet in container.demux(streams):
        known = times[packet.stream_index]
        if known is None or packet.size == 0 or packet.is_discard:
            continue
        stream = packet.stream
        if isinstance(stream, VideoStream) and is_hidden(packet, stream):
            continue
        if not known and not packet.is_keyframe:
            continue
        if packet.pts is None or packet.is_corrupt:
            times[packet.stream_index] = None
        else:
            known.append(packet.pts)
    return [times[stream.index] for stream in streams]


def _ordinal(ticks: list[int] | None, base: Fraction, seconds: float) -> Ordinal | None:
    # Pictures that are shown before the first key frame need one that is not there.
    if not ticks or min(ticks) != ticks[0] or len(set(ticks)) != len(ticks):
        return None
    place = float(ticks[0] + Fraction(seconds) / base)
    # A table keeps nine digits.
    near = (1e-6 + 1e-8 * seconds) / float(base)
    return Ordinal(
        before=sum(tick < place - near for tick in ticks),
        frames=len(ticks),
        is_exact=sum(abs(tick - place) <= near for tick in ticks) == 1,
    )
