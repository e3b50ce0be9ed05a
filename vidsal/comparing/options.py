"""What a comparison of models is asked: what decides, where results go, and how each model is run and scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vidsal.evaluate.options import ScoringOptions
from vidsal.model.options import Precision
from vidsal.options import Checked
from vidsal.pipe.options import ModelOptions, RecurrenceOptions, WithPrediction
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import CutOptions, ViewerOptions

__all__ = ["CompareModelsOptions", "ComparingOptions", "RunningOptions", "named"]


def named(word: str) -> tuple[str, str]:
    """The name that stands before a model, empty where there is none, and the model. A path that is there has none.

    Example:
        >>> named("mine=runs/a=1/best.safetensors"), named("sam-lite"), named("runs/a=1/best.safetensors")
        (('mine', 'runs/a=1/best.safetensors'), ('', 'sam-lite'), ('', 'runs/a=1/best.safetensors'))
    """
    name, _, target = word.partition("=")
    if not name or not target or "/" in name or Path(word).exists():
        return "", word
    return name, target


@dataclass(frozen=True)
class ComparingOptions(Checked):
    """What decides, and where the results go."""

    out: Path | None = None
    """Folder for the results; default: NAME-SPLIT-PROTOCOL.vidsal-models in the working folder."""
    rank_by: str | None = None
    """The metric that decides who is first; default: nss, or the first that is defined where the data have no
    fixations."""
    cost: bool = True
    """Measure what a frame costs: operations, CPU time and memory of each model, on the CPU with one thread."""


@dataclass(frozen=True)
class RunningOptions(Checked):
    """Where the models run, how exact."""

    device: str = ModelOptions.device
    """auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:N or mps; costs are measured on the CPU all the same."""
    precision: Precision = ModelOptions.precision
    """As of vidsal eval; auto is bf16 on CUDA and on processors that are faster in it, fp32 elsewhere."""


@dataclass(frozen=True)
class CompareModelsOptions(WithPrediction):
    """All options of `compare_models`, stage by stage."""

    comparing: ComparingOptions = field(default_factory=ComparingOptions)
    """What decides, and where the results go."""
    scoring: ScoringOptions = field(default_factory=ScoringOptions)
    """By which rules maps are scored, and how much of it is written."""
    running: RunningOptions = field(default_factory=RunningOptions)
    """Where the models run, how exact."""
    recurrence: RecurrenceOptions = field(default_factory=RecurrenceOptions)
    """What the models remember."""
    cuts: CutOptions = field(default_factory=CutOptions)
    """How cuts are found."""
    smooth: SmoothOptions = field(default_factory=SmoothOptions)
    """How densities are steadied in time."""
    viewers: ViewerOptions = field(default_factory=ViewerOptions)
    """What viewers do that pictures do not say."""
