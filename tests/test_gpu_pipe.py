"""The pipe on a CUDA device: it waits for nothing but the batch before, and its memory stays flat."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from made import CANVAS, LIGHT, make_network
from test_pipe import joined, made_frames, parts, raw
from test_pipe_many import by_stream, made_clip, three_clips

from vidsal.frames import FrameBatch
from vidsal.model.checkpoint import ModelCard, Precision, SaliencyModel, load_model
from vidsal.pipe.many import StreamBatch, predict_streams
from vidsal.pipe.options import RecurrenceOptions
from vidsal.pipe.predict import VideoPredictor, predict
from vidsal.smooth.options import SmoothOptions

BATCHES = 24
"""Batches of eight frames in each count."""
PASSES = 3
"""Passes before anything is counted: constants go to the device, and what comes back three times is recorded."""

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "carry, two steps": {"recurrence": RecurrenceOptions(steps=2, every=1)},
    "reset": raw(state="reset"),
    "every third": {"recurrence": RecurrenceOptions(every=3)},
    "looking ahead": {"smooth": SmoothOptions(smoothing="gaussian", time_constant_seconds=0.1)},
}


def on_device(device: str, precision: Precision = "auto") -> SaliencyModel:
    card = ModelCard(name="tiny")
    return SaliencyModel(make_network(config=LIGHT), preprocess=CANVAS, card=card, device=device, precision=precision)


def long_clip() -> list[FrameBatch]:
    """With two cuts, so that stretches of several lengths meet."""
    pieces = [made_clip(seed, 64, size=(48, 64), cut_at=None, rate=25) for seed in (1, 2, 3)]
    frames = np.concatenate([piece.frames for piece in pieces])
    whole = FrameBatch(np.arange(len(frames)), np.arange(len(frames)) / 25, frames, height=480, width=640)
    assert len(whole) == 8 * BATCHES
    return list(parts(whole, [8] * BATCHES))


def waits_in(work: Callable[[], object]) -> list[str]:
    """The hidden waits for the device while something works, by PyTorch's own count."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [text for one in caught if "synchronizing CUDA operation" in (text := str(one.message))]


@pytest.mark.gpu
def test_a_hidden_wait_would_be_counted() -> None:
    x = torch.ones(3, device="cuda")
    assert len(waits_in(lambda: [x.sum().item() for _ in range(3)])) == 3
    assert waits_in(lambda: x.sum()) == []


@pytest.mark.gpu
@pytest.mark.parametrize("name", SETTINGS)
def test_a_video_is_predicted_without_one_hidden_wait(name: str) -> None:
    model, clip = on_device("cuda"), long_clip()
    for _ in range(PASSES):
        list(predict(clip, model, **SETTINGS[name]))
    count = 0

    def work() -> None:
        nonlocal count
        predictor = VideoPredictor(model, **SETTINGS[name])
        for batch in clip:
            count += sum(map(len, predictor.update(batch)))
        count += sum(map(len, predictor.flush()))

    assert waits_in(work) == []
    assert count == 8 * BATCHES


@pytest.mark.gpu
def test_streams_side_by_side_are_predicted_without_one_hidden_wait() -> None:
    model = on_device("cuda")

    def work() -> None:
        clips = [long_clip()[: BATCHES - 4 * number] for number in range(4)]
        list(predict_streams(clips, model, side_by_side=3))

    for _ in range(PASSES):
        work()
    assert waits_in(work) == []


@pytest.mark.gpu
def test_maps_come_in_page_locked_memory_of_the_processor_one_batch_late() -> None:
    predictor = VideoPredictor(on_device("cuda"), recurrence=RecurrenceOptions(every=1))
    clip = long_clip()[:3]
    out = [predictor.update(batch) for batch in clip] + [predictor.flush()]
    assert [[int(b.index[0]) for b in batches] for batches in out] == [[], [0], [8], [16]]
    for batches in out:
        for batch in batches:
            assert batch.log_density.device.type == "cpu" and batch.log_density.is_pinned()
            torch.testing.assert_close(batch.density.sum((1, 2)), torch.ones(len(batch)))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_gpu_gives_the_maps_of_the_processor(name: str, precision: Precision) -> None:
    clips = three_clips()
    # Rounding to bfloat16 changes the maps of random weights beyond measure, on a CPU too: those of the default count.
    make = on_device if precision == "fp32" else partial(load_model, "sam-lite")
    gpu, cpu = make(device="cuda", precision=precision), make(device="cpu", precision="fp32")
    results = by_stream(predict_streams(clips, gpu, side_by_side=2, **SETTINGS[name]), 3)
    for clip, batches in zip(clips, results, strict=True):
        ours, theirs = joined(batches), joined(predict(clip, cpu, **SETTINGS[name]))
        assert all(np.array_equal(getattr(ours, key), getattr(theirs, key)) for key in ("index", "cut", "shot"))
        pairs = zip(ours.density.flatten(1), theirs.density.flatten(1), strict=True)
        assert min(float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs) > 0.999


@pytest.mark.gpu
@pytest.mark.parametrize("name", SETTINGS)
def test_memory_on_the_device_stays_flat_over_many_frames(name: str) -> None:
    model, clip = on_device("cuda"), long_clip()
    seconds = len(clip) * 8 / 25

    def endless(rounds: int) -> Iterator[FrameBatch]:
        for number in range(rounds):
            for batch in clip:
                first = number * 8 * len(clip)
                yield FrameBatch(
                    batch.index + first, batch.pts_seconds + number * seconds, batch.frames, batch.height, batch.width
                )

    peaks, frames = [], 0
    for batch in predict(endless(12), model, **SETTINGS[name]):
        if frames // 384 < (frames := frames + len(batch)) // 384:
            peaks.append(torch.cuda.max_memory_allocated())
            torch.cuda.reset_peak_memory_stats()
    assert frames == 12 * 8 * BATCHES and len(peaks) == 6
    # The first part holds what is made once; after it nothing may be added.
    assert max(peaks[2:]) <= peaks[1] * 1.02 + 2**20


@pytest.mark.gpu
def test_streams_that_join_and_leave_leave_nothing_on_the_device() -> None:
    model = on_device("cuda")

    def work(count: int) -> int:
        clips = (list(parts(made_frames(16 + n % 5), [8, 8, n % 5][: 2 + (n % 5 > 0)])) for n in range(count))
        frames = sum(len(r.batch) for r in predict_streams(clips, model, side_by_side=4) if isinstance(r, StreamBatch))
        assert frames == sum(16 + n % 5 for n in range(count))
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()

    for _ in range(PASSES):
        settled = work(20)
    assert work(60) <= settled + 2**20
