"""`vidsal weights`: published weights are fetched, imported, shown and checked."""

from __future__ import annotations

import argparse
import difflib
import signal
from pathlib import Path

from vidsal.cli.chosen import preset_card
from vidsal.cli.output import print_error, print_out
from vidsal.cli.parser import Parser, check_choice
from vidsal.errors import CheckpointError

__all__ = ["weights_command"]


def weights_command(arguments: list[str]) -> int:
    """Arguments of `vidsal weights` in: hands them to one of its actions."""
    actions = {
        "list": _list_weights,
        "show": _show_weights,
        "path": _weights_path,
        "fetch": _fetch_weights,
        "import": _import_weights,
        "verify": _verify_weights,
    }
    parser = Parser(prog="vidsal weights", description=_WEIGHTS_DESCRIPTION, epilog=_WEIGHTS_EPILOG)
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
    Parser(prog="vidsal weights list", description="List the models, with where their weights are.").parse_args(
        arguments
    )
    from vidsal.console import format_weights
    from vidsal.model.checkpoint import PRESETS, find_weights

    print_out(format_weights({name: find_weights(name) for name in PRESETS}))
    return 0


def _show_weights(arguments: list[str]) -> int:
    parser = Parser(prog="vidsal weights show", description="Show the card of a model and the record of its weights.")
    parser.add_argument("model", metavar="MODEL", help="name of a model")
    name = parser.parse_args(arguments).model
    _check_preset(name)
    print_out(preset_card(name))
    return 0


def _weights_path(arguments: list[str]) -> int:
    parser = Parser(prog="vidsal weights path", description="Print where the weights of a model are.")
    parser.add_argument("model", metavar="MODEL", help="name of a model")
    name = parser.parse_args(arguments).model
    _check_preset(name)
    from vidsal.model.checkpoint import find_weights, weights_path

    place = find_weights(name)
    if place.state == "absent":
        raise CheckpointError(f"{name} has no weights here; they would be {place.path}: vidsal weights fetch {name}")
    print_out(str(weights_path(name)))
    return 0


def _fetch_weights(arguments: list[str]) -> int:
    parser = Parser(prog="vidsal weights fetch", description="Download published weights into the cache.")
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
    print_out(str(fetched.path))
    return 0


def _import_weights(arguments: list[str]) -> int:
    parser = Parser(prog="vidsal weights import", description="Make a checkpoint of a published weight file.")
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
    print_out(str(made.path))
    return 0


def _verify_weights(arguments: list[str]) -> int:
    parser = Parser(prog="vidsal weights verify", description="Check the weights that are here against their records.")
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
            print_error(str(error))
            status = 1
        else:
            print_out(f"{name}: whole ({path})")
    return status


def _check_preset(name: str) -> None:
    from vidsal.model.checkpoint import PRESETS

    check_choice(name, list(PRESETS), "model")


def _check_published(name: str) -> None:
    from vidsal.model.release import PUBLISHED

    check_choice(name, list(PUBLISHED), "published weights of")
