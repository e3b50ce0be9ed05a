"""Densities of frames in, the share of the attention that each box of each cue covers while it is shown out."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vidsal.frames import SaliencyBatch

__all__ = ["CueAttention", "mass_in_boxes"]

_Floats = npt.NDArray[np.float64]


def mass_in_boxes(density: npt.NDArray[np.floating], boxes: _Floats) -> _Floats:
    """Mass of a density in boxes, exact: of a cell that is cut by an edge, the part inside counts.

    Args:
        density: (h, w), sums to 1, constant within each cell.
        boxes: (..., 4) left, top, right and bottom in shares of the picture's sides; what lies outside it counts as
            empty. A box of NaN has the mass NaN.

    Returns:
        (...) from 0 to 1.

    Example:
        >>> flat = np.full((2, 4), 1 / 8)
        >>> mass_in_boxes(flat, np.array([[0, 0, 1, 1], [0.1, 0.1, 0.6, 0.3]])).round(6).tolist()
        [1.0, 0.1]
    """
    h, w = density.shape
    # Of every corner the mass above and to the left; between corners it is bilinear.
    table = np.zeros((h + 1, w + 1))
    table[1:, 1:] = np.asarray(density, np.float64).cumsum(axis=0).cumsum(axis=1)
    left, top, right, bottom = np.moveaxis(np.clip(boxes, 0.0, 1.0) * (w, h, w, h), -1, 0)

    def before(x: _Floats, y: _Floats) -> _Floats:
        column = np.minimum(np.nan_to_num(x).astype(np.int64), w - 1)
        row = np.minimum(np.nan_to_num(y).astype(np.int64), h - 1)
        across, down = x - column, y - row
        upper = table[row, column] * (1 - across) + table[row, column + 1] * across
        lower = table[row + 1, column] * (1 - across) + table[row + 1, column + 1] * across
        return np.asarray(upper * (1 - down) + lower * down, np.float64)

    mass: _Floats = before(right, bottom) - before(left, bottom) - before(right, top) + before(left, top)
    return mass.clip(0.0, 1.0)


class CueAttention:
    """Adds up what boxes cover while their cues are shown; what is kept does not grow with the video.

    A frame is shown until the next one; the last of the source as long as the others are on average, a single one for
    ever. A frame counts for as long as the cue is shown with it. A cue of no length counts the frame at its time.

    Results do not depend on how the frames are grouped.

    Args:
        start_seconds: (N,) when each cue begins, on the clock of the frames.
        end_seconds: (N,) when it ends; earlier than its start for one that is never shown.
        boxes: (N, ..., 4) boxes of each, as `mass_in_boxes` has them.
    """

    def __init__(self, start_seconds: _Floats, end_seconds: _Floats, boxes: _Floats) -> None:
        self._starts, self._ends, self._boxes = start_seconds, end_seconds, boxes
        self._sums: _Floats = np.zeros(boxes.shape[:-1])
        self.seconds: _Floats = np.zeros(len(boxes))
        """(N,) how long frames were seen of each cue; 1 for one of no length; 0 where it has none."""
        self.first_shot: npt.NDArray[np.int64] = np.full(len(boxes), -1)
        """(N,) the shot that each begins in; -1 where no frame was seen."""
        self.last_shot: npt.NDArray[np.int64] = np.full(len(boxes), -1)
        """(N,) the shot that each ends in; -1 where no frame was seen."""
        self._held: tuple[float, int, npt.NDArray[np.float32]] | None = None
        self._begin: float | None = None
        self._steps = 0

    @property
    def covered(self) -> _Floats:
        """(N, ...) mean over the time of the cue of the mass in each box, 0 to 1; NaN where no frame was seen."""
        seconds = self.seconds.reshape(-1, *[1] * (self._sums.ndim - 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(seconds > 0, self._sums / seconds, np.nan)

    def is_past(self, seconds: float) -> bool:
        """Whether no cue is shown from this time on."""
        return not len(self._ends) or seconds > max(float(self._ends.max()), float(self._starts.max()))

    def update(self, batch: SaliencyBatch) -> None:
        """Takes the next frames."""
        maps = batch.density.cpu().numpy()
        for seconds, shot, density in zip(batch.pts_seconds.tolist(), batch.shot.tolist(), maps, strict=True):
            if self._held is not None:
                self._add(*self._held, until=seconds)
                self._steps += 1
            if self._begin is None:
                self._begin = seconds
            self._held = (seconds, shot, density)

    def flush(self) -> None:
        """Ends the source."""
        if self._held is None or self._begin is None:
            return
        last = self._held[0]
        step = (last - self._begin) / self._steps if self._steps else math.inf
        self._add(*self._held, until=last + step)
        self._held = None

    def _add(self, seconds: float, shot: int, density: npt.NDArray[np.float32], *, until: float) -> None:
        shown = np.minimum(self._ends, until) - np.maximum(self._starts, seconds)
        at_once = (self._starts == self._ends) & (self._starts >= seconds) & (self._starts < until)
        shown = np.where(at_once, 1.0, shown)
        rows = np.flatnonzero(shown > 0)
        if not len(rows):
            return
        boxes = self._boxes[rows]
        weights = shown[rows].reshape(-1, *[1] * (boxes.ndim - 2))
        self._sums[rows] += weights * mass_in_boxes(density, boxes)
        self.seconds[rows] += shown[rows]
        self.first_shot[rows] = np.where(self.first_shot[rows] < 0, shot, self.first_shot[rows])
        self.last_shot[rows] = shot
