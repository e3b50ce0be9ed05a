"""A model and what was held out in, validation scores and losses out."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vidsal.data.layouts import LabelledSequence
from vidsal.data.sets import OpenSet
from vidsal.evaluate.score import resize_map
from vidsal.evaluate.sources import ModelSource
from vidsal.losses import LossOptions, map_loss
from vidsal.metrics import ScoreMeter
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.options import PredictOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions
from vidsal.train.options import TrainConfig
from vidsal.train.samples import OpenData

__all__ = ["Scored", "Validation", "has_validation", "score_sequences", "validate"]


@dataclass(frozen=True)
class Scored:
    """How good a model is on some sequences."""

    scores: dict[str, float]
    """The mean over the labelled frames of each metric of `vidsal.metrics.ScoreMeter`; NaN for those that need points
    where none were recorded."""
    loss: float
    """Sum of their losses."""
    frames: int
    """How many there are."""


@dataclass(frozen=True)
class Validation:
    """How good a model is on what was held out."""

    scores: dict[str, dict[str, float]]
    """By set and metric."""
    loss: float
    """The mean of that over all stills and those over each set of videos; NaN where nothing was scored."""


def score_sequences(
    model: SaliencyModel,
    sequences: Sequence[LabelledSequence],
    *,
    options: LossOptions,
    stride: int = 1,
    frames: int | None = None,
) -> Scored:
    """Score a model through the pipe, without smoothing or viewers, at its own resolution.

    Each still or video starts afresh, and so does what follows a cut that is found. Every `stride` frames one is shown;
    of each video only the first `frames` of these count (None: all).
    """
    meter = ScoreMeter()
    unsmoothed = PredictOptions(smooth=SmoothOptions(smoothing="none"), viewers=ViewerOptions("off"))
    source = ModelSource(model, options=unsmoothed, stride=stride)
    loss, count = 0.0, 0
    for sequence in sequences:
        wanted = range(0, sys.maxsize if frames is None else frames * stride, stride)
        with contextlib.closing(source.maps(sequence, wanted)) as maps:  # type: ignore[type-var]
            for frame, predicted in maps:
                recorded = None if frame.bad else frame.density()
                if recorded is None:
                    continue
                rows, columns = predicted.shape
                recorded = resize_map(recorded, rows, columns)
                seen = frame.fixations()
                counts = np.zeros_like(recorded) if seen is None else seen.counts(height=rows, width=columns)
                saliency, density, points = (
                    torch.from_numpy(array)[None] for array in (predicted, recorded / recorded.sum(), counts)
                )
                meter.update(saliency, density, points)
                loss += float(
                    map_loss(
                        saliency.clamp_min(torch.finfo(torch.float32).tiny).log(),
                        density=density,
                        counts=points if counts.any() else density,
                        inside=torch.ones_like(saliency, dtype=torch.bool),
                        options=options,
                    )
                )
                count += 1
    return Scored(meter.mean(), loss, count)


def validate(model: SaliencyModel, data: OpenData, config: TrainConfig, *, pictures: int | None) -> Validation:
    """Score a model on what is held out: of each set of stills only the first `pictures` (None: all)."""
    loss = config.loss
    of_stills = {
        one.name: score_sequences(model, one.validation[:pictures], options=loss)
        for one in data.stills
        if one.validation
    }
    of_videos = {
        one.name: score_sequences(
            model,
            _spread(one, config.validation_sequences),
            options=loss,
            stride=one.stride,
            frames=config.validation_frames,
        )
        for one in data.videos
        if one.validation
    }
    pictured = sum(scored.frames for scored in of_stills.values())
    losses = [scored.loss / scored.frames if scored.frames else math.nan for scored in of_videos.values()]
    losses = [float(np.mean(losses))] if losses else []
    if pictured:
        losses.append(sum(scored.loss for scored in of_stills.values()) / pictured)
    scores = {name: scored.scores for name, scored in (of_stills | of_videos).items()}
    return Validation(scores, float(np.mean(losses)) if losses else math.nan)


def _spread(one: OpenSet, limit: int | None) -> list[LabelledSequence]:
    """At most so many of the held-out sequences, evenly spread."""
    count = len(one.validation) if limit is None else min(limit, len(one.validation))
    return [one.validation[place * len(one.validation) // count] for place in range(count)]


def has_validation(config: TrainConfig, data: OpenData) -> bool:
    """Whether anything is scored after a pass."""
    stills = any(one.validation for one in data.stills) and config.validation_pictures != 0
    return stills or any(one.validation for one in data.videos)
