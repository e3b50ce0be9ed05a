"""Numbers in, words for people out."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, what: str) -> str:
    """How many there are of something whose plural ends in s.

    Example:
        >>> counted(1, "input"), counted(1200, "input")
        ('1 input', '1,200 inputs')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"
