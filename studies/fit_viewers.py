"""Stills with timed fixations in; out how long viewers stay in the middle of a new picture, how sharp maps are best.

    python studies/fit_viewers.py DATA/osie DATA/eyecrowd DATA/scene [--model sam-lite] [--write-docs]

A still that appears is a shot that begins: viewers look at the middle (a cross stood there), leave it after the latency
of a saccade, and then look at what is there. Only pictures of the validation split are used. Printed are

- the latency of the first saccade: the share of viewers whose first fixation still lasts after so many seconds,
  beside the share that LATER gives (Carpenter and Williams 1995) with the constants of `ViewerOptions`;
- by seconds since the picture appeared: the share w of a Gaussian in the middle that makes the gaze at that moment most
  likely under w * Gaussian + (1 - w) * density, with one Gaussian for all moments; and the share by `ViewerOptions`;
- NSS, CC, SIM and KL of all fixations together for the density raised to powers around 1, and the mean log density at
  fixations, in bits above the uniform.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pages import fill
from plots import new_figure, save_figure

from vidsal.data.sets import open_simple_stills
from vidsal.errors import DatasetError, VidsalError
from vidsal.evaluate.score import resize_map
from vidsal.evaluate.sources import ModelSource
from vidsal.metrics import ScoreMeter
from vidsal.model import load_model
from vidsal.pipe.options import PredictOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.viewers import ViewerOptions, share_at_centre, share_not_moved

MOMENTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0)
"""Seconds after the picture appears."""
LATENCIES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
POWERS = (0.9, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3)
SIGMAS = (0.06, 0.08, 0.1, 0.12, 0.14, 0.17, 0.2, 0.235)
"""Tried for both axes, as shares of width and height."""
WEIGHTS = np.linspace(0, 1, 51)

PAGE = Path(__file__).parents[1] / "docs" / "reports" / "state.md"
PLOT = Path(__file__).parents[1] / "docs" / "reports" / "images" / "viewers.png"
SHOWN = "![Shares of gaze after a cut, and latency of the first saccade](images/viewers.png)"
BEGIN, END = "<!-- fit_viewers: begin -->", "<!-- fit_viewers: end -->"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """A fixation: from when to when after the picture appeared, and where, as shares of width and height."""

    begin: float
    end: float
    x: float
    y: float


def timed_looks(folder: Path) -> dict[str, list[list[Look]]]:
    """By picture: each viewer's fixations. Time between two fixations is left out of the data, 0.03 s are put in.

    Raises:
        DatasetError: the file cannot be read, or says nothing of viewers and durations.
    """
    path = folder / "fixations.csv.gz"
    viewers: dict[tuple[str, str], list[Look]] = defaultdict(list)
    try:
        with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                looks = viewers[row["image"], row["subject"]]
                begin = looks[-1].end + 0.03 if looks else 0.0
                end = begin + float(row["duration_ms"]) / 1000
                looks.append(
                    Look(begin, end, float(row["x"]) / float(row["width"]), float(row["y"]) / float(row["height"]))
                )
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise DatasetError(f"{path}: no fixations with viewers and durations ({error})") from error
    pictures: dict[str, list[list[Look]]] = defaultdict(list)
    for (picture, _), looks in viewers.items():
        pictures[picture].append(looks)
    return pictures


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of one set."""

    densities: list[Floats]
    """Of each picture, (h, w), sums to 1."""
    looks: list[list[list[Look]]]
    """Of each picture and viewer."""
    powers: dict[str, dict[str, float]]
    """By power and metric."""


def see(folder: Path, model: str) -> Seen:
    """Maps of the validation stills of a set, and who looked where and when."""
    source = ModelSource(
        load_model(model), options=PredictOptions(smooth=SmoothOptions(smoothing="none"), viewers=ViewerOptions("off"))
    )
    looks = timed_looks(folder)
    densities, seen = [], []
    meters = {power: ScoreMeter() for power in POWERS}
    for still in open_simple_stills(folder).validation:
        for frame, density in source.maps(still, [0]):
            recorded, fixations = frame.density(), frame.fixations()
            if recorded is None or fixations is None:
                continue
            rows, columns = density.shape
            truth = torch.from_numpy(resize_map(recorded, rows, columns))[None]
            counts = torch.from_numpy(fixations.counts(height=rows, width=columns))[None]
            for power, meter in meters.items():
                raised = torch.from_numpy(density)[None] ** power
                meter.update(raised / raised.sum(), truth / truth.sum(), counts)
            densities.append(density.astype(np.float64) / density.sum(dtype=np.float64))
            seen.append(looks.get(Path(frame.name).name) or looks[Path(still.name).name])
    if not densities:
        raise DatasetError(f"{folder}: no validation stills")
    return Seen(densities, seen, {f"{power:g}": meter.mean() for power, meter in meters.items()})


def likelihoods(sets: list[Seen], moment: float) -> tuple[Floats, Floats, Floats]:
    """Of all gaze at a moment: the density there as a multiple of the uniform one, x and y from the middle."""
    found = []
    for one in sets:
        for density, viewers in zip(one.densities, one.looks, strict=True):
            rows, columns = density.shape
            for looks in viewers:
                look = next((each for each in looks if each.begin <= moment < each.end), None)
                if look is not None and 0 <= look.x < 1 and 0 <= look.y < 1:
                    cell = density[int(look.y * rows), int(look.x * columns)]
                    found.append((cell * density.size, look.x - 0.5, look.y - 0.5))
    values = np.array(found)
    return values[:, 0], values[:, 1], values[:, 2]


def gaussian(x: Floats, y: Floats, across: float, down: float) -> Floats:
    """Density over the unit square, to the little that lies outside."""
    return np.exp(-((x / across) ** 2 + (y / down) ** 2) / 2) / (2 * np.pi * across * down)


def fit(sets: list[Seen]) -> dict[str, Any]:
    """The Gaussian that is best for all moments, and its share at each."""
    gaze = {moment: likelihoods(sets, moment) for moment in MOMENTS}
    best: dict[str, Any] = {"bits": -np.inf}
    for across in SIGMAS:
        for down in SIGMAS:
            shares, bits = {}, 0.0
            for moment, (there, x, y) in gaze.items():
                centre = gaussian(x, y, across, down)
                mixed = np.log2(WEIGHTS[:, None] * centre + (1 - WEIGHTS[:, None]) * there + 1e-12).mean(1)
                shares[moment] = float(WEIGHTS[mixed.argmax()])
                bits += float(mixed.max()) / len(gaze)
            if bits > best["bits"]:
                best = {"bits": bits, "across": across, "down": down, "shares": shares}
    return best


def table(first: Floats, sets: dict[str, Seen], fits: dict[str, Any], options: ViewerOptions) -> str:
    """All numbers, as the page shows them."""
    lines = [
        f"Latency of the first saccade on {sum(len(one.densities) for one in sets.values())} validation pictures of "
        f"{', '.join(sets)}: median {np.median(first):.3f} s, {len(first)} viewers of a picture.\n",
        "| seconds | " + " | ".join(f"{moment:g}" for moment in LATENCIES) + " |",
        "|---|" + "---|" * len(LATENCIES),
        "| not moved yet, recorded | " + " | ".join(f"{(first > moment).mean():.2f}" for moment in LATENCIES) + " |",
        f"| not moved yet, by a median of {options.gaze_latency_seconds:g} s | "
        + " | ".join(f"{share_not_moved(moment, options.gaze_latency_seconds):.2f}" for moment in LATENCIES)
        + " |\n",
        "| share in the middle after s | " + " | ".join(f"{moment:g}" for moment in MOMENTS) + " |",
        "|---|" + "---|" * len(MOMENTS),
    ]
    for name, found in fits.items():
        lines.append(f"| {name}, pictures | " + " | ".join(f"{found['shares'][m]:.2f}" for m in MOMENTS) + " |")
    used = " | ".join(f"{share_at_centre(moment, options):.2f}" for moment in MOMENTS)
    lines += [f"| used for video | {used} |\n", "| set | power | NSS | CC | SIM | KL |", "|---|---|---|---|---|---|"]
    for name, one in sets.items():
        for power, scores in one.powers.items():
            shown = " | ".join(f"{scores[metric]:.3f}" for metric in ("nss", "cc", "sim", "kl"))
            lines.append(f"| {name} | {power} | {shown} |")
    return "\n".join(lines)


def draw(first: Floats, options: ViewerOptions, path: Path) -> None:
    """Shares of gaze after a cut, over time, and how long the first fixations on pictures last.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    seconds = np.linspace(0, 1.5, 301)
    stays = np.array([share_not_moved(t, options.gaze_latency_seconds) for t in seconds])
    middle = (1 - stays) * np.array([share_at_centre(t, options) for t in seconds])
    figure = new_figure(11, 3.8)
    left, right = figure.subplots(1, 2)
    left.stackplot(
        seconds, stays, middle, 1 - stays - middle,
        labels=["where it was before the cut", "middle of the new picture", "what is shown"],
        colors=["0.55", "tab:orange", "tab:blue"], alpha=0.75,
    )  # fmt: skip
    left.set(xlim=(0, 1.5), ylim=(0, 1), xlabel="seconds after a cut", ylabel="share of gaze")
    left.set_title("Where viewers look after a cut, by default")
    left.legend(loc="lower right")
    right.plot(
        seconds, [(first > t).mean() for t in seconds], color="0.2", label="recorded, first fixation on pictures"
    )
    right.plot(seconds, stays, color="tab:orange", label=f"used, median {options.gaze_latency_seconds:g} s")
    right.set(
        xlim=(0, 0.8), ylim=(0, 1.02), xlabel="seconds after a new picture", ylabel="share that has not moved yet"
    )
    right.set_title("Latency of the first saccade")
    right.legend()
    save_figure(figure, path)


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="sam-lite")
    parser.add_argument("--write-docs", action="store_true", help="put tables and plot into docs/reports/state.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    options = ViewerOptions()
    sets = {folder.name: see(folder, arguments.model) for folder in arguments.folders}
    looked = (looks for one in sets.values() for viewers in one.looks for looks in viewers)
    first = np.array([looks[0].end for looks in looked if len(looks) > 1])
    fits = {name: fit([one]) for name, one in sets.items()}
    for name, found in fits.items():
        print(f"{name}: middle {found['across']:.3f} of the width, {found['down']:.3f} of the height")
    shown = table(first, sets, fits, options)
    print(shown)
    if arguments.write_docs:
        draw(first, options, PLOT)
        fill(PAGE, BEGIN, END, f"{shown}\n\n{SHOWN}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
