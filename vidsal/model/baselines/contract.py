"""What every model without weights promises, and what several of them are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

__all__ = [
    "FLAT",
    "FLOOR_SHARE",
    "FULL_SIDE",
    "Baseline",
    "Map",
    "as_density",
    "even",
    "fit",
    "floats",
    "gaussian",
    "resized",
]

FLOOR_SHARE = 0.01
"""Share of the mass that the methods that look at the picture spread evenly, so that no place has a density of
exactly zero. NSS, CC and every AUC stay as they are; KL and information gain stay finite."""

FULL_SIDE = 640
"""Longer side, in pixels, of level 0 of the pyramid; the scales are then the same share of any picture."""

FLAT = 1e-4
"""Features of pictures in 0..1 that differ by less than this are rounding."""

Map = npt.NDArray[np.float32]


class Baseline(ABC):
    """A model without weights. It stores nothing about a video: what it remembers goes in and comes out."""

    name: ClassVar[str]
    """Key in `BASELINES`."""
    looks: ClassVar[bool] = True
    """Whether the answer depends on the picture, and not on its size alone."""
    memory_size: ClassVar[int] = 0
    """Numbers that it remembers of a video; 0 where each frame is judged by itself."""

    def predict(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Densities of pictures that have nothing to do with each other.

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
            density[:] = self.watch(frame)[0]
        return densities

    def watch(self, frame: npt.NDArray[np.uint8], memory: Map | None = None) -> tuple[Map, Map]:
        """The density of a video's next frame.

        Args:
            frame: (h, w, 3) uint8 RGB.
            memory: what came back with the frame before; None where a video starts.

        Returns:
            (h, w) float32, non-negative with a sum of 1, and (memory_size,) float32.
        """
        return self._density(frame), np.zeros(self.memory_size, np.float32)

    @abstractmethod
    def _density(self, frame: npt.NDArray[np.uint8]) -> Map:
        """(h, w, 3) to (h, w), summing to 1; of a frame before which there was none."""


def floats(frame: npt.NDArray[np.uint8]) -> Map:
    """(h, w, 3) uint8 as float32 in 0..1."""
    return np.asarray(frame * np.float32(1 / 255), np.float32)


def fit(height: int, width: int, side: int) -> tuple[int, int]:
    """Rows and columns of the same shape whose longer side is `side`."""
    return max(1, round(height * side / max(height, width))), max(1, round(width * side / max(height, width)))


def resized(values: Map, rows: int, columns: int) -> Map:
    """(h, w) or (h, w, 3): areas are averaged on the way down, interpolated on the way up."""
    if values.shape[:2] == (rows, columns):
        return values
    shrinks = rows <= values.shape[0] and columns <= values.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (columns, rows), interpolation=how), np.float32)


def gaussian(where: npt.NDArray[np.float64], variance: float) -> npt.NDArray[np.float64]:
    """Summing to 1, however narrow: at the least, the nearest cells hold it all."""
    squared = where**2
    values = np.exp((squared.min() - squared) / (2 * variance))
    return np.asarray(values / values.sum(), np.float64)


def even(height: int, width: int) -> Map:
    """The density of a picture of which nothing is known."""
    return np.full((height, width), 1 / (height * width), np.float32)


def as_density(saliency: Map, height: int, width: int) -> Map:
    """A non-negative map of any size as a density of the picture's; even where it is zero."""
    full = np.maximum(resized(saliency, height, width), 0)
    total = float(full.sum(dtype=np.float64))
    if total <= 0:
        return even(height, width)
    share = np.float32((1 - FLOOR_SHARE) / total)
    return np.asarray(full * share + np.float32(FLOOR_SHARE / (height * width)), np.float32)
