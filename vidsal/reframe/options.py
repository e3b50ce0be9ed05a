"""What a reframing is asked: which aspects, how the camera moves, what is written, and how it is predicted."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from vidsal.decode.options import DecodeOptions
from vidsal.errors import ConfigError, Setting
from vidsal.options import Checked, Range
from vidsal.pipe.options import (
    TABLE_SUFFIXES,
    Existing,
    ModelOptions,
    RecurrenceOptions,
    WithPrediction,
    check_format,
    check_maps,
    existing_of,
)
from vidsal.sinks.options import VideoOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import CutOptions, ViewerOptions

__all__ = ["CameraOptions", "ReframeOptions", "ReframeOutputOptions", "WindowOptions", "parse_aspect"]

_MOST_EXTREME = 20
"""No aspect is wider than this to one, or higher."""


@dataclass(frozen=True)
class WindowOptions(Checked):
    """What is cut out of the picture."""

    aspect: str = "9:16"
    """Width to height of the results as they are displayed, several with commas between: 9:16,1:1,4:5. In a YAML file
    it needs quotes."""
    height: Annotated[int, Range(at_least=2, at_most=16384)] | None = None
    """Rows of the results, even, with square pixels; default: the window as it is cut, without scaling."""
    pin: Path | None = None
    """File of boxes that have to stay inside the window: vidsal's JSON or CVAT's XML for video, see the guide."""
    pad: Literal["blur", "black", "none"] = "blur"
    """Where pinned boxes do not fit into the window: widen it for the shot and fill what is free above and below with
    the picture blurred, or with black; or none, which cuts them off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = self.aspects
        if len({ratio for _, ratio in wanted}) < len(wanted):
            raise ConfigError(Setting("aspect", self.aspect), " names an aspect twice: give each once")
        if self.height is not None and self.height % 2:
            raise ConfigError(Setting("height"), f" must be even, got {self.height}")

    @property
    def aspects(self) -> list[tuple[str, Fraction]]:
        """Each aspect as it stands in names of files, and its width over its height.

        Raises:
            ConfigError: one is none.

        Example:
            >>> WindowOptions(aspect="9:16, 1:1").aspects
            [('9x16', Fraction(9, 16)), ('1x1', Fraction(1, 1))]
        """
        return [parse_aspect(text) for text in self.aspect.split(",")]


def parse_aspect(text: str) -> tuple[str, Fraction]:
    """An aspect such as 9:16, 9x16 or 2.39:1: as it stands in names of files, and its width over its height.

    Raises:
        ConfigError: it is none, or one of its sides is 20 times as long as the other.
    """
    width, separator, height = text.strip().lower().replace("x", ":").partition(":")
    try:
        sides = [Fraction(side) for side in (width, height)] if separator else []
        ratio = sides[0] / sides[1]
    except (ValueError, ZeroDivisionError, IndexError):
        ratio = Fraction(0)
    if not Fraction(1, _MOST_EXTREME) <= ratio <= _MOST_EXTREME:
        raise ConfigError(
            Setting("aspect"),
            f" must be width:height, such as 9:16 or 2.39:1, at most {_MOST_EXTREME}:1 or 1:{_MOST_EXTREME}; "
            f"got {text.strip()!r}",
        )
    return f"{width.strip()}x{height.strip()}", ratio


@dataclass(frozen=True)
class CameraOptions(Checked):
    """How the window moves within a shot; at cuts it jumps."""

    stay: bool = False
    """Keep the window still within each shot, at the place that keeps most of the predicted attention."""
    max_speed: Annotated[float, Range(above=0, at_most=10)] = 0.25
    """Highest speed, in picture widths a second (heights for a window that slides up and down)."""
    max_acceleration: Annotated[float, Range(above=0, at_most=100)] = 0.5
    """Highest acceleration, in picture widths a second squared."""
    least_gain: Annotated[float, Range(at_least=0, at_most=1)] = 0.02
    """The window stands where moving would keep less than this share of the shot's attention more."""
    move_price: Annotated[float, Range(at_least=0)] = 0.5
    """What a move has to gain: seconds of all attention for each picture width."""
    turn_price: Annotated[float, Range(at_least=0)] = 0.1
    """What a change of speed has to gain: seconds of all attention for each picture width a second."""
    jerk_price: Annotated[float, Range(at_least=0)] = 0.1
    """What a change of acceleration has to gain: seconds of all attention for each picture width a second squared."""


@dataclass(frozen=True)
class ReframeOutputOptions(Checked):
    """What is written, and where."""

    output: Path | None = None
    """Folder for the results; default: beside the input."""
    video: bool = True
    """Write the videos; without them only the paths are."""
    container: Literal["mp4", "mkv", "mov"] = "mp4"
    """Container of the written videos; another is taken where the chosen one cannot hold a stream of the input."""
    table: str | None = "csv"
    """Table of where the window is, a row a frame: csv, parquet, jsonl, or none."""
    keyframes: tuple[Literal["fcpxml", "aftereffects"], ...] = ("fcpxml",)
    """Also write the path as keyframes, several with commas between: fcpxml (a timeline for Final Cut Pro and DaVinci
    Resolve), aftereffects (text to paste onto a layer, NAME.vidsal.9x16.keyframes.txt)."""
    existing: Existing = "refuse"
    """Where results are there already: refuse (leave that input, naming the file), skip (leave it where all its results
    are there, made from this input with these options and this model; else refuse), or overwrite."""
    overwrite: bool = False
    """Short for existing=overwrite."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_format("table", self.table, TABLE_SUFFIXES)
        if self.table not in (None, "none", *(suffix[1:] for suffix in TABLE_SUFFIXES)):
            raise ConfigError(Setting("table"), f" must be csv, parquet, jsonl or none; got {self.table!r}")
        object.__setattr__(self, "existing", existing_of(self.existing, overwrite=self.overwrite))
        if self.output is not None and self.output.suffix.lower() in (".mp4", ".mkv", ".mov"):
            output = Setting("output", self.output)
            raise ConfigError(output, " must be a folder: each aspect has a video and a table of its own")


@dataclass(frozen=True)
class ReframeOptions(WithPrediction):
    """All options of `reframe`, stage by stage."""

    window: WindowOptions = field(default_factory=WindowOptions)
    """What is cut out."""
    camera: CameraOptions = field(default_factory=CameraOptions)
    """How the window moves."""
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
    viewers = ViewerOptions("off")  # no field: a window goes by what is shown, not by where eyes still rest
    video: VideoOptions = field(default_factory=VideoOptions)
    """How the videos are encoded."""
    output: ReframeOutputOptions = field(default_factory=ReframeOutputOptions)
    """What is written, and where."""

    def __post_init__(self) -> None:
        check_maps(self.maps)
