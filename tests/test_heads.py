"""The heads: what each upsampler does, by its definition and by hand; new pairs of backbone and head, rewritten."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from made import CANVAS, make_network
from torch import nn

from vidsal.errors import ConfigError
from vidsal.model.backbones import BACKBONES, BackboneName
from vidsal.model.checkpoint import ModelCard, read_checkpoint, save_checkpoint
from vidsal.model.heads import HeadName, ReadoutHead, Upsampler, build_head
from vidsal.model.inference import prepare_for_inference
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig

READOUTS = [name for name in get_args(HeadName) if name.startswith("readout_")]
LIGHT = [name for name in get_args(BackboneName) if BACKBONES[name].has_skips]
SIZE = (48, 64)


def readout(upsampler: Upsampler, channels: int = 16, stride: int = 16) -> ReadoutHead:
    torch.manual_seed(1)
    return ReadoutHead(channels, upsampler=upsampler, stride=stride).eval()


def features(channels: int = 16, rows: int = 3, columns: int = 4) -> torch.Tensor:
    return torch.randn(2, channels, rows, columns, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
@pytest.mark.parametrize("upsampler", get_args(Upsampler))
def test_a_readout_makes_a_density_that_depends_on_the_features(upsampler: Upsampler) -> None:
    head, x = readout(upsampler), features()
    log_density = head(x, (), SIZE)
    assert log_density.shape == (2, *SIZE) and log_density.dtype == torch.float32
    torch.testing.assert_close(log_density.exp().sum((1, 2)), torch.ones(2))
    assert (log_density[0] - log_density[1]).abs().max() > 1e-3


@torch.no_grad()
def test_a_bilinear_readout_is_one_convolution_and_interpolation_alone() -> None:
    head, x = readout("bilinear"), features()
    assert [name for name, _ in head.named_parameters()] == ["out.weight", "out.bias"]
    logits = torch.einsum("c,nchw->nhw", head.out.weight[0, :, 0, 0], x)[:, None]
    wanted = F.interpolate(logits, size=SIZE, mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(head(x, (), SIZE), wanted.flatten(1).log_softmax(1).view_as(wanted))
    # A bias shifts all logits alike: the density stays.
    before = head(x, (), SIZE)
    head.out.bias.add_(3.0)  # type: ignore[union-attr]
    torch.testing.assert_close(head(x, (), SIZE), before)


@torch.no_grad()
def test_a_level_of_deconvolution_spreads_each_cell_by_the_kernel() -> None:
    head = readout("deconvolution")
    convolution = head.levels[0][0]  # type: ignore[index]
    assert isinstance(convolution, nn.ConvTranspose2d)
    assert [level[0].out_channels for level in head.levels] == [128, 64]  # type: ignore[index]
    convolution.bias.zero_()  # type: ignore[union-attr]
    convolution.weight.abs_()
    x = torch.zeros(1, 16, 3, 4)
    x[0, 5, 1, 2] = 2.0
    wanted = torch.zeros(1, 128, 6, 8)
    # By definition: cell (i, j) writes the kernel to rows 2 i - 1 ... 2 i + 2 and columns 2 j - 1 ... 2 j + 2.
    wanted[0, :, 1:5, 3:7] = 2.0 * convolution.weight[5]
    torch.testing.assert_close(head.levels[0](x), wanted)


@torch.no_grad()
def test_a_level_of_sub_pixels_makes_four_channels_the_four_pixels_of_a_cell() -> None:
    head = readout("subpixel")
    shuffle, convolution, _ = head.levels[0]  # type: ignore[misc]
    assert [level[1].in_channels for level in head.levels] == [4, 1]  # type: ignore[index]
    assert convolution.in_channels == convolution.out_channels == 4
    x = features()
    shuffled = shuffle(x)
    for row in (0, 1):
        for column in (0, 1):
            assert torch.equal(shuffled[:, :, row::2, column::2], x[:, 2 * row + column :: 4])


@pytest.mark.parametrize(("stride", "levels"), [(4, 0), (8, 1), (16, 2)])
@pytest.mark.parametrize("upsampler", ["deconvolution", "subpixel"])
def test_learned_upsamplers_go_to_a_quarter_of_the_canvas(upsampler: Any, stride: int, levels: int) -> None:
    head = readout(upsampler, channels=16, stride=stride)
    x = torch.zeros(1, 16, 64 // stride, 64 // stride)
    for level in head.levels:
        x = level(x)
    assert len(head.levels) == levels and x.shape[-1] == 16


def test_sub_pixels_need_channels_that_can_be_shared_out() -> None:
    with pytest.raises(ValueError, match="multiple of 16 recurrent channels"):
        SaliencyAttentiveModel(SAMConfig(recurrent_channels=24, head="readout_subpixel"))
    with pytest.raises(ValueError, match="known are published, refine"):
        build_head("refined", 8, stride=16, skip_channels=())  # type: ignore[arg-type]


@pytest.mark.parametrize("backbone", ["resnet50", "vgg16"])
def test_only_the_head_that_refines_needs_finer_features(backbone: BackboneName) -> None:
    with pytest.raises(ConfigError, match="finer features"):
        SAMConfig(backbone, 512, head="refine")
    for head in READOUTS:
        SAMConfig(backbone, 512, head=head)


def config_of(backbone: Any, head: Any) -> SAMConfig:
    return SAMConfig(backbone, 64, 2, priors=2, head=head)


def network_of(backbone: str, head: str) -> SaliencyAttentiveModel:
    """Random weights whose rounding is not amplified: a calm recurrence, every norm at work."""
    network = make_network(config=config_of(backbone, head))
    nn.init.normal_(network.recurrence.attention_score.weight, std=0.02)
    for module in network.head.modules():
        # Without norms torch's own draws fade to a flat map.
        if isinstance(network.head, ReadoutHead) and isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, std=0.2)
    return network.eval()


PAIRS = [(backbone, head) for backbone in LIGHT[1:] for head in ("refine", "readout_subpixel")]
PAIRS += [("mobilenet_v2", "readout_bilinear"), ("mobilenet_v2", "readout_deconvolution")]


@pytest.mark.parametrize(("backbone", "head"), PAIRS)
@torch.inference_mode()
def test_a_rewritten_network_gives_the_same_maps_and_nearly_so_in_bfloat16(backbone: str, head: str) -> None:
    plain = network_of(backbone, head)
    frames = F.avg_pool2d(torch.randn(3, 3, 48, 64, generator=torch.Generator().manual_seed(3)), 5, 1, 2)[None] * 3
    wanted, _ = plain(frames)
    assert wanted.exp().std() > 1e-6
    fast, _ = prepare_for_inference(copy.deepcopy(plain))(frames)
    assert float((fast.exp() - wanted.exp()).abs().max() / wanted.exp().max()) < 1e-4
    half = prepare_for_inference(copy.deepcopy(plain), dtype=torch.bfloat16)
    assert half.head.out.weight.dtype == torch.float32
    coarse, state = half(frames)
    assert coarse.dtype == state.hidden.dtype == torch.float32 and not torch.equal(coarse, wanted)
    pairs = zip(coarse[0].exp(), wanted[0].exp(), strict=True)
    alike = [float(torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1]) for ours, theirs in pairs]
    # Random weights: rounding may move a map of a deep network a little more now and then.
    assert min(alike) > 0.9 and sorted(alike)[1] > 0.95
    assert not any(isinstance(module, nn.BatchNorm2d) for module in half.modules())


@pytest.mark.parametrize("head", READOUTS)
def test_every_weight_of_a_readout_gets_a_gradient(head: str) -> None:
    network = network_of("mobilenet_v2", head).train()
    log_density, _ = network(torch.randn(2, 1, 3, 48, 64))
    (log_density.exp() * torch.randn(48, 64)).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.head.named_parameters():
        # A bias of the last convolution shifts all logits alike.
        if name != "out.bias":
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@torch.inference_mode()
def test_backbone_and_head_travel_with_a_checkpoint(tmp_path: Any) -> None:
    network = network_of("efficientnet_lite0", "readout_deconvolution")
    options = dataclasses.replace(network.backbone.imagenet_input, height=CANVAS.height, width=CANVAS.width)
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, network, preprocess=options, card=ModelCard(name="a"), dtype=torch.float32)
    again, preprocess, _ = read_checkpoint(path)
    assert again.config == network.config and preprocess == options
    frames = torch.randn(1, 1, 3, 48, 64)
    assert torch.equal(again(frames)[0], network(frames)[0])


def test_the_default_head_keeps_the_names_of_its_weights() -> None:
    head = build_head("refine", 8, stride=16, skip_channels=(32, 24))
    beginnings = {name.split(".")[0] for name in head.state_dict()}
    assert beginnings == {"reduce", "lateral", "mix", "out"}
    assert set(build_head("published", 8, stride=8, skip_channels=()).state_dict()) == {"out.weight", "out.bias"}
