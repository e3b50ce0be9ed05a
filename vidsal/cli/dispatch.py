"""The word of a command in, its exit status out; errors end here, in one line."""

from __future__ import annotations

import difflib
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from vidsal.addresses import hide_secrets
from vidsal.cli.commands import COMMANDS
from vidsal.cli.parser import Command, flag
from vidsal.cli.process import describe, drop_stdout, print_error, print_out, show_traceback
from vidsal.config import UsageError
from vidsal.errors import VidsalError

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
    try:
        try:
            status = _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        except SystemExit:
            # The text of --help and --version, too, goes out while an error can still be reported.
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
    given = parser.parse_args(arguments)
    if given.action not in COMMANDS:
        parser.error(_wrong_command(given.action))
    return COMMANDS[given.action].run(f"vidsal {given.action}", given.arguments)


def _wrong_command(word: str) -> str:
    if Path(word).suffix or "://" in word or Path(word).exists():
        shown = hide_secrets(word)
        return f"no command {shown!r}; did you mean: vidsal run {shlex.quote(shown)}"
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    return f"no command {word!r}; " + (f"did you mean {near[0]}?" if near else f"choose from {', '.join(COMMANDS)}")
