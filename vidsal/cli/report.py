"""`vidsal report`: finished results in, pages to look at out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidsal.cli.parser import command, flag
from vidsal.cli.process import describe, print_error, print_out, say
from vidsal.errors import ExistsError, VidsalError
from vidsal.words import counted

__all__ = ["report_command"]

_REFUSED = 3


@command(
    "make a page to look at of results that are there: player, shots, curves",
    flag(
        "paths",
        nargs="+",
        metavar="PATH",
        type=Path,
        help="folder of results (those in folders below it too, with a page over all of them), or the table, the "
        "record, the video or the input of one run",
    ),
    flag(
        "--source",
        type=Path,
        metavar="PATH",
        help="the input, or the folder in which it lies under its name; default: where it lay, or beside its results",
    ),
    flag("--overwrite", help="replace reports that are there"),
    flag("-q", "--quiet", help="no notices on stderr; errors stay"),
    flag("--json", help="one JSON object a line on stdout instead of the paths"),
    usage="vidsal report [options] PATH [PATH ...]",
    epilog=(
        "exit status:\n"
        "  0  every report was written\n"
        "  1  one could not be made; the others, and the page over them, were made all the same\n"
        "  2  wrong usage\n"
        "  3  nothing failed, but a report that was named is there already and was not replaced\n"
    ),
)
def report_command(given: Any) -> int:
    """Write NAME.vidsal.html beside the results of `vidsal run` or `vidsal batch`: a page that a browser shows
    without a network. It plays the video with the heat, and the input where it is there. Of a folder, reports that
    are missing or older than the results are made, and the page over all of them, DIR/all.vidsal.index.html, is
    brought up to date. The paths of the pages go to stdout, all else to stderr.
    """
    from vidsal.index import record_of, wants_report
    from vidsal.pipe.reports import NO_SOURCE, finished_runs, write_report

    outcomes = set()
    pages = set[Path]()
    unseen = list[str]()
    for path in given.paths:
        try:
            runs = finished_runs(path)
        except VidsalError as error:
            outcomes.add(_tell(error, path, as_json=given.json))
            continue
        for run in runs:
            if run.page.absolute() in pages:
                continue
            pages.add(run.page.absolute())
            in_folder = path.is_dir()
            if in_folder and not given.overwrite and not wants_report(record_of(run.page)):
                continue
            try:
                messages = write_report(run, source=given.source, overwrite=given.overwrite or in_folder)
            except VidsalError as error:
                outcomes.add(_tell(error, run.page, as_json=given.json))
                continue
            unseen += [run.name] if NO_SOURCE in messages else []
            for message in messages:
                if message != NO_SOURCE or len(unseen) == 1:
                    say(f"vidsal: warning: {run.name}: {message}", quiet=given.quiet)
            made = {"page": str(run.page), "outcome": "done", "messages": messages}
            print_out(json.dumps(made) if given.json else str(run.page))
    if len(unseen) > 1:
        others = counted(len(unseen) - 1, "other input")
        say(f"vidsal: warning: so it is with {others}, such as {unseen[-1]}", quiet=given.quiet)
    failed = outcomes & {"failed"}
    outcomes |= {
        _index(path, as_json=given.json, quiet=given.quiet or not failed) for path in given.paths if path.is_dir()
    }
    return 1 if "failed" in outcomes else _REFUSED if "refused" in outcomes else 0


def _index(folder: Path, *, as_json: bool, quiet: bool) -> str:
    """Bring the page over all reports of a folder up to date; returns what became of it.

    Args:
        folder: where the reports are.
        as_json: prints an object.
        quiet: False says that the page was made although some report was not.
    """
    from vidsal.batch.accounts import read_accounts
    from vidsal.index import make_index

    try:
        made = make_index(folder, accounts=read_accounts(folder), empty=True)
    except VidsalError as error:
        return _tell(error, folder, as_json=as_json)
    if made.entries:
        told = {"page": str(made.path), "outcome": "done", "messages": [], "videos": len(made.entries)}
        print_out(json.dumps(told) if as_json else str(made.path))
        listed = counted(len(made.entries), "video")
        say(f"vidsal: {made.path.name} was written all the same, over {listed}", quiet=quiet)
    return "done"


def _tell(error: VidsalError, path: Path, *, as_json: bool) -> str:
    """Report an error of one page, the others are made all the same; returns what it means."""
    outcome = "refused" if isinstance(error, ExistsError) else "failed"
    print_error(describe(error))
    if as_json:
        print_out(json.dumps({"page": str(path), "outcome": outcome, "error": describe(error)}))
    return outcome
