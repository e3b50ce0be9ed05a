"""AIM 2024, NTIRE 2026 or CrowdSAL as they are published in, their videos out with maps and lists of fixations."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from vidsal.data.layouts.contract import Dataset, Fixations, LabelledSequence, Labels, Layout, NoOptions, Shown
from vidsal.data.layouts.files import list_files, need_folder
from vidsal.data.layouts.videos import OrderedDensities, VideoPictures, map_size
from vidsal.errors import DatasetError

__all__ = ["LAYOUTS"]


@dataclass(frozen=True, eq=False)
class _FixationLists(Labels[Fixations]):
    """Points of a fixations.json: a list a frame of [row, column] in pixels of the maps."""

    path: Path
    maps: Path | None
    pictures: VideoPictures

    def count(self) -> int | None:
        """See `Labels`."""
        return len(self._frames)

    def label(self, shown: Shown) -> Callable[[], Fixations | None]:
        """See `Labels`."""
        return partial(self._load, shown.ordinal)

    def _load(self, ordinal: int) -> Fixations | None:
        if ordinal >= len(self._frames):
            return None
        try:
            places = np.array(self._frames[ordinal], np.float32).reshape(-1, 2)
        except (ValueError, TypeError) as error:
            raise DatasetError(f"{self.path}, frame {ordinal}: expected pairs of row and column ({error})") from error
        height, width = self._size
        # Rows and columns are numbers of pixels: take their centres.
        return Fixations.on_picture(places[:, ::-1] + np.float32(0.5), height=height, width=width)

    @cached_property
    def _frames(self) -> list[Any]:
        frames = _read_json(self.path)
        if not isinstance(frames, list):
            raise DatasetError(f"{self.path}: expected a list with one entry a frame, got {type(frames).__name__}")
        return frames

    @cached_property
    def _size(self) -> tuple[int, int]:
        return (self.pictures.info.height, self.pictures.info.width) if self.maps is None else map_size(self.maps)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as JSON ({error}); copy or unpack it again") from error


def _open(key: str, root: Path, split: str, options: NoOptions) -> Dataset:
    names = _names(root / "TrainTestSplit.json", split)
    videos = _videos(need_folder(root / "Videos", "the videos of Videos.zip"))
    maps: dict[str, Path] = {}
    lists: dict[str, Path] = {}
    for part in ("Train", "Test"):
        maps |= _videos(root / f"Saliency{part}")
        lists |= _lists(root / f"Fixations{part}")
    missing = [name for name in names if name not in videos]
    if missing:
        raise DatasetError(
            f"{root / 'Videos'}: {len(missing)} of the {len(names)} videos of split {split} are missing, the first is "
            f"{missing[0]}.mp4; unpack Videos.zip again"
        )
    with_lists = {own for name, own in names.items() if name in lists}
    sequences = []
    for name, own in names.items():
        if own == "train" and name not in maps:
            raise DatasetError(f"{root / 'SaliencyTrain'} has no {name}.mp4; unpack SaliencyTrain.zip again")
        # A part that is withheld has no list at all.
        if own in with_lists and name not in lists:
            folder = root / ("FixationsTrain" if own == "train" else "FixationsTest")
            raise DatasetError(f"{folder} has no {name}/fixations.json; unpack {folder.name}.zip again")
        pictures = VideoPictures(videos[name])
        sequences.append(
            LabelledSequence(
                name=name,
                split=own,
                kind="video",
                pictures=pictures,
                densities=OrderedDensities(maps[name]) if name in maps else None,
                points=_FixationLists(lists[name], maps.get(name), pictures) if name in lists else None,
            )
        )
    return Dataset(key, root, split, tuple(sequences), published=len(names))


def _names(path: Path, split: str) -> dict[str, str]:
    """Sorted names of the split's videos, each with the split it belongs to."""
    found = _read_json(path)
    if not isinstance(found, dict) or not all(isinstance(names, list) for names in found.values()):
        raise DatasetError(f"{path}: expected lists of names under train, public_test and private_test")
    known = {key.lower(): names for key, names in found.items()}
    wanted = {"all": tuple(known), "test": tuple(key for key in known if "test" in key)}.get(split, (split,))
    for key in wanted:
        if key not in known:
            raise DatasetError(f"{path} has no list {key}, only {', '.join(found)}")
    own = {str(name).removesuffix(".mp4"): key for key in wanted for name in known[key]}
    return {name: own[name] for name in sorted(own)}


def _videos(folder: Path) -> dict[str, Path]:
    """Videos of a folder by name; the archives have them in it, or one folder (Train, Test) below."""
    if not folder.is_dir():
        return {}
    inner = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    return {file.stem: file for place in (folder, *inner) for file in list_files(place, suffixes=(".mp4",))}


def _lists(folder: Path) -> dict[str, Path]:
    """Lists of fixations by the name of the video: `NAME/fixations.json`, or one folder (Train, Test) above."""
    files = [*folder.glob("*/fixations.json"), *folder.glob("*/*/fixations.json")] if folder.is_dir() else []
    return {file.parent.name: file for file in files}


def _open_crowdsal(root: Path, split: str, options: NoOptions) -> Dataset:
    parts = [part for part in ("Train", "Test") if split in ("all", part.lower())]
    sequences = []
    for part in parts:
        own = part.lower()
        videos = _videos(need_folder(root / part / "Videos", f"the videos of the part {part}"))
        maps = _videos(need_folder(root / part / "Saliency", f"the maps of the part {part}"))
        lists = {file.stem: file for file in list_files(root / part / "Fixations", suffixes=(".json",))}
        for name in sorted(videos):
            for found, file in ((maps, f"Saliency/{name}.mp4"), (lists, f"Fixations/{name}.json")):
                if name not in found:
                    raise DatasetError(f"{root / part} has no {file}; download the part {part} again")
            pictures = VideoPictures(videos[name])
            sequences.append(
                LabelledSequence(
                    name=name,
                    split=own,
                    kind="video",
                    pictures=pictures,
                    densities=OrderedDensities(maps[name]),
                    points=_FixationLists(lists[name], maps[name], pictures),
                )
            )
    # The record of each part says how many videos it has.
    published = sum(_lines(root / part / "metadata.jsonl") or 0 for part in parts)
    return Dataset("crowdsal", root, split, tuple(sequences), published=published or len(sequences))


def _lines(path: Path) -> int | None:
    """Records of a file with one a line; None where it is missing."""
    try:
        return sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); download it again") from error


# `Videos/`, `TrainTestSplit.json`, `Saliency{Train,Test}/`, `Fixations{Train,Test}/.../NAME/fixations.json`.
LAYOUTS = {
    key: Layout(
        f"{title} video saliency challenge (https://github.com/msu-video-group/{home}_Saliency_Prediction)",
        ("all", "train", "test", "public_test", "private_test"),
        partial(_open, key),
    )
    for key, title, home in (("aim2024", "AIM 2024", "ECCVW24"), ("ntire2026", "NTIRE 2026", "NTIRE26"))
} | {
    # `{Train,Test}/{Videos,Saliency}/NAME.mp4`, `{Train,Test}/Fixations/NAME.json`, `{Train,Test}/metadata.jsonl`.
    "crowdsal": Layout(
        "CrowdSAL (https://huggingface.co/datasets/ANDRYHA/CrowdSAL)", ("all", "train", "test"), _open_crowdsal
    ),
}
"""The layouts of this file by their names; NTIRE 2026 has 2,000 videos, CrowdSAL 5,000."""
