"""What every reader promises: options in, `FrameBatch`es with facts about the source and a report out.

A backend subclasses `Reader` and says how to walk through the source (`_frames`) and what to
release (`_release`); cutting to start and end, batches, live dropping and the report are done here.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from vidsal.decode.options import DecodeOptions
from vidsal.decode.structure import faults_of
from vidsal.errors import ConfigError, DecodeError, Setting
from vidsal.frames import FrameBatch, Picture
from vidsal.prefetch import prefetch

__all__ = [
    "LIVE_FRAMES",
    "MAX_CORRUPT_IN_A_ROW",
    "MAX_CORRUPT_TOTAL",
    "DecodeOptions",
    "DecodeReport",
    "DecodedFrame",
    "Kind",
    "Reader",
    "Request",
    "SizeRequest",
    "VideoInfo",
    "check_pixels",
]

MAX_CORRUPT_IN_A_ROW = 500
"""Broken packets (or image files) after one another that are skipped; one more is a `DecodeError`."""

MAX_CORRUPT_TOTAL = 10_000
"""Broken packets (or image files, or times) of one source that are skipped or mended; one more is a `DecodeError`."""

SizeRequest = tuple[int, int] | Callable[[int, int], tuple[int, int]] | None
"""(height, width) of the small frames, or what makes it from the upright (height, width); None: full size."""

Kind = Literal["video", "image", "images", "animation", "camera", "stream"]
"""video: a file; image: one; images: a folder of them, or pages; animation: an image file of several pictures with
times; camera; stream: an address or standard input."""

UNSPECIFIED = 2
"""FFmpeg's number for a colour tag that is not set (range: 0)."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A source, and how it is to be read."""

    source: str
    """Its name in messages and reports."""
    kind: Kind
    """What it is."""
    path: Path | None = None
    """The file or folder; None for cameras, addresses and standard input."""
    live: bool = False
    """True drops frames when the consumer is slow."""
    options: DecodeOptions = field(default_factory=DecodeOptions)
    """How to read."""
    size: SizeRequest = None
    """Size of the small frames."""
    keep_pictures: bool = False
    """Whether the full pictures are wanted too."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is known of a source before it is read through."""

    source: str
    """The source as it was given."""
    path: Path | None = None
    """The file or folder; None for cameras, addresses and standard input."""
    kind: Kind
    """What the source is."""
    height: int
    """Rows of the upright picture, in pixels."""
    width: int
    """Columns of the upright picture, in pixels."""
    frame_count: int | None = None
    """Frames the container claims to hold; None where it does not say."""
    duration_seconds: float | None = None
    """Seconds the container claims to last; None where it does not say."""
    rate: Fraction | None = None
    """Average frames a second; None where unknown. Times are measured, never counted from this."""
    nominal_rate: Fraction | None = None
    """Frames a second that the source is meant to have, such as 30000/1001: what time codes count by; None where
    unknown."""
    time_base: Fraction | None = None
    """Seconds per unit of `Picture.pts`; None for sources without."""
    rotation: int = 0
    """Degrees, counter-clockwise, by which the coded picture was turned to stand upright."""
    mirrored: bool = False
    """Whether the coded picture was flipped top to bottom before it was turned."""
    sample_aspect_ratio: Fraction = Fraction(1)
    """Width of a pixel of the upright picture over its height."""
    color_range: int = 0
    """FFmpeg's number: 0 not tagged, 1 limited, 2 full."""
    color_primaries: int = UNSPECIFIED
    """FFmpeg's number; 2 not tagged."""
    color_trc: int = UNSPECIFIED
    """FFmpeg's number of the transfer curve; 2 not tagged."""
    colorspace: int = UNSPECIFIED
    """FFmpeg's number of the matrix; 2 not tagged."""
    side_data: tuple[tuple[str, bytes], ...] = ()
    """What comes with the first frame beside its pixels: FFmpeg's names and structures."""
    pix_fmt: str | None = None
    """FFmpeg's name of the coded pixel format; None where unknown."""
    live: bool = False
    """True where the source does not wait: frames are dropped when the reader is slow."""
    stream_index: int | None = None
    """Position in the container of the video stream that is read; None for sources without streams."""
    timecode: str | None = None
    """Time code of its first frame, HH:MM:SS:FF; ";" or "." before the frames where numbers are dropped. None without
    one."""
    audio_channels: int | None = None
    """Channels of its first sound track; 0 without sound, None where unknown."""
    audio_rate: int | None = None
    """Samples a second of that track; None without one."""
    other_programmes: tuple[int, ...] = ()
    """Positions of the streams that belong to other programmes of a transport stream than the video does."""
    clock_starts_anywhere: bool = False
    """Whether players count from the first packet, whatever its time, as in transport streams."""


class CountsDamage:
    """What has the counts of damage of a `DecodeReport`."""

    truncated: bool
    skipped_corrupt: int
    concealed: int
    mended_times: int
    lost_frames: int
    damaged_packets: int
    structure_faults: int

    @property
    def is_damaged(self) -> bool:
        """Whether anything was missing, skipped or patched up; what was `dropped_live` is no damage."""
        return self.truncated or any(
            (
                self.skipped_corrupt,
                self.concealed,
                self.mended_times,
                self.lost_frames,
                self.damaged_packets,
                self.structure_faults,
            )
        )


@dataclass
class DecodeReport(CountsDamage):
    """Counts of what happened while reading; grows as the reader is iterated."""

    decoded: int = 0
    """Frames delivered."""
    skipped_corrupt: int = 0
    """Packets or image files that could not be decoded and were left out."""
    concealed: int = 0
    """Frames delivered although the decoder had to patch up damage in them."""
    deinterlaced: int = 0
    """Interlaced frames delivered as whole pictures."""
    combed: int = 0
    """Interlaced frames delivered as they are, because `deinterlace` is off."""
    mended_times: int = 0
    """Frames with an impossible time, replaced by one counted from the frame before."""
    lost_frames: int = 0
    """Frames that the source tells of, by its packets, its index or its times, and that did not come."""
    damaged_packets: int = 0
    """Packets of any stream that came damaged and were decoded all the same."""
    structure_faults: int = 0
    """Places where the file's own structure is broken."""
    skipped_at_start: int = 0
    """Packets before the first frame that need a key frame from before the beginning; no damage."""
    dropped_live: int = 0
    """Frames of a live source that were left out because the consumer was slow."""
    truncated: bool = False
    """True where the file ends before its container promises, or in the middle of a piece."""
    missing_seconds: float = 0.0
    """Seconds between the end that the container promises and the last frame; 0 where it promises none."""
    messages: list[str] = field(default_factory=list)
    """Sentences for a person about what was skipped, repaired or assumed, each once."""

    def say(self, message: str) -> None:
        """Adds a message unless it is there already."""
        if message not in self.messages:
            self.messages.append(message)


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """One frame on its way into a batch, not converted yet."""

    seconds: float
    """Presentation time; the first frame of the source is 0."""
    convert: Callable[[], npt.NDArray[np.uint8]]
    """Makes the upright (h, w, 3) RGB frame at `Reader.size`; called once."""
    picture: Picture
    """The frame at full size."""


class Reader(ABC):
    """Reads one source once, from `start_seconds` to `end_seconds`.

    A context manager; iterating it yields `FrameBatch`es of at most `batch_size` frames, each frame
    once, in presentation order, times strictly increasing. `info` is complete when the reader is made,
    `report` when the iteration has ended. Frames that were read before an error are delivered before it.
    A live source delivers what is there, at least one frame, instead of waiting for a full batch; of more than
    `LIVE_FRAMES` that wait, the oldest are left out.
    """

    info: VideoInfo
    """What is known of the source."""
    report: DecodeReport
    """What happened while reading."""
    size: tuple[int, int]
    """(height, width) of `FrameBatch.frames`, in pixels."""

    _source: str
    _corrupt_in_a_row: int = 0
    _remedy: str = "repair or copy the source again"

    def __init__(self, info: VideoInfo, request: Request, report: DecodeReport | None = None) -> None:
        self.info = info
        self.report = report or DecodeReport()
        self._source = info.source
        self.size = _resolve_size(request.size, info.height, info.width)
        self.arrivals: deque[tuple[int, float]] = deque(maxlen=_KNOWN_ARRIVALS)
        """Of a live source: the ordinals of its last frames, with when each was decoded, on the machine's monotonic
        clock."""
        self._options = request.options
        self._keep_pictures = request.keep_pictures
        self._stills = info.kind in ("image", "images")
        self._begun = False
        self._closed = False

    @abstractmethod
    def _frames(self) -> Iterator[DecodedFrame]:
        """Yields the frames in presentation order; those before `start_seconds` may be left out or not."""

    @abstractmethod
    def _release(self) -> None:
        """Closes files and devices."""

    def _look_back(self) -> None:  # noqa: B027 - most readers have nothing to add
        """Completes the report, after the last frame that is wanted."""

    def close(self) -> None:
        """Closes the source; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[FrameBatch]:
        """Yields the batches.

        Raises:
            DecodeError: the source cannot be read any further, holds no frame in the wanted range, is
                damaged and `strict` is set, was closed, or is iterated a second time.
        """
        if self._closed or self._begun:
            state = "is closed" if self._closed else "has been read already"
            raise DecodeError(f"{self.info.source} {state}: open it again with open_video")
        self._begun = True
        return self._live_batches() if self.info.live else self._batches(self._wanted())

    def _wanted(self) -> Iterator[DecodedFrame]:
        start, end = self._options.start_seconds, self._options.end_seconds
        for frame in self._frames():
            if end is not None and frame.seconds >= end - _SAME_TIME_SECONDS:
                return
            if frame.seconds >= start - _SAME_TIME_SECONDS:
                yield frame

    def _batches(self, frames: Iterator[DecodedFrame]) -> Iterator[FrameBatch]:
        gathered: list[DecodedFrame] = []
        failure: DecodeError | None = None
        try:
            for frame in frames:
                gathered.append(frame)
                if len(gathered) == self._options.batch_size:
                    yield self._batch(gathered)
                    gathered = []
        except DecodeError as error:
            failure = error
        if gathered:
            yield self._batch(gathered)
        if failure is not None:
            raise failure
        self._check_end()

    def _live_batches(self) -> Iterator[FrameBatch]:
        limit = self._options.batch_size
        came = ((time.monotonic(), frame) for frame in self._wanted())
        with prefetch(came, depth=LIVE_FRAMES, drop_oldest=True, name="vidsal-live") as frames:
            for first in frames:
                gathered = [first]
                while len(gathered) < limit and frames.ready:
                    gathered.append(next(frames))
                self.report.dropped_live = frames.dropped
                self.arrivals.extend(
                    (number, seconds) for number, (seconds, _) in enumerate(gathered, self.report.decoded)
                )
                yield self._batch([frame for _, frame in gathered])
        self._check_end()

    def _batch(self, gathered: list[DecodedFrame]) -> FrameBatch:
        frames = np.stack([frame.convert() for frame in gathered])
        first = self.report.decoded
        self.report.decoded += len(gathered)
        return FrameBatch(
            index=np.arange(first, first + len(gathered), dtype=np.int64),
            pts_seconds=np.array([frame.seconds for frame in gathered], np.float64),
            frames=frames,
            height=self.info.height,
            width=self.info.width,
            pictures=tuple(frame.picture for frame in gathered) if self._keep_pictures else (),
            live=self.info.live,
            stills=self._stills,
        )

    def _check_end(self) -> None:
        report, options = self.report, self._options
        if report.decoded == 0:
            lasts = self.info.duration_seconds
            raise DecodeError(
                f"{self.info.source}: no frame between {options.start_seconds:g} s and "
                + ("the end" if options.end_seconds is None else f"{options.end_seconds:g} s")
                + (f"; it lasts about {lasts:.3f} seconds" if lasts is not None else "")
                + "; choose another range"
            )
        self._look_back()
        for number, one, several, done in (
            (report.skipped_corrupt, "corrupt packet or file", "corrupt packets or files", "skipped"),
            (report.concealed, "damaged frame", "damaged frames", "patched up by the decoder"),
            (report.deinterlaced, "interlaced frame", "interlaced frames", "deinterlaced"),
            (report.combed, "interlaced frame", "interlaced frames", "shown combed, as deinterlace=off asks"),
            (report.mended_times, "impossible time", "impossible times", "replaced, counted from the frame before"),
            (report.damaged_packets, "packet", "packets", "damaged on the way here"),
        ):
            if number:
                report.say(f"{number} {one if number == 1 else several} {done}")
        if options.strict and report.is_damaged:
            raise DecodeError(
                f"{self.info.source} is damaged ({'; '.join(report.messages)}); "
                f"all {report.decoded} readable frames were delivered; leave out ",
                Setting("strict"),
                " to accept them",
            )

    def _count_corrupt(self) -> None:
        """Notes one packet or file that is skipped, and gives up when there are too many."""
        self.report.skipped_corrupt += 1
        self._corrupt_in_a_row += 1
        if self._corrupt_in_a_row > MAX_CORRUPT_IN_A_ROW or self.report.skipped_corrupt > MAX_CORRUPT_TOTAL:
            raise DecodeError(
                f"{self._source} is too damaged: {self.report.skipped_corrupt} corrupt packets or files, "
                f"{self._corrupt_in_a_row} of them in a row (at most {MAX_CORRUPT_TOTAL} and {MAX_CORRUPT_IN_A_ROW} "
                f"are skipped); {self._remedy}"
            )

    def _count_good(self) -> None:
        self._corrupt_in_a_row = 0

    def _note_faults(self, path: Path | None) -> None:
        """Adds what is broken in a file's structure, after it was read to its end; None: it is no file."""
        for fault in [] if path is None else faults_of(path):
            if fault.short:
                self.report.truncated = True
            else:
                self.report.structure_faults += 1
            self.report.say(f"the file is {'cut short' if fault.short else 'damaged'}: {fault.text}")

    def _note_missing(self, promised_seconds: float, reached_seconds: float, step_seconds: float) -> None:
        """Compares where the container promises to end with where the last frame ended; both after the first frame."""
        missing = promised_seconds - reached_seconds
        if missing > max(_SLACK_SECONDS, _SLACK_STEPS * step_seconds):
            self.report.truncated = True
            self.report.missing_seconds = missing
            self.report.say(
                f"the file ends early: its header promises {promised_seconds:.2f} seconds, "
                f"the last frame ends at {reached_seconds:.2f}; {missing:.2f} seconds are missing"
            )


def check_pixels(source: str, width: int, height: int, most: int) -> None:
    """See that a picture is not larger than `DecodeOptions.max_pixels`.

    Raises:
        DecodeError: it is.
    """
    if width * height > most:
        raise DecodeError(
            f"{source}: a picture of {width}x{height} pixels is larger than ",
            Setting("max_pixels", most),
            " allows; if you trust the file and have the memory, allow more",
        )


_SAME_TIME_SECONDS = 1e-6
"""Times closer than this are the same: `end_seconds=0.1` means the frame at 1/10, whatever its float."""

LIVE_FRAMES = 2
"""Frames of a live source that may wait for the reader: more would only be older when their turn comes."""

_KNOWN_ARRIVALS = 256

_SLACK_SECONDS = 0.1
"""Headers round; a smaller gap at the end is no loss."""

_SLACK_STEPS = 2.5
"""Frames by which headers miscount at the end (AVI counts one too many)."""


def _resolve_size(size: SizeRequest, height: int, width: int) -> tuple[int, int]:
    if size is None:
        return height, width
    rows, columns = size(height, width) if callable(size) else size
    if rows < 1 or columns < 1:
        raise ConfigError(f"size must be (height, width) of at least 1x1 pixel, got ({rows}, {columns})")
    return int(rows), int(columns)
