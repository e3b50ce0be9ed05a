"""The table of all commands; the name of a shell in, a script out that completes them, their flags and choices."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from vidsal.cli.parser import Command, command, flag
from vidsal.cli.process import print_out

__all__ = ["COMMANDS"]

_SHELLS = ("bash", "zsh", "tcsh")
_FILES = ("FILE", "PATH", "INPUT", "RESULT", "A.json", "B.json", None)
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
    from vidsal.model.checkpoint import PRESETS, model_names

    metavar = action.metavar
    if isinstance(metavar, str) and metavar.startswith("{"):
        action.choices = metavar[1:-1].split(",")
    elif metavar == "NAME":
        action.choices = get_args(LayoutName)
    elif metavar == "MODEL" and group == "weights":
        action.choices = tuple(PRESETS)
    elif metavar == "MODEL":
        _complete_words_and_files(action, model_names())
    elif metavar in _FILES and (metavar or action.dest == "CONFIG"):
        action.complete = shtab.FILE
    elif metavar in _FOLDERS:
        action.complete = shtab.DIRECTORY


def _complete_words_and_files(action: Any, words: Iterable[str]) -> None:
    import shtab

    name = f"_vidsal_{action.dest}"
    script = f'{name}() {{\n  compgen -W "{" ".join(words)}" -- $1\n  compgen -f -- $1\n}}'
    action.complete = {**shtab.FILE, "bash": name, "preamble": {"bash": script}}


class _Commands(Mapping[str, Command]):
    """Commands by name, each imported when it is asked for: a command need not wait for the others' options.

    Args:
        places: the name of each, and where it is: a module of this package and a name in it.
    """

    def __init__(self, places: Mapping[str, tuple[str, str]]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> Command:
        module, attribute = self._places[name]
        found: Command = getattr(importlib.import_module(f"vidsal.cli.{module}"), attribute)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


COMMANDS: Mapping[str, Command] = _Commands(
    {
        "run": ("run", "run_command"),
        "reframe": ("reframe", "reframe_command"),
        "batch": ("batch", "batch_command"),
        "serve": ("serve", "serve_command"),
        "convert": ("convert", "convert_command"),
        "report": ("report", "report_command"),
        "captions-place": ("captions", "captions_command"),
        "train": ("train", "train_command"),
        "models": ("models", "models_command"),
        "weights": ("models", "WEIGHTS"),
        "bench": ("bench", "bench_command"),
        "export": ("models", "export_command"),
        "data": ("data", "DATA"),
        "gaze": ("gaze", "GAZE"),
        "aoi": ("aoi", "AOI"),
        "eval": ("evaluate", "eval_command"),
        "compare": ("evaluate", "compare_command"),
        "compare-models": ("evaluate", "compare_models_command"),
        "figure": ("figure", "figure_command"),
        "completion": ("commands", "_completion"),
    }
)
"""All commands, by name."""
