"""A network on a CUDA device in, the same network out, its passes recorded once and replayed as CUDA graphs.

At one frame a call a large GPU waits for Python most of the time; a graph starts all kernels of a pass at once. A
graph is fixed to the shapes and to what the Python code decided on the way (which frames are fresh, how many steps), so
one is recorded for each such case that comes back, and all others run as usual.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch

from vidsal.model.recurrent import SAMState, Unroll
from vidsal.model.state import VideoState

__all__ = ["RecordedNetwork"]

# A case is recorded when it comes this often, and no more than so many cases: a film's cuts make ever new ones.
_WORTH_RECORDING = 3
_MOST_GRAPHS = 8
_WARM_UP_PASSES = 3

Forward = Callable[..., tuple[torch.Tensor, SAMState]]
Replay = Callable[[], None]
Capture = Callable[[Callable[[], None]], Replay]
_Key = tuple[object, ...]


@dataclass(frozen=True, eq=False)
class _Recording:
    """Buffers that a graph reads and writes, and how to start it."""

    frames: torch.Tensor
    state: SAMState | None
    outputs: list[tuple[torch.Tensor, SAMState]]
    replay: Replay


class RecordedNetwork:
    """Calls a network as it is, or replays what was recorded of it.

    Recording can fail (memory, a driver, an operator that waits): then the pass runs as usual, no other is tried, and
    `failure` says why.
    """

    def __init__(self, network: Forward, *, capture: Capture | None = None) -> None:
        """Record passes of `network`.

        Args:
            network: called as `SaliencyAttentiveModel.forward`, in inference mode.
            capture: makes a function of no arguments into one that repeats its work on the same buffers; None
                captures a CUDA graph.
        """
        self.network = network
        self.failure: str | None = None
        self._capture = capture or _capture_cuda
        self._seen: Counter[_Key] = Counter()
        self._recordings: dict[_Key, _Recording] = {}

    @property
    def recorded(self) -> int:
        """How many cases are recorded."""
        return len(self._recordings)

    def __call__(
        self, frames: torch.Tensor, state: VideoState | None = None, *, unroll: Unroll | None = None
    ) -> tuple[torch.Tensor, SAMState]:
        """As `SaliencyAttentiveModel.forward`; what is returned belongs to the caller."""
        # Streams and recordings are of the current device, which need not be that of the frames.
        with torch.cuda.device(frames.device) if frames.is_cuda else contextlib.nullcontext():
            if state is not None and not isinstance(state, SAMState):
                raise ValueError(f"the state must be a SAMState, got a {type(state).__name__}")
            recording = self._recording(frames, state, unroll)
            if recording is None:
                return self.network(frames, state, unroll=unroll)
            recording.frames.copy_(frames)
            if state is not None and recording.state is not None:
                recording.state.hidden.copy_(state.hidden)
                recording.state.cell.copy_(state.cell)
                if state.seen is not None and recording.state.seen is not None:
                    recording.state.seen.copy_(state.seen)
            recording.replay()
            log_density, after = recording.outputs[-1]
            # The next replay writes over the buffers.
            return log_density.clone(), after.map(torch.Tensor.clone)

    def _recording(self, frames: torch.Tensor, state: SAMState | None, unroll: Unroll | None) -> _Recording | None:
        """What is recorded of such a pass, recorded now where that is worth it; else None."""
        key: _Key = (tuple(frames.shape), frames.dtype, None if state is None else tuple(state.hidden.shape), unroll)
        recording = self._recordings.get(key)
        if recording is None:
            self._seen[key] += 1
            worth = self._seen[key] >= _WORTH_RECORDING and len(self._recordings) < _MOST_GRAPHS
            if len(self._seen) > 100 * _MOST_GRAPHS:
                self._seen.clear()
            recording = self._record(frames, state, unroll) if worth and self.failure is None else None
            if recording is not None:
                self._recordings[key] = recording
        return recording

    def _record(self, frames: torch.Tensor, state: SAMState | None, unroll: Unroll | None) -> _Recording | None:
        static = frames.clone(memory_format=torch.preserve_format)
        before = None if state is None else state.map(torch.Tensor.clone)
        outputs: list[tuple[torch.Tensor, SAMState]] = []

        def work() -> None:
            outputs[:] = [self.network(static, before, unroll=unroll)]

        try:
            replay = self._capture(work)
        except RuntimeError as error:
            self.failure = f"CUDA graphs are off: {str(error).splitlines()[0]}"
            return None
        return _Recording(static, before, outputs, replay)


def _capture_cuda(work: Callable[[], None]) -> Replay:
    current = torch.cuda.current_stream()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(current)
    with torch.cuda.stream(side):
        # Libraries choose their algorithms and constants move to the device before anything is recorded.
        for _ in range(_WARM_UP_PASSES):
            work()
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Other threads (drawing, copies) may allocate meanwhile: only this one is recorded.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph.replay
