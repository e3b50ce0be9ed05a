"""What a person sees while it runs: progress and results in, lines of text out. The only file that imports rich.

Everything here goes to stderr, but for what the `format_` functions return.
"""

from __future__ import annotations

import json
import math
import os
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO, cast

import yaml
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vidsal.addresses import harmless, hide_secrets
from vidsal.model.options import named_task
from vidsal.words import counted

if TYPE_CHECKING:
    from vidsal.batch.clean import CleanReport
    from vidsal.batch.database import Trouble
    from vidsal.batch.dry_run import DryRun
    from vidsal.batch.job import BatchReport
    from vidsal.batch.schedule import BatchProgress, LaneProgress
    from vidsal.batch.status import JobStatus, PartStatus
    from vidsal.model.checkpoint import ModelCard, WeightsPlace
    from vidsal.model.network import NetworkOptions
    from vidsal.model.store import Record
    from vidsal.pipe.many import ManyProgress
    from vidsal.pipe.run import RunReport
    from vidsal.train import TrainProgress

__all__ = [
    "LOG_EVERY_SECONDS",
    "BatchDisplay",
    "Display",
    "DownloadClock",
    "ManyClock",
    "TrainClock",
    "counted",
    "format_batch",
    "format_card",
    "format_clean",
    "format_dry_run",
    "format_duration",
    "format_record",
    "format_report",
    "format_scores",
    "format_size",
    "format_status",
    "format_weights",
    "make_batch_display",
    "make_display",
]

LOG_EVERY_SECONDS = 10.0
"""Seconds between two log lines where stderr is no terminal."""

_REDRAW_SECONDS = 0.1
_LONGEST_LABEL = 22
_NAMES_SHOWN = 2
_CARD_WIDTH = 96
_MEGABYTE = 1_000_000


class Display:
    """Shows how far a job is, between entering and leaving; this one shows nothing."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the live line away."""

    def update(self, *, done: int, total: int | None, seconds: float, detail: str = "") -> None:
        """Show a state of the job.

        Args:
            done: units done.
            total: units in all, None where unknown.
            seconds: time that the `done` units took.
            detail: a few more words.
        """

    def say(self, text: str) -> None:
        """Print a line that stays."""


def make_display(label: str, *, unit: str, quiet: bool = False) -> Display:
    """A live line on a terminal, else a log line now and then; nothing where `quiet`.

    Args:
        label: what is worked on.
        unit: what is counted, in the plural ("frames").
        quiet: show nothing at all.
    """
    if quiet:
        return Display()
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return _LiveLine(label, unit)
    return _LogLines(label, unit)


class _LogLines(Display):
    """For files and pipes: a line every `LOG_EVERY_SECONDS`; that nobody reads it any more is no error of the work."""

    def __init__(self, label: str, unit: str) -> None:
        self._label, self._unit = label, unit
        self._last = time.monotonic()

    def update(self, *, done: int, total: int | None, seconds: float, detail: str = "") -> None:
        if time.monotonic() - self._last < LOG_EVERY_SECONDS:
            return
        self._last = time.monotonic()
        count = f"{done} {self._unit}" if total is None else f"{done} of {total} {self._unit}"
        parts = [count, _rate(done, seconds, self._unit), _time_left(done, total, seconds), detail]
        self.say(f"{self._label}: {', '.join(part for part in parts if part)}")

    def say(self, text: str) -> None:
        with suppress(OSError):
            print(harmless(text), file=sys.stderr, flush=True)


class _LiveLine(Display):
    """For terminals: one line that is drawn again; drawn by the caller's thread, so a signal cannot tear it."""

    def __init__(self, label: str, unit: str) -> None:
        self._unit = unit
        self._drawn = 0.0
        console = Console(file=cast(TextIO, _Forgiving(sys.stderr)), highlight=False)
        fields = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("count", "rate", "left", "detail")]
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            # The line stays short of the edge, or the terminal's echo of ^C would wrap it.
            BarColumn(bar_width=min(40, max(8, console.width - 70))),
            *fields,
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._progress.add_task(_shorten(label), total=None, count="", rate="", left="", detail="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, *, done: int, total: int | None, seconds: float, detail: str = "") -> None:
        if time.monotonic() - self._drawn < _REDRAW_SECONDS and done != total:
            return
        self._drawn = time.monotonic()
        self._progress.update(
            self._task,
            completed=done,
            total=None if total is None else max(total, done),
            count=f"{done}" if total is None else f"{done}/{total}",
            rate=_rate(done, seconds, self._unit),
            left=_time_left(done, total, seconds),
            detail=detail,
            refresh=True,
        )

    def say(self, text: str) -> None:
        self._progress.console.print(harmless(text), markup=False, soft_wrap=True)


class _Forgiving:
    """Standard error, whose terminal may go while the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


class _Clock:
    """Times a job from its first report on, as if what was done before had been as fast."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._begin: tuple[float, int] | None = None

    def _seconds(self, done: int) -> float:
        now = time.monotonic()
        # What comes before the first report also loads and warms up.
        begin, first = self._begin = self._begin or (now, done)
        return (now - begin) * done / (done - first) if done > first else 0.0


class TrainClock(_Clock):
    """Turns the trainer's progress into what a display shows; a resumed run is timed from where it went on."""

    last: TrainProgress | None = None

    @property
    def reached(self) -> str:
        """The step, in words."""
        return f"step {self.last.step} of {self.last.steps}" if self.last else "the start"

    def __call__(self, progress: TrainProgress) -> None:
        """Show a step; after a pass, its scores."""
        self.last = progress
        for note in progress.notes:
            self._display.say(f"note: {note}")
        detail = f"pass {progress.pass_number}/{progress.passes} loss {progress.loss:.2f}"
        seconds = self._seconds(progress.step)
        self._display.update(done=progress.step, total=progress.steps, seconds=seconds, detail=detail)
        if progress.scores is not None:
            self._display.say(f"pass {progress.pass_number} of {progress.passes}, loss {progress.loss:.3f}")
            self._display.say(format_scores(progress.scores))


class ManyClock:
    """Turns the progress of several runs into what a display shows: the sum of their frames, and their names."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def __call__(self, progress: ManyProgress) -> None:
        """Show a state of the runs."""
        names = [Path(source).name or source for source in progress.under_way]
        more = f" +{len(names) - _NAMES_SHOWN}" if len(names) > _NAMES_SHOWN else ""
        detail = " ".join(map(_shorten, names[:_NAMES_SHOWN])) + more
        self._display.update(done=progress.frames, total=progress.total, seconds=progress.seconds, detail=detail)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the live line away, so that results can be printed."""
        self._display.__exit__(None, None, None)
        try:
            yield
        finally:
            self._display.__enter__()


class DownloadClock(_Clock):
    """Turns a download's bytes into what a display shows; one that goes on is timed from where it went on."""

    def __call__(self, done: int, total: int | None) -> None:
        """Show how far it is; the display counts in MB."""
        whole = None if total is None else round(total / _MEGABYTE)
        self._display.update(done=round(done / _MEGABYTE), total=whole, seconds=self._seconds(done))


def _shorten(label: str) -> str:
    """A label that leaves room for the bar: its middle is left out where it is long."""
    label = harmless(label)
    if len(label) <= _LONGEST_LABEL:
        return label
    tail = _LONGEST_LABEL // 2
    return f"{label[: _LONGEST_LABEL - tail - 1]}…{label[-tail:]}"


class BatchDisplay:
    """Shows how far a batch is, between entering and leaving; this one shows nothing but what went wrong."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take what is live away."""

    def update(self, progress: BatchProgress) -> None:
        """Show a state of the batch."""

    def tell(self, text: str) -> None:
        """Show what comes after it."""

    def say(self, text: str) -> None:
        """Print a line that stays."""

    def complain(self, text: str) -> None:
        """Print a line that stays, also where it is to be quiet."""
        with suppress(OSError):
            print(harmless(text), file=sys.stderr, flush=True)


def make_batch_display(*, quiet: bool = False) -> BatchDisplay:
    """A bar and a line a worker on a terminal, else a log line now and then; nothing where `quiet`."""
    if quiet:
        return BatchDisplay()
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return _LiveBatch()
    return _BatchLines()


class _BatchLines(BatchDisplay):
    """For files and pipes."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._pause = ""

    def update(self, progress: BatchProgress) -> None:
        if progress.pause.partition(" ")[0] != self._pause.partition(" ")[0]:
            self.say(f"paused: {progress.pause}" if progress.pause else "it goes on")
        self._pause = progress.pause
        if time.monotonic() - self._last < LOG_EVERY_SECONDS:
            return
        self._last = time.monotonic()
        begun = progress.at_work
        at = ", ".join(f"{_tail(lane.path, 40)} {_share(lane)}".strip() for lane in begun[:_LANES_IN_A_LINE])
        more = f" +{len(begun) - _LANES_IN_A_LINE}" if len(begun) > _LANES_IN_A_LINE else ""
        self.say(", ".join(_batch_facts(progress)) + (f"; at {at}{more}" if at else ""))

    def tell(self, text: str) -> None:
        if time.monotonic() - self._last >= LOG_EVERY_SECONDS:
            self._last = time.monotonic()
            self.say(text)

    def say(self, text: str) -> None:
        self.complain(text)


class _LiveBatch(BatchDisplay):
    """For terminals: drawn again by the caller's thread, so a signal cannot tear it."""

    def __init__(self) -> None:
        self._drawn = float("-inf")
        self._console = Console(file=cast(TextIO, _Forgiving(sys.stderr)), highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, progress: BatchProgress) -> None:
        if time.monotonic() - self._drawn < _REDRAW_SECONDS:
            return
        self._drawn = time.monotonic()
        self._live.update(self._drawing(progress), refresh=True)

    def say(self, text: str) -> None:
        self._console.print(harmless(text), markup=False, soft_wrap=True)

    def tell(self, text: str) -> None:
        self._live.update(_plain(text), refresh=True)

    def complain(self, text: str) -> None:
        self.say(text)

    def _drawing(self, progress: BatchProgress) -> Group:
        # The lines stay short of the edge, or the terminal's echo of ^C would wrap them.
        width = self._console.width - 4
        facts = "  ".join(_batch_facts(progress))
        bar = min(40, width - len(facts) - 2)
        done = sum(progress.counts.get(state, 0) for state in _SETTLED)
        shown = done + sum(lane.share for lane in progress.lanes.values())
        head = Table.grid(padding=(0, 2, 0, 0))
        if bar >= _LEAST_BAR:
            head.add_row(ProgressBar(max(1, progress.inputs), min(shown, progress.inputs), width=bar), _plain(facts))
        else:
            head.add_row(_plain(facts[:width]))
        lines = [_plain(line) for line in self._lanes(progress, width)]
        if progress.pause:
            lines.append(_plain(f"  paused: {progress.pause}"))
        return Group(head, *lines)

    def _lanes(self, progress: BatchProgress, width: int) -> Iterator[str]:
        begun = progress.at_work
        most = max(1, min(_MOST_LANES, self._console.height - 5))
        shown = begun if len(begun) <= most else begun[: most - 1]
        counts = [f"{lane.frames}/{lane.total} frames" if lane.total else f"{lane.frames} frames" for lane in shown]
        longest = max(map(len, counts), default=0)
        names = [_tail(lane.path, width - longest - 11) for lane in shown]
        room = max(map(len, names), default=0)
        for lane, name, count in zip(shown, names, counts, strict=True):
            yield f"  {name:<{room}}  {count:>{longest}}  {_share(lane):>5}"
        if len(shown) < len(begun):
            yield f"  and {len(begun) - len(shown)} more"
        if progress.begun_seconds is None and progress.lanes:
            yield "  starting"


_SETTLED = ("done", "damaged", "failed", "skipped")
_LANES_IN_A_LINE = 4
_MOST_LANES = 16
_LEAST_BAR = 8


def _batch_facts(progress: BatchProgress) -> list[str]:
    """Files, hours, speed and time left, a few words each."""
    counts = progress.counts
    done = sum(counts.get(state, 0) for state in _SETTLED)
    facts = [f"{done}/{progress.inputs} files"]
    facts += [f"{counts[state]} {state}" for state in ("failed", "damaged") if counts.get(state)]
    video_seconds = progress.video_seconds_so_far
    facts.append(f"{_hours(video_seconds)} of video")
    if progress.seconds > 0 and video_seconds:
        facts.append(f"{video_seconds / progress.seconds:.1f}x real time")
    left = progress.seconds_left
    if left is not None and done < progress.inputs:
        facts.append(f"{_long(left)} left")
    return facts


def _plain(text: str) -> Text:
    return Text(harmless(text).replace("\n", "\\n"), no_wrap=True, overflow="ellipsis")


def _share(lane: LaneProgress) -> str:
    return f"{100 * lane.share:.0f} %" if lane.share else ""


def _tail(path: str, room: int) -> str:
    """The end of a path or address: as many of its names as there is room for."""
    shown = harmless(hide_secrets(path)).replace("\n", "\\n")
    if len(shown) <= room:
        return shown
    parts = shown.split("/")
    for count in range(len(parts) - 1, 0, -1):
        tail = "…/" + "/".join(parts[-count:])
        if len(tail) <= room:
            return tail
    half = max(1, room // 2)
    return f"{parts[-1][: max(1, room - half - 1)]}…{parts[-1][-half:]}"


def _hours(seconds: float) -> str:
    """A length of video: 0:35, 1:20:00, and from ten hours on 12.3 h.

    Example:
        >>> _hours(35), _hours(4800), _hours(360000)
        ('0:35', '1:20:00', '100.0 h')
    """
    return f"{seconds / 3600:,.1f} h" if seconds >= 36000 else format_duration(seconds)


def _long(seconds: float) -> str:
    """A time to wait: 0:35, 1:20:00, and from two days on 3 d 4 h.

    Example:
        >>> _long(4800), _long(3 * 86400 + 4 * 3600)
        ('1:20:00', '3 d 4 h')
    """
    days, rest = divmod(round(seconds / 3600), 24)
    return f"{days} d {rest} h" if days >= 2 else format_duration(seconds)


def format_batch(report: BatchReport) -> str:
    """What a batch did, with a table of what went wrong."""
    head = f"{_states(report.counts)}; {_hours(report.video_seconds)} of video in {_long(report.seconds)}"
    if report.seconds > 0 and report.video_seconds:
        head += f" ({report.video_seconds / report.seconds:.1f} times real time)"
    return "\n".join([head, *_reason_lines(report.reasons)])


def _states(counts: Mapping[str, int]) -> str:
    states = ("done", "damaged", "failed", "skipped", "running", "waiting")
    told = [f"{counts[state]:,} {state}" for state in states if counts.get(state)]
    return f"{counted(sum(counts.values()), 'input')}: {', '.join(told) or 'none'}"


def _reason_lines(reasons: Sequence[Trouble]) -> list[str]:
    """A line a reason: state, reason, how many, and one of them."""
    if not reasons:
        return []
    widths = [max(len(f"{row[n]}") for row in reasons) for n in range(3)]
    return [
        f"  {state:<{widths[0]}}  {reason:<{widths[1]}}  {count:>{widths[2]}}  {_with_message(path, message)}"
        for state, reason, count, path, message in reasons
    ]


def _with_message(path: str, message: str) -> str:
    # Most messages name the file.
    return message if path in message else f"{path}: {message}" if message else path


def format_status(status: JobStatus) -> str:
    """How far a job is, with what is under way and what went wrong."""
    lines = [_states(status.counts)]
    facts = [
        f"{_hours(status.video_seconds)} of video done",
        f"{status.frames:,} frames",
        f"{format_size(status.bytes_written)} written",
    ]
    if status.times_real_time:
        facts.append(f"{status.times_real_time:.1f} times real time")
    left = status.seconds_left
    if left is not None and status.is_running:
        facts.append(f"about {_long(left)} left")
    lines.append(", ".join(facts))
    for part in status.parts:
        lines.append(_part_line(part, many=len(status.parts) > 1))
        if part.pause:
            lines.append(f"  paused: {part.pause}")
        rows = [
            (
                each.path,
                f"{each.frames}/{each.total} frames" if each.total else f"{each.frames} frames",
                f"{100 * each.share:.0f} %" if each.total else format_duration(each.pts_seconds),
            )
            for each in part.under_way
        ]
        widths = [max((len(row[n]) for row in rows), default=0) for n in range(3)]
        lines += [f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}" for row in rows]
    lines += _reason_lines(status.reasons)
    if status.older:
        lines.append(f"not counted, as newer ones tell of the same: {', '.join(status.older)}")
    return harmless("\n".join(lines))


def _part_line(part: PartStatus, *, many: bool) -> str:
    name = f"{part.name} ({_states(part.counts)}): " if many else ""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(part.started))
    where = f"process {part.pid} on {part.host}"
    if part.state == "running":
        said = f", last heard of {_long(part.silent_seconds)} ago" if part.silent_seconds > _LATE_SECONDS else ""
        return f"{name}running since {when}, {where}{said}"
    if part.state == "killed":
        return f"{name}not running: {where}, begun {when}, was killed; the same command goes on"
    ended = "" if part.ended is None else time.strftime(" %Y-%m-%d %H:%M", time.localtime(part.ended))
    how = {"complete": "ended", "interrupted": "interrupted", "merged": "merged"}.get(
        part.state, "ended with a failure"
    )
    return f"{name}not running: {how}{ended}"


_LATE_SECONDS = 30.0


def format_dry_run(plan: DryRun) -> str:
    """What a batch would take."""
    settled = f", {plan.settled:,} failed or damaged earlier (vidsal batch retry)" if plan.settled else ""
    lines = [
        f"{counted(plan.inputs, 'input')}: {plan.done:,} done already, {plan.waiting:,} to run{settled}"
        f"{plan.search.left_out().replace(':', ';', 1)}"
    ]
    about = "about " if plan.opened < plan.waiting else ""
    lines.append(
        f"to run: {about}{_hours(plan.video_seconds)} of video, {about}{plan.frames:,} frames, "
        f"{format_size(plan.input_bytes)}"
    )
    if about:
        lines.append(f"  {plan.opened:,} of them were opened, the others estimated by their size")
    if plan.elsewhere:
        lines.append(f"  {plan.elsewhere:,} of them lie on other machines and were not opened")
    for reason, count in plan.unreadable.items():
        path, message = plan.examples[reason]
        lines.append(f"  {reason}: {count}, such as {_with_message(path, message)}")
    for one in plan.samples:
        speed = f"{one.frames / one.seconds:.1f} frames/s" if one.seconds else ""
        lines.append(f"measured: {one.width}x{one.height}, {one.frames} frames at {speed} in one process ({one.path})")
    if plan.seconds is None or plan.bytes is None:
        lines.append("nothing could be measured: no time and no size can be told")
    elif plan.waiting:
        processes = f"{plan.workers} process{'es' if plan.workers > 1 else ''}"
        start = f", {plan.start_seconds:.0f} s of it to start" if plan.start_seconds >= 0.5 else ""
        without = ", without the time that uploading takes" if plan.upload else ""
        lines.append(f"time: about {_long(plan.seconds)} with {processes}{start}{without}")
        if plan.upload:
            lines.append(f"upload: about {format_size(plan.bytes)} to {plan.upload}")
        keep = f", {format_size(plan.keep_free_bytes)} of which are kept free" if plan.keep_free_bytes else ""
        enough = "enough" if plan.fits else "NOT ENOUGH"
        what = "results that stay here" if plan.upload else "results"
        lines.append(
            f"{what}: about {format_size(plan.bytes_here or 0)}; {format_size(plan.free_bytes)} are free on the disk "
            f"of {plan.output}{keep}: {enough}"
        )
    return harmless("\n".join(lines))


def format_clean(report: CleanReport, *, dry_run: bool) -> str:
    """What was removed, in a line."""
    what = "would be removed" if dry_run else "removed"
    parts = [f"{counted(len(report.removed), 'file')} {what} ({format_size(report.bytes)})"]
    if report.kept:
        parts.append(f"{counted(len(report.kept), 'file')} in use kept")
    if report.surplus:
        parts.append(f"{counted(report.surplus, 'result')} of earlier options kept (--surplus removes them)")
    if report.changed:
        parts.append(f"kept, as it is not what was written: {', '.join(report.changed)}")
    return "; ".join(parts)


def format_duration(seconds: float) -> str:
    """Whole seconds as 0:07, 12:34 or 1:02:03.

    Example:
        >>> format_duration(6.6), format_duration(3723)
        ('0:07', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_report(report: RunReport, *, label: str) -> str:
    """A finished run in a line."""
    cuts = "no cut" if report.cuts == 0 else "1 cut" if report.cuts == 1 else f"{report.cuts} cuts"
    frames = "1 frame" if report.frames == 1 else f"{report.frames} frames"
    return f"{label}: {frames} in {report.seconds:.1f} s ({report.frames_per_second:.1f} frames/s), {cuts}"


def format_size(count: int) -> str:
    """Bytes in units of 1000.

    Example:
        >>> format_size(980), format_size(7_640), format_size(280_586_456), format_size(39_364_243_456)
        ('980 bytes', '7.6 kB', '280.6 MB', '39.4 GB')
    """
    for unit, size in (("TB", _MEGABYTE**2), ("GB", 1000 * _MEGABYTE), ("MB", _MEGABYTE), ("kB", 1000)):
        # What would be rounded to 1000.0 of a unit is 1.0 of the next.
        if count >= size * 0.99995:
            return f"{count / size:.1f} {unit}"
    return counted(count, "byte")


def format_weights(places: Mapping[str, WeightsPlace]) -> str:
    """A line a model: where its weights are, and how large they are."""
    width = max(map(len, places), default=0)
    lines = []
    for name, place in places.items():
        if place.state == "absent":
            size, where = "", f"vidsal weights fetch {name}"
        else:
            size = format_size(place.path.stat().st_size) if place.path.is_file() else "missing"
            where = str(place.path)
            if place.state == "damaged":
                where += f" (see: vidsal weights verify {name})"
        lines.append(f"{name:<{width}}  {place.state:<8}  {size:>10}  {where}")
    return "\n".join(lines)


def format_record(place: WeightsPlace, record: Record | None) -> tuple[str, ...]:
    """What is known of a weight file that is there, for its card."""
    where = f"{place.state}: {place.path} ({format_size(place.path.stat().st_size)})"
    if record is None:
        return (where,)
    made = f"made {record.date} by vidsal {record.vidsal}"
    return where, f"sha256 {record.sha256}", f"from {record.source}", made


def format_scores(scores: Mapping[str, Mapping[str, float]]) -> str:
    """A table of scores, one row a set.

    Example:
        >>> print(format_scores({"osie": {"nss": 3.2, "cc": 0.8}, "scene": {"nss": 2.0, "cc": 0.7}}))
                   nss      cc
        osie     3.200   0.800
        scene    2.000   0.700
    """
    names = list(dict.fromkeys(name for row in scores.values() for name in row))
    width = max([len(name) for name in scores], default=0) + 1
    head = " " * width + "".join(f"{name:>{_column(name)}}" for name in names)
    rows = [
        f"{label:<{width}}"
        + "".join(f"{row[name]:>{_column(name)}.3f}" if name in row else " " * _column(name) for name in names)
        for label, row in scores.items()
    ]
    return "\n".join([head, *rows])


def format_card(name: str, config: NetworkOptions, card: ModelCard | None, *, weights: tuple[str, ...] = ()) -> str:
    """What is known of a model and of its weight file, for stdout; a preset without weights has no card."""
    lines = [name]
    if card is None:
        lines.append(f"  no weights here: vidsal weights fetch {name}, or vidsal weights import FILE")
    elif card.description:
        lines.append(_wrapped(card.description, "  "))
    facts: dict[str, tuple[str, ...]] = {"architecture": (_architecture(config),)}
    if card is not None:
        facts |= {
            "predicts": ("where drivers look",) if "driving" in (card.task, named_task(card.name)) else (),
            "licence": (card.licence,),
            "initialised with": (card.initialisation,),
            "trained on": card.training_data,
            "commit": (card.commit,),
            "limits": card.limits,
            "weights": weights,
        }
    for title, texts in facts.items():
        if any(texts):
            lines += ["", f"  {title}", *(_wrapped(text, "    ") for text in texts if text)]
    if card is not None and card.training:
        lines += ["", "  training", *(f"    {line}" for line in _recipe(card.training))]
    if card is not None and card.scores:
        lines += ["", "  scores", *([_wrapped(card.protocol, "    ")] if card.protocol else [])]
        lines += [f"    {row}".rstrip() for row in format_scores(card.scores).splitlines()]
    return "\n".join(lines)


def _architecture(config: NetworkOptions) -> str:
    from vidsal.model.config import SAMConfig
    from vidsal.model.networks.config import NetworkConfig

    if isinstance(config, NetworkConfig):
        width = "" if config.width == 1 else f"{config.width:g} of the published channels"
        branches = f"branches {' + '.join(config.branches)}" if config.network == "dreyeve" else ""
        if config.segmentation_bytes:
            branches += f", with a segmentation model of {config.segmentation_bytes / 1e6:.1f} MB"
        bias = (
            "" if config.centre_bias is None else f"a centre bias of its own ({'x'.join(map(str, config.centre_bias))})"
        )
        return ", ".join(filter(None, (config.network, config.backbone, config.upsampler, width, branches, bias)))
    if not isinstance(config, SAMConfig):
        return type(config).__name__
    architecture = (
        f"{config.backbone}, {config.recurrent_channels} recurrent channels, {config.steps} steps, "
        f"{config.priors} priors, {config.head} head"
    )
    return architecture + (f", motion branch of {config.motion_channels} channels" if config.motion_channels else "")


def _recipe(training: str) -> list[str]:
    """A card's recipe, which is JSON, as lines of YAML without what is null or empty."""
    try:
        values = _without_empty(json.loads(training))
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, dict):
        return textwrap.wrap(training, _CARD_WIDTH - 4)
    wrapper = textwrap.TextWrapper(
        _CARD_WIDTH - 4, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    lines = []
    for key, value in values.items():
        nested = isinstance(value, dict | list)
        text = yaml.safe_dump(value if nested else {key: value}, default_flow_style=nested, width=math.inf).strip()
        lines += wrapper.wrap(f"{key}: {text}" if nested else text)
    return lines


def _without_empty(value: Any) -> Any:
    """Without what is null or empty; JSON has no numbers as keys, YAML does."""
    if isinstance(value, dict):
        left = {key: one for key, one in value.items() if one not in (None, [], {})}
        return {int(key) if key.isdecimal() else key: _without_empty(one) for key, one in left.items()}
    return [_without_empty(one) for one in value] if isinstance(value, list) else value


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, _CARD_WIDTH, initial_indent=indent, subsequent_indent=indent)


def _column(name: str) -> int:
    return max(8, len(name) + 2)


def _rate(done: int, seconds: float, unit: str) -> str:
    return f"{done / seconds:.1f} {unit}/s" if done and seconds > 0 else ""


def _time_left(done: int, total: int | None, seconds: float) -> str:
    if total is None or done == 0 or seconds <= 0:
        return ""
    return f"{format_duration(max(0, total - done) * seconds / done)} left"
