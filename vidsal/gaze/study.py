"""A table of gaze, areas of interest and a video in, the tables of a study out, one row an observation."""

from __future__ import annotations

import bisect
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidsal.aois import AoiFrame, Aois, read_aois
from vidsal.aois.measured import STUDY_NAME
from vidsal.decode import open_video
from vidsal.decode.ordinals import frame_times
from vidsal.errors import DatasetError, Setting
from vidsal.exports.tables import load_pyarrow, read_table
from vidsal.files import check_free, note_other_video, replacing
from vidsal.gaze.compare import AoiAgreement, AoiSecond, PredictedShares, compare_shares
from vidsal.gaze.groups import ALL, AoiGroup, group_visits
from vidsal.gaze.makers.contract import open_sheet
from vidsal.gaze.measures import (
    AoiVisits,
    Transition,
    TransitionEntropy,
    Where,
    areas_looked_at,
    measure_aois,
    transitions,
)
from vidsal.gaze.table import Gaze, check_fits, lasts_alike, read_gaze
from vidsal.provenance import package_version
from vidsal.shots import last_frame_lasts
from vidsal.sinks.tables import write_rows
from vidsal.tracks import column_types
from vidsal.words import counted

__all__ = ["TABLES", "Study", "measure_study", "pool_studies", "write_study"]

TABLES: dict[str, type[Any]] = {
    "visits": AoiVisits,
    "transitions": Transition,
    "entropies": TransitionEntropy,
    "groups": AoiGroup,
    "seconds": AoiSecond,
    "agreement": AoiAgreement,
}
"""The tables of a study, by name; the last two need predicted shares."""


@dataclass(frozen=True, eq=False)
class Study:
    """What a study gave."""

    tables: Mapping[str, Sequence[Any]]
    """Rows by the names of `TABLES`."""
    further: Mapping[str, Mapping[str, str]]
    """Columns of the list of trials, by trial: each row of a viewing gets them."""
    messages: tuple[str, ...]
    """What is worth knowing."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of which video, areas and gaze it is; plain values."""


def measure_study(
    gaze: Gaze | str | Path,
    aois: str | Path,
    video: str | Path,
    *,
    predicted: str | Path | None = None,
    trials: str | Path | None = None,
) -> Study:
    """Measures what participants did with areas of a video.

    Args:
        gaze: the table, or its path.
        aois: file of the areas.
        video: what was looked at.
        predicted: NAME.vidsal.aois.csv of `vidsal run --aois` with the same areas, for the comparison, and for the
            exact times and shots of frames.
        trials: a table with a column trial and any others (weather, condition, ...), which go into the results.

    Raises:
        DatasetError: a file cannot be read, or the files do not fit together; of those that seem to be of another video
            by their names, `Study.messages` speaks.
        DecodeError: the video cannot be opened.
        EncodeError: pyarrow or shapely is missing.
    """
    table = gaze if isinstance(gaze, Gaze) else read_gaze(gaze)
    if not len(table):
        raise DatasetError("the table of gaze has no row")
    with open_video(video) as reader:
        info = reader.info
    areas = read_aois(aois, height=info.height, width=info.width)
    messages = areas.outside(height=info.height, width=info.width)
    messages += note_other_video(Path(aois), str(video))
    lasts = info.duration_seconds
    messages += check_fits(table, height=info.height, width=info.width, video=str(video), duration_seconds=lasts)
    table, left_out, cut = _while_it_runs(table, lasts)
    if left_out or cut:
        if not len(table):
            raise DatasetError(
                f"no row of the gaze lies in the time of {video}: import it with the offset of its clock"
            )
        said = (
            [f"{left_out} rows of gaze before the first frame or after the last one are left out"] if left_out else []
        )
        said += [f"of {counted(cut, 'fixation')} only the part in the time of the video counts"] if cut else []
        messages.append("; ".join(said))
    by_clock = any(part.clock == "frames" for aoi in areas.aois for part in aoi.parts)
    by_shot = any(aoi.shots is not None for aoi in areas.aois)
    shares: PredictedShares | None = None
    if predicted is not None:
        shares, where = _predicted(Path(predicted), areas)
        messages += _check_length(Path(predicted), shares, str(video), lasts)
    else:
        if by_shot:
            raise DatasetError(
                f"{aois} names shots; give the table of areas that a run wrote, which has them, with ",
                Setting("predicted"),
            )
        times = frame_times(info.path) if by_clock and info.kind == "video" and info.path is not None else None
        if by_clock and times is None:
            rate = info.nominal_rate or info.rate
            if rate is None:
                raise DatasetError(
                    f"{video} says no rate, and areas go by frames; give the table of areas that a run wrote with ",
                    Setting("predicted"),
                )
            messages.append(f"areas go by frames: {float(rate):g} a second are taken, as the header says")
        steps = float(info.nominal_rate or info.rate or 25)
        if times is None:
            where = lambda seconds: (seconds * steps, 0)  # noqa: E731
        else:
            numbers = np.arange(len(times))
            where = lambda seconds: (float(np.interp(seconds, times, numbers)), 0)  # noqa: E731
    looked_at = areas_looked_at(table, areas, where)
    moves, entropies = transitions(table, areas, where, looked_at=looked_at)
    further = {} if trials is None else _trials(Path(trials), table.trial.tolist())
    visits = measure_aois(table, areas, where, looked_at=looked_at, end_seconds=lasts)
    tables: dict[str, Sequence[Any]] = {
        "visits": visits,
        "transitions": moves,
        "entropies": entropies,
        "groups": group_visits(visits, further),
    }
    if shares is not None:
        tables["seconds"], tables["agreement"] = compare_shares(
            table, areas, where, shares, looked_at=looked_at, end_seconds=lasts
        )
    facts = {
        "vidsal": package_version(),
        "video": Path(info.path).name if info.path is not None else info.source,
        "areas": areas.names,
        "participants": len(table.participants),
        "viewings": len(table.viewings()),
        "gaze": dict(table.facts),
    }
    return Study(tables, further, tuple(messages), facts)


_ROUNDING = 1e-6
"""Seconds by which sums of times may be off."""


def _while_it_runs(gaze: Gaze, duration_seconds: float | None) -> tuple[Gaze, int, int]:
    """The gaze in the time of the video, how many rows lie outside it, and how many fixations reach beyond it."""
    end = np.inf if duration_seconds is None else duration_seconds
    start, stop = gaze.pts_seconds, gaze.pts_seconds + np.nan_to_num(gaze.duration_seconds)
    inside = (start < end) & ((start >= 0) | (stop > 0))
    beyond = inside & ((start < -_ROUNDING) | (stop > end + _ROUNDING))
    first, last = np.clip(start, 0.0, end), np.clip(stop, 0.0, end)
    within = dataclasses.replace(
        gaze,
        pts_seconds=np.where(beyond, first, start),
        duration_seconds=np.where(beyond, last - first, gaze.duration_seconds),
    )
    return within.rows(inside), int((~inside).sum()), int(beyond.sum())


def pool_studies(folders: Sequence[str | Path], *, trials: str | Path | None = None) -> Study:
    """Brings studies of several videos together: their visits in one table, and the groups over all of them.

    An area is the same one in all videos where it has the same name.

    Args:
        folders: where `write_study` wrote them.
        trials: as for `measure_study`, of all trials.

    Raises:
        DatasetError: a folder holds no study, or two hold the same viewing.
        EncodeError: pyarrow is missing.
    """
    visits: list[AoiVisits] = []
    videos: list[str] = []
    seen: dict[tuple[str, str], Path] = {}
    for folder in map(Path, folders):
        about = folder / STUDY_NAME
        path = next((one for form in ("csv", "parquet") if (one := folder / f"visits.{form}").is_file()), None)
        if path is None or not about.is_file():
            raise DatasetError(f"{folder} holds no study of vidsal aoi measure (visits and {STUDY_NAME})")
        rows = [AoiVisits(**values) for batch in read_table(path, AoiVisits) for values in batch.to_pylist()]
        for viewing in dict.fromkeys((row.participant, row.trial) for row in rows):
            if viewing in seen:
                who = f"participant {viewing[0]!r}, trial {viewing[1]!r}"
                raise DatasetError(
                    f"{seen[viewing]} and {folder} both have {who}: give each clip a trial of its own, as vidsal gaze "
                    "import does with ",
                    Setting("trial", "NAME"),
                )
            seen[viewing] = folder
        visits += rows
        videos.append(_video_of(about))
    if not visits:
        raise DatasetError("the studies have no viewing")
    further = {} if trials is None else _trials(Path(trials), [row.trial for row in visits])
    tables: dict[str, Sequence[Any]] = {"visits": visits, "groups": group_visits(visits, further)}
    people = dict.fromkeys(row.participant for row in visits)
    facts = {"vidsal": package_version(), "videos": videos, "participants": len(people), "viewings": len(seen)}
    return Study(tables, further, (), facts)


def _video_of(about: Path) -> str:
    try:
        facts = json.loads(about.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{about} cannot be read: {error}") from error
    return str(facts.get("video", "")) if isinstance(facts, dict) else ""


def _predicted(path: Path, areas: Aois) -> tuple[PredictedShares, Where]:
    rows = list(read_table(path, AoiFrame))
    if not rows:
        raise DatasetError(f"{path} has no row")
    arrow = load_pyarrow("reading a table")
    whole = arrow.Table.from_batches(rows)
    names = whole.column("aoi").to_numpy(zero_copy_only=False)
    found = list(dict.fromkeys(names.tolist()))
    if found != areas.names:
        raise DatasetError(
            f"{path} is about the areas {', '.join(found)}; the file of areas has {', '.join(areas.names)}"
        )
    first = names == found[0]
    columns = {name: whole.column(name).to_numpy(zero_copy_only=False) for name in ("index", "pts_seconds", "shot")}
    seconds = columns["pts_seconds"][first]
    share = whole.column("predicted_share").to_numpy(zero_copy_only=False)
    by_area = {name: share[names == name] for name in found}
    if any(len(values) != len(seconds) for values in by_area.values()):
        raise DatasetError(f"{path} does not have every area in every frame")
    times, numbers, shots = seconds.tolist(), columns["index"][first].tolist(), columns["shot"][first].tolist()

    def where(at: float) -> tuple[float, int]:
        place = min(max(bisect.bisect_right(times, at) - 1, 0), len(times) - 1)
        after = min(place + 1, len(times) - 1)
        step = times[after] - times[place]
        part = min(max((at - times[place]) / step, 0.0), 1.0) if step > 0 else 0.0
        # Within a shot an area moves on; a cut is a jump.
        return numbers[place] + (part if shots[after] == shots[place] else 0.0), shots[place]

    return PredictedShares(np.asarray(seconds, np.float64), by_area), where


def _check_length(path: Path, shares: PredictedShares, video: str, duration_seconds: float | None) -> list[str]:
    """Sentences on a prediction that seems to be of another video, or of a part of it.

    Raises:
        DatasetError: it goes on after the video's end, or is called after another video and ends elsewhere.
    """
    said = note_other_video(path, video)
    first, last = float(shares.seconds[0]), float(shares.seconds[-1])
    end = last + last_frame_lasts(first, last, steps=len(shares.seconds) - 1, duration_seconds=None)
    if duration_seconds is None or lasts_alike(end, duration_seconds):
        return said
    text = f"{path} ends at {end:g} s, and {video} lasts {duration_seconds:g} s"
    if said or end > duration_seconds:
        raise DatasetError(
            f"{text}: it is of another video; give the table of a run of this one with ", Setting("predicted")
        )
    return [f"{text}: gaze after it is compared with nothing"]


def _trials(path: Path, trials: Sequence[str]) -> dict[str, dict[str, str]]:
    sheet = open_sheet(path)
    key = sheet.need("the trial", "trial")
    others = [name for name in sheet.names if name and name != key]
    if not others:
        raise DatasetError(f"{path}: no column beside {key!r}")
    taken = next((name for name in others if name in (ALL, "participant")), None)
    if taken is not None:
        raise DatasetError(f"{path}: a column must not be called {taken!r}; rename it")
    found: dict[str, dict[str, str]] = {}
    values = {name: sheet.text(name) for name in others}
    for row, trial in enumerate(sheet.text(key)):
        if trial in found:
            raise sheet.wrong(row, key, f"{trial!r} is there twice")
        found[trial] = {name: values[name][row] for name in others}
    lacking = [trial for trial in dict.fromkeys(trials) if trial not in found]
    if lacking:
        more = f" and {len(lacking) - 1} others" if lacking[1:] else ""
        listed = ", ".join(map(repr, list(found)[:5])) + (", ..." if len(found) > 5 else "")
        raise DatasetError(
            f"{path} has no row for the trial {lacking[0]!r}{more}; it has {listed}. vidsal gaze import gives viewings "
            "another name than that of the recording with ",
            Setting("trial", "NAME"),
        )
    return found


def write_study(
    study: Study, folder: str | Path, *, form: Literal["csv", "parquet"] = "csv", overwrite: bool = False
) -> list[Path]:
    """Writes a study: FOLDER/visits.csv and so on, and study.json, which says of what they are.

    Returns:
        The files.

    Raises:
        EncodeError: one cannot be written.
        ExistsError: one is there already.
    """
    folder = Path(folder)
    paths = {name: folder / f"{name}.{form}" for name in study.tables}
    about = folder / STUDY_NAME
    for path in (*paths.values(), about):
        check_free(path, overwrite=overwrite)
    for name, rows in study.tables.items():
        kind = TABLES[name]
        types = column_types(kind)
        more = list(next(iter(study.further.values()), {})) if "trial" in types else []
        clash = next((column for column in more if column in types), None)
        if clash is not None:
            raise DatasetError(f"the list of trials has a column {clash!r}, which the table {name} has too; rename it")
        values = [
            [*(getattr(row, column) for column in types), *(study.further[row.trial][column] for column in more)]
            for row in rows
        ]
        write_rows(paths[name], {**types, **dict.fromkeys(more, str)}, values, make_folder=True)
    with replacing(about, make_folder=True) as partial:
        partial.write_text(json.dumps(study.facts, indent=2, default=str) + "\n", encoding="utf-8")
    return [*paths.values(), about]
