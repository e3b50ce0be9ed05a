"""A video file in, `FrameBatch`es out, by decord, which has wheels for Linux and Windows on x86-64 only."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.decode.contract import DecodedFrame, Reader, Request
from vidsal.decode.images import full_size, resize
from vidsal.decode.local import refuse_odd_name
from vidsal.decode.orientation import Orientation
from vidsal.decode.pyav import probe
from vidsal.errors import ConfigError, DecodeError, Setting
from vidsal.files import local_name
from vidsal.frames import Picture

__all__ = ["DecordReader"]

MIN_WIDTH = 64
"""Narrower pictures are read enlarged and made smaller again."""


class DecordReader(Reader):
    """Reads a file in small runs of indices.

    decord has no exact times (`Picture.pts` is None), repeats frames of a damaged file without a warning,
    lacks newer codecs such as AV1, and converts untagged HD pictures as BT.601. PyAV adds the facts it lacks.

    Raises:
        ConfigError: decord is not installed.
        DecodeError: the file cannot be opened, is interlaced, or holds several video streams.
    """

    def __init__(self, path: Path, request: Request) -> None:
        try:
            decord: Any = importlib.import_module("decord")
        except ImportError as error:
            raise ConfigError(
                Setting("decoder", "decord"),
                " needs the decord package (pip install decord), which has wheels for Linux and Windows on x86-64 "
                "only; elsewhere use the pyav decoder",
            ) from error
        facts = probe(path, request)
        refuse_odd_name(path, "decord")
        info = facts.info
        if facts.interlaced and request.options.deinterlace != "off":
            instead = "; use ", Setting("decoder", "pyav"), ", or leave the combs with ", Setting("deinterlace", "off")
            raise DecodeError(f"{path} is interlaced, which decord cannot make whole pictures of", *instead)
        self._errors = (decord.DECORDError, RuntimeError)
        # decord mixes up the sides of a picture turned by 90 degrees (of a square they are the same) and fails
        # on some tiny ones.
        side = max(info.height, info.width, MIN_WIDTH)
        square = {"width": side, "height": side} if info.rotation % 180 or info.width < MIN_WIDTH else {}
        threads = request.options.threads or 1
        try:
            self._video: Any = decord.VideoReader(local_name(path), ctx=decord.cpu(0), num_threads=threads, **square)
        except self._errors as error:
            raise DecodeError(f"decord cannot open {path}: {_reason(error)}; try the pyav decoder") from error
        count = len(self._video)
        if count == 0:
            raise DecodeError(f"decord finds no frame in {path}; try the pyav decoder")
        times = np.asarray(self._video.get_frame_timestamp(range(count)), np.float64)
        self._seconds = _strictly_rising(times[:, 0] - times[0, 0])
        info = replace(info, frame_count=count, time_base=None)
        self._promised_seconds = facts.promised_seconds
        self._orientation = Orientation(info.rotation, info.mirrored)
        self._end_seconds = float(times[-1, 1] - times[0, 0])
        super().__init__(info, request)
        if facts.interlaced:
            self.report.say("interlaced frames are shown combed, as deinterlace=off asks")

    def _release(self) -> None:
        self._video = None  # it has no close; dropping it ends its threads

    def _read(self, indices: list[int]) -> npt.NDArray[np.uint8]:
        # get_batch, not iteration: left alone between calls, the iterator reads ahead without limit.
        try:
            return np.asarray(self._video.get_batch(indices).asnumpy(), np.uint8)
        except self._errors as error:
            raise DecodeError(
                f"decord fails at frame {indices[0]} of {self.info.source}: {_reason(error)}; try the pyav decoder"
            ) from error

    def _frames(self) -> Iterator[DecodedFrame]:
        begin = int(np.searchsorted(self._seconds, self._options.start_seconds - 1e-6))
        end = self._options.end_seconds
        stop = len(self._seconds) if end is None else int(np.searchsorted(self._seconds, end))
        for first in range(begin, stop, self._options.batch_size):
            run = list(range(first, min(stop, first + self._options.batch_size)))
            for index, turned in zip(run, self._read(run), strict=True):
                picture = self._orientation.mirror(turned)
                full = full_size(picture, (self.info.height, self.info.width))
                yield DecodedFrame(float(self._seconds[index]), partial(resize, picture, self.size), Picture(rgb=full))
        if stop == len(self._seconds):
            self._note_faults(self.info.path)
            if self._promised_seconds is not None:
                self._note_missing(self._promised_seconds, self._end_seconds, self._end_seconds / len(self._seconds))


def _reason(error: Exception) -> str:
    """The first line of decord's message, without the time and the place in its source."""
    lines = str(error).strip().splitlines() or ["no reason given"]
    return re.sub(r"^(\[[\d:]+\] \S+\.cc:\d+: )+", "", lines[0])


def _strictly_rising(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Moves times that are not later than the one before just after it."""
    out = seconds.copy()
    for i in range(1, len(out)):
        out[i] = max(out[i], out[i - 1] + 1e-6)
    return out
