"""`vidsal captions-place`: a video and its subtitles in, the subtitles where they cover least out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidsal.captions.options import PlaceCaptionsOptions
from vidsal.cli.parser import check_model, command, flag
from vidsal.cli.process import Stop, describe, print_error, print_out, say, share_cores, show_traceback
from vidsal.config import UsageError
from vidsal.errors import ConfigError, ExistsError, Stopped
from vidsal.words import counted

__all__ = ["captions_command"]

_REFUSED = 3


@command(
    "write subtitles again, each where it covers the least attention",
    flag("video", metavar="INPUT", help="video file, or folder of pictures"),
    flag("-q", "--quiet", help="no progress and no notices on stderr; errors stay"),
    flag("--json", help="a JSON report on stdout instead of the paths"),
    options=PlaceCaptionsOptions,
    usage="vidsal captions-place [options] INPUT",
    epilog=(
        "exit status:\n"
        "  0    the captions are written, or were there already (--existing skip)\n"
        "  1    the video, its subtitles or the maps cannot be read, or a result not be written\n"
        "  2    wrong usage, or a wrong value of an option\n"
        "  3    results are there already and were not replaced\n"
        "  130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP\n"
    ),
)
def captions_command(given: Any, options: PlaceCaptionsOptions) -> int:
    """Write NAME.vidsal.captions.vtt (or .ass), the subtitles of a video with a place for each
    cue, and NAME.vidsal.captions.vtt.csv, what each cue would cover of the predicted attention at
    each place, beside the video.
    """
    from vidsal.captions.job import place_captions
    from vidsal.console import make_display

    share_cores()
    if options.maps is None:
        check_model(*options.model.named)
    with Stop(quiet=given.quiet) as stop:
        try:
            with make_display(Path(given.video).name, unit="frames", quiet=given.quiet) as display:
                report = place_captions(
                    given.video,
                    options,
                    on_progress=lambda done, total, seconds: display.update(done=done, total=total, seconds=seconds),
                    should_stop=stop,
                )
        except Stopped:
            stop.note_interrupt()
            say("vidsal: stopped; nothing was written")
            return stop.status
        except ExistsError as error:
            print_error(describe(error))
            return _REFUSED
        except UsageError:
            raise
        except ConfigError as error:
            show_traceback(error)
            print_error(describe(error))
            return 2
    if report.status == "skipped":
        say(f"skipped, done already: {', '.join(map(str, report.files))}", quiet=given.quiet)
        if given.json:
            print_out(json.dumps(report.as_dict()))
        return 0
    for message in report.messages:
        say(f"vidsal: warning: {message}", quiet=given.quiet)
    listed = ", ".join(f"{count} {place}" for place, count in report.places.items())
    shares = f"they cover {report.covered:.1%} of the attention ({report.covered_before:.1%} at the default place)"
    known = report.covered == report.covered
    say(f"{counted(report.cues, 'cue')}: {listed}{f'; {shares}' if known else ''}", quiet=given.quiet)
    if given.json:
        print_out(json.dumps(report.as_dict()))
    else:
        print_out("".join(f"{path}\n" for path in report.files), end="")
    return 0
