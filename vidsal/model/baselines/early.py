"""Models without weights that see pictures as a centre, a spectrum, contrasts or a walk over them.

OpenCV's own spectral residual lies in its contrib modules, which the wheel that vidsal requires does not have; a score
must not depend on which wheel is installed, so all methods are written here, from their papers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.model.baselines.contract import (
    FLAT,
    FULL_SIDE,
    Baseline,
    Map,
    as_density,
    even,
    fit,
    floats,
    gaussian,
    resized,
)
from vidsal.options import Checked, Range

__all__ = [
    "CentrePrior",
    "GraphBased",
    "IttiKoch",
    "SpectralResidual",
    "Uniform",
    "activate",
    "closeness_of_nodes",
    "concentrate",
    "promote",
]


class Uniform(Baseline):
    """Every place is as likely as any other: what a map without any information scores."""

    name = "uniform"
    looks = False

    def _density(self, frame: npt.NDArray[np.uint8]) -> Map:
        return even(*frame.shape[:2])


@dataclass(frozen=True, kw_only=True)
class CentrePrior(Checked, Baseline):
    """A fixed Gaussian at the picture's centre: people look there whatever is shown.

    With x from -1 at the left edge to 1 at the right one, and y in the same unit, the variances are `variance` along x
    and `variance * ratio` along y. The default is the one that Clarke and Tatler recommend from ten sets of fixations
    ("Deriving an appropriate baseline for describing fixation behaviour", Vision Research 2014), so that nothing is
    fitted to the data that are scored: standard deviations of 23.5 % and 15.7 % of the picture's width.
    """

    name: ClassVar[str] = "centre-prior"
    """See `Baseline`."""
    looks: ClassVar[bool] = False
    """See `Baseline`."""
    variance: Annotated[float, Range(above=0)] = 0.22
    """Variance along x, in units of half the picture's width, squared."""
    ratio: Annotated[float, Range(above=0)] = 0.45
    """Variance along y as a share of that along x."""

    def _density(self, frame: npt.NDArray[np.uint8]) -> Map:
        height, width = frame.shape[:2]
        columns = (np.arange(width) + 0.5) * (2 / width) - 1
        rows = ((np.arange(height) + 0.5) * (2 / height) - 1) * (height / width)
        across = gaussian(columns, self.variance)
        down = gaussian(rows, self.variance * self.ratio)
        return np.outer(down, across).astype(np.float32)


class SpectralResidual(Baseline):
    """What the picture's spectrum has beyond its own smooth course.

    Hou and Zhang, "Saliency detection: a spectral residual approach", CVPR 2007, with the sizes of the authors' code:
    the grey picture, 64 pixels wide; its log amplitude less a 3x3 mean of itself, with the phase kept; back, squared,
    and blurred by a Gaussian of 2.5 of these pixels.
    """

    name = "spectral-residual"

    def _density(self, frame: npt.NDArray[np.uint8]) -> Map:
        height, width = frame.shape[:2]
        rows = min(256, max(1, round(height * 64 / width)))
        grey = resized(floats(frame).mean(axis=2), rows, 64)
        if np.ptp(grey) < FLAT:
            return even(height, width)
        spectrum = np.fft.fft2(grey.astype(np.float64))
        amplitude = np.abs(spectrum)
        # What the rounding to whole levels alone puts into each frequency; below it, a log would only show noise.
        least = math.sqrt(grey.size / 12) / 255
        log_amplitude = np.log(np.maximum(amplitude, least))
        residual = log_amplitude - cv2.blur(log_amplitude, (3, 3), borderType=cv2.BORDER_REPLICATE)
        energy = np.abs(np.fft.ifft2(spectrum / np.maximum(amplitude, least) * np.exp(residual))) ** 2
        blurred = cv2.GaussianBlur(energy.astype(np.float32), (0, 0), 2.5, borderType=cv2.BORDER_REFLECT_101)
        return as_density(np.asarray(blurred, np.float32), height, width)


class IttiKoch(Baseline):
    """Centre against surround in intensity, colour and orientation, over scales.

    Itti, Koch and Niebur, "A model of saliency-based visual attention for rapid scene analysis", PAMI 1998: dyadic
    Gaussian pyramids, centres at levels 2, 3 and 4, surrounds three and four levels above, the normalisation `promote`,
    sums over scales at level 4. Where the paper leaves room: the longer side of level 0 has 640 pixels; a centre and
    its surround in red-green and blue-yellow opponency are subtracted, as in the authors' toolkit; orientation is the
    response of Gabor filters of two phases (0, 45, 90 and 135 degrees, 9x9, a period of 7 pixels) at every level.
    """

    name = "itti-koch"

    def _density(self, frame: npt.NDArray[np.uint8]) -> Map:
        features = _features(frame, levels=9)
        rows, columns = features[4].shape[:2]

        def contrast(channel: int) -> Map:
            """Across-scale sum of the promoted differences of one feature."""
            total = np.zeros((rows, columns), np.float32)
            for centre in (2, 3, 4):
                for surround in (centre + 3, centre + 4):
                    fine = features[centre][:, :, channel]
                    difference = np.abs(fine - resized(features[surround][:, :, channel], *fine.shape))
                    total += resized(promote(difference), rows, columns)
            return total

        intensity = contrast(0)
        colour = contrast(1) + contrast(2)
        orientation = np.asarray(sum(promote(contrast(channel)) for channel in range(3, 7)), np.float32)
        saliency = (promote(intensity) + promote(colour) + promote(orientation)) / 3
        return as_density(np.asarray(saliency, np.float32), *frame.shape[:2])


class GraphBased(Baseline):
    """Where a walker over the picture, drawn to unlike places, spends its time: GBVS.

    Harel, Koch and Perona, "Graph-based visual saliency", NIPS 2006. Each feature of `IttiKoch`, at levels 2, 3 and 4,
    is laid on a grid of nodes, 32 along the longer side; `activate` and `concentrate` are the two Markov chains;
    scales are averaged within intensity, colour and orientation, these three are added, and the sum is blurred by 2 %
    of the longer side. Widths as in the authors' code: 15 % and 6 % of the grid's mean side. Unlikeness is the
    difference of the features, which the paper gives beside the difference of their logs.

    The method leans to the centre by itself, as inner nodes have more neighbours.
    """

    name = "gbvs"

    def _density(self, frame: npt.NDArray[np.uint8]) -> Map:
        height, width = frame.shape[:2]
        rows, columns = fit(height, width, 32)
        features = _features(frame, levels=5)
        maps = np.stack(
            [
                resized(np.ascontiguousarray(features[level][:, :, channel]), rows, columns).ravel()
                for level in (2, 3, 4)
                for channel in range(7)
            ]
        )
        side = (rows + columns) / 2
        active = activate(maps, closeness_of_nodes(rows, columns, 0.15 * side))
        settled = concentrate(active, closeness_of_nodes(rows, columns, 0.06 * side)).reshape(3, 7, rows, columns)
        by_channel = settled.mean(axis=0)
        saliency = by_channel[0] + by_channel[1:3].mean(axis=0) + by_channel[3:].mean(axis=0)
        fine = resized(saliency.astype(np.float32), 4 * rows, 4 * columns)
        blurred = cv2.GaussianBlur(fine, (0, 0), 0.02 * max(fine.shape), borderType=cv2.BORDER_REPLICATE)
        return as_density(np.asarray(blurred, np.float32), height, width)


# Itti, Koch and Niebur's normalisation.


def promote(values: Map) -> Map:
    """Raises maps with one strong peak above maps with many alike: the operator N of Itti et al. 1998.

    The map is stretched to 0..1 and multiplied by (1 - m)^2, where m is the mean of all its local maxima but the
    highest. Maxima are those of 3x3 neighbourhoods; equal ones that touch are one; those below a tenth are left out.

    Args:
        values: (h, w) float32.

    Returns:
        (h, w) float32; all zero where the map is flat.
    """
    low, high = float(values.min()), float(values.max())
    if high - low < FLAT:
        return np.zeros_like(values)
    stretched = (values - low) / np.float32(high - low)
    highest_near = cv2.dilate(stretched, np.ones((3, 3), np.uint8))
    is_peak = (stretched == highest_near) & (stretched >= 0.1)
    count, label = cv2.connectedComponents(is_peak.astype(np.uint8))
    peaks = np.zeros(count)
    peaks[label.ravel()] = stretched.ravel()
    others = np.sort(peaks[1:])[:-1]
    mean = float(others.mean()) if others.size else 0.0
    return np.asarray(stretched * np.float32((1 - mean) ** 2), np.float32)


# Harel, Koch and Perona's chains. Both have symmetric weights, times a factor of the target in the second; such a chain
# is reversible, and its equilibrium is known without walking.


@lru_cache(maxsize=16)
def closeness_of_nodes(rows: int, columns: int, sigma: float) -> npt.NDArray[np.float64]:
    """How near the nodes of a grid are to each other: exp(-distance^2 / (2 sigma^2)).

    Args:
        rows: of the grid.
        columns: of the grid.
        sigma: in nodes.

    Returns:
        (rows * columns, rows * columns) float64, symmetric, read-only; nodes are counted row by row.
    """
    row, column = np.divmod(np.arange(rows * columns), columns)
    squared = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2
    closeness: npt.NDArray[np.float64] = np.exp(squared / (-2 * sigma**2))
    closeness.flags.writeable = False
    return closeness


def activate(maps: npt.NDArray[np.floating], closeness: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Where a walker ends up who goes from node i to j in proportion to |map_i - map_j| closeness_ij: unlike, and near.

    These weights are symmetric, so the equilibrium of a node is its share of all weights.

    Args:
        maps: (N, nodes), the features.
        closeness: (nodes, nodes), symmetric.

    Returns:
        (N, nodes) float64, each row sums to 1; even where a map is flat, as there is nowhere to go.
    """
    weights = np.empty(maps.shape)
    for values, weight in zip(maps.astype(np.float64), weights, strict=True):
        if np.ptp(values) < FLAT:
            weight[:] = 1
        else:
            weight[:] = np.einsum("ij,ij->i", np.abs(values[:, None] - values), closeness)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def concentrate(activation: npt.NDArray[np.float64], closeness: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Where a walker ends up who goes from node i to j in proportion to activation_j closeness_ij: active, and near.

    With z_i, the sum of these over j, activation_i z_i is an equilibrium: what flows from i to j,
    activation_i activation_j closeness_ij, is what flows back.

    Args:
        activation: (N, nodes), non-negative, not all zero.
        closeness: (nodes, nodes), symmetric.

    Returns:
        (N, nodes) float64, each row sums to 1.
    """
    weights = activation * (activation @ closeness)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


# Features.


def _features(frame: npt.NDArray[np.uint8], *, levels: int) -> list[Map]:
    """A pyramid of (h, w, 7): intensity, red-green, blue-yellow and, from level 2 on, the energy of 4 orientations."""
    rows, columns = fit(frame.shape[0], frame.shape[1], FULL_SIDE)
    level = _opponents(resized(floats(frame), rows, columns))
    pyramid = []
    for number in range(levels):
        if number:
            # Not cv2.pyrDown, which keeps every other pixel: eight times over, that shifts a level by a fifth of the
            # picture against the others. This has the same variance, and cells that lie over those below.
            smooth = np.asarray(cv2.GaussianBlur(level, (5, 5), math.sqrt(0.75)), np.float32)
            level = resized(smooth, (level.shape[0] + 1) // 2, (level.shape[1] + 1) // 2)
        intensity = np.ascontiguousarray(level[:, :, 0])
        oriented = [
            np.asarray(sum(np.abs(cv2.filter2D(intensity, cv2.CV_32F, kernel)) for kernel in pair), np.float32)
            for pair in (_gabors() if number >= 2 else ())
        ]
        pyramid.append(np.dstack([level, *oriented]))
    return pyramid


def _opponents(rgb: Map) -> Map:
    """(h, w, 3) in 0..1 to intensity, red-green and blue-yellow; hues only where it is not dark."""
    intensity = rgb.mean(axis=2)
    bright = intensity > max(float(intensity.max()) / 10, FLAT)
    r, g, b = np.moveaxis(rgb * np.where(bright, 1 / np.maximum(intensity, FLAT), 0)[:, :, None], 2, 0)
    red, green, blue = (np.maximum(0, one - (x + y) / 2) for one, x, y in ((r, g, b), (g, r, b), (b, r, g)))
    yellow = np.maximum(0, (r + g) / 2 - np.abs(r - g) / 2 - b)
    return np.dstack([intensity, red - green, blue - yellow]).astype(np.float32)


@lru_cache(maxsize=1)
def _gabors() -> tuple[tuple[Map, Map], ...]:
    """For each orientation the even and the odd filter; both have no response to a flat picture."""
    y, x = np.mgrid[-4:5, -4:5]
    envelope = np.exp((x**2 + y**2) / (-2 * (7 / 3) ** 2))
    pairs = []
    for angle in (0, 45, 90, 135):
        along = (x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))) * (2 * math.pi / 7)
        even, odd = envelope * np.cos(along), envelope * np.sin(along)
        even -= envelope * (even.sum() / envelope.sum())
        pairs.append(((even / np.abs(even).sum()).astype(np.float32), (odd / np.abs(odd).sum()).astype(np.float32)))
    return tuple(pairs)
