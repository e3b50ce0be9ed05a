"""Frames of videos and what was kept of them in, the last N of each frame's shot out: what networks of clips see."""

from __future__ import annotations

import torch

from vidsal.model.recurrent import Unroll

__all__ = ["Clips"]


class Clips:
    """The last `length` frames up to and with each of T frames of B videos.

    A clip never reaches back beyond a fresh frame. Where a shot has shown fewer frames than a clip has, the clip begins
    with copies of the shot's first frame. What is kept between calls is `length` - 1 frames of each video, so that a
    clip does not depend on how frames are grouped into calls.

    Example:
        >>> frames = torch.arange(5.0).view(1, 5, 1)
        >>> clips = Clips(frames, None, unroll=Unroll.of([[True, False, False, True, False]], fresh_steps=1), length=3)
        >>> [clips.at(time).flatten().tolist() for time in (1, 2, 4)]
        [[0.0, 0.0, 1.0], [0.0, 1.0, 2.0], [3.0, 3.0, 4.0]]
        >>> clips.past.flatten().tolist()
        [3.0, 4.0]
    """

    def __init__(self, frames: torch.Tensor, past: torch.Tensor | None, *, unroll: Unroll, length: int) -> None:
        """Put them together; nothing is copied to or from a device.

        Args:
            frames: (B, T, ...), of any type.
            past: (B, length - 1, ...), what `past` was after the call before; None starts every video afresh.
            unroll: which frames start afresh, and how many of each video count.
            length: frames of a clip, at least 1.

        Raises:
            ValueError: if the shapes do not fit.
        """
        kept = length - 1
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if frames.shape[:2] != (unroll.streams, unroll.times):
            raise ValueError(
                f"frames must be of {unroll.streams} videos of {unroll.times} frames, got {tuple(frames.shape)}"
            )
        expected = (len(frames), kept, *frames.shape[2:])
        if past is not None and past.shape != expected:
            raise ValueError(f"past must be {expected}, got {tuple(past.shape)}")
        self._unroll, self._length, self._started = unroll, length, past is not None
        before = frames.new_zeros(expected) if past is None else past.to(frames)
        self._all = torch.cat([before, frames], 1)  # (B, length - 1 + T, ...)

    def at(self, time: int) -> torch.Tensor:
        """The clips that end with frame `time` of each video, (B, length, ...), oldest frame first."""
        return torch.cat([self._clip(video, time) for video in range(self._unroll.streams)])

    @property
    def past(self) -> torch.Tensor:
        """What the next call needs: (B, length - 1, ...), the last frames that count of each video."""
        rows = []
        for video, count in enumerate(self._unroll.lengths):
            last = self._clip(video, count - 1)[:, 1:] if count else self._all[video : video + 1, : self._length - 1]
            rows.append(last)
        return torch.cat(rows)

    def _clip(self, video: int, time: int) -> torch.Tensor:
        fresh = [t for t in range(time + 1) if self._unroll.fresh[video][t] or (t == 0 and not self._started)]
        # Frame t lies at length - 1 + t, its clip begins at t.
        first = max(time, self._length - 1 + fresh[-1]) if fresh else time
        seen = self._all[video : video + 1, first : time + self._length]
        missing = self._length - seen.shape[1]
        if not missing:
            return seen
        return torch.cat([seen[:, :1].expand(-1, missing, *[-1] * (seen.ndim - 2)), seen], 1)
