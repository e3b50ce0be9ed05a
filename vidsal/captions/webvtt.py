"""The text of a WebVTT file in, its cues out; written again, only the settings of its cues differ.

Read here and not by a library: what is not a cue, and the times as they stand, must come out as they were.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from vidsal.captions.documents import Document, Standing, check_cues, is_broken_times
from vidsal.captions.layout import Layout, anchor_of_settings, settings_of
from vidsal.captions.record import RECORD_LINE
from vidsal.captions.text import runs_of_vtt
from vidsal.captions.values import Cue
from vidsal.errors import DecodeError

__all__ = ["WebVTT", "vtt_cue"]

_TIME = r"(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
_TIMES = re.compile(rf"\s*({_TIME})[ \t]*-->[ \t]*({_TIME})(?:[ \t]+(.*))?")
_EXPECTED = "00:01.000 --> 00:02.500"
_NO_CUE = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)(?=\s|$)")
_PLACED = ("line", "position", "size", "align", "region", "vertical")


@dataclass(frozen=True)
class _Source:
    head: str
    """Identifier with its newline, or empty."""
    times: str
    settings: tuple[str, ...]
    payload: str


class WebVTT(Document):
    """Subtitles of a WebVTT file.

    Args:
        text: of the file.
        name: of the file, for messages.
        layout: of the picture.

    Raises:
        DecodeError: it is none, or a line of times is broken.
    """

    kind: ClassVar[str] = "vtt"

    def __init__(self, text: str, name: str, layout: Layout) -> None:
        super().__init__()
        # What an earlier run says of its result holds no longer.
        text, numbers = _without_record(text)
        if not re.match(r"WEBVTT(?=[ \t\n]|$)", text):
            raise DecodeError(f"{name} does not begin with WEBVTT; expected a WebVTT file")
        if re.search(r"^X-TIMESTAMP-MAP=", text.split("\n\n")[0], re.MULTILINE):
            raise DecodeError(
                f"{name} is a segment of a stream: its X-TIMESTAMP-MAP moves its times; give a file of the whole video"
            )
        self._blocks: list[str | int] = []
        """Text as it is, or the ordinal of a cue."""
        lines, at = text.split("\n"), 0
        plain, is_remark = list[str](), True
        while at < len(lines):
            timing = self._timing(lines, at)
            if timing is None:
                if not at or not lines[at - 1]:
                    is_remark = _NO_CUE.match(lines[at]) is not None
                if not is_remark:
                    _check_line(lines[at], numbers[at], name)
                plain.append(lines[at])
                at += 1
                continue
            times = _TIMES.fullmatch(lines[timing])
            if times is None:
                raise _broken(lines[timing], numbers[timing], name)
            end = timing + 1
            while end < len(lines) and lines[end] and "-->" not in lines[end]:
                _check_line(lines[end], numbers[end], name)
                end += 1
            head = "".join(f"{line}\n" for line in lines[at:timing])
            payload = "\n".join(lines[timing + 1 : end])
            shown = f"{times[1]} --> {times[6]}"
            settings = times[11] or ""
            start, after = _milliseconds(times.groups()[1:5]), _milliseconds(times.groups()[6:10])
            source = _Source(head, shown, tuple(settings.split()), payload)
            self._blocks += ["".join(f"{line}\n" for line in plain), len(self.cues)]
            self.cues.append(replace(vtt_cue(start, after, payload, settings, layout), source=source))
            plain, at = [], end
        self._blocks.append("\n".join(plain))
        check_cues(self, name, _EXPECTED, text)

    def _timing(self, lines: Sequence[str], at: int) -> int | None:
        """The line of times of a cue that begins at a line; None where none does."""
        if "-->" in lines[at]:
            return at
        begins = at > 0 and not lines[at - 1]
        if begins and lines[at] and at + 1 < len(lines) and "-->" in lines[at + 1]:
            # A comment may hold no times: what looks like one is the identifier of a cue.
            return at + 1
        return None

    def as_vtt(self, standings: Sequence[Standing], *, note: str) -> str:
        """The text of a WebVTT file, with a standing for each cue."""
        made, noted = list[str](), False
        for block in self._blocks:
            if isinstance(block, str):
                made.append(block)
                continue
            source, standing = self.cues[block].source, standings[block]
            settings = " ".join(source.settings)
            if standing.moved:
                left = [one for one in source.settings if one.partition(":")[0] not in _PLACED]
                settings = " ".join([*left, settings_of(standing.anchor, standing.box)])
            if not noted:
                made.append("" if made[-1].endswith("\n\n") else "\n")
                made.append(f"NOTE {note}\n\n")
                noted = True
            made.append(f"{source.head}{source.times}{' ' if settings else ''}{settings}\n")
            made.append(f"{source.payload}\n" if source.payload else "")
        return "".join(made).rstrip("\n") + "\n"


def _without_record(text: str) -> tuple[str, list[int]]:
    """A file without what says how it came about; and for each line left its number in the file."""
    left, numbers, after = list[str](), list[int](), False
    for number, line in enumerate(text.split("\n"), 1):
        is_record = RECORD_LINE.fullmatch(line) is not None
        if not is_record and not (after and not line):
            left.append(line)
            numbers.append(number)
        after = is_record
    return "\n".join(left), numbers


def _check_line(line: str, number: int, name: str) -> None:
    if is_broken_times(line):
        raise _broken(line, number, name)


def _broken(line: str, number: int, name: str) -> DecodeError:
    return DecodeError(f"{name}, line {number}: {line.strip()[:60]!r} is no line of times; expected {_EXPECTED}")


def vtt_cue(start_ms: int, end_ms: int, payload: str, settings: str, layout: Layout) -> Cue:
    """A cue with text and settings as WebVTT has them.

    Args:
        start_ms: when it appears.
        end_ms: when it vanishes.
        payload: text with tags.
        settings: as they follow the times.
        layout: of the picture.
    """
    runs, voice = runs_of_vtt(payload)
    pairs = [(name, value) for name, colon, value in (one.partition(":") for one in settings.split()) if colon]
    return Cue(start_ms, end_ms, runs, own=anchor_of_settings(pairs, layout), voice=voice)


def _milliseconds(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, rest = (int(part or "0") for part in parts)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest
