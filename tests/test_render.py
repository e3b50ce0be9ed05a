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
    DisplayScale,
    RenderOptions,
    draw,
    draw_batch,
    overlay,
    overlay_batch,
    side_by_side,
    to_yuv420,
)
from vidsal.render import batch as batch_module
from vidsal.render.heat import heat_layers

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


def test_a_place_of_the_display_scale_is_the_mix_of_picture_and_its_colour_at_its_opacity() -> None:
    options = RenderOptions(colormap="hot", opacity=0.75, threshold=0.0)
    # The upper left quarter lies at the top of the scale: white, and half of the opacity is taken off there.
    density = np.zeros((4, 4), np.float32)
    density[:2, :2] = 0.25
    drawn = overlay(grey(64, 64, 100), density, scale=4, options=options)
    np.testing.assert_allclose(drawn[8, 8], 100 + 0.75 / 2 * (255 - 100), atol=1)
    # Three tenths of the way up the opacity is full; the colour is that of the 77th of 255 steps.
    drawn = overlay(grey(64, 64, 100), density, scale=4 ** (1 / 0.3), options=options)
    color = cv2.applyColorMap(np.full((1, 1), 76, np.uint8), cv2.COLORMAP_HOT)[0, 0, ::-1].astype(float)
    np.testing.assert_allclose(drawn[8, 8], 100 + 0.75 * (color - 100), atol=2.5)


def test_the_heat_hides_less_where_it_is_hottest_than_around_it() -> None:
    # Along the scale the share of the picture that is left falls, and rises again: what is looked at stays visible.
    relative = np.geomspace(1, 100, 200)
    density = np.asarray(relative / relative.sum(), np.float32)[None]
    top = float(density.max()) * density.size
    black, white = (
        overlay(grey(8, 1600, level), density, scale=top).astype(float)[4].mean(axis=1) for level in (0, 255)
    )
    left = (white - black) / 255
    assert left[-20:].mean() > left.min() + 0.2
    assert left[:20].mean() > 0.99
    assert left.min() == pytest.approx(0.4, abs=0.02)


def test_the_heat_fades_in_without_a_hard_edge() -> None:
    ramp = np.tile(np.linspace(0, 1, 160, dtype=np.float32), (4, 1))
    density = ramp / ramp.sum()
    scale = float(density.max()) * density.size
    drawn = overlay(grey(40, 1600), density, scale=scale, options=RenderOptions(colormap="hot")).astype(int)
    assert np.abs(np.diff(drawn[20], axis=0)).max() <= 4
    assert np.abs(drawn[20, -1] - 128).max() > 30


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
def test_every_colour_map_is_red_green_blue_from_cold_to_hot_along_the_logarithm(name: Colormap) -> None:
    relative = 80.0 ** (np.arange(256) / 255)
    density = np.asarray(relative / relative.sum(), np.float32)[None]
    relative = density[0].astype(float) * 256  # of sum 1 now: its lower end lies below uniform
    top = float(relative.max())
    (layer,) = heat_layers(density, height=1, width=256, scale=top, options=RenderOptions(threshold=0, colormap=name))
    theirs = cv2.applyColorMap(np.arange(256, dtype=np.uint8).reshape(1, 256), getattr(cv2, f"COLORMAP_{name.upper()}"))
    theirs = cv2.cvtColor(theirs, cv2.COLOR_BGR2RGB)[0].astype(int)
    place = np.log(np.maximum(relative, 1)) / np.log(top) * 255
    drawn = layer.colors[0].astype(int)
    begin = layer.left
    for color, at in zip(drawn, place[begin:], strict=True):
        candidates = theirs[[int(np.floor(at)), min(255, int(np.ceil(at)))]]
        assert min(np.abs(color - each).max() for each in candidates) == 0
    hot = drawn[-1]
    if name in ("turbo", "jet"):  # judged by eye, not by OpenCV: their hot end is red
        assert hot[0] > 2 * hot[2]
        assert hot[0] > 2 * hot[1]


def test_the_default_scale_is_the_same_for_every_frame_shot_and_file() -> None:
    sharp, vague = one_cell(6, 8, 1, 1) + 1e-6, one_cell(6, 8, 1, 1) + 0.05
    scales = DisplayScale().update(saliency([vague, sharp, sharp, vague], [0, 0, 1, 1]))
    np.testing.assert_array_equal(scales, [RenderOptions().scale] * 4)
    np.testing.assert_array_equal(
        DisplayScale(RenderOptions(scale=3.5)).update(saliency([vague, sharp], [0, 1])), [3.5, 3.5]
    )


PER_SHOT = RenderOptions(scale_per_shot=True)


def test_a_scale_per_shot_stays_through_a_shot_and_is_chosen_anew_at_a_cut() -> None:
    sharp, vague = one_cell(6, 8, 1, 1) + 1e-6, one_cell(6, 8, 1, 1) + 0.05
    scales = DisplayScale(PER_SHOT).update(saliency([vague, sharp, sharp, vague], [0, 0, 1, 1]))
    relative = float((vague / vague.sum()).max()) * 48
    np.testing.assert_allclose(scales, [relative, relative, 48, 48], rtol=1e-3)


def test_a_scale_per_shot_does_not_depend_on_how_frames_are_grouped() -> None:
    rng = np.random.default_rng(3)
    maps = [rng.random((6, 8)).astype(np.float32) ** 8 for _ in range(9)]
    shots = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    whole = DisplayScale(PER_SHOT).update(saliency(maps, shots))
    assert len(set(whole)) == 3
    for size in (1, 2, 4):
        chooser = DisplayScale(PER_SHOT)
        parts = [chooser.update(saliency(maps[i : i + size], shots[i : i + size])) for i in range(0, 9, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_flat_map_is_not_drawn() -> None:
    flat = np.full((6, 8), 1 / 48, np.float32)
    picture = np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    assert DisplayScale(PER_SHOT).update(saliency([flat], [0])).tolist() == [LEAST_SCALE]
    for scale in (LEAST_SCALE, 100.0, 1.01):
        np.testing.assert_array_equal(overlay(picture, flat, scale=scale), picture)
    # One that is nearly flat would be red all over on its own peak; the least scale is what prevents it.
    vague = flat * np.where(np.arange(48).reshape(6, 8) % 2, 1.2, 0.8).astype(np.float32)
    assert np.abs(overlay(picture, vague, scale=LEAST_SCALE).astype(int) - picture).max() == 0
    assert np.abs(overlay(picture, vague, scale=1.2).astype(int) - picture).max() > 60


def test_reset_makes_the_next_frame_choose() -> None:
    sharp, vague = one_cell(6, 8, 1, 1) + 1e-6, np.ones((6, 8), np.float32)
    chooser = DisplayScale(PER_SHOT)
    chooser.update(saliency([vague], [0]))
    chooser.reset()
    assert chooser.update(saliency([sharp], [0]))[0] == pytest.approx(48, rel=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"opacity": 1.5}, {"colormap": "rainbow"}, {"threshold": 1.0}, {"scale": 1.0}, {"scale": float("nan")}),
        *({"style": ()}, {"style": ("heat", "heat")}, {"style": ("fog",)}, {"legend": "maybe"}),
    ],
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
    scales = [1.7, 6.0, 33.3]
    got = overlay_batch(torch.from_numpy(pictures), torch.from_numpy(densities), scale=scales, options=options)
    ours = [
        overlay(picture, density, scale=scale, options=options)
        for picture, density, scale in zip(pictures, densities, scales, strict=True)
    ]
    assert np.abs(got.numpy().astype(int) - ours).max() <= 1


def test_a_scale_a_tenth_too_large_would_fail_the_comparison_with_overlay() -> None:
    picture, density = noise(0, 60, 80, 3), made_densities(1, 1, 12, 16, 4)[0]
    got = overlay_batch(torch.from_numpy(picture)[None], torch.from_numpy(density)[None], scale=[6.6]).numpy()
    assert np.abs(got[0].astype(int) - overlay(picture, density, scale=6.0)).max() > 4


def test_a_batch_drawn_in_pieces_is_the_same_and_its_inputs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, densities = torch.from_numpy(noise(2, 5, 31, 47, 3)), torch.from_numpy(made_densities(3, 5, 6, 8, 9))
    kept = pictures.clone()
    scales = [3.0, 4.5, 6.0, 7.5, 9.0]
    whole = overlay_batch(pictures, densities, scale=scales)
    monkeypatch.setattr(batch_module, "PIXELS_AT_ONCE", 2 * 31 * 47)
    assert torch.equal(overlay_batch(pictures, densities, scale=scales), whole)
    assert torch.equal(pictures, kept)
    assert not torch.equal(whole, kept)


def test_side_by_side_works_on_a_device_too() -> None:
    pictures, densities = torch.from_numpy(noise(4, 2, 20, 30, 3)), torch.from_numpy(made_densities(5, 2, 5, 6, 9))
    scales = [6.0, 6.0]
    drawn = draw_batch(pictures, densities, scale=scales, options=RenderOptions(side_by_side=True))
    assert torch.equal(drawn[:, :, :30], pictures)
    assert torch.equal(drawn[:, :, 30:], draw_batch(pictures, densities, scale=scales, options=RenderOptions()))


def test_what_is_drawn_on_a_device_is_checked() -> None:
    pictures, density, scale = torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.ones(2, 2, 2) / 4, [2.0, 2.0]
    for wrong in ((pictures.float(), density, scale), (pictures, density[:1], scale), (pictures, density, scale[:1])):
        with pytest.raises(ValueError, match="must be"):
            overlay_batch(wrong[0], wrong[1], scale=wrong[2])


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
