"""`vidsal export`: a model in, an ONNX file out."""

from __future__ import annotations

from pathlib import Path

from vidsal.cli.chosen import check_model
from vidsal.cli.output import print_out
from vidsal.cli.parser import Parser, as_usage
from vidsal.stages import ExportOptions

__all__ = ["export_command", "export_parser"]


def export_parser() -> Parser:
    """What `vidsal export` understands."""
    parser = Parser(prog="vidsal export", description=_EXPORT_DESCRIPTION, options=ExportOptions)
    parser.add_argument("model", metavar="MODEL", help="name of a preset, or path of a checkpoint")
    parser.add_argument("--output", "-o", metavar="FILE", type=Path, required=True, help="the .onnx file to write")
    parser.add_argument("-q", "--quiet", action="store_true", help="no notices on stderr")
    return parser


def export_command(arguments: list[str]) -> int:
    """Arguments of `vidsal export` in, an ONNX file on disk and its path on stdout out."""
    given, options = export_parser().read(arguments, ExportOptions)
    check_model(given.model)
    from vidsal.console import say
    from vidsal.export import export_model

    with as_usage():
        if not given.quiet:
            say(f"vidsal: exporting {given.model}; this takes up to a minute")
        report = export_model(given.model, given.output, options=options)
    if not given.quiet:
        say(f"{report.path.name}: {report}")
    print_out(str(report.path))
    return 0


_EXPORT_DESCRIPTION = """\
Write a model as an ONNX file for ONNX Runtime, OpenVINO and others. Its metadata hold the
preprocessing and the card. docs/guide/export.md describes inputs and outputs, with an example.
"""
