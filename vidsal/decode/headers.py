"""An image file in, what its header says out, before a pixel is decoded: `read_header`."""

from __future__ import annotations

import contextlib
import importlib
import struct
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsal.errors import DecodeError

__all__ = ["FAULTS", "HEIF_SUFFIXES", "ImageHeader", "open_with_pillow", "read_header"]

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
"""Endings of phones' pictures, which pillow-heif reads."""

_PLUGINS = ("Avif", "Bmp", "Gif", "Jpeg", "Jpeg2K", "Png", "Ppm", "Tiff", "WebP")

_NOT_SHOWN = 1 | 4
"""Marks of a TIFF page (NewSubfileType): a smaller version of another page, or a mask."""


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """What the header of an image file says."""

    format: str
    """Pillow's name of the format: JPEG, PNG, TIFF, WEBP, AVIF, HEIF, ..."""
    width: int
    """Columns of the largest picture, as coded, in pixels."""
    height: int
    """Rows of the largest picture, as coded, in pixels."""
    pictures: tuple[int, ...]
    """Places in the file of the pictures that are shown: more than one in an animation or a TIFF of several pages."""
    transparent: bool = False
    """Whether one of these may have transparent parts."""


def read_header(file: Path) -> ImageHeader | None:
    """What an image file holds; None for what is no image, or of a kind that Pillow does not know.

    Raises:
        DecodeError: it is a WebP image of a size that Pillow does not take.

    Example:
        >>> read_header(Path(__file__)) is None
        True
    """
    from PIL.Image import DecompressionBombError

    with _quiet:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about metadata; what cannot be decoded shows later
                with open_with_pillow(file) as image:
                    return _header(image)
        except DecompressionBombError as error:
            raise DecodeError(f"{file} is too large a WebP image: {error} Convert it to PNG or TIFF.") from error
        except FAULTS:
            return None


_quiet = threading.Lock()
"""Python keeps one list of what to warn of for all threads."""

FAULTS = (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, EOFError, RuntimeError, struct.error)
"""What Pillow raises over damaged headers."""


def _header(image: Any) -> ImageHeader:
    sizes, pictures, transparent = [image.size], [], bool(image.has_transparency_data)
    if image.format == "TIFF":
        for place in range(image.n_frames):
            image.seek(place)
            if not int(image.tag_v2.get(254, 0)) & _NOT_SHOWN:
                pictures.append(place)
                sizes.append(image.size)
                transparent |= image.has_transparency_data
    elif image.format in ("PNG", "WEBP", "AVIF", "GIF"):
        pictures = list(range(image.n_frames))
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return ImageHeader(
        format=str(image.format),
        width=width,
        height=height,
        pictures=tuple(pictures or [0]),
        transparent=transparent,
    )


def open_with_pillow(file: Path) -> Any:
    """The file as Pillow's image, not decoded, of any size: who calls checks that.

    Raises:
        OSError: it cannot be read, or Pillow knows no such kind.
        ValueError, SyntaxError, ...: its header is damaged.
    """
    from PIL import Image

    if "AVIF" not in Image.OPEN:
        for plugin in _PLUGINS:
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
    if "HEIF" not in Image.OPEN:
        with contextlib.suppress(ImportError):  # an extra
            importlib.import_module("pillow_heif").register_heif_opener()
    # Not `Image.open`: its limit on pixels is one for the whole process.
    with file.open("rb") as opened:
        prefix = opened.read(16)
    openers: list[Any] = list(Image.OPEN.values())
    for factory, accept in openers:
        if accept is None or accept(prefix) is True:
            return factory(str(file))
    raise OSError(f"{file} is of no kind that Pillow reads")
