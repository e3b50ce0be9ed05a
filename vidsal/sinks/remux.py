"""The packets of a source in, the same packets in the file that is written out: sound, subtitles, covers, chapters."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.error import FFmpegError

from vidsal.decode.local import open_file
from vidsal.decode.timecode import timecode_of
from vidsal.errors import EncodeError
from vidsal.sinks.containers import (
    IS_PYAV_18,
    RisingClock,
    Sample,
    add_copy,
    dated,
    describe,
    is_cover,
    is_refusal,
    is_understood,
    takes,
)
from vidsal.sinks.sound import SoundEncoder, SoundForm, forms_for
from vidsal.sinks.tags import StreamTags, kept_tags, named_as_in
from vidsal.timecode import later_timecode

__all__ = ["MAX_COPY_FAULTS", "Copier", "Span"]

MAX_COPY_FAULTS = 1000
"""Packets of one copied stream that are skipped as unreadable or unwritable; one more ends the copying of it."""

_SAMPLE_PACKETS = 3
"""Packets of each stream that are written to see whether a container takes them."""

_SAMPLE_BYTES = 8 << 20
"""Bytes that are read at most to find them; they stay in memory until they are copied."""

_SAMPLE_READS = 1000
"""Packets that are read at most to find them."""


@dataclass(frozen=True)
class Span:
    """The part of the source that is written, in seconds on the source's own clock."""

    shift: Fraction
    """Taken off every time."""
    start: Fraction | None
    """Packets before are left out; None: from the beginning."""
    end: Fraction | None
    """Packets from here on are left out; None: to the end."""


class _CopiedTrack:
    """One stream of the source on its way into the file: as it is, or encoded to a `form`."""

    def __init__(self, out: Any, source: Any, form: SoundForm | None) -> None:
        self.source = source
        self._encoder = None
        if form is None:
            self.stream = add_copy(out, source)
        else:
            self._encoder = SoundEncoder(out, source.codec_context, form)
            self.stream = self._encoder.stream
            self.stream.metadata.update(named_as_in(out.format.name, kept_tags(source.metadata)))
            self.stream.disposition = source.disposition.value
        self._clock: RisingClock | None = None
        self.moved = 0
        self.faults = 0

    def convert(self, packet: Any) -> list[Any]:
        """What a packet of the source becomes; None: there is no more."""
        if self._encoder is not None:
            return self._encoder.convert(packet)
        return [] if packet is None else [packet]

    def put(self, out: Any, packet: Any) -> bool:
        """Writes a packet in the clock of the file; False where its time is too far before that of the one before."""
        if self._clock is None:
            self._clock = RisingClock(out, self.stream)
        moved = self._clock.fit(packet)
        if moved > _LONGEST_STEP_BACK_SECONDS:
            return False
        self.moved += moved > 0
        self._clock.advance(packet)
        packet.stream = self.stream
        out.mux(packet)
        return True


class Copier:
    """Copies all streams but one from a source file, a bit at a time, as the encoded video grows.

    Args:
        source: the file.
        skip: position of the video stream that is encoded; None: the best one.
        messages: gets sentences about what was changed or left out.
        rate: frames a second of the video.
    """

    def __init__(self, source: Path, *, skip: int | None, messages: list[str], rate: Fraction) -> None:
        self._messages = messages
        self._source = source
        self._rate = rate
        try:
            # Opened once more: the decoder reads ahead at its own pace. It has refused what may not be opened.
            self._container: Any = open_file(source, allow_playlists=True)
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
        self.forms: dict[int, SoundForm] = {}
        self._samples: dict[int, Sample] = {}
        self._ahead: deque[Any] = deque()
        self._out: Any = None
        self._tracks: dict[int, _CopiedTrack] = {}
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
        coded = getattr(stream, "name", None) is None and "timecode" in stream.metadata
        return coded or (bool(self.chapters) and _is_chapter_track(stream))

    @property
    def timecode(self) -> str | None:
        """Time code of the source's first picture; None without one."""
        return timecode_of(self._container, self._video)

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the file, as far as they are true of the result."""
        return kept_tags(self._container.metadata)

    @property
    def stream_tags(self) -> list[StreamTags]:
        """The tags of the streams that are copied, in their order in the file; of the video first."""
        streams = [] if self._video is None else [self._video]
        return [
            StreamTags(stream.type, describe(stream), named_as_in("mp4", kept_tags(stream.metadata)))
            for stream in [*streams, *self.copied]
            if not is_cover(stream)
        ]

    @property
    def copied(self) -> list[Any]:
        """The streams of the source that are tracks of the file, in their order there, from position 1 on."""
        return [track.source for track in self._tracks.values()]

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
        return any(context and context.name.startswith("aac") and not context.extradata for context in contexts)

    def is_late(self, stream: Any) -> bool:
        """Whether a stream begins late, or has few packets, or none."""
        if stream.type not in ("audio", "video") or is_cover(stream) or stream.start_time is None:
            return True
        begin = Fraction(stream.start_time * stream.time_base)
        return begin - (self.start or 0) > _LONGEST_LAG_SECONDS

    def sample(self) -> None:
        """Reads the first packets of every stream; they are kept for the copying."""
        self._samples = {stream.index: Sample(stream) for stream in self.streams}
        missing = {
            stream.index: 1 if self.is_late(stream) else _SAMPLE_PACKETS
            for stream in self.streams
            if stream.type != "attachment" and self._may_begin_soon(stream)
        }
        size = reads = 0
        packets = self._container.demux()
        while missing and size < _SAMPLE_BYTES and reads < _SAMPLE_READS:
            try:
                packet = next(packets, None)
            except (FFmpegError, OSError, IndexError):
                self._faults += 1
                return
            if packet is None:
                return
            size, reads = size + packet.size, reads + 1
            index = packet.stream.index
            if packet.size == 0 or index not in self._samples:
                continue
            self._ahead.append(packet)
            timeless = packet.dts is None and packet.pts is None and not is_cover(packet.stream)
            if timeless or _is_gap(packet):
                continue
            taken = self._samples[index].packets
            if len(taken) < _SAMPLE_PACKETS:
                taken.append(packet)
            if len(taken) == missing.get(index):
                del missing[index]

    def _may_begin_soon(self, stream: Any) -> bool:
        if stream.start_time is None:
            return is_cover(stream) or stream.type in ("audio", "video")
        return is_cover(stream) or not (stream.type in ("audio", "video") and self.is_late(stream))

    def left_out_by(self, suffix: str, options: Callable[[bool], dict[str, str]]) -> list[Any]:
        """The streams that a container cannot hold, or that players do not agree on there; found by trying.

        Args:
            suffix: .mp4, .mov or .mkv.
            options: those of its muxer; True: where the whole is written at once.
        """
        possible = [stream for stream in self.streams if is_understood(suffix, stream)]
        if not self._fit(suffix, possible, options):
            held: list[Any] = []
            for stream in possible:
                if self._fit(suffix, [*held, stream], options):
                    held.append(stream)
            possible = held
        return [stream for stream in self.streams if stream not in possible]

    def encodable(self, suffix: str, left_out: Sequence[Any], options: Callable[[bool], dict[str, str]]) -> list[Any]:
        """Finds what the sound of streams that cannot be copied can be encoded to; returns those of which it can."""
        kept = [stream for stream in self.streams if stream not in left_out]
        found = []
        for stream in left_out:
            for form in forms_for(self._samples[stream.index], suffix):
                self.forms[stream.index] = form
                if self._fit(suffix, [*kept, stream], options):
                    kept.append(stream)
                    found.append(stream)
                    break
                del self.forms[stream.index]
        return found

    def _fit(self, suffix: str, streams: Sequence[Any], options: Callable[[bool], dict[str, str]]) -> bool:
        late = [] if suffix == ".mkv" else [stream for stream in streams if self.is_late(stream)]

        def fits(together: Sequence[Any], *, whole: bool) -> bool:
            return takes(
                suffix,
                [self._samples[stream.index] for stream in together],
                rate=self._rate,
                options=options(whole),
                video_tags={} if self.timecode is None else {"timecode": self.timecode},
                chapters=self.chapters,
                add=self._add_sample,
            )

        early = [stream for stream in streams if stream not in late]
        try:
            return fits(early, whole=False) and (not late or fits(streams, whole=True))
        finally:
            for stream in streams:
                if stream.index in self.forms:
                    stream.codec_context.flush_buffers()

    def _add_sample(self, out: Any, sample: Sample) -> Callable[[Any], list[Any]]:
        if is_cover(sample.stream) and out.format.name == "matroska":
            return lambda packet: []  # it becomes an attached file
        track = _CopiedTrack(out, sample.stream, self.forms.get(sample.stream.index))

        def convert(packet: Any) -> list[Any]:
            packets = track.convert(packet)
            for each in packets:
                each.stream = track.stream
            return packets

        return convert

    def leave_out(self, streams: Sequence[Any]) -> None:
        """Does not copy these."""
        gone = {stream.index for stream in streams}
        self.streams = [stream for stream in self.streams if stream.index not in gone]

    def attach(
        self,
        out: Any,
        encoded: Any,
        *,
        window: Span,
        forms: Mapping[int, SoundForm] | None = None,
        chapters: list[Any] | None = None,
        is_copy: bool,
    ) -> None:
        """Adds the copies to `out` and names everything, its video stream `encoded` too, as the source does.

        Args:
            out: the file; its header is written.
            encoded: its video stream.
            window: the part that is copied.
            forms: what the sound of a stream is encoded to, by its position in the source; by default what `encodable`
                found.
            chapters: those of the output, as PyAV takes them; None: those of the source.
            is_copy: the video is not encoded any more.
        """
        self._out = out
        self._window = window
        if self._video is not None:
            encoded.metadata.update(named_as_in(out.format.name, kept_tags(self._video.metadata)))
            encoded.disposition = self._video.disposition.value
        for stream in self.streams:
            if is_cover(stream) and out.format.name == "matroska":
                self._attach_cover(out, stream)
                continue
            track = _CopiedTrack(out, stream, (self.forms if forms is None else forms).get(stream.index))
            self._tracks[stream.index] = track
            if window.start is not None and stream.type == "video":
                self._awaiting_key.add(stream.index)
        out.metadata.update(self.tags)
        self._name_timecode(out, encoded, is_copy=is_copy)
        out.set_chapters(self._shifted_chapters() if chapters is None else chapters)
        if window.start is not None:
            # A little early, as a seek is not exact everywhere; without one the copying just reads on.
            with suppress(FFmpegError):
                self._container.seek(int((window.start - 5) * 1_000_000))
                self._ahead.clear()
        self._packets = self._read()
        out.start_encoding()

    def _name_timecode(self, out: Any, encoded: Any, *, is_copy: bool) -> None:
        timecode = self.timecode
        if timecode is not None and self._window.start is not None:
            timecode = later_timecode(timecode, self._window.start - self.video_start, self._rate)
            if timecode is None:
                self._messages.append("the time code is left out: it cannot be read, so it cannot be moved to the part")
        # The file has it too where the source's had, but no .mp4: from there it would make one more track for every
        # cover.
        keeps = out.format.name == "matroska" and timecode is not None
        for key in [key for key in out.metadata if key.lower() == "timecode"]:
            if not keeps:
                del out.metadata[key]
            elif self._window.start is not None:
                out.metadata[key] = timecode
        for tags in (encoded.metadata, *(track.stream.metadata for track in self._tracks.values())):
            for key in [key for key in tags if key.lower() == "timecode"]:
                del tags[key]
        if timecode is not None and (IS_PYAV_18 or not is_copy):
            encoded.metadata["timecode"] = timecode

    def _attach_cover(self, out: Any, stream: Any) -> None:
        """A .mkv keeps a cover as an attached file, written with the header."""
        with open_file(self._source, allow_playlists=True) as container:
            packet = next((p for p in container.demux(container.streams[stream.index]) if p.size), None)
        if packet is not None:
            kind = "png" if stream.codec_context and stream.codec_context.name == "png" else "jpeg"
            out.add_attachment(f"cover.{kind.replace('jpeg', 'jpg')}", f"image/{kind}", bytes(packet))

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copies what comes up to a time of the output; None: all that is left."""
        while not self._ended:
            packet = self._waiting if self._waiting is not None else next(self._packets, None)
            self._waiting = None
            if packet is None:
                break
            time = packet.dts * Fraction(packet.time_base)
            if seconds is not None and time - self._window.shift > seconds and not is_cover(packet.stream):
                self._waiting = packet
                return
            if self._window.end is not None and time > self._window.end + _LONGEST_LAG_SECONDS:
                self._ended = True
            else:
                self._copy(packet)
        for track in self._tracks.values():
            self._put(track, None)

    def refused(self) -> bool:
        """Notes that the muxer refused a packet that it had been given earlier; False when there were too many."""
        return self._fault()

    def close(self) -> None:
        """Closes the source; says what was lost."""
        faults = self._faults + sum(track.faults for track in self._tracks.values())
        moved = sum(track.moved for track in self._tracks.values())
        if faults:
            packets = "broken packet was" if faults == 1 else "broken packets were"
            self._messages.append(f"{faults} {packets} left out while copying sound and further streams")
        if moved:
            packets = "packet of sound or a further stream was" if moved == 1 else "packets of further streams were"
            self._messages.append(f"{moved} {packets} not later than the one before: moved just after it")
        self._faults = 0
        self._tracks.clear()
        self._container.close()

    def _read(self) -> Iterator[Any]:
        """The packets in file order, with a decoding time each; bad data is skipped, counted and bounded."""
        for packet in dated(self._readable()):
            if packet.dts is not None and self._on_clock(packet):
                yield packet
            elif not self._fault():
                return

    def _readable(self) -> Iterator[Any]:
        """The packets that can be read, as they come."""
        wanted = [stream for stream in self.streams if stream.index in self._tracks and stream.type != "attachment"]
        while wanted:
            try:
                for packet in self._demuxed(wanted):
                    if packet.size and not _is_gap(packet):
                        yield packet
                return
            except IndexError:
                return  # PyAV trips at the end over streams that turned up while reading
            except (FFmpegError, OSError):
                if not self._fault():
                    return

    def _demuxed(self, wanted: list[Any]) -> Iterator[Any]:
        while self._ahead:
            packet = self._ahead.popleft()
            if packet.stream.index in self._tracks:
                yield packet
        yield from self._container.demux(*wanted)

    def _on_clock(self, packet: Any) -> bool:
        """Moves a packet along where the source's clock has started anew; False for an impossible time."""
        if is_cover(packet.stream):
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
        track = self._tracks[packet.stream.index]
        base = Fraction(packet.time_base)
        if is_cover(packet.stream):
            packet.pts = packet.dts = 0
        else:
            if not self._wanted(packet, base):
                return
            ticks = round(self._window.shift / base)
            packet.dts -= ticks
            if packet.pts is not None:
                packet.pts -= ticks
        self._put(track, packet)

    def _put(self, track: _CopiedTrack, packet: Any) -> None:
        """Writes what a packet becomes; one that is refused is left out, and a stream with too many of them ends."""
        if track.faults > MAX_COPY_FAULTS:
            return
        try:
            for each in track.convert(packet):
                track.faults += not track.put(self._out, each)
        except (FFmpegError, ValueError) as error:
            if not is_refusal(error):
                raise
            track.faults += 1
        if track.faults > MAX_COPY_FAULTS:
            self._messages.append(f"{describe(track.source)} ends early: too many of its packets cannot be written")

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


def _is_gap(packet: Any) -> bool:
    """An empty text sample, with which an mp4 ends a subtitle; the muxer makes them anew."""
    context = packet.stream.codec_context if packet.stream.type == "subtitle" else None
    return packet.size == 2 and context is not None and context.name == "mov_text"


def _is_chapter_track(stream: Any) -> bool:
    """The text track in which an mp4 keeps its chapters; they are copied as chapters."""
    if getattr(stream, "name", None) != "bin_data":
        return False
    discard = getattr(stream, "discard", None)  # None: PyAV before 18
    return discard is None or discard == _DISCARD_ALL


_DISCARD_ALL = 48
"""FFmpeg's mark of a track that it has read itself already."""
