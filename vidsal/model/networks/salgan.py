"""SalGAN's generator: VGG-16 down, its mirror image up."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import VGG, PictureNetwork, normalised
from vidsal.stages import CAFFE_MEAN, PreprocessOptions

__all__ = ["SalGAN"]

# Convolutions of a block of the decoder, by channels; each block but the last is enlarged by two.
_DECODER = ((512, 512, 512), (512, 512, 512), (256, 256, 256), (128, 128), (64, 64))


class SalGAN(PictureNetwork):
    """Pan et al., "SalGAN: visual saliency prediction with generative adversarial networks", arXiv 1701.01081, 2017.

    As in the authors' code: layers, nearest-neighbour enlargement, a sigmoid, pictures stretched to 192x256 whatever
    their aspect. Blocks 1 to 3 of VGG are not trained. The density is the sigmoid over its sum.

    The authors train it against `vidsal.model.networks.discriminator`, which `vidsal train` does on demand; else it is
    trained with the losses of `vidsal.losses`.
    """

    stride = 16
    preprocess = PreprocessOptions(
        height=192,
        width=256,
        channel_order="bgr",
        divisor=1.0,
        mean=CAFFE_MEAN,
        std=(1.0, 1.0, 1.0),
        blur_pixels=1.1,
        fit="stretch",
    )
    """The authors' input."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        pool = nn.MaxPool2d(2)
        self.backbone = VGG(config, 16, (pool, pool, pool, pool))
        inputs = config.channels(512)
        blocks = []
        for published in _DECODER:
            block = []
            for channels in map(config.channels, published):
                block.append(nn.Conv2d(inputs, channels, 3, padding=1))
                inputs = channels
            blocks.append(nn.ModuleList(block))
        self.decoder = nn.ModuleList(blocks)
        self.out = nn.Conv2d(inputs, 1, 1)

    def freeze(self) -> None:
        """See `Network.freeze`."""
        for block in list(self.backbone.blocks)[:3]:
            block.requires_grad_(False)

    def log_density(self, pictures: torch.Tensor) -> torch.Tensor:
        """See `PictureNetwork.log_density`."""
        return normalised(F.logsigmoid(self.logits(pictures)))

    def logits(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) to (N, H, W) float32, whose sigmoid is the authors' map, 0 to 1."""
        return self.stages(pictures)["logits"][:, 0].float()

    def stages(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 3, H, W) to "logits", (N, 1, H, W), whose sigmoid is the authors' output, with what is between."""
        found = dict(self.backbone(pictures))
        x = found["relu5_3"]
        for number, block in enumerate(self.decoder, start=1):
            for convolution in block.children():
                x = F.relu(convolution(x))
            found[f"decoder{number}"] = x
            if number < len(_DECODER):
                x = F.interpolate(x, scale_factor=2, mode="nearest")
        return {**found, "logits": self.out(x)}
