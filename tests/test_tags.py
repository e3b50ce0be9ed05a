"""Tags under the names of each container, and the table of keys that is written into an .mp4."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from vidsal.sinks import tags
from vidsal.sinks.tags import StreamTags, append_keys, kept_tags, lost_stream_tags, named_as_in


@pytest.mark.parametrize(
    ("given", "matroska", "mp4"),
    [
        ({"name": "A"}, {"title": "A"}, {"name": "A", "title": "A", "handler_name": "A"}),
        ({"title": "A"}, {"title": "A"}, {"title": "A", "handler_name": "A"}),
        ({"title": "A", "name": "B"}, {"title": "A"}, {"title": "A", "name": "B", "handler_name": "A"}),
        ({"title": "A", "handler_name": "H"}, {"title": "A", "handler_name": "H"}, {"title": "A", "handler_name": "H"}),
        ({"more": "1"}, {"more": "1"}, {"more": "1"}),
    ],
)
def test_a_title_has_the_name_that_the_container_gives_it(
    given: dict[str, str], matroska: dict[str, str], mp4: dict[str, str]
) -> None:
    assert named_as_in("matroska", given) == matroska
    assert named_as_in("mp4", given) == named_as_in("mov", given) == mp4


def test_only_what_is_as_true_of_the_result_is_kept() -> None:
    computed = ["DURATION-eng", "BPS", "NUMBER_OF_FRAMES", "_STATISTICS_TAGS", "encoder", "major_brand"]
    computed += ["minor_version", "compatible_brands", "rotate", "vidsal_provenance"]
    assert kept_tags(dict.fromkeys([*computed, "title", "my_encoder"], "1")) == {"title": "1", "my_encoder": "1"}


def test_lost_tags_are_looked_for_in_the_stream_of_the_same_place_among_its_kind() -> None:
    own = [
        "language",
        "HANDLER_NAME",
        "vendor_id",
        "creation_time",
        "timecode",
        "file_package_umid",
        "track_name",
        "_role",
    ]
    wanted = [
        StreamTags(kind, f"{kind} {i}", {"title": "T", f"of_{kind}_{i}": "1", **dict.fromkeys(own, "1")})
        for kind, i in (("audio", 1), ("video", 1), ("subtitle", 1), ("audio", 2), ("data", 1))
    ]
    found = [("audio", {"name": "T"}), ("audio", {"title": "T", "OF_AUDIO_2": "1"}), ("subtitle", {"title": "T"})]
    assert lost_stream_tags(wanted, [("video", {}), ("data", {}), *found]) == [
        *("title of video 1", "of_video_1 of video 1"),
        *("of_audio_1 of audio 1", "of_subtitle_1 of subtitle 1"),
    ]


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


@pytest.mark.parametrize(
    ("before", "header", "after", "written"),
    [
        (b"", box(b"moov"), b"", True),
        (box(b"ftyp", b"isom"), box(b"moov", b"1234"), b"", True),
        (struct.pack(">I4sQ", 1, b"mdat", 20) + b"1234", box(b"moov"), b"", True),
        (b"", box(b"moov"), box(b"free"), False),
        (b"", box(b"moov"), b"1234567", False),
        (struct.pack(">I4s", 0, b"mdat"), box(b"moov"), b"", False),
        (struct.pack(">I4s", 7, b"mdat"), box(b"moov"), b"", False),
        # A size of 8 bytes: none that FFmpeg writes here.
        (b"", struct.pack(">I4sQ", 1, b"moov", 16), b"", False),
        (b"", b"", b"", False),
    ],
)
def test_keys_go_into_a_header_that_is_the_last_box(
    tmp_path: Path, before: bytes, header: bytes, after: bytes, written: bool
) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(before + header + after)
    assert append_keys(path, {"one": "1", "two": "\udcff2"}) is written
    # As QuickTime's format has it: no version, flags, or name of the handler; values are UTF-8 (1), of no country and
    # no language.
    handler = box(b"hdlr", bytes(8) + b"mdta" + bytes(12) + b"\0")
    keys = box(b"keys", bytes(4) + struct.pack(">I", 2) + box(b"mdta", b"one") + box(b"mdta", b"two"))
    kind = struct.pack(">II", 1, 0)
    values = box(b"\0\0\0\1", box(b"data", kind + b"1")) + box(b"\0\0\0\2", box(b"data", kind + b"?2"))
    meta = box(b"meta", handler + keys + box(b"ilst", values))
    whole = before + (box(b"moov", header[8:] + meta) if written else header) + after
    assert path.read_bytes() == whole


def test_a_header_does_not_grow_beyond_what_its_size_can_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(box(b"moov"))
    assert append_keys(path, {"a": "b"})
    added = path.stat().st_size - 8
    most = 2**32 - 1 - added
    for size, fits in ((most + 1, False), (most, True)):
        path.write_bytes(box(b"moov"))
        monkeypatch.setattr(tags, "last_box", lambda file, kind, size=size: (0, size))
        assert append_keys(path, {"a": "b"}) is fits
        assert path.read_bytes()[:4] == (b"\xff\xff\xff\xff" if fits else struct.pack(">I", 8))
