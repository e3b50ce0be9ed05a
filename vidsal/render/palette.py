"""The name of a colour map in, its colours out, cold to hot."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidsal.stages import Colormap

__all__ = ["device_palette", "palette"]


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
