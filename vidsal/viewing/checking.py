"""Recorded gaze, its video and a model (or maps of a run) in, other readings of the gaze that fit better out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vidsal.addresses import hide_secrets
from vidsal.decode import open_video
from vidsal.errors import ConfigError, DatasetError, Stopped
from vidsal.gaze.table import Gaze, check_fits, read_gaze
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.maps import check_maps, remarks_on_maps, saved_densities
from vidsal.pipe.places import local_path
from vidsal.pipe.predict import predict
from vidsal.prefetch import prefetch
from vidsal.sinks.tables import write_rows
from vidsal.tracks import column_types
from vidsal.viewing.options import CheckGazeOptions
from vidsal.viewing.variants import GazeVariants, VariantScore, VariantScorer
from vidsal.viewing.viewers import RecordedViewers

__all__ = ["check_gaze", "write_variants"]

_SMALL = (180, 320)


def check_gaze(
    gaze: Gaze | str | Path,
    video: str | Path,
    *,
    options: CheckGazeOptions | None = None,
    model: SaliencyModel | None = None,
    on_progress: Callable[[int, int | None, float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> GazeVariants:
    """Holds recorded gaze against what is predicted of its video: as it is, flipped, swapped, and on shifted clocks.

    It looks only; the gaze is not changed. A model that sees little in a video can tell little: what is not told apart
    is said.

    Args:
        gaze: the table of `vidsal gaze import`, or its path; of this video.
        video: what was looked at.
        options: all options; None takes the defaults.
        model: a model already loaded, in place of `options.model`.
        on_progress: called after every batch, in the calling thread, with the frames done, those expected (None where
            unknown) and the seconds since the start.
        should_stop: asked after every batch; True ends the work.

    Raises:
        Stopped: `should_stop` asked for an end.
        ConfigError: the video is no file.
        DatasetError: the gaze cannot be read, or is of another picture.
        DecodeError, CheckpointError: see their docstrings.
    """
    options = options or CheckGazeOptions()
    begin = time.perf_counter()
    path = local_path(video)
    if path is None:
        raise ConfigError(f"{hide_secrets(video)} is no file: save it first")
    table = gaze if isinstance(gaze, Gaze) else read_gaze(gaze)
    if not len(table):
        raise DatasetError("the table of gaze has no row")
    if options.maps is not None:
        check_maps(options.maps)
    loaded = None if options.maps is not None else model or options.model.load()
    size = _SMALL if loaded is None else loaded.preprocessor.frame_size
    with open_video(path, options=options.decode, size=size) as reader:
        info = reader.info
        lasts = info.duration_seconds
        of_it = check_fits(table, height=info.height, width=info.width, video=str(path), duration_seconds=lasts)
        scorer = VariantScorer(RecordedViewers(table, height=info.height, width=info.width), options.variants)
        total = info.frame_count if options.decode == type(options.decode)() else None
        frames = 0
        with prefetch(reader, name="vidsal-decode") as batches:
            if loaded is not None:
                densities = predict(batches, loaded, options.prediction)
            elif options.maps is not None:
                densities = saved_densities(options.maps, batches, options.cuts)
            else:
                raise RuntimeError("there is neither a model nor maps")
            for batch in densities:
                scorer.update(batch)
                frames += len(batch)
                if on_progress:
                    on_progress(frames, total, time.perf_counter() - begin)
                if should_stop and should_stop():
                    raise Stopped
    found = scorer.flush()
    of_maps = [] if options.maps is None else remarks_on_maps(options.maps, path, follow_gaze=True)
    return replace(found, notes=(*of_it, *of_maps, *found.notes))


def write_variants(found: GazeVariants, path: Path) -> None:
    """Writes the scores as a table, see `vidsal.viewing.variants.VariantScore`.

    Raises:
        EncodeError: it cannot be written, or pyarrow is missing for a .parquet.
    """
    types = column_types(VariantScore)
    write_rows(path, types, [[getattr(score, name) for name in types] for score in found.scores])
