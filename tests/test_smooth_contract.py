"""What every smoothing promises, asked of each kind."""

from __future__ import annotations

import pytest
from test_smooth import KINDS, left, make, shown, two_cells

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
