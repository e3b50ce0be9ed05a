"""What `vidsal bench` is asked: which model, what runs at once, how much is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from vidsal.decode.options import DecodeOptions
from vidsal.options import Checked, Range, Seconds
from vidsal.pipe.options import ModelOptions

__all__ = ["BenchOptions", "LoadOptions", "MeasureOptions"]


@dataclass(frozen=True)
class LoadOptions(Checked):
    """What runs at once."""

    state: Literal["carry", "reset"] = "carry"
    """carry goes on from the frame before; reset starts afresh at every frame, as published."""
    steps: Annotated[int, Range(at_least=1)] | None = None
    """Refinement steps a frame; default: 1 with carry, the model's own number with reset."""
    streams: Annotated[int, Range(at_least=1)] = 1
    """Videos that advance side by side in each call of the model."""
    batch: Annotated[int, Range(at_least=1)] = DecodeOptions.batch_size
    """Consecutive frames of each video in a call."""
    sweep: bool = False
    """Measure reset and carry with 1, 8 and 32 videos of 1 and 8 frames a call instead (on a CPU, up to 8 frames in
    all), and the error of every reduced precision."""


@dataclass(frozen=True)
class MeasureOptions(Checked):
    """How much is measured."""

    repeats: Annotated[int, Range(at_least=1)] = 10
    """Least number of measured calls of each stage."""
    seconds: Annotated[float, Range(at_least=0)] = 1.0
    """Least seconds of measured calls of each stage."""
    memory_frames: Annotated[int, Range(at_least=0)] | None = None
    """Frames of the run that watches memory; 0 for none; default: 10,000 on CUDA, 100 elsewhere."""
    video: bool = True
    """Also time `vidsal run` from a file to files, its stages alone, and plain transcoding."""
    clip: Path | None = None
    """Video to run; default: a made one of 1280x720 at 25 frames a second."""
    clip_seconds: Annotated[Seconds, Range(above=0)] | None = None
    """Length of the made clip; default: 20 on CUDA, 4 elsewhere."""
    long_seconds: Annotated[Seconds, Range(at_least=0)] = 0.0
    """Also run the clip repeated to this length (600: ten minutes), and compare the memory; 0 leaves it out."""
    hwaccel: str = DecodeOptions.hwaccel
    """Decoder of the device for that run, as of `vidsal run`."""
    threads: Annotated[int, Range(at_least=1)] | None = None
    """Threads of torch on the CPU; default: as `vidsal run` sets them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # Checked now, not after everything else was measured.
        DecodeOptions(hwaccel=self.hwaccel)


@dataclass(frozen=True)
class BenchOptions:
    """All options of `bench`."""

    not_offered: ClassVar[frozenset[str]] = frozenset({"runtime"})
    """Options that are refused here, and that no help lists."""
    model: ModelOptions = field(default_factory=ModelOptions)
    """Which model; one without weights here is measured with random ones."""
    load: LoadOptions = field(default_factory=LoadOptions)
    """What runs at once."""
    measure: MeasureOptions = field(default_factory=MeasureOptions)
    """How much is measured."""
