"""Drive the scheduler and the job database of `vidsal batch` with made inputs, and measure what the bookkeeping costs.

    python tools/simulate_batch.py --inputs 1000000 --kills 3

No video is read: a made engine ends every attempt after a short sleep, well, damaged, failed or with its worker, at
random but the same for the same input. All else is the code that ships: listing, scheduler, database, batch.csv and
batch.json. The driver runs in a process of its own, is killed at random moments, and goes on.

Printed: the rate of the bookkeeping, the most memory the driver took with few and with many inputs done, the size of
the database, the seconds until a resumed driver gives out its first work, and whether anything was lost or done twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from vidsal.batch.database import JobDatabase, Listed, Row, State
from vidsal.batch.engines.contract import Engine
from vidsal.batch.folder import database_path, working_on
from vidsal.batch.inputs import Given, Search, find_inputs
from vidsal.batch.options import BatchOptions
from vidsal.batch.schedule import Scheduler
from vidsal.batch.summary import write_summary
from vidsal.batch.work import Died, Ended, Event, Made, Work
from vidsal.pipe.options import RunOptions

SLOTS = 256
SHARES = {"damaged": 0.01, "not decodable": 0.01, "unexpected": 0.01, "worker died": 0.002}
"""How many attempts end otherwise than well."""
PLAN = "0" * 32


def made_inputs(count: int) -> Iterator[Listed]:
    """Names as an archive has them: stations, years, tapes."""
    for n in range(count):
        place = f"station{n % 40:02d}/{2000 + n % 25}/tape{n:07d}"
        yield Listed(
            f"/archive/{place}.mxf", (place, f"{place}.mxf"), 10_000_000 + n, "2026-01-01T00:00:00", PLAN, {}, {}
        )


def fate(path: str, attempt: int) -> str:
    """How an attempt ends: the same for the same input and attempt."""
    drawn = random.Random(f"{path} {attempt}").random()
    for what, share in SHARES.items():
        if drawn < share:
            return what
        drawn -= share
    return "done"


class MadeEngine(Engine):
    """Ends what it is given after a sleep. What it has done it notes in a file, as results on a disk would show it."""

    def __init__(self, done: Path, count: int, *, sleep_seconds: float) -> None:
        self._sleep_seconds = sleep_seconds
        self._done = bytearray(count + 1)
        if done.exists():
            with done.open("rb") as lines:
                for line in lines:
                    self._done[int(line)] = 1
        self._file = done.open("ab", buffering=0)
        self._under_way: list[tuple[float, Work, int]] = []
        self.first: float | None = None
        self.again = 0
        """Works that were given although their results were there."""

    def room(self) -> int:
        return SLOTS - len(self._under_way)

    def submit(self, work: Work) -> None:
        self.first = self.first or time.monotonic()
        self._under_way.append((time.monotonic() + self._sleep_seconds * random.random(), work, work.attempt))

    def events(self, seconds: float) -> list[Event]:
        now = time.monotonic()
        ended = [one for one in self._under_way if one[0] <= now]
        if not ended:
            time.sleep(min(seconds, self._sleep_seconds))
            return []
        self._under_way = [one for one in self._under_way if one[0] > now]
        return [self._end(work, attempt) for _, work, attempt in ended]

    def _end(self, work: Work, attempt: int) -> Event:
        found = bool(self._done[work.id])
        self.again += found
        what = "done" if found else fate(work.source, attempt)
        if what == "worker died":
            return Died((work.id,), "the process ended with signal 9 (SIGKILL)")
        if what not in ("done", "damaged"):
            return Ended(work.id, "failed", reason=what, message=f"made to end so: {what}", seconds=0.01)
        if not found:
            self._file.write(b"%d\n" % work.id)
            self._done[work.id] = 1
        files = tuple(
            Made(stage, f"{work.place}.vidsal.{suffix}", 1000, "0" * 64)
            for stage, suffix in (("video", "mp4"), ("table", "csv"), ("record", "json"))
        )
        damage = "damaged" if what == "damaged" else None
        return Ended(
            work.id, what, reason=damage, files=files, found=found, frames=1500, cuts=3, video_seconds=60.0, seconds=1.0
        )  # fmt: skip

    def kill(self, id: int) -> None:
        raise RuntimeError("nothing of this takes long")

    def stop(self) -> None:
        self._under_way = []

    def close(self) -> None:
        self._file.close()

    def describe(self) -> str:
        return f"{SLOTS} made lanes"


def drive(output: Path, count: int, sleep_seconds: float) -> None:
    """One life of a driver; prints a line of JSON a second, and one at its end."""
    begin = time.monotonic()
    options = BatchOptions(retries=2, retry_pause=0.0, keep_free=0.0, slower_than=None)
    with working_on(database_path(output)) as database:
        run = database.begin_run(given="{}", options="", models="[]", version="made", host="made")
        database.list_inputs(made_inputs(count))
        listed = time.monotonic() - begin
        with MadeEngine(output / "done", count, sleep_seconds=sleep_seconds) as engine:

            def make_work(row: Row) -> Work:
                earlier = {made.file: made.bytes for made in database.files_of(row.id)}
                return Work(row.id, row.path, row.place, str(output), RunOptions(), row.attempts, earlier)

            told = [time.monotonic()]
            ended = [0]

            def note(end: Ended, row: Row, state: State) -> None:
                ended[0] += 1
                if time.monotonic() - told[0] > 1:
                    told[0] = time.monotonic()
                    say(begin, listed, engine, ended[0], "running")

            scheduler = Scheduler(database, run, engine, make_work, options=options, disk=output, on_event=note)
            outcome = scheduler.work()
            database.end_run(run, outcome)
            say(begin, listed, engine, ended[0], outcome)
        before = time.monotonic()
        write_summary(output, database)
        print(json.dumps({"summary_seconds": time.monotonic() - before}), flush=True)


def say(begin: float, listed: float, engine: MadeEngine, ended: int, state: str) -> None:
    """What the parent reads."""
    first = engine.first or time.monotonic()
    values = {
        "state": state,
        "ended": ended,
        "seconds": time.monotonic() - first,
        "listed_seconds": listed,
        "resume_seconds": first - begin,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "again": engine.again,
    }
    print(json.dumps(values), flush=True)


def check(output: Path, count: int) -> list[str]:
    """What is wrong with a job that came to its end."""
    faults = []
    with JobDatabase(database_path(output), read_only=True) as database:
        states = database.counts()
        rows = done = 0
        for row in database.rows():
            rows += 1
            done += row.state in ("done", "damaged")
            if row.state not in ("done", "damaged", "failed"):
                faults.append(f"{row.path} is {row.state}")
        computed: Counter[int] = Counter()
        for (id,) in database.query("SELECT input FROM attempts WHERE outcome IN ('done','damaged') AND NOT found"):
            computed[id] += 1
        twice = sum(times > 1 for times in computed.values())
        logged = (output / "done").read_bytes().split(b"\n")[:-1]
    if rows != count:
        faults.append(f"{rows} inputs of {count} are in the database")
    if twice:
        faults.append(f"{twice} inputs were done twice")
    if len(logged) != len(set(logged)) or len(logged) != done:
        faults.append(f"{len(logged)} results were made, {len(set(logged))} different ones, of {done} inputs done")
    print(f"states: {states}")
    return faults


def scanned(count: int) -> float:
    """Files a second that a folder is searched at."""
    with tempfile.TemporaryDirectory() as folder:
        for n in range(count):
            place = Path(folder, f"{n // 1000:04d}")
            if n % 1000 == 0:
                place.mkdir()
            (place / f"{n}.mp4").touch()
        begin = time.monotonic()
        found = sum(1 for _ in find_inputs(Given((folder,)), lambda _: PLAN, Search()))
        assert found == count, found  # noqa: S101
        return count / (time.monotonic() - begin)


def life(command: list[str], *, kill_after: int | None) -> list[dict[str, float]]:
    """One driver, until its end or its death; what it said."""
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as driver:
        assert driver.stdout is not None  # noqa: S101
        for line in driver.stdout:
            said.append(json.loads(line))
            if kill_after is not None and said[-1].get("ended", 0) >= kill_after:
                os.killpg(driver.pid, signal.SIGKILL)
                break
    if kill_after is None and driver.returncode:
        sys.exit(f"the driver ended with status {driver.returncode}")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--sleep", type=float, default=0.001, help="longest sleep of an attempt, in seconds")
    parser.add_argument("--scan", type=int, default=100_000, help="empty files that a folder is searched with; 0: none")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        drive(given.drive, given.inputs, given.sleep)
        return
    with tempfile.TemporaryDirectory() as folder:
        words = ["--drive", folder, "--inputs", str(given.inputs), "--sleep", str(given.sleep)]
        command = [sys.executable, __file__, *words]
        peaks = []
        for number in range(given.kills + 1):
            last = number == given.kills
            said = life(command, kill_after=None if last else given.inputs // (given.kills + 1))
            ends = [one for one in said if "ended" in one]
            at = ends[-1]
            peaks += [(one["ended"], one["peak_mb"]) for one in (ends[0], at)]
            print(
                f"life {number + 1}: {at['ended']:.0f} ended in {at['seconds']:.1f} s, "
                f"{at['ended'] / at['seconds']:.0f} inputs/s; first work after {at['resume_seconds']:.1f} s "
                f"(listing {at['listed_seconds']:.1f} s); memory {ends[0]['peak_mb']:.0f} MB after the first second, "
                f"{at['peak_mb']:.0f} MB at the end; {at['again']:.0f} found done",
                flush=True,
            )
        print(f"batch.csv and batch.json: {said[-1]['summary_seconds']:.1f} s")
        size = sum(path.stat().st_size for path in database_path(Path(folder)).parent.iterdir())
        print(f"database: {size / 1e6:.0f} MB, {size / given.inputs:.0f} bytes an input")
        faults = check(Path(folder), given.inputs)
    if given.scan:
        print(f"search of a folder: {scanned(given.scan):.0f} files/s")
    print("\n".join(faults) or "nothing lost, nothing done twice")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
