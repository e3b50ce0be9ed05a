"""Filters that the authors of AIM, SUN and ICL published as MATLAB files in, checkpoints of the models with them out.

Their terms do not let vidsal hand them on, so whoever has the files brings them. MATLAB lists a patch column by column,
then colour by colour: number row + rows * column + rows * columns * channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vidsal.errors import CheckpointError
from vidsal.files import sha256_of
from vidsal.model.baselines.catalogue import BASELINES
from vidsal.model.baselines.network import BASELINE_INPUT, BaselineConfig, BaselineNetwork
from vidsal.model.checkpoint import ModelCard, save_checkpoint
from vidsal.model.networks.formats.mat import read_mat
from vidsal.model.release import check_target

__all__ = ["FILTER_FILES", "import_filters"]

_Bank = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class _File:
    """What the authors of a model published."""

    read: Callable[[Path], _Bank]
    """The file -> what the model takes by these names."""
    source: str
    """Whose it is, and on which terms."""


def import_filters(path: Path, *, name: str, output: Path, overwrite: bool = False) -> Path:
    """Make a checkpoint of a model that has its authors' filters instead of vidsal's own.

    Args:
        path: the file, as published: AIM's 21jade950.mat or another of its bases, SUN's stats.mat, ICL's AW.mat.
        name: one of `FILTER_FILES`.
        output: the checkpoint to write.
        overwrite: whether a checkpoint that is there may be replaced.

    Raises:
        CheckpointError: the file is missing, damaged, or none of this model; or SciPy is not installed.
        EncodeError: the checkpoint is there already, or cannot be written.
    """
    check_target(path, output, overwrite=overwrite)
    bank = FILTER_FILES[name].read(path)
    count, side = bank["filters"].shape[:2]
    network = BaselineNetwork(BaselineConfig(name, count, side))
    network.load_state_dict({key: torch.tensor(value, dtype=torch.float32) for key, value in bank.items()})
    card = ModelCard(
        name=name,
        description=f"{(BASELINES[name].__doc__ or '').partition(chr(10))[0]} With the filters of its authors.",
        licence=f"that of the filters: {FILTER_FILES[name].source}",
        training_data=("Pictures of nature, by the authors; no gaze",),
        initialisation=(
            f"converted from {path.name}, sha256 {sha256_of(path)}: its arrays fit, but nothing in the file proves "
            "where it is from"
        ),
        limits=("Not scored by vidsal.",),
    )
    save_checkpoint(output, network, preprocess=BASELINE_INPUT, card=card, dtype=torch.float32)
    return output


def _patches(path: Path, name: str, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, side * side * 3) as MATLAB lists patches, as (n, side, side, 3)."""
    side = math.isqrt(rows.shape[1] // 3)
    if 3 * side * side != rows.shape[1] or not 3 <= side <= 64 or not 1 <= len(rows) <= 4096:
        raise CheckpointError(
            f"{path}: {name} is {rows.shape[0]}x{rows.shape[1]}, expected filters in rows, of square patches in three "
            "colours"
        )
    return rows.reshape(len(rows), 3, side, side).transpose(0, 3, 2, 1)


def _aim(path: Path) -> _Bank:
    filters = _patches(path, "B", read_mat(path, "B")["B"])
    if filters.shape[1] % 2 == 0:
        raise CheckpointError(f"{path}: patches of {filters.shape[1]} pixels, expected an odd number")
    return {"filters": filters}


def _sun(path: Path) -> _Bank:
    found = read_mat(path, "B1", "sigmas", "thetas")
    filters = _patches(path, "B1", found["B1"])
    if filters.shape[1] % 2 == 0:
        raise CheckpointError(f"{path}: patches of {filters.shape[1]} pixels, expected an odd number")
    sigma, theta = found["sigmas"].ravel(), found["thetas"].ravel()
    if not len(filters) == len(sigma) == len(theta) or min(sigma.min(), theta.min()) <= 0:
        raise CheckpointError(
            f"{path}: {len(filters)} filters, {len(sigma)} sigmas and {len(theta)} thetas, expected as many of each, "
            "all above 0"
        )
    return {"filters": filters, "sigma": sigma, "theta": theta}


def _icl(path: Path) -> _Bank:
    found = read_mat(path, "A", "W")
    filters = _patches(path, "W", found["W"])
    count = found["W"].shape[1]
    if found["W"].shape != found["A"].shape or len(filters) != count:
        raise CheckpointError(f"{path}: A and W must be square and of one size")
    if np.abs(found["W"] @ found["A"] - np.eye(count)).max() > 1e-6:
        raise CheckpointError(f"{path}: W is not the inverse of A, as in the authors' file; damaged, or another file")
    if count != BASELINES["icl"]().memory_size:
        raise CheckpointError(f"{path}: {count} filters, expected {BASELINES['icl']().memory_size}")
    return {"filters": filters}


FILTER_FILES = {
    "aim": _File(_aim, "N. Bruce, for research; may not be handed on"),
    "sun": _File(_sun, "Zhang et al., on their terms; ask them before you hand it on"),
    "icl": _File(_icl, "Hou and Zhang, on their terms; ask them before you hand it on"),
}
"""The models whose authors' filters are read."""
