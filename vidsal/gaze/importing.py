"""Files of eye trackers and the video that was looked at in, one table of gaze out: `import_gaze`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.decode import VideoInfo, open_video
from vidsal.errors import ConfigError, DatasetError, Setting
from vidsal.gaze.check import Finding, check_names, check_positions, check_table, check_times
from vidsal.gaze.events import find_fixations
from vidsal.gaze.makers import STIMULUS_MAKERS, maker_of, reader_of
from vidsal.gaze.makers.contract import Recording, open_sheet
from vidsal.gaze.options import GazeOptions
from vidsal.gaze.place import place
from vidsal.gaze.table import Gaze, order_of_rows
from vidsal.provenance import package_version

__all__ = ["Imported", "import_gaze"]


@dataclass(frozen=True, eq=False)
class Imported:
    """What an import gave."""

    gaze: Gaze
    """The table."""
    findings: tuple[Finding, ...]
    """What is worth knowing; with `strict`, none is doubtful."""
    notes: tuple[str, ...]
    """How clocks, units and places were understood."""


def import_gaze(
    files: Sequence[str | Path], video: str | Path, *, maker: str = "auto", options: GazeOptions | None = None
) -> Imported:
    """Reads recordings of one video into one table.

    Args:
        files: what eye trackers' programs exported.
        video: what was looked at; of glasses, the scene camera's.
        maker: whose format the files have, see `MAKERS`; auto looks at each.
        options: units, clocks and places that the files do not say, and how fixations are found.

    Raises:
        ConfigError: an option that is needed is missing.
        DatasetError: a file cannot be read, or what it holds cannot be right (`strict`); the message names line and
            column.
        DecodeError: the video cannot be opened.
        EncodeError: a package that reads the format is missing.
    """
    chosen = options or GazeOptions()
    with open_video(video) as reader:
        info = reader.info
    name = Path(info.path).name if info.path is not None else info.source
    paths = [Path(file) for file in files]
    if not paths:
        raise ConfigError("no file of recorded gaze is given")
    recordings = []
    for path in paths:
        kind = maker_of(path) if maker == "auto" else maker
        recordings.append(reader_of(kind)(path, chosen, name))
        _check_asked(recordings[-1], chosen)
    if len({each.kind for each in recordings}) > 1:
        kinds = ", ".join(f"{each.path}: {each.kind}" for each in recordings)
        raise DatasetError(f"samples and fixations do not go into one table: {kinds}; import them apart")
    findings: list[Finding] = []
    notes: list[str] = []
    parts: list[dict[str, Any]] = []
    for number, recording in enumerate(recordings):
        seconds, clock_note = _on_the_video(recording, chosen)
        placed = place(recording, chosen, height=info.height, width=info.width, pixel_shape=info.sample_aspect_ratio)
        findings += check_times(recording, seconds, video_seconds=info.duration_seconds, offset=chosen.offset)
        findings += check_names(recording)
        findings += check_positions(recording, height=info.height, width=info.width, x=placed.x, y=placed.y)
        if placed.is_guessed:
            text = f"{recording.path} does not say where on the screen the video stood: its middle is taken"
            findings.append(Finding(text, False, (Setting("video_at"),)))
        words = [*recording.notes, placed.note, *([clock_note] if clock_note else [])]
        notes += [f"{recording.path.name}: {word}" for word in words]
        kept = np.flatnonzero(np.isfinite(seconds))
        people, trials = _names(recording, chosen, name)
        parts.append(
            {
                "participant": people[kept],
                "trial": trials[kept],
                "pts_seconds": seconds[kept],
                "duration_seconds": recording.duration[kept],
                "x": placed.x[kept],
                "y": placed.y[kept],
                "valid": recording.valid[kept],
                "pupil": recording.pupil[kept],
                "source": np.full(len(kept), number),
                "row": kept,
            }
        )
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    source, row = columns.pop("source"), columns.pop("row")
    facts = _facts(info, name, recordings, chosen, notes)
    gaze = Gaze.of(**columns, kind=recordings[0].kind, facts=facts)
    order = order_of_rows(columns["participant"], columns["trial"], columns["pts_seconds"])
    place_of_row = np.stack([source[order], row[order]], axis=1)
    findings += check_table(gaze, recordings, place_of_row, video_seconds=info.duration_seconds)
    doubtful = [finding for finding in findings if finding.doubtful]
    if doubtful and chosen.strict:
        pieces = [part for finding in doubtful[:_SHOWN] for part in ("; ", *finding.parts)][1:]
        if len(doubtful) > _SHOWN:
            pieces.append(f"; and {len(doubtful) - _SHOWN} more")
        raise DatasetError(
            *pieces,
            "" if str(pieces[-1]).endswith("?") else ".",
            " Nothing was written; where it is right all the same, import it with ",
            Setting("strict", False),
        )
    if chosen.events != "none":
        gaze = find_fixations(gaze, chosen)
    return Imported(gaze, tuple(findings), tuple(notes))


def _check_asked(recording: Recording, options: GazeOptions) -> None:
    """What cannot be taken from a file is not left out without a word."""
    if options.stimulus is not None and recording.maker not in STIMULUS_MAKERS:
        text = f"{recording.path}: a file of {recording.maker} does not say what was shown; leave out "
        raise DatasetError(text, Setting("stimulus", options.stimulus))
    if options.take == "fixations" and recording.kind != "fixations":
        text = f"{recording.path} holds samples, and no fixations to take; find them with "
        raise DatasetError(text, Setting("events", "idt"), " or ", Setting("events", "ivt"))
    if options.take == "samples" and recording.kind != "samples":
        raise DatasetError(f"{recording.path} holds fixations, and no samples to take")


_SHOWN = 5
"""Findings that an error spells out."""


def _on_the_video(recording: Recording, options: GazeOptions) -> tuple[npt.NDArray[np.float64], str]:
    """(N,) times on the video's clock, and what was done."""
    seconds, note = recording.seconds, ""
    if recording.zero == "world":
        table = options.world_timestamps or recording.path.with_name("world_timestamps.csv")
        if table.is_file():
            first = _first_of_world(table)
            seconds, note = seconds - first, f"times count from the scene camera's first frame, by {table}"
        elif options.offset == 0:
            raise DatasetError(
                f"{recording.path}: its times are those of the tracker's clock, and {table.name} is not beside it; "
                "give the times of the scene camera's frames with ",
                Setting("world_timestamps"),
                ", or what is to be added to all times with ",
                Setting("offset"),
            )
    if options.offset:
        seconds = seconds + options.offset
        note = f"{note + '; ' if note else ''}{options.offset:g} s were added to all times"
    return seconds, note


def _first_of_world(path: Path) -> float:
    sheet = open_sheet(path)
    name = sheet.need("the time of a frame", r"#? ?timestamps? \[seconds\]", r"timestamp \[ns\]", r"timestamps?.*")
    values = sheet.numbers(name)
    if not np.isfinite(values).any():
        raise DatasetError(f"{path}: no time is in the column {name!r}")
    return float(np.nanmin(values)) * (1e-9 if "[ns]" in name.lower() else 1.0)


def _names(
    recording: Recording, options: GazeOptions, video: str
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """(N,) participants and trials."""
    path = recording.path.absolute()
    generic = path.stem.lower() in ("gaze", "fixations", "gaze_positions") or "_on_surface_" in path.stem
    folder = next((one.name for one in path.parents if not one.name.isdigit() and one.name != "exports"), path.stem)
    count = len(recording.line)

    def named(own: npt.NDArray[np.object_] | None, asked: str | None, default: str) -> npt.NDArray[Any]:
        made = np.full(count, default if asked is None else asked, object)
        if own is not None and asked is None:
            there = np.array([bool(one) for one in own], bool)
            made[there] = own[there]
        return made

    def several(what: str, whose: str, asked: str | None) -> DatasetError:
        text = f"{recording.path}: the file names several {what}s{whose}; they cannot all be called "
        return DatasetError(text, Setting(what, asked))

    if options.participant is not None and recording.participant is not None and len(set(recording.participant)) > 1:
        raise several("participant", "", options.participant)
    who = named(recording.participant, options.participant, folder if generic else path.stem)
    if options.trial is not None and recording.trial is not None:
        pairs = {*zip(who.tolist(), recording.trial.tolist(), strict=True)}
        if len(pairs) > len(set(who)):
            raise several("trial", " of one participant", options.trial)
    return who, named(recording.trial, options.trial, Path(video).stem)


def _facts(
    info: VideoInfo, name: str, recordings: Sequence[Recording], options: GazeOptions, notes: Sequence[str]
) -> dict[str, Any]:
    return {
        "vidsal": package_version(),
        "video": {"name": name, "height": info.height, "width": info.width, "duration_seconds": info.duration_seconds},
        "files": [{"name": each.path.name, "maker": each.maker, "rows": len(each.line)} for each in recordings],
        "options": {
            each.name: value
            for each in dataclasses.fields(options)
            if (value := getattr(options, each.name)) != each.default
        },
        "notes": list(notes),
    }
