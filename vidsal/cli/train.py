"""`vidsal train`: a configuration in, a checkpoint out."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidsal import config as configuration
from vidsal.cli.output import print_out
from vidsal.cli.parser import renamed
from vidsal.cli.process import share_cores
from vidsal.errors import ConfigError

if TYPE_CHECKING:
    from vidsal.train import TrainConfig

__all__ = ["train_command"]


def train_command(arguments: list[str]) -> int:
    """Arguments of `vidsal train` in, a checkpoint on disk and its path on stdout out."""
    from vidsal.train import CardText, TrainConfig, train

    if not arguments:
        raise configuration.UsageError(
            "no configuration given: vidsal train CONFIG, a YAML file (vidsal train --help shows its options, "
            "docs/guide/train.md explains them)"
        )
    config, only_print = configuration.parse_nested(TrainConfig, _underscored(arguments), prog="vidsal train")
    if config.card.name == CardText().name and arguments and not arguments[0].startswith("-"):
        config = dataclasses.replace(config, card=dataclasses.replace(config.card, name=Path(arguments[0]).stem))
    if only_print:
        print_out(configuration.to_yaml(config), end="")
        return 0
    from vidsal.console import TrainClock, make_display, say

    share_cores(left=0)
    with make_display(config.card.name, unit="steps") as display:
        clock = TrainClock(display)
        try:
            path = train(config, on_progress=clock)
        except ConfigError as error:
            if len(arguments) == 1:  # all options are the file's
                raise
            raise configuration.UsageError(str(error)) from error
        except KeyboardInterrupt:
            display.say(f"vidsal: stopped at {clock.reached}; {_how_to_go_on(config)}")
            return 128 + signal.SIGINT
    say(f"{config.card.name}: trained")
    print_out(str(path))
    return 0


def _how_to_go_on(config: TrainConfig) -> str:
    from vidsal.train import saved_state

    if saved_state(config.output).exists():
        return f"the same command goes on from the state last saved in {config.output}"
    return "no state had been saved yet, so the same command begins again"


def _underscored(arguments: Sequence[str]) -> list[str]:
    """--schedule.frames-per-step is --schedule.frames_per_step."""
    return renamed(arguments, "-", "_")
