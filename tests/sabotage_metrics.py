"""Make one plausible error after the other in the metrics and show that their tests see each; prints a table.

    python tests/sabotage_metrics.py [--only WORD] [--from NUMBER]

Each error is a few characters changed in a copy of the package; `tests/test_metrics.py` runs against the copy, once as
it is and once with each error. The table names the first test that fails. Exits with 1 if an error goes unseen or the
copy as it is does not pass. Errors in the earth mover's distance are tried only where POT is installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests" / "test_metrics.py"
OPTIONS = ("-x", "-q", "--tb=no", "-rfE", "--assert=plain", "-p", "no:cacheprovider")
LIBRARIES = ("torch", "hypothesis.strategies", "scipy.optimize", "cv2")
"""Imported once for all runs; the package itself each run imports from the copy."""


@dataclass(frozen=True)
class Sabotage:
    """One error."""

    name: str
    """What somebody might have got wrong."""
    file: str
    """Under vidsal/metrics."""
    right: str
    """Source text that occurs there once."""
    wrong: str
    """What it becomes."""
    needs: str | None = None
    """A package without which no test can see it."""


SABOTAGES = (
    # Standardised maps.
    Sabotage(
        "NSS: deviation of N - 1 cells",
        "inputs.py",
        "return ((squares / self.cells).sqrt() / self.span)",
        "return ((squares / (self.cells - 1)).sqrt() / self.span)",
    ),
    Sabotage(
        "NSS: a cell counts once however often it was looked at",
        "inputs.py",
        "values * self.weights, 0.0).sum(1) / self.total",
        "values, 0.0).sum(1) / self.found",
    ),
    Sabotage(
        "NSS: the mean is not taken off",
        "functional.py",
        "maps.at(fixated.cells).double() - maps.mean[:, None]",
        "maps.at(fixated.cells).double()",
    ),
    Sabotage(
        "NSS: no fixations score 0",
        "inputs.py",
        "values * self.weights, 0.0).sum(1) / self.total",
        "values * self.weights, 0.0).sum(1) / self.total.clamp(min=1)",
    ),
    Sabotage(
        "NSS: a constant map is known by its rounded deviation",
        "inputs.py",
        "return self.low == self.high\n",
        "return self.values.std((1, 2)) == 0\n",
    ),
    Sabotage(
        "CC: the means are not taken off",
        "functional.py",
        "return s.sub(mean_s).mul_(d.sub(mean_d))\n",
        "return s.mul(d)\n",
    ),
    Sabotage(
        "CC: a covariance, not a correlation",
        "functional.py",
        "covariance / (maps.cells * maps.deviation * truth.deviation)",
        "covariance / maps.cells",
    ),
    Sabotage(
        "CC: a constant density scores 0",
        "functional.py",
        "score.masked_fill(maps.constant, 0.0).masked_fill(pair.broken | truth.constant, torch.nan)",
        "score.masked_fill(maps.constant | truth.constant, 0.0).masked_fill(pair.broken, torch.nan)",
    ),
    Sabotage(
        "tiny values: squares leave the range of the type",
        "inputs.py",
        "return bool(((self.span > 1 / limit) & (self.span < limit)).all())",
        "return True",
    ),
    Sabotage(
        "sums: the last band is left out",
        "inputs.py",
        "for top in range(0, shape[1], step)]",
        "for top in range(0, max(1, shape[1] - step), step)]",
    ),
    # Shared mass.
    Sabotage(
        "SIM: the largest of both",
        "functional.py",
        "torch.minimum(s.mul(a), d.mul(b))",
        "torch.maximum(s.mul(a), d.mul(b))",
    ),
    Sabotage(
        "SIM: the map is not made to sum to 1",
        "functional.py",
        "torch.minimum(s.mul(a), d.mul(b))",
        "torch.minimum(s, d.mul(b))",
    ),
    Sabotage(
        "SIM: stretched first, as in the MATLAB code",
        "functional.py",
        "pair.sum(SHARED_MASS).masked_fill",
        "pair.sum(SHARED_MASS_ABOVE).masked_fill",
    ),
    Sabotage(
        "SIM (MIT): only the map is stretched",
        "functional.py",
        "torch.minimum(s.sub(low_s).mul_(a), d.sub(low_d).mul_(b))",
        "torch.minimum(s.sub(low_s).mul_(a), d.mul(b))",
    ),
    # Divergences.
    Sabotage(
        "KL: the wrong way round",
        "functional.py",
        "partial(_kl, epsilon=KL_EPSILON), _inverse_totals",
        "lambda s, d, a, b: _kl(d, s, b, a, epsilon=KL_EPSILON), _inverse_totals",
    ),
    Sabotage(
        "KL: epsilon of float32",
        "functional.py",
        "partial(_kl, epsilon=KL_EPSILON)",
        "partial(_kl, epsilon=DREYEVE_EPSILON)",
    ),
    Sabotage("KL: in bits", "functional.py", ".add_(epsilon).log_().mul_(q)", ".add_(epsilon).log2_().mul_(q)"),
    Sabotage(
        "KL: weighted by the map",
        "functional.py",
        "    return torch.div(q, p, out=p).add_(epsilon).log_().mul_(q)",
        "    weight = p.clone()\n    return torch.div(q, p, out=p).add_(epsilon).log_().mul_(weight)",
    ),
    Sabotage("KL: may fall below 0", "functional.py", "pair.sum(KL_SUM).clamp(min=0.0)", "pair.sum(KL_SUM)"),
    Sabotage(
        "KL: an empty density scores 0",
        "functional.py",
        "pair.sum(KL_SUM).clamp(min=0.0).masked_fill(pair.broken | (pair.truth.total == 0), torch.nan)",
        "pair.sum(KL_SUM).clamp(min=0.0).masked_fill(pair.broken, torch.nan)",
    ),
    Sabotage(
        "KL (DR(eye)VE): clamped at 0",
        "functional.py",
        "pair.sum(KL_DREYEVE_SUM)",
        "pair.sum(KL_DREYEVE_SUM).clamp(min=0.0)",
    ),
    Sabotage(
        "KL (DR(eye)VE): epsilon of float64",
        "functional.py",
        "return _kl(*(each.float() for each in (s, d, a, b)), epsilon=DREYEVE_EPSILON)",
        "return _kl(*(each.float() for each in (s, d, a, b)), epsilon=KL_EPSILON)",
    ),
    Sabotage(
        "KL (pysaliency): the value is added after the maps are made to sum to 1",
        "functional.py",
        "p, q = s.add(minimum).mul_(a), d.add(minimum).mul_(b)",
        "p, q = s.mul(a).add_(minimum), d.mul(b).add_(minimum)",
    ),
    Sabotage(
        "KL (pysaliency): any minimum is the usual one",
        "functional.py",
        "pair.sum(_plain_kl_sum(minimum))",
        "pair.sum(KL_PYSALIENCY_SUM)",
    ),
    # Information gain.
    Sabotage("IG: in nats", "functional.py", " / math.log(2.0)\n", "\n"),
    Sabotage(
        "IG: the baseline is not made to sum to 1",
        "functional.py",
        "each.at(fixated.cells).double() * _inverse(each.total)[:, None]) for each in (maps, reference)",
        "each.at(fixated.cells).double() * _inverse(maps.total)[:, None]) for each in (maps, reference)",
    ),
    Sabotage(
        "IG: map and baseline are swapped",
        "functional.py",
        "fixated.mean_of(bits - least)",
        "fixated.mean_of(least - bits)",
    ),
    Sabotage(
        "IG (MIT): cells count as often as they were looked at",
        "functional.py",
        "(gain * fixated.once).sum(1) / fixated.found",
        "(gain * fixated.weights).sum(1) / fixated.total",
    ),
    Sabotage(
        "IG (MIT): not stretched",
        "functional.py",
        "above * _inverse(maps.total_above_low)[:, None]",
        "maps.at(fixated.cells).double() * _inverse(maps.total)[:, None]",
    ),
    Sabotage(
        "zeros under gaze: cells that only fill up are asked too",
        "functional.py",
        "(maps.at(fixated.cells) == 0) & (fixated.weights > 0)",
        "maps.at(fixated.cells) == 0",
    ),
    Sabotage(
        "zeros under gaze: small values count as zeros",
        "functional.py",
        "(maps.at(fixated.cells) == 0) &",
        "(maps.at(fixated.cells) < 1e-12) &",
    ),
    # Areas.
    Sabotage(
        "AUC-Judd: ties count for the map",
        "auc.py",
        "rank = below + not_above",
        "rank = 2 * not_above",
    ),
    Sabotage(
        "AUC-Judd: ties count against the map",
        "auc.py",
        "rank = below + not_above",
        "rank = 2 * below",
    ),
    Sabotage(
        "AUC-Judd: fixated cells are no negatives",
        "auc.py",
        "(fixated.total * 2 * maps.cells)",
        "(fixated.total * 2 * (maps.cells - fixated.found))",
    ),
    Sabotage(
        "AUC-Judd: a map with NaN gets a score",
        "auc.py",
        "(fixated.total * 2 * maps.cells)\n    return score.masked_fill(maps.high.isnan(), torch.nan)",
        "(fixated.total * 2 * maps.cells)\n    return score",
    ),
    Sabotage(
        "AUC-Judd (MIT): all cells are negatives",
        "auc.py",
        "((above - place) / (maps.cells - total))",
        "(above / maps.cells)",
    ),
    Sabotage(
        "AUC-Judd (MIT): the curve does not begin at (0, 0)",
        "auc.py",
        "torch.trapezoid(torch.cat([first, hits, last], 1), torch.cat([first, false_alarms, last], 1), dim=1)",
        "torch.trapezoid(torch.cat([hits, last], 1), torch.cat([false_alarms, last], 1), dim=1)",
    ),
    Sabotage(
        "AUC-Judd (MIT): noise on the raw map",
        "auc.py",
        "low, span = float(ordered[0]), float(ordered[-1]) - float(ordered[0]) or 1.0",
        "low, span = 0.0, 1.0",
    ),
    Sabotage(
        "AUC-Judd (MIT): a tenth of the noise",
        "auc.py",
        "+ jitter * rng.random(len(near))",
        "+ jitter / 10 * rng.random(len(near))",
    ),
    Sabotage(
        "AUC-Judd (MIT): noise only for exact ties", "auc.py", "reach = jitter * span * (1 + 1e-6)", "reach = 0 * span"
    ),
    Sabotage(
        "AUC-Borji: drawn from the upper half of the picture",
        "auc.py",
        "rng.integers(maps.cells, size=splits * n)",
        "rng.integers(maps.cells // 2, size=splits * n)",
    ),
    Sabotage(
        "AUC-Borji: one split, whatever was asked",
        "auc.py",
        "weights[picture, : splits * n] = 1.0",
        "weights[picture, :n] = 1.0",
    ),
    Sabotage(
        "AUC-Borji: a single cell scores",
        "auc.py",
        "score.masked_fill(fixated.found < 2, torch.nan)",
        "score.masked_fill(fixated.found < 1, torch.nan)",
    ),
    Sabotage(
        "sAUC: fixations of others count once a cell",
        "auc.py",
        "weights = others.weights.gather(1, order)",
        "weights = others.once.gather(1, order)",
    ),
    Sabotage(
        "sAUC: ties count for the map",
        "auc.py",
        "rank = up_to.gather(1, _below(negative, positive)) + up_to.gather(1, _not_above(negative, positive))",
        "rank = 2 * up_to.gather(1, _not_above(negative, positive))",
    ),
    Sabotage(
        "sAUC: positives and negatives are swapped",
        "auc.py",
        "score = (rank * fixated.weights).sum(1) / (2 * fixated.total * others.total)",
        "score = 1 - (rank * fixated.weights).sum(1) / (2 * fixated.total * others.total)",
    ),
    Sabotage(
        "sAUC (MIT): draws with replacement",
        "auc.py",
        "drawn = np.partition(keys, wanted - 1, axis=1)[:, :wanted] & low_bits",
        "drawn = rng.integers(available, size=(splits, wanted), dtype=np.uint64)",
    ),
    Sabotage(
        "sAUC (MIT): the same draw in all splits",
        "auc.py",
        "drawn = np.partition(keys, wanted - 1, axis=1)[:, :wanted] & low_bits",
        "drawn = np.partition(keys, wanted - 1, axis=1)[:1, :wanted].repeat(splits, 0) & low_bits",
    ),
    Sabotage("areas by steps: ties count for the map", "auc.py", "- share / 2", "- 0 * share"),
    Sabotage(
        "areas by steps: a value on a threshold does not reach it",
        "auc.py",
        "thresholds, right=True)",
        "thresholds, right=False)",
    ),
    Sabotage(
        "areas by steps: thresholds are not rounded",
        "auc.py",
        "np.round(np.arange(0, 1 + step / 2, step), 12)",
        "np.arange(0, 1 + step / 2, step)",
    ),
    Sabotage(
        "areas by steps: the map is not stretched",
        "inputs.py",
        "(self.at(cells).double() - self.low.double()[:, None]) / self.span[:, None]",
        "self.at(cells).double()",
    ),
    Sabotage(
        "seeds: all pictures share the first",
        "inputs.py",
        "return [np.random.default_rng(each) for each in seeds]",
        "return [np.random.default_rng(seeds[0]) for _ in seeds]",
    ),
    # What comes in.
    Sabotage(
        "maps: integers are cast in silence",
        "inputs.py",
        "        if values.dtype not in (torch.float32, torch.float64):\n",
        "        values = values if values.is_floating_point() else values.double()\n"
        "        if values.dtype not in (torch.float32, torch.float64):\n",
    ),
    Sabotage(
        "maps: another size is not refused",
        "inputs.py",
        "    if shape != like:\n",
        "    if shape.numel() != like.numel():\n",
    ),
    Sabotage(
        "maps: negative values are not refused",
        "inputs.py",
        "if bool((self.low < 0).any()):",
        "if bool((self.high < 0).all()):",
    ),
    Sabotage(
        "maps: float32 sums may overflow",
        "inputs.py",
        "if values.dtype == torch.float32 and bool(self._out_of_range().any()):",
        "if False:",
    ),
    Sabotage(
        "maps: infinity passes",
        "inputs.py",
        "return ~(self.low.isfinite() & self.high.isfinite())",
        "return self.high.isnan()",
    ),
    Sabotage(
        "counts: read column by column",
        "inputs.py",
        "index * height * width + each[:, 1] * width + each[:, 0]",
        "index * height * width + each[:, 0] * height + each[:, 1]",
    ),
    Sabotage(
        "counts: points are rounded to the nearest cell",
        "inputs.py",
        "places = [np.floor(each).astype",
        "places = [np.rint(each).astype",
    ),
    Sabotage(
        "sums of another ground truth are taken for those of this",
        "inputs.py",
        "if pair is None or pair._given is not truth:",
        "if pair is None:",
    ),
    # Negatives.
    Sabotage(
        "negatives: of the same video too",
        "negatives.py",
        "np.flatnonzero(self._video != own)",
        "np.flatnonzero(self._video != -2)",
    ),
    Sabotage(
        "negatives: drawn ones of the same video too",
        "negatives.py",
        "(own_video | (self._video != self._video[index]))",
        "(self._video >= 0)",
    ),
    Sabotage("negatives: MIT's draw as DHF1K's", "negatives.py", 'if form == "dhf1k":', 'if form in ("dhf1k", "mit"):'),
    Sabotage(
        "negatives: not brought to the size of the picture",
        "negatives.py",
        "np.floor(self._points[chosen] * scale)",
        "np.floor(self._points[chosen])",
    ),
    Sabotage(
        "negatives: rows and columns are swapped",
        "negatives.py",
        "np.array([columns, rows]) / self._limits",
        "np.array([rows, columns]) / self._limits",
    ),
    Sabotage(
        "negatives: every picture draws alike",
        "negatives.py",
        "np.random.default_rng([seed, index])",
        "np.random.default_rng([seed])",
    ),
    # The earth mover's distance.
    Sabotage(
        "EMD: distances squared",
        "functional.py",
        "return np.hypot(y[:, None] - y, x[:, None] - x)",
        "return np.hypot(y[:, None] - y, x[:, None] - x) ** 2",
        "ot",
    ),
    Sabotage(
        "EMD: a cut square counts as whole",
        "functional.py",
        "edges = np.append(np.arange(0, size, cell), size) / cell",
        "edges = np.arange(0, size + cell, cell)[: -(-size // cell) + 1] / cell",
        "ot",
    ),
    Sabotage(
        "EMD: an all-zero map scores NaN",
        "functional.py",
        "return float((costs @ target).max() / target.sum())",
        "return math.nan",
        "ot",
    ),
    # The meter.
    Sabotage(
        "meter: a picture without ground truth scores 0",
        "meter.py",
        "defined = [score for score in scores if not math.isnan(score)]",
        "defined = [0.0 if math.isnan(score) else score for score in scores]",
    ),
    Sabotage(
        "meter: a mean of the means of the batches",
        "meter.py",
        "self._scores[name].extend(scores)",
        "self._scores[name].append(sum(scores) / len(scores))",
    ),
    Sabotage("meter: a broken map drops out", "meter.py", "if bool(broken.any()):", "if False:"),
    Sabotage("meter: DHF1K's negatives are MIT's", "catalogue.py", 'negatives="dhf1k"', 'negatives="mit"'),
    Sabotage(
        "meter: the seed is not passed on",
        "meter.py",
        '{"seed": seed} if metric.seeded',
        '{"seed": 0} if metric.seeded',
    ),
)


def first_failure(copy: Path) -> str | None:
    """The first test that fails against a copy of the package, None where all pass.

    In a forked process, since importing torch anew takes longer than most of these runs.
    """
    output = copy / "output.txt"
    child = os.fork()
    if child == 0:
        status = 70
        try:
            with output.open("w", encoding="utf-8") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            sys.path.insert(0, str(copy))
            status = int(pytest.main([*OPTIONS, str(TESTS)]))
        finally:  # whatever came: the way back belongs to the parent, and so does the folder
            if status == 70:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        return None
    text = output.read_text(encoding="utf-8")
    found = re.search(r"^(?:FAILED|ERROR) \S*?::(\w+)", text, re.MULTILINE)
    if status != 1 or found is None:
        raise RuntimeError(f"pytest ended with {status}:\n{text}")
    return found[1]


def main() -> int:
    """Try all errors and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="errors whose name holds this")
    parser.add_argument("--from", dest="first", type=int, default=1, metavar="NUMBER", help="leave out those before it")
    arguments = parser.parse_args()
    os.environ |= {"GOMP_SPINCOUNT": "1000", "OMP_NUM_THREADS": "1"}  # read once, when torch is imported
    sys.dont_write_bytecode = True  # a copy changed twice within a second would look unchanged
    for library in LIBRARIES:
        importlib.import_module(library)
    unseen = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "vidsal", copy / "vidsal", ignore=shutil.ignore_patterns("__pycache__"))
        failed = first_failure(copy)
        if failed is not None:
            print(f"{failed} fails on the metrics as they are", file=sys.stderr)
            return 1
        print("| error | seen by |\n|---|---|\n| none | none |")
        for sabotage in SABOTAGES[arguments.first - 1 :]:
            lacking = sabotage.needs and importlib.util.find_spec(sabotage.needs) is None
            if arguments.only not in sabotage.name or lacking:
                continue
            target = copy / "vidsal" / "metrics" / sabotage.file
            source = target.read_text(encoding="utf-8")
            if source.count(sabotage.right) != 1:
                print(f"{sabotage.name}: its text occurs {source.count(sabotage.right)} times", file=sys.stderr)
                return 1
            target.write_text(source.replace(sabotage.right, sabotage.wrong), encoding="utf-8")
            failed = first_failure(copy)
            target.write_text(source, encoding="utf-8")
            unseen += failed is None
            print(f"| {sabotage.name} | {f'`{failed}`' if failed else 'NO TEST'} |", flush=True)
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
