"""The name and the folder of a published data set in, its sequences out: `open_dataset`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from vidsal.data.layouts.challenge import AIM2024, NTIRE2026
from vidsal.data.layouts.contract import Dataset, Fixations, LabelledFrame, LabelledSequence, Layout, SequenceFacts
from vidsal.data.layouts.driving import BDDA, DREYEVE, DREYEVE_SCOUT
from vidsal.data.layouts.frame_folders import DHF1K, HOLLYWOOD2, UCF_SPORTS
from vidsal.data.layouts.simple import SIMPLE
from vidsal.data.layouts.stills import (
    CAT2000,
    DUT_OMRON,
    ISUN,
    MIT1003,
    MIT_BENCHMARK,
    OSIE,
    PASCAL_S,
    SALICON,
    TORONTO,
    submission_path,
    write_submission_map,
)
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
    "dhf1k": DHF1K,
    "hollywood2": HOLLYWOOD2,
    "ucf-sports": UCF_SPORTS,
    "dreyeve": DREYEVE,
    "dreyeve-scout": DREYEVE_SCOUT,
    "bdd-a": BDDA,
    "aim2024": AIM2024,
    "ntire2026": NTIRE2026,
    "salicon": SALICON,
    "mit1003": MIT1003,
    "mit300": MIT_BENCHMARK,
    "cat2000": CAT2000,
    "osie": OSIE,
    "toronto": TORONTO,
    "pascal-s": PASCAL_S,
    "dut-omron": DUT_OMRON,
    "isun": ISUN,
    "simple": SIMPLE,
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
    return layout.open(root, split, layout.options(**options))
