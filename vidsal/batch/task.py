"""Works in, attempts at them through the pipe, events out: what a worker of any engine does."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from vidsal.batch.work import Ended, Event, Made, Progress, Reason, Work
from vidsal.config import as_flag
from vidsal.errors import (
    CheckpointError,
    ConfigError,
    DecodeError,
    EncodeError,
    ExistsError,
    VidsalError,
    is_out_of_memory,
)
from vidsal.files import sha256_of
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe import run as pipe_run
from vidsal.pipe.many import RunOutcome, run_jobs
from vidsal.pipe.options import ModelOptions
from vidsal.pipe.places import Place, local_path, planned_outputs
from vidsal.pipe.record import read_records
from vidsal.pipe.run import Job

__all__ = ["Feed", "Worker", "reason_of"]

_TELL_SECONDS = 1.0
_MODELS = 2


class Feed(Protocol):
    """Where a worker gets its works."""

    def wait(self) -> Work | None:
        """The next one, as soon as there is one; None where no more will come."""
        ...

    def poll(self) -> Work | None:
        """The next one, or None where there is none at the moment."""
        ...


class Worker:
    """Works off what it is fed, one attempt at a time or several side by side through one model.

    Args:
        feed: where works come from.
        send: takes events.
        should_stop: asked after every batch of frames; True ends what is under way, which is then `interrupted`.
        lanes: most attempts side by side.
        before: called before each attempt: for tests.
    """

    def __init__(
        self,
        feed: Feed,
        send: Callable[[Event], None],
        *,
        should_stop: Callable[[], bool],
        lanes: int = 1,
        before: Callable[[Work], None] | None = None,
    ) -> None:
        self._before = before
        self._feed = feed
        self._send = send
        self._should_stop = should_stop
        self._lanes = lanes
        self._models: dict[ModelOptions, SaliencyModel] = {}
        self._kept: deque[Work] = deque()
        """Works that are to come next."""

    def run(self) -> None:
        """Work until there is nothing more to come, or until it is stopped."""
        while not self._should_stop():
            work = self._kept.popleft() if self._kept else self._feed.wait()
            if work is None:
                return
            try:
                model = self._model(work.options.model)
            except Exception as error:  # noqa: BLE001 - told as the end of the attempt
                self._send(_failed(work, error, 0.0))
                continue
            self._kept.appendleft(work)
            round = _Round(self, model, work)
            for outcome in run_jobs(
                round,
                model,
                work.options.prediction,
                streams=self._lanes,
                on_batch=round.tell,
                should_stop=self._should_stop,
            ):
                round.end(outcome)

    def left(self) -> list[Work]:
        """What was taken from the feed and not begun."""
        return list(self._kept)

    def following(self) -> Work | None:
        """The work that comes next, if one is there."""
        if not self._kept:
            work = self._feed.poll()
            if work is None:
                return None
            self._kept.append(work)
        return self._kept[0]

    def _model(self, options: ModelOptions) -> SaliencyModel:
        if options not in self._models:
            while len(self._models) >= _MODELS:
                del self._models[next(iter(self._models))]
            self._models[options] = options.load()
        return self._models[options]


class _Round:
    """The jobs of works that may run side by side: of one model, predicted in one way."""

    def __init__(self, worker: Worker, model: SaliencyModel, first: Work) -> None:
        self._worker = worker
        self._model = model
        self._kind = _kind(first)
        self._begun: list[tuple[Work, Job, float]] = []
        self._told: dict[int, float] = {}
        self._under_way = 0

    def __iter__(self) -> Iterator[Job]:
        return self

    def __next__(self) -> Job:
        work = None if self._worker._should_stop() else self._worker.following()
        if work is None or _kind(work) != self._kind or (work.alone and self._under_way):
            raise StopIteration  # for now, or for this round
        self._worker._kept.popleft()
        self._worker._send(Progress(work.id, 0, None, 0.0, None))
        if self._worker._before is not None:
            self._worker._before(work)
        job = Job(
            local_path(work.source) or work.source,
            options=work.options,
            model=self._model,
            side_by_side=self._worker._lanes,
            place=_place(work),
        )
        self._begun.append((work, job, time.monotonic()))
        self._under_way += 1
        return job

    def tell(self, number: int, progress: pipe_run.Progress | None) -> None:
        """Say how far an attempt is, now and then."""
        now = time.monotonic()
        if progress is None or now - self._told.get(number, 0.0) < _TELL_SECONDS:
            return
        self._told[number] = now
        work, job, _ = self._begun[number]
        length = None if job.info is None else job.info.duration_seconds
        self._worker._send(Progress(work.id, progress.frames, progress.total, progress.pts_seconds, length))

    def end(self, outcome: RunOutcome) -> None:
        """Say how an attempt ended, or begin another where it may replace what is there."""
        work, _, begin = self._begun[outcome.number]
        self._under_way -= 1
        self._told.pop(outcome.number, None)
        if isinstance(outcome.error, ExistsError) and _may_replace(work):
            output = dataclasses.replace(work.options.output, existing="overwrite")
            self._worker._kept.appendleft(
                dataclasses.replace(work, options=dataclasses.replace(work.options, output=output))
            )
            return
        self._worker._send(_ended(work, outcome, time.monotonic() - begin))


def _kind(work: Work) -> Any:
    return work.options.model, work.options.prediction, work.id if work.alone else None


def _place(work: Work) -> Place:
    below, _, stem = work.place.rpartition("/")
    return Place(Path(work.output, below), stem)


def _may_replace(work: Work) -> bool:
    """Whether all that stands in the way is of this batch's making and as it was."""
    if work.options.output.existing != "skip":
        return False
    place = _place(work)
    targets = {
        target
        for still in (False, True)
        for target in planned_outputs(place, work.options.output, still=still).values()
    }
    there = [path for target in targets for path in {target, target.with_suffix(".mkv")} if os.path.lexists(path)]
    return all(work.earlier.get(path.relative_to(work.output).as_posix()) == path.lstat().st_size for path in there)


def _ended(work: Work, outcome: RunOutcome, seconds: float) -> Ended:
    if outcome.error is not None:
        return _failed(work, outcome.error, seconds)
    report = outcome.report
    if report is None:
        raise RuntimeError("an outcome has a report or an error")
    if report.interrupted:
        for partial in report.files:
            partial.unlink(missing_ok=True)
        return Ended(work.id, "interrupted", message="stopped", seconds=seconds, free_of_charge=True)
    record = next(iter(read_records(report.report_file)), None) if report.report_file is not None else None
    if record is None or report.report_file is None:
        raise RuntimeError("a run of a batch has a report")
    stages = {path: result.stage for result in record.results for path in [(report.report_file.parent / result.file)]}
    try:
        files = [_made(work, stages.get(path, "report"), path) for path in (*report.files, report.report_file)]
    except OSError as error:
        return _failed(work, error, seconds)
    return Ended(
        work.id,
        "damaged" if report.is_damaged else "done",
        reason="damaged" if report.is_damaged else None,
        message="; ".join(report.messages) if report.is_damaged else "",
        input=record.provenance.input,
        files=tuple(files),
        found=report.status == "skipped",
        frames=report.frames,
        cuts=report.cuts,
        video_seconds=report.video_seconds,
        seconds=seconds,
        messages=report.messages or record.messages,
        peak_bytes=_peak_bytes(),
    )


def _made(work: Work, stage: str, path: Path) -> Made:
    return Made(stage, path.relative_to(work.output).as_posix(), path.stat().st_size, sha256_of(path))


def _failed(work: Work, error: BaseException, seconds: float) -> Ended:
    reason = reason_of(error, work.source)
    if reason == "out of memory":
        message = "out of memory"
    elif isinstance(error, VidsalError):
        message = error.spelled(as_flag)
    else:
        message = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
    return Ended(
        work.id,
        "failed",
        reason=reason,
        message=message,
        seconds=seconds,
        peak_bytes=_peak_bytes(),
        free_of_charge=reason == "disk full",
    )


def reason_of(error: BaseException, source: str) -> Reason:
    """Why an attempt failed, in a word or two."""
    numbers = set(_numbers(error))
    if is_out_of_memory(error) or errno.ENOMEM in numbers:
        return "out of memory"
    if numbers & {errno.ENOSPC, errno.EDQUOT}:
        return "disk full"
    match error:
        case ExistsError():
            return "results exist"
        case EncodeError():
            return "not writable"
        case CheckpointError():
            return "model"
        case ConfigError():
            return "wrong option"
        case DecodeError() if error.option == "strict":
            return "damaged"
        case DecodeError() | OSError():
            path = local_path(source)
            if path is not None and not os.path.lexists(path):
                return "gone"
            if numbers & {errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ELOOP, errno.ENOENT}:
                return "not readable"
            return "not decodable" if isinstance(error, DecodeError) else "unexpected"
    return "unexpected"


def _numbers(error: BaseException | None) -> Iterator[int]:
    """The system's numbers of an error and of what caused it."""
    seen = 0
    while error is not None and seen < 20:
        number = getattr(error, "errno", None)
        if isinstance(number, int):
            yield number
        error, seen = error.__cause__ or error.__context__, seen + 1


def _peak_bytes() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
