"""Geometry judged by hand-computed cases; normalisation by the formula; the blur by SciPy."""

import dataclasses

import cv2
import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidsal.errors import ConfigError
from vidsal.preprocess import PreprocessOptions, Preprocessor, Viewport, blur_first_axis

CANVAS = {"canvas_height": 240, "canvas_width": 320}
BLURRED = PreprocessOptions(height=48, width=64, blur_pixels=7.0)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (0, 0, 240, 320)),
        (720, 1280, (30, 0, 180, 320)),
        (1920, 1080, (0, 92, 240, 135)),
        (272, 640, (52, 0, 136, 320)),
        (333, 77, (0, 132, 240, 55)),
        (16, 16, (0, 40, 240, 240)),
        (1, 5000, (119, 0, 1, 320)),
        (5000, 1, (0, 159, 240, 1)),
    ],
)
def test_the_letter_box_is_the_authors(height: int, width: int, expected: tuple[int, int, int, int]) -> None:
    view = Viewport.fit(height, width, **CANVAS)
    assert (view.top, view.left, view.height, view.width) == expected


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_the_picture_lies_whole_on_the_canvas(height: int, width: int) -> None:
    view = Viewport.fit(height, width, **CANVAS)
    assert view.height >= 1 and view.width >= 1
    assert view.top >= 0 and view.top + view.height <= 240
    assert view.left >= 0 and view.left + view.width <= 320


def test_cropping_gives_a_density_and_keeps_ratios() -> None:
    view = Viewport.fit(720, 1280, **CANVAS)
    canvas = torch.randn(2, 240, 320)
    part = view.crop(canvas)
    assert part.shape == (2, 180, 320)
    torch.testing.assert_close(part.exp().sum((1, 2)), torch.ones(2))
    torch.testing.assert_close(part[:, 5, 7] - part[:, 100, 300], canvas[:, 35, 7] - canvas[:, 130, 300])


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_pixels_are_normalised_by_the_formula_and_bars_are_black(order: str) -> None:
    options = PreprocessOptions(
        channel_order=order,  # type: ignore[arg-type]
        divisor=2.0,
        mean=(10.0, 20.0, 30.0),
        std=(1.0, 2.0, 4.0),
    )
    frames = np.zeros((1, 180, 320, 3), np.uint8)
    frames[...] = (100, 150, 200)
    pixels = Preprocessor(options)(frames)
    channels = (100, 150, 200) if order == "rgb" else (200, 150, 100)
    for channel, (value, mean, std) in enumerate(zip(channels, options.mean, options.std, strict=True)):
        assert pixels[0, channel, 120, 160].item() == pytest.approx((value / 2 - mean) / std)
        assert pixels[0, channel, 3, 160].item() == pytest.approx((0 - mean) / std)


def test_pixels_are_normalised_by_the_statistics_of_imagenet_unless_told_otherwise() -> None:
    frames = np.full((1, 240, 320, 3), 100, np.uint8)
    pixels = Preprocessor(PreprocessOptions())(frames)
    assert pixels.shape == (1, 3, 240, 320)
    expected = [(100 / 255 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (100 / 255 - 0.406) / 0.225]
    assert pixels[0, :, 7, 9].tolist() == pytest.approx(expected)


def test_a_picture_of_any_size_lands_in_the_same_place_as_its_small_form() -> None:
    large = np.zeros((1, 720, 1280, 3), np.uint8)
    large[:, 400:480, 800:880] = 255
    small = large[:, ::4, ::4]
    preprocess = Preprocessor(PreprocessOptions())
    torch.testing.assert_close(preprocess(large), preprocess(np.ascontiguousarray(small)))


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        Preprocessor(PreprocessOptions())(np.zeros((1, 8, 8, 3), np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width"), [(97, 301), (301, 97), (240, 320), (31, 40)])
def test_bilinear_is_the_default_of_cv2_from_the_full_picture(height: int, width: int) -> None:
    options = PreprocessOptions(divisor=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), resize="bilinear")
    preprocess = Preprocessor(options)
    assert preprocess.frame_size(height, width) == (height, width)
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    view = preprocess.viewport(height, width)
    got = preprocess(picture[None])[0, :, view.top : view.top + view.height, view.left : view.left + view.width]
    expected = cv2.resize(picture, (view.width, view.height))
    np.testing.assert_array_equal(got.permute(1, 2, 0).numpy(), expected)
    # The average over an area is another picture wherever the picture is made smaller.
    averaged = Preprocessor(dataclasses.replace(options, resize="area"))(picture[None])
    same = torch.equal(averaged, preprocess(picture[None]))
    assert same == (view.height * view.width >= height * width)


def test_frames_averaged_over_areas_are_asked_for_at_their_size_on_the_canvas() -> None:
    assert Preprocessor(PreprocessOptions()).frame_size(720, 1280) == (180, 320)


def random_map(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5)) * 3


# In the last two the kernel is wider than the map, so that the edges are reflected more than once.
@pytest.mark.parametrize(("height", "width"), [(48, 64), (96, 128), (300, 128), (61, 222), (12, 16), (5, 40)])
def test_the_finished_map_is_blurred_in_pixels_of_the_picture(height: int, width: int) -> None:
    preprocess = Preprocessor(BLURRED)
    view = preprocess.viewport(height, width)
    logits = random_map(2, 48, 64)
    part = logits[:, view.top : view.top + view.height, view.left : view.left + view.width].double().exp().numpy()
    expected = np.stack(
        [
            scipy.ndimage.gaussian_filter(one / one.sum(), (7 * view.height / height, 7 * view.width / width))
            for one in part
        ]
    )
    got = preprocess.to_picture(logits, height, width)
    assert got.shape == expected.shape and got.dtype == torch.float32
    torch.testing.assert_close(got.exp().sum((1, 2)), torch.ones(2))
    np.testing.assert_allclose(got.exp().numpy(), expected, rtol=1e-4)


def test_a_map_that_is_not_blurred_is_the_map_cut_out_of_the_canvas() -> None:
    preprocess = Preprocessor(PreprocessOptions(height=48, width=64))
    logits = random_map(3, 2, 48, 64)
    torch.testing.assert_close(preprocess.to_picture(logits, 61, 222), preprocess.viewport(61, 222).crop(logits))
    assert not torch.allclose(Preprocessor(BLURRED).to_picture(logits, 61, 222), preprocess.to_picture(logits, 61, 222))


def test_a_map_that_is_not_blurred_keeps_logs_that_no_density_can_hold() -> None:
    logits = torch.zeros(48, 64)
    logits[0, 0] = -500.0
    finished = Preprocessor(PreprocessOptions(height=48, width=64)).to_picture(logits, 48, 64)
    assert (finished[0, 0] - finished[5, 5]).item() == pytest.approx(-500)


# At 0 and 0.1 the kernel is one element; at 0.3 and 1 it is short; at 9 it is wider than the values.
@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.3, 1.0, 2.5, 9.0])
def test_the_blur_along_an_axis_is_that_of_scipy(sigma: float) -> None:
    values = np.random.default_rng(0).random((11, 3))
    before = values.copy()
    got = blur_first_axis(values, sigma=sigma)
    expected = scipy.ndimage.gaussian_filter1d(values, sigma, axis=0) if sigma else values
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    got[:] = 0
    np.testing.assert_array_equal(values, before)


def test_a_map_is_blurred_alike_alone_and_in_a_batch() -> None:
    preprocess = Preprocessor(BLURRED)
    logits = random_map(2, 3, 48, 64)
    together = preprocess.to_picture(logits, 61, 222)
    torch.testing.assert_close(together[1, 2], preprocess.to_picture(logits[1, 2], 61, 222))


def test_a_density_of_a_single_cell_stays_finite_when_blurred() -> None:
    logits = torch.full((48, 64), -1e4)
    logits[20, 30] = 0
    finished = Preprocessor(dataclasses.replace(BLURRED, blur_pixels=0.5)).to_picture(logits, 48, 64)
    assert torch.isfinite(finished).all()
    assert finished.exp().sum().item() == pytest.approx(1)


def test_the_blur_can_be_made_in_inference_and_used_in_training() -> None:
    preprocess = Preprocessor(dataclasses.replace(BLURRED, blur_pixels=3.25))
    with torch.inference_mode():
        preprocess.to_picture(random_map(48, 64), 48, 64)
    logits = random_map(48, 64).requires_grad_()
    preprocess.to_picture(logits, 48, 64).square().sum().backward()
    assert logits.grad is not None and logits.grad.abs().max() > 0


@pytest.mark.parametrize(
    "wrong", [{"resize": "cubic"}, *({"blur_pixels": value} for value in (-1.0, float("nan"), float("inf")))]
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PreprocessOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"height": 15}, {"width": 15}, {"divisor": 0.0}, {"std": (1.0, 0.0, 1.0)}])
def test_a_canvas_below_16_and_divisors_of_0_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))} must be"):
        PreprocessOptions(**wrong)  # type: ignore[arg-type]
    assert PreprocessOptions(height=16, width=16).height == 16


@pytest.mark.parametrize("size", [(240, 320), (180, 320), (720, 1280), (301, 450), (90, 500), (50, 40)])
def test_letter_boxing_on_a_device_is_that_of_the_cpu_within_a_level(size: tuple[int, int]) -> None:
    preprocess = Preprocessor(PreprocessOptions(resize="bilinear", channel_order="bgr"))
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, *size, 3), np.uint8)
    result = preprocess._letter_box_on(torch.device("cpu"), frames)
    expected = preprocess._letter_box(frames).float()
    assert float((result - expected).abs().max()) <= 1
    assert float((result != expected).float().mean()) < 0.15


def test_shrinking_by_area_is_left_to_the_cpu() -> None:
    area, bilinear = Preprocessor(PreprocessOptions()), Preprocessor(PreprocessOptions(resize="bilinear"))
    assert not area._resizes_on_device(720, 1280)
    assert area._resizes_on_device(180, 320)
    assert bilinear._resizes_on_device(720, 1280)


# Canvases without bars.


def test_a_stretched_picture_covers_the_whole_canvas() -> None:
    preprocess = Preprocessor(
        PreprocessOptions(height=48, width=64, divisor=1, mean=(0, 0, 0), std=(1, 1, 1), fit="stretch")
    )
    frame = np.zeros((1, 100, 30, 3), np.uint8)
    frame[0, :, 15:] = 200
    pixels = preprocess(frame)
    assert pixels.shape == (1, 3, 48, 64)
    assert not pixels[..., :31].any() and (pixels[..., 33:] == 200).all()
    assert preprocess.frame_size(100, 30) == (48, 64)
    assert preprocess.to_picture(torch.randn(2, 48, 64), 100, 30).shape == (2, 48, 64)


def test_the_canvas_of_a_picture_inside_is_as_small_as_the_picture_and_never_larger() -> None:
    options = PreprocessOptions(height=320, width=320, fit="inside", cells=8)
    preprocess = Preprocessor(options)
    for size, canvas in {
        (480, 640): (240, 320),
        (640, 480): (320, 240),
        (100, 50): (96, 48),
        (3, 900): (8, 320),
    }.items():
        view = preprocess.viewport(*size)
        assert (view.canvas_height, view.canvas_width) == (view.height, view.width) == canvas
        assert preprocess.frame_size(*preprocess.frame_size(*size)) == canvas
        pixels = preprocess(np.full((1, *size, 3), 7, np.uint8))
        assert pixels.shape[2:] == canvas
        finished = preprocess.to_picture(torch.randn(1, *canvas), *size)
        assert finished.shape[1:] == canvas and finished.exp().sum().item() == pytest.approx(1)


SHAPE = PreprocessOptions(fit="shape", cells=16)


@pytest.mark.parametrize(
    ("size", "canvas", "shown"),
    [
        ((480, 640), (240, 320), (240, 320)),  # of the canvas's own shape
        ((1080, 1920), (208, 352), (198, 352)),
        ((576, 704), (240, 288), (235, 288)),
        ((500, 500), (256, 256), (256, 256)),
        ((817, 1920), (176, 384), (163, 384)),  # 1.2 times as large as in a letter-box
        ((1920, 1080), (288, 176), (288, 162)),
        ((4, 4000), (16, 384), (1, 384)),
        ((1, 1), (256, 256), (256, 256)),
    ],
)
def test_a_canvas_of_the_pictures_shape_has_hardly_any_bars(
    size: tuple[int, int], canvas: tuple[int, int], shown: tuple[int, int]
) -> None:
    preprocess = Preprocessor(SHAPE)
    view = preprocess.viewport(*size)
    assert (view.canvas_height, view.canvas_width) == canvas
    assert (view.height, view.width) == preprocess.frame_size(*size) == shown
    pixels = preprocess(np.full((1, *shown, 3), 255, np.uint8))
    assert pixels.shape[2:] == canvas
    white = pixels[0, 0] == pixels[0, 0].max()
    assert white[view.top : view.top + view.height, view.left : view.left + view.width].all()
    assert white.sum() == view.height * view.width
    finished = preprocess.to_picture(torch.randn(1, *canvas), *size)
    assert finished.shape[1:] == shown and finished.exp().sum().item() == pytest.approx(1)


@given(height=st.integers(1, 5000), width=st.integers(1, 5000), cells=st.sampled_from([1, 8, 16, 32]))
def test_a_picture_that_a_decoder_made_small_lies_where_the_whole_one_does(height: int, width: int, cells: int) -> None:
    options = dataclasses.replace(SHAPE, cells=cells)
    view = Viewport.of(height, width, options)
    assert Viewport.of(view.height, view.width, options) == view
    assert view.canvas_height % cells == view.canvas_width % cells == 0
    assert 0 <= view.canvas_height - view.height < cells and 0 <= view.canvas_width - view.width < cells
    letter_box = Viewport.fit(height, width, canvas_height=options.height, canvas_width=options.width)
    largest = 1.2 * max(letter_box.height, letter_box.width) + cells
    assert max(view.height, view.width) <= largest


def test_what_fills_the_longer_side_is_cropped_from_the_canvas_that_was_used() -> None:
    # An ensemble's frames are as large as its largest member asks for, and may be a row off the picture's shape.
    preprocess = Preprocessor(SHAPE)
    canvas = preprocess(np.zeros((1, 239, 422, 3), np.uint8)).shape[2:]
    finished = preprocess.to_picture(torch.zeros(1, *canvas), 1080, 1920)
    assert finished.shape[1:] == (198, 352)


def test_in_training_a_canvas_of_the_pictures_shape_is_a_letter_box() -> None:
    assert Viewport.on_canvas(1080, 1920, SHAPE) == Viewport.fit(1080, 1920, canvas_height=240, canvas_width=320)
