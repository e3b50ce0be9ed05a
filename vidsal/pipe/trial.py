"""Options in, an error out where no input whatever could be run with them: for those who have many inputs."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import av
import torch
from av.codec.codec import Capabilities, UnknownCodecError

from vidsal.decode import open_video
from vidsal.errors import ConfigError, EncodeError
from vidsal.files import local_name
from vidsal.pipe.options import RunOptions
from vidsal.pipe.outputs import NOTHING_TO_WRITE, make_sinks
from vidsal.pipe.places import Place

__all__ = ["check_options"]

_SIZE = (360, 640)
"""(height, width) of a picture that every encoder takes."""


def check_options(options: RunOptions, *, steps: int, here: bool = True) -> None:
    """See that a plain video could be read, and its results begun: a tiny one is made, opened and encoded for that.

    What hangs on the input is not seen: its codec, its size, whether it may be read.

    Args:
        options: of the run; where results go does not matter.
        steps: the model's own number of refinement steps.
        here: whether the run will be on this machine; else what its devices can do does not matter.

    Raises:
        ConfigError: an option asks for what this machine does not have (a decoder, an encoder, a package), two exclude
            each other, or nothing is to be written.
    """
    options.recurrence.steps_of(steps)
    decode = dataclasses.replace(options.decode, start_seconds=0.0, end_seconds=None, hwaccel="none", strict=False)
    video = dataclasses.replace(options.video, keep_streams=False)
    if not here and video.encoder is not None and _is_hardware(video.encoder):
        video = dataclasses.replace(video, encoder=None, preset="auto", crf=20)
    with tempfile.TemporaryDirectory(prefix="vidsal-") as folder:
        place = Place(Path(folder), "trial")
        output = dataclasses.replace(options.output, output=place.folder, existing="overwrite")
        clip = _make_clip(place.folder / "clip.mkv")
        tried = dataclasses.replace(options, decode=decode, video=video, output=output)
        try:
            with open_video(clip, options=decode, keep_pictures=output.video) as reader:
                sinks = make_sinks(reader.info, tried, torch.device("cpu"), side_by_side=1, place=place)
        except ConfigError:
            raise
        except EncodeError as error:
            raise ConfigError(*error.args) from error
        if not sinks:
            raise ConfigError(NOTHING_TO_WRITE)


def _is_hardware(encoder: str) -> bool:
    try:
        return bool(av.Codec(encoder, "w").capabilities & (Capabilities.hardware | Capabilities.hybrid))
    except UnknownCodecError:
        return False


def _make_clip(path: Path) -> Path:
    """One grey frame."""
    height, width = _SIZE
    with av.open(local_name(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts = 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
