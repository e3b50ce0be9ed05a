"""Positions as a tracker has them in, pixels of the video's upright picture out."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from vidsal.errors import DatasetError, Setting
from vidsal.gaze.makers.contract import Box, Recording
from vidsal.gaze.options import GazeOptions

__all__ = ["Placed", "fitted", "place"]

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Placed:
    """Positions in the video's picture."""

    x: _Floats
    """(N,) pixels from the left edge of the upright picture."""
    y: _Floats
    """(N,) pixels from the upper edge."""
    note: str
    """How they came about, in words."""
    is_guessed: bool = False
    """Whether nothing says where on the screen the video stood."""


def place(
    recording: Recording, options: GazeOptions, *, height: int, width: int, pixel_shape: Fraction = Fraction(1)
) -> Placed:
    """Places a recording's positions in the picture of a video.

    Args:
        recording: the positions.
        options: where the screen and the video on it are given.
        height: rows of the upright picture.
        width: columns of it.
        pixel_shape: width of a pixel of it over its height.

    Raises:
        DatasetError: something that is needed is not known.
    """
    x, y = recording.x, recording.y
    if recording.space == "video":
        reference = options.recorded() or recording.size or (width, height)
        if recording.unit == "share":
            x, y, given = x * width, y * height, "shares of the picture"
        else:
            x, y = x * (width / reference[0]), y * (height / reference[1])
            given = f"pixels of a picture of {reference[0]}x{reference[1]}"
        top = height - y if recording.origin == "bottom" else y
        return Placed(x, top, f"positions are {given}, from its {_corner(recording)} left corner")
    screen = options.screen_size() or recording.size
    box = options.video_box() or recording.box
    if screen is None and (recording.unit == "share" or recording.origin == "bottom" or box is None):
        text = f"{recording.path}: positions are those on the screen, whose size the file does not say; give it with "
        raise DatasetError(text, Setting("screen", "1920x1080"))
    if recording.unit == "share" and screen is not None:
        x, y = x * screen[0], y * screen[1]
    if recording.origin == "bottom" and screen is not None:
        y = screen[1] - y
    how = "as given"
    is_guessed = box is None
    if box is None:
        box = fitted(screen or (width, height), height=height, width=width, pixel_shape=pixel_shape)
        how = "in its middle, as large as fits"
    elif options.video_at is None:
        how = "as the file says"
    left, top_edge, across, down = box
    size = "" if screen is None else f" of {screen[0]}x{screen[1]}"
    words = f"{left:g},{top_edge:g} and {across:g}x{down:g}"
    return Placed(
        (x - left) * (width / across),
        (y - top_edge) * (height / down),
        f"positions are {'shares' if recording.unit == 'share' else 'pixels'} of the screen{size}, from its "
        f"{_corner(recording)} left corner; the video stood at {words} on it, {how}",
        is_guessed,
    )


def fitted(screen: tuple[int, int], *, height: int, width: int, pixel_shape: Fraction = Fraction(1)) -> Box:
    """Where a video stands that fills a screen as far as its shape allows.

    Args:
        screen: (width, height) in pixels.
        height: rows of the picture.
        width: columns of it.
        pixel_shape: width of its pixels over their height.

    Example:
        >>> fitted((1920, 1200), height=1080, width=1920), fitted((1000, 1000), height=200, width=100)
        ((0.0, 60.0, 1920.0, 1080.0), (250.0, 0.0, 500.0, 1000.0))
    """
    shown = float(width * pixel_shape)
    scale = min(screen[0] / shown, screen[1] / height)
    across, down = shown * scale, height * scale
    return (screen[0] - across) / 2, (screen[1] - down) / 2, across, down


def _corner(recording: Recording) -> str:
    return "lower" if recording.origin == "bottom" else "upper"
