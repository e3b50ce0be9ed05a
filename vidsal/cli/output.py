"""What a command prints in, stdout and stderr out; an error becomes one line."""

from __future__ import annotations

import os
import re
import sys
import traceback
from typing import TYPE_CHECKING

from vidsal import config as configuration
from vidsal.cli.parser import ALIASES
from vidsal.errors import ConfigError, DecodeError, EncodeError, VidsalError

if TYPE_CHECKING:
    pass

__all__ = ["describe", "drop_stdout", "in_flags", "is_out_of_memory", "print_error", "print_out", "show_traceback"]


def is_out_of_memory(error: BaseException) -> bool:
    # torch has a class for CUDA only; on a CPU its allocator raises a plain RuntimeError.
    named = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and named)


def describe(error: BaseException) -> str:
    """An error in one line."""
    if is_out_of_memory(error):
        return "out of memory: try a smaller --batch-size, or --device cpu if it was the GPU's"
    if isinstance(error, (ConfigError, DecodeError)):
        return in_flags(str(error))
    if isinstance(error, VidsalError):
        return str(error)
    text = " ".join(str(error).split())
    return (
        f"unexpected {type(error).__name__}: {text} (a bug: please report it with the traceback, which "
        "VIDSAL_DEBUG=1 shows)"
    )


def print_out(text: str, end: str = "\n") -> None:
    """Print on stdout, at once: at interpreter exit an error could no longer be told.

    Raises:
        EncodeError: the disk it goes to is full, and the like.
        BrokenPipeError: whoever read it has gone.
    """
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_stdout()
        raise EncodeError(f"cannot write to standard output: {error.strerror}") from error


def drop_stdout() -> None:
    """What is still buffered has to go somewhere, or the interpreter complains at its exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def in_flags(text: str, kind: type | None = None) -> str:
    """A stage's message about the options of `kind` (None: of a run), which it names as Python does, in flags.

    Example:
        >>> in_flags("cut_threshold is 2; try 0.38, or detect_cuts=False")
        '--cut-threshold is 2; try 0.38, or --no-detect-cuts'
    """
    from vidsal.pipe.options import RunOptions

    # Words by themselves: no parts of paths, addresses or quotations.
    begin, end = r"(?<![^\s(])", r"(?![\w/'=-]|\.\w)"
    for option in configuration.options_of(kind or RunOptions):
        alias = ALIASES.get(option.name, "")
        flag = alias if alias.startswith("--") else option.flag
        text = re.sub(f"{begin}{option.name}=False{end}", f"--no-{flag[2:]}", text)
        text = re.sub(rf"{begin}{option.name}=(?=\w)", f"{flag} ", text)
        if "_" in option.name:
            text = re.sub(f"{begin}{option.name}{end}", flag, text)
        else:
            # Also a word of the language: it is the option where it opens the message or is to be left out.
            text = re.sub(rf"(^|leave out ){option.name}(?= must | is | to |$)", rf"\1{flag}", text)
    return re.sub(f"{begin}None{end}", "none", text)


def show_traceback(error: BaseException) -> None:
    """Print the traceback of an error if VIDSAL_DEBUG asks for it."""
    if os.environ.get("VIDSAL_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)


def print_error(text: str) -> None:
    print(f"vidsal: error: {text}", file=sys.stderr, flush=True)
