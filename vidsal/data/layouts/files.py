"""Folders and files of a data set in, listings, pictures, densities and points out; every error names the file."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.data import matlab
from vidsal.data.layouts.contract import Fixations, Labels, Shown
from vidsal.decode.contract import SizeRequest
from vidsal.decode.images import IMAGE_SUFFIXES, natural_order, resize, silence_opencv
from vidsal.errors import DatasetError
from vidsal.isolated import read_isolated

__all__ = [
    "AtLeast",
    "ByOrdinal",
    "ImagePictures",
    "Numbered",
    "by_stem",
    "density_of",
    "is_coloured",
    "list_files",
    "list_folders",
    "load_hdf_cells",
    "load_mat",
    "match",
    "need_folder",
    "number_of",
    "picture_size",
    "read_density",
    "read_fixation_map",
    "read_picture",
]

T = TypeVar("T")


# Listing.


def need_folder(path: Path, what: str) -> Path:
    """The folder itself.

    Raises:
        DatasetError: it is not there.
    """
    if not path.is_dir():
        near = next((parent for parent in path.parents if parent.is_dir()), None)
        there = ", ".join(sorted(entry.name for entry in near.iterdir())[:8]) if near else ""
        hint = f"; {near} holds {there or 'nothing'}" if near else ""
        raise DatasetError(f"{path}: no such folder; expected {what}{hint}")
    return path


def list_files(folder: Path, *, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> tuple[Path, ...]:
    """Files with one of these endings (in any case), in natural order: 2 before 10. Hidden ones are left out."""
    wanted = frozenset(suffixes)
    return _entries(folder, lambda entry: not entry.name.startswith(".") and Path(entry.name).suffix.lower() in wanted)


def list_folders(folder: Path, pattern: str) -> tuple[Path, ...]:
    """Subfolders whose whole name matches a regular expression, in natural order; others are not the layout's."""
    return _entries(folder, lambda entry: re.fullmatch(pattern, entry.name) and entry.is_dir())


def _entries(folder: Path, wanted: Callable[[os.DirEntry[str]], object]) -> tuple[Path, ...]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if wanted(entry)]
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be listed: {error.strerror}; check the path and its permissions"
        ) from error
    return tuple(sorted((folder / name for name in names), key=natural_order))


def by_stem(files: Iterable[Path], ending: str = "") -> dict[str, Path]:
    """The files whose names have this ending before that of their format, by their names without both."""
    return {file.stem.removesuffix(ending): file for file in files if file.stem.endswith(ending)}


def number_of(path: Path) -> int:
    """The last number in a file's name: 3 for actioncliptest00001_00003.png.

    Raises:
        DatasetError: the name has none.
    """
    found = re.findall(r"\d+", path.stem)
    if not found:
        raise DatasetError(f"{path}: the name has no number; frames are numbered files")
    return int(found[-1])


def match(pictures: tuple[Path, ...], labels: Mapping[str, Path], what: str, folder: Path) -> tuple[Path, ...]:
    """The label of each picture, once each has one of its name (without ending) and the other way round.

    Raises:
        DatasetError: the names differ; the message has both counts and the first name without a partner.
    """
    names = [file.stem for file in pictures]
    if len(set(names)) < len(names):
        raise DatasetError(f"{pictures[0].parent}: two pictures have one name with different endings; remove one")
    lonely = sorted(labels.keys() ^ set(names), key=lambda name: natural_order(Path(name)))
    if lonely:
        side, other = ("picture", folder) if lonely[0] in names else (what, pictures[0].parent)
        raise DatasetError(
            f"{folder}: {len(labels)} {what}s for {len(pictures)} pictures in {pictures[0].parent}; the {side} "
            f"{lonely[0]} has no partner in {other}; copy or unpack it again"
        )
    return tuple(labels[name] for name in names)


@dataclass(frozen=True, eq=False)
class Numbered:
    """The numbered files of a folder, listed when first called."""

    folder: Path
    """Where they lie."""
    what: str
    """What one of them is, for messages."""
    beside: Numbered | None = None
    """Files that must have the same names, see `match`."""
    suffixes: frozenset[str] = IMAGE_SUFFIXES
    """Endings that count."""

    def __call__(self) -> tuple[Path, ...]:
        """The files by the last number in their names, which may begin anywhere but has no gap.

        Raises:
            DatasetError: there is none, a number is there twice, or one between the first and the last is missing; or
                as `match`.
        """
        return self._files

    @cached_property
    def _files(self) -> tuple[Path, ...]:
        folder = need_folder(self.folder, self.what)
        files = tuple(sorted(list_files(folder, suffixes=self.suffixes), key=number_of))
        if not files:
            raise DatasetError(f"{folder} holds no numbered {self.what}; copy or unpack it again")
        for before, after in itertools.pairwise(files):
            step = number_of(after) - number_of(before)
            if step == 0:
                raise DatasetError(f"{folder}: {before.name} and {after.name} have the same number; remove one of them")
            if step > 1:
                raise DatasetError(
                    f"{folder}: after {before.name} comes {after.name}, {step - 1} of the files between are missing; "
                    f"copy or unpack it again"
                )
        return files if self.beside is None else match(self.beside(), by_stem(files), self.what, folder)


# Reading.


@dataclass(frozen=True)
class AtLeast:
    """A size request: pictures as stored, but JPEG files at 1/2, 1/4 or 1/8 where enough pixels are left."""

    longer: int
    """Pixels that the longer side keeps at least."""

    def __call__(self, height: int, width: int) -> tuple[int, int]:
        """As stored."""
        return height, width

    def flags(self, data: bytes) -> int:
        """How OpenCV shall decode the bytes of a file."""
        longer = _jpeg_longer_side(data)
        factor = max((factor for factor in _REDUCED if longer >= factor * self.longer), default=1)
        return _REDUCED.get(factor, cv2.IMREAD_COLOR)


_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


def _jpeg_longer_side(data: bytes) -> int:
    """Pixels of the longer side as the frame header says; 0 where there is none."""
    place = 2
    while data[:2] == b"\xff\xd8" and place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        # SOF0 to SOF15, without DHT, JPG and DAC among them.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return max(int.from_bytes(data[place + 5 : place + 7]), int.from_bytes(data[place + 7 : place + 9]))
        place += 1 if marker == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4])
    return 0


def _read(path: Path, flags: int, *, size: SizeRequest = None) -> npt.NDArray[Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}; copy it again") from error
    silence_opencv()
    try:
        flags |= size.flags(data) if isinstance(size, AtLeast) else 0
        values = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise DatasetError(f"{path} is not a readable picture ({error.err}); copy it again") from error
    if values is None:
        raise DatasetError(f"{path} is not a readable picture; copy it again")
    return np.asarray(values)


def read_picture(path: Path, *, size: SizeRequest = None, upright: bool = False) -> npt.NDArray[np.uint8]:
    """A stored picture, (h, w, 3) uint8 RGB.

    Args:
        path: the file.
        size: (height, width), or what makes it from the stored one; None: as stored.
        upright: honour a camera's orientation tag. Published sets are labelled on the stored pixels, and some of
            their files carry a wrong tag (CAT2000's Pattern/134.jpg).
    """
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    rgb: npt.NDArray[np.uint8] = cv2.cvtColor(_read(path, flags, size=size), cv2.COLOR_BGR2RGB)
    if size is None:
        return rgb
    return resize(rgb, size(*rgb.shape[:2]) if callable(size) else size)


def picture_size(path: Path) -> tuple[int, int]:
    """(rows, columns) of a stored picture."""
    rows, columns = _read(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION).shape[:2]
    return rows, columns


_LIT, _TINTED = 0.125, 0.03
"""Shares of the largest value: how bright a pixel must be to count, and how far channels may differ by rounding."""


def is_coloured(values: npt.NDArray[Any]) -> bool:
    """Whether the channels of a picture, (h, w, 3), differ clearly: more than by the rounding of what codes a grey one.

    Black has no colour: of a picture that is black but for a few spots, only these count.
    """
    whole = np.iinfo(values.dtype).max if values.dtype.kind in "ui" else np.nanmax(values, initial=0)
    brightest = values.max(axis=2)
    lit = brightest > _LIT * whole
    return bool(lit.any() and float((brightest[lit] - values.min(axis=2)[lit]).mean()) > _TINTED * whole)


def _read_grey(path: Path, *, grey_only: bool = False) -> npt.NDArray[Any]:
    values = _read(path, cv2.IMREAD_UNCHANGED)
    if grey_only and values.ndim == 3 and values.shape[2] >= 3 and is_coloured(values[:, :, :3]):
        raise DatasetError(
            f"{path} is a coloured picture, and it is not known which colour means more attention; expected are grey "
            "maps: write them before a colour map is applied"
        )
    if values.ndim == 3:
        # An alpha channel is no attention; colour maps of greys have three equal channels.
        values = values[:, :, :3].mean(axis=2) if values.shape[2] > 1 else values[:, :, 0]
    return values


def density_of(values: npt.NDArray[Any], *, name: object = "a recorded map") -> npt.NDArray[np.float32] | None:
    """A map (h, w) scaled to sum 1, float32; None where it holds only zeros.

    Args:
        values: the map.
        name: what to call it in messages.

    Raises:
        DatasetError: it holds NaN, infinity or negative values.
    """
    if values.dtype.kind != "u" and not (np.isfinite(values).all() and values.min(initial=0) >= 0):
        raise DatasetError(f"{name} has NaN, infinity or negative values, which no density has; copy or make it again")
    total = float(values.sum(dtype=np.float64))
    return None if total <= 0 else np.asarray(values / total, np.float32)


def read_density(path: Path, *, grey_only: bool = False) -> npt.NDArray[np.float32] | None:
    """A stored map of any depth as a density, (h, w) float32; None where it holds only zeros.

    Args:
        path: the file.
        grey_only: refuse a picture whose channels differ, see `is_coloured`; else it is read as their mean.

    Raises:
        DatasetError: it cannot be read, holds NaN, infinity or negative values, or is coloured where that is refused.
    """
    return density_of(_read_grey(path, grey_only=grey_only), name=path)


def read_fixation_map(path: Path, *, name: str = "I") -> Fixations:
    """The points of a binary map: an image, or the matrix of this name in a .mat file."""
    return Fixations.from_map(load_mat(path, name) if path.suffix.lower() == ".mat" else _read_grey(path))


def load_mat(path: Path, name: str) -> npt.NDArray[Any]:
    """One variable of a MATLAB file up to version 7, see `vidsal.data.matlab`; cells are object arrays, structs have
    named fields.

    Raises:
        DatasetError: scipy is not installed, the file cannot be read, or has no such variable.
    """
    _require("scipy.io")
    return np.asarray(read_isolated(matlab.load_mat, path, name, failure=DatasetError))


def load_hdf_cells(path: Path, name: str) -> list[npt.NDArray[Any]]:
    """The matrices of a cell array in a MATLAB file of version 7.3 (HDF5), each transposed back to MATLAB's shape.

    Raises:
        DatasetError: h5py is not installed, the file cannot be read, or has no such variable.
    """
    _require("h5py")
    return [np.asarray(one) for one in read_isolated(matlab.load_hdf_cells, path, name, failure=DatasetError)]


def _require(module: str) -> None:
    # Looked for, not imported: it is used in the other process.
    if importlib.util.find_spec(module) is None:
        package = module.partition(".")[0]
        raise DatasetError(f"this data set has .mat files, which need {package}: pip install 'vidsal[data]'")


# Pictures and labels that are files.


@dataclass(frozen=True, eq=False)
class ImagePictures:
    """Pictures that are files; `Pictures` of the contract."""

    files: Callable[[], tuple[Path, ...]]
    """Lists them in order, checked; called whenever they are needed."""
    rate: Fraction | None = None
    """Pictures a second; None for a still."""
    upright: bool = False
    """Honour orientation tags, see `read_picture`."""

    def count(self) -> int | None:
        """Number of files."""
        return len(self.files())

    def read(self, start: int, stop: int | None, size: SizeRequest) -> Iterator[Shown]:
        """See `Pictures`."""
        for ordinal, file in enumerate(self.files()[start:stop], start):
            yield Shown(
                ordinal=ordinal,
                seconds=float(ordinal / self.rate) if self.rate else 0.0,
                name=file.name,
                picture=partial(read_picture, file, size=size, upright=self.upright),
            )


@dataclass(frozen=True, eq=False)
class ByOrdinal(Labels[T]):
    """Labels that are files."""

    files: Callable[[], tuple[Path, ...] | Mapping[int, Path]]
    """Lists them: in the pictures' order and one for each, or by the picture's ordinal where some have none."""
    load: Callable[[Path], T | None]
    """Reads one."""

    def count(self) -> int | None:
        """Number of files where each picture has one."""
        files = self.files()
        return len(files) if isinstance(files, tuple) else None

    @contextlib.contextmanager
    def follow(self) -> Iterator[Callable[[Shown], Callable[[], T | None]]]:
        """See `Labels`."""
        files = self.files()
        paths = dict(enumerate(files)) if isinstance(files, tuple) else files

        def label(shown: Shown) -> Callable[[], T | None]:
            path = paths.get(shown.ordinal)
            return (lambda: None) if path is None else partial(self.load, path)

        yield label
