"""Normalised frames and a state in, log densities and the new state out: the networks and their checkpoints."""

from vidsal.model.checkpoint import (
    PRESETS,
    ModelCard,
    Preset,
    SaliencyModel,
    load_model,
    read_checkpoint,
    save_checkpoint,
)
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig, SAMState, Unroll

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
