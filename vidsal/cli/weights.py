"""`vidsal weights`: published weights are fetched, imported, shown and checked."""

from __future__ import annotations

import signal
from pathlib import Path

from vidsal.cli.chosen import preset_card
from vidsal.cli.output import print_error, print_out
from vidsal.cli.parser import Command, Parser, as_usage, check_choice, count, group_parser, run_action
from vidsal.errors import CheckpointError

__all__ = ["WEIGHTS_ACTIONS", "weights_command", "weights_parser"]


def weights_parser() -> Parser:
    """What `vidsal weights` understands, up to its action."""
    return group_parser("vidsal weights", WEIGHTS_ACTIONS, description=_WEIGHTS_DESCRIPTION, epilog=_WEIGHTS_EPILOG)


def weights_command(arguments: list[str]) -> int:
    """Arguments of `vidsal weights` in: hands them to one of its actions."""
    return run_action(weights_parser(), WEIGHTS_ACTIONS, arguments)


_WEIGHTS_DESCRIPTION = """\
The published weights of SAM-ResNet and SAM-VGG (Cornia et al. 2018, MIT) are not part
of vidsal: fetch them, or import a file you have, once; then --model NAME finds them.
"""


_WEIGHTS_EPILOG = """\
The cache is the platform's own folder for vidsal, or the one VIDSAL_CACHE names.
"""


_PUBLISHED_NAMES = "sam-resnet, sam-resnet-2017 or sam-vgg"


def _list_parser() -> Parser:
    return Parser(prog="vidsal weights list", description="List the models, with where their weights are.")


def _list_weights(arguments: list[str]) -> int:
    _list_parser().parse_args(arguments)
    from vidsal.console import format_weights
    from vidsal.model.checkpoint import PRESETS, find_weights

    print_out(format_weights({name: find_weights(name) for name in PRESETS}))
    return 0


def _show_parser() -> Parser:
    parser = Parser(prog="vidsal weights show", description="Show the card of a model and the record of its weights.")
    parser.add_argument("model", metavar="MODEL", help="name of a model")
    return parser


def _show_weights(arguments: list[str]) -> int:
    name = _show_parser().parse_args(arguments).model
    _check_preset(name)
    print_out(preset_card(name))
    return 0


def _path_parser() -> Parser:
    parser = Parser(prog="vidsal weights path", description="Print where the weights of a model are.")
    parser.add_argument("model", metavar="MODEL", help="name of a model")
    return parser


def _weights_path(arguments: list[str]) -> int:
    name = _path_parser().parse_args(arguments).model
    _check_preset(name)
    from vidsal.model.checkpoint import find_weights, weights_path

    place = find_weights(name)
    if place.state == "absent":
        raise CheckpointError(f"{name} has no weights here; they would be {place.path}: vidsal weights fetch {name}")
    print_out(str(weights_path(name)))
    return 0


def _fetch_parser() -> Parser:
    parser = Parser(prog="vidsal weights fetch", description="Download published weights into the cache.")
    parser.add_argument("model", metavar="MODEL", help=_PUBLISHED_NAMES)
    parser.add_argument("--url", metavar="URL", help="another address of the same file: http://, https:// or file://")
    parser.add_argument("--overwrite", action="store_true", help="fetch again, and replace what is there")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no notices on stderr")
    return parser


def _fetch_weights(arguments: list[str]) -> int:
    given = _fetch_parser().parse_args(arguments)
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
    print_out(str(fetched.path))
    return 0


def _import_parser() -> Parser:
    parser = Parser(prog="vidsal weights import", description="Make a checkpoint of a published weight file.")
    parser.add_argument("file", metavar="FILE", type=Path, help="the file, as published (HDF5; its name ends in .pkl)")
    help_as = f"{_PUBLISHED_NAMES}; without it, by the layers and the file's name"
    parser.add_argument("--as", dest="name", metavar="MODEL", help=help_as)
    help_output = "checkpoint to write; without it, into the cache, where --model MODEL finds it"
    parser.add_argument("--output", "-o", metavar="PATH", type=Path, help=help_output)
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint that is there")
    parser.add_argument("-q", "--quiet", action="store_true", help="no notices on stderr")
    return parser


def _import_weights(arguments: list[str]) -> int:
    given = _import_parser().parse_args(arguments)
    if given.name is not None:
        _check_published(given.name)
    from vidsal.console import say
    from vidsal.model.release import import_weights

    made = import_weights(given.file, name=given.name, output=given.output, overwrite=given.overwrite)
    if not given.quiet:
        say(f"{given.file}: taken as {made.name}, {made.reason}")
    print_out(str(made.path))
    return 0


def _verify_parser() -> Parser:
    parser = Parser(prog="vidsal weights verify", description="Check the weights that are here against their records.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of models; without any, all that are here")
    return parser


def _verify_weights(arguments: list[str]) -> int:
    names = _verify_parser().parse_args(arguments).models
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
            print_error(str(error))
            status = 1
        else:
            print_out(f"{name}: whole ({path})")
    return status


def _average_parser() -> Parser:
    parser = Parser(prog="vidsal weights average", description=_AVERAGE_DESCRIPTION)
    parser.add_argument("checkpoints", nargs="+", metavar="FILE", type=Path, help="checkpoints of one architecture")
    parser.add_argument("--output", "-o", metavar="FILE", type=Path, required=True, help="the checkpoint to write")
    help_shares = "of each checkpoint in the mean (default: all alike)"
    parser.add_argument("--shares", nargs="+", metavar="X", type=float, help=help_shares)
    help_calibrate = "folders in the simple layout to find the temperature of the density on"
    parser.add_argument("--calibrate", nargs="+", metavar="ROOT", type=Path, default=[], help=help_calibrate)
    help_pictures = "training pictures of each of them (default: 80)"
    parser.add_argument("--pictures", metavar="N", type=count, default=80, help=help_pictures)
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint that is there")
    parser.add_argument("-q", "--quiet", action="store_true", help="no notices on stderr")
    return parser


def _average_weights(arguments: list[str]) -> int:
    given = _average_parser().parse_args(arguments)
    from vidsal.console import say
    from vidsal.train.average import average_checkpoints

    with as_usage():
        temperature = average_checkpoints(
            given.checkpoints,
            given.output,
            shares=given.shares,
            calibrate=given.calibrate,
            pictures=given.pictures,
            overwrite=given.overwrite,
            on_note=None if given.quiet else say,
        )
    if not given.quiet:
        say(f"{given.output.name}: the mean of {len(given.checkpoints)}, temperature {temperature:.2f}")
    print_out(str(given.output))
    return 0


_AVERAGE_DESCRIPTION = """\
Write the mean of the weights of checkpoints that went on from one another, often a better
model than each. With --calibrate, its density is made as sharp as viewers are.
"""


def _check_preset(name: str) -> None:
    from vidsal.model.checkpoint import PRESETS

    check_choice(name, list(PRESETS), "model")


def _check_published(name: str) -> None:
    from vidsal.model.release import PUBLISHED

    check_choice(name, list(PUBLISHED), "published weights of")


WEIGHTS_ACTIONS = {
    "list": Command(_list_weights, _list_parser, "the models, with where their weights are"),
    "show": Command(_show_weights, _show_parser, "the card of a model and the record of its weights"),
    "path": Command(_weights_path, _path_parser, "where the weights of a model are, on stdout"),
    "fetch": Command(_fetch_weights, _fetch_parser, "download published weights into the cache"),
    "import": Command(
        _import_weights, _import_parser, "make a checkpoint of a published file (HDF5 as Keras 1 wrote it)"
    ),
    "verify": Command(
        _verify_weights, _verify_parser, "compute each file's sha256 again and compare it with its record"
    ),
    "average": Command(_average_weights, _average_parser, "write the mean of the weights of several checkpoints"),
}
"""The actions of `vidsal weights`."""
