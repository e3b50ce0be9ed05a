"""Damaged inputs through `vidsal run`: each comes out right, with a warning, or as a clear error; no loss is silent.

    python tests/fuzz_inputs.py --inputs 400 --keep failing/

Every seed is made here, and its pictures carry their number, so which frames are missing from a result is read from
the result's own pictures. Whether the damaged file tells of the loss is judged without the product's code: from the
times, the counts and the continuity counters of the file, and from what FFmpeg logs when it reads it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import av
import cv2
import numpy as np
import numpy.typing as npt
from made import make_model
from media import make_video

RGB = npt.NDArray[np.uint8]

FRAMES = 26
WIDTH, HEIGHT = 96, 64
RATE = 25
TIME_LIMIT_SECONDS = 60.0
MEMORY_LIMIT_BYTES = 2 * 1024**3

# Pictures that carry their number.

_ROWS, _COLUMNS = 4, 6


def checked_number(number: int) -> int:
    """24 bits: a number of 8 bits and 16 bits that tell a damaged picture from another number."""
    return number | (~number & 0xFF) << 8 | (number * 37 + 11 & 0xFF) << 16


def draw_number(number: int) -> RGB:
    """A picture with `number` in black and white cells."""
    bits = np.array([checked_number(number) >> bit & 1 for bit in range(_ROWS * _COLUMNS)], np.uint8)
    cells = (bits * 200 + 28).reshape(_ROWS, _COLUMNS)
    grey = cells.repeat(HEIGHT // _ROWS, 0).repeat(WIDTH // _COLUMNS, 1)
    return np.repeat(grey[..., None], 3, axis=2)


def number_of(picture: RGB) -> int | None:
    """The number in a picture; None where the picture is damaged."""
    height, width = picture.shape[:2]
    bits = 0
    for bit in range(_ROWS * _COLUMNS):
        row, column = divmod(bit, _COLUMNS)
        y, x = int((row + 0.5) * height / _ROWS), int((column + 0.5) * width / _COLUMNS)
        bits |= int(picture[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean() > 128) << bit
    return bits & 0xFF if checked_number(bits & 0xFF) == bits else None


# Seeds.


@dataclass(frozen=True)
class Kind:
    """One kind of seed."""

    suffix: str
    settings: dict[str, Any] = field(default_factory=dict)
    frames: int = FRAMES


_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
_SMALL = {"frames": FRAMES, "width": WIDTH, "height": HEIGHT, "rate": RATE, "picture": draw_number, "gop": 9}

KINDS: dict[str, Kind] = {
    "mp4": Kind(".mp4", {"audio_tracks": 1, "bframes": 2}),
    "mp4, fast start": Kind(".mp4", {"audio_tracks": 1, "container_options": {"movflags": "faststart"}}),
    "mp4, fragmented": Kind(".mp4", {"audio_tracks": 1, "bframes": 2, "container_options": _FRAGMENTED}),
    "mkv": Kind(".mkv", {"audio_tracks": 1, "bframes": 2}),
    "webm": Kind(".webm", {"codec": "libvpx-vp9", "audio_tracks": 1}),
    "ts, h264": Kind(".ts", {"audio_tracks": 1, "bframes": 2}),
    "ts, mpeg2": Kind(".ts", {"codec": "mpeg2video", "audio_tracks": 1, "bframes": 2, "codec_options": {"b": "800k"}}),
    "avi": Kind(".avi", {"codec": "mpeg4", "audio_tracks": 1}),
    "mxf": Kind(".mxf", {"codec": "mpeg2video", "codec_options": {"b": "800k"}}),
    "mov": Kind(".mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "audio_tracks": 1}),
    "gif": Kind(".gif", {"codec": "gif", "pix_fmt": "bgr8"}),
    "png": Kind(".png", frames=1),
    "jpg": Kind(".jpg", frames=1),
}


def make_seed(kind: str, folder: Path) -> Path:
    """Makes the undamaged file of a kind."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"seed{KINDS[kind].suffix}"
    if KINDS[kind].frames == 1:
        cv2.imwrite(str(path), draw_number(0)[..., ::-1])
        return path
    return make_video(path, **(_SMALL | KINDS[kind].settings))


# Damage.

PACKET = 188
"""Bytes of a packet of a transport stream."""

Damage = Callable[[bytearray, random.Random], bytearray]


def _place(data: bytearray, chance: random.Random, length: int) -> int:
    """Where damage of a length starts: anywhere, but in one of three files within the first or last part."""
    span = max(1, len(data) - length)
    where = chance.random()
    if where < 1 / 6:
        return chance.randrange(min(span, 800))
    if where < 1 / 3:
        return max(0, span - 1 - chance.randrange(min(span, 1500)))
    return chance.randrange(span)


def cut(data: bytearray, chance: random.Random) -> bytearray:
    return data[: max(1, int(len(data) * chance.uniform(0.03, 0.999)))]


def cut_near_the_end(data: bytearray, chance: random.Random) -> bytearray:
    return data[: max(1, len(data) - chance.randint(1, min(len(data) - 1, 3000)))]


def head_cut_off(data: bytearray, chance: random.Random) -> bytearray:
    return data[chance.randint(1, max(1, len(data) // 2)) :]


def bits_flipped(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 3, 10, 40))):
        data[_place(data, chance, 1)] ^= 1 << chance.randrange(8)
    return data


def bytes_of_the_header_set(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 2, 4))):
        data[chance.randrange(min(len(data), 512))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return data


def bytes_of_the_tail_set(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 2, 4))):
        at = len(data) - 1 - chance.randrange(min(len(data), 2500))
        data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return data


def _length(data: bytearray, chance: random.Random) -> int:
    return min(len(data) - 1, max(1, int(len(data) * 10 ** chance.uniform(-3, -0.7))))


def block_zeroed(data: bytearray, chance: random.Random) -> bytearray:
    length = _length(data, chance)
    at = _place(data, chance, length)
    data[at : at + length] = bytes(length)
    return data


def block_of_noise(data: bytearray, chance: random.Random) -> bytearray:
    length = _length(data, chance)
    at = _place(data, chance, length)
    data[at : at + length] = chance.randbytes(length)
    return data


def block_removed(data: bytearray, chance: random.Random) -> bytearray:
    length = _length(data, chance)
    at = _place(data, chance, length)
    del data[at : at + length]
    return data


def block_doubled(data: bytearray, chance: random.Random) -> bytearray:
    length = _length(data, chance)
    at = _place(data, chance, length)
    data[at:at] = data[at : at + length]
    return data


def blocks_swapped(data: bytearray, chance: random.Random) -> bytearray:
    length = max(1, min(_length(data, chance), len(data) // 3))
    one = chance.randrange(max(1, len(data) - 2 * length))
    other = chance.randrange(one + length, max(one + length + 1, len(data) - length))
    data[one : one + length], data[other : other + length] = (
        data[other : other + length],
        data[one : one + length],
    )
    return data


def size_blown_up(data: bytearray, chance: random.Random) -> bytearray:
    """Four bytes of the header or the tail become a huge number: a size, a count, a number of channels."""
    reach = min(len(data) - 4, 1500)
    at = chance.randrange(reach) if chance.random() < 0.5 else len(data) - 4 - chance.randrange(reach)
    data[at : at + 4] = chance.choice(
        (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x10\x00\x00\x00", b"\x00\x00\x00\x10")
    )
    return data


def packet_lost(data: bytearray, chance: random.Random) -> bytearray:
    at = PACKET * chance.randrange(1, len(data) // PACKET)
    del data[at : at + PACKET]
    return data


def burst_lost(data: bytearray, chance: random.Random) -> bytearray:
    packets = len(data) // PACKET
    count = chance.randint(2, max(3, packets // 4))
    at = PACKET * chance.randrange(1, max(2, packets - count))
    del data[at : at + PACKET * count]
    return data


def packets_lost_here_and_there(data: bytearray, chance: random.Random) -> bytearray:
    share = 10 ** chance.uniform(-2.5, -0.8)
    pieces = [data[at : at + PACKET] for at in range(0, len(data), PACKET)]
    return bytearray(b"".join(piece for piece in pieces if chance.random() > share))


DAMAGES: tuple[Damage, ...] = (
    cut,
    cut_near_the_end,
    head_cut_off,
    bits_flipped,
    bytes_of_the_header_set,
    bytes_of_the_tail_set,
    block_zeroed,
    block_of_noise,
    block_removed,
    block_doubled,
    blocks_swapped,
    size_blown_up,
)

PACKET_DAMAGES: tuple[Damage, ...] = (packet_lost, burst_lost, packets_lost_here_and_there)
"""What happens to transport streams only."""


def damages_of(kind: str) -> tuple[Damage, ...]:
    return DAMAGES + PACKET_DAMAGES * 2 if KINDS[kind].suffix == ".ts" else DAMAGES


# What the file itself tells.


@dataclass(frozen=True)
class Told:
    """What can be seen of a file without the product."""

    times: tuple[Fraction, ...] = ()
    """Times of the packets of the video, in seconds, rising."""
    shown: tuple[Fraction, ...] = ()
    """Times of its frames."""
    frames: int = 0
    count: int = 0
    """Frames that the header counts."""
    end: Fraction = Fraction(0)
    """The end that the header gives."""
    log: tuple[str, ...] = ()


def look_at(path: Path) -> Told:
    """Reads a file with FFmpeg alone. Logs are taken from this thread, so the decoder has no other."""
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)
    times: list[Fraction] = []
    shown: list[Fraction] = []
    frames = count = 0
    end = Fraction(0)
    with (
        av.logging.Capture() as log,
        contextlib.suppress(Exception),
        av.open(f"file:{path}", metadata_errors="replace") as container,
    ):
        stream = container.streams.video[0]
        stream.thread_count = 1
        count = stream.frames
        base = Fraction(stream.time_base or 0)
        if stream.duration and container.format.name != "mpegts":
            end = (stream.duration + (stream.start_time or 0)) * base
        elif container.duration and "matroska" in container.format.name:
            end = Fraction(container.duration, av.time_base)
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.InvalidDataError:
                packets = container.demux(stream)
                continue
            if packet is not None and packet.size == 0 and packet.dts is None:
                continue
            if packet is not None and packet.pts is not None:
                times.append(packet.pts * base)
            with contextlib.suppress(Exception):
                for frame in stream.decode(packet):
                    frames += 1
                    if frame.pts is not None:
                        shown.append(frame.pts * base)
            if packet is None:
                break
    av.logging.set_level(None)
    lines = {re.sub(r"0x[0-9a-f]+|[-+]?\d+", "#", message.strip()) for _, _, message in log}
    return Told(tuple(sorted(times)), tuple(sorted(shown)), frames, count, end, tuple(sorted(lines - {""})))


def _holes(times: Sequence[Fraction]) -> int:
    step = Fraction(1, RATE)
    return sum(after - before > Fraction(3, 2) * step for before, after in pairwise(times))


def continuity_breaks(path: Path) -> int:
    """Places of a transport stream where a counter of packets jumps, or a packet does not begin where it should."""
    data = path.read_bytes()
    last: dict[int, int] = {}
    breaks = int(len(data) % PACKET != 0)
    for at in range(0, len(data) - PACKET + 1, PACKET):
        if data[at] != 0x47:
            breaks += 1
            continue
        pid, flags = (data[at + 1] & 0x1F) << 8 | data[at + 2], data[at + 3]
        breaks += data[at + 1] >> 7
        if pid == 0x1FFF or not flags & 0x10:
            continue
        breaks += pid in last and flags & 15 != last[pid] + 1 & 15
        last[pid] = flags & 15
    return breaks


def signs_of_loss(path: Path, seed: Told) -> list[str]:
    """What in a damaged file tells that frames are missing."""
    if path.suffix in (".png", ".jpg"):
        return []
    told = look_at(path)
    signs = []
    if _holes(told.times) > _holes(seed.times) or _holes(told.shown) > _holes(seed.shown):
        signs.append("times")
    step = Fraction(1, RATE)
    reached = told.shown[-1] if told.shown else Fraction(0)
    if told.end and told.end - reached > seed.end - seed.shown[-1] + step / 2:
        signs.append("the header's end")
    if told.count and told.count - told.frames > seed.count - seed.frames:
        signs.append("counts")
    if len(told.times) > told.frames:
        signs.append("packets without a picture")
    if path.suffix == ".ts" and continuity_breaks(path):
        signs.append("continuity counters")
    signs += [f"log: {line}" for line in told.log if line not in seed.log]
    return signs


# The product.


@dataclass
class Outcome:
    """What became of one input."""

    status: int = 0
    frames: int = 0
    numbers: list[int | None] = field(default_factory=list)
    """The number in each picture that came out; None where it cannot be read."""
    messages: list[str] = field(default_factory=list)
    """What was said, without the line that says what was done."""
    noticed: bool = False
    """Whether the report says that something is missing or damaged."""
    stderr: str = ""
    traceback: str = ""
    peak_bytes: int = 0
    """The most memory that the process took; in one that does other things too, how much more than before."""
    seconds: float = 0.0


DAMAGE_COUNTS = (
    "skipped_corrupt",
    "concealed",
    "mended_times",
    "lost_frames",
    "damaged_packets",
    "structure_faults",
    "skipped_at_start",
    "truncated",
)
"""Fields of the report that tell of damage."""


@cache
def _model() -> Any:
    return make_model()


def run_product(path: Path, folder: Path) -> Outcome:
    """`vidsal run` on one input, in this process, with a tiny model that is loaded once."""
    from vidsal.cli import main
    from vidsal.pipe.options import ModelOptions

    outcome = Outcome()
    before, ModelOptions.load = ModelOptions.load, lambda _self: _model()  # type: ignore[method-assign]
    arguments = ["run", str(path), "-o", str(folder), "--json", "--device", "cpu", "--every", "8", "--smoothing"]
    arguments += ["none", "--opacity", "0.02", "--preset", "ultrafast", "--crf", "12"]
    out, errors = io.StringIO(), io.StringIO()
    # Other tests may have taken more in this process before.
    most_before = _most_memory()
    began = time.monotonic()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            outcome.status = main(arguments)
    except SystemExit as error:
        outcome.status = int(error.code) if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - that is what is looked for
        outcome.traceback = traceback.format_exc()
    finally:
        ModelOptions.load = before  # type: ignore[method-assign]
    outcome.seconds = time.monotonic() - began
    outcome.stderr = errors.getvalue()
    report = json.loads(out.getvalue().splitlines()[-1]) if out.getvalue().strip() else {}
    if outcome.status == 0:
        outcome.frames = report.get("frames", 0)
        outcome.messages = list(report["messages"])
        outcome.noticed = bool(outcome.messages) and any(report[name] for name in DAMAGE_COUNTS)
        outcome.numbers = [number_of(picture) for picture in _pictures(Path(report["files"][0]))]
    outcome.peak_bytes = _most_memory() - most_before
    return outcome


def _most_memory() -> int:
    """The most that this process has taken in its life, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _pictures(path: Path) -> Iterator[RGB]:
    if path.suffix in (".png", ".jpg"):
        yield np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)
        return
    with av.open(f"file:{path}") as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


# Verdicts.

RIGHT = "right"
WARNED = "right, with warning"
REFUSED = "clean error"
UNTOLD = "lost, nothing tells"
SPOILT = "spoilt picture, no word"
SILENT = "LOST WITHOUT A WORD"
CRASHED = "TRACEBACK"
HUNG = "HANG"
FAT = "MEMORY"
ALARM = "FALSE ALARM"

VERDICTS = (RIGHT, WARNED, REFUSED, SPOILT, UNTOLD, SILENT, CRASHED, HUNG, FAT, ALARM)
FAULTS = frozenset({SILENT, CRASHED, HUNG, FAT, ALARM})


def missing_frames(outcome: Outcome, frames: int) -> int:
    """Frames of the seed that did not come; a picture that cannot be read stands for any of them."""
    read = {number for number in outcome.numbers if number is not None and number < frames}
    return max(0, frames - len(read) - outcome.numbers.count(None))


def judge(outcome: Outcome, *, frames: int, signs: Callable[[], list[str]]) -> tuple[str, str]:
    """The verdict, and why."""
    if outcome.traceback or "unexpected " in outcome.stderr or "Traceback" in outcome.stderr:
        return CRASHED, outcome.traceback or outcome.stderr
    if outcome.peak_bytes > MEMORY_LIMIT_BYTES:
        return FAT, f"{outcome.peak_bytes / 2**20:.0f} MiB"
    if outcome.status:
        lines = [line for line in outcome.stderr.splitlines() if line.startswith("vidsal: error: ")]
        return (REFUSED, lines[0]) if len(lines) == 1 else (CRASHED, outcome.stderr)
    missing = missing_frames(outcome, frames)
    if outcome.noticed:
        return WARNED, f"{missing} missing; {'; '.join(outcome.messages)}"
    if missing:
        told = signs()
        return (SILENT, f"{missing} missing; {'; '.join(told)}") if told else (UNTOLD, f"{missing} missing")
    spoilt = outcome.numbers.count(None)
    return (SPOILT, f"{spoilt} pictures; {'; '.join(signs())}") if spoilt else (RIGHT, "")


# Workers: a process each, so that a hang or a crash ends one input.


def _serve(pipe: Any) -> None:
    while True:
        order = pipe.recv()
        if order is None:
            return
        path, folder, seed = order
        if seed is None:
            outcome = run_product(Path(path), Path(folder))
            outcome.peak_bytes = _most_memory()
            pipe.send(asdict(outcome))
        else:
            pipe.send(signs_of_loss(Path(path), seed))


class Worker:
    """A process that is asked one thing at a time, and replaced when it does not answer."""

    def __init__(self) -> None:
        self._process: Any = None

    def ask(self, path: Path, folder: Path, seed: Told | None = None, *, limit: float = TIME_LIMIT_SECONDS) -> Any:
        """The answer; raises TimeoutError or EOFError."""
        context = multiprocessing.get_context("spawn")
        fresh = self._process is None
        if fresh:
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        self._pipe.send((str(path), str(folder), seed))
        if not self._pipe.poll(limit + (120 if fresh else 0)):
            self.stop()
            raise TimeoutError
        try:
            return self._pipe.recv()
        except EOFError:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


# The campaign.


@dataclass(frozen=True)
class Case:
    """One damaged input."""

    kind: str
    number: int
    damage: str
    data: bytes


def cases_of(kind: str, seed: bytes, count: int, *, start: int = 0) -> Iterator[Case]:
    """The damaged files of one kind, the same ones each time."""
    damages = damages_of(kind)
    for number in range(start, start + count):
        chance = random.Random(f"{kind} {number}")
        damage = damages[number % len(damages)]
        data = bytearray(seed)
        for _ in range(20):
            data = damage(bytearray(seed), chance)
            if data != seed:
                break
        yield Case(kind, number, damage.__name__.replace("_", " "), bytes(data))


def try_case(
    case: Case,
    folder: Path,
    seed: Told,
    product: Callable[[Path, Path], Outcome],
    signs: Callable[[Path, Told], list[str]],
) -> tuple[str, str]:
    """One input through the product; its folder is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder / f"in{KINDS[case.kind].suffix}"
    path.write_bytes(case.data)
    try:
        outcome = product(path, folder / "out")
    except TimeoutError:
        return HUNG, ""
    except EOFError:
        return CRASHED, "the process died"
    return judge(outcome, frames=KINDS[case.kind].frames, signs=lambda: signs(path, seed))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the campaign and prints a table; 1 where there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=416, help="damaged files, spread over the kinds")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="some kinds only")
    parser.add_argument("--first", type=int, default=0, help="number of the first file of each kind")
    parser.add_argument("--keep", type=Path, help="folder that failing inputs are copied to")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every input")
    given = parser.parse_args(arguments)
    kinds = given.kinds
    each = -(-given.inputs // len(kinds))
    table: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    peak, slowest = 0, 0.0
    product, oracle = Worker(), Worker()

    def run_it(path: Path, folder: Path) -> Outcome:
        nonlocal peak, slowest
        outcome = Outcome(**product.ask(path, folder))
        peak, slowest = max(peak, outcome.peak_bytes), max(slowest, outcome.seconds)
        if outcome.peak_bytes > MEMORY_LIMIT_BYTES:
            product.stop()
        return outcome

    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for kind in kinds:
            seed = make_seed(kind, work / "seed")
            data = seed.read_bytes()
            told = Told() if KINDS[kind].frames == 1 else look_at(seed)
            whole = Case(kind, -1, "nothing", data)
            cases = [whole, *cases_of(kind, data, each, start=given.first)]
            for case in cases:
                verdict, why = try_case(
                    case, work / "one", told, run_it, lambda path, told: oracle.ask(path, work, told)
                )
                if case is whole:
                    if verdict == RIGHT:
                        continue
                    verdict = ALARM
                table[kind][verdict] += 1
                if verdict in FAULTS or given.verbose:
                    print(f"{kind} {case.number}, {case.damage}: {verdict}: {why}", flush=True)
                if given.keep and verdict in FAULTS:
                    given.keep.mkdir(parents=True, exist_ok=True)
                    name = re.sub(r"\W+", "_", f"{kind}_{case.number}_{case.damage}")
                    (given.keep / f"{name}{KINDS[kind].suffix}").write_bytes(case.data)
    product.stop()
    oracle.stop()
    print_table(table)
    print(f"peak {peak / 2**20:.0f} MiB, slowest input {slowest:.1f} s")
    return int(any(table[kind][fault] for kind in kinds for fault in FAULTS))


def print_table(table: dict[str, Counter[str]]) -> None:
    """A row a kind, a column a verdict."""
    shown = [verdict for verdict in VERDICTS if verdict in FAULTS or any(row[verdict] for row in table.values())]
    total: Counter[str] = Counter()
    for row in table.values():
        total.update(row)
    print("| kind | inputs | " + " | ".join(shown) + " |")
    print("|---|---|" + "---|" * len(shown))
    for kind, row in {**table, "all": total}.items():
        print(f"| {kind} | {sum(row.values())} | " + " | ".join(str(row[verdict]) for verdict in shown) + " |")


if __name__ == "__main__":
    sys.exit(main())
