"""Frames with the times their container gave them in, the same frames with strictly rising times out.

A damaged transport stream carries times that are off by up to a day (its clock has 33 bits), and a spliced
one starts its clock anew. Neither may move the frames around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Protocol, TypeVar

from vidsal.decode.contract import MAX_CORRUPT_TOTAL, DecodeReport
from vidsal.errors import DecodeError

__all__ = [
    "CLOCK_STARTS_ANYWHERE",
    "FALLBACK_RATE",
    "LONGEST_GAP_SECONDS",
    "REORDER_FRAMES",
    "SUSPICIOUS_FRAMES",
    "Clock",
    "Timed",
]

CLOCK_STARTS_ANYWHERE = 0x0200
"""FFmpeg's flag of a format, AVFMT_TS_DISCONT: players count its times from the first packet."""

FALLBACK_RATE = Fraction(25)
"""Frames a second assumed where neither times nor a rate are known."""

REORDER_FRAMES = 16
"""Farthest, in frames, that a decoder may put frames out of order; a time farther back is damaged or of a new clock."""

SUSPICIOUS_FRAMES = 5
"""A gap of more frames that the frame before did not announce is real only if the next frame goes on from there."""

LONGEST_GAP_SECONDS = 3600.0
"""A longer gap (unless announced, or usual at the stream's rate, as in time-lapse) is no pause but a new clock."""


class Timed(Protocol):
    """What a frame says of its time, in ticks; a `VideoFrame` is one."""

    @property
    def pts(self) -> int | None:
        """Presentation time; None where it has none."""

    @property
    def duration(self) -> int | None:
        """Ticks to the next frame as the container says; None or 0 where it does not say."""


Frame = TypeVar("Frame", bound=Timed)


class Clock:
    """Gives every frame a time later than the one before, its own wherever that is sound.

    A gap that was not announced, or a jump back, is judged by the frame after it:

    - the next frame goes on from there: the gap is real, and kept; or, if longer than `LONGEST_GAP_SECONDS`
      or backwards, a new clock has begun, and all times from there on are moved to go on without a gap;
    - it does not: this one time is damaged and follows from the frame before (`DecodeReport.mended_times`).

    So a frame may be held back until the next one, or the end, is there; nothing else is.

    Args:
        source: name of the source for messages.
        base: seconds a tick.
        rate: average frames a second; None where unknown.
        report: notes what was replaced or moved.
    """

    step: int
    """Ticks that the last frame lasts."""
    last: int | None
    """Time of the last frame, in ticks; None before the first."""

    def __init__(self, source: str, base: Fraction, rate: Fraction | None, report: DecodeReport) -> None:
        self._source = source
        self._nominal_step = max(1, round(1 / ((rate or FALLBACK_RATE) * base)))
        self._longest_gap = max(round(Fraction(LONGEST_GAP_SECONDS) / base), REORDER_FRAMES * self._nominal_step)
        self._report = report
        self.restart()

    def restart(self) -> None:
        """Forgets the last time: after a seek."""
        self.step = self._nominal_step
        self.last = None
        self._shift = 0

    def begin(self, frame: Timed, *, fallback: int = 0) -> int:
        """The time of the first frame: its own, or `fallback`."""
        if frame.pts is None:
            self._say_untimed()
        return self._set(frame, fallback if frame.pts is None else frame.pts)

    def stamp(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, int]]:
        """Yields each frame that follows the first, with its time in ticks.

        Raises:
            DecodeError: what the frames raise, after the frame held back; or too many times are damaged.
        """
        held: Frame | None = None
        try:
            for frame in frames:
                if held is not None:
                    yield held, self._judge(held, frame)
                held = frame if self._is_doubtful(frame) else None
                if held is None:
                    yield frame, self._follow(frame)
        except DecodeError:
            if held is not None:
                yield held, self._judge(held, None)
            raise
        if held is not None:
            yield held, self._judge(held, None)

    def _is_doubtful(self, frame: Timed) -> bool:
        if self.last is None or frame.pts is None:
            return False
        gap = frame.pts + self._shift - self.last
        return gap > max(SUSPICIOUS_FRAMES * self._nominal_step, 2 * self.step) or self._is_far_back(gap)

    def _is_far_back(self, gap: int) -> bool:
        return -gap > REORDER_FRAMES * self._nominal_step

    def _follow(self, frame: Timed) -> int:
        """The time of a frame that comes about when it should."""
        if self.last is None:
            return self.begin(frame)
        if frame.pts is None:
            self._say_untimed()
            return self._set(frame, self.last + self._nominal_step)
        ticks = frame.pts + self._shift
        if ticks <= self.last:
            self._report.say("frames that are not later than the one before are moved just after it")
            ticks = self.last + 1
        return self._set(frame, ticks)

    def _judge(self, frame: Timed, following: Timed | None) -> int:
        """The time of a doubtful frame, given the one after it (None: it is the last)."""
        last, pts = self.last, frame.pts
        if last is None or pts is None:
            return self._follow(frame)
        ticks = pts + self._shift
        gap = ticks - last
        possible = 0 < gap <= self._longest_gap
        after = None if following is None else following.pts
        goes_on = possible
        if after is not None:
            nearer = abs(after - pts - self._nominal_step) < abs(after + self._shift - last - 2 * self._nominal_step)
            goes_on = nearer and 0 <= after - pts <= self._longest_gap
        if goes_on and possible:
            return self._set(frame, ticks)
        step = min(self.step, SUSPICIOUS_FRAMES * self._nominal_step)
        if goes_on:
            back = "back" if gap < 0 else f"ahead by more than {LONGEST_GAP_SECONDS:.0f} seconds"
            self._report.say(
                f"times jump {back} during the video; from there on they are shifted to go on without a gap"
            )
            self._shift += last + step - ticks
        else:
            self._count_mended()
            if after is not None and 1 < after + self._shift - last <= step:
                step = (after + self._shift - last) // 2  # stay before the next one
        return self._set(frame, last + step)

    def _set(self, frame: Timed, ticks: int) -> int:
        self.step = frame.duration or self._nominal_step
        self.last = ticks
        return ticks

    def _say_untimed(self) -> None:
        self._report.say("frames without a timestamp follow the frame before at the stream's rate")

    def _count_mended(self) -> None:
        self._report.mended_times += 1
        if self._report.mended_times > MAX_CORRUPT_TOTAL:
            raise DecodeError(
                f"{self._source} is too damaged: {self._report.mended_times} of its frames have an impossible time "
                f"(at most {MAX_CORRUPT_TOTAL} are replaced); repair or copy the source again"
            )
