"""`vidsal eval` and `vidsal compare`: recorded gaze and a model in, scores and their differences out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from vidsal.cli.chosen import check_model, layout_options, sequence_clock
from vidsal.cli.output import print_out
from vidsal.cli.parser import Parser, as_usage, count
from vidsal.cli.process import Stop, share_cores
from vidsal.data.options import LayoutName
from vidsal.errors import Stopped
from vidsal.evaluate.options import EvalOptions

__all__ = ["compare_command", "compare_parser", "eval_command", "eval_parser"]


def eval_parser() -> Parser:
    """What `vidsal eval` understands."""
    parser = Parser(prog="vidsal eval", description=_EVAL_DESCRIPTION, options=EvalOptions)
    parser.add_argument("name", metavar="NAME", help=f"which layout: {', '.join(get_args(LayoutName))}")
    parser.add_argument("root", metavar="ROOT", type=Path, help="the folder the data set lies in")
    help_option = "an option of the layout, as weather=Rainy; may be given several times"
    parser.add_argument("--option", dest="data", metavar="KEY=VALUE", action="append", default=[], help=help_option)
    help_figures = "also draw the best, median and worst sequences, and the reliability of the density, to OUT/figures"
    parser.add_argument("--figures", action="store_true", help=help_figures)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr; errors stay")
    return parser


def eval_command(arguments: list[str]) -> int:
    """Arguments of `vidsal eval` in, tables on disk, the scores and the path of their summary on stdout out."""
    given, options = eval_parser().read(arguments, EvalOptions)
    name, quiet = given.name, given.quiet
    chosen = layout_options(name, given.data)
    if given.figures:
        from vidsal.evaluate.figures import check_matplotlib

        check_matplotlib()
    from vidsal.console import make_display, say
    from vidsal.evaluate.evaluation import EvalProgress, evaluate
    from vidsal.evaluate.results import format_summary

    share_cores()
    with Stop(quiet=quiet) as stop, make_display(name, unit="sequences", quiet=quiet) as display:

        def show(progress: EvalProgress) -> None:
            if progress.skipped is not None:
                display.say(f"vidsal: warning: {progress.name}: left out: {progress.skipped}")
            display.update(done=progress.done, total=progress.total, seconds=progress.seconds)

        try:
            with as_usage():
                if options.evaluation.maps is None:
                    check_model(options.model.model)
                result = evaluate(
                    name, given.root, options=options, data_options=chosen, on_progress=show, should_stop=stop
                )
        except (Stopped, KeyboardInterrupt):
            stop.note_interrupt()
            if not quiet:
                display.say("vidsal: stopped; the same command goes on from the sequences that are done")
            return stop.status
    if not quiet:
        for message in result.summary.messages:
            say(f"vidsal: warning: {message}")
    print_out(format_summary(result.summary))
    print_out(str(result.files[0]))
    for path in _draw_figures(result.out, options, quiet=quiet) if given.figures else ():
        print_out(str(path))
    lacking = result.summary.skipped or result.summary.partial
    return 1 if options.evaluation.strict and lacking else 0


def _draw_figures(out: Path, options: EvalOptions, *, quiet: bool) -> tuple[Path, ...]:
    from vidsal.evaluate.evaluation import open_source
    from vidsal.evaluate.gallery import draw_evaluation

    with sequence_clock("figures", quiet=quiet) as on_progress:
        return draw_evaluation(out, open_source(options), on_progress=on_progress)


_EVAL_DESCRIPTION = """\
Score a model, or maps made elsewhere, against recorded gaze: frame by frame through the
same pipe as vidsal run, under a stated protocol, beside baselines on the same frames.
Finished sequences are kept: the same command goes on where it stopped.
"""


def compare_parser() -> Parser:
    """What `vidsal compare` understands."""
    parser = Parser(prog="vidsal compare", description=_COMPARE_DESCRIPTION)
    parser.add_argument("first", metavar="A.json", type=Path, help="summary.json of vidsal eval, or its folder")
    parser.add_argument("second", metavar="B.json", type=Path, help="another")
    parser.add_argument("--force", action="store_true", help="compare results of different rules too, saying which")
    parser.add_argument("--draws", type=count, default=2000, metavar="N", help="resamples (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the resamples (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser


def compare_command(arguments: list[str]) -> int:
    """Arguments of `vidsal compare` in, differences with intervals on stdout out."""
    given = compare_parser().parse_args(arguments)
    from vidsal.evaluate.comparison import compare, format_comparison

    made = compare(given.first, given.second, force=given.force, draws=given.draws, seed=given.seed)
    print_out(json.dumps(made.as_dict()) if given.json else format_comparison(made))
    return 0


_COMPARE_DESCRIPTION = """\
Print by how much two results of vidsal eval differ, B less A, on the sequences that both
have, with 95 % intervals over paired resamples of the sequences.
"""
