"""A frame's display matrix in, the way it stands upright out: one of eight, `Orientation`."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

from vidsal.decode.contract import DecodeReport

__all__ = ["Orientation", "orientation_of", "side_data_of"]

_Pixel = TypeVar("_Pixel", bound=np.generic)


class Orientation(NamedTuple):
    """How a coded picture is brought upright: flipped top to bottom if `mirrored`, then turned.

    Example:
        >>> Orientation(rotation=90).upright(np.arange(6).reshape(2, 3, 1))[..., 0].tolist()
        [[2, 5], [1, 4], [0, 3]]
        >>> Orientation(rotation=180, mirrored=True).upright(np.arange(3).reshape(1, 3, 1)).ravel().tolist()
        [2, 1, 0]
    """

    rotation: int = 0
    """Degrees, counter-clockwise: 0, 90, 180 or 270."""
    mirrored: bool = False
    """Whether it is flipped before it is turned."""

    def upright(self, picture: npt.NDArray[_Pixel]) -> npt.NDArray[_Pixel]:
        """The coded picture, (h, w, channels), as it is shown; the array itself where nothing is to be done."""
        if self.mirrored:
            picture = picture[::-1]
        if self.rotation:
            picture = np.rot90(picture, self.rotation // 90)
        return np.ascontiguousarray(picture)

    def mirror(self, turned: npt.NDArray[_Pixel]) -> npt.NDArray[_Pixel]:
        """A picture that its decoder has turned, but not flipped, as it is shown."""
        if not self.mirrored:
            return turned
        return np.ascontiguousarray(turned[::-1] if self.rotation % 180 == 0 else turned[:, ::-1])


def side_data_of(frame: VideoFrame) -> SideDataContainer | None:
    """What comes with a frame; None where PyAV cannot list it, as some of it is of a kind that it does not know."""
    try:
        # Not `frame.side_data`: the frame would keep that, and that the frame, until the garbage is collected.
        return SideDataContainer(frame)  # type: ignore[call-arg]
    except ValueError:
        return None


def orientation_of(frame: VideoFrame, report: DecodeReport) -> Orientation:
    """What the frame's display matrix asks for; a matrix that is no multiple of 90 degrees is ignored, and reported."""
    rotation = int(frame.rotation) % 360
    if rotation % 90:
        report.say(f"the rotation of {rotation} degrees is ignored: only multiples of 90 can be shown")
        return Orientation()
    side_data = side_data_of(frame)
    if side_data is None and rotation:
        report.say(f"the picture is turned by {rotation} degrees; whether it is mirrored too cannot be read")
    matrix: Any = None if side_data is None else side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return Orientation(rotation)
    # Rows of (a, b, u), (c, d, v), (x, y, w): the coded point (p, q) is shown at (a p + c q, b p + d q).
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    return Orientation(rotation, mirrored=a * d < b * c)
