"""How fast the metrics are, beside straightforward code for the same, and how far their forms part; prints tables.

    python benchmarks/bench_metrics.py [--frames 1000] [--subset 40] [--batch 16] [--threads 1] [--device cpu] [--check]
        [--json FILE] [--write-docs]

--write-docs writes docs/reference/metrics.json and the tables of metrics.md beside it.
Install pysaliency and POT before.

Frames of 640 x 360 with 20 fixations each, all metrics but the earth mover's distance. "vidsal" is `ScoreMeter` on
batches, over all frames; "alone" is each function by itself on the same tensors; "straightforward" is pysaliency where
it has the form (and is installed), else NumPy after the MATLAB code, a frame at a time: thresholds in a loop, splits in
a loop. All get fixations as lists, no dense counts. The slow side scores a subset, and the three take turns, so that
whatever else the machine does falls on all alike. Times are medians over the turns, of the process's CPU time on a CPU
(it suffers least from others on the machine; wall-clock is given too), of wall-clock time on a GPU. Scores of the two
sides are compared too: to 1e-6 where nothing is drawn, else to 0.03. --check says with the exit status whether they
agree and whether the meter is ten times as fast.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
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
from vidsal.bench import describe_machine, describe_versions

HEIGHT, WIDTH, FIXATIONS, VIDEOS = 360, 640, 20, 10
NAMES = [name for name in metrics.METRICS if name != "emd"]
FORMS = [name for name in NAMES if name not in ("cc", "shuffled_auc_dhf1k")]
"""Those whose scores are shown for maps in float and in 8 bits."""
PROMISED_RATIO = 10
DOCS = Path(__file__).resolve().parents[1] / "docs"
END = "<!-- bench_metrics: end -->"
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
        "zeros_under_gaze": lambda s, d, b, at, o, rng: float((s[at] == 0).any()),
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


def measure_speed(count: int, subset: int, batch: int, device: str) -> dict[str, Any]:
    """Both sides on the same frames, in turns."""
    frames, plain = Frames(count), straightforward()
    starts = list(range(0, count, batch))
    turns = set(np.linspace(0, len(starts) - 1, min(subset, len(starts)), dtype=int).tolist())
    meter, together, on_the_clock = metrics.ScoreMeter(NAMES), [], []
    single, slow, slow_clock = ({name: [] for name in NAMES} for _ in range(3))  # type: ignore[var-annotated]
    worst = dict.fromkeys(NAMES, 0.0)
    metrics.ScoreMeter(NAMES).update(**frames.batch(range(batch), device))  # warm
    for turn, start in enumerate(starts):
        indices = range(start, min(start + batch, count))
        given = frames.batch(indices, device)
        seconds, wall, _ = timed(lambda given=given: meter.update(**given), device)  # type: ignore[misc]
        together.append(seconds / len(indices))
        on_the_clock.append(wall / len(indices))
        if turn not in turns:
            continue
        maps = frames.saliency[start % 16], frames.density[start % 16], frames.baseline
        s, d, b = (each.astype(np.float64) for each in maps)
        at = frames.points[start][:, 1].astype(np.int64), frames.points[start][:, 0].astype(np.int64)
        rng = np.random.default_rng(start)
        for name in NAMES:
            single[name].append(timed(alone(name, given), device)[0] / len(indices))
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
    all_slow, all_slow_clock = (sum(map(median, times.values())) for times in (slow, slow_clock))
    return {
        "frames": count,
        "device": device,
        "pysaliency": version_of("pysaliency"),
        "metrics": {
            name: {
                "alone_ms": 1e3 * median(single[name]),
                "straightforward_ms": 1e3 * median(slow[name]),
                "largest_difference": worst[name],
            }
            for name in NAMES
        },
        "straightforward_ms": 1e3 * all_slow,
        "alone_ms": 1e3 * sum(map(median, single.values())),
        "meter_ms": 1e3 * median(together),
        "meter_quartiles_ms": [1e3 * float(each) for each in np.quantile(together, [0.25, 0.75])],
        "ratio": all_slow / median(together),
        "ratio_on_the_clock": all_slow_clock / median(on_the_clock),
    }


def measure_forms() -> dict[str, dict[str, float]]:
    """Mean scores of 16 maps near the truth and 16 far from it, as floats and rounded to 8 bits."""
    frames = Frames(16)
    given = frames.batch(range(16), "cpu")
    truth = np.stack(frames.density)
    maps = {"near": 0.8 * truth + 0.2 * np.stack(frames.saliency), "far": truth[:, ::-1, ::-1]}
    found = {}
    for kind, values in maps.items():
        for bits, kept in (("float", values), ("8 bits", in_8_bits(values))):
            meter = metrics.ScoreMeter(FORMS)
            meter.update(**given | {"saliency": torch.from_numpy(np.ascontiguousarray(kept, np.float32))})
            found[f"{kind}, {bits}"] = meter.mean()
    return found


def in_8_bits(maps: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """As a grey picture holds them, the highest value of each at 255."""
    return np.asarray(np.rint(255 * maps / maps.max((1, 2), keepdims=True)) / 255, np.float32)


def measure_emd() -> list[dict[str, Any]] | None:
    """The earth mover's distance on two grids, beside OpenCV's; None without POT."""
    if importlib.util.find_spec("ot") is None:
        return None
    rows = []
    for height, width, cell in ((360, 640, 32), (768, 1024, 32)):
        rng = np.random.default_rng(0)
        first, second = (cv2.resize(Frames.blobs(rng), (width, height)) for _ in "ab")
        pair = [torch.from_numpy(each)[None] for each in (first, second)]
        turns = [timed(lambda: metrics.emd(*pair, cell=cell), "cpu") for _ in range(3)]  # noqa: B023
        signatures = [signature(each, cell) for each in (first, second)]
        theirs, _, (other, *_) = timed(lambda: cv2.EMD(*signatures, cv2.DIST_L2), "cpu")  # noqa: B023
        rows.append(
            {
                "size": [height, width],
                "grid": [-(-height // cell), -(-width // cell)],
                "emd": turns[0][2].item(),
                "ms": 1e3 * statistics.median(seconds for seconds, _, _ in turns),
                "opencv": float(other),
                "opencv_ms": 1e3 * theirs,
            }
        )
    return rows


def signature(values: npt.NDArray[np.float32], cell: int) -> npt.NDArray[np.float32]:
    """What OpenCV's EMD takes: mass, row and column of each square, mass summing to 1; the last squares may be cut."""
    edges = [np.arange(0, size, cell) for size in values.shape]
    mass = np.add.reduceat(np.add.reduceat(values.astype(np.float64), edges[0], 0), edges[1], 1)
    middles = [
        (each + np.minimum(each + cell, size)) / 2 / cell for each, size in zip(edges, values.shape, strict=True)
    ]
    rows, columns = np.meshgrid(*middles, indexing="ij")
    return np.stack([mass / mass.sum(), rows, columns], 2).reshape(-1, 3).astype(np.float32)


def version_of(package: str) -> str | None:
    """The version of a package, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def failures(report: dict[str, Any]) -> list[str]:
    """What the metrics promise and the run did not show."""
    speed = report["speed"]
    missed = [
        f"{name} differs by {each['largest_difference']:.1e}"
        for name, each in speed["metrics"].items()
        if each["largest_difference"] > (0.03 if metrics.METRICS[name].seeded else 1e-6)
    ]
    if speed["ratio"] < PROMISED_RATIO:
        missed.append(f"{speed['ratio']:.1f} times as fast, promised are {PROMISED_RATIO}")
    return missed


# The page.


def render(report: dict[str, Any]) -> dict[str, str]:
    """The blocks of docs/reference/metrics.md that hold numbers, by their names."""
    return {"forms": render_forms(report["forms"]), "speed": render_speed(report), "emd": render_emd(report["emd"])}


def render_forms(forms: dict[str, dict[str, float]]) -> str:
    """A row a metric, a column a kind of map."""
    lines = [f"| | {' | '.join(forms)} |", f"|---|{'---|' * len(forms)}"]
    for name in FORMS:
        cells = (f"{scores[name]:.3g}" for scores in forms.values())
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def render_speed(report: dict[str, Any]) -> str:
    """The summary and a row a metric."""
    speed, machine, versions = report["speed"], report["machine"], report["versions"]
    exact = [row["largest_difference"] for name, row in speed["metrics"].items() if not metrics.METRICS[name].seeded]
    drawn = [row["largest_difference"] for name, row in speed["metrics"].items() if metrics.METRICS[name].seeded]
    other = f"pysaliency {speed['pysaliency']} where it has the form, else NumPy" if speed["pysaliency"] else "NumPy"
    where = f"one thread of {machine['processor']}, CPU time" if speed["device"] == "cpu" else speed["device"]
    low, high = speed["meter_quartiles_ms"]
    slow, alone_ms = speed["straightforward_ms"], speed["alone_ms"]
    lines = [
        f"{speed['frames']:,} frames of {WIDTH} x {HEIGHT} with {FIXATIONS} fixations, all metrics but `emd`; {where};",
        f"torch {versions['torch']}, NumPy {versions['numpy']}. The other side is {other} after the MATLAB code.",
        "",
        "| | ms a frame | times as fast |",
        "|---|---|---|",
        f"| straightforward | {slow:.1f} | 1 |",
        f"| each function by itself | {alone_ms:.1f} | {slow / alone_ms:.1f} |",
        f"| `ScoreMeter` | {speed['meter_ms']:.2f} (quartiles {low:.2f} to {high:.2f}) | {speed['ratio']:.1f} |",
        "",
        f"On the clock of that run {speed['ratio_on_the_clock']:.1f} times. The scores of both sides agree to "
        f"{max(exact):.1e} where nothing is drawn, to {max(drawn):.1e} where something is.",
        "",
        "| ms a frame | by itself | straightforward |",
        "|---|---|---|",
        *(
            f"| `{name}` | {row['alone_ms']:.2f} | {row['straightforward_ms']:.2f} |"
            for name, row in speed["metrics"].items()
        ),
    ]
    return "\n".join(lines)


def render_emd(rows: list[dict[str, Any]] | None) -> str:
    """A row a grid."""
    lines = ["| picture | squares | `emd` | ms | OpenCV's | ms |", "|---|---|---|---|---|---|"]
    for row in rows or []:
        (height, width), (down, across) = row["size"], row["grid"]
        ours, theirs = (f"{row[each]:.4f}" for each in ("emd", "opencv"))
        times = (f"{row[each]:.0f}" for each in ("ms", "opencv_ms"))
        lines.append(f"| {width} x {height} | {down} x {across} | {ours} | {next(times)} | {theirs} | {next(times)} |")
    return "\n".join(lines)


def with_tables(page: str, report: dict[str, Any]) -> str:
    """The page with the blocks between their markers."""
    for name, block in render(report).items():
        begin = f"<!-- bench_metrics: {name} -->"
        before, rest = page.split(begin)
        page = f"{before}{begin}\n\n{block}\n\n{END}{rest.split(END, 1)[1]}"
    return page


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--subset", type=int, default=40, help="frames that the straightforward code scores")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a promise is missed")
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument(
        "--write-docs", action="store_true", help="write docs/reference/metrics.json and the tables of the page"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report = {
        "machine": describe_machine(),
        "versions": describe_versions(),
        "speed": measure_speed(arguments.frames, arguments.subset, arguments.batch, arguments.device),
        "forms": measure_forms(),
        "emd": measure_emd(),
    }
    print("\n\n".join(render(report).values()))
    text = json.dumps(report, indent=1) + "\n"
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")
    if arguments.write_docs:
        if report["emd"] is None or report["speed"]["pysaliency"] is None:
            parser.error("the page compares with pysaliency and POT: install both before --write-docs")
        (DOCS / "reference" / "metrics.json").write_text(text, encoding="utf-8")
        page = DOCS / "reference" / "metrics.md"
        page.write_text(with_tables(page.read_text(encoding="utf-8"), report), encoding="utf-8")
    missed = failures(report)
    for failure in missed:
        print(f"missed: {failure}", file=sys.stderr)
    return 1 if arguments.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
