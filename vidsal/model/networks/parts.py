"""What several networks are made of: VGG's convolutions with the pools of any framework, and pictures judged alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.errors import CheckpointError
from vidsal.model.network import Network
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.recurrent import Unroll
from vidsal.model.state import Memory, VideoState
from vidsal.stages import PreprocessOptions

__all__ = ["VGG", "OtherNetwork", "PictureNetwork", "Pool", "normalised", "theano_pool"]

Pool = Callable[[torch.Tensor], torch.Tensor]


class OtherNetwork(Network):
    """A system that is not of SAM's family."""

    config: NetworkConfig
    """Its architecture."""
    stride: int = 1
    """H and W must be multiples of this."""
    preprocess: PreprocessOptions
    """The input that its authors give it."""

    def load_imagenet(self, state: dict[str, torch.Tensor]) -> tuple[str, ...]:
        """Take over ImageNet weights from torchvision's state dict of the network's backbone.

        Returns:
            What a user should know about how these weights fit.

        Raises:
            CheckpointError: a tensor is missing or has another shape, or there are no such weights for this network.
        """
        backbone = getattr(self, "backbone", None)
        if not isinstance(backbone, VGG):
            raise CheckpointError(f"{self.config.network} has no backbone that ImageNet weights are known of")
        backbone.load_torchvision(state)
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

    def log_density(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) to (N, H, W), the log of densities."""
        raise NotImplementedError


class VGG(nn.Module):
    """The 3x3 convolutions of VGG-16 or VGG-19, without the classifier.

    Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
    """

    def __init__(self, config: NetworkConfig, depth: Literal[16, 19], pools: tuple[Pool, Pool, Pool, Pool]) -> None:
        """Make it with random weights.

        Args:
            config: how wide.
            depth: 16, three convolutions in the later blocks, or 19, four.
            pools: what comes between the five blocks.
        """
        super().__init__()
        later = 3 if depth == 16 else 4
        self.depth, self.pools = depth, pools
        inputs = 3
        blocks = []
        for published, count in ((64, 2), (128, 2), (256, later), (512, later), (512, later)):
            block = []
            for _ in range(count):
                block.append(nn.Conv2d(inputs, config.channels(published), 3, padding=1))
                inputs = config.channels(published)
            blocks.append(nn.ModuleList(block))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """All that may be asked for: "conv5_1" before and "relu5_1" after its ReLU, and so on; "pool1" to "pool4"."""
        found: dict[str, torch.Tensor] = {}
        for number, block in enumerate(self.blocks, start=1):
            for place, convolution in enumerate(block.children(), start=1):
                found[f"conv{number}_{place}"] = convolution(x)
                x = found[f"relu{number}_{place}"] = F.relu(found[f"conv{number}_{place}"])
            if number <= len(self.pools):
                x = found[f"pool{number}"] = self.pools[number - 1](x)
        return found

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """All of them, in order."""
        return [module for module in self.modules() if isinstance(module, nn.Conv2d)]

    def load_torchvision(self, state: dict[str, torch.Tensor]) -> None:
        """Take over the convolutions of torchvision's `vgg16` or `vgg19`.

        Raises:
            CheckpointError: there are more or fewer, or one has another shape.
        """
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
