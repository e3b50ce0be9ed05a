"""C3D's weights, a file that Keras 1 saved on Theano, in, its convolutions out; and where they go in a network.

C3D: Tran, Bourdev, Fergus, Torresani and Paluri, "Learning spatiotemporal features with 3D convolutional networks",
ICCV 2015, trained on the actions of Sports-1M. The authors of DR(eye)VE load them by the names of layers, and so does
this: what else is in a file, such as the classifier, is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vidsal.errors import CheckpointError
from vidsal.model.keras_hdf5 import read_network_layers

__all__ = ["load_c3d", "read_c3d"]

_AXES = (2, 3, 4)


def read_c3d(path: Path, names: Iterable[str]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The layers of a file that have these names: kernels (out, in, frames, rows, columns), turned, and biases (out,).

    Theano truly convolves: kernels are turned by half a turn, in time too.

    Args:
        path: an HDF5 file, such as c3d-sports1M_weights.h5 or, up to conv4b, w_up2_conv4_new.h5.
        names: C3D's own: conv1, conv2, conv3a, ...

    Raises:
        CheckpointError: as `read_network_layers`; a layer is missing, holds something else, or is not finite.
    """
    wanted = tuple(names)
    layers = read_network_layers(path, only=wanted)
    found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name in wanted:
        arrays = list(layers.get(name, {}).values())
        shapes = [array.shape for array in arrays]
        if not arrays:
            raise CheckpointError(f"{path}: has no layer {name} with weights; expected C3D's, as Keras 1 saved them")
        if len(arrays) != 2 or len(shapes[0]) != 5 or shapes[1] != shapes[0][:1]:
            order = " in TensorFlow's order" if len(shapes) == 2 and shapes[1] == shapes[0][-1:] else ""
            raise CheckpointError(
                f"{path}: {name} holds arrays of {shapes}{order}; expected kernels (out, in, 3, 3, 3) and biases "
                "(out,), as Keras 1 saved them on Theano"
            )
        if not all(np.isfinite(array).all() for array in arrays):
            raise CheckpointError(f"{path}: {name} holds values that are not finite; the file is damaged")
        kernels, biases = arrays
        found[name] = torch.from_numpy(np.flip(kernels, _AXES).copy()), torch.from_numpy(biases.copy())
    return found


def load_c3d(convolutions: Mapping[str, nn.Conv3d], layers: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Copy layers, as `read_c3d` gives them, into the convolutions of their names.

    Raises:
        CheckpointError: one has another shape.
    """
    for name, convolution in convolutions.items():
        kernels, biases = layers[name]
        if kernels.shape != convolution.weight.shape or convolution.bias is None:
            raise CheckpointError(
                f"{name} of C3D's weights is {tuple(kernels.shape)}, expected {tuple(convolution.weight.shape)}: they "
                "fit a width of 1 only"
            )
    with torch.no_grad():
        for name, convolution in convolutions.items():
            kernels, biases = layers[name]
            convolution.weight.copy_(kernels)
            if convolution.bias is not None:
                convolution.bias.copy_(biases)
