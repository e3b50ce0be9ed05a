"""Files and flags in, option dataclasses out: default < file < flag, in one language for every command.

Everything is read off the dataclasses: a field's name gives its flag and its key, its annotation says what is
allowed, the string literal below it is the help, and its default stands nowhere else. A dataclass inside another is a
stage. An option has its own name where no other option has it (`passes`, `--passes`), and always the longer one with
its stages (`schedule.passes`, `--schedule.passes`).
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import difflib
import functools
import inspect
import itertools
import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin

import yaml

from vidsal.errors import ConfigError, Setting
from vidsal.options import Rule, rules_of

__all__ = [
    "ALIASES",
    "Option",
    "UsageError",
    "add_flags",
    "as_flag",
    "as_key",
    "from_yaml",
    "options_of",
    "read_file",
    "resolve",
    "shortened",
    "to_yaml",
]

ALIASES: Mapping[str, str] = {
    "start_seconds": "--start",
    "end_seconds": "--end",
    "output": "-o",
    "model": "-m",
    "replace_own": "--replace",
}
"""Option name to a second flag; a long one is the flag that messages name."""

_T = TypeVar("_T")
_METAVARS: Mapping[Any, str] = {int: "N", float: "X", Path: "PATH"}


class UsageError(ConfigError):
    """The command line itself is wrong; the command ends with status 2."""


@dataclass(frozen=True)
class Option:
    """One field of a command's options, as flags and files see it."""

    path: tuple[str, ...]
    """Names of the fields that lead to it, its own last."""
    key: str
    """Its own name where no other option has it, else the path with dots."""
    rule: Rule
    """What it allows."""
    default: Any
    """The field's default; `dataclasses.MISSING` where it has to be given."""
    help: str
    """The string literal below the field."""
    title: str = ""
    """The heading of its stage; empty at the top."""

    def convert(self, value: Any) -> Any:
        """The value of a file, or the text of a flag, as the field wants it.

        Raises:
            ConfigError: it is of another type, or none of the choices.
        """
        return _convert(self.rule, value, self.key)


def options_of(kind: type) -> tuple[Option, ...]:
    """All options of a dataclass, those of the dataclasses in it among them, in the order of their fields."""
    found = list(_walk(kind, (), ""))
    often = Counter(option.path[-1] for option in found)
    return tuple(
        dataclasses.replace(option, key=option.path[-1] if often[option.path[-1]] == 1 else option.key)
        for option in found
    )


def add_flags(parser: argparse.ArgumentParser, kind: type) -> None:
    """Give a parser one flag an option, grouped by stage; what is not given is left out of its namespace.

    Values stay text: `resolve` says what is wrong with them. Help leaves out the keys in `kind.not_offered`, if there.
    """
    hidden: frozenset[str] = getattr(kind, "not_offered", frozenset())
    groups: dict[str, Any] = {"": parser}
    for option in options_of(kind):
        if option.title not in groups:
            groups[option.title] = parser.add_argument_group(option.title)
        shown = argparse.SUPPRESS if option.key in hidden else _help(option)
        settings: dict[str, Any] = {"dest": option.key, "default": argparse.SUPPRESS, "help": shown}
        if option.rule.kind is bool:
            settings["action"] = argparse.BooleanOptionalAction
        else:
            choices = option.rule.choices or (option.rule.items.choices if option.rule.items else ())
            words = [*map(str, choices), *(["none"] if option.rule.optional else [])]
            plain = _METAVARS.get(option.rule.kind, option.path[-1].upper())
            settings["metavar"] = "{" + ",".join(words) + "}" if choices else plain
        names = {_flag(option.key), ALIASES.get(option.key, _flag(option.key))}
        groups[option.title].add_argument(*sorted(names, key=len), **settings)


def shortened(kind: type, arguments: Sequence[str]) -> list[str]:
    """Arguments with each flag as `add_flags` has it.

    `--batch_size` becomes `--batch-size`, `--schedule.passes` becomes `--passes`, and `--lid=false` or `--lid false`
    becomes `--no-lid`.
    """
    options = {_flag(".".join(option.path)): option for option in options_of(kind)}
    switches = {_flag(option.key) for option in options.values() if option.rule.kind is bool}
    made, waiting = list[str](), list(arguments)
    while waiting:
        name, equals, value = waiting.pop(0).partition("=")
        if name == "--" and not equals:
            return [*made, name, *waiting]
        if name.startswith("--"):
            name = _flag(name[2:])
            no = "--no-" if name.startswith("--no-") and name not in options else "--"
            known = options.get("--" + name.removeprefix(no))
            name = no + _flag(known.key)[2:] if known else name
            if name in switches:
                if not equals and waiting and waiting[0] in ("true", "false"):
                    equals, value = "=", waiting.pop(0)
                if value in ("true", "false"):
                    name, equals, value = name if value == "true" else f"--no-{name[2:]}", "", ""
        made.append(name + equals + value)
    return made


def as_flag(setting: Setting) -> str:
    """An option in a message as the command line has it.

    Example:
        >>> as_flag(Setting("end_seconds")), as_flag(Setting("detect_cuts", False)), as_flag(Setting("state", "carry"))
        ('--end', '--no-detect-cuts', '--state carry')
        >>> as_flag(Setting("style", ("heat", "peak"))), as_key(Setting("style", ("heat", "peak")))
        ('--style heat,peak', 'style: [heat, peak]')
    """
    value = setting.value
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    if not setting.name:
        return "none" if value is None else str(value)
    alias = ALIASES.get(setting.name, "")
    flag = alias if alias.startswith("--") else _flag(setting.name)
    if isinstance(setting.value, bool):
        return flag if setting.value else f"--no-{flag[2:]}"
    return flag if value is ... else f"{flag} {'none' if value is None else value}"


def as_key(setting: Setting) -> str:
    """An option in a message as a file has it."""
    value = ""
    if setting.value is not ...:
        # Text alone is shown as it is, not as YAML would quote it.
        is_bare = not setting.name and isinstance(setting.value, str)
        dumped = yaml.safe_dump(_plain(setting.value), default_flow_style=True).splitlines()[0]
        value = setting.value if is_bare else dumped
    return f"{setting.name}: {value}" if setting.name and value else setting.name or value


def read_file(path: Path, kind: type) -> dict[str, Any]:
    """The options of a YAML file by key, for `resolve`.

    Options stand at the top, or under the name of their stage as in `to_yaml` and in a run's JSON report. Under `base`
    a file may name another one, relative to itself: what it does not give itself is taken from there.

    Raises:
        ConfigError: a file cannot be read, is no YAML mapping, holds an unknown key or one key twice, or is its own
            base.
    """
    layers: dict[Path, dict[str, Any]] = {}
    file: Path | None = path
    while file is not None:
        if file in layers:
            raise ConfigError(f"{file} is its own base: remove `base` from one of {', '.join(map(str, layers))}")
        try:
            tree = _read_yaml(file)
            base = tree.pop("base", None)
            layers[file] = _flat(kind, tree)
            if base is not None and not isinstance(base, str):
                raise ConfigError(f"base must be the path of another file, got {base!r}")
        except ConfigError as error:
            text = error.spelled(as_key)
            raise ConfigError(text if str(file) in text else f"{file}: {text}") from error
        file = None if base is None else Path(os.path.normpath(file.parent / base))
    return {key: value for layer in reversed(layers.values()) for key, value in layer.items()}


def resolve(kind: type[_T], *layers: Mapping[str, Any]) -> _T:
    """The options that some layers of values add up to; what none of them holds keeps its default.

    Args:
        kind: a dataclass, such as `RunOptions`.
        layers: keys of options to values; later layers win over earlier ones.

    Raises:
        ConfigError: an unknown name, a value that is not allowed, or none where one is needed.
    """
    values = {name: value for layer in layers for name, value in layer.items()}
    options = {option.key: option for option in options_of(kind)}
    unknown = sorted(values.keys() - options.keys())
    if unknown:
        raise ConfigError(f"unknown option {unknown[0]!r}; known are {', '.join(sorted(options))}")
    given = {options[key].path: options[key].convert(value) for key, value in values.items()}
    return cast(_T, _build(kind, given, {option.path: option.key for option in options.values()}))


def to_yaml(options: Any) -> str:
    """Option dataclasses as YAML, stage by stage, that `read_file` reads back."""
    return yaml.safe_dump(_plain(dataclasses.asdict(options)), sort_keys=False, allow_unicode=True)


def from_yaml(text: str, kind: type) -> dict[str, Any]:
    """What `to_yaml` gave, by key, for `resolve`.

    Raises:
        ConfigError: it holds an option that is not known here.
    """
    return _flat(kind, yaml.load(text, _Loader) or {})


def _walk(kind: Any, path: tuple[str, ...], title: str) -> Iterator[Option]:
    helps, rules = _attribute_docstrings(kind), rules_of(kind)
    for field in dataclasses.fields(kind):
        rule, here, text = rules[field.name], (*path, field.name), helps.get(field.name, "")
        if dataclasses.is_dataclass(rule.kind):
            yield from _walk(rule.kind, here, text.rstrip(".") or field.name)
        else:
            made = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            yield Option(here, ".".join(here), rule, made, text, title)


def _build(
    kind: type, given: Mapping[tuple[str, ...], Any], keys: Mapping[tuple[str, ...], str], *, basis: Any = None
) -> Any:
    """A dataclass from the values of its options, by path from here; what is not given is as `basis` has it."""
    made: dict[str, Any] = {} if basis is None else vars(basis).copy()
    for field in dataclasses.fields(kind):
        inside, below = (
            {path[1:]: one for path, one in paths.items() if path[0] == field.name} for paths in (given, keys)
        )
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if () in inside:
            made[field.name] = inside[()]
        elif required and () in below:
            raise ConfigError(Setting(below[()]), " is missing")
        elif inside or required:
            # What some options of a stage change may depend on what was built before it.
            find = getattr(kind, "basis", None)
            made[field.name] = _build(
                rules_of(kind)[field.name].kind, inside, below, basis=find and find(field.name, made)
            )
    try:
        return kind(**made)
    except ConfigError as error:
        # The stage knows its fields, not their keys.
        long = {path[0]: key for path, key in keys.items() if len(path) == 1}
        parts = [
            dataclasses.replace(part, name=long.get(part.name, part.name)) if isinstance(part, Setting) else part
            for part in error.args
        ]
        raise type(error)(*parts) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(_one_line(error)) from error


def _convert(rule: Rule, value: Any, name: str) -> Any:
    if rule.optional and (value in (None, "null") or (value == "none" and (rule.choices or rule.kind is not str))):
        return None
    if rule.choices:
        # YAML reads on and off as true and false.
        if isinstance(value, bool) and (word := "on" if value else "off") in rule.choices:
            value = word
        chosen = next((choice for choice in rule.choices if isinstance(value, str) and str(choice) == value), value)
        rule.check(name, chosen)
        return chosen
    kind = rule.kind
    try:
        if rule.is_time and isinstance(value, str):
            return rule.from_text(name, value)
        # Not isinstance: True is an int. A Path is always of a subclass.
        if kind is Any or type(value) is kind or (kind is Path and isinstance(value, Path)):
            return value
        if kind in (int, float, str, Path, bool):
            # PyYAML reads 1e-3 as text, and flags are text anyway.
            if (isinstance(value, str) and kind is not bool) or (kind is float and type(value) is int):
                if kind is Path and not value:
                    # Python takes it for the working folder.
                    raise ConfigError(Setting(name), " must not be empty: give a path")
                return kind(value)
        else:
            if isinstance(value, str) and rule.items is not None and not value.strip(" ,"):
                raise ConfigError(Setting(name), " is empty: leave it out, or name one or several with commas between")
            loaded = yaml.load(value, _Loader) if isinstance(value, str) else value
            numbers = get_origin(kind) is tuple and all(
                Rule.of(one).kind in (int, float) for one in get_args(kind) if one is not Ellipsis
            )
            choices = () if rule.items is None else rule.items.choices
            if isinstance(loaded, str) and (numbers or choices):
                loaded = [word.strip() for word in loaded.split(",")]
            elif isinstance(value, str) and numbers and ... in get_args(kind) and isinstance(loaded, (int, float)):
                loaded = [loaded]
            return _convert_nested(kind, loaded, name, sample=(1, 2) if numbers else tuple(choices[:2]))
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(Setting(name), f" must be {rule.expected}, got {value!r}") from error
    raise ConfigError(Setting(name), f" must be {rule.expected}, got {value!r}")


def _convert_nested(kind: Any, value: Any, name: str, *, sample: tuple[Any, ...] = ()) -> Any:
    """A list, a mapping, or options in a list; a sample is what may stand with commas between on the command line."""
    if dataclasses.is_dataclass(kind):
        if isinstance(value, kind):  # type: ignore[arg-type]
            return value
        if not isinstance(value, dict):
            known = ", ".join(option.key for option in options_of(cast(type, kind)))
            raise ConfigError(Setting(name), f" must hold options ({known}), got {value!r}")
        return resolve(cast(type, kind), _flat(cast(type, kind), value))
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            such = Setting("", sample or "[a, b]")
            raise ConfigError(Setting(name), " must be a list such as ", such, f", got {value!r}")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) != len(value):
            raise ConfigError(Setting(name), f" must be a list of {len(kinds)}, got {len(value)}")
        return tuple(_item(one, item, name, place) for place, (one, item) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(Setting(name), f" must be a mapping such as {{a: 1}}, got {value!r}")
        rules = [Rule.of(one) for one in inner]
        return {_convert(rules[0], key, name): _convert(rules[1], item, name) for key, item in value.items()}
    raise TypeError(f"an option cannot be of the type {kind}")


def _item(kind: Any, value: Any, name: str, place: int) -> Any:
    try:
        return _convert(Rule.of(kind), value, name)
    except ConfigError as error:
        if not dataclasses.is_dataclass(kind):
            raise
        raise ConfigError(Setting(name), f"[{place}]: {error.spelled(as_key)}") from error


class _Loader(yaml.SafeLoader):
    """YAML in which no key may stand twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in keys.items():
            if count > 1:
                second = [one for one, _ in node.value if one.value == key][1]
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", second.start_mark)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[Any, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        not_yaml = "" if isinstance(error, yaml.constructor.ConstructorError) else "not YAML: "
        raise ConfigError(f"{path}{where}: {not_yaml}{error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {_one_line(error)}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}; expected lines of the form `option: value`")
    return values


def _flat(kind: type, tree: Mapping[Any, Any], stage: tuple[str, ...] = ()) -> dict[str, Any]:
    """The options in nested mappings, by key."""
    options = [option for option in options_of(kind) if option.path[: len(stage)] == stage]
    names = {option.path[-1]: option for option in options if len(option.path) == len(stage) + 1}
    if not stage:
        names = {option.key: option for option in options} | {".".join(option.path): option for option in options}
    stages = {option.path[len(stage)] for option in options if len(option.path) > len(stage) + 1}
    values: dict[str, Any] = {}
    for key, value in tree.items():
        # A stage and an option may share a name (model): the stage is the one that holds a mapping.
        if key in stages and (isinstance(value, dict) or (value is None and key not in names)):
            inside = _flat(kind, value or {}, (*stage, key))
        elif key in names:
            inside = {names[key].key: value}
        elif key in stages:
            named = Setting(".".join([*stage, key]))
            raise ConfigError(named, f" must hold options, a line each (`option: value`), got {value!r}")
        else:
            known = sorted({*stages, *(names if stage else (option.key for option in options))})
            near = difflib.get_close_matches(str(key), known, n=1)
            meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"unknown key {'.'.join([*stage, str(key)])!r}; {meant}")
        for name in inside:
            if name in values:
                raise ConfigError(f"{name!r} is given twice, at the top and under its stage")
        values |= inside
    return values


@functools.cache
def _attribute_docstrings(kind: type) -> Mapping[str, str]:
    """Field name to the string literal below it, in one line; of the classes it inherits from, too."""
    found: dict[str, str] = {}
    for owner in reversed([one for one in kind.__mro__ if dataclasses.is_dataclass(one)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for pair in itertools.pairwise(statements):
            match pair:
                case (ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text)))):
                    found[name] = " ".join(text.split())
    return found


def _help(option: Option) -> str:
    # Python's None is the command line's none.
    text = re.sub(r"\bNone\b", "none", option.help).replace("`", "").replace("%", "%%")
    notes = [] if option.rule.range is None else [str(option.rule.range)]
    if option.default not in (None, dataclasses.MISSING, (), {}, "") and "default:" not in text:
        default = ("no", "yes")[option.default] if option.rule.kind is bool else option.default
        notes.append(f"default: {default}")
    if not notes:
        return text
    return f"{text if text.endswith('...') else text.removesuffix('.')} ({'; '.join(notes)})"


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
