"""`vidsal convert`: a finished table in, its shots and regions in the formats of other programs out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidsal.cli.parser import as_usage, check_choice, command, flag
from vidsal.cli.process import describe, print_error, print_out, say
from vidsal.errors import ExistsError
from vidsal.exports.options import EXPORTS

__all__ = ["convert_command"]


@command(
    "write a finished table for other programs: edit lists, timelines, chapters, annotations",
    flag("table", metavar="TABLE", type=Path, help="the table of a run: .csv, .jsonl or .parquet"),
    flag(
        "--to",
        required=True,
        metavar="KIND[,KIND]",
        help=f"what to write, several with commas between: {', '.join(EXPORTS)}",
    ),
    flag(
        "--source",
        metavar="VIDEO",
        help="the video that the table is about, for what NAME.vidsal.json beside the table does not say of it",
    ),
    flag(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="folder for the files, or the file itself where one kind is written; default: beside the table",
    ),
    flag("--overwrite", help="replace files that are there"),
    flag("-q", "--quiet", help="no notices on stderr; errors stay"),
    flag("--json", help="one JSON report on stdout instead of the paths"),
    usage="vidsal convert [options] --to KIND[,KIND] TABLE",
    epilog=(
        "exit status:\n"
        "  0    the files are written\n"
        "  1    the table cannot be read, or a file not written\n"
        "  2    wrong usage, or not enough is known of the source\n"
        "  3    a file is there already, and was not replaced\n"
    ),
)
def convert_command(given: Any) -> int:
    """Write what `vidsal run --export KIND` writes, from the table of a run that is done. The paths of the files
    go to stdout, all else to stderr.
    """
    from vidsal.pipe.convert import convert

    names = [name.strip() for name in given.to.split(",") if name.strip()]
    for name in names:
        check_choice(name, EXPORTS, "kind of export")
    kinds = [name for name in EXPORTS if name in names]
    try:
        with as_usage():
            made = convert(given.table, kinds, source=given.source, output=given.output, overwrite=given.overwrite)
    except ExistsError as error:
        print_error(describe(error))
        return 3
    for message in made.messages:
        say(f"vidsal: warning: {made.table.name}: {message}", quiet=given.quiet)
    if given.json:
        values = {"table": str(made.table), "files": [str(path) for path in made.files]}
        print_out(json.dumps({**values, "frames": made.frames, "messages": list(made.messages)}))
    else:
        print_out("".join(f"{path}\n" for path in made.files), end="")
    return 0
