"""A video file in, `FrameBatch`es out, by decord: an optional backend, `pip install 'vidsal[decord]'`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.decode.contract import DecodedFrame, DecodeOptions, DecodeReport, Reader, SizeRequest, VideoInfo
from vidsal.decode.images import resize
from vidsal.errors import ConfigError, DecodeError
from vidsal.frames import Picture

__all__ = ["DecordReader", "open_decord"]


def open_decord(path: Path, *, options: DecodeOptions, size: SizeRequest, keep_pictures: bool) -> DecordReader:
    """Opens a file.

    decord has no exact times (`Picture.pts` is None), repeats frames of a damaged file without a
    word, and lacks newer codecs such as AV1.

    Raises:
        ConfigError: decord is not installed.
        DecodeError: the file cannot be opened.
    """
    try:
        decord: Any = importlib.import_module("decord")
    except ImportError as error:
        raise ConfigError(
            "decoder=decord needs the decord package: pip install 'vidsal[decord]', or use the pyav decoder"
        ) from error
    errors = (decord.DECORDError, RuntimeError)
    try:
        video = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=options.threads or 1)
    except errors as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise DecodeError(f"decord cannot open {path}: {first_line}; try the pyav decoder") from error
    return DecordReader(video, errors, path=path, options=options, size=size, keep_pictures=keep_pictures)


class DecordReader(Reader):
    """Reads an open file in small runs of indices; see `open_decord`."""

    def __init__(
        self,
        video: Any,
        errors: tuple[type[Exception], ...],
        *,
        path: Path,
        options: DecodeOptions,
        size: SizeRequest,
        keep_pictures: bool,
    ) -> None:
        self._video: Any = video
        self._errors = errors
        count = len(video)
        if count == 0:
            raise DecodeError(f"decord finds no frame in {path}; try the pyav decoder")
        times = np.asarray(video.get_frame_timestamp(range(count)), np.float64)
        self._seconds = _strictly_rising(times[:, 0] - times[0, 0])
        first = self._read([0])
        fps = float(video.get_avg_fps())
        info = VideoInfo(
            source=str(path),
            path=path,
            kind="video",
            height=first.shape[1],
            width=first.shape[2],
            frame_count=count,
            duration_seconds=float(times[-1, 1] - times[0, 0]),
            rate=Fraction(fps).limit_denominator(1001) if fps > 0 else None,
        )
        super().__init__(info, options=options, size=size, keep_pictures=keep_pictures, report=DecodeReport())

    def _release(self) -> None:
        self._video = None  # it has no close; dropping it ends its threads

    def _read(self, indices: list[int]) -> npt.NDArray[np.uint8]:
        # get_batch, not iteration: left alone between calls, the iterator reads ahead without limit.
        try:
            frames: npt.NDArray[np.uint8] = self._video.get_batch(indices).asnumpy()
        except self._errors as error:
            raise DecodeError(
                f"decord fails at frame {indices[0]}: {str(error).strip().splitlines()[0]}; try the pyav decoder"
            ) from error
        return frames

    def _frames(self) -> Iterator[DecodedFrame]:
        begin = int(np.searchsorted(self._seconds, self._options.start_seconds - 1e-6))
        end = self._options.end_seconds
        stop = len(self._seconds) if end is None else int(np.searchsorted(self._seconds, end))
        for first in range(begin, stop, self._options.batch_size):
            run = list(range(first, min(stop, first + self._options.batch_size)))
            for index, picture in zip(run, self._read(run), strict=True):
                yield self._wrap(float(self._seconds[index]), picture)

    def _wrap(self, seconds: float, picture: npt.NDArray[np.uint8]) -> DecodedFrame:
        return DecodedFrame(seconds, lambda: self._convert(picture))

    def _convert(self, picture: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], Picture | None]:
        small = resize(picture, self.size)
        return small, Picture(rgb=picture.copy) if self._keep_pictures else None


def _strictly_rising(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Moves times that are not later than the one before just behind it."""
    out = seconds.copy()
    for i in range(1, len(out)):
        out[i] = max(out[i], out[i - 1] + 1e-6)
    return out
