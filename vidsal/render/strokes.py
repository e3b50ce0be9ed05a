"""Lines in, a layer of them with dark edges out, which is seen on any footage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from vidsal.render.layer import Layer

__all__ = ["Stroke", "stroke_layers"]

_BITS = 4
"""Of OpenCV's coordinates after the point."""
_HALO_ALPHA = 0.55


class Stroke(NamedTuple):
    """A line or a circle, in pixels of the picture; 0 is the centre of the first."""

    points: tuple[tuple[float, float], ...]
    """(x, y) of the ends of a line; of the centre of a circle."""
    radius: float = 0.0
    """Of the circle; 0 for a line."""
    strength: float = 1.0
    """How far it hides the picture."""


def stroke_layers(
    strokes: Sequence[Stroke], *, height: int, width: int, thickness: float, color: tuple[int, int, int]
) -> list[Layer]:
    """Strokes of one colour, the first at the bottom, cut off at the picture's edges; none where all lie outside.

    Args:
        strokes: what is drawn.
        height: rows of the picture.
        width: columns of it.
        thickness: of the lines, in pixels, rounded to whole ones, at least 1.
        color: RGB.
    """
    thick = max(1, round(thickness))
    edge = thick + 2 * max(1, round(thickness / 2))
    around = edge + 2
    xs = [x + side * one.radius for one in strokes for x, _ in one.points for side in (-1, 1)]
    ys = [y + side * one.radius for one in strokes for _, y in one.points for side in (-1, 1)]
    left, top = max(0, int(min(xs)) - around), max(0, int(min(ys)) - around)
    right, bottom = min(width, int(max(xs)) + around + 1), min(height, int(max(ys)) + around + 1)
    if right <= left or bottom <= top:
        return []
    core = np.zeros((bottom - top, right - left), np.uint8)
    halo = np.zeros_like(core)
    for mask, wide in ((halo, edge), (core, thick)):
        for one in strokes:
            points = [(round((x - left) * 2**_BITS), round((y - top) * 2**_BITS)) for x, y in one.points]
            level = round(255 * one.strength)
            if one.radius:
                radius = round(one.radius * 2**_BITS)
                cv2.circle(mask, points[0], radius, level, wide, lineType=cv2.LINE_AA, shift=_BITS)
            else:
                cv2.line(mask, points[0], points[-1], level, wide, lineType=cv2.LINE_AA, shift=_BITS)
    inner = core.astype(np.float32) / 255
    alpha = inner + np.float32(_HALO_ALPHA / 255) * halo * (1 - inner)
    share = np.divide(inner, alpha, out=np.zeros_like(inner), where=alpha > 0)
    colors = np.rint(share[..., None] * np.array(color, np.float32)).astype(np.uint8)
    return [Layer(colors, alpha.astype(np.float32), top, left)]
