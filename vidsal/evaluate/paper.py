"""Scores, shares and maps in, figures for a paper out: of a size in millimetres, with legends beside what they explain.

Drawn by matplotlib, the extra `figures`, without a display; it is imported when a figure is made. The style is the file
`paper.mplstyle` beside this one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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
    from matplotlib.figure import Figure

__all__ = [
    "Dot",
    "Line",
    "ShownMap",
    "paper_style",
    "plot_dots",
    "plot_lines",
    "plot_maps",
    "plot_strips",
]

_Floats = npt.NDArray[np.float64]

_INCH = 25.4


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

    height = options.height_mm or min(height_mm, 500.0)
    made = Figure((options.width_mm / _INCH, height / _INCH), layout="constrained")
    FigureCanvasAgg(made)  # which can measure
    return made


def _colours(names: Sequence[str]) -> dict[str, Any]:
    import matplotlib as mpl

    cycle = mpl.rcParams["axes.prop_cycle"].by_key().get("color", ["black"])
    return {name: cycle[place % len(cycle)] for place, name in enumerate(names)}


def _legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Below all panels, in as many columns as fit into the width: it covers nothing."""
    if len(labels) < 2:
        return
    width = figure.get_figwidth() * figure.dpi
    for columns in range(len(labels), 0, -1):
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        for text in legend.get_texts():
            text.set_parse_math(False)
        renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        if columns == 1 or legend.get_window_extent(renderer).width < 0.98 * width:
            return
        legend.remove()


def _title(panel: Axes, text: str, options: FigureOptions) -> None:
    if options.titles:
        panel.set_title(text, parse_math=False)


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
    figure = _figure(options, 14 + 30 * len(panels) + 5 * math.ceil(len(names) / 4))
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
    figure.supylabel(label, fontsize=axes[0].yaxis.label.get_size(), parse_math=False)
    _legend(figure, [handles[name] for name in names], names)
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
    figure = _figure(options, lines * (14 + max(2, rows_most) * 4.6) + 5 * math.ceil(len(sources) / 4))
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
        panel.set_yticks(range(len(rows)), list(rows))
        for text in panel.get_yticklabels():
            text.set_parse_math(False)
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.grid(False, axis="y")
        panel.set_xlabel(labels.get(title, ""), parse_math=False)
        _title(panel, title, options)
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    one_each = all(list(row) == [name] for rows in panels.values() for name, row in rows.items())
    if not one_each:  # else the rows say which it is
        _legend(figure, [handles[name] for name in sources], sources)
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
    bar.set_label("density, multiples of uniform")
    bar.outline.set_linewidth(0.4)
    return figure
