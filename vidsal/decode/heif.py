"""A picture in the containers of phones and the web (HEIC, AVIF) in, its pixels out; never one tile for the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidsal.decode.contract import DecodeOptions, Request
from vidsal.decode.headers import FAULTS, open_with_pillow
from vidsal.decode.transparency import pillow_rgb
from vidsal.errors import DecodeError

__all__ = ["is_heif", "read_heif", "read_with_pillow"]

_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc", b"hevx", b"avif", b"avis")


def is_heif(file: Path) -> bool:
    """Whether a file begins as HEIC or AVIF files do, whatever its name is."""
    try:
        with file.open("rb") as opened:
            head = opened.read(12)
    except OSError:
        return False
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS


def read_with_pillow(file: Path) -> npt.NDArray[np.uint8] | None:
    """(H, W, 3) uint8 RGB, upright, on white; None for what is damaged. Pillow puts tiles together."""
    from PIL import ImageOps

    try:
        with open_with_pillow(file) as image:
            upright = ImageOps.exif_transpose(image)
            return pillow_rgb(upright)
    except FAULTS:
        return None


def read_heif(file: Path, max_pixels: int) -> npt.NDArray[np.uint8] | None:
    """(H, W, 3) uint8 RGB, upright, of a HEIC picture, by FFmpeg, where Pillow cannot read it; None if it is damaged.

    Raises:
        DecodeError: it is made of tiles, or has more than `max_pixels`.
    """
    from vidsal.decode.pyav import open_pyav
    from vidsal.decode.streams import TiledPictureError

    options = DecodeOptions(batch_size=1, threads=1, max_pixels=max_pixels)
    try:
        with open_pyav(file, Request(source=str(file), path=file, kind="video", options=options)) as reader:
            picture: npt.NDArray[np.uint8] = next(iter(reader)).frames[0]
            return picture
    except TiledPictureError:
        raise
    except DecodeError as error:
        if error.option is not None:
            raise
        return None
