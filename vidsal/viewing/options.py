"""What is asked where recorded gaze and a video are looked at together: drawn, or checked by predicted densities."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from vidsal.data.options import DensityOptions
from vidsal.decode.options import DecodeOptions
from vidsal.errors import ConfigError, Setting
from vidsal.options import Checked, Range
from vidsal.pipe.options import (
    MAPS_SUFFIXES,
    TABLE_SUFFIXES,
    VIDEO_SUFFIXES,
    ModelOptions,
    RecurrenceOptions,
    WithPrediction,
    check_maps,
)
from vidsal.sinks.options import VideoOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import Colormap, CutOptions, ViewerOptions

__all__ = ["CheckGazeOptions", "DrawGazeOptions", "GazeDrawingOptions", "GazeOutputOptions", "VariantOptions"]


@dataclass(frozen=True)
class GazeDrawingOptions(Checked):
    """What is drawn of the viewers."""

    trail_seconds: Annotated[float, Range(at_least=0, at_most=60)] = 1.0
    """How long a viewer's way stays to be seen; 0: only the point of the moment."""
    density: bool = True
    """Draw the density of all viewers below their points; its hottest colour stands where half of them look at one
    place."""
    names: bool = True
    """Write the participants' names beside their points."""
    sigma: str | None = None
    """Standard deviation of the Gaussian on each viewer's place: pixels of the picture, as 40px, or degrees of visual
    angle, as 1deg; default: 3 % of the picture's longer side."""
    pixels_per_degree: Annotated[float, Range(above=0)] | None = None
    """Pixels of the picture that one degree of visual angle covers; a sigma in degrees needs it, and the table then has
    the disagreement in degrees too."""
    participants: str | None = None
    """Only these, with commas between; default: all."""
    trials: str | None = None
    """Only these viewings, with commas between; default: all."""
    beside: str = "none"
    """What stands right of it, at twice the width: none, model (what the model predicts), or the maps of an earlier run
    of this video (a path, .mkv or .npz)."""
    colormap: Colormap = "plasma"
    """Colours of densities from cold to hot: turbo, inferno, magma, plasma, viridis, cividis, hot or jet."""
    opacity: Annotated[float, Range(at_least=0, at_most=1)] = 0.6
    """Highest opacity of densities."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma is not None:
            # Degrees may be given for the table alone.
            is_pixels = self.sigma.strip().endswith("px")
            DensityOptions(sigma=self.sigma, pixels_per_degree=None if is_pixels else self.pixels_per_degree)
        if self.beside not in ("none", "model") and self.maps is None:
            known = ", ".join(MAPS_SUFFIXES)
            what = f" must be none, model, or a path of maps of a run ({known}); got {self.beside!r}"
            raise ConfigError(Setting("beside"), what)

    @property
    def maps(self) -> Path | None:
        """The maps that stand beside; None where they are predicted, or nothing does."""
        path = Path(self.beside)
        return path if path.suffix.lower() in MAPS_SUFFIXES else None

    def sigma_pixels(self, *, height: int, width: int) -> float:
        """Standard deviation in pixels of a picture."""
        if self.sigma is None:
            from vidsal.data.fixations import SIGMA_SHARE  # heavy, and no help text needs it

            return SIGMA_SHARE * max(height, width)
        is_pixels = self.sigma.strip().endswith("px")
        degree = None if is_pixels else self.pixels_per_degree
        return DensityOptions(sigma=self.sigma, pixels_per_degree=degree).sigma_pixels


@dataclass(frozen=True)
class GazeOutputOptions(Checked):
    """What is written, and where."""

    output: Path | None = None
    """Folder for the results; default: beside the video."""
    container: Literal["mp4", "mkv", "mov"] = "mp4"
    """Container of the written video; another is taken where the chosen one cannot hold a stream of the input."""
    table: str = "csv"
    """Table of how many look where and how far they disagree, a row a frame: csv, parquet, jsonl, or none."""
    overwrite: bool = False
    """Replace results that are there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.table not in ("csv", "parquet", "jsonl", "none"):
            raise ConfigError(Setting("table"), f" must be csv, parquet, jsonl or none; got {self.table!r}")
        suffixes = (*VIDEO_SUFFIXES, *TABLE_SUFFIXES)
        if self.output is not None and self.output.suffix.lower() in suffixes and not self.output.is_dir():
            raise ConfigError(Setting("output", self.output), " must be a folder: a video and a table go into it")


@dataclass(frozen=True)
class DrawGazeOptions(WithPrediction):
    """All options of `draw_gaze`, stage by stage."""

    drawing: GazeDrawingOptions = field(default_factory=GazeDrawingOptions)
    """What is drawn of the viewers."""
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
    """What viewers of a video do that its pictures do not say."""
    video: VideoOptions = field(default_factory=VideoOptions)
    """How the video is encoded."""
    output: GazeOutputOptions = field(default_factory=GazeOutputOptions)
    """What is written, and where."""


MOST_STEPS = 500
"""Shifts that are tried each way, at most: all are scored at once."""


@dataclass(frozen=True)
class VariantOptions(Checked):
    """Which other ways to read the gaze are tried."""

    max_shift: Annotated[float, Range(at_least=0, at_most=600)] = 5.0
    """Farthest shift of the clock that is tried, in seconds, either way."""
    shift_step: Annotated[float, Range(at_least=0.01)] = 0.1
    """Seconds from one shift to the next."""
    margin: Annotated[float, Range(at_least=0)] = 0.2
    """How much higher the score (NSS) of another reading must be before it is named; its interval must lie above 0
    too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_shift > MOST_STEPS * self.shift_step:
            shift, step = Setting("max_shift", self.max_shift), Setting("shift_step", self.shift_step)
            raise ConfigError(shift, f" is more than {MOST_STEPS} steps of ", step, ": take a longer step")


@dataclass(frozen=True)
class CheckGazeOptions(WithPrediction):
    """All options of `check_gaze`, stage by stage."""

    variants: VariantOptions = field(default_factory=VariantOptions)
    """Which other ways to read the gaze are tried."""
    maps: Path | None = None
    """Takes the maps of an earlier run of this video (`vidsal run --maps`: .mkv or .npz), in place of predicting."""
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
    """What viewers of a video do that its pictures do not say."""

    def __post_init__(self) -> None:
        check_maps(self.maps)
