"""Finished results in, their reports out: the pages that the runs could have written beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsal.aois import AoiFrame
from vidsal.aois.measured import find_measured
from vidsal.errors import ConfigError, DatasetError, Setting
from vidsal.exports.contract import Footage, whole_path
from vidsal.exports.tables import read_columns, read_table
from vidsal.files import check_free, replacing
from vidsal.pipe.options import IMAGE_SUFFIXES, TABLE_SUFFIXES, VIDEO_SUFFIXES
from vidsal.pipe.record import InputRecord, RunRecord, read_records
from vidsal.report.areas import GatheredAreas
from vidsal.report.gather import Gathered
from vidsal.report.page import Drawn, Results, make_report

__all__ = ["NO_SOURCE", "FinishedRun", "finished_runs", "write_report"]

NO_SOURCE = "the input was not found, so its page has no untouched picture: name it, or its folder, with --source"
"""What `write_report` says of an input that lies nowhere it was looked for."""

_RECORD = ".vidsal.json"
_PAGE = ".vidsal.html"


@dataclass(frozen=True)
class FinishedRun:
    """Results of one input that a report can be made of."""

    table: Path
    """The table."""
    page: Path
    """Where its report belongs, NAME.vidsal.html."""
    record: RunRecord | None = None
    """The record that lists the table; None where there is none."""
    drawn: Path | None = None
    """The video or picture with the heat; None where there is none."""
    aois: Path | None = None
    """The table of areas of interest; None where there is none."""

    @property
    def name(self) -> str:
        """Of the input."""
        if self.record is not None:
            return self.record.provenance.input.name
        return self.table.stem.removesuffix(".vidsal")


def finished_runs(path: Path) -> list[FinishedRun]:
    """The results that are meant by a path.

    Args:
        path: a folder, for all records in it and below; or a record (NAME.vidsal.json), a result that a record beside
            it lists, an input with a record beside it, or a table without one.

    Raises:
        DatasetError: there are none, or they have no table.
    """
    if path.is_dir():
        runs = [run for record in sorted(path.rglob(f"*{_RECORD}")) if (run := _recorded(record)) is not None]
        if not runs:
            tables = [one.name for one in sorted(path.iterdir()) if one.suffix.lower() in TABLE_SUFFIXES]
            hint = f"; of a table without a record, name the file, such as {tables[0]}" if tables else ""
            raise DatasetError(
                f"{path} holds no record (NAME{_RECORD}) of a run with a table: name a folder of results{hint}"
            )
        return runs
    if not path.is_file():
        raise DatasetError(f"{path} is not there: name a folder of results, or the table or record of one run")
    for record in _records_beside(path):
        if (run := _recorded(record)) is not None and _is_about(record, path):
            return [run]
    if path.suffix.lower() in TABLE_SUFFIXES:
        base = path.with_name(path.stem.removesuffix(".vidsal"))
        named = (base.with_name(f"{base.name}.vidsal{ending}") for ending in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES))
        drawn = next((one for one in named if one.is_file()), None)
        areas = (base.with_name(f"{base.name}.vidsal.{kind}.csv") for kind in _AREAS)
        page = base.with_name(f"{base.name}{_PAGE}")
        return [FinishedRun(path, page, drawn=drawn, aois=next((one for one in areas if one.is_file()), None))]
    raise DatasetError(
        f"no record (NAME{_RECORD}) beside {path} tells of a run with a table: name its table or its record"
    )


_AREAS = ("aois", "driving")
"""Stages of the tables of areas; the first that is there is shown."""


def _records_beside(path: Path) -> list[Path]:
    names = (path.name, *(f"{stem}{_RECORD}" for stem in (path.stem, path.name, path.name.rpartition(".vidsal.")[0])))
    return [path.with_name(name) for name in dict.fromkeys(names) if name.endswith(_RECORD)]


def _is_about(record: Path, path: Path) -> bool:
    if record == path:
        return True
    records = read_records(record)
    results = {there.absolute() for one in records for there in one.paths(record.parent).values()}
    return path.absolute() in results or any(one.provenance.input.name == path.name for one in records)


def _recorded(path: Path) -> FinishedRun | None:
    """The results that a record lists, the newest of each stage that is there."""
    found: dict[str, tuple[RunRecord, Path]] = {}
    for record in read_records(path):
        for stage, there in record.paths(path.parent).items():
            if record.status == "done" and stage not in found and there.is_file():
                found[stage] = record, there
    if "table" not in found:
        return None
    record, table = found["table"]
    drawn = next((found[stage][1] for stage in ("video", "image") if stage in found), None)
    aois = next((found[stage][1] for stage in _AREAS if stage in found), None)
    return FinishedRun(table, path.with_name(f"{path.name.removesuffix(_RECORD)}{_PAGE}"), record, drawn, aois)


def write_report(run: FinishedRun, *, source: Path | None = None, overwrite: bool = False) -> list[str]:
    """Write the report of finished results beside them.

    Args:
        run: the results.
        source: the input, or a folder below which it lies under its name; None: it is looked for where the record says
            that it lay, and beside the results.
        overwrite: replaces a report that is there.

    Returns:
        Sentences for a person about what could not be shown.

    Raises:
        ExistsError: the report is there already.
        DatasetError: the table cannot be read, or is damaged.
        EncodeError: the page cannot be written.
    """
    check_free(run.page, overwrite=overwrite)
    messages: list[str] = []
    found, without = _source(run, source, messages)
    gathered = Gathered(_footage(run))
    try:
        for columns in read_columns(run.table, Gathered.sources):
            gathered.update(columns)
    except ValueError as error:
        raise DatasetError(f"{run.table} is no whole table: {error}") from error
    if not gathered.times.frames:
        raise DatasetError(f"{run.table} has no rows: there is nothing to report")
    gathered.finish()
    results = Results(
        name=run.name,
        gathered=gathered,
        record=_values_of(run.record),
        drawn=None if run.drawn is None else Drawn(run.drawn),
        areas=None if run.aois is None else _areas(run, run.aois, messages),
        source=found,
        without_source=without,
    )
    text = make_report(results, page=run.page)
    with replacing(run.page) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
    return messages


def _areas(run: FinishedRun, path: Path, messages: list[str]) -> GatheredAreas:
    """What the table of areas says, and what was measured where a study lies beside it."""
    gathered: GatheredAreas | None = None
    rows: list[AoiFrame] = []
    for batch in read_table(path, AoiFrame):
        rows += [AoiFrame(**values) for values in batch.to_pylist()]
        if gathered is None:
            # The first frame names all areas.
            names = [row.aoi for row in rows if row.index == rows[0].index]
            gathered = GatheredAreas(names, footage=_footage(run))
        count = len(gathered.names)
        frames = [rows[first : first + count] for first in range(0, len(rows) - count + 1, count)]
        rows = rows[len(frames) * count :]
        if any([row.aoi for row in frame] != gathered.names for frame in frames):
            raise DatasetError(f"{path} is no whole table of areas: not every frame has a row for each of them")
        gathered.update(frames)
    if gathered is None or rows:
        raise DatasetError(f"{path} is no whole table of areas: not every frame has a row for each of them")
    gathered.finish()
    gathered.measured, message = find_measured(run.page.parent, video=run.name, names=gathered.names)
    messages += [message] if message else []
    return gathered


def _footage(run: FinishedRun) -> Footage:
    return Footage(name=run.name) if run.record is None else run.record.provenance.footage(None)


def _values_of(record: RunRecord | None) -> Mapping[str, Any]:
    return {} if record is None else record.as_dict()


def _source(run: FinishedRun, given: Path | None, messages: list[str]) -> tuple[Path | None, str]:
    """The input, where it is there and is the one that was run; and what is said where it is not."""
    known = None if run.record is None else run.record.provenance.input
    if known is not None and known.bytes is None:
        return None, f"The input was no file ({known.kind}), so there is no untouched picture to show."
    if given is not None and given.is_file():
        candidates: Sequence[Path] = [given]
    else:
        folders = [run.page.parent] if given is None else [given, given / run.page.parent.name]
        candidates = [folder / known.name for folder in folders] if known is not None else []
        if given is None and run.record is not None and (lay := run.record.source_in(run.page.parent)) is not None:
            candidates = list(dict.fromkeys([whole_path(path) for path in (lay, *candidates)]))
    for path in candidates:
        if not path.exists():
            continue
        try:
            if known is None or known.is_content_of(InputRecord.of(str(path), path)):
                return path, ""
        except OSError as error:
            messages.append(f"{path} cannot be read: {error.strerror}")
            continue
        messages.append(f"{path} is another input than the one that was run, and is not shown")
    if given is not None and not messages:
        raise ConfigError(Setting("source", given), f" does not hold {run.name}: name the input, or its folder")
    if not messages:
        messages.append(NO_SOURCE)
    return None, f"{run.name} was not found, so the untouched picture cannot be shown; --source names it."
