"""What more time brings, a second look at each picture, mirrored or on another canvas, and what less: scores and time.

    python studies/measure_quality.py DATA... [--model sam-lite] [--pictures 80] [--condition driver] [--write-docs]

DATA are folders in the simple layout; of each the first `--pictures` of the split val are scored, as single frames, at
the size of the stimulus (density sigma 3 % of the longer side). All variants see the same pictures, through the pipe;
`sam-lite-fast` is one of them where the model is `sam-lite`. A difference to the model as it is has an interval of 95 %
from 2,000 resamples of the pictures. Times are CPU seconds of one thread, the variants taking turns: a frame of
`predict` on made frames, and of a whole `vidsal run` of a made clip of 1280x720 to a video and a table. `--write-docs`
puts the tables into docs/how-to/ensembles.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from arguments import count_from
from pages import fill_parts

from vidsal.bench.made import make_clip, make_pictures
from vidsal.data.layouts import Fixations, LabelledSequence, open_dataset
from vidsal.data.layouts.contract import LabelledFrame
from vidsal.errors import VidsalError
from vidsal.evaluate.score import resize_map
from vidsal.evaluate.sources import ModelSource
from vidsal.frames import FrameBatch
from vidsal.metrics import ScoreMeter
from vidsal.model.checkpoint import ModelCard, SaliencyModel, load_model
from vidsal.model.ensemble import Ensemble, Member, enlarged
from vidsal.pipe.options import OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.predict import predict
from vidsal.pipe.run import run

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "ensembles.md"
METRICS = {"nss": "NSS", "cc": "CC", "sim": "SIM", "kl": "KL", "auc_judd": "AUC-Judd"}
SHIPPED = "mirrored and 1.2 times as large too (`--quality high`)"
FAST = "`sam-lite-fast`"


def variants_of(model: SaliencyModel) -> dict[str, SaliencyModel]:
    """The model as it is, first, and what is compared with it."""
    smaller, larger, largest = (enlarged(model, factor) for factor in (0.8, 1.2, 4 / 3))
    views: dict[str, list[tuple[SaliencyModel, bool]]] = {
        "mirrored too": [(model, False), (model, True)],
        "0.8 times as large too": [(model, False), (smaller, False)],
        "1.2 times as large too": [(model, False), (larger, False)],
        SHIPPED: [(model, False), (larger, True)],
        "mirrored and 4/3 as large too": [(model, False), (largest, True)],
        "all four of plain, mirrored, 1.2 times": [
            (one, turned) for one in (model, larger) for turned in (False, True)
        ],
        "1.2 times as large alone": [(larger, False)],
    }
    made = {
        name: Ensemble([Member(one, 1.0, turned) for one, turned in members], card=ModelCard(name=name))
        for name, members in views.items()
    }
    fast = load_model("sam-lite-fast", device="cpu", precision="fp32") if model.card.name == "sam-lite" else None
    return {"as it is": model, **made, **({} if fast is None else {FAST: fast})}


def recorded_stills(
    root: Path, pictures: int | None = None, condition: str | None = None
) -> Iterator[tuple[LabelledSequence, LabelledFrame, npt.NDArray[np.float32], Fixations]]:
    """The first stills of the split val with what was recorded of them: sequence, frame, density, fixations.

    Raises:
        VidsalError: nothing was recorded of one.
    """
    for sequence in list(open_dataset("simple", root, split="val", condition=condition).sequences)[:pictures]:
        (frame,) = sequence.read()
        density, seen = frame.density(), frame.fixations()
        if density is None or seen is None:
            raise VidsalError(f"{root}: nothing was recorded of {sequence.name}")
        yield sequence, frame, density, seen


def scores_of(
    variants: dict[str, SaliencyModel], root: Path, pictures: int | None, condition: str | None = None
) -> dict[str, npt.NDArray[np.float64]]:
    """(pictures, metrics) of each variant."""
    found: dict[str, list[list[float]]] = {name: [] for name in variants}
    for sequence, _, density, seen in recorded_stills(root, pictures, condition):
        rows, columns = density.shape
        recorded = [torch.from_numpy(one)[None] for one in (density, seen.counts(height=rows, width=columns))]
        for name, model in variants.items():
            for _, saliency in ModelSource(model).maps(sequence, range(1)):
                meter = ScoreMeter(list(METRICS))
                meter.update(torch.from_numpy(resize_map(saliency, rows, columns))[None], *recorded)
                found[name].append([meter.mean()[metric] for metric in METRICS])
    return {name: np.array(rows) for name, rows in found.items()}


def score_table(title: str, scores: dict[str, npt.NDArray[np.float64]]) -> str:
    """A row a variant: its scores, those that differ from the model's for certain in bold."""
    first = next(iter(scores.values()))
    draws = np.random.default_rng(0).integers(0, len(first), (2000, len(first)))
    lines = [f"**{title}**, {len(first)} pictures", "", "| | " + " | ".join(METRICS.values()) + " |"]
    lines.append("|---|" + "---|" * len(METRICS))
    for name, own in scores.items():
        cells = []
        for mean, difference in zip(own.mean(0), (own - first).T, strict=True):
            low, high = np.quantile(difference[draws].mean(1), [0.025, 0.975])
            cell = f"{mean:.3f}"
            if own is not first:
                cell += f" ({difference.mean():+.3f}, {low:+.3f} to {high:+.3f})"
            cells.append(f"**{cell}**" if low > 0 or high < 0 else cell)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def time_table(variants: dict[str, SaliencyModel], rounds: int) -> str:
    """CPU time of each variant, and how many times that of the model as it is."""
    frames = np.stack([cv2.resize(one, (320, 180), interpolation=cv2.INTER_AREA) for one in make_pictures(24)])
    video = [
        FrameBatch(np.arange(at, at + 8), np.arange(at, at + 8) / 25, frames[at : at + 8], 720, 1280)
        for at in range(0, len(frames), 8)
    ]
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):  # the first does not count
        for name, model in variants.items():
            begin = time.process_time()
            for _ in predict(video, model, recurrence=RecurrenceOptions(every=1)):
                pass
            taken[name] += [time.process_time() - begin] * (turn > 0)
    whole: dict[str, list[float]] = {name: [] for name in ("as it is", SHIPPED, FAST) if name in variants}
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "clip.mp4", seconds=2)
        options = RunOptions(output=OutputOptions(overwrite=True))
        for turn in range(rounds + 1):
            for name in whole:
                begin = time.process_time()
                report = run(clip, options=options, model=variants[name])
                whole[name] += [(time.process_time() - begin) / report.frames] * (turn > 0)
    lines = ["| | `predict`, CPU ms a frame | times | `vidsal run`, CPU ms a frame | times |", "|---|---|---|---|---|"]
    for name, seconds in taken.items():
        cells = [f"{1e3 * statistics.median(seconds) / len(frames):.1f}", ratio(seconds, taken["as it is"])]
        if name in whole:
            cells += [f"{1e3 * statistics.median(whole[name]):.1f}", ratio(whole[name], whole["as it is"])]
        lines.append(f"| {name} | {' | '.join([*cells, '', ''][:4])} |")
    return "\n".join(lines) + "\n"


def ratio(seconds: Sequence[float], usual: Sequence[float]) -> str:
    """The median of the rounds' ratios."""
    return f"{statistics.median(one / other for one, other in zip(seconds, usual, strict=True)):.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Score, time, print, write the page where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--model", default="sam-lite")
    parser.add_argument("--pictures", type=count_from(1), help="of each set (default: all)")
    parser.add_argument("--condition", help="only fixations with this word in the column condition")
    parser.add_argument("--rounds", type=count_from(1), default=5)
    parser.add_argument("--write-docs", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    # The same digits on every processor.
    variants = variants_of(load_model(given.model, device="cpu", precision="fp32"))
    tables = []
    for root in given.sets:
        tables.append(score_table(root.name, scores_of(variants, root, given.pictures, given.condition)))
        print(tables[-1], flush=True)
    times = time_table(variants, given.rounds)
    print(times)
    if given.write_docs:
        fill_parts(PAGE, {"scores": "\n".join(tables), "times": times})
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
