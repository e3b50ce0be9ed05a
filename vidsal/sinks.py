"""`SaliencyBatch`es come in, files go out: the overlaid video, the maps, the table, a picture.

A sink writes to `NAME.partial.EXT` beside its target and renames at the end, so no half file ever
has the final name. Left with an error, it closes the partial file cleanly and keeps it if it holds a frame.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.reformatter import Colorspace, VideoReformatter

from vidsal.decode import VideoInfo
from vidsal.errors import ConfigError, EncodeError
from vidsal.frames import Picture, SaliencyBatch
from vidsal.render import RenderOptions, ScalePerShot, draw
from vidsal.tracks import FrameNumbers, Tracker

__all__ = ["MAPS_FULL_SCALE", "ImageSink", "MapsSink", "Sink", "TableSink", "VideoOptions", "VideoSink"]

MAPS_FULL_SCALE = 256.0
"""Relative density (density times cells, uniform is 1) that the largest value, 65535, of a map video stands for."""

LATEST_START_SECONDS = 60.0
"""Sources that begin later than this (recordings of broadcasts) are moved to begin at 0; others keep their times."""

MAX_COPY_FAULTS = 1000
"""Packets of copied streams that are skipped as unreadable or unwritable; one more ends the copying."""


class Sink(Protocol):
    """Where results leave. Entered before the first batch, left after the last; one verb between."""

    @property
    def path(self) -> Path:
        """The file that is there once the sink was left without an error."""
        ...

    def write(self, batch: SaliencyBatch) -> None:
        """Takes the next frames.

        Raises:
            EncodeError: the result cannot be written.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How the overlaid video is encoded."""

    encoder: str = "libx264"
    """FFmpeg's name of the video encoder: libx264, libx265, libsvtav1, h264_nvenc, hevc_nvenc, mpeg4, ..."""
    preset: str = "fast"
    """Speed of the encoder, from ultrafast over fast and medium to veryslow; slower gives smaller files."""
    crf: int = 20
    """Quality, 0 (best, largest) to 51 (63 for libsvtav1 and libvpx-vp9); about 18 looks like the source."""
    keep_streams: bool = True
    """Copies sound, subtitles and further streams from the input, without re-encoding."""

    def __post_init__(self) -> None:
        if not self.encoder or not self.preset:
            raise ConfigError("encoder and preset must not be empty; leave them out for libx264 and fast")
        if not 0 <= self.crf <= 63:
            raise ConfigError(f"crf must be from 0 (best) to 63, got {self.crf}")


class _FileSink(ABC):
    """The life of every sink here: check the target early, write a partial file, rename or keep or remove it."""

    suffixes: tuple[str, ...]

    def __init__(self, target: str | Path, *, overwrite: bool, source: Path | None = None) -> None:
        target = Path(target)
        if target.suffix.lower() not in self.suffixes:
            raise ConfigError(f"{target} must end in one of {', '.join(self.suffixes)}")
        self._overwrite = overwrite
        self._source = source
        self._target = target
        self._frames = 0
        self._broken = False
        self._check_target()

    messages: list[str]
    """Sentences for a person about what was changed, left out or repaired."""

    @property
    def path(self) -> Path:
        """The file that is there once the sink was left without an error."""
        return self._target

    @property
    def partial_path(self) -> Path:
        """The file that is written until then."""
        return self._target.with_name(f"{self._target.stem}.partial{self._target.suffix}")

    def write(self, batch: SaliencyBatch) -> None:
        """Writes the next frames.

        Raises:
            EncodeError: the disk is full, the file or the encoder fails.
        """
        if self._broken:
            raise EncodeError(f"{self.partial_path} could not be written earlier; nothing more goes into it")
        self._write(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finishes and renames the file; after an error, closes the partial file and keeps it if it holds a frame.

        Raises:
            EncodeError: the end of the file cannot be written, or no frame ever came.
        """
        if kind is not None or self._broken:
            # The first error is the one to tell; what closing adds to it is not.
            with suppress(EncodeError, OSError, FFmpegError):
                self._close(complete=False)
            if not self._frames:
                self._remove_partial()
            return
        if not self._frames:
            self._close(complete=False)
            self._remove_partial()
            raise EncodeError(f"{self._target} was not written: no frame came; choose another time range or source")
        self._close(complete=True)
        with self._telling():
            self.partial_path.replace(self._target)

    @abstractmethod
    def _write(self, batch: SaliencyBatch) -> None:
        """Writes a batch, counting `_frames`."""

    @abstractmethod
    def _close(self, *, complete: bool) -> None:
        """Ends and closes the partial file; `complete` is False after an error."""

    def _check_target(self) -> None:
        target, folder = self._target, self._target.parent
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise EncodeError(f"cannot write {target}: {folder} {what}; make the folder or choose another one")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise EncodeError(f"cannot write {target}: no permission to write into {folder}; choose another folder")
        if target.is_dir():
            raise EncodeError(f"cannot write {target}: it is a folder; choose another name")
        if target.exists():
            if self._source is not None and self._source.exists() and target.samefile(self._source):
                raise EncodeError(f"{target} is the source itself; choose another name for the result")
            if not self._overwrite:
                raise EncodeError(f"{target} exists already; use --overwrite to replace it, or choose another name")

    def _remove_partial(self) -> None:
        self.partial_path.unlink(missing_ok=True)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turns what the system or FFmpeg raises while writing into an `EncodeError` that says what to do."""
        try:
            yield
        except (FFmpegError, OSError, ValueError) as error:
            self._broken = True
            number = getattr(error, "errno", None)
            if number in _FULL_DISK:
                raise EncodeError(
                    f"cannot write {self.partial_path}: the disk is full ({os.strerror(number)}); "
                    "free some space or choose another folder"
                ) from error
            reason = getattr(error, "strerror", None) or error
            raise EncodeError(f"cannot write {self.partial_path}: {reason}") from error


_FULL_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class VideoSink(_FileSink):
    """Writes the video with the heat over it; sound, subtitles and further streams are copied from the source.

    Every frame is written once, at its own time in the source's time base (a .mkv rounds times to
    milliseconds). Pixels stand upright, are 8-bit 4:2:0, and keep the source's matrix, range, primaries,
    transfer curve and pixel shape. An .mp4 that is killed stays readable up to about the last second.

    Where the target cannot hold a stream that a .mkv can, the result becomes a .mkv: look at `path`.
    What is changed or left out stands in `messages`.

    Args:
        target: .mp4, .mov or .mkv.
        info: the source.
        video: encoder and quality.
        render: how the density is drawn.
        overwrite: replaces a target that exists.
        start_seconds: start of the part that is read, in seconds after the source's first frame; above 0, the
            result begins at 0 and sound before the first frame is left out.
        end_seconds: end of that part, not included; sound from there on is left out; None: the end.

    Raises:
        ConfigError: the target's ending is none of the three.
        EncodeError: the target exists or cannot be written, or the encoder is not available.
    """

    suffixes = (".mp4", ".mov", ".mkv")

    def __init__(
        self,
        target: str | Path,
        info: VideoInfo,
        *,
        video: VideoOptions | None = None,
        render: RenderOptions | None = None,
        overwrite: bool = False,
        start_seconds: float = 0.0,
        end_seconds: float | None = None,
    ) -> None:
        super().__init__(target, overwrite=overwrite, source=info.path)
        self.messages = []
        self._info = info
        self._video = video or VideoOptions()
        self._render = render or RenderOptions()
        self._start_seconds = start_seconds
        self._end_seconds = end_seconds
        self._scales = ScalePerShot(self._render.scale)
        self._color = _OutputColor.of(info)
        self._reformatter = VideoReformatter()
        width = info.width * (2 if self._render.side_by_side else 1)
        self._size = (info.height + info.height % 2, width + width % 2)
        if self._size != (info.height, width):
            self.messages.append(
                f"the video is {self._size[1]}x{self._size[0]} instead of {width}x{info.height}: sides must be even, "
                "so the last column or row is repeated"
            )
        self._out: Any = None
        self._stream: Any = None
        self._time_base = Fraction(1, 90000)
        self._step = 0
        self._shift = 0
        self._last_pts: int | None = None
        self._bumped = 0
        self._copier: _Copier | None = None
        self._window: _Window | None = None
        self._late: list[int] = []
        if self._video.keep_streams and info.kind == "video" and info.path is not None and info.path.is_file():
            self._copier = self._plan_copies(info.path)
        try:
            self._probe_encoder()
        except EncodeError:
            self._close(complete=False)
            raise

    def _plan_copies(self, source: Path) -> _Copier:
        copier = _Copier(source, skip=self._info.stream_index, messages=self.messages)
        left_out = copier.left_out_by(self._target.suffix)
        if left_out and self._target.suffix.lower() != ".mkv":
            left_out_by_mkv = copier.left_out_by(".mkv")
            if len(left_out_by_mkv) < len(left_out):
                asked = self._target
                self._target = asked.with_suffix(".mkv")
                self.messages.append(
                    f"{self._target.name} is written instead of {asked.name}: a {asked.suffix} file cannot hold "
                    + ", ".join(_describe(stream) for stream in left_out)
                )
                left_out = left_out_by_mkv
                self._check_target()
        for stream in left_out:
            self.messages.append(f"left out, as a {self._target.suffix} file cannot hold it: {_describe(stream)}")
        copier.leave_out(left_out)
        if self._target.suffix.lower() != ".mkv":
            # FFmpeg's fragmented mp4 breaks on text subtitles (wrong times, even an abort), loses covers, and keeps
            # everything in memory until each stream has begun: such streams are added at the end.
            late = [stream for stream in copier.streams if copier.is_late(stream)]
            self._late = [stream.index for stream in late]
            copier.leave_out(late)
        return copier

    def _probe_encoder(self) -> None:
        """Encodes one grey frame into memory: hardware encoders fail only there."""
        time_base = self._info.time_base or self._time_base
        try:
            with av.open(io.BytesIO(), "w", format=_FORMATS[self._target.suffix.lower()]) as out:
                stream = self._add_video(out, time_base)
                frame = av.VideoFrame.from_ndarray(np.full((*self._size, 3), 128, np.uint8), format="rgb24")
                stream.encode(self._to_yuv(frame, 0, time_base))
                stream.encode(None)
                out.start_encoding()
        except (FFmpegError, ValueError, OSError) as error:
            raise EncodeError(
                f"the encoder {self._video.encoder!r} (preset {self._video.preset!r}, crf {self._video.crf}) cannot "
                f"make a {self._size[1]}x{self._size[0]} {self._target.suffix} video here: {error}; "
                "use --encoder libx264 or another one that this machine has"
            ) from error

    def _add_video(self, out: Any, time_base: Fraction) -> Any:
        rate = self._info.rate
        if rate is None or not 0 < rate <= 1000:
            rate = Fraction(25)
        stream = out.add_stream(self._video.encoder, rate=rate, options=_encoder_options(self._video))
        context = stream.codec_context
        formats = [known.name for known in context.codec.video_formats or ()]
        if "yuv420p" not in formats and formats:
            raise ValueError("it does not take 8-bit 4:2:0 pictures (yuv420p)")
        context.height, context.width = self._size
        context.pix_fmt = "yuv420p"
        context.time_base = time_base
        context.sample_aspect_ratio = self._info.sample_aspect_ratio
        context.colorspace = self._color.matrix
        context.color_range = self._color.range
        context.color_primaries = self._info.color_primaries
        context.color_trc = self._info.color_trc
        if context.codec.canonical_name == "hevc" and self._target.suffix.lower() != ".mkv":
            context.codec_tag = "hvc1"  # Apple's players open no other
        stream.time_base = time_base
        return stream

    def _to_yuv(self, frame: av.VideoFrame, pts: int, time_base: Fraction) -> av.VideoFrame:
        # An RGB frame is converted with BT.601 whatever the stream is tagged with, unless told otherwise.
        frame = self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=_SWSCALE[self._color.matrix],
            dst_color_range=self._color.range,
            **_ONE_THREAD,
        )
        frame.colorspace = self._color.matrix
        frame.pts, frame.time_base = pts, time_base
        if self._step:
            frame.duration = self._step
        return frame

    def _open(self, picture: Picture, pts_seconds: float) -> None:
        """Opens the partial file once the first frame has told where time begins."""
        self._time_base = picture.time_base or self._info.time_base or self._time_base
        if self._time_base.denominator > _FINEST_CLOCK:
            self._time_base = Fraction(1, _FINEST_CLOCK)
            self.messages.append("times are rounded to microseconds")
        if self._info.rate:
            self._step = max(1, round(1 / (self._info.rate * self._time_base)))
        begin = self._ticks(picture, pts_seconds)
        # Seconds of the source's first frame on the source's own clock.
        origin = begin * self._time_base - Fraction(pts_seconds).limit_denominator(10**7)
        copier = self._copier
        if self._start_seconds > 0 or begin < 0:
            self._shift = begin
            if begin < 0:
                self.messages.append("the source's times begin below 0; all streams are moved to begin the video at 0")
        else:
            start = begin * self._time_base
            if copier is not None and copier.start is not None:
                start = min(start, copier.start)
            if start > LATEST_START_SECONDS:
                self._shift = int(start / self._time_base)
                self.messages.append(f"the source's times begin at {float(start):.3f} seconds; the result begins at 0")
        with self._telling():
            suffix = self._target.suffix.lower()
            # Written in pieces of half a second and flushed, so that a kill loses little; a sparse stream may not hold
            # back the others for long.
            options = {"flush_packets": "1", "max_interleave_delta": "2000000"}
            if suffix == ".mkv":
                options |= {"cluster_time_limit": "1000"}
            else:
                # Without the delay the first piece has wrong times, which shows in a killed file; AAC from a transport
                # stream does not bear it, and FFmpeg 8.0 damages the whole file with it.
                raw_aac = copier is not None and copier.has_raw_aac
                delay = "+delay_moov" if _DELAY_IS_SAFE and not raw_aac else ""
                options |= {"movflags": f"hybrid_fragmented{delay}", "frag_duration": "500000"}
                options |= self._mp4_options(copier)
            self._out = av.open(str(self.partial_path), "w", format=_FORMATS[suffix], container_options=options)
            self._stream = self._add_video(self._out, self._time_base)
            if copier is not None:
                self._window = _Window(
                    shift=self._shift * self._time_base,
                    start=begin * self._time_base if self._start_seconds > 0 else None,
                    end=None if self._end_seconds is None else origin + Fraction(self._end_seconds),
                )
                copier.attach(self._out, self._stream, window=self._window)

    def _mp4_options(self, copier: _Copier | None) -> dict[str, str]:
        # Start times are kept by edit lists, whose clock must be as fine as the streams'.
        clock = self._time_base.denominator
        for stream in copier.streams if copier is not None else ():
            if stream.type == "audio":
                clock = math.lcm(clock, stream.codec_context.sample_rate or 1)
        if clock > _FINEST_CLOCK:
            clock = self._time_base.denominator
        return {"use_editlist": "1", "avoid_negative_ts": "disabled", "movie_timescale": str(clock)}

    def _ticks(self, picture: Picture, pts_seconds: float) -> int:
        """The frame's time in units of the output, on the source's clock."""
        if picture.pts is not None and picture.time_base is not None:
            return round(picture.pts * picture.time_base / self._time_base)
        start = self._copier.video_start if self._copier is not None else 0
        return round((Fraction(pts_seconds) + start) / self._time_base)

    def _write(self, batch: SaliencyBatch) -> None:
        if not batch.pictures:
            raise ValueError("a video needs the full pictures: open the source with keep_pictures=True")
        densities = batch.density.cpu().numpy()
        for i, scale in enumerate(self._scales.update(batch).tolist()):
            picture, pts_seconds = batch.pictures[i], float(batch.pts_seconds[i])
            if self._out is None:
                self._open(picture, pts_seconds)
            drawn = draw(picture.rgb(), densities[i], scale=scale, options=self._render)
            self._encode(drawn, self._ticks(picture, pts_seconds) - self._shift)

    def _encode(self, drawn: npt.NDArray[np.uint8], pts: int) -> None:
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1
            self._bumped += 1
        if self._last_pts is not None and pts - self._last_pts > _LONGEST_GAP_TICKS:
            gap = float((pts - self._last_pts) * self._time_base)
            raise EncodeError(
                f"cannot write {self.partial_path}: the source's clock jumps by {gap:.0f} seconds between two frames; "
                "choose a part of it with start and end, or repair its times"
            )
        self._last_pts = pts
        down, right = self._size[0] - drawn.shape[0], self._size[1] - drawn.shape[1]
        if down or right:
            drawn = np.pad(drawn, ((0, down), (0, right), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(drawn, format="rgb24")
        with self._telling():
            self._mux(self._stream.encode(self._to_yuv(frame, pts, self._time_base)))
            self._frames += 1

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if packet.dts is None or abs(packet.pts - packet.dts) > _LONGEST_GAP_TICKS:
                packet.dts = packet.pts  # libx265 leaves it unset where it gets a single frame
            written_until = None if packet.dts is None else packet.dts * Fraction(packet.time_base)
            self._out.mux(packet)
            # Copies follow the encoder, which runs behind the frames: neither waits in memory for the other.
            if self._copier is not None and written_until is not None:
                self._copier.copy_until(written_until)

    def _last_packets(self) -> list[Any]:
        """What the encoder still holds; the last packet lasts until the video ends."""
        packets: list[Any] = self._stream.encode(None)
        if packets and self._last_pts is not None:
            # An mp4 ends where its last packet does, in coding order: frames shown after it would be cut off.
            end = self._last_pts + max(1, self._step)
            packets[-1].duration = max(packets[-1].duration or 0, end - packets[-1].pts)
        return packets

    def _add_late_streams(self) -> None:
        """Rewrites the finished partial file with the streams of the source that had to wait."""
        if self._info.path is None or self._window is None:
            return
        whole = self.partial_path.with_suffix(f".2{self._target.suffix}")
        late = _Copier(self._info.path, skip=self._info.stream_index, messages=self.messages)
        try:
            late.leave_out([stream for stream in late.streams if stream.index not in self._late])
            options = self._mp4_options(self._copier)
            with (
                av.open(str(self.partial_path)) as written,
                av.open(
                    str(whole), "w", format=_FORMATS[self._target.suffix.lower()], container_options=options
                ) as out,
            ):
                streams = [stream for stream in written.streams if not _is_chapter_track(stream)]
                copies = {stream.index: _add_copy(out, stream) for stream in streams}
                late.attach(out, copies[0], window=self._window)
                for packet in written.demux(*streams):
                    if packet.size == 0 or packet.dts is None:
                        continue
                    late.copy_until(packet.dts * Fraction(packet.time_base))
                    packet.stream = copies[packet.stream.index]
                    out.mux(packet)
                late.copy_until(None)
            whole.replace(self.partial_path)
        finally:
            late.close()
            whole.unlink(missing_ok=True)

    def _close(self, *, complete: bool) -> None:
        try:
            if self._out is None:
                return
            with self._telling():
                try:
                    if not self._broken:
                        self._mux(self._last_packets())
                        if complete and self._copier is not None:
                            self._copier.copy_until(None)
                finally:
                    self._out.close()
                if complete and self._late:
                    self._add_late_streams()
        finally:
            self._out = None
            if self._copier is not None:
                self._copier.close()
            if self._bumped:
                self.messages.append(f"{self._bumped} frames had a time at or before the frame before: moved behind it")
                self._bumped = 0


# Before 17 swscale had no threads here; since, it starts some for each frame unless told not to.
_ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".", maxsplit=1)[0]) >= 17 else {}

_DELAY_IS_SAFE = av.library_versions["libavformat"] >= (62, 12)

_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}

_FINEST_CLOCK = 1_000_000
"""Units a second of the finest clock that is written."""

_LONGEST_GAP_TICKS = 2**30
"""An mp4 has 31 bits for the time from a packet to the next, and FFmpeg aborts the process beyond."""

_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7} | ({9: 9} if hasattr(Colorspace, "BT2020") else {})
"""FFmpeg's number of a matrix to swscale's; PyAV before 18 has no BT.2020."""


@dataclass(frozen=True)
class _OutputColor:
    """Matrix and range of the encoded video, FFmpeg's numbers."""

    matrix: int
    range: int

    @classmethod
    def of(cls, info: VideoInfo) -> _OutputColor:
        """The source's, where YUV 4:2:0 has it; else what players assume: BT.709 from 720 coded lines up, or BT.601."""
        rgb = info.colorspace == 0 or any(name in (info.pix_fmt or "") for name in ("rgb", "bgr", "gbr", "pal8"))
        full = not rgb and (info.color_range == 2 or (info.pix_fmt or "").startswith("yuvj"))
        if info.colorspace in _SWSCALE:
            matrix = info.colorspace
        elif info.colorspace == 10 and 9 in _SWSCALE:  # BT.2020 with constant luminance: the usual one is the nearest
            matrix = 9
        else:
            lines = info.width if info.rotation % 180 else info.height
            matrix = 1 if lines >= 720 or info.colorspace not in (0, 2) else 6
        return cls(matrix, 2 if full else 1)


_SVT_PRESETS = {
    "ultrafast": "12",
    "superfast": "11",
    "veryfast": "10",
    "faster": "9",
    "fast": "8",
    "medium": "6",
    "slow": "4",
    "slower": "3",
    "veryslow": "2",
}


def _encoder_options(video: VideoOptions) -> dict[str, str]:
    """Preset and quality in the words of the encoder."""
    name, crf = video.encoder, str(video.crf)
    if name.startswith("libx26"):
        quiet = {"x265-params": "log-level=error"} if name == "libx265" else {}
        return {"preset": video.preset, "crf": crf, **quiet}
    if name.endswith("_nvenc"):
        return {"preset": video.preset, "rc": "vbr", "cq": crf}
    if name == "libsvtav1":
        return {"preset": _SVT_PRESETS.get(video.preset, video.preset), "crf": crf}
    if name.startswith(("libvpx", "libaom")):
        return {"crf": crf, "cpu-used": "4", "row-mt": "1"}
    # The classic codecs: quantiser 1 to 31, as FFmpeg's -q:v, on the same footing as crf near 20.
    quantiser = min(31, max(1, round(2 ** ((video.crf - 12) / 6) + 0.5)))
    return {"flags": "+qscale", "global_quality": str(quantiser * 118)}


@dataclass(frozen=True)
class _Window:
    """The part of the source that is written, in seconds on the source's own clock."""

    shift: Fraction
    """Taken off every time."""
    start: Fraction | None
    """Packets before are left out; None: from the beginning."""
    end: Fraction | None
    """Packets from here on are left out; None: to the end."""


class _Copier:
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
        self._shift = Fraction(0)
        self._start: Fraction | None = None
        self._end: Fraction | None = None

    def _is_remade(self, stream: Any) -> bool:
        """Whether the muxer makes a track itself, from the chapters or from the video's time code."""
        if stream.type != "data":
            return False
        coded = self._video is not None and "timecode" in self._video.metadata and "timecode" in stream.metadata
        return coded or (bool(self.chapters) and _is_chapter_track(stream))

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
        return [stream for stream in self.streams if not _can_hold(_FORMATS[suffix.lower()], stream)]

    def leave_out(self, streams: list[Any]) -> None:
        """Gives up copying these."""
        gone = {stream.index for stream in streams}
        self.streams = [stream for stream in self.streams if stream.index not in gone]

    def attach(self, out: Any, encoded: Any, *, window: _Window) -> None:
        """Adds the copies to `out` and names everything, its video stream `encoded` too, as the source does."""
        self._out = out
        self._shift, self._start, self._end = window.shift, window.start, window.end
        if self._video is not None:
            encoded.metadata.update(_kept(self._video.metadata))
            encoded.disposition = self._video.disposition.value
        for stream in self.streams:
            if _is_cover(stream) and out.format.name == "matroska":
                self._attach_cover(out, stream)
                continue
            copy = _add_copy(out, stream)
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
            out.add_attachment(f"cover.{'png' if kind == 'png' else 'jpg'}", f"image/{kind}", bytes(packet))

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copies what comes up to a time of the output; None: all that is left."""
        while not self._ended:
            packet = self._waiting if self._waiting is not None else next(self._packets, None)
            self._waiting = None
            if packet is None:
                self._ended = True
                return
            time = packet.dts * Fraction(packet.time_base)
            if seconds is not None and time - self._shift > seconds and not _is_cover(packet.stream):
                self._waiting = packet
                return
            if self._end is not None and time > self._end + _LONGEST_LAG_SECONDS:
                self._ended = True
                return
            self._copy(packet)

    def close(self) -> None:
        """Closes the source; says what was lost."""
        if self._faults:
            self._messages.append(
                f"{self._faults} broken packets were left out while copying sound and further streams"
            )
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
                    if packet.dts is None:
                        if not self._fault():
                            return
                        continue
                    if self._on_clock(packet):
                        yield packet
                    elif not self._fault():
                        return
                return
            except (FFmpegError, OSError):
                if not self._fault():
                    return

    def _on_clock(self, packet: Any) -> bool:
        """Moves a packet along where the source's clock has started anew; False for a time that cannot be."""
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
            ticks = round(self._shift / base)
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
        begin = (packet.dts if packet.pts is None else packet.pts) * base
        if self._end is not None and begin >= self._end:
            return False
        if self._start is not None and begin < self._start:
            late = begin + (packet.duration or 0) * base - self._start
            if packet.stream.type != "subtitle" or late <= 0:
                return False
            packet.pts = packet.dts = math.ceil(self._start / base)
            packet.duration = max(1, int(late / base))
        if packet.stream.index in self._awaiting_key:
            if not packet.is_keyframe:
                return False
            self._awaiting_key.discard(packet.stream.index)
        return True

    def _shifted_chapters(self) -> list[Any]:
        kept = []
        for chapter in self.chapters:
            base = Fraction(chapter["time_base"])
            begin, end = chapter["start"] * base, chapter["end"] * base
            if self._start is not None:
                begin = max(begin, self._start)
            if self._end is not None:
                end = min(end, self._end)
            if begin < end:
                ticks = [round((time - self._shift) / base) for time in (begin, end)]
                kept.append({**chapter, "start": max(0, ticks[0]), "end": max(0, ticks[1])})
        return kept


_LONGEST_GAP_SECONDS = 3600
"""A longer silence in a copied stream is taken for a broken clock."""

_LONGEST_STEP_BACK_SECONDS = 1
"""A packet that comes before the one before it by more is taken for a broken clock; by less, it is moved behind it."""


def _follows(gap: Fraction) -> bool:
    """Whether a packet may come so many seconds after the end of the one before."""
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
    return packet.size == 2 and _is_text(packet.stream)


def _is_text(stream: Any) -> bool:
    """Whether a stream holds the text subtitles of an mp4."""
    return stream.type == "subtitle" and stream.codec_context is not None and stream.codec_context.name == "mov_text"


def _is_chapter_track(stream: Any) -> bool:
    """The text track in which an mp4 keeps its chapters; they are copied as chapters."""
    return stream.type == "data" and getattr(stream, "name", None) == "bin_data"


def _add_copy(out: Any, stream: Any) -> Any:
    copy = out.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(_kept(stream.metadata))
    copy.disposition = stream.disposition.value
    return copy


def _can_hold(format_name: str, stream: Any) -> bool:
    """Whether a container takes a stream: only writing a header tells."""
    if stream.type == "data" and getattr(stream, "name", None) is None:
        return False  # an mp4 takes the header of nameless data and fails at the end
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as out:
            _add_copy(out, stream)
            out.start_encoding()
    except (FFmpegError, ValueError, OSError):
        return False
    return True


def _describe(stream: Any) -> str:
    context = stream.codec_context
    codec = context.name if context is not None else getattr(stream, "name", None) or "unknown codec"
    language = stream.metadata.get("language")
    return f"{stream.type} stream {stream.index} ({codec}{', ' + language if language else ''})"


class ImageSink(_FileSink):
    """Writes the drawn picture of a source that is one image.

    Args:
        target: .png, .jpg or .jpeg.
        render: how the density is drawn.
        overwrite: replaces a target that exists.
        source: the image itself, which is never replaced.

    Raises:
        ConfigError: the target's ending is none of these.
        EncodeError: the target exists or cannot be written.
    """

    suffixes = (".png", ".jpg", ".jpeg")

    def __init__(
        self,
        target: str | Path,
        *,
        render: RenderOptions | None = None,
        overwrite: bool = False,
        source: Path | None = None,
    ) -> None:
        super().__init__(target, overwrite=overwrite, source=source)
        self.messages = []
        self._render = render or RenderOptions()

    def _write(self, batch: SaliencyBatch) -> None:
        if not batch.pictures:
            raise ValueError("an image needs the full picture: open the source with keep_pictures=True")
        if self._frames or len(batch) > 1:
            raise ValueError("an ImageSink takes one frame; use a VideoSink for more")
        scale = float(ScalePerShot(self._render.scale).update(batch)[0])
        drawn = draw(batch.pictures[0].rgb(), batch.density[0].cpu().numpy(), scale=scale, options=self._render)
        done, coded = cv2.imencode(self._target.suffix.lower(), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        if not done:
            raise EncodeError(f"cannot encode a {drawn.shape[1]}x{drawn.shape[0]} picture as {self._target.suffix}")
        with self._telling():
            self.partial_path.write_bytes(coded.tobytes())
            self._frames = 1

    def _close(self, *, complete: bool) -> None:
        pass


class MapsSink(_FileSink):
    """Writes the densities at the model's size on an absolute scale; nothing is normalised per frame.

    `.mkv` is lossless video (FFV1, 16-bit grey): value = round(density * cells * 65535 / `MAPS_FULL_SCALE`),
    cells being rows times columns, so that a uniform map has the value 256 and
    density = value * vidsal_density_per_unit. Above 256 times uniform the values are clipped (counted in
    `messages`). Times are `pts_seconds`, rounded to milliseconds by the container.

    `.npz` holds log_density (N, h, w) float16 (relative error of the density below 0.4 %), index (N,) int64,
    pts_seconds (N,) float64, shot (N,) int64, height and width of the picture. Memory stays flat: the maps lie
    in a raw file beside the target until the end.

    Args:
        target: .mkv or .npz.
        info: the source; its file is never replaced.
        overwrite: replaces a target that exists.

    Raises:
        ConfigError: the target's ending is none of these.
        EncodeError: the target exists or cannot be written.
    """

    suffixes = (".mkv", ".npz")

    def __init__(self, target: str | Path, info: VideoInfo | None = None, *, overwrite: bool = False) -> None:
        super().__init__(target, overwrite=overwrite, source=None if info is None else info.path)
        self.messages = []
        rate = None if info is None else info.rate
        video = self._target.suffix.lower() == ".mkv"
        self._body: _MapVideo | _MapArrays
        self._body = _MapVideo(self.partial_path, rate=rate) if video else _MapArrays(self.partial_path)

    def _write(self, batch: SaliencyBatch) -> None:
        with self._telling():
            self._body.write(batch)
            self._frames += len(batch)

    def _close(self, *, complete: bool) -> None:
        with self._telling():
            self._body.close()
        clipped = getattr(self._body, "clipped", 0)
        if clipped:
            self.messages.append(
                f"{clipped} cells of the maps lay above {MAPS_FULL_SCALE:g} times uniform and were clipped; "
                ".npz keeps them"
            )


class _MapVideo:
    """The .mkv of `MapsSink`."""

    def __init__(self, path: Path, *, rate: Fraction | None) -> None:
        self.clipped = 0
        self._path = path
        self._rate = rate if rate is not None and 0 < rate <= 1000 else Fraction(25)
        self._out: Any = None
        self._stream: Any = None
        self._last = -1

    def write(self, batch: SaliencyBatch) -> None:
        h, w = batch.log_density.shape[1:]
        if self._out is None:
            self._open(h, w, batch)
        units = batch.density.cpu().numpy().astype(np.float64) * (h * w * 65535 / MAPS_FULL_SCALE)
        self.clipped += int((units > 65535).sum())
        values = np.rint(units.clip(0, 65535)).astype(np.uint16)
        for value, seconds in zip(values, batch.pts_seconds.tolist(), strict=True):
            frame = av.VideoFrame.from_ndarray(value, format="gray16le")
            self._last = max(self._last + 1, round(seconds * 1000))
            frame.pts, frame.time_base = self._last, _MILLISECONDS
            self._out.mux(self._stream.encode(frame))

    def close(self) -> None:
        if self._out is None:
            return
        out, self._out = self._out, None
        try:
            out.mux(self._stream.encode(None))
        finally:
            out.close()

    def _open(self, h: int, w: int, batch: SaliencyBatch) -> None:
        options = {"cluster_time_limit": "1000", "flush_packets": "1"}
        self._out = av.open(str(self._path), "w", format="matroska", container_options=options)
        self._out.metadata.update(
            {
                "vidsal_density_per_unit": repr(MAPS_FULL_SCALE / 65535 / (h * w)),
                "vidsal_full_scale": repr(MAPS_FULL_SCALE),
                "vidsal_picture": f"{batch.width}x{batch.height}",
            }
        )
        self._stream = self._out.add_stream("ffv1", rate=self._rate, options={"level": "3"})
        context = self._stream.codec_context
        context.height, context.width, context.pix_fmt = h, w, "gray16le"
        context.color_range = 2
        context.thread_count = 1  # the maps are small
        context.time_base = _MILLISECONDS


_MILLISECONDS = Fraction(1, 1000)


class _MapArrays:
    """The .npz of `MapsSink`: a raw file grows, and is zipped with its header at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw_path = path.with_suffix(".raw")
        self._raw: IO[bytes] | None = None
        self._shape = (0, 0)
        self._picture = (0, 0)
        self._columns: dict[str, list[Any]] = {"index": [], "pts_seconds": [], "shot": []}

    def write(self, batch: SaliencyBatch) -> None:
        h, w = batch.log_density.shape[1:]
        if self._raw is None:
            self._raw = self._raw_path.open("wb")
            self._shape, self._picture = (h, w), (batch.height, batch.width)
        lowest = float(np.finfo(np.float16).min)
        # Zero density stays finite, so that differences of maps are numbers.
        maps = batch.log_density.clamp(min=lowest).cpu().numpy().astype("<f2")
        self._raw.write(maps.tobytes())
        for name, column in self._columns.items():
            column.append(getattr(batch, name).copy())

    def close(self) -> None:
        if self._raw is None:
            return
        raw, self._raw = self._raw, None
        try:
            raw.close()
            self._zip()
        finally:
            self._raw_path.unlink(missing_ok=True)

    def _zip(self) -> None:
        columns = {name: np.concatenate(column) for name, column in self._columns.items()}
        height, width = self._picture
        # A batch that broke off in the middle does not count.
        count = len(columns["index"])
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            with archive.open("log_density.npy", "w", force_zip64=True) as entry, self._raw_path.open("rb") as raw:
                header = {"descr": "<f2", "fortran_order": False, "shape": (count, *self._shape)}
                np.lib.format.write_array_header_1_0(entry, header)
                left = count * self._shape[0] * self._shape[1] * 2
                while left > 0 and (piece := raw.read(min(left, 1 << 20))):
                    entry.write(piece)
                    left -= len(piece)
            for name, array in {**columns, "height": np.int64(height), "width": np.int64(width)}.items():
                with archive.open(f"{name}.npy", "w") as entry:
                    np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


class TableSink(_FileSink):
    """Writes one row a frame; the columns are those of `vidsal.tracks.FrameNumbers`.

    `.csv` and `.jsonl` are written out after every batch, `.parquet` (needs pyarrow) in groups of rows.
    What is not there (a third region) is an empty field, null in .jsonl and .parquet.

    Args:
        target: .csv, .jsonl or .parquet.
        tracker: makes the numbers; None makes a new one.
        overwrite: replaces a target that exists.

    Raises:
        ConfigError: the target's ending is none of these.
        EncodeError: the target exists or cannot be written, or pyarrow is missing.
    """

    suffixes = (".csv", ".jsonl", ".parquet")

    def __init__(self, target: str | Path, tracker: Tracker | None = None, *, overwrite: bool = False) -> None:
        super().__init__(target, overwrite=overwrite)
        self.messages = []
        self._tracker = tracker or Tracker()
        writers: dict[str, type[_CsvTable | _JsonTable | _ParquetTable]]
        writers = {".csv": _CsvTable, ".jsonl": _JsonTable, ".parquet": _ParquetTable}
        self._table = writers[self._target.suffix.lower()](self.partial_path)

    def _write(self, batch: SaliencyBatch) -> None:
        rows = [numbers.as_row() for numbers in self._tracker.update(batch)]
        with self._telling():
            self._table.write(rows)
            self._frames += len(rows)

    def _close(self, *, complete: bool) -> None:
        with self._telling():
            self._table.close()


_Row = dict[str, Any]


class _CsvTable:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._writer: Any = None

    def write(self, rows: list[_Row]) -> None:
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._file, lineterminator="\n")
            self._writer.writerow(FrameNumbers.columns())
        self._writer.writerows([_plain(row[name]) for name in FrameNumbers.columns()] for row in rows)
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    # Nine digits: microseconds after an hour, far below a thousandth of a pixel.
    return format(value, ".9g") if isinstance(value, float) else str(value)


class _JsonTable:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def write(self, rows: list[_Row]) -> None:
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8")
        for row in rows:
            values = {name: row[name] for name in FrameNumbers.columns()}
            self._file.write(json.dumps(values, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class _ParquetTable:
    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise EncodeError(
                "a .parquet table needs pyarrow: pip install 'vidsal[parquet]', or write .csv or .jsonl"
            ) from error
        self._pyarrow: Any = pyarrow
        self._path = path
        self._writer: Any = None
        self._schema: Any = None
        self._rows: list[_Row] = []

    def write(self, rows: list[_Row]) -> None:
        if self._writer is None:
            self._schema = self._pyarrow.schema([(name, self._type(name)) for name in FrameNumbers.columns()])
            self._writer = self._pyarrow.parquet.ParquetWriter(str(self._path), self._schema)
        self._rows += rows
        if len(self._rows) >= _ROWS_IN_A_GROUP:
            self._flush()

    def close(self) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            self._flush(writer)
        finally:
            writer.close()

    def _flush(self, writer: Any = None) -> None:
        rows, self._rows = self._rows, []
        if rows:
            (writer or self._writer).write_table(self._pyarrow.Table.from_pylist(rows, schema=self._schema))

    def _type(self, name: str) -> Any:
        if name == "cut":
            return self._pyarrow.bool_()
        whole = name in ("index", "shot") or name.endswith("_id")
        return self._pyarrow.int64() if whole else self._pyarrow.float64()


_ROWS_IN_A_GROUP = 5000
