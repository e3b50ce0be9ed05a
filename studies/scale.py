"""What a large archive takes, reckoned from a batch that was run: files, frames, core hours, storage and cost.

    vidsal batch SAMPLE --output SAMPLED
    python studies/scale.py SAMPLED --hours 4000 --hours 1000000

Every rate comes from the job database of that batch: seconds of a worker a frame, and bytes of results a second of
video, by the size of the picture. The rest is multiplication; prices and the length of a file are options.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from vidsal.batch.database import JobDatabase
from vidsal.batch.folder import database_path
from vidsal.pipe.record import read_records

GB = 1e9
TB = 1e12


@dataclass
class Measured:
    """What the inputs of one size took."""

    frames: int = 0
    worker_seconds: float = 0.0
    video_seconds: float = 0.0
    inputs: int = 0
    bytes: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def rate(self) -> float:
        """Frames a second of one worker."""
        return self.frames / self.worker_seconds

    def bytes_an_hour(self, stage: str) -> float:
        """Bytes of a result for an hour of video."""
        return self.bytes[stage] / self.video_seconds * 3600


def measured(output: Path) -> dict[tuple[int, int], Measured]:
    """The inputs of a batch that were computed, by the height and width of their pictures."""
    found: dict[tuple[int, int], Measured] = defaultdict(Measured)
    with JobDatabase(database_path(output), read_only=True) as database:
        for row in database.rows(("done", "damaged")):
            made = {one.stage: one for one in database.files_of(row.id)}
            if not row.frames or not row.seconds or "record" not in made:
                continue
            record = read_records(output / made["record"].file)[0]
            source = record.provenance.input
            if source.height is None or source.width is None:
                continue
            one = found[source.height, source.width]
            one.frames += row.frames
            one.worker_seconds += row.seconds
            one.video_seconds += row.video_seconds or 0.0
            one.inputs += 1
            for stage, file in made.items():
                one.bytes[stage] += file.bytes
    return found


def table(rows: list[tuple[str, ...]]) -> str:
    """Markdown."""
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *body))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="DIR of a batch that was run")
    parser.add_argument(
        "--hours", type=float, action="append", help="hours of the archive; may be given more than once"
    )
    parser.add_argument("--rate", type=float, default=25.0, help="frames a second of the archive")
    parser.add_argument("--minutes", type=float, default=45.0, help="length of a file")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of an hour of a core")
    parser.add_argument("--month-gb", type=float, default=0.02, help="price of a GB for a month")
    parser.add_argument("--fewest", type=int, default=2, help="inputs of one size that count")
    given = parser.parse_args()
    sizes = {size: one for size, one in measured(given.output).items() if one.inputs >= given.fewest}
    rows = [
        ("picture", "inputs", "frames", "frames/s a worker", "video MB an hour", "table MB", "shots MB", "record MB")
    ]
    for (height, width), one in sorted(sizes.items()):
        stages = ("video", "table", "shots", "record")
        sums = [f"{one.bytes_an_hour(stage) / 1e6:.1f}" for stage in stages]
        rows.append((f"{width}x{height}", f"{one.inputs}", f"{one.frames}", f"{one.rate:.1f}", *sums))
    print(table(rows))
    for hours in given.hours or [4000.0, 1_000_000.0]:
        frames, files = hours * 3600 * given.rate, hours * 60 / given.minutes
        print(f"\n{hours:,.0f} hours at {given.rate:g} frames/s: {files:,.0f} files, {frames:,.0f} frames\n")
        rows = [("picture", "core hours", "cores for a night of 10 h", "price", "results TB", "a month", "database GB")]
        for (height, width), one in sorted(sizes.items()):
            core_hours = frames / one.rate / 3600
            stored = hours * sum(one.bytes_an_hour(stage) for stage in one.bytes)
            rows.append(
                (
                    f"{width}x{height}",
                    f"{core_hours:,.0f}",
                    f"{core_hours / 10:,.0f}",
                    f"{core_hours * given.core_hour:,.0f}",
                    f"{stored / TB:,.2f}",
                    f"{stored / GB * given.month_gb:,.0f}",
                    f"{files * 850 / GB:.3f}",
                )
            )
        print(table(rows))
    print(f"\n{json.dumps({'rate': given.rate, 'minutes': given.minutes, 'core_hour': given.core_hour})}")


if __name__ == "__main__":
    main()
