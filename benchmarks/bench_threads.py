"""Would drawing and encoding in threads of their own make `vidsal run` quicker? Ways to share out the work, by turns.

    python benchmarks/bench_threads.py CLIP [--rounds 3] [--every 1] [--ways as-it-is encoder-2 own-thread]

Every run is a process of its own, with all defaults but for the way: `as-it-is`; `encoder-2`, two threads of
libx264; `own-thread`, the encoder in a thread of its own beside the one that draws. `--every 2` shows the model every
second frame only, which is about what a processor that multiplies bfloat16 twice as fast would do to the balance.
Medians are printed. On Linux and macOS.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import statistics
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench_run import HERE, Taken, take

WAYS = ("as-it-is", "encoder-2", "own-thread")
WAITING = 8
"""Frames that may wait for the encoder's thread."""


def run_one(way: str, clip: Path, folder: Path, every: int) -> None:
    """One run, in this process; prints its frames a second and the milliseconds a frame that each stage was at work."""
    import vidsal.pipe.outputs as outputs
    from vidsal.cli.process import share_cores
    from vidsal.model.checkpoint import load_model
    from vidsal.pipe.options import OutputOptions, RecurrenceOptions, RunOptions
    from vidsal.pipe.run import run
    from vidsal.sinks import VideoSink

    class OwnThread(VideoSink):
        """A `VideoSink` whose encoder has a thread of its own; its errors appear a few frames later."""

        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self._worker = ThreadPoolExecutor(1)
            self._waiting: collections.deque[Future[None]] = collections.deque()

        def _encode(self, frame: Any, batch: Any, row: int) -> None:
            if len(self._waiting) == WAITING:
                self._waiting.popleft().result()
            self._waiting.append(self._worker.submit(super()._encode, frame, batch, row))

        def _close(self, *, complete: bool) -> None:
            while self._waiting:
                self._waiting.popleft().result()
            self._worker.shutdown()
            super()._close(complete=complete)

    share_cores()
    options = RunOptions(
        output=OutputOptions(output=folder, existing="overwrite"), recurrence=RecurrenceOptions(every=every)
    )
    if way == "encoder-2":
        options = dataclasses.replace(options, video=dataclasses.replace(options.video, encoder_threads=2))
    if way == "own-thread":
        outputs.VideoSink = OwnThread  # type: ignore[misc]
    done = run(clip, options=options, model=load_model(device="cpu"))
    busy = {stage: 1e3 / rate for stage, rate in done.stage_frames_per_second.items()}
    print(json.dumps({"rate": done.frames_per_second, "busy": busy}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, metavar="CLIP")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way (default: 3)")
    parser.add_argument("--every", type=int, default=1, help="the model sees every n-th frame (default: 1)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="(default: all)")
    parser.add_argument("--alone", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone is not None:
        run_one(given.ways[0], given.clip, given.alone, given.every)
        return 0
    found: dict[str, list[Taken]] = {way: [] for way in given.ways}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for turn in range(given.rounds):
            for way, taken in found.items():
                print(f"round {turn + 1}, {way}", file=sys.stderr)
                asked = (__file__, given.clip.resolve(), "--every", str(given.every), "--ways", way, "--alone", folder)
                taken.append(take(HERE, folder / "compiled", *asked))
    print("| way | frames/s | CPU s | MB | busy, ms a frame: decode | model | video |\n|---|---|---|---|---|---|---|")
    for way, taken in found.items():
        said = [json.loads(one.said) for one in taken]
        busy = [statistics.median(one["busy"][stage] for one in said) for stage in ("decode", "model", "video")]
        print(
            f"| {way} | {statistics.median(one['rate'] for one in said):.1f} "
            f"| {statistics.median(one.cpu_seconds for one in taken):.1f} "
            f"| {statistics.median(one.peak_mb for one in taken):.0f} | {' | '.join(f'{each:.1f}' for each in busy)} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
