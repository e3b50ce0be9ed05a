"""The database of a job in, batch.csv and batch.json out: what became of every input, and of all together."""

from __future__ import annotations

import csv
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vidsal.addresses import hide_secrets
from vidsal.batch.database import JobDatabase, Row
from vidsal.files import replacing

__all__ = ["write_summary"]

_FORMAT = "vidsal-batch-1"
_UTF8, _ANY = "utf-8", "backslashreplace"  # the name of a file need not be text
_COLUMNS = (
    "path", "place", "state", "listed", "reason", "message", "attempts", "frames", "cuts", "video_seconds", "seconds",
    "bytes", "modified", "sample_sha256", "ended", "plan", "files", "messages", "tags",
)  # fmt: skip


def write_summary(output: Path, database: JobDatabase, *, name: str = "batch") -> tuple[Path, ...]:
    """Write NAME.csv, a line an input, and NAME.json, the whole in numbers; returns their paths.

    Args:
        output: the folder for both.
        database: the job.
        name: what they are called.

    Raises:
        EncodeError: one cannot be written.
    """
    table, total = output / f"{name}.csv", output / f"{name}.json"
    with (
        replacing(table) as partial,
        partial.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(_line(row, files) for row, files in database.lines())
    last = database.last_run() or {}
    sums = database.sums()
    values = {
        "format": _FORMAT,
        "outcome": last.get("outcome"),
        "started": _utc(last.get("started")),
        "ended": _utc(last.get("ended") or time.time()),
        "vidsal": last.get("version"),
        "models": json.loads(last.get("models") or "[]"),
        "options": last.get("options"),
        "given": json.loads(last.get("given") or "{}"),
        "inputs": database.counts(listed=True),
        "all_inputs": database.counts(),
        "video_seconds": _rounded(sums["video_seconds"]),
        "frames": sums["frames"],
        "seconds": _rounded(sums["seconds"]),
        "bytes_written": sums["bytes"],
        "reasons": [trouble._asdict() for trouble in database.reasons(listed=True)],
    }
    with replacing(total) as partial:
        partial.write_text(json.dumps(values, indent=1) + "\n", encoding=_UTF8, errors=_ANY)
    return table, total


def _line(row: Row, files: str) -> list[Any]:
    values = {
        **{name: getattr(row, name, None) for name in _COLUMNS},
        "path": hide_secrets(row.path),
        "listed": str(row.listed).lower(),
        "video_seconds": _rounded(row.video_seconds),
        "seconds": _rounded(row.seconds),
        "ended": _utc(row.ended),
        "files": files,
        "messages": "; ".join(row.messages),
        "tags": ", ".join(f"{name}={value}" if value else name for name, value in row.tags.items()),
    }
    return ["" if values[name] is None else values[name] for name in _COLUMNS]


def _rounded(seconds: float | None) -> float | None:
    """To milliseconds."""
    return None if seconds is None else round(seconds, 3)


def _utc(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
