"""Workers as processes of their own: they come up, are told apart as they die, are stopped, and are replaced."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from made import make_checkpoint
from media import make_video

from vidsal.batch.engines import local
from vidsal.batch.engines.local import LocalEngine, free_bytes
from vidsal.batch.work import Died, Ended, Event, Progress, Work
from vidsal.errors import VidsalError
from vidsal.pipe.options import ModelOptions, OutputOptions, RunOptions

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 240.0
"""Only what hangs takes so long."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    make_checkpoint(folder / "tiny.safetensors")
    make_video(folder / "a.mp4", frames=3)
    for name in ("abort", "killed", "leave", "endless", "slow"):
        (folder / f"{name}.mp4").write_bytes((folder / "a.mp4").read_bytes())
    return folder


def before(work: Work) -> None:
    """What happens in a worker before it begins an input of such a name."""
    name = Path(work.source).stem
    if name == "abort":
        os.abort()
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "leave":
        os._exit(7)
    while name == "endless":
        time.sleep(60)
    if name == "slow":
        # Until the test says so.
        while not Path(work.output, "go").exists():
            time.sleep(0.01)


class Engine:
    """An engine, and what is heard of it."""

    def __init__(self, folder: Path, output: Path, workers: int = 1, **more: Any) -> None:
        self.engine = LocalEngine(["cpu"] * workers, before=before, **more)
        self.folder = folder
        self.output = output
        wanted = OutputOptions(output=output, video=False, existing="skip")
        self.options = RunOptions(model=ModelOptions(str(folder / "tiny.safetensors"), "cpu"), output=wanted)
        self.events: list[Event] = []
        self.count = 0
        output.mkdir()

    def submit(self, name: str, **changes: Any) -> int:
        self.count += 1
        source = str(self.folder / f"{name}.mp4")
        work = Work(self.count, source, f"{name}{self.count}", str(self.output), self.options)
        self.engine.submit(dataclasses.replace(work, **changes))
        return self.count

    def until(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            assert time.monotonic() < end, self.events
            self.events += self.engine.events(0.05)

    def ends(self) -> dict[int, str]:
        return {event.id: event.outcome for event in self.events if isinstance(event, Ended)}

    def deaths(self) -> list[Died]:
        return [event for event in self.events if isinstance(event, Died)]

    def begun(self) -> list[int]:
        return [event.id for event in self.events if isinstance(event, Progress) and event.frames == 0]

    def processes(self) -> list[psutil.Process]:
        return [psutil.Process(worker.process.pid) for worker in self.engine._running()]


@pytest.fixture
def engine(folder: Path, tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def make(workers: int = 1, **more: Any) -> Engine:
        made.append(Engine(folder, tmp_path / "out", workers, **more))
        return made[-1]

    yield make
    for one in made:
        one.engine.close()


def test_workers_do_all_works_and_each_has_one_thread(engine: Callable[..., Engine]) -> None:
    one = engine(2)
    assert one.engine.describe() == "2 processes on the CPU"
    assert one.engine.room() == 4
    ids = [one.submit("a") for _ in range(4)]
    assert one.engine.room() == 0
    one.until(lambda: len(one.ends()) == 4)
    assert one.ends() == dict.fromkeys(ids, "done")
    assert len(one.processes()) == 2
    assert one.engine.room() == 4
    assert all(event.peak_bytes > 10_000_000 for event in one.events if isinstance(event, Ended))
    processes = one.processes()
    one.engine.close()
    assert not [process for process in processes if process.is_running()]


@pytest.mark.parametrize(
    ("name", "how"),
    [("abort", "signal 6 (SIGABRT)"), ("killed", "signal 9 (SIGKILL); the system"), ("leave", "status 7")],
)
def test_a_worker_that_dies_names_what_it_was_at_and_another_does_the_rest(
    engine: Callable[..., Engine], name: str, how: str
) -> None:
    one = engine()
    bad, good = one.submit(name, alone=True), one.submit("a")
    one.until(lambda: len(one.deaths()) + len(one.ends()) == 2)
    (died,) = one.deaths()
    assert (died.ids, died.killed) == ((bad,), None)
    assert how in died.message
    assert one.ends() == {good: "done"}


def test_what_is_given_up_is_ended_at_once_and_what_waited_behind_it_is_done(engine: Callable[..., Engine]) -> None:
    one = engine()
    endless, good = one.submit("endless"), one.submit("a")
    one.until(lambda: endless in one.begun())
    assert good not in one.begun()
    one.engine.kill(endless)
    one.engine.kill(good)  # of two in one process, the first is meant
    one.until(lambda: len(one.deaths()) + len(one.ends()) == 2)
    (died,) = one.deaths()
    assert (died.ids, died.killed) == ((endless,), endless)
    assert one.ends() == {good: "done"}


def test_a_work_that_waits_behind_a_long_one_goes_to_a_worker_with_nothing_to_do(
    engine: Callable[..., Engine], tmp_path: Path
) -> None:
    one = engine(2)
    slow, *others = (one.submit(name) for name in ("slow", "a", "a", "a"))
    one.until(lambda: len(one.ends()) == 3)
    assert one.ends() == dict.fromkeys(others, "done")
    (tmp_path / "out" / "go").touch()
    one.until(lambda: len(one.ends()) == 4)
    assert one.ends()[slow] == "done"
    assert sorted(one.begun()) == [1, 2, 3, 4]


def test_a_stop_lets_every_work_end_and_begins_no_other(engine: Callable[..., Engine], tmp_path: Path) -> None:
    one = engine()
    slow, behind = one.submit("slow"), one.submit("a")
    one.until(lambda: slow in one.begun())
    one.engine.submit(dataclasses.replace(next(iter(one.engine._running())).works[behind], id=99))
    one.engine.stop()
    assert one.engine.room() == 0
    (tmp_path / "out" / "go").touch()
    one.until(lambda: len(one.ends()) == 3)
    assert one.ends()[behind] == one.ends()[99] == "interrupted"
    assert one.deaths() == []
    one.until(lambda: not one.engine._running())


def test_a_worker_that_dies_after_a_stop_leaves_nothing_to_another(engine: Callable[..., Engine]) -> None:
    one = engine()
    endless, behind = one.submit("endless"), one.submit("a")
    one.until(lambda: endless in one.begun())
    one.engine.stop()
    one.engine.kill(endless)
    one.until(lambda: bool(one.deaths()) and bool(one.ends()))
    assert one.ends() == {behind: "interrupted"}
    assert not one.engine._running()


def test_signals_to_the_whole_group_are_the_matter_of_the_batch(engine: Callable[..., Engine], tmp_path: Path) -> None:
    """Ctrl-C, and the end of a terminal; SIGTERM ends a worker as the batch does."""
    one = engine()
    slow = one.submit("slow")
    one.until(lambda: slow in one.begun())
    (process,) = one.processes()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGHUP)
    (tmp_path / "out" / "go").touch()
    one.until(lambda: len(one.ends()) == 1)
    assert one.ends() == {slow: "done"}
    process.send_signal(signal.SIGTERM)
    after = one.submit("a")
    one.until(lambda: len(one.ends()) == 2)
    assert one.ends()[after] in ("interrupted", "done")
    assert one.deaths() == []


def test_a_worker_that_has_grown_is_replaced_and_nothing_is_charged(
    engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Any size is too large after the first attempts; workers are forked off a process that does not know of it.
    one = engine()
    original = one.engine._context.Process
    started = []

    def start(**more: Any) -> Any:
        started.append(original(**more | {"target": work_while_small}))
        return started[-1]

    monkeypatch.setattr(one.engine._context, "Process", start)
    ids = [one.submit("a") for _ in range(6)]
    one.until(lambda: len(one.ends()) == 6)
    assert one.ends() == dict.fromkeys(ids, "done")
    assert one.deaths() == []
    assert len(started) > 1 and started[0].exitcode == 0


def work_while_small(connection: Any, settings: Any) -> None:
    local.GROWTH_BYTES, local._FIRST_ATTEMPTS = -(1 << 40), 2
    local._work(connection, settings)


def test_workers_that_cannot_start_end_the_batch_with_a_reason(
    engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engine()
    original = one.engine._context.Process
    monkeypatch.setattr(one.engine._context, "Process", lambda **more: original(**more | {"target": fail_to_start}))
    one.submit("a")
    with pytest.raises(VidsalError, match="3 ended before they were ready, the last one with status 3"):
        one.until(lambda: False)
    assert one.events == []


def fail_to_start(connection: Any, settings: Any) -> None:
    os._exit(3)


def test_a_process_that_the_system_refuses_is_tried_again(
    engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engine()
    original = one.engine._context.Process
    refusals = [OSError(11, "Resource temporarily unavailable"), EOFError()]

    def make(**more: Any) -> Any:
        if not refusals:
            return original(**more)
        refusal = refusals.pop()

        def start() -> None:
            raise refusal

        return SimpleNamespace(start=start)

    monkeypatch.setattr(one.engine._context, "Process", make)
    good = one.submit("a")
    one.until(lambda: len(one.ends()) == 1)
    assert one.ends() == {good: "done"}


def test_workers_are_as_many_as_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were started take more than they have yet."""
    engine = LocalEngine(["cpu"] * 8)
    now = [0.0]
    monkeypatch.setattr(local.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(local, "free_bytes", lambda: int(6.3 * 2**30))
    monkeypatch.setattr(local, "_resident_bytes", lambda worker: 2**28)
    assert engine.room() == 5 * 2
    running: Any = [SimpleNamespace(works={}, killed=None)] * 3
    engine._workers[:3] = running
    now[0] += 10
    # 6.3 less three quarters each of three, by 1.25.
    assert engine.room() == (3 + 3) * 2
    engine._peak_bytes = 6 * 2**30
    now[0] += 10
    assert engine.room() == 3 * 2
    engine._workers[:3] = [None] * 3
    now[0] += 10
    assert engine.room() == 2
    assert LocalEngine(["cuda:0", "cuda:1"], lanes=4).room() == 2 * 5


@pytest.mark.parametrize("version", [1, 2])
def test_memory_is_what_all_control_groups_leave(tmp_path: Path, version: int) -> None:
    """Groups lie in one another; what was read from files can be given up."""
    outer = tmp_path / "sys/fs/cgroup" / ("memory/job" if version == 1 else "job")
    inner = outer / "step"
    inner.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    lines = "2:memory:/job/step\n1:cpu,cpuacct:/other\n" if version == 1 else "0::/job/step\n"
    (tmp_path / "proc/self/cgroup").write_text(lines)
    names = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        if version == 1
        else ("memory.max", "memory.current", "inactive_file")
    )
    for folder, limit, used, cache in ((outer, "5000", "4000", 300), (inner, "max", "10", 0)):
        (folder / names[0]).write_text(f"{limit}\n")
        (folder / names[1]).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 7\n{names[2]} {cache}\n")
    assert free_bytes(tmp_path) == 1300
    (inner / names[0]).write_text("500")
    assert free_bytes(tmp_path) == 490
    (outer / names[1]).write_text("9000")
    assert free_bytes(tmp_path) == 0
    (tmp_path / "proc/self/cgroup").unlink()
    assert free_bytes(tmp_path) > 100_000_000


@pytest.mark.parametrize(
    ("device", "workers", "lanes", "wanted"),
    [("cpu", 0, 0, (4, 1, 1)), ("cpu", 2, 0, (2, 1, 2)), ("cpu", 6, 3, (6, 3, 1)), ("cpu", 1, 0, (1, 1, 4))],
)
def test_a_cpu_is_shared_by_as_many_workers_as_it_has_cores(
    monkeypatch: pytest.MonkeyPatch, device: str, workers: int, lanes: int, wanted: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 4)
    engine = LocalEngine.for_device(device, workers=workers, lanes=lanes)
    assert (len(engine._devices), engine._lanes, engine._threads) == wanted


def test_every_gpu_gets_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("vidsal.model.checkpoint.resolve_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    engine = LocalEngine.for_device("cuda", workers=0, lanes=0)
    assert (engine._devices, engine._lanes) == (["cuda:0", "cuda:1"], 4)
    assert engine.describe() == "2 processes on cuda:0, cuda:1, 4 videos side by side in each"
    assert LocalEngine.for_device("cuda", workers=3, lanes=0)._devices == ["cuda:0", "cuda:1", "cuda:0"]
    assert LocalEngine.for_device("cuda:1", workers=0, lanes=2)._devices == ["cuda:1"]


@pytest.mark.timeout(1800)
def test_killed_and_poisoned_batches_lose_nothing() -> None:
    """The short forms of tools/kill_batches.py, as processes of their own: they fork, which threads do not bear."""
    for given in (["--clips", "40", "--kills", "4"], ["--poison", "20", "--grace", "20"]):
        command = [sys.executable, "tools/kill_batches.py", *given]
        ended = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "0 faults" in ended.stdout
