"""A source in, files and a report out: `run`, and `Job`, which is one run step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsal.addresses import hide_secrets
from vidsal.decode import DecodeOptions, Reader, VideoInfo, open_video
from vidsal.errors import ConfigError, DecodeError, Stopped
from vidsal.frames import SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.options import RunOptions
from vidsal.pipe.outputs import make_sinks
from vidsal.pipe.predict import StageClock, predict
from vidsal.prefetch import prefetch
from vidsal.sinks import Sink
from vidsal.sinks.contract import FileSink, finish_together

__all__ = ["Job", "Progress", "RunReport", "run"]


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
    deinterlaced: int
    """Interlaced frames that became whole pictures."""
    mended_times: int
    """Frames with an impossible time, replaced by one counted from the frame before."""
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
    with job.opened() as reader, job.writing(), prefetch(reader, name="vidsal-decode") as batches:
        predicted = predict(batches, loaded, options.prediction, clock=job.clock)
        with prefetch(predicted, name="vidsal-predict") as results:
            for batch in results:
                progress = job.write(batch)
                if on_progress:
                    on_progress(progress)
                if should_stop and should_stop():
                    raise Stopped
        job.clock.add("decode", batches.busy_seconds)
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
            options: all options; those of the model are ignored.
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
        """Whether the user stopped the run."""
        self._begin = time.perf_counter()
        self._further = tuple(sinks)
        self._side_by_side = side_by_side
        self._own: list[FileSink] = []
        self._files_entered = contextlib.ExitStack()
        self._others_entered = contextlib.ExitStack()
        self._reader: Reader | None = None

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Hold the source open, with its sinks entered; the caller leaves them by `writing`, maybe in another thread.

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
            self._own = make_sinks(reader.info, self.options, self.model.device, side_by_side=self._side_by_side)
            self._sinks = (*self._own, *self._further)
            if not self._sinks:
                raise ConfigError("nothing to write: video, table and maps are all switched off")
            with contextlib.ExitStack() as files, contextlib.ExitStack() as others:
                for sink in self._sinks:
                    (files if isinstance(sink, FileSink) else others).enter_context(sink)
                self._files_entered, self._others_entered = files.pop_all(), others.pop_all()
            self.total = _expected_frames(reader.info, self.options.decode)
            self._reader = reader
            yield reader

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Leave the sinks as the block ends: all whole at its end, all partial with an error, theirs included.

        `Stopped` and Ctrl-C go no further: the sinks are left partial and `interrupted` is set. A live source has no
        end of its own: stopping it is how it ends.
        """
        try:
            # Sinks of other kinds cannot take back what they have finished: the files get their names after them.
            with self._files_entered:
                with self._others_entered:
                    try:
                        yield
                    except (Stopped, KeyboardInterrupt):
                        if self._reader is None or not self._reader.info.live or not self.frames:
                            raise
                finish_together([sink for sink in self._sinks if isinstance(sink, FileSink)])
        except (Stopped, KeyboardInterrupt):
            self.interrupted = True

    @property
    def is_open(self) -> bool:
        """Whether source and files could be opened; stays True once they are closed."""
        return self._reader is not None

    def write(self, batch: SaliencyBatch) -> Progress:
        """Write the next frames to all sinks; returns how far the run is."""
        for sink in self._sinks:
            with self.clock(sink.stage if isinstance(sink, FileSink) else type(sink).__name__.lower()):
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
        """What was done; `writing` has to be left before.

        Raises:
            DecodeError: not one frame came.
        """
        reader = self._reader
        if reader is None or (self.frames == 0 and not self.interrupted):
            raise DecodeError(f"{hide_secrets(self.source)}: not one frame could be decoded")
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
            deinterlaced=counts.deinterlaced,
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
            options=dataclasses.asdict(self.options, dict_factory=_plain),
        )


def _expected_frames(info: VideoInfo, options: DecodeOptions) -> int | None:
    """How many frames the part of the source that is read should have; None where unknown."""
    if options.start_seconds == 0 and options.end_seconds is None:
        return info.frame_count
    if info.rate is None or info.duration_seconds is None:
        return None
    end = min(info.duration_seconds, options.end_seconds or info.duration_seconds)
    return max(1, round((end - options.start_seconds) * info.rate))


def _plain(options: list[tuple[str, Any]]) -> dict[str, Any]:
    """Options as values JSON can hold."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in options}
