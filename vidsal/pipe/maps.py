"""The frames of a video and the maps that an earlier run made of it in, `SaliencyBatch`es out: `saved_densities`."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from av.error import FFmpegError

from vidsal.decode.local import open_file
from vidsal.errors import DecodeError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.pipe.record import InputRecord
from vidsal.shots import CutDetector
from vidsal.sinks.contract import PROVENANCE_KEY
from vidsal.stages import CutOptions

__all__ = ["check_maps", "remarks_on_maps", "saved_densities", "saved_maps"]

_Saved = tuple[float, npt.NDArray[np.float64]]
"""When a map is shown, in seconds, and its log density, (h, w)."""

_SAME_TIME = 1.5e-3
"""Seconds by which times may differ: the video of maps counts in milliseconds."""


def saved_densities(path: Path, frames: Iterable[FrameBatch], cuts: CutOptions) -> Iterator[SaliencyBatch]:
    """Give frames the maps of an earlier run, as `predict` would, without a model.

    What is held in memory does not grow with the length of the video. Cuts are found anew, as a video of maps does not
    tell them.

    Args:
        path: what `vidsal run --maps` wrote: .mkv or .npz.
        frames: of the same video, small ones do; read with the same start and end.
        cuts: how cuts are found.

    Yields:
        The frames' densities, every frame once, in order.

    Raises:
        DecodeError: the file holds no such maps, or they are those of other frames.
    """
    detector, shot = CutDetector(cuts), 0
    with _opened(path) as saved:
        height, width = next(saved)
        count = 0
        for batch in frames:
            if (batch.height, batch.width) != (height, width):
                other = f"pictures of {width}x{height}, the video has {batch.width}x{batch.height}"
                raise DecodeError(f"{path} holds maps of {other}; {_AGAIN}")
            maps = list(islice(saved, len(batch)))
            if len(maps) < len(batch):
                raise DecodeError(f"{path} holds {count + len(maps)} maps, and the video has more frames; {_AGAIN}")
            for ordinal, seconds, (saved_seconds, _) in zip(batch.index, batch.pts_seconds, maps, strict=True):
                if abs(seconds - saved_seconds) > _SAME_TIME:
                    raise DecodeError(
                        f"{path} holds maps of other frames: map {ordinal} is for {saved_seconds:.3f} s, frame "
                        f"{ordinal} is shown at {seconds:.3f} s; {_AGAIN}"
                    )
            count += len(batch)
            cut = detector.update(batch.frames, batch.pts_seconds)
            shots = shot + np.cumsum(cut, dtype=np.int64)
            shot = int(shots[-1])
            log_density = torch.from_numpy(np.stack([one for _, one in maps]).astype(np.float32))
            yield SaliencyBatch.of(batch, shot=shots, cut=cut, log_density=log_density)
        if next(saved, None) is not None:
            raise DecodeError(f"{path} holds more maps than the video has frames ({count}); {_AGAIN}")


_AGAIN = "give the video that they were made of, with the same start and end, or make them again"


def saved_maps(path: Path) -> Iterator[tuple[float, npt.NDArray[np.float64]]]:
    """The maps of an earlier run alone, without the video.

    Args:
        path: what `vidsal run --maps` wrote: .mkv or .npz.

    Yields:
        When a map is shown, in seconds, and its log density, (h, w) float64.

    Raises:
        DecodeError: the file holds no such maps.
    """
    with _opened(path) as saved:
        next(saved)
        yield from saved


def check_maps(path: Path) -> None:
    """See that a file begins as the maps of a run do, before anything is made for what is to come of them.

    Args:
        path: what `vidsal run --maps` wrote: .mkv or .npz.

    Raises:
        DecodeError: it is not there, or holds no such maps.
    """
    if not path.exists():
        raise DecodeError(f"{path} is not there: give the maps that vidsal run --maps wrote")
    with _opened(path) as saved:
        next(saved)


def remarks_on_maps(path: Path, video: Path, *, follow_gaze: bool = False) -> list[str]:
    """What is to be said of maps before they are used for a video: that they are of another one, by name and content.

    Args:
        path: what `vidsal run --maps` wrote: .mkv or .npz. Without a record in it nothing is known, and nothing said.
        video: what they are used for. A copy under another name, or another encoding under the same one, is the same.
        follow_gaze: maps may follow viewers. False where they are to tell what is shown: it is said if they do.
    """
    try:
        record = json.loads(_provenance_in(path))
    except (OSError, ValueError, KeyError, EOFError, FFmpegError, zipfile.BadZipFile, DecodeError):
        return []
    said = []
    # A record may be damaged, or of an earlier version.
    with suppress(OSError, KeyError, TypeError, AttributeError):
        kept = ("name", "kind", "bytes", "modified", "sample_sha256")
        made_from = InputRecord(**{name: record["input"].get(name) for name in kept})
        here = InputRecord.of(str(video), video)
        if made_from.name and made_from.name != here.name and not here.is_content_of(made_from):
            said.append(f"{path.name} says that it was made of {made_from.name}, not of {here.name}")
    with suppress(KeyError, TypeError):
        if not follow_gaze and _follow_viewers(record):
            said.append(
                f"{path.name} was made with viewers on: after each cut its maps show where eyes still are, not what is "
                "shown; make them with vidsal run --maps --viewers off"
            )
    return said


def _follow_viewers(record: Any) -> bool:
    wanted, kind, task = record["options"]["viewers"]["viewers"], record["input"]["kind"], record["model"]["task"]
    return not (wanted == "off" or (wanted == "auto" and (kind in ("image", "images") or task == "driving")))


def _provenance_in(path: Path) -> str:
    """The record that maps hold; empty without one."""
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return str(arrays[PROVENANCE_KEY]) if PROVENANCE_KEY in arrays else ""
    with open_file(path) as container:
        return next((text for name, text in container.metadata.items() if name.lower() == PROVENANCE_KEY), "")


@contextmanager
def _opened(path: Path) -> Iterator[Generator[Any, None, None]]:
    """The picture's (height, width), then a `_Saved` a map; what goes wrong while it is open is said of the file."""
    read = _read_arrays if path.suffix.lower() == ".npz" else _read_video
    try:
        with closing(read(path)) as saved:
            yield saved
    except (OSError, ValueError, KeyError, EOFError, FFmpegError, zipfile.BadZipFile) as error:
        raise DecodeError(f"{path} cannot be read as maps of a run: {error}; make them again") from error


def _read_arrays(path: Path) -> Generator[Any, None, None]:
    """The picture's (height, width), then a `_Saved` a map."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        missing = [name for name in ("log_density", "pts_seconds", "height", "width") if name not in arrays]
        if missing:
            raise DecodeError(f"{path} has no {', '.join(missing)}; expected maps that vidsal run wrote")
        seconds = arrays["pts_seconds"]
        yield int(arrays["height"]), int(arrays["width"])
    # The maps of an hour do not fit into memory.
    with zipfile.ZipFile(path) as archive, archive.open("log_density.npy") as member:
        shape, dtype = _header(member)
        if len(shape) != 3 or shape[0] != len(seconds) or dtype.kind != "f":
            raise ValueError(f"log_density is {dtype} {shape} for {len(seconds)} times")
        size = shape[1] * shape[2] * dtype.itemsize
        for shown in seconds:
            data = member.read(size)
            if len(data) < size:
                raise ValueError("log_density ends early")
            yield float(shown), np.frombuffer(data, dtype).reshape(shape[1:]).astype(np.float64)


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(member)
    if by_columns:
        raise ValueError("log_density is stored by columns")
    return shape, dtype


def _read_video(path: Path) -> Generator[Any, None, None]:
    """The picture's (height, width), then a `_Saved` a map."""
    with open_file(path) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
        if not container.streams.video or not {"vidsal_picture", "vidsal_density_per_unit"} <= tags.keys():
            raise DecodeError(f"{path} is no video of maps that vidsal run wrote")
        width, _, height = tags["vidsal_picture"].partition("x")
        unit = float(tags["vidsal_density_per_unit"])
        yield int(height), int(width)
        for frame in container.decode(video=0):
            if frame.pts is None or frame.time_base is None:
                raise ValueError("a map has no time")
            density = frame.to_ndarray(format="gray16le") * unit
            total = density.sum()
            if not total > 0:
                raise ValueError("a map is empty")
            # Rounding to 16 bits leaves the sum near 1.
            yield float(frame.pts * frame.time_base), np.log(np.maximum(density / total, np.finfo(np.float32).tiny))
