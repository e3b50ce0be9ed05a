"""Recorded video in a published layout in, windows of consecutive frames with labels on the model's canvas out.

A sequence is shown as it is at run time: in order, whole pictures letter-boxed, cuts found by the same detector.
Whatever is changed to make more of it (mirror, crop, colours) is drawn once and holds for all windows of the sequence,
because the model remembers where things were. Everything random comes from the generator passed in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.data.clips import AugmentOptions, Clip, Look
from vidsal.data.fixations import fixation_counts
from vidsal.data.layouts import Fixations, LabelledSequence
from vidsal.errors import DatasetError
from vidsal.preprocess import PreprocessOptions, Viewport
from vidsal.shots import CutDetector

__all__ = ["RecordedClip", "read_windows"]

_Pixels = npt.NDArray[np.uint8]
_Map = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RecordedClip(Clip):
    """A window of a recorded sequence.

    After its last frame the arrays are filled with zeros. Where no points were recorded of a frame, its density
    stands for them in `counts`; a frame without a usable label has zeros in both.
    """

    length: int = 0
    """Frames that there are, 1 to T."""
    begins: bool = True
    """Nothing was seen before the first frame; False where the window goes on from the one before."""
    has_points: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(T,) bool, True where `counts` are recorded points."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.length <= len(self.frames):
            raise ValueError(f"length must be from 1 to {len(self.frames)}, got {self.length}")
        if self.has_points.shape != (len(self.frames),):
            raise ValueError(f"has_points must be ({len(self.frames)},), got {self.has_points.shape}")


def read_windows(
    sequence: LabelledSequence,
    *,
    frames: int,
    stride: int = 1,
    windows: int | None = None,
    preprocess: PreprocessOptions,
    augment: AugmentOptions | None = None,
    random: np.random.Generator | None = None,
) -> Iterator[RecordedClip]:
    """Read consecutive windows of a sequence, in order, each going on where the one before ended.

    Args:
        sequence: the video with its labels.
        frames: of a window, T.
        stride: of the frames of the sequence, every so many are shown.
        windows: how many; a sequence that is shorter begins again elsewhere (`RecordedClip.begins`). None: one run
            through the whole sequence.
        preprocess: gives the canvas and how pictures are made small.
        augment: mirror, crop and colours, drawn once for all windows; what else it holds is for stills. None changes
            nothing. A sequence that may not be mirrored never is.
        random: where all randomness comes from: with `augment`, what that draws; with `windows`, the first frame.
            None: from the first frame on, and nothing may be augmented.

    Raises:
        DatasetError: a file is missing or cannot be read, or the sequence has no frame.
        ValueError: a number is below 1, or `augment` has no generator or no number of windows.
    """
    if min(frames, stride, 1 if windows is None else windows) < 1:
        raise ValueError(f"frames, stride and windows must be at least 1, got {frames}, {stride}, {windows}")
    if augment is not None and random is None:
        raise ValueError("augment needs a generator: pass random")
    if augment is not None and windows is None:
        raise ValueError("augment is drawn for a number of frames: pass windows")
    left = math.inf if windows is None else windows
    change: _Change | None = None
    counts_too_many = False
    while left > 0:
        start, stop = 0, None
        if windows is not None:
            needed = (int(left) * frames - 1) * stride + 1
            count = None if counts_too_many else sequence.frame_count
            if random is not None and count is not None:
                start = int(random.integers(max(1, count - needed + 1)))
            stop = start + needed
        detector, begins = CutDetector(), True
        size = _reading_size(preprocess, augment)
        with contextlib.closing(_labelled(sequence, size, start, stop, stride)) as shown:
            while left > 0 and (seen := list(islice(shown, frames))):
                if change is None:
                    times, mirrored = frames * (windows or 1), sequence.may_be_mirrored
                    change = _Change.draw(seen, preprocess, augment, times, random, may_be_mirrored=mirrored)
                yield change.window(seen, frames, detector, begins=begins)
                begins, left = False, left - 1
        if begins and start == 0:
            raise DatasetError(f"sequence {sequence.name} has no frame; copy the data set again")
        # Nothing came: the container counts more frames than it has.
        counts_too_many = counts_too_many or begins
        if windows is None:
            return


@dataclass(frozen=True, eq=False)
class _ReadFrame:
    """A frame, read."""

    picture: _Pixels
    seconds: float
    density: _Map | None
    fixations: Fixations | None


def _labelled(
    sequence: LabelledSequence, size: Callable[[int, int], tuple[int, int]], start: int, stop: int | None, stride: int
) -> Generator[_ReadFrame, None, None]:
    for frame in islice(sequence.read(size=size, start=start, stop=stop), 0, None, stride):
        density, fixations = (None, None) if frame.bad else (frame.density(), frame.fixations())
        yield _ReadFrame(frame.picture(), frame.pts_seconds, density, fixations)


def _reading_size(
    preprocess: PreprocessOptions, augment: AugmentOptions | None
) -> Callable[[int, int], tuple[int, int]]:
    """What the decoder is asked for: so large that the smallest crop still fills the canvas."""
    closer = 1.0 if augment is None or augment.crop_probability == 0 else 1 / augment.smallest_crop

    def size(height: int, width: int) -> tuple[int, int]:
        view = Viewport.on_canvas(height, width, preprocess)
        if preprocess.resize == "bilinear" or (closer > 1 and height < closer * view.height):
            return height, width
        return round(closer * view.height), round(closer * view.width)

    return size


@dataclass(frozen=True)
class _Crop:
    """The part of the picture that is shown, in shares of its sides."""

    left: float = 0.0
    top: float = 0.0
    share: float = 1.0

    def of(self, values: npt.NDArray[Any], rows: int, columns: int, *, how: int = cv2.INTER_AREA) -> npt.NDArray[Any]:
        """This part of a picture or map at another size."""
        height, width = max(1, round(rows / self.share)), max(1, round(columns / self.share))
        if height * width < values.shape[0] * values.shape[1]:
            values = cv2.resize(values, (width, height), interpolation=how)
        height, width = values.shape[:2]
        if self.share == 1 and (height, width) == (rows, columns):
            return values
        # Pixel centres are at half-integers; OpenCV's index is half a pixel less.
        across, down = self.share * width / columns, self.share * height / rows
        to_source = np.array(
            [
                [across, 0, self.left * width + 0.5 * across - 0.5],
                [0, down, self.top * height + 0.5 * down - 0.5],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(values, to_source, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        )

    def mass(self, density: _Map) -> float:
        """The share of a density that lies in this part."""
        rows, columns = density.shape
        top, left = round(self.top * rows), round(self.left * columns)
        bottom, right = round((self.top + self.share) * rows), round((self.left + self.share) * columns)
        return float(density[top:bottom, left:right].sum())


@dataclass(eq=False)
class _Change:
    """What is done to all windows of a sequence."""

    preprocess: PreprocessOptions
    viewport: Viewport
    crop: _Crop
    flip: bool
    look: Look | None
    random: np.random.Generator | None
    shown: int = 0
    """Frames so far."""

    @classmethod
    def draw(
        cls,
        seen: list[_ReadFrame],
        preprocess: PreprocessOptions,
        augment: AugmentOptions | None,
        times: int,
        random: np.random.Generator | None,
        *,
        may_be_mirrored: bool,
    ) -> _Change:
        rows, columns = seen[0].picture.shape[:2]
        viewport = Viewport.on_canvas(rows, columns, preprocess)
        if augment is None or random is None:
            return cls(preprocess, viewport, _Crop(), False, None, None)
        flip = bool(random.random() < augment.flip_probability) and may_be_mirrored
        crop = _Crop()
        if random.random() < augment.crop_probability:
            share = float(random.uniform(augment.smallest_crop, 1))
            left, top = (float(random.uniform(0, 1 - share)) for _ in range(2))
            crop = _Crop(left, top, share)
            masses = [crop.mass(frame.density) for frame in seen if frame.density is not None]
            if masses and np.mean(masses) < augment.smallest_mass:
                crop = _Crop()
        return cls(preprocess, viewport, crop, flip, Look.draw(augment, times, random), random)

    def window(self, seen: list[_ReadFrame], frames: int, detector: CutDetector, *, begins: bool) -> RecordedClip:
        """The next frames on the canvas, filled up with zeros to `frames`."""
        shape = (frames, self.preprocess.height, self.preprocess.width)
        view = self.viewport
        if self.flip:
            view = dataclasses.replace(view, left=view.canvas_width - view.left - view.width)
        cut, has_points = np.zeros(frames, np.bool_), np.zeros(frames, np.bool_)
        cut[: len(seen)] = detector.update(
            np.stack([frame.picture for frame in seen]), np.array([frame.seconds for frame in seen])
        )
        clip = RecordedClip(
            frames=np.zeros((*shape, 3), np.uint8),
            density=np.zeros(shape, np.float32),
            counts=np.zeros(shape, np.float32),
            viewport=view,
            cut=cut,
            length=len(seen),
            begins=begins,
            has_points=has_points,
        )
        inner = (slice(view.top, view.top + view.height), slice(view.left, view.left + view.width))
        for t, frame in enumerate(seen):
            clip.frames[t][inner] = self._picture(frame.picture)
            if frame.density is not None:
                density, counts = self._labels(frame.density, frame.fixations)
                has_points[t] = counts is not None
                clip.density[t][inner] = density
                # The expected z-score under the density stands for NSS, as with a teacher.
                clip.counts[t][inner] = density if counts is None else counts
        return clip

    def _picture(self, picture: _Pixels) -> _Pixels:
        view = self.viewport
        how = cv2.INTER_LINEAR if self.preprocess.resize == "bilinear" else cv2.INTER_AREA
        shown = self.crop.of(picture, view.height, view.width, how=how)
        if self.flip:
            shown = shown[:, ::-1]
        if self.look is not None and self.random is not None:
            shown = self.look.apply(np.ascontiguousarray(shown), self.shown, self.random)
        self.shown += 1
        return shown

    def _labels(self, density: _Map, fixations: Fixations | None) -> tuple[_Map, _Map | None]:
        """Density, of sum 1 or all zero, and points a pixel, None where no point is on the shown part."""
        rows, columns = self.viewport.height, self.viewport.width
        shown = np.asarray(self.crop.of(density, rows, columns), np.float32)
        total = shown.sum()
        shown = shown / total if total > 0 else shown
        counts = None
        if fixations is not None:
            sides = np.array([fixations.width, fixations.height], np.float32)
            corner = np.array([self.crop.left, self.crop.top], np.float32)
            points = (fixations.points / sides - corner) / self.crop.share * (columns, rows)
            found = fixation_counts(points.astype(np.float32), height=rows, width=columns)
            counts = found if found.any() else None
        if self.flip:
            shown, counts = shown[:, ::-1], None if counts is None else counts[:, ::-1]
        return shown, counts
