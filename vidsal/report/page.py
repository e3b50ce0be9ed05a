"""The results of one video in, its report as one HTML page out: `make_report`."""

from __future__ import annotations

import math
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.decode import DecodeOptions
from vidsal.errors import ConfigError
from vidsal.exports.shots import SHOT_COLUMNS
from vidsal.model.options import named_task
from vidsal.report.areas import GatheredAreas, area_curves, area_section
from vidsal.report.gather import Gathered
from vidsal.report.html import asset, data_block, escaped, link_to, make_page, picture_address
from vidsal.report.pictures import player_facts, small_pictures
from vidsal.report.summary import Summary

__all__ = ["PICTURED_SHOTS", "Drawn", "Results", "make_report"]

PICTURED_SHOTS = 150
"""Most shots with pictures: the longest ones of a video that has more."""

_TILES = 12
"""Pictures of the timeline where it is one long shot: a shot of a share of it gets as large a share of them."""


@dataclass(frozen=True)
class Drawn:
    """The video, or the picture, that holds the heat."""

    path: Path
    """Its name when all is done."""
    now: Path | None = None
    """Where it lies while the report is made; None: under its name."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a report is made of."""

    name: str
    """Of the input."""
    gathered: Gathered
    """The numbers of its frames, ended; at least one."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """How the results came about, as NAME.vidsal.json has it; empty where nobody knows."""
    drawn: Drawn | None = None
    """What holds the heat; None where none was written."""
    source: Path | None = None
    """The input; None where it is no file, or is not there."""
    source_stays: bool = True
    """Whether the input stays there, so that the page may play it; else only its key frames are shown."""
    areas: GatheredAreas | None = None
    """The areas of interest, ended; None where none were given."""
    without_source: str = "The input is not there, so the untouched picture cannot be shown."
    """What is said where the source cannot be played for that."""

    @property
    def kind(self) -> str:
        """As `VideoInfo.kind`."""
        return str(_part(self.record, "input").get("kind") or "video")


def make_report(results: Results, *, page: Path) -> str:
    """The page that shows one video's results.

    Videos are shown from where they lie, by addresses relative to the page; all else stands in the page. It does not
    grow without bounds: curves have at most `vidsal.report.gather.CURVE_BUCKETS` points, and of more than
    `PICTURED_SHOTS` shots the longest ones have pictures. What cannot be decoded has no picture.

    Args:
        results: what is shown.
        page: where the page is to lie, NAME.vidsal.html.

    Raises:
        ConfigError: there is no frame.
    """
    if not results.gathered.shots:
        raise ConfigError(f"{results.name} has no frames: there is nothing to report")
    pictures = _Pictures(results)
    return make_page(
        title=f"{results.name} · vidsal",
        body=_body(results, page),
        styles=[asset("base.css"), asset("uPlot.min.css"), asset("report.css")],
        scripts=[f"/*\n{asset('uPlot.LICENSE.txt')}*/\n{asset('uPlot.iife.min.js')}", asset("report.js")],
        blocks=[_summary(results, pictures).as_block(), data_block("data", _data(results, pictures, page))],
    )


@dataclass(frozen=True)
class _Tile:
    """A part of a long shot on the timeline."""

    place: int
    """Of the shot."""
    begin_seconds: float
    end_seconds: float
    shown_seconds: float
    """When the frame is shown that stands for it."""


class _Pictures:
    """The pictures of the key frames, by place among the shots; and those between them in long shots."""

    def __init__(self, results: Results) -> None:
        shots = results.gathered.shots
        chosen = sorted(range(len(shots)), key=lambda place: (-shots[place].length_seconds, place))
        self.strongest = max(range(len(shots)), key=lambda place: (shots[place].attention_strength, -place))
        chosen = sorted({*chosen[:PICTURED_SHOTS], self.strongest})
        begin = results.gathered.times.first_seconds
        keys = [shots[place].key_seconds for place in chosen]
        self.heat = dict[int, bytes]()
        self.plain = dict[int, bytes]()
        if results.drawn is not None:
            made = small_pictures(results.drawn.now or results.drawn.path, [key - begin for key in keys])
            self.heat = _found(chosen, made)
        if results.source is not None:
            self.plain = _found(chosen, small_pictures(results.source, keys, decode=_reading(results)))
        self.tiles = _tiles(results.gathered)
        times = [tile.shown_seconds for tile in self.tiles]
        made = iter([None] * len(times))
        if self.plain and results.source is not None:
            made = small_pictures(results.source, times, decode=_reading(results))
        elif self.heat and results.drawn is not None:
            made = small_pictures(results.drawn.now or results.drawn.path, [time - begin for time in times])
        self.tile_pictures = list(made)


def _tiles(gathered: Gathered) -> list[_Tile]:
    """Where a long shot has room for more pictures than its key frame, which takes the tile that it lies in."""
    shots, starts = gathered.shots, gathered.curves.start_seconds
    # So that there are never more than that, whatever the times are.
    total = sum(shot.length_seconds for shot in shots)
    tiles = list[_Tile]()
    for place, shot in enumerate(shots):
        count = int(_TILES * shot.length_seconds / total + 1e-9) if total > 0 else 0
        for number in range(count if count > 1 else 0):
            begin, end = (shot.start_seconds + n * shot.length_seconds / count for n in (number, number + 1))
            inside = starts[(starts >= begin) & (starts < end)]
            if begin <= shot.key_seconds < end:
                tiles.append(_Tile(place, begin, end, shot.key_seconds))
            elif len(inside):
                middle = np.abs(inside - (begin + end) / 2).argmin()
                tiles.append(_Tile(place, begin, end, float(inside[middle])))
    return tiles


def _found(places: Sequence[int], pictures: Iterable[bytes | None]) -> dict[int, bytes]:
    return {place: picture for place, picture in zip(places, pictures, strict=True) if picture is not None}


def _reading(results: Results) -> DecodeOptions:
    """Which pictures of the source the run saw."""
    asked = _part(_part(results.record, "options"), "decode")
    known = {name: asked[name] for name in ("video_stream", "deinterlace") if name in asked}
    try:
        return DecodeOptions(**known)
    except (ConfigError, TypeError):
        return DecodeOptions()


def _summary(results: Results, pictures: _Pictures) -> Summary:
    shots, made_from = results.gathered.shots, _part(results.record, "input")
    strongest = shots[pictures.strongest]
    return Summary(
        name=results.name,
        kind=results.kind,
        frames=results.gathered.times.frames,
        length_seconds=max(0.0, shots[-1].end_seconds - shots[0].start_seconds),
        height=_size(made_from.get("height")),
        width=_size(made_from.get("width")),
        shots=len(shots),
        strongest_shot=strongest.shot,
        attention_strength=strongest.attention_strength,
        model=str(_part(results.record, "model").get("name") or ""),
        messages=len(_messages(results)),
        thumbnail=pictures.heat.get(pictures.strongest) or pictures.plain.get(pictures.strongest),
    )


def _data(results: Results, pictures: _Pictures, page: Path) -> dict[str, Any]:
    """What the script of the page works on."""
    gathered = results.gathered
    curves, places = gathered.curves, range(len(gathered.shots))
    pictured = {
        name: [picture_address(found[place]) if place in found else None for place in places]
        for name, found in (("heat", pictures.heat), ("plain", pictures.plain))
    }
    size = gathered.width, gathered.height
    shot_without = f"Only the {PICTURED_SHOTS} longest of the {len(places)} shots have pictures."
    return {
        "still": results.kind == "image",
        "frames": gathered.times.frames,
        "first_index": gathered.first_index,
        "times": gathered.times.packed(),
        "end": gathered.shots[-1].end_seconds,
        "size": size if all(size) else None,
        "shape": _shape(pictures),
        "media": _media(results, page),
        "columns": {name: [column.unit, column.meaning] for name, column in SHOT_COLUMNS.items()},
        "shots": [shot.as_row() for shot in gathered.shots],
        "pictures": {**pictured, "any": bool(pictures.heat or pictures.plain)},
        "tiles": [
            [tile.place, tile.begin_seconds, tile.end_seconds, picture_address(picture)]
            for tile, picture in zip(pictures.tiles, pictures.tile_pictures, strict=True)
            if picture is not None
        ],
        "no_picture": shot_without if pictures.heat or pictures.plain else "There are no pictures of the shots.",
        "areas": None if results.areas is None else area_curves(results.areas),
        "curves": {
            "stride": curves.stride,
            "start": curves.start_seconds.tolist(),
            "low": {name: _listed(values) for name, values in curves.low.items()},
            "high": {name: _listed(values) for name, values in curves.high.items()},
        },
    }


def _shape(pictures: _Pictures) -> float:
    """Width of the pictures over their height."""
    any_of_them = next(iter((pictures.plain or pictures.heat).values()), None)
    if any_of_them is None:
        return 1.0
    picture = cv2.imdecode(np.frombuffer(any_of_them, np.uint8), cv2.IMREAD_GRAYSCALE)
    return 1.0 if picture is None else picture.shape[1] / picture.shape[0]


def _listed(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _why_no_heat(record: Mapping[str, Any], what: str, page: Path) -> str:
    if not record:
        named = f"{page.name.removesuffix('.html')}.{'mp4' if what == 'video' else 'jpg'}"
        return f"No {what} with the heat lies beside the table, and no record says that one was made ({named})."
    made = record.get("results")
    listed = made if isinstance(made, list | tuple) else ()
    files = [one.get("file") for one in listed if isinstance(one, Mapping) and one.get("stage") in _HEAT]
    if files:
        return f"The {what} with the heat, {files[0]}, is not there any more."
    return f"No {what} with the heat was written (--no-video)."


_HEAT = ("video", "image")
"""Stages of a run whose results hold the heat."""


def _media(results: Results, page: Path) -> dict[str, Any]:
    """The two videos, or pictures, that can be switched between."""
    still, first = results.kind == "image", results.gathered.times.first_seconds
    media: dict[str, Any] = {
        "heat": {"href": None, "why": _why_no_heat(results.record, "picture" if still else "video", page)},
        "plain": {"href": None, "why": results.without_source},
    }
    if results.drawn is not None:
        # Its first frame is the first one of the table.
        facts = player_facts(results.drawn.now or results.drawn.path)
        media["heat"] = {
            "href": link_to(results.drawn.path, page=page),
            "file": results.drawn.path.name,
            "begin": first,
        }
        media["heat"] |= {"offset": facts.offset_seconds, "sound": facts.sound}
    if results.source is None or not results.source_stays:
        return media
    if results.source.is_dir():
        media["plain"]["why"] = "The input is a folder of pictures, which a browser cannot play."
    else:
        facts = player_facts(results.source, stream=_reading(results).video_stream)
        media["plain"] = {"href": link_to(results.source, page=page), "file": results.source.name, "begin": 0.0}
        media["plain"] |= {"offset": facts.offset_seconds, "sound": facts.sound}
    return media


# What stands in the page as it is.


def _body(results: Results, page: Path) -> str:
    made_by = str(_part(results.record, "model").get("name") or "")
    texts = {
        "name": escaped(results.name),
        "facts": escaped(" · ".join(_facts(results))),
        "player_title": "Picture" if results.kind == "image" else "Player",
        "messages": _notices(_messages(results)),
        "areas": "" if results.areas is None else area_section(results.areas, still=results.kind == "image"),
        "limits": _limits(results, made_by),
        "viewers": escaped(_viewers(of_drivers=_is_of_drivers(results))),
        "provenance": _provenance(results, page),
    }
    return string.Template(asset("report.html")).substitute(texts)


def _facts(results: Results) -> list[str]:
    gathered = results.gathered
    frames, shots = gathered.times.frames, len(gathered.shots)
    facts = []
    if results.kind != "image":
        length = gathered.shots[-1].end_seconds - gathered.shots[0].start_seconds
        facts = [_clock(length), _counted(frames, "frame"), _counted(shots, "shot")]
    if gathered.width and gathered.height:
        facts.append(f"{gathered.width}x{gathered.height} pixels")
    model = _part(results.record, "model")
    if model.get("name"):
        facts.append(f"predicted by {model['name']}")
    return facts


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}".replace(",", "\u202f")


def _clock(seconds: float) -> str:
    whole = round(max(0.0, seconds) * 100)
    hours, rest = divmod(whole, 360_000)
    minutes, rest = divmod(rest, 6000)
    text = f"{minutes}:{rest / 100:05.2f}"
    return f"{hours}:{text:0>8}" if hours else text


def _messages(results: Results) -> list[str]:
    found = results.record.get("messages")
    return [str(one) for one in found] if isinstance(found, list | tuple) else []


def _notices(messages: Sequence[str]) -> str:
    if not messages:
        return ""
    items = "".join(f"<li>{escaped(text)}</li>" for text in messages)
    said = _counted(len(messages), "notice")
    return f'<details class="note messages" open><summary>{said} of the run</summary><ul>{items}</ul></details>'


def _is_of_drivers(results: Results) -> bool:
    """Whether the model that made them predicts drivers' gaze; by its name where the record is older than its task."""
    model = _part(results.record, "model")
    return "driving" in (model.get("task"), named_task(str(model.get("name") or "")))


def _viewers(*, of_drivers: bool) -> str:
    """Whose gaze a model predicts, and what it knows nothing of."""
    if of_drivers:
        return (
            "It predicts where drivers look, for many drivers, not for one. Route, speed and traffic rules guide them "
            "too; the model knows none of these."
        )
    return (
        "It predicts free viewing by adults at a screen, for many viewers, not for one. Task, story, sound and culture "
        "guide viewers too; the model knows none of them."
    )


def _limits(results: Results, model: str) -> str:
    options = _part(results.record, "options")
    said = []
    made = results.record.get("results")
    stages = [one.get("stage") for one in made if isinstance(one, Mapping)] if isinstance(made, list | tuple) else []
    if "driving" in stages:
        text = (
            "The road ahead, left and right go by a vanishing point that is estimated from the picture, one for each "
        )
        said.append(f"{text}shot. Bends and turns are not followed, and nothing here is about safety.")
    if results.kind != "image":
        text = (
            "Shots are found by a detector. It can miss a cut between shots that look alike, or take very fast motion "
        )
        said.append(f"{text}for one.")
        if _part(options, "viewers").get("viewers", "off") != "off" and not _is_of_drivers(results):
            text = "After a cut gaze stays for a moment where it was, and so do the maps: in the first tenths of a "
            said.append(f"{text}second of a shot, numbers are those of the shot before.")
    if model == "sam-lite-driver":
        text = "This model was trained on 80 traffic pictures: draw no conclusions about the safety of drivers from it."
        said.append(text)
    counts = _part(results.record, "counts")
    frames, seen = counts.get("frames"), counts.get("seen_frames")
    if isinstance(frames, int) and isinstance(seen, int) and seen < frames:
        said.append(f"The model saw {seen:,} of {frames:,} frames; the maps between are interpolated in time.")
    return "\n".join(f"<li>{escaped(text)}</li>" for text in said)


def _provenance(results: Results, page: Path) -> str:
    record = results.record
    if not record:
        return "<p>There is no record of the run beside the results.</p>"
    model, made_from = _part(record, "model"), _part(record, "input")
    version = f"vidsal {record.get('vidsal', '')}"
    if record.get("commit"):
        version += f", commit {record['commit']}"
    size = made_from.get("bytes")
    weights = f"{model.get('name', '')}, {model.get('precision', '')} on {model.get('device', '')}"
    rows = {
        "Input": str(made_from.get("name") or results.name),
        "Kind": str(made_from.get("kind") or ""),
        "Bytes": "" if size is None else str(size),
        "Last changed": str(made_from.get("modified") or ""),
        "SHA-256 of a sample": str(made_from.get("sample_sha256") or ""),
        "Model": weights.strip(", "),
        "SHA-256 of the model": str(model.get("sha256") or ""),
        "Made with": version,
    }
    listed = "".join(f"<dt>{name}</dt><dd>{escaped(text)}</dd>" for name, text in rows.items() if text)
    return f'<dl class="made">{listed}</dl>{_files(record, page)}{_counts(record)}{_options(record)}'


def _files(record: Mapping[str, Any], page: Path) -> str:
    results = record.get("results")
    items = []
    for one in results if isinstance(results, list | tuple) else ():
        if isinstance(one, Mapping) and isinstance(one.get("file"), str) and one.get("stage") != "report":
            path = page.parent / one["file"]
            items.append(f'<li><a href="{escaped(link_to(path, page=page))}">{escaped(path.name)}</a></li>')
    return f"<h3>Files of this run</h3><ul>{''.join(items)}</ul>" if items else ""


def _counts(record: Mapping[str, Any]) -> str:
    counts = {
        name: value for name, value in _part(record, "counts").items() if name not in ("seconds", "video_seconds")
    }
    return f"<details><summary>Counts</summary>{_listing(counts)}</details>" if counts else ""


def _options(record: Mapping[str, Any]) -> str:
    stages = [(name, stage) for name, stage in _part(record, "options").items() if isinstance(stage, Mapping)]
    listed = "".join(f"<h3>{escaped(str(name))}</h3>{_listing(stage)}" for name, stage in stages)
    return f"<details><summary>All options</summary>{listed}</details>" if listed else ""


def _listing(values: Mapping[str, Any]) -> str:
    rows = (f"<dt>{escaped(str(name))}</dt><dd>{escaped(str(value))}</dd>" for name, value in values.items())
    return f'<dl class="options">{"".join(rows)}</dl>'


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a record, empty where there is none: the file may be of another version, or of another's making."""
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _size(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
