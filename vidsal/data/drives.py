"""Recorded drives of a data set in, tables of what was recorded out: those that `vidsal run --report-driving` predicts.

OUT/driving.csv            a row a frame with a record, and area
OUT/driving-summary.csv    a row a sequence and area
OUT/driving-moments.csv    moments at which the record spreads or jumps: to look at
OUT/driving-points.csv     the vanishing point of each shot of each sequence
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from vidsal.aois import AoiFrame, AoiSum, AoiSums, AoiTracker, read_aois
from vidsal.data.layouts import Dataset, LabelledFrame, LabelledSequence
from vidsal.driving.areas import road_areas
from vidsal.driving.moments import Candidate, CandidateFinder
from vidsal.driving.options import DrivingOptions
from vidsal.driving.vanishing import VanishingFinder, VanishingPoint
from vidsal.errors import DatasetError, EncodeError, VidsalError
from vidsal.files import check_free, replacing
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.shots import CutDetector
from vidsal.sinks.tables import TextTable
from vidsal.tracks import Tracker, column_types

__all__ = ["RECORDED_LIMITS", "DrivesReport", "write_drives"]

RECORDED_LIMITS = (
    "recorded share: of the gaze map that the data set has of the frame; often one driver's gaze of about a second, or "
    "that of viewers at a screen; no dwell, and nothing about safety"
)
"""What a reader of the numbers has to know; it stands beside them."""

_SIDE = 480
"""Pictures are read with about this longer side, in pixels."""
_CELLS = 320
"""Maps are averaged down to this many cells at most along a side."""
_BATCH = 16
"""Frames that are measured at once."""


@dataclass(frozen=True, kw_only=True)
class DrivesReport:
    """What `write_drives` did."""

    paths: tuple[Path, ...]
    """The tables."""
    sequences: int
    """Those that are in them."""
    frames: int
    """Frames with a record."""
    unrecorded: int
    """Frames without one, or that the set calls bad: they are in no table."""
    found: int
    """Shots with a vanishing point."""
    shots: int
    """All shots."""
    broken: tuple[str, ...]
    """Messages of the sequences that could not be read to their end; nothing of them is in the tables."""


def write_drives(
    dataset: Dataset,
    out: str | Path,
    *,
    options: DrivingOptions | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> DrivesReport:
    """Measures what was recorded of drives, by the areas that `vidsal run --report-driving` has.

    Args:
        dataset: opened by `open_dataset`; its videos are measured.
        out: folder to make, or one to add to.
        options: which areas; `road_users` are those of one video, so they are not taken.
        overwrite: replaces tables that are there.
        on_progress: called after each sequence with the number done and that of all.

    Raises:
        ExistsError: a table is there already.
        DatasetError: no sequence has recorded gaze, or the camera's template cannot be read.
        EncodeError: a table cannot be written, or shapely is not installed.
    """
    out, asked = Path(out), options or DrivingOptions()
    videos = [one for one in dataset if one.kind == "video" and one.densities is not None]
    if not videos:
        raise DatasetError(f"{dataset.root}: no video of split {dataset.split} of {dataset.name} has recorded gaze")
    names = {name: out / f"{name}.csv" for name in ("driving", "driving-summary", "driving-moments", "driving-points")}
    for path in names.values():
        check_free(path, overwrite=overwrite)
    attributes = _attribute_types(videos)
    types = {
        "driving": _recorded(AoiFrame),
        "driving-summary": {**attributes, **_recorded(AoiSum), "note": str},
        "driving-moments": column_types(Candidate),
        "driving-points": column_types(VanishingPoint),
    }
    frames = unrecorded = found = shots = 0
    broken: list[str] = []
    with ExitStack() as stack:
        tables = {}
        for name, path in names.items():
            partial = stack.enter_context(replacing(path, make_folder=True))
            tables[name] = TextTable(partial, {"sequence": str, **types[name]}, suffix=".csv")
            stack.callback(tables[name].close)
            tables[name].write([])
        for place, sequence in enumerate(videos, 1):
            # What cannot be written is no fault of the sequence.
            try:
                made = _measured(sequence, asked)
            except EncodeError:
                raise
            except VidsalError as error:
                broken.append(f"{sequence.name}: {error}")
                continue
            finally:
                if on_progress is not None:
                    on_progress(place, len(videos))
            frames, unrecorded = frames + made.frames, unrecorded + made.unrecorded
            found, shots = found + sum(point.found for point in made.points), shots + len(made.points)
            about = _attributes(sequence)
            tables["driving"].write([[sequence.name, *_values(row, AoiFrame)] for row in made.rows])
            summed = [[about.get(name) for name in attributes] + _values(row, AoiSum) for row in made.sums]
            tables["driving-summary"].write([[sequence.name, *row, RECORDED_LIMITS] for row in summed])
            for name, kind, rows in (
                ("driving-moments", Candidate, made.moments),
                ("driving-points", VanishingPoint, made.points),
            ):
                tables[name].write([[sequence.name, *_values(row, kind)] for row in rows])
    return DrivesReport(
        paths=tuple(names.values()),
        sequences=len(videos) - len(broken),
        frames=frames,
        unrecorded=unrecorded,
        found=found,
        shots=shots,
        broken=tuple(broken),
    )


@dataclass
class _Measured:
    points: list[VanishingPoint]
    rows: list[AoiFrame]
    sums: list[AoiSum]
    moments: list[Candidate]
    frames: int
    unrecorded: int


def _measured(sequence: LabelledSequence, asked: DrivingOptions) -> _Measured:
    height, width = sequence.first_frame().picture().shape[:2]
    camera = None if asked.camera_template is None else read_aois(asked.camera_template, height=height, width=width)
    finder, detector = VanishingFinder(camera), CutDetector()
    shot_of: dict[int, int] = {}
    shot = 0
    for batch in _pictures(sequence, height, width):
        shots = shot + np.cumsum(detector.update(batch.frames, batch.pts_seconds), dtype=np.int64)
        shot = int(shots[-1])
        finder.update(batch, shots)
        shot_of |= dict(zip(batch.index.tolist(), shots.tolist(), strict=True))
    points = finder.flush()
    areas = road_areas(points, height=height, width=width, half_width=asked.road_half_width, camera=camera)
    tracker, measure, sums, moments = Tracker(), AoiTracker(areas), AoiSums(areas.names), CandidateFinder()
    made = _Measured(points, [], [], [], frames=0, unrecorded=len(shot_of))
    for recorded in _records(sequence, shot_of, height, width):
        numbers = tracker.update(recorded)
        rows = measure.update(recorded, numbers)
        sums.update(rows)
        moments.update(recorded, numbers)
        made.rows += [row for each in rows for row in each]
        made.frames += len(recorded)
    made.unrecorded -= made.frames
    made.sums, made.moments = sums.flush(), moments.flush()
    return made


def _pictures(sequence: LabelledSequence, height: int, width: int) -> Iterator[FrameBatch]:
    """All frames, small."""
    scale = min(1.0, _SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    for frames in _in_batches(sequence.read(size=size)):
        yield FrameBatch(
            index=np.array([frame.index for frame in frames]),
            pts_seconds=np.array([frame.pts_seconds for frame in frames]),
            frames=np.stack([frame.picture() for frame in frames]),
            height=height,
            width=width,
        )


def _records(
    sequence: LabelledSequence, shot_of: Mapping[int, int], height: int, width: int
) -> Iterator[SaliencyBatch]:
    """The recorded maps as densities; frames without one are left out."""
    before = 0
    for frames in _in_batches(frame for frame in sequence.read(size=(16, 16)) if not frame.bad):
        kept = [(frame, density) for frame in frames if (density := frame.density()) is not None and density.any()]
        if not kept:
            continue
        shots = np.array([shot_of.get(frame.index, before) for frame, _ in kept], np.int64)
        maps = torch.from_numpy(np.stack([_small(one) for _, one in kept]))
        cut = np.diff(shots, prepend=before) != 0
        before = int(shots[-1])
        batch = SaliencyBatch(
            index=np.array([frame.index for frame, _ in kept], np.int64),
            pts_seconds=np.array([frame.pts_seconds for frame, _ in kept]),
            shot=shots,
            cut=cut,
            log_density=torch.zeros_like(maps),
            height=height,
            width=width,
        )
        yield batch.with_density(maps)


def _in_batches(frames: Iterator[LabelledFrame]) -> Iterator[list[LabelledFrame]]:
    held: list[LabelledFrame] = []
    for frame in frames:
        held.append(frame)
        if len(held) == _BATCH:
            yield held
            held = []
    if held:
        yield held


def _small(density: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rows, columns = density.shape
    share = min(1.0, _CELLS / max(rows, columns))
    size = max(1, round(columns * share)), max(1, round(rows * share))
    return np.asarray(cv2.resize(density, size, interpolation=cv2.INTER_AREA), np.float32)


# Columns.


def _recorded(row: type[Any]) -> dict[str, type]:
    """The columns of a table of predicted shares, under the name of what these are."""
    return {name.replace("predicted", "recorded"): kind for name, kind in column_types(row).items()}


def _values(row: Any, kind: type[Any]) -> list[Any]:
    return [getattr(row, name) for name in column_types(kind)]


def _attribute_types(sequences: Sequence[LabelledSequence]) -> dict[str, type]:
    """The columns that say under which conditions a sequence was recorded."""
    kinds = {type(one.attributes) for one in sequences if one.attributes is not None}
    if len(kinds) != 1:
        return {}
    (kind,) = kinds
    return dict.fromkeys((each.name for each in dataclasses.fields(kind)), str)


def _attributes(sequence: LabelledSequence) -> dict[str, Any]:
    if sequence.attributes is None:
        return {}
    return {name: str(value) for name, value in dataclasses.asdict(sequence.attributes).items()}
