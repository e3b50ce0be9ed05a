"""Finished evaluations of several models in, one table of them out: ranks, intervals, what is beyond chance, costs.

Only sequences that all have scored count, so that everybody is judged on the same frames.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidsal.errors import ConfigError, Setting
from vidsal.evaluate.comparison import LEVEL, chances_of_pairs, differing_rules, holm, too_few
from vidsal.evaluate.results import (
    Estimate,
    SequenceScores,
    Summary,
    count_of,
    describe_dataset,
    describe_protocol,
    summarise,
    why_undefined,
)
from vidsal.evaluate.stored import from_json, read_result, write_result
from vidsal.metrics import METRICS

__all__ = [
    "COSTS",
    "RANKING_NAME",
    "Column",
    "Cost",
    "Ranked",
    "Ranking",
    "Reference",
    "Scored",
    "as_markdown",
    "as_text",
    "chance_mark",
    "explanations",
    "heading",
    "make_ranking",
    "metric_title",
    "none_beyond_chance",
    "read_ranking",
    "shown_costs",
    "shown_estimate",
    "write_ranking",
]

RANKING_NAME = "models.json"
"""Name of the file that holds a ranking."""

_FORMAT = "vidsal-models-1"


@dataclass(frozen=True)
class Cost:
    """What a model costs, as far as that is known; None: it is not."""

    parameters: int | None = None
    """Numbers that training sets; 0 for a model without weights."""
    weight_bytes: int | None = None
    """Size of the checkpoint, with the one that it builds on; 0 where there is none."""
    multiply_adds: float | None = None
    """A frame."""
    cpu_seconds: float | None = None
    """A frame, of all threads, the median of those measured."""
    cpu_seconds_least: float | None = None
    """The least measured."""
    cpu_seconds_most: float | None = None
    """The most measured."""
    memory_bytes: int | None = None
    """Most memory in use meanwhile, beyond what the process held before the model was loaded."""
    canvas: tuple[int, int] | None = None
    """Rows and columns of the model's input."""
    precision: str = ""
    """In which the cost was measured."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A model with its finished evaluation."""

    summary: Summary
    """Of the evaluation."""
    sequences: Sequence[SequenceScores]
    """Its scores, sequence by sequence."""
    folder: str = ""
    """Where it lies, relative to that of the ranking."""
    cost: Cost = field(default_factory=Cost)
    """What the model costs."""


@dataclass(frozen=True)
class Reference:
    """Something that is no model, scored on the same frames: the centre, other viewers."""

    name: str
    """Name of the baseline."""
    what: str
    """How it is made."""
    scores: dict[str, Estimate]
    """Metric to estimate."""


@dataclass(frozen=True)
class Ranked:
    """A row of the table."""

    name: str
    """What the model is called here."""
    rank: int
    """From 1, by the metric of the ranking; those whose score is not defined come last."""
    kind: str
    """model, or maps that were made elsewhere."""
    scores: dict[str, Estimate]
    """Metric to estimate."""
    p: dict[str, float]
    """Metric to the chance of as large a difference from the best by that metric if neither was better, corrected for
    all pairs of models (Holm); NaN for the best itself, and where it is not known."""
    best_by: tuple[str, ...]
    """Metrics by which no other is better."""
    cost: Cost
    """What it costs."""
    source: dict[str, Any]
    """What was scored: kind, name, hash, precision, options."""
    folder: str = ""
    """Its evaluation, relative to the folder of the ranking."""

    def level_with_best(self, metric: str) -> bool:
        """Whether its difference from the best by a metric is not beyond chance, or it is the best."""
        return metric in self.best_by or not self.p.get(metric, math.nan) < LEVEL


@dataclass(frozen=True)
class Ranking:
    """Several models on one data set under one protocol."""

    version: str
    """Of vidsal."""
    commit: str
    """Of its code."""
    dataset: dict[str, Any]
    """As `Summary.dataset`."""
    protocol: dict[str, Any]
    """As `Summary.protocol`."""
    rank_by: str
    """The metric that decides."""
    metrics: tuple[str, ...]
    """All, the one that decides first."""
    sequences: int
    """Sequences that all have scored."""
    frames: int
    """Their frames."""
    models: tuple[Ranked, ...]
    """The best first."""
    references: tuple[Reference, ...] = ()
    """What the scores may be held against; they have no rank."""
    failed: dict[str, str] = field(default_factory=dict)
    """Models that could not be scored, with the reason."""
    measured: str = ""
    """How costs were measured, in a sentence; empty: they were not."""
    machine: str = ""
    """On what they were measured."""
    notes: tuple[str, ...] = ()
    """What else a reader should know."""


def make_ranking(
    scored: Mapping[str, Scored],
    *,
    rank_by: str | None = None,
    references: Scored | None = None,
    failed: Mapping[str, str] | None = None,
    measured: str = "",
    machine: str = "",
    notes: Sequence[str] = (),
) -> Ranking:
    """Puts finished evaluations into one table.

    Args:
        scored: names to evaluations, of one data set and protocol.
        rank_by: the metric that decides; None: NSS, or the first that is defined where NSS is not.
        references: an evaluation whose baselines the scores are held against; its own model is left out.
        failed: models that could not be scored, with the reason.
        measured: how costs were measured.
        machine: on what.
        notes: what else a reader should know.

    Raises:
        ConfigError: there is none, rules differ, no sequence was scored by all, or `rank_by` is not among the metrics
            or not defined for any.
    """
    if not scored:
        raise ConfigError("no model could be scored, so there is no table")
    first = next(iter(scored.values())).summary
    for name, each in scored.items():
        rules = differing_rules(first, each.summary)
        if rules:
            raise ConfigError(f"{name} was not scored by the rules of the others ({'; '.join(rules)})")
    names = [each.name for each in next(iter(scored.values())).sequences]
    common = [name for name in names if all(name in one.summary.by_sequence for one in scored.values())]
    if not common:
        raise ConfigError("there is no sequence that all models have scored, so they cannot be compared")
    said = [*notes, *_notes_on_sequences(scored, common)]
    averaging, draws, seed = (first.protocol[name] for name in ("averaging", "draws", "seed"))
    kept = set(common)
    estimated: dict[str, dict[str, dict[str, Estimate]]] = {}
    by_sequence = {}
    for name, each in scored.items():
        some = [one for one in each.sequences if one.name in kept]
        estimated[name], _, by_sequence[name] = summarise(some, averaging=averaging, draws=draws, seed=seed)
    own = {name: scores["model"] for name, scores in estimated.items()}
    metrics, note = _order(first, own, rank_by)
    said += note
    best, chances = {}, {}
    for metric in metrics:
        known = [name for name in own if math.isfinite(own[name][metric].value)]
        if known:
            best[metric] = _best(metric, {name: own[name][metric].value for name in known})
            found = chances_of_pairs(
                [by_sequence[name] for name in known], common, metric, averaging=averaging, draws=draws, seed=seed
            )
            corrected = holm(found)
            chances[metric] = {frozenset((known[i], known[j])): chance for (i, j), chance in corrected.items()}
    order = sorted(own, key=lambda name: _place(metrics[0], own[name][metrics[0]].value))
    models = tuple(
        Ranked(
            name=name,
            rank=1 + next(i for i, other in enumerate(order) if _same(own, metrics[0], other, name)),
            kind=scored[name].summary.source["kind"],
            scores=own[name],
            p={
                metric: chances[metric].get(frozenset((name, best[metric][0])), math.nan)
                for metric in metrics
                if metric in chances
            },
            best_by=tuple(metric for metric in metrics if name in best.get(metric, ())),
            cost=scored[name].cost,
            source=scored[name].summary.source,
            folder=scored[name].folder,
        )
        for name in order
    )
    pairs = len(models) * (len(models) - 1) // 2
    said += too_few(len(common), pairs, "sequence", of="pair") if pairs else []
    return Ranking(
        version=first.version,
        commit=first.commit,
        dataset=first.dataset,
        protocol=first.protocol,
        rank_by=metrics[0],
        metrics=tuple(metrics),
        sequences=len(common),
        frames=sum(by_sequence[order[0]][name]["frames"] for name in common),
        models=models,
        references=() if references is None else _references(references, common, averaging, draws, seed),
        failed=dict(failed or {}),
        measured=measured,
        machine=machine,
        notes=tuple(dict.fromkeys(said)),
    )


def _place(metric: str, value: float) -> tuple[bool, float]:
    sign = -1 if METRICS[metric].better == "higher" else 1
    return math.isnan(value), sign * value if not math.isnan(value) else 0.0


def _same(own: Mapping[str, Mapping[str, Estimate]], metric: str, one: str, other: str) -> bool:
    """Whether two have the same rank."""
    return _place(metric, own[one][metric].value) == _place(metric, own[other][metric].value)


def _best(metric: str, values: Mapping[str, float]) -> list[str]:
    top = min(values, key=lambda name: _place(metric, values[name]))
    return [top, *(name for name in values if name != top and values[name] == values[top])]


def _order(
    summary: Summary, own: Mapping[str, Mapping[str, Estimate]], rank_by: str | None
) -> tuple[list[str], list[str]]:
    """The metrics, the one that decides first; and what is to be said of that."""
    there = list(summary.scores["model"])
    defined = [metric for metric in there if any(math.isfinite(scores[metric].value) for scores in own.values())]
    if rank_by is not None and rank_by not in defined:
        why = "is not defined on these data" if rank_by in there else "is not scored"
        raise ConfigError(
            Setting("rank_by", rank_by), f": it {why}; choose from {', '.join(defined) or 'none, as none is defined'}"
        )
    if not defined:
        why = why_undefined(summary, there, defined=())
        raise ConfigError(f"no metric is defined on these data, so there is nothing to rank by: {why}")
    chosen = rank_by or ("nss" if "nss" in defined else defined[0])
    notes = []
    if "nss" in there and rank_by is None and chosen != "nss":
        notes.append(f"NSS is not defined on these data, which have no fixations: ranked by {METRICS[chosen].title}")
    lacking = [metric for metric in there if metric not in defined]
    if lacking:
        notes.append(f"not available: {why_undefined(summary, lacking, defined=defined)}")
    return [chosen, *(metric for metric in defined if metric != chosen)], notes


def _notes_on_sequences(scored: Mapping[str, Scored], common: list[str]) -> list[str]:
    everything = dict.fromkeys(name for each in scored.values() for name in each.summary.by_sequence)
    notes = []
    if len(everything) > len(common):
        lacking = {
            name: len(everything) - len(each.summary.by_sequence)
            for name, each in scored.items()
            if len(each.summary.by_sequence) < len(everything)
        }
        who = ", ".join(f"{name} lacks {count}" for name, count in lacking.items())
        notes.append(
            f"{count_of(len(common), 'sequence')} of {len(everything)} were scored by all, and only these count: {who}"
        )
    counts = [{name: each.summary.by_sequence[name]["frames"] for name in common} for each in scored.values()]
    uneven = [name for name in common if len({of[name] for of in counts}) > 1]
    if uneven:
        notes.append(
            f"in {count_of(len(uneven), 'sequence')} different numbers of frames were scored, first in {uneven[0]}"
        )
    return notes


def _references(scored: Scored, common: list[str], averaging: Any, draws: int, seed: int) -> tuple[Reference, ...]:
    some = [one for one in scored.sequences if one.name in set(common)]
    if not some:
        return ()
    found, _, _ = summarise(some, averaging=averaging, draws=draws, seed=seed)
    return tuple(
        Reference(name, scored.summary.baselines.get(name, ""), scores)
        for name, scores in found.items()
        if name != "model" and any(one.frames for one in scores.values())
    )


# On disk.


def write_ranking(path: Path, ranking: Ranking) -> None:
    """Writes a ranking as JSON; not defined is null, infinity a text.

    Raises:
        EncodeError: it cannot be written.
    """
    write_result(path, _FORMAT, dataclasses.asdict(ranking), remedy="choose another --out")


def read_ranking(path: str | Path) -> Ranking:
    """Reads what `write_ranking` wrote; a folder stands for the models.json in it.

    Raises:
        ConfigError: it cannot be read, or is no ranking.
    """
    return read_result(path, _FORMAT, name=RANKING_NAME, command="vidsal compare-models", build=_ranking)


def _ranking(values: dict[str, Any]) -> Ranking:
    models = tuple(
        Ranked(
            **{
                **one,
                "scores": _estimates(one["scores"]),
                "p": {metric: from_json(chance) for metric, chance in one["p"].items()},
                "best_by": tuple(one["best_by"]),
                "cost": Cost(**{**one["cost"], "canvas": one["cost"]["canvas"] and tuple(one["cost"]["canvas"])}),
            }
        )
        for one in values.pop("models")
    )
    references = tuple(
        Reference(one["name"], one["what"], _estimates(one["scores"])) for one in values.pop("references")
    )
    values |= {"metrics": tuple(values["metrics"]), "notes": tuple(values["notes"])}
    return Ranking(**values, models=models, references=references)


def _estimates(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Estimate]:
    return {
        metric: Estimate(**{name: from_json(number) for name, number in one.items()}) for metric, one in values.items()
    }


# Texts.


@dataclass(frozen=True)
class Column:
    """A column of costs."""

    title: str
    """What stands above it."""
    shown: Callable[[Cost], str]
    """Of a model."""
    value: Callable[[Cost], float | None]
    """The number, for sorting."""


def _number(value: float | None, form: Callable[[float], str]) -> str:
    return "" if value is None else form(value)


def _short(value: float) -> str:
    """Three digits, without an exponent.

    Example:
        >>> [_short(value) for value in (0.0, 0.01234, 1.2345, 12.345, 123.45, 12345.6)]
        ['0', '0.012', '1.23', '12.3', '123', '12,346']
    """
    digits = 3 if value < 0.1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}" if value else "0"


COSTS = (
    Column(
        "parameters (M)",
        lambda cost: _number(cost.parameters, lambda value: _short(value / 1e6)),
        lambda cost: cost.parameters,
    ),
    Column(
        "weights (MB)",
        lambda cost: _number(cost.weight_bytes, lambda value: _short(value / 1e6)),
        lambda cost: cost.weight_bytes,
    ),
    Column(
        "multiply-adds a frame (G)",
        lambda cost: _number(cost.multiply_adds, lambda value: _short(value / 1e9)),
        lambda cost: cost.multiply_adds,
    ),
    Column(
        "CPU ms a frame",
        lambda cost: _number(cost.cpu_seconds, lambda value: _short(value * 1e3)),
        lambda cost: cost.cpu_seconds,
    ),
    Column(
        "memory (MB)",
        lambda cost: _number(cost.memory_bytes, lambda value: _short(value / 1e6)),
        lambda cost: cost.memory_bytes,
    ),
)
"""What a model costs, in the order shown."""


def shown_costs(ranking: Ranking) -> tuple[Column, ...]:
    """The columns of costs of which anything is known."""
    return tuple(one for one in COSTS if any(one.value(model.cost) is not None for model in ranking.models))


def metric_title(metric: str) -> str:
    """A metric with the sign of what is better: + higher, - lower."""
    return f"{METRICS[metric].title} {'+' if METRICS[metric].better == 'higher' else '-'}"


def shown_estimate(one: Estimate) -> tuple[str, str]:
    """The value, and its interval in brackets; empty where there is none."""
    if math.isnan(one.value):
        return "n/a", ""
    return f"{one.value:.3f}", "" if math.isnan(one.low) else f"[{one.low:.3f}, {one.high:.3f}]"


def chance_mark(model: Ranked, metric: str) -> str:
    """`best`, `≈` where the difference from the best is not beyond chance, else empty."""
    if metric in model.best_by:
        return "best"
    return "≈" if math.isfinite(model.scores[metric].value) and model.level_with_best(metric) else ""


def none_beyond_chance(ranking: Ranking, *metrics: str) -> bool:
    """Whether by none of these metrics, or of all, a model differs from the best beyond chance, though some differ."""
    marks = {
        chance_mark(model, metric)
        for metric in metrics or ranking.metrics
        for model in ranking.models
        if math.isfinite(model.scores[metric].value)
    }
    return "≈" in marks and "" not in marks


def heading(ranking: Ranking) -> str:
    """What was compared on what, in a line."""
    return (
        f"{count_of(len(ranking.models), 'model')} on {describe_dataset(ranking.dataset)}: "
        f"{count_of(ranking.sequences, 'sequence')}, {count_of(ranking.frames, 'frame')}"
    )


def explanations(ranking: Ranking) -> list[str]:
    """What stands below the table: how to read it, how it was made, what is to be known."""
    level = (
        "No difference from the best of a column is beyond chance (≈)"
        if none_beyond_chance(ranking)
        else "≈: the difference from the best of its column is not beyond chance"
    )
    lines = [
        "+ higher is better, - lower; in brackets the 95 % interval over sequences, of each model by itself. "
        f"{level}, by a test of signs over the same sequences, corrected for all pairs of models (Holm, {LEVEL:g})",
    ]
    if ranking.measured:
        lines.append(ranking.measured)
    lines += [f"could not be scored: {name}: {reason}" for name, reason in ranking.failed.items()]
    lines += [f"note: {note}" for note in ranking.notes]
    lines += describe_protocol(ranking.protocol)
    lines += [f"{one.name}: {one.what}" for one in ranking.references if one.what]
    lines.append(f"vidsal {ranking.version}" + (f", commit {ranking.commit}" if ranking.commit else ""))
    return lines


def as_text(ranking: Ranking) -> str:
    """A ranking as text for a terminal: the best first."""
    costs = shown_costs(ranking)
    rows = [["", "model", *map(metric_title, ranking.metrics), *(one.title for one in costs)]]
    for model in ranking.models:
        cells = []
        for place, metric in enumerate(ranking.metrics):
            value, span = shown_estimate(model.scores[metric])
            mark = chance_mark(model, metric)
            cells.append(" ".join(filter(None, [value, span if place == 0 else "", {"best": "*"}.get(mark, mark)])))
        rows.append([f"{model.rank}", model.name, *cells, *(one.shown(model.cost) or "n/a" for one in costs)])
    for reference in ranking.references:
        cells = []
        for place, metric in enumerate(ranking.metrics):
            value, span = shown_estimate(reference.scores[metric])
            cells.append(f"{value} {span}".strip() if place == 0 else value)
        rows.append(["", f"({reference.name})", *cells, *("" for _ in costs)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([heading(ranking), "", *lines, "", "*: the best by that metric", *explanations(ranking)])


def as_markdown(ranking: Ranking) -> str:
    """A ranking as a table of Markdown: the best first, the best of each metric bold."""
    costs = shown_costs(ranking)
    head = ["", "model", *map(metric_title, ranking.metrics), *(one.title for one in costs)]
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(['--:', ':--', *['--:'] * (len(head) - 2)])}|"]
    for model in ranking.models:
        cells = []
        for metric in ranking.metrics:
            value, span = shown_estimate(model.scores[metric])
            mark = chance_mark(model, metric)
            cells.append(
                " ".join(filter(None, [f"**{value}**" if mark == "best" else value, span, mark * (mark != "best")]))
            )
        costly = [one.shown(model.cost) or "n/a" for one in costs]
        lines.append(f"| {' | '.join([str(model.rank), _plain(model.name), *cells, *costly])} |")
    for reference in ranking.references:
        cells = [" ".join(filter(None, shown_estimate(reference.scores[metric]))) for metric in ranking.metrics]
        lines.append(f"| {' | '.join(['', f'*{_plain(reference.name)}*', *cells, *['' for _ in costs]])} |")
    return "\n".join(
        [f"**{_plain(heading(ranking))}**", "", *lines, "", *(f"- {_plain(one)}" for one in explanations(ranking)), ""]
    )


def _plain(text: str) -> str:
    """A text whose signs Markdown and HTML leave alone.

    Example:
        >>> _plain("a_b|<c>*")
        'a\\\\_b\\\\|&lt;c&gt;\\\\*'
    """
    for sign in "\\`*_[]|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
