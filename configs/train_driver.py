"""Trains the driver's model from the embedded default on one folder of pictures, and says how good it is.

    python configs/train_driver.py DATA/traffic                  # five folds, prints the table
    python configs/train_driver.py DATA/traffic --embed     # also writes the model and docs/reports/driver.md

The folder is in the simple layout, with the fixations of drivers under the condition "driver" and those of free
viewers under "free". Only what stands behind the recurrence is trained (the convolutions that join the priors, and the
head); backbone, recurrence and priors stay those of the base, so their output is computed once a picture. Regularised
by few steps, dropout, mirrored pictures and a running average of the weights. Each picture is scored by a model that
has not been trained on it. `--embed` then trains on all pictures, and writes only what differs from the base.

Maps are compared at the model's resolution, one frame from the zero state, with a density sigma of 3 % of the picture's
longer side.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import hashlib
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

import vidsal.model.checkpoint as checkpoints
from vidsal.data.clips import make_clip
from vidsal.data.fixations import SIGMA_SHARE
from vidsal.data.layouts import LabelledSequence, open_dataset
from vidsal.errors import DatasetError, VidsalError
from vidsal.losses import sam_loss
from vidsal.metrics import ScoreMeter
from vidsal.model.backbones import BackboneFeatures
from vidsal.model.baselines import CentrePrior
from vidsal.model.sam import SaliencyAttentiveModel, Unroll
from vidsal.preprocess import PreprocessOptions, Preprocessor, Viewport
from vidsal.provenance import source_commit

ROOT = Path(__file__).resolve().parents[1]
NAME = "sam-lite-driver"
METRICS = ("nss", "cc", "kl", "sim", "auc_judd")
TRAINED = ("prior_convolutions.", "head.")
BEGIN, END = "<!-- scores: made by configs/train_driver.py -->", "<!-- end of scores -->"
LogMap = torch.Tensor
Scores = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class DriverOptions:
    """How the head is trained."""

    steps: int = 60
    """Steps of the optimiser (Adam, up over a tenth of them, then down on a cosine)."""
    pictures_per_step: int = 8
    """Pictures in a step, each mirrored or not, after one frame or after a second with the state carried."""
    learning_rate: float = 3e-4
    """Highest rate."""
    dropout: float = 0.1
    """Share of the state's channels dropped in training."""
    average_decay: float = 0.97
    """Decay a step of the running average of the weights, which is what is kept."""
    folds: int = 5
    """Parts of the pictures, each held back once."""
    seed: int = 0
    """Of the folds, the order of the pictures and dropout."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the frozen part of the network makes of a picture, and where its viewers looked."""

    hidden: tuple[torch.Tensor, ...]
    """H, (1, channels, h, w): after one frame, after a second; then the same of the mirrored picture."""
    features: tuple[BackboneFeatures, BackboneFeatures]
    """Of the picture and of its mirror image."""
    density: dict[str, torch.Tensor]
    """Condition to recorded density on the canvas, (H, W)."""
    counts: dict[str, torch.Tensor]
    """Condition to fixations on the canvas, (H, W)."""
    inside: torch.Tensor
    """(H, W) bool, where the canvas shows the picture."""
    viewport: Viewport
    """Where it does."""


def main() -> int:
    """Cross-validate, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the traffic pictures")
    parser.add_argument("--base", default="sam-lite", help="preset whose head is trained (default: sam-lite)")
    parser.add_argument("--steps", type=int, default=DriverOptions().steps)
    parser.add_argument(
        "--embed", action="store_true", help="write the model into the package, and docs/reports/driver.md"
    )
    parser.add_argument(
        "--weights", type=Path, default=ROOT / "vidsal" / "model" / "weights", help="folder to write to"
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "reports" / "driver.md", help="page to write to")
    arguments = parser.parse_args()
    options = DriverOptions(steps=arguments.steps)
    began = time.perf_counter()
    network, preprocess, _ = checkpoints.read_checkpoint(checkpoints.weights_path(arguments.base))
    preprocess = dataclasses.replace(preprocess, fit="letterbox")  # one canvas for all
    drivers, free = (open_dataset("simple", arguments.data, condition=name).sequences for name in ("driver", "free"))
    if [still.name for still in drivers] != [still.name for still in free]:
        raise DatasetError(
            f"{arguments.data}: the same pictures must have fixations of both conditions, driver and free"
        )
    seen = [look(network, preprocess, pair) for pair in zip(drivers, free, strict=True)]
    print(f"{len(seen)} pictures looked at after {time.perf_counter() - began:.0f} s", flush=True)
    folds = make_folds(drivers, options)
    maps, shares = predict(network, seen, folds, options)
    scores = {name: score(own, seen) for name, own in maps.items()}
    unseen = np.array([still.split == "val" for still in drivers])
    table = write_table(scores, unseen, shares)
    print(table)
    if arguments.embed:
        tuned = fine_tune(network, seen, range(len(seen)), "driver", options, seed=options.seed)
        path = arguments.weights / f"{NAME}.safetensors"
        card = make_card(arguments.base, scores, unseen, options, len(seen))
        checkpoints.save_derived_checkpoint(path, tuned, base=arguments.base, card=card)
        print(f"wrote {path}: {path.stat().st_size / 1e6:.2f} MB, sha256 {_sha256(path)[:12]}")
        write_docs(arguments.docs, table)
    print(f"{time.perf_counter() - began:.0f} s in all")
    return 0


@torch.inference_mode()
def look(
    network: SaliencyAttentiveModel, preprocess: PreprocessOptions, pair: tuple[LabelledSequence, LabelledSequence]
) -> Seen:
    """The frozen part, once."""
    clips = [
        make_clip(still, times=1, preprocess=preprocess, augment=None, random=np.random.default_rng(0))
        for still in pair
    ]
    frame, viewport = clips[0].frames[0], clips[0].viewport
    hidden, features = [], []
    for picture in (frame, np.ascontiguousarray(frame[:, ::-1])):
        own = network.backbone(Preprocessor(preprocess)(picture[None]))
        features.append(own)
        after, _ = network.recurrence(
            own.deep[:, None].expand(-1, 2, -1, -1, -1),
            unroll=Unroll.of([[True, False]], fresh_steps=network.config.steps),
        )
        hidden += [after[:, 0].clone(), after[:, 1].clone()]
    inside = torch.zeros(frame.shape[:2], dtype=torch.bool)
    inside[viewport.top : viewport.top + viewport.height, viewport.left : viewport.left + viewport.width] = True
    names = ("driver", "free")
    return Seen(
        hidden=tuple(hidden),
        features=(features[0], features[1]),
        density={name: torch.from_numpy(clip.density[0]) for name, clip in zip(names, clips, strict=True)},
        counts={name: torch.from_numpy(clip.counts[0]) for name, clip in zip(names, clips, strict=True)},
        inside=inside,
        viewport=viewport,
    )


def make_folds(stills: Sequence[LabelledSequence], options: DriverOptions) -> npt.NDArray[np.int64]:
    """The fold of each picture; those that the base was not trained on are spread evenly too."""
    unseen = np.array([still.split == "val" for still in stills])
    random = np.random.default_rng(options.seed)
    order = np.concatenate([random.permutation(np.flatnonzero(group)) for group in (unseen, ~unseen)])
    folds = np.zeros(len(stills), np.int64)
    folds[order] = np.arange(len(stills)) % options.folds
    return folds


def fine_tune(
    base: SaliencyAttentiveModel,
    seen: Sequence[Seen],
    chosen: Sequence[int],
    condition: str,
    options: DriverOptions,
    *,
    seed: int,
) -> SaliencyAttentiveModel:
    """The base with its head trained on the chosen pictures' fixations of one condition."""
    network = copy.deepcopy(base).eval().requires_grad_(False)  # batch norms keep their statistics
    parameters = [value for name, value in network.named_parameters() if name.startswith(TRAINED)]
    for parameter in parameters:
        parameter.requires_grad_(True)
    average = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.Adam(parameters, lr=options.learning_rate)
    random = np.random.default_rng([seed, 1])
    torch.manual_seed(seed)
    for step in range(options.steps):
        rising = min(1.0, (step + 1) / (0.1 * options.steps + 1))
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * rising * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        size = min(options.pictures_per_step, len(chosen))
        drawn = [seen[index] for index in random.choice(np.array(chosen), size, replace=False)]
        mirrored, later = random.integers(2, size=(2, size))
        log_density = read_out(network, drawn, mirrored.tolist(), later.tolist(), dropout=options.dropout)
        targets = [
            torch.stack([labels[condition].flip(1) if flip else labels[condition] for labels, flip in rows])
            for rows in (
                [(one.density, flip) for one, flip in zip(drawn, mirrored, strict=True)],
                [(one.counts, flip) for one, flip in zip(drawn, mirrored, strict=True)],
            )
        ]
        inside = torch.stack(
            [one.inside.flip(1) if flip else one.inside for one, flip in zip(drawn, mirrored, strict=True)]
        )
        loss = sam_loss(log_density, density=targets[0], counts=targets[1], inside=inside).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        decay = min(options.average_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, parameter in zip(average, parameters, strict=True):
                kept.lerp_(parameter, 1 - decay)
    with torch.no_grad():
        for kept, parameter in zip(average, parameters, strict=True):
            parameter.copy_(kept)
    return network.requires_grad_(False)


def read_out(
    network: SaliencyAttentiveModel,
    seen: Sequence[Seen],
    mirrored: Sequence[int],
    later: Sequence[int],
    *,
    dropout: float = 0.0,
) -> LogMap:
    """Log densities (N, H, W) of what was seen."""
    hidden = torch.cat([one.hidden[2 * flip + late] for one, flip, late in zip(seen, mirrored, later, strict=True)])
    features = [one.features[flip] for one, flip in zip(seen, mirrored, strict=True)]
    joined = BackboneFeatures(
        torch.cat([one.deep for one in features]),
        tuple(torch.cat(rows) for rows in zip(*(one.skips for one in features), strict=True)),
    )
    hidden = F.dropout2d(hidden, dropout) if dropout else hidden
    return network.read_out(hidden, joined, (seen[0].inside.shape[0], seen[0].inside.shape[1]))


def drivers_prior(seen: Sequence[Seen]) -> LogMap:
    """Log of the drivers' mean density over pictures and their mirror images, (H, W)."""
    total = torch.stack([one.density["driver"] for one in seen]).sum(0)
    total = total + total.flip(1)
    return (total / total.sum()).clamp_min(1e-12).log()


def blend(log_density: LogMap, prior: LogMap, share: float) -> LogMap:
    """Log of (1 - share) of a density and share of another."""
    if share == 0:
        return log_density
    return torch.logsumexp(torch.stack([log_density + math.log(1 - share), prior + math.log(share)]), 0)


def best_share(seen: Sequence[Seen], maps: Sequence[LogMap], prior: LogMap) -> float:
    """The share of the prior, 0 to 0.5 in tenths, with which the blend has the least KL on these pictures."""
    shares = [tenth / 10 for tenth in range(6)]
    return min(shares, key=lambda share: _divergence(seen, [blend(own, prior, share) for own in maps]))


def predict(
    base: SaliencyAttentiveModel,
    seen: Sequence[Seen],
    folds: npt.NDArray[np.int64],
    options: DriverOptions,
) -> tuple[dict[str, list[LogMap]], list[float]]:
    """Every row of the table: its map of each picture, made without that picture; and the shares of the blend."""
    with torch.inference_mode():
        free = [read_out(base, [one], [0], [0])[0] for one in seen]
    rows: dict[str, list[LogMap]] = {"free-viewing model": free}
    others = ("driver's model", "the same on free viewers", "drivers' centre prior", "free-viewing model and prior")
    rows |= {name: list(free) for name in others}
    rows["fixed Gaussian"] = [_on_canvas(_gaussian(one.viewport), one.viewport) for one in seen]
    shares = []
    for fold in range(options.folds):
        training, held = np.flatnonzero(folds != fold).tolist(), np.flatnonzero(folds == fold).tolist()
        prior = drivers_prior([seen[index] for index in training])
        share = best_share([seen[index] for index in training], [free[index] for index in training], prior)
        shares.append(share)
        for name, condition in (("driver's model", "driver"), ("the same on free viewers", "free")):
            tuned = fine_tune(base, seen, training, condition, options, seed=options.seed)
            with torch.inference_mode():
                for index in held:
                    rows[name][index] = read_out(tuned, [seen[index]], [0], [0])[0]
        for index in held:
            rows["drivers' centre prior"][index] = prior
            rows["free-viewing model and prior"][index] = blend(free[index], prior, share)
        print(f"fold {fold + 1} of {options.folds}", flush=True)
    return rows, shares


def _gaussian(view: Viewport) -> npt.NDArray[np.float32]:
    """In the middle, a quarter of each side wide."""
    prior = CentrePrior(variance=0.25, ratio=(view.height / view.width) ** 2)
    return prior.predict(np.zeros((1, view.height, view.width, 3), np.uint8))[0]


def _on_canvas(saliency: npt.NDArray[np.float32], view: Viewport) -> LogMap:
    canvas = np.full((view.canvas_height, view.canvas_width), 1e-12, np.float32)
    small = cv2.resize(saliency, (view.width, view.height), interpolation=cv2.INTER_AREA)
    canvas[view.top : view.top + view.height, view.left : view.left + view.width] = np.maximum(small, 1e-12)
    return torch.from_numpy(canvas / canvas.sum()).log()


def _divergence(seen: Sequence[Seen], maps: Sequence[LogMap]) -> float:
    """Mean KL of the drivers' densities from maps, on the canvas."""
    values = []
    for one, log_density in zip(seen, maps, strict=True):
        density = one.density["driver"]
        values.append(float((density * ((density + 1e-10).log() - log_density)).sum()))
    return float(np.mean(values))


def score(maps: Sequence[LogMap], seen: Sequence[Seen]) -> Scores:
    """Scores of each picture against the drivers, on the part of the canvas that shows it."""
    meter = ScoreMeter(METRICS)
    for log_density, one in zip(maps, seen, strict=True):
        view = one.viewport
        rows, columns = slice(view.top, view.top + view.height), slice(view.left, view.left + view.width)
        truth = (one.density["driver"][rows, columns], one.counts["driver"][rows, columns])
        meter.update(view.crop(log_density).exp()[None], *(values[None] for values in truth))
    return {name: np.array(values) for name, values in meter.scores().items()}


def interval(differences: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Bootstrap 95 % interval of the mean over pictures."""
    random = np.random.default_rng(0)
    means = differences[random.integers(len(differences), size=(10_000, len(differences)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def write_table(scores: dict[str, Scores], unseen: npt.NDArray[np.bool_], shares: Sequence[float]) -> str:
    """The table with what it rests on, as Markdown."""
    lines = []
    for title, chosen in (
        (f"All {len(unseen)} pictures, each held back from its model's training here", np.ones_like(unseen)),
        (f"Of these the {int(unseen.sum())} that the base was not trained on either", unseen),
    ):
        lines += [f"**{title}**", "", "| | NSS | CC | KL | SIM | AUC-J |", "|---|---|---|---|---|---|"]
        for name in ORDER:
            values = " | ".join(f"{scores[name][metric][chosen].mean():.3f}" for metric in METRICS)
            lines.append(f"| {name} | {values} |")
        lines.append("")
        for other in ("free-viewing model", "the same on free viewers"):
            parts = []
            for metric in ("nss", "cc", "kl"):
                difference = scores["driver's model"][metric][chosen] - scores[other][metric][chosen]
                low, high = interval(difference)
                parts.append(f"{metric.upper()} {difference.mean():+.3f} ({low:+.3f} to {high:+.3f})")
            lines.append(
                f"Driver's model less {other}, with bootstrap 95 % intervals over pictures: {', '.join(parts)}."
            )
            lines.append("")
    used = ", ".join(f"{share:.1f}" for share in shares)
    lines.append(
        f"Share of the prior in the blend, the one with the least KL on the training pictures of each fold: {used}."
    )
    return "\n".join(lines)


ORDER = (
    "driver's model",
    "free-viewing model",
    "the same on free viewers",
    "free-viewing model and prior",
    "drivers' centre prior",
    "fixed Gaussian",
)


def make_card(
    base: str, scores: dict[str, Scores], unseen: npt.NDArray[np.bool_], options: DriverOptions, count: int
) -> checkpoints.ModelCard:
    """What has to be known of the model."""
    shown = {"driver's model": "", "free-viewing model": "/free-viewing", "drivers' centre prior": "/drivers-mean"}
    return checkpoints.ModelCard(
        name=NAME,
        task="driving",
        description=(
            f"{base} with the head trained on where drivers look: the same backbone, recurrence and priors, so the "
            "same state and speed."
        ),
        licence="MIT",
        training_data=(
            "Traffic (Deng et al. 2016), taodeng/Top-down-based-traffic-driving-saliency-model, Unlicense: fixations "
            f"of drivers on {count} still pictures",
            f"All that {base} was trained on, see its card",
        ),
        initialisation=base,
        commit=source_commit(),
        training=json.dumps(dataclasses.asdict(options), sort_keys=True),
        scores={
            f"traffic-driver{group}{suffix}": {metric: float(scores[name][metric][chosen].mean()) for metric in METRICS}
            for name, suffix in shown.items()
            for group, chosen in (("", np.ones_like(unseen)), ("-unseen", unseen))
        },
        protocol=(
            f"{options.folds}-fold cross-validation of the same training over the {count} pictures (the model itself "
            f"is trained on all); -unseen: the {int(unseen.sum())} that the base was not trained on either; one frame "
            f"from the zero state, model resolution, density sigma {SIGMA_SHARE:.0%} of the longer side"
        ),
        limits=(
            f"{count} still pictures of traffic, of one laboratory, are all it knows of drivers: enough to say that a "
            "driver looks elsewhere on such pictures, not which way in rare, dangerous or foreign situations.",
            "Drivers sat before still pictures: no speed, no mirrors, no steering, no gaze that follows motion.",
            "The base had seen most of these pictures with both kinds of viewers: trust the scores on -unseen only.",
            "It is no measure of attention for driver assistance, and must not be used where safety depends on it.",
        ),
    )


def write_docs(page: Path, table: str) -> None:
    """Put the table between the page's markers."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")
    print(f"wrote {page}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
