"""Fixations on disk to densities; the judge is arithmetic on made points."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from layout_fixtures import make_simple
from made import make_stills

from vidsal.data.fixations import SIGMA_SHARE, density_from_fixations, fixation_counts, is_validation
from vidsal.data.layouts import open_dataset
from vidsal.data.sets import open_simple_stills
from vidsal.errors import DatasetError


def test_a_set_is_read_whole_and_in_order(tmp_path: Path) -> None:
    stills = open_dataset("simple", make_stills(tmp_path / "mine")).sequences
    assert [still.name for still in stills] == [f"{n:03d}.png" for n in range(12)]
    frame = stills[0].first_frame()
    seen = frame.fixations()
    assert seen is not None and (seen.height, seen.width, frame.picture().shape) == (120, 160, (60, 80, 3))
    assert seen.sigma == seen.spread == SIGMA_SHARE * 160
    for condition, count in ((None, 10), ("driver", 5)):
        opened = open_dataset("simple", tmp_path / "mine", condition=condition)
        assert {len(still.first_frame().fixations().points) for still in opened} == {count}  # type: ignore[union-attr]


def test_points_off_the_picture_are_left_out(tmp_path: Path) -> None:
    root = make_stills(tmp_path / "mine", count=1)
    with (root / "fixations.csv").open("a") as stream:
        stream.write("000.png,160,120,free,1,160,5,\n000.png,160,120,free,1,-0.1,5,\n000.png,160,120,free,1,159.9,0,\n")
    (still,) = open_dataset("simple", root)
    assert len(still.first_frame().fixations().points) == 11  # type: ignore[union-attr]


def test_a_folder_of_videos_alone_has_no_stills_to_train_on(tmp_path: Path) -> None:
    root = make_simple(tmp_path / "mine")
    assert len(open_simple_stills(root).training) + len(open_simple_stills(root).validation) == 10
    (root / "fixations.csv").unlink()
    with pytest.raises(DatasetError, match="no still with fixations here"):
        open_simple_stills(root)


def test_the_split_is_the_md5_rule(tmp_path: Path) -> None:
    opened = open_simple_stills(make_stills(tmp_path / "mine", count=30))
    names = [f"{n:03d}.png" for n in range(30)]
    wanted = [name for name in names if int(hashlib.md5(f"mine/{name}".encode()).hexdigest(), 16) % 5 == 1]
    assert [still.name for still in opened.validation] == wanted and wanted
    assert [still.name for still in opened.training] == [name for name in names if name not in wanted]
    assert opened.name == "mine" and is_validation("mine", wanted[0])


def test_counts_put_a_point_into_the_pixel_that_holds_it() -> None:
    counts = fixation_counts(
        np.array([[0.0, 0.0], [3.99, 1.99], [3.99, 1.0], [4.0, 0.0]], np.float32), height=2, width=4
    )
    assert counts.tolist() == [[1, 0, 0, 0], [0, 0, 0, 2]]


def test_a_density_has_the_stated_centre_and_width() -> None:
    density = density_from_fixations(np.array([[60.5, 40.5]], np.float32), height=90, width=120, sigma=6.0)
    x, y = np.arange(120), np.arange(90)
    assert density.sum() == pytest.approx(1)
    mean_x, mean_y = (density.sum(0) * x).sum(), (density.sum(1) * y).sum()
    assert (mean_x, mean_y) == (pytest.approx(60, abs=0.01), pytest.approx(40, abs=0.01))
    assert np.sqrt((density.sum(0) * (x - mean_x) ** 2).sum()) == pytest.approx(6.0, rel=0.01)
    assert not density_from_fixations(np.array([[-5.0, 3.0]], np.float32), height=9, width=9, sigma=2).any()
