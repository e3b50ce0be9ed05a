"""Fixations on disk to densities; the judge is arithmetic on made points."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from made import make_stills

from vidsal.data.fixations import (
    density_from_fixations,
    fixation_counts,
    is_validation,
    load_stills,
    split_stills,
)
from vidsal.errors import DatasetError


def test_a_set_is_read_whole_and_in_order(tmp_path: Path) -> None:
    stills = load_stills(make_stills(tmp_path / "mine"))
    assert [still.image for still in stills] == [f"{n:03d}.png" for n in range(12)]
    assert {still.points.shape for still in stills} == {(10, 2)}
    assert (stills[0].height, stills[0].width, stills[0].read().shape) == (120, 160, (60, 80, 3))
    assert {len(s.points) for s in load_stills(tmp_path / "mine", condition="driver")} == {5}


def test_a_packed_table_is_the_same(tmp_path: Path) -> None:
    root = make_stills(tmp_path / "mine")
    plain = load_stills(root)
    (root / "fixations.csv.gz").write_bytes(gzip.compress((root / "fixations.csv").read_bytes()))
    (root / "fixations.csv").unlink()
    assert all(np.array_equal(a.points, b.points) for a, b in zip(plain, load_stills(root), strict=True))


def test_points_off_the_picture_are_left_out(tmp_path: Path) -> None:
    root = make_stills(tmp_path / "mine", count=1)
    with (root / "fixations.csv").open("a") as stream:
        stream.write("000.png,160,120,free,1,160,5,\n000.png,160,120,free,1,-0.1,5,\n000.png,160,120,free,1,159.9,0,\n")
    assert len(load_stills(root)[0].points) == 11


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda root: (root / "fixations.csv").unlink(), "no fixations.csv"),
        (lambda root: (root / "images" / "003.png").unlink(), "names 003.png"),
        (lambda root: (root / "fixations.csv").write_text("image,x\na,1\n"), "column height is missing"),
        (lambda root: (root / "fixations.csv").write_text("image,width,height,x,y\n000.png,9,9,q,1\n"), "line 2"),
        (lambda root: (root / "fixations.csv").write_text("image,width,height,x,y\n"), "no fixation"),
        (lambda root: (root / "fixations.csv").rename(root / "fixations.csv.gz"), "cannot be read"),
    ],
)
def test_a_broken_set_is_refused_with_the_first_offender(tmp_path: Path, change: object, says: str) -> None:
    root = make_stills(tmp_path / "mine", count=4)
    change(root)  # type: ignore[operator]
    with pytest.raises(DatasetError, match=says):
        load_stills(root)


def test_the_split_is_the_md5_rule(tmp_path: Path) -> None:
    stills = load_stills(make_stills(tmp_path / "mine", count=30))
    wanted = [s.image for s in stills if int(hashlib.md5(f"mine/{s.image}".encode()).hexdigest(), 16) % 5 == 1]
    assert [s.image for s in split_stills(stills, "val")] == wanted and wanted
    assert len(split_stills(stills, "train")) == 30 - len(wanted)
    assert is_validation("mine", wanted[0])


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
