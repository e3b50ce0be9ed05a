"""`SaliencyBatch`es in, the time code of every frame out: a further column of the table, where the source has one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vidsal.decode import VideoInfo
from vidsal.frames import SaliencyBatch
from vidsal.timecode import Timecodes
from vidsal.tracks import column_field, column_meanings

__all__ = ["TIMECODE_COLUMNS", "FrameTimecode", "TimecodeColumn", "timecode_columns"]


@dataclass(frozen=True)
class FrameTimecode:
    """The column of time codes."""

    timecode: str = column_field(
        "", "Time code of the frame, HH:MM:SS:FF, or HH:MM:SS;FF in drop frame; only where the source has one."
    )
    """HH:MM:SS:FF."""


TIMECODE_COLUMNS = column_meanings(FrameTimecode)
"""Unit and meaning of it."""


class TimecodeColumn:
    """Gives every frame its time code; its number is the time times the rate, rounded.

    Args:
        timecodes: those of the source.
        rate: frames a second that they count by.
    """

    row = FrameTimecode

    def __init__(self, timecodes: Timecodes, rate: Fraction) -> None:
        self._timecodes, self._rate = timecodes, rate

    def update(self, batch: SaliencyBatch) -> list[FrameTimecode]:
        """The time codes of the next frames."""
        return [FrameTimecode(self._timecodes[round(float(time) * self._rate)]) for time in batch.pts_seconds]


def timecode_columns(info: VideoInfo) -> list[TimecodeColumn]:
    """The column for a source; none where it has no time code, or one that cannot be read."""
    if info.timecode is None or info.nominal_rate is None:
        return []
    try:
        return [TimecodeColumn(Timecodes.of(info.timecode, info.nominal_rate), info.nominal_rate)]
    except ValueError:
        return []
