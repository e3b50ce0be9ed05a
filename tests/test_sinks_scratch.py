"""What sinks put beside their targets while they write, and what of it earlier runs or others have left there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_sinks import names_in, random_batch

from vidsal.errors import EncodeError
from vidsal.sinks import MapsSink, TableSink


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
