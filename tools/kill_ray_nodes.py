"""Kill nodes of a Ray cluster, and `vidsal batch` itself, at random moments: nothing is lost or done twice.

    python tools/kill_ray_nodes.py --clips 200 --kills 20

A cluster of two nodes runs on this machine. Small clips are made, and run once undisturbed by the local engine. Then a
batch of them runs over the cluster. Again and again, at a random moment, all processes of the node that does not hold
the cluster together are killed with SIGKILL, and another one is started in its place. Every other time the batch is
killed as well, a moment before or after, and the same command is given again. At the end all has to be as in
`kill_batches.py`, whose clips and judge these are; and no input may have been charged for a node that was lost.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import kill_batches
import psutil
from kill_batches import LONGEST_SECONDS, Trial, rows

ROOT = Path(__file__).resolve().parents[1]
MOMENT_SECONDS = 3.0
"""Kills come so long after both nodes are at work, at most."""
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


class Nodes:
    """A cluster with a node that stays and one that is killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster()
        self._cluster.add_node(wait=False, **NODE)
        self.address: str = self._cluster.address
        self.add()

    def add(self) -> None:
        """Start the node that is killed."""
        self._node: Any = self._cluster.add_node(wait=False, **NODE)

    def kill(self) -> None:
        """Kill all its processes."""
        self._cluster.remove_node(self._node, allow_graceful=False)

    def workers(self) -> list[int]:
        """Processes of the batch on the node that is killed."""
        found = []
        with suppress(psutil.Error, KeyError, IndexError):
            raylet = psutil.Process(self._node.all_processes["raylet"][0].process.pid)
            for process in raylet.children(recursive=True):
                with suppress(psutil.Error):
                    if process.cmdline()[0].startswith("ray::_Remote"):
                        found.append(process.pid)
        return found

    def close(self) -> None:
        self._cluster.shutdown()


class RayTrial(Trial):
    """The same clips over a cluster."""

    nodes: Nodes | None = None

    def arguments(self, output: Path, *more: str) -> list[str]:
        if self.nodes is not None:
            more = (*more, "--engine", "ray", "--ray-address", self.nodes.address, "--worker-memory", "0.1")
            more = (*more, "--retry-pause", "1")
        return super().arguments(output, *more)

    def start_batch(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "vidsal", *self.arguments(self.output)]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def count_done(self) -> int:
        with suppress(Exception):  # there is no database yet
            return int(rows(self.output, "SELECT count(*) FROM inputs WHERE state='done'")[0][0])
        return 0


def wait_until(moment: Any, batch: subprocess.Popen[bytes]) -> bool:
    """Wait for something; False where the batch ends first."""
    end = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end:
        if batch.poll() is not None:
            return False
        if moment():
            return True
        time.sleep(0.05)
    raise SystemExit("nothing happens any more")


def kill_batch(batch: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(batch.pid, signal.SIGKILL)
    batch.wait()


def run_trial(trial: RayTrial, nodes: Nodes, kills: int, seed: int) -> list[str]:
    """What is wrong at the end; prints how it goes."""
    moments = random.Random(seed)
    faults, hits, before = [], Counter[str](), 0
    batch = trial.start_batch()
    print("kills  batch too  at an input  done by then  seconds  faults")
    begin = time.monotonic()
    for number in range(1, kills + 1):
        wanted = int(0.9 * len(trial.clips) * number / kills)
        if not wait_until(lambda wanted=wanted: nodes.workers() and trial.count_done() >= wanted, batch):
            faults.append(f"the batch ended before kill {number}, with {batch.returncode}: more --frames keep it busy")
            break
        time.sleep(moments.uniform(0, MOMENT_SECONDS))
        too = number % 2 == 0
        first = too and moments.random() < 0.5
        if first:
            kill_batch(batch)
            time.sleep(moments.uniform(0, 0.5))
        hits["at work"] += bool(nodes.workers())
        nodes.kill()
        if too and not first:
            time.sleep(moments.uniform(0, MOMENT_SECONDS))
            kill_batch(batch)
        done = trial.count_done()
        if done < before:
            faults.append(f"{before} were done, and then {done}")
        before = done
        nodes.add()
        if too:
            hits["batches"] += 1
            batch = trial.start_batch()
        seconds = time.monotonic() - begin
        print(
            f"{number:5}  {hits['batches']:9}  {hits['at work']:11}  {done:12}  {seconds:7.0f}  {len(faults):6}",
            flush=True,
        )
    faults += trial.faults_after(batch.wait(LONGEST_SECONDS))
    charged = rows(trial.output, "SELECT path, attempts, deaths FROM inputs WHERE deaths>0 OR attempts!=1")
    faults += [f"{path} was charged {attempts} attempts, {deaths} deaths" for path, attempts, deaths in charged]
    lost = rows(trial.output, "SELECT count(*) FROM attempts WHERE outcome='interrupted' AND reason='worker died'")
    counts = ", ".join(f"{count} {what}" for what, count in trial.counts.most_common())
    print(f"\n{time.monotonic() - begin:.0f} s in all; attempts: {counts}; {lost[0][0]} lost with their node")
    return faults


def main(arguments: list[str] | None = None) -> int:
    """Kill nodes and batches, print a table; returns 1 where anything was wrong."""
    parser = kill_batches.make_parser(__doc__, clips=200, kills=20)
    parser.add_argument("--frames", type=int, default=600, help="frames of each, at least (default: 600)")
    given = parser.parse_args(arguments)
    # Nodes and their workers have to find this vidsal.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    kill_batches.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="vidsal-ray-") as name:
        trial = RayTrial(Path(name).resolve(), given.clips, 2, frames=given.frames)
        trial.run_undisturbed()
        print(f"{given.clips} clips, undisturbed by the local engine: {trial.seconds:.1f} s\n", flush=True)
        nodes = Nodes()
        try:
            trial.nodes = nodes
            faults = run_trial(trial, nodes, given.kills, given.seed)
        finally:
            nodes.close()
        if faults:
            print(trial.log.read_text()[-3000:])
    return kill_batches.tell(faults)


if __name__ == "__main__":
    sys.exit(main())
