"""Pictures with the densities a teacher gave them in, compact files out; and such files in, training samples out.

A teacher set is made once, where the teacher runs, and then travels. It is one file or a folder of parts, each a
safetensors file that stands by itself: pictures at the size they take on the model's canvas, as WebP; the teacher's
density of each at a quarter of that size, its logarithm in steps of 1/20, as PNG; the points where viewers looked,
where they were recorded; and which pictures follow one another in a video.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vidsal.decode.images import silence_opencv
from vidsal.errors import DatasetError
from vidsal.files import replacing
from vidsal.preprocess import Viewport

__all__ = ["TeacherPicture", "TeacherSample", "TeacherSet", "load_teacher_set", "save_teacher_set"]

_FORMAT = "vidsal teacher set 1"

# A stored map has one cell for so many pixels of a side. Teachers' maps are smooth over that: see the test.
_CELL = 4

# Natural logarithm a grey level; 255 levels below the peak are a factor of 3e-6.
_STEP = 0.05

_WEBP_QUALITY = 85


@dataclass(frozen=True, eq=False)
class TeacherPicture:
    """One picture on its way into a teacher set."""

    pixels: npt.NDArray[np.uint8]
    """(h, w, 3) uint8 RGB at the size it takes on the canvas; one side fills the canvas."""
    density: npt.NDArray[np.float32]
    """(h', w') float32 of any size and scale over the whole picture, non-negative, not all zero."""
    source: str
    """What it was made of, to trace it back, e.g. "osie/1001.jpg"."""
    points: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """(N, 2) float32, x and y in pixels of the picture; empty where nobody's gaze was recorded."""
    sigma: float = 0.0
    """Standard deviation in pixels of the picture that suits the points' density; 0 without points."""
    sequence: int | None = None
    """Equal for the pictures of one video stretch, which stand next to each other, in order; None for stills."""
    seconds: float = 0.0
    """Time within the stretch."""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise ValueError(f"pixels must be (h, w, 3) uint8, got {self.pixels.shape} {self.pixels.dtype}")
        if self.density.ndim != 2 or not np.isfinite(self.density).all() or self.density.min() < 0:
            raise ValueError(f"density must be (h, w), finite and non-negative, got shape {self.density.shape}")
        if self.density.max() <= 0:
            raise ValueError("density must not be all zero")
        if self.points.ndim != 2 or self.points.shape[1] != 2:
            raise ValueError(f"points must be (N, 2), got {self.points.shape}")
        if len(self.points) and not self.sigma > 0:
            raise ValueError(f"sigma must be positive where there are points, got {self.sigma}")


@dataclass(frozen=True, eq=False)
class TeacherSample:
    """One picture of a teacher set, on the canvas."""

    frame: npt.NDArray[np.uint8]
    """(H, W, 3) uint8 RGB on the model's canvas, letter-boxed with black."""
    density: npt.NDArray[np.float32]
    """(H, W) float32 on the canvas, the teacher's; sums to 1, zero on the bars."""
    points: npt.NDArray[np.float32]
    """(N, 2) float32, x and y in pixels of the canvas, where viewers looked; empty where nobody's gaze was recorded."""
    sigma: float
    """Standard deviation in canvas pixels that suits the points' density; 0 without points."""
    viewport: Viewport
    """Where the picture lies on the canvas."""
    source: str
    """What it was made of."""
    seconds: float
    """Time within its sequence."""


class TeacherSet:
    """Samples by their ordinal; decodes one when it is asked for. Made by `load_teacher_set`."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        """Join parts of one canvas, in order."""
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])
        self.canvas_height, self.canvas_width = self._parts[0].canvas
        self.sequences: tuple[range, ...] = tuple(
            range(start + stretch.start, start + stretch.stop)
            for start, part in zip(self._starts.tolist(), self._parts, strict=False)
            for stretch in part.stretches()
        )
        """Ordinals of the samples that follow one another in one video; a still is a range of one. Covers all."""

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __repr__(self) -> str:
        return (
            f"TeacherSet({len(self)} samples, {len(self.sequences)} sequences, "
            f"canvas {self.canvas_height}x{self.canvas_width})"
        )

    def source(self, index: int) -> str:
        """What sample `index` was made of, without decoding it."""
        part, place = self._find(index)
        return part.sources[int(part.arrays["source"][place])]

    def sample(self, index: int) -> TeacherSample:
        """Decode one sample.

        Args:
            index: ordinal, from 0.

        Raises:
            IndexError: there is none.
            DatasetError: its picture or map cannot be decoded.
        """
        part, place = self._find(index)
        pixels = part.decode("pictures", place, cv2.IMREAD_COLOR)[:, :, ::-1]
        height, width = pixels.shape[:2]
        view = Viewport.fit(height, width, canvas_height=self.canvas_height, canvas_width=self.canvas_width)
        if (view.height, view.width) != (height, width):
            raise DatasetError(
                f"{part.path}: picture {place} is {height}x{width}, which does not fill the canvas "
                f"{self.canvas_height}x{self.canvas_width}; make the set again"
            )
        inner = np.s_[view.top : view.top + height, view.left : view.left + width]
        frame = np.zeros((self.canvas_height, self.canvas_width, 3), np.uint8)
        frame[inner] = pixels
        density = np.zeros((self.canvas_height, self.canvas_width), np.float32)
        density[inner] = _unpack_density(part.decode("maps", place, cv2.IMREAD_GRAYSCALE), height, width)
        return TeacherSample(
            frame=frame,
            density=density,
            points=part.piece("points", place) + np.array([view.left, view.top], np.float32),
            sigma=float(part.arrays["sigma"][place]),
            viewport=view,
            source=self.source(index),
            seconds=float(part.arrays["seconds"][place]),
        )

    def _find(self, index: int) -> tuple[_Part, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of a set of {len(self)}")
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[part], index - int(self._starts[part])


def load_teacher_set(path: Path | str) -> TeacherSet:
    """Open a teacher set; the compressed pictures and maps are read into memory, nothing is decoded yet.

    Args:
        path: a part, or a folder whose `*.safetensors` are the parts, taken in the order of their names.

    Raises:
        DatasetError: nothing there, a file is damaged or no part of a teacher set, or the canvases differ.
    """
    path = Path(path)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files:
        raise DatasetError(f"{path}: no .safetensors file here; name a teacher set, a file or a folder of its parts")
    parts = [_Part.read(file) for file in files]
    for part in parts:
        if part.canvas != parts[0].canvas:
            raise DatasetError(
                f"{part.path} has a canvas of {part.canvas[0]}x{part.canvas[1]}, {parts[0].path} one of "
                f"{parts[0].canvas[0]}x{parts[0].canvas[1]}; keep them in separate folders"
            )
    return TeacherSet(parts)


def save_teacher_set(
    path: Path | str,
    pictures: Sequence[TeacherPicture],
    *,
    canvas_height: int,
    canvas_width: int,
    teacher: str,
) -> None:
    """Write one part, whole or not at all.

    Args:
        path: the file, `*.safetensors`; replaced where it is there.
        pictures: what it holds, at least one; those of one sequence next to each other.
        canvas_height: rows of the canvas the pictures fit.
        canvas_width: columns of that canvas.
        teacher: who gave the densities, and under which licence.

    Raises:
        ValueError: no picture, or one that does not fit the canvas.
        EncodeError: the file cannot be written.
    """
    if not pictures:
        raise ValueError("a teacher set holds at least one picture")
    for number, picture in enumerate(pictures):
        height, width = picture.pixels.shape[:2]
        view = Viewport.fit(height, width, canvas_height=canvas_height, canvas_width=canvas_width)
        if (view.height, view.width) != (height, width):
            raise ValueError(
                f"picture {number} is {height}x{width}; on a canvas of {canvas_height}x{canvas_width} it has to be "
                f"{view.height}x{view.width}"
            )
    sources = sorted({picture.source for picture in pictures})
    arrays: dict[str, npt.NDArray[Any]] = {
        "source": np.array([sources.index(picture.source) for picture in pictures], np.int64),
        "sequence": np.array([-1 if p.sequence is None else p.sequence for p in pictures], np.int64),
        "seconds": np.array([picture.seconds for picture in pictures], np.float64),
        "sigma": np.array([picture.sigma for picture in pictures], np.float32),
    }
    quality = [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY]
    pieces: dict[str, list[npt.NDArray[Any]]] = {
        "pictures": [_encoded(".webp", np.ascontiguousarray(p.pixels[:, :, ::-1]), quality) for p in pictures],
        "maps": [_encoded(".png", _pack_density(p.density, *p.pixels.shape[:2]), []) for p in pictures],
        "points": [np.asarray(picture.points, np.float32) for picture in pictures],
    }
    for name, values in pieces.items():
        arrays[name] = np.concatenate(values)
        arrays[f"{name}_end"] = np.cumsum([len(value) for value in values], dtype=np.int64)
    header = {"format": _FORMAT, "canvas": [canvas_height, canvas_width], "teacher": teacher, "sources": sources}
    with replacing(Path(path), also=(SafetensorError,)) as partial:
        save_file(arrays, partial, metadata={"vidsal": json.dumps(header)})


@dataclass(frozen=True, eq=False)
class _Part:
    """One file. What differs in length from picture to picture lies end to end, beside the ends."""

    path: Path
    canvas: tuple[int, int]
    teacher: str
    sources: list[str]
    arrays: dict[str, npt.NDArray[Any]]

    @classmethod
    def read(cls, path: Path) -> _Part:
        try:
            with safe_open(path, framework="np") as file:
                header = json.loads((file.metadata() or {}).get("vidsal", "{}"))
                if not isinstance(header, dict) or header.get("format") != _FORMAT:
                    raise DatasetError(
                        f"{path}: not a part of a teacher set ({_FORMAT!r}); make one with configs/make_teacher_set.py"
                    )
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            height, width = (int(side) for side in header["canvas"])
            part = cls(path, (height, width), str(header["teacher"]), list(header["sources"]), arrays)
            part._check()
        except (OSError, SafetensorError, json.JSONDecodeError) as error:
            raise DatasetError(f"{path}: cannot be read ({error})") from error
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{path}: damaged part of a teacher set ({error!r}); make it again") from error
        return part

    def _check(self) -> None:
        for name in ("source", "sequence", "seconds", "sigma", "pictures_end", "maps_end", "points_end"):
            if self.arrays[name].shape != (len(self),):
                raise ValueError(f"{name} is {self.arrays[name].shape}, not ({len(self)},)")
        for name in ("pictures", "maps", "points"):
            ends = self.arrays[f"{name}_end"]
            if np.any(np.diff(ends, prepend=0) < 0) or int(ends[-1]) != len(self.arrays[name]):
                raise ValueError(f"{name}_end does not rise to {len(self.arrays[name])}")

    def __len__(self) -> int:
        return len(self.arrays["source"])

    def piece(self, name: str, place: int) -> npt.NDArray[Any]:
        ends = self.arrays[f"{name}_end"]
        return self.arrays[name][int(ends[place - 1]) if place else 0 : int(ends[place])]

    def decode(self, name: str, place: int, flags: int) -> npt.NDArray[np.uint8]:
        piece = self.piece(name, place)
        silence_opencv()
        picture = cv2.imdecode(piece, flags) if len(piece) else None
        if picture is None:
            raise DatasetError(f"{self.path}: number {place} of its {name} cannot be decoded; make the set again")
        return np.asarray(picture, np.uint8)

    def stretches(self) -> list[range]:
        """Places of the pictures that follow one another."""
        sequence = self.arrays["sequence"]
        joined = (sequence[1:] == sequence[:-1]) & (sequence[1:] >= 0)
        starts = [0, *(np.flatnonzero(~joined) + 1).tolist(), len(sequence)]
        return [range(start, stop) for start, stop in itertools.pairwise(starts)]


def _pack_density(density: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.uint8]:
    """A density to grey levels of its logarithm below the peak, one cell for `_CELL` x `_CELL` pixels."""
    rows, columns = (max(1, round(side / _CELL)) for side in (height, width))
    small = np.asarray(cv2.resize(density, (columns, rows), interpolation=cv2.INTER_AREA), np.float64)
    logs = np.log(np.maximum(small / small.max(), np.exp(-255 * _STEP)))
    return np.asarray(np.round(255 + logs / _STEP), np.uint8)


def _unpack_density(levels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.float32]:
    """Grey levels to a density over (height, width) that sums to 1."""
    # Enlarged as logarithms: those of a sum of Gaussians bend less than the density itself does.
    logs = (levels.astype(np.float32) - 255) * np.float32(_STEP)
    large = np.exp(np.asarray(cv2.resize(logs, (width, height), interpolation=cv2.INTER_CUBIC), np.float32))
    return np.asarray(large / large.sum(), np.float32)


def _encoded(kind: str, picture: npt.NDArray[np.uint8], options: list[int]) -> npt.NDArray[np.uint8]:
    done, data = cv2.imencode(kind, picture, options)
    if not done:
        raise ValueError(f"OpenCV cannot write {kind} of shape {picture.shape}")
    return np.asarray(data, np.uint8).reshape(-1)
