"""A network as it is defined in, the floating-point operations of one frame out."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from vidsal.bench.report import Operations
from vidsal.model.recurrent import SAMState, Unroll
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig

__all__ = ["count_operations"]


def count_operations(
    config: SAMConfig, *, height: int, width: int, state: Literal["carry", "reset"], steps: int
) -> Operations:
    """The operations of one frame, counted from the network as it is defined, before any rewriting.

    Args:
        config: the network.
        height: rows of the canvas.
        width: columns of the canvas.
        state: "reset" starts from zero, "carry" goes on.
        steps: refinement steps on the frame.

    Example:
        >>> from vidsal.model.checkpoint import PRESETS
        >>> published = PRESETS["sam-resnet"].config
        >>> counted = count_operations(published, height=240, width=320, state="reset", steps=4)
        >>> round(counted.total / 1e9), round(counted.as_written / 1e9)
        (294, 340)
    """
    return _counted(config, height, width, state, steps)


@cache
def _counted(config: SAMConfig, height: int, width: int, state: Literal["carry", "reset"], steps: int) -> Operations:
    # Fake tensors have shapes and no values: this takes a second or two and no memory.
    with FakeTensorMode(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = SaliencyAttentiveModel(config).eval()
        side = network.backbone.stride
        cells = (height // side) * (width // side)
        zeros = torch.zeros(1, config.recurrent_channels, height // side, width // side)
        finer = torch.zeros(1, *network.backbone.skip_channels[:1], height // side * 2, width // side * 2)
        network(
            torch.zeros(1, 1, 3, height, width),
            SAMState(zeros, zeros, finer if network.motion is not None else None),
            unroll=Unroll.of([[state == "reset"]], fresh_steps=steps, carry_steps=steps),
        )
    counts = counter.get_flop_counts()
    name = type(network).__name__
    whole, backbone, recurrence = (
        sum(counts[key].values()) for key in (name, f"{name}.backbone", f"{name}.recurrence")
    )
    # What the equations say again and again: U_a * X at each step; and at the first, W_a and U of H = 0.
    one = 2 * 9 * config.recurrent_channels**2 * cells
    repeated = (steps - 1) * one + (5 * one if state == "reset" else 0)
    return Operations(backbone, recurrence, whole - backbone - recurrence, whole + repeated)
