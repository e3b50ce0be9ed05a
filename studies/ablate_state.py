"""A model and labelled clips in; a table of what carrying the state and smoothing do, a page and a plot out.

    python studies/ablate_state.py DATA/osie DATA/scene ... [--model sam-lite] [--check --write-docs]
    python studies/ablate_state.py --dataset ucf-sports PATH --split test

Clips are made from the validation stills: a camera moves over the still, things move, cuts come, pictures are
compressed, and labels, motion and cuts are known. Or they are the first frames of a data set's sequences, as
`open_dataset` reads them; there neither motion nor cuts are known, so changes are taken from frame to frame as they are
and recovery is left out.

The frames go through the stages of the pipe itself (`run_model`, smoothers, `Tracker`). Columns:

- NSS, CC, AUC-Judd, SIM, KL: means over all frames with a fixation;
- change: mean share of the density's mass that moves from frame to frame, once the frame before has been moved by the
  known motion of the background; frames after a cut are left out;
- flicker: mean distance in pixels of the model's canvas from the peak to where the motion takes the one before; at
  peak: the labels' density there over its highest, 1 if the peak points at the place most looked at. Both also with the
  1-euro filter;
- recovery: frames after a cut until mean NSS and mean CC have come, and stay, within 2 % of those of the same
  frames begun afresh, over the shots of at least 12 frames; for cuts that the detector found, and with all missed;
- milliseconds: CPU time a frame on one thread, medians of rounds in which all ways take turns.

`--check` ends with 1 unless carrying with one step beats starting afresh with four on NSS and CC and is steadier, for
less than half of the recurrent cost, and recovers within 0 frames of a cut found and 5 of one missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from arguments import count_from
from pages import fill
from plots import new_figure, save_figure

from vidsal.bench import describe_machine
from vidsal.data.clips import AugmentOptions, Clip, ObjectOptions, make_clip
from vidsal.data.layouts import open_dataset
from vidsal.data.motion import compose, index_affine
from vidsal.data.options import CameraOptions
from vidsal.data.sets import open_simple_stills
from vidsal.errors import ConfigError, DatasetError, VidsalError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.metrics import ScoreMeter
from vidsal.model import SaliencyModel, Unroll, load_model
from vidsal.pipe.options import RecurrenceOptions
from vidsal.pipe.predict import Prepared, StageClock, run_model
from vidsal.provenance import source_commit
from vidsal.shots import CutDetector
from vidsal.smooth.options import SmoothOptions
from vidsal.tracks import Tracker, TrackOptions

METRICS = ("nss", "cc", "auc_judd", "sim", "kl")
SHOT_FRAMES = 12
"""Frames that a shot must have to count for the recovery."""
WITHIN = 0.02
PAGE = Path(__file__).parents[1] / "docs" / "reports" / "state.md"
PLOT = Path(__file__).parents[1] / "docs" / "reports" / "images" / "state.png"
SHOWN = "![NSS after a cut, and accuracy against steadiness](images/state.png)"
BEGIN, END = "<!-- ablate_state: begin -->", "<!-- ablate_state: end -->"

MADE = AugmentOptions(
    flip_probability=0.0,
    shift=0.0,
    zoom=0.0,
    camera=CameraOptions(probability=0.8, pan=0.01, zoom=0.004, rotation=0.15, shake=0.002),
    cut_probability=0.04,
    objects=ObjectOptions(probability=0.3, speed=0.01, attraction=0.35),
    motion_blur_probability=0.3,
    brightness=0.1,
    contrast=0.1,
    saturation=0.1,
    exposure_drift=0.01,
    grey_probability=0.0,
    compression_probability=0.5,
    worst_quality=30,
)
"""How the clips are made: hand-held and moving cameras at 25 frames a second, compressed as video is."""

Floats = npt.NDArray[np.float64]
Cuts = Literal["known", "found", "unknown"]
Smoothing = Literal["none", "exponential", "motion", "gaussian"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """A clip with what is known of it."""

    name: str
    """Of its set."""
    batch: FrameBatch
    """The frames; the picture's size is that of the frames."""
    density: tuple[npt.NDArray[np.float32] | None, ...]
    """Of each frame the recorded density at its own size, None where there is none."""
    counts: tuple[npt.NDArray[np.float32] | None, ...]
    """Of each frame the fixations on each cell of the density."""
    cut: npt.NDArray[np.bool_]
    """(T,) the cuts that are known."""
    motion: Floats | None
    """(T, 2, 3) affine from the frame before, between pixel indices; None where it is not known."""


@dataclass(frozen=True)
class Way:
    """One row of the table."""

    recurrence: RecurrenceOptions
    """What the model remembers."""
    smoothing: Smoothing = "none"
    """How its densities are steadied."""
    cuts: Cuts = "found"
    """Which cuts the model and the smoother are told of."""

    @property
    def label(self) -> str:
        """The row's name."""
        state, steps = self.recurrence.state, self.recurrence.steps
        parts = [f"carry K={steps}" if state == "carry" else f"reset T={steps}"]
        if self.cuts == "unknown":
            parts.append("cuts unknown")
        if self.smoothing != "none":
            parts.append(self.smoothing)
        return ", ".join(parts)


def ways_of(steps: int) -> list[Way]:
    """The rows for a model with this own number of steps."""
    reset = {t: RecurrenceOptions("reset", t) for t in sorted({1, 2, 3, 4, steps})}
    carry = {k: RecurrenceOptions("carry", k) for k in (1, 2) if k <= steps}
    smoothings: tuple[Smoothing, ...] = ("exponential", "motion", "gaussian")
    return [
        *(Way(each) for each in reset.values()),
        *(Way(each) for each in carry.values()),
        Way(carry[1], cuts="unknown"),
        *(Way(reset[steps], smoothing) for smoothing in smoothings),
        *(Way(carry[1], smoothing) for smoothing in smoothings),
    ]


# Clips.


def made_clips(roots: Sequence[Path], model: SaliencyModel, *, count: int, frames: int, rate: float) -> list[Labelled]:
    """`count` clips of each set's validation stills.

    Raises:
        DatasetError: a folder is not in the simple layout, or has no validation still.
    """
    clips = []
    for root in roots:
        stills = open_simple_stills(root).validation
        if not stills:
            raise DatasetError(f"{root} has no validation still; name a folder with more pictures")
        for number in range(min(count, len(stills))):
            clip = make_clip(
                stills[number],
                times=frames,
                preprocess=model.preprocessor.options,
                augment=MADE,
                random=np.random.default_rng([11, number]),
                others=lambda random, stills=stills: stills[int(random.integers(len(stills)))],  # type: ignore[misc]
            )
            clips.append(labelled(clip, name=root.name, rate=rate))
    return clips


def labelled(clip: Clip, *, name: str, rate: float) -> Labelled:
    """The part of a made clip that shows the picture."""
    view = clip.viewport
    rows, columns = slice(view.top, view.top + view.height), slice(view.left, view.left + view.width)
    frames = np.ascontiguousarray(clip.frames[:, rows, columns])
    index = np.arange(len(clip))
    density, counts = clip.density[:, rows, columns], clip.counts[:, rows, columns]
    motion = None
    if clip.motion is not None:
        corner = np.array([[1.0, 0.0, view.left], [0.0, 1.0, view.top]])
        back = np.array([[1.0, 0.0, -view.left], [0.0, 1.0, -view.top]])
        motion = index_affine(compose(back, compose(clip.motion, corner)))
    return Labelled(
        name=name,
        batch=FrameBatch(index, index / rate, frames, view.height, view.width),
        density=tuple(each if each.any() else None for each in density),
        counts=tuple(np.ascontiguousarray(each) if each.any() else None for each in counts),
        cut=clip.cut,
        motion=motion,
    )


def clips_on_disk(
    name: str, root: Path, model: SaliencyModel, *, split: str, count: int, frames: int
) -> list[Labelled]:
    """The first `frames` of the first `count` sequences of a data set that are no stills and have both labels.

    Raises:
        DatasetError: there is none.
    """
    clips: list[Labelled] = []
    for sequence in open_dataset(name, root, split=split):
        if sequence.kind == "still" or len(clips) == count:
            continue
        shown = [frame for frame in sequence.read(size=model.preprocessor.frame_size, stop=frames) if not frame.bad]
        density, counts = [], []
        for frame in shown:
            truth, points = frame.density(), frame.fixations()
            looked = None if truth is None or points is None else points.counts(height=len(truth), width=truth.shape[1])
            density.append(truth)
            counts.append(looked if looked is not None and looked.any() else None)
        if len(shown) < 2 or all(each is None for each in counts):
            continue
        pictures = np.stack([frame.picture() for frame in shown])
        seconds = np.array([frame.pts_seconds for frame in shown])
        clips.append(
            Labelled(
                name=f"{name}/{sequence.name}",
                batch=FrameBatch(np.arange(len(shown)), seconds, pictures, *pictures.shape[1:3]),
                density=tuple(density),
                counts=tuple(counts),
                cut=np.zeros(len(shown), np.bool_),
                motion=None,
            )
        )
    if not clips:
        raise DatasetError(f"{root}: no video of {name} with densities and fixations here; name another set or split")
    return clips


# What the model makes of them.


def maps_of(
    model: SaliencyModel, batch: FrameBatch, recurrence: RecurrenceOptions, cut: npt.NDArray[np.bool_]
) -> SaliencyBatch:
    """The pipe's maps of a clip for these cuts, before smoothing."""
    fresh = [bool(each) or recurrence.state == "reset" for each in cut]
    fresh[0] = True
    shot = np.cumsum(cut, dtype=np.int64)
    piece = Prepared(batch, shot, cut, tuple(range(len(batch))), tuple(fresh), None)
    (seen,) = run_model(model, [piece], recurrence=recurrence, clocks=[StageClock()])
    if seen is None:
        raise ValueError("a clip has no frames")
    return SaliencyBatch(batch.index, batch.pts_seconds, shot, cut, seen.log_density.cpu(), batch.height, batch.width)


def smoothed(maps: SaliencyBatch, frames: FrameBatch, smoothing: Smoothing) -> SaliencyBatch:
    """The maps as the smoother hands them on."""
    smoother = SmoothOptions(smoothing=smoothing).make()
    smoother.watch(frames)
    out = smoother.update(maps) + smoother.flush()
    return dataclasses.replace(maps, log_density=torch.cat([each.log_density for each in out]))


class Predicted:
    """The maps of a clip in any way, and their scores; what several ways share is worked out once."""

    def __init__(self, model: SaliencyModel, clip: Labelled) -> None:
        self.clip = clip
        self._model = model
        found = CutDetector().update(clip.batch.frames, clip.batch.pts_seconds)
        self.cuts = {"known": clip.cut, "found": found, "unknown": np.zeros_like(clip.cut)}
        self._raw: dict[tuple[RecurrenceOptions, bytes], SaliencyBatch] = {}
        self._scores: dict[tuple[RecurrenceOptions, Smoothing, bytes], dict[str, Floats]] = {}

    def maps(self, way: Way, cuts: Cuts) -> SaliencyBatch:
        """Where the model and the smoother are told of these cuts."""
        cut = self.cuts[cuts]
        # Where every frame starts afresh, cuts change nothing.
        told = cut if way.recurrence.state == "carry" else np.zeros_like(cut)
        key = way.recurrence, told.tobytes()
        if key not in self._raw:
            self._raw[key] = maps_of(self._model, self.clip.batch, way.recurrence, told)
        raw = dataclasses.replace(self._raw[key], cut=cut, shot=np.cumsum(cut, dtype=np.int64))
        return smoothed(raw, self.clip.batch, way.smoothing)

    def scores(self, way: Way, cuts: Cuts) -> dict[str, Floats]:
        """Each metric of each frame, NaN where nothing is known."""
        key = way.recurrence, way.smoothing, self.cuts[cuts].tobytes()
        if key not in self._scores:
            self._scores[key] = scores_of(self.clip, self.maps(way, cuts))
        return self._scores[key]


def scores_of(clip: Labelled, maps: SaliencyBatch) -> dict[str, Floats]:
    """Each metric of each frame, NaN where nothing is known."""
    result = {name: np.full(len(maps), np.nan) for name in METRICS}
    triples: list[list[npt.NDArray[np.float32]]] = []
    known: list[int] = []
    for t, (density, counts) in enumerate(zip(clip.density, clip.counts, strict=True)):
        if density is None or counts is None:
            continue
        saliency = maps.density[t].numpy()
        if saliency.shape != density.shape:
            saliency = cv2.resize(saliency, density.shape[::-1], interpolation=cv2.INTER_LINEAR)
        triples.append([saliency, density, counts])
        known.append(t)
    meter = ScoreMeter(METRICS)
    if known:
        meter.update(*(torch.from_numpy(np.stack(each)) for each in zip(*triples, strict=True)))
    for name, values in meter.scores().items():
        result[name][known] = values
    return result


def changes_of(density: Sequence[npt.NDArray[np.float32] | None], clip: Labelled) -> list[float]:
    """Share of the mass that moves between each two frames of a shot, the motion taken out."""
    changes = []
    for t in range(1, len(clip.batch)):
        before, after = density[t - 1], density[t]
        if clip.cut[t] or before is None or after is None:
            continue
        there = np.ones(after.shape, np.bool_)
        if clip.motion is not None:
            size = after.shape[::-1]
            there = cv2.warpAffine(np.ones_like(before), clip.motion[t], size, flags=cv2.INTER_LINEAR) > 0.999
            before = cv2.warpAffine(before, clip.motion[t], size, flags=cv2.INTER_LINEAR)
        one, other = before[there].astype(np.float64), after[there].astype(np.float64)
        if one.sum() > 0 and other.sum() > 0:
            changes.append(float(np.abs(one / one.sum() - other / other.sum()).sum() / 2))
    return changes


def change_of_labels(clips: Sequence[Labelled]) -> float:
    """What a perfect prediction would change by."""
    return mean_of([value for clip in clips for value in changes_of(clip.density, clip)])


def mean_of(values: Sequence[float]) -> float:
    """NaN where there is nothing."""
    return statistics.fmean(values) if values else math.nan


def peaks_of(maps: SaliencyBatch, *, steady: bool) -> Floats:
    """(T, 2) x and y of the peak as the table has it."""
    options = TrackOptions(peak_filter="one-euro" if steady else "none")
    return np.array([(row.peak_x, row.peak_y) for row in Tracker(options).update(maps)])


def flicker_of(peaks: Floats, clip: Labelled) -> list[float]:
    """Distances from each peak to where the motion takes the one before; cuts left out."""
    distances = []
    for t in range(1, len(peaks)):
        if clip.cut[t]:
            continue
        expected = peaks[t - 1]
        if clip.motion is not None:
            expected = clip.motion[t][:, :2] @ expected + clip.motion[t][:, 2]
        distances.append(float(np.linalg.norm(peaks[t] - expected)))
    return distances


def at_peaks(peaks: Floats, clip: Labelled) -> list[float]:
    """The labels' density at each peak over its highest."""
    values = []
    for (x, y), density in zip(peaks, clip.density, strict=True):
        if density is not None:
            rows, columns = density.shape
            row = round((y + 0.5) * rows / clip.batch.height - 0.5)
            column = round((x + 0.5) * columns / clip.batch.width - 0.5)
            row, column = min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)
            values.append(float(density[row, column] / density.max()))
    return values


def long_shots(clip: Labelled) -> list[int]:
    """First frames of the shots after a cut that are long enough to recover in."""
    bounds = [*np.flatnonzero(clip.cut).tolist(), len(clip.cut)]
    return [
        start
        for start, end in itertools.pairwise(bounds)
        if end - start >= SHOT_FRAMES and all(each is not None for each in clip.counts[start : start + SHOT_FRAMES])
    ]


def recovery(curves: dict[str, Floats], afresh: dict[str, Floats]) -> int | None:
    """Frames until both curves are within 2 % of those begun afresh and stay there; None: not within the shot."""
    good = np.all([curves[name] >= (1 - WITHIN) * afresh[name] for name in ("nss", "cc")], axis=0)
    bad = np.flatnonzero(~good)
    first = int(bad[-1]) + 1 if len(bad) else 0
    return first if first < len(good) else None


class Row:
    """Adds up what is measured of one way."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.scores: list[dict[str, Floats]] = []
        self.change: list[float] = []
        self.flicker: dict[bool, list[float]] = {False: [], True: []}
        self.at_peak: dict[bool, list[float]] = {False: [], True: []}
        self.after: dict[str, list[dict[str, Floats]]] = {
            "known": [],
            "found": [],
            "known where found": [],
            "unknown": [],
        }
        self.milliseconds: dict[str, float] = {}

    def add(self, predicted: Predicted) -> None:
        """Measure a clip."""
        clip, maps = predicted.clip, predicted.maps(self.way, self.way.cuts)
        self.scores.append(predicted.scores(self.way, self.way.cuts))
        self.change += changes_of(list(maps.density.numpy()), clip)
        for steady in (False, True):
            peaks = peaks_of(maps, steady=steady)
            self.flicker[steady] += flicker_of(peaks, clip)
            self.at_peak[steady] += at_peaks(peaks, clip)
        starts = long_shots(clip)
        if not starts:
            return
        told: tuple[Cuts, ...] = ("known", "found", "unknown")
        scores = {cuts: predicted.scores(self.way, cuts) for cuts in told}
        for start in starts:
            part = {
                cuts: {name: values[start : start + SHOT_FRAMES] for name, values in each.items()}
                for cuts, each in scores.items()
            }
            self.after["known"].append(part["known"])
            self.after["unknown"].append(part["unknown"])
            if predicted.cuts["found"][start]:
                self.after["found"].append(part["found"])
                self.after["known where found"].append(part["known"])

    def mean(self, metric: str) -> float:
        """Over all frames that have a score."""
        return float(np.nanmean(np.concatenate([each[metric] for each in self.scores])))

    def of_clips(self, metric: str) -> Floats:
        """The mean of each clip."""
        return np.array([np.nanmean(each[metric]) for each in self.scores])

    def curve(self, cuts: str) -> dict[str, Floats]:
        """Mean scores by frames since the cut."""
        return {
            name: np.mean([each[name] for each in self.after[cuts]], axis=0) if self.after[cuts] else np.zeros(0)
            for name in ("nss", "cc")
        }

    def recovery(self, cuts: Literal["found", "unknown"]) -> int | None:
        """Frames; None where it takes more than were looked at. Only where there were cuts."""
        afresh = "known where found" if cuts == "found" else "known"
        return recovery(self.curve(cuts), self.curve(afresh))

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        values: dict[str, Any] = {name: self.mean(name) for name in METRICS}
        values["change"] = mean_of(self.change)
        for steady, name in ((False, ""), (True, "_one_euro")):
            values[f"flicker{name}"] = mean_of(self.flicker[steady])
            values[f"at_peak{name}"] = mean_of(self.at_peak[steady])
        if self.after["known"]:
            values["recovery_missed"] = self.recovery("unknown")
            values["recovery_found"] = self.recovery("found") if self.after["found"] else None
        values["milliseconds"] = self.milliseconds
        return values


# Cost.


def measure_cost(model: SaliencyModel, clip: Labelled, rows: Sequence[Row], rounds: int) -> None:
    """CPU milliseconds a frame of each way, into the rows: all ways take turns, the state is that of a video."""
    preprocessor, frames = model.preprocessor, clip.batch.frames
    recurrences = list(dict.fromkeys(row.way.recurrence for row in rows))
    smoothings = list(dict.fromkeys(row.way.smoothing for row in rows))
    recurrent: dict[RecurrenceOptions, list[float]] = {each: [] for each in recurrences}
    model_whole: dict[RecurrenceOptions, list[float]] = {each: [] for each in recurrences}
    after: dict[Smoothing, list[float]] = {each: [] for each in smoothings}
    smoothers = {each: SmoothOptions(smoothing=each).make() for each in smoothings}
    detector = CutDetector()
    state = model(preprocessor(frames[:1])[None])[1]
    marks: list[float] = []
    with _marking(model.network.recurrence, marks):
        for number in range(rounds + 2):
            row = number % len(frames)
            now = SaliencyBatch(
                index=np.array([number]),
                pts_seconds=np.array([number / 25]),
                shot=np.zeros(1, np.int64),
                cut=np.zeros(1, np.bool_),
                log_density=torch.zeros(1, clip.batch.height, clip.batch.width),
                height=clip.batch.height,
                width=clip.batch.width,
            )
            for each in recurrences:
                own, carried = each.steps_of(model.config.steps)
                marks.clear()
                begin = time.process_time()
                detector.update(frames[row : row + 1], now.pts_seconds)
                pixels = preprocessor(frames[row : row + 1])[None]
                before = state if each.state == "carry" else None
                unroll = Unroll.of([[before is None]], fresh_steps=own, carry_steps=carried)
                log_density, _ = model(pixels, before, unroll=unroll)
                maps = preprocessor.to_picture(log_density[0], clip.batch.height, clip.batch.width)
                model_whole[each].append(1000 * (time.process_time() - begin))
                recurrent[each].append(1000 * (marks[-1] - marks[0]))
            now = dataclasses.replace(now, log_density=maps.float().cpu())
            shown = FrameBatch(now.index, now.pts_seconds, frames[row : row + 1], clip.batch.height, clip.batch.width)
            for kind, smoother in smoothers.items():
                begin = time.process_time()
                smoother.watch(shown)
                smoother.update(now)
                after[kind].append(1000 * (time.process_time() - begin))
    for each_row in rows:
        way = each_row.way
        # The first two rounds warm up.
        each_row.milliseconds = {
            "recurrent": statistics.median(recurrent[way.recurrence][2:]),
            "smoothing": statistics.median(after[way.smoothing][2:]),
            "total": statistics.median(model_whole[way.recurrence][2:]) + statistics.median(after[way.smoothing][2:]),
        }


@contextmanager
def _marking(module: torch.nn.Module, marks: list[float]) -> Iterator[None]:
    """Note the CPU time when a module is entered and left."""
    hooks = [
        module.register_forward_pre_hook(lambda *_: marks.append(time.process_time())),
        module.register_forward_hook(lambda *_: marks.append(time.process_time())),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# Results.


def paired(row: Row, other: Row, metric: str) -> tuple[float, float, float]:
    """Mean difference over clips, and its bootstrap 95 % interval."""
    difference = row.of_clips(metric) - other.of_clips(metric)
    difference = difference[np.isfinite(difference)]
    picks = np.random.default_rng(0).integers(len(difference), size=(2000, len(difference)))
    low, high = np.percentile(difference[picks].mean(axis=1), (2.5, 97.5))
    return float(difference.mean()), float(low), float(high)


def find(rows: Sequence[Row], label: str) -> Row:
    """The row of this name.

    Raises:
        ConfigError: there is none.
    """
    for row in rows:
        if row.way.label == label:
            return row
    raise ConfigError(f"there is no row {label!r}; there are {', '.join(row.way.label for row in rows)}")


def failures(rows: Sequence[Row]) -> list[str]:
    """What of the promises does not hold, one sentence each."""
    carry, reset = find(rows, "carry K=1"), find(rows, "reset T=4")
    one, other = carry.as_dict(), reset.as_dict()
    said = [
        f"carry K=1 has {name.upper()} {one[name]:.4f}, reset T=4 {other[name]:.4f}"
        for name in ("nss", "cc")
        if not one[name] > other[name]
    ]
    if not one["change"] < other["change"]:
        said.append(f"carry K=1 changes by {one['change']:.4f} a frame, reset T=4 by {other['change']:.4f}")
    cost, full = one["milliseconds"]["recurrent"], other["milliseconds"]["recurrent"]
    if not cost < full / 2:
        said.append(f"carry K=1 takes {cost:.2f} ms for the recurrence, more than half of reset T=4's {full:.2f}")
    if "recovery_missed" not in one:
        said.append("no cut to recover from: take more clips or frames")
    else:
        for kind, most in (("found", 0), ("missed", 5)):
            frames = one[f"recovery_{kind}"]
            if frames is None or frames > most:
                said.append(
                    f"carry K=1 recovers {frames_text(frames)} frames after a cut {kind}, at most {most} allowed"
                )
    return said


def frames_text(frames: int | None) -> str:
    """A number of frames, or that they were not enough."""
    return f"> {SHOT_FRAMES - 1}" if frames is None else str(frames)


def tables(rows: Sequence[Row], clips: Sequence[Labelled]) -> str:
    """The tables in Markdown."""
    lines = [
        "| state, smoothing | NSS | CC | AUC-J | SIM | KL | change, % | recurrent ms | total ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    values = {row.way.label: row.as_dict() for row in rows}
    for label, each in values.items():
        scores = " | ".join(f"{each[name]:.3f}" for name in METRICS)
        spent = each["milliseconds"]
        lines.append(
            f"| {label} | {scores} | {100 * each['change']:.2f} | {spent['recurrent']:.2f} | {spent['total']:.2f} |"
        )
    lines.append(f"| the labels themselves | | | | | | {100 * change_of_labels(clips):.2f} | | |")
    cuts = any("recovery_missed" in each for each in values.values())
    recovered = " recovery, cut found | recovery, cut missed |" if cuts else ""
    lines += [
        "",
        f"| state, smoothing | flicker, px | with 1-euro | labels at peak | with 1-euro |{recovered}",
        "|---|---|---|---|---|" + ("---|---|" if cuts else ""),
    ]
    for label, each in values.items():
        line = f"| {label} | {each['flicker']:.2f} | {each['flicker_one_euro']:.2f}"
        line += f" | {each['at_peak']:.3f} | {each['at_peak_one_euro']:.3f} |"
        if cuts:
            line += f" {frames_text(each['recovery_found'])} | {frames_text(each['recovery_missed'])} |"
        lines.append(line)
    return "\n".join(lines)


def report(rows: Sequence[Row], clips: Sequence[Labelled], predicted_cuts: tuple[int, int, int], model: str) -> str:
    """Everything that is printed and written into the page."""
    count = sum(len(clip.batch) for clip in clips)
    cuts, found, wrong = predicted_cuts
    sets = ", ".join(dict.fromkeys(clip.name for clip in clips))
    head = f"{model}: {len(clips)} clips, {count} frames of {sets}."
    if cuts:
        shots = len(rows[0].after["known"])
        head += f" {cuts} cuts, {found} of them found, {wrong} more reported; after {shots} of them at least"
        head += f" {SHOT_FRAMES} frames of one shot."
    machine = describe_machine()
    head += f" One thread of {machine['processor']}; commit {source_commit() or 'unknown'}, {date.today().isoformat()}."
    carry, reset = find(rows, "carry K=1"), find(rows, "reset T=4")
    differences = ", ".join(
        f"{name.upper()} {mean:+.4f} ({low:+.4f} to {high:+.4f})"
        for name in ("nss", "cc")
        for mean, low, high in [paired(carry, reset, name)]
    )
    share = carry.milliseconds["recurrent"] / reset.milliseconds["recurrent"]
    tail = f"Carry K=1 less reset T=4, mean over clips with the 95 % interval of a bootstrap over clips: {differences};"
    tail += f" recurrent cost {share:.2f} of it."
    return f"{head}\n\n{tables(rows, clips)}\n\n{tail}"


def draw(rows: Sequence[Row], clips: Sequence[Labelled], path: Path) -> None:
    """The plot: NSS after a cut, and accuracy against steadiness.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    figure = new_figure(11, 4.2)
    left, right = figure.subplots(1, 2)
    carry = find(rows, "carry K=1")
    if carry.after["known"]:
        frames = np.arange(SHOT_FRAMES)
        lines: list[tuple[Row, str, str, str]] = [
            (carry, "known", "begun afresh", "0.2"),
            (carry, "unknown", "carried over a missed cut", "tab:red"),
            (find(rows, "carry K=1, exponential"), "unknown", "the same, exponential", "tab:orange"),
            (find(rows, "carry K=1, motion"), "unknown", "the same, motion", "tab:blue"),
        ]
        for row, cuts, label, colour in lines:
            left.plot(frames, row.curve(cuts)["nss"], label=label, color=colour, marker="o", markersize=3)
        top = carry.curve("known")["nss"]
        left.fill_between(frames, (1 - WITHIN) * top, top, color="0.2", alpha=0.12, linewidth=0, label="within 2 %")
        left.set(xlabel="frames since the cut", ylabel="NSS", title="After a cut")
        left.legend(frameon=False, fontsize=8)
    styles = {
        "none": ("o", "none"),
        "exponential": ("s", "exponential"),
        "motion": ("^", "motion"),
        "gaussian": ("D", "gaussian"),
    }
    right.axvline(100 * change_of_labels(clips), color="0.8", linewidth=1, zorder=0, label="the labels' own change")
    # Neighbours of equal change would write over each other.
    places = itertools.cycle([(6, 3), (6, -9), (-25, 3), (-25, -9)])
    for row in sorted(rows, key=lambda row: row.as_dict()["change"]):
        values, state = row.as_dict(), row.way.recurrence.state
        marker = styles[row.way.smoothing][0]
        colour = "tab:red" if state == "carry" else "0.45"
        right.plot(100 * values["change"], values["nss"], marker, color=colour, markersize=6)
        right.annotate(
            row.way.label.partition(", ")[0].split()[1] + ("?" if row.way.cuts == "unknown" else ""),
            (100 * values["change"], values["nss"]),
            textcoords="offset points",
            xytext=next(places),
            fontsize=7,
            color=colour,
        )
    for smoothing, (marker, label) in styles.items():
        name = "not smoothed" if smoothing == "none" else label
        right.plot([], [], marker, color="0.7", label=name)
    right.plot([], [], "o", color="tab:red", label="state carried")
    right.plot([], [], "o", color="0.45", label="state reset")
    right.set(
        xlabel="change from frame to frame, % of the mass (steadier to the left)",
        ylabel="NSS",
        title="Accuracy and steadiness",
    )
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


def ablate(
    model: SaliencyModel,
    clips: Sequence[Labelled],
    *,
    rounds: int,
    say: Callable[[str], None],
) -> tuple[list[Row], tuple[int, int, int]]:
    """Measure all ways; returns the rows, and how many cuts there are, were found, and were reported wrongly."""
    rows = [Row(way) for way in ways_of(model.config.steps)]
    cuts = found = wrong = 0
    for number, clip in enumerate(clips):
        predicted = Predicted(model, clip)
        for row in rows:
            row.add(predicted)
        if clip.motion is not None:
            cuts += int(clip.cut.sum())
            found += int((clip.cut & predicted.cuts["found"]).sum())
            wrong += int((~clip.cut & predicted.cuts["found"]).sum())
        say(f"clip {number + 1} of {len(clips)}")
    measure_cost(model, clips[0], rows, rounds)
    return rows, (cuts, found, wrong)


def frames_a_second(text: str) -> float:
    """Reads a finite number above 0."""
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return rate


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", type=Path, help="folders of stills in the simple layout, to make clips of")
    parser.add_argument("--dataset", nargs=2, metavar=("NAME", "ROOT"), help="clips of a data set on disk instead")
    parser.add_argument("--split", default="all", help="of the data set (default: all)")
    parser.add_argument("--model", default="sam-lite", help="name of a preset or path of a checkpoint")
    parser.add_argument("--clips", type=count_from(1), default=12, help="clips of each set (default: 12)")
    parser.add_argument("--frames", type=count_from(2), default=36, help="frames of a clip (default: 36)")
    parser.add_argument(
        "--rate", type=frames_a_second, default=25.0, help="frames a second of a made clip (default: 25)"
    )
    parser.add_argument("--rounds", type=count_from(1), default=30, help="rounds of the cost (default: 30)")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--plot", type=Path, help="draw the plot here")
    parser.add_argument("--write-docs", action="store_true", help="write tables and plot into docs/")
    parser.add_argument("--check", action="store_true", help="end with 1 unless the promises hold")
    given = parser.parse_args(arguments)
    if bool(given.sets) == bool(given.dataset):
        parser.error("name either folders of stills or --dataset NAME ROOT")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = load_model(given.model, device="cpu")
    if given.dataset:
        name, root = given.dataset
        clips = clips_on_disk(name, Path(root), model, split=given.split, count=given.clips, frames=given.frames)
    else:
        clips = made_clips(given.sets, model, count=given.clips, frames=given.frames, rate=given.rate)
    rows, cuts = ablate(model, clips, rounds=given.rounds, say=lambda text: print(text, file=sys.stderr, flush=True))
    text = report(rows, clips, cuts, model.card.name)
    print(text)
    if given.json:
        numbers = {row.way.label: row.as_dict() for row in rows}
        given.json.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    for path in filter(None, (given.plot, PLOT if given.write_docs else None)):
        draw(rows, clips, path)
    if given.write_docs:
        fill(PAGE, BEGIN, END, f"{text}\n\n{SHOWN}")
    said = failures(rows) if given.check else []
    for each in said:
        print(f"not as promised: {each}", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
