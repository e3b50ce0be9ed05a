"""Markup of SubRip, WebVTT and SubStation Alpha in, runs of text out, and the other way round."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from vidsal.captions.values import Run

__all__ = [
    "as_ass",
    "as_vtt",
    "ass_override",
    "runs_of_ass",
    "runs_of_srt",
    "runs_of_timed_text",
    "runs_of_vtt",
]

VTT_COLOURS = {
    "white": "ffffff",
    "lime": "00ff00",
    "cyan": "00ffff",
    "red": "ff0000",
    "yellow": "ffff00",
    "magenta": "ff00ff",
    "blue": "0000ff",
    "black": "000000",
}
"""The classes of colour that every WebVTT player knows."""

_NAMED_COLOURS = {**VTT_COLOURS, "green": "008000", "orange": "ffa500", "gray": "808080", "grey": "808080"}
_FLAGS = {"b": "bold", "i": "italic", "u": "underline", "s": "strike"}
_ENTITIES = re.compile(r"&(?:amp|lt|gt|nbsp|lrm|rlm|quot|apos|#\d+|#[xX][0-9a-fA-F]+);")


def runs_of_srt(text: str) -> tuple[Run, ...]:
    """The runs of a SubRip text; tags that are not known stay as text, override codes of SubStation go.

    Example:
        >>> [(run.text, run.italic) for run in runs_of_srt("a <i>b</i> <3")]
        [('a ', False), ('b', True), (' <3', False)]
    """
    return tuple(_joined(_srt_runs(text)))


_SRT_TAG = re.compile(r"<\s*(/?)\s*([bius]|font|br)\b([^>]*)>|\{\\[^}]*\}", re.IGNORECASE)


def _srt_runs(text: str) -> Iterator[Run]:
    style, at, colours = Run(""), 0, list[str | None]()
    for tag in _SRT_TAG.finditer(text):
        yield replace(style, text=text[at : tag.start()])
        at = tag.end()
        name = (tag[2] or "").lower()
        if not name:
            style = _overridden(style, tag[0], Run(""))
        elif name == "br":
            yield replace(style, text="\n")
        elif name != "font":
            style = _flagged(style, name, not tag[1])
        elif tag[1]:
            style = replace(style, colour=colours.pop() if colours else None)
        else:
            colours.append(style.colour)
            named = re.search(r"color\s*=\s*[\"']?#?(\w+)", tag[3], re.IGNORECASE)
            style = replace(style, colour=_colour(named[1]) or style.colour if named else style.colour)
    yield replace(style, text=text[at:])


def runs_of_vtt(payload: str) -> tuple[tuple[Run, ...], str]:
    """The runs of a WebVTT payload, and whose voice it is.

    Example:
        >>> runs, voice = runs_of_vtt("<v.loud Ann>Tom &amp; <b>I</b></v>")
        >>> [(run.text, run.bold) for run in runs], voice
        ([('Tom & ', False), ('I', True)], 'Ann')
    """
    runs, voice, at = list[Run](), "", 0
    open_tags: list[tuple[str, Run]] = []
    style = Run("")
    for tag in re.finditer(r"<(/?)([^\s.>]*)([^\s>]*)(?:\s+([^>]*))?>", payload):
        runs.append(replace(style, text=_unescaped(payload[at : tag.start()])))
        at = tag.end()
        closing, name, classes, note = tag[1], tag[2], tag[3], tag[4]
        if closing:
            while open_tags:
                opened, style = open_tags.pop()
                if opened == name or not name:
                    break
            continue
        if name[:1].isdigit():
            continue  # the time of a word
        open_tags.append((name, style))
        if name in ("b", "i", "u"):
            style = _flagged(style, name, True)
        elif name == "v" and note:
            voice = voice or _unescaped(note.strip())
        colours = [VTT_COLOURS[one] for one in classes.split(".") if one in VTT_COLOURS]
        style = replace(style, colour=colours[-1]) if colours else style
    runs.append(replace(style, text=_unescaped(payload[at:])))
    return tuple(_joined(runs)), voice


def _unescaped(text: str) -> str:
    return _ENTITIES.sub(lambda found: html.unescape(found[0]), text)


def runs_of_ass(text: str, style: Run | None = None) -> tuple[Run, ...]:
    """The runs of the text of a SubStation event, whose style is that of `style`.

    Example:
        >>> [(run.text, run.italic) for run in runs_of_ass(r"{\\an8}one\\N{\\i1}two{\\i0}")]
        [('one\\n', False), ('two', True)]
    """
    first = replace(style or Run(""), text="")
    runs, now, at = list[Run](), first, 0
    for tag in _ASS_BLOCK.finditer(text):
        runs.append(replace(now, text=_plain_ass(text[at : tag.start()])))
        at, now = tag.end(), _overridden(now, tag[0], first)
    runs.append(replace(now, text=_plain_ass(text[at:])))
    return tuple(_joined(runs))


_ASS_BLOCK = re.compile(r"(?<!\\)\{[^}]*\}")
_ASS_TAG = re.compile(r"\\(?:([bius])(\d+)|1?c(?:&?H?([0-9a-fA-F]{1,8})&?)?|r[^\\}]*)(?=[\\}\s])")


def ass_override(text: str, pattern: str) -> list[re.Match[str]]:
    """Where override blocks of a SubStation text match a pattern, in order."""
    return [found for block in _ASS_BLOCK.finditer(text) for found in re.finditer(pattern, block[0])]


def _overridden(style: Run, block: str, first: Run) -> Run:
    """A style after an override block; `first` is the one of the event."""
    for tag in _ASS_TAG.finditer(block):
        if tag[1] is not None:
            style = _flagged(style, tag[1], tag[2] != "0")
        elif tag[0].startswith("\\r"):
            style = first
        else:
            bgr = (tag[3] or "").zfill(6)[-6:]
            style = replace(style, colour=(bgr[4:] + bgr[2:4] + bgr[:2]).lower() if tag[3] else first.colour)
    return style


def _plain_ass(text: str) -> str:
    plain = re.sub(r"\\[Nn]", "\n", text).replace(r"\h", "\N{NO-BREAK SPACE}")
    return re.sub(r"\\([{}])", r"\1", plain).replace("\\\N{WORD JOINER}", "\\")


def runs_of_timed_text(sample: bytes) -> tuple[Run, ...]:
    """The runs of a sample of MPEG-4 timed text (3GPP TS 26.245: a text, then boxes, of which `styl` is read).

    FFmpeg's decoder makes SubStation of it, in which braces of the text are lost.

    Example:
        >>> [run.text for run in runs_of_timed_text(b"\\0\\x08{laughs}")]
        ['{laughs}']
    """
    size = int.from_bytes(sample[:2])
    data, boxes = sample[2 : 2 + size], sample[2 + size :]
    marked = data[:2] in (b"\xfe\xff", b"\xff\xfe")
    text = data.decode("utf-16" if marked else "utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    styles = [Run("")] * len(text)
    while len(boxes) >= 10:
        length, kind = int.from_bytes(boxes[:4]), boxes[4:8]
        count = int.from_bytes(boxes[8:10]) if kind == b"styl" else 0
        for at in range(10, min(10 + 12 * count, len(boxes) - 11), 12):
            first, after = int.from_bytes(boxes[at : at + 2]), int.from_bytes(boxes[at + 2 : at + 4])
            face, colour = boxes[at + 6], boxes[at + 8 : at + 11].hex()
            style = Run(
                "", bool(face & 1), bool(face & 2), bool(face & 4), colour=None if colour == "ffffff" else colour
            )
            styles[first:after] = [style] * len(styles[first:after])
        boxes = boxes[max(length, 8) :]
    return tuple(_joined(replace(style, text=letter) for style, letter in zip(styles, text, strict=True)))


def as_vtt(runs: Iterable[Run], voice: str = "") -> str:
    """Runs as the payload of a WebVTT cue; colours that WebVTT has no class for, and strokes, are left out.

    Example:
        >>> as_vtt(runs_of_srt("<i>Tom & Ann</i>"), "Tom")
        '<v Tom><i>Tom &amp; Ann</i>'
    """
    names = {value: name for name, value in VTT_COLOURS.items()}
    made = []
    for run in runs:
        text = html.escape(run.text, quote=False).replace("\N{NO-BREAK SPACE}", "&nbsp;")
        colour = names.get(run.colour or "")
        tags = [name for name in "biu" if getattr(run, _FLAGS[name])]
        opened = "".join(f"<{tag}>" for tag in ([f"c.{colour}"] if colour else []) + tags)
        closed = "".join(f"</{tag}>" for tag in tags[::-1] + (["c"] if colour else []))
        made.append(f"{opened}{text}{closed}" if run.text.strip() else text)
    payload = "".join(made)
    if voice and payload:
        payload = f"<v {html.escape(' '.join(voice.split()), quote=False)}>{payload}"
    # An empty line would end the cue.
    return "\n".join(line or "&nbsp;" for line in payload.split("\n")) if payload else ""


def as_ass(runs: Iterable[Run]) -> str:
    r"""Runs as the text of a SubStation event.

    Example:
        >>> print(as_ass(runs_of_srt("{laughs}\n<i>No</i> way")))
        \{laughs\}\N{\i1}No{\i0} way
    """
    made, before = list[str](), Run("")
    for run in runs:
        codes = [
            f"\\{letter}{int(getattr(run, name))}"
            for letter, name in _FLAGS.items()
            if getattr(run, name) != getattr(before, name)
        ]
        if run.colour != before.colour:
            bgr = "" if run.colour is None else f"&H{run.colour[4:]}{run.colour[2:4]}{run.colour[:2]}&".upper()
            codes.append(f"\\c{bgr}")
        made.append(f"{{{''.join(codes)}}}" if codes else "")
        # What looks like a code is none.
        text = run.text.replace("\\", "\\\N{WORD JOINER}").replace("{", r"\{").replace("}", r"\}")
        made.append(text.replace("\n", r"\N").replace("\N{NO-BREAK SPACE}", r"\h"))
        before = run
    if replace(before, text="") != Run("") and made:
        codes = [f"\\{letter}0" for letter, name in _FLAGS.items() if getattr(before, name)]
        made.append(f"{{{''.join(codes)}}}" if codes else "")
    return "".join(made)


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    """Runs of one style after one another become one; empty ones go."""
    held: Run | None = None
    for run in runs:
        if not run.text:
            continue
        if held is not None and replace(held, text="") == replace(run, text=""):
            held = replace(held, text=held.text + run.text)
            continue
        if held is not None:
            yield held
        held = run
    if held is not None:
        yield held


def _flagged(style: Run, letter: str, value: bool) -> Run:
    changed: dict[str, Any] = {_FLAGS[letter]: value}
    return replace(style, **changed)


def _colour(name: str) -> str | None:
    if re.fullmatch(r"[0-9a-fA-F]{6}", name):
        return name.lower()
    return _NAMED_COLOURS.get(name.lower())
