"""The fixations that a run is trained on in, a centre bias out: the log density of where pictures are looked at.

A Gaussian on each fixation, in coordinates that are shares of the picture's width and height, and some density spread
evenly. How wide and how much is what predicts the fixations on pictures best that are held out in turn.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.errors import ConfigError, Setting
from vidsal.evaluate.references import spread_frames
from vidsal.train.samples import OpenData

__all__ = ["CELLS", "FROM_FIXATIONS", "Estimate", "estimate_centre_bias", "fitted"]

_Map = npt.NDArray[np.float64]

FROM_FIXATIONS = Path("fixations")
"""What `TrainConfig.centre_bias` is where it shall be estimated."""

CELLS = 256
"""Rows, and columns, of an estimate."""

# Standard deviations that are tried, in shares of a side, and shares of the density that are spread evenly.
_WIDTHS = tuple(0.005 * 2 ** (step / 2) for step in range(11))
_EVEN = (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3)
_PARTS = 10


@dataclass(frozen=True, eq=False)
class Estimate:
    """A density of fixations."""

    log_density: npt.NDArray[np.float32]
    """(rows, columns), the natural log; its exponentials sum to 1."""
    width: float
    """Standard deviation of the Gaussian on each fixation, in shares of each side."""
    even: float
    """Share of the density that is spread evenly."""
    bits: float
    """By so much a fixation on a held-out part is likelier than under an even density, in the mean."""
    note: str = ""
    """How it was made, in a sentence."""


def estimate_centre_bias(data: OpenData) -> Estimate:
    """The centre bias of the training pictures and videos of a run.

    Every fixation counts the same: of stills all, of videos those on a few frames, spread evenly (`spread_frames`).
    What is held out for validation is not looked at.

    Returns:
        A density on (`CELLS`, `CELLS`), rows from the top of the picture, with a `note` on how it was made.

    Raises:
        ConfigError: fewer than two recordings have fixations.
        DatasetError: labels cannot be read.
    """
    parts = np.zeros((_PARTS, CELLS, CELLS))
    recordings: dict[tuple[int, str], int] = {}
    for place, one in enumerate((*data.stills, *data.videos)):
        for sequence in one.training:
            for frame in spread_frames(sequence):
                seen = frame.fixations()
                if seen is not None and len(seen.points):
                    number = recordings.setdefault((place, sequence.recording), len(recordings))
                    parts[number % _PARTS] += seen.counts(height=CELLS, width=CELLS)
    if len(recordings) < 2:
        raise ConfigError(
            Setting("centre_bias", "fixations"),
            " needs recorded fixations on at least two pictures or videos that are trained on; "
            + ("only one has some" if recordings else "none has any")
            + ": name a file instead",
        )
    found = fitted(parts[: len(recordings)])
    note = (
        f"The centre bias is estimated from {parts.sum():.0f} fixations of {len(recordings)} training pictures or "
        f"videos: Gaussians of {found.width:.1%} of each side, {found.even:.2%} spread evenly, the best for those held "
        f"out in turn, of which a fixation is likelier than on an even map by {found.bits:.2f} bits."
    )
    return dataclasses.replace(found, note=note)


def fitted(parts: _Map) -> Estimate:
    """The density of fixations, as wide and as even as predicts each part best from the others.

    Args:
        parts: (parts, rows, columns), fixations on each cell; at least two parts.

    Source: the baseline models of github.com/matthias-k/pysaliency, by the authors of DeepGaze, which are fitted like
    this: relative coordinates, a Gaussian kernel, an even share, other pictures held out. The widths and shares to
    choose from are ours, and so is that kernels are mirrored at the edges of the picture, so that none loses mass.
    """
    total, cells = parts.sum(0), math.prod(parts.shape[1:])
    best = Estimate(np.zeros(total.shape, np.float32), 0.0, 0.0, -math.inf)
    for width in _WIDTHS:
        whole = _blurred(total, width)
        held_out = [(part, (whole - _blurred(part, width)) / (total.sum() - part.sum())) for part in parts]
        for even in _EVEN:
            likelihood = sum(
                float((part * np.log((1 - even) * np.maximum(rest, 0) + even / cells)).sum()) for part, rest in held_out
            )
            bits = (likelihood / float(total.sum()) + math.log(cells)) / math.log(2)
            if bits > best.bits:
                log_density = np.log((1 - even) * whole / total.sum() + even / cells)
                best = Estimate(np.asarray(log_density, np.float32), width, even, bits)
    return best


def _blurred(counts: _Map, width: float) -> _Map:
    """A Gaussian of a share of each side on every fixation, cut off at four of it and mirrored at the edges."""
    across, down = (width * side for side in counts.shape[::-1])
    size = (2 * math.ceil(4 * across) + 1, 2 * math.ceil(4 * down) + 1)
    return np.asarray(cv2.GaussianBlur(counts, size, across, sigmaY=down, borderType=cv2.BORDER_REFLECT), np.float64)
