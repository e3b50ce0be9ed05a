"""What a command does to its process: signals that stop it, cores that it takes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Stop", "share_cores"]


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
