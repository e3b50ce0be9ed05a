"""What the smoothing along the motion does with frames that do not fit together."""

from __future__ import annotations

import numpy as np
import pytest
from test_smooth import left, make, shown, smooth, texture, two_cells

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
