"""The study behind `--quality`: its scores are those of the maps, and a difference is one of the same pictures."""

from __future__ import annotations

import importlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import make_model, make_stills
from test_pipe import joined

from vidsal.data.layouts import open_dataset
from vidsal.frames import FrameBatch
from vidsal.model.ensemble import Ensemble, Member
from vidsal.pipe.predict import predict


def test_pictures_are_scored_at_their_own_size_and_compared_with_themselves(tmp_path: Path) -> None:
    study = importlib.import_module("measure_quality")
    model = make_model()
    root = make_stills(tmp_path / "made", count=24)
    stills = list(open_dataset("simple", root, split="val").sequences)
    same = Ensemble([Member(model, 1.0)], card=model.card)
    scores = study.scores_of({"as it is": model, "same": same, "other": make_model(1)}, root, None)
    assert scores["as it is"].shape == (len(stills), 5) and len(stills) > 1
    for still, (_, cc, *_) in zip(stills, scores["as it is"], strict=True):
        (frame,) = still.read()
        picture, recorded = frame.picture(), frame.density()
        assert recorded is not None
        shown = FrameBatch(np.arange(1), np.zeros(1), picture[None], *picture.shape[:2], stills=True)
        density = joined(predict([shown], model)).density[0].numpy()
        large = cv2.resize(density, recorded.shape[::-1], interpolation=cv2.INTER_LINEAR)
        assert cc == pytest.approx(np.corrcoef(large.ravel(), recorded.ravel())[0, 1], abs=0.02)
    np.testing.assert_allclose(scores["same"], scores["as it is"], atol=1e-4)
    _, _, _, _, plain, alike, other = study.score_table("made", scores).splitlines()[:7]
    assert plain.startswith(f"| as it is | {scores['as it is'][:, 0].mean():.3f} |")
    assert alike.startswith("| same | ") and other.startswith("| other | ")
    difference = (scores["other"] - scores["as it is"])[:, 1].mean()
    assert f"({difference:+.3f}, " in other.split("|")[3]
