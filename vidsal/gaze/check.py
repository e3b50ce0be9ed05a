"""A recording and its video in, what makes its numbers doubtful out: each finding with line and column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidsal.errors import Setting
from vidsal.gaze.makers.contract import Recording
from vidsal.gaze.table import Gaze

__all__ = ["Finding", "check_names", "check_positions", "check_table", "check_times"]

_Floats = npt.NDArray[np.float64]

FEW = 0.2
"""Share of positions outside the picture from which they are doubtful: people do look away, but not so often."""
FEW_BACK = 0.01
"""Share of rows at which the time goes back, up to which these are seams and not a file in another order."""
MANY_AT_ZERO = 0.01
"""Share of valid positions in the very corner from which they are doubtful: nobody looks there to the last digit."""
_NAMES = (Setting("participant"), Setting("trial"))
_SIZES = (
    *((640, 360), (640, 480), (800, 600), (854, 480), (960, 540), (1024, 768), (1280, 720), (1280, 1024), (1366, 768)),
    *((1600, 900), (1600, 1200), (1680, 1050), (1920, 1080), (1920, 1200), (2560, 1440), (3840, 2160)),
)


@dataclass(frozen=True)
class Finding:
    """Something that makes a recording doubtful."""

    text: str
    """In words, with file, line and column."""
    doubtful: bool
    """True: the numbers are probably wrong. False: worth knowing, and left as it is."""
    options: tuple[Setting, ...] = ()
    """Options of the import that may mend it."""

    @property
    def parts(self) -> tuple[str | Setting, ...]:
        """The message in pieces, as a `VidsalError` takes it."""
        named = [part for option in self.options for part in (", ", option)][1:]
        return (self.text, " (", *named, ")") if named else (self.text,)

    @property
    def message(self) -> str:
        """The text, and the options as Python has them."""
        return self.spelled(str)

    def spelled(self, spell: Callable[[Setting], str]) -> str:
        """The message, with options as `spell` writes them."""
        return "".join(spell(part) if isinstance(part, Setting) else part for part in self.parts)


def check_positions(recording: Recording, *, height: int, width: int, x: _Floats, y: _Floats) -> Iterator[Finding]:
    """Looks at units, axes and sizes.

    Args:
        recording: as its maker has it.
        height: rows of the video's picture.
        width: columns of it.
        x: (N,) its positions as placed in that picture.
        y: (N,) as x.
    """
    raw_x, raw_y = recording.x, recording.y
    there = np.isfinite(raw_x) & np.isfinite(raw_y) & recording.valid
    if not there.any():
        yield Finding(f"{recording.path}: no row has a valid position", True)
        return
    where = _where(recording)
    corner = there & (raw_x == 0) & (raw_y == 0)
    if corner.sum() > max(1, MANY_AT_ZERO * there.sum()):
        at = int(np.flatnonzero(corner)[0])
        yield Finding(
            f"{where(at, 'x')}: x and y are exactly 0{_more(int(corner.sum()) - 1, 'as in {} other rows')}: "
            "is that how the file writes a lost eye?",
            True,
            (Setting("zero_is_lost", True),),
        )
    if recording.unit == "share":
        beyond = there & ((raw_x < 0) | (raw_x > 1) | (raw_y < 0) | (raw_y > 1))
        far = there & ((np.abs(raw_x - 0.5) > 2) | (np.abs(raw_y - 0.5) > 2))
        if far.sum() > FEW * there.sum():
            at = int(np.flatnonzero(far)[0])
            yield Finding(
                f"{where(at, 'x')}: {raw_x[at]:g}, {raw_y[at]:g} is no share from 0 to 1"
                f"{_more(int(far.sum()) - 1, 'nor are {} others')}: these look like pixels",
                True,
            )
            return
        if beyond.any():
            at = int(np.flatnonzero(beyond)[0])
            axis = "y" if 0 <= raw_x[at] <= 1 else "x"
            value = raw_y[at] if axis == "y" else raw_x[at]
            yield Finding(
                f"{where(at, axis)}: {value:g} lies outside 0 to 1"
                f"{_more(int(beyond.sum()) - 1, 'as do {} other positions')} of {int(there.sum())}: kept as they are, "
                "outside the picture",
                False,
            )
    elif np.abs(raw_x[there]).max() <= 1.5 and np.abs(raw_y[there]).max() <= 1.5:
        at = int(np.flatnonzero(there)[0])
        yield Finding(
            f"{where(at, 'x')}: {raw_x[at]:g}, {raw_y[at]:g} and all others lie between -1.5 and 1.5: these look like "
            "shares of the picture, not like pixels",
            True,
        )
        return
    outside = there & _outside(x, y, height, width)
    share = outside.sum() / there.sum()
    if share > FEW:
        at = int(np.flatnonzero(outside)[0])
        head = f"{where(at, 'x' if not 0 <= x[at] <= width else 'y')}: {raw_x[at]:g}, {raw_y[at]:g}"
        cause, *options = _cause(recording, there, x, y, height=height, width=width, share=share)
        yield Finding(f"{head} {cause}", True, tuple(map(Setting, options)))
    elif recording.unit == "pixel" and recording.space == "video" and there.sum() >= 100:
        reach_x, reach_y = np.quantile(x[there], 0.99) / width, np.quantile(y[there], 0.99) / height
        if reach_x < 0.55 and reach_y < 0.55:
            yield Finding(
                f"{recording.path}: 99 % of the positions lie left of {reach_x:.0%} and above {reach_y:.0%} of the "
                f"{width}x{height} picture: were they recorded at a smaller size?",
                False,
                (Setting("recorded_size"),),
            )


def _cause(
    recording: Recording, there: npt.NDArray[np.bool_], x: _Floats, y: _Floats, *, height: int, width: int, share: float
) -> tuple[str, ...]:
    """What would explain that so many positions lie outside, and the options that may mend it."""
    text = f"lies outside the {width}x{height} picture, as do {share:.0%} of the valid positions: "
    raw_x, raw_y = recording.x[there], recording.y[there]
    across, down = (width, height) if recording.unit == "pixel" else (1, 1)
    swapped = _outside(raw_y, raw_x, down, across).mean()
    if recording.space == "video" and swapped < share / 4 and swapped <= 0.05:
        names = recording.columns
        return (f"{text}{names.get('x')!r} and {names.get('y')!r} seem to be swapped (then {swapped:.0%} would)",)
    if recording.unit == "pixel" and recording.space == "video":
        right, bottom = np.quantile(raw_x, 0.98), np.quantile(raw_y, 0.98)
        sizes = [
            size for size in _SIZES if right <= size[0] and bottom <= size[1] and size[0] * height == size[1] * width
        ]
        if sizes:
            return f"{text}they seem to be pixels of a picture of {sizes[0][0]}x{sizes[0][1]}", "recorded_size"
        return f"{text}they reach {right:.0f}x{bottom:.0f}: is this the right video?", "recorded_size"
    return f"{text}is this the right video, and its place on the screen?", "screen", "video_at"


def _outside(x: _Floats, y: _Floats, height: float, width: float) -> npt.NDArray[np.bool_]:
    return (x < 0) | (x > width) | (y < 0) | (y > height)


def check_times(
    recording: Recording, seconds: _Floats, *, video_seconds: float | None, offset: float = 0.0
) -> Iterator[Finding]:
    """Looks at clocks and units of time.

    Args:
        recording: as its maker has it.
        seconds: (N,) its times on the video's clock.
        video_seconds: how long the video is; None where not known.
        offset: what was added to the times already, in seconds.
    """
    where = _where(recording)
    bad = np.flatnonzero(~np.isfinite(seconds))
    if len(bad):
        yield Finding(
            f"{where(int(bad[0]), 'time')}: no time{_more(len(bad) - 1, 'as in {} other rows')}: left out", False
        )
    timed = np.isfinite(seconds)
    if not timed.any():
        yield Finding(f"{recording.path}: no row has a time", True)
        return
    yield from _order_of_file(recording, seconds, where)
    if recording.kind == "fixations":
        yield from _durations(recording, where)
    if video_seconds is None or video_seconds <= 0:
        return
    first, last = float(seconds[timed].min()), float(seconds[timed].max())
    span = last - first
    at = int(np.flatnonzero(timed)[-1])
    many = timed.sum() >= 10
    if many and span > 100 * video_seconds:
        yield Finding(
            f"{where(at, 'time')}: rows span {span:.6g} s, and the video lasts {video_seconds:.6g} s: does the column "
            "count in a smaller unit, such as milliseconds?",
            True,
        )
    elif many and 0 < span < video_seconds / 100 and _too_dense(recording.kind, seconds[timed]):
        yield Finding(
            f"{where(at, 'time')}: all rows lie within {span:.6g} s, and the video lasts {video_seconds:.6g} s: does "
            "the column count in seconds, and not in a smaller unit?",
            True,
        )
    elif last < 0 or first > video_seconds:
        yield Finding(
            f"{where(at, 'time')}: all rows lie {'before' if last < 0 else 'after'} the video, from {first:.6g} to "
            f"{last:.6g} s, and it lasts {video_seconds:.6g} s: the clock begins elsewhere; so the first row "
            "would be on the first frame",
            True,
            (Setting("offset", f"{offset - first:.6f}".rstrip("0").rstrip(".")),),
        )
    else:
        late = timed & (seconds > video_seconds + 1.0)
        if late.any():
            at = int(np.flatnonzero(late)[0])
            doubtful = late.sum() > 0.5 * timed.sum()
            yield Finding(
                f"{where(at, 'time')}: at {seconds[at]:.6g} s the video of {video_seconds:.6g} s is over"
                + _more(int(late.sum()) - 1, "as in {} other rows")
                + (": does the clock begin elsewhere?" if doubtful else ""),
                bool(doubtful),
                (Setting("offset"),) if doubtful else (),
            )


def _too_dense(kind: str, seconds: _Floats) -> bool:
    """Whether rows follow on each other faster than eyes, or trackers, go."""
    steps = np.diff(np.sort(seconds))
    steps = steps[steps > 0]
    return bool(len(steps)) and float(np.median(steps)) < (0.02 if kind == "fixations" else 1 / 5000)


def _order_of_file(recording: Recording, seconds: _Floats, where: Callable[[int, str], str]) -> Iterator[Finding]:
    """Times of one viewing that go back: once or twice, as where two recordings follow on each other; or all over."""
    same = np.ones(max(0, len(seconds) - 1), bool)
    for names in (recording.participant, recording.trial):
        if names is not None:
            same &= names[1:] == names[:-1]
    back = np.flatnonzero(same & (np.diff(seconds) < 0))
    if not len(back):
        return
    at = int(back[0]) + 1
    step = seconds[at - 1] - seconds[at]
    text = (
        f"{where(at, 'time')}: the time goes back by {step:.6g} s within one viewing, as in {len(back) - 1} other rows"
    )
    if len(back) <= max(1, FEW_BACK * len(seconds)) and step > 0.5:
        yield Finding(f"{text}: two recordings under one name?", True, _NAMES)
    else:
        yield Finding(f"{text}: rows are put into the order of time", False)


def _durations(recording: Recording, where: Callable[[int, str], str]) -> Iterator[Finding]:
    lasting = recording.duration
    known = np.isfinite(lasting)
    negative = np.flatnonzero(known & (lasting < 0))
    if len(negative):
        at = int(negative[0])
        yield Finding(
            f"{where(at, 'duration')}: a fixation that ends {-lasting[at]:.6g} s before its start"
            + _more(len(negative) - 1, "as do {} others"),
            True,
        )
    usual = float(np.median(lasting[known])) if known.any() else 0.25
    if known.sum() >= 5 and (usual < 0.01 or usual > 20) and usual > 0:
        at = int(np.flatnonzero(known)[0])
        unit = "seconds and not milliseconds" if usual < 0.01 else "milliseconds and not seconds"
        yield Finding(
            f"{where(at, 'duration')}: half of the fixations last {usual:.6g} s or {'less' if usual < 1 else 'more'}: "
            f"does the column count {unit}?",
            True,
        )


def check_names(recording: Recording) -> Iterator[Finding]:
    """Looks at rows that lack a name in a file that names others.

    Args:
        recording: as its maker has it.
    """
    for what, names in (("participant", recording.participant), ("trial", recording.trial)):
        if names is None:
            continue
        empty = np.flatnonzero([not name for name in names])
        if 0 < len(empty) < len(names):
            at = int(empty[0])
            yield Finding(
                f"{_where(recording)(at, what)}: no {what} is named{_more(len(empty) - 1, 'as in {} other rows')}; "
                "others are: whose is it?",
                True,
            )


def check_table(
    gaze: Gaze, sources: list[Recording], place: npt.NDArray[np.int64], *, video_seconds: float | None = None
) -> Iterator[Finding]:
    """Looks at what rows say together.

    Args:
        gaze: the whole table.
        sources: the recordings.
        place: (N, 2) for each row its recording and its row in that.
        video_seconds: how long the video is; None where not known.
    """
    folded: dict[str, str] = {}
    for name in gaze.participants:
        other = folded.setdefault("".join(name.casefold().split()), name)
        if other != name:
            yield Finding(f"participants {other!r} and {name!r}: is that one person, written in two ways?", False)

    def line(row: int) -> str:
        return _where(sources[place[row, 0]])(int(place[row, 1]), "time")

    for participant, trial, rows in gaze.viewings():
        files = {sources[number].path for number in np.unique(place[rows, 0])}
        who = f"participant {participant!r}, trial {trial!r}"
        if len(files) > 1:
            names = " and ".join(sorted(map(str, files)))
            yield Finding(f"{names} both have {who}: give each its own", True, _NAMES)
            continue
        seconds = gaze.pts_seconds[rows]
        span = float(seconds[-1] - seconds[0])
        # What is so for all was found before.
        is_short = video_seconds is not None and 0 < span < video_seconds / 100 <= np.ptp(gaze.pts_seconds)
        if len(seconds) >= 10 and is_short and _too_dense(gaze.kind, seconds):
            yield Finding(
                f"{line(rows.start)}: all rows of {who} lie within {span:.6g} s, and the video lasts "
                f"{video_seconds:.6g} s: does the column count in seconds, and not in a smaller unit?",
                True,
            )
            continue
        same = np.flatnonzero(np.diff(seconds) == 0)
        if len(same):
            at = rows.start + int(same[0])
            text = f"{line(at + 1)}: {who} has a row of this time already (line {_line(sources, place, at)})"
            often = len(same) > 0.1 * len(seconds)
            others = _more(len(same) - 1, "as in {} other rows")
            yield Finding(f"{text}{others}: two people under one name?", bool(often))
        if gaze.kind == "fixations":
            ends = seconds + np.nan_to_num(gaze.duration_seconds[rows])
            over = np.flatnonzero(ends[:-1] > seconds[1:] + 0.002)
            if len(over):
                at = rows.start + int(over[0])
                yield Finding(
                    f"{line(at + 1)}: {who} begins a fixation {ends[over[0]] - seconds[over[0] + 1]:.3f} s before the "
                    f"one before it ends{_more(len(over) - 1, 'as in {} other rows')}",
                    len(over) > 0.1 * len(seconds),
                )


def _line(sources: list[Recording], place: npt.NDArray[np.int64], row: int) -> int:
    return int(sources[place[row, 0]].line[place[row, 1]])


def _where(recording: Recording) -> Callable[[int, str], str]:
    return lambda row, what: (
        f"{recording.path}, line {recording.line[row]}, column {recording.columns.get(what, what)!r}"
    )


def _more(count: int, words: str) -> str:
    """That there are others; nothing where there are none."""
    return f", {words.format(count)}" if count else ""
