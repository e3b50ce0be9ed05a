"""Features after the recurrence and the backbone's finer ones in, a log density over the canvas out.

All heads but the published one end in a log-softmax over the canvas, so that what is trained is a density.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.options import HeadName

__all__ = [
    "HEADS",
    "Head",
    "HeadName",
    "MakeHead",
    "PublishedHead",
    "ReadoutHead",
    "RefineHead",
    "Upsampler",
    "build_head",
    "log_of_relevance",
    "upsampling_levels",
    "upsampling_matrix",
]

Upsampler = Literal["deconvolution", "subpixel", "bilinear"]
MakeHead = Callable[[int, int, tuple[int, ...]], "Head"]
"""Makes a head: channels of the features after the recurrence, their stride, channels of the backbone's finer ones."""

# The published map is twice the canvas: cell i of the 1/8 grid lies on its pixel 16 i + 7.
_PUBLISHED_UPSAMPLING = 16
# Keeps the log of the published head's ReLU finite; the share of a uniform map that an all-zero cell gets.
_FLOOR = 1e-6
# Canvas pixels per cell up to which a learned upsampler goes, as the head that refines; from there it is bilinear.
_FINEST = 4


class Head(nn.Module):
    """What makes the map: every head ends in a convolution `out` to one channel."""

    out: nn.Conv2d
    """The last convolution, whose one channel is always computed in float32."""

    def forward(self, x: torch.Tensor, skips: tuple[torch.Tensor, ...], size: tuple[int, int]) -> torch.Tensor:
        """Make the map.

        Args:
            x: (N, C, h, w) features at the backbone's stride, priors joined.
            skips: the backbone's finer features of the same frames, coarse to fine; a head may do without.
            size: rows and columns of the canvas.

        Returns:
            (N, H, W) float32, natural log of a density over the canvas.
        """
        raise NotImplementedError


class PublishedHead(Head):
    """1x1 to one channel, ReLU, bilinear upsampling: the published output, turned into a log density."""

    def __init__(self, channels: int) -> None:
        """Make it with random weights for features of `channels`."""
        super().__init__()
        self.out = nn.Conv2d(channels, 1, 1)
        # Interpolation along one axis, by cells, pixels averaged, device: constants, made once each.
        self._matrices: dict[tuple[int, int, torch.device], torch.Tensor] = {}

    def forward(self, x: torch.Tensor, skips: tuple[torch.Tensor, ...], size: tuple[int, int]) -> torch.Tensor:
        # The published map is twice the canvas: its pixels are averaged two by two, mass kept.
        relevant = self._enlarge(self._coarse(x), average=2)  # (N, H, W)
        if relevant.shape[-2:] != size:
            raise ValueError(f"the head made {tuple(relevant.shape[-2:])}, the canvas is {size}")
        return log_of_relevance(relevant)

    def relevance(self, x: torch.Tensor) -> torch.Tensor:
        """The published output of (N, C, h, w) features: (N, 16 h, 16 w) float32, not negative."""
        return self._enlarge(self._coarse(x), average=1)

    def _coarse(self, x: torch.Tensor) -> torch.Tensor:
        # One output channel costs next to nothing, and the map is made of it: float32 under autocast too.
        with torch.autocast(x.device.type, enabled=False):
            coarse: torch.Tensor = F.relu(self.out(x.float()))[:, 0]  # (N, h, w)
        return coarse

    def _enlarge(self, coarse: torch.Tensor, *, average: int) -> torch.Tensor:
        rows, columns = (self._matrix(cells, average, coarse.device) for cells in coarse.shape[-2:])
        with torch.autocast(coarse.device.type, enabled=False):
            return rows @ coarse @ columns.T

    def _matrix(self, cells: int, average: int, device: torch.device) -> torch.Tensor:
        key = (cells, average, device)
        if key not in self._matrices:
            # Not an inference tensor, wherever it is made first: training needs it too.
            with torch.inference_mode(False), torch.no_grad():
                matrix = upsampling_matrix(cells, _PUBLISHED_UPSAMPLING).reshape(-1, average, cells).mean(1)
                self._matrices[key] = matrix.to(device, torch.float32)
        return self._matrices[key]


class RefineHead(Head):
    """Upsamples twice by two, joining finer features of the backbone each time; log-softmax over the canvas."""

    _WIDTHS = (64, 32)

    def __init__(self, channels: int, skip_channels: tuple[int, ...]) -> None:
        """Make it with random weights for features of `channels` and finer ones of `skip_channels`, coarse to fine."""
        super().__init__()
        reduce, lateral, mix = [], [], []
        inputs = channels
        for width, skip in zip(self._WIDTHS, skip_channels, strict=True):
            reduce.append(_convolution(inputs, width, 1))
            lateral.append(_convolution(skip, width // 2, 1))
            joined = width + width // 2
            mix.append(nn.Sequential(*_convolution(joined, joined, 3, groups=joined), *_convolution(joined, width, 1)))
            inputs = width
        self.reduce, self.lateral, self.mix = nn.ModuleList(reduce), nn.ModuleList(lateral), nn.ModuleList(mix)
        self.out = nn.Conv2d(inputs, 1, 3, padding=1)

    def forward(self, x: torch.Tensor, skips: tuple[torch.Tensor, ...], size: tuple[int, int]) -> torch.Tensor:
        for reduce, lateral, mix, skip in zip(self.reduce, self.lateral, self.mix, skips, strict=True):
            upsampled = F.interpolate(reduce(x), size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = mix(torch.cat([upsampled, lateral(skip)], 1))
        return _log_density(self.out(x), size)


class ReadoutHead(Head):
    """The Readout Net of Oyama and Yamanaka (2018): an upsampler and a 1x1 convolution, without finer features.

    "deconvolution": at each level a transposed 4x4 convolution of stride 2 and a ReLU, to 128 channels first and half
    as many at each further level. "subpixel": at each level four channels become the four pixels of a cell (Shi et al.
    2016), then a 3x3 convolution and a ReLU. "bilinear": the 1x1 convolution, then interpolation alone. The learned
    ones go by as many levels as lead to a quarter of the canvas; from there, as all heads here, bilinearly.

    As in the authors' code: kernels, channels, order of the layers. Different: their transposed convolutions cut off
    two pixels at each edge and make 2 h - 2 rows of h, these cut off one and make 2 h; their last layer is rectified,
    here the log-softmax takes its place; they read the backbone's features of the picture and of its half, joined,
    this what comes after the recurrence.

    Source: Oyama and Yamanaka, Influence of image classification accuracy on saliency map estimation, CAAI
    Transactions on Intelligence Technology 3(3), 2018, and their code.
    """

    def __init__(self, channels: int, *, upsampler: Upsampler, stride: int) -> None:
        """Make it with random weights.

        Args:
            channels: of the features; for "subpixel" a multiple of 4 at each level, so of 16 at a stride of 16.
            upsampler: which.
            stride: canvas pixels per cell of the features, 4, 8 or 16.

        Raises:
            ValueError: if `channels` cannot be shared out among pixels.
        """
        super().__init__()
        count = 0 if upsampler == "bilinear" else (stride // _FINEST).bit_length() - 1
        if upsampler == "subpixel" and channels % 4**count:
            raise ValueError(
                f'head "readout_subpixel" needs a multiple of {4**count} recurrent channels at stride {stride}, '
                f"got {channels}"
            )
        self.levels, width = upsampling_levels(upsampler, channels, count=count)
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x: torch.Tensor, skips: tuple[torch.Tensor, ...], size: tuple[int, int]) -> torch.Tensor:
        """See `Head.forward`; `skips` are not looked at."""
        for level in self.levels:
            x = level(x)
        return _log_density(self.out(x), size)


def upsampling_levels(
    upsampler: Upsampler, channels: int, *, count: int, first_width: int = 128, cut: int = 1
) -> tuple[nn.ModuleList, int]:
    """Learned levels, as `ReadoutHead` describes them, each of which doubles rows and columns.

    Args:
        upsampler: "deconvolution" or "subpixel"; "bilinear" learns nothing and has a `count` of 0.
        channels: of the features.
        count: of levels.
        first_width: channels after the first transposed convolution.
        cut: pixels that a transposed convolution cuts off at each edge: it makes 2 h + 2 - 2 `cut` rows of h.

    Returns:
        The levels, and the channels after the last.
    """
    levels = []
    for level in range(count):
        inputs = channels
        if upsampler == "deconvolution":
            channels = max(1, first_width >> level)
            levels.append(nn.Sequential(nn.ConvTranspose2d(inputs, channels, 4, stride=2, padding=cut), nn.ReLU()))
        else:
            channels = inputs // 4
            levels.append(nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()))
    return nn.ModuleList(levels), channels


def build_head(name: HeadName, channels: int, *, stride: int, skip_channels: tuple[int, ...]) -> Head:
    """Make a head with random weights.

    Args:
        name: which.
        channels: of the features after the recurrence.
        stride: canvas pixels per cell of those.
        skip_channels: of the backbone's finer features, coarse to fine; only "refine" looks at them.

    Raises:
        ValueError: if the name is unknown, or the head cannot be made for these channels.
    """
    if name not in HEADS:
        raise ValueError(f"no head {name!r}: known are {', '.join(HEADS)}")
    return HEADS[name](channels, stride, skip_channels)


def _readout(upsampler: Upsampler) -> MakeHead:
    return lambda channels, stride, skips: ReadoutHead(channels, upsampler=upsampler, stride=stride)


HEADS: dict[str, MakeHead] = {
    "published": lambda channels, stride, skips: PublishedHead(channels),
    "refine": lambda channels, stride, skips: RefineHead(channels, skips),
    "readout_deconvolution": _readout("deconvolution"),
    "readout_subpixel": _readout("subpixel"),
    "readout_bilinear": _readout("bilinear"),
}
"""The heads by the name that `SAMConfig` takes."""


def _log_density(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(N, 1, h, w) made as large as the canvas, as a log density (N, H, W) float32."""
    enlarged = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)[:, 0]
    return enlarged - enlarged.flatten(1).logsumexp(1)[:, None, None]


def _convolution(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def log_of_relevance(relevance: torch.Tensor) -> torch.Tensor:
    """The log density of a map that a ReLU leaves.

    Args:
        relevance: (..., H, W), at least 0, of any scale.

    Returns:
        (..., H, W). A millionth of the mean is added, so that an all-zero map is uniform instead of undefined.
    """
    density = relevance + _FLOOR * relevance.mean((-1, -2), keepdim=True).clamp_min(1e-12)
    return (density / density.sum((-1, -2), keepdim=True)).log()


def upsampling_matrix(cells: int, ratio: int) -> torch.Tensor:
    """Bilinear upsampling by an even ratio as a (ratio * cells, cells) float64 matrix, as Theano does it.

    Cell i lies on pixel `ratio` i + `ratio` / 2 - 1; the edge cells are repeated.
    """
    pixels = torch.arange(cells * ratio, dtype=torch.float64)
    position = ((pixels - (ratio // 2 - 1)) / ratio).clamp(0, cells - 1)
    return (1 - (position[:, None] - torch.arange(cells)).abs()).clamp_min(0)
