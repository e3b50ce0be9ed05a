"""Memory of `vidsal run --streams` over many short clips: prints it after every so many, and how much it grew.

    python benchmarks/bench_many_memory.py [--clips 300] [--streams 4] [--settled 100] [--size 320x180] [--most 5]

What a finished input held has to be let go: between `--settled` clips and the last one, memory may grow by at most
`--most` percent, or the exit status is 1. The clips are links to one that it makes. On Linux; runs on the CPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from vidsal.bench.machine import bytes_in_use
from vidsal.bench.made import make_clip
from vidsal.model.checkpoint import load_model
from vidsal.pipe.many import run_many
from vidsal.pipe.options import OutputOptions, RunOptions

CPU = torch.device("cpu")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=300, help="clips in all (default: 300)")
    parser.add_argument("--streams", type=int, default=4, help="clips at once (default: 4)")
    parser.add_argument("--settled", type=int, default=100, help="clips after which memory should stay (default: 100)")
    parser.add_argument("--seconds", type=float, default=0.2, help="length of a clip (default: 0.2)")
    parser.add_argument("--size", default="320x180", help="width and height of a clip (default: 320x180)")
    parser.add_argument("--most", type=float, default=5.0, help="growth that is allowed, in percent (default: 5)")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    model = load_model(device="cpu")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        clip = make_clip(folder / "clip.mp4", seconds=given.seconds, height=height, width=width)
        sources = [folder / f"{number:04d}.mp4" for number in range(given.clips)]
        for source in sources:
            source.symlink_to(clip)
        options = RunOptions(output=OutputOptions(output=folder / "results"))
        begin, memory = time.perf_counter(), {}
        for done, outcome in enumerate(run_many(sources, options=options, model=model, streams=given.streams), 1):
            if outcome.error is not None:
                raise outcome.error
            if done in (1, given.settled, given.clips) or done % 50 == 0:
                memory[done] = bytes_in_use(CPU)["resident"]
                print(f"{done:5d} clips: {memory[done] / 1e6:7.1f} MB after {time.perf_counter() - begin:6.1f} s")
    growth = 100 * (memory[given.clips] / memory[given.settled] - 1)
    print(f"from {given.settled} to {given.clips} clips of {given.size}, {given.streams} at once: {growth:+.1f} %")
    return 0 if growth <= given.most else 1


if __name__ == "__main__":
    sys.exit(main())
