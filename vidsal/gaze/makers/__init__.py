"""The exports of eye trackers' programs: one file a maker, and the table of all."""

from __future__ import annotations

import importlib
from pathlib import Path

from vidsal.errors import DatasetError
from vidsal.gaze.makers.contract import Reader, Recording, open_sheet

__all__ = ["STIMULUS_MAKERS", "Recording", "maker_of", "reader_of"]

STIMULUS_MAKERS = ("tobii", "gazepoint")
"""Whose files may say what was shown."""

_FILES = {name: name.replace("-", "_") for name in ("tobii", "pupil", "pupil-cloud", "eyelink", "gazepoint")}
_FILES |= {"neon": "pupil_cloud", "csv": "plain"}


def reader_of(maker: str) -> Reader:
    """The reader of a maker's files, by name."""
    reader: Reader = importlib.import_module(f"{__name__}.{_FILES[maker]}").read
    return reader


def maker_of(path: Path) -> str:
    """Whose file it is, by its ending and the names of its columns; csv where no other has such.

    Raises:
        DatasetError: it cannot be read.
    """
    if path.suffix.lower() == ".asc":
        return "eyelink"
    if path.suffix.lower() == ".edf":
        raise DatasetError(f"{path} is EyeLink's own format; make an .asc of it with edf2asc")
    sheet = open_sheet(path, rows=1)
    for name in ("pupil-cloud", "gazepoint", "tobii", "pupil"):
        signs = importlib.import_module(f"{__name__}.{_FILES[name]}").SIGNS
        if all(sheet.find(sign) is not None for sign in signs):
            return name
    return "csv"
