"""Every error vidsal raises on purpose: nothing comes in, one tree of exceptions goes out.

VidsalError
├── DecodeError      a source cannot be opened or read
├── EncodeError      a result cannot be written
│   └── ExistsError  a result is there already, and may not be replaced
├── CheckpointError  a model file is missing, damaged or of another architecture
├── ConfigError      an option or a config file is wrong
├── DatasetError     a data set on disk is not what its layout promises
└── TransferError    a file elsewhere cannot be fetched or put there, for a reason that may pass

The command line prints the message of a `VidsalError` as one line and exits with 1, with 2 where the value of an
option is at fault, or with 3 where all that is wrong is that results are there already.
A message says what came, what is allowed or was expected, and what to do. It names an option by a `Setting`, which
Python, a config file and the command line each spell their own way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DatasetError",
    "DecodeError",
    "EncodeError",
    "ExistsError",
    "Setting",
    "Stopped",
    "TransferError",
    "VidsalError",
    "is_out_of_memory",
]


@dataclass(frozen=True)
class Setting:
    """An option in a message, alone or with a value; without a name, only the value.

    Example:
        >>> str(Setting("steps")), str(Setting("state", "carry")), str(Setting("", None))
        ('steps', 'state=carry', 'None')
    """

    name: str
    """The field's name; empty where only a value is meant."""
    value: Any = ...
    """The value; `...` where the option itself is meant."""

    def __str__(self) -> str:
        """As Python has it."""
        value = "" if self.value is ... else str(self.value)
        return f"{self.name}={value}" if self.name and value else self.name or value


class VidsalError(Exception):
    """Base of all errors that vidsal raises on purpose.

    Its `args` are the message, in pieces where it names options.

    Example:
        >>> error = ConfigError(Setting("steps"), " must be at least 1, got 0")
        >>> str(error), error.option, error.spelled(lambda setting: f"--{setting.name}")
        ('steps must be at least 1, got 0', 'steps', '--steps must be at least 1, got 0')
    """

    def __str__(self) -> str:
        """The message, with options as Python has them."""
        return self.spelled(str)

    @property
    def option(self) -> str | None:
        """The first option that the message names: the one at fault."""
        return next((part.name for part in self.args if isinstance(part, Setting) and part.name), None)

    def spelled(self, spell: Callable[[Setting], str]) -> str:
        """The message, with options as `spell` writes them."""
        return "".join(spell(part) if isinstance(part, Setting) else str(part) for part in self.args)


class DecodeError(VidsalError):
    """A source cannot be opened, holds no pictures, or cannot be read any further."""


class EncodeError(VidsalError):
    """A result cannot be written: path taken, folder not writable, disk full, encoder missing."""


class ExistsError(EncodeError):
    """A result is there already, and may not be replaced: nothing failed, nothing was done."""


class CheckpointError(VidsalError):
    """A checkpoint is missing, damaged, or belongs to another architecture."""


class ConfigError(VidsalError):
    """An option or a config file has an unknown key or a value that is not allowed."""


class DatasetError(VidsalError):
    """A data set on disk is not what its layout promises."""


class TransferError(VidsalError):
    """A file elsewhere cannot be fetched or put there for now: a connection breaks, a server is busy or errs."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, of whatever class, says that there is no memory left."""
    # torch has a class for CUDA only; on a CPU its allocator raises a plain RuntimeError.
    named = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and named)


class Stopped(Exception):  # noqa: N818 (no error)
    """The caller's `should_stop` asked for an end. Not an error: whoever asked is not bothered with it."""
