"""`SaliencyBatch`es and rows of the table in, moments at which the prediction spreads or jumps out: to be looked at."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.frames import SaliencyBatch
from vidsal.tracks import FrameNumbers, column_field, column_meanings

__all__ = ["MOMENT_COLUMNS", "Candidate", "CandidateFinder"]

_Floats = npt.NDArray[np.float64]

# A jump is seen against the map so long before, in seconds, on maps with this many cells at most along a side.
_BACK_SECONDS, _CELLS = 0.5, 32
# What is unusual: so many times the usual deviation (1.4826 times the median one is that of a normal distribution)
# above the usual value, and by so much at least, as a share of it for spread, absolute for a jump.
_DEVIATIONS, _NORMAL, _LEAST_MORE, _LEAST_JUMP = 4.0, 1.4826, 0.5, 0.25
# Seconds that a moment lasts at least, and between two moments; what is nearer is one.
_LEAST_SECONDS, _GAP_SECONDS = 0.1, 0.5

NOTE = (
    "a candidate to look at: the prediction is unusual for this video here; that says nothing about a driver, and "
    "nothing about safety"
)
"""What a reader of a candidate has to know."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A moment to look at: one row of the table of moments."""

    kind: str = column_field("", "spread: the predicted attention is spread wide; jump: it moved elsewhere.")
    """spread or jump."""
    shot: int = column_field("shots", "Ordinal of the shot, from 0.")
    """0 or more."""
    start_seconds: float = column_field("s", "Presentation time of its first frame.")
    """As in the table of a run."""
    end_seconds: float = column_field("s", "Presentation time of its last frame.")
    """start_seconds or more."""
    most_seconds: float = column_field("s", "Presentation time of the frame with the largest value.")
    """start_seconds to end_seconds."""
    value: float = column_field(
        "share",
        "That value. spread: smallest share of the picture that holds half of the prediction; jump: share of the "
        "prediction that lies elsewhere than half a second before.",
    )
    """0 to 1."""
    usual: float = column_field("share", "The median of that value over the video.")
    """0 to 1."""
    threshold: float = column_field("share", "From which value on a frame counts.")
    """Above usual."""
    note: str = column_field("", "What it is, and what it is not.")
    """Not empty."""


MOMENT_COLUMNS = column_meanings(Candidate)
"""Unit and meaning of every column of the table of moments."""


class CandidateFinder:
    """Finds frames whose prediction is unusual for their video. Keeps two numbers a frame.

    A frame counts where its value lies 4 deviations (by the median absolute one) above the video's median, and for
    spread half as much again as the median, for a jump at 0.25 above it. A moment is a run of such frames of one shot,
    gaps of half a second included, that lasts a tenth of a second.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets the video."""
        self._seconds: list[float] = []
        self._shots: list[int] = []
        self._values: dict[Literal["spread", "jump"], list[float]] = {"spread": [], "jump": []}
        self._before: deque[tuple[float, _Floats]] = deque()

    def update(self, batch: SaliencyBatch, numbers: Sequence[FrameNumbers]) -> None:
        """Takes the next frames, and what `vidsal.tracks.Tracker` says of them."""
        for row, density in zip(numbers, batch.density.detach().cpu().numpy(), strict=True):
            if self._shots and self._shots[-1] != row.shot:
                self._before.clear()
            self._seconds.append(row.pts_seconds)
            self._shots.append(row.shot)
            self._values["spread"].append(row.coverage)
            self._values["jump"].append(self._jump(row.pts_seconds, _small(density)))

    def flush(self) -> list[Candidate]:
        """Ends the video: the moments, in order of their times."""
        found = [one for kind in self._values for one in self._of_kind(kind)]
        self.reset()
        return sorted(found, key=lambda one: (one.start_seconds, one.kind))

    def _jump(self, seconds: float, now: _Floats) -> float:
        """Share of the density that lies elsewhere than half a second ago; not a number at a shot's beginning."""
        self._before.append((seconds, now))
        while len(self._before) > 1 and self._before[1][0] <= seconds - _BACK_SECONDS + 1e-6:
            self._before.popleft()
        at, then = self._before[0]
        if seconds - at < _BACK_SECONDS - 1e-6:
            return float("nan")
        return 1.0 - float(np.minimum(now, then).sum())

    def _of_kind(self, kind: Literal["spread", "jump"]) -> list[Candidate]:
        values, seconds = np.array(self._values[kind]), np.array(self._seconds)
        known = values[np.isfinite(values)]
        if not len(known):
            return []
        usual = float(np.median(known))
        deviation = _NORMAL * float(np.median(np.abs(known - usual)))
        least = _LEAST_MORE * usual if kind == "spread" else _LEAST_JUMP
        threshold = usual + max(_DEVIATIONS * deviation, least)
        rows = np.flatnonzero(values >= threshold)  # what is not a number is not
        shots = np.array(self._shots)
        splits = np.flatnonzero((np.diff(seconds[rows]) > _GAP_SECONDS) | (np.diff(shots[rows]) != 0)) + 1
        found = []
        for run in np.split(rows, splits) if len(rows) else []:
            if seconds[run[-1]] - seconds[run[0]] < _LEAST_SECONDS - 1e-6:
                continue
            most = run[values[run].argmax()]
            found.append(
                Candidate(
                    kind=kind,
                    shot=int(shots[run[0]]),
                    start_seconds=float(seconds[run[0]]),
                    end_seconds=float(seconds[run[-1]]),
                    most_seconds=float(seconds[most]),
                    value=float(values[most]),
                    usual=usual,
                    threshold=float(threshold),
                    note=NOTE,
                )
            )
        return found


def _small(density: npt.NDArray[np.float32]) -> _Floats:
    """A map with few cells, of sum 1."""
    rows, columns = density.shape
    share = min(1.0, _CELLS / max(rows, columns))
    size = max(1, round(columns * share)), max(1, round(rows * share))
    small = np.asarray(cv2.resize(density, size, interpolation=cv2.INTER_AREA), np.float64)
    made: _Floats = small / small.sum()
    return made
