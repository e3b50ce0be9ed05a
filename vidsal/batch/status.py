"""The databases of a job in, how far it is out; nothing is changed, and the batch may be at work meanwhile."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vidsal.batch.database import JobDatabase, Trouble
from vidsal.batch.folder import current_databases, databases
from vidsal.batch.schedule import time_left
from vidsal.errors import EncodeError
from vidsal.files import is_claimed

__all__ = ["JobStatus", "PartStatus", "UnderWay", "job_status"]

_SILENT_SECONDS = 60.0
"""After so long without a word, a batch on another machine is taken to have ended."""


@dataclass(frozen=True)
class UnderWay:
    """An attempt under way."""

    path: str
    """The input."""
    frames: int
    """Frames written."""
    total: int | None
    """Frames expected, None where unknown."""
    pts_seconds: float
    """Time of the last frame, in seconds of the video."""
    silent_seconds: float
    """Since its last word."""
    bytes: int
    """Size of the input, 0 where unknown."""

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1; 0 where nobody knows."""
        return min(1.0, self.frames / self.total) if self.total else 0.0


@dataclass(frozen=True)
class PartStatus:
    """How far one process of a batch is: the whole, or a shard of it."""

    name: str
    """job, or shard-I-of-N."""
    state: Literal["running", "killed", "complete", "interrupted", "failed", "merged"]
    """killed: its process has gone without a word; failed: it ended with an error, or at the first failure."""
    host: str
    """Where it runs or ran."""
    pid: int
    """Its process."""
    started: float
    """Unix time."""
    ended: float | None
    """Unix time; None while it runs, or where it was killed."""
    silent_seconds: float
    """Since its last word."""
    pause: str
    """Why it begins nothing at the moment; empty where it does."""
    counts: Mapping[str, int]
    """How many of its inputs are in which state; running are those that have begun, not those that a worker has in hand
    besides."""
    video_seconds: float
    """Seconds of video done since it started, with those of what is under way."""
    seconds: float
    """How long it has been at work."""
    seconds_left: float | None
    """How long it will take if it goes on as fast, by the bytes of the inputs; None where nobody knows."""
    under_way: tuple[UnderWay, ...] = ()
    """What it is at."""


@dataclass(frozen=True)
class JobStatus:
    """How far a job is."""

    output: Path
    """The folder of all results."""
    parts: tuple[PartStatus, ...]
    """The processes that work on it."""
    reasons: Sequence[Trouble]
    """State, reason, number of inputs, one of them, and its message, of what failed or is damaged."""
    video_seconds: float
    """Seconds of video that are done, by whichever run, with those of what is under way."""
    frames: int
    """Frames written, these included."""
    bytes_written: int
    """Size of all results."""
    older: tuple[str, ...] = field(default=())
    """Databases that are not looked at, as newer ones tell of the same inputs."""

    @property
    def counts(self) -> dict[str, int]:
        """How many inputs are in which state."""
        found: Counter[str] = Counter()
        for part in self.parts:
            found.update(part.counts)
        return dict(found)

    @property
    def is_running(self) -> bool:
        """Whether a process is at work on it."""
        return any(part.state == "running" for part in self.parts)

    @property
    def times_real_time(self) -> float:
        """Seconds of video a second, of what runs; of all where nothing does."""
        chosen = [part for part in self.parts if part.state == "running"] or self.parts
        return sum(part.video_seconds / part.seconds for part in chosen if part.seconds > 0)

    @property
    def seconds_left(self) -> float | None:
        """Until the last process that runs will have ended; None where nobody knows."""
        found = [part.seconds_left for part in self.parts if part.state == "running"]
        return max((one for one in found if one is not None), default=None) if None not in found else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        reasons = [trouble._asdict() for trouble in self.reasons]
        return {
            "output": str(self.output),
            "running": self.is_running,
            "inputs": self.counts,
            "video_seconds": self.video_seconds,
            "frames": self.frames,
            "bytes_written": self.bytes_written,
            "times_real_time": self.times_real_time,
            "seconds_left": self.seconds_left,
            "reasons": reasons,
            "parts": [dataclasses.asdict(part) for part in self.parts],
            "older": list(self.older),
        }


def job_status(output: Path) -> JobStatus:
    """Look at the job of a folder of results.

    Raises:
        EncodeError: there is none, or its database cannot be read.
    """
    chosen = current_databases(output)
    current = [_Look(path) for path in chosen]
    reasons: dict[tuple[str, str], Trouble] = {}
    for look in current:
        for state, reason, count, path, message in look.reasons:
            before = reasons.get((state, reason), Trouble(state, reason, 0, path, message))
            reasons[state, reason] = before._replace(inputs=before.inputs + count)
    return JobStatus(
        output,
        tuple(look.part for look in current),
        tuple(sorted(reasons.values(), key=lambda one: (one.state != "failed", -one.inputs))),
        sum(look.sums["video_seconds"] for look in current),
        sum(int(look.sums["frames"]) for look in current),
        sum(int(look.sums["bytes"]) for look in current),
        tuple(path.stem for path in databases(output) if path not in chosen),
    )


class _Look:
    """What one database tells."""

    def __init__(self, path: Path) -> None:
        held = is_claimed(path)
        now = time.time()
        with JobDatabase(path, read_only=True) as database, database.reading():
            run = database.last_run()
            if run is None:
                raise EncodeError(f"{path} holds no run yet: try again in a moment")
            begun, beat = float(run["started"]), float(run["beat"] or run["started"])
            state = _state(run, held, now - beat)
            until = now if state == "running" else float(run["ended"] or beat)
            under_way = [
                UnderWay(name, frames, total, seconds, max(0.0, now - said), size)
                for name, frames, total, seconds, said, size in (database.live() if state == "running" else ())
            ]
            # As in the live display: a worker begins the next one while it ends the last.
            under_way = [one for one in under_way if one.frames or one.total is not None] or under_way
            counts = _counted(database.counts(listed=True), begun=len(under_way))
            _, size, video_seconds, _ = database.worked(run["id"])
            done = sum(one.share * one.bytes for one in under_way)
            left = time_left(until - begun, size + done, database.bytes_left() - done)
            seconds_so_far = sum(one.pts_seconds for one in under_way)
            self.sums = database.sums()
            self.sums["video_seconds"] += seconds_so_far
            self.sums["frames"] += sum(one.frames for one in under_way)
            self.reasons = database.reasons(listed=True)
        self.part = PartStatus(
            name=path.stem,
            state=state,
            host=str(run["host"]),
            pid=int(run["pid"]),
            started=begun,
            ended=run["ended"],
            silent_seconds=max(0.0, now - beat),
            pause=(run["note"] or "") if state == "running" else "",
            counts=counts,
            video_seconds=video_seconds + seconds_so_far,
            seconds=max(0.0, until - begun),
            seconds_left=left if state == "running" else None,
            under_way=tuple(under_way),
        )


def _counted(counts: dict[str, int], *, begun: int) -> dict[str, int]:
    """Inputs by state, where those count as running that have begun; what else was given to a worker waits."""
    given = counts.pop("running", 0)
    running = min(begun, given)
    own = {"running": running, "waiting": counts.pop("waiting", 0) + given - running}
    return counts | {state: count for state, count in own.items() if count}


def _state(run: Mapping[str, Any], held: bool | None, silent: float) -> Any:
    if run["ended"] is not None:
        return run["outcome"]
    if held:
        return "running"
    # Locks need not reach other machines.
    elsewhere = held is None or run["host"] != platform.node()
    return "running" if elsewhere and silent < _SILENT_SECONDS else "killed"
