"""The name and folder of a data set with options in, scores of all its sequences on disk and a summary out.

What is finished stays: each sequence's scores are written whole to OUT/sequences/ and taken up again by a later run
with the same protocol, model and options, if its files are the same and its references come out the same. A sequence
that cannot be read is reported and left out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, get_args

import cv2
import torch

from vidsal.data.layouts import DATASETS, Dataset, open_dataset
from vidsal.errors import ConfigError, DatasetError, DecodeError, EncodeError, Setting, Stopped
from vidsal.evaluate import results
from vidsal.evaluate.fingerprint import Fingerprints
from vidsal.evaluate.options import EvalOptions, FigureFormat
from vidsal.evaluate.protocols import Protocol, find_protocol, metric_names
from vidsal.evaluate.references import (
    INTER_OBSERVER,
    MEAN_DENSITY,
    REFERENCES,
    SHUFFLED,
    MeanDensities,
    find_references,
    gather_means,
    partner_of,
)
from vidsal.evaluate.results import SequenceScores, Summary, read_summary
from vidsal.evaluate.score import Judge, Survey, survey
from vidsal.evaluate.sources import FolderSource, ModelSource, Source
from vidsal.evaluate.trials import Trials, read_trials
from vidsal.files import try_to_lock
from vidsal.metrics import DREYEVE_EPSILON, KL_EPSILON, METRICS, PYSALIENCY_MINIMUM
from vidsal.processes import worker_context
from vidsal.provenance import differences, package_version, source_commit

__all__ = ["EvalProgress", "Evaluation", "evaluate", "open_source", "read_scores", "split_of"]


@dataclass(frozen=True)
class EvalProgress:
    """How far an evaluation is."""

    done: int
    """Sequences scored, taken up from an earlier run, or skipped."""
    total: int
    """Sequences in all."""
    resumed: int
    """Sequences taken up from an earlier run."""
    seconds: float
    """Since scoring began."""
    name: str
    """The sequence that was last done, or is under way."""
    skipped: str | None = None
    """Why that could not be scored; None: it could."""
    frames: int = 0
    """Frames that are done, of sequences that are under way too."""
    frames_total: int = 0
    """Frames that are scored in all."""
    frames_resumed: int = 0
    """Frames of the sequences taken up from an earlier run."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation gave."""

    summary: Summary
    """The result, as in OUT/summary.json."""
    out: Path
    """The folder."""
    files: tuple[Path, ...]
    """What was written there, the summary first."""
    resumed: int
    """Sequences taken up from an earlier run."""


def evaluate(
    name: str,
    root: str | Path,
    *,
    options: EvalOptions | None = None,
    data_options: Mapping[str, Any] | None = None,
    on_progress: Callable[[EvalProgress], None] | None = None,
    on_frames: Callable[[EvalProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Evaluation:
    """Scores a model, or maps made elsewhere, on a data set.

    Args:
        name: of the data set, as `vidsal.data.layouts.DATASETS` has it.
        root: its folder.
        options: all options; None takes the defaults.
        data_options: of the data set, see `open_dataset`.
        on_progress: called after every sequence, in the calling thread.
        on_frames: the same, now and then while a sequence is under way.
        should_stop: asked after every sequence; True ends the evaluation.

    Raises:
        ConfigError: an option is wrong, or `out` holds another evaluation.
        DatasetError: the data set is not in its layout, or not one frame could be scored.
        CheckpointError: the model cannot be loaded.
        EncodeError: results cannot be written.
        Stopped: `should_stop` asked for it; the same call goes on where this one ended.
    """
    plan = _Request.make(name, Path(root), options or EvalOptions(), dict(data_options or {}))
    wanted = plan.options.evaluation
    dataset = plan.dataset()
    trials = plan.trials([sequence.name for sequence in dataset])
    plan.source_facts()  # a missing model is reported before the folder is made
    _refuse_data(plan.out, plan.root)
    with _own_folder(plan.out, overwrite=wanted.overwrite) as folder:
        if not wanted.overwrite:
            _refuse_another(folder, plan)
        # Before anything is read: what changes while it is scored counts as changed the next time.
        made = plan.fingerprints(dataset)
        found = survey(dataset, plan.protocol, limit_frames=wanted.limit_frames)
        means, messages = plan.means(dataset)
        key = plan.key(found, means)
        keys = plan.keys(dataset, found, key, made)
        shared = _Shared(plan, found, means, keys, folder / "sequences")
        jobs = [sequence.name for sequence in dataset if sequence.name in found.sequences]
        chosen = [each for each in jobs if len(found.sequences[each].chosen)]
        skipped = dict(found.skipped)
        messages += trials.messages
        done = {each: shared.finished(each) for each in chosen}
        left = [each for each in chosen if done[each] is None]
        total = len(chosen) + len(skipped)
        frames = {each: len(found.sequences[each].chosen) for each in chosen}
        clock = _Tally(
            on_progress, on_frames, should_stop, total=total, resumed=len(chosen) - len(left), frames=frames, left=left
        )
        for each, reason in found.skipped.items():
            clock.report(each, reason)
        score = _score_here if min(wanted.workers, len(left)) <= 1 else _score_beside
        scored = score(shared, left, clock.under_way)
        with closing(scored):  # type: ignore[type-var]
            for each, failure in scored:
                if failure is not None:
                    skipped[each] = failure
                else:
                    done[each] = shared.read(each)
                clock.report(each, failure)
        sequences = [one for each in chosen if (one := done[each]) is not None]
        if not sequences or not any(len(each.index) for each in sequences):
            raise DatasetError(
                f"not one frame of {name} ({dataset.split}) could be scored under protocol {plan.protocol.name}, of "
                f"{len(dataset)} sequences: {'; '.join(plan.why_nothing(found, sequences, skipped=skipped))}"
            )
        key = _joint_key(key, (keys[each.name] for each in sequences))
        summary = plan.summary(
            dataset,
            sequences,
            means=means,
            skipped=skipped,
            too_short=len(jobs) - len(chosen),
            key=key,
            messages=messages,
            trials=trials,
        )
        if wanted.overwrite:
            _remove_results(folder)
        files = results.write_tables(folder, sequences, kind=wanted.table, trials=trials)
        results.write_summary(folder / "summary.json", summary)
        return Evaluation(summary, folder, (folder / "summary.json", *files), len(chosen) - len(left))


def read_scores(out: str | Path) -> list[SequenceScores]:
    """The scores of every frame of a finished evaluation, sequence by sequence, in the summary's order.

    Args:
        out: the folder that `evaluate` wrote.

    Raises:
        ConfigError: there is no summary, scores of a sequence are missing, or some are not those of the summary.
    """
    out = Path(out)
    summary = read_summary(out)
    base = summary.key.rpartition("-")[0]
    found, keys = [], []
    for name in summary.by_sequence:
        kept = results.read_keyed_sequence(results.sequence_path(out / "sequences", name))
        if kept is None or not kept[0].startswith(f"{base}-"):
            raise ConfigError(f"{out} no longer holds scores of sequence {name}; run vidsal eval again")
        keys.append(kept[0])
        found.append(kept[1])
    if _joint_key(base, keys) != summary.key:
        raise ConfigError(f"{out} holds scores that were made after its summary; run vidsal eval again")
    return found


def _joint_key(base: str, keys: Iterable[str]) -> str:
    """The key of an evaluation: what all its sequences have in common, and a hash of theirs."""
    return f"{base}-{hashlib.sha256(' '.join(sorted(keys)).encode()).hexdigest()}"


def open_source(options: EvalOptions) -> Source:
    """The model, or the folder of maps, that the options stand for.

    Raises:
        CheckpointError, ConfigError, DatasetError: it cannot be opened.
    """
    if options.evaluation.maps is not None:
        return FolderSource(options.evaluation.maps)
    model = options.model.load()
    return ModelSource(model, sha256=model.sha256, options=options.prediction, batch_size=options.evaluation.batch_size)


def split_of(name: str, protocol: Protocol, split: str | None) -> str:
    """The split that is scored: the one given, else the protocol's, else val, test or all.

    Raises:
        ConfigError: there is no such data set.
    """
    if name not in DATASETS:
        raise ConfigError(f"there is no data set {name!r}; known are {', '.join(DATASETS)}")
    usual = [one for one in (protocol.split, "val", "test", "all") if one in DATASETS[name].splits]
    return split or usual[0]


def _left_out(sequences: list[SequenceScores]) -> Counter[str]:
    return sum((Counter(each.left_out) for each in sequences), Counter())


@dataclass(frozen=True)
class _Request:
    """An evaluation that has been asked for; travels to the workers."""

    name: str
    root: Path
    split: str
    options: EvalOptions
    data_options: dict[str, Any]
    protocol: Protocol
    references: tuple[str, ...]
    _facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, name: str, root: Path, options: EvalOptions, data_options: dict[str, Any]) -> _Request:
        wanted = options.evaluation
        protocol = find_protocol(wanted.protocol, dataset=name)
        if wanted.metrics is not None:
            protocol = dataclasses.replace(protocol, metrics=metric_names(wanted.metrics))
        if wanted.seed is not None:
            protocol = dataclasses.replace(protocol, seed=wanted.seed)
        split = split_of(name, protocol, wanted.split)
        references = find_references(wanted.baselines)
        if wanted.by is not None and wanted.trials is None:
            raise ConfigError(
                Setting("by"), " names columns of a list of trials; give the list with ", Setting("trials")
            )
        return cls(name, root, split, options, data_options, protocol, references)

    @property
    def out(self) -> Path:
        wanted = self.options.evaluation
        if wanted.out is not None:
            return wanted.out
        made = wanted.maps.name if wanted.maps is not None else self.options.model.label
        return Path(f"{self.name}-{self.split}-{self.protocol.name}-{made}.vidsal-eval")

    def dataset(self) -> Dataset:
        return open_dataset(self.name, self.root, split=self.split, **self.data_options)

    def source_facts(self) -> dict[str, Any]:
        """What the source says of itself; it is opened once for this."""
        if not self._facts:
            self._facts.update(open_source(self.options).facts)
        return self._facts

    @property
    def _gains(self) -> bool:
        return any("baseline" in METRICS[metric].needs for metric in self.protocol.metrics)

    def means(self, dataset: Dataset) -> tuple[MeanDensities | None, list[str]]:
        if not self._gains and MEAN_DENSITY not in self.references:
            return None, []
        return gather_means(dataset, splits=DATASETS[self.name].splits, options=self.data_options)

    def trials(self, sequences: list[str]) -> Trials:
        """The list of trials; nothing without one."""
        wanted = self.options.evaluation
        return Trials() if wanted.trials is None else read_trials(wanted.trials, sequences, by=wanted.by)

    def asked(self) -> dict[str, Any]:
        """What was asked for: the data set, the protocol, the model and their options; plain values."""
        wanted = self.options.evaluation
        source = {key: value for key, value in self.source_facts().items() if key != "device"}
        values = {
            "version": package_version(),
            "dataset": [self.name, str(self.root.resolve()), self.split, self.data_options],
            "protocol": dataclasses.asdict(self.protocol),
            "references": self.references,
            "limit": wanted.limit_frames,
            "source": source,
            "maps": None if wanted.maps is None else str(wanted.maps.resolve()),
        }
        made: dict[str, Any] = json.loads(json.dumps(values, default=str))
        return made

    def rules(self) -> str:
        """A hash of what was asked for."""
        return hashlib.sha256(json.dumps(self.asked(), sort_keys=True).encode()).hexdigest()

    def key(self, found: Survey, means: MeanDensities | None) -> str:
        """The rules, and a hash of what each sequence's scores take from the others, as it could be read this time."""
        digest = hashlib.sha256(found.digest.encode())
        for name, each in sorted(found.sequences.items()):
            digest.update(f"{name!r} {each.frames} ".encode())
            digest.update(each.chosen.tobytes())
        if means is not None:
            digest.update(means.note.encode())
            digest.update(means.total.tobytes())
            for name, own in sorted(means.own.items()):
                digest.update(f"{name!r} ".encode())
                digest.update(own.tobytes())
        return f"{self.rules()}-{digest.hexdigest()}"

    def fingerprints(self, dataset: Dataset) -> dict[str, tuple[str, str]]:
        """What each sequence is made of on disk, and what its maps are where they were made elsewhere."""
        prints = Fingerprints()
        maps = self.options.evaluation.maps
        places = (lambda _: ()) if maps is None else FolderSource(maps).places
        return {each.name: (prints.of(each), prints.of(*places(each))) for each in dataset}

    def keys(self, dataset: Dataset, found: Survey, key: str, made: dict[str, tuple[str, str]]) -> dict[str, str]:
        """The key of each sequence's scores: what all have in common, what it is made of, and what its partner is."""
        recordings = {each.name: each.recording for each in dataset}
        names = list(found.sequences)
        keys = {}
        for name in names:
            parts = list(made[name])
            if SHUFFLED in self.references:
                partner = partner_of(name, names, seed=self.protocol.seed, recordings=recordings)
                parts += [] if partner is None else [made[partner][0]]
            keys[name] = f"{key}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()}"
        return keys

    def summary(
        self,
        dataset: Dataset,
        sequences: list[SequenceScores],
        *,
        means: MeanDensities | None,
        skipped: dict[str, str],
        too_short: int,
        key: str,
        messages: list[str],
        trials: Trials,
    ) -> Summary:
        wanted = self.options.evaluation
        scores, zero, by_sequence = results.summarise(
            sequences, averaging=self.protocol.averaging, draws=wanted.draws, seed=self.protocol.seed
        )
        notes = {name: REFERENCES.get(name, "") for name in self.references}
        if means is not None and MEAN_DENSITY in notes:
            notes[MEAN_DENSITY] = means.note
        never = [name for name in self.references if not any(one.frames for one in scores[name].values())]
        is_scored = any(one.frames for one in scores["model"].values())
        for name in never:
            why = "fewer than two viewers are distinguished" if name == INTER_OBSERVER else "nothing to make it of"
            why = why if is_scored else "no metric that was asked for"
            notes[name] += f" (not available: {why})"
        over = "not used"
        if self._gains:
            there = means is not None and any(means.of(each.name) is not None for each in sequences)
            over = means.note if means is not None and there else "the centre prior, for want of other densities"
        protocol = dataclasses.asdict(self.protocol) | {
            "metrics": list(self.protocol.metrics),
            "limit_frames": wanted.limit_frames,
            "draws": wanted.draws,
            "resolution": (
                "only of the size of what was recorded"
                if self.protocol.other_sizes == "refuse" and wanted.maps is not None
                else "at the size of what was recorded, enlarged bilinearly (by area where they shrink)"
            ),
            "information_gain_over": over,
            "epsilons": {
                "kl": KL_EPSILON,
                "kl_dreyeve": float(DREYEVE_EPSILON),
                "kl_pysaliency": PYSALIENCY_MINIMUM,
            },
        }
        return Summary(
            version=package_version(),
            commit=source_commit(),
            key=key,
            asked=self.asked(),
            dataset={
                "name": self.name,
                "root": str(self.root),
                "split": self.split,
                "options": {key: str(value) for key, value in self.data_options.items()},
                "sequences": len(dataset),
                "published": dataset.published,
            },
            protocol=protocol,
            source=self.source_facts(),
            baselines=notes,
            sequences=len(sequences),
            frames=sum(len(each.index) for each in sequences),
            left_out=dict(_left_out(sequences)),
            skipped=skipped,
            too_short=too_short,
            scores=scores,
            zero_frames=zero,
            by_sequence=by_sequence,
            by_participant=results.summarise_participants(sequences, averaging=self.protocol.averaging),
            by_scenario=results.summarise_scenarios(sequences, trials),
            trials=trials.as_dict(),
            messages=(
                *messages,
                *(f"{each.name}: {text}" for each in sequences for text in (*each.damage, *each.messages)),
            ),
            partial=tuple(each.name for each in sequences if each.damage or each.left_out.get("missing")),
        )

    def why_nothing(self, found: Survey, sequences: list[SequenceScores], *, skipped: dict[str, str]) -> list[str]:
        """Where every frame went, when none was scored."""
        reasons = []
        unchosen = [each.frames for each in found.sequences.values() if not len(each.chosen)]
        if unchosen:
            fewest, most = min(unchosen), max(unchosen)
            rules = dataclasses.asdict(self.protocol) | {"limit_frames": self.options.evaluation.limit_frames}
            reasons.append(
                f"{len(unchosen)} have no frame that it chooses, having {fewest}{f' to {most}' * (most > fewest)} "
                f"frames (it takes {results.describe_frames(rules)}); choose another protocol, split or limit"
            )
        left_out = _left_out(sequences)
        if left_out:
            counts = ", ".join(f"{count} {why}" for why, count in sorted(left_out.items()))
            reasons.append(f"frames that were left out: {counts}")
        if set(left_out) == {"unlabelled"}:
            reasons.append("maps for a benchmark that withholds its labels are written by vidsal data submission")
        if skipped:
            first, reason = next(iter(skipped.items()))
            reasons.append(f"{len(skipped)} could not be read or scored, first {first}: {reason}")
        return reasons


@dataclass(frozen=True, eq=False)
class _Shared:
    """What a worker needs to score any sequence."""

    plan: _Request
    found: Survey
    means: MeanDensities | None
    keys: dict[str, str]
    folder: Path

    def read(self, name: str) -> SequenceScores | None:
        """The scores of a sequence that were kept with the same key."""
        return results.read_sequence(results.sequence_path(self.folder, name), key=self.keys[name])

    def finished(self, name: str) -> SequenceScores | None:
        """The same, where nothing was missing: what a message names may have been repaired."""
        scores = self.read(name)
        return scores if scores is not None and not scores.messages and not scores.damage else None

    def judge(self) -> Judge:
        return Judge(
            self.plan.dataset(),
            open_source(self.plan.options),
            protocol=self.plan.protocol,
            surveyed=self.found,
            references=self.plan.references,
            means=self.means,
        )


_Outcome = tuple[str, str | None]
"""A sequence, and why it could not be scored."""


_OnFrames = Callable[[str, int], None]
"""Takes a sequence that is under way, and how many of its frames are done."""


def _score_one(shared: _Shared, judge: Judge, name: str, on_frames: _OnFrames) -> _Outcome:
    try:
        scores = judge.score(judge.by_name[name], on_frames=partial(on_frames, name))
    except (DatasetError, DecodeError) as error:
        return name, str(error)
    except (ValueError, cv2.error) as error:
        # Unexpected values fail the sequence that holds them, not the others.
        return name, f"sequence {name} cannot be scored: {error}"
    results.write_sequence(results.sequence_path(shared.folder, name), scores, key=shared.keys[name])
    return name, None


def _score_here(shared: _Shared, names: list[str], on_frames: _OnFrames) -> Iterator[_Outcome]:
    if names:
        judge = shared.judge()
        for name in names:
            yield _score_one(shared, judge, name, on_frames)


def _score_beside(shared: _Shared, names: list[str], on_frames: _OnFrames) -> Iterator[_Outcome]:
    """Several processes, each with a sequence at a time; one that dies fails only the sequence it was at."""
    context = worker_context(__name__)
    environment = dict(os.environ)
    waiting = list(reversed(names))
    workers: dict[Any, tuple[Any, str]] = {}

    def start() -> None:
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, shared, environment), daemon=True, name="vidsal-eval")
        process.start()
        there.close()
        workers[here] = process, ""
        give_next(here)

    def give_next(connection: Connection) -> None:
        process, _ = workers[connection]
        # One that has died meanwhile is found out when it should answer.
        if waiting:
            name = waiting.pop()
            workers[connection] = process, name
            with suppress(OSError):
                connection.send(name)
        else:
            del workers[connection]
            with suppress(OSError):
                connection.send(None)
            process.join()
            connection.close()

    try:
        for _ in range(min(shared.plan.options.evaluation.workers, len(names))):
            start()
        while workers:
            connection: Any
            for connection in wait(list(workers)):
                process, name = workers[connection]
                try:
                    outcome = connection.recv()
                except (EOFError, OSError):
                    process.join()
                    del workers[connection]
                    connection.close()
                    yield name, f"the process that scored it ended with status {process.exitcode}"
                    if waiting:
                        start()
                    continue
                if isinstance(outcome, BaseException):
                    raise outcome
                if isinstance(outcome, int):
                    on_frames(name, outcome)
                    continue
                yield outcome
                give_next(connection)
    finally:
        for connection, (process, _) in workers.items():
            process.terminate()
            process.join()
            connection.close()


_SECONDS_BETWEEN = 0.2
"""How often a worker says how far it is."""


def _work(connection: Connection, shared: _Shared, environment: dict[str, str]) -> None:
    """The life of a worker: names in, outcomes out."""
    # The process that workers are forked off has the environment of the first evaluation.
    os.environ.clear()
    os.environ.update(environment)
    # Ctrl-C reaches the whole group; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    told = time.monotonic()

    def on_frames(name: str, frames: int) -> None:
        nonlocal told
        if time.monotonic() > told + _SECONDS_BETWEEN:
            told = time.monotonic()
            connection.send(frames)

    try:
        judge = shared.judge()
        while (name := connection.recv()) is not None:
            connection.send(_score_one(shared, judge, name, on_frames))
    except EOFError:
        return  # the parent has gone
    except Exception as error:
        # What no sequence is to blame for ends the evaluation there.
        connection.send(error)
        raise


@dataclass
class _Tally:
    """Reports how far it is, and stops where that is wanted."""

    on_progress: Callable[[EvalProgress], None] | None
    on_frames: Callable[[EvalProgress], None] | None
    should_stop: Callable[[], bool] | None
    total: int
    resumed: int
    frames: dict[str, int]
    """Of each sequence."""
    left: list[str]
    """Sequences to score."""
    done: int = 0
    begin: float = field(default_factory=time.perf_counter)
    _under_way: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._whole = sum(self.frames.values())
        self._finished = self._resumed = self._whole - sum(self.frames[name] for name in self.left)

    def under_way(self, name: str, frames: int) -> None:
        """Some frames of a sequence are done."""
        self._under_way[name] = frames
        self._tell(self.on_frames, name, None)

    def report(self, name: str, reason: str | None) -> None:
        """A sequence is done."""
        self.done += 1
        self._under_way.pop(name, None)
        self._finished += self.frames.get(name, 0)
        self._tell(self.on_progress, name, reason)
        if self.should_stop and self.should_stop():
            raise Stopped

    def _tell(self, whom: Callable[[EvalProgress], None] | None, name: str, reason: str | None) -> None:
        if whom:
            whom(
                EvalProgress(
                    done=self.done + self.resumed,
                    total=self.total,
                    resumed=self.resumed,
                    seconds=time.perf_counter() - self.begin,
                    name=name,
                    skipped=reason,
                    frames=self._finished + sum(self._under_way.values()),
                    frames_total=self._whole,
                    frames_resumed=self._resumed,
                )
            )


def _refuse_data(folder: Path, root: Path) -> None:
    """Results do not go among the files of the data set; a folder of their own below its root is allowed."""
    inside = folder.resolve().is_relative_to(root.resolve())
    if inside and not (folder / _LOCK).exists() and folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(Setting("out", folder), " is a folder of the data set; name one of its own for the results")


_LOCK = ".lock"


@contextmanager
def _own_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """The folder, made where it is not there, and locked."""
    made = not folder.exists()
    try:
        (folder / "sequences").mkdir(parents=True, exist_ok=True)
        file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise EncodeError(f"cannot write into {folder}: {error.strerror}; choose another ", Setting("out")) from error
    try:
        if not try_to_lock(file):
            raise EncodeError(
                f"{folder} is being written by another process; wait for it, or choose another ", Setting("out")
            )
        yield folder
    except BaseException:
        # What has begun is kept, for the next run to go on from; what is empty goes, while the lock is held.
        with suppress(OSError):
            (folder / "sequences").rmdir()
            if made and [path.name for path in folder.iterdir()] == [_LOCK]:
                (folder / _LOCK).unlink()
                folder.rmdir()
        raise
    finally:
        os.close(file)


_TABLES = ("frames", "seconds", "sequences", "participants", "scenarios")

_RESULTS = (
    *(f"{name}.{kind}" for name in _TABLES for kind in ("csv", "parquet")),
    *(
        f"figures/{name}.{form}"
        for form in get_args(FigureFormat)
        for name in (
            *(f"{rank}{end}" for rank in ("best", "median", "worst") for end in ("", "-scores")),
            "reliability",
        )
    ),
)
"""Tables and figures of an evaluation."""


def _remove_results(folder: Path) -> None:
    """Removes the tables and figures of a finished evaluation; other files stay."""
    if not (folder / "summary.json").is_file():
        return
    try:
        for name in _RESULTS:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise EncodeError(
            f"cannot remove {folder / name}: {error.strerror}; choose another ", Setting("out")
        ) from error
    with suppress(OSError):
        (folder / "figures").rmdir()  # where nothing else lies in it


def _refuse_another(folder: Path, plan: _Request) -> None:
    """Refuses to replace a finished evaluation by other rules, of another model or of another data set."""
    if not (folder / "summary.json").is_file():
        return
    other = read_summary(folder)
    if other.key.partition("-")[0] != plan.rules():
        changed = differences(other.asked, plan.asked()) if other.asked else []
        raise ConfigError(
            f"{folder} holds another evaluation: {other.source['name']} on {other.dataset['name']} "
            f"({other.dataset['split']}) under protocol {other.protocol['name']}, vidsal {other.version}"
            f"{': ' if changed else ''}{'; '.join(changed)}; choose another ",
            Setting("out"),
            ", or ",
            Setting("overwrite", True),
        )
