"""What the smoothing along the motion does with frames that do not fit together."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from test_smooth import left, make, shown, smooth, texture, two_cells

from vidsal.smooth.motion import Motion, _belief, _grey
from vidsal.smooth.options import SmoothOptions


def test_frames_that_were_shown_but_get_no_map_are_passed_over() -> None:
    smoother, batch = (
        SmoothOptions(smoothing="motion").make(),
        make(two_cells([0.1, 0.9, 0.3, 0.7]), [0.0, 0.1, 0.2, 0.3]),
    )
    smoother.watch(shown(batch))
    (ready,) = smoother.update(batch[2:])
    assert ready.index.tolist() == [2, 3]
    assert left(ready)[0] == pytest.approx(0.3, abs=1e-6)


def test_where_pictures_change_their_shape_the_past_is_not_believed() -> None:
    smoother, batch = SmoothOptions(smoothing="motion").make(), make(two_cells([0.1, 0.1, 0.9]), [0.0, 0.04, 0.08])
    smoother.watch(shown(batch[:2], np.repeat(texture(60, 80)[None], 2, axis=0)))
    smoother.watch(shown(batch[2:], texture(60, 160)[None]))
    (ready,) = smoother.update(batch)
    assert left(ready) == pytest.approx([0.1, 0.1, 0.9], abs=1e-6)


def test_where_half_of_the_picture_is_another_the_past_of_the_other_half_keeps_its_weight() -> None:
    still, other = texture(120, 240), texture(120, 240, seed=9)
    half = still.copy()
    half[:, 120:] = other[:, 120:]
    # All looked left; now all look right, into the half that changed: what is left of the past is still there.
    batch = make(two_cells([0.9, 0.9, 0.1]), [0.0, 0.04, 0.08])
    plain = left(smooth("exponential", batch))[2]
    moved = left(smooth("motion", batch, frames=np.stack([still, still, half])))[2]
    same = left(smooth("motion", batch, frames=np.stack([still] * 3)))[2]
    assert same == pytest.approx(plain, abs=0.01)
    assert 0.1 < moved < plain


@pytest.mark.parametrize(("down", "right"), [(0, 6), (0, -6), (6, 0), (-6, 0), (5, -5)])
def test_what_came_in_from_outside_has_no_past_however_well_it_fits(down: int, right: int) -> None:
    # Beyond its edges the scene goes on as it ends, so that no difference tells.
    scene = cv2.copyMakeBorder(texture(72, 104)[:, :, 0], 24, 24, 24, 24, cv2.BORDER_REPLICATE)
    before = np.ascontiguousarray(scene[24:96, 24:128])
    after = np.ascontiguousarray(scene[24 - down : 96 - down, 24 - right : 128 - right])
    shift_x, shift_y, trust = np.moveaxis(Motion(0.15)._flow(before, after), 2, 0)
    x, y = np.arange(104) + shift_x * 52, np.arange(72)[:, None] + shift_y * 36
    # The picture reaches half a cell beyond the centres of the outermost ones.
    outside = (x < -0.501) | (x > 103.501) | (y < -0.501) | (y > 71.501)
    inside = (x > -0.499) & (x < 103.499) & (y > -0.499) & (y < 71.499)
    assert outside.sum() > 300
    assert (trust[outside] == 0).all()
    assert (trust[inside] > 0.9).all()
    assert np.median(shift_x * 52) == pytest.approx(-right, abs=0.2)
    assert np.median(shift_y * 36) == pytest.approx(-down, abs=0.2)


def test_a_past_is_believed_less_and_less_from_8_to_24_grey_levels() -> None:
    levels = np.array([0, 8, 12, 16, 20, 24, 255], np.float32)
    assert _belief(levels).tolist() == [1, 1, 0.75, 0.5, 0.25, 0, 0]


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((180, 320), (72, 128)),
        ((320, 180), (128, 72)),
        ((100, 128), (100, 128)),
        ((30, 500), (64, 128)),
        ((9, 7), (64, 64)),
    ],
)
def test_the_flow_looks_at_small_grey_pictures(size: tuple[int, int], small: tuple[int, int]) -> None:
    grey = _grey(np.full((*size, 3), (200, 100, 50), np.uint8))
    assert grey.shape == small
    assert (grey == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()
