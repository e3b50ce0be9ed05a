"""What a batch is given: folders that are searched, files, and lists in all their forms."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vidsal.batch.database import Listed
from vidsal.batch.inputs import Given, Search, Shard, check_inputs, find_inputs, read_list
from vidsal.errors import ConfigError
from vidsal.pipe.run import run


def plan(overrides: Mapping[str, Any]) -> str:
    return json.dumps(overrides, sort_keys=True)


def make(folder: Path, *names: str) -> Path:
    """Empty files below a folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def search(*inputs: Path | str, **more: Any) -> tuple[list[Listed], Search]:
    left = Search()
    return list(find_inputs(Given(tuple(map(str, inputs)), **more), plan, left)), left


def places(found: list[Listed], folder: Path) -> dict[str, str]:
    """Path below the folder to the name of the results."""
    return {os.path.relpath(one.path, folder): one.places[0] for one in found}


def test_a_folder_is_searched_through_in_the_order_of_names_and_mirrored(tmp_path: Path) -> None:
    make(tmp_path, "b.MP4", "a.mov", "tue/x/c.mxf", "mon/d.ts", "notes.txt", "mon/e.jpg", "noend")
    found, left = search(tmp_path)
    assert places(found, tmp_path) == {
        "a.mov": "a",
        "b.MP4": "b",
        "mon/d.ts": "mon/d",
        "tue/x/c.mxf": "tue/x/c",
    }
    assert [Path(one.path).name for one in found] == ["a.mov", "b.MP4", "d.ts", "c.mxf"]
    assert left.other_kinds == Counter({".txt": 1, ".jpg": 1, "noend": 1})
    assert found[0].bytes == 1
    assert found[0].modified is not None
    assert found[0].modified.endswith("+00:00")
    assert found[0].places[1] == "a.mov"
    assert found[0].places[2].startswith("a.mov-")


def test_what_is_hidden_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, ".a.mp4", ".store/b.mp4", "c.mp4")
    found, left = search(tmp_path)
    assert list(places(found, tmp_path)) == ["c.mp4"]
    assert left.hidden == 2


def test_patterns_take_and_leave_out_names_and_paths_without_regard_to_case(tmp_path: Path) -> None:
    make(tmp_path, "A.MXF", "b.mp4", "proxy/c.mxf", "tapes/old/d.mxf", "tapes/new/e.mxf", "f.dat")
    found, left = search(tmp_path, include=("*.mxf", "f.*"), exclude=("Proxy", "tapes/old/*"))
    assert set(places(found, tmp_path)) == {"A.MXF", "tapes/new/e.mxf", "f.dat"}
    assert left.excluded == 2
    assert left.other_kinds == Counter({".mp4": 1})
    found, _ = search(tmp_path, exclude=("tapes/",))
    assert not [name for name in places(found, tmp_path) if "tapes" in name]


@pytest.mark.parametrize("by_link", [False, True])
def test_the_folder_of_the_results_is_not_searched(tmp_path: Path, by_link: bool) -> None:
    make(tmp_path, "in/a.mp4", "in/out/b.mp4")
    output = tmp_path / "in" / "out"
    if by_link:
        output = tmp_path / "elsewhere"
        output.symlink_to(tmp_path / "in" / "out")
    found, _ = search(tmp_path / "in", output=str(output))
    assert list(places(found, tmp_path)) == ["in/a.mp4"]


def test_results_beside_their_inputs_are_left_out(tmp_path: Path) -> None:
    """Also those of `vidsal run`: by the report beside them, or what is in the file itself."""
    from made import make_model
    from media import make_video

    make_video(tmp_path / "a.mp4", frames=2)
    run(tmp_path / "a.mp4", model=make_model())
    make(tmp_path, "my.vidsal.mp4")
    found, left = search(tmp_path, output=str(tmp_path))
    assert set(places(found, tmp_path)) == {"a.mp4", "my.vidsal.mp4"}
    assert left.results == 3


def test_what_a_batch_leaves_in_the_folder_that_it_searches_is_told_as_its_own(tmp_path: Path) -> None:
    from made import make_model
    from media import make_video

    make_video(tmp_path / "a.mp4", frames=2)
    run(tmp_path / "a.mp4", model=make_model())
    own = ["batch.csv", "batch.json", "batch.shard-1-of-2.csv", "dataset/_index.sqlite"]
    own += ["dataset/frames/input_date=2026-01-01/part-000001.parquet", "mon/b.vidsal.csv"]
    make(tmp_path, *own, "dataset/mine.mp4", "mon/batch.csv", "dataset/mine.parquet", "dataset.txt")
    found, left = search(tmp_path, output=str(tmp_path))
    assert set(places(found, tmp_path)) == {"a.mp4", "dataset/mine.mp4"}
    # With the video, the table and the report of a.mp4.
    assert left.results == len(own) + 3
    assert left.other_kinds == Counter({".csv": 1, ".parquet": 1, ".txt": 1})
    # Where the results lie elsewhere, such files are nobody's.
    assert search(tmp_path, output=str(tmp_path / "out"))[1].other_kinds[".json"] == 1


def test_links_are_followed_once_and_real_names_win(tmp_path: Path) -> None:
    """Also one that leads back to where it lies, one that leads nowhere, and one to itself."""
    make(tmp_path, "in/z/a.mp4", "far/b.mp4", "in/.hidden/c.mp4")
    inside = tmp_path / "in"
    (inside / "a_to_z").symlink_to(inside / "z")
    (inside / "z" / "up").symlink_to(inside)
    (inside / "far").symlink_to(tmp_path / "far")
    (inside / "shown").symlink_to(inside / ".hidden")
    (inside / "copy.mp4").symlink_to(inside / "z" / "a.mp4")
    (inside / "lost.mp4").symlink_to(inside / "nothing.mp4")
    (inside / "loop.mp4").symlink_to("loop.mp4")
    found, left = search(inside)
    assert set(places(found, inside)) == {
        "z/a.mp4",
        "far/b.mp4",
        "shown/c.mp4",
        "copy.mp4",
        "lost.mp4",
        "loop.mp4",
    }
    lost = next(one for one in found if one.path.endswith("lost.mp4"))
    assert (lost.bytes, lost.modified) == (None, None)
    assert left.problems == []


def test_what_no_search_should_wait_for_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    found, _ = search(tmp_path)
    assert list(places(found, tmp_path)) == ["a.mp4"]
    found, _ = search(tmp_path / "pipe.mp4")
    assert list(places(found, tmp_path)) == ["pipe.mp4"]


def test_a_folder_that_cannot_be_read_is_a_problem_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.mp4", "locked/b.mp4", "z.mp4")
    original = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found, left = search(tmp_path)
    # As an input that cannot be read it stays in the account.
    assert list(places(found, tmp_path)) == ["a.mp4", "z.mp4", "locked"]
    assert left.problems == [(str(tmp_path / "locked"), "Permission denied")]


def test_a_name_that_is_no_text_is_an_input_like_any_other(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n.mp4")
    make(tmp_path, name)
    found, _ = search(tmp_path)
    assert [one.path for one in found] == [str(tmp_path / name)]
    assert found[0].places[0] == os.fsdecode(b"caf\xe9\n")
    listed = tmp_path / "list"
    listed.write_bytes(os.fsencode(found[0].path) + b"\0")
    again, _ = search(listed=read_list(str(listed), zero=True))
    assert again[0].path == found[0].path


def test_a_long_name_leaves_room_for_endings(tmp_path: Path) -> None:
    make(tmp_path, "n" * 250 + ".mp4")
    found, _ = search(tmp_path)
    assert all(len(os.fsencode(place)) <= 255 - 40 for place in found[0].places)
    assert len(set(found[0].places)) == len(found[0].places)


def test_a_folder_that_is_called_like_one_of_the_batch_s_own_gets_another_name(tmp_path: Path) -> None:
    make(tmp_path, "dataset/a.mp4", "Dataset/frames/b.mp4", "mon/dataset/c.mp4", "dataset.mp4", ".vidsal-batch/d.mp4")
    found, _ = search(tmp_path)
    assert places(found, tmp_path) == {
        "Dataset/frames/b.mp4": "Dataset_/frames/b",
        "dataset/a.mp4": "dataset_/a",
        "mon/dataset/c.mp4": "mon/dataset/c",
        "dataset.mp4": "dataset",
    }
    listed = [{"path": str(tmp_path / name)} for name in (".vidsal-batch/d.mp4", "dataset.mp4")]
    found, _ = search(listed=listed)
    assert [one.places[0] for one in found] == [".vidsal-batch_/d", "dataset"]


def test_several_folders_and_files_lie_below_what_they_have_in_common(tmp_path: Path) -> None:
    make(tmp_path, "x/mon/a.mp4", "x/tue/a.mp4", "x/b.mp4")
    found, _ = search(tmp_path / "x" / "mon", tmp_path / "x" / "tue", tmp_path / "x" / "b.mp4")
    assert places(found, tmp_path / "x") == {"mon/a.mp4": "mon/a", "tue/a.mp4": "tue/a", "b.mp4": "b"}


@pytest.mark.parametrize("name", ["-", "rtsp://host/live", "missing.mp4"])
def test_what_has_no_end_or_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        search(name if "m" not in name[:1] else tmp_path / name)


# Lists.


@pytest.mark.parametrize(
    ("name", "content", "zero"),
    [
        ("list.txt", b"{a}\n\n{b}\r\n", False),
        ("list", b"{a}\0{b}\0", True),
        ("list.csv", b'\xef\xbb\xbfpath,start,tags\n{a},1.5,"news; tape=7"\n{b},,\n', False),
        ("list.jsonl", b'{"path": "{a}", "start": 1.5, "tags": {"tape": 7}}\n\n{"path": "{b}"}\n', False),
        ("list.parquet", b"", False),
    ],
)
def test_lists_of_all_forms_are_read_twice_alike(tmp_path: Path, name: str, content: bytes, zero: bool) -> None:
    a, b = str(tmp_path / "in" / "a\u2028\x85.mp4"), str(tmp_path / "in" / "missing.mp4")
    make(tmp_path / "in", "a\u2028\x85.mp4")
    path = tmp_path / name
    if name.endswith(".parquet"):
        pa = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table({"path": [a, b], "start": [1.5, None]}), path)
    else:
        path.write_bytes(content.replace(b"{a}", a.encode()).replace(b"{b}", b.encode()))
    rows = read_list(str(path), zero=zero)
    assert list(rows) == list(rows)
    found, _ = search(listed=rows)
    assert [one.path for one in found] == [a, b]
    assert (found[1].bytes, found[1].overrides, found[1].tags) == (None, {}, {})
    if path.suffix:
        columns = {".csv": "1.5", ".jsonl": 1.5, ".parquet": 1.5}
        wanted = {"start": columns[path.suffix]} if path.suffix in columns else {}
        assert found[0].overrides == wanted
        assert found[0].plan == plan(wanted)
    if path.suffix == ".csv":
        assert found[0].tags == {"news": "", "tape": "7"}
    if path.suffix == ".jsonl":
        assert found[0].tags == {"tape": "7"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "title,file\nx,x.mp4\n", "line 2, has no `path`: its columns are title, file; call 'file' so"),
        ("a.csv", "path;start\nx.mp4;1\n", "line 2, has no `path`: its columns are separated by semicolons"),
        ("a.csv", "path\tstart\nx.mp4\t1\n", "its columns are separated by tabs"),
        ("a.csv", "path,tags\nx.mp4,a,b\n", "line 2, has 3 fields, and there are 2 columns"),
        ("a.csv", 'path,tags\n"x\n.mp4",a\n,b\n', "line 4, has no `path`"),
        ("a.jsonl", '{"path": "a.mp4"}\n\n[1]\n', "line 3, has no `path`"),
        ("b.jsonl", '{"path": "a.mp4"}\nno json\n', "line 2, is not what its ending says"),
        ("a.jsonl", "no json\n", "not what its ending says"),
        ("a.parquet", "no parquet\n", "not what its ending says|needs pyarrow"),
    ],
)
def test_a_list_that_is_none_is_refused_with_the_place(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=said):
        list(read_list(str(tmp_path / name), zero=False))


def test_parts_of_one_file_are_given_by_links_to_it(tmp_path: Path) -> None:
    make(tmp_path, "tape.mxf")
    rows = []
    for name, start in (("part1.mxf", "0"), ("part2.mxf", "60")):
        (tmp_path / name).symlink_to("tape.mxf")
        rows.append({"path": str(tmp_path / name), "start": start})
    found, _ = search(listed=rows)
    assert [(one.places[0], one.overrides, one.bytes) for one in found] == [
        ("part1", {"start": "0"}, 1), ("part2", {"start": "60"}, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "path,Opactiy\na.mp4,\n", r"a.csv, column 2: unknown option 'Opactiy'; did you mean opacity\?$"),
        ("a.csv", "path,End second\na.mp4,3\n", r"column 2: unknown option 'End second'; did you mean end_seconds\?"),
        ("a.csv", "path,zzz\na.mp4,3\n", r"column 2: unknown option 'zzz'; a list has `path`, `tags` and options"),
        ("a.csv", ",path\n0,a.mp4\n", "column 1: it has no name"),
        ("a.jsonl", '{"path": "a"}\n{"path": "b", "crff": 1}\n', r"line 2, column 2: unknown .*did you mean crf\?"),
    ],
)
def test_a_column_that_is_no_option_is_named_with_what_may_be_meant(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    listed = read_list(str(tmp_path / name), zero=False)
    with pytest.raises(ConfigError, match=said):
        check_inputs(Given(listed=listed, list_name=name), plan)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_list(str(tmp_path / "list.txt"), zero=False)


# Shards.


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_shards_are_disjoint_and_complete_and_of_about_one_size(count: int) -> None:
    paths = [f"/in/tape-{number:05}.mxf" for number in range(3000)]
    parts = [[path for path in paths if Shard(number, count).has(path)] for number in range(1, count + 1)]
    assert sorted(path for part in parts for path in part) == paths
    assert all(abs(len(part) - 3000 / count) < 0.3 * 3000 / count for part in parts)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/", "/3", "a/3", "1/0", "-1/3", "1/3/5"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="must be I/N"):
        Shard.of(text)
