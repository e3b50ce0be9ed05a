"""Clips come in, how much of the attention windows of an aspect keep, and how much they jerk, comes out, way by way.

    python studies/compare_reframing.py CLIPS [--aspect 9:16] [--every N] [--pyautoflip PYTHON] [--vary] [--cache DIR]

The ways: a window in the middle; one that follows the centroid, or the best place of each frame, evened by a Gaussian
of half a second; one at the best place of each frame, without any inertia; one that stands at the median of the best
places; vidsal's, which stands (`--stay`) or moves, and with --vary also with other options than the defaults; and those
of pyautoflip, if PYTHON is the path of a Python in which pyautoflip 0.2.1 is installed. It is asked in a process of its
own. Without it these rows are left out.

Kept is the mean share over frames of a density inside the window: of vidsal's prediction, by which its windows are
chosen, and of another network's (UNISAL, as pyautoflip brings it, for every fourth frame), which none of vidsal's
windows has seen. Pyautoflip may cut a window that is wider than the aspect, and fill the rest with bars: it is scored
as it is, and in the last columns trimmed to the aspect around its middle.

Jerk is the mean size of the third difference of the window's middle inside shots, over the third power of the time
between frames, in picture widths (or heights, where it slides up and down) a second cubed.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from arguments import count_from

from vidsal.decode import open_video
from vidsal.errors import ConfigError
from vidsal.model.checkpoint import SaliencyModel, load_model
from vidsal.pipe.predict import predict
from vidsal.reframe.camera import durations_of
from vidsal.reframe.marginals import MarginalCollector, Marginals, kept_share
from vidsal.reframe.options import CameraOptions, parse_aspect
from vidsal.reframe.path import find_path, slid
from vidsal.reframe.window import Window, window_of
from vidsal.stages import ViewerOptions

Floats = npt.NDArray[np.float64]
EVEN_SECONDS = 0.5
JUDGED_EVERY = 4
"""Of so many frames one is shown to the other network: it takes longer than all the rest."""

DRIVER = r"""
import json, logging, sys, types

import cv2
import numpy as np

try:
    from insightface.app import FaceAnalysis

    FaceAnalysis(name="buffalo_s", allowed_modules=["detection"])
    faces = "InsightFace"
except Exception:  # not installed, or its weights cannot be fetched
    for name in ("insightface", "insightface.app"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["insightface.app"].FaceAnalysis = None
    faces = "MediaPipe"

import pyautoflip.core.processor as processor
import pyautoflip.cropping.saliency_cropper as saliency
import pyautoflip.detection.face_detector as face_detector
from pyautoflip.detection.mediapipe_face_detector import FaceDetector
from pyautoflip.detection.saliency_detector import SaliencyDetector

logging.disable(logging.CRITICAL)
if faces == "MediaPipe":
    face_detector.FaceDetector = processor.FaceDetector = FaceDetector


class NoWriter:
    def __init__(self, *arguments, **settings):
        pass

    def __getattr__(self, name):
        return lambda *arguments, **settings: None


processor.VideoWriter = NoWriter
processor.VideoReader.extract_audio = lambda self: None
processor.tqdm = lambda values, **settings: values
windows, split = [], []
for kind in (processor.SceneCropper, processor.SaliencyCropper):
    def kept(self, *arguments, inner=kind.process_scene):
        made = inner(self, *arguments)
        windows.extend(made)
        split.append(getattr(self, "_split_faces", None) is not None)
        return made

    kind.process_scene = kept
    kind.apply_crop_window = lambda self, frame, window: frame

answer = sys.stdout
sys.stdout = sys.stderr
judge, judged_every = SaliencyDetector(), int(sys.argv[1])
for line in sys.stdin:
    path, aspect = line.rstrip("\n").split("\t")
    result = {"faces": faces, "windows": {}, "split": {}, "marginals": {"x": [], "y": []}}
    for method in ("saliency", "detection"):
        windows.clear(), split.clear()
        processor.AutoFlipProcessor(aspect, detection_method=method).process_video(path, "unused.mp4")
        result["windows"][method] = [[float(value) for value in window] for window in windows]
        result["split"][method] = sum(split)
    video, number = cv2.VideoCapture(path), -1
    while video.grab():
        number += 1
        if number % judged_every:
            continue
        _, frame = video.retrieve()
        map_ = judge.detect(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))["saliency_map"]
        for axis, side in (("x", 0), ("y", 1)):
            result["marginals"][axis].append([round(float(value), 3) for value in map_.sum(axis=side)])
    print(json.dumps(result), file=answer, flush=True)
"""


@dataclass(frozen=True)
class Way:
    """Where a window begins and how long it is, frame by frame, in pixels along its side."""

    start: Floats
    length: Floats


@dataclass
class Sums:
    """What is added up over the clips for one way."""

    kept: float = 0.0
    other: float = 0.0
    trimmed: float = 0.0
    trimmed_other: float = 0.0
    seconds: float = 0.0
    judged: int = 0
    jerk: float = 0.0
    jerks: int = 0
    moving: int = 0
    shots: int = 0
    length: float = 0.0


def marginals_of(path: Path, cache: Path | None) -> Marginals:
    """How vidsal's densities of a clip lie along both sides; kept in a folder for the next time."""
    kept = None if cache is None else cache / f"{path.stem}.npz"
    if kept is not None and kept.is_file():
        with np.load(kept) as file:
            return Marginals(
                index=file["index"],
                pts_seconds=file["pts"],
                shot=file["shot"],
                cumulative={"x": file["x"], "y": file["y"]},
                height=int(file["h"]),
                width=int(file["w"]),
            )
    found = predicted(path, default_model())
    if kept is not None:
        sides = {"h": np.array(found.height), "w": np.array(found.width), **found.cumulative}
        np.savez(kept, index=found.index, pts=found.pts_seconds, shot=found.shot, **sides)
    return found


@functools.cache
def default_model() -> SaliencyModel:
    return load_model("sam-lite", device="cpu")


def predicted(path: Path, model: SaliencyModel) -> Marginals:
    collector = MarginalCollector(["x", "y"])
    with open_video(path, size=model.preprocessor.frame_size) as reader:
        for batch in predict(reader, model, viewers=ViewerOptions("off")):
            collector.update(batch)
    return collector.marginals()


def evened(places: Floats, seconds: Floats) -> Floats:
    """A Gaussian average over time."""
    distance = (seconds[:, None] - seconds) / EVEN_SECONDS
    weights = np.exp(-(distance**2) / 2)
    return weights @ places / weights.sum(axis=1)


def simple_ways(window: Window) -> dict[str, Callable[[Floats, Floats], Floats]]:
    """What the densities (N, n + 1) and the times of a shot make of a path."""
    room = window.side - window.length
    places = np.arange(room + 1)

    def centroid(cumulative: Floats, seconds: Floats) -> Floats:
        middle = (np.diff(cumulative, axis=1) * (np.arange(cumulative.shape[1] - 1) + 0.5)).sum(axis=1)
        return np.clip(middle / (cumulative.shape[1] - 1) * window.side - window.length / 2, 0, room)

    def best(cumulative: Floats, seconds: Floats) -> Floats:
        starts = np.broadcast_to(places / window.side, (len(cumulative), len(places)))
        return places[kept_share(cumulative, starts, window.length / window.side).argmax(axis=1)].astype(float)

    return {
        "middle": lambda cumulative, seconds: np.full(len(seconds), room / 2),
        "follow centroid": lambda cumulative, seconds: evened(centroid(cumulative, seconds), seconds),
        "best place of each frame": best,
        "follow best place": lambda cumulative, seconds: evened(best(cumulative, seconds), seconds),
        "median of best places": lambda cumulative, seconds: np.full(
            len(seconds), float(np.median(best(cumulative, seconds)))
        ),
    }


CAMERAS = {"vidsal --stay": CameraOptions(stay=True), "vidsal": CameraOptions()}
VARIED = {
    "vidsal --least-gain 0": CameraOptions(least_gain=0.0),
    "vidsal --move-price 1": CameraOptions(move_price=1.0),
    "vidsal --move-price 2": CameraOptions(move_price=2.0),
    "vidsal --jerk-price 0.2": CameraOptions(jerk_price=0.2),
    "vidsal --max-speed 0.5 --max-acceleration 1": CameraOptions(max_speed=0.5, max_acceleration=1.0),
}


def own_paths(marginals: Marginals, window: Window, *, vary: bool) -> dict[str, Way]:
    whole = marginals.cumulative[window.axis] / 65535.0
    length = np.full(len(marginals), float(window.length))
    paths = {}
    for name, way in simple_ways(window).items():
        start = np.concatenate([way(whole[rows], marginals.pts_seconds[rows]) for rows in marginals.shots()])
        paths[name] = Way(start, length)
    for name, camera in (CAMERAS | (VARIED if vary else {})).items():
        paths[name] = Way(slid(find_path(marginals, window, camera=camera)), length)
    return paths


def foreign_paths(answer: dict[str, Any], window: Window, frames: int) -> dict[str, Way]:
    paths = {}
    for method, windows in answer["windows"].items():
        if len(windows) >= frames:
            values = np.array(windows[:frames]) * window.side
            along = (0, 2) if window.axis == "x" else (1, 3)
            paths[f"pyautoflip, {method}"] = Way(values[:, along[0]], values[:, along[1]])
    return paths


def add(sums: Sums, path: Way, marginals: Marginals, window: Window, other: Floats | None) -> None:
    middle = path.start + path.length / 2
    trimmed = np.clip(middle - window.length / 2, 0, window.side - window.length)
    even = np.full(len(middle), float(window.length))
    judged = np.arange(0, len(middle), JUDGED_EVERY)
    for rows in marginals.shots():
        seconds = marginals.pts_seconds[rows]
        weights = durations_of(seconds)
        sums.seconds += weights.sum()
        sums.length += float(weights @ path.length[rows]) / window.length
        for name, start, length in (("kept", path.start, path.length), ("trimmed", trimmed, even)):
            share = kept_share(
                marginals.cumulative[window.axis][rows], start[rows] / window.side, length[rows] / window.side
            )
            setattr(sums, name, getattr(sums, name) + float(weights @ share))
        sums.shots += 1
        sums.moving += bool(np.ptp(middle[rows]) > 0)
        if len(seconds) > 3:
            step = float(np.median(np.diff(seconds)))
            jerks = np.abs(np.diff(middle[rows] / window.side, 3)) / step**3
            sums.jerk += float(jerks.sum())
            sums.jerks += len(jerks)
    if other is not None:
        sums.judged += len(judged)
        for name, start, length in (("other", path.start, path.length), ("trimmed_other", trimmed, even)):
            share = kept_share(other, start[judged] / window.side, length[judged] / window.side)
            setattr(sums, name, getattr(sums, name) + float(share.sum()))


def cumulative_of(rows: list[list[float]]) -> Floats:
    summed = np.cumsum(np.array(rows), axis=1)
    return np.concatenate([np.zeros((len(summed), 1)), summed / summed[:, -1:]], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Attention kept and jerk of ways to reframe.")
    parser.add_argument("clips", type=Path, help="folder of videos")
    parser.add_argument("--aspect", default="9:16")
    parser.add_argument("--every", type=count_from(1), default=1, help="take every n-th clip")
    parser.add_argument("--pyautoflip", type=Path, metavar="PYTHON", help="a Python that has pyautoflip 0.2.1")
    parser.add_argument("--vary", action="store_true", help="also with other options than the defaults")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="a folder that keeps predictions for the next time")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    paths = sorted(path for path in arguments.clips.iterdir() if path.suffix.lower() in (".mp4", ".mkv", ".mov"))
    paths = paths[:: arguments.every]
    name, ratio = parse_aspect(arguments.aspect)
    driver = None
    if arguments.pyautoflip is None:
        print("pyautoflip is left out: --pyautoflip names a Python that has it")
    else:
        driver = subprocess.Popen(
            [str(arguments.pyautoflip), "-c", DRIVER, str(JUDGED_EVERY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    sums: dict[str, Sums] = {}
    clips = left_out = split = 0
    faces = ""
    for path in paths:
        marginals = marginals_of(path, arguments.cache)
        try:
            window = window_of(name, ratio, width=marginals.width, height=marginals.height)
        except ConfigError:
            left_out += 1
            continue
        ways, other = own_paths(marginals, window, vary=arguments.vary), None
        if driver is not None and driver.stdin is not None and driver.stdout is not None:
            print(f"{path.absolute()}\t{arguments.aspect}", file=driver.stdin, flush=True)
            line = driver.stdout.readline()
            if not line:
                raise SystemExit(f"pyautoflip ended at {path}")
            answer = json.loads(line)
            theirs = foreign_paths(answer, window, len(marginals))
            other = cumulative_of(answer["marginals"][window.axis])
            if len(theirs) < 2 or len(other) != -(-len(marginals) // JUDGED_EVERY):
                left_out += 1
                continue
            ways |= theirs
            faces, split = answer["faces"], split + answer["split"]["saliency"]
        clips += 1
        for way, made in ways.items():
            add(sums.setdefault(way, Sums()), made, marginals, window, other)
    if driver is not None and driver.stdin is not None:
        driver.stdin.close()
        driver.wait()
    total = next(iter(sums.values()))
    print(f"{clips} clips, {total.shots} shots, {total.seconds:.0f} s, {arguments.aspect}; {left_out} left out")
    if faces:
        print(f"pyautoflip 0.2.1 with faces by {faces}; it would split the picture in {split} clips")
    print("\n| way | kept, % | kept by UNISAL, % | jerk | shots that move | window | trimmed, % | trimmed, UNISAL, % |")
    print("|---|---|---|---|---|---|---|---|")
    rows = {}
    for way, one in sums.items():
        shares = [
            100 * value / count
            for value, count in (
                (one.kept, one.seconds),
                (one.other, max(one.judged, 1)),
                (one.trimmed, one.seconds),
                (one.trimmed_other, max(one.judged, 1)),
            )
        ]
        jerk, length = one.jerk / max(one.jerks, 1), one.length / one.seconds
        rows[way] = dict(
            zip(("kept", "other", "trimmed", "trimmed_other"), shares, strict=True),
            jerk=jerk,
            moving=one.moving,
            length=length,
        )
        own, other, trimmed, trimmed_other = (f"{share:.1f}" for share in shares)
        if not one.judged:
            other = trimmed_other = ""
        print(f"| {way} | {own} | {other} | {jerk:.4f} | {one.moving} | {length:.2f} | {trimmed} | {trimmed_other} |")
    if arguments.json is not None:
        arguments.json.write_text(
            json.dumps({"clips": clips, "aspect": arguments.aspect, "ways": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
