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
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch

from vidsal.bench.clock import Clock, PartTimes, count_operations, matrix_peak
from vidsal.bench.files import measure_files
from vidsal.bench.machine import bytes_in_use, describe_machine, describe_versions, peak_bytes, reset_peaks
from vidsal.bench.made import HEIGHT, RATE, WIDTH, make_clip, make_pictures, random_network
from vidsal.bench.options import BenchOptions
from vidsal.bench.report import BenchReport, CaseReport, MemoryReport, PrecisionReport, Spread, VideoReport, Way
from vidsal.decode import DecodeOptions, open_video
from vidsal.errors import ConfigError, Setting
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.metrics.functional import cc
from vidsal.model import checkpoint
from vidsal.model.checkpoint import ModelCard, Precision, SaliencyModel
from vidsal.model.recurrent import SAMState, Unroll
from vidsal.model.sam import SaliencyAttentiveModel
from vidsal.model.state import VideoState
from vidsal.pipe.options import OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.predict import predict
from vidsal.pipe.run import run
from vidsal.preprocess import PreprocessOptions, Viewport
from vidsal.provenance import source_commit
from vidsal.smooth.options import SmoothOptions

__all__ = ["bench"]

_PICTURES = 16
# With `sweep`: videos, frames of each a call. On a CPU, calls of more frames only take longer.
_SWEPT = tuple(itertools.product((1, 8, 32), (1, 8)))
_MOST_FRAMES_ON_CPU = 8
# A CUDA graph is recorded when a case came some times: this is over before anything counts.
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
        ConfigError: the device is not there, or cannot compute in the precision; or the speed of an ensemble is asked
            for without a video.
        DecodeError: the clip cannot be read.
    """
    before = torch.get_num_threads()
    try:
        if options.measure.threads is not None:
            torch.set_num_threads(options.measure.threads)
        with tempfile.TemporaryDirectory(prefix="vidsal-bench-") as folder:
            return _Bench(options, Path(folder), on_note or (lambda text: None)).work()
    finally:
        torch.set_num_threads(before)


class _Caller:
    """Calls a model with the same frames again and again, the state going round."""

    def __init__(self, model: SaliencyModel, pixels: torch.Tensor, way: Way) -> None:
        self.model, self.pixels, self.way = model, pixels, way
        self.state: VideoState | None = None
        self.log_density = torch.empty(0)

    def __call__(self) -> None:
        self._call(self.model)

    def network(self) -> None:
        """The same by the network itself: hooks inside are called, no recorded graph is taken."""
        exact = self.model.dtype == torch.float32
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=not exact):
            self._call(self.model.network)

    def _call(self, model: Callable[..., tuple[torch.Tensor, VideoState]]) -> None:
        way, reset = self.way, self.way.state == "reset"
        row = [reset or (self.state is None and t == 0) for t in range(way.batch)]
        fresh_steps = way.steps if reset else max(self.model.config.steps, way.steps)
        unroll = Unroll.of([row] * way.streams, fresh_steps=fresh_steps, carry_steps=way.steps)
        self.log_density, self.state = model(self.pixels, self.state, unroll=unroll)


class _Bench:
    """One measurement, from the options to the report."""

    def __init__(self, options: BenchOptions, folder: Path, say: Callable[[str], None]) -> None:
        self.options, self.folder, self.say = options, folder, say
        if options.model.runtime != "torch":
            runtime = Setting("runtime", options.model.runtime)
            raise ConfigError(runtime, " has no stages to measure: leave it out, or time vidsal run with it")
        self.device = checkpoint.resolve_device(options.model.device)
        self.kind = "cuda" if self.device.type == "cuda" else "cpu"
        self.clock = Clock(self.device)
        self.notes: list[str] = []
        if options.model.is_ensemble and not options.measure.video:
            what = "an ensemble has no stages to measure, only vidsal run as a whole: leave out "
            raise ConfigError(what, Setting("video", False), ", or name one model")
        self.ensemble = options.model.load() if options.model.is_ensemble else None
        if self.ensemble is not None:
            self.preprocess, self.card, self.random = self.ensemble.preprocessor.options, self.ensemble.card, False
            self.own_steps = self.ensemble.config.steps
            self.notes.append(
                "an ensemble has no parts of its own: its speed is that of vidsal run; stages are measured of a model "
                "by itself"
            )
            return
        (model,) = options.model.chosen
        self.plain, self.preprocess, self.card, self.random = _open(str(model))
        self.own_steps = self.plain.config.steps

    def work(self) -> BenchReport:
        options = self.options
        if self.random:
            self.notes.append(f"{self.card.name} has no weights on this machine: random ones, as fast")
        model = self.ensemble or self.load(options.model.precision)
        # A clip that cannot be read is said before anything is measured.
        self.pictures = self.read_pictures(model)
        self.say(f"matrix peak of {model.device} in {model.precision}")
        peak = matrix_peak(self.device, model.dtype)
        cases = []
        for way in self.ways() if self.ensemble is None else ():
            try:
                cases.append(self.case(way, peak))
            except torch.OutOfMemoryError:
                self.notes.append(f"out of memory: {way}")
            self.tidy()
        precisions = self.precisions(model)
        memory = self.memory(model)
        videos = self.videos(model) if options.measure.video else []
        peak = max(peak, matrix_peak(self.device, model.dtype))
        return BenchReport(
            model=self.card.name,
            weights="random" if self.random else "file",
            device=str(self.device),
            precision=model.precision,
            canvas=self.canvas(),
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
            options=json.loads(json.dumps(dataclasses.asdict(options), default=str)),
        )

    def load(self, precision: Precision) -> SaliencyModel:
        """The model, made anew: what one case laid out for its shapes is not another's."""
        network = copy.deepcopy(self.plain)
        return SaliencyModel(
            network, preprocess=self.preprocess, card=self.card, device=self.device, precision=precision
        )

    def ways(self) -> list[Way]:
        load, own = self.options.load, self.own_steps
        if not load.sweep:
            return [Way(load.state, load.steps or (1 if load.state == "carry" else own), load.streams, load.batch)]
        states: tuple[tuple[Literal["carry", "reset"], int], ...] = (("reset", own), ("carry", 1))
        return [
            Way(state, load.steps or steps, streams, batch)
            for state, steps in states
            for streams, batch in _SWEPT
            if self.device.type != "cpu" or streams * batch <= _MOST_FRAMES_ON_CPU
        ]

    def recurrence(self, way: Way) -> RecurrenceOptions:
        """The steps of a way; of an ensemble, where none are asked for, each member's own."""
        return RecurrenceOptions(way.state, way.steps if self.ensemble is None else self.options.load.steps)

    def read_pictures(self, model: SaliencyModel) -> npt.NDArray[np.uint8]:
        """Some frames of the clip, as the preprocessor gets them from the reader."""
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

    def frames_at(self, start: int, count: int) -> FrameBatch:
        """Frames of a video that repeats the pictures without end."""
        index = np.arange(start, start + count)
        return FrameBatch(index, index / RATE, self.pictures[index % len(self.pictures)], *self.size)

    def canvas(self) -> tuple[int, int]:
        """On which the network sees the pictures."""
        view = Viewport.of(*self.size, self.preprocess)
        return view.canvas_height, view.canvas_width

    def pixels(self, model: SaliencyModel, video: int, count: int) -> torch.Tensor:
        """The model's input from one of several videos, each begun elsewhere: (count, 3, H, W)."""
        return model.preprocessor(self.frames_at(3 * video, count).frames, device=self.device)

    def case(self, way: Way, peak: float) -> CaseReport:
        self.say(f"{way.state}, {way.steps} steps, {way.streams} videos, {way.batch} frames of each a call")
        model = self.load(self.options.model.precision)
        frames = self.frames_at(0, way.batch).frames
        stages = {"preprocess": self.measure(lambda: model.preprocessor(frames, device=self.device), way.batch)}
        call = _Caller(model, torch.stack([self.pixels(model, n, way.batch) for n in range(way.streams)]), way)
        begin = time.perf_counter()
        call()
        self.clock.finish()
        first = time.perf_counter() - begin
        for _ in range(_WARM_UP_CALLS[self.kind]):
            call()
        self.clock.finish()
        warm_up = time.perf_counter() - begin - first
        reset_peaks(self.device)
        stages["model"] = self.measure(call, way.frames)
        most = peak_bytes(self.device)
        with PartTimes(model.attentive, self.clock) as parts:
            self.clock.measure(call.network, self.options.measure.repeats)
        stages |= {part: [taken / way.frames for taken in values] for part, values in parts.seconds().items()}
        stages |= self.after(model, call.log_density, way)
        height, width = call.pixels.shape[-2:]
        counted = count_operations(model.attentive.config, height=height, width=width, state=way.state, steps=way.steps)
        median = statistics.median(stages["model"])
        return CaseReport(
            **vars(way),
            first_call_seconds=first,
            warm_up_seconds=warm_up,
            stages={stage: Spread.of(values) for stage, values in stages.items()},
            operations=counted,
            frames_per_second=1 / median,
            operations_per_second=counted.total / median,
            share_of_peak=counted.total / median / peak,
            peak_bytes=most,
        )

    def measure(self, work: Callable[[], Any], frames: int) -> list[float]:
        """Seconds a frame, of each call, after two calls that do not count."""
        work()
        work()
        taken = self.clock.measure(work, self.options.measure.repeats, self.options.measure.seconds)
        return [seconds / frames for seconds in taken]

    def after(self, model: SaliencyModel, log_density: torch.Tensor, way: Way) -> dict[str, list[float]]:
        """What comes after the model: post-processing, and smoothing, each video's own."""
        # Not an inference tensor, as the model's are.
        maps = log_density.clone()
        finished = model.preprocessor.to_picture(maps, *self.size)
        smoothers = [SmoothOptions().make() for _ in range(way.streams)]
        first, number = self.frames_at(0, way.batch), itertools.count(step=way.batch)
        shot, cut = np.zeros(way.batch, np.int64), np.zeros(way.batch, np.bool_)

        def smooth() -> None:
            index = first.index + next(number)
            shown = dataclasses.replace(first, index=index, pts_seconds=index / RATE)
            for smoother, own in zip(smoothers, finished, strict=True):
                smoother.watch(shown)
                smoother.update(SaliencyBatch.of(shown, shot=shot, cut=cut, log_density=own))

        return {
            "post-process": self.measure(lambda: model.preprocessor.to_picture(maps, *self.size), way.frames),
            "smooth": self.measure(smooth, way.frames),
        }

    def precisions(self, model: SaliencyModel) -> list[PrecisionReport]:
        """Every reduced precision of the device where a sweep was asked for, else the model's own."""
        reduced: tuple[Precision, ...] = ("bf16",) if self.device.type == "cpu" else ("bf16", "fp16")
        if not self.options.load.sweep:
            reduced = tuple(name for name in reduced if name == model.precision)
        if not reduced or self.ensemble is not None:
            return []
        self.say("errors of reduced precisions")
        frames = self.pixels(model, 0, _ERROR_FRAMES)[:, None, None]

        def results(precision: Precision, way: Way) -> tuple[torch.Tensor, torch.Tensor]:
            caller = _Caller(self.load(precision), frames[0], way)
            maps = []
            for caller.pixels in frames:
                caller()
                maps.append(caller.log_density[0, 0].exp().cpu())
            state = caller.state
            return torch.stack(maps), state.hidden.float().cpu() if isinstance(state, SAMState) else torch.empty(0)

        reports = []
        for way in {way.state: Way(way.state, way.steps, 1, 1) for way in self.ways()}.values():
            exact, hidden = results("fp32", way)
            for name in reduced:
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
        count = _MEMORY_FRAMES[self.kind] if count is None else count
        if count == 0:
            return None
        self.say(f"memory over {count} frames")
        way = self.ways()[-1]
        video = (self.frames_at(start, min(way.batch, count - start)) for start in range(0, count, way.batch))
        early: dict[str, int] | None = None
        done = 0
        for batch in predict(video, model, recurrence=self.recurrence(way)):
            done += len(batch)
            if early is None and done >= _SETTLED * count:
                early = bytes_in_use(self.device)
        late = bytes_in_use(self.device)
        return MemoryReport(frames=done, early_bytes=early or late, late_bytes=late)

    def videos(self, model: SaliencyModel) -> list[VideoReport]:
        """`run` on the clip, once for each state; a first run of a few frames warms up."""
        measure = self.options.measure
        seconds = measure.clip_seconds or _CLIP_SECONDS[self.kind]
        clip = measure.clip or make_clip(self.folder / "made-720p.mp4", seconds=seconds)
        reports = []
        for way in {way.state: way for way in self.ways()}.values():
            self.say(f"vidsal run, {way.state}")
            decode = DecodeOptions(batch_size=way.batch, hwaccel=measure.hwaccel)
            whole = RunOptions(
                model=self.options.model,
                decode=decode,
                recurrence=self.recurrence(way),
                output=OutputOptions(output=self.folder, overwrite=True),
            )
            if self.device.type != "cpu":
                short = dataclasses.replace(decode, end_seconds=8 * way.batch / RATE)
                run(clip, options=dataclasses.replace(whole, decode=short), model=model)
            reports.append(measure_files(clip, model, whole, folder=self.folder, long_seconds=measure.long_seconds))
        return reports

    def tidy(self) -> None:
        """Give back what the last case held."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _open(model: str) -> tuple[SaliencyAttentiveModel, PreprocessOptions, ModelCard, bool]:
    """The network as it is defined, and whether its weights are random."""
    if model in checkpoint.PRESETS and checkpoint.find_weights(model).state == "absent":
        preset = checkpoint.PRESETS[model]
        network = random_network(preset.config, preprocess=preset.preprocess)
        return network, preset.preprocess, ModelCard(name=model), True
    return *checkpoint.read_checkpoint(checkpoint.weights_path(model)), False
