"""The numbers of a frame in, the boxes of its regions with their ids out."""

from __future__ import annotations

from typing import Any

import numpy as np

from vidsal.render.layer import Layer, painted
from vidsal.render.text import line_height, text_cover, text_size
from vidsal.tracks import FrameNumbers

__all__ = ["boxes_layers", "color_of"]

_COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178))
"""Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008), without black."""


def color_of(region: int) -> tuple[int, int, int]:
    """RGB of a region's id, which keeps it for as long as it is followed; they come round after seven."""
    return _COLORS[(region - 1) % len(_COLORS)]


def boxes_layers(numbers: FrameNumbers, *, height: int, width: int) -> list[Layer]:
    """Frames just inside the boxes of the table, of one colour for each id, with a dark edge and the id in a tab.

    Args:
        numbers: the frame's row.
        height: rows of the picture.
        width: columns of it.
    """
    row = numbers.as_row()
    layers: list[Layer] = []
    for place in (3, 2, 1):  # the largest mass on top
        region: Any = row.get(f"region{place}_id")
        box: list[Any] = [row.get(f"region{place}_{side}") for side in ("left", "top", "width", "height")]
        if region is not None and None not in box:
            layers += _box_layers(region, *box, picture=(height, width))
    return layers


def _box_layers(region: int, left: int, top: int, wide: int, tall: int, *, picture: tuple[int, int]) -> list[Layer]:
    line = max(1, round(min(picture) / 360))
    edge = max(1, line // 2)
    color = color_of(region)
    layers = []
    # The dark edge first, then the line inside it.
    for inset, thick, shade in ((0, line + 2 * edge, (0, 0, 0)), (edge, line, color)):
        x, y, w, h = left + inset, top + inset, wide - 2 * inset, tall - 2 * inset
        for strip in ((x, y, w, thick), (x, y + h - thick, w, thick), (x, y, thick, h), (x + w - thick, y, thick, h)):
            layers += _plate(*strip, color=shade, picture=picture)
    size = max(9, round(min(picture) / 45))
    text = str(region)
    margin = max(2, size // 4)
    tab_width, tab_height = text_size(text, size) + 2 * margin, line_height(size) + 2 * margin
    x, y = _tab_place((left, top, wide, tall), (tab_width, tab_height), picture)
    if x >= 0 and y >= 0:
        layers += _plate(x, y, tab_width, tab_height, color=color, picture=picture)
        cover = text_cover(text, size)
        dark = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] > 110
        ink = np.full((*cover.shape, 3), 0 if dark else 255, np.uint8)
        layers.append(painted(cover, ink, top=y + margin, left=x + margin))
    return layers


def _tab_place(box: tuple[int, int, int, int], tab: tuple[int, int], picture: tuple[int, int]) -> tuple[int, int]:
    """Column and row of the tab: in the box's corner, or beside a box that it would cover, and whole in any case."""
    left, top, wide, tall = box
    across, down = picture[1] - tab[0], picture[0] - tab[1]
    # In the box, where it lies in the picture even for a box at its border.
    inside = min(left, across), min(top, down)
    if wide >= 2 * tab[0] and tall >= 2 * tab[1]:
        return inside
    along_x, along_y = min(max(left, 0), across), min(max(top, 0), down)
    beside = ((along_x, top - tab[1]), (along_x, top + tall), (left + wide, along_y), (left - tab[0], along_y))
    whole = [(x, y) for x, y in beside if 0 <= x <= across and 0 <= y <= down]
    return whole[0] if whole else inside


def _plate(x: int, y: int, w: int, h: int, *, color: tuple[int, int, int], picture: tuple[int, int]) -> list[Layer]:
    """An opaque rectangle, cut off at the picture's edges."""
    left, top = max(0, x), max(0, y)
    wide, tall = min(picture[1], x + w) - left, min(picture[0], y + h) - top
    if wide <= 0 or tall <= 0:
        return []
    return [Layer(np.full((tall, wide, 3), color, np.uint8), np.ones((tall, wide), np.float32), top, left)]
