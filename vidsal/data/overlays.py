"""Options and a seed in, captions, tickers and logos out, to be blended over the frames of a made clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.data.options import OverlayOptions

__all__ = ["Overlay", "draw_overlays", "happens", "looked_at_with", "within"]

_Floats = npt.NDArray[np.float32]

_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
_LETTERS = "etaoinshrdlucmfwypvbgk"
# Places inside an overlay where viewers may look; more viewers than these share them.
_SPOTS = 256
# The overlays of a frame draw no more than this share of all fixations together.
_MOST = 0.95


@dataclass(frozen=True, eq=False)
class Overlay:
    """One thing that lies over the picture. Coordinates are pixels of the shown picture, bars not counted."""

    top: int
    """First row."""
    left: int
    """First column."""
    width: int
    """Columns shown; a ticker's strip is longer."""
    colour: _Floats
    """(h, w, 3) float32, 0 to 255, already multiplied by `alpha`."""
    alpha: _Floats
    """(h, w, 1) float32, 0 to 1."""
    first_frame: int
    """The frame in which it appears."""
    scroll: float
    """Columns that the strip moves to the left in a frame."""
    spots: npt.NDArray[np.float64]
    """(256, 2) float64, x and y of places where viewers may look."""
    attraction: float
    """Share of all fixations that it draws."""

    def blend(self, picture: npt.NDArray[np.uint8], frame: int) -> None:
        """Draw it onto a picture, in place."""
        if frame < self.first_frame:
            return
        part = picture[self.top : self.top + len(self.alpha), self.left : self.left + self.width]
        colour, alpha = (layer[: part.shape[0], : part.shape[1]] for layer in self._shown(frame))  # it may stick out
        part[...] = (part * (1 - alpha) + colour + 0.5).astype(np.uint8)

    def hides(self, points: npt.NDArray[np.float64], frame: int) -> npt.NDArray[np.bool_]:
        """(N,) bool, True for the points (N, 2) that lie under more of it than shines through."""
        hidden = np.zeros(len(points), np.bool_)
        if frame < self.first_frame:
            return hidden
        _, alpha = self._shown(frame)
        columns, rows = np.floor(points - (self.left, self.top)).astype(np.int64).T
        inside = (columns >= 0) & (columns < self.width) & (rows >= 0) & (rows < len(alpha))
        hidden[inside] = alpha[rows[inside], columns[inside], 0] > 0.5
        return hidden

    def _shown(self, frame: int) -> tuple[_Floats, _Floats]:
        if self.scroll == 0:
            return self.colour, self.alpha
        columns = (np.arange(self.width) + round(self.scroll * frame)) % self.alpha.shape[1]
        return self.colour[:, columns], self.alpha[:, columns]


def draw_overlays(
    options: OverlayOptions, *, rows: int, columns: int, times: int, random: np.random.Generator
) -> tuple[Overlay, ...]:
    """Draw what lies over the frames of one clip; where all chances are 0, nothing is drawn from `random`."""
    overlays = []
    floor = rows  # a caption stands above the ticker
    if happens(options.ticker_probability, random):
        ticker = _ticker(options.ticker_attraction, rows, columns, random)
        overlays.append(ticker)
        floor = ticker.top
    if happens(options.caption_probability, random):
        first = 0 if times == 1 or random.random() < 0.5 else int(random.integers(1, times))
        overlays.append(_caption(options.caption_attraction, floor, columns, first, random))
    if happens(options.logo_probability, random):
        overlays.append(_logo(options.logo_attraction, rows, columns, random))
    return tuple(overlays)


def looked_at_with(
    overlays: Sequence[Overlay], points: npt.NDArray[np.float64], frame: int, *, rows: int, columns: int
) -> npt.NDArray[np.float64]:
    """Where viewers look on a frame once overlays lie over it.

    What an overlay hides is gone. Each one that is shown then holds its share of all fixations that are on the frame in
    the end, its own and those of the others included; where the shares come to more than 0.95, all are scaled down.

    Of the overlays, each lies over those before it. (N, 2) points without them become (M, 2) float64; points outside
    the picture are returned too and count as nothing.
    """
    shown = [overlay for overlay in overlays if frame >= overlay.first_frame]
    drawing = []
    for place, overlay in enumerate(shown):
        points = points[~overlay.hides(points, frame)]
        spots = overlay.spots[within(overlay.spots, columns, rows)]
        for above in shown[place + 1 :]:
            spots = spots[~above.hides(spots, frame)]
        if len(spots) and overlay.attraction > 0:
            drawing.append((overlay.attraction, spots))
    together = sum(attraction for attraction, _ in drawing)
    scale = min(1.0, _MOST / together) if drawing else 1.0
    all_of_them = int(within(points, columns, rows).sum()) / (1 - scale * together)
    drawn = [spots[np.arange(round(scale * share * all_of_them)) % len(spots)] for share, spots in drawing]
    return np.concatenate([points, *drawn])


def within(points: npt.NDArray[np.float64], width: float, height: float) -> npt.NDArray[np.bool_]:
    """Which points (N, 2) lie from 0 up to a width and a height."""
    return np.asarray(((points >= 0) & (points < (width, height))).all(1), np.bool_)


def happens(probability: float, random: np.random.Generator) -> bool:
    """Draws whether something of this probability happens; where it is 0, nothing is drawn."""
    return probability > 0 and bool(random.random() < probability)


def _caption(attraction: float, floor: int, columns: int, first_frame: int, random: np.random.Generator) -> Overlay:
    lines = int(random.integers(1, 3))
    height = max(6, round(floor * float(random.uniform(0.06, 0.1)))) * lines
    plate = bool(random.random() < 0.5)
    text = _text([_words(int(random.integers(2, 6)), random) for _ in range(lines)], height, columns * 0.92, random)
    ink = _ink(text, plate=plate, random=random)
    height, width = text.shape[:2]
    low = random.random() < 0.8
    margin = max(1, round(floor * float(random.uniform(0.02, 0.08))))
    top = floor - height - margin if low else margin
    left = (columns - width) // 2 if random.random() < 0.7 else round(columns * 0.04)
    return _placed(max(0, top), left, width, *ink, first_frame=first_frame, attraction=attraction, random=random)


def _ticker(attraction: float, rows: int, columns: int, random: np.random.Generator) -> Overlay:
    height = max(6, round(rows * float(random.uniform(0.06, 0.09))))
    text = _text([_words(int(random.integers(12, 20)), random)], height, float("inf"), random)
    ink = _ink(text, plate=True, random=random)
    scroll = columns * float(random.uniform(0.004, 0.03))
    return _placed(
        rows - len(text), 0, min(columns, text.shape[1]), *ink, scroll=scroll, attraction=attraction, random=random
    )


def _logo(attraction: float, rows: int, columns: int, random: np.random.Generator) -> Overlay:
    side = max(6, round(min(rows, columns) * float(random.uniform(0.09, 0.17))))
    large = 8 * side
    shape, letters = np.zeros((large, large), np.uint8), np.zeros((large, large), np.uint8)
    middle = (large // 2, large // 2)
    if random.random() < 0.5:
        cv2.ellipse(shape, middle, (large // 2 - 4, round(large * random.uniform(0.3, 0.48))), 0, 0, 360, 255, -1)
    else:
        cv2.rectangle(shape, (4, round(large * 0.2)), (large - 4, round(large * 0.8)), 255, -1)
    word = _words(1, random)[: int(random.integers(1, 4))].upper()
    font, scale, thickness = int(random.choice(_FONTS)), large / 90, max(2, large // 40)
    (width, height), _ = cv2.getTextSize(word, font, scale, thickness)
    start = (middle[0] - width // 2, middle[1] + height // 2)
    cv2.putText(letters, word, start, font, scale, 255, thickness, cv2.LINE_AA)
    opacity = np.float32(random.uniform(0.5, 1))
    mask = _small(shape, side, side)
    text = _small(letters, side, side) * mask
    colour = (mask - text) * _colour(random) + text * _colour(random, bright=random.random() < 0.7)
    gap = max(1, round(0.04 * min(rows, columns)))
    top = gap if random.random() < 0.6 else rows - side - gap
    left = gap if random.random() < 0.5 else columns - side - gap
    return _placed(
        max(0, top), max(0, left), side, colour * opacity, mask * opacity, attraction=attraction, random=random
    )


def _placed(
    top: int,
    left: int,
    width: int,
    colour: _Floats,
    alpha: _Floats,
    *,
    attraction: float,
    random: np.random.Generator,
    first_frame: int = 0,
    scroll: float = 0.0,
) -> Overlay:
    spots = (left, top) + random.uniform((0.05, 0.2), (0.95, 0.8), (_SPOTS, 2)) * (width, len(alpha))
    return Overlay(top, left, width, colour, alpha, first_frame, scroll, spots, attraction)


def _words(count: int, random: np.random.Generator) -> str:
    """Words of no language."""
    lengths = random.integers(2, 9, count)
    text = " ".join("".join(random.choice(list(_LETTERS), size)) for size in lengths)
    return text.capitalize() if random.random() < 0.7 else text.upper()


def _text(lines: list[str], height: int, widest: float, random: np.random.Generator) -> _Floats:
    """(h, w, 2) float32, letters and letters with their outline, 0 to 1; at most `height` rows, `widest` columns."""
    font = int(random.choice(_FONTS))
    sizes = [cv2.getTextSize(line, font, 1.0, 2)[0] for line in lines]
    pitch, columns = 40, max(size[0] for size in sizes) + 24
    large = np.zeros((2, pitch * len(lines), columns), np.uint8)
    for number, (line, size) in enumerate(zip(lines, sizes, strict=True)):
        start = ((columns - size[0]) // 2, pitch * number + 29)
        for layer, thickness in zip(large, (2, 6), strict=True):
            cv2.putText(layer, line, start, font, 1.0, 255, thickness, cv2.LINE_AA)
    scale = min(height / large.shape[1], widest / columns)
    size = max(1, round(large.shape[1] * scale)), max(1, round(columns * scale))
    return np.concatenate([_small(layer, *size) for layer in large], 2)


def _ink(text: _Floats, *, plate: bool, random: np.random.Generator) -> tuple[_Floats, _Floats]:
    """Colour (h, w, 3), multiplied by alpha, and alpha (h, w, 1) of text on a plate or with a dark outline."""
    letters, outlined = text[:, :, :1], text[:, :, 1:]
    if not plate:
        return letters * _colour(random, bright=True), outlined
    opacity = np.float32(random.uniform(0.6, 1))
    dark = random.random() < 0.7
    alpha = opacity + (1 - opacity) * letters
    return opacity * (1 - letters) * _colour(random, bright=not dark) + letters * _colour(random, bright=dark), alpha


def _colour(random: np.random.Generator, *, bright: bool = False) -> _Floats:
    """(3,) float32: white or yellow where it has to be bright, else dark, of any hue."""
    if bright:
        return np.array([255, 255, random.choice([90, 230, 255])], np.float32)
    return random.uniform(0, 130, 3).astype(np.float32) * np.float32(random.choice([0.3, 1.0]))


def _small(mask: npt.NDArray[np.uint8], rows: int, columns: int) -> _Floats:
    """(rows, columns, 1) float32, 0 to 1."""
    small = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)[:, :, None] / np.float32(255)
