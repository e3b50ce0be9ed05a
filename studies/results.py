"""What a study has found so far, in a file that a killed run goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidsal.errors import VidsalError
from vidsal.train import TrainProgress

__all__ = ["Results", "show"]


class Results:
    """What is known so far, in one JSON file that is whole at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"trained": {}}

    def text(self) -> str:
        return json.dumps(self.values, indent=1, sort_keys=True) + "\n"

    def put(self, **values: Any) -> None:
        self.values |= values
        partial = self.path.with_suffix(".partial")
        partial.write_text(self.text())
        partial.replace(self.path)

    def agree(self, wanted: Mapping[str, Any], *, name: str = "recipe", flag: str = "--output") -> None:
        """See that what is known was made as is wanted now; noted where nothing is known yet.

        Raises:
            VidsalError: it was made otherwise; `flag` is what names another folder.
        """
        if self.values.setdefault(name, wanted) != wanted:
            raise VidsalError(
                f"{self.path} was made with {self.values[name]}, asked for is {wanted}: "
                f"give the same options or another {flag}"
            )


def show(name: str, progress: TrainProgress) -> None:
    """A line every twenty steps."""
    if progress.step % 20 == 0:
        print(f"{name}: {progress.step}/{progress.steps}, loss {progress.loss:.3f}", flush=True)
