"""The packets of a source in, the same packets in the file that is written out: sound, subtitles, covers, chapters."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition

from vidsal.errors import EncodeError

__all__ = ["FORMATS", "MAX_COPY_FAULTS", "Copier", "Span", "add_copy", "describe", "is_chapter_track"]

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's names of the containers that a video may go into."""

MAX_COPY_FAULTS = 1000
"""Packets of copied streams that are skipped as unreadable or unwritable; one more ends the copying."""


@dataclass(frozen=True)
class Span:
    """The part of the source that is written, in seconds on the source's own clock."""

    shift: Fraction
    """Taken off every time."""
    start: Fraction | None
    """Packets before are left out; None: from the beginning."""
    end: Fraction | None
    """Packets from here on are left out; None: to the end."""


class Copier:
    """Copies all streams but one from a source file, a bit at a time, as the encoded video grows."""

    def __init__(self, source: Path, *, skip: int | None, messages: list[str]) -> None:
        self._messages = messages
        self._source = source
        try:
            # Opened once more: the decoder reads ahead at its own pace.
            self._container: Any = av.open(str(source), metadata_errors="replace")
        except (FFmpegError, OSError) as error:
            raise EncodeError(f"cannot read {source} once more to copy its sound: {error}") from error
        container = self._container
        if skip is None:
            best = container.streams.best("video")
            skip = None if best is None else best.index
        self._video = None if skip is None else container.streams[skip]
        self.chapters: list[Any] = list(container.chapters())
        self.streams: list[Any] = [
            stream for stream in container.streams if stream.index != skip and not self._is_remade(stream)
        ]
        self._out: Any = None
        self._copies: dict[int, Any] = {}
        self._last_dts: dict[int, int] = {}
        self._due: dict[int, int] = {}
        self._moved: dict[int, int] = {}
        self._strays: dict[int, int] = {}
        self._jump: Fraction | None = None
        self._awaiting_key: set[int] = set()
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None
        self._faults = 0
        self._ended = False
        self._window = Span(shift=Fraction(0), start=None, end=None)

    def _is_remade(self, stream: Any) -> bool:
        """Whether the muxer makes a track itself, from the chapters or from the video's time code."""
        if stream.type != "data":
            return False
        coded = self._video is not None and "timecode" in self._video.metadata and "timecode" in stream.metadata
        return coded or (bool(self.chapters) and is_chapter_track(stream))

    @property
    def start(self) -> Fraction | None:
        """Seconds of the source's earliest packet, on its own clock."""
        time: int | None = self._container.start_time
        return None if time is None else Fraction(time, 1_000_000)

    @property
    def video_start(self) -> Fraction:
        """Seconds at which the source's video begins, on its own clock."""
        video = self._video
        if video is None or video.start_time is None or not video.time_base:
            return Fraction(0)
        return Fraction(video.start_time * video.time_base)

    @property
    def has_raw_aac(self) -> bool:
        """Whether a sound track is AAC whose settings stand in its packets, as in transport streams."""
        contexts = [stream.codec_context for stream in self.streams if stream.type == "audio"]
        return any(context.name.startswith("aac") and not context.extradata for context in contexts)

    def is_late(self, stream: Any) -> bool:
        """Whether a stream begins late, or has few packets, or none."""
        if stream.type not in ("audio", "video") or _is_cover(stream) or stream.start_time is None:
            return True
        begin = Fraction(stream.start_time * stream.time_base)
        return begin - (self.start or 0) > _LONGEST_LAG_SECONDS

    def left_out_by(self, suffix: str) -> list[Any]:
        """The streams that a container cannot hold, found by trying."""
        return [stream for stream in self.streams if not _can_hold(FORMATS[suffix.lower()], stream)]

    def leave_out(self, streams: list[Any]) -> None:
        """Does not copy these."""
        gone = {stream.index for stream in streams}
        self.streams = [stream for stream in self.streams if stream.index not in gone]

    def attach(self, out: Any, encoded: Any, *, window: Span) -> None:
        """Adds the copies to `out` and names everything, its video stream `encoded` too, as the source does."""
        self._out = out
        self._window = window
        if self._video is not None:
            encoded.metadata.update(_kept(self._video.metadata))
            encoded.disposition = self._video.disposition.value
        for stream in self.streams:
            if _is_cover(stream) and out.format.name == "matroska":
                self._attach_cover(out, stream)
                continue
            copy = add_copy(out, stream)
            self._copies[stream.index] = copy
            if window.start is not None and stream.type == "video":
                self._awaiting_key.add(stream.index)
        out.metadata.update(_kept(self._container.metadata))
        if self.chapters:
            out.set_chapters(self._shifted_chapters())
        if window.start is not None:
            # A little early, as a seek is not exact everywhere; without one the copying just reads on.
            with suppress(FFmpegError):
                self._container.seek(int((window.start - 5) * 1_000_000))
        self._packets = self._read()

    def _attach_cover(self, out: Any, stream: Any) -> None:
        """A .mkv keeps a cover as an attached file, written with the header."""
        with av.open(str(self._source)) as container:
            packet = next((p for p in container.demux(container.streams[stream.index]) if p.size), None)
        if packet is not None:
            kind = "png" if stream.codec_context.name == "png" else "jpeg"
            out.add_attachment(f"cover.{kind.replace('jpeg', 'jpg')}", f"image/{kind}", bytes(packet))

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copies what comes up to a time of the output; None: all that is left."""
        while not self._ended:
            packet = self._waiting if self._waiting is not None else next(self._packets, None)
            self._waiting = None
            if packet is None:
                self._ended = True
                return
            time = packet.dts * Fraction(packet.time_base)
            if seconds is not None and time - self._window.shift > seconds and not _is_cover(packet.stream):
                self._waiting = packet
                return
            if self._window.end is not None and time > self._window.end + _LONGEST_LAG_SECONDS:
                self._ended = True
                return
            self._copy(packet)

    def close(self) -> None:
        """Closes the source; says what was lost."""
        if self._faults:
            lost = f"{self._faults} broken packets were left out while copying sound and further streams"
            self._messages.append(lost)
            self._faults = 0
        self._container.close()

    def _read(self) -> Iterator[Any]:
        """The packets in file order, with a decoding time each; bad data is skipped, counted and bounded."""
        wanted = [stream for stream in self.streams if stream.index in self._copies and stream.type != "attachment"]
        while wanted:
            try:
                for packet in self._container.demux(*wanted):
                    if packet.size == 0 or _is_gap(packet):
                        continue
                    if packet.dts is None:
                        packet.dts = 0 if _is_cover(packet.stream) else packet.pts
                    if packet.dts is not None and self._on_clock(packet):
                        yield packet
                    elif not self._fault():
                        return
                return
            except (FFmpegError, OSError):
                if not self._fault():
                    return

    def _on_clock(self, packet: Any) -> bool:
        """Moves a packet along where the source's clock has started anew; False for an impossible time."""
        if _is_cover(packet.stream):
            return True
        index, base, raw = packet.stream.index, Fraction(packet.time_base), packet.dts
        due = self._due.get(index)
        moved = self._moved.get(index, 0)
        if due is not None and not _follows((raw + moved - due) * base):
            stray, self._strays[index] = self._strays.get(index), raw
            if self._jump is not None and _follows((raw - due) * base + self._jump):
                moved = round(self._jump / base)
            elif stray is not None and _follows((raw - stray) * base) and packet.stream.type in ("audio", "video"):
                # The second in a row from there: the clock is another, as for the pictures; the first is lost.
                moved = due - stray
                self._jump = moved * base
            else:
                return False
            self._moved[index] = moved
        self._strays.pop(index, None)
        packet.dts = raw + moved
        if packet.pts is not None:
            packet.pts += moved
        # Subtitles may overlap.
        self._due[index] = packet.dts + (0 if packet.stream.type == "subtitle" else packet.duration or 0)
        return True

    def _fault(self) -> bool:
        """Counts a packet that cannot be copied; False when there were too many."""
        self._faults += 1
        if self._faults <= MAX_COPY_FAULTS:
            return True
        self._messages.append(f"{self._source.name} is too damaged: the copying of sound and further streams stopped")
        self._ended = True
        return False

    def _copy(self, packet: Any) -> None:
        stream = packet.stream
        base = Fraction(packet.time_base)
        if _is_cover(stream):
            packet.pts = packet.dts = 0
        else:
            if not self._wanted(packet, base):
                return
            ticks = round(self._window.shift / base)
            packet.dts -= ticks
            if packet.pts is not None:
                packet.pts -= ticks
            last = self._last_dts.get(stream.index)
            if last is not None and packet.dts <= last:
                packet.dts = last + 1
                if packet.pts is not None:
                    packet.pts = max(packet.pts, packet.dts)
            self._last_dts[stream.index] = packet.dts
        packet.stream = self._copies[stream.index]
        try:
            self._out.mux(packet)
        except InvalidDataError:  # a broken packet that a bitstream filter refuses
            self._fault()

    def _wanted(self, packet: Any, base: Fraction) -> bool:
        """Whether a packet lies in the part that is kept; a subtitle that has begun before is cut to it."""
        start, end = self._window.start, self._window.end
        begin = (packet.dts if packet.pts is None else packet.pts) * base
        if end is not None and begin >= end:
            return False
        if start is not None and begin < start:
            late = begin + (packet.duration or 0) * base - start
            if packet.stream.type != "subtitle" or late <= 0:
                return False
            packet.pts = packet.dts = math.ceil(start / base)
            packet.duration = max(1, int(late / base))
        if packet.stream.index in self._awaiting_key:
            if not packet.is_keyframe:
                return False
            self._awaiting_key.discard(packet.stream.index)
        return True

    def _shifted_chapters(self) -> list[Any]:
        kept, window = [], self._window
        for chapter in self.chapters:
            base = Fraction(chapter["time_base"])
            begin, end = chapter["start"] * base, chapter["end"] * base
            if window.start is not None:
                begin = max(begin, window.start)
            if window.end is not None:
                end = min(end, window.end)
            if begin < end:
                begin, end = (max(0, round((time - window.shift) / base)) for time in (begin, end))
                kept.append({**chapter, "start": begin, "end": end})
        return kept


_LONGEST_GAP_SECONDS = 3600
"""A longer silence in a copied stream is taken for a broken clock."""

_LONGEST_STEP_BACK_SECONDS = 1
"""A packet that comes before the one before it by more is taken for a broken clock; by less, it is moved after it."""


def _follows(gap: Fraction) -> bool:
    """Whether a packet may come this many seconds after the end of the one before."""
    return -_LONGEST_STEP_BACK_SECONDS <= gap <= _LONGEST_GAP_SECONDS


_LONGEST_LAG_SECONDS = 10
"""How far streams of one file may run apart before a packet past the end means that all have passed it."""

_COMPUTED_TAGS = (
    "duration",
    "bps",
    "number_of_",
    "_statistics",
    "encoder",
    "major_brand",
    "minor_version",
    "compatible_brands",
    "rotate",
    "vidsal_",
)
"""Beginnings of tags that describe the coded bytes of the source, not its content."""


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if not key.lower().startswith(_COMPUTED_TAGS)}


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _is_gap(packet: Any) -> bool:
    """An empty text sample, with which an mp4 ends a subtitle; the muxer makes them anew."""
    context = packet.stream.codec_context if packet.stream.type == "subtitle" else None
    return packet.size == 2 and context is not None and context.name == "mov_text"


def is_chapter_track(stream: Any) -> bool:
    """The text track in which an mp4 keeps its chapters; they are copied as chapters."""
    return stream.type == "data" and getattr(stream, "name", None) == "bin_data"


def add_copy(out: Any, stream: Any) -> Any:
    copy = out.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(_kept(stream.metadata))
    copy.disposition = stream.disposition.value
    return copy


def _can_hold(format_name: str, stream: Any) -> bool:
    """Whether a container takes a stream: only writing a header shows it."""
    if stream.type == "data" and getattr(stream, "name", None) is None:
        return False  # an mp4 takes the header of nameless data and fails at the end
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as out:
            add_copy(out, stream)
            out.start_encoding()
    except (FFmpegError, ValueError, OSError):
        return False
    return True


def describe(stream: Any) -> str:
    context = stream.codec_context
    codec = context.name if context is not None else getattr(stream, "name", None) or "unknown codec"
    language = stream.metadata.get("language")
    return f"{stream.type} stream {stream.index} ({codec}{', ' + language if language else ''})"
