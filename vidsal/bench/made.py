"""Input that the benchmark makes for itself: pictures that move, a clip of them, a network with random weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidsal.files import local_name
from vidsal.model.backbones import Bottleneck
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig
from vidsal.preprocess import PreprocessOptions, Preprocessor

__all__ = ["HEIGHT", "RATE", "WIDTH", "make_clip", "make_pictures", "random_network"]

HEIGHT, WIDTH = 720, 1280
RATE = 25
# Size of a residual branch beside its trunk in networks with random weights.
_BRANCH_SCALE = 0.1


def make_pictures(count: int, *, height: int = HEIGHT, width: int = WIDTH) -> Iterator[npt.NDArray[np.uint8]]:
    """`count` (height, width, 3) uint8 pictures: discs that move over a still that shakes, not trivial to encode."""
    random = np.random.default_rng(0)
    still = cv2.GaussianBlur(random.integers(0, 255, (height + 40, width + 40, 3), np.uint8), (0, 0), 3)
    for number in range(count):
        dx, dy = int(20 + 19 * math.sin(number / 20)), int(20 + 19 * math.cos(number / 27))
        picture = np.ascontiguousarray(still[dy : dy + height, dx : dx + width])
        for disc in range(4):
            angle = number / 30 + disc * 1.7
            x, y = width * (0.5 + 0.31 * math.cos(angle)), height * (0.5 + 0.31 * math.sin(1.3 * angle))
            cv2.circle(picture, (int(x), int(y)), height // 12, (40 * disc + 60, 220 - 40 * disc, 120), -1)
        yield np.asarray(picture, np.uint8)


def make_clip(path: Path, *, seconds: float, height: int = HEIGHT, width: int = WIDTH) -> Path:
    """Write `make_pictures` as H.264 of 25 frames a second; returns `path`."""
    with av.open(local_name(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in make_pictures(max(1, round(RATE * seconds)), height=height, width=width):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def random_network(
    config: SAMConfig, *, preprocess: PreprocessOptions | None = None, seed: int = 0
) -> SaliencyAttentiveModel:
    """A network for measuring where there are no weights: in evaluation mode, activations of about unit size.

    Args:
        config: the network.
        preprocess: what its input looks like; None takes the defaults.
        seed: of the weights.

    The recurrence is as its authors initialise it, but for V_a (normal, sigma .01, theirs is zero). Everything else is
    scaled on made pictures, layer by layer, so that nothing fades to denormal numbers (a CPU is ten times as slow with
    those), and the first convolution with priors so that the picture decides over the map, too. The branches of
    ResNet's blocks are small beside its trunk, as in trained networks: at equal size, fifty random layers multiply
    any rounding error by a hundred.
    """
    with torch.random.fork_rng(devices=[]), ExitStack() as hooks:
        torch.manual_seed(seed)
        network = SaliencyAttentiveModel(config).train()
        nn.init.normal_(network.recurrence.attention_score.weight, std=0.01)
        recurrence = set(network.recurrence.modules())
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        hooks.enter_context(network.prior_convolutions[0].register_forward_pre_hook(_level_features))
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module not in recurrence:
                hooks.enter_context(module.register_forward_hook(_to_unit_size))
            if isinstance(module, Bottleneck):
                nn.init.constant_(module.bn3.weight, _BRANCH_SCALE)
        for norm in norms:
            # With momentum 1 a norm remembers these pictures alone.
            norm.momentum = 1.0
        # A small canvas will do for the scales.
        small = dataclasses.replace(preprocess or PreprocessOptions(), height=96, width=128)
        pictures = np.stack(list(make_pictures(16, height=180, width=320))[::8])
        with torch.no_grad():
            network(Preprocessor(small)(pictures)[:, None])
    for norm in norms:
        norm.momentum = 0.1
    return network.eval()


def _to_unit_size(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    """Scale a convolution so that what it makes has the standard deviation 1."""
    scale = 1.0 / float(output.std())
    for parameter in module.parameters():
        parameter.mul_(scale)
    return output * scale


def _level_features(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
    """Weighs the features among the inputs up to unit size; the priors after them have it."""
    channels = module.out_channels
    module.weight[:, :channels] /= inputs[0][:, :channels].square().mean().sqrt()
