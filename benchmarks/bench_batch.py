"""`vidsal batch` with two workers against `vidsal run` of the same clips one after another: a table and the ratio.

    python benchmarks/bench_batch.py [--clips ../shared/clips] [--count 40] [--workers 2] [--rounds 2]

Both are the commands as a user gives them, from start to end, start-up included, in turns: A B B A. What their
processes took of the CPU stands beside the wall time; on a machine that does nothing else, CPU over wall is how many
cores a command keeps busy. Bookkeeping is what the process of the batch itself takes once the inputs are listed: the
CPU time of scheduler, database and display, by what all workers took; and the share of their time in which workers were
at no input. Without a folder of clips, clips are made.

A run spreads over several cores by itself. With `--run-cores 1` it gets one only, as each worker of a batch has: then
the ratio says how well the work of one process spreads over two.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SELF = Path(__file__).resolve()


@dataclass(frozen=True)
class Took:
    """What a command took."""

    wall: float
    """Seconds from its start to its end."""
    cpu: float
    """CPU seconds of all its processes."""
    driver_cpu: float = 0.0
    """CPU seconds of the process of a batch itself, from the end of the listing to the end of the last input."""
    working: float = 0.0
    """Seconds from the end of the listing to the end of the last input."""
    idle: float = 0.0
    """Share of the workers' time, from the first attempt to the last, in which they were at no input."""


def find_clips(folder: Path, count: int) -> list[Path]:
    """That many clips of a folder, evenly spread over their names."""
    found = sorted(path for path in folder.iterdir() if path.suffix in (".mp4", ".mkv", ".mov"))
    return [found[number * len(found) // count] for number in range(min(count, len(found)))]


def make_clips(folder: Path, count: int) -> list[Path]:
    """That many clips of some seconds."""
    from vidsal.bench.made import make_clip

    folder.mkdir()
    return [
        make_clip(folder / f"{number}.mp4", seconds=3 + number % 5, height=252, width=448) for number in range(count)
    ]


def children() -> float:
    """CPU seconds of all children that have ended, and theirs."""
    # What is left of a batch when it ends becomes a child of this process, and ends too.
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def command(arguments: Sequence[str], note: Path | None = None, *, cores: int | None = None) -> Took:
    """Run vidsal with some arguments, on so many cores or all; what it took."""
    before = children()
    begin = time.monotonic()
    given = [sys.executable, str(SELF), "--note", str(note), "--", *arguments] if note else None
    ended = subprocess.run(
        given or [sys.executable, "-m", "vidsal", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=None if cores is None else lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores]),
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.monotonic() - begin
    if ended.returncode:
        raise SystemExit(f"vidsal {arguments[0]} failed ({ended.returncode}):\n{ended.stderr[-3000:]}")
    more = json.loads(note.read_text()) if note else {}
    return Took(wall, children() - before, **more)


def noted(note: Path, arguments: Sequence[str]) -> int:
    """`vidsal batch` in this process, with a note of what it took itself."""
    from vidsal.batch.schedule import Scheduler
    from vidsal.cli import main as vidsal

    original = Scheduler.work

    def work(scheduler: Scheduler) -> str:
        cpu, begin = time.process_time(), time.monotonic()
        outcome = original(scheduler)
        took = {"driver_cpu": time.process_time() - cpu, "working": time.monotonic() - begin}
        note.write_text(json.dumps(took))
        return outcome

    Scheduler.work = work  # type: ignore[method-assign]
    return vidsal(arguments)


def idle_share(output: Path, workers: int) -> float:
    """Share of the time from the first attempt to the last in which workers were at no input."""
    database: Any = sqlite3.connect(output / ".vidsal-batch" / "job.sqlite")
    attempts = database.execute("SELECT ended - seconds, ended FROM attempts ORDER BY 1").fetchall()
    database.close()
    begin, end = min(first for first, _ in attempts), max(last for _, last in attempts)
    # An attempt may begin while the files of the one before are closed: count a worker once.
    busy = 0.0
    moments = sorted([(first, 1) for first, _ in attempts] + [(last, -1) for _, last in attempts])
    running, before = 0, begin
    for moment, change in moments:
        busy += min(running, workers) * (moment - before)
        running, before = running + change, moment
    return 1 - busy / (workers * (end - begin))


def compare(
    clips: Sequence[Path],
    folder: Path,
    *,
    workers: int,
    rounds: int,
    options: Sequence[str],
    run_cores: int | None = None,
) -> None:
    """Run both in turns and print what they took."""
    took: dict[str, list[Took]] = {"run": [], "batch": []}
    output = folder / "out"
    for which in ("run", "batch", "batch", "run") * rounds:
        shutil.rmtree(output, ignore_errors=True)
        given = [*map(str, clips), "--output", str(output), "--device", "cpu", "--quiet", *options]
        if which == "run":
            took[which].append(command(["run", *given], cores=run_cores))
        else:
            batch = ["batch", *given, "--workers", str(workers), "--no-dataset", "--keep-free", "0.1"]
            one = command(batch, folder / "note.json")
            took[which].append(Took(one.wall, one.cpu, one.driver_cpu, one.working, idle_share(output, workers)))
        one = took[which][-1]
        print(f"{which:<6} {one.wall:7.1f} {one.cpu:7.1f} {one.cpu / one.wall:6.2f}", flush=True)
    run, batch = took["run"], took["batch"]
    ratios = [a.wall / b.wall for a, b in zip(run, batch, strict=True)]
    print(f"\nrate of a batch by that of a run: {statistics.median(ratios):.2f} (median of {len(ratios)} pairs)")
    cores = min(workers, os.cpu_count() or 1)
    busy = statistics.median(a.cpu / a.wall for a in run)
    most = cores / busy * sum(a.cpu for a in run) / sum(b.cpu for b in batch)
    print(f"it cannot be above {most:.2f}: a run has threads, and kept {busy:.2f} of the cores busy itself")
    print(f"CPU of a batch by that of a run: {sum(b.cpu for b in batch) / sum(a.cpu for a in run):.3f}")
    print(f"bookkeeping, of the CPU of all: {statistics.median(b.driver_cpu / b.cpu for b in batch):.2%}")
    starts = statistics.median(b.wall - b.working for b in batch)
    print(f"start and end, before and after the work: {starts:.1f} s; workers idle: ", end="")
    print(f"{statistics.median(b.idle for b in batch):.1%} of the time between the first attempt and the last")


def main() -> int:
    """Compare, or be one of those compared."""
    if "--" in sys.argv:
        return noted(Path(sys.argv[2]), sys.argv[4:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=ROOT.parent / "shared" / "clips", help="a folder of clips")
    parser.add_argument("--count", type=int, default=40, help="how many of them (default: 40)")
    parser.add_argument("--workers", type=int, default=2, help="of the batch (default: 2)")
    parser.add_argument("--rounds", type=int, default=1, help="each is two runs and two batches (default: 1)")
    parser.add_argument("--run-cores", type=int, help="that `vidsal run` gets (default: all)")
    given, options = parser.parse_known_args()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1)  # orphans become children of this process (Linux)
    with tempfile.TemporaryDirectory(prefix="vidsal-bench-") as name:
        folder = Path(name)
        there = given.clips.is_dir()
        clips = find_clips(given.clips, given.count) if there else make_clips(folder / "made", given.count)
        print(f"{len(clips)} clips{'' if there else ', made'}; load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores\n")
        print("          wall     CPU  cores")
        compare(clips, folder, workers=given.workers, rounds=given.rounds, options=options, run_cores=given.run_cores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
