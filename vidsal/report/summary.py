"""What a list says of one video, and how it is read from the video's report again."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsal.report.html import data_block

__all__ = ["Summary", "read_summary"]

_ID = "summary"
_HEAD_BYTES = 2**17
_BLOCK = re.compile(rb'<script type="application/json" id="summary">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One video's results, for a list of many. It stands at the beginning of its report (`read_summary`)."""

    name: str
    """Of the input."""
    kind: str
    """video, image, images, animation, camera or stream."""
    frames: int
    """Number of frames."""
    length_seconds: float
    """From the first frame to the end of the last one; 0 of a single picture."""
    height: int | None
    """Rows of the upright picture; None where they are not known."""
    width: int | None
    """Columns of it."""
    shots: int
    """Number of shots."""
    strongest_shot: int
    """The shot with the highest attention strength."""
    attention_strength: float
    """Its attention strength, in bits."""
    model: str
    """Name of the model; empty where it is not known."""
    messages: int
    """How many sentences the run has for a person."""
    thumbnail: bytes | None
    """A small JPEG of the strongest shot's key frame, with the heat where there is an overlay; None without any."""

    def as_block(self) -> str:
        """As it stands in the head of a report."""
        values = dataclasses.asdict(self)
        values["thumbnail"] = None if self.thumbnail is None else base64.b64encode(self.thumbnail).decode()
        return data_block(_ID, values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Summary:
        """Of what stands in a report.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        known = {one.name: values[one.name] for one in dataclasses.fields(cls)}
        picture = known["thumbnail"]
        known["thumbnail"] = None if picture is None else base64.b64decode(picture, validate=True)
        summary = cls(**known)
        numbers = (summary.frames, summary.length_seconds, summary.shots, summary.attention_strength)
        if not all(isinstance(one, int | float) for one in numbers) or not isinstance(summary.name, str):
            raise TypeError("no summary of a report")
        return summary


def read_summary(page: Path) -> Summary | None:
    """The summary in a report that vidsal made, of which only the beginning is read; None where it is no such page."""
    try:
        with page.open("rb") as file:
            found = _BLOCK.search(file.read(_HEAD_BYTES))
        return None if found is None else Summary.from_dict(json.loads(found[1]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
