"""An export of Pupil Player (Pupil Core) in, a `Recording` out.

Columns as in Pupil Labs' documentation: gaze_positions.csv (gaze_timestamp, confidence, norm_pos_x, norm_pos_y),
fixations.csv (start_timestamp, duration in milliseconds, norm_pos_x, norm_pos_y, confidence), and those of a surface
(x_norm, y_norm, on_surf). Times are seconds of Pupil's clock, which the frames of the scene camera have too
(world_timestamps.csv). Positions are shares from the *lower* left corner, of the scene camera's picture or the surface.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidsal.gaze.makers.contract import Recording, open_sheet
from vidsal.gaze.options import GazeOptions

__all__ = ["SIGNS", "read"]

SIGNS = (r"norm_pos_x|x_norm", r"gaze_timestamp|timestamp|start_timestamp|world_timestamp")
"""Columns that only such a file has."""


def read(path: Path, options: GazeOptions, video: str) -> Recording:
    """Reads one file, see `vidsal.gaze.makers.contract.Reader`."""
    sheet = open_sheet(path)
    lasting = sheet.find("duration")
    timed = sheet.need("the time", "gaze_timestamp", "start_timestamp", "timestamp", "world_timestamp")
    surface = sheet.find("x_norm") is not None or sheet.find("on_surf") is not None
    x_name = sheet.need("the gaze", "x_norm", "norm_pos_x")
    y_name = sheet.need("the gaze", "y_norm", "norm_pos_y")
    if lasting is not None and (numbered := sheet.find("fixation_id")) is not None:
        # Those of a surface stand there once for every frame of the scene camera.
        first = np.zeros(len(sheet.rows), bool)
        first[np.unique(sheet.text(numbered), return_index=True)[1]] = True
        sheet = sheet.only(first)
    seconds, x, y = (sheet.numbers(name) for name in (timed, x_name, y_name))
    valid = np.isfinite(x) & np.isfinite(y)
    if (sure := sheet.find("confidence")) is not None:
        valid &= ~(sheet.numbers(sure) < options.min_confidence)
    if (on := sheet.find("on_surf")) is not None:
        valid &= np.array([value.lower() in ("true", "1") for value in sheet.text(on)], bool)
    size = sheet.find("diameter", "pupil_diameter")
    columns = {"time": timed, "x": x_name, "y": y_name} | ({} if lasting is None else {"duration": lasting})
    unknown = np.full(len(seconds), np.nan)
    return Recording(
        path=path,
        maker="pupil",
        kind="samples" if lasting is None else "fixations",
        line=sheet.line,
        columns=columns,
        seconds=seconds,
        duration=unknown if lasting is None else sheet.numbers(lasting) * 1e-3,
        x=x,
        y=y,
        valid=valid,
        pupil=unknown if size is None else sheet.numbers(size),
        unit="share",
        origin="bottom",
        space="screen" if surface else "video",
        zero="world",
        notes=["positions are shares from the lower left corner, as Pupil Core has them"]
        + (["they refer to a surface, which is taken for the screen"] if surface else []),
    )
