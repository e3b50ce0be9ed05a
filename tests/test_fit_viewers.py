"""Gaze that is drawn from a known mixture comes in; the study of viewers must find what it was drawn from."""

from __future__ import annotations

import gzip
from pathlib import Path

import fit_viewers
import numpy as np
import pytest

from vidsal.errors import DatasetError


def test_the_share_in_the_middle_is_the_one_that_made_the_gaze(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_viewers, "MOMENTS", (0.1, 0.5))
    random = np.random.default_rng(2)
    count, rows, columns = 3000, 20, 30
    density = random.random((rows, columns)) ** 3
    density /= density.sum()
    cells = random.choice(rows * columns, size=(2, count), p=density.ravel())

    def places(chosen: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        middle = random.random(count) < share
        x = (chosen % columns + random.random(count)) / columns
        y = (chosen // columns + random.random(count)) / rows
        return (
            np.where(middle, random.normal(0.5, 0.12, count), x),
            np.where(middle, random.normal(0.5, 0.08, count), y),
        )

    early, late = places(cells[0], 0.6), places(cells[1], 0.1)
    viewers = [
        [
            fit_viewers.Look(0.0, 0.3, float(early[0][n]), float(early[1][n])),
            fit_viewers.Look(0.33, 0.9, float(late[0][n]), float(late[1][n])),
        ]
        for n in range(count)
    ]
    found = fit_viewers.fit([fit_viewers.Seen([density], [viewers], {})])
    assert (found["across"], found["down"]) == (0.12, 0.08)
    assert found["shares"][0.1] == pytest.approx(0.6, abs=0.04)
    assert found["shares"][0.5] == pytest.approx(0.1, abs=0.04)


def test_fixations_follow_one_another_in_time_for_each_viewer(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "fixations.csv.gz", "wt") as file:
        file.write("image,width,height,subject,x,y,duration_ms\n")
        file.write("a.jpg,200,100,1,50,50,200\na.jpg,200,100,2,20,10,100\na.jpg,200,100,1,150,25,300\n")
    one, other = fit_viewers.timed_looks(tmp_path)["a.jpg"]
    assert [(look.begin, look.end) for look in one] == [(0.0, 0.2), (pytest.approx(0.23), pytest.approx(0.53))]
    assert (one[1].x, one[1].y) == (0.75, 0.25) and len(other) == 1
    with gzip.open(tmp_path / "fixations.csv.gz", "wt") as file:
        file.write("image,width,height,x,y\na.jpg,200,100,1,2\n")
    with pytest.raises(DatasetError, match="no fixations with viewers"):
        fit_viewers.timed_looks(tmp_path)
