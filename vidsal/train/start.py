"""A configuration in, the first weights, the optimiser and its rates out, and what to say of the weights."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from vidsal.errors import CheckpointError, ConfigError, Setting
from vidsal.files import sha256_of
from vidsal.model.checkpoint import PRESETS, read_any_checkpoint, read_checkpoint
from vidsal.model.network import Network
from vidsal.model.networks.c3d import load_c3d, read_c3d
from vidsal.model.networks.catalogue import NETWORKS, build_network, input_of
from vidsal.model.networks.centre_bias import read_centre_bias
from vidsal.model.networks.config import NetworkConfig, branches_of
from vidsal.model.networks.formats.pth import read_pth
from vidsal.model.networks.parts import BiasedNetwork, OtherNetwork
from vidsal.model.networks.segmentation import read_segmentation
from vidsal.model.options import BEGIN_WITH_C3D, BIASED
from vidsal.model.sam import SaliencyAttentiveModel
from vidsal.preprocess import PreprocessOptions
from vidsal.train.centre_bias import FROM_FIXATIONS, estimate_centre_bias
from vidsal.train.options import ScheduleOptions, TrainConfig
from vidsal.train.samples import OpenData

__all__ = [
    "first_network",
    "initialise_as_published",
    "make_optimizer",
    "parameter_groups",
    "rate_share",
    "with_motion",
]

_ALL_AT_RANDOM = "No pretrained weights: every layer begins at random."
_FEATURES_AT_RANDOM = (
    "This network trains the readout of its features alone: without imagenet_weights they stay random, and maps are "
    "hardly more than the centre bias."
)


def initialise_as_published(network: SaliencyAttentiveModel) -> None:
    """The first weights of all but the backbone as the authors' Keras draws them.

    One exception: the last convolution, whose one map goes through a ReLU, takes the magnitudes of its draw. With
    random signs about half of all draws give a map of zeros, which has no gradient and never trains; its input is
    never negative, so with positive weights it always does.
    """
    recurrence, head = network.recurrence, network.head.out
    torch.nn.init.normal_(recurrence.attention_input.weight, std=0.05)  # U_a is "normal" in their code as W is
    # Their orthogonal matrices have the gain 1.1.
    recurrence.gates_hidden.weight.data.mul_(1.1)
    layers = [network.backbone.get_submodule(name) for name in network.backbone.new_layers]
    # What is not a single convolution keeps its own first weights.
    new = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    for convolution in (*network.prior_convolutions, head, *new):
        torch.nn.init.xavier_uniform_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    head.weight.data.abs_()


def first_network(
    config: TrainConfig, data: OpenData | None = None
) -> tuple[Network, PreprocessOptions, tuple[str, ...], tuple[str, ...]]:
    """The network to begin with, its preprocessing, what to say of its weights, and the data they were trained on.

    `data` is what a centre bias is estimated from where `centre_bias` says so.
    """
    for name, presets in (("centre_bias", BIASED), ("c3d_weights", BEGIN_WITH_C3D)):
        if getattr(config, name) is not None and (config.start_from is not None or config.preset not in presets):
            other = "start_from, whose network keeps its own" if config.start_from is not None else config.preset
            raise ConfigError(Setting(name), f" is for a new {' or '.join(presets)}, not for {other}: leave it out")
    if config.start_from is not None:
        found, preprocess, card = read_any_checkpoint(config.start_from)
        if config.add_motion_channels:
            found = with_motion(read_checkpoint(config.start_from)[0], config.add_motion_channels)
        return found.requires_grad_(True), preprocess, (), card.training_data
    for name, value in (("backbone", config.readout_backbone), ("upsampler", config.readout_upsampler)):
        if value is not None and config.preset != "readout-net":
            raise ConfigError(Setting(f"readout_{name}"), f" is for the preset readout-net, not for {config.preset}")
    if config.preset == "dreyeve":
        return _first_dreyeve(config)
    if config.preset in BIASED and config.centre_bias is not None:
        _refuse_branches(config)
        return _first_with_bias(config, config.centre_bias, data)
    if config.preset in NETWORKS:
        _refuse_branches(config)
        architecture = NetworkConfig(
            config.preset, config.width, backbone=config.readout_backbone, upsampler=config.readout_upsampler
        )
        found, preprocess, notes, learnt = _first_of_others(config, architecture)
        if config.c3d_weights is not None:
            notes, learnt = _with_c3d(config.c3d_weights, found)
        return found, preprocess, notes, learnt
    if config.width != 1:
        raise ConfigError(f"width is for the presets {', '.join(NETWORKS)}; {config.preset} has the options of model")
    _refuse_branches(config)
    preset = PRESETS[config.preset]
    network, preprocess = SaliencyAttentiveModel(config.model or preset.config), config.preprocess or preset.preprocess
    if network.config.head == "published":
        initialise_as_published(network)
    notes = (
        "The run begins from random weights, the backbone's too: neither imagenet_weights nor start_from is given.",
    )
    if config.imagenet_weights is not None:
        notes = network.backbone.load_imagenet(_read_state_dict(config.imagenet_weights)) + _input_notes(preprocess)
    return network, preprocess, notes, ()


def check_canvas(network: Network, preprocess: PreprocessOptions) -> None:
    """See that a canvas that follows the picture will suit a network.

    Raises:
        ConfigError: its rows and columns may be no multiples of the network's stride.
    """
    stride = network.backbone.stride if isinstance(network, SaliencyAttentiveModel) else getattr(network, "stride", 1)
    if preprocess.fit in ("inside", "shape") and preprocess.cells % stride:
        raise ConfigError(
            Setting("preprocess.cells", preprocess.cells), f" must be a multiple of {stride} for this network"
        )


def _first_of_others(
    config: TrainConfig, architecture: NetworkConfig
) -> tuple[OtherNetwork, PreprocessOptions, tuple[str, ...], tuple[str, ...]]:
    """As `first_network`, of a system that is not of SAM's family."""
    if config.model is not None:
        raise ConfigError(f"model is for SAM's family; {config.preset} has options of its own")
    network, preprocess = build_network(architecture), config.preprocess or input_of(architecture.network)
    if config.imagenet_weights is None:
        said = (_ALL_AT_RANDOM, *((_FEATURES_AT_RANDOM,) if isinstance(network, BiasedNetwork) else ()))
        return network, preprocess, said, ()
    notes = network.load_imagenet(_read_state_dict(config.imagenet_weights)) + _input_notes(preprocess)
    return network, preprocess, notes, ()


def _first_with_bias(
    config: TrainConfig, source: Path, data: OpenData | None
) -> tuple[Network, PreprocessOptions, tuple[str, ...], tuple[str, ...]]:
    """As `first_network`, of one of DeepGaze's with the centre bias of a file, or of the fixations of the run."""
    if source == FROM_FIXATIONS and data is not None:
        estimate = estimate_centre_bias(data)
        values, note = estimate.log_density, estimate.note
    else:
        values = read_centre_bias(source)
        note = f"The centre bias comes from {source.name}, sha256 {sha256_of(source)}."
    preset = next(name for name in BIASED if name == config.preset)
    architecture = NetworkConfig(preset, config.width, centre_bias=(values.shape[0], values.shape[1]))
    network, preprocess, notes, learnt = _first_of_others(config, architecture)
    network.load_state_dict({"centre_log_density": torch.from_numpy(values)}, strict=False)
    return network, preprocess, (*notes, note), learnt


def _with_c3d(
    path: Path, network: OtherNetwork, *, begun: Collection[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Load C3D's weights into all parts of a network that have its layers and have not begun with others.

    Returns:
        What to say of it, and the data that they were trained on.
    """
    parts = {name: layers for name, layers in network.c3d_layers().items() if name not in begun}
    if not parts:
        raise ConfigError(
            Setting("c3d_weights"), " has no branch to go to that does not begin with other weights: leave it out"
        )
    layers = read_c3d(path, next(iter(parts.values())))
    for convolutions in parts.values():
        load_c3d(convolutions, layers)
        if not network.trains_c3d:
            for convolution in convolutions.values():
                convolution.requires_grad_(False)
    on = "" if network.trains_c3d else ", which are not trained,"
    notes: tuple[str, ...] = (
        f"C3D's layers ({' and '.join(parts)}){on} begin with {path.name}, sha256 {sha256_of(path)}.",
    )
    if not begun:
        notes += ("All other layers begin at random.",)
    return notes, (f"Sports-1M before that, where {path.name} is what its name says",)


def _first_dreyeve(config: TrainConfig) -> tuple[Network, PreprocessOptions, tuple[str, ...], tuple[str, ...]]:
    """As `first_network`, of DR(eye)VE's: with a segmentation model, and with branches that were trained before."""
    content = None if config.segmentation is None else read_segmentation(config.segmentation)
    branches = branches_of(config.branches, segmented=content is not None)
    architecture = NetworkConfig("dreyeve", config.width, branches, 0 if content is None else len(content))
    network, preprocess, notes, learnt = _first_of_others(config, architecture)
    if config.segmentation is not None and content is not None:
        network.load_state_dict(
            {"segmentation.onnx": torch.frombuffer(bytearray(content), dtype=torch.uint8)}, strict=False
        )
        notes += (f"The classes come from {config.segmentation.name}, sha256 {hashlib.sha256(content).hexdigest()}.",)
    elif config.branches is None:
        notes += ("No segmentation model is named: the branch of classes is left out.",)
    begun: dict[str, str] = {}
    for path in config.branches_from:
        other, _, card = read_any_checkpoint(path)
        if not isinstance(other.config, NetworkConfig) or other.config.network != "dreyeve":
            raise CheckpointError(f"{path} (branches_from) is not a checkpoint of dreyeve")
        found = [name for name in other.config.branches if name in branches]
        twice = [name for name in found if name in begun]
        if not found or twice:
            what = f"branch {twice[0]} again" if twice else f"no branch of {', '.join(branches)}"
            raise CheckpointError(f"{path} (branches_from) holds {what}: name one checkpoint for each branch")
        if other.config.width != config.width:
            raise CheckpointError(f"{path} (branches_from) has the width {other.config.width:g}, not {config.width:g}")
        kept = tuple(f"branches.{name}." for name in found)
        state = {key: value for key, value in other.state_dict().items() if key.startswith(kept)}
        network.load_state_dict(state, strict=False)
        begun |= dict.fromkeys(found, path.name)
        learnt += card.training_data
    if begun:
        notes = tuple(note for note in notes if note != _ALL_AT_RANDOM)
        rest = [name for name in branches if name not in begun]
        how = "at random" if config.c3d_weights is None else "at random but for C3D's layers"
        notes += (
            f"Branches begin as trained: {', '.join(f'{name} of {file}' for name, file in begun.items())}"
            + (f"; {how}: {', '.join(rest)}." if rest else "."),
        )
    if config.c3d_weights is not None:
        further, data = _with_c3d(config.c3d_weights, network, begun=begun)
        notes, learnt = (*(note for note in notes if note != _ALL_AT_RANDOM), *further), (*learnt, *data)
    return network, preprocess, notes, tuple(dict.fromkeys(learnt))


def _refuse_branches(config: TrainConfig) -> None:
    """See that options of the preset dreyeve are not given with another.

    Raises:
        ConfigError: one is.
    """
    for name in ("branches", "segmentation", "branches_from"):
        if getattr(config, name):
            raise ConfigError(f"{name} is of the preset dreyeve, not of {config.preset}: leave it out")


def _input_notes(preprocess: PreprocessOptions) -> tuple[str, ...]:
    """What to say where torchvision's weights do not get the input they were trained on."""
    trained = PreprocessOptions()
    names = ("channel_order", "divisor", "mean", "std")
    if all(getattr(preprocess, name) == getattr(trained, name) for name in names):
        return ()
    return (
        "torchvision's weights were trained on RGB divided by 255, minus mean, over standard deviation (the defaults "
        "of preprocess); this run shows them another input, which fine-tuning has to make up for.",
    )


def _read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file (imagenet_weights)")
    if path.suffix != ".safetensors":
        return read_pth(path)
    try:
        return load_file(path)
    except Exception as error:  # SafetensorError, OSError
        raise CheckpointError(f"{path}: not a state dict ({error})") from error


def with_motion(network: SaliencyAttentiveModel, channels: int) -> SaliencyAttentiveModel:
    """The same network, predicting the same, with a motion branch."""
    if network.motion is not None:
        raise ConfigError("start_from has a motion branch already: leave out add_motion_channels")
    larger = SaliencyAttentiveModel(dataclasses.replace(network.config, motion_channels=channels))
    own = network.state_dict()
    missing, _ = larger.load_state_dict(own, strict=False)
    if any(not name.startswith("motion.") for name in missing):
        raise CheckpointError(f"start_from lacks {missing[0]}")
    return larger


def parameter_groups(network: Network, schedule: ScheduleOptions) -> list[dict[str, Any]]:
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((network.is_pretrained(name), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": schedule.backbone_learning_rate if pretrained else schedule.learning_rate,
            "weight_decay": schedule.weight_decay if decays else 0.0,
        }
        for (pretrained, decays), parameters in groups.items()
    ]


def make_optimizer(groups: list[dict[str, Any]], schedule: ScheduleOptions) -> torch.optim.Optimizer:
    if schedule.optimizer == "rmsprop":
        # Keras's and torch's are the same formula, v = rho v + (1 - rho) g^2, p -= rate g / (sqrt v + epsilon), v from
        # zero; only torch's default rho is another (.99).
        return torch.optim.RMSprop(groups, alpha=0.9, eps=1e-8)
    if schedule.optimizer == "adagrad":
        return torch.optim.Adagrad(groups)
    return torch.optim.AdamW(groups)


def rate_share(step: int, steps: int, schedule: ScheduleOptions) -> float:
    """Share of the highest learning rate at a step."""
    if schedule.schedule == "constant":
        return 1.0
    done = step / max(1, steps)
    warmup = schedule.warmup_share if schedule.schedule == "one_cycle" else 0.0
    if done < warmup:
        return 0.04 + 0.96 * done / warmup
    return max(1e-4, 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))))
