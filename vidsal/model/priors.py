"""The size of a feature grid in, Gaussian prior maps out: the learned priors of SAM."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["LearnedPriors"]

# Bounds and epsilon of the authors' code: (mu_x, mu_y, sigma_x, sigma_y).
_BOUNDS = ((0.25, 0.75), (0.35, 0.65), (0.1, 0.9), (0.2, 0.8))
_EPSILON = 1e-7


class LearnedPriors(nn.Module):
    """Gaussians whose centres and widths are learned, each divided by its own maximum.

    The grid is x = linspace(0, 1, w) and y = linspace((1 - e) / 2, (1 + e) / 2, h) with e = h / w. Parameters are
    clipped at every use to mu_x in [.25, .75], mu_y in [.35, .65], sigma_x in [.1, .9], sigma_y in [.2, .8].

    Source: Cornia et al. (2018) and their code.
    """

    def __init__(self, count: int) -> None:
        """Make `count` priors, drawn uniformly: mu in [.3, .7], sigma in [.05, .3]."""
        super().__init__()
        # One vector [mu_x, mu_y, sigma_x, sigma_y], each `count` long, as in the published files.
        self.parameters_vector = nn.Parameter(torch.empty(4 * count))
        means, sigmas = self.parameters_vector.detach().chunk(2)
        nn.init.uniform_(means, 0.3, 0.7)
        nn.init.uniform_(sigmas, 0.05, 0.3)
        self.count = count

    def forward(self, height: int, width: int) -> torch.Tensor:
        """The prior maps, (count, height, width) float32, each with maximum one."""
        bounded = [
            values.clamp(low, high)[:, None, None]
            for values, (low, high) in zip(self.parameters_vector.float().chunk(4), _BOUNDS, strict=True)
        ]
        mu_x, mu_y, sigma_x, sigma_y = bounded
        extent = height / width
        device = self.parameters_vector.device
        x = torch.linspace(0, 1, width, device=device)[None, None, :]
        y = torch.linspace((1 - extent) / 2, (1 + extent) / 2, height, device=device)[None, :, None]
        exponent = (x - mu_x) ** 2 / (2 * sigma_x**2 + _EPSILON) + (y - mu_y) ** 2 / (2 * sigma_y**2 + _EPSILON)
        maps = torch.exp(-exponent) / (2 * torch.pi * sigma_x * sigma_y + _EPSILON)
        return maps / maps.amax((1, 2), keepdim=True)
