"""The word of a command in, its exit status out; errors end here, in one line."""

from __future__ import annotations

import argparse
import difflib
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from vidsal.cli.commands import COMMANDS
from vidsal.cli.output import describe, drop_stdout, print_error, print_out, show_traceback
from vidsal.cli.parser import Parser, group_parser
from vidsal.config import UsageError
from vidsal.errors import VidsalError

__all__ = ["main"]


_SIGPIPE_STATUS = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: what stands behind `vidsal`; None takes the process's own.

    Returns:
        The exit status.

    Raises:
        SystemExit: after --help, --version, bad usage and errors nobody foresaw.
    """
    try:
        try:
            status = _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        except SystemExit:
            # The text of --help and --version, too, goes out while an error can still be told.
            print_out("", end="")
            raise
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does.
        drop_stdout()
        return _SIGPIPE_STATUS
    except KeyboardInterrupt:
        print_error("interrupted")
        return 128 + signal.SIGINT
    except UsageError as error:
        print_error(describe(error))
        return 2
    except VidsalError as error:
        show_traceback(error)
        print_error(describe(error))
        return 1
    except Exception as error:
        show_traceback(error)
        print_error(describe(error))
        raise SystemExit(1) from error
    return status


def _dispatch(arguments: list[str]) -> int:
    parser = _parser()
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    given = parser.parse_args(arguments)
    if given.command not in COMMANDS:
        parser.error(_wrong_command(given.command, list(COMMANDS)))
    return COMMANDS[given.command].run(f"vidsal {given.command}", given.arguments)


def _parser() -> Parser:
    parser = group_parser(
        "vidsal", COMMANDS, description="Predict where people look in video.", epilog=_EPILOG, word="command"
    )
    parser.add_argument("-V", "--version", action=_Version)
    return parser


def _wrong_command(word: str, commands: list[str]) -> str:
    if Path(word).suffix or "://" in word or Path(word).exists():
        return f"no command {word!r}; did you mean: vidsal run {shlex.quote(word)}"
    near = difflib.get_close_matches(word, commands, n=1)
    return f"no command {word!r}; " + (f"did you mean {near[0]}?" if near else f"choose from {', '.join(commands)}")


_EPILOG = """\
vidsal COMMAND --help shows a command's options. With VIDSAL_DEBUG=1 errors come with their traceback.
"""


class _Version(argparse.Action):
    """Prints the version; it is only looked up when asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print the version and stop")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        # The package itself stands below this file: it is not imported, but it is always there.
        print_out(f"vidsal {sys.modules['vidsal'].__version__}")
        parser.exit()
