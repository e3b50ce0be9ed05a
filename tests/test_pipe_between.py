"""Densities of two cells at key frames come in; what stands between them is worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.pipe.between import Between

TIMES = [0.0, 0.01, 0.03, 0.04, 0.05, 0.06, 0.10, 0.14, 0.18]
KEYS = {0: 0.2, 3: 0.6, 6: 0.9, 8: 0.5}
"""Share of the left cell in the maps of the key frames."""


def fed(
    times: Sequence[float] = TIMES,
    keys: dict[int, float] = KEYS,
    *,
    cuts: Sequence[int] = (),
    sizes: Sequence[int] = (),
    between: Between | None = None,
) -> SaliencyBatch:
    """What comes out, flushed, for frames of these times, fed in batches of these sizes (the last takes the rest)."""
    between = between or Between()
    cut = np.isin(np.arange(len(times)), cuts)
    shot = np.cumsum(cut)
    whole = FrameBatch(
        index=np.arange(len(times)),
        pts_seconds=np.array(times, np.float64),
        frames=np.zeros((len(times), 9, 16, 3), np.uint8),
        height=90,
        width=160,
    )
    done, begin = [], 0
    for size in [*sizes, len(times)]:
        end = min(begin + size, len(times))
        if begin == end:
            break
        rows = [row - begin for row in keys if begin <= row < end]
        maps = torch.tensor([[[keys[begin + row], 1 - keys[begin + row]]] for row in rows])
        done += between.update(
            whole[begin:end],
            shot=shot[begin:end],
            cut=cut[begin:end],
            keys=rows,
            log_density=maps.log() if rows else None,
        )
        begin = end
    result = SaliencyBatch.join(done + between.flush())
    # Every frame once, with what belongs to it.
    assert result.index.tolist() == list(range(len(times)))
    assert result.pts_seconds.tolist() == list(times)
    assert result.cut.tolist() == cut.tolist() and result.shot.tolist() == shot.tolist()
    return result


def left(result: SaliencyBatch) -> list[float]:
    assert result.density.sum((1, 2)).tolist() == pytest.approx([1.0] * len(result))
    return [float(value) for value in result.density[:, 0, 0]]


def test_between_two_keys_the_density_changes_evenly_in_time_and_after_the_last_it_stays() -> None:
    expected = [0.2, 0.3, 0.5, 0.6, 0.65, 0.7, 0.9, 0.7, 0.5]
    assert left(fed()) == pytest.approx(expected)
    assert left(fed(TIMES[:6], {0: 0.2, 3: 0.6})) == pytest.approx([*expected[:4], 0.6, 0.6])


def test_before_a_cut_the_density_stays_and_goes_on_from_it() -> None:
    assert left(fed(cuts=[6])) == pytest.approx([0.2, 0.3, 0.5, 0.6, 0.6, 0.6, 0.9, 0.7, 0.5])


def test_where_every_frame_is_a_key_the_densities_are_the_keys() -> None:
    keys = dict(enumerate([0.1, 0.9, 0.3, 0.7]))
    assert left(fed(TIMES[:4], keys)) == pytest.approx(list(keys.values()))
    assert left(fed(TIMES[:4], keys, sizes=[1, 1, 1])) == pytest.approx(list(keys.values()))


@settings(max_examples=20)
@given(st.lists(st.integers(1, 5), max_size=9), st.sets(st.integers(1, 8)), st.sets(st.sampled_from([3, 6, 8])))
def test_cutting_the_frames_into_calls_changes_nothing(sizes: list[int], keys: set[int], cuts: set[int]) -> None:
    # Each cut is a key, as the pipe has it.
    given_keys = {row: 0.1 + 0.09 * ((5 * row) % 9) for row in sorted({0} | keys | cuts)}
    whole = fed(keys=given_keys, cuts=sorted(cuts))
    pieces = fed(keys=given_keys, cuts=sorted(cuts), sizes=sizes)
    torch.testing.assert_close(pieces.density, whole.density)


def test_frames_are_given_out_as_soon_as_their_next_key_is_known() -> None:
    between, batch = Between(), FrameBatch(
        index=np.arange(5),
        pts_seconds=np.arange(5) / 25,
        frames=np.zeros((5, 9, 16, 3), np.uint8),
        height=90,
        width=160,
    )  # fmt: skip
    none = np.zeros(5, np.int64), np.zeros(5, np.bool_)
    maps = torch.tensor([[[0.2, 0.8]], [[0.6, 0.4]]]).log()
    (ready,) = between.update(batch, shot=none[0], cut=none[1], keys=[0, 3], log_density=maps)
    assert ready.index.tolist() == [0, 1, 2, 3]
    (late,) = between.flush()
    assert late.index.tolist() == [4]
    assert between.flush() == []
    only = between.update(batch[:2], shot=none[0][:2], cut=none[1][:2], keys=[], log_density=None)
    assert only == []  # they wait for a key


@pytest.mark.parametrize("times", [[0.5, 0.5, 0.5, 0.5], [0.5, 0.4, 0.3, 0.2]])
def test_where_no_time_passes_to_the_next_key_the_density_stays(times: list[float]) -> None:
    assert left(fed(times, {0: 0.2, 3: 0.6})) == pytest.approx([0.2, 0.2, 0.2, 0.6])


def test_a_frame_whose_time_lies_outside_its_keys_gets_that_of_the_nearer_key() -> None:
    times = [1.0, 0.5, 2.5, 2.0]
    assert left(fed(times, {0: 0.2, 3: 0.6})) == pytest.approx([0.2, 0.2, 0.6, 0.6])


def test_impossible_places_stay_finite() -> None:
    result = fed(TIMES[:4], {0: 0.0, 3: 0.0})
    assert torch.isfinite(result.log_density[1:3]).all()
    assert left(result)[1:3] == pytest.approx([0.0, 0.0], abs=1e-30)


def test_a_video_that_was_forgotten_leaves_nothing() -> None:
    between = Between()
    fed(TIMES[:6], {0: 0.9, 3: 0.1}, between=between)
    between.update(
        FrameBatch(np.array([9]), np.array([0.5]), np.zeros((1, 9, 16, 3), np.uint8), 90, 160),
        shot=np.zeros(1, np.int64),
        cut=np.zeros(1, np.bool_),
        keys=[],
        log_density=None,
    )
    between.reset()
    assert between.flush() == []
    assert left(fed(between=between)) == pytest.approx(left(fed()))
