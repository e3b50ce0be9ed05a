"""Which of the other systems' networks, and how wide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vidsal.errors import ConfigError, Setting
from vidsal.model.options import NetworkName, ReadoutBackbone, ReadoutUpsampler
from vidsal.options import Checked, Range

__all__ = ["NetworkConfig"]


@dataclass(frozen=True)
class NetworkConfig(Checked):
    """The architecture of a network in `vidsal.model.networks`."""

    network: NetworkName
    """The system."""
    width: Annotated[float, Range(above=0, at_most=1)] = 1.0
    """Share of the published number of channels in every layer; published weights fit 1 only."""

    backbone: ReadoutBackbone | None = None
    """Picture to features in readout-net, by its name in torchvision (dpn131: in timm); None for vgg16."""
    upsampler: ReadoutUpsampler | None = None
    """How readout-net makes its map large; None for deconvolution."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("backbone", self.backbone), ("upsampler", self.upsampler)):
            if value is not None and self.network != "readout-net":
                raise ConfigError(Setting(name), f" is for readout-net; {self.network} has no choice of it")
        if self.backbone in ("resnet50", "dpn131") and self.width != 1:
            raise ConfigError(Setting("width"), f" must be 1 with {self.backbone}, which comes in one size")

    @property
    def steps(self) -> int:
        """1: none of them refines its state."""
        return 1

    def channels(self, published: int) -> int:
        """So many of a layer's published channels, at least 1."""
        return max(1, round(published * self.width))
