"""`vidsal batch`: an archive in, the results of every file and an account of all of them out."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidsal.addresses import hide_secrets
from vidsal.batch.options import ArchiveOptions
from vidsal.cli.parser import as_usage, check_model, command, flag
from vidsal.cli.process import Stop, print_error, print_out, say, share_cores

if TYPE_CHECKING:
    from vidsal.batch.database import Row, State
    from vidsal.batch.dataset import DatasetProgress
    from vidsal.batch.inputs import Given, Search, Shard
    from vidsal.batch.job import BatchReport
    from vidsal.batch.schedule import BatchProgress
    from vidsal.batch.work import Ended

__all__ = ["batch_command"]


def _bare(action: str) -> str:
    """What is said where an action is given nothing."""
    return f"name the folder of the results, the --output of the batch: vidsal batch {action} DIR"


_TROUBLE = 3
"""Exit status where some inputs failed or are damaged, or something was found wrong."""

_FOLDER = flag("output", metavar="DIR", type=Path, help="folder of the results, the --output of the batch")
_JSON = flag("--json", help="print JSON on stdout")
_QUIET = flag("-q", "--quiet", help="no progress and no notices on stderr; errors stay")
_SHARD = flag("--shard", metavar="I/N", help="only the I-th of N parts")
_LOG = flag("--log", type=Path, metavar="FILE", help="also write what happens to the end of a file, one JSON a line")


@command("how far a batch is, also while it runs; changes nothing", _FOLDER, _JSON, bare=_bare("status"))
def _status(given: Any) -> int:
    """Show how far a batch is: what is done, under way and waiting, how fast it goes and what
    went wrong. The batch may be at work meanwhile. Where shards work on it, their sum is shown.
    The exit status is 0 whatever the state of the batch; --json tells it.
    """
    from vidsal.batch.status import job_status
    from vidsal.console import format_status

    status = job_status(given.output)
    print_out(json.dumps(status.as_dict()) if given.json else format_status(status))
    return 0


@command(
    "try what failed once more, with the options of the last command",
    _FOLDER,
    flag("--damaged", help="also run the damaged inputs again, whose results are there"),
    flag("--mark", help="only let them wait: the next vidsal batch runs them"),
    _SHARD,
    _LOG,
    _JSON,
    _QUIET,
    bare=_bare("retry"),
)
def _retry(given: Any) -> int:
    """Let the failed inputs of a batch wait again, and go on with the inputs and the options of
    the last command. With --mark they only wait.
    """
    from vidsal.batch.inputs import Shard
    from vidsal.batch.retry import retry_job
    from vidsal.words import counted

    with as_usage():
        shard = Shard.of(given.shard) if given.shard else None
    if given.log is not None:
        given.log = given.log.absolute()
    last = retry_job(given.output.absolute(), damaged=given.damaged, shard=shard)
    failed = "failed or are damaged" if given.damaged else "failed"
    which = f": {last.again:,} that {failed}, {last.waiting:,} that waited already" if last.waiting else " again"
    say(f"vidsal: {counted(last.again + last.waiting, 'input')} to be run{which}", quiet=given.quiet)
    if given.mark:
        return 0
    with contextlib.ExitStack() as stack:
        # What the command named, it named from there.
        with contextlib.suppress(OSError):
            stack.enter_context(contextlib.chdir(last.folder))
        return _work(last.given, last.options, shard, given)


@command(
    "read all results again: what is missing, changed or broken",
    _FOLDER,
    flag(
        "--redo",
        help="let the inputs concerned wait: vidsal batch retry DIR makes their results again, with what failed",
    ),
    _JSON,
    _QUIET,
    bare=_bare("verify"),
)
def _verify(given: Any) -> int:
    """Compute the sha256 of every result again, open it and count its frames or rows, and look for
    files with names like results that are of no input. Prints a line for each finding: what is
    wrong, the file, the input, and more of it. Exit status 3 where a result is not as it was
    written; files that are surplus harm none, and are only told.
    """
    from vidsal.batch.verify import VerifyProgress, verify_results
    from vidsal.console import make_display
    from vidsal.words import counted

    with make_display(str(given.output), unit="MB", quiet=given.quiet) as display:
        begin = time.monotonic()

        def show(progress: VerifyProgress) -> None:
            done, total = (round(size / 1e6) for size in (progress.bytes, progress.total_bytes))
            detail = f"{counted(progress.files, 'file')}, {counted(progress.findings, 'finding')}"
            display.update(done=done, total=total, seconds=time.monotonic() - begin, detail=detail)

        report = verify_results(given.output.absolute(), redo=given.redo, on_progress=show)
    if given.json:
        print_out(json.dumps(report.as_dict()))
    else:
        for finding in report.findings:
            print_out("\t".join((finding.problem, finding.file, finding.path, finding.message)))
    wrong = len(report.findings) - report.surplus
    told = [f"{counted(report.files, 'result')} of {counted(report.inputs, 'input')}: {counted(wrong, 'finding')}"]
    if report.surplus:
        told.append(f"{counted(report.surplus, 'file')} surplus")
    if given.redo:
        told.append(
            f"{counted(report.redone, 'input')} to be run again: vidsal batch retry {given.output} (with what failed)"
        )
    elif wrong:
        told.append(f"to make them again: vidsal batch verify {given.output} --redo")
    say(f"vidsal: {'; '.join(told)}", quiet=given.quiet)
    return 0 if report.is_whole else _TROUBLE


@command(
    "remove partial files and locks that killed runs left",
    _FOLDER,
    flag("--surplus", help="also remove results that earlier options asked for and the last ones do not"),
    flag("--dry-run", help="only list what would be removed"),
    _QUIET,
    bare=_bare("clean"),
)
def _clean(given: Any) -> int:
    """Remove what killed runs of a batch left behind: partial files, and locks that nobody holds.
    A batch may be at work meanwhile: what it holds stays. With --surplus also whole results of
    the batch that are not wanted any more, such as the videos of what was then run with
    --no-video; then none may be at work. The page over all reports goes with the last report.
    Prints what was removed.
    """
    from vidsal.batch.clean import clean
    from vidsal.console import format_clean

    report = clean(given.output.absolute(), surplus=given.surplus, dry_run=given.dry_run)
    for path in report.removed:
        print_out(str(path))
    say(f"vidsal: {format_clean(report, dry_run=given.dry_run)}", quiet=given.quiet)
    return 0


@command(
    "make one job of the shards of a batch",
    _FOLDER,
    flag("others", nargs="*", metavar="FROM", type=Path, help="further folders whose results were copied into DIR"),
    _JSON,
    _QUIET,
    bare=_bare("merge"),
)
def _merge(given: Any) -> int:
    """Make one job of the shards that worked on a batch, each with a job of its own: those in DIR,
    and those of further folders whose results were copied into DIR. Then DIR goes on as any
    other batch does. Merging once more changes nothing.
    """
    from vidsal.batch.merge import merge_jobs
    from vidsal.words import counted

    report = merge_jobs(given.output.absolute(), [path.absolute() for path in given.others])
    parts = f"{counted(len(report.databases), 'job')} merged, {counted(report.changed, 'input')} new or changed"
    say(f"vidsal: {parts}", quiet=given.quiet)
    for note in report.notes:
        say(f"vidsal: {note}", quiet=given.quiet)
    if given.json:
        print_out(
            json.dumps({"changed": report.changed, "inputs": report.counts, "files": list(map(str, report.files))})
        )
    else:
        print_out("".join(f"{path}\n" for path in report.files), end="")
    return 0


_ACTIONS = {"status": _status, "retry": _retry, "verify": _verify, "clean": _clean, "merge": _merge}


@command(
    "run an archive: folders of videos, resumed and accounted for",
    flag("inputs", nargs="*", metavar="INPUT", help="folder, which is searched through, or video file"),
    flag(
        "--list",
        metavar="FILE",
        help="inputs from a list: one path a line (- is standard input), or .csv, .jsonl or .parquet with a column "
        "`path` and options by name",
    ),
    flag("-0", "--null", help="paths in the list end in a null character"),
    flag("--include", action="append", default=[], metavar="PATTERN", help="take only such names from folders"),
    flag("--exclude", action="append", default=[], metavar="PATTERN", help="leave out such names or folders"),
    flag("--shard", metavar="I/N", help="do only the I-th of N parts, with a job of its own (vidsal batch merge)"),
    flag("--dry-run", help="say how much there is to do, how long it will take and whether the disk has room"),
    _LOG,
    flag("--json", help="print the summary as JSON on stdout instead of the paths of batch.csv and batch.json"),
    _QUIET,
    options=ArchiveOptions,
    usage="vidsal batch [options] INPUT [INPUT ...] --output DIR\n       vidsal batch ACTION DIR [options]",
    epilog=(
        "exit status:\n"
        "  0    every input is done\n"
        "  1    the batch could not be run: the model, the disk, another batch at work on DIR\n"
        "  2    wrong usage, or a wrong value of an option; nothing was made\n"
        "  3    some inputs failed, are damaged or gone, or a folder could not be searched\n"
        "  130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP: the same command goes on\n"
    ),
    actions=_ACTIONS,
)
def batch_command(given: Any, options: ArchiveOptions) -> int:
    """Run every video of an archive. The results lie below DIR in a tree like that of the inputs.
    What is done is noted in DIR/.vidsal-batch: the same command goes on where it was stopped or
    killed, and runs only what is new or changed. DIR/batch.csv and DIR/batch.json say what
    became of every input. A folder that is called like an action is given as ./status.
    """
    from vidsal.batch.inputs import Given, Shard, read_list

    if not given.inputs and given.list is None:
        raise argparse.ArgumentError(None, "no input given: name a folder, a video, or a list with --list")
    with as_usage():
        shard = Shard.of(given.shard) if given.shard else None
        listed = read_list(given.list, zero=given.null) if given.list is not None else ()
        named = Given(
            tuple(given.inputs), listed, tuple(given.include), tuple(given.exclude), str(options.output.output),
            given.list or "", given.null,
        )  # fmt: skip
        check_model(*options.model.named)
    return _dry_run(named, options, shard, given) if given.dry_run else _work(named, options, shard, given)


def _dry_run(named: Given, options: ArchiveOptions, shard: Shard | None, given: Any) -> int:
    from vidsal.batch.dry_run import DryRunProgress, dry_run
    from vidsal.console import format_dry_run, make_display

    share_cores()
    with make_display("dry run", unit="files", quiet=given.quiet) as display, as_usage():
        begin = time.monotonic()

        def show(progress: DryRunProgress) -> None:
            if progress.to_open is None:
                display.update(done=progress.listed, total=None, seconds=time.monotonic() - begin, detail="found")
            else:
                detail = f"measuring {Path(progress.measuring).name}" if progress.measuring else "opened"
                display.update(
                    done=progress.opened, total=progress.to_open, seconds=time.monotonic() - begin, detail=detail
                )

        plan = dry_run(named, options, shard=shard, on_progress=show)
    for folder, reason in plan.search.problems:
        print_error(f"{folder} cannot be searched: {reason}")
    print_out(json.dumps(plan.as_dict()) if given.json else format_dry_run(plan))
    return 0


def _work(named: Given, options: ArchiveOptions, shard: Shard | None, given: Any) -> int:
    """Run a batch and show it; the exit status out."""
    _warm_up(options)
    from vidsal.batch.job import run_batch
    from vidsal.batch.log import EventLog
    from vidsal.console import format_batch, make_batch_display
    from vidsal.words import counted

    doing = "stopping: what is under way is left off and waits again"
    stop = Stop(quiet=given.quiet, doing=doing)
    with EventLog(given.log, on_trouble=print_error) as log, stop, as_usage():
        display = make_batch_display(quiet=given.quiet)
        show = _Show(display, log, stop, doing)
        try:
            with contextlib.ExitStack() as live:

                def begin(progress: BatchProgress, search: Search, who: str) -> None:
                    for folder, reason in search.problems:
                        print_error(f"{folder} cannot be searched: {reason}")
                    settled = progress.inputs - progress.counts.get("waiting", 0)
                    found = f"{counted(progress.inputs, 'input')}, {settled:,} done or failed earlier"
                    left_out = search.left_out().replace(":", ";", 1)
                    say(f"vidsal: {found}{left_out}", quiet=given.quiet)
                    say(f"vidsal: {who}", quiet=given.quiet)
                    log.begin(progress, search, who)
                    live.enter_context(display)
                    # The display tells it: it knows where the cursor is.
                    stop.quiet = True

                report = run_batch(
                    named,
                    options,
                    shard=shard,
                    stop_requested=stop,
                    on_listed=begin,
                    on_event=show.event,
                    on_progress=show.progress,
                    on_gathered=show.gathered,
                )
        except KeyboardInterrupt:
            stop.note_interrupt()
            log.write("end", outcome="interrupted", signal=stop.name)
            print_error(f"stopped by {stop.name}; the same command goes on")
            return stop.status
        log.write("end", **report.as_dict())
    say(f"vidsal: {format_batch(report)}", quiet=given.quiet)
    for note in report.notes:
        say(f"vidsal: {note}", quiet=given.quiet)
    if report.outcome == "interrupted":
        stop.note_interrupt()
    say(_what_next(report, named.output, stop), quiet=given.quiet)
    if given.json:
        print_out(json.dumps(report.as_dict()))
    else:
        print_out("".join(f"{path}\n" for path in report.files), end="")
    return stop.status or (0 if report.is_all_done else _TROUBLE)


def _warm_up(options: ArchiveOptions) -> None:
    """Let workers import what they need while this process does."""
    if options.batch.engine == "local":
        from vidsal.batch.engines.local import warm_up

        warm_up()


class _Show:
    """What happens in a batch in, lines and a live display out."""

    def __init__(self, display: Any, log: Any, stop: Stop, doing: str) -> None:
        self._display = display
        self._log = log
        self._stop = stop
        self._doing = doing
        self._told = False

    def progress(self, progress: BatchProgress) -> None:
        self._log.show(progress)
        if self._stop() and not self._told:
            self._told = True
            self._log.write("stopping", signal=self._stop.name)
            again = "; Ctrl-C again to stop at once" if self._stop.name == "SIGINT" else ""
            self._display.say(f"vidsal: {self._doing}{again}")
        self._display.update(progress)

    def gathered(self, progress: DatasetProgress) -> None:
        self._display.tell(f"gathering the data set: {progress.inputs} of {progress.total} inputs")

    def event(self, end: Ended, row: Row, state: State) -> None:
        self._log.end(end, row, state)
        path = hide_secrets(row.path)
        told = end.message if path in end.message else f"{path}: {end.message}"
        if state in ("failed", "skipped"):
            self._display.complain(f"vidsal: {state} ({end.reason}): {told}")
        elif state == "damaged":
            self._display.say(f"vidsal: damaged: {told}")
        elif state == "waiting" and end.outcome == "failed":
            self._display.say(f"vidsal: to be tried again ({end.reason}): {told}")


def _what_next(report: BatchReport, output: str, stop: Stop) -> str:
    if report.outcome == "interrupted":
        return f"vidsal: stopped by {stop.name}; the same command goes on"
    if report.outcome == "failed":
        return "vidsal: ended at the first failure (--fail-fast); the same command goes on with the others"
    if report.counts.get("failed"):
        return f"vidsal: to try what failed again: vidsal batch retry {output}"
    return "vidsal: nothing is left to do"
