"""`vidsal figure`: a finished result in, figures for a paper out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from vidsal.cli.parser import as_usage, check_choice, command, flag
from vidsal.cli.process import print_out
from vidsal.config import UsageError
from vidsal.evaluate.options import FigureKind, FigureOptions

__all__ = ["figure_command"]


@command(
    "draw figures for a paper from finished results",
    flag(
        "result",
        metavar="RESULT",
        type=Path,
        help="folder of vidsal eval or compare-models; or NAME.vidsal.aois.csv, seconds.csv of vidsal aoi measure, "
        "NAME.vidsal.maps.npz",
    ),
    flag(
        "--kind",
        metavar="KIND[,KIND]",
        help=f"what is drawn: {', '.join(get_args(FigureKind))} (default: all that the result has, but maps)",
    ),
    flag("--out", metavar="DIR", type=Path, help="folder for the figures (default: figures beside the result)"),
    flag("--overwrite", help="replace figures that are there"),
    options=FigureOptions,
)
def figure_command(given: Any, options: FigureOptions) -> int:
    """Draw figures for a paper from finished results, as PDF with embedded fonts, SVG or PNG, of a
    width in millimetres. Nothing is scored again.
    """
    names = [word.strip() for word in (given.kind or "").split(",") if word.strip()]
    if given.kind is not None and not names:
        raise UsageError(f"--kind is empty; choose from {', '.join(get_args(FigureKind))}")
    for name in names:
        check_choice(name, get_args(FigureKind), "kind of figure")
    from vidsal.evaluate.draw import draw_figures

    with as_usage():
        written = draw_figures(
            given.result,
            kinds=names,  # type: ignore[arg-type]
            out=given.out,
            options=options,
            overwrite=given.overwrite,
        )
    for path in written:
        print_out(str(path))
    return 0
