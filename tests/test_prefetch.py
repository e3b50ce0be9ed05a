"""One thread ahead: order, errors, closing and dropping; heaps of threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vidsal.prefetch import prefetch, usable_cores


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("depth", [1, 2, 50])
def test_all_values_arrive_in_order(depth: int) -> None:
    with prefetch(range(200), depth=depth) as values:
        assert list(values) == list(range(200))


def test_values_are_made_in_another_thread_ahead_of_the_reader() -> None:
    made: list[int] = []
    threads: set[int] = set()

    def source() -> Iterator[int]:
        for i in range(10):
            made.append(i)
            threads.add(threading.get_ident())
            yield i

    with prefetch(source(), depth=3) as values:
        assert wait_until(lambda: values.ready == 3)
        assert next(values) == 0
        assert threads.isdisjoint({threading.get_ident()})


def test_no_more_than_depth_values_wait() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    with prefetch(source(), depth=4) as values:
        assert wait_until(lambda: len(made) == 5)
        time.sleep(0.05)
        assert len(made) == 5  # four wait, the fifth is in the hand of the producer
        assert next(values) == 0


def test_an_error_of_the_source_appears_where_the_values_are_read_after_those_made_before() -> None:
    def failing_source() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("the disk is gone")

    seen = []
    with pytest.raises(KeyError, match="the disk is gone") as caught, prefetch(failing_source()) as values:
        for value in values:
            seen.append(value)
    assert seen == [1, 2]
    assert any(entry.name == "failing_source" for entry in caught.traceback)


def test_after_the_error_the_values_are_over() -> None:
    def failing_source() -> Iterator[int]:
        raise OSError("gone")
        yield 1

    with prefetch(failing_source()) as values:
        with pytest.raises(OSError, match="gone"):
            next(values)
        assert list(values) == []


def test_an_iterable_that_cannot_be_iterated_raises_where_the_values_are_read() -> None:
    with prefetch(3) as values, pytest.raises(TypeError):  # type: ignore[arg-type, var-annotated]
        next(values)


def test_leaving_early_ends_a_producer_that_waits_for_room_and_closes_the_source_in_its_thread() -> None:
    closed_in: list[str] = []

    def endless() -> Iterator[int]:
        try:
            i = 0
            while True:
                yield i
                i += 1
        finally:
            closed_in.append(threading.current_thread().name)

    started = time.monotonic()
    with prefetch(endless(), depth=1, name="reader-of-test") as values:
        assert next(values) == 0
        assert wait_until(lambda: values.ready == 1)
    assert closed_in == ["reader-of-test"]
    assert time.monotonic() - started < 5


def test_an_error_in_the_block_passes_through_and_leaves_no_thread() -> None:
    with pytest.raises(ZeroDivisionError), prefetch(iter(int, 1)) as values:
        next(values)
        _ = 1 / 0


def test_an_error_while_the_source_is_closed_is_not_lost() -> None:
    def source() -> Iterator[int]:
        try:
            yield 1
            yield 2
            yield 3
            yield 4
        finally:
            raise OSError("cannot close")

    with pytest.raises(OSError, match="cannot close"), prefetch(source(), depth=1) as values:
        assert next(values) == 1


def test_a_slow_reader_of_a_live_source_loses_the_oldest_values_and_they_are_counted() -> None:
    with prefetch(range(100), depth=3, drop_oldest=True) as values:
        assert wait_until(lambda: values.dropped == 97)
        assert list(values) == [97, 98, 99]


def test_nothing_is_dropped_unless_asked_for() -> None:
    with prefetch(range(50), depth=1) as values:
        for value in values:
            time.sleep(0.0005)
            assert value >= 0
        assert values.dropped == 0


def test_busy_seconds_count_the_making_and_not_the_waiting() -> None:
    def source() -> Iterator[int]:
        for i in range(3):
            time.sleep(0.02)
            yield i

    with prefetch(source(), depth=1) as values:
        for _ in values:
            time.sleep(0.3)
        assert 0.06 <= values.busy_seconds < 0.3


def test_a_depth_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="depth"), prefetch([1], depth=0):
        pass


def test_prefetching_may_be_stacked() -> None:
    with prefetch(range(30)) as inner, prefetch(2 * value for value in inner) as outer:
        assert list(outer) == [2 * value for value in range(30)]


def test_leaving_a_stack_early_leaves_no_thread() -> None:
    with prefetch(iter(int, 1)) as inner, prefetch(value + 1 for value in inner) as outer:
        assert next(outer) == 1


HEAPS = """
import ctypes, sys, threading
from vidsal.prefetch import limit_arenas

limit_arenas()
together = threading.Barrier(24)

def work():
    kept = [bytes(5000) for _ in range(50)]
    together.wait()

threads = [threading.Thread(target=work) for _ in range(24)]
for one in threads:
    one.start()
for one in threads:
    one.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heaps are counted on glibc only")
def test_threads_share_as_many_heaps_as_there_are_cores_unless_the_user_chose(tmp_path: Path) -> None:
    def heaps(**environment: str) -> int:
        report = tmp_path / "heaps.xml"
        before = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
        command = [sys.executable, "-c", HEAPS, str(report)]
        subprocess.run(command, env={**before, **environment}, check=True)
        return report.read_text().count("<heap nr=")

    most = max(2, usable_cores())
    assert heaps() <= most
    assert heaps(MALLOC_ARENA_MAX="1") == 1
    if most < 12:
        assert heaps(MALLOC_ARENA_MAX="20") > most
