"""A file of subtitles in, its cues out; and the cues with their places in, WebVTT or ASS out: `Document`."""

from __future__ import annotations

import codecs
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vidsal.captions.layout import settings_of
from vidsal.captions.values import Anchor, Box, Cue
from vidsal.errors import DecodeError
from vidsal.words import counted

__all__ = ["Document", "Standing", "check_cues", "is_broken_times", "read_text", "vtt_time", "write_vtt"]


@dataclass(frozen=True)
class Standing:
    """Where a cue stands in the end."""

    anchor: Anchor
    """Where it is anchored."""
    box: Box
    """The box that it takes."""
    moved: bool
    """False where it stands as its file has it."""


class Document(ABC):
    """Subtitles of one kind of file, in the file's order."""

    kind: ClassVar[str]
    """Its ending without the dot."""

    def __init__(self) -> None:
        self.cues: list[Cue] = []
        self.messages: list[str] = []

    @abstractmethod
    def as_vtt(self, standings: Sequence[Standing], *, note: str) -> str:
        """The text of a WebVTT file, with a standing for each cue."""


def write_vtt(cues: Sequence[Cue], standings: Sequence[Standing], payloads: Sequence[str], *, note: str) -> str:
    """A WebVTT file of cues that come from another format.

    Args:
        cues: the cues.
        standings: where each stands.
        payloads: the text of each.
        note: a line for a person.
    """
    blocks = ["WEBVTT", f"NOTE {note}"]
    for cue, standing, payload in zip(cues, standings, payloads, strict=True):
        times = f"{vtt_time(cue.start_ms)} --> {vtt_time(cue.end_ms)}"
        blocks.append(f"{times} {settings_of(standing.anchor, standing.box)}\n{payload}".rstrip("\n"))
    return "\n\n".join(blocks) + "\n"


def vtt_time(milliseconds: int) -> str:
    """A time as WebVTT has it.

    Example:
        >>> vtt_time(3_723_004)
        '01:02:03.004'
    """
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"


LARGEST_FILE_BYTES = 64 * 2**20
"""A larger file is none of subtitles."""


def read_text(path: Path, encoding: str | None, messages: list[str]) -> str:
    """The text of a file, with newlines as they are here.

    Args:
        path: the file.
        encoding: how it is coded; None finds out.
        messages: gets a sentence where that was a guess.

    Raises:
        DecodeError: it cannot be read, or is no text.
    """
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "is not there"
            raise DecodeError(f"{path} {what}; name a file of subtitles (.srt, .vtt, .ass)")
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise DecodeError(f"{path} is too large to be subtitles ({path.stat().st_size} bytes)")
        data = path.read_bytes()
    except OSError as error:
        raise DecodeError(f"{path} cannot be read: {error.strerror}; check its name and permissions") from error
    text = _decoded(path, data, encoding, messages)
    if "\0" in text:
        raise DecodeError(f"{path} holds no text; expected subtitles (.srt, .vtt, .ass)")
    return re.sub(r"\r\n?", "\n", text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"))


def _decoded(path: Path, data: bytes, encoding: str | None, messages: list[str]) -> str:
    marked = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    known = encoding or next((name for mark, name in marked.items() if data.startswith(mark)), "utf-8-sig")
    try:
        return data.decode(known)
    except UnicodeError as error:
        if encoding is not None or known != "utf-8-sig":
            raise DecodeError(f"{path} is not coded in {known}: {error}; name its encoding") from error
    if b"\0" in data:
        raise DecodeError(f"{path} holds no text; expected subtitles (.srt, .vtt, .ass)")
    messages.append(
        f"{path.name} is not UTF-8 and was read as Windows-1252; name another encoding if letters are wrong"
    )
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def check_cues(document: Document, name: str, expected: str = "", text: str | None = None) -> None:
    """Note what is odd about the times of cues.

    Args:
        document: with all its cues.
        name: of the file or stream, for messages.
        expected: how a cue begins.
        text: of the file; None for what is none.

    Raises:
        DecodeError: there is no cue.
    """
    if not document.cues:
        if text is None:
            raise DecodeError(f"{name} holds no cue; choose another one, or give a file of subtitles")
        first = next(((place, line) for place, line in enumerate(text.split("\n"), 1) if line.strip()), None)
        if first is None:
            raise DecodeError(f"{name} is empty; expected subtitles, such as {expected}")
        lines = counted(len(text.rstrip().split("\n")), "line")
        raise DecodeError(
            f"{name} holds no cue: none of its {lines} begins one, such as {expected} "
            f"(line {first[0]}: {first[1].strip()[:60]!r})"
        )
    backwards = sum(cue.end_ms < cue.start_ms for cue in document.cues)
    if backwards:
        document.messages.append(
            f"{counted(backwards, 'cue')} {'ends before it begins' if backwards == 1 else 'end before they begin'}; "
            "kept so, and never shown"
        )


_LOOKS_LIKE_TIME = r"[\dOolI]{1,3}[:.,][\dOolI]{1,2}(?:[:.,][\dOolI]{1,3}){0,2}"
_WHOLE_TIME = r"\d+[:.]\d{1,2}[:.]\d{1,2}[,.:;]\d{1,3}"
_LOST_ARROW = re.compile(
    # Two times with something like an arrow between; or two with milliseconds, whatever is between; or one alone.
    rf"\s*{_LOOKS_LIKE_TIME}\s*[-=~\u2010-\u2015]*(?:>|&gt;|[\u2190-\u21ff\u27f5-\u27ff])+\s*{_LOOKS_LIKE_TIME}(?:\s.*)?"
    rf"|\s*{_WHOLE_TIME}(?:\W{{1,6}}{_WHOLE_TIME}(?:\s.*)?)?\s*"
)


def is_broken_times(line: str) -> bool:
    """Whether a line looks like times of a cue whose arrow (-->) or second time is lost.

    Example:
        >>> is_broken_times("00:00:01,000 -> 00:00:02,000"), is_broken_times("open from 12:30 - 13:45")
        (True, False)
    """
    return "-->" not in line and _LOST_ARROW.fullmatch(line) is not None
