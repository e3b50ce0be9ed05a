"""Which code this is: written into results and model cards."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path

__all__ = ["package_version", "source_commit"]


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


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    return done.stdout.strip()
