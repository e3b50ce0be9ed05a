"""The trainer: a configuration in, a trained checkpoint and a log of validation scores out."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.train.options import (
        AdversarialOptions,
        CardText,
        ScheduleOptions,
        TrainConfig,
        TrainProgress,
        saved_state,
    )
    from vidsal.train.run import train

__all__ = ["AdversarialOptions", "CardText", "ScheduleOptions", "TrainConfig", "TrainProgress", "saved_state", "train"]

__getattr__, __dir__ = lazy(__name__, __all__, "options", "run")
