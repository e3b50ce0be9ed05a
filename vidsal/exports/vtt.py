"""The shots of a table in, WebVTT out: one cue a shot, whose text is JSON, for a track of metadata."""

from __future__ import annotations

import json

from vidsal.exports.shots import ShotNumbers
from vidsal.exports.timeline import ShotsOf, exact, numbers_of

__all__ = ["VttExport"]


class VttExport(ShotsOf):
    """Cues with the times of the table in milliseconds; the JSON of each has the numbers of its shot, unrounded."""

    def _made(self, shots: list[ShotNumbers]) -> bytes:
        parts = ["WEBVTT\n"]
        for shot in shots:
            start, end = (max(0, round(exact(time) * 1000)) for time in (shot.start_seconds, shot.end_seconds))
            # A cue has to end after it begins.
            times = f"{_clock(start)} --> {_clock(max(end, start + 1))}"
            # No text of a cue may hold the arrow.
            text = json.dumps(numbers_of(shot)).replace(">", "\\u003e")
            parts.append(f"shot-{shot.shot}\n{times}\n{text}\n")
        return "\n".join(parts).encode()


def _clock(milliseconds: int) -> str:
    """A time as WebVTT writes it.

    Example:
        >>> _clock(3_723_004)
        '01:02:03.004'
    """
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"
