"""A configuration in, every step of the run (which samples, how long, which seed) and its clips out, in order."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.data.clips import Clip, make_clip
from vidsal.data.fixations import density_from_fixations, fixation_counts
from vidsal.data.layouts import LabelledSequence
from vidsal.data.recorded import RecordedClip, read_windows
from vidsal.data.sets import OpenSet, open_set, open_simple_stills
from vidsal.data.teacher import TeacherSet
from vidsal.errors import ConfigError
from vidsal.preprocess import PreprocessOptions
from vidsal.train.options import ScheduleOptions, TrainConfig

__all__ = [
    "OpenData",
    "RecordedWindows",
    "Step",
    "Window",
    "make_plan",
    "open_data",
    "read_samples",
    "taught_clip",
]


@dataclass(frozen=True)
class Window:
    """A part of recorded sequences that are read in order."""

    number: int
    """Of the windows of its sequences, from 0."""
    seed: int
    """The same for all of them."""


@dataclass(frozen=True)
class Step:
    """What is shown between two changes of the weights."""

    pass_index: int
    """From 0."""
    samples: tuple[int, ...]
    """Ordinals of stills, of stretches of the teacher set, or of recorded sequences."""
    times: int
    """Frames of each sample."""
    seed: int
    """Of all that is drawn in this step."""
    taught: bool = False
    """The samples are the teacher's."""
    window: Window | None = None
    """Where the samples are recorded video: which part of it."""


def make_plan(
    count: int, config: TrainConfig, stretches: Sequence[range] = (), sequences: Sequence[int] = ()
) -> list[Step]:
    """Every step of a run on `count` stills, stretches of a teacher set, and so many sequences of each set of video."""
    schedule = config.schedule
    longest = max(schedule.clip_lengths)
    if (count or stretches) and schedule.frames_per_step < longest:
        raise ConfigError(
            f"frames_per_step must be at least the longest of clip_lengths, {longest}; got {schedule.frames_per_step}"
        )
    if sequences and schedule.window_frames > schedule.frames_per_step:
        raise ConfigError(
            f"window_frames must be from 1 to frames_per_step ({schedule.frames_per_step}), got "
            f"{schedule.window_frames}"
        )
    teacher_share = schedule.teacher_share if stretches else 0.0
    video_share = schedule.video_share if sequences and count else 0.0
    rest = 1 - teacher_share - video_share
    if rest <= 0:
        raise ConfigError(
            f"teacher_share and video_share leave nothing for stills: {teacher_share:g} + {video_share:g} must be "
            "below 1"
        )
    random = np.random.default_rng([config.seed, 1])
    teacher_random = np.random.default_rng([config.seed, 2])
    video_random = np.random.default_rng([config.seed, 3])
    windows = _window_steps(sequences, config, video_random) if sequences else iter(())
    plan: list[Step] = []

    def beside(pass_index: int) -> None:
        """What comes after a step on stills (on video, where there are none)."""
        if stretches:
            for _ in range(int(teacher_share / rest + teacher_random.random())):
                plan.append(_teacher_step(pass_index, stretches, schedule, teacher_random))
        if video_share:
            for step in islice(windows, int(video_share / rest + video_random.random())):
                plan.append(dataclasses.replace(step, pass_index=pass_index))

    for pass_index in range(schedule.passes):
        order = random.permutation(count).tolist()
        while order:
            times = _draw_length(schedule, random)
            size = schedule.frames_per_step // times
            chosen, order = order[:size], order[size:]
            plan.append(Step(pass_index, tuple(chosen), times, int(random.integers(2**31))))
            beside(pass_index)
        if not count:
            # Steps in which every recorded sequence is drawn once.
            at_once = min(sum(sequences), schedule.frames_per_step // schedule.window_frames)
            draws = math.ceil(sum(sequences) / at_once)
            for step in islice(windows, draws * schedule.windows_per_sequence):
                plan.append(dataclasses.replace(step, pass_index=pass_index))
                beside(pass_index)
    return plan


def _window_steps(sequences: Sequence[int], config: TrainConfig, random: np.random.Generator) -> Iterator[Step]:
    """Steps on recorded video without end: all windows of some sequences, then of others; none twice before all."""
    schedule = config.schedule
    shares = np.array([video.share for video in config.videos], np.float64)
    first = np.cumsum([0, *sequences])
    waiting: list[list[int]] = [[] for _ in sequences]
    at_once = min(sum(sequences), schedule.frames_per_step // schedule.window_frames)
    while True:
        chosen = []
        for _ in range(at_once):
            place = int(random.choice(len(sequences), p=shares / shares.sum()))
            if not waiting[place]:
                waiting[place] = (first[place] + random.permutation(sequences[place])).tolist()
            chosen.append(waiting[place].pop())
        seed = int(random.integers(2**31))
        for number in range(schedule.windows_per_sequence):
            own = int(random.integers(2**31))
            yield Step(0, tuple(chosen), schedule.window_frames, own, window=Window(number, seed))


def _draw_length(schedule: ScheduleOptions, random: np.random.Generator) -> int:
    shares = np.array(list(schedule.clip_lengths.values()), np.float64)
    return int(random.choice(list(schedule.clip_lengths), p=shares / shares.sum()))


def _teacher_step(
    pass_index: int, stretches: Sequence[range], schedule: ScheduleOptions, random: np.random.Generator
) -> Step:
    """A step on stretches of the teacher set that are long enough; single pictures as often as they are there."""
    frames = np.array([len(stretch) for stretch in stretches], np.float64)
    times = _draw_length(schedule, random)
    long_enough = frames >= times
    if times > 1 and random.random() > frames[long_enough].sum() / frames.sum():
        times, long_enough = 1, frames >= 1
    odds = np.where(long_enough, frames, 0.0)
    size = min(schedule.frames_per_step // times, int(long_enough.sum()))
    chosen = random.choice(len(stretches), size=size, replace=False, p=odds / odds.sum())
    return Step(pass_index, tuple(chosen.tolist()), times, int(random.integers(2**31)), taught=True)


@dataclass(frozen=True)
class OpenData:
    """All that a run is shown but for the teacher's, and what it is scored on."""

    stills: tuple[OpenSet, ...]
    """Sets of stills, each under a name of its own."""
    videos: tuple[OpenSet, ...]
    """Sets of recorded video, as `TrainConfig.videos`."""

    @property
    def training_stills(self) -> list[LabelledSequence]:
        """Those of all sets, as `Step.samples` counts them."""
        return [still for one in self.stills for still in one.training]


def open_data(config: TrainConfig) -> OpenData:
    """Open every set of a configuration.

    Raises:
        ConfigError: none is named, or one holds nothing to train on.
        DatasetError: a folder is not in its layout.
    """
    if not (config.datasets or config.stills or config.videos):
        raise ConfigError("datasets is empty, and so are stills and videos: name at least one folder")
    simple = [open_simple_stills(root, condition=config.condition) for root in config.datasets]
    if simple and not any(one.training for one in simple):
        raise ConfigError("no training pictures: all fell into the validation split")
    stills = simple + [open_set(one, "still") for one in config.stills]
    videos = [open_set(one, "video") for one in config.videos]
    sets = [*stills, *videos]
    names = [one.name for one in sets]
    named = tuple(
        dataclasses.replace(one, name=f"{one.name}-{names[: place + 1].count(one.name)}")
        if names.count(one.name) > 1
        else one
        for place, one in enumerate(sets)
    )
    return OpenData(named[: len(stills)], named[len(stills) :])


def read_samples(
    plan: list[Step],
    data: OpenData,
    teacher: TeacherSet | None,
    config: TrainConfig,
    preprocess: PreprocessOptions,
) -> Iterator[list[Clip]]:
    recorded, stills = RecordedWindows(data.videos, config, preprocess), data.training_stills
    for step in plan:
        if step.window is not None:
            yield recorded.samples(step, step.window)
            continue
        seeds = [(index, np.random.default_rng([step.seed, place])) for place, index in enumerate(step.samples)]
        if step.taught and teacher is not None:
            yield [taught_clip(teacher, index, step.times, config, random) for index, random in seeds]
            continue
        yield [
            make_clip(
                stills[index],
                times=step.times,
                preprocess=preprocess,
                augment=config.augment,
                random=random,
                others=lambda drawn: stills[int(drawn.integers(len(stills)))],
            )
            for index, random in seeds
        ]


class RecordedWindows:
    """The windows of recorded sequences, read in order."""

    def __init__(self, videos: Sequence[OpenSet], config: TrainConfig, preprocess: PreprocessOptions) -> None:
        self._sequences = [(one.stride, sequence) for one in videos for sequence in one.training]
        self._config, self._preprocess = config, preprocess
        self._open: list[Iterator[RecordedClip]] = []

    def samples(self, step: Step, window: Window) -> list[Clip]:
        """The windows of a step. A run that was resumed in the middle of sequences reads them from their beginning."""
        if window.number == 0 or not self._open:
            self._open = [
                read_windows(
                    sequence,
                    frames=self._config.schedule.window_frames,
                    windows=self._config.schedule.windows_per_sequence,
                    stride=stride,
                    preprocess=self._preprocess,
                    augment=self._config.augment,
                    random=np.random.default_rng([window.seed, place]),
                )
                for place, (stride, sequence) in enumerate(self._sequences[index] for index in step.samples)
            ]
            for _ in range(window.number):
                for windows in self._open:
                    next(windows)
        return [next(windows) for windows in self._open]


def taught_clip(teacher: TeacherSet, index: int, times: int, config: TrainConfig, random: np.random.Generator) -> Clip:
    """Consecutive pictures of a stretch; what was recorded of a picture is mixed with what the teacher says."""
    stretch = teacher.sequences[index]
    first = stretch.start + int(random.integers(len(stretch) - times + 1))
    samples = [teacher.sample(place) for place in range(first, first + times)]
    weight = config.schedule.teacher_weight
    densities, counts = [], []
    for sample in samples:
        density, soft = sample.density, sample.density
        size = {"height": density.shape[0], "width": density.shape[1]}
        hits = fixation_counts(sample.points, **size)
        if hits.sum() > 0:
            recorded = density_from_fixations(sample.points, sigma=max(1.0, sample.sigma), **size)
            density = weight * density + (1 - weight) * recorded
            soft = weight * soft + (1 - weight) * hits / hits.sum()
        densities.append(density)
        # Where nobody's gaze was recorded the expected z-score under the teacher's density stands for NSS.
        counts.append(soft)
    frames: npt.NDArray[np.uint8] = np.stack([sample.frame for sample in samples])
    arrays: list[npt.NDArray[Any]] = [frames, np.stack(densities), np.stack(counts)]
    view = samples[0].viewport
    if random.random() < config.augment.flip_probability:
        arrays = [np.ascontiguousarray(array[:, :, ::-1]) for array in arrays]
        view = dataclasses.replace(view, left=view.canvas_width - view.left - view.width)
    return Clip(arrays[0], arrays[1], arrays[2], view, np.zeros(times, np.bool_))
