"""Frames in, the same in groups that go through convolutions together, and what came of them joined again out.

How a library rounds may depend on how many pictures it gets at once, which shows where numbers have few digits. Groups
that are always full, the last one filled up with zeros, make the result of a frame depend on that frame alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F

__all__ = ["Groups"]


class Groups:
    """How some frames are grouped.

    Example:
        >>> groups = Groups(3, together=2, fill=True)
        >>> [tuple(part.shape) for (part,) in groups.of(torch.zeros(3, 8))]
        [(2, 8), (2, 8)]
        >>> groups.joined(part for (part,) in groups.of(torch.arange(3))).tolist()
        [0, 1, 2]
    """

    def __init__(self, frames: int, *, together: int | None = None, fill: bool = False) -> None:
        """Group them.

        Args:
            frames: how many there are, at least 1.
            together: frames of a group; None for all.
            fill: fill up the last group with zeros.
        """
        self.frames = frames
        self.together = frames if together is None else together
        self.filled_up = -frames % self.together if fill and together is not None else 0

    def of(self, *tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        """The rows of one group after another, of tensors with a row a frame."""
        if self.filled_up:
            tensors = tuple(_filled(each, self.filled_up) for each in tensors)
        yield from zip(*(torch.split(each, self.together) for each in tensors), strict=True)

    def joined(self, parts: Iterable[torch.Tensor]) -> torch.Tensor:
        """What was made of each group as one tensor with a row a frame."""
        pieces = list(parts)
        return (pieces[0] if len(pieces) == 1 else torch.cat(pieces))[: self.frames]


def _filled(rows: torch.Tensor, more: int) -> torch.Tensor:
    # Padding the first dimension would lose the order of memory that convolutions want.
    layout = torch.channels_last if rows.ndim == 4 else torch.contiguous_format
    return F.pad(rows, (*[0, 0] * (rows.ndim - 1), 0, more)).contiguous(memory_format=layout)
