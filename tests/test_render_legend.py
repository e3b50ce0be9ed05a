"""The legend: its colours are those of the scale, it can be read at any size, stands still and takes little room."""

from __future__ import annotations

from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from vidsal.render import Colormap, Layer, RenderOptions, compose, layers_of, overlay
from vidsal.render.heat import heat_layers
from vidsal.render.legend import legend_layers
from vidsal.render.text import line_height, text_cover, text_size

SIZES = [(180, 320), (240, 320), (568, 320), (360, 640), (432, 768), (720, 1280), (1920, 1080), (2160, 3840)]


def legend(size: tuple[int, int], *, scale: float = 100.0, **options: Any) -> Layer:
    (layer,) = legend_layers(*size, scale=scale, options=RenderOptions(**options))
    return layer


def bar_of(layer: Layer, colormap: Colormap, *, above: float) -> dict[int, list[int]]:
    """The columns of the legend in which a colour of the map stands, by its number of 256."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 256)
    theirs = cv2.applyColorMap(levels, getattr(cv2, f"COLORMAP_{colormap.upper()}"))[0, :, ::-1]
    rows = [
        {
            number: np.flatnonzero((row == theirs[number]).all(axis=1)).tolist()
            for number in range(int(above * 255) + 2, 256)
        }
        for row in layer.colors
    ]
    return max(rows, key=lambda found: sum(bool(columns) for columns in found.values()))


@pytest.mark.parametrize("colormap", get_args(Colormap))
def test_the_legends_colours_are_those_of_the_heat_along_the_logarithm(colormap: Colormap) -> None:
    threshold, scale, size = 0.2, 100.0, (720, 1280)
    layer = legend(size, colormap=colormap, threshold=threshold)
    found = bar_of(layer, colormap, above=threshold)
    numbers = np.array([number for number, columns in found.items() if len(columns) in (1, 2)])
    places = np.array([np.mean(found[number]) for number in numbers])
    assert len(numbers) > 100
    slope, begin = np.polyfit(numbers / 255, places, 1)
    assert np.abs(begin + slope * numbers / 255 - places).max() < 2
    # A density of ten times uniform, half of the way up by its logarithm, has the colour of the middle of the bar.
    for relative in (4.0, 10.0, 50.0):
        density = np.full((1, 1000), (1 - relative / 1000) / 999, np.float32)
        density[0, 0] = relative / 1000
        (heat,) = heat_layers(
            density, height=1, width=1000, scale=scale, options=RenderOptions(colormap=colormap, threshold=threshold)
        )
        at = round(begin + slope * np.log(relative) / np.log(scale))
        bar = layer.colors[:, max(0, at - 1) : at + 2].reshape(-1, 3).astype(int)
        assert np.abs(bar - heat.colors[0, 0]).max(axis=1).min() <= 6


def test_what_is_not_drawn_has_no_colour_in_the_legend() -> None:
    layer = legend((720, 1280), threshold=0.5)
    assert len(bar_of(layer, "plasma", above=0.5)) > 100
    below = cv2.applyColorMap(np.full((1, 1), 100, np.uint8), cv2.COLORMAP_PLASMA)[0, 0, ::-1]
    assert not (layer.colors == below).all(axis=2).any()
    assert (legend((720, 1280), threshold=0.1).colors == below).all(axis=2).any()


@pytest.mark.parametrize(
    ("scale", "labels"),
    [
        (100.0, ["1x", "3x", "10x", "30x", "100x"]),
        (60.0, ["1x", "3x", "10x", "30x"]),
        (6.0, ["1x", "2x", "5x"]),
        (20.0, ["1x", "3x", "10x"]),
        (1.5, ["1x"]),
        (40_000.0, ["1x", "10x", "100x", "1000x", "10000x"]),
    ],
)
def test_its_numbers_stand_where_their_colours_are(scale: float, labels: list[str]) -> None:
    size = (1080, 1920)
    layer = legend(size, scale=scale, threshold=0.0)
    text_pixels = round(0.018 * 1080)
    found = bar_of(layer, "plasma", above=0.0)
    places = {number: np.mean(columns) for number, columns in found.items() if 1 <= len(columns) <= 6}
    slope, begin = np.polyfit(np.array([*places]) / 255, [*places.values()], 1)
    white = (layer.alpha * layer.colors.min(axis=2)).astype(np.float32)
    last = -1
    for label in labels:
        cover = text_cover(label, text_pixels).astype(np.float32)
        match = cv2.matchTemplate(white, cover, cv2.TM_CCOEFF_NORMED)
        value = float(label[:-1])
        wanted = begin + slope * np.log(value) / np.log(scale) - cover.shape[1] / 2
        wanted = min(max(begin, wanted), begin + slope - cover.shape[1])
        near = match[:, max(0, round(wanted) - 3) : round(wanted) + 4]
        assert near.max() > 0.9, label
        assert round(wanted) > last, "they do not touch"
        last = round(wanted) + cover.shape[1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "style", [("heat",), ("contour",), ("spotlight",), ("heat", "contour", "spotlight")], ids="-".join
)
def test_it_can_be_read_at_any_size_and_takes_little_of_it(size: tuple[int, int], style: Any) -> None:
    layer = legend(size, style=style)
    height, width = layer.alpha.shape
    rows, columns = layer.place
    assert 0 < rows.start < rows.stop < size[0] and 0 < columns.start < columns.stop < size[1]
    assert height <= 0.3 * size[0] and width <= 0.5 * size[1]
    if min(size) >= 360:
        assert height * width < 0.06 * size[0] * size[1]
    # Its letters are of ten pixels at least, and 1.8 % of the shorter side: 19 in full HD.
    assert height >= line_height(max(10, round(0.018 * min(size))))
    # On white and on black footage: letters against the plate, by the formula of the web's guidelines (WCAG 2).
    for level in (0, 255):
        drawn = compose(np.full((*size, 3), level, np.uint8), [layer])[layer.place].astype(float) / 255
        linear = np.where(drawn <= 0.04045, drawn / 12.92, ((drawn + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
        assert (linear.max() + 0.05) / (np.median(linear) + 0.05) > 4.5


def test_it_stands_in_the_lower_right_corner_whatever_is_drawn_elsewhere() -> None:
    maps = np.random.default_rng(0).random((3, 24, 32), np.float32) ** 8
    places = set()
    for density in maps / maps.sum(axis=(1, 2), keepdims=True):
        with_it, without = (
            layers_of(density, height=720, width=1280, options=RenderOptions(legend=shown)) for shown in ("on", "off")
        )
        assert len(with_it) == len(without) + 1
        rows, columns = with_it[-1].place
        places.add((rows.start, rows.stop, columns.start, columns.stop))
    ((_, bottom, _, right),) = places
    assert 690 < bottom < 720 and 1250 < right < 1280


@pytest.mark.parametrize("size", [(48, 64), (120, 160), (60, 1000), (1000, 100), (1, 1)])
def test_a_picture_too_small_for_it_has_none(size: tuple[int, int]) -> None:
    assert legend_layers(*size, scale=100.0, options=RenderOptions(style=("heat", "contour", "spotlight"))) == ()


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, True),
        ({"style": ("peak", "boxes")}, False),
        ({"style": ("peak", "contour")}, True),
        ({"opacity": 0.0}, False),
        ({"opacity": 0.0, "style": ("heat", "contour")}, True),
    ],
)
def test_there_is_a_legend_only_for_what_needs_one(options: dict[str, Any], shown: bool) -> None:
    assert bool(legend_layers(720, 1280, scale=100.0, options=RenderOptions(**options))) is shown


def test_it_can_be_left_out() -> None:
    picture = np.full((360, 640, 3), 128, np.uint8)
    density = np.full((9, 16), 1 / 144, np.float32)
    np.testing.assert_array_equal(overlay(picture, density, options=RenderOptions(legend="off")), picture)
    assert (overlay(picture, density)[300:, 400:] != 128).any()
    assert (overlay(picture, density)[:200] == 128).all()


def test_text_is_as_large_as_it_says() -> None:
    for pixels in (10, 19, 40):
        for text in ("10x", "predicted attention, 1x = evenly spread", "25"):
            cover = text_cover(text, pixels)
            assert cover.shape == (line_height(pixels), text_size(text, pixels))
            ys, xs = np.nonzero(cover > 100)
            assert ys.min() <= 0.25 * pixels and xs.max() >= cover.shape[1] - 0.25 * pixels
            assert cover.max() > 220


# The default colours.

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
# severity 1.0, on linear RGB.
VISION: dict[str, npt.NDArray[np.float64]] = {
    "all cones": np.eye(3),
    "no long cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no middle cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no short cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def lightness(colormap: Colormap, seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """CIE L* of the 256 colours, 0 to 100, as eyes of a kind see them."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 256)
    rgb = cv2.applyColorMap(levels, getattr(cv2, f"COLORMAP_{colormap.upper()}"))[0, :, ::-1] / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = np.clip(linear @ seen.T, 0, 1) @ (0.2126, 0.7152, 0.0722)
    return np.asarray(np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y))


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("colormap", ["plasma", "inferno", "magma", "viridis", "cividis"])
def test_the_default_colours_are_ordered_in_lightness_with_all_kinds_of_colour_vision(
    vision: str, colormap: Colormap
) -> None:
    seen = lightness(colormap, VISION[vision])
    assert np.diff(seen[::8]).min() > 0
    drawn = seen[round(0.2 * 255) :]
    assert drawn[-1] - drawn[0] > 45


def test_colours_that_are_not_ordered_would_be_found() -> None:
    assert RenderOptions().colormap == "plasma"
    for colormap in ("turbo", "jet"):
        assert np.diff(lightness(colormap, VISION["all cones"])[::8]).min() < -2
