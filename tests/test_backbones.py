"""The backbones against torchvision's own networks with the same weights, strides and dilations moved by hand.

EfficientNet-Lite is judged by its published description, written again below as plain functions of a state dict.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made import CANVAS, TINY
from torchvision_models import import_torchvision_models

from vidsal.errors import CheckpointError, ConfigError
from vidsal.model.backbones import (
    BACKBONES,
    BackboneName,
    DilatedResNet50,
    EfficientNetLite,
    EfficientNetLite1,
    EfficientNetLite2,
    build_backbone,
)
from vidsal.model.checkpoint import ModelCard, read_checkpoint, save_checkpoint
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig
from vidsal.preprocess import Preprocessor

SIZE = 64
LITES = {"lite0": EfficientNetLite, "lite1": EfficientNetLite1, "lite2": EfficientNetLite2}


@pytest.fixture(scope="module")
def theirs() -> Any:
    """torchvision's ResNet-50 with random weights and statistics that keep fifty layers at unit size."""
    torch.manual_seed(2)
    network = import_torchvision_models().resnet50(weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, SIZE, SIZE))
    return network.eval()


@torch.no_grad()
def stages(ours: DilatedResNet50, pixels: torch.Tensor) -> list[torch.Tensor]:
    x = F.max_pool2d(F.relu(ours.bn1(ours.conv1(pixels))), 3, stride=2, padding=1)
    made = []
    for stage in ours.stages:
        x = stage(x)
        made.append(x)
    return made


@torch.no_grad()
def layers(theirs: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(pixels))))
    made = []
    for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        x = layer(x)
        made.append(x)
    return made


def pixels() -> torch.Tensor:
    return torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


def test_with_the_stride_in_the_3x3_the_undilated_stages_are_torchvisions_own(theirs: Any) -> None:
    moved, published = DilatedResNet50(4, stride_in="middle_3x3").eval(), DilatedResNet50(4).eval()
    assert moved.load_imagenet(theirs.state_dict()) == ()
    (note,) = published.load_imagenet(theirs.state_dict())
    assert "v1.5" in note and "middle_3x3" in note
    wanted = layers(theirs, pixels())
    ours, other = stages(moved, pixels()), stages(published, pixels())
    for stage in (0, 1):
        torch.testing.assert_close(ours[stage], wanted[stage], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other[0], wanted[0], atol=1e-5, rtol=1e-5)
    # The judge sees where the stride is: same shape, other values.
    assert other[1].shape == wanted[1].shape and (other[1] - wanted[1]).abs().max() > 0.1


@pytest.mark.parametrize("stride_in", ["first_1x1", "middle_3x3"])
def test_a_torchvision_network_with_its_strides_and_dilations_moved_is_ours(theirs: Any, stride_in: str) -> None:
    changed = copy.deepcopy(theirs)
    if stride_in == "first_1x1":
        changed.layer2[0].conv1.stride, changed.layer2[0].conv2.stride = (2, 2), (1, 1)
    for layer, dilation in ((changed.layer3, 2), (changed.layer4, 4)):
        layer[0].conv2.stride = layer[0].downsample[0].stride = (1, 1)
        for block in layer:
            block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    ours = DilatedResNet50(4, stride_in=stride_in).eval()  # type: ignore[arg-type]
    ours.load_imagenet(theirs.state_dict())
    for own, wanted in zip(stages(ours, pixels()), layers(changed, pixels()), strict=True):
        torch.testing.assert_close(own, wanted, atol=1e-4, rtol=1e-4)


def test_biases_are_zero_after_torchvisions_weights_and_taken_where_a_file_has_them(theirs: Any) -> None:
    ours = DilatedResNet50(4)
    with torch.no_grad():
        for name, value in ours.named_parameters():
            if name.endswith(".bias"):
                value.fill_(7.0)
    ours.load_imagenet(theirs.state_dict())
    modules = [(name, module) for name, module in ours.named_modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(modules) == 54
    for name, module in modules:
        assert module.bias is not None
        assert module.bias.eq(7.0 if name == "project" else 0.0).all(), name
    # Weights of the first ResNet, converted from Caffe or Keras, come with biases and fit: nothing to say.
    biases = {}
    for key, value in theirs.state_dict().items():
        if value.ndim == 4:
            biases[key.replace(".weight", ".bias")] = torch.full((len(value),), 0.5)
    assert len(biases) == 53 and ours.load_imagenet(theirs.state_dict() | biases) == ()
    state = ours.state_dict()
    assert state["stages.1.0.shortcut.0.bias"].eq(0.5).all() and state["conv1.bias"].eq(0.5).all()


def test_the_place_of_the_stride_travels_with_a_checkpoint(tmp_path: Any) -> None:
    config = SAMConfig("resnet50", 2, 1, "none", 1, 1, 1, "published", stride_in="middle_3x3")
    network = SaliencyAttentiveModel(config)
    assert network.backbone.stages[1][0].conv2.stride == (2, 2)  # type: ignore[index]
    save_checkpoint(tmp_path / "a.safetensors", network, preprocess=CANVAS, card=ModelCard(name="a"))
    again = read_checkpoint(tmp_path / "a.safetensors")[0]
    assert again.config == config and again.backbone.stages[1][0].conv1.stride == (1, 1)  # type: ignore[index]


@pytest.mark.parametrize("backbone", ["vgg16", "mobilenet_v2"])
def test_a_backbone_without_that_choice_refuses_it(backbone: Any) -> None:
    head = "refine" if backbone == "mobilenet_v2" else "published"
    with pytest.raises(ValueError, match=f"stride_in must be first_1x1 for {backbone}"):
        SAMConfig(backbone, 512, head=head, stride_in="middle_3x3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"stride_in must be first_1x1 for {backbone}"):
        build_backbone(backbone, 512, stride_in="middle_3x3")
    with pytest.raises(ConfigError, match="stride_in must be one of first_1x1, middle_3x3"):
        SAMConfig("resnet50", 8, head="published", stride_in="shortcut")  # type: ignore[arg-type]


def test_every_name_of_a_backbone_is_in_the_table_and_no_other_is_taken() -> None:
    assert tuple(name for name in BACKBONES if name != TINY.backbone) == get_args(BackboneName)
    with pytest.raises(ValueError, match=r"must be one of mobilenet_v2, .*got 'resnet'"):
        SAMConfig("resnet")  # type: ignore[arg-type]


# EfficientNet-Lite: what the published code decodes its block strings to, channels and repeats rounded by hand.
# In each row: repeats, kernel, stride, expansion, channels.
PUBLISHED_STAGES = {
    "lite0": [
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    ],
    "lite1": [
        (1, 3, 1, 1, 16),
        (3, 3, 2, 6, 24),
        (3, 5, 2, 6, 40),
        (4, 3, 2, 6, 80),
        (4, 5, 1, 6, 112),
        (5, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    ],
    "lite2": [
        (1, 3, 1, 1, 16),
        (3, 3, 2, 6, 24),
        (3, 5, 2, 6, 48),
        (4, 3, 2, 6, 88),
        (4, 5, 1, 6, 120),
        (5, 5, 2, 6, 208),
        (1, 3, 1, 6, 352),
    ],
}
State = dict[str, torch.Tensor]


def published_lite(size: str) -> State:
    """Random weights by the published names, of a size that lets every block be heard."""
    random = torch.Generator().manual_seed(5)
    state: State = {}

    def convolution(name: str, outputs: int, inputs: int, kernel: int) -> None:
        state[f"{name}.weight"] = (
            torch.randn(outputs, inputs, kernel, kernel, generator=random) * (2 / (inputs * kernel**2)) ** 0.5
        )

    def norm(name: str, channels: int) -> None:
        state[f"{name}.weight"] = 0.5 + torch.rand(channels, generator=random)
        state[f"{name}.bias"] = torch.rand(channels, generator=random) - 0.3
        state[f"{name}.running_mean"] = torch.rand(channels, generator=random) - 0.5
        state[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=random)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("_conv_stem", 32, 3, 3)
    norm("_bn0", 32)
    inputs, block = 32, 0
    for repeats, kernel, _, expansion, channels in PUBLISHED_STAGES[size]:
        for _ in range(repeats):
            width = expansion * inputs
            if expansion > 1:
                convolution(f"_blocks.{block}._expand_conv", width, inputs, 1)
                norm(f"_blocks.{block}._bn0", width)
            convolution(f"_blocks.{block}._depthwise_conv", width, 1, kernel)
            norm(f"_blocks.{block}._bn1", width)
            convolution(f"_blocks.{block}._project_conv", channels, width, 1)
            norm(f"_blocks.{block}._bn2", channels)
            inputs, block = channels, block + 1
    convolution("_conv_head", 1280, inputs, 1)
    norm("_bn1", 1280)
    state["_fc.weight"], state["_fc.bias"] = torch.zeros(1000, 1280), torch.zeros(1000)
    return state


def same(x: torch.Tensor, weight: torch.Tensor, *, stride: int = 1) -> torch.Tensor:
    """TensorFlow's convolution with padding "SAME": the surplus is split, its odd one goes to the right and below."""
    kernel, pads = weight.shape[-1], []
    for length in (x.shape[-1], x.shape[-2]):
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        pads += [total // 2, total - total // 2]
    groups = x.shape[1] // weight.shape[1]
    return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)


def normed(x: torch.Tensor, state: State, name: str) -> torch.Tensor:
    values = [state[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")]
    mean, variance, weight, bias = values
    return (x - mean) / (variance + 1e-3).sqrt() * weight + bias


@torch.no_grad()
def published_forward(state: State, size: str, pixels: torch.Tensor) -> list[torch.Tensor]:
    """What each stage makes, at strides 2, 4, 8, 16, 16, 32, 32."""
    x = normed(same(pixels, state["_conv_stem.weight"], stride=2), state, "_bn0").clamp(0, 6)
    made, block = [], 0
    for repeats, _, first, expansion, _ in PUBLISHED_STAGES[size]:
        for index in range(repeats):
            name, stride = f"_blocks.{block}", first if index == 0 else 1
            y = x
            if expansion > 1:
                y = normed(same(y, state[f"{name}._expand_conv.weight"]), state, f"{name}._bn0").clamp(0, 6)
            y = same(y, state[f"{name}._depthwise_conv.weight"], stride=stride)
            y = normed(y, state, f"{name}._bn1").clamp(0, 6)
            y = normed(same(y, state[f"{name}._project_conv.weight"]), state, f"{name}._bn2")
            x = x + y if stride == 1 and x.shape == y.shape else y
            block += 1
        made.append(x)
    return made


@pytest.mark.parametrize("size", PUBLISHED_STAGES)
def test_every_other_cell_of_the_lite_backbone_is_the_published_network_at_its_own_stride(size: Any) -> None:
    state = {name: value.double() for name, value in published_lite(size).items()}
    ours = LITES[size](8).double().eval()
    assert ours.load_imagenet(state) == ()
    canvas = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(6)).double()
    wanted = published_forward(state, size, canvas)
    with torch.no_grad():
        made = ours.each_stage(canvas)
    assert [96 // stage.shape[-1] for stage in made] == [2, 4, 8, 16, 16, 16, 16]
    for own, theirs in zip(made[:5], wanted[:5], strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-9, rtol=1e-9)
    for own, theirs in zip(made[5:], wanted[5:], strict=True):
        assert theirs.std() > 0.1 and theirs.shape[-2:] == (2, 3)
        torch.testing.assert_close(own[..., 1::2, 1::2], theirs, atol=1e-9, rtol=1e-9)
        # The judge sees which cells: those between hold something else.
        assert (own[..., ::2, ::2] - theirs).abs().max() > 0.1


@torch.no_grad()
@pytest.mark.parametrize(("size", "skips"), [("lite0", (40, 24)), ("lite1", (40, 24)), ("lite2", (48, 24))])
def test_the_lite_backbone_hands_on_its_third_and_second_stage(size: Any, skips: tuple[int, int]) -> None:
    ours = build_backbone(f"efficientnet_{size}", 12).eval()  # type: ignore[arg-type]
    assert isinstance(ours, EfficientNetLite)
    canvas = torch.randn(1, 3, 48, 64)
    features, made = ours(canvas), ours.each_stage(canvas)
    assert features.deep.shape == (1, 12, 3, 4) and ours.stride == 16
    assert ours.skip_channels == skips == tuple(skip.shape[1] for skip in features.skips)
    assert torch.equal(features.skips[0], made[2]) and torch.equal(features.skips[1], made[1])
    assert [skip.shape[-1] for skip in features.skips] == [8, 16]


@pytest.mark.parametrize(("size", "millions"), [("lite0", 4.652008), ("lite1", 5.41668), ("lite2", 6.092072)])
def test_the_lite_backbone_with_its_classifier_has_the_published_number_of_parameters(
    size: Any, millions: float
) -> None:
    ours = LITES[size](4)
    own = sum(value.numel() for name, value in ours.named_parameters() if not name.startswith("project."))
    last = ours.stages[6][0].reduce[0].out_channels  # type: ignore[index]
    classifier = last * 1280 + 2 * 1280 + 1281 * 1000
    assert (own + classifier) / 1e6 == pytest.approx(millions, abs=1e-9)


def test_weights_of_another_network_are_refused_by_the_lite_backbone() -> None:
    ours = EfficientNetLite2(4)
    with pytest.raises(CheckpointError, match="not EfficientNet-Lite2 weights"):
        ours.load_imagenet(published_lite("lite0"))
    mobile = import_torchvision_models().mobilenet_v2(weights=None).state_dict()
    with pytest.raises(CheckpointError, match="missing"):
        ours.load_imagenet(mobile)


def test_imagenet_weights_of_the_lite_backbone_want_pixels_less_127_over_128() -> None:
    picture = np.full((1, 48, 64, 3), (255, 127, 63), np.uint8)
    options = dataclasses.replace(EfficientNetLite.imagenet_input, height=48, width=64)
    shown = Preprocessor(options)(picture)
    torch.testing.assert_close(shown[0, :, 0, 0], torch.tensor([1.0, 0.0, -0.5]))
    assert build_backbone("mobilenet_v2", 8).imagenet_input != EfficientNetLite.imagenet_input
