"""Compares an output video with its input, packet by packet: every frame once with its own time, other streams intact.

    python tools/check_output.py INPUT OUTPUT

Exits with 1 and says where they differ. Presentation times are compared in seconds, exactly (as fractions), after
the container's own start offset; packets of copied streams are compared byte by byte.
"""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction

import av


def video_times(path: str) -> list[Fraction]:
    """Presentation times of the frames that a decoder shows, sorted."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.pts is not None and not p.is_discard]
        return sorted(p.pts * stream.time_base for p in packets)


def other_packets(path: str) -> list[tuple[str, list[tuple[Fraction, bytes]]]]:
    """(codec, [(time, bytes)]) of every audio and subtitle stream."""
    with av.open(path) as container:
        streams = [s for s in container.streams if s.type in ("audio", "subtitle")]
        found: dict[int, list[tuple[Fraction, bytes]]] = {s.index: [] for s in streams}
        # demux([]) would read every stream.
        for packet in container.demux(streams) if streams else ():
            if packet.dts is not None:
                found[packet.stream.index].append((packet.dts * packet.stream.time_base, bytes(packet)))
        return [(s.codec_context.name, found[s.index]) for s in streams]


def main() -> int:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("output")
    arguments = parser.parse_args()
    ours, theirs = video_times(arguments.output), video_times(arguments.input)
    problems = []
    if len(ours) != len(theirs):
        problems.append(f"{len(ours)} video frames, the input has {len(theirs)}")
    late = [n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
    if late:
        n = late[0]
        problems.append(
            f"{len(late)} presentation times differ; first at frame {n}: {ours[n]} s, expected {theirs[n]} s"
        )
    copied, originals = other_packets(arguments.output), other_packets(arguments.input)
    if [name for name, _ in copied] != [name for name, _ in originals]:
        problems.append(f"streams {[n for n, _ in copied]}, the input has {[n for n, _ in originals]}")
    compared = 0
    for number, ((name, a), (_, b)) in enumerate(zip(copied, originals, strict=False)):
        if [data for _, data in a] != [data for _, data in b]:
            problems.append(f"stream {number} ({name}): bytes differ ({len(a)} packets, expected {len(b)})")
        elif [time for time, _ in a] != [time for time, _ in b]:
            problems.append(f"stream {number} ({name}): packet times differ")
        compared += len(a)
    for problem in problems:
        print(f"DIFFERS  {problem}")
    if not problems:
        print(f"same     {len(ours)} frames with their own times, {compared} packets of {len(copied)} other streams")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
