"""Kinds of arguments that several of these tools take, for `type=` of argparse."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["count_from"]


def count_from(least: int) -> Callable[[str], int]:
    """Reads a whole number of at least this."""

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} up")
        return int(text)

    return count
