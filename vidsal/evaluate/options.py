"""What an evaluation is asked: what is scored, by which rules, and through which model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from vidsal.options import Checked, Range
from vidsal.pipe.options import ModelOptions, RecurrenceOptions, WithPrediction
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import CutOptions, ViewerOptions

__all__ = [
    "EvalOptions",
    "EvaluationOptions",
    "FigureFormat",
    "FigureKind",
    "FigureOptions",
    "ProtocolName",
    "ScoringOptions",
    "TableFormat",
]

ProtocolName = Literal["vidsal", "dhf1k", "unisal", "stsanet", "dreyeve", "scout", "tuebingen"]
"""Names of the protocols."""

TableFormat = Literal["csv", "parquet"]
"""How tables are written."""

FigureFormat = Literal["pdf", "svg", "png"]
"""How figures are written."""

FigureKind = Literal["scores", "timeline", "strip", "participants", "scenarios", "maps", "aois", "ranking", "costs"]
"""What a figure for a paper shows."""


@dataclass(frozen=True)
class FigureOptions(Checked):
    """How figures for a paper look, and what of the results they show."""

    figure_format: FigureFormat = "pdf"
    """How figures are written: pdf with its fonts embedded, svg with text that stays text, or png."""
    width_mm: Annotated[float, Range(at_least=30, at_most=500)] = 180.0
    """Width in millimetres; columns of journals have about 85 to 90, pages 170 to 180."""
    height_mm: Annotated[float, Range(at_least=20, at_most=500)] | None = None
    """Height in millimetres; default: what the figure needs."""
    font: str | None = None
    """Family of the letters, as Arial or Times New Roman; default: that of the style."""
    font_size: Annotated[float, Range(at_least=3, at_most=30)] = 8.0
    """Size of the letters in points; titles are as large, ticks one point smaller."""
    style: Path | None = None
    """A style file of matplotlib (.mplstyle) that is laid over the one of vidsal."""
    dpi: Annotated[int, Range(at_least=50, at_most=1200)] = 300
    """Pixels an inch of a png, and of the maps within a pdf or svg."""
    metrics: str | None = None
    """Metrics, names with commas between them; default: nss, or the first that there is (scores: all)."""
    sources: str | None = None
    """Sources, names with commas between them: model and the baselines; default: all (strip: model)."""
    sequences: str | None = None
    """Sequences that a timeline shows one by one, names with commas between them; default: all, if at most 6."""
    by: str | None = None
    """Scenarios that are shown, names with commas between them, as weather; default: those of the list of trials, else
    all of the data set."""
    titles: bool = True
    """Write the names of metrics and panels above them."""


@dataclass(frozen=True)
class ScoringOptions(Checked):
    """By which rules maps are scored, and how much of it is written."""

    protocol: ProtocolName = "vidsal"
    """Rules by which frames are chosen, scored and averaged: vidsal (all frames, float maps, all usual metrics), or
    those that published numbers were made by."""
    split: str | None = None
    """Split of the data set, as its authors name it; default: the protocol's, else val, test or all."""
    baselines: str = "usual"
    """Baselines scored on the same frames: usual (centre-prior, mean-density, shuffled, inter-observer), all, none, or
    names with commas between them."""
    metrics: str | None = None
    """Metrics, names with commas between them; default: the protocol's."""
    trials: Path | None = None
    """List of trials (.csv or .tsv): a column video, image or sequence, perhaps one participant, and others whose
    values become scenarios, as weather or condition."""
    by: str | None = None
    """Columns of the list of trials that scores are given by, names with commas between them; default: all."""
    workers: Annotated[int, Range(at_least=1)] = 1
    """Processes that score sequences side by side, each with a model of its own and one thread."""
    strict: bool = False
    """Exit with status 1 if a sequence could not be scored, or only in part."""
    table: TableFormat = "csv"
    """How the tables of frames, sequences and scenarios are written."""
    limit_frames: Annotated[int, Range(at_least=1)] | None = None
    """Score no more than the first so many frames of each sequence, for a quick look; default: all."""
    batch_size: Annotated[int, Range(at_least=1)] = 8
    """Frames that go through the model at a time; the scores do not depend on it."""
    draws: Annotated[int, Range(at_least=1)] = 2000
    """Resamples of the sequences that the 95 % intervals are taken from."""
    seed: Annotated[int, Range(at_least=0)] | None = None
    """Of all that is drawn: noise, negatives, frames, resamples; default: the protocol's."""
    overwrite: bool = False
    """Replace the results of another evaluation in the same folder, its tables and figures too; default: refuse."""


@dataclass(frozen=True)
class EvaluationOptions(ScoringOptions):
    """What is scored, how, and where the results go."""

    out: Path | None = None
    """Folder for the results; default: NAME-SPLIT-PROTOCOL-MODEL.vidsal-eval in the working folder."""
    maps: Path | None = None
    """Score the maps in this folder, made by another program, instead of a model's: a folder of pictures, a video or an
    .npz for each sequence, under the sequence's name."""


@dataclass(frozen=True)
class EvalOptions(WithPrediction):
    """All options of `evaluate`, stage by stage."""

    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    """What is scored, how, and where the results go."""
    model: ModelOptions = field(default_factory=ModelOptions)
    """Which model."""
    recurrence: RecurrenceOptions = field(default_factory=RecurrenceOptions)
    """What the model remembers."""
    cuts: CutOptions = field(default_factory=CutOptions)
    """How cuts are found."""
    smooth: SmoothOptions = field(default_factory=SmoothOptions)
    """How densities are steadied in time."""
    viewers: ViewerOptions = field(default_factory=ViewerOptions)
    """What viewers do that pictures do not say."""
