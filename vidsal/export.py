"""A trained network in, an ONNX file that other runtimes run out: graph, weights, and in its metadata what they mean.

The graph is of the network as it is defined, in float32; runtimes do their own rewriting. `docs/guide/export.md`
describes inputs and outputs and has an example without vidsal.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidsal.errors import CheckpointError, ConfigError, EncodeError, Setting
from vidsal.files import replacing
from vidsal.model.checkpoint import ModelCard, read_any_checkpoint, weights_path
from vidsal.model.network import Network
from vidsal.model.networks.parts import PictureNetwork
from vidsal.model.sam import SaliencyAttentiveModel, SAMState, Unroll
from vidsal.pipe.options import ModelOptions
from vidsal.preprocess import PreprocessOptions, Preprocessor
from vidsal.stages import ExportOptions

__all__ = ["LARGEST_DIFFERENCE", "ExportOptions", "ExportReport", "export_model", "export_network"]

LARGEST_DIFFERENCE = 1e-4
"""Of densities, H and C from the file and from the network, relative to the largest value of each."""

_FORMAT = 1
# A protobuf message, and so an ONNX file of one piece, ends at 2 GiB; the graph itself takes little of it.
_MOST_WEIGHT_BYTES = 2**31 - 2**26
_NOISY_LOGGERS = ("onnx_ir", "onnxscript", "torch.export", "torch.onnx")
_INSTALL = "pip install 'vidsal[export]'"
_CANVAS_FIXED = "this one has one canvas for all pictures"

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class ExportReport:
    """What an export made."""

    path: Path
    """The file."""
    name: str
    """Name of the model."""
    inputs: dict[str, str]
    """Name to type and shape, in order: {"pixels": "float32 (batch, 3, 240, 320)"}."""
    outputs: dict[str, str]
    """The same of what comes out."""
    fresh_steps: int | None
    """Refinement steps on a frame that starts afresh; None for a network that judges each picture at once."""
    carry_steps: int | None
    """Refinement steps on a frame that goes on from the state; None with reset."""
    difference: float | None
    """Largest difference between file and network, relative as `LARGEST_DIFFERENCE`; None where not compared."""

    def __str__(self) -> str:
        steps = f"refinement steps: {self.fresh_steps} a frame"
        if self.fresh_steps is None:
            steps = f"each picture by itself, on a canvas of {self.inputs['pixels'].partition(', 3, ')[2][:-1]}"
        elif self.carry_steps is not None:
            steps = f"refinement steps: {self.carry_steps} a frame, {self.fresh_steps} on a fresh one"
        checked = f"not compared with the network: ask for it with --check, which needs onnxruntime ({_INSTALL})"
        if self.difference is not None:
            checked = f"agrees with the network to {self.difference:.0e} ({LARGEST_DIFFERENCE:.0e} is allowed)"
        return f"{self.name}, {self.path.stat().st_size / 1e6:.1f} MB; {steps}; {checked}"


def export_model(
    model: str | Path,
    output: str | Path,
    *,
    options: ExportOptions | None = None,
    on_begin: Callable[[], None] | None = None,
) -> ExportReport:
    """Write a model as an ONNX file.

    Args:
        model: a name in `PRESETS`, or the path of a vidsal checkpoint (.safetensors).
        output: the file to write; ends in .onnx.
        options: what the graph does; None for the defaults.
        on_begin: called once nothing that was given is wrong, before the work that takes a while.

    Raises:
        CheckpointError: as `load_model`, several models are named, or the network is one that remembers frames as no
            graph here does.
        ConfigError: `output` does not end in .onnx, or an option is not for this network.
        EncodeError: onnx or onnxscript is not installed; the file is there or cannot be written; the exporter
            failed; or what it made differs from the network.
    """
    options = options or ExportOptions()
    if len(ModelOptions(str(model)).named) > 1:
        raise CheckpointError(f"{str(model)!r} names an ensemble, which is no network: export its models one by one")
    # Before the weights are read: these cost nothing to find out.
    _check_target(Path(output), overwrite=options.overwrite)
    _require_packages(options)
    network, preprocess, card = read_any_checkpoint(weights_path(model))
    if not isinstance(network, SaliencyAttentiveModel | PictureNetwork):
        raise CheckpointError(
            f"{card.name} cannot be exported: networks of SAM's family can be, and those that judge each picture by "
            "itself"
        )
    if on_begin is not None:
        on_begin()
    return export_network(network, output, preprocess=preprocess, card=card, options=options)


def export_network(
    network: SaliencyAttentiveModel | PictureNetwork,
    output: str | Path,
    *,
    preprocess: PreprocessOptions,
    card: ModelCard,
    options: ExportOptions | None = None,
) -> ExportReport:
    """Write a network as an ONNX file: beside its target first, then renamed.

    Args:
        network: in evaluation mode, on the CPU, not rewritten by `prepare_for_inference`; left as it is.
        output: the file to write; ends in .onnx.
        preprocess: what its input looks like; fixes the size of the canvas.
        card: its card.
        options: what the graph does; None for the defaults.

    Raises:
        ConfigError: `output` does not end in .onnx, or an option is not for this network.
        EncodeError: as `export_model`.
        ValueError: the network is in training mode, or the canvas does not suit it.
    """
    options = options or ExportOptions()
    path = Path(output)
    _check_target(path, overwrite=options.overwrite)
    onnx = _require_packages(options)
    if network.training:
        raise ValueError("only a network in evaluation mode can be exported: call eval() first")
    weight_bytes = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    if weight_bytes > _MOST_WEIGHT_BYTES:
        raise EncodeError(f"the weights take {weight_bytes / 2**30:.1f} GiB; an ONNX file of one piece holds 2 GiB")
    if isinstance(network, PictureNetwork):
        signature = _Signature.of_pictures(network, preprocess, options)
    else:
        signature = _Signature.of(network, preprocess, options)
    proto = _make_proto(_graph_of(network, signature).eval(), signature, opset=options.opset)
    metadata = {
        "format": _FORMAT,
        "config": dataclasses.asdict(network.config),
        "preprocess": dataclasses.asdict(signature.preprocess),
        "card": dataclasses.asdict(card),
        "export": {
            "state": options.state if signature.fresh_steps else "none",
            "fresh_steps": signature.fresh_steps,
            "carry_steps": signature.carry_steps,
            "batch": options.batch,
        },
    }
    onnx.helper.set_model_props(proto, {"vidsal": json.dumps(metadata)})
    difference = None
    with replacing(path) as partial:
        partial.write_bytes(proto.SerializeToString(deterministic=True))
        del proto
        if options.check or (options.check is None and importlib.util.find_spec("onnxruntime")):
            difference = _largest_difference(partial, network, signature)
            # Written so that not-a-number fails.
            if not difference <= LARGEST_DIFFERENCE:
                raise EncodeError(
                    f"the exported graph differs from the network by {difference:.1e}, allowed is "
                    f"{LARGEST_DIFFERENCE:.0e}; {path} was not written. Another ",
                    Setting("opset"),
                    " may help; please report it",
                )
    return ExportReport(
        path=path,
        name=card.name,
        inputs=signature.described(signature.inputs),
        outputs=signature.described(signature.outputs),
        fresh_steps=signature.fresh_steps,
        carry_steps=signature.carry_steps,
        difference=difference,
    )


def _graph_of(network: SaliencyAttentiveModel | PictureNetwork, signature: _Signature) -> nn.Module:
    if isinstance(network, PictureNetwork):
        network = copy.deepcopy(network)
        network.fix_shapes()
        return _ByThemselves(network)
    return _StartingAfresh(network, signature) if signature.carry_steps is None else _GoingOn(network, signature)


class _ByThemselves(nn.Module):
    """Pictures in, log densities out, by a network without a state."""

    def __init__(self, network: PictureNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network.log_density(pixels).float()


class _StartingAfresh(nn.Module):
    """Pictures in, log densities out, each from the zero state."""

    def __init__(self, network: SaliencyAttentiveModel, signature: _Signature) -> None:
        super().__init__()
        self.network, self.signature, self.steps = network, signature, signature.fresh_steps or 1

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network.one_frame(pixels, None, steps=self.steps, canvas=self.signature.canvas)[0]


class _GoingOn(nn.Module):
    """Pictures, flags and state in, log densities and the new state out.

    The steps that every frame gets stand in the main graph, where runtimes lay out weights beforehand; only those
    that a fresh frame gets on top are in a branch, which is taken where any video of the batch starts afresh.
    """

    def __init__(self, network: SaliencyAttentiveModel, signature: _Signature) -> None:
        super().__init__()
        self.network, self.carry_steps = network, signature.carry_steps or 0
        self.more_steps, self.canvas = (signature.fresh_steps or 1) - self.carry_steps, signature.canvas

    def forward(
        self,
        pixels: torch.Tensor,
        fresh: torch.Tensor,
        hidden: torch.Tensor,
        cell: torch.Tensor,
        seen: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        features = self.network.backbone(pixels)
        anew = fresh[:, None, None, None]
        if self.network.motion is not None and seen is not None:
            finer = features.skips[0]
            moved = self.network.motion.read(finer, torch.where(anew, finer, seen))
            features = features._replace(deep=features.deep + moved)
        attended = self.network.recurrence.precompute(features.deep)
        # Chosen, not multiplied: what a caller left in the state of a fresh video may be anything.
        zero = torch.zeros((), dtype=hidden.dtype)
        state = SAMState(torch.where(anew, zero, hidden), torch.where(anew, zero, cell))
        state = self.network.recurrence.refine(features.deep, attended, state, self.carry_steps)
        hidden, cell = state.hidden, state.cell
        if self.more_steps:
            hidden, cell = torch.cond(
                fresh.any(), self._with_more, self._as_it_is, (features.deep, attended, anew, hidden, cell)
            )
        log_density = self.network.read_out(hidden, features, self.canvas)
        # A copy: an output may not be what another one is made of in place.
        return (log_density, hidden, cell) if seen is None else (log_density, hidden, cell, features.skips[0].clone())

    def _with_more(
        self, deep: torch.Tensor, attended: torch.Tensor, anew: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        after = self.network.recurrence.refine(deep, attended, SAMState(hidden, cell), self.more_steps)
        return torch.where(anew, after.hidden, hidden), torch.where(anew, after.cell, cell)

    def _as_it_is(
        self, deep: torch.Tensor, attended: torch.Tensor, anew: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # A branch may not return what it was given.
        return hidden.clone(), cell.clone()


@dataclass(frozen=True)
class _Tensor:
    """An input or an output of the graph; its first dimension is the batch."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class _Signature:
    """What a graph takes, does and gives."""

    preprocess: PreprocessOptions
    fresh_steps: int | None
    carry_steps: int | None
    batch: int | None
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]

    @classmethod
    def of(cls, network: SaliencyAttentiveModel, preprocess: PreprocessOptions, options: ExportOptions) -> _Signature:
        preprocess = _with_one_canvas(preprocess, options, stride=network.backbone.stride)
        height, width = preprocess.height, preprocess.width
        stride = network.backbone.stride
        carries = options.state == "carry"
        carry_steps = (options.steps or 1) if carries else None
        # With carry as `vidsal run` does it; with reset, fewer steps than the model's own are a choice.
        fresh_steps = max(network.config.steps, carry_steps) if carry_steps else options.steps or network.config.steps
        cells = (network.config.recurrent_channels, height // stride, width // stride)
        pixels, log_density = _Tensor("pixels", (3, height, width)), _Tensor("log_density", (height, width))
        state = [_Tensor("hidden", cells), _Tensor("cell", cells)]
        if network.motion is not None:
            state.append(_Tensor("seen", (network.backbone.skip_channels[0], 2 * cells[1], 2 * cells[2])))
        after = [dataclasses.replace(tensor, name=f"next_{tensor.name}") for tensor in state]
        fresh = _Tensor("fresh", (), torch.bool)
        return cls(
            preprocess=preprocess,
            fresh_steps=fresh_steps,
            carry_steps=carry_steps,
            batch=options.batch,
            inputs=(pixels, fresh, *state) if carries else (pixels,),
            outputs=(log_density, *after) if carries else (log_density,),
        )

    @classmethod
    def of_pictures(cls, network: PictureNetwork, preprocess: PreprocessOptions, options: ExportOptions) -> _Signature:
        if options.steps is not None:
            raise ConfigError(Setting("steps"), " is for networks that refine a state, which this one does not have")
        preprocess = _with_one_canvas(preprocess, options, stride=network.stride)
        height, width = preprocess.height, preprocess.width
        return cls(
            preprocess=preprocess,
            fresh_steps=None,
            carry_steps=None,
            batch=options.batch,
            inputs=(_Tensor("pixels", (3, height, width)),),
            outputs=(_Tensor("log_density", (height, width)),),
        )

    @property
    def canvas(self) -> tuple[int, int]:
        return self.preprocess.height, self.preprocess.width

    def described(self, tensors: tuple[_Tensor, ...]) -> dict[str, str]:
        # As Python writes a tuple, the batch without quotes.
        return {
            tensor.name: f"{tensor.dtype} {(self.batch or 'batch', *tensor.shape)}".replace("torch.", "").replace(
                "'", ""
            )
            for tensor in tensors
        }


def _with_one_canvas(preprocess: PreprocessOptions, options: ExportOptions, *, stride: int) -> PreprocessOptions:
    """The same, for pictures of any shape on one canvas: what does not fill it is black, as in training."""
    if preprocess.fit in ("inside", "shape"):
        height, width = options.canvas or (preprocess.height, preprocess.width)
        preprocess = dataclasses.replace(preprocess, height=height, width=width, fit="letterbox", cells=1)
    elif options.canvas is not None:
        raise ConfigError(Setting("canvas"), f" is for networks whose canvas follows the picture; {_CANVAS_FIXED}")
    if preprocess.height % stride or preprocess.width % stride:
        raise ConfigError(
            Setting("canvas"),
            f" must be of multiples of {stride} for this network, got {preprocess.height},{preprocess.width}",
        )
    return preprocess


def _make_proto(module: nn.Module, signature: _Signature, *, opset: int) -> Any:
    """The graph as an onnx.ModelProto, checked for form, without traces of the machine that made it."""
    # A batch of one would be taken for a constant.
    count = signature.batch or 2
    examples = tuple(torch.zeros(count, *tensor.shape, dtype=tensor.dtype) for tensor in signature.inputs)
    shapes = None if signature.batch else tuple({0: torch.export.Dim("batch")} for _ in examples)
    with _hushed(), torch.no_grad():
        # The upsampling's constants are made by the first call: not while being traced.
        module(*examples)
        onnx = importlib.import_module("onnx")
        try:
            program = torch.onnx.export(
                module,
                examples,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=[tensor.name for tensor in signature.inputs],
                output_names=[tensor.name for tensor in signature.outputs],
                opset_version=opset,
                verbose=False,
            )
            if program is None:
                raise EncodeError("torch's exporter made nothing; a newer torch may help")
            proto = program.model_proto
            _tidy(onnx, proto)
            onnx.checker.check_model(proto, full_check=True)
        except (
            torch.onnx.OnnxExporterError,
            onnx.checker.ValidationError,
            onnx.shape_inference.InferenceError,
        ) as error:
            first = str(error).strip().splitlines()[0]
            raise EncodeError(
                f"torch {torch.__version__} cannot export this network ({first}); try another ",
                Setting("opset"),
                " or torch",
            ) from error
    made = next((entry.version for entry in proto.opset_import if entry.domain == ""), None)
    if made != opset:
        raise EncodeError(
            f"torch's exporter cannot make opset {opset} of this network, only {made}: ", Setting("opset", made)
        )
    return proto


def _tidy(onnx: Any, proto: Any) -> None:
    """Take out source lines and paths of this machine, and weights that nothing uses."""
    used: set[str] = set()
    for graph in _graphs(onnx, proto.graph):
        used.update(output.name for output in graph.output)
        for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
        for node in graph.node:
            used.update(node.input)
    for graph in _graphs(onnx, proto.graph):
        unused = [at for at, tensor in enumerate(graph.initializer) if tensor.name not in used]
        for at in reversed(unused):
            del graph.initializer[at]


def _graphs(onnx: Any, graph: Any) -> Iterator[Any]:
    """A graph and those inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(onnx, attribute.g)


@torch.no_grad()
def _largest_difference(path: Path, network: Network, signature: _Signature) -> float:
    """How far the file, run by ONNX Runtime frame by frame, is from the network on the same made pictures."""
    onnxruntime = importlib.import_module("onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    videos, times = signature.batch or 2, 2 if signature.carry_steps else 1
    noise = np.random.default_rng(0).integers(0, 256, (videos * times, 12, 16, 3), np.uint8)
    pixels = torch.unflatten(Preprocessor(signature.preprocess)(noise).contiguous(), 0, (videos, times))
    # The first video goes on, the second is cut, and so forth.
    fresh = [[t == 0 or b % 2 == 1 for t in range(times)] for b in range(videos)]
    fresh_steps = signature.fresh_steps or 1
    unroll = Unroll.of(fresh, fresh_steps=fresh_steps, carry_steps=signature.carry_steps or fresh_steps)
    log_density, state = network(pixels, unroll=unroll)
    # What a fresh video brings along must not matter.
    feed: Arrays = {
        tensor.name: np.full((videos, *tensor.shape), 7.0, np.float32)
        for tensor in signature.inputs
        if tensor.name in ("hidden", "cell", "seen")
    }
    difference, names = 0.0, [tensor.name for tensor in signature.outputs]
    got: Arrays = {}
    for t in range(times):
        feed["pixels"] = pixels[:, t].contiguous().numpy()
        if signature.carry_steps is not None:
            feed["fresh"] = np.array([row[t] for row in fresh])
        got = dict(zip(names, session.run(names, feed), strict=True))
        feed.update({name: got[f"next_{name}"] for name in feed.keys() & {"hidden", "cell", "seen"}})
        difference = _larger(difference, np.exp(got["log_density"]), log_density[:, t].exp())
    for name in got.keys() & {"next_hidden", "next_cell", "next_seen"}:
        difference = _larger(difference, got[name], getattr(state, name.removeprefix("next_")))
    return difference


def _larger(difference: float, got: npt.NDArray[Any], wanted: torch.Tensor) -> float:
    expected = wanted.numpy()
    own = np.abs(got - expected).max() / max(np.abs(expected).max(), np.finfo(np.float32).tiny)
    # Not max(), which may lose a not-a-number.
    return float(np.maximum(difference, own))


def _check_target(path: Path, *, overwrite: bool) -> None:
    if path.suffix.lower() != ".onnx":
        raise ConfigError(Setting("output"), f" must be a file that ends in .onnx, got {path}")
    if path.exists() and not overwrite:
        raise EncodeError(
            f"{path} exists already; use ", Setting("overwrite", True), " to replace it, or choose another name"
        )
    if not path.parent.is_dir():
        raise EncodeError(f"cannot write {path}: there is no folder {path.parent}; make it first")


def _require_packages(options: ExportOptions) -> Any:
    """The module onnx; what the options need beside it is there too."""
    needed = ["onnx", "onnxscript", *(["onnxruntime"] if options.check else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        instead = ", or --no-check" if missing == ["onnxruntime"] else ""
        what = "checking an exported file" if instead else "exporting"
        raise EncodeError(f"{what} needs {' and '.join(missing)}, not installed here: {_INSTALL}{instead}")
    try:
        with _hushed():
            return importlib.import_module("onnx")
    except ImportError as error:
        raise EncodeError(f"onnx is installed but does not load ({error}): {_INSTALL}") from error


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """What the exporter and its libraries report about themselves is for their authors."""
    with contextlib.ExitStack() as stack:
        for logger in map(logging.getLogger, _NOISY_LOGGERS):
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield
