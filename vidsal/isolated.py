"""A function that reads a file, and the file, in; what it read out, read in a process of its own.

Libraries in C that parse files (HDF5, MATLAB's) may crash, never end or take all memory over a damaged or hostile
one. There that ends a process that does nothing else, and is an error here. It is no sandbox: the process has the
user's rights.

One process serves all files. Arrays come back as raw bytes and the rest as JSON: nothing is unpickled.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import importlib
import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

import numpy as np

from vidsal import errors
from vidsal.errors import VidsalError

__all__ = ["MEMORY_BYTES", "read_isolated", "serve"]

MEMORY_BYTES = 4 << 30
"""What the process may take, where the system can limit it, and what an answer may hold."""

_HEADER_BYTES = 256 << 20
_LENGTH = struct.Struct("<Q")
_NUMBERS_AND_TEXTS = "biufcSU"
_SERVE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from vidsal.isolated import serve; serve()"


def read_isolated(
    read: Callable[..., Any], path: Path, *arguments: str, failure: type[VidsalError], seconds: float = 120.0
) -> Any:
    """Call `read(path, *arguments)` in a process of its own.

    Args:
        read: a function of a module, which may be imported by name. It returns arrays of numbers or texts, object
            arrays (MATLAB's cells) and structured ones of these, texts, and lists, tuples and dicts of all of them.
        path: the file.
        arguments: further arguments.
        failure: what to raise where reading ends the process.
        seconds: how long it may take.

    Returns:
        What `read` returned, tuples as lists.

    Raises:
        VidsalError: as `read` does; `failure` where reading crashes, takes too long or too much memory, or gives
            something that is none of the above.
    """
    request = {
        "module": read.__module__,
        "name": read.__qualname__,
        "path": str(path),
        "arguments": arguments,
        "seconds": seconds,
    }
    worker = _workers.setdefault(os.getpid(), _Worker())
    try:
        return worker.ask(request)
    except _Died as died:
        raise failure(f"{path} cannot be read: {died}; it is damaged or made to do harm, copy it again") from died


class _Died(Exception):  # noqa: N818 (what the caller asked for is raised in its place)
    """There is no answer; says why."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again
        """Whether another process may do better."""


class _Worker:
    """The process, started when first needed and again after its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any]) -> Any:
        """The answer to a request.

        Raises:
            VidsalError: what reading raised.
            _Died: there is no answer.
        """
        with self._lock:
            is_fresh = self._process is None
            try:
                return self._ask(request)
            except _Died as died:
                # Files before this one may have harmed it; only a new process shows which is at fault.
                if is_fresh or not died.again:
                    raise
                return self._ask(request)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            process.wait()

    def _ask(self, request: dict[str, Any]) -> Any:
        begin = time.monotonic()
        answered = False
        try:
            process = self._process = self._process or _start()
            to, back = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
            try:
                _send(to, request)
                answer = _receive(back)
            except (EOFError, BrokenPipeError):
                raise _end_of(process, time.monotonic() - begin, request["seconds"]) from None
            except (
                ArithmeticError,
                AttributeError,
                LookupError,
                MemoryError,
                RecursionError,
                TypeError,
                ValueError,
            ) as error:
                raise _Died(f"what it holds cannot be taken over ({error or type(error).__name__})") from error
            answered = "fatal" not in answer
        finally:
            # A process that was left in the middle of an answer cannot be asked again.
            if not answered:
                self.close()
        if "fatal" in answer:
            raise _Died(str(answer["fatal"]))
        if "error" in answer:
            raise _error_of(answer)
        return answer["value"]


_workers: dict[int, _Worker] = {}
"""By the process that asks: after a fork the child has its own."""


@atexit.register
def _close() -> None:
    worker = _workers.pop(os.getpid(), None)
    if worker is not None:
        worker.close()


def _start() -> subprocess.Popen[bytes]:
    # One thread is enough, and the memory that others reserve counts. HDF5 loads no plugins that a file asks for.
    quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | quiet,
        )
    except OSError as error:
        raise _Died(f"no process can be started for it ({error.strerror})") from error


def _end_of(process: subprocess.Popen[bytes], took: float, seconds: float) -> _Died:
    status = process.wait()
    if took >= seconds:
        return _Died(f"it takes more than {seconds:g} s")
    how = f"status {status}"
    if status < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-status).name
    return _Died(f"the library that reads it crashed ({how})", again=True)


def _error_of(answer: dict[str, Any]) -> VidsalError:
    kind = getattr(errors, str(answer["error"]), VidsalError)
    is_ours = isinstance(kind, type) and issubclass(kind, VidsalError)
    return (kind if is_ours else VidsalError)(str(answer["said"]))


# The other side.


def serve() -> NoReturn:
    """Answer requests from standard input until it ends: what the process does."""
    # Ctrl-C is the business of the process that asks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory()
    back = os.fdopen(os.dup(1), "wb")
    # What a library prints is no answer.
    os.dup2(2, 1)
    with Path(os.devnull).open("w") as nowhere:
        while True:
            try:
                request = _receive_header(sys.stdin.buffer)
            except EOFError:
                sys.exit(0)
            # Ends the process wherever it is, in C too.
            faulthandler.dump_traceback_later(request["seconds"], exit=True, file=nowhere)
            header, buffers = _answer(request, back)
            faulthandler.cancel_dump_traceback_later()
            _send(back, header, buffers)


def _answer(request: dict[str, Any], back: BinaryIO) -> tuple[dict[str, Any], list[Any]]:
    buffers: list[Any] = []
    try:
        read = getattr(importlib.import_module(request["module"]), request["name"])
        tree = _packed(read(Path(request["path"]), *request["arguments"]), buffers)
    except VidsalError as error:
        return {"error": type(error).__name__, "said": str(error)}, []
    except BaseException as error:
        said = " ".join(str(error).split())
        _send(back, {"fatal": f"{type(error).__name__}: {said}" if said else type(error).__name__})
        raise
    return {"value": tree}, buffers


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# What goes between them: the length of a header, the header as JSON, and the bytes of the arrays that it names.


def _send(stream: BinaryIO, header: dict[str, Any], buffers: list[Any] | None = None) -> None:
    text = json.dumps(header).encode()
    stream.write(_LENGTH.pack(len(text)))
    stream.write(text)
    for buffer in buffers or ():
        stream.write(buffer)
    stream.flush()


def _receive_header(stream: BinaryIO) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > _HEADER_BYTES:
        raise ValueError(f"{length} bytes beside its arrays")
    header = json.loads(_exactly(stream, length))
    if not isinstance(header, dict):
        raise TypeError("no answer")
    return header


def _receive(stream: BinaryIO) -> dict[str, Any]:
    header = _receive_header(stream)
    if "value" in header:
        header["value"] = _unpacked(header["value"], stream, [MEMORY_BYTES])
    return header


def _exactly(stream: BinaryIO, length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


def _packed(value: Any, buffers: list[Any]) -> dict[str, Any]:
    """A value as JSON can hold it; the bytes of its arrays are added to `buffers`."""
    if isinstance(value, dict):
        return {"dict": {str(name): _packed(one, buffers) for name, one in value.items()}}
    if isinstance(value, list | tuple):
        return {"list": [_packed(one, buffers) for one in value]}
    if isinstance(value, str):
        return {"text": value}
    array = np.asarray(value)
    shape = list(array.shape)
    if array.dtype.names is not None:
        columns = {name: [_packed(one, buffers) for one in array[name].ravel()] for name in array.dtype.names}
        return {"fields": columns, "shape": shape}
    if array.dtype == object and array.shape == () and not isinstance(value, np.ndarray):
        raise TypeError(f"a {type(value).__name__}")
    if array.dtype == object:
        return {"cells": [_packed(one, buffers) for one in array.ravel()], "shape": shape}
    if array.dtype.kind not in _NUMBERS_AND_TEXTS:
        raise TypeError(f"an array of {array.dtype}")
    if array.nbytes:
        buffers.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return {"dtype": array.dtype.str, "shape": shape}


def _unpacked(tree: Any, stream: BinaryIO, room: list[int]) -> Any:
    """The value again; `room` is how many bytes there may still be."""
    if "dict" in tree:
        return {str(name): _unpacked(one, stream, room) for name, one in tree["dict"].items()}
    if "list" in tree:
        return [_unpacked(one, stream, room) for one in tree["list"]]
    if "text" in tree:
        return str(tree["text"])
    shape = tuple(int(side) for side in tree["shape"])
    if any(side < 0 for side in shape):
        raise ValueError(f"an array of shape {shape}")
    if "fields" in tree:
        columns = {str(name): _objects(ones, shape, stream, room) for name, ones in tree["fields"].items()}
        record = np.empty(shape, [(name, object) for name in columns])
        for name, column in columns.items():
            record[name] = column
        return record
    if "cells" in tree:
        return _objects(tree["cells"], shape, stream, room)
    dtype = np.dtype(str(tree["dtype"]))
    if dtype.kind not in _NUMBERS_AND_TEXTS:
        raise TypeError(f"an array of {dtype}")
    size = math.prod(shape) * dtype.itemsize
    room[0] -= size
    if room[0] < 0:
        raise ValueError(f"more than {MEMORY_BYTES} bytes")
    content = bytearray(size)
    view, filled = memoryview(content), 0
    while filled < size:
        count = cast(Any, stream).readinto(view[filled:])
        if not count:
            raise EOFError
        filled += count
    return np.frombuffer(content, dtype).reshape(shape)


def _objects(trees: list[Any], shape: tuple[int, ...], stream: BinaryIO, room: list[int]) -> Any:
    if len(trees) != math.prod(shape):
        raise ValueError(f"{len(trees)} cells of a shape {shape}")
    flat = np.empty(len(trees), object)
    for place, one in enumerate(trees):
        flat[place] = _unpacked(one, stream, room)
    return flat.reshape(shape)
