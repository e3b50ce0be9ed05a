"""`SaliencyBatch`es with their pictures in, a video with the heat over it out."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, cast

import av
import numpy as np
import numpy.typing as npt
import torch
from av.codec.codec import Capabilities, UnknownCodecError
from av.error import FFmpegError
from av.video.reformatter import Colorspace, VideoReformatter

from vidsal.decode import VideoInfo
from vidsal.errors import ConfigError, EncodeError, Setting
from vidsal.exports.chapters import chapters_of
from vidsal.exports.contract import Footage, columns_of
from vidsal.exports.shots import SHOT_SOURCES, ShotNumbers, shot_list
from vidsal.files import fresh, local_name, put_in_place
from vidsal.frames import Picture, Planes, SaliencyBatch
from vidsal.render import DisplayScale, Recent, RenderOptions, draw, draw_planes
from vidsal.sinks.boxes import set_last_duration
from vidsal.sinks.containers import CHOICES, FORMATS, add_copy, dated, describe, is_refusal, is_understood
from vidsal.sinks.contract import PROVENANCE_KEY, FileSink, usable_rate
from vidsal.sinks.device import DeviceDrawer
from vidsal.sinks.marks import hdr_parameters, lost_marks
from vidsal.sinks.options import DEFAULT_ENCODER, NVENC_FOR_X26, SVT_PRESETS, VideoOptions
from vidsal.sinks.remux import Copier, Span
from vidsal.sinks.sound import SoundForm
from vidsal.sinks.tags import StreamTags, append_keys, lost_stream_tags, missing_tags
from vidsal.tracks import ColumnSource, FrameNumbers, Shared, Tracker
from vidsal.urgency import kept_urgency

__all__ = ["LATEST_START_SECONDS", "VideoOptions", "VideoSink"]

LATEST_START_SECONDS = 60.0
"""Sources that begin later than this are moved to begin at 0, as are those whose clock starts anywhere (transport
streams), from which players count their beginning; others keep their times."""


class VideoSink(FileSink):
    """Writes the video with the heat over it; sound, subtitles and further streams are copied from the source.

    Every frame is written once, at its own time in the source's time base (a .mkv rounds times to
    milliseconds). Pixels stand upright, and keep the source's matrix, range, primaries, transfer curve and pixel shape.
    They are 8-bit 4:2:0, or 10-bit where the source has more than 8 and the encoder is one for that, which is not
    drawn on a GPU. An .mp4 that is killed stays readable up to about the last second.

    Where an .mp4 cannot hold a stream that a .mov or a .mkv can, the result becomes one: look at `path`. Sound that
    none of them holds is encoded. What is changed or left out stands in `messages`.

    Args:
        target: .mp4, .mov or .mkv.
        info: the source.
        video: encoder and quality.
        render: what is drawn, and how.
        overwrite: replaces a target that exists.
        start_seconds: start of the part that is read, in seconds after the source's first frame; above 0, the
            result begins at 0 and sound before the first frame is left out.
        end_seconds: end of that part, not included; sound from there on is left out; None: the end.
        tracker: makes the numbers that some styles draw, and of which chapters are made, where they are asked for;
            None makes a new one.
        device: a CUDA device draws there, batch by batch; None, or any other: the processor draws. The pictures of
            a batch must be of one size. Whatever made `log_density` must be on the calling thread's current stream.

    Raises:
        ConfigError: the target's ending is none of the three, or there is no such encoder.
        EncodeError: the target exists or cannot be written, or the encoder does not work here.
    """

    suffixes = (".mp4", ".mov", ".mkv")
    stage = "video"
    containers: ClassVar[tuple[str, ...]] = tuple(FORMATS)
    """Endings of the files that may be written."""
    common_encoder: ClassVar[str] = DEFAULT_ENCODER
    """One that is nearly everywhere."""

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
        tracker: ColumnSource | None = None,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(target, overwrite=overwrite, source=info.path)
        self._info = info
        self._video = video or VideoOptions()
        self._encoder = self._video.encoder or DEFAULT_ENCODER
        self._render = render or RenderOptions()
        self._start_seconds = start_seconds
        self._end_seconds = end_seconds
        self._scales = DisplayScale(self._render)
        numbers = Shared(tracker or Tracker())
        self._recent = Recent(numbers) if self._render.is_tracked else None
        self._matrix, self._range = _output_color(info)
        self._reformatter = VideoReformatter()
        self._carrier = VideoReformatter()
        height, width = self._drawn_size()
        self._size = (height + height % 2, width + width % 2)
        if self._size != (height, width):
            self.messages.append(
                f"the video is {self._size[1]}x{self._size[0]} instead of {width}x{height}: sides must be even, "
                "so the last column or row is repeated"
            )
        self._pix_fmt = _PIX_FMT
        self._marks = dict(info.side_data)
        self._drawer: DeviceDrawer | None = None
        if device is not None and device.type == "cuda":
            self._draw_on(device)
        self._out: Any = None
        self._stream: Any = None
        self._time_base = Fraction(1, 90000)
        self._step = 0
        self._shift = 0
        self._last_pts: int | None = None
        self._end = 0
        self._first: tuple[int, int] | None = None
        self._durations: dict[int, int] = {}
        self._last_durations: dict[int, int] = {}
        self._bumped = 0
        self._packets = 0
        self._refusal: Exception | None = None
        self._copier: Copier | None = None
        self._forms: dict[int, SoundForm] = {}
        self._window: Span | None = None
        self._chapters = _Chapters(numbers, info, end_seconds) if self._video.chapters else None
        self._late: list[int] = []
        self._late_tags: list[StreamTags] = []
        if self._video.keep_streams and info.kind == "video" and info.path is not None and info.path.is_file():
            self._copier = self._plan_copies(info.path)
        try:
            self._choose_encoder()
        except (ConfigError, EncodeError):
            self._close(complete=False)
            raise
        self._note_depth()
        if lost := lost_marks(self._encoder, self._marks):
            self.messages.append(f"left out, as {self._encoder} does not write it: {', '.join(lost)}")

    def _drawn_size(self) -> tuple[int, int]:
        """(height, width) of the pictures that are drawn."""
        return self._info.height, self._info.width * (2 if self._render.side_by_side else 1)

    @property
    def _rate(self) -> Fraction | None:
        """Frames a second that the source is meant to have: by its average a time code cannot always be counted."""
        return self._info.nominal_rate or self._info.rate

    @property
    def _is_deep(self) -> bool:
        """Whether more than 8 bits are written."""
        return av.VideoFormat(self._pix_fmt).components[0].bits > 8

    def _note_depth(self) -> None:
        if self._pix_fmt != _PIX_FMT:
            self._drawer = None  # it makes 8-bit 4:2:0
        source, written = (
            av.VideoFormat(name).components[0].bits for name in (self._info.pix_fmt or _PIX_FMT, self._pix_fmt)
        )
        if source > written:
            more = "" if written > 8 else "; an encoder such as libx265 or prores_ks keeps 10"
            self.messages.append(f"the {source} bits of the source's colours become {written}{more}")

    def _draw_on(self, device: torch.device) -> None:
        self._drawer = DeviceDrawer(
            device, render=self._render, size=self._size, colorspace=self._matrix, full_range=self._range == 2
        )

    def _plan_copies(self, source: Path) -> Copier:
        copier = self._copier_of(source)
        others = [stream for stream in copier.streams if stream.index in self._info.other_programmes]
        if others:
            self.messages.append(f"left out, as of other programmes: {', '.join(map(describe, others))}")
            copier.leave_out(others)
        if self._chapters is not None and copier.chapters:
            many = "1 chapter" if len(copier.chapters) == 1 else f"{len(copier.chapters)} chapters"
            self.messages.append(f"{many} of the source left out: the chapters are those of the shots")
        copier.sample()
        asked = self._target
        best, left_out = asked.suffix.lower(), copier.streams
        not_held: list[Any] = []
        for suffix in CHOICES[best]:
            without = copier.left_out_by(suffix, functools.partial(self._muxing, suffix, copier))
            not_held = not_held or without
            if suffix == best or len(without) < len(left_out):
                best, left_out = suffix, without
            if not left_out:
                break
        if best != asked.suffix.lower():
            self._target = asked.with_suffix(best)
            gained = [stream for stream in not_held if stream not in left_out]
            self.messages.append(
                f"{self._target.name} is written instead of {asked.name}: {_why(asked.suffix, gained)}"
            )
            self._check_target()
        encoded = copier.encodable(best, left_out, functools.partial(self._muxing, best, copier))
        for stream in left_out:
            if stream in encoded:
                label = copier.forms[stream.index].label
                self.messages.append(f"encoded to {label}: {_why(best, [stream])}")
            else:
                self.messages.append(f"left out, as a {best} file cannot hold it: {describe(stream)}")
        copier.leave_out([stream for stream in left_out if stream not in encoded])
        self._forms = copier.forms
        if best != ".mkv":
            # FFmpeg's fragmented mp4 breaks on text subtitles (wrong times, even an abort), loses covers, and keeps
            # everything in memory until each stream has begun: such streams are added at the end.
            late = [stream for stream in copier.streams if copier.is_late(stream)]
            self._late = [stream.index for stream in late]
            copier.leave_out(late)
        return copier

    def _copier_of(self, source: Path) -> Copier:
        rate = usable_rate(self._rate)
        return Copier(source, skip=self._info.stream_index, messages=self.messages, rate=rate)

    def _choose_encoder(self) -> None:
        """Settles on an encoder that works here, or raises what keeps the one that was asked for from working."""
        if self._encoder != "auto":
            self._probe_encoder()
            return
        asked = self._video
        self._video = dataclasses.replace(
            asked, encoder=_AUTO_HARDWARE, preset=NVENC_FOR_X26.get(asked.preset, asked.preset)
        )
        self._encoder = _AUTO_HARDWARE
        try:
            self._probe_encoder()
        except (ConfigError, EncodeError) as error:
            cause = error.__cause__
            reason = getattr(cause, "strerror", None) or str(cause or error)
            if isinstance(cause, UnknownCodecError):
                reason = "it is not in this build of FFmpeg"
            self._encoder = DEFAULT_ENCODER
            self._video = dataclasses.replace(asked, encoder=self._encoder)
            self._probe_encoder()
            self.messages.append(f"encoded by libx264: {_AUTO_HARDWARE} cannot be used here ({reason})")
        else:
            self.messages.append(f"encoded by {_AUTO_HARDWARE}")

    def _probe_encoder(self) -> None:
        """Encodes one grey frame into memory: hardware encoders fail only there."""
        time_base = self._info.time_base or self._time_base
        name = self._encoder
        instead = "use ", Setting("encoder", self.common_encoder), " or another one that this machine has"
        try:
            codec = av.Codec(name, "w")
        except UnknownCodecError as error:
            raise ConfigError(f"the encoder {name!r} is not in this build of FFmpeg; ", *instead) from error
        if codec.type != "video":
            raise ConfigError(f"the encoder {name!r} is one for {codec.type}, not for video; ", *instead)
        try:
            memory = av.open(io.BytesIO(), "w", format=FORMATS[self._target.suffix.lower()])
            with memory as out, kept_urgency():
                stream = self._add_video(out, time_base)
                frame = av.VideoFrame.from_ndarray(np.full((*self._size, 3), 128, np.uint8), format="rgb24")
                stream.encode(self._stamped(self._to_yuv(frame), 0, time_base))
                stream.encode(None)
                out.start_encoding()
        except (FFmpegError, ValueError, OSError) as error:
            # FFmpeg's errors carry the call and its arguments, which say nothing to a user.
            reason = getattr(error, "strerror", None) or error
            if containers := self._better_containers(codec):
                raise EncodeError(
                    f"the encoder {name!r} makes {codec.canonical_name}, "
                    f"which a {self._target.suffix} file cannot hold: take ",
                    *containers,
                    ", or ",
                    *instead,
                ) from error
            text = (
                f"the encoder {name!r} (preset {self._video.chosen_preset!r}, crf {self._video.crf}) cannot "
                f"make a {self._size[1]}x{self._size[0]} {self._target.suffix} video here: {reason}; "
            )
            if codec.capabilities & _HARDWARE and isinstance(error, FFmpegError):
                text = (
                    f"the hardware encoder {name!r} cannot be used here: it needs its device and driver, and a "
                    f"picture size that it supports (FFmpeg says: {reason}); "
                )
            raise EncodeError(text, *instead) from error

    def _better_containers(self, codec: Any) -> list[Setting | str]:
        """The containers that hold what an encoder makes; none if this one does."""
        holding = {suffix: _holds(FORMATS[suffix], codec.canonical_name) for suffix in self.containers}
        if holding[self._target.suffix.lower()]:
            return []
        named = [Setting("container", suffix.removeprefix(".")) for suffix, holds in holding.items() if holds]
        return [part for setting in named for part in (" or ", setting)][1:]

    def _add_video(self, out: Any, time_base: Fraction) -> Any:
        if self._encoder == "libsvtav1":
            os.environ.setdefault("SVT_LOG", "1")  # errors only; it knows no other way to be quiet
        rate = usable_rate(self._rate)
        self._pix_fmt = self._pixel_format(av.Codec(self._encoder, "w"))
        options = self._encoder_options()
        stream = out.add_stream(self._encoder, rate=rate, options=options)
        context = stream.codec_context
        context.height, context.width = self._size
        context.pix_fmt = self._pix_fmt
        context.time_base = time_base
        # libx265 takes this for pictures at once, 16 at most; its threads are in its options.
        most = 16 if self._encoder == "libx265" else self._video.encoder_threads
        context.thread_count = min(self._video.encoder_threads, most)
        context.sample_aspect_ratio = self._info.sample_aspect_ratio
        context.colorspace = self._matrix
        context.color_range = self._range
        context.color_primaries = self._info.color_primaries
        context.color_trc = self._info.color_trc
        if context.codec.canonical_name == "hevc":
            context.codec_tag = "hvc1"  # Apple's players open no other; a .mkv has none
        stream.time_base = time_base
        return stream

    def _pixel_format(self, codec: Any) -> str:
        """The pixel format that is encoded; a `ValueError` where the encoder takes no suitable pictures."""
        return _pixel_format(codec, self._info)

    def _encoder_options(self) -> dict[str, str]:
        """Preset and quality in the words of the encoder."""
        marks = hdr_parameters(self._encoder, self._marks)
        return _encoder_options(self._video, deep=self._is_deep, marks=marks)

    def _to_yuv(self, frame: av.VideoFrame) -> av.VideoFrame:
        # An RGB frame is converted with BT.601 whatever the stream is tagged with, unless told otherwise.
        return self._reformatter.reformat(
            frame,
            format=self._pix_fmt,
            dst_colorspace=_SWSCALE[self._matrix],
            dst_color_range=self._range,
            threads=1,  # else swscale starts some for each frame
        )

    def _stamped(self, frame: av.VideoFrame, pts: int, time_base: Fraction, duration: int = 0) -> av.VideoFrame:
        # Some encoders, as those of ProRes, go by the marks of the frames, others by those of the context.
        frame.colorspace, frame.color_range = self._matrix, self._range
        frame.color_primaries, frame.color_trc = self._info.color_primaries, self._info.color_trc
        frame.pts, frame.time_base, frame.duration = pts, time_base, duration
        return frame

    def _with_captions(self, frame: av.VideoFrame, carrier: Any) -> av.VideoFrame:
        """The same pixels in a frame that is derived from the decoder's, and so has its closed captions."""
        if not _takes_captions(self._stream.codec_context.codec):
            lost = f"closed captions are left out: {self._encoder} does not write them; libx264 does"
            if lost not in self.messages:
                self.messages.append(lost)
            return frame
        height, width = self._size
        derived: Any = self._carrier.reformat(carrier, width, height, self._pix_fmt, interpolation=_POINT, threads=1)
        derived.pict_type = 0  # else the encoder would take the source's key frames
        planes: Any = frame.planes
        for target, plane in zip(derived.planes, planes, strict=True):
            size = min(plane.line_size, target.line_size)
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, :size]
            np.frombuffer(target, np.uint8).reshape(-1, target.line_size)[:, :size] = rows
        return cast("av.VideoFrame", derived)

    def _duration(self, picture: Picture, pts: int) -> int:
        """How long a picture is shown, in units of the output: as it says, or as the rate does; 0: unknown."""
        lasts = self._step
        if picture.duration and picture.time_base is not None:
            own = round(picture.duration * picture.time_base / self._time_base)
            lasts = own if own * self._time_base <= _LONGEST_PICTURE_SECONDS else lasts
        end = None if self._window is None else self._window.end
        if end is not None:
            lasts = min(lasts, max(1, math.floor((end - self._window.shift) / self._time_base) - pts))  # type: ignore[union-attr]
        return lasts

    def _open(self, picture: Picture, pts_seconds: float) -> None:
        """Opens the partial file once the first frame shows where time begins."""
        self._time_base = picture.time_base or self._info.time_base or self._time_base
        if self._time_base.denominator > _FINEST_CLOCK:
            self._time_base = Fraction(1, _FINEST_CLOCK)
            self.messages.append("times are rounded to microseconds")
        if self._rate:
            self._step = max(1, round(1 / (self._rate * self._time_base)))
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
            if start > LATEST_START_SECONDS or (start > 0 and self._info.clock_starts_anywhere):
                self._shift = int(start / self._time_base)
            if start > LATEST_START_SECONDS:
                self.messages.append(f"the source's times begin at {float(start):.3f} seconds; the result begins at 0")
        if self._chapters is not None:
            self._chapters.shift = self._shift * self._time_base - origin
        with self._telling():
            suffix = self._target.suffix.lower()
            options = self._muxing(suffix, copier)
            self._out = av.open(local_name(self.partial_path), "w", format=FORMATS[suffix], container_options=options)
            self._stream = self._add_video(self._out, self._time_base)
            if self.provenance:
                self._out.metadata[PROVENANCE_KEY] = self.provenance
            if copier is not None:
                self._window = Span(
                    shift=self._shift * self._time_base,
                    start=begin * self._time_base if self._start_seconds > 0 else None,
                    end=None if self._end_seconds is None else origin + Fraction(self._end_seconds),
                )
                none: list[Any] | None = None if self._chapters is None else []
                copier.attach(self._out, self._stream, window=self._window, chapters=none, is_copy=False)
            with kept_urgency():
                self._out.start_encoding()

    def _muxing(self, suffix: str, copier: Copier | None, whole: bool = False) -> dict[str, str]:
        """Options of the muxer; `whole`: where a finished file is written once more."""
        # Written in pieces of half a second and flushed, so that a kill loses little; a sparse stream may not hold
        # back the others for long.
        options = {} if whole else {"flush_packets": "1", "max_interleave_delta": "2000000"}
        if suffix == ".mkv":
            return options if whole else options | {"cluster_time_limit": "1000"}
        if not whole:
            # Without the delay the first piece has wrong times, which shows in a killed file; AAC from a transport
            # stream does not bear it, and FFmpeg 8.0 damages the whole file with it.
            raw_aac = copier is not None and copier.has_raw_aac
            delay = "+delay_moov" if _DELAY_IS_SAFE and not raw_aac else ""
            options |= {"movflags": f"hybrid_fragmented{delay}", "frag_duration": str(round(_FRAGMENT_SECONDS * 1e6))}
        # Start times are kept by edit lists, whose clock must be as fine as the streams'.
        clock = self._time_base.denominator
        for stream in copier.streams if copier is not None else ():
            if stream.type == "audio" and stream.codec_context is not None:
                clock = math.lcm(clock, stream.codec_context.sample_rate or 1)
        if clock > _FINEST_CLOCK:
            clock = self._time_base.denominator
        return options | {"use_editlist": "1", "avoid_negative_ts": "disabled", "movie_timescale": str(clock)}

    def _ticks(self, picture: Picture, pts_seconds: float) -> int:
        """The frame's time in units of the output, on the source's clock."""
        if picture.pts is not None and picture.time_base is not None:
            return round(picture.pts * picture.time_base / self._time_base)
        start = self._copier.video_start if self._copier is not None else 0
        return round((Fraction(pts_seconds) + start) / self._time_base)

    def _begin(self, batch: SaliencyBatch) -> None:
        """Sees that there is something to draw on, and opens the file with the first frame."""
        if not batch.pictures:
            raise ValueError("a video needs the full pictures: open the source with keep_pictures=True")
        if self._out is None:
            self._open(batch.pictures[0], float(batch.pts_seconds[0]))
        if self._chapters is not None:
            self._chapters.update(batch)

    def _write(self, batch: SaliencyBatch) -> None:
        self._begin(batch)
        scales = self._scales.update(batch).tolist()
        recent = self._recent.update(batch) if self._recent is not None else [()] * len(batch)
        written = 0 if self._drawer is None else self._write_drawn_on_device(batch, self._drawer, scales, recent)
        self._write_drawn(batch, written, scales, recent)

    def _write_drawn(
        self, batch: SaliencyBatch, first: int, scales: Sequence[float], recent: Sequence[Sequence[FrameNumbers]]
    ) -> None:
        """Draws the frames from the ordinal `first` on with the processor."""
        if first == len(batch):
            return
        densities = batch.density.cpu().numpy()
        for i in range(first, len(batch)):
            planes = self._planes(batch.pictures[i])
            if planes is None:
                self._encode_drawn(self._drawn(batch.pictures[i], densities[i], scales[i], recent[i]), batch, i)
            else:
                drawn = draw_planes(planes, densities[i], scale=scales[i], options=self._render, recent=recent[i])
                self._encode(av.VideoFrame.from_ndarray(drawn, format=_PIX_FMT), batch, i)

    def _planes(self, picture: Picture) -> Planes | None:
        """The picture as it was decoded, where it is encoded in the same form."""
        if self._pix_fmt != _PIX_FMT:
            return None
        planes = picture.planes()
        same = planes is not None and (
            _SWSCALE.get(planes.colorspace) == _SWSCALE[self._matrix] and planes.full_range == (self._range == 2)
        )
        return planes if same else None

    def _drawn(
        self, picture: Picture, density: npt.NDArray[np.float32], scale: float, recent: Sequence[FrameNumbers]
    ) -> npt.NDArray[Any]:
        """What is encoded: an (H, W, 3) or (H, W, 4) array of 8 or 16 bits."""
        return draw(self._pixels(picture), density, scale=scale, options=self._render, recent=recent)

    def _pixels(self, picture: Picture) -> npt.NDArray[Any]:
        """A new (H, W, 3) RGB array, of 16 bits where more than 8 are written."""
        return picture.deep_rgb() if self._is_deep and picture.deep_rgb else picture.rgb()

    def _encode_drawn(self, drawn: npt.NDArray[Any], batch: SaliencyBatch, row: int) -> None:
        """Encodes an array as the frame of a row, with the last column and row repeated where sides are odd."""
        down, right = self._size[0] - drawn.shape[0], self._size[1] - drawn.shape[1]
        if down or right:
            drawn = np.pad(drawn, ((0, down), (0, right), (0, 0)), mode="edge")
        name = _ARRAYS[drawn.shape[2], drawn.dtype.itemsize]
        self._encode(self._to_yuv(av.VideoFrame.from_ndarray(drawn, format=name)), batch, row)

    def _write_drawn_on_device(
        self,
        batch: SaliencyBatch,
        drawer: DeviceDrawer,
        scales: Sequence[float],
        recent: Sequence[Sequence[FrameNumbers]],
    ) -> int:
        """Draws the frames on the device, and returns how many were written before it had no memory left."""
        written = 0
        try:
            for planes in drawer.draw(batch.pictures, batch.log_density, scales, recent):
                self._encode(av.VideoFrame.from_ndarray(planes, format="yuv420p"), batch, written)
                written += 1
        except torch.OutOfMemoryError:
            self._drawer = None
            self.messages.append("drawn on the CPU: the GPU has no memory left for it")
        return written

    def _encode(self, frame: av.VideoFrame, batch: SaliencyBatch, row: int) -> None:
        pts = self._ticks(batch.pictures[row], float(batch.pts_seconds[row])) - self._shift
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1
            self._bumped += 1
        if self._last_pts is not None and self._is_too_long(pts - self._last_pts):
            gap = float((pts - self._last_pts) * self._time_base)
            raise EncodeError(
                f"cannot write {self.partial_path}: the source's clock jumps by {gap:.0f} seconds between two frames; "
                "choose a part of it with ",
                Setting("start_seconds"),
                " and ",
                Setting("end_seconds"),
                ", or repair its times",
            )
        picture = batch.pictures[row]
        duration = self._duration(picture, pts)
        self._last_pts, self._end = pts, pts + max(1, duration)
        if duration:
            self._durations[pts] = duration
        with self._telling():
            if picture.captions is not None:
                frame = self._with_captions(frame, picture.captions)
            self._mux(self._stream.encode(self._stamped(frame, pts, self._time_base, duration)))
            self._frames += 1

    def _is_too_long(self, ticks: int) -> bool:
        """Whether the file cannot hold a gap between two pictures."""
        # The muxer counts in a clock of its own, which may be finer.
        clock = Fraction(self._stream.time_base or self._time_base)
        return ticks * self._time_base / clock > _LONGEST_GAP_TICKS

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if packet.dts is None or abs(packet.pts - packet.dts) > _LONGEST_GAP_TICKS:
                packet.dts = packet.pts  # libx265 leaves it unset where it gets a single frame
            packet.duration = self._durations.pop(packet.pts, packet.duration)  # encoders do not pass it on
            if self._first is None:
                self._first = packet.pts, packet.dts
            written_until = packet.dts * Fraction(packet.time_base)
            self._packets += 1
            try:
                self._out.mux(packet)
            except (FFmpegError, ValueError) as error:
                # It may be about a copied packet that waited for this one; whether all pictures are there is seen at
                # the end.
                if self._copier is None or not is_refusal(error) or not self._copier.refused():
                    raise
                self._refusal = error
            # Copies follow the encoder, which is later than the frames: neither waits in memory for the other.
            if self._copier is not None:
                self._copier.copy_until(written_until)

    def _last_packets(self) -> list[Any]:
        """What the encoder still holds; the last packet lasts until the video ends."""
        packets: list[Any] = self._stream.encode(None)
        if packets and self._last_pts is not None:
            # An mp4 lasts as long as its packets in coding order, and players show nothing after that: the last of
            # them, which need not be the last picture, lasts until all are shown, but no picture for longer than all.
            # Where decoding times alone go beyond that, as at an uneven rate, the edit list ends it; but FFmpeg ends
            # that in a file of several fragments where this packet does, so that it gets until then at first.
            last = packets[-1]
            if self._target.suffix.lower() != ".mkv" and None not in (last.dts, packets[0].dts):
                first_pts, first_dts = self._first or (packets[0].pts, packets[0].dts)
                rest = self._end - first_pts - (last.dts - first_dts)
                late = max(0, min(rest - (self._end - last.pts), last.pts - last.dts))
                last.dts += late
                is_cut = (self._end - first_pts) * self._time_base > _FRAGMENT_SECONDS
                lasts = max(rest - late, 1, self._durations.get(last.pts, 0))
                # Of the last picture and, as the last entry, of the last packet.
                self._last_durations = {self._last_pts: self._end - self._last_pts} | {last.pts: lasts}
                self._durations[last.pts] = max(lasts, self._end - last.pts) if is_cut else lasts
        return packets

    def _end_file(self) -> None:
        """Writes the header, and sets how long the last packet lasts."""
        ticks = [round(lasts * self._time_base / self._stream.time_base) for lasts in self._last_durations.values()]
        self._out.close()
        if ticks:
            set_last_duration(self.partial_path, ticks[-1])

    def _scratch_paths(self) -> tuple[Path, ...]:
        return (self.partial_path.with_suffix(f".2{self._target.suffix}"),)

    def _finish_copies(self) -> None:
        """Ends the file; whatever is copied into it may be lost, but not its pictures."""
        if self._chapters is not None and self._target.suffix.lower() == ".mkv":
            self._out.set_chapters(self._chapters.made())
        if self._copier is None:
            self._end_file()
            self._finish_chapters(1)
            return
        failure = self._refusal
        try:
            self._end_file()
        except (FFmpegError, ValueError) as error:
            if not is_refusal(error):
                raise
            failure = error
        copied = len(self._copier.copied)
        if failure is not None:
            copied = self._without_the_unwritable(list(map(describe, self._copier.copied)), failure)
        if self._late and self._info.path is not None:
            late = self._copier_of(self._info.path)
            try:
                late.leave_out([stream for stream in late.streams if stream.index not in self._late])
                self._rewrite(range(1 + copied), late=late)
                self._late_tags = late.stream_tags[1:]
            except (FFmpegError, ValueError) as error:
                if not is_refusal(error):
                    raise
                lost = ", ".join(describe(stream) for stream in late.streams)
                self.messages.append(f"left out, as writing it failed ({_reason(error)}): {lost}")
            else:
                return
            finally:
                late.close()
        self._finish_chapters(1 + copied)

    def _finish_chapters(self, streams: int) -> None:
        """Writes the partial file once more where the chapters of its shots are missing, or are out of place.

        An .mp4 in pieces has no track for them. A .mkv has them, but where sound begins before 0 its muxer has moved
        all streams, and not the chapters.
        """
        if self._chapters is None:
            return
        if self._target.suffix.lower() == ".mkv":
            with av.open(local_name(self.partial_path)) as written:
                first = next(packet for packet in written.demux(video=0) if packet.pts is not None)
                moved = (first.pts or 0) * Fraction(first.time_base) - (self._first or (0, 0))[0] * self._time_base
                attached = len(written.streams) - streams
            if abs(moved) < _NOT_MOVED:
                return
            if attached:  # what is written once more would lose them
                self.messages.append(
                    f"chapters begin {1000 * float(moved):.0f} ms before their shots, as sound begins before 0"
                )
                return
            self._chapters.shift -= moved
        self._rewrite(range(streams))

    def _without_the_unwritable(self, copied: Sequence[str], failure: Exception) -> int:
        """Rewrites a partial file that could not be ended; returns how many of the `copied` streams are left."""
        every = range(1 + len(copied))
        attempts = [every, *([i for i in every if i != gone] for gone in every[1:]), [0]]
        for kept in attempts:
            try:
                if self._rewrite(kept) < self._packets:
                    continue
            except (FFmpegError, ValueError, IndexError) as error:
                if isinstance(error, OSError):
                    raise
                continue
            if len(kept) < len(every):
                lost = ", ".join(name for i, name in enumerate(copied, start=1) if i not in kept)
                self.messages.append(f"left out, as writing it failed ({_reason(failure)}): {lost}")
            return len(kept) - 1
        raise failure

    def _rewrite(self, kept: Sequence[int], *, late: Copier | None = None) -> int:
        """Writes the partial file once more.

        Args:
            kept: positions of its streams that stay; those beyond were made by the muxer, and are made again.
            late: copies streams of the source that had to wait.

        Returns:
            How many packets of video were written.
        """
        (whole,) = self._scratch_paths()
        fresh(whole)
        suffix = self._target.suffix.lower()
        pictures = 0
        try:
            with (
                av.open(local_name(self.partial_path)) as written,
                av.open(
                    local_name(whole),
                    "w",
                    format=FORMATS[suffix],
                    container_options=self._muxing(suffix, self._copier, True),
                ) as out,
            ):
                streams = [written.streams[i] for i in kept]
                rate = self._rate and usable_rate(self._rate)
                copies = {
                    stream.index: add_copy(out, stream, rate=None if stream.index else rate) for stream in streams
                }
                if late is not None and self._window is not None:
                    chapters = None if self._chapters is None else self._chapters.made()
                    late.attach(out, copies[0], window=self._window, forms=self._forms, chapters=chapters, is_copy=True)
                else:
                    out.metadata.update(written.metadata)
                    out.set_chapters(written.chapters() if self._chapters is None else self._chapters.made())
                for packet in dated(packet for packet in written.demux(*streams) if packet.size):
                    if packet.dts is None:
                        continue
                    if late is not None:
                        late.copy_until(packet.dts * Fraction(packet.time_base))
                    if packet.stream.index == 0:
                        pictures += 1
                        self._set_last_duration(packet)
                    packet.stream = copies[packet.stream.index]
                    out.mux(packet)
                if late is not None:
                    late.copy_until(None)
            if late is not None or pictures >= self._packets:
                put_in_place(whole, self.partial_path)
            return pictures
        finally:
            whole.unlink(missing_ok=True)

    def _set_last_duration(self, packet: Any) -> None:
        """Sets how long a packet of the file lasts, if it is the last one or the last picture."""
        ratio = Fraction(packet.time_base) / self._time_base
        if packet.pts is not None and (lasts := self._last_durations.get(round(packet.pts * ratio))):
            packet.duration = round(lasts / ratio)

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
                except BaseException:
                    self._out.close()
                    raise
                if complete and not self._broken:
                    self._finish_copies()
                    self._keep_tags()
                else:
                    self._end_file()
        finally:
            self._out = None
            if self._copier is not None:
                self._copier.close()
            if self._bumped:
                self.messages.append(f"{self._bumped} frames were not later than the frame before: moved just after it")
                self._bumped = 0

    def _keep_tags(self) -> None:
        """Compares the tags of the finished file with the source's, and adds or names those that are missing."""
        copier, suffix = self._copier, self._target.suffix.lower()
        own = {PROVENANCE_KEY: self.provenance} if self.provenance and suffix != ".mkv" else {}
        if copier is None:
            self._append(own)
            return
        timecode, wanted = copier.timecode, copier.tags
        with av.open(local_name(self.partial_path), metadata_errors="replace") as result:
            missing = missing_tags(wanted, result.metadata)
            kept = {key.lower() for key in (*result.streams[0].metadata, *result.metadata)}
            found = [(s.type, dict(s.metadata)) for s in result.streams]  # covers come last in all containers
        lost = lost_stream_tags([*copier.stream_tags, *self._late_tags], found)
        if timecode is not None and "timecode" not in kept:
            self.messages.append(f"the time code {timecode} is left out: it does not fit the rate of the pictures")
        keys = {key: value for key, value in missing.items() if key.lower() != "timecode"}
        if lost:
            self.messages.append(f"tags that a {self._target.suffix} file cannot hold are left out: {', '.join(lost)}")
        self._append(keys | own)

    def _append(self, tags: dict[str, str]) -> None:
        """Adds tags of any name to the finished file, or names them."""
        if tags and (self._target.suffix.lower() == ".mkv" or not append_keys(self.partial_path, tags)):
            self.messages.append("tags that the file cannot hold are left out: " + ", ".join(tags))


class _Chapters:
    """The shots of the frames that are written, as chapters of the video."""

    def __init__(self, tracker: ColumnSource, info: VideoInfo, end_seconds: float | None) -> None:
        self.shift = Fraction(0)
        """What is taken off the times of the table to get those of the video."""
        self._tracker = tracker
        self._list = shot_list(Footage.of(info, end_seconds=end_seconds))
        self._shots: list[ShotNumbers] = []

    def update(self, batch: SaliencyBatch) -> None:
        """Takes the next frames."""
        self._shots += self._list.update(columns_of(self._tracker.update(batch), SHOT_SOURCES))

    def made(self) -> list[Any]:
        """The chapters, once all frames are there."""
        self._shots += self._list.flush()
        return chapters_of(self._shots, shift=self.shift)


def _holds(container: str, codec: str) -> bool:
    """Whether FFmpeg writes a codec into a container; its names. Its list for .mov has those of .mp4 alone too."""
    with av.open(io.BytesIO(), "w", format=container) as out:
        return codec in out.supported_codecs and (container, codec) not in _REFUSED


_REFUSED = frozenset({("mov", "av1"), ("mov", "vp9"), ("mov", "vp8")})
"""What FFmpeg lists for .mov, and refuses when the file is begun."""

_NOT_MOVED = Fraction(2, 1000)
"""Seconds by which a .mkv may differ, as it counts milliseconds."""

_DELAY_IS_SAFE = av.library_versions["libavformat"] >= (62, 12)

_FINEST_CLOCK = 1_000_000
"""Units a second of the finest clock that is written."""

_LONGEST_GAP_TICKS = 2**31 - 2**16
"""An mp4 has 31 bits for the time from a packet to the next, and FFmpeg aborts the process beyond."""

_LONGEST_PICTURE_SECONDS = 24 * 3600
"""A picture that is said to be shown for longer has a damaged time."""

_POINT = 1 << 4
"""swscale's number of its quickest way."""

_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7} | ({9: 9} if hasattr(Colorspace, "BT2020") else {})
"""FFmpeg's number of a matrix to swscale's; PyAV before 18 has no BT.2020."""


def _output_color(info: VideoInfo) -> tuple[int, int]:
    """Matrix and range of the encoded video, FFmpeg's numbers.

    The source's, where YUV 4:2:0 has it; else what players assume: BT.709 from 720 coded lines up, or BT.601.
    """
    form = info.pix_fmt or _PIX_FMT
    rgb = info.colorspace == 0 or any(name in form for name in ("rgb", "bgr", "gbr", "pal8"))
    full = not rgb and (info.color_range == 2 or form.startswith("yuvj"))
    if info.colorspace in _SWSCALE:
        matrix = info.colorspace
    elif info.colorspace == 10 and 9 in _SWSCALE:  # BT.2020 with constant luminance: the usual one is the nearest
        matrix = 9
    else:
        lines = info.width if info.rotation % 180 else info.height
        matrix = 1 if lines >= 720 or info.colorspace not in (0, 2) else 6
    return matrix, 2 if full else 1


_PIX_FMT = "yuv420p"

_ARRAYS = {(3, 1): "rgb24", (3, 2): "rgb48le", (4, 1): "rgba", (4, 2): "rgba64le"}
"""FFmpeg's names of arrays, by channels and bytes a value."""
"""What every player shows: 8-bit 4:2:0."""


def _pixel_format(codec: Any, info: VideoInfo) -> str:
    """The pixel format that is encoded: 8-bit 4:2:0; 10 bits for a source of more than 8, where the encoder has them.

    Not for H.264: few players show its 10 bits.

    Raises:
        ValueError: the encoder takes no suitable pictures.
    """
    known = [form.name for form in codec.video_formats or ()] or [_PIX_FMT]
    source = av.VideoFormat(info.pix_fmt or _PIX_FMT)
    wanted = [_PIX_FMT, "yuv422p", "yuv422p10le"]
    if source.components[0].bits > 8 and codec.canonical_name != "h264":
        half = source.chroma_height(2) == 1 or len(source.components) == 1  # 4:2:0, or grey
        wanted = (["yuv420p10le", "p010le"] if half else []) + ["yuv422p10le", "yuv420p10le", "p010le", *wanted]
    chosen = next((name for name in wanted if name in known), None)
    if chosen is None:
        raise ValueError("it takes neither 4:2:0 pictures of 8 bits (yuv420p) nor 4:2:2 ones")
    return chosen


_FRAGMENT_SECONDS = 0.5
"""Length of the pieces that an .mp4 is written in: a killed run loses no more."""

_HARDWARE = Capabilities.hardware | Capabilities.hybrid
"""The marks of an encoder that always or often runs on a device."""

_AUTO_HARDWARE = "h264_nvenc"
"""What `encoder="auto"` tries before libx264."""


def _encoder_options(video: VideoOptions, *, deep: bool = False, marks: Sequence[str] = ()) -> dict[str, str]:
    """Preset and quality in the words of the encoder; `deep` where it gets more than 8 bits, `marks` of libx26*."""
    name, crf = video.encoder or DEFAULT_ENCODER, str(video.crf)
    if name in ("prores", "prores_aw", "prores_ks"):
        return {"profile": "3"}  # 422 HQ, of a fixed quality
    if name == "dnxhd":
        return {"profile": "dnxhr_hqx" if deep else "dnxhr_hq"}  # for any size and rate, of a fixed quality
    if name.startswith("libx26"):
        pools = [f"pools={video.encoder_threads}"] if video.encoder_threads else []
        further = {"x264-params": ":".join(marks)} if marks else {}
        if name == "libx265":
            further = {"x265-params": ":".join(["log-level=error", *pools, *marks]), "a53cc": "1"}
        return {"preset": video.chosen_preset, "crf": crf, **further}
    if name.endswith("_nvenc"):
        quality = str(max(1, video.crf))  # 0 would leave it to the encoder
        return {"preset": video.chosen_preset, "rc": "vbr", "cq": quality}
    if name == "libsvtav1":
        return {"preset": SVT_PRESETS.get(video.chosen_preset, video.chosen_preset), "crf": crf}
    if name.startswith(("libvpx", "libaom")):
        return {"crf": crf, "cpu-used": "4", "row-mt": "1"}
    # The classic codecs: quantiser 1 to 31, as FFmpeg's -q:v, on the same footing as crf near 20.
    quantiser = min(31, max(1, round(2 ** ((video.crf - 12) / 6) + 0.5)))
    return {"flags": "+qscale", "global_quality": str(quantiser * 118)}


def _takes_captions(codec: Any) -> bool:
    """Whether an encoder writes closed captions from the side data of its frames."""
    return codec.name in ("libx264", "libx265", "mpeg2video") or codec.name.endswith("_nvenc")


def _why(suffix: str, streams: Sequence[Any]) -> str:
    """What keeps streams out of a container, in words."""
    vague = [describe(stream) for stream in streams if not is_understood(suffix.lower(), stream)]
    others = [describe(stream) for stream in streams if is_understood(suffix.lower(), stream)]
    reasons = [f"a {suffix} file cannot hold {', '.join(others)}"] if others else []
    if vague:
        reasons.append(f"in a {suffix} file players do not agree on {', '.join(vague)}")
    return "; ".join(reasons)


def _reason(error: BaseException) -> str:
    """FFmpeg's words without its numbers."""
    return getattr(error, "strerror", None) or str(error)
