"""A file that crashes what reads it is an error, and the next file is read."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_readers
import numpy as np
import pytest

from vidsal import isolated
from vidsal.errors import CheckpointError, DatasetError
from vidsal.isolated import read_isolated

FILE = Path("some.file")


def read(reader: Callable[..., Any], *arguments: str, seconds: float = 120.0) -> Any:
    return read_isolated(reader, FILE, *arguments, failure=DatasetError, seconds=seconds)


def test_what_was_read_comes_back_as_it_was() -> None:
    got, wanted = read(hostile_readers.answer, "text"), hostile_readers.answer(FILE, "text")
    assert got["path"] == "some.file" and got["list"][0] == "text"
    assert np.array_equal(got["list"][1], wanted["list"][1], equal_nan=True) and got["list"][1].dtype == np.float32
    assert got["cells"].shape == (1, 2) and got["cells"][0, 1].tolist() == ["ab", "c"]
    assert got["cells"][0, 0].dtype == np.dtype(">i2") and np.array_equal(got["cells"][0, 0], wanted["cells"][0, 0])
    assert got["struct"].dtype == wanted["struct"].dtype and got["struct"]["y"][0].shape == (0, 2)
    assert got["struct"]["x"][0] == 1.5 and got["struct"]["y"][1].dtype == bool
    assert np.array_equal(got["transposed"], wanted["transposed"])


def test_one_process_that_is_not_this_one_reads_many_files() -> None:
    numbers = {int(read(hostile_readers.answer, "")["process"]) for _ in range(3)}
    assert len(numbers) == 1 and os.getpid() not in numbers


@pytest.mark.parametrize(
    ("reader", "says"),
    [
        (hostile_readers.crash, r"the library that reads it crashed \((SIG\w+|status \d+)\)"),
        (hostile_readers.take_all_memory, "MemoryError.*"),
        pytest.param(
            hostile_readers.take_much_memory,
            "MemoryError.*",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process"),
        ),
        (hostile_readers.fail, "ZeroDivisionError: one two"),
        (hostile_readers.give_an_object, r"TypeError: a (Posix|Windows)Path"),
    ],
)
def test_what_ends_the_process_is_an_error_and_the_next_file_is_read(reader: Callable[..., Any], says: str) -> None:
    read(hostile_readers.answer, "before")
    with pytest.raises(DatasetError, match=rf"^some\.file cannot be read: {says}; .* copy it again$") as caught:
        read(reader)
    assert "\n" not in str(caught.value)
    assert read(hostile_readers.answer, "after")["list"][0] == "after"


def test_reading_that_never_ends_is_ended() -> None:
    with pytest.raises(DatasetError, match=r"it takes more than 0\.2 s"):
        read(hostile_readers.never_end, seconds=0.2)


def test_an_error_of_ours_stays_what_it_is_and_the_process_goes_on() -> None:
    before = read(hostile_readers.answer, "")["process"]
    with pytest.raises(CheckpointError, match=r"^some\.file: not a file of weights$"):
        read(hostile_readers.complain)
    assert read(hostile_readers.answer, "")["process"] == before


def test_a_file_does_not_suffer_for_the_one_before() -> None:
    isolated._close()
    assert [read(hostile_readers.crash_second) for _ in range(3)] == ["read"] * 3


def test_what_a_library_prints_is_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    assert read(hostile_readers.print_something) == "read"
    assert capfd.readouterr() == ("", "")


def test_a_module_in_the_working_folder_is_not_taken_for_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    isolated._close()
    assert read(hostile_readers.print_something) == "read"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_that_was_forked_has_a_reader_of_its_own() -> None:
    ours = int(read(hostile_readers.answer, "")["process"])
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put(int(read(hostile_readers.answer, "")["process"])))
    child.start()
    theirs = queue.get()
    child.join()
    assert theirs != ours and int(read(hostile_readers.answer, "")["process"]) == ours


def test_it_ends_with_the_process_that_asks() -> None:
    code = (
        "import os, test_isolated\n"
        "print(int(test_isolated.read(test_isolated.hostile_readers.answer, '')['process']), flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as asking:
        assert asking.stdout is not None
        number = int(asking.stdout.readline())
        # It holds the other end of no pipe but its own: once nobody asks, it reads the end of its input.
        asking.wait()
    for _ in range(3000):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        if sys.platform == "linux" and "State:\tZ" in Path(f"/proc/{number}/status").read_text(encoding="utf-8"):
            return
        time.sleep(0.02)
    raise AssertionError("it still runs")
