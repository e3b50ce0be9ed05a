"""Every error vidsal raises on purpose: nothing comes in, one tree of exceptions goes out.

VidsalError
├── DecodeError      a source cannot be opened or read
├── EncodeError      a result cannot be written
├── CheckpointError  a model file is missing, damaged or of another architecture
├── ConfigError      an option or a config file is wrong
└── DatasetError     a data set on disk is not what its layout promises

The command line prints the message of a `VidsalError` as one line and exits with 1, or with 2 where the value of an
option is at fault.
A message says what came, what is allowed or was expected, and what to do.
"""

__all__ = ["CheckpointError", "ConfigError", "DatasetError", "DecodeError", "EncodeError", "Stopped", "VidsalError"]


class VidsalError(Exception):
    """Base of all errors that vidsal raises on purpose."""


class DecodeError(VidsalError):
    """A source cannot be opened, holds no pictures, or cannot be read any further."""


class EncodeError(VidsalError):
    """A result cannot be written: path taken, folder not writable, disk full, encoder missing."""


class CheckpointError(VidsalError):
    """A checkpoint is missing, damaged, or belongs to another architecture."""


class ConfigError(VidsalError):
    """An option or a config file has an unknown key or a value that is not allowed."""


class DatasetError(VidsalError):
    """A data set on disk is not what its layout promises."""


class Stopped(Exception):  # noqa: N818 (no error)
    """The caller's `should_stop` asked for an end. Not an error: whoever asked is not bothered with it."""
