"""Densities of key frames in, densities of all frames out: those between are interpolated in time (`every`)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from vidsal.frames import FrameBatch, SaliencyBatch

__all__ = ["Between"]


class Between:
    """Gives frames between two keys a density interpolated linearly in time.

    It holds the last one before a cut, before pictures of another size, and at the end.
    """

    def __init__(self) -> None:
        """Begin a video."""
        self.reset()

    def reset(self) -> None:
        """Forget the video."""
        self._waiting: list[SaliencyBatch] = []  # frames since the last key, each with that key's density
        self._key: tuple[float, torch.Tensor] | None = None  # time in seconds and (h, w) log density of the last key

    def update(
        self,
        frames: FrameBatch,
        *,
        shot: npt.NDArray[np.int64],
        cut: npt.NDArray[np.bool_],
        keys: Sequence[int],
        log_density: torch.Tensor | None,
    ) -> list[SaliencyBatch]:
        """Take the next frames; returns those whose next key is known, in order.

        Args:
            frames: the frames; the first one of a video has to be a key, and so does the first of another size.
            shot: (B,), as in `SaliencyBatch`.
            cut: (B,), as in `SaliencyBatch`.
            keys: rows of the frames whose densities are known, rising.
            log_density: (keys, h, w) of these; None where there are none.
        """
        known = [] if log_density is None else list(log_density)
        if log_density is None or len(keys) < len(frames):
            last = [] if self._key is None else [self._key[1]]
            place = np.searchsorted(np.asarray(keys, np.int64), np.arange(len(frames)), side="right") + len(last) - 1
            log_density = torch.stack([(last + known)[row] for row in place])
        batch = SaliencyBatch.of(frames, shot=shot, cut=cut, log_density=log_density)
        if len(keys) == len(batch) and not self._waiting:
            done = [batch]
            self._key = float(frames.pts_seconds[-1]), known[-1]
        else:
            done = []
            for row, frame in enumerate(batch):
                if row in keys:
                    done += [*self._release(None if frame.cut[0] else frame), frame]
                    self._key = float(frame.pts_seconds[0]), frame.log_density[0]
                else:
                    self._waiting.append(frame)
        return _joined(done)

    def flush(self) -> list[SaliencyBatch]:
        """Return the frames that wait for a key which does not come."""
        return _joined(self._release(None))

    def _release(self, following: SaliencyBatch | None) -> list[SaliencyBatch]:
        released, self._waiting = self._waiting, []
        if following is None or self._key is None:
            return released
        (before, log_density), after = self._key, float(following.pts_seconds[0])
        if after <= before or following.log_density.shape[1:] != log_density.shape:
            return released
        done = []
        for frame in released:
            share = min(max((float(frame.pts_seconds[0]) - before) / (after - before), 0.0), 1.0)
            mixed = (1 - share) * log_density.exp() + share * following.density[0]
            done.append(
                dataclasses.replace(frame, log_density=mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log()[None])
            )
        return done


def _joined(frames: Sequence[SaliencyBatch]) -> list[SaliencyBatch]:
    """One batch; more where pictures change their size."""
    alike = itertools.groupby(frames, key=lambda one: (one.height, one.width, one.log_density.shape[1:]))
    return [SaliencyBatch.join(some) for _, some in alike]
