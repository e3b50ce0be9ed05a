"""What is drawn in, a small legend that says what colours and lines mean out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from vidsal.render.contour import SHARES, THICKNESS, line_pixels
from vidsal.render.layer import Layer, flatten, painted
from vidsal.render.palette import palette
from vidsal.render.spotlight import LIT_SHARE
from vidsal.render.strokes import Stroke, stroke_layers
from vidsal.render.text import line_height, text_cover, text_size
from vidsal.stages import RenderOptions

__all__ = ["legend_layers"]

_LEAST_TEXT = 10
"""Height of the letters in pixels below which they cannot be read."""
_TEXT = 0.018
"""The same as a share of the picture's shorter side."""
_WIDEST, _TALLEST = 0.5, 0.3
"""Shares of the picture's sides that the legend takes at most; else there is none."""
_COMFORTABLE = 0.42
"""Share of the picture's width up to which words are spelled out."""
_PLATE_ALPHA = 0.6
_CAPTIONS = ("predicted attention, 1x = evenly spread", "attention, 1x = even", "")
_LIT = ("bright: {} % of attention", "bright: {} %", "bright: {} %")
_INSIDE = ("% of attention inside", "% inside", "%")


@lru_cache(maxsize=8)
def legend_layers(height: int, width: int, *, scale: float, options: RenderOptions) -> tuple[Layer, ...]:
    """The legend in the picture's lower right corner; empty where nothing needs one, or the picture is too small.

    Args:
        height: rows of the picture.
        width: columns of it.
        scale: density of the hottest colour, in multiples of uniform.
        options: what is drawn.
    """
    size = max(_LEAST_TEXT, round(_TEXT * min(height, width)))
    for wordy in (0, 1, 2):
        rows = _rows(size, wordy, scale, options)
        if not rows:
            return ()
        margin, gap = max(3, size // 2), max(2, size // 3)
        tall = sum(_extent(row)[0] for row in rows) + gap * (len(rows) - 1) + 2 * margin
        wide = max(_extent(row)[1] for row in rows) + 2 * margin
        if wide <= (_COMFORTABLE if wordy < 2 else _WIDEST) * width:
            break
    away = max(2, size // 2)
    if wide > _WIDEST * width or tall > _TALLEST * height or wide + away > width or tall + away > height:
        return ()
    layers = [Layer(np.zeros((tall, wide, 3), np.uint8), np.full((tall, wide), _PLATE_ALPHA, np.float32))]
    top = margin
    for row in rows:
        layers += [Layer(each.colors, each.alpha, each.top + top, each.left + margin) for each in row]
        top += _extent(row)[0] + gap
    flat = flatten(layers, height=tall, width=wide)
    return (painted(flat[..., 3], flat[..., :3], top=height - tall - away, left=width - wide - away),)


def _rows(size: int, wordy: int, scale: float, options: RenderOptions) -> list[list[Layer]]:
    """Rows of the legend, each placed from (0, 0) on; `wordy` 0 spells words out, 2 leaves them away."""
    rows = []
    styles = {style for style in options.style if options.opacity > 0 or style not in ("heat", "spotlight")}
    if "heat" in styles:
        if caption := _CAPTIONS[wordy]:
            rows.append([_text(caption, size)])
        rows.append(_bar(size, text_size(_CAPTIONS[wordy], size), scale, options))
    if "contour" in styles:
        rows.append(_lines(size, wordy))
    if "spotlight" in styles:
        rows.append([_text(_LIT[wordy].format(round(100 * LIT_SHARE)), size)])
    return rows


def _text(text: str, size: int, *, top: int = 0, left: int = 0) -> Layer:
    cover = text_cover(text, size)
    return painted(cover, np.full((*cover.shape, 3), 255, np.uint8), top=top, left=left)


def _bar(size: int, caption: int, scale: float, options: RenderOptions) -> list[Layer]:
    """The colours from 1 to the scale's top, those that are drawn, with numbers below."""
    ticks = _ticks(scale)
    labels = [f"{tick:g}x" for tick in ticks]
    widths = [text_size(label, size) for label in labels]
    wide = max(caption, 8 * size)
    while True:
        places = [math.log(tick) / math.log(scale) * (wide - 1) for tick in ticks]
        lefts = [
            min(max(0, round(place - width / 2)), wide - width) for place, width in zip(places, widths, strict=True)
        ]
        ends = [left + width + size // 2 for left, width in zip(lefts, widths, strict=True)]
        if all(end <= left for end, left in zip(ends, lefts[1:], strict=False)):
            break
        wide += max(1, size // 2)
    tall = max(4, round(0.6 * size))
    heat = np.linspace(0, 1, wide)
    colors = palette(options.colormap)[np.rint(heat * 255).astype(int), 0]
    shown = (heat > options.threshold).astype(np.float32)
    layers = [
        _solid(0, 0, wide, tall, 90),
        _solid(1, 1, wide - 2, tall - 2, 0),
        Layer(np.tile(colors, (tall, 1, 1)), np.tile(shown, (tall, 1))),
    ]
    below = tall + max(2, size // 4)
    for label, place, left in zip(labels, places, lefts, strict=True):
        layers.append(_solid(0, min(round(place), wide - 1), 1, below - 1, 200))
        layers.append(_text(label, size, top=below, left=left))
    return layers


def _solid(top: int, left: int, wide: int, tall: int, level: int) -> Layer:
    return Layer(np.full((tall, wide, 3), level, np.uint8), np.ones((tall, wide), np.float32), top, left)


def _ticks(scale: float) -> list[float]:
    """Round numbers from 1 to the top, about half a power of ten apart; closer where the scale is short."""
    for steps in ((1, 3), (1, 2, 5)):
        ticks = [float(step * 10**power) for power in range(9) for step in steps if step * 10**power <= scale * 1.001]
        if len(ticks) >= 3:
            return ticks if len(ticks) <= 6 else [tick for tick in ticks if math.log10(tick) % 1 == 0][:6]
    return ticks


def _lines(size: int, wordy: int) -> list[Layer]:
    """Pieces of the lines, and the shares that are inside them."""
    layers: list[Layer] = []
    high, left = line_height(size), 0
    # As thick as they are in a picture in which this size of text is used.
    thick = line_pixels(round(size / _TEXT), round(size / _TEXT))
    for share, thickness in zip(SHARES, THICKNESS, strict=True):
        text = f"{round(100 * share)}"
        middle, end = high / 2 - 0.5, left + 1.5 * size
        stroke = Stroke(((left, middle), (end, middle)))
        layers += stroke_layers(
            [stroke], height=high, width=math.ceil(end) + 1, thickness=thick * thickness, color=(255, 255, 255)
        )
        left = math.ceil(end) + max(2, size // 3)
        layers.append(_text(text, size, left=left))
        left += text_size(text, size) + max(3, size // 2)
    layers.append(_text(_INSIDE[wordy], size, left=left))
    return layers


def _extent(layers: Sequence[Layer]) -> tuple[int, int]:
    """Rows and columns from (0, 0) to the end of the last layer."""
    places: list[tuple[slice, slice]] = [layer.place for layer in layers]
    return max(rows.stop for rows, _ in places), max(columns.stop for _, columns in places)
