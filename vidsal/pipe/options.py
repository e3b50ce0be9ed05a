"""What a run is asked: the options of each stage, and of all."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, Unpack

from vidsal.decode.options import DecodeOptions
from vidsal.errors import ConfigError, Setting
from vidsal.model.options import Precision, Task
from vidsal.options import Checked, Range
from vidsal.sinks.options import VideoOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import CutOptions, RenderOptions, TrackOptions

if TYPE_CHECKING:
    from vidsal.model.checkpoint import SaliencyModel

__all__ = ["ModelOptions", "OutputOptions", "PredictOptions", "RecurrenceOptions", "RunOptions", "StageOptions"]


@dataclass(frozen=True)
class ModelOptions(Checked):
    """Which model, where, how exact."""

    model: str = "sam-lite"
    """Name of a model with weights here (`vidsal weights list`), or path of a vidsal checkpoint (.safetensors)."""
    device: str = "auto"
    """auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:N or mps."""
    precision: Precision = "auto"
    """fp32; bf16, several times as fast on a CPU with AMX; fp16, on CUDA and MPS only; auto is bf16 on CUDA and fp32
    elsewhere."""
    task: Task = "free-viewing"
    """What the viewers do: free-viewing takes the model named; driving takes the one for drivers' gaze beside it
    (sam-lite-driver for sam-lite)."""

    @property
    def chosen(self) -> str | Path:
        """The model for the task: a name or a path.

        Raises:
            ConfigError: there is none, see `for_task`.
        """
        from vidsal.model.checkpoint import for_task

        return for_task(self.model, self.task)

    def load(self) -> SaliencyModel:
        """The model for the task.

        Raises:
            CheckpointError: as `load_model`.
            ConfigError: as `load_model`.
        """
        from vidsal.model.checkpoint import load_model

        return load_model(self.chosen, device=self.device, precision=self.precision)


@dataclass(frozen=True)
class RecurrenceOptions(Checked):
    """What the model remembers from frame to frame."""

    state: Literal["carry", "reset"] = "carry"
    """carry goes on from the frame before and starts afresh at cuts; reset starts afresh at every frame, as the
    networks were published."""
    steps: Annotated[int, Range(at_least=1)] | None = None
    """Refinement steps a frame. With carry 1 (default: 1) to the model's own number T (4 for sam-resnet and sam-vgg, 3
    for sam-lite), which a frame that starts afresh always gets; with reset any number (default: T)."""
    every: Annotated[int, Range(at_least=1)] = 1
    """Run the model on every n-th frame only (and at cuts); the maps in between are interpolated in time."""

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


@dataclass(frozen=True)
class PredictOptions:
    """How the densities of a video come about, stage by stage."""

    recurrence: RecurrenceOptions = field(default_factory=RecurrenceOptions)
    """What the model remembers."""
    cuts: CutOptions = field(default_factory=CutOptions)
    """How cuts are found."""
    smooth: SmoothOptions = field(default_factory=SmoothOptions)
    """How densities are steadied in time."""

    @property
    def looks_ahead(self) -> bool:
        """Whether a map depends on later frames than its own."""
        return self.recurrence.every > 1 or self.smooth.make().looks_ahead

    def but(self, **stages: Unpack[StageOptions]) -> PredictOptions:
        """The same with some stages replaced; those that are None stay.

        Example:
            >>> PredictOptions().but(recurrence=RecurrenceOptions(every=2), cuts=None).recurrence.every
            2
        """
        given: dict[str, Any] = {name: stage for name, stage in stages.items() if stage is not None}
        return dataclasses.replace(self, **given)


@dataclass(frozen=True)
class OutputOptions(Checked):
    """What is written, and where."""

    output: Path | None = None
    """Folder for the results; default: beside the input (the working folder for cameras, addresses and -)."""
    video: bool = True
    """Write the picture with the heatmap over it."""
    container: Literal["mp4", "mkv", "mov"] = "mp4"
    """Container of the written video; mkv is taken where the chosen one cannot hold a stream of the input."""
    table: str | None = "csv"
    """Table of numbers a frame: csv, parquet or jsonl beside the video, a path ending in one of these (a bare name
    is put beside the video too), or none."""
    maps: str | None = None
    """Also write the raw densities: mkv (lossless 16-bit grey video) or npz beside the video, or a path to either."""
    overwrite: bool = False
    """Replace results that are already there; default: refuse, naming the file."""


@dataclass(frozen=True)
class RunOptions:
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
    tracks: TrackOptions = field(default_factory=TrackOptions)
    """How the table's numbers are made."""
    render: RenderOptions = field(default_factory=RenderOptions)
    """How the heatmap is drawn."""
    video: VideoOptions = field(default_factory=VideoOptions)
    """How the video is encoded."""
    output: OutputOptions = field(default_factory=OutputOptions)
    """What is written, and where."""

    @property
    def prediction(self) -> PredictOptions:
        """Those of the stages between the frames and their densities."""
        return PredictOptions(self.recurrence, self.cuts, self.smooth)
