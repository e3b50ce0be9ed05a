"""`vidsal bench`: a model in, how fast it is here out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidsal.bench.options import BenchOptions
from vidsal.cli.parser import as_usage, check_model, command, flag
from vidsal.cli.process import print_out, say, share_cores
from vidsal.errors import ConfigError
from vidsal.files import replacing

__all__ = ["bench_command"]


@command(
    "measure how fast a model is on this machine, stage by stage",
    flag("--json", type=Path, metavar="FILE", help="also write everything to this file, as JSON"),
    flag("-q", "--quiet", help="no notices on stderr"),
    options=BenchOptions,
)
@as_usage()
def bench_command(given: Any, options: BenchOptions) -> int:
    """Measure a model on this machine: every stage alone, the share of the measured matrix
    peak, memory, and `vidsal run` end to end. Needs no input and, for its speed, no weights.
    """
    from vidsal.bench import bench, format_bench

    share_cores()
    check_model(*options.model.named)
    target: Path | None = given.json
    if target is not None and not target.absolute().parent.is_dir():
        raise ConfigError(f"--json {target}: there is no folder {target.absolute().parent}; make it first")
    report = bench(options, on_note=lambda text: say(f"vidsal: {text}", quiet=given.quiet))
    print_out(format_bench(report))
    if target is not None:
        with replacing(target, remedy="choose another path") as partial:
            partial.write_text(json.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    return 0
