"""The study behind the canvas of the picture's shape: what is cut out, scored, timed and embedded."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import CANVAS, make_checkpoint, make_model, make_network, make_stills

from vidsal.data.layouts import open_dataset
from vidsal.model.checkpoint import ModelCard, read_checkpoint, save_checkpoint
from vidsal.pipe import predict as predict_module


@pytest.fixture
def study() -> Any:
    return importlib.import_module("measure_canvas")


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        (None, (0, 60, 0, 80)),
        (4 / 3, (0, 60, 0, 80)),
        (2.0, (10, 50, 0, 80)),
        (1.0, (0, 60, 10, 70)),
        (0.5, (0, 60, 25, 55)),
    ],
)
def test_the_largest_part_of_a_shape_is_cut_out_of_the_middle(
    study: Any, shape: float | None, part: tuple[int, int, int, int]
) -> None:
    rows, columns = study.cut_out(60, 80, shape)
    assert (rows.start, rows.stop, columns.start, columns.stop) == part


def test_both_canvases_are_scored_on_what_is_left_and_by_the_gaze_on_it(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_stills(tmp_path / "made", count=24)
    model = make_model()
    models = {"letter-box": study.with_fit(model, "letterbox"), "shape": study.with_fit(model, "shape")}
    seen: list[tuple[int, ...]] = []
    real = predict_module._run_alike

    def watched(own: Any, shown: Any, *rest: Any) -> Any:
        seen.append(own.preprocessor(shown[0].batch.frames).shape[2:])
        return real(own, shown, *rest)

    monkeypatch.setattr(predict_module, "_run_alike", watched)
    scores = study.scores_of(models, root, 0.5)
    stills = list(open_dataset("simple", root, split="val").sequences)
    # The gaze lies on a disc; where that is cut off, fewer than five fixations are left.
    kept = 0
    for still in stills:
        (frame,) = still.read()
        recorded = frame.fixations()
        assert recorded is not None
        _, columns = study.cut_out(recorded.height, recorded.width, 0.5)
        x = recorded.points[:, 0]
        kept += int(((x >= columns.start) & (x < columns.stop)).sum()) >= study.FEWEST_FIXATIONS
    assert 0 < kept < len(stills)
    assert scores["letter-box"].shape == scores["shape"].shape == (kept, 5)
    assert set(seen) == {(48, 64), (64, 32)}
    assert np.abs(scores["letter-box"] - scores["shape"]).max() > 1e-4
    same = study.scores_of(models, root, None)
    np.testing.assert_allclose(same["letter-box"], same["shape"])  # 4:3 as the canvas


def test_clips_are_made_of_what_is_cut_out_and_both_canvases_see_them(study: Any, tmp_path: Path) -> None:
    root = make_stills(tmp_path / "made", count=24)
    cut = study.write_cut(root, tmp_path / "cut", 1.0, 3)
    sequences = open_dataset("simple", cut).sequences
    assert len(sequences) == 3
    for sequence in sequences:
        (frame,) = sequence.read()
        whole = next(one for one in open_dataset("simple", root, split="val").sequences if one.name == sequence.name)
        (before,) = whole.read()
        assert np.array_equal(frame.picture(), before.picture()[:, 10:70])
        seen, all_of_it = frame.fixations(), before.fixations()
        assert seen is not None and all_of_it is not None
        own = all_of_it.points * (80 / all_of_it.width) - (10, 0)
        own = own[(own[:, 0] >= 0) & (own[:, 0] < 60)]
        np.testing.assert_allclose(np.sort(seen.points, 0), np.sort(own, 0), atol=1e-3)
    model = make_model()
    models = {fit: study.with_fit(model, fit) for fit in ("letterbox", "shape")}
    scores = study.clip_scores_of(models, cut, 2, times=4)
    assert scores["letterbox"].shape == scores["shape"].shape == (2, 5)
    assert np.abs(scores["letterbox"] - scores["shape"]).max() > 1e-4


def test_times_are_of_canvases_and_bars_as_they_are(study: Any) -> None:
    model = make_model()
    table = study.time_table({"a": study.with_fit(model, "letterbox"), "b": study.with_fit(model, "shape")}, 1)
    _, _, *rows = table.splitlines()
    assert len(rows) == len(study.SHAPES)
    wide = next(row for row in rows if row.startswith("| 16:9 "))
    assert "| 48x64, 25%, " in wide and "| 48x64, 25%, " not in wide.split("|", 3)[3]


def test_embedding_changes_the_canvas_and_the_scores_and_no_weight(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.safetensors"
    card = ModelCard(name="own", description="refines the 48x64 canvas.", scores={"other": {"nss": 1.0}})
    save_checkpoint(path, make_network(), preprocess=CANVAS, card=card)
    root = make_stills(tmp_path / "made", count=12)
    monkeypatch.setattr(study, "weights_path", lambda name: path)
    model = make_model()
    model.card = card
    study.embed(model, [root])
    network, preprocess, after = read_checkpoint(path)
    assert preprocess == dataclasses.replace(CANVAS, fit="shape", cells=16)
    assert after.scores.keys() == {"other", "made"} and set(after.scores["made"]) == set(study.METRICS)
    assert after.description == "refines a canvas of the picture's shape, as large as 48x64."
    before = read_checkpoint(make_checkpoint(tmp_path / "plain.safetensors"))[0].state_dict()
    assert all((value == before[name]).all() for name, value in network.state_dict().items())
