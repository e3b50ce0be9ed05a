"""Options in, the sinks that write the files they ask for out: `make_sinks`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vidsal.decode import VideoInfo
from vidsal.decode.ordinals import ordinal_at
from vidsal.driving.options import DRIVING_FILES
from vidsal.errors import ConfigError, Setting
from vidsal.exports.contract import Footage
from vidsal.files import making_folder, note_other_video
from vidsal.model.options import named_task
from vidsal.pipe.options import RunOptions
from vidsal.pipe.places import Place, places_of, planned_outputs
from vidsal.prefetch import usable_cores
from vidsal.sinks import (
    ExportSink,
    ImageSink,
    MapsSink,
    OverlaySink,
    TableSink,
    VideoOptions,
    VideoSink,
)
from vidsal.sinks.containers import CHOICES
from vidsal.sinks.contract import FileSink
from vidsal.sinks.timecodes import timecode_columns
from vidsal.tracks import Shared, Tracker

if TYPE_CHECKING:
    from vidsal.aois import Aois
    from vidsal.sinks.aois import SharedAois
    from vidsal.sinks.driving import Drive

__all__ = ["NOTHING_TO_WRITE", "make_sinks", "possible_files", "shared_video_options"]

NOTHING_TO_WRITE = "nothing to write: video, table, maps and exports are all switched off"


def make_sinks(
    info: VideoInfo,
    options: RunOptions,
    device: torch.device,
    *,
    side_by_side: int,
    place: Place | None = None,
    replaceable: Collection[Path] = (),
) -> list[FileSink]:
    """The files that the options ask for; refuses what is already there before anything is decoded.

    Args:
        info: the source.
        options: of the whole run.
        device: where the densities come from.
        side_by_side: runs that share the machine, see `shared_video_options`.
        place: where the results go; None: where those of this source alone go.
        replaceable: results that may be replaced although the options do not say so; whole paths.

    Raises:
        ConfigError: as `planned_outputs`.
        DatasetError: a file of areas cannot be read.
        ExistsError: a result exists already.
        EncodeError: a result cannot be written.
    """
    wanted = options.output
    place = place or places_of([info.path or info.source], wanted)[0]
    planned = planned_outputs(place, wanted, still=info.kind == "image")
    if options.video.chapters and not wanted.video:
        what = " needs a video, and none is written: leave out "
        raise ConfigError(Setting("chapters", True), what, Setting("video", False), ", or take ", _CHAPTERS_FILE)
    if not wanted.report_driving:
        for name in ("camera_template", "road_users"):
            if (file := getattr(options.driving, name)) is not None:
                raise ConfigError(Setting(name, file), " is for the report of a drive: add ", _REPORT_DRIVING)
    sinks: list[FileSink] = []
    tracker = Shared(Tracker(options.tracks))
    footage = _footage(info, options)
    # What is wrong with a file of areas is said before anything is made, and whatever results are there.
    areas = None if wanted.aois is None else _areas(info, options, tracker)
    given = _files_of_drive(info, options) if wanted.report_driving else (None, None)
    drive: Drive | None = None
    with making_folder(place.folder):
        for stage, target in planned.items():
            there = {path for path in possible_files(stage, target) if path.exists()}
            overwrite = wanted.existing == "overwrite" or (bool(there) and there <= {*replaceable})
            match stage:
                case "image":
                    sink: FileSink = ImageSink(
                        target, render=options.render, tracker=tracker, overwrite=overwrite, source=info.path
                    )
                case "video":
                    sink = (OverlaySink if options.render.overlay_only else VideoSink)(
                        target,
                        info,
                        video=shared_video_options(options.video, device, side_by_side=side_by_side),
                        render=options.render,
                        overwrite=overwrite,
                        start_seconds=options.decode.start_seconds,
                        end_seconds=options.decode.end_seconds,
                        tracker=tracker,
                        device=device,
                    )
                case "table":
                    sink = TableSink(target, tracker, further=timecode_columns(info), overwrite=overwrite)
                case "maps":
                    sink = MapsSink(target, info, overwrite=overwrite)
                case "aois" | "aois-summary" if areas is not None:
                    from vidsal.sinks.aois import AoiSink, AoiSumSink

                    sink = (AoiSink if stage == "aois" else AoiSumSink)(target, areas, overwrite=overwrite)
                case _ if stage in DRIVING_FILES:
                    from vidsal.sinks.driving import driving_sink

                    drive = drive or _drive(info, options, tracker, *given)
                    sink = driving_sink(stage, target, drive, overwrite=overwrite)
                    if stage == "driving" and (other := _free_viewing(options)) is not None:
                        free = f"the shares are those of {other}, a model of free viewing"
                        sink.messages.append(f"{free}; task=driving takes one of drivers")
                case "report":
                    drawn = next((one for one in sinks if one.stage in ("video", "image")), None)
                    from vidsal.report.sink import ReportSink  # with pages and their scripts: only where asked for

                    shown = areas if drive is None or areas is not None else drive.aois
                    sink = ReportSink(
                        target,
                        info,
                        tracker,
                        drawn=drawn,
                        aois=shown,
                        overwrite=overwrite,
                        end_seconds=options.decode.end_seconds,
                    )
                case _:
                    sink = ExportSink(target, stage, footage, tracker, overwrite=overwrite)
            sinks.append(sink)
    return sinks


def _footage(info: VideoInfo, options: RunOptions) -> Footage:
    return Footage.of(info, end_seconds=options.decode.end_seconds)


def _areas(info: VideoInfo, options: RunOptions, tracker: Shared) -> SharedAois:
    """What measures the areas of interest."""
    from vidsal.aois import AoiTracker, read_aois
    from vidsal.sinks.aois import SharedAois

    if options.output.aois is None:
        raise RuntimeError("areas are measured where they are given")
    found = read_aois(options.output.aois, height=info.height, width=info.width)
    how, said = _times_of_frames(info, options, found, Setting("aois", options.output.aois))
    said += found.outside(height=info.height, width=info.width)
    if info.path is not None:
        said += note_other_video(options.output.aois, str(info.path))
    return SharedAois(AoiTracker(found, **how), tracker, messages=said, footage=_footage(info, options))


def _times_of_frames(
    info: VideoInfo, options: RunOptions, aois: Aois, file: Setting
) -> tuple[dict[str, Any], list[str]]:
    """How an `AoiTracker` finds areas that go by frames where a run starts late, and what has to be said of it."""
    by_frames = any(part.clock == "frames" for aoi in aois.aois for part in aoi.parts)
    begin = options.decode.start_seconds
    if not by_frames or begin <= 0:
        return {}, []
    path = info.path if info.kind == "video" else None
    if path is not None and (counted := ordinal_at(path, begin)) is not None:
        return {"before": counted.before}, []
    rate = info.nominal_rate or info.rate
    if rate is None:
        start = Setting("start", begin)
        raise ConfigError(file, " goes by frames, and the input says no rate: leave out ", start)
    said = (
        f"{Path(str(file.value)).name} goes by frames, and those before {begin:g} s cannot be counted: they are taken "
        f"to come at {float(rate):.5g} a second"
    )
    return {"rate": float(rate)}, [said]


def _files_of_drive(info: VideoInfo, options: RunOptions) -> tuple[Aois | None, Aois | None]:
    """What the camera's template and the file of road users say; None of what is not given."""
    from vidsal.aois import read_aois

    if info.path is None or info.live:
        raise ConfigError(_REPORT_DRIVING, f" reads the input twice, and {info.source} can be read once: give a file")
    camera, users = (
        None if file is None else read_aois(file, height=info.height, width=info.width)
        for file in (options.driving.camera_template, options.driving.road_users)
    )
    return camera, users


def _drive(info: VideoInfo, options: RunOptions, tracker: Shared, camera: Aois | None, users: Aois | None) -> Drive:
    """What the report of a drive shares: the input is read through for it."""
    from vidsal.aois import AoiTracker
    from vidsal.driving.areas import road_areas
    from vidsal.driving.report import not_found
    from vidsal.driving.vanishing import find_vanishing_points
    from vidsal.sinks.aois import SharedAois
    from vidsal.sinks.driving import Drive

    if info.path is None:
        raise RuntimeError("a drive is a file")
    asked = options.driving
    how, said = (
        ({}, []) if users is None else _times_of_frames(info, options, users, Setting("road_users", asked.road_users))
    )
    size = {"height": info.height, "width": info.width}
    said += [one for aois in (camera, users) if aois is not None for one in aois.outside(**size)]
    points = find_vanishing_points(info.path, decode=options.decode, cuts=options.cuts, outside=camera)
    areas = road_areas(points, **size, half_width=asked.road_half_width, camera=camera, users=users)
    said += not_found(points)
    shared = SharedAois(AoiTracker(areas, **how), tracker, messages=said, footage=_footage(info, options))
    return Drive(shared, tracker, points, asked.road_half_width)


def _free_viewing(options: RunOptions) -> str | None:
    """The model's name, where it is known to be none of drivers."""
    names = [str(name) for name in options.model.chosen]
    known = options.model.task == "free-viewing" and all(named_task(name) == "free-viewing" for name in names)
    return " + ".join(names) if known else None


_REPORT_DRIVING = Setting("report_driving", True)
_CHAPTERS_FILE = Setting("export", "chapters")


def possible_files(stage: str, target: Path) -> set[Path]:
    """The whole paths that a planned result may end up with: a video whose container cannot hold all takes another.

    Example:
        >>> sorted(path.name for path in possible_files("video", Path("a.vidsal.mov")))
        ['a.vidsal.mkv', 'a.vidsal.mov']
    """
    suffixes = CHOICES[target.suffix.lower()] if stage == "video" else ()
    return {path.absolute() for path in (target, *map(target.with_suffix, suffixes))}


def shared_video_options(video: VideoOptions, device: torch.device, *, side_by_side: int = 1) -> VideoOptions:
    """The options as `run` passes them to each of `side_by_side` encoders.

    With a model on the CPU the encoders share half of the cores, each gets at least one, unless their threads were
    chosen: more would only take turns with the model's. With a GPU several encoders share all cores.
    """
    if (device.type != "cpu" and side_by_side == 1) or video.encoder_threads:
        return video
    cores = usable_cores() if device.type != "cpu" else usable_cores() // 2
    return dataclasses.replace(video, encoder_threads=max(1, cores // side_by_side))
