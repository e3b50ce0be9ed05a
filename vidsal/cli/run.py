"""`vidsal run`: videos in, overlaid videos and tables out."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidsal.addresses import hide_secrets
from vidsal.cli.parser import as_usage, check_model, command, count, flag
from vidsal.cli.process import (
    Stop,
    describe,
    import_heavy,
    print_error,
    print_out,
    say,
    share_cores,
    show_traceback,
)
from vidsal.errors import ConfigError, ExistsError, VidsalError
from vidsal.pipe.options import RunOptions
from vidsal.pipe.places import Place, distinct_key, local_path, places_of

if TYPE_CHECKING:
    from vidsal.model.checkpoint import SaliencyModel
    from vidsal.pipe.run import Progress, RunReport

__all__ = ["run_command"]


@command(
    "write the video with the heatmap over it, and a table of numbers a frame",
    flag(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="video file, image, folder of images, camera (0, camera:0), address (rtsp://, http://), or - for standard "
        "input; what is there under a name comes first",
    ),
    flag("-q", "--quiet", help="no progress and no notices on stderr; errors stay"),
    flag("--json", help="one JSON report a line on stdout instead of the paths"),
    flag(
        "--streams",
        type=count,
        default=1,
        metavar="N",
        help="inputs at once, side by side through the model; results are listed as they get done (default: 1)",
    ),
    options=RunOptions,
    usage="vidsal run [options] INPUT [INPUT ...]",
    epilog=(
        "exit status:\n"
        "  0    every input is done, or was done already (--existing skip)\n"
        "  1    an input failed; the others were run all the same\n"
        "  2    wrong usage, or a wrong value of an option\n"
        "  3    nothing failed, but results of an input are there already and were not replaced\n"
        "  130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP\n"
    ),
)
def run_command(given: Any, options: RunOptions) -> int:
    """Write NAME.vidsal.mp4 (the heatmap over the picture, with the input's sound),
    NAME.vidsal.csv (a row of numbers a frame), and a record of how they were made,
    NAME.vidsal.json, beside each input. The paths of video and table go to stdout,
    all else to stderr.
    """
    if not given.inputs:
        need = "no input given: name a video, an image, a folder, a camera's index, an address, or -"
        raise argparse.ArgumentError(None, need)
    import_heavy()
    left_out = _results_among(given.inputs, quiet=given.quiet)
    inputs = _without_repeats([text for text in given.inputs if text not in left_out], quiet=given.quiet)
    with as_usage():
        places = places_of(inputs, options.output)
    share_cores()
    with Stop(quiet=given.quiet) as stop:
        check_model(*options.model.named)
        with as_usage():
            model = options.model.load()
            if len(inputs) > 1:
                # One input says so itself; of many each would.
                from vidsal.pipe.trial import check_options

                check_options(options, steps=model.config.steps)
        runs = _Runs(options, model, stop, quiet=given.quiet, as_json=given.json, left_out=left_out)
        return runs.work(inputs, places, given.streams)


@dataclass
class _Runs:
    """Several inputs, one after another or side by side, through one model."""

    options: RunOptions
    model: SaliencyModel
    stop: Stop
    quiet: bool
    as_json: bool
    left_out: Sequence[str] = ()
    """Results of earlier runs among what was given."""
    failed: list[str] = field(default_factory=list)
    """A reason for each input that failed, with its name."""
    refused: list[str] = field(default_factory=list)
    """The names of those that have results already."""
    done: int = 0
    skipped: int = 0
    status: int = 0
    last: Progress | None = None
    interrupted: int = 0
    many: bool = False
    alike: frozenset[str] = frozenset()
    """The names of files that several inputs have in common."""

    def work(self, inputs: Sequence[str], places: Sequence[Place], streams: int) -> int:
        self.many = len(inputs) > 1
        self.alike = frozenset(name for name, count in Counter(map(_base_name, inputs)).items() if count > 1)
        for text in self.left_out:
            self._tell(text, "left out")
        if min(streams, len(inputs)) > 1:
            left = self._side_by_side(inputs, streams)
        else:
            left = list(inputs)
            for place in places:
                if self.stop():
                    break
                self._one(left.pop(0), place)
        if left:
            self.stop.note_interrupt()
        self._sum_up(inputs, left)
        return self.stop.status or self.status or (_REFUSED if self.refused else 0)

    def _sum_up(self, inputs: Sequence[str], left: Sequence[str]) -> None:
        """What became of each input, where there are several or one was not begun."""
        names = [hide_secrets(text) for text in left]
        for text in left:
            self._tell(text, "not begun")
        if len(inputs) + len(self.left_out) > 1:
            say(f"vidsal: {self._counted(inputs, left)}", quiet=self.quiet)
        if len(inputs) > 1 and self.refused:
            refused = f"{len(self.refused)} of {len(inputs)} inputs have results already: {', '.join(self.refused)}"
            hint = "" if self.options.output.existing == "skip" else " (--existing skip leaves what is done)"
            say(f"vidsal: {refused}{hint}", quiet=self.quiet)
        if len(inputs) > 1 and self.failed:
            say(f"vidsal: {len(self.failed)} of {len(inputs)} inputs failed:", quiet=self.quiet)
            for reason in self.failed:
                say(f"vidsal:   {reason}", quiet=self.quiet)
        if names:
            say(f"vidsal: not begun: {', '.join(names)}", quiet=self.quiet)

    def _counted(self, inputs: Sequence[str], left: Sequence[str]) -> str:
        counts = {
            "done": self.done,
            "skipped (done already)": self.skipped,
            "refused (results are there)": len(self.refused),
            "failed": len(self.failed),
            "interrupted": self.interrupted,
            "not begun": len(left),
            "left out (results of an earlier run)": len(self.left_out),
        }
        told = [f"{count} {what}" for what, count in counts.items() if count or what in ("done", "failed")]
        return f"{len(inputs) + len(self.left_out)} inputs: {', '.join(told)}"

    def _tell(self, text: str, outcome: str, **more: str) -> None:
        """The line of --json for an input without a report."""
        if self.as_json:
            print_out(json.dumps({"source": hide_secrets(text), "status": outcome, "outcome": outcome, **more}))

    def _label(self, text: str) -> str:
        """What progress and notices call an input."""
        return hide_secrets(text) if _base_name(text) in self.alike else _base_name(text)

    def _side_by_side(self, inputs: Sequence[str], streams: int) -> list[str]:
        """All inputs, `streams` at once; returns those not begun when it was stopped."""
        from vidsal.console import ManyClock, make_display
        from vidsal.pipe.many import run_many

        left = dict(enumerate(inputs))
        try:
            with make_display(f"{len(inputs)} inputs", unit="frames", quiet=self.quiet) as display:
                clock = ManyClock(display)
                outcomes = run_many(
                    inputs,
                    options=self.options,
                    model=self.model,
                    streams=streams,
                    on_progress=clock,
                    should_stop=self.stop,
                )
                with contextlib.closing(outcomes):
                    for outcome in outcomes:
                        text, self.last = left.pop(outcome.number), outcome.progress
                        with clock.hidden():
                            if outcome.report is not None:
                                self._show(text, outcome.report)
                            elif outcome.error is not None:
                                self._fail(text, outcome.error)
        except (VidsalError, BrokenPipeError):
            # The options are at fault, or standard output is gone: that is everybody's end.
            raise
        except Exception as error:  # noqa: BLE001 - told as the end of each input
            # The model is that of all: none of them can go on.
            for text in left.values():
                self._fail(text, error)
            return []
        return list(left.values())

    def _one(self, text: str, place: Place) -> None:
        """One input; its errors are reported and counted, the next input is tried all the same."""
        from vidsal.console import make_display
        from vidsal.pipe.run import run

        self.last = None
        try:
            with make_display(self._label(text), unit="frames", quiet=self.quiet) as display:

                def show(progress: Progress) -> None:
                    self.last = progress
                    display.update(done=progress.frames, total=progress.total, seconds=progress.seconds)

                report = run(
                    text,
                    options=self.options,
                    model=self.model,
                    place=place,
                    on_progress=show,
                    should_stop=self.stop,
                )
        except Exception as error:  # noqa: BLE001 - one input among many fails alone, whatever it was
            self._fail(text, error)
        else:
            self._show(text, report)

    def _fail(self, text: str, error: Exception) -> None:
        """Report and count an error of one input."""
        show_traceback(error)
        reason, outcome = describe(error), "failed"
        print_error(_with_name(text, reason) if self.many else reason)
        if isinstance(error, ExistsError):
            outcome = "refused"
            self.refused.append(hide_secrets(text))
        else:
            self.failed.append(_with_name(text, reason))
            # Some options are only understood once the source is open.
            self.status = max(self.status, 2 if isinstance(error, ConfigError) else 1)
        self._tell(text, outcome, error=reason)

    def _show(self, text: str, report: RunReport) -> None:
        from vidsal.console import format_report

        for message in report.messages:
            say(f"vidsal: warning: {self._label(text)}: {message}", quiet=self.quiet)
        if report.interrupted:
            self.interrupted += 1
            self.stop.note_interrupt()
            _say_stopped(report, self.last)
        elif report.status == "skipped":
            self.skipped += 1
            there = ", ".join(map(str, report.files))
            say(f"{self._label(text)}: skipped, done already: {there}", quiet=self.quiet)
        else:
            self.done += 1
            say(format_report(report, label=self._label(text)), quiet=self.quiet)
        if self.as_json:
            print_out(json.dumps({**report.as_dict(), "outcome": report.status}))
        elif report.status == "done":
            print_out("".join(f"{path}\n" for path in report.files), end="")


def _say_stopped(report: RunReport, last: Progress | None) -> None:
    """How far an interrupted run got, and where its results are."""
    of = f" of {last.total}" if last is not None and last.total is not None else ""
    at = f" ({last.pts_seconds:.2f} s into the video)" if last is not None else ""
    kept = f"partial results: {', '.join(map(str, report.files))}" if report.files else "nothing was kept"
    say(f"vidsal: stopped at frame {report.frames}{of}{at}; {kept}")


_REFUSED = 3
"""Exit status where nothing failed, but results were there already."""


def _results_among(inputs: Sequence[str], *, quiet: bool) -> list[str]:
    """`vidsal run *.mp4` a second time means the same inputs; results named alone are meant as they are."""
    results = [text for text in inputs if _is_result(text)]
    if len(results) == len(inputs):
        return []
    if results:
        say(f"vidsal: left out, results of an earlier run: {', '.join(results)}", quiet=quiet)
    return list(dict.fromkeys(results))


def _is_result(text: str) -> bool:
    path = local_path(text)
    if path is None:
        return False
    from vidsal.pipe.record import is_result

    return is_result(path)


def _without_repeats(inputs: Sequence[str], *, quiet: bool) -> list[str]:
    """Each input once."""
    given: dict[str, list[str]] = {}
    for text in inputs:
        given.setdefault(distinct_key(text), []).append(text)
    repeated = [hide_secrets(texts[0]) for texts in given.values() if len(texts) > 1]
    if repeated:
        say(f"vidsal: given more than once, run once: {', '.join(repeated)}", quiet=quiet)
    return [texts[0] for texts in given.values()]


def _base_name(text: str) -> str:
    shown = hide_secrets(text)
    return Path(shown).name or shown


def _with_name(text: str, reason: str) -> str:
    """A reason that says whose it is."""
    name = hide_secrets(text)
    return reason if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", reason) else f"{name}: {reason}"
