"""The shots of a table in, chapters out: a file of FFmpeg's metadata, and the same chapters for a video."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from vidsal.exports.shots import ShotNumbers
from vidsal.exports.timeline import ShotsOf, exact, title_of

__all__ = ["ChaptersExport", "chapters_of"]

_UNITS = 1_000_000


class ChaptersExport(ShotsOf):
    """FFMETADATA1 with a chapter a shot, at the times of the table, in microseconds; that of a picture lasts 40 ms."""

    def _made(self, shots: list[ShotNumbers]) -> bytes:
        lines = [";FFMETADATA1"]
        for shot in shots:
            start, end = _ticks(shot)
            title = re.sub(r"([=;#\\\n])", r"\\\1", title_of(shot))
            lines += ["[CHAPTER]", f"TIMEBASE=1/{_UNITS}", f"START={start}", f"END={end}", f"title={title}"]
        return ("\n".join(lines) + "\n").encode()


def chapters_of(shots: Sequence[ShotNumbers], *, shift: Fraction = Fraction(0)) -> list[dict[str, Any]]:
    """The same chapters as PyAV takes them.

    Args:
        shots: in order.
        shift: seconds that are taken off every time.
    """
    off = round(shift * _UNITS)
    made = []
    for i, shot in enumerate(shots):
        start, end = (max(0, tick - off) for tick in _ticks(shot))
        times = {"start": start, "end": max(end, start), "time_base": Fraction(1, _UNITS)}
        made.append({"id": i + 1, **times, "metadata": {"title": title_of(shot)}})
    return made


def _ticks(shot: ShotNumbers) -> tuple[int, int]:
    start, end = (round(exact(time) * _UNITS) for time in (shot.start_seconds, shot.end_seconds))
    # A single picture is taken for a frame of 25 a second, as timelines take it.
    return start, end if end > start else start + _UNITS // 25
