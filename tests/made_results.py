"""Results of videos that nobody ran, as an index finds them: records, reports with a summary and a thumbnail."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidsal.report.html import make_page
from vidsal.report.summary import Summary


def make_record(folder: Path, place: str, *, suffix: str = ".mp4", **changes: Any) -> Path:
    """The record of a run that never was."""
    path = folder / f"{place}.vidsal.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "format": "vidsal-run-1",
        "status": "done",
        "vidsal": "0.1.0",
        "commit": "",
        "model": {"name": "made", "sha256": "0", "precision": "fp32", "device": "cpu"},
        "input": {
            "name": f"{path.name.removesuffix('.vidsal.json')}{suffix}",
            "kind": "video",
            "height": 90,
            "width": 160,
        },
        "options": {},
        "results": [],
        "counts": {"frames": 50, "video_seconds": 2.0, "cuts": 0},
        "messages": [],
        "earlier": [],
    }
    path.write_text(json.dumps(values | changes))
    return path


def make_summary(name: str, **changes: Any) -> Summary:
    """What the report of a video says in short."""
    values = {
        "name": name,
        "kind": "video",
        "frames": 50,
        "length_seconds": 2.0,
        "height": 90,
        "width": 160,
        "shots": 1,
        "strongest_shot": 0,
        "attention_strength": 2.5,
        "model": "made",
        "messages": 0,
        "thumbnail": make_thumbnail(name),
    }
    return Summary(**values | changes)


def make_report_page(record: Path, **changes: Any) -> Path:
    """A report that holds only its summary."""
    name = record.name.removesuffix(".vidsal.json")
    page = record.with_name(f"{name}.vidsal.html")
    summary = make_summary(f"{name}.mp4", **changes)
    page.write_text(make_page(title=name, body=f"<h1>{name}</h1>", styles=[""], blocks=[summary.as_block()]))
    return page


def make_thumbnail(name: str, *, width: int = 160, height: int = 90) -> bytes:
    """A JPEG of its own for each name."""
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    coarse = np.random.default_rng(seed).integers(20, 230, (5, 8, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
