"""The picture of training clips: its size, its marks, and that a kind changes what its name says alone."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from made import make_stills

from vidsal.cli import main
from vidsal.data.clips import Clip
from vidsal.data.layouts import open_dataset
from vidsal.data.options import SheetKind, SheetOptions
from vidsal.data.sheet import KINDS, make_clips, write_sheet
from vidsal.errors import DatasetError, EncodeError
from vidsal.preprocess import Viewport

VIEW = Viewport(canvas_height=48, canvas_width=64, top=0, left=0, height=48, width=64)


def clip_of(frames: int) -> Clip:
    density = np.zeros((frames, 48, 64), np.float32)
    density[:, 10, 20] = 1
    cut = np.zeros(frames, np.bool_)
    cut[1:] = True
    return Clip(np.full((frames, 48, 64, 3), 90, np.uint8), density, density.copy(), VIEW, cut)


def test_the_picture_has_a_row_a_clip_and_marks_fixations_and_cuts(tmp_path: Path) -> None:
    write_sheet([clip_of(2), clip_of(2), clip_of(2)], tmp_path / "sheet.png", width=64)
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    assert picture.shape == (3 * (48 + 6), 2 * (128 + 6), 3)
    first, second = picture[:48, :128], picture[:48, 134:262]
    assert first[20, 30].tolist() == [90, 90, 90] and first[0, 30].tolist() == [90, 90, 90]
    assert second[0, 30].tolist() == [0, 0, 255], "the first frame of another shot is red"
    assert first[10, 64 + 20].tolist() == [80, 255, 80], "a fixation is green, in the copy beside"
    assert first[10, 20].tolist() == [90, 90, 90]


def test_a_picture_that_is_there_or_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    write_sheet([clip_of(1)], tmp_path / "sheet.png")
    with pytest.raises(EncodeError, match="exists already"):
        write_sheet([clip_of(1)], tmp_path / "sheet.png")
    write_sheet([clip_of(2)], tmp_path / "sheet.png", overwrite=True)
    with pytest.raises(EncodeError, match="no picture has this ending"):
        write_sheet([clip_of(1)], tmp_path / "sheet.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_every_kind_is_in_the_table() -> None:
    assert sorted(KINDS) == sorted(get_args(SheetKind))


def test_a_kind_alone_changes_nothing_but_what_it_names(tmp_path: Path) -> None:
    stills = open_dataset("simple", make_stills(tmp_path / "stills")).sequences
    (clip,), _ = make_clips(stills, SheetOptions("compression", clips=1, frames=3))
    # Compressed again and again, but it neither moves nor changes its light: the labels stand still.
    assert not clip.cut.any() and np.array_equal(clip.density[0], clip.density[2])
    (moving,), _ = make_clips(stills, SheetOptions("pan", clips=1, frames=3))
    assert not np.array_equal(moving.density[0], moving.density[2])
    again, _ = make_clips(stills, SheetOptions("pan", clips=1, frames=3))
    assert np.array_equal(again[0].frames, moving.frames)
    other, _ = make_clips(stills, SheetOptions("pan", clips=1, frames=3, seed=1))
    assert not np.array_equal(other[0].frames, moving.frames)
    with pytest.raises(DatasetError, match="no stills"):
        make_clips([], SheetOptions())


def test_the_command_writes_the_picture_or_prints_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, target = make_stills(tmp_path / "stills"), tmp_path / "clips.png"
    call = [
        "data",
        "clips",
        "simple",
        str(root),
        *["--clips", "2", "--frames", "2", "--width", "32", "--out"],
        str(target),
    ]
    assert main(call) == 0
    assert capsys.readouterr().out == f"{target}\n" and cv2.imread(str(target)).shape[1] == 2 * (2 * 32 + 6)
    assert main(call) == 1
    assert main([*call, "--time", "--kind", "camera"]) == 0
    assert capsys.readouterr().out.startswith("camera: 2 clips of 2 frames")
