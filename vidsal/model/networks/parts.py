"""What networks share: VGG's convolutions with any framework's pools, pictures judged alone, how DeepGaze ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vidsal.errors import CheckpointError
from vidsal.model.network import Network, Part
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.recurrent import Unroll
from vidsal.model.state import Memory, VideoState
from vidsal.stages import PreprocessOptions

__all__ = [
    "VGG",
    "BiasedNetwork",
    "OtherNetwork",
    "PictureNetwork",
    "Pool",
    "Pretrained",
    "blurred",
    "centre_bias",
    "normalised",
    "radius_of",
    "scaled_bias",
    "theano_pool",
    "with_edges",
]

Pool = Callable[[torch.Tensor], torch.Tensor]

# Of the blur, in cells: as good as none.
_LEAST_SIGMA = 0.1
# Clarke and Tatler's variances of a centre bias, in units of half the picture's width, squared.
_CENTRE_VARIANCES = (0.22, 0.22 * 0.45)


class OtherNetwork(Network):
    """A system that is not of SAM's family."""

    config: NetworkConfig
    """Its architecture."""
    stride: int = 1
    """H and W must be multiples of this."""
    preprocess: PreprocessOptions
    """The input that its authors give it."""
    trains_c3d: bool = True
    """Whether its authors train C3D's layers on, where they began with its weights."""

    def c3d_layers(self) -> dict[str, dict[str, nn.Conv3d]]:
        """The convolutions that C3D has too, by part of the network and by C3D's name; empty where there are none."""
        return {}

    def load_imagenet(self, state: dict[str, torch.Tensor]) -> tuple[str, ...]:
        """Take over ImageNet weights from torchvision's state dict of the network's backbone.

        Returns:
            What a user should know about how these weights fit.

        Raises:
            CheckpointError: a tensor is missing or has another shape, or there are no such weights for this network.
        """
        parts = [module for module in self.modules() if isinstance(module, Pretrained)]
        if not parts:
            raise CheckpointError(f"{self.config.network} has no backbone that ImageNet weights are known of")
        for part in parts:
            part.load_torchvision(state)
        return ()


class PictureNetwork(OtherNetwork):
    """A network that judges each frame by itself: its state holds nothing."""

    def forward(
        self, frames: torch.Tensor, state: VideoState | None = None, *, unroll: Unroll | None = None
    ) -> tuple[torch.Tensor, Memory]:
        """See `Network.forward`."""
        self.unrolled(frames, state, unroll, stride=self.stride)
        batch, times, _, height, width = frames.shape
        log_density = self.log_density(frames.flatten(0, 1)).float()
        return log_density.reshape(batch, times, height, width), Memory.none(batch, device=frames.device)

    def rehearse(
        self,
        frames: torch.Tensor,
        state: VideoState | None = None,
        *,
        unroll: Unroll | None = None,
        inside: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, VideoState, tuple[Part, ...]]:
        """See `Network.rehearse`: pictures are shown without the bars beside them, but for what fills a stride."""
        if inside is None:
            return super().rehearse(frames, state, unroll=unroll)
        self.unrolled(frames, state, unroll, stride=self.stride)
        pictures, shown = frames.flatten(0, 1), inside.flatten(0, 1)
        alike: dict[tuple[int, int, int, int], list[int]] = {}
        for number, one in enumerate(shown.cpu()):
            alike.setdefault(_rectangle(one, cells=self.cells), []).append(number)
        maps = torch.zeros(shown.shape, device=frames.device)
        for (top, bottom, left, right), numbers in alike.items():
            part = self.log_density(pictures[numbers, :, top:bottom, left:right]).float()
            maps[numbers, top:bottom, left:right] = part
        return maps.reshape(inside.shape), Memory.none(len(frames), device=frames.device), ()

    @property
    def cells(self) -> int:
        """Rows and columns of any picture that it can be shown are multiples of this."""
        return self.stride

    def log_density(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) to (N, H, W), the log of densities."""
        raise NotImplementedError

    def fix_shapes(self) -> None:
        """Settle what depends on the values of weights but must not in a graph; after it weights may not change."""


class BiasedNetwork(PictureNetwork):
    """A network of Kümmerer's: of fixed features a readout, blurred, with a centre bias; a softmax over the picture."""

    kept_exact = frozenset({"centre_log_density"})
    """In half precision a log density would be off by a percent and more."""
    centre_log_density: torch.Tensor | None
    """(rows, columns) float32, its own centre bias over a picture of any size; None for Clarke and Tatler's."""

    def __init__(self, config: NetworkConfig) -> None:
        """Make what comes after the readout: the blur's width, the centre bias (at first an even one), its weight."""
        super().__init__()
        self.config = config
        self.sigma = nn.Parameter(torch.tensor(8.0))
        self.centre_weight = nn.Parameter(torch.tensor(1.0))
        own = (
            None
            if config.centre_bias is None
            else torch.full(config.centre_bias, -math.log(math.prod(config.centre_bias)))
        )
        self.register_buffer("centre_log_density", own)
        self._radius: int | None = None

    def freeze(self) -> None:
        """See `Network.freeze`."""
        self.backbone.requires_grad_(False)

    def fix_shapes(self) -> None:
        """See `PictureNetwork.fix_shapes`: how far the blur reaches."""
        self._radius = radius_of(self.sigma)

    @property
    def cells(self) -> int:
        """See `PictureNetwork.cells`: its bias is about pictures, so it sees nothing beside them."""
        return 1

    def log_density(self, pictures: torch.Tensor) -> torch.Tensor:
        """See `PictureNetwork.log_density`."""
        biased = self.stages(pictures)["biased"]
        return normalised(F.interpolate(biased, size=pictures.shape[-2:], mode="nearest")[:, 0])

    def stages(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 3, H, W) to "biased", (N, 1, h, w), logits with the centre bias, with what is between."""
        raise NotImplementedError

    def own_bias(self, pictures: torch.Tensor, *, every: int) -> torch.Tensor | None:
        """The network's own centre bias over (N, 3, H, W), of which every so many rows and columns; None without one.

        Taken from the bias at the picture's size, as the authors do: (H / every, W / every), rounded up.
        """
        if self.centre_log_density is None:
            return None
        height, width = pictures.shape[-2:]
        return scaled_bias(self.centre_log_density, height, width)[::every, ::every]

    def finished(self, readout: torch.Tensor, bias: torch.Tensor) -> dict[str, torch.Tensor]:
        """The last stages: (N, 1, h, w) of the readout enlarged (nearest) to the size of the bias, and "biased"."""
        # Few numbers that all of the density depends on: float32 under autocast too.
        with torch.autocast(readout.device.type, enabled=False):
            enlarged = F.interpolate(readout.float(), size=tuple(bias.shape), mode="nearest")
            smooth = blurred(enlarged, self.sigma, radius=self._radius)
            biased = smooth + self.centre_weight * bias
        return {"blurred": smooth, "biased": biased}


class Pretrained(nn.Module):
    """A part of a network that ImageNet weights are known of."""

    def load_torchvision(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what torchvision's state dict of the whole classifier has of it.

        Raises:
            CheckpointError: a tensor is missing or has another shape.
        """
        raise NotImplementedError

    def take_over(self, module: nn.Module, state: dict[str, torch.Tensor], *, prefix: str, source: str) -> None:
        """Copy the tensors whose names begin with `prefix` into a module that has the names after it.

        Raises:
            CheckpointError: one is missing or has another shape; `source` says what was to be given.
        """
        for name, own in module.state_dict().items():
            given = state.get(prefix + name)
            if given is None and name.endswith("num_batches_tracked"):  # older files have none
                continue
            if given is None or given.shape != own.shape:
                found = "nothing" if given is None else tuple(given.shape)
                raise CheckpointError(
                    f"{prefix}{name} of the ImageNet weights: expected {tuple(own.shape)}, found {found}: give {source}"
                )
            own.copy_(given)


class VGG(Pretrained):
    """The 3x3 convolutions of VGG-16 or VGG-19, without the classifier.

    Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
    """

    def __init__(
        self, config: NetworkConfig, depth: Literal[16, 19], pools: tuple[Pool, ...], *, last_dilation: int = 1
    ) -> None:
        """Make it with random weights.

        Args:
            config: how wide.
            depth: 16, three convolutions in the later blocks, or 19, four.
            pools: what comes after each of the five blocks; four, or five where the last block has one too.
            last_dilation: of the convolutions of block 5.
        """
        super().__init__()
        later = 3 if depth == 16 else 4
        self.depth, self.pools = depth, pools
        inputs = 3
        blocks = []
        for published, count, hole in (
            *((64, 2, 1), (128, 2, 1), (256, later, 1), (512, later, 1)),
            (512, later, last_dilation),
        ):
            block = []
            for _ in range(count):
                block.append(nn.Conv2d(inputs, config.channels(published), 3, padding=hole, dilation=hole))
                inputs = config.channels(published)
            blocks.append(nn.ModuleList(block))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor, only: Collection[str] | None = None) -> dict[str, torch.Tensor]:
        """All that may be asked for: "conv5_1" before and "relu5_1" after its ReLU, and so on; "pool1" to the last.

        `only` names what is wanted, so that a large picture does not leave all of it in memory; None: everything.
        """
        found: dict[str, torch.Tensor] = {}

        def keep(name: str, made: torch.Tensor) -> torch.Tensor:
            if only is None or name in only:
                found[name] = made
            return made

        for number, block in enumerate(self.blocks, start=1):
            for place, convolution in enumerate(block.children(), start=1):
                x = F.relu(keep(f"conv{number}_{place}", convolution(x)))
                keep(f"relu{number}_{place}", x)
            if number <= len(self.pools):
                x = keep(f"pool{number}", self.pools[number - 1](x))
        return found

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """All of them, in order."""
        return [module for module in self.modules() if isinstance(module, nn.Conv2d)]

    def load_torchvision(self, state: dict[str, torch.Tensor]) -> None:
        """Take over the convolutions of torchvision's `vgg16` or `vgg19`; see `Pretrained.load_torchvision`."""
        numbers = sorted({int(name.split(".")[1]) for name in state if name.startswith("features.")})
        if len(numbers) != len(self.convolutions):
            raise CheckpointError(
                f"these weights have {len(numbers)} convolutions in features., VGG-{self.depth} has "
                f"{len(self.convolutions)}: give torchvision's vgg{self.depth}"
            )
        with torch.no_grad():
            for number, convolution in zip(numbers, self.convolutions, strict=True):
                for part, own in (("weight", convolution.weight), ("bias", convolution.bias)):
                    name = f"features.{number}.{part}"
                    given = state.get(name)
                    if own is None or given is None or given.shape != own.shape:
                        found = None if given is None else tuple(given.shape)
                        wanted = None if own is None else tuple(own.shape)
                        raise CheckpointError(f"{name} of the ImageNet weights: expected {wanted}, found {found}")
                    own.copy_(given)


def theano_pool(stride: int) -> Pool:
    """The 2x2 maximum of Keras 1 on Theano, "same": cell i sees i - 1 and i of stride 1, 2 i - 1 and 2 i of stride 2.

    Its input comes from a ReLU, so that zeros at the top and the left are the same as nothing.
    """

    def pool(x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(F.pad(x, (1, 0, 1, 0)), 2, stride)

    return pool


def normalised(logits: torch.Tensor) -> torch.Tensor:
    """(..., H, W) minus the log of the sum of its exponentials."""
    return logits - logits.flatten(-2).logsumexp(-1)[..., None, None]


def with_edges(pictures: torch.Tensor, rows: int, columns: int) -> tuple[torch.Tensor, slice, slice]:
    """(N, C, H, W) made at least so large by its edges, repeated; and the rows and the columns where it lies there."""
    height, width = pictures.shape[-2:]
    down, across = max(rows - height, 0), max(columns - width, 0)
    top, left = down // 2, across // 2
    if down or across:
        pictures = F.pad(pictures, (left, across - left, top, down - top), mode="replicate")
    return pictures, slice(top, top + height), slice(left, left + width)


def radius_of(sigma: torch.Tensor) -> int:
    """Cells from the centre of `blurred`'s Gaussian to where it is cut off."""
    return math.ceil(3 * float(sigma.detach().abs().clamp_min(_LEAST_SIGMA)))


def blurred(x: torch.Tensor, sigma: torch.Tensor, *, radius: int | None = None) -> torch.Tensor:
    """(N, 1, H, W) through a Gaussian of a learned width in cells, cut off at three of them, the edge repeated.

    `radius` is what `radius_of` gives, where that is known beforehand.

    Source: the finishing of Kümmerer's networks in github.com/matthias-k/DeepGaze.
    """
    radius = radius_of(sigma) if radius is None else radius
    sigma = sigma.abs().clamp_min(_LEAST_SIGMA)
    offsets = torch.arange(-radius, radius + 1, device=x.device)
    taps = torch.softmax(-(offsets**2) / (2 * sigma**2), 0)
    x = F.conv2d(F.pad(x, (0, 0, radius, radius), mode="replicate"), taps.view(1, 1, -1, 1))
    return F.conv2d(F.pad(x, (radius, radius, 0, 0), mode="replicate"), taps.view(1, 1, 1, -1))


def _rectangle(inside: torch.Tensor, *, cells: int) -> tuple[int, int, int, int]:
    """First row, row after the last, first column and column after the last of the whole cells with what is True in
    (H, W)."""
    down, across = (inside.any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
    return (
        down[0] // cells * cells,
        -(-(down[-1] + 1) // cells) * cells,
        across[0] // cells * cells,
        -(-(across[-1] + 1) // cells) * cells,
    )


def scaled_bias(log_density: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A log density (h, w) at another size, (rows, columns): the nearest cells, corners on corners, normalised again.

    What the authors of DeepGaze do with theirs: `scipy.ndimage.zoom` of order 0, less the `logsumexp`.

    Source: the example of use in github.com/matthias-k/DeepGaze.
    """
    # In float64, as SciPy does: which of two cells is nearer may hang on the last bit.
    places = [
        torch.from_numpy(np.floor(np.arange(size) * ((own - 1) / max(size - 1, 1)) + 0.5).astype(np.int64))
        for size, own in zip((rows, columns), log_density.shape, strict=True)
    ]
    down, across = (one.to(log_density.device) for one in places)
    return normalised(log_density.index_select(0, down).index_select(1, across))


def centre_bias(rows: int, columns: int, *, device: torch.device) -> torch.Tensor:
    """(rows, columns), the log of a density: Clarke and Tatler's Gaussian.

    Source: Clarke and Tatler, "Deriving an appropriate baseline for describing fixation behaviour", Vision Research
    102, 2014.
    """
    x = (torch.arange(columns, device=device) + 0.5) * (2 / columns) - 1
    y = ((torch.arange(rows, device=device) + 0.5) * (2 / rows) - 1) * (rows / columns)
    across, down = _CENTRE_VARIANCES
    return normalised(-(y[:, None] ** 2) / (2 * down) - x**2 / (2 * across))
