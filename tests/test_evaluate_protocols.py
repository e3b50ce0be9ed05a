"""The rules of the named protocols, judged by hand against what their sources say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layout_fixtures import density, make_dreyeve, write

from vidsal.data.layouts import DATASETS
from vidsal.errors import ConfigError
from vidsal.evaluate import EvalOptions, EvaluationOptions, evaluate
from vidsal.evaluate.protocols import (
    PROTOCOLS,
    Protocol,
    choose_frames,
    draw_frames,
    find_protocol,
    metric_names,
)
from vidsal.evaluate.references import REFERENCES, find_references
from vidsal.metrics import METRICS


def frames(name: str, count: int, *, dataset: str = "hollywood2") -> list[int]:
    return choose_frames(find_protocol(name, dataset=dataset), count).tolist()


@pytest.mark.parametrize("name", ["vidsal", "dhf1k", "unisal", "scout", "tuebingen"])
def test_all_frames_are_scored_under_most_protocols(name: str) -> None:
    assert frames(name, 7) == [0, 1, 2, 3, 4, 5, 6]
    assert frames(name, 1) == [0]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (31, []),  # no clip of 32 fits
        (32, [15]),  # files 1 to 32, label 16
        (95, [15]),
        (96, [15, 79]),  # the second clip is files 65 to 96, label 80
        (200, [15, 79, 143]),
    ],
)
def test_stsanet_scores_the_16th_frame_of_clips_of_32_every_64(count: int, expected: list[int]) -> None:
    assert frames("stsanet", count) == expected


def test_stsanet_has_steps_of_its_own_for_other_data() -> None:
    # range(0, n - 32 + 1, 32) on DHF1K, range(0, n - 32, 4) on UCF-Sports.
    assert frames("stsanet", 96, dataset="dhf1k") == [15, 47, 79]
    assert frames("stsanet", 40, dataset="ucf-sports") == [15, 19]
    assert frames("stsanet", 41, dataset="ucf-sports") == [15, 19, 23]
    assert frames("stsanet", 32, dataset="ucf-sports") == []


def test_stsanets_share_of_hollywood_is_about_that_published() -> None:
    # 3,558 shots of 68.8 frames on average gave 3,667 labels; shots are roughly exponential in length.
    lengths = np.random.default_rng(0).exponential(68.8, 3558).astype(int) + 1
    assert sum(len(frames("stsanet", int(length))) for length in lengths) == pytest.approx(3667, rel=0.15)


def test_dreyeve_scores_every_fifth_frame_from_the_sixteenth_on_but_the_last() -> None:
    # xrange(15, 7500 - 1, 5)
    assert frames("dreyeve", 7500, dataset="dreyeve") == list(range(15, 7499, 5))
    assert frames("dreyeve", 16, dataset="dreyeve") == []
    assert frames("dreyeve", 17, dataset="dreyeve") == [15]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_still_is_scored_under_every_protocol(name: str) -> None:
    assert choose_frames(PROTOCOLS[name], 1, still=True).tolist() == [0]


def test_a_sequence_that_is_too_short_is_left_out_whole() -> None:
    rules = Protocol(name="vidsal", source="", shortest=10)
    assert choose_frames(rules, 9).tolist() == [] and len(choose_frames(rules, 10)) == 10


def test_dhf1k_scores_at_most_fifty_thousand_frames() -> None:
    rules = find_protocol("dhf1k", dataset="dhf1k")
    assert rules.most_frames == 50_000
    few = [np.arange(100), np.arange(200)]
    assert [each.tolist() for each in draw_frames(rules, few)] == [each.tolist() for each in few]
    many = [np.arange(40_000), np.arange(20_000)]
    drawn = draw_frames(rules, many)
    assert sum(map(len, drawn)) == 50_000
    # Each frame is as likely as any other: 5 in 6 of both, give or take four standard deviations.
    assert len(drawn[0]) == pytest.approx(40_000 * 5 / 6, abs=4 * 75)
    assert [each.tolist() for each in draw_frames(rules, many)] == [each.tolist() for each in drawn]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(1, 40))
def test_drawn_frames_are_some_of_those_given_in_order(counts: list[int], most: int) -> None:
    rules = Protocol(name="vidsal", source="", most_frames=most)
    given_frames = [np.arange(count, dtype=np.int64) * 2 for count in counts]
    drawn = draw_frames(rules, given_frames)
    assert sum(map(len, drawn)) == min(most, sum(counts))
    for before, after in zip(given_frames, drawn, strict=True):
        assert set(after.tolist()) <= set(before.tolist()) and sorted(after.tolist()) == after.tolist()


def test_the_averages_are_those_of_the_sources() -> None:
    averages = {name: rules.averaging for name, rules in PROTOCOLS.items()}
    assert averages == {
        "vidsal": "sequences",
        "dhf1k": "frames",
        "unisal": "sequences",
        "stsanet": "frames",
        "dreyeve": "sequences-by-frames",
        "scout": "sequences",
        "tuebingen": "frames",
    }


def test_the_forms_of_the_metrics_are_those_of_the_sources() -> None:
    assert {"kl_dreyeve", "information_gain_mit"} <= set(PROTOCOLS["dreyeve"].metrics)
    assert "kl_dreyeve" in PROTOCOLS["scout"].metrics and PROTOCOLS["scout"].fixated_cells == "density"
    assert {"auc_judd", "shuffled_auc", "information_gain"} <= set(PROTOCOLS["tuebingen"].metrics)
    assert "sim_minmax" not in PROTOCOLS["tuebingen"].metrics and "sim_minmax" in PROTOCOLS["dhf1k"].metrics
    assert PROTOCOLS["dhf1k"].own_video_negatives and not PROTOCOLS["unisal"].own_video_negatives
    assert PROTOCOLS["dhf1k"].bits == PROTOCOLS["dreyeve"].bits == 8 and PROTOCOLS["vidsal"].bits is None
    assert PROTOCOLS["unisal"].nss_without_fixations == 1.0
    assert PROTOCOLS["stsanet"].leave_out_unfixated
    assert PROTOCOLS["tuebingen"].other_sizes == "refuse"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_has_its_name_a_source_and_a_split_that_exists(name: str) -> None:
    rules = PROTOCOLS[name]
    assert rules.name == name and rules.source
    known = {split for layout in DATASETS.values() for split in layout.splits}
    assert rules.split is None or rules.split in known


def test_the_rules_of_scout_say_which_frames_its_own_loader_leaves_out() -> None:
    assert "first 16" in PROTOCOLS["scout"].differences and "every frame with a map" in PROTOCOLS["scout"].differences


def test_dreyeves_rules_round_what_gain_is_measured_over_as_they_round_a_map(tmp_path: Path) -> None:
    root = make_dreyeve(tmp_path / "set", frames=22, runs=(1, 38), unrolled=True)
    for k in range(22):
        write(tmp_path / "maps" / "38" / f"{k:06d}.png", np.maximum(density(k), 1))
    wanted = EvaluationOptions(
        protocol="dreyeve",
        metrics="information_gain_mit,information_gain",
        baselines="mean-density",
        maps=tmp_path / "maps",
        out=tmp_path / "out",
    )
    scores = evaluate("dreyeve", root, options=EvalOptions(evaluation=wanted)).summary.scores
    assert scores["mean-density"]["information_gain_mit"].value == pytest.approx(0, abs=1e-9)
    # The exact form divides by it: a rounded 0 would make infinity.
    assert math.isfinite(scores["model"]["information_gain"].value)


def test_vidsals_own_protocol_shows_the_usual_forms_side_by_side() -> None:
    shown = set(PROTOCOLS["vidsal"].metrics)
    assert {"kl", "kl_dreyeve", "kl_pysaliency", "sim", "sim_minmax", "auc_judd", "auc_judd_mit"} <= shown
    assert shown == set(METRICS) - {"emd"}


def test_what_is_unknown_is_refused_with_what_is_known() -> None:
    with pytest.raises(ConfigError, match="no protocol 'mit'; known are vidsal, dhf1k"):
        find_protocol("mit")
    with pytest.raises(ConfigError, match="no metric 'f1'"):
        metric_names("nss, f1")
    with pytest.raises(ConfigError, match="no metric in the list"):
        metric_names(" , ")
    with pytest.raises(ConfigError, match="'chance'"):
        find_references("gbvs,chance")
    with pytest.raises(ConfigError, match="bits"):
        Protocol(name="vidsal", source="", bits=0)
    with pytest.raises(ConfigError, match="frame_step"):
        Protocol(name="vidsal", source="", frame_step=0)
    with pytest.raises(ConfigError, match="no metric 'f1'"):
        Protocol(name="vidsal", source="", metrics=("f1",))


def test_lists_keep_their_order_and_name_nothing_twice() -> None:
    assert metric_names("cc, nss,cc") == ("cc", "nss")
    assert find_references("all") == tuple(REFERENCES) and find_references("none") == ()
    assert find_references("gbvs, uniform,gbvs") == ("gbvs", "uniform")
