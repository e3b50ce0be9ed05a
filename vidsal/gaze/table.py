"""Recorded gaze as one table: one row a sample or a fixation, written and read as .parquet, .csv or .jsonl."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vidsal.errors import ConfigError, DatasetError
from vidsal.exports.tables import arrow_schema, load_pyarrow, read_table
from vidsal.files import called_alike, check_free, replacing
from vidsal.sinks.tables import write_rows
from vidsal.tracks import column_field, column_meanings, column_types

__all__ = [
    "GAZE_COLUMNS",
    "GAZE_SUFFIXES",
    "Gaze",
    "GazeKind",
    "GazeRow",
    "check_ending",
    "check_fits",
    "check_target",
    "lasts_alike",
    "order_of_rows",
    "read_gaze",
    "write_gaze",
]

GazeKind = Literal["samples", "fixations"]
"""What a row is: one measurement, or one held look."""

GAZE_SUFFIXES = (".parquet", ".csv", ".jsonl")
"""Endings of tables of gaze."""

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class GazeRow:
    """One row of the table; `GAZE_COLUMNS` says what each column means."""

    participant: str = column_field("", "Who looked.")
    """Not empty."""
    trial: str = column_field("", "Which viewing of which video; a participant may have several.")
    """Not empty."""
    kind: str = column_field("", "sample: one measurement; fixation: one held look.")
    """sample or fixation; the same in all rows of a table."""
    pts_seconds: float = column_field(
        "s", "When, on the clock of the video, whose first frame is 0; of a fixation its start."
    )
    """Any finite number: what was recorded before the video has negative times."""
    duration_seconds: float | None = column_field("s", "How long a fixation lasted; empty for samples.")
    """0 or more, or None."""
    x: float | None = column_field(
        "px", "Column of the upright picture at full size; its left edge is 0, its right one the width."
    )
    """Any finite number, outside the picture too; None where the eye was lost."""
    y: float | None = column_field("px", "Row of it; its upper edge is 0.")
    """As x."""
    valid: bool = column_field("", "Whether the tracker vouches for it; false where the eye was lost.")
    """False where x is None."""
    pupil: float | None = column_field("", "Size of the pupil, the mean of both eyes, in the maker's unit.")
    """Above 0, or None."""


GAZE_COLUMNS = column_meanings(GazeRow)
"""Unit and meaning of every column, in the table's order."""


@dataclass(frozen=True, eq=False)
class Gaze:
    """A table of gaze: N rows, ordered by participant, trial and time.

    Example:
        >>> gaze = Gaze.of(participant=["b", "a"], trial="t", pts_seconds=[0.0, 1.0], x=[1.0, 2.0], y=[3.0, np.nan])
        >>> gaze.participant.tolist(), gaze.x.tolist(), gaze.valid.tolist(), gaze.kind
        (['a', 'b'], [nan, 1.0], [False, True], 'samples')
    """

    participant: npt.NDArray[np.object_]
    """(N,) names."""
    trial: npt.NDArray[np.object_]
    """(N,) names."""
    pts_seconds: _Floats
    """(N,) seconds after the video's first frame."""
    duration_seconds: _Floats
    """(N,) seconds; NaN for samples."""
    x: _Floats
    """(N,) pixels of the upright picture from its left edge; NaN where lost."""
    y: _Floats
    """(N,) pixels from its upper edge; NaN where lost."""
    valid: npt.NDArray[np.bool_]
    """(N,), False where lost."""
    pupil: _Floats
    """(N,), in the maker's unit; NaN where not known."""
    kind: GazeKind = "samples"
    """What a row is."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """How it came about: the video, files, clocks, units, places, parameters; plain values."""

    @classmethod
    def of(
        cls,
        *,
        participant: Any,
        trial: Any,
        pts_seconds: npt.ArrayLike,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        duration_seconds: npt.ArrayLike = np.nan,
        valid: npt.ArrayLike = True,
        pupil: npt.ArrayLike = np.nan,
        kind: GazeKind = "samples",
        facts: Mapping[str, Any] | None = None,
    ) -> Gaze:
        """Brings columns into order; a single value stands for all rows.

        Raises:
            ValueError: the columns differ in length, a time is not finite, or a name is empty.
        """
        seconds = np.array(pts_seconds, np.float64).reshape(-1)
        count = len(seconds)

        def column(values: Any, dtype: Any) -> Any:
            made = np.array(values, dtype).reshape(-1)
            return np.repeat(made, count) if made.size == 1 and count != 1 else made

        names = [column(values, object) for values in (participant, trial)]
        numbers = [column(values, np.float64) for values in (duration_seconds, x, y, pupil)]
        good = column(valid, np.bool_)
        if any(len(each) != count for each in (*names, *numbers, good)):
            raise ValueError(f"all columns must have {count} values")
        if not np.isfinite(seconds).all():
            raise ValueError("pts_seconds must be finite")
        if any(not isinstance(name, str) or not name for each in names for name in dict.fromkeys(each.tolist())):
            raise ValueError("participant and trial must be text that is not empty")
        order = order_of_rows(names[0], names[1], seconds)
        duration, across, down, size = (each[order] for each in numbers)
        there = np.isfinite(across) & np.isfinite(down)
        return cls(
            participant=names[0][order],
            trial=names[1][order],
            pts_seconds=seconds[order],
            duration_seconds=duration,
            x=np.where(there, across, np.nan),
            y=np.where(there, down, np.nan),
            valid=good[order] & there,
            pupil=size,
            kind=kind,
            facts=dict(facts or {}),
        )

    def __len__(self) -> int:
        """N."""
        return len(self.pts_seconds)

    def rows(self, chosen: npt.NDArray[Any]) -> Gaze:
        """Those that a mask or indices choose."""
        return dataclasses.replace(
            self, **{each.name: getattr(self, each.name)[chosen] for each in fields(self) if each.name not in _WHOLE}
        )

    def viewings(self) -> list[tuple[str, str, slice]]:
        """Participant and trial of each viewing, and where its rows lie, in order."""
        if not len(self):
            return []
        changes = (self.participant[1:] != self.participant[:-1]) | (self.trial[1:] != self.trial[:-1])
        edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(self)]
        return [
            (self.participant[first], self.trial[first], slice(first, after))
            for first, after in itertools.pairwise(edges)
        ]

    @property
    def participants(self) -> list[str]:
        """Their names, in order."""
        return list(dict.fromkeys(self.participant.tolist()))


_WHOLE = ("kind", "facts")


def order_of_rows(participant: npt.NDArray[Any], trial: npt.NDArray[Any], pts_seconds: _Floats) -> npt.NDArray[np.intp]:
    """(N,) places of rows in the order that `Gaze.of` brings them into: by participant, trial and time.

    Args:
        participant: (N,) names.
        trial: (N,) names.
        pts_seconds: (N,) times; rows of one time stay as they are.
    """
    trials, people = (np.unique(names, return_inverse=True)[1] for names in (trial, participant))
    return np.lexsort((pts_seconds, trials, people))


_KEY = b"vidsal_gaze"


def write_gaze(gaze: Gaze, path: str | Path, *, overwrite: bool = False) -> None:
    """Writes a table; a .parquet holds `Gaze.facts` in its metadata, beside others lies NAME.json with them.

    Args:
        gaze: what is written.
        path: .parquet, .csv or .jsonl.
        overwrite: replaces a file that is there.

    Raises:
        ConfigError: the path ends otherwise.
        EncodeError: it cannot be written, or pyarrow is missing.
        ExistsError: it is there already.
    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    suffix, facts = path.suffix.lower(), _facts_path(path)
    kind = gaze.kind.removesuffix("s")
    columns = {
        "participant": gaze.participant.tolist(),
        "trial": gaze.trial.tolist(),
        "kind": [kind] * len(gaze),
        "pts_seconds": gaze.pts_seconds.tolist(),
        "duration_seconds": _with_none(gaze.duration_seconds),
        "x": _with_none(gaze.x),
        "y": _with_none(gaze.y),
        "valid": gaze.valid.tolist(),
        "pupil": _with_none(gaze.pupil),
    }
    text = json.dumps({"kind": gaze.kind, **gaze.facts}, indent=2, default=str) + "\n"
    if suffix == ".parquet":
        arrow = load_pyarrow("a .parquet table")
        made = arrow.table(list(columns.values()), schema=arrow_schema(GazeRow)).replace_schema_metadata({_KEY: text})
        with replacing(path) as partial, partial.open("wb") as file:
            arrow.parquet.write_table(made, file)
        return
    write_rows(path, column_types(GazeRow), list(zip(*columns.values(), strict=True)))
    with replacing(facts) as partial:
        partial.write_text(text, encoding="utf-8")


def check_ending(path: Path) -> None:
    """Refuses a path of a table that ends in none of `GAZE_SUFFIXES`.

    Raises:
        ConfigError: it does.
    """
    if path.suffix.lower() not in GAZE_SUFFIXES:
        raise ConfigError(f"{path} must end in one of {', '.join(GAZE_SUFFIXES)}")


def check_target(path: Path, *, overwrite: bool = False) -> None:
    """Refuses early what `write_gaze` would refuse.

    Raises:
        ConfigError: the path ends in none of `GAZE_SUFFIXES`.
        ExistsError: a file is there already.
    """
    check_ending(path)
    for there in (path, *([] if path.suffix.lower() == ".parquet" else [_facts_path(path)])):
        check_free(there, overwrite=overwrite)


def check_fits(gaze: Gaze, *, height: int, width: int, video: str, duration_seconds: float | None) -> list[str]:
    """Sees whether gaze is of a video, where it says of which it is.

    Args:
        gaze: the table.
        height: rows of the video's upright picture.
        width: columns of it.
        video: its path or name.
        duration_seconds: how long it is; None where not known.

    Returns:
        Sentences for a person: the gaze is of a video of another name, or of another length.

    Raises:
        DatasetError: it is in pixels of another size, or of a video of another name and another length.
    """
    shown = gaze.facts.get("video", {})
    if not isinstance(shown, Mapping) or not shown:
        return []
    name, lasts = str(shown.get("name") or ""), shown.get("duration_seconds")
    if (shown.get("height"), shown.get("width")) != (height, width):
        raise DatasetError(
            f"the gaze is in pixels of {name}, {shown.get('width')}x{shown.get('height')}, and {video} "
            f"has {width}x{height}; import it with this video"
        )
    is_other = bool(name) and not called_alike(name, video)
    differs = lasts is not None and duration_seconds is not None and not lasts_alike(float(lasts), duration_seconds)
    if not (is_other or differs):
        return []
    text = f"the gaze was imported with {name}"
    if differs:
        text += f", which lasts {lasts:g} s, and {video} lasts {duration_seconds:g} s"
        if is_other:
            raise DatasetError(f"{text}: it is gaze on another video; else import it with this one")
        return [f"{text}: if it was cut at its beginning, import the gaze anew"]
    return [f"{text}, not with {Path(video).name}: is it gaze on this video?"]


def lasts_alike(first_seconds: float, second_seconds: float) -> bool:
    """Whether two lengths may be those of one video that was written twice: they differ by at most 1 s or 1 %.

    Example:
        >>> lasts_alike(4.0, 4.5), lasts_alike(4.0, 6.0), lasts_alike(600.0, 605.0)
        (True, False, True)
    """
    return abs(first_seconds - second_seconds) <= max(1.0, 0.01 * max(first_seconds, second_seconds))


def _facts_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def read_gaze(path: str | Path) -> Gaze:
    """Reads a table that `write_gaze` wrote.

    Raises:
        DatasetError: it cannot be read, or is no such table.
        EncodeError: pyarrow is missing.
    """
    path = Path(path)
    batches = list(read_table(path, GazeRow))
    arrow = load_pyarrow("reading a table")
    table = arrow.Table.from_batches(batches, schema=arrow_schema(GazeRow))
    values = {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}
    kinds = {*values.pop("kind").tolist()}
    if not kinds <= {"sample", "fixation"} or len(kinds) > 1:
        raise DatasetError(f"{path}: the column kind must be sample or fixation in all rows, got {sorted(kinds)}")
    facts = _facts_beside(path, arrow)
    kind: GazeKind = "fixations" if kinds == {"fixation"} else "samples"
    try:
        return Gaze.of(**values, kind=kind, facts=facts)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error


def _facts_beside(path: Path, arrow: Any) -> dict[str, Any]:
    if path.suffix.lower() == ".parquet":
        with path.open("rb") as file:
            text = (arrow.parquet.read_schema(file).metadata or {}).get(_KEY, b"{}")
    else:
        beside = _facts_path(path)
        text = beside.read_bytes() if beside.is_file() else b"{}"
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DatasetError(f"what {path} says of how it came about is no JSON: {error}") from error
    return {key: value for key, value in found.items() if key != "kind"} if isinstance(found, dict) else {}


def _with_none(values: _Floats) -> list[float | None]:
    return [None if one != one else one for one in values.tolist()]
