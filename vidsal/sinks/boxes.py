"""A finished .mp4 or .mov in; how long its last picture lasts set right in its header."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

__all__ = ["box", "last_box", "set_last_duration"]


def box(kind: bytes, content: bytes) -> bytes:
    """A box of a file."""
    return struct.pack(">I4s", len(content) + 8, kind) + content


def last_box(file: BinaryIO, kind: bytes) -> tuple[int, int] | None:
    """Where the last box of a file begins, and its size, if it is of this kind and has a size of 4 bytes."""
    end = file.seek(0, 2)
    at = 0
    while at + 8 <= end:
        file.seek(at)
        size, found = struct.unpack(">I4s", file.read(8))
        if at + size == end:
            return (at, size) if found == kind else None
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
        if size < 8:
            break
        at += size
    return None


def set_last_duration(path: Path, ticks: int) -> bool:
    """Sets how long the last packet of the first track lasts; when the track ends to be shown stays as it is.

    FFmpeg takes one number for both. Where packets are coded in another order than they are shown, the two differ.

    Args:
        path: the file; its header (`moov`) is the last thing in it, as FFmpeg writes it.
        ticks: the duration, in the clock of the track.

    Returns:
        False where the file is built in another way, and stays as it is.
    """
    with path.open("r+b") as file:
        header = last_box(file, b"moov")
        if header is None:
            return False
        at, size = header
        file.seek(at)
        data = file.read(size)
        steps = _inside(data, b"trak", b"mdia", b"minf", b"stbl", b"stts")
        entries = 0 if steps is None else struct.unpack_from(">I", data, steps + 12)[0]
        if steps is None or not entries:
            return False
        last = steps + 8 + 8 * entries
        count, before = struct.unpack_from(">II", data, last)
        if count != 1:  # it lasts as long as the one before it
            return bool(before == ticks)
        file.seek(at + last + 4)
        file.write(struct.pack(">I", ticks))
    return True


def _inside(data: bytes, *kinds: bytes) -> int | None:
    """Where the first box of a kind begins within a box, and within that the first of the next kind, and so on."""
    at = 0
    for kind in kinds:
        end = at + struct.unpack_from(">I", data, at)[0]
        at += 8
        while at + 8 <= end:
            size, found = struct.unpack_from(">I4s", data, at)
            if found == kind:
                break
            if size < 8:
                return None
            at += size
        else:
            return None
    return at
