"""Pictures in, densities out, without weights: the models that a learnt one has to beat.

`build_baseline` makes one by name. All follow one contract, `Baseline`: each frame is judged by itself, the answer
depends on nothing but its pixels (no random numbers, no optional library), and a picture without any structure gets a
density all the same.

OpenCV's own spectral residual lies in its contrib modules, which the wheel that vidsal requires does not have; a score
must not depend on which wheel is installed, so all methods are written here, from their papers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.errors import ConfigError
from vidsal.options import Checked, Range

__all__ = [
    "BASELINES",
    "FLOOR_SHARE",
    "Baseline",
    "BaselineName",
    "CentrePrior",
    "GraphBased",
    "IttiKoch",
    "SpectralResidual",
    "Uniform",
    "activate",
    "build_baseline",
    "closeness_of_nodes",
    "concentrate",
    "promote",
]

FLOOR_SHARE = 0.01
"""Share of the mass that the methods that look at the picture spread evenly, so that no place has a density of
exactly zero. NSS, CC and every AUC stay as they are; KL and information gain stay finite."""

_FULL_SIDE = 640
"""Longer side, in pixels, of level 0 of the pyramid; the scales are then the same share of any picture."""

_FLAT = 1e-4
"""Features of pictures in 0..1 that differ by less than this are rounding."""

_Map = npt.NDArray[np.float32]


class Baseline(ABC):
    """A model without weights. Keeps no state: frames may come in any order and grouping."""

    name: ClassVar[str]
    """Key in `BASELINES`."""
    looks: ClassVar[bool] = True
    """Whether the answer depends on the picture, and not on its size alone."""

    def predict(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Densities of pictures.

        Args:
            frames: (N, h, w, 3) uint8 RGB; N may be 0.

        Returns:
            (N, h, w) float32, each non-negative with a sum of 1.

        Raises:
            ValueError: `frames` has another shape or dtype.
        """
        if frames.ndim != 4 or frames.shape[3] != 3 or min(frames.shape[1:3]) < 1 or frames.dtype != np.uint8:
            raise ValueError(f"frames must be (N, h, w, 3) uint8, got {frames.shape} {frames.dtype}")
        densities = np.empty(frames.shape[:3], np.float32)
        for frame, density in zip(frames, densities, strict=True):
            density[:] = self._density(frame)
        return densities

    @abstractmethod
    def _density(self, frame: npt.NDArray[np.uint8]) -> _Map:
        """(h, w, 3) to (h, w), summing to 1."""


class Uniform(Baseline):
    """Every place is as likely as any other: what a map without any information scores."""

    name = "uniform"
    looks = False

    def _density(self, frame: npt.NDArray[np.uint8]) -> _Map:
        return _even(*frame.shape[:2])


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

    def _density(self, frame: npt.NDArray[np.uint8]) -> _Map:
        height, width = frame.shape[:2]
        columns = (np.arange(width) + 0.5) * (2 / width) - 1
        rows = ((np.arange(height) + 0.5) * (2 / height) - 1) * (height / width)
        across = _gaussian(columns, self.variance)
        down = _gaussian(rows, self.variance * self.ratio)
        return np.outer(down, across).astype(np.float32)


class SpectralResidual(Baseline):
    """What the picture's spectrum has beyond its own smooth course.

    Hou and Zhang, "Saliency detection: a spectral residual approach", CVPR 2007, with the sizes of the authors' code:
    the grey picture, 64 pixels wide; its log amplitude less a 3x3 mean of itself, with the phase kept; back, squared,
    and blurred by a Gaussian of 2.5 of these pixels.
    """

    name = "spectral-residual"

    def _density(self, frame: npt.NDArray[np.uint8]) -> _Map:
        height, width = frame.shape[:2]
        rows = min(256, max(1, round(height * 64 / width)))
        grey = _resized(_floats(frame).mean(axis=2), rows, 64)
        if np.ptp(grey) < _FLAT:
            return _even(height, width)
        spectrum = np.fft.fft2(grey.astype(np.float64))
        amplitude = np.abs(spectrum)
        # What the rounding to whole levels alone puts into each frequency; below it, a log would only show noise.
        least = math.sqrt(grey.size / 12) / 255
        log_amplitude = np.log(np.maximum(amplitude, least))
        residual = log_amplitude - cv2.blur(log_amplitude, (3, 3), borderType=cv2.BORDER_REPLICATE)
        energy = np.abs(np.fft.ifft2(spectrum / np.maximum(amplitude, least) * np.exp(residual))) ** 2
        blurred = cv2.GaussianBlur(energy.astype(np.float32), (0, 0), 2.5, borderType=cv2.BORDER_REFLECT_101)
        return _as_density(np.asarray(blurred, np.float32), height, width)


class IttiKoch(Baseline):
    """Centre against surround in intensity, colour and orientation, over scales.

    Itti, Koch and Niebur, "A model of saliency-based visual attention for rapid scene analysis", PAMI 1998: dyadic
    Gaussian pyramids, centres at levels 2, 3 and 4, surrounds three and four levels above, the normalisation `promote`,
    sums over scales at level 4. Where the paper leaves room: the longer side of level 0 has 640 pixels; a centre and
    its surround in red-green and blue-yellow opponency are subtracted, as in the authors' toolkit; orientation is the
    response of Gabor filters of two phases (0, 45, 90 and 135 degrees, 9x9, a period of 7 pixels) at every level.
    """

    name = "itti-koch"

    def _density(self, frame: npt.NDArray[np.uint8]) -> _Map:
        features = _features(frame, levels=9)
        rows, columns = features[4].shape[:2]

        def contrast(channel: int) -> _Map:
            """Across-scale sum of the promoted differences of one feature."""
            total = np.zeros((rows, columns), np.float32)
            for centre in (2, 3, 4):
                for surround in (centre + 3, centre + 4):
                    fine = features[centre][:, :, channel]
                    difference = np.abs(fine - _resized(features[surround][:, :, channel], *fine.shape))
                    total += _resized(promote(difference), rows, columns)
            return total

        intensity = contrast(0)
        colour = contrast(1) + contrast(2)
        orientation = np.asarray(sum(promote(contrast(channel)) for channel in range(3, 7)), np.float32)
        saliency = (promote(intensity) + promote(colour) + promote(orientation)) / 3
        return _as_density(np.asarray(saliency, np.float32), *frame.shape[:2])


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

    def _density(self, frame: npt.NDArray[np.uint8]) -> _Map:
        height, width = frame.shape[:2]
        rows, columns = _fit(height, width, 32)
        features = _features(frame, levels=5)
        maps = np.stack(
            [
                _resized(np.ascontiguousarray(features[level][:, :, channel]), rows, columns).ravel()
                for level in (2, 3, 4)
                for channel in range(7)
            ]
        )
        side = (rows + columns) / 2
        active = activate(maps, closeness_of_nodes(rows, columns, 0.15 * side))
        settled = concentrate(active, closeness_of_nodes(rows, columns, 0.06 * side)).reshape(3, 7, rows, columns)
        by_channel = settled.mean(axis=0)
        saliency = by_channel[0] + by_channel[1:3].mean(axis=0) + by_channel[3:].mean(axis=0)
        fine = _resized(saliency.astype(np.float32), 4 * rows, 4 * columns)
        blurred = cv2.GaussianBlur(fine, (0, 0), 0.02 * max(fine.shape), borderType=cv2.BORDER_REPLICATE)
        return _as_density(np.asarray(blurred, np.float32), height, width)


BaselineName = Literal["uniform", "centre-prior", "spectral-residual", "itti-koch", "gbvs"]
"""Names that `build_baseline` takes."""

BASELINES: dict[str, Callable[[], Baseline]] = {
    kind.name: kind for kind in (Uniform, CentrePrior, SpectralResidual, IttiKoch, GraphBased)
}
"""Every baseline, by the name that commands take; those that need recorded gaze are made by the evaluation."""


def build_baseline(name: str) -> Baseline:
    """The baseline of a name, with its published settings.

    Raises:
        ConfigError: there is none of that name; the message lists them.

    Example:
        >>> density = build_baseline("centre-prior").predict(np.zeros((1, 9, 16, 3), np.uint8))
        >>> density.shape, bool(density[0, 4, 8] > density[0, 0, 0])
        ((1, 9, 16), True)
    """
    make = BASELINES.get(name)
    if make is None:
        raise ConfigError(f"there is no baseline {name!r}; choose from {', '.join(BASELINES)}")
    return make()


# Itti, Koch and Niebur's normalisation.


def promote(values: _Map) -> _Map:
    """Raises maps with one strong peak above maps with many alike: the operator N of Itti et al. 1998.

    The map is stretched to 0..1 and multiplied by (1 - m)^2, where m is the mean of all its local maxima but the
    highest. Maxima are those of 3x3 neighbourhoods; equal ones that touch are one; those below a tenth are left out.

    Args:
        values: (h, w) float32.

    Returns:
        (h, w) float32; all zero where the map is flat.
    """
    low, high = float(values.min()), float(values.max())
    if high - low < _FLAT:
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
        if np.ptp(values) < _FLAT:
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


def _features(frame: npt.NDArray[np.uint8], *, levels: int) -> list[_Map]:
    """A pyramid of (h, w, 7): intensity, red-green, blue-yellow and, from level 2 on, the energy of 4 orientations."""
    rows, columns = _fit(frame.shape[0], frame.shape[1], _FULL_SIDE)
    level = _opponents(_resized(_floats(frame), rows, columns))
    pyramid = []
    for number in range(levels):
        if number:
            # Not cv2.pyrDown, which keeps every other pixel: eight times over, that shifts a level by a fifth of the
            # picture against the others. This has the same variance, and cells that lie over those below.
            smooth = np.asarray(cv2.GaussianBlur(level, (5, 5), math.sqrt(0.75)), np.float32)
            level = _resized(smooth, (level.shape[0] + 1) // 2, (level.shape[1] + 1) // 2)
        intensity = np.ascontiguousarray(level[:, :, 0])
        oriented = [
            np.asarray(sum(np.abs(cv2.filter2D(intensity, cv2.CV_32F, kernel)) for kernel in pair), np.float32)
            for pair in (_gabors() if number >= 2 else ())
        ]
        pyramid.append(np.dstack([level, *oriented]))
    return pyramid


def _opponents(rgb: _Map) -> _Map:
    """(h, w, 3) in 0..1 to intensity, red-green and blue-yellow; hues only where it is not dark."""
    intensity = rgb.mean(axis=2)
    bright = intensity > max(float(intensity.max()) / 10, _FLAT)
    r, g, b = np.moveaxis(rgb * np.where(bright, 1 / np.maximum(intensity, _FLAT), 0)[:, :, None], 2, 0)
    red, green, blue = (np.maximum(0, one - (x + y) / 2) for one, x, y in ((r, g, b), (g, r, b), (b, r, g)))
    yellow = np.maximum(0, (r + g) / 2 - np.abs(r - g) / 2 - b)
    return np.dstack([intensity, red - green, blue - yellow]).astype(np.float32)


@lru_cache(maxsize=1)
def _gabors() -> tuple[tuple[_Map, _Map], ...]:
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


# Small helpers.


def _floats(frame: npt.NDArray[np.uint8]) -> _Map:
    return np.asarray(frame * np.float32(1 / 255), np.float32)


def _fit(height: int, width: int, side: int) -> tuple[int, int]:
    """Rows and columns of the same shape whose longer side is `side`."""
    return max(1, round(height * side / max(height, width))), max(1, round(width * side / max(height, width)))


def _resized(values: _Map, rows: int, columns: int) -> _Map:
    """(h, w) or (h, w, 3): areas are averaged on the way down, interpolated on the way up."""
    if values.shape[:2] == (rows, columns):
        return values
    shrinks = rows <= values.shape[0] and columns <= values.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (columns, rows), interpolation=how), np.float32)


def _gaussian(where: npt.NDArray[np.float64], variance: float) -> npt.NDArray[np.float64]:
    """Summing to 1, however narrow: at the least, the nearest cells hold it all."""
    squared = where**2
    values = np.exp((squared.min() - squared) / (2 * variance))
    return np.asarray(values / values.sum(), np.float64)


def _even(height: int, width: int) -> _Map:
    return np.full((height, width), 1 / (height * width), np.float32)


def _as_density(saliency: _Map, height: int, width: int) -> _Map:
    """A non-negative map of any size as a density of the picture's; even where it is zero."""
    full = np.maximum(_resized(saliency, height, width), 0)
    total = float(full.sum(dtype=np.float64))
    if total <= 0:
        return _even(height, width)
    share = np.float32((1 - FLOOR_SHARE) / total)
    return np.asarray(full * share + np.float32(FLOOR_SHARE / (height * width)), np.float32)
