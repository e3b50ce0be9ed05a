"""Scores of frames in, tables, means with intervals, and a summary that states its protocol out."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import math
import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.decode.images import natural_order
from vidsal.errors import EncodeError
from vidsal.evaluate.options import TableFormat
from vidsal.evaluate.protocols import Averaging
from vidsal.evaluate.stored import from_json, read_result, write_result
from vidsal.evaluate.trials import Trials
from vidsal.files import replacing
from vidsal.metrics import METRICS

__all__ = [
    "TITLE_WIDTH",
    "Estimate",
    "SequenceScores",
    "Summary",
    "count_of",
    "describe_dataset",
    "describe_frames",
    "describe_protocol",
    "estimates",
    "folder_of",
    "format_summary",
    "interval",
    "parts_of",
    "read_keyed_sequence",
    "read_sequence",
    "read_summary",
    "resamples",
    "sequence_path",
    "summarise",
    "summarise_participants",
    "summarise_scenarios",
    "why_undefined",
    "write_sequence",
    "write_summary",
    "write_tables",
]


_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceScores:
    """The scores of one sequence: F frames that were scored, S sources of maps, M metrics."""

    name: str
    """The data set's name of the sequence."""
    frames: int
    """Frames it has, scored or not."""
    metrics: tuple[str, ...]
    """M names."""
    sources: tuple[str, ...]
    """S names: "model" (the maps that are scored, wherever they come from), then the baselines."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What the data set says of it."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Frames that the protocol chose but that were not scored: bad, unfixated, unlabelled, missing."""
    messages: tuple[str, ...] = ()
    """Sentences for a person."""
    damage: tuple[str, ...] = ()
    """What the reader of its video says of missing frames; empty where it was read whole."""
    index: npt.NDArray[np.int64]
    """(F,) ordinals of the frames, from 0."""
    frame: npt.NDArray[np.str_]
    """(F,) the data set's names of the frames."""
    pts_seconds: _Floats
    """(F,) their times."""
    attention: npt.NDArray[np.str_]
    """(F,) DR(eye)VE's code of the subsequence, else empty."""
    scores: _Floats
    """(S, F, M); NaN where a metric is not defined."""
    zero_mass: _Floats
    """(S, F) share of the recorded density that lies where the map is exactly 0; NaN without a density."""
    participants: tuple[str, ...] = ()
    """P names of those who looked; none where the data set does not tell them apart from picture to picture."""
    participant_scores: _Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))
    """(S, P, M) what each participant's fixations score: the mean over the frames that they looked at, of the mean over
    their fixations. The source "inter-observer" is the density of the others. NaN where the metric is no mean over
    fixations."""
    participant_frames: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64))
    """(S, P, M) over how many frames."""

    def __post_init__(self) -> None:
        shape = len(self.sources), len(self.index), len(self.metrics)
        people = len(self.sources), len(self.participants), len(self.metrics)
        if not self.participants:
            object.__setattr__(self, "participant_scores", np.zeros(people))
            object.__setattr__(self, "participant_frames", np.zeros(people, np.int64))
        if self.participant_scores.shape != people or self.participant_frames.shape != people:
            raise ValueError(
                f"participant_scores and participant_frames must be {people}, got {self.participant_scores.shape}, "
                f"{self.participant_frames.shape}"
            )
        if self.scores.shape != shape or self.zero_mass.shape != shape[:2]:
            raise ValueError(
                f"scores must be {shape} and zero_mass {shape[:2]}, got {self.scores.shape}, {self.zero_mass.shape}"
            )

    def __repr__(self) -> str:
        return f"SequenceScores({self.name}, {len(self.index)} of {self.frames} frames, {', '.join(self.sources)})"


# A sequence on disk.


def sequence_path(folder: Path, name: str) -> Path:
    """The file that holds the scores of a sequence; different names never share one."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:80]}-{digest}.npz"


def write_sequence(path: Path, scores: SequenceScores, *, key: str) -> None:
    """Writes the scores of a sequence whole, or not at all.

    Args:
        path: as `sequence_path` gives it.
        scores: what to write.
        key: of everything that the scores depend on; `read_sequence` asks for the same.

    Raises:
        EncodeError: it cannot be written.
    """
    values = {field.name: getattr(scores, field.name) for field in dataclasses.fields(scores)}
    arrays = {name: values.pop(name) for name in (*_ARRAYS, *_LATER_ARRAYS)}
    header = json.dumps({"key": key, **values}, default=dict)
    with replacing(path, remedy=_REMEDY) as partial, partial.open("wb") as file:
        np.savez_compressed(file, header=np.array(header), **arrays)


_REMEDY = "choose another --out"
_ARRAYS = ("index", "frame", "pts_seconds", "attention", "scores", "zero_mass")
_LATER_ARRAYS = ("participant_scores", "participant_frames")
"""Those that earlier versions did not write."""


def read_sequence(path: Path, *, key: str | None = None) -> SequenceScores | None:
    """The scores that `write_sequence` wrote; None where there is no such file, it is damaged, or has another key.

    Args:
        path: the file.
        key: that it must have been written with; None: any.
    """
    found = read_keyed_sequence(path)
    return found[1] if found is not None and key in (None, found[0]) else None


def read_keyed_sequence(path: Path) -> tuple[str, SequenceScores] | None:
    """The key and the scores that `write_sequence` wrote; None where there is no such file, or it is damaged."""
    try:
        # Opened here: of a damaged file NumPy would leave it open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            key = str(header.pop("key"))
            values: dict[str, Any] = {
                name: tuple(one) if isinstance(one, list) else one for name, one in header.items()
            }
            names = (*_ARRAYS, *(name for name in _LATER_ARRAYS if name in archive))
            return key, SequenceScores(**values, **{name: archive[name] for name in names})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


# Means and intervals.


@dataclass(frozen=True)
class Estimate:
    """One number with what it rests on."""

    value: float
    """By the protocol's averaging; NaN where the metric is not defined on any frame."""
    low: float
    """Lower end of the bootstrap 95 % interval over sequences; NaN below two sequences."""
    high: float
    """Upper end."""
    over_frames: float
    """Mean over all frames."""
    over_sequences: float
    """Mean over the sequences' means."""
    frames: int
    """Frames where it is defined."""
    sequences: int
    """Sequences with such a frame."""


def parts_of(totals: _Floats, counts: _Floats, frames: _Floats, averaging: Averaging) -> tuple[_Floats, _Floats]:
    """What each sequence adds to numerator and denominator of an average.

    Args:
        totals: (N,) sum of the defined scores of each sequence.
        counts: (N,) how many these are.
        frames: (N,) frames scored of each sequence.
        averaging: which average.

    Returns:
        (N,) and (N,); both 0 where a sequence has no defined score.

    Example:
        >>> totals, counts = np.array([6.0, 1.0]), np.array([3.0, 1.0])
        >>> [float(a.sum() / b.sum()) for a, b in [parts_of(totals, counts, counts, "frames")]]
        [1.75]
        >>> [float(a.sum() / b.sum()) for a, b in [parts_of(totals, counts, counts, "sequences")]]
        [1.5]
    """
    if averaging == "frames":
        return totals, counts
    there = counts > 0
    weights = np.where(there, frames if averaging == "sequences-by-frames" else 1.0, 0.0)
    means = np.divide(totals, counts, out=np.zeros_like(totals), where=there)
    return means * weights, weights


def resamples(count: int, *, draws: int, seed: int) -> _Floats:
    """(draws, count): how often each of `count` sequences is drawn when as many are drawn with replacement."""
    if count < 1:
        return np.zeros((draws, 0))
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float64)


def interval(values: _Floats) -> tuple[float, float]:
    """The middle 95 % of the defined values; NaN where fewer than half are defined, or one is infinite."""
    defined = values[~np.isnan(values)]
    if 2 * len(defined) < max(1, len(values)) or not np.isfinite(defined).all():
        return math.nan, math.nan
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _average(numerator: _Floats, denominator: _Floats, drawn: _Floats | None = None) -> _Floats:
    """The average, or that of every resample; NaN where nothing is defined."""
    if not np.isfinite(numerator).all():
        finite = np.isfinite(numerator)
        infinite = numerator[~finite][0]
        hit = np.ones(1, np.bool_) if drawn is None else (drawn[:, ~finite] > 0).any(axis=1)
        rest = _average(np.where(finite, numerator, 0.0), denominator, drawn)
        return np.where(hit, infinite, rest)
    above = numerator.sum(keepdims=True) if drawn is None else drawn @ numerator
    below = denominator.sum(keepdims=True) if drawn is None else drawn @ denominator
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def estimates(totals: _Floats, counts: _Floats, frames: _Floats, *, averaging: Averaging, drawn: _Floats) -> Estimate:
    """The estimate of one metric from its sums over N sequences; arguments as `parts_of`, `drawn` as `resamples`."""
    means = {
        kind: float(_average(*parts_of(totals, counts, frames, kind))[0]) for kind in ("frames", "sequences", averaging)
    }
    low = high = math.nan
    if int((counts > 0).sum()) > 1:
        low, high = interval(_average(*parts_of(totals, counts, frames, averaging), drawn))
    return Estimate(
        value=means[averaging],
        low=low,
        high=high,
        over_frames=means["frames"],
        over_sequences=means["sequences"],
        frames=int(counts.sum()),
        sequences=int((counts > 0).sum()),
    )


def _sums(scores: _Floats) -> tuple[_Floats, _Floats]:
    """Sum and number of the defined values over the frames of (S, F, M): (S, M) each."""
    defined = ~np.isnan(scores)
    return np.where(defined, scores, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64)


# The summary.


@dataclass(frozen=True, eq=False, kw_only=True)
class Summary:
    """The result of an evaluation, as `summary.json` holds it."""

    version: str
    """Of vidsal."""
    commit: str
    """Of its code, with "+" where files differ from it; empty outside a checkout."""
    key: str
    """Of everything that the scores depend on: a hash of what was asked for, a dash, a hash of what the references are
    made of."""
    dataset: dict[str, Any]
    """name, root, split, options, sequences (found), published (None: not known), folder (last part of root; empty: not
    known)."""
    protocol: dict[str, Any]
    """The rules, see `describe_protocol`."""
    source: dict[str, Any]
    """What was scored: kind, name, hash, precision, options."""
    baselines: dict[str, str]
    """Name to what it is."""
    sequences: int
    """Sequences scored."""
    frames: int
    """Frames scored."""
    left_out: dict[str, int]
    """Frames that the protocol chose but that were not scored, by reason."""
    skipped: dict[str, str]
    """Sequences that could not be scored, with the reason."""
    too_short: int
    """Sequences of which the protocol chooses no frame."""
    scores: dict[str, dict[str, Estimate]]
    """Source to metric to estimate."""
    zero_frames: dict[str, float]
    """Source to the share of frames in which some recorded density lies where the map is exactly 0."""
    by_sequence: dict[str, dict[str, Any]]
    """Name to {"frames": scored, "scores": {metric: [mean, frames where defined]}, "zero_mass": [mean, frames with a
    density], "participants": {name: {metric: [mean, frames]}}} of the source "model"; results of earlier versions lack
    the last two."""
    messages: tuple[str, ...] = ()
    """Sentences for a person."""
    partial: tuple[str, ...] = ()
    """Sequences that were scored only in part: frames are missing from their files."""
    by_participant: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name to {"sequences", "frames", "scores": {source: {metric: mean}}}, averaged as the protocol says; the source
    "inter-observer" is the density of the others. Metrics that are means over fixations."""
    by_scenario: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """What the data set or a list of trials says (weather, condition, ...) to value to {"sequences", "frames",
    "scores": {source: {metric: mean over sequences}}}."""
    trials: dict[str, Any] = field(default_factory=dict)
    """What the list of trials says: {"of_sequences": {column: {sequence: value}}, "of_participants": {column:
    {sequence: {participant: value}}}}; empty without one."""
    asked: dict[str, Any] = field(default_factory=dict)
    """What was asked for, of which the key holds a hash; results of earlier versions do not have it."""

    def __post_init__(self) -> None:
        # A path like "." has a name only as long as the working folder is known.
        folder = folder_of(self.dataset)
        if not folder and "folder" not in self.dataset:
            folder = Path(self.dataset["root"]).resolve().name
        object.__setattr__(self, "dataset", {**self.dataset, "folder": folder})


def folder_of(dataset: Mapping[str, Any]) -> str:
    """The name of a data set's folder; empty where a summary does not have it.

    Example:
        >>> folder_of({"root": "sets/osie"}), folder_of({"root": "..", "folder": "osie"}), folder_of({"root": ".."})
        ('osie', 'osie', '')
    """
    name = Path(dataset.get("root", "")).name
    return str(dataset.get("folder", "" if name == ".." else name))


def describe_dataset(dataset: Mapping[str, Any]) -> str:
    """Layout, folder and split.

    Example:
        >>> describe_dataset({"name": "simple", "root": "sets/osie", "split": "val"})
        'simple, osie (val)'
        >>> describe_dataset({"name": "dhf1k", "root": "DHF1K", "split": "val"})
        'dhf1k (val)'
    """
    folder = folder_of(dataset)
    told = f", {folder}" if folder and folder.casefold() != dataset["name"].casefold() else ""
    return f"{dataset['name']}{told} ({dataset['split']})"


def describe_protocol(protocol: Mapping[str, Any]) -> list[str]:
    """The rules of a summary in plain lines."""
    # Its own source begins with its name too.
    rules = [f"protocol {protocol['name']}: {protocol['source'].removeprefix(protocol['name'] + ': ')}"]
    if protocol.get("differences"):
        rules.append(f"differences from it: {protocol['differences']}")
    rules.append(f"frames: {describe_frames(protocol)}")
    depth = "floats" if protocol["bits"] is None else f"rounded to {protocol['bits']} bits"
    rules.append(
        f"maps: {protocol['resolution']}; {depth}. Averaged over {protocol['averaging']}; 95 % intervals from "
        f"{protocol['draws']} resamples of sequences; seed {protocol['seed']}"
    )
    rules.append(f"information gain over: {protocol['information_gain_over']}")
    rules.append(f"epsilons: {', '.join(f'{name} {value:.3g}' for name, value in protocol['epsilons'].items())}")
    return rules


def describe_frames(protocol: Mapping[str, Any]) -> str:
    """Which frames the rules choose, in words; ordinals from 0."""
    return (
        f"from {protocol['first_frame']}, every {protocol['frame_step']}, sequences of at least {protocol['shortest']}"
        + (f", but for the last {protocol['last_left_out']}" if protocol["last_left_out"] else "")
        + (f", at most {protocol['most_frames']} of the set" if protocol["most_frames"] else "")
        + (f", only the first {protocol['limit_frames']} of each sequence" if protocol.get("limit_frames") else "")
        + ("; those the data set calls bad are left out" if protocol["leave_out_bad"] else "")
        + ("; those without fixations are left out" if protocol["leave_out_unfixated"] else "")
    )


def write_summary(path: Path, summary: Summary) -> None:
    """Writes a summary as JSON; not defined is null, infinity a text.

    Raises:
        EncodeError: it cannot be written.
    """
    write_result(path, _FORMAT, dataclasses.asdict(summary), remedy=_REMEDY)


_FORMAT = "vidsal-evaluation-1"


def read_summary(path: str | Path) -> Summary:
    """Reads what `write_summary` wrote; a folder stands for the summary.json in it.

    Raises:
        ConfigError: it cannot be read, or is no summary.
    """
    return read_result(path, _FORMAT, name="summary.json", command="vidsal eval", build=_summary)


def _summary(values: dict[str, Any]) -> Summary:
    values["scores"] = {
        source: {
            metric: Estimate(**{name: from_json(number) for name, number in one.items()})
            for metric, one in metrics.items()
        }
        for source, metrics in values["scores"].items()
    }
    values["zero_frames"] = {source: from_json(share) for source, share in values["zero_frames"].items()}
    for one in values["by_sequence"].values():
        one["scores"] = {metric: (from_json(mean), count) for metric, (mean, count) in one["scores"].items()}
        if "zero_mass" in one:
            one["zero_mass"] = from_json(one["zero_mass"][0]), one["zero_mass"][1]
        one["participants"] = {
            who: {metric: (from_json(mean), count) for metric, (mean, count) in scores.items()}
            for who, scores in one.get("participants", {}).items()
        }
    for own in values.get("by_participant", {}).values():
        own["scores"] = {
            source: {metric: from_json(mean) for metric, mean in scores.items()}
            for source, scores in own["scores"].items()
        }
    for of_values in values.get("by_scenario", {}).values():
        for own in of_values.values():
            own["scores"] = {
                source: {metric: from_json(mean) for metric, mean in scores.items()}
                for source, scores in own["scores"].items()
            }
    # Of earlier versions, perhaps from another working folder.
    values["dataset"].setdefault("folder", folder_of(values["dataset"]))
    values["messages"] = tuple(values["messages"])
    values["partial"] = tuple(values.get("partial", ()))
    return Summary(**values)


def summarise(
    sequences: Sequence[SequenceScores], *, averaging: Averaging, draws: int, seed: int
) -> tuple[dict[str, dict[str, Estimate]], dict[str, float], dict[str, dict[str, Any]]]:
    """`Summary.scores`, `Summary.zero_frames` and `Summary.by_sequence` of at least one sequence."""
    totals, counts = np.stack([_sums(each.scores) for each in sequences], axis=-1)  # (S, M, N) each
    frames = np.array([len(each.index) for each in sequences], np.float64)
    zero = np.sum([(np.nan_to_num(each.zero_mass) > 0).sum(axis=1) for each in sequences], axis=0)
    shares = zero / (frames.sum() or math.nan)
    means = np.divide(totals[0], counts[0], out=np.full_like(totals[0], np.nan), where=counts[0] > 0)
    drawn = resamples(len(sequences), draws=draws, seed=seed)
    sources, metrics = sequences[0].sources, sequences[0].metrics
    scores = {
        source: {
            metric: estimates(totals[s, m], counts[s, m], frames, averaging=averaging, drawn=drawn)
            for m, metric in enumerate(metrics)
        }
        for s, source in enumerate(sources)
    }
    by_sequence = {
        each.name: {
            "frames": len(each.index),
            "scores": {metric: (float(means[m, n]), int(counts[0, m, n])) for m, metric in enumerate(metrics)},
            "zero_mass": (*_means(each.zero_mass[0, :, None]), int((~np.isnan(each.zero_mass[0])).sum())),
            "participants": {
                who: {
                    metric: (float(each.participant_scores[0, p, m]), int(each.participant_frames[0, p, m]))
                    for m, metric in enumerate(metrics)
                    if METRICS[metric].at_fixations
                }
                for p, who in enumerate(each.participants)
            },
        }
        for n, each in enumerate(sequences)
    }
    return scores, dict(zip(sources, shares.tolist(), strict=True)), by_sequence


def summarise_participants(sequences: Sequence[SequenceScores], *, averaging: Averaging) -> dict[str, dict[str, Any]]:
    """`Summary.by_participant`."""
    found: dict[str, dict[str, Any]] = {}
    for who in _people(sequences):
        means, counts, frames = _of_participant(sequences, who)
        sources, metrics = sequences[0].sources, sequences[0].metrics
        scores: dict[str, dict[str, float]] = {}
        for s, source in enumerate(sources):
            for m, metric in enumerate(metrics):
                if METRICS[metric].at_fixations and counts[:, s, m].any():
                    totals = np.where(counts[:, s, m] > 0, means[:, s, m] * counts[:, s, m], 0.0)
                    above, below = parts_of(totals, counts[:, s, m], frames, averaging)
                    scores.setdefault(source, {})[metric] = float(_average(above, below)[0])
        found[who] = {"sequences": len(frames), "frames": int(frames.sum()), "scores": scores}
    return found


def _people(sequences: Sequence[SequenceScores]) -> list[str]:
    """All participants, in order as people count."""
    return sorted(
        {name for each in sequences for name in each.participants}, key=lambda name: natural_order(Path(name))
    )


def _of_participant(sequences: Sequence[SequenceScores], who: str) -> tuple[_Floats, _Floats, _Floats]:
    """(N, S, M) means and over how many frames of each sequence that somebody saw, and (N,) frames looked at."""
    own = [(each, each.participants.index(who)) for each in sequences if who in each.participants]
    means = np.stack([each.participant_scores[:, place] for each, place in own])
    counts = np.stack([each.participant_frames[:, place] for each, place in own]).astype(np.float64)
    return means, counts, counts.max(axis=(1, 2))


def summarise_scenarios(sequences: Sequence[SequenceScores], trials: Trials) -> dict[str, dict[str, dict[str, Any]]]:
    """`Summary.by_scenario`: means over sequences."""
    metrics = sequences[0].metrics
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for column, value, source, count, frames, *means in _scenario_rows(sequences, trials):
        one = found.setdefault(column, {}).setdefault(value, {"sequences": count, "frames": frames, "scores": {}})
        one["scores"][source] = dict(zip(metrics, means[len(metrics) :], strict=True))
    return found


# Tables.


def write_tables(
    folder: Path, sequences: Sequence[SequenceScores], *, kind: TableFormat, trials: Trials | None = None
) -> list[Path]:
    """Writes `frames`, `seconds`, `sequences`, `participants` and `scenarios`, a row for each of these and each source.

    Seconds are those of videos; rows without a sequence are means over all that last so long. Participants are written
    where the data tell them apart, with the metrics that are means over fixations. Scenarios are what the data set says
    of sequences and frames (weather, category, attention, ...), and the columns of a list of trials; where a column
    says different things of those who saw a sequence, its means are those of their fixations. Means are over frames
    and over sequences. An empty field (null) is not defined.

    Args:
        folder: where they go.
        sequences: at least one.
        kind: of files.
        trials: a list of trials.

    Raises:
        EncodeError: they cannot be written, or pyarrow is missing.
    """
    metrics = sequences[0].metrics
    scores = dict.fromkeys(metrics, float)
    means = dict.fromkeys([f"{name}_over_{over}" for over in ("frames", "sequences") for name in metrics], float)
    one = {"sequence": str, "frame": str, "index": int, "pts_seconds": float, "source": str}
    each = [name for name in metrics if METRICS[name].at_fixations]
    of_people = dict.fromkeys([f"{name}_over_{over}" for over in ("frames", "sequences") for name in each], float)
    tables: dict[str, tuple[dict[str, type], Callable[[Sequence[SequenceScores]], Iterator[_Row]]]] = {
        "frames": ({**one, **scores, "zero_mass": float}, _frame_rows),
        "seconds": (
            {"sequence": str, "second": int, "source": str, "sequences": int, "frames": int, **scores},
            _second_rows,
        ),
        "sequences": ({"sequence": str, "source": str, "frames": int, "frames_scored": int, **scores}, _sequence_rows),
        "participants": (
            {"participant": str, "source": str, "sequences": int, "frames": int, **of_people},
            _participant_rows,
        ),
        "scenarios": (
            {"scenario": str, "value": str, "source": str, "sequences": int, "frames": int, **means},
            lambda sequences: _scenario_rows(sequences, trials or Trials()),
        ),
    }
    if not any(one.participants for one in sequences):
        del tables["participants"]
    if all(len(one.index) < 2 for one in sequences):
        del tables["seconds"]
    written = []
    for name, (columns, rows) in tables.items():
        path = folder / f"{name}.{kind}"
        write = _write_csv if kind == "csv" else _write_parquet
        with replacing(path, remedy=_REMEDY) as partial:
            write(partial, columns, rows(sequences))
        written.append(path)
    return written


_Row = list[Any]


def _frame_rows(sequences: Sequence[SequenceScores]) -> Iterator[_Row]:
    for each in sequences:
        for s, source in enumerate(each.sources):
            for row in range(len(each.index)):
                yield [
                    each.name,
                    str(each.frame[row]),
                    int(each.index[row]),
                    float(each.pts_seconds[row]),
                    source,
                    *each.scores[s, row].tolist(),
                    float(each.zero_mass[s, row]),
                ]


def _sequence_rows(sequences: Sequence[SequenceScores]) -> Iterator[_Row]:
    for each in sequences:
        for s, source in enumerate(each.sources):
            yield [each.name, source, each.frames, len(each.index), *_means(each.scores[s])]


def _means(scores: _Floats) -> list[float]:
    """Of (F, M) over the frames where defined."""
    defined = ~np.isnan(scores)
    counts = defined.sum(axis=0)
    totals = np.where(defined, scores, 0.0).sum(axis=0)
    return [float(t / c) if c else math.nan for t, c in zip(totals, counts, strict=True)]


def _second_rows(sequences: Sequence[SequenceScores]) -> Iterator[_Row]:
    videos = [each for each in sequences if len(each.index) > 1]
    by_second: dict[int, list[tuple[int, npt.NDArray[np.float64]]]] = {}
    for each in videos:
        seconds = np.floor(each.pts_seconds).astype(int)
        for second in np.unique(seconds).tolist():
            rows = seconds == second
            means = np.array([_means(each.scores[s][rows]) for s in range(len(each.sources))])
            by_second.setdefault(second, []).append((int(rows.sum()), means))
            for source, of_source in zip(each.sources, means.tolist(), strict=True):
                yield [each.name, second, source, 1, int(rows.sum()), *of_source]
    for second, found in sorted(by_second.items()):
        frames = sum(count for count, _ in found)
        for s, source in enumerate(videos[0].sources):
            yield ["", second, source, len(found), frames, *_means(np.stack([means[s] for _, means in found]))]


def _participant_rows(sequences: Sequence[SequenceScores]) -> Iterator[_Row]:
    columns = [m for m, metric in enumerate(sequences[0].metrics) if METRICS[metric].at_fixations]
    for who in _people(sequences):
        means, counts, _ = _of_participant(sequences, who)
        for s, source in enumerate(sequences[0].sources):
            own, weights = means[:, s, columns], counts[:, s, columns]
            yield [
                who,
                source,
                len(means),
                int(weights.max(axis=1, initial=0).sum()),
                *_pooled(own, weights),
                *_means(own),
            ]


def _pooled(means: _Floats, counts: _Floats) -> list[float]:
    """Of (N, M) means over so many frames each the mean over all frames."""
    totals, below = np.where(counts > 0, means * counts, 0.0).sum(axis=0), counts.sum(axis=0)
    return [float(total / count) if count else math.nan for total, count in zip(totals, below, strict=True)]


def _scenario_rows(sequences: Sequence[SequenceScores], trials: Trials) -> Iterator[_Row]:
    scenarios: dict[tuple[str, str], list[tuple[SequenceScores, npt.NDArray[np.bool_]]]] = {}
    for each in sequences:
        everything = np.ones(len(each.index), np.bool_)
        told = {column: values[each.name] for column, values in trials.of_sequences.items() if each.name in values}
        for key, value in {**each.attributes, **told}.items():
            scenarios.setdefault((key, value), []).append((each, everything))
        for code in np.unique(each.attention):
            if code:
                scenarios.setdefault(("attention", str(code)), []).append((each, each.attention == code))
    rows: list[_Row] = []
    for (key, value), members in scenarios.items():
        for s, source in enumerate(members[0][0].sources):
            chosen = [each.scores[s][taken] for each, taken in members]
            over_sequences = np.array([_means(one) for one in chosen])
            frames = int(sum(taken.sum() for _, taken in members))
            means = *_means(np.concatenate(chosen)), *_means(over_sequences)
            rows.append([key, value, source, len(members), frames, *means])
    for column, by_viewing in trials.of_participants.items():
        rows += _rows_of_viewings(sequences, column, by_viewing)
    yield from sorted(rows, key=lambda row: row[:2])


def _rows_of_viewings(
    sequences: Sequence[SequenceScores], column: str, by_viewing: Mapping[tuple[str, str], str]
) -> Iterator[_Row]:
    """Scenarios that differ between those who saw a sequence: means over their fixations, everybody counting alike."""
    for value in sorted(set(by_viewing.values())):
        of_sequences, counts = [], []
        for each in sequences:
            places = [p for p, who in enumerate(each.participants) if by_viewing.get((each.name, who)) == value]
            if places:
                scores = each.participant_scores[:, places]
                of_sequences.append([_means(of_source) for of_source in scores])
                counts.append(each.participant_frames[:, places].sum(axis=1))
        if not of_sequences:
            continue
        means, frames = np.array(of_sequences), np.array(counts, np.float64)
        for s, source in enumerate(sequences[0].sources):
            whole = int(frames[:, s].max(axis=1, initial=0).sum())
            yield [column, value, source, len(means), whole, *_pooled(means[:, s], frames[:, s]), *_means(means[:, s])]


def _write_csv(path: Path, columns: Mapping[str, type], rows: Iterator[_Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_field(value) for value in row] for row in rows)


def _field(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else format(value, ".9g")
    return value


def _write_parquet(path: Path, columns: Mapping[str, type], rows: Iterator[_Row]) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise EncodeError("tables as parquet need pyarrow: pip install 'vidsal[parquet]', or --table csv") from error
    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    data = list(zip(*rows, strict=True)) or [() for _ in columns]
    arrays = [
        pyarrow.array(values, kinds[kind], from_pandas=True)  # NaN becomes null
        for values, kind in zip(data, columns.values(), strict=True)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, names=list(columns)), os.fspath(path))


# What is printed.

TITLE_WIDTH = 2 + max(len(f"{metric.title} +") for metric in METRICS.values())
"""Characters of a table's first column: a metric's title, the sign of what is better, and room after it."""


def why_undefined(summary: Summary, undefined: Iterable[str], *, defined: Collection[str]) -> str:
    """Metrics that are defined in no frame, each with the reason.

    Args:
        summary: of the evaluation.
        undefined: their names.
        defined: names of metrics that are defined in some frame: what these need is there.
    """
    there = {need for name in defined for need in METRICS[name].needs}
    found = max(summary.sequences, summary.dataset.get("sequences") or 0)
    is_alone = found < 2 and not summary.protocol.get("own_video_negatives")
    reasons: dict[str, list[str]] = {}
    for name in undefined:
        metric = METRICS[name]
        lacking = [need for need in ("density", "fixations") if need in metric.needs and need not in there]
        reason = f"the data have no {' and no '.join(lacking)}" if lacking else "no frame has all that it needs"
        if metric.negatives and is_alone:
            reason = "there is no other sequence to take negatives from"
        elif metric.negatives:
            other = "there are none of another recording to take negatives from"
            reason = f"{reason}, or {other}" if lacking else other.replace("none", "no fixations")
        reasons.setdefault(reason, []).append(name)
    return ", ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items())


def format_summary(summary: Summary) -> str:
    """A summary as text: a row a metric, a column a source that has scores, the protocol below."""
    sources = [
        source
        for source, metrics in summary.scores.items()
        if source == "model" or any(one.frames for one in metrics.values())
    ]
    widths = [max(8, len(source)) for source in sources[1:]]
    own_averaging = summary.protocol["averaging"]
    means: tuple[Averaging, ...] = ("frames", "sequences")
    others_of_model = [kind for kind in means if kind != own_averaging]
    # Of sequences that are as long as each other all means are the same.
    same = all(
        _shown(getattr(one, f"over_{kind}")) == _shown(one.value)
        for one in summary.scores["model"].values()
        for kind in others_of_model
    )
    more = [] if same else others_of_model
    head = f"{'':<{TITLE_WIDTH}}{'model':<26}" + "".join(f"{f'over {kind}':<16}" for kind in more)
    head += "  ".join(f"{name:>{width}}" for name, width in zip(sources[1:], widths, strict=True))
    of = summary.sequences + len(summary.skipped) + summary.too_short
    scored = f"{summary.sequences} of " if summary.sequences < of else ""
    lines = [
        f"{summary.source['name']} on {describe_dataset(summary.dataset)}: "
        f"{scored}{count_of(of, 'sequence')}, {count_of(summary.frames, 'frame')}",
        "",
        head.rstrip(),
    ]
    for metric in summary.scores["model"]:
        own = summary.scores["model"][metric]
        span = "" if math.isnan(own.low) else f" [{own.low:.3f}, {own.high:.3f}]"
        arrow = "+" if METRICS[metric].better == "higher" else "-"
        others = [summary.scores[source][metric].value for source in sources[1:]]
        cells = "  ".join(f"{_shown(value):>{width}}" for value, width in zip(others, widths, strict=True))
        again = "".join(f"{_shown(getattr(own, f'over_{kind}')):<16}" for kind in more)
        title = f"{METRICS[metric].title} {arrow}"
        lines.append(f"{title:<{TITLE_WIDTH}}{_shown(own.value) + span:<26}{again}{cells}".rstrip())
    lines += _participants_shown(summary, sources)
    lines += _scenarios_shown(summary)
    lines += ["", "+ higher is better, - lower; in brackets the 95 % interval over sequences"]
    if more:
        shown = " and ".join(f'"over {kind}"' for kind in more)
        lines.append(f"means over {own_averaging}; under {shown} stands the model's mean over those instead")
    else:
        lines.append(
            f"means over {own_averaging}; over {' and '.join(others_of_model)} they are the same for the model"
        )
    undefined = [metric for metric, one in summary.scores["model"].items() if not one.frames]
    if undefined:
        defined = [metric for metric in summary.scores["model"] if metric not in undefined]
        lines.append(f"not available: {why_undefined(summary, undefined, defined=defined)}")
    lines += _fewer(summary, sources)
    lost = _zero_mass(summary)
    if lost > _ZERO_MASS_REPORTED:
        lines.append(
            f"the map is 0 where the recorded density is not in {summary.zero_frames['model']:.1%} of the frames; "
            f"{lost:.1%} of that density lies there in the mean"
        )
    lines += describe_protocol(summary.protocol)
    lines += [f"{name}: {what}" for name, what in summary.baselines.items()]
    if summary.left_out:
        lines.append(
            "frames left out: " + ", ".join(f"{count} {why}" for why, count in sorted(summary.left_out.items()))
        )
    if summary.too_short:
        lines.append(f"sequences without a frame to score under these rules: {summary.too_short}")
    if summary.skipped:
        first, reason = next(iter(summary.skipped.items()))
        which = first if len(summary.skipped) == 1 else f"{_listed(summary.skipped)}; {first}"
        lines.append(f"SKIPPED: {count_of(len(summary.skipped), 'sequence')} could not be scored: {which}: {reason}")
    lines.append(f"vidsal {summary.version}" + (f", commit {summary.commit}" if summary.commit else ""))
    return "\n".join(lines)


_MOST_SHOWN = 30
"""Participants and values of a scenario that are printed; tables have all."""


def _participants_shown(summary: Summary, sources: Sequence[str]) -> list[str]:
    """A row a participant: what their fixations score by the first metric that is a mean over fixations."""
    people = summary.by_participant
    metric = next((name for name in summary.scores["model"] if METRICS[name].at_fixations), None)
    if metric is None or not people:
        return []
    there = [source for source in sources if any(metric in one["scores"].get(source, {}) for one in people.values())]
    if not there:
        return []
    width = max(TITLE_WIDTH, 2 + max(map(len, people)))
    widths = [max(8, len(source)) for source in there]
    head = "  ".join(f"{name:>{wide}}" for name, wide in zip(there, widths, strict=True))
    lines = ["", f"{f'by participant, {METRICS[metric].title}':<{width}}{head}  sequences"]
    for who, one in list(people.items())[:_MOST_SHOWN]:
        values = [one["scores"].get(source, {}).get(metric, math.nan) for source in there]
        cells = "  ".join(f"{_shown(value):>{wide}}" for value, wide in zip(values, widths, strict=True))
        lines.append(f"{who:<{width}}{cells}  {one['sequences']:>9}")
    if len(people) > _MOST_SHOWN:
        lines.append(f"and {len(people) - _MOST_SHOWN} more in the table of participants")
    return lines


def _scenarios_shown(summary: Summary) -> list[str]:
    """A table for each column of the list of trials: the model's means over sequences."""
    lines = []
    asked = {column for columns in summary.trials.values() for column in columns}
    for column, values in summary.by_scenario.items():
        if column not in asked:
            continue
        own = [one["scores"]["model"] for one in values.values()]
        metrics = [name for name in summary.scores["model"] if not all(math.isnan(each[name]) for each in own)][:6]
        width = max(TITLE_WIDTH, 2 + max(map(len, values)))
        widths = [max(8, len(name)) for name in metrics]
        head = "  ".join(f"{name:>{wide}}" for name, wide in zip(metrics, widths, strict=True))
        lines += ["", f"{f'by {column}':<{width}}{head}  sequences"]
        for value, one in list(values.items())[:_MOST_SHOWN]:
            cells = "  ".join(
                f"{_shown(one['scores']['model'][name]):>{wide}}" for name, wide in zip(metrics, widths, strict=True)
            )
            lines.append(f"{value:<{width}}{cells}  {one['sequences']:>9}")
        if len(values) > _MOST_SHOWN:
            lines.append(f"and {len(values) - _MOST_SHOWN} more in the table of scenarios")
    return lines


_ZERO_MASS_REPORTED = 0.001
"""Mean share of the recorded density where the map is 0 that is reported; the tails of maps of 8 bits have less."""


def _zero_mass(summary: Summary) -> float:
    """Mean share of the recorded density that lies where the model's map is 0, over the frames with a density."""
    pairs = [one["zero_mass"] for one in summary.by_sequence.values() if "zero_mass" in one]
    frames = sum(count for _, count in pairs)
    return sum(mean * count for mean, count in pairs if count) / frames if frames else 0.0


def _fewer(summary: Summary, sources: Sequence[str]) -> list[str]:
    """Which metrics rest on fewer sequences or frames than the whole, or a baseline's than the model's."""
    lines = []
    for source in sources:
        there = {metric: one for metric, one in summary.scores[source].items() if one.frames}
        groups: dict[tuple[int, int], list[str]] = {}
        for metric, one in there.items():
            model = summary.scores["model"][metric]
            whole = (summary.sequences, summary.frames) if source == "model" else (model.sequences, model.frames)
            if one.sequences < whole[0] or one.frames < whole[1]:
                groups.setdefault((one.sequences, one.frames), []).append(metric)
        told = [
            f"{'all metrics' if len(metrics) == len(there) else ', '.join(metrics)} from "
            f"{count_of(sequences, 'sequence')}, {count_of(frames, 'frame')}"
            for (sequences, frames), metrics in groups.items()
        ]
        if told:
            lines.append(f"on fewer frames{'' if source == 'model' else f', {source}'}: {'; '.join(told)}")
    return lines


def count_of(number: int, noun: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(names: Mapping[str, str]) -> str:
    shown = list(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _shown(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"
