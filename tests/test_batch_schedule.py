"""How a batch is worked through: order, retries, pauses, deaths, limits, stops; engine and clock are made up."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vidsal.batch import database as database_module
from vidsal.batch import schedule
from vidsal.batch.database import JobDatabase, Listed, Row, State
from vidsal.batch.engines.contract import Engine
from vidsal.batch.options import BatchOptions
from vidsal.batch.schedule import BatchProgress, Scheduler
from vidsal.batch.work import Died, Ended, Event, Made, Progress, Reason, Work
from vidsal.pipe.options import RunOptions

OPTIONS = BatchOptions(retries=2, retry_pause=30, slower_than=100, grace=120, keep_free=0)


class Clock:
    """Time that passes only where a test, or an engine that waits, lets it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (schedule, database_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock.time, monotonic=clock.monotonic))
    return clock


Script = Callable[[Work, int], Sequence[Event]]
"""An input and the ordinal of its attempt in, what is heard of it out."""


class FakeEngine(Engine):
    """Works off one input a step, in the order in which they came, as a script says; each takes a second."""

    def __init__(self, clock: Clock, script: Script, *, room: int = 3) -> None:
        self.clock = clock
        self.script = script
        self.most = room
        self.works: deque[Work] = deque()
        self.given: list[Work] = []
        self.times: list[float] = []
        self.tries: Counter[int] = Counter()
        self.killed: list[int] = []
        self.done_waiting: list[Event] = []
        self.calls: list[str] = []
        self.hanging: dict[int, Work] = {}

    def room(self) -> int:
        return 0 if "stop" in self.calls else self.most - len(self.works) - len(self.hanging)

    def submit(self, work: Work) -> None:
        assert self.room() > 0
        self.works.append(work)
        self.given.append(work)
        self.times.append(self.clock.now)

    def events(self, seconds: float) -> list[Event]:
        self.clock.now += 1.0
        events, self.done_waiting = self.done_waiting, []
        if not events and self.works and "stop" not in self.calls:
            work = self.works.popleft()
            self.tries[work.id] += 1
            events = list(self.script(work, self.tries[work.id]))
            if not any(isinstance(event, Ended | Died) for event in events):
                self.hanging[work.id] = work
        return events

    def kill(self, id: int) -> None:
        if id not in self.killed:
            self.killed.append(id)
            self.hanging.pop(id)
            self.done_waiting.append(Died((id,), "killed", id))

    def stop(self) -> None:
        self.calls.append("stop")
        self.done_waiting += [Ended(work.id, "interrupted", free_of_charge=True) for work in self.works]
        self.works.clear()

    def close(self) -> None:
        self.calls.append("close")

    def describe(self) -> str:
        return "nobody"


def done(work: Work, attempt: int = 1) -> list[Event]:
    made = Made("table", f"{work.place}.csv", 3, "00")
    return [Progress(work.id, 0, None, 0.0, None), Ended(work.id, "done", files=(made,), frames=5, video_seconds=0.2)]


def failed(work: Work, reason: Reason, *, free: bool = False) -> list[Event]:
    return [Ended(work.id, "failed", reason, f"it was {reason}", free_of_charge=free)]


class Batch:
    """A job of some inputs, its scheduler, and what was told of it."""

    def __init__(self, folder: Path, count: int, clock: Clock, script: Script = done, **more: Any) -> None:
        room = more.pop("room", 3)
        self.clock = clock
        self.engine = FakeEngine(clock, script, room=room)
        self.database = JobDatabase(folder / "job.sqlite")
        run = self.database.begin_run(given="{}", options="", models="[]", version="1", host="here")
        self.database.list_inputs([listed(number) for number in range(1, count + 1)])
        self.ended: list[tuple[Ended, Row, State]] = []
        self.told: list[str] = []
        options = dataclasses.replace(OPTIONS, **more.pop("options", {}))
        self.scheduler = Scheduler(
            self.database,
            run,
            self.engine,
            lambda row: Work(row.id, row.path, row.place, "/out", RunOptions()),
            options=options,
            on_event=lambda *event: self.ended.append(event),
            on_progress=self.note,
            **more,
        )

    def note(self, progress: BatchProgress) -> None:
        self.told.append(progress.pause)

    @property
    def order(self) -> list[int]:
        return [work.id for work in self.engine.given]

    def work(self) -> dict[int, Row]:
        """Work it off; the rows by id."""
        self.outcome = self.scheduler.work()
        return self.rows()

    def rows(self) -> dict[int, Row]:
        return {row.id: row for row in self.database.rows()}

    def states(self) -> list[State]:
        return [row.state for row in self.rows().values()]


def listed(number: int) -> Listed:
    return Listed(f"/in/{number:04}.mp4", (f"{number:04}",), 10, "2026", "plan", {}, {})


@pytest.fixture
def batch(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Batch]]:
    made: list[Batch] = []

    def make(count: int, script: Script = done, **more: Any) -> Batch:
        made.append(Batch(tmp_path, count, clock, script, **more))
        return made[-1]

    yield make
    for one in made:
        one.database.__exit__()


def test_all_are_done_once_and_in_their_order(batch: Callable[..., Batch]) -> None:
    """More than are held in memory at once."""
    one = batch(600)
    rows = one.work()
    assert one.outcome == "complete"
    assert one.order == list(range(1, 601))
    assert set(one.states()) == {"done"}
    assert (rows[1].attempts, rows[1].frames) == (1, 5)
    assert one.scheduler.progress.counts == {"waiting": 0, "done": 600}
    assert (one.scheduler.progress.frames, one.scheduler.progress.ended) == (3000, 600)
    assert one.database.files_of(3) == [Made("table", "0003.csv", 3, "00")]


def test_what_is_found_as_it_would_be_made_counts_for_no_speed(batch: Callable[..., Batch]) -> None:
    one = batch(2, lambda work, attempt: [Ended(work.id, "done", frames=5, video_seconds=9.0, found=True)])
    one.work()
    assert (one.scheduler.progress.frames, one.scheduler.progress.video_seconds) == (0, 0)


def test_a_failure_that_may_pass_is_tried_again_after_longer_and_longer_pauses(batch: Callable[..., Batch]) -> None:
    def script(work: Work, attempt: int) -> Sequence[Event]:
        return failed(work, "not writable") if work.id == 1 else done(work)

    one = batch(3, script)
    rows = one.work()
    assert (rows[1].state, rows[1].attempts, rows[1].reason) == ("failed", 3, "not writable")
    assert [row.state for row in rows.values()][1:] == ["done", "done"]
    assert one.order == [1, 2, 3, 1, 1]
    first, second, third = (time for time, id in zip(one.engine.times, one.order, strict=True) if id == 1)
    assert 30 <= second - first < 40
    assert 60 <= third - second < 70


def test_a_retry_that_is_due_waits_for_no_other_to_end(batch: Callable[..., Batch]) -> None:
    """One film runs for an hour; the other place is free."""

    def script(work: Work, attempt: int) -> Sequence[Event]:
        if work.id == 1:
            return [Progress(1, 10, 100_000, 0.0, 3600.0)]
        return failed(work, "transfer") if attempt == 1 else done(work)

    one = batch(2, script, options={"slower_than": 1.0})
    rows = one.work()
    assert [row.state for row in rows.values()] == ["failed", "done"]
    assert one.order == [1, 2, 2]
    assert one.engine.times[2] - one.engine.times[1] < 40
    assert rows[1].reason == "too slow"


@pytest.mark.parametrize("reason", ["damaged", "not decodable", "not readable", "gone", "wrong option", "model"])
def test_a_failure_that_stays_is_not_tried_again(batch: Callable[..., Batch], reason: Reason) -> None:
    one = batch(2, lambda work, attempt: failed(work, reason) if work.id == 1 else done(work))
    rows = one.work()
    assert (rows[1].state, rows[1].reason, rows[1].message) == ("failed", reason, f"it was {reason}")
    assert rows[2].state == "done"
    assert one.order == [1, 2]


def test_many_retries_pause_an_hour_at_most(batch: Callable[..., Batch]) -> None:
    one = batch(1, lambda work, attempt: failed(work, "transfer"), options={"retries": 2000})
    rest = one.scheduler._state_after(Ended(1, "failed", "transfer"), dataclasses.replace(one.rows()[1], attempts=1999))
    assert rest == ("waiting", one.clock.now + 3600)


def test_a_worker_that_dies_twice_over_an_input_fails_it_and_no_other(batch: Callable[..., Batch]) -> None:
    def script(work: Work, attempt: int) -> Sequence[Event]:
        return [Progress(2, 0, None, 0.0, None), Died((2,), "signal 11")] if work.id == 2 else done(work)

    one = batch(4, script)
    rows = one.work()
    assert [row.state for row in rows.values()] == ["done", "failed", "done", "done"]
    assert (rows[2].deaths, rows[2].reason, rows[2].message) == (2, "worker died", "signal 11")
    assert [work.alone for work in one.engine.given if work.id == 2] == [False, True]


def test_a_machine_that_is_lost_costs_no_attempt_until_it_may_be_the_inputs_fault(batch: Callable[..., Batch]) -> None:
    """Input 1 takes down every machine, and input 2 is at its side on some of them."""

    def script(work: Work, attempt: int) -> Sequence[Event]:
        begun = [Progress(work.id, 0, None, 0.0, None)]
        if work.id == 1:
            others = (2,) if one.engine.hanging.pop(2, None) else ()
            return [*begun, Died((1, *others), "host-a ended", lost=True)]
        beside = work.id == 2 and attempt <= 3 and 0 < one.engine.tries[1] < 5
        return begun if beside else [*begun, *done(work)]

    one = batch(3, script, room=2)
    rows = one.work()
    assert [row.state for row in rows.values()] == ["failed", "done", "done"]
    assert [(row.attempts, row.deaths) for row in rows.values()] == [(2, 2), (1, 0), (1, 0)]
    assert (one.database.attempts_of(1), one.database.attempts_of(2)) == (5, 3)
    assert rows[1].message == "host-a ended: its machine is lost, as 3 or more others were that were at it"


def test_of_several_that_a_worker_died_over_each_is_tried_by_itself(batch: Callable[..., Batch]) -> None:
    """Input 2 kills any worker; 1 and 3 were at its side the first time. Without an end this would go on for ever."""

    def script(work: Work, attempt: int) -> Sequence[Event]:
        begun = [Progress(work.id, 0, None, 0.0, None)]
        if work.alone:
            return [*begun, Died((2,), "signal 11")] if work.id == 2 else [*begun, *done(work)]
        if work.id == 1 and attempt == 1:
            return begun  # goes on, and is heard of when 2 dies
        if work.id == 2:
            one.engine.hanging.pop(1, None)
            return [*begun, Died((1, 2), "signal 11")]
        return [*begun, *done(work)]

    one = batch(3, script)
    rows = one.work()
    assert [row.state for row in rows.values()] == ["done", "failed", "done"]
    assert [rows[id].deaths for id in (1, 2, 3)] == [0, 2, 0]
    assert [rows[id].attempts for id in (1, 2, 3)] == [1, 2, 1]
    assert [(work.id, work.alone) for work in one.engine.given[3:]] == [(1, True), (2, True), (2, True)]


def test_what_takes_too_long_is_ended_and_its_neighbours_go_on_free_of_charge(batch: Callable[..., Batch]) -> None:
    def script(work: Work, attempt: int) -> Sequence[Event]:
        return [Progress(1, 3, 10, 0.5, 2.0)] if work.id == 1 else done(work)

    one = batch(2, script, options={"slower_than": 10.0, "grace": 50.0})
    begin = one.clock.now
    rows = one.work()
    assert one.engine.killed == [1]
    assert 50 + 10 * 2 < one.clock.now - begin < 85
    assert (rows[1].state, rows[1].reason, rows[1].attempts) == ("failed", "too slow", 1)
    assert "--slower-than" in (rows[1].message or "")
    ends = one.scheduler._buried(Died((7, 8), "killed", 7))
    assert [(end.outcome, end.free_of_charge) for end in ends] == [("failed", False), ("interrupted", True)]


def test_time_counts_from_the_moment_at_which_an_attempt_began(batch: Callable[..., Batch]) -> None:
    """What waits behind others in an engine is not slow."""

    def script(work: Work, attempt: int) -> Sequence[Event]:
        one.clock.now += 100
        return done(work)

    one = batch(9, script, room=9, options={"slower_than": 1.0, "grace": 110.0})
    one.work()
    assert set(one.states()) == {"done"}


def test_time_in_which_the_batch_itself_was_held_up_does_not_count(batch: Callable[..., Batch]) -> None:
    """As by Ctrl-Z: all clocks go on."""

    def script(work: Work, attempt: int) -> Sequence[Event]:
        if work.id == 1:
            return [Progress(1, 0, None, 0.0, None)]
        one.clock.now += 10_000
        one.engine.hanging.clear()
        one.engine.done_waiting = done(Work(1, "", "0001", "", RunOptions()))
        return done(work)

    one = batch(2, script)
    one.work()
    assert set(one.states()) == {"done"}


def test_nothing_is_too_slow_where_there_is_no_limit(batch: Callable[..., Batch]) -> None:
    def script(work: Work, attempt: int) -> Sequence[Event]:
        one.clock.now += 1e7 * (work.id == 2)
        if work.id == 2:
            one.engine.hanging.clear()
            return [*done(one.engine.given[0]), *done(work)]
        return [Progress(1, 0, None, 0.0, None)]

    one = batch(2, script, options={"slower_than": None})
    one.work()
    assert (set(one.states()), one.engine.killed) == ({"done"}, [])


# Stops.


def test_after_a_stop_nothing_new_begins_and_all_that_was_given_waits_again(batch: Callable[..., Batch]) -> None:
    asked = [0]

    def script(work: Work, attempt: int) -> Sequence[Event]:
        asked[0] = int(work.id == 4)
        return done(work)

    one = batch(20, script, stop_requested=lambda: asked[0])
    rows = one.work()
    assert one.outcome == "interrupted"
    assert one.engine.calls == ["stop"]
    assert [id for id, row in rows.items() if row.state == "done"] == [1, 2, 3, 4]
    assert {row.state for id, row in rows.items() if id > 4} == {"waiting"}
    assert {row.attempts for id, row in rows.items() if id > 4} == {0}


@pytest.mark.parametrize("asks", [2, 1], ids=["twice", "once-and-it-hangs"])
def test_a_second_stop_or_a_worker_that_does_not_close_ends_all_at_once(batch: Callable[..., Batch], asks: int) -> None:
    asked = [0]

    def script(work: Work, attempt: int) -> Sequence[Event]:
        asked[0] = asks
        return [Progress(work.id, 0, None, 0.0, None)]

    one = batch(5, script, stop_requested=lambda: asked[0], options={"slower_than": None})
    begin = one.clock.now
    rows = one.work()
    assert one.outcome == "interrupted"
    assert one.engine.calls[-1] == "close"
    assert one.clock.now - begin < (5 if asks == 2 else 70)
    assert {(row.state, row.attempts) for row in rows.values()} == {("waiting", 0)}


def test_fail_fast_begins_nothing_after_the_first_failure(batch: Callable[..., Batch]) -> None:
    one = batch(
        9,
        lambda work, attempt: failed(work, "not decodable") if work.id == 2 else done(work),
        options={"fail_fast": True},
    )
    rows = one.work()
    assert one.outcome == "failed"
    assert Counter(row.state for row in rows.values()) == {"done": 1, "failed": 1, "waiting": 7}


def test_an_error_of_the_engine_leaves_nothing_as_if_it_ran(batch: Callable[..., Batch]) -> None:
    def script(work: Work, attempt: int) -> Sequence[Event]:
        if work.id == 2:
            raise RuntimeError("the engine is broken")
        return done(work)

    one = batch(5, script)
    with pytest.raises(RuntimeError, match="broken"):
        one.scheduler.work()
    assert one.states() == ["done", "waiting", "waiting", "waiting", "waiting"]


# A disk that is full, or nearly.


def test_nothing_begins_while_the_disk_is_nearly_full(
    batch: Callable[..., Batch], tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = clock.now
    looks: list[float] = []

    def usage(path: Path) -> Any:
        looks.append(clock.now)
        return SimpleNamespace(free=1e9 if 5 < clock.now - begin < 60 else 9e9)

    monkeypatch.setattr(schedule.shutil, "disk_usage", usage)
    one = batch(20, room=1, disk=tmp_path, options={"keep_free": 2.0})
    one.work()
    assert set(one.states()) == {"done"}
    assert not [time for time in one.engine.times if 8 < time - begin < 60]
    assert any("only 1.0 GB are free" in pause and "--keep-free" in pause for pause in one.told)
    assert one.told[-1] == ""
    assert len(looks) < len(one.told)


def test_a_batch_ends_where_nothing_waits_any_more_though_the_disk_is_full(
    batch: Callable[..., Batch], tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = clock.now
    monkeypatch.setattr(
        schedule.shutil, "disk_usage", lambda path: SimpleNamespace(free=9e9 if clock.now == begin else 0)
    )
    one = batch(3, disk=tmp_path, options={"keep_free": 2.0})
    one.work()
    assert set(one.states()) == {"done"}


def test_a_disk_that_cannot_be_reached_is_waited_for(
    batch: Callable[..., Batch], tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = clock.now

    def usage(path: Path) -> Any:
        if clock.now - begin < 10:
            raise OSError(5, "Input/output error")
        return SimpleNamespace(free=9e9)

    monkeypatch.setattr(schedule.shutil, "disk_usage", usage)
    one = batch(2, disk=tmp_path)
    one.work()
    assert any("cannot be reached: Input/output error" in pause for pause in one.told)
    assert set(one.states()) == {"done"}


def test_a_full_disk_holds_all_up_and_costs_nobody_an_attempt(batch: Callable[..., Batch], clock: Clock) -> None:
    """Also where the disk seems to have room, as with a quota."""
    full = [4]

    def script(work: Work, attempt: int) -> Sequence[Event]:
        if work.id == 2 and full[0]:
            full[0] -= 1
            return failed(work, "disk full", free=True)
        return done(work)

    one = batch(6, script, room=1)
    rows = one.work()
    assert set(one.states()) == {"done"}
    assert rows[2].attempts == 1
    assert any("it was disk full; tried again after 30 s" in pause for pause in one.told)
    gaps = [b - a for a, b in zip(one.engine.times, one.engine.times[1:], strict=False)]
    assert sum(gap >= 30 for gap in gaps) == 4


# The whole.


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_every_input_ends_exactly_once(batch: Callable[..., Batch], seed: int) -> None:
    """Random ends, deaths of several at once, attempts that hang; the account agrees with what was done."""
    chance = random.Random(seed)
    finished: Counter[int] = Counter()

    def script(work: Work, attempt: int) -> Sequence[Event]:
        begun = [Progress(work.id, 0, None, 0.0, 1.0)]
        roll = chance.random()
        if roll < 0.1:
            return begun
        if roll < 0.25:
            engine = one.engine
            ids = (work.id, *engine.hanging) if not work.alone else (work.id,)
            for id in ids[1:]:
                engine.hanging.pop(id)
            return [*begun, Died(ids, "signal 6")]
        if roll < 0.4:
            return [*begun, *failed(work, chance.choice(["not writable", "unexpected", "not decodable", "disk full"]))]
        if roll < 0.45:
            return [*begun, Ended(work.id, "interrupted", free_of_charge=True)]
        finished[work.id] += 1
        return [*begun, *done(work)]

    one = batch(80, script, room=4, options={"retries": 1, "grace": 60.0})
    rows = one.work()
    assert one.outcome == "complete"
    assert len(rows) == 80
    assert {row.state for row in rows.values()} == {"done", "failed"}
    assert finished == {id: 1 for id, row in rows.items() if row.state == "done"}
    last = {end.id: state for end, _, state in one.ended}
    assert last == {id: row.state for id, row in rows.items()}
    assert Counter(state for end, _, state in one.ended if state != "waiting") == Counter(one.states())
    assert all(row.deaths <= 2 and row.attempts <= 4 for row in rows.values())
    assert one.scheduler.progress.counts == {"waiting": 0, **Counter(one.states())}
    assert (one.scheduler.progress.lanes, one.database.live()) == ({}, [])
    tries = Counter(work.id for work in one.engine.given)
    assert all(one.database.attempts_of(id) == tries[id] for id in rows)
