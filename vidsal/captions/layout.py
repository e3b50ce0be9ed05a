"""A text and a place in, the box that it would take out; settings of WebVTT and anchors of it, both ways.

Sizes are estimates: which font a player takes is not known. They are made rather too large than too small.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from vidsal.captions.options import Place
from vidsal.captions.values import Anchor, Box, Cue

__all__ = ["SLOTS", "Layout", "anchor_of_settings", "settings_of", "width_in_em", "wrapped"]

LINE_HEIGHT = 1.2
"""Height of a line over the size of its letters, as browsers have it."""

SIDE_WIDTH = 1 / 3
"""Share of the picture's width that a text on the left or the right may fill."""

SLOTS = 4
"""Texts above one another at the bottom, or below one another at the top, at most."""

_PADDING_EM = 0.5


@dataclass(frozen=True)
class Layout:
    """How text is set in a picture.

    The safe area is, by default, 90 % of the width and of the height: the graphics safe area of EBU R 95 ("Safe areas
    for 16:9 television production") and the safe title area of SMPTE ST 2046-1 ("Specifications for Safe Action and
    Safe Title Areas for Television"), which both leave 5 % at each edge. Older television kept text within 80 % (SMPTE
    RP 27.3).
    """

    aspect: float
    """Width of the picture over its height, as it is shown."""
    font_size: float = 0.05
    """Size of the letters as a share of the picture's height."""
    safe_area: float = 0.9
    """Share of the width and of the height in which text stays."""

    @property
    def margin(self) -> float:
        """From an edge of the picture to the safe area, as a share of that side."""
        return (1 - self.safe_area) / 2

    @property
    def line_height(self) -> float:
        """Of a line of text whose file says nothing, as a share of the picture's height."""
        return self.font_size * LINE_HEIGHT

    def size(self, cue: Cue, limit: float) -> tuple[float, float]:
        """Width and height of a cue whose lines fill at most `limit` of the picture's width, as shares.

        Example:
            >>> from vidsal.captions.values import Run
            >>> layout = Layout(aspect=2.0, font_size=0.1)
            >>> width, height = layout.size(Cue(0, 1000, (Run("three\\nlines here"),)), 0.9)
            >>> round(width, 3), round(height, 3)
            (0.288, 0.24)
        """
        em = self._em(cue)
        widths = wrapped(cue.text, max(limit / em - _PADDING_EM, 0.0))
        if not widths:
            return 0.0, 0.0
        # Where lines are broken, a narrower font fills the side.
        is_broken = len(widths) > cue.text.count("\n") + 1
        width = limit if is_broken else min((max(widths) + _PADDING_EM) * em, max(limit, em))
        return width, len(widths) * (cue.line_height or self.line_height)

    def _em(self, cue: Cue) -> float:
        """Size of a letter as a share of the picture's width."""
        return (cue.line_height or self.line_height) / LINE_HEIGHT / self.aspect

    def anchor(self, place: Place, cue: Cue, *, offset: float = 0.0) -> Anchor:
        """Where a cue is anchored at a place.

        Args:
            place: the place.
            cue: the cue.
            offset: how far from the edge of the safe area, at the bottom and at the top, as a share of the height.
        """
        margin, wide = self.margin, self.safe_area
        if place == "bottom":
            home = cue.home or Anchor(0.5, 1 - margin, 0.5, 1, wide)
            return Anchor(home.x, home.y - offset, home.across, home.down, home.width)
        if place == "top":
            return Anchor(0.5, margin + offset, 0.5, 0, wide)
        across = 0 if place == "left" else 1
        return Anchor(abs(across - margin), 0.5, across, 0.5, SIDE_WIDTH)

    def own_anchor(self, number: int) -> Anchor:
        r"""What \anN means: 1 to 3 at the bottom, 4 to 6 in the middle, 7 to 9 at the top, each from left to right."""
        row, column = divmod(number - 1, 3)
        x = (self.margin, 0.5, 1 - self.margin)[column]
        y = (1 - self.margin, 0.5, self.margin)[row]
        return Anchor(x, y, column / 2, 1 - row / 2, self.safe_area)

    def box(self, anchor: Anchor, cue: Cue) -> Box:
        """The box that a cue takes at an anchor."""
        return anchor.box(*self.size(cue, anchor.width))

    def fits(self, place: Place, cue: Cue, box: Box) -> bool:
        """Whether a cue can stand in the box: within the safe area, and no word wider than the side it is on."""
        inside = box.top >= self.margin - _ROUNDING and box.bottom <= 1 - self.margin + _ROUNDING
        if place == "bottom" and cue.home is not None:
            inside = box.top >= 0
        if place in ("left", "right"):
            longest = max((width_in_em(piece) for piece in _pieces(cue.text)), default=0.0)
            return inside and (longest + _PADDING_EM) * self._em(cue) <= SIDE_WIDTH
        return inside


_ROUNDING = 1e-9


def width_in_em(text: str) -> float:
    """About how wide a text of one line is, in sizes of its letters.

    Wide characters of East Asia (Unicode's annex 11: W and F) take one, accents and marks of direction nothing.

    Example:
        >>> width_in_em("\\u5b57\\u5e55"), round(width_in_em("tea"), 2)
        (2.0, 1.65)
    """
    return sum(map(_em_of, text))


@cache
def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in ("W", "F")


@cache
def _em_of(character: str) -> float:
    if _is_wide(character):
        return 1.0
    if unicodedata.category(character) in ("Mn", "Me", "Cf", "Cc"):
        return 0.0
    if character.isspace():
        return 0.3
    if character in "MWmw@%":
        return 0.9
    return 0.7 if character.isupper() else 0.55


def wrapped(text: str, limit_em: float) -> list[float]:
    """Widths of the lines of a text, in sizes of its letters, where none of them is wider than `limit_em`.

    Lines break at spaces and between wide characters; a word that is too long by itself stays whole.

    Example:
        >>> [round(width, 2) for width in wrapped("one tea three", 5)]
        [3.6, 2.75]
    """
    widths = list[float]()
    for line in text.split("\n"):
        now = space = 0.0
        for piece in _pieces(line):
            if piece.isspace():
                space += width_in_em(piece)
                continue
            width = width_in_em(piece)
            if now and now + space + width > limit_em:
                widths.append(now)
                now = width
            else:
                now += space + width
            space = 0.0
        widths.append(now)
    # An empty text takes no line.
    return widths if text.strip() else []


def _pieces(text: str) -> Iterator[str]:
    """What is not broken: words, spaces, single wide characters."""
    for found in re.finditer(r"\s+|\S+", text):
        if found[0].isascii():
            yield found[0]
            continue
        word = ""
        for character in found[0]:
            if _is_wide(character):
                if word:
                    yield word
                yield character
                word = ""
            else:
                word += character
        if word:
            yield word


def settings_of(anchor: Anchor, box: Box) -> str:
    """The settings of a WebVTT cue (https://www.w3.org/TR/webvtt1/#webvtt-cue-settings) that stands in a box.

    The line is that of the upper edge. Alignments of line and position, which came later, are not used: not every
    browser knows them, and those that do have the same without.

    Example:
        >>> settings_of(Anchor(0.5, 0.95, 0.5, 1, 0.9), Box(0.3, 0.83, 0.7, 0.95))
        'line:83% position:50% size:90% align:center'
    """
    align = {0: "left", 0.5: "center", 1: "right"}[anchor.across]
    shares = {"line": max(box.top, 0.0), "position": anchor.x, "size": anchor.width}
    numbers = " ".join(f"{name}:{_percent(min(max(share, 0.0), 1.0))}" for name, share in shares.items())
    return f"{numbers} align:{align}"


def _percent(share: float) -> str:
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"


_POSITIONS = ("line", "position", "vertical", "region")


def anchor_of_settings(settings: Sequence[tuple[str, str]], layout: Layout) -> Anchor | None:
    """Where the settings of a WebVTT cue put it, by and large; None where they leave it to the player.

    Args:
        settings: names and values.
        layout: the lines of the picture.
    """
    known = dict(settings)
    if not any(name in known for name in _POSITIONS):
        return None
    across = {"left": 0.0, "start": 0.0, "right": 1.0, "end": 1.0}.get(known.get("align", ""), 0.5)
    position, _, side = known.get("position", "").partition(",")
    x = _share(position)
    across = {"line-left": 0.0, "center": 0.5, "line-right": 1.0}.get(side, across)
    x = across if x is None else x
    room = {0.0: 1 - x, 1.0: x}.get(across, 2 * min(x, 1 - x))
    size = _share(known.get("size", ""))
    width = max(min(1.0 if size is None else size, room), 0.0)
    line, _, edge = known.get("line", "").partition(",")
    y, down = _line(line, layout)
    down = {"start": 0.0, "center": 0.5, "end": 1.0}.get(edge, down)
    if known.get("vertical") in ("rl", "lr"):
        return Anchor(1.0 if known["vertical"] == "rl" else 0.0, 0.5, float(known["vertical"] == "rl"), 0.5, SIDE_WIDTH)
    return Anchor(x, y, across, down, width)


def _line(text: str, layout: Layout) -> tuple[float, float]:
    """Share of the height, and which edge of the text stands there."""
    share = _share(text)
    if share is not None:
        return share, 0.0
    if re.fullmatch(r"-?\d+", text):
        number = int(text)
        if number >= 0:
            return min(number * layout.line_height, 1.0), 0.0
        return max(1 + (number + 1) * layout.line_height, 0.0), 1.0
    return 1 - layout.margin, 1.0


def _share(text: str) -> float | None:
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)%", text)
    return min(float(found[1]) / 100, 1.0) if found else None
