"""A file is whole under its name or not there: after errors, on a full disk, beside other writers, through links."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidsal.errors import EncodeError
from vidsal.files import local_name, put_all_in_place, put_in_place, replacing, short_name, try_to_lock, writing

OLD = b"what was there before"
needs_modes = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that is there, alone in its folder."""
    path = tmp_path / "here" / "out.bin"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


class StopError(Exception):
    """Any error of a writer."""


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 6), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_wherever_the_writer_stops_there_is_the_old_file_or_the_new_one(
    tmp_path: Path, pieces: list[bytes], stops_before: int, existed: bool
) -> None:
    target = tmp_path / "out.bin"
    target.unlink(missing_ok=True)
    if existed:
        target.write_bytes(OLD)
    before = content_of(tmp_path)
    try:
        with replacing(target) as partial, partial.open("wb") as file:
            for number, piece in enumerate(pieces):
                if number == stops_before:
                    raise StopError
                file.write(piece)
                file.flush()
                assert target.exists() == existed and (not existed or target.read_bytes() == OLD)
    except StopError:
        assert stops_before < len(pieces) and content_of(tmp_path) == before
    else:
        assert content_of(tmp_path) == {"out.bin": b"".join(pieces)}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("by a library"), EncodeError("of ours")])
def test_an_error_that_is_not_the_systems_comes_out_as_it_is_and_nothing_stays(
    target: Path, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught, replacing(target) as partial:
        partial.write_bytes(b"half")
        raise error
    assert caught.value is error and content_of(target.parent) == {"out.bin": OLD}


def test_a_library_with_errors_of_its_own_is_told_like_the_system(target: Path) -> None:
    with (
        pytest.raises(EncodeError, match=r"cannot write .*out\.bin: by a library; choose another folder"),
        replacing(target, also=(ValueError,)) as partial,
    ):
        partial.write_bytes(b"half")
        raise ValueError("by a library")
    assert content_of(target.parent) == {"out.bin": OLD}


def test_the_systems_error_under_a_librarys_is_the_one_that_is_told(target: Path) -> None:
    with pytest.raises(EncodeError, match=r"out\.bin: the disk is full"), replacing(target, also=(RuntimeError,)):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            raise RuntimeError("unexpected position")
    try:
        (target / "no folder").read_bytes()
    except OSError:
        # What is being handled elsewhere says nothing of this file.
        with pytest.raises(EncodeError, match="disk is full"), writing(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: B904
    assert content_of(target.parent) == {"out.bin": OLD}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_is_told_as_one(target: Path, number: int) -> None:
    with (
        pytest.raises(EncodeError, match=r"out\.bin: the disk is full \(.+\); free some space or choose another place"),
        replacing(target, remedy="choose another place") as partial,
    ):
        partial.write_bytes(b"half")
        raise OSError(number, os.strerror(number))
    assert content_of(target.parent) == {"out.bin": OLD}


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a process there")
def test_a_disk_that_is_really_full_leaves_the_old_file(target: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from vidsal.errors import EncodeError
from vidsal.files import replacing
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    with replacing(Path(sys.argv[1])) as partial:
        partial.write_bytes(bytes(int(sys.argv[2])))
except EncodeError as error:
    print(error)
"""
    for size, said in (("2001", "the disk is full"), ("2000", "")):
        assert content_of(target.parent) == {"out.bin": OLD}
        done = subprocess.run(
            [sys.executable, "-c", code, str(target), size], capture_output=True, text=True, check=True
        )
        assert said in done.stdout and bool(said) == bool(done.stdout)
    assert content_of(target.parent) == {"out.bin": bytes(2000)}


def test_a_rename_that_fails_leaves_the_old_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "it is open in another program")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(EncodeError, match="open in another program; choose another folder"), replacing(target) as half:
        half.write_bytes(b"whole")
    assert content_of(target.parent) == {"out.bin": OLD}


def test_a_folder_as_the_target_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    begun = False
    with pytest.raises(EncodeError, match=r"it is a folder; choose another name"), replacing(tmp_path):
        begun = True
    assert not begun and not list(tmp_path.parent.glob("*.partial"))


def test_the_folder_is_made_where_that_is_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "out.txt"
    with pytest.raises(EncodeError, match="No such file or directory"), replacing(target):
        pass
    with replacing(target, make_folder=True) as partial:
        partial.write_text("x")
    assert target.read_text() == "x"
    with pytest.raises(EncodeError, match="cannot write"), replacing(target / "c" / "d", make_folder=True):
        pass


def test_a_folder_that_cannot_be_written_to_is_told(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        # Nothing is really forbidden to the superuser, who may run this.
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(EncodeError, match="Permission denied; choose another folder"), replacing(target):
        pass
    assert content_of(target.parent) == {"out.bin": OLD}


# Modes, links, devices.


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@needs_modes
@pytest.mark.parametrize("written_with", [0o600, 0o666])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode_and_a_new_one_has_the_usual(
    target: Path, mode: int, written_with: int
) -> None:
    target.chmod(mode)
    usual = target.with_name("usual")
    usual.touch()
    for path, wanted in ((target, mode), (target.with_name("new"), mode_of(usual))):
        with replacing(path) as partial:
            partial.write_bytes(b"new")
            partial.chmod(written_with)
        assert mode_of(path) == wanted and path.read_bytes() == b"new"


def test_on_a_share_without_modes_a_file_is_replaced_all_the_same(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def refuse(_: Path, mode: int) -> None:
        asked.append(mode)
        raise PermissionError(errno.EPERM, "Operation not permitted")

    target.chmod(0o600)
    monkeypatch.setattr(Path, "chmod", refuse)
    with replacing(target) as partial:
        partial.write_bytes(b"new")
    assert asked and content_of(target.parent) == {"out.bin": b"new"}


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path, exists: bool) -> None:
    real, link = tmp_path / "far" / "real.bin", tmp_path / "near" / "link.bin"
    for path in (real, link):
        path.parent.mkdir()
    if exists:
        real.write_bytes(OLD)
    link.symlink_to(os.path.relpath(real, link.parent))
    with replacing(link) as partial:
        partial.write_bytes(b"new")
        assert partial.parent == real.parent
    assert link.is_symlink() and content_of(real.parent) == {"real.bin": b"new"}
    assert [path.name for path in link.parent.iterdir()] == ["link.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with a name there")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with replacing(pipe) as partial:
        partial.write_bytes(b"through")
    assert os.read(reader, 100) == b"through" and stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_what_took_hours_is_on_the_disk_before_it_is_renamed(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(file: int) -> None:
        done.append(f"flushed {os.fstat(file).st_size}")
        real_sync(file)

    def replace(self: Path, to: Any) -> Path:
        done.append("renamed")
        return real_replace(self, to)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    for durable, steps in ((True, ["flushed 3", "renamed"]), (False, ["renamed"])):
        with replacing(target, durable=durable) as partial:
            partial.write_bytes(b"new")
        assert done == steps
        done.clear()


# Two at once.


def test_two_writers_at_once_each_have_a_file_of_their_own_and_the_last_wins(target: Path) -> None:
    with replacing(target) as first:
        first.write_bytes(b"first")
        with replacing(target) as second:
            second.write_bytes(b"second")
            assert first != second
        assert target.read_bytes() == b"second"
    assert content_of(target.parent) == {"out.bin": b"first"}


def test_another_writers_file_is_neither_taken_nor_removed(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "same")
    with replacing(target) as first, replacing(target) as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second")
        with pytest.raises(EncodeError, match="File exists"), replacing(target):
            pass
        assert second.read_bytes() == b"second"
    assert content_of(target.parent) == {"out.bin": b"first"}


def killed_writer(target: Path) -> None:
    """A process that dies while it writes."""
    code = """
import os, signal, sys
from pathlib import Path
from vidsal.files import replacing
with replacing(Path(sys.argv[1])) as partial:
    partial.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code, str(target)], check=False).returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_what_killed_writers_leave_does_not_add_up_and_goes_with_the_next_one(target: Path) -> None:
    for _ in range(2):
        killed_writer(target)
        assert content_of(target.parent) == {"out.bin": OLD, "out.bin.partial": b"half", "out.bin.partial.lock": b""}
    with replacing(target) as partial:
        assert partial.read_bytes() == b""
        partial.write_bytes(b"whole")
    assert content_of(target.parent) == {"out.bin": b"whole"}


def test_where_there_are_no_locks_a_name_that_may_be_anothers_is_not_taken(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidsal.files._lock", lambda _: None)
    with replacing(target) as first:
        first.write_bytes(b"first")
        with replacing(target) as second:
            assert second != first
            second.write_bytes(b"second")
        assert first.read_bytes() == b"first"
    assert content_of(target.parent) == {"out.bin": b"first"}


@pytest.mark.parametrize("name", ["out.bin.partial", "out.bin.partial.lock"])
def test_a_link_under_a_name_of_ours_is_removed_and_not_followed(target: Path, name: str) -> None:
    victim = target.with_name("victim")
    victim.write_bytes(b"precious")
    target.with_name(name).symlink_to(victim)
    with replacing(target) as partial:
        partial.write_bytes(b"new")
    assert content_of(target.parent) == {"out.bin": b"new", "victim": b"precious"}


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with a name there")
@pytest.mark.parametrize("name", ["out.bin.partial", "out.bin.partial.lock"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_under_a_name_of_ours_is_told_and_stays(
    target: Path, name: str, make: Callable[[Path], None]
) -> None:
    in_the_way = target.with_name(name)
    make(in_the_way)
    with (
        pytest.raises(EncodeError, match=rf"cannot write .*out\.bin: .*({name} is a pipe; remove it|folder|directory)"),
        replacing(target),
    ):
        pass
    assert sorted(path.name for path in target.parent.iterdir()) == ["out.bin", name]


# Names.


def test_a_name_for_ffmpeg_is_never_an_address() -> None:
    assert local_name(Path("http:127.0.0.1:80")) == "file:http:127.0.0.1:80"


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=255))
def test_a_short_name_fits_is_the_same_every_time_and_another_for_another_stem(stem: str) -> None:
    short = short_name(stem, Path(os.curdir), room=50)
    assert len(os.fsencode(short)) + 50 <= 255
    assert short == short_name(stem, Path(os.curdir), room=50)
    if len(os.fsencode(stem)) + 50 <= 255:
        assert short == stem
    else:
        # Cut between two characters.
        assert short.encode().decode() == short and stem.startswith(short[:-9])
        assert short != short_name(f"{stem}x", Path(os.curdir), room=50)


def test_a_name_that_is_no_utf_8_is_cut_too(tmp_path: Path) -> None:
    stem = os.fsdecode(b"\xf6" * 250)
    short = os.fsencode(short_name(stem, tmp_path / "not" / "there", room=50))
    assert short.startswith(b"\xf6" * 20) and len(short) <= 205


WRITE_OFTEN = """
import faulthandler
faulthandler.dump_traceback_later(300, exit=True)
import sys
from pathlib import Path
from vidsal.files import replacing
for _ in range(50):
    with replacing(Path(sys.argv[1])) as partial:
        partial.write_bytes(sys.argv[2].encode() * 100_000)
"""


def test_who_reads_while_two_processes_write_never_sees_half_or_a_mixture(target: Path) -> None:
    target.write_bytes(b"a" * 100_000)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE_OFTEN, target, letter], stderr=subprocess.PIPE, text=True)
        for letter in "ab"
    ]
    readings = 0
    while any(writer.poll() is None for writer in writers):
        assert target.read_bytes() in (b"a" * 100_000, b"b" * 100_000)
        readings += 1
        time.sleep(0.001)
    said = [(writer.communicate()[1], writer.returncode) for writer in writers]
    assert said == [("", 0)] * 2
    assert readings and [path.name for path in target.parent.iterdir()] == ["out.bin"]


def test_what_is_whole_is_put_in_place_and_what_cannot_be_stays(target: Path) -> None:
    whole = target.with_name("whole")
    whole.write_bytes(b"new")
    put_in_place(whole, target)
    assert content_of(target.parent) == {"out.bin": b"new"}
    with pytest.raises(FileNotFoundError):
        put_in_place(whole, target)
    assert content_of(target.parent) == {"out.bin": b"new"}


def test_a_lock_is_held_by_one_descriptor_at_a_time(tmp_path: Path) -> None:
    files = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT, 0o666) for _ in range(2)]
    assert [try_to_lock(file) for file in files] == [True, False]
    os.close(files[0])
    assert try_to_lock(files[1])
    os.close(files[1])


@pytest.mark.skipif(sys.platform == "win32", reason="another call there")
@pytest.mark.parametrize(
    ("number", "locked"), [(errno.ENOLCK, True), (errno.ENOTSUP, True), (errno.EWOULDBLOCK, False)]
)
def test_a_file_system_without_locks_counts_as_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, locked: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with (tmp_path / "lock").open("w") as file:
        assert try_to_lock(file.fileno()) is locked


def test_without_a_remedy_nothing_is_advised_but_on_a_full_disk(tmp_path: Path) -> None:
    for number, end in ((errno.EIO, os.strerror(errno.EIO)), (errno.ENOSPC, "choose another folder")):
        with pytest.raises(EncodeError, match=rf"{end}$"), writing(tmp_path, remedy=None):
            raise OSError(number, os.strerror(number))


# Several files at once.


def test_files_that_belong_together_get_their_names_all_or_none(tmp_path: Path) -> None:
    pairs = [(tmp_path / f"{name}.partial", tmp_path / name) for name in "abc"]
    for partial, _ in pairs:
        partial.write_text("new")
    (tmp_path / "b").write_text("old")
    (tmp_path / "c").mkdir()  # no file can take its name
    (tmp_path / "c" / "kept").touch()
    with pytest.raises(OSError, match="c"):
        put_all_in_place(pairs)
    assert not (tmp_path / "a").exists() and (tmp_path / "a.partial").read_text() == "new"
    assert (tmp_path / "c.partial").read_text() == "new"
    (tmp_path / "c" / "kept").unlink()
    (tmp_path / "c").rmdir()
    (tmp_path / "b.partial").write_text("newer")
    put_all_in_place(pairs)
    assert [(tmp_path / name).read_text() for name in "abc"] == ["new", "newer", "new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
