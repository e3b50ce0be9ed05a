"""Tags of a file: those of the source in, those that the result keeps out, also where FFmpeg's mp4 has no place."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidsal.sinks.boxes import box, last_box

__all__ = ["StreamTags", "append_keys", "kept_tags", "lost_stream_tags", "missing_tags", "named_as_in"]

_COMPUTED_TAGS = (
    "duration",
    "bps",
    "number_of_",
    "_statistics",
    "encoder",
    "major_brand",
    "minor_version",
    "compatible_brands",
    "rotate",
    "vidsal_",
)
"""Beginnings of tags that describe the coded bytes of the source, not its content."""


def kept_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that are as true of the result as of the source."""
    return {key: value for key, value in tags.items() if not key.lower().startswith(_COMPUTED_TAGS)}


_UNMISSED_TAGS = frozenset(
    ("language", "handler_name", "vendor_id", "creation_time", "timecode", "file_package_umid", "track_name", "_role")
)
"""Tags of streams that no person wrote, or that containers have their own way for."""


def missing_tags(wanted: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """The tags that did not arrive, whatever their upper and lower case."""
    there = {key.lower() for key in found}
    return {key: value for key, value in wanted.items() if key.lower() not in there and value}


def named_as_in(format_name: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Tags of a stream with its title where a container has it.

    Matroska has a title; an mp4 has a name, and beside it the name of a handler, which is what most players show.

    Args:
        format_name: FFmpeg's name of the container.
        tags: as another container gave them.
    """
    named = dict(tags)
    if format_name == "matroska":
        if "name" in named:
            named.setdefault("title", named.pop("name"))
    elif title := named.get("title", named.get("name")):
        named["title"] = title
        named.setdefault("handler_name", title)
    return named


@dataclass(frozen=True)
class StreamTags:
    """What is written at a stream of the source."""

    kind: str
    """video, audio, subtitle, ..."""
    description: str
    """The stream in words."""
    tags: dict[str, str]
    """By name."""


def lost_stream_tags(wanted: Sequence[StreamTags], found: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Names the tags of streams that did not arrive.

    Args:
        wanted: those of the source, in the order of the streams in the file.
        found: kind and tags of each stream of the file.
    """
    lost = []
    for kind in ("video", "audio", "subtitle"):
        after = [{"title": tags["name"], **tags} if "name" in tags else tags for other, tags in found if other == kind]
        for stream, tags in zip([stream for stream in wanted if stream.kind == kind], after, strict=False):
            names = [name for name in missing_tags(stream.tags, tags) if name.lower() not in _UNMISSED_TAGS]
            lost += [f"{name} of {stream.description}" for name in names]
    return lost


def append_keys(path: Path, tags: Mapping[str, str]) -> bool:
    """Writes tags of any name into a finished .mp4 or .mov, beside those that it has.

    They go where phones put theirs: a table of keys (QuickTime's `mdta`) directly in the header. FFmpeg would write
    them in place of the usual ones (title, artist, ...), which then only few programs find.

    Args:
        path: the file; its header (`moov`) is the last thing in it, as FFmpeg writes it.
        tags: by name.

    Returns:
        False where the file is built in another way, and stays as it is.
    """
    keys = b"".join(box(b"mdta", key.encode()) for key in tags)
    values = b"".join(
        # 1: UTF-8; 0: no country, no language.
        box(struct.pack(">I", i), box(b"data", struct.pack(">II", 1, 0) + value.encode("utf-8", "replace")))
        for i, value in enumerate(tags.values(), start=1)
    )
    handler = box(b"hdlr", struct.pack(">II4s12xx", 0, 0, b"mdta"))
    table = box(b"keys", struct.pack(">II", 0, len(tags)) + keys)
    meta = box(b"meta", handler + table + box(b"ilst", values))
    with path.open("r+b") as file:
        header = last_box(file, b"moov")
        if header is None or header[1] + len(meta) >= 1 << 32:
            return False
        at, size = header
        file.seek(0, 2)
        file.write(meta)
        file.seek(at)
        file.write(struct.pack(">I", size + len(meta)))
    return True
