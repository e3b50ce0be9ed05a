"""SubStation files (.ass, .ssa) in, their cues out; and cues of any kind, with their places, as ASS out.

pysubs2 reads and writes them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from vidsal.captions.documents import Document, Standing, check_cues, write_vtt
from vidsal.captions.layout import LINE_HEIGHT, Layout
from vidsal.captions.text import as_ass, as_vtt, ass_override, runs_of_ass
from vidsal.captions.values import Anchor, Cue, Run
from vidsal.errors import ConfigError, DecodeError, EncodeError, Setting
from vidsal.words import counted

if TYPE_CHECKING:
    from pysubs2 import SSAEvent, SSAFile, SSAStyle

__all__ = ["Substation", "ass_of", "need_pysubs2"]

_POSITION = r"\\(?:pos|move)\(\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)[^)]*\)"
_ALIGNMENT = r"\\an([1-9])(?!\d)"
_OLD_ALIGNMENT = r"\\a(\d+)"
_LATEST_MS = 36_000_000


def need_pysubs2() -> None:
    """See that pysubs2 is installed.

    Raises:
        ConfigError: it is not.
    """
    try:
        import pysubs2  # noqa: F401 (looked for)
    except ImportError as error:
        why = "SubStation subtitles (ASS) need pysubs2: install vidsal[captions], or write WebVTT by "
        raise ConfigError(why, Setting("to", "vtt")) from error


class Substation(Document):
    """Subtitles of a SubStation file.

    Comments and drawings are no cues. Those stay in ASS as they are.

    Args:
        text: of the file.
        name: of the file, for messages.
        layout: of the picture.

    Raises:
        DecodeError: it is none, or is broken.
        ConfigError: pysubs2 is not installed.
    """

    kind: ClassVar[str] = "ass"

    def __init__(self, text: str, name: str, layout: Layout) -> None:
        super().__init__()
        self._file = self._parsed(text, name)
        self._size = _play_size(self._file)
        self._layout = layout
        drawings = 0
        for event in self._file.events:
            if event.is_comment:
                continue
            if ass_override(event.text, r"\\p[1-9]"):
                drawings += 1
                continue
            self.cues.append(self._cue(event))
        self._drawings = drawings
        early = sum(min(event.start, event.end) < 0 for event in self._file.events)
        if early:
            has = "has a time" if early == 1 else "have times"
            self.messages.append(f"{counted(early, 'event')} of {name} {has} before 0, taken for 0")
        check_cues(self, name, f"Dialogue: {', '.join(_USUAL)}", text)

    def _parsed(self, text: str, name: str) -> SSAFile:
        need_pysubs2()
        from pysubs2 import SSAFile
        from pysubs2.exceptions import Pysubs2Error

        _check_order(text, name)
        self.messages += _check_events(text, name)
        is_ass = re.search(r"V4\+ Styles", text, re.IGNORECASE) is not None
        try:
            with warnings.catch_warnings(record=True) as odd:
                warnings.simplefilter("always")
                file = SSAFile.from_string(text, "ass" if is_ass else "ssa")
        except (Pysubs2Error, ValueError, TypeError, KeyError, IndexError) as error:
            raise DecodeError(f"{name} cannot be read as SubStation subtitles: {error}; repair the file") from error
        self.messages += sorted({f"{name}: {one.message}" for one in odd})
        return file

    def _cue(self, event: SSAEvent) -> Cue:
        from pysubs2 import SSAStyle

        width, height = self._size
        style = self._file.styles.get(event.style) or self._file.styles.get("Default") or SSAStyle()
        number = int(style.alignment)
        named = ass_override(event.text, _ALIGNMENT)
        old = ass_override(event.text, _OLD_ALIGNMENT)
        if named:
            number = int(named[0][1])
        elif old and int(old[0][1]) in _OLD:
            number = _OLD[int(old[0][1])]
        left, right, down = (
            event.marginl or style.marginl,
            event.marginr or style.marginr,
            event.marginv or style.marginv,
        )
        row, column = divmod(number - 1, 3)
        x = (left / width, (left + width - right) / 2 / width, 1 - right / width)[column]
        y = (1 - down / height, 0.5, down / height)[row]
        positions = ass_override(event.text, _POSITION)
        if positions:
            x, y = float(positions[0][1]) / width, float(positions[0][2]) / height
        home = Anchor(x, y, column / 2, 1 - row / 2, max((width - left - right) / width, 0.0))
        scrolls = event.effect.lower().startswith(("scroll", "banner"))
        is_own = bool(positions) or number != 2 or bool(event.marginv) or scrolls
        flags = Run("", bold=style.bold, italic=style.italic, underline=style.underline, strike=style.strikeout)
        return Cue(
            max(event.start, 0),
            max(event.end, 0),
            runs_of_ass(event.text, flags),
            own=home if is_own else None,
            home=None if is_own else home,
            line_height=min(max(style.fontsize / height, 0.005), 0.5),
            voice=event.name,
            source=event,
        )

    def as_vtt(self, standings: Sequence[Standing], *, note: str) -> str:
        """The text of a WebVTT file, with a standing for each cue."""
        if self._drawings:
            are = "is" if self._drawings == 1 else "are"
            self.messages.append(f"{counted(self._drawings, 'drawing')} {are} left out: WebVTT holds none")
        return write_vtt(self.cues, standings, [as_vtt(cue.runs, cue.voice) for cue in self.cues], note=note)

    def as_ass(self, standings: Sequence[Standing], *, note: str) -> str:
        """The text of an ASS file: this one, with the events moved that are to stand elsewhere."""
        events = {id(cue.source): standing for cue, standing in zip(self.cues, standings, strict=True)}
        from pysubs2 import SSAFile

        made = SSAFile()
        made.info, made.styles = dict(self._file.info), self._file.styles
        made.aegisub_project = self._file.aegisub_project
        made.fonts_opaque, made.graphics_opaque = self._file.fonts_opaque, self._file.graphics_opaque
        for event in self._file.events:
            standing = events.get(id(event))
            copy = event.copy()
            if standing is not None and standing.moved:
                _move(copy, standing, self._size)
            made.append(copy)
        return _written(made, note)


_OLD = {1: 1, 2: 2, 3: 3, 5: 7, 6: 8, 7: 9, 9: 4, 10: 5, 11: 6}
"""SSA's numbers of alignments, and what they are today."""


def ass_of(
    cues: Sequence[Cue], standings: Sequence[Standing], layout: Layout, *, size: tuple[int, int], note: str
) -> str:
    """An ASS file of cues that come from another format.

    Args:
        cues: the cues.
        standings: where each stands.
        layout: of the picture; one style is made of it.
        size: width and height of the picture as it is shown, which become PlayResX and PlayResY.
        note: a line for a person.

    Raises:
        ConfigError: pysubs2 is not installed.
        EncodeError: a time is too late for ASS.
    """
    need_pysubs2()
    from pysubs2 import Color, SSAEvent, SSAFile

    width, height = size
    made = SSAFile()
    made.info |= {"PlayResX": str(width), "PlayResY": str(height)}
    style: SSAStyle = made.styles["Default"]
    # The size of a SubStation font is the height of its lines.
    style.fontsize = round(layout.font_size * LINE_HEIGHT * height, 2)
    style.outline, style.shadow = round(0.08 * style.fontsize, 2), 0
    style.backcolor = Color(0, 0, 0, 128)
    style.marginl = style.marginr = round(layout.margin * width)
    style.marginv = round(layout.margin * height)
    for cue, standing in zip(cues, standings, strict=True):
        event = SSAEvent(cue.start_ms, cue.end_ms, as_ass(cue.runs), name=cue.voice.replace(",", ";"))
        if standing.anchor != layout.anchor("bottom", cue):
            _move(event, standing, size)
        made.append(event)
    return _written(made, note)


def _move(event: SSAEvent, standing: Standing, size: tuple[int, int]) -> None:
    """Give an event its place by alignment and margins; players then keep such events off one another."""
    width, height = size
    anchor = standing.anchor
    column, row = int(anchor.across * 2), int(2 - anchor.down * 2)
    text = re.sub(rf"{_POSITION}|{_ALIGNMENT}|{_OLD_ALIGNMENT}", "", event.text)
    codes = f"\\an{3 * row + column + 1}"
    if row == 1 and abs(anchor.y - 0.5) > 1e-6:
        codes += f"\\pos({anchor.x * width:.0f},{anchor.y * height:.0f})"
    event.text = f"{{{codes}}}" + text.replace("{}", "")
    left = anchor.x - anchor.across * anchor.width
    # A margin of 0 would be that of the style.
    event.marginl = max(1, round(max(left, 0.0) * width))
    event.marginr = max(1, round(max(1 - left - anchor.width, 0.0) * width))
    event.marginv = max(1, round((1 - anchor.y if row == 0 else anchor.y) * height)) if row != 1 else event.marginv


def _written(file: SSAFile, note: str) -> str:
    late = max((max(event.start, event.end) for event in file.events), default=0)
    if late >= _LATEST_MS:
        raise EncodeError("ASS holds no times from 10 hours on; write WebVTT by ", Setting("to", "vtt"))
    text: str = file.to_string("ass", header_notice=note)
    return text


def _play_size(file: SSAFile) -> tuple[int, int]:
    """Width and height of the script's own coordinates; what is missing is filled in as libass does."""

    def given(name: str) -> int:
        text = file.info.get(name, "")
        return int(text) if text.isdecimal() else 0

    width, height = given("PlayResX"), given("PlayResY")
    if not width and not height:
        return 384, 288
    if not height:
        return width, 1024 if width == 1280 else max(1, width * 3 // 4)
    return width or (1280 if height == 1024 else max(1, height * 4 // 3)), height


def _check_order(text: str, name: str) -> None:
    """pysubs2 takes fields in the usual order, whatever the file says.

    Raises:
        DecodeError: it says otherwise.
    """
    from pysubs2.formats.substation import EVENT_FORMAT_LINE

    usual = {_fields(line) for line in EVENT_FORMAT_LINE.values()}
    events = re.split(r"^\[Events\]\s*$", text, maxsplit=1, flags=re.MULTILINE | re.IGNORECASE)
    if len(events) < 2:
        raise DecodeError(f"{name} has no [Events]; expected a SubStation file (.ass, .ssa)")
    found = re.search(r"^Format:.*$", events[1], re.MULTILINE)
    if found and _fields(found[0]) not in usual:
        raise DecodeError(f"{name} has its fields in an unusual order ({found[0].strip()}); save it anew in an editor")


_USUAL = ("0", "0:00:01.00", "0:00:02.50", "Default", "", "0", "0", "0", "", "Text")
_EVENT_TIME = re.compile(r"\s*-?(?:\d+:)?\d{1,2}:\d{1,2}(?:[.:,]\d{1,3})?\s*")
_KNOWN_LINES = re.compile(r"(?:Format|Picture|Sound|Movie|Command):|[;!]|$")


def _check_events(text: str, name: str) -> list[str]:
    """See that all events have times; returns sentences about lines that are none, which pysubs2 leaves out.

    Raises:
        DecodeError: one has none, or too few fields.
    """
    unknown = list[int]()
    section = ""
    for place, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if heading := re.fullmatch(r"\[([^\]]+)\]", line):
            section = heading[1].lower()
        if section != "events" or heading:
            continue
        if re.match(r"(?:Dialogue|Comment):", line):
            parts = line.partition(":")[2].split(",", len(_USUAL) - 1)
            if len(parts) < len(_USUAL) or not all(_EVENT_TIME.fullmatch(one) for one in parts[1:3]):
                raise DecodeError(
                    f"{name}, line {place}: {line[:60]!r} is no event with two times; expected Dialogue: "
                    f"{','.join(_USUAL)}"
                )
        elif not _KNOWN_LINES.match(line):
            unknown.append(place)
    if not unknown:
        return []
    is_one = len(unknown) == 1
    return [
        f"{counted(len(unknown), 'line')} of {name} among its events {'is' if is_one else 'are'} none "
        f"(line {', '.join(map(str, unknown[:3]))}{', ...' if len(unknown) > 3 else ''}), and left out"
    ]


def _fields(line: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in line.partition(":")[2].split(","))


@dataclass(frozen=True)
class StreamEvents:
    """Events of a SubStation stream."""

    header: str
    """Styles and script info."""
    events: tuple[tuple[int, int, str], ...]
    """Start and end in milliseconds, and the packet's text: ReadOrder, Layer, Style, Name, margins, Effect, Text."""

    def text(self) -> str:
        """As a file."""
        lines = [self.header.replace("\r\n", "\n").rstrip("\n\0")]
        if "[Events]" not in self.header:
            lines.append("\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text")
        for start, end, text in self.events:
            _, layer, rest = text.replace("\r\n", r"\N").replace("\n", r"\N").split(",", 2)
            lines.append(f"Dialogue: {layer},{_ass_time(start)},{_ass_time(end)},{rest}")
        return "\n".join(lines) + "\n"


def _ass_time(milliseconds: int) -> str:
    hundredths = (milliseconds + 5) // 10
    seconds, rest = divmod(hundredths, 100)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:02d}"
