"""A browser for tests of pages: Chromium from the system, driven by Playwright; what has none is skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

__all__ = ["Opened", "chromium", "open_page", "picture_of"]


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, or a skip with a word."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        try:
            yield browser
        finally:
            browser.close()


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
def open_page(browser: Any, address: str | Path, **context: Any) -> Iterator[Opened]:
    """A page in a context of its own.

    Args:
        browser: as `chromium` gives it.
        address: a file, or an address.
        context: settings of the context, as viewport or color_scheme.
    """
    made = browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **context})
    try:
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
