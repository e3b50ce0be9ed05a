"""Means, intervals and comparisons, against numbers worked out by hand and what their definitions promise."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidsal.cli import main
from vidsal.errors import ConfigError
from vidsal.evaluate import Summary, compare, comparison, format_comparison, format_summary, read_summary
from vidsal.evaluate.comparison import differing_rules, paired_difference, sign_flips
from vidsal.evaluate.protocols import find_protocol
from vidsal.evaluate.results import (
    Estimate,
    SequenceScores,
    estimates,
    interval,
    parts_of,
    resamples,
    summarise,
    write_summary,
    write_tables,
)
from vidsal.metrics import METRICS

NAN = math.nan


def sequence(
    name: str, values: list[float], *, metric: str = "cc", attributes: dict[str, str] | None = None
) -> SequenceScores:
    count = len(values)
    return SequenceScores(
        name=name,
        frames=count + 1,
        metrics=(metric,),
        sources=("model",),
        attributes=attributes or {},
        index=np.arange(count),
        frame=np.array([f"{k}.png" for k in range(count)], np.str_),
        pts_seconds=np.arange(count) / 25,
        attention=np.array([""] * count, np.str_),
        scores=np.array(values, np.float64).reshape(1, count, 1),
        zero_mass=np.zeros((1, count)),
    )


LONG = sequence("long", [0.2, 0.4, NAN, 0.6])
SHORT = sequence("short", [0.9])


@pytest.mark.parametrize(
    ("averaging", "expected"),
    [
        ("frames", (0.2 + 0.4 + 0.6 + 0.9) / 4),
        ("sequences", (0.4 + 0.9) / 2),
        ("sequences-by-frames", (4 * 0.4 + 1 * 0.9) / 5),  # four frames were scored, one of them is undefined
    ],
)
def test_each_average_is_the_one_worked_out_by_hand(averaging: Any, expected: float) -> None:
    scores, _, by_sequence = summarise([LONG, SHORT], averaging=averaging, draws=50, seed=0)
    one = scores["model"]["cc"]
    assert one.value == pytest.approx(expected)
    assert one.over_frames == pytest.approx(2.1 / 4) and one.over_sequences == pytest.approx(0.65)
    assert (one.frames, one.sequences) == (4, 2)
    assert by_sequence["long"] == {
        "frames": 4,
        "scores": {"cc": (pytest.approx(0.4), 3)},
        "zero_mass": (0.0, 4),
        "participants": {},
    }


def test_a_sequence_in_which_nothing_is_defined_has_no_say() -> None:
    nothing = sequence("nothing", [NAN, NAN])
    for averaging in ("frames", "sequences", "sequences-by-frames"):
        alone, _, _ = summarise([SHORT], averaging=averaging, draws=10, seed=0)
        both, _, _ = summarise([SHORT, nothing], averaging=averaging, draws=10, seed=0)
        assert both["model"]["cc"].value == alone["model"]["cc"].value == 0.9
        assert both["model"]["cc"].sequences == 1
    none, _, _ = summarise([nothing], averaging="frames", draws=10, seed=0)
    assert math.isnan(none["model"]["cc"].value)


def test_an_infinite_score_is_not_hidden_in_the_mean() -> None:
    scores, _, _ = summarise([LONG, sequence("x", [-math.inf])], averaging="sequences", draws=50, seed=0)
    one = scores["model"]["cc"]
    assert one.value == -math.inf and math.isnan(one.low)


def test_resamples_draw_as_many_as_there_are() -> None:
    drawn = resamples(7, draws=400, seed=1)
    assert drawn.shape == (400, 7) and (drawn.sum(axis=1) == 7).all() and (drawn >= 0).all()
    np.testing.assert_array_equal(drawn, resamples(7, draws=400, seed=1))
    assert (drawn != resamples(7, draws=400, seed=2)).any()
    # Each is drawn once on average.
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.25)


def test_the_interval_is_that_of_all_resamples_there_are() -> None:
    values = np.array([0.0, 1.0, 2.0, 5.0, 9.0])
    every = [np.mean(pick) for pick in itertools.product(values, repeat=5)]
    low, high = np.percentile(every, [2.5, 97.5])
    ones = np.ones(5)
    one = estimates(values, ones, ones, averaging="sequences", drawn=resamples(5, draws=40_000, seed=0))
    assert (one.low, one.high) == (pytest.approx(low, abs=0.2), pytest.approx(high, abs=0.2))


def test_the_interval_of_many_sequences_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.2, 400)
    ones = np.ones(400)
    one = estimates(values, ones, ones, averaging="sequences", drawn=resamples(400, draws=3000, seed=0))
    half = 1.96 * values.std() / np.sqrt(400)
    assert one.low == pytest.approx(one.value - half, abs=0.15 * half)
    assert one.high == pytest.approx(one.value + half, abs=0.15 * half)


def test_one_sequence_has_no_interval() -> None:
    scores, _, _ = summarise([LONG], averaging="sequences", draws=50, seed=0)
    assert math.isnan(scores["model"]["cc"].low) and math.isnan(scores["model"]["cc"].high)
    assert all(math.isnan(end) for end in interval(np.array([NAN, NAN, 1.0])))


def test_frames_with_density_where_the_map_is_zero_are_counted() -> None:
    touched = dataclasses.replace(LONG, zero_mass=np.array([[0.0, 0.3, NAN, 0.01]]))
    _, zero, by_sequence = summarise([touched, SHORT], averaging="frames", draws=10, seed=0)
    assert zero == {"model": pytest.approx(2 / 5)}
    assert by_sequence["long"]["zero_mass"] == (pytest.approx(0.31 / 3), 3)


def test_scores_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="scores must be"):
        dataclasses.replace(LONG, scores=np.zeros((1, 3, 1)))


def test_scenarios_are_averaged_over_their_own_sequences(tmp_path: Path) -> None:
    wet = dataclasses.replace(LONG, attributes={"weather": "Rainy"})
    dry = dataclasses.replace(SHORT, attributes={"weather": "Sunny"})
    also = sequence("also", [0.1], attributes={"weather": "Rainy"})
    write_tables(tmp_path, [wet, dry, also], kind="csv")
    lines = (tmp_path / "scenarios.csv").read_text().splitlines()
    assert lines[0] == "scenario,value,source,sequences,frames,cc_over_frames,cc_over_sequences"
    assert lines[1].split(",")[:5] == ["weather", "Rainy", "model", "2", "5"]
    assert [float(word) for word in lines[1].split(",")[5:]] == [pytest.approx(1.3 / 4), pytest.approx(0.25)]


# Two results.

DATA = {"name": "simple", "split": "val", "root": "sets/a", "options": {}, "sequences": 2, "published": None}


def result(values: dict[str, list[float]], *, metric: str = "cc", **changed: Any) -> Summary:
    sequences = [sequence(name, each, metric=metric) for name, each in values.items()]
    averaging = changed.pop("averaging", "sequences")
    scores, zero, by_sequence = summarise(sequences, averaging=averaging, draws=20, seed=0)
    protocol = {"name": "vidsal", "averaging": averaging, "bits": None, "seed": 0, "source": "x", "metrics": [metric]}
    facts: dict[str, Any] = {
        "version": "1",
        "commit": "",
        "key": "k",
        "dataset": DATA,
        "protocol": protocol | changed.pop("protocol", {}),
        "source": {"kind": "model", "name": "m"},
        "baselines": {},
        "sequences": len(sequences),
        "frames": 1,
        "left_out": {},
        "skipped": {},
        "too_short": 0,
        "scores": scores,
        "zero_frames": zero,
        "by_sequence": by_sequence,
    }
    return Summary(**(facts | changed))


FIRST = {"a": [0.1, 0.3], "b": [0.5], "c": [0.4], "d": [0.7]}
SECOND = {"a": [0.3, 0.5], "b": [0.6], "c": [0.35], "e": [0.9]}


def test_differences_are_taken_in_pairs_on_what_both_have() -> None:
    made = compare(result(FIRST), result(SECOND))
    one = made.differences["cc"]
    # On a, b, c: 0.2, 0.5, 0.4 against 0.4, 0.6, 0.35.
    assert one.first == pytest.approx(1.1 / 3) and one.second == pytest.approx(1.35 / 3)
    assert one.difference == pytest.approx(0.25 / 3)
    assert (one.better, one.worse) == (2, 1)
    assert (made.sequences, made.only_first, made.only_second) == (3, 1, 1)
    # The three pairs differ by .2, .1 and -.05: all resamples lie between, and both ends are reached.
    assert (one.low, one.high) == (pytest.approx(-0.05), pytest.approx(0.2)) and not one.clear


def test_lower_is_better_where_the_metric_says_so() -> None:
    made = compare(result(FIRST, metric="kl"), result(SECOND, metric="kl"))
    assert (made.differences["kl"].better, made.differences["kl"].worse) == (1, 2)


def test_frames_weigh_as_the_protocol_says() -> None:
    made = compare(result(FIRST, averaging="frames"), result(SECOND, averaging="frames"))
    assert made.differences["cc"].first == pytest.approx((0.1 + 0.3 + 0.5 + 0.4) / 4)


def test_pairs_tell_what_two_separate_intervals_do_not() -> None:
    rng = np.random.default_rng(3)
    hard = rng.normal(0.5, 0.2, 60)
    first = {str(k): [float(value)] for k, value in enumerate(hard)}
    second = {name: [value[0] + 0.02 + rng.normal(0, 0.01)] for name, value in first.items()}
    one, other = result(first), result(second)
    a, b = one.scores["model"]["cc"], other.scores["model"]["cc"]
    assert a.high > b.low  # they overlap
    made = compare(one, other).differences["cc"]
    assert made.clear and made.low > 0.015 and made.high < 0.025
    # And what does not differ is not called different.
    noise = {name: [value[0] + rng.normal(0, 0.01)] for name, value in first.items()}
    assert not compare(one, result(noise)).differences["cc"].clear


def test_three_sequences_that_agree_support_no_conclusion() -> None:
    first = {name: [0.1, 0.2] for name in "abc"}
    second = {name: [0.5, 0.6 + 0.01 * k] for k, name in enumerate("abc")}
    made = compare(result(first), result(second))
    one = made.differences["cc"]
    assert one.low > 0 and one.p == one.adjusted_p == 0.25 and not one.clear
    text = format_comparison(made)
    assert "B is better" not in text and "3 sequences support no conclusion" in text and "at least 6 sequences" in text
    assert one.effect == pytest.approx(0.405 / 0.005)


def test_six_sequences_that_agree_do_for_one_metric() -> None:
    first = {name: [0.1] for name in "abcdef"}
    second = {name: [0.5 + 0.01 * k] for k, name in enumerate("abcdef")}
    made = compare(result(first), result(second))
    assert made.differences["cc"].p == 2 / 2**6 and made.differences["cc"].clear
    assert not made.notes and "B is better" in format_comparison(made)


def test_chances_are_corrected_for_all_metrics_in_their_order() -> None:
    def one(p: float) -> comparison.Difference:
        return comparison.Difference(0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, p=p)

    made = comparison._corrected({"a": one(0.01), "b": one(NAN), "c": one(0.04), "d": one(0.03)})
    # Three known: 3 x .01, 2 x .03, and the largest takes no less than the one before it.
    assert [made[name].adjusted_p for name in "acd"] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(made["b"].adjusted_p) and not made["b"].clear


def test_the_signs_of_many_sequences_are_drawn_and_agree_with_all_combinations() -> None:
    rng = np.random.default_rng(0)
    few = rng.normal(0.4, 1, 14)
    exact = np.mean(
        [abs(few @ np.array(signs)) >= abs(few.sum()) - 1e-9 for signs in itertools.product((1, -1), repeat=14)]
    )
    assert sign_flips(few, draws=1, seed=0) == pytest.approx(exact)
    many = np.append(few, [1e-12] * 6)
    assert sign_flips(many, draws=20000, seed=1) == pytest.approx(exact, abs=0.015)
    assert math.isnan(sign_flips(np.array([]), draws=10, seed=0))
    assert sign_flips(np.zeros(5), draws=10, seed=0) == 1.0


def with_people(values: dict[str, dict[str, float]], *, metric: str = "nss") -> Summary:
    """A result of sequences in which each participant has one score on one frame, and the sequence their mean."""
    sequences = [
        dataclasses.replace(
            sequence(name, [float(np.mean(list(own.values())))], metric=metric),
            participants=tuple(own),
            participant_scores=np.array(list(own.values()))[None, :, None],
            participant_frames=np.ones((1, len(own), 1), np.int64),
        )
        for name, own in values.items()
    ]
    scores, zero, by_sequence = summarise(sequences, averaging="sequences", draws=20, seed=0)
    plain = result({name: [0.0] for name in values}, metric=metric)
    return dataclasses.replace(plain, scores=scores, zero_frames=zero, by_sequence=by_sequence)


def study(apart: np.ndarray) -> tuple[Summary, Summary]:
    """Two results of N sequences and P participants that differ by (N, P)."""
    names, people = [f"s{n}" for n in range(len(apart))], [f"p{p}" for p in range(apart.shape[1])]
    first = {name: dict.fromkeys(people, 1.0) for name in names}
    second = {name: dict(zip(people, (1 + row).tolist(), strict=True)) for name, row in zip(names, apart, strict=True)}
    return with_people(first), with_people(second)


def test_intervals_over_sequences_and_participants_hold_the_truth_where_those_over_sequences_alone_do_not() -> None:
    rng = np.random.default_rng(4)
    held = alone = 0
    for _ in range(60):
        apart = (
            0.3 + rng.normal(0, 0.1, (10, 1)) + rng.normal(0, 0.5, (1, 8)) + rng.normal(0, 0.2, (10, 8))
        )  # people differ more than sequences
        one, other = study(apart)
        made = compare(one, other, draws=300).differences["nss"]
        assert made.difference == pytest.approx(apart.mean()) and made.participants == 8
        held += made.low <= 0.3 <= made.high
        ones = np.ones(10)
        plain = paired_difference(
            (ones, ones, ones),
            (1 + apart.mean(axis=1), ones, ones),
            averaging="sequences",
            higher=True,
            draws=300,
            seed=0,
        )
        assert plain is not None
        alone += plain.low <= 0.3 <= plain.high
    assert held >= 51 and alone <= 40  # of 60


def test_a_difference_has_to_hold_for_sequences_and_for_people() -> None:
    few_people = np.tile([[0.4, 0.41, 0.39]], (12, 1)) + np.linspace(0, 0.01, 12)[:, None]
    made = compare(*study(few_people))
    one = made.differences["nss"]
    assert one.participants_p == 0.25 == one.p and not one.clear  # 2 of the 8 signs of three people
    assert any("3 participants support no conclusion" in note and "at least 6" in note for note in made.notes)
    many = compare(*study(np.tile(few_people, 3) + np.linspace(0, 0.01, 9))).differences["nss"]
    assert many.clear and many.p == max(2 / 2**9, many.participants_p) and many.participants_better == 9
    text = format_comparison(compare(*study(np.tile(few_people, 3))))
    assert "for participants" in text and "9 of 9" in text and "B is better" in text
    # One person who looks elsewhere decides nothing for the others.
    assert compare(*study(np.tile([[3.0, -0.1, -0.1, -0.1, 0.0, 0.0, -0.1]], (12, 1)))).differences["nss"].p > 0.5


def test_people_who_each_saw_one_sequence_only_are_compared_too() -> None:
    first = {f"s{n}": {f"p{n}{k}": 1.0 for k in "abc"} for n in range(6)}
    second = {name: {who: 1.2 + 0.01 * k for k, who in enumerate(own)} for name, own in first.items()}
    made = compare(with_people(first), with_people(second)).differences["nss"]
    assert made.participants == 18 and made.low <= made.difference <= made.high
    assert made.participants_effect == pytest.approx(0.21 / np.std([0.2, 0.21, 0.22] * 6, ddof=1))


def test_without_a_participant_of_both_only_sequences_are_compared() -> None:
    one, _ = study(np.zeros((3, 4)))
    other = with_people({name: {"stranger": 2.0} for name in ("s0", "s1", "s2")})
    made = compare(one, other).differences["nss"]
    assert made.participants == 0 and math.isnan(made.participants_p) and made.difference == 1
    assert compare(one, other).as_dict()["differences"]["nss"]["participants_p"] is None
    assert "participants" not in format_comparison(compare(one, other))


def test_undefined_and_infinite_sequences_are_left_out_of_the_pairs() -> None:
    ones = np.ones(4)
    first = np.array([0.0, NAN, 0.2, -math.inf])
    counts = np.array([1.0, 0.0, 1.0, 1.0])
    made = paired_difference(
        (first, counts, ones), (np.full(4, 0.5), ones, ones), averaging="sequences", higher=True, draws=10, seed=0
    )
    assert made is not None and made.difference == pytest.approx(0.4)
    nothing = np.zeros(4)
    assert (
        paired_difference((first, nothing, ones), (first, ones, ones), averaging="frames", higher=True, draws=9, seed=0)
        is None
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"protocol": {"bits": 8}}, "protocol, bits: None against 8"),
        ({"protocol": {"name": "dhf1k"}}, "protocol, name: vidsal against dhf1k"),
        ({"dataset": DATA | {"name": "osie"}}, "data set, name: simple against osie"),
        ({"dataset": DATA | {"split": "all"}}, "data set, split: val against all"),
        ({"dataset": DATA | {"options": {"condition": "d"}}}, "data set, options"),
        ({"dataset": DATA | {"root": "sets/b"}}, "data set, folder: a against b"),
    ],
)
def test_results_of_different_rules_are_refused_unless_forced(changed: dict[str, Any], told: str) -> None:
    one, other = result(FIRST), result(SECOND, **changed)
    with pytest.raises(ConfigError, match="same rules") as raised:
        compare(one, other)
    assert told in str(raised.value) and "--force" in str(raised.value)
    made = compare(one, other, force=True)
    assert told in " ".join(made.rules) and f"RULES DIFFER: {made.rules[0]}" in format_comparison(made)


def test_where_the_folder_lies_and_which_metrics_were_asked_for_are_no_rules() -> None:
    other = result(SECOND, protocol={"metrics": ["cc", "nss"], "source": "y"})
    moved = dataclasses.replace(other, dataset=DATA | {"root": "elsewhere/a", "sequences": 9})
    assert differing_rules(result(FIRST), moved) == []


def test_only_the_folder_of_a_simple_set_is_a_rule() -> None:
    one, other = (result(FIRST, dataset=DATA | {"name": "osie", "root": root}) for root in ("x/osie", "y/copy"))
    assert differing_rules(one, other) == []


def test_folders_are_named_where_they_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    here = result(FIRST, dataset=DATA | {"root": "."})
    assert printed(here)[0].startswith("m on simple, mine (val): ")
    write_summary(tmp_path / "new.json", here)
    # A result of an earlier version: no folder, no zero_mass.
    values = json.loads((tmp_path / "new.json").read_text())
    del values["dataset"]["folder"]
    for one in values["by_sequence"].values():
        del one["zero_mass"]
    (tmp_path / "old.json").write_text(json.dumps(values))
    monkeypatch.chdir(tmp_path)
    assert "folder: a against mine" in differing_rules(result(FIRST), read_summary("new.json"))[0]
    old = read_summary("old.json")
    assert differing_rules(result(FIRST), old) == [] and compare(old, result(SECOND)).first == "m on simple (val)"
    assert compare(result(FIRST), old).first == "m on simple, a (val)"


@pytest.mark.parametrize(("metrics", "rules"), [(("cc", "information_gain"), 0), (("information_gain",) * 2, 1)])
def test_what_gain_is_measured_over_is_a_rule_only_if_both_have_a_gain(metrics: tuple[str, str], rules: int) -> None:
    one, other = (
        result(FIRST, metric=metric, protocol={"information_gain_over": over})
        for metric, over in zip(metrics, ("not used", "the mean"), strict=True)
    )
    assert len(differing_rules(one, other)) == rules


def test_results_that_share_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="share 0 sequences"):
        compare(result(FIRST), result({"z": [1.0]}))
    with pytest.raises(ConfigError, match="0 metrics"):
        compare(result(FIRST), result(SECOND, metric="nss"))


def test_what_a_reader_should_know_is_noted() -> None:
    other = result(SECOND | {"a": [0.4]}, skipped={"q": "no"}, version="2")
    notes = " ".join(compare(result(FIRST), other).notes)
    assert "1 sequence of the second" in notes and "first in a" in notes and "1 and 2" in notes


def test_a_summary_survives_being_written_and_read(tmp_path: Path) -> None:
    one = result({"a": [0.5, NAN], "b": [NAN], "c": [-math.inf]})
    write_summary(tmp_path / "summary.json", one)
    json.loads((tmp_path / "summary.json").read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    back = read_summary(tmp_path)
    assert back.scores["model"]["cc"].value == -math.inf and math.isnan(back.scores["model"]["cc"].low)
    assert back.by_sequence["c"]["scores"]["cc"] == (-math.inf, 1)
    assert math.isnan(back.by_sequence["b"]["scores"]["cc"][0])
    assert isinstance(back.scores["model"]["cc"], Estimate)


def printed(one: Summary) -> list[str]:
    rules = dataclasses.asdict(find_protocol("vidsal"))
    rules |= {
        "averaging": one.protocol["averaging"],
        "draws": 9,
        "resolution": "r",
        "information_gain_over": "o",
        "epsilons": {},
    }
    return format_summary(dataclasses.replace(one, protocol=rules)).splitlines()


@pytest.mark.parametrize("metric", METRICS)
def test_the_sign_of_what_is_better_never_touches_the_number(metric: str) -> None:
    title, sign = METRICS[metric].title, "+" if METRICS[metric].better == "higher" else "-"
    (row,) = (line for line in printed(result({"a": [0.0]}, metric=metric)) if line.startswith(title + " "))
    assert row.split()[-2:] == [sign, "0.000"]
    compared = format_comparison(compare(result(FIRST, metric=metric), result(SECOND, metric=metric))).splitlines()
    assert any(line.startswith(f"{title} {sign}  ") for line in compared)


def of_sources(scores: dict[str, list[list[list[float]]]], metrics: tuple[str, ...], **changed: Any) -> Summary:
    """A summary of sequences of (S, F, M) scores, the sources being "model" and "shuffled"."""
    sequences = []
    for name, values in scores.items():
        array = np.array(values, np.float64)
        count = array.shape[1]
        sources = ("model", "shuffled")[: len(array)]
        one = sequence(name, [0.0] * count)
        zeros = np.zeros(array.shape[:2])
        sequences.append(dataclasses.replace(one, metrics=metrics, sources=sources, scores=array, zero_mass=zeros))
    means, zero, by_sequence = summarise(sequences, averaging="sequences", draws=9, seed=0)
    facts = {"scores": means, "zero_frames": zero, "by_sequence": by_sequence, "sequences": len(sequences)}
    frames = sum(len(each.index) for each in sequences)
    return dataclasses.replace(result(FIRST), frames=frames, **facts, **changed)


def test_metrics_and_baselines_from_fewer_frames_are_told_with_their_counts() -> None:
    full = [[0.5, 0.5, NAN], [0.5, 0.5, NAN]]
    blind = [[0.5, NAN, NAN], [0.5, NAN, NAN]]
    nothing = [[NAN] * 3] * 2
    some = printed(of_sources({"a": [full, full], "b": [blind, nothing]}, ("cc", "nss", "kl")))
    fewer = [line for line in some if line.startswith("on fewer")]
    assert fewer == [
        "on fewer frames: nss from 1 sequence, 2 frames",
        "on fewer frames, shuffled: cc from 1 sequence, 2 frames",
    ]
    # What is missing altogether is told elsewhere.
    assert any(line.startswith("not available: kl") for line in some)
    whole = printed(of_sources({"a": [full, nothing], "b": [full, nothing]}, ("cc", "nss", "kl")))
    assert not any(line.startswith("on fewer") for line in whole)


def test_the_other_mean_stands_beside_the_protocols_where_it_differs() -> None:
    lines = printed(result(FIRST | {"a": [0.1, 0.3, 0.5]}))
    row = next(line for line in lines if line.startswith("CC"))
    assert "over frames" in lines[2] and "over sequences" not in lines[2]
    assert row.split()[2] == "0.475" and row.split()[-1] == f"{(0.1 + 0.3 + 0.5 + 0.5 + 0.4 + 0.7) / 6:.3f}"
    runs = printed(result(FIRST | {"a": [0.1, 0.3, 0.5]}, averaging="sequences-by-frames"))
    assert runs[2].split()[1:5] == ["over", "frames", "over", "sequences"]
    even = printed(result({"a": [0.1, 0.2], "b": [0.3, 0.4]}))
    assert "over frames" not in even[2] and any("over frames they are the same" in line for line in even)


@pytest.mark.parametrize(("mass", "told"), [(0.0005, False), (0.2, True)])
def test_zeros_of_the_map_are_told_where_the_density_there_matters(mass: float, told: bool) -> None:
    one = dataclasses.replace(LONG, zero_mass=np.array([[mass, mass, NAN, 0.0]]))
    scores, zero, by_sequence = summarise([one], averaging="sequences", draws=9, seed=0)
    lines = printed(dataclasses.replace(result(FIRST), scores=scores, zero_frames=zero, by_sequence=by_sequence))
    share = [line for line in lines if line.startswith("the map is 0")]
    expected = (
        "the map is 0 where the recorded density is not in 50.0% of the frames; "
        "13.3% of that density lies there in the mean"
    )
    assert share == [expected] * told


def test_the_protocol_is_named_once() -> None:
    assert sum(line.count("vidsal: ") for line in printed(result(FIRST))) == 1


def test_a_sequence_that_was_skipped_is_told_with_its_reason_and_all_are_counted() -> None:
    lines = printed(result(FIRST, skipped={"q": "no such picture"}))
    assert "4 of 5 sequences" in lines[0]
    assert "SKIPPED: 1 sequence could not be scored: q: no such picture" in lines
    whole = printed(result(FIRST))
    assert " of " not in whole[0] and not any("SKIPPED" in line for line in whole)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "vidsal-evaluation-1", "scores": {}}', "nonsense"])
def test_a_file_that_is_no_summary_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ConfigError, match=r"x\.json"):
        read_summary(tmp_path / "x.json")


def test_compare_prints_a_table_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, one in (("a", result(FIRST)), ("b", result(SECOND)), ("c", result(SECOND, protocol={"bits": 8}))):
        write_summary(tmp_path / f"{name}.json", one)
    paths = {name: str(tmp_path / f"{name}.json") for name in "abc"}
    assert main(["compare", paths["a"], paths["b"]]) == 0
    out = capsys.readouterr().out
    assert "3 sequences in both" in out and "CC +" in out and "2 of 3" in out and "+0.0833" in out
    assert main(["compare", paths["a"], paths["b"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"]["cc"]["better"] == 2
    assert main(["compare", paths["a"], paths["c"]]) == 1
    assert "bits" in capsys.readouterr().err
    assert main(["compare", paths["a"], paths["c"], "--force"]) == 0


def test_an_average_of_parts_is_the_same_for_sequences_of_equal_length() -> None:
    totals, counts = np.array([3.0, 6.0, 1.5]), np.full(3, 3.0)
    values = {
        kind: (lambda a, b: a.sum() / b.sum())(*parts_of(totals, counts, counts, kind))  # type: ignore[arg-type]
        for kind in ("frames", "sequences", "sequences-by-frames")
    }
    assert values["frames"] == pytest.approx(values["sequences"]) == pytest.approx(values["sequences-by-frames"])
