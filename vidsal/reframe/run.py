"""A video in, a cropped video, a table, JSON and keyframes for each aspect out: `reframe`.

The video is read twice: once to predict where people look, and, once the whole of every shot is known, to cut it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vidsal.addresses import hide_secrets
from vidsal.decode import Reader, VideoInfo, open_video
from vidsal.errors import ConfigError, DecodeError, ExistsError, Setting, Stopped
from vidsal.exports.contract import Footage
from vidsal.files import making_folder
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.maps import check_maps, remarks_on_maps, saved_densities
from vidsal.pipe.options import OutputOptions
from vidsal.pipe.outputs import possible_files, shared_video_options
from vidsal.pipe.places import Place, local_path, places_of
from vidsal.pipe.predict import predict
from vidsal.pipe.record import (
    InputRecord,
    ModelRecord,
    Provenance,
    ResultRecord,
    RunRecord,
    path_from,
    read_records,
    write_record,
)
from vidsal.prefetch import prefetch
from vidsal.reframe.keyframes import as_after_effects, as_fcpxml, is_uneven, rate_of
from vidsal.reframe.marginals import Axis, MarginalCollector, Marginals
from vidsal.reframe.options import ReframeOptions
from vidsal.reframe.path import PathRows, WindowPath, as_json, find_path
from vidsal.reframe.pins import Pin, read_pins
from vidsal.reframe.sink import CropSink, DocumentSink
from vidsal.reframe.window import Window, window_of
from vidsal.sinks.contract import FileSink, finish_together
from vidsal.sinks.tables import TableSink

__all__ = ["AspectReport", "ReframeProgress", "ReframeReport", "planned_files", "reframe"]


@dataclass(frozen=True)
class ReframeProgress:
    """How far a reframing got."""

    stage: Literal["predicting", "cutting"]
    """What is done at the moment."""
    frames: int
    """Frames that this stage has dealt with."""
    total: int | None
    """Frames expected, None where unknown."""
    seconds: float
    """Since the stage began."""


@dataclass(frozen=True)
class AspectReport:
    """What came out for one aspect."""

    aspect: str
    """Width to height."""
    window: tuple[int, int]
    """Columns and rows of the window."""
    kept_share: float
    """Mean share of the predicted density inside the window, over time."""
    centre_share: float
    """The same of a window in the middle of the picture."""
    shots: int
    """Shots."""
    moving: int
    """Those in which the camera moves."""
    padded: int
    """Those with a longer window for the sake of pinned boxes."""


@dataclass(frozen=True)
class ReframeReport:
    """What a reframing did."""

    source: str
    """The input."""
    status: Literal["done", "skipped", "interrupted"]
    """done; skipped, where all results were there already and are what would have been made; or interrupted."""
    files: tuple[Path, ...]
    """Results written, or found where it was skipped (partial names where interrupted)."""
    record_file: Path | None
    """The record beside them, NAME.vidsal.reframe.json; None where none was written."""
    frames: int
    """Frames of the video; 0 where skipped."""
    seconds: float
    """Wall time."""
    aspects: tuple[AspectReport, ...]
    """What came out, aspect by aspect; empty where skipped or interrupted."""
    messages: tuple[str, ...]
    """Everything a user should know."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = dataclasses.asdict(self)
        values["files"] = [str(path) for path in self.files]
        values["record_file"] = None if self.record_file is None else str(self.record_file)
        return values


def reframe(
    source: str | Path,
    *,
    options: ReframeOptions | None = None,
    model: SaliencyModel | None = None,
    on_progress: Callable[[ReframeProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ReframeReport:
    """Cut a video to other aspects, so that what people look at stays inside.

    Args:
        source: a video file.
        options: all options; None takes the defaults.
        model: a model already loaded, in place of `options.model`.
        on_progress: called after every batch, in the calling thread.
        should_stop: asked after every batch; True ends it as Ctrl-C does.

    Returns:
        What was done. Ctrl-C does not raise: what was written of the videos is closed under partial names.

    Raises:
        ExistsError: a result is there already, and the options do not allow to replace it.
        ConfigError: an option does not fit the source.
        DecodeError, EncodeError, CheckpointError: see their docstrings. Nothing is left that looks whole.
    """
    options = options or ReframeOptions()
    begin = time.perf_counter()
    path = local_path(source)
    if path is None:
        raise ConfigError(f"{hide_secrets(source)} is no file: a video is read twice to be reframed; save it first")
    (place,) = places_of([source], OutputOptions(output=options.output.output))
    # What is wrong with a file that an option names is said whatever results are there.
    if options.maps is not None:
        check_maps(options.maps)
    if options.window.pin is not None:
        read_pins(options.window.pin)
    loaded = None if options.maps is not None else model or options.model.load()
    job = _Job(path, place, options, loaded, on_progress, should_stop)
    done = job.find_done()
    if done is not None:
        files = tuple(done.paths(place.folder).values())
        return ReframeReport(str(path), "skipped", files, job.record_file, 0, 0.0, (), done.messages)
    job.work()
    return job.report(time.perf_counter() - begin)


def planned_files(place: Place, options: ReframeOptions) -> dict[str, Path]:
    """The files of a reframing, by stage; the record is `record_of(place)`.

    Example:
        >>> planned = planned_files(Place(Path("out"), "a"), ReframeOptions())
        >>> [path.name for path in planned.values()]
        ['a.vidsal.9x16.mp4', 'a.vidsal.9x16.csv', 'a.vidsal.9x16.json', 'a.vidsal.9x16.fcpxml']
    """
    wanted = options.output
    planned: dict[str, Path] = {}
    for name, _ in options.window.aspects:
        base = f"{place.stem}.vidsal.{name}"
        if wanted.video:
            planned[f"{name} video"] = place.folder / f"{base}.{wanted.container}"
        if wanted.table not in (None, "none"):
            planned[f"{name} table"] = place.folder / f"{base}.{wanted.table}"
        planned[f"{name} json"] = place.folder / f"{base}.json"
        for kind in wanted.keyframes:
            planned[f"{name} {kind}"] = place.folder / f"{base}{_KEYFRAME_ENDINGS[kind]}"
    return planned


_KEYFRAME_ENDINGS = {"fcpxml": ".fcpxml", "aftereffects": ".keyframes.txt"}


def record_of(place: Place) -> Path:
    """The record beside the results."""
    return place.folder / f"{place.stem}.vidsal.reframe.json"


class _Job:
    """One reframing step by step."""

    def __init__(
        self,
        path: Path,
        place: Place,
        options: ReframeOptions,
        model: SaliencyModel | None,
        on_progress: Callable[[ReframeProgress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.path, self.place, self.options, self.model = path, place, options, model
        self.record_file = record_of(place)
        self._on_progress, self._should_stop = on_progress, should_stop
        self._replaceable: frozenset[Path] = frozenset()
        self._records: list[RunRecord] = []
        self._provenance = self._made_by()
        self._sinks: list[tuple[str, FileSink]] = []
        self._paths: dict[str, WindowPath] = {}
        self._messages: list[str] = []
        self._frames = 0
        self._total: int | None = None
        self._interrupted = False
        self._is_recorded = False

    def _made_by(self, info: VideoInfo | None = None) -> Provenance:
        try:
            source = InputRecord.of(str(self.path), self.path, kind="video" if info is None else info.kind)
            made_by = ModelRecord.of_either(self.model, self.options.maps)
            pin = self.options.window.pin
            digest = hashlib.sha256(pin.read_bytes()).hexdigest() if pin is not None and pin.is_file() else ""
        except OSError as error:
            raise DecodeError(f"{error.filename or self.path} cannot be read: {error.strerror}") from error
        if info is not None:
            source = source.opened(info)
        provenance = Provenance.of(source, self.options, made_by)
        # The boxes themselves count, not where they lie.
        kept = {**provenance.options, "window": {**provenance.options["window"], "pin": digest or None}}
        return dataclasses.replace(provenance, options=kept)

    def find_done(self) -> RunRecord | None:
        """What earlier runs left: the record of all that is wanted, where it is there and is what would be made.

        Raises:
            ExistsError: results are there that are not to be replaced.
        """
        self._records = read_records(self.record_file)
        self._replaceable = frozenset(
            (self.place.folder / one.file).absolute()
            for record in self._records
            if record.status == "unfinished"
            for one in record.results
            if _is_whole(self.place.folder / one.file, one)
        )
        if self.options.output.existing != "skip":
            return None
        for record in self._records:
            if record.status != "done":
                continue
            there = {one.stage: one for one in record.results}
            wanted = planned_files(self.place, self.options)
            if not all(
                stage in there
                and (self.place.folder / there[stage].file).absolute() in _possible(stage, target)
                and _is_whole(self.place.folder / there[stage].file, there[stage])
                for stage, target in wanted.items()
            ):
                continue
            if changed := record.provenance.differences(self._provenance, "video"):
                what = f"{next(iter(wanted.values()))} was made otherwise: {'; '.join(changed)}; use "
                raise ExistsError(what, Setting("existing", "overwrite"), " to replace it")
            results = tuple(one for one in record.results if one.stage in wanted)
            return dataclasses.replace(record, results=results)
        return None

    def work(self) -> None:
        """Predict, plan, cut, and give all files their names."""
        with contextlib.suppress(Stopped, KeyboardInterrupt), contextlib.ExitStack() as entered:
            self._interrupted = True  # until it is not
            marginals = self._predict(entered)
            for name, window in self._windows.items():
                self._paths[name] = self._find_path(marginals, window)
            self._cut(marginals)
            finish_together([sink for _, sink in self._sinks], before_naming=lambda: self._record("unfinished"))
            self._record("done")
            self._is_recorded = True
            self._interrupted = False

    def _predict(self, entered: contextlib.ExitStack) -> Marginals:
        """The first pass: what every frame shows, along the sides that windows slide on."""
        size = _SMALL if self.model is None else self.model.preprocessor.frame_size
        with open_video(self.path, options=self.options.decode, size=size) as reader:
            self._open(reader, entered)
            self._messages += [] if self.options.maps is None else remarks_on_maps(self.options.maps, self.path)
            axes: list[Axis] = sorted({window.axis for window in self._windows.values()})
            collector = MarginalCollector(axes)
            frames, begin = 0, time.perf_counter()
            with (
                prefetch(reader, name="vidsal-decode") as batches,
                prefetch(self._densities(batches), name="vidsal-predict") as densities,
            ):
                for batch in densities:
                    collector.update(batch)
                    frames += len(batch)
                    self._tell("predicting", frames, begin)
            if not frames:
                raise DecodeError(f"{self.path}: not one frame could be decoded")
            self._total = frames
            self._messages += [*reader.report.messages, *(self.model.notes if self.model else ())]
        return collector.marginals()

    def _densities(self, frames: Iterable[FrameBatch]) -> Iterator[SaliencyBatch]:
        if self.model is not None:
            return predict(frames, self.model, self.options.prediction)
        if self.options.maps is None:
            raise RuntimeError("there is neither a model nor maps")
        return saved_densities(self.options.maps, frames, self.options.cuts)

    def _open(self, reader: Reader, entered: contextlib.ExitStack) -> None:
        """Check all that can be wrong, and claim all files, before anything is decoded."""
        info, wanted = reader.info, self.options.window
        if info.kind == "image":
            raise ConfigError(f"{self.path} is a single picture: reframing takes a video")
        self._info = info
        self._total = info.frame_count if self.options.decode == type(self.options.decode)() else None
        self._provenance = self._made_by(info)
        self._windows: dict[str, Window] = {
            name: window_of(
                name,
                ratio,
                width=info.width,
                height=info.height,
                sample_aspect_ratio=info.sample_aspect_ratio,
                result_height=wanted.height,
            )
            for name, ratio in wanted.aspects
        }
        self._pins: list[Pin] = []
        if wanted.pin is not None:
            self._pins = read_pins(wanted.pin, width=info.width, height=info.height)
        with making_folder(self.place.folder):
            for stage, target in planned_files(self.place, self.options).items():
                sink = self._make_sink(stage, target)
                sink.provenance = self._provenance.as_text()
                self._sinks.append((stage, sink))
            for _, sink in self._sinks:
                entered.enter_context(sink)

    def _make_sink(self, stage: str, target: Path) -> FileSink:
        name, _, kind = stage.partition(" ")
        there = {path for path in _possible(stage, target) if path.exists()}
        overwrite = self.options.output.existing == "overwrite" or (bool(there) and there <= self._replaceable)
        decode = self.options.decode
        if kind == "video":
            device = torch.device("cpu") if self.model is None else self.model.device
            return CropSink(
                target,
                self._info,
                window=self._windows[name],
                pad=self.options.window.pad,
                video=shared_video_options(self.options.video, device, side_by_side=len(self._windows)),
                overwrite=overwrite,
                start_seconds=decode.start_seconds,
                end_seconds=decode.end_seconds,
            )
        if kind == "table":
            return TableSink(target, _LateRows(lambda: self._paths[name]), overwrite=overwrite)
        return DocumentSink(target, lambda: self._document(name, kind), stage=kind, overwrite=overwrite)

    def _document(self, name: str, kind: str) -> str:
        path = self._paths[name]
        if kind == "json":
            return as_json(path, source=self.path.name, provenance=self._provenance.as_text())
        footage = Footage.of(self._info, end_seconds=self.options.decode.end_seconds)
        rate, messages = rate_of(path, footage)
        if not is_uneven(path, rate):
            for message in messages:
                self._say(message)
        else:
            even = "the frames do not come at an even rate: in the keyframes each falls on the nearest frame at "
            self._say(f"{even}{float(rate):.6g} a second")
        if kind == "fcpxml":
            return as_fcpxml(path, footage, name=f"{self.place.stem} {name.replace('x', ':')}")
        return as_after_effects(path, footage)

    def _find_path(self, marginals: Marginals, window: Window) -> WindowPath:
        wanted = self.options.window
        path = find_path(marginals, window, camera=self.options.camera, pins=self._pins, pad=wanted.pad != "none")
        for message in path.messages:
            self._say(message)
        return path

    def _cut(self, marginals: Marginals) -> None:
        """The second pass."""
        for stage, sink in self._sinks:
            if isinstance(sink, CropSink):
                sink.window_path = self._paths[stage.partition(" ")[0]]
        begin = time.perf_counter()
        if not self.options.output.video:
            for first in range(0, len(marginals), _ROWS_AT_ONCE):
                self._write(_bare(marginals, slice(first, min(first + _ROWS_AT_ONCE, len(marginals)))), begin)
            return
        settings = {"options": self.options.decode, "size": (2, 2), "keep_pictures": True}
        with open_video(self.path, **settings) as reader, prefetch(reader, name="vidsal-decode") as batches:  # type: ignore[arg-type]
            for batch in batches:
                self._write(self._with_shots(batch, marginals), begin)
        if self._frames != len(marginals):
            raise self._changed()

    def _with_shots(self, batch: FrameBatch, marginals: Marginals) -> SaliencyBatch:
        """The frames as sinks take them; they have to be those of the first pass."""
        rows = slice(self._frames, self._frames + len(batch))
        same = np.array_equal(marginals.index[rows], batch.index)
        if not same or not np.array_equal(marginals.pts_seconds[rows], batch.pts_seconds):
            raise self._changed()
        flat = _flat(len(batch))
        return SaliencyBatch.of(batch, shot=marginals.shot[rows], cut=_cuts(marginals, rows), log_density=flat)

    def _changed(self) -> DecodeError:
        return DecodeError(f"{self.path} was changed while it was read: run it again once it is whole")

    def _write(self, batch: SaliencyBatch, begin: float) -> None:
        several = self.options.output.video and len(self._windows) > 1
        for one in map(_converted_once, batch) if several else (batch,):
            for _, sink in self._sinks:
                sink.write(one)
        self._frames += len(batch)
        self._tell("cutting", self._frames, begin)

    def _tell(self, stage: Literal["predicting", "cutting"], frames: int, begin: float) -> None:
        if self._on_progress:
            self._on_progress(ReframeProgress(stage, frames, self._total, time.perf_counter() - begin))
        if self._should_stop and self._should_stop():
            raise Stopped

    def _say(self, message: str) -> None:
        if message not in self._messages:
            self._messages.append(message)

    def _record(self, status: Literal["done", "unfinished"]) -> None:
        folder = self.place.folder.absolute()
        results = tuple(
            ResultRecord(
                stage,
                sink.path.name,
                (sink.path if status == "done" else sink.partial_path).stat().st_size,
            )
            for stage, sink in self._sinks
        )
        source, counts = path_from(folder, self.path), {"frames": self._frames}
        record = RunRecord(status, self._provenance, results, counts, self._all_messages(), source)
        written = {sink.path.absolute() for _, sink in self._sinks}
        earlier = []
        for one in self._records:
            kept = tuple(r for r in one.results if (folder / r.file).absolute() not in written)
            kept = tuple(r for r in kept if _is_whole(folder / r.file, r))
            if one.status == "done" and kept:
                earlier.append(dataclasses.replace(one, results=kept))
        write_record(self.record_file, record, earlier=earlier)

    def _all_messages(self) -> tuple[str, ...]:
        said = dict.fromkeys((*self._messages, *(text for _, sink in self._sinks for text in sink.messages)))
        return tuple(said)

    def report(self, seconds: float) -> ReframeReport:
        """What was done."""
        written = [sink.partial_path if self._interrupted else sink.path for _, sink in self._sinks]
        aspects = tuple(
            AspectReport(
                aspect=name.replace("x", ":"),
                window=(path.window.width, path.window.height),
                kept_share=path.kept_share,
                centre_share=path.centre_share,
                shots=len(path.shots),
                moving=sum(shot.moves for shot in path.shots),
                padded=sum(shot.padded for shot in path.shots),
            )
            for name, path in self._paths.items()
        )
        return ReframeReport(
            source=str(self.path),
            status="interrupted" if self._interrupted else "done",
            files=tuple(path for path in written if path.exists()),
            record_file=self.record_file if self._is_recorded else None,
            frames=self._frames,
            seconds=seconds,
            aspects=() if self._interrupted else aspects,
            messages=self._all_messages(),
        )


_ROWS_AT_ONCE = 1024

_SMALL = (180, 320)
"""(height, width) of the frames among which cuts are looked for where no model sees them."""


class _LateRows(PathRows):
    """The rows of a path that is known only once the first frame is written."""

    def __init__(self, path: Callable[[], WindowPath]) -> None:
        self._find = path

    def update(self, batch: SaliencyBatch) -> list[Any]:
        self._path = self._find()
        return super().update(batch)


def _possible(stage: str, target: Path) -> set[Path]:
    return possible_files("video" if stage.endswith(" video") else stage, target)


def _is_whole(path: Path, result: ResultRecord) -> bool:
    return path.is_file() and path.stat().st_size == result.bytes


def _bare(marginals: Marginals, rows: slice) -> SaliencyBatch:
    """Frames without pictures, for the files that need none."""
    count = rows.stop - rows.start
    return SaliencyBatch(
        index=marginals.index[rows],
        pts_seconds=marginals.pts_seconds[rows],
        shot=marginals.shot[rows],
        cut=_cuts(marginals, rows),
        log_density=_flat(count),
        height=marginals.height,
        width=marginals.width,
    )


def _cuts(marginals: Marginals, rows: slice) -> np.ndarray[Any, np.dtype[np.bool_]]:
    shot = marginals.shot
    cuts: np.ndarray[Any, np.dtype[np.bool_]] = np.diff(shot[rows], prepend=shot[max(0, rows.start - 1)]) != 0
    return cuts


def _converted_once(frame: SaliencyBatch) -> SaliencyBatch:
    """One frame whose picture is made once for all videos, which only read it."""
    pictures = tuple(
        dataclasses.replace(
            picture,
            rgb=functools.cache(picture.rgb),
            deep_rgb=None if picture.deep_rgb is None else functools.cache(picture.deep_rgb),
        )
        for picture in frame.pictures
    )
    return dataclasses.replace(frame, pictures=pictures)


def _flat(frames: int) -> torch.Tensor:
    """Densities of one cell: the sinks here look at none."""
    return torch.zeros(frames, 1, 1)
