"""What a worker does with the works that it is fed: in this process, with a feed that is a list."""

from __future__ import annotations

import dataclasses
import errno
import gc
import itertools
import shutil
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from made import make_checkpoint
from media import make_video, truncate

from vidsal.batch import task
from vidsal.batch.task import Worker, clear_partials, reason_of
from vidsal.batch.work import Ended, Event, Progress, Reason, Work
from vidsal.decode.options import DecodeOptions
from vidsal.errors import CheckpointError, ConfigError, DecodeError, EncodeError, ExistsError, Setting, TransferError
from vidsal.files import claim, release
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.options import ModelOptions, OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.record import read_records
from vidsal.pipe.run import Job


class Feed:
    """Works that are all there at the beginning; more may be put in later."""

    def __init__(self, *works: Work) -> None:
        self.works = deque(works)
        self.waited = 0

    def wait(self) -> Work | None:
        self.waited += 1
        return self.poll()

    def poll(self) -> Work | None:
        return self.works.popleft() if self.works else None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, and three clips."""
    folder = tmp_path_factory.mktemp("task")
    make_checkpoint(folder / "tiny.safetensors")
    for name, frames in (("a", 5), ("b", 3), ("long", 90)):
        make_video(folder / f"{name}.mp4", frames=frames)
    return folder


@pytest.fixture
def options(folder: Path, tmp_path: Path) -> RunOptions:
    output = OutputOptions(output=tmp_path / "out", video=False, existing="skip")
    return RunOptions(model=ModelOptions(str(folder / "tiny.safetensors"), "cpu"), output=output)


@pytest.fixture
def work(folder: Path, tmp_path: Path, options: RunOptions) -> Callable[..., Work]:
    ids = itertools.count(1)

    def make(name: str = "a", **changes: Any) -> Work:
        id = next(ids)
        source = changes.pop("source", str(folder / f"{name}.mp4"))
        place = changes.pop("place", f"sub/{name}{id}")
        return dataclasses.replace(Work(id, source, place, str(tmp_path / "out"), options), **changes)

    return make


def run(*works: Work, **more: Any) -> list[Event]:
    """All that a worker says of works."""
    events: list[Event] = []
    Worker(Feed(*works), events.append, should_stop=more.pop("should_stop", lambda: False), **more).run()
    return events


def ends(events: Sequence[Event]) -> list[Ended]:
    return [event for event in events if isinstance(event, Ended)]


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("lanes", [1, 3])
def test_each_work_begins_once_and_ends_once_with_its_files(
    work: Callable[..., Work], tmp_path: Path, lanes: int
) -> None:
    works = [work("ab"[number % 2]) for number in range(7)]
    events = run(*works, lanes=lanes)
    ids = [one.id for one in works]
    assert sorted(end.id for end in ends(events)) == ids
    begins = [event.id for event in events if isinstance(event, Progress) and event.frames == 0]
    assert begins == ids
    for one in works:
        first = next(n for n, event in enumerate(events) if event.id == one.id)
        last = next(n for n, event in enumerate(events) if event.id == one.id and isinstance(event, Ended))
        assert isinstance(events[first], Progress)
        # Nothing is said of it after its end.
        assert [n for n, event in enumerate(events) if event.id == one.id][-1] == last
    end = next(end for end in ends(events) if end.id == 1)
    assert (end.outcome, end.frames, end.found, end.reason) == ("done", 5, False, None)
    assert end.input is not None
    assert end.input.name == "a.mp4"
    assert {made.stage: made.file for made in end.files} == {
        "table": "sub/a1.vidsal.csv",
        "record": "sub/a1.vidsal.json",
    }
    for made in end.files:
        path = tmp_path / "out" / made.file
        assert (path.stat().st_size, task.sha256_of(path)) == (made.bytes, made.sha256)
    assert not {name for name in left_in(tmp_path) if "partial" in name}


def test_a_long_work_says_how_far_it_is(work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "_TELL_SECONDS", 0.0)
    told = [event for event in run(work("long")) if isinstance(event, Progress)]
    assert [told[0].frames, told[-1].frames] == [0, 90]
    assert told[-1].total == 90
    assert told[-1].length_seconds == pytest.approx(3.6)
    assert told[-1].pts_seconds == pytest.approx(89 / 25)


def test_what_is_there_is_found_and_not_made_again(work: Callable[..., Work], tmp_path: Path) -> None:
    one = work(place="a")
    (first,) = ends(run(one))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    # What a process leaves that is killed right after.
    (tmp_path / "out" / "a.vidsal.partial.csv.lock").touch()
    (tmp_path / "out" / "a.vidsal.json.partial.lock").touch()
    (again,) = ends(run(one))
    assert (again.outcome, again.found, again.frames) == ("done", True, 5)
    assert again.files == first.files
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_what_is_found_of_a_damaged_input_says_why_it_is(work: Callable[..., Work], folder: Path) -> None:
    make_video(folder / "cut.ts", frames=30)
    truncate(folder / "cut.ts", 0.6)
    one = dataclasses.replace(work(place="cut"), source=str(folder / "cut.ts"))
    (first,) = ends(run(one))
    (again,) = ends(run(one))
    assert (first.outcome, again.outcome, again.found) == ("damaged", "damaged", True)
    assert first.message and (again.message, again.messages) == (first.message, first.messages)


def test_the_results_of_a_copy_in_another_folder_are_not_taken_for_its_own(
    work: Callable[..., Work], folder: Path, tmp_path: Path
) -> None:
    """Both have one name, one size and one time."""
    (tmp_path / "mon").mkdir()
    copy = tmp_path / "mon" / "a.mp4"
    shutil.copy2(folder / "a.mp4", copy)
    events = ends(run(work(place="a"), work(source=str(copy), place="mon/a")))
    assert [(end.outcome, end.found) for end in events] == [("done", False)] * 2
    assert (tmp_path / "out" / "mon" / "a.vidsal.csv").is_file()


def test_a_changed_option_replaces_what_the_batch_made_and_nothing_else(
    work: Callable[..., Work], options: RunOptions, tmp_path: Path
) -> None:
    one = work(place="a")
    (first,) = ends(run(one))
    other = dataclasses.replace(options, decode=DecodeOptions(end_seconds=0.1))
    changed = dataclasses.replace(one, options=other)
    (refused,) = ends(run(changed))
    assert (refused.outcome, refused.reason) == ("failed", "results exist")
    earlier = {made.file: made.bytes for made in first.files}
    # Of another size than the batch made it: somebody has changed it.
    (refused,) = ends(run(dataclasses.replace(changed, earlier=earlier | {"a.vidsal.csv": 1})))
    assert refused.reason == "results exist"
    (end,) = ends(run(dataclasses.replace(changed, earlier=earlier)))
    assert (end.outcome, end.frames, end.found) == ("done", 3, False)
    (record,) = read_records(tmp_path / "out" / "a.vidsal.json")
    assert record.counts["frames"] == 3


def test_what_was_killed_while_it_replaced_results_is_replaced_in_the_next_attempt(
    work: Callable[..., Work], options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of the new files have their names by then, others not, and the database knows only the old ones."""
    two = dataclasses.replace(options, output=dataclasses.replace(options.output, maps="npz"))
    one = work(place="a", options=two)
    (first,) = ends(run(one))
    earlier = {made.file: made.bytes for made in first.files}
    changed = dataclasses.replace(
        one, earlier=earlier, options=dataclasses.replace(two, decode=DecodeOptions(end_seconds=0.1))
    )

    class Killed(BaseException):
        pass

    def place_one(pairs: Sequence[tuple[Path, Path]]) -> None:
        pairs[0][0].replace(pairs[0][1])
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("vidsal.sinks.contract.put_all_in_place", place_one)
        with pytest.raises(Killed):
            run(changed)
    (end,) = ends(run(changed))
    assert (end.outcome, end.frames, end.message) == ("done", 3, "")


def test_a_record_that_nobody_can_read_is_not_replaced(work: Callable[..., Work], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.vidsal.json").write_text("mine")
    (end,) = ends(run(work(place="a")))
    assert end.reason == "results exist"
    assert (tmp_path / "out" / "a.vidsal.json").read_text() == "mine"


# What fails.


def test_a_failure_ends_one_work_and_leaves_nothing(work: Callable[..., Work], tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.mp4", tmp_path / "gone.mp4"
    broken.write_bytes(b"no video")
    events = ends(run(work(source=str(broken)), work(), work(source=str(empty)), work("b")))
    assert [(end.outcome, end.reason) for end in events] == [
        ("failed", "not decodable"),
        ("done", None),
        ("failed", "gone"),
        ("done", None),
    ]
    assert "broken.mp4" in events[0].message
    assert {name for name in left_in(tmp_path / "out") if "partial" in name} == set()


def test_what_fails_in_the_middle_leaves_no_partial_files(work: Callable[..., Work], tmp_path: Path) -> None:
    one = work("long")
    blocked = tmp_path / "out" / f"{one.place}.vidsal.csv"

    def block(event: Event) -> None:
        events.append(event)

    events: list[Event] = []
    original = Job.write

    def write(job: Job, batch: Any) -> Any:
        blocked.touch()  # appears while it is being written
        return original(job, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "write", write)
        Worker(Feed(one), block, should_stop=lambda: False).run()
    (end,) = ends(events)
    assert (end.outcome, end.reason) == ("failed", "not writable")
    assert left_in(tmp_path / "out") == {blocked.name}


def test_what_somebody_else_is_at_is_left_to_him(work: Callable[..., Work], tmp_path: Path) -> None:
    one = work(place="a")
    (tmp_path / "out").mkdir()
    partial = tmp_path / "out" / "a.vidsal.partial.csv"
    partial.write_text("his")
    lock = claim(partial)
    assert lock is not None
    (end,) = ends(run(one))
    assert (end.outcome, end.reason) == ("failed", "not writable")
    assert partial.read_text() == "his"
    release(partial, lock)
    clear_partials(one)
    assert left_in(tmp_path / "out") == set()


def test_a_wrong_option_of_one_input_is_told_and_the_others_go_on(
    work: Callable[..., Work], options: RunOptions
) -> None:
    wrong = dataclasses.replace(options, recurrence=RecurrenceOptions(steps=9))
    events = ends(run(work(), work(options=wrong), work()))
    assert [(end.outcome, end.reason) for end in events] == [
        ("done", None),
        ("failed", "wrong option"),
        ("done", None),
    ]


def test_a_model_that_is_not_there_fails_its_inputs_only(work: Callable[..., Work], options: RunOptions) -> None:
    other = dataclasses.replace(options, model=ModelOptions("missing.safetensors", "cpu"))
    events = ends(run(work(options=other), work()))
    assert [(end.outcome, end.reason) for end in events] == [("failed", "model"), ("done", None)]


def test_an_error_of_the_model_fails_the_attempt_that_was_alone(
    work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    forward = SaliencyModel.__call__

    def fail_once(model: SaliencyModel, *args: Any, **more: Any) -> Any:
        if next(calls) == 0:
            raise RuntimeError("no\nkernel")
        return forward(model, *args, **more)

    monkeypatch.setattr(SaliencyModel, "__call__", fail_once)
    events = ends(run(work(), work("b"), work()))
    # The next one may have begun by then, and is tried again.
    assert {end.id for end in events} == {1, 2, 3}
    assert len(events) == 3
    assert sum(end.outcome == "done" for end in events) >= 2
    assert all(end.message == "unexpected RuntimeError: no kernel" for end in events if end.outcome == "failed")


def test_of_several_that_were_in_the_model_as_it_failed_each_is_tried_by_itself(
    work: Callable[..., Work], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where memory is enough for one, but not for all."""
    sizes: list[int] = []
    forward = SaliencyModel.__call__

    def too_many(model: SaliencyModel, pictures: Any, *args: Any, **more: Any) -> Any:
        sizes.append(len(pictures))
        if len(pictures) > 2:
            raise MemoryError
        return forward(model, pictures, *args, **more)

    monkeypatch.setattr(SaliencyModel, "__call__", too_many)
    works = [work(), work(), work()]
    events = ends(run(*works, lanes=3))
    assert max(sizes) > 2
    assert sorted((end.id, end.outcome, end.frames) for end in events) == [(id, "done", 5) for id in (1, 2, 3)]
    assert not {name for name in left_in(tmp_path) if "partial" in name}


def test_an_end_that_cannot_be_told_well_is_told_all_the_same(
    work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the results are gone before their hashes are taken."""
    monkeypatch.setattr(task, "sha256_of", lambda path: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    (end,) = ends(run(work()))
    assert (end.outcome, end.reason) == ("failed", "not readable")


ERRORS = [
    (MemoryError(), "out of memory"),
    (OSError(errno.ENOMEM, ""), "out of memory"),
    (OSError(errno.ENOSPC, ""), "disk full"),
    (OSError(errno.EDQUOT, ""), "disk full"),
    (ExistsError("there"), "results exist"),
    (EncodeError("no"), "not writable"),
    (CheckpointError("no"), "model"),
    (ConfigError("no"), "wrong option"),
    (DecodeError("lost frames: ", Setting("strict", True)), "damaged"),
    (DecodeError("no video"), "not decodable"),
    (OSError(errno.EACCES, ""), "not readable"),
    (OSError(errno.ESTALE, ""), "transfer"),
    (OSError(errno.EBADMSG, ""), "unexpected"),
    (ValueError("what"), "unexpected"),
]


@pytest.mark.parametrize(("error", "reason"), ERRORS, ids=[f"{type(e).__name__}-{reason}" for e, reason in ERRORS])
def test_every_error_has_its_reason_also_below_another(folder: Path, error: Exception, reason: Reason) -> None:
    source = str(folder / "a.mp4")
    assert reason_of(error, source) == reason
    if isinstance(error, OSError):
        over = EncodeError("cannot write")
        over.__cause__ = error
        assert reason_of(over, source) == (reason if reason in ("disk full", "out of memory") else "not writable")


def test_an_input_that_has_gone_is_told_from_one_that_cannot_be_opened(tmp_path: Path) -> None:
    assert reason_of(DecodeError("no"), str(tmp_path / "gone.mp4")) == "gone"
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    error = DecodeError("no")
    error.__cause__ = FileNotFoundError(errno.ENOENT, "")
    assert reason_of(error, str(tmp_path / "link.mp4")) == "not readable"
    assert reason_of(DecodeError("no"), "https://host/a.mp4") == "not decodable"


# Stops, ends and what is side by side.


class After:
    """True after so many questions."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("asked", [0, 1, 2, 3, 4, 5, 7, 10])
@pytest.mark.parametrize("lanes", [1, 2])
def test_however_it_is_stopped_no_work_is_lost(
    work: Callable[..., Work], tmp_path: Path, asked: int, lanes: int
) -> None:
    """Each ends, is left with the worker, or was never taken."""
    works = [work("long"), work(), work("b"), work("long")]
    feed, events = Feed(*works), list[Event]()
    worker = Worker(feed, events.append, should_stop=After(asked), lanes=lanes)
    worker.run()
    ended = [end.id for end in ends(events)]
    left = [one.id for one in (*worker.left(), *feed.works)]
    assert sorted(ended + left) == [one.id for one in works]
    assert {end.outcome for end in ends(events)} <= {"done", "interrupted"}
    assert all(end.free_of_charge for end in ends(events) if end.outcome == "interrupted")
    assert not {name for name in left_in(tmp_path) if "partial" in name}


def test_works_that_are_stopped_before_they_are_open_are_left(
    work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have no outcome of their own."""
    first, second = work(), work("b")
    opening, stopping = threading.Event(), threading.Event()
    events: list[Event] = []
    original = Job.is_done

    def is_done(job: Job) -> bool:
        if not str(job.source).endswith("b.mp4"):
            return original(job)
        opening.set()
        return stopping.wait(60)

    def should_stop() -> bool:
        if events and threading.current_thread() is threading.main_thread():
            assert opening.wait(60)
            stopping.set()
        return stopping.is_set()

    monkeypatch.setattr(Job, "is_done", is_done)
    worker = Worker(Feed(first, second), events.append, should_stop=should_stop)
    worker.run()
    assert [(end.id, end.outcome) for end in ends(events)] == [(first.id, "interrupted")]
    assert worker.left() == [second]


def test_a_worker_that_retires_takes_nothing_more_and_ends_what_it_is_at(work: Callable[..., Work]) -> None:
    ended: list[Event] = []
    feed = Feed(*(work() for _ in range(5)))
    worker = Worker(feed, ended.append, should_stop=lambda: False, should_retire=lambda: len(ends(ended)) >= 2)
    worker.run()
    done = [end.id for end in ends(ended)]
    assert 2 <= len(done) <= 4
    assert [one.id for one in feed.works] == [id for id in range(1, 6) if id not in done]
    assert worker.left() == []


def test_one_that_is_alone_has_nothing_at_its_side(work: Callable[..., Work]) -> None:
    events = run(work(), work("b", alone=True), work("b", alone=True), work(), work(), lanes=4)
    alone = {2, 3}
    running: set[int] = set()
    for event in events:
        if isinstance(event, Ended):
            running.discard(event.id)
        else:
            running.add(event.id)
        assert len(running) == 1 or not running & alone
    assert len(ends(events)) == 5


def test_works_of_other_options_do_not_share_a_round(
    work: Callable[..., Work], options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[ModelOptions] = []
    load = ModelOptions.load
    monkeypatch.setattr(ModelOptions, "load", lambda model: loads.append(model) or load(model))
    reset = dataclasses.replace(options, recurrence=RecurrenceOptions(state="reset"))
    bf16 = dataclasses.replace(options, model=dataclasses.replace(options.model, precision="bf16"))
    works = [work(), work(options=reset), work(options=bf16), work(options=reset), work()]
    events = ends(run(*works, lanes=3))
    assert sorted((end.id, end.outcome) for end in events) == [(id, "done") for id in range(1, 6)]
    # Each once: two are kept.
    assert [one.precision for one in loads] == ["auto", "bf16"]


def test_the_device_of_a_worker_is_that_of_models_that_leave_the_choice(
    work: Callable[..., Work], options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []
    load = ModelOptions.load

    def note(model: ModelOptions) -> SaliencyModel:
        devices.append(model.device)
        return load(dataclasses.replace(model, device="cpu"))

    monkeypatch.setattr(ModelOptions, "load", note)
    for device in ("auto", "cuda", "mps"):
        chosen = dataclasses.replace(options, model=dataclasses.replace(options.model, device=device))
        run(work(options=chosen), device="cuda:1")
    assert devices == ["cuda:1", "cuda:1", "mps"]


@pytest.mark.parametrize(("single", "asked", "threads"), [(True, 0, 1), (True, 3, 3), (False, 0, 0)])
def test_decoders_of_many_workers_take_one_thread_unless_told_otherwise(
    work: Callable[..., Work], options: RunOptions, single: bool, asked: int, threads: int
) -> None:
    chosen = dataclasses.replace(options, decode=DecodeOptions(threads=asked))
    worker = Worker(Feed(), lambda event: None, should_stop=lambda: False, single_thread=single)
    assert worker.options_of(work(options=chosen)).decode.threads == threads


def test_a_work_is_given_back_until_it_is_begun(work: Callable[..., Work]) -> None:
    first, second = work(), work(alone=True)
    given: list[bool] = []
    events: list[Event] = []

    def hear(event: Event) -> None:
        events.append(event)
        if isinstance(event, Ended):
            given.append(worker.give_back(second.id))
            given.append(worker.give_back(first.id))

    worker = Worker(Feed(first), hear, should_stop=lambda: False)
    worker.put_first(second)
    worker.put_first(first)
    worker.run()
    assert given == [True, False, False, False]
    assert {end.id for end in ends(events)} == {first.id}


def test_a_worker_holds_nothing_of_what_has_ended(work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch) -> None:
    """A round lasts as long as there is more to do: for thousands of inputs."""
    jobs: list[weakref.ref[Job]] = []
    most = 0
    begin = Job.__init__

    def note(job: Job, *args: Any, **more: Any) -> None:
        nonlocal most
        gc.collect()
        most = max(most, sum(one() is not None for one in jobs))
        jobs.append(weakref.ref(job))
        begin(job, *args, **more)

    monkeypatch.setattr(Job, "__init__", note)
    assert len(ends(run(*(work("b") for _ in range(7))))) == 7
    assert most <= 3


def test_events_come_from_a_hook_that_fails(work: Callable[..., Work]) -> None:
    def before(work: Work) -> None:
        if work.id == 1:
            raise ValueError("hooked")

    events = ends(run(work(), work(), before=before))
    assert [(end.id, end.outcome, end.message) for end in events] == [
        (1, "failed", "unexpected ValueError: hooked"),
        (2, "done", ""),
    ]


# Elsewhere.


@pytest.fixture
def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Files that lie in the memory of this process, as fsspec serves them: no batch would take them for remote ones."""
    monkeypatch.setattr(task, "is_remote", lambda text: text.startswith("memory://"))
    files = pytest.importorskip("fsspec").filesystem("memory")
    files.pipe("/archive/mon/a #1.mp4", (folder / "a.mp4").read_bytes())
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def test_inputs_and_results_may_lie_elsewhere(
    work: Callable[..., Work], elsewhere: Any, options: RunOptions, tmp_path: Path
) -> None:
    drawn = dataclasses.replace(options, output=dataclasses.replace(options.output, video=True))
    one = work(
        source="memory://archive/mon/a%20%231.mp4", place="mon/a #1", options=drawn, upload="memory://results/x",
        scratch=str(tmp_path / "scratch"),
    )  # fmt: skip
    alone = work("a", place="alone", options=drawn)
    end, other = [event for event in run(one, alone) if isinstance(event, Ended)]
    assert (end.outcome, end.frames) == ("done", 5)
    assert {made.stage: made.address for made in end.files} == {
        "video": "memory://results/x/mon/a%20%231.vidsal.mp4", "table": None, "record": None,
    }  # fmt: skip
    names = sorted(path.rpartition("/")[2] for path in elsewhere.find("/results"))
    assert names == ["a #1.vidsal.csv", "a #1.vidsal.json", "a #1.vidsal.mp4"]
    here = sorted(path.name for path in (tmp_path / "out" / "mon").iterdir())
    assert here == ["a #1.vidsal.csv", "a #1.vidsal.json"], "what is large is not kept here"
    tables = [elsewhere.cat("/results/x/mon/a #1.vidsal.csv"), (tmp_path / "out/alone.vidsal.csv").read_bytes()]
    assert tables[0] == tables[1] and other.outcome == "done"
    assert not any((tmp_path / "scratch" / "vidsal-scratch").iterdir())


def test_a_file_elsewhere_that_fails_is_called_by_its_address(
    work: Callable[..., Work], elsewhere: Any, tmp_path: Path
) -> None:
    elsewhere.pipe("/archive/bad.mp4", b"no video")
    works = [work(source=f"memory://archive/{name}", scratch=str(tmp_path / "s")) for name in ("bad.mp4", "gone.mp4")]
    bad, gone = sorted((event for event in run(*works) if isinstance(event, Ended)), key=lambda end: end.id)
    assert bad.reason == "not decodable" and bad.message.startswith("memory://archive/bad.mp4 is not a video")
    assert gone.outcome == "failed" and gone.reason == "gone" and "memory://archive/gone.mp4" in gone.message


def test_results_that_cannot_be_put_elsewhere_are_tried_again_later(
    work: Callable[..., Work], elsewhere: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def put(path: Path, address: str, **_: Any) -> None:
        raise TransferError(f"{address}: the connection broke")

    one = work(upload="memory://results")
    with monkeypatch.context() as broken:
        broken.setattr(task, "put", put)
        (first,) = [event for event in run(one) if isinstance(event, Ended)]
    assert (first.outcome, first.reason) == ("failed", "transfer")
    (second,) = [event for event in run(one) if isinstance(event, Ended)]
    assert second.outcome == "done" and second.found, "nothing is computed again"
    assert elsewhere.exists(f"/results/{one.place}.vidsal.json")
