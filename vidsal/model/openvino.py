"""A network of SAM's family in, the same network computed by OpenVINO out: less CPU time than torch takes.

A graph is fixed to a canvas and to a number of refinement steps, and frames go through it one by one, so that maps do
not depend on how many come at once. Graphs are made by tracing the network as it is defined, without its rewrites for
torch, and are kept in the user's cache (`vidsal weights`), since to make one takes as long as some hundred frames.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import sys
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidsal.errors import ConfigError, EncodeError, Setting
from vidsal.files import replacing
from vidsal.model.recurrent import SAMState, Unroll
from vidsal.model.sam import SaliencyAttentiveModel
from vidsal.model.state import VideoState
from vidsal.model.store import cache_folder

__all__ = ["OpenVinoNetwork", "require_openvino"]

_FORMAT = 2
"""Of what is kept; raised when the graph changes."""

_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class OpenVinoNetwork:
    """Calls a network's graphs in place of the network, on the CPU.

    Example:
        >>> from vidsal.model.sam import SAMConfig
        >>> network = SaliencyAttentiveModel(SAMConfig(recurrent_channels=8, priors=2)).eval()
        >>> fast = OpenVinoNetwork(network, dtype=torch.float32, sha256="")  # doctest: +SKIP
        >>> log_density, state = fast(torch.zeros(1, 2, 3, 64, 64))  # doctest: +SKIP
    """

    def __init__(self, network: SaliencyAttentiveModel, *, dtype: torch.dtype, sha256: str) -> None:
        """Take a network; its graphs are made when the first frame of a canvas comes.

        Args:
            network: in evaluation mode, on the CPU, not rewritten by `prepare_for_inference`; left as it is.
            dtype: float32 or bfloat16: what OpenVINO computes in; inputs and results are float32.
            sha256: of the checkpoint, under which graphs are kept; "" keeps none.

        Raises:
            ConfigError: OpenVINO is not installed.
        """
        self.network, self.sha256 = network, sha256
        self._openvino = require_openvino()
        self._hint = _HINTS[dtype]
        self.failure: str | None = None
        """Why graphs could not be kept."""
        self._one_at_a_time = threading.Lock()
        self._compiled = functools.lru_cache(maxsize=16)(self._compile)

    @torch.inference_mode()
    def __call__(
        self,
        frames: torch.Tensor,
        state: VideoState | None = None,
        *,
        unroll: Unroll | None = None,
        one_by_one: bool = False,
    ) -> tuple[torch.Tensor, SAMState]:
        """As `SaliencyAttentiveModel.forward`."""
        unroll = self.network.unrolled(frames, state, unroll, stride=self.network.backbone.stride)
        if state is not None and not isinstance(state, SAMState):
            raise ValueError(f"the state must be a SAMState, got a {type(state).__name__}")
        canvas = (int(frames.shape[-2]), int(frames.shape[-1]))
        log_density = torch.zeros(*frames.shape[:2], *canvas)
        after: list[list[torch.Tensor] | None] = []
        with self._one_at_a_time:
            for video, length in enumerate(unroll.lengths):
                remembered = None if state is None else [part[video : video + 1].float() for part in _parts(state)]
                for t in range(length):
                    anew = unroll.fresh[video][t] or remembered is None
                    given = [] if anew or remembered is None else remembered
                    steps = unroll.fresh_steps if anew else unroll.carry_steps
                    graph = self._compiled(canvas, steps, not anew)
                    made = graph([one.contiguous().numpy() for one in (frames[video, t][None].float(), *given)])
                    log_density[video, t], *remembered = (torch.from_numpy(made[place]) for place in range(len(made)))
                after.append(remembered)
        return log_density, _joined(after)

    def _compile(self, canvas: tuple[int, int], steps: int, goes_on: bool) -> Any:
        """The graph of one frame, ready to be called with arrays."""
        core = self._openvino.Core()
        settings = {"INFERENCE_PRECISION_HINT": self._hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        return core.compile_model(self._graph(core, canvas, steps, goes_on), "CPU", {**settings, "NUM_STREAMS": 1})

    def _graph(self, core: Any, canvas: tuple[int, int], steps: int, goes_on: bool) -> Any:
        """From the cache; else made, and kept where that is possible."""
        what = f"{_FORMAT} {self.sha256} {canvas} {steps} {goes_on} {self._openvino.__version__} {torch.__version__}"
        kept = cache_folder() / "openvino" / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.zip"
        if self.sha256:
            # What cannot be read any more is made again.
            with (
                contextlib.suppress(OSError, RuntimeError, KeyError, zipfile.BadZipFile),
                zipfile.ZipFile(kept) as file,
            ):
                return core.read_model(file.read("graph.xml"), file.read("graph.bin"))
        graph = self._make(canvas, steps, goes_on)
        if self.sha256:
            try:
                self._keep(graph, kept)
            except (EncodeError, OSError, RuntimeError) as error:
                self.failure = f"graphs of OpenVINO are made anew in each run, as they cannot be kept: {error}"
        return graph

    def _keep(self, graph: Any, kept: Path) -> None:
        with tempfile.TemporaryDirectory() as folder, replacing(kept, make_folder=True) as partial:
            paths = [Path(folder) / name for name in ("graph.xml", "graph.bin")]
            self._openvino.serialize(graph, *map(str, paths))
            with zipfile.ZipFile(partial, "w") as file:
                for path in paths:
                    file.write(path, path.name)

    def _make(self, canvas: tuple[int, int], steps: int, goes_on: bool) -> Any:
        """Trace the network and convert the trace."""
        pixels = torch.zeros(1, 3, *canvas)
        given: tuple[torch.Tensor, ...] = (pixels,)
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = _OneFrame(self.network, canvas, steps)
            if goes_on:
                given = (pixels, *frame(pixels)[1:])
            traced = torch.jit.trace(frame, given, check_trace=False)  # type: ignore[no-untyped-call]
            # Not by `openvino.convert_model`, which reports to its makers that it was used.
            decoding = importlib.import_module("openvino.frontend.pytorch.ts_decoder")
            # The front end holds no reference to what it reads.
            decoder = decoding.TorchScriptPythonDecoder(traced, example_input=given)
            manager = importlib.import_module("openvino.frontend").FrontEndManager()
            frontend = manager.load_by_framework("pytorch")
            graph = frontend.convert(frontend.load(decoder))
        graph.reshape({entry: list(one.shape) for entry, one in zip(graph.inputs, given, strict=True)})
        return graph


class _OneFrame(nn.Module):
    """(1, 3, H, W) pixels, and the state of a frame that goes on, in; log density and state after it out."""

    def __init__(self, network: SaliencyAttentiveModel, canvas: tuple[int, int], steps: int) -> None:
        super().__init__()
        self.network, self.canvas, self.steps = network, canvas, steps

    def forward(self, pixels: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        before = SAMState(*state) if state else None
        log_density, after = self.network.one_frame(pixels, before, steps=self.steps, canvas=self.canvas)
        return log_density, *_parts(after)


def _parts(state: SAMState) -> list[torch.Tensor]:
    return [part for part in (state.hidden, state.cell, state.seen) if part is not None]


def _joined(videos: Sequence[list[torch.Tensor] | None]) -> SAMState:
    """One state of all videos; zeros for those of which nothing has been seen."""
    known = next((parts for parts in videos if parts is not None), None)
    if known is None:
        raise ValueError("no frame of any video counts")
    rows = [[torch.zeros_like(part) for part in known] if parts is None else parts for parts in videos]
    return SAMState(*(torch.cat(parts) for parts in zip(*rows, strict=True)))


def require_openvino() -> Any:
    """The module openvino, imported so that it does not report to its makers that it was.

    Raises:
        ConfigError: it is not installed, or does not load.
    """
    runtime, install = Setting("runtime", "openvino"), "pip install 'vidsal[openvino]'"
    if importlib.util.find_spec("openvino") is None:
        raise ConfigError(runtime, f" needs OpenVINO, which is not installed: {install}")
    reporting = "openvino_telemetry"
    before = sys.modules.get(reporting)
    # None stands for a package that is not there: then what is imported does without.
    sys.modules[reporting] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise ConfigError(
            runtime, f" needs OpenVINO, which is installed but does not load ({error}): {install}"
        ) from error
    finally:
        if before is None:
            del sys.modules[reporting]
        else:
            sys.modules[reporting] = before
