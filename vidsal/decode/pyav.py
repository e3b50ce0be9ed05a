"""A file, an address or standard input in, `FrameBatch`es out, decoded by FFmpeg through PyAV: the default backend."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import starmap
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.codec.hwaccel import HWAccel, HWConfig, hwdevices_available
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidsal.decode.clock import CLOCK_STARTS_ANYWHERE, FALLBACK_RATE, LONGEST_GAP_SECONDS, Clock
from vidsal.decode.contract import (
    UNSPECIFIED,
    DecodedFrame,
    DecodeOptions,
    DecodeReport,
    Reader,
    Request,
    VideoInfo,
    check_pixels,
)
from vidsal.decode.deinterlace import Deinterlacer
from vidsal.decode.local import open_address, open_file, open_stream
from vidsal.decode.missing import Ledger, Steps
from vidsal.decode.orientation import Orientation, orientation_of, side_data_of
from vidsal.decode.streams import is_hidden, pick_stream
from vidsal.decode.timecode import sound_of, timecode_of
from vidsal.decode.transparency import on_white
from vidsal.errors import DecodeError, Setting
from vidsal.frames import Picture, Planes
from vidsal.prefetch import usable_cores
from vidsal.timecode import nominal_rate

__all__ = ["AUTO_DEVICES", "NETWORK_TIMEOUT_SECONDS", "FileFacts", "PyavReader", "open_pyav", "probe"]

NETWORK_TIMEOUT_SECONDS = 15.0
"""Longest wait for an address to answer, and for its next packet."""

BT709_FROM_LINES = 720
"""Pictures of at least so many lines are BT.709 where nothing is tagged: players assume it, FFmpeg does not."""

THREADS_FROM_PIXELS = 1920 * 1080
"""Below this size more than one decoder thread costs more than it gains."""

MAX_THREADS = 8

CONSTANT_RATE_FORMATS = frozenset({"mpegts", "mpeg", "mxf", "dv", "gxf"})
"""Containers of broadcasting, FFmpeg's names: there the rate is constant, and a hole in the times is a loss."""

MOST_GAPS = 0.1
"""Share of the steps that may be holes; where more are, the times vary by nature (screen captures)."""

MOST_GAPS_CONSTANT_RATE = 0.3
"""As `MOST_GAPS`, in `CONSTANT_RATE_FORMATS`."""

SEEK_BACK_SECONDS = (0.0, 2.0, 10.0, 60.0)
"""Where a seek lands after its target it is tried again this much earlier; then from the beginning."""

AUTO_DEVICES = ("cuda", "videotoolbox", "vaapi", "d3d11va", "d3d12va", "dxva2", "qsv", "vulkan", "vdpau")
"""Devices that `hwaccel="auto"` tries, best first: one maker's own way before a common one, drawing APIs last."""

_PIPE_HINT = "an mp4 file in a pipe needs its header in front (movflags=faststart), or pipe Matroska or MPEG-TS"

# swscale's numbers; PyAV before 18 names only the first two.
_BILINEAR = 1 << 1
_POINT = 1 << 4
_AREA = 1 << 5
_FULL_CHROMA = 1 << 13
"""Without it colours are shared by two pixels of the small frame, and all values come out 1.5 too low."""

_CONVERTIBLE_COLORSPACES = frozenset({0, 1, UNSPECIFIED, 4, 5, 6, 7, 9})
"""FFmpeg's numbers of the matrices that swscale knows."""

_CAPTIONS = SideDataType.A53_CC

_BT709 = 1
_BT601 = 6
_BT2020 = 9
_BT2020_CONSTANT_LUMINANCE = 10

_FULL_RANGE = 2

_AS_ENCODED = ("yuv420p", "yuvj420p")
"""Forms of frames that `Planes` holds."""

_PLANAR = {"nv12": "yuv420p", "nv16": "yuv422p", "p010le": "yuv420p10le", "p012le": "yuv420p12le"}
"""The formats of devices, and software's with the same values in another order. From NV12 to RGB of the same size,
swscale takes another way, which comes out about 1.5 levels darker."""

_WITH_ALPHA = {"rgb24": "rgba", "rgb48le": "rgba64le"}

_OFTEN_IN_HARDWARE = ("h264", "hevc", "av1", "vp9", "mpeg2video", "mjpeg")
"""Decoders of which one works on every device that any works on."""

_DEVICE_FRAMES_ARE_WHOLE = int(av.__version__.split(".", maxsplit=1)[0]) >= 18
"""Before, PyAV copied nothing but its time along with a frame's pixels from the device."""


def open_pyav(file: str | Path | BinaryIO, request: Request) -> PyavReader:
    """Opens what FFmpeg can read and decodes its first frame.

    Args:
        file: an address, a local file, or a binary file object that is read from where it stands.
        request: what and how; of the kind video, animation or stream.

    Raises:
        DecodeError: it cannot be opened, holds no video, or no frame of it can be decoded.
    """
    options = request.options

    def open_on(device: str | None) -> PyavReader:
        try:
            container = _open_container(file, request, hwaccel=None if device is None else _accelerator(device))
        except (FFmpegError, OSError, ValueError) as error:
            raise DecodeError(_why_not_opened(request.source, file, error)) from error
        threads = options.threads if device is None else options.threads or 1
        try:
            return PyavReader(container, request, seekable=isinstance(file, (str, Path)), threads=threads)
        except BaseException:
            container.close()
            raise

    if options.hwaccel == "none":
        return open_on(None)
    failures: list[str] = []
    available = hwdevices_available()
    devices = [name for name in AUTO_DEVICES if name in available] if options.hwaccel == "auto" else [options.hwaccel]
    for device in devices:
        # A pipe cannot be opened a second time, so the device must show beforehand that it is there.
        once = not isinstance(file, (str, Path))
        reason = _why_no_device(device, create=once)
        if reason is None:
            try:
                reader = open_on(device)
            except DecodeError as error:
                if once:
                    raise
                # The source may be at fault as well: then software says so below.
                reason = _strip(error.__cause__ or error)
            else:
                if _in_hardware(reader.codec_context):
                    reader.on_device(device)
                    return reader
                reason = f"it does not decode this {reader.codec_context.name} stream"
                if once:
                    reader.report.say(f"decoded in software: {device} cannot be used ({reason})")
                    return reader
                reader.close()
        failures.append(f"{device} cannot be used ({reason})")
    reader = open_on(None)
    reader.report.say("decoded in software: " + ("; ".join(failures) or "this build of FFmpeg knows no device"))
    return reader


def _open_container(file: str | Path | BinaryIO, request: Request, *, hwaccel: HWAccel | None) -> InputContainer:
    if isinstance(file, Path):
        return open_file(file, allow_playlists=request.options.allow_playlists, hwaccel=hwaccel)
    if isinstance(file, str):
        return open_address(file, timeout=NETWORK_TIMEOUT_SECONDS, hwaccel=hwaccel)
    return open_stream(file, hwaccel=hwaccel)


def _accelerator(device: str) -> HWAccel:
    # Frames are downloaded to system memory, where the converter works as ever (NV12 or P010 then).
    name, _, which = device.partition(":")
    return HWAccel(name, device=which or None, allow_software_fallback=True)


def _why_no_device(device: str, *, create: bool) -> str | None:
    """What keeps the device from decoding, None where nothing is known to; `create` opens it to see."""
    if not _DEVICE_FRAMES_ARE_WHOLE:
        return f"it needs PyAV 18, this is {av.__version__}: earlier ones lose colour tags and rotation on the way"
    name = device.partition(":")[0]
    available = hwdevices_available()
    if name not in available:
        return f"this build of FFmpeg has only {', '.join(available) or 'none'}"
    codec = next(
        (codec for codec in map(_decoder, _OFTEN_IN_HARDWARE) if codec and name in _device_formats(codec)), None
    )
    if codec is None:
        return "the decoders of this build of FFmpeg do not work on it"
    if create:
        try:
            _accelerator(device).create(codec)
        except (FFmpegError, OSError) as error:
            return _strip(error)
    return None


def _decoder(name: str) -> Codec | None:
    try:
        return Codec(name, "r")
    except UnknownCodecError:
        return None


def _device_formats(codec: Codec) -> dict[str, str]:
    """The devices on which a decoder works, with the pixel format in which it leaves pictures there."""
    configs: list[HWConfig] = codec.hardware_configs or []
    return {config.device_type.name: config.format.name for config in configs if config.is_supported and config.format}


def _in_hardware(context: VideoCodecContext) -> bool:
    """Whether the first frame was decoded on the device: FFmpeg turns to software by itself where it must."""
    return context.is_hwaccel and context.pix_fmt in _device_formats(context.codec).values()


@dataclass(frozen=True)
class FileFacts:
    """What FFmpeg says of a file, for the backends that report less."""

    info: VideoInfo
    """As `PyavReader.info`."""
    promised_seconds: float | None
    """Where the container says that the video ends, after its first frame; None where it says nothing reliable."""
    interlaced: bool
    """True where the first frame holds two fields."""
    video_streams: int
    """Video streams that could be read."""


def probe(path: Path, request: Request) -> FileFacts:
    """Opens a video file, decodes its first frame and closes it, for another decoder that is to read it.

    Args:
        path: the file.
        request: what is asked of the other decoder.

    Raises:
        DecodeError: as `open_pyav`; or it holds several video streams, so that another decoder may take another one.
    """
    asked = request.options
    options = DecodeOptions(threads=1, max_pixels=asked.max_pixels, allow_playlists=asked.allow_playlists)
    with open_pyav(path, Request(source=str(path), path=path, kind="video", options=options)) as reader:
        facts = reader.facts()
    if facts.video_streams > 1:
        raise DecodeError(
            f"{path} holds {facts.video_streams} video streams, of which {request.options.decoder} cannot choose; use ",
            Setting("decoder", "pyav"),
        )
    return facts


class PyavReader(Reader):
    """Reads one video stream of an open container; see `open_pyav`."""

    held: list[BinaryIO]
    """Files that are read through and closed with the reader."""

    def __init__(self, container: InputContainer, request: Request, *, seekable: bool, threads: int) -> None:
        self._container = container
        self.held = []
        self._source = request.source  # the first frame is decoded before the base class is set up
        self._live = request.live
        self._packets = 0
        self.report = report = DecodeReport()
        choice = pick_stream(container, request, report)
        self._stream = choice.stream
        self._video_streams = choice.readable
        self._max_pixels = request.options.max_pixels
        check_pixels(request.source, *self._coded_size(), self._max_pixels)
        _set_threads(self._stream, threads, live=request.live)
        self._base = _fraction(self._stream.time_base) or Fraction(1, 90000)
        self._rate = _fraction(self._stream.average_rate) or _fraction(self._stream.guessed_rate)
        self._deinterlacer = Deinterlacer(request.options.deinterlace, self._stream.codec_context.name)
        self._steps = Steps()
        self._ledger = self._new_ledger()
        self._ended = self._sought = False
        self._unordered = False
        self._doubtful: dict[int, tuple[float, int]] = {}
        self._decoder = self._decode()
        first = self._first_frame(seekable)
        self._first: VideoFrame | None = first
        self._seekable = seekable and first.pts is not None
        self._clock = Clock(request.source, self._base, self._rate, report)
        self._origin = self._clock.begin(first, fallback=first.dts or 0)
        if self._deinterlacer.is_field(first):
            report.say("the video holds single fields: each is shown as a picture of its own, of half the lines")
        orientation = orientation_of(first, report)
        height, width = first.height, first.width
        ratio = _fraction(self._stream.sample_aspect_ratio) or Fraction(1)
        if orientation.rotation % 180:
            height, width, ratio = width, height, 1 / ratio
        context = self._stream.codec_context
        sound = sound_of(container)
        info = VideoInfo(
            source=request.source,
            path=request.path,
            kind=request.kind,
            height=height,
            width=width,
            frame_count=self._stream.frames or None,
            duration_seconds=self._promised_seconds(),
            rate=self._rate,
            nominal_rate=nominal_rate(self._rate, _fraction(self._stream.base_rate)),
            time_base=self._base,
            rotation=orientation.rotation,
            mirrored=orientation.mirrored,
            sample_aspect_ratio=ratio,
            color_range=int(first.color_range),
            color_primaries=int(context.color_primaries),
            color_trc=int(context.color_trc),
            colorspace=int(first.colorspace),
            side_data=_side_data(first),
            pix_fmt=first.format.name,
            live=request.live,
            stream_index=self._stream.index,
            timecode=timecode_of(container, self._stream),
            audio_channels=sound.channels,
            audio_rate=sound.rate,
            other_programmes=choice.other_programmes,
            clock_starts_anywhere=bool(container.format.flags & CLOCK_STARTS_ANYWHERE),
        )
        super().__init__(info, request, report)
        # FFmpeg's formats of bare pictures, as they come through a pipe: png_pipe, jpeg_pipe, ...
        self._stills = self._stills or container.format.name.endswith("_pipe")
        drawn = request.kind == "animation"
        self._small = _Converter(self.size, report, on_paper=drawn)
        self._full = _Converter((height, width), report, on_paper=drawn)
        self._deep = _Converter((height, width), report, on_paper=drawn, deep=True)
        self._is_deep = any(component.bits > 8 for component in first.format.components)
        self._shrink = VideoReformatter()

    def _first_frame(self, seekable: bool) -> VideoFrame:
        failure: DecodeError | None = None
        try:
            if (first := next(self._decoder, None)) is not None:
                return first
        except DecodeError as error:
            failure = error
        raise DecodeError(
            f"{self._source} holds a {self._stream.codec_context.name} video stream, but not one frame of it can be "
            f"decoded ({self.report.skipped_corrupt} corrupt packets); {self._remedy if seekable else _PIPE_HINT}"
        ) from failure

    def _coded_size(self) -> tuple[int, int]:
        context = self._stream.codec_context
        return context.width, context.height

    def on_device(self, device: str) -> None:
        """Notes that a device decodes."""
        self.report.say(f"decoded in hardware, by {device}")
        # The errors of a failing device look like damage.
        self._remedy = f"repair or copy the source again, or read it without hwaccel={device}"

    @property
    def codec_context(self) -> VideoCodecContext:
        """The decoder at work."""
        return self._stream.codec_context

    def facts(self) -> FileFacts:
        """What is known before the iteration starts."""
        promised = self._promised_end()
        return FileFacts(
            info=self.info,
            promised_seconds=None if promised is None else float(promised),
            interlaced=self._first is not None and self._first.interlaced_frame,
            video_streams=self._video_streams,
        )

    def _release(self) -> None:
        self._decoder.close()
        self._container.close()
        for file in self.held:
            file.close()

    def _frames(self) -> Iterator[DecodedFrame]:
        start = self._options.start_seconds
        self._sought = start > 0 and self._seekable
        stamped = self._from(start) if self._sought else self._from_beginning()
        yield from starmap(self._decoded, self._deinterlacer.whole(self._bounded(stamped)))
        self._compare_with_promise()

    def _bounded(self, stamped: Iterable[tuple[VideoFrame, int]]) -> Iterator[tuple[VideoFrame, int]]:
        for frame, ticks in stamped:
            check_pixels(self._source, frame.width, frame.height, self._max_pixels)
            self._steps.came(ticks)
            yield frame, ticks

    def _from_beginning(self) -> Iterator[tuple[VideoFrame, int]]:
        """The frames with their times in units of the stream's time base."""
        first, self._first = self._first, None
        if first is not None:
            yield first, self._origin
        yield from self._clock.stamp(self._decoder)

    def _from(self, start_seconds: float) -> Iterator[tuple[VideoFrame, int]]:
        """Starts at a key frame at or before `start_seconds`."""
        self._first = None
        self._decoder.close()
        self.report.damaged_packets = 0  # those are read again, or are not wanted
        self._doubtful.clear()
        for back in SEEK_BACK_SECONDS:
            target = max(0.0, start_seconds - back)
            try:
                self._container.seek(self._origin + int(target / self._base), stream=self._stream)
            except FFmpegError:
                continue
            self._clock.restart()
            self._decoder = self._decode()
            first = next(self._decoder, None)
            if first is None or first.pts is None:
                continue
            ticks = self._clock.begin(first)
            # An interlaced frame that is the first one wanted is made whole with the help of the one before.
            latest = start_seconds - self._deinterlacer.needs_the_frame_before(first) * float(
                self._clock.step * self._base
            )
            if self._seconds(ticks) <= latest or target == 0.0:
                yield first, ticks
                yield from self._clock.stamp(self._decoder)
                return
        try:
            self._container.seek(self._origin, stream=self._stream)
        except FFmpegError as error:
            raise DecodeError(
                f"{self._source} is not seekable ({error}); read it from the beginning, without start_seconds"
            ) from error
        self._clock.restart()
        self._decoder = self._decode()
        yield from self._clock.stamp(self._decoder)

    def _decode(self) -> Generator[VideoFrame, None, None]:
        """Yields every frame that can be decoded; skips and counts the packets that cannot."""
        self._ledger = ledger = self._new_ledger()
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
            except InvalidDataError:
                self._count_corrupt()
                packets = self._container.demux()  # a generator that raised is over
                continue
            except IndexError:
                packet = None  # PyAV trips at the end over streams that turned up while reading
            except (FFmpegError, OSError) as error:
                if self._live and self._packets:
                    self.report.say(f"the live source stopped: {_strip(error)}")
                    return
                raise DecodeError(
                    f"reading {self._source} failed: {_strip(error)}; check the disk or the connection"
                ) from error
            if packet is not None:
                # The demuxer's note to flush, an empty packet, is left to the end.
                if packet.size == 0 and packet.pts is None and packet.dts is None:
                    continue
                self._count_damaged(packet)
                if packet.stream_index != self._stream.index:
                    continue
                self._packets += 1
                if packet.pts is not None and packet.dts is not None:
                    self._check_order(packet.pts - packet.dts)
                if not is_hidden(packet, self._stream):
                    ledger.sent(packet)
            try:
                frames = self._stream.decode(packet)
            except EOFError:
                frames = []
            except FFmpegError:
                self._count_corrupt()
                ledger.failed(packet.pts if packet is not None else None)
                frames = []
            for frame in frames:
                self._count_good()
                ledger.came(frame.pts)
                yield frame
            if packet is None:
                self._ended = True
                return

    def _count_damaged(self, packet: Packet[Stream]) -> None:
        """Counts packets that the demuxer calls damaged; not those before a new clock, where files were joined."""
        number, dts = packet.stream_index, packet.dts
        before, left = self._doubtful.pop(number, (math.inf, 0))
        restarts = dts is not None and dts <= before
        if left and not restarts:
            if packet.is_corrupt or left == 1:
                self.report.damaged_packets += 1
            else:
                self._doubtful[number] = before, left - 1
        if packet.is_corrupt:
            self._doubtful[number] = -math.inf if dts is None else dts, 2

    def _check_order(self, ahead: int) -> None:
        """A packet is shown some frames after it is decoded, never hours."""
        if abs(ahead * self._base) > LONGEST_GAP_SECONDS and not self._unordered:
            self._unordered = True
            self.report.structure_faults += 1
            self.report.say("the times at which packets are decoded and shown are hours apart: the file is damaged")

    def _new_ledger(self) -> Ledger:
        return Ledger(max(1, round(1 / ((self._rate or FALLBACK_RATE) * self._base))))

    def _decoded(self, frame: VideoFrame, ticks: int, was_interlaced: bool, came: VideoFrame) -> DecodedFrame:
        def full() -> npt.NDArray[np.uint8]:
            return self._full(frame, orientation_of(frame, self.report))

        def deep() -> npt.NDArray[np.uint16]:
            return self._deep(frame, orientation_of(frame, self.report))

        picture = Picture(
            full,
            deep if self._is_deep else None,
            lambda: self._planes_of(frame),
            pts=ticks,
            time_base=self._base,
            duration=self._duration_of(came),
            captions=self._captions_of(frame),
        )
        return DecodedFrame(self._seconds(ticks), lambda: self._convert(frame, was_interlaced), picture)

    def _planes_of(self, frame: VideoFrame) -> Planes | None:
        """The frame's own memory; None where its picture is of another form, turned, or of another size than the rest.

        A frame without tags has the matrix that players assume.
        """
        height, width = self.info.height, self.info.width
        whole = (frame.height, frame.width) == (height, width) and not (height % 2 or width % 2)
        if not whole or frame.format.name not in _AS_ENCODED or orientation_of(frame, self.report) != Orientation():
            return None
        matrix = self._full.matrix_of(frame)
        parts = [
            np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]  # type: ignore[call-overload]
            for plane in frame.planes
        ]
        return Planes(
            (parts[0], parts[1], parts[2]),
            _BT601 if matrix == UNSPECIFIED else matrix,
            int(frame.color_range) == _FULL_RANGE or frame.format.name.startswith("yuvj"),
        )

    def _duration_of(self, frame: VideoFrame) -> int | None:
        base = frame.time_base or self._base
        return round(frame.duration * Fraction(base.numerator, base.denominator) / self._base) or None

    def _captions_of(self, frame: VideoFrame) -> VideoFrame | None:
        if _CAPTIONS not in (side_data_of(frame) or ()):
            return None
        # What is derived from a frame keeps its side data, and there is no other way to hand it on.
        return self._shrink.reformat(frame, width=16, height=16, format="gray", interpolation=_POINT, threads=1)

    def _convert(self, frame: VideoFrame, was_interlaced: bool) -> npt.NDArray[np.uint8]:
        if frame.is_corrupt:
            self.report.concealed += 1
        if was_interlaced and self._options.deinterlace == "off":
            self.report.combed += 1
        elif was_interlaced:
            self.report.deinterlaced += 1
        orientation = orientation_of(frame, self.report)
        coded = (frame.width, frame.height) if orientation.rotation % 180 else (frame.height, frame.width)
        if coded != (self.info.height, self.info.width):
            self.report.say(
                f"the picture changes its size during the video, from {self.info.width}x{self.info.height} to "
                f"{coded[1]}x{coded[0]}; it is shown at the first size"
            )
        return self._small(frame, orientation)

    def _seconds(self, ticks: int) -> float:
        return float((ticks - self._origin) * self._base)

    def _promised_end(self) -> Fraction | None:
        """Seconds after the first frame at which the video ends, as the container says; None where it does not say."""
        format_names = self._container.format.name.split(",")
        stream = self._stream
        origin = self._origin * self._base
        tag = next((text for key, text in stream.metadata.items() if key.upper().startswith("DURATION")), None)
        if tag is not None and (end := _clock_time(tag)) is not None:
            return end - origin
        if "mov" in format_names and stream.duration:
            begin = stream.start_time if stream.start_time is not None else self._origin
            return (begin + stream.duration) * self._base - origin
        if "mxf" in format_names and stream.duration:
            return stream.duration * self._base
        if "avi" in format_names and stream.frames and self._rate:
            return stream.frames / self._rate
        # Sound may last longer than the picture, so the whole file's length says something only where it is alone.
        alone = all(other is stream or other.type not in ("audio", "video") for other in self._container.streams)
        if "matroska" in format_names and alone and self._container.duration:
            begin = self._container.start_time or 0
            return Fraction(begin + self._container.duration, 1_000_000) - origin
        return None

    def _promised_seconds(self) -> float | None:
        end = self._promised_end()
        if end is not None:
            return float(end)
        if self._stream.duration:
            return float(self._stream.duration * self._base)
        return self._container.duration / 1_000_000 if self._container.duration else None

    def _compare_with_promise(self) -> None:
        """At the end of the source: says so if the container promised more."""
        self._note_faults(self.info.path)
        self._compare_with_index()
        promised, last = self._promised_end(), self._clock.last
        if promised is None or last is None or self.info.live:
            return
        if 0 < self._stream.frames <= self._packets:
            return  # all there: an edit list may hide some, and then the times fall short
        step = float(self._clock.step * self._base)
        self._note_missing(float(promised), self._seconds(last) + step, step)

    def _compare_with_index(self) -> None:
        """At the end of a file whose index lists every packet: counts those that did not come."""
        names = self._container.format.name.split(",")
        if self._sought or not {"mov", "avi"} & set(names):
            return
        # An .avi repeats a picture by an empty entry; elsewhere it is one that was lost.
        listed = sum(entry.size > 0 or "avi" not in names for entry in self._stream.index_entries)
        if listed > self._packets:
            self.report.lost_frames += listed - self._packets
            self.report.say(f"the index lists {listed} frames, {self._packets} of them could be read")

    def _look_back(self) -> None:
        ledger, report = self._ledger, self.report
        if self._ended:
            ledger.close()
        report.damaged_packets += len(self._doubtful)
        if not self._sought:
            report.skipped_at_start = ledger.early
        if report.skipped_at_start and not self._live:
            report.say(
                f"{_count(ledger.early, 'packet')} before the first frame cannot be decoded: the key frame before is "
                "missing, as where a recording starts in the middle"
            )
        if ledger.lost:
            report.lost_frames += ledger.lost
            report.say(f"{_count(ledger.lost, 'frame')} lost: the packets gave no picture")
        if not self._live:
            self._look_for_gaps(explained=report.lost_frames + report.skipped_corrupt)

    def _look_for_gaps(self, *, explained: int) -> None:
        names = set(self._container.format.name.split(","))
        if not self._times_tell(names):
            return
        constant = bool(names & CONSTANT_RATE_FORMATS)
        most = MOST_GAPS_CONSTANT_RATE if constant else MOST_GAPS
        gaps = self._steps.gaps(base=self._base, rate=self._rate, most=most)
        if gaps is not None and gaps.frames > explained:
            self.report.lost_frames += gaps.frames - explained
            self.report.say(
                f"{_count(gaps.count, 'gap')} in the times of the frames, where about {_count(gaps.frames, 'frame')} "
                f"should be; the longest is {float(gaps.longest * self._base):.2f} seconds, after "
                f"{self._seconds(gaps.at):.2f}"
            )

    def _times_tell(self, names: set[str]) -> bool:
        """Whether a hole in the times may be a loss: where an index lists every frame, it is not."""
        if "mov" in names:
            return self._stream.frames == 0 or self._ledger.hidden > 0  # in fragments, or an edit list that hides some
        if "avi" in names:
            return not self._sought and len(self._stream.index_entries) < self._packets
        return not names & {"gif", "apng", "image2"}


class _Converter:
    """Makes upright RGB arrays of one size, uint16 if `deep`, of frames with transparent parts on white if `on_paper`.

    May be called from any thread, one call at a time.

    PyAV writes colour tags into the frame while it converts, so two conversions must not overlap.
    """

    def __init__(
        self, size: tuple[int, int], report: DecodeReport, *, on_paper: bool = False, deep: bool = False
    ) -> None:
        self._size = size
        self._on_paper = on_paper
        self._report = report
        self._format = "rgb48le" if deep else "rgb24"
        self._reformatter = VideoReformatter()
        self._unweaver = VideoReformatter()
        self._lock = threading.Lock()

    def __call__(self, frame: VideoFrame, orientation: Orientation) -> npt.NDArray[Any]:
        height, width = self._size if orientation.rotation % 180 == 0 else self._size[::-1]
        scaled = (frame.height, frame.width) != (height, width)
        planar = _PLANAR.get(frame.format.name)
        with self._lock:
            if self._on_paper and any(component.is_alpha for component in frame.format.components):
                rgba = self._unweaver.reformat(frame, format=_WITH_ALPHA[self._format], threads=1)
                frame = VideoFrame.from_ndarray(on_white(rgba.to_ndarray()), format=self._format)
            source = frame
            if planar is not None and not scaled:
                source = self._unweaver.reformat(frame, format=planar, threads=1)
            out = self._reformatter.reformat(
                source,
                width=width,
                height=height,
                format=self._format,
                src_colorspace=self.matrix_of(frame),
                # PyAV 16 minds the matrix only where it differs from this one.
                dst_colorspace=UNSPECIFIED,
                interpolation=(_AREA | _FULL_CHROMA) if scaled else _BILINEAR,
                threads=1,  # else swscale starts some for each frame
            )
            rgb: npt.NDArray[Any] = out.to_ndarray()
        if orientation != Orientation():
            return orientation.upright(rgb)
        # A frame that is RGB already comes back as itself; the array would be the decoder's own memory.
        return rgb.copy() if out is frame else rgb

    def matrix_of(self, frame: VideoFrame) -> int:
        """The matrix to convert with: the one the frame is tagged with, wherever that is one."""
        tagged = int(frame.colorspace)
        if tagged == UNSPECIFIED:
            untagged_hd = frame.height >= BT709_FROM_LINES and not frame.format.is_rgb
            return _BT709 if untagged_hd else UNSPECIFIED
        if tagged in _CONVERTIBLE_COLORSPACES:
            return tagged
        stand_in, name = (_BT2020, "BT.2020") if tagged == _BT2020_CONSTANT_LUMINANCE else (_BT709, "BT.709")
        self._report.say(f"colours are approximate: the matrix number {tagged} is converted as {name}")
        return stand_in


def _side_data(frame: VideoFrame) -> tuple[tuple[str, bytes], ...]:
    return tuple((data.type.name, bytes(data)) for data in side_data_of(frame) or ())


def _set_threads(stream: VideoStream, threads: int, *, live: bool) -> None:
    if threads == 0:
        cores = usable_cores()
        large = stream.codec_context.width * stream.codec_context.height >= THREADS_FROM_PIXELS
        threads = min(cores - 1, MAX_THREADS) if large and cores > 2 else 1
    # Threads that share out the frames hold one back each.
    stream.thread_type = "SLICE" if live else "AUTO"
    stream.thread_count = threads


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _fraction(value: Any) -> Fraction | None:
    """PyAV's rational as a `Fraction`; None where unset: `None`, 0 or, from 19 on, a falsy `AVRational`."""
    return Fraction(value.numerator, value.denominator) if value else None


def _clock_time(text: str) -> Fraction | None:
    """Matroska's "00:01:02.500000000" in seconds."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text.strip())
    return None if match is None else int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3])


def _strip(error: BaseException) -> str:
    """The message without the number in front."""
    return getattr(error, "strerror", None) or str(error)


def _why_not_opened(source: str, file: str | Path | BinaryIO, error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return f"{source} cannot be read: {_strip(error)}; change its permissions"
    if not isinstance(file, (str, Path)):
        return f"{source} is not a video that can be read from a pipe: {_strip(error)}; {_PIPE_HINT}"
    if isinstance(error, InvalidDataError):
        return (
            f"{source} is not a video or image that FFmpeg can open: {_strip(error)}; it may be of another kind, "
            "or cut off before its header (an mp4 file keeps it at the end)"
        )
    return f"{source} cannot be opened: {_strip(error)}; check that it exists and can be read"
