"""A video and the gaze recorded on it: all its viewers drawn over it, and how well gaze fits what is predicted."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.viewing.checking import check_gaze
    from vidsal.viewing.draw import GazeDrawn, draw_gaze
    from vidsal.viewing.options import CheckGazeOptions, DrawGazeOptions
    from vidsal.viewing.variants import GazeVariants

__all__ = ["CheckGazeOptions", "DrawGazeOptions", "GazeDrawn", "GazeVariants", "check_gaze", "draw_gaze"]

__getattr__, __dir__ = lazy(__name__, __all__, "options", "variants", "draw", "checking")
