"""What every network promises, whoever's system it is: frames and a state in, log densities and the new state out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from vidsal.model.recurrent import Unroll
from vidsal.model.state import Memory, VideoState

__all__ = ["Network", "NetworkOptions", "NothingDrawn", "Part"]


class NetworkOptions(Protocol):
    """What the rest of the package asks of a network's configuration, a frozen dataclass that JSON holds."""

    @property
    def steps(self) -> int:
        """Refinement steps on a frame that starts afresh; 1 for a network without a recurrence that refines."""
        ...


@dataclass(frozen=True, eq=False)
class Part:
    """What a network says in training of a part of the canvas by itself; its loss is added to that of the maps."""

    log_density: torch.Tensor
    """(B, T, h, w) float32, the log of densities over that part."""
    top: int
    """First row of the canvas that belongs to it."""
    left: int
    """First column."""
    height: int
    """Rows of the canvas, at least h."""
    width: int
    """Columns of the canvas, at least w."""


class Network(nn.Module):
    """A system for saliency. Nothing about a video is stored on it: the state goes in and comes out."""

    config: NetworkOptions
    """Its architecture."""
    state_type: type[VideoState] = Memory
    """The class of its states, which are made of their tensors again where a run goes on from a file."""
    takes_neighbours: bool = False
    """Whether its memory is of frames that follow one another without a gap, so that it has to be shown every one."""
    kept_exact: frozenset[str] = frozenset()
    """Tensors of the state dict that checkpoints hold as they are, in whatever type they hold weights."""

    def forward(
        self, frames: torch.Tensor, state: VideoState | None = None, *, unroll: Unroll | None = None
    ) -> tuple[torch.Tensor, VideoState]:
        """Predict log densities.

        Args:
            frames: (B, T, 3, H, W) float, T consecutive frames of B videos, as the model's preprocessing makes them.
            state: what the call before returned for the same videos; None starts every video afresh.
            unroll: which frames start afresh, and the steps on each. None: the first of each video where `state` is
                None, else none.

        Returns:
            The log density over the canvas, (B, T, H, W) float32, `exp` of it sums to 1 over (H, W); and the state
            after the last frame of each video.

        Raises:
            ValueError: if the shapes do not fit.
        """
        raise NotImplementedError

    def rehearse(
        self,
        frames: torch.Tensor,
        state: VideoState | None = None,
        *,
        unroll: Unroll | None = None,
        inside: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, VideoState, tuple[Part, ...]]:
        """As `forward`, in training: with what the system's authors train beside the maps.

        Args:
            frames: as `forward`.
            state: as `forward`.
            unroll: as `forward`.
            inside: (B, T, H, W) bool, where the canvas shows the picture, a rectangle; what maps hold elsewhere does
                not count. None: all of it.
        """
        log_density, state = self(frames, state, unroll=unroll)
        return log_density, state, ()

    def is_pretrained(self, name: str) -> bool:
        """Whether a parameter of this name comes from a network that classifies pictures, and trains more slowly."""
        return name.startswith("backbone.")

    def freeze(self) -> None:
        """Take what the system's authors do not train out of training; called once, before training begins."""

    def unrolled(self, frames: torch.Tensor, state: VideoState | None, unroll: Unroll | None, *, stride: int) -> Unroll:
        """`unroll` itself or what it stands for, once shapes are seen to fit.

        Raises:
            ValueError: if they do not, or H or W is no multiple of `stride`.
        """
        if frames.ndim != 5 or frames.shape[2] != 3:
            raise ValueError(f"frames must be (B, T, 3, H, W), got {tuple(frames.shape)}")
        batch, times, _, height, width = frames.shape
        if height % stride or width % stride:
            raise ValueError(f"H and W must be multiples of {stride}, got {height}x{width}")
        if unroll is None:
            fresh = [[state is None and t == 0 for t in range(times)]] * batch
            unroll = Unroll.of(fresh, fresh_steps=self.config.steps)
        if (unroll.streams, unroll.times) != (batch, times):
            raise ValueError(
                f"unroll must be of {batch} videos of {times} frames, got {unroll.streams} of {unroll.times}"
            )
        return unroll


class NothingDrawn(TorchFunctionMode):
    """Leaves normal numbers undrawn. On "meta", to draw them imports torch's compiler, which takes as long as torch."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.normal_:
            return args[0]
        return kwargs["tensor"] if func is nn.init.normal_ else func(*args, **kwargs)
