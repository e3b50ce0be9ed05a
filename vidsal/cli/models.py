"""`vidsal models`, `weights` and `export`: what models there are, where weights come from, an ONNX file of one."""

from __future__ import annotations

import signal
import textwrap
from pathlib import Path
from typing import Any, get_args

from vidsal.cli.parser import Command, as_usage, check_choice, check_model, command, count, flag
from vidsal.cli.process import Terminated, print_error, print_out, say
from vidsal.config import UsageError
from vidsal.errors import CheckpointError
from vidsal.stages import ExportOptions

__all__ = ["WEIGHTS", "export_command", "models_command"]

_MODEL = flag("model", metavar="MODEL", help="name of a model")
_PUBLISHED_NAMES = "sam-resnet, sam-resnet-2017 or sam-vgg"
_NO_NOTICES = flag("-q", "--quiet", help="no notices on stderr")
_REPLACE = flag("--overwrite", help="replace the checkpoint that is there")


@command(
    "list the models, or show the card of one",
    flag("model", nargs="?", metavar="MODEL", help="name of a preset, or path of a checkpoint"),
)
def models_command(given: Any) -> int:
    """List the models, or show what is known of one."""
    from vidsal.console import format_card
    from vidsal.model.checkpoint import (
        PRESETS,
        find_weights,
        is_baseline,
        load_model,
        model_names,
        read_any_checkpoint,
        read_checkpoint,
        weights_path,
    )
    from vidsal.model.networks.catalogue import describe
    from vidsal.model.options import BaselineName, NetworkName

    if given.model is not None and is_baseline(given.model):
        card = load_model(given.model).card
        print_out(f"{given.model}\n  {card.description}\n\n  limits\n    {card.limits[0]}")
        return 0
    if given.model in get_args(NetworkName):
        print_out(f"{given.model}\n  no weights here: vidsal train --preset {given.model}\n\n{describe(given.model)}")
        return 0
    if given.model in PRESETS:
        print_out(_preset_card(given.model))
        return 0
    if given.model is not None:
        check_model(given.model)
        network, _, card = read_any_checkpoint(weights_path(given.model))
        print_out(format_card(given.model, network.config, card))
        return 0
    width = max(map(len, model_names()))
    for name, preset in PRESETS.items():
        place, config = find_weights(name), preset.config
        state = f"no weights here: vidsal weights fetch {name}" if place.state == "absent" else place.state
        print_out(f"{name:<{width}}  {config.backbone}, {config.recurrent_channels} recurrent channels; {state}")
        if place.state == "embedded" and place.path.is_file():
            summary = read_checkpoint(place.path)[2].description
            print_out(textwrap.indent(textwrap.fill(summary, 80), " " * (width + 2)))
    for name in get_args(NetworkName):
        print_out(f"{name:<{width}}  no weights here: vidsal train --preset {name}")
    for name in get_args(BaselineName):
        print_out(f"{name:<{width}}  without weights: {load_model(name).card.description}")
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


@command("the models, with where their weights are")
def _list(given: Any) -> int:
    """List the models, with where their weights are."""
    from vidsal.console import format_weights
    from vidsal.model.checkpoint import PRESETS, find_weights

    print_out(format_weights({name: find_weights(name) for name in PRESETS}))
    return 0


@command("the card of a model and the record of its weights", _MODEL)
def _show(given: Any) -> int:
    """Show the card of a model and the record of its weights."""
    from vidsal.model.checkpoint import PRESETS

    check_choice(given.model, PRESETS, "model")
    print_out(_preset_card(given.model))
    return 0


@command("where the weights of a model are, on stdout", _MODEL)
def _path(given: Any) -> int:
    """Print where the weights of a model are."""
    from vidsal.model.checkpoint import PRESETS, find_weights, weights_path

    name = given.model
    check_choice(name, PRESETS, "model")
    place = find_weights(name)
    if place.state == "absent":
        raise CheckpointError(f"{name} has no weights here; they would be {place.path}: vidsal weights fetch {name}")
    print_out(str(weights_path(name)))
    return 0


@command(
    "download published weights into the cache",
    flag("model", metavar="MODEL", help=_PUBLISHED_NAMES),
    flag("--url", metavar="URL", help="another address of the same file: http://, https:// or file://"),
    flag("--overwrite", help="fetch again, and replace what is there"),
    flag("-q", "--quiet", help="no progress and no notices on stderr"),
)
def _fetch(given: Any) -> int:
    """Download published weights into the cache."""
    from vidsal.console import DownloadClock, make_display
    from vidsal.model.release import PUBLISHED, fetch_weights

    check_choice(given.model, PUBLISHED, "published weights of")
    with make_display(given.model, unit="MB", quiet=given.quiet) as display:
        clock = DownloadClock(display)
        try:
            fetched = fetch_weights(given.model, url=given.url, overwrite=given.overwrite, on_progress=clock)
        except KeyboardInterrupt as stop:
            display.say("vidsal: stopped; what has come is kept, the same command goes on from there")
            return stop.status if isinstance(stop, Terminated) else 128 + signal.SIGINT
        display.say(f"{fetched.name}: {fetched.reason}")
    print_out(str(fetched.path))
    return 0


@command(
    "make a checkpoint of a weight file as its authors published it",
    flag(
        "file",
        metavar="FILE",
        type=Path,
        help="the file: HDF5 (named .pkl) of SAM and ML-Net, .npz of SalGAN, .caffemodel of SalNet, and more",
    ),
    flag(
        "--as",
        dest="name",
        metavar="MODEL",
        help=f"{_PUBLISHED_NAMES}; without it, by the layers and the file's name; other systems have to be named",
    ),
    flag(
        *("--output", "-o"),
        metavar="PATH",
        type=Path,
        help="checkpoint to write; without it, into the cache, where --model MODEL finds it",
    ),
    flag(
        "--segmentation",
        metavar="FILE",
        type=Path,
        help="for dreyeve: the segmentation model (ONNX, 19 classes of Cityscapes) that its branch of classes sees; "
        "without it, that branch is left out",
    ),
    flag(
        "--centre-bias",
        metavar="FILE",
        type=Path,
        help="for deepgaze-1: its authors' centre bias (centerbias_mit1003.npy), or another log density; without it, "
        "Clarke and Tatler's Gaussian",
    ),
    _REPLACE,
    _NO_NOTICES,
)
def _import(given: Any) -> int:
    """Make a checkpoint of a published weight file."""
    from vidsal.model.baselines.published import FILTER_FILES, import_filters
    from vidsal.model.networks.published import IMPORTED, import_network
    from vidsal.model.release import PUBLISHED, import_weights

    if given.segmentation is not None and given.name != "dreyeve":
        raise UsageError("--segmentation is for --as dreyeve")
    if given.centre_bias is not None and given.name != "deepgaze-1":
        raise UsageError("--centre-bias is for --as deepgaze-1")
    if given.name in (*IMPORTED, *FILTER_FILES):
        if given.output is None:
            raise UsageError(f"weights of {given.name} are not kept in the cache: say with --output where they go")
        if given.name in FILTER_FILES:
            checkpoint = import_filters(given.file, name=given.name, output=given.output, overwrite=given.overwrite)
        else:
            checkpoint = import_network(
                given.file,
                name=given.name,
                output=given.output,
                segmentation=given.segmentation,
                centre_bias=given.centre_bias,
                overwrite=given.overwrite,
            )
        say(f"{given.file}: taken as {given.name}, as given", quiet=given.quiet)
        if given.name == "dreyeve" and given.segmentation is None:
            what = "the branch of classes is left out; to have it, name a model with --segmentation"
            say(f"vidsal: warning: {what}", quiet=given.quiet)
        if given.name == "deepgaze-1" and given.centre_bias is None:
            what = "Clarke and Tatler's centre bias takes the place of the authors', which --centre-bias names"
            say(f"vidsal: warning: {what}", quiet=given.quiet)
        print_out(str(checkpoint))
        return 0
    if given.name is not None:
        check_choice(given.name, [*PUBLISHED, *IMPORTED, *FILTER_FILES], "published weights of")
    try:
        made = import_weights(given.file, name=given.name, output=given.output, overwrite=given.overwrite)
    except CheckpointError as error:
        if given.name is not None:
            raise
        said = _said_without_name(given.file, error, where=given.output is not None)
        raise CheckpointError(said) from error
    say(f"{given.file}: taken as {made.name}, {made.reason}", quiet=given.quiet)
    print_out(str(made.path))
    return 0


def _said_without_name(file: Path, error: CheckpointError, *, where: bool) -> str:
    """What is said of a file that was read as one of SAM's, since nobody named another model, and is none."""
    from vidsal.model.baselines.published import FILTER_FILES
    from vidsal.model.networks.published import IMPORTED
    from vidsal.model.recognise import looks_like
    from vidsal.model.release import PUBLISHED

    if not file.is_file() or not file.stat().st_size:
        return str(error)
    try:
        like = looks_like(file)
    except CheckpointError:
        return str(error)
    if like is None:
        known = ", ".join([*PUBLISHED, *IMPORTED, *FILTER_FILES])
        return f"{error}; it was read as a file of SAM's, since --as names no other model: --as takes {known}"
    name, why = like
    if name == "SAM":
        return str(error)
    command = f"--as {name}" + ("" if where else " --output FILE.safetensors")
    return f"{file}: read as a file of SAM's, but it looks like one of {name} ({why}): use {command}"


@command(
    "compute each file's sha256 again and compare it with its record",
    flag("models", nargs="*", metavar="MODEL", help="names of models; without any, all that are here"),
)
def _verify(given: Any) -> int:
    """Check the weights that are here against their records."""
    from vidsal.model.checkpoint import PRESETS, find_weights, read_checkpoint, weights_path

    for name in given.models:
        check_choice(name, PRESETS, "model")
    status = 0
    for name in given.models or [name for name in PRESETS if find_weights(name).state != "absent"]:
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


@command(
    "write the mean of the weights of several checkpoints",
    flag("checkpoints", nargs="+", metavar="FILE", type=Path, help="checkpoints of one architecture"),
    flag("--output", "-o", metavar="FILE", type=Path, required=True, help="the checkpoint to write"),
    flag("--shares", nargs="+", metavar="X", type=float, help="of each checkpoint in the mean (default: all alike)"),
    flag(
        "--calibrate",
        nargs="+",
        metavar="ROOT",
        type=Path,
        default=[],
        help="folders in the simple layout to find the temperature of the density on",
    ),
    flag("--pictures", metavar="N", type=count, default=80, help="training pictures of each of them (default: 80)"),
    _REPLACE,
    _NO_NOTICES,
)
@as_usage()
def _average(given: Any) -> int:
    """Write the mean of the weights of checkpoints that went on from one another, often a better
    model than each. With --calibrate, its density is made as sharp as viewers are.
    """
    from vidsal.train.average import average_checkpoints

    temperature = average_checkpoints(
        given.checkpoints,
        given.output,
        shares=given.shares,
        calibrate=given.calibrate,
        pictures=given.pictures,
        overwrite=given.overwrite,
        on_note=lambda text: say(text, quiet=given.quiet),
    )
    mean = f"the mean of {len(given.checkpoints)}, temperature {temperature:.2f}"
    say(f"{given.output.name}: {mean}", quiet=given.quiet)
    print_out(str(given.output))
    return 0


@command(
    "write a checkpoint with the results of vidsal eval on its card",
    flag("checkpoint", metavar="FILE", type=Path, help="the checkpoint that was scored"),
    flag("summaries", nargs="+", metavar="RESULT", type=Path, help="results of vidsal eval, of one data set each"),
    flag("--output", "-o", metavar="FILE", type=Path, required=True, help="the checkpoint to write"),
    _REPLACE,
    _NO_NOTICES,
)
def _score(given: Any) -> int:
    """Write a checkpoint again with the results of `vidsal eval` on its card."""
    from vidsal.evaluate.cards import write_scores_to_card

    scores = write_scores_to_card(given.checkpoint, given.summaries, given.output, overwrite=given.overwrite)
    say(f"{given.output.name}: its card has scores on {', '.join(scores)}", quiet=given.quiet)
    print_out(str(given.output))
    return 0


WEIGHTS = Command(
    "fetch or import the published weights, show and check those here",
    "The published weights of SAM-ResNet and SAM-VGG (Cornia et al. 2018, MIT) are not part\n"
    "of vidsal: fetch them, or import a file you have, once; then --model NAME finds them.",
    epilog="The cache is the platform's own folder for vidsal, or the one VIDSAL_CACHE names.\n",
    actions={
        "list": _list,
        "show": _show,
        "path": _path,
        "fetch": _fetch,
        "import": _import,
        "verify": _verify,
        "average": _average,
        "score": _score,
    },
)
"""`vidsal weights`."""


@command(
    "write a model as an ONNX file, for other runtimes",
    flag("model", metavar="MODEL", help="name of a preset, or path of a checkpoint"),
    flag("--output", "-o", metavar="FILE", type=Path, required=True, help="the .onnx file to write"),
    _NO_NOTICES,
    options=ExportOptions,
)
@as_usage()
def export_command(given: Any, options: ExportOptions) -> int:
    """Write a model as an ONNX file for ONNX Runtime, OpenVINO and others. Its metadata hold the
    preprocessing and the card. docs/guide/export.md describes inputs and outputs, with an example.
    """
    from vidsal.export import export_model
    from vidsal.model.checkpoint import weights_path
    from vidsal.pipe.options import ModelOptions

    check_model(*(named := ModelOptions(given.model).named))
    # What is not there is said at once; of several models the export says that they are no network.
    model = weights_path(given.model) if len(named) == 1 else given.model
    report = export_model(
        model,
        given.output,
        options=options,
        on_begin=lambda: say(f"vidsal: exporting {given.model}; this takes up to a minute", quiet=given.quiet),
    )
    say(f"{report.path.name}: {report}", quiet=given.quiet)
    print_out(str(report.path))
    return 0
