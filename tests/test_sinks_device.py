"""How a device draws: in turns that fit it, with buffers that are kept. The CPU stands for the device."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from vidsal.frames import Picture
from vidsal.render import RenderOptions, draw_batch, to_yuv420
from vidsal.sinks import device as device_module
from vidsal.sinks.device import MAX_PIXELS_AT_ONCE, DeviceDrawer

HEIGHT, WIDTH = 6, 10


class Film:
    """Pictures of noise with densities, and which of the pictures were asked for."""

    def __init__(self, count: int, *, height: int = HEIGHT, width: int = WIDTH) -> None:
        random = np.random.default_rng(count)
        self.frames = random.integers(0, 256, (count, height, width, 3), np.uint8)
        self.asked: list[int] = []
        self.pictures = [Picture(rgb=partial(self.rgb, number), pts=number) for number in range(count)]
        maps = torch.from_numpy(random.random((count, 3, 5), np.float32))
        self.log_density = maps.flatten(1).log_softmax(1).view_as(maps)
        self.scales = [2.0] * count

    def rgb(self, number: int) -> npt.NDArray[np.uint8]:
        self.asked.append(number)
        return self.frames[number]

    def planes(self) -> list[npt.NDArray[np.uint8]]:
        drawn = draw_batch(
            torch.from_numpy(self.frames), self.log_density.exp(), scale=self.scales, options=RenderOptions()
        )
        return list(to_yuv420(drawn, colorspace=6, full_range=False).numpy())


def drawer(height: int = HEIGHT, width: int = WIDTH) -> DeviceDrawer:
    return DeviceDrawer(
        torch.device("cpu"), render=RenderOptions(), size=(height, width), colorspace=6, full_range=False
    )


@pytest.mark.parametrize(
    ("pixels", "asked"),
    [
        (HEIGHT * WIDTH - 1, [1, 2, 3, 4, 5]),  # one picture is more than may be: it goes alone
        (2 * HEIGHT * WIDTH - 1, [1, 2, 3, 4, 5]),
        (2 * HEIGHT * WIDTH, [2, 2, 4, 4, 5]),
        (3 * HEIGHT * WIDTH, [3, 3, 3, 5, 5]),
        (MAX_PIXELS_AT_ONCE, [5, 5, 5, 5, 5]),
    ],
)
def test_as_many_pictures_go_up_at_once_as_fit_each_asked_for_once(
    monkeypatch: pytest.MonkeyPatch, pixels: int, asked: list[int]
) -> None:
    monkeypatch.setattr(device_module, "MAX_PIXELS_AT_ONCE", pixels)
    film, seen = Film(5), []
    for planes, expected in zip(
        drawer().draw(film.pictures, film.log_density, film.scales), film.planes(), strict=True
    ):
        np.testing.assert_array_equal(planes, expected)
        seen.append(len(film.asked))
    assert seen == asked
    assert film.asked == [0, 1, 2, 3, 4]


def test_sixteen_pictures_of_full_hd_go_up_at_once() -> None:
    assert MAX_PIXELS_AT_ONCE // (1920 * 1080) == 16


def test_buffers_are_kept_for_what_fits_into_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = torch.empty

    def counting(*size: Any, **options: Any) -> torch.Tensor:
        made.extend(size if "pin_memory" in options else ())
        return real(*size, **options)

    drawing = drawer()
    monkeypatch.setattr(device_module.torch, "empty", counting)
    for count in (2, 2, 1, 3, 3):
        film = Film(count)
        drawn = [planes.copy() for planes in drawing.draw(film.pictures, film.log_density, film.scales)]
        np.testing.assert_array_equal(drawn, film.planes())
    one = HEIGHT * WIDTH
    # Three bytes a pixel go up, one and a half come down.
    assert made == [6 * one, 3 * one, 9 * one, 9 * one // 2]


def test_an_odd_picture_gets_its_last_row_and_column_twice() -> None:
    film = Film(2, height=HEIGHT - 1, width=WIDTH - 1)
    drawn = [planes.copy() for planes in drawer().draw(film.pictures, film.log_density, film.scales)]
    # Of the brightness, each pixel by itself: what is drawn is the picture's, and its edges again.
    luma = np.stack(drawn)[:, :HEIGHT]
    np.testing.assert_array_equal(luma[:, -1], luma[:, -2])
    np.testing.assert_array_equal(luma[:, :, -1], luma[:, :, -2])
    even = Film(2, height=HEIGHT - 2, width=WIDTH - 2)
    whole = [p.copy() for p in drawer(HEIGHT - 2, WIDTH - 2).draw(even.pictures, even.log_density, even.scales)]
    np.testing.assert_array_equal(whole, even.planes())
