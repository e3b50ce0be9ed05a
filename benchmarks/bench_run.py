"""CPU time and memory of `vidsal run` with all defaults, beside plain transcoding by the same encoder settings.

    python benchmarks/bench_run.py CLIP [--laps 5] [--rounds 2] [--against CHECKOUT] [--write-docs]

Every figure is that of a process of its own, user and system together, so that it hardly depends on what else the
machine does. `--against` names a checkout of another commit, which takes turns with this one. The start is a run of
one frame; what comes after it is the difference. The stages are measured alone, with nothing beside them, and without
what a stage before them would have done. On Linux and macOS.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vidsal.bench.files import repeat_clip
from vidsal.bench.machine import describe_machine, describe_versions
from vidsal.decode import open_video
from vidsal.provenance import source_commit

HERE = Path(__file__).resolve().parents[1]
PAGE = HERE / "docs" / "reports" / "performance.md"
BEGIN, END = "<!-- bench_run: begin -->", "<!-- bench_run: end -->"

TRANSCODE = """
import sys
from pathlib import Path
import torch
from vidsal.bench.files import transcode
from vidsal.pipe.outputs import shared_video_options
from vidsal.sinks import VideoOptions
video = shared_video_options(VideoOptions(), torch.device("cpu"))
if len(sys.argv) > 2:
    transcode(Path(sys.argv[1]), Path(sys.argv[2]), video)
print(getattr(video, "chosen_preset", video.preset))
"""


@dataclasses.dataclass(frozen=True)
class Taken:
    """What a process took."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    said: str


def take(checkout: Path, compiled: Path, *arguments: str | Path) -> Taken:
    """Run this Python in a checkout, its bytecode kept in `compiled`."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONPYCACHEPREFIX": str(compiled)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen([sys.executable, *map(str, arguments)], cwd=checkout, env=environment, stdout=out)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read().strip()
    if child.returncode:
        raise SystemExit(f"{arguments} ended with {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Taken(used.ru_utime + used.ru_stime, seconds, used.ru_maxrss * unit / 1e6, said)


@dataclasses.dataclass
class Measured:
    """Of one checkout, a list a round."""

    start: list[Taken] = dataclasses.field(default_factory=list)
    whole: list[Taken] = dataclasses.field(default_factory=list)
    transcoding_start: list[Taken] = dataclasses.field(default_factory=list)
    transcoding: list[Taken] = dataclasses.field(default_factory=list)

    def cpu(self, name: str) -> float:
        """Median CPU seconds."""
        return statistics.median(one.cpu_seconds for one in getattr(self, name))

    def wall(self, name: str) -> float:
        """Median seconds on the clock."""
        return statistics.median(one.wall_seconds for one in getattr(self, name))

    @property
    def run_after_start(self) -> float:
        """CPU seconds of the run without its start."""
        return self.cpu("whole") - self.cpu("start")

    @property
    def transcoding_after_start(self) -> float:
        """CPU seconds of the transcoder without its start."""
        return self.cpu("transcoding") - self.cpu("transcoding_start")


def measure(checkouts: dict[str, Path], clip: Path, folder: Path, rounds: int) -> dict[str, Measured]:
    """Let the checkouts take turns."""
    found = {name: Measured() for name in checkouts}
    compiled = folder / "compiled"
    with open_video(clip) as reader:
        one_frame = 0.5 / float(reader.info.rate or 25)
    for checkout in checkouts.values():  # compiles
        take(
            checkout, compiled, "-m", "vidsal", "run", clip, "-o", folder, "--overwrite", "-q", f"--end={one_frame:.6f}"
        )
    for turn in range(rounds):
        for name, checkout in checkouts.items():
            print(f"round {turn + 1}, {name}", file=sys.stderr)
            run = ("-m", "vidsal", "run", clip, "-o", folder, "--overwrite", "-q")
            one = found[name]
            one.start.append(take(checkout, compiled, *run, f"--end={one_frame:.6f}"))
            one.whole.append(take(checkout, compiled, *run))
            one.transcoding_start.append(take(checkout, compiled, "-c", TRANSCODE, clip))
            one.transcoding.append(take(checkout, compiled, "-c", TRANSCODE, clip, folder / "transcoded.mkv"))
    return found


def stages(clip: Path) -> dict[str, float]:
    """CPU milliseconds a frame of each stage alone."""
    from vidsal.bench.files import stage_cpu_seconds
    from vidsal.cli.process import share_cores
    from vidsal.model.checkpoint import load_model
    from vidsal.pipe.options import RunOptions

    share_cores()
    with tempfile.TemporaryDirectory() as made:
        alone = stage_cpu_seconds(clip, load_model(device="cpu"), RunOptions(), folder=Path(made))
    return {stage: 1e3 * seconds for stage, seconds in alone.items()}


def report(clip: Path, frames: int, found: dict[str, Measured], alone: dict[str, float]) -> str:
    """The tables."""
    machine, versions = describe_machine(), describe_versions()
    lines = [
        f"{machine['processor']}, {machine['cores']} cores; {', '.join(machine['instructions'])}; "
        f"torch {versions.get('torch', '?')}; {clip.name}, {frames} frames; commit {source_commit()}.",
        "",
        "| | CPU s | start | ms a frame after it | transcoding, CPU s | ratio after the start | frames/s | most MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        lines.append(
            f"| {name}, preset {one.transcoding[0].said} | {one.cpu('whole'):.1f} | {one.cpu('start'):.2f} "
            f"| {1e3 * one.run_after_start / frames:.1f} | {one.transcoding_after_start:.1f} "
            f"| {one.run_after_start / one.transcoding_after_start:.2f} | {frames / one.wall('whole'):.1f} "
            f"| {max(taken.peak_mb for taken in one.whole):.0f} |"
        )
    if len(found) == 2:
        new, old = found.values()
        lines += [
            "",
            f"Old over new: CPU time after the start {old.run_after_start / new.run_after_start:.2f}, "
            f"start {old.cpu('start') / new.cpu('start'):.2f}, "
            f"frames a second {old.wall('whole') / new.wall('whole'):.2f} times as many.",
        ]
    lines += ["", "| stage alone | CPU ms a frame |", "|---|---|"]
    lines += [f"| {stage} | {milliseconds:.1f} |" for stage, milliseconds in alone.items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, metavar="CLIP")
    parser.add_argument("--laps", type=float, default=5, help="how often the clip is repeated (default: 5)")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each (default: 2)")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="a checkout of another commit")
    parser.add_argument("--write-docs", action="store_true", help=f"write the tables into {PAGE.name}")
    given = parser.parse_args()
    checkouts = {"this": HERE} | ({} if given.against is None else {"before": given.against.resolve()})
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with open_video(given.clip) as reader:
            seconds = reader.info.duration_seconds or 0.0
        clip = repeat_clip(given.clip, folder / f"{given.clip.stem}.mkv", seconds=seconds * given.laps)
        with open_video(clip, size=(2, 2)) as reader:
            frames = sum(map(len, reader))
        found = measure(checkouts, clip, folder, given.rounds)
        text = report(given.clip, frames, found, stages(given.clip))
    print(text)
    if given.write_docs:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page[: page.index(BEGIN) + len(BEGIN)], page[page.index(END) :]
        PAGE.write_text(f"{before}\n\n{text}\n\n{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
