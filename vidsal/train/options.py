"""What a training run is asked and what it reports, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from vidsal.data.options import AugmentOptions, TrainingSet, VideoSet
from vidsal.errors import ConfigError, Setting
from vidsal.model.config import SAMConfig
from vidsal.model.options import BranchName, NetworkName, ReadoutBackbone, ReadoutUpsampler, Task
from vidsal.options import NONE, Checked, Range
from vidsal.stages import LossOptions, PreprocessOptions

__all__ = ["AdversarialOptions", "CardText", "ScheduleOptions", "TrainConfig", "TrainProgress", "saved_state"]


@dataclass(frozen=True)
class ScheduleOptions(Checked):
    """How long, how fast."""

    passes: Annotated[int, Range(at_least=1)] = 14
    """Times every training picture is shown."""
    frames_per_step: Annotated[int, Range(at_least=1)] = 16
    """Frames in a step; a clip of T frames counts T."""
    clip_lengths: dict[int, float] = field(default_factory=lambda: {1: 0.5, 2: 0.3, 4: 0.2})
    """Frames of a clip and how often a step uses that length."""
    undetected_cut_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.1
    """Chance that a clip's first frame comes from another picture, so that the carried state is a foreign one; and
    that a cut inside a clip is not marked."""
    teacher_share: Annotated[float, Range(at_least=0, below=1)] = 0.5
    """Share of the frames that come from the teacher set, where there is one."""
    teacher_weight: Annotated[float, Range(at_least=0, at_most=1)] = 0.5
    """What the teacher's density counts beside recorded fixations where a teacher set has both, 0 to 1."""
    video_share: Annotated[float, Range(at_least=0, below=1)] = 0.5
    """Share of the frames that come from recorded video, where there is some beside stills; the stills have what this
    and `teacher_share` leave."""
    window_frames: Annotated[int, Range(at_least=1)] = 4
    """Frames of recorded video between two steps of the optimiser: so far gradients go back in time."""
    windows_per_sequence: Annotated[int, Range(at_least=1)] = 4
    """Windows of a sequence, one after the other, the state carried from each to the next, before another sequence
    is drawn."""
    learning_rate: Annotated[float, Range(above=0)] = 1e-3
    """Highest rate of the new layers."""
    backbone_learning_rate: Annotated[float, Range(at_least=0)] = 1e-4
    """Highest rate of the backbone."""
    optimizer: Literal["adamw", "rmsprop", "adagrad"] = "adamw"
    """"adamw", "rmsprop" with Keras's constants (rho .9, epsilon 1e-8), as the authors of SAM, or "adagrad", as
    SalGAN's."""
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    """"one_cycle": up over `warmup_share`, then down on a cosine; "cosine": down from the start; "constant"."""
    warmup_share: Annotated[float, Range(at_least=0, below=1)] = 0.15
    """Share of the steps in which a one-cycle schedule rises."""
    weight_decay: Annotated[float, Range(at_least=0)] = 1e-2
    """AdamW's decay of convolution weights (norms, biases and priors are left alone), for "adagrad" their L2 penalty; 0
    for "rmsprop"."""
    clip_gradient_norm: Annotated[float, Range(at_least=0)] = 5.0
    """Longer gradients are scaled down to this norm; 0 leaves all as they are."""
    average_decay: Annotated[float, Range(at_least=0, below=1)] = 0.998
    """Decay a step of the running average of the weights, which is what is scored and saved; 0 switches it off."""
    early_stopping_patience: Annotated[int, Range(at_least=1, otherwise=(NONE, " to run all passes"))] | None = None
    """Passes in a row without a lower validation loss after which the run ends, with the weights of the best pass;
    None runs all passes and takes the last weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = self.clip_lengths.values()
        allowed = min(self.clip_lengths, default=0) >= 1 and all(0 <= share < math.inf for share in shares)
        if not allowed or not sum(shares):
            what = f" maps lengths of at least 1 to shares, got {self.clip_lengths}"
            raise ConfigError(Setting("clip_lengths"), what)


@dataclass(frozen=True)
class AdversarialOptions(Checked):
    """Training against a discriminator, which salgan has; the defaults are those of its authors."""

    discriminator: bool = False
    """Train salgan as its authors do: by the binary cross-entropy of maps that are averaged over 4x4 cells, then, in
    turns with a discriminator, to be taken for recorded maps. `loss` then only scores what is held out."""
    content_passes: Annotated[int, Range(at_least=0)] = 15
    """Passes of that content loss alone, before the discriminator's first step; fewer than `passes`."""
    content_weight: Annotated[float, Range(at_least=0)] = 0.05
    """Weight of the content loss beside the adversarial one."""
    discriminator_learning_rate: Annotated[float, Range(above=0)] = 3e-4
    """Highest rate of the discriminator; optimiser and schedule are the generator's."""


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
    task: Task = "free-viewing"
    """What the viewers do whose gaze it learns: the model of drivers gets none of what viewers of films do by default,
    and the report says whom it is of."""


@dataclass(frozen=True)
class TrainConfig(Checked):
    """A whole training run."""

    output: Path
    """Folder for the log, the state to resume from and the final checkpoint."""
    datasets: tuple[Path, ...] = ()
    """Folders in the simple layout (`images/` and `fixations.csv`), split by their names; relative ones start at the
    working folder."""
    stills: tuple[TrainingSet, ...] = ()
    """Still pictures with gaze, in the layouts of docs/reference/layouts.md."""
    videos: tuple[VideoSet, ...] = ()
    """Recorded video with gaze, in the layouts of docs/reference/layouts.md; its steps come between those on stills."""
    preset: Literal["sam-lite", "sam-resnet", "sam-vgg", NetworkName] = "sam-lite"
    """The architecture to start from, with its preprocessing."""
    width: Annotated[float, Range(above=0, at_most=1)] = 1.0
    """Share of the published channels of a preset that is not of SAM's family."""
    readout_backbone: ReadoutBackbone | None = None
    """Backbone of the preset readout-net; None for vgg16."""
    readout_upsampler: ReadoutUpsampler | None = None
    """How the preset readout-net makes its map large; None for deconvolution."""
    centre_bias: Path | None = None
    """Of the presets deepgaze-1 and deepgaze-2: a log density (.npy, as centerbias_mit1003.npy), or the word fixations,
    which estimates one from the fixations that are trained on; None for Clarke and Tatler's Gaussian."""
    branches: tuple[BranchName, ...] | None = None
    """Of the preset dreyeve, which branches are summed: image, flow, segmentation; None takes the first two, and the
    third where `segmentation` is given."""
    segmentation: Path | None = None
    """Of the preset dreyeve, a segmentation model (ONNX, 19 classes of Cityscapes), which goes into the checkpoint."""
    branches_from: tuple[Path, ...] = ()
    """Of the preset dreyeve, checkpoints of it that were trained before, whose branches the network begins with."""
    model: SAMConfig | None = None
    """Another architecture than the preset's, of SAM's family."""
    preprocess: PreprocessOptions | None = None
    """Another input than the preset's; what is not named here is as the preset has it."""
    imagenet_weights: Path | None = None
    """torchvision state dict of the backbone (.pth or .safetensors); None starts from random weights."""
    c3d_weights: Path | None = None
    """Of the presets rmdn and dreyeve: the weights of C3D that their authors begin with (.h5, as Keras 1 saved them);
    None starts from random ones."""
    start_from: Path | None = None
    """vidsal checkpoint to fine-tune instead; its architecture and preprocessing are taken, not those named here."""
    add_motion_channels: Annotated[int, Range(at_least=0)] = 0
    """Gives the network of `start_from` a motion branch of so many channels, at first without effect; 0 leaves the
    network as it is."""
    condition: str | None = None
    """Of `datasets` only the fixations with this value in the column `condition`."""
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
    adversarial: AdversarialOptions = field(default_factory=AdversarialOptions)
    """Against a discriminator."""
    seed: Annotated[int, Range(at_least=0)] = 0
    """Everything random follows from it."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """"bf16" and "fp16" train under autocast ("fp16" with loss scaling, CUDA only)."""
    checkpoint_every_steps: Annotated[int, Range(at_least=1)] = 50
    """Steps between two saved states."""
    weights_dtype: Literal["fp16", "bf16", "fp32"] = "fp16"
    """How the finished checkpoint stores the weights."""
    validation_pictures: Annotated[int, Range(at_least=0)] | None = None
    """Score only the first so many validation pictures of each set after a pass; None scores all."""
    validation_sequences: Annotated[int, Range(at_least=1)] | None = 8
    """Score only so many validation sequences of each set of videos, evenly spread; None scores all."""
    validation_frames: Annotated[int, Range(at_least=1)] = 64
    """Score only the first so many shown frames of each."""
    card: CardText = field(default_factory=CardText)
    """The words of the model card."""

    @classmethod
    def basis(cls, name: str, given: Mapping[str, Any]) -> Any:
        """What a stage of which only some options are named has in the others; None for its own defaults.

        Args:
            name: of the stage.
            given: options of the run that are known already.
        """
        if name != "preprocess":
            return None
        from vidsal.model.checkpoint import PRESETS
        from vidsal.model.networks.catalogue import input_of

        preset = given.get("preset", cls.preset)
        return PRESETS[preset].preprocess if preset in PRESETS else input_of(preset)


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
    """Running mean of the loss over about 50 steps; with a discriminator, of the content loss."""
    scores: dict[str, dict[str, float]] | None
    """Validation scores, set to metric to value, right after a pass; else None."""
    notes: tuple[str, ...] = ()
    """Sentences to show once: with the first step of a call how the starting weights fit, or that there are none, and
    whether there is nothing to validate on, with the last step that the run ended early; else empty."""


def saved_state(output: Path) -> Path:
    """Where a run with this `output` keeps the state from which it goes on."""
    return output / "state.pt"
