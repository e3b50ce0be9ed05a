"""A backbone from outside, in a few lines: what the package has to know about it, it says itself."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vidsal.model.backbones import BACKBONES, Backbone, BackboneFeatures
from vidsal.model.inference import FusedConv2d, prepare_for_inference
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig


class Patches(Backbone):
    """Patches of 8x8 pixels, normalised and projected."""

    stride = 8
    has_skips = False
    exact_layers = (("cut", "norm"),)
    new_layers = ("project",)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.cut = nn.Conv2d(3, 4, 8, stride=8)
        self.norm = nn.BatchNorm2d(4)
        self.project = nn.Conv2d(4, channels, 1)

    def forward(self, pixels: torch.Tensor) -> BackboneFeatures:
        return BackboneFeatures(torch.relu(self.project(torch.relu(self.norm(self.cut(pixels))))), ())


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> SaliencyAttentiveModel:
    monkeypatch.setitem(BACKBONES, "patches", Patches)
    torch.manual_seed(0)
    network = SaliencyAttentiveModel(SAMConfig("patches", 8, 2, priors=2, head="published"))  # type: ignore[arg-type]
    network.train()(torch.randn(8, 1, 3, 48, 64))
    return network.eval()


@torch.inference_mode()
def test_a_backbone_from_outside_runs_as_it_is_and_rewritten(network: SaliencyAttentiveModel) -> None:
    frames = torch.randn(1, 2, 3, 48, 64)
    expected, _ = network(frames)
    fast, _ = prepare_for_inference(copy.deepcopy(network))(frames)
    assert expected.shape == (1, 2, 48, 64)
    assert (fast.exp() - expected.exp()).abs().max() < 1e-4 * expected.exp().max()


def test_its_exact_layers_stay_in_float32_and_no_other_does(network: SaliencyAttentiveModel) -> None:
    backbone = prepare_for_inference(network, dtype=torch.bfloat16).backbone
    assert isinstance(backbone.cut, FusedConv2d) and backbone.cut.weight.dtype == torch.float32
    assert isinstance(backbone.norm, nn.Identity)
    assert isinstance(backbone.project, FusedConv2d) and backbone.project.weight.dtype == torch.bfloat16


def test_its_new_layers_are_known_by_name(network: SaliencyAttentiveModel) -> None:
    new = {name for name, _ in network.backbone.named_parameters() if network.backbone.is_new(name)}
    assert new == {"project.weight", "project.bias"}
    assert not network.backbone.is_new("projector.weight")
