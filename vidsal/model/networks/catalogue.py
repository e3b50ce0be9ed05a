"""The name of a network in, the network out; each file is loaded when its network is made."""

from __future__ import annotations

import importlib
import inspect

import torch

from vidsal.model.network import NothingDrawn
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import OtherNetwork
from vidsal.model.options import NetworkName
from vidsal.stages import PreprocessOptions

__all__ = ["NETWORKS", "build_network", "describe", "input_of", "without_weights"]

NETWORKS: dict[NetworkName, tuple[str, str]] = {
    "ml-net": ("ml_net", "MLNet"),
    "salnet": ("salnet", "SalNet"),
    "salgan": ("salgan", "SalGAN"),
    "deepgaze-1": ("deepgaze1", "DeepGaze1"),
    "deepgaze-2": ("deepgaze2", "DeepGaze2"),
    "salicon-net": ("salicon_net", "SaliconNet"),
    "deepfix": ("deepfix", "DeepFix"),
    "dva": ("dva", "DVA"),
    "readout-net": ("readout_net", "ReadoutNet"),
    "edn": ("edn", "EDN"),
    "rmdn": ("rmdn", "RMDN"),
    "dreyeve": ("dreyeve", "Dreyeve"),
}
"""The file and the class of each network."""


def build_network(config: NetworkConfig) -> OtherNetwork:
    """Make a network with random weights.

    Example:
        >>> network = build_network(NetworkConfig("salgan", width=1 / 16))
        >>> network.preprocess.fit
        'stretch'
    """
    network: OtherNetwork = _class_of(config.network)(config)
    return network


def describe(name: NetworkName) -> str:
    """Whose it is, and what is different here or assumed: several paragraphs."""
    return inspect.cleandoc(_class_of(name).__doc__ or name)


def without_weights(config: NetworkConfig) -> OtherNetwork:
    """The network on torch's device "meta", where tensors have shapes and no values: weights are assigned to it."""
    with NothingDrawn(), torch.device("meta"):
        return build_network(config)


def input_of(name: NetworkName) -> PreprocessOptions:
    """The input that a network's authors give it."""
    preprocess: PreprocessOptions = _class_of(name).preprocess
    return preprocess


def _class_of(name: NetworkName) -> type[OtherNetwork]:
    file, kind = NETWORKS[name]
    found: type[OtherNetwork] = getattr(importlib.import_module(f"vidsal.model.networks.{file}"), kind)
    return found
