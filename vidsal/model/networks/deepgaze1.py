"""DeepGaze I: one linear readout of AlexNet's last convolution, blurred, with a centre bias."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import (
    BiasedNetwork,
    Pretrained,
    centre_bias,
    with_edges,
)
from vidsal.stages import PreprocessOptions

__all__ = ["DeepGaze1"]

# Of the halved picture: the least that leaves a cell after the pools, whose middle is then the picture's.
_LEAST = 31


class DeepGaze1(BiasedNetwork):
    """Kümmerer, Theis and Bethge, "Deep Gaze I: boosting saliency prediction with feature maps trained on ImageNet",
    ICLR workshop 2015 (arXiv 1411.1045).

    As in the version that the authors trained anew in PyTorch: the picture halved (nearest), AlexNet as torchvision has
    it, its fifth convolution before the ReLU at 1/8 of the picture (nearest), one weight for each of its 256 channels
    and no bias, enlarged to a quarter of the picture (nearest), blurred by a Gaussian of learned width that starts at
    8, the log of a centre bias added with a learned weight that starts at 1, a softmax over the picture. AlexNet is not
    trained; the loss is `log-likelihood`. The first version of 2015 read all layers of Caffe's AlexNet, with a penalty
    on the weights.

    Different: the authors' centre bias is estimated from the fixations of MIT1003; here it is Clarke and Tatler's
    Gaussian, unless `--centre-bias` names the file of theirs, or has one estimated from the fixations that are trained
    on. The edges of a picture with fewer than 62 pixels a side are repeated around it.
    """

    preprocess = PreprocessOptions(height=1024, width=1024, fit="inside", cells=4)
    """torchvision's input; pictures of at most 1024 pixels a side, which is about 35 a degree in the authors' data."""
    stride = 4

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.backbone = AlexNet(config)
        self.readout = nn.Conv2d(config.channels(256), 1, 1, bias=False)

    def stages(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 3, H, W) to "biased", (N, 1, H / 4, W / 4), logits with the centre bias, with what is between."""
        height, width = pictures.shape[-2:]
        seen = self.backbone(with_edges(pictures[..., ::2, ::2], _LEAST, _LEAST)[0])
        features = F.interpolate(seen, size=(math.ceil(height / 8), math.ceil(width / 8)), mode="nearest")
        x = self.readout(features)
        # Of the picture's own centre bias every fourth row and column, as the authors have it.
        bias = self.own_bias(pictures, every=4)
        if bias is None:
            bias = centre_bias(height, width, device=pictures.device)[::4, ::4]
        return {"conv5": seen, "features": features, "readout": x, **self.finished(x, bias)}


class AlexNet(Pretrained):
    """The convolutions of torchvision's AlexNet, the last one without its ReLU.

    Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv 1404.5997, 2014.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        first, second, third, fourth, fifth = map(config.channels, (64, 192, 384, 256, 256))
        # In torchvision's order, so that its names fit.
        self.features = nn.Sequential(
            nn.Conv2d(3, first, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(first, second, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(second, third, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(third, fourth, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(fourth, fifth, 3, padding=1),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W), H and W at least 31, to (N, 256, about H / 16, about W / 16)."""
        features: torch.Tensor = self.features(pictures)
        return features

    def load_torchvision(self, state: dict[str, torch.Tensor]) -> None:
        """Take over the convolutions of torchvision's `alexnet`; see `Pretrained.load_torchvision`."""
        self.take_over(self.features, state, prefix="features.", source="torchvision's alexnet")
