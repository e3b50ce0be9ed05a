"""What is predicted of areas of interest by frame, and what was measured, in; curves and a table of the page out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vidsal.aois import AOI_SUMMARY_COLUMNS, AoiFrame, AoiSum, AoiSums
from vidsal.aois.measured import Measured
from vidsal.exports.contract import Footage
from vidsal.report.gather import Curves
from vidsal.report.html import escaped

__all__ = ["GatheredAreas", "area_curves", "area_section"]


class GatheredAreas:
    """What a report shows of areas; memory does not grow with the length of a video.

    Args:
        names: of the areas.
        footage: what is known of the source; None: nothing is.
    """

    def __init__(self, names: Sequence[str], *, footage: Footage | None = None) -> None:
        self.names = list(names)
        self.curves = Curves(self.names)
        """The predicted share of each; not a number where it is not there."""
        self.sums: list[AoiSum] = []
        self.measured: Measured | None = None
        """What people did, where that is known."""
        self._sums = AoiSums(self.names, footage=footage)

    def update(self, frames: Sequence[Sequence[AoiFrame]]) -> None:
        """Takes the next frames, each a row for each area."""
        if not frames:
            return
        columns = {
            name: [rows[place].predicted_share if rows[place].area_share > 0 else math.nan for rows in frames]
            for place, name in enumerate(self.names)
        }
        self.curves.update({"pts_seconds": [rows[0].pts_seconds for rows in frames], **columns})
        self._sums.update(frames)

    def finish(self) -> None:
        """Ends the source."""
        self.sums = self._sums.flush()


def area_curves(areas: GatheredAreas) -> dict[str, Any]:
    """What the script of the page draws: names, and curves on the points of the others."""
    low, high = areas.curves.low, areas.curves.high
    made: dict[str, Any] = {"names": areas.names, "low": {}, "high": {}}
    for place, name in enumerate(areas.names):
        made["low"][f"area{place}"] = _listed(low[name].tolist())
        made["high"][f"area{place}"] = _listed(high[name].tolist())
    if areas.measured is not None:
        starts = areas.curves.start_seconds.tolist()
        for place, name in enumerate(areas.names):
            rows = areas.measured.seconds.get(name, ())
            shares = {math.floor(row.start_seconds): row.dwell_share for row in rows}
            values = [shares.get(math.floor(start)) for start in starts]
            made["low"][f"area{place}_measured"] = made["high"][f"area{place}_measured"] = values
        made["participants"] = areas.measured.participants
    return made


def _listed(values: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]


def area_section(areas: GatheredAreas, *, still: bool = False) -> str:
    """The table of the areas, as HTML.

    Args:
        areas: ended.
        still: of one picture, in which nothing lasts.
    """
    measured = areas.measured
    heads = [
        ("Area", "", "aoi"),
        ("Predicted share", "number", "predicted_share"),
        ("Of the picture", "number", "area_share"),
        ("Ratio", "number", ""),
        ("There for", "number", "present_seconds"),
        ("First peak", "number", "first_peak_seconds"),
        ("Order", "number", "order"),
        ("Longest without", "number", "longest_absence_seconds"),
    ]
    heads = heads[:_TIMELESS] if still else heads
    if measured is not None:
        heads += [("Dwell share", "number", ""), ("Correlation", "number", ""), ("Seconds off", "number", "")]
    meanings = {
        "Ratio": "Predicted share over the share of the picture: 1 for a flat map.",
        "Dwell share": "Measured: mean over seconds and participants of the share of gaze in the area.",
        "Correlation": "Pearson's, of predicted and measured share over seconds.",
        "Seconds off": "Share of seconds in which the predicted share lies outside the interval over participants.",
    }
    cells = []
    for title, kind, column in heads:
        about = AOI_SUMMARY_COLUMNS[column].meaning if column else meanings[title]
        cells.append(f'<th scope="col" class="{kind}" title="{escaped(about)}">{title}</th>')
    rows = "".join(_row(each, measured, still=still) for each in areas.sums)
    words = (
        "A <em>predicted share</em> is how much of the attention the model expects in the area, of many viewers. It is "
        "no time, and no measurement of any person."
    )
    if measured is not None:
        words += (
            f" <em>Dwell share</em> is recorded: the share of their gaze that {measured.participants} participants had "
            "in the area, dashed in the curves, second by second."
        )
    return f"""<section class="panel" aria-labelledby="areas-title">
<h2 id="areas-title">Areas of interest</h2>
<div class="scroll" role="region" aria-labelledby="areas-title" tabindex="0">
<table id="areas">
<caption class="hidden-text">The areas of interest, over the time that each is there.</caption>
<thead><tr>{"".join(cells)}</tr></thead>
<tbody>{rows}</tbody>
</table>
</div>
<p class="quiet small">{words}</p>
</section>"""


_TIMELESS = 4
"""Columns before those that are about time."""


def _row(one: AoiSum, measured: Measured | None, *, still: bool) -> str:
    ratio = one.predicted_share / one.area_share if one.predicted_share is not None and one.area_share else None
    cells = [
        (_percent(one.predicted_share), one.predicted_share),
        (_percent(one.area_share), one.area_share),
        ("" if ratio is None else f"{ratio:.2f} \u00d7", ratio),
        (f"{one.present_seconds:.2f} s", one.present_seconds),
        ("never" if one.first_peak_seconds is None else f"{one.first_peak_seconds:.2f} s", one.first_peak_seconds),
        ("" if one.order is None else str(one.order), one.order),
        (f"{one.longest_absence_seconds:.2f} s", one.longest_absence_seconds),
    ]
    cells = cells[: _TIMELESS - 1] if still else cells
    if measured is not None:
        found = measured.agreement.get(one.aoi)
        dwell, correlation, off = (
            (None, None, None) if found is None else (found.dwell_share, found.correlation, found.off_share)
        )
        cells.append((_percent(dwell), dwell))
        cells.append(("" if correlation is None else f"{correlation:.2f}", correlation))
        cells.append((_percent(off), off))
    listed = "".join(
        f'<td class="number" title="{"" if value is None else format(value, ".9g")}">{text}</td>'
        for text, value in cells
    )
    return f'<tr><th scope="row">{escaped(one.aoi)}</th>{listed}</tr>'


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
