"""Finished results in, a folder of figures for a paper out: scores, times, participants, scenarios, maps, shares.

A result is what `vidsal eval` wrote, a table of shares of areas of interest, or the raw maps of `vidsal run --maps`. Of
the first, numbers come from the summary and the kept scores; nothing is scored again. Only maps by scenario read the
data set once more, for the recorded gaze.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.aois import AoiFrame
from vidsal.data.layouts import LabelledSequence, open_dataset
from vidsal.data.layouts.videos import tiny
from vidsal.errors import ConfigError, DatasetError, ExistsError, Setting
from vidsal.evaluate.evaluation import read_scores
from vidsal.evaluate.figures import save_figure
from vidsal.evaluate.options import FigureKind, FigureOptions
from vidsal.evaluate.paper import (
    Costly,
    Dot,
    Line,
    ShownMap,
    paper_style,
    plot_costs,
    plot_dots,
    plot_lines,
    plot_maps,
    plot_ranking,
    plot_strips,
)
from vidsal.evaluate.ranking import RANKING_NAME, Ranking, chance_mark, read_ranking
from vidsal.evaluate.results import Estimate, SequenceScores, Summary, interval, read_summary, resamples
from vidsal.exports.tables import load_pyarrow, read_table
from vidsal.gaze.compare import AoiSecond
from vidsal.metrics import METRICS
from vidsal.pipe.maps import saved_maps

__all__ = ["KINDS", "draw_figures", "figures_of_ranking"]

KINDS: tuple[FigureKind, ...] = get_args(FigureKind)
"""What a figure may show."""

_Floats = npt.NDArray[np.float64]

_SEQUENCES = 6
"""Sequences up to which a timeline shows each."""

_STRIP_ROWS = 40
"""Sequences that a strip shows at most."""

_MAP_SIDE = 160
"""Longer side of the grid that recorded gaze is added up on."""

_MAP_FRAMES = 200
"""Frames of a sequence, spread evenly, whose gaze goes into a map."""

_SCENARIOS = 12
"""Values of a scenario that are drawn, the first in order."""


def draw_figures(
    result: str | Path,
    *,
    kinds: Sequence[FigureKind] = (),
    out: str | Path | None = None,
    options: FigureOptions | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Draws figures of a finished result.

    Args:
        result: the folder or the summary.json that `vidsal eval` wrote; or the folder or the models.json of `vidsal
            compare-models`; or a table of areas, NAME.vidsal.aois.csv or
            the seconds.csv of `vidsal aoi measure`; or raw maps, NAME.vidsal.maps.npz or .mkv.
        kinds: what is drawn; none: all that there is, but maps.
        out: folder; None: figures/ beside the summary, or the folder of the file.
        options: sizes, style, and what of the result is shown.
        overwrite: replaces figures that are there.

    Returns:
        The files.

    Raises:
        ConfigError: an option is wrong, matplotlib is missing, or there is nothing of a kind.
        DatasetError, DecodeError: a file cannot be read.
        EncodeError: a figure cannot be written, or pyarrow is missing.
        ExistsError: a figure is there already.
    """
    path, chosen = Path(result), options or FigureOptions()
    folder = Path(out) if out is not None else (path if path.is_dir() else path.parent) / "figures"
    suffix = path.suffix.lower()
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder; give a finished result")
    with paper_style(chosen):
        if path.name == RANKING_NAME or (path / RANKING_NAME).is_file():
            other = next((kind for kind in kinds if kind not in _OF_RANKING), None)
            if other is not None:
                raise ConfigError(
                    f"{path} has nothing for ", Setting("kind", other), "; of it there are ranking, costs"
                )
            made = figures_of_ranking(read_ranking(path), chosen, kinds=kinds)
        elif path.is_dir() or suffix == ".json":
            made = _of_evaluation(path if path.is_dir() else path.parent, read_summary(path), kinds, chosen)
        elif suffix in (".npz", ".mkv"):
            _only(kinds, "strip", path)
            made = _strip_of_maps(path, chosen)
        elif suffix in (".csv", ".parquet", ".jsonl"):
            _only(kinds, "aois", path)
            made = _shares(path, chosen)
        else:
            raise ConfigError(
                f"{path} is no result that can be drawn; give a folder of vidsal eval, a table of areas (.csv, "
                ".parquet) or raw maps (.npz, .mkv)"
            )
        figures = {folder / f"{name}.{chosen.figure_format}": figure for name, figure in made}
        there = next((target for target in figures if target.exists()), None)
        if there is not None and not overwrite:
            raise ExistsError(f"{there} exists already; use ", Setting("overwrite", True), " to replace it")
        return tuple(save_figure(figure, target) for target, figure in figures.items())


def _only(kinds: Sequence[FigureKind], what: FigureKind, path: Path) -> None:
    other = next((kind for kind in kinds if kind != what), None)
    if other is not None:
        raise ConfigError(f"{path} has nothing for ", Setting("kind", other), f"; of it there is {what}")


_Made = Iterator[tuple[str, Any]]
"""Names of files without endings, and their figures."""


# Of several models.

_OF_RANKING: tuple[FigureKind, ...] = ("ranking", "costs")


def figures_of_ranking(ranking: Ranking, options: FigureOptions, *, kinds: Sequence[FigureKind] = ()) -> _Made:
    """Yields names of files without endings, and figures, within `paper_style`.

    Args:
        ranking: several models.
        options: how figures look; `metrics` and `sources` choose.
        kinds: "ranking" (scores with intervals, best on top), "costs" (scores against CPU time); none: both, where
            costs are known.

    Raises:
        ConfigError: an option is wrong, or costs are asked for and not known.
    """
    metrics = _chosen(options.metrics, ranking.metrics, "metrics", ranking.metrics[:1])
    there = [one.name for one in ranking.references]
    shown = _chosen(options.sources, there, "sources", there)
    if not kinds or "ranking" in kinds:
        yield (
            "ranking",
            plot_ranking(
                {_label(metric): {one.name: _dot(one.scores[metric]) for one in ranking.models} for metric in metrics},
                level={
                    _label(metric): frozenset(one.name for one in ranking.models if chance_mark(one, metric))
                    for metric in metrics
                },
                references={
                    _label(metric): {
                        one.name: one.scores[metric].value for one in ranking.references if one.name in shown
                    }
                    for metric in metrics
                },
                labels={_label(metric): _better(metric) for metric in metrics},
                options=options,
            ),
        )
    costly = {one.name: (one, one.cost.cpu_seconds) for one in ranking.models if one.cost.cpu_seconds}
    if kinds and "costs" in kinds and not costly:
        raise ConfigError("what these models cost was not measured, so there is nothing for ", Setting("kind", "costs"))
    for metric in metrics if costly and (not kinds or "costs" in kinds) else ():
        points = {
            name: Costly(
                _dot(one.scores[metric]),
                1e3 * seconds,
                "with learned weights" if one.cost.parameters else "without weights",
            )
            for name, (one, seconds) in costly.items()
            if math.isfinite(one.scores[metric].value)
        }
        if points:
            figure = plot_costs(
                points,
                higher=METRICS[metric].better == "higher",
                label=f"{_label(metric)} ({_better(metric)})",
                cost_label="CPU time of a frame (ms, one core)",
                options=options,
            )
            yield "costs" if metric == metrics[0] else f"costs-{metric}", figure


def _dot(one: Estimate) -> Dot:
    return Dot(one.value, one.low, one.high)


def _of_evaluation(folder: Path, summary: Summary, kinds: Sequence[FigureKind], options: FigureOptions) -> _Made:
    sources = _sources(summary, options)
    scores = read_scores(folder)
    asked = set(kinds)
    for kind in kinds or [kind for kind in KINDS if kind not in ("maps", "aois", *_OF_RANKING)]:
        found = list(_of_kind(kind, summary, scores, sources, options))
        if not found and kind in asked:
            raise ConfigError(f"{folder} has nothing for ", Setting("kind", kind), f": {_LACKING[kind]}")
        yield from found


_LACKING: Mapping[FigureKind, str] = {
    "scores": "no metric is defined",
    "timeline": "no video was scored",
    "strip": "no video was scored",
    "participants": "the data do not tell participants apart",
    "scenarios": "there is no list of trials, and the data set says nothing of its sequences",
    "maps": "no fixation was recorded",
    "ranking": "it is drawn of several models, a result of vidsal compare-models",
    "costs": "it is drawn of several models, a result of vidsal compare-models",
    "aois": "it is drawn of a table of areas, NAME.vidsal.aois.csv or the seconds of vidsal aoi measure",
}


def _of_kind(
    kind: FigureKind,
    summary: Summary,
    scores: Sequence[SequenceScores],
    sources: dict[str, str],
    options: FigureOptions,
) -> _Made:
    metrics = _metrics(summary, options, every=kind == "scores")
    if kind == "scores":
        yield from _scores(summary, metrics, sources, options)
    elif kind in ("timeline", "strip"):
        videos = [each for each in scores if len(each.index) > 1]
        for metric in metrics if videos else ():
            draw = _timeline if kind == "timeline" else _strip
            figure = draw(videos, metric, sources, options)
            if figure is not None:
                yield f"{kind}-{metric}", figure
    elif kind == "participants":
        yield from _participants(summary, metrics, sources, options)
    elif kind == "scenarios":
        yield from _scenarios(summary, metrics, sources, options)
    elif kind == "maps":
        yield from _maps(summary, scores, options)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _chosen(text: str | None, known: Sequence[str], option: str, default: Sequence[str]) -> list[str]:
    if text is None:
        return list(default)
    names = _names(text)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = f"{unknown[0]!r} is not there; " if unknown else ""
        raise ConfigError(Setting(option, text), f": {what}there are {', '.join(known) or 'none'}")
    return names


def _sources(summary: Summary, options: FigureOptions) -> dict[str, str]:
    """Names of sources to what figures call them."""
    there = [name for name, of in summary.scores.items() if any(one.frames for one in of.values())]
    chosen = _chosen(options.sources, there, "sources", there)
    return {name: str(summary.source["name"]) if name == "model" else name for name in chosen}


def _metrics(summary: Summary, options: FigureOptions, *, every: bool) -> list[str]:
    there = [name for name, one in summary.scores["model"].items() if one.frames]
    default = there if every else [name for name in there if name == "nss"] or there[:1]
    return _chosen(options.metrics, there, "metrics", default)


def _label(metric: str) -> str:
    one = METRICS.get(metric)
    return metric if one is None else one.title


def _better(metric: str) -> str:
    return f"{METRICS[metric].better} is better"


# Of an evaluation.


def _scores(summary: Summary, metrics: list[str], sources: dict[str, str], options: FigureOptions) -> _Made:
    panels = {
        _label(metric): {
            label: {label: Dot(one.value, one.low, one.high)}
            for name, label in sources.items()
            if math.isfinite((one := summary.scores[name][metric]).value)
        }
        for metric in metrics
    }
    panels = {title: rows for title, rows in panels.items() if rows}
    if panels:
        yield "scores", plot_dots(panels, options=options, labels={_label(name): _better(name) for name in metrics})


def _by_second(each: SequenceScores, source: str, metric: str) -> tuple[npt.NDArray[np.int64], _Floats]:
    """The seconds of a video that have a score, and the mean in each."""
    values = each.scores[each.sources.index(source), :, each.metrics.index(metric)]
    known = np.isfinite(values)
    seconds = np.floor(each.pts_seconds[known]).astype(np.int64)
    found, place = np.unique(seconds, return_inverse=True)
    return found, np.bincount(place, values[known]) / np.bincount(place) if len(found) else np.zeros(0)


def _whole(seconds: npt.NDArray[np.int64], values: _Floats, count: int) -> _Floats:
    """(count,) the values by second, NaN where there is none."""
    made = np.full(count, np.nan)
    made[seconds] = values
    return made


def _grid(videos: Sequence[SequenceScores], source: str, metric: str) -> _Floats:
    """(videos, seconds)."""
    found = [_by_second(each, source, metric) for each in videos]
    count = 1 + max((int(seconds.max()) for seconds, _ in found if len(seconds)), default=-1)
    return np.array([_whole(seconds, values, count) for seconds, values in found]).reshape(len(videos), count)


def _timeline(videos: Sequence[SequenceScores], metric: str, sources: dict[str, str], options: FigureOptions) -> Any:
    names = [each.name for each in videos]
    default = names if len(names) <= _SEQUENCES else []
    shown = _chosen(options.sequences, names, "sequences", default)
    panels: dict[str, dict[str, Line]] = {}
    of_source = {label: _grid(videos, name, metric) for name, label in sources.items()}
    of_source = {label: grid for label, grid in of_source.items() if np.isfinite(grid).any()}
    if len(videos) > 1:
        panels[f"mean of {len(videos)} videos"] = {label: _mean_line(grid) for label, grid in of_source.items()}
    for name in shown:
        row = names.index(name)
        panels[name] = {
            label: Line(np.arange(grid.shape[1], dtype=np.float64) + 0.5, grid[row])
            for label, grid in of_source.items()
            if np.isfinite(grid[row]).any()
        }
    panels = {title: curves for title, curves in panels.items() if curves}
    label = f"{_label(metric)} ({_better(metric)})"
    return plot_lines(panels, label=label, options=options, zero=metric == "nss") if panels else None


def _mean_line(grid: _Floats) -> Line:
    """The mean over videos of each second, with the 95 % interval over resampled videos."""
    there = np.isfinite(grid).astype(np.float64)
    known = np.nan_to_num(grid)
    counts = there.sum(axis=0)
    drawn = resamples(len(grid), draws=2000, seed=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (known.sum(axis=0)) / counts
        resampled = (drawn @ known) / (drawn @ there)
    ends = np.array(
        [
            interval(column) if count > 1 else (math.nan, math.nan)
            for column, count in zip(resampled.T, counts, strict=True)
        ]
    ).reshape(-1, 2)
    return Line(np.arange(grid.shape[1], dtype=np.float64) + 0.5, means, ends[:, 0], ends[:, 1])


def _strip(videos: Sequence[SequenceScores], metric: str, sources: dict[str, str], options: FigureOptions) -> Any:
    names = [each.name for each in videos]
    shown = _chosen(options.sequences, names, "sequences", names[:_STRIP_ROWS])
    some = [each for each in videos if each.name in shown]
    wanted = sources if options.sources is not None else dict(list(sources.items())[:1])
    panels = {}
    for name, label in wanted.items():
        grid = _grid(some, name, metric)
        if np.isfinite(grid).any():
            panels[label] = np.arange(grid.shape[1] + 1, dtype=np.float64), [each.name for each in some], grid
    label = f"{_label(metric)} by second"
    return plot_strips(panels, label=label, options=options) if panels else None


def _participants(summary: Summary, metrics: list[str], sources: dict[str, str], options: FigureOptions) -> _Made:
    panels = {}
    for metric in metrics:
        rows = {
            who: {
                label: Dot(value)
                for name, label in sources.items()
                if math.isfinite(value := one["scores"].get(name, {}).get(metric, math.nan))
            }
            for who, one in summary.by_participant.items()
        }
        rows = {who: dots for who, dots in rows.items() if dots}
        if rows:
            panels[_label(metric)] = rows
    if panels:
        labels = {_label(name): _better(name) for name in metrics}
        yield "participants", plot_dots(panels, options=options, labels=labels)


def _columns(summary: Summary, options: FigureOptions) -> list[str]:
    there = list(summary.by_scenario)
    asked = [column for column in there if any(column in columns for columns in summary.trials.values())]
    return _chosen(options.by, there, "by", asked or there)


def _scenarios(summary: Summary, metrics: list[str], sources: dict[str, str], options: FigureOptions) -> _Made:
    for metric in metrics:
        panels = {}
        for column in _columns(summary, options):
            values = list(summary.by_scenario[column].items())[:_SCENARIOS]
            rows = {
                f"{value} ({one['sequences']})": {
                    label: Dot(score)
                    for name, label in sources.items()
                    if math.isfinite(score := one["scores"].get(name, {}).get(metric, math.nan))
                }
                for value, one in values
            }
            rows = {value: dots for value, dots in rows.items() if dots}
            if rows:
                panels[column] = rows
        if panels:
            labels = dict.fromkeys(panels, f"{_label(metric)} ({_better(metric)})")
            yield f"scenarios-{metric}", plot_dots(panels, options=options, labels=labels)


# Maps by scenario.


def _maps(summary: Summary, scores: Sequence[SequenceScores], options: FigureOptions) -> _Made:
    given = summary.dataset
    dataset = open_dataset(given["name"], given["root"], split=given["split"], **given["options"])
    by_name = {sequence.name: sequence for sequence in dataset}
    lost = next((each.name for each in scores if each.name not in by_name), None)
    if lost is not None:
        raise DatasetError(f"{dataset.root}: sequence {lost} was scored, but is missing now; copy it again")
    groups: dict[tuple[str, str], list[tuple[str, frozenset[str] | None]]] = {("", "all"): []}
    wanted = _columns(summary, options)
    of_sequences = summary.trials.get("of_sequences", {})
    of_participants = summary.trials.get("of_participants", {})
    for each in scores:
        groups["", "all"].append((each.name, None))
        said = {**each.attributes, **{column: of[each.name] for column, of in of_sequences.items() if each.name in of}}
        for column in wanted:
            if column in of_participants:
                people = of_participants[column].get(each.name, {})
                for value in dict.fromkeys(people.values()):
                    own = frozenset(name for name, said_of in people.items() if said_of == value)
                    groups.setdefault((column, value), []).append((each.name, own))
            elif column in said:
                groups.setdefault((column, said[column]), []).append((each.name, None))
    gathered = {each.name: _Gaze.of(by_name[each.name], each.index.tolist()) for each in scores}
    columns: dict[str, list[ShownMap]] = {}
    for (column, value), members in sorted(groups.items()):
        total = np.zeros((1, 1), np.float32)
        shape, count = 1.0, 0
        for name, who in members:
            counts = gathered[name].counts(who)
            if counts.any():
                if not total.any():
                    total, shape = np.zeros_like(counts), gathered[name].shape
                total += cv2.resize(counts / counts.sum(), total.shape[::-1], interpolation=cv2.INTER_AREA)
                count += 1
        if total.any():
            blurred = cv2.GaussianBlur(total, (0, 0), 0.03 * max(total.shape), borderType=cv2.BORDER_CONSTANT)
            title = f"{value} ({count})" if column else f"all ({count})"
            columns.setdefault(column, []).append(ShownMap(title, blurred, shape))
    whole = columns.pop("", [])
    for column, maps in columns.items():
        yield f"maps-{_file_name(column)}", plot_maps(maps[:_SCENARIOS], options=options)
    if whole and not columns:
        yield "maps", plot_maps(whole, options=options)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_") or "scenario"


class _Gaze:
    """The fixations of some frames of a sequence on a small grid, by participant."""

    def __init__(self, shape: float) -> None:
        self.shape = shape
        rows, columns = (1.0, 1 / shape) if shape > 1 else (shape, 1.0)
        self._size = max(1, round(_MAP_SIDE * rows)), max(1, round(_MAP_SIDE * columns))
        self._by_person: dict[str, npt.NDArray[np.float32]] = {}

    @classmethod
    def of(cls, sequence: LabelledSequence, index: Sequence[int]) -> _Gaze:
        """Of a sequence, of the scored frames those that are spread evenly."""
        count = min(_MAP_FRAMES, len(index))
        wanted = {index[int((k + 0.5) * len(index) / count)] for k in range(count)}
        made: _Gaze | None = None
        for frame in sequence.read(size=tiny, stop=max(wanted, default=-1) + 1):
            seen = frame.fixations() if frame.index in wanted else None
            if seen is None:
                continue
            made = made or cls(seen.height / seen.width)
            people = np.array(seen.people if seen.people is not None else [""] * len(seen.points), object)
            for who in dict.fromkeys(people.tolist()):
                own = made._by_person.setdefault(who, np.zeros(made._size, np.float32))
                some = np.asarray(
                    seen.points[people == who] * (made._size[1] / seen.width, made._size[0] / seen.height)
                )
                places = np.minimum(some.astype(np.int64), (made._size[1] - 1, made._size[0] - 1))
                np.add.at(own, (places[:, 1], places[:, 0]), 1.0)
        return made or cls(1.0)

    def counts(self, who: frozenset[str] | None) -> npt.NDArray[np.float32]:
        """How many fixations fell on each cell, of some people or of all."""
        own = [counts for name, counts in self._by_person.items() if who is None or name in who]
        return np.sum(own, axis=0, dtype=np.float32) if own else np.zeros(self._size, np.float32)


# Of other results.


def _strip_of_maps(path: Path, options: FigureOptions) -> _Made:
    """The densities of a video added up across each side, a column a moment."""
    seconds, across, down = [], [], []
    for shown, log_density in saved_maps(path):
        density = np.exp(log_density)
        seconds.append(shown)
        across.append(density.sum(axis=0))
        down.append(density.sum(axis=1))
    if len(seconds) < 2:
        raise ConfigError(f"{path} holds {len(seconds)} maps; a strip along time needs two or more")
    times = np.array(seconds)
    edges = np.append(times, times[-1] + (times[-1] - times[0]) / (len(times) - 1))
    panels: dict[str, tuple[_Floats, Sequence[str] | None, _Floats]] = {}
    for title, sums in (("left (0) to right (1)", across), ("top (0) to bottom (1)", down)):
        cells = np.stack(sums, axis=1)
        panels[title] = edges, None, cells / cells.mean(axis=0, keepdims=True)
    stem = _file_name(path.name.removesuffix(path.suffix).removesuffix(".vidsal.maps"))
    yield f"strip-{stem}", plot_strips(panels, label="density, multiples of uniform", options=options)


def _shares(path: Path, options: FigureOptions) -> _Made:
    """Shares of areas over time: predicted, and recorded where the table has them."""
    names = _table_columns(path)
    stem = _file_name(path.name.removesuffix(path.suffix).removesuffix(".vidsal.aois"))
    if "dwell_share" in names and "start_seconds" in names:
        rows = _read(path, AoiSecond)
        panels: dict[str, dict[str, Line]] = {}
        for aoi in dict.fromkeys(rows["aoi"].tolist()):
            own = {name: values[rows["aoi"] == aoi] for name, values in rows.items()}
            middle = own["start_seconds"].astype(np.float64) + 0.5
            dwell, low, high = (own[name].astype(np.float64) for name in ("dwell_share", "low", "high"))
            panels[aoi] = {
                "dwell share": Line(middle, dwell, low, high),
                "predicted share": Line(middle, own["predicted_share"].astype(np.float64)),
            }
        yield f"aois-{stem}", plot_lines(panels, label="share of gaze or density", options=options)
    elif "predicted_share" in names and "pts_seconds" in names:
        rows = _read(path, AoiFrame)
        curves = {}
        for aoi in dict.fromkeys(rows["aoi"].tolist()):
            own_rows = rows["aoi"] == aoi
            curves[aoi] = Line(rows["pts_seconds"][own_rows], rows["predicted_share"][own_rows].astype(np.float64))
        yield f"aois-{stem}", plot_lines({"": curves}, label="predicted share", options=options)
    else:
        raise ConfigError(
            f"{path} is no table of areas over time; give NAME.vidsal.aois.csv of vidsal run --aois, or the seconds of "
            "vidsal aoi measure"
        )


def _read(path: Path, row: type[Any]) -> dict[str, Any]:
    batches = list(read_table(path, row))
    if not batches:
        raise DatasetError(f"{path} has no row")
    table = load_pyarrow("reading a table").Table.from_batches(batches)
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}


def _table_columns(path: Path) -> list[str]:
    """Names of a table's columns."""
    try:
        if path.suffix.lower() == ".parquet":
            with path.open("rb") as file:
                return list(load_pyarrow("a .parquet table").parquet.read_schema(file).names)
        with path.open(encoding="utf-8", newline="") as text:
            if path.suffix.lower() == ".jsonl":
                return re.findall(r'"(\w+)":', text.readline())
            return next(csv.reader(text), [])
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no text in UTF-8: {error}") from error
    except Exception as error:
        if type(error).__module__.startswith("pyarrow"):
            raise DatasetError(f"{path} is no Parquet table: {error}") from error
        raise
