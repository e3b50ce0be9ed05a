"""The values that travel between the stages: pictures with their times in, densities with theirs out.

`FrameBatch` leaves the decoder, `SaliencyBatch` leaves the pipe. Both are frozen and checked when made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["FrameBatch", "Picture", "SaliencyBatch"]


@dataclass(frozen=True, eq=False)
class Picture:
    """One frame at its full size, converted to RGB only when somebody asks.

    The decoder makes these; the renderer is the only stage that pays for the conversion.
    """

    rgb: Callable[[], npt.NDArray[np.uint8]] = field(repr=False)
    """Returns a new upright (height, width, 3) uint8 RGB array; the caller owns it."""
    pts: int | None = None
    """Presentation time in units of `time_base`, exactly as the container had it; None for sources without."""
    time_base: Fraction | None = None
    """Seconds per unit of `pts`."""


@dataclass(frozen=True, eq=False)
class FrameBatch:
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
    """

    index: npt.NDArray[np.int64]
    """(B,) int64, ordinal as decoded from the start of the stream, from 0; strictly increasing."""
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

    def __post_init__(self) -> None:
        count = len(self.index)
        if self.index.ndim != 1 or count == 0:
            raise ValueError(f"index must be (B,) with B >= 1, got shape {self.index.shape}")
        if self.pts_seconds.shape != (count,):
            raise ValueError(f"pts_seconds must be ({count},), got {self.pts_seconds.shape}")
        if self.frames.ndim != 4 or self.frames.shape[0] != count or self.frames.shape[3] != 3:
            raise ValueError(f"frames must be ({count}, h, w, 3), got {self.frames.shape}")
        if self.frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8, got {self.frames.dtype}")
        if self.pictures and len(self.pictures) != count:
            raise ValueError(f"pictures must be empty or {count} long, got {len(self.pictures)}")
        if self.height < 1 or self.width < 1:
            raise ValueError(f"height and width must be positive, got {self.height}x{self.width}")

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return (
            f"FrameBatch(index={self.index[0]}..{self.index[-1]}, "
            f"pts_seconds={self.pts_seconds[0]:.3f}..{self.pts_seconds[-1]:.3f}, "
            f"frames={self.frames.shape}, picture={self.height}x{self.width})"
        )


@dataclass(frozen=True, eq=False)
class SaliencyBatch:
    """Densities of consecutive frames of one source.

    A density sums to 1 over the (h, w) cells, which cover the whole upright picture evenly:
    the centre of cell (row, column) lies at picture pixel
    x = (column + 0.5) * width / w - 0.5, y = (row + 0.5) * height / h - 0.5.
    """

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
        count = len(self.index)
        if count == 0:
            raise ValueError("a SaliencyBatch holds at least one frame")
        for name in ("pts_seconds", "shot", "cut"):
            shape = getattr(self, name).shape
            if shape != (count,):
                raise ValueError(f"{name} must be ({count},), got {shape}")
        if self.log_density.ndim != 3 or self.log_density.shape[0] != count:
            raise ValueError(f"log_density must be ({count}, h, w), got {tuple(self.log_density.shape)}")
        if self.log_density.dtype != torch.float32:
            raise ValueError(f"log_density must be float32, got {self.log_density.dtype}")
        if self.pictures and len(self.pictures) != count:
            raise ValueError(f"pictures must be empty or {count} long, got {len(self.pictures)}")

    @property
    def density(self) -> torch.Tensor:
        """(B, h, w) float32, sums to 1 over (h, w)."""
        return self.log_density.exp()

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return (
            f"SaliencyBatch(index={self.index[0]}..{self.index[-1]}, "
            f"pts_seconds={self.pts_seconds[0]:.3f}..{self.pts_seconds[-1]:.3f}, "
            f"log_density={tuple(self.log_density.shape)}, picture={self.height}x{self.width})"
        )
