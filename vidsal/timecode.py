"""A time code, a frame rate and a moment in, the time code of that moment out, in SMPTE 12M's counting."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["STANDARD_RATES", "TIMECODE_RATES", "Timecodes", "later_timecode", "nominal_rate", "timecode_rate"]

_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d{1,3})")


@dataclass(frozen=True)
class Timecodes:
    """The time codes of all frames of a source, by their numbers.

    SMPTE 12M-1: a second has as many frames as the rate rounded to a whole number. With numbers dropped, two of them
    (four at 59.94) are left out at the beginning of each minute but every tenth, so that 29.97 frames a second keep the
    hour. The count begins again after 24 hours.

    Example:
        >>> codes = Timecodes.of("00:00:59;28", Fraction(30000, 1001))
        >>> [codes[frame] for frame in range(4)], codes.first
        (['00:00:59;28', '00:00:59;29', '00:01:00;02', '00:01:00;03'], 1798)
    """

    base: int
    """Frames that a second counts."""
    dropped: int
    """Numbers that are left out each minute but every tenth; 0 without drop frame."""
    mark: str
    """What stands before the frames: ":", or ";" or "." where numbers are dropped."""
    first: int
    """Frames from 00:00:00:00 to the source's first frame."""

    @classmethod
    def of(cls, timecode: str | None, rate: Fraction) -> Timecodes:
        """Those of a source.

        Args:
            timecode: HH:MM:SS:FF of its first frame; ";" or "." before the frames: with numbers dropped. None counts
                from 00:00:00:00, and drops nothing.
            rate: frames a second.

        Raises:
            ValueError: the time code cannot be read, or does not exist at this rate.
        """
        base = round(rate)
        match = _TIMECODE.fullmatch((timecode or "00:00:00:00").strip())
        if match is None or base < 1:
            raise ValueError(f"the time code {timecode} cannot be read at {float(rate):g} frames a second")
        hours, minutes, seconds, frames = (int(match[i]) for i in (1, 2, 3, 5))
        mark = match[4]
        dropped = base // 15 if mark != ":" and base % 30 == 0 else 0
        minute = hours * 60 + minutes
        first = (minute * 60 + seconds) * base + frames - dropped * (minute - minute // 10)
        return cls(base, dropped, mark, first)

    @property
    def is_drop(self) -> bool:
        """Whether numbers are dropped."""
        return self.dropped > 0

    @property
    def day(self) -> int:
        """Frames that 24 hours count.

        Example:
            >>> Timecodes.of(None, Fraction(25)).day, Timecodes.of("00:00:00;00", Fraction(30000, 1001)).day
            (2160000, 2589408)
        """
        return 144 * (600 * self.base - 9 * self.dropped)

    @property
    def zero(self) -> str:
        """The first time code of a day."""
        return f"00:00:00{self.mark}00"

    def __getitem__(self, frame: int) -> str:
        """The time code of a frame; the source's first frame is 0."""
        count = self.first + frame
        tens, rest = divmod(count, 600 * self.base - 9 * self.dropped)
        count += self.dropped * (9 * tens + max(0, (rest - self.dropped) // (60 * self.base - self.dropped)))
        whole, frames = divmod(count, self.base)
        return f"{whole // 3600 % 24:02}:{whole // 60 % 60:02}:{whole % 60:02}{self.mark}{frames:02}"


def later_timecode(timecode: str, seconds: Fraction, rate: Fraction) -> str | None:
    """The time code of a moment.

    Args:
        timecode: of the first frame, as for `Timecodes.of`.
        seconds: how much later the moment is.
        rate: frames a second.

    Returns:
        The time code, within 24 hours; None where it cannot be read.
    """
    try:
        return Timecodes.of(timecode, rate)[round(seconds * rate)]
    except ValueError:
        return None


TIMECODE_RATES = tuple(
    sorted(
        {Fraction(whole * 1000, 1001) for whole in (24, 30, 48, 60, 120)}
        | {Fraction(whole) for whole in (24, 25, 30, 48, 50, 60, 100, 120)}
    )
)
"""Frames a second that time codes count, from the lowest on: 23.976, 24, 25, 29.97, 30, ..."""

STANDARD_RATES = (*(Fraction(rate) for rate in (5, 10, 12, 12.5, 15, 20)), *TIMECODE_RATES)
"""Frames a second that cameras, broadcasters and the web use, from the lowest on."""


def timecode_rate(rate: Fraction) -> Fraction:
    """The rate at which time codes count the frames of a source.

    Returns:
        The lowest rate of time codes that is a multiple of the source's: then each frame is a whole number of counts;
        else the rate of time codes next to it.

    Example:
        >>> timecode_rate(Fraction(25)), timecode_rate(Fraction(25, 2)), timecode_rate(Fraction(13))
        (Fraction(25, 1), Fraction(25, 1), Fraction(24000, 1001))
    """
    multiples = [standard for standard in TIMECODE_RATES if (standard / rate).denominator == 1]
    return multiples[0] if multiples else min(TIMECODE_RATES, key=lambda standard: abs(math.log(standard / rate)))


_NEAR = Fraction(4, 10_000)
"""Less than half of what lies between 29.97 and 30."""


def nominal_rate(average: Fraction | None, base: Fraction | None = None) -> Fraction | None:
    """The rate that a source is meant to have, by what its file says of it.

    Args:
        average: frames over duration, which a last frame of another length changes a little; None where not known.
        base: the rate on whose grid the first frames lie, FFmpeg's r_frame_rate; None where not known.

    Returns:
        The base where it is within 2 % of the average, else the average; a standard rate within 0.04 % of it.

    Example:
        >>> nominal_rate(Fraction(2996, 100), Fraction(30000, 1001)), nominal_rate(Fraction(21, 1), Fraction(90000, 1))
        (Fraction(30000, 1001), Fraction(21, 1))
    """
    rate = base if average and base and abs(base / average - 1) <= Fraction(2, 100) else average or base
    if not rate:
        return None
    near = min(STANDARD_RATES, key=lambda standard: abs(standard / rate - 1))
    return near if abs(near / rate - 1) <= _NEAR else rate
