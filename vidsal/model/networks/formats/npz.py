"""An .npz as `numpy.savez` wrote it of arrays without names in, these arrays out."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidsal.errors import CheckpointError

__all__ = ["read_npz"]

_Array = npt.NDArray[np.float32]


def read_npz(path: Path, shapes: Sequence[tuple[int, ...]]) -> list[_Array]:
    """The arrays arr_0, arr_1, ... of a file that holds exactly these.

    Args:
        path: the file.
        shapes: of each array; all are float32.

    Raises:
        CheckpointError: the file is missing or damaged, or holds other arrays.
    """
    wanted = {f"arr_{number}.npy": shape for number, shape in enumerate(shapes)}
    try:
        with zipfile.ZipFile(path) as archive:
            found = set(archive.namelist())
            if found != set(wanted):
                odd = sorted(found ^ set(wanted))[0]
                raise CheckpointError(
                    f"{path}: expected arrays arr_0 to arr_{len(wanted) - 1}; {odd} does not fit that"
                )
            return [_read_npy(path, archive, member, shape) for member, shape in wanted.items()]
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, struct.error) as error:
        raise CheckpointError(f"{path}: not an .npz that can be read ({error})") from error


def _read_npy(path: Path, archive: zipfile.ZipFile, member: str, shape: tuple[int, ...]) -> _Array:
    """An array, once its header says that it is the one expected: nothing larger is unpacked."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        found, fortran, dtype = read(file)
        if found != shape or dtype != np.float32:
            raise CheckpointError(f"{path}: {member} is {found} {dtype}, expected {shape} float32")
        data = file.read(4 * math.prod(shape))
        if len(data) != 4 * math.prod(shape):
            raise CheckpointError(f"{path}: {member} ends early; the file is damaged")
    values = np.frombuffer(data, dtype)
    return np.asarray(values.reshape(shape[::-1]).T if fortran else values.reshape(shape), np.float32)
