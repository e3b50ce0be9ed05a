"""The SALICON network: VGG-16 on the picture and, with weights of its own, on the halved picture."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import VGG, PictureNetwork, normalised
from vidsal.stages import CAFFE_MEAN, PreprocessOptions

__all__ = ["SaliconNet"]

_LAST = "pool5"
_FROZEN_BLOCKS = 2


class SaliconNet(PictureNetwork):
    """Huang, Shen, Boix and Zhao, "SALICON: reducing the semantic gap in saliency prediction by adapting deep neural
    networks", ICCV 2015, as OpenSALICON has it (Thomas, "OpenSalicon: an open source implementation of the Salicon
    saliency model", 2016); the first authors published no code.

    As in OpenSALICON's Caffe files: 1200x1600 pixels whatever the picture's aspect, and half of them; VGG-16 with its
    five pools, which round up, for each; the coarse features enlarged to the fine ones (linear, corners aligned) and
    joined, coarse first; a 1x1 convolution that begins at zero, and a sigmoid. Blocks 1 and 2 are not trained. The
    density is the sigmoid over its sum.

    Different: the coarse picture averages the fine one's pixels two by two, and the picture is made small by area; they
    make both by cubic splines. The map is enlarged to the canvas bilinearly. They stretch the finished map from 0 to 1,
    which takes off its minimum and changes SIM and KL, but neither CC nor NSS nor any AUC. The first paper has half as
    many pixels a side, and KL among other losses.
    """

    preprocess = PreprocessOptions(
        height=1200,
        width=1600,
        channel_order="bgr",
        divisor=255.0,
        mean=(CAFFE_MEAN[0] / 255, CAFFE_MEAN[1] / 255, CAFFE_MEAN[2] / 255),
        std=(1.0, 1.0, 1.0),
        fit="stretch",
    )
    """The input of OpenSALICON."""
    stride = 2

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        pools = (nn.MaxPool2d(2, ceil_mode=True),) * 5
        self.backbone = nn.ModuleDict({"coarse": VGG(config, 16, pools), "fine": VGG(config, 16, pools)})
        self.out = nn.Conv2d(2 * config.channels(512), 1, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def freeze(self) -> None:
        """See `Network.freeze`."""
        for stream in self.backbone.children():
            for block in list(stream.blocks)[:_FROZEN_BLOCKS]:  # type: ignore[arg-type]
                block.requires_grad_(False)

    def log_density(self, pictures: torch.Tensor) -> torch.Tensor:
        """See `PictureNetwork.log_density`."""
        # At the authors' size all that VGG makes of a picture takes gigabytes.
        logits = self._stages(pictures, only=(_LAST,))["logits"].float()
        enlarged = F.interpolate(logits.sigmoid(), size=pictures.shape[-2:], mode="bilinear", align_corners=False)
        return normalised(enlarged[:, 0].clamp_min(torch.finfo(torch.float32).tiny).log())

    def stages(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 3, H, W) to "logits", (N, 1, H / 32, W / 32), whose sigmoid is the authors' output.

        With what is between: "fine.pool5", "coarse.pool5" and so on of the two streams, and "joined".
        """
        return self._stages(pictures, only=None)

    def _stages(self, pictures: torch.Tensor, *, only: Collection[str] | None) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for name, seen in (("coarse", F.avg_pool2d(pictures, 2)), ("fine", pictures)):
            for stage, value in self.backbone[name](seen, only).items():
                found[f"{name}.{stage}"] = value
        coarse, fine = found[f"coarse.{_LAST}"], found[f"fine.{_LAST}"]
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=True)
        found["joined"] = torch.cat([coarse, fine], 1)
        return {**found, "logits": self.out(found["joined"])}
