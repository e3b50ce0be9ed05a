"""Evaluation from end to end on made data sets: what is scored, what is kept, what is told, what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import multiprocessing
import os
import shutil
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from layout_fixtures import (
    HEIGHT,
    WIDTH,
    as_rgb,
    density,
    fixation_map,
    make_bdda,
    make_cat2000,
    make_challenge,
    make_dhf1k,
    make_dreyeve,
    make_dut_omron,
    make_hollywood,
    make_isun,
    make_mit1003,
    make_osie,
    make_pascal_s,
    make_salicon,
    make_simple,
    make_toronto,
    make_ucf_sports,
    picture,
    spot,
    write,
)
from made import LIGHT, make_checkpoint, make_stills
from media import make_video

from vidsal import metrics
from vidsal.cli import main
from vidsal.data.layouts import LabelledSequence, open_dataset
from vidsal.data.layouts.files import read_density
from vidsal.errors import ConfigError, DatasetError, EncodeError, Stopped
from vidsal.evaluate import (
    EvalOptions,
    EvalProgress,
    Evaluation,
    EvaluationOptions,
    FolderSource,
    ModelSource,
    evaluate,
    format_summary,
    read_scores,
    read_summary,
)
from vidsal.evaluate.fingerprint import Fingerprints
from vidsal.evaluate.references import find_references, gather_means, left_out_viewers, partner_of
from vidsal.evaluate.results import SequenceScores, read_sequence, sequence_path, write_sequence
from vidsal.evaluate.score import Judge, quantise, resize_map
from vidsal.files import try_to_lock
from vidsal.metrics import FixatedCells, ScoreMeter
from vidsal.model import store
from vidsal.model.baselines import BASELINES, CentrePrior
from vidsal.model.checkpoint import load_model
from vidsal.pipe.options import ModelOptions, OutputOptions, PredictOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.run import run
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions

FAST = ("nss", "cc", "kl", "auc_judd")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that workers know, too."""
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "light.safetensors", config=LIGHT))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hollywood-2: four shots of 3, 5, 2 and 1 frames to test on, one to train on."""
    return make_hollywood(tmp_path_factory.mktemp("hollywood") / "set")


def judged(name: str, root: Path, out: Path, model: str, **wanted: Any) -> Evaluation:
    data = wanted.pop("data", None)
    stages = {stage: wanted.pop(stage) for stage in ("recurrence", "cuts", "smooth", "viewers") if stage in wanted}
    on_progress, should_stop = wanted.pop("on_progress", None), wanted.pop("should_stop", None)
    wanted = {"baselines": "none", "metrics": ",".join(FAST), **wanted}
    # Workers know nothing of what conftest.py says of the processor.
    chosen = ModelOptions(model=model, device="cpu", precision="fp32")
    options = EvalOptions(evaluation=EvaluationOptions(out=out, **wanted), model=chosen, **stages)
    return evaluate(name, root, options=options, data_options=data, on_progress=on_progress, should_stop=should_stop)


def value(result: Evaluation, metric: str, source: str = "model") -> float:
    return result.summary.scores[source][metric].value


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_maps(root: Path, made: dict[str, dict[str, np.ndarray]]) -> Path:
    """Folder, then file name, to the grey picture to write."""
    for folder, files in made.items():
        for file, values in files.items():
            write(root / folder / file, values)
    return root


def truth_of_films(root: Path, *, shift: int = 0) -> Path:
    """Maps that are the recorded densities themselves, moved by some frames' worth of place."""
    shots = {"actioncliptest00001_1": (3, 3), "actioncliptest00001_2": (6, 5), "actioncliptest00001_10": (11, 2)}
    shots["actioncliptest00002_1"] = (3, 1)
    for name, (first, count) in shots.items():
        clip = name.rpartition("_")[0]
        for number in range(first, first + count):
            write(root / name / f"{clip}_{number:05d}.png", density(number + shift))
    return root


# What is scored.


def test_the_maps_scored_are_those_that_run_writes(films: Path, model: str, tmp_path: Path) -> None:
    shot = films / "testing" / "actioncliptest00001_2"
    options = RunOptions(
        model=ModelOptions(model=model, device="cpu"),
        smooth=SmoothOptions(smoothing="none"),
        viewers=ViewerOptions("off"),  # as the default is for a folder of pictures, but not for a film of a data set
        output=OutputOptions(output=tmp_path, video=False, table="none", maps="npz"),
    )
    (made,) = run(shot / "images", options=options).files
    with np.load(made) as archive:
        expected = np.exp(archive["log_density"].astype(np.float32))
    dataset = open_dataset("hollywood2", films, split="test")
    sequence = next(each for each in dataset if each.name == shot.name)
    options = PredictOptions(smooth=SmoothOptions(smoothing="none"), viewers=ViewerOptions("off"))
    source = ModelSource(load_model(model, device="cpu"), options=options, batch_size=2)
    found = {frame.index: values for frame, values in source.maps(sequence, range(5))}
    assert list(found) == [0, 1, 2, 3, 4]
    for index, values in found.items():
        np.testing.assert_allclose(values, expected[index], rtol=2e-2)  # the file holds logarithms in 16 bits
    assert np.abs(found[0] - found[4]).max() > 1e-5


def test_the_state_is_carried_to_the_frames_that_are_scored(films: Path, model: str) -> None:
    dataset = open_dataset("hollywood2", films, split="test")
    sequence = dataset.sequences[1]
    source = ModelSource(
        load_model(model, device="cpu"), options=PredictOptions(smooth=SmoothOptions(smoothing="none"))
    )
    every = {frame.index: values for frame, values in source.maps(sequence, range(5))}
    ((frame, alone),) = source.maps(sequence, [4])
    assert frame.index == 4
    np.testing.assert_allclose(alone, every[4], rtol=1e-5)
    # Seen by itself, the same frame gets another map: the state does matter.
    ((_, fresh),) = source.maps(dataclasses.replace(sequence, first=4), [0])
    assert np.abs(fresh - every[4]).max() > 1e-6


def test_a_filter_that_looks_ahead_sees_the_frames_behind_those_scored(films: Path, model: str) -> None:
    sequence = open_dataset("hollywood2", films, split="test").sequences[1]
    source = ModelSource(
        load_model(model, device="cpu"), options=PredictOptions(smooth=SmoothOptions(smoothing="gaussian"))
    )
    assert not source.causal and source.facts["causal"] is False
    every = {frame.index: values for frame, values in source.maps(sequence, range(5))}
    ((_, alone),) = source.maps(sequence, [1])
    np.testing.assert_allclose(alone, every[1], rtol=1e-5)


def test_the_model_sees_every_frame_of_what_is_scored_unless_told_otherwise(films: Path, model: str) -> None:
    loaded, sequence = load_model(model, device="cpu"), open_dataset("hollywood2", films, split="test").sequences[1]
    maps = {}
    for every in (None, 1, 2):
        options = PredictOptions(RecurrenceOptions(state="reset", every=every))
        source = ModelSource(loaded, options=options)
        kept = 1 if every is None else every
        assert source.options == options.but(recurrence=RecurrenceOptions(state="reset", every=kept))
        assert source.facts["options"]["recurrence"]["every"] == kept and source.causal == (kept == 1)
        maps[every] = np.stack([values for _, values in source.maps(sequence, range(5))])
    assert ModelSource(loaded).options.recurrence.every == 1
    assert np.array_equal(maps[None], maps[1]) and np.abs(maps[2] - maps[1]).max() > 1e-6


def test_a_prediction_that_is_the_recorded_density_scores_perfectly(films: Path, tmp_path: Path) -> None:
    perfect = judged("hollywood2", films, tmp_path / "a", "", maps=truth_of_films(tmp_path / "maps"))
    assert value(perfect, "cc") == pytest.approx(1, abs=1e-6)
    assert value(perfect, "kl") == pytest.approx(0, abs=1e-6)
    wrong = judged("hollywood2", films, tmp_path / "b", "", maps=truth_of_films(tmp_path / "off", shift=3))
    assert value(wrong, "cc") < 0.9 and value(wrong, "kl") > 0.1


def test_scores_are_those_of_the_metrics_at_the_size_of_what_was_recorded(films: Path, tmp_path: Path) -> None:
    maps = truth_of_films(tmp_path / "maps", shift=1)
    small = tmp_path / "small"
    for file in maps.rglob("*.png"):
        half = cv2.resize(
            cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA
        )
        write(small / file.relative_to(maps), half)
    made = judged("hollywood2", films, tmp_path / "out", "", maps=small)
    row = next(row for row in rows_of(made.out / "frames.csv") if row["frame"] == "actioncliptest00001_00004.png")
    grey = cv2.imread(str(small / "actioncliptest00001_1" / row["frame"]), cv2.IMREAD_GRAYSCALE).astype(np.float32)
    large = torch.from_numpy(cv2.resize(grey, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))[None]
    truth = torch.from_numpy(density(4).astype(np.float32))[None]
    points = torch.from_numpy(fixation_map(4, value=1).astype(np.float32))[None]
    assert float(row["cc"]) == pytest.approx(float(metrics.cc(large, truth)), abs=1e-6)
    assert float(row["kl"]) == pytest.approx(float(metrics.kl(large, truth)), abs=1e-5)
    assert float(row["nss"]) == pytest.approx(float(metrics.nss(large, points)), abs=1e-5)
    assert float(row["auc_judd"]) == pytest.approx(float(metrics.auc_judd(large, points)), abs=1e-6)


def test_what_the_data_do_not_have_is_not_scored_and_said(tmp_path: Path, model: str) -> None:
    root = make_dreyeve(tmp_path / "set", frames=6)
    made = judged("dreyeve", root, tmp_path / "out", model, split="test")
    assert math.isnan(value(made, "nss")) and not math.isnan(value(made, "cc"))
    assert json.loads((made.out / "summary.json").read_text())["scores"]["model"]["nss"]["value"] is None
    printed = format_summary(made.summary)
    assert "not available: nss, auc_judd" in printed and "(the data have no fixations)" in printed
    assert all(row["nss"] == "" for row in rows_of(made.out / "frames.csv"))


def test_stills_are_sequences_of_one_frame_from_the_zero_state(tmp_path: Path, model: str) -> None:
    root = make_stills(tmp_path / "set", count=4)
    made = judged("simple", root, tmp_path / "out", model, split="all")
    loaded, meter = load_model(model, device="cpu"), metrics.ScoreMeter()
    for still in open_dataset("simple", root):
        frame = still.first_frame()
        log_density, _ = loaded(loaded.preprocessor(frame.picture()[None])[None])
        density, seen = frame.density(), frame.fixations()
        assert density is not None and seen is not None
        shown = loaded.preprocessor.to_picture(log_density[0, 0], *frame.picture().shape[:2]).exp().numpy()
        large = cv2.resize(shown, density.shape[::-1], interpolation=cv2.INTER_LINEAR)
        meter.update(*(torch.from_numpy(one)[None] for one in (large, density, seen.counts())))
    # The whole picture is shown here, a smaller one by the pipe: near, not equal.
    for metric in ("nss", "cc", "auc_judd"):
        assert value(made, metric) == pytest.approx(meter.mean()[metric], abs=0.03)
    assert made.summary.sequences == made.summary.frames == 4


def test_driving_is_scored_from_video_files_with_their_scenarios(tmp_path: Path, model: str) -> None:
    root = make_dreyeve(tmp_path / "set", frames=12)
    made = judged("dreyeve", root, tmp_path / "out", model, split="all", metrics="cc")
    # Frame 4 of run 1 (counted from 1) and 12 of run 38 are in missing_gt.txt.
    assert made.summary.frames == 3 * 12 - 2 and made.summary.left_out == {"bad": 2}
    scenarios = {(row["scenario"], row["value"]): row for row in rows_of(made.out / "scenarios.csv")}
    assert {"time_of_day", "weather", "landscape", "driver", "attention"} == {name for name, _ in scenarios}
    sunny = scenarios["weather", "Sunny"]
    frames = rows_of(made.out / "frames.csv")
    own = [float(row["cc"]) for row in frames if row["sequence"] in ("01", "38")]
    assert int(sunny["sequences"]) == 2 and int(sunny["frames"]) == len(own)
    assert float(sunny["cc_over_frames"]) == pytest.approx(np.mean(own), abs=1e-6)
    by_run = [np.mean([float(row["cc"]) for row in frames if row["sequence"] == run]) for run in ("01", "38")]
    assert float(sunny["cc_over_sequences"]) == pytest.approx(np.mean(by_run), abs=1e-6)
    # Frames 3 to 5 of run 1 have the code k; frame 4 is left out.
    assert int(scenarios["attention", "k"]["frames"]) == 2


def test_the_tables_are_the_same_in_parquet(films: Path, model: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    plain = judged("hollywood2", films, tmp_path / "a", model)
    made = judged("hollywood2", films, tmp_path / "b", model, table="parquet")
    for name in ("frames", "sequences", "scenarios"):
        rows = rows_of(plain.out / f"{name}.csv")
        table = parquet.read_table(made.out / f"{name}.parquet").to_pylist()
        assert list(table[0]) == list(rows[0]) and len(table) == len(rows)
        counts = {"index", "frames", "frames_scored", "sequences"} & {*rows[0]}
        assert counts and all(type(one[key]) is int for one in table for key in counts)
        for one, other in zip(table, rows, strict=True):
            assert all(
                (other[key] == "" if each is None else str(each) == other[key])
                if not isinstance(each, float)
                else float(other[key]) == pytest.approx(each, rel=1e-8)
                for key, each in one.items()
            )


# Means, and what they rest on.


def test_averages_follow_the_definition(films: Path, model: str, tmp_path: Path) -> None:
    made = judged("hollywood2", films, tmp_path / "out", model)
    frames = rows_of(made.out / "frames.csv")
    shots = sorted({row["sequence"] for row in frames})
    by_shot = [[float(row["cc"]) for row in frames if row["sequence"] == shot] for shot in shots]
    assert sorted(map(len, by_shot)) == [1, 2, 3, 5]
    one = made.summary.scores["model"]["cc"]
    assert one.over_frames == pytest.approx(np.mean(np.concatenate(by_shot)), abs=1e-8)
    assert one.over_sequences == one.value == pytest.approx(np.mean([np.mean(shot) for shot in by_shot]), abs=1e-8)
    assert one.over_frames != pytest.approx(one.over_sequences, abs=1e-4)
    assert one.low <= one.value <= one.high and (one.frames, one.sequences) == (11, 4)
    table = {row["sequence"]: float(row["cc"]) for row in rows_of(made.out / "sequences.csv")}
    assert table[shots[0]] == pytest.approx(np.mean(by_shot[0]), abs=1e-6)


def test_the_summary_states_what_was_done(films: Path, model: str, tmp_path: Path) -> None:
    made = judged("hollywood2", films, tmp_path / "out", model, protocol="unisal", metrics=None, seed=3)
    stored = read_summary(made.out)
    assert stored.protocol["name"] == "unisal" and stored.protocol["seed"] == 3
    assert stored.protocol["averaging"] == "sequences" and stored.protocol["bits"] is None
    assert stored.protocol["epsilons"]["kl"] == pytest.approx(2.22e-16, rel=1e-2)
    assert len(stored.source["sha256"]) == 64 and stored.source["causal"] is True
    assert stored.dataset["split"] == "test" and stored.dataset["published"] == 3558
    text = format_summary(stored)
    for part in ("protocol unisal", "seed 3", "resamples", "enlarged bilinearly", f"vidsal {stored.version}"):
        assert part in text


# Baselines.


def test_baselines_are_scored_on_the_same_frames(films: Path, model: str, tmp_path: Path) -> None:
    made = judged("hollywood2", films, tmp_path / "out", model, baselines="centre-prior,mean-density,shuffled,uniform")
    frames = rows_of(made.out / "frames.csv")
    own = [(row["sequence"], row["frame"]) for row in frames if row["source"] == "model"]
    for name in ("centre-prior", "mean-density", "shuffled", "uniform"):
        assert [(row["sequence"], row["frame"]) for row in frames if row["source"] == name] == own
    assert value(made, "nss", "uniform") == pytest.approx(0, abs=1e-9)
    assert value(made, "auc_judd", "uniform") == pytest.approx(0.5, abs=1e-9)


def test_all_baselines_run_and_the_viewers_beat_chance(tmp_path: Path, model: str) -> None:
    root = make_stills(tmp_path / "set", count=3)
    made = judged("simple", root, tmp_path / "out", model, split="all", baselines="all")
    expected = ["centre-prior", "mean-density", "shuffled", "spectral-residual", "itti-koch", "gbvs", "inter-observer"]
    assert list(made.summary.scores) == ["model", *expected]
    assert value(made, "nss", "inter-observer") > 3  # all viewers looked at the disc
    assert math.isnan(value(made, "cc", "inter-observer"))
    assert "not available" not in "".join(made.summary.baselines.values())


def test_the_ceiling_is_the_density_of_the_others_at_the_fixations_of_the_one_left_out() -> None:
    from vidsal.data.layouts import Fixations

    points = [[8.5, 8.5], [8.5, 8.5], [24.5, 20.5], [24.5, 20.5], [24.5, 20.5]]
    seen = Fixations.on_picture(points, height=32, width=32, viewers=[0, 1, 2, 2, 2])
    left = left_out_viewers(seen, height=32, width=32) or pytest.fail("no viewers")
    others = left.densities(slice(None))
    assert left.viewers.tolist() == [0, 1, 2] and [len(each) for each in left.points] == [1, 1, 3]
    # The third viewer's spot is only known to the first two, and theirs to each other and not to the third alone.
    assert others[0][20, 24] > others[0][8, 8] > 10 * others[0][30, 2]
    assert others[2][8, 8] > 100 * others[2][20, 24]
    np.testing.assert_allclose(others.sum((1, 2)), 1, rtol=1e-5)
    alone = Fixations.on_picture(points[:2], height=32, width=32, viewers=[7, 7])
    assert left_out_viewers(alone, height=32, width=32) is None


def test_the_others_of_a_viewer_are_blurred_added_and_given_a_floor_as_by_the_definition() -> None:
    from vidsal.data.fixations import density_from_fixations
    from vidsal.data.layouts import Fixations

    rng = np.random.default_rng(2)
    points, viewers = rng.uniform((0, 0), (96, 54), (40, 2)), np.repeat([0, 1, 2, 5], 10)
    seen = Fixations.on_picture(points, height=54, width=96, viewers=viewers)
    left = left_out_viewers(seen, height=54, width=96) or pytest.fail("no viewers")
    assert left.viewers.tolist() == [0, 1, 2, 5]
    for place, viewer in enumerate(left.viewers):
        rest = points[viewers != viewer].astype(np.float32)
        counts = density_from_fixations(rest, height=54, width=96, sigma=0.03 * 96)
        # Cut off at the edges, not scaled: the others are added before the sum is brought to 1.
        expected = 0.99 * counts + 0.01 / counts.size
        np.testing.assert_allclose(left.densities(slice(place, place + 1))[0], expected, rtol=1e-4, atol=1e-9)


def test_the_usual_baselines_are_those_that_do_not_look_at_pictures(tmp_path: Path) -> None:
    options = EvalOptions()
    assert options.evaluation.baselines == "usual"
    assert find_references("usual") == ("centre-prior", "mean-density", "shuffled", "inter-observer")
    assert set(find_references("all")) - set(find_references("usual")) == {"spectral-residual", "itti-koch", "gbvs"}
    looking = {name for name, make in BASELINES.items() if make().looks}
    assert looking == set(BASELINES) - {"uniform", "centre-prior"}


def test_baselines_that_do_not_look_score_the_same_on_pictures_of_any_content(tmp_path: Path, model: str) -> None:
    root = make_stills(tmp_path / "set", count=3)
    made = judged("simple", root, tmp_path / "out", model, split="all", baselines="centre-prior,mean-density")
    for frame in read_scores(made.out):
        (still,) = (each for each in open_dataset("simple", root) if each.name == frame.name)
        shown = next(iter(still))
        picture = shown.picture()
        seen, truth = shown.fixations(), shown.density()
        assert seen is not None and truth is not None
        meter = ScoreMeter(FAST)
        prior = resize_map(CentrePrior().predict(picture[None])[0], *truth.shape)
        cells = FixatedCells.from_points([seen.points], height=truth.shape[0], width=truth.shape[1])
        meter.update(torch.from_numpy(prior)[None], torch.from_numpy(truth)[None], cells)
        assert frame.scores[1, 0] == pytest.approx([scores[0] for scores in meter.scores().values()], rel=1e-9)


def test_where_nobody_tells_viewers_apart_the_ceiling_is_missing_and_the_summary_says_so(
    films: Path, model: str, tmp_path: Path
) -> None:
    made = judged("hollywood2", films, tmp_path / "out", model, baselines="inter-observer")
    assert math.isnan(value(made, "nss", "inter-observer"))
    assert "not available" in made.summary.baselines["inter-observer"]
    printed = format_summary(made.summary).splitlines()
    assert "inter-observer" not in printed[2] and any(line.startswith("inter-observer: ") for line in printed)


def test_a_single_sequence_is_scored_without_a_shuffled_baseline(tmp_path: Path, model: str) -> None:
    folder = make_hollywood(tmp_path / "set") / "testing"
    for other in sorted(folder.iterdir())[1:]:
        shutil.rmtree(other)
    result = judged("hollywood2", tmp_path / "set", tmp_path / "out", model, baselines="centre-prior,shuffled")
    assert result.summary.sequences == 1 and not result.summary.skipped
    assert math.isfinite(value(result, "cc")) and math.isfinite(value(result, "cc", "centre-prior"))
    assert math.isnan(value(result, "cc", "shuffled")) and "not available" in result.summary.baselines["shuffled"]


def test_shuffled_auc_of_a_single_video_says_that_there_is_no_other_one_to_take_negatives_from(
    tmp_path: Path, model: str
) -> None:
    folder = make_hollywood(tmp_path / "set") / "testing"
    for other in sorted(folder.iterdir())[1:]:
        shutil.rmtree(other)
    why = "not available: shuffled_auc (there is no other sequence to take negatives from)"
    for asked in ("shuffled_auc", "nss,shuffled_auc"):
        made = judged("hollywood2", tmp_path / "set", tmp_path / asked, model, metrics=asked, baselines="centre-prior")
        assert math.isnan(value(made, "shuffled_auc")) and why in format_summary(made.summary).splitlines()
        # A baseline is not to blame for that.
        has_other = asked != "shuffled_auc"
        assert ("(not available: no metric that was asked for)" in made.summary.baselines["centre-prior"]) != has_other


def test_the_shuffled_density_comes_from_another_sequence() -> None:
    names = ["a", "b", "c", "d"]
    partners = {name: partner_of(name, names, seed=0) for name in names}
    assert all(partner in names and partner != name for name, partner in partners.items())
    assert partners == {name: partner_of(name, names[::-1], seed=0) for name in names}
    assert partner_of("a", ["a"], seed=0) is None


def test_the_shuffled_density_comes_from_another_clip(tmp_path: Path, model: str) -> None:
    names = [f"clip{clip}_{shot}" for clip in range(3) for shot in range(4)]
    recordings = {name: name.partition("_")[0] for name in names}
    for name in names:
        partner = partner_of(name, names, seed=0, recordings=recordings)
        assert partner is not None and recordings[partner] != recordings[name]
    assert partner_of("clip0_1", names[:4], seed=0, recordings=recordings) is None
    shots = {"actioncliptest00001_1": (3, 2), "actioncliptest00001_2": (5, 2), "actioncliptrain00001_1": (3, 1)}
    root = make_hollywood(tmp_path / "set", shots=shots)
    made = judged("hollywood2", root, tmp_path / "out", model, baselines="shuffled")
    assert "not available" in made.summary.baselines["shuffled"]


def test_the_mean_of_the_others_leaves_out_the_whole_clip(films: Path) -> None:
    dataset = open_dataset("hollywood2", films, split="test")
    means, _ = gather_means(dataset, splits=("all", "test"), options={})
    alone = dataclasses.replace(dataset, sequences=tuple(each for each in dataset if "00002" in each.name))
    other, _ = gather_means(alone, splits=("all", "test"), options={})
    expected = dataclasses.replace(other, own={}).of("another")
    assert expected is not None
    for shot in ("1", "2", "10"):
        made = means.of(f"actioncliptest00001_{shot}")
        assert made is not None
        np.testing.assert_allclose(made, expected, atol=1e-8)
    # So it is for a shot that put nothing in itself.
    some = dataclasses.replace(dataset, sequences=dataset.sequences[:2])
    assert gather_means(some, splits=("all",), options={})[0].of(some.sequences[1].name) is None


def test_the_mean_density_knows_nothing_of_what_is_scored(tmp_path: Path) -> None:
    # Two sequences that look left in the training split, two that look right in the test split.
    shots = {"actioncliptrain00001_1": (3, 3), "actioncliptest00001_1": (3, 3)}
    root = make_hollywood(tmp_path / "set", shots=shots)
    for name, column in (("actioncliptrain00001_1", 8), ("actioncliptest00001_1", 56)):
        part = "training" if "train" in name else "testing"
        for file in (root / part / name / "maps").iterdir():
            values = np.zeros((HEIGHT, WIDTH), np.uint8)
            values[20:28, column - 4 : column + 4] = 255
            write(file, values)
    maps = tmp_path / "maps" / "actioncliptest00001_1"
    for file in (root / "testing" / "actioncliptest00001_1" / "maps").iterdir():
        write(maps / file.name, np.full((HEIGHT, WIDTH), 9, np.uint8))
    trained = judged("hollywood2", root, tmp_path / "a", "", maps=maps.parent, baselines="mean-density")
    assert "training split" in trained.summary.baselines["mean-density"]
    assert value(trained, "cc", "mean-density") < 0
    # The only scored sequence is left out of its own mean, too.
    alone = judged(
        "hollywood2", root, tmp_path / "b", "", maps=tmp_path / "maps", baselines="mean-density", split="test"
    )
    assert value(alone, "cc", "mean-density") < 0


def test_without_a_training_split_the_mean_is_of_the_others(tmp_path: Path) -> None:
    dataset = open_dataset("simple", make_stills(tmp_path / "set", count=4), split="all")
    means, messages = gather_means(dataset, splits=("all", "train", "val"), options={})
    assert means.note.startswith("for each sequence the mean density of the other sequences of split all (4 have one)")
    assert not messages
    made = means.of("002.png")
    assert made is not None and made.sum() == pytest.approx(1, abs=1e-4)
    others = [next(iter(each)).density() for each in dataset if each.name != "002.png"]
    mean = np.mean([resize_map(each, *made.shape) for each in others if each is not None], axis=0)
    np.testing.assert_allclose(made, 0.99 * mean / mean.sum() + 0.01 / made.size, atol=1e-7)
    # Nobody else's: a sequence alone has no mean.
    alone = dataclasses.replace(dataset, sequences=dataset.sequences[:1])
    assert gather_means(alone, splits=("all",), options={})[0].of("000.png") is None


# Maps made elsewhere.


def test_the_models_own_maps_written_by_run_score_as_the_model_does(tmp_path: Path, model: str) -> None:
    root = make_simple(tmp_path / "set")
    for name in ("images", "fixations.csv"):
        (root / name).rename(tmp_path / name)
    maps = tmp_path / "maps"
    for name in ("one", "two"):
        options = RunOptions(
            model=ModelOptions(model=model, device="cpu"),
            recurrence=RecurrenceOptions(every=1),
            output=OutputOptions(output=maps, video=False, table="none", maps="npz" if name == "one" else "mkv"),
        )
        run(root / "videos" / f"{name}.mp4", options=options)
    # The reports of the runs lie beside them.
    assert {path.name for path in maps.iterdir()} >= {"one.vidsal.json", "one.vidsal.maps.npz", "two.vidsal.maps.mkv"}
    direct = judged("simple", root, tmp_path / "a", model, split="all")
    made = judged("simple", root, tmp_path / "b", "", split="all", maps=maps)
    for metric in FAST:
        assert value(made, metric) == pytest.approx(value(direct, metric), abs=2e-3)
    assert made.summary.source["kind"] == "maps" and made.summary.source["causal"] is None


def test_maps_are_matched_by_name_not_by_place(films: Path, tmp_path: Path) -> None:
    maps = truth_of_films(tmp_path / "maps")
    # A map too many, which sorts first, moves nothing.
    write(maps / "actioncliptest00001_2" / "actioncliptest00001_00001.png", density(40))
    assert value(judged("hollywood2", films, tmp_path / "a", "", maps=maps), "cc") == pytest.approx(1, abs=1e-6)


def test_maps_named_otherwise_are_matched_by_order_if_they_are_as_many(films: Path, tmp_path: Path) -> None:
    maps = truth_of_films(tmp_path / "maps")
    for folder in maps.iterdir():
        for place, file in enumerate(sorted(folder.iterdir()), 1):
            file.rename(folder / f"{place}.png")
    assert value(judged("hollywood2", films, tmp_path / "a", "", maps=maps), "cc") == pytest.approx(1, abs=1e-6)
    (maps / "actioncliptest00001_2" / "5.png").unlink()
    made = judged("hollywood2", films, tmp_path / "b", "", maps=maps)
    assert "4 maps for 5 frames" in made.summary.skipped["actioncliptest00001_2"]


def test_only_the_maps_of_scored_frames_need_be_there_where_names_tell(films: Path, tmp_path: Path) -> None:
    sequence = next(each for each in open_dataset("hollywood2", films, split="test") if each.name.endswith("1_2"))
    names = [frame.name for frame in sequence]
    for k in (1, 3):
        write(tmp_path / "maps" / sequence.name / names[k], density(k))
    source = FolderSource(tmp_path / "maps")
    assert [frame.index for frame, _ in source.maps(sequence, [1, 3])] == [1, 3]
    with pytest.raises(DatasetError, match="2 maps for 5 frames"):
        list(source.maps(sequence, [1, 2]))


@pytest.mark.parametrize("unrolled", [True, False])
def test_maps_numbered_from_one_are_those_of_the_frames_whichever_are_scored(tmp_path: Path, unrolled: bool) -> None:
    root = make_dreyeve(tmp_path / "set", frames=10, runs=(1, 38), unrolled=unrolled)
    sequence = open_dataset("dreyeve", root, split="test").sequences[0]
    part = dataclasses.replace(sequence, name="38[3:9]", first=3, length=6)
    folder = tmp_path / "maps" / "38"
    for k in range(10):
        write(folder / f"{k + 1:06d}.png", density(k))
    source = FolderSource(folder.parent)

    def found(of: LabelledSequence, wanted: list[int]) -> list[int]:
        peaks = [np.unravel_index(made.argmax(), made.shape) for _, made in source.maps(of, wanted)]
        return [next(k for k in range(10) if spot(k) == peak) for peak in peaks]

    for wanted in ([0, 1, 5, 9], [1, 5], [5, 8]):
        assert found(sequence, wanted) == wanted
    for wanted in ([0, 5], [1, 2]):
        assert found(part, wanted) == [3 + k for k in wanted]
    # One is missing: nobody can say whether the rest are numbered from 0 or from 1.
    (folder / "000010.png").unlink()
    for of in (sequence, part):
        with pytest.raises(DatasetError, match="9 maps for 10 frames, and none is named like frame 000000"):
            found(of, [1, 5])
    # Named like all frames, with one too many.
    for k in range(11):
        write(folder / f"{k:06d}.png", density(k))
    assert found(sequence, [1, 5]) == [1, 5] and found(part, [1, 5]) == [4, 8]


def test_an_array_for_a_part_of_a_run_is_compared_with_the_whole_run(tmp_path: Path) -> None:
    root = make_dreyeve(tmp_path / "set", frames=10, runs=(1, 38))
    sequence = open_dataset("dreyeve", root, split="test").sequences[0]
    part = dataclasses.replace(sequence, name="38[3:9]", first=3, length=6)
    maps = tmp_path / "maps"
    maps.mkdir()
    values = np.stack([density(k) for k in range(10)])
    np.savez(maps / "38.npz", saliency=values)
    ((_, made),) = FolderSource(maps).maps(part, [2])
    np.testing.assert_array_equal(made, values[5])
    np.savez(maps / "38.npz", saliency=values[1:])
    with pytest.raises(DatasetError, match="9 maps for 10 frames"):
        list(FolderSource(maps).maps(part, [2]))


def test_flat_maps_that_lack_a_frame_are_refused_whichever_are_scored(films: Path, tmp_path: Path) -> None:
    sequence = next(each for each in open_dataset("hollywood2", films, split="test") if each.name.endswith("1_2"))
    for number in range(6, 11):
        write(tmp_path / "maps" / f"actioncliptest00001_{number + 1:05d}.png", density(number))
    with pytest.raises(DatasetError, match=r"1 of the 5 frames .* have no map, the first is .*00006.png"):
        list(FolderSource(tmp_path / "maps").maps(sequence, [1, 3]))


def test_maps_may_lie_flat_where_the_frames_have_names_of_their_own(films: Path, tmp_path: Path) -> None:
    maps = truth_of_films(tmp_path / "maps")
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in maps.rglob("*.png"):
        file.rename(flat / file.name)
    assert value(judged("hollywood2", films, tmp_path / "a", "", maps=flat), "cc") == pytest.approx(1, abs=1e-6)


def test_numbers_alone_are_never_taken_for_names_in_a_flat_folder(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path / "set", numbers=(601, 602), frames=3)
    for number in (1, 2, 3):
        write(tmp_path / "maps" / f"{number:04d}.png", density(number))
    with pytest.raises(DatasetError, match="not one frame"):
        judged("dhf1k", root, tmp_path / "out", "", maps=tmp_path / "maps")


def test_a_video_of_maps_has_a_map_for_every_frame(films: Path, tmp_path: Path) -> None:
    maps = truth_of_films(tmp_path / "maps")
    shot = maps / "actioncliptest00001_2"
    files = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in sorted(shot.iterdir())]
    for file in shot.iterdir():
        file.unlink()
    shot.rmdir()
    kind: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "codec": "ffv1", "pix_fmt": "gray"}
    make_video(maps / f"{shot.name}.mkv", frames=5, picture=lambda k: as_rgb(files[k]), **kind)
    whole = judged("hollywood2", films, tmp_path / "a", "", maps=maps)
    assert value(whole, "cc") == pytest.approx(1, abs=1e-3)
    make_video(maps / f"{shot.name}.mkv", frames=4, picture=lambda k: as_rgb(files[k]), **kind)
    made = judged("hollywood2", films, tmp_path / "b", "", maps=maps)
    assert "4 maps for 5 frames" in made.summary.skipped[shot.name]


@pytest.mark.parametrize("named", [True, False])
def test_arrays_are_matched_by_their_index_or_their_order(films: Path, tmp_path: Path, named: bool) -> None:
    maps = truth_of_films(tmp_path / "maps")
    shot = maps / "actioncliptest00001_2"
    values = np.stack([density(number) for number in range(6, 11)])
    for file in shot.iterdir():
        file.unlink()
    shot.rmdir()
    if named:
        np.savez(maps / f"{shot.name}.npz", saliency=values[::-1], index=np.arange(5)[::-1])
    else:
        np.savez(maps / f"{shot.name}.npz", saliency=values)
    assert value(judged("hollywood2", films, tmp_path / "a", "", maps=maps), "cc") == pytest.approx(1, abs=1e-6)
    np.savez(maps / f"{shot.name}.npz", saliency=values[:3])
    made = judged("hollywood2", films, tmp_path / "b", "", maps=maps)
    assert "3 maps for 5 frames" in made.summary.skipped[shot.name]
    np.savez(maps / f"{shot.name}.npz", other=values)
    made = judged("hollywood2", films, tmp_path / "c", "", maps=maps)
    assert "holds other; expected" in made.summary.skipped[shot.name]


def test_maps_of_stills_may_leave_out_folder_and_ending(tmp_path: Path) -> None:
    root = make_cat2000(tmp_path / "set")
    for category, numbers in (("Action", (1, 2, 10)), ("Pattern", (134,))):
        for number in numbers:
            write(tmp_path / "maps" / category / f"{number:03d}.png", density(number))
    made = judged("cat2000", root, tmp_path / "out", "", split="train", maps=tmp_path / "maps")
    assert value(made, "cc") > 0.99  # the published maps are JPEGs


def test_a_map_of_zeros_is_a_bad_prediction_and_not_an_error(films: Path, tmp_path: Path) -> None:
    maps = truth_of_films(tmp_path / "maps")
    write(maps / "actioncliptest00002_1" / "actioncliptest00002_00003.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    made = judged("hollywood2", films, tmp_path / "out", "", maps=maps)
    row = next(row for row in rows_of(made.out / "frames.csv") if row["sequence"] == "actioncliptest00002_1")
    assert float(row["nss"]) == 0 and float(row["cc"]) == 0 and float(row["zero_mass"]) == pytest.approx(1)


def test_a_map_that_is_not_finite_is_refused(films: Path, tmp_path: Path) -> None:
    maps = truth_of_films(tmp_path / "maps")
    shot = maps / "actioncliptest00002_1"
    (shot / "actioncliptest00002_00003.png").unlink()
    shot.rmdir()
    np.savez(maps / f"{shot.name}.npz", saliency=np.full((1, HEIGHT, WIDTH), np.nan))
    made = judged("hollywood2", films, tmp_path / "out", "", maps=maps)
    assert "NaN" in made.summary.skipped[shot.name]


# What cannot be read.


def test_pictures_of_several_sizes_are_recordings_of_their_own(tmp_path: Path, model: str) -> None:
    root = make_hollywood(tmp_path / "set")
    shot = root / "testing" / "actioncliptest00001_2"
    for number in (8, 9, 10):
        name = f"actioncliptest00001_{number:05d}.png"
        write(shot / "images" / name, picture(number, height=HEIGHT // 2))
        write(shot / "maps" / name, density(number, height=HEIGHT // 2))
        write(shot / "fixation" / name, fixation_map(number, height=HEIGHT // 2))
    for name in ("none", "motion", "gaussian"):
        smooth = SmoothOptions(smoothing=name)  # type: ignore[arg-type]
        made = judged("hollywood2", root, tmp_path / name, model, smooth=smooth)
        assert not made.summary.skipped and made.summary.frames == 11
    sequence = next(each for each in open_dataset("hollywood2", root, split="test") if each.name == shot.name)
    source = ModelSource(load_model(model, device="cpu"))
    whole = {frame.index: values for frame, values in source.maps(sequence, range(5))}
    second = source.maps(dataclasses.replace(sequence, first=2), range(3))
    for frame, values in second:
        np.testing.assert_allclose(values, whole[frame.index + 2], rtol=1e-5)


def test_a_label_that_is_no_density_costs_its_sequence_only(tmp_path: Path, model: str) -> None:
    root = make_hollywood(tmp_path / "set")
    for number, wrong in ((6, np.nan), (11, -1.0)):
        shot = "actioncliptest00001_2" if number == 6 else "actioncliptest00001_10"
        values = density(number).astype(np.float32)
        values[0, 0] = wrong
        folder = root / "testing" / shot / "maps"
        (folder / f"actioncliptest00001_{number:05d}.png").unlink()
        assert cv2.imwrite(str(folder / f"actioncliptest00001_{number:05d}.tiff"), values)
    made = judged("hollywood2", root, tmp_path / "out", model)
    assert set(made.summary.skipped) == {"actioncliptest00001_2", "actioncliptest00001_10"}
    assert all("NaN, infinity or negative" in reason for reason in made.summary.skipped.values())


def test_values_that_nobody_thought_of_cost_their_sequence_only(
    films: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Judge.score

    def stumbles(judge: Judge, sequence: LabelledSequence, **_: Any) -> SequenceScores:
        if sequence.name == "actioncliptest00001_2":
            raise ValueError("a map of no size")
        return score(judge, sequence)

    monkeypatch.setattr(Judge, "score", stumbles)
    made = judged("hollywood2", films, tmp_path / "out", model)
    assert set(made.summary.skipped) == {"actioncliptest00001_2"} and made.summary.sequences == 3
    assert made.summary.skipped["actioncliptest00001_2"].endswith("cannot be scored: a map of no size")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A set of which one shot lacks a map, and one picture of another is no picture."""
    root = make_hollywood(tmp_path / "broken")
    (root / "testing" / "actioncliptest00001_2" / "maps" / "actioncliptest00001_00008.png").unlink()
    (root / "testing" / "actioncliptest00001_10" / "images" / "actioncliptest00001_00012.png").write_bytes(b"no")
    return root


def test_a_corrupt_sequence_is_told_counted_and_left_out(broken: Path, model: str, tmp_path: Path) -> None:
    told: list[EvalProgress] = []
    made = judged("hollywood2", broken, tmp_path / "out", model, on_progress=told.append)
    assert set(made.summary.skipped) == {"actioncliptest00001_2", "actioncliptest00001_10"}
    assert "00007.png comes actioncliptest00001_00009.png" in made.summary.skipped["actioncliptest00001_2"]
    assert made.summary.sequences == 2 and made.summary.frames == 4
    assert {each.name for each in told if each.skipped} == set(made.summary.skipped)
    printed = format_summary(made.summary).splitlines()
    assert "2 of 4 sequences, 4 frames" in printed[0]
    (line,) = (line for line in printed if line.startswith("SKIPPED: 2 sequences"))
    first = next(iter(made.summary.skipped))
    assert line.endswith(f"; {first}: {made.summary.skipped[first]}")


def test_fixations_that_cannot_be_read_before_scoring_are_told_too(broken: Path, model: str, tmp_path: Path) -> None:
    (broken / "testing" / "actioncliptest00001_1" / "fixation" / "actioncliptest00001_00004.png").write_bytes(b"no")
    told: list[EvalProgress] = []
    made = judged("hollywood2", broken, tmp_path / "out", model, metrics="shuffled_auc,cc", on_progress=told.append)
    assert "actioncliptest00001_1" in made.summary.skipped
    assert {each.name for each in told if each.skipped} == set(made.summary.skipped)
    assert [each.done for each in told] == [1, 2, 3, 4] and {each.total for each in told} == {4}


@pytest.mark.parametrize(("flags", "status"), [((), 0), (("--strict",), 1)])
def test_strict_makes_what_was_left_out_an_error(
    broken: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], status: int
) -> None:
    arguments = ["eval", "hollywood2", str(broken), "-m", model, "--out", str(tmp_path / "out"), "--baselines", "none"]
    assert main([*arguments, "--metrics", "nss,cc", "--device", "cpu", *flags]) == status
    out, err = capsys.readouterr()
    assert "SKIPPED: 2" in out and out.splitlines()[-1] == str(tmp_path / "out" / "summary.json")
    assert "left out" in err


def test_strict_has_nothing_against_a_whole_set(films: Path, model: str, tmp_path: Path) -> None:
    arguments = ["eval", "hollywood2", str(films), "-m", model, "--out", str(tmp_path / "out"), "--baselines", "none"]
    assert main([*arguments, "--metrics", "cc", "--strict", "-q", "--device", "cpu"]) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_video_cut_short_is_told_and_no_whole_set_for_strict(
    known: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    root = make_simple(tmp_path / "set")
    whole = make_video(tmp_path / "whole.mkv", frames=60, width=WIDTH, height=HEIGHT, rate=25)
    (root / "videos" / "one.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    arguments = ["eval", "simple", str(root), "-m", known, "--out", str(tmp_path / "out"), "--baselines", "none"]
    arguments += ["--split", "all", "--metrics", "nss", "--device", "cpu", "--workers", workers]
    for flags, status in ((), 0), (("--strict",), 1):
        assert main([*arguments, *flags]) == status
        assert "vidsal: warning: one.mp4: the file ends early" in capsys.readouterr().err
        summary = read_summary(tmp_path / "out")
        assert summary.partial == ("one.mp4",) and not summary.skipped
        assert {text.partition(":")[0] for text in summary.messages} == {"one.mp4"}
    (root / "videos" / "one.mp4").write_bytes(whole.read_bytes())
    assert main([*arguments, "--strict"]) == 0


def test_what_was_cut_short_is_told_where_the_last_frames_are_not_scored(model: str, tmp_path: Path) -> None:
    root = make_simple(tmp_path / "set")
    whole = make_video(tmp_path / "whole.mkv", frames=60, width=WIDTH, height=HEIGHT, rate=25)
    (root / "videos" / "one.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    made = judged("simple", root, tmp_path / "out", model, split="all", limit_frames=2)
    assert made.summary.partial == ("one.mp4",) and any("ends early" in text for text in made.summary.messages)


def test_where_nothing_can_be_scored_the_first_reason_is_told(tmp_path: Path, model: str) -> None:
    root = make_hollywood(tmp_path / "set", shots={"actioncliptest00001_1": (3, 2), "actioncliptrain00001_1": (3, 1)})
    (root / "testing" / "actioncliptest00001_1" / "maps" / "actioncliptest00001_00003.png").unlink()
    with pytest.raises(DatasetError, match=r"not one frame .* actioncliptest00001_1: "):
        judged("hollywood2", root, tmp_path / "out", model)
    chosen = r"of 4 sequences: 4 have no frame that it chooses, having 1 to 5 frames \(it takes from 15, every 64, "
    with pytest.raises(DatasetError, match=f"not one frame .*{chosen}"):
        judged("hollywood2", make_hollywood(tmp_path / "short"), tmp_path / "b", model, protocol="stsanet")
    assert not (tmp_path / "out").exists() and not (tmp_path / "b").exists()


def test_where_every_frame_is_left_out_the_reasons_are_counted(tmp_path: Path, model: str) -> None:
    root = make_hollywood(tmp_path / "set", shots={"actioncliptest00001_1": (3, 32), "actioncliptrain00001_1": (3, 1)})
    for path in (root / "testing" / "actioncliptest00001_1" / "fixation").iterdir():
        write(path, np.zeros((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(DatasetError, match=r"not one frame .* left out: 1 unfixated"):
        judged("hollywood2", root, tmp_path / "out", model, protocol="stsanet", metrics="nss")


def test_a_failure_leaves_other_files_of_the_folder_alone(tmp_path: Path, model: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="not one frame"):
        judged("hollywood2", make_hollywood(tmp_path / "short"), out, model, protocol="stsanet")
    assert (out / "notes.txt").read_text() == "mine" and not (out / "sequences").exists()


@pytest.mark.parametrize("place", [".", "testing", "testing/actioncliptest00001_1"])
def test_results_do_not_go_among_the_files_of_the_data(tmp_path: Path, model: str, place: str) -> None:
    root = make_hollywood(tmp_path / "set")
    before = sorted(root.rglob("*"))
    with pytest.raises(ConfigError, match=r"is a folder of the data set"):
        judged("hollywood2", root, root / place, model)
    assert sorted(root.rglob("*")) == before


def test_results_may_lie_in_a_folder_of_their_own_below_the_data(films: Path, model: str) -> None:
    for _ in range(2):
        assert judged("hollywood2", films, films / "results", model).summary.sequences == 4


# Resuming.


def test_a_stopped_evaluation_goes_on_where_it_stopped(films: Path, model: str, tmp_path: Path) -> None:
    whole = judged("hollywood2", films, tmp_path / "whole", model)
    told: list[EvalProgress] = []
    with pytest.raises(Stopped):
        judged(
            "hollywood2", films, tmp_path / "cut", model, on_progress=told.append, should_stop=lambda: len(told) == 2
        )
    assert not (tmp_path / "cut" / "summary.json").exists()
    first = judged("hollywood2", films, tmp_path / "cut", model, on_progress=told.append)
    assert first.resumed == 2 and len(told) == 4
    assert [each.done for each in told] == [1, 2, 3, 4]
    for name in ("frames.csv", "sequences.csv", "scenarios.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert first.summary.scores == whole.summary.scores


@pytest.mark.parametrize(
    ("file", "baselines", "metrics"),
    [
        ("training/actioncliptrain00001_1/maps/actioncliptrain00001_00003.png", "none", "cc,information_gain"),
        ("training/actioncliptrain00001_1/maps/actioncliptrain00001_00003.png", "mean-density", "cc"),
        ("testing/actioncliptest00001_2/images/actioncliptest00001_00007.png", "shuffled", "cc"),
        ("testing/actioncliptest00002_1/maps/actioncliptest00002_00003.png", "shuffled", "cc"),
    ],
    ids=["gain", "mean", "names", "partner"],
)
def test_scores_beside_other_references_are_made_again(
    model: str, tmp_path: Path, file: str, baselines: str, metrics: str
) -> None:
    root = make_hollywood(tmp_path / "set")
    wanted: dict[str, Any] = {"baselines": baselines, "metrics": metrics}
    path = root / file
    good = path.read_bytes()
    if "/images/" in file:
        path.unlink()
    else:
        path.write_bytes(b"no")
    judged("hollywood2", root, tmp_path / "out", model, **wanted)
    path.write_bytes(good)
    mended = judged("hollywood2", root, tmp_path / "out", model, **wanted)
    fresh = judged("hollywood2", root, tmp_path / "fresh", model, **wanted)
    assert mended.resumed == 0 and not mended.summary.skipped
    assert (mended.out / "frames.csv").read_bytes() == (fresh.out / "frames.csv").read_bytes()
    assert mended.summary.key == fresh.summary.key and len(read_scores(mended.out)) == 4
    # Nothing has changed since: all is taken up.
    assert judged("hollywood2", root, tmp_path / "out", model, **wanted).resumed == 4


def rewritten(path: Path) -> None:
    """A file that is not what it was: a picture turned upside down, a table whose rows lie elsewhere, another video."""
    if path.suffix == ".mp4":
        make_video(path, frames=8, width=WIDTH, height=HEIGHT, rate=25, picture=lambda number: picture(number + 3))
    elif path.suffix == ".csv":
        first, *rest = path.read_text().splitlines()
        path.write_text(
            "\n".join([first, *(f"{row.rpartition(',')[0]},9" if "two" in row else row for row in rest), ""])
        )
    else:
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert values is not None
        cv2.imwrite(str(path), values[::-1])


@pytest.mark.parametrize(
    ("kind", "workers"), [("images", 1), ("maps", 1), ("fixation", 1), pytest.param("maps", 2, marks=pytest.mark.slow)]
)
def test_a_sequence_of_which_a_file_has_changed_is_scored_again(
    known: str, tmp_path: Path, kind: str, workers: int
) -> None:
    root, out = make_hollywood(tmp_path / "set"), tmp_path / "out"
    before = judged("hollywood2", root, out, known)
    told: list[EvalProgress] = []
    for shot, count in ("actioncliptest00001_2", 1), ("actioncliptest00002_1", 2):
        for path in sorted((root / "testing" / shot / kind).iterdir())[:count]:
            rewritten(path)
    again = judged("hollywood2", root, out, known, workers=workers, on_progress=told.append)
    assert {each.name for each in told} == {"actioncliptest00001_2", "actioncliptest00002_1"} and again.resumed == 2
    fresh = judged("hollywood2", root, tmp_path / "fresh", known)
    assert (out / "frames.csv").read_bytes() == (tmp_path / "fresh" / "frames.csv").read_bytes()
    assert again.summary.scores == fresh.summary.scores != before.summary.scores
    assert again.summary.key == fresh.summary.key != before.summary.key
    shutil.rmtree(root)
    assert [each.name for each in read_scores(out)] == list(again.summary.by_sequence)


@pytest.mark.parametrize("file", ["videos/two.mp4", "video_fixations.csv"])
def test_a_video_or_a_row_of_a_table_that_has_changed_concerns_its_sequence_only(
    model: str, tmp_path: Path, file: str
) -> None:
    root, out = make_simple(tmp_path / "set"), tmp_path / "out"
    whole = judged("simple", root, out, model, split="all", limit_frames=2, metrics="nss,cc")
    rewritten(root / file)
    told: list[EvalProgress] = []
    again = judged("simple", root, out, model, split="all", limit_frames=2, metrics="nss,cc", on_progress=told.append)
    assert [each.name for each in told] == ["two.mp4"] and again.resumed == whole.summary.sequences - 1
    assert again.summary.by_sequence["two.mp4"] != whole.summary.by_sequence["two.mp4"]


def test_a_partner_that_has_changed_concerns_who_borrows_from_it(model: str, tmp_path: Path) -> None:
    root, out = make_hollywood(tmp_path / "set"), tmp_path / "out"
    judged("hollywood2", root, out, model, baselines="shuffled")
    rewritten(next((root / "testing" / "actioncliptest00002_1" / "maps").iterdir()))
    # It lends to the three shots of the other clip.
    assert judged("hollywood2", root, out, model, baselines="shuffled").resumed == 0
    assert judged("hollywood2", root, out, model, baselines="shuffled").resumed == 4


def test_scores_made_after_the_summary_are_not_read_beside_it(model: str, tmp_path: Path) -> None:
    root, out = make_hollywood(tmp_path / "set"), tmp_path / "out"
    judged("hollywood2", root, out, model)
    for shot in "actioncliptest00001_1", "actioncliptest00001_2":
        rewritten(next((root / "testing" / shot / "maps").iterdir()))
    with pytest.raises(Stopped):
        judged("hollywood2", root, out, model, should_stop=lambda: True)
    with pytest.raises(ConfigError, match="made after its summary"):
        read_scores(out)
    assert judged("hollywood2", root, out, model).resumed == 3 and len(read_scores(out)) == 4


MADE = {
    "aim2024": make_challenge,
    "bdd-a": make_bdda,
    "cat2000": make_cat2000,
    "dhf1k": make_dhf1k,
    "dreyeve": make_dreyeve,
    "dut-omron": make_dut_omron,
    "hollywood2": make_hollywood,
    "isun": make_isun,
    "mit1003": make_mit1003,
    "osie": make_osie,
    "pascal-s": make_pascal_s,
    "salicon": make_salicon,
    "simple": make_simple,
    "toronto": make_toronto,
    "ucf-sports": make_ucf_sports,
}


def fingerprints(name: str, root: Path, *, read: bool = False) -> dict[str, str]:
    prints = Fingerprints()
    dataset = open_dataset(name, root, split="all")
    for sequence in dataset if read else ():
        for frame in sequence:
            frame.picture(), frame.density(), frame.fixations()
    return {sequence.name: prints.of(sequence) for sequence in dataset}


@pytest.mark.parametrize("name", MADE)
def test_a_sequence_has_the_same_fingerprint_until_one_of_its_files_changes(name: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    MADE[name](root)
    before = fingerprints(name, root)
    assert len(set(before.values())) == len(before)
    (root / "results").mkdir()
    (root / "results" / "summary.json").write_text("{}")
    # Nor does it depend on where objects lie, or on what has been read.
    assert fingerprints(name, root, read=True) == before
    endings = (".jpg", ".jpeg", ".png", ".mp4", ".avi")
    paths = [path for path in sorted(root.rglob("*")) if path.suffix in endings]
    paths += sorted((root / "DUT-OMRON-eye-fixations").rglob("*.mat"))
    changed: set[str] = set()
    for path in paths:
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        after = fingerprints(name, root)
        # One, and not those of other pictures; a few files belong to nothing.
        own = {each for each in before if before[each] != after[each]}
        assert before.keys() == after.keys() and len(own) <= 1, path
        before, changed = after, changed | own
    assert changed == before.keys()


def test_a_fingerprint_goes_through_all_that_an_object_holds(tmp_path: Path) -> None:
    @dataclasses.dataclass(eq=False)
    class Knot:
        value: Any
        own: list[Any] = dataclasses.field(default_factory=list, init=False)

        def read(self) -> Any:
            return self.value

    def knot(value: Any) -> Knot:
        made = Knot([value])
        made.value.append(made)
        made.own.append(object())
        return made

    (tmp_path / "a").write_text("a")
    kinds: list[Any] = [
        *(
            1,
            1.5,
            "a",
            None,
            (1, 2),
            [1, 2],
            {1, 2},
            {"a": 1},
            {"a": 2},
            frozenset({3}),
            object(),
            len,
            int,
            read_density,
        ),
        *(np.zeros(2), np.zeros(3), np.zeros(2, np.float32), np.ones(2), tmp_path, tmp_path / "a", tmp_path / "none"),
    ]
    ways: list[Any] = [
        lambda value: value,
        lambda value: lambda: value,
        lambda value: partial(max, value),
        lambda value: partial(max, key=value),
        lambda value: knot(value),
        lambda value: knot(value).read,
        lambda value: np.array([[value], None], object),
        lambda value: cache(lambda: value),
    ]
    first = [Fingerprints().of(way(value)) for way in ways for value in kinds]
    prints = Fingerprints()
    assert [prints.of(way(value)) for way in ways for value in kinds] == first
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("place", ["out", "maps/out", "maps"])
def test_maps_that_were_made_again_are_scored_again_by_the_same_command(
    films: Path, tmp_path: Path, place: str
) -> None:
    maps, out = truth_of_films(tmp_path / "maps"), tmp_path / place
    before = judged("hollywood2", films, out, "", maps=maps)
    assert judged("hollywood2", films, out, "", maps=maps).resumed == 4
    truth_of_films(tmp_path / "others", shift=2)
    one = "actioncliptest00001_2"
    shutil.copytree(tmp_path / "others" / one, maps / one, dirs_exist_ok=True)
    again = judged("hollywood2", films, out, "", maps=maps)
    assert again.resumed == 3 and value(again, "cc") < value(before, "cc") == pytest.approx(1)
    with pytest.raises(ConfigError, match="holds another evaluation"):
        judged("hollywood2", films, out, "", maps=tmp_path / "others")


def test_maps_beside_each_other_are_all_scored_again(films: Path, tmp_path: Path) -> None:
    for folder in truth_of_films(tmp_path / "folders").iterdir():
        for path in folder.iterdir():
            write(tmp_path / "maps" / path.name, density(3))
    for resumed in 0, 4:
        assert judged("hollywood2", films, tmp_path / "maps" / "out", "", maps=tmp_path / "maps").resumed == resumed
    rewritten(tmp_path / "maps" / "actioncliptest00001_00007.png")
    assert judged("hollywood2", films, tmp_path / "maps" / "out", "", maps=tmp_path / "maps").resumed == 0


def test_scores_of_another_model_or_protocol_are_not_taken_up(films: Path, model: str, tmp_path: Path) -> None:
    judged("hollywood2", films, tmp_path / "out", model)
    other = str(make_checkpoint(tmp_path / "other.safetensors", seed=1))
    for changed in ({"model": other}, {"model": model, "protocol": "unisal"}, {"model": model, "seed": 5}):
        (tmp_path / "out" / "summary.json").unlink()
        made = judged("hollywood2", films, tmp_path / "out", **changed)
        assert made.resumed == 0
    again = judged("hollywood2", films, tmp_path / "out", model, seed=5)
    assert again.resumed == 4


def test_finished_results_of_something_else_are_not_written_over(films: Path, model: str, tmp_path: Path) -> None:
    judged("hollywood2", films, tmp_path / "out", model)
    with pytest.raises(ConfigError, match="holds another evaluation: tiny on hollywood2") as error:
        judged("hollywood2", films, tmp_path / "out", model, protocol="unisal")
    # What differs is named, and nothing else.
    assert "protocol.name was vidsal, is now unisal" in str(error.value) and "source." not in str(error.value)
    with pytest.raises(ConfigError, match=r"vidsal \S+: limit was none, is now 2; choose another out"):
        judged("hollywood2", films, tmp_path / "out", model, limit_frames=2)
    other = str(make_checkpoint(tmp_path / "other.safetensors", seed=1))
    with pytest.raises(ConfigError, match=r": source.sha256 was \w{57}\.\.\., is now \w{57}\.\.\.; choose"):
        judged("hollywood2", films, tmp_path / "out", other)
    # Results of earlier versions do not say what was asked for.
    summary = tmp_path / "out" / "summary.json"
    values = json.loads(summary.read_text())
    summary.write_text(json.dumps({name: one for name, one in values.items() if name != "asked"}))
    with pytest.raises(ConfigError, match=r"under protocol vidsal, vidsal [^;:]+; choose another out"):
        judged("hollywood2", films, tmp_path / "out", other)
    made = judged("hollywood2", films, tmp_path / "out", model, protocol="unisal", overwrite=True)
    assert read_summary(tmp_path / "out").protocol["name"] == made.summary.protocol["name"] == "unisal"


def test_tables_and_figures_of_what_is_written_over_go(films: Path, model: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / "out"
    names = ("frames", "seconds", "sequences", "scenarios")
    figures = ("best.png", "worst-scores.png", "reliability.png")
    (out / "figures").mkdir(parents=True)
    for mine in "scenarios.txt", "figures/mine.png", "frames.csv", "figures/best.png":
        (out / mine).write_text("mine")
    judged("hollywood2", films, out, model, protocol="unisal", metrics="cc", table="parquet", overwrite=True)
    # What lay there before any evaluation is nobody's to remove.
    assert (out / "frames.csv").read_text() == (out / "figures" / "best.png").read_text() == "mine"
    for figure in figures:
        (out / "figures" / figure).write_bytes(b"old")
    made = judged("hollywood2", films, out, model, overwrite=True)
    assert {path.name for path in made.files} == {"summary.json", *(f"{name}.csv" for name in names)}
    there = {
        str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.parent.name != "sequences"
    }
    assert there == {".lock", "summary.json", "scenarios.txt", "figures/mine.png", *(f"{name}.csv" for name in names)}
    assert rows_of(out / "frames.csv")[0]["cc"]


def test_a_damaged_file_of_scores_is_made_again(films: Path, model: str, tmp_path: Path) -> None:
    judged("hollywood2", films, tmp_path / "out", model)
    path = sequence_path(tmp_path / "out" / "sequences", "actioncliptest00001_2")
    path.write_bytes(path.read_bytes()[:100])
    assert judged("hollywood2", films, tmp_path / "out", model).resumed == 3
    assert read_sequence(path) is not None


def test_scores_survive_being_written_and_read(films: Path, model: str, tmp_path: Path) -> None:
    made = judged("hollywood2", films, tmp_path / "out", model)
    scores = read_scores(made.out)
    assert [each.name for each in scores] == list(made.summary.by_sequence)
    path = tmp_path / "copy.npz"
    write_sequence(path, scores[1], key="k")
    back = read_sequence(path, key="k")
    assert back is not None and back.name == scores[1].name
    np.testing.assert_array_equal(back.scores, scores[1].scores)
    assert read_sequence(path, key="other") is None
    assert not list(tmp_path.glob("*.partial"))


def test_names_that_look_alike_have_files_of_their_own(tmp_path: Path) -> None:
    names = ["a/b", "a_b", "a b", "01[0:3500]", "01[0:3501]", "x" * 300, "x" * 301]
    paths = {sequence_path(tmp_path, name) for name in names}
    assert len(paths) == len(names) and all(path.parent == tmp_path and len(path.name) < 120 for path in paths)


def test_two_evaluations_cannot_share_a_folder_at_once(films: Path, model: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as stream:
        assert try_to_lock(stream.fileno())
        with pytest.raises(EncodeError, match="another process"):
            judged("hollywood2", films, tmp_path / "out", model)
    judged("hollywood2", films, tmp_path / "out", model)


# Several processes.


@pytest.mark.slow
def test_workers_give_the_same_scores_and_report_what_is_corrupt(broken: Path, known: str, tmp_path: Path) -> None:
    alone = judged("hollywood2", broken, tmp_path / "a", known)
    beside = judged("hollywood2", broken, tmp_path / "b", known, workers=2)
    assert beside.summary.scores == alone.summary.scores and beside.summary.skipped == alone.summary.skipped
    assert (tmp_path / "a" / "frames.csv").read_bytes() == (tmp_path / "b" / "frames.csv").read_bytes()
    assert not multiprocessing.active_children()


def test_workers_have_the_environment_of_now(
    films: Path, known: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = judged("hollywood2", films, tmp_path / "before", known, workers=2)
    monkeypatch.setenv(store.CACHE_VARIABLE, str(tmp_path / "cache"))
    store.keep("sam-vgg", lambda target: target.write_bytes(Path(known).read_bytes()), source="", source_sha256="")
    after = judged("hollywood2", films, tmp_path / "after", "sam-vgg", workers=2)
    assert after.summary.scores["model"] == before.summary.scores["model"]


@pytest.mark.slow
def test_a_worker_that_dies_costs_the_sequence_it_was_at(tmp_path: Path, known: str) -> None:
    # While one worker is at the long shot the other one is done with something.
    shots = {"actioncliptest00001_1": (1, 150), "actioncliptest00002_1": (3, 1), "actioncliptest00003_1": (3, 1)}
    films = make_hollywood(tmp_path / "set", shots={**shots, "actioncliptest00004_1": (3, 2)})
    told: list[EvalProgress] = []

    def kill_all_at_the_first(progress: EvalProgress) -> None:
        told.append(progress)
        if len(told) == 1:
            for process in multiprocessing.active_children():
                process.kill()

    made = judged("hollywood2", films, tmp_path / "out", known, workers=2, on_progress=kill_all_at_the_first)
    assert made.summary.skipped and made.summary.sequences >= 1
    assert all("ended with status -9" in reason for reason in made.summary.skipped.values())
    assert made.summary.sequences + len(made.summary.skipped) == len(told) == 4
    # What was lost is made up for by the same call.
    again = judged("hollywood2", films, tmp_path / "out", known)
    assert again.summary.sequences == 4 and again.resumed == made.summary.sequences


# The protocol's rules at work.


def test_a_seed_changes_what_is_drawn_and_nothing_else(films: Path, model: str, tmp_path: Path) -> None:
    names = "nss,auc_judd_mit,auc_borji,shuffled_auc_mit"
    made = [
        judged("hollywood2", films, tmp_path / str(place), model, metrics=names, seed=seed)
        for place, seed in enumerate((0, 0, 1))
    ]
    first, same, other = ({name: value(each, name) for name in names.split(",")} for each in made)
    assert first == same
    assert first["nss"] == other["nss"] and first["auc_borji"] != other["auc_borji"]


def test_scores_of_a_sequence_do_not_depend_on_what_else_is_scored(films: Path, model: str, tmp_path: Path) -> None:
    names = "nss,auc_judd_mit,auc_borji"
    every = judged("hollywood2", films, tmp_path / "a", model, metrics=names, baselines="centre-prior")
    few = judged("hollywood2", films, tmp_path / "b", model, metrics=names, data={"shortest": 3})
    assert few.summary.sequences == 2
    for name, one in few.summary.by_sequence.items():
        assert one == every.summary.by_sequence[name]


@pytest.mark.parametrize("protocol", ["vidsal", "unisal"])
def test_negatives_are_the_fixations_of_other_clips_or_by_unisals_rules_of_other_shots(
    films: Path, tmp_path: Path, protocol: str
) -> None:
    maps = truth_of_films(tmp_path / "maps", shift=2)
    made = judged("hollywood2", films, tmp_path / "out", "", maps=maps, metrics="shuffled_auc", protocol=protocol)
    shots = {"actioncliptest00001_1": (3, 3), "actioncliptest00001_2": (6, 5), "actioncliptest00001_10": (11, 2)}
    shots["actioncliptest00002_1"] = (3, 1)
    for row in rows_of(made.out / "frames.csv"):
        number = int(Path(row["frame"]).stem[-5:])
        others = np.zeros((HEIGHT, WIDTH), np.float32)
        for name, (first, count) in shots.items():
            level = 2 if protocol == "unisal" else 1  # of CLIP_SHOT
            same = name.split("_")[:level] == row["sequence"].split("_")[:level]
            for other in range(first, first + count) if not same else ():
                others += fixation_map(other, value=1)
        arrays = (density(number + 2).astype(np.float32), fixation_map(number, value=1).astype(np.float32), others)
        expected = metrics.shuffled_auc(*(torch.from_numpy(each)[None] for each in arrays))
        assert float(row["shuffled_auc"]) == pytest.approx(float(expected), abs=1e-7)


def test_eight_bits_round_a_prediction_as_a_picture_would() -> None:
    values = np.array([[0.0, 0.2, 0.5, 1.0]], np.float32) * 3e-4
    assert quantise(values, 8).tolist() == [[0, 51, 128, 255]]
    assert quantise(values, None) is values
    assert quantise(np.zeros((2, 2), np.float32), 8).tolist() == [[0, 0], [0, 0]]


def test_maps_that_shrink_keep_their_mass_where_it_was() -> None:
    values = np.zeros((40, 60), np.float32)
    values[7, 31] = 1
    small = resize_map(values, 4, 6)
    assert np.unravel_index(small.argmax(), small.shape) == (0, 3)
    assert small.sum() * 100 == pytest.approx(1)
    assert resize_map(values, 40, 60) is values


def test_tuebingens_rules_refuse_maps_of_another_size_but_enlarge_a_models(
    films: Path, model: str, tmp_path: Path
) -> None:
    assert judged("hollywood2", films, tmp_path / "a", model, protocol="tuebingen").summary.sequences == 4
    maps = truth_of_films(tmp_path / "maps")
    assert not judged("hollywood2", films, tmp_path / "b", "", protocol="tuebingen", maps=maps).summary.skipped
    write(maps / "actioncliptest00002_1" / "actioncliptest00002_00003.png", picture(3, height=24, width=32)[:, :, 0])
    made = judged("hollywood2", films, tmp_path / "c", "", protocol="tuebingen", maps=maps)
    assert "24x32" in made.summary.skipped["actioncliptest00002_1"]


def test_frames_at_which_nobody_looked_count_as_the_protocol_says(tmp_path: Path) -> None:
    root = make_hollywood(tmp_path / "set", shots={"actioncliptest00001_1": (3, 2), "actioncliptrain00001_1": (3, 1)})
    maps = tmp_path / "maps" / "actioncliptest00001_1"
    for number in (3, 4):
        write(maps / f"actioncliptest00001_{number:05d}.png", density(number))
    empty = root / "testing" / "actioncliptest00001_1" / "fixation" / "actioncliptest00001_00003.png"
    write(empty, np.zeros((HEIGHT, WIDTH), np.uint8))
    plain = judged("hollywood2", root, tmp_path / "a", "", maps=maps.parent)
    unisal = judged("hollywood2", root, tmp_path / "b", "", maps=maps.parent, protocol="unisal", metrics="nss,cc")
    nss = value(plain, "nss")
    assert plain.summary.scores["model"]["nss"].frames == 1 and nss > 3
    assert value(unisal, "nss") == pytest.approx((nss + 1) / 2)
    assert plain.summary.scores["model"]["cc"].frames == 2


def test_the_driving_protocols_look_metrics_up_where_the_map_says(tmp_path: Path) -> None:
    root = make_dreyeve(tmp_path / "set", frames=22, runs=(1, 38), unrolled=True)
    for k in range(22):
        write(tmp_path / "maps" / "38" / f"{k:06d}.png", density(k + 1))
    scout = judged("dreyeve", root, tmp_path / "a", "", maps=tmp_path / "maps", protocol="scout", metrics=None)
    row = next(row for row in rows_of(scout.out / "frames.csv") if row["index"] == "15")
    # By hand: the standardised map, averaged with the density as weights.
    made, truth = density(16).astype(np.float64), density(15).astype(np.float64)
    expected = (((made - made.mean()) / made.std()) * truth).sum() / truth.sum()
    assert float(row["nss"]) == pytest.approx(expected, rel=1e-4)
    own = judged("dreyeve", root, tmp_path / "b", "", maps=tmp_path / "maps", protocol="dreyeve", metrics=None)
    frames = rows_of(own.out / "frames.csv")
    assert [row["index"] for row in frames] == ["15", "20"]
    assert all(row["information_gain_mit"] != "" for row in frames)


# The command.


def test_eval_prints_the_table_the_protocol_and_the_path(
    films: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["eval", "hollywood2", str(films), "--model", model, "--baselines", "centre-prior", "--device", "cpu"]
    assert main([*arguments, "--option", "shortest=3", "--metrics", "nss,cc"]) == 0
    out, _ = capsys.readouterr()
    assert "NSS +" in out and "centre-prior" in out and "protocol vidsal" in out
    path = Path(out.splitlines()[-1])
    assert path == Path("hollywood2-test-vidsal-tiny.vidsal-eval/summary.json")
    assert read_summary(path).dataset["options"] == {"shortest": "3"}


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--protocol", "none"], "invalid"),
        (["--metrics", "nss,f1"], "no metric 'f1'"),
        (["--baselines", "chance"], "got 'chance'"),
        (["--option", "colour=red"], "knows rate=, shortest="),
        (["--split", "val"], "no split 'val'"),
        (["--workers", "0"], "at least 1"),
        (["--model", "nobody"], "no model 'nobody'"),
    ],
)
def test_bad_usage_is_told_in_one_line(
    films: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: list[str], told: str
) -> None:
    try:
        status = main(["eval", "hollywood2", str(films), "--out", str(tmp_path / "out"), *flags])
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 2
    assert not (tmp_path / "out" / "summary.json").exists()
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1 and (told in err or "must be one of" in err)


def test_a_folder_that_is_not_there_is_told(films: Path, model: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder; expected maps"):
        judged("hollywood2", films, tmp_path / "out", "", maps=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DatasetError, match="no such folder"):
        FolderSource(tmp_path / "nowhere")
