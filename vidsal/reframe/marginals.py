"""Densities in, how they lie along one side of the picture out: what a window at any place would keep of each.

A window that slides along one side keeps a share of the density that depends on its marginal alone. Kept are cumulative
marginals with 16 bits a cell, so that two hours of video take a tenth of a gigabyte, and a share is exact to 0.00002.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidsal.frames import SaliencyBatch

__all__ = ["Axis", "MarginalCollector", "Marginals", "kept_share"]

Axis = Literal["x", "y"]
"""The side of the picture along which a window slides."""

_Floats = npt.NDArray[np.float64]
_Steps = npt.NDArray[np.uint16]

MOST_CELLS = 512
"""Cells along a side that are kept; a finer map is brought down to so many."""

_WHOLE = 65535


@dataclass(frozen=True, eq=False)
class Marginals:
    """The frames of a source with their densities along one or both sides."""

    index: npt.NDArray[np.int64]
    """(N,) int64, as in `FrameBatch`."""
    pts_seconds: _Floats
    """(N,) float64, as in `FrameBatch`."""
    shot: npt.NDArray[np.int64]
    """(N,) int64, ordinal of the shot, from 0."""
    cumulative: dict[Axis, _Steps]
    """By side, (N, n + 1) uint16: the share of the density, in 65535ths, before each of n + 1 evenly spaced edges."""
    height: int
    """Rows of the upright picture, in pixels."""
    width: int
    """Columns of the upright picture, in pixels."""

    def __len__(self) -> int:
        return len(self.index)

    def shots(self) -> list[slice]:
        """The rows of each shot, in order."""
        edges = [0, *(np.flatnonzero(np.diff(self.shot)) + 1).tolist(), len(self)]
        return [slice(first, last) for first, last in itertools.pairwise(edges) if last > first]


def kept_share(cumulative: npt.NDArray[np.floating] | _Steps, start: npt.ArrayLike, length: npt.ArrayLike) -> _Floats:
    """The share of each density between two places along its side; a density is even within a cell.

    Args:
        cumulative: (N, n + 1), as in `Marginals`, or as shares from 0 to 1.
        start: (N, ...) or a number, where the window begins, as a share of the side from 0 to 1.
        length: the same shape or a number, how long it is.

    Returns:
        (N, ...) float64.
    """
    first = np.asarray(start, np.float64)
    return _before(cumulative, first + np.asarray(length, np.float64)) - _before(cumulative, first)


def _before(cumulative: npt.NDArray[np.floating] | _Steps, place: _Floats) -> _Floats:
    cells = cumulative.shape[1] - 1
    place = (
        np.broadcast_to(place, (len(cumulative), *place.shape[1:])) if place.ndim else np.full(len(cumulative), place)
    )
    where = np.clip(place, 0.0, 1.0) * cells
    cell = np.minimum(where.astype(np.int64), cells - 1)
    row = np.arange(len(cumulative)).reshape(-1, *([1] * (cell.ndim - 1)))
    lower, upper = (cumulative[row, cell + more].astype(np.float64) for more in (0, 1))
    share: _Floats = lower + (where - cell) * (upper - lower)
    return share / _WHOLE if cumulative.dtype == np.uint16 else share


class MarginalCollector:
    """Takes `SaliencyBatch`es in order, and keeps of each density what `Marginals` holds.

    Args:
        axes: the sides along which windows will slide.

    Example:
        >>> import torch
        >>> collector = MarginalCollector(["x"])
        >>> density = torch.tensor([[[1.0, 3.0]]])
        >>> start = np.zeros(1, np.int64)
        >>> batch = SaliencyBatch(start, np.zeros(1), start, np.zeros(1, np.bool_), density.log(), 9, 16)
        >>> collector.update(batch.with_density(density))
        >>> kept_share(collector.marginals().cumulative["x"], 0.5, 0.5).round(4).tolist()
        [0.75]
    """

    def __init__(self, axes: list[Axis]) -> None:
        self._axes = axes
        self._index: list[npt.NDArray[np.int64]] = []
        self._seconds: list[_Floats] = []
        self._shot: list[npt.NDArray[np.int64]] = []
        self._steps: dict[Axis, list[_Steps]] = {axis: [] for axis in axes}
        self._size = (1, 1)

    def update(self, batch: SaliencyBatch) -> None:
        """Takes the next frames."""
        self._index.append(batch.index.copy())
        self._seconds.append(batch.pts_seconds.copy())
        self._shot.append(batch.shot.copy())
        self._size = (batch.height, batch.width)
        density = batch.density.cpu().numpy()
        for axis in self._axes:
            marginal = density.sum(axis=1 if axis == "x" else 2, dtype=np.float64)  # (B, n)
            self._steps[axis].append(_cumulative(marginal))

    def marginals(self) -> Marginals:
        """All frames that came.

        Raises:
            ValueError: none came.
        """
        return Marginals(
            index=np.concatenate(self._index),
            pts_seconds=np.concatenate(self._seconds),
            shot=np.concatenate(self._shot),
            cumulative={axis: np.concatenate(steps) for axis, steps in self._steps.items()},
            height=self._size[0],
            width=self._size[1],
        )


def _cumulative(marginal: _Floats) -> _Steps:
    """(B, n) -> (B, n + 1), or fewer, uint16."""
    summed = np.cumsum(marginal, axis=1)
    shares = np.concatenate([np.zeros((len(summed), 1)), summed / summed[:, -1:]], axis=1)
    if shares.shape[1] - 1 > MOST_CELLS:
        places = np.broadcast_to(np.linspace(0, 1, MOST_CELLS + 1), (len(shares), MOST_CELLS + 1))
        shares = _before(shares, places)
    steps: _Steps = np.rint(shares * _WHOLE).astype(np.uint16)
    return steps
