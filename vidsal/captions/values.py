"""The values that captions are made of: boxes, anchors, runs of text, cues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Anchor", "Box", "Cue", "Run"]


@dataclass(frozen=True)
class Box:
    """A rectangle in shares of the picture's width and height, from its upper left corner."""

    left: float
    """Left edge."""
    top: float
    """Upper edge."""
    right: float
    """Right edge."""
    bottom: float
    """Lower edge."""

    @property
    def height(self) -> float:
        """From the upper to the lower edge."""
        return self.bottom - self.top

    def shared_with(self, other: Box) -> float:
        """Area that two have in common, as a share of the picture.

        Example:
            >>> Box(0, 0, 0.5, 0.5).shared_with(Box(0.25, 0.25, 1, 1)), Box(0, 0, 1, 0.5).shared_with(Box(0, 0.5, 1, 1))
            (0.0625, 0.0)
        """
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        # Edges that only touch, rounding aside, share nothing.
        return across * down if across > _SAME and down > _SAME else 0.0


_SAME = 1e-9


@dataclass(frozen=True)
class Anchor:
    """A point of the picture, and which point of the text lies on it."""

    x: float
    """Share of the picture's width, from the left."""
    y: float
    """Share of its height, from the top."""
    across: float
    """0: the point is the left edge of the text, 0.5 its middle, 1 its right edge."""
    down: float
    """0: the point is the upper edge of the text, 0.5 its middle, 1 its lower edge."""
    width: float
    """Share of the picture's width that a line may fill."""

    def box(self, width: float, height: float) -> Box:
        """Where a text of that size stands.

        Example:
            >>> Anchor(x=0.5, y=1, across=0.5, down=1, width=1).box(0.5, 0.25)
            Box(left=0.25, top=0.75, right=0.75, bottom=1.0)
        """
        left, top = self.x - self.across * width, self.y - self.down * height
        return Box(left, top, left + width, top + height)


@dataclass(frozen=True)
class Run:
    """Text of one style; lines end in a newline."""

    text: str
    """Plain."""
    bold: bool = False
    """Whether it is bold."""
    italic: bool = False
    """Whether it is italic."""
    underline: bool = False
    """Whether it is underlined."""
    strike: bool = False
    """Whether it is struck through."""
    colour: str | None = None
    """Red, green and blue, two hexadecimal digits each; None for the player's own."""


@dataclass(frozen=True)
class Cue:
    """One subtitle."""

    start_ms: int
    """When it appears, in milliseconds of the player's time."""
    end_ms: int
    """When it vanishes; a broken file may say something earlier."""
    runs: tuple[Run, ...]
    """Its text."""
    own: Anchor | None = None
    """Where it stands by itself; None where it leaves that to the player."""
    home: Anchor | None = None
    """Where its style puts it, at the bottom; None for the safe area's."""
    line_height: float | None = None
    """Height of a line as a share of the picture's; None where the player decides."""
    voice: str = ""
    """Who speaks."""
    source: Any = field(default=None, compare=False)
    """What writes it again as it was."""

    @property
    def text(self) -> str:
        """Plain, with newlines."""
        return "".join(run.text for run in self.runs)
