"""Video files of a data set in, pictures in order and densities matched to them by order or by time out."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from vidsal.data.layouts.contract import LabelledSequence, Labels, Shown
from vidsal.data.layouts.files import density_of
from vidsal.decode import DecodeOptions, VideoInfo, open_video
from vidsal.decode.contract import SizeRequest
from vidsal.decode.local import open_file
from vidsal.errors import DatasetError, DecodeError

__all__ = ["OrderedDensities", "TimedDensities", "VideoPictures", "damage_of", "map_size", "tiny"]

_Timed = tuple[float, Callable[[], npt.NDArray[np.uint8]]]
"""The time of a frame and what makes its picture."""

Crop = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
"""Cuts the part of a map (h, w) out that shows the picture."""


def tiny(height: int, width: int) -> tuple[int, int]:
    """The size of frames that nobody looks at."""
    return min(height, 16), min(width, 16)


@dataclass(frozen=True, eq=False)
class VideoPictures:
    """The pictures of a video file; `Pictures` of the contract."""

    path: Path
    """The file."""
    even: bool = False
    """True where its frames are known to come at a constant rate: then reading may begin in the middle without
    decoding what lies before."""
    damage: list[str] = field(default_factory=list, init=False, repr=False)
    """What the reader reported, where it found frames missing so far; grows as the file is read."""

    @cached_property
    def info(self) -> VideoInfo:
        """What the container says; opens the file.

        Raises:
            DatasetError: it cannot be opened.
        """
        try:
            with open_video(self.path) as reader:
                return reader.info
        except DecodeError as error:
            raise DatasetError(str(error)) from error

    def count(self) -> int | None:
        """See `Pictures`."""
        return self.info.frame_count

    def read(self, start: int, stop: int | None, size: SizeRequest) -> Iterator[Shown]:
        """See `Pictures`."""
        for ordinal, (seconds, picture) in self._numbered(start, size):
            if stop is not None and ordinal >= stop:
                return
            if ordinal >= start:
                yield Shown(ordinal, seconds, f"{ordinal:06d}", picture)

    def _numbered(self, start: int, size: SizeRequest) -> Iterator[tuple[int, _Timed]]:
        rate = self.info.rate
        if start > 0 and self.even and rate:
            frames = self.frames(size, start_seconds=float((start - Fraction(1, 2)) / rate))
            with contextlib.closing(frames):
                first = list(itertools.islice(frames, 2))
                if not first:
                    return
                # Else the rate is not as constant as it should be: count.
                if all(abs(frame[0] * float(rate) - ordinal) < 0.02 for ordinal, frame in enumerate(first, start)):
                    yield from enumerate(itertools.chain(first, frames), start)
                    return
        yield from enumerate(self.frames(size))

    def frames(self, size: SizeRequest, *, start_seconds: float = 0.0) -> Generator[_Timed, None, None]:
        """Yields the time of each frame and what makes its picture, (h, w, 3) uint8 RGB, from `start_seconds` on.

        Raises:
            DatasetError: the file cannot be read.
        """
        delivered = False
        try:
            for frame in self._frames(size, start_seconds):
                delivered = True
                yield frame
        except DecodeError as error:
            if delivered or start_seconds <= 0:
                raise DatasetError(str(error)) from error
            # There is nothing so late in the file, or it is not seekable: read it from its beginning.
            yield from (frame for frame in self.frames(size) if frame[0] >= start_seconds)

    def _frames(self, size: SizeRequest, start_seconds: float) -> Iterator[_Timed]:
        asked = size is not None
        with open_video(
            self.path,
            options=DecodeOptions(start_seconds=max(0.0, start_seconds)),
            size=size if asked else tiny,
            keep_pictures=not asked,
        ) as reader:
            try:
                for batch in reader:
                    for row, seconds in enumerate(batch.pts_seconds):
                        picture = partial(np.copy, batch.frames[row]) if asked else batch.pictures[row].rgb
                        yield float(seconds), picture
            finally:
                report = reader.report
                if report.truncated or report.skipped_corrupt or report.lost_frames or report.structure_faults:
                    said = report.messages or ["what could not be decoded was skipped"]
                    # A reader that was stopped on its way may know less than another.
                    if len(said) >= len(self.damage):
                        self.damage[:] = said


@dataclass(frozen=True, eq=False)
class TimedDensities(Labels[npt.NDArray[np.float32]]):
    """Densities in a video file, matched to pictures by time.

    A picture gets the map nearest in time, or none where that is more than one map's duration away.
    """

    maps: VideoPictures
    """The file."""
    crop: Crop | None = None
    """Cuts bars off."""

    @contextlib.contextmanager
    def follow(self) -> Iterator[Callable[[Shown], Callable[[], npt.NDArray[np.float32] | None]]]:
        """See `Labels`."""
        rate = self.maps.info.rate
        reach = float(1 / rate) if rate else 0.05
        frames: Iterator[_Timed] | None = None
        nearest: _Timed | None = None
        following: _Timed | None = None

        def label(shown: Shown) -> Callable[[], npt.NDArray[np.float32] | None]:
            nonlocal frames, nearest, following
            if frames is None:
                frames = stack.enter_context(
                    contextlib.closing(self.maps.frames(None, start_seconds=shown.seconds - 2 * reach))
                )
                nearest, following = next(frames, None), next(frames, None)
            while following and nearest and abs(following[0] - shown.seconds) <= abs(nearest[0] - shown.seconds):
                nearest, following = following, next(frames, None)
            if nearest is None or abs(nearest[0] - shown.seconds) > reach:
                return lambda: None
            return partial(self._load, nearest[1])

        with contextlib.ExitStack() as stack:
            yield label

    def _load(self, picture: Callable[[], npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32] | None:
        values = picture()[:, :, 1]  # of a grey, all three are equal
        return density_of(values if self.crop is None else self.crop(values))


def damage_of(sequence: LabelledSequence) -> tuple[str, ...]:
    """What the readers of a sequence's videos have said of missing frames so far."""
    pictures = sequence.pictures.damage if isinstance(sequence.pictures, VideoPictures) else []
    maps = sequence.densities.maps.damage if isinstance(sequence.densities, TimedDensities) else []
    return (*pictures, *(f"densities: {text}" for text in maps))


@dataclass(frozen=True, eq=False)
class OrderedDensities(Labels[npt.NDArray[np.float32]]):
    """Densities in a video file, one for each picture in the same order.

    Read at the file's own depth (10 bits stay 10 bits), which `open_video` does not offer.
    """

    path: Path
    """The file."""

    def count(self) -> int | None:
        """Number of maps by the container's word."""
        with _open_maps(self.path) as container:
            return container.streams.video[0].frames or None

    @contextlib.contextmanager
    def follow(self) -> Iterator[Callable[[Shown], Callable[[], npt.NDArray[np.float32] | None]]]:
        """See `Labels`."""
        with _open_maps(self.path) as container:
            maps = enumerate(container.decode(video=0))

            def label(shown: Shown) -> Callable[[], npt.NDArray[np.float32] | None]:
                try:
                    for ordinal, frame in maps:
                        if ordinal == shown.ordinal:
                            return partial(_grey_density, frame)
                except FFmpegError as error:
                    raise DatasetError(
                        f"{self.path} cannot be read beyond map {shown.ordinal}: {error}; copy it again"
                    ) from error
                return lambda: None

            yield label


def _open_maps(path: Path) -> Any:
    try:
        container = open_file(path)
    except DecodeError as error:
        raise DatasetError(f"{path} names other files; give the video of the maps itself") from error
    except (FFmpegError, OSError) as error:
        raise DatasetError(f"{path} cannot be opened as a video of maps: {error}; copy it again") from error
    if not container.streams.video:
        container.close()
        raise DatasetError(f"{path} holds no video stream; expected a video of maps")
    return container


def _grey_density(frame: Any) -> npt.NDArray[np.float32] | None:
    return density_of(frame.to_ndarray(format="gray16le"))


def map_size(path: Path) -> tuple[int, int]:
    """(rows, columns) of the maps in a video file.

    Raises:
        DatasetError: it cannot be opened.
    """
    with _open_maps(path) as container:
        context = container.streams.video[0].codec_context
        return context.height, context.width
