"""A model and the stills of a data set in, a map for each as benchmarks with withheld labels take it out.

OUT/NAME.png, with the folders that the names of the stills have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vidsal.data.layouts import Dataset, LabelledSequence, submission_path, write_submission_map
from vidsal.errors import ConfigError, DatasetError, Setting
from vidsal.evaluate.sources import Source

__all__ = ["SubmissionReport", "write_submission"]


@dataclass(frozen=True, kw_only=True)
class SubmissionReport:
    """What `write_submission` did."""

    out: Path
    """The folder of maps."""
    written: int
    """Maps written."""
    videos: int
    """Sequences that are not stills; they have no map."""
    broken: tuple[str, ...]
    """Messages of the stills that cannot be read."""


def write_submission(
    dataset: Dataset,
    source: Source,
    out: str | Path,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> SubmissionReport:
    """Predicts every still of a data set, as an evaluation does, and writes its map with `write_submission_map`.

    Args:
        dataset: opened by `open_dataset`.
        source: what predicts.
        out: folder to write to; made if it is not there.
        overwrite: replace maps that are there.
        on_progress: called after each still with the number done and that of all.

    Raises:
        ConfigError: a map is there already, or `out` is a folder of the data set.
        DatasetError: there is no still, two of them have the same name, or a map cannot be written.
    """
    out = Path(out)
    stills = [sequence for sequence in dataset if sequence.kind == "still"]
    if not stills:
        raise DatasetError(
            f"{dataset.root}: split {dataset.split} of {dataset.name} holds videos only; maps of stills are written "
            "here, vidsal run writes those of videos"
        )
    _check_target(out, dataset, stills, overwrite=overwrite)
    written, broken = 0, []
    for place, still in enumerate(stills, 1):
        try:
            height, width = still.first_frame().picture().shape[:2]
            predicted = [density for _, density in source.maps(still, [0])]
        except DatasetError as error:
            broken.append(f"{still.name}: {error}")
        else:
            for density in predicted:
                write_submission_map(out, still, density, height=height, width=width)
                written += 1
        if on_progress is not None:
            on_progress(place, len(stills))
    return SubmissionReport(out=out, written=written, videos=len(dataset) - len(stills), broken=tuple(broken))


def _check_target(out: Path, dataset: Dataset, stills: list[LabelledSequence], *, overwrite: bool) -> None:
    """Refuses a file, the data set's own folders, two stills with one map, and maps that are there."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; name a folder to make")
    targets: dict[Path, str] = {}
    for still in stills:
        other = targets.setdefault(submission_path(out, still), still.name)
        if other != still.name:
            raise DatasetError(f"{other} and {still.name} would both be written to one map; rename one of them")
    there = [target for target in targets if target.exists()]
    inside = out.resolve().is_relative_to(dataset.root.resolve())
    strange = out.is_dir() and any(entry not in targets for entry in out.rglob("*") if entry.is_file())
    if inside and strange:
        raise ConfigError(f"{out} is a folder of the data set; name one of its own for the maps")
    if there and not overwrite:
        raise ConfigError(
            f"{out} holds {len(there)} of the {len(targets)} maps already, the first is {there[0].name}; overwrite "
            "them (",
            Setting("overwrite", True),
            "), or name another folder",
        )
