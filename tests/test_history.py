"""What networks of clips see: the last frames of a shot, whatever calls they came in."""

from __future__ import annotations

import pytest
import torch

from vidsal.model.networks.history import Clips
from vidsal.model.recurrent import Unroll

LENGTH = 4
# Two videos of nine frames; where their shots begin.
BEGINS = ((0, 3, 4), (0, 7))


def frames() -> torch.Tensor:
    """(2, 9, 2, 1): every number once."""
    return torch.arange(36.0).view(2, 9, 2, 1)


def expected(video: int, time: int) -> torch.Tensor:
    """By the definition: frame by frame, backwards, as far as the shot goes."""
    begin = max(at for at in BEGINS[video] if at <= time)
    return torch.stack([frames()[video, max(at, begin)] for at in range(time - LENGTH + 1, time + 1)])


@pytest.mark.parametrize("sizes", [(9,), (1,) * 9, (2, 3, 4), (5, 1, 3), (3, 6)])
def test_a_clip_is_the_end_of_its_shot_whatever_calls_its_frames_come_in(sizes: tuple[int, ...]) -> None:
    past, start = None, 0
    for size in sizes:
        fresh = [[start + t in BEGINS[video] for t in range(size)] for video in range(2)]
        unroll = Unroll.of(fresh, fresh_steps=1)
        clips = Clips(frames()[:, start : start + size], past, unroll=unroll, length=LENGTH)
        for t in range(size):
            wanted = torch.stack([expected(video, start + t) for video in range(2)])
            assert torch.equal(clips.at(t), wanted), (start, t)
        past, start = clips.past, start + size


def test_without_a_past_every_video_begins_even_where_nothing_says_so() -> None:
    unroll = Unroll.of([[False, False]] * 2, fresh_steps=1)
    clips = Clips(frames()[:, :2], None, unroll=unroll, length=LENGTH)
    assert clips.at(1)[0, :, 0, 0].tolist() == [0, 0, 0, 2]


def test_what_fills_up_a_shorter_video_is_not_remembered() -> None:
    unroll = Unroll.of([[True] + [False] * 4] * 2, fresh_steps=1, lengths=[5, 2])
    past = Clips(frames()[:, :5], None, unroll=unroll, length=LENGTH).past
    assert past[1, :, 0, 0].tolist() == [18, 18, 20]
    # A video that shows nothing in a call keeps what it had.
    none = Unroll.of([[False], [False]], fresh_steps=1, lengths=[1, 0])
    after = Clips(frames()[:, 5:6], past, unroll=none, length=LENGTH).past
    assert torch.equal(after[1], past[1]) and after[0, :, 0, 0].tolist() == [6, 8, 10]


def test_a_clip_of_one_frame_keeps_nothing() -> None:
    unroll = Unroll.of([[True, False, False]] * 2, fresh_steps=1)
    clips = Clips(frames()[:, :3], None, unroll=unroll, length=1)
    assert torch.equal(clips.at(2), frames()[:, 2:3]) and clips.past.shape == (2, 0, 2, 1)


def test_what_does_not_fit_is_refused() -> None:
    unroll = Unroll.of([[True, False]] * 2, fresh_steps=1)
    with pytest.raises(ValueError, match="2 videos of 2 frames"):
        Clips(frames(), None, unroll=unroll, length=2)
    with pytest.raises(ValueError, match=r"past must be \(2, 3, 2, 1\)"):
        Clips(frames()[:, :2], torch.zeros(2, 2, 2, 1), unroll=unroll, length=4)
    with pytest.raises(ValueError, match="at least 1"):
        Clips(frames()[:, :2], None, unroll=unroll, length=0)
