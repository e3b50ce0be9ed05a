"""Every system behind the interface on the same pictures: trains what can be trained, scores, writes docs/zoo.md.

    python studies/write_zoo.py DATA/osie DATA/eyecrowd DATA/scene DATA/traffic --mobilenet_v2 FILE
        --efficientnet_lite0 FILE ... [--weights ml-net=FILE ...] [--without edn ...] [--pictures 20]
        [--config configs/zoo.yaml] [--work runs/zoo] [--write-docs]

DATA are folders in the simple layout. The FILEs are ImageNet state dicts, as `vidsal train --imagenet-weights` takes
them: of the backbones of SAM's family, and after --weights those of the other systems' networks, each by its name; of
`rmdn` and `dreyeve` C3D's, as `--c3d-weights` takes them. What has no weights is not trained, and the page says so.
Scored are the model that comes with vidsal, networks of the published presets that are in the cache, all that was
trained here, and all models without weights, by `vidsal.comparing.compare_models` under vidsal's own protocol.
`--pictures N` scores at most N validation pictures of each set, evenly spread by name. Costs are measured once, beside
the first set. A killed run goes on where it was.

`--write-docs` copies the results to docs/zoo.json, draws docs/images/zoo.png and fills the tables of docs/zoo.md;
without DATA it does only that: networks that are new in the catalogue then appear among those not trained.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import gzip
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arguments import count_from
from pages import fill_parts
from plots import new_figure, save_figure
from results import Results, show

from vidsal.bench import describe_machine, describe_versions
from vidsal.comparing import CompareModelsOptions, ComparingOptions, ModelsProgress, RunningOptions, compare_models
from vidsal.config import read_file, resolve
from vidsal.data.fixations import find_table, is_validation
from vidsal.errors import CheckpointError, ConfigError, VidsalError
from vidsal.evaluate.options import ScoringOptions
from vidsal.evaluate.ranking import COSTS, Cost, Ranking, chance_mark
from vidsal.metrics import METRICS
from vidsal.model.backbones import BackboneName, build_backbone
from vidsal.model.baselines.catalogue import BASELINES
from vidsal.model.checkpoint import PRESETS, weights_path
from vidsal.model.heads import HeadName
from vidsal.model.networks.catalogue import NETWORKS
from vidsal.model.options import BEGIN_WITH_C3D
from vidsal.model.sam import SAMConfig
from vidsal.preprocess import PreprocessOptions
from vidsal.provenance import source_commit
from vidsal.train import TrainConfig, train

DOCS = Path(__file__).parents[1] / "docs"
PAGE, KEPT, PLOT = DOCS / "zoo.md", DOCS / "zoo.json", DOCS / "images" / "zoo.png"
CONFIG = Path(__file__).parents[1] / "configs" / "zoo.yaml"
SHOWN = ("nss", "cc", "sim", "kl", "auc_judd", "shuffled_auc")
# Of SAM's family: what is trained here, on which backbone and with which head.
LIGHT: dict[str, tuple[BackboneName, HeadName]] = {
    "light-mobilenet_v2": ("mobilenet_v2", "refine"),
    "light-efficientnet_lite0": ("efficientnet_lite0", "refine"),
    "light-efficientnet_lite1": ("efficientnet_lite1", "refine"),
    "light-efficientnet_lite2": ("efficientnet_lite2", "refine"),
    "readout-deconvolution": ("mobilenet_v2", "readout_deconvolution"),
    "readout-subpixel": ("mobilenet_v2", "readout_subpixel"),
    "readout-bilinear": ("mobilenet_v2", "readout_bilinear"),
}
BACKBONES: tuple[BackboneName, ...] = tuple(dict.fromkeys(backbone for backbone, _ in LIGHT.values()))
# Its features are random ones, of which a readout is trained: it needs no weights. They take seconds a picture.
RANDOM_FEATURES = ("edn",)
# What each system's authors begin from, where that is known.
BEGUN_FROM = {
    "ml-net": "VGG-16",
    "salnet": "VGG_CNN_M",
    "salgan": "VGG-16",
    "deepgaze-1": "AlexNet",
    "deepgaze-2": "VGG-19",
    "deepfix": "VGG-16",
    "salicon-net": "VGG-16",
    "dva": "VGG-16",
    "readout-net": "VGG-16, ResNet-50, DenseNet-161 or DPN-131",
    "rmdn": "C3D, trained on videos of sports",
    "dreyeve": "C3D, trained on videos of sports; it needs video",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and score what is missing, print the tables, write the page where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", type=Path)
    for backbone in BACKBONES:
        parser.add_argument(f"--{backbone}", type=Path, metavar="FILE")
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=FILE", help="what a network begins with")
    parser.add_argument("--pictures", type=count_from(2), help="at most so many validation pictures a set")
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME", help="do not train these, to save time")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--work", type=Path, default=Path("runs/zoo"))
    parser.add_argument("--write-docs", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.sets:
        given.work.mkdir(parents=True, exist_ok=True)
        results = Results(given.work / "results.json")
        sets = [root if given.pictures is None else some_of(root, given.pictures, given.work) for root in given.sets]
        train_networks(results, given, sets)
        score(results, given, sets)
        if given.write_docs:
            KEPT.write_text(results.text())
    results = Results(KEPT if given.write_docs else given.work / "results.json")
    if not results.values.get("sets"):
        raise VidsalError(f"{results.path} holds no scores: name the folders of the sets to score on")
    parts = tables(results.values)
    print("\n".join(parts.values()))
    plot = PLOT if given.write_docs else given.work / "zoo.png"
    draw(results.values, plot)
    if given.write_docs:
        fill_parts(PAGE, parts)
    return 0


def some_of(root: Path, pictures: int, work: Path) -> Path:
    """The set with all its training pictures, and evenly spread ones of those to validate on, as a folder in `work`."""
    root = root.resolve()
    table = find_table(root, "fixations")
    if table is None:
        raise ConfigError(f"{root} is no set in the simple layout: there is no fixations.csv")
    with gzip.open(table, "rt", newline="") if table.suffix == ".gz" else table.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    column = header.index("image")
    held_out = sorted({row[column] for row in rows if is_validation(root.name, row[column])})
    count = min(pictures, len(held_out))
    dropped = {*held_out} - {held_out[place * len(held_out) // count] for place in range(count)}
    made = work / "sets" / f"{count}" / root.name
    made.mkdir(parents=True, exist_ok=True)
    if not (made / "images").exists():
        (made / "images").symlink_to(root / "images", target_is_directory=True)
    with (made / "fixations.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *(row for row in rows if row[column] not in dropped)])
    return made


def train_networks(results: Results, given: argparse.Namespace, sets: Sequence[Path]) -> None:
    """Train what has weights and is not trained yet."""
    base = resolve(TrainConfig, read_file(given.config, TrainConfig))
    if base.preprocess is None:
        raise ConfigError(f"{given.config} must name preprocess")
    recipe = {
        "canvas": [base.preprocess.height, base.preprocess.width],
        "schedule": {**dataclasses.asdict(base.schedule), "clip_lengths": sorted(base.schedule.clip_lengths)},
        "sets": [root.name for root in sets],
        "pictures": given.pictures,
    }
    results.agree(recipe, flag="--work")
    plan = planned(base, given, sets)
    unknown = {*given.without} - plan.keys()
    if unknown:
        raise ConfigError(f"--without {min(unknown)}: it would not be trained; known here are {', '.join(plan)}")
    results.put(without=sorted(given.without))
    for name, config in plan.items():
        if name in results.values["trained"] or name in given.without:
            continue
        steps: list[int] = []

        def follow(progress: Any, *, name: str = name, steps: list[int] = steps) -> None:
            steps.append(progress.steps)
            show(name, progress)

        path = train(config, on_progress=follow)
        done = {
            "checkpoint": path.resolve().relative_to(given.work.resolve()).as_posix(),
            "weights": next((one.name for one in (config.imagenet_weights, config.c3d_weights) if one), None),
            "sets": [root.name for root in config.datasets],
            "steps": steps[-1] if steps else None,
        }
        results.put(trained=results.values["trained"] | {name: done})
        print(name, "trained", flush=True)


def planned(base: TrainConfig, given: argparse.Namespace, sets: Sequence[Path]) -> dict[str, TrainConfig]:
    """Name to configuration of all that can be trained with the weights that are given."""
    common = {"datasets": tuple(sets), "device": "cpu"}
    plan: dict[str, TrainConfig] = {}
    canvas = base.preprocess or PreprocessOptions()
    for name, (backbone, head) in LIGHT.items():
        weights = vars(given)[backbone]
        if weights is not None:
            plan[name] = dataclasses.replace(
                base,
                model=SAMConfig(backbone, head=head),
                preprocess=dataclasses.replace(
                    build_backbone(backbone, 8).imagenet_input, height=canvas.height, width=canvas.width
                ),
                imagenet_weights=weights,
                output=given.work / "trained" / name,
                **common,
            )
    others = dict(pair.split("=", 1) if "=" in pair else (pair, "") for pair in given.weights)
    wrong = [name for name, file in others.items() if name not in NETWORKS or not file]
    if wrong:
        raise ConfigError(f"--weights {wrong[0]}: expected NAME=FILE, NAME one of {', '.join(NETWORKS)}")
    own = {"model": None, "preprocess": None}
    for network in NETWORKS:
        if network in others or network in RANDOM_FEATURES:
            file = Path(others[network]) if network in others else None
            plan[network] = dataclasses.replace(
                base,
                preset=network,
                **{"c3d_weights" if network in BEGIN_WITH_C3D else "imagenet_weights": file},
                output=given.work / "trained" / network,
                # The smallest set: its features take seconds a picture.
                **(common if network in others else {**common, "datasets": (smallest(sets),)}),
                **own,
            )
    return plan


def smallest(sets: Sequence[Path]) -> Path:
    """The set with the fewest pictures."""
    return min(sets, key=lambda root: sum(1 for _ in (root / "images").iterdir()))


def score(results: Results, given: argparse.Namespace, sets: Sequence[Path]) -> None:
    """Every system on every set; what an earlier call has scored is taken up."""
    models = [name for name in PRESETS if is_at_hand(name)]
    models += [f"{name}={given.work / done['checkpoint']}" for name, done in trained_of(results.values).items()]
    models += [name for name in BASELINES if name != "uniform"]
    kept: dict[str, Any] = {}
    costs: dict[str, Any] = {}
    for place, root in enumerate(sets):
        options = CompareModelsOptions(
            comparing=ComparingOptions(out=given.work / "scored" / root.name, rank_by="nss", cost=place == 0),
            scoring=ScoringOptions(split="val", metrics=",".join(SHOWN), baselines="inter-observer"),
            # The same digits on every processor.
            running=RunningOptions(device="cpu", precision="fp32"),
        )
        report = compare_models("simple", root, models, options=options, on_progress=functools.partial(say, root.name))
        kept[root.name] = as_values(report.ranking)
        if place == 0:
            costs = {one.name: dataclasses.asdict(one.cost) for one in report.ranking.models}
            results.put(costs=costs, measured=report.ranking.measured)
        results.put(sets=kept, machine=describe_machine(), versions=describe_versions(), commit=source_commit())


def is_at_hand(preset: str) -> bool:
    """Whether a model's weights come with vidsal or are in the cache, and it judges pictures freely looked at."""
    try:
        weights_path(preset)
    except CheckpointError:
        return False
    return "driver" not in preset


def say(where: str, progress: ModelsProgress) -> None:
    """A line as something begins, or fails."""
    if progress.evaluation is None:
        words = f" ({progress.reason})" if progress.reason else ""
        print(f"{where}: {progress.name}, {progress.doing}{words}", flush=True)


def as_values(ranking: Ranking) -> dict[str, Any]:
    """What the page needs of a ranking, for JSON."""
    return {
        "pictures": ranking.sequences,
        "models": {
            one.name: {
                "scores": {metric: triple(one.scores[metric]) for metric in SHOWN if metric in one.scores},
                "level": chance_mark(one, "nss") == "≈",
            }
            for one in ranking.models
        },
        "references": {
            one.name: {metric: triple(one.scores[metric]) for metric in SHOWN if metric in one.scores}
            for one in ranking.references
        },
        "failed": dict(ranking.failed),
    }


def triple(estimate: Any) -> list[float | None]:
    """The value and its interval; None for what is not defined."""
    return [float(one) if np.isfinite(one) else None for one in (estimate.value, estimate.low, estimate.high)]


def trained_of(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What was trained, but for what the last call was to do without."""
    return {name: done for name, done in values["trained"].items() if name not in values.get("without", ())}


def kind_of(name: str, values: Mapping[str, Any]) -> str:
    """How a system came by its weights, in words."""
    done = values["trained"].get(name)
    if done is not None:
        return "trained here, shortly" if done["weights"] else "readout trained here, shortly"
    return "without weights" if name in BASELINES else "as it comes"


def means_of(values: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """System to metric to mean over the sets, each counting alike; only systems that every set has, the best first."""
    sets = list(values["sets"].values())
    names = [name for name in sets[0]["models"] if all(name in one["models"] for one in sets)]
    made = {
        name: {
            metric: float(np.mean([one["models"][name]["scores"][metric][0] for one in sets]))
            for metric in SHOWN
            if all((one["models"][name]["scores"].get(metric) or [None])[0] is not None for one in sets)
        }
        for name in names
    }
    return dict(sorted(made.items(), key=lambda item: -item[1]["nss"]))


def tables(values: Mapping[str, Any]) -> dict[str, str]:
    """The parts of the page that are made of numbers, by name."""
    return {
        "zoo": overall(values),
        "zoo-sets": by_set(values),
        "zoo-trained": trained(values),
        "zoo-not-trained": not_trained(values),
        "zoo-made": made(values),
    }


def overall(values: Mapping[str, Any]) -> str:
    """A row a system: its mean over the sets, and what it costs."""
    titles = [f"{METRICS[metric].title} {'↑' if METRICS[metric].better == 'higher' else '↓'}" for metric in SHOWN]
    head = ["", "system", "weights", *titles, *(column.title for column in COSTS)]
    lines = [f"| {' | '.join(head)} |", "|--:|---|---|" + "--:|" * (len(head) - 3)]
    for place, (name, scores) in enumerate(means_of(values).items(), start=1):
        numbers = [f"{scores[metric]:.3f}" if metric in scores else "-" for metric in SHOWN]
        cost = cost_of(values, name)
        costs = [column.shown(cost) or "-" for column in COSTS]
        lines.append(f"| {place} | `{name}` | {kind_of(name, values)} | {' | '.join([*numbers, *costs])} |")
    return "\n".join(lines) + "\n"


def cost_of(values: Mapping[str, Any], name: str) -> Cost:
    """What was measured of a system."""
    found = dict(values["costs"].get(name, {}))
    if found.get("canvas"):
        found["canvas"] = tuple(found["canvas"])
    return Cost(**found)


def by_set(values: Mapping[str, Any]) -> str:
    """NSS and its interval on each set."""
    sets = values["sets"]
    head = [f"{name} ({one['pictures']})" for name, one in sets.items()]
    lines = [f"| system | {' | '.join(head)} |", "|---|" + "--:|" * len(head)]
    best = {name: max(one["models"].values(), key=lambda each: each["scores"]["nss"][0]) for name, one in sets.items()}
    for name in means_of(values):
        cells = []
        for where, one in sets.items():
            own = one["models"][name]
            text = interval(own["scores"]["nss"])
            cells.append(f"**{text}**" if own is best[where] else f"{text} ≈" if own["level"] else text)
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    for reference in dict.fromkeys(name for one in sets.values() for name in one["references"]):
        cells = [interval(one["references"].get(reference, {}).get("nss", [None])) for one in sets.values()]
        lines.append(f"| *{reference}* | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def interval(numbers: Sequence[float | None]) -> str:
    """A value with its interval; a dash where there is none."""
    value, *ends = numbers
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" ({ends[0]:.2f} to {ends[1]:.2f})" if all(one is not None for one in ends) else "")


def trained(values: Mapping[str, Any]) -> str:
    """What was trained here, from what."""
    lines = ["| name | network | first weights | steps | sets |", "|---|---|---|--:|---|"]
    for name, done in trained_of(values).items():
        backbone, head = LIGHT.get(name, ("", ""))
        what = f"`sam-lite`'s, backbone `{backbone}`, head `{head}`" if backbone else f"`{name}` at its own canvas"
        first = f"`{done['weights']}`" if done["weights"] else "random features, which stay as they are"
        lines.append(f"| `{name}` | {what} | {first} | {done['steps']} | {', '.join(done['sets'])} |")
    return "\n".join(lines) + "\n"


def not_trained(values: Mapping[str, Any]) -> str:
    """What the catalogue has and the table lacks, with the reason."""
    scored = {name for one in values["sets"].values() for name in one["models"]}
    lines = ["| system | what was not at hand |", "|---|---|"]
    for name in PRESETS:
        if name not in scored and "driver" not in name:
            lines.append(f"| `{name}` | neither its [published weights](how-to/published-networks.md) nor ImageNet's |")
    for name in NETWORKS:
        if name not in scored:
            lines.append(f"| `{name}` | {reason(name)} |")
    failed = {name: why for one in values["sets"].values() for name, why in one["failed"].items()}
    lines += [f"| `{name}` | it failed: {why} |" for name, why in failed.items()]
    return "\n".join(lines) + "\n"


def reason(name: str) -> str:
    """Why a network was not trained."""
    if name in RANDOM_FEATURES:
        return "the time to train its readout, whose features take seconds a picture; it needs no weights"
    begun = BEGUN_FROM.get(name)
    return "weights of what its authors begin from" + (f": {begun}" if begun else "")


def made(values: Mapping[str, Any]) -> str:
    """What the numbers were made with."""
    recipe, schedule = values["recipe"], values["recipe"]["schedule"]
    height, width = recipe["canvas"]
    which = "all" if recipe["pictures"] is None else f"at most {recipe['pictures']} of each set, evenly spread by name"
    counts = ", ".join(f"{name} {one['pictures']}" for name, one in values["sets"].items())
    flag = "" if recipe["pictures"] is None else f" --pictures {recipe['pictures']}"
    flag += f" --without {' '.join(values['without'])}" if values.get("without") else ""
    files = " ".join(dict.fromkeys(f"--{LIGHT[name][0]} FILE" for name in trained_of(values) if name in LIGHT))
    others = [f"{name}=FILE" for name, done in trained_of(values).items() if name not in LIGHT and done["weights"]]
    weights = f" --weights {' '.join(others)}" if others else ""
    roots = " ".join(f"DATA/{name}" for name in values["sets"])
    commit = f", vidsal at commit {values['commit']}" if values.get("commit") else ""
    return (
        f"    python studies/write_zoo.py {roots} \\\n        {files}{weights}{flag} --write-docs\n\n"
        f"- **The recipe** (`configs/zoo.yaml`): passes {schedule['passes']}, {schedule['frames_per_step']} pictures a "
        f"step, canvas {height}x{width}, the loss of SAM, one seed.\n"
        f"- **Pictures**: of the validation splits, {which}: {counts}. Every picture by itself, from the zero state, "
        "at the resolution of the stimulus, under [vidsal's protocol](reference/protocols.md).\n"
        f"- **{values['measured'][:1].upper()}{values['measured'][1:]}.**\n"
        f"- torch {values['versions']['torch']}{commit}.\n"
    )


def draw(values: Mapping[str, Any], path: Path) -> None:
    """The plot: a row a system, the best on top; NSS on each set, and the mean.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    means = means_of(values)
    figure = new_figure(8.5, 0.28 * len(means) + 1.2)
    axes = figure.subplots()
    rows = np.arange(len(means))[::-1]
    for where, marker in zip(values["sets"], "osD^vP*X<>", strict=False):
        scores = [values["sets"][where]["models"][name]["scores"]["nss"][0] for name in means]
        axes.plot(scores, rows, marker, markersize=5, alpha=0.75, label=where, linestyle="none")
    for row, scores in zip(rows, means.values(), strict=True):
        label = "mean of the sets" if row == rows[0] else None
        axes.plot(
            scores["nss"], row, "|", color="black", markersize=14, markeredgewidth=2, label=label, linestyle="none"
        )
    axes.set_yticks(rows, list(means), fontsize=8)
    axes.set(xlabel="NSS", xlim=(min(0.0, axes.get_xlim()[0]), None))
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    save_figure(figure, path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
