"""Words in, options out: the parser of every command, and the choices that it explains."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from vidsal.cli.output import print_out
from vidsal.config import UsageError, add_flags, as_key, options_of, read_file, resolve, shortened, to_yaml
from vidsal.errors import ConfigError, Setting

__all__ = ["Command", "Parser", "as_usage", "check_choice", "count", "group_parser", "run_action"]

_T = TypeVar("_T")


class Command(NamedTuple):
    """One command, or one action of a command."""

    run: Callable[[list[str]], int]
    """Its arguments in, the exit status out."""
    parser: Callable[[], Parser]
    """What it understands."""
    help: str
    """What it does, for the list of all."""
    actions: Mapping[str, Command] = {}
    """What it hands its arguments to, where it does nothing itself."""


class Parser(argparse.ArgumentParser):
    """One-line errors, with the nearest flag where one was mistyped; no abbreviations, so scripts stay valid.

    Args:
        options: a dataclass whose options the command takes, each as a flag, and all from a file with --config.
        settings: as of `argparse.ArgumentParser`.
    """

    def __init__(self, *, options: type | None = None, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **settings)
        if options is not None:
            help_config = "YAML file with options by name; flags win over it"
            self.add_argument("--config", type=Path, metavar="FILE", help=help_config)
            self.add_argument("--print-config", action="store_true", help="print the resolved options as YAML and stop")
            add_flags(self, options)

    def read(self, arguments: Sequence[str], kind: type[_T], *, stem: str | None = None) -> tuple[Any, _T]:
        """What a command was given, and its options: default < file < flag.

        Args:
            arguments: what follows the command.
            kind: `options`, again.
            stem: the option that is called after the file where nothing else gives it.

        Returns:
            What was given beside options, with `flags`, the options given as flags; and all options.

        Raises:
            ConfigError: the file is wrong.
            UsageError: the command line is.
            SystemExit: the options were printed, as --print-config asks.
        """
        words = shortened(kind, arguments)
        if "--print-config" in words:
            # Nothing else is needed for that.
            for action in self._actions:
                action.required = False
                action.nargs = "?" if not action.option_strings and action.nargs is None else action.nargs
        given = self.parse_intermixed_args(words)
        named = [file for file in (given.config, getattr(given, "CONFIG", None)) if file is not None]
        if len(named) > 1:
            self.error(f"two config files, {named[0]} and {named[1]}: give one")
        keys = [option.key for option in options_of(kind) if option.key in given]
        given.flags = flags = {key: vars(given).pop(key) for key in keys}
        file = read_file(named[0], kind) if named else {}
        try:
            options = resolve(kind, {stem: named[0].stem} if stem and named else {}, file, flags)
        except ConfigError as error:
            at_fault = {part.name for part in error.parts if isinstance(part, Setting)}
            if named and (not flags or (at_fault & file.keys() and not at_fault & flags.keys())):
                raise ConfigError(f"{named[0]}: {error.spelled(as_key)}") from error
            raise UsageError(*error.parts) from error
        if given.print_config:
            print_out(to_yaml(options), end="")
            self.exit()
        return given, options

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


@contextlib.contextmanager
def as_usage() -> Iterator[None]:
    """What is wrong with an option in here is the command line's fault."""
    try:
        yield
    except UsageError:
        raise
    except ConfigError as error:
        raise UsageError(*error.parts) from error


def group_parser(
    prog: str, actions: Mapping[str, Command], *, description: str, epilog: str = "", word: str = "action"
) -> Parser:
    """The parser of a command that hands its arguments to one of its actions."""
    width = max(map(len, actions))
    listed = "\n".join(f"  {name:<{width}}  {action.help}" for name, action in actions.items())
    parser = Parser(prog=prog, description=description, epilog=f"{word}s:\n{listed}\n\n{epilog}")
    parser.add_argument(word, metavar=word.upper(), help=", ".join(actions))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=f"of the {word}: {prog} {word.upper()} --help")
    return parser


def run_action(parser: Parser, actions: Mapping[str, Command], arguments: list[str]) -> int:
    """Hand the arguments of a command to one of its actions."""
    given = parser.parse_args(arguments)
    check_choice(given.action, list(actions), "action")
    return actions[given.action].run(given.arguments)


def count(text: str) -> int:
    """The type of a flag that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 up, got {text!r}")
    return int(text)


def check_choice(name: str, known: Collection[str], what: str) -> None:
    """A word that is not known is bad usage; the nearest known one is named."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"no {what} {name!r}: use one of {', '.join(known)}{meant}")
