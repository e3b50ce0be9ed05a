"""A MATLAB file in, one of its variables out; called in a process of its own, by `vidsal.data.layouts.files`.

What it imports every such process waits for: no torch, and scipy or h5py only once needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.errors import DatasetError

__all__ = ["load_hdf_cells", "load_mat"]


def load_mat(path: Path, name: str) -> npt.NDArray[Any]:
    """One variable of a MATLAB file up to version 7; cells are object arrays, structs have named fields.

    Raises:
        DatasetError: the file cannot be read, or has no such variable.
    """
    import scipy.io

    try:
        found = scipy.io.loadmat(path, variable_names=[name])
    except Exception as error:  # of damaged files: IndexError, KeyError, MemoryError, struct.error and so on
        said = str(error) or type(error).__name__
        raise DatasetError(f"{path} cannot be read as a MATLAB file ({said}); copy it again") from error
    if name not in found:
        raise DatasetError(f"{path} holds no variable {name}: cut short, or not a file of this data set; copy it again")
    return np.asarray(found[name])


def load_hdf_cells(path: Path, name: str) -> list[npt.NDArray[Any]]:
    """The matrices of a cell array in a MATLAB file of version 7.3 (HDF5), each transposed back to MATLAB's shape.

    Raises:
        DatasetError: the file cannot be read, or has no such variable.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if name in file and not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{name} is a link to another place")
            return [_matrix(file[reference]).T for reference in np.asarray(file[name]).ravel()]
    except KeyError as error:
        raise DatasetError(
            f"{path} holds no variable {name}: cut short, or not a file of this data set; copy it again"
        ) from error
    except Exception as error:  # as in `load_mat`
        said = str(error) or type(error).__name__
        raise DatasetError(f"{path} cannot be read as a MATLAB 7.3 file ({said}); copy it again") from error


def _matrix(found: Any) -> npt.NDArray[Any]:
    if found.is_virtual or found.external:
        raise ValueError("a matrix of it lies in another file")
    return np.asarray(found)
