"""A field's annotation in, what it allows out: choices, ranges and times, declared once and checked from there.

@dataclass(frozen=True)
class Options(Checked):
    state: Literal["carry", "reset"] = "carry"
    steps: Annotated[int, Range(at_least=1)] | None = None
    start: Annotated[Seconds, Range(at_least=0)] = 0.0
"""

from __future__ import annotations

import functools
import math
import numbers
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from vidsal.errors import ConfigError, Setting

__all__ = ["NONE", "OPEN", "Checked", "Range", "Rule", "Seconds", "parse_time", "rules_of"]

NONE = Setting("", None)
"""None in a message, which the command line writes as none and a file as null."""

_EXPECTED: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
}
_TIMES = "a number of seconds or a time such as 90, 1:30 or 00:01:30.5"


@dataclass(frozen=True, kw_only=True)
class Range:
    """The numbers an option may take; not a number is never one of them.

    Example:
        >>> print(Range(at_least=1), Range(at_least=0, at_most=1), Range(above=0, at_most=1), sep=" | ")
        at least 1 | from 0 to 1 | above 0 and at most 1
        >>> print(Range(at_least=0, below=1), Range(above=0), sep=" | ")
        from 0 to below 1 | above 0
    """

    at_least: float | None = None
    """Lower end, included."""
    above: float | None = None
    """Lower end, left out."""
    at_most: float | None = None
    """Upper end, included."""
    below: float | None = None
    """Upper end, left out."""
    finite: bool = True
    """False allows infinity."""
    otherwise: tuple[str | Setting, ...] = ()
    """What else may be done, for the message."""

    def __contains__(self, value: float) -> bool:
        """Whether a number is allowed."""
        return (
            (math.isfinite(value) or (not self.finite and math.isinf(value)))
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """What is allowed, in words."""
        if self.at_least is not None and self.at_most is not None:
            return f"from {self.at_least:g} to {self.at_most:g}"
        if self.at_least is not None and self.below is not None:
            return f"from {self.at_least:g} to below {self.below:g}"
        ends = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        return " and ".join(f"{word} {end:g}" for word, end in ends.items() if end is not None) or (
            "a finite number" if self.finite else "a number, or infinite"
        )


OPEN = "choices to which others may be added"
"""In an annotation: its choices are those that come with vidsal, and the stage itself looks up what it is given."""

_TIME = "seconds of a video"

Seconds = Annotated[float, _TIME]
"""Seconds of a video; files and flags may write them as 90, 1:30 or 00:01:30.5."""


@dataclass(frozen=True)
class Rule:
    """What a field's annotation allows."""

    kind: Any
    """The type, without None and what is annotated."""
    optional: bool
    """True where None is allowed."""
    choices: tuple[Any, ...]
    """The allowed values; empty where any value of `kind` is."""
    range: Range | None
    """The allowed numbers."""
    is_time: bool
    """True for seconds of a video."""
    items: Rule | None = None
    """That of each item of a tuple of any length."""

    @classmethod
    def of(cls, hint: Any) -> Rule:
        """The rule of an annotation, as `get_type_hints` resolves it with `include_extras`."""
        members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        one, *others = (member for member in members if member is not types.NoneType)
        if others:
            raise TypeError(f"an option cannot be of the type {hint}")
        kind, *extras = get_args(one) if get_origin(one) is Annotated else (one,)
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        inner = get_args(kind) if get_origin(kind) is tuple else ()
        return cls(
            type(choices[0]) if choices else kind,
            types.NoneType in members,
            () if OPEN in extras else choices,
            next((extra for extra in extras if isinstance(extra, Range)), None),
            _TIME in extras,
            cls.of(inner[0]) if len(inner) == 2 and inner[1] is Ellipsis else None,
        )

    @property
    def expected(self) -> str:
        """What the type takes, in words."""
        return _TIMES if self.is_time else _EXPECTED.get(self.kind, "a list" if get_origin(self.kind) is tuple else "")

    def from_text(self, name: str, text: str) -> Any:
        """The path or the time that a text stands for.

        Raises:
            ConfigError: it is neither a number of seconds nor a time.
        """
        if not self.is_time:
            return self.kind(text)
        try:
            return parse_time(text)
        except ValueError as error:
            raise ConfigError(Setting(name), f" must be {self.expected}, got {text!r}") from error

    def check(self, name: str, value: Any) -> None:
        """See that a value is one of the choices, or a number in the range.

        Raises:
            ConfigError: it is not.
        """
        if self.optional and value is None:
            return
        if self.choices:
            if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in self.choices):
                words = ", ".join(map(str, self.choices))
                raise ConfigError(Setting(name), f" must be one of {words}; got {value!r}")
        elif self.items is not None and (self.items.choices or self.items.range):
            if not isinstance(value, tuple):
                raise ConfigError(Setting(name), f" must be a tuple, got {value!r}")
            for item in value:
                self.items.check(name, item)
        elif self.kind is Path and not isinstance(value, Path):
            raise ConfigError(Setting(name), f" must be {_EXPECTED[Path]}, got {value!r}")
        elif self.kind in (int, float):
            wanted = numbers.Integral if self.kind is int else numbers.Real
            if not isinstance(value, wanted) or isinstance(value, bool):
                raise ConfigError(Setting(name), f" must be {_EXPECTED[self.kind]}, got {value!r}")
            if self.range is not None and float(value) not in self.range:
                raise ConfigError(Setting(name), f" must be {self.range}", *self._instead(value))

    def _instead(self, value: Any) -> tuple[str | Setting, ...]:
        """The end of a message about a number out of range."""
        finite = " and finite" if isinstance(value, float) and math.isinf(value) else ""
        otherwise = (self.range.otherwise if self.range else ()) or ((NONE,) if self.optional else ())
        return (f"{finite}, or ", *otherwise, f"; got {value}") if otherwise else (f"{finite}, got {value}",)


@functools.cache
def rules_of(kind: type) -> Mapping[str, Rule]:
    """The rules of a dataclass, field by field."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: Rule.of(hints[field.name]) for field in fields(kind)}


class Checked:
    """Base of option dataclasses: values that an annotation does not allow are a `ConfigError` when one is made.

    Paths and times may be given as text.
    """

    def __post_init__(self) -> None:
        kind: type = type(self)
        for name, rule in rules_of(kind).items():
            value = getattr(self, name)
            if isinstance(value, str) and (rule.kind is Path or rule.is_time):
                value = rule.from_text(name, value)
                object.__setattr__(self, name, value)
            rule.check(name, value)


def parse_time(text: str) -> float:
    """Seconds, from a number of them, from minutes and seconds, or from hours, minutes and seconds.

    Raises:
        ValueError: it is none of these, or a minute or an hour has more than 60 parts.

    Example:
        >>> parse_time("90"), parse_time("1:30"), parse_time("00:01:30.5")
        (90.0, 90.0, 90.5)
    """
    *before, last = text.strip().split(":")
    if before and not (last[:1].isdecimal() and all(part.isascii() and part.isdecimal() for part in before)):
        raise ValueError(text)
    parts = [*map(int, before), float(last)]
    if len(parts) > 3 or any(part >= 60 for part in parts[1:]):
        raise ValueError(text)
    return sum(part * 60.0**place for place, part in enumerate(reversed(parts)))
