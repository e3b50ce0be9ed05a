"""An open container in, the video stream that is read out, with what is said of the others."""

from __future__ import annotations

import re
import threading
from typing import Any, NamedTuple

import av.logging
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from vidsal.decode.contract import DecodeReport, Request
from vidsal.errors import DecodeError, Setting

__all__ = ["Choice", "TiledPictureError", "is_hidden", "pick_stream"]

_TILE = getattr(Disposition, "dependent", 0x80000)
"""The mark of a stream that means nothing without others: a tile of a picture."""


class TiledPictureError(DecodeError):
    """A picture is kept in tiles, which FFmpeg gives one by one."""


class Choice(NamedTuple):
    """The video stream that is read."""

    stream: VideoStream
    """The stream."""
    readable: int
    """Video streams that could be read; covers are none."""
    other_programmes: tuple[int, ...]
    """Positions of the streams that belong to other programmes than this one; empty where there are no programmes."""


class _Programme(NamedTuple):
    name: str
    streams: frozenset[int]
    """Positions in the container."""


def pick_stream(container: InputContainer, request: Request, report: DecodeReport) -> Choice:
    """Takes the stream that is asked for; or the best, and the report names it and the others, if there are any.

    Raises:
        DecodeError: there is no such stream, or no decoder for it; it is text, a cover, or one tile of a picture.
    """
    source, wanted = request.source, request.options.video_stream
    if container.format.name == "tty":  # FFmpeg plays text files as pictures of a terminal
        raise DecodeError(f"{source} is a text file; expected a video or an image")
    all_videos = list(container.streams.video)
    videos = [stream for stream in all_videos if not stream.disposition & Disposition.attached_pic]
    if not videos:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        cover = " besides cover art" if container.streams.video else ""
        raise DecodeError(f"{source} holds no video stream{cover}, only {kinds}; expected a video or an image")
    tiles = [stream for stream in videos if stream.disposition & _TILE]
    if len(tiles) > 1 and "mov" in container.format.name.split(","):
        codec: Any = tiles[0].codec_context
        ending, instead = ".avif", ""
        if codec is not None and codec.name.startswith("hevc"):
            ending, instead = ".heic", "install pillow-heif (pip install 'vidsal[heif]'), "
        if request.path is None or request.path.suffix.lower() != ending:
            instead += f"give it a name that ends in {ending}, "
        raise TiledPictureError(
            f"{source} is a picture in {len(tiles)} tiles, which FFmpeg does not put together: {instead}or "
            "convert it to PNG or JPEG"
        )
    programmes = _programmes(container) if len(videos) > 1 or container.format.name == "mpegts" else []
    if wanted is None:
        best = container.streams.best("video")
        stream = next((video for video in videos if best is not None and video.index == best.index), videos[0])
        if request.kind == "animation" and len(videos) > 1:
            # An animated AVIF holds its colours first, then their alpha; FFmpeg may find that the best.
            stream = max(videos, key=lambda video: video.frames)
            if sum(video.frames == stream.frames for video in videos) > 1:
                report.say("the transparency of an animated AVIF is not read; its pictures are taken as opaque")
    elif wanted < len(all_videos) and all_videos[wanted] in videos:
        stream = all_videos[wanted]
    else:
        what = f"is a cover of {source}" if wanted < len(all_videos) else f"is not in {source}"
        there = _listed(videos, all_videos, programmes)
        raise DecodeError(Setting("video_stream", wanted), f" {what}, which holds {there}; choose one of these")
    context: Any = stream.codec_context
    if context is None:
        raise DecodeError(
            f"{source}: there is no decoder for its video codec (tag {_codec_tag(stream)}); "
            "convert it, for instance to H.264"
        )
    others = [video for video in videos if video.index != stream.index]
    if others and wanted is None and request.kind != "animation":
        report.say(
            f"of {len(videos)} video streams {_described(stream, all_videos, programmes)} is read; there is also "
            f"{_listed(others, all_videos, programmes)}; video_stream=N chooses another"
        )
    return Choice(stream, len(videos), _other_programmes(stream, programmes))


def is_hidden(packet: Packet[Any], stream: VideoStream) -> bool:
    """Whether a packet is only a reference for others: VP8 has such, in packets of their own."""
    context: Any = stream.codec_context
    is_vp8 = context is not None and context.name in ("vp8", "libvpx")
    return is_vp8 and packet.size > 0 and not memoryview(packet)[0] & 0x10


def _codec_tag(stream: VideoStream) -> str:
    try:
        return repr(stream.codec_tag)
    except (AttributeError, ValueError, UnicodeDecodeError):  # unset, or not made of letters
        return "unknown"


_MOST_LISTED = 8
"""Streams that a message names; of more it says how many."""


def _listed(videos: list[VideoStream], all_videos: list[VideoStream], programmes: list[_Programme]) -> str:
    names = [_described(video, all_videos, programmes) for video in videos[:_MOST_LISTED]]
    if len(videos) > _MOST_LISTED:
        names.append(f"{len(videos) - _MOST_LISTED} more")
    return ", ".join(names)


def _described(stream: VideoStream, all_videos: list[VideoStream], programmes: list[_Programme]) -> str:
    """As `v:1 (h264 1280x720, programme "News", eng)`."""
    context: Any = stream.codec_context
    facts = ["no decoder" if context is None else f"{context.name} {context.width}x{context.height}"]
    facts += [f'programme "{programme.name}"' for programme in programmes if stream.index in programme.streams]
    tags = [stream.metadata.get(key) for key in ("title", "language")]
    facts += [tag for tag in tags if tag and tag != "und"]
    number = next(place for place, video in enumerate(all_videos) if video.index == stream.index)
    return f"v:{number} ({', '.join(facts)})"


def _other_programmes(stream: VideoStream, programmes: list[_Programme]) -> tuple[int, ...]:
    own = [programme.streams for programme in programmes if stream.index in programme.streams]
    if not own:
        return ()
    return tuple(sorted(frozenset().union(*(programme.streams for programme in programmes)).difference(*own)))


_describing = threading.Lock()
"""FFmpeg's description comes by its log, whose level is one for all threads."""


def _programmes(container: InputContainer) -> list[_Programme]:
    """The programmes of a transport stream; empty for containers without.

    PyAV has no list of them. FFmpeg's own description of a file has: a line for each programme, then its streams.
    """
    with _describing:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        try:
            text: str = container.dumps_format()  # type: ignore[attr-defined]
        finally:
            av.logging.set_level(level)
    found: list[_Programme] = []
    parts = re.split(r"^  (?=Program |No Program)", text, flags=re.MULTILINE)
    for part in parts[1:]:
        if (head := re.match(r"Program (\d+)", part)) is None:
            continue
        name = re.search(r"^ +service_name +: (.*)$", part, re.MULTILINE)
        streams = re.findall(r"^ +Stream #\d+:(\d+)", part, re.MULTILINE)
        found.append(_Programme(name[1].strip() if name else head[1], frozenset(map(int, streams))))
    return found
