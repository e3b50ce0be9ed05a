"""A configuration in, what a saved run and a finished card say of it out."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vidsal.train.options import TrainConfig

__all__ = ["DTYPES", "Best", "comparable", "finite", "protocol_of", "recipe_of", "same_run"]

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

# What changes where a run writes or computes, or how its result is stored, but not what it learns.
_ASIDE = ("output", "checkpoint_every_steps", "device", "card", "weights_dtype")


@dataclass(frozen=True)
class Best:
    """The pass with the lowest validation loss so far."""

    loss: float
    """That loss."""
    pass_number: int
    """From 1."""
    weights: dict[str, torch.Tensor]
    """After that pass, on the CPU."""


def finite(value: Any) -> Any:
    """The same, with None for every number that JSON has no word for."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def protocol_of(config: TrainConfig) -> str:
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


def comparable(config: TrainConfig) -> str:
    """The configuration as JSON, without what does not change the result."""
    values = dataclasses.asdict(config)
    for name in _ASIDE:
        del values[name]
    return json.dumps(values, default=str, sort_keys=True)


def same_run(saved: Any, value: Any) -> bool:
    """Whether a saved configuration asks for what this one does; options younger than it must be at their default."""
    if isinstance(value, tuple) and isinstance(saved, list):
        return len(saved) == len(value) and all(same_run(one, own) for one, own in zip(saved, value, strict=True))
    if not dataclasses.is_dataclass(value) or not isinstance(saved, dict):
        return bool(saved == json.loads(json.dumps(value, default=str)))
    defaults = {
        one.name: one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
        for one in dataclasses.fields(value)
        if one.name not in _ASIDE
    }
    if saved.keys() - defaults.keys():
        return False
    for name, default in defaults.items():
        own = getattr(value, name)
        if not (same_run(saved[name], own) if name in saved else own == default):
            return False
    return True


def recipe_of(config: TrainConfig, *, best: Best | None) -> str:
    """The configuration as JSON for the card: of paths only the names, which mean something elsewhere too."""
    values = dataclasses.asdict(config)
    for name in _ASIDE:
        del values[name]
    if best is not None:
        values["best_pass"] = best.pass_number
    return json.dumps(values, default=lambda path: Path(path).name, sort_keys=True)
