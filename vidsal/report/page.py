"""The results of one video in, its report as one HTML page out: `make_report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidsal.exports.shots import ShotNumbers
from vidsal.report.html import asset, escaped, make_page
from vidsal.report.summary import Summary

__all__ = ["Results", "make_report"]


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a report is made of."""

    name: str
    """Of the input."""
    shots: Sequence[ShotNumbers]
    """All of its shots, in order; at least one."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """How the results came about, as NAME.vidsal.json has it; empty where nobody knows."""
    overlay: Path | None = None
    """The video or picture with the heat; None where none was written."""
    source: Path | None = None
    """The input; None where it is no file, or is not there."""


def make_report(results: Results, *, page: Path) -> str:
    """The page that shows one video's results.

    Args:
        results: what is shown.
        page: where the page is to lie, NAME.vidsal.html: videos are named from there.
    """
    return make_page(
        title=f"{results.name} - vidsal",
        body=f"<main><h1>{escaped(results.name)}</h1></main>",
        styles=[asset("base.css")],
        blocks=[summary_of(results).as_block()],
    )


def summary_of(results: Results) -> Summary:
    """What a list says of these results."""
    made_from = results.record.get("input", {})
    strongest = max(results.shots, key=lambda shot: shot.attention_strength)
    return Summary(
        name=results.name,
        kind=str(made_from.get("kind", "video")),
        frames=sum(shot.frames for shot in results.shots),
        length_seconds=sum(shot.length_seconds for shot in results.shots),
        height=made_from.get("height"),
        width=made_from.get("width"),
        shots=len(results.shots),
        strongest_shot=strongest.shot,
        attention_strength=strongest.attention_strength,
        model=str(results.record.get("model", {}).get("name", "")),
        messages=len(results.record.get("messages", ())),
        thumbnail=None,
    )
