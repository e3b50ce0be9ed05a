"""A density and shares of it in, the density at the edge of the smallest areas that hold these out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["edge_of_mass", "edges_of_mass"]


def edge_of_mass(density: npt.NDArray[np.float32], shares: Sequence[float]) -> npt.NDArray[np.float32]:
    """The lowest density inside the smallest area that holds a share of the mass.

    Args:
        density: (h, w), not negative, with some mass.
        shares: above 0 to 1.

    Returns:
        (shares,) float32: the cells that reach it hold at least the share, those above it less.

    Example:
        >>> edge_of_mass(np.array([[0.5, 0.25], [0.125, 0.125]], np.float32), [0.25, 0.9]).tolist()
        [0.5, 0.125]
    """
    descending = np.sort(density, axis=None)[::-1]
    held = np.cumsum(descending, dtype=np.float64)
    last = np.searchsorted(held, np.asarray(shares) * held[-1])
    return np.asarray(descending[np.minimum(last, len(held) - 1)], np.float32)


def edges_of_mass(density: Tensor, shares: Sequence[float]) -> Tensor:
    """`edge_of_mass` for (B, h, w) densities on a device, without waiting for it: (B, shares) float32."""
    descending = density.flatten(1).sort(dim=1, descending=True).values
    exact = torch.float32 if density.device.type == "mps" else torch.float64
    held = descending.cumsum(dim=1, dtype=exact)
    wanted = torch.cat([held[:, -1:] * share for share in shares], dim=1)
    last = torch.searchsorted(held, wanted).clamp_max(held.shape[1] - 1)
    return descending.gather(1, last)
