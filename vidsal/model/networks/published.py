"""Weight files as the authors of other systems published them in, checkpoints out. Nothing is unpickled.

What a file holds is read by `formats`; here stands which array goes where, and what has to be turned: a framework that
truly convolves (Theano, Lasagne by default) turns its kernels by half a turn, Caffe and torch do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vidsal.errors import CheckpointError
from vidsal.files import sha256_of
from vidsal.model.checkpoint import ModelCard, save_checkpoint
from vidsal.model.networks.catalogue import describe, input_of, without_weights
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.formats.caffemodel import read_caffemodel
from vidsal.model.networks.formats.npz import read_npz
from vidsal.model.options import NetworkName
from vidsal.model.release import check_target

__all__ = ["IMPORTED", "Release", "import_network"]

_Array = npt.NDArray[np.float32]
_State = dict[str, _Array]
_SALICON = "SALICON: pictures of MS COCO with attention traced by the mouse"
_SALGAN_ENCODER_LAYERS = 13


@dataclass(frozen=True)
class Release:
    """What the authors of a network published."""

    read: Callable[[Path, NetworkConfig], _State]
    """The file -> the state dict of the network, or `CheckpointError`."""
    address: str
    """Where the file is described."""
    licence: str
    """Of the weights, as far as their authors state one."""
    training_data: Sequence[str]
    """What it was trained on, as a model card says it."""
    limits: Sequence[str] = ("Trained on still pictures only: motion as such does not attract it.",)
    """What a model card says it cannot do."""


def import_network(path: Path, *, name: str, output: Path, width: float = 1.0, overwrite: bool = False) -> Path:
    """Make a checkpoint of a published weight file.

    Args:
        path: the file, as published.
        name: one of `IMPORTED`.
        output: the checkpoint to write.
        width: share of the published channels that the file has; 1 for what the authors published.
        overwrite: whether a checkpoint that is there may be replaced.

    Raises:
        CheckpointError: the file is missing or damaged, or its arrays are not those of the network.
        EncodeError: the checkpoint is there already, or cannot be written.
    """
    check_target(path, output, overwrite=overwrite)
    network_name = next((known for known in IMPORTED if known == name), None)
    if network_name is None:
        raise CheckpointError(f"published files of {name} are not read; those of {', '.join(IMPORTED)} are")
    release, config = IMPORTED[network_name], NetworkConfig(network_name, width)
    state = release.read(path, config)
    for key, value in state.items():
        if not np.isfinite(value).all():
            raise CheckpointError(f"{path}: {key} holds values that are not finite; the file is damaged")
    network = without_weights(config)
    network.load_state_dict({key: torch.tensor(value) for key, value in state.items()}, assign=True)
    card = ModelCard(
        name=name,
        description=" ".join(describe(network_name).partition("\n\n")[0].split()),
        licence=release.licence,
        training_data=tuple(release.training_data),
        initialisation=(
            f"converted from {path.name}, sha256 {sha256_of(path)}: its layers fit, but nothing in the file proves "
            "where it is from"
        ),
        limits=(*release.limits, "Not scored by vidsal."),
    )
    save_checkpoint(output, network, preprocess=input_of(network_name), card=card, dtype=torch.float32)
    return output


def _shapes_of(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """The keys of a network's state dict, in order, and the shapes of what they stand for."""
    return {key: tuple(value.shape) for key, value in without_weights(config).state_dict().items()}


def _salgan(path: Path, config: NetworkConfig) -> _State:
    """Weight and bias of each layer, in order. Lasagne was told to turn the decoder's kernels, not the encoder's."""
    shapes = _shapes_of(config)
    state: _State = {}
    for number, (key, value) in enumerate(zip(shapes, read_npz(path, list(shapes.values())), strict=True)):
        turned = value.ndim == 4 and number // 2 >= _SALGAN_ENCODER_LAYERS
        state[key] = (value[:, :, ::-1, ::-1] if turned else value).copy()
    return state


def _by_layers(path: Path, config: NetworkConfig, layer_of: Callable[[str], str] = str) -> _State:
    """A .caffemodel whose layers have the names that `layer_of` makes of our modules' names."""
    layers = read_caffemodel(path)
    state: _State = {}
    for key, shape in _shapes_of(config).items():
        module, _, part = key.rpartition(".")
        name = layer_of(module)
        blobs = layers.get(name, [])
        place = 0 if part == "weight" else 1
        if len(blobs) <= place:
            raise CheckpointError(f"{path}: layer {name} has no {part}; it has layers {', '.join(layers) or 'none'}")
        value = blobs[place]
        # An old file writes the bias as (1, 1, 1, n).
        if value.size != np.prod(shape) or (part == "weight" and value.shape != shape):
            raise CheckpointError(f"{path}: {key} is {value.shape}, expected {shape}")
        state[key] = value.reshape(shape)
    return state


IMPORTED: dict[NetworkName, Release] = {
    "salgan": Release(
        _salgan,
        "github.com/imatge-upc/saliency-salgan-2017",
        "MIT, as the repository that published them (github.com/imatge-upc/saliency-salgan-2017)",
        (_SALICON, "ImageNet before that"),
    ),
    "salnet": Release(
        _by_layers,
        "github.com/imatge-upc/saliency-2016-cvpr",
        "MIT, as the repository that published them (github.com/imatge-upc/saliency-2016-cvpr)",
        (_SALICON, "ImageNet before that"),
    ),
}
"""Networks whose published files are read."""
