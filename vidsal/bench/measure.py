"""A model and a way to run it in; how fast each stage is, how near the hardware's limit, how exact, how steady out.

Everything is measured through what users call: `SaliencyModel`, the preprocessor, the smoother, `predict` and `run`.
The input is made here; speed depends neither on it nor on the values of the weights.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import gc
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch

from vidsal.bench.clock import Clock, PartTimes, matrix_peak
from vidsal.bench.files import measure_files
from vidsal.bench.machine import bytes_in_use, describe_machine, describe_versions, peak_bytes, reset_peaks
from vidsal.bench.made import HEIGHT, RATE, WIDTH, make_clip, make_pictures, random_network
from vidsal.bench.operations import count_operations
from vidsal.bench.options import BenchOptions
from vidsal.bench.report import BenchReport, CaseReport, MemoryReport, PrecisionReport, Spread, VideoReport
from vidsal.decode import DecodeOptions, open_video
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.metrics.functional import cc
from vidsal.model.checkpoint import (
    PRESETS,
    ModelCard,
    Precision,
    SaliencyModel,
    find_weights,
    read_checkpoint,
    resolve_device,
    weights_path,
)
from vidsal.model.recurrent import SAMState, Unroll
from vidsal.model.sam import SaliencyAttentiveModel
from vidsal.pipe.options import OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.predict import predict
from vidsal.pipe.run import run
from vidsal.preprocess import PreprocessOptions
from vidsal.provenance import source_commit
from vidsal.smooth.options import SmoothOptions

__all__ = ["bench"]

_PICTURES = 16
# With `sweep`: streams, frames of each a call. On a CPU, calls of more frames only take longer.
_SWEPT_STREAMS, _SWEPT_BATCHES = (1, 8, 32), (1, 8)
_MOST_FRAMES_ON_CPU = 8
# A CUDA graph is recorded when a case came some times: all of them are behind us before anything counts.
_WARM_UP_CALLS = {"cpu": 2, "cuda": 8}
_MEMORY_FRAMES = {"cpu": 100, "cuda": 10_000}
_CLIP_SECONDS = {"cpu": 4.0, "cuda": 20.0}
_ERROR_FRAMES = 8
# Memory is compared between here and the end of a run.
_SETTLED = 0.2


def bench(options: BenchOptions, *, on_note: Callable[[str], None] | None = None) -> BenchReport:
    """Measure a model.

    Args:
        options: what, and how much.
        on_note: called with a line now and then, on what is measured next.

    Raises:
        CheckpointError: the model is no preset and no readable checkpoint.
        ConfigError: the device is not there, or cannot compute in the precision.
        DecodeError: the clip cannot be read.
    """
    say = on_note or _silent
    before = torch.get_num_threads()
    try:
        if options.measure.threads is not None:
            torch.set_num_threads(options.measure.threads)
        with tempfile.TemporaryDirectory(prefix="vidsal-bench-") as folder:
            return _Bench(options, Path(folder), say).work()
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Way:
    """One way to run the model."""

    state: Literal["carry", "reset"]
    steps: int
    streams: int
    batch: int

    @property
    def frames(self) -> int:
        return self.streams * self.batch


class _Caller:
    """Calls a model with the same frames again and again, the state going round."""

    def __init__(self, model: SaliencyModel, pixels: torch.Tensor, way: _Way) -> None:
        self.model, self.pixels, self.way = model, pixels, way
        self.state: SAMState | None = None
        self.log_density = torch.empty(0)

    def __call__(self) -> None:
        self.log_density, self.state = self._call(self.model)

    def network(self) -> None:
        """The same by the network itself: hooks inside are heard, no recorded graph is taken."""
        exact = self.model.dtype == torch.float32
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=not exact):
            self.log_density, self.state = self._call(self.model.network)

    def _call(self, model: Callable[..., tuple[torch.Tensor, SAMState]]) -> tuple[torch.Tensor, SAMState]:
        way = self.way
        afresh = way.state == "reset"
        fresh = [[afresh or (self.state is None and t == 0) for t in range(way.batch)] for _ in range(way.streams)]
        own = self.model.config.steps
        fresh_steps = way.steps if afresh else max(own, way.steps)
        unroll = Unroll.of(fresh, fresh_steps=fresh_steps, carry_steps=way.steps)
        return model(self.pixels, self.state, unroll=unroll)


class _Bench:
    """One measurement, from the options to the report."""

    def __init__(self, options: BenchOptions, folder: Path, say: Callable[[str], None]) -> None:
        self.options, self.folder, self.say = options, folder, say
        self.device = resolve_device(options.model.device)
        self.clock = Clock(self.device)
        self.plain, self.preprocess, self.card, self.random = _open(str(options.model.chosen))
        self.notes: list[str] = []

    def work(self) -> BenchReport:
        options, measure = self.options, self.options.measure
        if self.random:
            self.notes.append(f"{self.card.name} has no weights here: random ones, whose speed is the same")
        model = self.load(options.model.precision)
        self.say(f"matrix peak of {model.device} in {_precision(model.dtype)}")
        peak = matrix_peak(self.device, model.dtype)
        self.pictures = self.read_pictures(model)
        cases = []
        for way in self.ways():
            try:
                cases.append(self.case(way, peak))
            except torch.OutOfMemoryError:
                self.notes.append(f"out of memory: {way}")
            self.tidy()
        precisions = self.precisions(model)
        memory = self.memory(model)
        videos = self.videos(model) if measure.video else ()
        peak = max(peak, matrix_peak(self.device, model.dtype))
        return BenchReport(
            model=self.card.name,
            weights="random" if self.random else "file",
            device=str(self.device),
            precision=_precision(model.dtype),
            canvas=(self.preprocess.height, self.preprocess.width),
            threads=torch.get_num_threads(),
            peak_operations_per_second=peak,
            cases=tuple(dataclasses.replace(case, share_of_peak=case.operations_per_second / peak) for case in cases),
            precisions=tuple(precisions),
            memory=memory,
            videos=tuple(videos),
            notes=(*self.notes, *model.notes),
            machine=describe_machine(),
            versions=describe_versions(),
            commit=source_commit(),
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            options=_plain(dataclasses.asdict(options)),
        )

    def load(self, precision: Precision) -> SaliencyModel:
        """The model, made anew: what one case laid out for its shapes is not another's."""
        return SaliencyModel(
            copy.deepcopy(self.plain),
            preprocess=self.preprocess,
            card=self.card,
            device=self.device,
            precision=precision,
        )

    def ways(self) -> list[_Way]:
        load, own = self.options.load, self.plain.config.steps
        states: tuple[Literal["carry", "reset"], ...] = ("reset", "carry") if load.sweep else (load.state,)
        pairs = list(itertools.product(_SWEPT_STREAMS, _SWEPT_BATCHES)) if load.sweep else [(load.streams, load.batch)]
        if load.sweep and self.device.type == "cpu":
            pairs = [(streams, batch) for streams, batch in pairs if streams * batch <= _MOST_FRAMES_ON_CPU]
        return [
            _Way(state, load.steps or (1 if state == "carry" else own), streams, batch)
            for state in states
            for streams, batch in pairs
        ]

    def read_pictures(self, model: SaliencyModel) -> npt.NDArray[np.uint8]:
        """Some frames of the clip, as the reader hands them to the preprocessor."""
        size = model.preprocessor.frame_size
        clip = self.options.measure.clip
        if clip is not None:
            with open_video(clip, size=size) as reader:
                self.size = reader.info.height, reader.info.width
                batches = list(itertools.islice((batch.frames for batch in reader), _PICTURES))
            return np.concatenate(batches)[:_PICTURES]
        self.size = HEIGHT, WIDTH
        rows, columns = size(*self.size)
        pictures = [cv2.resize(p, (columns, rows), interpolation=cv2.INTER_AREA) for p in make_pictures(_PICTURES)]
        return np.stack(pictures).astype(np.uint8)

    def frames_of(self, stream: int, count: int) -> npt.NDArray[np.uint8]:
        """Frames of one of several streams, each begun elsewhere."""
        return self.pictures[(3 * stream + np.arange(count)) % len(self.pictures)]

    def case(self, way: _Way, peak: float) -> CaseReport:
        self.say(f"{way.state}, {way.steps} steps, {way.streams} streams, {way.batch} frames of each a call")
        repeats, seconds = self.options.measure.repeats, self.options.measure.seconds
        model = self.load(self.options.model.precision)
        preprocess = model.preprocessor
        one = self.frames_of(0, way.batch)
        stages = {
            "preprocess": [
                taken / way.batch
                for taken in self.measure(lambda: preprocess(one, device=self.device), repeats, seconds)
            ]
        }
        pixels = torch.stack([preprocess(self.frames_of(n, way.batch), device=self.device) for n in range(way.streams)])
        call = _Caller(model, pixels, way)
        begin = time.perf_counter()
        call()
        self.clock.finish()
        first = time.perf_counter() - begin
        for _ in range(_WARM_UP_CALLS.get(self.device.type, _WARM_UP_CALLS["cpu"])):
            call()
        self.clock.finish()
        warm_up = time.perf_counter() - begin - first
        reset_peaks(self.device)
        stages["model"] = [taken / way.frames for taken in self.clock.measure(call, repeats, seconds)]
        most = peak_bytes(self.device)
        with PartTimes(model.network, self.clock) as parts:
            self.clock.measure(call.network, repeats)
        stages |= {part: [taken / way.frames for taken in values] for part, values in parts.seconds().items()}
        stages |= self.after(model, call.log_density, way)
        counted = count_operations(
            model.config, height=pixels.shape[-2], width=pixels.shape[-1], state=way.state, steps=way.steps
        )
        median = statistics.median(stages["model"])
        return CaseReport(
            state=way.state,
            steps=way.steps,
            streams=way.streams,
            batch=way.batch,
            first_call_seconds=first,
            warm_up_seconds=warm_up,
            stages={stage: Spread.of(values) for stage, values in stages.items()},
            operations=counted,
            frames_per_second=1 / median,
            operations_per_second=counted.total / median,
            share_of_peak=counted.total / median / peak,
            peak_bytes=most,
        )

    def measure(self, work: Callable[[], Any], repeats: int, seconds: float) -> list[float]:
        """After two calls that do not count."""
        work()
        work()
        return self.clock.measure(work, repeats, seconds)

    def after(self, model: SaliencyModel, log_density: torch.Tensor, way: _Way) -> dict[str, list[float]]:
        """What comes after the model: post-processing, and smoothing, each stream its own."""
        repeats, seconds = self.options.measure.repeats, self.options.measure.seconds
        # Not an inference tensor, as the model's are.
        maps = log_density.clone()
        post = self.measure(lambda: model.preprocessor.to_picture(maps, *self.size), repeats, seconds)
        finished = model.preprocessor.to_picture(maps, *self.size)
        smoothers = [SmoothOptions().make() for _ in range(way.streams)]
        number = itertools.count(step=way.batch)
        small = self.frames_of(0, way.batch)

        def smooth() -> None:
            index = next(number) + np.arange(way.batch)
            shown = FrameBatch(index, index / RATE, small, *self.size)
            for smoother, own in zip(smoothers, finished, strict=True):
                smoother.watch(shown)
                smoother.update(
                    SaliencyBatch(
                        index=index,
                        pts_seconds=index / RATE,
                        shot=np.zeros(way.batch, np.int64),
                        cut=np.zeros(way.batch, np.bool_),
                        log_density=own,
                        height=self.size[0],
                        width=self.size[1],
                    )
                )

        smoothed = self.measure(smooth, repeats, seconds)
        return {
            "post-process": [taken / way.frames for taken in post],
            "smooth": [taken / way.frames for taken in smoothed],
        }

    def precisions(self, model: SaliencyModel) -> list[PrecisionReport]:
        """Every reduced precision of the device where a sweep was asked for, else the model's own."""
        reduced: dict[torch.dtype, Precision] = {torch.bfloat16: "bf16"}
        if self.device.type != "cpu":
            reduced[torch.float16] = "fp16"
        if not self.options.load.sweep:
            reduced = {dtype: name for dtype, name in reduced.items() if dtype == model.dtype}
        if not reduced:
            return []
        self.say("errors of reduced precisions")
        states: dict[str, _Way] = {way.state: dataclasses.replace(way, streams=1, batch=1) for way in self.ways()}
        frames = [
            model.preprocessor(self.frames_of(0, _ERROR_FRAMES)[n : n + 1], device=self.device)[None]
            for n in range(_ERROR_FRAMES)
        ]

        def results(precision: Precision, way: _Way) -> tuple[torch.Tensor, torch.Tensor]:
            caller = _Caller(self.load(precision), frames[0], way)
            maps = []
            for caller.pixels in frames:
                caller()
                maps.append(caller.log_density[0, 0].exp().cpu())
            hidden = torch.empty(0) if caller.state is None else caller.state.hidden.float().cpu()
            return torch.stack(maps), hidden

        reports = []
        for way in states.values():
            exact, hidden = results("fp32", way)
            for name in reduced.values():
                maps, own = results(name, way)
                correlation = cc(maps, exact)
                reports.append(
                    PrecisionReport(
                        precision=name,
                        state=way.state,
                        steps=way.steps,
                        frames=len(frames),
                        least_cc=float(correlation.min()),
                        mean_cc=float(correlation.mean()),
                        hidden_error=float((own - hidden).abs().max() / hidden.abs().max()),
                        hidden_rms_error=float((own - hidden).norm() / hidden.norm()),
                    )
                )
        self.tidy()
        return reports

    def memory(self, model: SaliencyModel) -> MemoryReport | None:
        """The pipe on many frames, memory compared once it has settled and at the end."""
        count = self.options.measure.memory_frames
        if count is None:
            count = _MEMORY_FRAMES.get(self.device.type, _MEMORY_FRAMES["cpu"])
        if count == 0:
            return None
        self.say(f"memory over {count} frames")
        way = self.ways()[-1]
        early: dict[str, int] | None = None
        done = 0
        recurrence = RecurrenceOptions(state=way.state, steps=way.steps)
        for batch in predict(self.long_video(count, way.batch), model, recurrence=recurrence):
            done += len(batch)
            if early is None and done >= _SETTLED * count:
                early = bytes_in_use(self.device)
        late = bytes_in_use(self.device)
        return MemoryReport(frames=done, early_bytes=early or late, late_bytes=late)

    def long_video(self, count: int, batch: int) -> Iterator[FrameBatch]:
        for start in range(0, count, batch):
            index = np.arange(start, min(count, start + batch))
            yield FrameBatch(
                index=index,
                pts_seconds=index / RATE,
                frames=self.pictures[index % len(self.pictures)],
                height=self.size[0],
                width=self.size[1],
            )

    def videos(self, model: SaliencyModel) -> list[VideoReport]:
        """`run` on the clip, once for each state; a first run of a few frames warms up."""
        measure = self.options.measure
        seconds = measure.clip_seconds or _CLIP_SECONDS.get(self.device.type, _CLIP_SECONDS["cpu"])
        clip = measure.clip or make_clip(self.folder / "made-720p.mp4", seconds=seconds)
        reports = []
        for way in {way.state: way for way in self.ways()}.values():
            self.say(f"vidsal run, {way.state}")
            whole = RunOptions(
                model=self.options.model,
                decode=DecodeOptions(batch_size=way.batch, hwaccel=measure.hwaccel),
                recurrence=RecurrenceOptions(state=way.state, steps=way.steps),
                output=OutputOptions(output=self.folder, overwrite=True),
            )
            short = dataclasses.replace(
                whole, decode=dataclasses.replace(whole.decode, end_seconds=8 * way.batch / RATE)
            )
            if self.device.type != "cpu":
                run(clip, options=short, model=model)
            reports.append(measure_files(clip, model, whole, folder=self.folder, long_seconds=measure.long_seconds))
        return reports

    def tidy(self) -> None:
        """Give back what the last case held."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _open(model: str) -> tuple[SaliencyAttentiveModel, PreprocessOptions, ModelCard, bool]:
    """The network as it is defined, and whether its weights are random."""
    if model in PRESETS and find_weights(model).state == "absent":
        preset = PRESETS[model]
        network = random_network(preset.config, preprocess=preset.preprocess)
        return network, preset.preprocess, ModelCard(name=model), True
    return *read_checkpoint(weights_path(model)), False


def _precision(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _silent(text: str) -> None:
    pass
