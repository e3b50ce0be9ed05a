"""`vidsal models`: the list of models, or the card of one."""

from __future__ import annotations

import textwrap
from pathlib import Path

from vidsal.cli.chosen import check_model, preset_card
from vidsal.cli.output import print_out
from vidsal.cli.parser import Parser

__all__ = ["models_command", "models_parser"]


def models_parser() -> Parser:
    """What `vidsal models` understands."""
    parser = Parser(prog="vidsal models", description="List the models, or show what is known of one.")
    parser.add_argument("model", nargs="?", metavar="MODEL", help="name of a preset, or path of a checkpoint")
    return parser


def models_command(arguments: list[str]) -> int:
    """Arguments of `vidsal models` in, the list of presets or one card on stdout out."""
    wanted: str | None = models_parser().parse_args(arguments).model
    from vidsal.console import format_card
    from vidsal.model.checkpoint import PRESETS, find_weights, read_checkpoint

    if wanted is not None:
        check_model(wanted)
    if wanted is None:
        width = max(map(len, PRESETS))
        for name, preset in PRESETS.items():
            place, config = find_weights(name), preset.config
            state = f"no weights here: vidsal weights fetch {name}" if place.state == "absent" else place.state
            print_out(f"{name:<{width}}  {config.backbone}, {config.recurrent_channels} recurrent channels; {state}")
            if place.state == "embedded" and place.path.is_file():
                summary = read_checkpoint(place.path)[2].description
                print_out(textwrap.indent(textwrap.fill(summary, 80), " " * (width + 2)))
        return 0
    if wanted in PRESETS:
        print_out(preset_card(wanted))
    else:
        network, _, card = read_checkpoint(Path(wanted))
        print_out(format_card(wanted, network.config, card))
    return 0
