"""Maps that are known come in; the ablation must say how near they are, and put the pipe's own stages after a model."""

from __future__ import annotations

import ablate_video
import numpy as np
import pytest
import torch
from made import make_model

from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.pipe.options import PredictOptions
from vidsal.pipe.predict import predict


def clip(frames: int = 8) -> FrameBatch:
    pictures = np.random.default_rng(1).integers(0, 255, (2, 48, 64, 3), np.uint8)
    index = np.arange(frames)
    return FrameBatch(index, index / 12.5, np.repeat(pictures, frames // 2, axis=0), 48, 64)


def test_the_last_row_of_ours_is_what_the_pipe_gives_by_default() -> None:
    model, batch = make_model(seed=3), clip()
    asked = ablate_video.Asked({"now": model}, {})
    judged = ablate_video.Judged("clip", batch, 0.08, lambda maps: {"cc": float(maps.mean())})
    way = next(way for way in ablate_video.OURS if way.label == "the default: all of it")
    made = ablate_video.follow(asked(judged, way), batch, way)
    wanted = SaliencyBatch.join(predict([batch], model, PredictOptions())).density.numpy()
    assert made == pytest.approx(wanted, abs=1e-6)
    plain = next(way for way in ablate_video.OURS if way.label == ablate_video.BASE)
    assert np.abs(ablate_video.follow(asked(judged, plain), batch, plain) - wanted).max() > 1e-4


def test_the_teachers_own_maps_agree_with_it_wholly_and_others_less() -> None:
    truth = torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0)) ** 3 + 0.01
    large = np.repeat(np.repeat(truth.numpy(), 2, axis=1), 2, axis=2)
    same = ablate_video.agreement(large, truth)
    assert same["cc"] == pytest.approx(1, abs=1e-4) and same["kl"] == pytest.approx(0, abs=1e-4)
    assert ablate_video.agreement(large[:, ::-1], truth)["cc"] < 0.5


def test_concentration_is_told_in_bits_below_the_uniform_map() -> None:
    half = np.zeros((2, 4, 8), np.float32)
    half[:, :2] = 0.3
    assert ablate_video.bits_below_uniform(half) == pytest.approx(1)
    half[1] = 2.0
    assert ablate_video.bits_below_uniform(half) == pytest.approx(0.5)
    half[0, 1:] = 0
    half[0, 0, 1:] = 0
    assert ablate_video.bits_below_uniform(half) == pytest.approx(2.5)


def test_an_interval_holds_the_mean_and_vanishes_without_spread() -> None:
    assert ablate_video.interval(np.full(9, 0.25)) == (0.25, 0.25)
    low, high = ablate_video.interval(np.random.default_rng(0).normal(1.0, 0.1, 100))
    assert 0.96 < low < 1 < high < 1.04


def test_a_table_has_a_row_a_way_and_differences_from_the_base() -> None:
    scores = {ablate_video.BASE: {"kl": np.array([0.2, 0.4]), "cc": np.array([0.5, 0.7])}}
    scores["another"] = {"kl": np.array([0.1, 0.3]), "cc": np.array([0.6, 0.8])}
    lines = ablate_video.table(scores, ("kl", "cc")).splitlines()
    assert lines[2] == f"| {ablate_video.BASE} | 0.300 | 0.600 | base | base |"
    assert lines[3].startswith("| another | 0.200 | 0.700 | -0.100 (-0.100 to -0.100) | +0.100")
