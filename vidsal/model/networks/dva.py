"""Deep visual attention: VGG-16 read at three depths, each brought back to the picture by transposed convolutions."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import VGG, PictureNetwork, normalised
from vidsal.stages import PreprocessOptions

__all__ = ["DVA"]

# Zeros around the picture, beside the one that each convolution of VGG has anyway: together the 35 of the authors.
_MARGIN = 34
# What is read, its channels, those of the transposed convolutions after it, and where the picture begins in the map
# that they make: deepest first, as the maps are joined.
_BRANCHES = (
    ("relu5_3", 512, (512, 256, 128, 64), 48),
    ("relu4_3", 512, (256, 128, 64), 40),
    ("relu3_3", 256, (128, 64), 36),
)


class DVA(PictureNetwork):
    """Wang and Shen, "Deep visual attention prediction", IEEE TIP 27(5), 2018 (arXiv 1705.02544).

    As in the authors' Caffe files: 35 zeros around the picture, pools that round up, three branches of 4x4 transposed
    convolutions, cut to the picture where Caffe's coordinates say it lies (from row and column 48, 40 and 36 on), and a
    3x3 convolution that joins the three maps, deepest first. New layers begin as theirs: Gaussian of .01, biases .1.
    The density is the sigmoid of the joined map over its sum.

    Different: they train with four cross-entropies, one a branch and one of the joined map, balanced between cells at 1
    and at 0; here a loss of `vidsal.losses` sees the joined map alone. A thinner network begins with a wider Gaussian,
    so that its maps are as strong. Their map is enlarged by cubic interpolation, here by whoever shows it.
    """

    preprocess = PreprocessOptions(
        height=224,
        width=224,
        channel_order="bgr",
        divisor=1.0,
        mean=(128.0, 128.0, 128.0),
        std=(1.0, 1.0, 1.0),
        resize="bilinear",
        fit="stretch",
    )
    """The input of the authors' default configuration."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        pool = nn.MaxPool2d(2, ceil_mode=True)
        self.backbone = VGG(config, 16, (pool, pool, pool, pool))
        ups, outs = [], []
        for _, inputs, published, _ in _BRANCHES:
            channels = [config.channels(each) for each in (inputs, *published)]
            layers = [nn.ConvTranspose2d(a, b, 4, stride=2) for a, b in itertools.pairwise(channels)]
            ups.append(nn.ModuleList(layers))
            outs.append(nn.Conv2d(channels[-1], 1, 3))
        self.ups, self.outs = nn.ModuleList(ups), nn.ModuleList(outs)
        self.fusion = nn.Conv2d(len(_BRANCHES), 1, 3, padding=1)
        for part in (self.ups, self.outs, self.fusion):
            for name, parameter in part.named_parameters():
                if name.endswith("weight"):
                    nn.init.normal_(parameter, std=0.01 / config.width**0.5)
                else:
                    nn.init.constant_(parameter, 0.1)

    def log_density(self, pictures: torch.Tensor) -> torch.Tensor:
        """See `PictureNetwork.log_density`."""
        return normalised(F.logsigmoid(self.stages(pictures)["logits"][:, 0].float()))

    def stages(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 3, H, W) to "logits", (N, 1, H, W), whose sigmoid is the authors' output, with what is between.

        "branch1" to "branch3" are the logits of the branches, deepest first.
        """
        height, width = pictures.shape[-2:]
        found = dict(self.backbone(F.pad(pictures, (_MARGIN,) * 4)))
        maps = []
        for (name, _, _, begin), up, out in zip(_BRANCHES, self.ups, self.outs, strict=True):
            x = found[name]
            for layer in up.children():
                x = F.relu(layer(x))
            maps.append(out(x)[..., begin : begin + height, begin : begin + width])
            found[f"branch{len(maps)}"] = maps[-1]
        return {**found, "logits": self.fusion(torch.cat(maps, 1))}
