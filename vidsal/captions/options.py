"""What placing captions is asked: which subtitles, where they may stand, what is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from vidsal.decode.options import DecodeOptions
from vidsal.errors import ConfigError, Setting
from vidsal.options import Checked, Range
from vidsal.pipe.options import (
    Existing,
    ModelOptions,
    RecurrenceOptions,
    WithPrediction,
    check_maps,
    existing_of,
)
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import CutOptions, ViewerOptions

__all__ = ["PLACES", "CaptionOptions", "CaptionsOutputOptions", "Place", "PlaceCaptionsOptions"]

Place = Literal["bottom", "top", "left", "right"]

PLACES: tuple[Place, ...] = ("bottom", "top", "left", "right")
"""Where a cue may stand; of places that cover the same, the first is taken."""


@dataclass(frozen=True, kw_only=True)
class CaptionOptions(Checked):
    """Which subtitles, and where they may stand."""

    captions: Path | None = None
    """File of subtitles: .srt, .vtt, .ass or .ssa; None: a text stream of the video itself."""
    stream: Annotated[int, Range(at_least=0)] | None = None
    """Takes the video's text stream of this number, counted from 0 among its text streams; None: the one marked as
    default, else the first."""
    language: str | None = None
    """Takes the first text stream that is tagged with this language (eng, deu, ...)."""
    encoding: str | None = None
    """Encoding of the file of subtitles; None: UTF-8, UTF-16 where it says so, else Windows-1252."""
    places: tuple[Place, ...] = PLACES
    """Places to choose from, with commas between (default: bottom,top,left,right). The place that a cue leaves only for
    a gain is the bottom where it is among them, else the first."""
    gain: Annotated[float, Range(at_least=0, at_most=1)] = 0.03
    """Share of the attention that another place must uncover before a cue leaves the default place, or the place of the
    cue before in the same shot."""
    font_size: Annotated[float, Range(at_least=0.01, at_most=0.3)] = 0.05
    """Size of the letters as a share of the picture's height; 0.05 is WebVTT's own. A file of styles has its own
    sizes."""
    safe_area: Annotated[float, Range(at_least=0.5, at_most=1)] = 0.9
    """Share of the picture's width and height, around its centre, in which captions stay: 0.9 is the graphics safe area
    of EBU R 95 and the safe title area of SMPTE ST 2046-1; 0.8 that of older television."""
    replace_own: bool = False
    """Places cues that have a position of their own, too; they stay where they are without."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.places:
            raise ConfigError(Setting("places"), f" must name at least one of {', '.join(PLACES)}")
        if self.stream is not None and self.language is not None:
            stream, language = Setting("stream", self.stream), Setting("language", self.language)
            raise ConfigError(stream, " and ", language, " exclude each other: leave one of them out")
        for name in ("stream", "language"):
            if self.captions is not None and (value := getattr(self, name)) is not None:
                ours = Setting(name, value)
                raise ConfigError(ours, " is for a stream of the video, and ", Setting("captions"), " names a file")
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except LookupError as error:
                raise ConfigError(Setting("encoding"), f" is not known: {self.encoding!r}; try utf-8") from error


@dataclass(frozen=True)
class CaptionsOutputOptions(Checked):
    """What is written, and where."""

    output: Path | None = None
    """Folder for the results, or the .vtt or .ass file itself; None: beside the video."""
    to: Literal["vtt", "ass"] | None = None
    """Format: vtt (WebVTT, with settings of line, position, size and align) or ass (Advanced SubStation Alpha); None:
    that of the named output, else vtt."""
    table: bool = True
    """Write a table (.csv) beside them: for each cue its place, and what it would cover at each of them."""
    existing: Existing = "refuse"
    """Where results are there already: refuse, naming the file; skip, where they were made from these inputs with these
    options and this model, else refuse; or overwrite."""
    overwrite: bool = False
    """Short for existing=overwrite."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "existing", existing_of(self.existing, overwrite=self.overwrite))
        if self.output is None or self.output.is_dir():
            return
        suffix = self.output.suffix.lower()
        if suffix and suffix not in (".vtt", ".ass"):
            raise ConfigError(Setting("output", self.output), " must be a folder, or name a .vtt or an .ass file")
        if suffix and self.to is not None and suffix != f".{self.to}":
            output, to = Setting("output", self.output), Setting("to", self.to)
            raise ConfigError(output, " and ", to, " exclude each other: leave one of them out")

    @property
    def format(self) -> Literal["vtt", "ass"]:
        """Which of the two is written."""
        named = self.named_file
        return self.to or ("ass" if named is not None and named.suffix.lower() == ".ass" else "vtt")

    @property
    def named_file(self) -> Path | None:
        """The file that `output` names; None where it is a folder."""
        return None if self.output is None or self.output.is_dir() or not self.output.suffix else self.output


@dataclass(frozen=True)
class PlaceCaptionsOptions(WithPrediction):
    """All options of `place_captions`, stage by stage."""

    captions: CaptionOptions = field(default_factory=CaptionOptions)
    """Which subtitles, and where they may stand."""
    maps: Path | None = None
    """Takes the maps of an earlier run of this video (`vidsal run --maps`: .mkv or .npz), in place of predicting."""
    output: CaptionsOutputOptions = field(default_factory=CaptionsOutputOptions)
    """What is written, and where."""
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
    viewers = ViewerOptions("off")  # no field: a caption goes by what is shown, not by where eyes still rest

    def __post_init__(self) -> None:
        check_maps(self.maps)
