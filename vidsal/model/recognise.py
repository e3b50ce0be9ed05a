"""A weight file that nobody named in, the model whose authors published such files out.

It looks at names and first bytes only, for a message: whether a file is whole, its import says.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from vidsal.errors import CheckpointError
from vidsal.model.keras_hdf5 import SIGNATURE, read_layer_names
from vidsal.model.networks.formats.caffemodel import read_caffemodel
from vidsal.model.networks.formats.mat import read_mat_names

__all__ = ["looks_like"]

_HEAD_BYTES = 1 << 20
_PICKLE = b"\x80"
_ZIP = b"PK"
_BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, RuntimeError, struct.error)
_LIBLINEAR = b"solver_type "
_MATLAB = b"MATLAB 5.0 MAT-file"
_SALGAN_ARRAYS = {f"arr_{number}.npy" for number in range(54)}
# Tensors of the state dict, whose names stand in its pickle.
_DEEPGAZE1_TENSORS = (b"readout_network.conv0.weight", b"finalizer.center_bias_weight")
# The first whose layers, or matrices, are all there.
_KERAS_LAYERS = {
    "SAM": (r"attentiveconvlstm_\d+",),
    "ml-net": (r"eltwiseproduct_\d+",),
    "dreyeve": ("image_saliency_branch", "optical_flow_saliency_branch", "segmentation_saliency_branch"),
}
_CAFFE_LAYERS = {
    "dva": ("final_attention_pred",),
    "salicon-net": ("sec_conv1_1", "saliency_map"),
    "salnet": ("conv9", "deconv1"),
}
_MATRICES = {"sun": ("B1", "sigmas", "thetas"), "icl": ("A", "W"), "aim": ("B",)}


def looks_like(path: Path) -> tuple[str, str] | None:
    """The model whose published files look like this one: its name as `vidsal weights import --as` takes it, or "SAM".

    Returns:
        The name, and by what it is known, in words; None where the file is like none of them.

    Raises:
        CheckpointError: the file cannot be read, or is HDF5 and not a file of Keras 1 that can be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if head.startswith(SIGNATURE):
        return _by_names(read_layer_names(path), _KERAS_LAYERS, "layer")
    if head.startswith(_LIBLINEAR):
        return "edn", "a linear model as liblinear writes it"
    if head.startswith(_PICKLE):
        return _of_state_dict(head)
    # What is damaged, or needs a package that is not installed, is like nothing; any file may come to the last line.
    with suppress(CheckpointError, *_BROKEN_ARCHIVE):
        if head.startswith(_ZIP):
            return _of_archive(path)
        if head.startswith(_MATLAB):
            return _by_names(read_mat_names(path), _MATRICES, "matrix")
        return _by_names(list(read_caffemodel(path)), _CAFFE_LAYERS, "layer")
    return None


def _by_names(found: list[str], wanted: dict[str, tuple[str, ...]], what: str) -> tuple[str, str] | None:
    for model, patterns in wanted.items():
        named = [next((name for name in found if re.fullmatch(pattern, name)), None) for pattern in patterns]
        if None not in named:
            return model, f"it has a {what} {named[0]}"
    return None


def _of_archive(path: Path) -> tuple[str, str] | None:
    """An .npz, or what `torch.save` writes today."""
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        if set(members) == _SALGAN_ARRAYS:
            return "salgan", f"it has {len(members)} arrays without names"
        pickles = [name for name in members if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            return None
        with archive.open(pickles[0]) as file:
            return _of_state_dict(file.read(_HEAD_BYTES))


def _of_state_dict(content: bytes) -> tuple[str, str] | None:
    """By the bytes of names alone: a pickle is not opened."""
    if all(name in content for name in _DEEPGAZE1_TENSORS):
        return "deepgaze-1", f"it has a tensor {_DEEPGAZE1_TENSORS[0].decode()}"
    return None
