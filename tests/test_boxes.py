"""How long the last packet of a finished file lasts, set in its header."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from vidsal.sinks.boxes import box, set_last_duration


def steps(*entries: int) -> bytes:
    return box(b"stts", struct.pack(f">{2 + len(entries)}I", 0, len(entries) // 2, *entries))


def header(*content: bytes) -> bytes:
    """A header with a track whose table of steps is the content."""
    table = box(b"stbl", box(b"stsd", bytes(8)) + b"".join(content))
    return box(b"moov", box(b"mvhd", bytes(8)) + box(b"trak", box(b"mdia", box(b"minf", table))))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (header(steps(49, 512, 1, 1024)), header(steps(49, 512, 1, 512))),
        (header(steps(1, 1024)), header(steps(1, 512))),
        (header(steps(50, 512)), header(steps(50, 512))),
        # More than one packet of this step: it is not the last one's alone.
        (header(steps(1, 512, 2, 1024)), None),
        (header(steps()), None),
        (header(), None),
        (box(b"moov", box(b"trak", struct.pack(">I4s", 4, b"bad?"))), None),
        (header(steps(1, 1024)) + box(b"free", b""), None),
    ],
)
def test_the_last_step_of_the_first_track_is_set_where_it_is_found(
    tmp_path: Path, before: bytes, after: bytes | None
) -> None:
    path, data = tmp_path / "a.mp4", box(b"mdat", b"pictures")
    path.write_bytes(data + before)
    assert set_last_duration(path, 512) is (after is not None)
    assert path.read_bytes() == data + (after or before)
