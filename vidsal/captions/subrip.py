"""The text of a SubRip file (.srt) in, its cues out.

Read here and not by a library: pysubs2 drops a last line that is a number, FFmpeg empty cues and repeated ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from vidsal.captions.documents import Document, Standing, check_cues, is_broken_times, write_vtt
from vidsal.captions.layout import Layout
from vidsal.captions.text import as_vtt, ass_override, runs_of_srt
from vidsal.captions.values import Cue
from vidsal.errors import DecodeError
from vidsal.words import counted

__all__ = ["SubRip", "srt_cue"]

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[,.:](\d{1,3})"
_EXPECTED = "00:00:01,000 --> 00:00:02,500"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?![\d.,:])(.*)")
_BROKEN = re.compile(r"\s*\d[\w:.,]*:[\w:.,]*\s*-->|.*-->\s*\d+:\d+:\d+[,.]")


class SubRip(Document):
    """Subtitles of a SubRip file.

    Args:
        text: of the file.
        name: of the file, for messages.
        layout: of the picture.

    Raises:
        DecodeError: it is none, or a line of times is broken.
    """

    kind: ClassVar[str] = "srt"

    def __init__(self, text: str, name: str, layout: Layout) -> None:
        super().__init__()
        lines = text.split("\n")
        found = [(place, times) for place, line in enumerate(lines) if (times := _TIMES.fullmatch(line))]
        timed = {place for place, _ in found}
        for place, line in enumerate(lines):
            if place not in timed and (_BROKEN.match(line) or is_broken_times(line)):
                raise DecodeError(
                    f"{name}, line {place + 1}: {line.strip()[:60]!r} is no line of times; expected {_EXPECTED}"
                )
        ends = [*(self._end(lines, place) for place, _ in found[1:]), *([len(lines)] if found else [])]
        before = [line for line in lines[: found[0][0] if found else 0] if line.strip()]
        if found and (len(before) > 1 or (before and not before[0].strip().isdecimal())):
            whose = "belongs to none, and is" if len(before) == 1 else "belong to none, and are"
            self.messages.append(f"{counted(len(before), 'line')} of {name} before its first cue {whose} left out")
        coordinates = 0
        for (place, times), end in zip(found, ends, strict=True):
            payload = "\n".join(lines[place + 1 : end]).rstrip("\n ")
            self.cues.append(
                srt_cue(_milliseconds(times.groups()[:4]), _milliseconds(times.groups()[4:8]), payload, layout)
            )
            coordinates += "X1:" in times[9]
        if coordinates:
            has, they_are = ("has", "it is") if coordinates == 1 else ("have", "they are")
            self.messages.append(
                f"{counted(coordinates, 'cue')} of {name} {has} coordinates of an unknown picture: {they_are} placed"
            )
        check_cues(self, name, _EXPECTED, text)

    @staticmethod
    def _end(lines: Sequence[str], place: int) -> int:
        """Where the cue before a line of times ends: at the number above that line, if it is one, or at the line."""
        above = place - 1
        is_number = lines[above].strip().isdecimal() and lines[above].strip().isascii()
        # Without an empty line in between, a number is the last word of the text before only if no other is there.
        return above if is_number else place

    def as_vtt(self, standings: Sequence[Standing], *, note: str) -> str:
        """The text of a WebVTT file, with a standing for each cue."""
        return write_vtt(self.cues, standings, [as_vtt(cue.runs, cue.voice) for cue in self.cues], note=note)


def srt_cue(start_ms: int, end_ms: int, payload: str, layout: Layout) -> Cue:
    """A cue with the text as SubRip has it.

    Args:
        start_ms: when it appears.
        end_ms: when it vanishes.
        payload: text with tags.
        layout: of the picture.
    """
    numbers = [int(found[1]) for found in ass_override(payload, r"\\an([1-9])")]
    own = layout.own_anchor(numbers[0]) if numbers and numbers[0] != 2 else None
    return Cue(start_ms, end_ms, runs_of_srt(payload), own=own)


def _milliseconds(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, rest = (part or "0" for part in parts)
    return (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1000 + int(rest.ljust(3, "0"))
