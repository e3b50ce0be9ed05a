"""A camera, a file or an address in, `FrameBatch`es out, by OpenCV: for cameras, and where it is asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.decode.clock import FALLBACK_RATE, LONGEST_GAP_SECONDS
from vidsal.decode.contract import DecodedFrame, Reader, Request, VideoInfo
from vidsal.decode.images import resize
from vidsal.decode.local import refuse_odd_name
from vidsal.decode.orientation import Orientation
from vidsal.decode.pyav import probe
from vidsal.errors import DecodeError
from vidsal.files import local_name
from vidsal.frames import Picture
from vidsal.timecode import nominal_rate

__all__ = ["OpencvReader"]

_MAX_RATE = 1000.0
"""OpenCV reports nonsense above this for sources without a rate."""


class OpencvReader(Reader):
    """Reads a camera by number, a file or an address.

    OpenCV turns pictures by itself but mirrors none, has no exact times (`Picture.pts` is None), stops at damage
    without a warning, and converts untagged HD pictures as BT.601. PyAV adds the facts of a file that it lacks.

    Raises:
        DecodeError: it cannot be opened, gives no frame, holds several video streams, or is interlaced (OpenCV 5 then
            returns memory that was never written).
    """

    def __init__(self, file: str | Path | int, request: Request) -> None:
        facts = None
        if request.path is not None:
            # It refuses playlists, too.
            facts = probe(request.path, request)
            refuse_odd_name(request.path, "opencv")
        if facts is not None and facts.interlaced:
            raise DecodeError(f"{request.source} is interlaced, which OpenCV cannot convert; use the pyav decoder")
        is_camera = request.kind == "camera"
        self._orientation = (
            Orientation(facts.info.rotation, facts.info.mirrored) if facts is not None else Orientation()
        )
        self._capture = _camera(file) if isinstance(file, int) else _capture(file)
        try:
            if not self._capture.isOpened():
                remedy = "check that it is connected and not in use" if is_camera else "try the pyav decoder"
                raise DecodeError(f"OpenCV cannot open {request.source}; {remedy}")
            fps = float(self._capture.get(cv2.CAP_PROP_FPS))
            known_rate = math.isfinite(fps) and 0 < fps <= _MAX_RATE
            self._step_seconds = 1 / (fps if known_rate else float(FALLBACK_RATE))
            ok, picture = self._capture.read()
            self._first_time = self._time_of_frame(request.live)
            if not ok or picture is None:
                remedy = "check the camera" if is_camera else "it may lack the decoder: try the pyav decoder"
                raise DecodeError(f"OpenCV opens {request.source} but gets no frame from it; {remedy}")
            self._first: npt.NDArray[np.uint8] = np.asarray(picture, np.uint8)
            self._promised_seconds = facts.promised_seconds if facts is not None else None
            height, width = picture.shape[:2]
            if facts is not None:
                info = replace(facts.info, height=height, width=width, time_base=None)
            else:
                rate = Fraction(fps).limit_denominator(1001) if known_rate else None
                info = VideoInfo(
                    source=request.source,
                    kind=request.kind,
                    live=request.live,
                    height=height,
                    width=width,
                    rate=rate,
                    nominal_rate=nominal_rate(rate),
                )
            super().__init__(info, request)
        except BaseException:
            self._capture.release()
            raise

    def _release(self) -> None:
        self._capture.release()

    def _time_of_frame(self, live: bool) -> float:
        """Seconds on the clock of the source: the file's, or the machine's where the source is live."""
        return time.monotonic() if live else float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def _frames(self) -> Iterator[DecodedFrame]:
        start = self._options.start_seconds
        seconds = 0.0
        yield self._decoded(seconds, self._first)
        del self._first
        while self._capture.grab():
            measured = self._time_of_frame(self.info.live) - self._first_time
            if measured <= seconds or (not self.info.live and measured - seconds > LONGEST_GAP_SECONDS):
                self.report.say("frames without a timestamp follow the frame before at the source's rate")
                measured = seconds + self._step_seconds
            seconds = measured
            if seconds < start - self._step_seconds / 2:
                continue  # grabbed, never converted
            ok, picture = self._capture.retrieve()
            if not ok or picture is None:
                self._count_corrupt()
                continue
            self._count_good()
            yield self._decoded(seconds, picture)
        if self.info.live:
            self.report.say("the live source ended")
            return
        self._note_faults(self.info.path)
        if self._promised_seconds is not None:
            self._note_missing(self._promised_seconds, seconds + self._step_seconds, self._step_seconds)

    def _decoded(self, seconds: float, bgr: npt.NDArray[np.uint8]) -> DecodedFrame:
        bgr = self._orientation.mirror(bgr)
        full = partial(_rgb, bgr, (self.info.height, self.info.width))
        return DecodedFrame(seconds, partial(_rgb, bgr, self.size), Picture(rgb=full))


def _camera(number: int) -> cv2.VideoCapture:
    # OpenCV prints a warning for each way in which it tries to find a camera that is not there.
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(level)


def _capture(file: str | Path) -> cv2.VideoCapture:
    return cv2.VideoCapture(local_name(file) if isinstance(file, Path) else file, cv2.CAP_FFMPEG)


def _rgb(bgr: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(resize(bgr, size), cv2.COLOR_BGR2RGB), np.uint8)
