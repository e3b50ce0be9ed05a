"""A study of one's own in the layout simple: two short videos, four viewers, known fixations."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from layout_fixtures import HEIGHT, WIDTH, picture
from media import make_video

RATE = 5
VIEWERS = ("anna", "bo", "p2", "p10")


def rows_of_study(seed: int = 3) -> list[dict[str, Any]]:
    """Two videos of 2.4 and 1.2 s; "p10" sees the first only, and nobody looks in the last frame of it."""
    rng = np.random.default_rng(seed)
    rows = []
    for video, frames in (("a.mp4", 12), ("b.mp4", 6)):
        for viewer in VIEWERS[: 4 if video == "a.mp4" else 3]:
            for frame in range(frames - (video == "a.mp4")):
                x, y = rng.uniform((0, 0), (WIDTH, HEIGHT))
                rows.append(
                    {
                        "video": video,
                        "width": WIDTH,
                        "height": HEIGHT,
                        "subject": viewer,
                        "start_seconds": frame / RATE,
                        "x": round(float(x), 2),
                        "y": round(float(y), 2),
                    }
                )
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def make_study(root: Path, *, table: bool = True) -> Path:
    (root / "videos").mkdir(parents=True)
    for name, frames in (("a.mp4", 12), ("b.mp4", 6)):
        make_video(root / "videos" / name, frames=frames, width=WIDTH, height=HEIGHT, rate=RATE, picture=picture)
    if table:
        write_rows(root / "video_fixations.csv", rows_of_study())
    return root
