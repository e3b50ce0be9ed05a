"""`vidsal data`: a data set in, what is there, densities of it, or a model's maps for it out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidsal import config as configuration
from vidsal.cli.chosen import check_model, layout_options, sequence_clock
from vidsal.cli.output import in_flags, print_error, print_out
from vidsal.cli.parser import Parser, check_choice, hyphenated
from vidsal.cli.process import share_cores
from vidsal.errors import ConfigError

if TYPE_CHECKING:
    from vidsal.data.layouts import Dataset

__all__ = ["data_command"]


def data_command(arguments: list[str]) -> int:
    """Arguments of `vidsal data` in: hands them to one of its actions."""
    actions = {"check": _check_data, "density": _make_densities, "submission": _make_submission}
    parser = Parser(prog="vidsal data", description=_DATA_DESCRIPTION, epilog=_DATA_EPILOG)
    parser.add_argument("action", metavar="ACTION", help=", ".join(actions))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the action: vidsal data ACTION --help")
    given = parser.parse_args(arguments)
    check_choice(given.action, list(actions), "action")
    return actions[given.action](given.arguments)


_DATA_DESCRIPTION = "Data sets of recorded gaze, as their authors published them; docs/reference/layouts.md lists them."


_DATA_EPILOG = """\
actions:
  check       print what is there: sequences, frames, sizes, labels, viewers, and what is broken
  density     write densities made of the recorded fixations, with a stated sigma
  submission  write a model's maps of stills, as benchmarks with withheld labels take them
"""


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    from vidsal.data.layouts import DATASETS

    parser.add_argument("name", metavar="NAME", help=f"which layout: {', '.join(DATASETS)}")
    parser.add_argument("root", metavar="ROOT", type=Path, help="the folder it lies in")
    parser.add_argument("--split", default="all", help="one of the layout's splits (default: all)")
    help_option = "an option of the layout, as condition=driver; may be given several times"
    parser.add_argument("--option", dest="options", metavar="KEY=VALUE", action="append", default=[], help=help_option)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")


def _open_data(name: str, root: Path, *, split: str, options: Sequence[str]) -> tuple[Dataset, dict[str, Any]]:
    """The data set that the arguments name, and the options of its layout that were given."""
    from vidsal.data.layouts import open_dataset

    chosen = layout_options(name, options)
    try:
        return open_dataset(name, root, split=split, **chosen), chosen
    except ConfigError as error:
        raise configuration.UsageError(str(error)) from error


def _check_data(arguments: list[str]) -> int:
    """Arguments of `vidsal data check` in, what was found on stdout out; 1 where something is broken."""
    description = "Print what is found of a data set. The exit status is 1 where a sequence is broken."
    parser = Parser(prog="vidsal data check", description=description)
    _add_data_arguments(parser)
    parser.add_argument("--full", action="store_true", help="read every frame, not only the first of each sequence")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    given = parser.parse_args(arguments)
    dataset, _ = _open_data(given.name, given.root, split=given.split, options=given.options)
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


def _make_densities(arguments: list[str]) -> int:
    """Arguments of `vidsal data density` in, maps on disk and the path of their record on stdout out."""
    from vidsal.data.densities import DensityStages, write_densities

    parser = Parser(prog="vidsal data density", description=_DENSITY_DESCRIPTION)
    _add_data_arguments(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace maps that an earlier call made there")
    configuration.add_flags(parser, DensityStages, aliases={})
    given = vars(parser.parse_args(hyphenated(arguments)))
    common = {key: given.pop(key) for key in ("name", "root", "split", "options", "quiet", "out", "overwrite")}
    if "sigma" not in given:
        parser.error("--sigma is missing: 20px, or 1deg with --pixels-per-degree")
    try:
        wanted = configuration.resolve(DensityStages, given).density
        dataset, chosen = _open_data(common["name"], common["root"], split=common["split"], options=common["options"])
        with sequence_clock(common["name"], quiet=common["quiet"]) as on_progress:
            report = write_densities(
                dataset,
                common["out"],
                options=wanted,
                layout_options=chosen,
                overwrite=common["overwrite"],
                on_progress=on_progress,
            )
    except configuration.UsageError:
        raise
    except ConfigError as error:
        raise configuration.UsageError(in_flags(str(error), DensityStages)) from error
    for message in report.broken:
        print_error(message)
    if not common["quiet"]:
        from vidsal.console import say

        say(
            f"{common['name']}: {report.written} maps, {report.empty} of them of frames without a fixation; "
            f"{report.unrecorded} frames have no record"
        )
    print_out(str(report.path))
    return 1 if report.broken else 0


_DENSITY_DESCRIPTION = """\
Write a density for every frame with recorded fixations: a Gaussian on each, cut at four
sigma. DIR/density.json says how they were made. Sigma is in pixels of the picture that
the fixations refer to, or in degrees of visual angle.
"""


def _make_submission(arguments: list[str]) -> int:
    """Arguments of `vidsal data submission` in, a map of every still on disk and their folder on stdout out."""
    from vidsal.evaluate.submission import SubmissionStages, write_submission

    parser = Parser(prog="vidsal data submission", description=_SUBMISSION_DESCRIPTION)
    _add_data_arguments(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace maps that are there")
    configuration.add_flags(parser, SubmissionStages, aliases={"model": "-m"})
    given = vars(parser.parse_args(hyphenated(arguments)))
    common = {key: given.pop(key) for key in ("name", "root", "split", "options", "quiet", "out", "overwrite")}
    share_cores()
    try:
        chosen = configuration.resolve(SubmissionStages, given).model
        check_model(chosen.model)
        dataset, _ = _open_data(common["name"], common["root"], split=common["split"], options=common["options"])
        from vidsal.evaluate import ModelSource

        source = ModelSource(chosen.load())
        with sequence_clock(common["name"], quiet=common["quiet"]) as on_progress:
            report = write_submission(
                dataset, source, common["out"], overwrite=common["overwrite"], on_progress=on_progress
            )
    except configuration.UsageError:
        raise
    except ConfigError as error:
        raise configuration.UsageError(in_flags(str(error), SubmissionStages)) from error
    for message in report.broken:
        print_error(message)
    if not common["quiet"]:
        from vidsal.console import say

        videos = f"; left out: {report.videos} videos, which vidsal run writes maps of" if report.videos else ""
        say(f"{common['name']}: {report.written} maps{videos}")
    print_out(str(report.out))
    return 1 if report.broken else 0


_SUBMISSION_DESCRIPTION = """\
Write a model's map of every still, as benchmarks with withheld labels take it: 8-bit grey,
as large as the picture, DIR/NAME.png. Each is predicted as vidsal eval does.
"""
