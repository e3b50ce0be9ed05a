"""The drawing: where the heat lies, how strong it is, and that inputs stay as they were."""

from typing import Any, get_args

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from av.video.reformatter import Colorspace, VideoReformatter
from hypothesis import given
from hypothesis import strategies as st

from vidsal.errors import ConfigError
from vidsal.frames import SaliencyBatch
from vidsal.render import (
    LEAST_SCALE,
    Colormap,
    RenderOptions,
    ScalePerShot,
    draw,
    draw_batch,
    overlay,
    overlay_batch,
    side_by_side,
    to_yuv420,
)
from vidsal.render import batch as batch_module

Density = npt.NDArray[np.float32]


def one_cell(height: int, width: int, row: int, column: int) -> Density:
    density = np.zeros((height, width), np.float32)
    density[row, column] = 1
    return density


def grey(height: int, width: int, level: int = 128) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), level, np.uint8)


def centre_of_change(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """(x, y) centroid of how much the pixels changed."""
    change = np.abs(after.astype(float) - before).sum(axis=2)
    ys, xs = np.mgrid[: change.shape[0], : change.shape[1]]
    return float((xs * change).sum() / change.sum()), float((ys * change).sum() / change.sum())


def saliency(densities: list[Density], shots: list[int]) -> SaliencyBatch:
    maps = torch.from_numpy(np.stack(densities))
    shot = np.array(shots, np.int64)
    return SaliencyBatch(
        index=np.arange(len(shots)),
        pts_seconds=np.arange(len(shots)) / 25,
        shot=shot,
        cut=np.diff(shot, prepend=shot[0]) > 0,
        log_density=(maps / maps.sum(dim=(1, 2), keepdim=True)).log(),
        height=48,
        width=64,
    )


@pytest.mark.parametrize(("height", "width"), [(120, 160), (121, 163), (119, 77)])
@pytest.mark.parametrize(("row", "column"), [(2, 3), (5, 1), (4, 6)])
def test_the_heat_lies_where_the_geometry_puts_the_cell(height: int, width: int, row: int, column: int) -> None:
    h, w = 9, 8
    picture = grey(height, width)
    drawn = overlay(picture, one_cell(h, w, row, column), scale=h * w, options=RenderOptions(threshold=0))
    x, y = centre_of_change(picture, drawn)
    # The formula of SaliencyBatch; one cell is at least nine pixels wide here, so a cell too far fails.
    assert x == pytest.approx((column + 0.5) * width / w - 0.5, abs=0.5)
    assert y == pytest.approx((row + 0.5) * height / h - 0.5, abs=0.5)


def test_places_below_the_threshold_are_left_as_they_are() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    density = one_cell(6, 8, 1, 1)
    drawn = overlay(picture, density, scale=48)
    np.testing.assert_array_equal(drawn[30:], picture[30:])
    assert (drawn[10:20, 10:20] != picture[10:20, 10:20]).any()


def test_the_hottest_place_is_the_mix_of_picture_and_hottest_colour_at_the_opacity() -> None:
    density = np.zeros((4, 4), np.float32)
    density[:2, :2] = 0.25
    drawn = overlay(grey(64, 64, 100), density, scale=4, options=RenderOptions(colormap="hot", opacity=0.75))
    # `hot` ends in white.
    np.testing.assert_allclose(drawn[8, 8], 0.25 * 100 + 0.75 * 255, atol=1)


def test_the_heat_fades_in_without_a_hard_edge() -> None:
    ramp = np.tile(np.linspace(0, 1, 160, dtype=np.float32), (4, 1))
    density = ramp / ramp.sum()
    scale = float(density.max()) * density.size
    drawn = overlay(grey(40, 1600), density, scale=scale, options=RenderOptions(colormap="hot")).astype(int)
    assert np.abs(np.diff(drawn[20], axis=0)).max() <= 4
    assert np.abs(drawn[20, -1] - 128).max() > 60


def test_no_opacity_gives_the_picture_back_to_the_bit() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    drawn = overlay(picture, one_cell(5, 5, 2, 2), scale=25, options=RenderOptions(opacity=0))
    np.testing.assert_array_equal(drawn, picture)
    assert drawn is not picture


@pytest.mark.parametrize("beside", [False, True])
def test_drawing_never_writes_into_its_inputs(beside: bool) -> None:
    picture, density = grey(32, 32), one_cell(4, 4, 1, 1)
    picture.flags.writeable = density.flags.writeable = False
    drawn = draw(picture, density, scale=16, options=RenderOptions(side_by_side=beside))
    assert not np.shares_memory(drawn, picture)
    assert (picture == 128).all()


def test_side_by_side_keeps_the_untouched_picture_on_the_left() -> None:
    picture, density = grey(32, 40), one_cell(4, 4, 1, 1)
    options = RenderOptions(side_by_side=True)
    drawn = draw(picture, density, scale=16, options=options)
    assert drawn.shape == (32, 80, 3)
    np.testing.assert_array_equal(drawn[:, :40], picture)
    np.testing.assert_array_equal(drawn[:, 40:], overlay(picture, density, scale=16, options=options))
    with pytest.raises(ValueError, match="one size"):
        side_by_side(grey(4, 4), grey(4, 5))


def test_pictures_in_any_memory_layout_are_drawn_alike() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    density = one_cell(4, 3, 1, 1)
    turned = np.rot90(np.ascontiguousarray(np.rot90(picture)), -1)
    np.testing.assert_array_equal(overlay(turned, density, scale=12), overlay(picture, density, scale=12))


@pytest.mark.parametrize("name", get_args(Colormap))
def test_every_colour_map_is_red_green_blue_from_cold_to_hot(name: Colormap) -> None:
    density = np.linspace(0, 2, 256, dtype=np.float32).reshape(1, 256)
    density /= density.sum()
    options = RenderOptions(opacity=1, threshold=0, colormap=name)
    theirs = cv2.applyColorMap(np.arange(256, dtype=np.uint8).reshape(1, 256), getattr(cv2, f"COLORMAP_{name.upper()}"))
    theirs = cv2.cvtColor(theirs, cv2.COLOR_BGR2RGB)
    black, same = (
        overlay(picture, density, scale=float(density.max()) * 256, options=options)
        for picture in (np.zeros_like(theirs), theirs)
    )
    # The heat fades in below three tenths; above, the picture is hidden. Over the colours themselves nothing changes.
    np.testing.assert_array_equal(black[:, 77:], theirs[:, 77:])
    np.testing.assert_allclose(same.astype(int), theirs, atol=1)
    hot = black[0, -1].astype(int)
    if name in ("turbo", "jet"):  # judged by eye, not by OpenCV: their hot end is red
        assert hot[0] > 2 * hot[2]
        assert hot[0] > 2 * hot[1]


def test_the_scale_stays_through_a_shot_and_is_chosen_anew_at_a_cut() -> None:
    sharp, vague = one_cell(6, 8, 1, 1) + 1e-6, one_cell(6, 8, 1, 1) + 0.05
    scales = ScalePerShot().update(saliency([vague, sharp, sharp, vague], [0, 0, 1, 1]))
    relative = float((vague / vague.sum()).max()) * 48
    np.testing.assert_allclose(scales, [relative, relative, 48, 48], rtol=1e-3)


def test_the_scale_does_not_depend_on_how_frames_are_grouped() -> None:
    rng = np.random.default_rng(3)
    maps = [rng.random((6, 8)).astype(np.float32) ** 8 for _ in range(9)]
    shots = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    whole = ScalePerShot().update(saliency(maps, shots))
    assert len(set(whole)) == 3
    for size in (1, 2, 4):
        chooser = ScalePerShot()
        parts = [chooser.update(saliency(maps[i : i + size], shots[i : i + size])) for i in range(0, 9, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_flat_map_is_not_drawn_hot() -> None:
    flat = np.full((6, 8), 1 / 48, np.float32)
    scale = float(ScalePerShot().update(saliency([flat], [0]))[0])
    assert scale == LEAST_SCALE
    picture = grey(48, 64)
    change = np.abs(overlay(picture, flat, scale=scale).astype(int) - picture)
    assert change.max() < 30
    # The same map on its own peak would be red all over: the floor is what prevents it.
    assert np.abs(overlay(picture, flat, scale=1).astype(int) - picture).max() > 60


def test_reset_makes_the_next_frame_choose_and_a_given_scale_is_never_changed() -> None:
    sharp, vague = one_cell(6, 8, 1, 1) + 1e-6, np.ones((6, 8), np.float32)
    chooser = ScalePerShot()
    chooser.update(saliency([vague], [0]))
    chooser.reset()
    assert chooser.update(saliency([sharp], [0]))[0] == pytest.approx(48, rel=1e-3)
    np.testing.assert_array_equal(ScalePerShot(3.5).update(saliency([vague, sharp], [0, 1])), [3.5, 3.5])


@pytest.mark.parametrize(
    "wrong", [{"opacity": 1.5}, {"colormap": "rainbow"}, {"threshold": 1.0}, {"scale": 0.0}, {"scale": float("nan")}]
)
def test_a_wrong_option_is_an_error_that_names_it(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        RenderOptions(**wrong)  # type: ignore[arg-type]


def test_a_picture_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        overlay(np.zeros((4, 4, 3), np.float32), one_cell(2, 2, 0, 0), scale=4)  # type: ignore[arg-type]


# --- the same on a device; the CPU stands for one ---


def noise(seed: int, *shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def made_densities(seed: int, count: int, height: int, width: int, power: int) -> Density:
    maps = np.random.default_rng(seed).random((count, height, width)).astype(np.float32) ** power
    return np.asarray(maps / maps.sum(axis=(1, 2), keepdims=True), np.float32)


@given(
    st.integers(1, 90),
    st.integers(1, 130),
    st.integers(1, 40),
    st.integers(1, 50),
    st.sampled_from([1, 4, 20]),
    st.sampled_from([0.6, 1.0, 0.25]),
    st.sampled_from([0.0, 0.05, 0.8]),
    st.sampled_from(get_args(Colormap)),
)
def test_drawing_a_batch_on_a_device_is_overlay_to_one_level(
    height: int, width: int, h: int, w: int, power: int, opacity: float, threshold: float, colormap: Colormap
) -> None:
    options = RenderOptions(opacity=opacity, threshold=threshold, colormap=colormap)
    pictures, densities = noise(height * width, 3, height, width, 3), made_densities(h * w, 3, h, w, power)
    scales = np.array([0.7, 6.0, 33.3])
    got = overlay_batch(
        torch.from_numpy(pictures), torch.from_numpy(densities), scale=torch.from_numpy(scales), options=options
    )
    ours = [
        overlay(picture, density, scale=scale, options=options)
        for picture, density, scale in zip(pictures, densities, scales.tolist(), strict=True)
    ]
    assert np.abs(got.numpy().astype(int) - ours).max() <= 1


def test_a_scale_a_tenth_too_large_would_fail_the_comparison_with_overlay() -> None:
    picture, density = noise(0, 60, 80, 3), made_densities(1, 1, 12, 16, 4)[0]
    got = overlay_batch(
        torch.from_numpy(picture)[None], torch.from_numpy(density)[None], scale=torch.tensor([6.6])
    ).numpy()
    assert np.abs(got[0].astype(int) - overlay(picture, density, scale=6.0)).max() > 4


def test_a_batch_drawn_in_pieces_is_the_same_and_its_inputs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, densities = torch.from_numpy(noise(2, 5, 31, 47, 3)), torch.from_numpy(made_densities(3, 5, 6, 8, 9))
    kept = pictures.clone()
    scales = torch.linspace(3, 9, 5)
    whole = overlay_batch(pictures, densities, scale=scales)
    monkeypatch.setattr(batch_module, "PIXELS_AT_ONCE", 2 * 31 * 47)
    assert torch.equal(overlay_batch(pictures, densities, scale=scales), whole)
    assert torch.equal(pictures, kept)
    assert not torch.equal(whole, kept)


def test_side_by_side_works_on_a_device_too() -> None:
    pictures, densities = torch.from_numpy(noise(4, 2, 20, 30, 3)), torch.from_numpy(made_densities(5, 2, 5, 6, 9))
    scales = torch.tensor([6.0, 6.0])
    drawn = draw_batch(pictures, densities, scale=scales, options=RenderOptions(side_by_side=True))
    assert torch.equal(drawn[:, :, :30], pictures)
    assert torch.equal(drawn[:, :, 30:], draw_batch(pictures, densities, scale=scales, options=RenderOptions()))


def test_what_is_drawn_on_a_device_is_checked() -> None:
    pictures, density, scale = torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.ones(2, 2, 2) / 4, torch.ones(2)
    for wrong in ((pictures.float(), density, scale), (pictures, density[:1], scale), (pictures, density, scale[:1])):
        with pytest.raises(ValueError, match="must be"):
            overlay_batch(wrong[0], wrong[1], scale=wrong[2])


def test_scales_chosen_on_the_device_are_those_chosen_beside_it_however_frames_are_grouped() -> None:
    rng = np.random.default_rng(6)
    maps = [rng.random((6, 8)).astype(np.float32) ** 8 for _ in range(9)]
    shots = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    ours = ScalePerShot().update(saliency(maps, shots))
    for size in (1, 2, 4, 9):
        chooser = ScalePerShot()
        parts = [chooser.update_on_device(saliency(maps[i : i + size], shots[i : i + size])) for i in range(0, 9, size)]
        np.testing.assert_allclose(torch.cat(parts).numpy(), ours, rtol=1e-12)
    assert ScalePerShot(3.5).update_on_device(saliency(maps[:2], [0, 1])).tolist() == [3.5, 3.5]
    # Half on the device, half beside it: one memory.
    chooser = ScalePerShot()
    chooser.update_on_device(saliency(maps[:4], shots[:4]))
    np.testing.assert_allclose(chooser.update(saliency(maps[4:], shots[4:])), ours[4:], rtol=1e-12)


MATRICES = {1: (0.2126, 0.0722), 4: (0.3, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
MATRICES |= {9: (0.2627, 0.0593)} if hasattr(Colorspace, "BT2020") else {}
each_matrix = pytest.mark.parametrize("matrix", MATRICES)
each_range = pytest.mark.parametrize("full", [False, True])


def planes_of(planes: npt.NDArray[np.uint8], height: int, width: int) -> list[npt.NDArray[np.uint8]]:
    flat, luma = planes.reshape(-1), height * width
    small = (height // 2, width // 2)
    return [
        flat[:luma].reshape(height, width),
        flat[luma : luma * 5 // 4].reshape(small),
        flat[luma * 5 // 4 :].reshape(small),
    ]


@each_matrix
@each_range
def test_flat_colours_become_yuv_as_the_standards_define_it(matrix: int, full: bool) -> None:
    kr, kb = MATRICES[matrix]
    colors = [*noise(7, 20, 3).tolist(), [255, 255, 255], [0, 0, 0], [0, 0, 255], [255, 0, 0], [0, 255, 0]]
    pictures = torch.tensor(colors, dtype=torch.uint8)[:, None, None, :].expand(-1, 4, 6, -1)
    got = to_yuv420(pictures, colorspace=matrix, full_range=full).numpy()
    for planes, (r, g, b) in zip(got, np.array(colors) / 255, strict=True):
        luma = kr * r + (1 - kr - kb) * g + kb * b
        blue, red = (b - luma) / 2 / (1 - kb), (r - luma) / 2 / (1 - kr)
        sizes = (0, 255, 255) if full else (16, 219, 224)
        expected = [sizes[0] + sizes[1] * luma, 128 + sizes[2] * blue, 128 + sizes[2] * red]
        for plane, level in zip(planes_of(planes, 4, 6), expected, strict=True):
            # Half a level of rounding; full-range chroma would reach 255.5.
            assert np.abs(plane - min(level, 255)).max() <= 0.5 + 1e-3


@each_matrix
@each_range
@pytest.mark.parametrize(("height", "width"), [(8, 2), (50, 66), (48, 64), (90, 34)])
def test_yuv_made_on_a_device_is_swscales_to_one_level(matrix: int, full: bool, height: int, width: int) -> None:
    picture = noise(height + matrix, height, width, 3)
    frame = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(picture, format="rgb24"),
        format="yuv420p",
        dst_colorspace=5 if matrix == 6 else matrix,
        dst_color_range=2 if full else 1,
    )
    got = to_yuv420(torch.from_numpy(picture)[None], colorspace=matrix, full_range=full).numpy()[0]
    theirs = frame.to_ndarray()
    assert got.shape == theirs.shape
    assert np.abs(got.astype(int) - theirs).max() <= 1
    # Another matrix, or chroma half a line off, is far outside.
    other = to_yuv420(torch.from_numpy(picture)[None], colorspace=1 if matrix == 9 else 9, full_range=full)
    assert np.abs(other.numpy()[0].astype(int) - theirs).max() > 4


@pytest.mark.parametrize(
    ("shape", "wrong"), [((1, 5, 6, 3), {}), ((1, 4, 5, 3), {}), ((1, 4, 4, 3), {"colorspace": 2}), ((4, 4, 3), {})]
)
def test_what_is_made_yuv_is_checked(shape: tuple[int, ...], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        to_yuv420(torch.zeros(shape, dtype=torch.uint8), **({"colorspace": 1} | wrong))
