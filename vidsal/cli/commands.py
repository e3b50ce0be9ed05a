"""The table of all commands; the name of a shell in, a script out that completes them, their flags and choices."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from vidsal.cli.aoi import AOI
from vidsal.cli.batch import batch_command
from vidsal.cli.bench import bench_command
from vidsal.cli.captions import captions_command
from vidsal.cli.convert import convert_command
from vidsal.cli.data import DATA
from vidsal.cli.evaluate import compare_command, eval_command
from vidsal.cli.gaze import GAZE
from vidsal.cli.models import WEIGHTS, export_command, models_command
from vidsal.cli.parser import Command, command, flag
from vidsal.cli.process import print_out
from vidsal.cli.reframe import reframe_command
from vidsal.cli.report import report_command
from vidsal.cli.run import run_command
from vidsal.cli.serve import serve_command
from vidsal.cli.train import train_command

__all__ = ["COMMANDS"]

_SHELLS = ("bash", "zsh", "tcsh")
_FILES = ("FILE", "PATH", "INPUT", "A.json", "B.json", None)
_FOLDERS = ("DIR", "ROOT")


@command(
    "print a script that completes commands in a shell",
    flag("shell", metavar="{" + ",".join(_SHELLS) + "}", choices=_SHELLS, help="which shell"),
)
def _completion(given: Any) -> int:
    """Print a script that lets a shell complete commands, flags and their choices. For bash:
      vidsal completion bash > ~/.local/share/bash-completion/completions/vidsal
    For zsh, into a folder of $fpath as _vidsal; for tcsh, into a file that ~/.tcshrc sources.
    """
    import shtab

    root = argparse.ArgumentParser(prog="vidsal")
    root.add_argument("-V", "--version", action="store_true", help="print the version and stop")
    _add_commands(root, COMMANDS, "")
    print_out(shtab.complete(root, given.shell))
    return 0


def _add_commands(parser: argparse.ArgumentParser, commands: Mapping[str, Command], above: str) -> None:
    """Gives a parser the parsers of its commands, and these what their words complete to."""
    added = parser.add_subparsers()
    for name, one in commands.items():
        made = [] if one.work is None else [one.parser(f"vidsal {name}")]
        here = added.add_parser(name, help=one.help, parents=made, add_help=False)
        if one.actions:
            _add_commands(here, one.actions, name)
        for action in here._actions:
            _complete(action, above)
        if one.actions and one.work is not None:
            _complete_words_and_files(next(action for action in here._actions if action.dest == "inputs"), one.actions)


def _complete(action: Any, group: str) -> None:
    import shtab

    from vidsal.data.options import LayoutName
    from vidsal.model.checkpoint import PRESETS

    metavar = action.metavar
    if isinstance(metavar, str) and metavar.startswith("{"):
        action.choices = metavar[1:-1].split(",")
    elif metavar == "NAME":
        action.choices = get_args(LayoutName)
    elif metavar == "MODEL" and group == "weights":
        action.choices = tuple(PRESETS)
    elif metavar == "MODEL":
        _complete_words_and_files(action, PRESETS)
    elif metavar in _FILES and (metavar or action.dest == "CONFIG"):
        action.complete = shtab.FILE
    elif metavar in _FOLDERS:
        action.complete = shtab.DIRECTORY


def _complete_words_and_files(action: Any, words: Iterable[str]) -> None:
    import shtab

    name = f"_vidsal_{action.dest}"
    script = f'{name}() {{\n  compgen -W "{" ".join(words)}" -- $1\n  compgen -f -- $1\n}}'
    action.complete = {**shtab.FILE, "bash": name, "preamble": {"bash": script}}


COMMANDS = {
    "run": run_command,
    "reframe": reframe_command,
    "batch": batch_command,
    "serve": serve_command,
    "convert": convert_command,
    "report": report_command,
    "captions-place": captions_command,
    "train": train_command,
    "models": models_command,
    "weights": WEIGHTS,
    "bench": bench_command,
    "export": export_command,
    "data": DATA,
    "gaze": GAZE,
    "aoi": AOI,
    "eval": eval_command,
    "compare": compare_command,
    "completion": _completion,
}
"""All commands, by name."""
