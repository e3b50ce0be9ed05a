"""Normalised frames and a state in, log densities and the new state out: the networks and their checkpoints."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.model.checkpoint import (
        PRESETS,
        ModelCard,
        Preset,
        SaliencyModel,
        load_model,
        read_checkpoint,
        save_checkpoint,
    )
    from vidsal.model.config import SAMConfig
    from vidsal.model.recurrent import SAMState, Unroll
    from vidsal.model.sam import SaliencyAttentiveModel

__all__ = [
    "PRESETS",
    "ModelCard",
    "Preset",
    "SAMConfig",
    "SAMState",
    "SaliencyAttentiveModel",
    "SaliencyModel",
    "Unroll",
    "load_model",
    "read_checkpoint",
    "save_checkpoint",
]

__getattr__, __dir__ = lazy(__name__, __all__, "config", "recurrent", "sam", "checkpoint")
