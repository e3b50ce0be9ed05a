"""A batch over a Ray cluster: a real one of two nodes, and one that is made up for what cannot be brought about there.

The real one starts once. Its workers find what they do before an attempt in this file, by the name of the input.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from made import make_checkpoint

from vidsal.batch import dry_run, job, task
from vidsal.batch.database import Row, State
from vidsal.batch.engines import ray as engine_module
from vidsal.batch.engines.ray import RayEngine
from vidsal.batch.folder import database_path, job_folder
from vidsal.batch.inputs import Given
from vidsal.batch.job import BatchReport, run_batch
from vidsal.batch.options import ArchiveOptions, BatchOptions
from vidsal.batch.schedule import BatchProgress
from vidsal.batch.task import Worker
from vidsal.batch.work import Died, Ended, Event, Progress, Work
from vidsal.bench.made import make_clip
from vidsal.errors import ConfigError, ExistsError
from vidsal.pipe.options import ModelOptions, OutputOptions, RunOptions
from vidsal.pipe.run import Job, run

ROOT = Path(__file__).resolve().parents[1]
LONGEST_SECONDS = 900
"""Ray starts a dozen processes: on a busy machine that takes minutes."""


# A real cluster.


def before(work: Work) -> None:
    """What a worker does before an attempt at an input of such a name."""
    source = Path(work.source)
    sign = source.with_suffix(f".{os.getpid()}")
    if source.stem.startswith("a-held"):
        sign.touch()
        while not (source.parent / "go").exists():
            time.sleep(0.05)
    if source.stem.startswith("crash") and not any(source.parent.glob(f"{source.stem}.[0-9]*")):
        sign.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if source.stem.startswith("endless"):
        time.sleep(LONGEST_SECONDS)


class Nodes:
    """A cluster with a node that stays and one that can be taken away."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        # A node that was killed is found out within seconds; one that is only slow is not taken for that.
        patient = {
            "health_check_initial_delay_ms": 1000,
            "health_check_period_ms": 1000,
            "health_check_timeout_ms": 60_000,
            "health_check_failure_threshold": 3,
            "worker_register_timeout_seconds": LONGEST_SECONDS,
            "agent_register_timeout_ms": LONGEST_SECONDS * 1000,
            # Ray's workers are at 15, where a busy machine leaves them a hundredth of a core.
            "worker_niceness": 0,
        }
        self._each = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
        # A node takes over SIGTERM for the whole process.
        self._handler = signal.getsignal(signal.SIGTERM)
        self._cluster = Cluster()
        while not self._cluster.list_all_nodes():
            self._start(Cluster, _system_config=patient)
        self.address: str = self._cluster.address
        self._other: Any = None

    def add(self) -> None:
        """Add the node that can be taken away; it is there a moment later."""
        self._other = None
        while self._other is None:
            self._other = self._start()

    def _start(self, anew: Callable[[], Any] | None = None, **more: Any) -> Any:
        """Start a node; None where it took longer than the 30 s that Ray allows, which a busy machine may well need.

        What began is stopped then, and with `anew` the cluster made again.
        """
        try:
            return self._cluster.add_node(wait=False, **more, **self._each)
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            if anew is not None:
                self._cluster.shutdown()
                self._cluster = anew()
            return None
        finally:
            signal.signal(signal.SIGTERM, self._handler)

    def remove(self) -> None:
        """Kill all its processes."""
        self._cluster.remove_node(self._other, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'vidsal[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(ROOT / "tests"))))
        patch.setenv("RAY_SCHEDULER_EVENTS", "0")
        patch.setenv("RAY_gcs_server_port_wait_time_s", str(LONGEST_SECONDS))
        patch.delenv("RAY_ADDRESS", raising=False)
        nodes = Nodes()
        yield nodes
        nodes.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=0.2, height=48, width=64)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors")


class Archive:
    """A folder of copies of one clip, and what a batch of it gives."""

    def __init__(self, folder: Path, nodes: Nodes, clip: Path, model: Path) -> None:
        self.inputs, self.output = folder / "in", folder / "out"
        self.inputs.mkdir()
        self._nodes = nodes
        self._clip = clip
        self.model = ModelOptions(model=str(model), device="cpu")
        self.ended: list[tuple[Ended, Row, State]] = []

    def add(self, *stems: str) -> None:
        for stem in stems:
            (self.inputs / f"{stem}.mp4").write_bytes(self._clip.read_bytes())

    def run(self, *, on_progress: Callable[[BatchProgress], None] | None = None, **more: Any) -> BatchReport:
        stop_requested = more.pop("stop_requested", lambda: 0)
        output = OutputOptions(output=self.output, video=False, table="csv")
        batch = BatchOptions(engine="ray", keep_free=0, retry_pause=0, dataset=False, **more)
        return run_batch(
            Given(inputs=(str(self.inputs),), output=str(self.output)),
            ArchiveOptions(model=self.model, output=output, batch=batch),
            engine=lambda: RayEngine(
                address=self._nodes.address, gigabytes=0.1, folder=job_folder(self.output), before=before
            ),
            on_event=lambda *event: self.ended.append(event),
            on_progress=on_progress,
            stop_requested=stop_requested,
        )

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        database = sqlite3.connect(database_path(self.output))
        try:
            return database.execute(question).fetchall()
        finally:
            database.close()

    def tables(self) -> set[str]:
        return {path.read_text() for path in self.output.rglob("*.vidsal.csv")}

    def undisturbed(self, folder: Path) -> str:
        """The table of one clip, made here."""
        options = RunOptions(model=self.model, output=OutputOptions(output=folder, video=False, table="csv"))
        report = run(self._clip, options=options)
        return next(path for path in report.files if path.suffix == ".csv").read_text()


@pytest.fixture
def archive(tmp_path: Path, nodes: Nodes, clip: Path, model: Path) -> Archive:
    return Archive(tmp_path, nodes, clip, model)


def is_alive(number: int) -> bool:
    """Whether a process works, and does not only wait for its parent to take note of its end."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_SECONDS)
def test_a_node_that_is_lost_costs_its_inputs_nothing(archive: Archive, nodes: Nodes, tmp_path: Path) -> None:
    """It goes while each of the two nodes is at an input; what it was at is done on the other one."""
    nodes.add()
    archive.add("a-held-1", "a-held-2", *(f"clip-{number}" for number in range(8)))
    removed = []

    def watch(progress: BatchProgress) -> None:
        if not removed and len(list(archive.inputs.glob("a-held-*.[0-9]*"))) == 2:
            removed.append(progress.ended)
            nodes.remove()
            # What worked there ends a moment after its node: it might be done before that.
            at_it = [int(path.suffix[1:]) for path in archive.inputs.glob("a-held-*.[0-9]*")]
            end = time.monotonic() + LONGEST_SECONDS / 2
            while all(map(is_alive, at_it)) and time.monotonic() < end:
                time.sleep(0.05)
            (archive.inputs / "go").touch()

    report = archive.run(on_progress=watch)
    assert removed == [0]
    assert (report.outcome, report.counts, report.is_all_done) == ("complete", {"done": 10}, True)
    assert archive.rows("SELECT DISTINCT attempts, deaths FROM inputs") == [(1, 0)]
    assert archive.rows("SELECT count(*), count(DISTINCT input) FROM attempts WHERE outcome='done'") == [(10, 10)]
    (lost,) = archive.rows("SELECT input, reason, message FROM attempts WHERE outcome='interrupted'")
    assert lost[1] == "worker died"
    assert lost[2].endswith("its machine is lost")
    assert archive.tables() == {archive.undisturbed(tmp_path / "here")}
    assert not [*archive.output.rglob("*.partial*"), *job_folder(archive.output).glob("ray-*")]


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_SECONDS)
def test_a_crash_and_a_time_limit_cost_one_attempt_and_no_other(archive: Archive) -> None:
    archive.add("clip-1", "crash", "endless", "later-1", "later-2")
    report = archive.run(grace=30.0, retries=0)
    assert report.counts == {"done": 4, "failed": 1}
    found = archive.rows("SELECT state, reason, attempts, deaths FROM inputs ORDER BY path")
    done = ("done", None, 1, 0)
    assert found == [done, ("done", None, 2, 1), ("failed", "too slow", 1, 0), done, done]
    ((message,),) = archive.rows("SELECT message FROM attempts WHERE reason='worker died'")
    assert "was killed, maybe for want of memory, or crashed" in message


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_SECONDS)
def test_a_stop_ends_it_soon_and_the_rest_waits(archive: Archive) -> None:
    archive.add(*(f"clip-{number:02}" for number in range(30)))
    handler = signal.getsignal(signal.SIGTERM)
    report = archive.run(stop_requested=lambda: min(1, len(archive.ended)))
    assert report.outcome == "interrupted"
    assert report.counts.keys() == {"done", "waiting"}
    assert report.counts["waiting"] >= 20
    assert archive.rows("SELECT count(*) FROM inputs WHERE attempts!=(state='done')") == [(0,)]
    assert not [*archive.output.rglob("*.partial*")]
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.timeout(LONGEST_SECONDS)
def test_a_cluster_of_another_version_is_refused(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "__version__", "1.2.3")
    with pytest.raises(ConfigError, match=r"ray_address=\S+ cannot be used: .*[Vv]ersion mismatch.*1\.2\.3"):
        RayEngine(address=nodes.address)
    assert not ray.is_initialized()


# A cluster that is made up.


class RayError(Exception):
    """As Ray's exceptions are related."""


class ActorDiedError(RayError):
    actor_init_failed = False


class ActorUnavailableError(RayError):
    pass


class RayTaskError(RayError):
    pass


@dataclasses.dataclass(eq=False)
class FakeCall:
    actor: FakeActor
    arguments: tuple[Any, ...]


class FakeActor:
    """An actor whose works a test works off; what is between it and the engine is the real thing."""

    def __init__(self, number: int, node: str) -> None:
        self.number, self.node = number, node
        self.mail = engine_module._Mail()
        self.started = True
        self.problem: str | None = None
        self.error: RayError | None = None
        self.loses = 0
        """Answers that are lost on the way."""
        self.killed = False
        self.taken: list[int] = []
        self.work = SimpleNamespace(remote=lambda: "life")
        self.exchange = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._call))

    def _call(self, *arguments: Any) -> FakeCall:
        return FakeCall(self, arguments)

    def answer(self, seen: int, works: Any, stop: bool, seconds: float) -> engine_module._Answer:
        if self.error is not None:
            raise self.error
        taken, events, over = self.mail.exchange(seen, works, stop, 0.0)
        if self.loses:
            self.loses -= 1
            raise ActorUnavailableError("socket closed")
        return engine_module._Answer(self.node, f"host-{self.node}", self.number, taken, events, self.problem, over)

    def begin(self) -> int:
        work = self.mail.poll()
        assert work is not None
        self.taken.append(work.id)
        self.mail.put(Progress(work.id, 0, None, 0.0, None))
        return work.id

    def finish(self, id: int, **more: Any) -> None:
        self.mail.put(Ended(id, **{"outcome": "done", **more}))


class FakeRay:
    """What the engine asks of Ray. Actors are spread over the nodes that are there."""

    def __init__(self) -> None:
        self.exceptions = SimpleNamespace(
            RayError=RayError,
            ActorDiedError=ActorDiedError,
            ActorUnavailableError=ActorUnavailableError,
            RayTaskError=RayTaskError,
        )
        self.resources: dict[str, dict[str, float]] = {"a": {"CPU": 2, "memory": 8e9}, "b": {"CPU": 1, "memory": 8e9}}
        self.actors: list[FakeActor] = []
        self.options: dict[str, Any] = {}
        self.make: Callable[[FakeActor], None] = lambda actor: None
        self.is_down = False

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": name, "Alive": True, "Resources": each} for name, each in self.resources.items()]

    def remote(self, **options: Any) -> Callable[[type], Any]:
        self.options = options

        def make(settings: Any) -> FakeActor:
            names = [name for name, each in self.resources.items() for _ in range(int(each["CPU"]))]
            actor = FakeActor(len(self.actors) + 1, names[len(self.actors) % len(names)])
            # There is room for as many as there are cores.
            actor.started = sum(not one.killed and one.error is None for one in self.actors) < len(names)
            self.make(actor)
            self.actors.append(actor)
            return actor

        return lambda _: SimpleNamespace(remote=make)

    def wait(self, calls: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        ready = [call for call in calls if call.actor.started or call.actor.error is not None]
        return ready[:num_returns], []

    def get(self, call: Any, timeout: float | None = None) -> Any:
        return None if call == "life" else call.actor.answer(*call.arguments)

    def kill(self, actor: FakeActor, *, no_restart: bool) -> None:
        assert no_restart
        actor.killed, actor.error = True, ActorDiedError("it was killed")


class Clock:
    """Time that passes only where a test lets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(engine_module, "time", clock)
    return clock


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr(engine_module, "_import_ray", lambda: fake)
    return fake


def work(id: int, *, alone: bool = False, source: str = "/in/a.mp4") -> Work:
    return Work(id, source, f"{id}", "/out", RunOptions(), alone=alone)


def steps(engine: RayEngine, count: int = 3) -> list[Event]:
    """What some steps bring: a work is on its way for one, and what is said of it for another."""
    return [event for _ in range(count) for event in engine.events(0.0)]


def fill(engine: RayEngine, first: int = 1) -> int:
    """Submit as much as there is room for, in some steps; how many that were."""
    count = 0
    for _ in range(10):
        for _ in range(engine.room()):
            engine.submit(work(first + count))
            count += 1
        engine.events(0.0)
    return count


def ends(events: list[Event]) -> list[int]:
    return [event.id for event in events if isinstance(event, Ended)]


def test_ray_is_asked_to_repeat_nothing_by_itself(ray: FakeRay, clock: Clock) -> None:
    RayEngine()
    assert (ray.options["max_restarts"], ray.options["max_task_retries"]) == (0, 0)
    assert (ray.options["num_cpus"], ray.options["num_gpus"], ray.options["memory"]) == (1, 0, 1_500_000_000)


def test_there_are_as_many_workers_as_room_and_one_that_waits_for_a_node(ray: FakeRay, clock: Clock) -> None:
    engine = RayEngine()
    assert engine.describe() == "3 workers on 2 nodes of a Ray cluster, with 1 CPU and 1.5 GB of memory each"
    # However many inputs there are, few of them are held.
    assert fill(engine) == 4
    assert [len(actor.mail._works) for actor in ray.actors] == [1, 1, 1, 0]
    assert engine.room() == 0
    # A node comes: the one that waits begins on it, and another one waits.
    ray.resources["c"] = {"CPU": 1, "memory": 8e9}
    ray.actors[3].started = True
    clock.now += 60
    assert fill(engine, 5) == 1
    assert [len(actor.mail._works) for actor in ray.actors] == [1, 1, 1, 1, 0]


def test_no_more_workers_are_started_than_there_is_work_for(ray: FakeRay, clock: Clock) -> None:
    engine = RayEngine()
    engine.submit(work(1))
    steps(engine)
    assert len(ray.actors) == 1


def test_workers_without_work_are_ended(ray: FakeRay, clock: Clock) -> None:
    engine = RayEngine(workers=2)
    fill(engine)
    ray.actors[0].finish(ray.actors[0].begin())
    assert len(ends(steps(engine))) == 1
    clock.now += 3600
    steps(engine)
    assert [actor.killed for actor in ray.actors] == [True, False]


@pytest.mark.parametrize(
    ("given", "needs", "lanes"),
    [
        ({}, (16, 1, 6.0), 4),
        ({"device": "cpu"}, (1, 0, 1.5), 1),
        ({"device": "cuda"}, (16, 1, 6.0), 4),
        ({"gpus": 0.5, "lanes": 2, "cpus": 3, "gigabytes": 0}, (3, 0.5, 0), 2),
        ({"gpus": 0}, (1, 0, 1.5), 1),
    ],
    ids=["open", "cpu", "cuda", "half", "none"],
)
def test_what_a_worker_needs_is_chosen_by_what_nodes_have(
    ray: FakeRay, clock: Clock, given: dict[str, Any], needs: tuple[float, float, float], lanes: int
) -> None:
    ray.resources = {"head": {"CPU": 4, "memory": 8e9}, "gpu": {"CPU": 32, "GPU": 2, "memory": 64e9}}
    engine = RayEngine(**given)
    assert dataclasses.astuple(engine._needs) == needs
    assert engine._lanes == lanes


def test_where_no_node_is_large_enough_that_is_said(ray: FakeRay, clock: Clock) -> None:
    assert "none of which has 64 CPU and 1.5 GB of memory for a worker" in RayEngine(cpus=64).describe()


def test_what_is_lost_on_the_way_comes_again_and_nothing_twice(ray: FakeRay, clock: Clock) -> None:
    engine = RayEngine(workers=1)
    engine.submit(work(1))
    steps(engine)
    (actor,) = ray.actors
    actor.loses = 3
    assert actor.begin() == 1
    actor.finish(1)
    found: list[Event] = []
    for _ in range(12):
        clock.now += 1
        found += engine.events(0.0)
    assert [type(event) for event in found] == [Progress, Ended]
    # A work whose way there is lost is taken once.
    actor.loses = 2
    engine.submit(work(2))
    for _ in range(6):
        clock.now += 1
        engine.events(0.0)
    assert actor.begin() == 2
    assert not actor.mail._works


def test_an_actor_that_cannot_be_reached_is_given_up_at_last(ray: FakeRay, clock: Clock) -> None:
    engine = RayEngine(workers=1)
    engine.submit(work(1))
    steps(engine)
    ray.actors[0].loses = 1_000_000
    found: list[Event] = []
    for _ in range(200):
        clock.now += 1
        found += engine.events(0.0)
    (died,) = found
    assert isinstance(died, Died)
    assert (died.ids, died.lost, ray.actors[0].killed) == ((1,), True, True)


@pytest.mark.parametrize("goes", [False, True], ids=["worker", "node"])
def test_the_end_of_a_worker_is_told_from_that_of_its_node(ray: FakeRay, clock: Clock, goes: bool) -> None:
    """A worker may be seen to end a moment before its node is."""
    engine = RayEngine(workers=1)
    engine.submit(work(1))
    steps(engine)
    ray.actors[0].error = ActorDiedError("Worker exit type: SYSTEM_ERROR Worker exit detail: end of file.")
    clock.now += 1
    assert steps(engine) == []
    if goes:
        del ray.resources["a"]
        clock.now += 1
    else:
        clock.now += 5
    (died,) = steps(engine)
    assert isinstance(died, Died)
    assert (died.ids, died.lost, died.killed) == ((1,), goes, None)
    assert died.message == (
        "the worker on host-a (process 1) ended: its process was killed, maybe for want of memory, or crashed"
    )


def test_a_time_limit_ends_the_worker_at_once(ray: FakeRay, clock: Clock) -> None:
    engine = RayEngine(workers=1)
    engine.submit(work(1))
    steps(engine)
    ray.actors[0].begin()
    steps(engine)
    engine.kill(1)
    engine.kill(1)
    (died,) = steps(engine)
    assert isinstance(died, Died)
    assert (died.ids, died.killed) == ((1,), 1)


def test_what_may_have_killed_a_worker_is_alone_in_the_next(ray: FakeRay, clock: Clock) -> None:
    engine = RayEngine(workers=2, lanes=2)
    for id in (1, 2):
        engine.submit(work(id))
    steps(engine)
    for id in (3, 4, 5):
        engine.submit(work(id, alone=id == 3))
    steps(engine)
    one, two = ray.actors
    assert [[work.id for work in actor.mail._works] for actor in (one, two)] == [[1], [2, 4]]
    # It goes where nothing else is any more, and nothing follows it there.
    one.finish(one.begin())
    steps(engine)
    assert one.begin() == 3
    two.finish(two.begin())
    steps(engine)
    assert [[work.id for work in actor.mail._works] for actor in (one, two)] == [[], [4, 5]]
    one.finish(3)
    engine.submit(work(6))
    steps(engine)
    assert one.begin() == 6


def test_a_worker_that_has_grown_gives_back_what_it_has_not_begun(ray: FakeRay, clock: Clock) -> None:
    engine = RayEngine(workers=1)
    engine.submit(work(1))
    steps(engine)
    ray.actors[0].mail.end("")
    assert steps(engine, 6) == []
    assert ray.actors[0].killed
    assert ray.actors[1].begin() == 1


def test_a_worker_that_fails_is_charged_to_what_it_was_at(ray: FakeRay, clock: Clock) -> None:
    engine = RayEngine(workers=1)
    engine.submit(work(1))
    steps(engine)
    ray.actors[0].begin()
    ray.actors[0].mail.end("RuntimeError: no kernel")
    died = steps(engine)[-1]
    assert died == Died((1,), "the worker on host-a (process 1) failed: RuntimeError: no kernel")


def test_a_stop_lets_nothing_begin_and_closes_what_is_under_way(ray: FakeRay, clock: Clock) -> None:
    engine = RayEngine()
    assert fill(engine) == 4
    begun = ray.actors[0].begin()
    engine.stop()
    assert engine.room() == 0
    found = steps(engine)
    assert ray.actors[3].killed
    for actor in ray.actors[:3]:
        assert actor.mail.should_stop()
        assert actor.mail.poll() is None
    ray.actors[0].finish(begun, outcome="interrupted")
    for actor in ray.actors[:3]:
        actor.mail.end("")
    found += steps(engine)
    assert sorted(ends(found)) == [1, 2, 3, 4]
    assert {event.outcome for event in found if isinstance(event, Ended)} == {"interrupted"}
    assert not engine._actors


def test_a_node_that_does_not_see_the_folder_gets_no_work(ray: FakeRay, clock: Clock, tmp_path: Path) -> None:
    def make(actor: FakeActor) -> None:
        actor.problem = "host-a does not see it" if actor.node == "a" else None

    ray.make = make
    engine = RayEngine(workers=3, folder=tmp_path)
    for id in range(1, 6):
        engine.submit(work(id))
    for _ in range(6):
        clock.now += 30
        engine.events(0.0)
    assert [len(actor.mail._works) for actor in ray.actors] == [0, 0, 1]
    ray.actors[0].problem = None  # mounted late
    clock.now += 30
    steps(engine)
    assert [len(actor.mail._works) for actor in ray.actors] == [1, 0, 1]


def test_where_no_worker_can_work_it_ends_with_the_reason(ray: FakeRay, clock: Clock) -> None:
    ray.make = lambda actor: setattr(actor, "problem", "host-a has vidsal 0.0.1")
    engine = RayEngine()
    engine.submit(work(1))
    steps(engine)
    clock.now += 60
    with pytest.raises(ConfigError, match=r"engine=ray: no worker can work: host-a has vidsal 0\.0\.1"):
        steps(engine)


def test_where_no_worker_can_be_started_it_ends_with_the_reason(ray: FakeRay, clock: Clock) -> None:
    error = ActorDiedError("The actor died\n  File x\nModuleNotFoundError: No module named 'vidsal'\n")
    error.actor_init_failed = True
    ray.make = lambda actor: setattr(actor, "error", error)
    engine = RayEngine(workers=1)
    engine.submit(work(1))
    with pytest.raises(ConfigError, match="no worker can be started: ModuleNotFoundError: No module named 'vidsal'"):
        for _ in range(400):
            clock.now += 1
            engine.events(0.0)
    assert len(ray.actors) == 3


def test_an_actor_that_goes_with_its_node_before_it_starts_is_no_failure(ray: FakeRay, clock: Clock) -> None:
    ray.make = lambda actor: setattr(actor, "error", ActorDiedError("its node died") if actor.number < 9 else None)
    engine = RayEngine(workers=1)
    engine.submit(work(1))
    steps(engine, 30)
    assert ray.actors[-1].begin() == 1


def test_an_input_that_only_one_node_does_not_see_is_not_gone(ray: FakeRay, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "there.mp4").touch()
    engine = RayEngine(workers=1)
    for id, name in ((1, "there.mp4"), (2, "gone.mp4")):
        engine.submit(work(id, source=str(tmp_path / name)))
        steps(engine)
        ray.actors[0].finish(ray.actors[0].begin(), outcome="failed", reason="gone", message="no such file")
        end = steps(engine)[-1]
        assert isinstance(end, Ended)
        assert (end.reason, "host-a does not see" in end.message) == (
            ("transfer", True) if id == 1 else ("gone", False)
        )


def test_a_worker_knows_the_folder_by_what_the_batch_left_there(tmp_path: Path, ray: FakeRay, clock: Clock) -> None:
    stale = tmp_path / f"ray-{engine_module.platform.node()}-999999999"
    stale.write_text("x")
    with RayEngine(folder=tmp_path) as engine:
        token = engine._token
        assert token is not None
        assert [*tmp_path.iterdir()] == [token]
        settings = engine_module._Settings(
            lanes=1, cpus=1, device="cpu", version=engine_module.package_version(), token=token,
            secret=token.read_text(), before=None,
        )  # fmt: skip
        assert engine_module._problem_of(settings) is None
        other = dataclasses.replace(settings, token=tmp_path / "elsewhere" / token.name)
        assert "does not see" in str(engine_module._problem_of(other))
        assert "does not see" in str(engine_module._problem_of(dataclasses.replace(settings, secret="other")))
        assert "has vidsal" in str(engine_module._problem_of(dataclasses.replace(settings, version="0.0.0")))
    assert not [*tmp_path.iterdir()]


def test_how_far_an_attempt_was_is_not_told_once_it_is_farther() -> None:
    mail = engine_module._Mail()
    for frames in (0, 5, 10):
        mail.put(Progress(1, frames, None, 0.0, None))
    mail.put(Progress(2, 7, None, 0.0, None))
    _, events, _ = mail.exchange(0, (), False, 0.0)
    assert [(event.id, event.frames) for _, event in events if isinstance(event, Progress)] == [(1, 0), (1, 10), (2, 7)]


def test_the_options_of_a_batch_are_those_of_its_engine(
    ray: FakeRay, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ray.resources["gpu"] = {"CPU": 8, "GPU": 2, "memory": 9e9}
    addresses = []
    monkeypatch.setattr(engine_module, "_connect", lambda _, address: addresses.append(address) or (lambda: None))
    job_folder(tmp_path).mkdir()
    chosen = BatchOptions(
        engine="ray", ray_address="head:6379", workers=7, lanes=3, worker_cpus=2, worker_gpus=0.5, worker_memory=4
    )
    options = ArchiveOptions(output=OutputOptions(output=tmp_path), batch=chosen)
    assert dry_run._workers(options) == 2
    addresses.clear()
    with job._engine(options) as engine:
        assert isinstance(engine, RayEngine)
        assert addresses == ["head:6379"]
        assert (dataclasses.astuple(engine._needs), engine._most, engine._lanes) == ((2, 0.5, 4), 7, 3)
        assert engine._token is not None
        assert engine._token.parent == job_folder(tmp_path)


# A worker that does not know yet that its node is lost, at the same results.


@pytest.mark.parametrize("times", [1, 2])
def test_results_that_another_writer_has_just_made_are_looked_at_again(
    clip: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The other one ends after this one has looked around: the first error is no refusal, the second one is."""
    begin, left = Job.opened, [times]

    def opened(self: Job) -> Any:
        if left[0]:
            left[0] -= 1
            raise ExistsError("another run has just made these results")
        return begin(self)

    monkeypatch.setattr(Job, "opened", opened)
    output = OutputOptions(output=tmp_path, video=False, table="csv", existing="skip")
    options = RunOptions(model=ModelOptions(model=str(model), device="cpu"), output=output)
    mail = engine_module._Mail()
    told: list[Event] = []
    one = Worker(mail, told.append, should_stop=mail.should_stop, should_retire=lambda: bool(ends(told)))
    monkeypatch.setattr(task, "_may_replace", lambda _: False)
    mail.exchange(0, [(1, Work(1, str(clip), "1", str(tmp_path), options))], False, 0.0)
    one.run()
    (end,) = (event for event in told if isinstance(event, Ended))
    assert (end.outcome, end.reason) == (("done", None) if times == 1 else ("failed", "results exist"))
    assert left == [0]


# Where Ray or the cluster is missing.


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"engine=ray needs Ray, which is not installed: pip install 'vidsal\[ray\]'"):
        RayEngine()


@pytest.fixture
def apart() -> Any:
    """Ray, not connected to anything."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'vidsal[ray]'")
    assert not ray.is_initialized()
    return ray


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "ray_address=127.0.0.1:1 cannot be reached: Connection refused; is the cluster up"),
        ("nowhere", "ray_address=nowhere is no address of a cluster: give HOST:PORT, auto or local"),
        ("ray://127.0.0.1:1", "start the batch on a node of the cluster, and give HOST:PORT or auto"),
    ],
    ids=["closed", "name", "client"],
)
def test_an_address_that_cannot_be_used_is_refused(apart: Any, address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RayEngine(address=address)


@pytest.mark.parametrize("says", [b"HTTP/1.0 404 Not Found\r\n\r\n", b"", None], ids=["other", "hangs up", "mute"])
def test_what_answers_there_has_to_be_a_cluster(
    apart: Any, monkeypatch: pytest.MonkeyPatch, says: bytes | None
) -> None:
    """Ray itself would try for minutes, and then end the process."""
    monkeypatch.setattr(engine_module, "_REACH_SECONDS", 1.0)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                if says is None:
                    over.wait(60)
                else:
                    connection.recv(100)
                    connection.sendall(says)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(ConfigError, match=r"is no Ray cluster|does not answer within 1 s|cannot be reached"):
                RayEngine(address=f"127.0.0.1:{server.getsockname()[1]}")
        finally:
            over.set()
            thread.join()
