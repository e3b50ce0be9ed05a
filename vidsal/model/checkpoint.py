"""A checkpoint file or the name of a model in, a model ready to predict out; and back to a file.

A checkpoint is one safetensors file: the weights, and in its header, as JSON under the key "vidsal", the
architecture, the preprocessing and the model card. Nothing is ever unpickled.

A derived checkpoint holds only what differs from the embedded weights of a preset, and their sha256.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import json
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vidsal.errors import CheckpointError, ConfigError, Setting
from vidsal.files import replacing, sha256_of
from vidsal.model.graphs import RecordedNetwork
from vidsal.model.inference import bfloat16_pays, prepare_for_inference
from vidsal.model.network import Network, NetworkOptions
from vidsal.model.options import DRIVING_MODELS, BaselineName, NetworkName, Precision, Runtime, Task, named_task
from vidsal.model.recurrent import Unroll
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig
from vidsal.model.state import VideoState
from vidsal.model.store import cached_path, read_record, verified_path
from vidsal.preprocess import PreprocessOptions, Preprocessor
from vidsal.stages import CAFFE_MEAN

if TYPE_CHECKING:
    from vidsal.model.openvino import OpenVinoNetwork

__all__ = [
    "PRESETS",
    "ModelCard",
    "Precision",
    "Preset",
    "SaliencyModel",
    "Task",
    "WeightsPlace",
    "copy_checkpoint",
    "files_of",
    "find_weights",
    "for_task",
    "is_baseline",
    "load_model",
    "model_names",
    "no_such_model",
    "read_any_checkpoint",
    "read_checkpoint",
    "resolve_device",
    "save_checkpoint",
    "save_derived_checkpoint",
    "weights_path",
    "weights_sha256",
]


_FORMAT = 1
_MOST_HEADER_BYTES = 16 << 20
_WEIGHTS = Path(__file__).parent / "weights"
_CAFFE = PreprocessOptions(
    channel_order="bgr",
    divisor=1.0,
    mean=CAFFE_MEAN,
    std=(1.0, 1.0, 1.0),
    resize="bilinear",
    blur_pixels=7.0,
)


@dataclass(frozen=True)
class Preset:
    """A named architecture."""

    config: SAMConfig
    """The network."""
    preprocess: PreprocessOptions
    """What its input looks like."""
    weights: Path | None
    """The embedded checkpoint; None where none is embedded: then the cache is looked into."""


_SAM_LITE = SAMConfig(motion_channels=32)
_OF_ITS_SHAPE = PreprocessOptions(fit="shape", cells=16)
_SAM_RESNET = SAMConfig("resnet50", 512, 4, "none", 16, 2, 4, "published")

PRESETS: dict[str, Preset] = {
    "sam-lite": Preset(_SAM_LITE, _OF_ITS_SHAPE, _WEIGHTS / "sam-lite.safetensors"),
    "sam-lite-fast": Preset(
        _SAM_LITE, dataclasses.replace(_OF_ITS_SHAPE, height=176, width=240), _WEIGHTS / "sam-lite-fast.safetensors"
    ),
    "sam-lite-driver": Preset(_SAM_LITE, _OF_ITS_SHAPE, _WEIGHTS / "sam-lite-driver.safetensors"),
    "sam-resnet": Preset(_SAM_RESNET, _CAFFE, None),
    "sam-resnet-2017": Preset(_SAM_RESNET, _CAFFE, None),
    "sam-vgg": Preset(SAMConfig("vgg16", 512, 4, "none", 16, 2, 4, "published"), _CAFFE, None),
}
"""The named architectures; "sam-lite" is the default. Those whose names begin so have embedded weights."""
_BASES = frozenset({"sam-lite"})
"""Presets on whose embedded weights a checkpoint can build; the others' build on these themselves."""


@dataclass(frozen=True)
class WeightsPlace:
    """Where the weights of a preset are on this machine."""

    state: Literal["embedded", "cached", "damaged", "absent"]
    """Part of the package; in the user's cache; there, but without a record or of another size than it says; or not
    here."""
    path: Path
    """The checkpoint; where absent, the one that fetching or importing would make."""


@dataclass(frozen=True)
class ModelCard:
    """What a user has to know about weights before trusting them."""

    name: str
    """Name of the model."""
    description: str = ""
    """What it is, in a sentence or two."""
    licence: str = ""
    """Licence of the weights."""
    training_data: tuple[str, ...] = ()
    """What it was trained on, each with source and licence."""
    initialisation: str = ""
    """Where the weights came from before training."""
    training: str = ""
    """Configuration of the training run, as JSON."""
    commit: str = ""
    """Commit of the code that trained it."""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """Validation scores: set name to metric to value; baselines under "SET/BASELINE"."""
    protocol: str = ""
    """How the scores were made."""
    limits: tuple[str, ...] = ()
    """What it is not good for."""
    task: Task = "free-viewing"
    """What the viewers do whose gaze it predicts."""


class SaliencyModel:
    """A network in evaluation mode with its preprocessing, on a device: what the pipe runs.

    Stateless: the state of a video goes in and comes out.
    """

    def __init__(
        self,
        network: Network,
        *,
        preprocess: PreprocessOptions,
        card: ModelCard,
        device: torch.device | str = "cpu",
        precision: Precision = "auto",
        runtime: Runtime = "torch",
        sha256: str | None = None,
    ) -> None:
        """Take over `network`; one of SAM's is rewritten in place for prediction, see `prepare_for_inference`.

        Raises:
            ConfigError: OpenVINO is asked for where it is not installed, with another device than the CPU, or with a
                network that is not of SAM's family.
        """
        self.sha256 = sha256 or weights_sha256(network)
        """Of the checkpoint file; of the weights where the model comes from no file."""
        self.device = torch.device(device)
        self.config: NetworkOptions = network.config
        self.card = card
        self.preprocessor = Preprocessor(preprocess)
        self.dtype = _dtype(precision, self.device)
        self.runtime: Runtime = runtime
        """What computes the network."""
        self.network: Network
        self._forward: Network | RecordedNetwork | OpenVinoNetwork
        if runtime == "openvino":
            self.network, self._forward = network, self._by_openvino(network)
        elif isinstance(network, SaliencyAttentiveModel):
            self.network = prepare_for_inference(network.eval(), device=self.device, dtype=self.dtype)
            self._forward = RecordedNetwork(self.network) if self.device.type == "cuda" else self.network
        else:
            self.network = self._forward = network.eval().requires_grad_(False).to(self.device)

    @torch.inference_mode()
    def __call__(
        self,
        frames: torch.Tensor,
        state: VideoState | None = None,
        *,
        unroll: Unroll | None = None,
        one_by_one: bool = False,
    ) -> tuple[torch.Tensor, VideoState]:
        """Predict log densities over the canvas; arguments and results as those of the network's `forward`."""
        # What runs on CUDA in float32 is float32: by default cuDNN would take TF32. Shapes repeat, so it may try which
        # of its algorithms is fastest.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=self.dtype != torch.float32):
            if self.device.type == "cpu" and isinstance(self.network, SaliencyAttentiveModel):
                return self._forward(frames, state, unroll=unroll, one_by_one=one_by_one)  # type: ignore
            result: tuple[torch.Tensor, VideoState] = self._forward(frames, state, unroll=unroll)
        return result

    def _by_openvino(self, network: Network) -> OpenVinoNetwork:
        from vidsal.model.openvino import OpenVinoNetwork

        runtime = Setting("runtime", "openvino")
        if self.device.type != "cpu":
            raise ConfigError(runtime, " computes on the CPU: leave it out, or give ", Setting("device", "cpu"))
        if not isinstance(network, SaliencyAttentiveModel):
            raise ConfigError(runtime, f" is for networks of SAM's family, which {self.card.name} is not")
        return OpenVinoNetwork(network.eval().requires_grad_(False), dtype=self.dtype, sha256=self.sha256)

    @property
    def task(self) -> Task:
        """What the viewers do whose gaze it predicts: as its card says; "driving" for the models that `for_task` gives
        for it, too, whose cards are older than that."""
        return "driving" if "driving" in (self.card.task, named_task(self.card.name)) else "free-viewing"

    @property
    def takes_neighbours(self) -> bool:
        """Whether it has to be shown every frame, see `Network.takes_neighbours`."""
        return self.network.takes_neighbours

    @property
    def attentive(self) -> SaliencyAttentiveModel:
        """The network, where it is one of SAM's family.

        Raises:
            CheckpointError: it is another system's.
        """
        if not isinstance(self.network, SaliencyAttentiveModel):
            raise CheckpointError(f"{self.card.name} is not of SAM's family, which this needs")
        return self.network

    @property
    def precision(self) -> str:
        """What weights and features are computed in: "fp32", "bf16" or "fp16"; "fp32-openvino" or "bf16-openvino" where
        OpenVINO computes them."""
        return _PRECISION_NAMES[self.dtype] + (f"-{self.runtime}" if self.runtime != "torch" else "")

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how it ran so far: that passes could not be recorded on CUDA, or graphs of
        OpenVINO not be kept, and why."""
        failure = getattr(self._forward, "failure", None)
        return () if failure is None else (failure,)

    def __repr__(self) -> str:
        return f"SaliencyModel({self.card.name}, {self.device}, {self.precision})"


def load_model(
    model: str | Path = "sam-lite",
    *,
    task: Task = "free-viewing",
    device: str = "auto",
    precision: Precision = "auto",
    runtime: Runtime = "torch",
) -> SaliencyModel:
    """Load a model by the name of a preset or from a checkpoint file. Needs no network and unpickles nothing.

    Weights that are not embedded are taken from the user's cache (see `vidsal weights`) if their sha256 is right.

    Args:
        model: a name in `PRESETS`, that of a model without weights (`vidsal.model.baselines`), which runs on the CPU in
            float32 whatever is asked for, or the path of a vidsal checkpoint (.safetensors).
        task: "free-viewing" takes the model named; "driving" the one for drivers' gaze beside it, see `for_task`.
        device: "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:N" or "mps".
        precision: "fp32"; "bf16", weights and features in bfloat16 but for the first layers and the map; "fp16" the
            same in float16, on CUDA and MPS; "auto" is bf16 on CUDA and on processors that are faster in it
            (AMX, AMD's AVX512_BF16), fp32 elsewhere.
        runtime: "torch", or "openvino", which is faster on a CPU and has to be installed; models without weights run as
            they are.

    Raises:
        CheckpointError: unknown name, missing or damaged file, weights that do not fit their architecture, or a
            cached file that differs from its record.
        ConfigError: the device is not there, there is no model for the task, or the runtime is not installed or not for
            this device or model.

    Example:
        >>> load_model("sam-lite", device="cpu").card.name
        'sam-lite'
    """
    target = torch.device("cpu") if runtime == "openvino" and device == "auto" else resolve_device(device)
    chosen = for_task(model, task)
    if is_baseline(chosen):
        return _load_baseline(str(chosen))
    path = weights_path(chosen)
    network, preprocess, card = read_any_checkpoint(path)
    return SaliencyModel(
        network,
        preprocess=preprocess,
        card=card,
        device=target,
        precision=precision,
        runtime=runtime,
        sha256=sha256_of(path),
    )


def is_baseline(model: str | Path) -> bool:
    """Whether a name is that of a model without weights, of which there is no checkpoint."""
    return str(model) in get_args(BaselineName)


def _load_baseline(name: str) -> SaliencyModel:
    from vidsal.model.baselines.network import BASELINE_INPUT, BaselineConfig, BaselineNetwork

    network = BaselineNetwork(BaselineConfig(name))
    card = ModelCard(
        name=name,
        description=(type(network.baseline).__doc__ or "").partition("\n")[0],
        licence="MIT",
        limits=("Written from its description, without weights learned from gaze.",),
    )
    digest = hashlib.sha256(f"baseline {name}".encode()).hexdigest()
    return SaliencyModel(network, preprocess=BASELINE_INPUT, card=card, precision="fp32", sha256=digest)


def for_task(model: str | Path, task: Task) -> str | Path:
    """The model to take for a task: "free-viewing" takes any as it is.

    Raises:
        ConfigError: the task is unknown, or this model has none for it.

    Example:
        >>> for_task("sam-lite", "driving"), for_task("sam-lite", "free-viewing")
        ('sam-lite-driver', 'sam-lite')
    """
    if task == "free-viewing" or (task == "driving" and str(model) in DRIVING_MODELS.values()):
        return model
    if task != "driving":
        raise ConfigError(f"unknown task {task!r}: use free-viewing or driving")
    if str(model) not in DRIVING_MODELS:
        raise ConfigError(
            f"there is no model of {str(model)!r} for the task driving, only of {', '.join(DRIVING_MODELS)}; leave the "
            "task out where the model is itself one of drivers"
        )
    return DRIVING_MODELS[str(model)]


def weights_path(model: str | Path) -> Path:
    """The checkpoint that a preset's name or a path stands for; a cached one has been checked against its record.

    Raises:
        CheckpointError: no such preset or file, no weights of this preset here, or a damaged cached file.
    """
    name = str(model)
    if name in PRESETS:
        return PRESETS[name].weights or verified_path(name)
    if is_baseline(model):
        raise CheckpointError(f"{name} is a model without weights: there is no checkpoint of it, nor does it need one")
    if name in get_args(NetworkName) and not Path(model).exists():
        raise CheckpointError(
            f"{name} has no weights: train it (vidsal train --preset {name}) and give the checkpoint that comes out"
        )
    path = Path(model)
    if not path.exists():
        raise no_such_model(name)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: give the checkpoint in it (.safetensors)")
    return path


def model_names() -> tuple[str, ...]:
    """Names of all models: presets, models without weights, and networks of other systems."""
    return (*PRESETS, *get_args(BaselineName), *get_args(NetworkName))


def no_such_model(name: str, *, or_folder: bool = False) -> CheckpointError:
    """The error for what is neither a model's name nor there; it names what is nearest.

    Args:
        name: what was given.
        or_folder: whether a folder of maps would do too.
    """
    there: list[str] = []
    with contextlib.suppress(OSError):
        there = [str(one) for one in Path(name).parent.iterdir() if or_folder or not one.is_dir()]
    near = difflib.get_close_matches(name, [*model_names(), *there], n=1)
    sort, more = (
        (", file or folder", ", the path of a checkpoint, or a folder of maps")
        if or_folder
        else (" or file", ", or the path of a checkpoint")
    )
    return CheckpointError(
        f"there is no model{sort} {name!r}: give a name that vidsal models lists ({', '.join(PRESETS)}, ...){more}"
        + (f"; did you mean {near[0]}?" if near else "")
    )


def find_weights(name: str) -> WeightsPlace:
    """Where the weights of a preset are. Of a cached file only the size is compared with its record."""
    embedded = PRESETS[name].weights
    if embedded is not None:
        return WeightsPlace("embedded", embedded)
    path = cached_path(name)
    if not path.is_file():
        return WeightsPlace("absent", path)
    try:
        record = read_record(name)
    except CheckpointError:
        record = None
    fits = record is not None and (record.replaces is not None or record.bytes == path.stat().st_size)
    return WeightsPlace("cached" if fits else "damaged", path)


def read_checkpoint(path: Path | str) -> tuple[SaliencyAttentiveModel, PreprocessOptions, ModelCard]:
    """As `read_any_checkpoint`, of a network of SAM's family.

    Raises:
        CheckpointError: as there, or it holds another system's network.
    """
    network, preprocess, card = read_any_checkpoint(path)
    if not isinstance(network, SaliencyAttentiveModel):
        raise CheckpointError(
            f"{path} holds a network that is not of SAM's family ({getattr(network.config, 'network', card.name)}): it "
            "can be trained, run and scored, but not exported, averaged or measured by bench"
        )
    return network, preprocess, card


def read_any_checkpoint(path: Path | str) -> tuple[Network, PreprocessOptions, ModelCard]:
    """Read a checkpoint written by `save_checkpoint`: the network (float32, CPU), its preprocessing, its card.

    Raises:
        CheckpointError: if the file is missing, damaged, no vidsal checkpoint, or of another architecture.
    """
    path = Path(path)
    _check_header_size(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("vidsal")
            if header is None:
                raise CheckpointError(f"{path}: a safetensors file, but not a vidsal checkpoint (no vidsal header)")
            network, preprocess, card = _from_header(path, header)
            names = list(file.keys())
            _check_shapes(path, network, {name: file.get_slice(name).get_shape() for name in names})
            own = network.state_dict()
            # Copied: the file may change while the network is in use.
            state = {name: file.get_tensor(name).to(own[name].dtype, copy=True) for name in names}
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except (SafetensorError, OSError, struct.error, AttributeError) as error:
        # An AttributeError: of a type of numbers that torch does not have.
        raise CheckpointError(f"{path}: not a readable safetensors file ({_what_else(path) or error})") from error
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{path}: {name} holds values that are not finite; the file is damaged")
    network.load_state_dict({**own, **state}, assign=True)
    return network.eval(), preprocess, card


def _check_header_size(path: Path) -> None:
    """The header of a checkpoint takes kilobytes: one of gigabytes is not even read."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if _MOST_HEADER_BYTES < length <= path.stat().st_size:
            raise CheckpointError(
                f"{path}: its header takes {length} bytes, no checkpoint has more than {_MOST_HEADER_BYTES}"
            )


def _from_header(path: Path, header: str) -> tuple[Network, PreprocessOptions, ModelCard]:
    """The network that a header describes, with its weights where they come from a base, else without any."""
    try:
        content = json.loads(header)
        if content["format"] != _FORMAT:
            raise CheckpointError(f"{path}: format {content['format']}, this version reads {_FORMAT}")
        card = _from_dict(ModelCard, content["card"])
        _check_card(card)
        if "base" in content:
            network, preprocess = _read_base(path, content["base"]["model"], content["base"]["sha256"])
            own = content.get("preprocess")
            return network, preprocess if own is None else _from_dict(PreprocessOptions, own), card
        preprocess = _from_dict(PreprocessOptions, content["preprocess"])
        # Nothing is allocated before the file is seen to hold it.
        if "baseline" in content["config"]:
            return _with_filters(content["config"]), preprocess, card
        if "network" in content["config"]:
            return _other_without_weights(content["config"]), preprocess, card
        return SaliencyAttentiveModel.without_weights(_from_dict(SAMConfig, content["config"])), preprocess, card
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, ConfigError) as error:
        raise CheckpointError(f"{path}: its vidsal header cannot be used ({error})") from error


def _with_filters(values: dict[str, Any]) -> Network:
    from vidsal.model.baselines.network import BaselineConfig, BaselineNetwork

    with torch.device("meta"):
        return BaselineNetwork(_from_dict(BaselineConfig, values))


def _other_without_weights(values: dict[str, Any]) -> Network:
    from vidsal.model.networks.catalogue import without_weights
    from vidsal.model.networks.config import NetworkConfig

    return without_weights(_from_dict(NetworkConfig, values))


def _check_card(card: ModelCard) -> None:
    """See that a card is text and numbers, which a terminal may show.

    Raises:
        ValueError: it is not.
    """

    def check(name: str, text: object) -> None:
        if not isinstance(text, str) or re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text):
            raise ValueError(f"{name} of the card must be text without control characters")

    for field_ in dataclasses.fields(card):
        value = getattr(card, field_.name)
        if field_.name == "scores":
            numbers = [one for scores in value.values() for one in scores.values()]
            if not all(isinstance(one, int | float) for one in numbers):
                raise ValueError("scores of the card must be numbers")
            value = (*value, *(metric for scores in value.values() for metric in scores))
        elif isinstance(field_.default, tuple) != isinstance(value, tuple):
            raise ValueError(f"{field_.name} of the card must be {'a list' if field_.default == () else 'text'}")
        for text in value if isinstance(value, tuple) else (value,):
            check(field_.name, text)


def _check_shapes(path: Path, network: Network, found: dict[str, list[int]]) -> None:
    """See that a file holds the tensors of a network, those that come from its base excepted."""
    own = network.state_dict()
    missing = sorted(name for name, value in own.items() if value.is_meta and name not in found)
    surplus = sorted(found.keys() - own.keys())
    wrong = [name for name in own if name in found and list(own[name].shape) != list(found[name])]
    if missing or surplus or wrong:
        first = (missing + surplus + wrong)[0]
        raise CheckpointError(
            f"{path}: weights of another architecture: {len(missing)} tensors missing, {len(surplus)} left over, "
            f"{len(wrong)} of another shape; first: {first}"
        )


def _read_base(path: Path, model: str, sha256: str) -> tuple[SaliencyAttentiveModel, PreprocessOptions]:
    """The network that a derived checkpoint builds on."""
    embedded = PRESETS[model].weights if model in _BASES else None
    if embedded is None:
        raise CheckpointError(f"{path} builds on {model!r}, which has no embedded weights; take a whole checkpoint")
    network, preprocess, _ = read_checkpoint(embedded)
    found = weights_sha256(network)
    if found != sha256:
        raise CheckpointError(
            f"{path} was made for other weights of {model}: theirs have the sha256 {sha256[:12]}…, those in {embedded} "
            f"{found[:12]}…. Install the vidsal that it came with, or make it again (docs/guide/train.md)"
        )
    return network, preprocess


def files_of(path: Path) -> tuple[Path, ...]:
    """A checkpoint, and the one that it builds on where it is a derived one: what it takes to load it.

    Raises:
        CheckpointError: it is no readable checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            base = json.loads((file.metadata() or {}).get("vidsal", "{}")).get("base")
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    embedded = None if base is None else PRESETS[base["model"]].weights
    return (path,) if embedded is None else (path, embedded)


def weights_sha256(network: Network) -> str:
    """The sha256 of a network's weights and of nothing else: names, shapes and float32 values, sorted by name."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} ".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_checkpoint(
    path: Path | str,
    network: Network,
    *,
    preprocess: PreprocessOptions,
    card: ModelCard,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a checkpoint whole: beside its target first, then renamed.

    Args:
        path: the target, replaced if it exists.
        network: the network, batch norms not folded.
        preprocess: what its input looks like.
        card: its card.
        dtype: how floating-point weights are stored, those of `Network.kept_exact` apart.

    Raises:
        EncodeError: it cannot be written.
    """
    made_of = {"config": dataclasses.asdict(cast(Any, network.config)), "preprocess": dataclasses.asdict(preprocess)}
    _write(Path(path), network.state_dict(), dtype, made_of, card, exact=network.kept_exact)


def copy_checkpoint(path: Path, target: Path, *, card: ModelCard, preprocess: PreprocessOptions | None = None) -> None:
    """Write a checkpoint again with another card; its weights stay to the bit.

    Args:
        path: the checkpoint.
        target: the new one, replaced if it exists; may be the same.
        card: its card.
        preprocess: what its input looks like; None leaves that.

    Raises:
        CheckpointError: the file is no checkpoint, or has its preprocessing from a base.
        EncodeError: the new one cannot be written.
    """
    read_any_checkpoint(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["vidsal"])
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    header["card"] = dataclasses.asdict(card)
    if preprocess is not None:
        if "base" in header and "preprocess" not in header:
            raise CheckpointError(f"{path} has the preprocessing of {header['base']['model']}, which it builds on")
        header["preprocess"] = dataclasses.asdict(preprocess)
    with replacing(target, also=(SafetensorError,), durable=True) as partial:
        save_file(stored, partial, metadata={"vidsal": json.dumps(header)})


def save_derived_checkpoint(
    path: Path | str,
    network: SaliencyAttentiveModel,
    *,
    base: str,
    card: ModelCard,
    preprocess: PreprocessOptions | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write what differs from the embedded weights of a preset, which the result needs to be read.

    Args:
        path: the target, replaced if it exists.
        network: of the base's architecture, batch norms not folded.
        base: name of a preset with embedded weights that builds on no other.
        card: its card.
        preprocess: what its input looks like; None: as the base's.
        dtype: how floating-point weights are stored.

    Raises:
        CheckpointError: the base has no embedded weights, or another architecture.
        EncodeError: it cannot be written.
    """
    embedded = PRESETS[base].weights if base in _BASES else None
    if embedded is None:
        raise CheckpointError(f"{base!r} has no embedded weights to build on; write a whole checkpoint")
    before, _, _ = read_checkpoint(embedded)
    if before.config != network.config:
        raise CheckpointError(f"the network is not of the architecture of {base}; write a whole checkpoint")
    known = before.state_dict()
    changed = {name: value for name, value in network.state_dict().items() if not torch.equal(value.cpu(), known[name])}
    made_of: dict[str, Any] = {"base": {"model": base, "sha256": weights_sha256(before)}}
    if preprocess is not None:
        made_of["preprocess"] = dataclasses.asdict(preprocess)
    _write(Path(path), changed, dtype, made_of, card)


def _write(
    path: Path,
    state: dict[str, torch.Tensor],
    dtype: torch.dtype,
    made_of: dict[str, Any],
    card: ModelCard,
    *,
    exact: frozenset[str] = frozenset(),
) -> None:
    stored = {
        name: value.detach()
        .to("cpu", dtype if value.is_floating_point() and name not in exact else value.dtype)
        .contiguous()
        for name, value in state.items()
    }
    header = json.dumps({"format": _FORMAT, **made_of, "card": dataclasses.asdict(card)})
    with replacing(path, also=(SafetensorError,), durable=True) as partial:
        save_file(stored, partial, metadata={"vidsal": header})


def resolve_device(device: str) -> torch.device:
    """The device a name stands for.

    Args:
        device: "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        ConfigError: if the name is unknown or the device is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and (kind != "cuda" or not number.isdigit())):
        raise ConfigError(f"unknown device {device!r}: use auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= int(number or 0):
            raise ConfigError(Setting("device", device), f" is not there: {count} CUDA devices found; use cpu or auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(Setting("device", "mps"), " is not there; use cpu or auto")
    return torch.device(device)


def _what_else(path: Path) -> str | None:
    """What a file that is no safetensors file seems to be, with what to do about it."""
    try:
        with path.open("rb") as file:
            begin = file.read(8)
    except OSError:
        return None
    if begin == b"\x89HDF\r\n\x1a\n":
        return f"it is HDF5; if it is a published weight file, use: vidsal weights import {path}"
    if begin[:4] == b"PK\x03\x04" or begin[:1] == b"\x80":
        return "it is a pickle, which vidsal never opens"
    return None


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PRECISION_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        pays = device.type == "cuda" or (device.type == "cpu" and bfloat16_pays())
        return torch.bfloat16 if pays else torch.float32
    if precision not in _DTYPES:
        raise ConfigError(f"unknown precision {precision!r}: use auto, {', '.join(_DTYPES)}")
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError(Setting("precision", "fp16"), " is for CUDA and MPS: on a CPU use fp32 or bf16")
    return _DTYPES[precision]


_T = TypeVar("_T")


def _from_dict(kind: type[_T], values: dict[str, Any]) -> _T:
    """A flat dataclass from JSON values: lists become tuples, unknown keys are errors."""
    if not isinstance(values, dict):
        raise ValueError(f"{kind.__name__} must be a table of names and values")
    known = {f.name for f in dataclasses.fields(cast(Any, kind))}
    unknown = sorted(values.keys() - known)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r} of {kind.__name__}; known are {', '.join(sorted(known))}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
