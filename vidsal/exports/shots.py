"""Numbers of frames come in, one row of numbers a shot goes out: times, key frame, means, box, strength.

Only columns of the table are read, so that a finished table gives the same shots as the run that wrote it. Means are
over time: a frame counts for as long as it is shown, which is until the next one; the last frame of a source is taken
to be shown as long as the others are on average, but not beyond the source's end. What is kept of a shot does not
grow with its length.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from vidsal.exports.contract import Columns, Export, Footage
from vidsal.exports.tables import plain_text
from vidsal.shots import last_frame_lasts
from vidsal.timecode import Timecodes
from vidsal.tracks import FrameNumbers, column_field, column_meanings

__all__ = ["SHOT_COLUMNS", "SHOT_SOURCES", "ShotList", "ShotNumbers", "ShotsExport", "shot_list"]

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ShotNumbers:
    """The numbers of one shot: one row of the shot list, one field a column.

    `SHOT_COLUMNS` says what each means and in which unit; the docstrings below give the range of values.
    """

    shot: int = column_field("shots", "Ordinal of the shot, from 0, as in the table.")
    """0 or more."""
    first_index: int = column_field("frames", "Ordinal of its first frame, from 0, as in the table.")
    """0 or more."""
    last_index: int = column_field("frames", "Ordinal of its last frame.")
    """first_index or more."""
    start_seconds: float = column_field(
        "s", "Presentation time of its first frame; the first frame of the source is 0."
    )
    """0 or more but for a source that steps back in time."""
    end_seconds: float = column_field(
        "s",
        "Presentation time of the first frame of the next shot; at the end of what is read of the source that of "
        "the last frame and the mean time between frames (of a single frame that of its rate), but not after the end "
        "that the source says it has, nor after `--end`.",
    )
    """start_seconds or more but for a source that steps back in time."""
    length_seconds: float = column_field("s", "From start to end; 0 for a single picture.")
    """0 or more."""
    start_timecode: str | None = column_field(
        "", "Time code of its first frame, HH:MM:SS:FF, or HH:MM:SS;FF in drop frame; empty without one."
    )
    """None where the source has none."""
    end_timecode: str | None = column_field("", "Time code of end_seconds: that of the first frame after the shot.")
    """None where the source has none."""
    frames: int = column_field("frames", "Number of its frames.")
    """1 or more."""
    key_index: int = column_field(
        "frames",
        "Ordinal of the key frame: the one whose centroid and spread lie nearest to their medians over the shot; of "
        "several, the one nearest to the middle.",
    )
    """first_index to last_index."""
    key_seconds: float = column_field("s", "Presentation time of the key frame.")
    """start_seconds or more, at most the time of the last frame."""
    mean_peak_density: float = column_field("x uniform", "Mean of the table's peak_density over time.")
    """1 to the number of cells."""
    max_peak_density: float = column_field("x uniform", "Highest peak_density of its frames.")
    """mean_peak_density or more."""
    coverage: float = column_field(
        "share", "Mean of the table's coverage over time: how much of the picture holds half of the mass."
    )
    """Above 0, at most 0.5."""
    entropy_share: float = column_field("share", "Mean of the table's entropy_share over time.")
    """0 to 1."""
    centroid_x: float = column_field("px", "Mean column under the density, over time.")
    """-0.5 to width - 0.5."""
    centroid_y: float = column_field("px", "Mean row under the density, over time.")
    """-0.5 to height - 0.5."""
    box_x: int | None = column_field(
        "px", "First column of the salient region's box; empty where the size is not known."
    )
    """0 to width - 1."""
    box_y: int | None = column_field("px", "First row of the salient region's box.")
    """0 to height - 1."""
    box_width: int | None = column_field("px", "Number of columns of the salient region's box.")
    """1 to width - box_x."""
    box_height: int | None = column_field("px", "Number of rows of the salient region's box.")
    """1 to height - box_y."""
    attention_strength: float = column_field(
        "bit", "Mean over time of the bits by which the entropy of the map lies below that of a flat one."
    )
    """0 to log2 of the number of cells."""

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Names of the columns, in the list's order."""
        return tuple(SHOT_COLUMNS)

    def as_row(self) -> dict[str, int | float | str | None]:
        """The values by column name, in the list's order, as plain Python values."""
        return {name: getattr(self, name) for name in SHOT_COLUMNS}


SHOT_COLUMNS = column_meanings(ShotNumbers)
"""Unit and meaning of every column, in the list's order."""

SHOT_SOURCES = (
    *("index", "pts_seconds", "shot", "peak_density", "centroid_x", "centroid_y", "spread_x", "spread_y"),
    *("entropy_bits", "entropy_share", "coverage"),
)
"""The columns of the table that are read."""

_INDEX, _SECONDS, _SHOT, _PEAK, _CENTROID, _SPREAD, _BITS, _SHARE, _COVERAGE = (
    *(0, 1, 2, 3, slice(4, 6), slice(6, 8), 8, 9, 10),
)
_KEPT = 8192
"""Frames among which the key frame is looked for: all of a shot of up to so many, else every second, fourth, ..."""


class ShotList:
    """Adds up the frames of each shot; memory does not grow with the length of a shot or of the source.

    The salient region's box of a shot is that of the mean of its maps over time: from one standard deviation before the
    centroid to one after it, in columns and in rows, in whole pixels and cut at the picture's border. For a Gaussian it
    holds 47 % of the mass. `picture[box_y : box_y + box_height, box_x : box_x + box_width]` cuts it out.

    The attention strength is the mean over time of log2(cells) - entropy_bits, the Kullback-Leibler divergence of the
    map from a flat one. At s bits the map is as narrow as one that is flat on a share of 2^-s of the picture and zero
    elsewhere. It depends neither on the length of a shot nor on the frame rate.

    The distance of a frame from the medians is sqrt(dx^2 + dy^2 + dsx^2 + dsy^2) in pixels, with the differences of
    the centroid and of the spread: the 2-Wasserstein distance of the two Gaussians that have them. Medians are over
    time too. In shots of more than 8192 frames, every second, fourth, ... frame is looked at, at least 4096 of them.

    Results do not depend on how the frames are grouped.

    Args:
        height: rows of the upright picture at full size; None where they are not known: then there are no boxes.
        width: columns of it.
        timecode: of the source's first frame, HH:MM:SS:FF; None without one. One that cannot be read counts as none.
        rate: frames a second that the time code counts by, see `vidsal.timecode.nominal_rate`, and by which a single
            frame is shown; None for a picture, which has no length.
        duration_seconds: how long the source says it is, from its first frame on; None where it does not say.
        end_seconds: where the part of the source ends that is read; None: at its own end.

    Example:
        >>> row = dict.fromkeys(SHOT_SOURCES, 0.5)
        >>> shots = ShotList(height=20, width=40)
        >>> frames = [row | {"index": n, "pts_seconds": n / 25, "shot": n // 3} for n in range(5)]
        >>> columns = {name: np.array([frame[name] for frame in frames]) for name in SHOT_SOURCES}
        >>> [(shot.shot, shot.frames, shot.key_index) for shot in (*shots.update(columns), *shots.flush())]
        [(0, 3, 1), (1, 2, 4)]
    """

    def __init__(
        self,
        *,
        height: int | None = None,
        width: int | None = None,
        timecode: str | None = None,
        rate: Fraction | None = None,
        duration_seconds: float | None = None,
        end_seconds: float | None = None,
    ) -> None:
        self._height, self._width = height, width
        self._lasts = functools.partial(
            last_frame_lasts, duration_seconds=duration_seconds, rate=rate, end_seconds=end_seconds
        )
        self._rate = rate or Fraction(0)
        self._timecodes: Timecodes | None = None
        if timecode is not None and rate is not None:
            with contextlib.suppress(ValueError):
                self._timecodes = Timecodes.of(timecode, rate)
        self.reset()

    def reset(self) -> None:
        """Forgets the source."""
        # The last frame: how long it is shown is not known yet.
        self._held: _Floats = np.empty((0, len(SHOT_SOURCES)))
        self._begin = 0.0
        self._steps = 0
        self._open: _OpenShot | None = None

    def update(self, frames: Sequence[FrameNumbers] | Mapping[str, npt.ArrayLike]) -> list[ShotNumbers]:
        """Takes the next frames.

        Args:
            frames: rows of the table, in order; or the columns `SHOT_SOURCES` of it, (N,) each.

        Returns:
            The shots that have ended with them, in order.

        Raises:
            ValueError: a number is not finite.
        """
        if isinstance(frames, Mapping):
            new = np.stack([np.asarray(frames[name], np.float64) for name in SHOT_SOURCES], axis=1)
        else:
            values = [[getattr(row, name) for name in SHOT_SOURCES] for row in frames]
            new = np.array(values, np.float64).reshape(-1, len(SHOT_SOURCES))
        bad = ~np.isfinite(new).all(axis=1)
        if bad.any():
            names = [name for name, value in zip(SHOT_SOURCES, new[bad][0], strict=True) if not np.isfinite(value)]
            raise ValueError(f"{', '.join(names)} of frame {new[bad][0, _INDEX]:.0f} must be a finite number")
        rows = np.concatenate([self._held, new])
        durations = np.maximum(np.diff(rows[:, _SECONDS]), 0.0)
        if not len(self._held) and len(new):
            self._begin = float(new[0, _SECONDS])
        self._steps += len(durations)
        self._held = rows[-1:].copy()
        ended = []
        cuts = np.flatnonzero(np.diff(rows[:, _SHOT])) + 1
        for first, after in itertools.pairwise([0, *cuts.tolist()]):
            ended.append(self._end(rows[first:after], durations[first:after], seconds=float(rows[after, _SECONDS])))
        rest = slice(int(cuts[-1]) if len(cuts) else 0, max(len(rows) - 1, 0))
        if len(durations[rest]):
            self._grown(rows[rest], durations[rest])
        return ended

    def flush(self) -> list[ShotNumbers]:
        """Ends the source: the shot that is still open, if a frame came; the next source begins afresh."""
        ended = list[ShotNumbers]()
        if len(self._held):
            last = float(self._held[0, _SECONDS])
            step = self._lasts(self._begin, last, steps=self._steps)
            ended.append(self._end(self._held, np.array([step]), seconds=last + step))
        self.reset()
        return ended

    def _grown(self, rows: _Floats, durations: _Floats) -> _OpenShot:
        """The open shot with these frames, at least one; the first of a shot opens it."""
        self._open = self._open or _OpenShot(rows[0])
        self._open.add(rows, durations)
        return self._open

    def _end(self, rows: _Floats, durations: _Floats, *, seconds: float) -> ShotNumbers:
        shot, self._open = self._grown(rows, durations), None
        numbers = shot.numbers(seconds, height=self._height, width=self._width)
        if self._timecodes is None:
            return numbers
        start, end = (self._timecodes[round(time * self._rate)] for time in (numbers.start_seconds, seconds))
        return replace(numbers, start_timecode=start, end_timecode=end)


class _OpenShot:
    """What is kept of one shot."""

    def __init__(self, first: _Floats) -> None:
        self._first = self._last = first
        # Squares of positions far from 0 would lose the digits of a small spread.
        self._origin = first[_CENTROID]
        self._frames = 0
        self._highest = float(first[_PEAK])
        # By time, and by frames for where no time passes.
        self._sums: _Floats = np.zeros((2, 9))
        self._kept: list[_Floats] = []
        self._stride = 1

    def add(self, rows: _Floats, durations: _Floats) -> None:
        peak, bits, share = rows[:, _PEAK], rows[:, _BITS], rows[:, _SHARE]
        # All the mass in one of n cells: the entropy is 0, and the peak n times uniform.
        flat = np.divide(bits, share, out=np.log2(np.maximum(peak, 1.0)), where=share > 0)
        place = rows[:, _CENTROID] - self._origin
        square = rows[:, _SPREAD] ** 2 + place**2
        averaged = [place, square, peak, rows[:, _COVERAGE], share, np.maximum(flat - bits, 0.0)]
        values = np.column_stack([np.ones(len(rows)), *averaged])
        weighted = np.stack([durations[:, None] * values, values])
        # One after the other, in whatever groups the frames come.
        self._sums = np.add.accumulate(np.concatenate([self._sums[:, None], weighted], axis=1), axis=1)[:, -1]
        self._highest = max(self._highest, float(peak.max()))
        self._keep(np.column_stack([rows[:, [_INDEX, _SECONDS]], durations, rows[:, _CENTROID], rows[:, _SPREAD]]))
        self._frames += len(rows)
        self._last = rows[-1]

    def _keep(self, candidates: _Floats) -> None:
        self._kept.append(candidates[-self._frames % self._stride :: self._stride])
        while sum(map(len, self._kept)) > _KEPT:
            self._kept = [np.concatenate(self._kept)[::2]]
            self._stride *= 2

    def numbers(self, end: float, *, height: int | None, width: int | None) -> ShotNumbers:
        sums = self._sums[0] if self._sums[0, 0] > 0 else self._sums[1]
        place, square = sums[1:3] / sums[0], sums[3:5] / sums[0]
        peak, coverage, share, strength = (sums[5:] / sums[0]).tolist()
        x, y = (self._origin + place).tolist()
        spread_x, spread_y = np.sqrt(np.maximum(square - place**2, 0.0)).tolist()
        box_x, box_width = _pixels(x, spread_x, width)
        box_y, box_height = _pixels(y, spread_y, height)
        start = float(self._first[_SECONDS])
        key_index, key_seconds = self._key_frame((start + end) / 2)
        return ShotNumbers(
            shot=int(self._first[_SHOT]),
            first_index=int(self._first[_INDEX]),
            last_index=int(self._last[_INDEX]),
            start_seconds=start,
            end_seconds=end,
            length_seconds=max(end - start, 0.0),
            start_timecode=None,
            end_timecode=None,
            frames=self._frames,
            key_index=key_index,
            key_seconds=key_seconds,
            mean_peak_density=peak,
            max_peak_density=self._highest,
            coverage=coverage,
            entropy_share=share,
            centroid_x=x,
            centroid_y=y,
            box_x=box_x,
            box_y=box_y,
            box_width=box_width,
            box_height=box_height,
            attention_strength=strength,
        )

    def _key_frame(self, middle: float) -> tuple[int, float]:
        """Ordinal and time of the frame that stands for the shot."""
        kept = np.concatenate(self._kept)
        seconds, durations, values = kept[:, 1], kept[:, 2], kept[:, 3:]
        distance = np.sqrt(((values - _medians(values, durations)) ** 2).sum(axis=1))
        # A thousandth of a pixel, or a microsecond, is no difference.
        best = np.lexsort((np.abs(seconds - middle).round(6), distance.round(3)))[0]
        return int(kept[best, 0]), float(seconds[best])


def _medians(values: _Floats, weights: _Floats) -> _Floats:
    """(N, n), (N,) -> (n,) the lowest value at which half of the weight is reached, or half of the N where it is 0."""
    order = np.argsort(values, axis=0)
    held = np.cumsum((weights if weights.any() else np.ones(len(weights)))[order], axis=0)
    middle = (held < held[-1] / 2).sum(axis=0)
    medians: _Floats = np.take_along_axis(values, np.take_along_axis(order, middle[None], axis=0), axis=0)[0]
    return medians


def _pixels(centre: float, spread: float, size: int | None) -> tuple[int | None, int | None]:
    """First pixel and number of pixels along a side, from `spread` before the centre to as far after it."""
    if size is None:
        return None, None
    first, last = (min(max(math.floor(edge + 0.5), 0), size - 1) for edge in (centre - spread, centre + spread))
    return first, last - first + 1


def shot_list(footage: Footage) -> ShotList:
    """An empty shot list for a source."""
    return ShotList(
        height=footage.height,
        width=footage.width,
        timecode=footage.timecode,
        rate=footage.shown_rate,
        duration_seconds=footage.duration_seconds,
        end_seconds=footage.end_seconds,
    )


class ShotsExport(Export):
    """The shot list as a .csv: one row a shot, which can be written as soon as the shot has ended."""

    sources = SHOT_SOURCES

    def __init__(self, footage: Footage) -> None:
        super().__init__(footage)
        self._shots = shot_list(footage)
        self._head = [list(SHOT_COLUMNS)]

    def update(self, columns: Columns) -> bytes:
        """Takes the next rows; the rows of the shots that have ended with them."""
        return self._rows(self._shots.update(columns))

    def flush(self) -> bytes:
        """The row of the last shot."""
        return self._rows(self._shots.flush())

    def _rows(self, shots: Sequence[ShotNumbers]) -> bytes:
        head, self._head = self._head, []
        text = io.StringIO(newline="")
        rows = [[plain_text(getattr(shot, name)) for name in SHOT_COLUMNS] for shot in shots]
        csv.writer(text, lineterminator="\n").writerows(head + rows)
        return text.getvalue().encode()
