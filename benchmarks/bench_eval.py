"""What the baselines of `vidsal eval` cost, here and at an earlier commit: prints a table of CPU times and ratios.

    python benchmarks/bench_eval.py [--before COMMIT] [--seconds 10] [--viewers 12] [--height 720] [--rounds 1]
        [--kinds none,default,all] [--json FILE]

Makes a video with moving shapes and the fixations of its viewers in the layout `simple`, and evaluates it by the
command: without baselines, with those of the default, and with all. With --before the same is done with the code of a
commit, which git unpacks into a folder of its own; both take turns, in one run. What the baselines cost is the CPU time
(user and system, of the whole process) less that of a run without any; a ratio is that of the commit by that of the
code here. The scores of both are compared too, for the frames, sources and metrics that both have.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidsal.bench import describe_machine, describe_versions

HERE = Path(__file__).resolve().parents[1]
RATE = 25


def make_study(root: Path, *, seconds: float, viewers: int, height: int) -> int:
    """A folder in the layout `simple` with one video; returns its frames."""
    import av

    rng = np.random.default_rng(0)
    width = height * 16 // 9 // 2 * 2
    frames = round(seconds * RATE)
    (root / "videos").mkdir(parents=True)
    ground = cv2.GaussianBlur(rng.integers(0, 255, (height, width, 3), np.uint8), (0, 0), height / 40)
    ground = cv2.normalize(ground, None, 30, 220, cv2.NORM_MINMAX)
    with av.open(str(root / "videos" / "drive.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            picture = np.roll(ground, number * 3, axis=1)
            for shape in range(4):
                x, y = place(shape, number / RATE, height, width)
                cv2.circle(picture, (int(x), int(y)), height // 12, (40 * shape, 255 - 50 * shape, 90), -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with (root / "video_fixations.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "width", "height", "x", "y", "start_seconds", "duration_ms", "subject"])
        for viewer in range(viewers):
            at = float(rng.uniform(0, 0.2))
            while at < seconds:
                lasts = float(rng.uniform(0.15, 0.5))
                x, y = np.array(place(int(rng.integers(4)), at, height, width)) + rng.normal(0, height / 20, 2)
                writer.writerow(
                    [
                        "drive.mp4",
                        width,
                        height,
                        round(x, 1),
                        round(y, 1),
                        round(at, 3),
                        round(1000 * lasts),
                        f"P{viewer}",
                    ]
                )
                at += lasts + 0.04
    return frames


def place(shape: int, seconds: float, height: int, width: int) -> tuple[float, float]:
    """Where a shape is."""
    angle = seconds * (0.4 + 0.2 * shape) + shape
    return width * (0.5 + 0.35 * math.cos(angle)), height * (0.5 + 0.3 * math.sin(1.3 * angle))


def unpack(commit: str, folder: Path) -> Path:
    """The package as it was at a commit."""
    packed = subprocess.run(["git", "archive", commit, "vidsal"], cwd=HERE, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def evaluate(code: Path, root: Path, out: Path, flags: list[str]) -> float:
    """Runs the command with this code; returns seconds of CPU time."""
    command = [
        sys.executable,
        "-c",
        "from vidsal.cli import main; raise SystemExit(main())",
        "eval",
        "simple",
        str(root),
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*command, "--split", "all", "--out", str(out), "--overwrite", "--quiet", "--device", "cpu", *flags],
        check=True,
        env={**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        cwd=root.parent,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def scores(out: Path) -> dict[tuple[str, str, str], float]:
    """Frame, source and metric to score."""
    found = {}
    with (out / "frames.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for metric, value in row.items():
                if metric not in ("sequence", "frame", "index", "pts_seconds", "source"):
                    found[row["frame"], row["source"], metric] = float(value) if value else math.nan
    return found


def apart(first: Path, second: Path) -> tuple[int, float]:
    """How many scores both have, and the largest difference, in units of 1 + the score."""
    one, other = scores(first), scores(second)
    both = [key for key in one if key in other]
    largest = 0.0
    for key in both:
        if math.isnan(one[key]) != math.isnan(other[key]):
            return len(both), math.inf
        if not math.isnan(one[key]) and one[key] != other[key]:
            largest = max(largest, abs(one[key] - other[key]) / (1 + abs(one[key])))
    return len(both), largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", metavar="COMMIT")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--viewers", type=int, default=12)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kinds", default="none,default,all", help="none has to be among them")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    flags_of = {"none": ["--baselines", "none"], "default": [], "all": ["--baselines", "all"]}
    kinds: dict[str, list[str]] = {kind: flags_of[kind] for kind in given.kinds.split(",")}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        frames = make_study(folder / "study", seconds=given.seconds, viewers=given.viewers, height=given.height)
        sides = {"here": HERE}
        if given.before:
            sides = {"before": unpack(given.before, folder / "before"), **sides}
        taken: dict[str, dict[str, list[float]]] = {side: {kind: [] for kind in kinds} for side in sides}
        for _ in range(given.rounds):
            for kind, flags in kinds.items():
                for side, code in sides.items():
                    taken[side][kind].append(evaluate(code, folder / "study", folder / f"{side}-{kind}", flags))
                    print(
                        f"{side}, baselines {kind}: {taken[side][kind][-1]:.1f} s of CPU", file=sys.stderr, flush=True
                    )
        middle = {side: {kind: statistics.median(each) for kind, each in own.items()} for side, own in taken.items()}
        print(
            f"{frames} frames of {given.viewers} viewers, {given.height} rows; CPU seconds, median of {given.rounds}\n"
        )
        print("| baselines |" + "".join(f" {side} |" for side in sides) + " ratio | their own cost, ratio |")
        print("|---|" + "---|" * (len(sides) + 2))
        ratios: dict[str, float | None] = {}
        for kind in kinds:
            own = [one[kind] - one["none"] for one in middle.values()]
            both = len(sides) == 2
            whole = f"{middle['before'][kind] / middle['here'][kind]:.1f}" if both else ""
            ratios[kind] = own[0] / own[1] if both and kind != "none" and own[1] > 0 else None
            costs = "" if ratios[kind] is None else f"{own[0]:.1f} s to {own[1]:.1f} s, {ratios[kind]:.1f}"
            cells = "".join(f" {one[kind]:.1f} |" for one in middle.values())
            print(f"| {kind} |{cells} {whole} | {costs} |")
        differences = {}
        if given.before:
            for kind in kinds:
                differences[kind] = apart(folder / f"before-{kind}", folder / f"here-{kind}")
                print(f"\n{kind}: {differences[kind][0]} scores in both, largest difference {differences[kind][1]:.2g}")
    if given.json:
        values = {"given": vars(given), "frames": frames, "cpu_seconds": taken, "own_cost_ratio": ratios}
        machine = {"machine": describe_machine(), "versions": describe_versions()}
        text = json.dumps({**values, "differences": differences, **machine}, indent=1, default=str)
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
