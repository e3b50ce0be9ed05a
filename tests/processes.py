"""Python code in processes of its own that are forked off one which has imported torch and vidsal.

A new interpreter takes two seconds for these imports. What a test wants to know of an interpreter's start or end, it
has to ask a new one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

COMMAND = "import made, sys\nfrom vidsal.cli import main\nsys.exit(main(sys.argv[1:]))"
"""The command line of vidsal, as code."""


class Child:
    """A process that runs `code` with `arguments` in `sys.argv` and `data` on its standard input, which is a pipe."""

    def __init__(self, code: str, *arguments: str | Path, data: bytes = b"") -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._said = [Path(self._folder.name) / name for name in ("out", "err")]
        if sys.platform == "linux":
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["vidsal.evaluate.evaluation", "vidsal.cli.run", "vidsal.pipe.many"])
        else:
            context = multiprocessing.get_context("spawn")  # type: ignore[assignment]
        reading, writing = context.Pipe(duplex=False)
        given = (code, [str(argument) for argument in arguments], dict(os.environ), self._said, reading)
        self.process = context.Process(target=_work, args=given, daemon=True)
        self.process.start()
        reading.close()
        self._feeder = threading.Thread(target=_feed, args=(writing, data))
        self._feeder.start()

    def send(self, number: int) -> None:
        """Send a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """How it ended and what it wrote."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"the process did not end within {seconds} s")
        self._feeder.join()
        out, err = (path.read_text() if path.exists() else "" for path in self._said)
        ended = subprocess.CompletedProcess([], self.process.exitcode, out, err)
        self.process.close()
        self._folder.cleanup()
        return ended


def run(code: str, *arguments: str | Path, data: bytes = b"") -> subprocess.CompletedProcess[str]:
    """A `Child` that is waited for."""
    return Child(code, *arguments, data=data).wait()


def _feed(writing: Connection, data: bytes) -> None:
    with suppress(BrokenPipeError):
        while data:
            data = data[os.write(writing.fileno(), data) :]
    writing.close()


def _work(code: str, arguments: list[str], environment: dict[str, str], said: list[Path], reading: Connection) -> None:
    os.environ.clear()
    os.environ.update(environment)
    # As a shell starts a process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(reading.fileno(), 0)
    reading.close()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    for stream, path in enumerate(said, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        os.dup2(file, stream)
        os.close(file)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<code of a test>", "exec"), {"__name__": "__main__"})
