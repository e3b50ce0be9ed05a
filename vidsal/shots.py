"""Small RGB frames with their times come in, one bool a frame goes out: is this the first frame of a new shot?

Two frames of one shot can be made from each other by moving pieces of the picture about; two shots cannot.
Each frame is therefore brought down to a thumbnail, evened in brightness and contrast, cut into blocks, and
each block is looked for near its place in the frame before (and the other way round). What no shift explains
is the change: 0 for a copy, below 0.35 for nearly all motion, 0.4 to 1 for unrelated pictures.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.stages import CutOptions

__all__ = ["CutDetector", "CutOptions", "last_frame_lasts"]

_Thumbnail = npt.NDArray[np.float32]

# Thumbnail, search range and block in thumbnail pixels: shifts up to a tenth of the picture are motion.
_HEIGHT, _WIDTH = 20, 32
_REACH = 3
_BLOCK = 4
_BLOCKS = (_HEIGHT // _BLOCK) * (_WIDTH // _BLOCK)
# Grey levels added to the contrast before dividing by it, so that faint pictures change little. Where neither a frame
# nor those just before it had more contrast than the second, as at night, as large a share of it is added instead; but
# a picture is never divided by less than the third, so that noise in black frames stays noise.
_CONTRAST_ADDED, _LOW_CONTRAST, _LEAST_CONTRAST = 12.0, 24.0, 8.0
# What the shot has lately shown counts this much against a cut, and fades by this factor a frame.
_LEVEL_WEIGHT = 0.3
_LEVEL_DECAY = 0.8
# The level cannot rise above this, or a flash or a whip pan would hide the cut after it.
_LEVEL_LIMIT = 0.8
# A frame that looks like one this many frames back belongs to its shot: the frames after a flash.
_MEMORY = 4
# Correlation of shapes from which two frames show one scene whatever their light, and the area of one comparison.
_SAME_SHAPES = 0.45
_TILE_HEIGHT, _TILE_WIDTH = 10, 8
# Added to a tile's variance (contrast is about 1), so that empty tiles neither match nor differ.
_TILE_FLOOR = 0.003
# Frames compared at once; bounds the working memory to a few MB for any batch.
_CHUNK = 4


class CutDetector:
    """Finds hard cuts, deciding on each frame at once and without looking ahead.

    A cut is declared where the change from the frame before, less 0.3 of the largest recent change, reaches
    the threshold, unless the frame looks like one of the last four or shows the shapes of the one before in
    another light. So motion that has been fast stays motion, and a flash of up to three frames makes at most one
    cut, mostly none. Dissolves and fades have no first frame and make none.

    The answer depends on the frames alone and not on how they are grouped into calls. The level of change is
    counted in frames, not seconds, on purpose: what is compared is always a frame and its neighbour, and
    footage at one frame a second sets its own, higher, level.

    Example:
        >>> dark, light = np.zeros((2, 90, 160, 3), np.uint8), np.zeros((2, 90, 160, 3), np.uint8)
        >>> light[:, 20:60, 30:90] = 255
        >>> detector = CutDetector(CutOptions())
        >>> detector.update(np.concatenate([dark, light]), np.arange(4) / 25).tolist()
        [False, False, True, False]
    """

    def __init__(self, options: CutOptions | None = None) -> None:
        self.options = options or CutOptions()
        self._recent: deque[tuple[_Thumbnail, float]] = deque(maxlen=_MEMORY)  # with their contrasts
        self._level = 0.0

    def reset(self) -> None:
        """Forgets the source: the next frame is a first frame again."""
        self._recent.clear()
        self._level = 0.0

    def update(self, frames: npt.NDArray[np.uint8], pts_seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Says which of the next frames begin a shot.

        Args:
            frames: (B, h, w, 3) uint8 RGB, B >= 0, of any size; about 320x180 is enough. The size may change between
                calls.
            pts_seconds: (B,) seconds, as in `FrameBatch`. Only its length matters: see the class.

        Returns:
            (B,) bool, True on the first frame of each new shot; never on the first frame after `reset`.

        Raises:
            ValueError: The arrays do not have these shapes or this type.
        """
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"frames must be (B, h, w, 3) uint8, got {frames.shape} {frames.dtype}")
        if pts_seconds.shape != (len(frames),):
            raise ValueError(f"pts_seconds must be ({len(frames)},), got {pts_seconds.shape}")
        cut = np.zeros(len(frames), np.bool_)
        if not self.options.detect_cuts:
            return cut
        for start in range(0, len(frames), _CHUNK):
            self._update_chunk(frames[start : start + _CHUNK], cut[start : start + _CHUNK])
        return cut

    def _update_chunk(self, frames: npt.NDArray[np.uint8], cut: npt.NDArray[np.bool_]) -> None:
        """Fills `cut` for a few frames."""
        thumbnails = list(zip(*_thumbnails(frames), strict=True))
        shown = [*self._recent, *thumbnails]
        first = len(shown) - len(thumbnails)
        # Each frame with those just before it, the nearest last.
        seen = [_evened(shown[max(0, place - _MEMORY) : place + 1]) for place in range(first, len(shown))]
        pairs = [each[-2:] for each in seen if len(each) > 1]
        changes = list(_change(np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs]))) if pairs else []
        for i, (thumbnail, each) in enumerate(zip(thumbnails, seen, strict=True)):
            if len(each) > 1:  # not on the very first frame, which has no frame before it
                change = float(changes.pop(0))
                cut[i] = self._is_cut(change, each)
                self._level *= _LEVEL_DECAY
                # The cut's own change counts: a shot of one frame is rarer than fast motion after a cut.
                self._level = max(self._level, min(change, _LEVEL_LIMIT))
            self._recent.append(thumbnail)

    def _is_cut(self, change: float, seen: _Thumbnail) -> bool:
        """`seen` holds the frame, last, and those just before it."""
        threshold = self.options.cut_threshold
        if change - _LEVEL_WEIGHT * self._level < threshold:
            return False
        if _shape_correlation(seen[-2], seen[-1]) >= _SAME_SHAPES:
            return False
        earlier = seen[:-2]
        if not len(earlier):
            return True
        back = _change(earlier, np.repeat(seen[-1:], len(earlier), axis=0))
        return bool(back.min() >= threshold)


def _evened(thumbnails: list[tuple[_Thumbnail, float]]) -> _Thumbnail:
    """N of (3, 20, 32) with their contrasts -> (N, 3, 20, 32), each divided by its own and what is added for all."""
    contrast = np.array([own for _, own in thumbnails], np.float32)
    added = _CONTRAST_ADDED * min(float(contrast.max()) / _LOW_CONTRAST, 1.0)
    planes = np.stack([each for each, _ in thumbnails])
    return np.asarray(planes / np.maximum(contrast + added, _LEAST_CONTRAST)[:, None, None, None], np.float32)


def _thumbnails(frames: npt.NDArray[np.uint8]) -> tuple[_Thumbnail, npt.NDArray[np.float32]]:
    """(B, h, w, 3) uint8 RGB -> (B, 3, 20, 32) luma and two colour differences, luma less its mean; (B,) contrast."""
    small = np.stack([cv2.resize(frame, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA) for frame in frames])
    red, green, blue = np.moveaxis(small.astype(np.float32), 3, 0)  # (3, B, 20, 32)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = np.stack([luma, 0.564 * (blue - luma), 0.713 * (red - luma)], axis=1)  # (B, 3, 20, 32)
    planes[:, 0] -= luma.mean(axis=(1, 2), keepdims=True)
    # Contrast of light and colour together, so that grey footage has as large a change at its cuts.
    contrast = np.sqrt(np.square(planes).sum(axis=1).mean(axis=(1, 2)))
    return planes, contrast


def _change(before: _Thumbnail, after: _Thumbnail) -> npt.NDArray[np.float64]:
    """(N, 3, 20, 32) twice -> (N,) what no shift of blocks explains, 0 for equal pictures; symmetric."""
    both_ways = _unexplained(np.concatenate([before, after]), np.concatenate([after, before]))  # (2 N, blocks)
    residual = np.sort((both_ways[: len(before)] + both_ways[len(before) :]) / 2, axis=1)  # (N, blocks)
    # A passing lorry changes some blocks wholly, a cut changes all somewhat: ask the mean, quarter and median.
    quarter = residual[:, _BLOCKS // 4]
    median = residual[:, _BLOCKS // 2]
    parts = np.sqrt(np.stack([residual.mean(axis=1), quarter, median]))  # (3, N)
    mean: npt.NDArray[np.float64] = parts.mean(axis=0, dtype=np.float64)
    return mean


def _unexplained(source: _Thumbnail, target: _Thumbnail) -> _Thumbnail:
    """(N, 3, 20, 32) twice -> (N, blocks) least mean squared difference of each block of target to source nearby."""
    padded = np.pad(source, ((0, 0), (0, 0), (_REACH, _REACH), (_REACH, _REACH)), mode="edge")
    count = len(target)
    best: _Thumbnail = np.full((count, _BLOCKS), np.inf, np.float32)
    for row in range(2 * _REACH + 1):
        # One row of shifts at a time keeps the working set inside the processor's cache.
        band = padded[:, :, row : row + _HEIGHT]
        shifted = np.lib.stride_tricks.sliding_window_view(band, _WIDTH, axis=3)  # (N, 3, 20, 7, 32)
        difference = shifted - target[:, :, :, None, :]
        squared = np.einsum("nchsw,nchsw->nhsw", difference, difference)
        blocks = squared.reshape(count, _HEIGHT // _BLOCK, _BLOCK, -1, _WIDTH // _BLOCK, _BLOCK).sum(axis=(2, 5))
        np.minimum(best, blocks.min(axis=2).reshape(count, _BLOCKS), out=best)
    best /= _BLOCK**2
    return best


def _shape_correlation(before: _Thumbnail, after: _Thumbnail) -> float:
    """(3, 20, 32) twice -> mean over tiles of the best correlation of luma, which a flash keeps."""
    padded = np.pad(before[0], 1, mode="edge")
    near = np.lib.stride_tricks.sliding_window_view(padded, (_HEIGHT, _WIDTH)).reshape(-1, _HEIGHT, _WIDTH)
    source, target = _tiles(near), _tiles(after[:1])  # (9, tiles, pixels), (1, tiles, pixels)
    spread = (np.square(source).mean(axis=2) + _TILE_FLOOR) * (np.square(target).mean(axis=2) + _TILE_FLOOR)
    correlation = (source * target).mean(axis=2) / np.sqrt(spread)
    return float(correlation.max(axis=0).mean())


def _tiles(planes: _Thumbnail) -> _Thumbnail:
    """(N, 20, 32) -> (N, tiles, pixels of a tile), each tile with mean 0."""
    split = planes.reshape(len(planes), _HEIGHT // _TILE_HEIGHT, _TILE_HEIGHT, _WIDTH // _TILE_WIDTH, _TILE_WIDTH)
    tiles = np.moveaxis(split, 2, 3).reshape(len(planes), -1, _TILE_HEIGHT * _TILE_WIDTH)
    centred: _Thumbnail = tiles - tiles.mean(axis=2, keepdims=True)
    return centred


_ROUNDED_SECONDS = 0.002
"""By so much an end that a container says may be rounded."""


def last_frame_lasts(
    first_seconds: float,
    last_seconds: float,
    *,
    steps: int,
    duration_seconds: float | None,
    rate: Fraction | None = None,
    end_seconds: float | None = None,
) -> float:
    """Seconds that the last frame of a source is shown: as long as the others on average, but not after its end.

    Args:
        first_seconds: presentation time of the source's first frame.
        last_seconds: that of its last one.
        steps: how many frames come after the first.
        duration_seconds: how long the source says it is; None where it does not.
        rate: frames a second of the source, by which a single frame is shown; None where nothing is said, and of a
            single picture: it has no length.
        end_seconds: where the part ends that is read of the source; None: at its own end.

    Example:
        >>> [round(last_frame_lasts(0.0, 3.96, steps=99, duration_seconds=end), 3) for end in (None, 4.0, 3.98)]
        [0.04, 0.04, 0.02]
        >>> last_frame_lasts(0.0, 0.0, steps=0, duration_seconds=None, rate=Fraction(25))
        0.04
        >>> last_frame_lasts(0.5, 1.5, steps=2, duration_seconds=9.0, end_seconds=1.75)
        0.25
    """
    # All as the cells of a table are rounded, so that a list made of one is that of the run.
    first, last = _as_cell(first_seconds), _as_cell(last_seconds)
    step = max((last - first) / steps, 0.0) if steps else float(1 / rate) if rate else 0.0
    if duration_seconds is not None and last < duration_seconds < last + step - _ROUNDED_SECONDS:
        step = _as_cell(duration_seconds) - last
    if end_seconds is not None and last < end_seconds < last + step:
        step = _as_cell(end_seconds) - last
    return step


def _as_cell(value: float) -> float:
    return float(format(value, ".9g"))
