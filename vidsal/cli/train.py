"""`vidsal train`: a configuration in, a checkpoint out."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from vidsal.cli.output import print_out
from vidsal.cli.parser import Parser, as_usage
from vidsal.cli.process import share_cores
from vidsal.config import UsageError
from vidsal.train.options import TrainConfig

__all__ = ["train_command", "train_parser"]


def train_parser() -> Parser:
    """What `vidsal train` understands."""
    parser = Parser(
        prog="vidsal train",
        usage="vidsal train CONFIG [--option VALUE ...]",
        description=_TRAIN_DESCRIPTION,
        options=TrainConfig,
    )
    help_file = "YAML file with the options below; flags win over it"
    parser.add_argument("CONFIG", nargs="?", type=Path, help=help_file)
    return parser


_TRAIN_DESCRIPTION = """\
Train a model on stills and videos with recorded gaze. docs/guide/train.md explains the options.
"""


def train_command(arguments: list[str]) -> int:
    """Arguments of `vidsal train` in, a checkpoint on disk and its path on stdout out."""
    if not arguments:
        raise UsageError(
            "no configuration given: vidsal train CONFIG, a YAML file (vidsal train --help shows its options, "
            "docs/guide/train.md explains them)"
        )
    given, config = train_parser().read(arguments, TrainConfig, stem="name")
    from vidsal.console import TrainClock, make_display, say
    from vidsal.train import train

    share_cores(left=0)
    with make_display(config.card.name, unit="steps") as display:
        clock = TrainClock(display)
        try:
            with as_usage() if given.flags else contextlib.nullcontext():
                path = train(config, on_progress=clock)
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
