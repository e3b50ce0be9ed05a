"""The summaries of two evaluations in, the differences on the sequences they share, with intervals, out."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vidsal.errors import ConfigError
from vidsal.evaluate.protocols import Averaging
from vidsal.evaluate.results import (
    TITLE_WIDTH,
    Summary,
    count_of,
    describe_dataset,
    folder_of,
    interval,
    parts_of,
    read_summary,
    resamples,
)
from vidsal.metrics import METRICS

__all__ = [
    "LEVEL",
    "Comparison",
    "Difference",
    "chances_of_pairs",
    "compare",
    "differing_rules",
    "format_comparison",
    "holm",
    "paired_difference",
    "sign_flips",
    "too_few",
]

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """How two results differ by one metric, on the sequences where both have it."""

    first: float
    """Value of the first result on these sequences."""
    second: float
    """Value of the second."""
    difference: float
    """Second less first."""
    low: float
    """Lower end of the 95 % bootstrap interval of the difference; NaN below two sequences."""
    high: float
    """Upper end."""
    better: int
    """Sequences in which the second is better."""
    worse: int
    """Sequences in which the second is worse."""
    effect: float = math.nan
    """Cohen's d_z: the mean of the sequences' differences over their standard deviation; NaN below two sequences, or
    where all differ alike."""
    p: float = math.nan
    """Chance of a difference as large or larger if neither result was better: each sequence's difference takes either
    sign, see `sign_flips`. Where there are participants, the larger of that and `participants_p`: a difference has to
    hold for other sequences and for other people."""
    adjusted_p: float = math.nan
    """`p` after Holm's correction over all metrics that are shown."""
    participants: int = 0
    """Participants whose fixations both results scored; the interval resamples them too. 0: sequences alone."""
    participants_better: int = 0
    """Participants on whose fixations the second is better."""
    participants_worse: int = 0
    """Participants on whose fixations the second is worse."""
    participants_effect: float = math.nan
    """`effect` of the participants' mean differences."""
    participants_p: float = math.nan
    """The test of signs over the participants' mean differences."""

    @property
    def clear(self) -> bool:
        """Whether the difference is significant at 5 % after the correction."""
        return self.adjusted_p < LEVEL


@dataclass(frozen=True)
class Comparison:
    """How two results differ."""

    first: str
    """What the first is of."""
    second: str
    """What the second is of."""
    sequences: int
    """Sequences that both have scored."""
    only_first: int
    """Sequences that only the first has."""
    only_second: int
    """Sequences that only the second has."""
    averaging: str
    """How frames and sequences are averaged."""
    differences: dict[str, Difference]
    """Metric to difference, for those that both have."""
    rules: tuple[str, ...]
    """In which rules the two differ; empty where they may be compared."""
    notes: tuple[str, ...]
    """What else a reader should know."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; what is not defined is None."""
        values = dataclasses.asdict(self)
        for one in values["differences"].values():
            one.update({name: None for name in _MAY_LACK if math.isnan(one[name])})
        return values


LEVEL = 0.05
"""Chance below which a difference counts."""
_MAY_LACK = ("low", "high", "effect", "p", "adjusted_p", "participants_effect", "participants_p")
_ALL_FLIPS = 14
"""Sequences up to which all combinations of signs are looked at."""
_AT_ONCE = 4096
"""Combinations of signs at a time, for memory."""
_BELOW = 20
"""So many times lower than what is beyond chance is the least chance that can be found."""
_LEAST_FLIPS = 1000
"""Combinations of signs that are tried at least where all are too many, however few resamples are asked for."""


def differing_rules(first: Summary, second: Summary) -> list[str]:
    """What keeps two results from being compared, a sentence each."""
    found = []
    shared = set(first.scores["model"]) & set(second.scores["model"])
    no_rules = set(_NO_RULES)
    if not any("baseline" in METRICS[metric].needs for metric in shared if metric in METRICS):
        no_rules.add("information_gain_over")
    for what, one, other in (
        ("data set", first.dataset, second.dataset),
        ("protocol", first.protocol, second.protocol),
    ):
        keys = ("name", "split", "options") if what == "data set" else sorted({*one, *other} - no_rules)
        for key in keys:
            if one.get(key) != other.get(key):
                found.append(f"{what}, {key}: {_short(one.get(key))} against {_short(other.get(key))}")
        if what == "data set" and one.get("name") == other.get("name") == _NAMED_BY_FOLDER:
            folders = folder_of(one), folder_of(other)
            if all(folders) and folders[0] != folders[1]:
                found.append(f"{what}, folder: {folders[0]} against {folders[1]}")
    return found


_NAMED_BY_FOLDER = "simple"
"""The layout that any data may be in: only its folder's name says which they are."""


_NO_RULES = {"source", "differences", "draws", "metrics", "resolution"}
"""Parts of a protocol that do not change a value that both have."""


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def compare(
    first: str | Path | Summary, second: str | Path | Summary, *, force: bool = False, draws: int = 2000, seed: int = 0
) -> Comparison:
    """Compares two results on the sequences that both have scored.

    Each resample draws sequences, and both results are averaged over the same ones; so what makes a sequence hard for
    both does not widen the interval. Where results have the scores of participants, it draws these too, independently
    of the sequences, and each is weighed by how often both were drawn: the bootstrap of two crossed factors (Owen,
    "The pigeonhole bootstrap", Annals of Applied Statistics 2007), which also holds where each sequence has
    participants of its own.

    Args:
        first: `summary.json`, its folder, or what `read_summary` gave.
        second: the same; differences are second less first.
        force: compare also where the rules differ; the first one's averaging is taken.
        draws: resamples.
        seed: of the resamples.

    Raises:
        ConfigError: a file cannot be read, the rules differ and `force` is False, or they share no sequence or metric.
    """
    one, other = (each if isinstance(each, Summary) else read_summary(each) for each in (first, second))
    rules = differing_rules(one, other)
    if rules and not force:
        raise ConfigError(
            f"these two were not made by the same rules ({'; '.join(rules)}): score both alike, or use --force to "
            f"compare them all the same"
        )
    common = [name for name in one.by_sequence if name in other.by_sequence]
    metrics = [name for name in one.scores["model"] if name in other.scores["model"]]
    if not common or not metrics:
        raise ConfigError(
            f"the two share {count_of(len(common), 'sequence')} and {count_of(len(metrics), 'metric')}; "
            f"nothing can be compared"
        )
    notes = [
        f"{count_of(len(each.skipped), 'sequence')} of the {place} could not be scored"
        for place, each in (("first", one), ("second", other))
        if each.skipped
    ]
    uneven = [name for name in common if one.by_sequence[name]["frames"] != other.by_sequence[name]["frames"]]
    if uneven:
        notes.append(
            f"in {count_of(len(uneven), 'sequence')} the two scored different numbers of frames, first in {uneven[0]}"
        )
    if one.version != other.version:
        notes.append(f"made by vidsal {one.version} and {other.version}")
    averaging: Averaging = one.protocol["averaging"]
    differences = {}
    for metric in metrics:
        sides = [_columns(each.by_sequence, common, metric) for each in (one, other)]
        people = _people(one, other, common, metric)
        made = paired_difference(
            *sides,
            averaging=averaging,
            higher=METRICS[metric].better == "higher",
            draws=draws,
            seed=seed,
            people=people if people.shape[1] > 1 else None,
        )
        if made is not None:
            differences[metric] = made
    differences = _corrected(differences)
    notes += too_few(len(common), len(differences), "sequence")
    persons = max((each.participants for each in differences.values()), default=0)
    if persons and len(common) > 1:
        notes += too_few(persons, len(differences), "participant")
    return Comparison(
        first=_title(one),
        second=_title(other),
        sequences=len(common),
        only_first=len(one.by_sequence) - len(common),
        only_second=len(other.by_sequence) - len(common),
        averaging=averaging,
        differences=differences,
        rules=tuple(rules),
        notes=tuple(notes),
    )


def _corrected(differences: dict[str, Difference]) -> dict[str, Difference]:
    adjusted = holm({name: one.p for name, one in differences.items()})
    return {name: dataclasses.replace(one, adjusted_p=adjusted[name]) for name, one in differences.items()}


_Key = TypeVar("_Key")


def holm(chances: Mapping[_Key, float]) -> dict[_Key, float]:
    """Chances corrected for being looked at together, by Holm's step-down procedure (Scandinavian Journal of Statistics
    1979): the k-th smallest of m times m - k + 1, at most 1, and never falling. NaN is not counted, and stays.

    Example:
        >>> holm({"a": 0.04, "b": 0.01, "c": 0.5, "d": math.nan})
        {'a': 0.08, 'b': 0.03, 'c': 0.5, 'd': nan}
    """
    known = sorted((p, place) for place, p in enumerate(chances.values()) if not math.isnan(p))
    adjusted = [math.nan] * len(chances)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = adjusted[place] = max(highest, min(1.0, p * (len(known) - rank)))
    return dict(zip(chances, adjusted, strict=True))


def too_few(count: int, tests: int, what: str, *, of: str = "metric") -> list[str]:
    """A warning where not even sequences, or participants, that all agree could make a difference count."""
    if count < 2:
        return [f"{count_of(count, what)} supports no conclusion: there is nothing to compare it with"]
    needed = math.ceil(math.log2(2 * max(tests, 1) / LEVEL))
    if count >= needed:
        return []
    least = 2.0 ** (1 - count)
    return [
        f"{count} {what}s support no conclusion: even if all agreed, p would be {least:.2g} before correction "
        f"for {count_of(tests, of)}; at least {needed} {what}s are needed"
    ]


def sign_flips(differences: _Floats, *, draws: int, seed: int) -> float:
    """The chance that the mean of N differences is as far from 0 or farther if each may as well have the other sign.

    All 2^N combinations up to 14 differences, else `draws` of them, the observed one among them (Fisher's permutation
    test for pairs). The least that N differences can give is 2^(1 - N).

    Args:
        differences: (N,), weighted where sequences do not count alike.
        draws: combinations where all are too many.
        seed: of these.

    Returns:
        Two-sided; NaN without a difference.

    Example:
        >>> sign_flips(np.array([1.0, 2.0, 3.0]), draws=100, seed=0)
        0.25
    """
    if len(differences) == 0:
        return math.nan
    return float(_flips(differences[:, None], draws=draws, seed=seed)[0])


def _flips(differences: _Floats, *, draws: int, seed: int) -> _Floats:
    """`sign_flips` of each of K columns of (N, K): the same signs for all."""
    count = len(differences)
    some: Iterable[_Floats]
    if count <= _ALL_FLIPS:
        some = [np.where((np.arange(2**count)[:, None] >> np.arange(count)) & 1, -1.0, 1.0)]
        observed, total = 0, 2**count
    else:
        random = np.random.default_rng(seed)
        sizes = [min(_AT_ONCE, draws - 1 - done) for done in range(0, draws - 1, _AT_ONCE)]
        some = (random.choice([-1.0, 1.0], (size, count)) for size in sizes)
        observed, total = 1, draws
    found: _Floats = (observed + _at_least(some, differences)) / total
    return found


def _enough_flips(draws: int, *, tests: int = 0) -> int:
    """Combinations of signs to try beside so many resamples, where all are too many.

    The least that a chance can be, one in so many, is to be far below the level even after the correction for `tests`.
    """
    return max(draws, _LEAST_FLIPS, math.ceil(_BELOW * tests / LEVEL))


def _at_least(signs: Iterable[_Floats], differences: _Floats) -> _Floats:
    """How many of the rows of `signs` give each column of `differences` a sum as far from 0 as its own."""
    # Sums in another order differ by rounding.
    own = np.abs(differences.sum(axis=0)) * (1 - 1e-9)
    found: _Floats = np.sum([(np.abs(part @ differences) >= own).sum(axis=0) for part in signs], axis=0)
    return found


_Columns = tuple[_Floats, _Floats, _Floats]
"""Mean of the defined scores, how many these are, and the frames scored, of each sequence."""


def _columns(by_sequence: Mapping[str, dict[str, Any]], names: list[str], metric: str) -> _Columns:
    means, counts = np.array([by_sequence[name]["scores"][metric] for name in names], np.float64).T
    return means, counts, np.array([by_sequence[name]["frames"] for name in names], np.float64)


def _people(one: Summary, other: Summary, names: list[str], metric: str) -> _Floats:
    """(N, P) second less first on the fixations of each participant of each sequence; NaN where one lacks it."""
    first, second = _of_people([one.by_sequence, other.by_sequence], names, metric)
    apart = second - first
    return apart[:, np.isfinite(apart).any(axis=0)]


def _of_people(results: Sequence[Mapping[str, dict[str, Any]]], names: list[str], metric: str) -> list[_Floats]:
    """(N, P) of each result: the mean on the fixations of each participant of each sequence; NaN where it lacks it."""
    looked = [
        [each[name].get("participants", {}) if METRICS[metric].at_fixations else {} for name in names]
        for each in results
    ]
    everybody = sorted({who for of_sequence in looked[0] for who in of_sequence})

    def mean(of_sequence: Mapping[str, Any], who: str) -> float:
        value, frames = of_sequence.get(who, {}).get(metric, (math.nan, 0))
        return value if frames and math.isfinite(value) else math.nan

    return [
        np.array([[mean(each, who) for who in everybody] for each in of_result], np.float64).reshape(
            len(names), len(everybody)
        )
        for of_result in looked
    ]


def chances_of_pairs(
    results: Sequence[Mapping[str, dict[str, Any]]],
    names: Sequence[str],
    metric: str,
    *,
    averaging: Averaging,
    draws: int,
    seed: int,
) -> dict[tuple[int, int], float]:
    """For each two of several results the chance of as large a difference if neither was better.

    As `Difference.p`, of all pairs at once: sequences that one of a pair lacks count for nothing.

    Args:
        results: `Summary.by_sequence` of each.
        names: sequences that all have.
        metric: that all have.
        averaging: how sequences are put together.
        draws: combinations of signs where all are too many; more are taken where there are many pairs, since else
            none could be beyond chance after the correction.
        seed: of these.

    Returns:
        Places of the two, rising, to the chance; NaN where no sequence has both. Not corrected, see `holm`.
    """
    columns = [_columns(each, list(names), metric) for each in results]
    known = [(counts > 0) & np.isfinite(means) for means, counts, _ in columns]
    weights = [parts_of(counts, counts, frames, averaging)[1] for _, counts, frames in columns]
    pairs = list(itertools.combinations(range(len(results)), 2))
    if not pairs:
        return {}
    draws = _enough_flips(draws, tests=len(pairs))
    both = np.stack([known[i] & known[j] for i, j in pairs], axis=1)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        apart = np.stack([(columns[j][0] - columns[i][0]) * weights[i] for i, j in pairs], axis=1)
    found = np.where(both.any(axis=0), _flips(np.where(both, apart, 0.0), draws=draws, seed=seed), np.nan)
    people = _of_people(results, list(names), metric)
    if people[0].shape[1] > 1:
        for place, (i, j) in enumerate(pairs):
            of_both = (people[j] - people[i])[both[:, place]]
            there = np.isfinite(of_both)
            if there.any():
                own, _ = _own_of_people(of_both, weights[i][both[:, place]])
                found[place] = max(found[place], sign_flips(own, draws=draws, seed=seed + 1))
    return dict(zip(pairs, found.tolist(), strict=True))


def _own_of_people(people: _Floats, weights: _Floats) -> tuple[_Floats, _Floats]:
    """Of (N, P) differences the mean of each participant who has any, over weighted sequences; and those (N, Q)."""
    people = people[:, np.isfinite(people).any(axis=0)]
    share = weights[:, None] * np.isfinite(people)
    own: _Floats = (share * np.nan_to_num(people)).sum(axis=0) / share.sum(axis=0)
    return own, people


def paired_difference(
    first: _Columns,
    second: _Columns,
    *,
    averaging: Averaging,
    higher: bool,
    draws: int,
    seed: int,
    people: _Floats | None = None,
) -> Difference | None:
    """The difference of one metric over N sequences.

    Args:
        first: (N,) means of the defined scores, how many these are, and frames scored.
        second: the same.
        averaging: how sequences are put together.
        higher: whether higher is better.
        draws: resamples.
        seed: of the resamples.
        people: (N, P), the difference on the fixations of each participant, NaN where they did not look; None: they are
            not known.

    Returns:
        The difference on the sequences where both are defined; None where there is none.

    Example:
        >>> ones = np.ones(3)
        >>> first, second = np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.3, 0.2])
        >>> made = paired_difference(
        ...     (first, ones, ones), (second, ones, ones), averaging="sequences", higher=True, draws=100, seed=0
        ... )
        >>> round(made.difference, 4), made.better, made.worse
        (0.0333, 2, 1)
    """
    both = (first[1] > 0) & (second[1] > 0) & np.isfinite(first[0]) & np.isfinite(second[0])
    if not both.any():
        return None
    sides = []
    drawn = resamples(int(both.sum()), draws=draws, seed=seed)
    for means, counts, frames in ((column[both] for column in side) for side in (first, second)):
        above, below = parts_of(means * counts, counts, frames, averaging)
        resampled = np.divide(drawn @ above, drawn @ below, out=np.full(draws, np.nan), where=drawn @ below > 0)
        sides.append((float(above.sum() / below.sum()), resampled))
    (one, ones), (other, others) = sides
    low, high = interval(others - ones) if both.sum() > 1 else (math.nan, math.nan)
    apart = (second[0] - first[0])[both]
    gains = apart * (1 if higher else -1)
    spread = float(apart.std(ddof=1)) if len(apart) > 1 else 0.0
    weights = parts_of(first[1][both], first[1][both], first[2][both], averaging)[1]
    made = Difference(
        first=one,
        second=other,
        difference=other - one,
        low=low,
        high=high,
        better=int((gains > 0).sum()),
        worse=int((gains < 0).sum()),
        effect=float(apart.mean()) / spread if spread > 0 else math.nan,
        p=sign_flips(apart * weights, draws=_enough_flips(draws), seed=seed),
    )
    if people is None or not np.isfinite(people[both]).any():
        return made
    return _with_people(made, people[both], weights, drawn, higher=higher, seed=seed)


def _with_people(
    made: Difference, people: _Floats, weights: _Floats, drawn: _Floats, *, higher: bool, seed: int
) -> Difference:
    """The same with what N sequences and P participants say; both are resampled, independently of each other."""
    own, people = _own_of_people(people, weights)
    there = np.isfinite(people).astype(np.float64)
    known = np.nan_to_num(people)
    draws = len(drawn)
    of_people = resamples(people.shape[1], draws=draws, seed=seed + 1)

    def averaged(sequences: _Floats, participants: _Floats) -> _Floats:
        """(draws,) the mean over sequences of the mean over the participants of each, so often each."""
        above, below = participants @ known.T, participants @ there.T
        some = below > 0
        means = np.divide(above, below, out=np.zeros_like(above), where=some)
        share = sequences * weights * some
        total = share.sum(axis=1)
        found: _Floats = np.divide((share * means).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)
        return found

    ones = np.ones((1, len(people))), np.ones((1, people.shape[1]))
    # Everybody counts alike here, and by their fixations in the difference itself: the interval is laid around that.
    shift = made.difference - float(averaged(*ones)[0])
    low, high = interval(averaged(drawn, of_people) + shift) if len(people) > 1 else (math.nan, math.nan)
    gains = own * (1 if higher else -1)
    spread = float(own.std(ddof=1)) if len(own) > 1 else 0.0
    p = sign_flips(own, draws=_enough_flips(draws), seed=seed + 1)
    return dataclasses.replace(
        made,
        low=low,
        high=high,
        p=max(made.p, p),
        participants=len(own),
        participants_better=int((gains > 0).sum()),
        participants_worse=int((gains < 0).sum()),
        participants_effect=float(own.mean()) / spread if spread > 0 else math.nan,
        participants_p=p,
    )


def _title(summary: Summary) -> str:
    return f"{summary.source['name']} on {describe_dataset(summary.dataset)}"


def _short_number(value: float, form: str) -> str:
    return "n/a" if math.isnan(value) else format(value, form)


def format_comparison(comparison: Comparison) -> str:
    """A comparison as text."""
    with_people = [metric for metric, one in comparison.differences.items() if one.participants]
    lines = [
        f"A: {comparison.first}",
        f"B: {comparison.second}",
        f"{count_of(comparison.sequences, 'sequence')} in both, {comparison.only_first} only in A, "
        f"{comparison.only_second} only in B",
        "",
        f"{'':<{TITLE_WIDTH}}{'A':>9}{'B':>9}{'B - A':>9}  {'95 % interval':<20}{'d':>6}{'p':>8}  {'B better in':<16}"
        f"{'for participants' if with_people else ''}".rstrip(),
    ]
    for metric, one in comparison.differences.items():
        title = f"{METRICS[metric].title} {'+' if METRICS[metric].better == 'higher' else '-'}"
        span = "n/a" if math.isnan(one.low) else f"[{one.low:+.4f}, {one.high:+.4f}]"
        verdict = ""
        if one.clear:
            gains = (one.difference > 0) == (METRICS[metric].better == "higher")
            verdict = "B is better" if gains else "A is better"
        of, persons = one.better + one.worse, one.participants_better + one.participants_worse
        people = f"{one.participants_better} of {persons}" if one.participants else ""
        lines.append(
            f"{title:<{TITLE_WIDTH}}{one.first:>9.4f}{one.second:>9.4f}{one.difference:>+9.4f}  {span:<20}"
            f"{_short_number(one.effect, '+.2f'):>6}{_short_number(one.adjusted_p, '.3f'):>8}"
            f"  {f'{one.better} of {of}':<16}{f'{people:<18}' if with_people else ''}{verdict}".rstrip()
        )
    lines += [
        "",
        f"+ higher is better, - lower; averaged over {comparison.averaging}, resampled in pairs",
        "d: Cohen's d_z of the sequences' differences; p: test of their signs, corrected for all these metrics (Holm);",
        "below .05 a side is called better",
    ]
    if with_people:
        other = [metric for metric in comparison.differences if metric not in with_people]
        lines.append(
            "where participants stand, they are resampled too, and p is the larger of the tests over sequences and "
            "over participants"
        )
        if other:
            lines.append(f"over sequences alone: {', '.join(other)} (no means over fixations)")
    lines += [f"RULES DIFFER: {rule}" for rule in comparison.rules]
    lines += [f"note: {note}" for note in comparison.notes]
    return "\n".join(lines)
