"""ML-Net: features of three depths of VGG-16, and a learned prior that multiplies the map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.heads import log_of_relevance, upsampling_matrix
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import VGG, PictureNetwork, theano_pool
from vidsal.stages import CAFFE_MEAN, PreprocessOptions

__all__ = ["MLNet"]

_CELLS = 10


class MLNet(PictureNetwork):
    """Cornia, Baraldi, Serra and Cucchiara, "A deep multi-level network for saliency prediction", ICPR 2016.

    As in the authors' code: pool 4 has a stride of 1, all pools are Theano's; pool 3, pool 4 and conv 5_3 are joined;
    the prior of 6x8 cells starts at zero and multiplies by 1 + its bilinear enlargement.

    Different: the map of 1/8 is made as large as the canvas before a density is made of it, and a millionth of its
    mean is added; the authors' penalty on the prior is not among the losses (the loss `ml-net` is their other part).
    On another canvas than 480x640 the prior has a cell for every 80 pixels, rounded up.
    """

    stride = 8
    preprocess = PreprocessOptions(
        height=480,
        width=640,
        channel_order="bgr",
        divisor=1.0,
        mean=CAFFE_MEAN,
        std=(1.0, 1.0, 1.0),
        resize="bilinear",
    )
    """The authors' input."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        pools = (theano_pool(2), theano_pool(2), theano_pool(2), theano_pool(1))
        self.backbone = VGG(config, 16, pools)
        joined = config.channels(256) + 2 * config.channels(512)
        self.dropout = nn.Dropout(0.5)
        self.reduce = nn.Conv2d(joined, config.channels(64), 3, padding=1)
        self.out = nn.Conv2d(config.channels(64), 1, 1)
        for convolution in (self.reduce, self.out):
            nn.init.xavier_normal_(convolution.weight)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        # The map goes through a ReLU: with random signs about half of all draws would never train.
        self.out.weight.data.abs_()
        self.prior = nn.Parameter(torch.zeros(6, 8))

    def log_density(self, pictures: torch.Tensor) -> torch.Tensor:
        """See `PictureNetwork.log_density`."""
        relevance = self.stages(pictures)["relevance"]
        enlarged = F.interpolate(relevance[:, None], size=pictures.shape[-2:], mode="bilinear", align_corners=False)
        return log_of_relevance(enlarged[:, 0])

    def stages(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 3, H, W) to the authors' output "relevance", (N, H / 8, W / 8), at least 0, with what is between."""
        seen = self.backbone(pictures)
        joined = torch.cat([seen["pool3"], seen["pool4"], seen["relu5_3"]], 1)
        reduced = F.relu(self.reduce(self.dropout(joined)))
        with torch.autocast(pictures.device.type, enabled=False):
            plain = F.relu(self.out(reduced.float()))[:, 0]
            prior = self._prior(*plain.shape[-2:])
            relevance = F.relu(plain * (1 + prior))
        return {**seen, "joined": joined, "reduced": reduced, "plain": plain, "prior": prior, "relevance": relevance}

    def _prior(self, rows: int, columns: int) -> torch.Tensor:
        """The prior at the size of the map; enlarged as Theano does it, then cut at the bottom and the right."""
        down, across = (
            upsampling_matrix(cells, _CELLS).to(self.prior)[:size]
            for cells, size in zip(self.prior.shape, (rows, columns), strict=True)
        )
        own = down @ self.prior @ across.T
        if own.shape == (rows, columns):
            return own
        # A larger canvas than the authors': the edge goes on.
        padding = (0, columns - own.shape[1], 0, rows - own.shape[0])
        return F.pad(own[None, None], padding, mode="replicate")[0, 0]
