"""Two frames in, the motion from one to the other out: in pixels, and as the colours in which motion is published."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["BackwardFlow", "motion_colours"]

# Steps from red over yellow, green, cyan, blue and magenta back to red, of Baker et al.'s wheel of 55 colours.
_STEPS = (15, 6, 4, 11, 13, 6)


class BackwardFlow:
    """Dense inverse search (DIS, Kroeger et al. 2016): where each place of a frame was in the frame before.

    It breaks down on pictures that are far longer than high; at least 64 pixels a side serve it well.
    """

    def __init__(self) -> None:
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Find it.

        Args:
            before: (rows, columns) uint8, the frame before in grey.
            after: (rows, columns) uint8, this frame in grey.

        Returns:
            (rows, columns, 2) float32: from each pixel of `after` the way back, in pixels to the right and down.
        """
        return np.asarray(self._dis.calc(after, before, None), np.float32)


def motion_colours(motion: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Motion as a picture: the hue is the direction, white stands still, the fastest has the fullest colour.

    Red moves to the right, yellow down, a blue cyan to the left and a violet blue up. Source: Baker, Scharstein, Lewis,
    Roth, Black and Szeliski, "A database and evaluation methodology for optical flow", IJCV 2011, whose wheel of 55
    colours is interpolated along the angle; speeds are measured in the fastest one of this picture.

    Args:
        motion: (rows, columns, 2) float32, pixels to the right and down.

    Returns:
        (rows, columns, 3) uint8 RGB.

    Example:
        >>> motion_colours(np.array([[[2.0, 0.0], [0.0, 0.0]]], np.float32)).tolist()
        [[[255, 0, 0], [255, 255, 255]]]
    """
    x, y = motion[..., 0].astype(np.float64), motion[..., 1].astype(np.float64)
    speed = np.hypot(x, y)
    speed /= max(float(speed.max()), np.finfo(np.float64).tiny)
    wheel = _wheel()
    # From 0, to the right, over a half, to the left, to just under the whole: the last step leads back to the first.
    place = np.mod(np.arctan2(y, x) / (2 * np.pi), 1.0) * (len(wheel) - 1)
    lower = place.astype(np.intp)
    rest = (place - lower)[..., None]
    colour = wheel[lower] + rest * (wheel[(lower + 1) % len(wheel)] - wheel[lower])
    return np.asarray(255 * (1 - speed[..., None] * (1 - colour)), np.uint8)


@lru_cache(maxsize=1)
def _wheel() -> npt.NDArray[np.float64]:
    """(55, 3) RGB from 0 to 1."""
    corners = np.array([(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)], np.float64)
    parts = []
    for (begin, end), steps in zip(itertools.pairwise(corners), _STEPS, strict=True):
        # Whole levels of 8 bits, as published.
        done = (255 * np.arange(steps) // steps)[:, None] / 255
        parts.append(begin + done * (end - begin))
    return np.concatenate(parts)
