"""`vidsal train`: a configuration in, a checkpoint out."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

from vidsal.cli.parser import as_usage, command, flag
from vidsal.cli.process import Terminated, print_out, say, share_cores
from vidsal.train.options import TrainConfig, saved_state

__all__ = ["train_command"]


@command(
    "train a model on stills and videos with recorded gaze",
    flag("CONFIG", nargs="?", type=Path, help="YAML file with the options below; flags win over it"),
    options=TrainConfig,
    usage="vidsal train CONFIG [--option VALUE ...]",
    bare="no configuration given: vidsal train CONFIG, a YAML file (vidsal train --help shows its options, "
    "docs/guide/train.md explains them)",
)
def train_command(given: Any, config: TrainConfig) -> int:
    """Train a model on stills and videos with recorded gaze. docs/guide/train.md explains the options."""
    from vidsal.console import TrainClock, make_display
    from vidsal.train import train

    share_cores(left=0)
    with make_display(config.card.name, unit="steps") as display:
        clock = TrainClock(display)
        try:
            with as_usage() if given.flags else contextlib.nullcontext():
                path = train(config, on_progress=clock)
        except KeyboardInterrupt as stop:
            next_time = "no state had been saved yet, so the same command begins again"
            if saved_state(config.output).exists():
                next_time = f"the same command goes on from the state last saved in {config.output}"
            display.say(f"vidsal: stopped at {clock.reached}; {next_time}")
            return stop.status if isinstance(stop, Terminated) else 128 + signal.SIGINT
    say(f"{config.card.name}: trained")
    print_out(str(path))
    return 0
