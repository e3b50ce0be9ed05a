"""The motion between two frames, and the colours that it is shown in."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from vidsal.flow import BackwardFlow, motion_colours


def blobs(seed: int = 0) -> np.ndarray:
    """(96, 128) uint8 with things of all sizes."""
    noise = np.random.default_rng(seed).uniform(0, 255, (96, 128)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2) + cv2.GaussianBlur(noise, (0, 0), 5)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.mark.parametrize(("right", "down"), [(3, 0), (-2, 0), (0, 4), (2, -3)])
def test_the_way_back_is_the_opposite_of_how_the_picture_moved(right: int, down: int) -> None:
    before = blobs()
    after = np.roll(before, (down, right), axis=(0, 1))
    back = BackwardFlow()(before, after)[12:-12, 12:-12]
    np.testing.assert_allclose(np.median(back, axis=(0, 1)), (-right, -down), atol=0.2)


def test_directions_have_the_colours_of_the_published_wheel() -> None:
    # Right, down, left, up, at full speed: steps 0, 13.5, 27 and 40.5 of 0 to 54, worked out from the wheel's table.
    motion = np.array([[[1, 0], [0, 1], [-1, 0], [0, -1]]], np.float32)
    expected = [(255, 0, 0), (255, 229, 0), (0, 209, 255), (88, 0, 255)]
    np.testing.assert_allclose(motion_colours(motion)[0], expected, atol=1.01)
    # Half the speed is half the way to white; what stands still is white, and nothing but that where all does.
    np.testing.assert_allclose(motion_colours(np.array([[[2, 0], [1, 0]]], np.float32))[0, 1], (255, 127, 127), atol=1)
    assert (motion_colours(np.zeros((2, 3, 2), np.float32)) == 255).all()


def described(x: float, y: float, fastest: float) -> list[float]:
    """One colour as the wheel's authors describe it: 55 colours by hand, the angle of the opposite direction."""
    up = {n: [255 * i // n for i in range(n)] for n in (15, 6, 4, 11, 13)}
    wheel = [(255, v, 0) for v in up[15]] + [(255 - v, 255, 0) for v in up[6]] + [(0, 255, v) for v in up[4]]
    wheel += [(0, 255 - v, 255) for v in up[11]] + [(v, 0, 255) for v in up[13]] + [(255, 0, 255 - v) for v in up[6]]
    place = (math.atan2(-y, -x) / math.pi + 1) / 2 * 54
    lower, share = int(place), math.hypot(x, y) / fastest
    mixed = [a + (place - lower) * (b - a) for a, b in zip(wheel[lower], wheel[(lower + 1) % 55], strict=True)]
    return [255 - share * (255 - one) for one in mixed]


def test_colours_are_as_described_in_every_direction() -> None:
    motion = np.random.default_rng(1).normal(size=(20, 30, 2)).astype(np.float32)
    fastest = float(np.hypot(motion[..., 0], motion[..., 1]).max())
    expected = [[described(float(x), float(y), fastest) for x, y in row] for row in motion]
    assert np.abs(motion_colours(motion) - np.array(expected)).max() <= 1.001
