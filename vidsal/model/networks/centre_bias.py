"""A centre bias that the user names, an .npy as the authors of DeepGaze published theirs, in, a log density out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidsal.errors import CheckpointError
from vidsal.model.networks.config import MOST_BIAS_CELLS

__all__ = ["read_centre_bias"]

# By so much the sum of a published density may be off 1; it is brought to 1.
_TOLERANCE = 1e-3


def read_centre_bias(path: Path) -> npt.NDArray[np.float32]:
    """The log density of a file, normalised.

    Args:
        path: an .npy, one array (rows, columns) of floating point: the natural log of a density over a picture of any
            size and aspect, rows from its top; its exponentials sum to 1 within a thousandth. The published one
            (centerbias_mit1003.npy) has 1024x1024.

    Raises:
        CheckpointError: it is missing or damaged, no such array, has another shape, values that are not finite, or is
            no log density: it is not normalised in silence, since a file of another kind would become an even map.
    """
    try:
        # Nothing is unpickled, and mapped: a size that the file only claims takes no memory.
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file (centre bias)") from error
    except Exception as error:  # over damaged headers, of many kinds
        reason = "the file is empty" if isinstance(error, EOFError) else "damaged, or of another kind"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else reason
        raise CheckpointError(f"{path}: not an .npy that can be read: {reason} (centre bias)") from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise CheckpointError(f"{path}: an archive, as .npz and .pth are; a centre bias is an .npy of one array")
    if found.ndim != 2 or found.dtype.kind != "f" or not all(1 <= side <= MOST_BIAS_CELLS for side in found.shape):
        raise CheckpointError(
            f"{path}: an array {found.shape} of {found.dtype}, expected a centre bias: (rows, columns) of floating "
            f"point, at most {MOST_BIAS_CELLS} each"
        )
    values = np.array(found, np.float64)
    if not np.isfinite(values).all():
        count = int(values.size - np.isfinite(values).sum())
        raise CheckpointError(f"{path}: {count} values are not finite; the centre bias is damaged, or 0 somewhere")
    largest = values.max()
    log_sum = float(largest + np.log(np.exp(values - largest).sum()))
    if abs(np.expm1(min(log_sum, 1.0))) > _TOLERANCE:
        raise CheckpointError(f"{path}: {_what_else(values, log_sum)}; expected the natural log of a density")
    return np.asarray(values - log_sum, np.float32)


def _what_else(values: npt.NDArray[np.float64], log_sum: float) -> str:
    """What an array that is no log density seems to be."""
    if values.min() >= 0 and abs(values.sum() - 1) < _TOLERANCE:
        return "holds a density, not its log: save numpy.log of it"
    return (
        f"its exponentials sum to {np.exp(min(log_sum, 700.0)):.3g}, not to 1: take the log of that off if it is a log"
    )
