"""DeepGaze II: a small readout of fixed features of VGG-19, blurred, with a centre bias."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import VGG, BiasedNetwork, centre_bias
from vidsal.stages import PreprocessOptions

__all__ = ["DeepGaze2"]

_FEATURES = ("conv5_1", "relu5_1", "relu5_2", "conv5_3", "relu5_4")
_READOUT = (16, 32, 2, 1)


class DeepGaze2(BiasedNetwork):
    """Kümmerer, Wallis and Bethge, "DeepGaze II: reading out fixations from deep features trained on object
    recognition", arXiv 1610.01563, 2016.

    Built in the frame of the authors' later PyTorch code: the picture halved (nearest), VGG-19 with pools that round
    up, five layers of block 5 at 1/32 of the picture, a readout, enlarged to half the picture (nearest), blurred by a
    Gaussian of learned width that starts at 8, the log of a centre bias added with a learned weight that starts at 1,
    a softmax over the picture. VGG is not trained; the loss is `log-likelihood`.

    Assumed: the readout's layers are 1x1 convolutions to 16, 32, 2 and 1 channels, a ReLU after each but the last. The
    authors' VGG is rescaled so that each channel has a mean of 1; here it is as it comes, which a retrained readout
    makes up for. Their centre bias is estimated from the fixations of MIT1003; here it is Clarke and Tatler's
    Gaussian, unless `--centre-bias` names the file of theirs, or has one estimated from the fixations that are trained
    on.
    """

    preprocess = PreprocessOptions(height=1024, width=1024, fit="inside", cells=2)
    """torchvision's input; pictures of at most 1024 pixels a side, which is about 35 a degree in the authors' data."""
    stride = 2

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        pool = nn.MaxPool2d(2, ceil_mode=True)
        self.backbone = VGG(config, 19, (pool, pool, pool, pool))
        inputs = len(_FEATURES) * config.channels(512)
        layers = []
        for outputs in _READOUT:
            layers.append(nn.Conv2d(inputs, outputs, 1))
            inputs = outputs
        self.readout = nn.ModuleList(layers)

    def stages(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 3, H, W) to "biased", (N, 1, H / 2, W / 2), logits with the centre bias, with what is between."""
        height, width = pictures.shape[-2:]
        seen = self.backbone(pictures[..., ::2, ::2])
        cells = (math.ceil(height / 32), math.ceil(width / 32))
        features = torch.cat([F.interpolate(seen[name], size=cells, mode="nearest") for name in _FEATURES], 1)
        x = features
        for place, layer in enumerate(self.readout):
            x = layer(x) if place == len(_READOUT) - 1 else F.relu(layer(x))
        bias = self.own_bias(pictures, every=2)
        if bias is None:
            bias = centre_bias(math.ceil(height / 2), math.ceil(width / 2), device=pictures.device)
        return {**seen, "features": features, "readout": x, **self.finished(x, bias)}
