"""Packets that went in and frames that came out, compared: which frames are missing."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import Protocol

__all__ = ["MOST_WAITING", "Gaps", "Ledger", "Steps"]

MOST_WAITING = 64
"""Packets that a decoder may have taken before it gives the frame of the first one: reordering, and its threads."""

_SAME_FRAME = 0.75
"""A packet nearer than this share of a step to a frame that came belongs to it: a second field, a hidden reference."""


class Sent(Protocol):
    """What a packet says of itself; a `Packet` is one."""

    @property
    def pts(self) -> int | None:
        """Presentation time in ticks; None where it has none."""

    @property
    def is_keyframe(self) -> bool:
        """True where its frame needs no other."""

    @property
    def is_discard(self) -> bool:
        """True where its frame is not to be shown."""


class Ledger:
    """Finds the packets of which no frame came; frames are known by their times.

    Packets before the first frame wait for a key frame that is missing where a recording starts in the middle; they
    are no loss, unless the key frame was there and could not be decoded.

    Args:
        step: ticks from frame to frame at the source's rate.
    """

    lost: int
    """Packets so far that should have given a frame and did not."""
    early: int
    """Packets so far that need a key frame from before the beginning."""
    hidden: int
    """Packets so far between those to be shown that are not to be shown themselves."""

    def __init__(self, step: int) -> None:
        self._step = step
        self.lost = self.early = self.hidden = self._hidden = self._count = 0
        self._waiting: dict[int, tuple[bool, int | None, int]] = {}
        self._recent: deque[int] = deque(maxlen=4 * MOST_WAITING)
        self._first: int | None = None
        self._key_failed = False

    def sent(self, packet: Sent) -> None:
        """Notes a packet that went into the decoder."""
        if packet.is_discard:
            self._hidden += self._first is not None
            return
        self.hidden += self._hidden
        self._hidden = 0
        if packet.pts is None:
            return
        self._count += 1
        self._waiting[packet.pts] = packet.is_keyframe, self._first, self._count
        while next(iter(self._waiting.values()))[2] + MOST_WAITING <= self._count:
            self._settle()

    def failed(self, pts: int | None) -> None:
        """Takes back a packet that the decoder refused, which is counted elsewhere."""
        if pts is not None:
            self._waiting.pop(pts, None)
        # It may have been the key frame, though a parser could not see that.
        self._key_failed |= self._first is None

    def came(self, pts: int | None) -> None:
        """Notes a frame."""
        if pts is None:
            return
        if self._first is None:
            self._first = pts
        self._waiting.pop(pts, None)
        self._recent.append(pts)

    def close(self) -> None:
        """Nothing more will come: what waits is lost."""
        while self._waiting:
            self._settle()

    def _settle(self) -> None:
        pts = next(iter(self._waiting))
        key, first, _ = self._waiting.pop(pts)
        if self._belongs_to_another(pts):
            return
        before = self._first is None or (first is None and pts < self._first)
        if before and not self._key_failed and not key:
            self.early += 1
            return
        self._key_failed |= before and key
        self.lost += 1

    def _belongs_to_another(self, pts: int) -> bool:
        if not self._recent:
            return False
        times = sorted(self._recent)
        # The rate may be that of fields.
        step = max(self._step, median(after - before for before, after in pairwise(times)) if len(times) > 1 else 0)
        return min(abs(pts - other) for other in times) < _SAME_FRAME * step


@dataclass(frozen=True)
class Gaps:
    """Holes between the times of frames that otherwise come at one rate."""

    count: int
    """Holes."""
    frames: int
    """Frames that would fill them."""
    longest: int
    """Ticks of the longest."""
    at: int
    """Where that one starts, in ticks."""


class Steps:
    """The steps from frame to frame, in ticks: is the rate constant, and where is it not kept?"""

    _FEWEST = 8
    """Steps from which a rate can be seen."""
    _GAP = 1.75
    """Steps that a gap is long at least."""
    _STEADY = 0.95
    """Share of the steps that must be alike: off by a tick, for times are rounded."""
    _FINE_SECONDS = Fraction(1, 5000)
    """Ticks below this are too fine for a camera's times to be alike by rounding alone."""
    _SAME_RATE = 0.0005
    """Share by which the rate of the header may be off; where frames are missing by nature, it is lower."""

    def __init__(self) -> None:
        self._steps: Counter[int] = Counter()
        self._first_at: dict[int, int] = {}
        self._last: int | None = None

    def came(self, ticks: int) -> None:
        """Notes the time of the next frame."""
        if self._last is not None:
            step = ticks - self._last
            self._steps[step] += 1
            self._first_at.setdefault(step, self._last)
        self._last = ticks

    def gaps(self, *, base: Fraction, rate: Fraction | None, most: float) -> Gaps | None:
        """The holes; None where there is none, or where times vary by nature, as in screen captures and phones.

        Args:
            base: seconds a tick.
            rate: frames a second as the header says; None where it does not say.
            most: share of the steps that may be holes and still be no way of the source.
        """
        total = self._steps.total()
        if total < self._FEWEST:
            return None
        usual = self._usual(total)
        alike = {step: count for step, count in self._steps.items() if abs(step - usual) <= 1}
        holes = {step: count for step, count in self._steps.items() if step >= self._GAP * usual}
        steady, count = sum(alike.values()), sum(holes.values())
        if not holes or count > most * total or steady < self._STEADY * (total - count):
            return None
        mean = sum(step * number for step, number in alike.items()) / steady
        if base >= self._FINE_SECONDS:
            off = abs(float(1 / (rate * base)) / mean - 1) if rate else 1.0
            if off > self._SAME_RATE + 1 / (steady * mean):
                return None
        frames = {step: round(step / mean) for step in holes}
        whole = sum(number for step, number in holes.items() if abs(step - frames[step] * mean) <= 0.2 * mean)
        if whole < self._STEADY * count:
            return None
        longest = max(holes)
        missing = sum((frames[step] - 1) * number for step, number in holes.items())
        return Gaps(count, missing, longest, self._first_at[longest])

    def _usual(self, total: int) -> int:
        passed = 0
        for step in sorted(self._steps):
            passed += self._steps[step]
            if 2 * passed >= total:
                return step
        return 0
