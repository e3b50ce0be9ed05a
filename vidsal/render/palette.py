"""The name of a colour map in, its colours out, cold to hot; and colours that tell things apart."""

from __future__ import annotations

import colorsys
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidsal.stages import Colormap

__all__ = ["device_palette", "distinct_color", "palette"]


@cache
def device_palette(name: Colormap, device: torch.device) -> Tensor:
    """(256, 3) float32 RGB on a device, cold to hot."""
    return torch.from_numpy(palette(name).reshape(256, 3).astype(np.float32)).to(device)


@cache
def palette(name: Colormap) -> npt.NDArray[np.uint8]:
    """(256, 1, 3) RGB, cold to hot, as `cv2.applyColorMap` wants one's own colours."""
    code = getattr(cv2, f"COLORMAP_{name.upper()}")
    # Two dimensions: OpenCV 5 takes one-dimensional arrays for rows, OpenCV 4 for columns.
    levels = np.arange(256, dtype=np.uint8).reshape(256, 1)
    palette = np.ascontiguousarray(np.asarray(cv2.applyColorMap(levels, code), np.uint8)[..., ::-1])
    palette.flags.writeable = False
    return palette


def distinct_color(number: int) -> tuple[int, int, int]:
    """(red, green, blue) of the thing of a number, from 0.

    The first seven are Okabe and Ito's, which are told apart with all kinds of colour vision. Those after them have
    hues that lie a golden angle apart.

    Example:
        >>> distinct_color(0), distinct_color(7) != distinct_color(8)
        ((230, 159, 0), True)
    """
    if number < len(_OKABE_ITO):
        return _OKABE_ITO[number]
    hue = (number * _GOLDEN) % 1
    light = (0.55, 0.72, 0.42)[number % 3]
    red, green, blue = (round(255 * one) for one in colorsys.hls_to_rgb(hue, light, 0.85))
    return red, green, blue


_OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
_GOLDEN = 0.6180339887498949
