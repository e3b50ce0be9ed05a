"""Works in, attempts by actors of a Ray cluster: one a core or one a GPU, as many as the cluster holds at the moment.

An actor is a worker's process, so its models stay loaded. All that goes between it and the batch is `exchange`: works
go with the call, events come back, and each side says what it has got of the other. A call that is lost on the way is
simply made again, so nothing is lost or done twice.

Ray itself starts nothing again (`max_restarts=0`, `max_task_retries=0`): an actor that is started again would know
nothing of its works, and an attempt that Ray repeats would be counted by nobody. The engine sees every end of an actor,
tells it to the batch, and starts another one.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import platform
import re
import secrets
import signal
import socket
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from vidsal.batch.engines.contract import QueueEngine
from vidsal.batch.engines.local import GROWTH_BYTES, Size
from vidsal.batch.options import BatchOptions
from vidsal.batch.task import Worker
from vidsal.batch.work import Died, Ended, Event, Progress, Work
from vidsal.errors import ConfigError, Setting
from vidsal.files import writing
from vidsal.pipe.places import local_path
from vidsal.prefetch import usable_cores
from vidsal.provenance import package_version

__all__ = ["RayEngine"]

_POLL_SECONDS = 1.0
"""How long an actor that has nothing to say holds a call."""
_REACH_SECONDS = 10.0
"""How long the cluster may take to answer at its address."""
_NODES_SECONDS = 5.0
"""How often the nodes are counted."""
_DEATH_SECONDS = 5.0
"""How long the end of an actor is held back: its node may be about to go too, and then it is not at fault."""
_AGAIN_SECONDS = 0.5
"""Before an actor that cannot be reached is called again."""
_SILENT_SECONDS = 120.0
"""After which it is given up. Ray gives up a node that does not answer much earlier."""
_UNFIT_SECONDS = 20.0
"""How long a batch goes on where no worker can work."""
_IDLE_SECONDS = 60.0
"""After which an actor without work is ended, so that its node can be given back."""
_RESTARTS = 3
"""Workers in a row that may fail to start."""
_AHEAD = 16
"""Works beyond those that there are actors for."""
_VIDEO_GIGABYTES = 1.5
_GIGABYTE = 1_000_000_000
_STORE_BYTES = 100 << 20
"""What Ray keeps in shared memory, on a cluster of its own: nothing of vidsal goes there."""


@dataclass(frozen=True)
class _Needs:
    """What Ray keeps for one worker."""

    cpus: float
    gpus: float
    gigabytes: float

    def fit(self, resources: Mapping[str, float]) -> int:
        """How many workers a node has room for that does nothing else."""
        room = [
            int(resources.get(name, 0.0) / need + 1e-6)
            for name, need in (("CPU", self.cpus), ("GPU", self.gpus), ("memory", self.gigabytes * _GIGABYTE))
            if need
        ]
        return min(room, default=0)


@dataclass(frozen=True)
class _Settings:
    """What an actor is told once."""

    lanes: int
    cpus: float
    device: str | None
    """Where models run whose options leave the choice; None: where they say."""
    version: str
    """Of the vidsal that asks."""
    token: Path | None
    """A file that is there where the results are to go."""
    secret: str
    """What stands in it."""
    before: Callable[[Work], None] | None

    @property
    def threads(self) -> int:
        """Threads of torch."""
        return max(1, int(self.cpus))


@dataclass(frozen=True)
class _Answer:
    """What an actor says when it is called."""

    node: str
    """Ray's name of its node."""
    host: str
    pid: int
    taken: int
    """Ordinal of the last work that it has got."""
    events: tuple[tuple[int, Event], ...]
    """Those that the engine has not said to have got, each with its ordinal."""
    problem: str | None
    """Why it must not work."""
    over: str | None
    """How its work ended, empty where it was stopped or has grown too large; None: it goes on."""


@dataclass(eq=False)
class _Actor:
    """What the engine knows of one actor."""

    handle: Any
    life: Any
    """The call that works until the end."""
    call: Any = None
    """The call that is under way."""
    after: float = 0.0
    """No other one is made before."""
    works: dict[int, Work] = field(default_factory=dict)
    """What it was given and has not ended."""
    unsent: list[tuple[int, Work]] = field(default_factory=list)
    """What it has not said to have got."""
    given: int = 0
    """Ordinal of the last work that it was given."""
    seen: int = 0
    """Ordinal of the last event of it."""
    answer: _Answer | None = None
    """The last one; None: it has not started yet."""
    killed: int | None = None
    silent_since: float | None = None
    idle_since: float = 0.0

    @property
    def is_fit(self) -> bool:
        """Whether it can work."""
        return self.answer is not None and self.answer.problem is None and self.killed is None

    def has_place(self, lanes: int) -> bool:
        return self.is_fit and len(self.works) < lanes and not any(work.alone for work in self.works.values())


@dataclass
class _Death:
    """An actor that ended, as long as it is unclear why."""

    died: Died
    node: str
    due: float


class RayEngine(QueueEngine):
    """Actors of a Ray cluster.

    There are as many as the nodes have room for, and one more is always asked for as long as works wait: it begins when
    a node comes, and tells a cluster that grows by itself to start one. Actors without work are ended.

    A worker that ends by itself is charged to what it was at. A node that goes is not (`Died.lost`).

    Args:
        address: "HOST:PORT" of the cluster; "auto": the one of this machine; "local": one that ends with the batch;
            None: that of RAY_ADDRESS or of this machine, or else a local one.
        workers: most workers at once; 0: as many as there is room for.
        lanes: videos side by side in each; 0: 4 on a GPU, 1 on a CPU.
        cpus: cores for each; None: 1, or with a GPU its share of the cores of its node.
        gpus: GPUs for each, also parts of one; None: 1 where a node has some.
        gigabytes: memory that Ray keeps for each; None: 1.5 a video.
        device: as `ModelOptions.device` has it; "cpu" leaves GPUs alone.
        folder: where the results go, if that is a folder: a worker that does not see it must not work.
        before: called in the worker before each attempt: for tests. A function of a module.

    Raises:
        ConfigError: Ray is not installed, the cluster cannot be reached, or it runs another version of Ray or Python.
        EncodeError: nothing can be written into the folder.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        workers: int = 0,
        lanes: int = 0,
        cpus: float | None = None,
        gpus: float | None = None,
        gigabytes: float | None = None,
        device: str = "auto",
        folder: Path | None = None,
        before: Callable[[Work], None] | None = None,
    ) -> None:
        super().__init__()
        self._ray = _import_ray()
        self._close_ray = _connect(self._ray, address)
        try:
            self._needs, self._lanes = self._choose(
                lanes=lanes, cpus=cpus, gpus=gpus, gigabytes=gigabytes, device=device
            )
            self._token = None if folder is None else folder / f"ray-{platform.node()}-{os.getpid()}"
            settings = _Settings(
                lanes=self._lanes,
                cpus=self._needs.cpus,
                device="cpu" if device == "auto" and not self._needs.gpus else None,
                version=package_version(),
                token=self._token,
                secret=secrets.token_hex(16),
                before=before,
            )
            if self._token is not None:
                _leave(self._token, settings.secret)
        except BaseException:
            self._close_ray()
            raise
        self._make = self._maker(settings)
        self._most = workers
        self._actors: list[_Actor] = []
        self._deaths: list[_Death] = []
        self._places = 0
        self._alive: frozenset[str] = frozenset()
        self._counted = float("-inf")
        self._closed = False
        self._failures = 0
        self._start_after = 0.0
        self._unfit_since: float | None = None

    @classmethod
    def for_options(cls, options: BatchOptions, *, device: str, folder: Path | None = None) -> RayEngine:
        """The engine that a batch asks for; `device` and `folder` are as for the class."""
        return cls(
            address=options.ray_address,
            workers=options.workers,
            lanes=options.lanes,
            cpus=options.worker_cpus,
            gpus=options.worker_gpus,
            gigabytes=options.worker_memory,
            device=device,
            folder=folder,
        )

    @property
    def processes(self) -> int:
        """How many workers there is room for now."""
        self._count_nodes()
        return min(self._places, self._most or self._places)

    def describe(self) -> str:
        self._count_nodes()
        each = f"{self._needs.cpus:g} CPU" + (f" and {self._needs.gpus:g} GPU" if self._needs.gpus else "")
        each += f" and {self._needs.gigabytes:g} GB of memory" if self._needs.gigabytes else ""
        nodes = f"{len(self._alive)} node{'s' if len(self._alive) != 1 else ''} of a Ray cluster"
        if not self._places:
            return f"{nodes}, none of which has {each} for a worker: it waits for one that has"
        count = self.processes
        lanes = f", {self._lanes} videos side by side in each" if self._lanes > 1 else ""
        return f"{count} worker{'s' if count > 1 else ''} on {nodes}, with {each} each{lanes}"

    # What the scheduler asks.

    def room(self) -> int:
        if self._stopping:
            return 0
        free = sum(self._lanes - len(actor.works) for actor in self._actors if actor.has_place(self._lanes))
        starting = sum(actor.answer is None for actor in self._actors)
        ahead = min(_AHEAD, max(0, self._wanted() - len(self._actors)))
        return max(0, free + starting + ahead - len(self._queue))

    def events(self, seconds: float) -> list[Event]:
        self._count_nodes()
        self._hand_out()
        self._start_actors()
        self._end_idle()
        self._told += self._due_deaths()
        now = time.monotonic()
        for actor in self._actors:
            if actor.call is None and now >= actor.after:
                self._call(actor)
        calls = {actor.call: actor for actor in self._actors if actor.call is not None}
        pause = 0.0 if self._told else seconds
        if calls:
            ready, _ = self._ray.wait(list(calls), num_returns=1, timeout=pause)
            if ready and len(calls) > 1:
                ready, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
            for call in ready:
                self._take(calls[call], call)
        elif pause:
            time.sleep(pause)
        self._check_fit()
        return self._take_told()

    def _kill_given(self, id: int) -> bool:
        for actor in self._actors:
            if id in actor.works:
                if actor.killed is None:
                    actor.killed = id
                    self._end(actor)
                return True
        for death in self._deaths:
            if id in death.died.ids:
                death.died = dataclasses.replace(death.died, killed=id)
                death.due = 0.0
                return True
        return False

    def _stop_workers(self) -> None:
        for actor in list(self._actors):
            if not actor.works:
                self._actors.remove(actor)
                self._end(actor)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for actor in self._actors:
            self._end(actor)
        self._actors.clear()
        self._deaths.clear()
        if self._token is not None:
            with suppress(OSError):
                self._token.unlink()
        self._close_ray()

    # Nodes and actors.

    def _choose(
        self, *, lanes: int, cpus: float | None, gpus: float | None, gigabytes: float | None, device: str
    ) -> tuple[_Needs, int]:
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        # The fewest cores that a GPU has for itself on one of the nodes.
        cores = min((node.get("CPU", 0.0) / node["GPU"] for node in nodes if node.get("GPU")), default=None)
        if gpus is None:
            gpus = float(device.startswith("cuda") or (device == "auto" and cores is not None))
        if cpus is None:
            cpus = max(1.0, float(int(cores * gpus))) if gpus and cores else 1.0
        lanes = lanes or (4 if gpus else 1)
        return _Needs(cpus, gpus, _VIDEO_GIGABYTES * lanes if gigabytes is None else gigabytes), lanes

    def _maker(self, settings: _Settings) -> Callable[[], _Actor]:
        remote = self._ray.remote(
            num_cpus=self._needs.cpus,
            num_gpus=self._needs.gpus,
            memory=int(self._needs.gigabytes * _GIGABYTE) or None,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            concurrency_groups={"exchange": 1},
        )(_Remote)

        def make() -> _Actor:
            handle = remote.remote(settings)
            return _Actor(handle, handle.work.remote(), idle_since=time.monotonic())

        return make

    def _count_nodes(self, *, every: float = _NODES_SECONDS) -> None:
        if time.monotonic() - self._counted < every:
            return
        self._counted = time.monotonic()
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        self._alive = frozenset(node["NodeID"] for node in nodes)
        self._places = sum(self._needs.fit(node["Resources"]) for node in nodes)

    def _wanted(self) -> int:
        """How many actors there may be."""
        return self._most or self._places + 1

    def _start_actors(self) -> None:
        if self._stopping or time.monotonic() < self._start_after:
            return
        starting = sum(actor.answer is None for actor in self._actors)
        for _ in range(min(len(self._queue) - starting, self._wanted() - len(self._actors))):
            self._actors.append(self._make())

    def _end_idle(self) -> None:
        now = time.monotonic()
        for actor in list(self._actors):
            if actor.works or self._queue:
                actor.idle_since = now
            elif now - actor.idle_since > _IDLE_SECONDS:
                self._actors.remove(actor)
                self._end(actor)

    def _end(self, actor: _Actor) -> None:
        with suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(actor.handle, no_restart=True)

    def _hand_out(self) -> None:
        """Give works to actors that have room; one that is to be alone goes where nothing else is."""
        held: list[Work] = []
        free = sorted((actor for actor in self._actors if actor.has_place(self._lanes)), key=lambda one: len(one.works))
        while self._queue and free:
            work = self._queue.popleft()
            if work.alone and free[0].works:
                # The one with the least to do gets nothing more until it is free.
                free.pop(0)
                held.append(work)
                continue
            actor = free.pop(0)
            actor.given += 1
            actor.works[work.id] = work
            actor.unsent.append((actor.given, work))
            if actor.has_place(self._lanes):
                free.append(actor)
                free.sort(key=lambda one: len(one.works))
        self._queue.extendleft(reversed(held))

    # Calls and answers.

    def _call(self, actor: _Actor) -> None:
        actor.call = actor.handle.exchange.options(concurrency_group="exchange").remote(
            actor.seen,
            tuple(actor.unsent),
            self._stopping,
            0.0 if actor.answer is None else _POLL_SECONDS,
        )

    def _take(self, actor: _Actor, call: Any) -> None:
        exceptions = self._ray.exceptions
        actor.call = None
        try:
            answer: _Answer = self._ray.get(call)
        except exceptions.ActorUnavailableError as error:
            self._wait_for(actor, error)
            return
        except exceptions.RayError as error:
            self._bury(actor, error)
            return
        actor.silent_since = None
        if actor.answer is None:
            self._failures = 0
        actor.answer = answer
        if answer.problem is not None:
            actor.after = time.monotonic() + _POLL_SECONDS
        actor.unsent = [(number, work) for number, work in actor.unsent if number > answer.taken]
        for number, event in answer.events:
            actor.seen = number
            if isinstance(event, Ended):
                work = actor.works.pop(event.id, None)
                if work is not None:
                    self._told.append(_as_seen_here(event, work, answer.host))
            else:
                self._told.append(event)
        if answer.over is not None:
            self._actors.remove(actor)
            self._look_away(actor)
            self._end(actor)
            if answer.over and actor.works:
                self._told.append(Died((*actor.works,), f"{_called(answer)} failed: {answer.over}", actor.killed))
            else:
                self._put_back(actor.works.values())

    def _look_away(self, actor: _Actor) -> None:
        """Ray would complain of an error that nobody has looked at."""
        with suppress(self._ray.exceptions.RayError):
            self._ray.get(actor.life, timeout=0)

    def _wait_for(self, actor: _Actor, error: Exception) -> None:
        """What cannot be reached is called again, unless that has been so for too long."""
        now = time.monotonic()
        actor.after = now + _AGAIN_SECONDS
        actor.silent_since = actor.silent_since or now
        if now - actor.silent_since > _SILENT_SECONDS:
            self._end(actor)
            self._bury(actor, error, lost=True)

    def _bury(self, actor: _Actor, error: Exception, *, lost: bool = False) -> None:
        """Note the end of an actor; what it was at is told as soon as it is clear whether its node went too."""
        self._actors.remove(actor)
        self._look_away(actor)
        if actor.answer is None:
            self._note_failure(error)
        lost |= bool(getattr(error, "preempted", False))
        if actor.works and actor.answer is not None:
            died = Died((*actor.works,), f"{_called(actor.answer)} ended: {_brief(error)}", actor.killed, lost=lost)
            certain = lost or actor.killed is not None
            due = 0.0 if certain else time.monotonic() + _DEATH_SECONDS
            self._deaths.append(_Death(died, actor.answer.node, due))
            self._counted = float("-inf")

    def _due_deaths(self) -> list[Event]:
        if self._deaths:
            self._count_nodes(every=_AGAIN_SECONDS)
        now = time.monotonic()
        due: list[Event] = []
        for death in list(self._deaths):
            if death.node not in self._alive and death.died.killed is None:
                death.died, death.due = dataclasses.replace(death.died, lost=True), 0.0
            if now >= death.due:
                self._deaths.remove(death)
                due.append(death.died)
        return due

    def _note_failure(self, error: Exception) -> None:
        """Say so where workers cannot be started; one that is lost with its node before that is no failure."""
        if not getattr(error, "actor_init_failed", False) and not isinstance(error, self._ray.exceptions.RayTaskError):
            return
        self._failures += 1
        self._start_after = time.monotonic() + min(60.0, 2.0**self._failures)
        if self._failures >= _RESTARTS and not any(actor.is_fit for actor in self._actors):
            raise ConfigError(Setting("engine", "ray"), f": no worker can be started: {_brief(error)}")

    def _check_fit(self) -> None:
        """Stop where no worker can work; those that cannot keep their places, so that others get better ones."""
        problems = [actor.answer.problem for actor in self._actors if actor.answer is not None and actor.answer.problem]
        if not problems or any(actor.is_fit for actor in self._actors):
            self._unfit_since = None
            return
        self._unfit_since = self._unfit_since or time.monotonic()
        if time.monotonic() - self._unfit_since > _UNFIT_SECONDS:
            raise ConfigError(Setting("engine", "ray"), f": no worker can work: {problems[0]}")


def _as_seen_here(end: Ended, work: Work, host: str) -> Ended:
    """An input that only one node does not see is not gone: another one may see it."""
    path = local_path(work.source)
    if end.reason != "gone" or path is None or not os.path.lexists(path):
        return end
    message = f"{host} does not see {path}, which is there: inputs have to lie where all nodes see them"
    return dataclasses.replace(end, reason="transfer", message=message)


def _called(answer: _Answer) -> str:
    return f"the worker on {answer.host} (process {answer.pid})"


_HOW_IT_ENDED = {
    "NODE_OUT_OF_MEMORY": "Ray ended it because its node was short of memory",
    "SYSTEM_ERROR": "its process was killed, maybe for want of memory, or crashed",
}


def _brief(error: Exception) -> str:
    """What Ray says in many lines, in one."""
    text = str(error)
    kind = re.search(r"Worker exit type: (\w+)", text)
    if kind and kind[1] in _HOW_IT_ENDED:
        return _HOW_IT_ENDED[kind[1]]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


# Connecting.


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        what = " needs Ray, which is not installed: pip install 'vidsal[ray]' (on every node)"
        raise ConfigError(Setting("engine", "ray"), what) from error
    return ray


def _connect(ray: Any, address: str | None) -> Callable[[], None]:
    """Connect to a cluster, or start one; returns what gives it up again.

    A connection that the process has already is used, and kept.
    """
    if ray.is_initialized():
        return lambda: None
    wanted = address or os.environ.get("RAY_ADDRESS") or "auto"
    setting = Setting("ray_address", wanted)
    if "://" in wanted:
        raise ConfigError(setting, ": start the batch on a node of the cluster, and give HOST:PORT or auto")
    if wanted not in ("auto", "local"):
        _reach(setting, wanted)
    loud = _silence(ray)
    try:
        with _handlers_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            options = {"log_to_driver": False, "logging_level": "error"}
            if wanted != "local":
                try:
                    ray.init(address=wanted, **options)
                except ConnectionError:
                    if wanted != "auto" or address is not None:
                        raise
                    wanted = "local"
            if wanted == "local":
                ray.init(address="local", include_dashboard=False, object_store_memory=_STORE_BYTES, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        loud()
        ray.shutdown()
        raise ConfigError(setting, f" cannot be used: {' '.join(str(error).split())}") from error

    def give_up() -> None:
        with _handlers_kept():
            ray.shutdown()
        loud()

    return give_up


_IS_IT_UP = "is the cluster up (ray status), and is this its port?"
_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""The frame with which both sides of HTTP/2 begin; Ray speaks gRPC."""
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS


def _reach(setting: Setting, address: str) -> None:
    """See that something answers: Ray itself would try for long, and then end the process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(setting, " is no address of a cluster: give HOST:PORT, auto or local")
    found = _SETTINGS
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                connection.sendall(_HELLO)
                found = connection.recv(len(_SETTINGS), socket.MSG_WAITALL)
    except TimeoutError as error:
        raise ConfigError(setting, f" does not answer within {_REACH_SECONDS:g} s; {_IS_IT_UP}") from error
    except (OSError, OverflowError) as error:
        what = f" cannot be reached: {getattr(error, 'strerror', None) or error}; "
        raise ConfigError(setting, what, _IS_IT_UP) from error
    if found[3:4] != _SETTINGS[3:4]:
        raise ConfigError(setting, " is no Ray cluster; ", _IS_IT_UP)


def _silence(ray: Any) -> Callable[[], None]:
    """Keep what Ray has to say of its nodes off standard output, which is the batch's; it is in Ray's log files too."""
    worker = sys.modules.get("ray._private.worker")
    name = "print_to_stdstream"
    printing = getattr(worker, name, None)
    if printing is None:
        return lambda: None
    setattr(worker, name, lambda *_, **__: None)
    return lambda: setattr(worker, name, printing)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray takes SIGTERM; here it is the command's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _leave(token: Path, secret: str) -> None:
    """Write the file by which workers know the folder; those of batches that were killed here are removed."""
    begin, _, _ = token.name.rpartition("-")
    with writing(token):
        for other in token.parent.glob(f"{glob.escape(begin)}-*"):
            number = other.name.rpartition("-")[2]
            if number.isdecimal() and not psutil.pid_exists(int(number)):
                other.unlink(missing_ok=True)
        token.write_text(secret)


# The other side.


class _Mail:
    """What came for an actor, and what it has to say."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # the actor works in one of its threads, and is called in another
        self._works: deque[Work] = deque()
        self._events: dict[int, Event] = {}
        self._count = 0
        self._taken = 0
        self._over: str | None = None
        self._stopped = False

    def wait(self) -> Work | None:
        with self._changed:
            self._changed.wait_for(lambda: self._works or self._stopped)
            return None if self._stopped else self._works.popleft()

    def poll(self) -> Work | None:
        with self._changed:
            return self._works.popleft() if self._works and not self._stopped else None

    def should_stop(self) -> bool:
        return self._stopped

    def put(self, event: Event) -> None:
        """Something to say; how far an attempt was is not said once it is farther."""
        with self._changed:
            if isinstance(event, Progress) and event.frames:
                self._events = {
                    number: other
                    for number, other in self._events.items()
                    if not (isinstance(other, Progress) and other.frames and other.id == event.id)
                }
            self._count += 1
            self._events[self._count] = event
            self._changed.notify_all()

    def end(self, how: str) -> None:
        """Nothing more is done."""
        with self._changed:
            self._over = how
            self._changed.notify_all()

    def exchange(
        self, seen: int, works: Sequence[tuple[int, Work]], stop: bool, seconds: float
    ) -> tuple[int, tuple[tuple[int, Event], ...], str | None]:
        """Take works, those that came already left out; give all events after one, and the end if that has come."""
        with self._changed:
            for number, work in works:
                if number > self._taken:
                    self._works.append(work)
                    self._taken = number
            self._stopped |= stop
            self._changed.notify_all()
            self._events = {number: event for number, event in self._events.items() if number > seen}
            self._changed.wait_for(lambda: self._events or self._over is not None, seconds)
            return self._taken, tuple(self._events.items()), self._over


class _Remote:
    """A worker's process: one thread works, another answers."""

    def __init__(self, settings: _Settings) -> None:
        import cv2
        import torch

        cv2.setNumThreads(1)
        torch.set_num_threads(settings.threads)
        self._settings = settings
        self._mail = _Mail()
        self._problem: str | None = "not looked yet"
        import ray

        self._node = ray.get_runtime_context().get_node_id()

    def work(self) -> None:
        """Work until told to stop."""
        settings, mail = self._settings, self._mail
        size = Size(GROWTH_BYTES * settings.lanes)

        def send(event: Event) -> None:
            mail.put(event)
            if isinstance(event, Ended):
                size.note_end()

        worker = Worker(
            mail,
            send,
            should_stop=mail.should_stop,
            should_retire=size,
            lanes=settings.lanes,
            side_by_side=settings.lanes * max(1, int(usable_cores() / settings.cpus)),
            device=settings.device,
            single_thread=settings.device == "cpu" and settings.threads == 1,
            before=settings.before,
        )
        try:
            worker.run()
        finally:
            error = sys.exception()
            # Without one: what it was given and has not ended, it has not begun.
            mail.end("" if error is None else f"{type(error).__name__}: {' '.join(str(error).split())}")

    def exchange(self, seen: int, works: Sequence[tuple[int, Work]], stop: bool, seconds: float) -> _Answer:
        """Works in, events out; holds for `seconds` where there are none."""
        if self._problem is not None:
            self._problem = _problem_of(self._settings)
        taken, events, over = self._mail.exchange(seen, works, stop, seconds if self._problem is None else 0.0)
        return _Answer(self._node, platform.node(), os.getpid(), taken, events, self._problem, over)


def _problem_of(settings: _Settings) -> str | None:
    """Why a worker must not work here."""
    host, version = platform.node(), package_version()
    if version != settings.version:
        return f"{host} has vidsal {version}, and this machine {settings.version}: install the same one on all nodes"
    if settings.token is not None:
        try:
            found = settings.token.read_text()
        except OSError:
            found = ""
        if found != settings.secret:
            folder = settings.token.parent
            return f"{host} does not see {folder}: the folder for the results has to lie where all nodes see it"
    return None
