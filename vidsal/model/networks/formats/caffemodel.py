"""A Caffe model's file in, the blobs of its layers out: of the message only the layers' names and blobs are read."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidsal.errors import CheckpointError

__all__ = ["read_caffemodel"]

_Array = npt.NDArray[np.float32]
_MOST_BYTES = 1 << 30


def read_caffemodel(path: Path) -> dict[str, list[_Array]]:
    """The blobs of each layer that has some, of a Caffe model's file, old or new.

    Raises:
        CheckpointError: the file is missing, damaged or none of that kind.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise CheckpointError(f"{path}: {size} bytes; no published file has more than {_MOST_BYTES}")
        content = memoryview(path.read_bytes())
        layers: dict[str, list[_Array]] = {}
        for field, value in _fields(content):
            # NetParameter: layer = 100, in files before 2015 layers = 2.
            if field in (100, 2) and isinstance(value, memoryview):
                name, blobs = _layer(value, *((1, 7) if field == 100 else (4, 6)))
                if blobs:
                    layers[name] = blobs
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, IndexError, struct.error) as error:
        raise CheckpointError(f"{path}: not a .caffemodel, or damaged ({error})") from error
    if not layers:
        raise CheckpointError(f"{path}: not a .caffemodel, or one without weights")
    return layers


def _layer(content: memoryview, name_field: int, blobs_field: int) -> tuple[str, list[_Array]]:
    name, blobs = "", []
    for field, value in _fields(content):
        if isinstance(value, memoryview):
            if field == name_field:
                name = bytes(value).decode("utf-8", "replace")
            elif field == blobs_field:
                blobs.append(_blob(value))
    return name, blobs


def _blob(content: memoryview) -> _Array:
    """BlobProto: num, channels, height, width = 1 to 4, data = 5, shape = 7 with dim = 1."""
    old: dict[int, int] = {}
    shape: list[int] | None = None
    parts: list[_Array] = []
    for field, value in _fields(content):
        if isinstance(value, int) and 1 <= field <= 4:
            old[field] = value
        elif isinstance(value, memoryview) and field == 5:
            parts.append(np.frombuffer(value, "<f4").astype(np.float32))
        elif isinstance(value, memoryview) and field == 7:
            shape = []
            for inner, dimension in _fields(value):
                if inner == 1:
                    shape += [dimension] if isinstance(dimension, int) else list(_varints(dimension))
    sides = shape if shape is not None else [old.get(place, 1) for place in range(1, 5)]
    data = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if data.size != math.prod(sides):
        raise ValueError(f"a blob of {sides} holds {data.size} numbers")
    return data.reshape(sides)


def _fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message: varints as they are, all else as bytes."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(content, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + length > len(content):
            raise ValueError(f"it ends early, at byte {len(content)}")
        yield key >> 3, content[at : at + length]
        at += length


def _varints(content: memoryview) -> Iterator[int]:
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError(f"a number without an end at byte {at}")
