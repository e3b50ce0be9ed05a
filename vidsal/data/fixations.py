"""A folder of still pictures with a table of fixations in, pictures, points and densities out.

The simple layout, which anybody can bring:

    NAME/images/...            pictures
    NAME/fixations.csv.gz      (or .csv) one row a fixation, with a header; the columns read are
        image                  file name below images/
        width, height          size in pixels of the stimulus that `x` and `y` refer to
        x, y                   pixels of that size, origin top left
        condition, subject, duration_ms   optional; `condition` can be selected on
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.errors import DatasetError

__all__ = [
    "SIGMA_SHARE",
    "Still",
    "density_from_fixations",
    "fixation_counts",
    "is_validation",
    "load_stills",
    "split_stills",
]

SIGMA_SHARE = 0.03
"""Width of the density's Gaussian as a share of the stimulus's longer side: 24 px at 800x600, about one degree."""

Split = Literal["train", "val", "all"]


@dataclass(frozen=True, eq=False)
class Still:
    """One picture with the points where its viewers looked."""

    set_name: str
    """Name of the folder it came from."""
    image: str
    """File name below `images/`."""
    path: Path
    """Where the picture lies."""
    height: int
    """Rows of the stimulus the points refer to (the stored picture may be smaller)."""
    width: int
    """Columns of that stimulus."""
    points: npt.NDArray[np.float32]
    """(N, 2) float32, x and y in pixels of the stimulus; only those that fall on it."""

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2:
            raise ValueError(f"points must be (N, 2), got {self.points.shape}")

    @property
    def sigma(self) -> float:
        """Standard deviation of the density's Gaussian in pixels of the stimulus."""
        return SIGMA_SHARE * max(self.height, self.width)

    def read(self) -> npt.NDArray[np.uint8]:
        """The stored picture, (h, w, 3) uint8 RGB.

        Raises:
            DatasetError: if it cannot be read.
        """
        picture = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if picture is None:
            raise DatasetError(f"{self.path}: not a readable picture")
        return np.ascontiguousarray(picture[:, :, ::-1]).astype(np.uint8, copy=False)


def load_stills(root: Path | str, *, condition: str | None = None) -> list[Still]:
    """Read one set in the simple layout.

    Args:
        root: folder with `images/` and `fixations.csv.gz` or `fixations.csv`; its name is the set's name.
        condition: only fixations with this value in the column `condition`; None takes all.

    Returns:
        The pictures that have at least one fixation, sorted by name.

    Raises:
        DatasetError: if a file or column is missing, a value is no number, or a picture that has fixations is not
            there. The message names the first offender.
    """
    root = Path(root)
    tables = [root / name for name in ("fixations.csv.gz", "fixations.csv") if (root / name).is_file()]
    if not tables:
        raise DatasetError(f"{root}: no fixations.csv.gz or fixations.csv here; see the simple layout in the docs")
    if not (root / "images").is_dir():
        raise DatasetError(f"{root}: no folder images/ here; see the simple layout in the docs")
    points: dict[str, list[tuple[float, float]]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    table = tables[0]
    try:
        with gzip.open(table, "rt", newline="") if table.suffix == ".gz" else table.open(newline="") as stream:
            rows = csv.DictReader(stream)
            missing = {"image", "width", "height", "x", "y"} - set(rows.fieldnames or ())
            if missing:
                raise DatasetError(f"{table}: column {sorted(missing)[0]} is missing")
            for row in rows:
                if condition is not None and row.get("condition") != condition:
                    continue
                try:
                    size = int(row["height"]), int(row["width"])
                    x, y = float(row["x"]), float(row["y"])
                except (TypeError, ValueError) as error:
                    raise DatasetError(f"{table}, line {rows.line_num}: {error}") from error
                if sizes.setdefault(row["image"], size) != size:
                    raise DatasetError(f"{table}, line {rows.line_num}: two sizes for {row['image']}")
                if 0 <= x < size[1] and 0 <= y < size[0]:
                    points.setdefault(row["image"], []).append((x, y))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{table}: cannot be read ({error})") from error
    stills = []
    for image in sorted(points):
        path = root / "images" / image
        if not path.is_file():
            raise DatasetError(f"{table} names {image}, but {path} is not there")
        height, width = sizes[image]
        stills.append(
            Still(
                set_name=root.resolve().name,
                image=image,
                path=path,
                height=height,
                width=width,
                points=np.array(points[image], np.float32),
            )
        )
    if not stills:
        raise DatasetError(f"{table}: no fixation falls on a picture" + (f" ({condition=})" if condition else ""))
    return stills


def is_validation(set_name: str, image: str) -> bool:
    """Whether a picture belongs to the validation split: md5 of "set/image" is 1 modulo 5.

    Example:
        >>> is_validation("osie", "1001.jpg"), is_validation("osie", "1004.jpg")
        (False, True)
    """
    digest = hashlib.md5(f"{set_name}/{image}".encode(), usedforsecurity=False).hexdigest()
    return int(digest, 16) % 5 == 1


def split_stills(stills: Iterable[Still], split: Split) -> list[Still]:
    """The pictures of one split, in order: "val" as `is_validation` says, "train" the others, "all"."""
    if split == "all":
        return list(stills)
    return [still for still in stills if is_validation(still.set_name, still.image) == (split == "val")]


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
    kernel = 2 * int(np.ceil(4 * sigma)) + 1
    blurred = cv2.GaussianBlur(counts, (kernel, kernel), sigma, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred / blurred.sum(), np.float32)
