"""Made drives: a camera that goes along a straight road whose vanishing point is known."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]


def road_picture(
    width: int, height: int, *, vanishing: tuple[float, float], metres_per_frame: float = 0.6, seed: int = 0
) -> Callable[[int], RGB]:
    """Pictures of a pinhole camera 1.3 m above a road, by their ordinal; the point is in pixels from the edges."""
    rng = np.random.default_rng(seed)
    focal, (x0, y0) = 0.9 * width, vanishing
    stones = np.column_stack([rng.uniform(-25, 25, 400), rng.uniform(0, 60, 400), rng.uniform(0.05, 0.3, 400)])
    shades = rng.integers(40, 200, 400)

    def seen(x: float, y: float, z: float) -> tuple[int, int]:
        """Where a point x to the right, y down and z ahead of the camera is, in 1/16 of a pixel from the centre."""
        return round((x0 + focal * x / z - 0.5) * 16), round((y0 + focal * y / z - 0.5) * 16)

    def patch(picture: RGB, corners: list[tuple[float, float, float]], colour: tuple[int, int, int]) -> None:
        near = [(x, y, max(z, 0.8)) for x, y, z in corners]
        cv2.fillConvexPoly(picture, np.array([seen(*corner) for corner in near]), colour, cv2.LINE_AA, 4)

    def picture(i: int) -> RGB:
        gone = i * metres_per_frame
        made = np.full((height, width, 3), (150, 180, 210), np.uint8)
        made[min(max(round(y0), 0), height) :] = (90, 110, 70)
        patch(made, [(-5.5, 1.3, 0.8), (-5.5, 1.3, 400), (5.5, 1.3, 400), (5.5, 1.3, 0.8)], (95, 95, 100))
        for (x, z, side), shade in zip(stones, shades.tolist(), strict=True):
            ahead = (z - gone) % 60 + 1.5
            if ahead > side + 0.8:
                corners = [(x + a * side, 1.3, ahead + b * side) for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))]
                patch(made, corners, (shade, shade, shade))
        for x in (-5.2, 5.2):
            patch(
                made, [(x - 0.1, 1.3, 0.8), (x - 0.1, 1.3, 400), (x + 0.1, 1.3, 400), (x + 0.1, 1.3, 0.8)], (250,) * 3
            )
        for x in (-1.75, 1.75):
            for number in range(12):
                z = (number * 9 - gone) % 108 + 0.8
                patch(
                    made,
                    [(x - 0.08, 1.3, z), (x - 0.08, 1.3, z + 3), (x + 0.08, 1.3, z + 3), (x + 0.08, 1.3, z)],
                    (250,) * 3,
                )
        return made

    return picture
