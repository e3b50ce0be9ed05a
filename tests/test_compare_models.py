"""Several models in one table: who is first, what is beyond chance, what it costs, what is kept, what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from browser import chromium, open_page, picture_of
from layout_fixtures import make_bdda
from made import LIGHT, TINY, make_checkpoint, make_stills
from scipy.stats import norm

from vidsal.bench.cost import count_weights, measure_cost, measure_cost_here
from vidsal.bench.report import Spread
from vidsal.cli import main
from vidsal.comparing import CompareModelsOptions, ComparingOptions, ModelsProgress, compare_models
from vidsal.comparing import run as comparing
from vidsal.comparing.page import make_models_page
from vidsal.errors import CheckpointError, ConfigError, Stopped
from vidsal.evaluate import EvalOptions, EvaluationOptions, compare, evaluate, read_scores, read_summary
from vidsal.evaluate.comparison import chances_of_pairs, holm, sign_flips
from vidsal.evaluate.options import FigureOptions, ScoringOptions
from vidsal.evaluate.ranking import Cost, Ranked, Ranking, as_markdown, as_text, read_ranking
from vidsal.evaluate.results import Estimate
from vidsal.metrics import METRICS
from vidsal.model.checkpoint import ModelCard, save_checkpoint, weights_path
from vidsal.model.networks.catalogue import build_network, input_of
from vidsal.model.networks.config import NetworkConfig
from vidsal.pipe.options import ModelOptions, PredictOptions, RecurrenceOptions

COUNT = 8


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stills(tmp_path_factory.mktemp("stills") / "set", count=COUNT)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory, stills: Path) -> Path:
    """Maps that know where the disc is."""
    folder = tmp_path_factory.mktemp("maps") / "oracle"
    folder.mkdir()
    for path in sorted((stills / "images").glob("*.png")):
        bright = cv2.GaussianBlur(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (0, 0), 2)
        cv2.imwrite(str(folder / path.name), np.where(bright > 150, bright, 1).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


def options_of(out: Path, **scoring: Any) -> CompareModelsOptions:
    given = {name: scoring.pop(name) for name in ("rank_by", "cost") if name in scoring}
    return CompareModelsOptions(
        comparing=ComparingOptions(out=out, **{"cost": False, **given}),
        scoring=ScoringOptions(
            **{"split": "all", "metrics": "nss,cc,kl", "baselines": "centre-prior,inter-observer", **scoring}
        ),
    )


@pytest.fixture(scope="module")
def words(maps: Path, tiny: str) -> list[str]:
    return ["uniform", f"small={tiny}", "spectral-residual", str(maps)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, stills: Path, words: list[str]) -> Path:
    out = tmp_path_factory.mktemp("table") / "out"
    compare_models("simple", stills, words, options=options_of(out))
    return out


# Who is first.


def test_each_model_has_the_scores_that_an_evaluation_of_its_own_gives(
    made: Path, stills: Path, tiny: str, tmp_path: Path
) -> None:
    alone = evaluate(
        "simple",
        stills,
        options=EvalOptions(
            evaluation=EvaluationOptions(out=tmp_path / "a", split="all", metrics="nss,cc,kl", baselines="none"),
            model=ModelOptions(model=tiny),
        ),
    ).summary
    small = next(one for one in read_ranking(made).models if one.name == "small")
    assert small.scores == alone.scores["model"]
    assert read_summary(made / small.folder).scores["model"] == alone.scores["model"]


def test_the_best_stands_first_and_the_metric_that_decides_too(made: Path) -> None:
    ranking = read_ranking(made)
    assert ranking.metrics == ("nss", "cc", "kl") and ranking.rank_by == "nss"
    values = [one.scores["nss"].value for one in ranking.models]
    assert ranking.models[0].name == "oracle" and values == sorted(values, reverse=True)
    assert [one.rank for one in ranking.models] == [1, 2, 3, 4]
    for metric in ranking.metrics:
        sign = 1 if METRICS[metric].better == "higher" else -1
        best = max(ranking.models, key=lambda one: sign * one.scores[metric].value)
        assert [one.name for one in ranking.models if metric in one.best_by] == [best.name]


def test_a_metric_of_which_less_is_better_ranks_the_least_first(stills: Path, words: list[str], made: Path) -> None:
    ranking = compare_models("simple", stills, words, options=options_of(made, rank_by="kl")).ranking
    values = [one.scores["kl"].value for one in ranking.models]
    assert ranking.metrics[0] == "kl" and values == sorted(values)
    compare_models("simple", stills, words, options=options_of(made))


def test_baselines_are_held_against_the_scores_without_a_rank(made: Path, stills: Path, tmp_path: Path) -> None:
    options = EvaluationOptions(out=tmp_path / "a", split="all", metrics="nss,cc,kl", baselines="centre-prior")
    alone = evaluate("simple", stills, options=EvalOptions(evaluation=options, model=ModelOptions(model="uniform")))
    ranking = read_ranking(made)
    assert [one.name for one in ranking.references] == ["centre-prior", "inter-observer"]
    assert ranking.references[0].scores == alone.summary.scores["centre-prior"]


# What is beyond chance.


def test_chances_are_those_of_a_comparison_of_two(made: Path) -> None:
    names = ["oracle", "small", "spectral-residual"]
    summaries = [
        read_summary(made / next(one.folder for one in read_ranking(made).models if one.name == name)) for name in names
    ]
    for metric in ("nss", "kl"):
        found = chances_of_pairs(
            [one.by_sequence for one in summaries], list(summaries[0].by_sequence), metric,
            averaging=summaries[0].protocol["averaging"], draws=2000, seed=0,
        )  # fmt: skip
        for (i, j), chance in found.items():
            assert chance == pytest.approx(compare(summaries[i], summaries[j]).differences[metric].p)


def test_sequences_that_one_of_two_lacks_count_for_nothing_in_their_chance() -> None:
    def result(values: list[float]) -> dict[str, Any]:
        return {
            str(n): {"frames": 1, "scores": {"nss": (value, int(math.isfinite(value)))}}
            for n, value in enumerate(values)
        }

    random = np.random.default_rng(3)
    first, second = random.normal(size=6), random.normal(0.4, 1, size=6)
    second[2] = math.nan
    found = chances_of_pairs(
        [result(first.tolist()), result(second.tolist())], [str(n) for n in range(6)], "nss",
        averaging="frames", draws=1000, seed=0,
    )  # fmt: skip
    apart = np.delete(second - first, 2)
    sums = [abs(np.dot(signs, apart)) for signs in itertools.product((-1, 1), repeat=5)]
    assert found == {(0, 1): pytest.approx(np.mean([one >= abs(apart.sum()) - 1e-12 for one in sums]))}


def test_the_chance_of_a_row_is_corrected_for_all_pairs_of_models(made: Path) -> None:
    ranking = read_ranking(made)
    summaries = {one.name: read_summary(made / one.folder) for one in ranking.models}
    raw = {
        pair: compare(*(summaries[name] for name in pair)).differences["nss"].p
        for pair in itertools.combinations(summaries, 2)
    }
    corrected = holm(raw)
    assert len(raw) == 6
    for one in ranking.models[1:]:
        assert one.p["nss"] == pytest.approx(corrected["oracle", one.name])
    assert math.isnan(ranking.models[0].p["nss"])


def test_of_many_models_the_differences_that_all_sequences_show_are_beyond_chance() -> None:
    random = np.random.default_rng(1)
    names = [str(n) for n in range(40)]
    # The first is far ahead on every sequence, the others do not differ but by chance.
    made = [
        {name: {"frames": 1, "scores": {"nss": (value, 1)}} for name, value in zip(names, values, strict=True)}
        for values in (random.normal(3.0 * (place == 0), 0.3, 40).tolist() for place in range(20))
    ]
    found = holm(chances_of_pairs(made, names, "nss", averaging="sequences", draws=2000, seed=0))
    assert len(found) == 190
    assert all(chance < 0.01 for (i, _), chance in found.items() if i == 0)
    assert all(chance > 0.05 for (i, _), chance in found.items() if i > 0)
    # Of so many sequences it is nearly the chance by a normal distribution, the nearer the more combinations there are.
    apart = random.normal(0.1, 0.3, 40)
    wanted = 2 * norm.sf(abs(apart.sum()) / np.sqrt((apart**2).sum()))
    for draws, near in ((2000, 0.01), (50_000, 0.004)):
        assert sign_flips(apart, draws=draws, seed=0) == pytest.approx(wanted, abs=near)


def test_too_few_sequences_for_any_conclusion_are_said_to_be(stills: Path, words: list[str], made: Path) -> None:
    assert any("at least 8 sequences are needed" in note for note in read_ranking(made).notes) == (COUNT < 8)


# Which sequences count.


def test_only_sequences_that_all_have_scored_count(stills: Path, maps: Path, tiny: str, tmp_path: Path) -> None:
    some = tmp_path / "some"
    some.mkdir()
    for path in sorted(maps.iterdir())[2:]:
        (some / path.name).write_bytes(path.read_bytes())
    report = compare_models("simple", stills, [tiny, str(some)], options=options_of(tmp_path / "out"))
    ranking = report.ranking
    assert ranking.sequences == ranking.frames == COUNT - 2
    assert any("only these count: some lacks 2" in note for note in ranking.notes)
    assert report.incomplete == ("some",)
    whole = read_summary(tmp_path / "out" / "models" / "tiny")
    kept = [one["scores"]["nss"][0] for name, one in whole.by_sequence.items() if name not in ("000.png", "001.png")]
    shown = next(one for one in ranking.models if one.name == "tiny").scores["nss"].value
    assert len(kept) == COUNT - 2 and shown == pytest.approx(np.mean(kept))
    assert shown != pytest.approx(whole.scores["model"]["nss"].value)


# What is kept.


def test_a_second_call_scores_nothing_and_a_new_model_only_itself(
    stills: Path, words: list[str], made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("sequences/*.npz")}
    seen: list[ModelsProgress] = []
    compare_models("simple", stills, words, options=options_of(made), on_progress=seen.append)
    # A sequence that is scored is told.
    assert [one.evaluation for one in seen] == [None] * (len(words) + 1)
    compare_models("simple", stills, [*words[:2], "centre-prior"], options=options_of(made), on_progress=seen.append)
    assert {one.name for one in seen if one.evaluation is not None} == {"centre-prior"}
    after = {path: path.stat().st_mtime_ns for path in made.rglob("sequences/*.npz")}
    assert before.items() <= after.items() and len(after) == len(before) + COUNT
    compare_models("simple", stills, words, options=options_of(made))


def test_a_comparison_that_was_stopped_goes_on_where_it_ended(stills: Path, tiny: str, tmp_path: Path) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(len(asked))
        return len(asked) == COUNT + 3  # three sequences of the second model are done

    options = options_of(tmp_path / "out", baselines="none")
    with pytest.raises(Stopped):
        compare_models("simple", stills, ["uniform", tiny], options=options, should_stop=stop)
    assert not (tmp_path / "out" / "models.json").exists()
    assert len(list((tmp_path / "out" / "models" / "tiny" / "sequences").iterdir())) == 3
    scored: list[tuple[str, str]] = []

    def note(progress: ModelsProgress) -> None:
        if progress.evaluation is not None:
            scored.append((progress.name, progress.evaluation.name))

    report = compare_models("simple", stills, ["uniform", tiny], options=options, on_progress=note)
    assert {name for name, _ in scored} == {"tiny"} and len(set(scored)) == COUNT - 3
    assert report.ranking.sequences == COUNT


def test_a_comparison_by_other_rules_in_the_same_folder_is_refused(stills: Path, words: list[str], made: Path) -> None:
    with pytest.raises(ConfigError, match="holds another evaluation"):
        compare_models("simple", stills, words, options=options_of(made, metrics="nss,cc"))
    assert read_ranking(made).metrics == ("nss", "cc", "kl")


def test_a_ranking_is_read_as_it_was_written(stills: Path, words: list[str], made: Path) -> None:
    ranking = compare_models("simple", stills, words, options=options_of(made)).ranking
    assert repr(read_ranking(made)) == repr(ranking)  # NaN is not equal to itself
    json.loads((made / "models.json").read_text(), parse_constant=lambda name: pytest.fail(name))


# What fails.


def test_a_model_that_fails_is_named_and_the_others_go_on(
    stills: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = comparing.evaluate

    def failing(*args: Any, **settings: Any) -> Any:
        if settings["options"].model.model == "spectral-residual":
            raise RuntimeError("no <memory>")
        return real(*args, **settings)

    monkeypatch.setattr(comparing, "evaluate", failing)
    flags = ["--split", "all", "--metrics", "nss,cc", "--no-cost", "--baselines", "none", "--out", str(tmp_path / "o")]
    assert main(["compare-models", "simple", str(stills), *words, *flags]) == 1
    shown = capsys.readouterr()
    assert "spectral-residual: RuntimeError: no <memory>" in shown.err
    assert "could not be scored: spectral-residual: RuntimeError: no <memory>" in shown.out
    ranking = read_ranking(tmp_path / "o")
    assert {one.name for one in ranking.models} == {"uniform", "small", "oracle"}
    assert "spectral-residual could not be scored: RuntimeError: no &lt;memory&gt;" in (
        tmp_path / "o" / "models.html"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["uniform"], "at least two models"),
        (["uniform", "centre-priro"], "no model 'centre-priro': use one of sam-lite"),
        (
            ["uniform", "no-maps"],
            "another that vidsal models lists, or the path of a checkpoint or of a folder of maps",
        ),
        (["uniform", "salnet"], "salnet has no weights: train it"),
        (["uniform", "uniform"], "two models are called uniform: give each a name of its own, as uniform-2=uniform"),
        (["uniform", "UNIFORM=centre-prior"], "two models are called UNIFORM"),
        (
            ["uniform", "mine=gone/best.safetensors"],
            "mine: there is no model, file or folder 'gone/best.safetensors': give a name that vidsal models lists "
            "(sam-lite, ",
        ),
        (["uniform", "sam-lite,gone/none"], "the path of a checkpoint, or a folder of maps\n"),
        (
            ["sam-lite", "bms", "--steps", "2"],
            "bms: --steps is 2, but this model looks at each frame once: leave it out",
        ),
        (["uniform", "bms", "--rank-by", "sim"], "--rank-by sim: it is not scored; choose from nss, cc"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_scored(
    given: list[str], message: str, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--split", "all", "--metrics", "nss,cc", "--out", str(tmp_path / "out"), "-q"]
    try:
        status = main(["compare-models", "simple", str(stills), *given, *flags])
    except SystemExit as end:
        status = int(end.code or 0)
    assert status in (1, 2) and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_whose_name_is_misspelt_is_answered_with_the_one_that_is_there(
    stills: Path, maps: Path, tmp_path: Path
) -> None:
    given = ["uniform", str(maps.parent / "oracel")]
    with pytest.raises(CheckpointError, match=rf"no model, file or folder .*oracel'.*; did you mean {maps}\?"):
        compare_models("simple", stills, given, options=options_of(tmp_path / "a"))


def test_data_without_fixations_are_ranked_by_what_is_defined_and_by_nothing_else(tmp_path: Path) -> None:
    root = make_bdda(tmp_path / "set", seconds=0.3)
    wanted = {"split": "val", "metrics": "nss,cc,kl", "baselines": "none"}
    with pytest.raises(ConfigError, match="rank_by=nss: it is not defined on these data; choose from cc, kl"):
        compare_models(
            "bdd-a", root, ["uniform", "centre-prior"], options=options_of(tmp_path / "a", rank_by="nss", **wanted)
        )
    ranking = compare_models("bdd-a", root, ["uniform", "centre-prior"], options=options_of(tmp_path / "a", **wanted))
    assert ranking.ranking.metrics == ("cc", "kl")
    assert any("have no fixations: ranked by CC" in note for note in ranking.ranking.notes)


# What it costs.


def test_multiply_adds_and_parameters_are_those_of_the_network(tmp_path: Path) -> None:
    tiny = str(make_checkpoint(tmp_path / "tiny.safetensors"))
    hidden, size = TINY.recurrent_channels, 16
    counts = {}
    for steps, state in ((1, "carry"), (2, "reset")):
        prediction = PredictOptions(RecurrenceOptions(state=state, steps=steps, every=1))  # type: ignore[arg-type]
        counts[steps] = measure_cost_here(tiny, precision="fp32", prediction=prediction, stills=False)
    for cost in counts.values():
        assert cost.canvas == (48, 64) and cost.precision == "fp32" and cost.memory_bytes >= 0
        assert 0 < cost.cpu_seconds.least <= cost.cpu_seconds.median and cost.cpu_seconds.count >= 4
    one, two = counts[1].multiply_adds, counts[2].multiply_adds
    assert one is not None and two is not None
    # A second step has at least U * H of the four gates, 3x3 on 3x4 cells.
    assert two - one >= 4 * 9 * hidden**2 * (48 // size) * (64 // size)
    still = measure_cost_here(tiny, precision="fp32", prediction=PredictOptions(), stills=True)
    assert still.multiply_adds == two  # a still starts afresh, with all its steps
    from made import make_network

    weights = count_weights(tiny)
    assert weights.parameters == sum(one.numel() for one in make_network().parameters())
    assert weights.bytes == Path(tiny).stat().st_size


def test_the_weights_of_a_derived_checkpoint_are_counted_with_those_it_builds_on_and_these_once() -> None:
    base, own = (count_weights(name).bytes for name in ("sam-lite", "sam-lite-driver"))
    embedded = Path(weights_path("sam-lite-driver"))
    assert base == Path(weights_path("sam-lite")).stat().st_size and own == base + embedded.stat().st_size
    assert count_weights("sam-lite,sam-lite-driver").bytes == own


def test_multiply_adds_of_another_systems_network_are_those_of_its_layers(tmp_path: Path) -> None:
    config = NetworkConfig("salnet", width=1 / 16)
    network = build_network(config).eval()
    path = tmp_path / "salnet.safetensors"
    save_checkpoint(path, network, preprocess=input_of("salnet"), card=ModelCard(name="salnet"))
    counted = 0

    def count(module: Any, inputs: Any, output: torch.Tensor) -> None:
        nonlocal counted
        turned = isinstance(module, torch.nn.ConvTranspose2d)
        counted += (inputs[0] if turned else output).numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            module.register_forward_hook(count)
    every_frame = PredictOptions(RecurrenceOptions(every=1))
    cost = measure_cost_here(str(path), precision="fp32", prediction=every_frame, stills=False)
    with torch.no_grad():
        network(torch.zeros(1, 1, 3, *cost.canvas))
    assert cost.multiply_adds == counted > 0


def test_an_ensemble_is_a_model_that_costs_what_its_members_cost(stills: Path, tiny: str, tmp_path: Path) -> None:
    other = str(make_checkpoint(tmp_path / "other.safetensors", seed=1))
    both = f"{tiny},{other}"
    report = compare_models("simple", stills, [tiny, both], options=options_of(tmp_path / "out", baselines="none"))
    costs = {one.name: one.cost for one in report.ranking.models}
    assert costs.keys() == {"tiny", "tiny+other"}
    assert costs["tiny+other"].parameters == 2 * (costs["tiny"].parameters or 0) > 0
    one, two = (
        measure_cost_here(model, precision="fp32", prediction=PredictOptions(), stills=True).multiply_adds
        for model in (tiny, both)
    )
    assert one is not None and two == pytest.approx(2 * one)


def test_a_model_that_sees_every_fourth_frame_costs_a_quarter_of_the_operations(tmp_path: Path) -> None:
    tiny = str(make_checkpoint(tmp_path / "tiny.safetensors"))
    found = [
        measure_cost_here(tiny, precision="fp32", prediction=PredictOptions(RecurrenceOptions(every=n)), stills=False)
        for n in (1, 4)
    ]
    assert found[1].multiply_adds == pytest.approx(found[0].multiply_adds / 4)


def test_a_model_without_weights_has_no_parameters_and_operations_are_not_counted() -> None:
    assert count_weights("uniform").parameters == count_weights("uniform").bytes == 0
    found = measure_cost_here("uniform", precision="auto", prediction=PredictOptions(), stills=True)
    assert found.multiply_adds is None and found.cpu_seconds.median > 0


def test_costs_are_measured_in_a_process_of_its_own_and_kept(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    light = make_checkpoint(tmp_path / "light.safetensors", config=LIGHT)
    flags = ["--split", "all", "--metrics", "nss,cc", "--baselines", "none", "--out", str(tmp_path / "out"), "-q"]
    command = ["compare-models", "simple", str(stills), str(light), "uniform", "--precision", "fp32", *flags]
    assert main(command) == 0
    light_cost, uniform_cost = (
        next(one.cost for one in read_ranking(tmp_path / "out").models if one.name == name)
        for name in ("light", "uniform")
    )
    assert light_cost.cpu_seconds and uniform_cost.cpu_seconds
    assert light_cost.memory_bytes and light_cost.memory_bytes > 1e6
    assert light_cost.multiply_adds and uniform_cost.multiply_adds is None
    assert "costs: of a picture, for which the model starts afresh" in capsys.readouterr().out
    monkeypatch.setattr(comparing, "measure_cost", lambda *_, **__: pytest.fail("measured again"))
    assert main(command) == 0
    assert next(one.cost for one in read_ranking(tmp_path / "out").models if one.name == "light") == light_cost


def test_a_process_that_ends_without_an_answer_is_an_error() -> None:
    with pytest.raises(CheckpointError, match="gone"):
        measure_cost("gone.safetensors", precision="fp32", prediction=PredictOptions(), stills=True)


def test_a_cost_that_cannot_be_measured_leaves_the_scores(
    stills: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(model: str, **_: Any) -> Any:
        if model == "uniform":
            raise CheckpointError("killed")
        from vidsal.bench.cost import FrameCost

        return FrameCost(1e9, Spread.of([0.1, 0.2, 0.3]), 5_000_000, (48, 64), "fp32")

    monkeypatch.setattr(comparing, "measure_cost", measure)
    ranking = compare_models("simple", stills, words[:2], options=options_of(tmp_path / "out", cost=True)).ranking
    costs = {one.name: one.cost for one in ranking.models}
    assert costs["uniform"] == Cost(parameters=0, weight_bytes=0)
    assert costs["small"].cpu_seconds == 0.2 and costs["small"].memory_bytes == 5_000_000
    assert ranking.failed == {"uniform, cost": "killed"}


# What is shown.


def made_ranking(names: list[str], *, scores: list[float], costs: list[float | None]) -> Ranking:
    def estimate(value: float) -> Estimate:
        return Estimate(value, value - 0.1, value + 0.1, value, value, 10, 10)

    protocol = {
        "name": "vidsal",
        "source": "vidsal: made",
        "averaging": "frames",
        "bits": None,
        "resolution": "any",
        "draws": 10,
        "seed": 0,
        "information_gain_over": "nothing",
        "epsilons": {"kl": 1e-7},
        "first_frame": 0,
        "frame_step": 1,
        "shortest": 1,
        "last_left_out": 0,
        "most_frames": None,
        "leave_out_bad": False,
        "leave_out_unfixated": False,
    }
    models = tuple(
        Ranked(
            name=name,
            rank=place,
            kind="model",
            scores={"nss": estimate(score)},
            p={"nss": math.nan if place == 1 else 0.3 if place == 2 else 0.001},
            best_by=("nss",) if place == 1 else (),
            cost=Cost(parameters=place - 1, weight_bytes=9, cpu_seconds=cost, multiply_adds=2.5e9),
            source={"kind": "model"},
            folder=f"models/m{place}",
        )
        for place, (name, score, cost) in enumerate(zip(names, scores, costs, strict=True), start=1)
    )
    dataset = {"name": "simple", "root": "sets/osie", "folder": "osie", "split": "val"}
    return Ranking("0.1", "", dataset, protocol, "nss", ("nss",), 10, 10, models, failed={}, measured="costs: made")


def test_no_text_of_a_model_becomes_markup_of_the_page_or_of_the_table() -> None:
    nasty = "<img src=x onerror=alert(1)>|`a`_b_"
    ranking = dataclasses.replace(
        made_ranking([nasty, "b"], scores=[2.0, 1.0], costs=[0.01, 0.02]), failed={nasty: nasty}, notes=(nasty,)
    )
    page = make_models_page(ranking, figures={"ranking": f"<svg>{nasty}</svg>"})
    assert "<img src=x" not in page and page.count("&lt;img src=x") >= 3
    table = as_markdown(ranking)
    assert "<img" not in table and "\\`a\\`\\_b\\_" in table
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(re.findall(r"\|", rows[0]))}


def test_a_page_asks_nothing_of_the_network_and_a_table_marks_best_and_level() -> None:
    ranking = made_ranking(["a", "b", "c"], scores=[2.0, 1.9, 1.0], costs=[0.01, 0.02, None])
    page = make_models_page(ranking, figures={})
    assert not re.findall(r"https?://", page)
    table = as_markdown(ranking)
    assert "| 1 | a | **2.000** [1.900, 2.100] |" in table and "| 2 | b | 1.900 [1.800, 2.000] ≈ |" in table
    assert "| 3 | c | 1.000 [0.900, 1.100] | 0.000 |" in table or "| 3 | c | 1.000 [0.900, 1.100] |" in table
    assert "n/a" in table  # what c costs is not known
    assert "2.000 [1.900, 2.100] *" in as_text(ranking)


def test_where_no_difference_is_beyond_chance_that_is_said_in_a_sentence() -> None:
    none, legend = "No difference from the best of a column is beyond chance (≈)", "≈: the difference from the best"
    svg = {"ranking": "<svg/>"}
    apart = made_ranking(["a", "b", "c"], scores=[2.0, 1.9, 1.0], costs=[None] * 3)
    level = dataclasses.replace(apart, models=apart.models[:2])
    for ranking, said, unsaid in ((apart, legend, none), (level, none, legend)):
        for text in (as_text(ranking), as_markdown(ranking), make_models_page(ranking, figures={})):
            assert said in text and unsaid not in text
    assert "Filled dots: the best, and those" in make_models_page(apart, figures=svg)
    assert "All dots are filled: no difference from the best is beyond chance." in make_models_page(level, figures=svg)
    # One metric that tells them apart is enough; one model alone differs from nobody.
    more = [dataclasses.replace(one, scores=one.scores | {"cc": one.scores["nss"]}) for one in level.models]
    more[0] = dataclasses.replace(more[0], best_by=("nss", "cc"))
    more[1] = dataclasses.replace(more[1], p=more[1].p | {"cc": 0.001})
    assert legend in as_markdown(dataclasses.replace(level, metrics=("nss", "cc"), models=tuple(more)))
    assert legend in as_markdown(dataclasses.replace(level, models=level.models[:1]))


def test_costs_have_a_table_of_their_own_beside_the_score_that_decides() -> None:
    ranking = made_ranking(["a", "b"], scores=[2.0, 1.9], costs=[0.01, 0.02])
    more = [dataclasses.replace(one, scores=one.scores | {"cc": one.scores["nss"]}) for one in ranking.models]
    ranking = dataclasses.replace(ranking, metrics=("nss", "cc"), models=tuple(more))

    def headings(page: str) -> list[list[str]]:
        heads = re.findall(r"<thead>(.*?)</thead>", page)
        return [re.findall(r"<th[^>]*>(.*?)</th>", head) for head in heads]

    costs = ["parameters (M)", "weights (MB)", "multiply-adds a frame (G)", "CPU ms a frame"]
    assert headings(make_models_page(ranking, figures={})) == [
        ["rank", "model", "NSS +", "CC +"],
        ["rank", "model", "NSS +", *costs],
    ]
    nothing = tuple(dataclasses.replace(one, cost=Cost()) for one in ranking.models)
    page = make_models_page(dataclasses.replace(ranking, models=nothing), figures={})
    assert headings(page) == [["rank", "model", "NSS +", "CC +"]] and "Costs" not in page


def test_a_page_fits_a_phone_sorts_each_table_by_every_column_and_loads_nothing(tmp_path: Path) -> None:
    ranking = made_ranking(["middle", "<b>quick", "costly"], scores=[2.0, 1.9, 1.0], costs=[0.02, 0.01, None])
    size = 'width="9" height="9"'
    figure = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><rect style="fill: red" {size}/></svg>'
    page = tmp_path / "models.html"
    page.write_text(make_models_page(ranking, figures={"ranking": figure}), encoding="utf-8")
    with chromium() as browser, open_page(browser, page, viewport={"width": 360, "height": 740}) as opened:
        names = "[...document.querySelectorAll('#costs tbody th')].map((cell) => cell.textContent)"
        costs = opened.page.locator("#costs")
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
        assert opened.page.evaluate(names) == ["middle", "<b>quick", "costly"]
        costs.get_by_role("button", name="CPU ms a frame").click()
        assert opened.page.evaluate(names) == ["<b>quick", "middle", "costly"]
        costs.get_by_role("button", name="CPU ms a frame").click()
        assert opened.page.evaluate(names) == ["middle", "<b>quick", "costly"]  # what is not known stays last
        costs.get_by_role("button", name="model").click()
        assert opened.page.evaluate(names) == ["<b>quick", "costly", "middle"]
        of_scores = names.replace("#costs", "#models")
        assert opened.page.evaluate(of_scores) == ["middle", "<b>quick", "costly"]
        opened.page.locator("#models").get_by_role("button", name="NSS").click()
        assert opened.page.evaluate(of_scores) == ["middle", "<b>quick", "costly"]
        opened.page.locator("#models").get_by_role("button", name="NSS").click()
        assert opened.page.evaluate(of_scores) == ["costly", "<b>quick", "middle"]
        assert opened.page.evaluate(names) == ["<b>quick", "costly", "middle"]
        assert (picture_of(opened.page.locator("img"))[4, 4] == (255, 0, 0)).all()  # its own style is not blocked
        assert opened.said == opened.blocked == []
        assert all(one.startswith(("file:", "data:")) for one in opened.asked)


def test_figures_show_each_model_in_order_and_its_cost(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from vidsal.evaluate.draw import figures_of_ranking
    from vidsal.evaluate.paper import paper_style

    names = [f"$model_{n}$" for n in range(12)]
    scores = [2.5 - 0.15 * n for n in range(12)]
    costs: list[float | None] = [0.5 / (n + 1) ** 2 for n in range(11)]
    ranking = made_ranking(names, scores=scores, costs=[*costs, None])
    look = FigureOptions()
    with paper_style(look):
        drawn = dict(figures_of_ranking(ranking, look))
        panel = drawn["ranking"].axes[0]
        dots = [line for line in panel.lines if line.get_marker() == "o"]
        assert [float(line.get_xdata()[0]) for line in dots] == scores
        assert [text.get_text() for text in panel.get_yticklabels()] == names
        filled = [line.get_markerfacecolor() != "white" for line in dots]
        assert filled == [True, True] + [False] * 10
        panel = drawn["costs"].axes[0]
        dots = [line for line in panel.lines if line.get_marker() == "o"]
        shown = {(round(float(x), 6), float(y)) for line in dots for x, y in zip(*line.get_data(), strict=True)}
        assert shown == {(round(1e3 * cost, 6), score) for cost, score in zip(costs, scores, strict=False) if cost}
        assert sorted(text.get_text() for text in panel.texts) == sorted(names[:11])
        figure = drawn["costs"]
        boxes = [text.get_window_extent() for text in panel.texts]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        assert figure.axes[0].get_xscale() == "log"


def test_figures_of_a_finished_comparison_are_drawn_by_the_command_for_figures(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    flags = ["--out", str(tmp_path), "--metrics", "nss,kl"]
    assert main(["figure", str(made), "--kind", "ranking", *flags]) == 0
    assert (tmp_path / "ranking.pdf").read_bytes().startswith(b"%PDF")
    assert main(["figure", str(made), "--kind", "costs", *flags]) == 2
    assert "was not measured" in capsys.readouterr().err
    assert main(["figure", str(made), "--kind", "strip", *flags]) == 2
    assert "of it there are ranking, costs" in capsys.readouterr().err


def test_the_scores_that_a_model_left_are_those_of_its_folder(made: Path) -> None:
    for one in read_ranking(made).models:
        kept = read_scores(made / one.folder)
        assert [each.name for each in kept] == [f"{n:03d}.png" for n in range(COUNT)]
