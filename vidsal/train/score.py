"""A model and what was held out in, validation scores and losses out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vidsal.data.clips import make_clip
from vidsal.data.fixations import Still
from vidsal.data.layouts import LabelledSequence
from vidsal.data.recorded import RecordedClip, read_windows
from vidsal.evaluate import score_stills
from vidsal.losses import LossOptions, sam_loss
from vidsal.metrics import ScoreMeter
from vidsal.model.checkpoint import SaliencyModel
from vidsal.model.sam import SAMState, Unroll
from vidsal.train.options import TrainConfig
from vidsal.train.samples import OpenVideos, stack_arrays

__all__ = ["has_validation", "score_recorded", "score_sets", "validate_recorded", "validation_loss"]


def score_sets(model: SaliencyModel, stills: list[Still], *, limit: int | None) -> dict[str, dict[str, float]]:
    """Mean scores of each set of stills, at the model's resolution."""
    by_set: dict[str, list[Still]] = {}
    for still in stills:
        by_set.setdefault(still.set_name, []).append(still)
    return {name: score_stills(model, members[:limit], resolution="model") for name, members in by_set.items()}


def score_recorded(
    model: SaliencyModel,
    sequences: Sequence[LabelledSequence],
    *,
    options: LossOptions,
    stride: int = 1,
    frames: int | None = None,
) -> tuple[dict[str, float], float]:
    """Mean scores and mean loss over recorded video, the state carried as at run time, at the model's resolution.

    Args:
        model: the model.
        sequences: the videos; each starts afresh, and so does what follows a cut that is found.
        options: weights of the loss.
        stride: every so many frames are shown.
        frames: only the first so many shown frames of each; None takes all.

    Returns:
        The mean over the labelled frames of each metric of `vidsal.metrics.ScoreMeter` (NaN for those that need points
        where none were recorded); and of the loss, NaN where no frame has a label.
    """
    meter = ScoreMeter()
    preprocess = model.preprocessor.options
    total, count = 0.0, 0
    for sequence in sequences:
        state: SAMState | None = None
        left = frames
        # Windows of a fixed length keep the memory bounded; where they end changes nothing.
        for clip in read_windows(sequence, frames=8, stride=stride, preprocess=preprocess):
            shown = clip.length if left is None else min(left, clip.length)
            pixels, density, counts, inside = stack_arrays([clip])
            fresh = [[(t == 0 and clip.begins) or bool(clip.cut[t]) for t in range(shown)]]
            log_density, state = model(
                model.preprocessor(pixels[0, :shown], device=model.device)[None],
                state,
                unroll=Unroll.of(fresh, fresh_steps=model.config.steps),
            )
            on_device = [torch.from_numpy(array[0, :shown]).to(model.device) for array in (density, counts, inside)]
            losses = sam_loss(
                log_density[0], density=on_device[0], counts=on_device[1], inside=on_device[2], options=options
            )
            labelled = np.asarray(counts[0, :shown].any((1, 2)))
            total, count = total + float(losses.sum()), count + int(labelled.sum())
            _add_scores(meter, log_density[0].float().cpu(), clip, labelled)
            if left is not None and (left := left - shown) <= 0:
                break
    return meter.mean(), total / count if count else math.nan


def _add_scores(meter: ScoreMeter, log_density: torch.Tensor, clip: RecordedClip, labelled: npt.NDArray[Any]) -> None:
    """The labelled ones of a window's frames, the picture only."""
    chosen = np.flatnonzero(labelled)
    if not len(chosen):
        return
    view = clip.viewport
    rows, columns = slice(view.top, view.top + view.height), slice(view.left, view.left + view.width)
    points = clip.counts[chosen, rows, columns] * clip.has_points[chosen, None, None]
    meter.update(
        view.crop(log_density[chosen]).exp(),
        torch.from_numpy(clip.density[chosen, rows, columns]),
        torch.from_numpy(points),
    )


def validate_recorded(
    model: SaliencyModel, videos: Sequence[OpenVideos], config: TrainConfig
) -> tuple[dict[str, dict[str, float]], float]:
    """Scores of each set of videos, and the mean of their losses (NaN without any)."""
    scores: dict[str, dict[str, float]] = {}
    losses = []
    for one in videos:
        if not one.validation:
            continue
        limit = config.validation_sequences
        count = len(one.validation) if limit is None else min(limit, len(one.validation))
        chosen = [one.validation[place * len(one.validation) // count] for place in range(count)]
        scores[one.name], loss = score_recorded(
            model, chosen, options=config.loss, stride=one.options.frame_stride, frames=config.validation_frames
        )
        losses.append(loss)
    return scores, float(np.mean(losses)) if losses else math.nan


def validation_loss(
    model: SaliencyModel, stills: list[Still], *, options: LossOptions, limit: int | None = None
) -> float:
    """Mean loss over stills, each whole and unchanged, as a single frame from the zero state.

    Args:
        model: the model.
        stills: the pictures of all sets.
        options: weights of the loss.
        limit: only the first so many of each set; None takes all.
    """
    seen: dict[str, int] = {}
    total, count = 0.0, 0
    for still in stills:
        seen[still.set_name] = seen.get(still.set_name, 0) + 1
        if limit is not None and seen[still.set_name] > limit:
            continue
        preprocess = model.preprocessor.options
        clip = make_clip(still, times=1, preprocess=preprocess, augment=None, random=np.random.default_rng(0))
        frames, density, counts, inside = stack_arrays([clip])
        log_density, _ = model(model.preprocessor(frames[0], device=model.device)[None])
        on_device = [torch.from_numpy(array[0]).to(model.device) for array in (density, counts, inside)]
        loss = sam_loss(log_density[0], density=on_device[0], counts=on_device[1], inside=on_device[2], options=options)
        total, count = total + float(loss), count + 1
    return total / count


def has_validation(config: TrainConfig, validation: list[Still], videos: Sequence[OpenVideos]) -> bool:
    stills = bool(validation) and config.validation_pictures != 0
    return stills or any(one.validation for one in videos)
