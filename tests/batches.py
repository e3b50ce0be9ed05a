"""What the tests of `vidsal batch` share: engines that work in the test's own process, and commands run in it."""

from __future__ import annotations

import shutil
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from media import make_video

from vidsal.batch import job
from vidsal.batch.engines.contract import Engine
from vidsal.batch.task import Worker
from vidsal.batch.work import Ended, Event, Progress, Work
from vidsal.cli import main

FRAMES = 4


def make_archive(folder: Path) -> Path:
    """Three clips, one file that is none, and what is to be left out."""
    clip = make_video(folder / "clip.mp4", frames=FRAMES, width=32, height=32)
    for name in ("mon/a.mp4", "mon/b.mp4", "tue/a.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(clip, folder / name)
    clip.unlink()
    (folder / "tue" / "broken.mp4").write_bytes(b"no video" * 20)
    for name in ("notes.txt", "tue/more.txt", ".hidden.mp4"):
        (folder / name).write_text("x")
    return folder


def states(output: Path, database: str = "job") -> dict[str, str]:
    """Place and state of every input of a job."""
    opened = sqlite3.connect(output / ".vidsal-batch" / f"{database}.sqlite")
    found = opened.execute("SELECT place, state FROM inputs ORDER BY place").fetchall()
    opened.close()
    return dict(found)


def change(output: Path, statement: str, *values: object) -> None:
    """Change the database of a job."""
    opened = sqlite3.connect(output / ".vidsal-batch" / "job.sqlite")
    with opened:
        opened.execute(statement, values)
    opened.close()


class InlineEngine(Engine):
    """Does one work at a time as a worker does, in this process.

    Args:
        before: called between the beginning of a work and the work; what it returns is the end in place of it.
    """

    def __init__(self, before: Callable[[Work], Ended | None] = lambda work: None) -> None:
        self.before = before
        self.works: deque[Work] = deque()
        self.given: list[str] = []
        self.stopped = False
        self._begun: Work | None = None

    def room(self) -> int:
        return 0 if self.stopped or self.works or self._begun else 1

    def submit(self, work: Work) -> None:
        self.works.append(work)
        self.given.append(Path(work.source).name)

    def events(self, seconds: float) -> list[Event]:
        if self._begun is None:
            if not self.works:
                return []
            self._begun = self.works.popleft()
            return [Progress(self._begun.id, 1, 4, 0.25, 1.0)]
        work = self._begun
        end = self.before(work)
        self._begun = None
        if end is None and self.stopped:
            end = Ended(work.id, "interrupted", message="stopped", free_of_charge=True)
        if end is not None:
            return [end]
        events: list[Event] = []
        Worker(_One(work), events.append, should_stop=lambda: False).run()
        return [event for event in events if isinstance(event, Ended)]

    def kill(self, id: int) -> None:
        raise AssertionError("nothing here takes long")

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.works.clear()

    def describe(self) -> str:
        return "this process"


class _One:
    def __init__(self, work: Work) -> None:
        self._works = [work]

    def wait(self) -> Work | None:
        return self.poll()

    def poll(self) -> Work | None:
        return self._works.pop() if self._works else None


def work_here(monkeypatch: pytest.MonkeyPatch, engine: InlineEngine | None = None) -> InlineEngine:
    """Let `vidsal batch` take this engine."""
    chosen = engine or InlineEngine()
    monkeypatch.setattr(job, "_engine", lambda options: chosen)
    return chosen


class InlineHelper:
    """Does what a dry run asks of a process in this one."""

    start_seconds = 7.0

    def __init__(self, *, threads: int) -> None:
        self.threads = threads

    def __enter__(self) -> InlineHelper:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is to be ended."""

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


def batch(*arguments: str | Path) -> int:
    """`vidsal batch` in this process, which warms up no other; its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidsal.cli.batch._warm_up", lambda options: None)
        try:
            return main(["batch", *map(str, arguments)])
        except SystemExit as end:
            return int(end.code or 0)
