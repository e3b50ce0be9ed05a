"""A state dict as `torch.save` wrote it in, its tensors out. No code from the file is run."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from vidsal.errors import CheckpointError

__all__ = ["read_pth"]


def read_pth(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a state dict, by name.

    Raises:
        CheckpointError: the file is missing or damaged, or holds something else than named tensors on the CPU.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: a folder, expected a file" if path.is_dir() else f"{path}: no such file")
    try:
        # weights_only: tensors and plain containers, no code from the file is run. Torch warns of pickles that it did
        # not write, and then says what is wrong with them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a file that is no pickle: KeyError, TypeError, struct.error and so on
        # Not torch's own words: they go over many lines, and end in how to run such code after all.
        raise CheckpointError(
            f"{path}: not a state dict that can be read: damaged, of another kind, or with code in it, which is never "
            f"run ({type(error).__name__})"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: holds a {type(state).__name__}, expected a state dict")
    for name, value in state.items():
        plain = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if not isinstance(name, str) or not plain:
            raise CheckpointError(f"{path}: {name!r} is no array of numbers, expected a state dict and nothing else")
    return {name: value.detach() for name, value in state.items()}
