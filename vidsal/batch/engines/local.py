"""Works in, attempts in processes of this machine: one a core, or one a GPU with several videos side by side."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from pathlib import Path

import psutil

from vidsal.batch.engines.contract import QueueEngine, not_begun
from vidsal.batch.work import Died, Ended, Event, Progress, Work
from vidsal.errors import VidsalError
from vidsal.prefetch import limit_arenas, prefetch, usable_cores
from vidsal.processes import worker_context

__all__ = ["GROWTH_BYTES", "LocalEngine", "Size", "free_bytes", "how_it_ended", "warm_up"]

_FIRST_BYTES = 1 << 30
"""What a worker is taken to need before one has been measured."""
_SPARE = 1.25
_IN_HAND = 1
"""Works that a worker has beside those it is at, so that it need not wait for the next."""
GROWTH_BYTES = 2 << 30
"""By so much a worker may grow for each of its lanes before another takes its place."""
_FIRST_ATTEMPTS = 4
"""Attempts by whose end a worker has its usual size."""
_FAILED_STARTS = 3
"""Workers, one after another, that may end before they are ready."""
_REST_SECONDS = 30.0
"""No worker is started in the place of one that could not, as long as others work."""
_LOOK_SECONDS = 1.0
_STOP_SECONDS = 1.0
"""After so long a worker that waits sees that it is to stop."""
_JOIN_SECONDS = 10.0


def warm_up() -> ForkServerContext | SpawnContext:
    """How workers are started. What they are forked off begins to import what they need, which takes seconds."""
    return worker_context(__name__, "vidsal.batch.task")


def free_bytes(root: Path = Path("/")) -> int:
    """Memory that may still be taken: of the machine, and of the control groups that this process is in.

    Args:
        root: where the system's files are.
    """
    free = int(psutil.virtual_memory().available)
    for folder, limit, used, cache in _control_groups(root):
        with suppress(OSError, ValueError):
            left = int((folder / limit).read_text()) - int((folder / used).read_text())
            # What was read from files and not lately used is given up for whoever needs it.
            numbers = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            free = min(free, left + int(numbers.get(cache, 0)))
    return max(0, free)


def _control_groups(root: Path) -> Iterator[tuple[Path, str, str, str]]:
    """Folders of control groups that may limit memory, with their names for the limit, the use and the cache."""
    base, own = root / "sys/fs/cgroup", []
    with suppress(OSError):
        own = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    for _, kinds, path in own or [["0", "", "/"]]:
        if kinds == "" or "memory" in kinds.split(","):
            top = base / kinds if kinds else base
            names = (
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                if kinds
                else ("memory.max", "memory.current", "inactive_file")
            )
            inner = top / path.strip("/")
            yield from ((folder, *names) for folder in (inner, *inner.parents) if folder.is_relative_to(top))


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker's process is told once."""

    device: str
    """Where the model runs, in place of "auto"."""
    lanes: int
    """Videos side by side."""
    threads: int
    """Threads of torch."""
    side_by_side: int
    """Videos side by side in all workers."""
    environment: Mapping[str, str]
    """That of the batch."""
    before: Callable[[Work], None] | None = None
    """Called before each attempt: for tests."""


@dataclass(frozen=True)
class _Ready:
    """A worker can take works."""


@dataclass(frozen=True)
class _Recall:
    """A work is wanted back, if it is not begun."""

    id: int


@dataclass(frozen=True)
class _Returned:
    """It was not, and is not begun here any more."""

    id: int


@dataclass
class _Process:
    """One worker."""

    process: SpawnProcess | ForkServerProcess
    connection: Connection
    ready: bool = False
    """Whether it has come up."""
    works: dict[int, Work] = field(default_factory=dict)
    """What it was given and has not ended, in the order in which it was given."""
    begun: set[int] = field(default_factory=set)
    """Those of them that it has begun."""
    recalled: set[int] = field(default_factory=set)
    """Those of them that are wanted back."""
    killed: int | None = None
    """The input for which it was killed."""

    def forget(self, id: int) -> Work | None:
        """A work that is no longer its own."""
        self.begun.discard(id)
        self.recalled.discard(id)
        return self.works.pop(id, None)


class LocalEngine(QueueEngine):
    """Processes of this machine.

    On a CPU each has one thread: two of those do more than one with two. They are started as long as there is memory
    for one more like those that run. A process that ends by itself is replaced, and so is one that has grown too large.

    Args:
        devices: where the models run, one process each; the same may stand several times.
        lanes: videos side by side in each.
        threads: threads of each.
        before: called in the worker before each attempt: for tests. A function of a module.
    """

    def __init__(
        self,
        devices: list[str],
        *,
        lanes: int = 1,
        threads: int = 1,
        before: Callable[[Work], None] | None = None,
    ) -> None:
        super().__init__()
        self._devices = devices
        self._lanes = lanes
        self._threads = threads
        self._before = before
        self._context = warm_up()
        self._workers: list[_Process | None] = [None] * len(devices)
        self._rest_until = [float("-inf")] * len(devices)
        self._failed_starts = 0
        self._peak_bytes = 0
        """The most memory that a worker has taken."""
        self._looked = float("-inf")
        self._startable = 0
        """How many more workers there was memory for when that was looked at last."""

    @classmethod
    def for_device(
        cls, device: str, *, workers: int, lanes: int, before: Callable[[Work], None] | None = None
    ) -> LocalEngine:
        """As many processes as serve a device best, where 0 leaves that to vidsal.

        Args:
            device: as `ModelOptions.device` has it.
            workers: processes; 0: one a core, or one a GPU.
            lanes: videos side by side in each; 0: 4 on a GPU, 1 on a CPU.
            before: as for the class.
        """
        import torch

        from vidsal.model.checkpoint import resolve_device

        kind = resolve_device(device)
        if kind.type == "cpu":
            count = workers or usable_cores()
            return cls(["cpu"] * count, lanes=lanes or 1, threads=max(1, usable_cores() // count), before=before)
        if kind.type == "cuda" and kind.index is None:
            devices = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
        else:
            devices = [str(kind)]
        count = workers or len(devices)
        spread = [devices[n % len(devices)] for n in range(count)]
        return cls(spread, lanes=lanes or 4, threads=max(1, usable_cores() // count), before=before)

    @property
    def processes(self) -> int:
        """The most that it starts."""
        return len(self._devices)

    def describe(self) -> str:
        kinds = sorted(set(self._devices))
        count = len(self._devices)
        where = "the CPU" if kinds == ["cpu"] else ", ".join(kinds)
        lanes = f", {self._lanes} videos side by side in each" if self._lanes > 1 else ""
        return f"{count} process{'es' if count > 1 else ''} on {where}{lanes}"

    def room(self) -> int:
        if self._stopping:
            return 0
        running = self._running()
        places = len(running) + self._may_start()
        taken = sum(len(worker.works) for worker in running) + len(self._queue)
        return max(0, places * (self._lanes + _IN_HAND) - taken)

    def submit(self, work: Work) -> None:
        super().submit(work)
        self._hand_out()

    def events(self, seconds: float) -> list[Event]:
        self._hand_out()
        connections = {worker.connection: n for n, worker in enumerate(self._workers) if worker is not None}
        found = self._take_told()
        if not connections:
            if not found:
                time.sleep(seconds)
            return found
        for connection in wait(list(connections), 0 if found else seconds):
            number = connections[connection]  # type: ignore[index]
            worker = self._workers[number]
            if worker is None:
                continue
            try:
                while True:
                    found += self._heard(worker, worker.connection.recv())
                    if not worker.connection.poll():
                        break
            except (EOFError, OSError):
                found += self._bury(number, worker)
        self._hand_out()
        self._recall()
        return found

    def _heard(self, worker: _Process, said: Event | _Ready | _Returned) -> list[Event]:
        match said:
            case _Ready():
                worker.ready, self._failed_starts = True, 0
                return []
            case _Returned():
                work = worker.forget(said.id)
                if work is None:
                    return []
                self._put_back([work])
                return []
            case Progress():
                worker.begun.add(said.id)
            case Ended():
                worker.forget(said.id)
                self._peak_bytes = max(self._peak_bytes, said.peak_bytes)
        return [said]

    def _bury(self, number: int, worker: _Process) -> list[Event]:
        """What a worker that ended was at; what it had in hand besides goes back."""
        _end(worker)
        self._workers[number] = None
        self._looked = float("-inf")
        status = worker.process.exitcode or 0
        begun = [id for id in worker.works if id in worker.begun]
        if status and not begun and worker.ready and worker.killed is None:
            begun = list(worker.works)[:1]  # it was loading a model for it
        found: list[Event] = []
        self._put_back(work for id, work in worker.works.items() if id not in begun)
        how = how_it_ended(status)
        if begun:
            found.append(Died(tuple(begun), f"the process that was at it ended with {how}", worker.killed))
        if status and not worker.ready and not self._stopping:
            self._note_failed_start(number, how)
        return found

    def _note_failed_start(self, number: int, how: str) -> None:
        self._failed_starts += 1
        if any(worker.ready for worker in self._running()):
            self._rest_until[number] = time.monotonic() + _REST_SECONDS
        elif self._failed_starts >= _FAILED_STARTS:
            raise VidsalError(
                f"the processes of the batch cannot start: {self._failed_starts} ended before they were ready, the "
                f"last one with {how}; see what they print above, and that there is memory for them. A script of "
                'your own has to begin under: if __name__ == "__main__"'
            )

    def _running(self) -> list[_Process]:
        return [worker for worker in self._workers if worker is not None]

    def _may_start(self) -> int:
        """How many more workers may be started: there is memory for each."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self._startable = self._count_startable(now)
        return self._startable

    def _count_startable(self, now: float) -> int:
        free = [n for n, worker in enumerate(self._workers) if worker is None and self._rest_until[n] <= now]
        running = self._running()
        if not free or self._devices[0] != "cpu":
            return len(free)
        each = self._peak_bytes or _FIRST_BYTES
        # Those that run have not all taken yet what they will.
        coming = sum(max(0, each - _resident_bytes(worker)) for worker in running)
        fitting = int((free_bytes() - coming) // (each * _SPARE))
        return max(0 if running else 1, min(len(free), fitting))

    def _hand_out(self) -> None:
        """Give works to workers that have room, and start workers for the rest."""
        while self._queue:
            alive = [worker for worker in self._running() if worker.killed is None]
            # First the ones that have nothing to do.
            worker = min(alive, key=lambda one: len(one.works), default=None)
            if worker is None or len(worker.works) >= self._lanes:
                worker = self._start() or worker
            if worker is None or len(worker.works) >= self._lanes + _IN_HAND:
                return
            work = self._queue.popleft()
            worker.works[work.id] = work
            _tell(worker, work)

    def _recall(self) -> None:
        """Ask works back that wait behind others while a worker has nothing to do."""
        alive = [worker for worker in self._running() if worker.ready and worker.killed is None]
        idle = sum(not worker.works for worker in alive)
        if self._queue or self._stopping or not idle:
            return
        for worker in alive:
            # One that has begun nothing is about to begin the first.
            behind = [id for id in worker.works if id not in worker.begun][0 if worker.begun else 1 :]
            if idle and behind and not worker.recalled:
                worker.recalled.add(behind[-1])
                _tell(worker, _Recall(behind[-1]))
                idle -= 1

    def _start(self) -> _Process | None:
        if self._may_start() < 1:
            return None
        now = time.monotonic()
        number = next((n for n, w in enumerate(self._workers) if w is None and self._rest_until[n] <= now), None)
        if number is None:
            return None
        self._startable -= 1
        settings = WorkerSettings(
            self._devices[number],
            self._lanes,
            self._threads,
            self._lanes * len(self._devices),
            dict(os.environ),
            self._before,
        )
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(there, settings), daemon=True, name=f"vidsal-batch-{number}"
        )
        with there:
            try:
                with _signals_held():
                    process.start()
            except (OSError, EOFError) as error:
                here.close()
                self._note_failed_start(number, str(error) or "no word")
                return None
        started = self._workers[number] = _Process(process, here)
        return started

    def _kill_given(self, id: int) -> bool:
        for worker in self._running():
            if id in worker.works:
                if worker.killed is None:
                    worker.killed = id
                    worker.process.kill()
                return True
        return False

    def _stop_workers(self) -> None:
        for worker in self._running():
            _tell(worker, None)

    def close(self) -> None:
        for worker in self._running():
            worker.process.kill()
        for worker in self._running():
            _end(worker)
        self._workers = [None] * len(self._devices)


def _tell(worker: _Process, what: Work | _Recall | None) -> None:
    with suppress(OSError):  # that it died is found out when its events are asked for
        worker.connection.send(what)


def _end(worker: _Process) -> None:
    """Let the process of a worker end; one that has closed its connection has nothing more to do."""
    worker.process.join(_JOIN_SECONDS)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join(_JOIN_SECONDS)  # what waits for a dead disk cannot even be killed
    worker.connection.close()


def _resident_bytes(worker: _Process) -> int:
    with suppress(psutil.Error):
        return int(psutil.Process(worker.process.pid).memory_info().rss)
    return 0


def _for_all() -> set[signal.Signals]:
    """Signals that a terminal or a queueing system sends to the whole group."""
    return {getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGTERM") if hasattr(signal, name)}


@contextmanager
def _signals_held() -> Iterator[None]:
    """What is sent to the whole group waits until the block is left; a process started in it goes on holding it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _for_all())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def how_it_ended(status: int) -> str:
    """The exit status of a process, for people."""
    if status >= 0:
        return f"status {status}"
    name = "unknown"
    with suppress(ValueError):
        name = signal.Signals(-status).name
    hint = "; the system ends processes so when memory runs out" if name == "SIGKILL" else ""
    return f"signal {-status} ({name}){hint}"


# The other side.


class _Received:
    """The works that come through a connection; None is the word to stop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._changed = threading.Condition()
        self._works: deque[Work] = deque()
        self.stopped = False

    def listen(self, recall: Callable[[int], None]) -> Iterator[None]:
        """Take what comes, in a thread of its own: all others may be at steps that take long."""
        while True:
            try:
                said = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)  # the batch has gone: nobody would note what is done here
            match said:
                case None:
                    with self._changed:
                        self.stopped = True
                        self._changed.notify_all()
                case _Recall(id):
                    recall(id)
                case work:
                    with self._changed:
                        self._works.append(work)
                        self._changed.notify_all()
            yield

    def wait(self) -> Work | None:
        with self._changed:
            while not (self._works or self.stopped):
                self._changed.wait(_STOP_SECONDS)
        return self.poll()

    def poll(self) -> Work | None:
        with self._changed:
            return self._works.popleft() if self._works and not self.stopped else None

    def left(self) -> list[Work]:
        """What was not begun."""
        with self._changed:
            return list(self._works)

    def give_back(self, id: int) -> bool:
        """Forget a work; False where there is no such."""
        with self._changed:
            there = len(self._works)
            self._works = deque(work for work in self._works if work.id != id)
            return len(self._works) < there


class Size:
    """Whether a process has grown too large since its first attempts."""

    def __init__(self, most_bytes: int) -> None:
        self._process = psutil.Process()
        self._most_bytes = most_bytes
        self._ended = 0
        self._first_bytes = 0

    def note_end(self) -> None:
        """An attempt has ended."""
        self._ended += 1
        if self._ended <= _FIRST_ATTEMPTS:
            self._first_bytes = max(self._first_bytes, self._bytes())

    def __call__(self) -> bool:
        return self._ended > _FIRST_ATTEMPTS and self._bytes() - self._first_bytes > self._most_bytes

    def _bytes(self) -> int:
        with suppress(psutil.Error):
            return int(self._process.memory_info().rss)
        return 0


def _work(connection: Connection, settings: WorkerSettings) -> None:
    """The life of a worker's process."""
    pipe = _Received(connection)
    # Ctrl-C and the end of a terminal reach the whole group; the batch ends its workers.
    for number in _for_all():
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: setattr(pipe, "stopped", True))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _for_all())
    _die_with_parent()
    # The process that workers are forked off has that of the first batch.
    os.environ.clear()
    os.environ.update(settings.environment)
    os.environ.setdefault("OMP_NUM_THREADS", str(settings.threads))
    limit_arenas()
    import cv2
    import torch

    from vidsal.batch.task import Worker

    cv2.setNumThreads(1)
    torch.set_num_threads(settings.threads)
    sending = threading.Lock()
    size = Size(GROWTH_BYTES * settings.lanes)

    def send(event: Event | _Ready | _Returned) -> None:
        try:
            with sending:
                connection.send(event)
        except OSError:
            os._exit(1)  # the batch has gone: nobody would note what is done here
        if isinstance(event, Ended):
            size.note_end()

    def recall(id: int) -> None:
        if worker.give_back(id) or pipe.give_back(id):
            send(_Returned(id))

    worker = Worker(
        pipe,
        send,
        should_stop=lambda: pipe.stopped,
        should_retire=size,
        lanes=settings.lanes,
        side_by_side=settings.side_by_side,
        device=settings.device,
        single_thread=settings.device == "cpu" and settings.threads == 1,
        before=settings.before,
    )
    with prefetch(pipe.listen(recall), drop_oldest=True, name="vidsal-batch-listen"):
        send(_Ready())
        worker.run()
        if pipe.stopped:
            for work in (*worker.left(), *pipe.left()):
                send(not_begun(work))
        os._exit(0)  # the thread listens as long as the batch lives


def _die_with_parent() -> None:
    """On Linux a worker is killed when the batch is; elsewhere it sees that nobody talks to it any more."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            # What it was forked off ends with the batch, and it with that.
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if parent is None or not parent.is_alive():
            os._exit(1)  # it was killed before that
