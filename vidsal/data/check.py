"""A data set on disk in, what was found in it out: counts, sizes, labels, viewers, notes, and what is broken."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vidsal.data.layouts import DATASETS, Dataset, LabelledSequence
from vidsal.data.layouts.videos import damage_of
from vidsal.errors import VidsalError

__all__ = ["BrokenSequence", "DatasetFacts", "check_dataset", "format_facts"]

_SHOWN = 4
"""Sizes that are listed one by one."""


@dataclass(frozen=True)
class BrokenSequence:
    """A sequence that cannot be used as it lies there."""

    name: str
    """The data set's own name of it."""
    message: str
    """What is wrong, with the file, and what to do."""


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What `check_dataset` found. All counts leave broken sequences out, but for `sequences`."""

    name: str
    """Key in `DATASETS`."""
    root: str
    """Folder it lies in."""
    split: str
    """Split that was asked for."""
    full: bool
    """True where every frame was read; False: the first of each sequence."""
    sequences: dict[str, int]
    """Sequences of each split, in the layout's order."""
    published: int | None
    """Sequences that the published data set has in `split`; None where that is not known."""
    stills: int
    """How many of the sequences are one picture without a time."""
    frames: int
    """Frames in all; of a video file, where not `full`, what its container says."""
    uncounted: int
    """Sequences whose container does not say how many frames it has; they are missing from `frames`."""
    sizes: dict[str, int]
    """Pictures' size as "widthxheight" to the sequences that have it, the most frequent first."""
    read: int
    """Frames that were read: all, or the first ones. The fields below speak of these."""
    with_density: int
    """Frames with a density."""
    with_fixations: int
    """Frames with a record of fixations, be it without a point."""
    fixations: int
    """Points."""
    viewers: tuple[int, int] | None
    """Fewest and most viewers of a frame with at least one point; None where the data set does not say who looked."""
    bad: int
    """Frames that the data set's own lists call unusable."""
    broken: tuple[BrokenSequence, ...]
    """Sequences that cannot be used, in order."""
    notes: tuple[str, ...] = ()
    """What the owner should know though the data set can be used: missing frames of damaged videos, as far as these
    were read, and `Dataset.remarks`."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def check_dataset(
    dataset: Dataset, *, full: bool = False, on_progress: Callable[[int, int], None] | None = None
) -> DatasetFacts:
    """Looks at every sequence of a data set.

    Of each, the numbers of pictures and labels are compared, and the first frame is read with its labels. A sequence
    that fails is noted, and the next one looked at.

    Args:
        dataset: opened by `open_dataset`.
        full: read every frame with its labels; takes as long as that takes.
        on_progress: called after each sequence with the number done and that of all.
    """
    seen = _Counts()
    upright: dict[str, tuple[int, int]] = {}
    damage: list[str] = []
    for place, sequence in enumerate(dataset, 1):
        seen.sequences[sequence.split] += 1
        one = _Counts()
        try:
            one.look(sequence, full=full)
        except VidsalError as error:
            seen.broken.append(BrokenSequence(sequence.name, str(error)))
        else:
            seen.add(one)
            (upright[sequence.name],) = one.sizes
            damage.extend(f"{sequence.name}: {text}" for text in damage_of(sequence))
        if on_progress is not None:
            on_progress(place, len(dataset))
    order = [split for split in DATASETS[dataset.name].splits if split in seen.sequences]
    viewers = seen.viewers
    return DatasetFacts(
        name=dataset.name,
        root=str(dataset.root),
        split=dataset.split,
        full=full,
        sequences={split: seen.sequences[split] for split in [*order, *(seen.sequences.keys() - set(order))]},
        published=dataset.published,
        sizes={f"{width}x{height}": count for (height, width), count in seen.sizes.most_common()},
        viewers=(min(viewers), max(viewers)) if viewers else None,
        broken=tuple(seen.broken),
        notes=(*damage, *dataset.remarks(upright)),
        **{name: seen.numbers[name] for name in _NUMBERS},
    )


_NUMBERS = ("stills", "frames", "uncounted", "read", "with_density", "with_fixations", "fixations", "bad")


class _Counts:
    """Counts that add up."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.sequences: Counter[str] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.viewers: set[int] = set()
        self.broken: list[BrokenSequence] = []

    def add(self, other: _Counts) -> None:
        """What was seen of one sequence."""
        self.numbers.update(other.numbers)
        self.sizes.update(other.sizes)
        self.viewers |= other.viewers

    def look(self, sequence: LabelledSequence, *, full: bool) -> None:
        """One sequence; errors as `LabelledSequence.check` and `LabelledSequence.read`."""
        facts = sequence.check()
        self.sizes[facts.height, facts.width] += 1
        for frame in sequence.read(stop=None if full else 1):
            if full:
                frame.picture()
            self.numbers["read"] += 1
            self.numbers["with_density"] += frame.density() is not None
            fixations = frame.fixations()
            if fixations is None:
                continue
            self.numbers["with_fixations"] += 1
            self.numbers["fixations"] += len(fixations.points)
            if fixations.viewers is not None and len(fixations.viewers):
                self.viewers.add(len(set(fixations.viewers.tolist())))
        # A container's word is not what its decoder gives.
        frames = self.numbers["read"] if full else facts.frames
        self.numbers["frames"] += frames or 0
        self.numbers["uncounted"] += frames is None
        self.numbers["stills"] += sequence.kind == "still"
        self.numbers["bad"] += facts.bad


def format_facts(facts: DatasetFacts) -> str:
    """The facts as lines for a person."""
    total = sum(facts.sequences.values())
    by_split = ", ".join(f"{count} {split}" for split, count in facts.sequences.items())
    kinds = "" if not facts.stills else " (all stills)" if facts.stills == total else f" ({facts.stills} stills)"
    published = f"; published: {facts.published}" if facts.published not in (None, total) else ""
    lines = {
        "sequences": f"{total:,}{kinds}: {by_split}{published}",
        "frames": f"{facts.frames:,}"
        + (f", and {facts.uncounted} files that do not say how many they have" if facts.uncounted else "")
        + (f"; {facts.bad:,} marked unusable" if facts.bad else ""),
        "pictures": _sizes(facts.sizes),
    }
    where = "" if facts.full or facts.stills == total else " on the first frame of each (--full reads all)"
    lines["densities"] = _of(facts.with_density, facts.read) + where
    lines["fixations"] = (
        f"{facts.fixations:,}, recorded for {_of(facts.with_fixations, facts.read)}{where}"
        if facts.with_fixations
        else f"none{where}"
    )
    if facts.viewers:
        fewest, most = facts.viewers
        lines["viewers"] = f"{fewest} a frame" if fewest == most else f"{fewest} to {most} a frame"
    elif facts.with_fixations:
        lines["viewers"] = "not distinguished"
    heading = f"{DATASETS[facts.name].title}\n{facts.root}, split {facts.split}"
    text = [heading, *(f"  {what:<10} {found}" for what, found in lines.items())]
    if facts.broken:
        text.append(f"  broken     {len(facts.broken):,} of {total:,} sequences")
        text.extend(f"    {one.name}: {one.message}" for one in facts.broken)
    text.extend(f"  note: {note}" for note in facts.notes)
    return "\n".join(text)


def _of(count: int, total: int) -> str:
    return f"all {total:,} frames" if count == total else f"{count:,} of {total:,} frames"


def _sizes(sizes: dict[str, int]) -> str:
    if len(sizes) <= _SHOWN:
        one = len(sizes) == 1
        return ", ".join(size if one else f"{size} ({count})" for size, count in sizes.items()) or "none readable"
    shown = ", ".join(f"{size} ({count})" for size, count in list(sizes.items())[:_SHOWN])
    return f"{len(sizes)} sizes: {shown}, ..."
