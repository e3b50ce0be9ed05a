"""Layers in the published layout in, our network with them out; its stages by the reference's names; deliberate errors.

What is compared runs the code that ships. Layers are converted here, from the description of the files, and not by the
importer: the two judge each other. `SABOTAGES` are the errors a port of SAM could make, each to be seen by `compare`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import published_reference as reference
import torch
import torch.nn.functional as F
from published_reference import Layers, NetworkName
from torch import nn

import vidsal.model.backbones
import vidsal.model.heads
import vidsal.model.priors
import vidsal.model.published
import vidsal.model.sam
import vidsal.preprocess
from vidsal.model.checkpoint import PRESETS
from vidsal.model.published import finish_relevance
from vidsal.model.sam import SaliencyAttentiveModel, Unroll
from vidsal.preprocess import PreprocessOptions, Preprocessor, Viewport

Part = Literal["input", "backbone", "recurrence", "priors", "head", "finish"]
PARTS: tuple[Part, ...] = ("input", "backbone", "recurrence", "priors", "head", "finish")
TOLERANCE = 1e-4
SMALL = (64, 80)
"""Rows and columns of the small canvas: 8x10 cells, so that every dilation reaches other cells."""
STATE_NAMES = {"W_a": "attention_hidden", "U_a": "attention_input", "V_a": "attention_score"}


def make_picture(height: int = 91, width: int = 131, *, seed: int = 1) -> npt.NDArray[np.uint8]:
    """(height, width, 3) uint8: coloured ramps and noise. By default on the small canvas both sides of the letter-box
    round: 91 * 80 / 131 is 55.57, and 9 rows of bars do not halve."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(0, 150, height)[:, None, None] * [1.0, 0.2, 0.6] + np.linspace(0, 80, width)[None, :, None]
    return np.clip(ramp + random.integers(0, 60, (height, width, 3)), 0, 255).astype(np.uint8)


def to_state(network: NetworkName, layers: Layers) -> dict[str, torch.Tensor]:
    """Our state dict of arrays in the published layout."""
    state: dict[str, torch.Tensor] = {}

    def tensor(array: npt.NDArray[np.floating]) -> torch.Tensor:
        if array.ndim == 4:
            array = array[:, :, ::-1, ::-1]  # torch correlates where Theano convolves
        return torch.from_numpy(array.astype(np.float32, order="C", copy=True))

    def convolution(name: str, arrays: list[npt.NDArray[np.floating]]) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = (tensor(array) for array in arrays)

    def norm(name: str, arrays: list[npt.NDArray[np.floating]]) -> None:
        for kind, array in zip(("weight", "bias", "running_mean", "running_var"), arrays, strict=True):
            state[f"{name}.{kind}"] = tensor(array)
        state[f"{name}.num_batches_tracked"] = torch.tensor(0)

    free = [*reference.by_type(layers, "convolution2d")]
    for name in reference.backbone_convolutions(network):
        if network == "sam-vgg":
            block, index = int(name[5]), int(name[-1])
            convolution(f"backbone.blocks.{block - 1}.{2 * (index - 1)}", layers[name])
        elif name == "conv1":
            convolution("backbone.conv1", layers[name])
            norm("backbone.bn1", layers["bn_conv1"])
        else:
            place = f"backbone.stages.{int(name[3]) - 2}.{'abcdef'.index(name[4])}"
            branch = name.split("_branch")[1]
            number = {"2a": 1, "2b": 2, "2c": 3}.get(branch)
            convolution(f"{place}.conv{number}" if number else f"{place}.shortcut.0", layers[name])
            norm(f"{place}.bn{number}" if number else f"{place}.shortcut.1", layers[reference.norm_name(name)])
    if network == "sam-resnet":
        convolution("backbone.project", free.pop(0))
    convolution("head.out", free.pop(0))
    (cell,) = reference.by_type(layers, "attentiveconvlstm")
    rest = iter(cell)
    own = {name: [next(rest)] if name == "V_a" else [next(rest), next(rest)] for name in reference.RECURRENT_ORDER}
    for name, ours in STATE_NAMES.items():
        for kind, array in zip(("weight", "bias"), own[name], strict=False):
            state[f"recurrence.{ours}.{kind}"] = tensor(array)
    for letter, ours in (("W", "gates_input"), ("U", "gates_hidden")):
        for index, kind in enumerate(("weight", "bias")):
            joined = torch.cat([tensor(own[f"{letter}_{gate}"][index]) for gate in "ifco"])
            state[f"recurrence.{ours}.{kind}"] = joined
    for index, (parameters,) in enumerate(reference.by_type(layers, "learningprior")):
        state[f"priors.{index}.parameters_vector"] = tensor(parameters)
    for index, arrays in enumerate(reference.by_type(layers, "atrousconvolution2d")):
        convolution(f"prior_convolutions.{index}", arrays)
    return state


def build(network: NetworkName, layers: Layers) -> SaliencyAttentiveModel:
    """Our network with these layers, in evaluation mode."""
    made = SaliencyAttentiveModel.without_weights(PRESETS[network].config)
    made.load_state_dict(to_state(network, layers), assign=True)
    return made.eval().requires_grad_(False)


# The stages of our network.


def part_of(stage: str) -> Part:
    """The part of the network that makes a stage."""
    if stage == "input":
        return "input"
    if stage == "final map":
        return "finish"
    if stage in ("output", "relevance"):
        return "head"
    if stage.startswith("H "):
        return "recurrence"
    return "priors" if stage.startswith("prior") else "backbone"


@dataclass
class Subject:
    """What is judged: a network, its preprocessing, a picture."""

    name: NetworkName
    network: Any  # SaliencyAttentiveModel; sabotages reach into parts that the types do not promise
    options: PreprocessOptions
    picture: npt.NDArray[np.uint8]

    @classmethod
    def make(
        cls, name: NetworkName, layers: Layers, picture: npt.NDArray[np.uint8], *, rows: int, columns: int
    ) -> Subject:
        """The preset of that name with these layers, on a canvas of rows x columns."""
        options = dataclasses.replace(PRESETS[name].preprocess, height=rows, width=columns)
        return cls(name, build(name, layers), options, picture)

    @torch.no_grad()
    def stages(
        self, *, start: Part = "input", known: Mapping[str, torch.Tensor] | None = None
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Each stage by its name, made when asked for.

        Args:
            start: the first part to run.
            known: the stages before it.
        """
        done = dict(known or {})
        for part in PARTS[PARTS.index(start) :]:
            for name, value in getattr(self, f"_{part}")(done):
                done[name] = value
                yield name, value

    def _input(self, done: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
        yield "input", Preprocessor(self.options)(self.picture[None])[0]

    def _backbone(self, done: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
        backbone = self.network.backbone
        seen: dict[str, torch.Tensor] = {}

        def keep(name: str, value: torch.Tensor) -> None:
            seen[name] = value[0].clone()

        with ExitStack() as hooks:

            def watch(module: nn.Module, *, into: str | None, out: str | None) -> None:
                if into:
                    hook = module.register_forward_pre_hook(lambda _, inputs: keep(into, inputs[0]))
                    hooks.callback(hook.remove)
                if out:
                    hook = module.register_forward_hook(lambda _, inputs, output: keep(out, output))
                    hooks.callback(hook.remove)

            if self.name == "sam-resnet":
                for index, stage in enumerate(backbone.stages):
                    watch(stage, into=None if index else "conv1", out=f"stage {index + 2}")
            else:
                for index, block in enumerate(backbone.blocks):
                    watch(
                        block, into=f"pool {index}" if index else None, out=f"block {index + 1}" if index < 4 else None
                    )
            deep = backbone(done["input"][None]).deep[0]
        yield from seen.items()
        yield "features", deep

    def _recurrence(self, done: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
        state = None
        for step in range(1, self.network.config.steps + 1):
            # The first step starts from zero, each further one goes on over the same X.
            hidden, state = self.network.recurrence(
                done["features"][None, None], state, unroll=Unroll.of([[step == 1]], fresh_steps=1)
            )
            yield f"H after step {step}", hidden[0, 0]

    def _priors(self, done: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
        hidden = done[f"H after step {self.network.config.steps}"][None]
        second = self.network.prior_convolutions[1]
        inputs: list[torch.Tensor] = []
        hook = second.register_forward_pre_hook(lambda _, values: inputs.append(values[0]))
        try:
            joined = self.network._join_priors(hidden)
        finally:
            hook.remove()
        channels = hidden.shape[1]
        yield "priors 1", self.network.priors[0](*hidden.shape[-2:])
        yield "prior convolution 1", inputs[0][0, :channels]
        yield "priors 2", inputs[0][0, channels:]
        yield "prior convolution 2", joined[0]

    def _head(self, done: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
        features = done["prior convolution 2"][None]
        yield "output", self.network.head._coarse(features)[0]
        yield "relevance", self.network.head.relevance(features)[0]

    def _finish(self, done: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
        yield "final map", finish_relevance(done["relevance"], *self.picture.shape[:2])


def error_of(got: npt.ArrayLike, expected: npt.NDArray[np.floating]) -> float:
    """Largest difference over the largest value; infinite where shapes differ or a value is not a number."""
    values = np.asarray(got, np.float64)
    if values.shape != expected.shape or not np.isfinite(values).all():
        return float("inf")
    return float(np.abs(values - expected).max() / np.abs(expected).max())


@dataclass(frozen=True)
class Difference:
    """Where a subject first leaves the reference."""

    stage: str
    error: float
    """As `error_of`; infinite where the stage is missing or of another shape."""


def compare(
    subject: Subject,
    expected: Mapping[str, npt.NDArray[np.floating]],
    *,
    start: Part = "input",
    known: Mapping[str, torch.Tensor] | None = None,
) -> Difference | None:
    """The first stage that does not agree with the reference's to `TOLERANCE`, None where all agree.

    Args:
        subject: what is judged.
        expected: the reference's stages, in order.
        start: the first part to run.
        known: our stages; those before `start` are taken from here.
    """
    begin = PARTS.index(start)
    earlier = {name: value for name, value in (known or {}).items() if PARTS.index(part_of(name)) < begin}
    stages = subject.stages(start=start, known=earlier)
    for name, values in expected.items():
        if name in earlier:
            continue
        try:
            got = next(stages, None)
        except (RuntimeError, ValueError):  # Shapes that no longer fit together.
            got = None
        if got is None or got[0] != name:
            return Difference(name, float("inf"))
        error = error_of(got[1].numpy(), values)
        if error > TOLERANCE:
            return Difference(name, error)
    return None


# Deliberate errors.

Change = Callable[[Subject], AbstractContextManager[object]]


@dataclass(frozen=True)
class Sabotage:
    """One deliberate error."""

    name: str
    part: Part
    """The first part whose code or numbers it touches."""
    apply: Change
    """Makes the error inside a `with` block and takes it back afterwards."""
    networks: tuple[NetworkName, ...] = ("sam-resnet",)
    """Networks it can be made in (where both share the code, one serves)."""


def _attributes(find: Callable[[Subject], object], **values: object) -> Change:
    """Other attributes on one object."""

    @contextmanager
    def apply(subject: Subject) -> Iterator[None]:
        owner = find(subject)
        before = {name: getattr(owner, name) for name in values}
        # Not by `patch`: it deletes before it restores, and a module's buffer would come back as a mere attribute.
        for name, value in values.items():
            setattr(owner, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(owner, name, value)

    return apply


def _modules(choose: Callable[[str, nn.Module], bool], **values: object) -> Change:
    """Other attributes on all chosen modules."""

    @contextmanager
    def apply(subject: Subject) -> Iterator[None]:
        with ExitStack() as stack:
            for path, module in subject.network.named_modules():
                if choose(path, module):
                    stack.enter_context(_attributes(lambda _, module=module: module, **values)(subject))
            yield

    return apply


def _tensors(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Change:
    """Other weights: what `change` returns of the state dict, by name."""

    @contextmanager
    def apply(subject: Subject) -> Iterator[None]:
        state = subject.network.state_dict()
        changed = change(state)
        before = {name: state[name].clone() for name in changed}
        for name, value in changed.items():
            state[name].copy_(value.clone())
        try:
            yield
        finally:
            for name, value in before.items():
                state[name].copy_(value)

    return apply


def _options(**values: Any) -> Change:
    """Other preprocessing."""
    return lambda subject: patch.object(subject, "options", dataclasses.replace(subject.options, **values))


def _function(owner: object, name: str, wrap: Callable[[Any], Any]) -> Change:
    """Another function: `wrap` of the real one."""
    return lambda subject: patch.object(owner, name, wrap(getattr(owner, name)))


def _swap(first: str, second: str) -> Change:
    return _tensors(
        lambda state: {
            name.replace(a, b): state[name]
            for a, b in ((first, second), (second, first))
            for name in state
            if f".{a}." in name
        }
    )


def _gates(order: tuple[int, int, int, int]) -> Change:
    return _tensors(
        lambda state: {
            name: torch.cat([value.chunk(4)[gate] for gate in order])
            for name, value in state.items()
            if "recurrence.gates" in name
        }
    )


def _both(*changes: Change) -> Change:
    @contextmanager
    def apply(subject: Subject) -> Iterator[None]:
        with ExitStack() as stack:
            for change in changes:
                stack.enter_context(change(subject))
            yield

    return apply


def _fit(**changed: Callable[[Viewport], int]) -> Change:
    """A letter-box with some numbers made otherwise."""

    def wrap(fit: Any) -> Any:
        def other(height: int, width: int, *, canvas_height: int, canvas_width: int) -> Viewport:
            view = fit(height, width, canvas_height=canvas_height, canvas_width=canvas_width)
            return dataclasses.replace(view, **{name: make(view) for name, make in changed.items()})

        return staticmethod(other)

    return _function(Viewport, "fit", wrap)


def _rounded_letter_box(subject: Subject) -> AbstractContextManager[object]:
    height, width = subject.picture.shape[:2]
    return _fit(height=lambda view: round(height * view.canvas_width / width))(subject)


def _pool(pad: tuple[int, int, int, int], *, only_stride: int | None = None, stride: int | None = None) -> Change:
    """Another 'same' pooling; all of them, or those of one stride."""

    def wrap(pool: Any) -> Any:
        def other(x: torch.Tensor, **geometry: int) -> torch.Tensor:
            if only_stride not in (None, geometry["stride"]):
                result: torch.Tensor = pool(x, **geometry)
                return result
            return F.max_pool2d(F.pad(x, pad, value=float("-inf")), 2, stride=stride or geometry["stride"])

        return other

    return _function(vidsal.model.backbones, "_pool_same_top_left", wrap)


def _half_pixel(cells: int, factor: int = 16) -> torch.Tensor:
    """`align_corners=False`."""
    position = ((torch.arange(cells * factor, dtype=torch.float64) + 0.5) / factor - 0.5).clamp(0, cells - 1)
    return (1 - (position[:, None] - torch.arange(cells)).abs()).clamp_min(0)


def _corners(cells: int, factor: int = 16) -> torch.Tensor:
    """`align_corners=True`."""
    position = torch.linspace(0, cells - 1, cells * factor, dtype=torch.float64)
    return (1 - (position[:, None] - torch.arange(cells)).abs()).clamp_min(0)


def _upsampling(matrix: Callable[[int, int], torch.Tensor]) -> Change:
    return _both(
        _attributes(lambda _: vidsal.model.heads, upsampling_matrix=matrix),
        # The right matrices are kept from before.
        lambda subject: patch.object(subject.network.head, "_matrices", {}),
    )


@contextmanager
def _fresh_finish() -> Iterator[None]:
    vidsal.model.published._finishing_matrix.cache_clear()
    try:
        yield
    finally:
        vidsal.model.published._finishing_matrix.cache_clear()


def _finish(**values: object) -> Change:
    """Other constants of the post-processing."""
    return _both(lambda _: _fresh_finish(), _attributes(lambda _: vidsal.model.published, **values))


def _finish_function(wrap: Callable[[Any], Any]) -> Change:
    return _both(lambda _: _fresh_finish(), _function(vidsal.model.published, "blur_first_axis", wrap))


def _blur_with(mode: str) -> Callable[[Any], Any]:
    import scipy.ndimage

    return lambda _: lambda values, *, sigma: scipy.ndimage.gaussian_filter1d(values, sigma, axis=0, mode=mode)


def _hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    return (0.2 * x + 0.5).clamp(0, 1)  # Keras


@contextmanager
def _sigmoid_is_hard(subject: Subject) -> Iterator[None]:
    with (
        patch.object(torch, "sigmoid", _hard_sigmoid),
        patch.object(torch.Tensor, "sigmoid", _hard_sigmoid),
        patch.object(torch.Tensor, "sigmoid_", lambda x: x.copy_(_hard_sigmoid(x))),
    ):
        yield


def _without_relu(owner: Any) -> Change:
    """The file's `F.relu` does nothing."""

    class Passing:
        relu = staticmethod(lambda x, *rest, **options: x)

        def __getattr__(self, name: str) -> Any:
            return getattr(F, name)

    return _attributes(lambda _: owner, F=Passing())


def _flip(name_part: str) -> Change:
    return _tensors(
        lambda state: {
            name: value.flip(-1, -2) for name, value in state.items() if value.ndim == 4 and name_part in name
        }
    )


def _scaled_priors(change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return _tensors(
        lambda state: {
            name: torch.cat(list(change(value.reshape(4, -1)))) for name, value in state.items() if "priors." in name
        }
    )


def _linspace_over_one(real: Any) -> Any:
    return lambda start, end, *rest, **options: real(0, 1, *rest, **options)


def _is_norm(path: str, module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d)


def _is_convolution_of(place: str) -> Callable[[str, nn.Module], bool]:
    return lambda path, module: path.startswith(place) and isinstance(module, nn.Conv2d)


def _first_middle(stage: int) -> Callable[[Subject], object]:
    return lambda subject: subject.network.backbone.stages[stage][0].conv2


BOTH: tuple[NetworkName, ...] = ("sam-resnet", "sam-vgg")
VGG: tuple[NetworkName, ...] = ("sam-vgg",)

SABOTAGES: tuple[Sabotage, ...] = (
    # Input.
    Sabotage("RGB instead of BGR", "input", _options(channel_order="rgb")),
    Sabotage("means in RGB order", "input", _options(mean=PRESETS["sam-resnet"].preprocess.mean[::-1])),
    Sabotage(
        "means divided by 255",
        "input",
        _options(mean=tuple(value / 255 for value in PRESETS["sam-resnet"].preprocess.mean)),
    ),
    Sabotage("pixels scaled to 0..1", "input", _options(divisor=255.0)),
    Sabotage("picture averaged over areas when made small", "input", _options(resize="area")),
    Sabotage("scaled side of the letter-box rounded, not cut off", "input", _rounded_letter_box),
    Sabotage("odd bar of the letter-box at the top", "input", _fit(top=lambda view: view.top + 1)),
    Sabotage("letter-box at the top left", "input", _fit(top=lambda view: 0, left=lambda view: 0)),
    Sabotage(
        "grey bars (letter-box after the means)",
        "input",
        _function(Preprocessor, "__call__", lambda real: lambda *a, **k: _grey_bars(real(*a, **k))),
    ),
    # Backbones.
    Sabotage(
        "stride in the 3x3 instead of the first 1x1",
        "backbone",
        _both(
            _attributes(lambda subject: subject.network.backbone.stages[1][0].conv1, stride=(1, 1)),
            _attributes(_first_middle(1), stride=(2, 2)),
        ),
    ),
    Sabotage(
        "first block of stage 4 not dilated", "backbone", _attributes(_first_middle(2), dilation=(1, 1), padding=(1, 1))
    ),
    Sabotage(
        "first block of stage 5 dilated by 2",
        "backbone",
        _attributes(_first_middle(3), dilation=(2, 2), padding=(2, 2)),
    ),
    Sabotage(
        "conv biases of the backbone dropped",
        "backbone",
        _tensors(
            lambda state: {
                name: torch.zeros_like(value)
                for name, value in state.items()
                if name.startswith("backbone") and name.endswith(".bias") and state[name[:-4] + "weight"].ndim == 4
            }
        ),
        BOTH,
    ),
    Sabotage("kernels of the backbone not rotated", "backbone", _flip("backbone"), BOTH),
    Sabotage("batch norm epsilon 1e-3", "backbone", _modules(_is_norm, eps=1e-3)),
    Sabotage(
        "running_std taken as a deviation",
        "backbone",
        _tensors(lambda state: {name: value**2 for name, value in state.items() if name.endswith("running_var")}),
    ),
    Sabotage(
        "batch norm by the picture's own statistics",
        "backbone",
        _modules(_is_norm, running_mean=None, running_var=None),
    ),
    Sabotage(
        "no ReLU after the projection",
        "backbone",
        _function(
            vidsal.model.backbones.DilatedResNet50,
            "forward",
            lambda real: lambda backbone, pixels: _projection_without_relu(real, backbone, pixels),
        ),
    ),
    Sabotage(
        "pool of conv1 without padding",
        "backbone",
        _function(F, "max_pool2d", lambda real: lambda x, size, stride, padding=0: real(x, size, stride)),
    ),
    Sabotage("VGG pools padded at the bottom and right", "backbone", _pool((0, 1, 0, 1), only_stride=1), VGG),
    Sabotage("VGG block3 pool without padding", "backbone", _pool((0, 0, 0, 0), only_stride=2), VGG),
    Sabotage("VGG block4 pool with stride 2", "backbone", _pool((1, 0, 1, 0), only_stride=1, stride=2), VGG),
    Sabotage("VGG block4 pool without padding", "backbone", _pool((0, 0, 0, 0), only_stride=1), VGG),
    Sabotage(
        "VGG block5 not dilated",
        "backbone",
        _modules(_is_convolution_of("backbone.blocks.4."), dilation=(1, 1), padding=(1, 1)),
        VGG,
    ),
    # Recurrence.
    Sabotage("W_a and U_a swapped", "recurrence", _swap("attention_hidden", "attention_input")),
    Sabotage("W and U of the gates swapped", "recurrence", _swap("gates_input", "gates_hidden")),
    Sabotage(
        "attention rescaled by the area",
        "recurrence",
        _attributes(lambda subject: subject.network.recurrence, attention_scale="cells"),
    ),
    Sabotage(
        "no attention (V_a zero)",
        "recurrence",
        _tensors(
            lambda state: {
                "recurrence.attention_score.weight": torch.zeros_like(state["recurrence.attention_score.weight"])
            }
        ),
    ),
    Sabotage("hard sigmoid", "recurrence", _sigmoid_is_hard),
    Sabotage("gates in the order i, f, o, c", "recurrence", _gates((0, 1, 3, 2))),
    Sabotage("gates in the order f, i, c, o", "recurrence", _gates((1, 0, 2, 3))),
    Sabotage("kernels of the recurrence not rotated", "recurrence", _flip("recurrence")),
    Sabotage("kernels of W_a not rotated", "recurrence", _flip("attention_hidden")),
    Sabotage("kernels of U not rotated", "recurrence", _flip("gates_hidden")),
    Sabotage(
        "biases of U dropped",
        "recurrence",
        _tensors(
            lambda state: {"recurrence.gates_hidden.bias": torch.zeros_like(state["recurrence.gates_hidden.bias"])}
        ),
    ),
    Sabotage(
        "three steps",
        "recurrence",
        lambda subject: patch.object(
            subject.network, "config", dataclasses.replace(subject.network.config, steps=reference.STEPS - 1)
        ),
    ),
    # Priors.
    Sabotage(
        "priors not clipped",
        "priors",
        _attributes(lambda _: vidsal.model.priors, _BOUNDS=((float("-inf"), float("inf")),) * 4),
    ),
    Sabotage("priors' grid y over 0..1", "priors", _function(torch, "linspace", _linspace_over_one)),
    Sabotage(
        "priors not divided by their maximum",
        "priors",
        _function(torch.Tensor, "amax", lambda real: lambda x, *a, **k: torch.ones_like(real(x, *a, **k))),
    ),
    Sabotage("mu_x and mu_y swapped", "priors", _scaled_priors(lambda rows: rows[[1, 0, 2, 3]])),
    Sabotage(
        "both rounds take the first priors",
        "priors",
        _tensors(lambda state: {"priors.1.parameters_vector": state["priors.0.parameters_vector"]}),
    ),
    Sabotage(
        "prior convolutions dilated by 2",
        "priors",
        _modules(_is_convolution_of("prior_convolutions."), dilation=(2, 2), padding=(4, 4)),
    ),
    Sabotage("kernels of the prior convolutions not rotated", "priors", _flip("prior_convolutions")),
    Sabotage("no ReLU after the prior convolutions", "priors", _without_relu(vidsal.model.sam)),
    # Head.
    Sabotage(
        "output without ReLU",
        "head",
        lambda subject: patch.object(subject.network.head, "_coarse", lambda x: subject.network.head.out(x)[:, 0]),
    ),
    Sabotage("upsampling with align_corners=False", "head", _upsampling(_half_pixel)),
    Sabotage("upsampling with align_corners=True", "head", _upsampling(_corners)),
    # Finishing.
    Sabotage("blur of 6 pixels", "finish", _finish(_BLUR_PIXELS=6.0)),
    Sabotage("no blur", "finish", _finish(_BLUR_PIXELS=0.0)),
    Sabotage("blur with black around", "finish", _finish_function(_blur_with("constant"))),
    Sabotage("blur with the edge repeated", "finish", _finish_function(_blur_with("nearest"))),
    Sabotage("blur mirrored on the centre of the edge", "finish", _finish_function(_blur_with("mirror"))),
    Sabotage(
        "kernel of the blur cut off at three deviations",
        "finish",
        _both(lambda _: _fresh_finish(), _attributes(lambda _: vidsal.preprocess, _TRUNCATE=3.0)),
    ),
    Sabotage("final map from 0 to 1", "finish", _finish(_WHITE=1.0)),
    Sabotage(
        "covering side rounded up",
        "finish",
        _function(
            vidsal.model.published,
            "_finishing_matrix",
            lambda real: (
                lambda cells, covering, pixels, device: real(cells, covering + (covering > pixels), pixels, device)
            ),
        ),
    ),
    Sabotage(
        "bars not cut off",
        "finish",
        _function(
            vidsal.model.published,
            "_finishing_matrix",
            lambda real: lambda cells, covering, pixels, device: real(cells, pixels, pixels, device),
        ),
    ),
)


def _grey_bars(pixels: torch.Tensor) -> torch.Tensor:
    means = -torch.tensor(reference.MEANS)[:, None, None]
    return torch.where((pixels - means).abs() < 1e-3, torch.zeros(()), pixels)


def _projection_without_relu(real: Any, backbone: Any, pixels: torch.Tensor) -> Any:
    projected: list[torch.Tensor] = []
    hook = backbone.project.register_forward_hook(lambda _, inputs, output: projected.append(output))
    try:
        features = real(backbone, pixels)
    finally:
        hook.remove()
    return features._replace(deep=projected[0])


@functools.lru_cache(maxsize=1)
def small_case(name: NetworkName) -> tuple[Layers, dict[str, npt.NDArray[np.floating]]]:
    """Random layers and what the reference makes of the small picture with them."""
    layers = reference.random_layers(name, seed=3)
    rows, columns = SMALL
    return layers, reference.run(name, layers, make_picture(), rows=rows, columns=columns, balance=True)


def small_subject(name: NetworkName) -> Subject:
    """Our network with the same layers and the same picture."""
    rows, columns = SMALL
    return Subject.make(name, small_case(name)[0], make_picture(), rows=rows, columns=columns)
