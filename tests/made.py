"""Small models and data sets that tests make for themselves."""

from __future__ import annotations

import copy
import csv
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from vidsal.model.backbones import BACKBONES, Backbone, BackboneFeatures
from vidsal.model.checkpoint import ModelCard, SaliencyModel, save_checkpoint
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig
from vidsal.preprocess import PreprocessOptions


class FourConvolutions(Backbone):
    """As deep as the tests need that ask nothing of a backbone: MobileNet's fifty layers take most of the time."""

    stride = 16
    skip_channels = (16, 8)
    exact_layers = (("quarter.0", "quarter.1"),)
    new_layers = ("project",)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

        def convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            layer = nn.Conv2d(inputs, outputs, 3 if stride < 4 else 5, stride, padding=1, bias=False)
            return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))

        self.quarter, self.eighth = convolution(3, 8, 4), convolution(8, 16, 2)
        self.deep, self.project = convolution(16, 32, 2), convolution(32, channels, 1)

    def forward(self, pixels: torch.Tensor) -> BackboneFeatures:
        quarter = self.quarter(pixels)
        eighth = self.eighth(quarter)
        return BackboneFeatures(self.project(self.deep(eighth)), (eighth, quarter))


BACKBONES["four_convolutions"] = FourConvolutions
TINY = SAMConfig("four_convolutions", recurrent_channels=8, priors=2, steps=2)  # type: ignore[arg-type]
LIGHT = SAMConfig(recurrent_channels=8, priors=2, steps=2)
"""As tiny behind a real backbone: for what only such a one has, and for processes that do not know `TINY`'s."""
CANVAS = PreprocessOptions(height=48, width=64)


def make_network(seed: int = 0, config: SAMConfig = TINY) -> SaliencyAttentiveModel:
    """A light network with random weights whose maps depend visibly on the picture and on the state."""
    network, random = _network(seed, config)
    torch.set_rng_state(random)
    return copy.deepcopy(network)


@lru_cache(maxsize=8)  # it takes seconds
def _network(seed: int, config: SAMConfig) -> tuple[SaliencyAttentiveModel, torch.Tensor]:
    """The network, and the state of the random numbers after it."""
    torch.manual_seed(seed)
    network = SaliencyAttentiveModel(config)
    # V_a starts at zero, which would hide a broken attention.
    torch.nn.init.normal_(network.recurrence.attention_score.weight, std=0.5)
    torch.nn.init.normal_(network.head.out.weight, std=0.2)  # type: ignore[union-attr, arg-type]
    # Random features fade to nothing over fifty layers: let the batch norms bring them back to unit size.
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(1, 8, 3, 64, 64))
    return network.eval(), torch.get_rng_state()


def make_model(seed: int = 0, canvas: PreprocessOptions = CANVAS) -> SaliencyModel:
    """`make_network`, ready for the pipe."""
    return SaliencyModel(make_network(seed), preprocess=canvas, card=ModelCard(name="tiny"))


def make_checkpoint(path: Path, seed: int = 0, config: SAMConfig = TINY) -> Path:
    """`make_network` as a checkpoint file."""
    save_checkpoint(path, make_network(seed, config), preprocess=CANVAS, card=ModelCard(name="tiny", licence="MIT"))
    return path


def make_stills(root: Path, *, count: int = 12, width: int = 80, height: int = 60) -> Path:
    """A set in the simple layout: a bright disc on noise, all fixations near the disc."""
    random = np.random.default_rng(7)
    (root / "images").mkdir(parents=True)
    with (root / "fixations.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["image", "width", "height", "condition", "subject", "x", "y", "duration_ms"])
        for number in range(count):
            name = f"{number:03d}.png"
            x, y = random.uniform(15, width - 15), random.uniform(15, height - 15)
            picture = random.integers(0, 90, (height, width, 3), np.uint8)
            cv2.circle(picture, (round(x), round(y)), 8, (255, 240, 230), -1)
            cv2.imwrite(str(root / "images" / name), picture)
            for viewer in range(10):
                # The stimulus is twice the stored picture.
                px, py = 2 * (x + random.normal(0, 2)), 2 * (y + random.normal(0, 2))
                condition = "free" if viewer % 2 else "driver"
                rows.writerow([name, 2 * width, 2 * height, condition, viewer, f"{px:.1f}", f"{py:.1f}", 200])
    return root
