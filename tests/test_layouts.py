"""Published data sets, made small in exactly their layout, are read whole and in order; broken ones are named.

The judge: every made picture shows its own number, and density and points lie where that number says.
"""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from layout_fixtures import (
    HEIGHT,
    WIDTH,
    centres,
    density,
    fixation_map,
    make_dhf1k,
    make_hollywood,
    make_ucf_sports,
    spot,
    write,
)
from media import read_number

from vidsal.data.layouts import DATASETS, Fixations, LabelledFrame, Sequence, open_dataset
from vidsal.data.layouts.contract import ActionAttributes, ShotAttributes
from vidsal.errors import ConfigError, DatasetError


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


def holds(sequence: Sequence, numbers: list[int]) -> None:
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
    with pytest.raises(DatasetError, match=r"maps/0002\.png is no readable picture"):
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


def test_shots_of_hollywood_whose_numbers_begin_anew_are_read_as_well(tmp_path: Path) -> None:
    make_hollywood(tmp_path, shots={"actioncliptrain00007_2": (1, 12)})
    (sequence,) = open_dataset("hollywood2", tmp_path, split="train")
    holds(sequence, list(range(1, 13)))


def test_short_shots_of_hollywood_can_be_left_out(tmp_path: Path) -> None:
    dataset = open_dataset("hollywood2", make_hollywood(tmp_path), split="test", shortest=3)
    assert [s.frame_count for s in dataset] == [3, 5]
    assert len(open_dataset("hollywood2", tmp_path, rate=25)) == 5


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


# All layouts.


def test_an_unknown_name_split_or_option_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no data set 'dhf2k'; known are dhf1k, hollywood2"):
        open_dataset("dhf2k", tmp_path)
    with pytest.raises(ConfigError, match=r"dhf1k has no option 'colour'; it knows fixations"):
        open_dataset("dhf1k", tmp_path, colour=True)
    with pytest.raises(ConfigError, match="fixations must be auto, png or mat"):
        open_dataset("dhf1k", tmp_path, fixations="jpg")
    with pytest.raises(DatasetError, match="nowhere: no such folder; expected DHF1K"):
        open_dataset("dhf1k", tmp_path / "nowhere")


@pytest.mark.parametrize("name", DATASETS)
def test_every_layout_refuses_a_split_it_does_not_have_and_an_empty_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="has no split 'holdout', only all"):
        open_dataset(name, tmp_path, split="holdout")
    with pytest.raises(DatasetError):
        open_dataset(name, tmp_path)


def test_points_beside_the_picture_and_without_a_place_are_left_out() -> None:
    given = [[0, 0], [5.9, 3.9], [6, 1], [1, 4], [-0.1, 1], [np.nan, 1]]
    seen = Fixations.on_picture(given, height=4, width=6, viewers=[1, 2, 3, 4, 5, 6])
    assert seen.points.tolist() == [[0, 0], [pytest.approx(5.9), pytest.approx(3.9)]]
    assert seen.viewers is not None and seen.viewers.tolist() == [1, 2]


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
