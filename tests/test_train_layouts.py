"""Every layout can be trained on: two steps on each one's fixture change the weights, and the loss is finite."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import layout_fixtures as fixtures
import numpy as np
import pytest
import torch
from made import CANVAS, TINY, make_checkpoint, make_stills

from vidsal.data.clips import make_clip
from vidsal.data.layouts import DATASETS, open_dataset
from vidsal.data.options import AugmentOptions, TrainingSet, VideoSet
from vidsal.data.sets import open_set
from vidsal.errors import ConfigError
from vidsal.model.checkpoint import read_checkpoint
from vidsal.train import CardText, ScheduleOptions, TrainConfig, TrainProgress, train
from vidsal.train.samples import RecordedWindows, Step, Window

Maker = Callable[[Path], Path]

STILLS: dict[str, Maker] = {
    "salicon": fixtures.make_salicon,
    "mit1003": fixtures.make_mit1003,
    "cat2000": fixtures.make_cat2000,
    "osie": fixtures.make_osie,
    "toronto": fixtures.make_toronto,
    "pascal-s": fixtures.make_pascal_s,
    "dut-omron": fixtures.make_dut_omron,
    "isun": fixtures.make_isun,
    "simple": fixtures.make_simple,
}
VIDEOS: dict[str, Maker] = {
    "dhf1k": fixtures.make_dhf1k,
    "hollywood2": fixtures.make_hollywood,
    "ucf-sports": fixtures.make_ucf_sports,
    "dreyeve": lambda root: fixtures.make_dreyeve(root, runs=(1, 2), unrolled=True),
    "dreyeve-scout": lambda root: fixtures.make_dreyeve(root, runs=(1, 2), scout=True),
    "bdd-a": fixtures.make_bdda,
    "aim2024": lambda root: fixtures.make_challenge(root),
    "ntire2026": lambda root: fixtures.make_challenge(root),
    "crowdsal": lambda root: fixtures.make_crowdsal(root),
    "simple": fixtures.make_simple,
}
WITHHELD = "mit300"
OPTIONS: dict[str, dict[str, object]] = {"dreyeve": {"validation": "none"}}


def two_steps(tmp_path: Path, **sets: object) -> None:
    start = make_checkpoint(tmp_path / "start.safetensors")
    schedule = ScheduleOptions(
        passes=5, frames_per_step=2, clip_lengths={2: 1.0}, window_frames=2, windows_per_sequence=1, learning_rate=3e-3
    )
    made = TrainConfig(
        output=tmp_path / "run",
        start_from=start,
        schedule=schedule,
        device="cpu",
        weights_dtype="fp32",
        card=CardText(name="tiny"),
        **sets,  # type: ignore[arg-type]
    )
    seen: list[TrainProgress] = []
    state = torch.load(train(made, on_progress=seen.append, stop_after_steps=2), weights_only=True)
    assert [one.step for one in seen] == [1, 2]
    assert all(math.isfinite(one.loss) and one.loss != 0 for one in seen)
    begun = read_checkpoint(start)[0].state_dict()
    for name in ("head.out.weight", "recurrence.gates_hidden.weight", "prior_convolutions.0.weight"):
        assert not torch.equal(state["network"][name], begun[name]), name


def test_no_layout_is_left_out() -> None:
    assert {*STILLS, *VIDEOS, WITHHELD} == DATASETS.keys()


@pytest.mark.parametrize("layout", STILLS)
def test_stills_of_every_layout_can_be_trained_on(layout: str, tmp_path: Path) -> None:
    two_steps(tmp_path, stills=(TrainingSet(layout, STILLS[layout](tmp_path / "mine")),))


@pytest.mark.parametrize("layout", VIDEOS)
def test_videos_of_every_layout_can_be_trained_on(layout: str, tmp_path: Path) -> None:
    root = VIDEOS[layout](tmp_path / "mine")
    two_steps(tmp_path, videos=(VideoSet(layout, root, options=OPTIONS.get(layout, {})),))


def test_a_set_that_withholds_its_labels_is_refused(tmp_path: Path) -> None:
    root = fixtures.make_mit300(tmp_path / "mit300")
    with pytest.raises(ConfigError, match=r"mit300 in .* has no still with labels to train on in the split 'all'"):
        two_steps(tmp_path, stills=(TrainingSet(WITHHELD, root, split="all"),))


def test_pictures_without_labels_are_left_out_and_the_published_split_is_kept(tmp_path: Path) -> None:
    root = fixtures.make_salicon(tmp_path / "SALICON")
    opened = open_set(TrainingSet("salicon", root, split="all", validation_split="val"), "still")
    assert {one.split for one in opened.training} == {"train", "val"} and len(opened.validation) == 1
    assert len(opened.training) < len(open_dataset("salicon", root))


def test_two_sets_of_one_layout_are_scored_under_two_names(tmp_path: Path) -> None:
    roots = [fixtures.make_mit1003(tmp_path / name) for name in ("one", "two")]
    made = TrainConfig(
        output=tmp_path / "run",
        stills=tuple(TrainingSet("mit1003", root) for root in roots),
        datasets=(fixtures.make_simple(tmp_path / "mine"),),
        model=dataclasses.replace(TINY),
        preprocess=CANVAS,
        schedule=ScheduleOptions(passes=1),
        device="cpu",
    )
    _, _, card = read_checkpoint(train(made))
    assert set(card.scores) == {"mine", "mit1003-1", "mit1003-2"}


def pixels_of(layout: str, root: Path, *, flip: float, **options: object) -> np.ndarray:
    """The first window that training shows of a set of video."""
    videos = (VideoSet(layout, root, options={**OPTIONS.get(layout, {}), **options}),)
    config = TrainConfig(
        output=root.parent / "run",
        videos=videos,
        augment=AugmentOptions.only(flip_probability=flip),
        schedule=ScheduleOptions(window_frames=2, windows_per_sequence=1),
    )
    windows = RecordedWindows([open_set(videos[0], "video")], config, CANVAS)
    (clip,) = windows.samples(Step(0, (0,), 2, 0, window=Window(0, 7)), Window(0, 7))
    return np.concatenate([clip.frames[:, :, :, 0].astype(float), clip.density * 1e6])


@pytest.mark.parametrize("layout", VIDEOS)
def test_only_drives_are_never_mirrored(layout: str, tmp_path: Path) -> None:
    root = VIDEOS[layout](tmp_path / "mine")
    plain, flipped = (pixels_of(layout, root, flip=flip) for flip in (0.0, 1.0))
    if layout in ("dreyeve", "dreyeve-scout", "bdd-a"):
        assert np.array_equal(flipped, plain)
    else:
        # The canvas is as wide left of the picture as right of it, up to a pixel.
        assert np.array_equal(flipped, plain[:, :, ::-1]) and not np.array_equal(flipped, plain)


def test_own_drives_are_not_mirrored_where_that_is_said(tmp_path: Path) -> None:
    root = fixtures.make_simple(tmp_path / "mine")
    assert np.array_equal(pixels_of("simple", root, flip=1.0, mirror=False), pixels_of("simple", root, flip=0.0))
    stills = make_stills(tmp_path / "stills", count=1)
    for mirror in (True, False):
        (still,) = open_dataset("simple", stills, split="all", mirror=mirror)
        shown = [
            make_clip(
                still,
                times=1,
                preprocess=CANVAS,
                augment=AugmentOptions.only(flip_probability=flip),
                random=np.random.default_rng(0),
            ).frames
            for flip in (0.0, 1.0)
        ]
        assert np.array_equal(*shown) is not mirror


@pytest.mark.parametrize("flip", [0.0, 0.5])
def test_a_run_on_drives_says_that_they_are_not_mirrored(flip: float, tmp_path: Path) -> None:
    root = VIDEOS["bdd-a"](tmp_path / "mine")
    made = TrainConfig(
        output=tmp_path / "run",
        start_from=make_checkpoint(tmp_path / "start.safetensors"),
        videos=(VideoSet("bdd-a", root),),
        augment=AugmentOptions(flip_probability=flip),
        schedule=ScheduleOptions(passes=1, frames_per_step=2, window_frames=2, windows_per_sequence=1),
        device="cpu",
    )
    notes: list[str] = []
    train(made, on_progress=lambda progress: notes.extend(progress.notes), stop_after_steps=1)
    assert any("never mirrored" in note and "bdd-a" in note for note in notes) is (flip > 0)
