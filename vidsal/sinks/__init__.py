"""`SaliencyBatch`es come in, files go out: the overlaid video, the maps, the table, a picture."""

from __future__ import annotations

from vidsal.sinks.contract import FileSink, Sink
from vidsal.sinks.image import ImageSink
from vidsal.sinks.maps import MAPS_FULL_SCALE, MapsSink
from vidsal.sinks.tables import TableSink
from vidsal.sinks.video import VideoOptions, VideoSink

__all__ = ["MAPS_FULL_SCALE", "FileSink", "ImageSink", "MapsSink", "Sink", "TableSink", "VideoOptions", "VideoSink"]
