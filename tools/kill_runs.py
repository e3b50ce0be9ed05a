"""Kill `vidsal run` again and again at random moments, and see that nothing false is left and the next run is right.

    python tools/kill_runs.py --kills 50

A short clip is made, and run once undisturbed: its table, byte by byte, and its frames are what every later run is
judged by. Then each signal hits as many runs at moments between their start and their end. After every kill:

- a file under a final name is whole: the table is the undisturbed one, the video has all frames;
- a run that could clean up after itself (TERM, HUP, INT) leaves no lock; after KILL a file of the lock may lie there;
- the next run succeeds, its results are the undisturbed ones, and nothing else is left: the lock did not hold, and the
  partial files are gone.

Runs are forked off a process that has imported everything: else most moments would fall into imports.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process with threads cannot be forked

import cv2
from av.error import FFmpegError

from vidsal.bench.made import make_clip
from vidsal.cli import main as vidsal
from vidsal.decode.local import open_file
from vidsal.model.checkpoint import load_model
from vidsal.pipe.run import run

SIGNALS = ("KILL", "TERM", "HUP", "INT")
NEEDED = (load_model, run)
"""Imported before the first fork."""

LONGEST_SECONDS = 120
"""A run that is not over by then hangs."""


def start(arguments: list[str], log: Path) -> int:
    """A run in a process of its own; returns its number."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        # As a shell starts it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        for stream in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), stream)
        status = vidsal(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    except KeyboardInterrupt:
        status = 130
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)


def wait(child: int) -> int:
    """The exit status of a run, negative where a signal ended it."""
    end = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise SystemExit(f"a run did not end within {LONGEST_SECONDS} s")


def frames_of(path: Path) -> int:
    """Frames that can be decoded; 0 of what is no video."""
    try:
        with open_file(path) as container:
            return sum(1 for _ in container.decode(video=0))
    except (FFmpegError, OSError, ValueError, IndexError):
        return 0


class Trial:
    """A folder with a clip, and what a run of it is to give."""

    def __init__(self, folder: Path, model: str | None, seconds: float) -> None:
        cv2.setNumThreads(1)  # its pool of threads does not survive a fork either
        self.folder = folder
        self.clip = make_clip(folder / "clip.mp4", seconds=seconds, height=96, width=128)
        self.table, self.video = folder / "clip.vidsal.csv", folder / "clip.vidsal.mp4"
        self.log = folder / "log"
        self.arguments = ["run", str(self.clip), "--overwrite", "--device", "cpu", "--preset", "ultrafast"]
        self.arguments += ["--model", model] if model else []
        for _ in range(2):  # the first one also warms up
            begin = time.monotonic()
            status = wait(start(self.arguments, self.log))
            self.seconds = time.monotonic() - begin
            if status:
                raise SystemExit(f"the undisturbed run failed ({status}):\n{self.log.read_text()}")
        self.rows, self.frames = self.table.read_bytes(), frames_of(self.video)
        self.whole = self.names()
        self.clean()

    def names(self) -> set[str]:
        """All files but the log."""
        return {path.name for path in self.folder.iterdir()} - {self.log.name}

    def clean(self) -> None:
        """Leave the clip alone."""
        for path in self.folder.iterdir():
            if path != self.clip:
                path.unlink()

    def wrong_results(self) -> list[str]:
        """What is under a final name and is not whole."""
        wrong = []
        if self.table.exists() and self.table.read_bytes() != self.rows:
            wrong.append("a table under its final name is not the undisturbed one")
        if self.video.exists() and frames_of(self.video) != self.frames:
            wrong.append("a video under its final name is not whole")
        return wrong

    def kill(self, name: str, moment: float) -> tuple[str, list[str]]:
        """One run, hit by a signal; what it was doing then, and the faults that were found."""
        number = signal.Signals[f"SIG{name}"]
        child = start(self.arguments, self.log)
        time.sleep(moment)
        os.kill(child, number)
        status = wait(child)
        left = self.names()
        faults = self.wrong_results()
        if status not in (0, -number, 128 + number):
            faults.append(f"exit status {status}: {self.log.read_text()[-500:]}")
        locks = [file for file in left if file.endswith(".lock")]
        if locks and name != "KILL":
            faults.append(f"locks are left: {locks}")
        if status == 0 and left != self.whole:
            faults.append(f"done, but this is left: {sorted(left)}")
        doing = "done" if status == 0 else "writing" if left != {self.clip.name} else "starting"
        status = wait(start(self.arguments, self.log))
        if status or self.names() != self.whole:
            faults.append(f"the next run: status {status}, files {sorted(self.names())}")
        faults += [f"the next run: {wrong}" for wrong in self.wrong_results()]
        if not (self.table.exists() and self.video.exists()):
            faults.append("the next run lacks a result")
        self.clean()
        return doing, faults


def main(arguments: list[str] | None = None) -> int:
    """Kill runs, print a table; returns 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="runs to hit with each signal (default: 50)")
    parser.add_argument("--signals", nargs="+", choices=SIGNALS, default=SIGNALS, help="which (default: all)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="length of the clip, 25 frames a second (default: 2)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--model", help="as of vidsal run; default: its own")
    given = parser.parse_args(arguments)
    moments = random.Random(given.seed)
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), given.model, given.seconds)
        print(f"an undisturbed run takes {trial.seconds:.2f} s and gives {trial.frames} frames\n")
        print("signal  kills  starting  writing  done  faults")
        for name in given.signals:
            doing: Counter[str] = Counter()
            faults: list[str] = []
            for _ in range(given.kills):
                state, found = trial.kill(name, moments.uniform(0, 1.05 * trial.seconds))
                doing[state] += 1
                faults += found
            counts = f"{doing['starting']:9}  {doing['writing']:7}  {doing['done']:4}"
            print(f"{name:<6}  {given.kills:5} {counts}  {len(faults):6}", flush=True)
            for fault in faults:
                print(f"        {fault}")
            bad += len(faults)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
