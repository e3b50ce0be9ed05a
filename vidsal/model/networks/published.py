"""Weight files as the authors of other systems published them in, checkpoints out. Nothing is unpickled.

What a file holds is read by `formats`; here stands which array goes where, and what has to be turned: a framework that
truly convolves (Theano, Lasagne by default) turns its kernels by half a turn, Caffe and torch do not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vidsal.errors import CheckpointError
from vidsal.files import sha256_of
from vidsal.model.checkpoint import ModelCard, save_checkpoint
from vidsal.model.keras_hdf5 import read_network_layers
from vidsal.model.networks.catalogue import describe, input_of, without_weights
from vidsal.model.networks.centre_bias import read_centre_bias
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.formats.caffemodel import read_caffemodel
from vidsal.model.networks.formats.npz import read_npz
from vidsal.model.networks.formats.pth import read_pth
from vidsal.model.networks.formats.text import read_columns, read_liblinear
from vidsal.model.networks.segmentation import read_segmentation
from vidsal.model.options import BIASED, BranchName, NetworkName, Task
from vidsal.model.release import check_target

__all__ = ["IMPORTED", "Release", "import_network"]

_Array = npt.NDArray[np.float32]
_State = dict[str, npt.NDArray[Any]]
_SALICON = "SALICON: pictures of MS COCO with attention traced by the mouse"
_STILLS_ONLY = "Trained on still pictures only: motion as such does not attract it."
_SALGAN_ENCODER_LAYERS = 13
# What the authors of DeepGaze I call their AlexNet, whose classifier is in their file too, and the rest.
_DEEPGAZE1_ALEXNET = "features.features.1."
_DEEPGAZE1_NAMES = {
    "readout.weight": "readout_network.conv0.weight",
    "sigma": "finalizer.gauss.sigma",
    "centre_weight": "finalizer.center_bias_weight",
}
# The authors' least deviation of a feature.
_EDN_LEAST_DEVIATION = 1e-8
# As if means and deviations had been gathered over so many steps of training: going on from them moves them slowly.
_EDN_STEPS = 1000


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
    limits: Sequence[str] = (_STILLS_ONLY,)
    """What a model card says it cannot do."""
    beside: Callable[[Path], Sequence[Path]] = lambda path: ()
    """The file -> further ones that belong to it, or `CheckpointError`."""
    task: Task = "free-viewing"
    """Of the viewers that it was trained on."""


def import_network(
    path: Path,
    *,
    name: str,
    output: Path,
    width: float = 1.0,
    segmentation: Path | None = None,
    centre_bias: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Make a checkpoint of a published weight file.

    Args:
        path: the file, as published.
        name: one of `IMPORTED`.
        output: the checkpoint to write.
        width: share of the published channels that the file has; 1 for what the authors published.
        segmentation: for `dreyeve`, the model that its branch of classes sees; None leaves that branch out.
        centre_bias: for `deepgaze-1`, the centre bias that belongs to it, as `read_centre_bias` takes it; None for
            Clarke and Tatler's.
        overwrite: whether a checkpoint that is there may be replaced.

    Raises:
        CheckpointError: the file is missing or damaged, or its arrays are not those of the network.
        EncodeError: the checkpoint is there already, or cannot be written.
    """
    check_target(path, output, overwrite=overwrite)
    network_name = next((known for known in IMPORTED if known == name), None)
    if network_name is None:
        raise CheckpointError(f"published files of {name} are not read; those of {', '.join(IMPORTED)} are")
    if segmentation is not None and network_name != "dreyeve":
        raise CheckpointError(f"a segmentation model is for dreyeve, not for {name}: leave it out")
    if centre_bias is not None and network_name not in BIASED:
        raise CheckpointError(f"a centre bias is for deepgaze-1, not for {name}: leave it out")
    release, config = IMPORTED[network_name], NetworkConfig(network_name, width)
    further: _State = {}
    notes: tuple[str, ...] = ()
    if network_name == "dreyeve":
        config, further, notes = _with_classes(config, segmentation)
    if network_name in BIASED:
        config, further, notes = _with_bias(config, centre_bias)
    state = release.read(path, config) | further
    beside = (*release.beside(path), *([] if centre_bias is None else [centre_bias]))
    files = " and ".join(f"{one.name}, sha256 {sha256_of(one)}" for one in (path, *beside))
    for key, value in state.items():
        if not np.isfinite(value).all():
            raise CheckpointError(f"{path}: {key} holds values that are not finite; the file is damaged")
    network = without_weights(config)
    network.load_state_dict({key: torch.tensor(value) for key, value in state.items()}, assign=True)
    card = ModelCard(
        name=name,
        description=" ".join(describe(network_name).partition("\n\n")[0].split()),
        licence=release.licence,
        task=release.task,
        training_data=tuple(release.training_data),
        initialisation=(f"converted from {files}: the layers fit, but nothing in a file proves where it is from"),
        limits=(*release.limits, *notes, "Not scored by vidsal."),
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


def _salicon_net(path: Path, config: NetworkConfig) -> _State:
    return _by_layers(path, config, _salicon_layer)


def _salicon_layer(module: str) -> str:
    """What OpenSALICON calls a module of ours; layers that see the coarse picture begin with sec_."""
    if module == "out":
        return "saliency_map"
    _, stream, _, block, place = module.split(".")
    return f"{'sec_' if stream == 'coarse' else ''}conv{int(block) + 1}_{int(place) + 1}"


def _with_bias(config: NetworkConfig, centre_bias: Path | None) -> tuple[NetworkConfig, _State, tuple[str, ...]]:
    """DeepGaze's network with the centre bias of a file, or with Clarke and Tatler's; and what a card says of it."""
    if centre_bias is None:
        notes = (
            "Its authors add the centre bias of MIT1003, which lies in a file of its own and was not named; here "
            "Clarke and Tatler's Gaussian has the weight that they found for theirs.",
        )
        return config, {}, notes
    values = read_centre_bias(centre_bias)
    config = replace(config, centre_bias=(values.shape[0], values.shape[1]))
    return config, {"centre_log_density": values}, ()


def _deepgaze1(path: Path, config: NetworkConfig) -> _State:
    """PyTorch's state dict of the whole model. Of AlexNet's classifier, which is not used, nothing is taken."""
    tensors = read_pth(path)
    state: _State = {}
    used = set()
    for key, shape in _shapes_of(replace(config, centre_bias=None)).items():
        name = _DEEPGAZE1_NAMES.get(key) or _DEEPGAZE1_ALEXNET + key.removeprefix("backbone.")
        value = tensors.get(name)
        if value is None:
            raise CheckpointError(f"{path}: has no {name}; it has {', '.join(list(tensors)[:3]) or 'nothing'}")
        # The weight of the centre bias has one dimension of one there, and none here.
        if tuple(value.shape) not in (shape, shape or (1,)) or not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(f"{path}: {name} is {tuple(value.shape)} {kind}, expected {shape} float32")
        used.add(name)
        state[key] = value.float().reshape(shape).numpy()
    left = [name for name in tensors if name not in used and not name.startswith(f"{_DEEPGAZE1_ALEXNET}classifier.")]
    if left:
        raise CheckpointError(f"{path}: its tensors are not those of deepgaze-1: {left[0]} is left over")
    return state


def _dva(path: Path, config: NetworkConfig) -> _State:
    return _by_layers(path, config, _dva_layer)


def _dva_layer(module: str) -> str:
    """What DVA's authors call a module of ours."""
    part, *numbers = module.removeprefix("backbone.").split(".")
    if part == "fusion":
        return "final_attention_pred"
    first, *second = map(int, numbers)
    if part == "outs":
        return f"attention{first + 1}_pred"
    # Branches from the deepest on, which is that of block 5.
    return f"deconv{5 - first}_{second[0] + 1}" if part == "ups" else f"conv{first + 1}_{second[0] + 1}"


def _ml_net(path: Path, config: NetworkConfig) -> _State:
    """Keras 1 on Theano: kernels are turned. Layers carry counters that differ from file to file: they are taken by
    kind and in order."""
    shapes = _shapes_of(config)
    layers = read_network_layers(path)
    convolutions = list(dict.fromkeys(key.rpartition(".")[0] for key in shapes if key != "prior"))
    wanted = {"convolution2d": convolutions, "eltwiseproduct": ["prior"]}
    state: _State = {}
    taken = set()
    for kind, modules in wanted.items():
        found = [name for name in layers if re.fullmatch(rf"{kind}_\d+", name)]
        if len(found) != len(modules):
            raise CheckpointError(
                f"{path}: its layers are not those of ml-net: {len(found)} named {kind}, expected {len(modules)}"
            )
        for name, module in zip(found, modules, strict=True):
            keys = [module] if module in shapes else [f"{module}.weight", f"{module}.bias"]
            arrays = list(layers[name].values())
            shown = [tuple(array.shape) for array in arrays], [shapes[key] for key in keys]
            if shown[0] != shown[1]:
                raise CheckpointError(f"{path}: {name} holds arrays of {shown[0]}, expected {shown[1]}")
            for key, array in zip(keys, arrays, strict=True):
                state[key] = array[:, :, ::-1, ::-1].copy() if array.ndim == 4 else array
        taken |= set(found)
    left = [name for name in layers if name not in taken]
    if left:
        raise CheckpointError(f"{path}: its layers are not those of ml-net: {left[0]} is left over")
    return state


def _whitening_of(path: Path) -> tuple[Path]:
    """eDN's means and deviations, which lie beside the weights in a file of their own: svm-slm-cntr, whiten-slm-cntr.

    Raises:
        CheckpointError: the weights have another name.
    """
    if not path.name.startswith("svm"):
        raise CheckpointError(
            f"{path}: to find the means and deviations that belong to it (whiten-slm-cntr or whiten-slm, in the same "
            "folder), leave its name as published: svm-slm-cntr or svm-slm"
        )
    return (path.with_name("whiten" + path.name.removeprefix("svm")),)


def _edn(path: Path, config: NetworkConfig) -> _State:
    """Text: the weights of features, after that of the distance to the centre in the files named cntr; means and
    deviations in another file."""
    shapes = _shapes_of(config)
    (beside,) = _whitening_of(path)
    weights, whitening = read_liblinear(path), read_columns(beside, 2)
    features = shapes["readout.weight"][1]
    for file, count in ((path, len(weights)), (beside, len(whitening))):
        if count != len(weights) or count not in (features, features - 1):
            raise CheckpointError(
                f"{file}: {count} features; expected {features}, or {features - 1} in both files without the distance "
                "to the centre"
            )
    if (whitening[:, 1] < 0).any():
        raise CheckpointError(f"{beside}: holds deviations below 0; the file is damaged")
    if len(weights) < features:
        weights, whitening = np.r_[np.float32(0), weights], np.r_[np.array([[0, 1]], np.float32), whitening]
    return {
        "readout.weight": weights.reshape(shapes["readout.weight"]),
        "whitening.running_mean": whitening[:, 0].copy(),
        "whitening.running_var": np.maximum(whitening[:, 1], _EDN_LEAST_DEVIATION) ** 2,
        "whitening.num_batches_tracked": np.array(_EDN_STEPS),
    }


_ALL_BRANCHES: tuple[BranchName, ...] = ("image", "flow", "segmentation")
_THEIR_BRANCHES = {"image": "image", "flow": "optical_flow", "segmentation": "segmentation"}


def _with_classes(config: NetworkConfig, segmentation: Path | None) -> tuple[NetworkConfig, _State, tuple[str, ...]]:
    """DR(eye)VE's network with a segmentation model, or without its branch of classes; and what a card says of it."""
    if segmentation is None:
        notes = ("The branch of classes is left out, since no segmentation model was named; published scores have it.",)
        return config, {}, notes
    content = read_segmentation(segmentation)
    config = replace(config, branches=_ALL_BRANCHES, segmentation_bytes=len(content))
    notes = (
        f"Its classes come from {segmentation.name}, sha256 {hashlib.sha256(content).hexdigest()}; it was trained on "
        "those of a Dilation10.",
    )
    return config, {"segmentation.onnx": np.frombuffer(content, np.uint8)}, notes


def _dreyeve(path: Path, config: NetworkConfig) -> _State:
    """Keras 1 on Theano: each branch is a layer with the arrays of all of its own; kernels are turned, in time too.

    Two layers of a branch have kernels to one channel: that of the part has a name, that of the coarse map has Keras's
    number alone.
    """
    shapes = _shapes_of(replace(config, branches=_ALL_BRANCHES, segmentation_bytes=0))
    layers = read_network_layers(path)
    groups = {name: f"{theirs}_saliency_branch" for name, theirs in _THEIR_BRANCHES.items()}
    odd = sorted(set(layers) ^ set(groups.values()))
    if odd:
        what = "missing" if odd[0] in groups.values() else "left over"
        raise CheckpointError(f"{path}: its layers are not those of dreyeve: {odd[0]} is {what}")
    state: _State = {}
    for key, shape in shapes.items():
        _, branch, module = key.split(".", 2)
        arrays = layers[groups[branch]]
        name = _array_of(module, _THEIR_BRANCHES[branch], arrays)
        value = arrays.pop(name, None)
        if value is None or value.shape != shape:
            found = "missing" if value is None else f"{value.shape}, expected {shape}"
            raise CheckpointError(f"{path}: {name} of {groups[branch]} is {found}")
        if branch in config.branches:
            state[key] = np.flip(value, tuple(range(2, value.ndim))).copy()
    for group, arrays in layers.items():
        if arrays:
            raise CheckpointError(f"{path}: {next(iter(arrays))} of {group} is left over")
    return state


def _array_of(module: str, branch: str, arrays: Iterable[str]) -> str:
    """What Keras calls an array of ours, by our name below the branch: conv1.weight is conv1_W."""
    layer, _, part = module.rpartition(".")
    part = "W" if part == "weight" else "b"
    if layer == "coarse":
        return next(
            (name for name in arrays if re.fullmatch(rf"convolution2d_\d+_{part}", name)), f"convolution2d_1_{part}"
        )
    if layer == "crop":
        return f"{branch}_crop_final_conv_{part}"
    number = layer.removeprefix("refine.")
    return f"{branch}_refine_conv{int(number) + 1}_{part}" if number != layer else f"{layer}_{part}"


IMPORTED: dict[NetworkName, Release] = {
    "dreyeve": Release(
        _dreyeve,
        "github.com/ndrplz/dreyeve",
        "MIT, as the repository that published them (github.com/ndrplz/dreyeve)",
        ("DR(eye)VE, runs 1 to 37: gaze of one driver each", "the actions of Sports-1M before that (C3D)"),
        (
            "Gaze of eight drivers on Italian roads, one in each drive.",
            "Trained with the data set's mean picture, which is not in the file: ImageNet's mean colour is taken off.",
            "Trained with another optical flow, of one frame later.",
        ),
        task="driving",
    ),
    "ml-net": Release(
        _ml_net,
        "github.com/marcellacornia/mlnet",
        "MIT, as the repository that published them (github.com/marcellacornia/mlnet)",
        (_SALICON, "ImageNet before that"),
    ),
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
    "deepgaze-1": Release(
        _deepgaze1,
        "github.com/matthias-k/DeepGaze",
        "not stated by the repository that published them (github.com/matthias-k/DeepGaze): ask its authors",
        ("MIT1003: its 463 pictures of 1024x768", "ImageNet before that"),
    ),
    "salicon-net": Release(
        _salicon_net,
        "github.com/CLT29/OpenSALICON",
        "not stated by the repository that published them (github.com/CLT29/OpenSALICON): ask its authors",
        ("OSIE: 700 pictures", "ImageNet before that"),
    ),
    "dva": Release(
        _dva,
        "github.com/wenguanwang/deepattention",
        "not stated by the repository that published them (github.com/wenguanwang/deepattention): ask its authors",
        ("not stated with the file; see the paper", "ImageNet before that"),
    ),
    "edn": Release(
        _edn,
        "github.com/coxlab/edn-cvpr2014",
        "MIT, as the repository that published them (github.com/coxlab/edn-cvpr2014)",
        ("not stated with the files; see the paper",),
        beside=_whitening_of,
    ),
}
"""Networks whose published files are read."""
