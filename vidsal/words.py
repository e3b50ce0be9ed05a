"""Numbers in, words for people out."""

from __future__ import annotations

__all__ = ["counted", "in_utf8"]


def counted(count: int, what: str) -> str:
    """How many there are of something whose plural ends in s.

    Example:
        >>> counted(1, "input"), counted(1200, "input")
        ('1 input', '1,200 inputs')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def in_utf8(text: str) -> str:
    """A text that UTF-8 can write: the bytes of a file's name that are none of it become question marks.

    Example:
        >>> in_utf8("latin\\udce9.mp4")
        'latin?.mp4'
    """
    return text.encode("utf-8", "replace").decode()
