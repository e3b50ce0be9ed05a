"""A model without weights that looks for what is rare among the whitened scales of a picture: AWS."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.model.baselines.contract import FLAT, Baseline, Map, as_density, even, fit, floats, resized

__all__ = ["AdaptiveWhitening", "distinctiveness", "whitened"]

_SIDE = 256
_ORIENTATIONS = 4
_SCALES = (7, 5, 5)
_SHORTEST_PERIOD = 3.0
# Ratio of the bandwidth to the centre frequency: nearly two octaves. Width of a filter in angle, radians.
_BANDWIDTH, _ANGLE = 0.55, math.pi / 6
_SMOOTHING = 0.021
_Float = npt.NDArray[np.float64]


class AdaptiveWhitening(Baseline):
    """Where the scales of a colour and an orientation come together as they do nowhere else in the picture.

    In the style of Garcia-Diaz, Fdez-Vidal, Pardo and Dosil, "Saliency from hierarchical adaptation through
    decorrelation and variance normalization", Image and Vision Computing 2012. The authors' code is closed, and so
    what is not in the paper's outline is assumed here, and scores of theirs are not to be expected to the digit:
    the picture has 256 pixels on its longer side; its three colour channels are whitened; log-Gabor filters of four
    orientations see the first at seven scales and the others at five, an octave apart, from a period of 3 pixels on;
    the magnitudes at all scales of one orientation are whitened (`whitened`), and the squared distance to their mean
    is the distinctiveness there. Each of these is divided by its sum; their total is blurred by 2.1 % of the longer
    side, as the authors' code does by default.

    Whitening makes it blind to contrast and brightness as such: a fainter picture has the same map.
    """

    name = "aws"

    def _density(self, frame: npt.NDArray[np.uint8]) -> Map:
        rows, columns = fit(frame.shape[0], frame.shape[1], _SIDE)
        pixels = resized(floats(frame), rows, columns).reshape(-1, 3).astype(np.float64)
        if np.ptp(pixels, axis=0).max() < FLAT:
            return even(*frame.shape[:2])
        channels = whitened(pixels.T).reshape(-1, rows, columns)
        total = np.zeros((rows, columns))
        # The colours that vary most come first.
        for channel, scales in zip(channels, _SCALES, strict=False):
            for filters in _log_gabors(rows, columns, scales):
                found = distinctiveness(_magnitudes(channel, filters))
                if found.sum() > 0:
                    total += found / found.sum()
        blurred = cv2.GaussianBlur(total, (0, 0), _SMOOTHING * _SIDE, borderType=cv2.BORDER_REFLECT_101)
        return as_density(np.asarray(blurred, np.float32), *frame.shape[:2])


def whitened(values: _Float) -> _Float:
    """Uncorrelated combinations of rows, each of mean 0 and variance 1; those that hardly vary are left out.

    Args:
        values: (channels, n).

    Returns:
        (at most channels, n), what varies most first.
    """
    centred = values - values.mean(axis=1, keepdims=True)
    variance, axes = np.linalg.eigh(centred @ centred.T / centred.shape[1])
    kept = variance > max(float(variance.max()) * 1e-9, 1e-18)
    turned = (axes[:, kept] / np.sqrt(variance[kept])).T @ centred
    result: _Float = turned[::-1]
    return result


def distinctiveness(values: _Float) -> _Float:
    """Hotelling's T squared of every place: its squared distance to the mean in the whitened channels.

    Args:
        values: (channels, h, w).

    Returns:
        (h, w); its mean is the number of channels that vary.
    """
    squared: _Float = (whitened(values.reshape(len(values), -1)) ** 2).sum(axis=0).reshape(values.shape[1:])
    return squared


def _magnitudes(channel: _Float, filters: _Float) -> _Float:
    """The picture is mirrored at its edges, so that none of them is a contrast."""
    mirrored = np.block([[channel, channel[:, ::-1]], [channel[::-1], channel[::-1, ::-1]]])
    spectrum = np.fft.fft2(mirrored)
    rows, columns = channel.shape
    found: _Float = np.abs(np.fft.ifft2(spectrum * filters)[:, :rows, :columns])
    return found


@lru_cache(maxsize=4)
def _log_gabors(rows: int, columns: int, scales: int) -> tuple[_Float, ...]:
    """For each orientation (scales, 2 rows, 2 columns), of the spectrum of a mirrored picture: one side of it."""
    y, x = np.meshgrid(np.fft.fftfreq(2 * rows), np.fft.fftfreq(2 * columns), indexing="ij")
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    radius[0, 0] = 1
    sides = []
    for orientation in range(_ORIENTATIONS):
        away = np.angle(np.exp(1j * (angle - math.pi * orientation / _ORIENTATIONS)))
        along = np.exp(-(away**2) / (2 * _ANGLE**2))
        side = np.empty((scales, *radius.shape))
        for scale in range(scales):
            centre = 1 / (_SHORTEST_PERIOD * 2**scale)
            side[scale] = along * np.exp(-(np.log(radius / centre) ** 2) / (2 * math.log(_BANDWIDTH) ** 2))
            side[scale, 0, 0] = 0
        sides.append(side)
    return tuple(sides)
