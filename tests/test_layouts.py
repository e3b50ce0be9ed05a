"""Published data sets, made small in exactly their layout, are read whole and in order; broken ones are named.

The judge: every made picture shows its own number, and density and points lie where that number says.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import shutil
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import cv2
import hostile_readers
import numpy as np
import pytest
from layout_fixtures import (
    HEIGHT,
    ROAD,
    WIDTH,
    centres,
    density,
    fixation_map,
    make_bdda,
    make_cat2000,
    make_challenge,
    make_crowdsal,
    make_dhf1k,
    make_dreyeve,
    make_dut_omron,
    make_hollywood,
    make_isun,
    make_mit300,
    make_mit1003,
    make_osie,
    make_pascal_s,
    make_salicon,
    make_simple,
    make_toronto,
    make_ucf_sports,
    picture,
    spot,
    turn_by_exif,
    write,
    write_mat,
)
from media import make_video, read_number

from vidsal.data import matlab
from vidsal.data.fixations import blur_counts, density_from_fixations, is_validation
from vidsal.data.layouts import (
    DATASETS,
    Dataset,
    Fixations,
    LabelledFrame,
    LabelledSequence,
    open_dataset,
    write_submission_map,
)
from vidsal.data.layouts.contract import ActionAttributes, CategoryAttributes, DrivingAttributes, ShotAttributes
from vidsal.data.layouts.videos import VideoPictures
from vidsal.errors import ConfigError, DatasetError, EncodeError


def number_shown(frame: LabelledFrame) -> int:
    return read_number(frame.picture())


def peak(frame: LabelledFrame) -> tuple[int, int]:
    values = frame.density()
    assert values is not None and values.dtype == np.float32
    assert values.sum() == pytest.approx(1, abs=1e-5)
    row, column = np.unravel_index(values.argmax(), values.shape)
    return int(row), int(column)


def points(frame: LabelledFrame) -> list[list[float]]:
    fixations = frame.fixations()
    assert fixations is not None
    return fixations.points.tolist()


def holds(sequence: LabelledSequence, numbers: list[int]) -> None:
    """The sequence shows these numbers in this order, each with its own labels."""
    frames = list(sequence)
    assert [number_shown(frame) for frame in frames] == numbers
    assert [peak(frame) for frame in frames] == [spot(number) for number in numbers]
    assert [points(frame) for frame in frames] == [centres(number) for number in numbers]
    assert [frame.index for frame in frames] == list(range(len(numbers)))
    assert sequence.frame_count == len(numbers)
    if sequence.rate:
        times = [float(i / sequence.rate) for i in range(len(numbers))]
        assert [frame.pts_seconds for frame in frames] == pytest.approx(times, abs=1e-3)


# DHF1K.


def test_dhf1k_is_read_whole_and_in_order(tmp_path: Path) -> None:
    dataset = open_dataset("dhf1k", make_dhf1k(tmp_path))
    assert [(s.name, s.split) for s in dataset] == [
        ("0001", "train"),
        ("0002", "train"),
        ("0601", "val"),
        ("0701", "test"),
    ]
    for sequence in dataset.sequences[:3]:
        holds(sequence, list(range(1, 13)))
    assert dataset.sequences[0].rate == 30 and dataset.published == 1000


@pytest.mark.parametrize(("split", "names"), [("train", ["0001", "0002"]), ("val", ["0601"]), ("test", ["0701"])])
def test_dhf1k_is_split_by_number(tmp_path: Path, split: str, names: list[str]) -> None:
    assert [s.name for s in open_dataset("dhf1k", make_dhf1k(tmp_path, frames=2), split=split)] == names


def test_the_withheld_labels_of_dhf1k_are_none_and_not_empty(tmp_path: Path) -> None:
    (sequence,) = open_dataset("dhf1k", make_dhf1k(tmp_path, frames=2), split="test")
    assert [(f.density(), f.fixations(), number_shown(f)) for f in sequence] == [(None, None, 1), (None, None, 2)]


def test_dhf1k_is_read_from_its_video_files_where_frames_are_not_unrolled(tmp_path: Path) -> None:
    dataset = open_dataset("dhf1k", make_dhf1k(tmp_path, unrolled=False, numbers=(1, 701)))
    holds(dataset.sequences[0], list(range(1, 13)))
    assert [number_shown(frame) for frame in dataset.sequences[1]] == list(range(1, 13))
    assert [frame.name for frame in dataset.sequences[0]][:2] == ["000000", "000001"]


def test_dhf1k_has_the_same_points_in_mat_files(tmp_path: Path) -> None:
    holds(open_dataset("dhf1k", make_dhf1k(tmp_path / "png"), fixations="mat").sequences[0], list(range(1, 13)))
    holds(open_dataset("dhf1k", make_dhf1k(tmp_path / "mat", mat=True)).sequences[0], list(range(1, 13)))


def test_a_window_of_a_folder_and_of_a_video_shows_the_same_frames(tmp_path: Path) -> None:
    for unrolled in (True, False):
        (sequence,) = open_dataset("dhf1k", make_dhf1k(tmp_path / str(unrolled), unrolled=unrolled, numbers=(1,)))
        frames = list(sequence.read(start=4, stop=7))
        assert [number_shown(frame) for frame in frames] == [5, 6, 7]
        assert [frame.index for frame in frames] == [4, 5, 6]
        assert [peak(frame) for frame in frames] == [spot(n) for n in (5, 6, 7)]
        assert [frame.pts_seconds for frame in frames] == pytest.approx([4 / 30, 5 / 30, 6 / 30], abs=1e-3)


def test_pictures_come_at_the_size_asked_for_and_labels_at_their_own(tmp_path: Path) -> None:
    for unrolled in (True, False):
        (sequence,) = open_dataset("dhf1k", make_dhf1k(tmp_path / str(unrolled), unrolled=unrolled, numbers=(1,)))
        for size in ((24, 30), lambda height, width: (height // 2, width // 2 - 2)):
            frame = next(sequence.read(size=size))
            assert frame.picture().shape == (24, 30, 3) and number_shown(frame) == 1
            values = frame.density()
            assert values is not None and values.shape == (HEIGHT, WIDTH)
        frame = next(iter(sequence))
        assert frame.picture().shape == (HEIGHT, WIDTH, 3)


def test_nothing_is_opened_before_it_is_asked_for(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path, numbers=(1, 2), frames=3)
    (root / "annotation/0001/maps/0002.png").write_bytes(b"no picture")
    (root / "annotation/0002/images/0003.png").unlink()
    dataset = open_dataset("dhf1k", root)
    frames = list(dataset.sequences[0])
    assert [number_shown(frame) for frame in frames] == [1, 2, 3]
    assert peak(frames[2]) == spot(3)
    with pytest.raises(DatasetError, match=r"maps/0002\.png is not a readable picture"):
        frames[1].density()
    with pytest.raises(DatasetError, match=r"3 maps for 2 pictures .*the map 0003 has no partner"):
        list(dataset.sequences[1])


def test_pictures_stay_readable_and_are_the_callers_own_after_the_iteration_went_on(tmp_path: Path) -> None:
    (sequence,) = open_dataset("dhf1k", make_dhf1k(tmp_path, unrolled=False, numbers=(1,)))
    for size in (None, (HEIGHT, WIDTH)):
        frames = list(sequence.read(size=size))
        frames[3].picture()[:] = 0
        assert [number_shown(frame) for frame in frames] == list(range(1, 13))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("annotation/0001/images/0002.png", r"after 0001\.png comes 0003\.png, 1 of the files between"),
        ("annotation/0001/maps/0002.png", r"after 0001\.png comes 0003\.png"),
        ("annotation/0001/fixation/0003.png", r"2 fixation files for 3 pictures .*picture 0003 has no partner"),
        ("annotation/0001/maps", r"annotation.0001.maps: no such folder; .*holds fixation, images"),
    ],
)
def test_a_broken_folder_of_dhf1k_is_named(tmp_path: Path, broken: str, message: str) -> None:
    target = make_dhf1k(tmp_path, numbers=(1,), frames=3) / broken
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    (sequence,) = open_dataset("dhf1k", tmp_path)
    with pytest.raises(DatasetError, match=message):
        sequence.check()


def test_a_video_with_far_fewer_frames_than_maps_is_an_error_and_one_less_is_not(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path, numbers=(1,), unrolled=False)
    folder = root / "annotation/0001"
    for number, error in ((13, False), (14, False), (15, True)):
        write(folder / "maps" / f"{number:04d}.png", density(number))
        write(folder / "fixation" / f"{number:04d}.png", fixation_map(number))
        (sequence,) = open_dataset("dhf1k", root)
        if error:
            with pytest.raises(DatasetError, match="0001 has 12 pictures but 15 densities"):
                list(sequence)
            with pytest.raises(DatasetError, match="0001 has 12 pictures but 15 densities"):
                sequence.check()
        else:
            assert len(list(sequence)) == 12 and sequence.check().frames == 12


def test_a_video_of_dhf1k_without_annotations_is_an_error_unless_they_are_withheld(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path, numbers=(1, 2, 701), frames=2, unrolled=False)
    shutil.rmtree(root / "annotation/0002")
    assert len(open_dataset("dhf1k", root, split="test")) == 1
    with pytest.raises(DatasetError, match=r"002\.AVI has no folder .*0002"):
        open_dataset("dhf1k", root, split="train")


def test_check_tells_what_it_saw(tmp_path: Path) -> None:
    facts = open_dataset("dhf1k", make_dhf1k(tmp_path, frames=3)).sequences[0].check()
    assert (facts.frames, facts.height, facts.width) == (3, HEIGHT, WIDTH)
    assert (facts.density, facts.fixations, facts.bad) == ((HEIGHT, WIDTH), 2, 0)


# Hollywood-2 and UCF-Sports.


def test_shots_of_hollywood_keep_the_numbers_of_their_parent_clip(tmp_path: Path) -> None:
    dataset = open_dataset("hollywood2", make_hollywood(tmp_path), split="test")
    assert [s.name.removeprefix("actioncliptest") for s in dataset] == ["00001_1", "00001_2", "00001_10", "00002_1"]
    for sequence, numbers in zip(dataset, ([3, 4, 5], [6, 7, 8, 9, 10], [11, 12], [3]), strict=True):
        holds(sequence, numbers)
    assert dataset.sequences[2].attributes == ShotAttributes(clip="actioncliptest00001", shot=10)
    assert dataset.sequences[1].rate == 24 and dataset.published == 3558
    assert [s.recording for s in dataset] == [*["actioncliptest00001"] * 3, "actioncliptest00002"]


def test_shots_of_hollywood_whose_numbers_begin_anew_are_read_as_well(tmp_path: Path) -> None:
    make_hollywood(tmp_path, shots={"actioncliptrain00007_2": (1, 12)})
    (sequence,) = open_dataset("hollywood2", tmp_path, split="train")
    holds(sequence, list(range(1, 13)))


def test_short_shots_of_hollywood_can_be_left_out(tmp_path: Path) -> None:
    dataset = open_dataset("hollywood2", make_hollywood(tmp_path), split="test", shortest=3)
    assert [s.frame_count for s in dataset] == [3, 5]
    assert len(open_dataset("hollywood2", tmp_path, rate=25)) == 5
    with pytest.raises(DatasetError, match="no sequence of split test of hollywood2 here with shortest=99;"):
        open_dataset("hollywood2", tmp_path, split="test", shortest=99)


def test_a_frame_of_hollywood_without_its_fixations_is_named(tmp_path: Path) -> None:
    root = make_hollywood(tmp_path)
    (root / "testing/actioncliptest00001_2/fixation/actioncliptest00001_00006.png").unlink()
    sequence = open_dataset("hollywood2", root, split="test").sequences[1]
    with pytest.raises(DatasetError, match=r"4 .* for 5 pictures .*the picture actioncliptest00001_00006"):
        list(sequence)


def test_names_of_ucf_sports_files_differ_from_their_folders(tmp_path: Path) -> None:
    dataset = open_dataset("ucf-sports", make_ucf_sports(tmp_path))
    assert [(s.name, s.split) for s in dataset] == [
        ("Diving-Side-001", "train"),
        ("Run-Side-010", "train"),
        ("Run-Side-002", "test"),
    ]
    for sequence in dataset:
        holds(sequence, list(range(1, 12)))
    assert next(iter(dataset.sequences[0])).name == "Diving-Side_001_001.png"
    assert dataset.sequences[0].attributes == ActionAttributes(action="Diving-Side")
    assert dataset.sequences[0].rate == Fraction(10)


@pytest.mark.parametrize("name", ["hollywood2", "ucf-sports"])
def test_a_missing_half_of_a_release_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "testing" / "something").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"training: no such folder; expected the .*holds testing"):
        open_dataset(name, tmp_path)
    with pytest.raises(DatasetError, match=r"testing holds no folder (actioncliptest|Diving-Side-001)"):
        open_dataset(name, tmp_path, split="test")


# DR(eye)VE.


def peaks(sequence: LabelledSequence) -> list[tuple[int, int] | None]:
    return [None if frame.density() is None else peak(frame) for frame in sequence]


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"unrolled": True},
        {"unrolled": True, "first_frame": 1},
        {"unrolled": True, "first_map": 0},
    ],
    ids=["videos", "frames from 0, maps from 1", "both from 1", "both from 0"],
)
def test_dreyeve_is_read_whole_and_in_order_whatever_its_files_begin_with(tmp_path: Path, kind: dict[str, Any]) -> None:
    dataset = open_dataset("dreyeve", make_dreyeve(tmp_path, **kind))
    assert [(s.name, s.split) for s in dataset] == [("01", "train"), ("02", "train"), ("38", "test")]
    for sequence in dataset:
        frames = list(sequence)
        assert [number_shown(frame) for frame in frames] == list(range(12))
        assert np.abs(np.subtract(peaks(sequence), [spot(k) for k in range(12)])).max() <= (0 if kind else 1)
        assert [frame.pts_seconds for frame in frames] == pytest.approx([k / 25 for k in range(12)], abs=1e-3)
        assert sequence.frame_count == 12 and {frame.fixations() for frame in frames} == {None}


def test_the_lists_of_dreyeve_mark_their_frames(tmp_path: Path) -> None:
    for unrolled in (False, True):
        dataset = open_dataset("dreyeve", make_dreyeve(tmp_path / str(unrolled), unrolled=unrolled))
        marks = [[(f.bad, f.attention) for f in sequence] for sequence in dataset]
        # Numbers in the lists begin at 1: 3 to 5 are frames 2 to 4, both ends included.
        assert [k for k, (bad, _) in enumerate(marks[0]) if bad] == [3]
        assert {k: code for k, (_, code) in enumerate(marks[0]) if code} == {2: "k", 3: "k", 4: "k", 8: "e"}
        assert not any(bad or code for bad, code in marks[1])
        assert [k for k, (bad, _) in enumerate(marks[2]) if bad] == [11]
        assert dataset.sequences[0].check().bad == 1
    first = open_dataset("dreyeve", tmp_path / "True", list_base=0).sequences[0]
    assert [k for k, frame in enumerate(first) if frame.bad] == [4]


def test_a_zero_in_the_lists_of_dreyeve_says_that_they_begin_there(tmp_path: Path) -> None:
    root = make_dreyeve(tmp_path, runs=(1,), frames=2)
    (root / "missing_gt.txt").write_text("01\t000000\n")
    with pytest.raises(DatasetError, match=r"missing_gt\.txt, line 1: frame 0, .* try list_base=0"):
        open_dataset("dreyeve", root)
    assert next(iter(open_dataset("dreyeve", root, list_base=0).sequences[0])).bad


def test_runs_of_dreyeve_are_chosen_by_the_design_table(tmp_path: Path) -> None:
    root = make_dreyeve(tmp_path, runs=(1, 2, 36, 38, 74), frames=1)
    assert open_dataset("dreyeve", root).sequences[2].attributes == DrivingAttributes(
        "Night", "Rainy", "Downtown", "D1"
    )

    def names(split: str = "all", **options: Any) -> list[str]:
        return [sequence.name for sequence in open_dataset("dreyeve", root, split=split, **options)]

    assert open_dataset("dreyeve", root).published == 74
    assert open_dataset("dreyeve", root, weather="Rainy").published is None
    assert names("test") == ["38", "74"] and names("train", validation="none") == ["01", "02", "36"]
    assert names(time_of_day="Night") == ["36", "38"] and names(weather="Rainy") == ["36", "74"]
    assert names("test", landscape="Countryside") == ["74"] and names(driver="D8") == ["01", "38"]
    with pytest.raises(ConfigError, match="weather must be one of Sunny, Cloudy, Rainy; got 'Snow'"):
        names(weather="Snow")
    with pytest.raises(DatasetError, match="no sequence of split test of dreyeve here with weather=Sunny, driver=D2;"):
        names("test", driver="D2", weather="Sunny")
    with pytest.raises(DatasetError, match="no sequence of split val of dreyeve here with validation=none;"):
        names("val", validation="none")


def test_dreyeve_validates_on_the_middle_of_the_training_runs(tmp_path: Path) -> None:
    root = make_dreyeve(tmp_path, runs=(1, 38), frames=2, unrolled=True)
    for name in ("frames/{:06d}.jpg", "saliency_fix/{:06d}.png"):
        shift = int("fix" in name)
        filler = (root / "01" / name.format(shift)).read_bytes()
        for k in range(4010):
            (root / "01" / name.format(k + shift)).write_bytes(filler)
    for k in (3499, 3500, 3999, 4000):
        write(root / "01" / f"frames/{k:06d}.jpg", picture(k))
        write(root / "01" / f"saliency_fix/{k + 1:06d}.png", density(k))
    (root / "missing_gt.txt").write_text("01\t003501\n01\t000002\n")
    (validation,) = open_dataset("dreyeve", root, split="val")
    assert (validation.name, validation.frame_count, validation.split) == ("01[3500:4000]", 500, "val")
    first, last = next(validation.read()), next(validation.read(start=499))
    # 000002 in the list is the second frame of the run, not of what is validated on.
    assert not next(validation.read(start=1)).bad
    assert [number_shown(first), number_shown(last)] == [3500, 3999]
    assert [peak(first), peak(last)] == [spot(3500), spot(3999)]
    assert (first.index, first.pts_seconds, first.bad, last.index) == (0, 0.0, True, 499)
    assert last.pts_seconds == pytest.approx(499 / 25) and validation.check().bad == 1
    before, behind = open_dataset("dreyeve", root, split="train")
    assert [(s.name, s.frame_count) for s in (before, behind)] == [("01[0:3500]", 3500), ("01[4000:]", 10)]
    assert before.recording == behind.recording == validation.recording == "01"
    assert number_shown(next(before.read(start=3499))) == 3499 and number_shown(next(behind.read())) == 4000
    assert not list(validation.read(start=500)) and len(list(behind)) == 10


def test_a_window_in_the_middle_of_a_video_of_dreyeve_has_its_own_frames_and_maps(tmp_path: Path) -> None:
    (sequence,) = open_dataset("dreyeve", make_dreyeve(tmp_path, runs=(1,), frames=120))
    for start in (1, 49, 70, 118):
        frames = list(sequence.read(start=start, stop=start + 3, size=(24, 32)))
        numbers = list(range(start, min(start + 3, 120)))
        assert [number_shown(frame) for frame in frames] == numbers == [frame.index for frame in frames]
        assert np.abs(np.subtract([peak(frame) for frame in frames], [spot(k) for k in numbers])).max() <= 1
        assert frames[0].pts_seconds == pytest.approx(start / 25, abs=1e-3)
    assert list(sequence.read(start=120)) == []


def test_a_window_of_a_video_whose_rate_turns_out_uneven_is_counted(tmp_path: Path) -> None:
    times = [*range(20), *(19 + 3 * k + (k > 4) for k in range(1, 21))]
    path = make_video(
        tmp_path / "uneven.mp4",
        frames=40,
        pts=times,
        time_base=Fraction(1, 25),
        picture=picture,
        width=WIDTH,
        height=HEIGHT,
    )
    for start in (5, 15, 25, 38):
        shown = list(VideoPictures(path, even=True).read(start, start + 2, None))
        assert [read_number(frame.picture()) for frame in shown] == [start, start + 1] == [s.ordinal for s in shown]
        assert [frame.seconds for frame in shown] == pytest.approx([t / 25 for t in times[start : start + 2]])


def test_the_old_ground_truth_of_dreyeve_is_another_one_and_unrolled_only(tmp_path: Path) -> None:
    (run,) = open_dataset("dreyeve", make_dreyeve(tmp_path / "a", runs=(1,), unrolled=True), ground_truth="old")
    assert peaks(run) == [spot(k + 1) for k in range(12)]
    with pytest.raises(DatasetError, match=r"saliency: no such folder; .*Take ground_truth=fix"):
        open_dataset("dreyeve", make_dreyeve(tmp_path / "b", runs=(1,), frames=1), ground_truth="old")


def test_a_missing_map_of_dreyeve_is_an_error_and_never_a_shift(tmp_path: Path) -> None:
    root = make_dreyeve(tmp_path, runs=(1,), unrolled=True)
    (root / "01/saliency_fix/000012.png").unlink()
    (run,) = open_dataset("dreyeve", root)
    with pytest.raises(DatasetError, match=r"11 maps \(000001\.png to 000011\.png\) for 12 frames"):
        list(run)
    (root / "01/saliency_fix/000003.png").unlink()
    (run,) = open_dataset("dreyeve", root)
    with pytest.raises(DatasetError, match=r"after 000002\.png comes 000004\.png"):
        run.check()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("dr(eye)ve_design.txt", None, r"design\.txt cannot be read .*belongs in the folder of the runs"),
        ("dr(eye)ve_design.txt", "01\tEvening\tSunny\tCountryside\tD8\n", r"line 1: 5 columns; expected run, time"),
        ("dr(eye)ve_design.txt", "01 Noon Sunny Countryside D8 test_set\n", r"line 1: time_of_day must be Morning"),
        ("dr(eye)ve_design.txt", "01 Night Sunny Countryside D8 val_set\n", r"set must be training_set or test_set"),
        ("dr(eye)ve_design.txt", "x1 Night Sunny Countryside D8 test_set\n", r"expected a whole number, got 'x1'"),
        ("dr(eye)ve_design.txt", "07 Night Sunny Highway D8 test_set\n", r"1 runs on disk, but .* lacks 1 .* is 01"),
        ("missing_gt.txt", None, r"missing_gt\.txt cannot be read"),
        ("missing_gt.txt", "01 4 5\n", r"missing_gt\.txt, line 1: 3 columns; expected run and frame"),
        ("subsequences.txt", "\n1\t3\t5\tz\n", r"line 2: expected run, first frame, last frame and one of i, k, u, e"),
        ("subsequences.txt", "1\t5\t3\tk\n", r"line 1: the subsequence ends before it begins"),
        (
            "subsequences.txt",
            "1\t5\t99999999999\tk\n",
            r"txt, line 1: 99999999999 is not the number of a run or a frame",
        ),
        ("missing_gt.txt", "01 " + "9" * 5000, r"txt, line 1: 9{20} is not the number of a run or a frame"),
        ("01/video_garmin.avi", None, r"neither frames/ nor video_garmin\.avi"),
        ("01/video_saliency.avi", None, r"neither saliency_fix/ nor video_saliency\.avi"),
    ],
)
def test_a_broken_dreyeve_is_named(tmp_path: Path, file: str, text: str | None, message: str) -> None:
    target = make_dreyeve(tmp_path, runs=(1,), frames=1) / file
    target.unlink() if text is None else target.write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset("dreyeve", tmp_path)


@pytest.mark.parametrize("unrolled", [False, True])
def test_scouts_maps_belong_to_the_frames_with_their_number_from_0(tmp_path: Path, unrolled: bool) -> None:
    root = make_dreyeve(tmp_path, runs=(1, 36, 38), scout=True, unrolled=unrolled)
    dataset = open_dataset("dreyeve-scout", root)
    assert [(s.name, s.split) for s in dataset] == [("01", "train"), ("36", "val"), ("38", "test")]
    wanted = [None if k in (0, 4) else spot(k) for k in range(12)]
    assert [peaks(sequence) for sequence in dataset] == [wanted] * 3
    assert [frame.attention for frame in dataset.sequences[0]][:4] == [None, None, "k", "k"]
    # missing_gt.txt speaks of the other ground truth.
    assert not any(frame.bad for sequence in dataset for frame in sequence)
    assert [s.name for s in open_dataset("dreyeve-scout", root, split="val", weather="Rainy")] == ["36"]


def test_only_the_run_that_scout_leaves_out_may_lack_its_maps(tmp_path: Path) -> None:
    root = make_dreyeve(tmp_path, runs=(1, 6), frames=3, scout=True)
    shutil.rmtree(root / "06/salmaps")
    assert [s.name for s in open_dataset("dreyeve-scout", root)] == ["01"]
    shutil.rmtree(root / "01/salmaps")
    with pytest.raises(DatasetError, match=r"salmaps: no such folder; expected SCOUT's maps 000001\.png"):
        open_dataset("dreyeve-scout", root)


# BDD-A.


def test_maps_of_bdda_are_found_by_time_and_lose_their_bars(tmp_path: Path) -> None:
    dataset = open_dataset("bdd-a", make_bdda(tmp_path, seconds=2))
    names = ["training/1", "training/9", "training/10", "validation/1738", "test/3"]
    assert [s.name for s in dataset] == names and [s.split for s in dataset] == ["train"] * 3 + ["val", "test"]
    frames = list(dataset.sequences[0])
    assert [number_shown(frame) for frame in frames] == list(range(60))
    shapes = {frame.density().shape for frame in frames if frame.density() is not None}  # type: ignore[union-attr]
    assert shapes == {ROAD}
    gaze_times = np.arange(58) / 29
    for k, frame in enumerate(frames):
        assert frame.pts_seconds == pytest.approx(k / 30, abs=1e-3)
        away = np.abs(gaze_times - k / 30)
        if away.min() > 1 / 29:
            continue
        # Two where a frame lies in the middle between two maps.
        nearest = [
            spot(round(n / 29 * 30), height=ROAD[0], width=ROAD[1]) for n in np.flatnonzero(away < away.min() + 1e-3)
        ]
        assert min(np.abs(np.subtract(peak(frame), place)).max() for place in nearest) <= 1, k
    # After two seconds the file is a frame and a half behind: its last map by order would belong elsewhere.
    assert abs(58 / 29 - 58 / 30) > 1 / 30


def test_a_road_that_goes_on_after_its_maps_has_none_there(tmp_path: Path) -> None:
    root = make_bdda(tmp_path / "long", parts={"test": (3,)})
    short = make_bdda(tmp_path / "short", seconds=0.5, parts={"test": (3,)})
    shutil.copy(short / "test/gazemap_videos/3_pure_hm.mp4", root / "test/gazemap_videos/3_pure_hm.mp4")
    (sequence,) = open_dataset("bdd-a", root, split="test")
    seen = [frame.density() is not None for frame in sequence]
    assert seen == sorted(seen, reverse=True) and 14 <= sum(seen) <= 17 and len(seen) == 30


def test_the_bar_of_bdda_can_be_given(tmp_path: Path) -> None:
    root = make_bdda(tmp_path, seconds=0.2, parts={"test": (3,)})
    centred, higher = (
        next(iter(open_dataset("bdd-a", root, split="test", **options).sequences[0]))
        for options in ({}, {"bar_rows": 11})
    )
    row, column = spot(0, height=ROAD[0], width=ROAD[1])
    assert np.abs(np.subtract(peak(centred), (row, column))).max() <= 1
    values = higher.density()
    assert values is not None and values[0].min() > 0.5 * values.max()  # a row of the bright bar
    (sequence,) = open_dataset("bdd-a", root, split="test", bar_rows=30)
    with pytest.raises(DatasetError, match=r"maps of 128x96 cannot hold a road of 128x72 below a bar of 30 rows"):
        next(iter(sequence)).density()


def test_a_video_of_bdda_without_its_partner_is_named_and_can_be_left_out(tmp_path: Path) -> None:
    root = make_bdda(tmp_path, seconds=0.1, parts={"training": (1, 2, 10)})
    (root / "training/gazemap_videos/2_pure_hm.mp4").unlink()
    with pytest.raises(
        DatasetError, match=r"3 videos of the road and 2 of gaze maps; 1 have no partner, .* is 2, whose"
    ):
        open_dataset("bdd-a", root, split="train")
    listed = tmp_path / "exclude_videos.json"
    listed.write_text(json.dumps({"training": [2], "validation": [], "test": []}))
    assert [s.name for s in open_dataset("bdd-a", root, split="train", exclude=listed)] == ["training/1", "training/10"]
    listed.write_text("[2]")
    with pytest.raises(DatasetError, match="cannot be read as a list of videos to leave out"):
        open_dataset("bdd-a", root, split="train", exclude=listed)
    with pytest.raises(DatasetError, match=r"camera_videos: no such folder; .*holds exclude_videos\.json, training"):
        open_dataset("bdd-a", root, split="val")


# AIM 2024 and NTIRE 2026.


@pytest.mark.parametrize(("name", "nested"), [("aim2024", True), ("ntire2026", False)])
def test_a_challenge_is_read_whole_and_in_order(tmp_path: Path, name: str, nested: bool) -> None:
    root = make_challenge(tmp_path, nested=nested)
    dataset = open_dataset(name, root, split="train")
    assert [s.name for s in dataset] == ["0001", "0003"]
    for sequence in dataset:
        frames = list(sequence)
        assert [number_shown(frame) for frame in frames] == list(range(6))
        assert np.abs(np.subtract([peak(frame) for frame in frames], [spot(k) for k in range(6)])).max() <= 1
        # Lists hold rows before columns, in pixels of the maps (here half as large as the video).
        assert [points(frame) for frame in frames] == [centres(k) for k in range(6)]
        seen = frames[0].fixations()
        assert seen is not None and (seen.height, seen.width) == (HEIGHT, WIDTH)
        assert frames[0].picture().shape == (2 * HEIGHT, 2 * WIDTH, 3)
        assert sequence.check().frames == 6


def test_crowdsal_is_read_whole_and_in_order(tmp_path: Path) -> None:
    root = make_crowdsal(tmp_path)
    named = {split: [s.name for s in open_dataset("crowdsal", root, split=split)] for split in ("train", "test", "all")}
    assert named == {"train": ["0001", "0003"], "test": ["0002"], "all": ["0001", "0003", "0002"]}
    dataset = open_dataset("crowdsal", root, split="train")
    assert dataset.published == 2 and {s.split for s in dataset} == {"train"}
    for sequence in dataset:
        frames = list(sequence)
        assert [number_shown(frame) for frame in frames] == list(range(6))
        assert np.abs(np.subtract([peak(frame) for frame in frames], [spot(k) for k in range(6)])).max() <= 1
        assert [points(frame) for frame in frames] == [centres(k) for k in range(6)]
        assert sequence.check().frames == 6


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("Saliency/0001.mp4", r"Train has no Saliency/0001\.mp4; download"),
        ("Fixations/0001.json", r"Train has no Fixations/0001\.json; download"),
    ],
)
def test_a_file_that_crowdsal_lacks_is_named(tmp_path: Path, missing: str, message: str) -> None:
    root = make_crowdsal(tmp_path, frames=2)
    (root / "Train" / missing).unlink()
    with pytest.raises(DatasetError, match=message):
        open_dataset("crowdsal", root, split="train")
    assert len(open_dataset("crowdsal", root, split="test")) == 1


def test_videos_of_crowdsal_that_are_missing_are_seen_by_its_record(tmp_path: Path) -> None:
    root = make_crowdsal(tmp_path, frames=2)
    for folder, suffix in (("Videos", "mp4"), ("Saliency", "mp4"), ("Fixations", "json")):
        (root / "Train" / folder / f"0003.{suffix}").unlink()
    dataset = open_dataset("crowdsal", root, split="train")
    assert (len(dataset), dataset.published) == (1, 2)


def test_challenges_are_split_as_their_list_says_and_withheld_labels_are_none(tmp_path: Path) -> None:
    root = make_challenge(tmp_path, frames=2)
    splits = {s: [(q.name, q.split) for q in open_dataset("aim2024", root, split=s)] for s in ("test", "private_test")}
    assert splits["test"] == [("0002", "public_test"), ("0004", "private_test")]
    assert splits["private_test"] == [("0004", "private_test")]
    (withheld,) = open_dataset("aim2024", root, split="private_test")
    assert [(frame.density(), frame.fixations()) for frame in withheld] == [(None, None)] * 2
    assert len(open_dataset("aim2024", root)) == 4


def test_ten_bit_maps_keep_their_ten_bits(tmp_path: Path) -> None:
    # A ramp over 600 of the 876 steps that limited range has: 8 bits could tell 150 of them apart.
    ramp = np.tile(np.linspace(64, 664, WIDTH * HEIGHT).round().astype(np.uint16).reshape(HEIGHT, WIDTH), 1)
    root = make_challenge(tmp_path, frames=2, deep=lambda k: np.roll(ramp, 10 * k, axis=0))
    frames = list(open_dataset("ntire2026", root, split="public_test").sequences[0])
    for k, frame in enumerate(frames):
        values = frame.density()
        assert values is not None and len(np.unique(values)) > 550
        wanted = np.roll(ramp, 10 * k, axis=0) - 64.0
        assert np.abs(values - wanted / wanted.sum()).max() < 2e-6


@pytest.mark.parametrize(
    ("broken", "text", "message"),
    [
        ("TrainTestSplit.json", None, r"TrainTestSplit\.json cannot be read as JSON"),
        ("TrainTestSplit.json", "[1]", r"expected lists of names under train"),
        ("TrainTestSplit.json", '{"training": []}', r"has no list train, only training"),
        ("Videos/0003.mp4", None, r"1 of the 2 videos of split train are missing, the first is 0003\.mp4"),
        ("SaliencyTrain/Train/0001.mp4", None, r"SaliencyTrain has no 0001\.mp4"),
        ("FixationsTrain/Train/0003/fixations.json", None, r"FixationsTrain has no 0003/fixations\.json; unpack"),
    ],
)
def test_a_broken_challenge_is_named(tmp_path: Path, broken: str, text: str | None, message: str) -> None:
    target = make_challenge(tmp_path, frames=1) / broken
    target.unlink() if text is None else target.write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset("aim2024", tmp_path, split="train")


def test_a_challenge_whose_lists_were_not_unpacked_at_all_has_its_maps(tmp_path: Path) -> None:
    root = make_challenge(tmp_path, frames=1)
    shutil.rmtree(root / "FixationsTrain")
    (frame,) = open_dataset("aim2024", root, split="train").sequences[0]
    assert frame.fixations() is None and frame.density() is not None


def test_a_list_of_fixations_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    root = make_challenge(tmp_path)
    path = root / "FixationsTrain/Train/0001/fixations.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:2]))
    with pytest.raises(DatasetError, match="sequence 0001 has 6 pictures but 2 records of fixations"):
        list(open_dataset("aim2024", root, split="train").sequences[0])
    path.write_text("[[[1, 2, 3]], [], [], [], [], []]")
    frames = list(open_dataset("aim2024", root, split="train").sequences[0])
    assert points(frames[1]) == []
    with pytest.raises(DatasetError, match=r"fixations\.json, frame 0: expected pairs"):
        frames[0].fixations()


# Stills.


def viewers(frame: LabelledFrame) -> list[int] | None:
    fixations = frame.fixations()
    assert fixations is not None
    return None if fixations.viewers is None else fixations.viewers.tolist()


def holds_stills(dataset: Dataset, numbers: dict[str, int], seen_by: list[int] | None, *, slack: int = 0) -> None:
    """The stills have these names in this order, and each shows its number with its own labels."""
    assert [sequence.name for sequence in dataset] == list(numbers)
    for sequence, k in zip(dataset, numbers.values(), strict=True):
        (frame,) = sequence
        assert (number_shown(frame), points(frame), viewers(frame)) == (k, centres(k), seen_by)
        assert np.abs(np.subtract(peak(frame), spot(k))).max() <= slack
        assert (sequence.kind, sequence.rate, sequence.frame_count) == ("still", None, 1)
        assert (frame.index, frame.pts_seconds) == (0, 0.0)
        assert sequence.check().fixations == 2


def test_salicon_is_read_with_its_viewers(tmp_path: Path) -> None:
    root = make_salicon(tmp_path)
    train = {f"COCO_train2014_{k:012d}": k for k in (9, 10, 100)}
    holds_stills(open_dataset("salicon", root, split="train"), train, [0, 1])
    holds_stills(open_dataset("salicon", root, split="val"), {"COCO_val2014_000000000042": 42}, [0, 1])
    (test,) = open_dataset("salicon", root, split="test")
    (frame,) = test
    assert (frame.density(), frame.fixations(), number_shown(frame)) == (None, None, 7)
    assert [s.split for s in open_dataset("salicon", root)] == ["train"] * 3 + ["val", "test"]


def test_the_mouse_of_salicon_can_be_read_instead_of_its_fixations(tmp_path: Path) -> None:
    (frame,) = open_dataset("salicon", make_salicon(tmp_path), split="val", points="location").sequences[0]
    assert points(frame) == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5]] * 3
    assert viewers(frame) == [0] * 3 + [1] * 3 + [2] * 3


def test_mit1003_is_read_from_its_jpeg_labels(tmp_path: Path) -> None:
    names = {"i05june05_static": 0, "istatic_2": 1, "istatic_10": 2}
    holds_stills(open_dataset("mit1003", make_mit1003(tmp_path)), names, None, slack=1)


def test_mit300_has_no_labels_and_takes_maps_as_large_as_its_pictures(tmp_path: Path) -> None:
    dataset = open_dataset("mit300", make_mit300(tmp_path), split="test")
    assert [s.name for s in dataset] == ["i1", "i2", "i10"]
    (frame,) = dataset.sequences[2]
    assert (number_shown(frame), frame.density(), frame.fixations()) == (10, None, None)
    predicted = np.zeros((12, 16), np.float32)
    predicted[6, 4] = 0.5
    path = write_submission_map(tmp_path / "out" / "maps", dataset.sequences[2], predicted, height=HEIGHT, width=WIDTH)
    written = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert path.name == "i10.png" and (written.shape, written.dtype) == ((HEIGHT, WIDTH), np.uint8)
    row, column = np.argwhere(written == written.max()).mean(axis=0)
    assert (row, column) == pytest.approx((6.5 * 4 - 0.5, 4.5 * 4 - 0.5))
    write_submission_map(tmp_path, dataset.sequences[0], np.zeros((2, 2), np.float32), height=2, width=2)
    with pytest.raises(EncodeError, match=r"cannot write .*choose another folder"):
        write_submission_map(tmp_path / "out" / "maps" / "i10.png", dataset.sequences[0], predicted, height=2, width=2)


def test_cat2000_is_read_by_category_without_its_output_folders(tmp_path: Path) -> None:
    root = make_cat2000(tmp_path)
    names = {f"trainSet/Action/{k:03d}": k for k in (1, 2, 10)} | {"trainSet/Pattern/134": 134}
    train = open_dataset("cat2000", root, split="train")
    holds_stills(train, names, None, slack=1)
    assert train.sequences[3].attributes == CategoryAttributes("Pattern")
    test = open_dataset("cat2000", root, split="test")
    assert [s.name for s in test] == [name.replace("train", "test") for name in names]
    assert [number_shown(next(iter(s))) for s in test] == [k + 1 for k in names.values()]
    assert {next(iter(s)).fixations() for s in test} == {None} and len(open_dataset("cat2000", root)) == 8


def test_a_wrong_orientation_tag_in_a_published_set_is_not_believed(tmp_path: Path) -> None:
    root = make_cat2000(tmp_path)
    tagged = turn_by_exif(root / "trainSet/Stimuli/Pattern/134.jpg")
    assert cv2.imread(str(tagged)).shape[:2] == (WIDTH, HEIGHT)  # the tag is a good one
    (frame,) = open_dataset("cat2000", root, split="train").sequences[3]
    assert number_shown(frame) == 134 and frame.picture().shape[:2] == (HEIGHT, WIDTH)


@pytest.mark.parametrize("inner", [".", "data"])
def test_osie_is_read_from_its_one_file(tmp_path: Path, inner: str) -> None:
    root = make_osie(tmp_path) / inner
    holds_stills(open_dataset("osie", root), {"1001": 1001, "1002": 1002, "1010": 1010}, [0, 1], slack=1)


def test_a_picture_of_osie_that_its_file_names_is_missed(tmp_path: Path) -> None:
    root = make_osie(tmp_path)
    (root / "data/stimuli/1002.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of the 3 pictures of fixations\.mat are missing, .* 1002\.jpg;"):
        open_dataset("osie", root).sequences[0].check()


def test_the_density_of_a_set_of_points_is_as_wide_as_asked(tmp_path: Path) -> None:
    make_osie(tmp_path)
    widths = {}
    for sigma in (None, 2.0, 6.0):
        (frame,) = open_dataset("osie", tmp_path, **({} if sigma is None else {"sigma": sigma})).sequences[0]
        values = frame.density()
        assert values is not None
        y = np.arange(HEIGHT)
        rows = values.sum(axis=1)
        widths[sigma] = float(np.sqrt((rows * (y - (rows * y).sum()) ** 2).sum()))
    assert widths[2.0] == pytest.approx(2, abs=0.05) and widths[6.0] == pytest.approx(6, abs=0.3)
    assert widths[None] == pytest.approx(0.03 * WIDTH, abs=0.05)
    with pytest.raises(ConfigError, match="sigma must be above 0"):
        open_dataset("osie", tmp_path, sigma=0.0)


@pytest.mark.parametrize("inner", [".", "eyetrackingdata/fixdens"])
def test_toronto_has_an_entry_a_picture_in_the_order_of_their_numbers(tmp_path: Path, inner: str) -> None:
    root = make_toronto(tmp_path) / inner
    holds_stills(open_dataset("toronto", root), {str(k): k for k in range(1, 12)}, None, slack=1)


def test_pascal_s_is_read_from_a_matlab_73_file(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    holds_stills(open_dataset("pascal-s", make_pascal_s(tmp_path)), {str(k): k for k in range(1, 12)}, [0, 3], slack=1)
    (tmp_path / "datasets/fixations/pascalFix.mat").write_bytes(b"MATLAB 5")
    with pytest.raises(DatasetError, match=r"pascalFix\.mat cannot be read as a MATLAB 7\.3 file"):
        open_dataset("pascal-s", tmp_path).sequences[0].check()


def test_a_picture_too_many_in_a_set_of_numbered_entries_is_an_error_and_never_a_shift(tmp_path: Path) -> None:
    root = make_toronto(tmp_path, count=4)
    folder = root / "eyetrackingdata/fixdens/Original Image Set"
    (folder / "2.jpg").rename(folder / "5.jpg")
    with pytest.raises(DatasetError, match=r"3\.jpg: expected 2\.jpg"):
        open_dataset("toronto", root).sequences[0].check()
    (folder / "5.jpg").unlink()
    with pytest.raises(DatasetError, match=r"has 4 entries for 3 pictures"):
        open_dataset("toronto", root).sequences[0].check()


def test_dut_omron_counts_from_zero_and_its_first_row_is_no_point(tmp_path: Path) -> None:
    names = {"im005": 0, "sun_aaa": 1, "sun_b": 2}
    holds_stills(open_dataset("dut-omron", make_dut_omron(tmp_path)), names, [0, 2], slack=1)


def test_isun_is_split_as_its_files_say(tmp_path: Path) -> None:
    root = make_isun(tmp_path)
    holds_stills(open_dataset("isun", root, split="train"), {"sun_a": ord("a"), "sun_c": ord("c")}, [0, 1], slack=1)
    holds_stills(open_dataset("isun", root, split="val"), {"sun_b": ord("b")}, [0, 1], slack=1)
    (test,) = open_dataset("isun", root, split="test")
    assert (test.name, next(iter(test)).fixations()) == ("sun_d", None) and len(open_dataset("isun", root)) == 4
    (root / "images/sun_c.jpg").unlink()
    with pytest.raises(
        DatasetError, match=r"1 of the 2 pictures of training\.mat are missing, the first is sun_c\.jpg"
    ):
        open_dataset("isun", root)


@pytest.mark.parametrize(
    ("name", "make", "broken", "message"),
    [
        ("salicon", make_salicon, "maps/val", r"maps.val: no such folder; expected maps; .*holds train"),
        (
            "salicon",
            make_salicon,
            "maps/train/COCO_train2014_000000000010.png",
            r"2 maps for 3 .*picture COCO_\w+10 has no",
        ),
        (
            "salicon",
            make_salicon,
            "images/train/COCO_train2014_000000000010.jpg",
            r"3 maps for 2 .*the map COCO_\w+10 has no",
        ),
        (
            "mit1003",
            make_mit1003,
            "ALLFIXATIONMAPS/istatic_2_fixPts.jpg",
            r"2 fixation maps for 3 pictures .*the picture istatic_2 has no partner",
        ),
        ("mit300", make_mit300, "BenchmarkIMAGES", r"BenchmarkIMAGES: no such folder"),
        (
            "cat2000",
            make_cat2000,
            "trainSet/FIXATIONLOCS/Action/002.mat",
            r"2 fixation files for 3 .*002 has no partner",
        ),
        (
            "cat2000",
            make_cat2000,
            "testSet/Stimuli",
            r"testSet.Stimuli: no such folder; expected one folder a category",
        ),
        ("osie", make_osie, "data/eye/fixations.mat", r"fixations\.mat: no such file"),
        (
            "dut-omron",
            make_dut_omron,
            "DUT-OMRON-eye-fixations/mat/sun_b.mat",
            r"2 fixation files for 3 .*sun_b has no partner",
        ),
        ("isun", make_isun, "validation.mat", r"validation\.mat: no such file"),
    ],
)
def test_a_broken_set_of_stills_is_named(tmp_path: Path, name: str, make: Any, broken: str, message: str) -> None:
    target = make(tmp_path) / broken
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(DatasetError, match=message):
        open_dataset(name, tmp_path)


@pytest.mark.parametrize(
    ("make", "name", "file", "replaced_by", "message"),
    [
        (
            make_salicon,
            "salicon",
            "fixations/train/COCO_train2014_000000000009.mat",
            None,
            "cannot be read as a MATLAB",
        ),
        (make_osie, "osie", "data/eye/fixations.mat", {"points": [1]}, "holds no variable fixations"),
        (make_osie, "osie", "data/eye/fixations.mat", {"fixations": [1.0]}, "expected a struct with the field img"),
        (make_dut_omron, "dut-omron", "DUT-OMRON-eye-fixations/mat/im005.mat", {"t": [1]}, "holds no variable s"),
    ],
)
def test_a_matlab_file_that_is_another_is_named(
    tmp_path: Path, make: Any, name: str, file: str, replaced_by: dict[str, Any] | None, message: str
) -> None:
    target = make(tmp_path) / file
    if replaced_by is None:
        target.write_bytes(b"no matrix" * 30)
    else:
        write_mat(target, **replaced_by)
    with pytest.raises(DatasetError, match=message):
        open_dataset(name, tmp_path).sequences[0].check()


@pytest.mark.parametrize(
    ("make", "name", "file"),
    [
        (make_dut_omron, "dut-omron", "DUT-OMRON-eye-fixations/mat/im005.mat"),
        (make_isun, "isun", "training.mat"),
        (make_salicon, "salicon", "fixations/train/COCO_train2014_000000000009.mat"),
        (make_osie, "osie", "data/eye/fixations.mat"),
        (make_cat2000, "cat2000", "trainSet/FIXATIONLOCS/Action/001.mat"),
        (make_toronto, "toronto", "eyetrackingdata/fixdens/origfixdata.mat"),
        (make_pascal_s, "pascal-s", "datasets/fixations/pascalFix.mat"),
    ],
)
def test_a_matlab_file_that_was_cut_short_is_named(tmp_path: Path, make: Any, name: str, file: str) -> None:
    target = make(tmp_path) / file
    whole = target.read_bytes()
    for length in (0, 3, 100, 112, 127, 128, 132, 140, 160, len(whole) // 2):
        target.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match=re.escape(str(target))):
            list(map(LabelledSequence.check, open_dataset(name, tmp_path)))


def test_whatever_the_reader_of_matlab_files_raises_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (IndexError("out of range"), KeyError(5), MemoryError(), OverflowError("big"), AttributeError("none")):
        with monkeypatch.context() as patch:
            patch.setattr("scipy.io.loadmat", Mock(side_effect=error))
            with pytest.raises(DatasetError, match=r"im005\.mat cannot be read as a MATLAB file \(.+\); copy it again"):
                matlab.load_mat(tmp_path / "im005.mat", "s")


@pytest.mark.parametrize(
    ("make", "name", "reader"),
    [(make_dut_omron, "dut-omron", "load_mat"), (make_pascal_s, "pascal-s", "load_hdf_cells")],
)
def test_a_file_that_crashes_the_library_that_reads_it_is_an_error_like_any_other(
    make: Callable[[Path], Path], name: str, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = open_dataset(name, make(tmp_path)).sequences[0]
    monkeypatch.setattr(matlab, reader, hostile_readers.crash)
    with pytest.raises(DatasetError, match=r"\.mat cannot be read: the library that reads it crashed"):
        sequence.check()


def test_a_missing_library_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (frame,) = open_dataset("salicon", make_salicon(tmp_path), split="val").sequences[0]
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DatasetError, match=r"need scipy: pip install 'vidsal\[data\]'"):
        frame.fixations()
    assert number_shown(frame) == 42 and peak(frame) == spot(42)  # what needs no scipy goes on


# One's own data.


def test_the_simple_layout_holds_stills_and_videos(tmp_path: Path) -> None:
    dataset = open_dataset("simple", make_simple(tmp_path / "mine"))
    assert [s.name for s in dataset] == [f"{k}.png" for k in range(10)] + ["one.mp4", "two.mp4"]
    for k, sequence in enumerate(dataset.sequences[:10]):
        (frame,) = sequence
        fixations = frame.fixations()
        assert fixations is not None and (fixations.height, fixations.width) == (2 * HEIGHT, 2 * WIDTH)
        assert fixations.points.tolist() == [[2 * x, 2 * y] for x, y in centres(k)]
        assert number_shown(frame) == k and viewers(frame) == [0, 1] and sequence.kind == "still"
        row, column = spot(k)
        assert np.abs(np.subtract(peak(frame), (2 * row + 1, 2 * column + 2))).max() <= 1


def test_no_point_is_lost_at_another_size() -> None:
    corner = np.nextafter(np.array([[1920, 1080]], np.float32), np.float32(0))
    seen = Fixations.on_picture(corner, height=1080, width=1920)
    for width in range(10, 1900, 7):
        assert seen.counts(height=width * 9 // 16, width=width)[-1, -1] == 1


def test_a_fixation_on_a_video_is_there_while_it_lasts(tmp_path: Path) -> None:
    dataset = open_dataset("simple", make_simple(tmp_path))
    frames = list(dataset.sequences[-1])
    assert [number_shown(frame) for frame in frames] == list(range(8))
    # From 0.1 s to 0.18 s: the frames at 0.12 and 0.16 s.
    assert [viewers(frame) for frame in frames] == [[0]] * 3 + [[0, 1]] * 2 + [[0]] * 3
    for k, frame in enumerate(frames):
        x, y = centres(k)[0]
        assert points(frame) == [[2 * x, 2 * y]] + [[7, 7]] * (k in (3, 4))
        values = frame.density()
        assert values is not None and values.shape == (2 * HEIGHT, 2 * WIDTH)
        assert values.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("start", "duration", "frames"),
    [
        ("0.05", "", [0]),
        ("0.1", "", [1]),
        ("0.25", "0", [2]),
        ("0.33", "40", [3]),
        ("0.33", "80", [4]),  # under way at one frame's time: there and nowhere else
        ("0.33", "200", [4, 5]),
        ("0.55", "100", [6]),  # the frame at 0.6 s stands until 0.9 s
        ("0.65", "100", [6]),
        ("0.95", "", [7]),
        ("1.05", "", []),  # after the end
        ("-0.05", "", []),
        ("-0.05", "100", [0]),
    ],
)
def test_a_fixation_counts_once_at_least_while_the_video_runs(
    tmp_path: Path, start: str, duration: str, frames: list[int]
) -> None:
    (tmp_path / "videos").mkdir()
    ticks = [9000 * tenth for tenth in (0, 1, 2, 3, 4, 5, 6, 9)]
    make_video(tmp_path / "videos" / "a.mp4", frames=8, width=WIDTH, height=HEIGHT, rate=10, pts=ticks)
    # A second one keeps the video among those with fixations.
    rows = [f"a.mp4,{WIDTH},{HEIGHT},5,5,{start},{duration}", f"a.mp4,{WIDTH},{HEIGHT},9,9,0,1000"]
    table = "\n".join(["video,width,height,x,y,start_seconds,duration_ms", *rows])
    (tmp_path / "video_fixations.csv").write_text(table)
    (sequence,) = open_dataset("simple", tmp_path)
    assert [k for k, frame in enumerate(sequence) if [5, 5] in (points(frame) or [])] == frames


def test_the_simple_layout_is_split_by_the_names(tmp_path: Path) -> None:
    root = make_simple(tmp_path / "mine")
    names = {split: {s.name for s in open_dataset("simple", root, split=split)} for split in ("all", "train", "val")}
    assert names["val"] == {name for name in names["all"] if is_validation("mine", name)} != set()
    assert names["train"] == names["all"] - names["val"]


def test_a_photo_of_ones_own_is_shown_upright(tmp_path: Path) -> None:
    path = write(tmp_path / "images/a.jpg", picture(3))
    turn_by_exif(path)
    (tmp_path / "fixations.csv").write_text(f"image,width,height,x,y\na.jpg,{HEIGHT},{WIDTH},3,50\n")
    (frame,) = open_dataset("simple", tmp_path).sequences[0]
    assert frame.picture().shape[:2] == (WIDTH, HEIGHT) and viewers(frame) is None


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("fixations.csv", "image,width,height,x\n", r"fixations\.csv: column y is missing; it has image, width"),
        ("fixations.csv", "image,width,height,x,y\n0.png,a,4,1,1\n", r"line 2, column width: 'a' is not a number"),
        (
            "fixations.csv",
            "image,width,height,x,y\n0.png,4,4,1,1\n0.png,5,4,1,1\n",
            r"line 3: two sizes for 0\.png: 4x4",
        ),
        ("fixations.csv", "image,width,height,x,y\n0.png,4,0,1,1\n", r"line 2, column height: got 0; expected"),
        ("fixations.csv", "image,width,height,x,y\nz.png,4,4,1,1\n", r"names z\.png, but .*z\.png is missing"),
        ("fixations.csv.gz", "image\n", r"cannot be read"),
        ("video_fixations.csv", "video,width,height,x,y\n", r"column start_seconds is missing"),
        (
            "video_fixations.csv",
            "video,width,height,x,y,start_seconds\none.mp4,4,4,1,1,nan\n",
            r"start_seconds must be",
        ),
    ],
)
def test_a_broken_table_of_ones_own_is_named(tmp_path: Path, file: str, text: str, message: str) -> None:
    root = make_simple(tmp_path)
    (root / file.removesuffix(".gz")).unlink()
    (root / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset("simple", tmp_path)


@pytest.mark.parametrize("name", ["fixations", "video_fixations"])
def test_a_table_that_is_there_packed_and_not_is_refused(tmp_path: Path, name: str) -> None:
    table = make_simple(tmp_path) / f"{name}.csv"
    table.with_name(f"{name}.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
    message = rf"holds both {name}\.csv\.gz and {name}\.csv, .*remove one"
    with pytest.raises(DatasetError, match=message):
        open_dataset("simple", tmp_path)


def test_tables_with_a_mark_of_utf_8_and_sizes_with_a_point_are_read(tmp_path: Path) -> None:
    write(tmp_path / "images/ä.png", picture(1))
    text = f"image,width,height,x,y\nä.png,{WIDTH}.0,{HEIGHT}.0,3,5\n"
    for data, name in ((text.encode("utf-8-sig"), ""), (gzip.compress(text.encode("utf-8-sig")), ".gz")):
        table = tmp_path / f"fixations.csv{name}"
        table.write_bytes(data)
        (frame,) = open_dataset("simple", tmp_path).sequences[0]
        seen = frame.fixations()
        assert points(frame) == [[3, 5]]
        assert seen is not None and (seen.height, seen.width) == (HEIGHT, WIDTH)
        table.unlink()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"fixations\.csv: the file is empty; expected a first line with the columns image, width"),
        ("image;width;height;x;y\na.png;4;4;1;1\n", r"';' seem to separate the columns; save the table with commas"),
        ("image\twidth\theight\tx\ty\na.png\t4\t4\t1\t1\n", r"tabs seem to separate the columns"),
        ("image,width,height,x,y\na.png,4,4,1\n", r"fixations\.csv, line 2, column y: the line ends before it"),
        ("image,width,height,x,y\na.png,4,4,1,5,2,5\n", r"line 2, after the last column: .*\(2, 5\)"),
        (
            "image,width,height,x,y\na.png,4,4,1,1\na.png,4,4,one,1\n",
            r"line 3, column x: 'one' is not a number; expected",
        ),
        ("image,width,height,x,y\na.png,4.5,4,1,1\n", r"line 2, column width: got 4\.5; expected .* whole pixels"),
        ("image,width,height,x,y\n,4,4,1,1\n", r"line 2, column image: it is empty"),
        (b"image,width,height,x,y\n\xe4.png,4,4,1,1\n", r"cannot be read as UTF-8 text .*; save it as CSV in UTF-8"),
    ],
)
def test_a_value_that_is_none_is_named_with_its_line_and_column(
    tmp_path: Path, table: str | bytes, message: str
) -> None:
    write(tmp_path / "images/a.png", picture(1))
    (tmp_path / "fixations.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(DatasetError, match=message):
        open_dataset("simple", tmp_path)


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "NA", "."])
def test_rows_of_a_lost_track_are_left_out(tmp_path: Path, cell: str) -> None:
    write(tmp_path / "images/a.png", picture(1))
    rows = [f"a.png,{WIDTH},{HEIGHT},3,5", f"a.png,{WIDTH},{HEIGHT},{cell},5"]
    (tmp_path / "fixations.csv").write_text("\n".join(["image,width,height,x,y", *rows]))
    (frame,) = open_dataset("simple", tmp_path).sequences[0]
    assert points(frame) == [[3, 5]]


@pytest.mark.parametrize("closed", ["fixations.csv", "videos/one.mp4"])
def test_a_folder_that_may_not_be_entered_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    path, stat = make_simple(tmp_path) / closed, Path.stat

    def refuse(self: Path, **given: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return stat(self, **given)

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(DatasetError, match=f"{closed}: no permission to read; allow this user to read and enter"):
        open_dataset("simple", tmp_path)


def test_a_table_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **given: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    make_simple(tmp_path)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        DatasetError, match=r"fixations\.csv: no permission to read it; allow this user to read the file"
    ):
        open_dataset("simple", tmp_path)


def test_a_condition_that_nobody_has_is_named(tmp_path: Path) -> None:
    root = make_simple(tmp_path)
    with pytest.raises(DatasetError, match="no fixation with condition asleep falls on a picture of split all"):
        open_dataset("simple", root, condition="asleep")


def test_a_split_that_the_names_leave_empty_is_told_with_what_is_where(tmp_path: Path) -> None:
    root = make_simple(tmp_path / "mine")
    kept = next(f"{k}.png" for k in range(10) if not is_validation("mine", f"{k}.png"))
    (root / "video_fixations.csv").unlink()
    (root / "fixations.csv").write_text(f"image,width,height,x,y\n{kept},{WIDTH},{HEIGHT},5,5\n")
    with pytest.raises(DatasetError, match=r"is in split val: 1 in train, 0 in val .*with --split all"):
        open_dataset("simple", root, split="val")


def test_a_set_whose_rows_are_all_lost_is_told(tmp_path: Path) -> None:
    (tmp_path / "fixations.csv").write_text("image,width,height,x,y\na.png,4,4,9,1\na.png,4,4,,1\n")
    with pytest.raises(DatasetError, match="split all: each of the 2 rows lies outside its picture or has no place"):
        open_dataset("simple", tmp_path)


# All layouts.


def test_an_unknown_name_split_or_option_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no data set 'dhf2k'; known are dhf1k, hollywood2"):
        open_dataset("dhf2k", tmp_path)
    with pytest.raises(ConfigError, match=r"dhf1k has no option 'colour'; it knows fixations"):
        open_dataset("dhf1k", tmp_path, colour=True)
    with pytest.raises(ConfigError, match="fixations must be one of auto, png, mat"):
        open_dataset("dhf1k", tmp_path, fixations="jpg")
    with pytest.raises(DatasetError, match="nowhere: no such folder; expected DHF1K"):
        open_dataset("dhf1k", tmp_path / "nowhere")


@pytest.mark.parametrize("name", DATASETS)
def test_every_layout_refuses_a_split_it_does_not_have_and_an_empty_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="has no split 'holdout', only all"):
        open_dataset(name, tmp_path, split="holdout")
    with pytest.raises(DatasetError):
        open_dataset(name, tmp_path)


def test_the_page_on_layouts_has_every_data_set_with_its_splits() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "layouts.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    shown = {name: row.split("|")[2] for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert shown.keys() == DATASETS.keys() - {"simple"} and "`simple`" in page
    for name, splits in shown.items():
        assert ["all", *re.findall(r"\w+", splits)] == list(DATASETS[name].splits), name


def test_points_beside_the_picture_and_without_a_place_are_left_out() -> None:
    given = [[0, 0], [5.9, 3.9], [6, 1], [1, 4], [-0.1, 1], [np.nan, 1]]
    seen = Fixations.on_picture(given, height=4, width=6, viewers=[1, 2, 3, 4, 5, 6])
    assert seen.points.tolist() == [[0, 0], [pytest.approx(5.9), pytest.approx(3.9)]]
    assert seen.viewers is not None and seen.viewers.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("height", "width", "sigma"), [(270, 480, 14.4), (480, 270, 1.3), (40, 400, 30.0), (9, 900, 0.3)]
)
@pytest.mark.parametrize("count", [0, 1, 5, 60, 300])
def test_points_stamped_one_by_one_are_those_of_a_whole_picture_blurred(
    height: int, width: int, sigma: float, count: int
) -> None:
    rng = np.random.default_rng(count)
    places = rng.integers((height, width), size=(count, 2))
    places[: count // 5] = 0, width - 1  # one corner, again and again
    counts = np.zeros((height, width), np.float32)
    np.add.at(counts, tuple(places.T), 1)
    side = 2 * math.ceil(4 * sigma) + 1
    blurred = cv2.GaussianBlur(counts, (side, side), sigma, borderType=cv2.BORDER_CONSTANT)
    np.testing.assert_allclose(blur_counts(counts, sigma), blurred, rtol=1e-6)


def test_a_few_points_on_a_large_picture_are_not_blurred_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "GaussianBlur")
    density = density_from_fixations(np.array([[960.5, 540.5]], np.float32), height=1080, width=1920, sigma=57.6)
    assert density.sum() == pytest.approx(1, abs=1e-4) and density.argmax() == 540 * 1920 + 960


def test_counts_move_with_the_size_and_lose_no_point() -> None:
    seen = Fixations.from_map(fixation_map(3))
    row, column = spot(3)
    assert np.argwhere(seen.counts()).tolist() == [[row, column], [row, column + 1]]
    half = seen.counts(height=HEIGHT // 2, width=WIDTH // 2)
    assert half.sum() == 2 and half[row // 2, column // 2] >= 1
    twice = seen.counts(height=2 * HEIGHT, width=2 * WIDTH)
    assert np.argwhere(twice).tolist() == [[2 * row + 1, 2 * column + 1], [2 * row + 1, 2 * column + 3]]


def test_a_jpeg_of_points_gives_the_points_and_not_the_ripples_around_them(tmp_path: Path) -> None:
    from vidsal.data.layouts.files import read_fixation_map

    path = write(tmp_path / "points.jpg", fixation_map(5))
    assert len(np.unique(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))) > 2
    assert read_fixation_map(path).points.tolist() == centres(5)


def test_a_map_of_zeros_is_no_density(tmp_path: Path) -> None:
    from vidsal.data.layouts.files import read_density

    assert read_density(write(tmp_path / "zero.png", np.zeros((4, 4), np.uint8))) is None


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0])
def test_a_map_that_is_not_finite_or_negative_is_no_density_and_named(tmp_path: Path, wrong: float) -> None:
    from vidsal.data.layouts.files import read_density

    values = np.ones((4, 4), np.float32)
    values[1, 2] = wrong
    path = tmp_path / "map.tiff"
    assert cv2.imwrite(str(path), values)
    with pytest.raises(DatasetError, match=r"map\.tiff has NaN, infinity or negative values"):
        read_density(path)
