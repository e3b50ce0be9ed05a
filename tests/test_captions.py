"""Subtitles of all kinds in; other programs' readers must find every cue in what is written, with its time and text."""

from __future__ import annotations

import io
import math
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pysubs2
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from vidsal.captions.documents import Document, Standing, read_text
from vidsal.captions.layout import Layout, anchor_of_settings, settings_of, width_in_em, wrapped
from vidsal.captions.subrip import SubRip
from vidsal.captions.substation import Substation, ass_of
from vidsal.captions.text import as_ass, as_vtt, runs_of_ass, runs_of_timed_text, runs_of_vtt
from vidsal.captions.values import Anchor, Box, Cue, Run
from vidsal.captions.webvtt import WebVTT
from vidsal.errors import ConfigError, DecodeError, EncodeError

LAYOUT = Layout(aspect=16 / 9)


def moved_to(document: Document, place: str) -> list[Standing]:
    standings = []
    for cue in document.cues:
        anchor = LAYOUT.anchor(place, cue)  # type: ignore[arg-type]
        standings.append(Standing(anchor, LAYOUT.box(anchor, cue), moved=True))
    return standings


def unmoved(document: Document) -> list[Standing]:
    standings = []
    for cue in document.cues:
        anchor = cue.own or LAYOUT.anchor("bottom", cue)
        standings.append(Standing(anchor, LAYOUT.box(anchor, cue), moved=False))
    return standings


SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Here</i> comes
a car & it is <3

2
00:00:02,500 --> 00:00:04,000
Room
101

7
00:00:03,000 --> 00:00:05,000
{\\an8}<font color="#ffff00">(music)</font>

8
00:00:05,000 --> 00:00:05,000
no time

9
00:00:06,000 --> 00:00:07,000

10
00:00:08,000 --> 00:00:09,000
{laughs} above

below

11
01:00:00,000 --> 01:00:01,200
2
"""
SRT_TEXTS = ["Here comes\na car & it is <3", "Room\n101", "(music)", "no time", "", "{laughs} above\n\nbelow", "2"]
SRT_TIMES = [
    *((1000, 2500), (2500, 4000), (3000, 5000), (5000, 5000)),
    *((6000, 7000), (8000, 9000), (3600000, 3601200)),
]

VTT = """WEBVTT Kind: captions; Language: en
X-Note: kept

STYLE
::cue(.loud) { color: red }

REGION
id:speaker
width:40%

NOTE a remark
of two lines

first
00:01.000 --> 00:02.500 align:start size:40%
<v.loud Ann &amp; Bob>Tom &lt;said&gt; <b>no</b></v>

00:00:02.500 --> 00:00:04.000 line:10% position:20%,line-left
Up <c.yellow>there</c>

NOTE between

3
00:00:05.000 --> 00:00:06.000 region:speaker
two
lines
00:00:07.000 --> 00:00:08.000
no empty line before
"""

ASS = """[Script Info]
Title: made
ScriptType: v4.00+
PlayResX: 640
PlayResY: 360

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,24,&H00FFFFFF,&H000000FF,&H00000000,&H00000000,0,0,0,0,100,100,0,0,1,2,2,2,10,10,10,1
Style: Top,Arial,36,&H00FFFFFF,&H000000FF,&H00000000,&H00000000,0,-1,0,0,100,100,0,0,1,2,2,8,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,not shown
Dialogue: 0,0:00:01.00,0:00:02.50,Default,Ann,0,0,0,,Plain, with {\\b1}bold{\\b0}\\Nand more
Dialogue: 0,0:00:02.00,0:00:03.00,Default,,0,0,0,,{\\an5\\pos(320,90)\\fad(100,0)}sign
Dialogue: 0,0:00:03.00,0:00:04.00,Top,,0,0,0,,up
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,{\\p1}m 0 0 l 10 0 10 10{\\p0}
Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,40,,raised
"""


# What is written is what was read.


@pytest.mark.parametrize("place", ["bottom", "top", "left", "right"])
def test_every_cue_of_a_subrip_file_is_in_the_webvtt_with_its_time_and_text(place: str) -> None:
    document = SubRip(SRT, "a.srt", LAYOUT)
    assert [cue.text for cue in document.cues] == SRT_TEXTS
    assert [(cue.start_ms, cue.end_ms) for cue in document.cues] == SRT_TIMES
    text = document.as_vtt(moved_to(document, place), note="made")
    read = webvtt.from_string(text)
    assert len(read) == len(SRT_TEXTS)
    for one, plain, (start, end) in zip(read, SRT_TEXTS, SRT_TIMES, strict=True):
        times = [
            f"{ms // 3600000:02d}:{ms // 60000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}" for ms in (start, end)
        ]
        assert [one.start, one.end] == times
        runs, _ = runs_of_vtt(one.raw_text)
        assert "".join(run.text for run in runs).replace("\N{NO-BREAK SPACE}", "") == plain
    # The tags that WebVTT can hold.
    assert read[0].raw_text == "<i>Here</i> comes\na car &amp; it is &lt;3"
    assert read[2].raw_text == "<c.yellow>(music)</c>"


@pytest.mark.parametrize("place", ["bottom", "top", "left", "right"])
def test_every_cue_of_a_subrip_file_is_in_the_ass_with_its_time_and_text(place: str) -> None:
    document = SubRip(SRT, "a.srt", LAYOUT)
    text = ass_of(document.cues, moved_to(document, place), LAYOUT, size=(640, 360), note="made")
    read = pysubs2.SSAFile.from_string(text)
    assert (read.info["PlayResX"], read.info["PlayResY"]) == ("640", "360")
    assert [(one.start, one.end) for one in read] == SRT_TIMES
    plain = [one.plaintext.replace(r"\{", "{").replace(r"\}", "}") for one in read]
    # pysubs2 takes an escaped brace for the beginning of a code, players do not.
    assert [one for one in plain if "above" not in one] == [one for one in SRT_TEXTS if "above" not in one]
    assert read[5].text.endswith(r"\{laughs\} above\N\Nbelow")
    assert r"{\i1}Here{\i0} comes" in read[0].text
    assert r"\c&H00FFFF&" in read[2].text
    number = {"bottom": 2, "top": 8, "left": 4, "right": 6}[place]
    tags = re.findall(r"\\an(\d)", read[0].text)
    assert tags == ([] if place == "bottom" else [str(number)])
    assert read.styles["Default"].alignment == 2
    assert read.styles["Default"].marginv == 18


def test_of_a_webvtt_file_only_the_settings_of_cues_that_move_are_changed() -> None:
    document = WebVTT(VTT, "a.vtt", LAYOUT)
    assert [cue.own is not None for cue in document.cues] == [False, True, True, False]
    assert document.cues[0].voice == "Ann & Bob"
    same = document.as_vtt(unmoved(document), note="made")
    assert same.replace("NOTE made\n\n", "") == VTT
    moved = document.as_vtt(moved_to(document, "top"), note="made")
    bare = re.compile(r"(?<=\d) (?:line|position|size|align|region):.*$", re.MULTILINE)
    assert bare.sub("", moved.replace("NOTE made\n\n", "")) == bare.sub("", VTT)
    assert [str(one.settings) for one in webvtt.from_string(moved)] == [
        "line:5% position:50% size:90% align:center"
    ] * 4
    assert [one.identifier for one in webvtt.from_string(moved)] == ["first", None, "3", None]


def test_of_an_ass_file_only_events_that_move_are_changed() -> None:
    document = Substation(ASS, "a.ass", LAYOUT)
    assert [cue.text for cue in document.cues] == ["Plain, with bold\nand more", "sign", "up", "raised"]
    assert [cue.own is not None for cue in document.cues] == [False, True, True, True]
    before = pysubs2.SSAFile.from_string(ASS)
    same = pysubs2.SSAFile.from_string(document.as_ass(unmoved(document), note="made"))
    assert [one.as_dict() for one in same] == [one.as_dict() for one in before]
    assert same.styles.keys() == before.styles.keys() and same.info == before.info
    moved = pysubs2.SSAFile.from_string(document.as_ass(moved_to(document, "right"), note="made"))
    assert [(one.start, one.end, one.style, one.name, one.type) for one in moved] == [
        (one.start, one.end, one.style, one.name, one.type) for one in before
    ]
    assert [one.text for one in moved] == [
        "not shown",
        "{\\an6}Plain, with {\\b1}bold{\\b0}\\Nand more",
        "{\\an6}{\\fad(100,0)}sign",
        "{\\an6}up",
        "{\\p1}m 0 0 l 10 0 10 10{\\p0}",
        "{\\an6}raised",
    ]
    # A third of 640 pixels, 32 from the right edge.
    assert (moved[1].marginl, moved[1].marginr) == (395, 32)


def test_own_positions_of_an_ass_file_are_found_and_go_into_webvtt() -> None:
    document = Substation(ASS, "a.ass", LAYOUT)
    _, sign, up, raised = document.cues
    assert sign.own is not None and (sign.own.x, sign.own.y) == (0.5, 0.25)
    assert up.own is not None and (up.own.down, up.own.y) == (0, pytest.approx(10 / 360))
    assert raised.own is not None and (raised.own.down, raised.own.y) == (1, pytest.approx(1 - 40 / 360))
    assert up.line_height == pytest.approx(0.1) and document.cues[0].line_height == pytest.approx(24 / 360)
    read = webvtt.from_string(document.as_vtt(unmoved(document), note="made"))
    assert [one.raw_text for one in read] == [
        "<v Ann>Plain, with <b>bold</b>\nand more",
        "sign",
        "<i>up</i>",
        "raised",
    ]
    # Middle at a quarter of the height, and a line of 24 of 360 pixels.
    assert "line:21.67%" in str(read[1].settings)
    assert document.messages == ["1 drawing is left out: WebVTT holds none"]


def test_a_time_that_ass_cannot_hold_is_an_error_and_none_is_cut() -> None:
    document = SubRip("1\n10:00:00,000 --> 10:00:01,000\nlate\n", "a.srt", LAYOUT)
    with pytest.raises(EncodeError, match="10 hours"):
        ass_of(document.cues, unmoved(document), LAYOUT, size=(640, 360), note="")
    assert "10:00:00.000" in document.as_vtt(unmoved(document), note="")


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(str.strip)


@given(st.lists(words, min_size=1, max_size=3), st.booleans(), st.booleans())
def test_any_text_comes_back_from_both_markups(lines: list[str], bold: bool, italic: bool) -> None:
    text = "\n".join(line.strip() for line in lines if line.strip())
    runs = (Run("a\n"), Run(text, bold=bold, italic=italic), Run("\nb"))
    plain = "".join(run.text for run in runs)
    for back in (runs_of_vtt(as_vtt(runs))[0], runs_of_ass(as_ass(runs))):
        assert "".join(run.text for run in back) == plain
        assert all(run.bold == bold and run.italic == italic for run in back if run.text == text)


def test_the_styles_of_timed_text_are_read_and_its_braces_are_text() -> None:
    text = "{laughs} \N{LATIN SMALL LETTER O WITH DIAERESIS}ne two\nthree".encode()
    # Letters 9 to 12 in bold and italic, the last five in yellow; fonts of id 1, 18 high.
    entries = struct.pack(">HHHBB4s", 9, 12, 1, 3, 18, b"\xff\xff\xff\xff")
    entries += struct.pack(">HHHBB4s", 17, 22, 1, 4, 18, b"\xff\xff\x00\xff")
    styl = struct.pack(">I4sH", 10 + len(entries), b"styl", 2) + entries
    unknown = struct.pack(">I4sH", 10, b"abcd", 7)
    runs = runs_of_timed_text(struct.pack(">H", len(text)) + text + unknown + styl)
    assert runs == (
        Run("{laughs} "),
        Run("\N{LATIN SMALL LETTER O WITH DIAERESIS}ne", bold=True, italic=True),
        Run(" two\n"),
        Run("three", underline=True, colour="ffff00"),
    )
    wide = "\N{ZERO WIDTH NO-BREAK SPACE}ab".encode("utf-16-be")
    assert runs_of_timed_text(struct.pack(">H", len(wide)) + wide) == (Run("ab"),)
    for cut in range(len(text) + 2, len(text) + 2 + len(unknown + styl)):
        assert "".join(
            run.text for run in runs_of_timed_text((struct.pack(">H", len(text)) + text + unknown + styl)[:cut])
        )


# Files as they are found.


@pytest.mark.parametrize(
    ("encode", "warned"),
    [
        (lambda text: text.encode(), False),
        (lambda text: b"\xef\xbb\xbf" + text.encode(), False),
        (lambda text: text.encode("utf-16"), False),
        (lambda text: text.replace("\n", "\r\n").encode(), False),
        (lambda text: text.replace("\n", "\r").encode(), False),
        (lambda text: text.encode("latin-1"), True),
    ],
    ids=["utf-8", "bom", "utf-16", "crlf", "cr", "latin-1"],
)
@pytest.mark.parametrize("kind", ["srt", "vtt", "ass"])
def test_the_same_cues_come_from_all_encodings(
    tmp_path: Path, kind: str, encode: Callable[[str], bytes], warned: bool
) -> None:
    make, text = {"srt": (SubRip, SRT), "vtt": (WebVTT, VTT), "ass": (Substation, ASS)}[kind]
    text = text.replace("more", "möre").replace("car", "cär").replace("Up", "Üp")
    file = tmp_path / f"a.{kind}"
    file.write_bytes(encode(text))
    messages = list[str]()
    found = make(read_text(file, None, messages), "a", LAYOUT)
    assert found.cues == make(text, "a", LAYOUT).cues
    assert bool(messages) == warned


def test_an_encoding_that_is_named_is_used_and_a_wrong_one_reported(tmp_path: Path) -> None:
    file = tmp_path / "a.srt"
    file.write_bytes("привет".encode("cp1251"))
    assert read_text(file, "cp1251", []) == "привет"
    file.write_bytes(b"\xff\xff\xff")
    with pytest.raises(DecodeError, match="not coded in utf-8"):
        read_text(file, "utf-8", [])
    file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    with pytest.raises(DecodeError, match="holds no text"):
        read_text(file, None, [])
    with pytest.raises(DecodeError, match="is not there"):
        read_text(tmp_path / "b.srt", None, [])


@pytest.mark.parametrize(
    ("make", "text", "said"),
    [
        (SubRip, "", "a is empty"),
        (SubRip, "just words\n", "holds no cue"),
        (SubRip, "1\n00:00:0x,000 --> 00:00:02,000\na\n", "line 2: .* is no line of times"),
        (SubRip, SRT + "\n12\n00:00:02,000 --> 00:00:zz\na\n", "is no line of times"),
        (SubRip, SRT + "\n12\n?:2 --> 00:00:09,000\na\n", "is no line of times"),
        (WebVTT, SRT, "does not begin with WEBVTT"),
        (WebVTT, "WEBVTT\n\nNOTE nothing\n", "holds no cue"),
        (WebVTT, "WEBVTT\n\n00:00.000 --> 00:61.000\na\n", "line 3: .* is no line of times"),
        (WebVTT, "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\n\n00:00.000 --> 00:01.000\na\n", "segment"),
        (Substation, "[Script Info]\n", "no \\[Events\\]"),
        (Substation, ASS.split("Comment:")[0], "holds no cue"),
        (Substation, ASS.replace("0:00:05.00,0:00:06.00", "x,y"), "line 19: .* is no event with two times"),
        (Substation, ASS.replace("Layer, Start, End", "Layer, End, Start"), "unusual order"),
    ],
)
def test_broken_files_are_errors_that_say_where(make: type[Document], text: str, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        make(text, "a", LAYOUT)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "times",
    [
        *("00:00:03,000 -> 00:00:04,000", "00:00:03,000 —> 00:00:04,000", "00:00:03,000 → 00:00:04,000"),
        *("00:00:03,000 - 00:00:04,000", "00:00:03,000 00:00:04,000", "0:00:03.000,0:00:04.000", "00:00:03,000"),
        *("00:00:03 -> 00:00:04", "0O:00:03,000 -> 00:00:04,000", "00:00:03,000 -- > 00:00:04,000"),
        "00:00:03,000 &gt; 00:00:04,000",
    ],
)
@pytest.mark.parametrize("gap", ["\n\n2\n", "\n2\n", "\n\n", "\n"], ids=["gap-number", "number", "gap", "none"])
def test_a_line_of_times_whose_arrow_is_broken_is_no_text_of_the_cue_before(times: str, gap: str) -> None:
    first = "1\n00:00:01,000 --> 00:00:02,000\nOne"
    line = (first + gap).count("\n") + 1
    said = f"line {line}: '{re.escape(times)}' is no line of times"
    with pytest.raises(DecodeError, match=said):
        SubRip(f"{first}{gap}{times}\nTwo\n", "a", LAYOUT)
    first = "WEBVTT\n\nNOTE vidsal {}\n\n1\n00:01.000 --> 00:02.000\nOne"
    line = (first + gap).count("\n") + 1
    with pytest.raises(DecodeError, match=f"line {line}: .* is no line of times"):
        WebVTT(f"{first}{gap}{times.replace(',', '.')}\nTwo\n", "a", LAYOUT)


@pytest.mark.parametrize(
    "text",
    ["from 00:01 -> 00:02", "12:30 - 13:45", "12:30 13:45", "9:15", "1:2 > 1", "at 00:00:03,000 -> 00:00:04,000"],
)
def test_times_of_day_in_a_text_are_text(text: str) -> None:
    document = SubRip(f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n", "a", LAYOUT)
    assert [cue.text for cue in document.cues] == [text]
    document = WebVTT(f"WEBVTT\n\nNOTE\n00:01.000 -> 00:02.000\n\n00:01.000 --> 00:02.000\n{text}\n", "a", LAYOUT)
    assert [cue.text for cue in document.cues] == [text]


@pytest.mark.parametrize(
    ("make", "text", "said"),
    [
        (SubRip, "\n  \n", "a is empty; expected subtitles, such as 00:00:01,000 --> 00:00:02,500"),
        (SubRip, "\nmy words\nare few\n", "none of its 3 lines begins one.*line 2: 'my words'"),
        (WebVTT, "WEBVTT\n", "none of its 1 line begins one.*line 1: 'WEBVTT'"),
        (Substation, ASS.split("Comment:")[0], "holds no cue: none of its .* lines .*such as Dialogue: 0"),
    ],
)
def test_a_file_without_a_cue_says_what_it_holds_instead(make: type[Document], text: str, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        make(text, "a", LAYOUT)  # type: ignore[call-arg]


def test_lines_among_the_events_that_are_none_are_named() -> None:
    document = Substation(ASS + "Dialoge: 0,0:00:07.00,0:00:08.00,Default,,0,0,0,,lost\n; a remark\n", "a", LAYOUT)
    assert [said for said in document.messages if "1 line of a among its events is none (line 20)" in said]
    with pytest.raises(DecodeError, match=r"line 20: .* is no event with two times"):
        Substation(ASS + "Dialogue: 0,0:00:07.00,Default,,0,0,0,,short of an end\n", "a", LAYOUT)


@given(st.sampled_from(["srt", "vtt", "ass"]), st.data())
def test_damaged_files_are_read_or_refused(kind: str, data: st.DataObject) -> None:
    make, text = {"srt": (SubRip, SRT), "vtt": (WebVTT, VTT), "ass": (Substation, ASS)}[kind]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 40))
        put = data.draw(
            st.sampled_from(["", "\n", "\n\n", "-->", ",", "{", "}", "<", "99", "\\pos(", "x", "\\an", "-", "&"])
        )
        text = text[:at] + put + text[at + cut :]
    try:
        document = make(text, "a", LAYOUT)
        document.as_vtt(unmoved(document), note="x")
        ass_of(document.cues, moved_to(document, "left"), LAYOUT, size=(64, 36), note="x")
    except (DecodeError, EncodeError):
        return
    again = document.as_vtt(moved_to(document, "top"), note="x")
    assert len(WebVTT(again, "a", LAYOUT).cues) == len(document.cues)


def test_odd_things_of_a_subrip_file_are_reported_and_no_cue_is_lost() -> None:
    document = SubRip(
        "my title\n\n1\n00:00:02,000 --> 00:00:01,000 X1:10 X2:20\nback\n0:0:3.5 --> 0:0:4.50\nno number\n", "a", LAYOUT
    )
    assert [(cue.start_ms, cue.end_ms, cue.text) for cue in document.cues] == [
        (2000, 1000, "back"),
        (3500, 4500, "no number"),
    ]
    said = "\n".join(document.messages)
    assert "belong to none" in said and "coordinates" in said and "1 cue ends before it begins" in said


def test_an_arrow_in_a_text_is_text() -> None:
    document = SubRip("1\n00:00:01,000 --> 00:00:02,000\nhome --> work\nat --> 12:30\n", "a", LAYOUT)
    assert [cue.text for cue in document.cues] == ["home --> work\nat --> 12:30"]
    written = document.as_vtt(unmoved(document), note="x")
    assert written.endswith("home --&gt; work\nat --&gt; 12:30\n")


def test_without_pysubs2_ass_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysubs2", None)
    with pytest.raises(ConfigError, match=r"vidsal\[captions\]"):
        Substation(ASS, "a.ass", LAYOUT)
    document = SubRip(SRT, "a.srt", LAYOUT)
    with pytest.raises(ConfigError, match=r"vidsal\[captions\]"):
        ass_of(document.cues, unmoved(document), LAYOUT, size=(64, 36), note="")
    assert webvtt.from_buffer(io.StringIO(document.as_vtt(unmoved(document), note="")))


# How large a text is.


def cue(text: str, **more: float) -> Cue:
    return Cue(0, 1000, (Run(text),), **more)  # type: ignore[arg-type]


def test_wide_characters_count_whole_and_accents_nothing() -> None:
    assert width_in_em("字幕ＡＢ") == 4
    assert width_in_em("e\N{COMBINING ACUTE ACCENT}") == width_in_em("e")
    assert width_in_em("\N{RIGHT-TO-LEFT MARK}שלום") == width_in_em("שלום") == pytest.approx(4 * 0.55)


def test_lines_break_at_spaces_and_between_wide_characters() -> None:
    assert wrapped("字" * 10, 4) == [4, 4, 2]
    assert wrapped("a\nb\n", 10) == [0.55, 0.55, 0]
    assert wrapped("inconceivabilities", 3) == [pytest.approx(18 * 0.55)]
    assert wrapped(" \n", 3) == []


def test_the_box_stays_in_the_safe_area_and_grows_with_the_text() -> None:
    layout = Layout(aspect=16 / 9, font_size=0.05, safe_area=0.8)
    for place, edge in (("bottom", 0.9), ("top", 0.1)):
        anchor = layout.anchor(place, cue("one"))  # type: ignore[arg-type]
        one, two = (layout.box(anchor, cue(text)) for text in ("one", "one\ntwo words"))
        assert (one.bottom if place == "bottom" else one.top) == pytest.approx(edge)
        assert one.height == pytest.approx(0.06) and two.height == pytest.approx(0.12)
        assert one.left + one.right == pytest.approx(1) and two.right > one.right
    # A player with a narrower font fills the line.
    broken = layout.box(layout.anchor("left", cue("")), cue("two words and many more"))
    assert broken.right - broken.left == pytest.approx(1 / 3) and broken.height == pytest.approx(0.12)
    long = layout.box(layout.anchor("bottom", cue("")), cue("word " * 60))
    assert long.left >= 0.1 - 1e-9 and long.right <= 0.9 + 1e-9 and long.height > 0.2
    left, right = (layout.box(layout.anchor(side, cue("a")), cue("word " * 9)) for side in ("left", "right"))
    assert left.left == pytest.approx(0.1) and left.right < 0.1 + 1 / 3 + 1e-9
    assert right.right == pytest.approx(0.9) and right.top == pytest.approx(1 - right.bottom)


def test_a_word_wider_than_the_side_cannot_stand_there() -> None:
    for text, fits in (("short words", True), ("Donaudampfschifffahrtsgesellschaft", False), ("字" * 30, True)):
        box = LAYOUT.box(LAYOUT.anchor("left", cue(text)), cue(text))
        assert LAYOUT.fits("left", cue(text), box) == fits


SETTINGS = {
    "line:10%": Box(0.3, 0.1, 0.7, 0.16),
    "line:90%,end": Box(0.3, 0.84, 0.7, 0.9),
    "line:50%,center": Box(0.3, 0.47, 0.7, 0.53),
    "line:0": Box(0.3, 0.0, 0.7, 0.06),
    "line:-1": Box(0.3, 0.94, 0.7, 1.0),
    "line:-2": Box(0.3, 0.88, 0.7, 0.94),
    "position:5% align:left": Box(0.05, 0.89, 0.45, 0.95),
    "position:95% align:right": Box(0.55, 0.89, 0.95, 0.95),
    "position:50%,line-left line:10%": Box(0.5, 0.1, 0.9, 0.16),
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_of_webvtt_are_boxes(settings: str) -> None:
    pairs = [(name, value) for name, _, value in (one.partition(":") for one in settings.split())]
    anchor = anchor_of_settings(pairs, LAYOUT)
    assert anchor is not None
    box = anchor.box(0.4, 0.06)
    expected = SETTINGS[settings]
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx(
        (expected.left, expected.top, expected.right, expected.bottom)
    )


def test_settings_that_name_no_place_leave_it_to_the_player() -> None:
    assert anchor_of_settings([("align", "start"), ("size", "40%")], LAYOUT) is None
    assert anchor_of_settings([], LAYOUT) is None


@pytest.mark.parametrize("place", ["bottom", "top", "left", "right"])
def test_the_settings_that_are_written_are_read_as_the_same_box(place: str) -> None:
    one = cue("Two lines\nof text")
    anchor = LAYOUT.anchor(place, one)  # type: ignore[arg-type]
    box = LAYOUT.box(anchor, one)
    written = settings_of(anchor, box)
    pairs = [(name, value) for name, _, value in (part.partition(":") for part in written.split())]
    back = anchor_of_settings(pairs, LAYOUT)
    assert back is not None
    again = LAYOUT.box(back, one)
    assert math.dist((again.left, again.top, again.right), (box.left, box.top, box.right)) < 1e-3
    assert isinstance(back, Anchor)
