"""The trainer: a configuration in, a trained checkpoint and a log of validation scores out.

The names below are loaded on first use: a command line that only reads options need not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidsal.train.loop import train
    from vidsal.train.options import CardText, ScheduleOptions, TrainConfig, TrainProgress, saved_state

__all__ = ["CardText", "ScheduleOptions", "TrainConfig", "TrainProgress", "saved_state", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'vidsal.train' has no attribute {name!r}")
    home = "loop" if name == "train" else "options"
    return getattr(importlib.import_module(f"vidsal.train.{home}"), name)
