"""What sinks put beside their targets while they write, and what of it earlier runs or others have left there."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from test_sinks import names_in, random_batch

from vidsal.errors import ConfigError, EncodeError
from vidsal.frames import SaliencyBatch
from vidsal.sinks import MapsSink, TableSink
from vidsal.sinks import contract as contract_module
from vidsal.sinks.contract import PROVENANCE_KEY, FileSink, finish_together, usable_rate


@pytest.mark.parametrize("name", ["a.npz", "a.mkv"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_a_killed_run_left_goes_before_the_first_frame_comes(tmp_path: Path, name: str, kind: str) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    left = [tmp_path / "a.partial.raw", tmp_path / f"a.partial{name[1:]}"]
    for path in left:
        if kind == "file":
            path.write_bytes(b"of a run that was killed")
        else:
            path.symlink_to(precious)
    with MapsSink(tmp_path / name) as sink:
        assert not left[0].exists()
        assert left[1].read_bytes() == b""
        sink.write(random_batch(2))
    assert names_in(tmp_path) == [name, "precious"]
    assert precious.read_bytes() == b"mine"


def test_a_link_that_appears_under_the_name_of_the_raw_maps_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    with MapsSink(tmp_path / "a.npz") as sink:
        (tmp_path / "a.partial.raw").symlink_to(precious)
        sink.write(random_batch(2))
    assert names_in(tmp_path) == ["a.npz", "precious"]
    assert precious.read_bytes() == b"mine"
    with np.load(tmp_path / "a.npz") as arrays:
        assert len(arrays["log_density"]) == 2


def test_a_sink_that_cannot_be_entered_leaves_nothing_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = TableSink(tmp_path / "a.csv"), TableSink(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("of another run, that has ended meanwhile")
    with pytest.raises(EncodeError, match="exists already"), first:
        pass
    assert names_in(tmp_path) == ["a.csv"]
    (tmp_path / "a.csv").unlink()
    with second:
        second.write(random_batch(1))
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 2


class Tally(FileSink):
    """A sink of another format: how many frames came, one number a batch."""

    suffixes = (".tally", ".count")
    stage = "tally"

    def __init__(self, target: Path, **options: bool) -> None:
        super().__init__(target, **options)
        self.closed: list[bool] = []

    def _write(self, batch: SaliencyBatch) -> None:
        with self._telling(), self.partial_path.open("a") as file:
            file.write(f"{len(batch)}\n")
            self._frames += len(batch)

    def _close(self, *, complete: bool) -> None:
        self.closed.append(complete)


def test_a_sink_is_closed_once_and_told_whether_all_came(tmp_path: Path) -> None:
    with Tally(tmp_path / "a.tally") as sink:
        sink.write(random_batch(2))
        sink.write(random_batch(1))
        assert names_in(tmp_path) == ["a.partial.tally", "a.partial.tally.lock"]
    assert (sink.closed, sink.path.read_text()) == ([True], "2\n1\n")
    assert names_in(tmp_path) == ["a.tally"]
    sink = Tally(tmp_path / "b.COUNT")
    with pytest.raises(RuntimeError, match="elsewhere"), sink:
        sink.write(random_batch(2))
        raise RuntimeError("elsewhere")
    assert (sink.closed, sink.partial_path.read_text()) == ([False], "2\n")
    sink = Tally(tmp_path / "c.tally")
    with pytest.raises(EncodeError, match="no frame came"), sink:
        pass
    assert sink.closed == [False]
    other = Tally(tmp_path / "d.tally")
    with Tally(tmp_path / "d.tally") as sink:
        sink.write(random_batch(1))
        with pytest.raises(EncodeError, match="another run is writing"), other:
            pass
    assert (other.closed, sink.closed) == ([False], [True])
    assert names_in(tmp_path) == ["a.tally", "b.partial.COUNT", "d.tally"]


def test_the_first_error_is_the_one_that_is_told_whatever_closing_adds(tmp_path: Path) -> None:
    class Failing(Tally):
        def _close(self, *, complete: bool) -> None:
            raise EncodeError("cannot be closed")

    with pytest.raises(RuntimeError, match="elsewhere"), Failing(tmp_path / "a.tally"):
        raise RuntimeError("elsewhere")
    with pytest.raises(RuntimeError, match="elsewhere"), Tally(tmp_path / "b.tally") as sink:
        sink.partial_path.unlink()  # by somebody
        raise RuntimeError("elsewhere")
    with pytest.raises(EncodeError, match="no frame came"), Tally(tmp_path / "c.tally") as sink:
        sink.partial_path.unlink()
    (tmp_path / "d.tally").write_text("old")
    sink = Failing(tmp_path / "d.tally", overwrite=True)
    with pytest.raises(EncodeError, match="cannot be closed"), sink:
        sink.write(random_batch(1))
    assert (tmp_path / "d.tally").read_text() == "old"
    assert names_in(tmp_path) == ["d.partial.tally", "d.tally"]


def test_an_ending_that_the_sink_does_not_write_is_refused_and_those_it_writes_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.csv must end in one of \.tally, \.count"):
        Tally(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("rate", "used"),
    [(None, 25), (Fraction(0), 25), (Fraction(-1), 25), (Fraction(1, 7200), Fraction(1, 7200)), (Fraction(1), 1),
     (Fraction(1000), 1000), (Fraction(1001), 25)],
)  # fmt: skip
def test_a_rate_that_no_source_has_becomes_25(rate: Fraction | None, used: Fraction) -> None:
    assert usable_rate(rate) == used


def test_what_is_in_the_way_of_a_target_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.tally").mkdir()
    os.mkfifo(tmp_path / "pipe.tally")
    (tmp_path / "file").write_text("")
    for name, said in (
        ("folder.tally", r"it is a folder; choose another name$"),
        ("pipe.tally", r"it is a device or a pipe; choose another name$"),
        ("file/a.tally", r"/file is not a folder; make the folder or choose another one$"),
        ("nowhere/a.tally", r"/nowhere does not exist; make the folder or choose another one$"),
    ):
        with pytest.raises(EncodeError, match=said):
            Tally(tmp_path / name, overwrite=True)
    may = os.access
    for right in (os.W_OK, os.X_OK):
        monkeypatch.setattr(os, "access", lambda path, mode, right=right: not mode & right and may(path, mode))
        with pytest.raises(EncodeError, match=r"no permission to write into .*; choose another folder"):
            Tally(tmp_path / "a.tally")


def test_nothing_is_replaced_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.tally").write_text("old")
    with pytest.raises(EncodeError, match="exists already"):
        Tally(tmp_path / "a.tally")
    with Tally(tmp_path / "a.tally", overwrite=True) as sink:
        sink.write(random_batch(3))
    assert sink.path.read_text() == "3\n"


def test_the_files_of_a_run_get_their_names_once_all_are_whole_and_the_last_word_is_said(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    with Tally(tmp_path / "a.tally") as one, Tally(tmp_path / "b.tally") as other:
        for sink in (one, other):
            sink.write(random_batch(1))
        finish_together(
            [one, other], before_naming=lambda: seen.append([n for n in names_in(tmp_path) if "lock" not in n])
        )
        assert one.closed == other.closed == [True]
    assert seen == [["a.partial.tally", "b.partial.tally"]]
    assert one.closed == other.closed == [True]
    assert names_in(tmp_path) == ["a.tally", "b.tally"]

    def refuse() -> None:
        raise EncodeError("not this time")

    with pytest.raises(EncodeError, match="not this time"), Tally(tmp_path / "c.tally") as sink:
        sink.write(random_batch(1))
        finish_together([sink], before_naming=refuse)
    assert names_in(tmp_path) == ["a.tally", "b.tally", "c.partial.tally"]


def test_a_file_is_made_whole_once_and_stays_whole_whatever_comes(tmp_path: Path) -> None:
    sink = Tally(tmp_path / "a.tally")
    with pytest.raises(RuntimeError, match="elsewhere"), sink:
        sink.write(random_batch(1))
        sink.complete()
        sink.complete()
        raise RuntimeError("elsewhere")
    assert (sink.closed, sink.partial_path.read_text()) == ([True], "1\n")
    with (
        pytest.raises(EncodeError, match="could not be written earlier; it is not whole"),
        Tally(tmp_path / "b.tally") as sink,
    ):
        sink.write(random_batch(1))
        with pytest.raises(EncodeError), sink._telling():
            raise OSError(5, "Input/output error")
        sink.complete()
    assert sink.closed == [False]
    finish_together([])


def test_a_file_that_has_appeared_meanwhile_is_kept_and_one_that_cannot_be_named_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(EncodeError, match="has appeared while this run was writing"),
        Tally(tmp_path / "a.tally") as sink,
    ):
        sink.write(random_batch(1))
        sink.path.write_text("of another")
    assert (sink.path.read_text(), sink.partial_path.read_text()) == ("of another", "1\n")

    def full(pairs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(contract_module, "put_all_in_place", full)
    with pytest.raises(EncodeError, match=r"b\.tally"), Tally(tmp_path / "b.tally") as sink:
        sink.write(random_batch(1))
    assert names_in(tmp_path) == ["a.partial.tally", "a.tally", "b.partial.tally"]


def test_files_say_how_they_came_about_under_one_name_and_only_if_told(tmp_path: Path) -> None:
    assert PROVENANCE_KEY == "vidsal_run"
    assert Tally(tmp_path / "a.tally").provenance == ""
