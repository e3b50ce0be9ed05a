"""Peak memory of `vidsal run` on a clip of ten seconds and on the same clip repeated to ten minutes.

    python tools/bench_memory.py [CLIP] [--model sam-lite] [--short 10] [--long 600] [--limit 1.05] [--repeats 5]
        [-- RUN OPTIONS]

The clip (without CLIP: a made one of 320x180) is repeated by copying its packets, so both inputs hold the same
pictures. Which thread is ahead of which changes a run's peak by some per cent; so the short run is repeated, and the
largest of its peaks counts. Exits with 1 if the long run's peak resident memory is more than `--limit` times that.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# Runs the command in a child and prints the child's own peak: RUSAGE_CHILDREN would remember the largest of all.
_PROBE = """
import os, sys
_, status, usage = os.wait4(os.spawnvp(os.P_NOWAIT, sys.argv[1], sys.argv[1:]), 0)
print(usage.ru_maxrss)
sys.exit(status != 0)
"""


def make_clip(path: Path) -> Path:
    """Two seconds of 320x180 noise that moves."""
    random = np.random.default_rng(0)
    still = random.integers(0, 255, (26, 45, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for n in range(50):
            picture = np.ascontiguousarray(still[n % 28 : n % 28 + 180, n % 40 : n % 40 + 320])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def repeat(source: Path, target: Path, seconds: float) -> int:
    """Copy the video packets again and again until `seconds` are full; returns the frames."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        out = writer.add_stream_from_template(stream)
        packets = [p for p in reader.demux(stream) if p.dts is not None]
        start = min(p.pts for p in packets)
        length = max(p.pts + p.duration for p in packets) - start
        rounds = max(1, round(Fraction(seconds) / (length * stream.time_base)))
        for lap in range(rounds):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts = packet.pts + lap * length, packet.dts + lap * length
                copy.duration, copy.time_base = packet.duration, stream.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, out
                writer.mux(copy)
    return rounds * len(packets)


def peak_mebibytes(clip: Path, model: str, folder: Path, further: list[str]) -> float:
    """Peak resident memory of a whole `vidsal run`."""
    command = [sys.executable, "-m", "vidsal", "run", str(clip), "--model", model, "--output", str(folder)]
    command += ["--overwrite", "--quiet", *further]
    done = subprocess.run([sys.executable, "-c", _PROBE, *command], capture_output=True, text=True, check=True)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return int(done.stdout.split()[-1]) / unit


def main() -> int:
    """Measure both, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--model", default="sam-lite")
    parser.add_argument("--short", type=float, default=10, help="seconds of the short input")
    parser.add_argument("--long", type=float, default=600, help="seconds of the long input")
    parser.add_argument("--limit", type=float, default=1.05, help="largest ratio of the peaks")
    parser.add_argument("--repeats", type=int, default=5, help="runs of the short input")
    arguments, further = parser.parse_known_args()
    further = [word for word in further if word != "--"]
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = arguments.clip or make_clip(folder / "source.mp4")
        for seconds, repeats in ((arguments.short, arguments.repeats), (arguments.long, 1)):
            clip = folder / f"{seconds:g}s.mp4"
            frames = repeat(source, clip, seconds)
            found = [peak_mebibytes(clip, arguments.model, folder, further) for _ in range(repeats)]
            peaks.append(max(found))
            several = f" (the largest of {repeats}, least {min(found):.1f})" if repeats > 1 else ""
            print(f"{seconds:7g} s  {frames:6d} frames  peak {peaks[-1]:7.1f} MiB{several}", flush=True)
    ratio = peaks[1] / peaks[0]
    print(f"ratio {ratio:.3f} (limit {arguments.limit})")
    return int(ratio > arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
