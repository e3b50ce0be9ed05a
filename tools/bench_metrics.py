"""How fast the metrics are, beside straightforward code for the same, in one run; prints a table.

    python tools/bench_metrics.py [--frames 1000] [--subset 40] [--batch 16] [--threads 1] [--device cpu] [--json FILE]

Frames of 640 x 360 with 20 fixations each, all metrics but the earth mover's distance. "vidsal" is `ScoreMeter` on
batches, over all frames; "alone" is each function by itself on the same tensors; "straightforward" is pysaliency where
it has the form (and is installed), else NumPy after the MATLAB code, a frame at a time: thresholds in a loop, splits in
a loop. All get fixations as lists, no dense counts. The slow side scores a subset, and the three take turns, so that
whatever else the machine does falls on all alike. Times are medians over the turns, of the process's CPU time on a CPU
(it suffers least from others on the machine; wall-clock is given too), of wall-clock time on a GPU. Scores of the two
sides are compared too: to 1e-6 where nothing is drawn, else to 0.03.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import cv2
import numpy as np
import numpy.typing as npt
import torch

from vidsal import metrics

HEIGHT, WIDTH, FIXATIONS, VIDEOS = 360, 640, 20, 10
NAMES = [name for name in metrics.METRICS if name != "emd"]
EPSILON = 2.0**-52
Map = npt.NDArray[np.float64]
Points = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


class Frames:
    """Made pictures: a map, a density, fixations drawn from it, those of other frames; the same in every run."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self.count = count
        self.saliency, self.density = ([self.blobs(rng) for _ in range(16)] for _ in "ab")
        self.baseline = np.mean(self.density, 0)
        self.shared: metrics.Maps | None = None
        chances = [density.ravel().astype(float) for density in self.density]
        cells = [rng.choice(HEIGHT * WIDTH, FIXATIONS, p=chance / chance.sum()) for chance in (chances * count)[:count]]
        points = [np.stack([cell % WIDTH, cell // WIDTH], 1) + 0.5 for cell in cells]
        videos = [index * VIDEOS // count for index in range(count)]
        self.points = points
        self.pool = metrics.NegativePool(points, [(HEIGHT, WIDTH)] * count, videos)

    @staticmethod
    def blobs(rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """A few soft blobs on a faint ground, as models make them; sums to 1."""
        canvas = np.full((HEIGHT, WIDTH), 1e-3, np.float32)
        for _ in range(4):
            spot = np.zeros_like(canvas)
            spot[rng.integers(HEIGHT), rng.integers(WIDTH)] = 1.0
            canvas += cv2.GaussianBlur(spot, (0, 0), float(rng.uniform(15, 40))) * 1000 * float(rng.uniform(0.3, 1))
        canvas += 1e-4 * cv2.GaussianBlur(rng.random((HEIGHT, WIDTH), np.float32), (0, 0), 2)  # no two cells tie
        return np.asarray(canvas / canvas.sum(), np.float32)

    def batch(self, indices: range, device: str) -> dict[str, Any]:
        """Arguments of `ScoreMeter.update`."""
        forms: tuple[metrics.NegativeForm, ...] = ("all", "mit", "dhf1k")
        found = metrics.FixatedCells.from_points([self.points[i] for i in indices], height=HEIGHT, width=WIDTH)
        maps = {
            "saliency": torch.from_numpy(np.stack([self.saliency[i % 16] for i in indices])),
            "density": torch.from_numpy(np.stack([self.density[i % 16] for i in indices])),
        }
        if self.shared is None or self.shared.shape[0] != len(indices):
            baseline = torch.from_numpy(self.baseline).to(device).expand(len(indices), -1, -1).contiguous()
            self.shared = metrics.Maps(baseline, name="baseline")
        return {
            **{name: values.to(device) for name, values in maps.items()},
            "baseline": self.shared,
            "fixation_counts": found.to(device),
            "negatives": {form: self.pool.draw(indices, form=form).to(device) for form in forms},
            "seed": list(indices),
        }


# Straightforward code: one frame, float64, as the definitions read.


def stretched(values: Map) -> Map:
    return (values - values.min()) / (values.max() - values.min())


def to_sum_one(values: Map) -> Map:
    return values / values.sum()


def area(positives: Map, negatives: Map, thresholds: Map) -> float:
    true_rates, false_rates = np.zeros((2, len(thresholds) + 2))
    true_rates[-1] = false_rates[-1] = 1
    for i, threshold in enumerate(thresholds, start=1):
        true_rates[i] = np.sum(positives >= threshold) / len(positives)
        false_rates[i] = np.sum(negatives >= threshold) / len(negatives)
    return float(np.trapezoid(true_rates, false_rates))


def auc_judd_mit(saliency: Map, at: Points, rng: np.random.Generator) -> float:
    values = stretched(stretched(saliency) + 1e-7 * rng.random(saliency.shape))
    fixated = np.zeros(saliency.shape, bool)
    fixated[at] = True
    thresholds = np.sort(values[fixated])[::-1]
    n = len(thresholds)
    true_rates, false_rates = np.zeros((2, n + 2))
    true_rates[-1] = false_rates[-1] = 1
    for i, threshold in enumerate(thresholds, start=1):
        true_rates[i] = i / n
        false_rates[i] = (np.sum(values >= threshold) - i) / (values.size - n)
    return float(np.trapezoid(true_rates, false_rates))


def auc_judd(saliency: Map, at: Points) -> float:
    values = saliency.ravel()
    return float(np.mean([np.mean(values < value) + np.mean(values == value) / 2 for value in saliency[at]]))


def auc_borji(saliency: Map, at: Points, rng: np.random.Generator) -> float:
    values = stretched(saliency)
    fixated = np.zeros(values.shape, bool)
    fixated[at] = True
    positives = values[fixated]
    drawn = values.ravel()[rng.integers(values.size, size=(len(positives), 100))]
    thresholds = np.linspace(1, 0, 11)
    return float(np.mean([area(positives, drawn[:, split], thresholds) for split in range(100)]))


def shuffled_auc_mit(saliency: Map, at: Points, others: npt.NDArray[np.int64], rng: np.random.Generator) -> float:
    values = stretched(saliency)
    fixated = np.zeros(values.shape, bool)
    fixated[at] = True
    positives = values[fixated]
    places = np.unique(others)
    wanted = min(len(positives), len(places))
    thresholds = np.linspace(1, 0, 11)
    areas = [area(positives, values.ravel()[rng.permutation(places)[:wanted]], thresholds) for _ in range(100)]
    return float(np.mean(areas))


def shuffled_auc(saliency: Map, at: Points, others: npt.NDArray[np.int64]) -> float:
    negatives = saliency.ravel()[others]
    return float(np.mean([np.mean(negatives < value) + np.mean(negatives == value) / 2 for value in saliency[at]]))


def kl(saliency: Map, density: Map) -> float:
    p, q = to_sum_one(saliency), to_sum_one(density)
    return float(np.sum(q * np.log(EPSILON + q / (p + EPSILON))))


def kl_dreyeve(saliency: Map, density: Map) -> float:
    epsilon = np.finfo(np.float32).eps
    p, q = saliency.astype(np.float32), density.astype(np.float32)
    p, q = p / (epsilon + p.sum()), q / (epsilon + q.sum())
    return float(np.sum(q * np.log(epsilon + q / (epsilon + p))))


def kl_plain(saliency: Map, density: Map) -> float:
    p, q = to_sum_one(saliency + 1e-20), to_sum_one(density + 1e-20)
    return float(np.sum(q * (np.log(q) - np.log(p))))


def nss(saliency: Map, at: Points) -> float:
    return float(((saliency - saliency.mean()) / saliency.std())[at].mean())


def information_gain(saliency: Map, baseline: Map, at: Points) -> float:
    return float(np.mean(np.log2(to_sum_one(saliency))[at] - np.log2(to_sum_one(baseline))[at]))


def information_gain_mit(saliency: Map, baseline: Map, at: Points) -> float:
    p, b = to_sum_one(stretched(saliency)), to_sum_one(stretched(baseline))
    fixated = np.zeros(saliency.shape, bool)
    fixated[at] = True
    return float(np.mean(np.log2(EPSILON + p[fixated]) - np.log2(EPSILON + b[fixated])))


def straightforward() -> dict[str, Callable[..., float]]:
    """Each takes saliency, density, baseline, the cells looked at, the negative cells of its form and a generator."""
    chosen: dict[str, Callable[..., float]] = {
        "nss": lambda s, d, b, at, o, rng: nss(s, at),
        "cc": lambda s, d, b, at, o, rng: float(np.corrcoef(s.ravel(), d.ravel())[0, 1]),
        "sim": lambda s, d, b, at, o, rng: float(np.minimum(to_sum_one(s), to_sum_one(d)).sum()),
        "sim_minmax": lambda s, d, b, at, o, rng: float(
            np.minimum(to_sum_one(stretched(s)), to_sum_one(stretched(d))).sum()
        ),
        "kl": lambda s, d, b, at, o, rng: kl(s, d),
        "kl_dreyeve": lambda s, d, b, at, o, rng: kl_dreyeve(s, d),
        "kl_pysaliency": lambda s, d, b, at, o, rng: kl_plain(s, d),
        "auc_judd": lambda s, d, b, at, o, rng: auc_judd(s, at),
        "auc_judd_mit": lambda s, d, b, at, o, rng: auc_judd_mit(s, at, rng),
        "auc_borji": lambda s, d, b, at, o, rng: auc_borji(s, at, rng),
        "shuffled_auc": lambda s, d, b, at, o, rng: shuffled_auc(s, at, o),
        "shuffled_auc_mit": lambda s, d, b, at, o, rng: shuffled_auc_mit(s, at, o, rng),
        "shuffled_auc_dhf1k": lambda s, d, b, at, o, rng: shuffled_auc_mit(s, at, o, rng),
        "information_gain": lambda s, d, b, at, o, rng: information_gain(s, b, at),
        "information_gain_mit": lambda s, d, b, at, o, rng: information_gain_mit(s, b, at),
    }
    if importlib.util.find_spec("pysaliency") is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pysaliency.metrics as theirs
            from pysaliency.roc import general_rocs_per_positive
        chosen |= {
            "nss": lambda s, d, b, at, o, rng: float(theirs.NSS(s, at[1], at[0]).mean()),
            "cc": lambda s, d, b, at, o, rng: float(theirs.CC(s, d)),
            "sim": lambda s, d, b, at, o, rng: float(theirs.SIM(s, d)),
            "kl": lambda s, d, b, at, o, rng: float(theirs.MIT_KLDiv(s, d)),
            "kl_pysaliency": lambda s, d, b, at, o, rng: float(theirs.image_based_kl_divergence(s, d)),
            "auc_judd": lambda s, d, b, at, o, rng: float(general_rocs_per_positive(s[at], s.ravel()).mean()),
            "shuffled_auc": lambda s, d, b, at, o, rng: float(general_rocs_per_positive(s[at], s.ravel()[o]).mean()),
        }
    return chosen


def timed(job: Callable[[], Any], device: str) -> tuple[float, float, Any]:
    """Seconds as they are compared, on the clock, and result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = job()
    if device != "cpu":
        torch.cuda.synchronize()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return processor if device == "cpu" else wall, wall, result


def alone(name: str, given: dict[str, Any]) -> Callable[[], torch.Tensor]:
    """The function of a metric on the tensors of a batch."""
    metric = metrics.METRICS[name]
    tensors = {"density": given["density"], "fixations": given["fixation_counts"], "baseline": given["baseline"].values}
    if metric.negatives:
        tensors["negatives"] = given["negatives"][metric.negatives]
    arguments = [given["saliency"], *(tensors[need] for need in metric.needs)]
    return lambda: metric.function(*arguments, **({"seed": given["seed"]} if metric.seeded else {}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--subset", type=int, default=40, help="frames that the straightforward code scores")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    frames, plain, batch = Frames(arguments.frames), straightforward(), arguments.batch
    starts = list(range(0, arguments.frames, batch))
    turns = set(np.linspace(0, len(starts) - 1, min(arguments.subset, len(starts)), dtype=int).tolist())
    meter, together, on_the_clock = metrics.ScoreMeter(NAMES), [], []
    single, slow, slow_clock = ({name: [] for name in NAMES} for _ in range(3))  # type: ignore[var-annotated]
    worst = dict.fromkeys(NAMES, 0.0)
    metrics.ScoreMeter(NAMES).update(**frames.batch(range(batch), arguments.device))  # warm
    for turn, start in enumerate(starts):
        indices = range(start, min(start + batch, arguments.frames))
        given = frames.batch(indices, arguments.device)
        seconds, wall, _ = timed(lambda given=given: meter.update(**given), arguments.device)  # type: ignore[misc]
        together.append(seconds / len(indices))
        on_the_clock.append(wall / len(indices))
        if turn not in turns:
            continue
        maps = frames.saliency[start % 16], frames.density[start % 16], frames.baseline
        s, d, b = (each.astype(np.float64) for each in maps)
        at = frames.points[start][:, 1].astype(np.int64), frames.points[start][:, 0].astype(np.int64)
        rng = np.random.default_rng(start)
        for name in NAMES:
            single[name].append(timed(alone(name, given), arguments.device)[0] / len(indices))
            form = metrics.METRICS[name].negatives
            others = given["negatives"][form].to("cpu") if form else None
            if others:
                others = np.repeat(others.cells[0].numpy(), others.weights[0].long().numpy())
            job = plain[name]
            seconds, wall, score = timed(lambda: job(s, d, b, at, others, rng), "cpu")  # noqa: B023
            slow[name].append(seconds)
            slow_clock[name].append(wall)
            worst[name] = max(worst[name], abs(score - meter.scores()[name][start]))
    median = statistics.median
    where = f"{arguments.device}, {arguments.threads} thread(s)"
    print(f"{arguments.frames} frames of {WIDTH} x {HEIGHT}, {FIXATIONS} fixations, {where}")
    print(f"{'ms a frame':22}{'alone':>9}{'straightforward':>17}{'largest difference':>20}")
    for name in NAMES:
        print(f"{name:22}{1e3 * median(single[name]):9.3f}{1e3 * median(slow[name]):17.3f}{worst[name]:20.1e}")
    all_alone, all_slow, all_slow_clock = (sum(map(median, times.values())) for times in (single, slow, slow_clock))
    ours = median(together)
    print(f"{'all':22}{1e3 * all_alone:9.3f}{1e3 * all_slow:17.3f}")
    print(f"vidsal, all together: {1e3 * ours:.3f} ms a frame (quartiles {quartiles(together)})")
    print(f"{all_slow / ours:.1f} times as fast; each alone {all_slow / all_alone:.1f} times")
    print(
        f"on the clock: {1e3 * median(on_the_clock):.3f} ms, {all_slow_clock / median(on_the_clock):.1f} times as fast"
    )
    disagree = [name for name in NAMES if worst[name] > (0.03 if metrics.METRICS[name].seeded else 1e-6)]
    if arguments.json:
        arguments.json.write_text(
            json.dumps(
                {
                    "ms_a_frame": 1e3 * ours,
                    "ms_straightforward": 1e3 * all_slow,
                    "ratio": all_slow / ours,
                    "ratio_on_the_clock": all_slow_clock / median(on_the_clock),
                    "ms_alone": {name: 1e3 * median(single[name]) for name in NAMES},
                    "frames": arguments.frames,
                    "device": arguments.device,
                    "threads": arguments.threads,
                    "machine": platform.processor() or platform.machine(),
                    "torch": torch.__version__,
                    "numpy": np.__version__,
                },
                indent=2,
            )
        )
    if disagree:
        print(f"the two sides disagree on {', '.join(disagree)}", file=sys.stderr)
    return 1 if disagree else 0


def quartiles(seconds: list[float]) -> str:
    low, high = np.quantile(seconds, [0.25, 0.75])
    return f"{1e3 * low:.2f} to {1e3 * high:.2f}"


if __name__ == "__main__":
    sys.exit(main())
