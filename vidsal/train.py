"""A training configuration in, a trained checkpoint and a log of validation scores out.

What happens at a step is a function of the configuration and the step's number alone (order of the pictures, clip
lengths, augmentation, dropout), so a run that was killed and resumed ends as an unbroken one does.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vidsal.data.clips import AugmentOptions, Clip, make_clip
from vidsal.data.fixations import Still, density_from_fixations, fixation_counts, load_stills, split_stills
from vidsal.data.layouts import Sequence as RecordedSequence
from vidsal.data.recorded import RecordedClip, VideoSet, open_videos, read_windows
from vidsal.data.teacher import TeacherSet, load_teacher_set
from vidsal.errors import CheckpointError, ConfigError
from vidsal.evaluate import score_stills
from vidsal.losses import LossOptions, sam_loss
from vidsal.metrics import ScoreMeter
from vidsal.model.backbones import DilatedResNet50
from vidsal.model.checkpoint import PRESETS, ModelCard, SaliencyModel, read_checkpoint, resolve_device, save_checkpoint
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig, SAMState
from vidsal.prefetch import prefetch
from vidsal.preprocess import PreprocessOptions, Preprocessor
from vidsal.provenance import source_commit

_Pixels = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]

# What torch's restricted unpickler lets out when it meets a file that is none.
_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    struct.error,
    pickle.UnpicklingError,
)

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

# What changes where a run writes or computes, or how its result is stored, but not what it learns.
_ASIDE = ("output", "checkpoint_every_steps", "device", "card", "weights_dtype")

__all__ = [
    "CardText",
    "ScheduleOptions",
    "TrainConfig",
    "TrainProgress",
    "saved_state",
    "score_recorded",
    "score_sets",
    "train",
    "validation_loss",
]


def _check_counts(options: Any, **least: int) -> None:
    """Options, by name, that must be None or at least so many."""
    for name, bound in least.items():
        value = getattr(options, name)
        if value is not None and value < bound:
            raise ConfigError(f"{name} must be at least {bound}, got {value}")


@dataclass(frozen=True)
class ScheduleOptions:
    """How long, how fast."""

    passes: int = 14
    """Times every training picture is shown."""
    frames_per_step: int = 16
    """Frames in a step; a clip of T frames counts T."""
    clip_lengths: dict[int, float] = field(default_factory=lambda: {1: 0.5, 2: 0.3, 4: 0.2})
    """Frames of a clip and how often a step uses that length."""
    undetected_cut_probability: float = 0.1
    """Chance that a clip's first frame comes from another picture, so that the carried state is a foreign one; and
    that a cut inside a clip is not marked."""
    teacher_share: float = 0.5
    """Share of the frames that come from the teacher set, where there is one."""
    teacher_weight: float = 0.5
    """What the teacher's density counts beside recorded fixations where a teacher set has both, 0 to 1."""
    video_share: float = 0.5
    """Share of the frames that come from recorded video, where there is some beside stills; the stills have what this
    and `teacher_share` leave."""
    window_frames: int = 4
    """Frames of recorded video between two steps of the optimiser: so far gradients go back in time."""
    windows_per_sequence: int = 4
    """Windows of a sequence, one behind the other, the state carried from each to the next, before another sequence
    is drawn."""
    learning_rate: float = 1e-3
    """Highest rate of the new layers."""
    backbone_learning_rate: float = 1e-4
    """Highest rate of the backbone."""
    optimizer: Literal["adamw", "rmsprop"] = "adamw"
    """"adamw", or "rmsprop" with Keras's constants (rho .9, epsilon 1e-8), as the authors of SAM."""
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    """"one_cycle": up over `warmup_share`, then down on a cosine; "cosine": down from the start; "constant"."""
    warmup_share: float = 0.15
    """Share of the steps in which a one-cycle schedule rises."""
    weight_decay: float = 1e-2
    """AdamW's decay of convolution weights (norms, biases and priors are left alone); 0 for "rmsprop"."""
    clip_gradient_norm: float = 5.0
    """Longer gradients are scaled down to this norm; 0 leaves all as they are."""
    average_decay: float = 0.998
    """Decay a step of the running average of the weights, which is what is scored and saved; 0 switches it off."""
    early_stopping_patience: int | None = None
    """Passes in a row without a lower validation loss after which the run ends, with the weights of the best pass;
    None runs all passes and takes the last weights."""

    def __post_init__(self) -> None:
        _check_counts(self, passes=1, frames_per_step=1, window_frames=1, windows_per_sequence=1)
        # What is not a number fails every comparison.
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"learning_rate must be above 0 and finite, got {self.learning_rate}")
        for name in ("backbone_learning_rate", "weight_decay", "clip_gradient_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        for name in ("undetected_cut_probability", "teacher_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        for name in ("teacher_share", "video_share", "warmup_share", "average_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be from 0 to below 1, got {getattr(self, name)}")
        shares = self.clip_lengths.values()
        if (
            min(self.clip_lengths, default=0) < 1
            or not all(0 <= share < math.inf for share in shares)
            or not sum(shares)
        ):
            raise ConfigError(f"clip_lengths maps lengths of at least 1 to shares, got {self.clip_lengths}")
        patience = self.early_stopping_patience
        if patience is not None and patience < 1:
            raise ConfigError(f"early_stopping_patience must be at least 1, or none to run all passes; got {patience}")


@dataclass(frozen=True)
class CardText:
    """The words of the model card."""

    name: str = "unnamed"
    """Name of the model."""
    description: str = ""
    """What it is."""
    licence: str = ""
    """Licence of the weights."""
    training_data: tuple[str, ...] = ()
    """Each data set with its source and licence."""
    teacher: tuple[str, ...] = ()
    """Whose densities a teacher set holds, of what, and what that teacher was trained on; on the card beside
    `training_data`, and only where `teacher_set` is given."""
    initialisation: str = ""
    """Where the first weights come from."""
    imagenet: str = ""
    """Source and licence of the backbone's weights; on the card only where `imagenet_weights` is given."""
    limits: tuple[str, ...] = ()
    """What it is not good for."""


@dataclass(frozen=True)
class TrainConfig:
    """A whole training run."""

    output: Path
    """Folder for the log, the state to resume from and the final checkpoint."""
    datasets: tuple[Path, ...] = ()
    """Folders in the simple layout (`images/` and `fixations.csv.gz`); relative ones start at the working folder."""
    videos: tuple[VideoSet, ...] = ()
    """Recorded video with gaze, in the layouts of docs/layouts.md; steps on it come between those on stills."""
    preset: Literal["sam-lite", "sam-resnet", "sam-vgg"] = "sam-lite"
    """The architecture to start from, with its preprocessing."""
    model: SAMConfig | None = None
    """Another architecture than the preset's."""
    preprocess: PreprocessOptions | None = None
    """Another input than the preset's."""
    imagenet_weights: Path | None = None
    """torchvision state dict of the backbone (.pth or .safetensors); None starts from random weights."""
    start_from: Path | None = None
    """vidsal checkpoint to fine-tune instead; its architecture and preprocessing are taken, not those named here."""
    add_motion_channels: int = 0
    """Gives the network of `start_from` a motion branch of so many channels, at first without effect; 0 leaves the
    network as it is."""
    condition: str | None = None
    """Only fixations with this value in the column `condition`."""
    teacher_set: Path | None = None
    """Pictures with a teacher's densities (`vidsal.data.teacher`), a file or a folder of parts; steps on them come
    between those on recorded fixations."""
    freeze_backbone_statistics: bool = True
    """Keep the batch norms of the backbone at their ImageNet statistics."""
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    """What is done to the pictures."""
    loss: LossOptions = field(default_factory=LossOptions)
    """Weights of the loss."""
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    """How long, how fast."""
    seed: int = 0
    """Everything random follows from it."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """"bf16" and "fp16" train under autocast ("fp16" with loss scaling, CUDA only)."""
    checkpoint_every_steps: int = 50
    """Steps between two saved states."""
    weights_dtype: Literal["fp16", "bf16", "fp32"] = "fp16"
    """How the finished checkpoint stores the weights."""
    validation_pictures: int | None = None
    """Score only the first so many validation pictures of each set after a pass; None scores all."""
    validation_sequences: int | None = 8
    """Score only so many validation sequences of each set of videos, evenly spread; None scores all."""
    validation_frames: int = 64
    """Score only the first so many shown frames of each."""
    card: CardText = field(default_factory=CardText)
    """The words of the model card."""

    def __post_init__(self) -> None:
        _check_counts(self, seed=0, add_motion_channels=0, checkpoint_every_steps=1)
        _check_counts(self, validation_pictures=0, validation_sequences=1, validation_frames=1)


@dataclass(frozen=True)
class TrainProgress:
    """What a display needs."""

    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    pass_number: int
    """Passes begun, from 1."""
    passes: int
    """Passes in all."""
    loss: float
    """Running mean of the loss over about 50 steps."""
    scores: dict[str, dict[str, float]] | None
    """Validation scores, set to metric to value, right after a pass; else None."""
    notes: tuple[str, ...] = ()
    """Sentences to show once: with the first step of a call how the starting weights fit, or that there are none, and
    whether there is nothing to validate on, with the last step that the run ended early; else empty."""


@dataclass(frozen=True)
class _Best:
    loss: float
    pass_number: int
    weights: dict[str, torch.Tensor]


@dataclass(frozen=True)
class _Window:
    number: int
    """Of the windows of its sequences, from 0."""
    seed: int
    """The same for all of them."""


@dataclass(frozen=True)
class _Step:
    pass_index: int
    stills: tuple[int, ...]
    """Ordinals of stills, of stretches of the teacher set, or of recorded sequences."""
    times: int
    seed: int
    taught: bool = False
    """The samples are the teacher's."""
    window: _Window | None = None
    """Where the samples are recorded video: which part of it."""


@dataclass(frozen=True)
class _Videos:
    """One set of recorded video."""

    options: VideoSet
    name: str
    training: tuple[RecordedSequence, ...]
    validation: tuple[RecordedSequence, ...]


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
        DatasetError: a data set is not in the simple layout.
        CheckpointError: starting weights do not fit, or finished ones do not fit into `weights_dtype`.
    """
    device = resolve_device(config.device)
    if config.precision == "fp16" and device.type != "cuda":
        raise ConfigError("precision fp16 needs CUDA; use bf16 or fp32")
    training, validation = _load_data(config)
    videos = _open_videos(config)
    _check(config, validation, videos)
    teacher = None if config.teacher_set is None else load_teacher_set(config.teacher_set)
    counts = [len(one.training) for one in videos]
    plan = _plan(len(training), config, () if teacher is None else teacher.sequences, counts)
    unscored = () if _has_validation(config, validation, videos) else (_NO_VALIDATION,)
    run = _Run.start(config, device, len(plan))
    _make_folder(config.output)
    run.resume()
    first = run.step
    # A run that had ended early and was killed before it wrote its checkpoint has nothing left to learn.
    left = [] if run.out_of_patience else plan[first:]
    with prefetch(_samples(left, training, teacher, videos, config, run.preprocess), depth=4) as samples:
        for offset, clips in enumerate(samples):
            step = plan[first + offset]
            loss = run.train_step(step, clips)
            run.running = loss if run.running is None else 0.98 * run.running + 0.02 * loss
            last_of_pass = run.step == len(plan) or plan[run.step].pass_index != step.pass_index
            scores = run.end_pass(step.pass_index, run.running, validation, videos) if last_of_pass else None
            if on_progress:
                on_progress(
                    TrainProgress(
                        step=run.step,
                        steps=len(plan),
                        pass_number=step.pass_index + 1,
                        passes=config.schedule.passes,
                        loss=run.running,
                        scores=scores,
                        notes=(*((*run.notes, *unscored) if offset == 0 else ()), *run.patience_notes()),
                    )
                )
            stopping = stop_after_steps is not None and offset + 1 >= stop_after_steps
            if last_of_pass or stopping or run.step % config.checkpoint_every_steps == 0:
                run.save()
            if run.out_of_patience:
                break
            if stopping and run.step < len(plan):
                return run.state_path
    run.take_best()
    model = run.inference_model()
    recorded, _ = _validate_recorded(model, videos, config)
    return run.finish(score_sets(model, validation, limit=None) | recorded)


def saved_state(output: Path) -> Path:
    """Where a run with this `output` keeps the state from which it goes on."""
    return output / "state.pt"


def score_sets(model: SaliencyModel, stills: list[Still], *, limit: int | None) -> dict[str, dict[str, float]]:
    """Mean scores of each set of stills, at the model's resolution."""
    by_set: dict[str, list[Still]] = {}
    for still in stills:
        by_set.setdefault(still.set_name, []).append(still)
    return {name: score_stills(model, members[:limit], resolution="model") for name, members in by_set.items()}


def score_recorded(
    model: SaliencyModel,
    sequences: Sequence[RecordedSequence],
    *,
    options: LossOptions,
    stride: int = 1,
    frames: int | None = None,
) -> tuple[dict[str, float], float]:
    """Mean scores and mean loss over recorded video, the state carried as at run time, at the model's resolution.

    Args:
        model: the model.
        sequences: the videos; each starts afresh, and so does what follows a cut that is found.
        options: weights of the loss.
        stride: every so many frames are shown.
        frames: only the first so many shown frames of each; None takes all.

    Returns:
        The mean over the labelled frames of each metric of `vidsal.metrics.ScoreMeter` (NaN for those that need points
        where none were recorded); and of the loss, NaN where no frame has a label.
    """
    meter = ScoreMeter()
    preprocess = model.preprocessor.options
    total, count = 0.0, 0
    for sequence in sequences:
        state: SAMState | None = None
        left = frames
        # Windows of a fixed length keep the memory bounded; where they end changes nothing.
        for clip in read_windows(sequence, frames=8, stride=stride, preprocess=preprocess):
            shown = clip.length if left is None else min(left, clip.length)
            pixels, density, counts, inside = _arrays([clip])
            fresh = [[(t == 0 and clip.begins) or bool(clip.cut[t]) for t in range(shown)]]
            log_density, state = model(
                model.preprocessor(pixels[0, :shown], device=model.device)[None], state, fresh=fresh
            )
            on_device = [torch.from_numpy(array[0, :shown]).to(model.device) for array in (density, counts, inside)]
            losses = sam_loss(
                log_density[0], density=on_device[0], counts=on_device[1], inside=on_device[2], options=options
            )
            labelled = np.asarray(counts[0, :shown].any((1, 2)))
            total, count = total + float(losses.sum()), count + int(labelled.sum())
            _add_scores(meter, log_density[0].float().cpu(), clip, labelled)
            if left is not None and (left := left - shown) <= 0:
                break
    return meter.mean(), total / count if count else math.nan


def _add_scores(meter: ScoreMeter, log_density: torch.Tensor, clip: RecordedClip, labelled: npt.NDArray[Any]) -> None:
    """The labelled ones of a window's frames, the picture only."""
    chosen = np.flatnonzero(labelled)
    if not len(chosen):
        return
    view = clip.viewport
    rows, columns = slice(view.top, view.top + view.height), slice(view.left, view.left + view.width)
    points = clip.counts[chosen, rows, columns] * clip.has_points[chosen, None, None]
    meter.update(
        view.crop(log_density[chosen]).exp(),
        torch.from_numpy(clip.density[chosen, rows, columns]),
        torch.from_numpy(points),
    )


def _validate_recorded(
    model: SaliencyModel, videos: Sequence[_Videos], config: TrainConfig
) -> tuple[dict[str, dict[str, float]], float]:
    """Scores of each set of videos, and the mean of their losses (NaN without any)."""
    scores: dict[str, dict[str, float]] = {}
    losses = []
    for one in videos:
        if not one.validation:
            continue
        limit = config.validation_sequences
        count = len(one.validation) if limit is None else min(limit, len(one.validation))
        chosen = [one.validation[place * len(one.validation) // count] for place in range(count)]
        scores[one.name], loss = score_recorded(
            model, chosen, options=config.loss, stride=one.options.frame_stride, frames=config.validation_frames
        )
        losses.append(loss)
    return scores, float(np.mean(losses)) if losses else math.nan


def validation_loss(
    model: SaliencyModel, stills: list[Still], *, options: LossOptions, limit: int | None = None
) -> float:
    """Mean loss over stills, each whole and unchanged, as a single frame from the zero state.

    Args:
        model: the model.
        stills: the pictures of all sets.
        options: weights of the loss.
        limit: only the first so many of each set; None takes all.
    """
    seen: dict[str, int] = {}
    total, count = 0.0, 0
    for still in stills:
        seen[still.set_name] = seen.get(still.set_name, 0) + 1
        if limit is not None and seen[still.set_name] > limit:
            continue
        preprocess = model.preprocessor.options
        clip = make_clip(still, times=1, preprocess=preprocess, augment=None, random=np.random.default_rng(0))
        frames, density, counts, inside = _arrays([clip])
        log_density, _ = model(model.preprocessor(frames[0], device=model.device)[None])
        on_device = [torch.from_numpy(array[0]).to(model.device) for array in (density, counts, inside)]
        loss = sam_loss(log_density[0], density=on_device[0], counts=on_device[1], inside=on_device[2], options=options)
        total, count = total + float(loss), count + 1
    return total / count


def _check(config: TrainConfig, validation: list[Still], videos: Sequence[_Videos] = ()) -> None:
    """Options that contradict each other."""
    schedule = config.schedule
    if config.add_motion_channels and config.start_from is None:
        raise ConfigError("add_motion_channels goes with start_from; a new network has model.motion_channels")
    if config.start_from is not None and config.imagenet_weights is not None:
        raise ConfigError("start_from and imagenet_weights both say where to begin: leave one of them out")
    if schedule.optimizer == "rmsprop" and schedule.weight_decay != 0:
        raise ConfigError(f"rmsprop has no weight decay: set weight_decay to 0, got {schedule.weight_decay}")
    if schedule.early_stopping_patience is not None and not _has_validation(config, validation, videos):
        raise ConfigError("early_stopping_patience needs validation pictures; there are none")


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"output {output} is, or lies in, a file; name a folder") from error
    except OSError as error:
        raise ConfigError(f"the folder {output} cannot be made: {error.strerror}; choose another output") from error


_RANDOM_WEIGHTS = (
    "The run begins from random weights, the backbone's too: neither imagenet_weights nor start_from is given."
)

_NO_VALIDATION = (
    "There is nothing to validate on, so no pass is scored: stills need more pictures and validation_pictures other "
    "than 0, videos at least two clips or a validation_split."
)


def _has_validation(config: TrainConfig, validation: list[Still], videos: Sequence[_Videos]) -> bool:
    stills = bool(validation) and config.validation_pictures != 0
    return stills or any(one.validation for one in videos)


def _load_data(config: TrainConfig) -> tuple[list[Still], list[Still]]:
    if not config.datasets:
        if not config.videos:
            raise ConfigError("datasets is empty, and so is videos: name at least one folder")
        return [], []
    stills = [still for root in config.datasets for still in load_stills(root, condition=config.condition)]
    training, validation = split_stills(stills, "train"), split_stills(stills, "val")
    if not training:
        raise ConfigError("no training pictures: all fell into the validation split")
    return training, validation


def _open_videos(config: TrainConfig) -> list[_Videos]:
    layouts = [video.layout for video in config.videos]
    opened = []
    for place, video in enumerate(config.videos):
        twice = layouts.count(video.layout) > 1
        name = f"{video.layout}-{layouts[:place].count(video.layout) + 1}" if twice else video.layout
        opened.append(_Videos(video, name, *open_videos(video)))
    return opened


def _plan(
    count: int, config: TrainConfig, stretches: Sequence[range] = (), sequences: Sequence[int] = ()
) -> list[_Step]:
    """Every step of the run: which samples, how long, which seed.

    Args:
        count: number of stills.
        config: the run.
        stretches: of the teacher set.
        sequences: how many each set of recorded video has.
    """
    schedule = config.schedule
    lengths = list(schedule.clip_lengths)
    shares = np.array([schedule.clip_lengths[n] for n in lengths], np.float64)
    if (count or stretches) and schedule.frames_per_step < max(lengths):
        raise ConfigError(
            f"frames_per_step must be at least the longest of clip_lengths, {max(lengths)}; got "
            f"{schedule.frames_per_step}"
        )
    if sequences and schedule.window_frames > schedule.frames_per_step:
        raise ConfigError(
            f"window_frames must be from 1 to frames_per_step ({schedule.frames_per_step}), got "
            f"{schedule.window_frames}"
        )
    teacher_share = schedule.teacher_share if stretches else 0.0
    video_share = schedule.video_share if sequences and count else 0.0
    rest = 1 - teacher_share - video_share
    if rest <= 0:
        raise ConfigError(
            f"teacher_share and video_share leave nothing for stills: {teacher_share:g} + {video_share:g} must be "
            "below 1"
        )
    random = np.random.default_rng([config.seed, 1])
    teacher_random = np.random.default_rng([config.seed, 2])
    video_random = np.random.default_rng([config.seed, 3])
    windows = _window_steps(sequences, config, video_random) if sequences else iter(())
    plan: list[_Step] = []

    def beside(pass_index: int) -> None:
        """What comes after a step on stills (on video, where there are none)."""
        if stretches:
            for _ in range(int(teacher_share / rest + teacher_random.random())):
                plan.append(_teacher_step(pass_index, lengths, shares, stretches, schedule, teacher_random))
        if video_share:
            for step in islice(windows, int(video_share / rest + video_random.random())):
                plan.append(dataclasses.replace(step, pass_index=pass_index))

    for pass_index in range(schedule.passes):
        order = random.permutation(count).tolist()
        while order:
            times = int(random.choice(lengths, p=shares / shares.sum()))
            size = schedule.frames_per_step // times
            chosen, order = order[:size], order[size:]
            plan.append(_Step(pass_index, tuple(chosen), times, int(random.integers(2**31))))
            beside(pass_index)
        if not count:
            for step in islice(windows, _windows_of_a_pass(sum(sequences), schedule)):
                plan.append(dataclasses.replace(step, pass_index=pass_index))
                beside(pass_index)
    return plan


def _windows_of_a_pass(sequences: int, schedule: ScheduleOptions) -> int:
    """Steps in which every recorded sequence is drawn once."""
    at_once = min(sequences, schedule.frames_per_step // schedule.window_frames)
    return math.ceil(sequences / at_once) * schedule.windows_per_sequence


def _window_steps(sequences: Sequence[int], config: TrainConfig, random: np.random.Generator) -> Iterator[_Step]:
    """Steps on recorded video without end: all windows of some sequences, then of others.

    Each set shows all of its sequences before any comes again; how often a set is drawn is its share.
    """
    schedule = config.schedule
    shares = np.array([video.share for video in config.videos], np.float64)
    first = np.cumsum([0, *sequences])
    waiting: list[list[int]] = [[] for _ in sequences]
    at_once = min(sum(sequences), schedule.frames_per_step // schedule.window_frames)
    while True:
        chosen = []
        for _ in range(at_once):
            place = int(random.choice(len(sequences), p=shares / shares.sum()))
            if not waiting[place]:
                waiting[place] = (first[place] + random.permutation(sequences[place])).tolist()
            chosen.append(waiting[place].pop())
        seed = int(random.integers(2**31))
        for number in range(schedule.windows_per_sequence):
            own = int(random.integers(2**31))
            yield _Step(0, tuple(chosen), schedule.window_frames, own, window=_Window(number, seed))


def _teacher_step(
    pass_index: int,
    lengths: list[int],
    shares: npt.NDArray[np.float64],
    stretches: Sequence[range],
    schedule: ScheduleOptions,
    random: np.random.Generator,
) -> _Step:
    """A step on stretches of the teacher set that are long enough; single pictures as often as they are there."""
    frames = np.array([len(stretch) for stretch in stretches], np.float64)
    times = int(random.choice(lengths, p=shares / shares.sum()))
    long_enough = frames >= times
    if times > 1 and random.random() > frames[long_enough].sum() / frames.sum():
        times, long_enough = 1, frames >= 1
    odds = np.where(long_enough, frames, 0.0)
    size = min(schedule.frames_per_step // times, int(long_enough.sum()))
    chosen = random.choice(len(stretches), size=size, replace=False, p=odds / odds.sum())
    return _Step(pass_index, tuple(chosen.tolist()), times, int(random.integers(2**31)), taught=True)


def _samples(
    plan: list[_Step],
    stills: list[Still],
    teacher: TeacherSet | None,
    videos: Sequence[_Videos],
    config: TrainConfig,
    preprocess: PreprocessOptions,
) -> Iterator[list[Clip]]:
    recorded = _Recorded(videos, config, preprocess)
    for step in plan:
        if step.window is not None:
            yield recorded.samples(step, step.window)
            continue
        seeds = [(index, np.random.default_rng([step.seed, place])) for place, index in enumerate(step.stills)]
        if step.taught and teacher is not None:
            yield [_taught_clip(teacher, index, step.times, config, random) for index, random in seeds]
            continue
        yield [
            make_clip(
                stills[index],
                times=step.times,
                preprocess=preprocess,
                augment=config.augment,
                random=random,
                others=lambda drawn: stills[int(drawn.integers(len(stills)))],
            )
            for index, random in seeds
        ]


class _Recorded:
    """The windows of recorded sequences, read in order."""

    def __init__(self, videos: Sequence[_Videos], config: TrainConfig, preprocess: PreprocessOptions) -> None:
        self._sequences = [(one.options.frame_stride, sequence) for one in videos for sequence in one.training]
        self._config, self._preprocess = config, preprocess
        self._open: list[Iterator[RecordedClip]] = []

    def samples(self, step: _Step, window: _Window) -> list[Clip]:
        """The windows of a step. A run that was resumed in the middle of sequences reads them from their beginning."""
        if window.number == 0 or not self._open:
            self._open = [self._read(index, [window.seed, place]) for place, index in enumerate(step.stills)]
            for _ in range(window.number):
                for windows in self._open:
                    next(windows)
        return [next(windows) for windows in self._open]

    def _read(self, index: int, seed: list[int]) -> Iterator[RecordedClip]:
        stride, sequence = self._sequences[index]
        return read_windows(
            sequence,
            frames=self._config.schedule.window_frames,
            windows=self._config.schedule.windows_per_sequence,
            stride=stride,
            preprocess=self._preprocess,
            augment=self._config.augment,
            random=np.random.default_rng(seed),
        )


def _taught_clip(teacher: TeacherSet, index: int, times: int, config: TrainConfig, random: np.random.Generator) -> Clip:
    """Consecutive pictures of a stretch; what was recorded of a picture is mixed with what the teacher says."""
    stretch = teacher.sequences[index]
    first = stretch.start + int(random.integers(len(stretch) - times + 1))
    samples = [teacher.sample(place) for place in range(first, first + times)]
    weight = config.schedule.teacher_weight
    densities, counts = [], []
    for sample in samples:
        density, soft = sample.density, sample.density
        size = {"height": density.shape[0], "width": density.shape[1]}
        hits = fixation_counts(sample.points, **size)
        if hits.sum() > 0:
            recorded = density_from_fixations(sample.points, sigma=max(1.0, sample.sigma), **size)
            density = weight * density + (1 - weight) * recorded
            soft = weight * soft + (1 - weight) * hits / hits.sum()
        densities.append(density)
        # Where nobody's gaze was recorded the expected z-score under the teacher's density stands for NSS.
        counts.append(soft)
    frames: npt.NDArray[np.uint8] = np.stack([sample.frame for sample in samples])
    arrays: list[npt.NDArray[Any]] = [frames, np.stack(densities), np.stack(counts)]
    view = samples[0].viewport
    if random.random() < config.augment.flip_probability:
        arrays = [np.ascontiguousarray(array[:, :, ::-1]) for array in arrays]
        view = dataclasses.replace(view, left=view.canvas_width - view.left - view.width)
    return Clip(arrays[0], arrays[1], arrays[2], view, np.zeros(times, np.bool_))


class _Run:
    """The moving parts of a run: network, averaged network, optimiser, step."""

    def __init__(
        self,
        config: TrainConfig,
        network: SaliencyAttentiveModel,
        preprocess: PreprocessOptions,
        device: torch.device,
        steps: int,
    ) -> None:
        self.config, self.preprocess, self.device, self.steps = config, preprocess, device, steps
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Without averaging the network itself is what counts: a copy of SAM-ResNet would be 280 MB more.
        averages = config.schedule.average_decay > 0
        self.average = copy.deepcopy(self.network).requires_grad_(False) if averages else self.network
        self.preprocessor = Preprocessor(preprocess)
        groups = _parameter_groups(network, config.schedule)
        self.peaks = [group["lr"] for group in groups]
        self.optimizer = _make_optimizer(groups, config.schedule)
        self.notes: tuple[str, ...] = ()
        self.learnt: tuple[str, ...] = ()
        self.best: _Best | None = None
        self.passes_since_best = 0
        self.carried: SAMState | None = None
        self.running: float | None = None
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self.step = 0
        self.state_path = saved_state(config.output)
        self.log_path = config.output / "log.jsonl"

    @classmethod
    def start(cls, config: TrainConfig, device: torch.device, steps: int) -> _Run:
        torch.manual_seed(config.seed)
        notes: tuple[str, ...] = ()
        learnt: tuple[str, ...] = ()
        if config.start_from is not None:
            network, preprocess, card = read_checkpoint(config.start_from)
            learnt = card.training_data
            if config.add_motion_channels:
                network = _with_motion(network, config.add_motion_channels)
            network.requires_grad_(True)
        else:
            preset = PRESETS[config.preset]
            network = SaliencyAttentiveModel(config.model or preset.config)
            preprocess = config.preprocess or preset.preprocess
            if network.config.head == "published":
                _initialise_as_published(network)
            if config.imagenet_weights is not None:
                notes = network.backbone.load_imagenet(_read_state_dict(config.imagenet_weights))
                notes += _input_notes(preprocess)
            else:
                notes = (_RANDOM_WEIGHTS,)
        run = cls(config, network, preprocess, device, steps)
        run.notes, run.learnt = notes, learnt
        return run

    def train_step(self, step: _Step, clips: list[Clip]) -> float:
        """One step of the optimiser; returns the mean loss of its frames."""
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * _rate_share(self.step, self.steps, self.config.schedule)
        self.network.train()
        if self.config.freeze_backbone_statistics:
            for module in self.network.backbone.modules():
                # The projection is new, its statistics have to be learned.
                if isinstance(module, torch.nn.BatchNorm2d) and not _is_new(self.network, module):
                    module.eval()
        torch.manual_seed(step.seed)  # dropout
        frames, density, counts, inside = self._tensors(clips, step)
        precision, mixed = self.config.precision, self.config.precision != "fp32"
        with torch.autocast(self.device.type, _DTYPES[precision] if mixed else torch.bfloat16, enabled=mixed):
            log_density, state = self.network(
                frames,
                self.carried if step.window is not None and step.window.number > 0 else None,
                fresh=self._fresh(clips, step),
                lengths=[clip.length if isinstance(clip, RecordedClip) else step.times for clip in clips],
            )
        if step.window is not None:
            # Values go on to the next window, gradients do not come back from it.
            self.carried = state.detach()
        losses = sam_loss(
            log_density.flatten(0, 1),
            density=density.flatten(0, 1),
            counts=counts.flatten(0, 1),
            inside=inside.flatten(0, 1),
            options=self.config.loss,
        )
        if step.window is None:
            loss = losses.mean()
        else:
            loss = losses.sum() / (counts.flatten(2).sum(2) > 0).sum().clamp_min(1)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.config.schedule.clip_gradient_norm > 0:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.schedule.clip_gradient_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        self._update_average()
        return float(loss.detach())

    def _fresh(self, clips: list[Clip], step: _Step) -> list[list[bool]]:
        """Which frames start from zero: the first, and those behind a cut, but for the cuts that are missed.

        The first frame of a window that goes on from another is none of them.
        """
        random = np.random.default_rng([step.seed, 2**21])
        missed = random.random((len(clips), step.times)) < self.config.schedule.undetected_cut_probability
        return [
            [(t == 0 and _begins(clip)) or bool(clip.cut[t] and not missed[row, t]) for t in range(step.times)]
            for row, clip in enumerate(clips)
        ]

    def _tensors(self, clips: list[Clip], step: _Step) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        frames, density, counts, inside = _arrays(clips)
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
        card = ModelCard(name=self.config.card.name)
        return SaliencyModel(network, preprocess=self.preprocess, card=card, device=self.device)

    def end_pass(
        self, pass_index: int, loss: float, validation: list[Still], videos: Sequence[_Videos] = ()
    ) -> dict[str, dict[str, float]]:
        """Score, log, and remember the weights where their validation loss is the lowest so far."""
        model = self.inference_model()
        limit = self.config.validation_pictures
        recorded, recorded_loss = _validate_recorded(model, videos, self.config)
        scores = score_sets(model, validation, limit=limit) | recorded
        entry: dict[str, Any] = {"pass": pass_index + 1, "step": self.step, "loss": loss, "validation": scores}
        if self.config.schedule.early_stopping_patience is not None:
            losses = [recorded_loss] if recorded else []
            if validation and limit != 0:
                losses.append(validation_loss(model, validation, options=self.config.loss, limit=limit))
            held_out = float(np.mean(losses))
            entry["validation_loss"] = held_out
            if math.isfinite(held_out) and (self.best is None or held_out < self.best.loss):
                weights = {name: value.to("cpu", copy=True) for name, value in self.average.state_dict().items()}
                self.best, self.passes_since_best = _Best(held_out, pass_index + 1, weights), 0
            else:
                self.passes_since_best += 1
        self.log(entry)
        return scores

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

    def take_best(self) -> None:
        """Go back to the weights with the lowest validation loss, where they were kept."""
        if self.best is not None:
            self.average.load_state_dict(self.best.weights)

    def save(self) -> None:
        """Write all that a resumed run needs, whole or not at all."""
        partial = self.state_path.with_name(f"{self.state_path.name}.partial")
        try:
            torch.save(
                {
                    "config": _comparable(self.config),
                    "step": self.step,
                    "network": self.network.state_dict(),
                    "average": None if self.average is self.network else self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": self.scaler.state_dict(),
                    "best": None if self.best is None else vars(self.best),
                    "passes_since_best": self.passes_since_best,
                    "carried": None if self.carried is None else vars(self.carried),
                    "running": self.running,
                },
                partial,
            )
            partial.replace(self.state_path)
        finally:
            partial.unlink(missing_ok=True)

    def resume(self) -> None:
        """Take over a saved state of the same configuration, if there is one, and cut the log back to it."""
        if self.state_path.exists():
            try:
                saved = torch.load(self.state_path, map_location=self.device, weights_only=True)
            except _UNREADABLE as error:
                raise CheckpointError(f"{self.state_path}: cannot be resumed from ({error}); delete it") from error
            if not _same(json.loads(saved["config"]), self.config):
                raise ConfigError(
                    f"{self.state_path} belongs to a run with another configuration; "
                    "choose another output folder or delete it"
                )
            self.network.load_state_dict(saved["network"])
            if self.average is not self.network:
                self.average.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.scaler.load_state_dict(saved["scaler"])
            self.step = saved["step"]
            if saved.get("best") is not None:
                weights = {name: value.cpu() for name, value in saved["best"]["weights"].items()}
                self.best = _Best(**(saved["best"] | {"weights": weights}))
            self.passes_since_best = saved.get("passes_since_best", 0)
            self.running = saved.get("running")
            if saved.get("carried") is not None:
                self.carried = SAMState(**saved["carried"])
        lines = self.log_path.read_text().splitlines() if self.log_path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.step]
        self.log_path.write_text("".join(line + "\n" for line in kept))

    def log(self, entry: dict[str, Any]) -> None:
        """Append a line to the log; what is not finite, such as a score that does not exist, is null there."""
        with self.log_path.open("a") as stream:
            line = {**_finite(entry), "time": time.strftime("%Y-%m-%dT%H:%M:%S")}
            stream.write(json.dumps(line, allow_nan=False) + "\n")

    def finish(self, scores: dict[str, dict[str, float]]) -> Path:
        """Write the averaged network as a checkpoint with its card."""
        words = self.config.card
        taught = words.teacher if self.config.teacher_set is not None else ()
        imagenet = words.imagenet if self.config.imagenet_weights is not None else ""
        # What the starting weights were trained on went into these, too.
        data = dict.fromkeys((*words.training_data, *taught, *self.learnt))
        card = ModelCard(
            name=words.name,
            description=words.description,
            licence=words.licence,
            training_data=tuple(data),
            initialisation=" ".join(text for text in (words.initialisation, imagenet, *self.notes) if text),
            training=_recipe(self.config, best=self.best),
            commit=source_commit(),
            scores=scores,
            protocol=_protocol(self.config),
            limits=words.limits,
        )
        path = self.config.output / f"{words.name}.safetensors"
        dtype = _DTYPES[self.config.weights_dtype]
        largest = torch.finfo(dtype).max
        for name, value in self.average.state_dict().items():
            # In half precision it would become infinite in silence, a batch norm's variance first.
            if value.is_floating_point() and value.abs().max() > largest:
                raise CheckpointError(
                    f"{name} holds {float(value.abs().max()):.3g}, more than {self.config.weights_dtype} can: run the "
                    "same command with --weights_dtype fp32; it goes on from the saved state"
                )
        save_checkpoint(path, self.average, preprocess=self.preprocess, card=card, dtype=dtype)
        return path


def _finite(value: Any) -> Any:
    """The same, with None for every number that JSON has no word for."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _protocol(config: TrainConfig) -> str:
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
    return f"stills: {stills}; {recorded}" if config.datasets else recorded


def _begins(clip: Clip) -> bool:
    """Nothing was seen before its first frame."""
    return not isinstance(clip, RecordedClip) or clip.begins


def _is_new(network: SaliencyAttentiveModel, module: torch.nn.Module) -> bool:
    project = getattr(network.backbone, "project", None)
    return project is not None and any(module is part for part in project.modules())


def _parameter_groups(network: SaliencyAttentiveModel, schedule: ScheduleOptions) -> list[dict[str, Any]]:
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        pretrained = name.startswith("backbone.") and not name.startswith("backbone.project")
        groups.setdefault((pretrained, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": schedule.backbone_learning_rate if pretrained else schedule.learning_rate,
            "weight_decay": schedule.weight_decay if decays else 0.0,
        }
        for (pretrained, decays), parameters in groups.items()
    ]


def _make_optimizer(groups: list[dict[str, Any]], schedule: ScheduleOptions) -> torch.optim.Optimizer:
    if schedule.optimizer == "rmsprop":
        # Keras's and torch's are the same formula, v = rho v + (1 - rho) g^2, p -= rate g / (sqrt v + epsilon), v from
        # zero; only torch's default rho is another (.99).
        return torch.optim.RMSprop(groups, alpha=0.9, eps=1e-8)
    return torch.optim.AdamW(groups)


def _initialise_as_published(network: SaliencyAttentiveModel) -> None:
    """The first weights of all but the backbone as the authors' Keras draws them.

    One exception: the last convolution, whose one map goes through a ReLU, takes the magnitudes of its draw. With
    random signs about half of all draws give a map of zeros, which has no gradient and never trains; its input is
    never negative, so with positive weights it always does.
    """
    recurrence, head = network.recurrence, network.head.out
    torch.nn.init.normal_(recurrence.attention_input.weight, std=0.05)  # U_a is "normal" in their code as W is
    # Their orthogonal matrices have the gain 1.1.
    recurrence.gates_hidden.weight.data.mul_(1.1)
    fresh = [*network.prior_convolutions, head]
    if isinstance(network.backbone, DilatedResNet50):
        fresh.append(network.backbone.project)
    for convolution in fresh:
        torch.nn.init.xavier_uniform_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    head.weight.data.abs_()


def _input_notes(preprocess: PreprocessOptions) -> tuple[str, ...]:
    """What to say where torchvision's weights do not get the input they were trained on."""
    trained = PreprocessOptions()
    names = ("channel_order", "divisor", "mean", "std")
    if all(getattr(preprocess, name) == getattr(trained, name) for name in names):
        return ()
    return (
        "torchvision's weights were trained on RGB divided by 255, minus mean, over standard deviation (the defaults "
        "of preprocess); this run shows them another input, which fine-tuning has to make up for.",
    )


def _arrays(clips: list[Clip]) -> tuple[_Pixels, _Floats, _Floats, npt.NDArray[np.bool_]]:
    """Frames (B, T, H, W, 3), densities, counts and what is inside the picture (B, T, H, W)."""
    frames = np.stack([clip.frames for clip in clips])
    density = np.stack([clip.density for clip in clips])
    counts = np.stack([clip.counts for clip in clips])
    inside = np.zeros(density.shape, np.bool_)
    for row, clip in zip(inside, clips, strict=True):
        view = clip.viewport
        row[:, view.top : view.top + view.height, view.left : view.left + view.width] = True
    return frames, density, counts, inside


def _rate_share(step: int, steps: int, schedule: ScheduleOptions) -> float:
    """Share of the highest learning rate at a step."""
    if schedule.schedule == "constant":
        return 1.0
    done = step / max(1, steps)
    warmup = schedule.warmup_share if schedule.schedule == "one_cycle" else 0.0
    if done < warmup:
        return 0.04 + 0.96 * done / warmup
    return max(1e-4, 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))))


def _read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file (imagenet_weights)")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # weights_only: tensors and plain containers, no code from the file is run.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (*_UNREADABLE, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a state dict ({error})") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: holds a {type(state).__name__}, expected a state dict")
    return state


def _with_motion(network: SaliencyAttentiveModel, channels: int) -> SaliencyAttentiveModel:
    """The same network, predicting the same, with a motion branch."""
    if network.motion is not None:
        raise ConfigError("start_from has a motion branch already: leave out add_motion_channels")
    larger = SaliencyAttentiveModel(dataclasses.replace(network.config, motion_channels=channels))
    own = network.state_dict()
    missing, _ = larger.load_state_dict(own, strict=False)
    if any(not name.startswith("motion.") for name in missing):
        raise CheckpointError(f"start_from lacks {missing[0]}")
    return larger


def _comparable(config: TrainConfig) -> str:
    """The configuration as JSON, without what does not change the result."""
    values = dataclasses.asdict(config)
    for name in _ASIDE:
        del values[name]
    return json.dumps(values, default=str, sort_keys=True)


def _same(saved: Any, value: Any) -> bool:
    """Whether a saved configuration asks for what this one does; options younger than it must be at their default."""
    if isinstance(value, tuple) and isinstance(saved, list):
        return len(saved) == len(value) and all(_same(one, own) for one, own in zip(saved, value, strict=True))
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
        if not (_same(saved[name], own) if name in saved else own == default):
            return False
    return True


def _recipe(config: TrainConfig, *, best: _Best | None) -> str:
    """The configuration as JSON for the card: of paths only the names, which mean something elsewhere too."""
    values = dataclasses.asdict(config)
    for name in _ASIDE:
        del values[name]
    if best is not None:
        values["best_pass"] = best.pass_number
    return json.dumps(values, default=lambda path: Path(path).name, sort_keys=True)
