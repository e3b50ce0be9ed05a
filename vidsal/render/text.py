"""A text in, how far it covers each pixel out."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

__all__ = ["line_height", "text_cover", "text_size"]

_FINER = 4
"""Times as large as wanted are letters drawn: small ones would be spaced by whole pixels."""


def text_size(text: str, pixels: int) -> int:
    """Columns that a line of text takes at a size in pixels."""
    return math.ceil(_font(pixels).getlength(text) / _FINER)


def line_height(pixels: int) -> int:
    """Rows of a line of text at a size in pixels: from the top of a tall letter to the bottom of a deep one."""
    top, bottom = _ends(pixels)
    return math.ceil((bottom - top) / _FINER)


def text_cover(text: str, pixels: int) -> npt.NDArray[np.uint8]:
    """(`line_height`, `text_size`) uint8: 255 where the text covers a pixel.

    The font is the one that Pillow brings, which has the letters of ASCII.
    """
    size = max(1, text_size(text, pixels)), line_height(pixels)
    image = Image.new("L", (size[0] * _FINER, size[1] * _FINER))
    ImageDraw.Draw(image).text((0, -_ends(pixels)[0]), text, fill=255, font=_font(pixels))
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def _ends(pixels: int) -> tuple[float, float]:
    """Top and bottom of a line."""
    _, top, _, bottom = _font(pixels).getbbox("0bp,")
    return top, bottom


@lru_cache(maxsize=16)
def _font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FINER * pixels)
