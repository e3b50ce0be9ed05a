"""Makes tiny data sets that lie on disk exactly as the published ones do; every frame tells its own number.

The picture number k shows k (`media.read_number`), its density peaks at `spot(k)`, and viewers looked at `spot(k)`
and one pixel right of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from media import numbered_picture

HEIGHT, WIDTH = 48, 64


def spot(number: int, *, height: int = HEIGHT, width: int = WIDTH) -> tuple[int, int]:
    """(row, column) that picture number `number` is about; different for neighbours and far from the edges."""
    return height // 4 + 5 * number % (height // 2), width // 4 + 7 * number % (width // 2)


def picture(number: int, *, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    """(height, width, 3) RGB that shows `number`."""
    return numbered_picture(width, height)(number)


def density(number: int, *, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    """(height, width) map with its peak of 255 at `spot(number)`."""
    row, column = spot(number, height=height, width=width)
    y, x = np.mgrid[:height, :width]
    return np.round(255 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 3.0**2))).astype(np.uint8)


def fixation_map(number: int, *, height: int = HEIGHT, width: int = WIDTH, value: int = 255) -> npt.NDArray[np.uint8]:
    """(height, width) binary map with two points."""
    values = np.zeros((height, width), np.uint8)
    row, column = spot(number, height=height, width=width)
    values[row, column : column + 2] = value
    return values


def centres(number: int, *, height: int = HEIGHT, width: int = WIDTH) -> list[list[float]]:
    """The two points of `fixation_map`, x and y, as the centres of their pixels."""
    row, column = spot(number, height=height, width=width)
    return [[column + 0.5, row + 0.5], [column + 1.5, row + 0.5]]


def write(path: Path, values: npt.NDArray[np.uint8]) -> Path:
    """Writes an RGB or grey image, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = values[:, :, ::-1] if values.ndim == 3 else values
    if not cv2.imwrite(str(path), np.ascontiguousarray(bgr)):
        raise OSError(path)
    return path


def write_mat(path: Path, **variables: Any) -> Path:
    """Writes a MATLAB file, and its folder."""
    import scipy.io

    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, variables)
    return path


def cells(*values: Any) -> npt.NDArray[Any]:
    """A column of MATLAB cells."""
    column = np.empty((len(values), 1), object)
    for row, value in enumerate(values):
        column[row, 0] = value
    return column


# Folders of numbered files.


def make_dhf1k(
    root: Path,
    *,
    numbers: tuple[int, ...] = (1, 2, 601, 701),
    frames: int = 12,
    unrolled: bool = True,
    mat: bool = False,
) -> Path:
    """`annotation/0001/{images,maps,fixation}/0001.png`, without labels from 701 on; frames from 1.

    Args:
        root: where to.
        numbers: of the videos.
        frames: of each video; ten and more, so that names sort differently as text without zeros.
        unrolled: images/ as generate_frame.m writes them; else video/001.AVI.
        mat: only fixation/maps/0001.mat, no fixation/0001.png.
    """
    from media import make_video

    for video in numbers:
        folder = root / "annotation" / f"{video:04d}"
        for number in range(1, frames + 1):
            if unrolled:
                write(folder / "images" / f"{number:04d}.png", picture(number))
            if video > 700:
                continue
            write(folder / "maps" / f"{number:04d}.png", density(number))
            write_mat(folder / "fixation" / "maps" / f"{number:04d}.mat", I=fixation_map(number, value=1))
            if not mat:
                write(folder / "fixation" / f"{number:04d}.png", fixation_map(number))
        if not unrolled:
            (root / "video").mkdir(parents=True, exist_ok=True)
            make_video(
                root / "video" / f"{video:03d}.AVI",
                frames=frames,
                width=WIDTH,
                height=HEIGHT,
                rate=30,
                codec="mpeg4",
                picture=lambda i: picture(i + 1),
            )
    return root


def make_hollywood(root: Path, *, shots: dict[str, tuple[int, int]] | None = None) -> Path:
    """`{training,testing}/actionclip{train,test}00001_1/...`; file numbers go on through the parent clip.

    Args:
        root: where to.
        shots: folder name to (first number, frames).
    """
    shots = shots or {
        "actioncliptrain00001_1": (3, 4),
        "actioncliptest00001_1": (3, 3),
        "actioncliptest00001_2": (6, 5),
        "actioncliptest00001_10": (11, 2),
        "actioncliptest00002_1": (3, 1),
    }
    for name, (first, frames) in shots.items():
        part = "training" if "train" in name else "testing"
        clip = name.rpartition("_")[0]
        for number in range(first, first + frames):
            file = f"{clip}_{number:05d}.png"
            write(root / part / name / "images" / file, picture(number))
            write(root / part / name / "maps" / file, density(number))
            write(root / part / name / "fixation" / file, fixation_map(number))
    return root


def make_ucf_sports(root: Path, *, frames: int = 11) -> Path:
    """`{training,testing}/Diving-Side-001/{images,maps,fixation}/Diving-Side_001_001.png`."""
    for part, clip in (("training", "Diving-Side-001"), ("training", "Run-Side-010"), ("testing", "Run-Side-002")):
        action, _, take = clip.rpartition("-")
        for number in range(1, frames + 1):
            file = f"{action}_{take}_{number:03d}.png"
            write(root / part / clip / "images" / file, picture(number))
            write(root / part / clip / "maps" / file, density(number))
            write(root / part / clip / "fixation" / file, fixation_map(number))
    return root
