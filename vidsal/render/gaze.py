"""Places where viewers look, and the ways they came, in; their points, trails and names out, and words on a plate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.render.layer import Layer, flatten, painted
from vidsal.render.strokes import Stroke, stroke_layers
from vidsal.render.text import line_height, text_cover, text_size

__all__ = ["Marked", "plate_layers", "viewer_layers"]

_Floats = npt.NDArray[np.float64]

_RADIUS = 0.012
"""Of a point, as a share of the picture's shorter side."""
_TEXT = 0.022
_LEAST_TEXT = 9
_PLATE_ALPHA = 0.6
_BITS = 4
"""Of OpenCV's coordinates after the point."""
_BAR = 12
"""Width of a bar over the height of a letter."""


@dataclass(frozen=True, eq=False)
class Marked:
    """One viewer in one frame."""

    place: _Floats
    """(2,) x and y in pixels of the picture from its edges; NaN where the viewer looks nowhere."""
    trail: Sequence[_Floats]
    """Pieces (n, 3) of the way there: x, y, and how old each place is, from 1 (as old as is shown) to 0 (now)."""
    name: str
    """Beside the point; empty: none."""
    color: tuple[int, int, int]
    """RGB."""


def viewer_layers(viewers: Sequence[Marked], *, height: int, width: int) -> list[Layer]:
    """A disc with a dark edge where each viewer looks, with the name beside it; trails, which fade with age, below.

    The middle of a disc is the viewer's place. What lies outside the picture is cut off.

    Args:
        viewers: all of them.
        height: rows of the picture.
        width: columns of it.
    """
    shorter = min(height, width)
    size = {"height": height, "width": width}
    radius = max(4.0, _RADIUS * shorter)
    layers: list[Layer] = []
    for viewer in viewers:
        # Places count from the picture's edge, strokes from the centre of its first pixel.
        lines = [
            Stroke(((x - 0.5, y - 0.5), (to_x - 0.5, to_y - 0.5)), strength=0.9 * (1 - (age + to_age) / 2))
            for piece in viewer.trail
            for (x, y, age), (to_x, to_y, to_age) in itertools.pairwise(piece.tolist())
        ]
        if lines:
            layers += stroke_layers(lines, **size, thickness=max(1.0, radius / 4), color=viewer.color)
    text = max(_LEAST_TEXT, round(_TEXT * shorter))
    for viewer in viewers:
        x, y = viewer.place.tolist()
        if not (math.isfinite(x) and math.isfinite(y)) or not (-radius < x < width + radius and -radius < y):
            continue
        if y > height + radius:
            continue
        layers += _disc(x - 0.5, y - 0.5, radius, viewer.color, **size)
        if viewer.name:
            layers += _name(viewer, text, round(x + 1.6 * radius), round(y - text), **size)
    return layers


def _disc(x: float, y: float, radius: float, color: tuple[int, int, int], *, height: int, width: int) -> list[Layer]:
    """A disc around a place, counted from the centre of the first pixel, with a thin dark edge and a light one."""
    edge = max(1.0, radius / 4)
    reach = math.ceil(radius + edge) + 1
    left, top = max(0, math.floor(x) - reach), max(0, math.floor(y) - reach)
    right, bottom = min(width, math.ceil(x) + reach + 1), min(height, math.ceil(y) + reach + 1)
    if left >= right or top >= bottom:
        return []
    middle = round((x - left) * 2**_BITS), round((y - top) * 2**_BITS)
    layers = []
    for far, shade in ((radius + edge, (0, 0, 0)), (radius, (255, 255, 255)), (radius - edge, color)):
        cover = np.zeros((bottom - top, right - left), np.uint8)
        cv2.circle(cover, middle, round(far * 2**_BITS), 255, -1, lineType=cv2.LINE_AA, shift=_BITS)
        layers.append(painted(cover, np.full((*cover.shape, 3), shade, np.uint8), top=top, left=left))
    return layers


def _name(viewer: Marked, pixels: int, left: int, top: int, *, height: int, width: int) -> list[Layer]:
    """The name in the viewer's colour on a dark plate, moved into the picture; none where it is too large for that."""
    cover = _cover(viewer.name, pixels)
    tall, wide = cover.shape[0] + 2, cover.shape[1] + 4
    if wide > width or tall > height:
        return []
    if left + wide > width:
        left = round(2 * viewer.place[0] - left) - wide
    left, top = min(max(0, left), width - wide), min(max(0, top), height - tall)
    plate = Layer(np.zeros((tall, wide, 3), np.uint8), np.full((tall, wide), _PLATE_ALPHA, np.float32), top, left)
    light = tuple(round(one + (255 - one) * 0.45) for one in viewer.color)
    colors = np.full((*cover.shape, 3), light, np.uint8)
    return [plate, painted(cover, colors, top=top + 1, left=left + 2)]


@lru_cache(maxsize=256)
def _cover(text: str, pixels: int) -> npt.NDArray[np.uint8]:
    """`text_cover` of a name, which is drawn in every frame."""
    return text_cover(text, pixels)


def plate_layers(lines: Sequence[str], *, height: int, width: int, share: float | None = None) -> list[Layer]:
    """Lines of text on a dark plate in the lower left corner; none where the picture is too small.

    Args:
        lines: ASCII.
        height: rows of the picture.
        width: columns of it.
        share: draws a bar below them that is so full, 0 to 1, more counting as 1; None: no bar.
    """
    text = max(_LEAST_TEXT, round(_TEXT * min(height, width)))
    margin, gap = max(3, text // 2), max(2, text // 3)
    step = line_height(text) + gap
    bar = 0 if share is None else max(4, text // 2) + gap
    tall = 2 * margin + step * len(lines) - gap + bar
    wide = 2 * margin + max([text_size(line, text) for line in lines] + [_BAR * text if bar else 0])
    away = max(2, text // 2)
    if wide + 2 * away > width or tall + 2 * away > height / 2:
        return []
    layers = [Layer(np.zeros((tall, wide, 3), np.uint8), np.full((tall, wide), _PLATE_ALPHA, np.float32))]
    for number, line in enumerate(lines):
        cover = text_cover(line, text)
        layers.append(
            painted(cover, np.full((*cover.shape, 3), 255, np.uint8), top=margin + number * step, left=margin)
        )
    if share is not None:
        top, long = margin + step * len(lines), _BAR * text
        for filled, level in ((long, 90), (round(long * min(1.0, max(0.0, share))), 255)):
            if filled:
                solid = np.full((bar - gap, filled, 3), level, np.uint8)
                layers.append(Layer(solid, np.ones(solid.shape[:2], np.float32), top, margin))
    flat = flatten(layers, height=tall, width=wide)
    return [painted(flat[..., 3], flat[..., :3], top=height - tall - away, left=away)]
