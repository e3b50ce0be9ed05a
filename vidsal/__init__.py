"""Predict where people look in video: a source of pictures in, densities of gaze out.

The names below are loaded on first use, so that `import vidsal` and `vidsal --help` stay quick: torch alone takes
about a second to import.

Example:
    >>> import vidsal
    >>> vidsal.VidsalError.__name__, "predict" in dir(vidsal)
    ('VidsalError', True)
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from vidsal.errors import CheckpointError, ConfigError, DatasetError, DecodeError, EncodeError, VidsalError

if TYPE_CHECKING:
    from vidsal.decode import DecodeOptions, Reader, VideoInfo, open_video
    from vidsal.frames import FrameBatch, Picture, SaliencyBatch
    from vidsal.model.checkpoint import SaliencyModel, load_model
    from vidsal.model.published import published_map
    from vidsal.pipe.many import ManyProgress, RunOutcome, StreamBatch, StreamEnd, predict_streams, run_many
    from vidsal.pipe.options import ModelOptions, OutputOptions, PredictOptions, RecurrenceOptions, RunOptions
    from vidsal.pipe.predict import VideoPredictor, predict
    from vidsal.pipe.run import Progress, RunReport, run
    from vidsal.render import RenderOptions
    from vidsal.shots import CutOptions
    from vidsal.sinks import Sink, VideoOptions
    from vidsal.smooth.options import SmoothOptions

    __version__: str

__all__ = [
    "CheckpointError",
    "ConfigError",
    "CutOptions",
    "DatasetError",
    "DecodeError",
    "DecodeOptions",
    "EncodeError",
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
    "__version__",
    "load_model",
    "open_video",
    "predict",
    "predict_streams",
    "published_map",
    "run",
    "run_many",
]

# libgomp's threads spin at barriers before they sleep; with anything else running on the cores that made a frame a
# hundred times as slow. It reads this once, when torch is imported, so it is set before any module of vidsal does that.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

_HOMES = {
    "decode": ("DecodeOptions", "Reader", "VideoInfo", "open_video"),
    "frames": ("FrameBatch", "Picture", "SaliencyBatch"),
    "model.checkpoint": ("SaliencyModel", "load_model"),
    "model.published": ("published_map",),
    "render": ("RenderOptions",),
    "shots": ("CutOptions",),
    "sinks": ("Sink", "VideoOptions"),
    "smooth.options": ("SmoothOptions",),
    "pipe.many": ("ManyProgress", "RunOutcome", "StreamBatch", "StreamEnd", "predict_streams", "run_many"),
    "pipe.options": ("ModelOptions", "OutputOptions", "PredictOptions", "RecurrenceOptions", "RunOptions"),
    "pipe.predict": ("VideoPredictor", "predict"),
    "pipe.run": ("Progress", "RunReport", "run"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from vidsal.provenance import package_version

        value: Any = package_version()
    elif name in _HOME_OF:
        value = getattr(importlib.import_module(f"vidsal.{_HOME_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'vidsal' has no attribute {name!r}")
    # Found directly from now on.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
