"""Predict where people look in video: a source of pictures in, densities of gaze out.

The names below are loaded on first use, so that `import vidsal` and `vidsal --help` stay quick: torch alone takes
about a second to import.

Example:
    >>> import vidsal
    >>> vidsal.VidsalError.__name__, "predict" in dir(vidsal)
    ('VidsalError', True)
"""

import os
from typing import TYPE_CHECKING, Any

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.decode import DecodeOptions, Reader, VideoInfo, open_video
    from vidsal.errors import (
        CheckpointError,
        ConfigError,
        DatasetError,
        DecodeError,
        EncodeError,
        ExistsError,
        VidsalError,
    )
    from vidsal.frames import FrameBatch, Picture, SaliencyBatch
    from vidsal.model.checkpoint import SaliencyModel, load_model
    from vidsal.model.ensemble import load_ensemble
    from vidsal.model.published import published_map
    from vidsal.pipe.many import ManyProgress, RunOutcome, StreamBatch, StreamEnd, predict_streams, run_many
    from vidsal.pipe.options import ModelOptions, OutputOptions, PredictOptions, RecurrenceOptions, RunOptions
    from vidsal.pipe.predict import VideoPredictor, predict
    from vidsal.pipe.run import Progress, RunReport, run
    from vidsal.results import read_maps, read_table
    from vidsal.sinks import Sink, VideoOptions
    from vidsal.smooth.options import SmoothOptions
    from vidsal.stages import CutOptions, RenderOptions, ViewerOptions

    __version__: str

__all__ = [
    "CheckpointError",
    "ConfigError",
    "CutOptions",
    "DatasetError",
    "DecodeError",
    "DecodeOptions",
    "EncodeError",
    "ExistsError",
    "FrameBatch",
    "ManyProgress",
    "ModelOptions",
    "OutputOptions",
    "Picture",
    "PredictOptions",
    "Progress",
    "Reader",
    "RecurrenceOptions",
    "RenderOptions",
    "RunOptions",
    "RunOutcome",
    "RunReport",
    "SaliencyBatch",
    "SaliencyModel",
    "Sink",
    "SmoothOptions",
    "StreamBatch",
    "StreamEnd",
    "VideoInfo",
    "VideoOptions",
    "VideoPredictor",
    "VidsalError",
    "ViewerOptions",
    "__version__",
    "load_ensemble",
    "load_model",
    "open_video",
    "predict",
    "predict_streams",
    "published_map",
    "read_maps",
    "read_table",
    "run",
    "run_many",
]

# libgomp's threads spin at barriers before they sleep; with anything else running on the cores that made a frame a
# hundred times as slow. It reads this once, when torch is imported, so it is set before any module of vidsal does that.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

_load, __dir__ = lazy(
    __name__,
    __all__,
    *("errors", "stages", "decode.options", "sinks.options", "smooth.options", "pipe.options"),
    *("frames", "decode.contract", "decode.open", "sinks.contract", "model.checkpoint"),
    *("model.ensemble", "model.published", "pipe.predict", "pipe.run", "pipe.many", "results"),
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from vidsal.provenance import package_version

        globals()[name] = package_version()
        return globals()[name]
    return _load(name)
