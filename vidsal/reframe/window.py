"""The size of a picture and an aspect in, the window that is cut out of it and the size of the result out."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vidsal.errors import ConfigError, Setting
from vidsal.reframe.marginals import Axis

__all__ = ["Window", "window_of"]


@dataclass(frozen=True)
class Window:
    """What is cut out for one aspect: as large as fits into the picture, so that it slides along one side."""

    name: str
    """The aspect as it stands in names of files: 9x16."""
    aspect: Fraction
    """Width over height of the result as it is displayed."""
    axis: Axis
    """The side of the picture along which it slides."""
    width: int
    """Its columns, even; shots with pinned boxes may have more."""
    height: int
    """Its rows, even; shots with pinned boxes may have more."""
    picture_width: int
    """Columns of the upright picture."""
    picture_height: int
    """Rows of the upright picture."""
    result_width: int
    """Columns of the result, even."""
    result_height: int
    """Rows of the result, even."""
    picture_aspect_ratio: Fraction
    """Width of a pixel of the picture over its height."""
    sample_aspect_ratio: Fraction
    """Width of a pixel of the result over its height."""

    @property
    def length(self) -> int:
        """Its extent along the side, in pixels."""
        return self.width if self.axis == "x" else self.height

    @property
    def side(self) -> int:
        """The picture's extent along that side, in pixels."""
        return self.picture_width if self.axis == "x" else self.picture_height


def window_of(
    name: str,
    aspect: Fraction,
    *,
    width: int,
    height: int,
    sample_aspect_ratio: Fraction = Fraction(1),
    result_height: int | None = None,
) -> Window:
    """The window of an aspect.

    Its sides are even, so that the aspect is met to the nearest two pixels.

    Args:
        name: of the aspect, for files.
        aspect: width over height as displayed.
        width: columns of the upright picture.
        height: rows of the upright picture.
        sample_aspect_ratio: width of one of its pixels over its height.
        result_height: rows of the result, which then has square pixels; None: the window is not scaled.

    Raises:
        ConfigError: the picture has this aspect already, or is too small.

    Example:
        >>> window = window_of("9x16", Fraction(9, 16), width=1920, height=1080)
        >>> window.axis, window.width, window.height
        ('x', 608, 1080)
        >>> window_of("1x1", Fraction(1), width=720, height=1280, result_height=1080).result_width
        1080
    """
    even_width, even_height = width // 2 * 2, height // 2 * 2
    ratio = aspect / sample_aspect_ratio  # in pixels
    axis: Axis = "x" if ratio * even_height < even_width else "y"
    size = (_even(ratio * even_height), even_height) if axis == "x" else (even_width, _even(even_width / ratio))
    if size[0] < 2 or size[1] < 2:
        raise ConfigError(Setting("aspect"), f" {name.replace('x', ':')} leaves nothing of {width}x{height} pixels")
    if size[0] >= even_width and size[1] >= even_height:
        shown = f"{width}x{height}" + ("" if sample_aspect_ratio == 1 else f" with pixels of {sample_aspect_ratio}")
        raise ConfigError(
            Setting("aspect"), f" {name.replace('x', ':')} is that of the source ({shown}): there is nothing to cut"
        )
    result = size if result_height is None else (_even(aspect * result_height), result_height)
    return Window(
        name=name,
        aspect=aspect,
        axis=axis,
        width=size[0],
        height=size[1],
        picture_width=width,
        picture_height=height,
        result_width=max(2, result[0]),
        result_height=result[1],
        picture_aspect_ratio=sample_aspect_ratio,
        sample_aspect_ratio=sample_aspect_ratio if result_height is None else Fraction(1),
    )


def _even(length: Fraction) -> int:
    """The nearest even number."""
    return 2 * round(length / 2)
