"""A sequence of a data set in, a digest of all that it is made of out; no picture and no label is read for it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import numpy as np

__all__ = ["Fingerprints"]

_PLAIN = (bool, int, float, complex, str, bytes, Fraction, type(None))

_Given = tuple[Path, ...]
"""Files that a function was given."""


class Fingerprints:
    """Digests of what lies on disk now; each file is looked at once.

    Files count by their names, sizes and times, folders by the files directly in them that are not hidden, arrays by
    their values, objects by their fields, functions by what they hold on to. What an object keeps for later (cached
    properties, caches of functions, fields that it makes itself) does not count. Of a list or table of many files that
    goes with a function, only what belongs to the file counts that the function was given.

    Example:
        >>> Fingerprints().of([1, 2]) == Fingerprints().of([1, 2]) != Fingerprints().of([1, 3])
        True
    """

    def __init__(self) -> None:
        self._files: dict[Path, bytes] = {}
        self._known: dict[tuple[int, _Given], tuple[Any, bytes]] = {}  # the object too, lest its id is given again
        self._under_way: set[int] = set()
        self._circles = 0

    def of(self, *parts: Any) -> str:
        """The digest of some objects, 64 hexadecimal digits."""
        return _digest(self._walk(part, ()) for part in parts).hex()

    def _walk(self, value: Any, given: _Given) -> bytes:
        if isinstance(value, Path):
            if value not in self._files:
                self._files[value] = _digest(_on_disk(value))
            return self._files[value]
        if isinstance(value, _PLAIN):
            return f"{type(value).__name__} {value!r}".encode()
        place = id(value), given
        if place in self._known:
            return self._known[place][1]
        if id(value) in self._under_way:
            self._circles += 1
            return b"again"
        circles = self._circles
        self._under_way.add(id(value))
        found = _digest(self._parts(value, given))
        self._under_way.discard(id(value))
        # In a circle the digest depends on where it was entered.
        if circles == self._circles:
            self._known[place] = value, found
        return found

    def _parts(self, value: Any, given: _Given) -> Iterator[bytes]:
        yield _name_of(type(value))
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                yield self._walk(value.tolist(), given)
            else:
                yield f"{value.dtype} {value.shape} {zlib.crc32(value.tobytes()):08x}".encode()
        elif isinstance(value, np.generic):
            yield self._walk(value.item(), given)
        elif isinstance(value, Mapping):
            own: list[Any] = [key for path in given for key in (path, path.stem) if key in value]
            yield from sorted(
                _digest((self._walk(key, given), self._walk(value[key], given))) for key in own or list(value)
            )
        elif isinstance(value, list | tuple):
            files = bool(given) and all(isinstance(each, Path) for each in value)
            own = [place for place, each in enumerate(value) if each in given] if files else []
            if own:
                yield f"{own} of {len(value)}".encode()
            else:
                yield from (self._walk(each, given) for each in value)
        elif isinstance(value, set | frozenset):
            yield from sorted(self._walk(each, given) for each in value)
        elif isinstance(value, functools.partial):
            given = (*given, *(each for each in (*value.args, *value.keywords.values()) if isinstance(each, Path)))
            yield from (self._walk(each, given) for each in (value.func, *value.args, list(value.keywords.items())))
        elif isinstance(value, MethodType):
            yield from (self._walk(each, given) for each in (value.__func__, value.__self__))
        elif isinstance(value, FunctionType):
            yield _name_of(value)
            named = list((value.__kwdefaults__ or {}).items())
            yield from (self._walk(each, given) for each in (value.__defaults__, named))
            yield from (self._walk(cell.cell_contents, given) for cell in value.__closure__ or () if _is_filled(cell))
        elif isinstance(getattr(value, "__wrapped__", None), FunctionType):
            yield self._walk(value.__wrapped__, given)
        elif hasattr(value, "__qualname__"):
            yield _name_of(value)
        elif dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                if field.init:
                    yield field.name.encode()
                    yield self._walk(getattr(value, field.name), given)
        else:
            yield self._walk(sorted(getattr(value, "__dict__", {}).items()), given)


def _digest(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _on_disk(path: Path) -> Iterator[bytes]:
    """A file's name, size and time; of a folder those of the files directly in it."""
    yield path.name.encode(errors="surrogateescape")
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            yield f"{status.st_size} {status.st_mtime_ns}".encode()
            return
        with os.scandir(path) as entries:
            files = [(each.name, each.stat()) for each in entries if each.name[0] != "." and each.is_file()]
    except OSError as error:
        yield f"{type(error).__name__}".encode()
        return
    for name, status in sorted(files, key=lambda file: file[0]):
        yield f"{name} {status.st_size} {status.st_mtime_ns}".encode(errors="surrogateescape")


def _name_of(value: Any) -> bytes:
    return f"{value.__module__}.{value.__qualname__}".encode()


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False
