"""What the smoothing along the motion does with frames that do not fit together."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from test_smooth import left, make, shown, smooth, texture, two_cells

from vidsal.smooth.exponential import first_order_hold
from vidsal.smooth.motion import Motion, _belief, _grey, _moved
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
        ((70, 90), (70, 90)),
    ],
)
def test_the_flow_looks_at_small_grey_pictures(size: tuple[int, int], small: tuple[int, int]) -> None:
    grey = _grey(np.full((*size, 3), (200, 100, 50), np.uint8))
    assert grey.shape == small
    assert (grey == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()


def test_a_pixel_that_differs_costs_the_square_of_five_around_it_its_trust() -> None:
    before = cv2.cvtColor(texture(96, 128), cv2.COLOR_RGB2GRAY)
    after = before.copy()
    after[40, 70] = 255 if before[40, 70] < 128 else 0
    trust = Motion(0.15)._flow(before, after)[..., 2]
    assert (trust < 0.999).sum() == 25
    assert (trust[38:43, 68:73] < 0.96).all()


def mean_trust(*contrasts: int) -> float:
    """In a picture whose half is dark and half bright, and in the same with another contrast."""
    places = np.random.default_rng(0).permutation(192).reshape(12, 16) % 2
    before, after = (np.kron(128 + contrast * (2 * places - 1), np.ones((8, 8), int)) for contrast in contrasts)
    return float(Motion(0.15)._flow(before.astype(np.uint8), after.astype(np.uint8))[..., 2].mean())


@pytest.mark.parametrize("contrasts", [(16, 20), (20, 16)])
def test_of_two_pictures_the_one_of_more_contrast_tells_how_much_noise_differs(contrasts: tuple[int, int]) -> None:
    # 4 grey levels differ, which at half of the contrast from which differences count in full are 8.
    assert mean_trust(*contrasts) == pytest.approx(1, abs=0.01)


def test_a_contrast_beyond_that_excuses_nothing() -> None:
    assert mean_trust(120, 104) < 0.5


def test_after_a_pause_without_end_the_frame_is_all_there_is() -> None:
    batch = make(two_cells([0.1, 0.9]), [0.0, 1e18])
    assert left(smooth("motion", batch)) == pytest.approx([0.1, 0.9], abs=1e-6)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, 0), (0, 3), (-1, -2)])
def test_a_past_is_moved_by_whole_cells_without_a_change(down: int, right: int) -> None:
    rows, columns = 8, 12
    past, now = torch.rand(2, rows, columns, generator=torch.Generator().manual_seed(1))
    flow = np.empty((rows, columns, 3), np.float32)
    flow[..., 0], flow[..., 1] = 2 / columns * right, 2 / rows * down
    flow[..., 2] = np.linspace(0, 1, columns)
    at_row, at_column = (
        (torch.arange(count) + by).clip(0, count - 1) for count, by in ((rows, down), (columns, right))
    )
    there, trust = past[at_row][:, at_column], torch.from_numpy(flow[..., 2])
    # Beyond the edge the outermost cell goes on.
    torch.testing.assert_close(_moved(past, now, flow), trust * there + (1 - trust) * now, atol=1e-5, rtol=1e-4)


def test_pictures_shown_before_a_reset_are_forgotten() -> None:
    one, other = texture(60, 80), texture(60, 80, seed=9)
    batch = make(two_cells([0.1, 0.9]), [0.0, 0.04])
    smoother = SmoothOptions(smoothing="motion").make()
    smoother.watch(shown(batch, np.stack([one, other])))
    smoother.reset()
    smoother.watch(shown(batch, np.stack([one, one])))
    (ready,) = smoother.update(batch)
    assert left(ready) == pytest.approx(left(smooth("exponential", batch)), abs=0.01)


def test_where_a_past_is_partly_believed_it_is_mixed_with_the_frame_by_that_share_whatever_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow = np.zeros((60, 80, 3), np.float32)
    flow[..., 2] = 0.25
    monkeypatch.setattr(Motion, "_flow", lambda self, before, after: flow)
    # Two time constants later little of the past is left.
    answer = left(smooth("motion", make(two_cells([0.9, 0.1]), [0.0, 0.3])))[1]
    keep, before, now = first_order_hold(2.0)
    assert answer == pytest.approx((keep + before) * (0.25 * 0.9 + 0.75 * 0.1) + now * 0.1, abs=1e-5)
