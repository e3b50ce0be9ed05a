"""What a container holds: streams with their first packets in, found by writing them and reading them back."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition

from vidsal.sinks.tags import kept_tags, named_as_in

__all__ = [
    "CHOICES",
    "FORMATS",
    "IS_PYAV_18",
    "RisingClock",
    "Sample",
    "add_copy",
    "codec_name",
    "dated",
    "describe",
    "is_cover",
    "is_refusal",
    "is_understood",
    "takes",
]

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's names of the containers that a video may go into."""

CHOICES = {".mp4": (".mp4", ".mov", ".mkv"), ".mov": (".mov", ".mkv"), ".mkv": (".mkv",)}
"""Which containers may be written where one is asked for; the first of those that hold the most is taken."""


@dataclass
class Sample:
    """The beginning of a stream of the source."""

    stream: Any
    """The stream, of the opened source."""
    packets: list[Any] = field(default_factory=list)
    """Its first packets, with a time each; never changed, and none for a stream that begins later."""

    def clones(self) -> list[Any]:
        """Packets that may be changed, with a decoding time each."""
        clones = [_clone(packet) for packet in self.packets]
        for clone in clones:
            if clone.dts is None:
                clone.dts = clone.pts or 0
        return clones


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a still picture that goes with the file."""
    return bool(stream.disposition & Disposition.attached_pic)


def is_refusal(error: BaseException) -> bool:
    """Whether a muxer refuses what it was given, as opposed to a disk that cannot take it."""
    return isinstance(error, (FFmpegError, ValueError)) and not isinstance(error, (OSError, MemoryError))


def codec_name(stream: Any) -> str | None:
    """FFmpeg's name of the codec, whatever decodes it; None where FFmpeg does not know it."""
    context = stream.codec_context
    if context is None:
        name: str | None = getattr(stream, "name", None)
        return name
    canonical: str = context.codec.canonical_name
    return canonical


def describe(stream: Any) -> str:
    """A stream in words for a person."""
    context = stream.codec_context
    codec = (codec_name(stream) if context is None else context.name) or "unknown codec"
    language = stream.metadata.get("language")
    return f"{stream.type} stream {stream.index} ({codec}{', ' + language if language not in (None, 'und') else ''})"


_UNDERSTOOD_SOUND = {
    ".mp4": frozenset(
        (
            *("aac", "mp1", "mp2", "mp3", "ac3", "eac3", "ac4", "dts", "truehd", "mpegh_3d_audio", "mp4als"),
            *("alac", "flac", "opus", "vorbis", "amr_nb", "amr_wb", "evrc", "qcelp"),
        )
    ),
    ".mov": frozenset(
        (
            *("aac", "mp1", "mp2", "mp3", "ac3", "eac3", "alac", "amr_nb", "amr_wb", "qcelp", "adpcm_ima_qt"),
            *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_u8", "pcm_s8"),
            *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw"),
        )
    ),
}
"""Sound that more programs than FFmpeg read there; a .mkv has a name for each code that it holds."""


def is_understood(suffix: str, stream: Any) -> bool:
    """Whether players agree on what a stream means in a container, however well FFmpeg writes it.

    PCM in an mp4 has been standard since 2020 only (ISO 23003-5): FFmpeg before 6 plays 24 bits of it as noise, and
    QuickTime and most editors do not play it at all. A .mov has held PCM from the beginning. Windows' codes (ADPCM,
    WMA) in both are read by few programs; a .mkv keeps the header of a .wav with them.
    """
    if stream.type != "audio" or suffix not in _UNDERSTOOD_SOUND:
        return True
    return codec_name(stream) in _UNDERSTOOD_SOUND[suffix]


IS_PYAV_18 = int(av.__version__.partition(".")[0]) >= 18
"""Before, PyAV crashes where parameters are copied to a stream that is not coded or decoded, and copies no rate."""


def add_copy(out: Any, stream: Any, *, rate: Fraction | None = None) -> Any:
    """Adds a stream to `out` that takes the packets of another as they are.

    Args:
        out: the file; its header is not written yet.
        stream: the other.
        rate: frames a second of a video; None: as its file says.

    Raises:
        ValueError: the container does not take it, or nothing is known of it.
        FFmpegError: the same.
    """
    if stream.type == "data" and getattr(stream, "name", None) is None:
        raise ValueError("an mp4 takes the header of nameless data and fails at the end")
    try:
        copy = out.add_stream_from_template(stream, opaque=True)
    except ValueError:
        # PyAV asks for codecs that a container has a name of its own for. Matroska holds all others as well, by the
        # names that Windows gives them.
        if out.format.name != "matroska" or stream.codec_context is None or not IS_PYAV_18:
            raise
        copy = _add_by_parameters(out, stream)
    rate = rate or (stream.average_rate if stream.type == "video" else None)
    if rate and copy.codec_context is not None:
        copy.codec_context.framerate = rate  # without it a time code cannot be counted
    copy.metadata.update(named_as_in(out.format.name, kept_tags(stream.metadata)))
    if not IS_PYAV_18:
        copy.metadata.pop("timecode", None)
    copy.disposition = stream.disposition.value
    return copy


def _add_by_parameters(out: Any, stream: Any) -> Any:
    # This format is written by no one, takes everything, and forgets the code that the source's container had for it.
    with av.open(io.BytesIO(), "w", format="framecrc") as scratch:
        template = scratch.add_stream_from_template(stream, opaque=True)
        copy: Any = out.add_data_stream()
        av.bitstream.BitStreamFilterContext("null", in_stream=template, out_stream=copy)
    copy.time_base = stream.time_base
    return copy


_MOST_HELD = 17
"""Pictures that wait for a decoding time; no codec decodes more than 16 before they are shown."""


def dated(packets: Iterable[Any]) -> Iterator[Any]:
    """Gives every packet a decoding time, if it has any time.

    Matroska stores none. FFmpeg works them out but for the first pictures where they are coded in another order than
    they are shown: these wait for the next one that has one.

    Args:
        packets: those of one file, in its order.
    """
    waiting: dict[int, list[Any]] = {}
    for packet in packets:
        stream = packet.stream
        held = waiting.setdefault(stream.index, [])
        if packet.dts is None:
            is_picture = stream.type == "video" and not is_cover(stream)
            if is_picture and packet.pts is not None and len(held) < _MOST_HELD:
                held.append(packet)
                continue
            packet.dts = 0 if is_cover(stream) else packet.pts
        yield from _decoded_before(held, packet.dts)
        held.clear()
        yield packet
    for held in waiting.values():
        yield from _decoded_before(held, None)


def _decoded_before(held: Sequence[Any], dts: int | None) -> Sequence[Any]:
    """Gives pictures the times before that of the next one (None: there is none), and none after it is shown."""
    for packet in reversed(held):
        packet.dts = dts = packet.pts if dts is None else min(packet.pts, dts - (packet.duration or 1))
    return held


class RisingClock:
    """Gives the packets of a stream times of the file's own clock, each later than the one before.

    Two times that differ in the source's clock may be one in the file's. Its header must be written.
    """

    def __init__(self, out: Any, stream: Any) -> None:
        # Matroska takes two packets of one time.
        self._least_step = 0 if out.format.name == "matroska" else 1
        self._clock = Fraction(stream.time_base)
        self._last: int | None = None

    def fit(self, packet: Any) -> Fraction:
        """Sets the times of a packet; returns the seconds by which it had to be moved."""
        ratio = Fraction(packet.time_base) / self._clock
        wanted = dts = _rescale(packet.dts, ratio)
        pts = dts if packet.pts is None else _rescale(packet.pts, ratio)
        if self._last is not None:
            dts = max(dts, self._last + self._least_step)
        packet.dts, packet.pts = dts, max(pts, dts)
        if packet.duration:
            packet.duration = max(1, _rescale(packet.duration, ratio))
        packet.time_base = self._clock
        return (dts - wanted) * self._clock

    def advance(self, packet: Any) -> None:
        """Notes that a packet is written."""
        self._last = packet.dts


def _rescale(ticks: int, ratio: Fraction) -> int:
    """In units of another clock; halves away from 0, as FFmpeg rounds."""
    return -_rescale(-ticks, ratio) if ticks < 0 else math.floor(ticks * ratio + Fraction(1, 2))


def takes(
    suffix: str,
    samples: Sequence[Sample],
    *,
    rate: Fraction,
    options: dict[str, str],
    video_tags: dict[str, str],
    chapters: Sequence[Any],
    add: Callable[[Any, Sample], Callable[[Any], list[Any]]],
) -> bool:
    """Whether a file of this container with all these streams beside a video can be written, and read back.

    Nothing but writing packets from the header to the end shows it: some muxers refuse at the first packet, some at
    the last. All is done in memory, on a few packets.

    Args:
        suffix: .mp4, .mov or .mkv.
        samples: the streams.
        rate: frames a second of the video.
        options: of the muxer.
        video_tags: of the video; a time code makes a track of its own.
        chapters: as PyAV gives them; they may make a track too.
        add: adds a stream, and returns what its packets become (None: after the last).
    """
    file, is_converted = io.BytesIO(), True
    try:
        with av.open(file, "w", format=FORMATS[suffix], container_options=options) as out:
            pictures = _stand_in(out, rate, video_tags)
            out.set_chapters(list(chapters))
            become = [add(out, sample) for sample in samples]
            out.start_encoding()
            packets: list[Any] = []
            try:
                for sample, convert in zip(samples, become, strict=True):
                    for clone in [*sample.clones(), None]:
                        packets += convert(clone)
            except (FFmpegError, ValueError, IndexError):
                is_converted = False  # the pictures are written all the same: FFmpeg may crash at the end of none
            # Where they begin does not matter, and a gap of hours would.
            earliest = min((_seconds(packet) for packet in packets), default=Fraction(0))
            for packet in packets:
                ticks = round(earliest / Fraction(packet.time_base))
                packet.dts -= ticks
                if packet.pts is not None:
                    packet.pts -= ticks
            clocks = {stream.index: RisingClock(out, stream) for stream in out.streams}
            packets += pictures
            for packet in sorted(packets, key=_seconds):
                clock = clocks[packet.stream.index]
                clock.fit(packet)  # damaged times are mended later as well
                clock.advance(packet)
                out.mux(packet)
            # A track without packets is read as none.
            begun = {packet.stream.index for packet in packets}
            wanted = Counter(_kind_of(stream) for stream in out.streams if stream.index in begun)
        file.seek(0)
        with av.open(file) as back:
            found = Counter(_kind_of(stream) for stream in back.streams)
    except (FFmpegError, ValueError, OSError, IndexError):
        return False
    return is_converted and not wanted - found


def _seconds(packet: Any) -> Fraction:
    return Fraction(packet.dts * packet.time_base)


_ALIKE: dict[str | None, str] = {"mp1": "mp3", "mp2": "mp3", "subrip": "text", "srt": "text", "ass": "ssa"}
"""Codecs that containers have one name for; what decodes one decodes the other."""


def _kind_of(stream: Any) -> tuple[str, str | None]:
    name = codec_name(stream)
    kind = stream.type if stream.type in ("video", "audio", "subtitle", "data") else "attachment"
    return kind, None if kind == "attachment" else _ALIKE.get(name, name)


def _stand_in(out: Any, rate: Fraction, tags: dict[str, str]) -> list[Any]:
    """Adds a video, and returns its packets: a few grey pixels."""
    video = out.add_stream("mpeg4", rate=rate)
    context = video.codec_context
    context.width = context.height = 16
    context.time_base = Fraction(1, 1000)  # this encoder does not take those of all rates
    context.thread_count = 1
    video.metadata.update(tags)
    packets: list[Any] = []
    for i in range(3):
        frame = av.VideoFrame.from_ndarray(np.full((24, 16), 128, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = round(i / rate / context.time_base), context.time_base
        packets += video.encode(frame)
    return [*packets, *video.encode(None)]


def _clone(packet: Any) -> Any:
    clone: Any = av.Packet(bytes(packet))
    clone.pts, clone.dts, clone.duration = packet.pts, packet.dts, packet.duration
    clone.time_base, clone.is_keyframe = packet.time_base, packet.is_keyframe
    return clone
