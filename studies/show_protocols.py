"""Scores the same maps of one made set under the rules of several protocols, and shows why the numbers differ.

    python studies/show_protocols.py [--write docs/reference/protocols.md]

The set lies in Hollywood-2's layout: shots of many lengths, as there, in which a bright disc moves over noise and
people look near it. The maps are made once: a Gaussian that follows the disc late, so that fast (here: short) shots
are predicted worse, on a floor of 1 %. They are floats; a protocol that works on 8 bits rounds them itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pages import fill

from vidsal.errors import VidsalError
from vidsal.evaluate import EvalOptions, Evaluation, EvaluationOptions, evaluate

HEIGHT, WIDTH = 72, 128
LENGTHS = (3, 5, 8, 12, 18, 25, 40, 70, 110, 180)
"""Frames of the shots: a third of Hollywood-2's test shots have fewer than 20."""
PROTOCOLS = ("dhf1k", "unisal", "stsanet")
ROWS = (
    ("NSS", ("nss",)),
    ("CC", ("cc",)),
    ("SIM", ("sim_minmax", "sim")),
    ("AUC-Judd", ("auc_judd_mit",)),
    ("sAUC", ("shuffled_auc_dhf1k", "shuffled_auc_mit")),
    ("KL", ("kl",)),
)
BEGIN, END = "<!-- protocols: begin -->", "<!-- protocols: end -->"


@dataclass(frozen=True)
class Made:
    """A set and maps for it."""

    root: Path
    """In Hollywood-2's layout."""
    maps: Path
    """An .npz for each shot."""


def main() -> int:
    """Make, score, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the markers of this page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder))
        results = {name: score(made, Path(folder) / name, name) for name in PROTOCOLS}
        steps = [(title, score(made, Path(folder) / f"step{n}", **wanted)) for n, (title, wanted) in enumerate(STEPS)]
        text = table(results) + ladder(steps)
    print(text)
    if arguments.write:
        fill(arguments.write, BEGIN, END, text)
    return 0


STEPS: tuple[tuple[str, dict[str, str]], ...] = (
    ("`dhf1k`: all frames, mean over frames, 8 bits", {"protocol": "dhf1k", "metrics": "nss,cc,kl,shuffled_auc_mit"}),
    (
        "the same frames, mean over shots, floats: `unisal`",
        {"protocol": "unisal", "metrics": "nss,cc,kl,shuffled_auc_mit"},
    ),
    (
        "one frame of 64, shots of 32 and more, mean over frames, floats: `stsanet`",
        {"protocol": "stsanet", "metrics": "nss,cc,kl,shuffled_auc_mit"},
    ),
)
"""One form of each metric under the three, so that only frames, averages, bits and negatives differ."""


def score(made: Made, out: Path, protocol: str, metrics: str | None = None) -> Evaluation:
    """The maps under a protocol's rules."""
    wanted = EvaluationOptions(
        protocol=protocol, metrics=metrics, out=out, maps=made.maps, split="test", baselines="none"
    )  # type: ignore[arg-type]
    return evaluate("hollywood2", made.root, options=EvalOptions(evaluation=wanted))


def make(folder: Path) -> Made:
    """The set and the maps, the same every time."""
    root, maps = folder / "set", folder / "maps"
    maps.mkdir()
    rng = np.random.default_rng(20)
    number = 3
    for shot, length in enumerate(LENGTHS, 1):
        # Two clips: shots of one lend each other no negatives unless the protocol says so.
        clip = f"actioncliptest{1 + shot % 2:05d}"
        name = f"{clip}_{shot}"
        places = path_of(rng, length)
        predicted = []
        for frame in range(length):
            file = f"{clip}_{number:05d}.png"
            number += 1
            x, y = places[frame]
            picture = rng.integers(20, 90, (HEIGHT, WIDTH, 3), np.uint8)
            cv2.circle(picture, (round(x), round(y)), 7, (240, 235, 230), -1)
            # One frame in twelve nobody looks at, as blinks and tracker losses leave some.
            viewers = 0 if frame % 12 == 11 else 14
            points = rng.normal((x, y), 3.5, (viewers, 2)).clip((0, 0), (WIDTH - 1, HEIGHT - 1)).astype(int)
            fixated = np.zeros((HEIGHT, WIDTH), np.uint8)
            fixated[points[:, 1], points[:, 0]] = 255
            blurred = cv2.GaussianBlur(fixated.astype(np.float32), (0, 0), 5)
            density = blurred * (255 / max(float(blurred.max()), 1e-9))
            for kind, values in (
                ("images", picture),
                ("maps", density.round().astype(np.uint8)),
                ("fixation", fixated),
            ):
                target = root / "testing" / name / kind / file
                target.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(target), values)
            predicted.append(gaussian(places[max(0, frame - 3)]))
        np.savez_compressed(maps / f"{name}.npz", saliency=np.stack(predicted))
    return Made(root, maps)


def path_of(rng: np.random.Generator, length: int) -> npt.NDArray[np.float64]:
    """(length, 2) places of the disc; quick in short shots."""
    speed = 60 / (length + 8)
    turn = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.15, length))
    steps = speed * np.stack([np.cos(turn), np.sin(turn)], 1)
    free = np.cumsum(steps, axis=0) + rng.uniform((20, 15), (WIDTH - 20, HEIGHT - 15))
    size = np.array([WIDTH - 24, HEIGHT - 24])
    # Reflected at the edges.
    return 12 + size - np.abs(np.mod(free - 12, 2 * size) - size)


def gaussian(place: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The prediction: a Gaussian of 8 pixels around a place, on a floor."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    hill = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * 8.0**2))
    return (0.99 * hill / hill.sum() + 0.01 / hill.size).astype(np.float32)


def table(results: dict[str, Evaluation]) -> str:
    """The three protocols as they stand."""
    lines = ["", "| | " + " | ".join(f"`{name}`" for name in results) + " |", "|---|" + "---|" * len(results)]
    for title, names in ROWS:
        cells = []
        for result in results.values():
            scores = result.summary.scores["model"]
            found = next((name for name in names if name in scores), None)
            cells.append("" if found is None else f"{scores[found].value:.3f} (`{found}`)")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    summaries = [result.summary for result in results.values()]
    lines.append(f"| frames scored | {' | '.join(str(each.frames) for each in summaries)} |")
    lines.append(f"| shots scored | {' | '.join(str(each.sequences) for each in summaries)} |")
    averages = {"frames": "frames", "sequences": "shots"}
    short = [length for length in LENGTHS if length < 20]
    by_shot, by_frame = len(short) / len(LENGTHS), sum(short) / sum(LENGTHS)
    weights = {"dhf1k": f"{by_frame:.0%}", "unisal": f"{by_shot:.0%}", "stsanet": "0%"}
    lines.append(f"| averaged over | {' | '.join(averages[each.protocol['averaging']] for each in summaries)} |")
    lines.append(f"| weight of shots below 20 frames | {' | '.join(weights[name] for name in results)} |")
    return "\n".join(lines) + "\n"


def ladder(steps: list[tuple[str, Evaluation]]) -> str:
    """One form of each metric, by how frames are chosen and averaged."""
    metrics = list(steps[0][1].summary.scores["model"])
    lines = ["", "| one form of each metric | " + " | ".join(f"`{name}`" for name in metrics) + " |"]
    lines.append("|---|" + "---|" * len(metrics))
    for title, result in steps:
        scores = result.summary.scores["model"]
        lines.append(f"| {title} | {' | '.join(f'{scores[name].value:.3f}' for name in metrics)} |")
        if result.summary.protocol["name"] == "unisal":
            over = " | ".join(f"{scores[name].over_frames:.3f}" for name in metrics)
            lines.append(f"| the same scores, mean over frames instead | {over} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
