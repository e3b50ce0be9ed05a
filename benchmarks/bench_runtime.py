"""CPU time of `--runtime openvino` beside torch's, and how far their maps are apart.

    python benchmarks/bench_runtime.py [--model sam-lite] [--canvas 208,352] [--rounds 15]

One thread, four frames a call, the state carried; the runtimes take turns, and the medians are printed. "start" is what
comes before the second frame: graphs made anew, and read from the cache.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from vidsal.bench.machine import describe_machine, describe_versions
from vidsal.bench.made import make_pictures
from vidsal.model import SaliencyModel, load_model
from vidsal.model.recurrent import Unroll
from vidsal.model.state import VideoState

WAYS = (("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"))
AT_ONCE = 4


def step(model: SaliencyModel, frames: torch.Tensor, state: VideoState | None) -> tuple[torch.Tensor, VideoState]:
    """The next frames of a video."""
    fresh = [[state is None] + [False] * (frames.shape[1] - 1)]
    return model(frames, state, unroll=Unroll.of(fresh, fresh_steps=model.config.steps))


def start_seconds(name: str, precision: str, frames: torch.Tensor) -> float:
    """CPU seconds of the first two frames, which make or read both graphs."""
    model = load_model(name, device="cpu", precision=precision, runtime="openvino")
    begin = time.process_time()
    step(model, frames[:, :2], None)
    return time.process_time() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sam-lite")
    parser.add_argument("--canvas", default="208,352", help="rows and columns (default: those of 16:9)")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, columns = map(int, given.canvas.split(","))
    pictures = np.stack(list(make_pictures(AT_ONCE, height=rows, width=columns)))
    with tempfile.TemporaryDirectory() as cache:
        os.environ["VIDSAL_CACHE"] = cache
        models = {way: load_model(given.model, device="cpu", precision=way[1], runtime=way[0]) for way in WAYS}
        frames = models[WAYS[0]].preprocessor(pictures, device="cpu")[None]
        starts = {kind: start_seconds(given.model, "fp32", frames) for kind in ("made", "read")}
        states: dict[tuple[str, str], VideoState | None] = dict.fromkeys(WAYS)
        taken: dict[tuple[str, str], list[float]] = {way: [] for way in WAYS}
        maps = {}
        for turn in range(given.rounds + 2):  # the first two do not count
            for way, model in models.items():
                begin = time.process_time()
                maps[way], states[way] = step(model, frames, states[way])
                taken[way] += [(time.process_time() - begin) * 1000 / AT_ONCE] * (turn > 1)
    exact = maps[WAYS[0]].exp().flatten(2)[0]
    machine, versions = describe_machine(), describe_versions()
    print(f"{machine['processor']}; {', '.join(machine['instructions'])}; torch {versions['torch']}; {given.model}")
    for way in WAYS:
        pairs = zip(maps[way].exp().flatten(2)[0], exact, strict=True)
        least = min(float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs)
        print(f"{way[0]:9} {way[1]}  {statistics.median(taken[way]):6.1f} ms a frame   CC with torch fp32 {least:.6f}")
    print(f"start: {starts['made']:.1f} s of CPU to make the graphs, {starts['read']:.1f} s to read them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
