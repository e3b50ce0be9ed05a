"""A configuration and the number of samples in, every step of the run out: which samples, how long, which seed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from vidsal.errors import ConfigError
from vidsal.train.options import ScheduleOptions, TrainConfig

__all__ = ["Step", "Window", "make_plan"]


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
    """Every step of the run: which samples, how long, which seed.

    Args:
        count: number of stills.
        config: the run.
        stretches: of the teacher set.
        sequences: how many each set of recorded video has.
    """
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
