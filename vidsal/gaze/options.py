"""What an import of recorded gaze is asked: `GazeOptions`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from vidsal.errors import ConfigError, Setting
from vidsal.options import NONE, Checked, Range

__all__ = ["MAKERS", "EventKind", "GazeOptions", "MakerName", "TimeUnit"]

MakerName = Literal["auto", "tobii", "pupil", "pupil-cloud", "neon", "eyelink", "gazepoint", "csv"]
"""Whose export format a file has."""

MAKERS: dict[str, str] = {
    "tobii": "Tobii Pro Lab or Studio: data export (.tsv, .csv)",
    "pupil": "Pupil Core: gaze_positions.csv, fixations.csv, or those of a surface, of Pupil Player",
    "pupil-cloud": "Pupil Invisible and Neon: gaze.csv or fixations.csv of Pupil Cloud or of Neon Player",
    "eyelink": "EyeLink: .asc, as edf2asc writes it",
    "gazepoint": "Gazepoint Analysis: all gaze or fixations (.csv)",
    "csv": "any other table with the columns x, y and a time",
}
"""What each is; neon is pupil-cloud."""

EventKind = Literal["none", "idt", "ivt"]
"""How fixations are found among samples."""

TimeUnit = Literal["auto", "s", "ms", "us", "ns"]
"""Units of time."""


@dataclass(frozen=True)
class GazeOptions(Checked):
    """How a recording becomes rows on the clock and in the pixels of a video."""

    participant: str | None = None
    """Name of the participant, whatever the files say, which must not name several; default: as the file says, else
    its name (its folder's for Pupil)."""
    trial: str | None = None
    """Name of the trial, whatever the files say, which must not name several of one participant; default: as the file
    says (Tobii: the recording's name), else the video's name."""
    stimulus: str | None = None
    """Take only rows that were recorded while this was shown, as the file calls it; default: the video's name, with any
    ending or none; all rows of a file that names nothing. Only Tobii's files and Gazepoint's name what was shown."""
    take: Literal["auto", "samples", "fixations"] = "auto"
    """Of files that hold both: samples, or the fixations that the maker's program found; auto is samples."""
    time_unit: TimeUnit = "auto"
    """Unit of the times of a plain table: s, ms, us or ns; auto takes it from the name of the column, such as
    time_ms."""
    offset: float = 0.0
    """Seconds added to all times: where the video begins this much after the clock's zero, it is negative."""
    world_timestamps: Path | None = None
    """Table of the times of the scene camera's frames; default: world_timestamps.csv beside the recording."""
    start_message: str | None = None
    """EyeLink: the message that marks the first frame of the video; default: SYNCTIME, DISPLAY ON or the start of the
    recording."""
    units: Literal["auto", "pixel", "share"] = "auto"
    """What the positions of a plain table are: pixels, or shares from 0 to 1; auto takes it from the names of the
    columns, such as x_px or x_norm, and refuses to guess."""
    origin: Literal["auto", "top", "bottom"] = "auto"
    """Where y is 0 in a plain table; auto is top."""
    space: Literal["auto", "video", "screen"] = "auto"
    """What the positions of a plain table refer to; auto is the video."""
    zero_is_lost: bool = False
    """Plain tables: a row with x and y of exactly 0 is a lost eye, and not valid."""
    recorded_size: str | None = None
    """Size of the picture that pixels of the video refer to, as 1920x1080; default: what the file says, else the
    video's own."""
    screen: str | None = None
    """Size of the screen in pixels, as 1920x1080; default: what the file says."""
    video_at: str | None = None
    """Where the video stood on the screen, in its pixels, as X,Y,WIDTH,HEIGHT; default: what the file says, else in the
    middle, as large as fits."""
    min_confidence: Annotated[float, Range(at_least=0, at_most=1)] = 0.6
    """Pupil Core: gaze below this confidence is not valid."""
    events: EventKind = "none"
    """Find fixations among samples: idt by dispersion, ivt by velocity."""
    pixels_per_degree: Annotated[float, Range(above=0, otherwise=(NONE, " for no events"))] | None = None
    """Pixels of the video a degree of visual angle; the events need it."""
    max_dispersion: Annotated[float, Range(above=0)] = 1.0
    """Largest dispersion of a fixation by idt, in degrees: the width and the height of its samples, added."""
    max_velocity: Annotated[float, Range(above=0)] = 30.0
    """Velocity from which ivt takes a saccade, in degrees a second."""
    min_fixation: Annotated[float, Range(above=0)] = 0.1
    """Shortest fixation found, in seconds."""
    strict: bool = True
    """Refuse a recording with findings that make its numbers doubtful; false writes it all the same and names them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.screen_size(), self.recorded(), self.video_box()
        for name in ("participant", "trial", "stimulus"):
            if getattr(self, name) == "":
                raise ConfigError(Setting(name, "''"), " must not be empty")
        if self.events != "none" and self.pixels_per_degree is None:
            what = " finds fixations by degrees of visual angle: say how many pixels of the video a degree has with "
            raise ConfigError(Setting("events", self.events), what, Setting("pixels_per_degree"))

    def screen_size(self) -> tuple[int, int] | None:
        """(width, height) of the screen in pixels; None where not given.

        Raises:
            ConfigError: it is not WIDTHxHEIGHT.
        """
        return _size("screen", self.screen)

    def recorded(self) -> tuple[int, int] | None:
        """(width, height) of the picture that pixels refer to; None where not given.

        Raises:
            ConfigError: it is not WIDTHxHEIGHT.
        """
        return _size("recorded_size", self.recorded_size)

    def video_box(self) -> tuple[float, float, float, float] | None:
        """(x, y, width, height) of the video on the screen in pixels; None where not given.

        Raises:
            ConfigError: it is not X,Y,WIDTH,HEIGHT.
        """
        if self.video_at is None:
            return None
        try:
            x, y, width, height = (float(part) for part in self.video_at.split(","))
        except ValueError:
            x = y = width = height = 0.0
        if not (width > 0 and height > 0 and width < 1e9 and height < 1e9 and abs(x) < 1e9 and abs(y) < 1e9):
            text = f" must be X,Y,WIDTH,HEIGHT in pixels of the screen, as 0,60,1920,960; got {self.video_at!r}"
            raise ConfigError(Setting("video_at"), text)
        return x, y, width, height


def _size(name: str, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.lower().split("x")]
    if len(parts) != 2 or not all(part.isdecimal() and 0 < int(part) < 10**6 for part in parts):
        raise ConfigError(Setting(name), f" must be WIDTHxHEIGHT in pixels, as 1920x1080; got {text!r}")
    return int(parts[0]), int(parts[1])
