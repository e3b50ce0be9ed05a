"""Numbers of frames come in, piece by piece; what a report shows goes out: shots, curves, the time of each frame.

What is kept does not grow with the length of a video, but for a few bits a frame, and its shots.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vidsal.exports.contract import Columns, Footage
from vidsal.exports.shots import SHOT_SOURCES, ShotNumbers, shot_list

__all__ = ["CURVES", "CURVE_BUCKETS", "Curves", "FrameTimes", "Gathered"]

_Floats = npt.NDArray[np.float64]

CURVES = ("peak_density", "coverage", "entropy_share", "region1_mass", "region2_mass", "region3_mass")
"""The columns of the table that are drawn."""

CURVE_BUCKETS = 4096
"""Most points of a curve: those of a longer video stand for 2, 4, 8, ... frames each."""


class Curves:
    """Columns of the table in few points, each with the lowest and the highest value of its frames.

    The points do not depend on how the frames are grouped.

    Example:
        >>> curves = Curves(("coverage",), buckets=2)
        >>> for values in ([0.1, 0.2, 0.3], [0.4, 0.5]):
        ...     curves.update({"pts_seconds": [0.0] * len(values), "coverage": values})
        >>> curves.stride, curves.low["coverage"].tolist(), curves.high["coverage"].tolist()
        (4, [0.1, 0.5], [0.4, 0.5])
    """

    def __init__(self, names: Sequence[str] = CURVES, *, buckets: int = CURVE_BUCKETS) -> None:
        self.names = tuple(names)
        self.stride = 1
        """Frames a point; the last one may have fewer."""
        self._buckets = buckets
        self._frames = 0
        # By point: the time of its first frame, the lowest values, the highest values.
        self._points: tuple[_Floats, _Floats, _Floats] = (
            *(np.empty(0), np.empty((0, len(self.names))), np.empty((0, len(self.names)))),
        )

    def update(self, columns: Mapping[str, npt.ArrayLike]) -> None:
        """Takes the next frames: `pts_seconds` and the columns, (N,) each; what a frame lacks is not a number."""
        seconds = np.asarray(columns["pts_seconds"], np.float64)
        if not len(seconds):
            return
        values = np.stack([np.asarray(columns[name], np.float64) for name in self.names], axis=1)
        ordinals = np.arange(self._frames, self._frames + len(seconds)) // self.stride
        starts = np.flatnonzero(np.diff(ordinals, prepend=ordinals[0] - 1))
        new = seconds[starts], np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
        begun, low, high = self._points
        if len(begun) and ordinals[0] == len(begun) - 1:
            new[1][0], new[2][0] = np.fmin(new[1][0], low[-1]), np.fmax(new[2][0], high[-1])
            new[0][0] = begun[-1]
            begun, low, high = begun[:-1], low[:-1], high[:-1]
        self._points = (*(np.concatenate([old, more]) for old, more in zip((begun, low, high), new, strict=True)),)  # type: ignore[assignment]
        self._frames += len(seconds)
        while len(self._points[0]) > self._buckets:
            begun, low, high = self._points
            pairs = np.arange(0, len(begun), 2)
            self._points = begun[::2], np.fmin.reduceat(low, pairs), np.fmax.reduceat(high, pairs)
            self.stride *= 2

    @property
    def start_seconds(self) -> _Floats:
        """(P,) the time of each point's first frame."""
        return self._points[0]

    @property
    def low(self) -> dict[str, _Floats]:
        """(P,) each: the lowest value of a point's frames; not a number where none has one."""
        return {name: self._points[1][:, place] for place, name in enumerate(self.names)}

    @property
    def high(self) -> dict[str, _Floats]:
        """(P,) each: the highest value."""
        return {name: self._points[2][:, place] for place, name in enumerate(self.names)}


class FrameTimes:
    """The presentation time of every frame to the microsecond, packed: a steady rate takes next to nothing."""

    def __init__(self) -> None:
        self.frames = 0
        self.first_seconds = 0.0
        """Of the first frame."""
        self._packer = zlib.compressobj(9)
        self._packed = [b""]
        self._last = 0

    def update(self, seconds: npt.ArrayLike) -> None:
        """Takes the times of the next frames, (N,)."""
        times = np.rint(np.asarray(seconds, np.float64) * 1e6).astype(np.int64)
        if not len(times):
            return
        if not self.frames:
            self.first_seconds = float(np.asarray(seconds, np.float64)[0])
        self.frames += len(times)
        steps = np.diff(times, prepend=self._last)
        self._last = int(times[-1])
        self._packed.append(self._packer.compress(steps.astype("<f8").tobytes()))

    def packed(self) -> str:
        """Base64 of the zlib stream of the steps from one time to the next in microseconds, as little-endian doubles.

        The first step is from 0. Nothing can be added afterwards.
        """
        self._packed.append(self._packer.flush())
        return base64.b64encode(b"".join(self._packed)).decode()


class Gathered:
    """What a report shows of the frames of one video.

    Args:
        footage: what is known of the source.
    """

    sources = tuple(dict.fromkeys((*SHOT_SOURCES, *CURVES)))
    """The columns of `vidsal.tracks.FrameNumbers` that are read."""

    def __init__(self, footage: Footage) -> None:
        self.height, self.width = footage.height, footage.width
        self.shots: list[ShotNumbers] = []
        self.curves = Curves()
        self.times = FrameTimes()
        self.first_index = 0
        """Ordinal of the first frame."""
        self._list = shot_list(footage)

    def update(self, columns: Columns) -> None:
        """Takes the next frames: the columns `Gathered.sources` of the table.

        Raises:
            ValueError: a number is not finite.
        """
        if not self.times.frames and len(columns["index"]):
            self.first_index = int(columns["index"][0])
        self.shots += self._list.update(columns)
        self.curves.update(columns)
        self.times.update(columns["pts_seconds"])

    def finish(self) -> None:
        """Ends the source: the last shot is whole."""
        self.shots += self._list.flush()
