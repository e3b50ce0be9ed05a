"""Layers: over a picture they give the drawing, and alone what a compositor lays over the picture to get it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from vidsal.render import Layer, RenderOptions, compose, flatten, layers_of, overlay, rgba_batch

Pixels = npt.NDArray[Any]


def made_density(seed: int, h: int = 9, w: int = 12) -> npt.NDArray[np.float32]:
    density = np.random.default_rng(seed).random((h, w), np.float32) ** 6
    return np.asarray(density / density.sum(), np.float32)


def noise(seed: int, height: int, width: int, deep: bool = False) -> Pixels:
    most, kind = (65536, np.uint16) if deep else (256, np.uint8)
    return np.random.default_rng(seed).integers(0, most, (height, width, 3)).astype(kind)


def made_layer(seed: int, height: int, width: int, *, top: int = 0, left: int = 0, deep: bool = False) -> Layer:
    alpha = np.random.default_rng(seed).random((height, width), np.float32)
    alpha[: height // 2] *= alpha[: height // 2] > 0.5  # some of it draws nothing
    return Layer(noise(seed + 1, height, width, deep), alpha, top, left)


LAYERS = [
    made_layer(1, 20, 30),
    made_layer(3, 8, 11, top=4, left=17),
    made_layer(5, 15, 9, top=5, left=21, deep=True),
]


def over(picture: Pixels, layers: list[Layer]) -> npt.NDArray[np.float64]:
    """The definition, pixel by pixel: each layer hides its alpha of what lies under it; 0 to 1."""
    seen = picture / np.iinfo(picture.dtype).max
    for layer in layers:
        most = np.iinfo(layer.colors.dtype).max
        for row in range(layer.alpha.shape[0]):
            for column in range(layer.alpha.shape[1]):
                share, y, x = float(layer.alpha[row, column]), layer.top + row, layer.left + column
                seen[y, x] = share * (layer.colors[row, column] / most) + (1 - share) * seen[y, x]
    return np.asarray(seen)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_layers_over_a_picture_hide_their_alpha_of_it(deep: bool, count: int) -> None:
    picture, layers = noise(7, 20, 30, deep), LAYERS[:count]
    kept = picture.copy()
    drawn = compose(picture, layers)
    most = np.iinfo(picture.dtype).max
    assert drawn.dtype == picture.dtype
    # Every layer of 8 bits rounds once.
    assert np.abs(drawn / most - over(picture, layers)).max() <= max(0.51, count * 0.5 + 0.01) / most
    np.testing.assert_array_equal(picture, kept)
    assert not np.shares_memory(drawn, picture)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_layers_without_a_picture_laid_over_one_give_what_drawing_on_it_gives(deep: bool, count: int) -> None:
    picture, layers = noise(8, 20, 30, deep), LAYERS[:count]
    alone = flatten(layers, height=20, width=30, deep=deep)
    most = np.iinfo(picture.dtype).max
    assert alone.shape == (20, 30, 4) and alone.dtype == picture.dtype
    alpha = alone[..., 3:] / most
    laid = alpha * (alone[..., :3] / most) + (1 - alpha) * (picture / most)
    # Colours and alpha are rounded to a level each; alpha's half level weighs as much as the colours differ.
    assert np.abs(laid - over(picture, layers)).max() <= 1.01 / most
    assert not alone[alone[..., 3] == 0].any()


@pytest.mark.parametrize("deep", [False, True])
def test_what_is_drawn_over_a_picture_is_its_layers_composed(deep: bool) -> None:
    picture, density = noise(9, 27, 36, deep), made_density(2)
    layers = layers_of(density, height=27, width=36, scale=9.0, deep=deep)
    np.testing.assert_array_equal(compose(picture, layers), overlay(picture, density, scale=9.0))
    assert (overlay(picture, density, scale=9.0) != picture).any()


def test_what_is_drawn_without_a_picture_on_a_device_is_that_of_the_processor() -> None:
    densities = np.stack([made_density(seed) for seed in range(3)])
    options, scales = RenderOptions(opacity=0.8), [4.0, 9.0, 20.0]
    got = rgba_batch(torch.from_numpy(densities), height=31, width=47, scale=scales, options=options).numpy()
    for one, density, scale in zip(got, densities, scales, strict=True):
        expected = flatten(layers_of(density, height=31, width=47, scale=scale, options=options), height=31, width=47)
        assert np.abs(one[..., 3].astype(int) - expected[..., 3]).max() <= 1
        seen = (one[..., 3] > 0) & (expected[..., 3] > 0)
        assert np.abs(one[seen].astype(int) - expected[seen]).max() <= 2
        assert seen.any() and not seen.all()


@pytest.mark.parametrize("place", [{"top": -1}, {"left": -1}, {"top": 13}, {"left": 20}])
def test_a_layer_that_reaches_beyond_the_picture_is_refused(place: dict[str, int]) -> None:
    layer = made_layer(1, 8, 11, **place)
    with pytest.raises(ValueError, match="reaches beyond"):
        compose(noise(1, 20, 30), [layer])
    with pytest.raises(ValueError, match="reaches beyond"):
        flatten([layer], height=20, width=30)


def test_a_layer_is_checked_when_it_is_made() -> None:
    colors, alpha = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.float32)
    for wrong in ((colors[..., 0], alpha), (colors.astype(np.float32), alpha), (colors, alpha[:1])):
        with pytest.raises(ValueError, match="must be"):
            Layer(*wrong)
    with pytest.raises(ValueError, match="must be"):
        Layer(colors, alpha.astype(np.float64))  # type: ignore[arg-type]
