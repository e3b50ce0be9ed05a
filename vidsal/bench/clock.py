"""Work for a device in, its operations and its seconds out; also the best rate, which all others are shares of."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from vidsal.bench.report import PARTS, Operations, Part
from vidsal.model.recurrent import SAMState, Unroll
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig

__all__ = ["Clock", "PartTimes", "count_operations", "matrix_peak"]

# Sides of the square matrices whose products give the peak; the best counts.
_PEAK_SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192, 16384)}
_PEAK_SECONDS = 1.0


class Clock:
    """Instants on a device, taken without making it wait where it can keep them itself."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def mark(self) -> Any:
        """An instant, in the order of the work given to the device."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self.device))
            return event
        self.finish()
        return time.perf_counter()

    def finish(self) -> None:
        """Wait until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def seconds(self, first: Any, last: Any) -> float:
        """Between two marks, after `finish`."""
        return float(first.elapsed_time(last)) / 1e3 if self.device.type == "cuda" else float(last - first)

    def measure(self, work: Callable[[], Any], repeats: int, seconds: float = 0.0) -> list[float]:
        """Seconds of each call: at least `repeats` calls and `seconds` in all; the device is waited for in between."""
        taken: list[float] = []
        while len(taken) < repeats or sum(taken) < seconds:
            marks = [self.mark()]
            for _ in range(repeats):
                work()
                marks.append(self.mark())
            self.finish()
            taken += [self.seconds(first, last) for first, last in itertools.pairwise(marks)]
        return taken


class PartTimes(contextlib.ExitStack):
    """Times the parts of a network from inside its forward pass, by hooks that are there only meanwhile."""

    def __init__(self, network: SaliencyAttentiveModel, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._marks: list[dict[nn.Module | None, Any]] = []
        self.enter_context(network.register_forward_pre_hook(lambda *_: self._marks.append({None: clock.mark()})))
        for module in (network.backbone, network.recurrence, network):
            self.enter_context(module.register_forward_hook(self._mark))

    def _mark(self, module: nn.Module, *_: Any) -> None:
        # The backbone is called for one group of frames after the other: the last one counts.
        self._marks[-1][module] = self._clock.mark()

    def seconds(self) -> dict[Part, list[float]]:
        """Of each part, of each pass."""
        self._clock.finish()
        passes = ([self._clock.seconds(*pair) for pair in itertools.pairwise(marks.values())] for marks in self._marks)
        return dict(zip(PARTS, map(list, zip(*passes, strict=True)), strict=True))


def matrix_peak(device: torch.device | str, dtype: torch.dtype) -> float:
    """Operations a second of the best product of two square matrices, with the threads that torch has now."""
    device = torch.device(device)
    clock = Clock(device)
    best = 0.0
    sides = _PEAK_SIDES.get(device.type, _PEAK_SIDES["cpu"])
    with torch.inference_mode():
        for side in sides:
            a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
            out = torch.empty_like(a)
            for _ in range(2):
                torch.mm(a, b, out=out)
            begin = time.perf_counter()
            while time.perf_counter() - begin < _PEAK_SECONDS / len(sides):
                seconds = clock.measure(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), 3)  # type: ignore[misc]
                best = max(best, 2 * side**3 / min(seconds))
    return best


@cache
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
