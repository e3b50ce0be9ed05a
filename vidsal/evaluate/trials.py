"""A list of trials in, what it says of each sequence, or of each participant in it, out: the scenarios of a study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from vidsal.errors import ConfigError, Setting
from vidsal.gaze.makers.contract import Sheet, open_sheet

__all__ = ["Trials", "read_trials"]

_SEQUENCE = ("sequence", "video", "image", "trial", "stimulus", "file")
"""Names of the column that says which sequence a row is about, the first that is there."""

_PARTICIPANT = ("participant", "subject", "viewer", "observer")
"""Names of the column that says who looked."""


@dataclass(frozen=True)
class Trials:
    """What a list says: for each column its value for each sequence, or for each participant in a sequence.

    Example:
        >>> trials = Trials(of_sequences={"weather": {"drive.mp4": "rain"}})
        >>> trials.columns, trials.of_sequences["weather"]["drive.mp4"]
        (('weather',), 'rain')
    """

    of_sequences: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Column to sequence to value, of columns that say the same of all who looked."""
    of_participants: Mapping[str, Mapping[tuple[str, str], str]] = field(default_factory=dict)
    """Column to (sequence, participant) to value, of the others."""
    messages: tuple[str, ...] = ()
    """Sentences for a person."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        return (*self.of_sequences, *self.of_participants)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `Summary.trials` holds them; empty without a column."""
        nested: dict[str, dict[str, dict[str, str]]] = {}
        for column, values in self.of_participants.items():
            for (sequence, who), value in values.items():
                nested.setdefault(column, {}).setdefault(sequence, {})[who] = value
        of_sequences = {column: dict(values) for column, values in self.of_sequences.items()}
        return {"of_sequences": of_sequences, "of_participants": nested} if self.columns else {}


def read_trials(path: Path, sequences: Sequence[str], *, by: str | None = None) -> Trials:
    """Reads a list of trials: a row for each sequence, or for each participant and sequence.

    Args:
        path: text with commas, semicolons or tabs, and the names of the columns in the first line. A column sequence,
            video, image, trial, stimulus or file names the sequence, with or without its ending; a column participant,
            subject, viewer or observer says who looked.
        sequences: names of those that are there.
        by: names of columns with commas between them; None: all others.

    Raises:
        ConfigError: there is no such column.
        DatasetError: it cannot be read, is about none of the sequences, or says two things of one.
    """
    sheet = open_sheet(path)
    key = sheet.need("the sequence (sequence, video, image, trial, stimulus or file)", *_SEQUENCE)
    person = sheet.find(*_PARTICIPANT)
    others = [name for name in sheet.names if name and name not in (key, person)]
    chosen = others if by is None else _chosen(by, others, path)
    known = _by_any_name(sequences)
    named = [known.get(text) for text in sheet.text(key)]
    if not any(named):
        shown = ", ".join(list(sequences)[:3])
        raise sheet.wrong(
            0, key, f"no sequence of the data is called so; they are {shown}{', ...' * (len(sequences) > 3)}"
        )
    who = sheet.text(person).tolist() if person is not None else [""] * len(named)
    of_sequences: dict[str, dict[str, str]] = {}
    of_participants: dict[str, dict[tuple[str, str], str]] = {}
    for column in chosen:
        values = _values(sheet, column, named, who)
        whole: dict[str, set[str]] = {}
        for (sequence, _), value in values.items():
            whole.setdefault(sequence, set()).add(value)
        if person is None or all(len(found) == 1 for found in whole.values()):
            of_sequences[column] = {sequence: next(iter(found)) for sequence, found in whole.items()}
        else:
            of_participants[column] = values
    lacking = [name for name in sequences if name not in set(named)]
    messages = (
        [f"{path.name} has no row for {len(lacking)} of {len(sequences)} sequences, first {lacking[0]}"]
        if lacking
        else []
    )
    beyond = [text for text, found in zip(sheet.text(key), named, strict=True) if found is None]
    if beyond:
        messages.append(f"{path.name}: {len(beyond)} rows are about other sequences, first {beyond[0]}")
    return Trials(of_sequences, of_participants, tuple(messages))


def _chosen(by: str, others: list[str], path: Path) -> list[str]:
    names = list(dict.fromkeys(word.strip() for word in by.split(",") if word.strip()))
    unknown = [name for name in names if name not in others]
    if unknown or not names:
        what = f"has no column {unknown[0]!r}" if unknown else "is asked for no column"
        raise ConfigError(f"{path} {what}: ", Setting("by"), f" takes names from {', '.join(others) or 'none'}")
    return names


def _by_any_name(sequences: Iterable[str]) -> dict[str, str]:
    """Full names, and those without folders and endings that only one sequence has."""
    names = list(sequences)
    shorter: dict[str, set[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        for one in {path.name, path.stem, str(path.with_suffix(""))}:
            shorter.setdefault(one, set()).add(name)
    found = {one: next(iter(of)) for one, of in shorter.items() if len(of) == 1}
    return found | {name: name for name in names}


def _values(sheet: Sheet, column: str, named: Sequence[str | None], who: Sequence[str]) -> dict[tuple[str, str], str]:
    """(sequence, participant) to value; empty ones are left out."""
    found: dict[tuple[str, str], str] = {}
    for row, (sequence, person, value) in enumerate(zip(named, who, sheet.text(column), strict=True)):
        if sequence is None or not value:
            continue
        before = found.setdefault((sequence, person), value)
        if before != value:
            whose = f"{sequence}, {person}" if person else sequence
            raise sheet.wrong(row, column, f"{value!r} for {whose}, of which another row says {before!r}")
    return found
