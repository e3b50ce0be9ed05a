"""A video and where people look in it come in, the video in other aspects goes out, with the path of its window."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.reframe.options import CameraOptions, ReframeOptions, ReframeOutputOptions, WindowOptions
    from vidsal.reframe.run import ReframeProgress, ReframeReport, reframe

__all__ = [
    "CameraOptions",
    "ReframeOptions",
    "ReframeOutputOptions",
    "ReframeProgress",
    "ReframeReport",
    "WindowOptions",
    "reframe",
]

__getattr__, __dir__ = lazy(__name__, __all__, "options", "run")
