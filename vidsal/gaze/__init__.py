"""Recorded gaze: files of eye trackers in, one table on the clock and in the pixels of the video out."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.gaze.importing import Imported, import_gaze
    from vidsal.gaze.options import GazeOptions
    from vidsal.gaze.table import GAZE_COLUMNS, Gaze, GazeRow, read_gaze, write_gaze

__all__ = ["GAZE_COLUMNS", "Gaze", "GazeOptions", "GazeRow", "Imported", "import_gaze", "read_gaze", "write_gaze"]

__getattr__, __dir__ = lazy(__name__, __all__, "options", "table", "importing")
