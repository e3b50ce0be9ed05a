"""Text files of numbers in, arrays out: a linear model as liblinear writes it, and columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidsal.errors import CheckpointError

__all__ = ["read_columns", "read_liblinear"]

_Array = npt.NDArray[np.float32]
_MOST_BYTES = 1 << 24
_HEADER = ("solver_type", "nr_class", "label", "nr_feature", "bias", "w")


def read_columns(path: Path, columns: int) -> _Array:
    """(lines, columns) numbers, separated by blanks.

    Raises:
        CheckpointError: the file is missing, no text, or a line has other than so many numbers.
    """
    rows = [_numbers(path, place, line) for place, line in enumerate(_lines(path), start=1)]
    for place, row in enumerate(rows, start=1):
        if len(row) != columns:
            raise CheckpointError(f"{path}: line {place} has {len(row)} numbers, expected {columns}")
    return np.array(rows, np.float32).reshape(-1, columns)


def read_liblinear(path: Path) -> _Array:
    """The weights of a linear model that tells 1 from 0, positive for 1, without a constant.

    Raises:
        CheckpointError: the file is missing, no such model, or ends early.
    """
    lines = _lines(path)
    header = [line.split() for line in lines[: len(_HEADER)]]
    if [words[0] if words else "" for words in header] != list(_HEADER):
        raise CheckpointError(f"{path}: not a model of liblinear, which begins with {', '.join(_HEADER)}")
    values = {name: words for name, *words in header}
    for name, wanted in (("nr_class", ["2"]), ("label", ["1", "0"]), ("bias", ["-1"]), ("w", [])):
        if values[name] != wanted:
            found, expected = (" ".join([name, *words]) for words in (values[name], wanted))
            raise CheckpointError(f"{path}: {found}, expected {expected}")
    weights = [_numbers(path, place, line) for place, line in enumerate(lines, start=1) if place > len(_HEADER)]
    count = values["nr_feature"]
    if [str(len(weights))] != count or any(len(row) != 1 for row in weights):
        raise CheckpointError(
            f"{path}: {sum(map(len, weights))} weights of nr_feature {' '.join(count)}; the file is damaged"
        )
    return np.array(weights, np.float32).reshape(-1)


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CheckpointError(f"{path}: more than {_MOST_BYTES} bytes; no published file of this kind has")
        return path.read_text("ascii").splitlines()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: not a text file of numbers") from error


def _numbers(path: Path, place: int, line: str) -> list[float]:
    try:
        return [float(word) for word in line.split()]
    except ValueError as error:
        raise CheckpointError(f"{path}: line {place} is not of numbers ({line[:40]!r})") from error
