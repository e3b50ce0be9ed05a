"""`vidsal data`: a data set in, what is there, densities of it, or a model's maps for it out."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from vidsal.cli.parser import Command, as_usage, check_choice, check_model, command, flag
from vidsal.cli.process import print_error, print_out, say, share_cores
from vidsal.config import UsageError, options_of
from vidsal.data.options import DensityOptions, LayoutName, SheetOptions
from vidsal.driving.options import DrivingOptions
from vidsal.errors import ConfigError
from vidsal.pipe.options import ModelOptions

if TYPE_CHECKING:
    from vidsal.data.layouts import Dataset

__all__ = ["DATA", "LAYOUT", "layout_options", "option_flag", "sequence_clock"]

LAYOUT = flag("name", metavar="NAME", help=f"which layout: {', '.join(get_args(LayoutName))}")
"""The name of a layout, among the flags of a command."""


def option_flag(example: str) -> Any:
    """What takes the options of a layout, among the flags of a command."""
    text = f"an option of the layout, as {example}; may be given several times"
    return flag("--option", dest="options", metavar="KEY=VALUE", action="append", default=[], help=text)


_SET = (
    LAYOUT,
    flag("root", metavar="ROOT", type=Path, help="the folder it lies in"),
    flag("--split", default="all", help="one of the layout's splits (default: all)"),
    option_flag("condition=driver"),
    flag("-q", "--quiet", help="no progress on stderr"),
)
_FOLDER = flag("--out", metavar="DIR", type=Path, required=True, help="the folder to make")


def layout_options(name: str, options: Sequence[str]) -> dict[str, Any]:
    """The options of a layout that stand as KEY=VALUE on the command line."""
    from vidsal.data.layouts import DATASETS

    check_choice(name, DATASETS, "data set")
    known = {option.key: option for option in options_of(DATASETS[name].options)}
    chosen: dict[str, Any] = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise UsageError(f"--option {text}: {name} knows {', '.join(f'{each}=' for each in known) or 'no options'}")
        try:
            chosen[key] = known[key].convert(value)
        except ConfigError as error:
            raise UsageError(f"--option {text}: {error}") from error
    return chosen


@contextlib.contextmanager
def sequence_clock(label: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Shows how many sequences are done."""
    from vidsal.console import make_display

    began = time.monotonic()
    with make_display(label, unit="sequences", quiet=quiet) as display:
        yield lambda done, total: display.update(done=done, total=total, seconds=time.monotonic() - began)


def _open(given: Any) -> tuple[Dataset, dict[str, Any]]:
    """The data set that the arguments name, and the options of its layout that were given."""
    from vidsal.data.layouts import open_dataset

    chosen = layout_options(given.name, given.options)
    with as_usage():
        return open_dataset(given.name, given.root, split=given.split, **chosen), chosen


def _finish(given: Any, broken: Sequence[str], text: str, path: Path) -> int:
    """Shows what was left out, what was made and where; 1 where something was left out."""
    for message in broken:
        print_error(message)
    say(f"{given.name}: {text}", quiet=given.quiet)
    print_out(str(path))
    return 1 if broken else 0


@command(
    "print what is there: sequences, frames, sizes, labels, viewers, and what is broken",
    *_SET,
    flag("--full", help="read every frame, not only the first of each sequence"),
    flag("--json", help="print one JSON object instead of lines"),
)
def _check(given: Any) -> int:
    """Print what is found of a data set. The exit status is 1 where a sequence is broken."""
    dataset, _ = _open(given)
    from vidsal.data.check import check_dataset, format_facts

    with sequence_clock(given.name, quiet=given.quiet) as on_progress:
        facts = check_dataset(dataset, full=given.full, on_progress=on_progress)
    print_out(json.dumps(facts.as_dict()) if given.json else format_facts(facts))
    count = len(facts.broken)
    if count:
        from vidsal.evaluate.results import count_of

        # Which and why has been printed.
        print_error(f"{count} of {count_of(len(dataset), 'sequence')} {'is' if count == 1 else 'are'} broken")
    return 1 if count else 0


@command(
    "write densities made of the recorded fixations, with a stated sigma",
    *_SET,
    _FOLDER,
    flag("--overwrite", help="replace maps that an earlier call made there"),
    options=DensityOptions,
)
@as_usage()
def _density(given: Any, wanted: DensityOptions) -> int:
    """Write a density for every frame with recorded fixations: a Gaussian on each, cut at four
    sigma. DIR/density.json says how they were made. Sigma is in pixels of the picture that
    the fixations refer to, or in degrees of visual angle.
    """
    from vidsal.data.densities import write_densities

    dataset, chosen = _open(given)
    with sequence_clock(given.name, quiet=given.quiet) as on_progress:
        report = write_densities(
            dataset,
            given.out,
            options=wanted,
            layout_options=chosen,
            overwrite=given.overwrite,
            on_progress=on_progress,
        )
    empty = f"{report.empty} of them of frames without a fixation"
    made = f"{report.written} maps, {empty}; {report.unrecorded} frames have no record"
    return _finish(given, report.broken, made, report.path)


@command(
    "write a model's maps of stills, as benchmarks with withheld labels take them",
    *_SET,
    _FOLDER,
    flag("--overwrite", help="replace maps that are there"),
    options=ModelOptions,
)
@as_usage()
def _submission(given: Any, chosen: ModelOptions) -> int:
    """Write a model's map of every still, as benchmarks with withheld labels take it: 8-bit grey,
    as large as the picture, DIR/NAME.png. Each is predicted as vidsal eval does.
    """
    from vidsal.evaluate.sources import ModelSource
    from vidsal.evaluate.submission import write_submission

    share_cores()
    check_model(*chosen.named)
    dataset, _ = _open(given)
    source = ModelSource(chosen.load())
    with sequence_clock(given.name, quiet=given.quiet) as on_progress:
        report = write_submission(dataset, source, given.out, overwrite=given.overwrite, on_progress=on_progress)
    videos = f"; left out: {report.videos} videos, which vidsal run writes maps of" if report.videos else ""
    return _finish(given, report.broken, f"{report.written} maps{videos}", report.out)


@command(
    "draw the clips that training makes of stills, to look at",
    *_SET,
    flag(
        "--out", metavar="FILE", type=Path, default=Path("clips.png"), help="the picture to write (default: clips.png)"
    ),
    flag("--overwrite", help="replace the picture that is there"),
    flag("--time", help="print the CPU time a frame instead, write nothing"),
    options=SheetOptions,
)
def _clips(given: Any, wanted: SheetOptions) -> int:
    """Draw the clips that training makes of stills, to look at: a row for each clip. Every frame
    stands plain beside itself with its density and its fixations (green). A red frame is the
    first of another shot.
    """
    from vidsal.data.sheet import make_clips, write_sheet

    dataset, _ = _open(given)
    stills = [one for one in dataset.sequences if one.kind == "still" and (one.points or one.densities)]
    clips, seconds = make_clips(stills, wanted)
    if given.time:
        taken = sorted(1e3 * one for one in seconds)
        low, middle, high = (taken[round(share * (len(taken) - 1))] for share in (0.1, 0.5, 0.9))
        what = f"{wanted.clips} clips of {wanted.frames} frames at 240x320"
        print_out(f"{wanted.kind}: {what}, CPU milliseconds a frame:")
        print_out(f"mean {sum(taken) / len(taken):.1f}, median {middle:.1f}, 80 % from {low:.1f} to {high:.1f}")
        return 0
    write_sheet(clips, given.out, width=wanted.width, overwrite=given.overwrite)
    print_out(str(given.out))
    return 0


@command(
    "measure recorded drives: shares of the road ahead, left and right of it, and moments to look at",
    *_SET,
    flag("--out", metavar="DIR", type=Path, required=True, help="the folder for the tables"),
    flag("--camera-template", metavar="FILE", type=Path, help="areas in the car's frame, as for vidsal run"),
    flag(
        "--road-half-width",
        metavar="SHARE",
        type=float,
        default=DrivingOptions.road_half_width,
        help="as for vidsal run (default: %(default)s)",
    ),
    flag("--overwrite", help="replace tables that are there"),
)
@as_usage()
def _drives(given: Any) -> int:
    """Write the tables that vidsal run --report-driving makes, of the gaze that was recorded: DIR/driving.csv (a row a
    frame and area), driving-summary.csv, driving-moments.csv and driving-points.csv. For the videos of any layout.
    """
    from vidsal.data.drives import write_drives

    dataset, _ = _open(given)
    options = DrivingOptions(camera_template=given.camera_template, road_half_width=given.road_half_width)
    with sequence_clock(given.name, quiet=given.quiet) as on_progress:
        report = write_drives(dataset, given.out, options=options, overwrite=given.overwrite, on_progress=on_progress)
    points = f"a vanishing point in {report.found} of {report.shots} shots"
    made = (
        f"{report.frames} recorded frames of {report.sequences} videos; {report.unrecorded} without a record; {points}"
    )
    return _finish(given, report.broken, made, given.out)


DATA = Command(
    "check a data set on disk, or make densities of its fixations",
    "Data sets of recorded gaze, as their authors published them; docs/reference/layouts.md lists them.",
    actions={"check": _check, "clips": _clips, "density": _density, "drives": _drives, "submission": _submission},
)
"""`vidsal data`."""
