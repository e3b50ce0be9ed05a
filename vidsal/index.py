"""A folder of results in, one page over all of them out: thumbnails, search, sorting; what has not changed is kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vidsal.decode.contract import CountsDamage
from vidsal.errors import EncodeError, ExistsError, Stopped, VidsalError
from vidsal.files import replacing
from vidsal.pipe.record import RunRecord, read_records
from vidsal.pipe.reports import finished_runs, write_report
from vidsal.report.html import asset, data_block, escaped, make_page
from vidsal.report.summary import Summary, read_summary

__all__ = [
    "INDEX_NAME",
    "THUMBNAILS",
    "Account",
    "Entry",
    "IndexReport",
    "as_data",
    "index_page",
    "make_index",
    "record_of",
    "report_of",
    "wants_report",
    "without_reports",
    "write_report_of",
]

INDEX_NAME = "all.vidsal.index.html"
"""No report of a video can be called so, whatever the video's name."""

THUMBNAILS = "all.vidsal.index"
"""The folder of its thumbnails, beside it."""

MOST_VIDEOS = 20_000
"""A page of more is no longer quick."""

_ID = "videos-data"
_BLOCK = re.compile(rb'<script type="application/json" id="videos-data">(.*?)</script>', re.DOTALL)
_RECORD, _REPORT = ".vidsal.json", ".vidsal.html"
_THUMBNAIL = re.compile(r"[0-9a-f]{24}\.jpg")


@dataclass(frozen=True)
class Entry:
    """What the index shows of one video."""

    name: str
    """Of the input."""
    stem: str
    """What the names of its results begin with."""
    folder: str
    """Where its results lie below the folder of the index; empty: there."""
    report: str
    """Link to its own report; empty where there is none."""
    thumbnail: str
    """Link to its thumbnail; empty where there is none."""
    state: str
    """done, damaged, unfinished, or what else an account of a batch says."""
    note: str
    """Why it is not simply done."""
    seconds: float | None
    """Its length; None where it is not known, as for the next ones."""
    frames: int | None
    """Its frames."""
    width: int | None
    """Columns of the upright picture."""
    height: int | None
    """Rows of it."""
    shots: int | None
    """Its shots."""
    strength: float | None
    """The highest attention strength of its shots, in bits."""
    made: int
    """When its results were made, in seconds since 1970; 0 where there are none."""
    tags: Mapping[str, str]
    """What the list of a batch says of it besides."""
    own_state: str
    """What its record says, whatever a batch says; empty where there is none."""
    own_note: str
    """The same of the note."""
    key: str
    """Changes with its results; empty where there are none."""


@dataclass(frozen=True)
class IndexReport:
    """What was done for an index."""

    path: Path
    """The page."""
    entries: tuple[Entry, ...]
    """All videos on it."""
    looked_at: int
    """Videos that were looked at; the others are as they were in the index before."""
    reports: tuple[Path, ...] = ()
    """Reports of single videos that were made on the way."""
    failures: tuple[tuple[str, str], ...] = ()
    """Videos of which something could not be read or made, and why."""


@dataclass(frozen=True)
class Account:
    """What a batch says of one input."""

    name: str
    """Of the input."""
    state: str
    """What has become of it."""
    note: str
    """Why it is not simply done."""
    seconds: float | None
    """Its length; None where it is not known."""
    frames: int | None
    """Its frames; None where they are not known."""
    tags: Mapping[str, str]
    """What its list says of it besides."""
    listed: bool = True
    """Whether the last command names it."""


def make_index(
    folder: Path,
    *,
    accounts: Mapping[str, Account] | None = None,
    make_report: Callable[[Path], object] | None = None,
    empty: bool = False,
    on_progress: Callable[[int, str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> IndexReport:
    """Make the page over all results below a folder, or bring it up to date with them.

    Results are known by their records, NAME.vidsal.json. A video whose record and report have not changed is shown as
    it was, without its files being opened. Memory holds some hundred bytes of each video, and one thumbnail.

    Args:
        folder: where results lie, also in folders below it; links to folders are not followed.
        accounts: what a batch says of its inputs, by what their results are called: "mon/a"; None where there was none.
        make_report: makes the report of a video, given its record, where that is missing or older than the results;
            None: nothing does.
        empty: whether a folder may hold no results; then there is no page.
        on_progress: is told how many videos are done, and the place of the next one.
        should_stop: asked before every video; True ends it with `Stopped`, and the page is as it was.

    Raises:
        EncodeError: there are no videos, or too many for one page, or it cannot be written.
        ExistsError: a file of this name is there that vidsal did not make.
        Stopped: as `should_stop` asks. Reports and thumbnails that were made stay.
    """
    page = folder / INDEX_NAME
    known = _known(page)
    left = dict(accounts or {})
    entries: list[Entry] = []
    made: list[Path] = []
    failures: list[tuple[str, str]] = []
    looked_at = 0
    for record in _records(folder):
        place = record.relative_to(folder).as_posix().removesuffix(_RECORD)
        if should_stop is not None and should_stop():
            raise Stopped
        if on_progress is not None:
            on_progress(len(entries), place)
        account = left.pop(place, None)
        try:
            if make_report is not None and wants_report(record):
                make_report(record)
                made.append(report_of(record))
        except (VidsalError, OSError) as error:
            failures.append((place, _sentence(error)))
        entry = known.get(place)
        if entry is None or entry.key != _key_of(record) or not _has_thumbnail(folder, entry):
            entry = _looked_at(folder, record, place)
            looked_at += 1
        if entry is not None:
            entries.append(_with_account(entry, account))
        _refuse_too_many(folder, entries)
    for place, account in left.items():
        if account.listed:
            entries.append(_without_results(place, account))
            _refuse_too_many(folder, entries)
    if not entries and empty:
        return IndexReport(page, (), 0)
    if not entries:
        raise EncodeError(f"{folder} holds no results: name a folder in which vidsal run or vidsal batch wrote some")
    _write(page, index_page(entries, title=folder.absolute().name or str(folder)))
    _remove_others(folder / THUMBNAILS, entries)
    return IndexReport(page, tuple(entries), looked_at, tuple(made), tuple(failures))


def without_reports(
    folder: Path, gone: Collection[Path], *, accounts: Mapping[str, Account], dry_run: bool = False
) -> dict[Path, int]:
    """See that the page over all results of a folder links no report that is gone.

    It is brought up to date; where it has no report any more, it is removed with its thumbnails.

    Args:
        folder: where the page lies, or none does.
        gone: reports that were removed, or are about to be; whole paths.
        accounts: as for `make_index`.
        dry_run: changes nothing.

    Returns:
        The files that are removed, and their sizes in bytes.

    Raises:
        EncodeError: the page cannot be read, written or removed.
    """
    page = folder / INDEX_NAME
    try:
        known = _known(page)
    except ExistsError:
        return {}
    reports = [report_of(folder / f"{place}{_RECORD}") for place, entry in known.items() if entry.report]
    left = [path for path in reports if path.absolute() not in gone and path.is_file()]
    if len(left) == len(reports):
        return {}
    if left:
        if not dry_run:
            make_index(folder, accounts=accounts)
        return {}
    removed = {}
    try:
        for path in (page, *(folder / entry.thumbnail for entry in known.values() if entry.thumbnail)):
            with suppress(FileNotFoundError):
                removed[path] = path.stat().st_size
                if not dry_run:
                    path.unlink()
        if not dry_run:
            with suppress(FileNotFoundError):
                (folder / THUMBNAILS).rmdir()
    except OSError as error:
        raise EncodeError(f"cannot remove {error.filename or page}: {error.strerror}") from error
    return removed


def write_report_of(record: Path) -> None:
    """Write the report of the results that a record lists, in place of an older one.

    Raises:
        DatasetError: they have no table, or one that is damaged.
        EncodeError: the page cannot be written.
    """
    for run in finished_runs(record):
        write_report(run, overwrite=True)


def report_of(record: Path) -> Path:
    """Where the report of a video lies, beside its record."""
    return record.with_name(record.name.removesuffix(_RECORD) + _REPORT)


def as_data(entries: Sequence[Entry]) -> dict[str, Any]:
    """Entries as the page holds them: names of columns, and the values of each video."""
    names = [each.name for each in fields(Entry)]
    return {"columns": names, "videos": [[getattr(entry, name) for name in names] for entry in entries]}


def index_page(
    entries: Sequence[Entry],
    *,
    title: str,
    further: str = "",
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    blocks: Sequence[str] = (),
    connects: bool = False,
) -> str:
    """The page as text.

    Args:
        entries: what it shows.
        title: what it is called, plain text.
        further: HTML between its head and its list.
        styles: further style sheets.
        scripts: further JavaScript.
        blocks: further blocks of data.
        connects: as for `make_page`.
    """
    body = asset("index.html").replace("{title}", escaped(title)).replace("{further}", further)
    return make_page(
        title=f"{title}: all videos",
        body=body,
        styles=[asset("base.css"), asset("index.css"), *styles],
        scripts=[asset("index.js"), *scripts],
        blocks=[data_block(_ID, as_data(entries)), *blocks],
        connects=connects,
    )


def _write(page: Path, text: str) -> None:
    coded = text.encode()
    with suppress(OSError):
        if page.read_bytes() == coded:
            return
    with replacing(page) as partial:
        partial.write_bytes(coded)


def _known(page: Path) -> dict[str, Entry]:
    """What the page shows now, by place.

    Raises:
        ExistsError: it is none of vidsal's.
    """
    try:
        found = _BLOCK.search(page.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EncodeError(f"{page} cannot be read: {error.strerror}") from error
    if found is None:
        raise ExistsError(f"{page} is there, and is no index of vidsal: rename or remove it")
    try:
        data = json.loads(found[1])
        if data["columns"] != [each.name for each in fields(Entry)]:
            return {}  # of another version
        entries = [Entry(*values) for values in data["videos"]]
        return {f"{entry.folder}/{entry.stem}" if entry.folder else entry.stem: entry for entry in entries if entry.key}
    except (ValueError, KeyError, TypeError):
        return {}


def _records(folder: Path) -> Iterator[Path]:
    """All records below a folder, those of one folder in the order of their names; nothing hidden."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != THUMBNAILS)
        for name in sorted(files):
            if name.endswith(_RECORD) and not name.startswith("."):
                yield Path(here, name)


def record_of(report: Path) -> Path:
    """Where the record of a video lies, beside its report."""
    return report.with_name(report.name.removesuffix(_REPORT) + _RECORD)


def wants_report(record: Path) -> bool:
    """Whether a video is done and its report is missing, or older than its results."""
    report = report_of(record)
    records = read_records(record)
    if not any(one.status == "done" for one in records):
        return False
    try:
        status = report.stat()
        if status.st_mtime_ns >= record.stat().st_mtime_ns:
            return False
    except OSError:
        return True
    # The run that made it as one of its results wrote its record after it.
    written = [one for one in records[0].results if one.stage == "report"]
    return not any(one.file == report.name and one.bytes == status.st_size for one in written)


def _key_of(record: Path) -> str:
    """Changes with the record and the report of a video."""
    parts = []
    for path in (record, report_of(record)):
        try:
            status = path.stat()
            parts.append(f"{status.st_mtime_ns:x}.{status.st_size:x}")
        except OSError:
            parts.append("")
    return "-".join(parts)


def _looked_at(folder: Path, record: Path, place: str) -> Entry | None:
    """What record and report of a video say; None where the record is none."""
    records = read_records(record)
    if not records:
        return None
    run, key = records[0], _key_of(record)
    below, _, stem = place.rpartition("/")
    report = report_of(record)
    summary = read_summary(report)
    state, note = _state_of(run)
    entry = Entry(
        name=run.provenance.input.name,
        stem=stem,
        folder=below,
        report=_address(report.relative_to(folder).as_posix()) if report.is_file() else "",
        thumbnail="",
        state=state,
        note=note,
        seconds=_number(run.counts.get("video_seconds")),
        frames=_whole(run.counts.get("frames")),
        width=run.provenance.input.width,
        height=run.provenance.input.height,
        shots=None,
        strength=None,
        made=int(record.stat().st_mtime),
        tags={},
        own_state=state,
        own_note=note,
        key=key,
    )
    return entry if summary is None else _with_summary(folder, entry, place, summary)


def _with_summary(folder: Path, entry: Entry, place: str, summary: Summary) -> Entry:
    thumbnail = ""
    if summary.thumbnail is not None:
        thumbnail = f"{THUMBNAILS}/{hashlib.sha256(os.fsencode(place)).hexdigest()[:24]}.jpg"
        with replacing(folder / thumbnail, make_folder=True) as partial:
            partial.write_bytes(summary.thumbnail)
    return dataclasses.replace(
        entry,
        thumbnail=thumbnail,
        seconds=_number(summary.length_seconds),
        frames=summary.frames,
        width=summary.width,
        height=summary.height,
        shots=summary.shots,
        strength=_number(summary.attention_strength),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < float("inf") else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _state_of(run: RunRecord) -> tuple[str, str]:
    """State and note of a run, from its record."""
    if run.status != "done":
        return "unfinished", "A run was ended while it named its results. Run it again."
    if any(run.counts.get(name) for name in CountsDamage.__annotations__):
        return "damaged", "; ".join(run.messages)
    return "done", ""


def _has_thumbnail(folder: Path, entry: Entry) -> bool:
    return not entry.thumbnail or (folder / entry.thumbnail).is_file()


def _remove_others(thumbnails: Path, entries: Sequence[Entry]) -> None:
    """Remove thumbnails of videos that are there no more."""
    wanted = {entry.thumbnail.rpartition("/")[2] for entry in entries}
    with suppress(FileNotFoundError):
        for path in thumbnails.iterdir():
            if _THUMBNAIL.fullmatch(path.name) and path.name not in wanted:
                path.unlink(missing_ok=True)


def _with_account(entry: Entry, account: Account | None) -> Entry:
    tags = {} if account is None else account.tags
    # Of an input that the last command left out there is nothing newer than its results.
    if account is None or not account.listed:
        return dataclasses.replace(entry, state=entry.own_state, note=entry.own_note, tags=tags)
    return dataclasses.replace(entry, state=account.state, note=account.note, tags=tags)


def _without_results(place: str, account: Account) -> Entry:
    below, _, stem = place.rpartition("/")
    return Entry(
        name=account.name,
        stem=stem,
        folder=below,
        report="",
        thumbnail="",
        state=account.state,
        note=account.note,
        seconds=account.seconds,
        frames=account.frames,
        width=None,
        height=None,
        shots=None,
        strength=None,
        made=0,
        tags=account.tags,
        own_state="",
        own_note="",
        key="",
    )


def _refuse_too_many(folder: Path, entries: Sequence[Entry]) -> None:
    if len(entries) > MOST_VIDEOS:
        raise EncodeError(
            f"{folder} holds the results of more than {MOST_VIDEOS:,} videos, too many for one page: make one of each "
            f"folder in it, such as {folder / (next((e.folder for e in entries if e.folder), 'a')).split('/')[0]}"
        )


def _address(path: str) -> str:
    """A path below the page as an address."""
    return quote(os.fsencode(path), safe="/-_.~!$&'()*+,;=@")


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, VidsalError) else getattr(error, "strerror", None) or str(error)
