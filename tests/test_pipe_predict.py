"""What the steps of a prediction hand on to each other: clocks, keys, states."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import CANVAS, make_model
from test_pipe_every import numbered

from vidsal.errors import ConfigError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.model.checkpoint import ModelCard, SaliencyModel
from vidsal.model.ensemble import make_ensemble
from vidsal.model.networks.catalogue import build_network
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.options import NetworkName
from vidsal.pipe import predict as predict_module
from vidsal.pipe.downloads import Downloads
from vidsal.pipe.options import MOST_TO_KEY, RecurrenceOptions
from vidsal.pipe.predict import StageClock, VideoPredictor, run_model
from vidsal.shots import CutOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions

RAW: Any = {"smooth": SmoothOptions(smoothing="none"), "viewers": ViewerOptions("off")}
NO_CUTS = CutOptions(detect_cuts=False)
EVERY_FRAME = RecurrenceOptions(every=1)


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock comes one second after the last one."""
    seconds = itertools.count(10.0)
    monkeypatch.setattr(predict_module.time, "perf_counter", lambda: next(seconds))


@pytest.mark.usefixtures("ticking")
def test_a_clock_adds_up_each_stage_also_where_it_fails() -> None:
    clock = StageClock()
    for _ in range(3):
        with clock("model"):
            pass
    with pytest.raises(RuntimeError), clock("smooth"):
        raise RuntimeError
    clock.add("decode", 2.5)
    clock.add("decode", 0.5)
    assert clock.seconds == {"model": 3.0, "smooth": 1.0, "decode": 3.0}


@pytest.mark.usefixtures("ticking")
def test_each_video_gets_its_share_of_the_models_time_by_the_frames_it_showed(model: SaliencyModel) -> None:
    pieces = []
    for count, every in ((6, 2), (3, 3), (1, 1)):  # 3 keys, 1 key, 1 key
        options = RecurrenceOptions(every=every)
        predictor = VideoPredictor(model, recurrence=options, **RAW, cuts=NO_CUTS)
        pieces.append(predictor.prepare(numbered(count, cut_at=None)))
    clocks = [StageClock() for _ in pieces]
    seen = run_model(model, pieces, recurrence=RecurrenceOptions(), clocks=clocks)
    assert [None if one is None else len(one.log_density) for one in seen] == [3, 1, 1]
    for stage in ("preprocess", "model"):
        assert [clock.seconds[stage] for clock in clocks] == pytest.approx([0.6, 0.2, 0.2])


def test_what_has_no_key_costs_the_model_nothing_and_changes_nothing_for_the_others(model: SaliencyModel) -> None:
    waiting, seeing = (
        VideoPredictor(model, recurrence=RecurrenceOptions(every=4), **RAW, cuts=NO_CUTS) for _ in range(2)
    )
    clip = numbered(6, cut_at=None)
    for predictor in (waiting, seeing):
        predictor.update(clip[:2])  # frame 0 is a key
    none, some = waiting.prepare(clip[2:4]), seeing.prepare(clip[2:6])  # frame 4 is the next key
    assert none.keys == () and some.keys == (2,)
    clocks = [StageClock(), StageClock()]
    nothing, something = run_model(model, [none, some], recurrence=RecurrenceOptions(), clocks=clocks)
    assert nothing is None and clocks[0].seconds == {}
    assert something is not None and clocks[1].seconds.keys() == {"preprocess", "model"}
    (alone,) = run_model(model, [some], recurrence=RecurrenceOptions(), clocks=[StageClock()])
    assert alone is not None
    assert torch.equal(alone.log_density, something.log_density)
    assert run_model(model, [none], recurrence=RecurrenceOptions(), clocks=[StageClock()]) == [None]


@pytest.mark.parametrize("state", ["carry", "reset"])
def test_a_frame_starts_afresh_at_the_beginning_after_a_cut_and_where_nothing_is_carried(
    model: SaliencyModel, state: str
) -> None:
    options = RecurrenceOptions(state=state, every=1)  # type: ignore[arg-type]
    predictor = VideoPredictor(model, recurrence=options, **RAW)
    clip = numbered(24, cut_at=11)
    fresh: list[bool] = []
    for begin in (0, 7, 14):
        piece = predictor.prepare(clip[begin : begin + 7])
        assert (piece.state is None) == (begin == 0)
        fresh += piece.fresh
        (seen,) = run_model(model, [piece], recurrence=options, clocks=[StageClock()])
        (done,) = predictor.finish(piece, seen)
        assert done.shot.tolist() == [int(row >= 11) for row in range(begin, begin + 7)]
    assert fresh == [state == "reset" or row in (0, 11) for row in range(21)]


@pytest.mark.parametrize("cuts", [CutOptions(), NO_CUTS], ids=["found", "unknown"])
def test_what_is_remembered_of_another_canvas_is_forgotten(cuts: CutOptions) -> None:
    model = make_model(canvas=dataclasses.replace(CANVAS, fit="shape", cells=16))
    first, random = numbered(6, cut_at=None), np.random.default_rng(3)
    other = FrameBatch(
        index=np.arange(6, 9),
        pts_seconds=np.arange(6, 9) / 25,
        frames=random.integers(0, 255, (1, 40, 80, 3), np.uint8).repeat(3, 0),
        height=40,
        width=80,
    )
    predictor = VideoPredictor(model, cuts=cuts, **RAW)
    made = predictor.update(first) + predictor.update(other) + predictor.flush()
    assert [number for batch in made for number in batch.index.tolist()] == list(range(9))
    after = SaliencyBatch.join(batch for batch in made if batch.height == 40)
    by_itself = VideoPredictor(model, cuts=NO_CUTS, **RAW)
    alone = SaliencyBatch.join(by_itself.update(other) + by_itself.flush())
    torch.testing.assert_close(after.density, alone.density)


@pytest.mark.parametrize("chosen", [(0, 1, 2), (0, 2), (2, 1), (2,)])
def test_videos_of_several_lengths_get_what_each_gets_alone(model: SaliencyModel, chosen: tuple[int, ...]) -> None:
    whole = numbered(9, cut_at=None)
    # Where each begins, and the frames of it that are shown together with those of the others.
    videos = [(0, 0, 4), (2, 2, 3), (0, 5, 8)]
    predictors, pieces, expected = [], [], []
    for i in chosen:
        begin, middle, end = videos[i]
        predictor = VideoPredictor(model, recurrence=EVERY_FRAME, **RAW, cuts=NO_CUTS)
        if middle > begin:
            predictor.update(whole[begin:middle])
        predictors.append(predictor)
        pieces.append(predictor.prepare(whole[middle:end]))
        by_itself = VideoPredictor(model, recurrence=EVERY_FRAME, **RAW, cuts=NO_CUTS)
        alone = by_itself.update(whole[begin : end + 1])
        expected.append(SaliencyBatch.join(alone).density[middle - begin :])
    clocks = [StageClock() for _ in chosen]
    together = run_model(model, pieces, recurrence=EVERY_FRAME, clocks=clocks)
    for i, predictor, piece, seen, wanted in zip(chosen, predictors, pieces, together, expected, strict=True):
        (done,) = predictor.finish(piece, seen)
        # And what is remembered is its own: the next frame shows it.
        (following,) = predictor.update(whole[videos[i][2]])
        maps = torch.cat([done.density, following.density])
        torch.testing.assert_close(maps, wanted, atol=2e-6, rtol=1e-3)


def test_a_model_is_loaded_by_name_or_path_and_taken_as_it_is(
    model: SaliencyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | Path] = []

    def load(name: str | Path) -> SaliencyModel:
        asked.append(name)
        return model

    monkeypatch.setattr(predict_module, "load_model", load)
    clip = numbered(1, cut_at=None)
    for given in ((), ("other",), (Path("mine.safetensors"),), (model,)):
        (batch,) = predict_module.predict([clip], *given, **RAW)
        assert len(batch) == 1
    assert asked == ["sam-lite", "other", Path("mine.safetensors")]


def test_shots_are_counted_on_over_calls_and_anew_after_reset(model: SaliencyModel) -> None:
    predictor = VideoPredictor(model, **RAW)
    clip = numbered(24, cut_at=11)
    for _ in range(2):
        shots = [predictor.prepare(clip[begin : begin + 8]).shot for begin in (0, 8, 16)]
        assert np.concatenate(shots).tolist() == [0] * 11 + [1] * 13
        predictor.reset()


@pytest.mark.parametrize("smoothing", ["gaussian", "motion"])
def test_reset_in_the_middle_forgets_what_was_held_back(model: SaliencyModel, smoothing: str) -> None:
    smooth = SmoothOptions(smoothing=smoothing)  # type: ignore[arg-type]
    first, second = numbered(24, cut_at=None), numbered(6, cut_at=None)

    def answer(predictor: VideoPredictor) -> SaliencyBatch:
        return SaliencyBatch.join(predictor.update(second) + predictor.flush())

    used, fresh = (
        VideoPredictor(model, recurrence=RecurrenceOptions(every=4), smooth=smooth, cuts=NO_CUTS) for _ in range(2)
    )
    used.update(first[10:])
    used.reset()
    again, new = answer(used), answer(fresh)
    assert again.index.tolist() == new.index.tolist() == list(range(6))
    assert torch.equal(again.log_density, new.log_density)


def test_too_many_steps_are_refused_before_a_frame_is_seen(model: SaliencyModel) -> None:
    with pytest.raises(ConfigError, match="steps"):
        VideoPredictor(model, recurrence=RecurrenceOptions(steps=3))


def test_the_stages_are_timed_by_the_names_of_the_report(model: SaliencyModel) -> None:
    predictor = VideoPredictor(model)
    predictor.update(numbered(2, cut_at=None))
    assert predictor.clock.seconds.keys() == {"cuts", "preprocess", "model", "smooth"}
    assert min(predictor.clock.seconds.values()) > 0


def test_what_a_device_still_holds_is_returned_by_flush_and_forgotten_by_reset(
    model: SaliencyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_copy(source: torch.Tensor) -> tuple[torch.Tensor, Callable[[], None]]:
        return source.clone(), lambda: None

    monkeypatch.setattr(predict_module, "Downloads", lambda device: Downloads(device, begin_copy=begin_copy))
    predictor = VideoPredictor(model, recurrence=EVERY_FRAME, **RAW, cuts=NO_CUTS)
    clip = numbered(9, cut_at=None)
    assert predictor.update(clip[:3]) == []
    (held,) = predictor.update(clip[3:5])
    assert held.index.tolist() == [0, 1, 2]
    predictor.reset()
    assert predictor.update(clip[5:9]) == []
    assert [batch.index.tolist() for batch in predictor.flush()] == [[5, 6, 7, 8]]


# Which frames the model sees where options do not say.


def timed(seconds: Sequence[float], **kind: bool) -> FrameBatch:
    """Frames of these times, which all show the same."""
    frames = np.zeros((len(seconds), 48, 64, 3), np.uint8)
    return FrameBatch(np.arange(len(seconds)), np.array(seconds, np.float64), frames, 48, 64, **kind)


def keys_of(model: SaliencyModel, clip: FrameBatch, *, size: int = 8, every: int | None = None) -> list[int]:
    """Places of the frames that the model has to see, asked for in batches of this size."""
    predictor = VideoPredictor(model, recurrence=RecurrenceOptions(every=every), **RAW)
    begins = range(0, len(clip), size)
    return [begin + row for begin in begins for row in predictor.prepare(clip[begin : begin + size]).keys]


@pytest.mark.parametrize("size", [48, 1, 7])
@pytest.mark.parametrize("rate", [10, 12.5, 16, 20, 23.976, 25, 30, 50, 59.94, 60, 120, 240])
def test_at_a_steady_rate_the_model_sees_every_nth_frame_and_at_most_16_a_second(
    model: SaliencyModel, rate: float, size: int
) -> None:
    seconds = np.round(90 + np.arange(48) / rate, 3).tolist()
    every = RecurrenceOptions().every_at(rate)
    assert keys_of(model, timed(seconds), size=size) == list(range(0, 48, every))
    # In slow motion it is more than that: frames that are shown so quickly differ by little.
    assert rate / every <= 16 or every == MOST_TO_KEY


@pytest.mark.parametrize("size", [24, 1, 5])
def test_frames_that_the_model_sees_are_counted_anew_from_a_cut(model: SaliencyModel, size: int) -> None:
    clip = numbered(24, cut_at=11)
    assert keys_of(model, clip, size=size) == [*range(0, 11, 2), *range(11, 24, 2)]


@pytest.mark.parametrize("kind", ["live", "stills"])
def test_of_live_sources_and_pictures_the_model_sees_every_frame_unless_told_otherwise(
    model: SaliencyModel, kind: str
) -> None:
    clip = timed((np.arange(9) / 50).tolist(), **{kind: True})
    assert keys_of(model, clip, size=4) == list(range(9))
    assert keys_of(model, clip, size=4, every=3) == [0, 3, 6]


@pytest.mark.parametrize("name", ["rmdn", "dreyeve"])
def test_a_network_that_takes_frames_in_a_row_sees_every_frame_unless_told_otherwise(name: NetworkName) -> None:
    network = build_network(NetworkConfig(name, 1 / 64))
    model = SaliencyModel(network, preprocess=CANVAS, card=ModelCard(name))
    clip = timed((np.arange(9) / 50).tolist())
    for one in (model, make_ensemble([make_model(), model])):
        assert keys_of(one, clip, size=4) == list(range(9))
        assert keys_of(one, clip, size=4, every=3) == [0, 3, 6]


@pytest.mark.parametrize("size", [20, 1, 3])
@pytest.mark.parametrize(("seconds", "keys"), [
    ([0.5] * 20, [0, MOST_TO_KEY, 2 * MOST_TO_KEY]),
    ([n / 1e4 for n in range(20)], [0, MOST_TO_KEY, 2 * MOST_TO_KEY]),
    ([5.0, 5.02, 4.0, 4.02, 4.04, 4.08, 4.1], [0, 2, 5]),
    ([5.0, 5.04, 5.02, 5.06, 5.08], [0, 4]),  # back, but not behind the last one that it saw
    ([0.4, 0.3, 0.2, 0.1], [0, 1, 2, 3]),
    ([0.0, 0.01, 2.0, 2.01, 2.1], [0, 2, 4]),
])  # fmt: skip
def test_times_that_stand_still_go_back_or_leap_leave_few_frames_between_two_that_the_model_sees(
    model: SaliencyModel, seconds: list[float], keys: list[int], size: int
) -> None:
    assert keys_of(model, timed(seconds), size=size) == keys
