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


def make_crowdsal(root: Path, *, frames: int = 6) -> Path:
    """`{Train,Test}/{Videos,Saliency}/NAME.mp4`, `{Train,Test}/Fixations/NAME.json`, `{Train,Test}/metadata.jsonl`."""
    for part, names in (("Train", ("0003", "0001")), ("Test", ("0002",))):
        for folder in ("Videos", "Saliency", "Fixations"):
            (root / part / folder).mkdir(parents=True)
        for name in names:
            kind: dict[str, Any] = {"frames": frames, "rate": 30}
            numbers = numbered_picture(2 * WIDTH, 2 * HEIGHT)
            make_video(
                root / part / "Videos" / f"{name}.mp4", picture=numbers, width=2 * WIDTH, height=2 * HEIGHT, **kind
            )
            shown = {"width": WIDTH, "height": HEIGHT, "picture": lambda k: as_rgb(density(k))}
            make_video(root / part / "Saliency" / f"{name}.mp4", **kind | shown)
            places = [[list(spot(k)), [spot(k)[0], spot(k)[1] + 1]] for k in range(frames)]
            (root / part / "Fixations" / f"{name}.json").write_text(json.dumps(places))
        lines = [json.dumps({"file_name": f"Videos/{name}.mp4"}) for name in names]
        (root / part / "metadata.jsonl").write_text("\n".join(lines) + "\n")
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


# Stills.


def make_salicon(root: Path) -> Path:
    """`{images,maps,fixations}/{train,val,test}/COCO_train2014_000000000009.{jpg,png,mat}`; picture k is about k."""
    for part, numbers in (("train", (9, 10, 100)), ("val", (42,)), ("test", (7,))):
        for k in numbers:
            name = f"COCO_{part}2014_{k:012d}"
            write(root / "images" / part / f"{name}.jpg", picture(k))
            if part == "test":
                continue
            write(root / "maps" / part / f"{name}.png", density(k))
            row, column = spot(k)
            gaze = np.zeros((3, 1), [("location", object), ("timestamp", object), ("fixations", object)])
            first, second, nobody = gaze[:, 0]
            first["fixations"] = np.array([[column + 1, row + 1]], np.uint16)  # numbered from 1
            second["fixations"] = np.array([[column + 2, row + 1], [WIDTH + 9, 1]], np.uint16)  # the last beside it
            nobody["fixations"] = np.zeros((0, 0))
            for viewer in (first, second, nobody):
                viewer["location"] = np.array([[1, 1], [2, 1], [3, 1]], np.uint16)
                viewer["timestamp"] = np.arange(3.0)[:, None]
            resolution = np.array([[HEIGHT, WIDTH]], np.uint16)
            write_mat(root / "fixations" / part / f"{name}.mat", gaze=gaze, resolution=resolution, image=name)
    return root


def make_mit1003(root: Path, *, names: tuple[str, ...] = ("i05june05_static", "istatic_2", "istatic_10")) -> Path:
    """`ALLSTIMULI/NAME.jpeg`, `ALLFIXATIONMAPS/NAME_fixMap.jpg` and `NAME_fixPts.jpg`; the k-th picture is about k."""
    for k, name in enumerate(names):
        write(root / "ALLSTIMULI" / f"{name}.jpeg", picture(k))
        write(root / "ALLFIXATIONMAPS" / f"{name}_fixMap.jpg", density(k))
        write(root / "ALLFIXATIONMAPS" / f"{name}_fixPts.jpg", fixation_map(k))
    return root


def make_mit300(root: Path) -> Path:
    """`BenchmarkIMAGES/i1.jpg`, with the folder SM for results inside."""
    for k in (1, 2, 10):
        write(root / "BenchmarkIMAGES" / f"i{k}.jpg", picture(k))
    (root / "BenchmarkIMAGES" / "SM").mkdir()
    return root


def make_cat2000(root: Path) -> Path:
    """`trainSet/{Stimuli,FIXATIONMAPS,FIXATIONLOCS}/Action/001.{jpg,jpg,mat}`, `testSet/Stimuli/...`."""
    for category, numbers in (("Action", (1, 2, 10)), ("Pattern", (134,))):
        for k in numbers:
            write(root / "trainSet" / "Stimuli" / category / f"{k:03d}.jpg", picture(k))
            write(root / "trainSet" / "Stimuli" / category / "Output" / f"{k:03d}_output.jpg", picture(0))
            write(root / "trainSet" / "FIXATIONMAPS" / category / f"{k:03d}.jpg", density(k))
            write_mat(root / "trainSet" / "FIXATIONLOCS" / category / f"{k:03d}.mat", fixLocs=fixation_map(k, value=1))
            write(root / "testSet" / "Stimuli" / category / f"{k:03d}.jpg", picture(k + 1))
    return root


def turn_by_exif(path: Path) -> Path:
    """Adds a camera's tag to a JPEG file that says that it has to be turned by 90 degrees."""
    data = path.read_bytes()
    tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + data[2:])
    return path


def make_osie(root: Path) -> Path:
    """`data/stimuli/1001.jpg`, `data/eye/fixations.mat`; the first viewer saw one point, the second the other."""
    entries = []
    for k in (1001, 1002, 1010):
        write(root / "data" / "stimuli" / f"{k}.jpg", picture(k))
        (x, y), (x2, y2) = centres(k)
        viewers = [
            {"fix_x": np.array([[x]]), "fix_y": np.array([[y]]), "fix_duration": np.array([[210]])},
            {"fix_x": np.array([[x2, -5.0]]), "fix_y": np.array([[y2, 3.0]]), "fix_duration": np.array([[99, 120]])},
            {"fix_x": np.zeros((0, 0)), "fix_y": np.zeros((0, 0)), "fix_duration": np.zeros((0, 0))},
        ]
        entries.append({"img": f"{k}.jpg", "subjects": cells(*viewers)})
    write_mat(root / "data" / "eye" / "fixations.mat", fixations=cells(*reversed(entries)))
    return root


def make_toronto(root: Path, *, count: int = 11) -> Path:
    """`eyetrackingdata/fixdens/Original Image Set/1.jpg` and `origfixdata.mat`, a row of cells."""
    base = root / "eyetrackingdata" / "fixdens"
    for k in range(1, count + 1):
        write(base / "Original Image Set" / f"{k}.jpg", picture(k))
    write_mat(base / "origfixdata.mat", white=cells(*(fixation_map(k, value=1) for k in range(1, count + 1))).T)
    return root


def make_pascal_s(root: Path, *, count: int = 11) -> Path:
    """`datasets/imgs/pascal/1.jpg` and `datasets/fixations/pascalFix.mat`, MATLAB 7.3: row, column, viewer, from 1."""
    import h5py

    for k in range(1, count + 1):
        write(root / "datasets" / "imgs" / "pascal" / f"{k}.jpg", picture(k))
    (root / "datasets" / "fixations").mkdir()
    with h5py.File(root / "datasets" / "fixations" / "pascalFix.mat", "w") as file:
        references = []
        for k in range(1, count + 1):
            row, column = spot(k)
            table = np.array([[row + 1, column + 1, 1], [row + 1, column + 2, 4]], np.float64)
            references.append(file.create_dataset(f"#refs#/{k}", data=table.T).ref)
        cell = file.create_dataset("fixCell", (1, count), dtype=h5py.ref_dtype)
        cell[0, :] = references
    return root


def make_dut_omron(root: Path) -> Path:
    """`DUT-OMRON-image/NAME.jpg`, `DUT-OMRON-eye-fixations/mat/NAME.mat`: x, y, viewer; the size comes first."""
    for k, name in enumerate(("im005", "sun_aaa", "sun_b")):
        write(root / "DUT-OMRON-image" / f"{name}.jpg", picture(k))
        row, column = spot(k)
        table = np.array([[WIDTH, HEIGHT, 0], [column, row, 1], [column + 1, row, 3]], np.int32)
        write_mat(root / "DUT-OMRON-eye-fixations" / "mat" / f"{name}.mat", s=table)
    return root


def make_isun(root: Path) -> Path:
    """`images/NAME.jpg` and `training.mat`, `validation.mat`, `testing.mat`."""
    for part, names in (("training", ("sun_c", "sun_a")), ("validation", ("sun_b",)), ("testing", ("sun_d",))):
        fields = ["image", "resolution", *(["gaze"] if part != "testing" else [])]
        records = np.zeros((len(names), 1), [(name, object) for name in fields])
        for record, name in zip(records[:, 0], names, strict=True):
            k = ord(name[-1])
            write(root / "images" / f"{name}.jpg", picture(k))
            record["image"], record["resolution"] = name, np.array([[HEIGHT, WIDTH]])
            if part == "testing":
                continue
            gaze = np.zeros((1, 2), [("location", object), ("fixation", object)])
            for viewer, place in zip(gaze[0], centres(k), strict=True):
                viewer["location"] = viewer["fixation"] = np.array([place])
            record["gaze"] = gaze
        write_mat(root / f"{part}.mat", **{part: records})
    return root


# One's own data.


def make_simple(root: Path) -> Path:
    """`images/` with `fixations.csv`, `videos/` with `video_fixations.csv`; the stimuli are twice the stored pictures.

    In the videos a first viewer looks at `spot(k)` while frame k of 25 a second is shown, a second one at (3.5, 3.5)
    of the stored picture from 0.1 s for 80 ms.
    """
    rows = ["image,width,height,condition,subject,x,y,duration_ms"]
    for k in range(10):
        write(root / "images" / f"{k}.png", picture(k))
        for subject, (x, y) in zip(("anna", "bo"), centres(k), strict=True):
            rows.append(f"{k}.png,{2 * WIDTH},{2 * HEIGHT},{'free' if k % 2 else 'task'},{subject},{2 * x},{2 * y},200")
    rows.append(f"3.png,{2 * WIDTH},{2 * HEIGHT},free,anna,{2 * WIDTH},5,200")
    (root / "fixations.csv").write_text("\n".join(rows) + "\n")
    (root / "videos").mkdir()
    rows = ["video,width,height,subject,start_seconds,duration_ms,x,y"]
    for name in ("one.mp4", "two.mp4"):
        make_video(root / "videos" / name, frames=8, width=WIDTH, height=HEIGHT, rate=25, picture=picture)
        for k in range(8):
            (x, y), _ = centres(k)
            rows.append(f"{name},{2 * WIDTH},{2 * HEIGHT},anna,{k / 25:.3f},,{2 * x},{2 * y}")
        rows.append(f"{name},{2 * WIDTH},{2 * HEIGHT},bo,0.1,80,7,7")
    (root / "video_fixations.csv").write_text("\n".join(rows) + "\n")
    return root
