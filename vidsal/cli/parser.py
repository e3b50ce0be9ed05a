"""Words in, options out: what every command is made of, its parser, and the choices that it explains."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from vidsal.cli.process import print_out
from vidsal.config import UsageError, add_flags, as_key, options_of, read_file, resolve, shortened, to_yaml
from vidsal.errors import ConfigError, Setting

__all__ = ["Command", "Parser", "as_usage", "check_choice", "check_model", "command", "count", "flag", "split_action"]

_Flag = tuple[tuple[str, ...], dict[str, Any]]


class Command(NamedTuple):
    """One command, or a group of them."""

    help: str
    """What it does, for the list of all."""
    description: str
    """What its --help says first."""
    work: Callable[..., int] | None = None
    """What was given in, and the options where it has some; the exit status out. None for a mere group."""
    flags: tuple[_Flag, ...] = ()
    """What it takes beside options, each as `flag` makes it."""
    options: type | None = None
    """A dataclass of options."""
    usage: str | None = None
    """The first line of its --help; None makes one of the flags."""
    bare: str | None = None
    """What is wrong where nothing is given; None leaves that to the parser."""
    epilog: str = ""
    """What its --help ends with."""
    actions: Mapping[str, Command] = {}
    """The commands of a group; where it has work of its own too, its first word may be one of them."""

    def parser(self, prog: str) -> Parser:
        """What it understands, under the name `prog`."""
        listed = "\n".join(f"  {name:<{max(map(len, self.actions))}}  {one.help}" for name, one in self.actions.items())
        word = "action" if " " in prog else "command"
        then = f", each with a --help of its own ({prog} {word.upper()} --help)" if self.work is not None else ""
        epilog = f"{word}s{then}:\n{listed}\n\n{self.epilog}" if listed else self.epilog or None
        parser = Parser(prog=prog, usage=self.usage, description=self.description, epilog=epilog, options=self.options)
        for names, settings in self.flags:
            parser.add_argument(*names, **settings)
        if listed and self.work is None:
            parser.add_argument("action", metavar=word.upper(), help=", ".join(self.actions))
            help_rest = f"of the {word}: {prog} {word.upper()} --help"
            parser.add_argument("arguments", nargs=argparse.REMAINDER, help=help_rest)
        return parser

    def run(self, prog: str, arguments: list[str]) -> int:
        """What follows its name in, the exit status out."""
        if self.bare is not None and not arguments:
            raise UsageError(self.bare)
        parser = self.parser(prog)
        if self.work is None:
            if not arguments:
                parser.print_help(sys.stderr)
                return 2
            action, rest = split_action(parser, arguments)
            check_choice(action, self.actions, "action")
            return self.actions[action].run(f"{prog} {action}", rest)
        if arguments and arguments[0] in self.actions:
            return self.actions[arguments[0]].run(f"{prog} {arguments[0]}", arguments[1:])
        self._refuse_misspelt(arguments[:1])
        try:
            return self.work(*(parser.read(arguments) if self.options else [parser.parse_args(arguments)]))
        except argparse.ArgumentError as error:
            parser.error(error.message)

    def _refuse_misspelt(self, words: Sequence[str]) -> None:
        """A first word that is no file, and nearly an action, is bad usage."""
        near = difflib.get_close_matches(words[0], self.actions, n=1) if words else []
        if near and not os.path.lexists(words[0]):
            raise UsageError(
                f"there is no file or folder {words[0]}, and no action of that name; did you mean {near[0]}?"
            )


def command(help: str, *flags: _Flag, **settings: Any) -> Callable[[Callable[..., int]], Command]:
    """Makes a command of the function that does its work, whose docstring becomes the description.

    Args:
        help: as of `Command`.
        flags: as of `Command`.
        settings: further fields of `Command`.
    """
    return lambda work: Command(help, inspect.getdoc(work) or "", work, flags, **settings)


def flag(*names: str, **settings: Any) -> _Flag:
    """A flag, or an argument without one; without `settings` other than `help`, a flag is a switch.

    Args:
        names: as of `argparse.ArgumentParser.add_argument`.
        settings: the same.
    """
    switch = names[0].startswith("-") and settings.keys() == {"help"}
    if settings.get("type") is Path:
        settings["type"] = _path
    return names, {"action": "store_true", **settings} if switch else settings


class Parser(argparse.ArgumentParser):
    """One-line errors, with the nearest flag where one was mistyped; no abbreviations, so scripts stay valid.

    Args:
        options: a dataclass whose options the command takes, each as a flag, and all from a file with --config.
        settings: as of `argparse.ArgumentParser`.
    """

    def __init__(self, *, options: type | None = None, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **settings)
        self._kind: Any = options
        if options is not None:
            help_config = "YAML file with options by name; flags win over it"
            self.add_argument("--config", type=_path, metavar="FILE", help=help_config)
            self.add_argument("--print-config", action="store_true", help="print the resolved options as YAML and stop")
            add_flags(self, options)

    def read(self, arguments: Sequence[str]) -> tuple[Any, Any]:
        """What a command was given, and its options: default < file < flag.

        An option called `name` is the file's where nothing else gives it.

        Returns:
            What was given beside options, with `flags`, the options given as flags; and all options.

        Raises:
            ConfigError: the file is wrong.
            UsageError: the command line is.
            SystemExit: the options were printed, as --print-config asks.
        """
        words = shortened(self._kind, arguments)
        if "--print-config" in words:
            # Nothing else is needed for that.
            for action in self._actions:
                action.required = False
                action.nargs = "?" if not action.option_strings and action.nargs is None else action.nargs
        given = self.parse_intermixed_args(words)
        named = [file for file in (given.config, getattr(given, "CONFIG", None)) if file is not None]
        if len(named) > 1:
            self.error(f"two config files, {named[0]} and {named[1]}: give one")
        known = [option.key for option in options_of(self._kind)]
        given.flags = flags = {key: vars(given).pop(key) for key in known if key in given}
        file = read_file(named[0], self._kind) if named else {}
        try:
            stem = {"name": named[0].stem} if named and "name" in known else {}
            options = resolve(self._kind, stem, file, flags)
        except ConfigError as error:
            at_fault = {part.name for part in error.args if isinstance(part, Setting)}
            if named and (not flags or (at_fault & file.keys() and not at_fault & flags.keys())):
                raise ConfigError(f"{named[0]}: {error.spelled(as_key)}") from error
            raise UsageError(*error.args) from error
        if given.print_config:
            print_out(to_yaml(options), end="")
            self.exit()
        return given, options

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        return self._parse(self.parse_known_args, args, namespace)

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        return self._parse(self.parse_known_intermixed_args, args, namespace)

    def _parse(self, parse: Callable[..., tuple[Any, list[str]]], args: Any, namespace: Any) -> Any:
        # argparse forgets in its second pass what stood behind "--": it is marked as no flag.
        words = list(sys.argv[1:] if args is None else args)
        if "--" in words:
            end = words.index("--")
            words = [*words[:end], *(f"{_NO_FLAG}{word}" for word in words[end + 1 :])]
        given, unknown = parse(words, namespace)
        self._refuse([word.removeprefix(_NO_FLAG) for word in unknown])
        for name, value in vars(given).items():
            setattr(given, name, _unmarked(value))
        return given

    def _refuse(self, unknown: list[str]) -> None:
        if unknown:
            flag = unknown[0].split("=")[0]
            near = difflib.get_close_matches(flag, self._option_string_actions, n=1)
            self.error(f"unknown option {flag}" + (f"; did you mean {near[0]}?" if near else ""))

    def error(self, message: str) -> NoReturn:
        message = message.replace(_NO_FLAG, "")
        self.exit(2, f"{self.prog}: error: {message} ({self.prog} --help shows what is allowed)\n")


def split_action(parser: Parser, arguments: list[str]) -> tuple[str, list[str]]:
    """The first word, which names a command or an action, and the rest as it is: a "--" in it is for the command."""
    if arguments[0].startswith("-"):
        given = parser.parse_args(arguments)
        return given.action, given.arguments
    return arguments[0], arguments[1:]


_NO_FLAG = "\0"
"""Begins no word that a process can be given."""


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(one) for one in value]
    if isinstance(value, Path):
        return Path(_unmarked(str(value)))
    return value.removeprefix(_NO_FLAG) if isinstance(value, str) else value


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
        raise UsageError(*error.args) from error


def count(text: str) -> int:
    """The type of a flag that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 up, got {text!r}")
    return int(text)


def _path(text: str) -> Path:
    if not text:
        # Python takes it for the working folder.
        raise argparse.ArgumentTypeError("must not be empty: give a path")
    return Path(text)


def check_choice(name: str, known: Iterable[str], what: str, more: str = "", others: Iterable[str] = ()) -> None:
    """A word that is not known is bad usage; the nearest is named, of the known and of others, too many to list."""
    if name not in (allowed := [*known, *others]):
        near = difflib.get_close_matches(name, allowed, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"no {what} {name!r}: use one of {', '.join(known)}{more}{meant}")


def check_model(*names: str, path: str = "the path of a checkpoint") -> None:
    """A word that is neither a model nor a file is bad usage; a path without a file is the reader's to report."""
    from vidsal.model.checkpoint import PRESETS, model_names

    for name in names:
        if Path(name).name == name and not Path(name).suffix and not os.path.lexists(name):
            more = f", another that vidsal models lists, or {path}"
            check_choice(name, PRESETS, "model", more, model_names())
