"""`vidsal aoi`: areas of interest drawn to look at, and measured against recorded gaze."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidsal.cli.parser import Command, check_choice, command, count, flag
from vidsal.cli.process import print_out, say

__all__ = ["AOI"]

_AOIS = flag("--aois", required=True, type=Path, metavar="FILE", help="areas: .json, or .xml of CVAT for video 1.1")


@command(
    "draw areas of interest over frames of a video, to look at",
    flag("video", metavar="VIDEO", help="the video"),
    _AOIS,
    flag("--to", required=True, type=Path, metavar="FILE", help="the picture to write: .png or .jpg"),
    flag("--frames", type=count, default=12, metavar="N", help="frames, evenly spread over the video (default: 12)"),
    flag("--overwrite", help="replace a picture that is there"),
    usage="vidsal aoi preview [options] --aois FILE --to PICTURE VIDEO",
)
def _preview(given: Any) -> int:
    """Write a sheet of frames with the outlines and names of the areas that are there. What belongs to an area of a
    higher priority is taken off.
    """
    from vidsal.aois.preview import write_preview

    said = write_preview(given.video, given.aois, given.to, frames=given.frames, overwrite=given.overwrite)
    for message in said:
        say(f"vidsal: warning: {message}")
    print_out(str(given.to))
    return 0


@command(
    "measure what participants looked at: visits, dwell, transitions, and where the model is off",
    flag("gaze", metavar="GAZE", type=Path, help="the table of vidsal gaze import"),
    _AOIS,
    flag("--video", required=True, metavar="VIDEO", help="the video that was looked at"),
    flag(
        "--predicted",
        type=Path,
        metavar="FILE",
        help="NAME.vidsal.aois.csv of vidsal run --aois with the same areas: also compare with what was predicted",
    ),
    flag(
        "--trials",
        type=Path,
        metavar="FILE",
        help="a table with a column trial and others (weather, condition, ...) that go into the results",
    ),
    flag("--out", required=True, type=Path, metavar="DIR", help="the folder for the tables"),
    flag("--format", dest="form", default="csv", metavar="{csv,parquet}", help="of the tables (default: csv)"),
    flag("--overwrite", help="replace tables that are there"),
    flag("-q", "--quiet", help="no notices on stderr; errors stay"),
    usage="vidsal aoi measure [options] --aois FILE --video VIDEO --out DIR GAZE",
)
def _measure(given: Any) -> int:
    """Write DIR/visits.csv (a row a participant, viewing and area), transitions.csv, entropies.csv and groups.csv (by
    participant, trial and condition, with intervals); with --predicted also seconds.csv (predicted beside measured
    share, with intervals over participants) and agreement.csv. study.json says of what they are.
    """
    from vidsal.gaze.study import measure_study, write_study

    check_choice(given.form, ("csv", "parquet"), "format")
    study = measure_study(given.gaze, given.aois, given.video, predicted=given.predicted, trials=given.trials)
    for message in study.messages:
        say(f"vidsal: warning: {message}", quiet=given.quiet)
    for path in write_study(study, given.out, form=given.form, overwrite=given.overwrite):
        print_out(str(path))
    return 0


@command(
    "bring studies of several videos together: by participant, by trial and by condition",
    flag("studies", nargs="+", metavar="DIR", type=Path, help="folders that vidsal aoi measure wrote, one a video"),
    flag(
        "--trials",
        type=Path,
        metavar="FILE",
        help="a table with a column trial and others (weather, condition, ...) by which results are grouped",
    ),
    flag("--out", required=True, type=Path, metavar="DIR", help="the folder for the tables"),
    flag("--format", dest="form", default="csv", metavar="{csv,parquet}", help="of the tables (default: csv)"),
    flag("--overwrite", help="replace tables that are there"),
    usage="vidsal aoi pool [options] --out DIR STUDY [STUDY ...]",
)
def _pool(given: Any) -> int:
    """Write DIR/visits.csv (those of all studies) and DIR/groups.csv: dwell shares over all viewings, by participant,
    by trial, and by each column of --trials, with intervals over participants. Areas of one name are one area.
    """
    from vidsal.gaze.study import pool_studies, write_study

    check_choice(given.form, ("csv", "parquet"), "format")
    study = pool_studies(given.studies, trials=given.trials)
    for path in write_study(study, given.out, form=given.form, overwrite=given.overwrite):
        print_out(str(path))
    return 0


AOI = Command(
    "areas of interest: look at them, and measure recorded gaze by them",
    "Areas of interest. vidsal run --aois FILE writes the predicted share of each; these commands do the rest.",
    actions={"preview": _preview, "measure": _measure, "pool": _pool},
)
"""`vidsal aoi`."""
