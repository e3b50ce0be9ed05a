"""Docstrings in, the same with `Examples:` for `Example:` out, which is the heading that griffe shows as code."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Loaded by mkdocs.yml."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section of one object."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
