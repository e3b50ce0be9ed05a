"""A folder of DHF1K, Hollywood-2 or UCF-Sports in, its sequences out: frames, maps and fixations as numbered files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from vidsal.data.layouts import files
from vidsal.data.layouts.contract import (
    ActionAttributes,
    Dataset,
    LabelledSequence,
    Layout,
    Pictures,
    ShotAttributes,
)
from vidsal.data.layouts.videos import VideoPictures
from vidsal.errors import DatasetError
from vidsal.options import Checked, Range

__all__ = ["LAYOUTS", "DHF1KOptions", "HollywoodOptions", "UCFSportsOptions"]

# DHF1K.

DHF1K_RATE = Fraction(30)
"""Frames a second of every video of DHF1K."""

_DHF1K_SPLITS = {"train": range(1, 601), "val": range(601, 701), "test": range(701, 1001), "all": range(1, 1001)}


@dataclass(frozen=True, kw_only=True)
class DHF1KOptions(Checked):
    """What can be chosen of DHF1K."""

    fixations: Literal["auto", "png", "mat"] = "auto"
    """Files that points are read from: png (fixation/0001.png), mat (fixation/maps/0001.mat, which needs scipy), or
    auto: png where there is one, else mat."""


def _open_dhf1k(root: Path, split: str, options: DHF1KOptions) -> Dataset:
    wanted = _DHF1K_SPLITS[split]
    labels, films = root / "annotation", root / "video"
    folders = {int(path.name): path for path in files.list_folders(labels, r"\d+")} if labels.is_dir() else {}
    found = files.list_files(films, suffixes=(".avi", ".mp4")) if films.is_dir() else ()
    videos = {files.number_of(path): path for path in found}
    if not folders and not videos:
        files.need_folder(labels, "annotation/0001/maps/0001.png and so on")
        raise DatasetError(f"{labels} holds no folder 0001 and so on, and there are no videos beside it")
    sequences = [
        _dhf1k_sequence(root, number, folders.get(number), videos.get(number), options)
        for number in sorted(folders.keys() | videos.keys())
        if number in wanted
    ]
    return Dataset("dhf1k", root, split, tuple(sequences), published=len(wanted))


def _dhf1k_sequence(
    root: Path, number: int, folder: Path | None, video: Path | None, options: DHF1KOptions
) -> LabelledSequence:
    split = next(name for name, numbers in _DHF1K_SPLITS.items() if number in numbers)
    if folder is None:
        folder = root / "annotation" / f"{number:04d}"
        if split != "test":
            raise DatasetError(
                f"{video} has no folder {folder}; unpack the annotations, which cover videos 001 to 700, again"
            )
    images = files.Numbered(folder / "images", "pictures") if (folder / "images").is_dir() else None
    pictures: Pictures
    if images is not None:
        pictures = files.ImagePictures(images, DHF1K_RATE)
    elif video is not None:
        pictures = VideoPictures(video)
    else:
        raise DatasetError(
            f"{folder} has no images/ and there is no {root / 'video' / f'{number:03d}.AVI'}; "
            f"copy the videos, or unroll them into images/0001.png and so on"
        )
    # The labels of 701 to 1000 are withheld.
    labelled = split != "test" or (folder / "maps").is_dir()
    maps = files.Numbered(folder / "maps", "map", beside=images)
    return LabelledSequence(
        name=f"{number:04d}",
        split=split,
        kind="video",
        rate=DHF1K_RATE,
        pictures=pictures,
        densities=files.ByOrdinal(maps, files.read_density) if labelled else None,
        points=files.ByOrdinal(_dhf1k_points(folder, maps, options), files.read_fixation_map) if labelled else None,
    )


def _dhf1k_points(folder: Path, maps: files.Numbered, options: DHF1KOptions) -> files.Numbered:
    matrices = folder / "fixation" / "maps"
    kind = options.fixations
    if kind == "auto":
        kind = "png" if (folder / "fixation" / "0001.png").is_file() or not matrices.is_dir() else "mat"
    if kind == "png":
        return files.Numbered(folder / "fixation", "fixation file", beside=maps)
    return files.Numbered(matrices, "fixation file", beside=maps, suffixes=frozenset({".mat"}))


# Hollywood-2, in the release with ACLNet.


@dataclass(frozen=True, kw_only=True)
class HollywoodOptions(Checked):
    """What can be chosen of Hollywood-2."""

    rate: Annotated[float, Range(above=0)] = 24.0
    """Frames a second that the numbered files are given; they carry no times, and the films had about 24."""
    shortest: Annotated[int, Range(at_least=1)] = 1
    """Frames that a shot needs to be taken: protocols leave out shots below 10, 20, 32 or 63."""


def _open_hollywood(root: Path, split: str, options: HollywoodOptions) -> Dataset:
    sequences = []
    # The name holds the clip and the shot, which may have two digits: as numbers they sort right.
    for folder, part in _folders(root, split, r"actionclip{part}\d+_\d+", "actionclip{part}00001_1"):
        clip, _, number = folder.name.rpartition("_")
        attributes = ShotAttributes(clip=clip, shot=int(number))
        sequences.append(_labelled_folder(folder, part, options.rate, attributes, recording=clip))
    chosen = tuple(shot for shot in sequences if options.shortest == 1 or (shot.frame_count or 0) >= options.shortest)
    published = {"train": 2699, "test": 3558, "all": 2699 + 3558}[split] if options.shortest == 1 else None
    narrowed = "" if options.shortest == 1 else f"shortest={options.shortest}"
    return Dataset("hollywood2", root, split, chosen, narrowed=narrowed, published=published)


def _folders(root: Path, split: str, pattern: str, first: str) -> Iterator[tuple[Path, str]]:
    """The folders of a split's sequences, each with its own split, which fills {part} in the pattern of their names."""
    for part in ("train", "test") if split == "all" else (split,):
        expected = f"{first.format(part=part)} and so on"
        folder = files.need_folder(root / {"train": "training", "test": "testing"}[part], f"the folders {expected}")
        found = files.list_folders(folder, pattern.format(part=part))
        if not found:
            raise DatasetError(f"{folder} holds no folder {expected}; unpack the release here")
        yield from ((one, part) for one in found)


def _labelled_folder(
    folder: Path, split: str, rate: float, attributes: ShotAttributes | ActionAttributes, *, recording: str = ""
) -> LabelledSequence:
    """A folder with images/, maps/ and fixation/ of equal names, whatever these are and wherever they begin."""
    images, frames_a_second = files.Numbered(folder / "images", "pictures"), Fraction(rate).limit_denominator(1001)
    return LabelledSequence(
        name=folder.name,
        split=split,
        kind="video",
        rate=frames_a_second,
        attributes=attributes,
        recording=recording,
        pictures=files.ImagePictures(images, frames_a_second),
        densities=files.ByOrdinal(files.Numbered(folder / "maps", "map", beside=images), files.read_density),
        points=files.ByOrdinal(
            files.Numbered(folder / "fixation", "fixation file", beside=images), files.read_fixation_map
        ),
    )


# UCF-Sports, from the same place.


@dataclass(frozen=True, kw_only=True)
class UCFSportsOptions(Checked):
    """What can be chosen of UCF-Sports."""

    rate: Annotated[float, Range(above=0)] = 10.0
    """Frames a second that the numbered files are given; they carry no times, and the clips were published with 10."""


def _open_ucf_sports(root: Path, split: str, options: UCFSportsOptions) -> Dataset:
    sequences = [
        _labelled_folder(folder, part, options.rate, ActionAttributes(action=folder.name.rpartition("-")[0]))
        for folder, part in _folders(root, split, r".+-\d+", "Diving-Side-001")
    ]
    published = {"train": 103, "test": 47, "all": 150}[split]
    return Dataset("ucf-sports", root, split, tuple(sequences), published=published)


LAYOUTS = {
    # `annotation/0001/{images,maps,fixation}/0001.png` and `video/001.AVI`; labels of the test split are withheld.
    "dhf1k": Layout(
        "DHF1K (https://github.com/wenguanwang/DHF1K)", ("all", "train", "val", "test"), _open_dhf1k, DHF1KOptions
    ),
    # `{training,testing}/actionclip{train,test}00001_1/{images,maps,fixation}/actionclip{train,test}00001_00003.png`.
    "hollywood2": Layout(
        "Hollywood-2, release with ACLNet (https://github.com/wenguanwang/DHF1K)",
        ("all", "train", "test"),
        _open_hollywood,
        HollywoodOptions,
    ),
    # `{training,testing}/Diving-Side-001/{images,maps,fixation}/Diving-Side_001_001.png`.
    "ucf-sports": Layout(
        "UCF-Sports, release with ACLNet (https://github.com/wenguanwang/DHF1K)",
        ("all", "train", "test"),
        _open_ucf_sports,
        UCFSportsOptions,
    ),
}
"""The layouts of this file by their names."""
