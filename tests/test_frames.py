"""Batches are cut into pieces and joined again; what each frame holds is told by its ordinal."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidsal.frames import FrameBatch, Picture, SaliencyBatch

Batch = FrameBatch | SaliencyBatch


def pictures(count: int) -> tuple[Picture, ...]:
    return tuple(Picture(rgb=lambda: np.zeros((9, 16, 3), np.uint8), pts=10 * number) for number in range(count))


def frame_batch(count: int, *, kept: bool = True) -> FrameBatch:
    """Frame i has the ordinal 100 + i, the time i / 8 s and the colour i."""
    numbers = np.arange(count)
    return FrameBatch(
        index=100 + numbers,
        pts_seconds=numbers / 8,
        frames=np.broadcast_to(numbers[:, None, None, None], (count, 2, 3, 3)).astype(np.uint8),
        height=9,
        width=16,
        pictures=pictures(count) if kept else (),
    )


def saliency_batch(count: int, *, kept: bool = True) -> SaliencyBatch:
    """Frame i is the only one of shot i, and all its mass but a rest lies in cell i modulo 6."""
    maps = torch.full((count, 6), 0.02)
    maps[torch.arange(count), torch.arange(count) % 6] = 0.9
    return SaliencyBatch.of(
        frame_batch(count, kept=kept),
        shot=np.arange(count),
        cut=np.arange(count) > 0,
        log_density=maps.reshape(count, 2, 3).log(),
    )


def facts(batch: Batch) -> list[tuple[object, ...]]:
    """All that a batch says of each frame, as plain values."""
    names = ("index", "pts_seconds", "frames") if isinstance(batch, FrameBatch) else ("index", "shot", "cut", "density")
    held = [[getattr(batch, name)[row].tolist() for row in range(len(batch))] for name in names]
    pts = [picture.pts for picture in batch.pictures] or [None] * len(batch)
    return list(zip(*held, pts, strict=True))


both = pytest.mark.parametrize("make", [frame_batch, saliency_batch])


@both
@given(kept=st.booleans(), count=st.integers(1, 12), data=st.data())
def test_the_pieces_of_any_cut_joined_are_the_whole(
    make: type[Batch], kept: bool, count: int, data: st.DataObject
) -> None:
    whole = make(count, kept=kept)  # type: ignore[call-arg, arg-type]
    cuts = sorted(data.draw(st.sets(st.integers(1, count - 1)))) if count > 1 else []
    pieces = [whole[start:end] for start, end in itertools.pairwise([0, *cuts, count])]
    assert [len(piece) for piece in pieces] == np.diff([0, *cuts, count]).tolist()
    joined = type(whole).join(pieces)  # type: ignore[arg-type]
    assert facts(joined) == facts(whole)
    assert (joined.height, joined.width) == (9, 16)


@both
def test_a_slice_holds_the_frames_of_a_list(make: type[Batch]) -> None:
    whole = make(7)  # type: ignore[call-arg, arg-type]
    for rows in (slice(2, 5), slice(None, 3), slice(-2, None), slice(None), slice(1, 99), slice(0, 7, 3)):
        assert facts(whole[rows]) == facts(whole)[rows]
    for row in (0, 3, 6, -1, -7):
        assert facts(whole[row]) == [facts(whole)[row]]
    assert [facts(one) for one in whole] == [[fact] for fact in facts(whole)]


@both
def test_frames_that_are_not_there_or_run_backwards_are_refused(make: type[Batch]) -> None:
    whole = make(3)  # type: ignore[call-arg, arg-type]
    for rows in (3, -4, slice(2, 2), slice(5, 9)):
        with pytest.raises(IndexError):
            whole[rows]
    with pytest.raises(ValueError, match=r"order"):
        whole[::-1]
    with pytest.raises(TypeError, match="list"):
        whole[[0, 1]]  # type: ignore[index]


@both
def test_a_piece_shares_the_memory_of_its_batch(make: type[Batch]) -> None:
    whole = make(4)  # type: ignore[call-arg, arg-type]
    assert np.shares_memory(whole[1:3].pts_seconds, whole.pts_seconds)


@both
def test_pieces_out_of_order_or_of_two_kinds_are_not_joined(make: type[Batch]) -> None:
    whole, bare = make(4), make(4, kept=False)  # type: ignore[call-arg, arg-type]
    for pieces in ([whole[2:], whole[:2]], [whole[:2], whole[1:]], [whole[:2], bare[2:]], []):
        with pytest.raises(ValueError, match=r"follow|kind|nothing"):
            type(whole).join(pieces)  # type: ignore[arg-type]


def broken(name: str, value: object) -> dict[str, object]:
    numbers = np.arange(2)
    fields = {"index": numbers, "pts_seconds": numbers / 8, "shot": numbers, "cut": numbers > 0}
    return {**fields, "log_density": torch.zeros(2, 2, 3), "height": 9, "width": 16, name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index", np.arange(0)),
        ("index", np.zeros((2, 1), np.int64)),
        ("pts_seconds", np.zeros(3)),
        ("shot", np.zeros((2, 2), np.int64)),
        ("cut", np.zeros(1, np.bool_)),
        ("log_density", torch.zeros(3, 2, 3)),
        ("log_density", torch.zeros(2, 6)),
        ("log_density", torch.zeros(2, 2, 3, dtype=torch.float64)),
        ("height", 0),
        ("width", -1),
        ("pictures", pictures(1)),
    ],
)
def test_a_saliency_batch_whose_fields_do_not_fit_together_is_refused(name: str, value: object) -> None:
    assert len(SaliencyBatch(**broken("height", 9))) == 2  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=name if name != "pictures" else "empty or 2 long"):
        SaliencyBatch(**broken(name, value))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "frames", [np.zeros((2, 2, 3, 3)), np.zeros((3, 2, 3, 3), np.uint8), np.zeros((2, 9), np.uint8)]
)
def test_a_frame_batch_whose_pictures_do_not_fit_is_refused(frames: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="frames must be"):
        FrameBatch(np.arange(2), np.arange(2) / 25, frames, 9, 16)


def test_another_density_takes_only_the_densitys_place() -> None:
    batch = saliency_batch(3)
    maps = torch.arange(18, dtype=torch.float32).reshape(3, 2, 3)
    given = maps.clone()
    other = batch.with_density(maps)
    assert torch.equal(maps, given)
    torch.testing.assert_close(other.density, maps / maps.sum(dim=(1, 2), keepdim=True), atol=1e-7, rtol=1e-6)
    assert torch.isfinite(other.log_density).all(), "no cell is empty"
    assert (other.shot is batch.shot, other.pictures is batch.pictures) == (True, True)
