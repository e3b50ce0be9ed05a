"""A folder of DR(eye)VE or BDD-A in, its drives out: the road as seen, and where the driver looked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy.typing as npt

from vidsal.data.layouts import files
from vidsal.data.layouts.contract import (
    AttentionCode,
    Dataset,
    DrivingAttributes,
    LabelledSequence,
    Labels,
    Layout,
    Marks,
    Pictures,
)
from vidsal.data.layouts.videos import TimedDensities, VideoPictures
from vidsal.errors import DatasetError
from vidsal.options import Checked, Range

__all__ = ["LAYOUTS", "BDDAOptions", "DreyeveOptions", "ScoutOptions"]

# DR(eye)VE.

DREYEVE_RATE = Fraction(25)
"""Frames a second of the roof camera and of its ground truth."""

VALIDATION_FRAMES = (3500, 4000)
"""First frame and frame after the last of each training run that the authors validate on, counted from 0."""

_DESIGN = "dr(eye)ve_design.txt"
_TimeOfDay = Literal["Morning", "Evening", "Night"]
_Weather = Literal["Sunny", "Cloudy", "Rainy"]
_Landscape = Literal["Downtown", "Countryside", "Highway"]
_ALLOWED = {"time_of_day": get_args(_TimeOfDay), "weather": get_args(_Weather), "landscape": get_args(_Landscape)}
_SETS = {"training_set": "train", "test_set": "test"}


@dataclass(frozen=True, kw_only=True)
class _Conditions(Checked):
    """Which runs are taken, by the design table."""

    time_of_day: _TimeOfDay | None = None
    """Only runs at this time: Morning, Evening or Night; None: all."""
    weather: _Weather | None = None
    """Only runs in this weather: Sunny, Cloudy or Rainy; None: all."""
    landscape: _Landscape | None = None
    """Only runs there: Downtown, Countryside or Highway; None: all."""
    driver: str | None = None
    """Only runs of this driver: D1 to D8; None: all."""
    list_base: Literal[0, 1] = 1
    """Number of a run's first frame in missing_gt.txt and subsequences.txt, 0 or 1. The data set does not say; 1 is
    how its ground-truth files are numbered."""

    @property
    def narrowed(self) -> str:
        """The conditions that are set, as driver=D2."""
        return ", ".join(f"{name}={value}" for name in _CONDITIONS if (value := getattr(self, name)) is not None)

    def take(self, attributes: DrivingAttributes) -> bool:
        """Whether a run is wanted."""
        return all(getattr(self, name) in (None, getattr(attributes, name)) for name in _CONDITIONS)


_CONDITIONS = ("time_of_day", "weather", "landscape", "driver")


@dataclass(frozen=True, kw_only=True)
class DreyeveOptions(_Conditions):
    """What can be chosen of DR(eye)VE."""

    ground_truth: Literal["fix", "old"] = "fix"
    """fix: the journal's (saliency_fix/, or video_saliency.avi); old: the workshop's (saliency/)."""
    validation: Literal["frames", "none"] = "frames"
    """frames: val is frames 3500 to 3999 of every training run, as published, and train is what lies before and after;
    none: there is no val, and train is the training runs whole."""


@dataclass(frozen=True, kw_only=True)
class ScoutOptions(_Conditions):
    """What can be chosen of DR(eye)VE with SCOUT's ground truth."""


@dataclass(frozen=True)
class _Drive:
    number: int
    split: str
    attributes: DrivingAttributes
    folder: Path

    def sequence(self, **fields: Any) -> LabelledSequence:
        """The drive, or a part of it."""
        name = f"{self.number:02d}"
        own: dict[str, Any] = {"name": name, "split": self.split, "rate": DREYEVE_RATE, "attributes": self.attributes}
        return LabelledSequence(kind="video", recording=name, may_be_mirrored=False, **(own | fields))


def _open_dreyeve(root: Path, split: str, options: DreyeveOptions) -> Dataset:
    runs = _read_runs(root, options)
    missing, codes = _read_missing(root, options.list_base), _read_codes(root, options.list_base)
    sequences = []
    for run in runs:
        marks = Marks(bad=frozenset(missing.get(run.number, ())), attention=codes.get(run.number, {}))
        pictures = _road(run.folder)
        densities = _dreyeve_densities(run.folder, pictures, options)
        for part, name, first, length in _parts(run, split, options):
            place = {"name": name, "split": part, "first": first, "length": length}
            sequences.append(run.sequence(pictures=pictures, densities=densities, marks=marks, **place))
    published = {"all": 74, "test": 37}.get(split) if not options.narrowed else None
    narrowed = options.narrowed or ("validation=none" if split == "val" and options.validation == "none" else "")
    return Dataset("dreyeve", root, split, tuple(sequences), narrowed=narrowed, published=published)


def _parts(run: _Drive, split: str, options: DreyeveOptions) -> Iterator[tuple[str, str, int, int | None]]:
    """The pieces of a run that a split has: its split, its name, first frame, number of frames."""
    name, (begin, end) = f"{run.number:02d}", VALIDATION_FRAMES
    if split == "all" or run.split == "test" or options.validation == "none":
        if split in ("all", run.split):
            yield run.split, name, 0, None
    elif split == "val":
        yield "val", f"{name}[{begin}:{end}]", begin, end - begin
    elif split == "train":
        yield "train", f"{name}[0:{begin}]", 0, begin
        yield "train", f"{name}[{end}:]", end, None


def _open_scout(root: Path, split: str, options: ScoutOptions) -> Dataset:
    codes = _read_codes(root, options.list_base) if (root / "subsequences.txt").is_file() else {}
    sequences = []
    for run in _read_runs(root, options):
        part = "val" if run.split == "train" and run.number >= _SCOUT_VALIDATION else run.split
        if split not in ("all", part):
            continue
        maps = run.folder / "salmaps"
        if run.number == _SCOUT_LEFT_OUT and not maps.is_dir():
            continue
        files.need_folder(maps, "SCOUT's maps 000001.png and so on (its scripts/copy_DReyeVE_gt.sh puts them there)")
        sequences.append(
            run.sequence(
                split=part,
                pictures=_road(run.folder),
                densities=files.ByOrdinal(_by_number(maps), files.read_density),
                marks=Marks(attention=codes.get(run.number, {})),
            )
        )
    published = {"all": 74, "train": 34, "val": 3, "test": 37}[split] if not options.narrowed else None
    return Dataset("dreyeve-scout", root, split, tuple(sequences), narrowed=options.narrowed, published=published)


_SCOUT_VALIDATION = 35
"""First of the training runs that SCOUT validates on."""

_SCOUT_LEFT_OUT = 6
"""The run that SCOUT's own tools leave out."""


def _by_number(folder: Path) -> Callable[[], Mapping[int, Path]]:
    """Lists maps by their number, which is the frame's position in the road video from 0; some may be missing."""

    @cache
    def listed() -> Mapping[int, Path]:
        found = files.list_files(folder)
        if not found:
            raise DatasetError(f"{folder} holds no maps; copy SCOUT's ground truth again")
        return {files.number_of(file): file for file in found}

    return listed


def _in_order(maps: files.Numbered, pictures: Pictures) -> Callable[[], tuple[Path, ...]]:
    """Lists maps, one for every picture, whatever their numbers: the authors' frames begin at 0 and their maps at 1."""

    def listed() -> tuple[Path, ...]:
        found, count = maps(), pictures.count()
        if count != len(found):
            raise DatasetError(
                f"{maps.folder}: {len(found)} maps ({found[0].name} to {found[-1].name}) for {count} frames, so that "
                f"which belongs to which is not known; unroll both videos of this run again"
            )
        return found

    return listed


def _road(folder: Path) -> Pictures:
    if (folder / "frames").is_dir():
        return files.ImagePictures(files.Numbered(folder / "frames", "pictures"), DREYEVE_RATE)
    video = folder / "video_garmin.avi"
    if video.is_file():
        return VideoPictures(video, even=True)
    raise DatasetError(f"{folder} has neither frames/ nor video_garmin.avi; copy the run again")


def _dreyeve_densities(folder: Path, pictures: Pictures, options: DreyeveOptions) -> Labels[npt.NDArray[Any]]:
    unrolled, video = (
        folder / ("saliency_fix" if options.ground_truth == "fix" else "saliency"),
        folder / "video_saliency.avi",
    )
    if unrolled.is_dir():
        return files.ByOrdinal(_in_order(files.Numbered(unrolled, "maps"), pictures), files.read_density)
    if options.ground_truth == "old":
        raise DatasetError(
            f"{unrolled}: no such folder; the workshop's ground truth was published unrolled only. "
            f"Take ground_truth=fix, which video_saliency.avi holds"
        )
    if video.is_file():
        return TimedDensities(VideoPictures(video, even=True))
    raise DatasetError(f"{folder} has neither saliency_fix/ nor video_saliency.avi; copy the run again")


def _read_runs(root: Path, conditions: _Conditions) -> list[_Drive]:
    """The runs of the design table that lie on disk and meet the conditions."""
    folders = {int(folder.name): folder for folder in files.list_folders(root, r"\d\d")}
    if not folders:
        raise DatasetError(f"{root} holds no run 01 to 74; expected the folder of DREYEVE_DATA.zip")
    runs = {}
    for line, fields in _lines(root / _DESIGN):
        if len(fields) < 6:
            raise DatasetError(f"{line}: {len(fields)} columns; expected run, time, weather, landscape, driver and set")
        number, attributes = _whole(line, fields[0]), DrivingAttributes(*fields[1:5])
        for name, allowed in _ALLOWED.items():
            if getattr(attributes, name) not in allowed:
                raise DatasetError(f"{line}: {name} must be {', '.join(allowed)}, got {getattr(attributes, name)!r}")
        if fields[5] not in _SETS:
            raise DatasetError(f"{line}: the set must be {' or '.join(_SETS)}, got {fields[5]!r}")
        if number in folders:
            runs[number] = _Drive(number, _SETS[fields[5]], attributes, folders[number])
    unknown = sorted(folders.keys() - runs.keys())
    if unknown:
        raise DatasetError(
            f"{root}: {len(folders)} runs on disk, but {_DESIGN} lacks {len(unknown)} of them, the first is "
            f"{unknown[0]:02d}; copy the table again"
        )
    return [runs[number] for number in sorted(runs) if conditions.take(runs[number].attributes)]


def _read_missing(root: Path, base: int) -> dict[int, list[int]]:
    """Run to the positions, from 0, of frames for which no gaze map could be computed."""
    missing: dict[int, list[int]] = {}
    for line, fields in _lines(root / "missing_gt.txt"):
        if len(fields) != 2:
            raise DatasetError(f"{line}: {len(fields)} columns; expected run and frame")
        missing.setdefault(_whole(line, fields[0]), []).append(_position(line, fields[1], base))
    return missing


def _read_codes(root: Path, base: int) -> dict[int, dict[int, AttentionCode]]:
    """Run to the codes of its annotated frames, by position from 0; both ends of a subsequence belong to it."""
    codes: dict[int, dict[int, AttentionCode]] = {}
    known = get_args(AttentionCode)
    for line, fields in _lines(root / "subsequences.txt"):
        if len(fields) != 4 or fields[3] not in known:
            raise DatasetError(f"{line}: expected run, first frame, last frame and one of {', '.join(known)}")
        first, last = (_position(line, field, base) for field in fields[1:3])
        if last < first:
            raise DatasetError(f"{line}: the subsequence ends before it begins")
        code: AttentionCode = fields[3]  # type: ignore[assignment]
        codes.setdefault(_whole(line, fields[0]), {}).update(dict.fromkeys(range(first, last + 1), code))
    return codes


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where each line stands, and its words; empty lines are left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); it belongs in the folder of the runs 01 to 74") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.split():
            yield f"{path}, line {number}", line.split()


def _whole(line: str, word: str) -> int:
    if not word.isdecimal():
        raise DatasetError(f"{line}: expected a whole number, got {word!r}")
    # A run has 7500 frames; a typing error may make a number of frames that no memory holds.
    if len(word) > 20 or int(word) > _LARGEST:
        raise DatasetError(f"{line}: {word[:20]} is not the number of a run or a frame; copy the list again")
    return int(word)


_LARGEST = 100_000
"""Larger numbers in the lists are damage."""


def _position(line: str, word: str, base: int) -> int:
    number = _whole(line, word)
    if number < base:
        raise DatasetError(f"{line}: frame {number}, but frames are assumed to begin at {base}; try list_base=0")
    return number - base


# BDD-A.

_BDDA_PARTS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class BDDAOptions(Checked):
    """What can be chosen of BDD-A."""

    exclude: Path | None = None
    """A JSON file with the numbers of videos to leave out, as {"training": [60, 83], "validation": [], "test": []};
    SCOUT's exclude_videos.json is one. None: all are taken."""
    bar_rows: Annotated[int, Range(at_least=0)] | None = None
    """Rows of the bar above the road in the gaze maps; None: half of what is not road (96 of 768). SCOUT cuts 91."""


def _without_bars(
    road: VideoPictures, rows_above: int | None, maps: Path, values: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """The part of a gaze map that shows the road: full width, the road's shape."""
    info, (height, width) = road.info, values.shape
    rows = round(width * info.height / info.width)
    above = (height - rows) // 2 if rows_above is None else rows_above
    if above < 0 or above + rows > height:
        raise DatasetError(
            f"{maps}: maps of {width}x{height} cannot hold a road of {info.width}x{info.height} below a bar of "
            f"{max(above, 0)} rows; expected 1024x768 with a road of 1024x576"
        )
    return values[above : above + rows]


def _open_bdda(root: Path, split: str, options: BDDAOptions) -> Dataset:
    left_out = {} if options.exclude is None else _read_exclusions(options.exclude)
    sequences = []
    for part in ("train", "val", "test") if split == "all" else (split,):
        folder = root / _BDDA_PARTS[part]
        roads, maps = (
            files.by_stem(_videos(folder / where, f"the videos 1{ending}.mp4 and so on"), ending)
            for where, ending in (("camera_videos", ""), ("gazemap_videos", "_pure_hm"))
        )
        dropped = left_out.get(_BDDA_PARTS[part], frozenset())
        lonely = [name for name in [*roads, *maps] if (name in roads) != (name in maps) and name not in dropped]
        if lonely:
            kind = "gaze map" if lonely[0] in roads else "road"
            raise DatasetError(
                f"{folder}: {len(roads)} videos of the road and {len(maps)} of gaze maps; {len(lonely)} have no "
                f"partner, the first is {lonely[0]}, whose {kind} is missing. Copy them, or list them in exclude"
            )
        for name, video in roads.items():
            if name in dropped:
                continue
            road = VideoPictures(video)
            crop = partial(_without_bars, road, options.bar_rows, maps[name])
            sequences.append(
                LabelledSequence(
                    name=f"{_BDDA_PARTS[part]}/{name}",
                    split=part,
                    kind="video",
                    pictures=road,
                    densities=TimedDensities(VideoPictures(maps[name]), crop),
                    may_be_mirrored=False,
                )
            )
    narrowed = "" if options.exclude is None else f"exclude={options.exclude}"
    return Dataset("bdd-a", root, split, tuple(sequences), narrowed=narrowed)


def _videos(folder: Path, what: str) -> tuple[Path, ...]:
    return files.list_files(files.need_folder(folder, what), suffixes=(".mp4",))


def _read_exclusions(path: Path) -> dict[str, frozenset[str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {part: frozenset(str(number) for number in numbers) for part, numbers in found.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DatasetError(
            f'{path} cannot be read as a list of videos to leave out ({error}); expected {{"training": [60, 83]}}'
        ) from error


_SPLITS = ("all", "train", "val", "test")

LAYOUTS = {
    # `NN/video_garmin.avi` and `NN/video_saliency.avi`, or unrolled: `NN/frames/%06d.jpg`, `NN/saliency_fix/%06d.png`.
    "dreyeve": Layout("DR(eye)VE (https://aimagelab.ing.unimore.it/dreyeve)", _SPLITS, _open_dreyeve, DreyeveOptions),
    # As DR(eye)VE, with maps in `NN/salmaps/%06d.png`; train 01 to 34, val 35 to 37, test 38 to 74.
    "dreyeve-scout": Layout(
        "DR(eye)VE with SCOUT's ground truth (https://github.com/ykotseruba/SCOUT)", _SPLITS, _open_scout, ScoutOptions
    ),
    # `{training,validation,test}/camera_videos/ID.mp4` and `gazemap_videos/ID_pure_hm.mp4`, which differ in rate.
    "bdd-a": Layout("BDD-A (https://bdd-data.berkeley.edu)", _SPLITS, _open_bdda, BDDAOptions),
}
"""The layouts of this file by their names."""
