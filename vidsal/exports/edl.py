"""The shots of a table in, an edit decision list out: CMX 3600, one event a shot.

Written here, not by a library: OpenTimelineIO's adapter takes every 29.97 for drop frame, and leaves out the line that
says which of the two a list counts in.

Source and record times are the same, so that the list cuts the source in place.
"""

from __future__ import annotations

import re

from vidsal.exports.timeline import Timeline, TimelineExport, numbers_of, readable

__all__ = ["MOST_EVENTS", "EdlExport", "reel_of"]

MOST_EVENTS = 999
"""Events that a list can number."""

_REEL_CHARACTERS = 8


class EdlExport(TimelineExport):
    """CMX 3600, in frames of the source's time code; a locator at each key frame.

    A list has 999 events at most: of more shots, the first 999 are written, and the rest is said to be left out.
    """

    def _written(self, timeline: Timeline) -> bytes:
        codes, name = timeline.timecodes, readable(self.footage.name)
        reel = reel_of(self.footage.stem)
        lines = [f"TITLE: {readable(self.footage.stem)}"]
        lines += [f"FCM: {'DROP FRAME' if codes.is_drop else 'NON-DROP FRAME'}", ""]
        for number, placed in enumerate(timeline.shots[:MOST_EVENTS], start=1):
            times = f"{codes[placed.first]} {codes[placed.end]}"
            numbers = numbers_of(placed.shot)
            lines += [
                f"{number:03d}  {reel:<8} V     C        {times} {times}",
                f"* FROM CLIP NAME: {name}",
                f"* LOC: {codes[placed.key]} RED     SHOT {placed.shot.shot} KEY FRAME, ATTENTION "
                f"{placed.shot.attention_strength:.2f} BIT",
                f"* VIDSAL SHOT {placed.shot.shot}: FRAMES {placed.shot.first_index} TO {placed.shot.last_index}, "
                f"{numbers['start_seconds']} TO {numbers['end_seconds']} S",
                "",
            ]
        self._look_for_midnight(timeline)
        left = timeline.shots[MOST_EVENTS:]
        if left:
            what, are = ("shot", "is") if len(left) == 1 else (f"{len(left)} shots", "are")
            self.messages.append(
                f"an edit list holds {MOST_EVENTS} events: the last {what}, from {codes[left[0].first]} on, {are} left "
                "out; otio and fcpxml hold all"
            )
        return "\n".join(lines).encode()

    def _look_for_midnight(self, timeline: Timeline) -> None:
        codes = timeline.timecodes
        days = [(codes.first + frame) // codes.day for frame in (timeline.shots[0].first, timeline.shots[-1].end - 1)]
        if days[0] == days[1]:
            return
        number = next(
            place for place, one in enumerate(timeline.shots, 1) if (codes.first + one.end - 1) // codes.day > days[0]
        )
        self.messages.append(
            f"the time code passes midnight in event {number:03d} and counts from {codes.zero} again: many programs "
            "refuse a list whose times go back, or put what comes later first; otio and fcpxml count on"
        )


def reel_of(name: str) -> str:
    """A name of a reel: the first eight letters and digits, in upper case.

    Example:
        >>> reel_of("A001_C002_0101XX"), reel_of("...")
        ('A001C002', 'AX')
    """
    return re.sub("[^A-Z0-9]", "", name.upper())[:_REEL_CHARACTERS] or "AX"
