"""What a canvas of the picture's shape brings over a letter-box: scores of stills cut to shapes of videos, and time.

    python studies/measure_canvas.py DATA... [--model sam-lite] [--pictures 80] [--condition driver] [--write-docs]
    python studies/measure_canvas.py DATA... --embed

DATA are folders in the simple layout; of each the first `--pictures` of the split val are scored as they are and cut to
the shapes in `SHAPES`, out of their middle, as single frames, at the size of the stimulus. Gaze on what is cut off does
not count; a picture of which fewer than five fixations are left is left out. Both canvases see the same pictures in
float32. A difference has an interval of 95 % from 2,000 resamples of the pictures. Of the first `--clips` pictures, cut
to 16:9, clips are made, too: a camera moves over them for a second, and the state is carried. Times are CPU
milliseconds of one thread and a frame of `predict`, both by turns. `--write-docs` puts the tables into
docs/reports/canvas.md.

`--embed` writes no table: it gives the embedded weights of the model a canvas of the picture's shape, as the default's
were given theirs after training, which was on letter-boxes, and puts its scores on the sets as they are on the card.
"""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from arguments import count_from
from measure_quality import METRICS, recorded_stills, score_table
from pages import fill_parts

from vidsal.bench.made import make_pictures
from vidsal.data.clips import AugmentOptions, make_clip
from vidsal.data.layouts import open_dataset
from vidsal.errors import VidsalError
from vidsal.evaluate.score import resize_map
from vidsal.frames import FrameBatch
from vidsal.metrics import ScoreMeter
from vidsal.model.checkpoint import SaliencyModel, copy_checkpoint, load_model, read_checkpoint, weights_path
from vidsal.pipe.options import RecurrenceOptions
from vidsal.pipe.predict import predict
from vidsal.preprocess import PreprocessOptions, Preprocessor, Viewport
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions

PAGE = Path(__file__).parents[1] / "docs" / "reports" / "canvas.md"
SHAPES = {"as recorded": None, "16:9": 16 / 9, "2.35:1": 2.35, "1:1": 1.0, "9:16": 9 / 16}
"""Width over height of what is cut out."""
FEWEST_FIXATIONS = 5
ON_CARD = ("nss", "cc", "sim", "auc_judd", "kl")
"""Order of the columns in docs/reports/scores.md."""
FIT: Literal["shape"] = "shape"

Slices = tuple[slice, slice]


def with_fit(model: SaliencyModel, fit: Literal["letterbox", "shape"]) -> SaliencyModel:
    """The same network, its weights shared, that sees pictures in another way."""
    other, stride = copy.copy(model), model.attentive.backbone.stride
    other.preprocessor = Preprocessor(dataclasses.replace(model.preprocessor.options, fit=fit, cells=stride))
    return other


def cut_out(rows: int, columns: int, shape: float | None) -> Slices:
    """The largest part of that shape in the middle of a picture; None: all of it."""
    if shape is None:
        return slice(0, rows), slice(0, columns)
    height, width = min(rows, round(columns / shape)), min(columns, round(rows * shape))
    top, left = (rows - height) // 2, (columns - width) // 2
    return slice(top, top + height), slice(left, left + width)


def scores_of(
    models: dict[str, SaliencyModel],
    root: Path,
    shape: float | None,
    pictures: int | None = None,
    condition: str | None = None,
) -> dict[str, npt.NDArray[np.float64]]:
    """(pictures, metrics) of each model."""
    found: dict[str, list[list[float]]] = {name: [] for name in models}
    for _, frame, density, seen in recorded_stills(root, pictures, condition):
        part = cut_out(*density.shape, shape)
        counts = seen.counts(height=density.shape[0], width=density.shape[1])[part]
        if counts.sum() < FEWEST_FIXATIONS:
            continue
        density = density[part] / density[part].sum()
        picture = frame.picture()
        picture = np.ascontiguousarray(picture[cut_out(*picture.shape[:2], shape)])
        recorded = [torch.from_numpy(np.ascontiguousarray(one))[None] for one in (density, counts)]
        shown = FrameBatch(np.arange(1), np.zeros(1), picture[None], *picture.shape[:2], stills=True)
        for name, model in models.items():
            (saliency,) = predict([shown], model)
            meter = ScoreMeter(list(METRICS))
            meter.update(torch.from_numpy(resize_map(saliency.density[0].numpy(), *density.shape))[None], *recorded)
            found[name].append([meter.mean()[metric] for metric in METRICS])
    return {name: np.array(rows) for name, rows in found.items()}


def write_cut(root: Path, target: Path, shape: float, count: int) -> Path:
    """The first stills of the split val, cut to a shape, as a set in the simple layout."""
    (target / "images").mkdir(parents=True)
    with (target / "fixations.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["image", "width", "height", "condition", "subject", "x", "y", "duration_ms"])
        for sequence, frame, _, seen in recorded_stills(root, count):
            picture = frame.picture()
            down, across = cut_out(*picture.shape[:2], shape)
            name = f"{Path(sequence.name).stem}.png"
            cv2.imwrite(str(target / "images" / name), picture[down, across, ::-1])
            height, width = down.stop - down.start, across.stop - across.start
            scale = np.array([picture.shape[1] / seen.width, picture.shape[0] / seen.height])
            for x, y in seen.points * scale - (across.start, down.start):
                if 0 <= x < width and 0 <= y < height:
                    rows.writerow([name, width, height, "free", "all", f"{x:.3f}", f"{y:.3f}", 200])
    return target


def clip_scores_of(
    models: dict[str, SaliencyModel], root: Path, count: int, times: int = 24
) -> dict[str, npt.NDArray[np.float64]]:
    """(clips, metrics) of each model: clips made of stills at twice the canvas, the state carried, nothing smoothed."""
    fine = PreprocessOptions(height=480, width=640)
    raw = {
        "recurrence": RecurrenceOptions(every=1),
        "smooth": SmoothOptions(smoothing="none"),
        "viewers": ViewerOptions("off"),
    }
    found: dict[str, list[list[float]]] = {name: [] for name in models}
    for number, still in enumerate(open_dataset("simple", root).sequences[:count]):
        random = np.random.default_rng([7, number])
        clip = make_clip(still, times=times, preprocess=fine, augment=AugmentOptions(), random=random)
        view = clip.viewport
        inside = np.s_[:, view.top : view.top + view.height, view.left : view.left + view.width]
        density, counts = (torch.from_numpy(np.ascontiguousarray(one[inside])) for one in (clip.density, clip.counts))
        index = np.arange(times)
        shown = FrameBatch(index, index / 25, np.ascontiguousarray(clip.frames[inside]), view.height, view.width)
        for name, model in models.items():
            maps = torch.cat([batch.density for batch in predict([shown], model, **raw)])
            large = np.stack([resize_map(one, view.height, view.width) for one in maps.numpy()])
            meter = ScoreMeter(list(METRICS))
            meter.update(torch.from_numpy(large), density, counts)
            found[name].append([meter.mean()[metric] for metric in METRICS])
    return {name: np.array(rows) for name, rows in found.items()}


def canvas_of(model: SaliencyModel, height: int, width: int) -> tuple[Viewport, float]:
    """How a picture lies on the canvas, and the share of it that is bars."""
    view = model.preprocessor.viewport(height, width)
    return view, 1 - view.height * view.width / (view.canvas_height * view.canvas_width)


def time_table(models: dict[str, SaliencyModel], rounds: int) -> str:
    """Canvas and CPU time of a video of each shape, 720 lines or columns, as the decoder gives its frames."""
    head = "| video | " + " | ".join(f"{name}: canvas, bars, CPU ms a frame" for name in models) + " | times |"
    lines = [head, "|" + "---|" * (len(models) + 2)]
    for name, shape in SHAPES.items():
        height, width = (720, 960) if shape is None else (720, round(720 * shape))
        height, width = (height, width) if width >= 720 else (round(720 / (shape or 1)), 720)
        taken: dict[str, list[float]] = {key: [] for key in models}
        videos = {key: _video(model, height, width) for key, model in models.items()}
        for turn in range(rounds + 1):  # the first does not count
            for key, model in models.items():
                begin = time.process_time()
                for _ in predict(videos[key], model, recurrence=RecurrenceOptions(every=1)):
                    pass
                taken[key] += [(time.process_time() - begin) * 1000] * (turn > 0)
        cells = []
        for key, model in models.items():
            view, bars = canvas_of(model, height, width)
            frames = sum(map(len, videos[key]))
            cells.append(
                f"{view.canvas_height}x{view.canvas_width}, {bars:.0%}, {statistics.median(taken[key]) / frames:.1f}"
            )
        before, after = taken.values()
        times = statistics.median(new / old for old, new in zip(before, after, strict=True))
        lines.append(f"| {'4:3' if shape is None else name} | {' | '.join(cells)} | {times:.2f} |")
    return "\n".join(lines) + "\n"


def _video(model: SaliencyModel, height: int, width: int, frames: int = 24) -> list[FrameBatch]:
    rows, columns = model.preprocessor.frame_size(height, width)
    shown = np.stack([cv2.resize(one, (columns, rows), interpolation=cv2.INTER_AREA) for one in make_pictures(frames)])
    return [
        FrameBatch(np.arange(at, at + 8), np.arange(at, at + 8) / 25, shown[at : at + 8], height, width)
        for at in range(0, frames, 8)
    ]


def embed(model: SaliencyModel, sets: Sequence[Path]) -> None:
    """Give embedded weights a canvas of the picture's shape, and their card its scores."""
    path = weights_path(model.card.name)
    network, preprocess, card = read_checkpoint(path)
    scores = dict(card.scores)
    for root in sets:
        values = scores_of({"own": with_fit(model, FIT)}, root, None)["own"].mean(0)
        scores[root.name] = dict(zip(METRICS, values.tolist(), strict=True))
        print(f"| {root.name} | " + " | ".join(f"{scores[root.name][metric]:.3f}" for metric in ON_CARD) + " |")
    preprocess = dataclasses.replace(preprocess, fit=FIT, cells=network.backbone.stride)
    size = f"{preprocess.height}x{preprocess.width}"
    words = card.description.replace(f"the {size} canvas", f"a canvas of the picture's shape, as large as {size}")
    # The scores of a model that has none yet are made as the default's.
    protocol = card.protocol or read_checkpoint(weights_path("sam-lite"))[2].protocol
    card = dataclasses.replace(card, description=words, scores=scores, protocol=protocol)
    copy_checkpoint(path, path, card=card, preprocess=preprocess)
    print(f"wrote {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Score, time, print, write the page where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--model", default="sam-lite")
    parser.add_argument("--pictures", type=count_from(1), help="of each set (default: all)")
    parser.add_argument("--clips", type=count_from(1), default=16, help="made of each set (default: 16)")
    parser.add_argument("--condition", help="only fixations with this word in the column condition")
    parser.add_argument("--rounds", type=count_from(1), default=5)
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--embed", action="store_true", help="give the embedded weights of the model such a canvas")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    # The same digits on every processor.
    model = load_model(given.model, device="cpu", precision="fp32")
    if given.embed:
        embed(model, given.sets)
        return 0
    models = {"letter-box": with_fit(model, "letterbox"), "the picture's shape": with_fit(model, FIT)}
    tables = []
    for root in given.sets:
        for name, shape in SHAPES.items():
            scores = scores_of(models, root, shape, given.pictures, given.condition)
            tables.append(score_table(f"{root.name}, {name}", scores))
            print(tables[-1], flush=True)
    clips = []
    for root in given.sets:
        with tempfile.TemporaryDirectory() as folder:
            cut = write_cut(root, Path(folder) / root.name, SHAPES["16:9"] or 1.0, given.clips)
            scores = clip_scores_of(models, cut, given.clips)
        clips.append(score_table(f"clips of {root.name}, 16:9", scores).replace(" pictures\n", " clips\n", 1))
        print(clips[-1], flush=True)
    times = time_table(models, given.rounds)
    print(times)
    if given.write_docs:
        fill_parts(PAGE, {"scores": "\n".join(tables), "clips": "\n".join(clips), "times": times})
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
