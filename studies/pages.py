"""Pages of the docs, in which the parts between two marks are made by one of these tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vidsal.errors import ConfigError

__all__ = ["between_marks", "fill", "fill_parts"]


def between_marks(page: str, begin: str, end: str, text: str) -> str:
    """The page with `text`, and an empty line before and after it, between the marks.

    Raises:
        ConfigError: a mark is missing or stands there twice, or the end comes first.
    """
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    if page.count(begin) != 1 or page.count(end) != 1 or end not in rest:
        raise ConfigError(f"the page must hold {begin} and after it {end}, once each, where the tables belong")
    # Code that begins a part is indented.
    text = text.strip("\n")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def fill(page: Path, begin: str, end: str, text: str) -> None:
    """Put `text` between the marks of a page, and say so.

    Raises:
        ConfigError: see `between_marks`; the page stays as it is.
    """
    page.write_text(between_marks(page.read_text(encoding="utf-8"), begin, end, text), encoding="utf-8")
    print(f"wrote {page}")


def fill_parts(page: Path, parts: Mapping[str, str]) -> None:
    """Put each part of a page between its marks, `<!-- NAME -->` and `<!-- end of NAME -->`, and say so.

    Raises:
        ConfigError: see `between_marks`; the page stays as it is.
    """
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = between_marks(text, f"<!-- {name} -->", f"<!-- end of {name} -->", part)
    page.write_text(text, encoding="utf-8")
    print(f"wrote {page}")
