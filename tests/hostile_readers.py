"""Readers of files that do what a parser in C may do over a hostile one; called in a process of their own."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from vidsal.errors import CheckpointError


def answer(path: Path, text: str) -> dict[str, Any]:
    """Values of every kind that may be returned, and which process it was."""
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = np.arange(6, dtype=">i2").reshape(2, 3), np.array(["ab", "c"])
    struct = np.empty((2,), [("x", object), ("y", object)])
    struct[0], struct[1] = (np.float64(1.5), np.zeros((0, 2))), (cells, np.array(True))
    return {
        "path": str(path),
        "list": [text, np.float32([[1, np.nan]])],
        "cells": cells,
        "struct": struct,
        "transposed": np.arange(6).reshape(2, 3).T,
        "process": np.array(os.getpid()),
    }


def crash(path: Path, *arguments: str) -> None:
    """What a write to an address that is none does."""
    ctypes.string_at(0)


def crash_second(path: Path) -> str:
    """Ends its process unless it is the first call in it: as after an earlier file has harmed it."""
    os.environ["CALLS"] = str(int(os.environ.get("CALLS", "0")) + 1)
    if os.environ["CALLS"] != "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return "read"


def never_end(path: Path) -> None:
    """As a chain of links that is a circle."""
    time.sleep(600)


def take_all_memory(path: Path) -> Any:
    """As an array whose header names a size that no machine has."""
    return np.ones(1 << 45, np.uint8)


def take_much_memory(path: Path) -> Any:
    """A little at a time, each of which there is."""
    return [np.empty(1 << 28, np.uint8) for _ in range(64)]


def complain(path: Path) -> None:
    """An error of ours."""
    raise CheckpointError(f"{path}: not a file of weights")


def fail(path: Path) -> None:
    """An error of a library, in two lines."""
    raise ZeroDivisionError("one\ntwo")


def give_an_object(path: Path) -> Any:
    """What could only be pickled."""
    return [Path("x")]


def print_something(path: Path) -> str:
    """What libraries in C do on standard output."""
    os.write(1, b"HDF5-DIAG: error\n")
    return "read"
