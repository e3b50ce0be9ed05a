"""The word of a command in, its exit status out; errors end here, in one line."""

from __future__ import annotations

import difflib
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from vidsal.addresses import hide_secrets
from vidsal.cli.commands import COMMANDS
from vidsal.cli.parser import Command, flag, split_action
from vidsal.cli.process import (
    Terminated,
    describe,
    drop_stdout,
    fill_descriptors,
    print_error,
    print_out,
    settle_stderr,
    show_traceback,
    terminating,
)
from vidsal.config import UsageError
from vidsal.errors import ExistsError, VidsalError

__all__ = ["main"]

_SIGPIPE_STATUS = 141
_DEBUG = "With VIDSAL_DEBUG=1 errors come with their traceback."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: what follows `vidsal`; None takes the process's own.

    Returns:
        The exit status.

    Raises:
        SystemExit: after --help, --version, bad usage and unexpected errors.
    """
    fill_descriptors()
    try:
        with terminating():
            return _main(list(sys.argv[1:] if arguments is None else arguments))
    except Terminated as error:
        print_error(str(error))
        return error.status
    finally:
        settle_stderr()


def _main(arguments: list[str]) -> int:
    try:
        try:
            return _dispatch(arguments)
        except SystemExit:
            # The text of --help and --version, too, goes out while an error can still be reported.
            print_out("", end="")
            raise
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does.
        drop_stdout()
        return _SIGPIPE_STATUS
    except Terminated:
        raise
    except KeyboardInterrupt:
        print_error("interrupted")
        return 128 + signal.SIGINT
    except UsageError as error:
        print_error(describe(error))
        return 2
    except VidsalError as error:
        show_traceback(error)
        print_error(describe(error))
        return 3 if isinstance(error, ExistsError) else 1
    except Exception as error:
        show_traceback(error)
        print_error(describe(error))
        raise SystemExit(1) from error


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        # The parser below lists all commands, for which each has to be imported.
        return COMMANDS[arguments[0]].run(f"vidsal {arguments[0]}", arguments[1:])
    parser = Command(
        help="",
        description="Predict where people look in video.",
        flags=(flag("-V", "--version", help="print the version and stop"),),
        epilog=f"vidsal COMMAND --help shows a command's options. {_DEBUG}\n",
        actions=COMMANDS,
    ).parser("vidsal")
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    if arguments[0] in ("-V", "--version"):
        # The package itself stands below this file: it is not imported, but it is always there.
        print_out(f"vidsal {sys.modules['vidsal'].__version__}")
        return 0
    action, rest = split_action(parser, arguments)
    if action not in COMMANDS:
        parser.error(_wrong_command(action))
    return COMMANDS[action].run(f"vidsal {action}", rest)


def _wrong_command(word: str) -> str:
    if Path(word).suffix or "://" in word or os.path.lexists(word):
        shown = hide_secrets(word)
        return f"no command {shown!r}; did you mean: vidsal run {shlex.quote(shown)}"
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    return f"no command {word!r}; " + (f"did you mean {near[0]}?" if near else f"choose from {', '.join(COMMANDS)}")
