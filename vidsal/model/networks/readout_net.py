"""Readout Net: a classifier on the picture and on its half, and a small readout that makes the map large."""

from __future__ import annotations

import importlib
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.errors import ConfigError, Setting
from vidsal.model.heads import log_of_relevance, upsampling_levels
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import PictureNetwork, Pretrained, with_edges
from vidsal.model.options import ReadoutBackbone
from vidsal.stages import PreprocessOptions

__all__ = ["ReadoutNet"]

_DOUBLINGS = 3
_FIRST_WIDTH = 128
_SLOPE = 0.01
_EPSILON = 1e-7
# The least that leaves a cell of the halved picture, and two of the whole one, which a transposed convolution needs.
_LEAST = 64


class ReadoutNet(PictureNetwork):
    """Oyama and Yamanaka, "Influence of image classification accuracy on saliency map estimation", CAAI Transactions on
    Intelligence Technology 3(3), 2018 (arXiv 1807.10657), after the same laboratory's later code.

    As in that code: a classifier without its last layers sees the picture and, with the same weights, the picture
    halved (bilinear); the features of the half are enlarged (bilinear) and joined to the others; a readout makes one
    map; leaky ReLU (.01), and the map minus its minimum. Readouts: "deconvolution", three transposed 4x4 convolutions
    that make 2 h - 2 rows of h, to 128, 64 and 32 channels, each with a ReLU, and a 1x1 convolution; "subpixel", three
    times four channels become the four pixels of a cell, then a 3x3 convolution and a ReLU, and a 1x1 convolution;
    "bilinear" and "nearest", the 1x1 convolution, then enlargement by 8. DenseNet-161 keeps a stride of 16 by the
    stride of its last pool, DPN-131 by dilation. The paper has a plain ReLU at the end, with which a map may never
    train.

    The backbones are torchvision's own (`vgg16`, `resnet50`, `densenet161`; `pip install 'vidsal[backbones]'`) and
    timm's `dpn131` (`pip install 'vidsal[dpn]'`).

    Assumed: three doublings; features of the picture first, then those of its half; ResNet-50 and VGG-16 keep their
    stride of 32; the training set's mean colour is ImageNet's. Different: the optional prior of 20x20 cells is left
    out. The map is stretched over the canvas, though "deconvolution" leaves out almost a cell at each edge of it. A
    picture of fewer than 64 pixels a side gets its edges repeated, and the map is cut to it.
    """

    preprocess = PreprocessOptions(
        height=480,
        width=640,
        mean=(0.485, 0.456, 0.406),
        std=(1.0, 1.0, 1.0),
        resize="bilinear",
        fit="inside",
    )
    """The authors' input: RGB minus a mean colour, divided by 255, at most 480x640 pixels."""

    def __init__(self, config: NetworkConfig) -> None:
        """Make it with random weights.

        Raises:
            ConfigError: the package that has the backbone is missing, or the backbone is too thin for the upsampler.
        """
        super().__init__()
        self.config = config
        self.backbone = MainNet(config)
        self.upsampler = config.upsampler or "deconvolution"
        channels, count = 2 * self.backbone.outputs, _DOUBLINGS
        if self.upsampler in ("bilinear", "nearest"):
            count = 0
        elif self.upsampler == "subpixel" and channels % 4**count:
            what = f"=subpixel needs a multiple of {4**count} channels of two paths, these have {channels}"
            raise ConfigError(Setting("upsampler"), what)
        self.levels, channels = upsampling_levels(
            "deconvolution" if self.upsampler == "deconvolution" else "subpixel",
            channels,
            count=count,
            first_width=config.channels(_FIRST_WIDTH),
            cut=2,
        )
        self.out = nn.Conv2d(channels, 1, 1)

    def log_density(self, pictures: torch.Tensor) -> torch.Tensor:
        """See `PictureNetwork.log_density`."""
        large, rows, columns = with_edges(pictures, _LEAST, _LEAST)
        relevance = self.stages(large)["relevance"].float() + _EPSILON
        enlarged = F.interpolate(relevance, size=large.shape[-2:], mode="bilinear", align_corners=False)
        return log_of_relevance(enlarged[:, 0, rows, columns])

    def stages(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 3, H, W), H and W at least 64, to "relevance", (N, 1, h, w), at least 0, with what is between.

        "fine" and "coarse" are the features of the picture and of its half, "level1" to "level3" what the learned
        upsamplers make of both.
        """
        height, width = pictures.shape[-2:]
        half = F.interpolate(pictures, size=(height // 2, width // 2), mode="bilinear", align_corners=False)
        found = {"fine": self.backbone(pictures), "coarse": self.backbone(half)}
        enlarged = F.interpolate(found["coarse"], size=found["fine"].shape[-2:], mode="bilinear", align_corners=False)
        x = found["joined"] = torch.cat([found["fine"], enlarged], 1)
        for number, level in enumerate(self.levels, start=1):
            x = found[f"level{number}"] = level(x)
        with torch.autocast(pictures.device.type, enabled=False):
            found["map"] = self._enlarged(self.out(x.float()))
            rectified = F.leaky_relu(found["map"], _SLOPE)
            found["relevance"] = rectified - rectified.amin((-1, -2), keepdim=True)
        return found

    def _enlarged(self, projected: torch.Tensor) -> torch.Tensor:
        if self.upsampler == "bilinear":
            return F.interpolate(projected, scale_factor=2**_DOUBLINGS, mode="bilinear", align_corners=False)
        if self.upsampler == "nearest":
            return F.interpolate(projected, scale_factor=2**_DOUBLINGS, mode="nearest")
        return projected


class MainNet(Pretrained):
    """The features of a classifier, made by the package that has it."""

    def __init__(self, config: NetworkConfig) -> None:
        """Make it with random weights.

        Raises:
            ConfigError: that package is missing or does not fit torch.
        """
        super().__init__()
        self.name: ReadoutBackbone = config.backbone or "vgg16"
        self.features, self.outputs, self.prefix = _BACKBONES[self.name](config)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) to (N, `outputs`, h, w)."""
        features: torch.Tensor = self.features(pictures)
        return features

    def load_torchvision(self, state: dict[str, torch.Tensor]) -> None:
        """Take over the features of the classifier of this name; see `Pretrained.load_torchvision`."""
        # Files of DenseNet from before torchvision 0.3 have "norm.1" for "norm1".
        renamed = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)", r"\1", key): one for key, one in state.items()}
        source = f"{'timm' if self.name == 'dpn131' else 'torchvision'}'s {self.name}"
        self.take_over(self.features, renamed, prefix=self.prefix, source=source)


class _Made(NamedTuple):
    """A classifier's features."""

    features: nn.Module
    outputs: int
    """Channels."""
    prefix: str
    """What comes before their names in the classifier's state dict."""


def _vgg16(config: NetworkConfig) -> _Made:
    vgg = _package("torchvision.models.vgg")
    plan = [step if step == "M" else config.channels(step) for step in vgg.cfgs["D"]]
    features = vgg.make_layers(plan)
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return _Made(features, config.channels(512), "features.")


def _resnet50(config: NetworkConfig) -> _Made:
    whole = _package("torchvision.models").resnet50(weights=None)
    layers = OrderedDict((name, layer) for name, layer in whole.named_children() if name not in ("avgpool", "fc"))
    return _Made(nn.Sequential(layers), whole.fc.in_features, "")


def _densenet161(config: NetworkConfig) -> _Made:
    whole = _package("torchvision.models").DenseNet(
        growth_rate=config.channels(48), block_config=(6, 12, 36, 24), num_init_features=config.channels(96)
    )
    whole.features.transition3.pool.stride = 1
    # What torchvision does between features and classifier.
    whole.features.add_module("relu5", nn.ReLU())
    return _Made(whole.features, whole.classifier.in_features, "features.")


def _dpn131(config: NetworkConfig) -> _Made:
    whole = _package("timm").create_model("dpn131", pretrained=False)
    for layer in whole.features.conv5_1.modules():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
    for block in (whole.features.conv5_2, whole.features.conv5_3):
        for layer in block.modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                layer.dilation = layer.padding = (2, 2)
    return _Made(whole.features, whole.num_features, "features.")


_BACKBONES: dict[ReadoutBackbone, Callable[[NetworkConfig], _Made]] = {
    "vgg16": _vgg16,
    "resnet50": _resnet50,
    "densenet161": _densenet161,
    "dpn131": _dpn131,
}


def _package(name: str) -> Any:
    """A module of torchvision or timm.

    Raises:
        ConfigError: it is missing, or was built for another torch.
    """
    try:
        return importlib.import_module(name)
    # A torchvision that was built for another torch fails with a RuntimeError.
    except (ImportError, RuntimeError) as error:
        package = name.partition(".")[0]
        extra, fitting = (
            ("dpn", "") if package == "timm" else ("backbones", f" (the release that fits torch {torch.__version__})")
        )
        raise ConfigError(
            f"this backbone of readout-net needs {package}{fitting}, which cannot be loaded ({error}): "
            f"pip install 'vidsal[{extra}]'"
        ) from error
