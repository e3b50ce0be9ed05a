"""The results of a job in, what is missing, changed or cannot be opened out; and those marked to be made again."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from av.error import FFmpegError

from vidsal.addresses import hide_secrets
from vidsal.batch.database import JobDatabase, Row
from vidsal.batch.folder import current_databases, job_folder, working_on
from vidsal.batch.storage import Scratch, describe, exists
from vidsal.batch.uploads import Uploads
from vidsal.batch.work import Made
from vidsal.decode import open_video
from vidsal.decode.local import open_file
from vidsal.driving.options import MAY_BE_EMPTY
from vidsal.errors import VidsalError
from vidsal.files import sha256_of
from vidsal.index import INDEX_NAME, THUMBNAILS
from vidsal.pipe.record import read_records

__all__ = ["Finding", "VerifyProgress", "VerifyReport", "verify_results"]

_OWN = ".vidsal."
_CHUNK_ROWS = 1 << 16


@dataclass(frozen=True)
class Finding:
    """A result that is not what the batch wrote."""

    problem: Literal["missing", "changed", "unreadable", "unreached", "surplus"]
    """unreadable: the content is as it was written, and no program can read it; unreached: it lies elsewhere, and the
    connection failed, so nobody knows; surplus: no input of the batch has it among its results, which harms none."""
    file: str
    """Its name below the folder of all results, or its address elsewhere."""
    path: str
    """The input; empty where it is of none."""
    message: str
    """More of it."""


@dataclass(frozen=True)
class VerifyProgress:
    """How far it is."""

    bytes: int
    """Looked at."""
    total_bytes: int
    """Of all results."""
    files: int
    """Looked at."""
    findings: int
    """So far."""


@dataclass(frozen=True)
class VerifyReport:
    """What was found."""

    output: Path
    """The folder of all results."""
    inputs: int
    """Inputs whose results were looked at."""
    files: int
    """Their results."""
    bytes: int
    """Their size."""
    findings: tuple[Finding, ...]
    """What is not as it should be."""
    redone: int
    """Inputs that were marked to be run again."""

    @property
    def surplus(self) -> int:
        """Findings that are surplus: files beside the results."""
        return sum(one.problem == "surplus" for one in self.findings)

    @property
    def is_whole(self) -> bool:
        """Whether all results are as they were written."""
        return self.surplus == len(self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        shown = {"output": str(self.output), "surplus": self.surplus, "is_whole": self.is_whole}
        return dataclasses.asdict(self) | shown


def verify_results(
    output: Path,
    *,
    redo: bool = False,
    on_finding: Callable[[Finding], None] | None = None,
    on_progress: Callable[[VerifyProgress], None] | None = None,
) -> VerifyReport:
    """Read every result of a job again: its sha256 is computed, it is opened, and its frames or rows are counted.

    What was uploaded is fetched for that, one file at a time, also where a copy stayed here.

    Args:
        output: the folder of all results.
        redo: the inputs of results that are missing, changed or unreadable wait to be run again. The results are
            replaced then, not before.
        on_finding: told of each finding.
        on_progress: told after every file.

    Raises:
        EncodeError: there is no job, or its database cannot be read; or, with `redo`, a batch is at work on it.
    """
    counts = {"inputs": 0, "files": 0, "bytes": 0}
    findings: list[Finding] = []
    redone = 0

    def note(finding: Finding) -> None:
        findings.append(finding)
        if on_finding:
            on_finding(finding)

    with ExitStack() as stack:
        looked = [
            stack.enter_context(working_on(path) if redo else JobDatabase(path, read_only=True))
            for path in current_databases(output)
        ]
        total = sum(int(next(database.query(_TOTAL))[0]) for database in looked)
        for database in looked:
            wrong: list[Row] = []
            uploads = Uploads(database)
            for row in database.rows(("done", "damaged")):
                counts["inputs"] += 1
                is_wrong = False
                for made in database.files_of(row.id):
                    counts["files"] += 1
                    counts["bytes"] += made.bytes
                    for finding in _findings(output, row, made, uploads.address(row.id, made)):
                        is_wrong |= finding.problem != "unreached"
                        note(finding)
                    if on_progress:
                        on_progress(VerifyProgress(counts["bytes"], total, counts["files"], len(findings)))
                if is_wrong:
                    wrong.append(row)
            if redo:
                redone += _redo(output, database, wrong)
        for finding in _surplus(output, looked):
            note(finding)
    return VerifyReport(output, **counts, findings=tuple(findings), redone=redone)


_TOTAL = "SELECT coalesce(sum(f.bytes),0) FROM files f JOIN inputs i ON i.id=f.input WHERE state IN ('done','damaged')"


def _findings(output: Path, row: Row, made: Made, address: str | None) -> Iterator[Finding]:
    """What is wrong with a result here, and with its copy elsewhere."""
    shown = hide_secrets(row.path)
    if made.address is None and (found := _finding(output / made.file, row, made)):
        yield Finding(found[0], made.file, shown, found[1])
    if address is not None and (found := _finding_elsewhere(address, row, made)):
        yield Finding(found[0], hide_secrets(address), shown, found[1])


_Found = tuple[Literal["missing", "changed", "unreadable", "unreached"], str] | None


def _finding(path: Path, row: Row, made: Made) -> _Found:
    """What is wrong with a file, and more of it; None where nothing is."""
    try:
        if not path.is_file():
            return "missing", "it is not there"
        size = path.stat().st_size
        if size != made.bytes:
            return "changed", f"it has {size} bytes and had {made.bytes}"
        if sha256_of(path) != made.sha256:
            return "changed", "it has its size and another content"
        fault = _fault(path, made.stage, row)
    except (OSError, ValueError, KeyError, StopIteration, VidsalError, FFmpegError, csv.Error, zipfile.BadZipFile) as e:
        return "unreadable", getattr(e, "strerror", None) or " ".join(str(e).split()) or type(e).__name__
    return ("unreadable", fault) if fault else None


def _finding_elsewhere(address: str, row: Row, made: Made) -> _Found:
    """The same of a result that was uploaded; one of another size is not even fetched."""
    try:
        if not exists(address):
            return "missing", "it is not there"
        there = describe(address)
        if there.bytes != made.bytes:
            return "changed", f"it has {there.bytes} bytes and had {made.bytes}"
        with Scratch(Path(tempfile.gettempdir(), "vidsal-scratch")).fetched(address, there) as copy:
            return _finding(copy, row, made)
    except VidsalError as error:
        return "unreached", " ".join(str(error).split())


def _fault(path: Path, stage: str, row: Row) -> str:
    """What is wrong with the content of a result; empty where nothing is."""
    match stage, path.suffix.lower():
        case "record", _:
            records = read_records(path)
            return "" if records and records[0].status == "done" else "it is no record of a finished run"
        case "image", _:
            with open_video(path) as reader:
                next(iter(reader))
            return ""
        case _, ".mp4" | ".mkv" | ".mov":
            return _wrong_count("frames", _frames_of_video(path), row)
        case _, ".npz":
            return _wrong_count("maps", _maps_of_arrays(path), row)
        case "table", _:
            return _wrong_count("rows", _rows_of(path), row)
        case stage, _ if stage in MAY_BE_EMPTY:
            # Its columns have to be there all the same.
            return "" if path.stat().st_size and (_rows_of(path) or 0) >= 0 else "it is empty"
        case _, ".csv" | ".jsonl" | ".parquet":
            return "" if _rows_of(path) else "it holds no row"
    return ""


def _wrong_count(what: str, count: int | None, row: Row) -> str:
    return f"it holds {count} {what}, not {row.frames}" if count is not None and count != row.frames else ""


def _frames_of_video(path: Path) -> int:
    """Packets of the first video stream, the first and the last of which are decoded."""
    count = 0
    last: list[Any] = []
    with open_file(path) as container:
        stream = container.streams.video[0]
        seen = False
        for packet in container.demux(stream):
            if not packet.size:
                continue
            count += 1
            last = [packet] if packet.is_keyframe else [*last, packet]
            if not seen:
                seen = bool(packet.decode())
        stream.codec_context.flush_buffers()
        frames = [frame for packet in last for frame in packet.decode()] + stream.codec_context.decode(None)
        if count and not frames:
            raise ValueError("its last frame cannot be decoded")
    return count


def _maps_of_arrays(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
        if broken is not None:
            raise ValueError(f"{broken} in it is broken")
    with np.load(path, allow_pickle=False) as arrays:
        return len(arrays["index"])


def _rows_of(path: Path) -> int | None:
    """Rows of a table, all of them parsed; None where what it takes is not installed."""
    if path.suffix.lower() == ".parquet":
        with suppress(ImportError):
            import pyarrow.parquet

            return sum(int(batch.num_rows) for batch in pyarrow.parquet.ParquetFile(path).iter_batches(_CHUNK_ROWS))
        return None
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".jsonl":
            return sum(1 for line in file if json.loads(line) is not None)
        reader = csv.reader(file, strict=True)
        width = len(next(reader))
        count = 0
        for row in reader:
            count += 1
            if len(row) != width:
                raise ValueError(f"row {count} has {len(row)} columns, not {width}")
        return count


def _redo(output: Path, database: JobDatabase, wrong: list[Row]) -> int:
    """Let inputs be run again, and their results, as they are now, be replaced."""
    for row in wrong:
        files = database.files_of(row.id)
        # Without a record nothing counts as done; all that is there then counts by its size.
        for made in files:
            if made.stage == "record":
                (output / made.file).unlink(missing_ok=True)
        database.own(
            row.id, {made.file: (output / made.file).stat().st_size for made in files if _is_there(output, made)}
        )
    return database.retry((), [row.id for row in wrong]) if wrong else 0


def _is_there(output: Path, made: Made) -> bool:
    return (output / made.file).is_file()


def _surplus(output: Path, databases: list[JobDatabase]) -> Iterator[Finding]:
    """What earlier options asked for and is there still; then files with names like results that no input has."""
    former: set[str] = set()
    remedy = f"made with earlier options, and not wanted any more: vidsal batch clean {output} --surplus"
    for database in databases:
        uploads = Uploads(database)
        for id, path, made in database.former():
            shown, address = hide_secrets(path), uploads.address(id, made)
            if made.address is None:
                former.add(made.file)
                if _is_there(output, made):
                    yield Finding("surplus", made.file, shown, remedy)
            if address is not None and exists(address):
                yield Finding("surplus", hide_secrets(address), shown, remedy)
    for file in _foreign(output, databases):
        if file not in former:
            yield Finding("surplus", file, "", "no input of this batch has it; it can be removed if nobody needs it")


def _foreign(output: Path, databases: list[JobDatabase]) -> Iterator[str]:
    """Files with names like those of results that no input of the job has."""
    job = job_folder(output)
    for folder, inside, names in os.walk(output):
        inside[:] = sorted(name for name in inside if Path(folder, name) != job and name != THUMBNAILS)
        below = os.path.relpath(folder, output)
        below = "" if below == "." else below.replace(os.sep, "/") + "/"
        for name in sorted(names):
            if _OWN not in name or ".partial" in name or name == INDEX_NAME:
                continue
            file = below + name
            owner = [(one, *found) for one in databases if (found := one.at(file.rpartition(_OWN)[0]))]
            if not owner:
                yield file
                continue
            database, id, state = owner[0]
            # What runs may have written it a moment ago, and what waits replaces it.
            if state not in ("waiting", "running") and file not in {made.file for made in database.files_of(id)}:
                yield file
