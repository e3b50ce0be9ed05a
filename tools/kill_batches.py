"""Kill `vidsal batch` again and again at random moments, and see that it loses nothing and does nothing twice.

    python tools/kill_batches.py --clips 1000 --kills 50
    python tools/kill_batches.py --poison 200

Tiny clips are made, of several containers and codecs, and run once undisturbed. Then a batch of the same clips is
started, its whole process group is killed with SIGKILL, and the same command is given again, until it has been killed
as often as is asked; the last one may end. After all that:

- every input is in the database exactly once, and done;
- every result is there, its sha256 is that of the database, and its content that of the undisturbed batch;
- no input was tried again once it was marked as done;
- no partial files, no locks and no processes are left.

With `--poison N`, of N files some are damaged, some crash their worker, some never end, and some may not be read: all
others have to be done, each of the rest has its reason, and the exit status is 3.

Batches are forked off a process that has imported everything: else most moments would fall into imports.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process with threads cannot be forked

import av
import cv2
import numpy as np

from vidsal.batch import job
from vidsal.batch.engines.local import LocalEngine
from vidsal.batch.folder import database_path, job_folder
from vidsal.batch.work import Work
from vidsal.bench.made import random_network
from vidsal.cli import main as vidsal
from vidsal.files import local_name, sha256_of
from vidsal.model.checkpoint import ModelCard, save_checkpoint
from vidsal.model.sam import SAMConfig
from vidsal.preprocess import PreprocessOptions

KINDS = (
    (".mp4", "libx264"),
    (".mkv", "libx264"),
    (".mov", "mpeg4"),
    (".avi", "mpeg4"),
    (".ts", "mpeg2video"),
    (".mxf", "mpeg2video"),
)
VARIANTS = 24
"""Clips that are encoded; all others are copies of them under other names."""

LONGEST_SECONDS = 3600
"""A batch that is not over by then hangs."""


# Input.


def make_model(path: Path) -> Path:
    """A network as small as can be, with random weights, as a checkpoint."""
    network = random_network(SAMConfig(recurrent_channels=8, priors=2, steps=2))
    canvas = PreprocessOptions(height=48, width=64)
    save_checkpoint(path, network, preprocess=canvas, card=ModelCard(name="tiny", licence="MIT"))
    return path


def make_variant(path: Path, codec: str, number: int, frames: int) -> Path:
    """So many frames, or a few more, that no other number has."""
    height, width = 48, 64
    random = np.random.default_rng(number)
    still = cv2.resize(random.integers(0, 200, (6, 8, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    # MXF knows only some rates.
    with av.open(local_name(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in range(frames + number % 5):
            picture = np.ascontiguousarray(still)
            cv2.circle(picture, ((8 + 6 * frame + number % 9) % width, 10 + number % 30), 6, (255, 240, 230), -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def make_clips(folder: Path, count: int, frames: int) -> list[Path]:
    """That many clips in a tree of folders."""
    folder.mkdir(parents=True)
    variants = folder.with_name(f"{folder.name}-variants")
    variants.mkdir()
    made = []
    for number in range(min(count, VARIANTS)):
        suffix, codec = KINDS[number % len(KINDS)]
        made.append(make_variant(variants / f"{number}{suffix}", codec, number, frames))
    clips = []
    for number in range(count):
        source = made[number % len(made)]
        clip = folder / f"tape-{number // 50:03}" / f"clip-{number:05}{source.suffix}"
        clip.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, clip)
        clips.append(clip)
    shutil.rmtree(variants)
    return clips


# Batches as processes.


def start(arguments: list[str], log: Path, *, poisoned: bool = False) -> int:
    """A batch in a process group of its own; returns its number."""
    child = os.fork()
    if child:
        with suppress(OSError):
            os.setpgid(child, child)
        return child
    status = 70
    try:
        os.setpgid(0, 0)
        # As a shell starts it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        for stream in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), stream)
        if poisoned:
            job._engine = lambda options: LocalEngine(["cpu"] * options.batch.workers, before=poison)
        status = vidsal(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)


def wait(child: int, seconds: float = LONGEST_SECONDS) -> int | None:
    """The exit status of a batch, negative where a signal ended it; None where it goes on."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.005)


def finish(child: int, log: Path) -> int:
    """The exit status of a batch that ends by itself."""
    status = wait(child)
    if status is None:
        os.killpg(child, signal.SIGKILL)
        raise SystemExit(f"a batch did not end within {LONGEST_SECONDS} s:\n{log.read_text()[-3000:]}")
    return status


def adopt_orphans() -> None:
    """Workers whose batch was killed become children of this process (Linux), which has to bury them."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1)


def group_is_gone(group: int) -> bool:
    """Whether no process of a group is left, a moment after it was killed."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


# What is looked at.


def rows(output: Path, question: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{database_path(output)}?mode=ro", uri=True) as database:
        found = database.execute(question).fetchall()
    database.close()
    return found


def result_names(output: Path) -> Iterator[Path]:
    """All files below a folder of results, but for the job's own."""
    for path in sorted(output.rglob("*")):
        if path.is_file() and job_folder(output) not in path.parents and not path.name.startswith("batch."):
            yield path


def frames_digest(path: Path) -> str:
    """Of all decoded frames and their times."""
    digest = hashlib.sha256()
    with av.open(local_name(path)) as container:
        for frame in container.decode(video=0):
            digest.update(f"{frame.pts} ".encode() + frame.to_ndarray(format="rgb24").tobytes())
    return digest.hexdigest()


class Trial:
    """A folder with clips, and what a batch of them is to give."""

    def __init__(self, folder: Path, clips: int, workers: int, *, frames: int = 4) -> None:
        cv2.setNumThreads(1)  # its pool of threads does not survive a fork either
        self.folder = folder
        self.inputs = folder / "in"
        self.clips = make_clips(self.inputs, clips, frames)
        self.model = make_model(folder / "tiny.safetensors")
        self.workers = workers
        self.output, self.whole = folder / "out", folder / "whole"
        self.log = folder / "log"

    def arguments(self, output: Path, *more: str) -> list[str]:
        tiny = ["--model", str(self.model), "--device", "cpu", "--preset", "ultrafast", "--keep-free", "0.05"]
        workers = ["--workers", str(self.workers)]
        return ["batch", str(self.inputs), "--output", str(output), *workers, *tiny, "--no-dataset", *more]

    def run_undisturbed(self) -> None:
        """Make the results that all others are judged by, and see how long that takes."""
        begin = time.monotonic()
        child = start(self.arguments(self.whole), self.log)
        while wait(child, 0.02) is None and not any(self.whole.rglob("*.vidsal.csv")):
            pass
        self.start_seconds = time.monotonic() - begin
        with suppress(ChildProcessError):
            finish(child, self.log)
        self.seconds = time.monotonic() - begin
        if rows(self.whole, "SELECT count(*) FROM inputs WHERE state='done'") != [(len(self.clips),)]:
            raise SystemExit(f"the undisturbed batch failed:\n{self.log.read_text()[-3000:]}")

    def kill(self, seconds: float) -> tuple[str, int, list[str]]:
        """Go on, and kill all of it after some seconds: how it ended, how many are done now, and faults."""
        child = start(self.arguments(self.output), self.log)
        status = wait(child, seconds)
        faults = []
        if status is None:
            os.killpg(child, signal.SIGKILL)
            wait(child)
        elif status:
            faults.append(f"exit status {status}: {self.log.read_text()[-1000:]}")
        if not group_is_gone(child):
            faults.append("processes are left a minute after the kill")
        done = 0
        with suppress(sqlite3.OperationalError):  # it was killed before there were any tables
            ((done,),) = rows(self.output, "SELECT count(*) FROM inputs WHERE state='done'")
        return "killed" if status is None else "ended", done, faults

    def faults(self) -> list[str]:
        """What is wrong once a last command has come to its end."""
        return self.faults_after(finish(start(self.arguments(self.output), self.log), self.log))

    def faults_after(self, status: int) -> list[str]:
        """What is wrong after a last command that ended with this exit status."""
        faults = []
        if status:
            faults.append(f"the last command: exit status {status}: {self.log.read_text()[-1000:]}")
        if (broken := rows(self.output, "PRAGMA integrity_check")) != [("ok",)]:
            faults.append(f"the database is broken: {broken}")
        paths = [path for (path,) in rows(self.output, "SELECT path FROM inputs")]
        if sorted(paths) != sorted(map(str, self.clips)):
            faults.append(f"{len(paths)} rows, {len(set(paths))} different ones, of {len(self.clips)} inputs")
        states = dict(rows(self.output, "SELECT state, count(*) FROM inputs GROUP BY state"))
        if states != {"done": len(self.clips)}:
            faults.append(f"states: {states}")
        return faults + self._file_faults() + self._attempt_faults()

    def _file_faults(self) -> list[str]:
        faults = []
        wanted = dict(rows(self.whole, "SELECT file, sha256 FROM files WHERE stage!='record'"))
        known = {file: (size, sha) for file, size, sha in rows(self.output, "SELECT file, bytes, sha256 FROM files")}
        there = {path.relative_to(self.output).as_posix(): path for path in result_names(self.output)}
        others = {path.relative_to(self.whole).as_posix() for path in result_names(self.whole)}
        if there.keys() != known.keys() or there.keys() != others:
            odd = sorted((there.keys() ^ known.keys()) | (there.keys() ^ others))
            faults.append(f"{len(odd)} files are left, missing or unknown: {', '.join(odd[:9])}")
        for name, path in there.items():
            if known.get(name) != (path.stat().st_size, sha256_of(path)):
                faults.append(f"{name} is not what the database says")
            same = name not in wanted or known[name][1] == wanted[name]
            if not same and (path.suffix == ".csv" or frames_digest(path) != frames_digest(self.whole / name)):
                faults.append(f"{name} is not that of the undisturbed batch")
        return faults

    def _attempt_faults(self) -> list[str]:
        """An attempt after the one that was marked as done, or two that were."""
        self.counts: Counter[str] = Counter()
        faults = []
        over: set[int] = set()
        for id, outcome, found in rows(self.output, "SELECT input, outcome, found FROM attempts ORDER BY rowid"):
            if id in over:
                faults.append(f"input {id} was tried again ({outcome}) after it was done")
            self.counts["found" if found else outcome] += 1
            if outcome in ("done", "damaged"):
                over.add(id)
        return faults


# Poison.


def poison(work: Work) -> None:
    """What a worker does before an attempt at an input of such a name."""
    name = Path(work.source).name
    if "crash" in name:
        if work.id % 2:
            os.abort()
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)
    if "endless" in name:
        while True:
            time.sleep(60)
    give_up_override()


def give_up_override() -> None:
    """Let the superuser be bound by permissions as everybody is, in this thread and those it starts (Linux)."""
    if os.geteuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        sets = (ctypes.c_uint32 * 6)()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.capget(header, sets) == 0:
            sets[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            libc.capset(header, sets)


def poison_clips(clips: list[Path]) -> dict[str, set[str]]:
    """Spoil 1 in 8 of the clips: a third of those is damaged, the others crash, never end or may not be read.

    Returns:
        Reason to the paths of the inputs that are to end with it.
    """
    each = max(1, len(clips) // 40)
    chosen = iter(random.Random(1).sample(clips, 5 * each))
    wanted: dict[str, set[str]] = {}

    def spoil(count: int, reason: str, word: str) -> Iterator[Path]:
        for _ in range(count):
            clip = next(chosen)
            spoilt = clip.with_name(f"{word}-{clip.name}")
            clip.rename(spoilt)
            wanted.setdefault(reason, set()).add(str(spoilt))
            yield spoilt

    for clip in spoil(2 * each, "not decodable", "damaged"):
        clip.write_bytes(b"\0" * 64 + clip.read_bytes()[64:200])
    for _ in spoil(each, "worker died", "crash"):
        pass
    for _ in spoil(each, "too slow", "endless"):
        pass
    for clip in spoil(each, "not readable", "forbidden"):
        clip.chmod(0)
    return wanted


def run_poisoned(folder: Path, clips: int, workers: int, grace: float) -> list[str]:
    """What is wrong with a batch of which some inputs are spoilt; prints what became of them."""
    trial = Trial(folder, clips, workers)
    wanted = poison_clips(trial.clips)
    spoilt = {path for paths in wanted.values() for path in paths}
    begin = time.monotonic()
    child = start(trial.arguments(trial.output, "--grace", str(grace)), trial.log, poisoned=True)
    status = finish(child, trial.log)
    faults = [] if status == 3 else [f"exit status {status}, not 3:\n{trial.log.read_text()[-2000:]}"]
    if not group_is_gone(child):
        faults.append("processes are left")
    print(f"{clips} files, {time.monotonic() - begin:.0f} s, exit status {status}\n\nstate   files  reason, an example")
    ended: dict[str, set[str]] = {}
    for path, state, reason in rows(trial.output, "SELECT path, state, reason FROM inputs"):
        ended.setdefault(reason if state == "failed" else state, set()).add(path)
    for state, reason, count, message in rows(
        trial.output, "SELECT state, reason, count(*), min(message) FROM inputs GROUP BY state, reason"
    ):
        print(f"{state:<7} {count:5}  {reason or ''}: {message or ''}")
    if ended.pop("done", set()) != {str(clip) for clip in trial.inputs.rglob("*.*")} - spoilt:
        faults.append("others are done than are whole")
    if ended != wanted:
        faults.append(f"wanted {wanted}\nfound {ended}")
    deaths = rows(trial.output, "SELECT DISTINCT deaths, attempts FROM inputs WHERE reason='worker died'")
    if deaths != [(2, 2)]:
        faults.append(f"inputs that kill their worker have (deaths, attempts) {deaths}")
    if rows(trial.output, "SELECT count(*) FROM inputs WHERE attempts!=1 AND reason IS NOT 'worker died'") != [(0,)]:
        faults.append("an attempt was charged to another input than that which ended its worker")
    odd = [path.name for path in result_names(trial.output) if ".partial" in path.name or path.suffix == ".lock"]
    if odd:
        faults.append(f"partial files or locks are left: {odd}")
    return faults


def run_killed(folder: Path, given: argparse.Namespace) -> list[str]:
    """What is wrong after a batch was killed again and again; prints how it went."""
    moments = random.Random(given.seed)
    trial = Trial(folder, given.clips, given.workers)
    trial.run_undisturbed()
    print(
        f"{given.clips} clips, undisturbed: {trial.seconds:.1f} s, {trial.start_seconds:.1f} s until the first result\n"
    )
    print("kills  ended before  done by then  faults")
    # Some hit a batch that starts; the others are spread so that it is about done at the end.
    working = 2 * (trial.seconds - trial.start_seconds) / (0.7 * given.kills)
    begin, faults, ends, before = time.monotonic(), [], Counter[str](), 0
    for number in range(1, given.kills + 1):
        starts = moments.random() < 0.3
        moment = moments.uniform(0, 1) * (trial.start_seconds if starts else working)
        end, done, found = trial.kill(moment if starts else trial.start_seconds + moment)
        ends[end] += 1
        faults += found
        if done < before:
            faults.append(f"{before} were done, and then {done}")
        before = done
        if number % max(1, given.kills // 10) == 0:
            print(f"{ends['killed']:5}  {ends['ended']:12}  {done:12}  {len(faults):6}", flush=True)
    faults += trial.faults()
    counts = ", ".join(f"{count} {what}" for what, count in trial.counts.most_common())
    print(f"\n{time.monotonic() - begin:.0f} s with the last command; attempts: {counts}")
    return faults


def make_parser(description: str | None, *, clips: int, kills: int) -> argparse.ArgumentParser:
    """What trials of this kind take, with their defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=clips, help="inputs (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=kills, help="how often to kill (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    return parser


def tell(faults: Sequence[str]) -> int:
    """Print what is wrong; the exit status out."""
    for fault in faults:
        print(f"        {fault}")
    print(f"{len(faults)} faults")
    return 1 if faults else 0


def main(arguments: list[str] | None = None) -> int:
    """Kill batches, print a table; returns 1 where anything was wrong."""
    parser = make_parser(__doc__, clips=1000, kills=50)
    parser.add_argument("--workers", type=int, default=2, help="processes of the batch (default: 2)")
    parser.add_argument("--poison", type=int, metavar="N", help="run N files once, of which some are spoilt, instead")
    parser.add_argument(
        "--grace", type=float, default=20.0, help="seconds until a file of those is given up (default: 20)"
    )
    given = parser.parse_args(arguments)
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="vidsal-kill-") as name:
        folder = Path(name).resolve()
        if given.poison:
            faults = run_poisoned(folder, given.poison, given.workers, given.grace)
        else:
            faults = run_killed(folder, given)
    return tell(faults)


if __name__ == "__main__":
    sys.exit(main())
