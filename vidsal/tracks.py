"""`SaliencyBatch` comes in, one row of numbers a frame goes out: peak, centroid, spread, entropy, regions with ids.

All positions are pixels of the upright full-size picture, x to the right, y down, 0 the centre of the first pixel.

A region is a hill of the map. On the map reduced to at most 48 cells a side, every cell belongs to the maximum
that steepest ascent leads to; a maximum that does not stand clear of the pass to a higher one is part of that one.
The region is the cells of the hill that reach half the hill's own height (for a Gaussian they hold half its mass).
Its box holds all of these cells: the whole pixels that they touch.

The peak may be steadied by a 1-euro filter (Casiez, Roussel and Vogel, CHI 2012): an exponential average whose cutoff
rises with the speed, so that a peak at rest does not jitter and one that moves is followed.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType, NoneType, UnionType
from typing import Any, NamedTuple, Protocol, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from vidsal.frames import SaliencyBatch
from vidsal.smooth.exponential import first_order_hold
from vidsal.stages import TrackOptions

__all__ = [
    "BOX_COLUMNS",
    "COLUMNS",
    "Column",
    "ColumnSource",
    "FrameNumbers",
    "Shared",
    "TrackOptions",
    "Tracker",
    "column_field",
    "column_meanings",
    "column_types",
]

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]
_Maps = npt.NDArray[np.float32]

_REGIONS = 3  # reported a frame
_CANDIDATES = 5  # hills followed a frame, so that one that drops to fourth place keeps its id
_TRACKS = 8  # remembered at once; bounds the search for the best pairs
_GRID = 48
# A pass at most this share of the summit makes a hill of its own; one already followed may be flatter and lower.
_PASS_NEW, _PASS_KNOWN = 0.70, 0.85
_KNOWN_PEAK = 0.6  # a followed hill may sink to this share of what a new one needs
_HALF_HEIGHT = 0.5
_RUN = 128
# How much more than half some cells have to hold, so that rounding does not matter.
_SURELY_HALF = 1.01
# The expected distance grows with the time between frames, at this share of the diagonal a second, up to the limit.
_REACH_PER_SECOND = 0.3
_REACH_LIMIT = 0.3
# A track's velocity follows what is seen with this time constant.
_VELOCITY_SECONDS = 0.15
# Two hills have run into one where a lost one is expected within this many radii of another.
_MERGE_RADII = 2.0
# Cutoff of the 1-euro filter's own view of the speed, as its authors have it.
_SPEED_HERTZ = 1.0


class Column(NamedTuple):
    """What a column of the table means."""

    unit: str
    """Unit of the values; "" for names and truth values."""
    meaning: str
    """One sentence, for the documentation."""


def column_field(unit: str, meaning: str) -> Any:
    """A field of a dataclass that is a column of a table, and what it means; as `Column` has it."""
    return field(metadata={"column": Column(unit, meaning)})


def column_meanings(row: type[Any]) -> Mapping[str, Column]:
    """Unit and meaning of the columns of a dataclass whose fields are made by `column_field`, in order."""
    return MappingProxyType({each.name: each.metadata["column"] for each in fields(row)})


@dataclass(frozen=True, kw_only=True)
class FrameNumbers:
    """The numbers of one frame: one row of the table, one field a column.

    `COLUMNS` says what each means and in which unit; the docstrings below give the range of values.
    """

    index: int = column_field("frames", "Ordinal of the frame as decoded, from 0.")
    """0 or more, increasing."""
    pts_seconds: float = column_field("s", "Presentation time; the first frame of the source is 0.")
    """0 or more but for a source that steps back in time."""
    shot: int = column_field("shots", "Ordinal of the shot, from 0.")
    """0 or more."""
    cut: bool = column_field("", "True on the first frame of every shot but the first.")
    """False on the first frame of all."""
    peak_x: float = column_field(
        "px", "Column of the map's maximum, between cells by a parabola through the logs; steadied where asked for."
    )
    """-0.5 to width - 0.5."""
    peak_y: float = column_field(
        "px", "Row of the map's maximum, between cells by a parabola through the logs; steadied where asked for."
    )
    """-0.5 to height - 0.5."""
    peak_density: float = column_field(
        "x uniform", "Density in the highest cell as a multiple of the uniform density: 1 for a flat map."
    )
    """1 to the number of cells."""
    centroid_x: float = column_field("px", "Mean column under the density.")
    """-0.5 to width - 0.5."""
    centroid_y: float = column_field("px", "Mean row under the density.")
    """-0.5 to height - 0.5."""
    spread_x: float = column_field("px", "Standard deviation of the column under the density, of cell centres.")
    """0 to width / 2."""
    spread_y: float = column_field("px", "Standard deviation of the row under the density, of cell centres.")
    """0 to height / 2."""
    entropy_bits: float = column_field("bit", "Entropy of the density over the map's cells.")
    """0 to log2 of the number of cells."""
    entropy_share: float = column_field(
        "share", "Entropy over its maximum, log2 of the number of cells: 1 for a flat map, 0 for a single cell."
    )
    """0 to 1."""
    coverage: float = column_field(
        "share", "Smallest share of the picture that holds half of the mass, the last cell counted in part."
    )
    """Above 0, at most 0.5."""
    region1_id: int | None = column_field(
        "", "Id of the region with the largest mass, from 1 in every shot; empty if none."
    )
    """From 1 in every shot; None where there is no such region."""
    region1_x: float | None = column_field("px", "Mean column of that region under the density.")
    """-0.5 to width - 0.5, or None."""
    region1_y: float | None = column_field("px", "Mean row of that region under the density.")
    """-0.5 to height - 0.5, or None."""
    region1_mass: float | None = column_field("share", "Share of the density in that region.")
    """Above 0, at most 1, or None."""
    region1_left: int | None = column_field("px", "First column of that region's box, which holds all of its cells.")
    """0 to width - 1, or None."""
    region1_top: int | None = column_field("px", "First row of that region's box.")
    """0 to height - 1, or None."""
    region1_width: int | None = column_field("px", "Number of columns of that region's box.")
    """1 to width - region1_left, or None."""
    region1_height: int | None = column_field("px", "Number of rows of that region's box.")
    """1 to height - region1_top, or None."""
    region2_id: int | None = column_field("", "Id of the region with the second largest mass; empty if none.")
    """From 1 in every shot; None where there is no such region."""
    region2_x: float | None = column_field("px", "Mean column of that region under the density.")
    """-0.5 to width - 0.5, or None."""
    region2_y: float | None = column_field("px", "Mean row of that region under the density.")
    """-0.5 to height - 0.5, or None."""
    region2_mass: float | None = column_field("share", "Share of the density in that region.")
    """Above 0, at most region1_mass, or None."""
    region2_left: int | None = column_field("px", "First column of that region's box, which holds all of its cells.")
    """0 to width - 1, or None."""
    region2_top: int | None = column_field("px", "First row of that region's box.")
    """0 to height - 1, or None."""
    region2_width: int | None = column_field("px", "Number of columns of that region's box.")
    """1 to width - region2_left, or None."""
    region2_height: int | None = column_field("px", "Number of rows of that region's box.")
    """1 to height - region2_top, or None."""
    region3_id: int | None = column_field("", "Id of the region with the third largest mass; empty if none.")
    """From 1 in every shot; None where there is no such region."""
    region3_x: float | None = column_field("px", "Mean column of that region under the density.")
    """-0.5 to width - 0.5, or None."""
    region3_y: float | None = column_field("px", "Mean row of that region under the density.")
    """-0.5 to height - 0.5, or None."""
    region3_mass: float | None = column_field("share", "Share of the density in that region.")
    """Above 0, at most region2_mass, or None."""
    region3_left: int | None = column_field("px", "First column of that region's box, which holds all of its cells.")
    """0 to width - 1, or None."""
    region3_top: int | None = column_field("px", "First row of that region's box.")
    """0 to height - 1, or None."""
    region3_width: int | None = column_field("px", "Number of columns of that region's box.")
    """1 to width - region3_left, or None."""
    region3_height: int | None = column_field("px", "Number of rows of that region's box.")
    """1 to height - region3_top, or None."""

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Names of the columns, in the table's order."""
        return tuple(COLUMNS)

    def as_row(self) -> dict[str, int | float | bool | None]:
        """The values by column name, in the table's order, as plain Python values."""
        return {name: getattr(self, name) for name in COLUMNS}


COLUMNS = column_meanings(FrameNumbers)
"""Unit and meaning of every column, in the table's order."""

_BOX = ("left", "top", "width", "height")
BOX_COLUMNS = tuple(f"region{place + 1}_{name}" for place in range(_REGIONS) for name in _BOX)
"""Those of the regions' boxes, which tables of earlier versions lack."""


class ColumnSource(Protocol):
    """What gives a table its columns: `Tracker`, and any other object that measures frames.

    Example:
        >>> @dataclass(frozen=True)
        ... class Size:
        ...     pixels: int
        >>> class Sizes:
        ...     row = Size
        ...     def update(self, batch):
        ...         return [Size(batch.height * batch.width) for _ in batch.index]

        `TableSink("table.parquet", further=[Sizes()])` has the columns of `FrameNumbers` and `pixels`, an int64.
    """

    row: type[Any]
    """A dataclass: one field a column, of the annotated type, see `column_types`."""

    def update(self, batch: SaliencyBatch) -> Sequence[Any]:
        """Measures the next frames: one `row` a frame, in order."""
        ...


def column_types(row: type[Any]) -> dict[str, type]:
    """The names of a dataclass's fields to the types of their values, from the annotations.

    Raises:
        TypeError: a field is neither bool, int, float or str, nor one of these or None.

    Example:
        >>> types = column_types(FrameNumbers)
        >>> types["cut"], types["peak_x"], types["region1_id"]
        (<class 'bool'>, <class 'float'>, <class 'int'>)
    """
    types: dict[str, type] = {}
    hints = get_type_hints(row)
    for each in fields(row):
        hint = hints[each.name]
        kinds = {*get_args(hint)} - {NoneType} if get_origin(hint) in (Union, UnionType) else {hint}
        if len(kinds) != 1 or kinds.isdisjoint({bool, int, float, str}):
            raise TypeError(
                f"the column {each.name} of {row.__name__} is annotated {hint}; a table takes bool, int, float or str, "
                "or one of these with None"
            )
        types[each.name] = kinds.pop()
    return types


class Tracker:
    """Measures densities and follows their regions from frame to frame.

    A region keeps its id while it moves by no more than `region_reach` of the diagonal (more where frames lie far
    apart in time) from where its motion so far would have it, while it is gone for `region_memory_seconds` at
    most, and while it has run into another one. Pairs of regions and ids are the best for all together. Ids begin
    at 1 in each shot and are not given twice within it.

    With `peak_filter="one-euro"` peak_x and peak_y go through that filter, afresh in every shot: an exponential average
    with the cutoff f = `peak_cutoff_hertz` + `peak_speed_gain` * speed, so a peak that keeps its speed is followed with
    a lag of speed / (2 pi f). peak_density stays that of the highest cell.

    Numbers do not depend on how the frames are grouped into batches.

    Example:
        >>> import torch
        >>> flat = torch.full((1, 2, 4), 1 / 8).log()
        >>> batch = SaliencyBatch(
        ...     index=np.array([0]), pts_seconds=np.array([0.0]), shot=np.array([0]), cut=np.array([False]),
        ...     log_density=flat, height=20, width=40,
        ... )
        >>> numbers = Tracker().update(batch)[0]
        >>> numbers.centroid_x, round(numbers.entropy_bits, 6), numbers.coverage, numbers.region1_id
        (19.5, 3.0, 0.5, None)
    """

    row = FrameNumbers

    def __init__(self, options: TrackOptions | None = None) -> None:
        self.options = options or TrackOptions()
        self.reset()

    def reset(self) -> None:
        """Forgets the source: ids begin again."""
        self._tracks: list[_Track] = []
        self._next_id = 1
        self._shot: int | None = None
        self._seconds: float  # of the last frame; the first one begins a shot, which sets it
        self._peak = _PeakFilter(self.options)

    def update(self, batch: SaliencyBatch) -> list[FrameNumbers]:
        """Measures the next frames.

        Args:
            batch: The frames that follow those given before.

        Returns:
            One `FrameNumbers` a frame, in order.

        Raises:
            ValueError: A density is not finite or has no mass.
        """
        log_density: _Maps = batch.log_density.detach().cpu().numpy()
        density: _Maps = np.exp(log_density)
        whole = _whole_map(log_density, density, batch)
        maps = _reduce(density, batch.height, batch.width)
        rows = []
        for i in range(len(batch)):
            shot, seconds = int(batch.shot[i]), float(batch.pts_seconds[i])
            if bool(batch.cut[i]) or shot != self._shot:
                self.reset()
                self._shot, self._seconds = shot, seconds
            numbers: dict[str, Any] = {name: float(values[i]) for name, values in whole.items()}
            if self.options.peak_filter == "one-euro":
                peak = numbers["peak_x"], numbers["peak_y"]
                diagonal = math.hypot(batch.height, batch.width)
                numbers["peak_x"], numbers["peak_y"] = self._peak.update(*peak, seconds, diagonal=diagonal)
            numbers |= {"index": int(batch.index[i]), "pts_seconds": seconds, "shot": shot, "cut": bool(batch.cut[i])}
            rows.append(FrameNumbers(**numbers, **self._regions(maps.one(i), seconds)))
        return rows

    def _regions(self, grid: _Grid, seconds: float) -> dict[str, Any]:
        """Finds and follows the regions of one frame; the region columns."""
        step = max(seconds - self._seconds, 0.0)  # a step back in time counts as none
        self._seconds = max(seconds, self._seconds)
        diagonal = math.hypot(grid.height, grid.width)
        hills = _find_hills(grid, min_peak=_KNOWN_PEAK * self.options.region_min_peak)
        for track in self._tracks:
            track.expect(step)
        grown = self.options.region_reach + _REACH_PER_SECOND * step
        reach = diagonal * min(grown, max(_REACH_LIMIT, self.options.region_reach))
        pairs = _best_pairs(hills, self._tracks, reach)
        kept = [
            hill
            for hill, pair in zip(hills, pairs, strict=True)
            if pair is not None
            or (hill.pass_share <= _PASS_NEW and hill.peak >= self.options.region_min_peak * hills[0].peak)
        ]
        found = {id(hill): pair for hill, pair in zip(hills, pairs, strict=True)}
        regions = [(region, found[id(hill)]) for hill, region in _measure(grid, hills, kept)]
        seen = {id(track) for _, track in regions}
        lost = [track for track in self._tracks if id(track) not in seen]
        joined = {
            (id(region), id(track))
            for region, _ in regions
            for track in lost
            if math.hypot(track.expected_x - region.x, track.expected_y - region.y) <= _MERGE_RADII * region.radius
        }
        named: list[tuple[int, _HillTop]] = []
        for region, pair in regions:
            if pair is None:
                track = _Track(self._next_id, region.x, region.y)
                self._next_id += 1
                self._tracks.append(track)
            else:
                track = pair
                track.see(region, step, merged=any(one == id(region) for one, _ in joined))
            named.append((track.id, region))
        for track in lost:
            track.miss(step, merged=any(other == id(track) for _, other in joined))
        self._tracks = [track for track in self._tracks if track.missing <= self.options.region_memory_seconds]
        # The longest missing go first where there are too many.
        self._tracks = sorted(self._tracks, key=lambda track: (track.missing, track.id))[:_TRACKS]
        named.sort(key=lambda each: (-each[1].mass, each[0]))
        row: dict[str, Any] = {}
        for place in range(_REGIONS):
            row[f"region{place + 1}_id"], shown = named[place] if place < len(named) else (None, None)
            for name in ("x", "y", "mass"):
                row[f"region{place + 1}_{name}"] = getattr(shown, name, None)
            box = (None,) * 4 if shown is None else grid.box(shown.cells)
            row |= {f"region{place + 1}_{name}": value for name, value in zip(_BOX, box, strict=True)}
        return row


class Shared:
    """A `ColumnSource` for several sinks that are given the same batches one after the other: it measures each once.

    Args:
        source: what measures.
    """

    def __init__(self, source: ColumnSource) -> None:
        self._source = source
        self.row = source.row
        self._rows: Sequence[Any] = ()
        # Not the batch itself, which may hold pictures.
        self._batch: weakref.ref[SaliencyBatch] | None = None

    def update(self, batch: SaliencyBatch) -> Sequence[Any]:
        """The rows of a batch: measured where it is another one than the last, else those from before."""
        if self._batch is None or self._batch() is not batch:
            self._rows = self._source.update(batch)
            self._batch = weakref.ref(batch)
        return self._rows


class _PeakFilter:
    """The 1-euro filter of a point, exact for one that moves evenly between frames.

    Both coordinates share one speed, so turning the picture turns the answer.
    """

    def __init__(self, options: TrackOptions) -> None:
        self._options = options
        self._seconds: float | None = None
        self._seen = self._steady = 0j  # x + i y, pixels
        self._velocity = 0j  # pixels a second

    def update(self, x: float, y: float, seconds: float, *, diagonal: float) -> tuple[float, float]:
        """Where the point is taken to be."""
        point = complex(x, y)
        if self._seconds is None:
            self._seconds, self._steady = seconds, point
        elif seconds > self._seconds:  # no time passes between equal times, nor on a step back
            step = seconds - self._seconds
            slope = (point - self._seen) / step

            def velocity_after(share: float) -> complex:
                return slope + (self._velocity - slope) * math.exp(-2 * math.pi * _SPEED_HERTZ * share * step)

            # The cutoff changes on the way: Simpson's rule for its mean.
            speeds = [abs(self._velocity), abs(velocity_after(0.5)), abs(velocity_after(1))]
            speed = (speeds[0] + 4 * speeds[1] + speeds[2]) / 6 / diagonal
            cutoff = self._options.peak_cutoff_hertz + self._options.peak_speed_gain * speed
            keep, before, now = first_order_hold(2 * math.pi * cutoff * step)
            self._steady = keep * self._steady + before * self._seen + now * point
            self._velocity = velocity_after(1)
            self._seconds = seconds
        self._seen = point
        return self._steady.real, self._steady.imag


def _whole_map(log_density: _Maps, density: _Maps, batch: SaliencyBatch) -> dict[str, _Floats]:
    """(B, h, w) logs and densities -> the columns that need no regions, (B,) each."""
    count, rows, columns = density.shape
    by_column = density.sum(axis=1, dtype=np.float64)  # (B, w)
    by_row = density.sum(axis=2, dtype=np.float64)  # (B, h)
    mass = by_row.sum(axis=1)
    bad = ~(np.isfinite(mass) & (mass > 0))
    if bad.any():
        raise ValueError(f"the density of frame {batch.index[bad][0]} has mass {mass[bad][0]}; it must be 1")
    x, y = _centres(columns, batch.width), _centres(rows, batch.height)
    by_column /= mass[:, None]
    by_row /= mass[:, None]
    # Not a matrix product, whose rounding depends on the size of the batch.
    centroid_x, centroid_y = (by_column * x).sum(axis=1), (by_row * y).sum(axis=1)
    spread_x = np.sqrt((by_column * (x - centroid_x[:, None]) ** 2).sum(axis=1))
    spread_y = np.sqrt((by_row * (y - centroid_y[:, None]) ** 2).sum(axis=1))
    flat = density.reshape(count, -1)
    # The bound keeps 0 log 0 at 0; einsum would add 57,600 float32 one by one.
    weighed = np.maximum(log_density.reshape(count, -1), np.float32(-1e4))
    weighed *= flat
    information = -weighed.sum(axis=1, dtype=np.float64)
    entropy = np.maximum(information / mass + np.log(mass), 0.0) / math.log(2)
    most = math.log2(rows * columns)
    best = flat.argmax(axis=1)
    row, column = best // columns, best % columns
    frame = np.arange(count)
    row_offset = _parabola(log_density, frame, row, column, down=1, right=0)
    column_offset = _parabola(log_density, frame, row, column, down=0, right=1)
    peak_x = (column + column_offset + 0.5) * batch.width / columns - 0.5
    peak_y = (row + row_offset + 0.5) * batch.height / rows - 0.5
    return {
        # Where the map is finer than the picture, a cell at the border lies outside the outermost pixels' centres.
        "peak_x": np.clip(peak_x, 0, batch.width - 1),
        "peak_y": np.clip(peak_y, 0, batch.height - 1),
        "peak_density": flat[frame, best] / mass * (rows * columns),
        "centroid_x": centroid_x,
        "centroid_y": centroid_y,
        "spread_x": spread_x,
        "spread_y": spread_y,
        "entropy_bits": entropy,
        "entropy_share": np.minimum(entropy / most, 1.0) if most > 0 else np.ones(count),
        "coverage": _coverage(flat, mass),
    }


def _centres(cells: int, pixels: int) -> _Floats:
    """Pixel coordinates of the cells' centres along one side."""
    return np.asarray((np.arange(cells) + 0.5) * pixels / cells - 0.5, np.float64)


def _parabola(
    log_density: _Maps, frame: _Integers, row: _Integers, column: _Integers, *, down: int, right: int
) -> _Floats:
    """Offset of the maximum in cells along one side, -0.5 to 0.5; exact for a Gaussian, 0 at the border."""
    last_row, last_column = log_density.shape[1] - 1, log_density.shape[2] - 1
    inside = (row >= down) & (row + down <= last_row) & (column >= right) & (column + right <= last_column)
    before = log_density[frame, np.maximum(row - down, 0), np.maximum(column - right, 0)].astype(float)
    after = log_density[frame, np.minimum(row + down, last_row), np.minimum(column + right, last_column)].astype(float)
    top = log_density[frame, row, column].astype(float)
    bend = before - 2 * top + after  # never above 0 at a maximum
    usable = inside & np.isfinite(bend) & (bend < 0)
    offset = np.zeros(len(frame))
    offset[usable] = 0.5 * (before[usable] - after[usable]) / bend[usable]
    return np.clip(offset, -0.5, 0.5)


def _coverage(flat: _Maps, mass: _Floats) -> _Floats:
    """(B, n) densities -> (B,) smallest share of the cells that holds half of the mass."""
    share = np.empty(len(flat))
    # Sums of runs first: adding up all the cells one after the other would take most of the time.
    starts = np.arange(0, flat.shape[1], _RUN)
    for i, values in enumerate(flat):
        half = mass[i] / 2
        # Mostly the cells above the mean hold more than half: then no others need to be sorted.
        dense = values[values > mass[i] / len(values)]
        if dense.sum(dtype=np.float64) < _SURELY_HALF * half:
            dense = values
        descending = np.sort(dense)[::-1]
        held = np.cumsum(np.add.reduceat(descending, starts[: -(-len(descending) // _RUN)], dtype=np.float64))
        run = int(np.searchsorted(held, half))
        before = float(held[run - 1]) if run else 0.0
        cells = descending[run * _RUN : (run + 1) * _RUN]
        held = before + np.cumsum(cells, dtype=np.float64)
        last = min(int(np.searchsorted(held, half)), len(cells) - 1)
        before = float(held[last - 1]) if last else before
        share[i] = (run * _RUN + last + (half - before) / float(cells[last])) / flat.shape[1]
    return share


@dataclass(eq=False)
class _Grid:
    """Maps on the reduced grid, (..., cells) flattened row by row."""

    mass: _Floats
    density: _Floats  # mass over area
    order: _Integers  # cells from low to high, equal ones by place
    uphill: _Integers  # the highest cell of the nine around each
    x: _Floats  # (cells,) pixels
    y: _Floats  # (cells,) pixels
    cell_area: _Floats  # (cells,) square pixels
    across: list[tuple[int, int]]  # first pixel that a column of cells touches, and the first after it
    down: list[tuple[int, int]]  # the same for rows
    rows: int
    columns: int
    height: int
    width: int

    def one(self, i: int) -> _Grid:
        """The i-th map of the batch."""
        per_map = ("mass", "density", "order", "uphill")
        return replace(self, **{name: getattr(self, name)[i] for name in per_map})

    def box(self, cells: _Integers) -> tuple[int, int, int, int]:
        """The pixels that these cells touch: first column, first row, columns, rows."""
        column = cells % self.columns
        left, right = self.across[int(column.min())][0], self.across[int(column.max())][1]
        top, bottom = (self.down[int(cells.min()) // self.columns][0], self.down[int(cells.max()) // self.columns][1])
        return left, top, right - left, bottom - top


def _edges(cells: int) -> _Integers:
    """Bounds of the reduced cells along a side of this many cells; at most 48 of them."""
    return np.unique(np.append(np.arange(0, cells, math.ceil(cells / _GRID)), cells))


def _touched(edges: _Integers, pixels: int) -> list[tuple[int, int]]:
    """Bounds of cells along a side -> for each cell the first pixel that it touches, and the first after it."""
    cells = int(edges[-1])
    # In whole numbers: a float could round over the edge of a pixel.
    pairs = itertools.pairwise(edges.tolist())
    return [(first * pixels // cells, -(-after * pixels // cells)) for first, after in pairs]


def _reduce(density: _Maps, height: int, width: int) -> _Grid:
    """(B, h, w) -> the maps on a grid of at most 48 cells a side, with the way uphill from each cell."""
    count = len(density)
    row_edges, column_edges = _edges(density.shape[1]), _edges(density.shape[2])
    rows, columns = len(row_edges) - 1, len(column_edges) - 1
    down, across = int(row_edges[1]), int(column_edges[1])
    ragged = ((0, 0), (0, rows * down - density.shape[1]), (0, columns * across - density.shape[2]))
    padded = np.pad(density, ragged)
    strips = padded.reshape(count, rows, down, columns * across).sum(axis=2)
    mass = strips.reshape(count, rows, columns, across).sum(axis=3, dtype=np.float64)  # (B, rows, columns)
    area = np.outer(np.diff(row_edges), np.diff(column_edges))  # in cells of the map
    flat = (mass / area).reshape(count, -1)
    order = np.argsort(flat, axis=1, kind="stable")
    # Ranks instead of values: no two cells are equal, so every way uphill ends.
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(rows * columns), order.shape), axis=1)
    framed = np.pad(rank.reshape(count, rows, columns), ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    beside = np.maximum(np.maximum(framed[:, :, :-2], framed[:, :, 1:-1]), framed[:, :, 2:])
    around = np.maximum(np.maximum(beside[:, :-2], beside[:, 1:-1]), beside[:, 2:])
    uphill = np.take_along_axis(order, around.reshape(count, -1), axis=1)
    y = (row_edges[:-1] + row_edges[1:]) / 2 * height / density.shape[1] - 0.5
    x = (column_edges[:-1] + column_edges[1:]) / 2 * width / density.shape[2] - 0.5
    return _Grid(
        mass=mass.reshape(count, -1),
        density=flat,
        order=order,
        uphill=uphill,
        x=np.tile(x, rows),
        y=np.repeat(y, columns),
        cell_area=area.ravel() * (height / density.shape[1]) * (width / density.shape[2]),
        across=_touched(column_edges, width),
        down=_touched(row_edges, height),
        rows=rows,
        columns=columns,
        height=height,
        width=width,
    )


@dataclass(eq=False)
class _Hill:
    """A maximum that stands clear of the others."""

    peak: float
    pass_share: float  # density of the pass to a higher hill over the peak; for the highest the lowest cell's
    parent: _Hill | None  # the hill beyond that pass
    cells: _Integers  # of the whole hill
    x: float = 0.0  # centre, pixels
    y: float = 0.0


@dataclass(eq=False)
class _HillTop:
    """The part of a hill above half its height."""

    x: float
    y: float
    mass: float
    radius: float  # of a disc of the same area, pixels
    cells: _Integers


def _find_hills(grid: _Grid, *, min_peak: float) -> list[_Hill]:
    """The highest hills of one map, at most five, by peak from the highest; none where the map is nearly flat."""
    top = grid.uphill
    while True:  # pointer jumping: each round doubles the distance walked
        further = top[top]
        if np.array_equal(further, top):
            break
        top = further
    summits, label = np.unique(top, return_inverse=True)
    peaks = grid.density[summits]
    by_height = np.argsort(-peaks, kind="stable")
    place = np.empty_like(by_height)
    place[by_height] = np.arange(len(by_height))
    label, peaks = place[label], peaks[by_height]  # label 0 is the highest
    lowest, highest = float(grid.density[grid.order[0]]), float(peaks[0])
    if lowest > _PASS_KNOWN * highest:
        return []
    passes = _passes(label.reshape(grid.rows, grid.columns), grid.density.reshape(grid.rows, grid.columns))
    # Flooding from the highest pass down, the lower of two hills that meet ends there (its persistence).
    leader = list(range(len(peaks)))
    ended: dict[int, tuple[float, int]] = {}

    def lead(hill: int) -> int:
        while leader[hill] != hill:
            leader[hill] = leader[leader[hill]]
            hill = leader[hill]
        return hill

    for height, one, other in passes:
        high, low = sorted((lead(one), lead(other)))
        if high == low:
            continue
        leader[low] = high
        ended[low] = (height, high)
    clear = [
        i
        for i, peak in enumerate(peaks)
        if i == 0 or (peak >= min_peak * highest and ended[i][0] <= _PASS_KNOWN * peak)
    ][:_CANDIDATES]
    owner: dict[int, int] = {}
    for i in range(len(peaks)):  # a parent is higher, so it has been seen
        owner[i] = i if i in clear else owner[ended[i][1]]
    owners = np.array([owner[i] for i in range(len(peaks))])[label]
    hills: dict[int, _Hill] = {}
    for i in clear:
        height, beyond = ended.get(i, (lowest, i))
        hill = _Hill(
            peak=float(peaks[i]),
            pass_share=height / float(peaks[i]),
            parent=None if i == 0 else hills[owner[beyond]],
            cells=np.flatnonzero(owners == i),
        )
        region = _region(grid, hill.cells, hill.peak)
        hill.x, hill.y = region.x, region.y
        hills[i] = hill
    return list(hills.values())


def _passes(label: _Integers, density: _Floats) -> list[tuple[float, int, int]]:
    """(rows, columns) twice -> the highest pass between each two hills that touch, from the highest down."""
    pairs, heights = [], []
    rows, columns = label.shape
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, rows - down), slice(max(0, -right), columns - max(0, right)))
        there = (slice(down, rows), slice(max(0, right), columns + min(0, right)))
        differ = label[here] != label[there]
        one, other = label[here][differ], label[there][differ]
        pairs.append(np.minimum(one, other) * label.size + np.maximum(one, other))
        heights.append(np.minimum(density[here][differ], density[there][differ]))
    pair, height = np.concatenate(pairs), np.concatenate(heights)
    order = np.lexsort((pair, -height))
    pair, height = pair[order], height[order]
    _, first = np.unique(pair, return_index=True)
    return [(float(height[i]), int(pair[i] // label.size), int(pair[i] % label.size)) for i in np.sort(first)]


def _region(grid: _Grid, cells: _Integers, peak: float) -> _HillTop:
    inside = cells[grid.density[cells] >= _HALF_HEIGHT * peak]
    mass = grid.mass[inside]
    total = float(mass.sum())
    return _HillTop(
        x=float(mass @ grid.x[inside]) / total,
        y=float(mass @ grid.y[inside]) / total,
        mass=total / float(grid.mass.sum()),
        radius=math.sqrt(float(grid.cell_area[inside].sum()) / math.pi),
        cells=inside,
    )


def _measure(grid: _Grid, hills: list[_Hill], kept: list[_Hill]) -> list[tuple[_Hill, _HillTop]]:
    """Regions of the hills that are kept; the others go to the hill beyond their pass."""
    if not kept:
        return []
    cells: dict[int, list[_Integers]] = {id(hill): [] for hill in kept}
    for hill in hills:
        owner: _Hill | None = hill
        while owner is not None and id(owner) not in cells:
            owner = owner.parent
        if owner is not None:
            cells[id(owner)].append(hill.cells)
    return [(hill, _region(grid, np.concatenate(cells[id(hill)]), hill.peak)) for hill in kept]


class _Track:
    """A region over time: where it is expected, and since when it has not been seen."""

    def __init__(self, number: int, x: float, y: float) -> None:
        self.id = number
        self.x, self.y = x, y  # where it is, going on with its motion while it cannot be seen by itself
        self.seen_x, self.seen_y = x, y  # where it was last seen
        self.expected_x, self.expected_y = x, y
        self.speed_x, self.speed_y = 0.0, 0.0  # pixels a second
        self.missing = 0.0  # seconds

    def expect(self, step: float) -> None:
        self.expected_x = self.x + self.speed_x * step
        self.expected_y = self.y + self.speed_y * step

    def see(self, region: _HillTop, step: float, *, merged: bool) -> None:
        """Takes in what was seen; inside a merged hill the motion goes on as before."""
        self.seen_x, self.seen_y = region.x, region.y
        self.missing = 0.0
        if merged:
            self.x, self.y = self.expected_x, self.expected_y
            return
        if step > 0:
            gain = -math.expm1(-step / _VELOCITY_SECONDS)
            self.speed_x += gain * ((region.x - self.x) / step - self.speed_x)
            self.speed_y += gain * ((region.y - self.y) / step - self.speed_y)
        self.x, self.y = region.x, region.y

    def miss(self, step: float, *, merged: bool) -> None:
        """Goes on unseen; inside a merged hill that is no absence."""
        self.x, self.y = self.expected_x, self.expected_y
        if not merged:
            self.missing += step


def _best_pairs(hills: list[_Hill], tracks: list[_Track], reach: float) -> list[_Track | None]:
    """For each hill the track it goes on with, or None: the pairs of least summed squared distance.

    A hill without a track costs `reach` squared, so a pair within reach is never given up for nothing.
    """
    # Least cost for the hills so far, by the set of tracks used up (one bit each).
    best: dict[int, tuple[float, tuple[int | None, ...]]] = {0: (0.0, ())}
    for hill in hills:
        near = []
        for j, track in enumerate(tracks):
            expected = math.hypot(hill.x - track.expected_x, hill.y - track.expected_y)
            seen = math.hypot(hill.x - track.seen_x, hill.y - track.seen_y)
            if min(expected, seen) <= reach:
                near.append((min(expected / reach, 1.0) ** 2, j))
        following: dict[int, tuple[float, tuple[int | None, ...]]] = {}
        for used, (cost, choice) in best.items():
            # Pairs first: at equal cost a known id beats a new one.
            options: list[tuple[int, float, int | None]]
            options = [(used | 1 << j, cost + more, j) for more, j in near if not used >> j & 1]
            options.append((used, cost + 1.0, None))
            for now_used, now_cost, pick in options:
                if now_used not in following or now_cost < following[now_used][0]:
                    following[now_used] = (now_cost, (*choice, pick))
        best = following
    # Of equal costs the one that uses more tracks.
    used, _ = min(best.items(), key=lambda each: (each[1][0], -each[0].bit_count()))
    chosen = best[used][1]
    return [None if j is None else tracks[j] for j in chosen]
