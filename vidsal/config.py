"""Files and flags in, the stages' options out: default < file < flag.

Everything is read off the option dataclasses: a field's name gives its flag and its key, its type says what is
allowed, the string literal below it is the help, and its default stands nowhere else.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import glob
import inspect
import itertools
import re
import textwrap
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from vidsal.errors import ConfigError

__all__ = ["Option", "UsageError", "add_flags", "options_of", "parse_nested", "read_file", "resolve", "to_yaml"]

_T = TypeVar("_T")
_EXPECTED: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
}
_METAVARS: dict[Any, str] = {int: "N", float: "X", Path: "PATH"}


class UsageError(ConfigError):
    """The command line itself is wrong; the command ends with status 2."""


@dataclass(frozen=True)
class Option:
    """One field of a stage's options, as flags and files see it."""

    stage: str
    """Field of the whole options that holds the stage, and its heading in the help."""
    name: str
    """Key in a file; with hyphens, the flag."""
    kind: Callable[[Any], Any]
    """bool, int, float, str or Path."""
    choices: tuple[str, ...]
    """The allowed words; empty where any value of `kind` is."""
    optional: bool
    """True where None is allowed: null in a file, none on the command line."""
    default: Any
    """The field's default."""
    help: str
    """The string literal below the field."""

    @property
    def flag(self) -> str:
        """`--batch-size` for batch_size."""
        return "--" + self.name.replace("_", "-")

    def convert(self, value: Any) -> Any:
        """The value of a file, or the text of a flag, as the field wants it.

        Raises:
            ConfigError: it is of another type, or none of the choices.
        """
        if self.optional and (value is None or (value == "none" and (self.choices or self.kind is not str))):
            return None
        if self.choices:
            if value in self.choices:
                return value
            raise ConfigError(f"{self.name} must be one of {', '.join(self.choices)}; got {value!r}")
        try:
            # Not isinstance: True is an int. A Path is always of a subclass.
            if type(value) is self.kind or (self.kind is Path and isinstance(value, Path)):
                return value
            # PyYAML reads 1e-3 as text, and flags are text anyway.
            if (isinstance(value, str) and self.kind is not bool) or (self.kind is float and type(value) is int):
                return self.kind(value)
        except ValueError as error:
            raise ConfigError(f"{self.name} must be {_EXPECTED[self.kind]}, got {value!r}") from error
        raise ConfigError(f"{self.name} must be {_EXPECTED[self.kind]}, got {value!r}")


def options_of(kind: type) -> tuple[Option, ...]:
    """All options of a dataclass of stages, in the order of its fields.

    Args:
        kind: a dataclass whose fields are option dataclasses, such as `RunOptions`.
    """
    options: list[Option] = []
    for stage, hint in get_type_hints(kind).items():
        helps, hints = _attribute_docstrings(hint), get_type_hints(hint)
        for field in dataclasses.fields(hint):
            one, choices, optional = _simple(hints[field.name])
            options.append(Option(stage, field.name, one, choices, optional, field.default, helps.get(field.name, "")))
    names = [option.name for option in options]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TypeError(f"{kind.__name__}: two stages share the option {', '.join(sorted(twice))}")
    return tuple(options)


def add_flags(parser: argparse.ArgumentParser, kind: type, *, aliases: Mapping[str, str]) -> None:
    """Give a parser one flag an option, grouped by stage; what is not given is left out of its namespace.

    Args:
        parser: the parser.
        kind: a dataclass of stages.
        aliases: option name to a second flag.
    """
    titles = _attribute_docstrings(kind)
    groups: dict[str, Any] = {}
    for option in options_of(kind):
        if option.stage not in groups:
            groups[option.stage] = parser.add_argument_group(titles.get(option.stage, option.stage).rstrip("."))
        settings: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS, "help": _help(option)}
        if option.kind is bool:
            settings["action"] = argparse.BooleanOptionalAction
        else:
            settings["type"] = _flag_type(option)
            words = [*option.choices, *(["none"] if option.optional and option.choices else [])]
            number = _METAVARS.get(option.kind, option.name.upper())
            settings["metavar"] = "{" + ",".join(words) + "}" if words else number
        flags = [option.flag, *([aliases[option.name]] if option.name in aliases else [])]
        groups[option.stage].add_argument(*sorted(flags, key=len), **settings)


def read_file(path: Path, kind: type) -> dict[str, Any]:
    """The options of a YAML file by name, for `resolve`.

    Options stand at the top, or under the name of their stage as in `to_yaml` and in a run's JSON report.

    Raises:
        ConfigError: the file cannot be read, is no YAML mapping, or holds an unknown key or one key twice.
    """
    options = options_of(kind)
    stages = {option.stage: [other.name for other in options if other.stage == option.stage] for option in options}
    values: dict[str, Any] = {}
    for key, value in _read_yaml(path).items():
        # A stage and an option may share a name (model): the stage is the one that holds a mapping.
        inside = value if key in stages and isinstance(value, dict) else {key: value}
        known = stages[key] if inside is value else [option.name for option in options]
        for name in inside:
            if name not in known:
                where = f"{key}.{name}" if inside is value else str(name)
                raise ConfigError(f"{path}: unknown key {where!r}; known are {', '.join(sorted(known))}")
            if name in values:
                raise ConfigError(f"{path}: {name!r} is given twice, at the top and under its stage")
        values.update(inside)
    return values


def resolve(kind: type[_T], *layers: Mapping[str, Any]) -> _T:
    """The options that some layers of values add up to; what none of them holds keeps its default.

    Args:
        kind: a dataclass of stages, such as `RunOptions`.
        layers: option names to values; later layers win over earlier ones.

    Raises:
        ConfigError: an unknown name, or a value that is not allowed.
    """
    values = {name: value for layer in layers for name, value in layer.items()}
    options = options_of(kind)
    unknown = sorted(values.keys() - {option.name for option in options})
    if unknown:
        known = ", ".join(sorted(option.name for option in options))
        raise ConfigError(f"unknown option {unknown[0]!r}; known are {known}")
    chosen: dict[str, dict[str, Any]] = {}
    for option in options:
        stage = chosen.setdefault(option.stage, {})
        if option.name in values:
            stage[option.name] = option.convert(values[option.name])
    hints = get_type_hints(kind)
    return kind(**{stage: hints[stage](**inside) for stage, inside in chosen.items()})


def to_yaml(options: Any) -> str:
    """Option dataclasses as YAML, stage by stage, that `read_file` or `parse_nested` reads back."""
    return yaml.safe_dump(_plain(dataclasses.asdict(options)), sort_keys=False)


def parse_nested(kind: type[_T], arguments: Sequence[str], *, prog: str) -> tuple[_T, bool]:
    """A nested dataclass from `CONFIG --stage.option value`.

    Args:
        kind: the dataclass; fields may be dataclasses, tuples, paths and mappings.
        arguments: the YAML file, which comes first and may be left out, and flags, which win over it.
        prog: the command, for the help.

    Returns:
        The dataclass, and whether it is only to be printed (--print_config).

    Raises:
        ConfigError: the file is missing or no YAML mapping, or holds an unknown key or a value not allowed.
        UsageError: a flag is unknown, something required is missing, or a value is not allowed where there are flags.
    """
    from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    usage = f"{prog} CONFIG [--option VALUE ...]"
    parser = ArgumentParser(prog=prog, usage=usage, exit_on_error=False)
    parser.add_argument(
        "CONFIG", nargs="?", default=argparse.SUPPRESS, help="YAML file with the options below; flags win over it"
    )
    parser.add_argument("--print_config", action="store_true", help="print the resolved options as YAML and stop")
    parser.add_class_arguments(kind)
    file = Path(arguments[0]) if arguments and not arguments[0].startswith("-") else None
    if file is not None:
        _check_keys(kind, _read_yaml(file), file)
        parser.default_config_files = [glob.escape(str(file))]
        try:
            parser.get_defaults()
        except (ArgumentError, TypeError, ValueError) as error:
            raise ConfigError(f"{file}: {_one_line(error)}") from error
    try:
        values = parser.parse_args([argument for argument in arguments if argument != "--print_config"])
        if values.pop("CONFIG", None) != (None if file is None else arguments[0]):
            raise UsageError("only one file, in front of the options")
        made = parser.instantiate(values)
        chosen = {field.name: made[field.name] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
        return kind(**chosen), "--print_config" in arguments
    except UsageError as error:
        raise UsageError(f"{error} (usage: {usage})") from error
    except ConfigError as error:
        if file is not None and len(arguments) == 1:
            raise
        raise UsageError(str(error)) from error
    except (ArgumentError, TypeError, ValueError) as error:
        raise UsageError(f"{_one_line(error)} (usage: {usage})") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {_one_line(error)}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}; expected lines of the form `option: value`")
    return values


def _check_keys(kind: type, values: Mapping[Any, Any], file: Path, inside: str = "") -> None:
    """Unknown keys of a nested file are errors that list the known ones."""
    hints = get_type_hints(kind)
    for key, value in values.items():
        if key not in hints:
            known = ", ".join(sorted(hints))
            raise ConfigError(f"{file}: unknown key {inside + str(key)!r}; known are {known}")
        one = next((hint for hint in _members(hints[key]) if dataclasses.is_dataclass(hint)), None)
        if isinstance(one, type) and isinstance(value, dict):
            _check_keys(one, value, file, f"{inside}{key}.")


def _members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union; a type that is none is its own."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _simple(hint: Any) -> tuple[type, tuple[str, ...], bool]:
    """The type, the choices, and whether None is allowed."""
    members = [member for member in _members(hint) if member is not types.NoneType]
    optional = len(members) < len(_members(hint))
    if len(members) == 1 and get_origin(members[0]) is Literal:
        return str, get_args(members[0]), optional
    if len(members) == 1 and members[0] in _EXPECTED:
        return members[0], (), optional
    raise TypeError(f"an option cannot be of the type {hint}")


def _attribute_docstrings(kind: type) -> dict[str, str]:
    """Field name to the string literal below it, in one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    statements = body.body if isinstance(body, ast.ClassDef) else []
    found = {}
    for field, below in itertools.pairwise(statements):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found[field.target.id] = " ".join(text.split())
    return found


def _help(option: Option) -> str:
    # Python's None is the command line's none.
    text = re.sub(r"\bNone\b", "none", option.help).replace("`", "").replace("%", "%%")
    if option.default is None or option.default is dataclasses.MISSING or "default:" in text:
        return text
    shown = {True: "yes", False: "no"}[option.default] if option.kind is bool else option.default
    return f"{text if text.endswith('...') else text.removesuffix('.')} (default: {shown})"


def _flag_type(option: Option) -> Any:
    def convert(text: str) -> Any:
        try:
            return option.convert(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{option.name} ")) from error

    return convert


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
