"""Normalised pictures in, features out: dilated ResNet-50 and VGG-16 as in SAM, and a light MobileNetV2.

Every backbone maps (N, 3, H, W) to `BackboneFeatures`. The two published ones follow the code of Cornia et al.
(2018), where the strides, dilations and paddings differ in places from the paper and from torchvision.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.errors import CheckpointError
from vidsal.model._torchvision import import_torchvision_models

__all__ = [
    "Backbone",
    "BackboneFeatures",
    "BackboneName",
    "Bottleneck",
    "DilatedResNet50",
    "DilatedVGG16",
    "LightMobileNetV2",
    "StrideIn",
    "build_backbone",
]

BackboneName = Literal["mobilenet_v2", "resnet50", "vgg16"]
StrideIn = Literal["first_1x1", "middle_3x3"]

_V15_IN_V1 = (
    "The ResNet-50 weights have no convolution biases, so they are taken for torchvision's, trained with stage 3's "
    'stride in the 3x3 convolution (v1.5); the published network has it in the first 1x1 (stride_in "first_1x1"), '
    'and fine-tuning has to make up for that. stride_in "middle_3x3" keeps the stride where it was trained.'
)


class BackboneFeatures(NamedTuple):
    """What a backbone hands on."""

    deep: torch.Tensor
    """(N, C, h, w), h = H / stride: what the recurrence works on."""
    skips: tuple[torch.Tensor, ...]
    """Finer features for a head that refines, coarse to fine; empty for the published backbones."""


class Backbone(nn.Module):
    """A network from a picture to features, with its geometry written down."""

    stride: int
    """Canvas pixels per cell of `deep`."""
    channels: int
    """Channels of `deep`."""
    skip_channels: tuple[int, ...] = ()
    """Channels of each of `skips`; each is twice as fine as the one before, the first twice as fine as `deep`."""

    def forward(self, pixels: torch.Tensor) -> BackboneFeatures:
        """Compute features of (N, 3, H, W) normalised pixels."""
        raise NotImplementedError

    def load_imagenet(self, state: dict[str, torch.Tensor]) -> tuple[str, ...]:
        """Take over ImageNet weights from a torchvision state dict of the same architecture.

        Returns:
            What a user should know about how these weights fit, a sentence each; empty where there is nothing to say.

        Raises:
            CheckpointError: if a tensor is missing or has another shape.
        """
        raise NotImplementedError


class LightMobileNetV2(Backbone):
    """MobileNetV2 (Sandler et al. 2018) to its 17th block at stride 16.

    The last stride is turned into dilation. `deep` joins the blocks at 96 and 320 channels and projects them;
    the skips are the blocks at 32 channels (stride 8) and 24 channels (stride 4).
    """

    stride = 16
    skip_channels = (32, 24)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        features = import_torchvision_models().mobilenet_v2(weights=None).features[:18]
        # Block 14 keeps its undilated kernel: it sees the same grid as before, only its stride is gone.
        features[14].conv[1][0].stride = (1, 1)
        for index in (15, 16, 17):
            depthwise = features[index].conv[1][0]
            depthwise.dilation, depthwise.padding = (2, 2), (2, 2)
        self.features = features
        self.project = nn.Sequential(
            nn.Conv2d(96 + 320, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )

    def forward(self, pixels: torch.Tensor) -> BackboneFeatures:
        """(N, 3, H, W) to deep (N, channels, H/16, W/16), skips at H/8 (32) and H/4 (24)."""
        quarter = self.features[:4](pixels)
        eighth = self.features[4:7](quarter)
        middle = self.features[7:14](eighth)
        last = self.features[14:18](middle)
        return BackboneFeatures(self.project(torch.cat([middle, last], 1)), (eighth, quarter))

    def load_imagenet(self, state: dict[str, torch.Tensor]) -> tuple[str, ...]:
        """Take the `features.*` of a torchvision MobileNetV2 state dict; there is nothing to say about the fit.

        Raises:
            CheckpointError: if a tensor is missing or has another shape.
        """
        _load_strictly(self.features, {k.removeprefix("features."): v for k, v in state.items()}, "MobileNetV2")
        return ()


class Bottleneck(nn.Module):
    """ResNet block: the stride in the first 1x1 (v1) or in the 3x3 (v1.5), the dilation in the 3x3, biases."""

    def __init__(
        self,
        inputs: int,
        width: int,
        outputs: int,
        *,
        stride: int,
        dilation: int,
        shortcut: bool,
        stride_in: StrideIn,
    ) -> None:
        super().__init__()
        first, middle = (stride, 1) if stride_in == "first_1x1" else (1, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, stride=first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=middle, padding=dilation, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs)) if shortcut else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class DilatedResNet50(Backbone):
    """The ResNet-50 of SAM-ResNet: stride 8, stage 4 dilated by 2, stage 5 by 4, then 3x3 to `channels`, ReLU."""

    stride = 8

    def __init__(self, channels: int, *, stride_in: StrideIn = "first_1x1") -> None:
        """Make it with random weights.

        Args:
            channels: channels of `deep`.
            stride_in: which convolution of stage 3's first block skips every other cell: "first_1x1" as published
                (ResNet "v1"), "middle_3x3" as torchvision trains its weights ("v1.5"). The parameters are the same.
        """
        super().__init__()
        self.channels = channels
        self.stride_in = stride_in
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        stages = []
        inputs = 64
        for width, blocks, stride, dilation in ((64, 3, 1, 1), (128, 4, 2, 1), (256, 6, 1, 2), (512, 3, 1, 4)):
            stage = nn.Sequential()
            for index in range(blocks):
                stage.append(
                    Bottleneck(
                        inputs,
                        width,
                        4 * width,
                        stride=stride if index == 0 else 1,
                        dilation=dilation,
                        shortcut=index == 0,
                        stride_in=stride_in,
                    )
                )
                inputs = 4 * width
            stages.append(stage)
        self.stages = nn.ModuleList(stages)
        self.project = nn.Conv2d(2048, channels, 3, padding=1)

    def forward(self, pixels: torch.Tensor) -> BackboneFeatures:
        """(N, 3, H, W) to deep (N, channels, H/8, W/8), no skips."""
        x = F.relu(self.bn1(self.conv1(pixels)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage in self.stages:
            x = stage(x)
        return BackboneFeatures(F.relu(self.project(x)), ())

    def load_imagenet(self, state: dict[str, torch.Tensor]) -> tuple[str, ...]:
        """Take a ResNet-50 state dict with torchvision's names.

        torchvision's convolutions have no bias, so biases become zero. Weights converted from Caffe or Keras
        ("v1") have biases; they are taken with them.

        torchvision trained its weights with stage 3's stride in the 3x3 ("v1.5"). With `stride_in="first_1x1"` the
        1x1 before it already skips every other cell, so that this 3x3 sees neighbours twice as far apart as it was
        trained on, until fine-tuning makes up for it; what is returned says so.

        Raises:
            CheckpointError: if a tensor is missing or has another shape.
        """
        renamed: dict[str, torch.Tensor] = {}
        for key, value in state.items():
            if key.startswith("fc."):
                continue
            name = key.replace("downsample.", "shortcut.")
            if name.startswith("layer"):
                name = f"stages.{int(name[5]) - 1}{name[6:]}"
            renamed[name] = value
        own = self.state_dict()
        for name, value in own.items():
            if name.startswith("project."):
                renamed[name] = value
            elif name.endswith(".bias") and name not in renamed:
                renamed[name] = torch.zeros_like(value)
        _load_strictly(self, renamed, "ResNet-50")
        if self.stride_in == "first_1x1" and "conv1.bias" not in state:
            return (_V15_IN_V1,)
        return ()


class DilatedVGG16(Backbone):
    """The VGG-16 of SAM-VGG: stride 8, pool 4 with stride 1, block 5 dilated by 2, 512 channels.

    The pools after blocks 3 and 4 pad one row and one column at the top and left, as Theano's 'same' pooling
    with an even window does: output i looks at inputs 2i-1 and 2i (stride 2) or i-1 and i (stride 1).
    """

    stride = 8
    channels = 512

    def __init__(self, channels: int = 512) -> None:
        super().__init__()
        if channels != 512:
            raise ValueError(f"VGG-16 hands on its own 512 channels, got {channels}")
        blocks = []
        inputs = 3
        for outputs, count, dilation in ((64, 2, 1), (128, 2, 1), (256, 3, 1), (512, 3, 1), (512, 3, 2)):
            block = nn.Sequential()
            for _ in range(count):
                block.append(nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation))
                block.append(nn.ReLU(inplace=True))
                inputs = outputs
            blocks.append(block)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, pixels: torch.Tensor) -> BackboneFeatures:
        """(N, 3, H, W) to deep (N, 512, H/8, W/8), no skips."""
        x = F.max_pool2d(self.blocks[0](pixels), 2)
        x = F.max_pool2d(self.blocks[1](x), 2)
        x = _pool_same_top_left(self.blocks[2](x), stride=2)
        x = _pool_same_top_left(self.blocks[3](x), stride=1)
        return BackboneFeatures(self.blocks[4](x), ())

    def load_imagenet(self, state: dict[str, torch.Tensor]) -> tuple[str, ...]:
        """Take the `features.*` of a torchvision VGG-16 state dict (without batch norm); nothing to say about the fit.

        Raises:
            CheckpointError: if a tensor is missing or has another shape.
        """
        own = list(self.state_dict())
        theirs = [key for key in state if key.startswith("features.")]
        if len(own) != len(theirs):
            raise CheckpointError(f"these are not VGG-16 weights: {len(theirs)} tensors, expected {len(own)}")
        _load_strictly(self, {name: state[key] for name, key in zip(own, theirs, strict=True)}, "VGG-16")
        return ()


def build_backbone(name: BackboneName, channels: int, *, stride_in: StrideIn = "first_1x1") -> Backbone:
    """Make a backbone with random weights that hands on `channels` channels.

    Args:
        name: which.
        channels: channels of `deep`; "vgg16" only has 512.
        stride_in: see `DilatedResNet50`; the others have no such choice.

    Raises:
        ValueError: the backbone cannot hand on `channels`, or has no stride to move.
    """
    if name == "resnet50":
        return DilatedResNet50(channels, stride_in=stride_in)
    if stride_in != "first_1x1":
        raise ValueError(f'stride_in "{stride_in}" is a choice of resnet50 only; leave it at "first_1x1" for {name}')
    return LightMobileNetV2(channels) if name == "mobilenet_v2" else DilatedVGG16(channels)


def _pool_same_top_left(x: torch.Tensor, *, stride: int) -> torch.Tensor:
    return F.max_pool2d(F.pad(x, (1, 0, 1, 0), value=float("-inf")), 2, stride=stride)


def _load_strictly(module: nn.Module, state: dict[str, torch.Tensor], what: str) -> None:
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    if missing:
        raise CheckpointError(f"these are not {what} weights: {missing[0]} and {len(missing) - 1} more are missing")
    for name, value in own.items():
        if state[name].shape != value.shape:
            raise CheckpointError(
                f"these are not {what} weights: {name} is {tuple(state[name].shape)}, expected {tuple(value.shape)}"
            )
    module.load_state_dict({name: state[name] for name in own})
