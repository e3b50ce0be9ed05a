"""The public names of a package in, its `__getattr__` out: each name is loaded on first use (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["lazy"]


def lazy(package: str, names: Sequence[str], *files: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Makes a package quick to import, however heavy what it offers.

    Args:
        package: the package's `__name__`.
        names: its `__all__`; none may be that of a file.
        files: files of the package, in the order in which a name is looked for in their `__all__`: light ones first.

    Returns:
        `__getattr__` and `__dir__`.
    """

    def getter(name: str) -> Any:
        for file in files if name in names else ():
            module = importlib.import_module(f"{package}.{file}")
            if name in module.__all__:
                # Found directly from now on.
                setattr(sys.modules[package], name, getattr(module, name))
                return getattr(module, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return getter, lambda: list(names)
