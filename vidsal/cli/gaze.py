"""`vidsal gaze`: recordings of eye trackers in, one table on the clock and in the pixels of the video out."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from vidsal.cli.parser import Command, as_usage, check_choice, check_model, command, flag
from vidsal.cli.process import Stop, print_out, say, share_cores
from vidsal.config import as_flag
from vidsal.errors import Stopped
from vidsal.gaze.options import MAKERS, GazeOptions, MakerName
from vidsal.viewing.options import CheckGazeOptions, DrawGazeOptions
from vidsal.words import counted

if TYPE_CHECKING:
    from vidsal.pipe.options import ModelOptions

__all__ = ["GAZE"]

_Made = TypeVar("_Made")


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
        say(f"vidsal: warning: {finding.spelled(as_flag)}", quiet=given.quiet)
    gaze = made.gaze
    viewings = gaze.viewings()
    valid = float(gaze.valid.mean()) if len(gaze) else 0.0
    people = f"{counted(len(gaze.participants), 'participant')} in {counted(len(viewings), 'viewing')}"
    text = f"{len(gaze)} {gaze.kind} of {people}, {valid:.1%} valid"
    say(f"vidsal: {text}", quiet=given.quiet)
    if given.json:
        counts = {"kind": gaze.kind, "rows": len(gaze), "participants": gaze.participants, "viewings": len(viewings)}
        said = {"notes": list(made.notes), "findings": [finding.spelled(as_flag) for finding in made.findings]}
        print_out(json.dumps({"table": str(given.to), **counts, "valid": valid, **said}))
    else:
        print_out(str(given.to))
    return 0


@command(
    "draw recorded gaze over its video: every viewer's point and trail, the density of all, and how far they disagree",
    flag("video", metavar="VIDEO", help="the video that was looked at"),
    flag("gaze", metavar="GAZE", type=Path, help="the table of vidsal gaze import"),
    flag("-q", "--quiet", help="no progress and no notices on stderr; errors stay"),
    flag("--json", help="a JSON report on stdout instead of the paths"),
    options=DrawGazeOptions,
    usage="vidsal gaze draw [options] VIDEO GAZE",
)
def _draw(given: Any, options: DrawGazeOptions) -> int:
    """Write NAME.vidsal.gaze.mp4, the video with every viewer on it, and NAME.vidsal.gaze.csv, a row a frame: how many
    look at the picture, and their disagreement (mean distance between two of them). With --beside model, or maps of an
    earlier run, what is predicted stands at the right. Sound and times are the video's.
    """
    from vidsal.viewing.draw import draw_gaze

    share_cores()
    with Stop(quiet=given.quiet) as stop:
        try:
            work = partial(draw_gaze, given.video, given.gaze, options=options)
            drawn = _watch(work, given, options.model if options.drawing.beside == "model" else None, stop)
        except Stopped:
            stop.note_interrupt()
            say("vidsal: stopped; what was written stays under a partial name")
            return stop.status
        for message in drawn.messages:
            say(f"vidsal: warning: {Path(drawn.source).name}: {message}", quiet=given.quiet)
        if given.json:
            print_out(json.dumps(drawn.as_dict()))
        else:
            print_out("".join(f"{path}\n" for path in drawn.files), end="")
        return stop.status


@command(
    "hold recorded gaze against what is predicted: find a flipped axis, swapped axes or a wrong clock",
    flag("gaze", metavar="GAZE", type=Path, help="the table of vidsal gaze import"),
    flag("--video", required=True, metavar="VIDEO", help="the video that was looked at"),
    flag("--to", type=Path, metavar="FILE", help="also write the scores of all readings: .csv, .parquet or .jsonl"),
    flag("--overwrite", help="replace a table that is there"),
    flag("-q", "--quiet", help="no progress and no notices on stderr; errors stay"),
    flag("--json", help="one JSON report on stdout"),
    options=CheckGazeOptions,
    usage="vidsal gaze check [options] --video VIDEO GAZE",
    epilog=(
        "exit status:\n"
        "  0    nothing fits better than the gaze as recorded\n"
        "  1    another reading fits better, and is named; or the check failed\n"
        "  2    wrong usage, or a wrong value of an option\n"
        "  3    the table is there already and was not replaced\n"
        "  130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP\n"
    ),
)
def _check(given: Any, options: CheckGazeOptions) -> int:
    """Score the gaze under the densities of a model, or of an earlier run (--maps): as it is, with y or x flipped, with
    x and y swapped, and on clocks that are shifted. What fits better by the margin is named, for all viewers and for
    single viewings. Nothing is changed: import the gaze again with what is said.
    """
    from vidsal.files import check_free
    from vidsal.gaze.table import check_ending
    from vidsal.viewing.checking import check_gaze, write_variants

    if given.to is not None:
        check_ending(given.to)
        check_free(given.to, overwrite=given.overwrite)
    share_cores()
    with Stop(quiet=given.quiet) as stop:
        try:
            work = partial(check_gaze, given.gaze, given.video, options=options)
            found = _watch(work, given, options.model if options.maps is None else None, stop)
        except Stopped:
            stop.note_interrupt()
            say("vidsal: stopped; nothing is known yet")
            return stop.status
        if given.to is not None:
            write_variants(found, given.to)
        for note in found.notes:
            say(f"vidsal: {note}", quiet=given.quiet)
        if given.json:
            print_out(json.dumps({"findings": found.findings, "notes": found.notes}))
        else:
            print_out("\n".join(found.findings or ["nothing fits better than the gaze as recorded"]))
        return stop.status or (1 if found.findings else 0)


def _watch(work: Callable[..., _Made], given: Any, predicted_by: ModelOptions | None, stop: Stop) -> _Made:
    """Do what goes through a video, with the model that it needs, if any, and show how far it is."""
    from vidsal.console import make_display

    model = None
    if predicted_by is not None:
        check_model(*predicted_by.named)
        with as_usage():
            model = predicted_by.load()
    with make_display(Path(given.video).name, unit="frames", quiet=given.quiet) as display, as_usage():
        return work(
            model=model,
            on_progress=lambda done, total, seconds: display.update(done=done, total=total, seconds=seconds),
            should_stop=stop,
        )


GAZE = Command(
    "bring recorded gaze into one table, draw it and check it",
    "Recorded gaze: exports of eye trackers become one table on the clock and in the pixels of a video.",
    actions={"import": _import, "draw": _draw, "check": _check},
)
"""`vidsal gaze`."""
