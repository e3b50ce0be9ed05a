"""SalNet: nine convolutions and a transposed one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.heads import log_of_relevance
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import PictureNetwork
from vidsal.stages import PreprocessOptions

__all__ = ["SalNet"]

# Name, kernel, channels.
_LAYERS = (
    *(("conv1", 7, 96), ("conv2", 5, 256), ("conv3", 3, 512), ("conv4", 5, 512), ("conv5", 5, 512)),
    *(("conv6", 7, 256), ("conv7", 11, 128), ("conv8", 11, 32), ("conv9", 13, 1)),
)


class SalNet(PictureNetwork):
    """The deep network of Pan, McGuinness, Sayrol, O'Connor and Giro-i-Nieto, "Shallow and deep convolutional networks
    for saliency prediction", CVPR 2016.

    As in the authors' Caffe files: layers, local response normalisation, pools that round up, and the output
    128 x + 127 cut to 0..255. Different: bilinear enlargement to the canvas, and a millionth of the mean is added; in
    training a picture lies on a canvas of 320x320 with black bars, whose cells do not count in the loss.
    """

    preprocess = PreprocessOptions(
        height=320,
        width=320,
        channel_order="bgr",
        divisor=127.5,
        mean=(100 / 127.5, 110 / 127.5, 118 / 127.5),
        std=(1.0, 1.0, 1.0),
        resize="bilinear",
        blur_pixels=1.1,
        fit="inside",
    )
    """The authors' input."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        inputs = 3
        for name, kernel, published in _LAYERS:
            outputs = 1 if published == 1 else config.channels(published)
            self.add_module(name, nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2))
            inputs = outputs
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.deconv1 = nn.ConvTranspose2d(1, 1, 8, stride=4, padding=2, bias=False)
        # It only enlarges at first: the triangle of a bilinear one.
        triangle = 1 - (torch.arange(8) - 3.5).abs() / 4
        with torch.no_grad():
            self.deconv1.weight.copy_(torch.outer(triangle, triangle))

    def is_pretrained(self, name: str) -> bool:
        """See `Network.is_pretrained`; the authors began from VGG_CNN_M, which is not at hand here."""
        return False

    def log_density(self, pictures: torch.Tensor) -> torch.Tensor:
        """See `PictureNetwork.log_density`."""
        enlarged = F.interpolate(
            self.stages(pictures)["map"].float(), size=pictures.shape[-2:], mode="bilinear", align_corners=False
        )
        return log_of_relevance((128 * enlarged[:, 0] + 127).clamp(0, 255))

    def stages(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 3, H, W) to the authors' output "map", (N, 1, h, w), about -1 to 1, with what each layer gives."""
        found: dict[str, torch.Tensor] = {}
        x = pictures
        for name, _, _ in _LAYERS:
            x = getattr(self, name)(x)
            if name != "conv9":
                x = F.relu(x)
            if name == "conv1":
                x = self.norm(x)
            if name in ("conv1", "conv2"):
                x = self.pool(x)
            found[name] = x
        return {**found, "map": self.deconv1(x)}
