"""Areas of interest that may move in, the share of a density or of recorded gaze in each of them out."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.aois.areas import Aoi, Aois, Key, Moment, Part
    from vidsal.aois.coverage import Coverage
    from vidsal.aois.predicted import AOI_COLUMNS, AOI_SUMMARY_COLUMNS, AoiFrame, AoiSum, AoiSums, AoiTracker
    from vidsal.aois.read import read_aois

__all__ = [
    "AOI_COLUMNS",
    "AOI_SUMMARY_COLUMNS",
    "Aoi",
    "AoiFrame",
    "AoiSum",
    "AoiSums",
    "AoiTracker",
    "Aois",
    "Coverage",
    "Key",
    "Moment",
    "Part",
    "read_aois",
]

__getattr__, __dir__ = lazy(__name__, __all__, "areas", "coverage", "read", "predicted")
