"""Options and a seed in, affines out: how the camera of a made clip moves over its picture.

An affine is a (2, 3) float64 matrix [L | t] that takes a point p to L p + t. Points are continuous pixel coordinates,
x before y, the centre of the first pixel at (0.5, 0.5), as fixations are given; `index_affine` turns an affine into
the one that OpenCV wants, whose first pixel has its centre at (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.data.options import CameraOptions
from vidsal.preprocess import Viewport

__all__ = ["CameraPath", "Window", "apply_affine", "compose", "draw_path", "film", "index_affine", "invert", "wander"]

Floats = npt.NDArray[np.float64]

Window = tuple[float, float, float, float]
"""(left, top, width, height) in pixels of the picture."""

# How much of the motion is kept, tried in this order until the windows fit into the picture.
_DAMPING = (1.0, 0.7, 0.5, 0.35, 0.2, 0.1, 0.0)


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Where a camera goes, frame by frame, relative to its first window."""

    offset: Floats
    """(T, 2), x and y of the window's centre, in widths and heights of the first window."""
    log_zoom: Floats
    """(T,), natural log of the magnification; 0 is the first window's."""
    angle: Floats
    """(T,), turn of the camera in radians, clockwise on the picture."""

    def damped(self, share: float) -> CameraPath:
        """The same path with a share of all its motion, the first frame's slant included."""
        return CameraPath(self.offset * share, self.log_zoom * share, self.angle * share)


def wander(times: int, speed: Floats, *, steady_frames: float, random: np.random.Generator) -> Floats:
    """Smooth paths from zero: sums of speeds that are Ornstein-Uhlenbeck processes.

    Args:
        times: frames.
        speed: (n,), standard deviation of each path's speed a frame.
        steady_frames: frames after which a speed has forgotten 63 % of what it was.
        random: where the randomness comes from.

    Returns:
        (times, n); the first row is zero.
    """
    memory = float(np.exp(-1 / steady_frames))
    velocity = speed * random.standard_normal(len(speed))
    path = np.zeros((times, len(speed)))
    for t in range(1, times):
        path[t] = path[t - 1] + velocity
        fresh = speed * random.standard_normal(len(speed))
        velocity = memory * velocity + (1 - memory**2) ** 0.5 * fresh
    return path


def draw_path(times: int, options: CameraOptions, random: np.random.Generator) -> CameraPath:
    """Draw the path of one shot: smooth pan, zoom and rotation, and the random walk of a shaking hand."""
    pan, zoom, turn, shake = random.uniform(0, 1, 4) * (options.pan, options.zoom, options.rotation, options.shake)
    slant = np.radians(random.uniform(-options.tilt, options.tilt))
    smooth = wander(
        times, np.array([pan, pan, zoom, np.radians(turn)]), steady_frames=options.steady_frames, random=random
    )
    steps = random.standard_normal((times, 2)) * shake
    steps[0] = 0
    return CameraPath(smooth[:, :2] + np.cumsum(steps, 0), smooth[:, 2], slant + smooth[:, 3])


def film(
    window: Window, path: CameraPath, *, viewport: Viewport, rows: int, columns: int, smallest_window: float
) -> Floats:
    """Affines from the picture to the canvas for a path that starts about at a window.

    Every frame's window lies inside the picture: the window is made smaller and moved, and the path damped, where it
    otherwise would not.

    Args:
        window: where the camera looks at first, inside the picture.
        path: T frames.
        viewport: what the window fills on the canvas.
        rows: of the picture.
        columns: of the picture.
        smallest_window: share of its side down to which the window may be made smaller.

    Returns:
        (T, 2, 3) float64.
    """
    size, limits = np.array(window[2:]), np.array([columns, rows], np.float64)
    for share in _DAMPING:
        damped = path.damped(share)
        corners = _corners(damped, size)
        low, high = corners.min((0, 1)), corners.max((0, 1))
        shrink = min(1.0, float((limits / (high - low)).min()))
        if shrink >= smallest_window:
            break
    else:  # without motion the window fits as it is
        damped, shrink = path.damped(0.0), 1.0
        low, high = -size / 2, size / 2
    size = size * shrink
    centre = np.clip(np.array(window[:2]) + np.array(window[2:]) / 2, -low * shrink, limits - high * shrink)
    return _affines(damped, centre, size, viewport)


def _corners(path: CameraPath, size: Floats) -> Floats:
    """(T, 4, 2), the corners of each frame's window from the first window's centre, in picture pixels."""
    signs = np.array([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]])
    turned = np.einsum("tij,kj->tki", _turns(path.angle), signs * size)
    corners: Floats = (path.offset * size)[:, None] + turned * np.exp(-path.log_zoom)[:, None, None]
    return corners


def _turns(angle: Floats) -> Floats:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)


def _affines(path: CameraPath, centre: Floats, size: Floats, viewport: Viewport) -> Floats:
    scale = np.array([viewport.width, viewport.height]) / size
    # Seen by a camera turned one way, the picture turns the other way.
    linear = scale[None, :, None] * np.exp(path.log_zoom)[:, None, None] * _turns(-path.angle)
    middle = np.array([viewport.left + viewport.width / 2, viewport.top + viewport.height / 2])
    offset = middle - np.einsum("tij,tj->ti", linear, centre + path.offset * size)
    return np.concatenate([linear, offset[:, :, None]], 2)


def apply_affine(affine: Floats, points: npt.NDArray[Any]) -> Floats:
    """Points (N, 2) through an affine (2, 3)."""
    moved: Floats = points @ affine[:, :2].T + affine[:, 2]
    return moved


def compose(outer: Floats, inner: Floats) -> Floats:
    """The affine that first does `inner`, then `outer`; (..., 2, 3) each, broadcast.

    Example:
        >>> shift, double = np.array([[1.0, 0, 5], [0, 1, 0]]), np.array([[2.0, 0, 0], [0, 2, 0]])
        >>> compose(shift, double).tolist()
        [[2.0, 0.0, 5.0], [0.0, 2.0, 0.0]]
    """
    linear = outer[..., :2] @ inner[..., :2]
    offset = outer[..., :2] @ inner[..., 2:] + outer[..., 2:]
    return np.concatenate([linear, offset], -1)


def invert(affine: Floats) -> Floats:
    """The affine that undoes one; (..., 2, 3)."""
    linear = np.linalg.inv(affine[..., :2])
    return np.concatenate([linear, -linear @ affine[..., 2:]], -1)


def index_affine(affine: Floats) -> Floats:
    """An affine between pixel indices, as `cv2.warpAffine` takes it; (..., 2, 3).

    Example:
        >>> index_affine(np.array([[2.0, 0, 0], [0, 2, 0]])).tolist()  # the centre of pixel 0 goes to 2 * 0.5 - 0.5
        [[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]]
    """
    half = np.array([[0.5], [0.5]])
    return np.concatenate([affine[..., :2], affine[..., :2] @ half + affine[..., 2:] - half], -1)
