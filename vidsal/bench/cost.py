"""A model and the stages around it in, what a frame costs on one core out: operations, CPU time, memory, weights."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from vidsal.bench.clock import count_operations
from vidsal.bench.machine import bytes_in_use, peak_bytes, reset_peaks
from vidsal.bench.made import HEIGHT, RATE, WIDTH, make_pictures
from vidsal.bench.report import Spread
from vidsal.errors import CheckpointError
from vidsal.frames import FrameBatch
from vidsal.model.baselines.network import BaselineNetwork
from vidsal.model.checkpoint import SaliencyModel, files_of, is_baseline, read_any_checkpoint, weights_path
from vidsal.model.ensemble import Ensemble
from vidsal.model.options import Precision
from vidsal.model.recurrent import Unroll
from vidsal.model.sam import SaliencyAttentiveModel
from vidsal.pipe.options import ModelOptions, PredictOptions
from vidsal.pipe.predict import predict
from vidsal.processes import worker_context

__all__ = ["FrameCost", "WeightCount", "count_weights", "measure_cost", "measure_cost_here"]

_PICTURES = 8
_WARM_UP = 2
"""Frames, or rounds of `every` frames, before anything counts: the first lays weights out and chooses algorithms."""
_LEAST, _MOST, _SECONDS = 4, 32, 2.0
"""Rounds that are measured: at least, at most, and those that it takes to fill so many seconds."""


@dataclass(frozen=True)
class WeightCount:
    """What a model has learned."""

    parameters: int
    """Numbers that training sets; 0 for a model without weights."""
    bytes: int
    """Size of the checkpoint, with the one that it builds on; 0 where there is none."""
    steps: int
    """Refinement steps on a frame that starts afresh; of several models the fewest."""


@dataclass(frozen=True)
class FrameCost:
    """What a frame costs on one core, from its pixels to its density, one frame at a time."""

    multiply_adds: float | None
    """Multiplications with an addition in the network's convolutions and products, a frame; None where they are not
    counted: models without weights have no network."""
    cpu_seconds: Spread
    """Of all threads, a frame: preprocessing, model, density at the size of the picture, smoothing, viewers."""
    memory_bytes: int
    """Most memory in use meanwhile, beyond what the process held before the model was loaded, with a uniform map in
    its place: weights, and what the frames need."""
    canvas: tuple[int, int]
    """Rows and columns of the model's input."""
    precision: str
    """fp32 or bf16."""


def count_weights(model: str) -> WeightCount:
    """What a model has learned, by its name or the path of its checkpoint, or the models of an ensemble, with commas
    between; files are read whole.

    Raises:
        CheckpointError: there are no weights of it here, or they cannot be read.
    """
    parameters = 0
    steps, files = [], set[Path]()
    for name in dict.fromkeys(ModelOptions(model=model).named):
        if is_baseline(name):
            steps.append(1)
        else:
            path = weights_path(name)
            network, _, _ = read_any_checkpoint(path)
            parameters += sum(one.numel() for one in network.parameters())
            files |= {*files_of(path)}
            steps.append(network.config.steps)
    return WeightCount(parameters, sum(path.stat().st_size for path in files), min(steps))


def measure_cost(model: str, *, precision: Precision, prediction: PredictOptions, stills: bool) -> FrameCost:
    """Measures a model on the CPU with one thread, in a process of its own.

    The frames are made: 1280x720, as the reader gives them at the size that the model takes. Decoding does not count.

    Args:
        model: as `ModelOptions` takes it.
        precision: of the model on the CPU.
        prediction: the stages around it.
        stills: whether each frame is a picture of its own, for which the model starts afresh; else a video.

    Raises:
        CheckpointError: the model cannot be loaded, or the process that measured it ended.
        ConfigError: an option does not fit the model.
    """
    here, there = (context := worker_context(__name__)).Pipe()
    process = context.Process(
        target=_work, args=(there, dict(os.environ), model, precision, prediction, stills), daemon=True
    )
    process.start()
    there.close()
    try:
        found = here.recv()
    except (EOFError, OSError) as error:
        process.join()
        raise CheckpointError(
            f"the process that measured what {model} costs ended with status {process.exitcode}"
        ) from error
    finally:
        if process.is_alive() and process.exitcode is None:
            process.terminate()
        process.join()
        here.close()
    if isinstance(found, BaseException):
        raise found
    made: FrameCost = found
    return made


def _work(
    connection: Connection,
    environment: dict[str, str],
    model: str,
    precision: Precision,
    prediction: PredictOptions,
    stills: bool,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        connection.send(measure_cost_here(model, precision=precision, prediction=prediction, stills=stills))
    except Exception as error:
        connection.send(error)
        raise


def measure_cost_here(model: str, *, precision: Precision, prediction: PredictOptions, stills: bool) -> FrameCost:
    """As `measure_cost`, in this process and with its threads: memory is right only where nothing ran before."""
    device = torch.device("cpu")
    with torch.inference_mode():
        torch.conv2d(torch.zeros(1, 8, 32, 32), torch.zeros(8, 8, 3, 3))
    pictures = list(make_pictures(_PICTURES, height=HEIGHT, width=WIDTH))
    # What a first convolution and the stages around a model bring along is no model's.
    for batch in predict([_frame(pictures[0][None], 0, stills=stills)], "uniform", prediction):
        batch.density.numpy()
    before = bytes_in_use(device)["resident"]
    loaded = ModelOptions(model=model, device="cpu", precision=precision).load()
    rows, columns = loaded.preprocessor.frame_size(HEIGHT, WIDTH)
    frames = np.stack([cv2.resize(one, (columns, rows), interpolation=cv2.INTER_AREA) for one in pictures])
    canvas = tuple(loaded.preprocessor(frames[:1], device=device).shape[-2:])
    every = 1 if stills else prediction.recurrence.every_at(RATE)
    marks: list[float] = []

    def clip() -> Iterator[FrameBatch]:
        for number in itertools.count():
            marks.append(time.process_time())
            rounds, within = divmod(number - _WARM_UP * every, every)
            if rounds == within == 0:
                gc.collect()
                reset_peaks(device)
                marks[-1] = time.process_time()
            taken = marks[-1] - marks[_WARM_UP * every] if rounds > 0 else 0.0
            if within == 0 and rounds >= _LEAST and (taken >= _SECONDS or rounds >= _MOST):
                return
            yield _frame(frames[[number % len(frames)]], number, stills=stills)

    videos = ([batch] for batch in clip()) if stills else [clip()]
    for video in videos:
        for result in predict(video, loaded, prediction):
            result.density.numpy()
    of_rounds = np.diff(marks[_WARM_UP * every :: every]) / every
    most = peak_bytes(device)["resident"]
    return FrameCost(
        multiply_adds=_multiply_adds(loaded, prediction, frames[:1], stills=stills),
        cpu_seconds=Spread.of(of_rounds.tolist()),
        memory_bytes=max(0, most - before),
        canvas=(canvas[0], canvas[1]),
        precision=loaded.precision,
    )


def _frame(pixels: np.ndarray, number: int, *, stills: bool) -> FrameBatch:
    index = np.array([number])
    return FrameBatch(index, index / RATE, pixels.astype(np.uint8), HEIGHT, WIDTH, stills=stills)


def _multiply_adds(
    loaded: SaliencyModel, prediction: PredictOptions, frames: np.ndarray, *, stills: bool
) -> float | None:
    """Of a frame that goes on from the one before, or of a picture; a frame that the model does not see has none."""
    if isinstance(loaded, Ensemble):
        counts = [_multiply_adds(one.model, prediction, frames, stills=stills) for one in loaded.members]
        return None if None in counts else sum(filter(None, counts))
    if isinstance(loaded.network, BaselineNetwork):
        return None
    pixels = loaded.preprocessor(frames, device="cpu")[None]
    fresh, goes_on = prediction.recurrence.steps_of(loaded.config.steps)
    afresh = stills or prediction.recurrence.state == "reset"
    if isinstance(loaded.network, SaliencyAttentiveModel):
        height, width = pixels.shape[-2:]
        steps = fresh if afresh else goes_on
        state = "reset" if afresh else "carry"
        operations = count_operations(loaded.attentive.config, height=height, width=width, state=state, steps=steps)
        total = operations.total
    else:
        with torch.inference_mode():
            state = None
            if not afresh:
                _, state = loaded.network(pixels, None, unroll=Unroll.of([[True]], fresh_steps=fresh))
            unroll = Unroll.of([[afresh]], fresh_steps=fresh, carry_steps=goes_on)
            with FlopCounterMode(display=False) as counter:
                loaded.network(pixels, state, unroll=unroll)
        total = counter.get_total_flops()
    return total / 2 / (1 if stills else prediction.recurrence.every_at(RATE))
