"""Works in, attempts at them through the pipe, events out: what a worker of any engine does."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vidsal.addresses import hide_secrets
from vidsal.batch.storage import NoRoom, Scratch, exists, is_remote, join, put, remove
from vidsal.batch.work import Ended, Event, Made, Progress, Reason, Work
from vidsal.config import as_flag
from vidsal.errors import (
    CheckpointError,
    ConfigError,
    DecodeError,
    EncodeError,
    ExistsError,
    Stopped,
    TransferError,
    VidsalError,
    is_out_of_memory,
)
from vidsal.files import claim, release, sha256_of
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe import run as pipe_run
from vidsal.pipe.many import RunOutcome, run_jobs
from vidsal.pipe.options import ModelOptions, RunOptions
from vidsal.pipe.places import Place, local_path, planned_outputs
from vidsal.pipe.record import read_records
from vidsal.pipe.run import Job

__all__ = ["Feed", "Worker", "clear_partials", "reason_of"]

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
        send: takes events; it is called from two threads.
        should_stop: asked after every batch of frames; True ends what is under way, which is then `interrupted`.
        should_retire: asked before each attempt; True takes no more works, and lets `run` return once all have ended.
        lanes: most attempts side by side.
        side_by_side: attempts that share the machine with one, itself included; None: the lanes.
        device: where models run whose options leave the choice; None: where they say.
        single_thread: whether decoders take one thread each, unless their options say otherwise.
        before: called before each attempt: for tests.
    """

    def __init__(
        self,
        feed: Feed,
        send: Callable[[Event], None],
        *,
        should_stop: Callable[[], bool],
        should_retire: Callable[[], bool] = lambda: False,
        lanes: int = 1,
        side_by_side: int | None = None,
        device: str | None = None,
        single_thread: bool = False,
        before: Callable[[Work], None] | None = None,
    ) -> None:
        self.lanes = lanes
        """Most attempts side by side."""
        self.side_by_side = side_by_side or lanes
        """Attempts that share the machine with one, itself included."""
        self.send = send
        """Takes events."""
        self.should_stop = should_stop
        """Whether to end what is under way."""
        self.before = before
        """Called before each attempt."""
        self._feed = feed
        self._should_retire = should_retire
        self._device = device
        self._single_thread = single_thread
        self._models: dict[ModelOptions, SaliencyModel] = {}
        self._lock = threading.Lock()  # the model's thread takes works, the main one puts some back
        self._kept: deque[Work] = deque()
        """Works that are to come next."""
        self._spoilt = False
        """Whether nothing can be computed in this process any more."""
        self.looked_again: set[int] = set()
        """Works whose results were looked at twice, as another run had just made some."""

    def run(self) -> None:
        """Work until there is nothing more to come, or until it is stopped or retires."""
        while not self._is_ending():
            work = self.take()
            if work is None and not self._should_retire():
                work = self._feed.wait()
            if work is None:
                return
            try:
                model = self._model(work.options.model)
            except Exception as error:  # noqa: BLE001 - told as the end of the attempt
                self.send(_failed(work, error, 0.0))
                continue
            self.put_first(work)
            self._spoilt |= _Round(self, model, work).run()

    def left(self) -> list[Work]:
        """What was taken from the feed and not begun."""
        with self._lock:
            return list(self._kept)

    def give_back(self, id: int) -> bool:
        """Forget a work that was taken from the feed and not begun; False where there is no such."""
        with self._lock:
            there = len(self._kept)
            self._kept = deque(work for work in self._kept if work.id != id)
            return len(self._kept) < there

    def put_first(self, work: Work) -> None:
        """Let a work come next."""
        with self._lock:
            self._kept.appendleft(work)

    def take(self, kind: Any = None) -> Work | None:
        """The next work, if one is there and is of that kind."""
        if self._is_ending():
            return None
        with self._lock:
            if not self._kept:
                work = None if self._should_retire() else self._feed.poll()
                if work is None:
                    return None
                self._kept.append(work)
            return self._kept.popleft() if kind is None or _kind(self._kept[0]) == kind else None

    def options_of(self, work: Work) -> RunOptions:
        """The options of a work, with what this machine has for it where they leave the choice."""
        options = work.options
        if self._single_thread and options.decode.threads == 0:
            options = dataclasses.replace(options, decode=dataclasses.replace(options.decode, threads=1))
        return options

    def _is_ending(self) -> bool:
        return self._spoilt or self.should_stop()

    def _model(self, options: ModelOptions) -> SaliencyModel:
        if options not in self._models:
            while len(self._models) >= _MODELS:
                del self._models[next(iter(self._models))]
            chosen = options.device in ("auto", "cuda") and self._device
            self._models[options] = (dataclasses.replace(options, device=chosen) if chosen else options).load()
        return self._models[options]


@dataclass(frozen=True)
class _Attempt:
    work: Work
    job: Job
    begin: float
    copies: ExitStack
    """What is to be let go at its end."""


class _Round:
    """The jobs of works that may run side by side: of one model, predicted in one way; a work that is alone is one."""

    def __init__(self, worker: Worker, model: SaliencyModel, first: Work) -> None:
        self._worker = worker
        self._model = model
        self._first = first
        self._under_way: dict[int, _Attempt] = {}
        self._count = 0
        self._told: dict[int, float] = {}

    def run(self) -> bool:
        """Run all; True where the model's device can compute nothing any more."""
        try:
            for outcome in run_jobs(
                self,
                self._model,
                self._first.options.prediction,
                streams=self._worker.lanes,
                on_batch=self._tell,
                should_stop=self._worker.should_stop,
            ):
                self._end(outcome)
        except Exception as error:  # noqa: BLE001 - told as the end of the attempt
            return self._fail(error)
        # Those that were stopped before they were open have no outcome.
        for attempt in reversed(self._under_way.values()):
            attempt.copies.close()
            self._worker.put_first(attempt.work)
        return False

    def __iter__(self) -> Iterator[Job]:
        return self

    def __next__(self) -> Job:
        """The next job; StopIteration where there is none now, or none more in this round."""
        while (work := self._worker.take(_kind(self._first))) is not None:
            begin = time.monotonic()
            with ExitStack() as copies:
                try:
                    source = self._fetched(work, copies)
                    # What is fetched has its own limits: the time of the attempt begins here.
                    self._worker.send(Progress(work.id, 0, None, 0.0, None))
                    job = self._job(work, source)
                except (Stopped, NoRoom):
                    self._worker.put_first(work)
                    break
                except Exception as error:  # noqa: BLE001 - told as the end of the attempt
                    self._worker.send(_failed(work, error, time.monotonic() - begin))
                    continue
                self._under_way[self._count] = _Attempt(work, job, begin, copies.pop_all())
            self._count += 1
            return job
        raise StopIteration

    def _fetched(self, work: Work, copies: ExitStack) -> str | Path:
        """What is to be opened: the input, or a copy of one that lies elsewhere."""
        if not is_remote(work.source):
            return local_path(work.source) or work.source
        scratch = Scratch(Path(work.scratch or tempfile.gettempdir(), "vidsal-scratch"), work.scratch_bytes)
        # Who holds a copy must not wait for room: it may be the one that has to make it.
        wait = not self._under_way
        return copies.enter_context(scratch.fetched(work.source, wait=wait, should_stop=self._worker.should_stop))

    def _job(self, work: Work, source: str | Path) -> Job:
        if self._worker.before is not None:
            self._worker.before(work)
        return Job(
            source,
            options=self._worker.options_of(work),
            model=self._model,
            side_by_side=self._worker.side_by_side,
            place=_place(work),
            only_there=True,
            copied=is_remote(work.source),
        )

    def _tell(self, number: int, progress: pipe_run.Progress | None) -> None:
        """Say how far an attempt is, now and then."""
        now = time.monotonic()
        attempt = self._under_way.get(number)
        if progress is None or attempt is None or now - self._told.get(number, 0.0) < _TELL_SECONDS:
            return
        self._told[number] = now
        length = None if attempt.job.info is None else attempt.job.info.duration_seconds
        told = Progress(attempt.work.id, progress.frames, progress.total, progress.pts_seconds, length)
        self._worker.send(told)

    def _end(self, outcome: RunOutcome) -> None:
        """Say how an attempt ended, or begin another where it may replace what is there."""
        attempt = self._under_way.pop(outcome.number)
        self._told.pop(outcome.number, None)
        work, seconds = attempt.work, time.monotonic() - attempt.begin
        copy = str(attempt.job.source) if is_remote(work.source) else ""
        try:
            if isinstance(outcome.error, ExistsError) and _may_replace(work):
                output = dataclasses.replace(work.options.output, existing="overwrite")
                options = dataclasses.replace(work.options, output=output)
                self._worker.put_first(dataclasses.replace(work, options=options))
                return
            if isinstance(outcome.error, ExistsError) and work.id not in self._worker.looked_again:
                # Another writer may have ended at this moment: then a second look finds what is wanted.
                self._worker.looked_again.add(work.id)
                self._worker.put_first(work)
                return
            self._worker.looked_again.discard(work.id)
            end = _ended(work, outcome, seconds)
            if work.upload is not None and end.files:
                try:
                    files = _upload(work, end.files, should_stop=self._worker.should_stop)
                except DecodeError as error:  # of looking at what is there
                    raise EncodeError(*error.args) from error
                end = dataclasses.replace(end, files=files, seconds=time.monotonic() - attempt.begin)
        except Stopped:
            end = Ended(work.id, "interrupted", message="stopped", seconds=seconds, free_of_charge=True)
        except Exception as error:  # noqa: BLE001 - told as the end of the attempt
            end = _failed(work, error, seconds)
        finally:
            attempt.copies.close()
        # What is found whole may be that of an attempt that was killed right after.
        if end.outcome in ("failed", "interrupted") or (end.found and _has_locks(work)):
            clear_partials(work)
        if copy:
            # Nobody knows the copy, which is gone now.
            shown = hide_secrets(work.source)
            messages = tuple(text.replace(copy, shown) for text in end.messages)
            end = dataclasses.replace(end, message=end.message.replace(copy, shown), messages=messages)
        self._worker.send(end)

    def _fail(self, error: Exception) -> bool:
        """The model failed: that ends the only attempt, and of several each is tried by itself."""
        attempts, self._under_way = list(self._under_way.values()), {}
        # After an error on a GPU all that follows may fail as well.
        spoilt = self._model.device.type == "cuda" and not is_out_of_memory(error)
        if spoilt and len(attempts) > 1:
            raise error
        for attempt in reversed(attempts):
            attempt.copies.close()
            clear_partials(attempt.work)
            if len(attempts) > 1:
                self._worker.put_first(dataclasses.replace(attempt.work, alone=True))
            else:
                self._worker.send(_failed(attempt.work, error, time.monotonic() - attempt.begin))
        if not attempts:
            raise error
        return spoilt


def _kind(work: Work) -> Any:
    return work.options.model, work.options.prediction, work.id if work.alone else None


def _place(work: Work) -> Place:
    below, _, stem = work.place.rpartition("/")
    return Place(Path(work.output, below), stem)


def _targets(work: Work) -> set[Path]:
    """All files that an attempt may write but for its record: the input may be a picture, and not every mp4 can be."""
    place = _place(work)
    planned = (planned_outputs(place, work.options.output, still=still).values() for still in (False, True))
    targets = {target for each in planned for target in each}
    return targets | {target.with_suffix(".mkv") for target in targets}


def _may_replace(work: Work) -> bool:
    """Whether all that stands in the way is of this batch's making and as it was."""
    if work.options.output.existing != "skip":
        return False
    place, records = _place(work), read_records(_place(work).record)
    known = {Path(work.output, file): size for file, size in work.earlier.items()}
    # Those of an attempt that was killed, which nobody has been told of.
    unfinished = {
        place.folder / result.file: result.bytes
        for record in records
        if record.status == "unfinished"
        for result in record.results
    }
    there = [path for path in (*_targets(work), *([] if records else [place.record])) if os.path.lexists(path)]
    return all(path.lstat().st_size in (known.get(path), unfinished.get(path)) for path in there)


def _below(work: Work, path: Path) -> str:
    return path.relative_to(work.output).as_posix()


def _has_locks(work: Work) -> bool:
    record = _place(work).record
    partials = [target.with_name(f"{target.stem}.partial{target.suffix}") for target in _targets(work)]
    return any(os.path.lexists(f"{path}.lock") for path in (*partials, record.with_name(f"{record.name}.partial")))


def clear_partials(work: Work) -> None:
    """Remove the partial files of an attempt that has ended, unless somebody else is at them."""
    place = _place(work)
    stems = {f"{target.stem}.partial." for target in _targets(work)} | {f"{place.record.name}.partial"}
    with suppress(OSError):
        left = [path.name for path in place.folder.iterdir() if any(path.name.startswith(stem) for stem in stems)]
        # The file itself before what is only there beside it, which has no lock of its own.
        for name in sorted({name.removesuffix(".lock") for name in left}, key=lambda name: (len(name), name)):
            lock = claim(place.folder / name)
            if lock is None:
                return
            try:
                (place.folder / name).unlink(missing_ok=True)
            finally:
                release(place.folder / name, lock)


def _ended(work: Work, outcome: RunOutcome, seconds: float) -> Ended:
    if outcome.error is not None:
        return _failed(work, outcome.error, seconds)
    report = outcome.report
    if report is None:
        raise RuntimeError("an outcome has a report or an error")
    if report.interrupted:
        return Ended(work.id, "interrupted", message="stopped", seconds=seconds, free_of_charge=True)
    record = next(iter(read_records(report.record_file)), None) if report.record_file is not None else None
    if record is None or report.record_file is None:
        raise RuntimeError("a run of a batch has a record")
    folder = report.record_file.parent
    stages = {folder / result.file: result.stage for result in record.results}
    # What is found may have been made with more than is wanted now.
    wanted = planned_outputs(_place(work), work.options.output, still=record.provenance.input.kind == "image")
    paths = [path for path in report.files if stages.get(path) in wanted]
    files = [_made(work, stages.get(path, "record"), path) for path in (*paths, report.record_file)]
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
        messages=report.messages,
        peak_bytes=_peak_bytes(),
    )


_KEPT_HERE = ("table", "shots", "report", "record")
"""Results that stay on this machine when they are put elsewhere: account, data set and index need them."""


def _upload(work: Work, files: Sequence[Made], *, should_stop: Callable[[], bool]) -> tuple[Made, ...]:
    """Put results elsewhere, then let go of what is large here.

    The record is the last: it says that they are complete.
    """
    if work.upload is None:
        return tuple(files)
    *results, record = sorted(files, key=lambda made: made.stage == "record")
    old = join(work.upload, *record.file.split("/"))
    if exists(old, should_stop=should_stop):
        remove(old, should_stop=should_stop)
    moved = []
    for made in (*results, record):
        address = join(work.upload, *made.file.split("/"))
        stored = put(Path(work.output, made.file), address, should_stop=should_stop)
        if (stored.bytes, stored.sha256) != (made.bytes, made.sha256):
            raise TransferError(f"{made.file} changed while it was put elsewhere")
        moved.append(made if made.stage in _KEPT_HERE else dataclasses.replace(made, address=address))
    for made in moved:
        if made.address is not None:
            Path(work.output, made.file).unlink()
    return tuple(moved)


def _made(work: Work, stage: str, path: Path) -> Made:
    return Made(stage, _below(work, path), path.stat().st_size, sha256_of(path))


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
        case TransferError():
            return "transfer"
        case CheckpointError():
            return "model"
        case ConfigError():
            return "wrong option"
        case DecodeError() if error.option == "strict":
            return "damaged"
        case DecodeError() | OSError():
            path = local_path(source)
            if (errno.ENOENT in numbers) if path is None else not os.path.lexists(path):
                return "gone"
            if numbers & {errno.ESTALE, errno.ETIMEDOUT, errno.ENETDOWN, errno.EHOSTDOWN}:
                return "transfer"
            if numbers & {errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP, errno.ENOENT}:
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
        elif isinstance(error, FileNotFoundError):  # of a library, which gives no number
            yield errno.ENOENT
        error, seen = error.__cause__ or error.__context__, seen + 1


def _peak_bytes() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
