"""A density in, lines around the smallest areas that hold stated shares of it out.

For each share the distance of every cell from the line is estimated to first order: how far the log density lies from
its value on the line, over how steep it is. That is smooth, so it is found at the size of the map, and enlarged; the
line's thickness is a thing of pixels and comes last.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from vidsal.render.layer import Layer, Part
from vidsal.render.mass import edge_of_mass, edges_of_mass

__all__ = ["SHARES", "THICKNESS", "contour_layers", "contour_layers_batch", "line_pixels"]

SHARES = (0.25, 0.5, 0.75)
"""Of the density, that the areas inside the lines hold."""

THICKNESS = (1.5, 1.0, 0.6)
"""Of the lines, relative to each other: the inmost is the thickest."""

_HALO = 1.0
"""Width of the dark edge on each side of a line, relative to the line's own."""

_HALO_ALPHA = 0.55
_TINY = 1e-30


def line_pixels(height: int, width: int) -> float:
    """Thickness of a line that is seen well and hides little, in pixels."""
    return max(1.0, min(height, width) / 400)


def contour_layers(density: npt.NDArray[np.float32], *, height: int, width: int) -> list[Layer]:
    """White lines with dark edges, which are seen on any footage.

    Args:
        density: (h, w) float32, sums to 1; any size. Its cells cover the picture evenly, as `SaliencyBatch` says.
        height: rows of the picture.
        width: columns of it.
    """
    h, w = density.shape
    log_density = np.log(np.maximum(density, np.float32(_TINY)))
    down, across = _slopes(log_density)
    slope = np.hypot(down * np.float32(h / height), across * np.float32(w / width))  # per pixel
    line = line_pixels(height, width)
    reach = _reach(line)
    limit = _limit(reach, h, w, height, width)
    distances = []
    for edge in edge_of_mass(density, SHARES):
        away = log_density - np.log(max(edge, np.float32(_TINY)))
        distance = np.where(slope > _TINY, away / np.maximum(slope, np.float32(_TINY)), np.copysign(limit, away))
        distances.append(np.clip(distance, -limit, limit).astype(np.float32))
    near = np.abs(distances).min(axis=0) < limit
    part = Part.around(near, height=height, width=width)
    if part is None:
        return []
    (rows, columns), size = part.pixels, tuple(side.stop - side.start for side in part.pixels[::-1])
    nearest = np.full(size[::-1], 255, np.uint8)
    for distance, thickness in zip(distances, THICKNESS, strict=True):
        large = cv2.resize(distance[part.cells], size, interpolation=cv2.INTER_LINEAR)
        # Distances in 255ths of the reach, for lines of one thickness.
        cv2.min(nearest, cv2.convertScaleAbs(large, alpha=255 / reach / thickness), dst=nearest)
    alpha, shade = _profile(line)
    colors = cv2.LUT(cv2.merge([nearest] * 3), np.rint(shade * 255).astype(np.uint8))
    covered = np.asarray(cv2.LUT(nearest, alpha), np.float32)
    return [Layer(np.asarray(colors, np.uint8), covered, rows.start, columns.start)]


def contour_layers_batch(density: Tensor, *, height: int, width: int) -> Tensor:
    """`contour_layers` for (B, h, w) densities on a device: (B, 4, height, width) float32, colours to 255 and alpha."""
    h, w = density.shape[1:]
    log_density = density.clamp_min(_TINY).log()
    down, across = (_slope(log_density, axis) for axis in (1, 2))
    slope = torch.hypot(down * (h / height), across * (w / width))
    line = line_pixels(height, width)
    reach = _reach(line)
    limit = _limit(reach, h, w, height, width)
    nearest = density.new_full((len(density), height, width), 255.0)
    for edge, thickness in zip(edges_of_mass(density, SHARES).unbind(1), THICKNESS, strict=True):
        away = log_density - edge.clamp_min(_TINY).log()[:, None, None]
        far = torch.full_like(away, limit).copysign(away)
        distance = torch.where(slope > _TINY, away / slope.clamp_min(_TINY), far).clamp(-limit, limit)
        large = F.interpolate(distance[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
        nearest = nearest.minimum(large.abs() * (255 / reach / thickness))
    alpha, shade = (torch.from_numpy(each).to(density.device) for each in _profile(line))
    steps = nearest.round().long()
    return torch.stack([shade[steps] * 255] * 3 + [alpha[steps]], dim=1)


def _slopes(log_density: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Rise of the log density down and across, per cell; 0 where a side has a single cell."""
    return [
        np.gradient(log_density, axis=axis) if log_density.shape[axis] > 1 else np.zeros_like(log_density)
        for axis in (0, 1)
    ]


def _slope(log_density: Tensor, axis: int) -> Tensor:
    if log_density.shape[axis] < 2:
        return torch.zeros_like(log_density)
    return torch.gradient(log_density, dim=axis)[0]


def _reach(line: float) -> float:
    """Distance from the middle of a line of thickness 1 at which it has ended, its halo included, in pixels."""
    return line * (0.5 + _HALO) + 0.5


def _limit(reach: float, h: int, w: int, height: int, width: int) -> float:
    """Distance in pixels beyond which it does not matter how far: farther than two cells, and than any line reaches."""
    return max(2 * reach * max(THICKNESS), 2 * height / h, 2 * width / w)


@lru_cache(maxsize=8)
def _profile(line: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Alpha and shade (0 black, 1 white) of a line at 0 to 255 255ths of its reach from the middle, (256,) each."""
    distance = np.arange(256) / 255 * _reach(line)
    core = np.clip(line / 2 + 0.5 - distance, 0, 1)
    halo = _HALO_ALPHA * np.clip(_reach(line) - distance, 0, 1)
    alpha = core + halo * (1 - core)
    shade = np.divide(core, alpha, out=np.zeros_like(alpha), where=alpha > 0)
    return alpha.astype(np.float32), shade.astype(np.float32)
