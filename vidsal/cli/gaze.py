"""`vidsal gaze`: recordings of eye trackers in, one table on the clock and in the pixels of the video out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from vidsal.cli.parser import Command, check_choice, command, flag
from vidsal.cli.process import print_out, say
from vidsal.gaze.options import MAKERS, GazeOptions, MakerName
from vidsal.words import counted

__all__ = ["GAZE"]


@command(
    "bring exports of eye trackers onto the clock and into the pixels of a video",
    flag("files", nargs="+", metavar="FILE", type=Path, help="what an eye tracker's program exported"),
    flag(
        "--video", required=True, metavar="VIDEO", help="the video that was looked at; of glasses, the scene camera's"
    ),
    flag("--to", required=True, type=Path, metavar="FILE", help="the table to write: .parquet, .csv or .jsonl"),
    flag(
        "--from",
        dest="maker",
        default="auto",
        metavar="MAKER",
        help=f"whose format: {', '.join(get_args(MakerName))} (default: auto, by the names of the columns)",
    ),
    flag("--overwrite", help="replace a table that is there"),
    flag("-q", "--quiet", help="no notices on stderr; errors stay"),
    flag("--json", help="one JSON report on stdout instead of the path"),
    options=GazeOptions,
    usage="vidsal gaze import [options] --video VIDEO --to TABLE FILE [FILE ...]",
    epilog="formats:\n" + "\n".join(f"  {name:<12} {what}" for name, what in MAKERS.items()),
)
def _import(given: Any, options: GazeOptions) -> int:
    """Write one table of gaze: participant, trial, time in seconds after the video's first frame, x and y in
    pixels of its upright picture, and what else is known. How clocks, units and places were understood is said,
    and kept with the table. What cannot be right is refused, with line and column.
    """
    from vidsal.gaze import import_gaze, write_gaze
    from vidsal.gaze.table import check_target

    check_choice(given.maker, get_args(MakerName), "format of gaze")
    check_target(given.to, overwrite=given.overwrite)
    made = import_gaze(given.files, given.video, maker=given.maker, options=options)
    write_gaze(made.gaze, given.to, overwrite=given.overwrite)
    for note in made.notes:
        say(f"vidsal: {note}", quiet=given.quiet)
    for finding in made.findings:
        say(f"vidsal: warning: {finding.message}", quiet=given.quiet)
    gaze = made.gaze
    viewings = gaze.viewings()
    valid = float(gaze.valid.mean()) if len(gaze) else 0.0
    people = f"{counted(len(gaze.participants), 'participant')} in {counted(len(viewings), 'viewing')}"
    text = f"{len(gaze)} {gaze.kind} of {people}, {valid:.1%} valid"
    say(f"vidsal: {text}", quiet=given.quiet)
    if given.json:
        counts = {"kind": gaze.kind, "rows": len(gaze), "participants": gaze.participants, "viewings": len(viewings)}
        said = {"notes": list(made.notes), "findings": [finding.message for finding in made.findings]}
        print_out(json.dumps({"table": str(given.to), **counts, "valid": valid, **said}))
    else:
        print_out(str(given.to))
    return 0


GAZE = Command(
    "bring recorded gaze into one table",
    "Recorded gaze: exports of eye trackers become one table on the clock and in the pixels of a video.",
    actions={"import": _import},
)
"""`vidsal gaze`."""
