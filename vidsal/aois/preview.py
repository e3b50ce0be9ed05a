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
_CAPTION = 20
"""Rows below a frame that say which it is."""
_GREY = 32
"""Of the sheet."""


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
    height, width = drawn.shape[:2]
    size, edge = max(height, width) / 1200, thick + 1
    (across, down), below = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
    letters = np.zeros((down + below + 2 * edge, across + 2 * edge), np.uint8)
    cv2.putText(letters, name, (edge, edge + down), cv2.FONT_HERSHEY_SIMPLEX, size, (255,), thick, cv2.LINE_AA)
    # OpenCV 5 has two weights of letters only, so that thicker ones are no outline.
    outline = cv2.dilate(letters, np.ones((2 * thick + 1, 2 * thick + 1), np.uint8))
    middle = _place(shape, (height, width), (letters.shape[0], letters.shape[1]), shapely)
    if middle is None:
        return
    left = round(max(min(middle[0] - letters.shape[1] / 2, width - letters.shape[1]), 0))
    top = round(max(min(middle[1] - letters.shape[0] / 2, height - letters.shape[0]), 0))
    under = drawn[top : top + letters.shape[0], left : left + letters.shape[1]]
    for cover, paint in ((outline, (0, 0, 0)), (letters, colour)):
        share = cover[: under.shape[0], : under.shape[1], None] / 255.0
        under[:] = np.round(under * (1 - share) + np.array(paint) * share)


def _place(shape: Any, picture: tuple[int, int], text: tuple[int, int], shapely: Any) -> tuple[float, float] | None:
    """(x, y) of the middle of a text of some (height, width) that lies deep within an area; None where none is seen."""
    scale = min(1.0, _TILE / picture[1])
    rows, columns = (max(1, round(side * scale)) for side in picture)
    mask = np.zeros((rows + 2, columns + 2), np.uint8)
    for part in shapely.get_parts(shape):
        if shapely.get_dimensions(part) == 2:
            rings = [np.asarray(ring.coords)[:, :2] * scale - 0.5 for ring in (part.exterior, *part.interiors)]
            inside = np.zeros((rows, columns), np.uint8)
            cv2.fillPoly(inside, [np.round(ring).astype(np.int32) for ring in rings], (1,))
            mask[1:-1, 1:-1] |= inside
    if not mask.any():
        return None
    room = cv2.erode(
        mask,
        np.ones((max(1, round(text[0] * scale)), max(1, round(text[1] * scale))), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=(0,),
    )
    depth = cv2.distanceTransform(room if room.any() else mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Of a long area the deepest places are a line: its middle.
    deepest = np.argwhere(depth >= depth.max() - 0.5)
    y, x = deepest[np.square(deepest - deepest.mean(axis=0)).sum(axis=1).argmin()] - 0.5
    return float(x / scale), float(y / scale)


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
    sheet = np.full((rows * (height + 4), columns * (width + 4), 3), _GREY, np.uint8)
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
    small = np.full((height + _CAPTION, width, 3), _GREY, np.uint8)
    small[:height] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    place = (6, height + _CAPTION - 6)
    cv2.putText(small, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return small
