"""A table of gaze in; where each viewer looks at a moment, how they came there, and how far they agree out.

*Disagreement* is the mean distance between two viewers, over all pairs. It needs no sigma and no model of how gaze is
spread. Beside it stands the agreement of Dorr et al., "Variability of eye movements when viewing dynamic natural
scenes", Journal of Vision 10 (2010): the normalised scanpath saliency of each viewer under the density of all others,
here frame by frame, without their Gaussian in time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from vidsal.data.fixations import blur_counts, fixation_counts
from vidsal.frames import SaliencyBatch
from vidsal.gaze.measures import lasting_seconds
from vidsal.gaze.table import Gaze
from vidsal.metrics.functional import nss
from vidsal.tracks import column_field

__all__ = ["RecordedViewers", "ViewerNumbers", "ViewerTracker", "evenly_spread", "mean_distance"]

_Floats = npt.NDArray[np.float64]
_Map = npt.NDArray[np.float32]

_TRAIL_RATE = 60.0
"""Points of a trail a second: more of them cannot be told apart."""
_TRAIL_GAP_SECONDS = 0.075
"""Samples that are this far apart are not joined: blinks, and what the tracker lost. As for fixations in `events`."""
_CELLS_A_SIGMA = 4
"""Cells of a density in one sigma, so that its size does not show."""


@dataclass(frozen=True, eq=False)
class _Viewer:
    start: _Floats
    """(n,) of its valid rows, in order."""
    end: _Floats
    """(n,) until when each holds."""
    place: _Floats
    """(n, 2) x, y."""


class RecordedViewers:
    """All viewings of a table, each one a viewer.

    A sample holds from its time to the next one (at most 1.5 times the usual step), a fixation from its start to its
    end. At any time a viewer looks at one place or at none, so that all count alike.

    Args:
        gaze: of one video.
        height: rows of its upright picture.
        width: columns of it.

    Example:
        >>> gaze = Gaze.of(participant=["a", "a", "b"], trial="t", pts_seconds=[0, 0.1, 0], x=[1, 2, 3], y=5.0)
        >>> RecordedViewers(gaze, height=10, width=10).at(0.12)[:, 0].tolist()
        [2.0, nan]
    """

    def __init__(self, gaze: Gaze, *, height: int, width: int) -> None:
        self.kind, self.height, self.width = gaze.kind, height, width
        viewings = gaze.viewings()
        several = {who for who, _, _ in viewings if sum(who == other for other, _, _ in viewings) > 1}
        self.names: list[str] = [f"{who} {trial}" if who in several else who for who, trial, _ in viewings]
        """Of the viewers: the participant's, with the trial where that has several."""
        self.keys: list[tuple[str, str]] = [(who, trial) for who, trial, _ in viewings]
        """Participant and trial of each."""
        self._viewers = [_of_rows(gaze, rows) for _, _, rows in viewings]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._viewers)

    def at(self, seconds: float) -> _Floats:
        """(viewers, 2) x and y in pixels from the picture's edges; NaN where nothing valid is recorded then."""
        return self.all_at(np.array([seconds]))[:, 0]

    def all_at(self, seconds: _Floats) -> _Floats:
        """(viewers, N, 2) as `at`, for N moments."""
        made = np.full((len(self), len(seconds), 2), np.nan)
        for number, viewer in enumerate(self._viewers):
            if len(viewer.start):
                # A time in a file may have been rounded.
                row = np.searchsorted(viewer.start, seconds + _SAME_TIME, side="right") - 1
                holds = (row >= 0) & (seconds < viewer.end[np.maximum(row, 0)])
                made[number, holds] = viewer.place[row[holds]]
        return made

    def trails(self, seconds: float, lasting: float) -> list[list[_Floats]]:
        """For each viewer the pieces of its way within the last seconds.

        Args:
            seconds: until when.
            lasting: how long before that it begins.

        Returns:
            Arrays (n, 3) of x, y and seconds, n from 2, for each viewer.
        """
        return [self._trail(viewer, seconds - lasting, seconds) for viewer in self._viewers]

    def _trail(self, viewer: _Viewer, since: float, until: float) -> list[_Floats]:
        first, after = np.searchsorted(viewer.start, [since, until + _SAME_TIME])
        rows = np.arange(first, after)
        if len(rows) < 2:
            return []
        if self.kind == "samples":
            # Those nearest to an even grid that does not move with the frame, or lines would flicker.
            slots = np.floor(viewer.start[rows] * _TRAIL_RATE)
            rows = rows[np.append(np.diff(slots) != 0, True)]
        way = np.column_stack([viewer.place[rows], viewer.start[rows]])
        if self.kind == "fixations":
            return [way] if len(way) > 1 else []
        apart = np.flatnonzero(np.diff(way[:, 2]) > _TRAIL_GAP_SECONDS + 1 / _TRAIL_RATE) + 1
        return [piece for piece in np.split(way, apart) if len(piece) > 1]

    def inside(self, places: _Floats) -> npt.NDArray[np.bool_]:
        """(viewers,) which of the places of `at` lie in the picture."""
        x, y = places.T
        inside: npt.NDArray[np.bool_] = (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)
        return inside

    def stamps(self, places: _Floats, sigma: float) -> _Map:
        """A Gaussian for each viewer who looks at the picture, on a grid of cells that covers it evenly.

        Args:
            places: (viewers, 2) as `at` gives them.
            sigma: standard deviation in pixels.

        Returns:
            (inside, rows, columns), as `vidsal.data.fixations.blur_counts` makes them: each sums to 1 but for what lies
            beyond the picture.
        """
        cells = self.grid(sigma)
        counts = self.counts(places[self.inside(places)], cells)
        for number, each in enumerate(counts):
            counts[number] = blur_counts(each, sigma * cells[1] / self.width)
        return counts

    def counts(self, looked: _Floats, cells: tuple[int, int]) -> _Map:
        """(n, rows, columns) of n places in the picture: 1 in the cell that each lies in, of so many that cover it."""
        rows, columns = cells
        scaled = (looked * [columns / self.width, rows / self.height]).astype(np.float32)
        made = np.zeros((len(looked), rows, columns), np.float32)
        for number, one in enumerate(scaled):
            made[number] = fixation_counts(one[None], height=rows, width=columns)
        return made

    def grid(self, sigma: float) -> tuple[int, int]:
        """(rows, columns) of a density of such a sigma: several cells a sigma, none smaller than a pixel."""
        step = max(1.0, sigma / _CELLS_A_SIGMA)
        return max(1, math.ceil(self.height / step)), max(1, math.ceil(self.width / step))


_SAME_TIME = 5e-4


def _of_rows(gaze: Gaze, rows: slice) -> _Viewer:
    valid = gaze.valid[rows]
    start = gaze.pts_seconds[rows]
    end = start + lasting_seconds(gaze, rows)
    place = np.column_stack([gaze.x[rows], gaze.y[rows]])
    return _Viewer(start[valid], end[valid], place[valid])


def mean_distance(places: _Floats) -> float | None:
    """Mean distance between two places, over all pairs of them; None with fewer than two.

    Args:
        places: (n, 2) without NaN.

    Example:
        >>> mean_distance(np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]))
        3.3333333333333335
    """
    count = len(places)
    if count < 2:
        return None
    steps = places[:, None] - places[None]
    return float(np.hypot(steps[..., 0], steps[..., 1]).sum() / (count * (count - 1)))


def evenly_spread(height: float, width: float) -> float:
    """Mean distance of two places that are drawn evenly and independently from a rectangle.

    Ghosh, "Random distances within a rectangle and between two rectangles", Bulletin of the Calcutta Mathematical
    Society 43 (1951).

    Example:
        >>> round(evenly_spread(1, 1), 4)
        0.5214
    """
    a, b = float(width), float(height)
    d = math.hypot(a, b)
    sides = a**3 / b**2 + b**3 / a**2 + d * (3 - a**2 / b**2 - b**2 / a**2)
    logs = b**2 / a * math.log((a + d) / b) + a**2 / b * math.log((b + d) / a)
    return (sides + 2.5 * logs) / 15


@dataclass(frozen=True, kw_only=True)
class ViewerNumbers:
    """What viewers do in one frame: one row of the table."""

    index: int = column_field("frames", "Ordinal of the frame, as in the table of a run.")
    """0 or more."""
    pts_seconds: float = column_field("s", "Presentation time; the first frame of the source is 0.")
    """0 or more but for a source that steps back in time."""
    viewers: int = column_field("", "How many look at the picture at this time.")
    """0 or more."""
    outside: int = column_field("", "How many look beside it.")
    """0 or more."""
    distance_px: float | None = column_field(
        "px", "Disagreement: distance between two viewers, the mean over all pairs; empty with fewer than two."
    )
    """0 or more, or None."""
    distance_degrees: float | None = column_field(
        "degrees", "The same in degrees of visual angle; empty where the pixels of a degree are not given."
    )
    """0 or more, or None."""
    distance_share: float | None = column_field(
        "", "The same over what it is where viewers look anywhere: 0 all at one place, about 1 no agreement."
    )
    """0 or more, or None."""
    agreement_nss: float | None = column_field(
        "", "Normalised scanpath saliency of each viewer under the density of all others, the mean; empty with one."
    )
    """Any number; 0 by chance."""
    predicted_nss: float | None = column_field(
        "", "That of the viewers under the predicted density; empty where nothing is predicted or nobody looks."
    )
    """Any number; 0 by chance."""


class ViewerTracker:
    """Measures the viewers of each frame; a `vidsal.tracks.ColumnSource`.

    Args:
        viewers: who.
        sigma: of the Gaussian on each viewer's place, in pixels.
        pixels_per_degree: of the picture, where known.
        predicted: whether the batches hold predicted densities.
    """

    row = ViewerNumbers

    def __init__(
        self, viewers: RecordedViewers, *, sigma: float, pixels_per_degree: float | None = None, predicted: bool = False
    ) -> None:
        self.viewers, self.sigma = viewers, sigma
        self._degree, self._predicted = pixels_per_degree, predicted
        self._even = evenly_spread(viewers.height, viewers.width)

    def update(self, batch: SaliencyBatch) -> Sequence[ViewerNumbers]:
        """Measures the next frames."""
        densities = batch.density.cpu().numpy() if self._predicted else None
        return [
            self._numbers(int(index), float(seconds), None if densities is None else densities[row])
            for row, (index, seconds) in enumerate(zip(batch.index, batch.pts_seconds, strict=True))
        ]

    def _numbers(self, index: int, seconds: float, predicted: _Map | None) -> ViewerNumbers:
        places = self.viewers.at(seconds)
        inside = self.viewers.inside(places)
        looked = places[inside]
        distance = mean_distance(looked)
        return ViewerNumbers(
            index=index,
            pts_seconds=seconds,
            viewers=int(inside.sum()),
            outside=int((np.isfinite(places[:, 0]) & ~inside).sum()),
            distance_px=distance,
            distance_degrees=None if distance is None or self._degree is None else distance / self._degree,
            distance_share=None if distance is None else distance / self._even,
            agreement_nss=self._agreement(places, looked),
            predicted_nss=None if predicted is None or not len(looked) else self._nss(predicted, looked),
        )

    def _agreement(self, places: _Floats, looked: _Floats) -> float | None:
        if len(looked) < 2:
            return None
        stamps = self.viewers.stamps(places, self.sigma)
        own = self.viewers.counts(looked, self.viewers.grid(self.sigma))
        others = torch.from_numpy(np.maximum(stamps.sum(axis=0) - stamps, 0))
        return float(nss(others, torch.from_numpy(own)).mean())

    def _nss(self, density: _Map, looked: _Floats) -> float:
        counts = self.viewers.counts(looked, (density.shape[0], density.shape[1])).sum(axis=0)
        return float(nss(torch.from_numpy(density[None]), torch.from_numpy(counts[None]))[0])
