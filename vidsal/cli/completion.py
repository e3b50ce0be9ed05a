"""`vidsal completion`: the name of a shell in, a script out that completes commands, flags and their choices."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, get_args

from vidsal.cli.commands import WORKING
from vidsal.cli.output import print_out
from vidsal.cli.parser import Command, Parser

__all__ = ["COMMANDS"]

_SHELLS = ("bash", "zsh", "tcsh")
_FILES = ("FILE", "PATH", "INPUT", "A.json", "B.json", None)
_FOLDERS = ("DIR", "ROOT")


def _parser() -> Parser:
    """What `vidsal completion` understands."""
    parser = Parser(prog="vidsal completion", description=_COMPLETION_DESCRIPTION)
    parser.add_argument("shell", metavar="{" + ",".join(_SHELLS) + "}", choices=_SHELLS, help="which shell")
    return parser


_COMPLETION_DESCRIPTION = """\
Print a script that lets a shell complete commands, flags and their choices. For bash:
  vidsal completion bash > ~/.local/share/bash-completion/completions/vidsal
For zsh, into a folder of $fpath as _vidsal; for tcsh, into a file that ~/.tcshrc sources.
"""


def _print_script(arguments: list[str]) -> int:
    """Arguments of `vidsal completion` in, a script on stdout out."""
    shell = _parser().parse_args(arguments).shell
    import shtab

    root = argparse.ArgumentParser(prog="vidsal")
    root.add_argument("-V", "--version", action="store_true", help="print the version and stop")
    _add_commands(root, COMMANDS, "")
    print_out(shtab.complete(root, shell))
    return 0


def _add_commands(parser: argparse.ArgumentParser, commands: Mapping[str, Command], above: str) -> None:
    """Gives a parser the parsers of its commands, and these what their words complete to."""
    added = parser.add_subparsers()
    for name, command in commands.items():
        made = command.parser()
        here = added.add_parser(name, help=command.help, parents=[] if command.actions else [made], add_help=False)
        if command.actions:
            _add_commands(here, command.actions, name)
        for action in here._actions:
            _complete(action, above)


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
        names = f'compgen -W "{" ".join(PRESETS)}" -- $1'
        script = f"_vidsal_models() {{\n  {names}\n  compgen -f -- $1\n}}"
        action.complete = {**shtab.FILE, "bash": "_vidsal_models", "preamble": {"bash": script}}
    elif metavar in _FILES and (metavar or action.dest == "CONFIG"):
        action.complete = shtab.FILE
    elif metavar in _FOLDERS:
        action.complete = shtab.DIRECTORY


COMMANDS = {
    **WORKING,
    "completion": Command(_print_script, _parser, "print a script that completes commands in a shell"),
}
"""All commands, by name."""
