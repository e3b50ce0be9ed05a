"""Frames with their pictures in, a video of what lies inside the window out; and files that are written at the end.

The video is made by the sink that draws heatmaps, so that sound, times, colours and marks are kept in the same way.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.decode import VideoInfo
from vidsal.frames import SaliencyBatch
from vidsal.reframe.path import WindowPath
from vidsal.reframe.window import Window
from vidsal.sinks.contract import FileSink
from vidsal.sinks.options import VideoOptions
from vidsal.sinks.video import VideoSink

__all__ = ["CropSink", "DocumentSink", "cut_out"]

_Pixels = npt.NDArray[Any]

_BLUR_ROWS = 48
"""Rows to which the picture is brought down before it is blurred."""

_BLUR_DIMMED = 0.6
"""How bright the blurred picture is, so that it does not draw attention."""


def cut_out(
    picture: _Pixels,
    *,
    x: float,
    y: float,
    width: int,
    height: int,
    result: tuple[int, int],
    pad: Literal["blur", "black", "none"] = "blur",
) -> _Pixels:
    """What lies inside a window of a picture.

    At whole pixels and without scaling the pixels stay what they are. Between pixels, as while the camera moves, they
    are interpolated (bicubic), so that a slow pan does not stutter.

    Args:
        picture: (H, W, 3) RGB of 8 or 16 bits; not changed.
        x: left edge of the window in pixels, 0 the left edge of the picture.
        y: upper edge.
        width: columns of the window.
        height: rows of the window.
        result: (rows, columns) of the result.
        pad: what fills the rest where the window is of another aspect.

    Returns:
        A new array of the size of the result and the type of the picture.
    """
    left, top = math.floor(x), math.floor(y)
    inside = picture[top : top + height, left : left + width]
    if x != left or y != top:
        # The filter needs a pixel before and two after the window; beyond the picture its border goes on.
        rows = np.clip(np.arange(top - 1, top + height + 2), 0, picture.shape[0] - 1)
        columns = np.clip(np.arange(left - 1, left + width + 2), 0, picture.shape[1] - 1)
        around = picture[rows[0] : rows[-1] + 1].take(columns, axis=1).take(rows - rows[0], axis=0)
        between = cv2.sepFilter2D(around, -1, _between(x - left), _between(y - top), anchor=(1, 1))
        inside = between[1 : 1 + height, 1 : 1 + width]
    return _fitted(inside, result, pad)


def _fitted(inside: _Pixels, result: tuple[int, int], pad: Literal["blur", "black", "none"]) -> _Pixels:
    """A picture brought to the size of the result, with bars where it is of another aspect."""
    height, width = inside.shape[:2]
    rows, columns = result
    if inside.shape[:2] == (rows, columns):
        return np.ascontiguousarray(inside)
    scale = min(rows / height, columns / width)
    # The nearest pixel's rounding of the aspect is no reason for bars.
    fit = tuple(
        whole if abs(whole - scale * part) <= _NO_BAR_PIXELS else max(1, round(scale * part))
        for whole, part in ((rows, height), (columns, width))
    )
    scaled = _resized(inside, fit[0], fit[1])
    if fit == (rows, columns):
        return scaled
    drawn = _background(inside, rows, columns) if pad == "blur" else np.zeros((rows, columns, 3), inside.dtype)
    top, left = (rows - fit[0]) // 2, (columns - fit[1]) // 2
    drawn[top : top + fit[0], left : left + fit[1]] = scaled
    return drawn


_NO_BAR_PIXELS = 2


def _between(part: float) -> npt.NDArray[np.float64]:
    """Weights of four pixels for a place between the second and the third (Catmull and Rom, 1974)."""
    t = part
    return np.array(
        [
            (-t + 2 * t**2 - t**3) / 2,
            (2 - 5 * t**2 + 3 * t**3) / 2,
            (t + 4 * t**2 - 3 * t**3) / 2,
            (t**3 - t**2) / 2,
        ]
    )


def _resized(picture: _Pixels, rows: int, columns: int) -> _Pixels:
    if picture.shape[:2] == (rows, columns):
        return np.array(picture)
    how = cv2.INTER_AREA if rows < picture.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), (columns, rows), interpolation=how))


def _background(inside: _Pixels, rows: int, columns: int) -> _Pixels:
    """The middle of the window, as large as the result, blurred and dimmed."""
    height, width = inside.shape[:2]
    across = min(width, max(1, round(height * columns / rows)))
    down = min(height, max(1, round(width * rows / columns)))
    top, left = (height - down) // 2, (width - across) // 2
    middle = inside[top : top + down, left : left + across]
    small = _resized(middle, _BLUR_ROWS, max(1, round(_BLUR_ROWS * columns / rows))).astype(np.float32)
    soft = cv2.GaussianBlur(small, (0, 0), _BLUR_ROWS / 16) * _BLUR_DIMMED
    large = cv2.resize(soft, (columns, rows), interpolation=cv2.INTER_LINEAR)
    background: _Pixels = np.rint(large).astype(inside.dtype)
    return background


class CropSink(VideoSink):
    """Writes what lies inside a window; all else is as `VideoSink` has it.

    Args:
        target: .mp4, .mov or .mkv.
        info: the source.
        window: what is cut out.
        pad: what fills the rest where the window of a shot is longer than its aspect.
        video: encoder and quality.
        overwrite: replaces a target that exists.
        start_seconds: as of `VideoSink`.
        end_seconds: as of `VideoSink`.

    Raises:
        ConfigError: as `VideoSink`.
        EncodeError: as `VideoSink`.
    """

    def __init__(
        self,
        target: str | Path,
        info: VideoInfo,
        *,
        window: Window,
        pad: Literal["blur", "black", "none"] = "blur",
        video: VideoOptions | None = None,
        overwrite: bool = False,
        start_seconds: float = 0.0,
        end_seconds: float | None = None,
    ) -> None:
        self._crop = window
        self._pad: Literal["blur", "black", "none"] = pad
        self.window_path: WindowPath | None = None
        """Where the window is; set before the first frame is written."""
        shaped = dataclasses.replace(info, sample_aspect_ratio=window.sample_aspect_ratio)
        super().__init__(
            target,
            shaped,
            video=video,
            overwrite=overwrite,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
        )

    def _drawn_size(self) -> tuple[int, int]:
        return self._crop.result_height, self._crop.result_width

    def _write(self, batch: SaliencyBatch) -> None:
        path = self.window_path
        if path is None:
            raise ValueError("the path has to be known before frames are written")
        self._begin(batch)
        for i, index in enumerate(batch.index.tolist()):
            place = path.row(path.place_of(index))
            drawn = cut_out(
                self._pixels(batch.pictures[i]),
                x=place.x,
                y=place.y,
                width=place.width,
                height=place.height,
                result=self._drawn_size(),
                pad=self._pad,
            )
            self._encode_drawn(drawn, batch, i)


class DocumentSink(FileSink):
    """A file whose text is known only once all frames are: nothing of it is written before.

    Args:
        target: its path.
        made: makes its text.
        stage: its name in the report.
        overwrite: replaces a target that exists.
    """

    suffixes = (".json", ".fcpxml", ".txt")

    def __init__(self, target: Path, made: Callable[[], str], *, stage: str, overwrite: bool = False) -> None:
        super().__init__(target, overwrite=overwrite)
        self.stage = stage
        self._made = made

    def _write(self, batch: SaliencyBatch) -> None:
        self._frames += len(batch)

    def _close(self, *, complete: bool) -> None:
        if not complete:
            self._frames = 0  # there is nothing in it to be kept
            return
        with self._telling():
            self.partial_path.write_text(self._made(), encoding="utf-8")
