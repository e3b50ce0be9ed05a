"""A source in, files and a report out: `run`, and `Job`, which is one run step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vidsal.addresses import hide_secrets
from vidsal.decode import DecodeOptions, DecodeReport, Reader, VideoInfo, open_video
from vidsal.decode.contract import CountsDamage
from vidsal.errors import ConfigError, DecodeError, ExistsError, Stopped
from vidsal.exports.contract import Footage
from vidsal.files import claim, clear, release
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.options import RunOptions
from vidsal.pipe.outputs import NOTHING_TO_WRITE, make_sinks
from vidsal.pipe.places import Place, all_outputs, local_path, other_places, places_of
from vidsal.pipe.predict import StageClock, predict
from vidsal.pipe.record import (
    InputRecord,
    Provenance,
    ResultRecord,
    RunRecord,
    Standing,
    look_around,
    path_from,
    plain_options,
    write_record,
)
from vidsal.prefetch import Prefetched, prefetch
from vidsal.sinks import Sink
from vidsal.sinks.contract import FileSink, finish_together, partial_of

__all__ = ["Job", "Progress", "RunReport", "run"]


@dataclass(frozen=True)
class Progress:
    """How far a run got."""

    frames: int
    """Frames written."""
    total: int | None
    """Frames expected, never less than were written; None where unknown."""
    pts_seconds: float
    """Presentation time of the last frame written."""
    seconds: float
    """Since the first frame was asked for."""
    cuts: int
    """Cuts so far."""


@dataclass(frozen=True)
class RunReport(CountsDamage):
    """What a run did."""

    source: str
    """The input."""
    status: Literal["done", "skipped", "interrupted"]
    """done; skipped, where all results were there already and are what would have been made (`existing="skip"`): then
    counts and messages are those of the run that made them; or interrupted, ended early by Ctrl-C."""
    files: tuple[Path, ...]
    """Results written, or found where it was skipped, under their final names (partial names where interrupted)."""
    record_file: Path | None
    """The record beside them, NAME.vidsal.json; None where none was written."""
    frames: int
    """Frames written."""
    seen_frames: int
    """Frames that the model saw; the maps of the others were interpolated in time."""
    seconds: float
    """Wall time from the first frame to the finished files, without loading the model; 0 where skipped."""
    frames_per_second: float
    """Frames over seconds; 0 where skipped."""
    stage_frames_per_second: dict[str, float]
    """Frames over the seconds that each stage was at work: decode, cuts, preprocess, model, smooth, video (drawing
    and encoding), table, maps, exports by name. The stages work side by side."""
    video_seconds: float
    """Length of what was written, that of all shots in the shot list: until the last frame has been shown, for as long
    as the others on average, but not after the end of the source, nor after `end_seconds`; 0 of a picture."""
    cuts: int
    """Cuts found."""
    skipped_corrupt: int
    """Pieces of the input that could not be decoded."""
    concealed: int
    """Frames that the decoder had to patch up."""
    deinterlaced: int
    """Interlaced frames that became whole pictures."""
    mended_times: int
    """Frames with an impossible time, replaced by one counted from the frame before."""
    lost_frames: int
    """Frames that the input tells of, by its packets, its index or its times, and that did not come."""
    damaged_packets: int
    """Packets of any of its streams that came damaged and were decoded all the same."""
    structure_faults: int
    """Places where the structure of the file is broken."""
    skipped_at_start: int
    """Packets before the first frame that need a key frame from before the beginning."""
    dropped_live: int
    """Frames of a live source dropped to keep up."""
    mean_delay_seconds: float
    """Of a live source: from when a frame was decoded to when all results had it, mean over the frames; else 0."""
    longest_delay_seconds: float
    """The same of the frame that took longest."""
    truncated: bool
    """The input ends before its header says, or in the middle of a piece."""
    missing_seconds: float
    """How much of it is missing."""
    messages: tuple[str, ...]
    """Everything a user should know about this run."""
    model: str
    """Name of the model."""
    device: str
    """Where it ran."""
    precision: str
    """What its weights and features were computed in: fp32, bf16 or fp16, with "-openvino" where OpenVINO did."""
    steps: tuple[int, int]
    """Refinement steps of a frame that starts afresh, and of one that goes on from the frame before."""
    options: dict[str, Any]
    """The resolved options, stage by stage."""

    @property
    def interrupted(self) -> bool:
        """Ended early by Ctrl-C."""
        return self.status == "interrupted"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = dataclasses.asdict(self) | {"interrupted": self.interrupted}
        values["files"] = [str(path) for path in self.files]
        values["record_file"] = None if self.record_file is None else str(self.record_file)
        return values


def run(
    source: str | Path | int,
    *,
    options: RunOptions | None = None,
    model: SaliencyModel | None = None,
    sinks: Iterable[Sink] = (),
    place: Place | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> RunReport:
    """Predict a source and write the results.

    Args:
        source: a video file, an image, a folder of images, a camera's index, an address (rtsp, http), or "-".
        options: all options; None takes the defaults.
        model: a model already loaded, in place of `options.model` (for many runs).
        sinks: further sinks to feed, entered and left by this function.
        place: where the results go, as `vidsal.pipe.places.places_of` gives it for one of several sources; None: where
            the options say.
        on_progress: called after every batch, in the calling thread.
        should_stop: asked after every batch; True ends the run as Ctrl-C does.

    Returns:
        What was done. Ctrl-C does not raise: what was written is closed cleanly under partial names and
        `interrupted` is set. A live source has no end of its own, so there it simply finishes the files.

    Raises:
        ExistsError: a result is there already, and the options do not allow to replace it.
        DecodeError, EncodeError, CheckpointError, ConfigError: see their docstrings. Nothing is left that looks whole.
    """
    options = options or RunOptions()
    loaded = model or options.model.load()
    job = Job(source, options=options, model=loaded, sinks=sinks, place=place)
    if job.is_done():
        return job.report()
    with job.opened() as reader, job.writing(), contextlib.ExitStack() as threads:
        # A live reader has a thread of its own. What waited in another would only grow old there.
        # A processor is busy with one batch in hand; each further one is only memory.
        depth = 2 if loaded.device.type == "cuda" and not reader.info.live else 1
        ahead: Any = (
            contextlib.closing(iter(reader))
            if reader.info.live
            else prefetch(reader, depth=depth, name="vidsal-decode")
        )
        batches: Iterable[FrameBatch] = threads.enter_context(ahead)
        predicted = predict(batches, loaded, options.prediction, clock=job.clock)
        with prefetch(predicted, depth=depth, name="vidsal-predict") as results:
            for batch in results:
                progress = job.write(batch)
                if on_progress:
                    on_progress(progress)
                if should_stop and should_stop():
                    raise Stopped
        if isinstance(batches, Prefetched):
            job.clock.add("decode", batches.busy_seconds)
    return job.report()


class Job:
    """One source on its way to its files: opened, read, written, left, reported. For the pipes of this package."""

    def __init__(
        self,
        source: str | Path | int,
        *,
        options: RunOptions,
        model: SaliencyModel,
        sinks: Iterable[Sink] = (),
        side_by_side: int = 1,
        place: Place | None = None,
        only_there: bool = False,
        copied: bool = False,
    ) -> None:
        """Plan a run; nothing is opened yet.

        Args:
            source: as for `run`.
            options: all options; those of the model are ignored.
            model: the loaded model.
            sinks: further sinks.
            side_by_side: runs that share the machine with this one, itself included.
            place: where the results go; None: where the options say.
            only_there: whether the same results under another name, of an earlier run, count for nothing.
            copied: whether the source is a copy that goes when the run has ended, so that no result may point to it.

        Raises:
            ConfigError: more refinement steps are asked for than the model allows.
        """
        options.recurrence.steps_of(model.config.steps)
        self.source = source
        self.options = options
        self.model = model
        self.clock = StageClock()
        self.frames = 0
        """Frames written."""
        self.cuts = 0
        """Cuts among them."""
        self.total: int | None = None
        """Frames expected, None where unknown."""
        self.interrupted = False
        """Whether the user stopped the run."""
        self.place = place or places_of([source], options.output)[0]
        """Where the results go."""
        self._begin = time.perf_counter()
        self._first_seconds: float | None = None
        self._last_seconds = 0.0
        self._delays = self._longest_delay = 0.0
        self._standing = Standing()
        self._provenance: Provenance | None = None
        self._record: RunRecord | None = None
        self._further = tuple(sinks)
        self._only_there = only_there
        self._copied = copied
        self._side_by_side = side_by_side
        self._own: list[FileSink] = []
        self._sinks: tuple[Sink, ...] = ()
        self._files_entered = contextlib.ExitStack()
        self._others_entered = contextlib.ExitStack()
        self._reader: Reader | None = None

    def is_done(self) -> bool:
        """Look at what earlier runs left; True where the results are there, and there is nothing to do.

        Raises:
            ExistsError: results are there that are not to be replaced.
        """
        try:
            self._standing = self._look_around(self.place)
        except ExistsError:
            if not self._is_done_elsewhere():
                raise
        return self._standing.done is not None or self._is_done_elsewhere()

    def _is_done_elsewhere(self) -> bool:
        """Whether an earlier run, of this source alone or among others, made the same results under other names."""
        if self.options.output.existing != "skip" or self._further or self._only_there:
            return False
        for place in other_places(self.source, self.place, self.options.output):
            if os.path.lexists(place.record):
                with contextlib.suppress(ExistsError):
                    standing = self._look_around(place)
                    if standing.done is not None:
                        self.place, self._standing = place, standing
                        return True
        return False

    def _look_around(self, place: Place) -> Standing:
        try:
            standing = look_around(place, self.options, self.model, local_path(self.source))
        except OSError as error:
            raise _unreadable(hide_secrets(self.source), error) from error
        if standing.done is None or not self._further:
            return standing
        # Whether the results of other sinks are there is not known: all are made again.
        there = frozenset(standing.done.paths(place.folder).values())
        return dataclasses.replace(standing, done=None, replaceable=there)

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Hold the source open, with its sinks entered; the caller leaves them by `writing`, maybe in another thread.

        Raises:
            DecodeError, EncodeError, ConfigError: the source cannot be opened, or a result not written.
        """
        self._begin = time.perf_counter()
        with open_video(
            self.source,
            options=self.options.decode,
            size=self.model.preprocessor.frame_size,
            keep_pictures=self.options.output.video,
        ) as reader:
            self._own = make_sinks(
                reader.info,
                self.options,
                self.model.device,
                side_by_side=self._side_by_side,
                place=self.place,
                replaceable=self._standing.replaceable,
            )
            self._provenance = self._made_by(reader.info)
            provenance = self._provenance.as_text()
            for own in self._own:
                own.provenance = provenance
                if own.stage == "report":
                    page: Any = own  # its class comes with pages and their scripts
                    page.describe, page.source_stays = self._described, not self._copied
            self._sinks = (*self._own, *self._further)
            if not self._sinks:
                raise ConfigError(NOTHING_TO_WRITE)
            with contextlib.ExitStack() as files, contextlib.ExitStack() as others:
                for sink in self._sinks:
                    (files if isinstance(sink, FileSink) else others).enter_context(sink)
                if self._standing.replaceable and self._look_around(self.place) != self._standing:
                    raise ExistsError(f"{self.place.record}: another run has just made these results; they are kept")
                self._clear_partials()
                self._files_entered, self._others_entered = files.pop_all(), others.pop_all()
            self.total = _expected_frames(reader.info, self.options.decode)
            self._reader = reader
            yield reader

    def _clear_partials(self) -> None:
        """Remove what a killed run left of results that this one does not write; a run that was stopped keeps its own.

        Only a killed run leaves its locks, and nobody holds them.
        """
        own = {sink.partial_path for sink in self._own}
        for target in all_outputs(self.place):
            partial = partial_of(target)
            if partial in own or not os.path.lexists(f"{partial}.lock"):
                continue
            with contextlib.suppress(OSError):
                if (lock := claim(partial, sure=True)) is None:
                    continue
                try:
                    for path in (partial, partial.with_suffix(f".2{target.suffix}"), partial.with_suffix(".raw")):
                        clear(path)
                finally:
                    release(partial, lock)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Leave the sinks as the block ends: all whole at its end, all partial with an error, theirs included.

        `Stopped` and Ctrl-C go no further: the sinks are left partial and `interrupted` is set. A live source has no
        end of its own: stopping it is how it ends.
        """
        try:
            # Sinks of other kinds cannot take back what they have finished: the files get their names after them.
            with self._files_entered:
                with self._others_entered:
                    try:
                        yield
                    except (Stopped, KeyboardInterrupt):
                        if self._reader is None or not self._reader.info.live or not self.frames:
                            raise
                self._finish()
        except (Stopped, KeyboardInterrupt):
            self.interrupted = True

    def _made_by(self, info: VideoInfo) -> Provenance:
        try:
            source = InputRecord.of(info.source, info.path, kind=info.kind)
        except OSError as error:
            raise _unreadable(info.source, error) from error
        return Provenance.of(source.opened(info), self.options, self.model)

    def _finish(self) -> None:
        """Give all files their names, the record as the last: it says that they are complete."""
        files = [sink for sink in self._sinks if isinstance(sink, FileSink)]
        finish_together(files, before_naming=self._announce)
        if self._own and self.options.output.record:
            self._record = self._made_record("done", [(sink.stage, sink.path, sink.path) for sink in self._own])
            self._write_record(self._record)

    def _announce(self) -> None:
        """Say that files are about to get their names: what a killed run leaves is then known for what it is."""
        if not self._own:
            return
        if self.options.output.record:
            named = [(sink.stage, sink.path, sink.partial_path) for sink in self._own]
            self._write_record(self._made_record("unfinished", named))
        elif self._standing.records:
            # The record of an earlier run says nothing of the new files.
            staying = self._staying()
            if staying:
                write_record(self.place.record, staying[0], earlier=staying[1:])
            else:
                self.place.record.unlink(missing_ok=True)

    def _made_record(self, status: Literal["done", "unfinished"], files: list[tuple[str, Path, Path]]) -> RunRecord:
        """The record about files, each with the name that it has or gets, and the one that it has now."""
        reader, provenance = self._reader, self._provenance
        if reader is None or provenance is None:
            raise RuntimeError("nothing was opened")
        folder = self.place.folder.absolute()
        results = tuple(
            ResultRecord(
                stage=stage,
                file=name.name if name.absolute().parent == folder else str(name.absolute()),
                bytes=there.stat().st_size,
            )
            for stage, name, there in files
        )
        source = path_from(folder, None if self._copied else reader.info.path)
        counts, messages = self._counts(reader.report), self._messages(reader)
        return RunRecord(status, provenance, results, counts, messages, source)

    def _described(self) -> dict[str, Any]:
        """What a page says of how all that it shows came about; these files are whole by then."""
        others = [(sink.stage, sink.path, sink.partial_path) for sink in self._own if sink.stage != "report"]
        return self._made_record("done", others).as_dict()

    def _write_record(self, record: RunRecord) -> None:
        write_record(self.place.record, record, earlier=self._staying())

    def _staying(self) -> list[RunRecord]:
        return self._standing.staying(self.place.folder, [sink.path for sink in self._own])

    @property
    def info(self) -> VideoInfo | None:
        """The source; None before it is open."""
        return None if self._reader is None else self._reader.info

    @property
    def is_open(self) -> bool:
        """Whether source and files could be opened; stays True once they are closed."""
        return self._reader is not None

    def write(self, batch: SaliencyBatch) -> Progress:
        """Write the next frames to all sinks; returns how far the run is."""
        for sink in self._sinks:
            with self.clock(sink.stage if isinstance(sink, FileSink) else type(sink).__name__.lower()):
                sink.write(batch)
        self._note_delays(batch)
        self.frames += len(batch)
        if self.total is not None:
            # What a source says of its length may be too little.
            self.total = max(self.total, self.frames)
        self.cuts += int(batch.cut.sum())
        if self._first_seconds is None:
            self._first_seconds = float(batch.pts_seconds[0])
        self._last_seconds = float(batch.pts_seconds[-1])
        return Progress(
            frames=self.frames,
            total=self.total,
            pts_seconds=self._last_seconds,
            seconds=time.perf_counter() - self._begin,
            cuts=self.cuts,
        )

    def _note_delays(self, batch: SaliencyBatch) -> None:
        """How long ago the frames of a live source came that were just written."""
        arrivals, now = self._reader.arrivals if self._reader is not None else (), time.monotonic()
        for number, came in tuple(arrivals):
            if batch.index[0] <= number <= batch.index[-1]:
                self._delays += now - came
                self._longest_delay = max(self._longest_delay, now - came)

    @property
    def _video_seconds(self) -> float:
        if self._reader is None or self._first_seconds is None:
            return 0.0
        first, last = self._first_seconds, self._last_seconds
        footage = Footage.of(self._reader.info, end_seconds=self.options.decode.end_seconds)
        return max(last - first, 0.0) + footage.last_frame_lasts(first, last, steps=self.frames - 1)

    def report(self) -> RunReport:
        """What was done; `writing` has to be left before.

        Raises:
            DecodeError: not one frame came.
        """
        if self._standing.done is not None:
            return self._report_skipped(self._standing.done)
        reader = self._reader
        if reader is None or (self.frames == 0 and not self.interrupted):
            raise DecodeError(f"{hide_secrets(self.source)}: not one frame could be decoded")
        written = [sink.partial_path if self.interrupted else sink.path for sink in self._own]
        counts = self._counts(reader.report) if self._record is None else self._record.counts
        seconds = counts["seconds"]
        return RunReport(
            source=reader.info.source,
            status="interrupted" if self.interrupted else "done",
            files=tuple(path for path in written if path.exists()),
            record_file=None if self._record is None else self.place.record,
            frames_per_second=self.frames / seconds,
            stage_frames_per_second={stage: self.frames / t for stage, t in self.clock.seconds.items() if t > 0},
            messages=self._messages(reader) if self._record is None else self._record.messages,
            device=str(self.model.device),
            **counts,
            **self._planned,
        )

    @property
    def _planned(self) -> dict[str, Any]:
        """What a report says of the model and the options."""
        return {
            "model": self.model.card.name,
            "precision": self.model.precision,
            "steps": self.options.recurrence.steps_of(self.model.config.steps),
            "options": plain_options(self.options),
        }

    def _counts(self, counts: DecodeReport) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "seen_frames": self.clock.seen_frames,
            "video_seconds": self._video_seconds,
            "cuts": self.cuts,
            "seconds": time.perf_counter() - self._begin,
            "skipped_corrupt": counts.skipped_corrupt,
            "concealed": counts.concealed,
            "deinterlaced": counts.deinterlaced,
            "mended_times": counts.mended_times,
            "lost_frames": counts.lost_frames,
            "damaged_packets": counts.damaged_packets,
            "structure_faults": counts.structure_faults,
            "skipped_at_start": counts.skipped_at_start,
            "dropped_live": counts.dropped_live,
            "mean_delay_seconds": self._delays / self.frames if self.frames else 0.0,
            "longest_delay_seconds": self._longest_delay,
            "truncated": counts.truncated,
            "missing_seconds": counts.missing_seconds,
        }

    def _messages(self, reader: Reader) -> tuple[str, ...]:
        info, counts = reader.info, reader.report
        if info.kind == "stream" and self.options.output.video and self.options.video.keep_streams:
            counts.say(f"sound and subtitles are not copied: {info.source} can be read only once")
        if counts.dropped_live:
            many = "1 frame" if counts.dropped_live == 1 else f"{counts.dropped_live} frames"
            counts.say(f"{many} of the live source left out, to keep up with it")
        if self._provenance is not None and info.path is not None and info.path.exists():
            before = self._provenance.input
            if not before.is_unchanged(InputRecord.of(info.source, info.path, sampled=False)):
                counts.say(f"{info.source} was changed while it was read: it had been {before.describe()}")
        # Several exports say the same of one source.
        said = (*counts.messages, *self.model.notes, *(text for sink in self._own for text in sink.messages))
        return tuple(dict.fromkeys(said))

    def _report_skipped(self, record: RunRecord) -> RunReport:
        counts = dict.fromkeys(self._counts(DecodeReport()), 0) | dict(record.counts)
        kept = {name: counts[name] for name in self._counts(DecodeReport())}
        return RunReport(
            source=hide_secrets(self.source),
            status="skipped",
            files=tuple(record.paths(self.place.folder).values()),
            record_file=self.place.record,
            frames_per_second=0.0,
            stage_frames_per_second={},
            messages=record.messages,
            device=record.provenance.model.device,
            **kept | {"seconds": 0.0, "truncated": bool(kept["truncated"])},
            **self._planned,
        )


def _unreadable(name: str, error: OSError) -> DecodeError:
    remedy = "; change its permissions" if isinstance(error, PermissionError) else ""
    return DecodeError(f"{name} cannot be read: {error.strerror}{remedy}")


def _expected_frames(info: VideoInfo, options: DecodeOptions) -> int | None:
    """How many frames the part of the source that is read should have; None where unknown."""
    if options.start_seconds == 0 and options.end_seconds is None:
        return info.frame_count
    if info.rate is None or info.duration_seconds is None:
        return None
    end = min(info.duration_seconds, options.end_seconds or info.duration_seconds)
    return max(1, round((end - options.start_seconds) * info.rate))
