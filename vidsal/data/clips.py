"""Stills with fixations in, short training clips out: frames, densities and fixation counts on the model's canvas.

A clip is made the way the model is used: a window of the picture, letter-boxed, that may move a little from frame
to frame. Everything random comes from the generator handed in, so a sample is a function of its seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.data.fixations import Still, density_from_fixations, fixation_counts
from vidsal.preprocess import PreprocessOptions, Viewport

__all__ = ["AugmentOptions", "Clip", "make_clip"]


@dataclass(frozen=True)
class AugmentOptions:
    """What is done to a still before it trains the model."""

    flip_probability: float = 0.5
    """Chance of a mirrored picture."""
    crop_probability: float = 0.6
    """Chance of a window smaller than the picture."""
    smallest_crop: float = 0.7
    """Smallest share of a side that a window keeps."""
    aspect_probability: float = 0.3
    """Chance that the window takes a video's aspect (4:3, 16:9, 1.85, 2.39, 9:16) instead of the picture's."""
    smallest_mass: float = 0.5
    """A window that holds a smaller share of the fixations is given up for the whole picture."""
    shift: float = 0.06
    """Largest move of the window between two frames of a clip, as a share of its side."""
    zoom: float = 0.05
    """Largest change of the window's size between two frames of a clip, as a share."""
    brightness: float = 0.2
    """Largest change of brightness, as a share; a tenth of it again from frame to frame."""
    contrast: float = 0.2
    """Largest change of contrast, as a share."""
    saturation: float = 0.3
    """Largest change of saturation, as a share."""
    grey_probability: float = 0.05
    """Chance of a picture without colour."""
    blur_probability: float = 0.1
    """Chance of a slight blur (sigma up to 1.5 canvas pixels), as compressed video has."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A training sample."""

    frames: npt.NDArray[np.uint8]
    """(T, H, W, 3) uint8 RGB on the model's canvas, letter-boxed with black."""
    density: npt.NDArray[np.float32]
    """(T, H, W) float32, each sums to 1 (all zero if no fixation is left)."""
    counts: npt.NDArray[np.float32]
    """(T, H, W) float32, fixations on each canvas pixel."""
    viewport: Viewport
    """Where the picture lies on the canvas."""


# Width over height of windows that look like video.
_VIDEO_ASPECTS = (4 / 3, 16 / 9, 1.85, 2.39, 9 / 16)


def make_clip(
    still: Still,
    *,
    times: int,
    preprocess: PreprocessOptions,
    augment: AugmentOptions | None,
    random: np.random.Generator,
) -> Clip:
    """Make a clip of a still.

    Args:
        still: the picture and its fixations.
        times: frames of the clip, at least 1.
        preprocess: gives the canvas.
        augment: what may be done to it; None shows the whole picture, unchanged, `times` times.
        random: where all randomness comes from.

    Raises:
        DatasetError: if the picture cannot be read.
    """
    picture = still.read()
    rows, columns = picture.shape[:2]
    points = still.points * np.array([columns / still.width, rows / still.height], np.float32)
    sigma = still.sigma * columns / still.width
    windows = [(0.0, 0.0, float(columns), float(rows))] * times
    if augment is not None:
        if random.random() < augment.flip_probability:
            picture = np.ascontiguousarray(picture[:, ::-1])
            points = np.stack([columns - points[:, 0], points[:, 1]], 1)
        windows = _draw_windows(points, rows=rows, columns=columns, times=times, augment=augment, random=random)
    first = windows[0]
    viewport = Viewport.fit(
        max(1, round(first[3])),
        max(1, round(first[2])),
        canvas_height=preprocess.height,
        canvas_width=preprocess.width,
    )
    look = None if augment is None else _Look.draw(augment, random)
    frames = np.zeros((times, preprocess.height, preprocess.width, 3), np.uint8)
    density = np.zeros((times, preprocess.height, preprocess.width), np.float32)
    counts = np.zeros_like(density)
    inner = np.s_[viewport.top : viewport.top + viewport.height, viewport.left : viewport.left + viewport.width]
    for t, (left, top, width, height) in enumerate(windows):
        scale_x, scale_y = viewport.width / width, viewport.height / height
        shown = _cut_out(picture, (left, top, width, height), viewport)
        if look is not None:
            shown = look.apply(shown, random)
        frames[t][inner] = shown
        moved = (points - np.array([left, top], np.float32)) * np.array([scale_x, scale_y], np.float32)
        size = {"height": viewport.height, "width": viewport.width}
        density[t][inner] = density_from_fixations(moved, sigma=max(1.0, sigma * scale_x), **size)
        counts[t][inner] = fixation_counts(moved, **size)
    return Clip(frames, density, counts, viewport)


def _cut_out(
    picture: npt.NDArray[np.uint8], window: tuple[float, float, float, float], viewport: Viewport
) -> npt.NDArray[np.uint8]:
    """The window of the picture at the viewport's size; pixel centres at half-integers on both sides."""
    left, top, width, height = window
    scale = max(width / viewport.width, height / viewport.height)
    if scale > 1.2:
        # Shrink by area first so that the bilinear warp below does not alias.
        rows, columns = round(picture.shape[0] / scale), round(picture.shape[1] / scale)
        rows, columns = max(rows, 1), max(columns, 1)
        ratio_x, ratio_y = columns / picture.shape[1], rows / picture.shape[0]
        picture = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
        left, width, top, height = left * ratio_x, width * ratio_x, top * ratio_y, height * ratio_y
    step_x, step_y = width / viewport.width, height / viewport.height
    to_source = np.array([[step_x, 0, left + 0.5 * step_x - 0.5], [0, step_y, top + 0.5 * step_y - 0.5]], np.float64)
    shown = cv2.warpAffine(
        picture,
        to_source,
        (viewport.width, viewport.height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(shown, np.uint8)


def _draw_windows(
    points: npt.NDArray[np.float32],
    *,
    rows: int,
    columns: int,
    times: int,
    augment: AugmentOptions,
    random: np.random.Generator,
) -> list[tuple[float, float, float, float]]:
    """(left, top, width, height) of each frame's window in picture pixels, all inside the picture."""
    whole = (0.0, 0.0, float(columns), float(rows))
    first = whole
    if random.random() < augment.crop_probability:
        share = random.uniform(augment.smallest_crop, 1.0)
        width, height = columns * share, rows * share
        if random.random() < augment.aspect_probability:
            aspect = float(random.choice(_VIDEO_ASPECTS))
            width, height = min(width, height * aspect), min(height, width / aspect)
        first = (random.uniform(0, columns - width), random.uniform(0, rows - height), width, height)
        if _share_inside(points, first) < augment.smallest_mass:
            first = whole
    elif times > 1:
        # A whole picture has no room to move in: leave a little.
        margin = 1 - augment.shift
        first = (
            random.uniform(0, columns * augment.shift),
            random.uniform(0, rows * augment.shift),
            columns * margin,
            rows * margin,
        )
    windows = [first]
    for _ in range(times - 1):
        left, top, width, height = windows[-1]
        zoom = random.uniform(1 - augment.zoom, 1 + augment.zoom)
        zoom = min(zoom, columns / width, rows / height)
        left += random.uniform(-augment.shift, augment.shift) * width - (zoom - 1) * width / 2
        top += random.uniform(-augment.shift, augment.shift) * height - (zoom - 1) * height / 2
        width, height = width * zoom, height * zoom
        windows.append((float(np.clip(left, 0, columns - width)), float(np.clip(top, 0, rows - height)), width, height))
    return windows


def _share_inside(points: npt.NDArray[np.float32], window: tuple[float, float, float, float]) -> float:
    left, top, width, height = window
    x, y = points[:, 0], points[:, 1]
    return float(np.mean((x >= left) & (x < left + width) & (y >= top) & (y < top + height)))


@dataclass(frozen=True)
class _Look:
    """Colour changes shared by all frames of a clip, with a slight drift of the exposure."""

    brightness: float
    contrast: float
    saturation: float
    sigma: float
    drift: float

    @classmethod
    def draw(cls, augment: AugmentOptions, random: np.random.Generator) -> _Look:
        def around_one(amount: float) -> float:
            return float(random.uniform(1 - amount, 1 + amount))

        return cls(
            brightness=around_one(augment.brightness),
            contrast=around_one(augment.contrast),
            saturation=0.0 if random.random() < augment.grey_probability else around_one(augment.saturation),
            sigma=float(random.uniform(0.3, 1.5)) if random.random() < augment.blur_probability else 0.0,
            drift=augment.brightness / 10,
        )

    def apply(self, frame: npt.NDArray[np.uint8], random: np.random.Generator) -> npt.NDArray[np.uint8]:
        pixels = frame.astype(np.float32)
        grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
        pixels = grey[:, :, None] + (pixels - grey[:, :, None]) * np.float32(self.saturation)
        middle = np.float32(grey.mean())
        exposure = np.float32(self.brightness * random.uniform(1 - self.drift, 1 + self.drift))
        pixels = ((pixels - middle) * np.float32(self.contrast) + middle) * exposure
        if self.sigma:
            pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), self.sigma), np.float32)
        return np.clip(pixels, 0, 255).astype(np.uint8)
