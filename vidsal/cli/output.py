"""What a command prints in, stdout and stderr out; an error becomes one line."""

from __future__ import annotations

import os
import sys
import traceback

from vidsal.config import as_flag
from vidsal.errors import EncodeError, VidsalError

__all__ = ["describe", "drop_stdout", "is_out_of_memory", "print_error", "print_out", "say", "show_traceback"]


def is_out_of_memory(error: BaseException) -> bool:
    # torch has a class for CUDA only; on a CPU its allocator raises a plain RuntimeError.
    named = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and named)


def describe(error: BaseException) -> str:
    """An error in one line."""
    if is_out_of_memory(error):
        return "out of memory: try a smaller --batch-size, or --device cpu if it was the GPU's"
    if isinstance(error, VidsalError):
        return error.spelled(as_flag)
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


def show_traceback(error: BaseException) -> None:
    """Print the traceback of an error if VIDSAL_DEBUG asks for it."""
    if os.environ.get("VIDSAL_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)


def print_error(text: str) -> None:
    say(f"vidsal: error: {text}")


def say(text: str, *, quiet: bool = False) -> None:
    """Print a line on stderr, unless `quiet`."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)
