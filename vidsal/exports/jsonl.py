"""Rows of the table in, one JSON object a frame out, with its regions and their boxes as lists.

Its schema lies with the reference in the documentation, frames.schema.json.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from vidsal.exports.contract import Columns, Export, Footage
from vidsal.exports.regions import REGION_SOURCES
from vidsal.exports.timeline import exact
from vidsal.timecode import Timecodes

__all__ = ["JsonlExport"]

_SCHEMA = "vidsal-frame-1"
_PLACES = (1, 2, 3)


class JsonlExport(Export):
    """A line a frame, written as soon as the frame comes."""

    sources = (
        *REGION_SOURCES,
        *("cut", "peak_x", "peak_y", "peak_density", "centroid_x", "centroid_y", "spread_x", "spread_y"),
        *("entropy_bits", "entropy_share", "coverage"),
        *(f"region{place}_{name}" for place in _PLACES for name in ("x", "y")),
    )

    def __init__(self, footage: Footage) -> None:
        super().__init__(footage)
        self._timecodes: Timecodes | None = None
        if footage.timecode is not None and footage.rate is not None:
            try:
                self._timecodes = Timecodes.of(footage.timecode, footage.rate)
            except ValueError as error:
                self.messages.append(f"{error}: no time codes are written")

    def update(self, columns: Columns) -> bytes:
        """Takes the next rows; their lines."""
        lists = {name: np.asarray(columns[name]).tolist() for name in self.sources}
        rows = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
        return "".join(json.dumps(self._nested(row), allow_nan=False) + "\n" for row in rows).encode()

    def flush(self) -> bytes:
        """Nothing: all lines are written."""
        return b""

    def _nested(self, row: dict[str, Any]) -> dict[str, Any]:
        timecode = None
        if self._timecodes is not None and self.footage.rate is not None:
            timecode = self._timecodes[round(exact(row["pts_seconds"]) * self.footage.rate)]
        size = {"width": self.footage.width, "height": self.footage.height}
        return {
            "schema": _SCHEMA,
            "index": row["index"],
            "seconds": row["pts_seconds"],
            "timecode": timecode,
            "shot": row["shot"],
            "cut": row["cut"],
            "picture": size if self.footage.width and self.footage.height else None,
            "peak": {name: row[f"peak_{name}"] for name in ("x", "y", "density")},
            "centroid": {name: row[f"centroid_{name}"] for name in ("x", "y")},
            "spread": {name: row[f"spread_{name}"] for name in ("x", "y")},
            "entropy": {name: row[f"entropy_{name}"] for name in ("bits", "share")},
            "coverage": row["coverage"],
            "regions": [
                _region(row, place) for place in _PLACES if row[f"region{place}_id"] == row[f"region{place}_id"]
            ],
        }


def _region(row: dict[str, Any], place: int) -> dict[str, Any]:
    def of(name: str) -> Any:
        return row[f"region{place}_{name}"]

    box = {name: int(of(name)) for name in ("left", "top", "width", "height")}
    return {"id": int(of("id")), "x": of("x"), "y": of("y"), "mass": of("mass"), "box": box}
