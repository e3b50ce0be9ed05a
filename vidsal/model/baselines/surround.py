"""A model without weights that looks for what is surrounded: Boolean maps."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.model.baselines.contract import Baseline, Map, as_density, even, fit, floats, resized

__all__ = ["BooleanMaps", "surrounded"]

_SIDE = 400
_STEP = 8
_REGULARISER = 50.0
_DILATION, _LAST_DILATION, _SIGMA = 7, 9, 9.0
_Mask = npt.NDArray[np.bool_]


class BooleanMaps(Baseline):
    """What stands out as a figure, whatever the threshold: BMS.

    Zhang and Sclaroff, "Saliency detection: a Boolean map approach", ICCV 2013, and "Exploiting surroundedness for
    saliency detection", PAMI 2016. The picture, 400 pixels on its longer side, in CIE Lab, is whitened, each channel
    stretched to 0..255 and filtered by a 3x3 median. Each threshold, 8 apart, splits a channel in two; of either part
    what does not touch the border is kept (`surrounded`), dilated by 7x7, and counts the more the smaller it is. The
    sum is dilated by 9x9 and blurred by 9 pixels. Sizes as in the authors' code; colours are whitened by their
    covariance with 50 added to its diagonal.

    Bright and dark, and any two colours, are alike to it: inverting a picture hardly changes the map.
    """

    name = "bms"

    def _density(self, frame: npt.NDArray[np.uint8]) -> Map:
        rows, columns = fit(frame.shape[0], frame.shape[1], _SIDE)
        pixels = _whitened(cv2.cvtColor(resized(floats(frame), rows, columns), cv2.COLOR_RGB2LAB))
        total = np.zeros((rows, columns), np.float32)
        for channel in np.moveaxis(pixels, 2, 0):
            low, high = float(channel.min()), float(channel.max())
            if high - low < 1e-3:
                continue
            levels = cv2.medianBlur(np.asarray((channel - low) * (255 / (high - low)), np.uint8), 3)
            for threshold in range(int(levels.min()), int(levels.max()), _STEP):
                above = levels > threshold
                for part in (above, ~above):
                    total += _attention(surrounded(part))
        if total.max() <= 0:
            return even(*frame.shape[:2])
        dilated = cv2.dilate(total, np.ones((_LAST_DILATION, _LAST_DILATION), np.uint8))
        blurred = cv2.GaussianBlur(dilated, (0, 0), _SIGMA, borderType=cv2.BORDER_REPLICATE)
        return as_density(np.asarray(blurred, np.float32), *frame.shape[:2])


def surrounded(mask: _Mask) -> _Mask:
    """Those parts of a mask, joined by sides or corners, that do not touch the border.

    Args:
        mask: (h, w) bool.

    Returns:
        (h, w) bool.
    """
    _, label = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    edge = np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]])
    touches = np.zeros(int(label.max()) + 1, np.bool_)
    touches[edge] = True
    inside: _Mask = mask & ~touches[label]
    return inside


def _attention(mask: _Mask) -> Map | float:
    """A mask dilated, over its norm: a small figure counts as much in sum of squares as a large one."""
    if not mask.any():
        return 0.0
    dilated = cv2.dilate(mask.astype(np.float32), np.ones((_DILATION, _DILATION), np.uint8))
    return np.asarray(dilated / np.float32(np.linalg.norm(dilated)), np.float32)


def _whitened(pixels: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(h, w, 3) with channels that are nearly uncorrelated, each of about the same spread."""
    flat = pixels.reshape(-1, 3).astype(np.float64)
    # Of colours in 0..100 and about -100..100; the authors' code has 8 bits a channel.
    variance, axes = np.linalg.eigh(np.cov(flat, rowvar=False) * 2.55**2 + _REGULARISER * np.eye(3))
    white: npt.NDArray[np.float64] = (flat @ (axes / np.sqrt(variance))).reshape(pixels.shape)
    return white
