"""A picture with transparent parts in, the picture on white paper out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["on_white", "pillow_rgb"]


def on_white(rgba: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The colours where a picture is opaque, bit for bit, and on white where it is not, as FFmpeg does with GIF.

    Args:
        rgba: (H, W, 4) uint8 or uint16, colours not multiplied by alpha.

    Returns:
        (H, W, 3) of the same type.

    Example:
        >>> on_white(np.array([[[9, 9, 9, 255], [9, 9, 9, 0]]], np.uint8)).tolist()
        [[[9, 9, 9], [255, 255, 255]]]
    """
    most = int(np.iinfo(rgba.dtype).max)
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    if (alpha == most).all():
        return np.ascontiguousarray(rgb)
    share = alpha.astype(np.uint32)
    return ((rgb * share + most * (most - share) + most // 2) // most).astype(rgba.dtype)


def pillow_rgb(image: Any) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of Pillow's image, on white where it is transparent.

    Raises:
        OSError, ValueError, SyntaxError, ...: it is damaged.
    """
    if image.has_transparency_data:
        return on_white(np.array(image.convert("RGBA"), np.uint8))
    return np.array(image.convert("RGB"), np.uint8)
