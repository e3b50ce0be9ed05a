"""Recorded fixations of a data set in, density maps of a stated width on disk out, with a record of how they were made.

OUT/density.json                 the record
OUT/SEQUENCE/FRAME.png           of videos
OUT/NAME.png                     of stills, with the folders that their names have
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.data.fixations import density_from_fixations
from vidsal.data.layouts import Dataset, Fixations, LabelledFrame, LabelledSequence
from vidsal.data.options import DensityFormat, DensityOptions
from vidsal.decode.images import IMAGE_SUFFIXES
from vidsal.errors import ConfigError, DatasetError, EncodeError, Setting, VidsalError
from vidsal.files import replacing

__all__ = ["RECORD_NAME", "DensityFormat", "DensityOptions", "DensityReport", "write_densities"]


RECORD_NAME = "density.json"
"""The record's name in the folder of maps; where it is, `overwrite` may replace the maps."""


@dataclass(frozen=True, kw_only=True)
class DensityReport:
    """What `write_densities` did."""

    path: Path
    """The record."""
    written: int
    """Maps written."""
    empty: int
    """How many of these are of frames that nobody looked at: all zero, so that every frame keeps its place."""
    unrecorded: int
    """Frames without any record of fixations; they have no map."""
    broken: tuple[str, ...]
    """Messages of the sequences that could not be read to their end, or whose maps would replace another's."""


def write_densities(
    dataset: Dataset,
    out: str | Path,
    *,
    options: DensityOptions,
    layout_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> DensityReport:
    """Makes a density map of every frame that has a record of fixations.

    A map has the size that the fixations refer to. The Gaussians end at four sigma and at the picture's edge, and the
    map is scaled afterwards: as PNG its peak is 65535, as npz its sum is 1.

    Args:
        dataset: opened by `open_dataset`.
        out: folder to make; it may be there if it is empty.
        options: width and format.
        layout_options: what the data set was opened with, for the record.
        overwrite: replace the maps of a folder that this function made.
        on_progress: called after each sequence with the number done and that of all.

    Raises:
        ConfigError: `out` holds something already.
        DatasetError: no frame has a record of fixations.
        EncodeError: a file cannot be written.
    """
    out = Path(out)
    _check_target(out, overwrite=overwrite)
    record: dict[str, Any] = {
        "made_by": f"vidsal {importlib.metadata.version('vidsal')}",
        "complete": False,
        "dataset": dataset.name,
        "root": str(dataset.root),
        "split": dataset.split,
        "layout_options": dict(layout_options or {}),
        "options": dataclasses.asdict(options),
        "sigma_pixels": options.sigma_pixels,
        "kernel_ends_at_sigmas": 4,
        "scaling": "peak of each map at 65535" if options.format == "png" else "each map sums to 1",
    }
    _write_record(out, record)
    work = _Work(out, options)
    for place, sequence in enumerate(dataset, 1):
        work.sequence(sequence)
        if on_progress is not None:
            on_progress(place, len(dataset))
    if not work.written and not work.broken:
        raise DatasetError(
            f"{dataset.root}: no frame of split {dataset.split} of {dataset.name} has a record of fixations; "
            "choose another split, or use the densities that the data set has"
        )
    counts = {"written": work.written, "empty": work.empty, "unrecorded": work.unrecorded}
    record |= counts | {"complete": True, "sequences": work.maps, "broken": work.broken}
    path = _write_record(out, record)
    return DensityReport(path=path, broken=tuple(work.broken.values()), **counts)


class _Work:
    """The maps of one call."""

    def __init__(self, out: Path, options: DensityOptions) -> None:
        self.out, self.options = out, options
        self.written = self.empty = self.unrecorded = 0
        self.maps: dict[str, int] = {}
        self.broken: dict[str, str] = {}
        self._made: dict[Path, str] = {}

    def sequence(self, sequence: LabelledSequence) -> None:
        before = self.written
        # What cannot be written is no fault of the sequence.
        try:
            # The pictures are not needed; of a video the small ones cost least.
            for frame in sequence.read(size=(16, 16)):
                fixations = frame.fixations()
                if fixations is None:
                    self.unrecorded += 1
                else:
                    self._map(sequence, frame, fixations)
        except EncodeError:
            raise
        except VidsalError as error:
            self.broken[sequence.name] = str(error)
        self.maps[sequence.name] = self.written - before

    def _map(self, sequence: LabelledSequence, frame: LabelledFrame, fixations: Fixations) -> None:
        target = self._target(sequence, frame)
        density = density_from_fixations(
            fixations.points, height=fixations.height, width=fixations.width, sigma=self.options.sigma_pixels
        )
        with replacing(target, make_folder=True) as partial, partial.open("wb") as file:
            if self.options.format == "png":
                file.write(_as_png(density))
            else:
                np.savez_compressed(file, density=density)
        self.written += 1
        self.empty += not len(fixations.points)

    def _target(self, sequence: LabelledSequence, frame: LabelledFrame) -> Path:
        name = sequence.name if sequence.kind == "still" else f"{sequence.name}/{frame.name}"
        relative = Path(name)
        if relative.suffix.lower() in IMAGE_SUFFIXES:
            relative = relative.with_suffix("")
        target = self.out / f"{relative}.{self.options.format}"
        other = self._made.setdefault(target, name)
        if other != name:
            raise DatasetError(f"{other} and {name} would both be written to {target}; rename one of them")
        return target


def _check_target(out: Path, *, overwrite: bool) -> None:
    """Refuses a folder with anything in it, but for maps that may be replaced."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; name a folder to make")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / RECORD_NAME).is_file():
        raise ConfigError(f"{out} holds other files; name an empty folder or one to make")
    if not overwrite:
        raise ConfigError(
            f"{out} holds maps already; overwrite them (", Setting("overwrite", True), "), or name another folder"
        )


def _as_png(density: npt.NDArray[np.float32]) -> bytes:
    peak = float(density.max())
    levels = np.round(density * (65535 / peak if peak else 0)).astype(np.uint16)
    written, data = cv2.imencode(".png", levels)
    if not written:
        raise EncodeError(f"OpenCV cannot write a 16-bit PNG of {density.shape[1]}x{density.shape[0]} pixels")
    return data.tobytes()


def _write_record(out: Path, record: Mapping[str, Any]) -> Path:
    path = out / RECORD_NAME
    with replacing(path, make_folder=True) as partial:
        partial.write_bytes((json.dumps(record, indent=2, default=str) + "\n").encode())
    return path
