"""A job and an engine in, every input of the job worked off: order, retries, limits, pauses and stops."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vidsal.batch.database import JobDatabase, Row, State
from vidsal.batch.engines.contract import Engine
from vidsal.batch.options import BatchOptions
from vidsal.batch.work import PASSING, Died, Ended, Event, Progress, Reason, Work

__all__ = ["BatchProgress", "LaneProgress", "Scheduler", "time_left"]

_IN_MEMORY = 256
"""Inputs that wait in memory; all others wait in the database."""
_DISK_SECONDS = 2.0
_TELL_SECONDS = 2.0
_DEATHS = 2
"""Workers that an input may take with it."""
_LOSSES = 3
"""Machines that may go while they are at an input before that is laid to the input: it may be what takes them down."""
_LONGEST_PAUSE_SECONDS = 3600.0
_MOST_DOUBLINGS = 20
_NAP_SECONDS = 0.2
_GAP_SECONDS = 10.0
"""A step that takes longer was held up (Ctrl-Z, a disk that hangs): that is no fault of what is under way."""
_CLOSING_SECONDS = 60.0
"""What is under way has so long to close once an end is asked for."""
_GIGABYTE = 1_000_000_000


@dataclass
class LaneProgress:
    """How far one attempt is."""

    path: str
    """The input."""
    given: float
    """When it was given to the engine, on the monotonic clock."""
    begun: float | None = None
    """When it was begun."""
    frames: int = 0
    """Frames written."""
    total: int | None = None
    """Frames expected, None where unknown."""
    pts_seconds: float = 0.0
    """Time of the last frame."""
    length_seconds: float | None = None
    """Length of the input, None where unknown."""
    bytes: int = 0
    """Its size, 0 where unknown."""

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1; 0 where nobody knows."""
        done, all_of_it = (self.frames, self.total) if self.total else (self.pts_seconds, self.length_seconds)
        return min(1.0, done / all_of_it) if all_of_it else 0.0


@dataclass
class BatchProgress:
    """How far a batch is."""

    inputs: int
    """All inputs of this command."""
    counts: dict[str, int] = field(default_factory=dict)
    """How many of them are in which state."""
    ended: int = 0
    """Inputs that ended in this run, however."""
    frames: int = 0
    """Frames written in this run."""
    video_seconds: float = 0.0
    """Seconds of video done in this run."""
    seconds: float = 0.0
    """Since the run began."""
    lanes: dict[int, LaneProgress] = field(default_factory=dict)
    """What is under way, by input."""
    pause: str = ""
    """Why nothing is begun at the moment; empty where it is."""
    begun_seconds: float | None = None
    """When the first attempt began, since the run did: workers take a while to start."""
    bytes_left: int = 0
    """Size of the inputs that have not ended."""
    bytes_worked: int = 0
    """Size of those whose results were made in this run."""

    @property
    def video_seconds_so_far(self) -> float:
        """Seconds of video done in this run, with those of what is under way."""
        return self.video_seconds + sum(lane.pts_seconds for lane in self.lanes.values())

    @property
    def at_work(self) -> list[LaneProgress]:
        """The attempts to name: those that have frames; as long as none has, those that are begun.

        A worker begins the next one while it ends the last.
        """
        begun = [lane for lane in self.lanes.values() if lane.begun is not None]
        return [lane for lane in begun if lane.frames or lane.total is not None] or begun

    @property
    def seconds_left(self) -> float | None:
        """How long it will take if it goes on as fast, by the bytes of the inputs; None where nobody knows."""
        under_way = sum(lane.share * lane.bytes for lane in self.lanes.values())
        seconds = self.seconds - (self.begun_seconds or 0.0)
        return time_left(seconds, self.bytes_worked + under_way, self.bytes_left - under_way)


def time_left(seconds: float, done: float, left: float) -> float | None:
    """What `left` units take where `done` of them took so many seconds; None where nobody knows.

    Example:
        >>> time_left(10.0, 5, 20), time_left(10.0, 0, 20)
        (40.0, None)
    """
    return seconds * max(0.0, left) / done if done > 0 else None


class Scheduler:
    """Works off what waits in a job.

    Args:
        database: the job; only this object writes to it meanwhile.
        run: the number of the run in it.
        engine: does the work.
        make_work: an input in, what its attempt is asked out.
        options: how.
        disk: a folder on the disk that must not run full; None: none is watched.
        on_event: is told of every end: what ended, the row of its input, and the state of the input now.
        on_progress: is told now and then how far all is.
        stop_requested: how often an end was asked for: at 1 nothing new is begun and what is under way is closed, at 2
            all is ended at once.
    """

    def __init__(
        self,
        database: JobDatabase,
        run: int,
        engine: Engine,
        make_work: Callable[[Row], Work],
        *,
        options: BatchOptions,
        disk: Path | None = None,
        on_event: Callable[[Ended, Row, State], None] | None = None,
        on_progress: Callable[[BatchProgress], None] | None = None,
        stop_requested: Callable[[], int] = lambda: 0,
    ) -> None:
        self._database = database
        self._run = run
        self.engine = engine
        """Does the work."""
        self._make_work = make_work
        self._options = options
        self._disk = disk
        self._on_event = on_event
        self._on_progress = on_progress
        self._stop_requested = stop_requested
        counts = database.counts(listed=True)
        self.progress = BatchProgress(sum(counts.values()), counts, bytes_left=database.bytes_left())
        self._queue: list[Row] = []
        self._rows: dict[int, Row] = {}
        self._suspects: set[int] = set()
        self._losses: Counter[int] = Counter()
        self._ask_again = float("-inf")
        """When the database may next hold more that waits, as Unix time."""
        self._untold: set[int] = set()
        """What has begun since the database was told how far all is."""
        self._checked = self._told = self._beat = float("-inf")
        self._begin = self._stepped = time.monotonic()
        self._full_until = float("-inf")
        """So long nothing is begun, as the disk was full."""
        self._full = ""
        self._stopped: float | None = None
        """When an end was first asked for, on the monotonic clock."""
        self._failed = False

    def work(self) -> str:
        """Work until nothing waits, or an end is asked for.

        Returns:
            How it ended: "complete", "interrupted" or "failed" (with `fail_fast`).
        """
        try:
            while self._step():
                pass
        finally:
            # What was taken from the database and not begun waits again.
            self._database.put_back([*self._rows])
        self._rows.clear()
        self.progress.lanes.clear()
        self._tell(force=True)
        if self._stop_requested():
            return "interrupted"
        return "failed" if self._failed and self._options.fail_fast else "complete"

    def _step(self) -> bool:
        now = time.monotonic()
        asked = self._stop_requested()
        if (asked or (self._failed and self._options.fail_fast)) and self._stopped is None:
            self._stopped = now
            self.engine.stop()
        if asked > 1 or (self._stopped is not None and now - self._stopped > _CLOSING_SECONDS):
            self.engine.close()
            return False
        if self._stopped is None:
            self._give()
        if not self._rows and (self._stopped is not None or not self._anything_waits()):
            return False
        self._take(self.engine.events(_NAP_SECONDS))
        self._enforce_limits()
        self._tell()
        return True

    # Giving works.

    def _give(self) -> None:
        self._check_disk()
        room = 0 if self.progress.pause else self.engine.room()
        if room <= 0:
            return
        if len(self._queue) < room and time.time() >= self._ask_again:
            self._refill()
        batch, self._queue = self._queue[:room], self._queue[room:]
        if not batch:
            return
        self._database.start([row.id for row in batch])
        for row in batch:
            self._rows[row.id] = row
            self.progress.lanes[row.id] = LaneProgress(row.path, time.monotonic(), bytes=row.bytes or 0)
            alone = row.id in self._suspects or bool(row.deaths)
            self.engine.submit(dataclasses.replace(self._make_work(row), alone=alone))

    def _refill(self) -> None:
        """Take more that waits from the database."""
        # What is in the queue waits there too; what is under way does not.
        known = {row.id for row in self._queue}
        found = self._database.waiting(limit=_IN_MEMORY + len(known), now=time.time())
        self._queue += [row for row in found if row.id not in known]
        if not self._queue:
            self._ask_again = self._next_time()

    def _next_time(self) -> float:
        following = self._database.next_time()
        return float("inf") if following is None else following

    def _anything_waits(self) -> bool:
        """Whether something may be begun later."""
        if self._queue:
            return True
        self._ask_again = self._next_time()
        return self._ask_again < float("inf")

    def _check_disk(self) -> None:
        now = time.monotonic()
        if self._full:
            self.progress.pause = self._full
            if now < self._full_until:
                return
            self.progress.pause, self._full, self._checked = "", "", float("-inf")
        if self._disk is None or now - self._checked < _DISK_SECONDS:
            return
        self._checked = now
        try:
            free = shutil.disk_usage(self._disk).free / _GIGABYTE
        except OSError as error:
            self.progress.pause = f"{self._disk} cannot be reached: {error.strerror}"
            return
        least = self._options.keep_free
        self.progress.pause = (
            f"only {free:.1f} GB are free on the disk of {self._disk}, {least:g} are kept free (--keep-free); "
            "it goes on when there is more"
            if free < least
            else ""
        )

    # Taking events.

    def _take(self, events: Sequence[Event]) -> None:
        ends: list[tuple[Ended, State, float]] = []
        for event in events:
            match event:
                case Progress():
                    self._note(event)
                case Ended():
                    ends += self._end(event)
                case Died():
                    for end in self._buried(event):
                        ends += self._end(end)
        due = time.monotonic() - self._beat >= _TELL_SECONDS
        if ends or due or self._untold:
            # Of those that go on, between two beats, only the new ones: there may be thousands.
            told = {id for id, lane in self.progress.lanes.items() if lane.begun is not None} if due else self._untold
            lanes = ((id, lane) for id in told if (lane := self.progress.lanes.get(id)))
            beats = {id: (lane.frames, lane.total, lane.pts_seconds) for id, lane in lanes}
            self._database.settle(self._run, ends, beats, self.progress.pause)
            self._untold.clear()
            self._beat = time.monotonic() if due else self._beat
        for end, state, _ in ends:
            row = self._rows.pop(end.id)
            if self._on_event:
                self._on_event(end, row, state)

    def _note(self, event: Progress) -> None:
        lane = self.progress.lanes.get(event.id)
        if lane is None:
            return
        if lane.begun is None:
            lane.begun = time.monotonic()
            self._untold.add(event.id)
        if self.progress.begun_seconds is None:
            self.progress.begun_seconds = time.monotonic() - self._begin
        lane.frames, lane.total = event.frames, event.total
        lane.pts_seconds, lane.length_seconds = event.pts_seconds, event.length_seconds

    def _end(self, end: Ended) -> list[tuple[Ended, State, float]]:
        row = self._rows.get(end.id)
        lane = self.progress.lanes.pop(end.id, None)
        if row is None or lane is None:
            return []
        if end.outcome != "interrupted":
            self._suspects.discard(end.id)
        state, not_before = self._state_after(end, row)
        progress = self.progress
        progress.counts[row.state] = progress.counts.get(row.state, 0) - 1
        progress.counts[state] = progress.counts.get(state, 0) + 1
        if state != "waiting":
            progress.ended += 1
            progress.bytes_left -= row.bytes or 0
        if not end.found:
            progress.frames += end.frames
            progress.video_seconds += end.video_seconds
            progress.bytes_worked += (row.bytes or 0) * (end.outcome in ("done", "damaged"))
        self._failed |= state == "failed"
        if state == "waiting":
            self._ask_again = min(self._ask_again, not_before)
        return [(end, state, not_before)]

    def _state_after(self, end: Ended, row: Row) -> tuple[State, float]:
        match end.outcome:
            case "done" | "damaged":
                return end.outcome, 0.0
            case "interrupted":
                return "waiting", 0.0
        if end.free_of_charge:
            # Whatever else is begun meets the same.
            self._full_until = time.monotonic() + self._options.retry_pause
            self._full = f"{end.message}; tried again after {self._options.retry_pause:g} s"
            return "waiting", time.time() + self._options.retry_pause
        if end.reason == "worker died":
            return ("failed", 0.0) if row.deaths + 1 >= _DEATHS else ("waiting", 0.0)
        if end.reason in PASSING and row.attempts + 1 <= self._options.retries:
            doublings = min(row.attempts, _MOST_DOUBLINGS)
            pause = min(self._options.retry_pause * 2**doublings, _LONGEST_PAUSE_SECONDS)
            return "waiting", time.time() + pause
        return "failed", 0.0

    def _buried(self, died: Died) -> list[Ended]:
        """What the end of a worker means for what it was at: only the one at fault is charged."""
        now = time.monotonic()
        ends = []
        for id in died.ids:
            lane = self.progress.lanes.get(id)
            seconds = 0.0 if lane is None else now - (lane.begun or lane.given)
            reason: Reason = "worker died"
            if died.killed == id:
                reason, message = "too slow", f"given up after {seconds:.0f} s (--slower-than, --grace)"
                ends.append(Ended(id, "failed", reason, message, seconds=seconds))
            elif died.killed is not None:
                ends.append(Ended(id, "interrupted", message="its neighbour was ended", free_of_charge=True))
            elif died.lost and self._losses[id] < _LOSSES:
                self._losses[id] += 1
                message = f"{died.message}: its machine is lost"
                ends.append(Ended(id, "interrupted", reason, message, seconds=seconds, free_of_charge=True))
            elif died.lost:
                message = f"{died.message}: its machine is lost, as {_LOSSES} or more others were that were at it"
                ends.append(Ended(id, "failed", reason, message, seconds=seconds))
            elif len(died.ids) > 1:
                # Nobody knows which of them it was: each is tried by itself.
                self._suspects.add(id)
                message = f"{died.message}; it was at {len(died.ids)} inputs"
                ends.append(Ended(id, "interrupted", reason, message, seconds=seconds, free_of_charge=True))
            else:
                ends.append(Ended(id, "failed", reason, died.message, seconds=seconds))
        return ends

    # Limits.

    def _enforce_limits(self) -> None:
        now = time.monotonic()
        self._forgive(now)
        slower = self._options.slower_than
        if slower is None:
            return
        for id, lane in self.progress.lanes.items():
            if lane.begun is not None:
                length = max(lane.length_seconds or 0.0, lane.pts_seconds)
                if now - lane.begun > self._options.grace + slower * length:
                    self.engine.kill(id)

    def _forgive(self, now: float) -> None:
        """Time in which this process did not run does not count."""
        gap, self._stepped = now - self._stepped, now
        if gap > _GAP_SECONDS:
            for lane in self.progress.lanes.values():
                lane.begun = None if lane.begun is None else min(now, lane.begun + gap)

    def _tell(self, *, force: bool = False) -> None:
        if self._on_progress and (force or time.monotonic() - self._told >= _NAP_SECONDS):
            self._told = time.monotonic()
            self.progress.seconds = time.monotonic() - self._begin
            self._on_progress(self.progress)
