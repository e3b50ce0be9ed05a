"""A MATLAB file up to version 7 in, some of its matrices out; read in a process of its own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.errors import CheckpointError
from vidsal.isolated import read_isolated

__all__ = ["list_matrices", "load_matrices", "read_mat", "read_mat_names"]

_SECONDS = 120.0


def read_mat(path: Path, *names: str) -> dict[str, npt.NDArray[np.float64]]:
    """Matrices of a file, by name.

    Args:
        path: the file.
        names: of the variables that are wanted; others may be there.

    Returns:
        Each (rows, columns) float64.

    Raises:
        CheckpointError: the file is missing, damaged or no MATLAB file of version 5 to 7; a variable is missing, or no
            matrix of finite real numbers; or SciPy is not installed.
    """
    _check_readable(path)
    found = read_isolated(load_matrices, path, *names, failure=CheckpointError, seconds=_SECONDS)
    return {name: np.asarray(found[name], np.float64) for name in names}


def read_mat_names(path: Path) -> list[str]:
    """Names of the variables of a file.

    Raises:
        CheckpointError: the file is missing, damaged or no MATLAB file of version 5 to 7; or SciPy is not installed.
    """
    _check_readable(path)
    found: dict[str, list[str]] = read_isolated(list_matrices, path, failure=CheckpointError, seconds=_SECONDS)
    return found["names"]


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: a folder, expected a file" if path.is_dir() else f"{path}: no such file")
    if importlib.util.find_spec("scipy") is None:
        raise CheckpointError(
            f"{path}: reading MATLAB files needs SciPy, not installed here: pip install 'vidsal[data]'"
        )


def list_matrices(path: Path) -> dict[str, list[str]]:
    """What `read_mat_names` does in the other process.

    Raises:
        CheckpointError: as there.
    """
    import scipy.io

    try:
        return {"names": [name for name, _, _ in scipy.io.whosmat(path)]}
    except Exception as error:  # as `load_matrices`
        said = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"{path}: not a MATLAB file that can be read ({said})") from error


def load_matrices(path: Path, *names: str) -> dict[str, Any]:
    """What `read_mat` does in the other process.

    Raises:
        CheckpointError: as there.
    """
    import scipy.io

    try:
        held = scipy.io.loadmat(path, variable_names=list(names))
    except Exception as error:  # of damaged files: IndexError, KeyError, MemoryError, struct.error and so on
        said = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"{path}: not a MATLAB file that can be read ({said})") from error
    for name in names:
        value = held.get(name)
        if value is None:
            raise CheckpointError(f"{path}: holds no variable {name}: cut short, or another file")
        if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "fiu":
            raise CheckpointError(f"{path}: {name} is no matrix of real numbers")
        if not np.isfinite(value).all():
            raise CheckpointError(f"{path}: {name} holds values that are not finite; the file is damaged")
    return {name: np.ascontiguousarray(held[name], np.float64) for name in names}
