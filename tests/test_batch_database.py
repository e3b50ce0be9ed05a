"""The job: who is listed, under which names, in which state, and what a kill at any moment leaves."""

from __future__ import annotations

import dataclasses
import itertools
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vidsal.batch.database import JobDatabase, Listed, Row
from vidsal.batch.inputs import Shard, _Candidate, _places
from vidsal.batch.work import Ended, Made
from vidsal.errors import ConfigError, EncodeError
from vidsal.pipe.record import InputRecord


def listed(path: str, plan: str = "p", size: int | None = 10, modified: str | None = "2026") -> Listed:
    below = path.removeprefix("/in/").rpartition("/")[0]
    return Listed(path, _places(_Candidate(path, below, size, modified, {}, {})), size, modified, plan, {}, {})


class Job:
    """A database, and commands that work on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = JobDatabase(path)
        self.run = 0

    def list(self, *inputs: Listed | str, mine: Callable[[str], bool] | None = None) -> dict[str, int]:
        """A command names inputs."""
        self.run = self.database.begin_run(given="{}", options="", models="[]", version="1", host="here")
        found = [one if isinstance(one, Listed) else listed(one) for one in inputs]
        return self.database.list_inputs(found, mine=mine)

    def end(self, path: str, outcome: str = "done", reason: str | None = None, *files: Made) -> None:
        """An attempt begins and ends."""
        id = self.row(path).id
        self.database.start([id])
        state = {"interrupted": "waiting"}.get(outcome, outcome)
        end = Ended(id, outcome, reason, files=files, input=InputRecord("a", "video", sample_sha256="s"))  # type: ignore[arg-type]
        self.database.settle(self.run, [(end, state, 0.0)])  # type: ignore[list-item]

    def rows(self) -> dict[str, Row]:
        return {row.path: row for row in self.database.rows()}

    def row(self, path: str) -> Row:
        return self.rows()[path]

    def places(self) -> dict[str, str]:
        return {path: row.place for path, row in self.rows().items()}

    def states(self) -> dict[str, str]:
        return {path: row.state for path, row in self.rows().items()}

    def waiting(self) -> list[str]:
        return [row.path for row in self.database.waiting(limit=99, now=1e12)]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path / "job.sqlite")
    yield job
    job.database.__exit__()


def test_a_second_command_finds_what_is_done_and_what_waits(job: Job) -> None:
    assert job.list("/in/a.mp4", "/in/b.mp4", "/in/c.mp4") == {"waiting": 3, "new": 3, "changed": 0}
    job.end("/in/a.mp4", "done", None, Made("table", "a.csv", 3, "00"))
    job.end("/in/b.mp4", "failed", "not decodable")
    assert job.list("/in/a.mp4", "/in/b.mp4", "/in/c.mp4", "/in/d.mp4") == {
        "done": 1, "failed": 1, "waiting": 2, "new": 1, "changed": 0,
    }  # fmt: skip
    assert job.waiting() == ["/in/c.mp4", "/in/d.mp4"]
    a = job.row("/in/a.mp4")
    assert (a.attempts, a.sample_sha256) == (1, "s")
    assert job.database.files_of(a.id) == [Made("table", "a.csv", 3, "00")]


@pytest.mark.parametrize("change", [{"plan": "q"}, {"size": 11}, {"modified": "2027"}])
@pytest.mark.parametrize("state", ["done", "failed", "damaged"])
def test_what_changed_since_is_done_again(job: Job, change: dict[str, str], state: str) -> None:
    job.list("/in/a.mp4", "/in/b.mp4")
    job.end("/in/a.mp4", state, "unexpected", Made("table", "a.csv", 3, "00"))
    counts = job.list(listed("/in/a.mp4", **change), "/in/b.mp4")  # type: ignore[arg-type]
    assert counts["changed"] == 1
    a = job.row("/in/a.mp4")
    assert (a.state, a.attempts, a.reason) == ("waiting", 0, None)
    # What it may replace is still known.
    assert job.database.files_of(a.id) == [Made("table", "a.csv", 3, "00")]


def test_what_is_not_named_any_more_waits_for_nobody_and_comes_back(job: Job) -> None:
    job.list("/in/a.mp4", "/in/b.mp4", "/in/c.mp4")
    job.end("/in/a.mp4")
    assert job.list("/in/c.mp4") == {"waiting": 1, "new": 0, "changed": 0}
    assert job.states() == {"/in/a.mp4": "done", "/in/b.mp4": "skipped", "/in/c.mp4": "waiting"}
    assert job.waiting() == ["/in/c.mp4"]
    assert job.list("/in/a.mp4", "/in/b.mp4") == {"done": 1, "waiting": 1, "new": 0, "changed": 0}


def test_what_a_killed_command_was_at_waits_and_costs_nothing(job: Job) -> None:
    job.list("/in/a.mp4", "/in/b.mp4")
    job.database.start([job.row("/in/a.mp4").id])
    other = Job(job.path)
    other.list("/in/a.mp4", "/in/b.mp4")
    assert other.row("/in/a.mp4").state == "waiting"
    assert other.row("/in/a.mp4").attempts == 0
    other.database.__exit__()


def test_what_was_gone_is_tried_again_when_it_is_back(job: Job) -> None:
    gone = listed("/in/a.mp4", size=None, modified=None)
    job.list(gone, "/in/b.mp4")
    for path in ("/in/a.mp4", "/in/b.mp4"):
        job.end(path, "failed", "gone")  # the second one only for a while, as a disk that was not there
    job.list(gone, "/in/b.mp4")
    assert job.states() == {"/in/a.mp4": "failed", "/in/b.mp4": "waiting"}


def test_an_input_that_is_named_twice_is_one(job: Job) -> None:
    assert job.list("/in/a.mp4", "/in/b.mp4", "/in/a.mp4")["new"] == 2


def test_attempts_deaths_and_pauses_are_counted(job: Job) -> None:
    job.list("/in/a.mp4")
    id = job.row("/in/a.mp4").id
    ends = [
        (Ended(id, "failed", "worker died", "signal 6"), "waiting", 0.0),
        (Ended(id, "interrupted", free_of_charge=True), "waiting", 0.0),
        (Ended(id, "failed", "disk full", free_of_charge=True), "waiting", 0.0),
        (Ended(id, "failed", "transfer", "x\udce9"), "waiting", 5e11),
    ]
    for end in ends:
        job.database.settle(job.run, [end])  # type: ignore[list-item]
    row = job.row("/in/a.mp4")
    assert (row.attempts, row.deaths, row.reason, row.message) == (2, 1, "transfer", "x\\udce9")
    assert job.database.attempts_of(id) == 4
    assert job.database.next_time() == 5e11
    assert job.database.waiting(limit=9, now=4e11) == []
    assert job.database.retry(["failed"]) == 0
    # A new command waits for nothing.
    job.list("/in/a.mp4")
    assert job.database.next_time() == 0


# Names.


def test_alike_names_get_their_endings_and_keep_what_they_have(job: Job) -> None:
    job.list("/in/a.mp4", "/in/b.mov", "/in/b.MP4", "/in/mon/a.mp4", "/in/C.mp4", "/in/c.mp4")
    assert job.places() == {
        "/in/a.mp4": "a",
        "/in/b.mov": "b.mov",
        "/in/b.MP4": "b.MP4",
        "/in/mon/a.mp4": "mon/a",
        "/in/C.mp4": _places(_Candidate("/in/C.mp4", "", 1, "", {}, {}))[2],
        "/in/c.mp4": _places(_Candidate("/in/c.mp4", "", 1, "", {}, {}))[2],
    }
    before = job.places()
    job.list("/in/a.mov", *before)
    assert job.places() == {**before, "/in/a.mov": "a.mov"}
    # Also when only some of them are named, and others have gone.
    job.list("/in/c.mp4", "/in/A.mkv")
    assert {path: place for path, place in job.places().items() if path in before} == before
    assert job.places()["/in/A.mkv"] == "A.mkv"


TRICKY = [
    "/in/a.mp4", "/in/a.mov", "/in/a.mp4.mov", "/in/A.mp4", "/in/a", "/in/a.mov.mp4", "/in/x/a.mp4", "/in/b.mp4",
    "/in/b.mp4.mp4", "/in/caf\udce9.mp4", "/in/caf\udce9.ts",
]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_no_two_inputs_share_a_name_and_shards_need_not_ask_each_other(tmp_path: Path, seed: int, count: int) -> None:
    paths = random.Random(seed).sample(TRICKY, len(TRICKY))
    placed: dict[str, str] = {}
    for number in range(1, count + 1):
        job = Job(tmp_path / f"{number}.sqlite")
        job.list(*paths, mine=Shard(number, count).has)
        assert not placed.keys() & job.places().keys()
        placed |= job.places()
        job.database.__exit__()
    assert sorted(placed) == sorted(TRICKY)
    assert len({place.casefold() for place in placed.values()}) == len(TRICKY)
    alone = Job(tmp_path / "alone.sqlite")
    alone.list(*sorted(TRICKY))
    assert alone.places() == placed
    alone.database.__exit__()


def test_an_input_for_which_no_name_is_left_is_told(job: Job) -> None:
    job.list("/in/a.mp4")
    same = dataclasses.replace(listed("/in/b.mp4"), places=("a", "A"))
    with pytest.raises(EncodeError, match=r"no name is left for the results of /in/b\.mp4"):
        job.list("/in/a.mp4", same)
    assert list(job.rows()) == ["/in/a.mp4"]


# What can go wrong.


def test_a_list_that_ends_in_an_error_changes_nothing(job: Job) -> None:
    job.list("/in/a.mp4", "/in/b.mp4")

    def broken() -> Iterator[Listed]:
        yield listed("/in/a.mp4", plan="q")
        raise ValueError("the list is broken")

    with pytest.raises(ValueError, match="broken"):
        job.database.list_inputs(broken())
    assert job.states() == {"/in/a.mp4": "waiting", "/in/b.mp4": "waiting"}
    assert job.row("/in/a.mp4").plan == "p"


def test_a_kill_in_the_middle_of_a_change_leaves_none_of_it(job: Job, tmp_path: Path) -> None:
    """What a copy of the files holds is what a kill at this moment leaves."""
    job.list("/in/a.mp4", "/in/b.mp4")
    job.end("/in/a.mp4")
    copy = tmp_path / "copy"
    with job.database.changing():
        job.database._db.execute("UPDATE inputs SET state='done', attempts=9")
        copy.mkdir()
        for path in tmp_path.glob("job.sqlite*"):
            (copy / path.name).write_bytes(path.read_bytes())
    with JobDatabase(copy / "job.sqlite") as database:
        assert [(row.state, row.attempts) for row in database.rows()] == [("done", 1), ("waiting", 0)]


def test_a_full_disk_is_told_and_changes_nothing(job: Job) -> None:
    job.list(*(f"/in/{number}.mp4" for number in range(50)))
    pages = job.database._db.execute("PRAGMA page_count").fetchone()[0]
    job.database._db.execute(f"PRAGMA max_page_count={pages}")
    many = [listed(f"/in/{number}.mp4") for number in range(5000)]
    with pytest.raises(EncodeError, match="cannot be written: database or disk is full"):
        job.database.list_inputs(many)
    assert len(job.rows()) == 50
    assert job.database._db.in_transaction is False


@pytest.mark.parametrize("content", [b"no database" * 200, "other"])
def test_a_file_that_is_no_job_is_refused(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "job.sqlite"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        other = sqlite3.connect(path)
        other.execute("PRAGMA user_version=99")
        other.close()
    with pytest.raises(EncodeError, match=r"cannot be opened|another version"):
        JobDatabase(path)


def test_rows_come_a_few_at_a_time_and_all(job: Job) -> None:
    job.list(*(f"/in/{number:05}.mp4" for number in range(2500)))
    assert [row.path for row in itertools.islice(job.database.rows(), 3)] == [f"/in/{n:05}.mp4" for n in range(3)]
    assert len(list(job.database.rows())) == 2500
    assert len(list(job.database.rows(["done"]))) == 0


def test_an_input_given_twice_with_different_options_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    with JobDatabase(tmp_path / "job.sqlite") as database:
        database.list_inputs([Listed("/in/a.mp4", ("a",), 1, "t", "plan", {}, {})])
        once = Listed("/in/b.mp4", ("b",), 1, "t", "plan", {"end": "1"}, {})
        for other in (dataclasses.replace(once, plan="other"), dataclasses.replace(once, tags={"week": "2"})):
            with pytest.raises(ConfigError, match=r"/in/b\.mp4 is given twice with different options"):
                database.list_inputs([once, once, other])
        with pytest.raises(ConfigError, match="no video is among what was given"):
            database.list_inputs([])
        assert database.counts(listed=True) == {"waiting": 1}
        database.list_inputs([once, once])
        assert database.counts() == {"waiting": 1, "skipped": 1}


def test_only_what_the_last_command_names_is_in_the_data_set(tmp_path: Path) -> None:
    with JobDatabase(tmp_path / "job.sqlite") as database:
        both = [Listed(f"/in/{name}.mp4", (name,), 1, "t", "plan", {}, {}) for name in "ab"]
        run = database.begin_run(given="{}", options="", models="[]", version="1", host="here")
        database.list_inputs(both)
        database.start([1, 2])
        database.settle(run, [(Ended(id, "done"), "done", 0.0) for id in (1, 2)])
        assert [path for path, *_ in database.finished()] == ["/in/a.mp4", "/in/b.mp4"]
        database.list_inputs(both[1:])
        assert [path for path, *_ in database.finished()] == ["/in/b.mp4"]


def test_what_a_list_names_elsewhere_has_its_size_and_time_once_it_was_fetched(job: Job) -> None:
    """And is not taken for changed, as a list does not say them; a file of this machine that is gone is."""
    address, path = "s3://bucket/a.mp4", "/in/a://b.mp4"
    unknown = [listed(one, size=None, modified=None) for one in (address, path)]
    job.list(*unknown)
    for one in (address, path):
        id = job.row(one).id
        job.database.start([id])
        read = InputRecord("a.mp4", "video", bytes=77, modified="2025", sample_sha256="s")
        job.database.settle(job.run, [(Ended(id, "done", input=read), "done", 0.0)])
    assert (job.row(address).bytes, job.row(address).modified) == (77, "2025")
    assert (job.row(path).bytes, job.row(path).modified) == (None, None)
    assert [job.database.standing(one) for one in unknown] == ["done", "done"]
    assert job.list(*unknown)["changed"] == 0 and set(job.states().values()) == {"done"}
    # Its folder says what it is now; and of other options it is another one.
    now = listed(address, size=78, modified="2026")
    assert job.database.standing(now) is None and job.list(now)["changed"] == 1
    other = listed(address, plan="q", size=None, modified=None)
    assert job.database.standing(other) is None and job.list(other)["changed"] == 1
    assert (job.row(address).bytes, job.row(address).state) == (None, "waiting")
