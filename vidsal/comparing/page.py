"""A ranking and its figures in, one HTML page out that needs no other file: for a screen, a phone and paper."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from urllib.parse import quote

from vidsal.evaluate.ranking import (
    Ranked,
    Ranking,
    Reference,
    chance_mark,
    explanations,
    heading,
    metric_title,
    shown_costs,
    shown_estimate,
)
from vidsal.evaluate.results import describe_dataset
from vidsal.metrics import METRICS
from vidsal.report.html import asset, escaped, make_page

__all__ = ["make_models_page"]


def make_models_page(ranking: Ranking, *, figures: Mapping[str, str]) -> str:
    """The page that shows several models.

    Args:
        ranking: what is shown.
        figures: "ranking" and "costs" to SVG; what is missing is left out.
    """
    title = f"Models on {describe_dataset(ranking.dataset)}"
    by = METRICS[ranking.rank_by].title
    body = [
        '<main class="wrap models">',
        f"<header><h1>{escaped(title)}</h1>",
        f'<p class="quiet">{escaped(heading(ranking))}; protocol {escaped(str(ranking.protocol["name"]))}; '
        f"ranked by {escaped(by)}</p></header>",
        *(
            f'<p class="note">{escaped(name)} could not be scored: {escaped(reason)}</p>'
            for name, reason in ranking.failed.items()
        ),
        *(f'<p class="note">{escaped(note)}</p>' for note in ranking.notes),
        *_table(ranking),
        '<div class="figures">',
        *_figure(
            figures.get("ranking"),
            f"{by} with 95 % intervals over sequences. Filled dots: the best, and those whose difference from it is "
            "not beyond chance. Lines: what is no model.",
        ),
        *_figure(
            figures.get("costs"),
            f"{by} against the CPU time of a frame on one core. The grey line joins models that nothing cheaper "
            "reaches.",
        ),
        "</div>",
        '<section class="panel"><h2>How to read it, and how it was made</h2><ul>',
        # What failed, and the notes, stand above.
        *(
            f"<li>{escaped(line)}</li>"
            for line in explanations(ranking)
            if not line.startswith(("note: ", "could not"))
        ),
        "</ul></section>",
        "</main>",
    ]
    return make_page(
        title=f"{title} · vidsal",
        body="\n".join(body),
        styles=[asset("base.css"), asset("models.css")],
        scripts=[asset("models.js")],
    )


def _figure(svg: str | None, caption: str) -> list[str]:
    if svg is None:
        return []
    # As a picture: what stands in it cannot run, and its styles are its own.
    address = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return [
        f'<figure class="panel"><img src="{address}" alt="{escaped(caption)}">',
        f'<figcaption class="quiet">{escaped(caption)}</figcaption></figure>',
    ]


def _table(ranking: Ranking) -> list[str]:
    costs = shown_costs(ranking)
    head = [
        '<th class="number" scope="col">rank</th>',
        '<th scope="col">model</th>',
        *(f'<th class="number" scope="col">{escaped(metric_title(metric))}</th>' for metric in ranking.metrics),
        *(f'<th class="number" scope="col">{escaped(one.title)}</th>' for one in costs),
    ]
    rows = []
    for model in ranking.models:
        cells = [
            f'<td class="number" data-value="{model.rank}">{model.rank}</td>',
            f'<th scope="row">{_name(model)}</th>',
            *(_score(model, metric) for metric in ranking.metrics),
        ]
        for one in costs:
            value = one.value(model.cost)
            sort = "" if value is None else f"{value:.9g}"
            cells.append(f'<td class="number" data-value="{sort}">{one.shown(model.cost) or "n/a"}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return [
        '<section class="panel" aria-labelledby="table-title"><h2 id="table-title">Scores and costs</h2>',
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="table-title">',
        '<table id="models">',
        f"<thead><tr>{''.join(head)}</tr></thead>",
        "<tbody>",
        *rows,
        "</tbody>",
        *(
            ["<tbody>", *(_reference(one, ranking, len(costs)) for one in ranking.references), "</tbody>"]
            * bool(ranking.references)
        ),
        "</table></div></section>",
    ]


def _name(model: Ranked) -> str:
    name = escaped(model.name)
    if model.folder:
        name = f'<a href="{escaped(quote(model.folder))}/summary.json">{name}</a>'
    return name + (' <span class="quiet">(maps)</span>' if model.kind == "maps" else "")


def _score(model: Ranked, metric: str) -> str:
    value, span = shown_estimate(model.scores[metric])
    mark = chance_mark(model, metric)
    number = model.scores[metric].value
    sort = f"{number:.9g}" if math.isfinite(number) else ""
    chance = model.p.get(metric, math.nan)
    said = f' title="difference from the best: p {chance:.3f}"' if math.isfinite(chance) else ""
    shown = f"<strong>{value}</strong>" if mark == "best" else value
    level = ' <span class="level">≈</span>' if mark == "≈" else ""
    inside = f'{shown}{level}<span class="span">{span}</span>' if span else f"{shown}{level}"
    return f'<td class="number" data-value="{sort}"{said}>{inside}</td>'


def _reference(one: Reference, ranking: Ranking, costs: int) -> str:
    cells = []
    for metric in ranking.metrics:
        value, span = shown_estimate(one.scores[metric])
        cells.append(f'<td class="number">{value}' + (f'<span class="span">{span}</span>' if span else "") + "</td>")
    empty = "<td></td>" * costs
    return f'<tr class="reference"><td></td><th scope="row">{escaped(one.name)}</th>{"".join(cells)}{empty}</tr>'
