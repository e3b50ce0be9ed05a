"""What a command does to its process: lines on stdout and stderr, signals that stop it, cores that it takes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from vidsal.config import as_flag
from vidsal.errors import EncodeError, VidsalError

__all__ = [
    "Stop",
    "describe",
    "drop_stdout",
    "is_out_of_memory",
    "print_error",
    "print_out",
    "say",
    "share_cores",
    "show_traceback",
]


class Stop:
    """True from the first Ctrl-C or SIGTERM on; the second one acts at once."""

    def __init__(self, *, quiet: bool) -> None:
        self.status = 0
        self._number: int | None = None
        self._quiet = quiet
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self._number is not None

    def note_interrupt(self) -> None:
        """A run was cut short: that is the exit status, whatever the other inputs did."""
        self.status = 128 + (self._number or signal.SIGINT)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        if not self._quiet:
            # Straight to the descriptor: a handler may run in the middle of a print. The live line is wiped first.
            wipe = "\r\x1b[2K" if sys.stderr.isatty() else ""
            again = "; Ctrl-C again to stop at once" if number == signal.SIGINT else ""
            os.write(2, f"{wipe}vidsal: stopping after this batch{again}\n".encode())


def share_cores(*, left: int = 1) -> None:
    """`left` cores are left to decoding and encoding; what the user set is respected."""
    import cv2
    import torch

    from vidsal.prefetch import usable_cores

    cv2.setNumThreads(1)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() - left))


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
    """Print on stdout, at once: at interpreter exit an error could no longer be reported.

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
