"""Tensors of maps and fixations in, `Maps` and `FixatedCells` out: checked, with what several metrics need kept.

Every metric takes tensors, or these in their place. Scoring a batch by several metrics is faster with these, since
sums, orders and deviations are then worked out once; the scores are the same.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

__all__ = [
    "COUNTED",
    "SQUARES_OF_MAP",
    "SQUARES_OF_TRUTH",
    "CellSum",
    "FixatedCells",
    "Maps",
    "Pair",
    "check_same_shape",
    "generators",
    "on_cpu",
    "summed",
]

_BAND = 65536
"""Cells that `summed` works on at a time: what it makes on the way stays in the processor's cache."""


class Maps:
    """A batch of maps, checked, with what several metrics need of it, each worked out when first asked for.

    Example:
        >>> maps = Maps(torch.tensor([[[1.0, 3.0]]]))
        >>> maps.total.item(), maps.low.item(), maps.ordered.tolist()
        (4.0, 1.0, [[1.0, 3.0]])
    """

    def __init__(self, values: torch.Tensor, *, name: str = "saliency") -> None:
        """Checks the maps and finds `low`, `high` and `total`, (B,) each: the extremes, and the sum in float64.

        Args:
            values: (B, H, W) float32 or float64. It is kept, not copied: leave it as it is while this lives.
            name: what an error calls it.

        Raises:
            TypeError: It is not float32 or float64.
            ValueError: It is not (B, H, W) with at least one cell.
        """
        if values.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"{name} must be float32 or float64, got {values.dtype}: coarse values tie and change the score; "
                "keep maps in float, or convert with .float() if they were stored that way"
            )
        if values.ndim != 3 or values.shape[1] * values.shape[2] == 0:
            raise ValueError(f"{name} must be (B, H, W) with H and W at least 1, got {tuple(values.shape)}")
        self.name = name
        self.values = _without_mps(values.detach())
        self.cells = values.shape[1] * values.shape[2]
        self.squares: torch.Tensor | None = None
        """(B,) float64, the sum of the squared deviations from the mean, where a `Pair` has found it by the way."""
        self.last_pair: Callable[[], Pair | None] = lambda: None
        """The last pair it was the map of, if somebody holds it: a weak reference, or maps would outlive their use."""
        self.low, self.high, self.total = _low_high_total(self.values)
        if values.dtype == torch.float32 and bool(self._out_of_range().any()):
            self.values = self.values.double()
            self.low, self.high, self.total = _low_high_total(self.values)

    @classmethod
    def of(cls, name: str, values: torch.Tensor | Maps, *, like: torch.Tensor | Maps | None = None) -> Maps:
        """The maps themselves, or those of a tensor.

        Raises:
            TypeError: As `Maps`.
            ValueError: As `Maps`, or the shape is not that of `like`.
        """
        if like is not None:
            check_same_shape(name, values.shape, like.shape)
        return values if isinstance(values, cls) else cls(_tensor(values), name=name)

    @property
    def shape(self) -> torch.Size:
        """(B, H, W)."""
        return self.values.shape

    @property
    def device(self) -> torch.device:
        """Where the maps lie, and the scores will."""
        return self.values.device

    @cached_property
    def constant(self) -> torch.Tensor:
        """(B,) bool, by the values: the deviation of a constant map may round to something above 0."""
        return self.low == self.high

    @cached_property
    def broken(self) -> torch.Tensor:
        """(B,) bool, True where a map holds NaN or infinity."""
        return ~(self.low.isfinite() & self.high.isfinite())

    @cached_property
    def span(self) -> torch.Tensor:
        """(B,) float64, highest less lowest value; 1 for a constant map, so that one can divide by it."""
        return (self.high.double() - self.low.double()).masked_fill(self.constant, 1.0)

    @cached_property
    def total_above_low(self) -> torch.Tensor:
        """(B,) float64, the sum of what lies above the lowest value; NaN for a broken map."""
        quick = self.total - self.cells * self.low.double()
        if bool((quick > self.total.abs() / 2).all()):  # else it is a small difference of large sums
            return quick
        (above,) = summed([(lambda band, low: band - low, [self.low])], [self.values])
        return above.masked_fill(self.broken, torch.nan)

    @cached_property
    def mean(self) -> torch.Tensor:
        """(B,) float64."""
        return self.low.double() + self.total_above_low / self.cells

    @cached_property
    def squares_are_safe(self) -> bool:
        """Whether squares of deviations from the mean stay well within the range of the type."""
        limit = 1e12 if self.values.dtype == torch.float32 else 1e100
        return bool(((self.span > 1 / limit) & (self.span < limit)).all())

    @cached_property
    def deviation(self) -> torch.Tensor:
        """(B,) float64, the standard deviation (of the N cells, not N - 1) in units of `span`; 1 for a constant map."""
        if self.squares_are_safe:
            squares = self.squares if self.squares is not None else summed([(_square, [self.mean])], [self.values])[0]
            return ((squares / self.cells).sqrt() / self.span).masked_fill(self.constant, 1.0)
        (squares,) = summed([(_square_of_units, [self.mean, 1 / self.span])], [self.values])
        return (squares / self.cells).sqrt().masked_fill(self.constant, 1.0)

    @cached_property
    def ordered(self) -> torch.Tensor:
        """(B, N), the values of each map in rising order, NaN last."""
        flat = self.values.flatten(1)
        if on_cpu(flat):  # NumPy's vectorised sort is 20 times as fast as torch's on a CPU
            return torch.from_numpy(np.sort(flat.numpy(), axis=1))
        return flat.sort(1).values

    def count_below(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How many cells of each map lie below some values, and how many at them or below; (B, K) int64 each.

        Args:
            values: (B, K) in the precision of the maps.
        """
        if values.shape[1] > COUNTED or "ordered" in self.__dict__ or not on_cpu(self.values):
            return torch.searchsorted(self.ordered, values), torch.searchsorted(self.ordered, values, right=True)
        # Few values are counted in less time than a map is sorted.
        flat = self.values.flatten(1).numpy()
        counts = np.array(
            [
                [(np.count_nonzero(cells < one), np.count_nonzero(cells <= one)) for one in row]
                for cells, row in zip(flat, values.numpy(), strict=True)
            ],
            np.int64,
        ).reshape(*values.shape, 2)
        return torch.from_numpy(counts[:, :, 0]), torch.from_numpy(counts[:, :, 1])

    def near(
        self, picture: int, low: npt.NDArray[np.floating], high: npt.NDArray[np.floating]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]:
        """The cells of one map whose values lie in any of K ranges, and how many cells lie below each of these.

        Found without sorting the whole map where there are few ranges.

        Args:
            picture: which map; it holds no NaN.
            low: (K,) rising, the lower ends, in the precision of the maps; they belong to the ranges.
            high: (K,) rising, the upper ends, which belong to them too; none below its lower end.

        Returns:
            (K,) how many cells have a value below `low`, and the values in any range in rising order.
        """
        if len(low) > COUNTED or "ordered" in self.__dict__ or not on_cpu(self.values):
            return _near_in_order(self.ordered[picture].cpu().numpy(), low, high)
        cells = self.values[picture].flatten().numpy()
        if len(low) <= _COMPARED:
            below = [np.count_nonzero(cells < one) for one in low]
            within = np.zeros(len(cells), np.bool_)
            for first, last in zip(low, high, strict=True):
                within |= (cells >= first) & (cells <= last)
            return np.array(below, np.int64), np.sort(cells[within])
        found = _near_in_bins(cells, low, high)
        return _near_in_order(np.sort(cells), low, high) if found is None else found

    def at(self, cells: torch.Tensor) -> torch.Tensor:
        """The values at cells, (B, K) in the precision of the maps.

        Args:
            cells: (B, K) int64, row * W + column.
        """
        return self.values.flatten(1).gather(1, cells)

    def unit_at(self, cells: torch.Tensor) -> torch.Tensor:
        """The values at (B, K) cells after stretching to [0, 1], float64; 0 for a constant map."""
        return (self.at(cells).double() - self.low.double()[:, None]) / self.span[:, None]

    def non_negative(self) -> Maps:
        """The maps themselves.

        Raises:
            ValueError: A value is negative.
        """
        if bool((self.low < 0).any()):
            lowest = self.values.min()
            raise ValueError(
                f"{self.name} must not be negative, lowest value is {lowest:.4g}; a log density needs .exp()"
            )
        return self

    def _out_of_range(self) -> torch.Tensor:
        """(B,) bool, True where a float32 sum or span overflows, or the inverse of a sum does."""
        info = torch.finfo(torch.float32)
        largest = torch.maximum(self.high.abs(), self.low.abs())
        return (largest > info.max / (2 * self.cells)) | ((largest > 0) & (largest < info.tiny * 2 * self.cells))

    def __repr__(self) -> str:
        return f"Maps({tuple(self.shape)}, {self.values.dtype})"


COUNTED = 64
"""Values up to which counting is quicker than sorting."""

_COMPARED = 3
"""Ranges up to which comparing all cells with each is quicker than sorting cells into bins."""


def _near_in_order(
    ordered: npt.NDArray[np.floating], low: npt.NDArray[np.floating], high: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]:
    """`Maps.near` among values in rising order."""
    first, end = np.searchsorted(ordered, low, side="left"), np.searchsorted(ordered, high, side="right")
    # Ends rise with the values: ranges that overlap are cut where the ones before end.
    start = np.maximum(first, np.concatenate([[0], np.maximum.accumulate(end)[:-1]]))
    lengths = np.maximum(end - start, 0)
    offset = np.cumsum(lengths) - lengths
    return np.asarray(first, np.int64), ordered[np.arange(lengths.sum()) + np.repeat(start - offset, lengths)]


def _near_in_bins(
    cells: npt.NDArray[np.floating], low: npt.NDArray[np.floating], high: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]] | None:
    """`Maps.near` by way of bins: only cells in the bins of the ranges are sorted. None where a cell is negative."""
    # The upper 16 bits of numbers that are not negative rise with them: 128 bins for each doubling in float32.
    kind = np.dtype(f"uint{8 * cells.dtype.itemsize}")
    shift = 8 * cells.dtype.itemsize - 16
    bins = (cells.view(kind) >> shift).astype(np.uint16)
    counts = np.bincount(bins, minlength=1 << 16)
    if counts[1 << 15 :].any() or bool((low < 0).any()):
        return None
    first, last = ((ends + 0).view(kind) >> shift for ends in (low, high))
    wanted = np.zeros(1 << 16, np.bool_)
    for one, other in zip(first.tolist(), last.tolist(), strict=True):
        wanted[one : other + 1] = True
    inside = np.sort(cells[wanted[bins]])
    all_before, wanted_before = (np.cumsum(each)[first] - each[first] for each in (counts, counts * wanted))
    found, near = _near_in_order(inside, low, high)
    return all_before - wanted_before + found, near


class FixatedCells:
    """The cells of each picture that somebody looked at, K the most of any picture; others are filled up with weight 0.

    Example:
        >>> fixated = FixatedCells.from_counts(torch.tensor([[[0, 2], [0, 1]], [[0, 0], [1, 0]]]))
        >>> fixated.cells.tolist(), fixated.weights.tolist()
        ([[1, 3], [2, 0]], [[2.0, 1.0], [1.0, 0.0]])
        >>> points = [np.array([[1.5, 0.5], [1.5, 1.5], [1.1, 0.9]]), np.array([[0.0, 1.0]])]
        >>> FixatedCells.from_points(points, height=2, width=2).weights.tolist()
        [[2.0, 1.0], [1.0, 0.0]]
    """

    def __init__(self, cells: torch.Tensor, weights: torch.Tensor, *, height: int, width: int) -> None:
        """Takes cells as they are; `from_counts` and `from_points` find them.

        Args:
            cells: (B, K) int64, row * width + column, none twice in a picture; 0 where filled up.
            weights: (B, K) float64, fixations on the cell; 0 where filled up, which comes after all others.
            height: rows of the pictures.
            width: columns of the pictures.
        """
        self.cells = cells
        """(B, K) int64, row * W + column; 0 where filled up."""
        self.weights = weights
        """(B, K) float64, fixations on the cell; 0 where filled up."""
        self.shape = torch.Size((len(cells), height, width))
        """(B, H, W) of the pictures."""

    @classmethod
    def from_counts(cls, counts: torch.Tensor, *, name: str = "fixation_counts") -> FixatedCells:
        """Finds the cells in dense counts.

        Args:
            counts: (B, H, W), bool, integer or float.
            name: what an error calls it.

        Raises:
            ValueError: It is not (B, H, W), or a count is negative.
        """
        if counts.ndim != 3:
            raise ValueError(f"{name} must be (B, H, W), got {tuple(counts.shape)}")
        flat = _without_mps(counts.detach()).flatten(1)
        size = flat.shape[1]
        if on_cpu(flat):  # NumPy's is ten times as fast as torch's where nearly all cells are empty
            known = (flat.float() if flat.dtype == torch.bfloat16 else flat).numpy()
            found = torch.from_numpy(np.flatnonzero(known if flat.dtype == torch.bool else known != 0))
            rows, columns = found // size, found % size
        else:
            rows, columns = flat.nonzero(as_tuple=True)
        weights = flat[rows, columns].double()
        if bool((weights < 0).any()):
            raise ValueError(f"{name} must not be negative, lowest value is {weights.min():.4g}")
        return cls._filled(rows, columns, weights, counts.shape)

    @classmethod
    def from_points(cls, points: Sequence[npt.NDArray[np.floating]], *, height: int, width: int) -> FixatedCells:
        """Finds the cells of points, on the CPU. Nothing of the size of a picture is made.

        Args:
            points: for each picture (n, 2), x and y in its pixels; the pixel in column c covers c <= x < c + 1. Points
                beside the picture are left out.
            height: rows of the pictures.
            width: columns of the pictures.
        """
        places = [np.floor(each).astype(np.int64) for each in points]
        inside = [each[((each >= 0) & (each < (width, height))).all(1)] for each in places]
        cells = [index * height * width + each[:, 1] * width + each[:, 0] for index, each in enumerate(inside)]
        found, times = np.unique(np.concatenate([np.zeros(0, np.int64), *cells]), return_counts=True)
        rows, columns = (torch.from_numpy(part) for part in np.divmod(found, height * width))
        return cls._filled(rows, columns, torch.from_numpy(times).double(), torch.Size((len(points), height, width)))

    @classmethod
    def _filled(
        cls, rows: torch.Tensor, columns: torch.Tensor, weights: torch.Tensor, shape: torch.Size
    ) -> FixatedCells:
        """From cells in order of their pictures, in one list."""
        in_picture = torch.bincount(rows, minlength=shape[0])
        rank = torch.arange(len(rows), device=rows.device) - (in_picture.cumsum(0) - in_picture)[rows]
        most = max(1, int(in_picture.max())) if shape[0] else 1
        filled = torch.zeros(shape[0], most, dtype=torch.int64, device=rows.device)
        filled_weights = torch.zeros(shape[0], most, dtype=torch.float64, device=rows.device)
        filled[rows, rank], filled_weights[rows, rank] = columns, weights
        return cls(filled, filled_weights, height=shape[1], width=shape[2])

    @classmethod
    def of(
        cls, counts: torch.Tensor | FixatedCells, like: torch.Tensor | Maps, *, name: str = "fixation_counts"
    ) -> FixatedCells:
        """The cells themselves, or those of a tensor.

        Raises:
            ValueError: As `FixatedCells`, or the shape is not that of the map.
        """
        check_same_shape(name, counts.shape, like.shape)
        return counts if isinstance(counts, cls) else cls.from_counts(_tensor(counts), name=name)

    @cached_property
    def total(self) -> torch.Tensor:
        """(B,) float64, the fixations of each picture, those on one cell counted each."""
        return self.weights.sum(1)

    @cached_property
    def once(self) -> torch.Tensor:
        """(B, K) float64: 1 for each cell looked at, however often; the binary fixation map of the MATLAB codes."""
        return (self.weights > 0).double()

    @cached_property
    def found(self) -> torch.Tensor:
        """(B,) float64, the number of cells looked at."""
        return self.once.sum(1)

    def counts(self) -> torch.Tensor:
        """(B, H, W) float64, the fixations on every cell."""
        dense = self.weights.new_zeros(len(self.cells), self.shape[1] * self.shape[2])
        return dense.scatter_add_(1, self.cells, self.weights).reshape(self.shape)

    def to(self, device: torch.device | str) -> FixatedCells:
        """The same on another device."""
        return FixatedCells(self.cells.to(device), self.weights.to(device), height=self.shape[1], width=self.shape[2])

    def mean_of(self, values: torch.Tensor) -> torch.Tensor:
        """(B,) the mean over the fixations of (B, K) values at their cells; NaN without fixations."""
        # Infinite where nobody looked is no matter, but 0 times it would be NaN.
        return torch.where(self.weights > 0, values * self.weights, 0.0).sum(1) / self.total

    def __repr__(self) -> str:
        return f"FixatedCells({tuple(self.shape)}, at most {self.cells.shape[1]} a picture)"


@dataclass(frozen=True, eq=False)
class CellSum:
    """Something of map and ground truth that is worked out cell by cell and summed over each picture."""

    of_cells: Callable[..., torch.Tensor]
    """Takes S and D of equal shape and a number of the picture for each of `numbers`; gives a new tensor like S."""
    numbers: Callable[[Maps, Maps], Sequence[torch.Tensor]]
    """Those numbers, (B,) each."""


class Pair:
    """Maps and their ground truth in the finer of their two precisions, and the sums over their cells found so far."""

    def __init__(self, maps: Maps, truth: Maps) -> None:
        self._given = truth
        if maps.values.dtype != truth.values.dtype:
            maps, truth = (Maps(each.values.double(), name=each.name) for each in (maps, truth))
        self.maps = maps
        """The maps."""
        self.truth = truth
        """The ground truth."""
        self._sums: dict[CellSum, torch.Tensor] = {}

    @classmethod
    def of(cls, saliency: torch.Tensor | Maps, density: torch.Tensor | Maps) -> Pair:
        """The pair of two maps: the one they were made into last, if somebody holds it, with the sums it has found.

        Raises:
            TypeError: As `Maps`.
            ValueError: As `Maps`, or the shapes differ.
        """
        maps, truth = Maps.of("saliency", saliency), Maps.of("density", density, like=saliency)
        pair = maps.last_pair()
        if pair is None or pair._given is not truth:
            pair = cls(maps, truth)
            maps.last_pair = weakref.ref(pair)
        return pair

    def non_negative(self) -> Pair:
        """The pair itself.

        Raises:
            ValueError: A value is negative.
        """
        self.maps.non_negative()
        self.truth.non_negative()
        return self

    @property
    def broken(self) -> torch.Tensor:
        """(B,) bool, True where map or ground truth holds NaN or infinity."""
        return self.maps.broken | self.truth.broken

    def prepare(self, wanted: Sequence[CellSum]) -> None:
        """Finds several sums while each piece of the maps lies in the cache."""
        missing = [each for each in dict.fromkeys(wanted) if each not in self._sums]
        if not missing:
            return
        work = [(each.of_cells, each.numbers(self.maps, self.truth)) for each in missing]
        self._sums.update(zip(missing, summed(work, [self.maps.values, self.truth.values]), strict=True))
        self.maps.squares = self._sums.get(SQUARES_OF_MAP, self.maps.squares)
        self.truth.squares = self._sums.get(SQUARES_OF_TRUTH, self.truth.squares)

    def sum(self, wanted: CellSum) -> torch.Tensor:
        """(B,) float64."""
        self.prepare([wanted])
        return self._sums[wanted]


def summed(
    work: Sequence[tuple[Callable[..., torch.Tensor], Sequence[torch.Tensor]]], maps: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """Sums over each picture of things worked out cell by cell, (B,) float64 each.

    Args:
        work: for each sum what takes as many tensors of equal shape as there are maps, and the (B,) numbers that it
            takes after them, in the precision of the maps. It gives a new tensor like the first map, changes none.
        maps: (B, H, W) each.
    """
    first = maps[0]
    jobs = [(of_cells, [number.to(first.dtype) for number in numbers]) for of_cells, numbers in work]
    if not on_cpu(first):
        return [
            of_cells(*maps, *(number[:, None, None] for number in numbers)).sum(2).sum(1, dtype=torch.float64)
            for of_cells, numbers in jobs
        ]
    parts: list[torch.Tensor] = []
    for picture in range(len(first)):
        own = [(of_cells, [number[picture] for number in numbers]) for of_cells, numbers in jobs]
        for rows in _bands(first.shape):
            bands = [values[picture, rows] for values in maps]
            parts += [of_cells(*bands, *numbers).sum() for of_cells, numbers in own]
    if not parts:
        return [torch.zeros(0, dtype=torch.float64) for _ in jobs]
    return list(torch.stack(parts).double().reshape(len(first), -1, len(jobs)).sum(1).T)


def generators(seed: int | Sequence[int], pictures: int) -> list[np.random.Generator]:
    """A generator for each picture, on the CPU so that every device gives the same score.

    Raises:
        ValueError: There is neither one seed nor one a picture.
    """
    seeds = [seed] * pictures if isinstance(seed, (int, np.integer)) else list(seed)
    if len(seeds) != pictures:
        raise ValueError(f"seed must be one number or one for each of the {pictures} pictures, got {len(seeds)}")
    return [np.random.default_rng(each) for each in seeds]


def on_cpu(values: torch.Tensor) -> bool:
    """Whether NumPy can work on them, and small pieces are faster than whole batches."""
    return values.device.type == "cpu"


def check_same_shape(name: str, shape: torch.Size, like: torch.Size) -> None:
    """Raises ValueError where they differ."""
    if shape != like:
        raise ValueError(
            f"{name} is {tuple(shape)}, the map {tuple(like)}: they must be equal; "
            "bring the map to the size of the ground truth first"
        )


def _square(band: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    return band.sub(mean).square_()


def _square_of_units(band: torch.Tensor, mean: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    return band.sub(mean).mul_(unit).square_()


SQUARES_OF_MAP = CellSum(lambda s, d, mean: _square(s, mean), lambda maps, truth: [maps.mean])
"""The squared deviations of the map from its mean."""

SQUARES_OF_TRUTH = CellSum(lambda s, d, mean: _square(d, mean), lambda maps, truth: [truth.mean])
"""The squared deviations of the ground truth from its mean."""


def _bands(shape: torch.Size) -> list[slice]:
    """The rows of each piece of a picture."""
    step = max(1, _BAND // shape[2])
    return [slice(top, top + step) for top in range(0, shape[1], step)]


def _low_high_total(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(B,) each: lowest and highest value, NaN for a map that holds one, and the sum in float64."""
    if not on_cpu(values) or not len(values):
        return values.amin((1, 2)), values.amax((1, 2)), values.sum(2).sum(1, dtype=torch.float64)
    # All three of a band while it lies in the cache; NumPy finds extremes faster.
    pieces = [values[picture, rows] for picture in range(len(values)) for rows in _bands(values.shape)]
    found = [(known.min(), known.max(), piece.sum()) for piece in pieces for known in [piece.numpy()]]
    low, high = (torch.from_numpy(np.array([each[end] for each in found])).reshape(len(values), -1) for end in (0, 1))
    total = torch.stack([each[2] for each in found]).reshape(len(values), -1)
    return low.amin(1), high.amax(1), total.sum(1, dtype=torch.float64)


def _tensor(values: object) -> torch.Tensor:
    if not isinstance(values, torch.Tensor):
        raise TypeError(f"expected a tensor, got {type(values).__name__}; NumPy arrays need torch.from_numpy")
    return values


def _without_mps(values: torch.Tensor) -> torch.Tensor:
    """On the CPU if it lies on MPS, which has no float64."""
    return values.cpu() if values.device.type == "mps" else values
