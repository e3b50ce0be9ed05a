"""What every smoothing promises: `SaliencyBatch`es in, the same frames with steadied densities out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from vidsal.frames import FrameBatch, SaliencyBatch

__all__ = ["ShotFollower", "Smoother", "Unsmoothed"]


class Smoother(ABC):
    """Steadies the densities of one video in time, afresh in every shot.

    Frames with equal timestamps count as no time passing, and so does a step back in time. Maps do not depend on how
    the frames are grouped into batches.
    """

    looks_ahead: ClassVar[bool] = False
    """Whether a map depends on later frames, so that frames are held back until these have come."""

    def __init__(self, time_constant_seconds: float) -> None:
        """Begin a video.

        Args:
            time_constant_seconds: reach of the average, above 0; see `SmoothOptions`.
        """
        self.time_constant_seconds = time_constant_seconds

    def watch(self, frames: FrameBatch) -> None:  # noqa: B027 (most smoothings do not look at pictures)
        """Show the frames whose densities `update` gets next: whole pictures of any size, in order."""

    @abstractmethod
    def update(self, batch: SaliencyBatch) -> list[SaliencyBatch]:
        """Take the next frames and return those that are ready, in order.

        Args:
            batch: the frames that follow those given before; its tensors are not changed.

        Returns:
            Batches that hold the frames with index, times and pictures as they came. Densities sum to 1 and are nowhere
            below the smallest normal float32. One batch, unless the smoothing looks ahead: then none or more.

        Raises:
            ValueError: the maps changed their size within a shot, or frames were not shown to one that needs them.
        """

    def flush(self) -> list[SaliencyBatch]:
        """Return the frames that are still held back, and end the shot."""
        self.reset()
        return []

    def reset(self) -> None:  # noqa: B027 (not all remember something)
        """Forget the video, with whatever is held back."""


class Unsmoothed(Smoother):
    """Every map as it is."""

    def update(self, batch: SaliencyBatch) -> list[SaliencyBatch]:
        return [batch]


class ShotFollower:
    """Says of each frame whether a shot begins with it, and a time that never steps back within one."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the video."""
        self._last: SaliencyBatch | None = None
        self._seconds = 0.0

    def follow(self, batch: SaliencyBatch) -> Iterator[tuple[SaliencyBatch, float, bool]]:
        """For each frame of the next batch: a batch of it alone, its time in seconds, and whether a shot begins.

        Raises:
            ValueError: the maps changed their size within a shot.
        """
        for frame in batch:
            seconds, last = float(frame.pts_seconds[0]), self._last
            begins = last is None or bool(frame.cut[0]) or frame.shot[0] != last.shot[0]
            if last is not None and not begins:
                now, before = tuple(frame.log_density.shape[1:]), tuple(last.log_density.shape[1:])
                if now != before:
                    raise ValueError(
                        f"maps changed from {before} to {now} within a shot at frame {frame.index[0]}; "
                        "mark a cut there or call reset()"
                    )
                seconds = max(seconds, self._seconds)
            self._last, self._seconds = frame, seconds
            yield frame, seconds, begins
