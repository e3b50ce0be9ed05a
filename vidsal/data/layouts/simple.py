"""One's own pictures and videos with tables of fixations in, sequences out.

    NAME/images/...                pictures
    NAME/fixations.csv             (or .csv.gz) one row a fixation; the columns read are
        image                      file name below images/
        width, height              size in pixels of the stimulus that `x` and `y` refer to
        x, y                       pixels of that size, origin top left
        condition, subject         optional
    NAME/videos/...                video files
    NAME/video_fixations.csv       (or .csv.gz) as above, with
        video                      file name below videos/, instead of `image`
        start_seconds              when the fixation began, after the video's first frame
        duration_ms                optional; how long it lasted. It counts on the frames whose times lie in it; without
                                   a duration, or between two frames, on the frame shown at its start

Either half may be missing.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidsal.data.fixations import SIGMA_SHARE, find_table, is_file, is_validation, read_table
from vidsal.data.layouts.contract import Dataset, Fixations, Layout, Sequence, Shown, choose_split
from vidsal.data.layouts.stills import still
from vidsal.data.layouts.videos import VideoPictures, tiny
from vidsal.errors import ConfigError, DatasetError

__all__ = ["SIMPLE", "SimpleOptions"]


@dataclass(frozen=True, kw_only=True)
class SimpleOptions:
    """What can be chosen of one's own data."""

    condition: str | None = None
    """Only fixations with this word in the column condition; None: all."""
    sigma_share: float = SIGMA_SHARE
    """Width of the density's Gaussians as a share of the stimulus's longer side."""

    def __post_init__(self) -> None:
        if not self.sigma_share > 0:
            raise ConfigError(f"sigma_share must be more than 0, got {self.sigma_share}")


@dataclass
class _Record:
    """The rows of a table that speak of one picture or video."""

    height: int
    width: int
    points: list[tuple[float, float]] = field(default_factory=list)
    subjects: list[str] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def fixations(self) -> Fixations:
        """All points; viewers are numbered in the order of their names, where every row has one."""
        names = sorted(set(self.subjects))
        viewers = None if "" in names else [names.index(subject) for subject in self.subjects]
        return Fixations.on_picture(self.points, height=self.height, width=self.width, viewers=viewers)


def _open_simple(root: Path, split: str, options: SimpleOptions) -> Dataset:
    choose_split(split, SIMPLE.splits, "simple")
    set_name = root.resolve().name
    stills, videos = find_table(root, "fixations"), find_table(root, "video_fixations")
    if stills is None and videos is None:
        raise DatasetError(
            f"{root}: no fixations.csv or video_fixations.csv (or .csv.gz) here; docs/layouts.md has their columns"
        )
    sequences = []
    tables: tuple[tuple[Path | None, Literal["image", "video"]], ...] = ((stills, "image"), (videos, "video"))
    for table, kind in tables:
        for name, record in sorted(_read(table, kind, options.condition).items()) if table else ():
            own = "val" if is_validation(set_name, name) else "train"
            fixations = record.fixations()
            if split not in ("all", own) or not len(fixations.points):
                continue
            path = root / f"{kind}s" / name
            if not is_file(path):
                raise DatasetError(f"{table} names {name}, but {path} is not there; copy it, or take it from the table")
            sigma = options.sigma_share * max(record.height, record.width)
            sequences.append(
                _still(path, name, own, fixations, sigma) if kind == "image" else _video(path, name, own, record, sigma)
            )
    if not sequences:
        chosen = f" with condition {options.condition}" if options.condition is not None else ""
        raise DatasetError(f"{root}: no fixation{chosen} falls on a picture of split {split}")
    return Dataset("simple", root, split, tuple(sequences))


def _still(path: Path, name: str, split: str, fixations: Fixations, sigma: float) -> Sequence:
    return still(
        path,
        name=name,
        split=split,
        density=partial(fixations.density, sigma=sigma),
        fixations=lambda: fixations,
        upright=True,
    )


def _video(path: Path, name: str, split: str, record: _Record, sigma: float) -> Sequence:
    pictures = VideoPictures(path)
    points = _PointsInTime(record, pictures)
    return Sequence(
        name=name, split=split, kind="video", pictures=pictures, points=points, densities=_Blurred(points, sigma)
    )


@dataclass(frozen=True, eq=False)
class _PointsInTime:
    """The points under way when a frame is shown; `Labels` of the contract."""

    record: _Record
    pictures: VideoPictures

    def count(self) -> int | None:
        """None: fixations have times, not frames."""
        return None

    @contextlib.contextmanager
    def follow(self) -> Iterator[Callable[[Shown], Callable[[], Fixations | None]]]:
        """See `Labels`."""
        yield lambda shown: partial(self.at, shown.seconds)

    def at(self, seconds: float) -> Fixations:
        """Those under way at this frame's time, and those between two frames' times that begin while it is shown."""
        starts, ends = self._times
        under_way = (starts <= seconds + _SAME_TIME_SECONDS) & (seconds + _SAME_TIME_SECONDS < ends)
        record = self.record
        rows = np.flatnonzero(under_way)
        return _Record(
            record.height, record.width, [record.points[row] for row in rows], [record.subjects[row] for row in rows]
        ).fixations()

    @cached_property
    def _times(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Starts and ends; of what lies between two frames' times those of the frame shown then."""
        starts, ends = np.array(self.record.starts), np.array(self.record.ends)
        shown = np.array([seconds for seconds, _ in self.pictures.frames(tiny)])
        # How long the last frame is shown is not known: as long as the others on average.
        last = (shown[-1] - shown[0]) / (len(shown) - 1) if len(shown) > 1 else math.inf
        until = np.append(shown[1:], shown[-1] + last)
        first = np.searchsorted(shown, starts - _SAME_TIME_SECONDS)  # the first frame that comes with it or later
        comes = np.append(shown, np.inf)[first] + _SAME_TIME_SECONDS
        alone = ~(comes < ends)  # also where there is no end
        at_start = np.searchsorted(shown, starts + _SAME_TIME_SECONDS, side="right") - 1
        inside = (at_start >= 0) & (starts < until[at_start])
        starts = np.where(alone, np.where(inside, shown[at_start], np.inf), starts)
        return starts, np.where(alone, until[at_start], ends)


_SAME_TIME_SECONDS = 1e-4
"""A fixation that begins this shortly after a frame's time begins with it: tables are rounded."""


@dataclass(frozen=True, eq=False)
class _Blurred:
    """Densities made of points; `Labels` of the contract."""

    points: _PointsInTime
    sigma: float

    def count(self) -> int | None:
        """None, as the points."""
        return None

    @contextlib.contextmanager
    def follow(self) -> Iterator[Callable[[Shown], Callable[[], npt.NDArray[np.float32] | None]]]:
        """See `Labels`."""
        yield lambda shown: lambda: self.points.at(shown.seconds).density(sigma=self.sigma)


def _read(table: Path, kind: Literal["image", "video"], condition: str | None) -> dict[str, _Record]:
    """The rows of a table, gathered by picture or video."""
    records: dict[str, _Record] = {}
    for row in read_table(table, kind, condition=condition):
        record = records.setdefault(row.name, _Record(row.height, row.width))
        record.points.append((row.x, row.y))
        record.subjects.append(row.subject)
        if kind == "video":
            record.starts.append(row.start)
            record.ends.append(row.end)
    return records


SIMPLE = Layout(
    title="one's own data, in the simple layout",
    splits=("all", "train", "val"),
    options=SimpleOptions,
    open=_open_simple,
)
"""`images/` with `fixations.csv`, `videos/` with `video_fixations.csv`; the split follows from md5 of the names."""
