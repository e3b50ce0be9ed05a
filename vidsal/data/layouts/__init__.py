"""The name and the folder of a published data set in, its sequences out: `open_dataset`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from vidsal.data.layouts import challenge, driving, frame_folders, simple, stills
from vidsal.data.layouts.contract import Dataset, Fixations, LabelledFrame, LabelledSequence, Layout, SequenceFacts
from vidsal.data.layouts.stills import submission_path, write_submission_map
from vidsal.errors import ConfigError, DatasetError

__all__ = [
    "DATASETS",
    "Dataset",
    "Fixations",
    "LabelledFrame",
    "LabelledSequence",
    "Layout",
    "SequenceFacts",
    "open_dataset",
    "submission_path",
    "write_submission_map",
]

DATASETS: dict[str, Layout] = {
    **frame_folders.LAYOUTS,
    **driving.LAYOUTS,
    **challenge.LAYOUTS,
    **stills.LAYOUTS,
    **simple.LAYOUTS,
}
"""Every layout that can be read, by the name that commands take."""


def open_dataset(name: str, root: str | Path, *, split: str = "all", **options: Any) -> Dataset:
    """Opens a data set that lies on disk as its authors published it.

    Only the structure is looked at: which sequences there are. Frames are listed, and files opened, when a sequence
    is asked for them.

    Args:
        name: key in `DATASETS`.
        root: the folder that docs/reference/layouts.md describes for this set.
        split: one of the layout's `splits`, as published; "all" for every sequence.
        options: fields of the layout's `options`.

    Raises:
        ConfigError: the name, the split or an option is unknown or wrong.
        DatasetError: the folder is not in this layout; the message says what was expected and the first offender.

    Example:
        for sequence in open_dataset("dhf1k", "DHF1K", split="val"):
            for frame in sequence:
                print(sequence.name, frame.index, frame.picture().shape, frame.density().shape)
    """
    layout = DATASETS.get(name)
    if layout is None:
        raise ConfigError(f"there is no data set {name!r}; known are {', '.join(DATASETS)}")
    known = [field.name for field in dataclasses.fields(layout.options)]
    for option in options:
        if option not in known:
            raise ConfigError(f"{name} has no option {option!r}; it knows {', '.join(known) or 'none'}")
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; expected {layout.title}")
    if split not in layout.splits:
        raise ConfigError(f"{name} has no split {split!r}, only {', '.join(layout.splits)}")
    return layout.open(root, split, layout.options(**options))
