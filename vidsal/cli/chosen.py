"""What several commands are given: a model's name, a layout's options; and the clock that counts sequences."""

from __future__ import annotations

import contextlib
import difflib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vidsal.cli.parser import check_choice
from vidsal.config import UsageError, options_of
from vidsal.errors import ConfigError

__all__ = ["check_model", "layout_options", "preset_card", "sequence_clock"]


def preset_card(name: str) -> str:
    """The card of a preset, with what is known of its weights here."""
    from vidsal.console import format_card, format_record
    from vidsal.model.checkpoint import PRESETS, find_weights, read_checkpoint
    from vidsal.model.store import read_record

    place = find_weights(name)
    if place.state == "absent":
        return format_card(name, PRESETS[name].config, None)
    network, _, card = read_checkpoint(place.path)
    record = read_record(name) if place.state == "cached" else None
    return format_card(name, network.config, card, weights=format_record(place, record))


def layout_options(name: str, options: Sequence[str]) -> dict[str, Any]:
    """The options of a layout that stand as KEY=VALUE on the command line."""
    from vidsal.data.layouts import DATASETS

    check_choice(name, list(DATASETS), "data set")
    known = {option.key: option for option in options_of(DATASETS[name].options)}
    chosen: dict[str, Any] = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise UsageError(f"--option {text}: {name} knows {', '.join(f'{each}=' for each in known) or 'no options'}")
        try:
            chosen[key] = known[key].convert(value)
        except ConfigError as error:
            raise UsageError(f"--option {text}: {error}") from error
    return chosen


@contextlib.contextmanager
def sequence_clock(label: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Shows how many sequences are done."""
    from vidsal.console import make_display

    began = time.monotonic()
    with make_display(label, unit="sequences", quiet=quiet) as display:
        yield lambda done, total: display.update(done=done, total=total, seconds=time.monotonic() - began)


def check_model(name: str) -> None:
    """A word that is neither a preset nor a file is bad usage; a path without a file is the reader's to tell."""
    from vidsal.model.checkpoint import PRESETS

    if name not in PRESETS and Path(name).name == name and not Path(name).suffix and not Path(name).exists():
        near = difflib.get_close_matches(name, PRESETS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"no model {name!r}: use one of {', '.join(PRESETS)}, or the path of a checkpoint{meant}")
