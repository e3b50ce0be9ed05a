"""What every smoothing promises, asked of each kind."""

from __future__ import annotations

import numpy as np
import pytest
from test_smooth import KINDS, left, make, shown, smooth, two_cells

from vidsal.smooth.exponential import first_order_hold
from vidsal.smooth.options import SmoothOptions


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_after_a_flush_begins_afresh(kind: str) -> None:
    smoother = SmoothOptions(smoothing=kind).make()  # type: ignore[arg-type]
    before, after = make(two_cells([0.1] * 5), [0.0, 0.04, 0.08, 0.12, 0.16]), make(two_cells([0.9]), [0.2], first=5)
    smoother.watch(shown(before))
    ready = smoother.update(before) + smoother.flush()
    assert sum(len(each) for each in ready) == 5
    smoother.watch(shown(after))
    (fresh,) = smoother.update(after) + smoother.flush()
    assert left(fresh) == pytest.approx([0.9], abs=1e-6)


@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_a_smoothing_says_whether_it_holds_frames_back(kind: str) -> None:
    smoother = SmoothOptions(smoothing=kind).make()  # type: ignore[arg-type]
    batch = make(two_cells([0.1] * 3), [0.0, 0.04, 0.08])
    smoother.watch(shown(batch))
    ready = sum(len(each) for each in smoother.update(batch))
    assert smoother.looks_ahead == (ready < 3)


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_reset_maps_of_another_size_are_taken(kind: str) -> None:
    smoother = SmoothOptions(smoothing=kind).make()  # type: ignore[arg-type]
    for maps in (two_cells([0.1, 0.2]), np.full((2, 3, 3), 1 / 9)):
        batch = make(maps, [0.0, 0.04])
        smoother.watch(shown(batch))
        ready = smoother.update(batch)
        smoother.reset()
        assert sum(len(each) for each in ready) == (0 if kind == "gaussian" else 2)


def test_where_no_time_passes_an_average_stays() -> None:
    assert first_order_hold(0.0) == (1.0, 0.0, 0.0)


def test_the_gaussian_lets_a_frame_go_as_soon_as_three_deviations_have_passed() -> None:
    smoother = SmoothOptions(smoothing="gaussian", time_constant_seconds=0.125).make()
    released = [
        [int(i) for each in smoother.update(make(two_cells([0.5]), [0.125 * number], first=number)) for i in each.index]
        for number in range(6)
    ]
    assert released == [[], [], [], [0], [1], [2]]


def test_two_frames_that_are_hardly_apart_weigh_alike() -> None:
    smoother = SmoothOptions(smoothing="gaussian").make()
    batch = make(two_cells([0.2, 0.6]), [0.0, 1e-7])
    (steady,) = smoother.update(batch) + smoother.flush()
    assert left(steady) == pytest.approx([0.4, 0.4], abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_that_comes_twice_at_one_instant_changes_nothing(kind: str) -> None:
    share, times = [0.1, 0.7, 0.4, 0.9], [0.0, 0.04, 0.1, 0.14]
    twice = [0, 1, 1, 2, 2, 2, 3]
    once = left(smooth(kind, make(two_cells(share), times)))
    repeated = left(smooth(kind, make(two_cells([share[i] for i in twice]), [times[i] for i in twice])))
    assert repeated == pytest.approx(once[twice], abs=1e-6)
