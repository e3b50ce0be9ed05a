"""A configuration and the plan in, the clips of every step out, in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from vidsal.train.options import TrainConfig
from vidsal.train.plan import Step, Window

__all__ = ["OpenData", "RecordedWindows", "open_data", "read_samples", "stack_arrays", "taught_clip"]

_Pixels = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]


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
            self._open = [self._read(index, [window.seed, place]) for place, index in enumerate(step.samples)]
            for _ in range(window.number):
                for windows in self._open:
                    next(windows)
        return [next(windows) for windows in self._open]

    def _read(self, index: int, seed: list[int]) -> Iterator[RecordedClip]:
        stride, sequence = self._sequences[index]
        return read_windows(
            sequence,
            frames=self._config.schedule.window_frames,
            windows=self._config.schedule.windows_per_sequence,
            stride=stride,
            preprocess=self._preprocess,
            augment=self._config.augment,
            random=np.random.default_rng(seed),
        )


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


_ARRAYS = ("frames", "density", "counts")


def stack_arrays(clips: list[Clip]) -> tuple[_Pixels, _Floats, _Floats, npt.NDArray[np.bool_]]:
    """Frames (B, T, H, W, 3), densities, counts and what is inside the picture (B, T, H, W)."""
    frames, density, counts = (np.stack([getattr(clip, name) for clip in clips]) for name in _ARRAYS)
    inside = np.zeros(density.shape, np.bool_)
    for row, clip in zip(inside, clips, strict=True):
        view = clip.viewport
        row[:, view.top : view.top + view.height, view.left : view.left + view.width] = True
    return frames, density, counts, inside
