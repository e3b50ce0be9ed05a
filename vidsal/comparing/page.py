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
    none_beyond_chance,
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
    dots = (
        "All dots are filled: no difference from the best is beyond chance."
        if none_beyond_chance(ranking, ranking.rank_by)
        else "Filled dots: the best, and those whose difference from it is not beyond chance."
    )
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
        *_scores(ranking),
        *_costs(ranking),
        '<div class="figures">',
        *_figure(
            figures.get("ranking"),
            f"{by} with 95 % intervals over sequences. {dots} Lines: what is no model.",
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


def _scores(ranking: Ranking) -> list[str]:
    head = [
        '<th class="number" scope="col">rank</th>',
        '<th scope="col">model</th>',
        *(f'<th class="number" scope="col">{escaped(metric_title(metric))}</th>' for metric in ranking.metrics),
    ]
    rows = [_row(model, [_score(model, metric) for metric in ranking.metrics]) for model in ranking.models]
    return _table("models", "Scores", head, rows, [_reference(one, ranking) for one in ranking.references])


def _costs(ranking: Ranking) -> list[str]:
    """What models cost, beside the score that decides: the scores alone may be wider than a screen."""
    costs = shown_costs(ranking)
    if not costs:
        return []
    head = [
        '<th class="number" scope="col">rank</th>',
        '<th scope="col">model</th>',
        f'<th class="number" scope="col">{escaped(metric_title(ranking.rank_by))}</th>',
        *(f'<th class="number" scope="col">{escaped(one.title)}</th>' for one in costs),
    ]
    rows = []
    for model in ranking.models:
        cells = [_score(model, ranking.rank_by)]
        for one in costs:
            value = one.value(model.cost)
            sort = "" if value is None else f"{value:.9g}"
            cells.append(f'<td class="number" data-value="{sort}">{one.shown(model.cost) or "n/a"}</td>')
        rows.append(_row(model, cells))
    return _table("costs", "Costs", head, rows, [])


def _table(name: str, title: str, head: list[str], rows: list[str], below: list[str]) -> list[str]:
    """A table that scrolls and is sorted by its headings; what stands below is not sorted."""
    return [
        f'<section class="panel" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>',
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{name}-title">',
        f'<table id="{name}">',
        f"<thead><tr>{''.join(head)}</tr></thead>",
        "<tbody>",
        *rows,
        "</tbody>",
        *(["<tbody>", *below, "</tbody>"] * bool(below)),
        "</table></div></section>",
    ]


def _row(model: Ranked, cells: list[str]) -> str:
    rank = f'<td class="number" data-value="{model.rank}">{model.rank}</td>'
    return f'<tr>{rank}<th scope="row">{_name(model)}</th>{"".join(cells)}</tr>'


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


def _reference(one: Reference, ranking: Ranking) -> str:
    cells = []
    for metric in ranking.metrics:
        value, span = shown_estimate(one.scores[metric])
        cells.append(f'<td class="number">{value}' + (f'<span class="span">{span}</span>' if span else "") + "</td>")
    return f'<tr class="reference"><td></td><th scope="row">{escaped(one.name)}</th>{"".join(cells)}</tr>'
