"""The numbers of a frame and of the moments before in, a crosshair at its peak with the way it came out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from vidsal.render.layer import Layer
from vidsal.render.recent import TRAIL_SECONDS
from vidsal.render.strokes import Stroke, stroke_layers
from vidsal.tracks import FrameNumbers

__all__ = ["peak_layers"]

_COLOR = (255, 255, 255)
_RADIUS = 0.03
"""Of the crosshair's ring, as a share of the picture's shorter side."""


def peak_layers(recent: Sequence[FrameNumbers], *, height: int, width: int) -> list[Layer]:
    """A ring with four ticks, open in the middle so that it hides nothing there; the trail fades with its age.

    What of it lies in the ring is left out.

    Args:
        recent: rows of one shot, the oldest first, the frame's own last, as `Recent` gives them.
        height: rows of the picture.
        width: columns of it.
    """
    now = recent[-1]
    x, y = now.peak_x, now.peak_y
    shorter = min(height, width)
    thickness, radius = max(1.0, shorter / 360), max(5.0, _RADIUS * shorter)
    trail = [
        Stroke(
            ((before.peak_x, before.peak_y), (after.peak_x, after.peak_y)),
            strength=0.9 * max(0.0, 1 - (now.pts_seconds - before.pts_seconds) / TRAIL_SECONDS),
        )
        for before, after in itertools.pairwise(recent)
        if max(math.hypot(end.peak_x - x, end.peak_y - y) for end in (before, after)) > radius
    ]
    ticks = [
        Stroke(((x + dx * 0.7 * radius, y + dy * 0.7 * radius), (x + dx * 1.7 * radius, y + dy * 1.7 * radius)))
        for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1))
    ]
    strokes = [*trail, Stroke(((x, y),), radius), *ticks]
    return stroke_layers(strokes, height=height, width=width, thickness=thickness, color=_COLOR)
