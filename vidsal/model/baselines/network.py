"""A model without weights in, the same behind the interface of the networks out, so that the pipe runs it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vidsal.errors import ConfigError
from vidsal.model.baselines.catalogue import WITH_FILTERS, build_baseline
from vidsal.model.baselines.contract import FULL_SIDE, Baseline
from vidsal.model.network import Network
from vidsal.model.recurrent import Unroll
from vidsal.model.state import Memory, VideoState
from vidsal.stages import PreprocessOptions

__all__ = ["BASELINE_INPUT", "BaselineConfig", "BaselineNetwork"]

BASELINE_INPUT = PreprocessOptions(
    height=FULL_SIDE, width=FULL_SIDE, divisor=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), fit="inside"
)
"""Whole pictures of at most 640 pixels a side, RGB from 0 to 255: what the evaluation shows the baselines, too."""


@dataclass(frozen=True)
class BaselineConfig:
    """Which model without weights."""

    baseline: str
    """Its name."""
    filters: int = 0
    """How many filters of its authors it has; 0 where it has vidsal's own, or none."""
    side: int = 0
    """Rows and columns of each of them."""

    def __post_init__(self) -> None:
        if not isinstance(self.filters, int) or not isinstance(self.side, int) or min(self.filters, self.side) < 0:
            raise ConfigError("filters and side must be whole numbers from 0 up")
        if self.filters and (self.baseline not in WITH_FILTERS or self.filters > 4096 or self.side > 64):
            raise ConfigError(f"{self.baseline} does not take {self.filters} filters of {self.side} pixels")

    @property
    def steps(self) -> int:
        """1: nothing is refined."""
        return 1


class BaselineNetwork(Network):
    """A `Baseline` that takes tensors; on the CPU, in float32, whatever comes in."""

    config: BaselineConfig
    """Which, and whose filters."""

    def __init__(self, config: BaselineConfig) -> None:
        """Make it.

        Raises:
            ConfigError: there is no baseline of that name.
        """
        super().__init__()
        self.config = config
        self._made = None if config.filters else build_baseline(config.baseline)
        if config.filters:
            self.register_buffer("filters", torch.zeros(config.filters, config.side, config.side, 3))
            for name in ("sigma", "theta") if config.baseline == "sun" else ():
                self.register_buffer(name, torch.ones(config.filters))

    @property
    def baseline(self) -> Baseline:
        """The model itself, made once its filters are there."""
        if self._made is None:
            held = {name: value.detach().float().cpu().numpy() for name, value in self.named_buffers()}
            self._made = build_baseline(self.config.baseline, **held)
        return self._made

    def forward(
        self, frames: torch.Tensor, state: VideoState | None = None, *, unroll: Unroll | None = None
    ) -> tuple[torch.Tensor, Memory]:
        """See `Network.forward`; frames are `BASELINE_INPUT`'s."""
        unroll = self.unrolled(frames, state, unroll, stride=1)
        size = self.baseline.memory_size
        kept = state.kept if isinstance(state, Memory) else torch.zeros(len(frames), size)
        if kept.shape != (len(frames), size):
            raise ValueError(f"the state must hold ({len(frames)}, {size}) numbers, got {tuple(kept.shape)}")
        memories = kept.cpu().numpy().copy()
        pictures = frames.round().clamp(0, 255).to("cpu", torch.uint8).permute(0, 1, 3, 4, 2).contiguous().numpy()
        density = np.full(frames.shape[:2] + frames.shape[3:], 1 / (frames.shape[3] * frames.shape[4]), np.float32)
        for stream, (flags, length) in enumerate(zip(unroll.fresh, unroll.lengths, strict=True)):
            for t in range(length):
                before = None if flags[t] or (state is None and t == 0) else memories[stream]
                density[stream, t], memories[stream] = self.baseline.watch(pictures[stream, t], before)
        log_density = torch.from_numpy(density).clamp_min(torch.finfo(torch.float32).tiny).log()
        return log_density.to(frames.device), Memory(torch.from_numpy(memories).to(frames.device))
