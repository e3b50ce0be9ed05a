"""Scores, pictures, maps and fixations in, figures out: contact sheets, scores over time, reliability of the density.

Drawn by matplotlib, the extra `figures`, without a display; it is imported when a figure is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from vidsal.data.layouts import Fixations
from vidsal.errors import ConfigError
from vidsal.evaluate.reliability import Reliability
from vidsal.files import replacing
from vidsal.metrics import METRICS
from vidsal.render import RenderOptions, overlay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "RANKS",
    "Rank",
    "SheetRow",
    "check_matplotlib",
    "contact_sheet",
    "plot_reliability",
    "plot_scores",
    "rank_sequences",
    "save_figure",
]

Rank = Literal["best", "median", "worst"]
"""Which sequences are looked at."""

RANKS: tuple[Rank, ...] = ("best", "median", "worst")
"""In the order drawn."""

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#8a8a8a"
_OTHERS = ("#8a8a8a", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#5b4db5", "#444444")
_FEW = 10
"""Expected fixations below which a bin is drawn hollow."""


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One frame of a contact sheet."""

    label: str
    """What stands left of it, as its time and score; lines may be broken."""
    picture: npt.NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    prediction: npt.NDArray[np.float32]
    """(h, w), of any scale, over the whole picture."""
    truth: npt.NDArray[np.float32] | None
    """(h, w), the recorded density, of any scale; None where there is none."""
    fixations: Fixations | None = None
    """Where people looked; None where not recorded."""


def check_matplotlib() -> None:
    """Reports early that figures cannot be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ConfigError("figures need matplotlib: pip install 'vidsal[figures]', or leave out --figures") from error


def rank_sequences(
    means: Mapping[str, float], *, better: Literal["higher", "lower"], count: int = 1
) -> dict[Rank, list[str]]:
    """The sequences to look at.

    Args:
        means: score of each sequence; those without a number (NaN) are left out.
        better: which way is good.
        count: how many of each rank; fewer where they would be the same.

    Returns:
        Names by rank, the better ones first. One sequence is the best; of two, the other one is the worst.

    Example:
        >>> rank_sequences({"a": 3.0, "b": 1.0, "c": 2.0}, better="higher")
        {'best': ['a'], 'median': ['c'], 'worst': ['b']}
    """
    sign = -1 if better == "higher" else 1
    order = sorted((name for name in means if math.isfinite(means[name])), key=lambda name: (sign * means[name], name))
    count = max(1, min(count, len(order) // 3))
    best, rest = order[:count], order[count:]
    worst, rest = rest[-count:], rest[:-count]
    middle = max(0, (len(rest) - count) // 2)
    found: dict[Rank, list[str]] = {"best": best, "median": rest[middle : middle + count], "worst": worst}
    return {rank: found[rank] for rank in RANKS if found[rank]}


def contact_sheet(rows: Sequence[SheetRow], *, title: str) -> Figure:
    """Frames one below the other: picture, recorded density with its fixations, prediction, and that over the picture.

    The densities of a row are drawn on one scale, the root of the density relative to a uniform one.

    Args:
        rows: at least one.
        title: stands above.
    """
    if not rows:
        raise ValueError("a contact sheet has at least one row")
    titles = ("frame", "recorded", "predicted", "overlay")
    each = 2.9
    heights = [each * min(1.8, row.picture.shape[0] / row.picture.shape[1]) for row in rows]
    margin, top, gap = 1.15, 0.75, 0.06
    width, height = margin + len(titles) * (each + gap), top + sum(heights) + gap * len(rows)
    figure = _figure(width, height)
    figure.text(0.5, 1 - 0.2 / height, title, ha="center", va="center", fontsize=11, parse_math=False)
    y = height - top
    for place, (row, tall) in enumerate(zip(rows, heights, strict=True)):
        y -= tall
        figure.text(
            (margin - 0.12) / width,
            (y + tall / 2) / height,
            row.label,
            ha="right",
            va="center",
            fontsize=8.5,
            parse_math=False,
        )
        for column, name in enumerate(titles):
            x = margin + column * (each + gap)
            axes = figure.add_axes((x / width, y / height, each / width, tall / height))
            axes.set_axis_off()
            if place == 0:
                axes.set_title(name, fontsize=9, pad=4)
            _draw_cell(axes, name, row)
        y -= gap
    return figure


def _draw_cell(axes: Axes, name: str, row: SheetRow) -> None:
    height, width = row.picture.shape[:2]
    prediction = _relative(row.prediction)
    truth = None if row.truth is None else _relative(row.truth)
    highest = max(float(prediction.max()), 0.0 if truth is None else float(truth.max()), 1e-6)
    if name == "frame":
        axes.imshow(row.picture, aspect="auto")
    elif name == "overlay":
        drawn = overlay(row.picture, prediction / np.float32(prediction.size), options=RenderOptions(legend="off"))
        axes.imshow(drawn, aspect="auto")
    else:
        shown = prediction if name == "predicted" else truth
        if shown is None:
            axes.text(0.5, 0.5, "none", ha="center", va="center", color=_GREY, transform=axes.transAxes)
            return
        axes.imshow(
            np.sqrt(shown), cmap="magma", vmin=0, vmax=math.sqrt(highest), extent=(0, width, height, 0), aspect="auto"
        )
        if name == "recorded" and row.fixations is not None and len(row.fixations.points):
            to_picture = np.array([width / row.fixations.width, height / row.fixations.height])
            x, y = (row.fixations.points * to_picture).T
            # Many points would hide the density below them.
            size = min(5.0, max(0.8, 500 / len(x)))
            axes.scatter(x, y, s=size, facecolors="none", edgecolors="#7fd7ff", linewidths=size / 10)
            axes.set_xlim(0, width)
            axes.set_ylim(height, 0)


def plot_scores(
    seconds: npt.NDArray[np.floating], scores: Mapping[str, Mapping[str, npt.NDArray[np.float64]]], *, title: str
) -> Figure:
    """Every metric of one sequence over time, one panel each.

    Args:
        seconds: (T,), times of the scored frames, rising.
        scores: what was scored, the model first, to metric to (T,) scores; NaN leaves a gap.
        title: stands above.
    """
    names = list(dict.fromkeys(metric for each in scores.values() for metric in each))
    if not names:
        raise ValueError("there are no scores to plot")
    columns = 1 if len(names) == 1 else 2
    rows = math.ceil(len(names) / columns)
    figure = _figure(5.6 * columns, 0.9 + 1.55 * rows, title)
    panels = np.atleast_1d(np.asarray(figure.subplots(rows, columns, sharex=True, squeeze=False))).ravel()
    lines: dict[str, Any] = {}
    for panel, metric in zip(panels, names, strict=False):
        for place, (source, of_source) in reversed(list(enumerate(scores.items()))):
            if metric not in of_source:
                continue
            first = place == 0
            colour = _BLUE if first else _OTHERS[(place - 1) % len(_OTHERS)]
            values = np.asarray(of_source[metric], np.float64)
            (line,) = panel.plot(
                seconds,
                values,
                color=colour,
                linewidth=1.5 if first else 0.8,
                alpha=1 if first else 0.8,
                marker="o" if len(values) < 40 else "",
                markersize=2.5,
                zorder=3 if first else 2,
            )
            if first and np.isfinite(values).any():
                panel.axhline(float(np.nanmean(values)), color=colour, linewidth=0.7, linestyle=(0, (4, 3)))
            lines[source] = line
        known = METRICS.get(metric)
        arrow = "" if known is None else " (higher is better)" if known.better == "higher" else " (lower is better)"
        panel.set_title(
            f"{metric if known is None else known.title}{arrow}", fontsize=8.5, loc="left", parse_math=False
        )
        _tidy(panel)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    for panel in panels[: len(names)][-columns:]:
        panel.set_xlabel("seconds", fontsize=8.5)
        panel.tick_params(labelbottom=True)
    if len(scores) > 1:
        shown = [source for source in scores if source in lines]
        figure.legend(
            [lines[source] for source in shown],
            shown,
            loc="outside lower center",
            ncols=min(4, len(shown)),
            fontsize=8,
            frameon=False,
        )
    return figure


def plot_reliability(counts: Mapping[str, Reliability], *, title: str) -> Figure:
    """Whether fixations fall where the density puts its mass, and as densely as it says.

    Left, for each bin of the density, the predicted mass against the share of fixations; right, the predicted density
    against the one found, both in multiples of a uniform one. On the diagonal the density means what it says; above it
    at the dense end, the model is too vague, below it too sure. Bins with few expected fixations are hollow. The gap is
    the share of fixations that fell into another bin than expected.

    Args:
        counts: what was scored to its counts; at least one with fixations.
        title: stands above.
    """
    counts = {name: each for name, each in counts.items() if each.fixations}
    if not counts:
        raise ValueError("no fixations to plot")
    figure = _figure(9.4, 4.9, title)
    left, right = figure.subplots(1, 2)
    highest, spread = 0.0, [1.0]
    for place, (name, each) in enumerate(counts.items()):
        colour = _BLUE if place == 0 else _OTHERS[(place - 1) % len(_OTHERS)]
        used = each.by_chance > 0
        mass, found = each.expected[used] / each.fixations, each.observed[used] / each.fixations
        predicted, seen = (part[used] / each.by_chance[used] for part in (each.expected, each.observed))
        many = each.expected[used] >= _FEW
        left.plot([], [], "o", color=colour, markersize=5, label=f"{name} (gap {100 * each.gap:.1f} %)")
        # A bin without a fixation has no place on a log scale.
        right.plot(predicted, np.where(seen > 0, seen, np.nan), color=colour, linewidth=1, alpha=0.6)
        for panel, x, y in ((left, mass, found), (right, predicted, seen)):
            panel.scatter(x[many], y[many], s=22, color=colour, zorder=3)
            panel.scatter(x[~many], y[~many], s=22, facecolors="white", edgecolors=colour, zorder=2)
        highest = max(highest, float(mass.max()), float(found.max()))
        spread.extend([*predicted[predicted > 0], *seen[seen > 0]])
    end = 1.08 * highest
    left.plot([0, end], [0, end], color=_GREY, linewidth=0.8, zorder=1)
    left.set(xlim=(-0.02 * end, end), ylim=(-0.02 * end, end))
    left.set_xlabel("predicted mass of the bin", fontsize=8.5)
    left.set_ylabel("share of fixations", fontsize=8.5)
    low, high = max(2.0**-9, min(spread)) / 1.4, max(spread) * 1.4
    right.plot([low, high], [low, high], color=_GREY, linewidth=0.8, zorder=1)
    right.set_xscale("log", base=2)
    right.set_yscale("log", base=2)
    right.set(xlim=(low, high), ylim=(low, high))
    right.set_xlabel("predicted density, multiples of uniform", fontsize=8.5)
    right.set_ylabel("density of fixations, multiples of uniform", fontsize=8.5)
    for panel in (left, right):
        _tidy(panel)
        panel.set_aspect("equal")
    left.legend(fontsize=8, frameon=False, loc="upper left")
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Writes a figure in the format that the path's ending names.

    Raises:
        EncodeError: the file cannot be written.
    """
    kind = path.suffix.removeprefix(".")
    with replacing(path, remedy="choose another path", also=(ValueError,), make_folder=True) as partial:
        # No version and no date: the same figure gives the same file.
        unsaid: dict[str, dict[str, Any]] = {
            "png": {"Software": None},
            "pdf": {"Creator": "vidsal", "Producer": None, "CreationDate": None},
            "svg": {"Creator": "vidsal", "Date": None},
        }
        import matplotlib as mpl

        # Journals refuse Type 3, matplotlib's default.
        with mpl.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "vidsal"}):
            figure.savefig(partial, format=kind, metadata=unsaid.get(kind))
    return path


def _figure(width: float, height: float, title: str | None = None) -> Figure:
    """An empty figure; with a title its panels find their places themselves."""
    from matplotlib.figure import Figure

    made = Figure((width, height), dpi=100, facecolor="white", layout=None if title is None else "constrained")
    if title is not None:
        made.suptitle(title, fontsize=11, parse_math=False)
    return made


def _relative(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """A map relative to a uniform one: its mean is 1; all zero stays so."""
    mean = float(values.mean(dtype=np.float64))
    return np.asarray(values / mean if mean > 0 else values, np.float32)


def _tidy(panel: Axes) -> None:
    panel.tick_params(labelsize=8, length=3, color=_GREY)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(_GREY)
    panel.grid(color="#e6e6e6", linewidth=0.6)
    panel.set_axisbelow(True)
