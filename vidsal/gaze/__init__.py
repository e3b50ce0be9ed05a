"""Recorded gaze: files of eye trackers in, one table on the clock and in the pixels of the video out."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.gaze.importing import Imported, import_gaze
    from vidsal.gaze.options import GazeOptions
    from vidsal.gaze.study import Study, measure_study, pool_studies, write_study
    from vidsal.gaze.table import GAZE_COLUMNS, Gaze, GazeRow, read_gaze, write_gaze

__all__ = [
    "GAZE_COLUMNS",
    "Gaze",
    "GazeOptions",
    "GazeRow",
    "Imported",
    "Study",
    "import_gaze",
    "measure_study",
    "pool_studies",
    "read_gaze",
    "write_gaze",
    "write_study",
]

__getattr__, __dir__ = lazy(__name__, __all__, "options", "table", "importing", "study")
