"""Maps made elsewhere: grey ones are scored however they are coded, colour-mapped ones are refused by name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from layout_fixtures import HEIGHT, WIDTH, density, make_mit1003, make_simple
from media import make_video

from vidsal.data.layouts import LabelledSequence, open_dataset
from vidsal.data.layouts.files import read_density
from vidsal.errors import DatasetError
from vidsal.evaluate import FolderSource


@pytest.fixture
def still(tmp_path: Path) -> LabelledSequence:
    return open_dataset("mit1003", make_mit1003(tmp_path / "set", names=("one",))).sequences[0]


def coloured(number: int, colours: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.applyColorMap(density(number), colours), np.uint8)


def test_grey_maps_are_read_however_they_are_coded(still: LabelledSequence, tmp_path: Path) -> None:
    grey = density(3)
    noise = np.random.default_rng(0).integers(-2, 3, (*grey.shape, 3))
    tinted = np.clip(grey[:, :, None] + noise, 0, 255).astype(np.uint8)
    with_alpha = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    deep = np.dstack([grey.astype(np.uint16) * 257] * 3)
    dark = np.clip(noise[:, :, :3], 0, 2).astype(np.uint8)  # nothing but rounding
    for number, (ending, values) in enumerate(
        [(".png", grey), (".jpg", np.dstack([grey] * 3)), (".jpg", tinted), (".png", with_alpha), (".png", deep)]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        cv2.imwrite(str(folder / f"one{ending}"), values)
        ((_, read),) = FolderSource(folder).maps(still, [0])
        assert np.abs(read / read.max() - grey / grey.max()).max() < 0.05
    cv2.imwrite(str(tmp_path / "one.png"), dark)
    assert len(list(FolderSource(tmp_path).maps(still, [0]))) == 1


@pytest.mark.parametrize("ending", [".png", ".jpg"])
@pytest.mark.parametrize("colours", [cv2.COLORMAP_JET, cv2.COLORMAP_HOT, cv2.COLORMAP_VIRIDIS, cv2.COLORMAP_BONE])
def test_a_colour_mapped_picture_is_refused_by_name(
    still: LabelledSequence, tmp_path: Path, colours: int, ending: str
) -> None:
    path = tmp_path / "maps" / f"one{ending}"
    path.parent.mkdir()
    cv2.imwrite(str(path), coloured(3, colours))
    with pytest.raises(DatasetError, match=rf"one\{ending} is a coloured picture.*expected are grey maps"):
        list(FolderSource(path.parent).maps(still, [0]))
    assert read_density(path) is not None  # what a data set holds is read as before


def test_a_colour_mapped_video_is_refused_by_name(tmp_path: Path) -> None:
    root, maps = make_simple(tmp_path / "set"), tmp_path / "maps"
    sequence = next(each for each in open_dataset("simple", root) if each.name == "one.mp4")
    maps.mkdir()
    kind = {"frames": 8, "width": WIDTH, "height": HEIGHT, "rate": 25}
    make_video(maps / "one.mkv", picture=lambda k: np.dstack([density(k)] * 3), **kind)
    assert len(list(FolderSource(maps).maps(sequence, range(8)))) == 8
    make_video(maps / "one.mkv", picture=lambda k: coloured(k, cv2.COLORMAP_JET)[:, :, ::-1], **kind)
    with pytest.raises(DatasetError, match=r"one\.mkv: map 2 is a coloured picture; expected are grey maps"):
        list(FolderSource(maps).maps(sequence, [2, 5]))
