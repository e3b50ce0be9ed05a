"""A published set of still pictures in, a sequence of one frame for each picture out.

Sets that publish points only get a density made of them, Gaussians of `sigma` pixels; sets that publish maps keep
theirs.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.data.layouts import files
from vidsal.data.layouts.contract import (
    Attributes,
    CategoryAttributes,
    Dataset,
    Fixations,
    ForShown,
    LabelledSequence,
    Layout,
    NoOptions,
)
from vidsal.decode.images import IMAGE_SUFFIXES, natural_order
from vidsal.errors import DatasetError
from vidsal.files import replacing
from vidsal.options import Checked, Range

__all__ = ["LAYOUTS", "PointsOptions", "SaliconOptions", "still", "submission_path", "write_submission_map"]

T = TypeVar("T")

_JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True, kw_only=True)
class PointsOptions(Checked):
    """What can be chosen of a set that publishes points only."""

    sigma: Annotated[float, Range(above=0)] | None = None
    """Standard deviation, in pixels, of the Gaussians that make the density; None: 3 % of the longer side, about one
    degree on the usual screens."""


@dataclass(frozen=True, kw_only=True)
class SaliconOptions(Checked):
    """What can be chosen of SALICON."""

    points: Literal["fixations", "location"] = "fixations"
    """fixations: those found in the mouse's track; location: every sample of the track."""


def still(
    path: Path,
    *,
    name: str | None = None,
    split: str = "all",
    attributes: Attributes | None = None,
    density: Callable[[], npt.NDArray[np.float32] | None] | None = None,
    fixations: Callable[[], Fixations | None] | None = None,
    upright: bool = False,
) -> LabelledSequence:
    """A sequence of one picture; `name` None: the file's without its ending."""
    return LabelledSequence(
        name=path.stem if name is None else name,
        split=split,
        kind="still",
        attributes=attributes,
        pictures=files.ImagePictures(lambda: (path,), upright=upright),
        densities=None if density is None else ForShown(lambda _: density()),
        points=None if fixations is None else ForShown(lambda _: fixations()),
    )


def _pictures(folder: Path, what: str, suffixes: tuple[str, ...] = _JPEG) -> tuple[Path, ...]:
    found = files.list_files(files.need_folder(folder, what), suffixes=suffixes)
    if not found:
        raise DatasetError(f"{folder} holds no {what}; copy or unpack it again")
    return found


def _labels(
    pictures: tuple[Path, ...], folder: Path, what: str, suffixes: tuple[str, ...] = _JPEG, *, ending: str = ""
) -> tuple[Path, ...]:
    """The file of each picture in a folder of labels; `what` one of them is."""
    return files.match(pictures, files.by_stem(_pictures(folder, f"{what}s", suffixes), ending), what, folder)


def _field(record: Any, name: str, where: Path) -> Any:
    """A field of a MATLAB struct, or of the struct in a cell."""
    record = np.asarray(record)
    while record.dtype == object and record.size == 1:
        record = np.asarray(record.ravel()[0])
    if record.dtype.names is None or name not in record.dtype.names:
        raise DatasetError(f"{where}: expected a struct with the field {name}; is it a file of this data set?")
    value = record[name]
    return value.ravel()[0] if record.size == 1 else value


def _text(value: Any) -> str:
    return str(np.asarray(value).ravel()[0])


def _gather(tracks: list[npt.NDArray[Any]], *, height: int, width: int) -> Fixations:
    """Points of several viewers, one (N, 2) of x and y each, as one set with the viewers numbered from 0."""
    points = np.concatenate([np.zeros((0, 2), np.float32), *(np.asarray(track, np.float32) for track in tracks)])
    viewers = np.repeat(np.arange(len(tracks)), [len(track) for track in tracks])
    return Fixations.on_picture(points, height=height, width=width, viewers=viewers)


def _two_columns(values: Any) -> npt.NDArray[np.float32]:
    """The first two columns; MATLAB writes no points as 0x0."""
    table: npt.NDArray[np.float32] = np.asarray(values, np.float32)
    return table.reshape(-1, 2) if table.size == 0 else table[:, :2]


# SALICON.

_SALICON_PARTS = ("train", "val", "test")


def _open_salicon(root: Path, split: str, options: SaliconOptions) -> Dataset:
    sequences = []
    for part in _SALICON_PARTS if split == "all" else (split,):
        pictures = _pictures(root / "images" / part, "pictures COCO_train2014_000000000009.jpg and so on")
        if part == "test":
            sequences += [still(picture, split=part) for picture in pictures]
            continue
        maps = _labels(pictures, root / "maps" / part, "map", (".png",))
        points = _labels(pictures, root / "fixations" / part, "fixation file", (".mat",))
        sequences += [
            still(
                picture,
                split=part,
                density=partial(files.read_density, density),
                fixations=partial(_salicon_points, fixations, options.points),
            )
            for picture, density, fixations in zip(pictures, maps, points, strict=True)
        ]
    published = {"train": 10000, "val": 5000, "test": 5000, "all": 20000}[split]
    return Dataset("salicon", root, split, tuple(sequences), published=published)


def _salicon_points(path: Path, kind: str) -> Fixations:
    height, width = (int(side) for side in files.load_mat(path, "resolution").ravel()[:2])
    viewers = files.load_mat(path, "gaze").ravel()
    # Numbers of pixels, from 1: take their centres.
    tracks = [_two_columns(_field(viewer, kind, path)) - np.float32(0.5) for viewer in viewers]
    return _gather(tracks, height=height, width=width)


# MIT.


def _open_mit1003(root: Path, split: str, options: NoOptions) -> Dataset:
    pictures = _pictures(root / "ALLSTIMULI", "pictures ending in .jpeg", (".jpeg",))
    maps, points = (
        _labels(pictures, root / "ALLFIXATIONMAPS", what, ending=ending)
        for what, ending in (("map", "_fixMap"), ("fixation map", "_fixPts"))
    )
    sequences = tuple(
        still(
            picture, density=partial(files.read_density, density), fixations=partial(files.read_fixation_map, fixations)
        )
        for picture, density, fixations in zip(pictures, maps, points, strict=True)
    )
    return Dataset("mit1003", root, split, sequences, published=1003)


def _open_mit300(root: Path, split: str, options: NoOptions) -> Dataset:
    pictures = _pictures(root / "BenchmarkIMAGES", "pictures i1.jpg to i300.jpg")
    return Dataset("mit300", root, split, tuple(still(picture, split="test") for picture in pictures), published=300)


def submission_path(folder: Path, sequence: LabelledSequence) -> Path:
    """Where `write_submission_map` writes: `NAME.png`; a name that has a picture's ending loses it."""
    name = Path(sequence.name)
    return folder / f"{name.with_suffix('') if name.suffix.lower() in IMAGE_SUFFIXES else name}.png"


def write_submission_map(
    folder: Path, sequence: LabelledSequence, density: npt.NDArray[np.float32], *, height: int, width: int
) -> Path:
    """Writes a predicted density as benchmarks without public labels take it: 8-bit grey, as large as the picture.

    Args:
        folder: where to; made if it is not there.
        sequence: the still; its name becomes the file's.
        density: (h, w); its largest value becomes 255.
        height: rows of the picture.
        width: columns of the picture.

    Returns:
        The file, see `submission_path`.

    Raises:
        EncodeError: it cannot be written.
    """
    path = submission_path(folder, sequence)
    values = np.asarray(density, np.float32)
    if values.shape != (height, width):
        values = np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    largest = float(values.max())
    grey = np.round(values * (255 / largest if largest > 0 else 0.0)).astype(np.uint8)
    with replacing(path, make_folder=True) as partial:
        partial.write_bytes(cv2.imencode(".png", grey)[1].tobytes())
    return path


# CAT2000.


def _open_cat2000(root: Path, split: str, options: NoOptions) -> Dataset:
    sequences = []
    for part in ("train", "test") if split == "all" else (split,):
        base = root / f"{part}Set"
        categories = files.list_folders(files.need_folder(base / "Stimuli", "one folder a category"), r"[^.].*")
        if not categories:
            raise DatasetError(f"{base / 'Stimuli'} holds no folder Action and so on; unpack {part}Set.zip again")
        for folder in categories:
            # Only files: a folder Output beside them holds pictures of the fixations.
            pictures = _pictures(folder, "pictures 001.jpg and so on")
            sequences += _cat2000_category(base, folder.name, part, pictures)
    published = {"train": 2000, "test": 2000, "all": 4000}[split]
    return Dataset("cat2000", root, split, tuple(sequences), published=published)


def _cat2000_category(base: Path, category: str, part: str, pictures: tuple[Path, ...]) -> list[LabelledSequence]:
    attributes = CategoryAttributes(category)
    names = {picture: f"{part}Set/{category}/{picture.stem}" for picture in pictures}
    if part == "test":
        return [still(picture, name=names[picture], split=part, attributes=attributes) for picture in pictures]
    maps = _labels(pictures, base / "FIXATIONMAPS" / category, "map")
    points = _labels(pictures, base / "FIXATIONLOCS" / category, "fixation file", (".mat",))
    return [
        still(
            picture,
            name=names[picture],
            split=part,
            attributes=attributes,
            density=partial(files.read_density, density),
            fixations=partial(files.read_fixation_map, fixations, name="fixLocs"),
        )
        for picture, density, fixations in zip(pictures, maps, points, strict=True)
    ]


# Sets whose points lie in one file for all pictures.


def _open_osie(root: Path, split: str, options: PointsOptions) -> Dataset:
    base = root / "data" if (root / "data").is_dir() else root
    pictures = _pictures(base / "stimuli", "pictures 1001.jpg and so on")
    table = _file(base / "eye" / "fixations.mat")

    @cache
    def records() -> dict[str, Any]:
        cells = files.load_mat(table, "fixations").ravel()
        return {_text(_field(cell, "img", table)): cell for cell in cells}

    @cache
    def missing() -> tuple[str, ...]:
        there = {picture.name for picture in pictures}
        return tuple(name for name in records() if name not in there)

    def load(picture: Path) -> Fixations:
        if missing():
            raise DatasetError(
                f"{base / 'stimuli'}: {len(missing())} of the {len(records())} pictures of {table.name} are missing, "
                f"the first is {missing()[0]}; copy or unpack it again"
            )
        if picture.name not in records():
            raise DatasetError(f"{table} has {len(records())} pictures, but not {picture.name}; copy it again")
        viewers = np.asarray(_field(records()[picture.name], "subjects", table)).ravel()
        tracks = [
            np.stack([np.asarray(_field(viewer, name, table), np.float32).ravel() for name in ("fix_x", "fix_y")], 1)
            for viewer in viewers
        ]
        height, width = files.picture_size(picture)
        return _gather(tracks, height=height, width=width)

    return Dataset("osie", root, split, _stills_of_points(pictures, load, options), published=700)


def _open_toronto(root: Path, split: str, options: PointsOptions) -> Dataset:
    places = (root, root / "fixdens", root / "eyetrackingdata" / "fixdens")
    base = next((place for place in places if (place / "Original Image Set").is_dir()), root)
    pictures = _pictures(base / "Original Image Set", "pictures 1.jpg to 120.jpg")
    table = _file(base / "origfixdata.mat")

    @cache
    def maps() -> dict[Path, Any]:
        return _in_order(pictures, list(files.load_mat(table, "white").ravel()), table)

    def load(picture: Path) -> Fixations:
        return Fixations.from_map(np.asarray(maps()[picture]))

    return Dataset("toronto", root, split, _stills_of_points(pictures, load, options), published=120)


def _open_pascal_s(root: Path, split: str, options: PointsOptions) -> Dataset:
    base = root / "datasets" if (root / "datasets").is_dir() else root
    pictures = _pictures(base / "imgs" / "pascal", "pictures 1.jpg to 850.jpg")
    table = _file(base / "fixations" / "pascalFix.mat")

    @cache
    def tables() -> dict[Path, Any]:
        return _in_order(pictures, files.load_hdf_cells(table, "fixCell"), table)

    def load(picture: Path) -> Fixations:
        # Row, column and viewer, all numbered from 1: take the centres of the pixels.
        rows = np.asarray(tables()[picture], np.float32).reshape(-1, 3)
        height, width = files.picture_size(picture)
        return Fixations.on_picture(
            rows[:, [1, 0]] - np.float32(0.5), height=height, width=width, viewers=rows[:, 2] - 1
        )

    return Dataset("pascal-s", root, split, _stills_of_points(pictures, load, options), published=850)


def _open_dut_omron(root: Path, split: str, options: PointsOptions) -> Dataset:
    pictures = _pictures(root / "DUT-OMRON-image", "pictures of DUT-OMRON-image.zip")
    folder = root / "DUT-OMRON-eye-fixations" / "mat"
    tables = dict(zip(pictures, _labels(pictures, folder, "fixation file", (".mat",)), strict=True))

    def load(picture: Path) -> Fixations:
        # Columns x, y, viewer; the first row is the picture's size, with viewer 0. Zeros show that x and y begin there.
        rows = files.load_mat(tables[picture], "s").astype(np.float32).reshape(-1, 3)
        rows = rows[rows[:, 2] > 0]
        height, width = files.picture_size(picture)
        return Fixations.on_picture(rows[:, :2] + np.float32(0.5), height=height, width=width, viewers=rows[:, 2] - 1)

    return Dataset("dut-omron", root, split, _stills_of_points(pictures, load, options), published=5168)


_ISUN_PARTS = {"train": "training", "val": "validation", "test": "testing"}


def _open_isun(root: Path, split: str, options: PointsOptions) -> Dataset:
    on_disk = files.by_stem(_pictures(root / "images", "pictures of image.zip"))
    sequences: list[LabelledSequence] = []
    for part in _ISUN_PARTS if split == "all" else (split,):
        name = _ISUN_PARTS[part]
        table = _file(root / f"{name}.mat")
        records = files.load_mat(table, name).ravel()
        names = [_text(_field(record, "image", table)) for record in records]
        missing = [stem for stem in names if stem not in on_disk]
        if missing:
            raise DatasetError(
                f"{root / 'images'}: {len(missing)} of the {len(names)} pictures of {table.name} are missing, the "
                f"first is {missing[0]}.jpg; unpack image.zip again"
            )
        of_picture = {on_disk[stem]: record for stem, record in zip(names, records, strict=True)}
        if part == "test":
            sequences += [still(picture, split=part) for picture in sorted(of_picture, key=natural_order)]
        else:
            load = partial(_isun_points, of_picture, table)
            sequences += _stills_of_points(tuple(sorted(of_picture, key=natural_order)), load, options, split=part)
    published = {"train": 6000, "val": 926, "test": 2000, "all": 8926}[split]
    return Dataset("isun", root, split, tuple(sequences), published=published)


def _isun_points(records: Mapping[Path, Any], table: Path, picture: Path) -> Fixations:
    gaze = np.asarray(_field(records[picture], "gaze", table)).ravel()
    height, width = files.picture_size(picture)
    return _gather([_two_columns(_field(viewer, "fixation", table)) for viewer in gaze], height=height, width=width)


def _file(path: Path) -> Path:
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; copy or unpack it again")
    return path


def _in_order(pictures: tuple[Path, ...], entries: list[T], table: Path) -> dict[Path, T]:
    """The entries of a list without names: the n-th belongs to the picture n.jpg."""
    if len(entries) != len(pictures):
        raise DatasetError(
            f"{table} has {len(entries)} entries for {len(pictures)} pictures in {pictures[0].parent}, so that which "
            f"belongs to which is not known; copy both again"
        )
    for position, picture in enumerate(pictures, 1):
        if re.sub(r"^0*", "", picture.stem) != str(position):
            raise DatasetError(f"{picture}: expected {position}{picture.suffix}, as the entries of {table.name} go on")
    return dict(zip(pictures, entries, strict=True))


def _stills_of_points(
    pictures: tuple[Path, ...], load: Callable[[Path], Fixations], options: PointsOptions, *, split: str = "all"
) -> tuple[LabelledSequence, ...]:
    def points(picture: Path) -> Fixations:
        found = load(picture)
        return dataclasses.replace(found, sigma=found.spread if options.sigma is None else options.sigma)

    def density(picture: Path) -> npt.NDArray[np.float32] | None:
        return points(picture).density()

    return tuple(
        still(picture, split=split, density=partial(density, picture), fixations=partial(points, picture))
        for picture in pictures
    )


LAYOUTS = {
    # `{images,maps,fixations}/{train,val,test}/COCO_train2014_000000000009.{jpg,png,mat}`; no labels for test.
    "salicon": Layout(
        "SALICON, edition of 2015 or 2017 (http://salicon.net)", ("all", *_SALICON_PARTS), _open_salicon, SaliconOptions
    ),
    # `ALLSTIMULI/NAME.jpeg`, `ALLFIXATIONMAPS/NAME_fixMap.jpg` and `NAME_fixPts.jpg`.
    "mit1003": Layout("MIT1003 (http://people.csail.mit.edu/tjudd/WherePeopleLook)", ("all",), _open_mit1003),
    # `BenchmarkIMAGES/i1.jpg`; the labels are withheld: `vidsal data submission` writes what the benchmark takes.
    "mit300": Layout("MIT300 (https://saliency.tuebingen.ai)", ("all", "test"), _open_mit300),
    # `trainSet/{Stimuli,FIXATIONMAPS,FIXATIONLOCS}/Action/001.{jpg,jpg,mat}` and `testSet/Stimuli/Action/001.jpg`.
    "cat2000": Layout("CAT2000 (https://saliency.tuebingen.ai)", ("all", "train", "test"), _open_cat2000),
    # `data/stimuli/1001.jpg` and `data/eye/fixations.mat`.
    "osie": Layout(
        "OSIE (https://github.com/NUS-VIP/predicting-human-gaze-beyond-pixels)", ("all",), _open_osie, PointsOptions
    ),
    # `eyetrackingdata/fixdens/Original Image Set/1.jpg` and `origfixdata.mat` beside that folder.
    "toronto": Layout("Toronto (http://www-sop.inria.fr/members/Neil.Bruce)", ("all",), _open_toronto, PointsOptions),
    # `datasets/imgs/pascal/1.jpg` and `datasets/fixations/pascalFix.mat`.
    "pascal-s": Layout("PASCAL-S (http://cbs.ic.gatech.edu/salobj)", ("all",), _open_pascal_s, PointsOptions),
    # `DUT-OMRON-image/NAME.jpg` and `DUT-OMRON-eye-fixations/mat/NAME.mat`.
    "dut-omron": Layout("DUT-OMRON (http://saliencydetection.net/dut-omron)", ("all",), _open_dut_omron, PointsOptions),
    # `images/NAME.jpg` and `training.mat`, `validation.mat`, `testing.mat`, which say what belongs to which split.
    "isun": Layout("iSUN (http://lsun.cs.princeton.edu)", ("all", "train", "val", "test"), _open_isun, PointsOptions),
}
"""The layouts of this file by their names."""
