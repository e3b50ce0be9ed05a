"""A finished evaluation and its source of maps in, a folder of figures out: what the numbers look like.

    OUT/figures/best.png, median.png, worst.png                         contact sheets
    OUT/figures/best-scores.png, median-scores.png, worst-scores.png    every metric over time, of videos
    OUT/figures/reliability.png                                         where points were recorded

Scores are read from the evaluation; maps are not kept there, so those that are drawn are made again.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidsal.data.layouts import LabelledFrame, LabelledSequence, open_dataset
from vidsal.errors import ConfigError, DatasetError
from vidsal.evaluate.evaluation import read_scores
from vidsal.evaluate.figures import (
    Rank,
    SheetRow,
    check_matplotlib,
    contact_sheet,
    plot_reliability,
    plot_scores,
    rank_sequences,
    save_figure,
)
from vidsal.evaluate.options import FigureFormat
from vidsal.evaluate.references import at_most_640
from vidsal.evaluate.reliability import Reliability
from vidsal.evaluate.results import SequenceScores, read_summary
from vidsal.evaluate.sources import Source
from vidsal.metrics import METRICS
from vidsal.model.baselines import CentrePrior

__all__ = ["RELIABILITY_FRAMES", "SHEET_FRAMES", "SHEET_STILLS", "draw_evaluation"]

SHEET_FRAMES = 5
"""Frames of a video on its contact sheet, spread evenly over those that were scored."""

SHEET_STILLS = 4
"""Stills of each rank, where all that was scored are stills."""

RELIABILITY_FRAMES = 2000
"""Frames that the reliability plot looks at, at least where there are so many: of sequences spread evenly from the best
to the worst."""


def draw_evaluation(
    out: str | Path,
    source: Source,
    *,
    form: FigureFormat = "png",
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, ...]:
    """Draws the best, the median and the worst sequences of an evaluation, and the reliability of its densities.

    Sequences are ranked by NSS, or where it is not defined by the first metric of the evaluation that is.

    Args:
        out: folder that `evaluate` wrote.
        source: of the same maps; see `open_source`.
        form: how figures are written.
        on_progress: called after each sequence looked at with the number done and that of all.

    Returns:
        The files, sheets first.

    Raises:
        ConfigError: matplotlib is missing, or `out` holds no finished evaluation.
        DatasetError: a picture, a label or a map cannot be read any more.
        EncodeError: a figure cannot be written.
    """
    check_matplotlib()
    summary = read_summary(out)
    given = summary.dataset
    dataset = open_dataset(given["name"], given["root"], split=given["split"], **given["options"])
    sequences = {sequence.name: sequence for sequence in dataset}
    scores = {each.name: each for each in read_scores(out) if len(each.index)}
    lost = next((name for name in scores if name not in sequences), None)
    if lost is not None:
        raise DatasetError(f"{dataset.root}: sequence {lost} was scored, but is missing now; copy it again")
    means, metric = _ranking(scores)
    stills = all(sequences[name].kind == "still" for name in scores)
    ranks = rank_sequences(means, better=METRICS[metric].better, count=SHEET_STILLS if stills else 1)
    shown = {name for names in ranks.values() for name in names}
    wanted = [name for name in scores if name in shown | _spread(means, scores)]
    folder = Path(out) / "figures"
    model = str(summary.source["name"])
    own, centre = Reliability(), Reliability()
    rows: dict[str, list[SheetRow]] = {}
    for place, name in enumerate(wanted, 1):
        sheet = _spread_over(scores[name].index) if name in shown else frozenset()
        rows[name] = list(_look(sequences[name], source, scores[name], sheet, metric, (own, centre)))
        if on_progress is not None:
            on_progress(place, len(wanted))
    written = []
    what = f"{given['name']} ({given['split']}), {model}"
    by = METRICS[metric].title
    for rank, names in ranks.items():
        of_rank = [row for name in names for row in rows[name]]
        title = f"{what}: {rank} by {by}" + ("" if stills else f": {names[0]}, {means[names[0]]:.2f}")
        if of_rank:
            written.append(save_figure(contact_sheet(of_rank, title=title), folder / f"{rank}.{form}"))
        written.extend(_over_time(rank, [scores[name] for name in names], model, title, folder, form))
    if own.fixations:
        title = f"{what}: reliability, {own.fixations:,} fixations on {own.frames:,} frames"
        figure = plot_reliability({model: own, CentrePrior.name: centre}, title=title)
        written.append(save_figure(figure, folder / f"reliability.{form}"))
    return tuple(written)


def _ranking(scores: Mapping[str, SequenceScores]) -> tuple[dict[str, float], str]:
    """The sequences' means of the metric that they are ranked by, and which it is."""
    metrics = next(iter(scores.values())).metrics if scores else ()
    for metric in sorted(metrics, key=lambda name: name != "nss"):
        means = {name: _mean(each.scores[0, :, each.metrics.index(metric)]) for name, each in scores.items()}
        if any(map(math.isfinite, means.values())):
            return means, metric
    raise ConfigError("no metric is defined on any sequence, so there is none to draw; leave out --figures")


def _mean(values: npt.NDArray[np.float64]) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else math.nan


def _spread(means: Mapping[str, float], scores: Mapping[str, SequenceScores]) -> set[str]:
    """Sequences that together have enough frames, evenly from the best to the worst."""
    order = sorted((name for name in means if math.isfinite(means[name])), key=lambda name: (means[name], name))
    total = sum(len(scores[name].index) for name in order)
    count = min(len(order), max(1, math.ceil(len(order) * RELIABILITY_FRAMES / max(1, total))))
    return {order[int((k + 0.5) * len(order) / count)] for k in range(count)}


def _spread_over(index: npt.NDArray[np.int64]) -> frozenset[int]:
    """Ordinals of a few of the scored frames."""
    count = min(SHEET_FRAMES, len(index))
    return frozenset(int(index[int((k + 0.5) * len(index) / count)]) for k in range(count))


def _look(
    sequence: LabelledSequence,
    source: Source,
    scores: SequenceScores,
    sheet: frozenset[int],
    metric: str,
    counts: tuple[Reliability, Reliability],
) -> Iterator[SheetRow]:
    """Makes the maps of the scored frames again, counts the fixations on them, yields the rows of the sheet."""
    own, centre = counts
    column = scores.metrics.index(metric)
    value = dict(zip(scores.index.tolist(), scores.scores[0, :, column].tolist(), strict=True))
    pictures = _pictures(sequence, sheet)
    with contextlib.closing(source.maps(sequence, scores.index.tolist())) as maps:  # type: ignore[type-var]
        for frame, prediction in maps:
            fixations = frame.fixations()
            if fixations is not None and len(fixations.points):
                own.update(prediction, fixations)
                blank = np.zeros((1, *prediction.shape, 3), np.uint8)
                centre.update(_centre_on(blank, fixations.height / fixations.width), fixations)
            if frame.index in sheet:
                yield SheetRow(
                    label=_label(sequence, frame, METRICS[metric].title, value[frame.index]),
                    picture=pictures[frame.index],
                    prediction=prediction,
                    truth=frame.density(),
                    fixations=fixations,
                )


def _centre_on(blank: npt.NDArray[np.uint8], shape: float) -> npt.NDArray[np.float32]:
    """The centre prior of a picture of this shape (height by width) on cells that need not be square."""
    _, height, width, _ = blank.shape
    prior = CentrePrior()
    # In units of the cells' own shape: a picture that is half as high needs twice the ratio along y.
    stretched = CentrePrior(ratio=prior.ratio * (height / width / shape) ** 2)
    return np.asarray(stretched.predict(blank)[0], np.float32)


def _label(sequence: LabelledSequence, frame: LabelledFrame, title: str, score: float) -> str:
    where = sequence.name if sequence.kind == "still" else f"{frame.pts_seconds:.2f} s"
    return f"{where[-18:]}\n{title}\n{score:.2f}" if math.isfinite(score) else where[-18:]


def _pictures(sequence: LabelledSequence, sheet: frozenset[int]) -> dict[int, npt.NDArray[np.uint8]]:
    """The frames as a person wants to see them: the source's may be a model's small ones."""
    if not sheet:
        return {}
    frames = sequence.read(size=at_most_640, stop=max(sheet) + 1)
    return {frame.index: frame.picture() for frame in frames if frame.index in sheet}


def _over_time(
    rank: Rank, scores: Sequence[SequenceScores], model: str, title: str, folder: Path, form: FigureFormat
) -> Iterator[Path]:
    """The scores of a video over time; stills have no time."""
    one = scores[0]
    if len(one.index) < 2:
        return
    curves: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for row, name in enumerate(one.sources):
        defined = {
            metric: one.scores[row, :, column]
            for column, metric in enumerate(one.metrics)
            if np.isfinite(one.scores[row, :, column]).any()
        }
        if defined:
            curves[model if name == "model" else name] = defined
    if curves:
        yield save_figure(plot_scores(one.pts_seconds, curves, title=title), folder / f"{rank}-scores.{form}")
