"""What a model remembers of several videos between calls: tensors of a row each, joined and split by rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch

__all__ = ["Memory", "VideoState"]


@dataclass(frozen=True, eq=False)
class VideoState:
    """What a model remembers of B videos. A subclass is a frozen dataclass whose fields are tensors of B rows, or None
    where a model does without one; all zeros is how a video starts."""

    @classmethod
    def join(cls, states: Sequence[Self]) -> Self:
        """One state of all videos, in the order given.

        Raises:
            ValueError: if there is none.
        """
        if not states:
            raise ValueError("there is no state to join")
        if len(states) == 1:
            return states[0]
        joined: list[torch.Tensor | None] = []
        for field in dataclasses.fields(cls):
            known = [value for state in states if (value := getattr(state, field.name)) is not None]
            joined.append(torch.cat(known) if known else None)
        return cls(*joined)

    def row(self, stream: int) -> Self:
        """The state of one video: a slice, not an index, which would have to be copied to the device."""
        return self.map(lambda tensor: tensor[stream : stream + 1])

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """`function` of each tensor."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return type(self)(*[None if value is None else function(value) for value in values])

    def detach(self) -> Self:
        """The same values, cut off from the graph (truncated back-propagation)."""
        return self.map(torch.Tensor.detach)

    def __repr__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        shapes = (f"{name}={tuple(value.shape)}" for name, value in values.items() if value is not None)
        return f"{type(self).__name__}({', '.join(shapes)})"


@dataclass(frozen=True, eq=False, repr=False)
class Memory(VideoState):
    """What a model keeps that has no better name for it.

    Example:
        >>> Memory.join([Memory(torch.zeros(1, 4)), Memory(torch.zeros(2, 4))]).row(0)
        Memory(kept=(1, 4))
    """

    kept: torch.Tensor
    """(B, ...) float32; (B, 0) where nothing is kept, as by a model that judges each frame by itself."""

    @classmethod
    def none(cls, videos: int, *, device: torch.device | str = "cpu") -> Memory:
        """Of so many videos nothing."""
        return cls(torch.zeros(videos, 0, device=device))
