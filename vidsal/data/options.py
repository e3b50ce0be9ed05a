"""Which data sets there are, by name, and what is asked of recorded gaze and of pictures before they are used."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from vidsal.errors import ConfigError, Setting
from vidsal.options import Checked, Range

__all__ = [
    "AugmentOptions",
    "CameraOptions",
    "DensityFormat",
    "DensityOptions",
    "LayoutName",
    "ObjectOptions",
    "OverlayOptions",
    "SheetKind",
    "SheetOptions",
    "TrainingSet",
    "VideoSet",
]

_Challenges = Literal["aim2024", "ntire2026", "crowdsal"]
_Videos = Literal["dhf1k", "hollywood2", "ucf-sports", "dreyeve", "dreyeve-scout", "bdd-a", _Challenges]
_Stills = Literal["salicon", "mit1003", "mit300", "cat2000", "osie", "toronto", "pascal-s", "dut-omron", "isun"]
LayoutName = Literal[_Videos, _Stills, "simple"]
"""Names of the layouts in `vidsal.data.layouts.DATASETS`."""

DensityFormat = Literal["png", "npz"]
"""png: 16 bits of grey, each map's peak at 65535. npz: float32 under the name density, summing to 1."""

_Motions = Literal["camera", "pan", "zoom", "rotation", "shake", "cuts", "objects", "motion-blur"]
_Looks = Literal["drift", "compression", "aspect", "overlays", "flip"]
SheetKind = Literal["default", "all", _Motions, _Looks]
"""What clips show: the default changes, all of them, or one kind alone."""


@dataclass(frozen=True)
class SheetOptions(Checked):
    """Which training clips are shown."""

    kind: SheetKind = "all"
    """One kind of change alone at full strength, all, or what training does by default."""
    clips: Annotated[int, Range(at_least=1)] = 6
    """Rows of the picture."""
    frames: Annotated[int, Range(at_least=1)] = 4
    """Frames of a clip."""
    width: Annotated[int, Range(at_least=16)] = 240
    """Pixels of a frame."""
    seed: Annotated[int, Range(at_least=0)] = 0
    """Another one draws other clips."""


@dataclass(frozen=True, kw_only=True)
class DensityOptions(Checked):
    """How maps are made of fixations."""

    sigma: str
    """Standard deviation of the Gaussian on each fixation: pixels of the picture that the fixations refer to, as 20px,
    or degrees of visual angle, as 1deg."""
    pixels_per_degree: Annotated[float, Range(above=0)] | None = None
    """Pixels of that picture that one degree of visual angle covers; needed with degrees, and only with these."""
    format: DensityFormat = "png"
    """png (16 bits, each map's peak at 65535) or npz (float32, each map summing to 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        number, unit = self._parsed()
        sigma, scale = Setting("sigma"), Setting("pixels_per_degree")
        if unit == "px" and self.pixels_per_degree is not None:
            raise ConfigError(scale, " is for a sigma in degrees, but ", sigma, f" is {self.sigma}; leave one out")
        if unit == "deg" and self.pixels_per_degree is None:
            raise ConfigError(Setting("sigma", self.sigma), " needs ", scale, ": how many pixels one degree covers")
        if not (math.isfinite(number) and number > 0):
            raise ConfigError(sigma, f" must be above 0, got {self.sigma}")

    @property
    def sigma_pixels(self) -> float:
        """Standard deviation in pixels of the picture that the fixations refer to."""
        return self._parsed()[0] * (self.pixels_per_degree or 1)

    def _parsed(self) -> tuple[float, str]:
        found = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?(px|deg)", self.sigma.strip())
        if found is None:
            raise ConfigError(Setting("sigma"), f" must be a number with its unit, as 20px or 1deg; got {self.sigma!r}")
        return float(found[1]), found[2]


@dataclass(frozen=True)
class CameraOptions(Checked):
    """How a filmed picture moves. Speeds are a frame's; each shot draws its own between 0 and the value given."""

    probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.0
    """Chance that a shot is filmed by a camera that moves smoothly, instead of the window's jumps (`shift`, `zoom`)."""
    pan: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.02
    """Speed of pans and tilts, as a share of the window's side a frame."""
    zoom: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.01
    """Speed of zooms, as a share of the window's size a frame."""
    rotation: Annotated[float, Range(at_least=0, at_most=45)] = 0.3
    """Speed of the turn around the line of sight, degrees a frame."""
    tilt: Annotated[float, Range(at_least=0, at_most=45)] = 3.0
    """Largest slant of the first frame, degrees."""
    shake: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.003
    """Step of the shaking hand's random walk, as a share of the window's side a frame."""
    steady_frames: Annotated[float, Range(at_least=1)] = 12.0
    """Frames over which a speed stays about what it is: the time constant of its changes."""
    smallest_window: Annotated[float, Range(at_least=0.05, at_most=1)] = 0.6
    """The window is made smaller, to this share of its side at most, to leave room for the motion; what still does
    not fit is damped."""


@dataclass(frozen=True)
class OverlayOptions(Checked):
    """Text and graphics that lie over the picture and do not move with it."""

    caption_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.0
    """Chance of a caption: one or two lines with an outline or on a plate, from the first frame or a later one on."""
    ticker_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.0
    """Chance of a ticker: a bar along the lower edge whose text scrolls."""
    logo_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.0
    """Chance of a logo in a corner."""
    caption_attraction: Annotated[float, Range(at_least=0, at_most=0.9)] = 0.25
    """Share of all fixations on the frame that fall on a caption while it is shown, spread evenly; the rest stay where
    they are."""
    ticker_attraction: Annotated[float, Range(at_least=0, at_most=0.9)] = 0.1
    """Share of all fixations that fall on a ticker."""
    logo_attraction: Annotated[float, Range(at_least=0, at_most=0.9)] = 0.02
    """Share of all fixations that fall on a logo."""


@dataclass(frozen=True)
class ObjectOptions(Checked):
    """Things that move over the picture: soft-edged ellipses around a fixation of this picture or of another."""

    probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.0
    """Chance that things are pasted into a shot of a clip of two frames or more."""
    most: Annotated[int, Range(at_least=1, at_most=16)] = 2
    """Most things in one shot."""
    smallest: Annotated[float, Range(at_least=0.02, at_most=1)] = 0.12
    """Smallest diameter, as a share of the shown picture's shorter side."""
    largest: Annotated[float, Range(at_least=0.02, at_most=1)] = 0.4
    """Largest diameter, as a share of the shown picture's shorter side."""
    speed: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.04
    """Fastest motion against the background, as a share of the shown picture's width a frame; the slowest is a fifth
    of it."""
    still_share: Annotated[float, Range(at_least=0, at_most=1)] = 0.25
    """Chance that a thing stands still in the scene: otherwise its edge alone would show that it attracts."""
    own_picture_share: Annotated[float, Range(at_least=0, at_most=1)] = 0.3
    """Chance that a thing is cut from the shown picture itself, where another could be drawn."""
    attraction: Annotated[float, Range(at_least=0, at_most=0.95)] = 0.5
    """Share of all fixations that fall on the moving things together, from a shot's second frame on. In its first
    frame, and where it stands still, a thing has the share that the ellipse has in the picture it comes from."""
    softness: Annotated[float, Range(at_least=0, at_most=1)] = 0.3
    """Width of the soft edge, as a share of the radius."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smallest > self.largest:
            smallest, largest = Setting("smallest"), Setting("largest")
            raise ConfigError(smallest, f" is {self.smallest}, more than ", largest, f", {self.largest}")


@dataclass(frozen=True)
class AugmentOptions(Checked):
    """What is done to a still before it trains the model."""

    flip_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.5
    """Chance of a mirrored picture. Drives (dreyeve, dreyeve-scout, bdd-a, and simple with mirror: false) never are."""
    crop_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.6
    """Chance of a window smaller than the picture."""
    smallest_crop: Annotated[float, Range(at_least=0.05, at_most=1)] = 0.7
    """Smallest share of a side that a window keeps."""
    aspect_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.3
    """Chance that the window takes a video's aspect (4:3, 16:9, 1.85, 2.39, 9:16) instead of the picture's."""
    stretch: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.0
    """Largest change of the width against the height, as a share: video shown in a wrong aspect."""
    smallest_mass: Annotated[float, Range(at_least=0, at_most=1)] = 0.5
    """A window that holds a smaller share of the fixations is given up for the whole picture."""
    shift: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.06
    """Largest move of the window between two frames of a clip, as a share of its side."""
    zoom: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.05
    """Largest change of the window's size between two frames of a clip, as a share."""
    camera: CameraOptions = field(default_factory=CameraOptions)
    """A camera that moves smoothly, instead of the window's jumps by `shift` and `zoom`."""
    cut_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.0
    """Chance of each frame but the first to begin another shot: another picture in the same frame."""
    objects: ObjectOptions = field(default_factory=ObjectOptions)
    """Things that move over the picture."""
    motion_blur_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.0
    """Chance that a clip is blurred along its motion."""
    longest_exposure: Annotated[float, Range(at_least=0, at_most=1)] = 0.7
    """Longest exposure of that blur, as a share of the time between two frames."""
    overlays: OverlayOptions = field(default_factory=OverlayOptions)
    """Text and graphics over the picture."""
    brightness: Annotated[float, Range(at_least=0, at_most=1)] = 0.2
    """Largest change of brightness, as a share; a tenth of it again from frame to frame."""
    contrast: Annotated[float, Range(at_least=0, at_most=1)] = 0.2
    """Largest change of contrast, as a share."""
    saturation: Annotated[float, Range(at_least=0, at_most=1)] = 0.3
    """Largest change of saturation, as a share."""
    white_balance: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.0
    """Largest change of red against blue, as a share."""
    exposure_drift: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.0
    """Step of the brightness's random walk, as a share a frame."""
    white_balance_drift: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.0
    """Step of the random walk of red against blue, as a share a frame."""
    grey_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.05
    """Chance of a picture without colour."""
    blur_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.1
    """Chance of a slight blur (sigma up to 1.5 canvas pixels), as compressed video has."""
    compression_probability: Annotated[float, Range(at_least=0, at_most=1)] = 0.0
    """Chance that a clip's frames are compressed (JPEG, at the canvas's size)."""
    worst_quality: Annotated[int, Range(at_least=1, at_most=90)] = 15
    """Lowest JPEG quality of compressed frames; the best is 90."""

    @classmethod
    def only(cls, **changes: Any) -> Self:
        """These changes and no others, not even those that the default makes."""
        quiet = dict.fromkeys(("shift", "zoom", "brightness", "contrast", "saturation"), 0.0)
        quiet |= dict.fromkeys((f"{name}_probability" for name in ("flip", "crop", "grey", "blur")), 0.0)
        return cls(**(quiet | changes))


@dataclass(frozen=True)
class TrainingSet(Checked):
    """A data set with recorded gaze to train on."""

    layout: LayoutName
    """Name of the layout, as `vidsal.data.layouts.DATASETS` has it: salicon, mit1003, dhf1k, dreyeve..."""
    root: Path
    """Folder of the data set; a relative one starts at the working folder."""
    split: str = "train"
    """Split to train on; "train" of a layout that is not split is all of it."""
    validation_split: str | None = None
    """Split to score on after a pass; None holds every tenth training sequence out (by the md5 of its name; shots of
    one clip stay together), at least one where there are two."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the layout by name, as `open_dataset` takes them."""


@dataclass(frozen=True)
class VideoSet(TrainingSet):
    """Recorded video to train on."""

    frame_stride: Annotated[int, Range(at_least=1)] = 1
    """Every so many frames one is shown: 5 of 30 frames a second are 6 a second."""
    share: Annotated[float, Range(above=0)] = 1.0
    """How often a sequence of this set is drawn, beside the shares of the others."""
