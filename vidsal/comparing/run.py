"""Names of models and a data set in; the evaluation of each, their ranking as JSON, Markdown and a page out.

Each model is scored as `vidsal eval` scores it, into a folder of its own, and by the same rules on the same frames; so
an interrupted comparison goes on where it stopped, and a model that is added later costs only itself. The baselines of
the evaluation do not depend on the model: they are scored once, beside a uniform map.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vidsal.bench.cost import FrameCost, WeightCount, count_weights, measure_cost
from vidsal.bench.machine import describe_machine, describe_versions
from vidsal.comparing.options import CompareModelsOptions, named
from vidsal.comparing.page import make_models_page
from vidsal.data.layouts import open_dataset
from vidsal.errors import CheckpointError, ConfigError, DatasetError, Setting, Stopped, VidsalError
from vidsal.evaluate.draw import figures_of_ranking
from vidsal.evaluate.evaluation import EvalProgress, Evaluation, evaluate, read_scores, split_of
from vidsal.evaluate.figures import check_matplotlib, save_figure
from vidsal.evaluate.options import EvalOptions, EvaluationOptions, FigureOptions
from vidsal.evaluate.paper import paper_style
from vidsal.evaluate.protocols import find_protocol, metric_names
from vidsal.evaluate.ranking import (
    RANKING_NAME,
    Cost,
    Ranking,
    Scored,
    as_markdown,
    make_ranking,
    write_ranking,
)
from vidsal.evaluate.results import count_of
from vidsal.files import replacing
from vidsal.model.checkpoint import model_names, no_such_model
from vidsal.pipe.options import ModelOptions
from vidsal.provenance import package_version

__all__ = ["ModelsProgress", "ModelsReport", "compare_models"]

_REMEDY = "choose another --out"


@dataclass(frozen=True)
class ModelsProgress:
    """How far a comparison is."""

    name: str
    """What is under way: a model, or "baselines"."""
    place: int
    """Which of them, from 1."""
    total: int
    """How many there are."""
    doing: Literal["scoring", "measuring", "failed"]
    """Whether it is being scored, or what it costs is being measured; or it could not be."""
    evaluation: EvalProgress | None = None
    """How far its evaluation is; None: it begins."""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True, eq=False)
class ModelsReport:
    """What a comparison gave."""

    ranking: Ranking
    """The table, as in OUT/models.json."""
    out: Path
    """The folder."""
    files: tuple[Path, ...]
    """What was written there beside the evaluations of the models: the page first."""
    incomplete: tuple[str, ...]
    """Models of which sequences could not be scored, or only in part."""


def compare_models(
    name: str,
    root: str | Path,
    models: Sequence[str],
    *,
    options: CompareModelsOptions | None = None,
    data_options: Mapping[str, Any] | None = None,
    on_progress: Callable[[ModelsProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ModelsReport:
    """Scores several models on one data set by the same rules, and puts them into one table.

    A model that fails is named in the table, and the others go on.

    Args:
        name: of the data set, as `vidsal.data.layouts.DATASETS` has it.
        root: its folder.
        models: at least two: names of models, paths of checkpoints, or folders of maps that another program made; each
            perhaps with a name of its own before it, as `mine=runs/a/best.safetensors`.
        options: all options; None takes the defaults.
        data_options: of the data set, see `open_dataset`.
        on_progress: called now and then, in the calling thread.
        should_stop: asked after every sequence; True ends the comparison.

    Raises:
        CheckpointError: a model has no weights here, or they cannot be read; nothing has been scored then.
        ConfigError: an option is wrong, two models have one name, or a folder holds another evaluation.
        DatasetError: the data set is not in its layout, or nothing could be scored.
        EncodeError: results cannot be written.
        Stopped: `should_stop` asked for it; the same call goes on where this one ended.
    """
    work = _Comparing(
        name, Path(root), options or CompareModelsOptions(), dict(data_options or {}), on_progress, should_stop
    )
    return work.do([_Contestant.of(word) for word in models])


@dataclass(frozen=True)
class _Contestant:
    """A model, or maps made elsewhere, under a name."""

    name: str
    model: str = ""
    maps: Path | None = None

    @classmethod
    def of(cls, word: str) -> _Contestant:
        """What a word stands for: a known name is a model, a folder holds maps, everything else is a checkpoint."""
        name, target = named(word)
        if target not in model_names() and Path(target).is_dir():
            return cls(name or Path(target).resolve().name, maps=Path(target))
        return cls(name or ModelOptions(model=target).label, model=target)

    @property
    def folder(self) -> str:
        """A name of a folder that no other name gives."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", self.name).lstrip(".")[:60]
        if plain == self.name:
            return plain
        return f"{plain or 'model'}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


class _Comparing:
    """One comparison."""

    def __init__(
        self,
        name: str,
        root: Path,
        options: CompareModelsOptions,
        data_options: dict[str, Any],
        on_progress: Callable[[ModelsProgress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.name, self.root, self.options, self.data_options = name, root, options, data_options
        self.on_progress, self.should_stop = on_progress, should_stop
        protocol = find_protocol(options.scoring.protocol, dataset=name)
        self.split = split_of(name, protocol, options.scoring.split)
        self.out = options.comparing.out or Path(f"{name}-{self.split}-{protocol.name}.vidsal-models")
        metrics = protocol.metrics if options.scoring.metrics is None else metric_names(options.scoring.metrics)
        wanted = options.comparing.rank_by
        if wanted is not None and wanted not in metrics:
            raise ConfigError(Setting("rank_by", wanted), f": it is not scored; choose from {', '.join(metrics)}")
        self.failed: dict[str, str] = {}
        self.notes: list[str] = []
        self._count = 0

    def do(self, contestants: Sequence[_Contestant]) -> ModelsReport:
        weights = self.check(contestants)
        figures = _figures_wanted(self.notes)
        dataset = open_dataset(self.name, self.root, split=self.split, **self.data_options)
        stills = all(sequence.kind == "still" for sequence in dataset)
        beside = self.options.scoring.baselines != "none"
        self._count = len(contestants) + beside
        references = self.references() if beside else None
        done: dict[str, Evaluation] = {}
        first_error: Exception | None = None
        for place, each in enumerate(contestants, start=1 + beside):
            try:
                done[each.name] = self.score(each, place)
            except Stopped:
                raise
            except ConfigError as error:
                raise type(error)(f"{each.name}: ", *error.args) from error
            except Exception as error:  # noqa: BLE001 - one model among many fails alone, whatever it was
                first_error = first_error or error
                self.fail(each.name, place, error)
            self.check_rank_by(done)
        if not done:
            name, reason = next(iter(self.failed.items()))
            more = f"; nor could the {len(self.failed) - 1} others" if len(self.failed) > 1 else ""
            raise DatasetError(f"{name} could not be scored: {reason}{more}") from first_error
        costs = self.costs([each for each in contestants if each.name in done], done, weights, stills=stills)
        scored = {
            each.name: Scored(
                done[each.name].summary, read_scores(done[each.name].out), f"models/{each.folder}", costs[each.name]
            )
            for each in contestants
            if each.name in done
        }
        lost = {name: one.summary.skipped for name, one in done.items() if one.summary.skipped}
        for name, skipped in lost.items():
            which, reason = next(iter(skipped.items()))
            self.notes.append(
                f"{name}: {count_of(len(skipped), 'sequence')} could not be scored, first {which}: {reason}"
            )
        ranking = make_ranking(
            scored,
            rank_by=self.options.comparing.rank_by,
            references=None if references is None else Scored(references.summary, read_scores(references.out)),
            failed=self.failed,
            measured=self.measured(costs, stills=stills),
            machine=describe_machine()["processor"],
            notes=self.notes,
        )
        incomplete = [name for name, one in done.items() if one.summary.skipped or one.summary.partial]
        return ModelsReport(ranking, self.out, self.write(ranking, figures=figures), tuple(incomplete))

    def check(self, contestants: Sequence[_Contestant]) -> dict[str, WeightCount]:
        """Sees that all can be opened, before hours go into the first."""
        if len(contestants) < 2:
            raise ConfigError("give at least two models to compare; vidsal eval scores one")
        seen: dict[str, _Contestant] = {}
        for each in contestants:
            other = seen.setdefault(each.name.casefold(), each)
            if other is not each:
                raise ConfigError(
                    f"two models are called {each.name}: give each a name of its own, as "
                    f"{each.name}-2={each.maps or each.model}"
                )
        weights = {}
        for each in contestants:
            try:
                if each.maps is None:
                    _check_there(each.model)
                    weights[each.name] = count_weights(each.model)
                    self.options.recurrence.steps_of(weights[each.name].steps)
            except ConfigError as error:
                raise type(error)(f"{each.name}: ", *error.args) from error
            except CheckpointError as error:
                # The message may name the file, but not always what it is called here.
                said = str(error) if each.name in str(error) else f"{each.name}: {error}"
                raise type(error)(said) from error
        return weights

    def references(self) -> Evaluation:
        """What the scores are held against, scored once: what is wrong with the data set is wrong for all."""
        scoring = vars(self.options.scoring)
        plain = EvalOptions(
            evaluation=EvaluationOptions(**scoring, out=self.out / "baselines"),
            model=ModelOptions(model="uniform"),
        )
        return self.evaluate(plain, "baselines", 1)

    def score(self, each: _Contestant, place: int) -> Evaluation:
        scoring: dict[str, Any] = {**vars(self.options.scoring), "baselines": "none"}
        options = EvalOptions(
            evaluation=EvaluationOptions(**scoring, out=self.out / "models" / each.folder, maps=each.maps),
            model=self.model_options(each),
            recurrence=self.options.recurrence,
            cuts=self.options.cuts,
            smooth=self.options.smooth,
            viewers=self.options.viewers,
        )
        return self.evaluate(options, each.name, place)

    def model_options(self, each: _Contestant) -> ModelOptions:
        running, model = self.options.running, each.model or ModelOptions.model
        return ModelOptions(model=model, device=running.device, precision=running.precision)

    def evaluate(self, options: EvalOptions, name: str, place: int) -> Evaluation:
        self.tell(name, place, "scoring")

        def show(progress: EvalProgress) -> None:
            self.tell(name, place, "scoring", evaluation=progress)

        return evaluate(
            self.name,
            self.root,
            options=options,
            data_options=self.data_options,
            on_progress=show,
            on_frames=show,
            should_stop=self.should_stop,
        )

    def check_rank_by(self, done: Mapping[str, Evaluation]) -> None:
        """What the first model shows of the metric that decides holds for all: it depends on the data."""
        wanted = self.options.comparing.rank_by
        if wanted is not None and len(done) == 1:
            scores = next(iter(done.values())).summary.scores["model"]
            if not scores[wanted].frames:
                defined = ", ".join(metric for metric, one in scores.items() if one.frames)
                raise ConfigError(
                    Setting("rank_by", wanted), f": it is not defined on these data; choose from {defined}"
                )

    def costs(
        self,
        contestants: Sequence[_Contestant],
        done: Mapping[str, Evaluation],
        weights: Mapping[str, WeightCount],
        *,
        stills: bool,
    ) -> dict[str, Cost]:
        """What each costs; what was measured before in the same way on this machine is taken up."""
        found: dict[str, Cost] = {}
        for each in contestants:
            place = self._count - len(contestants) + 1 + len(found)
            if each.maps is not None:
                found[each.name] = Cost()
                continue
            count = weights[each.name]
            found[each.name] = Cost(parameters=count.parameters, weight_bytes=count.bytes)
            if not self.options.comparing.cost:
                continue
            evaluation = done[each.name]
            path = evaluation.out / "cost.json"
            key = self.cost_key(evaluation, stills=stills)
            kept = _read_cost(path, key)
            if kept is None:
                self.tell(each.name, place, "measuring")
                try:
                    measured = measure_cost(
                        each.model,
                        precision=self.options.running.precision,
                        prediction=self.options.prediction.scored,
                        stills=stills,
                    )
                except Exception as error:  # noqa: BLE001 - one model among many fails alone, whatever it was
                    self.fail(f"{each.name}, cost", place, error)
                    continue
                kept = _as_cost(count, measured)
                with replacing(path, remedy=_REMEDY) as partial:
                    partial.write_text(json.dumps({"key": key, **dataclasses.asdict(kept)}, indent=1) + "\n")
            found[each.name] = kept
        return found

    def cost_key(self, evaluation: Evaluation, *, stills: bool) -> dict[str, Any]:
        """Of what a cost depends on."""
        values = {
            "version": package_version(),
            "sha256": evaluation.summary.source["sha256"],
            "precision": self.options.running.precision,
            "prediction": dataclasses.asdict(self.options.prediction.scored),
            "stills": stills,
            "processor": describe_machine()["processor"],
            "torch": describe_versions()["torch"],
        }
        made: dict[str, Any] = json.loads(json.dumps(values, default=str))
        return made

    def measured(self, costs: Mapping[str, Cost], *, stills: bool) -> str:
        """How costs came about, in a sentence; empty where none did."""
        precisions: dict[str, list[str]] = {}
        for name, cost in costs.items():
            if cost.precision:
                precisions.setdefault(cost.precision, []).append(name)
        if not precisions:
            return ""
        usual = max(precisions, key=lambda precision: len(precisions[precision]))
        others = "".join(f", {', '.join(names)} in {one}" for one, names in precisions.items() if one != usual)
        what = "a picture, for which the model starts afresh" if stills else "a frame that goes on from the one before"
        return (
            f"costs: of {what}, 1280x720, from its pixels to its density, one at a time with one thread, in "
            f"{usual}{others}; CPU time is the median, memory the most beyond the same process with a uniform "
            f"map in the model's place; on {describe_machine()['processor']}, torch {describe_versions()['torch']}"
        )

    def write(self, ranking: Ranking, *, figures: bool) -> tuple[Path, ...]:
        drawn: dict[str, Path] = {}
        for kind in ("ranking", "costs"):
            with suppress(FileNotFoundError):
                (self.out / "figures" / f"{kind}.svg").unlink()
        if figures:
            look = FigureOptions(figure_format="svg", width_mm=120)
            with paper_style(look):
                for kind, figure in figures_of_ranking(ranking, look):
                    drawn[kind] = save_figure(figure, self.out / "figures" / f"{kind}.svg")
        write_ranking(self.out / RANKING_NAME, ranking)
        texts = {
            "models.html": make_models_page(
                ranking, figures={kind: path.read_text(encoding="utf-8") for kind, path in drawn.items()}
            ),
            "models.md": as_markdown(ranking),
        }
        for file, text in texts.items():
            with replacing(self.out / file, remedy=_REMEDY) as partial:
                partial.write_text(text, encoding="utf-8")
        return (*(self.out / file for file in texts), self.out / RANKING_NAME, *drawn.values())

    def fail(self, name: str, place: int, error: Exception) -> None:
        said = str(error) if isinstance(error, VidsalError) else f"{type(error).__name__}: {error}"
        self.failed[name] = " ".join(said.split())
        self.tell(name, place, "failed", reason=self.failed[name])

    def tell(self, name: str, place: int, doing: Literal["scoring", "measuring", "failed"], **more: Any) -> None:
        if self.on_progress is not None:
            self.on_progress(ModelsProgress(name, place, self._count, doing, **more))


def _check_there(model: str) -> None:
    """That each member of what is to be a model is one by its name, or something that is there.

    Raises:
        CheckpointError: one is neither.
    """
    for name in ModelOptions(model=model).named:
        if name not in model_names() and not Path(name).exists():
            raise no_such_model(name, or_folder=True)


def _figures_wanted(notes: list[str]) -> bool:
    """Whether figures can be drawn; if not, that is noted."""
    try:
        check_matplotlib()
    except ConfigError:
        notes.append("there are no figures, as matplotlib is missing: pip install 'vidsal[figures]'")
        return False
    return True


def _as_cost(count: WeightCount, measured: FrameCost) -> Cost:
    return Cost(
        parameters=count.parameters,
        weight_bytes=count.bytes,
        multiply_adds=measured.multiply_adds,
        cpu_seconds=measured.cpu_seconds.median,
        cpu_seconds_least=measured.cpu_seconds.least,
        cpu_seconds_most=measured.cpu_seconds.most,
        memory_bytes=measured.memory_bytes,
        canvas=measured.canvas,
        precision=measured.precision,
    )


def _read_cost(path: Path, key: dict[str, Any]) -> Cost | None:
    """What was kept with the same key; None where there is nothing, or it is damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("key") != key:
            return None
        return Cost(**{**values, "canvas": tuple(values["canvas"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
