"""A file of boxes in, what has to stay inside the window at each frame out: vidsal's JSON, or CVAT's XML for video."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.errors import ConfigError, Setting
from vidsal.reframe.marginals import Axis

__all__ = ["Pin", "extent_of", "read_pins"]


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A box of the upright picture, in pixels, and when it has to stay inside the window."""

    x: float
    """Its left edge; 0 is the left edge of the picture."""
    y: float
    """Its upper edge; 0 is the upper edge of the picture."""
    width: float
    """Columns."""
    height: float
    """Rows."""
    start_seconds: float = -math.inf
    """From this presentation time on."""
    end_seconds: float = math.inf
    """Up to this presentation time, not included."""
    first_frame: int = 0
    """From this frame on, as the table's `index` counts."""
    last_frame: int | None = None
    """Up to this frame, included; None: to the end."""
    label: str = ""
    """What it is, for messages."""

    def is_shown(self, index: npt.NDArray[np.int64], pts_seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """(N,) at which frames it counts."""
        last = math.inf if self.last_frame is None else self.last_frame
        in_frames = (index >= self.first_frame) & (index <= last)
        return in_frames & (pts_seconds >= self.start_seconds - 1e-6) & (pts_seconds < self.end_seconds - 1e-6)


def extent_of(
    pins: Iterable[Pin],
    axis: Axis,
    index: npt.NDArray[np.int64],
    pts_seconds: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """From where to where the boxes of each frame reach along a side, in whole pixels.

    Returns:
        (N,) first pixel, infinite where a frame has no box; (N,) the pixel after the last, then minus infinite.
    """
    first, last = np.full(len(index), np.inf), np.full(len(index), -np.inf)
    for pin in pins:
        shown = pin.is_shown(index, pts_seconds)
        start, length = (pin.x, pin.width) if axis == "x" else (pin.y, pin.height)
        first[shown] = np.minimum(first[shown], math.floor(start + 1e-6))
        last[shown] = np.maximum(last[shown], math.ceil(start + length - 1e-6))
    return first, last


def read_pins(path: Path, *, width: int | None = None, height: int | None = None) -> list[Pin]:
    """The boxes of a file.

    A `.json` file is `{"boxes": [{"x": 40, "y": 20, "width": 300, "height": 80}, ...]}` in pixels of the upright
    picture. A box may have `start_seconds` and `end_seconds`, or `first_frame` and `last_frame`, and a `label`. An
    `.xml` file is CVAT's for video: each box of a track counts until the next one of it.

    Args:
        path: .json or .xml.
        width: columns of the upright picture; None: not known yet, so that boxes may lie anywhere.
        height: rows of it; as the width.

    Raises:
        ConfigError: the file cannot be read, is none of these, or a box lies outside the picture.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            Setting("pin", path), f" cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    try:
        if path.suffix.lower() == ".json":
            pins = _from_json(json.loads(text))
        elif path.suffix.lower() == ".xml":
            pins = _from_cvat(ElementTree.fromstring(text), width, height)
        else:
            raise ConfigError(Setting("pin", path), " must end in .json or .xml")
    except (ValueError, TypeError, KeyError, ElementTree.ParseError, RecursionError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(Setting("pin", path), f" is no list of boxes: {what}") from error
    if not pins:
        raise ConfigError(Setting("pin", path), " holds no boxes")
    for place, pin in enumerate(pins):
        _check(pin, f"{path}: box {place}" + (f" ({pin.label})" if pin.label else ""), width, height)
    return pins


_KEYS = ("x", "y", "width", "height", "start_seconds", "end_seconds", "first_frame", "last_frame", "label")


def _from_json(tree: Any) -> list[Pin]:
    if not isinstance(tree, Mapping) or not isinstance(tree.get("boxes"), Sequence) or isinstance(tree["boxes"], str):
        raise ValueError('expected {"boxes": [{"x": ..., "y": ..., "width": ..., "height": ...}, ...]}')
    return [_box(box, place) for place, box in enumerate(tree["boxes"])]


def _box(box: Any, place: int) -> Pin:
    if not isinstance(box, Mapping):
        raise ValueError(f"box {place} is {box!r}, expected a mapping")
    if unknown := sorted(set(box) - set(_KEYS)):
        raise ValueError(f"box {place} has {unknown[0]!r}; known are {', '.join(_KEYS)}")
    for name, value in box.items():
        if name == "label":
            fits = isinstance(value, str)
        elif name.endswith("_frame"):
            fits = isinstance(value, int) and not isinstance(value, bool)
        else:
            fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not fits:
            raise ValueError(f"{name} of box {place} is {value!r}")
    if missing := [name for name in _KEYS[:4] if name not in box]:
        raise ValueError(f"box {place} lacks {missing[0]}")
    return Pin(**box)


def _from_cvat(root: ElementTree.Element, width: int | None, height: int | None) -> list[Pin]:
    if root.tag != "annotations" or root.find("image") is not None:
        raise ValueError("it is not CVAT's form for video (annotations with tracks)")
    for size in root.iter("original_size"):
        found = int(size.findtext("width", "0")), int(size.findtext("height", "0"))
        if None not in (width, height) and found != (width, height):
            raise ValueError(f"its boxes are of pictures of {found[0]}x{found[1]}, the source has {width}x{height}")
    pins = []
    for track in root.iter("track"):
        boxes = sorted(track.iter("box"), key=lambda box: int(box.attrib["frame"]))
        frames = [int(box.attrib["frame"]) for box in boxes]
        for box, frame, following in zip(boxes, frames, [*frames[1:], None], strict=True):
            if box.get("outside") == "1":
                continue
            left, top, right, bottom = (float(box.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
            turned = math.radians(float(box.get("rotation", "0")))
            across, down = right - left, bottom - top
            wide = abs(across * math.cos(turned)) + abs(down * math.sin(turned))
            high = abs(across * math.sin(turned)) + abs(down * math.cos(turned))
            pins.append(
                Pin(
                    x=(left + right - wide) / 2,
                    y=(top + bottom - high) / 2,
                    width=wide,
                    height=high,
                    first_frame=frame,
                    last_frame=None if following is None else following - 1,
                    label=track.get("label", ""),
                )
            )
    return pins


def _check(pin: Pin, name: str, width: int | None, height: int | None) -> None:
    if not (pin.width > 0 and pin.height > 0):
        raise ConfigError(f"{name} has no extent: {pin.width:g}x{pin.height:g}")
    right, bottom = (math.inf if side is None else side + 1e-6 for side in (width, height))
    if pin.x < 0 or pin.y < 0 or pin.x + pin.width > right or pin.y + pin.height > bottom:
        edges = f"x {pin.x:g} to {pin.x + pin.width:g}, y {pin.y:g} to {pin.y + pin.height:g}"
        size = "" if width is None else f" of {width}x{height} pixels"
        raise ConfigError(f"{name} reaches outside the picture{size}: {edges}")
    last = math.inf if pin.last_frame is None else pin.last_frame
    if pin.start_seconds >= pin.end_seconds or pin.first_frame > last:
        raise ConfigError(f"{name} ends before it begins")
