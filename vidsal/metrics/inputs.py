"""Tensors of maps and fixations in, checked and brought to one form out: what all metrics do before they score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

__all__ = [
    "Fixated",
    "checked_map",
    "extremes",
    "fixated_cells",
    "generators",
    "row_norm",
    "to_sum_one",
    "total",
    "unit_span",
    "without_float64",
]


class Fixated(NamedTuple):
    """The cells somebody looked at, K the most of any picture; pictures with fewer are filled with weight 0."""

    cells: torch.Tensor
    """(B, K) int64, row * W + column; 0 where filled."""
    weights: torch.Tensor
    """(B, K) float64, fixations on the cell; 0 where filled."""

    def once(self) -> torch.Tensor:
        """(B, K) float64: 1 for each cell looked at, however often; the "binary fixation map" of the MATLAB codes."""
        return (self.weights > 0).double()

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """(B, K) float64, the (B, H, W) map at those cells."""
        return values.flatten(1).gather(1, self.cells).double()


def without_float64(values: torch.Tensor) -> torch.Tensor:
    """The tensor on the CPU if it lies on a device without float64 (MPS), else as it is."""
    return values.cpu() if values.device.type == "mps" else values


def checked_map(
    name: str, values: torch.Tensor, *, like: torch.Tensor | None = None, non_negative: bool = False
) -> torch.Tensor:
    """The (B, H, W) float map itself, detached.

    Raises:
        TypeError: It is not float32 or float64.
        ValueError: It is not (B, H, W), not of the shape of `like`, or negative somewhere with `non_negative`.
    """
    if values.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{name} must be float32 or float64, got {values.dtype}: coarse values tie and change the score; "
            "keep maps in float, or convert with .float() if they were stored that way"
        )
    if like is not None:
        _check_same_shape(name, values, like)
    if values.ndim != 3 or values.shape[1] * values.shape[2] == 0:
        raise ValueError(f"{name} must be (B, H, W) with H and W at least 1, got {tuple(values.shape)}")
    values = without_float64(values.detach())
    if non_negative and bool((values.amin((1, 2)) < 0).any()):
        raise ValueError(f"{name} must not be negative, lowest value is {values.min():.4g}; a log density needs .exp()")
    return values


def fixated_cells(counts: torch.Tensor, saliency: torch.Tensor, *, name: str = "fixation_counts") -> Fixated:
    """Finds the cells with fixations.

    Raises:
        ValueError: The shapes differ, or a count is negative.
    """
    _check_same_shape(name, counts, saliency)
    flat = without_float64(counts.detach()).flatten(1)
    pictures, size = flat.shape
    present = flat != 0
    if present.device.type == "cpu":
        # Ten times as fast as torch's own nonzero where nearly all cells are empty.
        rows, columns = (torch.from_numpy(index) for index in np.divmod(np.flatnonzero(present.numpy()), size))
    else:
        rows, columns = present.nonzero(as_tuple=True)
    found = flat[rows, columns].double()
    if bool((found < 0).any()):
        raise ValueError(f"{name} must not be negative, lowest value is {found.min():.4g}")
    in_picture = torch.bincount(rows, minlength=pictures)
    rank = torch.arange(len(rows), device=rows.device) - (in_picture.cumsum(0) - in_picture)[rows]
    shape = pictures, max(1, int(in_picture.max()) if pictures else 1)
    cells = torch.zeros(shape, dtype=torch.int64, device=flat.device)
    weights = torch.zeros(shape, dtype=torch.float64, device=flat.device)
    cells[rows, rank], weights[rows, rank] = columns, found
    return Fixated(cells, weights)


def extremes(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest and highest value of each picture, (B, 1, 1) each; NaN where the map holds one."""
    return values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)


def total(values: torch.Tensor) -> torch.Tensor:
    """(B,) float64, the sum over each picture."""
    # A row in its own precision: no longer than the errors of single values allow, and five times as fast.
    return values.sum(2).sum(1, dtype=torch.float64)


def row_norm(values: torch.Tensor) -> torch.Tensor:
    """(B,) float64, the Euclidean norm of each picture."""
    rows: torch.Tensor = torch.linalg.vector_norm(values, dim=2)
    return rows.double().square().sum(1).sqrt()


def unit_span(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A new (B, H, W) stretched to span 0 to 1, all 0 for a constant map; and (B,) bool, True where it is constant."""
    low, high = extremes(values)
    constant = high == low
    span = torch.where(constant, 1.0, high - low)
    return (values - low).div_(span), constant[:, 0, 0]


def to_sum_one(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A new (B, H, W) that sums to 1, all 0 for an all-zero map; and (B,) bool, True where it is all zero."""
    info, high = torch.finfo(values.dtype), values.amax((1, 2), keepdim=True)
    cells = values.shape[1] * values.shape[2]
    if bool(((high > info.max / cells) | ((high > 0) & (high < info.tiny * cells))).any()):
        values = values / torch.where(high == 0, 1.0, high)  # else the sum would leave the range of the type
    mass = total(values)
    empty = mass == 0
    return values / torch.where(empty, 1.0, mass).to(values.dtype)[:, None, None], empty


def generators(seed: int | Sequence[int], pictures: int) -> list[np.random.Generator]:
    """A generator for each picture, on the CPU so that every device gives the same score.

    Raises:
        ValueError: There is neither one seed nor one a picture.
    """
    seeds = [seed] * pictures if isinstance(seed, (int, np.integer)) else list(seed)
    if len(seeds) != pictures:
        raise ValueError(f"seed must be one number or one for each of the {pictures} pictures, got {len(seeds)}")
    return [np.random.default_rng(each) for each in seeds]


def _check_same_shape(name: str, values: torch.Tensor, saliency: torch.Tensor) -> None:
    if values.shape != saliency.shape:
        raise ValueError(
            f"{name} is {tuple(values.shape)}, the map {tuple(saliency.shape)}: they must be equal; "
            "bring the map to the size of the ground truth first"
        )
