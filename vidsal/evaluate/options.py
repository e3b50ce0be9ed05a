"""What an evaluation is asked: what is scored, by which rules, and through which model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from vidsal.options import Checked, Range
from vidsal.pipe.options import ModelOptions, RecurrenceOptions, WithPrediction
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import CutOptions, ViewerOptions

__all__ = ["EvalOptions", "EvaluationOptions", "ProtocolName", "TableFormat"]

ProtocolName = Literal["vidsal", "dhf1k", "unisal", "stsanet", "dreyeve", "scout", "tuebingen"]
"""Names of the protocols."""

TableFormat = Literal["csv", "parquet"]
"""How tables are written."""


@dataclass(frozen=True)
class EvaluationOptions(Checked):
    """What is scored, how, and where the results go."""

    protocol: ProtocolName = "vidsal"
    """Rules by which frames are chosen, scored and averaged: vidsal (all frames, float maps, all usual metrics), or
    those that published numbers were made by."""
    split: str | None = None
    """Split of the data set, as its authors name it; default: the protocol's, else val, test or all."""
    out: Path | None = None
    """Folder for the results; default: NAME-SPLIT-PROTOCOL-MODEL.vidsal-eval in the working folder."""
    maps: Path | None = None
    """Score the maps in this folder, made by another program, instead of a model's: a folder of pictures, a video or an
    .npz for each sequence, under the sequence's name."""
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
