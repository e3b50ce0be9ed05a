"""A finished table in, the same exports out that the run could have written beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidsal.decode import VideoInfo, open_video
from vidsal.errors import ConfigError, DatasetError, Setting
from vidsal.exports.belongs import differences_of
from vidsal.exports.contract import Export, Footage, whole_path
from vidsal.exports.options import EXPORT_FILES, EXPORTS, ExportName, export_files
from vidsal.exports.shots import ShotNumbers
from vidsal.exports.tables import read_columns, read_table
from vidsal.files import check_free, replacing
from vidsal.pipe.options import TABLE_SUFFIXES
from vidsal.pipe.places import export_file
from vidsal.pipe.record import InputRecord, ResultRecord, RunRecord, read_records

__all__ = ["Conversion", "convert"]

_RECORD = ".vidsal.json"


@dataclass(frozen=True)
class Conversion:
    """What was made of a table."""

    table: Path
    """The table."""
    files: tuple[Path, ...]
    """The exports, in the order of their names in the table of all exports."""
    frames: int
    """Rows of the table."""
    messages: tuple[str, ...]
    """Everything a user should know."""


def convert(
    table: Path,
    kinds: Sequence[ExportName],
    *,
    source: str | Path | None = None,
    output: Path | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Makes exports of a finished table: byte for byte those that its run would have written.

    What the table does not say of its source (size, rate, time code, ...) is read from the record beside it,
    NAME.vidsal.json, or from the source. Where the source still lies where the record says that it lay, or lies beside
    the table, exports name it by its path.

    Args:
        table: .csv, .jsonl or .parquet.
        kinds: names of exports.
        source: the video, to read what is known of it from its header, once its size and the times of its frames have
            been held against the table; None: as the record says.
        output: the folder of the exports, or the one file that is written; None: beside the table.
        overwrite: replaces files that are there.

    Raises:
        ConfigError: no kind, or an output that does not fit, or facts that a kind needs are not known, or a source
            that cannot be the table's.
        DatasetError: the table cannot be read, or has no rows.
        DecodeError: the source cannot be opened.
        ExistsError: a file is there already.
        EncodeError: a file cannot be written, or a library that an export needs is not installed.
    """
    if table.suffix.lower() not in TABLE_SUFFIXES:
        raise DatasetError(f"{table} is no table: its name must end in one of {', '.join(TABLE_SUFFIXES)}")
    if not table.is_file():
        raise DatasetError(f"{table} {'is no file' if table.exists() else 'is not there'}: give a finished table")
    wanted = export_files(kinds)
    if not wanted:
        raise ConfigError("nothing to convert to: name one or several of ", ", ".join(EXPORTS))
    messages: list[str] = []
    found = _record_of(table)
    _check_is_table(table, found)
    footage = _footage(table, found, source, messages)
    stem = table.stem.removesuffix(".vidsal") if found is None else found[0].name.removesuffix(_RECORD)
    targets = _targets([kind.name for kind in wanted], stem, table, output)
    for target in targets:
        check_free(target, overwrite=overwrite, instead=", or choose another name")
        if target.exists() and target.samefile(table):
            raise ConfigError(f"{target} is the table itself; choose another ", Setting("output"))
    exports = []
    for kind, target in zip(wanted, targets, strict=True):
        made = kind.load()
        _check_known(kind.name, made, footage, table)
        export = made(footage)
        export.target = whole_path(target)
        exports.append(export)
    frames = _write(table, exports, targets)
    for export in exports:
        messages += [text for text in export.messages if text not in messages]
    return Conversion(table, tuple(targets), frames, tuple(messages))


def _write(table: Path, exports: Sequence[Export], targets: Sequence[Path]) -> int:
    """Makes all files; none gets its name before all are whole."""
    names = list(dict.fromkeys(name for export in exports for name in export.sources))
    frames = 0
    with contextlib.ExitStack() as whole:
        partials = [whole.enter_context(replacing(target, make_folder=True)) for target in targets]
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(partial.open("wb")) for partial in partials]
            for columns in read_columns(table, names):
                frames += len(columns["index"])
                for export, file in zip(exports, files, strict=True):
                    try:
                        file.write(export.update(columns))
                    except ValueError as error:
                        raise DatasetError(f"{table} is no whole table: {error}") from error
            if not frames:
                raise DatasetError(f"{table} has no rows: there is nothing to convert")
            for export, file in zip(exports, files, strict=True):
                file.writelines(export.pieces())
    return frames


def _targets(kinds: Sequence[str], stem: str, table: Path, output: Path | None) -> list[Path]:
    suffix = EXPORT_FILES[kinds[0]].suffix
    suffixes = {kind.suffix for kind in EXPORT_FILES.values()}
    if output is not None and not output.is_dir() and output.suffix.lower() in suffixes:
        if len(kinds) > 1:
            many = f" names one file, and {len(kinds)} are written: give a folder"
            raise ConfigError(Setting("output", output), many)
        if output.suffix.lower() != suffix:
            raise ConfigError(Setting("output", output), f" must be a folder, or end in {suffix} for {kinds[0]}")
        return [output]
    folder = table.parent if output is None else output
    return [export_file(folder, stem, kind) for kind in kinds]


def _record_of(table: Path) -> tuple[Path, RunRecord, ResultRecord] | None:
    """The record that tells of a result, with what it says of it."""
    named = table.with_name(f"{table.stem.removesuffix('.vidsal')}{_RECORD}")
    others = [path for path in sorted(table.parent.glob(f"*{_RECORD}")) if path != named]
    for path in (named, *others):
        for record in read_records(path):
            for result in record.results:
                if (path.parent / result.file).absolute() == table.absolute():
                    return path, record, result
    return None


def _check_is_table(table: Path, found: tuple[Path, RunRecord, ResultRecord] | None) -> None:
    """See that a file is no other result of a run than its table.

    Raises:
        DatasetError: its record, or its columns, say that it is another one.
    """
    if found is None:
        if _is_shot_list(table):
            raise DatasetError(f"{table} is a shot list, and not the table that it was made of: give that one")
        return
    path, record, result = found
    if result.stage == "table":
        return
    what = "the shot list" if result.stage == "shots" else f"the result {result.stage}"
    own = next((path.parent / one.file for one in record.results if one.stage == "table"), None)
    instead = "that run wrote no table" if own is None else f"give {own}"
    raise DatasetError(f"{table} is {what} of a run, and not its table: {instead}")


def _is_shot_list(table: Path) -> bool:
    with contextlib.suppress(DatasetError):
        return next(read_table(table, ShotNumbers), None) is not None
    return False


def _footage(
    table: Path, found: tuple[Path, RunRecord, ResultRecord] | None, source: str | Path | None, messages: list[str]
) -> Footage:
    if source is not None:
        with open_video(source) as reader:
            _check_source(table, found, source, reader.info)
            return Footage.of(reader.info, end_seconds=None if found is None else found[1].provenance.end_seconds)
    if found is None:
        return Footage(name=table.stem.removesuffix(".vidsal"), known=frozenset())
    path, record, result = found
    if table.stat().st_size != result.bytes:
        messages.append(f"{table.name} has been changed since the run that {path.name} tells of")
    made_from = record.provenance.input
    if made_from.bytes is None:
        return record.provenance.footage(None)
    beside = whole_path(table.parent / made_from.name)
    others = []
    for candidate in (record.source_in(path.parent), beside):
        if candidate is None or not candidate.exists():
            continue
        if _is_content(made_from, candidate):
            return record.provenance.footage(candidate)
        others.append("beside the table" if candidate == beside else "where its record says that it lay")
    if others:
        messages.append(f"{made_from.name} {others[0]} is another one than {table.name} was made from: left out")
    return record.provenance.footage(None)


def _is_content(made_from: InputRecord, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return made_from.is_content_of(InputRecord.of(str(path), path))
    return False


def _check_source(
    table: Path, found: tuple[Path, RunRecord, ResultRecord] | None, source: str | Path, info: VideoInfo
) -> None:
    """See that a table can be about a source.

    Raises:
        ConfigError: it cannot.
    """
    made_from = None if found is None else found[1].provenance.input
    if made_from is not None and info.path is not None and _is_content(made_from, info.path):
        return
    differences = differences_of(table, info)
    if made_from is not None and made_from.height is not None and made_from.width is not None:
        size, own = (f"{one.width}x{one.height}" for one in (info, made_from))
        if size != own:
            differences.insert(0, f"its picture has {size} pixels, and {made_from.name}, of which the table is, {own}")
    if differences:
        what = f" is not the video of {table.name}: {'; '.join(dict.fromkeys(differences))}. Name the one that was run"
        raise ConfigError(Setting("source", source), what)


def _check_known(name: str, export: type[Export], footage: Footage, table: Path) -> None:
    lacking = export.needs - footage.known
    if not lacking:
        return
    words = {"size": "its height and width", "time": "its frame rate and time code"}
    what = " and ".join(words[fact] for fact in sorted(lacking))
    raise ConfigError(
        f"{name} needs to know of the source of {table.name} {what}, and no record beside the table (NAME{_RECORD}) "
        "says so: name the video with ",
        Setting("source"),
    )
