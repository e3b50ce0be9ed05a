"""The same small network trained under each loss: AUC against the step as one plot, and a table.

    python studies/compare_losses.py DATA... --imagenet-weights FILE [--config configs/study_losses.yaml]
        [--only kl cosine ...] [--seeds 0 1] [--passes 6] [--output runs/compare_losses] [--write-docs]

DATA are folders in the simple layout, FILE is the ImageNet state dict of the configuration's backbone. All losses see
the same pictures in the same order, with the same augmentation, first weights and schedule; after every pass the
validation pictures are scored at the canvas's resolution. A killed run goes on where it was. Each loss has its own
folder in OUTPUT, and what is done stands in OUTPUT/results.json.

`--write-docs` copies the results to docs/reports/losses.json, draws the plot beside it and fills the tables of
losses.md; without DATA it does only that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arguments import count_from
from pages import fill_parts
from plots import new_figure, save_figure, spread
from results import Results

from vidsal.bench import describe_machine, describe_versions
from vidsal.config import read_file, resolve
from vidsal.errors import VidsalError
from vidsal.losses import LossName, LossOptions
from vidsal.provenance import source_commit
from vidsal.train import TrainConfig, train

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "docs" / "reports"
CONFIG = ROOT / "configs" / "study_losses.yaml"
LOSSES: tuple[LossName, ...] = typing.get_args(LossName)
METRICS = {"auc_judd": "AUC-Judd", "nss": "NSS", "cc": "CC", "sim": "SIM", "kl": "KL"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the table, write the page where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", type=Path)
    parser.add_argument("--imagenet-weights", type=Path, metavar="FILE")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--only", nargs="+", choices=LOSSES, default=LOSSES, metavar="LOSS")
    parser.add_argument("--seeds", type=count_from(0), nargs="+", default=[0])
    parser.add_argument("--passes", type=count_from(1))
    parser.add_argument("--output", type=Path, default=Path("runs/compare_losses"))
    parser.add_argument("--write-docs", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.sets:
        given.output.mkdir(parents=True, exist_ok=True)
        results = Results(given.output / "results.json")
        train_losses(results, given)
        if given.write_docs:
            (REPORTS / "losses.json").write_text(results.text())
    results = Results(REPORTS / "losses.json" if given.write_docs else given.output / "results.json")
    if not results.values["trained"]:
        raise VidsalError(f"{results.path} holds no results: name the folders of the sets to train on")
    print("\n".join(tables(results.values).values()))
    plot = REPORTS / "images" / "losses.png" if given.write_docs else given.output / "losses.png"
    draw(results.values, plot)
    if given.write_docs:
        fill_parts(REPORTS / "losses.md", tables(results.values))
    return 0


def train_losses(results: Results, given: argparse.Namespace) -> None:
    """Train what is not trained yet, and keep its scores after each pass."""
    base = resolve(TrainConfig, read_file(given.config, TrainConfig))
    base = dataclasses.replace(base, datasets=tuple(given.sets), imagenet_weights=given.imagenet_weights)
    if given.passes is not None:
        base = dataclasses.replace(base, schedule=dataclasses.replace(base.schedule, passes=given.passes))
    recipe = {
        "model": dataclasses.asdict(base.model) if base.model else base.preset,
        "canvas": [base.preprocess.height, base.preprocess.width] if base.preprocess else None,
        "imagenet_weights": given.imagenet_weights.name if given.imagenet_weights else None,
        "passes": base.schedule.passes,
        "frames_per_step": base.schedule.frames_per_step,
        "sets": sorted(root.resolve().name for root in given.sets),
    }
    results.agree(recipe)
    for seed in given.seeds:
        for loss in given.only:
            name = f"{loss}/{seed}"
            if name in results.values["trained"]:
                continue
            begin = time.process_time()
            config = dataclasses.replace(
                base, output=given.output / f"{loss}-{seed}", loss=LossOptions(loss_name=loss), seed=seed
            )
            train(config)
            curve = read_curve(config.output / "log.jsonl")
            results.put(
                trained=results.values["trained"] | {name: curve},
                machine=describe_machine(),
                versions=describe_versions(),
                commit=source_commit(),
            )
            print(name, curve["scores"][-1], f"{time.process_time() - begin:.0f} s of CPU", flush=True)


def read_curve(log: Path) -> dict[str, Any]:
    """Steps, and the scores after them: each the mean over the sets, every set counting alike."""
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    if not entries[-1]["validation"]:
        raise VidsalError(f"{log}: nothing was scored, the sets have no validation pictures")
    scores = [
        {metric: float(np.mean([values[metric] for values in entry["validation"].values()])) for metric in METRICS}
        for entry in entries
    ]
    return {"steps": [entry["step"] for entry in entries], "scores": scores}


def of_loss(values: dict[str, Any], loss: str) -> list[dict[str, Any]]:
    """The curves of a loss, one a seed."""
    return [curve for name, curve in values["trained"].items() if name.rpartition("/")[0] == loss]


def tables(values: dict[str, Any]) -> dict[str, str]:
    """The parts of the page that are made of numbers, by name."""
    lines = [f"| loss | {' | '.join(METRICS.values())} |", "|---" * (len(METRICS) + 1) + "|"]
    for loss in LOSSES:
        last = [curve["scores"][-1] for curve in of_loss(values, loss)]
        if last:
            cells = " | ".join(spread([scores[metric] for scores in last]) for metric in METRICS)
            lines.append(f"| `{loss}` | {cells} |")
    recipe = values["recipe"]
    steps = next(iter(values["trained"].values()))["steps"][-1]
    seeds = sorted({name.rpartition("/")[2] for name in values["trained"]})
    height, width = recipe["canvas"]
    made = (
        f"{steps} steps of {recipe['frames_per_step']} pictures (passes: {recipe['passes']}), canvas {height}x{width}, "
        f"sets {', '.join(recipe['sets'])}, first weights {recipe['imagenet_weights'] or 'random'}, seeds "
        f"{', '.join(seeds)}; one thread of {values['machine']['processor']}, torch {values['versions']['torch']}.\n"
    )
    return {"losses": "\n".join(lines) + "\n", "made": made}


def draw(values: dict[str, Any], path: Path) -> None:
    """The plot: AUC-Judd on the validation pictures against the step, a line a loss, the mean over seeds.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    figure = new_figure(8.5, 4.6)
    axes = figure.subplots()
    colours = [*(f"C{place}" for place in range(10)), "black"]
    ends = []
    for place, loss in enumerate(LOSSES):
        curves = of_loss(values, loss)
        if curves:
            auc = np.mean([[scores["auc_judd"] for scores in curve["scores"]] for curve in curves], axis=0)
            style = {"color": colours[place], "marker": "os^Dv"[place % 5], "markersize": 4}
            (line,) = axes.plot(curves[0]["steps"], auc, label=loss, **style)
            ends.append((auc[-1], line))
    # In the order in which the lines end.
    axes.legend(handles=[line for _, line in sorted(ends, key=lambda end: -end[0])], frameon=False, fontsize=8, ncols=2)
    axes.set(xlabel="step", ylabel="AUC-Judd, validation pictures")
    save_figure(figure, path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
