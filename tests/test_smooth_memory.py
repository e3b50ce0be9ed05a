"""What a smoothing keeps of a video: no more than its later answers need."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from test_smooth import KINDS, left, make, shown, two_cells

from vidsal.frames import SaliencyBatch
from vidsal.smooth.options import SmoothOptions

SIZE = (7, 11)
"""Of maps that nothing else here has."""


def kept() -> int:
    """Maps that are alive, alone or in a batch of one."""
    return sum(type(each) is torch.Tensor and tuple(each.shape) == SIZE for each in gc.get_objects())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["flush", "reset"])
def test_nothing_is_kept_of_a_video_that_has_ended(kind: str, end: str) -> None:
    smoother = SmoothOptions(smoothing=kind).make()  # type: ignore[arg-type]
    batch = make(np.full((6, *SIZE), 1 / 77), (np.arange(6) / 25).tolist())
    smoother.watch(shown(batch))
    smoother.update(batch)
    assert kept() > 0
    getattr(smoother, end)()
    assert kept() == 0


def uniform(times: list[float], *, first: int = 0) -> SaliencyBatch:
    return make(np.full((len(times), *SIZE), 1 / 77), times, first=first)


def test_the_gaussian_keeps_what_lies_within_its_reach() -> None:
    smoother = SmoothOptions(smoothing="gaussian", time_constant_seconds=0.125).make()
    out = sum(sum(map(len, smoother.update(uniform([n / 16], first=n)))) for n in range(40))
    assert out == 40 - 6
    # The last answer was for the frame of 3 times 0.125 s before the last one: six frames after it, and six before.
    assert kept() == 6 + 1 + 6


def test_where_time_stands_still_the_gaussian_holds_512_frames_and_keeps_as_many_of_the_past() -> None:
    smoother = SmoothOptions(smoothing="gaussian").make()
    for first, count, ready in ((0, 512, 0), (512, 1, 1), (513, 1100, 1100)):
        assert sum(map(len, smoother.update(uniform([0.0] * count, first=first)))) == ready
    assert kept() == 1024
    smoother.reset()
    # They are answered as they are: no time passes.
    answers = smoother.update(make(two_cells(np.linspace(0.1, 0.9, 600)), [0.0] * 600)) + smoother.flush()
    assert np.concatenate([left(each) for each in answers]) == pytest.approx(np.linspace(0.1, 0.9, 600), abs=1e-6)
