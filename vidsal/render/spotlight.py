"""A density in, what dims the picture around the area that holds most of it out."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidsal.render.layer import Layer, Part, SoftLayer
from vidsal.render.mass import edge_of_mass, edges_of_mass
from vidsal.render.scale import smooth_step
from vidsal.stages import RenderOptions

__all__ = ["LIT_SHARE", "soft_spotlight", "spotlight_layers", "spotlight_layers_batch"]

LIT_SHARE = 0.5
"""Share of the density in the area that is left as it is."""

_FADE = math.log(2)
"""The dimming grows until the density is this many times lower than at the edge of the area (its natural log)."""


def spotlight_layers(
    density: npt.NDArray[np.float32], *, height: int, width: int, options: RenderOptions
) -> list[Layer]:
    """`soft_spotlight`, enlarged; nothing where it is None."""
    soft = soft_spotlight(density, height=height, width=width, options=options)
    return [] if soft is None else [soft.enlarged()]


def soft_spotlight(
    density: npt.NDArray[np.float32], *, height: int, width: int, options: RenderOptions
) -> SoftLayer | None:
    """Black around the smallest area that holds `LIT_SHARE` of the density; nothing within it.

    Args:
        density: (h, w) float32, sums to 1; any size. Its cells cover the picture evenly, as `SaliencyBatch` says.
        height: rows of the picture.
        width: columns of it.
        options: opacity far from the area.

    Returns:
        The layer; None where nothing is dimmed.
    """
    (edge,) = edge_of_mass(density, [LIT_SHARE])
    part = Part.around(density < edge, height=height, width=width)
    if part is None or not options.opacity:
        return None
    density = density[part.cells]
    tiny = np.finfo(np.float32).tiny
    outside = np.log(max(edge, tiny) / np.maximum(density, tiny)) / np.float32(_FADE)
    alpha = np.float32(options.opacity) * smooth_step(outside)
    return SoftLayer(part, np.zeros((*density.shape, 3), np.uint8), np.asarray(alpha, np.float32))


def spotlight_layers_batch(density: Tensor, *, options: RenderOptions) -> Tensor:
    """(B, h, w) densities -> (B, 4, h, w) float32: colours (black) and alpha, before they are enlarged."""
    edge = edges_of_mass(density, [LIT_SHARE])[:, :, None]
    tiny = torch.finfo(torch.float32).tiny
    outside = (edge.clamp_min(tiny) / density.clamp_min(tiny)).log() / _FADE
    alpha = options.opacity * smooth_step(outside)
    return torch.cat([alpha.new_zeros((len(alpha), 3, *alpha.shape[1:])), alpha[:, None]], dim=1)
