"""Geometry judged by hand-computed cases; normalisation by the formula."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidsal.preprocess import PreprocessOptions, Preprocessor, Viewport

CANVAS = {"canvas_height": 240, "canvas_width": 320}


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


def test_a_picture_of_any_size_lands_in_the_same_place_as_its_small_form() -> None:
    large = np.zeros((1, 720, 1280, 3), np.uint8)
    large[:, 400:480, 800:880] = 255
    small = large[:, ::4, ::4]
    preprocess = Preprocessor(PreprocessOptions())
    torch.testing.assert_close(preprocess(large), preprocess(np.ascontiguousarray(small)))


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        Preprocessor(PreprocessOptions())(np.zeros((1, 8, 8, 3), np.float32))  # type: ignore[arg-type]
