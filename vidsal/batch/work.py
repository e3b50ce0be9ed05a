"""What travels between the batch and its workers: `Work` to them; `Progress`, `Ended` and `Died` back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vidsal.pipe.options import RunOptions
    from vidsal.pipe.record import InputRecord

__all__ = ["Died", "Ended", "Event", "Made", "Progress", "Reason", "Work"]

Reason = Literal[
    "damaged",
    "not decodable",
    "not readable",
    "gone",
    "too slow",
    "worker died",
    "out of memory",
    "disk full",
    "not writable",
    "results exist",
    "wrong option",
    "model",
    "transfer",
    "unexpected",
]
"""Why an input is not simply done, in a word or two; the message says more."""

PASSING: frozenset[Reason] = frozenset({"out of memory", "disk full", "not writable", "transfer", "unexpected"})
"""Reasons that another attempt may not meet again."""


@dataclass(frozen=True)
class Work:
    """One attempt at one input."""

    id: int
    """Of the input, in the job database."""
    source: str
    """Path or address of the input."""
    place: str
    """What its results are called, without an ending, below the folder of all results: "mon/a"."""
    output: str
    """The folder of all results, a path or an address."""
    options: RunOptions
    """How it is run."""
    attempt: int = 0
    """How many attempts went before that count."""
    earlier: Mapping[str, int] = field(default_factory=dict)
    """Results of earlier attempts by this batch, which may be replaced: names below the folder, and their sizes."""
    alone: bool = False
    """Whether nothing else may run beside it in one process: it may be what killed the last one."""
    upload: str | None = None
    """Address of a folder elsewhere that results are put into; None: they stay where they are."""
    scratch: str | None = None
    """Folder for copies of inputs that lie elsewhere; None: the system's."""
    scratch_bytes: int | None = None
    """How much may lie there; None: what the disk holds."""


@dataclass(frozen=True)
class Made:
    """A file that was written."""

    stage: str
    """video, image, table, maps, the name of an export, report or record."""
    file: str
    """Its name below the folder of all results."""
    bytes: int
    """Its size."""
    sha256: str
    """Of its content."""
    address: str | None = None
    """Where it was put, where that is not below this folder."""


@dataclass(frozen=True)
class Progress:
    """How far an attempt is; the first one says that it has begun."""

    id: int
    """Of the input."""
    frames: int
    """Frames written."""
    total: int | None
    """Frames expected, None where unknown."""
    pts_seconds: float
    """Presentation time of the last frame written."""
    length_seconds: float | None
    """Length of the input, None where unknown."""


@dataclass(frozen=True)
class Ended:
    """The end of an attempt."""

    id: int
    """Of the input."""
    outcome: Literal["done", "damaged", "failed", "interrupted"]
    """damaged: all results are there, and parts of the input were missing or patched up."""
    reason: Reason | None = None
    """Why it is not simply done."""
    message: str = ""
    """The same in a sentence."""
    input: InputRecord | None = None
    """The input as it was read; None where it was not."""
    files: tuple[Made, ...] = ()
    """What was written, or found as it would be written."""
    found: bool = False
    """Whether everything was there already."""
    frames: int = 0
    """Frames written."""
    cuts: int = 0
    """Cuts found."""
    video_seconds: float = 0.0
    """Length of the input."""
    seconds: float = 0.0
    """What the attempt took."""
    messages: tuple[str, ...] = ()
    """What a user should know about the run."""
    peak_bytes: int = 0
    """The most memory that the worker's process has ever taken."""
    free_of_charge: bool = False
    """Whether this attempt is not counted: it was stopped, or the disk was full."""


@dataclass(frozen=True)
class Died:
    """A worker that ended in the middle of its attempts."""

    ids: tuple[int, ...]
    """Of the inputs that it was at."""
    message: str
    """How it ended."""
    killed: int | None = None
    """The input for which the batch itself killed it; None where it died by itself."""
    lost: bool = False
    """Whether the machine that it ran on went, or cannot be reached any more."""


Event = Progress | Ended | Died
