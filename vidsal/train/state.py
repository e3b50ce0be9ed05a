"""A configuration in, what a saved state and a line of the log hold of it out."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

import torch

from vidsal.train.options import TrainConfig

__all__ = ["ASIDE", "Best", "comparable", "finite", "same_run"]

ASIDE = ("output", "checkpoint_every_steps", "device", "card", "weights_dtype")
"""What changes where a run writes or computes, or how its result is stored, but not what it learns."""


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


def comparable(config: TrainConfig) -> str:
    """The configuration as JSON, without what does not change the result."""
    values = dataclasses.asdict(config)
    for name in ASIDE:
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
        if one.name not in ASIDE
    }
    if saved.keys() - defaults.keys():
        return False
    for name, default in defaults.items():
        own = getattr(value, name)
        if not (same_run(saved[name], own) if name in saved else own == default):
            return False
    return True
