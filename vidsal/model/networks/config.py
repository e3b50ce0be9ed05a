"""Which of the other systems' networks, and how wide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from vidsal.errors import ConfigError, Setting
from vidsal.model.options import BIASED, BranchName, NetworkName, ReadoutBackbone, ReadoutUpsampler
from vidsal.options import Checked, Range

__all__ = ["MOST_BIAS_CELLS", "NetworkConfig", "branches_of"]

MOST_BIAS_CELLS = 4096
"""Rows, and columns, that a centre bias may have."""


@dataclass(frozen=True)
class NetworkConfig(Checked):
    """The architecture of a network in `vidsal.model.networks`."""

    network: NetworkName
    """The system."""
    width: Annotated[float, Range(above=0, at_most=1)] = 1.0
    """Share of the published number of channels in every layer; published weights fit 1 only."""
    branches: tuple[BranchName, ...] = ("image", "flow")
    """Of `dreyeve`, which branches are summed, each at most once; "segmentation" needs a segmentation model."""
    segmentation_bytes: Annotated[int, Range(at_least=0)] = 0
    """Of `dreyeve`, the size of the segmentation model, an ONNX file that is kept among the weights; 0 for none."""
    backbone: ReadoutBackbone | None = None
    """Picture to features in readout-net, by its name in torchvision (dpn131: in timm); None for vgg16."""
    upsampler: ReadoutUpsampler | None = None
    """How readout-net makes its map large; None for deconvolution."""
    centre_bias: tuple[int, int] | None = None
    """Of `BIASED`, rows and columns of the centre bias that is kept among the weights; None for Clarke and Tatler's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.branches or len({*self.branches}) < len(self.branches):
            raise ConfigError(Setting("branches"), f" must name at least one branch, each once; got {self.branches!r}")
        if self.network != "dreyeve" and (self.branches != ("image", "flow") or self.segmentation_bytes):
            raise ConfigError(Setting("branches"), f" are of dreyeve, not of {self.network}: leave them out")
        if self.segmentation_bytes and "segmentation" not in self.branches:
            raise ConfigError(
                "a segmentation model is for the branch segmentation, which is not among ", Setting("branches")
            )
        for name, value in (("backbone", self.backbone), ("upsampler", self.upsampler)):
            if value is not None and self.network != "readout-net":
                raise ConfigError(Setting(name), f" is for readout-net; {self.network} has no choice of it")
        if self.centre_bias is not None:
            if self.network not in BIASED:
                raise ConfigError(
                    Setting("centre_bias"), f" is for {' and '.join(BIASED)}; {self.network} has no centre bias"
                )
            sides = self.centre_bias
            if len(sides) != 2 or not all(type(side) is int and 1 <= side <= MOST_BIAS_CELLS for side in sides):
                raise ConfigError(
                    Setting("centre_bias"), f" must be rows and columns from 1 to {MOST_BIAS_CELLS}, got {sides}"
                )
        if self.backbone in ("resnet50", "dpn131") and self.width != 1:
            raise ConfigError(Setting("width"), f" must be 1 with {self.backbone}, which comes in one size")

    @property
    def steps(self) -> int:
        """1: none of them refines its state."""
        return 1

    def channels(self, published: int) -> int:
        """So many of a layer's published channels, at least 1."""
        return max(1, round(published * self.width))


def branches_of(branches: Sequence[BranchName] | None, *, segmented: bool) -> tuple[BranchName, ...]:
    """The branches of `dreyeve` that are asked for; where none are, all that have an input.

    Args:
        branches: what is asked for, or None.
        segmented: whether a segmentation model is named.

    Raises:
        ConfigError: the branch of classes is asked for without a segmentation model, or the other way about.

    Example:
        >>> branches_of(None, segmented=False)
        ('image', 'flow')
    """
    if branches is None:
        return ("image", "flow", "segmentation") if segmented else ("image", "flow")
    if ("segmentation" in branches) != segmented:
        both = Setting("branches"), Setting("segmentation")
        raise ConfigError(both[0], " and ", both[1], ": the branch segmentation and a model for it need each other")
    return tuple(branches)
