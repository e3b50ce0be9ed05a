"""Modules in, a way to start worker processes that have imported them out."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext

__all__ = ["worker_context"]


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
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
    return context
