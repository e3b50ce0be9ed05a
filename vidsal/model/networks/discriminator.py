"""SalGAN's discriminator: pictures and maps in, whether each map is recorded or predicted out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.networks.config import NetworkConfig

__all__ = ["Discriminator"]


class Discriminator(nn.Module):
    """The adversary of Pan et al. (2017), as their code has it; it is needed in training alone.

    A 1x1 convolution joins the map and the three colours to three channels; then come 3x3 convolutions to 32 (a pool
    of 4), 64 and 64 (a pool of 2), 64 and 64 with kernels of norm 1 (a pool of 2), and dense layers to 100, 2 and 1
    numbers, the first two through a hyperbolic tangent. 1,359,296 parameters at 192x256 and full width.

    The paper's table has one convolution and other pools more: three of 2. First weights are Glorot's uniform ones, as
    the framework of the authors draws them by default.
    """

    def __init__(self, config: NetworkConfig, *, height: int, width: int) -> None:
        """Make it with random weights.

        Args:
            config: how wide: that of the generator.
            height: rows of the canvas, at least 16.
            width: columns of the canvas, at least 16.
        """
        super().__init__()
        few, many = config.channels(32), config.channels(64)
        self.merge = nn.Conv2d(4, 3, 1)
        self.conv1 = nn.Conv2d(3, few, 3, padding=1)
        self.conv2_1 = nn.Conv2d(few, many, 3, padding=1)
        self.conv2_2 = nn.Conv2d(many, many, 3, padding=1)
        self.conv3_1 = _UnitConv2d(many, many, 3, padding=1)
        self.conv3_2 = _UnitConv2d(many, many, 3, padding=1)
        hidden = config.channels(100)
        self.dense4 = nn.Linear(many * (height // 16) * (width // 16), hidden)
        self.dense5 = nn.Linear(hidden, 2)
        self.out = nn.Linear(2, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, pictures: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Judge maps.

        Args:
            pictures: (N, 3, H, W) float, RGB, 0 to 255.
            maps: (N, H, W) float, 0 to 1.

        Returns:
            (N,) logits: above 0 where it takes the map for a recorded one.
        """
        x = F.relu(self.merge(torch.cat([maps[:, None], pictures], 1)))
        x = F.max_pool2d(F.relu(self.conv1(x)), 4)
        x = F.max_pool2d(F.relu(self.conv2_2(F.relu(self.conv2_1(x)))), 2)
        x = F.max_pool2d(F.relu(self.conv3_2(F.relu(self.conv3_1(x)))), 2)
        x = torch.tanh(self.dense5(torch.tanh(self.dense4(x.flatten(1)))))
        judged: torch.Tensor = self.out(x)[:, 0]
        return judged


class _UnitConv2d(nn.Conv2d):
    """A convolution whose kernels are scaled to the norm 1, a kernel for each output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = F.normalize(self.weight.flatten(1)).view_as(self.weight)
        return F.conv2d(x, weight, self.bias, padding=self.padding)
