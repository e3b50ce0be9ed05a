"""The architecture of a network: `SAMConfig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vidsal.errors import ConfigError, Setting
from vidsal.model.options import AttentionScale, BackboneName, HeadName, StrideIn
from vidsal.options import OPEN, Checked, Range

__all__ = ["SAMConfig"]


@dataclass(frozen=True)
class SAMConfig(Checked):
    """The architecture: one family from the published networks to the light default."""

    backbone: Annotated[BackboneName, OPEN] = "mobilenet_v2"
    """Picture to features: "resnet50" and "vgg16" as published; light are "mobilenet_v2", and "efficientnet_lite0",
    "..._lite1" and "..._lite2", whose ImageNet weights want another input (mean 127, deviation 128, divisor 1)."""
    recurrent_channels: Annotated[int, Range(at_least=1, at_most=4096)] = 128
    """Channels of the features X, of H and of C."""
    steps: Annotated[int, Range(at_least=1, at_most=100)] = 3
    """T: refinement steps on a frame that starts from the zero state."""
    attention_scale: AttentionScale = "cells"
    """"none" as published; "cells" multiplies the attention by the number of cells."""
    priors: Annotated[int, Range(at_least=1, at_most=1024)] = 16
    """Learned Gaussian priors in each round."""
    prior_rounds: Annotated[int, Range(at_least=1, at_most=16)] = 1
    """Rounds of (join priors, 5x5 convolution); the published networks have two."""
    prior_dilation: Annotated[int, Range(at_least=1, at_most=64)] = 2
    """Dilation of the 5x5 convolutions; 4 as published at stride 8."""
    head: HeadName = "refine"
    """How the map is made large: "published", 1x1, ReLU, bilinear x16; "refine", with the finer features of a light
    backbone; "readout_deconvolution", "readout_subpixel" and "readout_bilinear" without those, by transposed
    convolutions, sub-pixel convolutions or interpolation alone. All but the first end in a log-softmax."""
    dropout: Annotated[float, Range(at_least=0, below=1)] = 0.0
    """Share of feature channels dropped in training."""
    motion_channels: Annotated[int, Range(at_least=0, at_most=4096)] = 0
    """Channels of the branch that sees what changed since the last frame; 0 leaves it out, as published."""
    stride_in: StrideIn = "first_1x1"
    """Convolution of resnet50's stage 3 that has the stride: "first_1x1" as published, "middle_3x3" as torchvision."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # The backbones bring torch, which a command's help does without.
        from vidsal.model.backbones import find_backbone

        backbone = find_backbone(self.backbone, stride_in=self.stride_in)
        for setting, is_set in (
            (Setting("head", "refine"), self.head == "refine"),
            (Setting("motion_channels"), self.motion_channels > 0),
        ):
            if is_set and not backbone.has_skips:
                raise ConfigError(setting, f" needs finer features, which {self.backbone} does not give")
