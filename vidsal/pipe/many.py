"""Several videos in, side by side in one batch of the model; densities out (`predict_streams`), or files (`run_many`).

`run_jobs` does what `run_many` does for jobs that are not all known at the beginning.

Each video has a lane: its own cuts, state and smoothing, and the maps that it gets alone. When a video ends, the next
one takes its lane.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Unpack

from vidsal.addresses import hide_secrets
from vidsal.errors import ConfigError, ExistsError, Setting, Stopped
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel, load_model
from vidsal.pipe.options import PredictOptions, RecurrenceOptions, RunOptions, StageOptions
from vidsal.pipe.places import places_of
from vidsal.pipe.predict import Prepared, Seen, StageClock, VideoPredictor, run_model
from vidsal.pipe.run import Job, Progress, RunReport
from vidsal.prefetch import Prefetched, prefetch

__all__ = ["ManyProgress", "RunOutcome", "StreamBatch", "StreamEnd", "predict_streams", "run_jobs", "run_many"]


@dataclass(frozen=True, eq=False)
class StreamBatch:
    """Densities of consecutive frames of one of several videos."""

    stream: int
    """Which video: its ordinal among those given, from 0."""
    batch: SaliencyBatch
    """The densities."""


@dataclass(frozen=True, eq=False)
class StreamEnd:
    """The end of one of several videos."""

    stream: int
    """Which video: its ordinal among those given, from 0."""
    error: Exception | None = None
    """What its reader, its cuts or its smoothing raised, whatever it was; None where it was read to its end."""


def predict_streams(
    streams: Iterable[Iterable[FrameBatch]],
    model: SaliencyModel | str | Path = "sam-lite",
    options: PredictOptions | None = None,
    *,
    side_by_side: int = 8,
    clock: StageClock | Callable[[int], StageClock] | None = None,
    **stages: Unpack[StageOptions],
) -> Iterator[StreamBatch | StreamEnd]:
    """Predict densities of several videos, up to `side_by_side` of them in one call of the model.

    In each round every running video gives its next batch of frames, so the slowest reader sets the pace, and
    batches of one length waste nothing: read all of them with the same `batch_size`.

    Args:
        streams: the videos, each as `predict` takes one; their pictures may differ in size. A video is asked for when
            there is a place for it, and iterated in the calling thread: wrap its reader in `prefetch` to decode ahead.
        model: a loaded model, or what `load_model` takes.
        options: how; None takes the defaults.
        side_by_side: most videos at once, at least 1.
        clock: adds up the seconds a stage: one for all, or a function that gives each video's own by its ordinal.
        stages: recurrence, cuts, smooth or viewers in place of those of `options`, as for `predict`.

    Yields:
        The densities of every frame once, in order within each video, as `predict` yields them; and one `StreamEnd` a
        video. An error of a video's reader ends that video only and is passed on there, one that nobody foresaw too;
        what was held back for smoothing is lost then, as it is in `predict`. An error of the model ends all.

    Raises:
        CheckpointError: the model cannot be loaded.
        ConfigError: `side_by_side` is below 1, or more refinement steps are asked for than the model allows.

    Example:
        >>> import numpy as np
        >>> def clip(frames, height, width):
        ...     yield FrameBatch(
        ...         index=np.arange(frames), pts_seconds=np.arange(frames) / 25,
        ...         frames=np.zeros((frames, height, width, 3), np.uint8), height=height, width=width,
        ...     )
        >>> for result in predict_streams([clip(3, 90, 160), clip(1, 120, 160)]):
        ...     print(result.stream, type(result).__name__)
        0 StreamBatch
        1 StreamBatch
        0 StreamEnd
        1 StreamEnd
    """
    if side_by_side < 1:
        raise ConfigError(Setting("side_by_side"), f" must be at least 1, got {side_by_side}")
    loaded = load_model(model) if isinstance(model, (str, Path)) else model
    options = (options or PredictOptions()).but(**stages)
    waiting = enumerate(streams)
    lanes: list[_Lane] = []
    while True:
        # The first lanes, one a piece, are the round.
        pieces: list[Prepared] = []
        while True:
            while len(lanes) < side_by_side and (following := next(waiting, None)) is not None:
                own = clock if clock is None or isinstance(clock, StageClock) else clock(following[0])
                lanes.append(_Lane(*following, VideoPredictor(loaded, options, clock=own)))
            if len(pieces) == len(lanes):
                break
            piece = lanes[len(pieces)].prepare()
            if piece is None:
                yield from lanes.pop(len(pieces)).leave()
            else:
                pieces.append(piece)
        if not pieces:
            return
        yield from _predicted(loaded, lanes, pieces, recurrence=options.recurrence)


class _Lane:
    """One place for a video: what it has of its own while it runs."""

    def __init__(self, number: int, frames: Iterable[FrameBatch], predictor: VideoPredictor) -> None:
        self.number = number
        self.predictor = predictor
        self._error: Exception | None = None
        self._frames: Iterator[FrameBatch] = iter(())
        with self._failing_alone():
            self._frames = iter(frames)

    @contextmanager
    def _failing_alone(self) -> Iterator[None]:
        """Any error ends this video and no other."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - one input among many fails alone
            self._error = error

    def prepare(self) -> Prepared | None:
        """The next frames; None at the end, whatever ended it."""
        with self._failing_alone():
            if self._error is None and (batch := next(self._frames, None)) is not None:
                return self.predictor.prepare(batch)
        return None

    def finish(self, piece: Prepared, seen: Seen | None) -> list[StreamBatch]:
        """The densities of what was prepared, once the model has seen it."""
        with self._failing_alone():
            return [StreamBatch(self.number, batch) for batch in self.predictor.finish(piece, seen)]
        return []

    def leave(self) -> Iterator[StreamBatch | StreamEnd]:
        """What was held back, then the end."""
        yield from self._rest()
        yield StreamEnd(self.number, self._error)

    def _rest(self) -> list[StreamBatch]:
        with self._failing_alone():
            if self._error is None:
                return [StreamBatch(self.number, batch) for batch in self.predictor.flush()]
        return []


def _predicted(
    model: SaliencyModel, lanes: Sequence[_Lane], pieces: Sequence[Prepared], *, recurrence: RecurrenceOptions
) -> list[StreamBatch]:
    """What a round gives. All copies from the device are queued before any is passed on: the consumer may be slow."""
    seen = run_model(model, pieces, recurrence=recurrence, clocks=[lane.predictor.clock for lane in lanes])
    return [
        result
        for lane, piece, own_part in zip(lanes, pieces, seen, strict=True)
        for result in lane.finish(piece, own_part)
    ]


@dataclass(frozen=True)
class RunOutcome:
    """How one of several runs ended."""

    number: int
    """Ordinal of its source among those given, from 0."""
    source: str | Path | int
    """Its source, as given."""
    report: RunReport | None
    """What was done; None where it failed."""
    error: Exception | None
    """Why it failed or was refused, else None; anything but a `VidsalError` is a bug of vidsal or of a library."""
    progress: Progress | None
    """How far it got; None where not one frame was written."""

    @property
    def status(self) -> Literal["done", "skipped", "interrupted", "refused", "failed"]:
        """That of the report; else refused, where all that was wrong is that results are there already, or failed."""
        if self.report is not None:
            return self.report.status
        return "refused" if isinstance(self.error, ExistsError) else "failed"


@dataclass(frozen=True)
class ManyProgress:
    """How far several runs got."""

    frames: int
    """Frames written, of all sources."""
    total: int | None
    """Frames expected of all sources, None as long as it is unknown of one."""
    seconds: float
    """Since the first frame was asked for."""
    under_way: tuple[str, ...]
    """The sources whose frames are coming in."""
    ended: int
    """Sources that ended, well or not."""


def run_many(
    sources: Sequence[str | Path | int],
    *,
    options: RunOptions | None = None,
    model: SaliencyModel | None = None,
    streams: int = 8,
    on_progress: Callable[[ManyProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[RunOutcome, None, None]:
    """Run several sources through one model, up to `streams` of them side by side; the results are those of `run`.

    They go where `vidsal.pipe.places.places_of` says, so that none replaces another's.

    Each source is decoded in a thread of its own; all are predicted in one, and written by the caller's. The slowest
    reader sets the pace, so a live source holds the others to its own.

    Args:
        sources: each as for `run`, each once.
        options: all options, the same for all sources; None takes the defaults.
        model: a model already loaded, in place of `options.model`.
        streams: most sources at once, at least 1.
        on_progress: called after every batch, in the calling thread.
        should_stop: asked after every batch; True ends the runs as Ctrl-C does.

    Yields:
        An outcome a source, in the order in which they end. An error of one source, whatever it is, ends that one only
        and is passed on there; an error of the model ends all. After Ctrl-C, which does not raise, those running are
        closed cleanly under partial names and marked `interrupted`; live ones have simply ended; those not begun have
        no outcome.

    Raises:
        CheckpointError: the model cannot be loaded.
        ConfigError: `streams` is below 1, two sources would have the same results, or more refinement steps are asked
            for than the model allows.
    """
    if streams < 1:
        raise ConfigError(Setting("streams"), f" must be at least 1, got {streams}")
    options = options or RunOptions()
    places = places_of(sources, options.output)
    loaded = model or options.model.load()
    side_by_side = max(1, min(streams, len(sources)))
    runs = {
        number: _SideRun(number, Job(source, options=options, model=loaded, side_by_side=side_by_side, place=place))
        for number, (source, place) in enumerate(zip(sources, places, strict=True))
    }
    begin = time.perf_counter()

    def report(number: int, progress: Progress | None) -> None:
        if on_progress:
            on_progress(_progress_of(runs.values(), seconds=time.perf_counter() - begin))

    yield from _run_lanes(
        runs.values(),
        runs,
        loaded,
        options.prediction,
        streams=side_by_side,
        on_batch=report,
        should_stop=should_stop,
    )


def run_jobs(
    jobs: Iterable[Job],
    model: SaliencyModel,
    options: PredictOptions,
    *,
    streams: int,
    on_batch: Callable[[int, Progress | None], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[RunOutcome, None, None]:
    """Run jobs through one model, up to `streams` of them side by side, as `run_many` runs sources.

    Args:
        jobs: each is asked for when there is a place for it. An iterator that has none at the moment may raise
            StopIteration and give more later: it is asked again as long as others are under way.
        model: the model of all jobs.
        options: how all of them are predicted.
        streams: most jobs at once, at least 1.
        on_batch: called after every batch with the ordinal of the job and how far it is, in the calling thread.
        should_stop: as for `run_many`.

    Yields:
        As `run_many`; `RunOutcome.number` counts the jobs in the order in which they were asked for.
    """
    begun = _Begun(jobs)
    return _run_lanes(begun, begun.runs, model, options, streams=streams, on_batch=on_batch, should_stop=should_stop)


class _Begun:
    """Runs of jobs that come one after another; what has ended is let go."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.runs: dict[int, _SideRun] = {}
        self._jobs = iter(jobs)
        self._count = 0

    def __iter__(self) -> Iterator[_SideRun]:
        return self

    def __next__(self) -> _SideRun:
        run = _SideRun(self._count, next(self._jobs))
        for ended in [number for number, other in self.runs.items() if other.ended]:
            del self.runs[ended]
        self.runs[self._count] = run
        self._count += 1
        return run


def _run_lanes(
    feed: Iterable[_SideRun],
    runs: Mapping[int, _SideRun],
    model: SaliencyModel,
    options: PredictOptions,
    *,
    streams: int,
    on_batch: Callable[[int, Progress | None], None] | None,
    should_stop: Callable[[], bool] | None,
) -> Generator[RunOutcome, None, None]:
    predicted = predict_streams(feed, model, options, side_by_side=streams, clock=lambda number: runs[number].clock)
    try:
        with prefetch(predicted, depth=max(2, streams), name="vidsal-predict") as results:
            for result in results:
                number = result.stream
                run = runs.get(number)
                if run is None or run.ended:
                    continue
                outcome = run.write(result.batch) if isinstance(result, StreamBatch) else run.finish(result.error)
                del result  # not kept while the next one is waited for
                if outcome is not None:
                    yield outcome
                if on_batch:
                    on_batch(number, run.progress)
                if should_stop and should_stop():
                    raise Stopped
    except (Stopped, KeyboardInterrupt):
        for run in list(runs.values()):
            run.stop()
        for run in list(runs.values()):
            if run.is_open and (outcome := run.finish(Stopped())) is not None:
                yield outcome
    finally:
        for run in list(runs.values()):
            run.abandon()


class _SideRun:
    """One of several sources: its frames, read ahead in a thread that also opens it, and its files.

    What it holds while it runs (reader, sinks, pictures) is let go as it ends.
    """

    def __init__(self, number: int, job: Job) -> None:
        self.source = job.source
        self._number = number
        self._job: Job | None = job
        self._thread = ExitStack()
        self._batches: Prefetched[FrameBatch] | None = None
        self.progress: Progress | None = None
        """How far it is; None before the first frame is written."""
        self._frames = 0

    @property
    def ended(self) -> bool:
        """Whether it ended, well or not."""
        return self._job is None

    @property
    def is_open(self) -> bool:
        """Whether its frames are coming in."""
        return self._job is not None and self._job.is_open

    @property
    def frames(self) -> int:
        """Frames written."""
        return self._frames if self._job is None else self._job.frames

    @property
    def total(self) -> int | None:
        """Frames expected, or written where it ended; None where unknown."""
        return self._frames if self._job is None else self._job.total

    @property
    def clock(self) -> StageClock:
        """Of its stages."""
        return StageClock() if self._job is None else self._job.clock

    def __iter__(self) -> Iterator[FrameBatch]:
        self._batches = self._thread.enter_context(prefetch(self._read(), name=f"vidsal-decode-{self._number}"))
        return self._batches

    def _read(self) -> Iterator[FrameBatch]:
        if self._job is not None and not self._job.is_done():
            with self._job.opened() as reader:
                yield from reader

    def write(self, batch: SaliencyBatch) -> RunOutcome | None:
        """Write the next frames to the sinks; the outcome where one of them fails."""
        if self._job is None:
            return None  # its files failed: what was predicted for it meanwhile is dropped
        try:
            self.progress = self._job.write(batch)
        except Exception as error:  # noqa: BLE001 - one input among many fails alone
            return self.finish(error)
        return None

    def finish(self, error: Exception | None) -> RunOutcome | None:
        """End the run: well, or because of an error, or stopped; None where it has ended already."""
        job = self._job
        if job is None:
            return None
        report: RunReport | None = None
        failure: Exception | None = None
        try:
            self.stop()
            with job.writing():
                if error is not None:
                    raise error
            report = job.report()
        except Exception as failed:  # noqa: BLE001 - one input among many fails alone
            failure = failed
        finally:
            self._frames, self._job, self._batches = job.frames, None, None
            del job, error
        _clear_frames(failure)
        return RunOutcome(self._number, self.source, report, failure, self.progress)

    def stop(self) -> None:
        """End the reading thread."""
        if self._job is not None and self._batches is not None:
            self._thread.close()
            self._job.clock.seconds["decode"] = self._batches.busy_seconds

    def abandon(self) -> None:
        """Close what is still open; files keep their partial names."""
        job = self._job
        if job is not None:
            self.stop()
            with suppress(GeneratorExit), job.writing():
                raise GeneratorExit


def _clear_frames(error: BaseException | None) -> None:
    """Keep where an error came from, but not what was at work there."""
    link = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def _progress_of(runs: Collection[_SideRun], *, seconds: float) -> ManyProgress:
    totals = [run.total for run in runs if run.total is not None]
    return ManyProgress(
        frames=sum(run.frames for run in runs),
        total=sum(totals) if len(totals) == len(runs) else None,
        seconds=seconds,
        under_way=tuple(hide_secrets(run.source) for run in runs if run.is_open),
        ended=sum(run.ended for run in runs),
    )
