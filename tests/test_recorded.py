"""Windows of recorded video: the right frames with their labels, changed alike; on made data sets of 48x64."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from layout_fixtures import (
    centres,
    density,
    fixation_map,
    make_bdda,
    make_dhf1k,
    make_dreyeve,
    make_hollywood,
    make_mit1003,
    make_ucf_sports,
    spot,
    write,
)
from made import CANVAS
from media import read_number

from vidsal.data.clips import AugmentOptions
from vidsal.data.layouts import LabelledSequence, open_dataset
from vidsal.data.options import VideoSet
from vidsal.data.recorded import RecordedClip, read_windows
from vidsal.data.sets import open_set
from vidsal.errors import ConfigError, DatasetError
from vidsal.preprocess import PreprocessOptions, Preprocessor
from vidsal.shots import CutDetector

UNCHANGED = AugmentOptions.only()


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> LabelledSequence:
    """A video of DHF1K whose frames show 1 to 12."""
    root = make_dhf1k(tmp_path_factory.mktemp("data") / "DHF1K", numbers=(1,))
    return open_dataset("dhf1k", root).sequences[0]


def numbers(clip: RecordedClip) -> list[int]:
    return [read_number(frame) for frame in clip.frames[: clip.length]]


def peak(values: npt.NDArray[np.float32]) -> tuple[int, int]:
    row, column = np.unravel_index(values.argmax(), values.shape)
    return int(row), int(column)


def test_windows_go_on_where_the_one_before_ended(twelve: LabelledSequence) -> None:
    clips = list(read_windows(twelve, frames=4, preprocess=CANVAS))
    assert [numbers(clip) for clip in clips] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    assert [clip.begins for clip in clips] == [True, False, False]
    starts = set()
    for seed in range(12):
        random = np.random.default_rng(seed)
        clips = list(read_windows(twelve, frames=2, windows=2, stride=2, preprocess=CANVAS, random=random))
        seen = [number for clip in clips for number in numbers(clip)]
        assert np.diff(seen).tolist() == [2, 2, 2]
        starts.add(seen[0])
    assert min(starts) >= 1 and max(starts) <= 12 - 6 and len(starts) > 3


def test_each_frame_has_its_own_labels(twelve: LabelledSequence) -> None:
    for clip in read_windows(twelve, frames=5, preprocess=CANVAS):
        for t, number in enumerate(numbers(clip)):
            row, column = spot(number)
            assert peak(clip.density[t]) == (row, column)
            assert clip.density[t].sum() == pytest.approx(1, abs=1e-5)
            assert np.argwhere(clip.counts[t]).tolist() == [[row, column], [row, column + 1]]
            assert clip.has_points[t]


def test_behind_the_end_of_a_sequence_a_window_is_empty(twelve: LabelledSequence) -> None:
    last = list(read_windows(twelve, frames=5, preprocess=CANVAS))[-1]
    assert last.length == 2 and len(last) == 5
    for array in (last.frames, last.density, last.counts, last.has_points, last.cut):
        assert array[:2].any() or array is last.cut
        assert not array[2:].any()


def test_a_sequence_that_is_too_short_begins_again(twelve: LabelledSequence) -> None:
    random = np.random.default_rng(0)
    clips = list(read_windows(twelve, frames=3, windows=6, stride=2, preprocess=CANVAS, random=random))
    assert len(clips) == 6
    begins = [clip.begins for clip in clips]
    assert begins[0] and sum(begins) > 1
    for clip in clips:
        assert set(np.diff(numbers(clip)).tolist()) <= {2}
    for before, after in pairwise(clips):
        if not after.begins:
            assert numbers(after)[0] == numbers(before)[-1] + 2


def test_a_mirror_holds_for_all_windows(twelve: LabelledSequence) -> None:
    plain, mirrored = (
        list(
            read_windows(
                twelve,
                frames=3,
                windows=4,
                preprocess=CANVAS,
                augment=AugmentOptions.only(flip_probability=chance),
                random=np.random.default_rng(1),
            )
        )
        for chance in (0, 1)
    )
    assert len(plain) == 4
    for a, b in zip(plain, mirrored, strict=True):
        for name in ("frames", "density", "counts"):
            assert np.array_equal(getattr(a, name), getattr(b, name)[:, :, ::-1])
        assert a.frames.any() and not np.array_equal(a.frames, b.frames)


def test_a_crop_is_one_window_of_the_picture_for_all_frames(twelve: LabelledSequence) -> None:
    cropping = AugmentOptions.only(crop_probability=1, smallest_crop=0.6, smallest_mass=0)
    found = []
    for seed in range(4):
        pairs = []
        clips = read_windows(
            twelve, frames=3, windows=4, preprocess=CANVAS, augment=cropping, random=np.random.default_rng(seed)
        )
        for number, t, clip in ((3 * place + t + 1, t, clip) for place, clip in enumerate(clips) for t in range(3)):
            (x, y), _ = centres(number)
            row, column = peak(clip.density[t])
            if 2 < row < 45 and 2 < column < 61:
                pairs.append((x, column + 0.5, y, row + 0.5))
                # Where the density has its peak there is a point, half a pixel to the right at most beside it.
                assert clip.counts[t][row - 1 : row + 2, column - 1 : column + 3].sum() >= 1
        x, u, y, v = np.array(pairs).T
        assert len(pairs) >= 5
        across, down = np.polyfit(x, u, 1), np.polyfit(y, v, 1)
        assert np.abs(np.polyval(across, x) - u).max() < 1.1 and np.abs(np.polyval(down, y) - v).max() < 1.1
        assert across[0] == pytest.approx(down[0], abs=0.12)
        assert 1 - 0.05 < across[0] < 1 / 0.6 + 0.1
        found.append(across[0])
    assert np.ptp(found) > 0.1


def test_a_crop_without_the_labels_is_given_up(twelve: LabelledSequence) -> None:
    cropping = AugmentOptions.only(crop_probability=1, smallest_crop=0.05, smallest_mass=1)
    for seed in range(3):
        (clip,) = read_windows(
            twelve, frames=3, windows=1, preprocess=CANVAS, augment=cropping, random=np.random.default_rng(seed)
        )
        numbers(clip)  # whole pictures, or the number could not be read
        assert clip.density[0].max() == pytest.approx(density(3).max() / density(3).sum(), rel=0.1)


def test_colours_change_from_sequence_to_sequence_but_not_from_window_to_window(tmp_path: Path) -> None:
    grey: npt.NDArray[np.uint8] = np.full((48, 64, 3), 120, np.uint8)
    folder = tmp_path / "training" / "Walk-001"
    for number in range(1, 10):
        for name, values in (("images", grey), ("maps", density(number)), ("fixation", fixation_map(number))):
            write(folder / name / f"Walk_001_{number:03d}.png", values)
    (sequence,) = open_dataset("ucf-sports", tmp_path, split="train").sequences
    means = np.array(
        [
            [
                clip.frames[:, 10:-10, 10:-10].mean((1, 2, 3))
                for clip in read_windows(
                    sequence,
                    frames=3,
                    windows=3,
                    preprocess=CANVAS,
                    augment=AugmentOptions.only(brightness=0.3),
                    random=np.random.default_rng(seed),
                )
            ]
            for seed in range(6)
        ]
    ).reshape(6, 9)
    # Within a sequence only the flicker, 3 % either way.
    assert (np.ptp(means, axis=1) < 0.065 * means.mean(1)).all()
    assert np.ptp(means.mean(1)) > 20


def test_without_augmentation_the_model_sees_what_it_sees_at_run_time(tmp_path: Path) -> None:
    root = make_bdda(tmp_path / "BDDA", parts={"training": (1,)})
    (sequence,) = open_dataset("bdd-a", root, split="train").sequences
    options = PreprocessOptions(height=48, width=80)
    preprocessor, detector = Preprocessor(options), CutDetector()
    shown = [frame.picture() for frame in sequence.read(size=preprocessor.frame_size, stop=12)]
    cuts = detector.update(np.stack(shown), np.arange(12) / 30)
    clips = list(islice(read_windows(sequence, frames=4, preprocess=options), 3))
    assert np.array_equal(np.concatenate([clip.frames for clip in clips]), _letter_boxed(np.stack(shown), 48, 80))
    assert np.array_equal(np.concatenate([clip.cut for clip in clips]), cuts)
    assert clips[0].viewport == preprocessor.viewport(72, 128)


def _letter_boxed(frames: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    top, left = (height - frames.shape[1]) // 2, (width - frames.shape[2]) // 2
    canvas = np.zeros((len(frames), height, width, 3), np.uint8)
    canvas[:, top : top + frames.shape[1], left : left + frames.shape[2]] = frames
    return canvas


def test_a_cut_is_marked_in_whichever_window_it_falls(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    scenes = [cv2.resize(random.integers(0, 255, (6, 8, 3), np.uint8), (64, 48)) for _ in range(2)]
    folder = tmp_path / "training" / "Walk-001"
    for number in range(1, 11):
        picture = scenes[number > 6]
        for name, values in (("images", picture), ("maps", density(number)), ("fixation", fixation_map(number))):
            write(folder / name / f"Walk_001_{number:03d}.png", np.asarray(values, np.uint8))
    (sequence,) = open_dataset("ucf-sports", tmp_path, split="train").sequences
    for frames in (2, 3, 5):
        clips = read_windows(sequence, frames=frames, preprocess=CANVAS)
        cut = np.concatenate([clip.cut[: clip.length] for clip in clips])
        assert np.flatnonzero(cut).tolist() == [6]


def test_without_points_the_density_stands_for_them(tmp_path: Path) -> None:
    root = make_dreyeve(tmp_path / "DREYEVE", runs=(1,), unrolled=True)
    (sequence,) = open_dataset("dreyeve", root, split="train", validation="none").sequences
    (clip,) = read_windows(sequence, frames=12, preprocess=CANVAS)
    assert not clip.has_points.any()
    assert np.array_equal(clip.counts, clip.density)
    # missing_gt.txt names the run's fourth frame.
    labelled = clip.density.any((1, 2))
    assert np.flatnonzero(~labelled).tolist() == [3]
    assert clip.frames[3].any()


def test_without_a_validation_split_clips_are_held_out_whole(tmp_path: Path) -> None:
    shots = {f"actioncliptrain{clip:05d}_{shot}": (3 * shot, 1) for clip in range(41, 49) for shot in (1, 2)}
    opened = open_set(VideoSet("hollywood2", make_hollywood(tmp_path, shots=shots)), "video")
    training, validation = opened.training, opened.validation
    assert len(training) + len(validation) == 16
    held_out = {sequence.name.rpartition("_")[0] for sequence in validation}
    assert held_out and not held_out & {sequence.name.rpartition("_")[0] for sequence in training}
    clips = [f"actioncliptrain{clip:05d}" for clip in range(41, 49)]
    assert held_out == {name for name in clips if int(hashlib.md5(name.encode()).hexdigest(), 16) % 10 == 1}


@pytest.mark.parametrize(("clips", "held_out"), [((41,), 0), ((41, 42), 1), ((43, 44, 45), 1)])
def test_of_few_clips_one_is_held_out_and_one_stays(tmp_path: Path, clips: tuple[int, ...], held_out: int) -> None:
    names = [f"actioncliptrain{clip:05d}" for clip in clips]
    root = make_hollywood(tmp_path, shots={f"{name}_1": (3, 1) for name in names})
    opened = open_set(VideoSet("hollywood2", root), "video")
    training, validation = opened.training, opened.validation
    smallest = min(names, key=lambda name: hashlib.md5(name.encode()).hexdigest())
    assert [sequence.name for sequence in validation] == [f"{smallest}_1"] * held_out
    assert len(training) == len(names) - held_out


def test_where_every_clip_would_be_held_out_one_is(tmp_path: Path) -> None:
    def digest(name: str) -> int:
        return int(hashlib.md5(name.encode()).hexdigest(), 16)

    names = [name for name in (f"actioncliptrain{clip:05d}" for clip in range(99)) if digest(name) % 10 == 1][:2]
    root = make_hollywood(tmp_path, shots={f"{name}_1": (3, 1) for name in names})
    opened = open_set(VideoSet("hollywood2", root), "video")
    training, validation = opened.training, opened.validation
    assert (len(training), [sequence.name for sequence in validation]) == (1, [f"{min(names, key=digest)}_1"])


def test_a_validation_split_is_taken_as_published(tmp_path: Path) -> None:
    opened = open_set(VideoSet("dhf1k", make_dhf1k(tmp_path, frames=1), validation_split="val"), "video")
    training, validation = opened.training, opened.validation
    assert [[sequence.name for sequence in part] for part in (training, validation)] == [["0001", "0002"], ["0601"]]


def test_the_options_of_a_layout_come_through(tmp_path: Path) -> None:
    root = make_bdda(tmp_path / "BDDA", seconds=0.2, parts={"training": (1, 9), "validation": (5,)})
    (tmp_path / "exclude.json").write_text(json.dumps({"training": [9], "validation": []}))
    video = VideoSet("bdd-a", root, validation_split="val", options={"exclude": str(tmp_path / "exclude.json")})
    assert [sequence.name for sequence in open_set(video, "video").training] == ["training/1"]
    with pytest.raises(ConfigError, match="no option 'speed'"):
        open_set(VideoSet("bdd-a", root, options={"speed": 2}), "video")


def test_what_makes_no_sense_is_refused(tmp_path: Path, twelve: LabelledSequence) -> None:
    with pytest.raises(ConfigError, match=r"layout must be one of dhf1k, .*; got 'dhf2k'"):
        VideoSet("dhf2k", tmp_path)
    with pytest.raises(ConfigError, match="frame_stride"):
        VideoSet("dhf1k", tmp_path, frame_stride=0)
    with pytest.raises(ConfigError, match="share must be above 0"):
        VideoSet("dhf1k", tmp_path, share=0)
    with pytest.raises(DatasetError, match="no such folder"):
        open_set(VideoSet("dhf1k", tmp_path / "nowhere"), "video")
    with pytest.raises(ConfigError, match="no video with labels to train on"):
        open_set(VideoSet("mit1003", make_mit1003(tmp_path / "mit"), split="all"), "video")
    with pytest.raises(ValueError, match="at least 1"):
        next(read_windows(twelve, frames=0, preprocess=CANVAS))
    with pytest.raises(ValueError, match="generator"):
        next(read_windows(twelve, frames=1, preprocess=CANVAS, augment=UNCHANGED))
    with pytest.raises(ValueError, match="pass windows"):
        random = np.random.default_rng(0)
        next(read_windows(twelve, frames=1, preprocess=CANVAS, augment=UNCHANGED, random=random))


def test_a_container_that_counts_more_frames_than_it_has_is_read_from_the_start(twelve: LabelledSequence) -> None:
    class Boastful:
        def count(self) -> int:
            return 1000

        def read(self, start: int, stop: int | None, size: Any) -> Iterator[Any]:
            return twelve.pictures.read(start, stop, size)

    liar = dataclasses.replace(twelve, pictures=Boastful())
    random = np.random.default_rng(0)
    clips = list(read_windows(liar, frames=3, windows=4, preprocess=CANVAS, random=random))
    assert [numbers(clip) for clip in clips] == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    root = make_ucf_sports(tmp_path, frames=3)
    broken = root / "training" / "Run-Side-010" / "images" / "Run-Side_010_002.png"
    broken.write_bytes(b"nonsense")
    sequence = next(one for one in open_dataset("ucf-sports", root, split="train") if one.name == "Run-Side-010")
    with pytest.raises(DatasetError, match="Run-Side_010_002"):
        list(read_windows(sequence, frames=2, preprocess=CANVAS))
