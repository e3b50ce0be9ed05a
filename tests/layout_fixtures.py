"""Makes tiny data sets that lie on disk exactly as the published ones do; every frame tells its own number.

The picture number k shows k (`media.read_number`), its density peaks at `spot(k)`, and viewers looked at `spot(k)`
and one pixel right of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from media import make_video, numbered_picture

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


# Driving.

DESIGN = """01\tEvening\tSunny\tCountryside\tD8\ttraining_set
02\tMorning\tCloudy\tHighway\tD2\ttraining_set
06\tMorning\tSunny\tDowntown\tD2\ttraining_set
36\tNight\tRainy\tDowntown\tD1\ttraining_set
38\tNight\tSunny\tDowntown\tD8\ttest_set
74\tMorning\tRainy\tCountryside\tD6\ttest_set
"""
"""Six of the lines of dr(eye)ve_design.txt."""


def as_rgb(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A grey map as a picture for a video."""
    return np.repeat(values[:, :, None], 3, axis=2)


def make_dreyeve(
    root: Path,
    *,
    runs: tuple[int, ...] = (1, 2, 38),
    frames: int = 12,
    unrolled: bool = False,
    first_frame: int = 0,
    first_map: int = 1,
    scout: bool = False,
) -> Path:
    """`NN/video_garmin.avi` and so on, with the three lists beside the runs. Picture k (from 0) shows k.

    Args:
        root: where to.
        runs: which of those in `DESIGN`.
        frames: of each run.
        unrolled: frames/, saliency_fix/ and saliency/ (where the map of frame k is that of k + 1) instead of videos.
        first_frame: number of the first file in frames/; the authors' own is 0.
        first_map: number of the first file in saliency_fix/ and saliency/; the authors' own is 1.
        scout: salmaps/ with RGBA maps 000001.png and so on, without the first and the fifth frame's.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "dr(eye)ve_design.txt").write_text(DESIGN)
    (root / "subsequences.txt").write_text("1\t3\t5\tk\n1\t9\t9\te\n38\t1\t2\ti\n")
    (root / "missing_gt.txt").write_text("01\t000004\n38\t000012\n")
    for run in runs:
        folder = root / f"{run:02d}"
        folder.mkdir()
        if unrolled:
            for k in range(frames):
                write(folder / "frames" / f"{first_frame + k:06d}.jpg", picture(k))
                write(folder / "saliency_fix" / f"{first_map + k:06d}.png", density(k))
                write(folder / "saliency" / f"{first_map + k:06d}.png", density(k + 1))
        else:
            kind: dict[str, Any] = {"frames": frames, "width": WIDTH, "height": HEIGHT, "rate": 25, "codec": "mpeg4"}
            make_video(folder / "video_garmin.avi", picture=picture, **kind)
            make_video(folder / "video_saliency.avi", picture=lambda k: as_rgb(density(k)), **kind)
        if scout:
            for k in set(range(1, frames)) - {4}:
                rgba = np.dstack([as_rgb(density(k)), np.full((HEIGHT, WIDTH), 255, np.uint8)])
                path = folder / "salmaps" / f"{k:06d}.png"
                path.parent.mkdir(exist_ok=True)
                cv2.imwrite(str(path), rgba)
    return root


ROAD = (72, 128)
"""Rows and columns of the made BDD-A road (there 720x1280)."""
GAZE = (96, 128)
"""Rows and columns of its gaze maps (there 768x1024), the middle 72 rows of which are the road."""


def make_bdda(root: Path, *, seconds: float = 1.0, parts: dict[str, tuple[int, ...]] | None = None) -> Path:
    """`{training,validation,test}/camera_videos/ID.mp4` at 30, `gazemap_videos/ID_pure_hm.mp4` at 29 frames a second.

    Road frame k shows k; the map that is nearest to it in time peaks at `spot(k)`, below a bar of 12 rows. The bars
    are bright, so that a wrong crop shows.
    """
    parts = parts or {"training": (1, 10, 9), "validation": (1738,), "test": (3,)}

    def gaze(number: int) -> npt.NDArray[np.uint8]:
        values = np.full((*GAZE, 3), 235, np.uint8)
        road_frame = round(number / 29 * 30)
        values[12:84] = as_rgb(density(road_frame, height=ROAD[0], width=ROAD[1]))
        return values

    for part, names in parts.items():
        for name in ("camera_videos", "gazemap_videos"):
            (root / part / name).mkdir(parents=True, exist_ok=True)
        for video in names:
            make_video(
                root / part / "camera_videos" / f"{video}.mp4",
                frames=round(30 * seconds),
                height=ROAD[0],
                width=ROAD[1],
                rate=30,
                picture=numbered_picture(ROAD[1], ROAD[0]),
            )
            make_video(
                root / part / "gazemap_videos" / f"{video}_pure_hm.mp4",
                frames=round(29 * seconds),
                height=GAZE[0],
                width=GAZE[1],
                rate=29,
                picture=gaze,
            )
    return root


# Challenges.


def make_challenge(
    root: Path, *, frames: int = 6, nested: bool = True, deep: Callable[[int], npt.NDArray[np.uint16]] | None = None
) -> Path:
    """`Videos/NAME.mp4`, `Saliency{Train,Test}/`, `Fixations{Train,Test}/` and `TrainTestSplit.json`.

    Args:
        root: where to.
        frames: of each video.
        nested: with the folder Train or Test inside that the archives bring along.
        deep: makes the luma, (height, width) of 10 bits, of each map; default: `density`, in 8 bits.
    """
    split = {"train": ["0003", "0001"], "public_test": ["0002"], "private_test": ["0004"]}
    (root / "Videos").mkdir(parents=True)
    (root / "TrainTestSplit.json").write_text(json.dumps(split))
    for part, names in (("Train", split["train"]), ("Test", split["public_test"])):
        inner = Path(part) if nested else Path()
        maps, lists = root / f"Saliency{part}" / inner, root / f"Fixations{part}" / inner
        maps.mkdir(parents=True)
        for name in names:
            kind: dict[str, Any] = {"frames": frames, "width": WIDTH, "height": HEIGHT, "rate": 30}
            if deep is None:
                make_video(maps / f"{name}.mp4", picture=lambda k: as_rgb(density(k)), **kind)
            else:
                _make_deep_video(maps / f"{name}.mp4", deep, frames)
            (lists / name).mkdir(parents=True)
            places = [[list(spot(k)), [spot(k)[0], spot(k)[1] + 1]] for k in range(frames)]
            (lists / name / "fixations.json").write_text(json.dumps(places))
    for name in ("0001", "0002", "0003", "0004"):
        make_video(
            root / "Videos" / f"{name}.mp4",
            frames=frames,
            width=2 * WIDTH,
            height=2 * HEIGHT,
            rate=30,
            picture=numbered_picture(2 * WIDTH, 2 * HEIGHT),
            audio_tracks=1,
        )
    return root


def _make_deep_video(path: Path, luma: Callable[[int], npt.NDArray[np.uint16]], frames: int) -> None:
    """Lossless 10-bit grey, as the challenges' maps are."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        for k in range(frames):
            values = np.full((HEIGHT * 3 // 2, WIDTH), 512, np.uint16)
            values[:HEIGHT] = luma(k)
            frame = av.VideoFrame.from_ndarray(values, format="yuv420p10le")
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
