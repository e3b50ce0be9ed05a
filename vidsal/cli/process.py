"""What a command does to its process: lines on stdout and stderr, signals that stop it, cores that it takes."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TextIO

from vidsal.addresses import harmless
from vidsal.config import as_flag
from vidsal.errors import EncodeError, VidsalError, is_out_of_memory

__all__ = [
    "Stop",
    "Terminated",
    "describe",
    "drop_stdout",
    "fill_descriptors",
    "import_heavy",
    "print_error",
    "print_out",
    "say",
    "settle_stderr",
    "share_cores",
    "show_traceback",
    "terminating",
]


_STOPPING = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
"""What ends a run cleanly: Ctrl-C, a polite kill, a terminal that is closed."""


class Stop:
    """True from the first Ctrl-C, SIGTERM or SIGHUP on; the second one acts at once.

    SIGHUP stays ignored where it is, as under nohup.

    Args:
        quiet: say nothing.
        doing: what is told when it comes.
    """

    def __init__(self, *, quiet: bool, doing: str = "stopping after this batch") -> None:
        self.status = 0
        self.quiet = quiet
        """Whether nothing is told, for instance as a display does that."""
        self._number: int | None = None
        self._doing = doing
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> Self:
        for number in _STOPPING:
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def __call__(self) -> bool:
        return self._number is not None

    @property
    def name(self) -> str:
        """The signal that came, for people."""
        return signal.Signals(self._number or signal.SIGINT).name

    def note_interrupt(self) -> None:
        """A run was cut short: that is the exit status, whatever the other inputs did."""
        self.status = 128 + (self._number or signal.SIGINT)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        if not self.quiet:
            # Straight to the descriptor: a handler may run in the middle of a print. The live line is wiped first.
            wipe = "\r\x1b[2K" if sys.stderr.isatty() else ""
            again = "; Ctrl-C again to stop at once" if number == signal.SIGINT else ""
            # The terminal may be what has gone.
            with contextlib.suppress(OSError):
                os.write(2, f"{wipe}vidsal: {self._doing}{again}\n".encode())


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which end what is under way as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.status = 128 + number


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Terminated`, so that no half file stays behind; one that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated(number)

    numbers = [number for number in _STOPPING[1:] if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def fill_descriptors() -> None:
    """Put the null device where standard input, output or error is closed.

    Else the next file that is opened takes its number, and messages end up in it; and `print` takes standard output for
    a standard error that is not there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken.
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (as long as the process)


def import_heavy() -> None:
    """Import what every run needs, without a search for garbage meanwhile or at exit: that takes a sixth of the start.

    What is imported stays to the end, and every search would go through its million objects.
    """
    if "torch" in sys.modules:
        return
    was_on = gc.isenabled()
    gc.disable()
    try:
        import cv2  # noqa: F401
        import torch  # noqa: F401
    finally:
        if was_on:
            gc.enable()
    gc.freeze()
    atexit.register(gc.freeze)


def share_cores(*, left: int = 1) -> None:
    """`left` cores are left to decoding and encoding; what the user set is respected."""
    from vidsal.prefetch import limit_arenas, usable_cores

    limit_arenas()
    import_heavy()
    import cv2
    import torch

    cv2.setNumThreads(1)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() - left))


def describe(error: BaseException) -> str:
    """An error in one line."""
    if is_out_of_memory(error):
        return "out of memory: try a smaller --batch-size, or --device cpu if it was the GPU's"
    if isinstance(error, VidsalError):
        # A name may hold anything.
        return error.spelled(as_flag).replace("\n", "\\n")
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
        try:
            print(text, end=end, flush=True)
        except UnicodeEncodeError:
            # The name of a file is bytes: as such it can be used by who reads them.
            sys.stdout.buffer.write(os.fsencode(text + end))
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_stdout()
        raise EncodeError(f"cannot write to standard output: {error.strerror}") from error


def drop_stdout() -> None:
    """What is still buffered has to go somewhere, or the interpreter complains at its exit."""
    _drop(sys.stdout)


def settle_stderr() -> None:
    """What could not be told on stderr, as its reader has gone, is no reason for another exit status."""
    try:
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)


def _drop(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def show_traceback(error: BaseException) -> None:
    """Print the traceback of an error if VIDSAL_DEBUG asks for it."""
    if os.environ.get("VIDSAL_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)


def print_error(text: str) -> None:
    say(f"vidsal: error: {text}")


def say(text: str, *, quiet: bool = False) -> None:
    """Print a line on stderr, unless `quiet`; whether anybody reads it is no matter of the work."""
    if not quiet:
        with contextlib.suppress(OSError):
            print(harmless(text), file=sys.stderr, flush=True)
