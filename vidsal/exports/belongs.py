"""A finished table and a video in, what speaks against that the one is about the other out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidsal.decode.contract import VideoInfo
from vidsal.decode.ordinals import frame_times
from vidsal.exports.tables import read_columns
from vidsal.words import counted

__all__ = ["differences_of"]

_NEAR_SECONDS = 0.002
"""By so much a time may differ in a copy of a video: containers round to milliseconds."""

_SAME_TIMES = 0.9
"""Share of the rows whose times must be those of frames: where a reader mended some, others are right."""

_PLACES = ("peak_x", "peak_y", "centroid_x", "centroid_y")


def differences_of(table: Path, info: VideoInfo) -> list[str]:
    """Why a table cannot be about a video: sentences, none where it can.

    Args:
        table: .csv, .jsonl or .parquet.
        info: the video. The packets of a file are counted; of others, only the header speaks.

    Raises:
        DatasetError: the table cannot be read.
    """
    parts = [dict(columns) for columns in read_columns(table, ["pts_seconds", *_PLACES])]
    if not parts:
        return []
    columns = {name: np.concatenate([part[name] for part in parts]) for name in ("pts_seconds", *_PLACES)}
    found = []
    # The centre of the first pixel is 0.
    right, bottom = (float(np.maximum(columns[f"peak_{axis}"], columns[f"centroid_{axis}"]).max()) for axis in "xy")
    if right > info.width - 0.5 or bottom > info.height - 0.5:
        place = f"{right:.0f}, {bottom:.0f}"
        found.append(f"its picture has {info.width}x{info.height} pixels, and the table says of one at {place}")
    times = frame_times(info.path) if info.kind == "video" and info.path is not None else None
    own = columns["pts_seconds"]
    rows = counted(len(own), "row")
    frames = info.frame_count if times is None else len(times)
    if frames is not None and frames < len(own):
        found.append(f"it has {counted(frames, 'frame')}, and the table {rows}")
    last = info.duration_seconds if times is None else float(times[-1])
    if last is not None and own[-1] > last + _NEAR_SECONDS:
        found.append(f"its last frame is shown at {last:.6g} s, and that of the table at {own[-1]:.6g} s")
    elif times is not None and not found:
        # Where a frame would have to stand to be the nearest one.
        after = np.searchsorted(times, own).clip(1, max(len(times) - 1, 1))
        nearest = np.minimum(np.abs(own - times[after - 1]), np.abs(own - times[after.clip(max=len(times) - 1)]))
        same = float((nearest <= _NEAR_SECONDS).mean())
        between = int(((times >= own[0] - _NEAR_SECONDS) & (times <= own[-1] + _NEAR_SECONDS)).sum())
        if same < _SAME_TIMES:
            found.append(f"its frames are shown at other times than {1 - same:.0%} of those of the table")
        elif len(own) < _SAME_TIMES * between:
            span = f"from {own[0]:.6g} to {own[-1]:.6g} s"
            found.append(f"{span} it shows {counted(between, 'frame')}, and the table has {rows}")
    return found
