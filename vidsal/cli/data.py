"""`vidsal data`: a data set in, what is there, densities of it, or a model's maps for it out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from vidsal.cli.chosen import check_model, layout_options, sequence_clock
from vidsal.cli.output import print_error, print_out
from vidsal.cli.parser import Command, Parser, as_usage, group_parser, run_action
from vidsal.cli.process import share_cores
from vidsal.data.options import DensityOptions, LayoutName
from vidsal.pipe.options import ModelOptions

if TYPE_CHECKING:
    from vidsal.data.layouts import Dataset

__all__ = ["DATA_ACTIONS", "data_command", "data_parser"]


def data_parser() -> Parser:
    """What `vidsal data` understands, up to its action."""
    return group_parser("vidsal data", DATA_ACTIONS, description=_DATA_DESCRIPTION)


def data_command(arguments: list[str]) -> int:
    """Arguments of `vidsal data` in: hands them to one of its actions."""
    return run_action(data_parser(), DATA_ACTIONS, arguments)


_DATA_DESCRIPTION = "Data sets of recorded gaze, as their authors published them; docs/reference/layouts.md lists them."


def _add_data_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help=f"which layout: {', '.join(get_args(LayoutName))}")
    parser.add_argument("root", metavar="ROOT", type=Path, help="the folder it lies in")
    parser.add_argument("--split", default="all", help="one of the layout's splits (default: all)")
    help_option = "an option of the layout, as condition=driver; may be given several times"
    parser.add_argument("--option", dest="options", metavar="KEY=VALUE", action="append", default=[], help=help_option)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")


def _open_data(given: Any) -> tuple[Dataset, dict[str, Any]]:
    """The data set that the arguments name, and the options of its layout that were given."""
    from vidsal.data.layouts import open_dataset

    chosen = layout_options(given.name, given.options)
    with as_usage():
        return open_dataset(given.name, given.root, split=given.split, **chosen), chosen


def _check_parser() -> Parser:
    description = "Print what is found of a data set. The exit status is 1 where a sequence is broken."
    parser = Parser(prog="vidsal data check", description=description)
    _add_data_arguments(parser)
    parser.add_argument("--full", action="store_true", help="read every frame, not only the first of each sequence")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    return parser


def _check_data(arguments: list[str]) -> int:
    """Arguments of `vidsal data check` in, what was found on stdout out; 1 where something is broken."""
    given = _check_parser().parse_args(arguments)
    dataset, _ = _open_data(given)
    from vidsal.data.check import check_dataset, format_facts

    with sequence_clock(given.name, quiet=given.quiet) as on_progress:
        facts = check_dataset(dataset, full=given.full, on_progress=on_progress)
    print_out(json.dumps(facts.as_dict()) if given.json else format_facts(facts))
    if facts.broken:
        # Which and why has been printed.
        from vidsal.evaluate.results import count_of

        count = len(facts.broken)
        print_error(f"{count} of {count_of(len(dataset), 'sequence')} {'is' if count == 1 else 'are'} broken")
    return 1 if facts.broken else 0


def _density_parser() -> Parser:
    parser = Parser(prog="vidsal data density", description=_DENSITY_DESCRIPTION, options=DensityOptions)
    _add_data_arguments(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace maps that an earlier call made there")
    return parser


def _make_densities(arguments: list[str]) -> int:
    """Arguments of `vidsal data density` in, maps on disk and the path of their record on stdout out."""
    given, wanted = _density_parser().read(arguments, DensityOptions)
    from vidsal.data.densities import write_densities

    with as_usage():
        dataset, chosen = _open_data(given)
        with sequence_clock(given.name, quiet=given.quiet) as on_progress:
            report = write_densities(
                dataset,
                given.out,
                options=wanted,
                layout_options=chosen,
                overwrite=given.overwrite,
                on_progress=on_progress,
            )
    for message in report.broken:
        print_error(message)
    if not given.quiet:
        from vidsal.console import say

        say(
            f"{given.name}: {report.written} maps, {report.empty} of them of frames without a fixation; "
            f"{report.unrecorded} frames have no record"
        )
    print_out(str(report.path))
    return 1 if report.broken else 0


_DENSITY_DESCRIPTION = """\
Write a density for every frame with recorded fixations: a Gaussian on each, cut at four
sigma. DIR/density.json says how they were made. Sigma is in pixels of the picture that
the fixations refer to, or in degrees of visual angle.
"""


def _submission_parser() -> Parser:
    parser = Parser(prog="vidsal data submission", description=_SUBMISSION_DESCRIPTION, options=ModelOptions)
    _add_data_arguments(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace maps that are there")
    return parser


def _make_submission(arguments: list[str]) -> int:
    """Arguments of `vidsal data submission` in, a map of every still on disk and their folder on stdout out."""
    given, chosen = _submission_parser().read(arguments, ModelOptions)
    from vidsal.evaluate.sources import ModelSource
    from vidsal.evaluate.submission import write_submission

    share_cores()
    with as_usage():
        check_model(chosen.model)
        dataset, _ = _open_data(given)
        source = ModelSource(chosen.load())
        with sequence_clock(given.name, quiet=given.quiet) as on_progress:
            report = write_submission(dataset, source, given.out, overwrite=given.overwrite, on_progress=on_progress)
    for message in report.broken:
        print_error(message)
    if not given.quiet:
        from vidsal.console import say

        videos = f"; left out: {report.videos} videos, which vidsal run writes maps of" if report.videos else ""
        say(f"{given.name}: {report.written} maps{videos}")
    print_out(str(report.out))
    return 1 if report.broken else 0


_SUBMISSION_DESCRIPTION = """\
Write a model's map of every still, as benchmarks with withheld labels take it: 8-bit grey,
as large as the picture, DIR/NAME.png. Each is predicted as vidsal eval does.
"""


def _clips_parser() -> Parser:
    from vidsal.data.options import SheetOptions

    parser = Parser(prog="vidsal data clips", description=_CLIPS_DESCRIPTION, options=SheetOptions)
    _add_data_arguments(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("clips.png"), help="the picture to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the picture that is there")
    parser.add_argument("--time", action="store_true", help="print the CPU time a frame instead, write nothing")
    return parser


def _show_clips(arguments: list[str]) -> int:
    """Arguments of `vidsal data clips` in, a picture on disk and its path on stdout out."""
    from vidsal.data.options import SheetOptions

    given, wanted = _clips_parser().read(arguments, SheetOptions)
    from vidsal.data.sheet import make_clips, write_sheet

    dataset, _ = _open_data(given)
    stills = [one for one in dataset.sequences if one.kind == "still" and (one.points or one.densities)]
    clips, seconds = make_clips(stills, wanted)
    if given.time:
        taken = sorted(1e3 * one for one in seconds)
        low, middle, high = (taken[round(share * (len(taken) - 1))] for share in (0.1, 0.5, 0.9))
        print_out(
            f"{wanted.kind}: {wanted.clips} clips of {wanted.frames} frames at 240x320, CPU milliseconds a frame:"
        )
        print_out(f"mean {sum(taken) / len(taken):.1f}, median {middle:.1f}, 80 % from {low:.1f} to {high:.1f}")
        return 0
    write_sheet(clips, given.out, width=wanted.width, overwrite=given.overwrite)
    print_out(str(given.out))
    return 0


_CLIPS_DESCRIPTION = """\
Draw the clips that training makes of stills, to look at: a row for each clip. Every frame
stands plain beside itself with its density and its fixations (green). A red frame is the
first of another shot.
"""

DATA_ACTIONS = {
    "check": Command(
        _check_data, _check_parser, "print what is there: sequences, frames, sizes, labels, viewers, and what is broken"
    ),
    "clips": Command(_show_clips, _clips_parser, "draw the clips that training makes of stills, to look at"),
    "density": Command(
        _make_densities, _density_parser, "write densities made of the recorded fixations, with a stated sigma"
    ),
    "submission": Command(
        _make_submission,
        _submission_parser,
        "write a model's maps of stills, as benchmarks with withheld labels take them",
    ),
}
"""The actions of `vidsal data`."""
