"""A video and areas of interest in, a picture of frames with their outlines out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.aois.areas import Aois, Moment, load_shapely
from vidsal.aois.read import read_aois
from vidsal.decode import open_video
from vidsal.errors import ConfigError, DecodeError
from vidsal.files import check_free, note_other_video, replacing
from vidsal.render.palette import distinct_color
from vidsal.shots import CutDetector

__all__ = ["draw_aois", "write_preview"]

_RGB = npt.NDArray[np.uint8]
_SUFFIXES = (".png", ".jpg", ".jpeg")
_TILE = 480
"""Columns of a frame on the sheet."""


def draw_aois(picture: _RGB, aois: Aois, moment: Moment) -> _RGB:
    """Draws the outlines and names of the areas that are there.

    Args:
        picture: (H, W, 3) uint8 RGB, the whole upright picture at full size; it is left as it is.
        aois: the areas.
        moment: the frame.
    """
    shapely = load_shapely()
    drawn = picture.copy()
    thick = max(1, round(max(picture.shape[:2]) / 480))
    for number, (name, shape) in enumerate(aois.shapes(moment).items()):
        colour = distinct_color(number)
        for part in shapely.get_parts(shape):
            if shapely.get_dimensions(part) != 2:
                continue
            for ring in (part.exterior, *part.interiors):
                # Corners are counted from the picture's edge, pixels from their centres; 4 bits of fractions.
                points = np.round((np.asarray(ring.coords)[:, :2] - 0.5) * 16).astype(np.int32)
                cv2.polylines(drawn, [points], True, (0, 0, 0), thick + 2, cv2.LINE_AA, 4)
                cv2.polylines(drawn, [points], True, colour, thick, cv2.LINE_AA, 4)
        if not shapely.is_empty(shape):
            _write(drawn, name, shape, colour, thick, shapely)
    return drawn


def _write(drawn: _RGB, name: str, shape: Any, colour: tuple[int, int, int], thick: int, shapely: Any) -> None:
    left, top, _, _ = shapely.bounds(shape)
    size = max(drawn.shape[:2]) / 1200
    (across, down), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
    x = int(min(max(left + 4, 2), max(drawn.shape[1] - across - 2, 2)))
    y = int(min(max(top + down + 4, down + 2), drawn.shape[0] - 4))
    cv2.putText(drawn, name, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), thick + 2, cv2.LINE_AA)
    cv2.putText(drawn, name, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick, cv2.LINE_AA)


def write_preview(
    video: str | Path, aois: str | Path, to: Path, *, frames: int = 12, overwrite: bool = False
) -> list[str]:
    """Writes a sheet of frames with areas.

    Args:
        video: the video.
        aois: file of the areas.
        to: .png or .jpg.
        frames: how many, evenly spread.
        overwrite: replaces a picture that is there.

    Returns:
        Sentences for a person on areas that never lie in the picture, or that are called after another video.

    Raises:
        ConfigError: the picture's ending is another one.
        DatasetError: the areas cannot be read.
        DecodeError: the video cannot be read.
        EncodeError: the picture cannot be written.
        ExistsError: it is there already.
    """
    if to.suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"{to} must end in one of {', '.join(_SUFFIXES)}")
    check_free(to, overwrite=overwrite)
    with open_video(video, size=(90, 160), keep_pictures=True) as reader:
        info = reader.info
        areas = read_aois(aois, height=info.height, width=info.width)
        # Cuts are looked for only if areas go by shots.
        detector = CutDetector() if any(aoi.shots is not None for aoi in areas.aois) else None
        count = info.frame_count or 0
        wanted = {int((number + 0.5) * count / frames) for number in range(frames)} if count else set()
        kept: list[_RGB] = []
        shot = 0
        for batch in reader:
            cuts = (
                detector.update(batch.frames, batch.pts_seconds) if detector is not None else np.zeros(len(batch), bool)
            )
            for one, cut in zip(batch, cuts, strict=True):
                shot += bool(cut)
                index = int(one.index[0])
                if index in wanted or (not wanted and len(kept) < frames):
                    moment = Moment(seconds=float(one.pts_seconds[0]), frame=index, shot=shot)
                    drawn = draw_aois(one.pictures[0].rgb(), areas, moment)
                    kept.append(_small(drawn, f"{index}   {moment.seconds:.2f} s"))
    if not kept:
        raise DecodeError(f"{video}: no frame could be read")
    columns = max(1, math.ceil(math.sqrt(len(kept) * 0.75)))
    rows = math.ceil(len(kept) / columns)
    height, width = kept[0].shape[:2]
    sheet = np.full((rows * (height + 4), columns * (width + 4), 3), 32, np.uint8)
    for place, tile in enumerate(kept):
        y, x = (place // columns) * (height + 4), (place % columns) * (width + 4)
        sheet[y : y + height, x : x + width] = tile
    good, coded = cv2.imencode(to.suffix.lower(), np.ascontiguousarray(sheet[..., ::-1]))
    if not good:
        raise ConfigError(f"{to}: the picture could not be coded")
    with replacing(to) as partial:
        partial.write_bytes(coded.tobytes())
    return areas.outside(height=info.height, width=info.width) + note_other_video(Path(aois), str(video))


def _small(picture: _RGB, text: str) -> _RGB:
    width = min(_TILE, picture.shape[1])
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    small = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8).copy()
    for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(small, text, (6, height - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thick, cv2.LINE_AA)
    return small
