"""A shape and a grid of cells in, the share of each cell that lies in the shape out, exactly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.aois.areas import load_shapely

__all__ = ["Coverage"]

_Shares = npt.NDArray[np.float64]
_KEPT = 256
"""Shapes whose shares are remembered: areas that stand still need them once."""


class Coverage:
    """Shares of the cells of a map that covers a picture evenly.

    A density is constant within a cell, so its integral over a shape is the sum of the cells' densities times these
    shares: exact, not by the cells' centres.

    Args:
        height: rows of the picture, in its pixels.
        width: columns of it.
        cells: (rows, columns) of the map.

    Example:
        >>> import shapely
        >>> Coverage(height=2, width=4, cells=(1, 2)).shares(shapely.box(1, 0, 4, 1)).tolist()
        [[0.25, 0.5]]
    """

    def __init__(self, *, height: int, width: int, cells: tuple[int, int]) -> None:
        self._height, self._width, self._cells = height, width, cells
        self._known: dict[bytes, _Shares] = {}

    def shares(self, shape: Any) -> _Shares:
        """(rows, columns) float64, each from 0 to 1; what lies outside the picture counts nowhere."""
        shapely = load_shapely()
        key: bytes = shapely.to_wkb(shape)
        made = self._known.get(key)
        if made is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            made = self._known[key] = self._made(shapely, shape)
            made.flags.writeable = False
        return made

    def _made(self, shapely: Any, shape: Any) -> _Shares:
        rows, columns = self._cells
        made = np.zeros((rows, columns))
        if shapely.is_empty(shape):
            return made
        tall, wide = self._height / rows, self._width / columns
        left, top, right, bottom = shapely.bounds(shape)
        first_row, last_row = max(0, math.floor(top / tall)), min(rows, math.ceil(bottom / tall))
        first_column, last_column = max(0, math.floor(left / wide)), min(columns, math.ceil(right / wide))
        if first_row >= last_row or first_column >= last_column:
            return made
        y, x = np.mgrid[first_row:last_row, first_column:last_column].astype(np.float64)
        boxes = shapely.box(x * wide, y * tall, (x + 1) * wide, (y + 1) * tall)
        shapely.prepare(shape)
        inside = shapely.contains_properly(shape, boxes)
        touched = ~inside & shapely.intersects(shape, boxes)
        part = inside.astype(np.float64)
        part[touched] = shapely.area(shapely.intersection(shape, boxes[touched])) / (tall * wide)
        made[first_row:last_row, first_column:last_column] = np.clip(part, 0.0, 1.0)
        return made
