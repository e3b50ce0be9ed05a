"""What a batch is given in, what it would take out: files, hours, frames, bytes, time and room. Nothing is changed.

Files are opened, and samples run, in a process of its own, as the batch would: what a file does to it harms no more
than the file's own numbers, and how long it takes to start is known.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from vidsal.addresses import hide_secrets
from vidsal.batch.database import JobDatabase, Listed
from vidsal.batch.engines.local import LocalEngine, how_it_ended
from vidsal.batch.folder import database_path
from vidsal.batch.inputs import Given, Search, Shard, check_inputs, find_inputs
from vidsal.batch.job import Plans, find_remote, login_check
from vidsal.batch.options import ArchiveOptions
from vidsal.batch.storage import is_remote
from vidsal.batch.task import reason_of
from vidsal.batch.work import Reason
from vidsal.decode import open_video
from vidsal.errors import ConfigError, Setting, VidsalError
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.options import ModelOptions, RunOptions
from vidsal.pipe.places import Place
from vidsal.pipe.run import run
from vidsal.prefetch import usable_cores
from vidsal.processes import worker_context

__all__ = ["DryRun", "DryRunProgress", "Sample", "dry_run"]

_MOST_OPENED = 2000
"""Of more inputs than that so many are opened, spread evenly, and stand for all by their bytes."""
_SAMPLES = 3
_KEPT_ENDINGS = (".csv", ".jsonl", ".parquet", ".json")
"""Of results that stay here when they are uploaded: tables, shot lists and reports."""
_ANSWER_SECONDS = 120.0
"""After so long a file is given up."""
_SAMPLE_VIDEO_SECONDS = 10.0
_SAMPLE_SECONDS = 6.0


@dataclass(frozen=True)
class DryRunProgress:
    """How far a dry run is."""

    listed: int
    """Inputs found."""
    opened: int
    """Inputs opened."""
    to_open: int | None
    """How many will be; None while inputs are searched."""
    measuring: str = ""
    """The input whose speed is measured."""


@dataclass(frozen=True)
class Sample:
    """Some seconds of an input, run to measure how fast that is."""

    path: str
    """The input."""
    height: int
    """Rows of its picture."""
    width: int
    """Columns of it."""
    frames: int
    """Frames that were run."""
    seconds: float
    """What they took in one process."""
    cpu_seconds: float
    """How long cores were busy with them."""
    bytes: int
    """Size of their results."""
    bytes_here: int
    """Size of those that stay here: with an upload, tables and reports."""


@dataclass(frozen=True)
class DryRun:
    """What a batch would take."""

    output: Path
    """The folder of all results."""
    inputs: int
    """All inputs."""
    done: int
    """Those that are done already with this input, these options and this model."""
    settled: int
    """Those that failed or were damaged, and are not tried again without `vidsal batch retry`."""
    waiting: int
    """Those that would be run."""
    opened: int
    """How many of them were opened; the others are estimated from these."""
    elsewhere: int
    """How many of them lie on other machines, and are not opened."""
    input_bytes: int
    """Size of those that would be run."""
    unreadable: Mapping[str, int]
    """How many of those opened cannot be read, by reason."""
    examples: Mapping[str, tuple[str, str]]
    """Of each reason one input, and its message."""
    video_seconds: float
    """Length of those that would be run; what is not known is left out."""
    frames: int
    """Frames of them."""
    samples: tuple[Sample, ...]
    """What was measured."""
    workers: int
    """Processes at once."""
    bytes: int | None
    """Size of the results; None where nothing could be measured."""
    bytes_here: int | None
    """Size of those that stay on this machine: with `upload`, tables and reports; else all."""
    upload: str | None
    """Where they would be uploaded to, without passwords; None: they stay."""
    seconds: float | None
    """How long the batch would take, its start included, uploads not; None where nothing could be measured."""
    start_seconds: float
    """How long it takes until the first worker has its model."""
    free_bytes: int
    """Free on the disk of the results."""
    search: Search = field(default_factory=Search)
    """What the search left out."""
    keep_free_bytes: int = 0
    """What is to be kept free."""

    @property
    def fits(self) -> bool | None:
        """Whether the disk has room for the results; None where their size is not known."""
        return None if self.bytes_here is None else self.bytes_here + self.keep_free_bytes <= self.free_bytes

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        samples = [dataclasses.asdict(one) for one in self.samples]
        shown = {"output": str(self.output), "search": self.search.as_dict(), "samples": samples, "fits": self.fits}
        return vars(self) | shown


@dataclass(frozen=True, eq=False)
class _Header:
    """What is known of an input before it is run."""

    path: str
    bytes: int
    overrides: Mapping[str, Any]
    height: int
    width: int
    frames: int | None
    seconds: float | None

    @property
    def pixels(self) -> int:
        return self.height * self.width


def dry_run(
    given: Given,
    options: ArchiveOptions,
    *,
    shard: Shard | None = None,
    on_progress: Callable[[DryRunProgress], None] | None = None,
) -> DryRun:
    """Say what a batch would take: inputs are opened, and some seconds of a few are run into a temporary folder.

    Args:
        given: as for `run_batch`.
        options: the same.
        shard: the same.
        on_progress: told how far it is.

    Raises:
        ConfigError, CheckpointError, EncodeError: as `run_batch`.
    """
    output = options.output.output
    if output is None:
        raise ConfigError(Setting("output"), " is missing: name the folder for the results of the batch")
    output = output.absolute()
    tell = on_progress or (lambda progress: None)
    plans = Plans(options)
    check_address = login_check()
    check_inputs(given, plans.hash_of, check_address=check_address)
    if options.batch.upload is not None:
        check_address(options.batch.upload)
    search = Search()
    waiting: list[tuple[str, int, Mapping[str, Any]]] = []
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        path = database_path(output, shard)
        known = stack.enter_context(JobDatabase(path, read_only=True)) if path.is_file() else None
        for one in _distinct(find_inputs(given, plans.hash_of, search, remote=find_remote)):
            if shard is not None and not shard.has(one.path):
                continue
            state = _state_of(one, known)
            counts[state] += 1
            if state == "waiting":
                waiting.append((one.path, one.bytes or 0, one.overrides))
            if not sum(counts.values()) % 1000:
                tell(DryRunProgress(sum(counts.values()), 0, None))
    # What lies elsewhere would have to be fetched.
    here = [one for one in waiting if not is_remote(one[0])]
    chosen = here[:: max(1, -(-len(here) // _MOST_OPENED))]
    headers: list[_Header] = []
    unreadable: Counter[str] = Counter()
    examples: dict[str, tuple[str, str]] = {}
    workers = _workers(options)
    samples: list[Sample] = []
    load_seconds = 0.0
    with _Helper(threads=max(1, usable_cores() // workers)) as helper:
        for number, (path_, size, overrides) in enumerate(chosen):
            tell(DryRunProgress(sum(counts.values()), number, len(chosen)))
            try:
                found = helper.ask(_opened, path_, size, overrides, plans.run_options(overrides))
            except _NoAnswer as died:
                found = "worker died", str(died)
            if isinstance(found, _Header):
                headers.append(found)
            else:
                reason, message = found
                unreadable[reason] += 1
                examples.setdefault(reason, (hide_secrets(path_), message))
        for header in _to_measure(headers):
            tell(DryRunProgress(sum(counts.values()), len(chosen), len(chosen), hide_secrets(header.path)))
            try:
                own = plans.run_options(header.overrides)
                load_seconds = max(load_seconds, helper.ask(_load, own.model))
                sample = helper.ask(_measured, header, own, options.batch.upload is not None)
            except _NoAnswer:
                continue
            if sample is not None:
                samples.append(sample)
    start_seconds = helper.start_seconds + load_seconds
    all_bytes, opened_bytes = (sum(one[1] for one in ones) for ones in (waiting, chosen))
    more = all_bytes / opened_bytes if opened_bytes else len(waiting) / max(1, len(chosen))
    elsewhere = len(waiting) - len(here)
    frames = sum(map(_frames, headers))
    near = [(one, _nearest(one, samples)) for one in headers] if samples else []
    seconds = math.fsum(_frames(one) * sample.seconds / sample.frames for one, sample in near)
    cpu_seconds = math.fsum(_frames(one) * sample.cpu_seconds / sample.frames for one, sample in near)
    size_expected, size_here = (
        math.fsum(_frames(one) * getattr(sample, kind) / sample.frames for one, sample in near)
        for kind in ("bytes", "bytes_here")
    )
    can_tell = bool(near) or not waiting
    # Processes that share the cores are no faster than these.
    seconds = more * max(seconds / workers, cpu_seconds / usable_cores()) + (start_seconds if waiting else 0.0)
    there = next(folder for folder in (output, *output.parents) if folder.is_dir())
    return DryRun(
        output=output,
        inputs=sum(counts.values()),
        done=counts["done"],
        settled=counts["failed"] + counts["damaged"],
        waiting=len(waiting),
        opened=len(chosen),
        elsewhere=elsewhere,
        input_bytes=all_bytes,
        unreadable=dict(unreadable),
        examples=examples,
        video_seconds=more * sum(one.seconds or 0.0 for one in headers),
        frames=round(more * frames),
        samples=tuple(samples),
        workers=workers,
        bytes=round(more * size_expected) if can_tell else None,
        bytes_here=round(more * size_here) if can_tell else None,
        upload=None if options.batch.upload is None else hide_secrets(options.batch.upload),
        seconds=seconds if can_tell else None,
        start_seconds=start_seconds,
        free_bytes=shutil.disk_usage(there).free,
        search=search,
        keep_free_bytes=round(options.batch.keep_free * 1e9),
    )


def _distinct(found: Iterator[Listed]) -> Iterator[Listed]:
    seen: set[str] = set()
    for one in found:
        if one.path not in seen:
            seen.add(one.path)
            yield one


def _state_of(one: Listed, known: JobDatabase | None) -> str:
    """What its state would be when the batch begins."""
    found = None if known is None else known.standing(one)
    return found if found in ("done", "damaged", "failed") else "waiting"


def _opened(path: str, size: int, overrides: Mapping[str, Any], options: RunOptions) -> _Header | tuple[Reason, str]:
    try:
        whole = dataclasses.replace(options.decode, start_seconds=0.0, end_seconds=None)
        with open_video(path, options=whole) as reader:
            info = reader.info
    except (VidsalError, OSError, ValueError) as error:
        return reason_of(error, path), " ".join(str(error).split())
    decode, length = options.decode, info.duration_seconds
    frames = info.frame_count or (round(length * info.rate) if length and info.rate else None)
    if info.kind == "image":
        frames, length = 1, 0.0
    if length and (decode.start_seconds or decode.end_seconds is not None):
        wanted = max(0.0, min(length, decode.end_seconds or length) - decode.start_seconds)
        frames = None if frames is None else round(frames * wanted / length)
        length = wanted
    return _Header(path, size, overrides, info.height, info.width, frames, length)


def _frames(header: _Header) -> int:
    """Frames expected; of a length that nobody knows it takes any."""
    return header.frames or 1


def _to_measure(headers: Sequence[_Header]) -> list[_Header]:
    """A few inputs, of small, middling and large pictures; of each the longest of its neighbours."""
    ordered = sorted(headers, key=lambda one: one.pixels)
    count = min(_SAMPLES, len({one.pixels for one in ordered}))
    parts = [ordered[len(ordered) * n // count : len(ordered) * (n + 1) // count] for n in range(count)]
    middle = [[one for one in part if one.pixels == part[len(part) // 2].pixels] for part in parts]
    return [max(part, key=_frames) for part in middle]


_models: dict[ModelOptions, SaliencyModel] = {}
"""Those that a helper has loaded."""


def _load(options: ModelOptions) -> float:
    """Load a model; how long it took."""
    begin = time.monotonic()
    if options not in _models:
        _models[options] = options.load()
    return time.monotonic() - begin


def _measured(header: _Header, options: RunOptions, upload: bool) -> Sample | None:
    """Some seconds of an input, run as the batch would."""
    _load(options.model)
    model = _models[options.model]
    begin = options.decode.start_seconds
    end = min(options.decode.end_seconds or float("inf"), begin + _SAMPLE_VIDEO_SECONDS)
    decode = dataclasses.replace(options.decode, end_seconds=end)
    with tempfile.TemporaryDirectory(prefix="vidsal-") as folder:
        place = Place(Path(folder), "sample")
        output = dataclasses.replace(options.output, output=Path(folder), existing="overwrite")
        until, busy = time.monotonic() + _SAMPLE_SECONDS, time.process_time()
        try:
            report = run(
                header.path,
                options=dataclasses.replace(options, decode=decode, output=output),
                model=model,
                place=place,
                should_stop=lambda: time.monotonic() > until,
            )
        except (VidsalError, OSError, ValueError):
            return None
        busy = time.process_time() - busy
        sizes = {path.name: path.stat().st_size for path in Path(folder).iterdir()}
        # Stopped early, it has no report, but files by the same endings.
        moved = sum(size for name, size in sizes.items() if upload and not name.endswith(_KEPT_ENDINGS))
    if not report.frames:
        return None
    size, shown = sum(sizes.values()), hide_secrets(header.path)
    return Sample(
        shown, header.height, header.width, report.frames, report.seconds, busy, size, bytes_here=size - moved
    )


def _nearest(header: _Header, samples: Sequence[Sample]) -> Sample:
    return min(samples, key=lambda one: abs(one.height * one.width - header.pixels))


def _workers(options: ArchiveOptions) -> int:
    wanted = options.batch
    if wanted.engine == "ray":
        from vidsal.batch.engines.ray import RayEngine

        with RayEngine.for_options(wanted, device=options.model.device) as engine:
            return max(1, engine.processes)
    return LocalEngine.for_device(options.model.device, workers=wanted.workers, lanes=wanted.lanes).processes


class _NoAnswer(Exception):  # noqa: N818 (one file among many)
    """There is no answer, as a file ended the process or takes too long; says how."""


class _Helper:
    """A process that does what files may end; then another takes its place."""

    def __init__(self, *, threads: int) -> None:
        self._threads = threads
        self._process: Any = None
        self._connection: Any = None
        self.start_seconds = 0.0
        """How long the first one took to start."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function of a module returns in the process.

        Raises:
            _NoAnswer: it ended the process.
            VidsalError: no process can be started.
        """
        if self._process is None:
            self._start()
        try:
            self._connection.send((function, arguments))
            if not self._connection.poll(_ANSWER_SECONDS):
                self._end()
                raise _NoAnswer(f"it takes more than {_ANSWER_SECONDS:g} s")
            return self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            status = self._process.exitcode or 0
            self._end()
            raise _NoAnswer(f"the process that was at it ended with {how_it_ended(status)}") from None

    def _start(self) -> None:
        begin = time.monotonic()
        context = worker_context(__name__)
        self._connection, there = context.Pipe()
        with there:
            self._process = context.Process(target=_help, args=(there, self._threads), daemon=True)
            self._process.start()
        try:
            self._connection.recv()
        except (EOFError, OSError) as error:
            self._end()
            raise VidsalError(
                "the process that measures cannot start: see what it prints above, and that there is memory for it. A "
                'script of your own has to begin under: if __name__ == "__main__"'
            ) from error
        self.start_seconds = self.start_seconds or time.monotonic() - begin

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join()
            self._connection.close()


def _help(connection: Connection, threads: int) -> None:
    """The life of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the batch ends it
    torch.set_num_threads(threads)
    connection.send("ready")
    while True:
        try:
            function, arguments = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(function(*arguments))
