"""One's own pictures and videos with tables of fixations in, sequences out.

    NAME/images/...                pictures
    NAME/fixations.csv             (or .csv.gz) one row a fixation; the columns read are
        image                      file name below images/
        width, height              size in pixels of the stimulus that `x` and `y` refer to
        x, y                       pixels of that size, origin top left
        condition, subject, duration_ms    optional; `condition` can be selected on
    NAME/videos/...                video files
    NAME/video_fixations.csv       (or .csv.gz) as above, with
        video                      file name below videos/, instead of `image`
        start_seconds              when the fixation began, after the video's first frame
        duration_ms                optional; how long it lasted. It counts on the frames whose times lie in it; without
                                   a duration, or between two frames, on the frame shown at its start
    NAME/gaze/...                  tables of recorded gaze (`vidsal.gaze.table`), one a video, instead of rows in
                                   video_fixations.csv; each says of which video it is, or has its name

Any part may be missing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt

from vidsal.data.fixations import SIGMA_SHARE, find_table, is_file, is_validation, read_table
from vidsal.data.layouts.contract import Dataset, Fixations, ForShown, LabelledSequence, Layout, Shown
from vidsal.data.layouts.stills import still
from vidsal.data.layouts.videos import VideoPictures, tiny
from vidsal.decode import VideoInfo
from vidsal.decode.images import IMAGE_SUFFIXES, natural_order
from vidsal.errors import DatasetError
from vidsal.files import called_alike
from vidsal.gaze.table import GAZE_SUFFIXES, read_gaze
from vidsal.options import Checked, Range

__all__ = ["LAYOUTS", "SimpleOptions"]


@dataclass(frozen=True, kw_only=True)
class SimpleOptions(Checked):
    """What can be chosen of your own data."""

    condition: str | None = None
    """Only fixations with this word in the column condition; None: all."""
    sigma_share: Annotated[float, Range(above=0)] = SIGMA_SHARE
    """Width of the density's Gaussians as a share of the stimulus's longer side."""
    mirror: bool = True
    """Whether training may mirror pictures and videos; False for drives, since traffic keeps to one side."""


@dataclass
class _Record:
    """The rows of a table that speak of one picture or video."""

    height: int
    width: int
    sigma: float
    points: list[tuple[float, float]] = field(default_factory=list)
    subjects: list[str] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def fixations(self) -> Fixations:
        """All points; viewers are numbered in the order of their names, where every row has one."""
        names = sorted(set(self.subjects))
        told = "" not in names
        return Fixations.on_picture(
            self.points,
            height=self.height,
            width=self.width,
            viewers=[names.index(subject) for subject in self.subjects] if told else None,
            names=tuple(names) if told else None,
            sigma=self.sigma,
        )

    def in_time(self, duration: float) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which rows begin before a video of so many seconds, which after its end, and which are seen in it."""
        starts, ends = np.array(self.starts), np.array(self.ends)
        before, after = starts < -_SAME_TIME_SECONDS, starts >= duration
        return before, after, ~after & (~before | (ends > _SAME_TIME_SECONDS))


@dataclass(frozen=True, eq=False)
class _Rows:
    """A table's rows of one split; what of them is lost."""

    table: Path
    kind: _Kind
    records: dict[str, _Record] = field(default_factory=dict)
    videos: dict[str, VideoPictures] = field(default_factory=dict)
    samples: bool = False
    """Whether a row is one measurement, and not a held look."""
    imported_with: str = ""
    """The video that a table of recorded gaze names, where it is not called like the one it is taken for."""

    def remarks(self, sizes: Mapping[str, tuple[int, int]]) -> Iterator[str]:
        """See `Dataset.remarks`."""
        what = "picture" if self.kind == "image" else "video"
        total = sum(len(record.points) for record in self.records.values())
        beside = nowhere = before = after = 0
        lost, misfits = [], []
        relative = total > 0
        for name, record in self.records.items():
            points = np.asarray(record.points, np.float32)
            placed = np.isfinite(points).all(axis=1)
            on = (points >= 0).all(axis=1) & (points < (record.width, record.height)).all(axis=1)
            nowhere += int((~placed).sum())
            beside += int((placed & ~on).sum())
            relative = relative and bool(((points[placed] >= 0) & (points[placed] <= 1)).all())
            if name in self.videos and name in sizes:
                early, late, shown = record.in_time(_duration(self.videos[name].info))
                before, after = before + int(early.sum()), after + int(late.sum())
                on &= shown
            if not on.any():
                lost.append(name)
            elif name in sizes and not self._fits(name, sizes[name]):
                height, width = sizes[name]
                misfits.append(f"{name} (x and y in {record.width}x{record.height}, stored {width}x{height} upright)")
        start = f"{self.table.name}: "
        if self.imported_with and self.records:
            taken = ", ".join(self.records)
            yield f"{start}the gaze was imported with {self.imported_with}, not with {taken}: is it gaze on this video?"
        if self.samples:
            yield (
                f"{start}rows are samples, each of which counts on the frame that is shown then; `vidsal gaze import "
                "--events` finds fixations"
            )
        if beside or nowhere:
            yield (
                f"{start}rows outside their {what}: {beside:,} of {total:,}; without a place (x or y empty or NaN): "
                f"{nowhere:,}; they do not count"
            )
        if before or after:
            yield (
                f"{start}rows that begin before their video: {before:,} of {total:,}; after its end: {after:,}; those "
                "that do not reach into it do not count"
            )
        if lost:
            yield f"{start}every row is lost of {len(lost):,} of {len(self.records):,} {what}s: {_some(lost)}"
        if relative and nowhere < total:
            yield (
                f"{start}all x and y lie within 0 and 1, so they are probably shares; expected are pixels: multiply x "
                "by width and y by height"
            )
        if misfits:
            yield (
                f"{start}width:height is not that of the stored {what} for {len(misfits):,} of {len(self.records):,} "
                f"{what}s, so points may lie in wrong places: {_some(misfits)}"
            )

    def _fits(self, name: str, size: tuple[int, int]) -> bool:
        """Whether the stimulus has the shape of what is stored, in its pixels or as players show them."""
        record = self.records[name]
        times = record.width / record.height / (size[1] / size[0])
        shapes = [1.0, float(self.videos[name].info.sample_aspect_ratio)] if name in self.videos else [1.0]
        return any(max(times / shape, shape / times) <= _SAME_SHAPE for shape in shapes)


_SAME_SHAPE = 1.03
"""Shapes that differ by less are the same: sizes are rounded."""

_NAMED = 10
"""Pictures or videos that a remark names."""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _duration(info: VideoInfo) -> float:
    """Seconds that a video lasts by its container's word; infinite where that says nothing."""
    if info.duration_seconds is not None:
        return info.duration_seconds
    return float(info.frame_count / info.rate) if info.frame_count and info.rate else math.inf


def _unnamed(root: Path, split: str, named: Mapping[str, frozenset[str]], chosen: str) -> Iterator[str]:
    """What to say of pictures and videos that no row speaks of; `named` has no entry for a kind without a table."""
    for kind, (table, what, suffixes) in _KINDS.items():
        folder = root / f"{kind}s"
        there = [file.relative_to(folder) for file in folder.rglob("*") if file.suffix.lower() in suffixes]
        there = [file for file in there if not any(part.startswith(".") for part in file.parts)]
        names = [file.as_posix() for file in sorted(there, key=natural_order)]
        if kind not in named:
            if names:
                or_gaze = " and no gaze/" if kind == "video" else ""
                yield (
                    f"{kind}s/ holds {len(names):,} {what}s, but there is no {table}.csv (or .csv.gz){or_gaze}: "
                    "left out"
                )
            continue
        set_name = root.resolve().name
        own = {name for name in names if split in ("all", "val" if is_validation(set_name, name) else "train")}
        lonely = [name for name in names if name in own - named[kind]]
        if lonely:
            where = f"{table}.csv and gaze" if kind == "video" and _gaze_tables(root) else f"{table}.csv"
            yield (
                f"{where}: no row{chosen} for {len(lonely):,} of {len(own):,} {what}s in {kind}s/, which are left "
                f"out: {_some(lonely)}"
            )


_Kind = Literal["image", "video"]

_KINDS: Mapping[_Kind, tuple[str, str, frozenset[str]]] = {
    "image": ("fixations", "picture", IMAGE_SUFFIXES),
    "video": ("video_fixations", "video", frozenset({".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".ts"})),
}
"""Table, word and endings of what lies in `images/` and in `videos/`."""


def _open_simple(root: Path, split: str, options: SimpleOptions) -> Dataset:
    set_name = root.resolve().name
    tables = {kind: find_table(root, name) for kind, (name, _, _) in _KINDS.items()}
    gaze = _gaze_tables(root)
    if not any(tables.values()) and not gaze:
        raise DatasetError(
            f"{root}: no fixations.csv, video_fixations.csv (or .csv.gz) or gaze/ with tables here; "
            "docs/reference/layouts.md has what they hold"
        )
    if gaze and options.condition is not None:
        raise DatasetError(f"{root}: tables in gaze/ have no column condition, so none can be chosen")
    sequences: list[LabelledSequence] = []
    counts = {"train": 0, "val": 0}
    found = []
    named: dict[str, frozenset[str]] = {}
    parts = [(_Rows(table, kind), _read(table, kind, options)) for kind, table in tables.items() if table is not None]
    for path in gaze:
        part, name, record = _read_gaze(path, root / "videos", options)
        before = next((other.table for other, records in parts if other.kind == "video" and name in records), None)
        if before is not None:
            raise DatasetError(f"{path} and {before} are both about {name}; leave one of them")
        parts.append((part, {name: record}))
    for part, records in parts:
        kind = part.kind
        found.append(part)
        named[kind] = named.get(kind, frozenset()) | frozenset(records)
        for name, record in sorted(records.items()):
            own = "val" if is_validation(set_name, name) else "train"
            fixations = record.fixations()
            counts[own] += len(fixations.points) > 0
            if split not in ("all", own):
                continue
            part.records[name] = record
            if not len(fixations.points):
                continue
            path = root / f"{kind}s" / name
            if not is_file(path):
                raise DatasetError(
                    f"{part.table} names {name}, but {path} is missing; copy it, or remove it from the table"
                )
            if kind == "image":
                made = _still(path, name, own, fixations)
            else:
                pictures = part.videos[name] = VideoPictures(path)
                made = _video(name, own, pictures, _PointsInTime(record, pictures))
            sequences.append(dataclasses.replace(made, may_be_mirrored=options.mirror))
    chosen = f" with condition {options.condition}" if options.condition is not None else ""
    if not sequences:
        raise DatasetError(f"{root}: {_why_none(found, split, chosen, counts)}")

    def remarks(sizes: Mapping[str, tuple[int, int]]) -> tuple[str, ...]:
        lost = (text for part in found for text in part.remarks(sizes))
        return (*lost, *_unnamed(root, split, named, chosen))

    sequences.sort(key=lambda each: (each.kind != "still", each.name))
    return Dataset("simple", root, split, tuple(sequences), remarks=remarks)


def _gaze_tables(root: Path) -> list[Path]:
    """The tables in gaze/, in order; .json files beside them say how they came about."""
    folder = root / "gaze"
    try:
        there = [path for path in folder.iterdir() if path.suffix.lower() in GAZE_SUFFIXES] if folder.is_dir() else []
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed ({error.strerror}); allow this user to read it") from error
    return sorted((path for path in there if not path.name.startswith(".")), key=natural_order)


def _read_gaze(path: Path, videos: Path, options: SimpleOptions) -> tuple[_Rows, str, _Record]:
    """A table of recorded gaze, the video that it is about, and its rows."""
    gaze = read_gaze(path)
    facts = gaze.facts.get("video")
    said = str(facts.get("name", "")) if isinstance(facts, Mapping) else ""
    there = sorted(each.name for each in videos.iterdir() if is_file(each)) if videos.is_dir() else []
    same = [name for name in there if Path(name).stem == path.stem and Path(name).suffix.lower() in _KINDS["video"][2]]
    name = said if said in there else same[0] if len(same) == 1 else ""
    if not name:
        whose = f"is about {said}, which is not in {videos}" if said else "does not say which video it is about"
        raise DatasetError(f"{path} {whose}; put the video there, under that name or as {path.stem}.mp4")
    info = VideoPictures(videos / name).info
    height, width = info.height, info.width
    if isinstance(facts, Mapping) and facts.get("height") and facts.get("width"):
        height, width = int(facts["height"]), int(facts["width"])
    record = _Record(height, width, options.sigma_share * max(height, width))
    record.points = list(zip(gaze.x.tolist(), gaze.y.tolist(), strict=True))
    record.points = [
        point if valid else (math.nan, math.nan) for point, valid in zip(record.points, gaze.valid, strict=True)
    ]
    record.subjects = gaze.participant.tolist()
    record.starts = gaze.pts_seconds.tolist()
    record.ends = (gaze.pts_seconds + gaze.duration_seconds).tolist()
    other = said if said and not called_alike(said, name) else ""
    return _Rows(path, "video", samples=gaze.kind == "samples", imported_with=other), name, record


def _why_none(found: list[_Rows], split: str, chosen: str, counts: dict[str, int]) -> str:
    """Says why a split holds nothing; `counts` are the pictures and videos with fixations by split."""
    if any(counts.values()):
        return (
            f"no picture or video with fixations{chosen} is in split {split}: {counts['train']} in train, "
            f"{counts['val']} in val (the names decide, see docs/reference/layouts.md); "
            "take all of them with --split all"
        )
    text = f"no fixation{chosen} falls on a picture of split {split}"
    rows = sum(len(record.points) for part in found for record in part.records.values())
    if not rows:
        return text
    return (
        f"{text}: each of the {rows:,} rows lies outside its picture or has no place (x or y empty or NaN); x and y "
        "are pixels of width x height, from the top left"
    )


@dataclass(frozen=True, eq=False)
class _PointsInTime:
    """The fixations that last while a frame is shown."""

    record: _Record
    pictures: VideoPictures

    def at(self, shown: Shown) -> Fixations:
        """Those that last at this frame's time, and those between two frames' times that begin while it is shown."""
        starts, ends = self._times
        now = shown.seconds + _SAME_TIME_SECONDS
        lasts = (starts <= now) & (now < ends)
        record = self.record
        rows = np.flatnonzero(lasts)
        points, subjects = [record.points[row] for row in rows], [record.subjects[row] for row in rows]
        return dataclasses.replace(record, points=points, subjects=subjects).fixations()

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


def _still(path: Path, name: str, split: str, fixations: Fixations) -> LabelledSequence:
    return still(path, name=name, split=split, density=fixations.density, fixations=lambda: fixations, upright=True)


def _video(name: str, split: str, pictures: VideoPictures, points: _PointsInTime) -> LabelledSequence:
    return LabelledSequence(
        name=name,
        split=split,
        kind="video",
        pictures=pictures,
        densities=ForShown(lambda shown: points.at(shown).density()),
        points=ForShown(points.at),
    )


def _read(table: Path, kind: _Kind, options: SimpleOptions) -> dict[str, _Record]:
    """The rows of a table, gathered by picture or video."""
    records: dict[str, _Record] = {}
    for row in read_table(table, kind, condition=options.condition):
        sigma = options.sigma_share * max(row.height, row.width)
        record = records.setdefault(row.name, _Record(row.height, row.width, sigma))
        record.points.append((row.x, row.y))
        record.subjects.append(row.subject)
        if kind == "video":
            record.starts.append(row.start)
            record.ends.append(row.end)
    return records


LAYOUTS = {
    # `images/` with `fixations.csv`, `videos/` with `video_fixations.csv`; the split follows from md5 of the names.
    "simple": Layout("your own data, in the simple layout", ("all", "train", "val"), _open_simple, SimpleOptions)
}
"""The layout of this file by its name."""
