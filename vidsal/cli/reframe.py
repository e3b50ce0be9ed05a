"""`vidsal reframe`: a video in, the same video in other aspects out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidsal.cli.parser import as_usage, check_model, command, flag
from vidsal.cli.process import Stop, describe, print_error, print_out, say, share_cores
from vidsal.errors import ExistsError
from vidsal.reframe.options import ReframeOptions

if TYPE_CHECKING:
    from vidsal.reframe.run import ReframeProgress, ReframeReport

__all__ = ["reframe_command"]

_REFUSED = 3
"""Exit status where nothing failed, but results were there already."""


@command(
    "cut a video to 9:16, 1:1 or other aspects, so that what people look at stays inside",
    flag("input", nargs="?", metavar="INPUT", help="video file"),
    flag("-q", "--quiet", help="no progress and no notices on stderr; errors stay"),
    flag("--json", help="a JSON report on stdout instead of the paths"),
    options=ReframeOptions,
    usage="vidsal reframe [options] INPUT",
    epilog=(
        "exit status:\n"
        "  0    done, or done already (--existing skip)\n"
        "  1    failed\n"
        "  2    wrong usage, or a wrong value of an option\n"
        "  3    results are there already and were not replaced\n"
        "  130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP\n"
    ),
)
def reframe_command(given: Any, options: ReframeOptions) -> int:
    """Write NAME.vidsal.9x16.mp4 (what lies inside a moving window, with the input's sound),
    a table of where the window is (.csv), the same with its shots (.json), and keyframes for
    editing programs (.fcpxml), for each aspect, beside the input. Within a shot the window
    stands or moves smoothly; at cuts it jumps. The paths go to stdout, all else to stderr.
    """
    from vidsal.console import make_display
    from vidsal.reframe.run import reframe

    if given.input is None:
        raise argparse.ArgumentError(None, "no input given: name a video file")
    share_cores()
    with Stop(quiet=given.quiet) as stop:
        model = None
        if options.maps is None:
            check_model(*options.model.named)
            with as_usage():
                model = options.model.load()
        try:
            with make_display(Path(given.input).name, unit="frames", quiet=given.quiet) as display, as_usage():

                def show(progress: ReframeProgress) -> None:
                    display.update(
                        done=progress.frames, total=progress.total, seconds=progress.seconds, detail=progress.stage
                    )

                report = reframe(
                    given.input,
                    options=options,
                    model=model,
                    on_progress=show,
                    should_stop=stop,
                )
        except ExistsError as error:
            print_error(describe(error))
            return _REFUSED
        _show(report, given)
        if report.status == "interrupted":
            stop.note_interrupt()
        return stop.status


def _show(report: ReframeReport, given: Any) -> None:
    name = Path(report.source).name
    for message in report.messages:
        say(f"vidsal: warning: {name}: {message}", quiet=given.quiet)
    there = ", ".join(map(str, report.files))
    if report.status == "interrupted":
        kept = f"partial results: {there}" if report.files else "nothing was kept"
        say(f"vidsal: stopped at frame {report.frames}; {kept}")
    elif report.status == "skipped":
        say(f"{name}: skipped, done already: {there}", quiet=given.quiet)
    for one in report.aspects:
        kept = f"{one.kept_share:.0%} of the predicted attention kept, {one.centre_share:.0%} by the middle"
        moves = f"the window moves in {one.moving} of {one.shots} shots"
        say(f"{name}: {one.aspect}: {one.window[0]}x{one.window[1]}, {kept}; {moves}", quiet=given.quiet)
    if given.json:
        print_out(json.dumps(report.as_dict()))
    elif report.status == "done":
        print_out("".join(f"{path}\n" for path in report.files), end="")
