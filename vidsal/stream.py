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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from vidsal.decode import DecodeOptions, Reader, VideoInfo, open_video
from vidsal.errors import ConfigError, DecodeError, EncodeError
from vidsal.frames import FrameBatch, Picture, SaliencyBatch
from vidsal.model.checkpoint import Precision, SaliencyModel, load_model
from vidsal.model.recurrent import SAMState
from vidsal.prefetch import prefetch, usable_cores
from vidsal.render import RenderOptions
from vidsal.shots import CutDetector, CutOptions
from vidsal.sinks import ImageSink, MapsSink, Sink, TableSink, VideoOptions, VideoSink
from vidsal.smooth import Smoother, SmoothOptions

__all__ = [
    "ModelOptions",
    "OutputOptions",
    "Progress",
    "RecurrenceOptions",
    "RunOptions",
    "RunReport",
    "StageClock",
    "VideoPredictor",
    "predict",
    "run",
    "shared_video_options",
]


@dataclass(frozen=True)
class ModelOptions:
    """Which model, where, how exact."""

    model: str = "sam-lite"
    """Name of a preset with weights (sam-lite), or path of a vidsal checkpoint (.safetensors)."""
    device: str = "auto"
    """auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:N or mps."""
    precision: Precision = "auto"
    """fp32; bf16; auto is bf16 on CUDA and fp32 elsewhere."""


@dataclass(frozen=True)
class RecurrenceOptions:
    """What the model remembers from frame to frame."""

    state: Literal["carry", "reset"] = "carry"
    """carry goes on from the frame before and starts afresh at cuts; reset starts afresh at every frame."""
    steps: int | None = None
    """Refinement steps a frame; default: 1 with carry, the model's own number (3 for sam-lite) with reset. A frame
    that starts afresh always gets at least the model's own number."""
    every: int = 1
    """Run the model on every n-th frame only (and at cuts); the maps in between are interpolated in time."""

    def __post_init__(self) -> None:
        if self.state not in ("carry", "reset"):
            raise ConfigError(f"state must be carry or reset, got {self.state!r}")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"steps must be at least 1, got {self.steps}")
        if self.every < 1:
            raise ConfigError(f"every must be at least 1, got {self.every}")


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

    Holds back frames only where options ask for it (`every` above 1, a smoother that looks ahead).

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
        self.model = model
        self.recurrence = recurrence or RecurrenceOptions()
        self._cuts = CutDetector(cuts or CutOptions())
        self._smoother = Smoother(smooth or SmoothOptions())
        self._clock = clock or StageClock()
        own = model.config.steps
        steps = self.recurrence.steps
        self._carry_steps = steps or 1
        self._fresh_steps = (steps or own) if self.recurrence.state == "reset" else max(own, steps or 1)
        self.reset()

    def reset(self) -> None:
        """Forget the video."""
        self._cuts.reset()
        self._smoother.reset()
        self._state: SAMState | None = None
        self._shot = 0
        self._since_key = 0
        self._between = _Between()

    def update(self, batch: FrameBatch) -> list[SaliencyBatch]:
        """Take the next frames; returns what is ready, in order."""
        with self._clock("cuts"):
            cut = self._cuts.update(batch.frames, batch.pts_seconds)
        shot = self._shot + np.cumsum(cut, dtype=np.int64)
        self._shot = int(shot[-1])
        keys = self._choose_keys(cut)
        log_density = self._infer(batch, cut, keys) if keys else None
        ready = self._between.update(_Piece(batch, shot, cut), keys, log_density)
        with self._clock("smooth"):
            smoothed: list[SaliencyBatch] = []
            for steady in ready:
                smoothed += self._smoother.update(steady)
        return smoothed

    def flush(self) -> list[SaliencyBatch]:
        """Return what was held back; call it once, at the end."""
        smoothed: list[SaliencyBatch] = []
        for held in self._between.flush():
            smoothed += self._smoother.update(held)
        return smoothed + self._smoother.flush()

    def _choose_keys(self, cut: npt.NDArray[np.bool_]) -> list[int]:
        """Which frames of the batch the model sees: every n-th, counted anew from each cut."""
        keys = []
        for row, is_cut in enumerate(cut):
            if is_cut or self._since_key == 0:
                keys.append(row)
                self._since_key = 0
            self._since_key = (self._since_key + 1) % self.recurrence.every
        return keys

    def _infer(self, batch: FrameBatch, cut: npt.NDArray[np.bool_], keys: list[int]) -> torch.Tensor:
        preprocessor = self.model.preprocessor
        with self._clock("preprocess"):
            pixels = preprocessor(batch.frames[keys], device=self.model.device)
        with self._clock("model"):
            carries = self.recurrence.state == "carry"
            fresh = [bool(cut[row]) or not carries for row in keys]
            if self._state is None:
                fresh[0] = True
            log_density, state = self.model(
                pixels[None],
                self._state,
                fresh=[fresh],
                fresh_steps=self._fresh_steps,
                carry_steps=self._carry_steps,
            )
            self._state = state
            return preprocessor.to_picture(log_density[0], batch.height, batch.width)


@dataclass(frozen=True, eq=False)
class _Piece:
    """Frames with their shots, before they have densities."""

    batch: FrameBatch
    shot: npt.NDArray[np.int64]
    cut: npt.NDArray[np.bool_]


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

    def update(self, piece: _Piece, keys: list[int], log_density: torch.Tensor | None) -> list[SaliencyBatch]:
        if len(keys) == len(piece.batch) and not self._waiting and log_density is not None:
            self._key = float(piece.batch.pts_seconds[-1]), log_density[-1]
            return [_saliency(piece, log_density)]
        done: list[tuple[_Waiting, torch.Tensor]] = []
        rows = {row: place for place, row in enumerate(keys)}
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


def _frame_of(piece: _Piece, row: int) -> _Waiting:
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


def _saliency(piece: _Piece, log_density: torch.Tensor) -> SaliencyBatch:
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
        The frames' densities, every frame once, in order. Batches may be grouped differently from those that came in.

    Raises:
        DecodeError: from the reader, where it stands in the video.
        CheckpointError: if the model cannot be loaded.

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
    loaded = model or load_model(options.model.model, device=options.model.device, precision=options.model.precision)
    clock = StageClock()
    begin = time.perf_counter()
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(
            open_video(
                source,
                options=options.decode,
                size=loaded.preprocessor.frame_size,
                keep_pictures=options.output.video,
            )
        )
        files = _make_sinks(reader.info, options, shared_video_options(options.video, loaded.device))
        further = tuple(sinks)
        if not files and not further:
            raise ConfigError("nothing to write: video, table and maps are all switched off")
        done = _Done()
        try:
            with contextlib.ExitStack() as open_sinks:
                everything = [open_sinks.enter_context(sink) for sink in (*files, *further)]
                pump = _Pump(reader, loaded, everything, options, clock, done)
                try:
                    pump.work(on_progress, should_stop)
                except KeyboardInterrupt:
                    # A live source has no end of its own: stopping it is how it ends.
                    if not (reader.info.live and done.frames):
                        raise
        except KeyboardInterrupt:
            done.interrupted = True
        if done.frames == 0 and not done.interrupted:
            raise DecodeError(f"{reader.info.source}: not one frame could be decoded")
        report = reader.report
        if reader.info.kind == "stream" and options.output.video and options.video.keep_streams:
            report.say(f"sound and subtitles are not copied: {reader.info.source} can be read only once")
    seconds = time.perf_counter() - begin
    messages = [*report.messages, *(text for sink in files for text in sink.messages)]
    return RunReport(
        source=reader.info.source,
        files=tuple(path for sink in files if (path := sink.partial_path if done.interrupted else sink.path).exists()),
        frames=done.frames,
        seconds=seconds,
        frames_per_second=done.frames / seconds,
        stage_frames_per_second={stage: done.frames / spent for stage, spent in clock.seconds.items() if spent > 0},
        cuts=done.cuts,
        skipped_corrupt=report.skipped_corrupt,
        concealed=report.concealed,
        mended_times=report.mended_times,
        dropped_live=report.dropped_live,
        truncated=report.truncated,
        missing_seconds=report.missing_seconds,
        messages=tuple(messages),
        interrupted=done.interrupted,
        model=loaded.card.name,
        device=str(loaded.device),
        options=_plain(options),
    )


@dataclass
class _Done:
    frames: int = 0
    cuts: int = 0
    interrupted: bool = False


@dataclass(frozen=True)
class _Pump:
    """Moves everything from reader to sinks: decoding and prediction each in a thread, sinks in the caller's."""

    reader: Reader
    model: SaliencyModel
    sinks: list[Sink]
    options: RunOptions
    clock: StageClock
    done: _Done

    def work(self, on_progress: Callable[[Progress], None] | None, should_stop: Callable[[], bool] | None) -> None:
        begin = time.perf_counter()
        options = self.options
        total = _expected_frames(self.reader.info, options.decode)
        with prefetch(self.reader, name="vidsal-decode") as batches:
            predicted = predict(
                batches,
                self.model,
                recurrence=options.recurrence,
                cuts=options.cuts,
                smooth=options.smooth,
                clock=self.clock,
            )
            with prefetch(predicted, name="vidsal-predict") as results:
                for batch in results:
                    self._write(batch)
                    if on_progress:
                        on_progress(
                            Progress(
                                frames=self.done.frames,
                                total=total,
                                pts_seconds=float(batch.pts_seconds[-1]),
                                seconds=time.perf_counter() - begin,
                                cuts=self.done.cuts,
                            )
                        )
                    if should_stop and should_stop():
                        raise KeyboardInterrupt
            self.clock.add("decode", batches.busy_seconds)

    def _write(self, batch: SaliencyBatch) -> None:
        for sink in self.sinks:
            with self.clock(type(sink).__name__.removesuffix("Sink").lower()):
                sink.write(batch)
        self.done.frames += len(batch)
        self.done.cuts += int(batch.cut.sum())


def _expected_frames(info: VideoInfo, options: DecodeOptions) -> int | None:
    """How many frames the part of the source that is read should have; None where nobody can say."""
    if options.start_seconds == 0 and options.end_seconds is None:
        return info.frame_count
    if info.rate is None or info.duration_seconds is None:
        return None
    end = min(info.duration_seconds, options.end_seconds or info.duration_seconds)
    return max(1, round((end - options.start_seconds) * info.rate))


def shared_video_options(video: VideoOptions, device: torch.device) -> VideoOptions:
    """The options as `run` hands them to the encoder.

    Beside a model on the CPU the encoder gets half of the cores, at least one, unless its threads were chosen: more
    would only take turns with the model's.
    """
    if device.type != "cpu" or video.encoder_threads:
        return video
    return dataclasses.replace(video, encoder_threads=max(1, usable_cores() // 2))


def _make_sinks(
    info: VideoInfo, options: RunOptions, video: VideoOptions
) -> list[VideoSink | ImageSink | TableSink | MapsSink]:
    """The files that the options ask for; refuses what is already there before anything is decoded."""
    wanted = options.output
    folder, stem = _where(info, wanted.output)
    table = _target(wanted.table, folder / f"{stem}.vidsal", ("csv", "parquet", "jsonl"), "table")
    maps = _target(wanted.maps, folder / f"{stem}.vidsal.maps", ("mkv", "npz"), "maps")
    if not folder.is_dir():
        if folder.exists():
            raise EncodeError(f"{folder} is a file, expected a folder for the results")
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise EncodeError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise EncodeError(f"cannot write into {folder}: choose another folder with --output")
    sinks: list[VideoSink | ImageSink | TableSink | MapsSink] = []
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
                video=video,
                render=options.render,
                overwrite=wanted.overwrite,
                start_seconds=options.decode.start_seconds,
                end_seconds=options.decode.end_seconds,
            )
        )
    if table is not None:
        sinks.append(TableSink(table, overwrite=wanted.overwrite))
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
