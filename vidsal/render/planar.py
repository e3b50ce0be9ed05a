"""A decoder's planes and layers in, the planes with the layers over them out, as an encoder takes them.

Most video is YUV 4:2:0 before and after. YUV is linear in RGB, so that layers may be laid over it as they are over RGB:
only their few colours are converted, and where nothing is drawn the picture stays what it was, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.frames import Planes
from vidsal.render.layer import Layer, Part, SoftLayer
from vidsal.render.yuv import yuv_matrix

__all__ = ["compose_planes"]

_Floats = npt.NDArray[np.float32]
_Plane = npt.NDArray[np.uint8]

_ROWS = 128
"""Rows that are blended at once, so that what lies between the steps stays in the processor's cache."""


def compose_planes(
    picture: Planes, layers: Iterable[Layer | SoftLayer], *, side_by_side: bool = False
) -> npt.NDArray[np.uint8]:
    """Lays layers over a picture that stays in YUV, the first at the bottom.

    Args:
        picture: the picture, H x W; not changed.
        layers: inside the picture; colours of either depth.
        side_by_side: puts the untouched picture to the left of the result.

    Returns:
        A new (3 * H / 2, W) uint8 array in the order of FFmpeg's yuv420p, as `to_yuv420` gives one; with `side_by_side`
        (3 * H / 2, 2 * W). It is `compose` of the picture as RGB, but for rounding and for how colours are averaged
        over the four pixels that share them.
    """
    height, width = picture.planes[0].shape
    wide = 2 * width if side_by_side else width
    made = np.empty((3 * height // 2, wide), np.uint8)
    quarter = height * wide // 4
    small = made[height:].reshape(-1)
    planes = [made[:height], *(small[i * quarter : (i + 1) * quarter].reshape(-1, wide // 2) for i in (0, 1))]
    for plane, source in zip(planes, picture.planes, strict=True):
        plane[:, : source.shape[1]] = source
        if side_by_side:
            plane[:, source.shape[1] :] = source
    drawn = [plane[:, -source.shape[1] :] for plane, source in zip(planes, picture.planes, strict=True)]
    matrix = yuv_matrix(picture.colorspace, full_range=picture.full_range).astype(np.float32)
    for layer in layers:
        if isinstance(layer, SoftLayer):
            _lay_soft(drawn, layer, matrix)
        else:
            _lay(drawn, layer, matrix)
    return made


def _lay_soft(planes: list[_Plane], layer: SoftLayer, matrix: _Floats) -> None:
    """A layer whose colours are converted before they are enlarged, luma and chroma each to its own size."""
    part = _evened(layer.part, planes[0].shape)
    if part is None:
        _lay(planes, layer.enlarged(), matrix)
        return
    colors = _converted(layer.colors, matrix)
    rows, columns = part
    for plane, channel, share in zip(planes, range(3), (1, 2, 2), strict=True):
        below = plane[rows.start // share : rows.stop // share, columns.start // share : columns.stop // share]
        size = below.shape[1], below.shape[0]
        color, alpha = (
            cv2.resize(np.ascontiguousarray(each), size, interpolation=cv2.INTER_LINEAR)
            for each in (colors[..., channel], layer.alpha)
        )
        _blend(below, np.asarray(color, np.float32), np.asarray(alpha, np.float32))


def _evened(part: Part, size: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Where a part lies, if that begins and ends with whole cells of chroma."""
    rows, columns = part.pixels
    whole = not any(end % 2 for side in (rows, columns) for end in (side.start, side.stop))
    return (rows, columns) if whole and rows.stop <= size[0] and columns.stop <= size[1] else None


def _lay(planes: list[_Plane], layer: Layer, matrix: _Floats) -> None:
    """A layer at the size of the picture: its chroma is the mean over four pixels, each weighed by its alpha."""
    rows, columns = layer.place
    if layer.top < 0 or layer.left < 0 or rows.stop > planes[0].shape[0] or columns.stop > planes[0].shape[1]:
        raise ValueError(
            f"a layer at rows {rows}, columns {columns} reaches beyond a picture of "
            f"{planes[0].shape[1]}x{planes[0].shape[0]}"
        )
    colors, alpha = _converted(layer.colors, matrix), layer.alpha
    _blend(planes[0][layer.place], np.ascontiguousarray(colors[..., 0]), alpha)
    # Brought to whole cells of chroma, with nothing drawn around.
    edges = (rows.start % 2, rows.stop % 2), (columns.start % 2, columns.stop % 2)
    share = np.pad(alpha, edges)
    size = share.shape[1] // 2, share.shape[0] // 2
    mean = np.asarray(cv2.resize(share, size, interpolation=cv2.INTER_AREA), np.float32)
    top, left = rows.start // 2, columns.start // 2
    for plane, channel in zip(planes[1:], (1, 2), strict=True):
        weighed = np.pad(colors[..., channel] * alpha, edges)
        color = np.asarray(cv2.resize(weighed, size, interpolation=cv2.INTER_AREA), np.float32)
        np.divide(color, mean, out=color, where=mean > 0)
        _blend(plane[top : top + size[1], left : left + size[0]], color, mean)


def _converted(colors: npt.NDArray[Any], matrix: _Floats) -> _Floats:
    """(h, w, 3) RGB of 8 or 16 bits -> (h, w, 3) float32 Y, U and V of 8 bits."""
    rgb = colors.astype(np.float32)
    if colors.dtype == np.uint16:
        rgb /= 257
    return np.asarray(cv2.transform(rgb, matrix), np.float32).reshape(colors.shape)


def _blend(below: _Plane, color: _Floats, alpha: _Floats) -> None:
    """Writes colours over a plane, to half a level."""
    for first in range(0, len(below), _ROWS):
        part = slice(first, first + _ROWS)
        if not alpha[part].any():
            continue
        change = cv2.subtract(color[part], below[part], dtype=cv2.CV_32F)
        cv2.multiply(change, alpha[part], dst=change)
        # The plane may be a window of a larger array, which OpenCV would not write into.
        below[part] = cv2.add(below[part], change, dtype=cv2.CV_8U)
