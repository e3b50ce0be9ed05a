"""THE PIPE: a source in, densities out (`predict`), or files out (`run`).

Three stages work at the same time, each ahead of the next by a bounded number of batches: decoding, prediction, and
drawing with encoding. The maps depend neither on the batch size nor on where the video is cut into calls.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from vidsal.decode import DecodeOptions, Reader, VideoInfo, open_video
from vidsal.errors import ConfigError, DecodeError, EncodeError
from vidsal.frames import FrameBatch, Picture, SaliencyBatch
from vidsal.model.checkpoint import Precision, SaliencyModel, Task, for_task, load_model
from vidsal.model.recurrent import SAMState
from vidsal.prefetch import prefetch, usable_cores
from vidsal.render import RenderOptions
from vidsal.shots import CutDetector, CutOptions
from vidsal.sinks import ImageSink, MapsSink, Sink, TableSink, VideoOptions, VideoSink
from vidsal.smooth import Smoother, SmoothOptions
from vidsal.tracks import Tracker, TrackOptions

__all__ = [
    "Downloads",
    "Job",
    "ModelOptions",
    "OutputOptions",
    "Prepared",
    "Progress",
    "RecurrenceOptions",
    "RunOptions",
    "RunReport",
    "Seen",
    "StageClock",
    "VideoPredictor",
    "predict",
    "run",
    "run_model",
    "shared_video_options",
]


@dataclass(frozen=True)
class ModelOptions:
    """Which model, where, how exact."""

    model: str = "sam-lite"
    """Name of a model with weights here (`vidsal weights list`), or path of a vidsal checkpoint (.safetensors)."""
    device: str = "auto"
    """auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:N or mps."""
    precision: Precision = "auto"
    """fp32; bf16, several times as fast on a CPU with AMX; fp16, on CUDA and MPS only; auto is bf16 on CUDA and fp32
    elsewhere."""
    task: Task = "free-viewing"
    """What the viewers do: free-viewing takes the model named; driving takes the one for drivers' gaze beside it
    (sam-lite-driver for sam-lite)."""

    @property
    def chosen(self) -> str | Path:
        """The model for the task: a name or a path.

        Raises:
            ConfigError: there is none, see `for_task`.
        """
        return for_task(self.model, self.task)

    def load(self) -> SaliencyModel:
        """The model for the task.

        Raises:
            CheckpointError: as `load_model`.
            ConfigError: as `load_model`.
        """
        return load_model(self.chosen, device=self.device, precision=self.precision)


@dataclass(frozen=True)
class RecurrenceOptions:
    """What the model remembers from frame to frame."""

    state: Literal["carry", "reset"] = "carry"
    """carry goes on from the frame before and starts afresh at cuts; reset starts afresh at every frame, as the
    networks were published."""
    steps: int | None = None
    """Refinement steps a frame. With carry 1 (default: 1) to the model's own number T (4 for sam-resnet and sam-vgg, 3
    for sam-lite), which a frame that starts afresh always gets; with reset any number (default: T)."""
    every: int = 1
    """Run the model on every n-th frame only (and at cuts); the maps in between are interpolated in time."""

    def __post_init__(self) -> None:
        if self.state not in ("carry", "reset"):
            raise ConfigError(f"state must be carry or reset, got {self.state!r}")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"steps must be at least 1, got {self.steps}")
        if self.every < 1:
            raise ConfigError(f"every must be at least 1, got {self.every}")

    def steps_of(self, own: int) -> tuple[int, int]:
        """Steps on a frame that starts afresh, and on one that goes on from the frame before.

        Args:
            own: the model's own number T, `model.config.steps`.

        Raises:
            ConfigError: more than T steps are asked for with carry.

        Example:
            >>> RecurrenceOptions(state="carry").steps_of(4), RecurrenceOptions(state="reset").steps_of(4)
            ((4, 1), (4, 4))
        """
        if self.state == "reset":
            return self.steps or own, self.steps or own
        if self.steps is not None and self.steps > own:
            raise ConfigError(
                f"steps is {self.steps}; with state=carry it must be from 1 to {own}, the number of steps this model "
                f"was trained with. Take fewer, or state=reset, which takes any number"
            )
        return own, self.steps or 1


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and where."""

    output: Path | None = None
    """Folder for the results; default: beside the input (the working folder for cameras, streams and -)."""
    video: bool = True
    """Write the picture with the heatmap over it."""
    container: Literal["mp4", "mkv", "mov"] = "mp4"
    """Container of the written video; mkv is taken where the chosen one cannot hold a stream of the input."""
    table: str = "csv"
    """Table of numbers a frame: csv, parquet or jsonl beside the video, a path ending in one of these (a bare name
    lands beside the video too), or none."""
    maps: str | None = None
    """Also write the raw densities: mkv (lossless 16-bit grey video) or npz beside the video, or a path ending so."""
    overwrite: bool = False
    """Replace results that are already there; default: refuse, naming the file."""


@dataclass(frozen=True)
class RunOptions:
    """All options of `run`, stage by stage."""

    model: ModelOptions = field(default_factory=ModelOptions)
    """Which model."""
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    """How the source is read."""
    recurrence: RecurrenceOptions = field(default_factory=RecurrenceOptions)
    """What the model remembers."""
    cuts: CutOptions = field(default_factory=CutOptions)
    """How cuts are found."""
    smooth: SmoothOptions = field(default_factory=SmoothOptions)
    """How densities are steadied in time."""
    tracks: TrackOptions = field(default_factory=TrackOptions)
    """How the table's numbers are made."""
    render: RenderOptions = field(default_factory=RenderOptions)
    """How the heatmap is drawn."""
    video: VideoOptions = field(default_factory=VideoOptions)
    """How the video is encoded."""
    output: OutputOptions = field(default_factory=OutputOptions)
    """What is written, and where."""


@dataclass(frozen=True)
class Progress:
    """How far a run got."""

    frames: int
    """Frames written."""
    total: int | None
    """Frames expected, None where unknown."""
    pts_seconds: float
    """Presentation time of the last frame written."""
    seconds: float
    """Since the first frame was asked for."""
    cuts: int
    """Cuts so far."""


@dataclass(frozen=True)
class RunReport:
    """What a run did."""

    source: str
    """The input."""
    files: tuple[Path, ...]
    """Files written, under their final names (partial names where `interrupted`)."""
    frames: int
    """Frames written."""
    seconds: float
    """Wall time from the first frame to the finished files, without loading the model."""
    frames_per_second: float
    """Frames over seconds."""
    stage_frames_per_second: dict[str, float]
    """Frames over the seconds that each stage was at work: decode, cuts, preprocess, model, smooth, video (drawing
    and encoding), table, maps. The stages work side by side."""
    cuts: int
    """Cuts found."""
    skipped_corrupt: int
    """Pieces of the input that could not be decoded."""
    concealed: int
    """Frames that the decoder had to patch up."""
    mended_times: int
    """Frames whose damaged time was derived from their neighbours."""
    dropped_live: int
    """Frames of a live source dropped to keep up."""
    truncated: bool
    """The input ends before its header says."""
    missing_seconds: float
    """How much of it is missing."""
    messages: tuple[str, ...]
    """Everything a user should know about this run."""
    interrupted: bool
    """Ended early by Ctrl-C."""
    model: str
    """Name of the model."""
    device: str
    """Where it ran."""
    precision: str
    """What its weights and features were computed in: fp32, bf16 or fp16."""
    steps: tuple[int, int]
    """Refinement steps of a frame that starts afresh, and of one that goes on from the frame before."""
    options: dict[str, Any]
    """The resolved options, stage by stage."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = dataclasses.asdict(self)
        values["files"] = [str(path) for path in self.files]
        return values


class StageClock:
    """Adds up the seconds that each stage was at work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time spent inside towards `stage`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - begin)

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds towards `stage`."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


class VideoPredictor:
    """Frames of one video in, in order and in any batches; steadied densities out, each frame exactly once.

    Holds back frames only where options ask for it (`every` above 1, a smoother that looks ahead) and, with a model on
    CUDA, one batch: it is handed out when the next one has been queued, so that neither side waits for the other.

    `update` is `prepare`, `run_model` and `finish` in one; where several videos share a model, `vidsal.streams` calls
    the three by themselves.

    Example:
        >>> predictor = VideoPredictor(load_model("sam-lite", device="cpu"))
        >>> batch = FrameBatch(
        ...     index=np.arange(2), pts_seconds=np.array([0.0, 0.04]),
        ...     frames=np.zeros((2, 180, 320, 3), np.uint8), height=720, width=1280,
        ... )
        >>> predictor.update(batch)
        [SaliencyBatch(index=0..1, pts_seconds=0.000..0.040, log_density=(2, 180, 320), picture=720x1280)]
    """

    def __init__(
        self,
        model: SaliencyModel,
        *,
        recurrence: RecurrenceOptions | None = None,
        cuts: CutOptions | None = None,
        smooth: SmoothOptions | None = None,
        clock: StageClock | None = None,
    ) -> None:
        """Begin a video.

        Raises:
            ConfigError: more refinement steps are asked for than the model allows, see `RecurrenceOptions.steps`.
        """
        self.model = model
        self.recurrence = recurrence or RecurrenceOptions()
        self.clock = clock or StageClock()
        self.recurrence.steps_of(model.config.steps)
        self._cuts = CutDetector(cuts or CutOptions())
        self._smoother = Smoother(smooth or SmoothOptions())
        self._downloads = Downloads(model.device)
        self.reset()

    def reset(self) -> None:
        """Forget the video."""
        self._cuts.reset()
        self._smoother.reset()
        self._downloads.reset()
        self._state: SAMState | None = None
        self._shot = 0
        self._since_key = 0
        self._between = _Between()

    def update(self, batch: FrameBatch) -> list[SaliencyBatch]:
        """Take the next frames; returns what is ready, in order, on the CPU."""
        prepared = self.prepare(batch)
        (seen,) = run_model(self.model, [prepared], recurrence=self.recurrence, clocks=[self.clock])
        return self.finish(prepared, seen)

    def flush(self) -> list[SaliencyBatch]:
        """Return what was held back; call it once, at the end."""
        smoothed: list[SaliencyBatch] = []
        for held in self._between.flush():
            smoothed += self._smoother.update(held)
        return self._downloads.update(smoothed + self._smoother.flush()) + self._downloads.flush()

    def prepare(self, batch: FrameBatch) -> Prepared:
        """Find out what the model has to see of the next frames; `finish` has to follow before the next `prepare`."""
        with self.clock("cuts"):
            cut = self._cuts.update(batch.frames, batch.pts_seconds)
        shot = self._shot + np.cumsum(cut, dtype=np.int64)
        self._shot = int(shot[-1])
        keys = self._choose_keys(cut)
        carries = self.recurrence.state == "carry"
        fresh = [bool(cut[row]) or not carries for row in keys]
        if fresh and self._state is None:
            fresh[0] = True
        return Prepared(batch, shot, cut, tuple(keys), tuple(fresh), self._state)

    def finish(self, prepared: Prepared, seen: Seen | None) -> list[SaliencyBatch]:
        """Take what the model saw in the frames last prepared; returns what is ready, in order, on the CPU.

        Args:
            prepared: what `prepare` returned.
            seen: what `run_model` made of it; None where it has no keys.
        """
        if seen is not None:
            self._state = seen.state
        with self.clock("smooth"):
            self._smoother.watch(prepared.batch)
            smoothed: list[SaliencyBatch] = []
            for steady in self._between.update(prepared, None if seen is None else seen.log_density):
                smoothed += self._smoother.update(steady)
        # Where the copy of the batch before is waited for, it is the model that it waits for.
        with self.clock("model"):
            return self._downloads.update(smoothed)

    def _choose_keys(self, cut: npt.NDArray[np.bool_]) -> list[int]:
        """Which frames of the batch the model sees: every n-th, counted anew from each cut."""
        keys = []
        for row, is_cut in enumerate(cut):
            if is_cut or self._since_key == 0:
                keys.append(row)
                self._since_key = 0
            self._since_key = (self._since_key + 1) % self.recurrence.every
        return keys


@dataclass(frozen=True, eq=False)
class Prepared:
    """Consecutive frames of one video, with what the model has to see of them."""

    batch: FrameBatch
    """The frames."""
    shot: npt.NDArray[np.int64]
    """(B,), as in `SaliencyBatch`."""
    cut: npt.NDArray[np.bool_]
    """(B,), as in `SaliencyBatch`."""
    keys: tuple[int, ...]
    """Rows of the frames that the model has to see, rising; may be empty."""
    fresh: tuple[bool, ...]
    """For each key: does it start from the zero state?"""
    state: SAMState | None
    """What the model remembers of the video so far (one row); None at its start."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the model saw in the keys of a `Prepared`."""

    log_density: torch.Tensor
    """(keys, h, w) float32 over the picture, on the model's device."""
    state: SAMState
    """What the model remembers now (one row)."""


def run_model(
    model: SaliencyModel,
    pieces: Sequence[Prepared],
    *,
    recurrence: RecurrenceOptions,
    clocks: Sequence[StageClock],
) -> list[Seen | None]:
    """One call of the model for the next frames of several videos; what each gets does not depend on the others.

    On CUDA nothing waits for the device.

    Args:
        model: the model.
        pieces: the next frames of each video; pictures may differ in size and number.
        recurrence: the steps, the same for all.
        clocks: one a video: gets its share, by frames, of the seconds spent.

    Returns:
        What the model saw, one a piece; None for pieces without keys.
    """
    rows = [place for place, piece in enumerate(pieces) if piece.keys]
    results: list[Seen | None] = [None] * len(pieces)
    if not rows:
        return results
    shown, shared = [pieces[row] for row in rows], StageClock()
    with shared("preprocess"):
        pixels = _pixels(model, shown)
    with shared("model"):
        times = pixels.shape[1]
        lengths = [len(piece.keys) for piece in shown]
        fresh_steps, carry_steps = recurrence.steps_of(model.config.steps)
        log_density, state = model(
            pixels,
            _joined_states([piece.state for piece in shown]),
            fresh=[[*piece.fresh, *([False] * (times - len(piece.fresh)))] for piece in shown],
            fresh_steps=fresh_steps,
            carry_steps=carry_steps,
            lengths=lengths if min(lengths) < times else None,
        )
        for place, (row, piece) in enumerate(zip(rows, shown, strict=True)):
            part = log_density[place, : lengths[place]]
            part = model.preprocessor.to_picture(part, piece.batch.height, piece.batch.width)
            results[row] = Seen(part, state if len(rows) == 1 else state.row(place))
    for row, length in zip(rows, lengths, strict=True):
        for stage, seconds in shared.seconds.items():
            clocks[row].add(stage, seconds * length / sum(lengths))
    return results


def _pixels(model: SaliencyModel, pieces: Sequence[Prepared]) -> torch.Tensor:
    """The keys as model input, (B, T, 3, H, W), each video's filled up with zeros to the longest."""
    rows = [model.preprocessor(piece.batch.frames[list(piece.keys)], device=model.device) for piece in pieces]
    longest = max(map(len, rows))
    filled = [row if len(row) == longest else F.pad(row, (0, 0, 0, 0, 0, 0, 0, longest - len(row))) for row in rows]
    return filled[0][None] if len(filled) == 1 else torch.stack(filled)


def _joined_states(states: Sequence[SAMState | None]) -> SAMState | None:
    """One state of all videos; zeros for those that begin, which nobody looks at."""
    known = next((state for state in states if state is not None), None)
    if known is None or len(states) == 1:
        return known
    zeros = known.map(torch.zeros_like)
    return SAMState.join([zeros if state is None else state for state in states])


class Downloads:
    """Batches on a device in, the same batches on the CPU out, without anybody waiting for the device in between.

    What comes from CUDA is copied into page-locked memory behind the device's other work and handed out by the next
    `update`, when its copy has long been made. What lies on the CPU passes through untouched.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        begin_copy: Callable[[torch.Tensor], tuple[torch.Tensor, Callable[[], None]]] | None = None,
    ) -> None:
        """Begin with nothing held back.

        Args:
            device: where the batches come from.
            begin_copy: begins to copy a tensor; returns the copy, and what waits until it is filled. None: CUDA's own
                for a CUDA device, else nothing is held back.
        """
        self._begin_copy = begin_copy or (_begin_copy_from_cuda if device.type == "cuda" else None)
        self.reset()

    def reset(self) -> None:
        """Forget what is held back."""
        self._held: list[tuple[SaliencyBatch, Callable[[], None]]] = []

    def update(self, batches: Sequence[SaliencyBatch]) -> list[SaliencyBatch]:
        """Queue the next batches; returns those queued by the call before."""
        if self._begin_copy is None:
            return [_on_the_cpu(batch) for batch in batches]
        queued = []
        for batch in batches:
            copy, wait = self._begin_copy(batch.log_density)
            queued.append((dataclasses.replace(batch, log_density=copy), wait))
        ready = self.flush()
        self._held = queued
        return ready

    def flush(self) -> list[SaliencyBatch]:
        """Return what is held back."""
        held, self._held = self._held, []
        for _, wait in held:
            wait()
        return [batch for batch, _ in held]


def _begin_copy_from_cuda(source: torch.Tensor) -> tuple[torch.Tensor, Callable[[], None]]:
    target = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
    target.copy_(source, non_blocking=True)
    # Without `blocking` the waiting thread would keep a core busy.
    done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    done.record(torch.cuda.current_stream(source.device))
    return target, done.synchronize


def _on_the_cpu(batch: SaliencyBatch) -> SaliencyBatch:
    if batch.log_density.device.type == "cpu":
        return batch
    return dataclasses.replace(batch, log_density=batch.log_density.cpu())


@dataclass(frozen=True, eq=False)
class _Waiting:
    """One frame that waits for the next key."""

    index: np.int64
    pts_seconds: np.float64
    shot: np.int64
    cut: np.bool_
    picture: Picture | None
    height: int
    width: int


class _Between:
    """Gives frames between two keys a density interpolated linearly in time; holds it before a cut or the end."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._key: tuple[float, torch.Tensor] | None = None

    def update(self, piece: Prepared, log_density: torch.Tensor | None) -> list[SaliencyBatch]:
        if len(piece.keys) == len(piece.batch) and not self._waiting and log_density is not None:
            self._key = float(piece.batch.pts_seconds[-1]), log_density[-1]
            return [_saliency(piece, log_density)]
        done: list[tuple[_Waiting, torch.Tensor]] = []
        rows = {row: place for place, row in enumerate(piece.keys)}
        for row in range(len(piece.batch)):
            frame = _frame_of(piece, row)
            if row not in rows or log_density is None:
                self._waiting.append(frame)
                continue
            density = log_density[rows[row]]
            now = float(frame.pts_seconds)
            done += self._release(None if frame.cut else (now, density))
            done.append((frame, density))
            self._key = now, density
        return [_joined(done)] if done else []

    def flush(self) -> list[SaliencyBatch]:
        done = self._release(None)
        return [_joined(done)] if done else []

    def _release(self, following: tuple[float, torch.Tensor] | None) -> list[tuple[_Waiting, torch.Tensor]]:
        released = []
        for frame in self._waiting:
            # Frames only wait after a key: the first frame of all is one.
            before, log_density = self._key or (0.0, torch.empty(0))
            if following is not None and following[0] > before:
                share = (float(frame.pts_seconds) - before) / (following[0] - before)
                share = min(max(share, 0.0), 1.0)
                mixed = (1 - share) * log_density.exp() + share * following[1].exp()
                log_density = mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log()
            released.append((frame, log_density))
        self._waiting = []
        return released


def _frame_of(piece: Prepared, row: int) -> _Waiting:
    batch = piece.batch
    return _Waiting(
        index=batch.index[row],
        pts_seconds=batch.pts_seconds[row],
        shot=piece.shot[row],
        cut=piece.cut[row],
        picture=batch.pictures[row] if batch.pictures else None,
        height=batch.height,
        width=batch.width,
    )


def _saliency(piece: Prepared, log_density: torch.Tensor) -> SaliencyBatch:
    batch = piece.batch
    return SaliencyBatch(
        index=batch.index,
        pts_seconds=batch.pts_seconds,
        shot=piece.shot,
        cut=piece.cut,
        log_density=log_density,
        height=batch.height,
        width=batch.width,
        pictures=batch.pictures,
    )


def _joined(done: list[tuple[_Waiting, torch.Tensor]]) -> SaliencyBatch:
    frames = [frame for frame, _ in done]
    return SaliencyBatch(
        index=np.array([frame.index for frame in frames], np.int64),
        pts_seconds=np.array([frame.pts_seconds for frame in frames], np.float64),
        shot=np.array([frame.shot for frame in frames], np.int64),
        cut=np.array([frame.cut for frame in frames], np.bool_),
        log_density=torch.stack([log_density for _, log_density in done]),
        height=frames[0].height,
        width=frames[0].width,
        pictures=tuple(frame.picture for frame in frames if frame.picture is not None),
    )


def predict(
    frames: Iterable[FrameBatch],
    model: SaliencyModel | str | Path = "sam-lite",
    *,
    recurrence: RecurrenceOptions | None = None,
    cuts: CutOptions | None = None,
    smooth: SmoothOptions | None = None,
    clock: StageClock | None = None,
) -> Iterator[SaliencyBatch]:
    """Predict densities of one video, frame batch by frame batch.

    Args:
        frames: consecutive frames, as `open_video` gives them. Frames of any size are taken; the reader is quickest
            when it is asked for `model.preprocessor.frame_size`.
        model: a loaded model, or what `load_model` takes.
        recurrence: what the model remembers; None takes the defaults.
        cuts: how cuts are found; None takes the defaults.
        smooth: how densities are steadied in time; None takes the defaults.
        clock: adds up the seconds a stage.

    Yields:
        The frames' densities, every frame once, in order, on the CPU whatever the model's device. Batches may be
        grouped differently from those that came in.

    Raises:
        DecodeError: from the reader, where it stands in the video.
        CheckpointError: if the model cannot be loaded.
        ConfigError: more refinement steps are asked for than the model allows, see `RecurrenceOptions.steps`.

    Example:
        >>> clip = [FrameBatch(
        ...     index=np.arange(3), pts_seconds=np.arange(3) / 25,
        ...     frames=np.zeros((3, 240, 320, 3), np.uint8), height=480, width=640,
        ... )]
        >>> [batch.density.shape for batch in predict(clip, "sam-lite")]
        [torch.Size([3, 240, 320])]
    """
    loaded = load_model(model) if isinstance(model, (str, Path)) else model
    predictor = VideoPredictor(loaded, recurrence=recurrence, cuts=cuts, smooth=smooth, clock=clock)
    for batch in frames:
        yield from predictor.update(batch)
    yield from predictor.flush()


def run(
    source: str | Path | int,
    *,
    options: RunOptions | None = None,
    model: SaliencyModel | None = None,
    sinks: Iterable[Sink] = (),
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> RunReport:
    """Predict a source and write the results.

    Args:
        source: a video file, an image, a folder of images, a camera's index, an address (rtsp, http), or "-".
        options: all options; None takes the defaults.
        model: a model already loaded, in place of `options.model` (for many runs).
        sinks: further sinks to feed, entered and left by this function.
        on_progress: called after every batch, in the calling thread.
        should_stop: asked after every batch; True ends the run as Ctrl-C does.

    Returns:
        What was done. Ctrl-C does not raise: what was written is closed cleanly under partial names and
        `interrupted` is set. A live source has no end of its own, so there it simply finishes the files.

    Raises:
        DecodeError, EncodeError, CheckpointError, ConfigError: see their docstrings. Nothing is left that looks whole.
    """
    options = options or RunOptions()
    loaded = model or options.model.load()
    job = Job(source, options=options, model=loaded, sinks=sinks)
    with job.opened() as reader:
        try:
            with job.files:
                try:
                    _work(job, reader, on_progress, should_stop)
                except KeyboardInterrupt:
                    if not job.may_end_here:
                        raise
        except KeyboardInterrupt:
            job.interrupted = True
        return job.report()


class Job:
    """One source on its way to its files: opened, read, written, left, reported. For the pipes of this package."""

    def __init__(
        self,
        source: str | Path | int,
        *,
        options: RunOptions,
        model: SaliencyModel,
        sinks: Iterable[Sink] = (),
        side_by_side: int = 1,
    ) -> None:
        """Plan a run; nothing is opened yet.

        Args:
            source: as for `run`.
            options: all options; those of the model are not looked at.
            model: the loaded model.
            sinks: further sinks.
            side_by_side: runs that share the machine with this one, itself included.

        Raises:
            ConfigError: more refinement steps are asked for than the model allows.
        """
        options.recurrence.steps_of(model.config.steps)
        self.source = source
        self.options = options
        self.model = model
        self.clock = StageClock()
        self.frames = 0
        """Frames written."""
        self.cuts = 0
        """Cuts among them."""
        self.total: int | None = None
        """Frames expected, None where unknown."""
        self.interrupted = False
        """To be set where the run ended early by the user's wish."""
        self.files = contextlib.ExitStack()
        """The sinks, entered; to be left when the last frame is written, or with the error that kept it from coming."""
        self._begin = time.perf_counter()
        self._further = tuple(sinks)
        self._side_by_side = side_by_side
        self._own: list[_FileSink] = []
        self._reader: Reader | None = None

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Hold the source open; its sinks are entered, and left by leaving `files`, which is up to the caller.

        Raises:
            DecodeError, EncodeError, ConfigError: the source cannot be opened, or a result not written.
        """
        self._begin = time.perf_counter()
        with open_video(
            self.source,
            options=self.options.decode,
            size=self.model.preprocessor.frame_size,
            keep_pictures=self.options.output.video,
        ) as reader:
            self._own = _make_sinks(reader.info, self.options, self.model.device, side_by_side=self._side_by_side)
            self._sinks = (*self._own, *self._further)
            if not self._sinks:
                raise ConfigError("nothing to write: video, table and maps are all switched off")
            with contextlib.ExitStack() as entered:
                for sink in self._sinks:
                    entered.enter_context(sink)
                self.files = entered.pop_all()
            self.total = _expected_frames(reader.info, self.options.decode)
            self._reader = reader
            yield reader

    @property
    def is_open(self) -> bool:
        """Whether source and files could be opened; stays True once they are closed."""
        return self._reader is not None

    @property
    def may_end_here(self) -> bool:
        """A live source has no end of its own: stopping it is how it ends."""
        return self._reader is not None and self._reader.info.live and self.frames > 0

    def write(self, batch: SaliencyBatch) -> Progress:
        """Hand the next frames to all sinks; returns how far the run is."""
        for sink in self._sinks:
            with self.clock(type(sink).__name__.removesuffix("Sink").lower()):
                sink.write(batch)
        self.frames += len(batch)
        self.cuts += int(batch.cut.sum())
        return Progress(
            frames=self.frames,
            total=self.total,
            pts_seconds=float(batch.pts_seconds[-1]),
            seconds=time.perf_counter() - self._begin,
            cuts=self.cuts,
        )

    def report(self) -> RunReport:
        """What was done; `files` has to be left before.

        Raises:
            DecodeError: not one frame came.
        """
        reader = self._reader
        if reader is None or (self.frames == 0 and not self.interrupted):
            raise DecodeError(f"{self.source}: not one frame could be decoded")
        counts, written = reader.report, [s.partial_path if self.interrupted else s.path for s in self._own]
        if reader.info.kind == "stream" and self.options.output.video and self.options.video.keep_streams:
            counts.say(f"sound and subtitles are not copied: {reader.info.source} can be read only once")
        seconds = time.perf_counter() - self._begin
        return RunReport(
            source=reader.info.source,
            files=tuple(path for path in written if path.exists()),
            frames=self.frames,
            seconds=seconds,
            frames_per_second=self.frames / seconds,
            stage_frames_per_second={stage: self.frames / t for stage, t in self.clock.seconds.items() if t > 0},
            cuts=self.cuts,
            skipped_corrupt=counts.skipped_corrupt,
            concealed=counts.concealed,
            mended_times=counts.mended_times,
            dropped_live=counts.dropped_live,
            truncated=counts.truncated,
            missing_seconds=counts.missing_seconds,
            messages=(*counts.messages, *self.model.notes, *(text for sink in self._own for text in sink.messages)),
            interrupted=self.interrupted,
            model=self.model.card.name,
            device=str(self.model.device),
            precision=self.model.precision,
            steps=self.options.recurrence.steps_of(self.model.config.steps),
            options=_plain(self.options),
        )


def _work(
    job: Job,
    reader: Reader,
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> None:
    """Move everything from reader to sinks: decoding and prediction each in a thread, sinks in the caller's."""
    options = job.options
    with prefetch(reader, name="vidsal-decode") as batches:
        predicted = predict(
            batches,
            job.model,
            recurrence=options.recurrence,
            cuts=options.cuts,
            smooth=options.smooth,
            clock=job.clock,
        )
        with prefetch(predicted, name="vidsal-predict") as results:
            for batch in results:
                progress = job.write(batch)
                if on_progress:
                    on_progress(progress)
                if should_stop and should_stop():
                    raise KeyboardInterrupt
        job.clock.add("decode", batches.busy_seconds)


def _expected_frames(info: VideoInfo, options: DecodeOptions) -> int | None:
    """How many frames the part of the source that is read should have; None where nobody can say."""
    if options.start_seconds == 0 and options.end_seconds is None:
        return info.frame_count
    if info.rate is None or info.duration_seconds is None:
        return None
    end = min(info.duration_seconds, options.end_seconds or info.duration_seconds)
    return max(1, round((end - options.start_seconds) * info.rate))


def shared_video_options(video: VideoOptions, device: torch.device, *, side_by_side: int = 1) -> VideoOptions:
    """The options as `run` hands them to each of `side_by_side` encoders.

    Beside a model on the CPU the encoders share half of the cores, each gets at least one, unless their threads were
    chosen: more would only take turns with the model's. Beside a GPU several encoders share all cores.
    """
    if (device.type != "cpu" and side_by_side == 1) or video.encoder_threads:
        return video
    cores = usable_cores() if device.type != "cpu" else usable_cores() // 2
    return dataclasses.replace(video, encoder_threads=max(1, cores // side_by_side))


_FileSink = VideoSink | ImageSink | TableSink | MapsSink


def _make_sinks(info: VideoInfo, options: RunOptions, device: torch.device, *, side_by_side: int) -> list[_FileSink]:
    """The files that the options ask for; refuses what is already there before anything is decoded."""
    wanted = options.output
    folder, stem = _where(info, wanted.output)
    table = _target(wanted.table, folder / f"{stem}.vidsal", ("csv", "parquet", "jsonl"), "table")
    maps = _target(wanted.maps, folder / f"{stem}.vidsal.maps", ("mkv", "npz"), "maps")
    # Tried first and asked about afterwards: another run may make it meanwhile.
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise EncodeError(f"{folder} is a file, expected a folder for the results") from error
    except OSError as error:
        raise EncodeError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise EncodeError(f"cannot write into {folder}: choose another folder with --output")
    sinks: list[_FileSink] = []
    if wanted.video and info.kind == "image":
        sinks.append(
            ImageSink(
                folder / f"{stem}.vidsal.png", render=options.render, overwrite=wanted.overwrite, source=info.path
            )
        )
    elif wanted.video:
        sinks.append(
            VideoSink(
                folder / f"{stem}.vidsal.{wanted.container}",
                info,
                video=shared_video_options(options.video, device, side_by_side=side_by_side),
                render=options.render,
                overwrite=wanted.overwrite,
                start_seconds=options.decode.start_seconds,
                end_seconds=options.decode.end_seconds,
                device=device,
            )
        )
    if table is not None:
        sinks.append(TableSink(table, Tracker(options.tracks), overwrite=wanted.overwrite))
    if maps is not None:
        sinks.append(MapsSink(maps, info, overwrite=wanted.overwrite))
    return sinks


def _where(info: VideoInfo, output: Path | None) -> tuple[Path, str]:
    """The folder for the results and the first part of their names."""
    if info.path is not None:
        path = info.path.absolute()
        return (output or path.parent), (path.name if path.is_dir() else path.stem)
    name = Path(info.source.split("?")[0].rstrip("/")).stem
    return (output or Path.cwd()), re.sub(r"[^\w.-]+", "-", name) or "stream"


def _target(wanted: str | None, base: Path, kinds: tuple[str, ...], what: str) -> Path | None:
    """The path of a table or of maps, from a format's name or a path."""
    if wanted is None or wanted == "none":
        return None
    if wanted in kinds:
        return base.with_name(f"{base.name}.{wanted}")
    path = Path(wanted)
    if path.suffix.lower().removeprefix(".") in kinds:
        # A bare name belongs beside the other results; a path says itself where it leads.
        return path if path.is_absolute() or len(path.parts) > 1 else base.with_name(path.name)
    raise ConfigError(f"{what} must be {', '.join(kinds)}, a path ending in one of these, or none; got {wanted!r}")


def _plain(options: RunOptions) -> dict[str, Any]:
    """The options as values JSON can hold."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)

    values: dict[str, Any] = plain(dataclasses.asdict(options))
    return values
