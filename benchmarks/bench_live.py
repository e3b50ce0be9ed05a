"""Delay and memory of `vidsal run` on a live source: from when a picture is there to when it is drawn and encoded.

    python benchmarks/bench_live.py [--minutes 15] [--size 640x360] [--rate 25] [--most 5] [--write-docs]

The source is a camera on the network that a second process plays: an RTSP server on loopback that counts its pictures,
and notes when each was there, before it was encoded. The number is read again from what `run`, with all defaults, has
just drawn and handed to its encoder. So the delay holds the server's encoder, the way over the socket, the decoder,
the model and everything after it; not how long the encoder looks ahead before its packets are in the file.

A row a minute: pictures written, pictures left out, the delay (median, 95 of 100, longest), and memory. Between the
minute `--settled` and the end memory may grow by at most `--most` percent, or the exit status is 1. On Linux and macOS.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt
import torch

from vidsal.bench.machine import bytes_in_use, describe_machine, describe_versions
from vidsal.cli.process import share_cores
from vidsal.frames import SaliencyBatch
from vidsal.model.checkpoint import load_model
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.run import RunReport, run
from vidsal.provenance import source_commit

HERE = Path(__file__).resolve().parents[1]
PAGE = HERE / "docs" / "reports" / "performance.md"
BEGIN, END = "<!-- bench_live: begin -->", "<!-- bench_live: end -->"

CPU = torch.device("cpu")
BITS = 20
"""Of the number in the picture: more than half a day of them at 25 a second."""
STRIP = 16
"""Rows of the picture that hold it."""

_Pixels = npt.NDArray[np.uint8]


def scene(width: int, height: int) -> Callable[[int], _Pixels]:
    """Pictures (height, width, 3) of a camera that moves over a surface, with a ball that moves on it, by number."""
    random = np.random.default_rng(0)
    coarse = random.integers(40, 200, (height // 8, width // 8, 3), dtype=np.uint8)
    surface = cv2.resize(coarse, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)

    def picture(number: int) -> _Pixels:
        angle = number / 50
        left, top = round(width * (1 + np.sin(angle)) / 2), round(height * (1 + np.cos(0.7 * angle)) / 2)
        shown = surface[top : top + height, left : left + width].copy()
        ball = round(width * (0.5 + 0.4 * np.sin(3 * angle))), round(height * (0.5 + 0.3 * np.cos(2 * angle)))
        cv2.circle(shown, ball, height // 12, (250, 220, 40), -1)
        bits = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8) * 255
        shown[:STRIP] = bits[np.arange(width) * BITS // width][None, :, None]
        return shown

    return picture


def number_in(luma: _Pixels) -> int:
    """The number in the (height, width) luma of a `scene`."""
    width = luma.shape[1]
    places = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    return sum(int(luma[STRIP // 2, place] > 128) << bit for bit, place in enumerate(places))


class Noted(dict[int, float]):
    """What the server takes for its own notes: times by number, in memory that both processes see."""

    def __init__(self, shared: Any) -> None:
        super().__init__()
        self._shared = shared

    def __setitem__(self, number: int, seconds: float) -> None:
        self._shared[number] = seconds


def serve(shared: Any, told: Any, size: tuple[int, int], rate: int) -> None:
    """The second process: says its address, and serves until it is told to end."""
    sys.path.insert(0, str(HERE / "tests"))
    from rtsp_server import RtspServer

    width, height = size
    cv2.setNumThreads(1)
    with RtspServer(height=height, width=width, rate=rate, count=len(shared), picture=scene(width, height)) as server:
        server.sent = Noted(shared)
        told.send(server.address)
        told.recv()


@dataclasses.dataclass
class Minute:
    """What was seen in one minute."""

    delays: list[float] = dataclasses.field(default_factory=list)
    resident: int = 0
    dropped: int = 0


class Watching:
    """A sink after all others: how old each picture is when the others have it."""

    path = None

    def __init__(self, shared: Any) -> None:
        self.minutes: list[Minute] = []
        self.last = -1
        self._shared = shared
        self._begin = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, batch: SaliencyBatch) -> None:
        now = time.monotonic()
        self._begin = self._begin or now
        while (now - self._begin) // 60 >= len(self.minutes):
            if self.minutes:
                self.minutes[-1].resident = bytes_in_use(CPU)["resident"]
            self.minutes.append(Minute())
        for picture in batch.pictures:
            planes = picture.planes()
            if planes is None:
                raise SystemExit("the pictures are not 4:2:0")
            number = number_in(planes.planes[0])
            if not self.last < number < len(self._shared) or not self._shared[number]:
                raise SystemExit(f"picture {number} after {self.last}: the number cannot be read")
            self.minutes[-1].dropped += number - self.last - 1 if self.last >= 0 else 0
            self.minutes[-1].delays.append(now - self._shared[number])
            self.last = number


def measure(size: tuple[int, int], rate: int, minutes: float) -> tuple[RunReport, Watching, float]:
    """Run for so many minutes; the report, what was seen, and CPU seconds a frame of this process alone."""
    context = multiprocessing.get_context("spawn")
    # A minute more than is read: stopping ends the run, not the source.
    shared = context.Array("d", round((minutes + 1) * 60 * rate), lock=False)
    told, other = context.Pipe()
    server = context.Process(target=serve, args=(shared, other, size, rate))
    share_cores()
    model = load_model(device="cpu")
    watching = Watching(shared)
    server.start()
    try:
        address = told.recv()
        with tempfile.TemporaryDirectory() as made:
            until, before = time.monotonic() + 60 * minutes, time.process_time()
            done = run(
                address,
                options=RunOptions(output=OutputOptions(output=Path(made))),
                model=model,
                sinks=[watching],
                should_stop=lambda: time.monotonic() > until,
            )
            cpu_seconds = time.process_time() - before
    finally:
        told.send("end")
        server.join()
    watching.minutes[-1].resident = bytes_in_use(CPU)["resident"]
    return done, watching, cpu_seconds / done.frames


def row(name: str, delays: list[float], dropped: int, resident: int) -> str:
    """A line of the table."""
    median, most = np.percentile(delays, [50, 95])
    seconds = (median, most, np.percentile(delays, 99), max(delays))
    shown = " | ".join(f"{1e3 * each:.0f}" for each in seconds)
    return f"| {name} | {len(delays)} | {dropped} | {shown} | {resident / 1e6:.0f} |"


def report(
    size: tuple[int, int], rate: int, minutes: float, done: RunReport, seen: Watching, cpu_seconds: float
) -> str:
    """The tables."""
    machine, versions = describe_machine(), describe_versions()
    every = [delay for minute in seen.minutes for delay in minute.delays]
    last = len(seen.minutes) - 1
    shown = [number for number in range(last + 1) if number < 3 or number % 5 == 4 or number == last]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores; {', '.join(machine['instructions'])}; "
        f"torch {versions.get('torch', '?')}; commit {source_commit()}; {size[0]}x{size[1]}, {rate} pictures a second, "
        f"{minutes:g} minutes; {1e3 * cpu_seconds:.1f} ms of the processor a frame.",
        "",
        "| minute | pictures | left out | delay, ms: median | 95 of 100 | 99 of 100 | longest | MB |",
        "|---|---|---|---|---|---|---|---|",
        *(
            row(str(n + 1), (m := seen.minutes[n]).delays, m.dropped, m.resident)
            for n in shown
            if seen.minutes[n].delays
        ),
        row(
            "all",
            every,
            sum(minute.dropped for minute in seen.minutes),
            max(minute.resident for minute in seen.minutes),
        ),
        "",
        f"Of that, from when a picture was decoded: {1e3 * done.mean_delay_seconds:.0f} ms in the mean, "
        f"{1e3 * done.longest_delay_seconds:.0f} ms at most.",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15, help="how long (default: 15)")
    parser.add_argument("--size", default="640x360", help="width and height of the pictures (default: 640x360)")
    parser.add_argument("--rate", type=int, default=25, help="pictures a second (default: 25)")
    parser.add_argument("--settled", type=int, default=3, help="minutes after which memory should stay (default: 3)")
    parser.add_argument("--most", type=float, default=5.0, help="growth that is allowed, in percent (default: 5)")
    parser.add_argument("--write-docs", action="store_true", help=f"write the table into {PAGE.name}")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    done, seen, cpu_seconds = measure((width, height), given.rate, given.minutes)
    text = report((width, height), given.rate, given.minutes, done, seen, cpu_seconds)
    print(text)
    for message in done.messages:
        print(message, file=sys.stderr)
    if given.write_docs:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page[: page.index(BEGIN) + len(BEGIN)], page[page.index(END) :]
        PAGE.write_text(f"{before}\n\n{text}\n\n{after}", encoding="utf-8")
    if len(seen.minutes) <= given.settled:
        return 0
    growth = 100 * (seen.minutes[-1].resident / seen.minutes[given.settled - 1].resident - 1)
    print(f"memory from minute {given.settled} to the end: {growth:+.1f} %")
    return 0 if growth <= given.most else 1


if __name__ == "__main__":
    sys.exit(main())
