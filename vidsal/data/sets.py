"""The name and the folder of a data set to train on in, the sequences to learn from and those held out, out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_type_hints

from vidsal.data.layouts import DATASETS, LabelledSequence, open_dataset
from vidsal.data.options import TrainingSet, VideoSet
from vidsal.errors import ConfigError, DatasetError

__all__ = ["OpenSet", "open_set", "open_simple_stills"]

# Without a validation split of its own, one sequence in so many is held out.
_HELD_OUT = 10


@dataclass(frozen=True)
class OpenSet:
    """The sequences of a data set, all of one kind and with labels."""

    name: str
    """What its scores are called."""
    training: tuple[LabelledSequence, ...]
    """At least one but in the simple layout."""
    validation: tuple[LabelledSequence, ...]
    """Maybe none."""
    stride: int = 1
    """Every so many frames one is shown."""


def open_set(wanted: TrainingSet, kind: Literal["video", "still"]) -> OpenSet:
    """Open the videos or the stills of a set on disk, under its layout's name.

    Raises:
        ConfigError: the split or an option is unknown, or it holds nothing of this kind that has labels.
        DatasetError: the folder is not in this layout.
    """
    layout = DATASETS[wanted.layout]
    hints = get_type_hints(layout.options)
    # YAML has no paths.
    options = {
        name: Path(value) if isinstance(value, str) and hints.get(name) == Path | None else value
        for name, value in wanted.options.items()
    }

    def sequences(split: str) -> tuple[LabelledSequence, ...]:
        whole = split == "train" and "train" not in layout.splits
        found = open_dataset(wanted.layout, wanted.root, split="all" if whole else split, **options)
        return _labelled(found.sequences, kind)

    training = sequences(wanted.split)
    if wanted.validation_split is None:
        held_out = _held_out(training)
        validation = tuple(sequence for sequence in training if sequence.recording in held_out)
        training = tuple(sequence for sequence in training if sequence.recording not in held_out)
    else:
        validation = sequences(wanted.validation_split)
    if not training:
        key = {"video": "stills", "still": "videos"}[kind]
        raise ConfigError(
            f"{wanted.layout} in {wanted.root} has no {kind} with labels to train on in the split {wanted.split!r}; "
            f"choose another split, or name the set under `{key}`"
        )
    return OpenSet(wanted.layout, training, validation, wanted.frame_stride if isinstance(wanted, VideoSet) else 1)


def open_simple_stills(root: Path, *, condition: str | None = None) -> OpenSet:
    """Open the stills of a folder in the simple layout, split by their names, under its own name.

    Raises:
        DatasetError: the folder is not in this layout, or holds no picture with fixations.
    """
    stills = _labelled(open_dataset("simple", root, condition=condition).sequences, "still")
    if not stills:
        raise DatasetError(f"{root}: no still with fixations here (no fixations.csv); name videos under `videos`")
    training, validation = (tuple(one for one in stills if one.split == split) for split in ("train", "val"))
    return OpenSet(root.resolve().name, training, validation)


def _labelled(sequences: tuple[LabelledSequence, ...], kind: str) -> tuple[LabelledSequence, ...]:
    return tuple(one for one in sequences if one.kind == kind and (one.densities or one.points))


def _held_out(sequences: tuple[LabelledSequence, ...]) -> set[str]:
    """The clips to validate on: about one in `_HELD_OUT`; of two and more at least one, but never all."""
    digests = {
        clip: int(hashlib.md5(clip.encode(), usedforsecurity=False).hexdigest(), 16)
        for clip in (sequence.recording for sequence in sequences)
    }
    chosen = {clip for clip, digest in digests.items() if digest % _HELD_OUT == 1}
    if len(digests) < 2:
        return set()
    return chosen if 0 < len(chosen) < len(digests) else {min(digests, key=lambda clip: digests[clip])}
