"""A video in, the subtitles of one of its text streams out, with times as a player counts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.error import FFmpegError

from vidsal.captions.documents import Document, Standing, check_cues, write_vtt
from vidsal.captions.layout import Layout
from vidsal.captions.options import CaptionOptions
from vidsal.captions.subrip import srt_cue
from vidsal.captions.substation import StreamEvents, Substation
from vidsal.captions.text import as_vtt, runs_of_timed_text
from vidsal.captions.values import Cue
from vidsal.captions.webvtt import vtt_cue
from vidsal.decode.clock import CLOCK_STARTS_ANYWHERE
from vidsal.decode.local import open_file
from vidsal.errors import ConfigError, DecodeError, Setting
from vidsal.words import counted

__all__ = ["StreamCaptions", "read_stream", "start_of_timeline"]

_TEXT_CODECS = ("ass", "mov_text", "srt", "ssa", "subrip", "text", "webvtt")


class StreamCaptions(Document):
    """Subtitles of a stream that is not SubStation."""

    kind = "stream"

    def as_vtt(self, standings: Sequence[Standing], *, note: str) -> str:
        """The text of a WebVTT file, with a standing for each cue."""
        return write_vtt(self.cues, standings, [as_vtt(cue.runs, cue.voice) for cue in self.cues], note=note)


def start_of_timeline(path: Path) -> Fraction:
    """Time in the container, in seconds, that players call 0.

    Clocks of transport streams and the like start anywhere; in other containers, 0 is 0.

    Raises:
        DecodeError: the file cannot be opened.
    """
    try:
        with open_file(path) as container:
            starts_anywhere = container.format.flags & CLOCK_STARTS_ANYWHERE
            start = container.start_time
            return Fraction(start, 1_000_000) if starts_anywhere and start is not None else Fraction(0)
    except (FFmpegError, OSError) as error:
        raise DecodeError(f"{path} cannot be opened: {error}; check the file") from error


def read_stream(path: Path, options: CaptionOptions, layout: Layout, zero: Fraction) -> Document:
    """The subtitles of one text stream of a video.

    Args:
        path: the video.
        options: which stream.
        layout: of the picture.
        zero: as `start_of_timeline` gives it.

    Raises:
        DecodeError: there is no such stream, it is not text, or it cannot be read.
        ConfigError: the options name a stream that is not there, or pysubs2 is needed and not installed.
    """
    try:
        with open_file(path) as container:
            listed = [stream for stream in container.streams if stream.type == "subtitle"]
            texts = [stream for stream in listed if stream.codec_context.name in _TEXT_CODECS]
            if not texts:
                pictures = f", but {len(listed)} of pictures, which hold no text," if listed else ""
                raise DecodeError(
                    f"{path} has no text stream of subtitles{pictures}; give a file of subtitles by ",
                    Setting("captions"),
                )
            number = _chosen(texts, options, path)
            stream = texts[number]
            packets = list(_packets(container, stream, zero))
            header = bytes(getattr(stream.codec_context, "extradata", None) or b"").decode("utf-8", "replace")
            codec = stream.codec_context.name
            names = [_name(place, one) for place, one in enumerate(texts)]
    except (FFmpegError, OSError) as error:
        raise DecodeError(f"the subtitles of {path} cannot be read: {error}; check the file") from error
    name = f"stream {number} of {path.name}"
    document = _document(codec, header, packets, name, layout)
    if len(texts) > 1:
        document.messages.insert(
            0, f"{path.name} has {len(texts)} text streams ({'; '.join(names)}): {number} is taken"
        )
    unended = sum(packet.unended for packet in packets)
    if unended:
        has = "has no end: it is" if unended == 1 else "have no end: each is"
        document.messages.append(f"{counted(unended, 'cue')} of {name} {has} taken to last until the next one")
    return document


def _chosen(texts: Sequence[Any], options: CaptionOptions, path: Path) -> int:
    names = "; ".join(_name(place, one) for place, one in enumerate(texts))
    if options.stream is not None:
        if options.stream >= len(texts):
            raise ConfigError(Setting("stream", options.stream), f": {path} has {len(texts)} text streams ({names})")
        return options.stream
    if options.language is not None:
        tagged = [place for place, one in enumerate(texts) if _language(one) == options.language.lower()]
        if not tagged:
            raise ConfigError(Setting("language", options.language), f": {path} has none ({names})")
        return tagged[0]
    return next((place for place, one in enumerate(texts) if int(one.disposition) & 1), 0)


def _language(stream: Any) -> str:
    return str(stream.metadata.get("language", "")).lower()


def _name(place: int, stream: Any) -> str:
    return " ".join([str(place), stream.codec_context.name, _language(stream)]).strip()


@dataclass(frozen=True)
class _CuePacket:
    start_ms: int
    end_ms: int
    data: bytes
    settings: str
    unended: bool


def _packets(container: Any, stream: Any, zero: Fraction) -> Iterator[_CuePacket]:
    """The packets that hold text, those without an end ended where the next one begins."""
    held: tuple[Fraction, Fraction | None, bytes, str] | None = None
    base = Fraction(stream.time_base)
    for packet in container.demux(stream):
        if packet.size == 0 or packet.pts is None:
            continue
        start = packet.pts * base - zero
        end = start + packet.duration * base if packet.duration else None
        if held is not None:
            yield _ended(held, start)
        data = bytes(packet)
        # An empty sample fills the time between two cues.
        fills = stream.codec_context.name == "mov_text" and data[:2] == b"\0\0"
        held = None if fills else (start, end, data, _side_data(packet, "webvtt_settings"))
    if held is not None:
        yield _ended(held, held[0])


def _ended(held: tuple[Fraction, Fraction | None, bytes, str], following: Fraction) -> _CuePacket:
    start, end, data, settings = held
    after = following if end is None else end
    return _CuePacket(max(round(start * 1000), 0), max(round(after * 1000), 0), data, settings, end is None)


def _side_data(packet: Any, name: str) -> str:
    return bytes(packet.get_sidedata(name)).decode("utf-8", "replace") if packet.has_sidedata(name) else ""


def _document(codec: str, header: str, packets: Sequence[_CuePacket], name: str, layout: Layout) -> Document:
    if codec in ("ass", "ssa"):
        events = tuple((one.start_ms, one.end_ms, one.data.decode("utf-8", "replace").rstrip("\0")) for one in packets)
        return Substation(StreamEvents(header, events).text(), name, layout)
    made = StreamCaptions()
    for one in packets:
        start, end, text = one.start_ms, one.end_ms, one.data.decode("utf-8", "replace").rstrip("\n\r\0")
        if codec == "mov_text":
            made.cues.append(Cue(start, end, runs_of_timed_text(one.data)))
        elif codec == "webvtt":
            made.cues.append(vtt_cue(start, end, text.replace("\r\n", "\n"), one.settings, layout))
        else:
            made.cues.append(srt_cue(start, end, text.replace("\r\n", "\n"), layout))
    check_cues(made, name)
    return made
