"""RGB pictures on a device in, planar YUV as an encoder takes it out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["to_yuv420", "yuv_matrix"]


def to_yuv420(pictures: Tensor, *, colorspace: int, full_range: bool = False) -> Tensor:
    """Converts RGB pictures to planar YUV 4:2:0 on the device where they lie, as FFmpeg's swscale does.

    Chroma lies in the middle of four pixels: pairs of columns are averaged, rows weighted 1, 3, 3, 1, edges repeated.
    Differs from swscale by one level at most, which rounds down the chroma of the full range.

    Args:
        pictures: (B, H, W, 3) uint8 RGB; H and W even.
        colorspace: FFmpeg's number of the matrix: 1 BT.709, 4 FCC, 5 or 6 BT.601, 7 SMPTE 240M, 9 BT.2020.
        full_range: True gives levels from 0 to 255, False from 16 to 235 (chroma 240).

    Returns:
        A new (B, 3 * H / 2, W) uint8 tensor, a picture's bytes in the order of FFmpeg's yuv420p: H rows of luma, then
        H / 2 x W / 2 values each of blue and of red difference. `av.VideoFrame.from_ndarray` takes each.

    Raises:
        ValueError: a shape or dtype is not as above, or the matrix is none of these.
    """
    if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != torch.uint8:
        raise ValueError(f"pictures must be (B, H, W, 3) uint8, got {tuple(pictures.shape)} {pictures.dtype}")
    count, height, width = pictures.shape[:3]
    if height % 2 or width % 2:
        raise ValueError(f"height and width must be even for 4:2:0, got {height}x{width}")
    luma, blueness, redness = yuv_matrix(colorspace, full_range=full_range).tolist()
    rgb = pictures.float()
    planes = torch.empty((count, height * width * 3 // 2), dtype=torch.uint8, device=pictures.device)
    planes[:, : height * width].view(count, height, width).copy_(_weighted(rgb, *luma).round_())
    pairs = (rgb[:, :, 0::2] + rgb[:, :, 1::2]) / 2  # (B, H, W / 2, 3)
    upper, lower = pairs[:, 0::2], pairs[:, 1::2]
    above = torch.cat([upper[:, :1], lower[:, :-1]], dim=1)
    below = torch.cat([upper[:, 1:], lower[:, -1:]], dim=1)
    quads = (3 * (upper + lower) + above + below) / 8  # (B, H / 2, W / 2, 3)
    small = planes[:, height * width :].view(count, 2, height // 2, width // 2)
    for plane, weights in enumerate((blueness, redness)):
        # The purest blue and red would be 255.5.
        small[:, plane] = _weighted(quads, *weights).round_().clamp_(0, 255)
    return planes.view(count, height * 3 // 2, width)


def yuv_matrix(colorspace: int, *, full_range: bool) -> npt.NDArray[np.float64]:
    """(3, 4): for Y, U and V the weights of red, green and blue, and what is added.

    Args:
        colorspace: FFmpeg's number of the matrix, as for `to_yuv420`.
        full_range: see `to_yuv420`.

    Raises:
        ValueError: it is none of these.
    """
    if colorspace not in _LUMA_WEIGHTS:
        raise ValueError(f"colorspace must be one of {', '.join(map(str, _LUMA_WEIGHTS))}, got {colorspace}")
    red, blue = _LUMA_WEIGHTS[colorspace]
    green = 1 - red - blue
    least, luma, chroma = (0.0, 1.0, 1.0) if full_range else (16.0, 219 / 255, 224 / 255)
    by_blue, by_red = chroma / (1 - blue) / 2, chroma / (1 - red) / 2
    return np.array(
        [
            [luma * red, luma * green, luma * blue, least],
            [-by_blue * red, -by_blue * green, chroma / 2, 128.0],
            [chroma / 2, -by_red * green, -by_red * blue, 128.0],
        ]
    )


_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Shares of red and blue in the luma of each matrix, under FFmpeg's number of it."""


def _weighted(rgb: Tensor, red: float, green: float, blue: float, offset: float) -> Tensor:
    """Sum of the weighted colours; no matrix product, which a GPU may round to ten bits (TF32)."""
    return (rgb[..., 0] * red + offset).add_(rgb[..., 1], alpha=green).add_(rgb[..., 2], alpha=blue)
