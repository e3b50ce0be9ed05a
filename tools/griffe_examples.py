"""Docstrings in, the same with `Example:` as a section of code out. mkdocs.yml loads it.

griffe knows `Examples:` only, and in it only lines that begin with `>>>` are code.
"""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Renames the section, and puts a fence around an example that is no doctest."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change one object's docstring in place."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:\n((?:    .*\n?|\n)+)", _section, obj.docstring.value, flags=re.M)


def _section(match: re.Match[str]) -> str:
    code = match[1].rstrip("\n")
    return f"Examples:\n{code}\n" if ">>>" in code else f"Examples:\n    ```python\n{code}\n    ```\n"
