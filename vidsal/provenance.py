"""Which code this is, written into results and model cards; and in what two records of how things were made differ."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["differences", "package_version", "source_commit"]


def package_version() -> str:
    """The installed version of vidsal; "0+unknown" for a checkout that was never installed."""
    try:
        return importlib.metadata.version("vidsal")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"


def source_commit() -> str:
    """The commit of the code, with "+" where files differ from it; "" outside a checkout of vidsal."""
    try:
        # An environment may lie in a checkout of something else: its commit says nothing about this file.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        changed = _git("status", "--porcelain", "--untracked-files=no")
        return _git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Where two records of plain values, nested or not, differ: a phrase each, in the order of the second.

    A list and a tuple of the same values are the same, as JSON has only one of them.

    Example:
        >>> differences({"smooth": {"smoothing": "motion"}, "steps": (4, 1)}, {"smooth": {"smoothing": "none"}})
        ['smooth.smoothing was motion, is now none', 'steps was [4, 1], is now none']
    """
    old, new = _leaves(before), _leaves(now)
    return [
        f"{name} was {_short(old.get(name))}, is now {_short(new.get(name))}"
        for name in [*new, *(name for name in old if name not in new)]
        if old.get(name) != new.get(name)
    ]


def _leaves(record: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{below}": leaf for below, leaf in _leaves(value).items()}
        else:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _git(*arguments: str) -> str:
    # Without it, `git status` takes a lock to write down what it found: who works in the checkout would meet it.
    done = subprocess.run(
        ["git", "--no-optional-locks", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
