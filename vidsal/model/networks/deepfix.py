"""A network in the manner of DeepFix: dilated VGG-16, and convolutions that know where in the picture they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.heads import log_of_relevance
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import VGG, PictureNetwork
from vidsal.stages import CAFFE_MEAN, PreprocessOptions

__all__ = ["DeepFix"]

_SIGMAS = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
# Of GoogLeNet's block 4c, whose 512 channels are those of VGG's last block: what each branch ends in, and what the
# second and the third are reduced to before.
_BRANCHES = (128, 256, 64, 64)
_REDUCED = (128, 24)
_HOLE = 6


class DeepFix(PictureNetwork):
    """In the style of Kruthiventi, Ayush and Babu, "DeepFix: a fully convolutional neural network for predicting human
    eye fixations", arXiv 1510.02927, 2015 (IEEE TIP 2017). No code or weights of theirs are public, and it is not
    claimed that this is their network.

    By accounts of the paper, which were not checked against it: 20 layers; VGG-16 with a stride of 8, whose block 5 has
    holes of 2; two blocks of parallel kernels; two convolutions of 3x3, 512 channels and holes of 6, each of which sees
    16 fixed, centred Gaussians of different widths and heights beside the features ("location-biased"); a 1x1
    convolution to one map, enlarged bilinearly. Their loss is `euclidean`.

    Assumed: standard deviations of the Gaussians of 1/16, 1/8, 1/4 and 1/2 of the map's width, each with each of the
    same shares of its height, and a peak of 1; pool 4 of 3x3 with a stride of 1; the channels of GoogLeNet's block 4c
    in both blocks, with a 3x3 convolution with holes of 2 for the 5x5 one; a ReLU after each convolution, dropout of .5
    after those with the Gaussians; the input of Caffe's VGG, at most 480x640 and without black bars, so that Gaussians
    lie in the middle of the picture. The density is the map's positive part over its sum, with a millionth of its
    mean added.
    """

    preprocess = PreprocessOptions(
        height=480,
        width=640,
        channel_order="bgr",
        divisor=1.0,
        mean=CAFFE_MEAN,
        std=(1.0, 1.0, 1.0),
        fit="inside",
        cells=8,
    )
    """The input of Caffe's VGG-16."""
    stride = 8

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        pool = nn.MaxPool2d(2)
        self.backbone = VGG(config, 16, (pool, pool, pool, nn.MaxPool2d(3, 1, padding=1)), last_dilation=2)
        channels = config.channels(512)
        first = Parallel(config, channels)
        self.parallel = nn.ModuleList([first, Parallel(config, first.outputs)])
        self.biased = nn.ModuleList([LocationBiased(first.outputs, channels), LocationBiased(channels, channels)])
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Conv2d(channels, 1, 1)
        # The map goes through a ReLU: with random signs about half of all draws would never train.
        self.out.weight.data.abs_()

    def log_density(self, pictures: torch.Tensor) -> torch.Tensor:
        """See `PictureNetwork.log_density`."""
        relevance = F.relu(self.stages(pictures)["map"])
        enlarged = F.interpolate(relevance, size=pictures.shape[-2:], mode="bilinear", align_corners=False)
        return log_of_relevance(enlarged[:, 0])

    def stages(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 3, H, W) to "map", (N, 1, H / 8, W / 8), of any sign, with what is between.

        "parallel1" and "parallel2" are the blocks of parallel kernels, "biased1" and "biased2" the convolutions that
        see the Gaussians.
        """
        found = self.backbone(pictures)
        x = found["relu5_3"]
        for number, block in enumerate(self.parallel, start=1):
            x = found[f"parallel{number}"] = block(x)
        for number, layer in enumerate(self.biased, start=1):
            x = found[f"biased{number}"] = F.relu(layer(x))
            x = self.dropout(x)
        with torch.autocast(pictures.device.type, enabled=False):
            return {**found, "map": self.out(x.float())}


class Parallel(nn.Module):
    """1x1, 3x3, 3x3 with holes and a pool side by side, the middle two after a 1x1 convolution that reduces."""

    def __init__(self, config: NetworkConfig, inputs: int) -> None:
        super().__init__()
        plain, near, far, pooled = map(config.channels, _BRANCHES)
        near_reduced, far_reduced = map(config.channels, _REDUCED)
        self.outputs = plain + near + far + pooled
        self.plain = nn.Conv2d(inputs, plain, 1)
        self.reduce_near, self.near = nn.Conv2d(inputs, near_reduced, 1), nn.Conv2d(near_reduced, near, 3, padding=1)
        self.reduce_far = nn.Conv2d(inputs, far_reduced, 1)
        self.far = nn.Conv2d(far_reduced, far, 3, padding=2, dilation=2)
        self.pooled = nn.Conv2d(inputs, pooled, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to (N, `outputs`, h, w)."""
        near, far = F.relu(self.reduce_near(x)), F.relu(self.reduce_far(x))
        pooled = F.max_pool2d(x, 3, 1, padding=1)
        return F.relu(torch.cat([self.plain(x), self.near(near), self.far(far), self.pooled(pooled)], 1))


class LocationBiased(nn.Module):
    """A 3x3 convolution with holes of 6 that sees 16 Gaussians after the features."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs + len(_SIGMAS) ** 2, outputs, 3, padding=_HOLE, dilation=_HOLE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to (N, `outputs`, h, w)."""
        rows, columns = x.shape[-2:]
        # (4, rows) and (4, columns): each width with each height.
        down, across = (_bells(size).to(x) for size in (rows, columns))
        maps = (down[:, None, :, None] * across[None, :, None, :]).flatten(0, 1)
        return self.convolution(torch.cat([x, maps.expand(x.shape[0], -1, -1, -1)], 1))  # type: ignore[no-any-return]


def _bells(size: int) -> torch.Tensor:
    """(4, size): Gaussians around the middle, with a peak of 1."""
    place = (torch.arange(size) + 0.5) / size - 0.5
    return torch.stack([torch.exp(-(place**2) / (2 * sigma**2)) for sigma in _SIGMAS])
