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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import psutil

from vidsal.batch.engines.contract import Engine
from vidsal.batch.work import Died, Ended, Event, Progress, Work
from vidsal.prefetch import usable_cores

__all__ = ["LocalEngine", "free_bytes"]

_FIRST_BYTES = 1 << 30
"""What a worker is taken to need before one has been measured."""
_SPARE = 1.25
_MOST_ON_A_GPU = 4
_IN_HAND = 1
"""Works that a worker has beside those it is at, so that it need not wait for the next."""


def free_bytes() -> int:
    """Memory that may still be taken: of the machine, and of the control group where there is one."""
    free = int(psutil.virtual_memory().available)
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(0, free)


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker's process is told once."""

    device: str
    """Where the model runs, in place of "auto"."""
    lanes: int
    """Videos side by side."""
    threads: int
    """Threads of torch and of OpenCV."""
    before: Callable[[Work], None] | None = None
    """Called before each attempt: for tests."""


@dataclass
class _Process:
    """One worker."""

    process: SpawnProcess
    connection: Connection
    works: dict[int, Work] = field(default_factory=dict)
    """What it was given and has not ended, in the order in which it was given."""
    begun: set[int] = field(default_factory=set)
    """Those of them that it has begun."""
    killed: int | None = None
    """The input for which it was killed."""
    peak_bytes: int = 0
    """The most memory that it has taken, as it last said."""


class LocalEngine(Engine):
    """Processes of this machine.

    On a CPU each has one thread: two of those do more than one with two. They are started one after another, as long as
    there is memory for one more like those that run. A process that ends by itself is replaced.

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
        self._devices = devices
        self._lanes = lanes
        self._threads = threads
        self._before = before
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Process | None] = [None] * len(devices)
        self._queue: deque[Work] = deque()
        self._stopping = False
        self._waiting: deque[Event] = deque()

    @classmethod
    def for_device(
        cls, device: str, *, workers: int, lanes: int, before: Callable[[Work], None] | None = None
    ) -> LocalEngine:
        """As many processes as serve a device best, where 0 leaves that to vidsal.

        Args:
            device: as `ModelOptions.device` has it.
            workers: processes; 0: one a core, or one for every 4 cores and at most 4 a GPU, since Python is busier
                there than the GPU is.
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
        count = workers or len(devices) * max(1, min(_MOST_ON_A_GPU, usable_cores() // (4 * len(devices))))
        spread = [devices[n % len(devices)] for n in range(count)]
        return cls(spread, lanes=lanes or 4, threads=max(1, usable_cores() // count), before=before)

    def describe(self) -> str:
        kinds = sorted(set(self._devices))
        count = len(self._devices)
        where = "the CPU" if kinds == ["cpu"] else ", ".join(kinds)
        lanes = f", {self._lanes} videos side by side in each" if self._lanes > 1 else ""
        return f"{count} process{'es' if count > 1 else ''} on {where}{lanes}"

    def room(self) -> int:
        if self._stopping:
            return 0
        places = sum(worker is not None or self._may_start(n) for n, worker in enumerate(self._workers))
        taken = sum(len(worker.works) for worker in self._workers if worker is not None) + len(self._queue)
        return max(0, places * (self._lanes + _IN_HAND) - taken)

    def submit(self, work: Work) -> None:
        self._queue.append(work)
        self._hand_out()

    def events(self, seconds: float) -> list[Event]:
        self._hand_out()
        connections = {worker.connection: n for n, worker in enumerate(self._workers) if worker is not None}
        found: list[Event] = list(self._waiting)
        self._waiting.clear()
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
                    event = worker.connection.recv()
                    if isinstance(event, Progress):
                        worker.begun.add(event.id)
                    elif isinstance(event, Ended):
                        worker.works.pop(event.id, None)
                        worker.begun.discard(event.id)
                        worker.peak_bytes = max(worker.peak_bytes, event.peak_bytes)
                    found.append(event)
                    if not worker.connection.poll():
                        break
            except (EOFError, OSError):
                found += self._bury(number, worker)
        self._hand_out()
        return found

    def _bury(self, number: int, worker: _Process) -> list[Event]:
        """What a worker that ended was at; what it had in hand besides goes back."""
        worker.process.join()
        worker.connection.close()
        self._workers[number] = None
        # One that died before it began anything was loading a model for the first.
        begun = [id for id in worker.works if id in worker.begun] or list(worker.works)[:1]
        for id, work in reversed(worker.works.items()):
            if id not in begun:
                self._queue.appendleft(work)
        if not begun:
            return []
        status = worker.process.exitcode or 0
        how = f"signal {-status} ({_signal_name(-status)})" if status < 0 else f"status {status}"
        return [Died(tuple(begun), f"the process that was at it ended with {how}", worker.killed)]

    def _may_start(self, number: int) -> bool:
        """Whether one more worker may be started: there is memory for it, and one has shown how much it takes."""
        running = [worker for worker in self._workers if worker is not None]
        if not running:
            return True
        if self._devices[number] != "cpu":
            return True
        measured = max((worker.peak_bytes for worker in running), default=0)
        return (measured or _FIRST_BYTES) * _SPARE < free_bytes()

    def _hand_out(self) -> None:
        """Give works to workers that have room, and start workers for the rest."""
        while self._queue:
            running = [worker for worker in self._workers if worker is not None and worker.killed is None]
            # First the ones that have nothing to do.
            worker = min(running, key=lambda one: len(one.works), default=None)
            if worker is None or len(worker.works) >= self._lanes:
                started = self._start()
                worker = started or worker
            if worker is None or len(worker.works) >= self._lanes + _IN_HAND:
                return
            work = self._queue.popleft()
            worker.works[work.id] = work
            with suppress(OSError):  # that it died is found out when its events are asked for
                worker.connection.send(work)

    def _start(self) -> _Process | None:
        for number, worker in enumerate(self._workers):
            if worker is None and self._may_start(number):
                settings = WorkerSettings(self._devices[number], self._lanes, self._threads, self._before)
                here, there = self._context.Pipe()
                process = self._context.Process(
                    target=_work, args=(there, settings), daemon=True, name=f"vidsal-batch-{number}"
                )
                process.start()
                there.close()
                started = self._workers[number] = _Process(process, here)
                return started
        return None

    def kill(self, id: int) -> None:
        for worker in self._workers:
            if worker is not None and id in worker.works:
                worker.killed = id
                worker.process.kill()
                return
        for work in list(self._queue):
            if work.id == id:
                self._queue.remove(work)
                self._waiting.append(Died((id,), "it was not begun", id))

    def stop(self) -> None:
        self._stopping = True
        for work in self._queue:
            self._waiting.append(Ended(work.id, "interrupted", message="not begun", free_of_charge=True))
        self._queue.clear()
        for worker in self._workers:
            if worker is not None:
                with suppress(OSError):
                    worker.connection.send(None)

    def close(self) -> None:
        for worker in self._workers:
            if worker is not None:
                worker.process.kill()
                worker.process.join()
                worker.connection.close()
        self._workers = [None] * len(self._devices)


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return "unknown"


# The other side.


class _Pipe:
    """The works that come through a connection; None is the word to stop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # the model's thread asks for works, the main one whether to stop
        self._works: deque[Work] = deque()
        self.stopped = False

    def wait(self) -> Work | None:
        while not self.stopped:
            with self._lock:
                if self._works:
                    return self._works.popleft()
            try:
                wait([self._connection], 5)
                self._read()
            except EOFError:
                self.stopped = True
        return None

    def poll(self) -> Work | None:
        self._read()
        with self._lock:
            return self._works.popleft() if self._works and not self.stopped else None

    def should_stop(self) -> bool:
        self._read()
        return self.stopped

    def left(self) -> list[Work]:
        """What was not begun."""
        with self._lock:
            return list(self._works)

    def _read(self) -> None:
        with self._lock:
            try:
                while self._connection.poll():
                    work = self._connection.recv()
                    if work is None:
                        self.stopped = True
                    else:
                        self._works.append(work)
            except (EOFError, OSError):
                self.stopped = True


def _work(connection: Connection, settings: WorkerSettings) -> None:
    """The life of a worker's process."""
    # Ctrl-C reaches the whole group; the batch ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    os.environ.setdefault("OMP_NUM_THREADS", str(settings.threads))
    import cv2
    import torch

    from vidsal.batch.task import Worker

    cv2.setNumThreads(1)
    torch.set_num_threads(settings.threads)
    pipe = _Pipe(connection)
    signal.signal(signal.SIGTERM, lambda *_: setattr(pipe, "stopped", True))

    sending = threading.Lock()

    def send(event: Event) -> None:
        try:
            with sending:
                connection.send(event)
        except OSError:
            os._exit(1)  # the batch has gone: nobody would note what is done here

    worker = Worker(pipe, send, should_stop=pipe.should_stop, lanes=settings.lanes, before=settings.before)
    worker.run()
    for work in (*worker.left(), *pipe.left()):
        send(Ended(work.id, "interrupted", message="not begun", free_of_charge=True))


def _die_with_parent() -> None:
    """On Linux a worker is killed when the batch is."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() == 1:
            os._exit(1)  # it was killed before that
