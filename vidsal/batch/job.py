"""What a batch is given in, its job worked off and accounted for out: `run_batch`, and what is asked of a job later."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vidsal.addresses import hide_secrets
from vidsal.batch.accounts import accounts_in
from vidsal.batch.database import JobDatabase, Listed, Row, State, Trouble
from vidsal.batch.dataset import DatasetProgress, DatasetReport, Finished, write_dataset
from vidsal.batch.engines.contract import Engine
from vidsal.batch.engines.local import LocalEngine
from vidsal.batch.folder import database_path, job_folder, working_on
from vidsal.batch.inputs import Given, Search, Shard, check_inputs, find_inputs
from vidsal.batch.options import ArchiveOptions, BatchOptions
from vidsal.batch.schedule import BatchProgress, Scheduler
from vidsal.batch.storage import Logins, find, is_remote, join, put, remove
from vidsal.batch.summary import write_summary
from vidsal.batch.task import clear_partials
from vidsal.batch.work import Ended, Work
from vidsal.config import options_of, resolve, to_yaml
from vidsal.errors import ConfigError, Setting, Stopped, VidsalError
from vidsal.index import make_index
from vidsal.pipe.options import ModelOptions, RunOptions
from vidsal.pipe.record import decisive_options
from vidsal.pipe.trial import check_options
from vidsal.provenance import package_version

__all__ = ["BatchReport", "Plans", "gather", "run_batch", "write_index"]


@dataclass(frozen=True)
class BatchReport:
    """What a batch did."""

    outcome: Literal["complete", "interrupted", "failed"]
    """complete: nothing waits any more; failed: it ended at the first failure, as `fail_fast` asks."""
    counts: Mapping[str, int]
    """How many of the inputs of this command are in which state."""
    reasons: Sequence[Trouble]
    """State, reason, number of inputs, one of them, and its message, of what failed or is damaged."""
    search: Search
    """What the search left out."""
    changed: int
    """Inputs that were done and changed since, or whose options did."""
    ended: int
    """Inputs that ended in this run."""
    frames: int
    """Frames written in this run."""
    video_seconds: float
    """Seconds of video done in this run."""
    seconds: float
    """What it took."""
    files: tuple[Path, ...]
    """batch.csv and batch.json; and the index of all reports, where there are some."""
    dataset: DatasetReport | None = None
    """The data set of all inputs; None where none was gathered."""
    notes: tuple[str, ...] = ()
    """What else a user should know."""

    @property
    def is_all_done(self) -> bool:
        """Whether every input is done and whole."""
        done = self.counts.get("done", 0)
        return done == sum(self.counts.values()) and not self.search.problems

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        reasons = [trouble._asdict() for trouble in self.reasons]
        files = [str(path) for path in self.files]
        shown = {"search": self.search.as_dict(), "reasons": reasons, "files": files, "is_all_done": self.is_all_done}
        dataset = None if self.dataset is None else dataclasses.asdict(self.dataset)
        return vars(self) | {"counts": dict(self.counts), "dataset": dataset} | shown


class Plans:
    """Options of a batch and of single inputs of it in, what each is run with out, and its hash.

    Options that no input whatever could be run with are refused here, see `check_options`.

    Args:
        options: those of all.

    Raises:
        CheckpointError, ConfigError: the model cannot be loaded, or nothing can be run with the options.
    """

    def __init__(self, options: ArchiveOptions) -> None:
        self._base = {option.key: _value(options, option.path) for option in options_of(RunOptions)}
        self._shot_lists = options.batch.shot_lists
        self._here = options.batch.engine == "local"
        self._tried: set[RunOptions] = set()
        self._steps: dict[ModelOptions, int] = {}
        self._made: dict[str, tuple[RunOptions, str]] = {}
        self.models: dict[ModelOptions, dict[str, str]] = {}
        """Name, sha256 and precision of every model that is used."""
        self.run_options({})

    def run_options(self, overrides: Mapping[str, Any]) -> RunOptions:
        """The options of an input.

        Args:
            overrides: its own, by key.

        Raises:
            ConfigError: one of them is unknown, has a value that is not allowed, or asks for what is not here.
        """
        return self._plan(overrides)[0]

    def hash_of(self, overrides: Mapping[str, Any]) -> str:
        """The hash of all that the results of an input depend on, but for the input itself."""
        return self._plan(overrides)[1]

    def _plan(self, overrides: Mapping[str, Any]) -> tuple[RunOptions, str]:
        key = json.dumps(overrides, sort_keys=True, default=str)
        if key not in self._made:
            options = self._resolved(overrides)
            model = self._model(options.model)
            self._try(options)
            decisive = {"model": model, **decisive_options(options)}
            digest = hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()
            self._made[key] = options, digest[:32]
        return self._made[key]

    def _resolved(self, overrides: Mapping[str, Any]) -> RunOptions:
        own = {_SHORT.get(name, name.replace("-", "_")): value for name, value in overrides.items()}
        for name in own:
            if name.startswith("output.") or name in ("output", "existing", "overwrite", "record"):
                raise ConfigError(Setting(name), " cannot be chosen for one input of a batch")
        options = resolve(RunOptions, self._base, own)
        existing: Literal["skip", "overwrite"] = "overwrite" if options.output.existing == "overwrite" else "skip"
        export = options.output.export
        if self._shot_lists and "shots" not in export:
            export = (*export, "shots")
        output = dataclasses.replace(options.output, existing=existing, overwrite=False, export=export)
        return dataclasses.replace(options, output=output)

    def _try(self, options: RunOptions) -> None:
        # Each line of a list may have a part of its own.
        whole = dataclasses.replace(options.decode, start_seconds=0.0, end_seconds=None)
        options = dataclasses.replace(options, decode=whole)
        if options not in self._tried:
            check_options(options, steps=self._steps[options.model], here=self._here)
            self._tried.add(options)

    def _model(self, options: ModelOptions) -> dict[str, str]:
        if options not in self.models:
            model = options.load()
            self.models[options] = {"name": model.card.name, "sha256": model.sha256, "precision": model.precision}
            self._steps[options] = model.config.steps
        return self.models[options]


_SHORT = {"start": "start_seconds", "end": "end_seconds"}


def _value(options: Any, path: Sequence[str]) -> Any:
    for name in path:
        options = getattr(options, name)
    return options


def run_batch(
    given: Given,
    options: ArchiveOptions,
    *,
    shard: Shard | None = None,
    engine: Callable[[], Engine] | None = None,
    on_listed: Callable[[BatchProgress, Search, str], None] | None = None,
    on_event: Callable[[Ended, Row, State], None] | None = None,
    on_progress: Callable[[BatchProgress], None] | None = None,
    on_gathered: Callable[[DatasetProgress], None] | None = None,
    stop_requested: Callable[[], int] = lambda: 0,
) -> BatchReport:
    """Run every input of an archive, and keep account of it; what is done already is not done again.

    Args:
        given: the inputs; `given.output` is the folder of `options`.
        options: of all of them, with the folder for the results.
        shard: which part of the inputs is this process's own; None: all.
        engine: makes the engine; None: as the options say.
        on_listed: told once what there is to do, what the search left out, and who does it.
        on_event: as for `Scheduler`.
        on_progress: as for `Scheduler`.
        on_gathered: is told how far the data set is.
        stop_requested: as for `Scheduler`.

    Raises:
        ConfigError: an input is not there, an option is wrong; nothing is made then.
        DecodeError: a place elsewhere does not let this user in; nothing is made then.
        KeyboardInterrupt: an end was asked for while inputs were searched.
        CheckpointError: a model cannot be loaded.
        EncodeError: the folder for the results cannot be used, or another process is at work on the same job.
    """
    output = options.output.output
    if output is None:
        raise ConfigError(Setting("output"), " is missing: name the folder for the results of the batch")
    output = output.absolute()
    plans = Plans(options)
    check_inputs(given, plans.hash_of, check_address=login_check())
    if options.batch.upload is not None:
        check_upload(options.batch.upload)
    search = Search()
    with ExitStack() as stack:
        database = stack.enter_context(working_on(database_path(output, shard)))
        run = database.begin_run(
            given=json.dumps(
                given.as_dict() | {"shard": shard and f"{shard.number}/{shard.count}", "folder": str(Path.cwd())}
            ),
            options=to_yaml(options),
            models=json.dumps(list(plans.models.values())),
            version=package_version(),
            host=platform.node(),
        )
        outcome = "failed"
        files: tuple[Path, ...] | None = ()
        try:
            found = _until_stopped(find_inputs(given, plans.hash_of, search, remote=find_remote), stop_requested)
            try:
                counts = database.list_inputs(found, mine=shard.has if shard else None)
            except ConfigError as error:
                database.forget_run(run)
                files = None
                raise ConfigError(*error.args, search.left_out()) from error
            make_work = _WorkMaker(database, plans, output, options.batch)

            def note(end: Ended, row: Row, state: State) -> None:
                if end.outcome == "interrupted" or end.reason in ("worker died", "too slow"):
                    clear_partials(make_work(row))  # a worker that was killed could not
                if on_event:
                    on_event(end, row, state)

            scheduler = Scheduler(
                database,
                run,
                stack.enter_context(engine() if engine else _engine(options)),
                make_work,
                options=options.batch,
                disk=output,
                on_event=note,
                on_progress=on_progress,
                stop_requested=stop_requested,
            )
            if on_listed:
                on_listed(scheduler.progress, search, scheduler.engine.describe())
            outcome = scheduler.work()
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            database.end_run(run, outcome)
            if files is not None:
                files = write_summary(output, database, name="batch" if shard is None else f"batch.{shard.name}")
        dataset: DatasetReport | None = None
        notes: tuple[str, ...] = ()
        if shard is None and outcome == "complete" and options.batch.dataset:
            dataset, notes = gather(output, database, on_progress=on_gathered, should_stop=lambda: stop_requested() > 0)
        former = [made for _, _, made in database.former(run=run)]
        if former:
            still = f"{len(former):,} result{'s' if len(former) > 1 else ''} of earlier options may still be there"
            one = hide_secrets(former[0].address or former[0].file)
            notes += (f"{still}, such as {one}; to remove what is: vidsal batch clean {output} --surplus",)
        if shard is None and outcome != "interrupted" and options.output.report:
            index, more = write_index(output, database, should_stop=lambda: stop_requested() > 0)
            files, notes = (*(files or ()), *index), (*notes, *more)
        progress = scheduler.progress
        return BatchReport(
            outcome=outcome,  # type: ignore[arg-type]
            counts=database.counts(listed=True),
            reasons=database.reasons(listed=True),
            search=search,
            changed=counts["changed"],
            ended=progress.ended,
            frames=progress.frames,
            video_seconds=progress.video_seconds,
            seconds=progress.seconds,
            files=files or (),
            dataset=dataset,
            notes=notes,
        )


def gather(
    output: Path,
    database: JobDatabase,
    *,
    on_progress: Callable[[DatasetProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[DatasetReport | None, tuple[str, ...]]:
    """Bring the data set of a job, DIR/dataset, up to date with what is done.

    Args:
        output: DIR.
        database: the job.
        on_progress: is told how far it is.
        should_stop: asked now and then; True leaves the data set as it was.

    Returns:
        What was done, None where nothing could be; and what a user should know of it.
    """
    finished = (
        Finished(hide_secrets(path), place, output / table, output / record, tags)
        for path, place, tags, table, record in database.finished()
        if table is not None and record is not None
    )
    try:
        made = write_dataset(output / "dataset", finished, on_progress=on_progress, should_stop=should_stop)
    except VidsalError as error:
        return None, (f"the data set was not brought up to date: {error}",)
    notes = [f"not in the data set: {failure.input}: {failure.reason}" for failure in made.failures]
    if made.stopped:
        notes.append("the data set is not complete yet: the next run goes on with it")
    return made, tuple(notes)


def write_index(
    output: Path, database: JobDatabase, *, should_stop: Callable[[], bool] | None = None
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Bring the index of all reports of a job up to date.

    Args:
        output: the folder of all results.
        database: the job.
        should_stop: asked now and then; True leaves the index as it was.

    Returns:
        The page, where it was made; and what a user should know of it.
    """
    try:
        made = make_index(output, accounts=dict(accounts_in(database)), should_stop=should_stop)
    except Stopped:
        return (), (f"the index was not brought up to date: vidsal report {output} does that",)
    except VidsalError as error:
        return (), (f"the index was not brought up to date: {error}",)
    return (made.path,), ()


def _until_stopped(found: Iterator[Listed], stop_requested: Callable[[], int]) -> Iterator[Listed]:
    for one in found:
        if stop_requested():
            raise KeyboardInterrupt
        yield one


def _engine(options: ArchiveOptions) -> Engine:
    wanted = options.batch
    if wanted.engine == "ray":
        # Here, and not above: it is not needed by those who have one machine.
        from vidsal.batch.engines.ray import RayEngine

        folder = None if options.output.output is None else job_folder(options.output.output.absolute())
        return RayEngine.for_options(wanted, device=options.model.device, folder=folder)
    return LocalEngine.for_device(options.model.device, workers=wanted.workers, lanes=wanted.lanes)


class _WorkMaker:
    """A row of the database in, what its attempt is asked out."""

    def __init__(self, database: JobDatabase, plans: Plans, output: Path, batch: BatchOptions) -> None:
        self._database = database
        self._plans = plans
        self._output = output
        limit = batch.scratch_limit
        self._elsewhere: dict[str, Any] = {
            "upload": batch.upload,
            "scratch": None if batch.scratch is None else str(batch.scratch.absolute()),
            "scratch_bytes": None if limit is None else round(limit * 1e9),
        }

    def __call__(self, row: Row) -> Work:
        options = self._plans.run_options(row.overrides)
        known = (*self._database.former_of(row.id), *self._database.files_of(row.id))
        earlier = {made.file: made.bytes for made in known}
        attempt = row.attempts
        return Work(row.id, row.path, row.place, str(self._output), options, attempt, earlier, **self._elsewhere)


def check_upload(address: str) -> None:
    """See that a file can be put below an address, before hours are spent on results for it.

    Raises:
        EncodeError, TransferError, ConfigError: it cannot.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder, f"vidsal-{secrets.token_hex(4)}.trial")
        trial.write_bytes(b"may be removed\n")
        put(trial, join(address, trial.name))
        remove(join(address, trial.name))


def login_check() -> Callable[[str], None]:
    """What sees of an address whether its place lets this user in, each place once; others are left alone.

    It raises as `Logins.check` does.
    """
    logins = Logins()

    def check(text: str) -> None:
        if is_remote(text):
            logins.check(text)

    return check


def find_remote(text: str) -> Iterator[Any] | None:
    """The files below an address of a storage; None for what is none."""
    return find(text) if is_remote(text) else None
