"""Runs `vidsal eval simple` on the validation split of some sets and writes the tables into docs/reports/scores.md.

    python studies/write_evaluation_docs.py DATA/osie DATA/eyecrowd ... [--model sam-lite]

What lies in the page between the markers is replaced; the rest is kept. Results stay in --work, so that a run that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path

from pages import fill

from vidsal.cli import main as vidsal
from vidsal.errors import VidsalError
from vidsal.evaluate import Summary, read_summary
from vidsal.metrics import METRICS

PAGE = Path(__file__).parents[1] / "docs" / "reports" / "scores.md"
SHOWN = ("nss", "cc", "sim", "kl", "auc_judd", "shuffled_auc", "information_gain")
BEGIN, END = "<!-- scores: begin -->", "<!-- scores: end -->"


def main() -> int:
    """Evaluate, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--model", default="sam-lite")
    parser.add_argument("--work", type=Path, default=Path("runs/evaluation"), help="folder for the results")
    parser.add_argument("--baselines", default="all")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    parts = []
    for root in arguments.sets:
        out = arguments.work / f"{root.name}-{Path(arguments.model).stem}"
        status = vidsal(
            [
                *("eval", "simple", str(root), "--split", "val", "--model", arguments.model, "--out", str(out)),
                *("--baselines", arguments.baselines, "--workers", str(arguments.workers), "--strict", "--overwrite"),
                # The same digits on every processor.
                *("--precision", "fp32"),
            ]
        )
        if status:
            return status
        parts.append(table(root.name, read_summary(out)))
    fill(PAGE, BEGIN, END, "".join(parts))
    return 0


def table(name: str, summary: Summary) -> str:
    """One set: a row a source, a column a metric."""
    metrics = [metric for metric in SHOWN if metric in summary.scores["model"]]
    titles = [re.sub(r" \((exact|MIT)\)|, bits", "", METRICS[metric].title) for metric in metrics]
    arrows = ["↑" if METRICS[metric].better == "higher" else "↓" for metric in metrics]
    lines = [
        f"\n**{name}**, {summary.sequences} pictures of split {summary.dataset['split']}, {summary.source['name']} "
        f"(sha256 {summary.source.get('sha256', '')[:12]}), vidsal {summary.version}\n",
        "| | " + " | ".join(f"{title} {arrow}" for title, arrow in zip(titles, arrows, strict=True)) + " |",
        "|---|" + "---|" * len(metrics),
    ]
    absent = []
    for source, scores in summary.scores.items():
        if all(math.isnan(scores[metric].value) for metric in metrics):
            absent.append(source)
            continue
        title = f"**{summary.source['name']}**" if source == "model" else source
        cells = [shown(scores[metric].value) for metric in metrics]
        lines.append(f"| {title} | {' | '.join(cells)} |")
        if source == "model":
            spans = [f"{shown(scores[metric].low)} to {shown(scores[metric].high)}" for metric in metrics]
            lines.append(f"| 95 % interval | {' | '.join(spans)} |")
    lines += [
        f"\nNo `{source}`: {summary.baselines[source].rpartition('(not available: ')[2][:-1]}." for source in absent
    ]
    return "\n".join(lines) + "\n"


def shown(value: float) -> str:
    """Three digits, or nothing."""
    return "" if math.isnan(value) else f"{value:.3f}" if math.isfinite(value) else "-∞"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
