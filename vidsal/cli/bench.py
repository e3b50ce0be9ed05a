"""`vidsal bench`: a model in, how fast it is here out."""

from __future__ import annotations

import json
from pathlib import Path

from vidsal.bench.options import BenchOptions
from vidsal.cli.chosen import check_model
from vidsal.cli.output import print_out
from vidsal.cli.parser import Parser, as_usage
from vidsal.cli.process import share_cores
from vidsal.errors import ConfigError
from vidsal.files import replacing

__all__ = ["bench_command", "bench_parser"]


def bench_parser() -> Parser:
    """What `vidsal bench` understands."""
    parser = Parser(prog="vidsal bench", description=_BENCH_DESCRIPTION, options=BenchOptions)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to this file, as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no notices on stderr")
    return parser


def bench_command(arguments: list[str]) -> int:
    """Arguments of `vidsal bench` in, a table on stdout and a JSON report out."""
    given, options = bench_parser().read(arguments, BenchOptions)
    target: Path | None = given.json
    from vidsal.bench import bench, format_bench
    from vidsal.console import say

    share_cores()
    with as_usage():
        check_model(options.model.model)
        if target is not None and not target.absolute().parent.is_dir():
            raise ConfigError(f"--json {target}: there is no folder {target.absolute().parent}; make it first")
        report = bench(options, on_note=None if given.quiet else lambda text: say(f"vidsal: {text}"))
    print_out(format_bench(report))
    if target is not None:
        with replacing(target, remedy="choose another path") as partial:
            partial.write_text(json.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    return 0


_BENCH_DESCRIPTION = """\
Measure a model on this machine: every stage alone, the share of the measured matrix
peak, memory, and `vidsal run` end to end. Needs no input and, for its speed, no weights.
"""
