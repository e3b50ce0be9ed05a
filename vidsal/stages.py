"""What the stages that are one file each are asked. Kept apart from them, so that a command's help is quick."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from vidsal.errors import ConfigError, Setting
from vidsal.options import Checked, Range

__all__ = [
    "CAFFE_MEAN",
    "TRACKED_STYLES",
    "Colormap",
    "CutOptions",
    "ExportOptions",
    "LossName",
    "LossOptions",
    "PreprocessOptions",
    "RenderOptions",
    "Style",
    "TrackOptions",
    "ViewerOptions",
]

Colormap = Literal["turbo", "inferno", "magma", "plasma", "viridis", "cividis", "hot", "jet"]
"""Names of the colour maps, as OpenCV and Matplotlib have them."""

Style = Literal["heat", "contour", "spotlight", "peak", "boxes"]
"""Names of what can be drawn over a picture."""

TRACKED_STYLES = frozenset({"peak", "boxes"})
"""Those that draw what the tracker finds."""

CAFFE_MEAN = (103.939, 116.779, 123.68)
"""The mean of ImageNet's pictures, B, G, R from 0 to 255, that VGG's weights for Caffe want to be subtracted."""


@dataclass(frozen=True)
class PreprocessOptions(Checked):
    """How a picture becomes model input; travels inside the checkpoint."""

    height: Annotated[int, Range(at_least=16, at_most=4096)] = 240
    """Rows of the model's canvas."""
    width: Annotated[int, Range(at_least=16, at_most=4096)] = 320
    """Columns of the model's canvas."""
    channel_order: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels the network was trained on."""
    divisor: Annotated[float, Range(above=0)] = 255.0
    """Pixel values are divided by this before the mean is taken off."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Taken off each channel, in `channel_order`, after the division."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Divides each channel, in `channel_order`, after the mean is taken off."""
    resize: Literal["area", "bilinear"] = "area"
    """How a picture is made small: "area" averages the pixels that fall on a cell; "bilinear" takes the four nearest
    pixels of the full picture, as `cv2.resize` does by default and the published networks were trained."""
    blur_pixels: Annotated[float, Range(at_least=0, at_most=1000)] = 0.0
    """Standard deviation, in pixels of the full picture, of the Gaussian blur of the finished map; 0 for none."""
    fit: Literal["letterbox", "stretch", "inside", "shape"] = "letterbox"
    """How a picture comes onto the canvas: "letterbox", aspect kept, black bars beside it; "stretch", over the whole
    canvas, aspect not kept; "inside", aspect kept and never enlarged, with a canvas as small as the picture then is;
    "shape", aspect kept, on a canvas of the picture's shape: as large as in a letter-box, or up to 1.2 times as large
    where that takes no more pixels than nine tenths of the letter-box has."""
    cells: Annotated[int, Range(at_least=1, at_most=64)] = 1
    """Rows and columns of a canvas that is "inside" or of the picture's "shape" are multiples of this, at least one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not all(isinstance(one, int | float) and math.isfinite(one) for one in values):
                raise ConfigError(Setting(name), f" must be three finite numbers, got {values}")
        if not min(self.std) > 0:
            raise ConfigError(Setting("std"), f" must be above 0 for every channel, got {self.std}")


@dataclass(frozen=True)
class CutOptions(Checked):
    """How cuts between shots are found."""

    detect_cuts: bool = True
    """Find cuts between shots and start the model, smoothing and region ids afresh there."""
    cut_threshold: Annotated[
        float, Range(above=0, at_most=1, otherwise=(Setting("detect_cuts", False), " to find none"))
    ] = 0.38
    """Change that makes a cut, above 0 (a copy) to 1 (nothing in common): lower finds more, higher forgives motion."""


@dataclass(frozen=True)
class ViewerOptions(Checked):
    """What viewers of a video do that its pictures do not say."""

    viewers: Literal["auto", "on", "off"] = "auto"
    """Let maps follow viewers, who look at the middle as a shot begins, need time to move their eyes, and agree more
    than an average of maps does: on, off, or auto, which is off for pictures, folders of pictures and drivers."""
    centre_share: Annotated[float, Range(at_least=0, at_most=1)] = 0.8
    """Share of gaze in the middle of the picture as a shot begins; it fades with the time below. 0 for none."""
    centre_seconds: Annotated[float, Range(above=0)] = 0.5
    """Time in which that share falls to 37 %, in seconds."""
    gaze_latency_seconds: Annotated[float, Range(at_least=0, at_most=1)] = 0.18
    """Median time for which gaze stays after a cut where it was before, in seconds; 0 lets it jump with the picture."""
    gaze_inertia_seconds: Annotated[float, Range(at_least=0)] = 0.0
    """Lag with which gaze follows within a shot, in seconds, on top of that of the smoothing."""
    sharpness: Annotated[float, Range(above=0, at_most=10)] = 1.15
    """Power to which densities are raised at the end: above 1 sharpens, 1 leaves them."""


@dataclass(frozen=True)
class TrackOptions(Checked):
    """How regions are found and followed from frame to frame."""

    region_min_peak: Annotated[float, Range(above=0, at_most=1)] = 0.25
    """Smallest height of a new region, as a share of the map's highest value, above 0 and at most 1."""
    region_memory_seconds: Annotated[float, Range(at_least=0)] = 0.5
    """Seconds for which a region that vanishes keeps its id in case it comes back; 0 for not at all."""
    region_reach: Annotated[float, Range(above=0, at_most=1)] = 0.1
    """Farthest step between frames that is still the same region, as a share of the picture's diagonal."""
    peak_filter: Literal["none", "one-euro"] = "none"
    """Steady peak_x and peak_y over time: none, or one-euro, which holds a peak at rest and follows one that moves."""
    peak_cutoff_hertz: Annotated[float, Range(above=0)] = 1.0
    """Cutoff of the one-euro filter for a peak at rest, in hertz: lower jitters less and sets off later."""
    peak_speed_gain: Annotated[float, Range(at_least=0)] = 10.0
    """Hertz by which that cutoff rises at a speed of one picture's diagonal a second: higher lags less."""


@dataclass(frozen=True, kw_only=True)
class RenderOptions(Checked):
    """What is drawn over a picture, and how."""

    style: tuple[Style, ...] = ("heat",)
    """What is drawn, one or several with commas between: heat (colours by density), contour (lines around the smallest
    areas that hold 25, 50 and 75 % of the density), spotlight (all but the area that holds 50 % dimmed), peak (a
    crosshair at the maximum, with its way of the last second), boxes (the regions of the table, with their ids)."""
    opacity: Annotated[float, Range(at_least=0, at_most=1)] = 0.6
    """Highest opacity of the heat, and of what dims around a spotlight: 0 (nothing is drawn) to 1 (the picture is
    hidden there)."""
    colormap: Colormap = "plasma"
    """Colours from cold to hot: turbo, inferno, magma, plasma, viridis, cividis, hot or jet. All but turbo and jet are
    ordered in brightness; cividis looks alike with all kinds of colour vision."""
    threshold: Annotated[float, Range(at_least=0, below=1)] = 0.2
    """Share of the display scale, 0 to below 1, under which there is no heat; above it the heat fades in."""
    scale: Annotated[float, Range(above=1)] = 100.0
    """Density shown as the hottest colour, in multiples of the uniform density, which is the coldest. The colours
    between them are spaced evenly by its logarithm."""
    scale_per_shot: bool = False
    """Takes the hottest colour from the first map of each shot instead (but at least 6 times uniform): more contrast,
    but colours of two shots cannot be compared, and later maps may go beyond it."""
    legend: Literal["on", "off"] = "on"
    """Says in a corner what colours and lines mean; left out where the picture is too small for it."""
    side_by_side: bool = False
    """Puts the untouched picture left of the drawn one, at twice the width."""
    overlay_only: bool = False
    """Writes what is drawn alone, with transparency in place of the picture, to lay over the source in an editor:
    ProRes 4444 in a .mov, FFV1 in a .mkv (or the encoder libvpx-vp9, qtrle or png), a .png for a picture; a frame for
    each of the source, no sound. The legend is drawn too, unless it is off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.style or len({*self.style}) < len(self.style):
            raise ConfigError(Setting("style"), f" must name at least one style, each once; got {self.style!r}")
        if self.overlay_only and self.side_by_side:
            alone, both = Setting("overlay_only", True), Setting("side_by_side", True)
            raise ConfigError(alone, " and ", both, " exclude each other: leave one of them out")

    @property
    def is_tracked(self) -> bool:
        """Whether a style draws what the tracker finds."""
        return not TRACKED_STYLES.isdisjoint(self.style)


LossName = Literal[
    "sam",
    "kl",
    "log-likelihood",
    "chi-square",
    "total-variation",
    "cosine",
    "bhattacharyya",
    "bce",
    "euclidean",
    "huber",
    "ml-net",
]
"""Names of the losses that a network can be trained with."""


@dataclass(frozen=True)
class LossOptions(Checked):
    """Which loss, and its constants; the weights' defaults are those of Cornia et al. (2018)."""

    kl_weight: float = 10.0
    """Weight of the divergence of the recorded density from the predicted one, in nats."""
    cc_weight: float = -2.0
    """Weight of the linear correlation of the two densities."""
    nss_weight: float = -1.0
    """Weight of the predicted map's z-score at the fixations."""
    kl_epsilon: Annotated[float, Range(at_least=0)] = 0.0
    """Added to each predicted cell before the logarithm; the authors' 1e-7 on 480x640 is 4e-7 on 240x320."""
    loss_name: LossName = "sam"
    """sam: the sum of the three terms above, which no other loss has. kl, chi-square, total-variation, cosine and
    bhattacharyya compare the two densities; log-likelihood takes the fixations alone; bce, euclidean, huber and ml-net
    compare the heights of the two maps. Formulas: `vidsal.losses.map_loss`."""
    huber_delta: Annotated[float, Range(above=0)] = 1.0
    """Difference at which "huber" goes from a parabola to a line, in multiples of the uniform density."""

    def __post_init__(self) -> None:
        super().__post_init__()
        names = {"sam": ("kl_weight", "cc_weight", "nss_weight", "kl_epsilon"), "huber": ("huber_delta",)}
        defaults = {one.name: one.default for one in fields(self)}
        for name, owned in names.items():
            for setting in owned:
                if self.loss_name != name and getattr(self, setting) != defaults[setting]:
                    raise ConfigError(
                        Setting(setting), f" is of the loss {name!r}, but the loss is {self.loss_name!r}: leave it out"
                    )


@dataclass(frozen=True)
class ExportOptions(Checked):
    """What the exported graph does."""

    state: Literal["carry", "reset"] = "carry"
    """carry takes H and C of the frame before and gives them back; reset starts every frame afresh."""
    steps: Annotated[int, Range(at_least=1)] | None = None
    """Refinement steps a frame; default: 1 with carry, the model's own number (3 for sam-lite) with reset. A frame
    that starts afresh always gets at least the model's own number."""
    batch: Annotated[int, Range(at_least=1)] | None = None
    """Pictures a call, one of each video; default: any number."""
    canvas: tuple[int, int] | None = None
    """Rows and columns of the canvas, as 576,1024, of a network whose canvas else follows the picture; default: the
    model's own. Pictures of another aspect get black bars, which such a network does not see in `vidsal run`."""
    opset: Annotated[int, Range(at_least=18, at_most=23)] = 18
    """Version of ONNX's operators; an older runtime may know only the lower ones."""
    check: bool | None = None
    """Run the file with ONNX Runtime and compare it with the network before it gets its name; default: where
    onnxruntime is installed."""
    overwrite: bool = False
    """Replace a file that is already there; default: refuse, naming the file."""
