"""A sequence, its source of maps and a protocol in, a score of every frame by every metric out."""

from __future__ import annotations

import contextlib
import dataclasses
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from vidsal.data.layouts import Dataset, Fixations, LabelledFrame, LabelledSequence
from vidsal.data.layouts.videos import damage_of, tiny
from vidsal.errors import DatasetError
from vidsal.evaluate.protocols import Protocol, choose_frames, draw_frames
from vidsal.evaluate.references import (
    INTER_OBSERVER,
    MEAN_DENSITY,
    SHUFFLED,
    MeanDensities,
    at_most_640,
    in_cells,
    left_out_viewers,
    partner_densities,
    partner_of,
)
from vidsal.evaluate.results import SequenceScores
from vidsal.evaluate.sources import Source
from vidsal.metrics import METRICS, FixatedCells, Maps, NegativeForm, NegativePool, ScoreMeter
from vidsal.model.baselines import BASELINES, CentrePrior, build_baseline

__all__ = ["Judge", "Survey", "quantise", "resize_map", "survey"]

_Map = npt.NDArray[np.float32]
_Floats = npt.NDArray[np.float64]

_CELLS_AT_ONCE = 2_000_000
"""Cells of one source's maps that are scored together; bounds the memory."""

_VIEWERS_CELLS = 8_000_000
"""The same of the densities of a frame's other viewers."""

_MOST_FIXED = 12
"""Maps of baselines that do not look at the picture, and of what information gain is measured over, that are kept."""


@dataclass(frozen=True, eq=False)
class Surveyed:
    """What is known of a sequence before it is scored."""

    frames: int
    """How many it has."""
    chosen: npt.NDArray[np.int64]
    """Ordinals of the frames that the protocol scores, rising."""
    pool: dict[int, int] = field(default_factory=dict)
    """Ordinal of a chosen frame to its number in the pool of negatives."""
    damage: tuple[str, ...] = ()
    """What the reader of its video said of missing frames while frames were counted."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of all sequences before they are scored."""

    sequences: dict[str, Surveyed]
    """Those that could be read, by name."""
    skipped: dict[str, str]
    """Those that could not, with the reason."""
    points: list[npt.NDArray[np.float32]]
    """Fixations of all chosen frames, in the order of the pool; empty where no metric draws negatives."""
    sizes: list[tuple[int, int]]
    """The sizes they refer to."""
    videos: list[str]
    """What lends them none: their recordings or, where the protocol says so, their sequences."""
    digest: str
    """Changes with the points."""


def survey(dataset: Dataset, protocol: Protocol, *, limit_frames: int | None = None) -> Survey:
    """Counts the frames, chooses those to score, and reads the fixations where negatives are drawn from them.

    Args:
        dataset: the sequences.
        protocol: the rules.
        limit_frames: no more than the first so many frames of each sequence; None: all.
    """
    counts: dict[str, int] = {}
    skipped: dict[str, str] = {}
    for sequence in dataset:
        try:
            count = sequence.frame_count
            counts[sequence.name] = sum(1 for _ in sequence.read(size=tiny)) if count is None else count
        except DatasetError as error:
            skipped[sequence.name] = str(error)
    stills = {sequence.name: sequence.kind == "still" for sequence in dataset}
    chosen = [choose_frames(protocol, count, still=stills[name]) for name, count in counts.items()]
    if limit_frames is not None:
        chosen = [each[each < limit_frames] for each in chosen]
    left = draw_frames(protocol, chosen)
    damage = {sequence.name: damage_of(sequence) for sequence in dataset}
    found = {name: Surveyed(counts[name], each, damage=damage[name]) for name, each in zip(counts, left, strict=True)}
    points: list[npt.NDArray[np.float32]] = []
    sizes: list[tuple[int, int]] = []
    videos: list[str] = []
    if any(METRICS[name].negatives for name in protocol.metrics):
        for sequence in dataset:
            if sequence.name not in found:
                continue
            try:
                own = _fixations(sequence, found[sequence.name].chosen, leave_out_bad=protocol.leave_out_bad)
            except DatasetError as error:
                skipped[sequence.name] = str(error)
                del found[sequence.name]
                continue
            for ordinal, fixations in own:
                found[sequence.name].pool[ordinal] = len(points)
                points.append(fixations.points)
                sizes.append((fixations.height, fixations.width))
                videos.append(sequence.name if protocol.own_recording_negatives else sequence.recording)
    digest = 0
    for array, name in zip(points, videos, strict=True):
        digest = zlib.crc32(array.tobytes(), zlib.crc32(name.encode(), digest))
    return Survey(found, skipped, points, sizes, videos, f"{len(points)}-{digest:08x}")


def _fixations(
    sequence: LabelledSequence, chosen: npt.NDArray[np.int64], *, leave_out_bad: bool
) -> list[tuple[int, Fixations]]:
    if sequence.points is None or not len(chosen):
        return []
    wanted = set(chosen.tolist())
    found = []
    for frame in sequence.read(size=tiny, stop=int(chosen[-1]) + 1):
        if frame.index in wanted and not (frame.bad and leave_out_bad):
            fixations = frame.fixations()
            if fixations is not None:
                found.append((frame.index, fixations))
    return found


def quantise(values: _Map, bits: int | None) -> _Map:
    """A map as it would come back from a grey picture of so many bits, its highest value being white.

    Example:
        >>> quantise(np.array([[0.0, 0.1, 0.4]], np.float32), 1).tolist()
        [[0.0, 0.0, 1.0]]
    """
    high = float(values.max())
    if bits is None or high <= 0:
        return values
    return np.asarray(np.rint(values * ((2**bits - 1) / high)), np.float32)


def resize_map(values: _Map, height: int, width: int) -> _Map:
    """A map at another size: bilinear, or the mean of what falls into a cell where a side shrinks."""
    if values.shape == (height, width):
        return values
    shrinks = height < values.shape[0] or width < values.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (width, height), interpolation=how), np.float32)


@dataclass(frozen=True, eq=False)
class _Row:
    """The scores of a frame by source and metric; it does not hold the frame, which holds pictures."""

    index: int
    name: str
    pts_seconds: float
    attention: str
    scores: npt.NDArray[np.float64]
    """(S, M)."""
    zero_mass: npt.NDArray[np.float64]
    """(S,)."""


@dataclass(frozen=True, eq=False)
class _Item:
    """A frame on its way to the metrics."""

    row: _Row
    density: _Map | None
    cells: npt.NDArray[np.float32] | None
    """(n, 2) points in pixels of the maps; None where there is no record."""
    maps: dict[str, _Map | _Fixed]
    size: tuple[int, int]
    seed: int
    pool: int | None
    people: tuple[str, ...] | None
    """Who looked at each of the points; None where the data set does not say."""

    @property
    def kind(self) -> tuple[Any, ...]:
        """Frames of one kind are scored together."""
        maps = tuple((name, each if isinstance(each, _Fixed) else None) for name, each in sorted(self.maps.items()))
        return self.size, self.density is None, self.cells is None, self.pool is None, maps


@dataclass(frozen=True)
class _Fixed:
    """A map that many frames have, whatever they show: what the metrics need of it is worked out once."""

    source: str
    """Name of the baseline."""
    picture: tuple[int, int] | str
    """What it was made for: the size of a picture, or a sequence."""
    size: tuple[int, int]
    """The size that it is brought to."""


class _Participants:
    """Adds up what each participant's fixations score."""

    def __init__(self, sources: int, metrics: int) -> None:
        self._shape = sources, metrics
        self._sums: dict[str, tuple[_Floats, _Floats]] = {}

    def add(self, name: str, source: int, metric: int, score: float) -> None:
        """Adds the mean over somebody's fixations on one frame; NaN does not count."""
        totals, counts = self._sums.setdefault(name, (np.zeros(self._shape), np.zeros(self._shape)))
        if not np.isnan(score):
            totals[source, metric] += score
            counts[source, metric] += 1

    def means(self) -> tuple[tuple[str, ...], _Floats, npt.NDArray[np.int64]]:
        """Names in order, (S, P, M) means over frames, and over how many each."""
        names = tuple(sorted(self._sums))
        totals, counts = (
            np.stack([self._sums[name][part] for name in names], axis=1)
            if names
            else np.zeros((self._shape[0], 0, self._shape[1]))
            for part in (0, 1)
        )
        means = np.divide(totals, counts, out=np.full(totals.shape, np.nan), where=counts > 0)
        return names, means, counts.astype(np.int64)


class Judge:
    """Scores the sequences of one data set, each by itself."""

    def __init__(
        self,
        dataset: Dataset,
        source: Source,
        *,
        protocol: Protocol,
        surveyed: Survey,
        references: Sequence[str],
        means: MeanDensities | None,
    ) -> None:
        """Takes what all sequences share.

        Args:
            dataset: the sequences.
            source: of the maps that are scored, under the name "model".
            protocol: the rules.
            surveyed: what `survey` found.
            references: baselines that are scored on the same frames, by name.
            means: what the mean density is made of; None: it is not there, and information gain is measured over the
                centre prior.
        """
        self.source, self.protocol, self.surveyed = source, protocol, surveyed
        self.sources = ("model", *references)
        self.by_name = {sequence.name: sequence for sequence in dataset}
        self._recordings = {sequence.name: sequence.recording for sequence in dataset}
        self._means = means
        self._builtin = {name: build_baseline(name) for name in references if name in BASELINES}
        self._pool = NegativePool(surveyed.points, surveyed.sizes, surveyed.videos) if surveyed.points else None
        self._last: tuple[tuple[str, int, int], FixatedCells] | None = None
        self._kept: dict[Any, Any] = {}
        self._forms: list[NegativeForm] = sorted(
            {form for name in protocol.metrics if (form := METRICS[name].negatives) is not None}
        )

    def score(self, sequence: LabelledSequence, *, on_frames: Callable[[int], None] | None = None) -> SequenceScores:
        """Scores one sequence.

        Args:
            sequence: the sequence.
            on_frames: called now and then with how many of its frames are done.

        Raises:
            DatasetError: a picture, a label or a map is missing or cannot be read.
        """
        facts = self.surveyed.sequences[sequence.name]
        shape = len(self.sources), len(self.protocol.metrics)
        rows: list[_Row] = []
        messages: list[str] = []
        waiting: list[_Item] = []
        left_out: dict[str, int] = {}
        people = _Participants(*shape)
        with contextlib.ExitStack() as stack:
            predicted = self.source.maps(sequence, facts.chosen.tolist())
            stack.enter_context(contextlib.closing(predicted))  # type: ignore[type-var]
            extras = self._extras(sequence, facts, messages)
            stack.enter_context(contextlib.closing(extras))  # type: ignore[type-var]
            for done, (frame, values) in enumerate(predicted):
                if on_frames is not None:
                    on_frames(done)
                lent, baselines = next(extras)
                reason, density, fixations = self._labels(frame)
                if reason is not None:
                    left_out[reason] = left_out.get(reason, 0) + 1
                    continue
                size = _size_of(density, fixations)
                maps: dict[str, _Map | _Fixed] = {"model": self._fitted(values, size, sequence.name)}
                for name, small in baselines.items():
                    maps[name] = _Fixed(name, small, size) if isinstance(small, tuple) else self._prepared(small, size)
                if lent is not None:
                    maps[SHUFFLED] = self._prepared(lent, size)
                if MEAN_DENSITY in self.sources and self._mean(sequence.name) is not None:
                    maps[MEAN_DENSITY] = _Fixed(MEAN_DENSITY, sequence.name, size)
                facts_of_frame = frame.index, frame.name, frame.pts_seconds, frame.attention or ""
                rows.append(_Row(*facts_of_frame, np.full(shape, np.nan), np.full(shape[:1], np.nan)))
                cells = None if fixations is None else in_cells(fixations, *size)
                seed = zlib.crc32(f"{self.protocol.seed}/{sequence.name}/{frame.index}".encode())
                who = None if fixations is None else fixations.people
                item = _Item(rows[-1], density, cells, maps, size, seed, facts.pool.get(frame.index), who)
                if waiting and (
                    waiting[0].kind != item.kind or (len(waiting) + 1) * size[0] * size[1] > _CELLS_AT_ONCE
                ):
                    self._judge(waiting, sequence.name, people)
                    waiting = []
                waiting.append(item)
                if INTER_OBSERVER in self.sources and fixations is not None:
                    self._judge_viewers(fixations, item, sequence.name, people)
        if waiting:
            self._judge(waiting, sequence.name, people)
        never = len(facts.chosen) - len(rows) - sum(left_out.values())
        if never:
            left_out["missing"] = never
        attributes = {} if sequence.attributes is None else dataclasses.asdict(sequence.attributes)
        participants, participant_scores, participant_frames = people.means()
        return SequenceScores(
            name=sequence.name,
            frames=facts.frames,
            metrics=self.protocol.metrics,
            sources=self.sources,
            attributes={key: value for key, value in attributes.items() if isinstance(value, str)},
            left_out=left_out,
            messages=tuple(messages),
            damage=damage_of(sequence) or facts.damage,
            index=np.array([row.index for row in rows], np.int64),
            frame=np.array([row.name for row in rows], np.str_),
            pts_seconds=np.array([row.pts_seconds for row in rows], np.float64),
            attention=np.array([row.attention for row in rows], np.str_),
            scores=np.stack([row.scores for row in rows], axis=1) if rows else np.zeros((shape[0], 0, shape[1])),
            zero_mass=np.stack([row.zero_mass for row in rows], axis=1) if rows else np.zeros((shape[0], 0)),
            participants=participants,
            participant_scores=participant_scores,
            participant_frames=participant_frames,
        )

    def _labels(self, frame: LabelledFrame) -> tuple[str | None, _Map | None, Fixations | None]:
        """Why a frame is left out, or None, and its labels."""
        if frame.bad and self.protocol.leave_out_bad:
            return "bad", None, None
        density, fixations = frame.density(), frame.fixations()
        looked = fixations is not None and len(fixations.points) > 0
        if fixations is not None and not looked and self.protocol.leave_out_unfixated:
            return "unfixated", None, None
        nothing = density is None and not looked
        if nothing and (fixations is None or self.protocol.nss_without_fixations is None):
            return "unlabelled", None, None
        return None, density, fixations

    def _extras(
        self, sequence: LabelledSequence, facts: Surveyed, messages: list[str]
    ) -> Iterator[tuple[_Map | None, dict[str, _Map | tuple[int, int]]]]:
        """For each chosen frame the density lent by another sequence, and the maps of the built-in baselines: of those
        that do not look at the picture its size."""
        ordinals = facts.chosen.tolist()
        lent = self._lent(sequence.name, facts) if SHUFFLED in self.sources else None
        looking = {name: model for name, model in self._builtin.items() if model.looks}
        size = 1, 1

        def wanted(height: int, width: int) -> tuple[int, int]:
            nonlocal size
            size = at_most_640(height, width)
            # Baselines that look at pictures need them larger than a model does.
            return size if looking else tiny(height, width)

        pictures = sequence.read(size=wanted) if self._builtin else None
        with contextlib.ExitStack() as stack:
            for reader in (lent, pictures):
                if reader is not None:
                    stack.enter_context(contextlib.closing(reader))  # type: ignore[type-var]
            for ordinal in ordinals:
                density = None
                if lent is not None:
                    try:
                        density = next(lent, None)
                    except DatasetError as error:
                        messages.append(f"no {SHUFFLED} baseline from here on: {error}")
                        lent = None
                maps: dict[str, _Map | tuple[int, int]] = {}
                if pictures is not None:
                    frame = next(frame for frame in pictures if frame.index == ordinal)
                    picture = frame.picture()[None]
                    maps = {
                        name: model.predict(picture)[0] if model.looks else size
                        for name, model in self._builtin.items()
                    }
                yield density, maps

    def _lent(self, name: str, facts: Surveyed) -> Iterator[_Map | None] | None:
        """Densities of a sequence of another recording, one a chosen frame; None where there is no other."""
        partner = partner_of(name, list(self.surveyed.sequences), seed=self.protocol.seed, recordings=self._recordings)
        if partner is None:
            return None
        return partner_densities(
            self.by_name[partner],
            facts.chosen.tolist(),
            frames=facts.frames,
            partner_frames=self.surveyed.sequences[partner].frames,
        )

    def _mean(self, name: str) -> _Map | None:
        return None if self._means is None else self._means.of(name)

    def _keep(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What was made for this key before, or is made now."""
        made = self._kept.pop(key) if key in self._kept else make()
        if len(self._kept) >= _MOST_FIXED:
            del self._kept[next(iter(self._kept))]  # the one that was not asked for the longest
        self._kept[key] = made
        return made

    def _fixed(self, fixed: _Fixed, count: int) -> Maps:
        """A baseline that does not look at the picture, `count` times."""

        def make() -> Maps:
            if isinstance(fixed.picture, str):
                one = self._mean(fixed.picture)
            else:
                one = self._builtin[fixed.source].predict(np.zeros((1, *fixed.picture, 3), np.uint8))[0]
            if one is None:
                raise ValueError(f"there is no {fixed.source} of {fixed.picture}")
            return Maps(_stacked([self._prepared(one, fixed.size)] * count))

        made: Maps = self._keep((fixed, count), make)
        _ = made.ordered  # every frame counts among them
        return made

    def _reference(self, name: str, size: tuple[int, int]) -> _Map:
        """What information gain is measured over, at this size."""
        mean = self._mean(name)
        if mean is None:
            return np.asarray(CentrePrior().predict(np.zeros((1, *size, 3), np.uint8))[0], np.float32)
        return resize_map(mean, *size)

    def _over_references(
        self, metrics: list[str], name: str, size: tuple[int, int], count: int
    ) -> list[tuple[list[str], Maps | None]]:
        """The metrics in groups, each with what information gain is measured over, for `count` maps."""
        gains = [metric for metric in metrics if "baseline" in METRICS[metric].needs]
        if not gains:
            return [(metrics, None)]
        whose = None if self._mean(name) is None else name
        # It is rounded as the maps are, but not for the exact form, which would be infinite where it is 0.
        exact = [metric for metric in gains if metric == "information_gain" and self.protocol.bits is not None]
        rest = [metric for metric in metrics if metric not in exact]
        return [
            (
                group,
                self._keep(
                    ("information gain", whose, size, count, bits),
                    lambda: _repeated(quantise(self._reference(name, size), bits), count, name="baseline"),  # noqa: B023
                ),
            )
            for group, bits in ((rest, self.protocol.bits), (exact, None))
            if group
        ]

    def _fitted(self, values: _Map, size: tuple[int, int], name: str) -> _Map:
        if not np.isfinite(values).all() or values.min() < 0:
            raise DatasetError(
                f"sequence {name}: a map has NaN, infinity or negative values; maps must be finite and not negative"
            )
        if self.protocol.other_sizes == "refuse" and not self.source.resized and values.shape != size:
            raise DatasetError(
                f"sequence {name}: a map has {values.shape[0]}x{values.shape[1]} pixels, what was recorded "
                f"{size[0]}x{size[1]}; protocol {self.protocol.name} takes maps of the same size only: resize them, or "
                "choose another protocol"
            )
        return self._prepared(values, size)

    def _prepared(self, values: _Map, size: tuple[int, int]) -> _Map:
        return quantise(resize_map(values, *size), self.protocol.bits)

    def _judge(self, items: Sequence[_Item], name: str, people: _Participants) -> None:
        """Scores frames of one kind by all sources."""
        first = items[0]
        height, width = first.size
        density = None if first.density is None else Maps(_stacked([item.density for item in items]), name="density")
        cells = self._fixated(items)
        metrics = self._possible(density is not None, cells is not None, first.pool is not None)
        seeds = [item.seed for item in items]
        negatives = self._negatives([item.pool for item in items], height, width) if first.pool is not None else None
        groups = self._over_references(metrics, name, first.size, len(items))
        unfixated = self.protocol.nss_without_fixations
        for place, source in enumerate(self.sources):
            if source == INTER_OBSERVER or not all(source in item.maps for item in items):
                continue
            fixed = first.maps[source]
            maps = (
                self._fixed(fixed, len(items))
                if isinstance(fixed, _Fixed)
                else Maps(_stacked([item.maps[source] for item in items]))
            )
            scores: dict[str, list[float]] = {}
            for group, baseline in groups:
                meter = ScoreMeter(group)
                meter.update(maps, density, cells, baseline=baseline, negatives=negatives, seed=seeds)
                scores |= meter.scores()
                if cells is not None and self.protocol.fixated_cells == "fixations":
                    self._by_person(items, cells, meter, place, people)
            if unfixated is not None and "nss" in scores and cells is not None:
                empty = (cells.total == 0).tolist()
                scores["nss"] = [unfixated if none else one for none, one in zip(empty, scores["nss"], strict=True)]
            self._write([item.row for item in items], source, scores)
            if density is not None:
                mass = torch.where(maps.values == 0, density.values, 0.0).flatten(1).double().sum(1) / density.total
                for item, one in zip(items, mass.tolist(), strict=True):
                    item.row.zero_mass[place] = one

    def _by_person(
        self, items: Sequence[_Item], cells: FixatedCells, meter: ScoreMeter, source: int, people: _Participants
    ) -> None:
        """Adds the mean over each participant's fixations of the metrics that are means over fixations."""
        found = meter.at_fixations()
        for picture, item in enumerate(items):
            if item.people is None or item.cells is None or not len(item.people):
                continue
            there = cells.cells[picture, : int(cells.found[picture])].numpy()
            columns, rows = np.floor(item.cells).astype(np.int64).T
            which = np.searchsorted(there, rows * item.size[1] + columns)
            names, number = np.unique(np.array(item.people), return_inverse=True)
            for metric, values in found.items():
                own = values[picture][which]
                with np.errstate(invalid="ignore"):  # infinite ones of both signs
                    means = np.bincount(number, own) / np.bincount(number)
                for person, mean in zip(names.tolist(), means.tolist(), strict=True):
                    people.add(person, source, self.protocol.metrics.index(metric), mean)

    def _write(self, rows: Sequence[_Row], source: str, scores: Mapping[str, Sequence[float]]) -> None:
        for metric, values in scores.items():
            for row, value in zip(rows, values, strict=True):
                row.scores[self.sources.index(source), self.protocol.metrics.index(metric)] = value

    def _judge_viewers(self, fixations: Fixations, item: _Item, name: str, people: _Participants) -> None:
        """Scores each viewer's fixations by the density of the others; each fixation counts the same."""
        metrics = [
            metric
            for metric in self._possible(False, True, item.pool is not None)
            if self.protocol.fixated_cells == "fixations"
        ]
        left = left_out_viewers(fixations, height=item.size[0], width=item.size[1]) if metrics else None
        if left is None:
            return
        weights = np.array([len(each) for each in left.points], np.float64)
        at_once = max(1, _VIEWERS_CELLS // (item.size[0] * item.size[1]))
        scores: dict[str, list[float]] = {metric: [] for metric in metrics}
        for begin in range(0, len(weights), at_once):
            some = slice(begin, min(begin + at_once, len(weights)))
            count = some.stop - begin
            cells = FixatedCells.from_points(left.points[some], height=item.size[0], width=item.size[1])
            others = left.densities(some)
            if self.protocol.bits is not None:
                others = np.stack([quantise(each, self.protocol.bits) for each in others])
            maps = Maps(torch.from_numpy(others))
            negatives = None if item.pool is None else self._negatives([item.pool] * count, *item.size)
            seeds = [zlib.crc32(f"{item.seed}/{viewer}".encode()) for viewer in range(begin, some.stop)]
            for group, baseline in self._over_references(metrics, name, item.size, count):
                meter = ScoreMeter(group)
                meter.update(maps, None, cells, baseline=baseline, negatives=negatives, seed=seeds)
                for metric, found in meter.scores().items():
                    scores[metric] += found
        means = {}
        place = self.sources.index(INTER_OBSERVER)
        for metric, each in scores.items():
            known = np.array(each)
            defined = ~np.isnan(known)
            means[metric] = [float(np.average(known[defined], weights=weights[defined]))] if defined.any() else [np.nan]
            if fixations.names is not None and METRICS[metric].at_fixations is not None:
                column = self.protocol.metrics.index(metric)
                for viewer, score in zip(left.viewers.tolist(), each, strict=True):
                    people.add(fixations.names[viewer], place, column, score)
        self._write([item.row], INTER_OBSERVER, means)

    def _fixated(self, items: Sequence[_Item]) -> FixatedCells | None:
        if self.protocol.fixated_cells == "density":
            if items[0].density is None:
                return None
            return FixatedCells.from_counts(_stacked([item.density for item in items]))
        points = [item.cells for item in items if item.cells is not None]
        if len(points) < len(items):
            return None
        return FixatedCells.from_points(points, height=items[0].size[0], width=items[0].size[1])

    def _possible(self, density: bool, fixations: bool, negatives: bool) -> list[str]:
        """The metrics for which there is what they need."""
        there = {"density": density, "fixations": fixations, "negatives": negatives, "baseline": True}
        return [name for name in self.protocol.metrics if all(there[need] for need in METRICS[name].needs)]

    def _negatives(
        self, numbers: Sequence[int | None], height: int, width: int
    ) -> dict[NegativeForm, FixatedCells] | None:
        known = [number for number in numbers if number is not None]
        if self._pool is None or len(known) < len(numbers):
            return None
        return {form: self._drawn(self._pool, form, known, height, width) for form in self._forms}

    def _drawn(
        self, pool: NegativePool, form: NegativeForm, numbers: list[int], height: int, width: int
    ) -> FixatedCells:
        own_video, seed = self.protocol.own_video_negatives, self.protocol.seed
        if form != "all":
            return pool.draw(numbers, form=form, height=height, width=width, own_video=own_video, seed=seed)
        # The same for all frames of a video, and up to a million points: found once.
        key = self.surveyed.videos[numbers[0]], height, width
        if self._last is None or self._last[0] != key:
            drawn = pool.draw(numbers[:1], form=form, height=height, width=width, own_video=own_video, seed=seed)
            self._last = key, drawn
        one = self._last[1]
        cells, weights = (part.expand(len(numbers), -1).contiguous() for part in (one.cells, one.weights))
        return FixatedCells(cells, weights, height=height, width=width)


def _stacked(maps: Sequence[_Map | _Fixed | None]) -> torch.Tensor:
    return torch.from_numpy(np.stack([each for each in maps if isinstance(each, np.ndarray)]))


def _repeated(one: _Map, count: int, *, name: str) -> Maps:
    """The same map so many times, without copies."""
    return Maps(torch.from_numpy(one).expand(count, -1, -1), name=name)


def _size_of(density: _Map | None, fixations: Fixations | None) -> tuple[int, int]:
    if density is not None:
        return density.shape[0], density.shape[1]
    return (fixations.height, fixations.width) if fixations is not None else (1, 1)
