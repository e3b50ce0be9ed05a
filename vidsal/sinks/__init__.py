"""`SaliencyBatch`es come in, files go out: the overlaid video, the maps, the table, exports, a picture."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.sinks.aois import AoiSink, AoiSumSink
    from vidsal.sinks.contract import FileSink, Sink
    from vidsal.sinks.exports import ExportSink
    from vidsal.sinks.image import ImageSink
    from vidsal.sinks.maps import MAPS_FULL_SCALE, MapsSink
    from vidsal.sinks.options import VideoOptions
    from vidsal.sinks.overlay import OverlaySink
    from vidsal.sinks.tables import TableSink
    from vidsal.sinks.video import VideoSink

__all__ = [
    "MAPS_FULL_SCALE",
    "AoiSink",
    "AoiSumSink",
    "ExportSink",
    "FileSink",
    "ImageSink",
    "MapsSink",
    "OverlaySink",
    "Sink",
    "TableSink",
    "VideoOptions",
    "VideoSink",
]

_FILES = ("options", "contract", "image", "maps", "exports", "tables", "video", "overlay", "aois")
__getattr__, __dir__ = lazy(__name__, __all__, *_FILES)
