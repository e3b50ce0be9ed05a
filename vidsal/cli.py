"""The command line's arguments in, files and an exit status out: parse, call, show.

Results and paths go to stdout, everything else to stderr. 0: done; 1: a file's fault; 2: bad usage or option values;
130 and 143: stopped by Ctrl-C and SIGTERM. Modules that import torch are imported by the command that needs them.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import json
import os
import re
import shlex
import shutil
import signal
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from vidsal import config as configuration
from vidsal.errors import CheckpointError, ConfigError, DecodeError, EncodeError, VidsalError

if TYPE_CHECKING:
    from vidsal.data.layouts import Dataset
    from vidsal.evaluate import EvalOptions
    from vidsal.model.checkpoint import SaliencyModel
    from vidsal.pipe.many import RunOutcome
    from vidsal.pipe.options import RunOptions
    from vidsal.pipe.run import Progress, RunReport
    from vidsal.train import TrainConfig

__all__ = ["main"]

_ALIASES = {"start_seconds": "--start", "end_seconds": "--end", "output": "-o", "model": "-m"}
_SIGPIPE_STATUS = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: what stands behind `vidsal`; None takes the process's own.

    Returns:
        The exit status.

    Raises:
        SystemExit: after --help, --version, bad usage and errors nobody foresaw.
    """
    try:
        try:
            status = _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        except SystemExit:
            # The text of --help and --version, too, goes out while an error can still be told.
            _print_out("", end="")
            raise
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does.
        _drop_stdout()
        return _SIGPIPE_STATUS
    except KeyboardInterrupt:
        _print_error("interrupted")
        return 128 + signal.SIGINT
    except configuration.UsageError as error:
        _print_error(str(error))
        return 2
    except VidsalError as error:
        _show_traceback(error)
        _print_error(str(error))
        return 1
    except Exception as error:
        _show_traceback(error)
        _print_error(_describe(error))
        raise SystemExit(1) from error
    return status


def _dispatch(arguments: list[str]) -> int:
    parser = _Parser(prog="vidsal", description="Predict where people look in video.", epilog=_EPILOG)
    parser.add_argument("-V", "--version", action=_Version)
    commands = {
        "run": _run_command,
        "train": _train_command,
        "models": _models_command,
        "weights": _weights_command,
        "bench": _bench_command,
        "export": _export_command,
        "data": _data_command,
        "eval": _eval_command,
        "compare": _compare_command,
    }
    parser.add_argument("command", metavar="COMMAND", help=", ".join(commands))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the command: vidsal COMMAND --help")
    given = parser.parse_args(arguments)
    if given.command not in commands:
        parser.error(_wrong_command(given.command, list(commands)))
    return commands[given.command](given.arguments)


def _wrong_command(word: str, commands: list[str]) -> str:
    if Path(word).suffix or "://" in word or Path(word).exists():
        return f"no command {word!r}; did you mean: vidsal run {shlex.quote(word)}"
    near = difflib.get_close_matches(word, commands, n=1)
    return f"no command {word!r}; " + (f"did you mean {near[0]}?" if near else f"choose from {', '.join(commands)}")


_EPILOG = """\
commands:
  run      write the video with the heatmap over it, and a table of numbers a frame
  train    train a model on stills and videos with recorded gaze
  models   list the models, or show the card of one
  weights  fetch or import the published weights, show and check those here
  bench    measure how fast a model is on this machine, stage by stage
  export   write a model as an ONNX file, for other runtimes
  eval     score a model, or maps made elsewhere, against recorded gaze
  compare  tell by how much two results of eval differ, and how surely
  data     check a data set on disk, or make densities of its fixations

vidsal COMMAND --help shows a command's options. With VIDSAL_DEBUG=1 errors come with their traceback.
"""


def _run_command(arguments: list[str]) -> int:
    """Arguments of `vidsal run` in, results on disk and on stdout out."""
    from vidsal.pipe.options import RunOptions

    parser = _Parser(prog="vidsal run", usage="vidsal run [options] INPUT [INPUT ...]", description=_RUN_DESCRIPTION)
    _add_run_arguments(parser)
    configuration.add_flags(parser, RunOptions, aliases=_ALIASES)
    given = vars(parser.parse_intermixed_args(_hyphenated(arguments)))
    common = {name: given.pop(name) for name in ("inputs", "config", "print_config", "quiet", "json", "streams")}
    file = configuration.read_file(common["config"], RunOptions) if common["config"] else {}
    from_file = configuration.resolve(RunOptions, file)
    try:
        options = configuration.resolve(RunOptions, file, given) if given else from_file
    except ConfigError as error:
        raise configuration.UsageError(_in_flags(str(error))) from error
    if common["print_config"]:
        _print_out(configuration.to_yaml(options), end="")
        return 0
    if not common["inputs"]:
        parser.error("no input given: name a video, an image, a folder, a camera's index, an address, or -")
    inputs = _without_results(common["inputs"], quiet=common["quiet"])
    _check_targets(inputs, options)
    _share_cores()
    with _Stop(quiet=common["quiet"]) as stop:
        chosen = options.model
        _check_model(chosen.model)
        try:
            model = chosen.load()
        except ConfigError as error:
            raise configuration.UsageError(_in_flags(str(error))) from error
        runs = _Runs(options, model, stop, quiet=common["quiet"], as_json=common["json"])
        return runs.work(inputs, streams=common["streams"])


_RUN_DESCRIPTION = """\
Write NAME.vidsal.mp4 (the heatmap over the picture, with the input's sound) and
NAME.vidsal.csv (a row of numbers a frame) beside each input. The paths written go
to stdout, all else to stderr.
"""


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="video file, image, folder of images, camera index, address (rtsp://, http://), or - for standard input",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file with options by name; flags win over it")
    parser.add_argument("--print-config", action="store_true", help="print the resolved options as YAML and stop")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no notices on stderr; errors stay")
    parser.add_argument("--json", action="store_true", help="one JSON report a line on stdout instead of the paths")
    parser.add_argument(
        "--streams",
        type=_count,
        default=1,
        metavar="N",
        help="inputs at once, side by side through the model; results are listed as they get done (default: 1)",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 up, got {text!r}")
    return int(text)


@dataclass
class _Runs:
    """Several inputs, one after another or side by side, through one model."""

    options: RunOptions
    model: SaliencyModel
    stop: _Stop
    quiet: bool
    as_json: bool
    failed: list[str] = field(default_factory=list)
    status: int = 0
    last: Progress | None = None

    def work(self, inputs: Sequence[str], *, streams: int = 1) -> int:
        from vidsal.console import say

        not_begun = self._side_by_side(inputs, streams) if min(streams, len(inputs)) > 1 else self._in_turn(inputs)
        if len(inputs) > 1 and self.failed and not self.quiet:
            say(f"vidsal: {len(self.failed)} of {len(inputs)} inputs failed: {', '.join(self.failed)}")
        if not_begun:
            self.stop.note_interrupt()
            if not self.quiet:
                say(f"vidsal: not begun: {', '.join(not_begun)}")
        if self.stop.status:
            return self.stop.status
        return self.status

    def _in_turn(self, inputs: Sequence[str]) -> Sequence[str]:
        """All inputs, until stopped; returns those not begun."""
        for place, text in enumerate(inputs):
            if self.stop():
                return inputs[place:]
            self._one(text)
        return ()

    def _side_by_side(self, inputs: Sequence[str], streams: int) -> Sequence[str]:
        """All inputs, `streams` at once; returns those not begun when it was stopped."""
        from vidsal.console import ManyClock, make_display
        from vidsal.pipe.many import run_many

        left = dict(enumerate(inputs))
        label = f"{len(inputs)} inputs"
        try:
            with make_display(label, unit="frames", quiet=self.quiet) as display:
                clock = ManyClock(display)
                outcomes = run_many(
                    [_source(text) for text in inputs],
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
                            self._tell(text, outcome)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            # The model's memory is that of all: none of them can go on.
            for text in left.values():
                self._fail(text, error)
            return ()
        return list(left.values())

    def _tell(self, text: str, outcome: RunOutcome) -> None:
        if outcome.report is not None:
            self._show(text, outcome.report)
        elif outcome.error is not None:
            self._fail(text, outcome.error)

    def _one(self, text: str) -> None:
        """One input; its errors are told and counted, the next input is tried all the same."""
        from vidsal.console import make_display
        from vidsal.pipe.run import run

        self.last = None
        try:
            with make_display(_label(text), unit="frames", quiet=self.quiet) as display:

                def show(progress: Progress) -> None:
                    self.last = progress
                    display.update(done=progress.frames, total=progress.total, seconds=progress.seconds)

                report = run(
                    _source(text), options=self.options, model=self.model, on_progress=show, should_stop=self.stop
                )
        except (VidsalError, MemoryError, RuntimeError) as error:
            if not isinstance(error, VidsalError) and not _is_out_of_memory(error):
                raise
            self._fail(text, error)
        else:
            self._show(text, report)

    def _fail(self, text: str, error: Exception) -> None:
        """Tell and count an error of one input."""
        _show_traceback(error)
        _print_error(_describe(error))
        self.failed.append(text)
        # Some options are only understood once the source is open.
        self.status = max(self.status, 2 if isinstance(error, ConfigError) else 1)
        if self.as_json:
            _print_out(json.dumps({"source": text, "error": _describe(error)}))

    def _show(self, text: str, report: RunReport) -> None:
        from vidsal.console import format_report, say

        if not self.quiet:
            for message in report.messages:
                say(f"vidsal: warning: {_label(text)}: {message}")
            if not report.interrupted:
                say(format_report(report, label=_label(text)))
        if report.interrupted:
            self.stop.note_interrupt()
            _print_stopped(report, self.last)
        if self.as_json:
            _print_out(json.dumps(report.as_dict()))
        elif not report.interrupted:
            for path in report.files:
                _print_out(str(path))


def _print_stopped(report: RunReport, last: Progress | None) -> None:
    """How far an interrupted run got, and where its results are."""
    of = f" of {last.total}" if last is not None and last.total is not None else ""
    at = f" ({last.pts_seconds:.2f} s into the video)" if last is not None else ""
    kept = f"partial results: {', '.join(map(str, report.files))}" if report.files else "nothing was kept"
    print(
        f"vidsal: stopped at frame {report.frames}{of}{at}; {kept}",
        file=sys.stderr,
        flush=True,
    )


def _train_command(arguments: list[str]) -> int:
    """Arguments of `vidsal train` in, a checkpoint on disk and its path on stdout out."""
    from vidsal.train import CardText, TrainConfig, train

    if not arguments:
        raise configuration.UsageError(
            "no configuration given: vidsal train CONFIG, a YAML file (vidsal train --help shows its options, "
            "docs/guide/train.md explains them)"
        )
    config, only_print = configuration.parse_nested(TrainConfig, _underscored(arguments), prog="vidsal train")
    if config.card.name == CardText().name and arguments and not arguments[0].startswith("-"):
        config = dataclasses.replace(config, card=dataclasses.replace(config.card, name=Path(arguments[0]).stem))
    if only_print:
        _print_out(configuration.to_yaml(config), end="")
        return 0
    from vidsal.console import TrainClock, make_display, say

    _share_cores(left=0)
    with make_display(config.card.name, unit="steps") as display:
        clock = TrainClock(display)
        try:
            path = train(config, on_progress=clock)
        except ConfigError as error:
            if len(arguments) == 1:  # all options are the file's
                raise
            raise configuration.UsageError(str(error)) from error
        except KeyboardInterrupt:
            display.say(f"vidsal: stopped at {clock.reached}; {_how_to_go_on(config)}")
            return 128 + signal.SIGINT
    say(f"{config.card.name}: trained")
    _print_out(str(path))
    return 0


def _how_to_go_on(config: TrainConfig) -> str:
    from vidsal.train import saved_state

    if saved_state(config.output).exists():
        return f"the same command goes on from the state last saved in {config.output}"
    return "no state had been saved yet, so the same command begins again"


def _models_command(arguments: list[str]) -> int:
    """Arguments of `vidsal models` in, the list of presets or one card on stdout out."""
    parser = _Parser(prog="vidsal models", description="List the models, or show what is known of one.")
    parser.add_argument("model", nargs="?", metavar="MODEL", help="name of a preset, or path of a checkpoint")
    wanted: str | None = parser.parse_args(arguments).model
    from vidsal.console import format_card
    from vidsal.model.checkpoint import PRESETS, find_weights, read_checkpoint

    if wanted is not None:
        _check_model(wanted)
    if wanted is None:
        width = max(map(len, PRESETS))
        for name, preset in PRESETS.items():
            place, config = find_weights(name), preset.config
            state = f"no weights here: vidsal weights fetch {name}" if place.state == "absent" else place.state
            _print_out(f"{name:<{width}}  {config.backbone}, {config.recurrent_channels} recurrent channels; {state}")
            if place.state == "embedded" and place.path.is_file():
                summary = read_checkpoint(place.path)[2].description
                _print_out(textwrap.indent(textwrap.fill(summary, 80), " " * (width + 2)))
        return 0
    if wanted in PRESETS:
        _print_out(_preset_card(wanted))
    else:
        network, _, card = read_checkpoint(Path(wanted))
        _print_out(format_card(wanted, network.config, card))
    return 0


def _preset_card(name: str) -> str:
    """The card of a preset, with what is known of its weights here."""
    from vidsal.console import format_card, format_record
    from vidsal.model.checkpoint import PRESETS, find_weights, read_checkpoint
    from vidsal.model.store import read_record

    place = find_weights(name)
    if place.state == "absent":
        return format_card(name, PRESETS[name].config, None)
    network, _, card = read_checkpoint(place.path)
    record = read_record(name) if place.state == "cached" else None
    return format_card(name, network.config, card, weights=format_record(place, record))


def _weights_command(arguments: list[str]) -> int:
    """Arguments of `vidsal weights` in: hands them to one of its actions."""
    actions = {
        "list": _list_weights,
        "show": _show_weights,
        "path": _weights_path,
        "fetch": _fetch_weights,
        "import": _import_weights,
        "verify": _verify_weights,
    }
    parser = _Parser(prog="vidsal weights", description=_WEIGHTS_DESCRIPTION, epilog=_WEIGHTS_EPILOG)
    parser.add_argument("action", metavar="ACTION", help=", ".join(actions))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the action: vidsal weights ACTION --help")
    given = parser.parse_args(arguments)
    if given.action not in actions:
        near = difflib.get_close_matches(given.action, actions, n=1)
        meant = f"did you mean {near[0]}?" if near else f"choose from {', '.join(actions)}"
        parser.error(f"no action {given.action!r}; {meant}")
    return actions[given.action](given.arguments)


_WEIGHTS_DESCRIPTION = """\
The published weights of SAM-ResNet and SAM-VGG (Cornia et al. 2018, MIT) are not part
of vidsal: fetch them, or import a file you have, once; then --model NAME finds them.
"""
_WEIGHTS_EPILOG = """\
actions:
  list     the models, with where their weights are
  show     the card of a model and the record of its weights
  path     where the weights of a model are, on stdout
  fetch    download published weights into the cache
  import   make a checkpoint of a published file (HDF5 as Keras 1 wrote it)
  verify   compute each file's sha256 again and compare it with its record

The cache is the platform's own folder for vidsal, or the one VIDSAL_CACHE names.
"""
_PUBLISHED_NAMES = "sam-resnet, sam-resnet-2017 or sam-vgg"


def _list_weights(arguments: list[str]) -> int:
    _Parser(prog="vidsal weights list", description="List the models, with where their weights are.").parse_args(
        arguments
    )
    from vidsal.console import format_weights
    from vidsal.model.checkpoint import PRESETS, find_weights

    _print_out(format_weights({name: find_weights(name) for name in PRESETS}))
    return 0


def _show_weights(arguments: list[str]) -> int:
    parser = _Parser(prog="vidsal weights show", description="Show the card of a model and the record of its weights.")
    parser.add_argument("model", metavar="MODEL", help="name of a model")
    name = parser.parse_args(arguments).model
    _check_preset(name)
    _print_out(_preset_card(name))
    return 0


def _weights_path(arguments: list[str]) -> int:
    parser = _Parser(prog="vidsal weights path", description="Print where the weights of a model are.")
    parser.add_argument("model", metavar="MODEL", help="name of a model")
    name = parser.parse_args(arguments).model
    _check_preset(name)
    from vidsal.model.checkpoint import find_weights, weights_path

    place = find_weights(name)
    if place.state == "absent":
        raise CheckpointError(f"{name} has no weights here; they would be {place.path}: vidsal weights fetch {name}")
    _print_out(str(weights_path(name)))
    return 0


def _fetch_weights(arguments: list[str]) -> int:
    parser = _Parser(prog="vidsal weights fetch", description="Download published weights into the cache.")
    parser.add_argument("model", metavar="MODEL", help=_PUBLISHED_NAMES)
    parser.add_argument("--url", metavar="URL", help="another address of the same file: http://, https:// or file://")
    parser.add_argument("--overwrite", action="store_true", help="fetch again, and replace what is there")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no notices on stderr")
    given = parser.parse_args(arguments)
    _check_published(given.model)
    from vidsal.console import DownloadClock, make_display
    from vidsal.model.release import fetch_weights

    with make_display(given.model, unit="MB", quiet=given.quiet) as display:
        try:
            fetched = fetch_weights(
                given.model, url=given.url, overwrite=given.overwrite, on_progress=DownloadClock(display)
            )
        except KeyboardInterrupt:
            display.say("vidsal: stopped; what has come is kept, the same command goes on from there")
            return 128 + signal.SIGINT
        display.say(f"{fetched.name}: {fetched.reason}")
    _print_out(str(fetched.path))
    return 0


def _import_weights(arguments: list[str]) -> int:
    parser = _Parser(prog="vidsal weights import", description="Make a checkpoint of a published weight file.")
    parser.add_argument("file", metavar="FILE", type=Path, help="the file, as published (HDF5; its name ends in .pkl)")
    help_as = f"{_PUBLISHED_NAMES}; without it, by the layers and the file's name"
    parser.add_argument("--as", dest="name", metavar="MODEL", help=help_as)
    help_output = "checkpoint to write; without it, into the cache, where --model MODEL finds it"
    parser.add_argument("--output", "-o", metavar="PATH", type=Path, help=help_output)
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint that is there")
    parser.add_argument("-q", "--quiet", action="store_true", help="no notices on stderr")
    given = parser.parse_args(arguments)
    if given.name is not None:
        _check_published(given.name)
    from vidsal.console import say
    from vidsal.model.release import import_weights

    made = import_weights(given.file, name=given.name, output=given.output, overwrite=given.overwrite)
    if not given.quiet:
        say(f"{given.file}: taken as {made.name}, {made.reason}")
    _print_out(str(made.path))
    return 0


def _verify_weights(arguments: list[str]) -> int:
    parser = _Parser(prog="vidsal weights verify", description="Check the weights that are here against their records.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of models; without any, all that are here")
    names = parser.parse_args(arguments).models
    for name in names:
        _check_preset(name)
    from vidsal.model.checkpoint import PRESETS, find_weights, read_checkpoint, weights_path

    status = 0
    for name in names or [name for name in PRESETS if find_weights(name).state != "absent"]:
        try:
            # What is embedded came with the package: there is no record, but it has to be whole.
            path = weights_path(name)
            read_checkpoint(path)
        except CheckpointError as error:
            _print_error(str(error))
            status = 1
        else:
            _print_out(f"{name}: whole ({path})")
    return status


def _bench_command(arguments: list[str]) -> int:
    """Arguments of `vidsal bench` in, a table on stdout and a JSON report out."""
    from vidsal.bench import BenchOptions, bench, format_bench

    parser = _Parser(prog="vidsal bench", description=_BENCH_DESCRIPTION)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to this file, as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no notices on stderr")
    configuration.add_flags(parser, BenchOptions, aliases={"model": "-m"})
    given = vars(parser.parse_args(_hyphenated(arguments)))
    target, quiet = given.pop("json"), given.pop("quiet")
    from vidsal.console import say

    _share_cores()
    try:
        options = configuration.resolve(BenchOptions, given)
        _check_model(options.model.model)
        if target is not None and not target.absolute().parent.is_dir():
            raise ConfigError(f"--json {target}: there is no folder {target.absolute().parent}; make it first")
        report = bench(options, on_note=None if quiet else lambda text: say(f"vidsal: {text}"))
    except ConfigError as error:
        raise configuration.UsageError(_in_flags(str(error), BenchOptions)) from error
    _print_out(format_bench(report))
    if target is not None:
        try:
            target.write_text(json.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise EncodeError(f"cannot write {target}: {error.strerror}; choose another path") from error
    return 0


_BENCH_DESCRIPTION = """\
Measure a model on this machine: every stage alone, the share of the measured matrix
peak, memory, and `vidsal run` end to end. Needs no input and, for its speed, no weights.
"""


def _export_command(arguments: list[str]) -> int:
    """Arguments of `vidsal export` in, an ONNX file on disk and its path on stdout out."""
    from vidsal.export import ExportStages, export_model

    parser = _Parser(prog="vidsal export", description=_EXPORT_DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="name of a preset, or path of a checkpoint")
    parser.add_argument("--output", "-o", metavar="FILE", type=Path, required=True, help="the .onnx file to write")
    parser.add_argument("-q", "--quiet", action="store_true", help="no notices on stderr")
    configuration.add_flags(parser, ExportStages, aliases={})
    given = vars(parser.parse_args(_hyphenated(arguments)))
    model, output, quiet = (given.pop(name) for name in ("model", "output", "quiet"))
    _check_model(model)
    from vidsal.console import say

    try:
        options = configuration.resolve(ExportStages, given).export
        if not quiet:
            say(f"vidsal: exporting {model}; this takes up to a minute")
        report = export_model(model, output, options=options)
    except ConfigError as error:
        raise configuration.UsageError(_in_flags(str(error))) from error
    if not quiet:
        say(f"{report.path.name}: {report}")
    _print_out(str(report.path))
    return 0


_EXPORT_DESCRIPTION = """\
Write a model as an ONNX file for ONNX Runtime, OpenVINO and others. Its metadata hold the
preprocessing and the card. docs/guide/export.md describes inputs and outputs, with an example.
"""


def _eval_command(arguments: list[str]) -> int:
    """Arguments of `vidsal eval` in, tables on disk, the scores and the path of their summary on stdout out."""
    from vidsal.data.layouts import DATASETS
    from vidsal.evaluate import EvalOptions, EvalProgress, evaluate, format_summary

    parser = _Parser(prog="vidsal eval", description=_EVAL_DESCRIPTION)
    parser.add_argument("name", metavar="NAME", help=f"which layout: {', '.join(DATASETS)}")
    parser.add_argument("root", metavar="ROOT", type=Path, help="the folder the data set lies in")
    help_option = "an option of the layout, as weather=Rainy; may be given several times"
    parser.add_argument("--option", dest="data", metavar="KEY=VALUE", action="append", default=[], help=help_option)
    help_figures = "also draw the best, median and worst sequences, and the reliability of the density, to OUT/figures"
    parser.add_argument("--figures", action="store_true", help=help_figures)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr; errors stay")
    configuration.add_flags(parser, EvalOptions, aliases={"model": "-m"})
    given = vars(parser.parse_args(_hyphenated(arguments)))
    name, root, data, quiet, figures = (given.pop(key) for key in ("name", "root", "data", "quiet", "figures"))
    chosen = _layout_options(name, data)
    if figures:
        from vidsal.evaluate.figures import check_matplotlib

        check_matplotlib()
    from vidsal.console import make_display, say

    _share_cores()
    with _Stop(quiet=quiet) as stop, make_display(name, unit="sequences", quiet=quiet) as display:

        def show(progress: EvalProgress) -> None:
            if progress.skipped is not None:
                display.say(f"vidsal: warning: {progress.name}: left out: {progress.skipped}")
            display.update(done=progress.done, total=progress.total, seconds=progress.seconds)

        try:
            options = configuration.resolve(EvalOptions, given)
            if options.evaluation.maps is None:
                _check_model(options.model.model)
            result = evaluate(name, root, options=options, data_options=chosen, on_progress=show, should_stop=stop)
        except ConfigError as error:
            raise configuration.UsageError(_in_flags(str(error), EvalOptions)) from error
        except KeyboardInterrupt:
            stop.note_interrupt()
            if not quiet:
                display.say("vidsal: stopped; the same command goes on from the sequences that are done")
            return stop.status
    if not quiet:
        for message in result.summary.messages:
            say(f"vidsal: warning: {message}")
    _print_out(format_summary(result.summary))
    _print_out(str(result.files[0]))
    for path in _draw_figures(result.out, options, quiet=quiet) if figures else ():
        _print_out(str(path))
    lacking = result.summary.skipped or result.summary.partial
    return 1 if options.evaluation.strict and lacking else 0


def _draw_figures(out: Path, options: EvalOptions, *, quiet: bool) -> tuple[Path, ...]:
    from vidsal.evaluate.evaluation import open_source
    from vidsal.evaluate.gallery import draw_evaluation

    with _sequence_clock("figures", quiet=quiet) as on_progress:
        return draw_evaluation(out, open_source(options), on_progress=on_progress)


_EVAL_DESCRIPTION = """\
Score a model, or maps made elsewhere, against recorded gaze: frame by frame through the
same pipe as vidsal run, under a stated protocol, beside baselines on the same frames.
Finished sequences are kept: the same command goes on where it stopped.
"""


def _compare_command(arguments: list[str]) -> int:
    """Arguments of `vidsal compare` in, differences with intervals on stdout out."""
    from vidsal.evaluate import compare, format_comparison

    parser = _Parser(prog="vidsal compare", description=_COMPARE_DESCRIPTION)
    parser.add_argument("first", metavar="A.json", type=Path, help="summary.json of vidsal eval, or its folder")
    parser.add_argument("second", metavar="B.json", type=Path, help="another")
    parser.add_argument("--force", action="store_true", help="compare results of different rules too, saying which")
    parser.add_argument("--draws", type=_count, default=2000, metavar="N", help="resamples (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the resamples (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    given = parser.parse_args(arguments)
    made = compare(given.first, given.second, force=given.force, draws=given.draws, seed=given.seed)
    _print_out(json.dumps(made.as_dict()) if given.json else format_comparison(made))
    return 0


_COMPARE_DESCRIPTION = """\
Print by how much two results of vidsal eval differ, B less A, on the sequences that both
have, with 95 % intervals over paired resamples of the sequences.
"""


def _data_command(arguments: list[str]) -> int:
    """Arguments of `vidsal data` in: hands them to one of its actions."""
    actions = {"check": _check_data, "density": _make_densities, "submission": _make_submission}
    parser = _Parser(prog="vidsal data", description=_DATA_DESCRIPTION, epilog=_DATA_EPILOG)
    parser.add_argument("action", metavar="ACTION", help=", ".join(actions))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the action: vidsal data ACTION --help")
    given = parser.parse_args(arguments)
    _check_choice(given.action, list(actions), "action")
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

    chosen = _layout_options(name, options)
    try:
        return open_dataset(name, root, split=split, **chosen), chosen
    except ConfigError as error:
        raise configuration.UsageError(str(error)) from error


def _layout_options(name: str, options: Sequence[str]) -> dict[str, Any]:
    """The options of a layout that stand as KEY=VALUE on the command line."""
    from vidsal.data.layouts import DATASETS

    _check_choice(name, list(DATASETS), "data set")
    layout = DATASETS[name]
    stages = dataclasses.make_dataclass("Stages", [("layout", layout.options)])
    known = {option.name: option for option in configuration.options_of(stages)}
    chosen: dict[str, Any] = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise configuration.UsageError(
                f"--option {text}: {name} knows {', '.join(f'{each}=' for each in known) or 'no options'}"
            )
        words = {str(word): word for word in known[key].choices}
        try:
            chosen[key] = known[key].convert(words.get(value, value))
        except ConfigError as error:
            raise configuration.UsageError(f"--option {text}: {error}") from error
    return chosen


def _check_data(arguments: list[str]) -> int:
    """Arguments of `vidsal data check` in, what was found on stdout out; 1 where something is broken."""
    description = "Print what is found of a data set. The exit status is 1 where a sequence is broken."
    parser = _Parser(prog="vidsal data check", description=description)
    _add_data_arguments(parser)
    parser.add_argument("--full", action="store_true", help="read every frame, not only the first of each sequence")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    given = parser.parse_args(arguments)
    dataset, _ = _open_data(given.name, given.root, split=given.split, options=given.options)
    from vidsal.data.check import check_dataset, format_facts

    with _sequence_clock(given.name, quiet=given.quiet) as on_progress:
        facts = check_dataset(dataset, full=given.full, on_progress=on_progress)
    _print_out(json.dumps(facts.as_dict()) if given.json else format_facts(facts))
    if facts.broken:
        # Which and why has been printed.
        from vidsal.evaluate.results import count_of

        count = len(facts.broken)
        _print_error(f"{count} of {count_of(len(dataset), 'sequence')} {'is' if count == 1 else 'are'} broken")
    return 1 if facts.broken else 0


def _make_densities(arguments: list[str]) -> int:
    """Arguments of `vidsal data density` in, maps on disk and the path of their record on stdout out."""
    from vidsal.data.densities import DensityStages, write_densities

    parser = _Parser(prog="vidsal data density", description=_DENSITY_DESCRIPTION)
    _add_data_arguments(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace maps that an earlier call made there")
    configuration.add_flags(parser, DensityStages, aliases={})
    given = vars(parser.parse_args(_hyphenated(arguments)))
    common = {key: given.pop(key) for key in ("name", "root", "split", "options", "quiet", "out", "overwrite")}
    if "sigma" not in given:
        parser.error("--sigma is missing: 20px, or 1deg with --pixels-per-degree")
    try:
        wanted = configuration.resolve(DensityStages, given).density
        dataset, chosen = _open_data(common["name"], common["root"], split=common["split"], options=common["options"])
        with _sequence_clock(common["name"], quiet=common["quiet"]) as on_progress:
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
        raise configuration.UsageError(_in_flags(str(error), DensityStages)) from error
    for message in report.broken:
        _print_error(message)
    if not common["quiet"]:
        from vidsal.console import say

        say(
            f"{common['name']}: {report.written} maps, {report.empty} of them of frames without a fixation; "
            f"{report.unrecorded} frames have no record"
        )
    _print_out(str(report.path))
    return 1 if report.broken else 0


_DENSITY_DESCRIPTION = """\
Write a density for every frame with recorded fixations: a Gaussian on each, cut at four
sigma. DIR/density.json says how they were made. Sigma is in pixels of the picture that
the fixations refer to, or in degrees of visual angle.
"""


def _make_submission(arguments: list[str]) -> int:
    """Arguments of `vidsal data submission` in, a map of every still on disk and their folder on stdout out."""
    from vidsal.evaluate.submission import SubmissionStages, write_submission

    parser = _Parser(prog="vidsal data submission", description=_SUBMISSION_DESCRIPTION)
    _add_data_arguments(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace maps that are there")
    configuration.add_flags(parser, SubmissionStages, aliases={"model": "-m"})
    given = vars(parser.parse_args(_hyphenated(arguments)))
    common = {key: given.pop(key) for key in ("name", "root", "split", "options", "quiet", "out", "overwrite")}
    _share_cores()
    try:
        chosen = configuration.resolve(SubmissionStages, given).model
        _check_model(chosen.model)
        dataset, _ = _open_data(common["name"], common["root"], split=common["split"], options=common["options"])
        from vidsal.evaluate import ModelSource

        source = ModelSource(chosen.load())
        with _sequence_clock(common["name"], quiet=common["quiet"]) as on_progress:
            report = write_submission(
                dataset, source, common["out"], overwrite=common["overwrite"], on_progress=on_progress
            )
    except configuration.UsageError:
        raise
    except ConfigError as error:
        raise configuration.UsageError(_in_flags(str(error), SubmissionStages)) from error
    for message in report.broken:
        _print_error(message)
    if not common["quiet"]:
        from vidsal.console import say

        videos = f"; left out: {report.videos} videos, which vidsal run writes maps of" if report.videos else ""
        say(f"{common['name']}: {report.written} maps{videos}")
    _print_out(str(report.out))
    return 1 if report.broken else 0


_SUBMISSION_DESCRIPTION = """\
Write a model's map of every still, as benchmarks with withheld labels take it: 8-bit grey,
as large as the picture, DIR/NAME.png. Each is predicted as vidsal eval does.
"""


@contextlib.contextmanager
def _sequence_clock(label: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Shows how many sequences are done."""
    from vidsal.console import make_display

    began = time.monotonic()
    with make_display(label, unit="sequences", quiet=quiet) as display:
        yield lambda done, total: display.update(done=done, total=total, seconds=time.monotonic() - began)


def _check_preset(name: str) -> None:
    from vidsal.model.checkpoint import PRESETS

    _check_choice(name, list(PRESETS), "model")


def _check_published(name: str) -> None:
    from vidsal.model.release import PUBLISHED

    _check_choice(name, list(PUBLISHED), "published weights of")


def _check_choice(name: str, known: list[str], what: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise configuration.UsageError(f"no {what} {name!r}: use one of {', '.join(known)}{meant}")


class _Parser(argparse.ArgumentParser):
    """One-line errors, with the nearest flag where one was mistyped; no abbreviations, so scripts stay valid."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **settings)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        given, unknown = self.parse_known_args(args, namespace)
        self._refuse(unknown)
        return given

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        given, unknown = self.parse_known_intermixed_args(args, namespace)
        self._refuse(unknown)
        return given

    def _refuse(self, unknown: list[str]) -> None:
        if unknown:
            flag = unknown[0].split("=")[0]
            near = difflib.get_close_matches(flag, self._option_string_actions, n=1)
            self.error(f"unknown option {flag}" + (f"; did you mean {near[0]}?" if near else ""))

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} ({self.prog} --help shows what is allowed)\n")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(100, shutil.get_terminal_size().columns) - 2)


class _Version(argparse.Action):
    """Prints the version; it is only looked up when asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print the version and stop")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        # The package itself stands below this file: it is not imported, but it is always there.
        _print_out(f"vidsal {sys.modules['vidsal'].__version__}")
        parser.exit()


class _Stop:
    """True from the first Ctrl-C or SIGTERM on; the second one acts at once."""

    def __init__(self, *, quiet: bool) -> None:
        self.status = 0
        self._number: int | None = None
        self._quiet = quiet
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self._number is not None

    def note_interrupt(self) -> None:
        """A run was cut short: that is the exit status, whatever the other inputs did."""
        self.status = 128 + (self._number or signal.SIGINT)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        if not self._quiet:
            # Straight to the descriptor: a handler may run in the middle of a print. The live line is wiped first.
            wipe = "\r\x1b[2K" if sys.stderr.isatty() else ""
            again = "; Ctrl-C again to stop at once" if number == signal.SIGINT else ""
            os.write(2, f"{wipe}vidsal: stopping after this batch{again}\n".encode())


def _check_model(name: str) -> None:
    """A word that is neither a preset nor a file is bad usage; a path without a file is the reader's to tell."""
    from vidsal.model.checkpoint import PRESETS

    if name not in PRESETS and Path(name).name == name and not Path(name).suffix and not Path(name).exists():
        near = difflib.get_close_matches(name, PRESETS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise configuration.UsageError(
            f"no model {name!r}: use one of {', '.join(PRESETS)}, or the path of a checkpoint{meant}"
        )


def _without_results(inputs: Sequence[str], *, quiet: bool) -> list[str]:
    """`vidsal run *.mp4` a second time means the same inputs; results named alone are meant as they are."""
    results = [text for text in inputs if ".vidsal." in Path(text).name and Path(text).is_file()]
    if not results or len(results) == len(inputs):
        return list(inputs)
    if not quiet:
        print(f"vidsal: left out, results of an earlier run: {', '.join(results)}", file=sys.stderr, flush=True)
    return [text for text in inputs if text not in results]


def _check_targets(inputs: Sequence[str], options: RunOptions) -> None:
    """No two inputs may write the same file: with --overwrite, the first one's results would be lost in silence."""
    wanted = options.output
    seen: dict[tuple[Path, str], str] = {}
    for text in inputs:
        path = Path(text)
        target = (wanted.output or path.absolute().parent, path.name if path.is_dir() else path.stem)
        if target in seen:
            raise configuration.UsageError(
                f"{seen[target]} and {text} would both write {target[1]}.vidsal.*: give each its own --output"
            )
        seen[target] = text
    for name in (wanted.table, wanted.maps):
        if name is not None and Path(name).suffix and len(inputs) > 1:
            raise configuration.UsageError(f"{len(inputs)} inputs cannot share {name}: give a format, not a path")


def _share_cores(*, left: int = 1) -> None:
    """`left` cores are left to decoding and encoding; what the user set is respected."""
    import cv2
    import torch

    from vidsal.prefetch import usable_cores

    cv2.setNumThreads(1)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() - left))


def _source(text: str) -> str | int:
    """Digits are a camera's index, unless there is a file of that name."""
    return int(text) if text.isdecimal() and not Path(text).exists() else text


def _label(text: str) -> str:
    return Path(text).name or text


def _hyphenated(arguments: Sequence[str]) -> list[str]:
    """--batch_size is --batch-size."""
    return _renamed(arguments, "_", "-")


def _underscored(arguments: Sequence[str]) -> list[str]:
    """--schedule.frames-per-step is --schedule.frames_per_step."""
    return _renamed(arguments, "-", "_")


def _renamed(arguments: Sequence[str], old: str, new: str) -> list[str]:
    renamed = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name.startswith("--") and len(name) > 2:
            name = "--" + name[2:].replace(old, new)
        renamed.append(name + equals + value)
    return renamed


def _is_out_of_memory(error: BaseException) -> bool:
    # torch has a class for CUDA only; on a CPU its allocator raises a plain RuntimeError.
    named = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and named)


def _describe(error: BaseException) -> str:
    """An error in one line."""
    if _is_out_of_memory(error):
        return "out of memory: try a smaller --batch-size, or --device cpu if it was the GPU's"
    if isinstance(error, (ConfigError, DecodeError)):
        return _in_flags(str(error))
    if isinstance(error, VidsalError):
        return str(error)
    text = " ".join(str(error).split())
    return (
        f"unexpected {type(error).__name__}: {text} (a bug: please report it with the traceback, which "
        "VIDSAL_DEBUG=1 shows)"
    )


def _print_out(text: str, end: str = "\n") -> None:
    """Print on stdout, at once: at interpreter exit an error could no longer be told.

    Raises:
        EncodeError: the disk it goes to is full, and the like.
        BrokenPipeError: whoever read it has gone.
    """
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_stdout()
        raise EncodeError(f"cannot write to standard output: {error.strerror}") from error


def _drop_stdout() -> None:
    """What is still buffered has to go somewhere, or the interpreter complains at its exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _in_flags(text: str, kind: type | None = None) -> str:
    """A stage's message about the options of `kind` (None: of a run), which it names as Python does, in flags.

    Example:
        >>> _in_flags("cut_threshold is 2; try 0.38, or detect_cuts=False")
        '--cut-threshold is 2; try 0.38, or --no-detect-cuts'
    """
    from vidsal.pipe.options import RunOptions

    # Words by themselves: no parts of paths, addresses or quotations.
    begin, end = r"(?<![^\s(])", r"(?![\w/'=-]|\.\w)"
    for option in configuration.options_of(kind or RunOptions):
        alias = _ALIASES.get(option.name, "")
        flag = alias if alias.startswith("--") else option.flag
        text = re.sub(f"{begin}{option.name}=False{end}", f"--no-{flag[2:]}", text)
        text = re.sub(rf"{begin}{option.name}=(?=\w)", f"{flag} ", text)
        if "_" in option.name:
            text = re.sub(f"{begin}{option.name}{end}", flag, text)
        else:
            # Also a word of the language: it is the option where it opens the message or is to be left out.
            text = re.sub(rf"(^|leave out ){option.name}(?= must | is | to |$)", rf"\1{flag}", text)
    return re.sub(f"{begin}None{end}", "none", text)


def _show_traceback(error: BaseException) -> None:
    """Print the traceback of an error if VIDSAL_DEBUG asks for it."""
    if os.environ.get("VIDSAL_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)


def _print_error(text: str) -> None:
    print(f"vidsal: error: {text}", file=sys.stderr, flush=True)
