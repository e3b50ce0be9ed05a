"""Modules in, a way to start worker processes that have imported them out."""

from __future__ import annotations

import functools
import multiprocessing
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.util import Finalize
from pathlib import Path

from vidsal.files import claim, release

__all__ = ["worker_context"]

_PREFIX = "vidsal-fork-"
_MOST_BYTES = 107 - len("/pymp-12345678/listener-12345678")
"""Of the name of a folder in which multiprocessing can put a socket."""


def worker_context(*modules: str) -> ForkServerContext | SpawnContext:
    """How workers are started: on Linux forked off one process that has imported these modules, which takes seconds.

    That process looks for modules where this one does, and not in the working folder: there lies whatever the user
    works on. Libraries of other systems do not bear a fork after they are imported.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        with _sockets_in_own_folder():
            forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
    return context


@contextmanager
def _sockets_in_own_folder() -> Iterator[None]:
    """What multiprocessing leaves when this process is killed can be known for what it is, and removed."""
    folder = _own_folder()
    if folder is None:
        yield
        return
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


@functools.cache
def _own_folder() -> Path | None:
    """A folder that is removed when this process ends; None where there can be none.

    It goes with the next such process of this user if this one is killed.
    """
    top = Path(tempfile.gettempdir())
    with suppress(OSError):
        for name in {path.name.removesuffix(".lock") for path in top.glob(f"{_PREFIX}*")}:
            with suppress(OSError):
                if (lock := claim(top / name, sure=True)) is not None:
                    _remove(top / name, lock)
        folder = top / f"{_PREFIX}{secrets.token_hex(4)}"
        if len(os.fsencode(folder)) <= _MOST_BYTES and (lock := claim(folder)) is not None:
            # Claimed before it is there, or another one could take it for one that was left.
            Finalize(None, _remove, args=(folder, lock), exitpriority=-100)
            folder.mkdir(mode=0o700)
            return folder
    return None


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    release(folder, lock)
