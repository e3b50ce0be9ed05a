"""The values that travel between the stages: pictures with their times in, densities with theirs out.

`FrameBatch` leaves the decoder, `SaliencyBatch` leaves the pipe. Both are frozen and checked when made; both are
sliced, iterated and joined whole, so that no stage takes one apart field by field.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["FrameBatch", "Picture", "Planes", "SaliencyBatch"]


@dataclass(frozen=True, eq=False)
class Planes:
    """A frame as its decoder left it: upright YUV 4:2:0 of 8 bits and even sides. Nobody may write into it."""

    planes: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
    """(H, W) luma; (H / 2, W / 2) blue and red difference."""
    colorspace: int
    """FFmpeg's number of the matrix."""
    full_range: bool
    """Whether levels go from 0 to 255, not from 16 to 235 (chroma 240)."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One frame at its full size, converted to RGB only when it is asked for.

    The decoder makes these; the renderer is the only stage that pays for the conversion.
    """

    rgb: Callable[[], npt.NDArray[np.uint8]] = field(repr=False)
    """Returns a new upright (height, width, 3) uint8 RGB array; the caller owns it."""
    deep_rgb: Callable[[], npt.NDArray[np.uint16]] | None = field(default=None, repr=False)
    """As `rgb`, with all bits of a source that has more than 8: uint16, 65535 is white; None for other sources."""
    planes: Callable[[], Planes | None] = field(default=lambda: None, repr=False)
    """Returns the frame as its decoder left it, where that is of this kind: then nothing needs to be converted."""
    pts: int | None = None
    """Presentation time in units of `time_base`, exactly as the container had it; None for sources without."""
    time_base: Fraction | None = None
    """Seconds per unit of `pts`."""
    duration: int | None = None
    """How long it is shown, in units of `time_base`, as the container says; None where it does not say."""
    captions: Any = field(default=None, repr=False)
    """A tiny frame of the decoder's that carries the picture's closed captions to the encoder; None without any."""


class _Batch:
    """What batches of consecutive frames share: length, slices, iteration, joining.

    Subclasses are dataclasses. `_per_frame` names the fields that hold one entry a frame, `index` first and what fills
    a picture last; `pictures` is such a field too, or empty. All others are the same for all frames of a video.
    """

    _per_frame: tuple[str, ...]
    index: npt.NDArray[np.int64]
    pts_seconds: npt.NDArray[np.float64]
    height: int
    width: int
    pictures: tuple[Picture, ...]

    def _check(self) -> None:
        count = len(self.index)
        if self.index.ndim != 1 or count == 0:
            raise ValueError(f"index must be (B,) with B >= 1, got shape {self.index.shape}")
        for name in self._per_frame[1:-1]:
            shape = getattr(self, name).shape
            if shape != (count,):
                raise ValueError(f"{name} must be ({count},), got {shape}")
        if self.pictures and len(self.pictures) != count:
            raise ValueError(f"pictures must be empty or {count} long, got {len(self.pictures)}")
        if self.height < 1 or self.width < 1:
            raise ValueError(f"height and width must be positive, got {self.height}x{self.width}")

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: int | slice) -> Self:
        """The frames of a slice, or a batch of the one frame at an ordinal; nothing is copied.

        Args:
            rows: ordinals within the batch, from 0; negative ones count from the end. A slice keeps the order.

        Raises:
            IndexError: the batch has no such frame, or the slice holds none.
            TypeError: neither a whole number nor a slice.
            ValueError: the slice runs backwards.
        """
        if not isinstance(rows, slice):
            rows = operator.index(rows)
            if not -len(self) <= rows < len(self):
                raise IndexError(f"frame {rows} of a batch of {len(self)}")
            rows = slice(rows, rows + 1 or None)
        if rows.step is not None and rows.step < 1:
            raise ValueError(f"frames stay in order: the step of a slice must be at least 1, got {rows.step}")
        if not range(*rows.indices(len(self))):
            raise IndexError(f"no frame in {rows.start}:{rows.stop} of a batch of {len(self)}")
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in self._per_frame}
        return dataclasses.replace(self, **parts, pictures=self.pictures[rows])  # type: ignore[type-var]

    def __iter__(self) -> Iterator[Self]:
        """Batches of one frame, in order."""
        return (self[row] for row in range(len(self)))

    @classmethod
    def join(cls, batches: Iterable[Self]) -> Self:
        """The frames of several batches in one.

        Args:
            batches: at least one; of one video, in order. A single one is returned as it is.

        Raises:
            ValueError: there is none, sizes differ, only some have `pictures`, or the frames are not in order.

        Example:
            >>> batch = FrameBatch(np.arange(3), np.arange(3) / 25, np.zeros((3, 18, 32, 3), np.uint8), 720, 1280)
            >>> FrameBatch.join([batch[:1], batch[1:]])
            FrameBatch(index=0..2, pts_seconds=0.000..0.080, frames=(3, 18, 32, 3), picture=720x1280)
        """
        pieces = list(batches)
        if not pieces:
            raise ValueError("there is nothing to join; give at least one batch")
        first = pieces[0]
        if len(pieces) == 1:
            return first
        kinds = {piece._kind() for piece in pieces}
        if len(kinds) > 1:
            raise ValueError(f"only batches of one kind can be joined, got {' and '.join(map(str, sorted(kinds)))}")
        for before, after in itertools.pairwise(pieces):
            if after.index[0] <= before.index[-1]:
                raise ValueError(
                    f"frame {after.index[0]} cannot follow frame {before.index[-1]}: join batches in order"
                )
        joined: dict[str, Any] = {}
        for name in cls._per_frame:
            values = [getattr(piece, name) for piece in pieces]
            joined[name] = torch.cat(values) if isinstance(values[0], torch.Tensor) else np.concatenate(values)
        pictures = tuple(picture for piece in pieces for picture in piece.pictures)
        return dataclasses.replace(first, **joined, pictures=pictures)  # type: ignore[type-var]

    def _kind(self) -> tuple[Any, ...]:
        """What batches that are joined have in common: sizes of the picture and of a frame's entries, and pictures."""
        shapes = tuple(tuple(getattr(self, name).shape[1:]) for name in self._per_frame)
        return (self.height, self.width, bool(self.pictures), shapes)

    def __repr__(self) -> str:
        name = self._per_frame[-1]
        return (
            f"{type(self).__name__}(index={self.index[0]}..{self.index[-1]}, "
            f"pts_seconds={self.pts_seconds[0]:.3f}..{self.pts_seconds[-1]:.3f}, "
            f"{name}={tuple(getattr(self, name).shape)}, picture={self.height}x{self.width})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class FrameBatch(_Batch):
    """Consecutive pictures of one source, in presentation order.

    Example:
        >>> batch = FrameBatch(
        ...     index=np.array([0, 1]), pts_seconds=np.array([0.0, 0.04]),
        ...     frames=np.zeros((2, 18, 32, 3), np.uint8), height=720, width=1280,
        ... )
        >>> len(batch)
        2
        >>> batch
        FrameBatch(index=0..1, pts_seconds=0.000..0.040, frames=(2, 18, 32, 3), picture=720x1280)
        >>> batch[-1], [int(one.index[0]) for one in batch]
        (FrameBatch(index=1..1, pts_seconds=0.040..0.040, frames=(1, 18, 32, 3), picture=720x1280), [0, 1])
    """

    _per_frame = ("index", "pts_seconds", "frames")

    index: npt.NDArray[np.int64]
    """(B,) int64, ordinal as decoded from the start of the source, from 0; strictly increasing."""
    pts_seconds: npt.NDArray[np.float64]
    """(B,) float64, presentation time in seconds; the first frame of the source is 0."""
    frames: npt.NDArray[np.uint8]
    """(B, h, w, 3) uint8 RGB, upright, at the size the reader was asked for (full size if none)."""
    height: int
    """Rows of the upright picture at full size, in pixels."""
    width: int
    """Columns of the upright picture at full size, in pixels."""
    pictures: tuple[Picture, ...] = ()
    """B full-size pictures where the reader was asked to keep them, else empty."""
    live: bool = False
    """Whether the source does not wait: then each frame is looked at as soon as it is there, and never with others."""
    stills: bool = False
    """True where the source is a picture, or a folder of pictures, and no video."""

    def __post_init__(self) -> None:
        self._check()
        if self.frames.ndim != 4 or self.frames.shape[0] != len(self) or self.frames.shape[3] != 3:
            raise ValueError(f"frames must be ({len(self)}, h, w, 3), got {self.frames.shape}")
        if self.frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8, got {self.frames.dtype}")


@dataclass(frozen=True, eq=False, repr=False)
class SaliencyBatch(_Batch):
    """Densities of consecutive frames of one source.

    A density sums to 1 over the (h, w) cells, which cover the whole upright picture evenly: the centre of cell
    (row, column) lies at picture pixel x = (column + 0.5) * width / w - 0.5, y = (row + 0.5) * height / h - 0.5.
    """

    _per_frame = ("index", "pts_seconds", "shot", "cut", "log_density")

    index: npt.NDArray[np.int64]
    """(B,) int64, as in `FrameBatch`."""
    pts_seconds: npt.NDArray[np.float64]
    """(B,) float64, as in `FrameBatch`."""
    shot: npt.NDArray[np.int64]
    """(B,) int64, ordinal of the shot, from 0."""
    cut: npt.NDArray[np.bool_]
    """(B,) bool, True on the first frame of every shot but the first."""
    log_density: torch.Tensor
    """(B, h, w) float32, natural log of the density; `exp` of it sums to 1 over (h, w)."""
    height: int
    """Rows of the upright picture at full size, in pixels."""
    width: int
    """Columns of the upright picture at full size, in pixels."""
    pictures: tuple[Picture, ...] = ()
    """B full-size pictures where the reader kept them, else empty."""

    def __post_init__(self) -> None:
        self._check()
        if self.log_density.ndim != 3 or self.log_density.shape[0] != len(self):
            raise ValueError(f"log_density must be ({len(self)}, h, w), got {tuple(self.log_density.shape)}")
        if self.log_density.dtype != torch.float32:
            raise ValueError(f"log_density must be float32, got {self.log_density.dtype}")

    @classmethod
    def of(
        cls, frames: FrameBatch, *, shot: npt.NDArray[np.int64], cut: npt.NDArray[np.bool_], log_density: torch.Tensor
    ) -> Self:
        """Frames with their shots and densities, fields as below; `frames.frames` are dropped."""
        return cls(
            index=frames.index,
            pts_seconds=frames.pts_seconds,
            shot=shot,
            cut=cut,
            log_density=log_density,
            height=frames.height,
            width=frames.width,
            pictures=frames.pictures,
        )

    @property
    def density(self) -> torch.Tensor:
        """(B, h, w) float32, sums to 1 over (h, w)."""
        return self.log_density.exp()

    def with_density(self, density: torch.Tensor) -> Self:
        """The same frames with other densities, brought to sum 1 and to at least the smallest normal float32.

        Args:
            density: (B, h, w) float32, non-negative, with some mass in each map; it is not changed.

        Example:
            >>> batch = SaliencyBatch(
            ...     np.arange(1), np.zeros(1), np.zeros(1, np.int64), np.zeros(1, np.bool_), torch.zeros(1, 1, 2), 9, 16
            ... )
            >>> batch.with_density(torch.tensor([[[3.0, 1.0]]])).density
            tensor([[[0.7500, 0.2500]]])
        """
        density = density.clamp_min(torch.finfo(torch.float32).tiny)
        return dataclasses.replace(self, log_density=(density / density.sum(dim=(1, 2), keepdim=True)).log_())
