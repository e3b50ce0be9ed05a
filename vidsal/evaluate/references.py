"""Frames, and what was recorded elsewhere, in, the maps that every model has to be compared with out.

Three of them need recorded gaze: the mean density of the training pictures, the density of another sequence, and the
other viewers of the same frame. The rest are `vidsal.model.baselines`.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.data.fixations import SIGMA_SHARE, Patch, blur_points
from vidsal.data.layouts import Dataset, Fixations, LabelledFrame, LabelledSequence, open_dataset
from vidsal.data.layouts.videos import tiny
from vidsal.errors import ConfigError, DatasetError, Setting
from vidsal.model.baselines import BASELINES, FLOOR_SHARE

__all__ = [
    "INTER_OBSERVER",
    "MEAN_DENSITY",
    "REFERENCES",
    "SHUFFLED",
    "USUAL",
    "LeftOutViewers",
    "MeanDensities",
    "at_most_640",
    "find_references",
    "gather_means",
    "in_cells",
    "left_out_viewers",
    "partner_densities",
    "partner_of",
    "spread_frames",
    "with_floor",
]

_Map = npt.NDArray[np.float32]

MEAN_DENSITY = "mean-density"
SHUFFLED = "shuffled"
INTER_OBSERVER = "inter-observer"

REFERENCES: dict[str, str] = {
    "centre-prior": "a fixed Gaussian in the middle (Clarke and Tatler 2014)",
    MEAN_DENSITY: "the mean density of the training split",
    SHUFFLED: "the recorded density of another sequence, at the same share of its length",
    "spectral-residual": "Hou and Zhang 2007",
    "itti-koch": "Itti, Koch and Niebur 1998",
    "gbvs": "Harel, Koch and Perona 2006",
    INTER_OBSERVER: f"each viewer predicted by the others, Gaussians of {SIGMA_SHARE:.0%} of the longer side; each "
    "fixation counts the same",
}
"""What `--baselines all` stands for: names and what each is, in the order reported."""

USUAL = ("centre-prior", MEAN_DENSITY, SHUFFLED, INTER_OBSERVER)
"""What `--baselines usual` stands for: what any score has to be read against. The others look at every picture, which
costs more than all of these."""

MEAN_GRID = (120, 160)
"""Rows and columns at which mean densities are kept; they are smooth."""

MEAN_FRAMES = 5
"""Frames of each sequence, spread evenly, that go into a mean density: every sequence weighs the same."""

MEAN_SEQUENCES = 200
"""Sequences, spread evenly over the list, that go into a mean density at most."""


def find_references(text: str) -> tuple[str, ...]:
    """The baselines of "usual", "all", "none" or a list with commas.

    Raises:
        ConfigError: one is unknown.

    Example:
        >>> find_references("centre-prior, gbvs"), find_references("none")
        (('centre-prior', 'gbvs'), ())
    """
    sets = {"usual": USUAL, "all": tuple(REFERENCES), "none": ()}
    if text in sets:
        return sets[text]
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    known = [*REFERENCES, *(name for name in BASELINES if name not in REFERENCES)]
    for name in names:
        if name not in known:
            raise ConfigError(
                Setting("baselines"), f" must be usual, all, none or a list from {', '.join(known)}; got {name!r}"
            )
    return names


def at_most_640(height: int, width: int) -> tuple[int, int]:
    """The size at which baselines see pictures: the longer side has at most 640 pixels."""
    share = min(1.0, 640 / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))


def with_floor(density: _Map) -> _Map:
    """A density with a share of `FLOOR_SHARE` spread evenly, so that KL and information gain stay finite."""
    total = float(density.sum(dtype=np.float64))
    even = np.float32(1 / density.size)
    if total <= 0:
        return np.full_like(density, even)
    return np.asarray(density * np.float32((1 - FLOOR_SHARE) / total) + np.float32(FLOOR_SHARE) * even, np.float32)


# The mean density.


@dataclass(frozen=True, eq=False)
class MeanDensities:
    """What mean densities are made of."""

    note: str
    """Which frames it is the mean of."""
    total: npt.NDArray[np.float64]
    """`MEAN_GRID`, the sum over sequences."""
    own: dict[str, npt.NDArray[np.float64]]
    """What a sequence that is itself scored put in, with the others of its recording, which is taken out for it."""

    def of(self, name: str) -> _Map | None:
        """The mean for a sequence, `MEAN_GRID` float32 with a floor; None where no other sequence has a density."""
        rest = self.total - self.own[name] if name in self.own else self.total
        # Taken out of a sum, what is equal leaves rounding behind.
        rest = np.where(rest > 1e-9, rest, 0.0)
        return with_floor(rest.astype(np.float32)) if rest.sum() > 0.5 else None


def gather_means(
    dataset: Dataset, *, splits: Sequence[str], options: dict[str, object]
) -> tuple[MeanDensities, list[str]]:
    """The mean density of the training split; without one, of the scored sequences of other recordings.

    Args:
        dataset: what is scored.
        splits: those of its layout.
        options: those it was opened with.

    Returns:
        The means, and sentences on what could not be read.
    """
    training: Dataset | None = None
    messages: list[str] = []
    if "train" in splits and dataset.split not in ("train", "all"):
        try:
            training = open_dataset(dataset.name, dataset.root, split="train", **options)
        except DatasetError as error:
            messages.append(f"no training split for the mean density: {error}")
    source = training or dataset
    places = np.unique(np.linspace(0, len(source) - 1, min(len(source), MEAN_SEQUENCES)).round().astype(int))
    total = np.zeros(MEAN_GRID, np.float64)
    of_recording: dict[str, npt.NDArray[np.float64]] = {}
    used = 0
    for place in places:
        sequence = source.sequences[place]
        try:
            mean = _mean_of(sequence)
        except DatasetError as error:
            messages.append(f"left out of the mean density: {error}")
            continue
        if mean is None:
            continue
        used += 1
        total += mean
        if training is None:
            of_recording[sequence.recording] = of_recording.get(sequence.recording, 0.0) + mean.astype(np.float64)
    own = {each.name: of_recording[each.recording] for each in dataset if each.recording in of_recording}
    note = (
        f"the mean density of {used} sequences of the training split"
        if training
        else f"for each sequence the mean density of the other sequences of split {dataset.split} ({used} have one)"
    )
    note += f", at most {MEAN_FRAMES} frames of each, {FLOOR_SHARE:.0%} spread evenly"
    return MeanDensities(note, total, own), messages


def spread_frames(sequence: LabelledSequence) -> Iterator[LabelledFrame]:
    """`MEAN_FRAMES` of a sequence at most, spread evenly, without those that its data set calls bad; pictures tiny."""
    count = sequence.frame_count or 1
    for ordinal in sorted({int((k + 0.5) * count / MEAN_FRAMES) for k in range(MEAN_FRAMES)}):
        for frame in sequence.read(size=tiny, start=ordinal, stop=ordinal + 1):
            if not frame.bad:
                yield frame


def _mean_of(sequence: LabelledSequence) -> _Map | None:
    """The mean of a few densities of a sequence, `MEAN_GRID`, summing to 1."""
    total = np.zeros(MEAN_GRID, np.float32)
    for frame in spread_frames(sequence):
        density = frame.density()
        if density is not None:
            total += cv2.resize(density, MEAN_GRID[::-1], interpolation=cv2.INTER_AREA) * density.size
    mass = float(total.sum(dtype=np.float64))
    return None if mass <= 0 else np.asarray(total / mass, np.float32)


# The density of another sequence.


def partner_of(
    sequence: str, names: Sequence[str], *, seed: int, recordings: Mapping[str, str] | None = None
) -> str | None:
    """Which other sequence lends its densities; depends on the seed and the names.

    Args:
        sequence: the one that borrows.
        names: all that could lend.
        seed: of the draw.
        recordings: what each name was cut from; None: each is one by itself.

    Returns:
        The name; None where there is no other recording.
    """
    of = recordings or {}
    others = sorted(name for name in names if of.get(name, name) != of.get(sequence, sequence))
    if not others:
        return None
    return others[int(np.random.default_rng([seed, zlib.crc32(sequence.encode())]).integers(len(others)))]


def partner_densities(
    partner: LabelledSequence, wanted: Sequence[int], *, frames: int, partner_frames: int
) -> Iterator[_Map | None]:
    """Yields for each wanted frame the density at the same share of the partner's length; None where it has none.

    Args:
        partner: the sequence that lends.
        wanted: ordinals in the borrowing sequence, rising.
        frames: how many the borrower has.
        partner_frames: how many the lender has.
    """
    reader = partner.read(size=tiny)
    at: LabelledFrame | None = None
    density: _Map | None = None
    with contextlib.closing(reader):  # type: ignore[type-var]
        for ordinal in wanted:
            place = int((ordinal + 0.5) * partner_frames / max(1, frames))
            moved = False
            while at is None or at.index < place:
                following = next(reader, None)
                if following is None:
                    break
                at, moved = following, True
            if moved and at is not None:
                density = at.density()
            yield density


# Viewers.


@dataclass(frozen=True, eq=False)
class LeftOutViewers:
    """Each viewer of a frame, to be predicted by the others."""

    viewers: npt.NDArray[np.int64]
    """(V,) their numbers, rising; at least two."""
    points: list[npt.NDArray[np.float32]]
    """V arrays (n, 2), where each looked, in pixels of the maps."""
    _total: _Map
    _own: list[Patch]

    def densities(self, chosen: slice) -> _Map:
        """(v, height, width) float32, for some of the viewers the density of all others, with a floor."""
        own = self._own[chosen]
        made = np.empty((len(own), *self._total.shape), np.float32)
        whole = float(self._total.sum(dtype=np.float64))
        for density, (rows, columns, values) in zip(made, own, strict=True):
            # All but what this viewer's own points reach is the same for each.
            here = self._total[rows, columns]
            rest = np.maximum(here - values, 0)
            mass = whole - float(here.sum(dtype=np.float64)) + float(rest.sum(dtype=np.float64))
            if mass <= whole * 1e-12:
                density[:] = np.float32(1 / density.size)
                continue
            share, floor = np.float32((1 - FLOOR_SHARE) / mass), np.float32(FLOOR_SHARE) * np.float32(1 / density.size)
            np.multiply(self._total, share, out=density)
            density[rows, columns] = rest * share
            density += floor
        return made


def left_out_viewers(fixations: Fixations, *, height: int, width: int) -> LeftOutViewers | None:
    """For each viewer with fixations the others' density and the own points.

    Args:
        fixations: of one frame, with viewers.
        height: rows of the maps.
        width: columns of the maps.

    Returns:
        What both are made of; None where fewer than two viewers looked.
    """
    if fixations.viewers is None:
        return None
    viewers = np.unique(fixations.viewers)
    if len(viewers) < 2:
        return None
    points = in_cells(fixations, height, width)
    own = [points[fixations.viewers == viewer] for viewer in viewers]
    sigma = SIGMA_SHARE * max(height, width)
    patches = [blur_points(each, height=height, width=width, sigma=sigma) for each in own]
    total = np.zeros((height, width), np.float32)
    for rows, columns, values in patches:
        total[rows, columns] += values
    return LeftOutViewers(viewers, own, total, patches)


def in_cells(fixations: Fixations, height: int, width: int) -> npt.NDArray[np.float32]:
    """The points in pixels of maps of this size."""
    scale = np.array([width / fixations.width, height / fixations.height], np.float32)
    # A point at the very edge may round onto it.
    return np.asarray(np.minimum(fixations.points * scale, (width - 0.5, height - 0.5)), np.float32)
