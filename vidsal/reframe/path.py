"""Marginals, a window and pinned boxes in, where the window is at each frame out: as arrays, rows of a table, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.frames import SaliencyBatch
from vidsal.reframe.camera import durations_of, plan
from vidsal.reframe.marginals import Marginals, kept_share
from vidsal.reframe.options import CameraOptions
from vidsal.reframe.pins import Pin, extent_of
from vidsal.reframe.window import Window

__all__ = ["FramePlace", "PathRows", "PathShot", "WindowPath", "as_json", "find_path", "slid"]

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FramePlace:
    """Where the window is at one frame: one row of the table, one field a column."""

    index: int
    """Ordinal of the frame as decoded, from 0."""
    pts_seconds: float
    """Presentation time; the first frame of the source is 0."""
    shot: int
    """Ordinal of the shot, from 0."""
    x: float
    """Left edge of the window in pixels of the upright picture, 0 the left edge of the picture."""
    y: float
    """Upper edge of the window in pixels of the upright picture, 0 the upper edge of the picture."""
    width: int
    """Columns of the window."""
    height: int
    """Rows of the window."""
    kept_share: float
    """Share of the predicted density inside the window, 0 to 1."""


@dataclass(frozen=True)
class PathShot:
    """What the camera does in one shot."""

    shot: int
    """Ordinal, from 0."""
    first_index: int
    """Ordinal of its first frame."""
    last_index: int
    """Ordinal of its last frame."""
    start_seconds: float
    """Time of its first frame."""
    end_seconds: float
    """Time of its last frame."""
    moves: bool
    """Whether the camera moves."""
    kept_share: float
    """Mean share of the density inside the window, over time."""
    centre_share: float
    """The same of a window in the middle of the picture that stands."""
    padded: bool
    """Whether the window is longer than its aspect for the sake of pinned boxes."""


@dataclass(frozen=True, eq=False)
class WindowPath:
    """Where the window of one aspect is at each frame."""

    window: Window
    """What is cut out."""
    index: npt.NDArray[np.int64]
    """(N,) as in `FrameBatch`."""
    pts_seconds: _Floats
    """(N,) as in `FrameBatch`."""
    shot: npt.NDArray[np.int64]
    """(N,) ordinal of the shot."""
    x: _Floats
    """(N,) left edge, in pixels of the upright picture; whole while the camera stands for a shot."""
    y: _Floats
    """(N,) upper edge."""
    width: npt.NDArray[np.int64]
    """(N,) columns; the same throughout a shot."""
    height: npt.NDArray[np.int64]
    """(N,) rows."""
    kept: _Floats
    """(N,) share of the density inside the window."""
    shots: tuple[PathShot, ...]
    """What the camera does in each."""
    messages: tuple[str, ...] = ()
    """Sentences for a person."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def kept_share(self) -> float:
        """Mean share of the density inside the window, over time."""
        return _mean([(one.kept_share, one) for one in self.shots])

    @property
    def centre_share(self) -> float:
        """The same of a window in the middle of the picture that stands."""
        return _mean([(one.centre_share, one) for one in self.shots])

    def row(self, place: int) -> FramePlace:
        """The row of the table for the frame at a place."""
        return FramePlace(
            index=int(self.index[place]),
            pts_seconds=float(self.pts_seconds[place]),
            shot=int(self.shot[place]),
            x=float(self.x[place]),
            y=float(self.y[place]),
            width=int(self.width[place]),
            height=int(self.height[place]),
            kept_share=float(self.kept[place]),
        )

    def place_of(self, index: int) -> int:
        """Where the frame of an ordinal stands in the arrays.

        Raises:
            KeyError: there is none.
        """
        place = int(np.searchsorted(self.index, index))
        if place == len(self.index) or self.index[place] != index:
            raise KeyError(index)
        return place


def _mean(values: Sequence[tuple[float, PathShot]]) -> float:
    lengths = [max(one.end_seconds - one.start_seconds, 1e-6) for _, one in values]
    return sum(value * length for (value, _), length in zip(values, lengths, strict=True)) / sum(lengths)


def find_path(
    marginals: Marginals,
    window: Window,
    *,
    camera: CameraOptions,
    pins: Sequence[Pin] = (),
    pad: bool = True,
) -> WindowPath:
    """The path of a window through all shots of a source.

    Args:
        marginals: the densities along the window's side.
        window: what is cut out.
        camera: how it moves.
        pins: boxes that have to stay inside.
        pad: whether the window of a shot is made longer where the boxes do not fit; else they are cut off.
    """
    start = np.zeros(len(marginals))
    length = np.full(len(marginals), window.length, np.int64)
    cumulative = marginals.cumulative[window.axis]
    first, last = extent_of(pins, window.axis, marginals.index, marginals.pts_seconds)
    usable = _usable(window)
    # A row or a column at the border may be one too many for an even size.
    first, last = np.where(np.isfinite(first), np.minimum(first, usable - 1), first), np.minimum(last, usable)
    shots, cut_off = [], 0
    for rows in marginals.shots():
        places, size, missed = _one_shot(
            cumulative[rows], marginals.pts_seconds[rows], window, camera, (first[rows], last[rows]), pad
        )
        start[rows], length[rows] = places, size
        cut_off += missed > _SEEN_PIXELS
        weights = durations_of(marginals.pts_seconds[rows])
        kept, centred = (
            float(weights @ kept_share(cumulative[rows], begin / window.side, extent / window.side) / weights.sum())
            for begin, extent in ((places, size), ((window.side - window.length) / 2, window.length))
        )
        shots.append(
            PathShot(
                shot=int(marginals.shot[rows][0]),
                first_index=int(marginals.index[rows][0]),
                last_index=int(marginals.index[rows][-1]),
                start_seconds=float(marginals.pts_seconds[rows][0]),
                end_seconds=float(marginals.pts_seconds[rows][-1]),
                moves=bool(np.ptp(places) > 0),
                kept_share=kept,
                centre_share=centred,
                padded=size > window.length,
            )
        )
    messages = []
    if padded := sum(one.padded for one in shots):
        messages.append(f"in {padded} of {len(shots)} shots the pinned boxes do not fit into {_named(window)}: padded")
    if cut_off:
        messages.append(f"in {cut_off} of {len(shots)} shots pinned boxes do not fit into {_named(window)}: cut off")
    still = np.zeros(len(marginals))
    across = window.axis == "x"
    other = np.full(len(marginals), window.height if across else window.width, np.int64)
    return WindowPath(
        window=window,
        index=marginals.index,
        pts_seconds=marginals.pts_seconds,
        shot=marginals.shot,
        x=start if across else still,
        y=still if across else start,
        width=length if across else other,
        height=other if across else length,
        kept=kept_share(cumulative, start / window.side, length / window.side),
        shots=tuple(shots),
        messages=tuple(messages),
    )


_SEEN_PIXELS = 0.01
"""By less a box may stick out."""


def _named(window: Window) -> str:
    return window.name.replace("x", ":")


def _usable(window: Window) -> int:
    """The pixels of the side that an even window can reach."""
    return window.side // 2 * 2


def _one_shot(
    cumulative: npt.NDArray[np.uint16],
    pts_seconds: _Floats,
    window: Window,
    camera: CameraOptions,
    pinned: tuple[_Floats, _Floats],
    pad: bool,
) -> tuple[_Floats, int, float]:
    """Places, length of the window, and by how many pixels a box is cut off at most."""
    first, last = pinned
    has_box = np.isfinite(first)
    if not has_box.any():
        places, _ = plan(cumulative, pts_seconds, pixels=window.side, window=window.length, options=camera)
        return places, window.length, 0.0
    most = float((last - first)[has_box].max())
    hull = float(last[has_box].max() - first[has_box].min())
    # As long as one frame needs; and where the camera cannot get from box to box in time, as all of the shot need.
    needed = [window.length, *([_even_up(most, window), _even_up(hull, window)] if pad else [])]
    for size in sorted({max(one, window.length) for one in needed}):
        if pad and size < most:
            continue
        low = np.where(has_box, last - size, 0.0)
        high = np.where(has_box, first, float(window.side - size))
        # What is longer than the window fills it.
        low, high = np.minimum(low, high), np.where(has_box, np.maximum(low, high), high)
        places, missed = plan(
            cumulative, pts_seconds, pixels=window.side, window=size, options=camera, low=low, high=high
        )
        if missed <= _SEEN_PIXELS:
            break
    return places, size, max(missed, 0.0 if pad else most - window.length)


def _even_up(length: float, window: Window) -> int:
    return min(2 * math.ceil(length / 2), _usable(window))


class PathRows:
    """A `ColumnSource` that gives a table the rows of a path."""

    row = FramePlace

    def __init__(self, path: WindowPath) -> None:
        self._path = path

    def update(self, batch: SaliencyBatch) -> list[FramePlace]:
        """The rows of the next frames."""
        return [self._path.row(self._path.place_of(index)) for index in batch.index.tolist()]


def as_json(path: WindowPath, *, source: str, provenance: str = "") -> str:
    """The path with its shots, as JSON.

    Args:
        path: the path.
        source: name of the video.
        provenance: how it came about, as JSON.
    """
    window = path.window
    values: dict[str, Any] = {
        "format": "vidsal-window-path-1",
        "source": source,
        "aspect": window.name.replace("x", ":"),
        "picture": {"width": window.picture_width, "height": window.picture_height},
        "window": {"width": window.width, "height": window.height, "slides_along": window.axis},
        "result": {
            "width": window.result_width,
            "height": window.result_height,
            "sample_aspect_ratio": str(window.sample_aspect_ratio),
        },
        "kept_share": round(path.kept_share, 6),
        "centre_share": round(path.centre_share, 6),
        "shots": [_rounded(vars(one)) for one in path.shots],
        "messages": list(path.messages),
        "provenance": json.loads(provenance) if provenance else None,
    }
    rows = (json.dumps(_rounded(vars(path.row(place)))) for place in range(len(path)))
    head = json.dumps(values, indent=1)[: -len("\n}")]
    return head + ',\n "frames": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n"


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Microseconds, and far below a thousandth of a pixel."""
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()}


def slid(path: WindowPath) -> _Floats:
    """(N,) where the window begins along its side."""
    return path.x if path.window.axis == "x" else path.y
