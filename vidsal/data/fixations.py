"""Tables of fixations in the simple layout, and points, in; rows, counts and densities out."""

from __future__ import annotations

import csv
import gzip
import hashlib
import math
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.errors import DatasetError

__all__ = [
    "SIGMA_SHARE",
    "Patch",
    "TableRow",
    "blur_counts",
    "blur_points",
    "density_from_fixations",
    "find_table",
    "fixation_counts",
    "is_file",
    "is_validation",
    "read_table",
]

SIGMA_SHARE = 0.03
"""Width of the density's Gaussian as a share of the stimulus's longer side: 24 px at 800x600, about one degree."""


class TableRow(NamedTuple):
    """One row of a table in the simple layout."""

    name: str
    """File name of the picture or video."""
    height: int
    """Rows of the stimulus."""
    width: int
    """Columns of the stimulus."""
    x: float
    """Pixels of the stimulus; NaN where the eye was lost."""
    y: float
    """As `x`."""
    subject: str
    """Who looked; empty where the table does not say."""
    start: float = math.nan
    """Seconds after the video's first frame; NaN for pictures."""
    end: float = math.nan
    """Seconds after the video's first frame; NaN for pictures and without a duration."""


_LOST_WORDS = ("", ".", "na", "n/a")
"""What tables write, besides NaN, where the eye was lost."""


def is_file(path: Path) -> bool:
    """Whether there is a file.

    Raises:
        DatasetError: its folder may not be looked into.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError as error:
        raise DatasetError(f"{path}: no permission to read; allow this user to read and enter {path.parent}") from error
    except (OSError, ValueError):
        return False


def find_table(root: Path, name: str) -> Path | None:
    """NAME.csv.gz or NAME.csv in a folder; None without.

    Raises:
        DatasetError: both are there, or the folder may not be looked into.
    """
    tables = [root / f"{name}{ending}" for ending in (".csv.gz", ".csv")]
    there = [table for table in tables if is_file(table)]
    if len(there) > 1:
        raise DatasetError(f"{root} holds both {name}.csv.gz and {name}.csv, which may differ; remove one of them")
    return there[0] if there else None


def read_table(table: Path, kind: Literal["image", "video"], *, condition: str | None = None) -> Iterator[TableRow]:
    """Yields the rows of a table in the simple layout, `.csv` or `.csv.gz`, UTF-8 with or without a byte-order mark.

    Args:
        table: the file.
        kind: the column that names the stimulus; videos need start_seconds too.
        condition: only rows with this value in the column `condition`; None takes all.

    Raises:
        DatasetError: the file cannot be read, a column is missing, or a value is none; the message names the line
            and the column.
    """
    needed = [kind, "width", "height", "x", "y", *(["start_seconds"] if kind == "video" else [])]
    sizes: dict[str, tuple[int, int]] = {}
    try:
        with (
            gzip.open(table, "rt", newline="", encoding="utf-8-sig")
            if table.suffix == ".gz"
            else table.open(newline="", encoding="utf-8-sig")
        ) as stream:
            rows: csv.DictReader[str] = csv.DictReader(stream)
            _check_header(table, rows.fieldnames or (), needed)
            for cells in rows:
                try:
                    row = _row(cells, kind, needed) if condition in (None, cells.get("condition")) else None
                except ValueError as error:
                    raise DatasetError(f"{table}, line {rows.line_num}, {error}") from error
                if row is None:
                    continue
                height, width = sizes.setdefault(row.name, (row.height, row.width))
                if (height, width) != (row.height, row.width):
                    raise DatasetError(
                        f"{table}, line {rows.line_num}: two sizes for {row.name}: {width}x{height} above and "
                        f"{row.width}x{row.height} here; give all its rows the same"
                    )
                yield row
    except PermissionError as error:
        raise DatasetError(f"{table}: no permission to read it; allow this user to read the file") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{table}: cannot be read as UTF-8 text ({error}); save it as CSV in UTF-8") from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DatasetError(f"{table}: cannot be read ({error}); copy it again") from error


def _check_header(table: Path, names: Sequence[str], needed: list[str]) -> None:
    missing = sorted(set(needed) - set(names))
    if not names:
        raise DatasetError(f"{table}: the file is empty; expected a first line with the columns {', '.join(needed)}")
    if missing:
        for mark, word in ((";", "';'"), ("\t", "tabs")):
            if any(mark in name for name in names):
                raise DatasetError(
                    f"{table}: column {missing[0]} is missing, and {word} seem to separate the columns; save the table "
                    "with commas between them, and points in decimal numbers"
                )
        raise DatasetError(f"{table}: column {missing[0]} is missing; it has {', '.join(names)}")


def _row(cells: dict[str, Any], kind: str, needed: list[str]) -> TableRow:
    """One row; a `ValueError` begins with the column."""
    for column in needed:
        if cells[column] is None:
            raise ValueError(f"column {column}: the line ends before it; expected as many values as the header has")
    if any(cells.get(None) or ()):  # type: ignore[call-overload]
        raise ValueError(
            f"after the last column: the line has more values than the header ({', '.join(cells[None])}); write "  # type: ignore[index]
            "decimal numbers with a point, and names that hold commas in quotes"
        )
    if not cells[kind]:
        raise ValueError(f"column {kind}: it is empty; expected a file name below {kind}s/")
    height, width = (_pixels(cells[column], column) for column in ("height", "width"))
    x, y = (
        math.nan if cells[column].strip().lower() in _LOST_WORDS else _number(cells[column], column, "pixels")
        for column in ("x", "y")
    )
    row = TableRow(cells[kind], height, width, x, y, cells.get("subject") or "")
    if kind == "image":
        return row
    start = _number(cells["start_seconds"], "start_seconds", "seconds after the video's first frame")
    if not math.isfinite(start):
        raise ValueError(f"column start_seconds: start_seconds must be a finite number, got {start}")
    lasts = (cells.get("duration_ms") or "").strip()
    end = start + _number(lasts, "duration_ms", "milliseconds, or nothing") / 1000 if lasts else math.nan
    return row._replace(start=start, end=end)


def _number(text: str, column: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"column {column}: {text!r} is not a number; expected {what}") from None


def _pixels(text: str, column: str) -> int:
    what = f"the stimulus's {column} in whole pixels, at least 1"
    value = _number(text, column, what)
    if not (value.is_integer() and value >= 1):
        raise ValueError(f"column {column}: got {text}; expected {what}")
    return int(value)


def is_validation(set_name: str, image: str) -> bool:
    """Whether a picture belongs to the validation split: md5 of "set/image" is 1 modulo 5.

    Example:
        >>> is_validation("osie", "1001.jpg"), is_validation("osie", "1004.jpg")
        (False, True)
    """
    digest = hashlib.md5(f"{set_name}/{image}".encode(), usedforsecurity=False).hexdigest()
    return int(digest, 16) % 5 == 1


def fixation_counts(points: npt.NDArray[np.float32], *, height: int, width: int) -> npt.NDArray[np.float32]:
    """How many points fall on each pixel: (N, 2) x, y to (height, width) float32. Points outside do not count."""
    counts = np.zeros((height, width), np.float32)
    columns, rows = np.floor(points[:, 0]).astype(np.int64), np.floor(points[:, 1]).astype(np.int64)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    np.add.at(counts, (rows[inside], columns[inside]), 1.0)
    return counts


def density_from_fixations(
    points: npt.NDArray[np.float32], *, height: int, width: int, sigma: float
) -> npt.NDArray[np.float32]:
    """Gaussian density of points.

    Args:
        points: (N, 2), x and y in pixels.
        height: rows of the map.
        width: columns of the map.
        sigma: standard deviation in pixels; the kernel ends at four sigma.

    Returns:
        (height, width) float32 that sums to 1; all zero if no point falls on the map.
    """
    counts = fixation_counts(points, height=height, width=width)
    if not counts.any():
        return counts
    blurred = blur_counts(counts, sigma)
    return np.asarray(blurred / blurred.sum(), np.float32)


_MOST_STAMPS = 64
"""More of them add up with more rounding than a blur has."""

Patch = tuple[slice, slice, npt.NDArray[np.float32]]
"""Rows and columns of a part of a map, and its values there; elsewhere it is 0."""


def blur_counts(counts: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """A Gaussian of `sigma` pixels on each point, cut at four sigma and at the edges, not scaled afterwards.

    Few points are stamped one by one, which gives the same as blurring the whole picture in a fraction of the time.

    Args:
        counts: how many points fall on each pixel, (h, w).
        sigma: standard deviation in pixels.
    """
    rows, columns = np.nonzero(counts)
    if not _is_stamped(len(rows), counts.shape, sigma):
        return _blurred(counts, sigma)
    down, along, values = _stamped(rows, columns, counts[rows, columns], counts.shape, sigma)
    total = np.zeros(counts.shape, np.float32)
    total[down, along] = values
    return total


def blur_points(points: npt.NDArray[np.float32], *, height: int, width: int, sigma: float) -> Patch:
    """`blur_counts` of points, as the part of the map that they reach.

    Args:
        points: (N, 2) x, y in pixels, on the picture.
        height: rows of the map.
        width: columns of the map.
        sigma: standard deviation in pixels.
    """
    cells, times = np.unique(np.floor(points[:, ::-1]).astype(np.int64), axis=0, return_counts=True)
    if not _is_stamped(len(cells), (height, width), sigma):
        counts = fixation_counts(points, height=height, width=width)
        return slice(0, height), slice(0, width), _blurred(counts, sigma)
    return _stamped(cells[:, 0], cells[:, 1], times.astype(np.float32), (height, width), sigma)


def _is_stamped(points: int, shape: tuple[int, ...], sigma: float) -> bool:
    """Whether stamps are quicker than a blur, which takes the side of the kernel for each pixel, and as exact."""
    return points <= _MOST_STAMPS and points * (2 * _reach(sigma) + 201) <= shape[0] * shape[1]


def _reach(sigma: float) -> int:
    return int(np.ceil(4 * sigma))


def _blurred(counts: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    side = 2 * _reach(sigma) + 1
    return np.asarray(cv2.GaussianBlur(counts, (side, side), sigma, borderType=cv2.BORDER_CONSTANT), np.float32)


def _stamped(
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    times: npt.NDArray[np.float32],
    shape: tuple[int, ...],
    sigma: float,
) -> Patch:
    """A Gaussian on each point, over the rows and columns that any of them reaches."""
    radius = _reach(sigma)
    if not len(rows):
        return slice(0, 0), slice(0, 0), np.zeros((0, 0), np.float32)
    kernel = cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_32F)[:, 0]
    top, left = (max(0, int(places.min()) - radius) for places in (rows, columns))
    bottom, right = (
        min(size, int(places.max()) + radius + 1) for size, places in zip(shape, (rows, columns), strict=True)
    )
    total = np.zeros((bottom - top, right - left), np.float32)
    for row, column, count in zip(rows.tolist(), columns.tolist(), times, strict=True):
        first, start = max(0, row - radius), max(0, column - radius)
        down = kernel[first - row + radius : shape[0] - row + radius]
        along = kernel[start - column + radius : shape[1] - column + radius] * count
        total[first - top : first - top + len(down), start - left : start - left + len(along)] += np.outer(down, along)
    return slice(top, bottom), slice(left, right), total
