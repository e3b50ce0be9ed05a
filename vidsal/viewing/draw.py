"""A video and recorded gaze in, the video with every viewer on it and a table of disagreement out: `draw_gaze`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vidsal.addresses import hide_secrets
from vidsal.decode import Reader, open_video
from vidsal.errors import ConfigError, DatasetError, DecodeError, Setting, Stopped
from vidsal.files import making_folder
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.gaze.table import Gaze, check_fits, read_gaze
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.maps import check_maps, remarks_on_maps, saved_densities
from vidsal.pipe.options import OutputOptions
from vidsal.pipe.outputs import shared_video_options
from vidsal.pipe.places import local_path, places_of
from vidsal.pipe.predict import predict
from vidsal.pipe.record import InputRecord, ModelRecord, Provenance
from vidsal.prefetch import prefetch
from vidsal.shots import CutDetector
from vidsal.sinks.contract import FileSink, finish_together
from vidsal.sinks.tables import TableSink
from vidsal.stages import CutOptions
from vidsal.tracks import Shared
from vidsal.viewing.options import DrawGazeOptions
from vidsal.viewing.sink import GazeSink
from vidsal.viewing.viewers import RecordedViewers, ViewerTracker

__all__ = ["GazeDrawn", "chosen_rows", "draw_gaze"]

_SMALL = (180, 320)
"""(height, width) of the frames among which cuts are looked for where no model sees them."""


@dataclass(frozen=True)
class GazeDrawn:
    """What was drawn."""

    source: str
    """The video."""
    files: tuple[Path, ...]
    """The video and the table."""
    frames: int
    """Frames written."""
    viewers: int
    """Viewings that are drawn, each as a viewer."""
    rows: int
    """Valid rows of their gaze."""
    before: int
    """How many of them lie before the first frame that is drawn."""
    after: int
    """How many lie after the last one."""
    outside: int
    """How many of the others lie beside the picture."""
    seconds: float
    """Wall time."""
    messages: tuple[str, ...]
    """Everything a user should know."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self) | {"files": [str(path) for path in self.files]}


def draw_gaze(
    video: str | Path,
    gaze: Gaze | str | Path,
    *,
    options: DrawGazeOptions | None = None,
    model: SaliencyModel | None = None,
    on_progress: Callable[[int, int | None, float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> GazeDrawn:
    """Draws recorded gaze over a video.

    A frame shows where each viewer looks at its own time, so that variable rates need nothing. Disagreement is the mean
    distance between two viewers; it stands on the video, with a bar that is full where viewers look anywhere, and in a
    table, see `vidsal.viewing.viewers.ViewerNumbers`.

    Args:
        video: a video file.
        gaze: the table of `vidsal gaze import`, or its path; of this video.
        options: all options; None takes the defaults.
        model: a model already loaded, in place of `options.model`, where a prediction stands beside.
        on_progress: called after every batch, in the calling thread, with the frames done, those expected (None where
            unknown) and the seconds since the start.
        should_stop: asked after every batch; True ends the work.

    Raises:
        Stopped: `should_stop` asked for an end; what was written of the video stays under a partial name.
        ConfigError: an option does not fit.
        DatasetError: the gaze cannot be read, is of another picture, or none of it lies in the video's time.
        ExistsError: a result is there already.
        DecodeError, EncodeError, CheckpointError: see their docstrings. Nothing is left that looks whole.
    """
    options = options or DrawGazeOptions()
    begin = time.perf_counter()
    path = local_path(video)
    if path is None:
        raise ConfigError(f"{hide_secrets(video)} is no file: gaze is drawn over a video file; save it first")
    table = chosen_rows(gaze if isinstance(gaze, Gaze) else read_gaze(gaze), options)
    shown = options.drawing
    loaded = None
    if shown.beside == "model":
        loaded = model or options.model.load()
    elif shown.maps is not None:
        check_maps(shown.maps)
    size = _SMALL if loaded is None else loaded.preprocessor.frame_size
    with ExitStack() as entered:
        reader = entered.enter_context(open_video(path, options=options.decode, size=size, keep_pictures=True))
        info = reader.info
        if info.kind == "image":
            raise ConfigError(f"{path} is a single picture: gaze is drawn over a video")
        lasts = info.duration_seconds
        of_it = check_fits(table, height=info.height, width=info.width, video=str(path), duration_seconds=lasts)
        _check_in_time(table, lasts, options, path)
        viewers = RecordedViewers(table, height=info.height, width=info.width)
        sigma = shown.sigma_pixels(height=info.height, width=info.width)
        numbers = Shared(
            ViewerTracker(
                viewers,
                sigma=sigma,
                pixels_per_degree=shown.pixels_per_degree,
                predicted=shown.beside != "none",
            )
        )
        sinks = _sinks(path, reader, options, viewers, numbers, loaded)
        made_by = Provenance.of(
            InputRecord.of(str(path), path, kind=info.kind).opened(info),
            options,
            ModelRecord.of_either(loaded, shown.maps),
        )
        for sink in sinks:
            sink.provenance = made_by.as_text()
            entered.enter_context(sink)
        total = info.frame_count if options.decode == type(options.decode)() else None
        tally = _GazeTally(table, viewers)
        with prefetch(reader, name="vidsal-decode") as batches:
            for batch in _densities(batches, options, loaded):
                for sink in sinks:
                    sink.write(batch)
                tally.update(batch)
                if on_progress:
                    on_progress(tally.frames, total, time.perf_counter() - begin)
                if should_stop and should_stop():
                    raise Stopped
        if not tally.frames:
            raise DecodeError(f"{path}: not one frame could be decoded")
        finish_together(sinks)
        said = [*of_it, *tally.messages(), *reader.report.messages, *(text for sink in sinks for text in sink.messages)]
        if loaded is not None:
            said += loaded.notes
        elif shown.maps is not None:
            said = [*remarks_on_maps(shown.maps, path, follow_gaze=True), *said]
    return GazeDrawn(
        source=str(video),
        files=tuple(sink.path for sink in sinks),
        frames=tally.frames,
        viewers=len(viewers),
        rows=tally.rows,
        before=tally.before,
        after=tally.after,
        outside=tally.outside,
        seconds=time.perf_counter() - begin,
        messages=tuple(dict.fromkeys(said)),
    )


def chosen_rows(gaze: Gaze, options: DrawGazeOptions) -> Gaze:
    """Those of the participants and trials that the options name.

    Raises:
        DatasetError: a name is not in the table, or no row is left.
    """
    kept = np.ones(len(gaze), bool)
    for name, text in (("participants", options.drawing.participants), ("trials", options.drawing.trials)):
        if text is None:
            continue
        wanted = [one.strip() for one in text.split(",")]
        column = gaze.participant if name == "participants" else gaze.trial
        known = list(dict.fromkeys(column.tolist()))
        unknown = [one for one in wanted if one not in known]
        if unknown:
            listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
            raise DatasetError("the table of gaze has no ", Setting(name, unknown[0]), f"; it has {listed}")
        kept &= np.isin(column.astype(str), wanted)
    chosen = gaze.rows(kept)
    if not len(chosen):
        raise DatasetError("the table of gaze has no row" + (" of these participants and trials" if len(gaze) else ""))
    return chosen


def _check_in_time(gaze: Gaze, duration: float | None, options: DrawGazeOptions, path: Path) -> None:
    start, end = options.decode.start_seconds, options.decode.end_seconds
    end = min(np.inf if end is None else end, np.inf if duration is None else duration)
    seconds = gaze.pts_seconds[gaze.valid]
    if not len(seconds):
        raise DatasetError("no row of the gaze is valid: nobody could be drawn")
    if not ((seconds + np.nan_to_num(gaze.duration_seconds[gaze.valid]) >= start) & (seconds < end)).any():
        raise DatasetError(
            f"no row of the gaze lies in what is drawn of {path}, {start:g} to {end:g} s: it is from "
            f"{seconds.min():.6g} to {seconds.max():.6g} s; import it with the offset of its clock"
        )


def _sinks(
    path: Path,
    reader: Reader,
    options: DrawGazeOptions,
    viewers: RecordedViewers,
    numbers: Shared,
    model: SaliencyModel | None,
) -> list[FileSink]:
    (place,) = places_of([path], OutputOptions(output=options.output.output))
    wanted = options.output
    device = torch.device("cpu") if model is None else model.device
    beside = None
    if options.drawing.beside != "none":
        beside = f"predicted by {model.card.name}" if model is not None else "maps of an earlier run"
    with making_folder(place.folder):
        sinks: list[FileSink] = [
            GazeSink(
                place.folder / f"{place.stem}.vidsal.gaze.{wanted.container}",
                reader.info,
                viewers=viewers,
                numbers=numbers,
                drawing=options.drawing,
                beside=beside,
                video=shared_video_options(options.video, device),
                overwrite=wanted.overwrite,
                start_seconds=options.decode.start_seconds,
                end_seconds=options.decode.end_seconds,
            )
        ]
        if wanted.table != "none":
            target = place.folder / f"{place.stem}.vidsal.gaze.{wanted.table}"
            sinks.append(TableSink(target, numbers, overwrite=wanted.overwrite))
    return sinks


def _densities(
    frames: Iterable[FrameBatch], options: DrawGazeOptions, model: SaliencyModel | None
) -> Iterator[SaliencyBatch]:
    maps = options.drawing.maps
    if model is not None:
        return predict(frames, model, options.prediction)
    if maps is not None:
        return saved_densities(maps, frames, options.cuts)
    return _without_maps(frames, options.cuts)


def _without_maps(frames: Iterable[FrameBatch], cuts: CutOptions) -> Iterator[SaliencyBatch]:
    """Frames with their shots, and densities of one cell that nobody looks at."""
    detector, shot = CutDetector(cuts), 0
    for batch in frames:
        cut = detector.update(batch.frames, batch.pts_seconds)
        shots = shot + np.cumsum(cut, dtype=np.int64)
        shot = int(shots[-1])
        yield SaliencyBatch.of(batch, shot=shots, cut=cut, log_density=torch.zeros(len(batch), 1, 1))


class _GazeTally:
    """Counts what of the gaze is drawn."""

    def __init__(self, gaze: Gaze, viewers: RecordedViewers) -> None:
        self._from = gaze.pts_seconds[gaze.valid]
        self._to = self._from + np.nan_to_num(gaze.duration_seconds[gaze.valid])
        self._inside = viewers.inside(np.column_stack([gaze.x, gaze.y])[gaze.valid])
        self.rows = len(self._from)
        self.frames = 0
        self._first = self._last = self._step = 0.0

    def update(self, batch: SaliencyBatch) -> None:
        """The next frames."""
        seconds = batch.pts_seconds
        if not self.frames:
            self._first = float(seconds[0])
        self.frames += len(batch)
        self._last = float(seconds[-1])

    @property
    def _end(self) -> float:
        """When the last frame has been shown."""
        steps = self.frames - 1
        return self._last + ((self._last - self._first) / steps if steps else 0.0)

    @property
    def before(self) -> int:
        """Rows before the first frame."""
        return int(((self._from < self._first) & (self._to <= self._first)).sum())

    @property
    def after(self) -> int:
        """Rows after the last one."""
        return int((self._from > self._end).sum())

    @property
    def outside(self) -> int:
        """Rows in the time of the frames, beside the picture."""
        timely = (self._from <= self._end) & ((self._from >= self._first) | (self._to > self._first))
        return int((timely & ~self._inside).sum())

    def messages(self) -> list[str]:
        """What a person should know."""
        said = []
        if self.before or self.after:
            said.append(
                f"of {self.rows} valid rows of gaze, {self.before} lie before the first frame that is drawn and "
                f"{self.after} after the last: nobody sees them"
            )
        if self.outside:
            said.append(f"{self.outside} of {self.rows} valid rows lie beside the picture: they are not drawn")
        return said
