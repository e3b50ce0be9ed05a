"""Arrays by layer in, HDF5 files in exactly the layout of the published weight files out.

As Keras 1.1 wrote them: byte-string attributes of fixed length, one group a layer, layers without weights with an empty
list, the layers in the order of their depth. The arrays inside the attentive ConvLSTM carry the names of the
convolutions it is made of, whose counters run on.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from published_reference import CHANNELS, GAUSSIANS, Layers, NetworkName, backbone_convolutions, norm_name

NORM_ARRAYS = ("gamma", "beta", "running_mean", "running_std")


class Unwritten:
    """An array of zeros that takes no place in a file: for tests that only look at shapes."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.dtype = np.dtype(np.float32)


def unwritten_layers(network: NetworkName, *, first_counter: int = 1) -> dict[str, list[Any]]:
    """Like `random_layers`, all zero and quick."""

    def convolution(*shape: int) -> list[Unwritten]:
        return [Unwritten(shape), Unwritten(shape[:1])]

    layers: dict[str, list[Any]] = {}
    for name, shape in backbone_convolutions(network).items():
        layers[name] = convolution(*shape)
        if network == "sam-resnet":
            layers[norm_name(name)] = [Unwritten(shape[:1]) for _ in NORM_ARRAYS]
    c, n = CHANNELS, first_counter
    last = n
    if network == "sam-resnet":
        layers[f"convolution2d_{n}"] = convolution(c, 2048, 3, 3)
        last += 1
    square = convolution(c, c, 3, 3)
    layers[f"attentiveconvlstm_{n}"] = [*square, *square, Unwritten((1, c, 3, 3)), *8 * square]
    for index in (n, n + 1):
        layers[f"learningprior_{index}"] = [Unwritten((4 * GAUSSIANS,))]
        layers[f"atrousconvolution2d_{index}"] = convolution(c, c + GAUSSIANS, 5, 5)
    layers[f"convolution2d_{last}"] = convolution(1, c, 1, 1)
    return layers


def weight_names(layer: str, arrays: list[Any], counter: int = 0) -> list[str]:
    """What Keras called the arrays of a layer."""
    kind = layer.rsplit("_", 1)[0]
    if kind == "attentiveconvlstm":
        names = [f"convolution2d_{counter + index}_{part}" for index in range(11) for part in "Wb"]
        # V_a, the third convolution, has no bias.
        return [name for name in names if name != f"convolution2d_{counter + 2}_b"]
    if kind == "learningprior":
        return [f"{layer}_W"]
    return [f"{layer}_{part}" for part in (NORM_ARRAYS if len(arrays) == 4 else "Wb")]


def by_depth(layers: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """All layers of the model, also those without weights, in the order that Keras gave them by their depth.

    Each prior stands beside the layer whose output it joins, so the kinds are interleaved.
    """
    ordered: dict[str, list[Any]] = {"input_1": [], "zeropadding2d_1": []}
    joined = ("learningprior", "atrousconvolution2d")
    priors, convolutions = ([name for name in layers if name.startswith(kind)] for kind in joined)
    *backbone, last = [name for name in layers if not name.startswith(joined)]
    for number, name in enumerate(backbone):
        ordered[name] = layers[name]
        ordered[f"{'lambda' if name.startswith('attentive') else 'activation'}_{number + 50}"] = []
    for index, pair in enumerate(zip_longest(priors, convolutions)):
        ordered |= {name: layers[name] for name in pair if name is not None}
        ordered[f"merge_{16 + index}"] = []
    return ordered | {last: layers[last], "lambda_4": []}


def write_published(path: Path, layers: Layers | dict[str, list[Any]], *, counter: int = 12, group: str = "") -> Path:
    """Write a file; `counter` numbers the convolutions inside the recurrence, `group` is where model.save() puts it."""
    with h5py.File(path, "w") as file:
        root = file.create_group(group) if group else file
        ordered = by_depth(dict(layers))
        root.attrs["layer_names"] = np.array([name.encode() for name in ordered])
        for name, arrays in ordered.items():
            write_layer(root, name, arrays, counter)
    return path


def write_layer(root: Any, name: str, arrays: list[Any], counter: int = 12) -> None:
    """One layer, as `write_published` writes it."""
    held = root.create_group(name)
    names = weight_names(name, arrays, counter)[: len(arrays)]
    held.attrs["weight_names"] = np.array([weight.encode() for weight in names]) if names else []
    for weight, array in zip(names, arrays, strict=True):
        dataset = held.create_dataset(weight, array.shape, dtype=array.dtype)
        if not isinstance(array, Unwritten):
            dataset[:] = array
