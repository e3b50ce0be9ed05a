"""The words for what can be chosen of a network, and of how it is run."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = [
    "BEGIN_WITH_C3D",
    "BIASED",
    "DRIVING_MODELS",
    "AttentionScale",
    "BackboneName",
    "BaselineName",
    "BranchName",
    "HeadName",
    "Mean",
    "NetworkName",
    "Precision",
    "Quality",
    "ReadoutBackbone",
    "ReadoutUpsampler",
    "Runtime",
    "StrideIn",
    "Task",
    "named_task",
]

BackboneName = Literal[
    "mobilenet_v2", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "resnet50", "vgg16"
]
StrideIn = Literal["first_1x1", "middle_3x3"]
HeadName = Literal["published", "refine", "readout_deconvolution", "readout_subpixel", "readout_bilinear"]
AttentionScale = Literal["none", "cells"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Runtime = Literal["torch", "openvino"]
"""What computes networks of SAM's family."""
Task = Literal["free-viewing", "driving"]
"""What the viewers do whose gaze is predicted."""
Mean = Literal["geometric", "linear"]
"""How the maps of several models become one: the mean of log densities, or of densities; normalised."""
Quality = Literal["standard", "high"]
"""How often a model sees each frame: once, or a second time in another view."""
BaselineName = Literal[
    "uniform", "centre-prior", "spectral-residual", "itti-koch", "gbvs", "aim", "sun", "icl", "bms", "aws"
]
"""Names of the models without weights."""
NetworkName = Literal[
    "ml-net",
    "salnet",
    "salgan",
    "deepgaze-1",
    "deepgaze-2",
    "salicon-net",
    "deepfix",
    "dva",
    "readout-net",
    "edn",
    "rmdn",
    "dreyeve",
]
"""Names of other people's systems that are made here, and trained by whoever uses them."""
BIASED: tuple[NetworkName, ...] = ("deepgaze-1", "deepgaze-2")
"""Names of the systems that add a centre bias."""
BEGIN_WITH_C3D: tuple[NetworkName, ...] = ("rmdn", "dreyeve")
"""Names of the systems whose authors begin with the weights of C3D; those of others begin with ImageNet's."""
ReadoutBackbone = Literal["vgg16", "resnet50", "densenet161", "dpn131"]
ReadoutUpsampler = Literal["deconvolution", "subpixel", "bilinear", "nearest"]
BranchName = Literal["image", "flow", "segmentation"]
"""Names of the branches of `dreyeve`."""

DRIVING_MODELS = {"sam-lite": "sam-lite-driver"}
"""A model to the one that predicts drivers' gaze with the same network."""
_FREE_VIEWING = ("sam-lite", "sam-lite-fast", "sam-resnet", "sam-resnet-2017", "sam-vgg", *get_args(BaselineName))


def named_task(name: str) -> Task | None:
    """The task of a model that comes with vidsal, by its name; None for any other, whose card has to say it.

    Example:
        >>> named_task("sam-lite-driver"), named_task("own-driver")
        ('driving', None)
    """
    return "driving" if name in DRIVING_MODELS.values() else "free-viewing" if name in _FREE_VIEWING else None
