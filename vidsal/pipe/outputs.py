"""Options in, the files they ask for out: which (`planned_outputs`), and the sinks that write them (`make_sinks`)."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable
from pathlib import Path

import torch

from vidsal.addresses import hide_secrets
from vidsal.decode import VideoInfo
from vidsal.decode.source import source_of
from vidsal.errors import ConfigError, DecodeError, EncodeError, Setting
from vidsal.files import short_name
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.prefetch import usable_cores
from vidsal.sinks import ImageSink, MapsSink, TableSink, VideoOptions, VideoSink
from vidsal.sinks.contract import FileSink
from vidsal.tracks import Tracker

__all__ = ["make_sinks", "planned_outputs", "refuse_shared_outputs", "shared_video_options"]


def planned_outputs(
    source: str | Path | int, options: OutputOptions, *, path: Path | None = None, still: bool = False
) -> dict[str, Path]:
    """The files that a run of a source writes, by stage: "video" or "image", "table", "maps".

    Args:
        source: the source, which names the results where it is no local file.
        options: what is wanted, and where.
        path: the local file or folder; None for cameras, addresses and -.
        still: whether the source is one picture.

    Raises:
        ConfigError: a table or maps of an unknown format are wanted.

    Example:
        >>> planned = planned_outputs("rtsp://host/door.sdp?a=1", OutputOptions(table="jsonl", container="mkv"))
        >>> {stage: target.name for stage, target in planned.items()}
        {'video': 'door.vidsal.mkv', 'table': 'door.vidsal.jsonl'}
    """
    folder, stem = _where(source, path, options.output)
    suffix = "png" if still else options.container
    planned = {
        "image" if still else "video": folder / f"{stem}.vidsal.{suffix}" if options.video else None,
        "table": _target(options.table, folder / f"{stem}.vidsal", ("csv", "parquet", "jsonl"), "table"),
        "maps": _target(options.maps, folder / f"{stem}.vidsal.maps", ("mkv", "npz"), "maps"),
    }
    return {stage: target for stage, target in planned.items() if target is not None}


def refuse_shared_outputs(sources: Iterable[str | Path | int], options: OutputOptions) -> None:
    """Check before anything is opened that no two sources write the same file: one result would be lost in silence.

    Raises:
        ConfigError: two do.
    """
    writers: dict[Path, str | Path | int] = {}
    for source in sources:
        path = _local_path(source)
        for target in planned_outputs(source, options, path=path).values():
            if (first := writers.setdefault(target.absolute(), source)) != source:
                both = f"{hide_secrets(first)} and {hide_secrets(source)}"
                raise ConfigError(f"{both} would both write {target}: give each its own ", Setting("output"))


def make_sinks(info: VideoInfo, options: RunOptions, device: torch.device, *, side_by_side: int) -> list[FileSink]:
    """The files that the options ask for; refuses what is already there before anything is decoded.

    Args:
        info: the source.
        options: of the whole run.
        device: where the densities come from.
        side_by_side: runs that share the machine, see `shared_video_options`.

    Raises:
        ConfigError: as `planned_outputs`.
        EncodeError: a result exists already, or cannot be written.
    """
    wanted = options.output
    planned = planned_outputs(info.source, wanted, path=info.path, still=info.kind == "image")
    folder, _ = _where(info.source, info.path, wanted.output)
    # Tried first and asked about afterwards: another run may make it meanwhile.
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise EncodeError(f"{folder} is a file, expected a folder for the results") from error
    except OSError as error:
        raise EncodeError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise EncodeError(f"cannot write into {folder}: choose another folder with ", Setting("output"))
    sinks: list[FileSink] = []
    for stage, target in planned.items():
        match stage:
            case "image":
                sink: FileSink = ImageSink(target, render=options.render, overwrite=wanted.overwrite, source=info.path)
            case "video":
                sink = VideoSink(
                    target,
                    info,
                    video=shared_video_options(options.video, device, side_by_side=side_by_side),
                    render=options.render,
                    overwrite=wanted.overwrite,
                    start_seconds=options.decode.start_seconds,
                    end_seconds=options.decode.end_seconds,
                    device=device,
                )
            case "table":
                sink = TableSink(target, Tracker(options.tracks), overwrite=wanted.overwrite)
            case _:
                sink = MapsSink(target, info, overwrite=wanted.overwrite)
        sinks.append(sink)
    return sinks


def shared_video_options(video: VideoOptions, device: torch.device, *, side_by_side: int = 1) -> VideoOptions:
    """The options as `run` passes them to each of `side_by_side` encoders.

    With a model on the CPU the encoders share half of the cores, each gets at least one, unless their threads were
    chosen: more would only take turns with the model's. With a GPU several encoders share all cores.
    """
    if (device.type != "cpu" and side_by_side == 1) or video.encoder_threads:
        return video
    cores = usable_cores() if device.type != "cpu" else usable_cores() // 2
    return dataclasses.replace(video, encoder_threads=max(1, cores // side_by_side))


def _local_path(source: str | Path | int) -> Path | None:
    try:
        return source_of(source).path
    except DecodeError:
        return None  # it fails on its own, where it is opened


def _where(source: str | Path | int, path: Path | None, output: Path | None) -> tuple[Path, str]:
    """The folder for the results and the first part of their names."""
    if path is not None:
        # Only "." and ".." are followed to what they mean: a link keeps its own name.
        path = path.resolve() if path.name in ("", "..") else path.absolute()
        folder, stem = output or path.parent, (path.name if path.is_dir() else path.stem) or "root"
    else:
        name = Path(re.split("[?#]", hide_secrets(source))[0].rstrip("/")).stem
        folder, stem = output or Path.cwd(), re.sub(r"[^\w.-]+", "-", name) or "stream"
        if stem.split(".")[0].upper() in _RESERVED:
            stem = f"_{stem}"
    return folder, short_name(stem, folder, room=_ROOM)


_ROOM = 40
"""Bytes that the longest ending of a result takes, with those of its partial file and its lock."""

_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
"""No names of files on Windows, whatever follows them."""


def _target(wanted: str | None, base: Path, kinds: tuple[str, ...], what: str) -> Path | None:
    """The path of a table or of maps, from a format's name or a path."""
    if wanted is None or wanted == "none":
        return None
    if wanted in kinds:
        return base.with_name(f"{base.name}.{wanted}")
    path = Path(wanted)
    if path.suffix.lower().removeprefix(".") in kinds:
        # A bare name belongs beside the other results; a path is taken as it is.
        return path if path.is_absolute() or len(path.parts) > 1 else base.with_name(path.name)
    raise ConfigError(
        Setting(what), f" must be {', '.join(kinds)}, a path ending in one of these, or none; got {wanted!r}"
    )
