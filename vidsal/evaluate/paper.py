"""Scores, shares and maps in, figures for a paper out: of a size in millimetres, with legends beside what they explain.

Drawn by matplotlib, the extra `figures`, without a display; it is imported when a figure is made. The style is the file
`paper.mplstyle` beside this one.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vidsal.errors import ConfigError, Setting
from vidsal.evaluate.figures import check_matplotlib
from vidsal.evaluate.options import FigureOptions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

__all__ = [
    "Costly",
    "Dot",
    "Line",
    "ShownMap",
    "paper_style",
    "plot_costs",
    "plot_dots",
    "plot_lines",
    "plot_maps",
    "plot_ranking",
    "plot_strips",
]

_Floats = npt.NDArray[np.float64]

_INCH = 25.4
_MOST_MM = 500.0


@dataclass(frozen=True, eq=False)
class Line:
    """One curve over time."""

    seconds: _Floats
    """(T,) rising."""
    values: _Floats
    """(T,); NaN leaves a gap."""
    low: _Floats | None = None
    """(T,) lower end of an interval; None: there is none."""
    high: _Floats | None = None
    """(T,) its upper end."""


@dataclass(frozen=True)
class Dot:
    """One number with its interval."""

    value: float
    """NaN is not drawn."""
    low: float = math.nan
    """Lower end; NaN: there is no interval."""
    high: float = math.nan
    """Upper end."""


@dataclass(frozen=True)
class Costly:
    """One number with its interval, and what it costs."""

    dot: Dot
    """The number."""
    cost: float
    """Above 0."""
    group: str
    """Those of a group have one colour."""


@dataclass(frozen=True, eq=False)
class ShownMap:
    """A density to be drawn."""

    title: str
    """What it is of."""
    density: npt.NDArray[np.floating]
    """(h, w), of any scale."""
    shape: float
    """Height of the picture by its width."""


@contextmanager
def paper_style(options: FigureOptions) -> Iterator[None]:
    """The style of all figures that are made and saved within.

    Raises:
        ConfigError: matplotlib is missing, the style file cannot be used, or the font is not installed.
    """
    check_matplotlib()
    import matplotlib as mpl
    from matplotlib import font_manager, style

    own = resources.files("vidsal.evaluate").joinpath("paper.mplstyle")
    with resources.as_file(own) as path, mpl.rc_context():
        style.use(path)
        size = options.font_size
        mpl.rcParams.update(
            {
                **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize", "figure.titlesize"), size),
                **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), max(size - 1, 3)),
                "savefig.dpi": options.dpi,
            }
        )
        if options.style is not None:
            try:
                style.use(options.style)
            except (OSError, ValueError, KeyError) as error:
                raise ConfigError(Setting("style", options.style), f" cannot be used: {error}") from error
        if options.font is not None:
            try:
                font_manager.findfont(options.font, fallback_to_default=False)
            except ValueError as error:
                some = sorted({font.name for font in font_manager.fontManager.ttflist})
                shown = ", ".join(some[:12]) + (", ..." if len(some) > 12 else "")
                raise ConfigError(Setting("font", options.font), f" is not installed; there are {shown}") from error
            mpl.rcParams["font.family"] = options.font
        else:
            # Only those that are there: matplotlib would warn of each of the others.
            there = {font.name for font in font_manager.fontManager.ttflist}
            known = [name for name in mpl.rcParams["font.sans-serif"] if name in there]
            mpl.rcParams["font.sans-serif"] = known or ["DejaVu Sans"]
        yield


def _figure(options: FigureOptions, height_mm: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = options.height_mm or min(height_mm, _MOST_MM)
    made = Figure((options.width_mm / _INCH, height / _INCH), layout="constrained")
    FigureCanvasAgg(made)  # which can measure
    return made


def _colours(names: Sequence[str]) -> dict[str, Any]:
    import matplotlib as mpl

    cycle = mpl.rcParams["axes.prop_cycle"].by_key().get("color", ["black"])
    return {name: cycle[place % len(cycle)] for place, name in enumerate(names)}


def _legend(
    figure: Figure, handles: Sequence[Any], labels: Sequence[str], options: FigureOptions, *, always: bool = False
) -> None:
    """Below all panels, in as many columns as fit into the width: it covers nothing. One thing needs none.

    Where not even one column fits, long names are broken into lines. A figure whose height nobody asked for grows by
    what the legend takes beyond `_legend_mm`.
    """
    if len(labels) < 2 and not always:
        return
    room = 0.98 * figure.get_figwidth() * figure.dpi
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for columns in range(len(labels), 0, -1):
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        for text in legend.get_texts():
            text.set_parse_math(False)
        if legend.get_window_extent(renderer).width < room:
            break
        if columns > 1:
            legend.remove()
    else:
        for letters in range(max(map(len, labels)) - 1, 0, -1):
            for text, label in zip(legend.get_texts(), labels, strict=True):
                text.set_text("\n".join(textwrap.wrap(label, letters)))
            if legend.get_window_extent(renderer).width < room:
                break
    beyond = legend.get_window_extent(renderer).height / figure.dpi - _legend_mm(len(labels)) / _INCH
    if options.height_mm is None and beyond > 0:
        figure.set_figheight(min(figure.get_figheight() + beyond, _MOST_MM / _INCH))


def _legend_mm(count: int) -> float:
    """Height that figures leave for a legend of so many names: four short ones stand beside each other."""
    return 5.0 * math.ceil(count / 4)


def _label_bar(figure: Figure, bar: Colorbar, label: str) -> None:
    """Beside a bar, in as many lines as fit into the height of the figure, and smaller where the longest does not."""
    room = 0.98 * figure.get_figheight() * figure.dpi
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    text = bar.ax.yaxis.label
    for lines in range(1, 4):
        bar.set_label("\n".join(textwrap.wrap(label, math.ceil(1.2 * len(label) / lines))), parse_math=False)
        taken = text.get_window_extent(renderer).height
        if taken <= room:
            return
    text.set_fontsize(float(text.get_fontsize()) * room / taken)


def _title(panel: Axes, text: str, options: FigureOptions) -> None:
    if options.titles:
        panel.set_title(text, parse_math=False)


def _name_rows(panel: Axes, names: Collection[str]) -> None:
    panel.set_yticks(range(len(names)), list(names))
    for text in panel.get_yticklabels():
        text.set_parse_math(False)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.grid(False, axis="y")


def plot_lines(
    panels: Mapping[str, Mapping[str, Line]], *, label: str, options: FigureOptions, zero: bool = False
) -> Figure:
    """Curves over time, a panel below the other, all on one scale.

    Args:
        panels: title to name to curve; at least one.
        label: what is drawn, on the y axis.
        options: size and style.
        zero: draw a line at 0.
    """
    names = list(dict.fromkeys(name for each in panels.values() for name in each))
    colours = _colours(names)
    figure = _figure(options, 14 + 30 * len(panels) + _legend_mm(len(names)))
    axes = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=True))
    handles: dict[str, Any] = {}
    for panel, (title, curves) in zip(axes, panels.items(), strict=True):
        if zero:
            panel.axhline(0, color="#888888", linewidth=0.6, zorder=1)
        for place, (name, line) in reversed(list(enumerate(curves.items()))):
            if line.low is not None and line.high is not None:
                panel.fill_between(line.seconds, line.low, line.high, color=colours[name], alpha=0.2, linewidth=0)
            few = len(line.seconds) < 60
            (handles[name],) = panel.plot(
                line.seconds,
                line.values,
                color=colours[name],
                marker="o" if few else "",
                markersize=2,
                zorder=9 - place,
            )
        _title(panel, title, options)
    axes[-1].set_xlabel("time (s)")
    beside = figure.supylabel(label, fontsize=axes[0].yaxis.label.get_size(), parse_math=False)
    _legend(figure, [handles[name] for name in names], names, options)
    figure.draw_without_rendering()
    beside.set_y((axes[0].get_position().y1 + axes[-1].get_position().y0) / 2)
    return figure


def plot_dots(
    panels: Mapping[str, Mapping[str, Mapping[str, Dot]]], *, options: FigureOptions, labels: Mapping[str, str]
) -> Figure:
    """Numbers side by side: a panel for each group, a row for each thing in it, a dot for each source.

    Args:
        panels: title to row to source to number; at least one of each.
        options: size and style.
        labels: title to what stands below the panel.
    """
    sources = list(dict.fromkeys(name for rows in panels.values() for row in rows.values() for name in row))
    colours = _colours(sources)
    columns = min(len(panels), 1 if options.width_mm < 120 else 3)
    lines = math.ceil(len(panels) / columns)
    rows_most = max(len(rows) for rows in panels.values())
    figure = _figure(options, lines * (14 + max(2, rows_most) * 4.6) + _legend_mm(len(sources)))
    axes = np.asarray(figure.subplots(lines, columns, squeeze=False)).ravel()
    handles: dict[str, Any] = {}
    for panel, (title, rows) in zip(axes, panels.items(), strict=False):
        for place, dots in enumerate(rows.values()):
            known = [dots[name].value for name in sources if name in dots and math.isfinite(dots[name].value)]
            if len(known) > 1:
                panel.plot([min(known), max(known)], [place, place], color="#d0d0d0", linewidth=0.8, zorder=1)
            for name, dot in reversed(list(dots.items())):
                if math.isfinite(dot.low) and math.isfinite(dot.high):
                    panel.plot([dot.low, dot.high], [place, place], color=colours[name], linewidth=1.2, zorder=2)
                (handles[name],) = panel.plot([dot.value], [place], "o", color=colours[name], zorder=3)
        _name_rows(panel, rows)
        panel.set_xlabel(labels.get(title, ""), parse_math=False)
        _title(panel, title, options)
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    one_each = all(list(row) == [name] for rows in panels.values() for name, row in rows.items())
    if not one_each:  # else the rows say which it is
        _legend(figure, [handles[name] for name in sources], sources, options)
    return figure


def plot_strips(
    panels: Mapping[str, tuple[_Floats, Sequence[str] | None, _Floats]], *, label: str, options: FigureOptions
) -> Figure:
    """Colours along time: a row for each sequence, or for each height of the picture.

    Args:
        panels: title to (T + 1,) seconds at which cells end and begin, names of the rows (None: shares from 0 at one
            edge of the picture to 1 at the other), and (rows, T) values; NaN is left white.
        label: of the colours.
        options: size and style.
    """
    from matplotlib.colors import Normalize

    values = np.concatenate([each[2].ravel() for each in panels.values()])
    values = values[np.isfinite(values)]
    norm = Normalize(float(values.min()), float(values.max())) if len(values) else Normalize(0, 1)
    heights = [(max(4, len(names)) * 4.5 + 4 if names is not None else 26) for _, names, _ in panels.values()]
    figure = _figure(options, sum(heights) + 10 * len(panels) + 4)
    axes = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True, height_ratios=heights))
    for panel, (title, (edges, names, cells)) in zip(axes, panels.items(), strict=True):
        sides = np.arange(len(cells) + 1) - 0.5 if names is not None else np.linspace(0, 1, len(cells) + 1)
        image = panel.pcolormesh(edges, sides, cells, norm=norm, rasterized=True)
        panel.grid(False)
        if names is not None:
            panel.set_yticks(range(len(names)), list(names))
            for text in panel.get_yticklabels():
                text.set_parse_math(False)
            panel.set_ylim(len(names) - 0.5, -0.5)
        else:
            panel.set_yticks([0, 0.5, 1])
            panel.set_ylim(1, 0)
        _title(panel, title, options)
    axes[-1].set_xlabel("time (s)")
    bar = figure.colorbar(image, ax=list(axes), pad=0.01, fraction=0.05, aspect=12 if len(panels) == 1 else 25)
    bar.set_label(label, parse_math=False)
    bar.outline.set_linewidth(0.4)
    return figure


def plot_maps(maps: Sequence[ShownMap], *, options: FigureOptions) -> Figure:
    """Densities side by side on one scale, in multiples of a uniform one.

    Args:
        maps: at least one.
        options: size and style.
    """
    from matplotlib.colors import PowerNorm

    columns = min(len(maps), max(1, round(options.width_mm / 55)))
    lines = math.ceil(len(maps) / columns)
    each = (options.width_mm - 18) / columns
    figure = _figure(options, lines * (each * max(one.shape for one in maps) + 7) + 3)
    relative = [np.asarray(one.density / one.density.mean(dtype=np.float64), np.float64) for one in maps]
    norm = PowerNorm(0.5, 0, max(float(one.max()) for one in relative))
    axes = np.asarray(figure.subplots(lines, columns, squeeze=False)).ravel()
    for panel, one, values in zip(axes, maps, relative, strict=False):
        image = panel.imshow(values, norm=norm, extent=(0, 1, one.shape, 0), interpolation="bilinear")
        panel.set(xticks=[], yticks=[])
        panel.grid(False)
        panel.spines[:].set_visible(True)
        panel.set_title(one.title, parse_math=False)
    for panel in axes[len(maps) :]:
        panel.set_axis_off()
    bar = figure.colorbar(image, ax=list(axes), pad=0.01, fraction=0.05, aspect=20 if lines > 1 else 12)
    _label_bar(figure, bar, "density, multiples of uniform")
    bar.outline.set_linewidth(0.4)
    return figure


def plot_ranking(
    panels: Mapping[str, Mapping[str, Dot]],
    *,
    level: Mapping[str, frozenset[str]],
    references: Mapping[str, Mapping[str, float]],
    labels: Mapping[str, str],
    options: FigureOptions,
) -> Figure:
    """Numbers with intervals, a row for each thing in the order given, a panel for each metric.

    Args:
        panels: title to row to number; the same rows in each.
        level: title to the rows that are as good as the best, as far as one can tell; their dots are filled.
        references: title to name to a number that is drawn as a line.
        labels: title to what stands below the panel.
        options: size and style.
    """
    rows = list(next(iter(panels.values())))
    columns = min(len(panels), 1 if options.width_mm < 120 else 3)
    lines = math.ceil(len(panels) / columns)
    figure = _figure(options, lines * (16 + max(2, len(rows)) * 4.6) + 10)
    axes = np.asarray(figure.subplots(lines, columns, squeeze=False, sharey=True)).ravel()
    names = list(dict.fromkeys(name for of_panel in references.values() for name in of_panel))
    blue, *others = _colours(["", *names]).values()
    styles = ["--", ":", "-."]
    handles: dict[str, Any] = {}
    for panel, (title, dots) in zip(axes, panels.items(), strict=False):
        for place, name in enumerate(names):
            if math.isfinite(value := references.get(title, {}).get(name, math.nan)):
                style = styles[place % len(styles)]
                handles[name] = panel.axvline(value, color=others[place], linestyle=style, linewidth=0.9, zorder=1)
        for place, (name, dot) in enumerate(dots.items()):
            if math.isfinite(dot.low) and math.isfinite(dot.high):
                panel.plot([dot.low, dot.high], [place, place], color=blue, linewidth=1.2, zorder=2)
            filled = name in level.get(title, ())
            face = blue if filled else "white"
            panel.plot([dot.value], [place], "o", color=blue, markerfacecolor=face, markersize=4, zorder=3)
        _name_rows(panel, rows)
        panel.set_xlabel(labels.get(title, ""), parse_math=False)
        _title(panel, title, options)
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    if handles:
        # A single line has to be named, too: no row says what it is.
        _legend(figure, list(handles.values()), list(handles), options, always=True)
    return figure


def plot_costs(
    points: Mapping[str, Costly],
    *,
    higher: bool,
    label: str,
    cost_label: str,
    options: FigureOptions,
) -> Figure:
    """Numbers against what they cost, on a log scale; a line joins those that nothing cheaper reaches.

    Args:
        points: name to number and cost; at least one.
        higher: whether a higher number is better.
        label: of the numbers.
        cost_label: of the costs.
        options: size and style.
    """
    from matplotlib.ticker import LogLocator

    figure = _figure(options, min(0.62 * options.width_mm + 8, 120))
    panel = figure.subplots()
    panel.set_xscale("log")
    groups = _colours(list(dict.fromkeys(one.group for one in points.values())))
    front: list[Costly] = []
    for one in sorted(points.values(), key=lambda each: (each.cost, -each.dot.value if higher else each.dot.value)):
        gain = one.dot.value - front[-1].dot.value if front else math.inf
        if not front or (gain > 0 if higher else gain < 0):
            front.append(one)
    if len(front) > 1:
        panel.plot(
            [one.cost for one in front], [one.dot.value for one in front], color="#c8c8c8", linewidth=1, zorder=1
        )
    handles: dict[str, Any] = {}
    for one in points.values():
        if math.isfinite(one.dot.low) and math.isfinite(one.dot.high):
            ends = [one.dot.low, one.dot.high]
            panel.plot([one.cost] * 2, ends, color=groups[one.group], linewidth=0.8, alpha=0.5, zorder=2)
        (handles[one.group],) = panel.plot(
            [one.cost], [one.dot.value], "o", color=groups[one.group], markersize=4, zorder=3
        )
    costs = [one.cost for one in points.values()]
    panel.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    panel.set_xlabel(cost_label, parse_math=False)
    panel.set_ylabel(label, parse_math=False)
    _legend(figure, list(handles.values()), list(handles), options)
    names = {name: (one.cost, one.dot.value) for name, one in points.items()}
    _name_points(figure, panel, names, line=[(one.cost, one.dot.value) for one in front])
    return figure


_NEAR = (
    *((6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 6, "center", "bottom"), (0, -6, "center", "top")),
    *((5, 5, "left", "bottom"), (5, -5, "left", "top"), (-5, 5, "right", "bottom"), (-5, -5, "right", "top")),
)
"""Where the name of a point may stand: points of type to the right and up, and how it is aligned."""

_FAR = tuple(
    (right, up, "left" if right > 0 else "right", "bottom" if up > 0 else "top")
    for up in (14, -14, 24, -24, 34, -34)
    for right in (10, -10, 24, -24)
)
"""The same, so far away that a line has to lead there."""

_Box = tuple[float, float, float, float]
"""Left, lower, right and upper end, in pixels."""


def _name_points(
    figure: Figure, panel: Axes, points: Mapping[str, tuple[float, float]], *, line: Sequence[tuple[float, float]]
) -> None:
    """Writes names beside points, each where it covers least and is not taken for that of another point."""
    from matplotlib.text import Text

    figure.draw_without_rendering()  # now the panel has its place
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    frame = panel.get_window_extent(renderer)
    centres = {name: tuple(map(float, panel.transData.transform(place))) for name, place in points.items()}
    point = figure.dpi / 72
    taken: list[_Box] = [(x - 3 * point, y - 3 * point, x + 3 * point, y + 3 * point) for x, y in centres.values()]
    for begin, end in itertools.pairwise(panel.transData.transform(line)):
        for share in np.linspace(0, 1, 60):
            x, y = (float(side) for side in begin + share * (end - begin))
            taken.append((x - 1, y - 1, x + 1, y + 1))
    size = panel.xaxis.get_ticklabels()[0].get_fontsize()

    def penalty(name: str, box: _Box, *, far: bool) -> float:
        """How bad it is to stand there, as an area that is covered."""
        area = (box[2] - box[0]) * (box[3] - box[1])
        bad = (
            sum(_shared(box, other) for other in taken) + area - _shared(box, (frame.x0, frame.y0, frame.x1, frame.y1))
        )
        own = _distance(box, centres[name])
        others = min((_distance(box, centre) for other, centre in centres.items() if other != name), default=math.inf)
        # A line says whose it is, but is in the way itself.
        return bad + (0.1 * area if far else 0.5 * area if others < 1.2 * own + point else 0.0)

    for name, place in points.items():
        tried: list[tuple[float, int, Any, _Box]] = []
        for number, (right, up, horizontal, vertical) in enumerate((*_NEAR, *_FAR)):
            far = number >= len(_NEAR)
            text = panel.annotate(
                name,
                place,
                (right, up),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=size,
                parse_math=False,
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.5, "shrinkA": 0} if far else None,
                zorder=4,
            )
            text.update_positions(renderer)
            # Of the text alone: an annotation counts its line, too.
            left, low, right_end, high = map(float, Text.get_window_extent(text, renderer).extents)
            box = (left, low, right_end, high)
            text.remove()
            tried.append((penalty(name, box, far=far), number, text, box))
            if tried[-1][0] <= 0:
                break
        _, _, text, box = min(tried, key=lambda each: each[:2])
        panel.add_artist(text)
        text.set_in_layout(False)
        taken.append(box)


def _shared(one: _Box, other: _Box) -> float:
    """Area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _distance(box: _Box, place: tuple[float, ...]) -> float:
    """From a box to a place."""
    x, y = place
    return math.hypot(max(box[0] - x, 0.0, x - box[2]), max(box[1] - y, 0.0, y - box[3]))
