"""Results as JSON files: numbers that JSON does not have, what a file is, and what to do about a damaged one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from vidsal.errors import ConfigError
from vidsal.files import replacing

__all__ = ["from_json", "read_result", "to_json", "write_result"]

_T = TypeVar("_T")


def to_json(value: Any) -> Any:
    """The same, with None for NaN and a text for infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {name: to_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(one) for one in value]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def from_json(number: float | str | None) -> Any:
    """The number that `to_json` wrote."""
    return math.nan if number is None else float(number) if isinstance(number, str) else number


def write_result(path: Path, kind: str, values: Mapping[str, Any], *, remedy: str) -> None:
    """Writes a result of this kind, say `vidsal-evaluation-1`; not defined is null, infinity a text.

    Raises:
        EncodeError: it cannot be written; `remedy` says what to do.
    """
    text = json.dumps(to_json({"format": kind, **values}), indent=1, allow_nan=False) + "\n"
    with replacing(path, remedy=remedy) as partial:
        partial.write_text(text, encoding="utf-8")


def read_result(path: str | Path, kind: str, *, name: str, command: str, build: Callable[[dict[str, Any]], _T]) -> _T:
    """What `build` makes of the values that `write_result` wrote; a folder stands for the file `name` in it.

    Args:
        path: the file or folder.
        kind: that it must be of.
        name: of the file in a folder.
        command: that writes such files, say `vidsal eval`.
        build: takes the values, numbers still as they are in JSON.

    Raises:
        ConfigError: it cannot be read, is no such result, or `build` finds something missing or of a wrong type.
    """
    path = Path(path)
    path = path / name if path.is_dir() else path
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; give a {name} of {command}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}); give a {name} of {command}") from error
    if not isinstance(values, dict) or values.pop("format", None) != kind:
        raise ConfigError(f"{path} is not a result of this version of {command}; expected format {kind}")
    try:
        return build(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged ({type(error).__name__}: {error}); run {command} again") from error
