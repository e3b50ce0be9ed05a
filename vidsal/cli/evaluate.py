"""`vidsal eval`, `compare` and `compare-models`: recorded gaze and models in, scores and their differences out."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, get_args

from vidsal.cli.data import LAYOUT, layout_options, option_flag, sequence_clock
from vidsal.cli.parser import as_usage, check_model, command, count, flag
from vidsal.cli.process import Stop, print_error, print_out, say, share_cores
from vidsal.comparing.options import CompareModelsOptions, named
from vidsal.errors import Stopped
from vidsal.evaluate.options import EvalOptions, FigureFormat
from vidsal.pipe.options import ModelOptions

__all__ = ["compare_command", "compare_models_command", "eval_command"]


@command(
    "score a model, or maps made elsewhere, against recorded gaze",
    LAYOUT,
    flag("root", metavar="ROOT", type=Path, help="the folder the data set lies in"),
    option_flag("weather=Rainy"),
    flag(
        "--figures",
        help="also draw the best, median and worst sequences, and the reliability of the density, to OUT/figures",
    ),
    flag(
        "--figure-format",
        metavar="{" + ",".join(get_args(FigureFormat)) + "}",
        choices=get_args(FigureFormat),
        default="png",
        help="how --figures are written (default: png); vidsal figure draws further ones for a paper",
    ),
    flag("-q", "--quiet", help="no progress on stderr; errors stay"),
    options=EvalOptions,
)
def eval_command(given: Any, options: EvalOptions) -> int:
    """Score a model, or maps made elsewhere, against recorded gaze: frame by frame through the
    same pipe as vidsal run, under a stated protocol, beside baselines on the same frames.
    Finished sequences are kept: the same command goes on where it stopped.
    """
    name, quiet = given.name, given.quiet
    chosen = layout_options(name, given.options)
    if given.figures:
        from vidsal.evaluate.figures import check_matplotlib

        check_matplotlib()
    from vidsal.console import make_display
    from vidsal.evaluate.evaluation import EvalProgress, evaluate, open_source
    from vidsal.evaluate.results import format_summary

    share_cores()
    with Stop(quiet=quiet) as stop, make_display(name, unit="frames", quiet=quiet) as display:

        def show(progress: EvalProgress) -> None:
            if progress.skipped is not None:
                display.say(f"vidsal: warning: {progress.name}: left out: {progress.skipped}")
            before = progress.frames_resumed
            display.update(
                done=progress.frames - before,
                total=progress.frames_total - before,
                seconds=progress.seconds,
                detail=f"{progress.done} of {progress.total} sequences" if progress.total > 1 else "",
            )

        try:
            with as_usage():
                if options.evaluation.maps is None:
                    check_model(*options.model.named)
                result = evaluate(
                    name,
                    given.root,
                    options=options,
                    data_options=chosen,
                    on_progress=show,
                    on_frames=show,
                    should_stop=stop,
                )
        except (Stopped, KeyboardInterrupt):
            stop.note_interrupt()
            display.say("vidsal: stopped; the same command goes on from the sequences that are done")
            return stop.status
    for message in result.summary.messages:
        say(f"vidsal: warning: {message}", quiet=quiet)
    print_out(format_summary(result.summary))
    print_out(str(result.files[0]))
    if given.figures:
        from vidsal.evaluate.gallery import draw_evaluation

        with sequence_clock("figures", quiet=quiet) as on_progress:
            source = open_source(options)
            figures = draw_evaluation(result.out, source, form=given.figure_format, on_progress=on_progress)
        for path in figures:
            print_out(str(path))
    lacking = result.summary.skipped or result.summary.partial
    return 1 if options.evaluation.strict and lacking else 0


@command(
    "say by how much two results of eval differ, and how surely",
    flag("first", metavar="A.json", type=Path, help="summary.json of vidsal eval, or its folder"),
    flag("second", metavar="B.json", type=Path, help="another"),
    flag("--force", help="compare results of different rules too, saying which"),
    flag("--draws", type=count, default=2000, metavar="N", help="resamples (default: 2000)"),
    flag("--seed", type=int, default=0, metavar="N", help="of the resamples (default: 0)"),
    flag("--json", help="print one JSON object instead of a table"),
)
def compare_command(given: Any) -> int:
    """Print by how much two results of vidsal eval differ, B less A, on the sequences that both
    have, with 95 % intervals over paired resamples of the sequences, and of the participants
    where results have them; p is corrected for all metrics that are shown (Holm).
    """
    from vidsal.evaluate.comparison import compare, format_comparison

    made = compare(given.first, given.second, force=given.force, draws=given.draws, seed=given.seed)
    print_out(json.dumps(made.as_dict()) if given.json else format_comparison(made))
    return 0


@command(
    "score several models on one data set, and put them into one table",
    LAYOUT,
    flag("root", metavar="ROOT", type=Path, help="the folder the data set lies in"),
    flag(
        "models",
        nargs="*",
        metavar="MODEL",
        help="at least two: names of models (vidsal models), paths of checkpoints, or folders of maps that another "
        "program made; each perhaps with a name of its own, as mine=runs/a/best.safetensors",
    ),
    option_flag("weather=Rainy"),
    flag("-q", "--quiet", help="no progress on stderr; errors stay"),
    options=CompareModelsOptions,
)
def compare_models_command(given: Any, options: CompareModelsOptions) -> int:
    """Score several models by the same rules on the same frames of a data set, each as vidsal eval
    does, and write one table: every metric with its interval, differences from the best that are
    beyond chance (corrected for all pairs of models, each metric by itself: Holm), parameters,
    operations, CPU time and memory a frame. As a page, with figures, as Markdown and as JSON. The
    same command goes on where it stopped.
    """
    quiet = given.quiet
    chosen = layout_options(given.name, given.options)
    for word in given.models:
        _, model = named(word)
        if not Path(model).is_dir():
            check_model(*ModelOptions(model=model).named, path="the path of a checkpoint or of a folder of maps")
    from vidsal.comparing.run import ModelsProgress, compare_models
    from vidsal.console import Display, make_display
    from vidsal.evaluate.ranking import as_text

    share_cores()
    with Stop(quiet=quiet) as stop, contextlib.ExitStack() as shown:
        display, shows = Display(), ""

        def show(progress: ModelsProgress) -> None:
            nonlocal display, shows
            if progress.doing == "failed":
                print_error(f"{progress.name}: {progress.reason}")
                return
            if shows != progress.name:
                shown.close()
                display, shows = (
                    shown.enter_context(make_display(progress.name, unit="frames", quiet=quiet)),
                    progress.name,
                )
            place = f"{progress.place} of {progress.total}"
            made = progress.evaluation
            if progress.doing == "measuring":
                display.say(f"vidsal: {progress.name}: measuring what a frame costs")
            elif made is not None:
                if made.skipped is not None:
                    display.say(f"vidsal: warning: {progress.name}: {made.name}: left out: {made.skipped}")
                before = made.frames_resumed
                display.update(
                    done=made.frames - before, total=made.frames_total - before, seconds=made.seconds, detail=place
                )

        try:
            with as_usage():
                report = compare_models(
                    given.name,
                    given.root,
                    given.models,
                    options=options,
                    data_options=chosen,
                    on_progress=show,
                    should_stop=stop,
                )
        except (Stopped, KeyboardInterrupt):
            stop.note_interrupt()
            display.say("vidsal: stopped; the same command goes on from the sequences that are done")
            return stop.status
    print_out(as_text(report.ranking))
    for path in report.files:
        print_out(str(path))
    return 1 if report.ranking.failed or (options.scoring.strict and report.incomplete) else 0
