"""`vidsal batch`: an archive in, the results of every file and an account of all of them out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from vidsal.batch.options import ArchiveOptions
from vidsal.cli.parser import as_usage, check_model, command, flag
from vidsal.cli.process import Stop, print_out, say

__all__ = ["batch_command"]


@command(
    "run an archive: folders of videos, resumed and accounted for",
    flag("inputs", nargs="*", metavar="INPUT", help="folder, which is searched through, or video file"),
    flag("--list", type=Path, metavar="FILE", help="inputs from a list"),
    flag("-0", "--null", help="paths in the list end in a null character"),
    flag("--include", action="append", default=[], metavar="PATTERN", help="take only such names from folders"),
    flag("--exclude", action="append", default=[], metavar="PATTERN", help="leave out such names or folders"),
    flag("--shard", metavar="I/N", help="do only the I-th of N parts"),
    flag("-q", "--quiet", help="no progress and no notices on stderr; errors stay"),
    options=ArchiveOptions,
    usage="vidsal batch [options] INPUT [INPUT ...] --output DIR",
)
def batch_command(given: Any, options: ArchiveOptions) -> int:
    """Run every video of an archive."""
    from vidsal.batch.inputs import Given, Shard, read_list
    from vidsal.batch.job import run_batch

    if not given.inputs and given.list is None:
        raise argparse.ArgumentError(None, "no input given: name a folder, a video, or a list with --list")
    with as_usage():
        shard = Shard.of(given.shard) if given.shard else None
        listed = read_list(str(given.list), zero=given.null) if given.list is not None else ()
        named = Given(
            tuple(given.inputs), listed, tuple(given.include), tuple(given.exclude), str(options.output.output)
        )
        check_model(options.model.model)
    with Stop(quiet=given.quiet) as stop, as_usage():
        report = run_batch(
            named,
            options,
            shard=shard,
            stop_requested=stop,
            on_event=lambda end, row, state: say(f"{state}: {row.path}: {end.message}", quiet=given.quiet),
        )
    print_out(json.dumps(dict(report.counts)))
    if report.outcome == "interrupted":
        stop.note_interrupt()
    return stop.status or (0 if report.is_all_done else 3)
