"""A browser for tests of pages: Chromium from the system, driven by Playwright; what has none is skipped."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

__all__ = ["Opened", "chromium", "open_page", "picture_of"]


LIMIT_SECONDS = 1500
"""How long a browser may live: longer than any test may take."""
CLOSING_SECONDS = 120
"""How long it may take to close."""


class _Guard:
    """Ends the browser and its driver whatever happens: a page that floods them leaves both busy for ever, and closing
    them waits for both. A thread of its own does it, since the main one may be what waits.
    """

    def __init__(self, seconds: float) -> None:
        self._before = {process.pid for process in psutil.Process().children()}
        self._known: set[psutil.Process] = set()
        self._timer = self._armed(seconds)
        self.fired = False

    def look(self) -> None:
        """Notes all processes of the driver: they lose their parent if it dies first."""
        with suppress(psutil.Error):
            for child in psutil.Process().children():
                if child.pid not in self._before and any("playwright" in part for part in child.cmdline()):
                    self._known |= {child, *child.children(recursive=True)}
        for one in list(self._known):
            with suppress(psutil.Error):
                self._known.update(one.children(recursive=True))

    def closing(self) -> None:
        """From now on only so long is waited as closing takes."""
        self.look()
        self._timer.cancel()
        self._timer = self._armed(CLOSING_SECONDS)

    def end(self) -> None:
        """Sees that nothing is left."""
        self._timer.cancel()
        alive = list(filter(_runs, self._known))
        end = time.monotonic() + 10
        while alive and time.monotonic() < end:
            psutil.wait_procs(alive, timeout=0.1)
            alive = list(filter(_runs, alive))
        self._kill(alive)

    def _armed(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._fire)
        timer.daemon = True
        timer.start()
        return timer

    def _fire(self) -> None:
        self.fired = True
        self.look()
        self._kill(self._known)

    @staticmethod
    def _kill(processes: Iterable[psutil.Process]) -> None:
        for process in processes:
            with suppress(psutil.Error):
                process.kill()


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextmanager
def chromium(limit_seconds: float = LIMIT_SECONDS) -> Iterator[Any]:
    """The browser, or a skip with a word; it ends with the block, or is killed.

    Args:
        limit_seconds: after so long it is killed, whatever the block does.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium here")
    guard = _Guard(limit_seconds)
    try:
        with sync_api.sync_playwright() as playwright:
            guard.look()
            browser = playwright.chromium.launch(executable_path=program)
            try:
                yield browser
            finally:
                guard.closing()
                with suppress(sync_api.Error) if guard.fired else nullcontext():
                    browser.close()
    finally:
        guard.end()
    if guard.fired:
        pytest.fail("the browser did not end by itself, and was killed")


TIMEOUT_SECONDS = 240
"""How long a page is waited for: a busy machine may take minutes to start a browser or a model."""


@dataclass
class Opened:
    """A page, and what the browser had to say about it."""

    page: Any
    said: list[str] = field(default_factory=list)
    """Messages on the console and errors of scripts."""
    asked: list[str] = field(default_factory=list)
    """Addresses of all that it wanted to load."""
    blocked: list[str] = field(default_factory=list)
    """Those of them that its own policy did not allow."""


@contextmanager
def open_page(browser: Any, address: str | Path, *, script: str = "", **context: Any) -> Iterator[Opened]:
    """A page in a context of its own.

    Args:
        browser: as `chromium` gives it.
        address: a file, or an address.
        script: what runs in the page before its own scripts.
        context: settings of the context, as viewport or color_scheme.
    """
    made = browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **context})
    try:
        if script:
            made.add_init_script(script)
        opened = Opened(made.new_page())
        opened.page.set_default_timeout(TIMEOUT_SECONDS * 1000)
        # What the browser says for information depends on when it was busy with what.
        opened.page.on(
            "console",
            lambda one: one.type in ("info", "debug") or opened.said.append(f"{one.type}: {one.text}"),
        )
        opened.page.on("pageerror", lambda error: opened.said.append(f"error: {error}"))
        opened.page.on("request", lambda request: opened.asked.append(request.url))
        opened.page.on("requestfailed", lambda one: one.failure == "csp" and opened.blocked.append(one.url))
        opened.page.goto(address.as_uri() if isinstance(address, Path) else address)
        yield opened
    finally:
        made.close()


def picture_of(element: Any) -> np.ndarray:
    """(h, w, 3) RGB: how an element looks on the screen."""
    coded = np.frombuffer(element.screenshot(), np.uint8)
    return cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
