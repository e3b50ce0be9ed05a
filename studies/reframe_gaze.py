"""Pictures or videos with recorded gaze come in, the share of the gaze that stays inside the window comes out.

    python studies/reframe_gaze.py LAYOUT ROOT [--split SPLIT] [--every N] [--aspect 9:16]

LAYOUT and ROOT are those of any data set that `vidsal eval` reads (docs/reference/layouts.md). A still is a shot of one
frame. For each way to place the window, the mean over frames of the share of their fixations that lie inside it; beside
them what the best window for the gaze itself would keep, frame by frame, which no prediction can beat.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from arguments import count_from

from vidsal.data.layouts import DATASETS, LabelledSequence, open_dataset
from vidsal.errors import ConfigError
from vidsal.frames import FrameBatch
from vidsal.model.checkpoint import SaliencyModel, load_model
from vidsal.pipe.predict import predict
from vidsal.reframe.marginals import MarginalCollector
from vidsal.reframe.options import CameraOptions, parse_aspect
from vidsal.reframe.path import find_path, slid
from vidsal.reframe.window import Window, window_of
from vidsal.stages import ViewerOptions

Floats = npt.NDArray[np.float64]
BATCH = 8
WAYS = {"vidsal --stay": CameraOptions(stay=True), "vidsal": CameraOptions()}


def batches(sequence: LabelledSequence, model: SaliencyModel, points: list[Floats | None]) -> Iterator[FrameBatch]:
    """The frames of a sequence; the places of their fixations, as shares of width and height, go into a list."""
    pictures, seconds = [], []
    for frame in sequence.read(size=model.preprocessor.frame_size):
        found = None if frame.bad else frame.fixations()
        points.append(None if found is None else found.points / [found.width, found.height])
        pictures.append(frame.picture())
        seconds.append(frame.pts_seconds)
        if len(pictures) == BATCH:
            yield batch_of(len(points) - BATCH, pictures, seconds)
            pictures, seconds = [], []
    if pictures:
        yield batch_of(len(points) - len(pictures), pictures, seconds)


def batch_of(first: int, pictures: list[npt.NDArray[np.uint8]], seconds: list[float]) -> FrameBatch:
    frames = np.stack(pictures)
    return FrameBatch(first + np.arange(len(frames)), np.array(seconds), frames, *frames.shape[1:3])


def kept(places: Floats, start: float, length: float) -> float:
    return float(((places >= start) & (places < start + length)).mean())


def starts_of(paths: dict[str, Floats], window: Window, row: int, places: Floats) -> dict[str, float]:
    """Where each way lets the window begin at a frame, as a share of the side."""
    length = window.length / window.side
    ends = np.clip(places, 0, 1 - length)
    best = max(ends, key=lambda start: kept(places, start, length))
    ways = {name: float(path[row]) / window.side for name, path in paths.items()}
    return {"middle": (1 - length) / 2, **ways, "the gaze itself": float(best)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Recorded gaze that stays inside the window.")
    parser.add_argument("layout", choices=DATASETS)
    parser.add_argument("root", type=Path)
    parser.add_argument("--split", default="all")
    parser.add_argument("--every", type=count_from(1), default=1, help="take every n-th sequence")
    parser.add_argument("--aspect", default="9:16")
    arguments = parser.parse_args()
    name, ratio = parse_aspect(arguments.aspect)
    model = load_model("sam-lite", device="cpu")
    shares: dict[str, list[float]] = {}
    sequences = list(open_dataset(arguments.layout, arguments.root, split=arguments.split))[:: arguments.every]
    used = 0
    for sequence in sequences:
        points: list[Floats | None] = []
        collector = MarginalCollector(["x", "y"])
        for batch in predict(batches(sequence, model, points), model, viewers=ViewerOptions("off")):
            collector.update(batch)
        marginals = collector.marginals()
        try:
            window = window_of(name, ratio, width=marginals.width, height=marginals.height)
        except ConfigError:
            continue  # it has this aspect already
        used += 1
        paths = {way: slid(find_path(marginals, window, camera=camera)) for way, camera in WAYS.items()}
        for row, looked in enumerate(points):
            if looked is None or not len(looked):
                continue
            places = looked[:, 0 if window.axis == "x" else 1].astype(np.float64)
            for way, start in starts_of(paths, window, row, places).items():
                shares.setdefault(way, []).append(kept(places, start, window.length / window.side))
    print(f"{arguments.layout}: {used} sequences, {len(next(iter(shares.values()), []))} frames, {arguments.aspect}")
    for way, values in shares.items():
        print(f"{100 * np.mean(values):5.1f} %  {way}")


if __name__ == "__main__":
    main()
