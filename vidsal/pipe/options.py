"""What a run is asked: the options of each stage, and of all."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, Unpack

from vidsal.decode.options import DecodeOptions
from vidsal.driving.options import DrivingOptions
from vidsal.errors import ConfigError, Setting
from vidsal.exports.options import ExportName
from vidsal.model.options import Mean, Precision, Quality, Runtime, Task
from vidsal.options import Checked, Range
from vidsal.sinks.options import VideoOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import CutOptions, RenderOptions, TrackOptions, ViewerOptions

if TYPE_CHECKING:
    from vidsal.model.checkpoint import SaliencyModel

__all__ = [
    "IMAGE_SUFFIXES",
    "MAPS_SUFFIXES",
    "MOST_TO_KEY",
    "TABLE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Existing",
    "ModelOptions",
    "OutputOptions",
    "PredictOptions",
    "RecurrenceOptions",
    "RunOptions",
    "StageOptions",
    "WithPrediction",
    "check_format",
    "check_maps",
    "existing_of",
]


@dataclass(frozen=True)
class ModelOptions(Checked):
    """Which model, where, how exact."""

    model: str = "sam-lite"
    """Name of a model (`vidsal models`), or path of a vidsal checkpoint (.safetensors); several, with commas between,
    make an ensemble, whose densities are the mean of theirs."""
    device: str = "auto"
    """auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:N or mps."""
    precision: Precision = "auto"
    """fp32; bf16, up to several times as fast; fp16, on CUDA and MPS only; auto is bf16 on CUDA and on processors that
    are faster in it (AMX, AMD's AVX512_BF16), fp32 elsewhere."""
    runtime: Runtime = "torch"
    """What computes it: torch, or openvino, which takes less of a CPU, clearly so with AMX, and has to be installed
    (pip install 'vidsal[openvino]'); for models of SAM's family."""
    task: Task = "free-viewing"
    """What the viewers do: free-viewing takes the model named; driving takes the one for drivers' gaze beside it
    (sam-lite-driver for sam-lite)."""
    model_shares: tuple[Annotated[float, Range(above=0)], ...] = ()
    """How much each model of an ensemble counts: as many numbers above 0, with commas between; default: all alike."""
    model_mean: Mean = "geometric"
    """Mean of an ensemble's densities: geometric (of their logs: where one model sees hardly anything, little is left)
    or linear (what any model sees stays)."""
    quality: Quality = "standard"
    """high shows the model every frame a second time, mirrored and a fifth larger, and takes the mean of both maps:
    better maps in about two and a half times the model's time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        named = self.named
        if len(named) > 1 and not all(named):
            raise ConfigError(Setting("model", self.model), " names no model before or after a comma")
        if self.model_shares and len(self.model_shares) != len(named):
            count = f"{len(named)} models are" if len(named) > 1 else "one model is"
            numbers = ", ".join(f"{share:g}" for share in self.model_shares)
            raise ConfigError(
                Setting("model_shares"), f" must be a number for each model: {count} named, got {numbers}"
            )

    @property
    def named(self) -> tuple[str, ...]:
        """The models that are named: one, or several of an ensemble. A file whose name has commas is one.

        Example:
            >>> ModelOptions("sam-lite, C:/models/own.safetensors").named
            ('sam-lite', 'C:/models/own.safetensors')
        """
        if "," not in self.model or os.path.lexists(self.model):
            return (self.model,)
        return tuple(name.strip() for name in self.model.split(","))

    @property
    def chosen(self) -> tuple[str | Path, ...]:
        """The models for the task: names or paths.

        Raises:
            ConfigError: there is none for one of them, see `for_task`.
        """
        from vidsal.model.checkpoint import for_task

        return tuple(for_task(name, self.task) for name in self.named)

    @property
    def is_ensemble(self) -> bool:
        """Whether maps are the mean of several."""
        return len(self.named) > 1 or self.quality != "standard"

    @property
    def label(self) -> str:
        """What names of results say of it: stems of its names, and what else is not as usual of an ensemble.

        Example:
            >>> ModelOptions("sam-lite,own.safetensors", model_shares=(3.0, 1.0), quality="high").label
            'sam-lite+own-3-1-high'
        """
        words = ["+".join(Path(name).stem for name in self.chosen), *(f"{share:g}" for share in self.model_shares)]
        usual = type(self)()
        words += [self.model_mean] * (self.model_mean != usual.model_mean and self.is_ensemble)
        return "-".join([*words, *[self.quality] * (self.quality != usual.quality)])

    def load(self) -> SaliencyModel:
        """The model for the task, or the ensemble.

        Raises:
            CheckpointError: as `load_ensemble`.
            ConfigError: as `load_ensemble`.
        """
        from vidsal.model.ensemble import load_ensemble

        return load_ensemble(
            self.named,
            task=self.task,
            device=self.device,
            precision=self.precision,
            runtime=self.runtime,
            shares=self.model_shares if len(self.named) > 1 else (),
            mean=self.model_mean,
            quality=self.quality,
        )


_KEY_SECONDS = 1 / 16 - 0.001
"""At least from a frame that the model sees to the next, where options do not say how many frames that is: a sixteenth,
less what containers round times by."""

MOST_TO_KEY = 8
"""Frames from one that the model sees to the next, whatever their times: slow motion, and times that stand still."""


@dataclass(frozen=True)
class RecurrenceOptions(Checked):
    """What the model remembers from frame to frame."""

    state: Literal["carry", "reset"] = "carry"
    """carry goes on from the frame before and starts afresh at cuts; reset starts afresh at every frame, as the
    networks were published."""
    steps: Annotated[int, Range(at_least=1)] | None = None
    """Refinement steps a frame. With carry 1 (default: 1) to the model's own number T (4 for sam-resnet and sam-vgg, 3
    for sam-lite), which a frame that starts afresh always gets; with reset any number (default: T)."""
    every: Annotated[int, Range(at_least=1)] | None = None
    """Run the model on every n-th frame only (and at cuts); the maps in between are interpolated in time. 1: on all
    frames. None, the default: on at most 16 frames a second, which is every second one at 24 to 30 frames a second and
    every fourth at 50 or 60; on all frames of pictures, of live sources, where maps are scored, and by networks that
    take several frames in a row (rmdn, dreyeve)."""

    def every_at(self, rate: float) -> int:
        """How many frames of video on there is one that the model sees.

        Args:
            rate: frames a second, the same throughout.

        Example:
            >>> [RecurrenceOptions().every_at(rate) for rate in (12, 23.976, 30, 50, 60, 240)]
            [1, 2, 2, 4, 4, 8]
        """
        if self.every is not None:
            return self.every
        return min(math.ceil(rate * _KEY_SECONDS), MOST_TO_KEY)

    def is_due(self, frames: int, seconds: float) -> bool:
        """Whether the model sees a frame, so many frames (at least 1) and seconds after the last one that it saw."""
        if self.every is not None:
            return frames >= self.every
        return not 0 <= seconds < _KEY_SECONDS or frames >= MOST_TO_KEY

    @property
    def on_all_frames(self) -> RecurrenceOptions:
        """The same where every frame is seen unless options say otherwise."""
        return dataclasses.replace(self, every=1) if self.every is None else self

    def steps_of(self, own: int) -> tuple[int, int]:
        """Steps on a frame that starts afresh, and on one that goes on from the frame before.

        Args:
            own: the model's own number T, `model.config.steps`.

        Raises:
            ConfigError: more than T steps are asked for with carry.

        Example:
            >>> RecurrenceOptions(state="carry").steps_of(4), RecurrenceOptions(state="reset").steps_of(4)
            ((4, 1), (4, 4))
        """
        if self.state == "reset":
            return self.steps or own, self.steps or own
        if self.steps is not None and self.steps > own:
            if own == 1:
                raise ConfigError(
                    Setting("steps"), f" is {self.steps}, but this model looks at each frame once: leave it out"
                )
            carry, reset = Setting("state", "carry"), Setting("state", "reset")
            why = f" it must be from 1 to {own}, the number of steps this model was trained with. Take fewer, or "
            more = (reset, ", which takes any number")
            raise ConfigError(Setting("steps"), f" is {self.steps}; with ", carry, why, *more)
        return own, self.steps or 1


class StageOptions(TypedDict, total=False):
    """Stages of `PredictOptions` by keyword; None takes the defaults."""

    recurrence: RecurrenceOptions | None
    cuts: CutOptions | None
    smooth: SmoothOptions | None
    viewers: ViewerOptions | None


@dataclass(frozen=True)
class PredictOptions:
    """How the densities of a video come about, stage by stage."""

    recurrence: RecurrenceOptions = field(default_factory=RecurrenceOptions)
    """What the model remembers."""
    cuts: CutOptions = field(default_factory=CutOptions)
    """How cuts are found."""
    smooth: SmoothOptions = field(default_factory=SmoothOptions)
    """How densities are steadied in time."""
    viewers: ViewerOptions = field(default_factory=ViewerOptions)
    """What viewers do that pictures do not say."""

    @property
    def looks_ahead(self) -> bool:
        """Whether a map may depend on later frames than its own."""
        return self.recurrence.every != 1 or self.smooth.make().looks_ahead

    @property
    def scored(self) -> PredictOptions:
        """The same for maps that are scored: unless options say so, no map is made of a later frame's."""
        return self.but(recurrence=self.recurrence.on_all_frames)

    def but(self, **stages: Unpack[StageOptions]) -> PredictOptions:
        """The same with some stages replaced; those that are None stay.

        Example:
            >>> PredictOptions().but(recurrence=RecurrenceOptions(every=2), cuts=None).recurrence.every
            2
        """
        given: dict[str, Any] = {name: stage for name, stage in stages.items() if stage is not None}
        return dataclasses.replace(self, **given)


class WithPrediction:
    """What options have in common that hold the stages of `PredictOptions` among others."""

    recurrence: RecurrenceOptions
    cuts: CutOptions
    smooth: SmoothOptions
    viewers: ViewerOptions

    @property
    def prediction(self) -> PredictOptions:
        """Those of the stages between the frames and their densities."""
        return PredictOptions(self.recurrence, self.cuts, self.smooth, self.viewers)


VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov")
"""Endings of the videos that a run writes."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Endings of the pictures that a run writes."""

TABLE_SUFFIXES = (".csv", ".parquet", ".jsonl")
"""Endings of tables."""

MAPS_SUFFIXES = (".mkv", ".npz")
"""Endings of raw maps."""

Existing = Literal["refuse", "skip", "overwrite"]
"""What becomes of results that are there already."""

_OTHER_VIDEOS = (
    *(".avi", ".webm", ".m4v", ".wmv", ".flv", ".ogv", ".mxf", ".3gp", ".gif"),
    *(".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
)
"""Endings that surely mean a video, of kinds that are not written."""


@dataclass(frozen=True)
class OutputOptions(Checked):
    """What is written, and where."""

    output: Path | None = None
    """Folder for the results; default: beside the input (the working folder for cameras, addresses and -). With one
    input, a path that ends in .mp4, .mkv or .mov and is no folder names the video itself (.png or .jpg the picture);
    the other results go beside it."""
    video: bool = True
    """Write the picture with the heatmap over it."""
    container: Literal["mp4", "mkv", "mov"] = "mp4"
    """Container of the written video; another is taken where the chosen one cannot hold a stream of the input."""
    table: str | None = "csv"
    """Table of numbers a frame: csv, parquet or jsonl beside the video, a path ending in one of these (a bare name
    is put beside the video too), or none."""
    maps: str | None = None
    """Also write the raw densities: mkv (lossless 16-bit grey video) or npz beside the video, or a path to either."""
    export: tuple[ExportName, ...] = ()
    """Also write for other programs, several with commas between: shots (a row a shot, .csv); the shots as edl (CMX
    3600), otio (OpenTimelineIO), fcpxml, chapters (FFmetadata) or vtt (WebVTT cues); attention as eaf (ELAN), cvat,
    labelstudio, coco or jsonl (a line a frame)."""
    aois: Path | None = None
    """Areas of interest (.json, or .xml of CVAT for video): also write the predicted share of each in every frame
    (NAME.vidsal.aois.csv) and over the whole (NAME.vidsal.aois-summary.csv)."""
    report_driving: bool = False
    """Report a drive: also write the predicted share of the road ahead, left and right of it in every frame
    (NAME.vidsal.driving.csv) and over the whole, the vanishing point of each shot that they go by, moments to look at,
    and the areas themselves. Reads the input twice, so it must be a file or folder."""
    report: bool = False
    """Also write NAME.vidsal.html, a page to look at: player, shots with key frames, curves, and how it was made.
    Browsers show it without a network."""
    record: bool = True
    """Write NAME.vidsal.json beside the results: how they came about, their sizes, counts and messages; skipping needs
    it."""
    existing: Existing = "refuse"
    """Where results are there already: refuse (leave that input, naming the file), skip (leave it where all its results
    are there, made from this input with these options and this model; else make them, and refuse to replace others), or
    overwrite."""
    overwrite: bool = False
    """Short for existing=overwrite."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, suffixes in (("table", TABLE_SUFFIXES), ("maps", MAPS_SUFFIXES)):
            check_format(name, getattr(self, name), suffixes)
        object.__setattr__(self, "existing", existing_of(self.existing, overwrite=self.overwrite))
        if self.existing == "skip" and not self.record:
            skip, without = Setting("existing", "skip"), Setting("record", False)
            raise ConfigError(skip, " goes by the records of earlier runs: leave out ", without)
        self._check_output()

    @property
    def named_file(self) -> Path | None:
        """The video or picture that `output` names; None where it is a folder, or is to be one."""
        named = self.output is not None and self.output.suffix.lower() in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)
        return self.output if named and self.output is not None and not self.output.is_dir() else None

    def _check_output(self) -> None:
        if self.output is None or self.output.is_dir():
            return
        output, suffix = Setting("output", self.output), self.output.suffix.lower()
        if self.named_file is not None and not self.video:
            raise ConfigError(output, " names a video, but none is written: give a folder, or leave out ", _NO_VIDEO)
        if suffix in VIDEO_SUFFIXES and self.container not in ("mp4", suffix[1:]):
            container = Setting("container", self.container)
            raise ConfigError(output, " and ", container, " exclude each other: leave one of them out")
        if suffix in _OTHER_VIDEOS:
            videos = ", ".join(VIDEO_SUFFIXES)
            raise ConfigError(output, f" must be a folder, or name a video ending in one of {videos}")
        for name, suffixes in (("table", TABLE_SUFFIXES), ("maps", MAPS_SUFFIXES)):
            if suffix in suffixes and suffix not in VIDEO_SUFFIXES:
                instead = Setting(name, self.output)
                raise ConfigError(output, " must be a folder or name the video; for this file give ", instead)


_NO_VIDEO = Setting("video", False)


def check_format(name: str, wanted: str | None, suffixes: tuple[str, ...]) -> None:
    """See that a table or maps are wanted in a format that is known.

    Raises:
        ConfigError: they are not.
    """
    known = [suffix[1:] for suffix in suffixes]
    if wanted is not None and wanted not in ("none", *known) and Path(wanted).suffix.lower() not in suffixes:
        raise ConfigError(
            Setting(name), f" must be {', '.join(known)}, a path ending in one of these, or none; got {wanted!r}"
        )


def existing_of(existing: Existing, *, overwrite: bool) -> Existing:
    """What becomes of results that are there, of the option and its short form.

    Raises:
        ConfigError: they exclude each other.

    Example:
        >>> existing_of("refuse", overwrite=True), existing_of("skip", overwrite=False)
        ('overwrite', 'skip')
    """
    if overwrite and existing == "skip":
        skip, replace = Setting("existing", "skip"), Setting("overwrite", True)
        raise ConfigError(skip, " and ", replace, " exclude each other: leave one of them out")
    return "overwrite" if overwrite else existing


def check_maps(maps: Path | None) -> None:
    """See that a file of maps to read ends like one.

    Raises:
        ConfigError: it does not.
    """
    if maps is not None and maps.suffix.lower() not in MAPS_SUFFIXES:
        known = " or ".join(MAPS_SUFFIXES)
        raise ConfigError(Setting("maps", maps), f" must be maps of a run, ending in {known}")


@dataclass(frozen=True)
class RunOptions(WithPrediction):
    """All options of `run`, stage by stage."""

    model: ModelOptions = field(default_factory=ModelOptions)
    """Which model."""
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    """How the source is read."""
    recurrence: RecurrenceOptions = field(default_factory=RecurrenceOptions)
    """What the model remembers."""
    cuts: CutOptions = field(default_factory=CutOptions)
    """How cuts are found."""
    smooth: SmoothOptions = field(default_factory=SmoothOptions)
    """How densities are steadied in time."""
    viewers: ViewerOptions = field(default_factory=ViewerOptions)
    """What viewers do that pictures do not say."""
    tracks: TrackOptions = field(default_factory=TrackOptions)
    """How the table's numbers are made."""
    render: RenderOptions = field(default_factory=RenderOptions)
    """How the heatmap is drawn."""
    video: VideoOptions = field(default_factory=VideoOptions)
    """How the video is encoded."""
    driving: DrivingOptions = field(default_factory=DrivingOptions)
    """Which areas the report of a drive has."""
    output: OutputOptions = field(default_factory=OutputOptions)
    """What is written, and where."""
