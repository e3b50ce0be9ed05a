"""A camera, a file or an address in, `FrameBatch`es out, by OpenCV: for cameras, and where it is asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.decode.clock import LONGEST_GAP_SECONDS
from vidsal.decode.contract import DecodedFrame, DecodeOptions, DecodeReport, Reader, SizeRequest, VideoInfo
from vidsal.decode.images import resize
from vidsal.decode.pyav import FileFacts, probe
from vidsal.errors import DecodeError
from vidsal.frames import Picture

__all__ = ["OpencvReader", "open_opencv"]

FALLBACK_RATE = 25.0
"""Frames a second assumed where OpenCV knows no rate."""

_MAX_RATE = 1000.0
"""OpenCV reports nonsense above this for sources without a rate."""


def open_opencv(
    file: str | int,
    *,
    source: str,
    path: Path | None,
    kind: Literal["video", "camera", "stream"],
    live: bool,
    options: DecodeOptions,
    size: SizeRequest,
    keep_pictures: bool,
) -> OpencvReader:
    """Opens a camera by number, a file or an address and reads the first frame.

    OpenCV turns pictures upright by itself, has no exact times (`Picture.pts` is None), stops at
    damage without a word, and converts untagged HD pictures as BT.601. What it does not tell of
    a file, PyAV does.

    Raises:
        DecodeError: it cannot be opened, gives no frame, or is interlaced (OpenCV 5 then hands out
            memory that nobody has written).
    """
    facts = probe(path) if path is not None else None
    if facts is not None and facts.interlaced:
        raise DecodeError(f"{source} is interlaced, which OpenCV cannot convert; use the pyav decoder")
    capture = cv2.VideoCapture(file) if isinstance(file, int) else cv2.VideoCapture(file, cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            what = f"camera {file}" if kind == "camera" else source
            raise DecodeError(
                f"OpenCV cannot open {what}; "
                + ("check that it is connected and not in use" if kind == "camera" else "try the pyav decoder")
            )
        return OpencvReader(
            capture,
            facts,
            source=source,
            path=path,
            kind=kind,
            live=live,
            options=options,
            size=size,
            keep_pictures=keep_pictures,
        )
    except BaseException:
        capture.release()
        raise


class OpencvReader(Reader):
    """Reads an open capture; see `open_opencv`."""

    def __init__(
        self,
        capture: Any,
        facts: FileFacts | None,
        *,
        source: str,
        path: Path | None,
        kind: Literal["video", "camera", "stream"],
        live: bool,
        options: DecodeOptions,
        size: SizeRequest,
        keep_pictures: bool,
    ) -> None:
        self._capture = capture
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        self._known_rate = math.isfinite(fps) and 0 < fps <= _MAX_RATE
        self._step_seconds = 1 / (fps if self._known_rate else FALLBACK_RATE)
        ok, picture = capture.read()
        self._first_time = self._time_of_frame(live)
        if not ok or picture is None:
            raise DecodeError(
                f"OpenCV opens {source} but gets no frame from it; "
                + ("check the camera" if kind == "camera" else "it may lack the decoder: try the pyav decoder")
            )
        self._first: npt.NDArray[np.uint8] | None = picture
        self._promised_seconds = facts.promised_seconds if facts is not None else None
        height, width = picture.shape[:2]
        if facts is not None:
            info = replace(facts.info, height=height, width=width, time_base=None)
        else:
            rate = Fraction(fps).limit_denominator(1001) if self._known_rate else None
            info = VideoInfo(source=source, path=path, kind=kind, height=height, width=width, rate=rate, live=live)
        super().__init__(info, options=options, size=size, keep_pictures=keep_pictures, report=DecodeReport())

    def _release(self) -> None:
        self._capture.release()

    def _time_of_frame(self, live: bool) -> float:
        """Seconds on the clock of the source: the file's, or the machine's where the source is live."""
        return time.monotonic() if live else float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def _frames(self) -> Iterator[DecodedFrame]:
        start = self._options.start_seconds
        seconds = 0.0
        first, self._first = self._first, None
        if first is not None:
            yield self._wrap(0.0, first)
        while self._capture.grab():
            measured = self._time_of_frame(self.info.live) - self._first_time
            if measured <= seconds or (not self.info.live and measured - seconds > LONGEST_GAP_SECONDS):
                self.report.say("frames without a time of their own follow the one before at the source's rate")
                measured = seconds + self._step_seconds
            seconds = measured
            if seconds < start - self._step_seconds / 2:
                continue  # grabbed, never converted
            ok, picture = self._capture.retrieve()
            if not ok or picture is None:
                self._count_corrupt()
                continue
            self._count_good()
            yield self._wrap(seconds, picture)
        if self.info.live:
            self.report.say("the live source ended")
        elif self._promised_seconds is not None:
            self._note_missing(self._promised_seconds, seconds + self._step_seconds, self._step_seconds)

    def _wrap(self, seconds: float, bgr: npt.NDArray[np.uint8]) -> DecodedFrame:
        return DecodedFrame(seconds, lambda: self._convert(bgr))

    def _convert(self, bgr: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], Picture | None]:
        small: npt.NDArray[np.uint8] = cv2.cvtColor(resize(bgr, self.size), cv2.COLOR_BGR2RGB)
        if not self._keep_pictures:
            return small, None
        size = (self.info.height, self.info.width)

        def full() -> npt.NDArray[np.uint8]:
            rgb: npt.NDArray[np.uint8] = cv2.cvtColor(resize(bgr, size), cv2.COLOR_BGR2RGB)
            return rgb

        return small, Picture(rgb=full)
