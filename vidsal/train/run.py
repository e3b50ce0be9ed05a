"""A training configuration in, a trained checkpoint, a log and the state that a killed run goes on from out.

What happens at a step is a function of the configuration and the step's number alone (order of the pictures, clip
lengths, augmentation, dropout), so a run that was killed and resumed ends as an unbroken one does.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from vidsal.data.clips import Clip
from vidsal.data.recorded import RecordedClip
from vidsal.data.teacher import load_teacher_set
from vidsal.errors import CheckpointError, ConfigError, Setting
from vidsal.files import replacing
from vidsal.losses import LossOptions, map_loss
from vidsal.model.checkpoint import ModelCard, SaliencyModel, resolve_device, save_checkpoint
from vidsal.model.network import Network, Part
from vidsal.model.sam import SaliencyAttentiveModel, Unroll
from vidsal.model.state import VideoState
from vidsal.prefetch import prefetch
from vidsal.preprocess import Preprocessor
from vidsal.provenance import source_commit
from vidsal.train.adversarial import Adversary
from vidsal.train.options import TrainConfig, TrainProgress, saved_state
from vidsal.train.samples import OpenData, Step, make_plan, open_data, read_samples
from vidsal.train.score import has_validation, validate
from vidsal.train.start import check_canvas, first_network, make_optimizer, parameter_groups, rate_share

__all__ = ["TrainingRun", "part_loss", "train"]

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

_ASIDE = ("output", "checkpoint_every_steps", "device", "card", "weights_dtype")
"""What changes where a run writes or computes, or how its result is stored, but not what it learns."""

_NO_VALIDATION = (
    "There is nothing to validate on, so no pass is scored: stills need more pictures and validation_pictures other "
    "than 0, videos at least two clips or a validation_split."
)


def train(
    config: TrainConfig,
    *,
    on_progress: Callable[[TrainProgress], None] | None = None,
    stop_after_steps: int | None = None,
) -> Path:
    """Train, or go on with a run that was interrupted, and write the checkpoint.

    A run goes on from `output/state.pt` where it is there; with another configuration that is an error.

    Args:
        config: the run.
        on_progress: called after every step.
        stop_after_steps: save the state and return after so many steps of this call (for tests and time limits).

    Returns:
        The path of the checkpoint, or of the saved state where `stop_after_steps` ended the call early.

    Raises:
        ConfigError: the configuration contradicts itself or the run in `output`.
        DatasetError: a data set is not in its layout.
        CheckpointError: starting weights do not fit, or finished ones do not fit into `weights_dtype`.
    """
    device = resolve_device(config.device)
    if config.precision == "fp16" and device.type != "cuda":
        raise ConfigError("precision fp16 needs CUDA; use bf16 or fp32")
    data = open_data(config)
    _check(config, data)
    teacher = None if config.teacher_set is None else load_teacher_set(config.teacher_set)
    counts = [len(one.training) for one in data.videos]
    stretches = () if teacher is None else teacher.sequences
    plan = make_plan(len(data.training_stills), config, stretches, counts)
    said = (*(() if has_validation(config, data) else (_NO_VALIDATION,)), *_unmirrored(config, data))
    run = TrainingRun(config, device, len(plan), data=data)
    _make_folder(config.output)
    run.resume()
    first = run.step
    # A run that had ended early and was killed before it wrote its checkpoint has nothing left to learn.
    left = [] if run.out_of_patience else plan[first:]
    with prefetch(read_samples(left, data, teacher, config, run.preprocess), depth=4) as samples:
        for offset, clips in enumerate(samples):
            step = plan[first + offset]
            loss = run.train_step(step, clips)
            run.running = loss if run.running is None else 0.98 * run.running + 0.02 * loss
            last_of_pass = run.step == len(plan) or plan[run.step].pass_index != step.pass_index
            scores = run.end_pass(step.pass_index, run.running, data) if last_of_pass else None
            if on_progress:
                on_progress(
                    TrainProgress(
                        step=run.step,
                        steps=len(plan),
                        pass_number=step.pass_index + 1,
                        passes=config.schedule.passes,
                        loss=run.running,
                        scores=scores,
                        notes=(*((*run.notes, *said) if offset == 0 else ()), *run.patience_notes()),
                    )
                )
            stopping = stop_after_steps is not None and offset + 1 >= stop_after_steps
            if last_of_pass or stopping or run.step % config.checkpoint_every_steps == 0:
                run.save()
            if run.out_of_patience:
                break
            if stopping and run.step < len(plan):
                return run.state_path
    if run.best is not None:
        run.average.load_state_dict(run.best.weights)
    return run.finish(validate(run.inference_model(), data, config, pictures=None).scores)


def _check(config: TrainConfig, data: OpenData) -> None:
    """Options that contradict each other."""
    schedule = config.schedule
    if config.add_motion_channels and config.start_from is None:
        raise ConfigError("add_motion_channels goes with start_from; a new network has model.motion_channels")
    if config.start_from is not None and config.imagenet_weights is not None:
        raise ConfigError("start_from and imagenet_weights both say where to begin: leave one of them out")
    if schedule.optimizer == "rmsprop" and schedule.weight_decay != 0:
        raise ConfigError(f"rmsprop has no weight decay: set weight_decay to 0, got {schedule.weight_decay}")
    against = config.adversarial
    if against.discriminator and against.content_passes >= schedule.passes:
        raise ConfigError(
            Setting("content_passes"),
            f" must be below passes ({schedule.passes}), got {against.content_passes}: the discriminator would never "
            "be trained",
        )
    if schedule.early_stopping_patience is not None and not has_validation(config, data):
        raise ConfigError("early_stopping_patience needs validation pictures; there are none")


def _unmirrored(config: TrainConfig, data: OpenData) -> tuple[str, ...]:
    """What to say of sets whose pictures are never mirrored, though others are."""
    sets = [one.name for one in (*data.stills, *data.videos) if not all(each.may_be_mirrored for each in one.training)]
    if not sets or config.augment.flip_probability == 0:
        return ()
    return (f"Drives are never mirrored, since traffic keeps to one side: {', '.join(sets)}.",)


def _against_a_discriminator(config: TrainConfig) -> str:
    """What to say of a run with a discriminator."""
    return (
        f"Trained against a discriminator from pass {config.adversarial.content_passes + 1} on, with SalGAN's own "
        f"content loss before and beside it; the loss {config.loss.loss_name} only scores what is held out."
    )


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"output {output} is, or lies in, a file; name a folder") from error
    except OSError as error:
        raise ConfigError(f"the folder {output} cannot be made: {error.strerror}; choose another output") from error


@dataclass(frozen=True)
class _Best:
    """The pass with the lowest validation loss so far."""

    loss: float
    """That loss."""
    pass_number: int
    """From 1."""
    weights: dict[str, torch.Tensor]
    """After that pass, on the CPU."""


def _finite(value: Any) -> Any:
    """The same, with None for every number that JSON has no word for."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _values_of(config: TrainConfig) -> dict[str, Any]:
    """A configuration without what does not change the result."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in _ASIDE}


def _same_run(saved: Any, value: Any) -> bool:
    """Whether a saved configuration asks for what this one does; options younger than it must be at their default."""
    if isinstance(value, tuple) and isinstance(saved, list):
        return len(saved) == len(value) and all(_same_run(one, own) for one, own in zip(saved, value, strict=True))
    if not dataclasses.is_dataclass(value) or not isinstance(saved, dict):
        return bool(saved == json.loads(json.dumps(value, default=str)))
    defaults = {
        one.name: one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
        for one in dataclasses.fields(value)
        if one.name not in _ASIDE
    }
    if saved.keys() - defaults.keys():
        return False
    for name, default in defaults.items():
        own = getattr(value, name)
        if not (_same_run(saved[name], own) if name in saved else own == default):
            return False
    return True


def _protocol_of(config: TrainConfig) -> str:
    """How the scores on the card were made."""
    stills = "validation split, model resolution, one frame from the zero state"
    if not config.videos:
        return stills
    shown = ", ".join(f"every {video.frame_stride} of {video.layout}" for video in config.videos)
    most = "all" if config.validation_sequences is None else f"{config.validation_sequences} at most"
    recorded = (
        f"recorded video ({most} held-out sequences a set, frames shown: {shown}, the first {config.validation_frames} "
        "of each): model resolution, state carried"
    )
    return f"stills: {stills}; {recorded}" if config.datasets or config.stills else recorded


def _begins(clip: Clip) -> bool:
    """Nothing was seen before its first frame."""
    return not isinstance(clip, RecordedClip) or clip.begins


def part_loss(
    part: Part, density: torch.Tensor, counts: torch.Tensor, inside: torch.Tensor, *, options: LossOptions
) -> torch.Tensor:
    """The loss of a part of the canvas, as if it were the whole.

    Args:
        part: what the network says of it.
        density: (B, T, H, W), recorded, over the canvas.
        counts: (B, T, H, W), fixations.
        inside: (B, T, H, W) bool, where the canvas shows the picture.
        options: which loss.

    Returns:
        (B * T,) float32; 0 where nobody looked at that part.
    """
    rows, columns = slice(part.top, part.top + part.height), slice(part.left, part.left + part.width)
    size = (part.log_density.shape[-2], part.log_density.shape[-1])
    recorded, looks, shown = (
        F.adaptive_avg_pool2d(each[..., rows, columns].flatten(0, 1).float(), size)
        for each in (density, counts, inside)
    )
    mass = recorded.sum((1, 2), keepdim=True)
    return map_loss(
        part.log_density.flatten(0, 1),
        density=recorded / mass.clamp_min(torch.finfo(mass.dtype).tiny),
        counts=torch.where(mass > 0, looks, torch.zeros_like(looks)),
        inside=shown > 0,
        options=options,
    )


class TrainingRun:
    """The moving parts of a run: network, averaged network, optimiser, step."""

    def __init__(self, config: TrainConfig, device: torch.device, steps: int, *, data: OpenData | None = None) -> None:
        torch.manual_seed(config.seed)
        network, self.preprocess, self.notes, self.learnt = first_network(config, data)
        check_canvas(network, self.preprocess)
        network.freeze()
        self.config, self.device, self.steps = config, device, steps
        self.network: Network = network.to(device)
        for parameter in network.parameters():
            if parameter.ndim == 4:  # kernels over time know no such order
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        # Without averaging the network itself is what counts: a copy of SAM-ResNet would be 280 MB more.
        averages = config.schedule.average_decay > 0
        self.average = copy.deepcopy(self.network).requires_grad_(False) if averages else self.network
        # What a step shows lies on the canvas already, however pictures come there.
        self.preprocessor = Preprocessor(dataclasses.replace(self.preprocess, fit="letterbox"))
        groups = parameter_groups(network, config.schedule)
        self.peaks = [group["lr"] for group in groups]
        self.optimizer = make_optimizer(groups, config.schedule)
        self.adversary: Adversary | None = None
        if config.adversarial.discriminator:
            self.adversary = Adversary(self.network, config, self.preprocess, device)
            self.notes = (*self.notes, _against_a_discriminator(config))
        self.best: _Best | None = None
        self.passes_since_best = 0
        self.carried: VideoState | None = None
        self.running: float | None = None
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self.step = 0
        self.state_path = saved_state(config.output)
        self.log_path = config.output / "log.jsonl"

    def train_step(self, step: Step, clips: list[Clip]) -> float:
        """One step of the optimiser; returns the mean loss of its frames, with a discriminator the content loss."""
        self.network.train()
        if self.config.freeze_backbone_statistics and isinstance(self.network, SaliencyAttentiveModel):
            backbone = self.network.backbone
            for name, module in backbone.named_modules():
                # The statistics of new layers have to be learned.
                if isinstance(module, torch.nn.BatchNorm2d) and not backbone.is_new(name):
                    module.eval()
        torch.manual_seed(step.seed)  # dropout
        frames, density, counts, inside = self._tensors(clips, step)
        if self.adversary is not None:
            shown = (tensor.flatten(0, 1) for tensor in (frames, density, counts, inside))
            return self._adversarial_step(self.adversary, step, *shown)
        precision, mixed = self.config.precision, self.config.precision != "fp32"
        with torch.autocast(self.device.type, _DTYPES[precision] if mixed else torch.bfloat16, enabled=mixed):
            log_density, state, parts = self.network.rehearse(
                frames,
                self.carried if step.window is not None and step.window.number > 0 else None,
                unroll=Unroll.of(
                    self._fresh(clips, step),
                    fresh_steps=self.network.config.steps,
                    lengths=[clip.length if isinstance(clip, RecordedClip) else step.times for clip in clips],
                ),
                # In use such a network is shown no bars beside the picture.
                inside=inside if self.preprocess.fit == "inside" else None,
            )
        if step.window is not None:
            # Values go on to the next window, gradients do not come back from it.
            self.carried = state.detach()
        losses = map_loss(
            log_density.flatten(0, 1),
            density=density.flatten(0, 1),
            counts=counts.flatten(0, 1),
            inside=inside.flatten(0, 1),
            options=self.config.loss,
        )
        for part in parts:
            losses = losses + part_loss(part, density, counts, inside, options=self.config.loss)
        if step.window is None:
            loss = losses.mean()
        else:
            loss = losses.sum() / (counts.flatten(2).sum(2) > 0).sum().clamp_min(1)
        self._move(loss, self.network, self.optimizer, self.peaks)
        self.step += 1
        self._update_average()
        return float(loss.detach())

    def _adversarial_step(
        self,
        adversary: Adversary,
        step: Step,
        frames: torch.Tensor,
        density: torch.Tensor,
        counts: torch.Tensor,
        inside: torch.Tensor,
    ) -> float:
        """A step of the generator or of its discriminator; the other one gets no gradient and does not move."""
        mixed = self.config.precision != "fp32"
        dtype = _DTYPES[self.config.precision] if mixed else torch.bfloat16
        turn = adversary.turn(self.step, step.pass_index)
        theirs = turn == "discriminator"
        for optimizer in (self.optimizer, adversary.optimizer):
            optimizer.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(not theirs), torch.autocast(self.device.type, dtype, enabled=mixed):
            logits = adversary.network.logits(frames)
        judged = adversary.judge(turn, logits, frames=frames, density=density, counts=counts, inside=inside)
        if theirs:
            self._move(judged.moved, adversary.discriminator, adversary.optimizer, adversary.peaks)
        else:
            self._move(judged.moved, self.network, self.optimizer, self.peaks)
        self.step += 1
        if not theirs:
            self._update_average()
        return float(judged.content.detach())

    def _move(
        self, loss: torch.Tensor, network: torch.nn.Module, optimizer: torch.optim.Optimizer, peaks: list[float]
    ) -> None:
        """One step of an optimiser, at the rate of this step of the run."""
        schedule = self.config.schedule
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * rate_share(self.step, self.steps, schedule)
        optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if schedule.clip_gradient_norm > 0:
            self.scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.clip_gradient_norm)
        self.scaler.step(optimizer)
        self.scaler.update()

    def _fresh(self, clips: list[Clip], step: Step) -> list[list[bool]]:
        """Which frames start from zero: the first of a clip that begins, and those after a cut that is not missed."""
        random = np.random.default_rng([step.seed, 2**21])
        missed = random.random((len(clips), step.times)) < self.config.schedule.undetected_cut_probability
        return [
            [(t == 0 and _begins(clip)) or bool(clip.cut[t] and not missed[row, t]) for t in range(step.times)]
            for row, clip in enumerate(clips)
        ]

    def _tensors(self, clips: list[Clip], step: Step) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        frames, density, counts = (
            np.stack([getattr(clip, name) for clip in clips]) for name in ("frames", "density", "counts")
        )
        inside = np.zeros(density.shape, np.bool_)
        for row, clip in zip(inside, clips, strict=True):
            view = clip.viewport
            row[:, view.top : view.top + view.height, view.left : view.left + view.width] = True
        random = np.random.default_rng([step.seed, 2**20])
        swapped = random.random(len(clips)) < self.config.schedule.undetected_cut_probability
        if step.times > 1 and len(clips) > 1 and all(map(_begins, clips)):
            # The first frame is another picture's, the state is carried over all the same: a missed cut.
            source = np.where(swapped, (np.arange(len(clips)) + 1) % len(clips), np.arange(len(clips)))
            for array in (frames, density, counts, inside):
                array[:, 0] = array[source, 0]
        batch = self.preprocessor(frames.reshape(-1, *frames.shape[2:]), device=self.device)
        tensors = [torch.from_numpy(array).to(self.device) for array in (density, counts, inside)]
        return batch.reshape(len(clips), step.times, *batch.shape[1:]), tensors[0], tensors[1], tensors[2]

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is self.network:
            return
        # Early on the average follows closely, so that it does not remember the random start.
        decay = min(self.config.schedule.average_decay, (1 + self.step) / (10 + self.step))
        own = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(own[name], 1 - decay)
            else:
                value.copy_(own[name])

    def inference_model(self) -> SaliencyModel:
        """The averaged network, ready to score."""
        network = copy.deepcopy(self.average)
        card = ModelCard(name=self.config.card.name, task=self.config.card.task)
        return SaliencyModel(network, preprocess=self.preprocess, card=card, device=self.device)

    def end_pass(self, pass_index: int, loss: float, data: OpenData) -> dict[str, dict[str, float]]:
        """Score, log, and remember the weights where their validation loss is the lowest so far."""
        held_out = validate(self.inference_model(), data, self.config, pictures=self.config.validation_pictures)
        entry: dict[str, Any] = {"pass": pass_index + 1, "step": self.step, "loss": loss, "validation": held_out.scores}
        if self.adversary is not None:
            entry["discriminator_loss"] = self.adversary.running
        if self.config.schedule.early_stopping_patience is not None:
            entry["validation_loss"] = held_out.loss
            if math.isfinite(held_out.loss) and (self.best is None or held_out.loss < self.best.loss):
                weights = {name: value.to("cpu", copy=True) for name, value in self.average.state_dict().items()}
                self.best, self.passes_since_best = _Best(held_out.loss, pass_index + 1, weights), 0
            else:
                self.passes_since_best += 1
        self.log(entry)
        return held_out.scores

    @property
    def out_of_patience(self) -> bool:
        """True once so many passes in a row brought nothing that the run ends."""
        patience = self.config.schedule.early_stopping_patience
        return patience is not None and self.passes_since_best >= patience

    def patience_notes(self) -> tuple[str, ...]:
        """What a run that ends early says."""
        if not self.out_of_patience:
            return ()
        passes = "1 pass" if self.passes_since_best == 1 else f"{self.passes_since_best} passes"
        kept = "none was finite" if self.best is None else f"the weights of pass {self.best.pass_number} are kept"
        return (f"Ended early: no lower validation loss in {passes}; {kept}.",)

    def save(self) -> None:
        """Write all that a resumed run needs, whole or not at all.

        Raises:
            EncodeError: it cannot be written.
        """
        state = {
            "config": json.dumps(_values_of(self.config), default=str, sort_keys=True),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": None if self.average is self.network else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "adversary": None if self.adversary is None else self.adversary.state_dict(),
            "best": None if self.best is None else vars(self.best),
            "passes_since_best": self.passes_since_best,
            "carried": None if self.carried is None else vars(self.carried),
            "running": self.running,
        }
        # An open file: of a path that cannot be written, torch does not say why.
        with replacing(self.state_path, also=(RuntimeError,), durable=True) as partial, partial.open("wb") as file:
            torch.save(state, file)

    def resume(self) -> None:
        """Take over a saved state of the same configuration, if there is one, and cut the log back to it."""
        if self.state_path.exists():
            try:
                saved = torch.load(self.state_path, map_location=self.device, weights_only=True)
            except Exception as error:  # of a file that is no pickle: KeyError, TypeError, struct.error and so on
                raise CheckpointError(f"{self.state_path}: cannot be resumed from ({error}); delete it") from error
            if not _same_run(json.loads(saved["config"]), self.config):
                raise ConfigError(
                    f"{self.state_path} belongs to a run with another configuration; "
                    "choose another output folder or delete it"
                )
            self.network.load_state_dict(saved["network"])
            if self.average is not self.network:
                self.average.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.scaler.load_state_dict(saved["scaler"])
            if self.adversary is not None:
                self.adversary.load_state_dict(saved["adversary"])
            self.step = saved["step"]
            if saved.get("best") is not None:
                weights = {name: value.cpu() for name, value in saved["best"]["weights"].items()}
                self.best = _Best(**(saved["best"] | {"weights": weights}))
            self.passes_since_best = saved.get("passes_since_best", 0)
            self.running = saved.get("running")
            if saved.get("carried") is not None:
                self.carried = self.network.state_type(**saved["carried"])
        lines = self.log_path.read_text().splitlines() if self.log_path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.step]
        with replacing(self.log_path) as partial:
            partial.write_text("".join(line + "\n" for line in kept))

    def log(self, entry: dict[str, Any]) -> None:
        """Append a line to the log; what is not finite, such as a score that does not exist, is null there."""
        with self.log_path.open("a") as stream:
            line = {**_finite(entry), "time": time.strftime("%Y-%m-%dT%H:%M:%S")}
            stream.write(json.dumps(line, allow_nan=False) + "\n")

    def finish(self, scores: dict[str, dict[str, float]]) -> Path:
        """Write the averaged network as a checkpoint with its card; `scores` by set and metric.

        Raises:
            CheckpointError: the weights do not fit into `weights_dtype`.
        """
        config, words = self.config, self.config.card
        taught = words.teacher if config.teacher_set is not None else ()
        imagenet = words.imagenet if config.imagenet_weights is not None else ""
        # What the starting weights were trained on went into these, too.
        data = dict.fromkeys((*words.training_data, *taught, *self.learnt))
        recipe = _values_of(config)
        if self.best is not None:
            recipe["best_pass"] = self.best.pass_number
        card = ModelCard(
            name=words.name,
            description=words.description,
            licence=words.licence,
            training_data=tuple(data),
            initialisation=" ".join(text for text in (words.initialisation, imagenet, *self.notes) if text),
            # Of paths only the names, which mean something elsewhere too.
            training=json.dumps(recipe, default=lambda path: Path(path).name, sort_keys=True),
            commit=source_commit(),
            scores=scores,
            protocol=_protocol_of(config),
            limits=words.limits,
            task=words.task,
        )
        path = config.output / f"{words.name}.safetensors"
        dtype = _DTYPES[config.weights_dtype]
        largest = torch.finfo(dtype).max
        for name, value in self.average.state_dict().items():
            # In half precision it would become infinite in silence, a batch norm's variance first.
            if value.is_floating_point() and value.abs().max() > largest:
                raise CheckpointError(
                    f"{name} holds {float(value.abs().max()):.3g}, more than {config.weights_dtype} can: run the "
                    "same command with ",
                    Setting("weights_dtype", "fp32"),
                    "; it goes on from the saved state",
                )
        save_checkpoint(path, self.average, preprocess=self.preprocess, card=card, dtype=dtype)
        return path
