"""A file of areas of interest in, `Aois` out: vidsal's own JSON, CVAT for video XML, or Label Studio's JSON."""

from __future__ import annotations

import itertools
import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vidsal.aois.areas import Aoi, Aois, Key, Part
from vidsal.errors import DatasetError

__all__ = ["FORMAT", "read_aois"]

FORMAT = "vidsal-aois-1"
"""What the own form calls itself."""

_Points = npt.NDArray[np.float64]
_AOI_KEYS = ("name", "priority", "start_seconds", "end_seconds", "shots", "keyframes", "polygon", "box")
_KEY_KEYS = ("seconds", "frame", "polygon", "box", "absent", "hold")


def read_aois(path: str | Path, *, height: int, width: int) -> Aois:
    """Reads areas of interest of a video.

    Args:
        path: .json or .xml.
        height: rows of the video's upright picture.
        width: columns of it; what a file says of another size is scaled.

    Raises:
        DatasetError: it cannot be read, or says something that cannot be; the message names area and key.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no text in UTF-8: {error.reason}") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    found = _of_xml(path, text, height, width) if text.lstrip().startswith("<") else _of_json(path, text, height, width)
    if not found:
        raise DatasetError(f"{path}: no area is in it")
    names = [aoi.name for aoi in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(
            f"{path}: two areas are called {twice!r}; give one several keyframes or parts, or another name"
        )
    return Aois(tuple(found))


# The own form.


def _of_json(path: Path, text: str, height: int, width: int) -> list[Aoi]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DatasetError(f"{path} is no JSON: {error}") from error
    if isinstance(content, Mapping) and content.get("format") == FORMAT:
        return _own(path, content, height, width)
    tasks = content if isinstance(content, list) else [content]
    if all(isinstance(task, Mapping) and ("annotations" in task or "predictions" in task) for task in tasks) and tasks:
        return _label_studio(path, tasks, height, width)
    raise DatasetError(
        f'{path}: neither areas of vidsal ("format": "{FORMAT}") nor an export of Label Studio (a list of tasks with '
        "annotations)"
    )


def _own(path: Path, content: Mapping[str, Any], height: int, width: int) -> list[Aoi]:
    _only(path, "the file", content, ("format", "size", "units", "about", "aois"))
    units = content.get("units", "pixel")
    if units not in ("pixel", "share"):
        raise DatasetError(f"{path}: units must be pixel or share, got {units!r}")
    scale = np.array([width, height], np.float64)
    if units == "pixel":
        size = content.get("size", [width, height])
        if not _are_numbers(size, 2) or min(size) <= 0:
            raise DatasetError(f"{path}: size must be [width, height] in pixels, got {size!r}")
        scale = scale / np.array(size, np.float64)
    listed = content.get("aois")
    if not isinstance(listed, list):
        raise DatasetError(f"{path}: aois must be a list")
    return [_own_aoi(path, number, each, scale) for number, each in enumerate(listed)]


def _own_aoi(path: Path, number: int, given: Any, scale: _Points) -> Aoi:
    where = f"area {number + 1}"
    if not isinstance(given, Mapping):
        raise DatasetError(f"{path}: {where} must be an object, got {given!r}")
    name = given.get("name")
    if not isinstance(name, str) or not name.strip():
        raise DatasetError(f"{path}: {where} has no name")
    where = f"area {name!r}"
    _only(path, where, given, (*_AOI_KEYS, "parts"))
    numbers = {key: given[key] for key in ("priority", "start_seconds", "end_seconds") if given.get(key) is not None}
    for key, value in numbers.items():
        if not _is_number(value):
            raise DatasetError(f"{path}: {key} of {where} must be a number, got {value!r}")
    if numbers.get("end_seconds", math.inf) <= numbers.get("start_seconds", -math.inf):
        raise DatasetError(f"{path}: {where} ends before it starts")
    shots = given.get("shots")
    if shots is not None and not (isinstance(shots, list) and all(isinstance(one, int) and one >= 0 for one in shots)):
        raise DatasetError(f"{path}: shots of {where} must be a list of ordinals from 0, got {shots!r}")
    parts = given.get("parts", [given])
    if not isinstance(parts, list) or not parts or not all(isinstance(part, Mapping) for part in parts):
        raise DatasetError(f"{path}: parts of {where} must be a list of objects")
    return Aoi(
        name.strip(),
        tuple(_own_part(path, where, part, scale) for part in parts),
        priority=float(numbers.get("priority", 0)),
        start_seconds=numbers.get("start_seconds"),
        end_seconds=numbers.get("end_seconds"),
        shots=None if shots is None else frozenset(shots),
    )


def _own_part(path: Path, where: str, given: Mapping[str, Any], scale: _Points) -> Part:
    if "keyframes" not in given:
        return Part("seconds", (Key(0.0, _corners(path, where, given, scale)),))
    frames = given["keyframes"]
    if not isinstance(frames, list) or not frames or not all(isinstance(one, Mapping) for one in frames):
        raise DatasetError(f"{path}: keyframes of {where} must be a list of objects")
    clocks = {"seconds" if "seconds" in one else "frame" if "frame" in one else "" for one in frames}
    if len(clocks) > 1 or "" in clocks:
        raise DatasetError(f"{path}: every keyframe of {where} must have seconds, or every one a frame")
    clock: Literal["seconds", "frames"] = "seconds" if clocks == {"seconds"} else "frames"
    keys = []
    for one in frames:
        at = one["seconds" if clock == "seconds" else "frame"]
        if not _is_number(at):
            raise DatasetError(f"{path}: {where} has a keyframe at {at!r}, which is no number")
        here = f"{where} at {at:g}"
        _only(path, here, one, _KEY_KEYS)
        points = None if one.get("absent") else _corners(path, here, one, scale)
        keys.append(Key(float(at), points, bool(one.get("hold", False))))
    return Part(clock, _in_order(path, where, keys))


def _in_order(path: Path, where: str, keys: list[Key]) -> tuple[Key, ...]:
    made = sorted(keys, key=lambda key: key.at)
    for before, after in itertools.pairwise(made):
        if before.at == after.at:
            raise DatasetError(f"{path}: {where} has two keyframes at {before.at:g}")
    return tuple(made)


def _corners(path: Path, where: str, given: Mapping[str, Any], scale: _Points) -> _Points:
    polygon, box = given.get("polygon"), given.get("box")
    if (polygon is None) == (box is None):
        raise DatasetError(f"{path}: {where} must have a polygon or a box")
    if box is not None:
        if not _are_numbers(box, 4) or min(box[2:]) <= 0:
            raise DatasetError(f"{path}: the box of {where} must be [x, y, width, height], got {box!r}")
        x, y, across, down = box
        return _box(x, y, x + across, y + down) * scale
    if not isinstance(polygon, list) or len(polygon) < 3 or not all(_are_numbers(point, 2) for point in polygon):
        raise DatasetError(f"{path}: the polygon of {where} must be a list of at least 3 points [x, y]")
    return _checked(path, where, np.array(polygon, np.float64) * scale)


def _checked(path: Path, where: str, points: _Points) -> _Points:
    x, y = points.T
    area = abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2
    if area <= 1e-9:
        raise DatasetError(f"{path}: the polygon of {where} has no area")
    from vidsal.aois.areas import load_shapely

    shapely = load_shapely()
    if not shapely.is_valid(shapely.polygons(points)):
        raise DatasetError(f"{path}: the polygon of {where} crosses itself")
    return points


def _box(left: float, top: float, right: float, bottom: float) -> _Points:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def _only(path: Path, where: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = [key for key in given if key not in known]
    if unknown:
        raise DatasetError(f"{path}: {where} has {unknown[0]!r}; known are {', '.join(known)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_numbers(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(_is_number(one) for one in values)


# CVAT for video 1.1: tracks of boxes and polygons by frame.


def _of_xml(path: Path, text: str, height: int, width: int) -> list[Aoi]:
    if re.search(r"<!(DOCTYPE|ENTITY)", text):
        raise DatasetError(f"{path}: an .xml with a document type is not read")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise DatasetError(f"{path} is no XML: {error}") from error
    tracks = root.findall("track")
    if root.tag != "annotations" or not tracks:
        raise DatasetError(f"{path}: no tracks of CVAT for video 1.1; export the task in that format")
    size = [root.findtext(f".//original_size/{side}") for side in ("width", "height")]
    scale = np.ones(2)
    if all(size):
        scale = np.array([width, height], np.float64) / np.array([float(one or 1) for one in size])
    parts: dict[str, list[Part]] = {}
    priorities: dict[str, float] = {}
    for track in tracks:
        label = track.get("label", "")
        keys = []
        for shape in track:
            if shape.tag not in ("box", "polygon"):
                raise DatasetError(
                    f"{path}: track {track.get('id')} ({label}) is a {shape.tag}; areas are boxes or polygons"
                )
            at = float(shape.get("frame", "nan"))
            where = f"track {track.get('id')} ({label}) at frame {at:g}"
            priorities[label] = max(priorities.get(label, -math.inf), float(shape.get("z_order", "0")))
            if shape.get("outside") == "1":
                keys.append(Key(at, None))
                continue
            try:
                if shape.tag == "box":
                    points = _box(*(float(shape.get(side, "nan")) for side in ("xtl", "ytl", "xbr", "ybr")))
                else:
                    pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
                    points = np.array([[float(x), float(y)] for x, y in pairs], np.float64)
            except ValueError as error:
                raise DatasetError(f"{path}: {where} has no corners that are numbers") from error
            if not np.isfinite(points).all() or not math.isfinite(at) or len(points) < 3:
                raise DatasetError(f"{path}: {where} has no corners that are numbers")
            keys.append(Key(at, _checked(path, where, points * scale)))
        if not keys:
            continue
        # Alone, a key would stand for all times.
        if len(keys) == 1:
            keys.append(Key(keys[0].at + 1, None))
        parts.setdefault(label or "area", []).append(Part("frames", _in_order(path, f"track {track.get('id')}", keys)))
    return [Aoi(name, tuple(made), priority=priorities.get(name, 0.0)) for name, made in parts.items()]


# Label Studio: video rectangles, in percent, frames from 1.


def _label_studio(path: Path, tasks: Sequence[Mapping[str, Any]], height: int, width: int) -> list[Aoi]:
    if len(tasks) > 1:
        raise DatasetError(f"{path}: {len(tasks)} tasks; export the one of this video alone")
    made = tasks[0].get("annotations") or tasks[0].get("predictions") or []
    results = made[0].get("result", []) if made and isinstance(made[0], Mapping) else []
    parts: dict[str, list[Part]] = {}
    for result in results:
        if not isinstance(result, Mapping) or result.get("type") not in ("videorectangle", "labels"):
            continue
        value = result.get("value", {})
        sequence = value.get("sequence")
        if not sequence:
            continue
        name = (value.get("labels") or [str(result.get("id", "area"))])[0]
        keys = []
        for one in sequence:
            where = f"{name!r} at frame {one.get('frame')}"
            numbers = [one.get(key) for key in ("frame", "x", "y", "width", "height")]
            if not _are_numbers(numbers, 5):
                raise DatasetError(f"{path}: {where} lacks frame, x, y, width or height")
            frame, x, y, across, down = (float(number) for number in numbers)
            corners = _box(x, y, x + across, y + down) * np.array([width, height]) / 100
            corners = _turned(corners, float(one.get("rotation", 0) or 0))
            keys.append(Key(frame - 1, corners, holds=False))
            if not one.get("enabled", True):
                # The object ends with this frame.
                keys.append(Key(frame, None))
        if len(keys) == 1:
            keys.append(Key(math.inf, keys[0].points))
        kept = {key.at: key for key in keys}  # a later key at the same frame begins it again
        parts.setdefault(name, []).append(Part("frames", tuple(kept[at] for at in sorted(kept))))
    return [Aoi(name, tuple(each)) for name, each in parts.items()]


def _turned(corners: _Points, degrees: float) -> _Points:
    """Turned clockwise around its first corner, as Label Studio has it."""
    if not degrees:
        return corners
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    moved: _Points = (corners - corners[0]) @ turn + corners[0]
    return moved
