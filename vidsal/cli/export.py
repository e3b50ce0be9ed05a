"""`vidsal export`: a model in, an ONNX file out."""

from __future__ import annotations

from pathlib import Path

from vidsal import config as configuration
from vidsal.cli.chosen import check_model
from vidsal.cli.output import in_flags, print_out
from vidsal.cli.parser import Parser, hyphenated
from vidsal.errors import ConfigError

__all__ = ["export_command"]


def export_command(arguments: list[str]) -> int:
    """Arguments of `vidsal export` in, an ONNX file on disk and its path on stdout out."""
    from vidsal.export import ExportStages, export_model

    parser = Parser(prog="vidsal export", description=_EXPORT_DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="name of a preset, or path of a checkpoint")
    parser.add_argument("--output", "-o", metavar="FILE", type=Path, required=True, help="the .onnx file to write")
    parser.add_argument("-q", "--quiet", action="store_true", help="no notices on stderr")
    configuration.add_flags(parser, ExportStages, aliases={})
    given = vars(parser.parse_args(hyphenated(arguments)))
    model, output, quiet = (given.pop(name) for name in ("model", "output", "quiet"))
    check_model(model)
    from vidsal.console import say

    try:
        options = configuration.resolve(ExportStages, given).export
        if not quiet:
            say(f"vidsal: exporting {model}; this takes up to a minute")
        report = export_model(model, output, options=options)
    except ConfigError as error:
        raise configuration.UsageError(in_flags(str(error))) from error
    if not quiet:
        say(f"{report.path.name}: {report}")
    print_out(str(report.path))
    return 0


_EXPORT_DESCRIPTION = """\
Write a model as an ONNX file for ONNX Runtime, OpenVINO and others. Its metadata hold the
preprocessing and the card. docs/guide/export.md describes inputs and outputs, with an example.
"""
