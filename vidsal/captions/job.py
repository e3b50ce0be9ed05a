"""A video and its subtitles in, the same subtitles with places and a table of what they cover out: `place_captions`."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from vidsal.captions.attention import CueAttention
from vidsal.captions.choose import Candidates, Choice, choose
from vidsal.captions.documents import Document, Standing, read_text
from vidsal.captions.layout import Layout
from vidsal.captions.options import PLACES, CaptionOptions, PlaceCaptionsOptions
from vidsal.captions.record import CaptionsRecord
from vidsal.captions.streams import read_stream, start_of_timeline
from vidsal.captions.subrip import SubRip
from vidsal.captions.substation import Substation, ass_of, need_pysubs2
from vidsal.captions.values import Cue
from vidsal.captions.webvtt import WebVTT
from vidsal.decode import DecodeOptions, VideoInfo, open_video
from vidsal.errors import ConfigError, DecodeError, EncodeError, ExistsError, Setting, Stopped
from vidsal.files import replacing
from vidsal.frames import SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.maps import check_maps, remarks_on_maps, saved_densities
from vidsal.pipe.options import OutputOptions
from vidsal.pipe.places import local_path, places_of
from vidsal.pipe.predict import predict
from vidsal.prefetch import prefetch

__all__ = ["CAPTION_COLUMNS", "CaptionsReport", "place_captions"]

CAPTION_COLUMNS = (
    *("cue", "start_seconds", "end_seconds", "place", "covered"),
    *(f"covered_{place}" for place in PLACES),
    "text",
)
"""Columns of the table, a row a cue."""

_SMALL = (72, 128)
"""Rows and columns of the frames in which cuts are found where no model asks for frames of a size."""


@dataclass(frozen=True)
class CaptionsReport:
    """What became of the cues."""

    source: str
    """The video."""
    status: Literal["done", "skipped"]
    """done; skipped, where the results were there already and are what would have been made (`existing="skip"`): then
    only they are named."""
    captions: str
    """Where they come from."""
    files: tuple[Path, ...]
    """What was written."""
    cues: int
    """How many there are."""
    places: dict[str, int]
    """How many stand at each place; "own" counts those that stay where they were."""
    covered: float
    """Mean over the cues of the share of the attention that they cover, 0 to 1, weighed by their time; NaN where no
    frame was seen of any."""
    covered_before: float
    """The same if all that were placed stood at the default place."""
    frames: int
    """Frames that were read."""
    seconds: float
    """Wall time, without loading the model."""
    messages: tuple[str, ...]
    """Everything a user should know."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; None stands for what is not known."""
        values = dataclasses.asdict(self)
        values["files"] = [str(path) for path in self.files]
        return {name: None if isinstance(one, float) and math.isnan(one) else one for name, one in values.items()}


def place_captions(
    video: str | Path,
    options: PlaceCaptionsOptions | None = None,
    *,
    model: SaliencyModel | None = None,
    on_progress: Callable[[int, int | None, float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> CaptionsReport:
    """Write the subtitles of a video again, each where it covers the least predicted attention.

    Every cue keeps its time and its text. A cue is taken for a rectangle as large as its text is likely to be; what it
    covers at a place is the mean over its time of the density in that rectangle.

    Args:
        video: a video file, or a folder of pictures.
        options: all options; None takes the defaults.
        model: a model already loaded, in place of `options.model`.
        on_progress: called after every batch, in the calling thread, with the frames read, those expected (None where
            unknown) and the seconds since the start.
        should_stop: asked after every batch; True ends the work.

    Raises:
        Stopped: `should_stop` asked for an end; nothing was written.
        ExistsError: a result is there already, and the options do not allow to replace it.
        DecodeError: the video, its subtitles or the maps cannot be read, or do not belong together.
        EncodeError, CheckpointError, ConfigError: see their docstrings. Nothing is left that looks whole.
    """
    options = options or PlaceCaptionsOptions()
    begin = time.perf_counter()
    path = _local(video)
    # What is wrong with a file that an option names is said whatever results are there.
    if options.captions.captions is not None:
        _kind_of(options.captions.captions)
        read_text(options.captions.captions, options.captions.encoding, [])
    if options.maps is not None:
        check_maps(options.maps)
    target, table = _targets(path, options)
    if options.output.format == "ass":
        need_pysubs2()
    first = _first_frame(path, options.decode)
    loaded = None if options.maps is not None else model or options.model.load()
    record = CaptionsRecord.of(path, first.info.kind, options, loaded)
    if _is_done(target, table, record, options):
        return _skipped(str(video), options, target, table)
    layout = Layout(
        _shown_width(first.info) / first.info.height, options.captions.font_size, options.captions.safe_area
    )
    document = _read_captions(path, options.captions, layout, first.zero)
    cues = document.cues
    # The first is the default.
    places = tuple(sorted(dict.fromkeys(options.captions.places), key="bottom".__ne__))
    candidates = Candidates.of(cues, places, layout, replace_own=options.captions.replace_own)
    offset = float(first.seconds - first.zero)
    starts, ends = (np.array([getattr(cue, name) / 1000 - offset for cue in cues]) for name in ("start_ms", "end_ms"))
    attention = CueAttention(starts, ends, candidates.boxes)
    messages = list(document.messages)
    frames = 0
    with _densities(path, options, loaded, messages) as (total, batches):
        for batch in batches:
            attention.update(batch)
            frames += len(batch)
            if on_progress:
                on_progress(frames, total, time.perf_counter() - begin)
            if should_stop and should_stop():
                raise Stopped
            if attention.is_past(float(batch.pts_seconds[-1])):
                break
    attention.flush()
    choices = choose(
        cues,
        candidates,
        attention.covered,
        first_shot=attention.first_shot,
        last_shot=attention.last_shot,
        gain=options.captions.gain,
    )
    standings = [
        Standing(one.anchor, one.box, moved=_is_moved(document, cue, one))
        for cue, one in zip(cues, choices, strict=True)
    ]
    note = record.as_text()
    if options.output.format == "vtt":
        text = document.as_vtt(standings, note=note)
    elif isinstance(document, Substation):
        text = document.as_ass(standings, note=note)
    else:
        size = (round(_shown_width(first.info)), first.info.height)
        text = ass_of(cues, standings, layout, size=size, note=note)
    messages = [*dict.fromkeys([*document.messages, *messages, *_remarks(choices, attention)])]
    with contextlib.ExitStack() as files:
        if table is not None:
            partial = files.enter_context(replacing(table, make_folder=True))
            with partial.open("w", encoding="utf-8", newline="") as stream:
                _write_table(stream, cues, choices)
        files.enter_context(replacing(target, make_folder=True)).write_text(text, encoding="utf-8", newline="\n")
    return CaptionsReport(
        source=str(video),
        status="done",
        captions=str(options.captions.captions or video),
        files=(target, *((table,) if table is not None else ())),
        cues=len(cues),
        places=dict(Counter(choice.place or "own" for choice in choices)),
        covered=_mean([choice.covered for choice in choices], attention.seconds),
        covered_before=_mean(
            [
                choice.covered if choice.place is None else one
                for choice, one in zip(choices, attention.covered[:, 0, 0], strict=True)
            ],
            attention.seconds,
        ),
        frames=frames,
        seconds=time.perf_counter() - begin,
        messages=tuple(messages),
    )


def _local(video: str | Path) -> Path:
    path = local_path(video)
    if path is None:
        raise DecodeError(f"{video} is no file; captions are placed in a video file or a folder of pictures")
    return path


def _targets(path: Path, options: PlaceCaptionsOptions) -> tuple[Path, Path | None]:
    """The file of captions and the table.

    Raises:
        ExistsError: one of them is there and is not to be replaced.
        EncodeError: one of them cannot be written, or is an input.
    """
    output = options.output
    named = output.named_file
    if named is None:
        place = places_of([path], OutputOptions(output=output.output, video=False))[0]
        target = place.folder / f"{place.stem}.vidsal.captions.{output.format}"
    else:
        target = named
    table = target.with_name(f"{target.name}.csv") if output.table else None
    inputs = [one for one in (path, options.captions.captions, options.maps) if one is not None]
    for file in (target, table):
        if file is None:
            continue
        folder = file.absolute().parent
        if folder.exists() and not folder.is_dir():
            raise EncodeError(f"cannot write {file}: {folder} is no folder; choose another one")
        if named is not None and not folder.is_dir():
            raise EncodeError(f"cannot write {file}: {folder} does not exist; make the folder or choose another one")
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            raise EncodeError(f"cannot write {file}: no permission to write into {folder}; choose another folder")
        if not os.path.lexists(file):
            continue
        if any(one.exists() and file.exists() and file.samefile(one) for one in inputs):
            raise EncodeError(f"{file} is an input; choose another name for the result")
        if output.existing == "refuse":
            raise ExistsError(f"{file} exists already; use ", *_REPLACE)
    return target, table


def _is_done(target: Path, table: Path | None, record: CaptionsRecord, options: PlaceCaptionsOptions) -> bool:
    """Whether the results are there and may be left as they are.

    Raises:
        ExistsError: results are there that were made otherwise, or by something else.
    """
    there = [file for file in (target, table) if file is not None and os.path.lexists(file)]
    if options.output.existing != "skip" or not there:
        return False
    found = CaptionsRecord.in_file(target)
    if found is None:
        raise ExistsError(f"{there[0]} exists already, and was not made like this; use ", *_REPLACE)
    if differing := found.differences(record):
        raise ExistsError(f"{target} was made otherwise ({'; '.join(differing)}); use ", *_REPLACE)
    return table is None or table in there


_REPLACE = (Setting("overwrite", True), " to replace it, or choose another name")


def _skipped(video: str, options: PlaceCaptionsOptions, target: Path, table: Path | None) -> CaptionsReport:
    return CaptionsReport(
        source=video,
        status="skipped",
        captions=str(options.captions.captions or video),
        files=(target, *((table,) if table is not None else ())),
        cues=0,
        places={},
        covered=math.nan,
        covered_before=math.nan,
        frames=0,
        seconds=0.0,
        messages=(),
    )


@dataclass(frozen=True)
class _FirstFrame:
    info: VideoInfo
    seconds: Fraction
    """Time of the first frame in the container."""
    zero: Fraction
    """Time in the container that players call 0."""


def _first_frame(path: Path, options: DecodeOptions) -> _FirstFrame:
    one = dataclasses.replace(
        options, decoder="pyav", batch_size=1, start_seconds=0.0, end_seconds=None, hwaccel="none", strict=False
    )
    with open_video(path, options=one, size=(2, 2), keep_pictures=True) as reader:
        picture = next(iter(reader)).pictures[0]
        info = reader.info
    if info.kind != "video" or picture.pts is None or picture.time_base is None:
        return _FirstFrame(info, Fraction(0), Fraction(0))
    return _FirstFrame(info, picture.pts * picture.time_base, start_of_timeline(path))


def _shown_width(info: VideoInfo) -> float:
    return float(info.width * info.sample_aspect_ratio)


def _read_captions(path: Path, options: CaptionOptions, layout: Layout, zero: Fraction) -> Document:
    file = options.captions
    if file is None:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder: give a file of subtitles by ", Setting("captions"))
        return read_stream(path, options, layout, zero)
    messages = list[str]()
    document = _kind_of(file)(read_text(file, options.encoding, messages), file.name, layout)
    document.messages[:0] = messages
    return document


def _kind_of(file: Path) -> Callable[[str, str, Layout], Document]:
    kinds: dict[str, Callable[[str, str, Layout], Document]] = {
        ".srt": SubRip,
        ".vtt": WebVTT,
        ".ass": Substation,
        ".ssa": Substation,
    }
    make = kinds.get(file.suffix.lower())
    if make is None:
        raise ConfigError(Setting("captions", file), f" must end in one of {', '.join(kinds)}")
    return make


@contextlib.contextmanager
def _densities(
    path: Path, options: PlaceCaptionsOptions, loaded: SaliencyModel | None, messages: list[str]
) -> Iterator[tuple[int | None, Iterable[SaliencyBatch]]]:
    """How many frames are expected, and their densities."""
    size = _SMALL if loaded is None else loaded.preprocessor.frame_size
    with open_video(path, options=options.decode, size=size) as reader:
        part = options.decode.start_seconds > 0 or options.decode.end_seconds is not None
        total = None if part else reader.info.frame_count
        with prefetch(reader, name="vidsal-decode") as frames:
            if options.maps is not None:
                messages += remarks_on_maps(options.maps, path)
                made = saved_densities(options.maps, frames, options.cuts)
            elif loaded is not None:
                made = predict(frames, loaded, options.prediction)
            with prefetch(made, name="vidsal-predict") as batches:
                yield total, batches
        messages += reader.report.messages
        messages += loaded.notes if loaded is not None else ()


def _is_moved(document: Document, cue: Cue, choice: Choice) -> bool:
    """Whether a cue has to be written otherwise than it came."""
    if choice.place is None:
        return False
    # What leaves the place to the player, or to its style, stands at the bottom by itself.
    return not (document.kind == "ass" and cue.own is None and choice.anchor == cue.home)


def _remarks(choices: Sequence[Choice], attention: CueAttention) -> list[str]:
    unseen = int((attention.seconds == 0).sum())
    crowded = sum(choice.crowded for choice in choices)
    found = [
        (unseen, "with no frame in the video: at the default place"),
        (crowded, "with no place clear of the cues shown with them: where they cover least of those"),
    ]
    return [f"{count} {'cue' if count == 1 else 'cues'} {what}" for count, what in found if count]


def _mean(covered: Sequence[float], seconds: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    values = np.asarray(covered, np.float64)
    known = ~np.isnan(values)
    return float(np.average(values[known], weights=seconds[known])) if known.any() else math.nan


def _write_table(stream: TextIO, cues: Sequence[Cue], choices: Sequence[Choice]) -> None:
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(CAPTION_COLUMNS)
    for number, (cue, choice) in enumerate(zip(cues, choices, strict=True), 1):
        shares = [choice.covered, *(choice.at.get(place, math.nan) for place in PLACES)]
        rows.writerow(
            [
                number,
                f"{cue.start_ms / 1000:.3f}",
                f"{cue.end_ms / 1000:.3f}",
                choice.place or "own",
                *("" if math.isnan(share) else f"{share:.5f}" for share in shares),
                " / ".join(cue.text.split("\n")),
            ]
        )
