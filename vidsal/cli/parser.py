"""Words in, options out: the parser of every command, and the choices that it explains."""

from __future__ import annotations

import argparse
import difflib
import shutil
from collections.abc import Sequence
from typing import Any, NoReturn

from vidsal import config as configuration

__all__ = ["ALIASES", "Parser", "check_choice", "count", "hyphenated", "renamed"]


ALIASES = {"start_seconds": "--start", "end_seconds": "--end", "output": "-o", "model": "-m"}


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 up, got {text!r}")
    return int(text)


def check_choice(name: str, known: list[str], what: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise configuration.UsageError(f"no {what} {name!r}: use one of {', '.join(known)}{meant}")


class Parser(argparse.ArgumentParser):
    """One-line errors, with the nearest flag where one was mistyped; no abbreviations, so scripts stay valid."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **settings)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        given, unknown = self.parse_known_args(args, namespace)
        self._refuse(unknown)
        return given

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        given, unknown = self.parse_known_intermixed_args(args, namespace)
        self._refuse(unknown)
        return given

    def _refuse(self, unknown: list[str]) -> None:
        if unknown:
            flag = unknown[0].split("=")[0]
            near = difflib.get_close_matches(flag, self._option_string_actions, n=1)
            self.error(f"unknown option {flag}" + (f"; did you mean {near[0]}?" if near else ""))

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} ({self.prog} --help shows what is allowed)\n")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(100, shutil.get_terminal_size().columns) - 2)


def hyphenated(arguments: Sequence[str]) -> list[str]:
    """--batch_size is --batch-size."""
    return renamed(arguments, "_", "-")


def renamed(arguments: Sequence[str], old: str, new: str) -> list[str]:
    renamed = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name.startswith("--") and len(name) > 2:
            name = "--" + name[2:].replace(old, new)
        renamed.append(name + equals + value)
    return renamed
