"""What a batch is given in, every input in it out: folders searched through, files, and lists with options a file."""

from __future__ import annotations

import csv
import difflib
import fnmatch
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from vidsal.batch.address import names_below
from vidsal.batch.database import Listed
from vidsal.config import options_of
from vidsal.decode.source import source_of
from vidsal.errors import ConfigError, DecodeError, Setting
from vidsal.files import is_folder, short_name
from vidsal.pipe.options import RunOptions
from vidsal.pipe.places import names_of
from vidsal.pipe.record import is_result

__all__ = ["VIDEO_ENDINGS", "Given", "ListedInputs", "Search", "Shard", "check_inputs", "find_inputs", "read_list"]

VIDEO_ENDINGS = frozenset(
    {
        *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gxf", ".h264", ".h265", ".hevc", ".ismv"),
        *(".ivf", ".lxf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov"),
        *(".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm"),
        *(".rmvb", ".tod", ".trp", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m"),
    }
)
"""Endings of what is taken from a folder when nothing else is said."""

_ROOM = 40
"""Bytes that the longest ending of a result takes, with those of its partial file and its lock."""
_SHORT_NAME = 100
"""Bytes that fit every file system together with them."""
_COLUMNS_OF_A_LIST = ("path", "tags")
_SHORT_COLUMNS = ("start", "end")
_TAKEN = ("dataset", ".vidsal-batch")
"""Folders that a batch has for itself among the results; an input's folder of that name gets another one there."""
_OF_A_BATCH = re.compile(
    r"batch(\.shard-\d+-of-\d+)?\.(csv|json)|dataset/(_index\.sqlite(-wal|-shm)?|(frames|shots)/.*\.parquet)"
)
"""What a batch leaves in its folder beside the results of each input."""


@dataclass(frozen=True)
class Given:
    """What a command names."""

    inputs: tuple[str, ...] = ()
    """Folders, files and addresses."""
    listed: Iterable[Mapping[str, Any]] = ()
    """Lines of a list: "path", and options by name; "tags". They are gone through twice."""
    include: tuple[str, ...] = ()
    """Patterns of names to take from folders; none: `VIDEO_ENDINGS`."""
    exclude: tuple[str, ...] = ()
    """Patterns of names, or of paths below the folder, to leave out."""
    output: str = ""
    """The folder of all results, which is not searched."""
    list_name: str = ""
    """The list that `listed` comes from."""
    null: bool = False
    """Whether its paths end in a null character."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; of a list its name."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "listed"}


@dataclass
class Search:
    """What a search came upon and left."""

    other_kinds: Counter[str] = field(default_factory=Counter)
    """Files whose ending is no video's, by ending."""
    results: int = 0
    """Results of earlier runs, and what else a batch has written."""
    hidden: int = 0
    """Files and folders whose name begins with a dot."""
    excluded: int = 0
    """Files and folders that a pattern leaves out."""
    twice: int = 0
    """Inputs named more than once."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Folders that could not be searched, and why."""

    def left_out(self) -> str:
        """What was left out, in words with a colon before them; empty where nothing was."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.other_kinds.most_common(5))
        parts = {
            f"of other kinds ({kinds}; --include takes them)": self.other_kinds.total(),
            "results of earlier runs": self.results,
            "hidden": self.hidden,
            "excluded": self.excluded,
        }
        told = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
        return f": left out {told}" if told else ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**vars(self), "other_kinds": dict(self.other_kinds)}


@dataclass(frozen=True)
class Shard:
    """One of several parts of a batch that need not know of each other: which inputs are its own, by their paths.

    Example:
        >>> parts = [Shard(part, 3) for part in (1, 2, 3)]
        >>> [sum(shard.has(f"/in/{n}.mp4") for shard in parts) for n in range(4)]
        [1, 1, 1, 1]
        >>> Shard.of("2/8").name
        'shard-2-of-8'
    """

    number: int
    """From 1."""
    count: int
    """Of all parts."""

    @classmethod
    def of(cls, text: str) -> Shard:
        """From "I/N".

        Raises:
            ConfigError: it is none, or I is not from 1 to N.
        """
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ConfigError(Setting("shard"), f" must be I/N with I from 1 to N, such as 3/16, got {text!r}")
        return cls(int(number), int(count))

    @property
    def name(self) -> str:
        """What its files are called after."""
        return f"shard-{self.number}-of-{self.count}"

    def has(self, path: str) -> bool:
        """Whether an input is its own."""
        digest = hashlib.blake2b(os.fsencode(path), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1


@dataclass(frozen=True)
class _Candidate:
    path: str
    below: str
    """The folder of its results below that of all."""
    bytes: int | None
    modified: str | None
    overrides: Mapping[str, Any]
    tags: Mapping[str, str]
    name: str = ""
    """Of a file that lies elsewhere."""


def check_inputs(
    given: Given, plan: Callable[[Mapping[str, Any]], str], *, check_address: Callable[[str], None] = lambda text: None
) -> None:
    """See that what a command names is there, and that the options of its list are known.

    Args:
        given: what it names.
        plan: as for `find_inputs`.
        check_address: sees of an address whether the place is one that can be asked.

    Raises:
        ConfigError, DecodeError: it is not.
    """
    for text in given.inputs:
        if "://" in text:
            check_address(text)
        elif not is_folder(Path(text)):
            _single(text, os.getcwd(), {}, {}, required=True)
    known = set[str]()
    columns = set[tuple[str, ...]]()
    for line in given.listed:
        if (names := tuple(line)) not in columns:
            columns.add(names)
            _check_columns(names, given)
        overrides = _own(line)
        if "://" in str(line["path"]):
            check_address(str(line["path"]))
        key = json.dumps(overrides, sort_keys=True) if overrides else ""
        if key not in known:
            known.add(key)
            try:
                plan(overrides)
            except ConfigError as error:
                raise ConfigError(*_at(given), f", {line['path']}: ", *error.args) from error


def _at(given: Given) -> tuple[Setting | str, ...]:
    """The line of a list that is gone through."""
    here = Setting("list", given.list_name)
    return (here, f", {given.listed.where}") if isinstance(given.listed, ListedInputs) else (here,)


def _check_columns(names: Sequence[str], given: Given) -> None:
    """See that each name in a line of a list is one of what a list may have."""
    known = {*_COLUMNS_OF_A_LIST, *_SHORT_COLUMNS, *(option.key for option in options_of(RunOptions))}
    for number, name in enumerate(names, 1):
        if name.replace("-", "_") in known:
            continue
        near = difflib.get_close_matches(name.lower().replace("-", "_").replace(" ", "_"), known, n=1)
        what = f"unknown option {name!r}" if name else "it has no name"
        remedy = f"did you mean {near[0]}?" if near else "a list has `path`, `tags` and options of vidsal run by name"
        rows = given.listed
        # Where the first line names the columns, the fault is there.
        at = _at(given)[: 1 if isinstance(rows, ListedInputs) and rows.has_header else None]
        raise ConfigError(*at, f", column {number}: {what}; {remedy}")


def _own(line: Mapping[str, Any]) -> dict[str, Any]:
    """The options in a line of a list."""
    return {key: value for key, value in line.items() if key not in _COLUMNS_OF_A_LIST and value not in ("", None)}


def find_inputs(
    given: Given,
    plan: Callable[[Mapping[str, Any]], str],
    search: Search,
    *,
    remote: Callable[[str], Iterator[Any] | None] | None = None,
) -> Iterator[Listed]:
    """Every input that a command names, in the order of names within each folder.

    The results of what lies in a folder lie in a tree like it. Of several folders or files, those that lie below the
    one that all have in common.

    Args:
        given: what it names.
        plan: options of an input's own in, the hash of all its options and its model out.
        search: is filled with what was left out.
        remote: an address in, the files below it out; None for what is none. None: no address is one of a folder.

    Raises:
        ConfigError: nothing of that name is there, or an option of a list is wrong.
    """
    base = _base(given)
    plans: dict[str, str] = {}
    common = plan({})
    for candidate in _candidates(given, search, base, remote):
        key = json.dumps(candidate.overrides, sort_keys=True) if candidate.overrides else ""
        if key and key not in plans:
            plans[key] = plan(candidate.overrides)
        yield Listed(
            candidate.path,
            _places(candidate),
            candidate.bytes,
            candidate.modified,
            plans[key] if key else common,
            candidate.overrides,
            candidate.tags,
        )


def _candidates(
    given: Given, search: Search, base: str, remote: Callable[[str], Iterator[Any] | None] | None
) -> Iterator[_Candidate]:
    for text in given.inputs:
        found = remote(text) if remote is not None else None
        if found is not None:
            yield from _remote(text, found, given, search)
        elif is_folder(Path(text)):
            yield from _in_folder(Path(os.path.abspath(text)), base, given, search)
        else:
            yield _single(text, base, {}, {}, required=True)
    for line in given.listed:
        yield _single(str(line["path"]), base, _own(line), _tags(line.get("tags")), required=False)


def _remote(text: str, found: Iterator[Any], given: Given, search: Search) -> Iterator[_Candidate]:
    for one in found:
        names = names_below(one.path, text)
        below = "/".join(names)
        if any(part.startswith(".") for part in names):
            search.hidden += 1
        elif len(names) > 1 or one.path.rstrip("/") != text.rstrip("/"):
            if not _is_left_out(names[-1], below, given, search):
                yield _Candidate(one.path, below.rpartition("/")[0], one.bytes, one.modified, {}, {}, names[-1])
        else:
            yield _Candidate(one.path, "", one.bytes, one.modified, {}, {}, names[-1] if names else "")


def _in_folder(folder: Path, base: str, given: Given, search: Search) -> Iterator[_Candidate]:
    own = os.path.abspath(given.output) if given.output else ""
    among = False  # whether the results lie in the very folder that is searched
    waiting = [str(folder)]
    seen: set[tuple[int, int]] = set()
    with suppress(OSError):
        # Also where a link leads there.
        among = bool(own) and os.path.samefile(own, folder)
        if own and not among:
            status = os.stat(own)
            seen.add((status.st_dev, status.st_ino))
    # Links to folders come last, so that what they lead to has its own name where that is found too.
    links: deque[str] = deque()
    while waiting or links:
        here = waiting.pop() if waiting else links.popleft()
        try:
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in seen:
                continue  # a link to a folder above, or to one that was searched
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(here) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            search.problems.append((here, error.strerror or str(error)))
            # As an input that fails it is in the account, until it can be searched.
            yield _Candidate(here, os.path.relpath(os.path.dirname(here), base), None, None, {}, {})
            continue
        below = os.path.relpath(here, base)
        inner = "" if here == str(folder) else f"{os.path.relpath(here, folder)}{os.sep}"
        inside: list[str] = []
        for entry in entries:
            relative = inner + entry.name
            if entry.name.startswith("."):
                search.hidden += 1
            elif _is_dir(entry):
                if _matches(entry.name, relative, given.exclude):
                    search.excluded += 1
                else:
                    (links if entry.is_symlink() else inside).append(entry.path)
            elif (among and _OF_A_BATCH.fullmatch(relative)) or (
                ".vidsal." in entry.name and is_result(Path(entry.path))
            ):
                search.results += 1
            elif not _is_left_out(entry.name, relative, given, search):
                found = _status(entry)
                if found is not None:
                    yield _Candidate(entry.path, below, *found, {}, {})
        waiting += reversed(inside)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _status(entry: os.DirEntry[str]) -> tuple[int | None, str | None] | None:
    """Size and time; None for a pipe or a device, which no search should wait for."""
    try:
        if not entry.is_file():
            # A link that leads nowhere is a loss that should be heard of.
            return (None, None) if entry.is_symlink() and not os.path.exists(entry.path) else None
        found = entry.stat()
    except OSError:
        return None, None
    return found.st_size, _time(found.st_mtime)


def _is_left_out(name: str, relative: str, given: Given, search: Search) -> bool:
    if _matches(name, relative, given.exclude):
        search.excluded += 1
        return True
    if given.include:
        taken = _matches(name, relative, given.include)
    else:
        taken = os.path.splitext(name)[1].lower() in VIDEO_ENDINGS
    if not taken:
        search.other_kinds[os.path.splitext(name)[1].lower() or name] += 1
    return not taken


def _matches(name: str, relative: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern is that of a name, or of a path below the folder; without regard to case."""
    if not patterns:
        return False
    small, whole = name.lower(), relative.replace(os.sep, "/").lower()
    return any(
        fnmatch.fnmatchcase(small, pattern.lower()) or fnmatch.fnmatchcase(whole, pattern.lower().rstrip("/"))
        for pattern in patterns
    )


def _single(
    text: str, base: str, overrides: Mapping[str, Any], tags: Mapping[str, str], *, required: bool
) -> _Candidate:
    try:
        source = source_of(text)
    except DecodeError:
        # Shown by the attempt, unless a command names it.
        if required:
            raise
        return _Candidate(text, "", None, None, overrides, tags)
    if source.kind == "stdin" or source.camera is not None or source.live:
        raise ConfigError(f"{source.name} has no end: a batch takes files; use vidsal run")
    if source.path is None:
        return _Candidate(text, "", None, None, overrides, tags)
    path = os.path.abspath(source.path)
    below = os.path.relpath(os.path.dirname(path), base)
    try:
        found = os.stat(path)
    except OSError:
        if required and not os.path.lexists(path):
            raise ConfigError(f"there is no file or folder {text}") from None
        return _Candidate(path, below, None, None, overrides, tags)
    size = None if is_folder(Path(path)) else found.st_size
    return _Candidate(path, below, size, _time(found.st_mtime), overrides, tags)


def _base(given: Given) -> str:
    """The folder that the tree of the results mirrors."""
    folders: dict[str, None] = {}
    for text in given.inputs:
        if is_folder(Path(text)):
            folders[os.path.abspath(text)] = None
        elif "://" not in text:
            folders[os.path.dirname(os.path.abspath(text))] = None
    for line in given.listed:
        text = str(line["path"])
        if "://" not in text:
            folders[os.path.dirname(os.path.abspath(text))] = None
    return os.path.commonpath(folders) if folders else os.getcwd()


def _places(candidate: _Candidate) -> tuple[str, ...]:
    """What the results may be called: after the input without its ending, with it, and with a part of its hash."""
    below = "" if candidate.below in ("", ".") else candidate.below.replace(os.sep, "/") + "/"
    below = below.replace("../", "")
    if below.partition("/")[0].casefold() in _TAKEN:
        top, _, rest = below.partition("/")
        below = f"{top}_/{rest}"
    if candidate.name:
        stem, whole = os.path.splitext(candidate.name)[0], candidate.name
    elif "://" in candidate.path:
        stem, whole = names_of(candidate.path)
    else:
        whole = os.path.basename(candidate.path)
        stem = whole if candidate.bytes is None and is_folder(Path(candidate.path)) else os.path.splitext(whole)[0]
    mark = hashlib.sha256(os.fsencode(candidate.path)).hexdigest()[:8]
    names = [stem, whole, f"{whole}-{mark}"]
    if len(os.fsencode(names[-1])) > _SHORT_NAME:
        names = [short_name(name, Path(), room=_ROOM) for name in names]
    return tuple(dict.fromkeys(f"{below}{name}" for name in names))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _tags(value: Any) -> dict[str, str]:
    """Tags as JSON, as a mapping, or as "name=value, other"."""
    if value in (None, ""):
        return {}
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = json.loads(value)
    if isinstance(value, Mapping):
        return {str(key): str(one) for key, one in value.items()}
    parts = [part.strip() for part in str(value).replace(";", ",").split(",")]
    return {name.strip(): one.strip() for name, _, one in (part.partition("=") for part in parts if part)}


class ListedInputs:
    """The lines of a list, read anew each time they are gone through: a list may hold a million."""

    def __init__(self, name: str, *, zero: bool) -> None:
        """See `read_list`."""
        self._name = name
        self._zero = zero
        self._suffix = "" if name == "-" else Path(name).suffix.lower()
        self.where = "line 1"
        """The line that was given out last."""
        self.has_header = self._suffix in (".csv", ".parquet") and not zero
        """Whether the columns have their names from its head."""
        self._spooled: IO[bytes] | None = None
        if name == "-":
            self._spooled = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the list)
            weakref.finalize(self, self._spooled.close)
            shutil.copyfileobj(sys.stdin.buffer, self._spooled)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Each line as a mapping, with "path" and whatever else it says.

        Raises:
            ConfigError: as `read_list`.
        """
        here = Setting("list", self._name)
        self.where = "line 1"
        try:
            for number, row in self._rows():
                self.where = f"{'row' if self._suffix == '.parquet' else 'line'} {number}"
                if not isinstance(row, dict) or not row.get("path"):
                    raise ConfigError(here, f", {self.where}, has no `path`", _hint(row))
                if None in row:
                    count = len(row) - 1
                    more = f", {self.where}, has {count + len(row[None])} fields, and there are {count} columns"
                    raise ConfigError(here, more, ': put a field with a comma in it between double quotes (")')
                yield row
        except OSError as error:
            raise ConfigError(here, f" cannot be read: {error.strerror}") from error
        except (ValueError, csv.Error) as error:
            raise ConfigError(here, f", {self.where}, is not what its ending says: {error}") from error

    def _rows(self) -> Iterator[tuple[int, Any]]:
        """Each line with its number, from 1."""
        if self._suffix == ".parquet" and self.has_header:
            yield from enumerate(_parquet_rows(self._name), 1)
        elif self.has_header:
            with Path(self._name).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
                reader = csv.DictReader(text)
                for row in reader:
                    yield reader.line_num, row
        else:
            with self._open() as file:
                for number, line in _split(file, b"\0" if self._zero else b"\n"):
                    self.where = f"line {number}"
                    if self._suffix in (".jsonl", ".ndjson") and not self._zero:
                        yield number, json.loads(line)
                    else:
                        yield number, {"path": os.fsdecode(line if self._zero else line.removesuffix(b"\r"))}

    def _open(self) -> AbstractContextManager[IO[bytes]]:
        if self._spooled is None:
            return Path(self._name).open("rb")
        self._spooled.seek(0)
        return nullcontext(self._spooled)


def read_list(name: str, *, zero: bool) -> ListedInputs:
    """The lines of a list.

    Args:
        name: a file; its ending says what it is: .csv, .jsonl or .parquet with a column `path`, anything else one path
            a line. "-" is standard input, with one path a line.
        zero: paths end in a null character, not at the end of a line.

    Raises:
        ConfigError: it cannot be read, or has no column `path`; also while it is gone through.
    """
    listed = ListedInputs(name, zero=zero)
    next(iter(listed), None)
    return listed


def _hint(row: Any) -> str:
    """What may be wrong with a line that has no path."""
    if not isinstance(row, dict) or "path" in row:
        return ""
    names = [name for name in row if isinstance(name, str)]
    for mark, called in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and "path" in names[0].lower().split(mark):
            return f": its columns are separated by {called}, and have to be by commas; save it so"
    near = [name for name in names if name.strip().lower() in ("path", "file", "filename", "filepath", "name", "video")]
    meant = f"; call {near[0]!r} so" if near else ""
    return f": its columns are {', '.join(names)}{meant}"


def _split(file: IO[bytes], end: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers."""
    left = b""
    number = 0
    while piece := file.read(1 << 16):
        *whole, left = (left + piece).split(end)
        for line in whole:
            number += 1
            if line.strip():
                yield number, line
    if left.strip():
        yield number + 1, left


def _parquet_rows(name: str) -> Iterator[Any]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(Setting("list", name), " needs pyarrow: pip install 'vidsal[parquet]'") from error
    with pyarrow.parquet.ParquetFile(name) as file:
        for batch in file.iter_batches(batch_size=10_000):
            yield from batch.to_pylist()
