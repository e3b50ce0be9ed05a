"""`vidsal export`: a model in, an ONNX file out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidsal.cli.output import print_out, say
from vidsal.cli.parser import as_usage, check_model, command, flag
from vidsal.stages import ExportOptions

__all__ = ["export_command"]


@command(
    "write a model as an ONNX file, for other runtimes",
    flag("model", metavar="MODEL", help="name of a preset, or path of a checkpoint"),
    flag("--output", "-o", metavar="FILE", type=Path, required=True, help="the .onnx file to write"),
    flag("-q", "--quiet", help="no notices on stderr"),
    options=ExportOptions,
)
@as_usage()
def export_command(given: Any, options: ExportOptions) -> int:
    """Write a model as an ONNX file for ONNX Runtime, OpenVINO and others. Its metadata hold the
    preprocessing and the card. docs/guide/export.md describes inputs and outputs, with an example.
    """
    check_model(given.model)
    from vidsal.export import export_model

    say(f"vidsal: exporting {given.model}; this takes up to a minute", quiet=given.quiet)
    report = export_model(given.model, given.output, options=options)
    say(f"{report.path.name}: {report}", quiet=given.quiet)
    print_out(str(report.path))
    return 0
