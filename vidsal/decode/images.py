"""An image file or a folder of them in, `FrameBatch`es out: a picture each, at a nominal rate."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.decode.contract import DecodedFrame, Reader, Request, VideoInfo, check_pixels
from vidsal.decode.headers import FAULTS, HEIF_SUFFIXES, ImageHeader, open_with_pillow, read_header
from vidsal.decode.heif import is_heif, read_heif, read_with_pillow
from vidsal.decode.structure import Fault, faults_of
from vidsal.decode.transparency import on_white, pillow_rgb
from vidsal.errors import DecodeError
from vidsal.frames import Picture

__all__ = ["IMAGE_SUFFIXES", "NOMINAL_RATE", "PICTURE_SUFFIXES", "ImagesReader", "open_images", "silence_opencv"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""Endings of file names, in lower case, that data sets have for their pictures."""

PICTURE_SUFFIXES = IMAGE_SUFFIXES | HEIF_SUFFIXES | {".avif"}
"""Endings of file names, in lower case, that are read as pictures."""

NOMINAL_RATE = Fraction(25)
"""Pictures a second given to a folder of images, which has no times of its own."""


def open_images(path: Path, request: Request, *, pages: Sequence[int] = (0,)) -> ImagesReader:
    """Opens one image, or all images of a folder (not of its subfolders) in natural order: 2.png before 10.png.

    Results of earlier runs in a folder (`*.vidsal.*`, `*.partial.*`) are left out, and the report says so.
    Orientation tags of cameras (EXIF) are honoured; transparent parts are laid on white; more than 8 bits become 8.

    Args:
        path: the image or the folder.
        request: how to read it.
        pages: places of the pictures in a single file; those of a folder give their first.

    Raises:
        DecodeError: the folder holds no image, none can be read, or the first one has more than `max_pixels`; later
            ones that do are skipped.
    """
    if not path.is_dir():
        return ImagesReader(path, [_Place(path, page) for page in pages], request)
    try:
        entries = [entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    except OSError as error:
        raise DecodeError(f"the folder {path} cannot be read: {error.strerror}; change its permissions") from error
    files = sorted((file for file in entries if file.suffix.lower() in PICTURE_SUFFIXES), key=natural_order)
    others = sorted(file.name for file in entries if _is_left_out(file))
    own = [file for file in files if ".vidsal." not in file.name and ".partial." not in file.name]
    if not own:
        but = f" but {len(files)} results of earlier runs" if files else ""
        raise DecodeError(
            f"the folder {path} holds no images{but}; expected files ending in {', '.join(sorted(PICTURE_SUFFIXES))}; "
            f"for its videos, name them, such as {path / '*.mp4'}"
        )
    reader = ImagesReader(path, [_Place(file) for file in own], request)
    if len(own) < len(files):
        reader.report.say(f"images left out as results of earlier runs (*.vidsal.*): {len(files) - len(own)}")
    if others:
        more = ", ..." if len(others) > _MOST_NAMED else ""
        reader.report.say(
            f"videos and pictures of other kinds that are not read in a folder: {len(others)} "
            f"({', '.join(others[:_MOST_NAMED])}{more})"
        )
    return reader


_MOST_NAMED = 3

_NOT_IN_FOLDERS = frozenset(
    [
        ".gif",
        ".apng",
        ".jp2",
        ".jxl",
        ".psd",
        ".exr",
        ".hdr",
        ".tga",
        ".ppm",
        ".pgm",
        ".dng",
        ".cr2",
        ".nef",
        ".arw",
        ".svg",
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".wmv",
        ".mpg",
        ".mpeg",
        ".ts",
        ".m2ts",
        ".mts",
        ".mxf",
        ".flv",
        ".ogv",
        ".3gp",
        ".vob",
    ]
)
"""Endings of pictures and videos that a folder of images may hold, but that are not read there."""


def _is_left_out(file: Path) -> bool:
    return file.suffix.lower() in _NOT_IN_FOLDERS and ".vidsal." not in file.name and ".partial." not in file.name


class _Place(NamedTuple):
    """Where a picture is."""

    file: Path
    page: int = 0

    def __str__(self) -> str:
        return f"page {self.page + 1} of {self.file}" if self.page else str(self.file)


def natural_order(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """Key that sorts numbers inside names by value."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part], path.name


class ImagesReader(Reader):
    """Reads image files one after the other; see `open_images`."""

    def __init__(self, path: Path, places: list[_Place], request: Request) -> None:
        self._places = places
        self._max_pixels = request.options.max_pixels
        self._of_several = 0
        self._too_large: dict[_Place, str] = {}
        self._has_first = False
        self._in_folder = path.is_dir()
        self._looked_at: tuple[Path, list[Fault]] | None = None
        read = ((position, self._read(place)) for position, place in enumerate(places))
        self._first = next(((position, picture) for position, picture in read if picture is not None), None)
        if self._first is None:
            what = (
                f"none of the {len(places)} images in {path} can be read"
                if len(places) > 1
                else f"{places[0]} cannot be read as an image{self._how_cut(places[0].file)}"
            )
            raise DecodeError(f"{what}; expected whole {', '.join(sorted(PICTURE_SUFFIXES))} files")
        self._has_first = True
        self._origin, picture = self._first
        info = VideoInfo(
            source=request.source,
            path=path,
            kind=request.kind,
            height=picture.shape[0],
            width=picture.shape[1],
            frame_count=len(places),
            duration_seconds=float(len(places) / NOMINAL_RATE),
            rate=NOMINAL_RATE,
            nominal_rate=NOMINAL_RATE,
            time_base=1 / NOMINAL_RATE,
            color_range=2,
            colorspace=0,
            pix_fmt="rgb24",
        )
        super().__init__(info, request)

    def _release(self) -> None:
        self._first = None

    def _frames(self) -> Iterator[DecodedFrame]:
        start = self._options.start_seconds
        for position, place in enumerate(self._places):
            if position < self._origin:
                self._skip(place)
                continue
            ticks = position - self._origin
            seconds = float(ticks / NOMINAL_RATE)
            # Half a picture of room: the exact comparison is the base class's.
            if seconds < start - float(1 / NOMINAL_RATE) / 2:
                continue
            picture = self._first[1] if self._first is not None and position == self._origin else self._read(place)
            self._first = None
            if picture is None:
                self._skip(place)
                continue
            self._count_good()
            self._check(place.file)
            full = full_size(picture, (self.info.height, self.info.width))
            upright = Picture(rgb=full, pts=ticks, time_base=1 / NOMINAL_RATE)
            yield DecodedFrame(seconds, partial(self._convert, picture), upright)

        if self._of_several:
            self.report.say(f"of each file with several pictures the first is read: {self._of_several}")

    def _read(self, place: _Place) -> npt.NDArray[np.uint8] | None:
        """(H, W, 3) uint8 RGB, upright; None for what is no image, or too large a one among others.

        Raises:
            DecodeError: it is too large, and no other was read before it.
        """
        header = read_header(place.file)
        try:
            if header is None:
                return read_heif(place.file, self._max_pixels) if is_heif(place.file) else None
            check_pixels(str(place), header.width, header.height, self._max_pixels)
        except DecodeError as error:
            if error.option != "max_pixels" or not self._has_first:
                raise
            self._too_large[place] = str(error)
            return None
        self._of_several += self._in_folder and len(header.pictures) > 1
        return _decoded(place, header, self._faults_in(place.file))

    def _skip(self, place: _Place) -> None:
        if (too_large := self._too_large.get(place)) is not None:
            self.report.say(f"skipped as too large: {too_large}")
        else:
            self.report.say(f"{place} cannot be read as an image{self._how_cut(place.file)}, and is skipped")
        self._count_corrupt()

    def _check(self, file: Path) -> None:
        """Notes what is broken in a file that could be read all the same."""
        if faults := self._faults_in(file):
            self.report.concealed += 1
            self.report.say(f"{file} is damaged: {faults[0].text}")

    def _how_cut(self, file: Path) -> str:
        """What to say of an image file that ends too early, to go on with; empty for others."""
        return next((f": the file is cut short: {fault.text}" for fault in self._faults_in(file) if fault.short), "")

    def _faults_in(self, file: Path) -> list[Fault]:
        """What is broken in the file that is being read; it is looked through once, whatever asks."""
        if self._looked_at is None or self._looked_at[0] != file:
            self._looked_at = file, faults_of(file)
        return self._looked_at[1]

    def _convert(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if picture.shape[:2] != (self.info.height, self.info.width):
            self.report.say(
                f"the images differ in size; all are shown at the first one's, {self.info.width}x{self.info.height}"
            )
        return resize(picture, self.size)


def full_size(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> Callable[[], npt.NDArray[np.uint8]]:
    """What `Picture.rgb` calls: a new (height, width, 3) array of `size` each time, the picture itself untouched."""

    def full() -> npt.NDArray[np.uint8]:
        rgb = resize(picture, size)
        return rgb.copy() if rgb is picture else rgb

    return full


def resize(rgb: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Averages areas when a side shrinks, else interpolates; the picture itself where the size is right.

    Args:
        rgb: (H, W, 3) uint8.
        size: (height, width) wanted.
    """
    height, width = size
    if rgb.shape[:2] == size:
        return rgb
    how = cv2.INTER_AREA if height < rgb.shape[0] or width < rgb.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=how), np.uint8)


def _decoded(place: _Place, header: ImageHeader, faults: Sequence[Fault]) -> npt.NDArray[np.uint8] | None:
    try:
        if header.format in ("AVIF", "HEIF"):
            return read_with_pillow(place.file)
        silence_opencv()
        data = np.fromfile(place.file, np.uint8)
        if header.format == "JPEG" and any(fault.short for fault in faults):
            return _as_far_as_it_goes(data)
        if header.format == "PNG" and not _chunks_are_whole(data):
            return None
        # Both turn by EXIF, drop alpha and make 8 bits.
        if place.page:
            whole, pages = cv2.imdecodemulti(data, cv2.IMREAD_COLOR, range=(place.page, place.page + 1))
            bgr = pages[0] if whole and pages else None
        else:
            bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (OSError, cv2.error):  # an empty file is an error of OpenCV's
        return None
    if bgr is None:
        return None
    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    return _laid_on_white(rgb, place) if header.transparent else rgb


def _as_far_as_it_goes(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """A JPEG that is cut, grey where nothing is there; OpenCV takes none, and its library writes to the console."""
    from PIL import ImageOps
    from PIL.JpegImagePlugin import JpegImageFile

    try:
        with JpegImageFile(io.BytesIO(data.tobytes() + _JPEG_END)) as image:
            return pillow_rgb(ImageOps.exif_transpose(image))
    except FAULTS:
        return None


_JPEG_END = b"\xff\xd9"


@cache
def silence_opencv() -> None:
    """Keeps OpenCV from writing to the console of damaged pictures, which the errors here tell of.

    Whoever sets OPENCV_LOG_LEVEL sees its log.
    """
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _laid_on_white(rgb: npt.NDArray[np.uint8], place: _Place) -> npt.NDArray[np.uint8]:
    """The picture with its transparent parts as Pillow has them: OpenCV may have multiplied colours by alpha."""
    from PIL import ImageOps

    try:
        with open_with_pillow(place.file) as image:
            image.seek(place.page)
            rgba = np.array(ImageOps.exif_transpose(image).convert("RGBA"), np.uint8)
    except FAULTS:
        return rgb
    laid = on_white(rgba)
    if laid.shape != rgb.shape:
        return laid
    return np.where(rgba[..., 3:] == 255, rgb, laid)


def _chunks_are_whole(data: npt.NDArray[np.uint8]) -> bool:
    """Whether the chunks of a PNG end within the file: OpenCV takes memory for as much as a broken one promises."""
    at = 8
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4].tobytes(), "big"), data[at + 4 : at + 8].tobytes()
        at += 12 + length
        if kind == b"IEND":
            break
    return at <= len(data)
