"""The network rewritten for prediction against the network as it was defined."""

from __future__ import annotations

import copy
import dataclasses
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from made import LIGHT, make_network
from torch import nn

from vidsal.model.inference import FusedConv2d, Rewrites, prepare_for_inference
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig, Unroll
from vidsal.model.winograd import WinogradKernel, Workspace, suits_winograd

CONFIGS = {
    "light": SAMConfig(recurrent_channels=256, priors=2, steps=2),
    "resnet": SAMConfig("resnet50", 256, 3, "none", 2, 2, 4, "published"),
    "vgg": SAMConfig("vgg16", 512, 2, "none", 2, 2, 4, "published"),
}


def network_of(name: str) -> SaliencyAttentiveModel:
    network = make_network(config=CONFIGS[name])
    # Rounding must not be amplified: a calm recurrence, every bias and norm at work.
    torch.nn.init.normal_(network.recurrence.attention_score.weight, std=0.02)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            torch.nn.init.uniform_(module.bias, -0.1, 0.1)
    network.head.out.bias.data.fill_(1.0)  # type: ignore[union-attr, operator]
    return network.eval()


def relative(result: torch.Tensor, expected: torch.Tensor) -> float:
    return float((result - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("rewrites", get_args(Rewrites))
@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_the_rewritten_network_gives_the_same_maps_and_state(name: str, rewrites: Rewrites) -> None:
    plain = network_of(name)
    fast = prepare_for_inference(copy.deepcopy(plain), rewrites=rewrites)
    frames = torch.randn(2, 3, 3, 48, 64)
    unroll = Unroll.of([[True, False, False], [True, True, False]], fresh_steps=plain.config.steps)
    expected, expected_state = plain(frames, unroll=unroll)
    result, state = fast(frames, unroll=unroll)
    assert expected.exp().std() > 1e-6
    assert relative(result.exp(), expected.exp()) < 1e-4
    assert relative(state.hidden, expected_state.hidden) < 1e-4
    assert relative(state.cell, expected_state.cell) < 1e-4
    carried, _ = fast(frames[:, :1], state)
    assert relative(carried.exp(), plain(frames[:, :1], expected_state)[0].exp()) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CONFIGS)
def test_no_norm_is_left_and_the_picture_and_the_map_stay_float32(name: str, dtype: torch.dtype) -> None:
    fast = prepare_for_inference(network_of(name), dtype=dtype)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    convolutions = [module for module in fast.backbone.modules() if isinstance(module, FusedConv2d)]
    kept = [module.dtype == torch.float32 for module in convolutions]
    first = 3 if name == "light" else 1
    assert all(kept[:first]) and all(k == (dtype == torch.float32) for k in kept[first:])
    assert fast.head.out.weight.dtype == torch.float32


@torch.inference_mode()
def test_no_norm_is_left_and_every_wide_3x3_goes_by_winograd() -> None:
    fast = prepare_for_inference(network_of("resnet"))
    modules = list(fast.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in modules)
    kernels = [m for m in modules if isinstance(m, FusedConv2d) and m.winograd is not None]
    # Stages 4 and 5 have 6 and 3 blocks with a 3x3 of 256 channels or more; the projection; the recurrence's four.
    assert len(kernels) == 6 + 3 + 1 + 4


def test_a_network_in_training_is_refused() -> None:
    with pytest.raises(ValueError, match="eval"):
        prepare_for_inference(network_of("light").train())


@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_bfloat16_keeps_the_maps_alike_and_the_state_in_float32(name: str) -> None:
    plain = network_of(name)
    fast = prepare_for_inference(copy.deepcopy(plain), dtype=torch.bfloat16)
    frames = F.avg_pool2d(torch.randn(4, 3, 64, 96), 9, 1, 4)[None] * 5
    expected, _ = plain(frames)
    result, state = fast(frames)
    assert result.dtype == state.hidden.dtype == state.cell.dtype == torch.float32
    pairs = zip(result.exp()[0], expected.exp()[0], strict=True)
    assert min(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) for a, b in pairs) > 0.99
    assert not torch.equal(result, expected)


@pytest.mark.parametrize(
    ("count", "height", "width", "dilation"),
    [(1, 30, 40, 1), (3, 7, 9, 1), (2, 30, 40, 2), (2, 13, 11, 4), (1, 1, 1, 1)],
)
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_winograd_is_the_convolution(count: int, height: int, width: int, dilation: int, bias: bool) -> None:
    torch.manual_seed(count + height)
    convolution = nn.Conv2d(5, 7, 3, padding=dilation, dilation=dilation, bias=bias)
    kernel = WinogradKernel(convolution.weight, dilation=dilation, workspace=Workspace())
    x = torch.randn(count, 5, height, width)
    for order in (torch.contiguous_format, torch.channels_last):
        result = kernel(x.contiguous(memory_format=order), convolution.bias)
        torch.testing.assert_close(result, convolution(x), atol=2e-6, rtol=2e-6)


@torch.inference_mode()
def test_winograd_in_bfloat16_rounds_about_as_the_direct_sum_does() -> None:
    convolution = nn.Conv2d(128, 64, 3, padding=1)
    kernel = WinogradKernel(convolution.weight, workspace=Workspace(), dtype=torch.bfloat16)
    x = torch.randn(1, 128, 30, 40)
    expected = convolution(x)
    direct = copy.deepcopy(convolution).bfloat16()(x.bfloat16()).float()
    error = float((kernel(x, convolution.bias) - expected).pow(2).mean().sqrt())
    assert 0 < error < 2 * float((direct - expected).pow(2).mean().sqrt())


def test_a_frame_in_bfloat16_goes_with_as_many_others_whatever_comes_at_once() -> None:
    """How a library rounds may depend on how many pictures it gets."""
    torch.manual_seed(5)
    network = prepare_for_inference(network_of("light"), dtype=torch.bfloat16)
    network.pixels_at_once = 3 * 48 * 64
    seen: set[tuple[str, int]] = set()
    for name, module in network.named_modules():
        if isinstance(module, FusedConv2d):
            module.register_forward_pre_hook(lambda module, given, name=name: seen.add((name, len(given[0]))))
    clip, unroll = torch.randn(1, 8, 3, 48, 64), {}
    for first, count in ((0, 8), (0, 1), (1, 2), (3, 4), (7, 1)):
        row = [place == 0 for place in range(first, first + count)]
        unroll[first, count] = Unroll.of([row], fresh_steps=2)
    with torch.inference_mode():
        whole, _ = network(clip, unroll=unroll[0, 8])
        counts = dict(seen)
        assert len(counts) == len(seen) and set(counts.values()) == {1, 3}  # a name with two counts stands twice in it
        parts, state = [], None
        for first, count in list(unroll)[1:]:
            part, state = network(clip[:, first : first + count], state, unroll=unroll[first, count])
            parts.append(part)
        assert seen == set(counts.items())
        assert torch.equal(torch.cat(parts, 1), whole)
        seen.clear()
        network(clip, unroll=unroll[0, 8], one_by_one=True)
        assert {count for _, count in seen} == {1}


@pytest.mark.parametrize("amx", [True, False])
@torch.inference_mode()
def test_bfloat16_keeps_the_maps_alike_with_and_without_matrix_units(
    amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidsal.model.inference.multiplies_bfloat16", lambda: amx)
    plain = network_of("resnet")
    fast = prepare_for_inference(copy.deepcopy(plain), dtype=torch.bfloat16)
    assert (fast.recurrence.gates_input.winograd is None) == amx  # type: ignore[attr-defined]
    clip = F.avg_pool2d(torch.randn(3, 3, 64, 96), 9, 1, 4)[None] * 5
    result, expected = fast(clip)[0].exp().flatten(), plain(clip)[0].exp().flatten()
    assert float(torch.corrcoef(torch.stack([result, expected]))[0, 1]) > 0.99


@torch.inference_mode()
def test_winograd_takes_many_pictures_in_groups() -> None:
    convolution = nn.Conv2d(4, 4, 3, padding=1)
    kernel = WinogradKernel(convolution.weight, workspace=Workspace())
    x = torch.randn(9, 4, 30, 40)  # 300 tiles each
    torch.testing.assert_close(kernel(x, convolution.bias), convolution(x), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(256, 256, 3, padding=1, stride=2),
        nn.Conv2d(256, 256, 3, padding=0),
        nn.Conv2d(256, 256, 3, padding=1, groups=2),
        nn.Conv2d(256, 256, 5, padding=2),
        nn.Conv2d(256, 128, 3, padding=1),
    ],
)
def test_other_convolutions_are_not_left_to_winograd(convolution: nn.Conv2d) -> None:
    assert not suits_winograd(convolution)


@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
@pytest.mark.parametrize("rewrites", get_args(Rewrites))
@torch.inference_mode()
def test_sums_and_activations_are_joined_in_the_right_order(activation: str, rewrites: Rewrites) -> None:
    torch.manual_seed(1)
    convolution = nn.Conv2d(256, 256, 3, padding=1)
    fused = FusedConv2d(
        convolution,
        activation=activation,  # type: ignore[arg-type]
        device=torch.device("cpu"),
        dtype=torch.float32,
        rewrites=rewrites,
        workspace=Workspace(),
    )
    x, add = torch.randn(2, 256, 6, 5), 4 * torch.randn(2, 256, 6, 5)
    after = {"none": lambda y: y, "relu": F.relu, "relu6": F.relu6}[activation]
    torch.testing.assert_close(fused(x), after(convolution(x)), atol=1e-5, rtol=1e-5)
    expected = after(convolution(x) + add)
    torch.testing.assert_close(fused(x, add.clone()), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("asked", "at_once"), [(1, 1), (2, 2), (3, 3), (4, 4), (100, 4)])
def test_frames_go_through_the_backbone_in_portions_with_the_same_maps(asked: int, at_once: int) -> None:
    network = prepare_for_inference(make_network(config=LIGHT))
    frames = torch.randn(1, 5, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    seen: list[int] = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    network.pixels_at_once = None
    whole, _ = network(frames)
    network.pixels_at_once = asked * 64 * 64 + 1
    parts, _ = network(frames)
    assert relative(parts.exp(), whole.exp()) < 1e-4
    assert seen == [5, *([at_once] * (5 // at_once)), *([5 % at_once] if 5 % at_once else [])]


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["mobilenet_v2", "efficientnet_lite0"])
def test_on_a_cpu_the_largest_layers_get_one_picture_after_the_other_with_the_same_maps(backbone: str) -> None:
    config = dataclasses.replace(LIGHT, backbone=backbone)
    plain = make_network(config=config)
    network = prepare_for_inference(copy.deepcopy(plain))
    frames = torch.randn(1, 3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    seen: set[tuple[int, int]] = set()
    for module in network.backbone.modules():
        if isinstance(module, FusedConv2d):
            module.register_forward_hook(lambda _, given, made: seen.add((made.shape[-1], len(made))))
    expected, _ = plain(frames)
    assert relative(network(frames)[0].exp(), expected.exp()) < 1e-4
    assert {count for side, count in seen if side == 32} == {1} and {count for side, count in seen if side < 16} == {3}
    assert not plain.backbone.first_layers_alone and network.backbone.first_layers_alone
