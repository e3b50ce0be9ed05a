"""What `vidsal bench` is asked: which model, what runs at once, how much is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vidsal.decode import DecodeOptions
from vidsal.errors import ConfigError
from vidsal.pipe.options import ModelOptions

__all__ = ["BenchOptions", "LoadOptions", "MeasureOptions"]


@dataclass(frozen=True)
class LoadOptions:
    """What runs at once."""

    state: Literal["carry", "reset"] = "carry"
    """carry goes on from the frame before; reset starts afresh at every frame, as published."""
    steps: int | None = None
    """Refinement steps a frame; default: 1 with carry, the model's own number with reset."""
    streams: int = 1
    """Videos that advance side by side in each call of the model."""
    batch: int = DecodeOptions.batch_size
    """Consecutive frames of each stream in a call."""
    sweep: bool = False
    """Measure reset and carry with 1, 8 and 32 streams of 1 and 8 frames a call instead (on a CPU, up to 8 frames in
    all), and the error of every reduced precision."""

    def __post_init__(self) -> None:
        if self.state not in ("carry", "reset"):
            raise ConfigError(f"state must be carry or reset, got {self.state!r}")
        for name in ("steps", "streams", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class MeasureOptions:
    """How much is measured."""

    repeats: int = 10
    """Least number of measured calls of each stage."""
    seconds: float = 1.0
    """Least seconds of measured calls of each stage."""
    memory_frames: int | None = None
    """Frames of the run that watches memory; 0 for none; default: 10,000 on CUDA, 100 elsewhere."""
    video: bool = True
    """Also time `vidsal run` from a file to files."""
    clip: Path | None = None
    """Video to run; default: a made one of 1280x720 at 25 frames a second."""
    clip_seconds: float | None = None
    """Length of the made clip; default: 20 on CUDA, 4 elsewhere."""
    hwaccel: str = DecodeOptions.hwaccel
    """Decoder of the device for that run, as of `vidsal run`."""
    threads: int | None = None
    """Threads of torch on the CPU; default: as `vidsal run` sets them."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ConfigError(f"repeats must be at least 1, got {self.repeats}")
        if not 0 <= self.seconds < math.inf:
            raise ConfigError(f"seconds must be finite and at least 0, got {self.seconds}")
        if self.memory_frames is not None and self.memory_frames < 0:
            raise ConfigError(f"memory_frames must be at least 0, got {self.memory_frames}")
        if self.clip_seconds is not None and not 0 < self.clip_seconds < math.inf:
            raise ConfigError(f"clip_seconds must be finite and positive, got {self.clip_seconds}")
        # Told now, not after everything else was measured.
        DecodeOptions(hwaccel=self.hwaccel)
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1, got {self.threads}")


@dataclass(frozen=True)
class BenchOptions:
    """All options of `bench`."""

    model: ModelOptions = field(default_factory=ModelOptions)
    """Which model; one without weights here is measured with random ones."""
    load: LoadOptions = field(default_factory=LoadOptions)
    """What runs at once."""
    measure: MeasureOptions = field(default_factory=MeasureOptions)
    """How much is measured."""
