"""Densities with known courses in time, and cuts, come in; what comes out must be what the formulas say by hand."""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import CANVAS, make_model, make_network
from media import make_video
from test_smooth import make

from vidsal.decode.open import open_video
from vidsal.errors import ConfigError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.model.options import Task
from vidsal.pipe.options import PredictOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.predict import VideoPredictor, predict
from vidsal.shots import CutOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions
from vidsal.viewers import CENTRE_SIGMA, Viewers, make_viewers, share_not_moved

Floats = npt.NDArray[np.float64]
ROWS, COLUMNS = 6, 8
PLAIN = {"centre_share": 0.0, "gaze_latency_seconds": 0.0, "sharpness": 1.0}
"""Options that let everything pass."""


def maps(count: int, seed: int = 0) -> Floats:
    """(count, 6, 8) densities."""
    values = np.random.default_rng(seed).random((count, ROWS, COLUMNS)) ** 4 + 0.001
    return np.asarray(values / values.sum((1, 2), keepdims=True))


def corner(row: int, column: int) -> Floats:
    """A density that is nearly all in one cell."""
    values = np.full((ROWS, COLUMNS), 1e-6)
    values[row, column] = 1
    return values / values.sum()


def watch(batch: SaliencyBatch, sizes: Sequence[int] = (), **options: float) -> Floats:
    """The densities of a batch as viewers follow them, handed over in pieces of these sizes."""
    viewers = Viewers(ViewerOptions(**options))  # type: ignore[arg-type]
    edges = np.cumsum([0, *(sizes or [len(batch)])])
    pieces = [batch[int(a) : int(b)] for a, b in itertools.pairwise(edges)]
    done = [made for piece in pieces for made in viewers.update(piece)] + viewers.flush()
    return SaliencyBatch.join(done).density.double().numpy()


def middle() -> Floats:
    """The Gaussian of the definition, cell by cell."""
    found = np.array([
        [
            math.exp(
                -(((column + 0.5) / COLUMNS - 0.5) ** 2) / (2 * CENTRE_SIGMA[0] ** 2)
                - ((row + 0.5) / ROWS - 0.5) ** 2 / (2 * CENTRE_SIGMA[1] ** 2)
            )
            for column in range(COLUMNS)
        ]
        for row in range(ROWS)
    ])  # fmt: skip
    return found / found.sum()


def test_the_middle_of_the_picture_has_its_share_as_a_shot_begins_and_fades() -> None:
    batch = make(maps(4), [0.0, 0.25, 0.5, 1.5])
    seen = watch(batch, centre_share=0.8, centre_seconds=0.5, gaze_latency_seconds=0, sharpness=1)
    for got, density, share in zip(seen, maps(4), (0.8, 0.4852245, 0.2943036, 0.0398297), strict=True):
        assert got == pytest.approx(share * middle() + (1 - share) * density, abs=1e-6)


def test_after_a_cut_gaze_is_where_it_was_until_half_of_the_viewers_have_moved() -> None:
    before, after = corner(0, 0), corner(5, 7)
    times = [0.0, 1.0, 1.2, 1.4, 3.0]
    seen = watch(
        make(np.stack([before, before, after, after, after]), times, cuts=[2]),
        centre_share=0, gaze_latency_seconds=0.2, sharpness=1,
    )  # fmt: skip
    assert seen[2] == pytest.approx(before, abs=1e-6)  # no eye can have moved yet
    assert seen[3] == pytest.approx(0.5 * before + 0.5 * after, abs=0.003)  # the median, .2 s
    assert seen[4] == pytest.approx(after, abs=0.02)


def test_the_share_that_has_not_moved_is_that_of_a_reciprocal_normal_latency() -> None:
    latency = 1 / np.random.default_rng(3).normal(1 / 0.18, 0.38 / 0.18, 400_000)
    latency = latency[latency > 0]
    for seconds in (0.05, 0.1, 0.18, 0.3, 0.6):
        assert share_not_moved(seconds, 0.18) == pytest.approx(float((latency > seconds).mean()), abs=0.004)
    assert share_not_moved(0.0, 0.18) == 1
    assert share_not_moved(0.0, 0.0) == 0


def test_the_first_shot_has_nothing_before_it() -> None:
    seen = watch(make(maps(2), [7.0, 7.04]), centre_share=0, sharpness=1)
    assert seen == pytest.approx(maps(2), abs=1e-6)


def test_two_cuts_in_a_short_time_leave_gaze_where_it_was_before_both() -> None:
    first, second, third = corner(0, 0), corner(2, 4), corner(5, 7)
    batch = make(np.stack([first, second, third]), [0.0, 1.0, 1.02], cuts=[1, 2])
    assert watch(batch, centre_share=0, sharpness=1)[2] == pytest.approx(first, abs=1e-5)


def test_a_power_sharpens_and_one_leaves_everything_as_it_is() -> None:
    batch = make(maps(3), [0.0, 0.04, 0.08])
    raised = maps(3) ** 1.5
    seen = watch(batch, **PLAIN | {"sharpness": 1.5})
    assert seen == pytest.approx(raised / raised.sum((1, 2), keepdims=True), abs=1e-6)
    assert watch(batch, **PLAIN) == pytest.approx(maps(3), abs=1e-6)


def test_a_density_of_hardly_any_mass_stands_a_high_power() -> None:
    seen = watch(make(np.full((1, 400, 600), 1 / 240_000), [0.0]), **PLAIN | {"sharpness": 10.0})
    assert seen == pytest.approx(np.full((1, 400, 600), 1 / 240_000), rel=1e-4)


def test_inertia_lets_gaze_trail_within_a_shot_and_not_over_a_cut() -> None:
    batch = make(np.stack([corner(0, 0), corner(0, 0), corner(5, 7), corner(2, 3)]), [0.0, 0.1, 0.1, 0.3], cuts=[3])
    step = make(np.stack([corner(0, 0), corner(5, 7), corner(5, 7)]), [0.0, 0.0, 0.2])
    trailing = watch(step, **PLAIN | {"gaze_inertia_seconds": 0.2})
    # From y' = (x - y) / T with a jump of x at 0: exp(-1) of the old is left after T.
    assert trailing[2, 0, 0] == pytest.approx(math.exp(-1), abs=1e-4)
    assert watch(batch, **PLAIN | {"gaze_inertia_seconds": 0.2})[3] == pytest.approx(corner(2, 3), abs=1e-6)


def test_footage_at_25_and_at_50_frames_a_second_gives_the_same_at_the_same_instants() -> None:
    # Linear between the frames at 25 a second, as smoothings take it, but for the cut at .4 s.
    ends = maps(4)
    slow = np.concatenate([np.linspace(ends[0], ends[1], 10), np.linspace(ends[2], ends[3], 15)])
    fast = np.repeat(slow, 2, axis=0)
    for n in (*range(1, 19, 2), *range(21, 49, 2)):
        fast[n] = (fast[n - 1] + fast[n + 1]) / 2
    options = {"gaze_inertia_seconds": 0.15}
    at_25 = watch(make(slow, np.arange(25) / 25, cuts=[10]), **options)
    at_50 = watch(make(fast, np.arange(50) / 50, cuts=[20]), **options)
    assert at_50[::2] == pytest.approx(at_25, abs=1e-6)
    assert np.abs(at_25[14] - at_25[9]).max() > 0.01  # something happens after the cut


@pytest.mark.parametrize("sizes", [[1] * 12, [5, 7], [4, 4, 4], [11, 1]])
def test_where_the_input_is_cut_into_batches_changes_nothing(sizes: list[int]) -> None:
    batch = make(maps(12), np.arange(12) / 12.5, cuts=[4, 9])
    options = {"gaze_inertia_seconds": 0.1}
    assert watch(batch, sizes, **options) == pytest.approx(watch(batch, **options), abs=1e-7)


def test_frames_keep_their_times_and_what_came_in_is_not_changed() -> None:
    batch = make(maps(5), [0.0, 0.04, 0.04, 0.02, 0.1], cuts=[3], pictures=True)
    before = batch.log_density.clone()
    (seen,) = Viewers().update(batch)
    assert (seen.index == batch.index).all() and (seen.pts_seconds == batch.pts_seconds).all()
    assert (seen.cut == batch.cut).all() and seen.pictures == batch.pictures
    assert torch.equal(batch.log_density, before)
    assert seen.density.sum((1, 2)).numpy() == pytest.approx(1, abs=1e-5)


def test_a_reset_forgets_what_was_looked_at() -> None:
    viewers = Viewers()
    viewers.update(make(maps(3), [0.0, 0.04, 0.08]))
    viewers.reset()
    other = make(maps(2, seed=9), [0.12, 0.16], cuts=[0], first=3)
    (again,), (anew,) = viewers.update(other), Viewers().update(other)
    assert torch.equal(again.log_density, anew.log_density)


def test_a_picture_of_another_size_after_a_cut_does_not_remember_the_one_before() -> None:
    viewers = Viewers()
    viewers.update(make(maps(2), [0.0, 0.04]))
    wide = make(np.full((1, 4, 9), 1 / 36), [0.08], cuts=[0], first=2)
    (seen,), (alone,) = viewers.update(wide), Viewers().update(wide)
    assert torch.equal(seen.log_density, alone.log_density)
    uncut = Viewers()
    uncut.update(make(maps(1), [0.0]))
    with pytest.raises(ValueError, match="mark a cut"):
        uncut.update(make(np.full((1, 4, 9), 1 / 36), [0.04], first=1))


def test_drivers_are_left_alone_unless_it_is_asked_for() -> None:
    assert make_viewers(ViewerOptions(), driving=False) is not None
    assert make_viewers(ViewerOptions(), driving=True) is None
    assert make_viewers(ViewerOptions("on"), driving=True) is not None
    assert make_viewers(ViewerOptions("off"), driving=False) is None


@pytest.mark.parametrize("options", [{"centre_share": 1.1}, {"centre_seconds": 0}, {"sharpness": 0}, {"viewers": "no"}])
def test_what_makes_no_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        ViewerOptions(**options)  # type: ignore[arg-type]


# In the pipe.


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model(seed=5)


def clip(*, stills: bool = False, count: int = 10) -> FrameBatch:
    """Two shots of noise, each standing still; the cut is in the middle."""
    pictures = np.random.default_rng(1).integers(0, 255, (2, 48, 64, 3), np.uint8)
    frames = np.repeat(pictures, count // 2, axis=0)
    return FrameBatch(np.arange(count), np.arange(count) / 25, frames, 48, 64, stills=stills)


RAW = {"smooth": SmoothOptions(smoothing="none"), "recurrence": RecurrenceOptions(state="reset")}


def densities(batches: Sequence[FrameBatch], model: SaliencyModel, viewers: ViewerOptions, **options: object) -> Floats:
    made = predict(batches, model, viewers=viewers, **RAW | options)  # type: ignore[arg-type]
    return SaliencyBatch.join(made).density.double().numpy()


def test_the_pipe_ends_with_the_viewers(model: SaliencyModel) -> None:
    (plain,) = predict([clip()], model, viewers=ViewerOptions("off"), **RAW)  # type: ignore[arg-type]
    assert plain.cut[5]
    (by_hand,) = Viewers().update(plain)
    assert densities([clip()], model, ViewerOptions()) == pytest.approx(by_hand.density.double().numpy(), abs=1e-6)
    assert np.abs(densities([clip()], model, ViewerOptions()) - plain.density.double().numpy()).max() > 1e-4


def test_pictures_and_folders_of_pictures_are_left_alone_unless_it_is_asked_for(model: SaliencyModel) -> None:
    plain = densities([clip()], model, ViewerOptions("off"))
    assert (densities([clip(stills=True)], model, ViewerOptions()) == plain).all()
    assert np.abs(densities([clip(stills=True)], model, ViewerOptions("on")) - plain).max() > 1e-4


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("smoothing", ["exponential", "gaussian"])
def test_what_is_held_back_comes_to_the_viewers_too(model: SaliencyModel, every: int, smoothing: str) -> None:
    options = PredictOptions(
        RecurrenceOptions(every=every), CutOptions(), SmoothOptions(smoothing=smoothing), ViewerOptions()  # type: ignore[arg-type]
    )  # fmt: skip
    whole = SaliencyBatch.join(predict([clip()], model, options))
    parts = SaliencyBatch.join(predict([clip()[:3], clip()[3:7], clip()[7:]], model, options))
    (by_hand,) = Viewers().update(
        SaliencyBatch.join(predict([clip()], model, options.but(viewers=ViewerOptions("off"))))
    )
    assert (whole.index == np.arange(10)).all()
    assert whole.density.numpy() == pytest.approx(by_hand.density.numpy(), abs=1e-6)
    assert whole.density.numpy() == pytest.approx(parts.density.numpy(), abs=1e-5)


def test_a_reset_predictor_begins_with_the_first_shot_again(model: SaliencyModel) -> None:
    predictor = VideoPredictor(model)
    first = SaliencyBatch.join([*predictor.update(clip()), *predictor.flush()])
    predictor.reset()
    again = SaliencyBatch.join([*predictor.update(clip()), *predictor.flush()])
    assert torch.equal(first.log_density, again.log_density)


def test_readers_say_whether_they_read_pictures_or_a_video(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.random.default_rng(2).integers(0, 255, (32, 48, 3), np.uint8))
    video = make_video(tmp_path / "elsewhere.mp4", frames=3, width=48, height=32)
    found = {}
    for source in (tmp_path / "a.png", tmp_path, video):
        with open_video(source) as reader:
            found[source] = {batch.stills for batch in reader}
    assert found == {tmp_path / "a.png": {True}, tmp_path: {True}, video: {False}}


def test_a_picture_that_comes_through_a_pipe_is_a_picture_too(tmp_path: Path) -> None:
    picture, pipe = tmp_path / "a.png", tmp_path / "pipe"
    cv2.imwrite(str(picture), np.random.default_rng(2).integers(0, 255, (32, 48, 3), np.uint8))
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(picture.read_bytes(),))
    writer.start()
    with open_video(pipe) as reader:
        assert [batch.stills for batch in reader] == [True]
    writer.join()


def test_the_model_for_drivers_says_so(tmp_path: Path) -> None:
    from vidsal.model.checkpoint import ModelCard, load_model, save_checkpoint

    assert load_model("sam-lite", task="driving", device="cpu").task == "driving"
    # One's own says so on its card, and its name is free.
    for task in get_args(Task):
        path, card = tmp_path / f"{task}.safetensors", ModelCard("own-driver", task=task)
        save_checkpoint(path, make_network(), preprocess=CANVAS, card=card)
        assert load_model(path, device="cpu").task == task
    assert RunOptions().viewers == ViewerOptions()
