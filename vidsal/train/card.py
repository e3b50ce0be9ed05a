"""A trained network and what is known of its run in, a checkpoint with its card out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from vidsal.errors import CheckpointError, Setting
from vidsal.model.checkpoint import ModelCard, save_checkpoint
from vidsal.model.sam import SaliencyAttentiveModel
from vidsal.preprocess import PreprocessOptions
from vidsal.provenance import source_commit
from vidsal.train.options import TrainConfig
from vidsal.train.state import ASIDE, Best

__all__ = ["DTYPES", "write_checkpoint"]

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
"""What weights are stored as and computed in, by the names that options have."""


def write_checkpoint(
    config: TrainConfig,
    network: SaliencyAttentiveModel,
    *,
    preprocess: PreprocessOptions,
    notes: tuple[str, ...],
    learnt: tuple[str, ...],
    best: Best | None,
    scores: dict[str, dict[str, float]],
) -> Path:
    """Write a trained network into the run's folder.

    Args:
        config: the run.
        network: what it made.
        preprocess: the network's input.
        notes: what is to be said of the first weights.
        learnt: what these were trained on.
        best: the pass that the weights are of; None: the last.
        scores: by set and metric.

    Raises:
        CheckpointError: the weights do not fit into `weights_dtype`.
    """
    words = config.card
    taught = words.teacher if config.teacher_set is not None else ()
    imagenet = words.imagenet if config.imagenet_weights is not None else ""
    # What the starting weights were trained on went into these, too.
    data = dict.fromkeys((*words.training_data, *taught, *learnt))
    card = ModelCard(
        name=words.name,
        description=words.description,
        licence=words.licence,
        training_data=tuple(data),
        initialisation=" ".join(text for text in (words.initialisation, imagenet, *notes) if text),
        training=_recipe_of(config, best=best),
        commit=source_commit(),
        scores=scores,
        protocol=_protocol_of(config),
        limits=words.limits,
    )
    path = config.output / f"{words.name}.safetensors"
    dtype = DTYPES[config.weights_dtype]
    largest = torch.finfo(dtype).max
    for name, value in network.state_dict().items():
        # In half precision it would become infinite in silence, a batch norm's variance first.
        if value.is_floating_point() and value.abs().max() > largest:
            raise CheckpointError(
                f"{name} holds {float(value.abs().max()):.3g}, more than {config.weights_dtype} can: run the "
                "same command with ",
                Setting("weights_dtype", "fp32"),
                "; it goes on from the saved state",
            )
    save_checkpoint(path, network, preprocess=preprocess, card=card, dtype=dtype)
    return path


def _protocol_of(config: TrainConfig) -> str:
    """How the scores on the card were made."""
    stills = "validation split, model resolution, one frame from the zero state"
    if not config.videos:
        return stills
    shown = ", ".join(f"every {video.frame_stride} of {video.layout}" for video in config.videos)
    most = "all" if config.validation_sequences is None else f"{config.validation_sequences} at most"
    recorded = (
        f"recorded video ({most} held-out sequences a set, frames shown: {shown}, the first {config.validation_frames} "
        "of each): model resolution, state carried"
    )
    return f"stills: {stills}; {recorded}" if config.datasets or config.stills else recorded


def _recipe_of(config: TrainConfig, *, best: Best | None) -> str:
    """The configuration as JSON for the card: of paths only the names, which mean something elsewhere too."""
    values = dataclasses.asdict(config)
    for name in ASIDE:
        del values[name]
    if best is not None:
        values["best_pass"] = best.pass_number
    return json.dumps(values, default=lambda path: Path(path).name, sort_keys=True)
